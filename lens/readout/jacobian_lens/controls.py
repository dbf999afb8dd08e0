"""A lens beside what it must be better than: the plain logit lens, random directions, its own other half."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from ...arguments import Count, HFModel, Positions, Seed, Share, Token, door
from ...engine.sessions import of_one_model
from ...results import dataset as results
from ...stats import proportion
from ..reading import Prompt, read_prompts, record
from ..vocabulary import logit_lens
from .errors import JacobianLensError
from .fitted import JacobianLens, random_like

#: What is read beside the lens: J = 1, matrices of equal singular values, the lens of every second prompt.
CONTROLS = ("logit_lens", "random", "half")


@door(JacobianLensError)
@of_one_model(reads=False)
def compare(
    model: HFModel,
    prompts: Prompt | Sequence[Prompt],
    lens: JacobianLens,
    *,
    positions: Positions = "last",
    answer: Token | Sequence[Token] | None = None,
    k: Count = 10,
    seed: Seed = 0,
    level: Share = 0.95,
) -> xr.Dataset:
    """How high the answer ranks under a lens and under its controls, on prompts that it was not fitted on.

    Args:
        positions: one token, as an int or a name. answer: as in `lens.logit_lens`. k: a hit is a rank among the first
            k. seed: of the random lens. level: of the exact binomial intervals over prompts.

    Returns: over ``reading`` (lens, logit_lens, random, and half where the lens has one): ``rank`` by ``prompt`` and
        ``layer``, from 0; ``hit``, ``low``, ``high`` by layer; ``any_hit``, ``any_low``, ``any_high``: in any layer;
        ``n``. The best of many layers is a maximum: compare it with the random lens's, not with a single draw.

    Raises: JacobianLensError: a prompt that the lens was fitted on, no answer, several positions, another model.
    """
    view = lens.require(model)
    _, readings = read_prompts(model, prompts)
    fitted = set(lens.about.get("prompts", ()))
    for i, reading in enumerate(readings):
        row = reading.ids.cpu().numpy().astype(np.int64)
        if hashlib.sha256(row[: lens.about.get("length", len(row))].tobytes()).hexdigest()[:32] in fitted:
            raise JacobianLensError(f"prompts[{i}] is one that the lens was fitted on; give held-out ones.")
    lenses: dict[str, JacobianLens | None] = {"lens": lens, "logit_lens": None, "random": _random(lens, seed)}
    if lens.half is not None:
        lenses["half"] = dataclasses.replace(lens, mean=lens.half)
    listed = [prompts] if isinstance(prompts, str) or not isinstance(prompts, list | tuple) else prompts
    ranks = []
    for one in lenses.values():
        read = logit_lens(model, listed, positions=positions, k=1, answer=answer, lens=one)
        if "rank" not in read or "position" in read.dims:
            raise JacobianLensError(
                f"answer={answer!r}, positions={positions!r}: expected an answer of every prompt and one position."
            )
        ranks.append(read["rank"].sel(layer=list(lens.layers)).transpose("prompt", "layer").values)
    rank = np.stack(ranks)
    n = rank.shape[1]
    hit, best = (rank < k).sum(1), (rank.min(2) < k).sum(1)
    by_layer, by_any = (proportion(x, n, level=level) for x in (hit, best))
    dims: Any = ("reading", "layer")
    ds = xr.Dataset(
        {
            "rank": (("reading", "prompt", "layer"), rank),
            "hit": (dims, hit / n),
            "low": (dims, np.asarray(by_layer.low)),
            "high": (dims, np.asarray(by_layer.high)),
            "any_hit": ("reading", best / n),
            "any_low": ("reading", np.asarray(by_any.low)),
            "any_high": ("reading", np.asarray(by_any.high)),
            "n": n,
        },
        {"reading": list(lenses), "prompt": np.arange(n), "layer": list(lens.layers)},
    )
    for name in ds.data_vars:
        ds[name].attrs["units"] = "tokens" if name == "rank" else "prompts" if name == "n" else "1"
    call = dict(positions=positions, answer=answer, k=k, level=level, lens=lens.digest())
    return results.stamp(ds, record(model, view, "jacobian_lens", call, readings, seed=seed))


def _random(lens: JacobianLens, seed: int) -> JacobianLens:
    random = random_like(lens, seed)
    assert isinstance(random, JacobianLens)
    return random
