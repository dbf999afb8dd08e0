"""A view that opens on a working example: a menu of further ones, and the person's last own input, also of an earlier
session.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import traitlets

from widgets.base import last_inputs
from widgets.base.view import View


@dataclass(frozen=True)
class Example:
    """What the menu says, and what it fills the fields with."""

    name: str
    fields: Mapping[str, Any]


class ExampleView(View):
    """A view with a menu of examples. It opens on the first one, with its result, where nothing else was asked.

    A subclass calls `_offer` with its examples and names in `_typed` the traits that a person fills in; it may
    override `_take_example` where an example is more than values of traits. It has `run` and `status`.
    """

    examples = traitlets.Dict().tag(sync=True)

    _typed: tuple[str, ...] = ()
    #: of every kind of view, what a person asked last, in this session or in an earlier one
    _last_inputs: ClassVar[dict[str, dict[str, Any]]] = {}
    _opened = False

    def _offer(self, examples: Iterable[Example]) -> None:
        self._offered = tuple(examples)
        if (own := last_inputs.read(type(self).__name__, self._typed)) is not None:
            self._last_inputs[type(self).__name__] = own
        self.observe(lambda _: self._mark(), list(self._typed))
        self._mark()

    _offered: tuple[Example, ...] = ()

    def _typed_now(self) -> dict[str, Any]:
        with self._guard:
            return {name: copy.deepcopy(getattr(self, name)) for name in self._typed}

    def _own_input(self) -> dict[str, Any] | None:
        """The person's last input, where this view can be asked it."""
        own = self._last_inputs.get(type(self).__name__)
        return own if own is not None and self._can_ask(own) else None

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        """Whether these values are ones that the fields can hold: an input may be of other sets, or another version."""
        try:
            for name, value in fields.items():
                self.traits()[name]._validate(self, value)
        except traitlets.TraitError:
            return False
        return True

    def _number_of(self, typed: Mapping[str, Any]) -> int | None:
        """The example that these fields are of, -1 for the person's own, None for neither."""
        for number, example in enumerate(self._offered):
            if all(typed.get(name) == value for name, value in example.fields.items() if name in typed):
                return number
        return -1 if typed == self._own_input() else None

    def _mark(self) -> None:
        own = self._own_input() is not None
        names = [example.name for example in self._offered]
        now = {"names": names, "chosen": self._number_of(self._typed_now()), "own": own}
        if now != self.examples:
            self.publish(examples=now)

    def _blank(self) -> bool:
        """Whether a person has filled in nothing."""
        return not any(self._typed_now().values())

    def _remember(self) -> None:
        """Keep what the person asked, unless it is an example's."""
        typed = self._typed_now()
        if self._typed and not self._blank() and self._number_of(typed) in (None, -1):
            if self._last_inputs.get(type(self).__name__) != typed:
                last_inputs.write(type(self).__name__, typed)
            self._last_inputs[type(self).__name__] = typed
            self._mark()

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self.publish(**fields)

    def _on_example(self, message: Mapping[str, Any]) -> None:
        number = message.get("number")
        if number == -1 and (own := self._own_input()) is not None:
            self._take_example(dict(own))
        elif isinstance(number, int) and 0 <= number < len(self._offered):
            self._remember()
            self._take_example(dict(self._offered[number].fields))
        else:
            return
        self._run_example()

    def _run_example(self) -> None:
        """Compute what the fields ask now; a view whose fields do so by themselves has nothing to do here."""
        self.run()

    def run(self, wait: bool = False) -> None:
        """Compute what the fields ask."""
        raise NotImplementedError

    def _on_message(self, widget: Any, content: Any, buffers: Any) -> None:
        if isinstance(content, dict) and content.get("type") == "example":
            self._on_example(content)
            return
        super()._on_message(widget, content, buffers)
        if isinstance(content, dict) and content.get("type") == "run":
            self._remember()

    # --- opening

    def _open(self) -> None:
        """Called when the view is shown for the first time: where nothing was asked, the first example is."""
        if self._offered and self._waits():
            self._take_example(dict(self._offered[0].fields))
            self._run_example()

    def _waits(self) -> bool:
        """Whether nothing was asked yet, so that an example may be."""
        return self._blank()

    def _take_state(self, saved: dict[str, Any]) -> None:
        self._opened = True  # what was restored is not replaced by an example
        super()._take_state(saved)

    def _ipython_display_(self) -> None:
        if not self._opened:
            self._opened = True
            self._open()
        super()._ipython_display_()
