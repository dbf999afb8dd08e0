"""Text written while a vector acts: once, at every token or along a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch

from ..arguments import Draws, HFModel, Index, NonNegative, Number, Seed, Token, door, shown, unfit
from ..engine.edits import Edit
from ..engine.generation import Generated
from ..engine.lengths import require_readable
from ..engine.model import Model
from ..engine.schedules import factors
from ..engine.sites import Site, indices
from ..engine.writing.call import generate as write_on
from ..engine.writing.prompts import is_one
from ..prompts import Chat, PromptError
from ..prompts import prompt_ids as read_ids
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
    model: Any, prompt: str | TaskPrompt | Chat | Sequence[Any], start: Any = "auto", name: str = "prompt"
) -> torch.Tensor:
    """A prompt's tokens with the start token, `[length]`: of text, of a TaskPrompt, or ids as they are; `name` is its
    own in errors.

    Raises: VectorError: no text, or a word that the tokenizer does not know.
    """
    given = prompt.ids if isinstance(prompt, TaskPrompt) else prompt
    try:
        ids = read_ids(model, given, start, name)
    except PromptError as error:
        raise VectorError(str(error)) from None
    require_readable(getattr(model, "original_model", model), int(ids.max()), len(ids), VectorError, name)
    return ids


@door(VectorError)
def generate(
    model: HFModel,
    prompt: str | TaskPrompt | Chat | Sequence[Any],
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
) -> Any:
    """Continues a prompt, or several in a batch, while a vector is added to the residual stream after a layer.

    Args:
        prompt: text (which gains the start token), a TaskPrompt, a chat or its messages, or token ids (as they are); or
            a list of them.
        layer: after which (0-based); needed with a vector.
        position: "last" (the last prompt token only, as published), "new" (there and at every new token), "all" (at
            every token, the start token too).
        schedule: what the strength is multiplied by at each step (step 0 reads the prompt, step t the t-th new token):
            "constant", "linear decay" (from 1 to 0 over `max_new_tokens`), "first n", a function of the step, or
            factors (0 after the last). Needs position "new" or "all".
        temperature: 0 is greedy; else tokens are drawn, each text by a stream of its own of `seed` and its tokens.
        stop: asked before every token; True returns the text so far, whose `complete` is then False. Ctrl-C does the
            same.

    Returns: the new text, a str with `ids`, `reason` and `complete`; a list of them where a list was given. Each is the
        text that it is alone, see `lens.generate`.

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
    one, given = is_one(prompt), prompt
    listed: Any = [given] if one else given
    ids = [prompt_ids(model, p, start, "prompt" if one else f"prompt[{i}]") for i, p in enumerate(listed)]
    factor = factors(schedule, max_new_tokens, VectorError)
    edits: tuple[Edit, ...] = ()
    if vector is not None:
        decoder = Model.of(model)
        require_width(decoder, vector)
        if layer is None:
            raise VectorError(
                f"layer=None: say after which layer the vector is added, 0 to {decoder.n_layers - 1};"
                " lens.vectors.choose finds it on held-out prompts."
            )
        edits = addition(vector, indices(layer, decoder.n_layers, "layer")[0], float(strength), position)
    texts: list[Generated] = write_on(
        model,
        ids,
        edits,
        max_new_tokens=max_new_tokens,
        temperature=float(temperature),
        seed=seed,
        stop=stop,
        schedule=factor if vector is not None and position != "last" else "first 1",
    )
    return texts[0] if one else texts


def addition(vector: Vector | LayerVectors, layer: int, strength: float, position: Position) -> tuple[Edit, ...]:
    """The edit that adds a vector after a layer; for "last" it acts at the first step alone (schedule "first 1")."""
    if not strength:
        return ()
    at = None if position == "all" else -1
    return (Edit(Site("resid_post", layer=layer, position=at), "add", vector, scale=strength),)
