"""What a model writes in answer to each prompt, beside the answer that is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..engine.lengths import require_readable
from ..engine.places import evaluating
from ..engine.writing.call import generate
from ..scoring.causal import inner
from ..tokens import PromptError, tokenizer_of
from .errors import UnlearningError
from .items import Items
from .rouge import recall, words


@dataclass(eq=False)
class Writer:
    """Writes at most `most` tokens to every prompt of the sets, each the likeliest, and compares them with the answers.

    Raises: UnlearningError: a model without a tokenizer, an answer without a word that ROUGE reads, a prompt that
        leaves no room.
    """

    model: Any
    sets: Mapping[str, Items]
    most: int
    _answers: dict[str, list[list[str]]] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        try:
            self.tokenizer = tokenizer_of(self.model)
        except PromptError as error:
            raise UnlearningError(
                f"rouge={self.most} compares texts, and the model has no tokenizer; set model.tokenizer, or give"
                " rouge=0."
            ) from error
        for name, items in self.sets.items():
            self._answers[name] = [words(self._text(answer)) for answer in items.answers]
            for i, answer in enumerate(self._answers[name]):
                if not answer:
                    raise UnlearningError(
                        f"{name}: the answer of {items.place(i)} is {self._text(items.answers[i])!r}, and ROUGE reads"
                        " words of the letters a to z and of digits; take the row out, or give rouge=0."
                    )
            longest = max(len(prompt) for prompt in items.prompts) + self.most
            highest = max(max(prompt) for prompt in items.prompts)
            what = f"{name} with rouge={self.most} more tokens"
            require_readable(inner(self.model), highest, longest, UnlearningError, what)

    def look(self, model: Any) -> dict[str, np.ndarray]:
        """`<set>_rouge` [n]: ROUGE-L recall of each answer in what the model writes.

        Cost: one token a forward, `most` of them unless the texts end before.
        """
        prompts = [list(prompt) for items in self.sets.values() for prompt in items.prompts]
        with evaluating(inner(model)), torch.no_grad():
            texts = iter(generate(model, prompts, max_new_tokens=self.most, progress=False))
        return {
            f"{name}_rouge": np.array([recall(answer, words(self._text(next(texts).ids))) for answer in answers])
            for name, answers in self._answers.items()
        }

    def _text(self, ids: Any) -> str:
        return str(self.tokenizer.decode([int(token) for token in ids], skip_special_tokens=True))
