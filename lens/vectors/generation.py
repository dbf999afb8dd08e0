"""Text written while a vector acts: once, at every token or along a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from ..arguments import Draws, HFModel, Index, NonNegative, Number, Seed, Token, door, shown, unfit
from ..engine.edits import Edit
from ..engine.generation import Generated, as_text, write
from ..engine.lengths import require_readable
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..prompts import PromptError
from ..readout.reading import start_token
from ..tokens import require_known, tokenize, tokenizer_of
from .errors import VectorError
from .prompts import TaskPrompt
from .vector import LayerVectors, Vector, require_width

#: Where a vector acts: at the last prompt token; at every token whose output is a new token (the last of the prompt and
#: every new one); at every token.
Position = Literal["last", "new", "all"]
#: Logits divided by less leave float32.
COLDEST = 1e-6


def check_strength(strength: Any, name: str = "strength") -> float:
    """The strength as a float. Raises: VectorError for what is no finite number."""
    return float(Number().of(strength, name, VectorError, "for example 1, 0.5 or -1"))


def prompt_ids(
    model: Any, prompt: str | TaskPrompt | Sequence[int], start: Any = "auto", name: str = "prompt"
) -> torch.Tensor:
    """A prompt's tokens with the start token, `[length]`: of text, of a TaskPrompt, or ids as they are; `name` is its
    own in errors.

    Raises: VectorError: no text, or a word that the tokenizer does not know.
    """
    tokenizer = tokenizer_of(model)
    if not isinstance(prompt, str):
        ids = torch.as_tensor(prompt.ids if isinstance(prompt, TaskPrompt) else prompt)
        size = len(getattr(model, "original_model", model).get_input_embeddings().weight)
        if not len(ids) or ids.min() < 0 or ids.max() >= size:
            raise VectorError(
                unfit(name, prompt, f"text, a TaskPrompt or token ids, at least one, each from 0 to {size - 1}")
            )
        require_readable(getattr(model, "original_model", model), int(ids.max()), len(ids), VectorError, name)
        return ids.long()
    if not prompt.strip():
        raise VectorError(unfit(name, prompt, "text that is more than spaces"))
    first, read = start_token(model, Model.of(model), start), tokenize(tokenizer, prompt)
    try:
        require_known(tokenizer, prompt, read, name)
    except PromptError as error:
        raise VectorError(str(error)) from None
    return torch.tensor(([] if first is None else [first]) + read)


def factors(schedule: Any, steps: int) -> Callable[[int], float]:
    """A schedule as a function of the step.

    Raises: VectorError: a name that is neither "constant" nor "linear decay" nor "first 5"; a function that gives no
        number.
    """
    if schedule is None:
        return lambda step: 1.0
    if isinstance(schedule, str):
        if schedule == "constant":
            return lambda step: 1.0
        words = schedule.split()
        if schedule == "linear decay":
            return lambda step: max(0.0, 1 - step / steps)
        if len(words) == 2 and words[0] == "first" and words[1].isdecimal() and len(words[1]) < 10:
            return lambda step: float(step < int(words[1]))
        raise VectorError(
            f"schedule={shown(schedule)} is not known; expected 'constant', 'linear decay', 'first 5' (any number), a"
            " function of the step, or a list of factors."
        )
    if callable(schedule):
        return lambda step: check_strength(schedule(step), f"schedule({step})")
    values = [float(v) for v in schedule]
    return lambda step: values[step] if step < len(values) else 0.0


@door(VectorError)
@of_one_model(reads=False)
def generate(
    model: HFModel,
    prompt: str | TaskPrompt | Sequence[int],
    vector: Vector | LayerVectors | None = None,
    *,
    layer: Index | None = None,
    strength: float = 1.0,
    position: Position = "last",
    schedule: str | Callable[[int], float] | Sequence[float] | None = None,
    max_new_tokens: Draws = 20,
    temperature: NonNegative = 0.0,
    seed: Seed = 0,
    start: Token | None = "auto",
    stop: Callable[[], bool] | None = None,
) -> Generated:
    """Continues a prompt while a vector is added to the residual stream after a layer.

    Args:
        prompt: text, a TaskPrompt, or token ids (these as they are; text gains the start token).
        layer: after which (0-based); needed with a vector.
        position: "last" (the last prompt token only, as published), "new" (there and at every new token), "all" (at
            every token, the start token too).
        schedule: what the strength is multiplied by at each step (step 0 reads the prompt, step t the t-th new token):
            "constant", "linear decay" (from 1 to 0 over `max_new_tokens`), "first n", a function of the step, or
            factors (0 after the last). Needs position "new" or "all".
        temperature: 0 is greedy; else tokens are drawn with `seed`.
        stop: asked before every token; True returns the text so far, whose `complete` is then False. Ctrl-C does the
            same.

    Returns: the new text, a str with `ids`, `reason` and `complete`.

    Raises: VectorError: arguments that cannot be used, a vector of another width. No hook stays on the model, also
        after an error.
    """
    if 0 < temperature < COLDEST:
        raise VectorError(unfit("temperature", temperature, f"0 (greedy), or at least {COLDEST}"))
    if position == "last" and schedule is not None and not (isinstance(schedule, str) and schedule == "constant"):
        raise VectorError(
            f"schedule={shown(schedule)} changes nothing with position='last', where the vector acts once; use"
            " position='new' or 'all'."
        )
    ids, tokenizer, factor, value = (
        prompt_ids(model, prompt, start),
        tokenizer_of(model),
        factors(schedule, max_new_tokens),
        float(strength),
    )

    def edits(step: int) -> Sequence[Edit]:
        return ()

    if vector is not None:
        decoder = Model.of(model)
        require_width(decoder, vector)
        if layer is None:
            raise VectorError(
                f"layer=None: say after which layer the vector is added, 0 to {decoder.n_layers - 1};"
                " lens.vectors.choose finds it on held-out prompts."
            )
        at, last = indices(layer, decoder.n_layers, "layer")[0], len(ids) - 1

        def edits(step: int) -> Sequence[Edit]:
            scale = value * factor(step)
            if not scale or (step and position == "last"):
                return ()
            return (
                Edit(
                    Site("resid_post", layer=at, position=None if step or position == "all" else (last,)),
                    "add",
                    vector,
                    scale=scale,
                ),
            )

    return as_text(
        tokenizer,
        write(model, ids, edits, max_new_tokens=max_new_tokens, temperature=float(temperature), seed=seed, stop=stop),
    )
