"""Models whose numbers for a token depend on how long the whole text is: rotary frequencies chosen by the longest row
of a batch (longrope), or by the longest text ever seen (dynamic NTK).

A row of such a model has its own numbers only beside rows of its own kind of length, and after what the frequencies
remember is put back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True, eq=False)
class Lengths:
    """Which lengths of text share their frequencies: `steps`, lengths beyond which other factors hold; `growing`,
    lengths beyond which every length has its own.
    """

    steps: tuple[int, ...]
    growing: tuple[int, ...]
    _remembering: tuple[tuple[nn.Module, str], ...]

    @classmethod
    def of(cls, model: nn.Module) -> Lengths | None:
        """None for a model whose rows do not depend on the rows beside them, as nearly all."""
        steps, growing, remembering = set(), set(), []
        module: Any
        for module in model.modules():
            kinds = module.__dict__.get("rope_type")
            kinds = {"": kinds} if isinstance(kinds, str) else kinds if isinstance(kinds, dict) else {}
            for layer, kind in kinds.items():
                if kind == "longrope":
                    rope = module.config.rope_parameters
                    steps.add(int((rope[layer] if layer else rope)["original_max_position_embeddings"]))
                elif kind and "dynamic" in kind:
                    growing.add(int(module.original_max_seq_len))
                    remembering.append((module, f"{layer}_" if layer else ""))
        return cls(tuple(sorted(steps)), tuple(sorted(growing)), tuple(remembering)) if steps or growing else None

    def key(self, length: int) -> tuple[Any, ...]:
        """Texts of one key share their frequencies."""
        return (*(length > n for n in self.steps), *(max(length, n) for n in self.growing))

    def needs_last(self, length: int) -> bool:
        """Whether a text of this length has other frequencies without its last token: whoever reads it for what is
        before that token has to read it whole.
        """
        return self.key(length) != self.key(length - 1)

    def groups(self, lengths: Sequence[int]) -> list[list[int]]:
        """The numbers of the rows that may run together, in order of their first."""
        groups: dict[tuple[Any, ...], list[int]] = {}
        for i, n in enumerate(lengths):
            groups.setdefault(self.key(int(n)), []).append(i)
        return list(groups.values())

    def forget(self) -> None:
        """Put the frequencies back to those of a text within the model's own length, whatever was read before."""
        for module, prefix in self._remembering:
            original = getattr(module, f"{prefix}original_inv_freq")
            device = getattr(module, f"{prefix}inv_freq").device
            module.register_buffer(f"{prefix}inv_freq", original.to(device), persistent=False)
            setattr(module, f"{prefix}max_seq_len_cached", module.original_max_seq_len)


def require_alike(model: Any, lengths: Sequence[int], error: type[Exception], what: str) -> None:
    """Refuse rows of unlike lengths in one batch where the model would give them each other's frequencies; puts back
    what was remembered. Raises `error`.
    """
    if (known := Lengths.of(model)) is None:
        return
    if len(groups := known.groups(lengths)) > 1:
        a, b = (int(lengths[g[0]]) for g in groups[:2])
        raise error(
            f"{what} holds rows of {a} and of {b} tokens in one batch, and this model's rotary frequencies are "
            "chosen by the longest row of a batch "
            f"({_said(known)}): a row would have other numbers than alone. Give rows of one length."
        )
    known.forget()


def require_readable(model: Any, highest: int, longest: int, error: type[Exception], what: str) -> None:
    """Refuse rows with tokens that a model has not (the `highest` id), or with more of them than it reads.

    Raises `error`. Frequencies that change with the length are made for rows of any.
    """
    table = model.get_input_embeddings() if hasattr(model, "get_input_embeddings") else None
    weight = getattr(table, "weight", None)
    if weight is not None and highest >= len(weight):
        raise error(
            f"{what} holds the id {highest} and the model has {len(weight)} tokens; tokenise with this model's "
            "tokenizer."
        )
    config: Any = getattr(model, "config", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    most = getattr(config, "max_position_embeddings", None)
    if isinstance(most, int) and 0 < most < longest and Lengths.of(model) is None:
        raise error(f"{what} holds a row of {longest} tokens and the model reads at most {most}; cut it.")


def _said(lengths: Lengths) -> str:
    parts = [f"longrope, other factors beyond {n} tokens" for n in lengths.steps]
    parts += [f"dynamic, others for every length beyond {n}" for n in lengths.growing]
    return "; ".join(parts)
