"""What arguments of this family hold: arrays, numbers of rows, addresses of files, whom one can ask for the likelihood
of a row.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np

from .. import arguments
from ..arguments import FilePath, Fitting, Name, Number, Text, Unfit, Whole, tried, unfit
from ..scoring.served import Served
from .errors import ProvenanceError

#: A local file or folder, or the http(s) address of one.
Address = FilePath | Name
#: What `position` holds.
Kind = Literal["key", "step", "rank"]
Alternative = Literal["less", "greater", "two-sided"]
#: Tokens of an n-gram.
_SIZE = Whole(1, 64)
#: An e-value at which to stop.
Enough = Annotated[float, Number(1, closed=False)]


def array(value: Any, name: str, expected: str, kinds: str = "biuf", dtype: Any = None) -> np.ndarray:
    """A list, array or tensor as an array of one of the kinds (of NumPy's dtypes). Raises ProvenanceError that names
    the argument.
    """
    return arguments.array(value, name, expected, ProvenanceError, kinds, dtype)


def row_numbers(value: Any, n: int, name: str = "index") -> np.ndarray:
    """Numbers of n rows, or a truth value for each, as int64. Raises ProvenanceError."""
    expected = (
        f"numbers of rows, an array of whole numbers from 0 to {n - 1}, or a truth value for each of the {n} rows"
    )
    numbers = array(value, name, expected, "biu")
    if numbers.dtype.kind == "b":
        numbers = np.flatnonzero(numbers) if numbers.shape == (n,) else np.full(1, n)
    if numbers.ndim != 1 or (len(numbers) and (int(numbers.max()) >= n or int(numbers.min()) < -n)):
        raise ProvenanceError(unfit(name, value, expected))
    return numbers.astype(np.int64)


class TokenType(Fitting):
    """The name of a NumPy type of whole numbers."""

    expected = "the name of an integer type, such as 'uint16' or 'uint32'"

    def fits(self, value: Any) -> bool:
        """Whether the value names a type of whole numbers."""
        named = isinstance(value, (str, np.dtype)) or (isinstance(value, type) and issubclass(value, np.integer))
        return named and np.dtype(value).kind in "iu"


class _Asked(Fitting):
    """A suspect or reference."""

    expected = (
        "a model, the name of one, lens.scoring.Served or the address of a server, a Scores table, NLL of each row, or"
        " an object with prompt_logprobs or sample_next"
    )

    def fits(self, value: Any) -> bool:
        for _ in range(2):
            value = value.model if type(value).__name__ == "Reference" else value
        if isinstance(value, str):
            return bool(Text(filled=True).take(value).strip())
        return not isinstance(value, type) and kind_of(value) is not None


def kind_of(subject: Any) -> str | None:
    """How a subject is asked: "table" of scores, "values" of rows, "logprobs" or "draws" of an interface, "served",
    "model"; None where it cannot be.
    """
    return tried(_kind_of, subject)


def _kind_of(subject: Any) -> str | None:
    if isinstance(subject, Served):
        return "served"
    if hasattr(subject, "nll") and hasattr(subject, "row_id"):
        return "table"
    if isinstance(subject, (np.ndarray, list, tuple)) or hasattr(subject, "to_numpy"):
        return "values"
    return next((kind for name, kind in _CALLED.items() if callable(getattr(subject, name, None))), None)


_CALLED = {"prompt_logprobs": "logprobs", "sample_next": "draws", "forward": "model"}


def can(subject: Any, method: str) -> bool:
    """Whether an object has a method of that name."""
    return tried(lambda given: callable(getattr(given, method, None)), subject, False)


#: A model, its name, scores, or an interface; see `kind_of`.
Asked = Annotated[Any, _Asked()]
TokenDtype = Annotated[Any, TokenType()]


def documents_of(text: Any) -> list[np.ndarray]:
    """Token ids of one document or several, each int64. Raises ProvenanceError."""
    single = (isinstance(text, np.ndarray) and text.ndim == 1 and text.dtype != object) or (
        isinstance(text, (list, tuple)) and len(text) > 0 and all(isinstance(t, (int, np.integer)) for t in text)
    )
    documents = [
        array(d, f"text: document {i}", "a line of token ids; text is tokenised before", "biuf")
        for i, d in enumerate([text] if single else text)
    ]
    if not documents or not any(d.size for d in documents):
        raise ProvenanceError("text is empty; expected token ids, or a list of documents' token ids.")
    for i, d in enumerate(documents):
        if d.size and (d.ndim != 1 or d.dtype.kind not in "iu" or d.min() < 0 or d.max() >= 2**31):
            raise ProvenanceError(
                f"text: document {i} holds {d.dtype} of shape {d.shape}; expected a line of token ids from 0. Tokenise"
                " it with the corpus's tokenizer."
            )
    return [d.astype(np.int64).reshape(-1) for d in documents]


def gram_sizes(k: Any) -> tuple[int, int]:
    """Tokens of the shortest and the longest n-gram. Raises ProvenanceError."""
    try:
        low, high = (_SIZE.take(one) for one in (k if isinstance(k, (list, tuple)) else (k, k)))
        fits = low <= high
    except (Unfit, ValueError):
        fits = False
    if not fits:
        raise ProvenanceError(unfit("k", k, "the shortest and the longest n-gram such as (4, 8), both from 1 to 64"))
    return low, high
