"""The address of a server, and of one model that it serves: "http://localhost:8000/v1#name"."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from ...arguments import tried
from .errors import ServedError

_EXPECTED = "expected the address of an OpenAI-compatible server such as http://localhost:8000/v1"


def is_address(value: Any) -> bool:
    """Whether a text is meant as the address of a server, and not as the name of a model or a folder."""
    return isinstance(value, str) and value.strip().lower().startswith(("http://", "https://"))


@dataclass(frozen=True)
class Address:
    """`url`: without a slash at its end, and without what is secret. `model`: the name after "#", if one is there."""

    url: str
    model: str | None = None

    @classmethod
    def of(cls, text: Any, argument: str = "url") -> Address:
        """Raises ServedError: no address over HTTP, or one that holds a password or a key, which is not shown."""
        parts = tried(_split, text) if isinstance(text, str) else None
        if parts is None:
            raise ServedError(f"{argument}={_plain(text)} is no address; {_EXPECTED}.")
        if "@" in parts.netloc or parts.query:
            raise ServedError(
                f"{argument}: the address of {parts.hostname} holds a user, a password or a query ('?'), which would"
                " stand in every record; leave them out, and give a key by key= or by the environment variable that"
                " key_variable= names."
            )
        return cls(f"{parts.scheme}://{parts.netloc.lower()}{parts.path.rstrip('/')}", parts.fragment or None)

    @property
    def root(self) -> str:
        """The server itself, above the version of its interface."""
        return self.url.removesuffix("/v1")


def _split(text: str) -> SplitResult | None:
    """Its parts; None where it is no address over HTTP."""
    text = text.strip()
    parts = urlsplit(text)
    # the port is read, so that one that is no number is found
    fits = is_address(text) and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    return parts if fits and text.isprintable() and " " not in text else None


def _plain(text: Any) -> str:
    """A text in an error; what may be a password, before an "@", is left out."""
    return repr(text.rpartition("@")[2][:60]) if isinstance(text, str) else f"<{type(text).__name__}>"
