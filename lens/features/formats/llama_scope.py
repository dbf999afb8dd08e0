"""Llama Scope's folders: hyperparams.json and checkpoints/final.safetensors."""

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


def read(folder: Path, told: Told) -> Dictionary:
    """A dictionary of Llama Scope's; features are in its own units, those of the normalised input.

    Raises:
        FeatureError: an activation or a normalisation that is not known; a threshold that is absent; what does not fit.
    """
    path = folder / "hyperparams.json"
    config: dict[str, Any] = reading.json_file(path, FeatureError)
    file = TensorFile(folder / "checkpoints" / "final.safetensors")
    d = number(config, "d_model", path)
    n = number(config, "d_sae", path) if "d_sae" in config else d * number(config, "expansion_factor", path)
    encoder = oriented(file, "encoder.weight", n, d, rows_first=True)
    decoder = oriented(file, "decoder.weight", n, d, rows_first=False)
    bias = file.vector("decoder.bias", d)
    normalisation, scale_in, scale_out = _normalisation(config, d, path)
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: {path} holds the scales; leave it out.")
    read_at, write_at = config.get("hook_point_in"), config.get("hook_point_out")
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
        rule=_rule(config, n, decoder, path),
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


def _rule(config: dict[str, Any], n: int, decoder: Any, path: Path) -> Rule:
    kind, threshold = config.get("act_fn", "relu"), config.get("jump_relu_threshold")
    if kind == "relu":
        return Rule()
    if kind != "jumprelu":
        raise FeatureError(f"{path}: act_fn={kind!r} is not known; expected 'jumprelu' or 'relu'.")
    if not isinstance(threshold, int | float) or isinstance(threshold, bool):
        raise FeatureError(
            f"{path}: act_fn='jumprelu' and jump_relu_threshold={threshold!r}; expected one number, the threshold."
        )
    by_norm = bool(config.get("sparsity_include_decoder_norm"))
    return JumpReLU(torch.full((n,), float(threshold)), (lambda: decoder.norms) if by_norm else None, rectified=False)


def _normalisation(config: dict[str, Any], d: int, path: Path) -> tuple[Normalisation, float, float]:
    kind = config.get("norm_activation")
    if kind in (None, "none", "no-norm", "inference"):
        return "none", 1.0, 1.0
    if kind == "token-wise":
        return "token", 1.0, 1.0
    lengths = config.get("dataset_average_activation_norm")
    if kind != "dataset-wise":
        raise FeatureError(
            f"{path}: norm_activation={kind!r} is not known; expected dataset-wise, token-wise, inference or none."
        )
    if not isinstance(lengths, dict) or not all(
        isinstance(lengths.get(side), int | float) and lengths[side] > 0 for side in ("in", "out")
    ):
        raise FeatureError(
            f"{path}: norm_activation='dataset-wise' and dataset_average_activation_norm={lengths!r}; expected the"
            " mean lengths {'in': ..., 'out': ...}."
        )
    return "scale", d**0.5 / lengths["in"], d**0.5 / lengths["out"]
