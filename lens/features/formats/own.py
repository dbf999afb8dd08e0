"""This package's own folders: dictionary.json beside encoder.safetensors and decoder.safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ... import files, reading
from ...arguments import FilePath, door
from ...engine.features import Tap
from ..activations import JumpReLU, Rule, TopK, checked_k
from ..build import AnyDictionary
from ..dictionary import Dictionary
from ..errors import FeatureError
from ..weights import TensorFile
from .common import Told, number, oriented

CARD = "dictionary.json"
_WEIGHTS = ("encoder.safetensors", "decoder.safetensors")


@door(FeatureError)
def save(sae: AnyDictionary, folder: FilePath, *, half: bool = True, card: Any = None) -> Path:
    """Writes a dictionary as a folder that `load` reads: three files, whole or not at all.

    Args:
        folder: it must not be there. half: in float16, else float32. card: what else is to be told of it: plain values
            by name.

    Raises:
        FeatureError: a gated dictionary, one that divides its directions or normalises its input token by token, which
            this layout has no words for; a number beyond float16. FileError: the folder cannot be written.
    """
    plain = type(sae.rule) is Rule or (isinstance(sae.rule, TopK | JumpReLU) and sae.rule.norms is None)
    if not plain or sae.divides or sae.normalisation not in ("none", "scale") or sae.without_mean:
        raise FeatureError(
            f"sae={sae!r}: rule {sae.rule.name}, normalisation {sae.normalisation}; this layout holds ReLU, JumpReLU"
            " and top-k of the plain or scaled activation."
        )
    dtype = torch.float16 if half else torch.float32
    encoder = {"weight": sae.encoder.whole, "bias": sae.encoder_bias}
    decoder = {"weight": sae.decoder.whole, "bias": sae.decoder_bias}
    if isinstance(sae.rule, JumpReLU):
        encoder["threshold"] = sae.rule.threshold
    if sae.skip is not None:
        decoder["skip"] = sae.skip.whole
    stored = [{name: x.to(dtype).contiguous() for name, x in of.items()} for of in (encoder, decoder)]
    if not all(bool(torch.isfinite(x).all()) for of in stored for x in of.values()):
        raise FeatureError(f"sae={sae!r}: a weight is beyond {str(dtype).removeprefix('torch.')}; give half=False.")
    told = {
        "name": sae.name,
        "model": sae.model,
        "n_features": sae.n_features,
        "reads": {"site": sae.reads.site, "layer": sae.reads.layer, "head": sae.reads.head, "gain": sae.reads.gain},
        "writes": {"site": sae.writes.site, "layer": sae.writes.layer, "head": sae.writes.head},
        "rule": sae.rule.name,
        "rectified": getattr(sae.rule, "rectified", True),
        "k": getattr(sae.rule, "k", None),
        "centred": sae.centre is not None,
        "scale": [sae.scale_in, sae.scale_out],
        "skip_tokens": sae.skip_tokens,
        "starts": sae.starts,
        "card": card,
    }
    with files.replacing(folder, new=True) as part:
        part.mkdir(exist_ok=True)
        for name, tensors in zip(_WEIGHTS, stored):
            files.write_tensors(part / name, tensors)
        files.write_json(part / CARD, told)
    return files.expanded(folder)


def read(folder: Path, told: Told) -> Dictionary:
    """A dictionary that `save` wrote.

    Raises:
        FeatureError: what is missing or does not fit.
    """
    path = folder / CARD
    config: dict[str, Any] = reading.json_file(path, FeatureError)
    if told.scale is not None:
        raise FeatureError(f"scale={told.scale!r}: {path} holds the scale; leave it out.")
    enc, dec = (TensorFile(folder / name) for name in _WEIGHTS)
    n = number(config, "n_features", path)
    try:
        reads = Tap(*(config["reads"][key] for key in ("site", "layer", "head", "gain")))
        writes = Tap(*(config["writes"][key] for key in ("site", "layer", "head")))
        scale_in, scale_out = map(float, config["scale"])
    except (KeyError, TypeError, ValueError) as error:
        raise FeatureError(f"{path} cannot be read ({reading.said(error)})") from None
    bias = dec.vector("bias", dec.shapes.get("bias", (0,))[0])
    rule: Rule = Rule()
    if config.get("rule") == "topk":
        rule = TopK(checked_k(config.get("k"), n, str(path)))
    elif config.get("rule") == "jumprelu":
        rule = JumpReLU(enc.vector("threshold", n), rectified=bool(config.get("rectified", True)))
    elif config.get("rule") != "relu":
        raise FeatureError(f"{path}: rule={config.get('rule')!r} is not known; expected relu, topk or jumprelu.")
    return Dictionary(
        name=str(config.get("name", folder.name)),
        reads=reads,
        writes=writes if writes.site != reads.site else reads,
        encoder=oriented(enc, "weight", n, None, rows_first=True),
        encoder_bias=enc.vector("bias", n),
        rule=rule,
        decoder=oriented(dec, "weight", n, len(bias), rows_first=True),
        decoder_bias=bias,
        centre=bias if config.get("centred") else None,
        skip=oriented(dec, "skip", len(bias), None, rows_first=True) if "skip" in dec else None,
        normalisation="scale" if (scale_in, scale_out) != (1.0, 1.0) else "none",
        scale_in=scale_in,
        scale_out=scale_out,
        skip_tokens=int(config.get("skip_tokens", 0)),
        starts=config.get("starts"),
        model=config.get("model"),
        source="Mnemoscope",
        about={"folder": str(folder), "card": config.get("card")},
    )
