"""How an organism ships: a folder of safetensors, a word-level tokenizer and a card, replaced in one rename."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..cache import sha256_file
from ..models.shipped import CARD, WORDS

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

START = "<start>"


def pseudowords(count: int) -> list[str]:
    """`count` pseudowords of two syllables (at most 4,900), spread evenly over all there are."""
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    words = ["".join(pair) for pair in itertools.product(syllables, syllables)]
    return words[:: len(words) // (count + 1)][:count]


def tokenizer_of(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words that splits at white space and adds nothing; word i has id i, and START stands for
    unknown ones.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(vocabulary)}, unk_token=START))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=False)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=START, eos_token=START, unk_token=START, pad_token=START
    )


def ship(model: PreTrainedModel, vocabulary: Sequence[str], folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write model, tokenizer and card into `folder` (which is replaced when all is ready) and return the card.

    The card gains `weights_sha256`, the hash of the weight file, and `parameters`, their number.
    """
    from transformers.utils import logging

    logging.disable_progress_bar()
    with files.replacing(folder) as part:
        model.save_pretrained(part)
        tokenizer_of(vocabulary).save_pretrained(part)
        (part / "generation_config.json").unlink(missing_ok=True)
        card = card | {
            "weights_sha256": sha256_file(part / WORDS),
            "parameters": sum(value.numel() for value in model.parameters()),
        }
        write_card(part, card)
    return card


def write_card(part: Path, card: dict[str, Any]) -> None:
    """Put the card into a folder that is under way and whole but for it, which everybody may then read."""
    (part / CARD).write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    for path in part.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
