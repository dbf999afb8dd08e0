"""Continuations that a model in training draws from itself, many rows at once with a cache of keys and values."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from ..arguments import Count, HFModel, NonNegative, Size, door
from ..engine.lengths import require_readable
from ..engine.sessions import of_one_model
from .recipe import TrainingError


@door(TrainingError)
@of_one_model(reads=False)
@torch.no_grad()
def sample(
    model: HFModel,
    prompts: Int[Tensor, "rows length"],
    *,
    stop: Size,
    longest: Count,
    temperature: NonNegative = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[Int[Tensor, "rows new"], Bool[Tensor, "rows new"]]:
    """Continuations of prompts of one length, and which of their tokens lie up to the stop, this one included.

    Args:
        prompts: token ids, a row each.
        stop: the token that ends a row. Rows that have ended go on until all have, and their tokens do not count.
        longest: tokens at most; a row without a stop after so many counts whole.
        temperature: 0 takes the most likely token; else tokens are drawn from softmax(logits / temperature).
        generator: draws, on the CPU; None: torch's own.

    Raises: TrainingError: prompts without a row or a token, rows that are longer than the model reads.

    Cost: one forward of the prompts, and one of a token a row for each further token.
    """
    if not prompts.numel():
        raise TrainingError(f"prompts has shape {list(prompts.shape)}; expected at least one row of one token.")
    core: Any = getattr(model, "original_model", model)
    require_readable(core, int(prompts.max()), prompts.shape[1] + longest, TrainingError, "prompts with longest")
    mode = core.training
    core.eval()
    try:
        return _drawn(core, prompts, stop, longest, temperature, generator)
    finally:
        core.train(mode)


def _drawn(
    core: Any, prompts: Tensor, stop: int, longest: int, temperature: float, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    device = next(core.parameters()).device
    text = feed = prompts.to(device)
    past: Any = None
    out: list[Tensor] = []
    live: list[Tensor] = []
    done = torch.zeros(len(prompts), dtype=torch.bool)
    while len(out) < longest and not bool(done.all()):
        given = core(input_ids=feed, past_key_values=past, use_cache=True)
        past, logits = getattr(given, "past_key_values", None), given.logits[:, -1].float()
        if temperature:
            chances = (logits / temperature).softmax(-1).cpu()
            new = torch.multinomial(chances, 1, generator=generator)[:, 0]
        else:
            new = logits.argmax(-1).cpu()
        live.append(~done)
        out.append(new)
        done = done | (new == stop)
        text = torch.cat((text, new[:, None].to(device)), 1)
        # a model without a cache reads its whole text again
        feed = text if past is None else text[:, -1:]
    return torch.stack(out, 1), torch.stack(live, 1)
