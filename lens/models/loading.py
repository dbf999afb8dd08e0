"""A model from its files: looked at, read onto its devices, quantised or adapted as asked for, checked, and handed out
as a bridge or plain.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lens.arguments import FilePath
from lens.cache import SOURCES, LoadError, cache_dir
from lens.notices import warn
from lens.reading import no_panic

from . import adapters as named_adapters
from . import edits_file
from .adapter import CONFIG, NO_ADAPTER, adapters_beside, put_on
from .bridge import plainly, wrapped
from .check import CHECK, IDS, Unlike, logits, one_line, random_ids
from .devices import (
    Plan,
    dtype_of,
    plan,
    refuse_tensor_parallel,
    whole_map,
)
from .folder import IMPLEMENTATIONS, inspect_folder, require_complete, require_finite, require_shipped
from .hub import commit_of, no_progress_bars, unreachable
from .loaded import note
from .names import Named, configuration, named
from .placement import offloaded, require_readable
from .quantization import Quantization, chosen, dequantized, dequantizing, require_device, stored
from .room import require_room, too_small, without_weights
from .shipped import ORGANISM, organisms

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel

__all__ = ["Request", "load_model"]


@dataclass(frozen=True)
class Request:
    """What `lens.load` was asked for."""

    name: FilePath
    device: str = "auto"
    dtype: Any = "float32"
    device_map: Any = None
    max_memory: Mapping[Any, Any] | None = None
    quantization: Any = None
    dequantize: bool = False
    revision: str | None = None
    adapter: Any = None
    merge: bool = True
    attention: str | None = None
    tp_plan: Any = None


@dataclass(frozen=True)
class _Checked:
    """A request whose every word is known: the model, where it goes, its numbers, how it is quantised."""

    model: Named
    plan: Plan
    dtype: Any
    quantization: Quantization | None
    attention: str

    @property
    def options(self) -> dict[str, Any]:
        return {
            "dtype": self.dtype,
            "attn_implementation": self.attention,
            **self.plan.options(),
            **({} if self.quantization is None else {"quantization_config": self.quantization.config}),
        }


def load_model(request: Request) -> TransformerBridge | PreTrainedModel:
    """See `lens.load`."""
    refuse_tensor_parallel(request.tp_plan)
    where = plan(request.device, request.device_map, request.max_memory)
    dtype = "auto" if request.dtype == "auto" else dtype_of(request.dtype)
    attention = request.attention or "eager"
    if attention not in IMPLEMENTATIONS["attn_implementation"]:
        raise LoadError(
            f"attn_implementation={attention!r} is not known; expected one of"
            f" {', '.join(IMPLEMENTATIONS['attn_implementation'])}. Another name stands for code that would be fetched"
            " and run."
        )
    quantization = chosen(request.quantization, dtype)
    if quantization is not None:
        require_device(quantization.name, where.types(), f"quantization={quantization.name!r}")
    model = named(request.name, request.revision)
    if (base := _base(model, request)) is not None:
        return load_model(base)
    listed = named_adapters.adapters(request.adapter)
    checked = _Checked(model, where, dtype, quantization, attention)
    with _no_garbage_collection():
        try:
            return _made(request, checked, listed)
        except LoadError as error:
            if model.folder is None and (found := _adapter_on_hub(model)) is not None:
                return load_model(_on_its_base(found, str(model), request))
            raise error


def _base(model: Named, request: Request) -> Request | None:
    """Of a folder that holds an adapter alone: the request for its base with it."""
    folder = model.folder
    if folder is None or (folder / "config.json").exists() or not (folder / CONFIG).is_file():
        return None
    return _on_its_base(folder, str(model), request)


def _on_its_base(folder: Path, name: str, request: Request) -> Request:
    base, revision = named_adapters.base_of_adapter(folder, name)
    others = request.adapter
    others = [] if others is None else others if isinstance(others, (list, tuple)) else [others]
    return replace(request, name=base, revision=revision, adapter=[name, *others] if others else name)


def _adapter_on_hub(model: Named) -> Path | None:
    """The folder in the hub's cache of an adapter of that name: what a failed load has looked at."""
    from transformers.utils.peft_utils import find_adapter_config_file

    try:
        found = find_adapter_config_file(model.name, revision=model.revision or "main", local_files_only=True)
    except Exception:  # the hub client raises many kinds
        return None
    return None if found is None else Path(found).parent


def _made(
    request: Request, checked: _Checked, listed: list[named_adapters.Adapter]
) -> TransformerBridge | PreTrainedModel:
    model, ours, method, edits = checked.model, False, None, None
    if model.folder is not None:
        inspect_folder(model.name, model.folder)
        edits = edits_file.read(model.folder, model.name)
        if model.name.startswith(ORGANISM):
            require_shipped(model.name, model.folder)
        ours = adapters_beside(model.name, model.folder)
        method = stored(model.name, configuration(model.folder))
        if method is not None:
            checked = _as_stored(checked, method, request.dequantize)
    parts = isinstance(checked.plan.spread, Mapping) or checked.plan.place.type == "cuda"
    empty = without_weights(model) if parts else None
    if empty is not None:
        if isinstance(checked.plan.spread, Mapping):
            places = whole_map(str(model), checked.plan.spread, empty)
            checked = replace(checked, plan=replace(checked.plan, spread=places))
        if method is None:
            require_room(model, checked.plan, checked.dtype, _method(checked), empty)
    hf, tokenizer = _from_files(checked)
    if request.dequantize:
        if method is None and checked.quantization is None:
            warn(
                f"dequantize=True changes nothing: the weights of {str(model)!r} are floats as they are; leave it out."
            )
        hf = dequantized(hf, str(model), checked.dtype)
    quantised = getattr(hf.config, "quantization_config", None) is not None
    if not quantised and checked.plan.spread is None:
        hf = hf.to(checked.plan.place)
    require_readable(hf)
    require_finite(str(model), hf)
    if ours and model.folder is not None:
        hf = put_on(hf, model.folder, model.name)
    out = _handed_out(request, checked, listed, hf, tokenizer, method or _method(checked), quantised)
    note(out, edited=edits)
    return out


def _handed_out(
    request: Request,
    checked: _Checked,
    listed: list[named_adapters.Adapter],
    hf: Any,
    tokenizer: Any,
    method: str | None,
    quantised: bool,
) -> TransformerBridge | PreTrainedModel:
    """The model with its adapters, as a bridge where it is whole, on one device and of plain floats; else plain."""
    model = checked.model
    spread = len(set(map(str, (getattr(hf, "hf_device_map", None) or {}).values()))) > 1 or offloaded(hf)
    beside = False
    if listed:
        if offloaded(hf):
            raise LoadError(
                f"adapter={str(listed[0].source)!r}: model {str(model)!r} has weights on disk or in memory that it"
                " does not compute in (device_map), where peft cannot put an adapter on them. Merge it where the model"
                " fits: load it there with device='cpu' and dtype='auto', save_pretrained the model, and load that"
                " folder with the device_map."
            )
        hf.eval().requires_grad_(False)
        switch = named_adapters.put_on_all(hf, listed, model)
        beside = len(listed) > 1 or not request.merge or quantised
        hf = named_adapters.kept(switch) if beside else named_adapters.merged(switch, listed[0], model)
    hf.eval().requires_grad_(False)
    if quantised:
        _settle(hf, str(model))
    plainly_out = quantised or spread or beside or checked.attention != "eager"
    shipped = model.name in SOURCES or model.name.startswith(ORGANISM)
    alone = shipped and model.folder is not None and not listed and not request.dequantize and method is None
    mark = _mark(model.folder, checked) if alone and model.folder is not None else None
    out = plainly(hf, tokenizer, str(model)) if plainly_out else wrapped(hf, tokenizer, str(model), mark=mark)
    note(
        out,
        source=model.name,
        revision=model.revision,
        commit=commit_of(model),
        device_map=_places(hf) if spread else None,
        max_memory=None
        if request.max_memory is None
        else {str(key): value for key, value in request.max_memory.items()},
        quantization=method if quantised else None,
        # some kinds transformers itself turns back where the device cannot compute with them
        dequantized=None if quantised else method,
        adapters=[one.record() for one in listed],
        dtype=str(request.dtype).removeprefix("torch."),
        attention=checked.attention,
    )
    return out


def _method(checked: _Checked) -> str | None:
    return None if checked.quantization is None else checked.quantization.name


def _as_stored(checked: _Checked, method: str, dequantize: bool) -> _Checked:
    """What is stored quantised loads as it is stored, or as transformers turns it back itself.

    Raises: LoadError: another quantization was asked for, or the device cannot use this one.
    """
    model = checked.model
    if checked.quantization is not None:
        raise LoadError(
            f"quantization={checked.quantization.name!r}: the weights of {model.name!r} are stored quantised by"
            f" {method} already; leave quantization out, or give dequantize=True first and save the floats."
        )
    if not dequantize:
        require_device(method, checked.plan.types(), f"name={model.name!r}, whose weights are stored by {method},")
        return checked
    assert model.folder is not None
    config = dequantizing(method, configuration(model.folder)["quantization_config"])
    return checked if config is None else replace(checked, quantization=Quantization(method, config, method))


def _from_files(checked: _Checked) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = checked.model
    options = {"trust_remote_code": False, **model.options()}
    try:
        with (
            no_progress_bars(),
            _no_word_of_stored_quantization(),
            no_panic(LoadError, f"model {str(model)!r} cannot be loaded: a part of it made a library fail"),
        ):
            tokenizer = AutoTokenizer.from_pretrained(model.where, **options)
            made: Any = AutoModelForCausalLM.from_pretrained(
                model.where,
                use_safetensors=True,
                output_loading_info=True,
                **checked.options,
                **options,
                **NO_ADAPTER,
            )
    except LoadError:
        raise
    except torch.OutOfMemoryError as error:
        raise LoadError(f"model {str(model)!r} does not fit: {too_small(checked.plan.place)}") from error
    except Exception as error:  # transformers, tokenizers and safetensors each raise their own kinds
        if model.folder is None:
            raise unreachable(model, error, _known()) from error
        raise LoadError(f"model {str(model)!r} cannot be loaded: {one_line(error)}") from error
    hf, report = made
    require_complete(str(model), report, hf)
    return hf, tokenizer


@contextlib.contextmanager
def _no_word_of_stored_quantization() -> Iterator[None]:
    """Without transformers' warning that of a configuration beside a stored one little is used: just that is meant."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You passed `quantization_config` or equivalent parameters")
        yield


def _known() -> str:
    known = ", ".join([*SOURCES, *(ORGANISM + other for other in organisms())])
    return (
        f"Check its spelling and the network, download it to a folder and load that, or use a built-in model ({known});"
        " lens.load('smollm2') works after `lens fetch smollm2`."
    )


def _places(hf: Any) -> dict[str, str]:
    places = getattr(hf, "hf_device_map", None) or {}
    return {str(k): f"cuda:{v}" if isinstance(v, int) else str(v) for k, v in places.items()}


def _settle(hf: Any, name: str) -> None:
    """One forward of a few tokens, after which formats that are unpacked or repacked as they run stay as they are.

    Raises: LoadError: the forward fails.
    """
    try:
        logits(hf, random_ids(hf, min(IDS, 8)))
    except Unlike as error:
        raise LoadError(f"model {name!r} cannot be used as it is quantised: {error}") from error


def _mark(folder: Path, checked: _Checked) -> Path:
    """The empty file in the cache that says that a bridge of these very files was compared and is exact, with these
    versions, this dtype and kind of device.
    """
    parts = [
        CHECK,
        str(checked.dtype),
        checked.plan.place.type,
        *(f"{package} {metadata.version(package)}" for package in ("torch", "transformers", "transformer-lens")),
    ]
    for path in sorted([*folder.glob("*.json"), *folder.glob("*.safetensors")]):
        stat = path.stat()
        parts += [str(path.absolute()), str(stat.st_size), str(stat.st_mtime_ns)]
    return cache_dir() / "bridges" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


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
