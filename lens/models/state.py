"""The model as it is now: what is in force on it, and what it would take to be the same model.

Three things are told apart. ``State.of`` compares, before each call, the model's *structure* with what it was (about 5
ms for SmolLM2): which modules there are, their plain attributes, buffers, hooks and replaced methods, the
configuration; what was checked on another structure is checked again. ``State.foreign`` is what a path that writes
blocks out, or runs layers on a part of the text, cannot follow: a person's own hooks and replaced methods; such a model
runs whole. ``identity`` is the content of all this, which weights do not say, and goes into records and into the
identity of a store.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from .content import Identity, content_of, plain_modules
from .foreign import Foreign, foreign, modules_of, plain_name, replaced_methods, user_hooks
from .placement import require_readable
from .structure import structure

__all__ = [
    "Foreign",
    "Identity",
    "State",
    "foreign",
    "identity",
    "modules_of",
    "plain_modules",
    "plain_name",
    "replaced_methods",
    "structure",
    "user_hooks",
]

_REMEMBERED = "_mnemoscope_state"


@dataclass
class State:
    """A model's structure as it was last compared; whoever checked something on it keeps the object and compares with
    ``is``.

    Attributes:
        foreign: the person's hooks and replaced methods.
        verified: texts on which a path gave the model's own logits, as (length, digest), forgotten where a weight was
            written to; with the weights' hash as a third part they are kept.
        content: that of it all, once it was asked for. writes: how often weights had been written to.
    """

    mark: list[Any]
    foreign: tuple[Foreign, ...]
    verified: "OrderedDict[tuple[Any, ...], None]" = field(default_factory=OrderedDict)
    content: "Identity | None" = None
    writes: int = -1

    @classmethod
    def of(cls, model: Any) -> "State":
        """The state of a model now: the same object as before where its structure is as it was.

        Raises: LoadError: weights that cannot be read, see `require_readable`.
        """
        hf = getattr(model, "original_model", model)
        mark, writes = structure(hf)
        state: State | None = hf.__dict__.get(_REMEMBERED)
        if state is None or state.mark != mark:
            require_readable(hf)
            state = cls(mark, tuple(foreign(model)))
            hf.__dict__[_REMEMBERED] = state
        if writes != state.writes:
            state.writes = writes
            # what was verified on weights of a known content is still so when they hold it again
            for key in [k for k in state.verified if len(k) < 3]:
                del state.verified[key]
        return state

    def remember(self, key: tuple[Any, ...]) -> None:
        """Notes a text as verified; the oldest of 4096 is forgotten."""
        self.verified[key] = None
        if len(self.verified) > 4096:
            self.verified.popitem(last=False)

    def refusal(self) -> str | None:
        """Why only whole forwards of the model's own serve it, or None."""
        if not self.foreign:
            return None
        first, more = self.foreign[0], len(self.foreign) - 1
        return (
            f"{first}{f' and {more} more' if more else ''} would act on whole forwards of the model only; take it off, "
            "or use lens.patch(method='exact'), which then runs whole forwards."
        )


def identity(model: Any, state: State | None = None) -> Identity:
    """The content of what is in force on a model beside its parameters: configuration, buffers, plain attributes,
    classes, hooks, adapters' state.

    A bridge and the plain model of the same weights have the same. Device, dtype and the attention kernel are left out.
    Takes some 20 ms for SmolLM2 once a structure, and a second a gigabyte of large buffers; with hooks of the person's
    it is read anew at each call.

    ``state``: what ``State.of`` has just given; None: compared now.
    """
    hf, state = getattr(model, "original_model", model), state or State.of(model)
    if state.content is None or state.foreign:
        state.content = content_of(hf, state.foreign)
    return state.content
