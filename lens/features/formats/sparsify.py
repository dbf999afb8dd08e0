"""sparsify's folders: cfg.json beside sae.safetensors, named by the module that they are of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ... import reading
from ...engine.features import Tap
from ..activations import GroupMax, Rule, TopK, checked_k
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import TensorFile
from .common import Told, number, oriented


def read(folder: Path, told: Told) -> Dictionary:
    """A dictionary of sparsify's: an autoencoder of a module's output, or a transcoder from its input to its output.

    Raises:
        FeatureError: a k that is larger than the dictionary, groups of unequal size, what is missing or does not fit.
    """
    path = folder / "cfg.json"
    config: dict[str, Any] = reading.json_file(path, FeatureError)
    file = TensorFile(folder / "sae.safetensors")
    d = number(config, "d_in", path)
    n = config.get("num_latents") or d * number(config, "expansion_factor", path)
    transcodes = bool(config.get("transcode"))
    d_out = file.shapes["W_dec"][-1] if transcodes and "W_dec" in file else d
    k = checked_k(config.get("k"), n, str(path))
    kind = config.get("activation", "topk")
    rule: Rule
    if kind == "groupmax":
        if n % k:
            raise FeatureError(f"{path}: activation='groupmax' needs k={k} equal groups of {n} features.")
        rule = GroupMax(k)
    elif kind == "topk":
        rule = TopK(k)
    else:
        raise FeatureError(f"{path}: activation={kind!r} is not known; expected 'topk' or 'groupmax'.")
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: sparsify's dictionaries have none; leave it out.")
    reads, writes = _taps(folder, transcodes, told)
    bias = file.vector("b_dec", d_out)
    return Dictionary(
        name=f"{folder.parent.name}/{folder.name}",
        reads=reads,
        writes=writes,
        encoder=oriented(file, "encoder.weight", n, d, rows_first=True),
        encoder_bias=file.vector("encoder.bias", n),
        rule=rule,
        decoder=oriented(file, "W_dec", n, d_out, rows_first=True),
        decoder_bias=bias,
        centre=None if transcodes else bias,
        skip=oriented(file, "W_skip", d_out, d, rows_first=True) if "W_skip" in file else None,
        source="sparsify",
        about={"folder": str(folder)},
    )


def _taps(folder: Path, transcodes: bool, told: Told) -> tuple[Tap, Tap]:
    """Places by the module that the folder is named by; an autoencoder reads its output."""
    try:
        found = tap_of(folder.name, "in" if transcodes else "out", where=f"the folder {folder.name!r}")
    except FeatureError:
        if told.tap is None or told.layer is None:
            raise
        found = None
    reads = told.place(found, folder)
    if not transcodes:
        return reads, reads
    site = "mlp_out" if reads.site == "mlp_in" else "resid_post" if reads.site == "resid_pre" else reads.site
    return reads, Tap(site, reads.layer)
