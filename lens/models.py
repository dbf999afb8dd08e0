"""Models by name: the fetched default, a hub name, a local folder or an organism, each as a TransformerLens bridge."""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lens.cache import SOURCES, LoadError, fetch, fetched
from lens.doctor import doctor

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["LoadError", "doctor", "fetch", "load", "organisms", "weight_hash", "wrap"]

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
ORGANISM = "organism:"
ORGANISMS = Path(__file__).parent / "organisms"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")


def load(name: str = "smollm2", *, device: str = "auto", dtype: str | torch.dtype = "float32") -> TransformerBridge:
    """Load a causal language model as a TransformerLens `TransformerBridge`, in eval mode and without gradients.

    `name`: "smollm2" (after `lens fetch smollm2`), "organism:<name>" (ships with the package), a local Hugging Face folder
    with safetensors, or a hub name such as "gpt2" where the hub or its cache is reachable. `device`: "auto" (CUDA, then MPS,
    then CPU), "cpu", "cuda" (or "cuda:1"), "mps". `dtype`: "float32", "bfloat16", "float16".

    The numbers are those of the plain Hugging Face model with eager attention: no folding, no centring. The tokenizer is
    the model's own and adds no start token. Pickled weights and models that bring their own code are refused.
    Raises LoadError when the model is absent, damaged, incomplete or holds NaN, and for an unknown device or dtype.
    """
    place, precision = _device(device), _dtype(dtype)
    with _no_garbage_collection():
        folder = _folder(name)
        if folder is None:
            hf, tokenizer = _from_hub(name, precision)
        else:
            _inspect(name, folder)
            hf, tokenizer = _from_files(name, str(folder), precision, local_files_only=True)
        _require_finite(name, hf)
        return wrap(hf.to(place), tokenizer, name)


def wrap(hf: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, name: str = "model") -> TransformerBridge:
    """Wrap a Hugging Face causal language model that is already in memory as a `TransformerBridge`.

    The model object itself is rewritten in place (eager attention, wrapped modules, eval mode, no gradients): keep a second
    copy where the plain one is needed. Raises LoadError for a type of model that TransformerLens does not know.
    """
    from transformer_lens.model_bridge import TransformerBridge

    hf.eval().requires_grad_(False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if not hf.config.architectures:
        hf.config.architectures = [type(hf).__name__]  # absent in a model that was built from a config, and the boot asks for it
    # Without this entry the boot swaps the tokenizer for a second copy that puts a start token before every text.
    parameters, missing = sorted(hf.named_parameters()), object()
    kept = tokenizer.init_kwargs.get("add_bos_token", missing)
    tokenizer.init_kwargs["add_bos_token"] = True
    try:
        bridge = TransformerBridge.boot_transformers(str(name), hf_model=hf, tokenizer=tokenizer, device=str(hf.device))
    except (ValueError, KeyError, NotImplementedError) as error:
        raise LoadError(f"model {name!r} is of a type that TransformerLens cannot wrap: {_one_line(error)}") from error
    finally:
        if kept is missing:
            del tokenizer.init_kwargs["add_bos_token"]
        else:
            tokenizer.init_kwargs["add_bos_token"] = kept
    hf.requires_grad_(False)  # the copies that the boot makes of a joint query-key-value matrix ask for gradients
    _remember_parameters(hf, parameters)
    bridge.cfg.default_prepend_bos = False
    bridge.cfg.dtype = hf.dtype
    return bridge.eval()


def organisms() -> list[str]:
    """The names of the small models that ship with the package; load one as `lens.load("organism:<name>")`."""
    return sorted(path.parent.name for path in ORGANISMS.glob("*/model.safetensors"))


def weight_hash(model: torch.nn.Module) -> str:
    """The SHA-256 over the names, shapes, dtypes and values of a model's parameters, as 64 hexadecimal digits.

    A bridge from `load` or `wrap` and the plain Hugging Face model of the same weights have the same hash. It is kept on the
    model and computed anew when a parameter was replaced or changed in place (writes through `.data` go unseen).
    """
    core = getattr(model, "original_model", model)
    state = _state(core)
    kept = core.__dict__.get("_mnemoscope_hash")
    if kept is not None and kept[0] == state:
        return kept[1]
    digest = hashlib.sha256()
    for name, value in _plain_parameters(core) or _named(core):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    core.__dict__["_mnemoscope_hash"] = (state, digest.hexdigest())
    return digest.hexdigest()


def hash_after_undo(model: torch.nn.Module) -> Callable[[Iterable[torch.nn.Parameter]], None]:
    """Call it before some weights are changed for a while, and what it returns, with those weights, once they are bit-equal again: a hash known before is known again.

    Where other weights were changed in the meantime it does nothing.
    """
    core = getattr(model, "original_model", model)
    kept, before = core.__dict__.get("_mnemoscope_hash"), _state(core)
    if kept is None or kept[0] != before:
        return lambda edited: None

    def again(edited: Iterable[torch.nn.Parameter]) -> None:
        now, own = _state(core), {value.data_ptr() for value in edited}
        if len(now) == len(before) and all(a == b or (a[:2] == b[:2] and a[1] in own) for a, b in zip(now, before)):
            core.__dict__["_mnemoscope_hash"] = (now, kept[1])
    return again


def _named(core: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]]:
    return sorted((name.replace("._original_component", ""), value) for name, value in core.named_parameters())


def _state(core: torch.nn.Module) -> tuple:
    return tuple((name, value.data_ptr(), value._version) for name, value in _named(core))


def _remember_parameters(hf: torch.nn.Module, before: list[tuple[str, torch.nn.Parameter]]) -> None:
    """Note which parameters the model had before the boot, and the state of the copies that the boot made of some of them.

    The boot renames modules, and where query, key and value are one matrix it also makes three copies for its hooks.
    """
    own = {id(value) for _, value in before}
    copies = [(value, value._version) for value in hf.parameters() if id(value) not in own]
    hf.__dict__["_mnemoscope_parameters"] = (before, copies)


def _plain_parameters(core: torch.nn.Module) -> list[tuple[str, torch.nn.Parameter]] | None:
    """The parameters by the names that they had before the boot; None where that would miss a change made since."""
    if "_mnemoscope_parameters" not in core.__dict__:
        return None
    before, copies = core.__dict__["_mnemoscope_parameters"]
    same = {id(value) for value in core.parameters()} == {id(value) for _, value in before} | {id(value) for value, _ in copies}
    return before if same and all(value._version == version for value, version in copies) else None


def _device(device: str) -> torch.device:
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
        raise LoadError(f"device={device!r} is not usable: this torch {torch.__version__} sees no such device. Use device='auto' or 'cpu'.")
    return place


def _dtype(dtype: str | torch.dtype) -> torch.dtype:
    try:
        return DTYPES[str(dtype).removeprefix("torch.")]
    except KeyError:
        raise LoadError(f"dtype={dtype!r} is not known; expected one of {', '.join(DTYPES)}") from None


def _folder(name: str) -> Path | None:
    """The folder that `name` stands for, or None for a hub name."""
    if not isinstance(name, (str, Path)) or not str(name).strip():
        raise LoadError(f"name={name!r} is not a model; expected 'smollm2', 'organism:<name>', a folder or a hub name")
    name = str(name)
    if name in SOURCES:
        return fetched(name)
    if name.startswith(ORGANISM):
        wanted = name.removeprefix(ORGANISM)
        if wanted not in organisms():
            raise LoadError(f"name={name!r}: there is no such organism; there are: {', '.join(organisms()) or 'none yet'}")
        return ORGANISMS / wanted
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise LoadError(f"name={name!r} is a file; expected the folder that holds config.json and model.safetensors")
    if name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name:
        raise LoadError(f"name={name!r} looks like a folder, but none is there (looked at {path.absolute()})")
    return None


def _inspect(name: str, folder: Path) -> None:
    """Refuse a folder that is incomplete, truncated, pickled or needs code of its own, before anything reads it."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LoadError(f"name={name!r}: {folder} holds no config.json, so it is no Hugging Face model folder") from None
    except (ValueError, OSError) as error:
        raise LoadError(f"name={name!r}: {folder / 'config.json'} cannot be read: {error}") from error
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            weights = [folder / file for file in sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LoadError(f"name={name!r}: {index} cannot be read: {error!r}") from error
    else:
        weights = [folder / "model.safetensors"]
    if absent := [path.name for path in weights if not path.is_file()]:
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
        if pickles:
            raise LoadError(
                f"name={name!r}: {folder} holds its weights as pickle ({', '.join(pickles)}), which can run any code when opened: refused. "
                "Where you trust the file, load it with transformers there, and `save_pretrained` a safetensors copy."
            )
        raise LoadError(f"name={name!r}: {folder} lacks {', '.join(absent)}")
    for path in weights:
        _require_whole(name, path)
    if "auto_map" in config:
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        if config.get("model_type") not in CONFIG_MAPPING:
            raise LoadError(
                f"name={name!r}: its model type {config.get('model_type')!r} needs code that lies beside the weights (auto_map), and such "
                "code is never run. Convert the model to an architecture that transformers itself has."
            )


def _require_whole(name: str, path: Path) -> None:
    """Compare a safetensors file's size with what its own header says: a truncated file is found without reading it."""
    size = path.stat().st_size
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(size, 100_000_000):
                raise ValueError(f"its header would take {length} bytes")
            header = json.loads(file.read(length))
        expected = 8 + length + max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    except (ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"name={name!r}: {path} is no safetensors file, or only the start of one: {error}. Copy or fetch it again.") from error
    if size != expected:
        raise LoadError(f"name={name!r}: {path} is damaged: it has {size} bytes where its header says {expected}. Copy or fetch it again.")


def _from_hub(name: str, dtype: torch.dtype):
    known = ", ".join([*SOURCES, *(ORGANISM + other for other in organisms())])
    try:
        return _from_files(name, name, dtype, local_files_only=False)
    except LoadError as error:
        raise LoadError(
            f"{error}\n{name!r} was taken for a hub name, because it is no folder and none of the built-in models ({known}). "
            "Check its spelling and the network, download it to a folder and load that, or use lens.load('smollm2') "
            "after `lens fetch smollm2`."
        ) from error


def _from_files(name: str, where: str, dtype: torch.dtype, *, local_files_only: bool):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"trust_remote_code": False, "local_files_only": local_files_only}
    try:
        with _no_progress_bars():
            tokenizer = AutoTokenizer.from_pretrained(where, **options)
            hf, report = AutoModelForCausalLM.from_pretrained(
                where, dtype=dtype, attn_implementation="eager", use_safetensors=True, output_loading_info=True, **options
            )
    except Exception as error:  # transformers, tokenizers and safetensors each raise their own kinds
        raise LoadError(f"model {name!r} cannot be loaded: {_one_line(error)}") from error
    if missing := sorted(report["missing_keys"]):
        raise LoadError(
            f"model {name!r} is incomplete: its files lack {len(missing)} weights that its config asks for, first {missing[0]!r}. "
            "They would be random numbers."
        )
    return hf, tokenizer


def _require_finite(name: str, hf: torch.nn.Module) -> None:
    for key, value in hf.named_parameters():
        # A finite sum proves finite values and reads each weight once; an infinite one may be mere overflow.
        if not torch.isfinite(value.detach().sum(dtype=torch.float32)) and not torch.isfinite(value).all():
            bad = int((~torch.isfinite(value)).sum())
            raise LoadError(
                f"model {name!r} is unusable: parameter {key!r} has {bad} of {value.numel()} values NaN or infinite as {value.dtype}. "
                "Load it as dtype='float32', or get the weights again."
            )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:400] or type(error).__name__


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
    """Imports and the boot make millions of objects that all stay; looking for cycles among them takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
