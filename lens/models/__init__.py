"""Models by name: the fetched default, a hub name, a local folder or an organism, each as a TransformerLens bridge.

Torch and what stands on it are imported by the first call, so that `lens.load` is there at once.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import importlib
import os
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from lens.arguments import Check, FilePath, PathLike, Unfit, door
from lens.cache import SOURCES, LoadError, cache_dir, fetch, fetched
from lens.files import expanded
from lens.reading import no_panic

from .shipped import ORGANISM, folder_of, organisms

if TYPE_CHECKING:
    import torch
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

    from .bridge import name_of, wrap
    from .check import one_line as _one_line
    from .hash import same_weights, weight_hash

    Precision = str | torch.dtype
else:

    class _Precision(Check):
        """A format of numbers, by its name or as torch's own, told without importing torch."""

        expected = "text or a torch.dtype"

        def take(self, value: Any) -> Any:
            """The value as it is."""
            if isinstance(value, str) or (type(value).__module__, type(value).__name__) == ("torch", "dtype"):
                return value
            raise Unfit(value, self.expected)

    Precision = Annotated[Any, _Precision()]

__all__ = ["LoadError", "fetch", "load", "name_of", "organisms", "same_weights", "weight_hash", "wrap"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = ("float32", "bfloat16", "float16")
#: name -> (module, name there), resolved on first use
_LATER = {
    "name_of": ("bridge", "name_of"),
    "wrap": ("bridge", "wrap"),
    "same_weights": ("hash", "same_weights"),
    "weight_hash": ("hash", "weight_hash"),
    "_one_line": ("check", "one_line"),
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module 'lens.models' has no attribute {name!r}; it offers {', '.join(__all__)}.")
    module, there = _LATER[name]
    value = getattr(importlib.import_module(f".{module}", __name__), there)
    globals()[name] = value
    return value


@door(LoadError)
def load(
    name: FilePath = "smollm2", *, device: str = "auto", dtype: Precision = "float32"
) -> TransformerBridge | PreTrainedModel:
    """Load a causal language model as a TransformerLens `TransformerBridge`, or the plain model where a bridge is not
    exact; in eval mode, without gradients.

    `name`: "smollm2" (after `lens fetch smollm2`), "organism:<name>" (ships with the package), a local Hugging Face
    folder with safetensors, or a hub name such as "gpt2" where the hub or its cache is reachable. `device`: "auto"
    (CUDA, then MPS, then CPU), "cpu", "cuda" (or "cuda:1"), "mps". `dtype`: "float32", "bfloat16", "float16".

    The numbers are those of the plain Hugging Face model with eager attention: no folding, no centring. The tokenizer
    is the model's own and adds no start token. Pickled weights and models that bring their own code are refused.
    Adapter files that lie beside whole weights are named in a warning and not applied, but for an adapter that names
    this very folder as its
    base and is newer than the weights: it is put on by peft, and the warning says so. Nothing is installed.

    Where TransformerLens gives other logits than the model, or does not know its type, the plain Hugging Face model
    comes back with `.tokenizer` and a warning that says why; see `lens.models.wrap` for what is compared, and what it
    costs. For "smollm2" and organisms the comparison is remembered in the cache, by files, versions, dtype and kind of
    device. Raises LoadError when the model is absent, damaged, incomplete or holds NaN, and for an unknown device or
    dtype.
    """
    from .adapter import adapters_beside, put_on
    from .bridge import wrapped
    from .folder import inspect_folder, require_finite, require_shipped

    place, precision = _device(device), _dtype(dtype)
    with _no_garbage_collection():
        folder, mark = _folder(name), None
        if folder is None:
            hf, tokenizer = _from_hub(name, precision)
        else:
            inspect_folder(name, folder)
            if str(name).startswith(ORGANISM):
                require_shipped(name, folder)
            ours = adapters_beside(name, folder)
            # of these there are few and they do not change: their comparison is remembered
            mark = _mark(folder, precision, place) if str(name) in SOURCES or str(name).startswith(ORGANISM) else None
            hf, tokenizer = _from_files(name, str(folder), precision, local_files_only=True)
            if ours:
                hf = put_on(hf, folder, name)
        require_finite(name, hf)
        return wrapped(hf.to(place), tokenizer, name, mark=mark)


def _mark(folder: Path, dtype: torch.dtype, place: torch.device) -> Path:
    """The empty file in the cache that says that a bridge of these very files was compared and is exact, with these
    versions, this dtype and kind of device.
    """
    from .check import CHECK

    parts = [
        CHECK,
        str(dtype),
        place.type,
        *(f"{package} {metadata.version(package)}" for package in ("torch", "transformers", "transformer-lens")),
    ]
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        stat = path.stat()
        parts += [str(path.absolute()), str(stat.st_size), str(stat.st_mtime_ns)]
    return cache_dir() / "bridges" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _device(device: str) -> torch.device:
    import torch

    text = str(device)
    if text.split(":")[0] not in DEVICES or (":" in text and not text.startswith("cuda:")):
        raise LoadError(f"device={device!r} is not known; expected one of {', '.join(DEVICES)}")
    cuda, mps = torch.cuda.is_available(), torch.backends.mps.is_available()
    if text == "auto":
        return torch.device("cuda" if cuda else "mps" if mps else "cpu")
    try:
        place = torch.device(text)
    except RuntimeError as error:
        raise LoadError(f"device={device!r} cannot be read; expected for example 'cuda:0'") from error
    there = {"cpu": True, "cuda": cuda and (place.index or 0) < torch.cuda.device_count(), "mps": mps}[place.type]
    if not there:
        raise LoadError(
            f"device={device!r} is not usable: this torch {torch.__version__} sees no such device. Use device='auto' or"
            " 'cpu'."
        )
    return place


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    import torch

    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        raise LoadError(f"dtype={dtype!r} is not known; expected one of {', '.join(DTYPES)}")
    known: torch.dtype = getattr(torch, name)
    return known


def _folder(name: FilePath) -> Path | None:
    """The folder that `name` stands for, or None for a hub name."""
    name = str(PathLike().of(name, "name", LoadError, "give 'smollm2', 'organism:<name>', a folder or a hub name"))
    if not name.strip():
        raise LoadError(f"name={name!r} is not a model; expected 'smollm2', 'organism:<name>', a folder or a hub name")
    if name in SOURCES:
        return fetched(name)
    if name.startswith(ORGANISM):
        return folder_of(name)
    path = expanded(name)
    # of a path that is too long for any file these say no
    if os.path.isdir(path):
        return path
    if os.path.exists(path):
        raise LoadError(f"name={name!r} is a file; expected the folder that holds config.json and model.safetensors")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise LoadError(f"name={name!r} looks like a folder, but none is there (looked at {path.absolute()})")
    return None


def _from_hub(name: FilePath, dtype: torch.dtype) -> tuple[Any, Any]:
    from .adapter import ADAPTER_ALONE

    known = ", ".join([*SOURCES, *(ORGANISM + other for other in organisms())])
    try:
        return _from_files(name, name, dtype, local_files_only=False)
    except LoadError as error:
        if _is_adapter_on_hub(name):
            raise LoadError(f"name={name!r} holds an adapter alone. {ADAPTER_ALONE}") from error
        raise LoadError(
            f"{error}\n{name!r} was taken for a hub name, because it is no folder and none of the built-in models"
            f" ({known}). Check its spelling and the network, download it to a folder and load that, or use"
            " lens.load('smollm2') after `lens fetch smollm2`."
        ) from error


def _is_adapter_on_hub(name: FilePath) -> bool:
    """Whether the hub's cache holds an adapter of that name: what a failed load has looked at."""
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        return find_adapter_config_file(os.fspath(name), local_files_only=True) is not None
    except Exception:  # the hub client raises many kinds
        return False


def _from_files(name: FilePath, where: FilePath, dtype: torch.dtype, *, local_files_only: bool) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from .adapter import NO_ADAPTER
    from .check import one_line
    from .folder import require_complete

    options = {"trust_remote_code": False, "local_files_only": local_files_only}
    try:
        with (
            _no_progress_bars(),
            no_panic(LoadError, f"model {name!r} cannot be loaded: a part of it made a library fail"),
        ):
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
            made: Any = AutoModelForCausalLM.from_pretrained(
                where,
                dtype=dtype,
                attn_implementation="eager",
                use_safetensors=True,
                output_loading_info=True,
                **options,
                **NO_ADAPTER,
            )
    except LoadError:
        raise
    except Exception as error:  # transformers, tokenizers and safetensors each raise their own kinds
        raise LoadError(f"model {name!r} cannot be loaded: {one_line(error)}") from error
    hf, report = made
    require_complete(name, report, hf)
    return hf, tokenizer


@contextlib.contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Imports and the boot make millions of objects that all stay; looking for cycles among them takes a fifth of the
    time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
