"""A tokenizer by the name of its model, without the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lens.reading import no_panic

from .folder import require_shallow
from .names import named

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["load_tokenizer"]


def load_tokenizer(name: str, what: str, error: type[Exception]) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder, or of a name that `lens.load` takes. Code beside it is not run.

    Args: what: what it is the tokenizer of, for the error.
    Raises: `error`: nothing is there, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        model = named(name)
        if model.folder is not None:
            require_shallow(model.folder.glob("*.json"), ValueError)
        with no_panic(ValueError, "its files made a library fail"):
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                model.where,
                trust_remote_code=False,
                **({} if model.revision is None else {"revision": model.revision}),
            )
    except Exception as found:  # transformers, tokenizers and the hub's client each raise their own kinds
        raise error(
            f"{what} {name!r} cannot be loaded ({(str(found).splitlines() or [type(found).__name__])[0]}); give a"
            " folder, a name that lens.load takes, or the tokenizer itself"
        ) from found
    return tokenizer
