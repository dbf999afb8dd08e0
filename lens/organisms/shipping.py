"""How an organism ships: a folder of safetensors, a word-level tokenizer and a card, replaced in one rename."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .. import files

START = "<start>"


def made_up(count: int) -> list[str]:
    """`count` made-up words of two syllables (at most 4,900), spread evenly over all there are."""
    syllables = ["".join(pair) for pair in itertools.product("bdfgklmnprstvz", "aeiou")]
    both = ["".join(pair) for pair in itertools.product(syllables, syllables)]
    return both[:: len(both) // (count + 1)][:count]


def tokenizer_of(vocabulary: Sequence[str]):
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


def ship(model: torch.nn.Module, vocabulary: Sequence[str], folder: Path, card: dict[str, Any]) -> dict[str, Any]:
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
            "weights_sha256": hashlib.sha256((part / "model.safetensors").read_bytes()).hexdigest(),
            "parameters": sum(value.numel() for value in model.parameters()),
        }
        (part / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        for path in part.iterdir():
            path.chmod(0o644)
    return card
