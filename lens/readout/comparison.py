"""Two checkpoints side by side: how alike their states and predictions are, by layer and position."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

import torch
import xarray as xr

from ..arguments import Draws, HFModel, Labels, Layers, Positions, Seed, Share, door
from ..engine.pieces import batch_by_batch
from ..engine.sessions import beside, of_one_model
from ..engine.stopping import Stopped
from ..results import dataset as results
from ..stats.similarity import LEAST, MEASURES
from .likeness_tables import tables
from .reading import RECORD_BYTES, Prompt, ReadoutError, record
from .side_by_side import Sides

Measure = Literal["cosine", "centred_cosine", "cka", "procrustes", "identification", "kl", "lens_kl"]
#: All measures; ``lens_kl`` has to be asked for.
ALL = (*MEASURES, "kl", "lens_kl")


@door(ReadoutError)
@of_one_model
@torch.no_grad()
def compare(
    a: HFModel,
    b: HFModel,
    prompts: Prompt | Sequence[Prompt],
    *,
    site: str = "resid_post",
    metrics: Sequence[Measure] | None = None,
    layers: Layers = None,
    positions: Positions = None,
    floor: HFModel | None = None,
    centre: Sequence[Prompt] | None = None,
    cluster: Annotated[Any, Labels()] | None = None,
    which: Literal["clean", "corrupted"] = "clean",
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """How alike two models' states are on the same prompts, and what their predictions differ by, with the difference
    of two runs of one recipe to set it against.

    Args:
        a, b: two checkpoints with the same tokenizer: base and fine-tuned, with an adapter and without (two models of
            `lens.load`), two revisions. Of unlike widths ``cka`` and ``procrustes`` are told; of unlike depths layers
            of one relative depth are compared (the coordinate ``layer_b``).
        prompts: texts, chats, pairs (their ``which`` prompt). Prompts that read the same up to a position count once
            there.
        site: a site of one state a token; heads and experts count together.
        metrics: of ``cosine``, ``centred_cosine``, ``cka``, ``procrustes``, ``identification`` (see
            `lens.stats.likeness`); ``kl`` = KL(a || b) of the next token in nats, at the last layer; ``lens_kl``, that
            of the two logit lenses at each layer, which unembeds every layer. None: all that can be told but
            ``lens_kl``; the record says which are left out and why.
        layers: of ``a``. positions: as `lens.logit_lens`: None is all tokens of one prompt, the last of several.
        floor: another run of ``a``'s recipe with another seed: how far apart two such runs are.
        centre: prompts of the same kind; each model's mean state at their tokens, the first of each left out, is taken
            off its own states, layer by layer: ``cosine`` is then told without what all text shares, of a single prompt
            too. Measures that centre by themselves stay as they are.
        cluster: a label for each prompt; prompts of one label (a person, a template) count as one. None: each prompt.
        level, resamples, seed: of intervals, and of the halves and shuffles that are drawn.
        progress, stop: as `lens.patch`; what was read by then is compared.

    Returns:
        Over ``metric, layer, position``: ``mean`` with ``low``, ``high``, ``interval_kind`` and ``n`` (prompts that
        differ up to there, or clusters), and ``unrelated``: the same between a's state of a prompt and b's of another
        (of ``cka`` and ``identification`` what is expected). With a floor also ``floor``, ``floor_low``, ``floor_high``
        of the pair (a, floor), and ``beyond`` = mean - floor over the same prompts with ``beyond_low``,
        ``beyond_high``, ``beyond_kind``, ``p``, ``p_holm`` and ``p_kind`` (sign flips). Coordinates ``same``, the value
        of equal models, ``layer_b``, ``token``. One prompt has values and no intervals.

    Raises:
        ReadoutError: one model twice, a floor that is none, another tokenizer (the message has the first token that
            differs), states that are not finite, metrics that these models or so few prompts do not allow.
        SiteError, PromptError: as `lens.logit_lens`.

    Source: `lens.stats.likeness`; logit lens: nostalgebraist 2020. The floor and the unrelated pairs: ours.

    Cost: the forwards, and n^2 d a cell. Memory is that of a batch: states of many prompts lie on disk (4 bytes a
        number and model).

    >>> ds = lens.compare(base, tuned, prompts, floor=other_seed)          # doctest: +SKIP
    >>> ds["mean"].sel(metric="cka").plot()                                # doctest: +SKIP
    """
    began = time.perf_counter()
    sides = Sides.of(a, b, floor, prompts, which, site, layers, positions)

    def run() -> xr.Dataset:
        chosen, left_out = sides.metrics(metrics, ALL)
        centred = None if centre is None else sides.centre(list(centre))
        with sides.open(chosen, seed) as collected:
            status = batch_by_batch(
                sides.sizes(), RECORD_BYTES, collected.add, label="compare", progress=progress, stop=stop
            )
            if collected.n < min(LEAST, len(sides.readings)):
                raise Stopped(f"compare: stopped after {collected.n} of {len(sides.readings)} prompts")
            ds = tables(collected, chosen, cluster, level, resamples, seed)
        call: dict[str, Any] = dict(site=site, metrics=chosen, left_out=left_out, layers=layers, positions=positions)
        call |= dict(
            centre=centred,
            which=which,
            level=level,
            resamples=resamples,
            cluster=None if cluster is None else "as given",
        )
        entries = record(a, sides.views[0], "compare", call | sides.call(), sides.readings, seed)
        entries |= {"status": status, "seconds": round(time.perf_counter() - began, 4)}
        return results.stamp(ds, entries)

    return beside([m for m in (b, floor) if m is not None], run)
