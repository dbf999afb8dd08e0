"""Weights that this package changes for a while and puts back bit for bit: a hash that was known is known again without
reading them, and so is that of the same edit when it is made once more.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor, nn

from .known import Known, Look, PendingEdit, TensorSnapshot, place_of, places

__all__ = ["Around"]


def _all_hold(every: Iterable[Callable[[], bool]]) -> bool:
    return all(one() for one in every)


class Around:
    """What is known of some parameters around a change: made before it, `written` after it, `ending` before it is taken
    back, and `undone` after that.

    Args: core: the model. values: the parameters that will be written to.
    """

    def __init__(self, core: nn.Module, values: Iterable[Tensor]):
        self.values = {id(value): value for value in values}
        self.known = Known.of(core)
        now, own = Look(list(self.values.values()), self.known.around), self.known.tensors
        self.known.around = now.way
        self.was: dict[int, TensorSnapshot] = {
            key: own[key]
            for i, key in enumerate(self.values)
            if key in own and own[key].digest and now.same(i, own[key])
        }
        self._versions: dict[int, int] = {}
        self._alone: set[int] = set()

    def written(self, writes: Sequence[tuple[Tensor, Hashable | None, Callable[[], bool]]]) -> None:
        """The change was made. `writes`: each parameter as often as it was written to; what, with what the parameter
        was, determines bit for bit what it is now (None: that is not known); and whether that is still what it holds.
        """
        self._versions = {key: value._version for key, value in self.values.items()}
        done: dict[int, list[tuple[Hashable | None, Callable[[], bool]]]] = {}
        for value, how, holds in writes:
            done.setdefault(id(value), []).append((how, holds))
        changed = {}
        for key, was in self.was.items():
            hows = [how for how, _ in done.get(key, ())]
            if not hows or None in hows:
                continue
            edit, version = (was.digest, *hows), self._versions[key]
            if edit in self.known.outcomes:
                digest, sample = self.known.outcomes[edit]
                changed[key] = replace(was, version=version, sample=sample, digest=digest)
            else:
                every = [holds for _, holds in done[key]]
                self.known.written[key] = PendingEdit(version, edit, partial(_all_hold, every))
        self.known.settle(changed)

    def ending(self) -> None:
        """The change is about to be taken back: whether somebody else wrote to a parameter meanwhile is still seen."""
        self._alone = {key for key, value in self.values.items() if self._versions.get(key) == value._version}

    def undone(self, whole: Collection[Tensor], parts: Collection[Tensor]) -> None:
        """The very values are back in all of some parameters; and in the `parts` of others that were written to."""
        for key in self.values:
            self.known.written.pop(key, None)
        changed, back = {}, [value for value in whole if id(value) in self.was]
        where = places(back)
        for i, value in enumerate(back):
            was = self.was[id(value)]
            if was.object() is value and was.place == place_of(where, i):
                changed[id(value)] = replace(was, version=value._version)
        rest = [value for value in parts if id(value) in self._alone and id(value) in self.was]
        if rest:
            now = Look(rest)
            for i, value in enumerate(rest):
                was = self.was[id(value)]
                if now.in_place(i, was) and now.sample(i) == was.sample:
                    changed[id(value)] = replace(was, version=now.versions[i])
        self.known.settle(changed)
