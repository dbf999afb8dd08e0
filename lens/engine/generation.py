"""Text written token by token while edits are in force that may change from step to step."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..models.placement import device_of
from .cached_tokens import remember
from .edited import edited
from .edits import Edit, EditError
from .sites import Site, of_two_axes
from .steps import Steps, newest
from .stopping import says_stop


@dataclass(frozen=True)
class NewTokens:
    """New tokens and why there are no more: ``end`` (an end token, kept as the last of `ids`), ``length``, ``stop
    string`` (one that was asked for stands in the text), or ``stopped`` (asked to, or Ctrl-C: partial).
    """

    ids: tuple[int, ...]
    reason: str


class Generated(str):
    """The new text, with its tokens (`ids`), the reason that it ends (`reason`, see `NewTokens`) and whether it is
    whole (`complete`).

    Of `lens.generate` also: `activations`, by site, ``[n_new, *width]``; `fired`, by number of the edit, the positions
    of the text at which its gate was open.
    """

    ids: tuple[int, ...]
    reason: str
    activations: Mapping[Site, Tensor] = {}
    fired: Mapping[int, tuple[int, ...]] = {}

    @property
    def complete(self) -> bool:
        """False where the writing was stopped from outside: the text is what there was until then."""
        return self.reason != "stopped"


def end_tokens(hf: Any) -> frozenset[int]:
    """The tokens that end a text of this model, of its generation settings or else of its configuration."""
    ends = getattr(getattr(hf, "generation_config", None), "eos_token_id", None)
    ends = getattr(hf.config, "eos_token_id", None) if ends is None else ends
    return frozenset() if ends is None else frozenset([int(ends)] if not hasattr(ends, "__iter__") else map(int, ends))


def as_text(tokenizer: Any, tokens: NewTokens) -> Generated:
    """What was written as text, special tokens left out."""
    text = Generated(tokenizer.decode(list(tokens.ids), skip_special_tokens=True))
    text.ids, text.reason = tokens.ids, tokens.reason
    return text


@torch.no_grad()
def write(
    model: Any,
    ids: Sequence[int] | Tensor,
    edits: Callable[[int], Sequence[Edit]] = lambda step: (),
    *,
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    seed: int = 0,
    stop: Callable[[], bool] | None = None,
    on_token: Callable[[int], None] | None = None,
) -> NewTokens:
    """Continues a prompt one token at a time.

    Args:
        model: a TransformerBridge or a Hugging Face causal model.
        ids: the prompt's tokens with the start token, if one is wanted.
        edits: step -> the edits in force in that step's forward. Step 0 reads the prompt and writes the first token,
            step t reads the t-th new token alone: positions still count from the start of the text. What was computed
            under an edit stays in the keys and values that later tokens attend to. A model that has to read the whole
            text at every step (see `Steps`) reads each token under the edits that were in force when it first came.
        temperature: 0 takes the most likely token; else tokens are drawn from softmax(logits / temperature) with
            `seed`.
        stop: asked before every token. on_token: called with every new token.

    No hook stays on the model, whatever happens.

    Raises: EditError: an edit whose value has a position axis, on a model that has to read the whole text at every
    step.
    """
    hf = getattr(model, "original_model", model)
    device = device_of(hf)
    feed = torch.as_tensor(ids, dtype=torch.long, device=device).reshape(1, -1)
    ends, draw = end_tokens(hf), torch.Generator().manual_seed(int(seed))
    new: list[int] = []
    steps, past = Steps(hf), []
    try:
        for step in range(max_new_tokens):
            if says_stop(stop):
                return NewTokens(tuple(new), "stopped")
            now = list(edits(step))
            if not steps.cached or steps.lengths is not None:
                begin = 0 if steps.text is None else steps.text.shape[1]
                past += [e for edit in now if (e := _at(edit, begin, begin + feed.shape[1])) is not None]
                now = past if steps.again(feed.shape[1]) else now
            with edited(model, *now):
                out = steps(feed)
            if steps.cache is not None and steps.text is not None:
                remember(steps.cache[1], steps.text.shape[1])
            logits = newest(out)[0].float()
            if temperature:
                token = int(torch.multinomial((logits / temperature).softmax(-1).cpu(), 1, generator=draw))
            else:
                token = int(logits.argmax())
            new.append(token)
            if on_token is not None:
                on_token(token)
            if token in ends:
                return NewTokens(tuple(new), "end")
            feed = torch.tensor([[token]], device=device)
    except KeyboardInterrupt:
        return NewTokens(tuple(new), "stopped")
    return NewTokens(tuple(new), "length")


def _at(edit: Edit, begin: int, length: int) -> Edit | None:
    """An edit of one step, at the tokens from `begin` on that the step reads; None where it meets none of them."""
    named = edit.site.position
    places: Iterable[int]
    if named is None or isinstance(named, slice):
        places = range(length) if named is None else range(length)[named]
    else:
        places = [p if p >= 0 else p + length for p in (named if hasattr(named, "__iter__") else [named])]
    at = [p for p in places if begin <= p < length]
    value = edit.value
    if isinstance(value, Tensor) and value.ndim > 1 + of_two_axes(edit.site.name) and len(value) > 1:
        raise EditError(
            f"value has shape {tuple(value.shape)} at {edit.site}; this model reads its whole text at "
            "every step, where an edit with a value for each position is not served. "
            "Give one edit a position."
        )
    return replace(edit, site=replace(edit.site, position=tuple(at))) if at else None
