"""What the parts of a pipeline are beside their weights: a tokenizer's words, a U-Net's attention processors."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

#: A tokenizer's attribute that holds its hash.
_VOCABULARY = "_mnemoscope_vocabulary"


def plain(module: nn.Module) -> nn.Module:
    """What `torch.compile` wrapped, or the module itself."""
    return getattr(module, "_orig_mod", module)


def vocabulary_hash(tokenizer: Any) -> str:
    """The SHA-256 of a tokenizer's tokens and their ids; kept on it until it has another number of them."""
    known = getattr(tokenizer, _VOCABULARY, None)
    if known is None or known[0] != len(tokenizer):
        words = json.dumps(sorted(tokenizer.get_vocab().items())).encode()
        known = len(tokenizer), hashlib.sha256(words).hexdigest()
        setattr(tokenizer, _VOCABULARY, known)
    return known[1]


def attentions(unet: nn.Module) -> list[Any]:
    """Attention processors that may compute something else than diffusers' default one: a person's own, and any on an
    attention whose norms or scale some processors pass over.
    """
    processors = []
    for name, module in unet.named_modules():
        processor = getattr(module, "processor", None)
        own = not type(processor).__module__.startswith("diffusers.")
        if processor is not None and (
            own
            or getattr(module, "norm_q", None) is not None
            or getattr(module, "norm_k", None) is not None
            or getattr(module, "scale_qk", True) is False
        ):
            plain_values = {
                key: value for key, value in vars(processor).items() if isinstance(value, (bool, int, float, str))
            }
            processors.append(
                [
                    name.replace("_orig_mod.", ""),
                    f"{type(processor).__module__}.{type(processor).__qualname__}",
                    plain_values,
                ]
            )
    return processors
