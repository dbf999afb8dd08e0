"""A model behind an OpenAI-compatible server: the log-probabilities of its prompts' own tokens, asked over HTTP.

Nothing that a server says is believed before it is looked at: an answer of another model, with other tokens or
fewer, with NaN or what is no log-probability, is an error, and no number of it is kept.
"""

from __future__ import annotations

from ...lazy import attributes

#: public name -> module, resolved on first use
_PUBLIC = {"Served": "model", "ServedError": "errors", "is_address": "address"}

__all__ = [*_PUBLIC]

__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
