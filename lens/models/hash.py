"""The hash of a model's weights: a SHA-256 a tensor, and one over these, in the order of the names.

Hashes that were recorded before there was one a tensor (`old_hash`, 64 hexadecimal digits) are still understood:
`same_weights` and `same_record` compare a recorded hash of either form.
"""

from __future__ import annotations

import hashlib
import re
import sys
import weakref
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from lens.arguments import door
from lens.cache import LoadError

from .foreign import plain_name
from .fused import Fused, fused_layers
from .known import FORM, Known, Look, Whole, digests, joined, read
from .quantised_layers import applied, is_codes, is_unsettled, stored
from .tree import Parameters, Tree

__all__ = [
    "FORM",
    "hash_in",
    "is_old",
    "old_hash",
    "older",
    "plain_parameters",
    "same_in",
    "same_record",
    "same_weights",
    "weight_hash",
]

#: A hash, or so much of it as is written down to tell models apart.
_BEGUN = re.compile(f"{FORM}(?:[0-9a-f]{{64}}|[0-9a-f]{{15}})")
#: Models by the hash that they had when it was last looked at.
_hashed: weakref.WeakValueDictionary[str, nn.Module] = weakref.WeakValueDictionary()


@door(LoadError)
def weight_hash(model: nn.Module, *, anew: bool = False) -> str:
    r"""The SHA-256 over the names, shapes, dtypes and values of a model's parameters, as "t" and 64 hexadecimal digits.

    Of each parameter it is taken of ``"{shape} {dtype}\n"`` and its bytes in C order, of the model of a line
    ``"{name} {digest of the parameter}\n"`` each, in the order of the names.

    A bridge from `load` or `wrap` and the plain Hugging Face model of the same weights have the same hash. It is kept
    on the model (1 to 3 ms to look up for SmolLM2), and only parameters that were replaced or changed in place are read
    again (half a second a gigabyte and thread, on as many threads as torch has). Writes that torch does not count, such
    as those through `.data` or by a fused optimiser, are seen where they change one of 16 values spread over each
    parameter; `anew=True` reads every value, as a sweep with `store=` does.

    Of quantised weights the codes and the scales are read, each as a parameter of its own. Where the first forward
    writes them anew (bitsandbytes' 4 bits on a processor, compressed-tensors) the hash is that of what is applied then,
    before and after; the model is not touched.

    Of a model with peft's adapters in its layers the hash is also taken of those that are in force, their scales, and
    those that are merged in place: it follows a switch.

    Raises LoadError: a parameter that has no values (on the meta device), or that is not strided.
    """
    core = getattr(model, "original_model", model)
    return hash_in(core, Tree.of(core).parameters(), anew)


def hash_in(core: nn.Module, parameters: Parameters, anew: bool = False) -> str:
    """`weight_hash` of a model whose parameters have just been listed."""
    known, (names, values, quantised) = Known.of(core), _tensors(core, parameters)
    if quantised and is_unsettled(core):
        return _switched(core, joined(f"{name} {digests([(name, value)])[0]}\n" for name, value in applied(core)))
    now = Look(values, known.whole)
    whole = known.whole
    if anew or whole is None or not whole.same(names, now, known.lost):
        plain = plain_parameters(core)
        hashed = list(zip(names, values)) if plain is None else stored(core, plain) if quantised else plain
        whole = known.learn(names, now, hashed, anew)
    found = _switched(core, whole.hash)
    _hashed[found] = core
    return found


def _switched(core: nn.Module, weights: str) -> str:
    """The hash of a model with adapters in its layers: with those that are in force it is another model than without,
    although it holds the same weights. Of any other model `weights` itself.
    """
    if "peft" not in sys.modules:
        return weights
    lines = []
    for name, module in zip(*_adapted(core)):
        own = module.__dict__
        active = [own["_active_adapter"]] if isinstance(own["_active_adapter"], str) else own["_active_adapter"] or []
        scaling = getattr(module, "scaling", None)
        scales = [scaling.get(one) for one in active] if isinstance(scaling, dict) else []
        merged = getattr(module, "merged_adapters", ())
        lines.append(f"{name} {[] if own.get('_disable_adapters') else list(active)} {scales} {list(merged)}\n")
    if not lines:
        return weights
    return FORM + hashlib.sha256("".join([f"{weights}\n", *sorted(lines)]).encode()).hexdigest()


def _adapted(core: nn.Module) -> tuple[list[str], list[nn.Module]]:
    """The layers in which adapters are switched, by their plain names."""
    if not any("_active_adapter" in module.__dict__ for module in Tree.kept(core).modules):
        return [], []
    modules = [(name, module) for name, module in core.named_modules() if "_active_adapter" in module.__dict__]
    return [plain_name(name) for name, _ in modules], [module for _, module in modules]


def _tensors(core: nn.Module, parameters: Parameters) -> tuple[list[str], list[Tensor], bool]:
    """The names and tensors in which a model's weights lie, and whether some of them are quantised."""
    names, values = parameters.plain()
    if "ct_decompress_hook" in core.__dict__:
        return names, list(values), True
    if not any(type(value) is not nn.Parameter and is_codes(value) for value in values):
        return names, list(values), False
    pieces = stored(core, list(zip(names, values)))
    return [name for name, _ in pieces], [value for _, value in pieces], True


@door(LoadError)
def old_hash(model: nn.Module) -> str:
    r"""The hash in records that were made before there was one a tensor: 64 hexadecimal digits, the SHA-256 over
    ``"{name} {shape} {dtype}\n"`` and the bytes of each parameter, in the order of the names.

    Reads every weight, and is kept until one changes. Raises as `weight_hash`.
    """
    core = getattr(model, "original_model", model)
    known, (names, values, quantised) = Known.of(core), _tensors(core, Tree.of(core).parameters())
    now = Look(values, known.old and known.old[0])
    if known.old is not None and known.old[0].same(names, now):
        return known.old[1]
    plain = None if quantised else plain_parameters(core)
    whole = hashlib.sha256()
    named: Sequence[tuple[str, Tensor]] = plain or list(zip(names, values))
    for name, value in named:
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        whole.update(read(name, value).data)
    seen = {id(value): now.snapshot(i, known.lost) for i, value in enumerate(values)}
    known.old = Whole.of(names, now, seen, named), whole.hexdigest()
    return known.old[1]


def is_old(recorded: Any) -> bool:
    """Whether a recorded hash has the form of `old_hash`."""
    return isinstance(recorded, str) and len(recorded) == 64


@door(LoadError)
def same_weights(model: nn.Module, recorded: Any) -> bool:
    """Whether a recorded hash, in this form or the old one, is that of a model's weights now. For the old one every
    weight is read. Raises as `weight_hash`.
    """
    core = getattr(model, "original_model", model)
    return same_in(core, Tree.of(core).parameters(), recorded)


def same_in(core: nn.Module, parameters: Parameters, recorded: Any) -> bool:
    """`same_weights` of a model whose parameters have just been listed."""
    return bool(recorded == (old_hash(core) if is_old(recorded) else hash_in(core, parameters)))


def same_record(one: Any, other: Any) -> bool:
    """Whether two recorded hashes are of the same weights. One of each form is compared by way of a model in memory
    that has the newer; where there is none they are taken for different.
    """
    if one == other or is_old(one) == is_old(other):
        return bool(one == other)
    new, old = (other, one) if is_old(one) else (one, other)
    return bool(older(new) == old)


def older(record: Any) -> Any:
    """A record (dictionaries, lists, texts) as it was made before there was a hash a tensor: each hash in it that a
    model in memory has, or the beginning of one, in the old form. Reads the weights of these models.
    """
    if isinstance(record, dict):
        return {key: older(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [older(value) for value in record]
    if not isinstance(record, str) or not _BEGUN.fullmatch(record):
        return record
    core = next((core for whole, core in list(_hashed.items()) if whole.startswith(record)), None)
    if core is None or not weight_hash(core).startswith(record):
        return record
    return old_hash(core)[: len(record) if len(record) <= 64 else None]


def written_unseen(core: nn.Module, parameters: Parameters) -> bool:
    """Whether weights of a known hash were written to since in a way that torch does not count: in a sample of each,
    while every parameter is what it was. `parameters`: of the model, just listed.
    """
    known = Known.of(core)
    if known.whole is None:
        return False
    names, values, _ = _tensors(core, parameters)
    now = Look(values, known.whole)
    # a hash of other parameters or versions is none of these weights
    return known.whole.sampled != now.sampled and known.whole.marked(names, now, known.lost)


def plain_parameters(core: nn.Module) -> list[tuple[str, nn.Parameter]] | None:
    """The parameters of the model in a bridge by the names that they had before the boot; None in a plain model, and
    where that would miss a change made since.
    """
    if "_mnemoscope_parameters" not in core.__dict__:
        return None
    before: list[tuple[str, nn.Parameter]]
    before, copies = core.__dict__["_mnemoscope_parameters"]
    own = {id(value) for _, value in before} | {id(value) for value, _ in copies}
    if {id(value) for _, value in Tree.of(core).named_parameters()} != own:
        return None
    if copies:
        # copies say nothing new as long as each is what the fused layer holds
        found, _ = fused_layers(core)
        followed = {id(value) for one in found for part in one.parts for value in part.parameters()}
        if not all([_consistent(core, one) for one in found]) or any(
            value._version != version for value, version in copies if id(value) not in followed
        ):
            return None
        core.__dict__["_mnemoscope_parameters"] = before, [(value, value._version) for value, _ in copies]
    return before


def _consistent(core: nn.Module, one: Fused) -> bool:
    """Whether the parts are what the fused layer holds; compared where one of them was written to."""
    known = Known.of(core)
    now = Look([p for module in (one.whole, *one.parts) for p in module.parameters()])
    kept = known.agreed.get(id(one.whole))
    if kept is not None and len(kept) == len(now.values) and all(map(now.same, range(len(kept)), kept)):
        return True
    if not one.consistent():
        return False
    known.agreed[id(one.whole)] = [now.snapshot(i, known.lost) for i in range(len(now.values))]
    return True
