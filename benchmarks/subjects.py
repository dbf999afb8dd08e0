"""What is measured: SmolLM2, or, to test the benchmarks, a random model of four layers; and two prompt pairs to
patch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

import lens

#: Differs at token 11 of 16.
LATE = lens.Pair(
    "Then, when John and Mary went to the shops, John gave the bottle to",
    corrupted="Then, when John and Mary went to the shops, Mary gave the bottle to",
    answer=" Mary",
    foil=" John",
    label="late",
)
#: Differs at token 1 of 16, so that (almost) nothing is shared.
EARLY = lens.Pair(
    "In France, as everyone knows, the most widely spoken language in the country is",
    corrupted="In Italy, as everyone knows, the most widely spoken language in the country is",
    answer=" French",
    foil=" Italian",
    label="early",
)
LENGTH = 16
MANY = 40


@dataclass(frozen=True)
class Model:
    """A model, as often as it is needed.

    Attributes:
        bridge: what `lens.load` returns; ours alone.
        copy: makes a further plain Hugging Face model of the same weights; each peer rewrites or hooks the one that it
            wraps.
    """

    name: str
    bridge: Any
    tokenizer: Any
    copy: Callable[[], Any]

    @property
    def config(self) -> Any:
        return self.bridge.original_model.config


@dataclass(frozen=True)
class Subject(Model):
    """A model and the prompts that are patched."""

    pairs: dict[str, lens.Pair]
    many: list[lens.Pair]


def embedded() -> Model:
    """The embedded default; raises `lens.LoadError` where it was not fetched."""
    from transformers import AutoModelForCausalLM

    from lens.cache import fetched

    bridge, folder = lens.load("smollm2", device="cpu"), str(fetched("smollm2"))

    def copy():
        return (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True)
            .eval()
            .requires_grad_(False)
        )

    return Model("SmolLM2-135M-Instruct", bridge, bridge.tokenizer, copy)


def random_model(texts: Iterable[str], seed: int = 0) -> Model:
    """A random Llama of four layers with a tokenizer of whole words, those of the texts; no files are needed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _word_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=48,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=96,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )

    def copy():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval().requires_grad_(False)

    return Model("random Llama, 4 layers", lens.models.wrap(copy(), tokenizer, "tiny-llama"), tokenizer, copy)


def smollm2() -> Subject:
    """The embedded default with pairs; raises `lens.LoadError` where it was not fetched."""
    return _patched(embedded(), lens.load_pairs("ioi", limit=MANY))


def tiny(seed: int = 0) -> Subject:
    """The random model with pairs."""
    swapped = lens.Pair(LATE.corrupted, corrupted=LATE.clean, answer=LATE.foil, foil=LATE.answer)
    model = random_model([t for p in (LATE, EARLY) for t in (p.clean, p.corrupted, p.answer, p.foil)], seed)
    return _patched(model, [LATE, swapped] * (MANY // 2))


def _patched(model: Model, many: list[lens.Pair]) -> Subject:
    return _checked(
        Subject(model.name, model.bridge, model.tokenizer, model.copy, {"late": LATE, "early": EARLY}, many)
    )


def _checked(subject: Subject) -> Subject:
    for name, pair in subject.pairs.items():
        length = len(lens.encode(subject.tokenizer, pair))
        if length != LENGTH:
            raise ValueError(
                f"the {name} pair has {length} tokens with this tokenizer; the benchmark is about {LENGTH}"
            )
    return subject


def _word_tokenizer(texts: Iterable[str]):
    """A word (with the space before it) or a punctuation mark a token; it knows the words of these texts."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(r"\s?\w+|[^\w\s]"), "isolated")
    words = ["<end>", *dict.fromkeys(word for t in texts for word, _ in split.pre_tokenize_str(t))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    made.pre_tokenizer, made.decoder = split, decoders.Fuse()
    # TransformerLens asks a tokenizer that it has seen before for its name
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        unk_token="<end>",
        bos_token="<end>",
        eos_token="<end>",
        pad_token="<end>",
        name_or_path="words",
    )
