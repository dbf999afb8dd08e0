"""What is patched: SmolLM2 on two prompt pairs, or, to test the benchmark, a random model of four layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable

import torch

import lens

#: Differs at token 11 of 16.
LATE = lens.Pair("Then, when John and Mary went to the shops, John gave the bottle to",
                 corrupted="Then, when John and Mary went to the shops, Mary gave the bottle to", answer=" Mary", foil=" John", label="late")
#: Differs at token 1 of 16, so that (almost) nothing is shared.
EARLY = lens.Pair("In France, as everyone knows, the most widely spoken language in the country is",
                  corrupted="In Italy, as everyone knows, the most widely spoken language in the country is", answer=" French", foil=" Italian", label="early")
LENGTH = 16
MANY = 40


@dataclass(frozen=True)
class Subject:
    """A model and its prompts.

    Attributes:
        bridge: what `lens.load` returns; ours alone.
        copy: makes a further plain Hugging Face model of the same weights; each peer rewrites or hooks the one that it wraps.
    """

    name: str
    bridge: Any
    tokenizer: Any
    copy: Callable[[], Any]
    pairs: dict[str, lens.Pair]
    many: list[lens.Pair]

    @property
    def config(self) -> Any:
        return self.bridge.original_model.config


def smollm2() -> Subject:
    """The embedded default; raises `lens.LoadError` where it was not fetched."""
    from transformers import AutoModelForCausalLM

    from lens.cache import fetched

    bridge, folder = lens.load("smollm2", device="cpu"), str(fetched("smollm2"))
    copy = lambda: AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True).eval().requires_grad_(False)
    return _checked(Subject("SmolLM2-135M-Instruct", bridge, bridge.tokenizer, copy, {"late": LATE, "early": EARLY},
                            lens.load_pairs("ioi", limit=MANY)))


def tiny(seed: int = 0) -> Subject:
    """A random Llama of four layers with a tokenizer of whole words; no files are needed."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _word_tokenizer([LATE, EARLY])
    config = LlamaConfig(vocab_size=len(tokenizer), hidden_size=48, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                         intermediate_size=96, max_position_embeddings=64, initializer_range=0.3, bos_token_id=0, eos_token_id=0, pad_token_id=0)

    def copy():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval().requires_grad_(False)

    swapped = lens.Pair(LATE.corrupted, corrupted=LATE.clean, answer=LATE.foil, foil=LATE.answer)
    return _checked(Subject("random Llama, 4 layers", lens.models.wrap(copy(), tokenizer, "tiny-llama"), tokenizer, copy,
                            {"late": LATE, "early": EARLY}, [LATE, swapped] * (MANY // 2)))


def _checked(subject: Subject) -> Subject:
    for name, pair in subject.pairs.items():
        length = len(lens.encode(subject.tokenizer, pair))
        if length != LENGTH:
            raise ValueError(f"the {name} pair has {length} tokens with this tokenizer; the benchmark is about {LENGTH}")
    return subject


def _word_tokenizer(pairs: list[lens.Pair]):
    """A word (with the space before it) or a punctuation mark a token; it knows the words of these pairs."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    split = pre_tokenizers.Split(Regex(r"\s?\w+|[^\w\s]"), "isolated")
    text = [t for p in pairs for t in (p.clean, p.corrupted, p.answer, p.foil)]
    words = ["<end>", *dict.fromkeys(word for t in text for word, _ in split.pre_tokenize_str(t))]
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<end>"))
    made.pre_tokenizer, made.decoder = split, decoders.Fuse()
    # TransformerLens asks a tokenizer that it has seen before for its name
    return PreTrainedTokenizerFast(tokenizer_object=made, unk_token="<end>", eos_token="<end>", pad_token="<end>", name_or_path="words")
