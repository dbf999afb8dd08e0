"""What is asked of two checkpoints side by side: prompts with answers that tell them apart, and a twin that is one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..arguments import shown
from ..engine.model import Model
from ..prompts import Chat, EncodedPair, Pair, PromptError, as_chat, encode_all, is_messages, prompt_ids
from ..tokens import tokenizer_of
from .grid import PatchError
from .sources import require_equal_width, require_same_tokens


def pairs_between(into: Any, source: Any, prompts: Any) -> tuple[bool, list[Pair]]:
    """Whether one prompt was given by itself, and all as pairs of one prompt twice.

    Raises:
        PatchError: no prompt, or something that is none. PromptError: a text of which no pair can be made.
    """
    single = isinstance(prompts, str | Pair | Chat) or is_messages(prompts)
    chosen = [prompts] if single else list(prompts)
    if not chosen:
        raise PatchError("prompts=[] holds no prompt; give a text, a lens.Pair, or a list of them.")
    pairs = []
    for i, prompt in enumerate(chosen):
        name = "prompts" if single else f"prompts[{i}]"
        if isinstance(prompt, Pair):
            pairs.append(dataclasses.replace(prompt, corrupted=prompt.clean, corrupted_spans={}))
        elif isinstance(prompt, str | Chat) or is_messages(prompt):
            pairs.append(_told_apart(into, source, prompt if isinstance(prompt, str) else as_chat(prompt), name))
        else:
            raise PatchError(f"{name}={shown(prompt)} is no prompt; expected text, a chat or a lens.Pair.")
    return single, pairs


def encoded_between(into: Any, source: Any, twin: Any, pairs: Sequence[Pair]) -> list[EncodedPair]:
    """The pairs' tokens, the same for all models.

    Raises: PatchError: another model's tokenizer reads them otherwise.
    """
    encoded = encode_all(into, pairs, aligned=False)
    for name, model in (("source", source), ("twin", twin)):
        if model is not None:
            require_same_tokens(encoded, encode_all(model, pairs, aligned=False), name, "prompts[{i}]")
    return encoded


def require_twin(into: Model, source: Model, twin: Any, sites: Sequence[str]) -> None:
    """Raises PatchError where a model is no other run of ``into``'s recipe: it has the weights of one of the two, or
    another architecture.
    """
    other = Model.of(twin)
    for name, model in (("into", into), ("source", source)):
        if other.hf is model.hf or other.weights() == model.weights():
            raise PatchError(
                f"twin: it has the weights of `{name}`; expected another run of the recipe of `into`, trained with"
                " another seed. Leave it out where there is none."
            )
    for site in sites:
        require_equal_width(into, other, site, "twin")
    for what in ("model_type", "n_layers", "n_heads", "d_vocab"):
        ours, theirs = getattr(into, what), getattr(other, what)
        if ours != theirs:
            raise PatchError(
                f"twin: its {what} is {theirs}, that of `into` {ours}; a twin is another run of the same recipe. Leave"
                " it out where there is none."
            )


@torch.no_grad()
def _told_apart(into: Any, source: Any, prompt: str | Chat, name: str) -> Pair:
    """A text with the source's next token as answer, and as foil what ``into`` says most of all others."""
    ids = prompt_ids(into, prompt, None, name)
    tokenizer = tokenizer_of(into)
    first = int(_next(source, ids).argmax())
    logits = _next(into, ids)
    logits[first] = -torch.inf
    before = tokenizer.decode(ids.tolist())
    answer, foil = (tokenizer.decode([*ids.tolist(), token])[len(before) :] for token in (first, int(logits.argmax())))
    try:
        return Pair(prompt, prompt, answer, foil)
    except PromptError as error:
        raise PromptError(f"{name}: the models' own next tokens give no pair ({error}); give a lens.Pair.") from None


def _next(model: Any, ids: Tensor) -> Tensor:
    """Logits of the next token."""
    view = Model.of(model)
    runs = view.record([ids.to(view.device)], ())
    return view.unembed(runs.final[-1:])[0].float().cpu()
