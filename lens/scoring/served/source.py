"""A served model as scoring knows it: what its numbers depend on, from the server or from what a store noted of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from lens.prompts import PromptError, start_token

from ..store import remember, remembered
from .errors import ServedError
from .model import Facts, Served

#: Tokens of a request, where nobody says.
REQUEST_TOKENS = 2048
#: Rows of a request, at most: vLLM refuses more than 1024.
REQUEST_ROWS = 256
#: Tokens of a vocabulary that is not known: ids are checked by the server alone.
_ANY = 2**31


class ServedSource:
    """The source of scores (as `lens.scoring.source.Source`) that a server is. It is not asked where the store has
    every row: what the store noted of it is enough.
    """

    named, kind, dtype_name, batch_tokens = False, "server", "as served", REQUEST_TOKENS

    def __init__(self, served: Served, dtype: Any, device: Any, store: Any):
        for name, value in (("dtype", dtype), ("device", device)):
            if value is not None:
                raise ServedError(f"{name}={str(value)!r}: {served.name} has the server's own; leave {name} out.")
        self.served, self.store = served, store
        self._digest = hashlib.sha256(json.dumps([served.url, served.asked]).encode()).hexdigest()
        self._noted = None if store is None else _noted(store, self._digest)

    def require(self, options: dict[str, Any]) -> None:
        """Refuse what a server cannot give. Raises ServedError."""
        if options["moments"]:
            raise ServedError(
                f"extra: {self.served.name} gives the log-probability of each token alone; mean and variance need the"
                " whole distribution, so score the model itself (lens.load)."
            )
        if options["backend"] != "local":
            raise ServedError(
                f"backend={options['backend']!r}: {self.served.name} is asked by this process; leave backend out, and"
                " see concurrency= of Served."
            )

    @property
    def known(self) -> Facts:
        """What the store noted, else what the server says, which is noted then."""
        return self._noted if self._noted is not None else self.asked()

    def asked(self) -> Facts:
        """What the server says now. Raises ServedError: it is another model than the one that the store noted."""
        facts = self.served.facts(self._noted)
        if self._noted is None:
            self._noted = facts
            if self.store is not None:
                remember(self.store, self._digest, facts.noted())
        return facts

    @property
    def name(self) -> str:
        """The model's name and its server's address."""
        return f"{self.known.model} at {self.served.url}"

    @property
    def facts(self) -> dict[str, Any]:
        """As of a model at hand; `context` is such that a row with its start token fits into a request."""
        tokenizer, known = self.served.tokenizer, self.known
        return {
            "hash": None,
            "vocabulary": _ANY if tokenizer is None else len(tokenizer),
            "context": None if known.context is None else max(1, known.context - known.way.after - 1),
        }

    def begin(self, start: Any) -> Any:
        """The token that `start` names: "auto" as `lens.load` would give it to the model; a number as it is."""
        if not isinstance(start, str):
            return start
        if self.served.tokenizer is None:
            raise ServedError(
                f"start={start!r}: the tokenizer of {self.served.name} is not known; give it, Served(url,"
                " tokenizer=...), or say the token's id, or start=None (in lens.provenance: score_options={'start':"
                " None})."
            )
        try:
            return start_token(self.served.tokenizer, start)
        except PromptError as error:
            raise ServedError(str(error)) from None

    @property
    def identity(self) -> dict[str, Any]:
        """What the numbers depend on, as far as can be told from here."""
        return {"served": self.served.url, "model": self.known.model, "root": self.known.says.get("root")}

    @property
    def about(self) -> dict[str, Any]:
        """As it stands in a table of scores."""
        known = self.known
        return {
            "name": self.name,
            "hash": None,
            "dtype": self.dtype_name,
            "url": self.served.url,
            "model": known.model,
            "says": known.says,
        }


def _noted(store: Any, digest: str) -> Facts | None:
    noted = remembered(store, digest)
    try:
        return None if noted is None else Facts.of(noted)
    except (KeyError, TypeError, ValueError):
        return None
