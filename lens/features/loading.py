"""Dictionaries from disk: which library wrote a folder is told by its files and keys, never by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .. import reading
from ..arguments import FilePath, Positive, Size, door
from ..files import expanded
from .cross_layer import CrossLayer
from .dictionary import Dictionary
from .errors import FeatureError
from .formats import circuit_tracer, gemma_scope, llama_scope, own, pickled, saelens, sparsify
from .formats.common import Told
from .shipping import PREFIX, folder_of

_PICKLES = (".pt", ".pth", ".pkl", ".bin", ".ckpt")
Reader = Callable[[Path, Told], Any]


@door(FeatureError)
def load(
    folder: FilePath,
    *,
    scale: Positive | None = None,
    tap: str | None = None,
    layer: Size | None = None,
    without_mean: bool | None = None,
    allow_tensors_from_pickle: bool = False,
) -> Dictionary | CrossLayer:
    """A dictionary of features from a folder on disk: SAELens', sparsify's, Gemma Scope's (1 and 2), Llama Scope's or
    circuit-tracer's.

    Weights stay in the file and its dtype until they are used. Nothing is fetched and nothing is executed.

    Args:
        folder: where the files lie, or "features:<name>" of one that ships with the package (`shipped`).
        scale: what the input is multiplied by, for dictionaries that keep it outside of their files (SAELens'
            ``expected_average_only_in``).
        tap: the site that the dictionary is of, where its files do not say it: a site's name, ``mlp_in`` (what the MLP
            reads, the norm's gain in it) or ``mlp_in_without_gain``.
        layer: 0-based, where the files do not say it, or the one that is wanted of several.
        without_mean: whether the dictionary was trained on a stream whose mean over the width was taken off (weights
            processed by TransformerLens). None: as the file says.

        allow_tensors_from_pickle: whether the tensors of a ``.pt`` are read, by a reader that runs nothing of it
            (`lens.pickled_tensors`): dictionary_learning's, Qwen-Scope's and Goodfire's.

    Raises:
        FeatureError: no dictionary there, or more than one format fits; a pickle; a threshold, a scale or a place that
            is missing; weights of other sizes than the configuration says.

    >>> sae = lens.features.load("sae-SmolLM2-135M-64x/layers.15.mlp")          # doctest: +SKIP
    """
    named = str(folder)
    path = folder_of(named) if named.startswith(PREFIX) else expanded(folder)
    if not path.is_dir():
        raise FeatureError(f"folder={str(folder)!r} is no folder; give the one that holds the dictionary's files.")
    told = Told(scale, tap, layer, without_mean)
    readers = [(name, reader) for name, fits, reader in _FORMATS if fits(path)]
    if len(readers) > 1:
        raise FeatureError(
            f"folder={str(folder)!r} fits more than one format: {', '.join(name for name, _ in readers)}; put each"
            " dictionary in a folder of its own."
        )
    if not readers and allow_tensors_from_pickle and (found := pickled.file_of(path)) is not None:
        return pickled.read(found, told)
    if not readers:
        raise FeatureError(_nothing(path))
    loaded: Dictionary | CrossLayer = readers[0][1](path, told)
    return loaded


def _keys(path: Path) -> set[str]:
    """The names of a safetensors file's tensors; none where there is no such file."""
    return set(reading.safetensors_header(path, FeatureError)) if path.is_file() else set()


def _saelens(folder: Path) -> bool:
    return (folder / "cfg.json").is_file() and "W_enc" in _keys(folder / "sae_weights.safetensors")


def _sparsify(folder: Path) -> bool:
    return (folder / "cfg.json").is_file() and {"encoder.weight", "W_dec"} <= _keys(folder / "sae.safetensors")


def _gemma_second(folder: Path) -> bool:
    return "w_enc" in _keys(folder / "params.safetensors")


def _llama(folder: Path) -> bool:
    keys = _keys(folder / "checkpoints" / "final.safetensors")
    return (folder / "hyperparams.json").is_file() and "encoder.weight" in keys


def _llama_distilled(folder: Path) -> bool:
    return "log_jumprelu_threshold" in _keys(folder / "sae_weights.safetensors")


def _has(pattern: str, *keys: str) -> Callable[[Path], bool]:
    def fits(folder: Path) -> bool:
        first = next(iter(sorted(folder.glob(pattern))), None)
        return first is not None and (not keys or set(keys) <= _keys(first))

    return fits


_FORMATS: tuple[tuple[str, Callable[[Path], bool], Reader], ...] = (
    ("Mnemoscope", lambda folder: (folder / own.CARD).is_file(), own.read),
    ("SAELens", _saelens, saelens.read),
    ("sparsify", _sparsify, sparsify.read),
    ("Gemma Scope", lambda folder: (folder / "params.npz").is_file(), gemma_scope.read_first),
    ("Gemma Scope 2", _gemma_second, gemma_scope.read_second),
    ("Gemma Scope 2, several layers", _has("params_layer_*.safetensors"), gemma_scope.read_cross_layer),
    ("Llama Scope", _llama, llama_scope.read),
    ("Llama Scope, distilled", _llama_distilled, llama_scope.read_distilled),
    ("circuit-tracer", _has("layer_*.safetensors", "W_enc", "W_dec"), circuit_tracer.read),
    ("circuit-tracer, cross-layer", _has("W_enc_*.safetensors"), circuit_tracer.read_cross_layer),
)


def _nothing(folder: Path) -> str:
    pickles = sorted(p.name for p in folder.iterdir() if p.suffix in _PICKLES)
    if pickles:
        return (
            f"folder={str(folder)!r} holds {pickles[0]}, a pickle, which could run any code when it is read; convert it"
            " where it is trusted (safetensors.torch.save_file of its tensors, in one of the layouts that"
            " lens.features.load reads), or give allow_tensors_from_pickle=True: then a reader that runs nothing of it"
            " takes its tensors out."
        )
    names = ", ".join(sorted(p.name for p in folder.iterdir())[:8]) or "nothing"
    return (
        f"folder={str(folder)!r} holds no dictionary that is known ({names}); expected cfg.json with"
        " sae_weights.safetensors or sae.safetensors, params.npz, params.safetensors, hyperparams.json with"
        " checkpoints/final.safetensors, or layer_*.safetensors."
    )
