"""Dictionaries in torch's own files, whose tensors are taken out by a reader that runs nothing of them: those of
dictionary_learning, Qwen-Scope and Goodfire.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import reading
from ...engine.features import Tap
from ...pickled_tensors import PickledTensorsError, read_pickled_tensors
from ..activations import JumpReLU, Rule, TopK, checked_k
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import Matrix, TensorFile
from .common import Told, oriented

_SUFFIXES = (".pt", ".pth")
#: Of dictionary_learning: what its classes make of what the encoder gives.
_CLASSES = ("AutoEncoder", "AutoEncoderTopK", "BatchTopKSAE", "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder")


def file_of(folder: Path) -> Path | None:
    """The one file of torch in a folder; None where there is none, or more than one."""
    found = [path for path in sorted(folder.iterdir()) if path.suffix in _SUFFIXES]
    return found[0] if len(found) == 1 else None


def read(path: Path, told: Told) -> Dictionary:
    """A dictionary from a file of torch.

    Raises:
        FeatureError: a file that asks for more than tensors; keys of another library; what does not fit.
    """
    try:
        content = read_pickled_tensors(path)
    except PickledTensorsError as error:
        raise FeatureError(f"folder={str(path.parent)!r}: {error}") from None
    if not isinstance(content, dict):
        raise FeatureError(f"{path} holds a {type(content).__name__}; expected tensors by name.")
    tensors = {str(name): x for name, x in content.items() if isinstance(x, Tensor)}
    file = TensorFile.of(path, tensors)
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: {path} asks for no scale; leave it out.")
    if "encoder_linear.weight" in file:
        return _goodfire(file, told)
    layer = re.match(r"layer(\d+)\.sae\.pt$", path.name)
    if layer and "W_enc" in file:
        return _qwen_scope(file, int(layer[1]), told)
    if (path.parent / "config.json").is_file():
        return _dictionary_learning(file, tensors, told)
    raise FeatureError(
        f"{path} holds {', '.join(sorted(file.shapes)[:8])}; expected the keys of dictionary_learning (with its"
        " config.json), Qwen-Scope or Goodfire."
    )


def _made(file: TensorFile, tap: Tap, encoder: Matrix, decoder: Matrix, **more: Any) -> Dictionary:
    return Dictionary(
        name=f"{file.path.parent.name}/{file.path.name}",
        reads=tap,
        writes=tap,
        encoder=encoder,
        decoder=decoder,
        about={"folder": str(file.path.parent)},
        **more,
    )


def _sizes(file: TensorFile, name: str) -> tuple[int, int]:
    shape = file.shapes.get(name, ())
    if len(shape) != 2:
        raise FeatureError(f"{file.path}: {name!r} is {shape}; expected a matrix.")
    return shape[0], shape[1]


def _goodfire(file: TensorFile, told: Told) -> Dictionary:
    n, d = _sizes(file, "encoder_linear.weight")
    return _made(
        file,
        told.place(None, file.path.parent),
        oriented(file, "encoder_linear.weight", n, d, rows_first=True),
        oriented(file, "decoder_linear.weight", n, d, rows_first=False),
        encoder_bias=file.vector("encoder_linear.bias", n),
        decoder_bias=file.vector("decoder_linear.bias", d),
        rule=Rule(),
        source="Goodfire",
    )


def _qwen_scope(file: TensorFile, layer: int, told: Told) -> Dictionary:
    n, d = _sizes(file, "W_enc")
    k = re.search(r"L0_(\d+)", file.path.resolve().parent.name)
    if k is None:
        raise FeatureError(
            f"{file.path}: its k is in the name of its folder alone (SAE-Res-...-L0_50), and that is"
            f" {file.path.parent.name!r}; name the folder as it was."
        )
    return _made(
        file,
        told.place(Tap("resid_post", layer), file.path.parent),
        oriented(file, "W_enc", n, d, rows_first=True),
        oriented(file, "W_dec", n, d, rows_first=False),
        encoder_bias=file.vector("b_enc", n),
        decoder_bias=file.vector("b_dec", d),
        rule=TopK(checked_k(int(k[1]), n, str(file.path))),
        source="Qwen-Scope",
    )


def _dictionary_learning(file: TensorFile, tensors: dict[str, Tensor], told: Told) -> Dictionary:
    path = file.path.parent / "config.json"
    config = reading.json_file(path, FeatureError).get("trainer")
    config = config if isinstance(config, dict) else {}
    kind = config.get("dict_class")
    if kind not in _CLASSES:
        raise FeatureError(f"{path}: dict_class={kind!r} is not known; expected one of {', '.join(_CLASSES)}.")
    name = config.get("submodule_name")
    layer = config.get("layer")
    found: Tap | None = None
    if name and str(name).startswith("resid_post") and isinstance(layer, int):
        found = Tap("resid_post", layer)
    elif name and told.tap is None:
        found = tap_of(str(name), where=str(path))
    tap = told.place(found, file.path.parent)
    if kind == "JumpReluAutoEncoder":
        d, n = _sizes(file, "W_enc")
        parts = oriented(file, "W_enc", n, d, False), oriented(file, "W_dec", n, d, True)
        rule: Rule = JumpReLU(file.vector("threshold", n))
        bias, centre = file.vector("b_enc", n), None
        decoder_bias = file.vector("b_dec", d)
    else:
        n, d = _sizes(file, "encoder.weight")
        parts = oriented(file, "encoder.weight", n, d, True), oriented(file, "decoder.weight", n, d, False)
        bias = file.vector("encoder.bias", n)
        centre = decoder_bias = file.vector("bias" if kind == "AutoEncoder" else "b_dec", d)
        rule = Rule()
        if kind == "AutoEncoderTopK":
            k = tensors.get("k")
            rule = TopK(checked_k(config.get("k") if k is None else int(k), n, str(path)))
        elif kind != "AutoEncoder":
            threshold = tensors.get("threshold")
            if threshold is None or threshold.numel() != 1:
                raise FeatureError(f"{file.path} has no number 'threshold', which dict_class={kind!r} needs.")
            rule = JumpReLU(torch.full((n,), float(threshold)))
    return _made(
        file,
        tap,
        *parts,
        encoder_bias=bias,
        decoder_bias=decoder_bias,
        centre=centre,
        rule=rule,
        source=f"dictionary_learning {kind}",
        model=config.get("lm_name"),
    )
