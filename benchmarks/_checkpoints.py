"""Two checkpoints to set side by side: SmolLM2, and a copy tuned in a few steps to answer one prompt otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

import lens

#: Steps of Adam, and their rate.
STEPS, RATE = 8, 2e-5


@dataclass(frozen=True)
class Checkpoints:
    """Attributes: first, second: as `lens.load` gives them, the second plain. plain: a copy of the first. subject: its
    tokenizer and prompts.
    """

    first: Any
    second: Any
    plain: Any
    subject: Any


def checkpoints(quick: bool) -> Checkpoints:
    """The embedded default, or a random model of four layers. Raises: LoadError: the model was never fetched."""
    from .subjects import EARLY, smollm2, tiny

    subject = tiny() if quick else smollm2()
    encoded = lens.encode(subject.tokenizer, EARLY)
    second = subject.copy().requires_grad_(True)
    optimizer = torch.optim.Adam(second.parameters(), lr=RATE)
    for _ in range(STEPS):
        logits = second(encoded.clean_ids[None], logits_to_keep=1).logits[:, -1].float()
        torch.nn.functional.cross_entropy(logits, torch.tensor(encoded.foil_ids[:1])).backward()
        optimizer.step()
        optimizer.zero_grad()
    second = lens.models.wrap(second.requires_grad_(False), subject.tokenizer, "tuned")
    return Checkpoints(subject.bridge, second, subject.copy(), subject)
