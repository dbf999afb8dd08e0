"""Small models, prompts and results that the subjects share."""

from __future__ import annotations

import functools
from typing import Any

import torch

import lens
from tests.models import speaking


@functools.cache
def model(seed: int = 0) -> Any:
    """A tiny model that speaks the words w0, w1, ..."""
    return speaking("llama", seed)


@functools.cache
def worded() -> Any:
    """A tokenizer whose tokens are words with a space before them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = ["start", "alpha", "beta", "gamma", "delta", "epsilon"]
    made = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate([*words, *(f" {w}" for w in words)])}, unk_token="start")
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.Split(" ", "merged_with_next"), decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="start", unk_token="start", pad_token="start")


def pair(i: int = 0) -> lens.Pair:
    return lens.Pair(
        f"w1 w2 w{10 + i} w4",
        corrupted=f"w1 w2 w{30 + i} w4",
        answer=f" w{50 + i}",
        foil=" w8",
        spans={"subject": f"w{10 + i}"},
        label=f"pair {i}",
    )


def pairs(n: int = 3) -> list[lens.Pair]:
    return [pair(i) for i in range(n)]


#: A chat template of words that the tiny models know.
SPOKEN = "{% for m in messages %}w70 {{ m['content'] }} w71 {% endfor %}{% if add_generation_prompt %}w72{% endif %}"


def said(*words: str) -> list[dict[str, str]]:
    """A user's turn of some words."""
    return [{"role": "user", "content": " ".join(words)}]


def ids(n: int = 6, length: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randint(1, 97, (n, length), generator=torch.Generator().manual_seed(seed))


def direction() -> torch.Tensor:
    return torch.ones(32)


@functools.cache
def patched(n: int = 6) -> Any:
    """A result of `lens.patch` over several prompts."""
    return lens.patch(model(), pairs(n), "resid_pre", over=("layer",), progress=False)


def labelled(begin: int, n: int = 5) -> list[dict[str, str]]:
    """Items of two labels, told by their first word."""
    of = {"a": range(10, 10 + n), "b": range(50, 50 + n)}
    return [{"text": f"w{begin + i} w{i} w9", "label": label} for label, words in of.items() for i in words]


@functools.cache
def fitted() -> lens.Gate:
    """A gate that was fitted on items."""
    site = lens.Site("resid_pre", layer=1)
    return lens.Gate.fit(model(), labelled(0), labelled(12), site, "a", start=None)


def enter(within: Any) -> None:
    """A with block entered, a forward in it, and left."""
    with within, torch.no_grad():
        model()(ids(1))
