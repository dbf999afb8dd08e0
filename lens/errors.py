"""The one base of all errors that this package raises on purpose. It imports nothing of the package."""

from __future__ import annotations


class Error(Exception):
    """What the package refuses, or could not do; the message names the argument, file or model, what was expected and
    the next step.

    Each part has an error of its own, which is also of the built-in kind that it resembles (ValueError, RuntimeError,
    OSError): `except ValueError` goes on
    to hold where it did, and `except lens.Error` takes all of them and nothing that comes from a library beneath.

    >>> import lens
    >>> issubclass(lens.PromptError, lens.Error) and issubclass(lens.PromptError, ValueError)
    True
    """
