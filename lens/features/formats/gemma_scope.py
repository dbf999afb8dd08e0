"""Gemma Scope's folders: params.npz of the first release, params.safetensors beside config.json of the second."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ... import reading
from ...engine.features import Tap
from ..activations import JumpReLU
from ..cross_layer import CrossLayer
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import Matrix, TensorFile
from .common import Told, oriented

#: Of the first release: a set's name at the end of its repository's, and its site.
_SETS = {"res": "resid_post", "mlp": "mlp_out", "att": "z", "transcoders": "mlp_in"}
#: Leading tokens on which the dictionaries of models that were tuned to instructions were not trained.
_CHAT_PREFIX = 4
_LAYER = re.compile(r"^params_layer_(\d+)\.safetensors$")


def read_first(folder: Path, told: Told) -> Dictionary:
    """A dictionary of the first release. Site and layer are in the names of its folders alone.

    Raises:
        FeatureError: a site or layer that neither these names nor the caller says; what is missing or does not fit.
    """
    file = TensorFile(folder / "params.npz")
    if "W_enc" not in file or len(file.shapes["W_enc"]) != 2:
        raise FeatureError(f"{file.path} has no matrix 'W_enc'; it holds {', '.join(sorted(file.shapes))}.")
    d_in, n = file.shapes["W_enc"]
    whole = folder.resolve().as_posix()
    layer = re.search(r"/layer_(\d+)(?:/|$)", whole)
    of = re.search(r"/gemma-scope-[^/]*-(res|mlp|att|transcoders)/", whole)
    found = Tap(_SETS[of[1]], int(layer[1]), gain=of[1] != "transcoders") if layer and of else None
    if found is None and layer and told.layer is None:
        told = Told(told.scale, told.tap, int(layer[1]), told.without_mean)
    reads = told.place(found, folder)
    transcodes = reads.site == "mlp_in"
    if (reads.site == "embed") != (told.scale is not None):
        raise FeatureError(
            f"scale={told.scale!r} of {folder}: Gemma Scope's set of embeddings, and no other, was trained on"
            " embeddings before they are multiplied by sqrt(d_model); give scale=d_model**-0.5 with tap='embed'."
        )
    scale = told.scale or 1.0
    return Dictionary(
        name="/".join(folder.parts[-3:]),
        reads=reads,
        writes=Tap("mlp_out", reads.layer) if transcodes else reads,
        encoder=oriented(file, "W_enc", n, d_in, rows_first=False),
        encoder_bias=file.vector("b_enc", n),
        rule=JumpReLU(file.vector("threshold", n)),
        decoder=oriented(file, "W_dec", n, None if transcodes else d_in, rows_first=True),
        decoder_bias=file.vector("b_dec", file.shapes["W_dec"][1]),
        normalisation="scale" if told.scale is not None else "none",
        scale_in=scale,
        scale_out=scale,
        skip_tokens=1,
        starts=True,
        source="Gemma Scope",
        about={"folder": str(folder)},
    )


def read_second(folder: Path, told: Told) -> Dictionary:
    """A dictionary of the second release: an autoencoder or a transcoder, with or without an affine part.

    Raises:
        FeatureError: what is missing or does not fit.
    """
    config = config_of(folder)
    file = TensorFile(folder / "params.safetensors")
    n, d_in, d_out = sizes_of(file)
    names = [config.get(f"hf_hook_point_{side}") for side in ("in", "out")]
    where = str(folder / "config.json")
    taps = [tap_of(str(name), "out", where=where) if name else None for name in names]
    reads = told.place(taps[0], folder)
    writes = taps[1] if taps[1] is not None and taps[1] != taps[0] else Tap("mlp_out", reads.layer)
    affine = "affine_skip_connection"
    return Dictionary(
        name=folder.name,
        reads=reads,
        writes=writes if reads.site == "mlp_in" else reads,
        encoder=oriented(file, "w_enc", n, d_in, rows_first=False),
        encoder_bias=file.vector("b_enc", n),
        rule=JumpReLU(file.vector("threshold", n)),
        decoder=oriented(file, "w_dec", n, d_out, rows_first=True),
        decoder_bias=file.vector("b_dec", d_out),
        # written as [d_in, d_out] and used as x @ A
        skip=oriented(file, affine, d_out, d_in, rows_first=False) if affine in file else None,
        skip_tokens=_CHAT_PREFIX if "-it" in str(config.get("model_name", "")) else 1,
        starts=True,
        model=config.get("model_name"),
        source="Gemma Scope 2",
        about={"folder": str(folder)},
    )


def read_cross_layer(folder: Path, told: Told) -> CrossLayer:
    """A cross-layer transcoder of the second release: a file a layer, in whose decoder ``[F, layer, d]`` a layer's own
    place and the later ones are meant.

    Raises:
        FeatureError: a crosscoder, whose features read several layers; a layer whose file is missing or does not fit;
            a place that neither the configuration nor the caller says.
    """
    paths = {int(m[1]): p for p in folder.iterdir() if (m := _LAYER.match(p.name))}
    files = {i: TensorFile(paths[i]) for i in sorted(paths)}
    if any(len(file.shapes.get("w_dec", ())) != 3 for file in files.values()):
        raise FeatureError(
            f"folder={str(folder)!r} holds params_layer_*.safetensors of a crosscoder, whose features read several"
            " layers at once and are no site; take the dictionary of one layer."
        )
    if list(files) != list(range(len(files))):
        raise FeatureError(f"folder={str(folder)!r} holds the layers {list(files)}; expected 0 to the last.")
    config, where = config_of(folder), str(folder / "config.json")
    hook, affine = config.get("hf_hook_point_in"), "affine_skip_connection"
    found = tap_of(re.sub(r"\{\w*\}", "0", hook), "out", where=where) if isinstance(hook, str) else None
    site = told.place(found, folder) if told.tap is None else Told(None, told.tap, 0).place(found, folder)
    parts = []
    for i, file in files.items():
        n, d_in, d_out = sizes_of(file)
        if file.shapes["w_dec"][:2] != (n, len(files)):
            raise FeatureError(
                f"{file.path}: 'w_dec' is {file.shapes['w_dec']}; expected [{n}, {len(files)}, d], of the"
                f" {len(files)} layers whose files are there."
            )
        parts.append(
            Dictionary(
                name=f"{folder.name}/layer_{i}",
                reads=replace(site, layer=i),
                writes=Tap("mlp_out", i),
                encoder=oriented(file, "w_enc", n, d_in, rows_first=False),
                encoder_bias=file.vector("b_enc", n),
                rule=JumpReLU(file.vector("threshold", n)),
                decoder=stacked(file, i),
                decoder_bias=file.vector("b_dec", d_out),
                skip=oriented(file, affine, d_out, d_in, rows_first=False) if affine in file else None,
                skip_tokens=_CHAT_PREFIX if "-it" in str(config.get("model_name", "")) else 1,
                starts=True,
                model=config.get("model_name"),
                source="Gemma Scope 2",
            )
        )
    return CrossLayer(folder.name, parts)


def config_of(folder: Path) -> dict[str, Any]:
    """The configuration of the second release. Raises: FeatureError: absent, or of another activation."""
    config: dict[str, Any] = reading.json_file(folder / "config.json", FeatureError)
    if config.get("architecture") != "jump_relu":
        raise FeatureError(
            f"{folder / 'config.json'}: architecture={config.get('architecture')!r}; expected 'jump_relu'."
        )
    return config


def sizes_of(file: TensorFile) -> tuple[int, int, int]:
    """Features, and the widths read and written. Raises: FeatureError: no such matrices."""
    enc, dec = file.shapes.get("w_enc", ()), file.shapes.get("w_dec", ())
    if len(enc) != 2 or len(dec) not in (2, 3):
        raise FeatureError(f"{file.path}: 'w_enc' is {enc} and 'w_dec' {dec}; expected [d, F] and [F, d].")
    return enc[1], enc[0], dec[-1]


def stacked(file: TensorFile, layer: int) -> Matrix:
    """The decoder of one layer of a stack ``[F, layer, d]``."""
    return Matrix(file, "w_dec", layer=layer)
