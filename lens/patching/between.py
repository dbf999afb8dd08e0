"""One checkpoint's states in another one: what they do there, beside copies that should do less."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
import xarray as xr
from torch import Tensor

from ..arguments import HFModel, Layers, Positions, Positive, Seed, door
from ..engine.edits import Edit
from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import beside, of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep
from ..prompts import Chat, EncodedPair, Pair
from ..results import dataset as results
from ..results.record import record_of
from .exact import _KEPT, _labelled, patch, remember
from .grid import Grid, PatchError
from .pairs_between import encoded_between, pairs_between, require_twin
from .sources import Origin, partners_of, require_equal_width

Control = Literal["another_prompt", "random"]
#: Rows of a result's ``control`` axis.
CONTROLS = ("another_prompt", "random", "twin")
_AXES = ("layer", "position")


@door(PatchError)
@of_one_model
def patch_between(
    into: HFModel,
    source: HFModel,
    prompts: str | Pair | Chat | Sequence[Any],
    sites: str | Sequence[str] = "resid_post",
    *,
    twin: HFModel | None = None,
    controls: Sequence[Control] | None = None,
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    layers: Layers = None,
    positions: Positions = None,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> xr.Dataset:
    """Copies one model's state at every layer and position, one cell at a time, into the other's run of the same
    prompt, and measures what that changes beside what three other copies change there.

    Args:
        into: the model that is run and measured. source: the one whose states are copied: of equal width and depth,
            with the same tokenizer. Of an adapter on and off load two models, one with it and one without.
        prompts: pairs, of which the clean prompt, answer and foil count, or texts and chats. Of these the answer is
            ``source``'s own next token, and the foil the most likely one of ``into`` beside it.
        sites: one site, or several (the result then has a ``site`` axis); see ``lens.engine.sites``.
        twin: another run of ``into``'s recipe, with another seed: what a state does because it is from another training
            run.
        controls: ``another_prompt``: the source's state of another of the prompts, as long and with another answer,
            drawn with ``seed``. ``random``: into's own state, moved as far as the copy moves it, in a random direction.
            None: both, the first where every prompt has such a partner. A twin is a control wherever it is given.
        metric: as ``lens.patch``; ``logit_diff`` is the log-odds of answer and foil.
        layers, positions, memory_mb, progress, stop: as ``lens.patch``. seed: of partners and random directions.

    Returns:
        Over ``[site,] [prompt,] layer, position``: ``value`` (the metric under the copy), ``effect`` = value - into's,
        ``normalized`` = effect / (source's - into's); ``into`` and ``source``, the two models' own metric, each with
        its own head. Over ``control`` too: ``control_effect``, the effect of that copy, and ``beyond`` = effect -
        control_effect. ``lens.summary(result, "beyond")`` gives the means over prompts with intervals and tests.

    Raises:
        PatchError: the same model twice, another width, depth or tokenizer; a twin that is none (into's or the source's
            weights, or another architecture); a prompt without a partner, where ``another_prompt`` is asked for.
        PromptError, SiteError, MetricError: as ``lens.patch``.

    Source: Prakash et al. 2024, section 5 (one model into another); the controls: ours.

    Cost: as so many sweeps of ``lens.patch`` as there are copies: one, and one more for each control.

    >>> ds = lens.patch_between(base, tuned, prompts, twin=other_seed)      # doctest: +SKIP
    >>> lens.summary(ds, "beyond").sel(control="twin")                      # doctest: +SKIP
    """
    names = [sites] if isinstance(sites, str) else list(sites)
    if not names or len(set(names)) < len(names):
        raise PatchError(f"sites={sites!r}; expected the name of a site, or several different ones.")
    measure = resolve(metric)
    if measure.name == "kl":
        raise PatchError(
            "metric='kl' compares with the clean run by one model's head, and here are two; use logit_diff, logprob or"
            " prob."
        )
    ours, theirs = _checked(into, source, names)
    if twin is not None:
        require_twin(ours, theirs, twin, names)

    def run() -> xr.Dataset:
        single, pairs = pairs_between(into, source, prompts)
        encoded = encoded_between(into, source, twin, pairs)
        partners, left_out = _partners(encoded, controls, seed)
        how = dict(memory_mb=memory_mb, progress=progress, stop=stop)
        copies = _Copies(into, source, twin, pairs, encoded, measure, layers, positions, seed, how)
        kinds = [c for c in CONTROLS if _wanted(c, controls, partners, twin)]
        tables = [copies.table(site, kinds, partners) for site in names]
        ds = tables[0]
        if not isinstance(sites, str):
            ds = xr.concat(tables, pd.Index(names, name="site"), join="outer", combine_attrs="override")
        call = dict(sites=names, layers=layers, positions=positions, metric=measure.name, **metric_identity(measure))
        call |= dict(unit=measure.unit, controls=kinds, left_out=left_out, partners=partners, copies=copies.copied)
        record = record_of(into, ours, "patch between", call, pairs, seed=seed, state=ours.state)
        ds = ds.isel(prompt=0, drop=True) if single else ds
        return results.stamp(ds, record | {"status": copies.status, "seconds": round(copies.seconds, 4)})

    return remember(beside([m for m in (source, twin) if m is not None], run))


def _checked(into: Any, source: Any, names: Sequence[str]) -> tuple[Model, Model]:
    """The views of two models whose states fit each other.

    Raises: PatchError: one model twice, another width or depth.
    """
    ours, theirs = Model.of(into), Model.of(source)
    if ours.hf is theirs.hf:
        raise PatchError(
            "source: it is the very model `into`, whose states change nothing there; load the other checkpoint beside"
            " it (of an adapter on and off: lens.load twice, with adapter= and without)."
        )
    for site in names:
        require_equal_width(ours, theirs, site, "source")
    if ours.n_layers != theirs.n_layers:
        raise PatchError(
            f"source: it has {theirs.n_layers} layers, `into` {ours.n_layers}, so that a layer of one is no layer of"
            " the other; say which goes where by lens.patch(source_model=..., layers=..., source_layer=...)."
        )
    return ours, theirs


def _wanted(control: str, asked: Sequence[str] | None, partners: Any, twin: Any) -> bool:
    if control == "twin":
        return twin is not None
    if asked is None:
        return control == "random" or partners is not None
    return control in asked


def _partners(
    encoded: Sequence[EncodedPair], controls: Sequence[str] | None, seed: int
) -> tuple[list[int] | None, dict[str, str]]:
    """For each prompt another one, and which control is left out and why.

    Raises: PatchError: a prompt without one, where the control was asked for.
    """
    if controls is not None and "another_prompt" not in controls:
        return None, {}

    def fits(i: int, j: int) -> bool:
        a, b = encoded[i], encoded[j]
        return (
            len(a) == len(b)
            and a.clean_ids.tolist() != b.clean_ids.tolist()
            and (a.answer_ids is None or a.answer_ids != b.answer_ids)
        )

    try:
        why = "that has as many tokens and another answer; give more prompts of its kind, or leave this control out."
        asked = "controls=('another_prompt',): prompts"
        return partners_of([len(e) for e in encoded], fits, seed, why, asked), {}
    except PatchError as error:
        if controls is not None:
            raise
        return None, {"another_prompt": str(error)}


@dataclass
class _Copies:
    """The sweeps of one call.

    Attributes: status: partial where a sweep was stopped; what comes behind it is missing. seconds: of all sweeps.
        copied: the models that were copied from, as the records of their sweeps have them.
    """

    into: Any
    source: Any
    twin: Any
    pairs: list[Pair]
    encoded: list[EncodedPair]
    measure: Metric
    layers: Any
    positions: Any
    seed: int
    options: dict[str, Any]
    status: str = "complete"
    seconds: float = 0.0
    copied: dict[str, Any] = field(default_factory=dict)

    def table(self, site: str, kinds: Sequence[str], partners: list[int] | None) -> xr.Dataset:
        """The copy and its controls at one site."""
        ds = self._patched(site, self.pairs, self.source, "source")
        ds = ds.rename(clean="source", corrupted="into", token_clean="token").drop_vars("token_corrupted")
        effects = []
        for kind in kinds:
            if self.status != "complete":
                effects.append(xr.full_like(ds.effect, np.nan))
            elif kind == "random":
                effects.append(self._random(site).effect)
            elif kind == "twin":
                effects.append(self._patched(site, self.pairs, self.twin, "twin").effect)
            else:
                effects.append(self._partnered(site, partners or []).effect)
        units = {"units": self.measure.unit}
        if effects:
            stacked = np.stack([e.values for e in effects])
            dims = ("control", *ds.effect.dims)
            ds = ds.assign_coords(control=list(kinds))
            ds["control_effect"] = (dims, stacked, units)
            ds["beyond"] = (dims, (ds.effect.values - stacked).astype(np.float32), units)
        return ds

    def _patched(self, site: str, pairs: list[Pair], model: Any, name: str) -> xr.Dataset:
        ds = patch(
            self.into,
            pairs,
            site,
            _AXES,
            metric=self.measure,
            layers=self.layers,
            positions=self.positions,
            source_model=model,
            **self.options,
        )
        record = self._note(ds)
        self.copied[name] = record["call"]["source_model"]
        return ds

    def _note(self, ds: xr.Dataset) -> dict[str, Any]:
        record = results.provenance(ds)
        self.seconds += record["seconds"]
        if record["status"] != "complete":
            self.status = "partial"
        return record

    def _random(self, site: str) -> xr.Dataset:
        """Into's own states, each moved as far as the copy moves it."""
        if site == "pattern":
            raise PatchError("controls=('random',): a pattern moved at random is none; leave this control out.")
        return self._swept(site, "random", _Moved, seed=self.seed)

    def _partnered(self, site: str, partners: Sequence[int]) -> xr.Dataset:
        """The source's states of other prompts."""
        return self._swept(site, "another prompt", _Partnered, others=list(partners))

    def _swept(self, site: str, label: str, kind: type[Origin], **more: Any) -> xr.Dataset:
        """The grid with another origin of what is put in."""
        decoder, other = Model.of(self.into), Model.of(self.source)
        grid = Grid.make(decoder, self.encoded, site, _AXES, self.layers, None, self.positions)
        origin: Any = kind(decoder, self.encoded, "corrupted", () if site in _KEPT else (site,), "pair", other)
        for name, value in more.items():
            setattr(origin, name, value)
        sweep = Sweep(
            decoder,
            self.encoded,
            origin.lengths,
            grid.shape,
            origin.cells(grid),
            origin.runs(),
            self.measure,
            label=f"{label} {site}",
            keep=origin.keep,
            clean_is_base=False,
            bytes_of=origin.bytes_of(self.measure),
            source_lengths=origin.source_lengths,
            source_model=other,
        )
        record = record_of(self.into, decoder, "patch", {"unit": self.measure.unit}, state=decoder.state)
        ds = sweep.run(
            lambda v: _labelled(grid, self.encoded, v, "denoise", False, record), record=record, **self.options
        )
        self._note(ds)
        return ds


class _Partnered(Origin):
    """The other run of a prompt is that of another prompt, as long: a number for each in `others`."""

    others: Sequence[int] = ()

    def ids(self, prompt: int, edited: bool) -> Tensor:
        """Token ids of the prompt that is edited, or of another one's."""
        return super().ids(prompt if edited else self.others[prompt], edited)


class _Moved(Origin):
    """States of the edited run moved in a random direction, as far from it as the other model's are."""

    seed = 0

    def cells(self, grid: Grid) -> Callable[[int, Runs, int], Any]:
        """The cells of a prompt, given the other model's runs."""

        def of(prompt: int, source: Runs, k: int) -> Any:
            return grid.cells(prompt, None, lambda site, taken: self._moved(site, taken, prompt, source, k))

        return of

    def _moved(self, site: Site, taken: tuple[int, ...], prompt: int, source: Runs, k: int) -> Edit:
        base: Any = self._base
        layer = site.layer or 0
        own, theirs = (_at(runs, site.name, layer, k, taken) for runs in (base, source))
        theirs = theirs.to(own)
        draw = torch.Generator().manual_seed(
            int(np.random.SeedSequence([self.seed, prompt, layer, taken[0]]).generate_state(1)[0])
        )
        direction = torch.randn(own.shape, generator=draw).to(own)
        lengths = [x.flatten(1).norm(dim=1).view(-1, *[1] * (x.ndim - 1)) for x in (theirs - own, direction)]
        return Edit(site, "replace", own + direction * lengths[0] / lengths[1])


def _at(runs: Runs, site: str, layer: int, k: int, positions: tuple[int, ...]) -> Tensor:
    """A prompt's activations at some positions."""
    return runs.get(site, layer)[[runs.starts[k] + p for p in positions]]
