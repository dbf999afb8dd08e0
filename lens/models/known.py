"""What is known of a model's weights: a digest a tensor, and what tells that the tensor is still what it was.

A tensor is the same while it is the same object on the same storage at the same place, in the same shape, strides and
dtype, with as many writes as torch counted then, and with the same values in a sample: writes that torch does not
count (through `.data`, by a fused optimiser) are found by the sample where they change one of its values.
"""

from __future__ import annotations

import hashlib
import weakref
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from operator import attrgetter, is_
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from lens.arguments import unfit
from lens.cache import LoadError

from .placement import value_of
from .samples import Samples

__all__ = ["FORM", "Known", "Look", "TensorSnapshot", "Way", "Whole", "digests", "read"]

#: What a hash begins with; it is no hexadecimal digit.
FORM = "t"
#: Bytes of weights from which they are read by several threads, and how many at most.
SHARED, THREADS = 1 << 22, 8
#: Edits of one weight whose outcome is remembered, each as a few hundred bytes.
REMEMBERED = 4096
_KEPT = "_mnemoscope_hash"
_version, _shape, _dtype, _storage = (attrgetter(name) for name in ("_version", "shape", "dtype", "_cdata"))
_untyped, _data, _stride, _object = Tensor.untyped_storage, Tensor.data_ptr, Tensor.stride, attrgetter("object")


def places(values: Sequence[Tensor]) -> tuple[list[Any], ...]:
    """Which tensors they are, on which storages, where in these and in what form: lists that are compared at once."""
    try:
        where: tuple[list[Any], ...] = (
            list(map(_storage, map(_untyped, values))),
            list(map(_data, values)),
            list(map(_stride, values)),
        )
    except (RuntimeError, NotImplementedError):  # a tensor without a storage, such as a sparse one
        where = ([_address(value) for value in values],)
    return list(map(id, values)), *where, list(map(_shape, values)), list(map(_dtype, values))


def _address(value: Tensor) -> tuple[int, int, tuple[int, ...]] | None:
    if value.layout is not torch.strided:
        return None
    return value.untyped_storage()._cdata, value.data_ptr(), value.stride()


def place_of(columns: tuple[list[Any], ...], i: int) -> tuple[Any, ...]:
    """Of what `places` gives, that of one tensor."""
    return tuple([column[i] for column in columns])


@dataclass(frozen=True, eq=False)
class TensorSnapshot:
    """A tensor as it was, and its digest ("" where nobody asked for it). The weak references to it and its storage are
    there so that no other tensor takes their addresses.
    """

    object: weakref.ref[Tensor]
    storage: StorageWeakRef | None
    place: tuple[Any, ...]
    version: int
    sample: bytes
    digest: str


@dataclass(frozen=True)
class Way:
    """The way to the samples of tensors that stand at these places; holds none of them."""

    places: tuple[list[Any], ...]
    samples: Samples


class Look:
    """Tensors as they are now. Takes a few microseconds a tensor.

    Args: kept: of an earlier look at them, whose way to their samples is taken over where no tensor has moved.
    """

    def __init__(self, values: Sequence[Tensor], kept: Whole | Way | None = None):
        self.values = values
        self.places, self.versions = places(values), list(map(_version, values))
        if kept is not None and kept.places == self.places:
            # the very lists, so that comparing them again takes no time
            self.places, self.samples = kept.places, kept.samples
        else:
            self.samples = Samples(values)
        self.sampled = self.samples.read(values)

    @property
    def way(self) -> Way:
        """For the next look at the same tensors."""
        return Way(self.places, self.samples)

    def sample(self, i: int) -> bytes:
        """The sampled values of one tensor."""
        return self.samples.of(i, self.sampled)

    def same(self, i: int, kept: TensorSnapshot | None) -> bool:
        """Whether one tensor is what was kept of it."""
        return (
            kept is not None
            and kept.version == self.versions[i]
            and kept.sample == self.sample(i)
            and self.in_place(i, kept)
        )

    def in_place(self, i: int, kept: TensorSnapshot) -> bool:
        """Whether it is the tensor that was kept, on the same storage and in the same form, whatever it holds."""
        return kept.object() is self.values[i] and kept.place == place_of(self.places, i)

    def snapshot(self, i: int, lost: list[weakref.ref[Tensor]], digest: str = "") -> TensorSnapshot:
        """A tensor, to be kept; `lost`: to which a reference to it is appended once it is gone."""
        value = self.values[i]
        storage = StorageWeakRef(value.untyped_storage()) if value.layout is torch.strided else None
        return TensorSnapshot(
            weakref.ref(value, lost.append), storage, place_of(self.places, i), self.versions[i], self.sample(i), digest
        )


@dataclass(frozen=True)
class Whole:
    """A model's weights as they were, and their hash.

    Attributes:
        names, tensors: of all parameters. at: by id, the place of each in these. places, versions, samples, sampled: as
            of `Look`. lines: what the hash is of. line: by id, the place of a tensor's line, and its name there.
    """

    names: list[str]
    tensors: list[TensorSnapshot]
    at: dict[int, int]
    places: tuple[list[Any], ...]
    versions: list[int]
    samples: Samples
    sampled: list[bytes]
    lines: list[str]
    line: dict[int, tuple[int, str]]
    hash: str

    @classmethod
    def of(
        cls, names: list[str], now: Look, known: Mapping[int, TensorSnapshot], hashed: Sequence[tuple[str, Tensor]]
    ) -> Whole:
        """The weights as they are now, with the hash of some of them by other names; `known`: by id, what was seen of
        each.
        """
        tensors = [known[id(value)] for value in now.values]
        lines = [f"{name} {known[id(value)].digest}\n" for name, value in hashed]
        return cls(
            names,
            tensors,
            {id(value): i for i, value in enumerate(now.values)},
            now.places,
            now.versions,
            now.samples,
            now.sampled,
            lines,
            {id(value): (i, name) for i, (name, value) in enumerate(hashed)},
            joined(lines),
        )

    def marked(self, names: list[str], now: Look, lost: Collection[Any] | None = None) -> bool:
        """Whether these are the same tensors by the same names, and torch counted no write since. `lost`: tensors that
        are gone, among which there may be one of these (None: not known).
        """
        return (
            self.versions == now.versions
            and self.places == now.places
            and self.names == names
            and (
                (lost is not None and not lost)
                or all(map(is_, [one() for one in map(_object, self.tensors)], now.values))
            )
        )

    def same(self, names: list[str], now: Look, lost: Collection[Any] | None = None) -> bool:
        """Whether nothing was seen to change since; as `marked`."""
        return self.sampled == now.sampled and self.marked(names, now, lost)

    def updated(self, changed: Mapping[int, TensorSnapshot]) -> Whole:
        """The same weights, but some tensors, by id, of which something else is known now."""
        tensors, versions, lines = list(self.tensors), list(self.versions), list(self.lines)
        sampled = list(map(bytearray, self.sampled))
        for key, seen in changed.items():
            i = self.at.get(key)
            if i is None or tensors[i].object() is not seen.object():
                continue
            tensors[i], versions[i] = seen, seen.version
            group, start, end = self.samples.ends[i]
            sampled[group][start:end] = seen.sample
            if key in self.line:
                number, name = self.line[key]
                lines[number] = f"{name} {seen.digest}\n"
        return replace(
            self,
            tensors=tensors,
            versions=versions,
            lines=lines,
            sampled=list(map(bytes, sampled)),
            hash=joined(lines),
        )


def joined(lines: Iterable[str]) -> str:
    """The hash of a model, from a line a tensor."""
    return FORM + hashlib.sha256("".join(lines).encode()).hexdigest()


@dataclass(frozen=True)
class PendingEdit:
    """What was just done to a tensor, of which it is not known what came of it: how often it had been written to then,
    what determines the outcome, and whether the tensor holds it still.
    """

    version: int
    key: Hashable
    holds: Callable[[], bool]


class Known:
    """What is known of the weights of one model. Use ``Known.of(core)``; it stands on the model and dies with it.

    Attributes:
        tensors: by id, what was seen of each. agreed: by the id of a fused layer, it and its parts as they were when
            they last held the same numbers. whole: all of the model, with its hash. old: the same, and the hash of the
            old formula. outcomes: by a tensor's digest and what was done to it, its digest and sample afterwards.
            written: by id, edits in force whose outcome is not known. around: the way to the tensors of the last
            change. lost: tensors that are gone since all was last looked at.
    """

    def __init__(self) -> None:
        self.tensors: dict[int, TensorSnapshot] = {}
        self.agreed: dict[int, list[TensorSnapshot]] = {}
        self.whole: Whole | None = None
        self.old: tuple[Whole, str] | None = None
        self.outcomes: OrderedDict[Hashable, tuple[str, bytes]] = OrderedDict()
        self.written: dict[int, PendingEdit] = {}
        self.around: Way | None = None
        self.lost: list[weakref.ref[Tensor]] = []

    @classmethod
    def of(cls, core: nn.Module) -> Known:
        """What is known of a model."""
        found: Known | None = core.__dict__.get(_KEPT)
        if found is None:
            found = core.__dict__.setdefault(_KEPT, cls())
        return found

    # of a copy nothing is known, and weak references cannot be pickled
    def __deepcopy__(self, memo: Any) -> Known:
        return Known()

    def __reduce__(self) -> tuple[Any, ...]:
        return Known, ()

    def learn(self, names: list[str], now: Look, hashed: Sequence[tuple[str, Tensor]], anew: bool) -> Whole:
        """Keeps what is seen now of a model's weights, and the hash of some of them, and gives both: those that are
        not what was kept of them are read, all of them with `anew`.

        Raises: LoadError: a tensor has no values.
        """
        known: dict[int, TensorSnapshot] = {}
        self.lost.clear()
        for i, value in enumerate(now.values):
            kept = None if anew else self.tensors.get(id(value))
            known[id(value)] = kept if kept is not None and now.same(i, kept) else now.snapshot(i, self.lost)
        missing = [(name, value) for name, value in hashed if not known[id(value)].digest]
        for (_, value), digest in zip(missing, digests(missing)):
            seen = known[id(value)] = replace(known[id(value)], digest=digest)
            done = self.written.get(id(value))
            if done is not None and done.version == seen.version and done.holds():
                self.remember(done.key, (digest, seen.sample))
        self.tensors, self.whole = known, Whole.of(names, now, known, hashed)
        return self.whole

    def settle(self, changed: Mapping[int, TensorSnapshot]) -> None:
        """Tensors that were just written to, by id, of which it is known what they hold."""
        self.tensors |= changed
        if self.whole is not None:
            self.whole = self.whole.updated(changed)

    def remember(self, key: Hashable, outcome: tuple[str, bytes]) -> None:
        """What came of an edit; the oldest of `REMEMBERED` is forgotten."""
        self.outcomes[key] = outcome
        self.outcomes.move_to_end(key)
        if len(self.outcomes) > REMEMBERED:
            self.outcomes.popitem(last=False)


# -- reading ---------------------------------------------------------------------------------------------------------


def digests(named: Sequence[tuple[str, Tensor]]) -> list[str]:
    """The SHA-256 of each tensor's shape, dtype and values, as hexadecimal digits; the names are for errors."""
    threads = min(THREADS, torch.get_num_threads(), len(named))
    if threads < 2 or sum(value.numel() * value.element_size() for _, value in named) < SHARED:
        return [_digest(*one) for one in named]
    largest_first = sorted(range(len(named)), key=lambda i: -named[i][1].numel())
    pool = ThreadPoolExecutor(threads, "mnemoscope-hash")
    try:
        done = {i: pool.submit(_digest, *named[i]) for i in largest_first}
        return [done[i].result() for i in range(len(named))]
    finally:
        pool.shutdown(cancel_futures=True)


def _digest(name: str, value: Tensor) -> str:
    whole = hashlib.sha256(f"{tuple(value.shape)} {value.dtype}\n".encode())
    whole.update(read(name, value).data)
    return whole.hexdigest()


def read(name: str, value: Tensor) -> UInt8[np.ndarray, " bytes"]:
    """The bytes of a tensor's values in C order, of an offloaded one from where it is kept. Raises LoadError where it
    has none.
    """
    value = value_of(value)
    if value.is_meta:
        raise LoadError(
            f"model: the weight {name!r} is on the meta device, where it has no values, and accelerate keeps none"
            " for it elsewhere; load the model's weights."
        )
    if value.layout is not torch.strided:
        raise LoadError(
            unfit("model", value, f"a model whose parameters have values; {name!r} is not strided", "load its weights")
        )
    return value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
