"""Text that a model writes after a task's natural sentences, scored by whether the answer is in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle, islice
from typing import Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import Draws, FilePath, HFModel, Index, Seed, Token, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import indices
from ..engine.writing.call import generate as write_on
from ..progress import hidden
from ..results import dataset as results
from ..results.record import record_of
from .errors import VectorError
from .generation import Position, addition
from .prompts import as_task, build
from .tasks import Split, Task
from .vector import LayerVectors, Vector, require_width

Given = Vector | LayerVectors


@door(VectorError)
@of_one_model(reads=False)
def written(
    model: HFModel,
    task: Task | FilePath,
    vectors: Given | Mapping[str, Given | Sequence[Given]],
    *,
    layer: Index,
    strength: float = 1.0,
    tokens: Draws = 5,
    split: Split = "test",
    n: Draws | None = None,
    position: Position = "last",
    seed: Seed = 0,
    start: Token | None = "auto",
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> results.Result:
    """Whether the answer stands in the first tokens that a model writes after natural sentences, with each vector and
    without one.

    Args:
        vectors: by name; a list under one name takes turns over the items (several draws of a control at the price of
            one).
        layer, strength: where and how strongly each is added; choose them on another split.
        tokens: how many are written, greedily; the answer counts where it is a part of their text, upper and lower case
            told apart.
        position: see `generate`. split, n, seed, start: of the sentences, see `build`.
        stop: asked before every token; True ends with a partial result.

    Returns: a result over ``item, vector``: ``success`` (0 or 1, NaN where a stopped call did not come) and
        ``base_success`` over ``item`` (without a vector); the texts as the labels ``text`` and ``base_text``.

    Raises: VectorError: arguments that cannot be used, vectors of another width, a task without sentences.

    Source: Todd et al. 2024 (natural text: the answer within five generated tokens).
    """
    task, decoder = as_task(task), Model.of(model)
    turns_by_name = _turns(vectors, decoder)
    at = indices(layer, decoder.n_layers, "layer")[0]
    strength = float(strength)
    prompts = build(model, task, "text", n=n, split=split, seed=seed, start=start)
    texts, base = np.full((len(prompts), len(turns_by_name)), "", dtype=object), np.full(len(prompts), "", dtype=object)
    success, alone = np.full(texts.shape, np.nan, np.float32), np.full(len(prompts), np.nan, np.float32)
    bar = tqdm(
        total=len(prompts) * (1 + len(turns_by_name)),
        desc="texts",
        unit="text",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    )
    complete = False
    try:
        # a column at a time: its prompts are written in one batch, each under the vector whose turn it is
        for j, turns in enumerate([(None,), *turns_by_name.values()]):
            acting = [
                () if v is None else addition(v, at, strength, position) for v in islice(cycle(turns), len(prompts))
            ]
            column = write_on(
                model,
                [p.ids for p in prompts],
                acting,
                max_new_tokens=tokens,
                schedule="first 1" if position == "last" else None,
                stop=stop,
                progress=False,
            )
            of, right = (base, alone) if j == 0 else (texts[:, j - 1], success[:, j - 1])
            for i, (prompt, text) in enumerate(zip(prompts, column)):
                if text.complete:
                    of[i], right[i] = str(text), prompt.y in text
            bar.update(len(prompts))
            if not all(text.complete for text in column):
                break
        else:
            complete = True
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
    call = dict(
        task=task.name,
        layer=at,
        strength=strength,
        tokens=int(tokens),
        split=split,
        n=n,
        position=position,
        start=start,
        vectors={k: [v.name for v in turns] for k, turns in turns_by_name.items()},
        prompts=[p.text for p in prompts],
    )
    ds = xr.Dataset(
        {"success": (("item", "vector"), success, {"units": "1"}), "base_success": ("item", alone, {"units": "1"})},
        {
            "item": range(len(prompts)),
            "vector": list(turns_by_name),
            "x": ("item", [p.x for p in prompts]),
            "y": ("item", [p.y for p in prompts]),
            "text": (("item", "vector"), texts.astype(str)),
            "base_text": ("item", base.astype(str)),
        },
    )
    return results.stamp(
        ds, record_of(model, decoder, "written texts", call, seed=seed, status="complete" if complete else "partial")
    )


def _turns(vectors: Any, decoder: Model) -> dict[str, tuple[Given, ...]]:
    """The vectors of each name, in turn."""
    by_name = {vectors.name: vectors} if isinstance(vectors, Given) else vectors
    if not by_name:
        raise VectorError(
            f"vectors={vectors!r} holds none; expected a Vector, LayerVectors, or a dictionary of them (or of lists of"
            " them) by name."
        )
    turns_by_name = {k: (v,) if isinstance(v, Given) else tuple(v) for k, v in by_name.items()}
    for name, turns in turns_by_name.items():
        if not turns:
            raise VectorError(f"vectors[{name!r}]=[] holds none; give at least one.")
        require_width(decoder, *turns)
    return turns_by_name
