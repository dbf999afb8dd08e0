"""Llama Scope's folders: hyperparams.json and checkpoints/final.safetensors; of the distilled R1 sae_weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ... import reading
from ..activations import JumpReLU, Rule
from ..dictionary import Dictionary, Normalisation
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import TensorFile
from .common import Told, number, oriented

#: Where the distilled set may have its configuration, the first that is there.
_CONFIGURATIONS = ("config.json", "cfg.json", "hyperparams.json")
_LENGTHS, _LOGARITHM = "dataset_average_activation_norm", "log_jumprelu_threshold"


def read(folder: Path, told: Told) -> Dictionary:
    """A dictionary of Llama Scope's; features are in its own units, those of the normalised input.

    Raises:
        FeatureError: an activation or a normalisation that is not known; a threshold that is absent; what does not fit.
    """
    path = folder / "hyperparams.json"
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: {path} holds the scales; leave it out.")
    return _dictionary(folder, path, TensorFile(folder / "checkpoints" / "final.safetensors"), told)


def read_distilled(folder: Path, told: Told) -> Dictionary:
    """A dictionary of Llama Scope's set for the distilled R1, which holds a threshold's logarithm for each feature.

    Raises:
        FeatureError: no configuration; a scale that neither files nor caller say; what does not fit.
    """
    path = next((folder / name for name in _CONFIGURATIONS if (folder / name).is_file()), folder / _CONFIGURATIONS[0])
    return _dictionary(folder, path, TensorFile(folder / "sae_weights.safetensors"), told)


def _dictionary(folder: Path, path: Path, file: TensorFile, told: Told) -> Dictionary:
    config: dict[str, Any] = reading.json_file(path, FeatureError)
    d = number(config, "d_model", path)
    n = number(config, "d_sae", path) if "d_sae" in config else d * number(config, "expansion_factor", path)
    encoder = oriented(file, "encoder.weight", n, d, rows_first=True)
    decoder = oriented(file, "decoder.weight", n, d, rows_first=False)
    bias = file.vector("decoder.bias", d)
    read_at, write_at = config.get("hook_point_in"), config.get("hook_point_out")
    config = _with_lengths(config, file, str(read_at), str(write_at))
    given: tuple[Normalisation, float, float] | None = None
    if told.scale is not None:
        given = "scale", told.scale, told.scale
    normalisation, scale_in, scale_out = given or _normalisation(config, d, path)
    taps = [
        tap_of(str(read_at), "in", where=str(path)) if read_at else None,
        tap_of(str(write_at), "out", where=str(path)) if write_at else None,
    ]
    reads = told.place(taps[0], folder)
    writes = taps[1] if taps[1] is not None and taps[1] != taps[0] else reads
    return Dictionary(
        name=folder.name,
        reads=reads,
        writes=writes,
        encoder=encoder,
        encoder_bias=file.vector("encoder.bias", n),
        rule=_rule(config, n, decoder, path, file),
        decoder=decoder,
        decoder_bias=bias,
        centre=bias if config.get("apply_decoder_bias_to_pre_encoder") else None,
        normalisation=normalisation,
        scale_in=scale_in,
        scale_out=scale_out,
        skip_tokens=1,
        starts=True,
        model=config.get("model_name"),
        source="Llama Scope",
        about={"folder": str(folder)},
    )


def _with_lengths(config: dict[str, Any], file: TensorFile, read_at: str, write_at: str) -> dict[str, Any]:
    """The configuration with the mean lengths that stand among the tensors, one a hook, where it has none itself."""
    names = {side: f"{_LENGTHS}.{hook}" for side, hook in (("in", read_at), ("out", write_at))}
    if _LENGTHS in config or not all(name in file for name in names.values()):
        return config
    return config | {_LENGTHS: {side: float(file.tensor(name).float()) for side, name in names.items()}}


def _rule(config: dict[str, Any], n: int, decoder: Any, path: Path, file: TensorFile) -> Rule:
    norms = (lambda: decoder.norms) if config.get("sparsity_include_decoder_norm") else None
    if _LOGARITHM in file:
        return JumpReLU(file.vector(_LOGARITHM, n).exp(), norms, rectified=False)
    kind, threshold = config.get("act_fn", "relu"), config.get("jump_relu_threshold")
    if kind == "relu":
        return Rule()
    if kind != "jumprelu":
        raise FeatureError(f"{path}: act_fn={kind!r} is not known; expected 'jumprelu' or 'relu'.")
    if not isinstance(threshold, int | float) or isinstance(threshold, bool):
        raise FeatureError(
            f"{path}: act_fn='jumprelu' and jump_relu_threshold={threshold!r}; expected one number, the threshold."
        )
    return JumpReLU(torch.full((n,), float(threshold)), norms, rectified=False)


def _normalisation(config: dict[str, Any], d: int, path: Path) -> tuple[Normalisation, float, float]:
    kind = config.get("norm_activation")
    if kind in (None, "none", "no-norm", "inference"):
        return "none", 1.0, 1.0
    if kind == "token-wise":
        return "token", 1.0, 1.0
    lengths = config.get(_LENGTHS)
    if kind != "dataset-wise":
        raise FeatureError(
            f"{path}: norm_activation={kind!r} is not known; expected dataset-wise, token-wise, inference or none."
        )
    if not isinstance(lengths, dict) or not all(
        isinstance(lengths.get(side), int | float) and lengths[side] > 0 for side in ("in", "out")
    ):
        raise FeatureError(
            f"{path}: norm_activation='dataset-wise' and dataset_average_activation_norm={lengths!r}; expected the"
            " mean lengths {'in': ..., 'out': ...}. Where the files have none, give scale=sqrt(d_model) / mean length."
        )
    return "scale", d**0.5 / lengths["in"], d**0.5 / lengths["out"]
