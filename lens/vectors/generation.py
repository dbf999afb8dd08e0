"""Text written while a vector acts: once, at every token or along a schedule."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from ..engine.decoder import Decoder
from ..engine.edits import Edit
from ..engine.generation import Generated, as_text, write
from ..engine.sites import Site, indices
from ..measure.reading import start_token
from ..prompts import PromptError
from ..tokens import require_known, tokenize, tokenizer_of
from .errors import VectorError
from .vector import LayerVectors, Vector, require_width

#: Where a vector acts: at the last prompt token; at every token whose output is a new token (the last of the prompt and every new one); at every token.
POSITIONS = ("last", "new", "all")


def check_strength(strength: Any, name: str = "strength") -> float:
    """The strength as a float. Raises: VectorError for what is no finite number."""
    try:
        value = float(strength)
    except (TypeError, ValueError):
        value = math.nan
    if isinstance(strength, bool) or not math.isfinite(value):
        raise VectorError(f"{name}={strength!r}: expected a finite number, for example 1, 0.5 or -1.")
    return value


def prompt_ids(model: Any, prompt: Any, start: Any = "auto") -> torch.Tensor:
    """A prompt's tokens with the start token, `[length]`: of text, of a TaskPrompt, or ids as they are.

    Raises: VectorError: no text, or a word that the tokenizer does not know.
    """
    own = getattr(prompt, "ids", None)
    if own is not None or not isinstance(prompt, str):
        try:
            ids = torch.as_tensor(own if own is not None else prompt)
        except (TypeError, ValueError, RuntimeError):
            ids = None
        if ids is None or ids.ndim != 1 or not len(ids) or ids.is_floating_point():
            raise VectorError(f"prompt={prompt!r}: expected text, a TaskPrompt or token ids.")
        return ids.long()
    if not prompt.strip():
        raise VectorError(f"prompt={prompt!r}: expected text to continue.")
    tokenizer, first = tokenizer_of(model), start_token(model, Decoder.of(model), start)
    ids = tokenize(tokenizer, prompt)
    try:
        require_known(tokenizer, prompt, ids, "prompt")
    except PromptError as error:
        raise VectorError(str(error)) from None
    return torch.tensor(([] if first is None else [first]) + ids)


def factors(schedule: Any, steps: int) -> Callable[[int], float]:
    """A schedule as a function of the step.

    Raises: VectorError: neither a name ("constant", "linear decay", "first 5"), nor a function, nor numbers.
    """
    if schedule is None or schedule == "constant":
        return lambda step: 1.0
    if isinstance(schedule, str):
        words = schedule.split()
        if schedule == "linear decay":
            return lambda step: max(0.0, 1 - step / steps)
        if len(words) == 2 and words[0] == "first" and words[1].isdigit():
            return lambda step: float(step < int(words[1]))
        raise VectorError(f"schedule={schedule!r} is not known; expected 'constant', 'linear decay', 'first 5' (any number), a function of the step, or a list of factors.")
    if callable(schedule):
        return lambda step: check_strength(schedule(step), f"schedule({step})")
    try:
        values = [check_strength(v, "schedule") for v in schedule]
    except TypeError:
        raise VectorError(f"schedule={schedule!r}: expected a name, a function of the step, or a list of factors.") from None
    return lambda step: values[step] if step < len(values) else 0.0


def generate(model: Any, prompt: Any, vector: Vector | LayerVectors | None = None, *, layer: int | None = None, strength: float = 1.0, position: str = "last",
             schedule: str | Callable[[int], float] | Sequence[float] | None = None, max_new_tokens: int = 20, temperature: float = 0.0, seed: int = 0,
             start: Any = "auto", stop: Callable[[], bool] | None = None) -> Generated:
    """Continues a prompt while a vector is added to the residual stream after a layer.

    Args:
        prompt: text, a TaskPrompt, or token ids (these as they are; text gains the start token).
        layer: after which (0-based); needed with a vector.
        position: "last" (the last prompt token only, as published), "new" (there and at every new token), "all" (at every token, the start token too).
        schedule: what the strength is multiplied by at each step (step 0 reads the prompt, step t the t-th new token): "constant", "linear decay" (from 1 to 0 over
            `max_new_tokens`), "first n", a function of the step, or factors (0 after the last). Needs position "new" or "all".
        temperature: 0 is greedy; else tokens are drawn with `seed`.
        stop: asked before every token; True returns the text so far, whose `complete` is then False. Ctrl-C does the same.

    Returns: the new text, a str with `ids`, `reason` and `complete`.

    Raises: VectorError: arguments that cannot be used, a vector of another width. No hook stays on the model, also after an error.
    """
    if isinstance(max_new_tokens, bool) or not hasattr(max_new_tokens, "__index__") or max_new_tokens < 1:
        raise VectorError(f"max_new_tokens={max_new_tokens!r}: expected a whole number, at least 1.")
    if check_strength(temperature, "temperature") < 0:
        raise VectorError(f"temperature={temperature!r}: expected 0 (greedy) or more.")
    if position not in POSITIONS:
        raise VectorError(f"position={position!r} is not known; expected one of {', '.join(POSITIONS)}.")
    if position == "last" and schedule not in (None, "constant"):
        raise VectorError(f"schedule={schedule!r} changes nothing with position='last', where the vector acts once; use position='new' or 'all'.")
    ids, tokenizer, factor, value = prompt_ids(model, prompt, start), tokenizer_of(model), factors(schedule, int(max_new_tokens)), check_strength(strength)
    edits: Callable[[int], Sequence[Edit]] = lambda step: ()
    if vector is not None:
        decoder = Decoder.of(model)
        require_width(decoder, vector)
        if layer is None:
            raise VectorError(f"layer=None: say after which layer the vector is added, 0 to {decoder.n_layers - 1}; lens.vectors.choose finds it on held-out prompts.")
        at, last = indices(layer, decoder.n_layers, "layer")[0], len(ids) - 1

        def edits(step: int) -> Sequence[Edit]:
            scale = value * factor(step)
            if not scale or (step and position == "last"):
                return ()
            return (Edit(Site("resid_post", layer=at, position=None if step or position == "all" else (last,)), "add", vector, scale=scale),)
    return as_text(tokenizer, write(model, ids, edits, max_new_tokens=int(max_new_tokens), temperature=float(temperature), seed=seed, stop=stop))
