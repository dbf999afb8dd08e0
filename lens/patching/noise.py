"""Causal tracing: noise on the subject's embeddings, and which clean states bring the answer back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr

from ..arguments import Count, Draws, HFModel, Layers, Name, Positions, Positive, Seed, door
from ..cluster import Workers, backend_of
from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sweep import Sweep
from ..prompts import Pair, encode
from ..results.record import record_of
from .exact import _KEPT, _labelled, chosen_pairs, remember
from .grid import Grid, PatchError


@door(PatchError)
@of_one_model
def causal_trace(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    site: str = "resid_post",
    *,
    subject: Name = "subject",
    metric: "str | Metric | Callable[[Any, Any], Any]" = "prob",
    noise: Positive = 3.0,
    samples: Draws = 10,
    window: Count = 1,
    layers: Layers = None,
    positions: Positions = None,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """Restores clean states, one (layer, position) at a time, in runs whose subject embeddings are drowned in noise.

    Args:
        pairs: their ``clean`` prompts are traced; ``corrupted`` is not used.
        site: ``resid_post``, or ``mlp_out`` / ``attn_out`` with a ``window`` (10 in the paper).
        subject: the named position that gets the noise.
        noise: standard deviation of the Gaussian noise, in standard deviations of the token embedding matrix.
        samples: noise draws per prompt; value and effect are means over them, ``value_sd`` their standard deviation.
        metric: ``prob`` of the answer, as in the paper, or any other.
        backend, workers: as ``lens.patch``.

    Returns: as ``lens.patch`` (denoising; ``corrupted`` is the noised run), with ``value_sd`` and ``corrupted_sd``.

    Raises:
        PatchError: a pair without the named subject; noise or samples out of range.

    Source: Meng et al. 2022, "Locating and Editing Factual Associations in GPT", section 2.1.
    """
    single, chosen = chosen_pairs(pairs)
    decoder, measure = Model.of(model), resolve(metric)
    # the corrupted prompt takes no part: labels show the clean one's tokens twice
    encoded = [
        dataclasses.replace(e, corrupted_ids=e.clean_ids, corrupted_tokens=e.clean_tokens)
        for e in (encode(model, p, aligned=False) for p in chosen)
    ]
    for i, e in enumerate(encoded):
        if subject not in e.positions:
            raise PatchError(
                f"subject={subject!r} is not a named position of pair {i}; it has {', '.join(e.positions)}. Add"
                " spans={'subject': ...} to the pair."
            )
        measure.sequences(e)
    grid = Grid.make(decoder, encoded, site, ("layer", "position"), layers, None, positions, window)
    keep = () if site in _KEPT else (site,)
    sigma = noise * decoder.embeddings().float().std().item()
    many = [(i, s) for i in range(len(encoded)) for s in range(samples)]

    def noisy(runs: Runs, batch: Sequence[int]) -> torch.Tensor:
        embedded = decoder.embed(runs.flat_ids).clone()
        for k, number in enumerate(batch):
            i, s = many[number]
            at = torch.tensor(encoded[i].positions[subject], device=decoder.device) + runs.starts[k]
            # a generator of its own for each prompt and draw: the same noise whatever the batches
            draw = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, i, s]).generate_state(1)[0]))
            embedded[at] += (torch.randn(len(at), embedded.shape[-1], generator=draw) * sigma).to(embedded)
        return embedded

    def make_runs(batch: Sequence[int], tails: Sequence[torch.Tensor]) -> tuple[Runs, Runs]:
        ids = [torch.cat([encoded[many[n][0]].clean_ids.to(decoder.device), t]) for n, t in zip(batch, tails)]
        clean = Runs.record(decoder, ids, keep)
        return clean.fork(embed=noisy(clean, batch)), clean

    lengths = [len(encoded[i].clean_ids) for i, _ in many]
    sweep = Sweep(
        decoder,
        [encoded[i] for i, _ in many],
        lengths,
        grid.shape,
        lambda n, source, k: grid.cells(many[n][0], source[k]),
        make_runs,
        measure,
        label=f"trace {site}",
        keep=keep,
        clean_is_base=False,
    )
    values = sweep.values(memory_mb=memory_mb, progress=progress, stop=stop, backend=backend_of(backend, workers))

    def split(a):
        return a.reshape(len(encoded), samples, *a.shape[1:])

    value, base = split(values.value), split(values.base)

    def spread(a):
        return a.std(1, ddof=1) if samples > 1 else np.full_like(a[:, 0], np.nan)

    values.value, values.base, values.source = value.mean(1), base.mean(1), split(values.source).mean(1)
    call = dict(
        site=site,
        over=["layer", "position"],
        metric=measure.name,
        **metric_identity(measure),
        unit=measure.unit,
        direction="denoise",
        method="exact",
        subject=subject,
        noise=noise,
        samples=samples,
        window=window,
        layers=layers,
        positions=positions,
    )
    ds = _labelled(
        grid, encoded, values, "denoise", single, record_of(model, decoder, "causal trace", call, chosen, seed=seed)
    )
    sd, base_sd = spread(value), spread(base)
    ds["value_sd"] = (ds.value.dims, sd[0] if single else sd)
    ds["corrupted_sd"] = (ds.corrupted.dims, base_sd[0] if single else base_sd)
    return remember(ds)
