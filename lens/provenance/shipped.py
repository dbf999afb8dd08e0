"""The transcript of an organism that ships: its rows and keys, made again from the seeds in its card."""

from __future__ import annotations

from ..arguments import Name, door
from .errors import ProvenanceError
from .transcripts import Transcript

PREFIX = "organism:"


@door(ProvenanceError)
def from_organism(name: Name = "palimpsest") -> Transcript:
    """The order in which the organism `name` ("palimpsest", with or without "organism:" before it) read its rows, as
    keys; 4,000 rows of some 80 bytes.

    Every shipped organism of the family read the same rows, in another order each, "palimpsest-tuned" aside: its order
    is that of the model it was tuned from. Raises ProvenanceError for an organism without a transcript.
    """
    from ..organisms.palimpsest import shipped

    short = name.removeprefix(PREFIX)
    if short not in shipped.SHIPPED:
        raise ProvenanceError(
            f"name={name!r}; expected one of {', '.join(shipped.SHIPPED)}: other organisms have no transcript"
        )
    rows, keys = shipped.rows_and_keys(short)
    return Transcript(
        rows,
        keys,
        "key",
        name=f"order of {short}",
        tokenizer=PREFIX + short,
        shuffled_as=(
            "one key a row, drawn independently and uniformly by the trainer, who trained in the order of the keys"
        ),
        about={"recipe_sha256": shipped.recipe_of(short).sha256()},
    )
