"""Linear probes: is a property of the prompts in the states, beyond what a probe could learn by heart?

`probe` reads the states of a model's prompts, layer by layer; `linear_probe` takes states that are there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr

from ..arguments import Filled, HFModel, Labels, Layers, Positions, Positive, Seed, Share, Whole, door, unfit
from ..engine.model import Model
from ..engine.pieces import batch_by_batch, run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..results import dataset as results
from ..stats.samples import StatisticsError, as_array
from .places import one_position
from .probe_design import Design
from .probe_tables import scores
from .reading import RECORD_BYTES, Prompt, ReadoutError, layers_with, read_prompts, record
from .side_by_side import kept, require_state
from .states import States

__all__ = ["linear_probe", "probe"]

Folds = Annotated[int, Whole(2, 50)]
Ridges = Positive | Sequence[Positive]


@door(ReadoutError)
def linear_probe(
    states: Any,
    labels: Annotated[Any, Labels()],
    *,
    units: Annotated[Any, Labels()] | None = None,
    types: Annotated[Any, Labels()] | None = None,
    folds: Folds = 5,
    ridge: Ridges = (1e-3, 1e-2, 1e-1, 1.0),
    level: Share = 0.95,
    seed: Seed = 0,
) -> xr.Dataset:
    """Whether a linear probe reads labels off states of units that it was not fitted on, and how much of that is the
    probe's own learning.

    Every state is read once, by the probe of a fold that no state of its unit was in. The ridge is chosen on the
    fitted units alone: on one fold of them, by the probes of the others.

    Args:
        states: ``[rows, width]``, or ``[layer, rows, width]`` for one probe each.
        labels: the class of each row, of at least two.
        units: what each row belongs to (a prompt's person, template, puzzle); rows of a unit are never on both sides,
            and count once. None: each row is its own.
        types: what each row is an instance of (its word, say), for the control task of Hewitt and Liang 2019: every
            type gets a class at random, with the labels' own shares, and the probe has to learn that. Types have to
            come back in several units. None: no control task but labels shuffled over units.
        folds: of units. ridge: of the penalty ridge / 2 |W|^2 beside the mean cross-entropy; several: the best of an
            inner split.
        level, seed: of intervals, and of folds, control labels and shuffles.

    Returns:
        Over ``[layer]``: ``accuracy`` with ``low``, ``high``, ``interval_kind`` and ``n`` (units); ``control``, the
        accuracy on the control task, and ``selectivity`` = accuracy - control with ``selectivity_low``,
        ``selectivity_high``, ``p`` and ``p_kind`` (sign flips over units); ``majority``, the share of the commonest
        class, of which units count once; ``balanced``, the mean of the classes' ``recall`` (over ``label``), with
        ``rows`` and ``units`` of each class; ``ridge`` of each fold. The record says what the control was and how many
        rows' types were seen in fitting (``control_seen``).

    Raises: ReadoutError: one class (the message names it), a class in fewer than two units, fewer units than folds;
        types of which one is all, or of which none comes back; states that do not fit.

    Source: Hewitt and Liang 2019, Designing and Interpreting Probes with Control Tasks, sections 2 and 3.

    Cost: folds x (ridges + 1) fits a layer, and as many for the control.

    >>> import numpy as np
    >>> states = np.random.default_rng(0).standard_normal((60, 4))
    >>> found = linear_probe(states, states[:, 0] > 0, ridge=0.01)
    >>> bool(found.accuracy > 0.85)
    True
    """
    try:
        array = as_array(states, "states")
    except StatisticsError as error:
        raise ReadoutError(str(error)) from None
    if array.ndim not in (2, 3) or not np.isfinite(array).all() or 0 in array.shape:
        raise ReadoutError(unfit("states", states, "finite states, [rows, width] or [layer, rows, width]"))
    layers = array if array.ndim == 3 else array[None]
    design = Design.of(labels, units, types, layers.shape[1], folds, ridge, seed)
    ds = scores((layer for layer in layers), design, level, seed)
    call = dict(folds=folds, ridge=ridge, level=level, **design.record())
    ds = ds.isel(layer=0, drop=True) if array.ndim == 2 else ds.assign_coords(layer=np.arange(len(layers)))
    return results.stamp(ds, {"kind": "probe", "call": call, "seed": seed})


@door(ReadoutError)
@of_one_model
@torch.no_grad()
def probe(
    model: HFModel,
    prompts: Annotated[Sequence[Prompt], Filled()],
    labels: Annotated[Any, Labels()],
    *,
    site: str = "resid_post",
    layers: Layers = None,
    position: Positions = "last",
    units: Annotated[Any, Labels()] | None = None,
    types: Annotated[Any, Labels()] | None = None,
    folds: Folds = 5,
    ridge: Ridges = (1e-3, 1e-2, 1e-1, 1.0),
    level: Share = 0.95,
    seed: Seed = 0,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """A linear probe for each layer on the states of prompts at one position; see `linear_probe`.

    Args:
        prompts: texts, chats or pairs (their clean prompt). labels, units, types: one for each.
        site: a site of one state a token. position: one token of each prompt, by index or name.
        stop: asked between layers and batches; `Stopped` is raised, for half the prompts are another question.

    Returns: as `linear_probe`, over ``layer``.

    Raises: ReadoutError, SiteError, PromptError: as `linear_probe` and `lens.logit_lens`.

    >>> lens.readout.probes.probe(model, prompts, labels, units=people).accuracy.plot()     # doctest: +SKIP
    """
    began = time.perf_counter()
    require_state(site)
    decoder = Model.of(model)
    _, readings = read_prompts(model, prompts)
    at = one_position(readings, position)
    chosen = layers_with(decoder, layers, site)
    design = Design.of(labels, units, types, len(readings), folds, ridge, seed)
    keep = kept(site)
    first = Runs.record(decoder, [readings[0].ids[:1]], keep)
    states = States(len(readings), [first.get(site, l).flatten(1).shape[1] for l in chosen])

    def read(batch: list[int]) -> None:
        runs = Runs.record(decoder, [readings[i].ids for i in batch], keep)
        token = torch.tensor([runs.starts[k] + at[i] for k, i in enumerate(batch)], device=decoder.device)
        for number, layer in enumerate(chosen):
            x = runs.get(site, layer)[token].flatten(1).float().cpu().numpy()
            if not (whole := np.isfinite(x).all(1)).all():
                raise ReadoutError(
                    f"model: its states of prompts[{batch[int((~whole).argmax())]}] at {site!r} of layer {layer} hold"
                    " NaN or infinity; load it in a wider dtype, or leave the prompt out."
                )
            states.write(number, batch[0], x)

    try:
        sizes = [run_bytes(decoder, len(r), keep) for r in readings]
        status = batch_by_batch(sizes, RECORD_BYTES, read, label="probe", progress=progress, stop=stop)
        if status != "complete":
            raise Stopped("probe: stopped while the states were read")

        def of_layers():
            for number in range(len(chosen)):
                if says_stop(stop):
                    raise Stopped(f"probe: stopped after {number} of {len(chosen)} layers")
                yield states.read(number, np.arange(len(readings)))

        ds = scores(of_layers(), design, level, seed).assign_coords(layer=chosen)
    finally:
        states.close()
    call: dict[str, Any] = dict(site=site, layers=layers, position=position, folds=folds, ridge=ridge, level=level)
    entries = record(model, decoder, "probe", call | design.record(), readings, seed)
    return results.stamp(ds, entries | {"seconds": round(time.perf_counter() - began, 4)})
