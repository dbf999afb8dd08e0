"""SAELens' folders: cfg.json beside sae_weights.safetensors, before and after version 6."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ... import reading
from ...engine.features import Tap
from ..activations import Gated, JumpReLU, Rule, TopK, checked_k
from ..dictionary import Dictionary, Normalisation
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import TensorFile
from .common import Told, number, oriented

#: How a name of normalisation is meant, by the canonical form.
_NORMALISATIONS: dict[Any, Normalisation] = {
    None: "none",
    False: "none",
    "none": "none",
    True: "scale",
    "expected_average_only_in": "scale",
    "constant_norm_rescale": "token",
    "layer_norm": "layer_norm",
}
_RELU = ("standard", "transcoder", "skip_transcoder")
_JUMP = ("jumprelu", "jumprelu_transcoder", "jumprelu_skip_transcoder", "batchtopk", "matryoshka_batchtopk")
_TRANSCODERS = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")
#: Releases that were trained on weights with `center_writing_weights` (spec of the list of releases).
_CENTRED = ("res-jb", "gpt2-small-res-jb", "gpt2-small-res-jb-feature-splitting", "gpt2-small-mlp-tm")


def read(folder: Path, told: Told) -> Dictionary:
    """A dictionary of SAELens'.

    Raises:
        FeatureError: a kind that has no canonical form (matching pursuit, temporal, factors of a fine-tuning); a scale
            that is kept outside the file; what is missing or does not fit.
    """
    path = folder / "cfg.json"
    config = _modern(reading.json_file(path, FeatureError), path)
    file = TensorFile(folder / "sae_weights.safetensors")
    kind = config["architecture"]
    if kind not in (*_RELU, *_JUMP, "gated", "topk"):
        raise FeatureError(
            f"{path}: architecture={kind!r} has no linear encoder and decoder that one edit could use; expected one of"
            f" {', '.join((*_RELU, *_JUMP, 'gated', 'topk'))}."
        )
    d_in, n = number(config, "d_in", path), number(config, "d_sae", path)
    transcodes = kind in _TRANSCODERS
    d_out = number(config, "d_out", path) if transcodes and config.get("d_out") is not None else d_in
    if transcodes and config["apply_b_dec_to_input"]:
        raise FeatureError(f"{path}: apply_b_dec_to_input is true, which a transcoder has no meaning for.")
    encoder = oriented(file, "W_enc", n, d_in, rows_first=False)
    decoder = oriented(file, "W_dec", n, d_out, rows_first=True)
    if "scaling_factor" in file and not bool((file.vector("scaling_factor", n) == 1).all()):
        raise FeatureError(
            f"{file.path}: scaling_factor is not 1 everywhere: a fine-tuning's factors on the features, which are"
            " folded into W_dec before a release; fold them first (W_dec *= scaling_factor)."
        )
    b_dec = file.vector("b_dec", d_out)
    divides = kind == "topk" and bool(config.get("rescale_acts_by_decoder_norm"))
    rule: Rule
    if kind == "gated":
        rule = Gated(*(file.vector(name, n) for name in ("b_gate", "r_mag", "b_mag")))
    elif kind == "topk":
        k = checked_k(config.get("k"), n, str(path))
        rule = TopK(k, (lambda: decoder.norms) if divides else None)
    elif kind in _JUMP:
        if "threshold" not in file:
            raise FeatureError(f"{file.path} has no 'threshold', which architecture={kind!r} of {path} needs.")
        rule = JumpReLU(file.vector("threshold", n))
    else:
        rule = Rule()
    normalisation = _NORMALISATIONS.get(config.get("normalize_activations"))
    if normalisation is None:
        raise FeatureError(
            f"{path}: normalize_activations={config.get('normalize_activations')!r} is not known; expected none,"
            " expected_average_only_in, constant_norm_rescale or layer_norm."
        )
    scale = _scale(normalisation, told, path)
    reads, writes = _taps(config, transcodes, folder, told)
    about = {k: config[k] for k in ("context_size", "sae_lens_version", "release") if config.get(k) is not None}
    return Dictionary(
        name=folder.name,
        reads=reads,
        writes=writes,
        encoder=encoder,
        encoder_bias=torch.zeros(n) if kind == "gated" else file.vector("b_enc", n),
        rule=rule,
        decoder=decoder,
        decoder_bias=b_dec,
        centre=b_dec if config["apply_b_dec_to_input"] else None,
        skip=oriented(file, "W_skip", d_out, d_in, rows_first=True) if "W_skip" in file else None,
        normalisation=normalisation,
        scale_in=scale,
        scale_out=scale,
        divides=divides,
        without_mean=_without_mean(config, told),
        starts=config.get("prepend_bos"),
        model=config.get("model_name"),
        source=f"SAELens {kind}",
        about={"folder": str(folder), "config": str(path), **about},
    )


def _modern(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """A configuration with the keys of version 6 and what earlier ones left unsaid."""
    given = config.get("metadata")
    about: dict[str, Any] = dict(given) if isinstance(given, Mapping) else {}
    version = str(about.get("sae_lens_version") or config.get("sae_lens_version") or "")
    flat = {**config, **about}
    if version and int(version.split(".")[0] or 0) >= 6:
        flat.setdefault("apply_b_dec_to_input", flat.get("architecture") not in _TRANSCODERS)
        if "architecture" not in flat:
            raise FeatureError(f"{path} names no architecture, which files of version {version} do.")
        return flat
    for old, new in (("hook_point", "hook_name"), ("hook_point_head_index", "hook_head_index")):
        if old in flat:
            flat.setdefault(new, flat[old])
    activation = flat.get("activation_fn_str", flat.get("activation", flat.get("activation_fn")))
    arguments = flat.get("activation_fn_kwargs") or {}
    if activation == "topk" and isinstance(arguments, Mapping):
        flat["architecture"], flat["k"] = "topk", flat.get("k", arguments.get("k"))
    flat.setdefault("architecture", "standard")
    flat.setdefault("apply_b_dec_to_input", flat["architecture"] not in _TRANSCODERS)
    flat.setdefault("prepend_bos", True)
    flat.setdefault("normalize_activations", "none")
    return flat


def _scale(normalisation: Normalisation, told: Told, path: Path) -> float:
    if normalisation == "scale":
        if told.scale is None:
            raise FeatureError(
                f"scale=None: {path} says normalize_activations='expected_average_only_in', whose factor is not in the"
                " file but in SAELens' list of releases; give scale=sqrt(d_in) / the mean length of the training's"
                " activations."
            )
        return told.scale
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: {path} asks for no scale; leave it out.")
    return 1.0


def _taps(config: Mapping[str, Any], transcodes: bool, folder: Path, told: Told) -> tuple[Tap, Tap]:
    head = config.get("hook_head_index")
    head = head if isinstance(head, int) and not isinstance(head, bool) else None
    where = str(folder / "cfg.json")

    def of(name: Any) -> Tap | None:
        return tap_of(str(name), head=head, where=where) if name else None

    if told.tap is not None and told.layer is not None and not transcodes:
        reads = told.place(None, folder)
        return reads, reads
    reads = told.place(of(config.get("hook_name")), folder)
    if not transcodes:
        return reads, reads
    writes = of(config.get("hook_name_out") or config.get("hook_out"))
    return reads, writes or Tap("mlp_out", reads.layer)


def _without_mean(config: Mapping[str, Any], told: Told) -> bool:
    if told.without_mean is not None:
        return told.without_mean
    given = config.get("model_from_pretrained_kwargs")
    if isinstance(given, Mapping) and "center_writing_weights" in given:
        return bool(given["center_writing_weights"])
    return str(config.get("release", "")) in _CENTRED
