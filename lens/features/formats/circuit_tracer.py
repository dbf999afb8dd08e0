"""circuit-tracer's folders: config.yaml, and a file a layer (or two, of cross-layer transcoders)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ... import reading
from ...engine.features import Tap
from ..activations import JumpReLU, Rule, TopK, checked_k
from ..cross_layer import CrossLayer
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..taps import tap_of
from ..weights import Matrix, TensorFile
from .common import Told, oriented

_LAYER = re.compile(r"^layer_(\d+)\.safetensors$")
_ENCODER = re.compile(r"^W_enc_(\d+)\.safetensors$")
_THRESHOLD = "activation_function.threshold"


def config_of(folder: Path) -> Mapping[str, Any]:
    """config.yaml, or nothing where there is none.

    Raises:
        FeatureError: it is no YAML of names and values.
    """
    path = folder / "config.yaml"
    if not path.exists():
        return {}
    import yaml

    try:
        config = yaml.safe_load(reading.text(path, FeatureError, most=1 << 20))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FeatureError(f"{path} cannot be read ({reading.said(error)})") from None
    if not isinstance(config, dict):
        raise FeatureError(f"{path} holds a {type(config).__name__}; expected names and values.")
    return config


def read(folder: Path, told: Told) -> Dictionary:
    """A transcoder of one layer, ``layer=`` where the folder has several.

    Raises:
        FeatureError: no such layer; a hook that is not known; what is missing or does not fit.
    """
    config = config_of(folder)
    layers = sorted(int(m[1]) for p in folder.iterdir() if (m := _LAYER.match(p.name)))
    layer = told.layer if told.layer is not None else layers[0] if len(layers) == 1 else None
    if layer not in layers:
        raise FeatureError(
            f"layer={told.layer!r}: folder={str(folder)!r} holds transcoders of the layers {layers}; give one of them."
        )
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: circuit-tracer's transcoders have none; leave it out.")
    file = TensorFile(folder / f"layer_{layer}.safetensors")
    shape = file.shapes.get("W_enc", ())
    if len(shape) != 2:
        raise FeatureError(f"{file.path}: 'W_enc' is {shape}; expected [features, width].")
    n, d = shape
    d_out = file.shapes.get("b_dec", (d,))[0]
    where = str(folder / "config.yaml")
    given = [config.get(f"feature_{side}_hook") for side in ("input", "output")]
    taps = [tap_of(f"blocks.{layer}.{name}", where=where) if name else None for name in given]
    reads = Told(None, told.tap, told.layer if taps[0] is None else None).place(taps[0], folder)
    return Dictionary(
        name=f"{folder.name}/layer_{layer}",
        reads=reads,
        writes=taps[1] or Tap("mlp_out", layer),
        encoder=oriented(file, "W_enc", n, d, rows_first=True),
        encoder_bias=file.vector("b_enc", n),
        rule=_rule(config, file, _THRESHOLD, n),
        decoder=oriented(file, "W_dec", n, d_out, rows_first=True),
        decoder_bias=file.vector("b_dec", d_out),
        skip=oriented(file, "W_skip", d_out, d, rows_first=True) if "W_skip" in file else None,
        skip_tokens=1,
        starts=True,
        model=config.get("model_name"),
        source="circuit-tracer",
        about={"folder": str(folder)},
    )


def _rule(config: Mapping[str, Any], file: TensorFile, threshold: str, n: int) -> Rule:
    kind = config.get("activation")
    if threshold in file:
        # what lies below 0 is not made 0 there, which shows where a threshold is negative
        return JumpReLU(file.vector(threshold, n), rectified=False)
    if kind in ("jumprelu", "jump_relu"):
        raise FeatureError(f"{file.path} has no {threshold!r}, which activation={kind!r} of its config.yaml needs.")
    if kind == "topk" or config.get("k") is not None:
        return TopK(checked_k(config.get("k"), n, str(file.path)))
    return Rule()


def read_cross_layer(folder: Path, told: Told) -> CrossLayer:
    """A cross-layer transcoder: an encoder a layer, which writes to that and all later layers.

    Raises:
        FeatureError: a layer whose file is missing or does not fit.
    """
    config = config_of(folder)
    layers = sorted(int(m[1]) for p in folder.iterdir() if (m := _ENCODER.match(p.name)))
    if layers != list(range(len(layers))):
        raise FeatureError(f"folder={str(folder)!r} holds encoders of the layers {layers}; expected 0 to the last.")
    parts, n_layers = [], len(layers)
    hook = config.get("feature_input_hook")
    for i in layers:
        enc, dec = TensorFile(folder / f"W_enc_{i}.safetensors"), TensorFile(folder / f"W_dec_{i}.safetensors")
        shape, stack = enc.shapes.get(f"W_enc_{i}", ()), dec.shapes.get(f"W_dec_{i}", ())
        if len(shape) != 2 or len(stack) != 3 or stack[0] != shape[0] or stack[1] != n_layers - i:
            raise FeatureError(
                f"{dec.path}: 'W_dec_{i}' is {stack} and 'W_enc_{i}' {shape}; expected [F, {n_layers - i}, d] and"
                f" [F, d], of the {n_layers} layers."
            )
        n = shape[0]
        parts.append(
            Dictionary(
                name=f"{folder.name}/layer_{i}",
                reads=told.place(tap_of(f"blocks.{i}.{hook}") if hook else None, folder),
                writes=Tap("mlp_out", i),
                encoder=Matrix(enc, f"W_enc_{i}"),
                encoder_bias=enc.vector(f"b_enc_{i}", n),
                rule=_rule(config, enc, f"threshold_{i}", n),
                decoder=Matrix(dec, f"W_dec_{i}", layer=0),
                decoder_bias=enc.vector(f"b_dec_{i}", stack[2]),
                skip_tokens=1,
                model=config.get("model_name"),
                source="circuit-tracer",
            )
        )
    return CrossLayer(folder.name, parts)
