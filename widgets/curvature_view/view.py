"""CurvatureView: the spectrum of loss curvature, layer by layer; brush a band, see who uses it, and take it out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import numpy as np
import traitlets
import xarray as xr

from lens import curvature
from lens.arguments import Count, HFModel, Seed, Share, door
from lens.curvature.eigen import By
from lens.engine.stopping import Stopped
from lens.models import same_weights, weight_hash
from lens.results import dataset as results
from lens.scoring.likelihood import plain
from widgets.base import model_line, passages, planted, sets
from widgets.base.assets import script, style
from widgets.base.sweep import SweepView
from widgets.base.text import finite
from widgets.curvature_view import copy, saved, work
from widgets.curvature_view.examples import EXAMPLES
from widgets.curvature_view.work import ENDS, PRESETS, Band, Removal
from widgets.errors import ViewError

EMPTY = "The spectrum had not been computed when this notebook was stored."
LINES_FIRST = 6  # lines of the spectrum that are drawn before anything else is read


class CurvatureView(SweepView):
    """See how curvature mass is spread over pairs of eigenvectors in every layer, and what a band of it carries.

    The traits are the state that Python and the browser share:

    - where the person looks: `layer`, `everywhere` (the band in all layers), `low` and `high` (the band, as shares of
      all pairs in descending order of mass), `seed`;
    - the answers: `spectra` (a line a layer), `carries` (shares of mass and of squared weight, and activation of
      memorised over clean text, with intervals), `taken` (what the model recites and loses without the band, beside
      random bases, and the most changed texts), `status`, `progress`, `error`, `code`, `saved`.

    Args:
        decomposition: of `lens.curvature.decompose`, or `lens.curvature.Factors`, which are then taken apart.
        memorised: `lens.memorization.Sequences`, or what `SubspaceBench` takes for one set. clean: texts or rows of ids
            that are not memorised.
        by: "kfac", or "ekfac" where second moments were taken. band: where it begins. level: of the intervals.

    Given nothing it opens on sequences planted in the organism `canaries`, and takes a band out.
    `run()` takes the band out, measures and restores; `stop()` ends that, `result` is its Dataset; `wait()` blocks
    until everything asked for is there. While it runs the model is edited and restored: leave it alone until the end.
    Raises CurvatureError for another model's decomposition, ViewError for sets that cannot be used.
    """

    _esm = script("curvature_view")
    _css = style("curvature_view")

    layers: traitlets.List[Any] = traitlets.List().tag(sync=True)
    ends = traitlets.List(list(ENDS)).tag(sync=True)
    presets = traitlets.List([list(preset) for preset in PRESETS]).tag(sync=True)

    layer = traitlets.Unicode().tag(sync=True)
    everywhere = traitlets.Bool(False).tag(sync=True)
    low = traitlets.Float(0.5).tag(sync=True)
    high = traitlets.Float(1.0).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    spectra = traitlets.Dict().tag(sync=True, echo_update=False)
    carries = traitlets.Dict().tag(sync=True)
    taken = traitlets.Dict().tag(sync=True, echo_update=False)

    _titles: ClassVar[dict[str, str]] = {
        "ViewError": "This band cannot be taken out",
        "CurvatureError": "The edit cannot be made",
        "WeightError": "The weights are edited already",
    }
    _noun = "The measurement"
    _begins = "Reading the unedited model …"
    _unsaved = "save: no band was taken out yet; press “Take it out” first"
    _fields = ("layer", "everywhere", "low", "high", "seed")
    _typed = ("everywhere", "low", "high")
    _asked_traits = _fields
    _answer_traits = ("taken", "status", "progress")

    def _waits(self) -> bool:
        return self._planted and not self._removals

    @door(ViewError)
    def __init__(
        self,
        model: HFModel | None = None,
        decomposition: Any = None,
        memorised: Any = None,
        clean: Any = None,
        *,
        by: str = "kfac",
        band: tuple[float, float] = (0.5, 1.0),
        layer: str | None = None,
        prefix: Count | None = None,
        suffix: Count | None = None,
        seed: Seed = 0,
        level: Share = 0.95,
    ) -> None:
        self._planted = all(one is None for one in (model, decomposition, memorised, clean))
        if self._planted:
            model, decomposition, memorised, clean = planted.curvature_sets()
        planted.whole(model=model, decomposition=decomposition, memorised=memorised, clean=clean)
        self._from_factors = isinstance(decomposition, curvature.Factors)
        if by not in ("kfac", "ekfac"):
            raise ViewError(f"by: {by!r} is not known; expected 'kfac' or 'ekfac'")
        self.model = cast(Any, model)
        self.level = sets.level_of(level)
        self.by: By = "ekfac" if by == "ekfac" else "kfac"
        self.decomposition = curvature.decompose(model, decomposition) if self._from_factors else decomposition
        if not same_weights(self.model, self.decomposition.model):
            raise curvature.CurvatureError(
                f"decomposition belongs to weights {self.decomposition.model[:12]}, this model's are"
                f" {weight_hash(self.model)[:12]}; compute it with this model"
            )
        self._given = {
            "memorised": passages.sequences_code(memorised, "memorised", prefix, suffix),
            "clean": passages.rows_code(clean, "clean"),
        }
        self._sequences = sets.sequences_of(memorised, model, prefix, suffix, "memorised")
        self._clean = sets.rows_of(clean, model, "clean")
        if refused := sets.overlap(self._sequences, self._clean, self._clean, seed):
            raise ViewError(refused.replace("reference", "clean"))
        self._sides = sets.Sides({sets.FOUND: self._sequences}, [], self._clean, sets.probes_of(self._clean))
        places = work.order_of(model, self.decomposition)
        names = [place["name"] for place in places]
        if layer is not None and layer not in names:
            raise ViewError(
                f"layer: {layer!r} is none of the decomposition's {len(names)}, such as {', '.join(names[:3])}"
            )
        self._spectra: dict[str, Any] = {}
        self._carried: dict[tuple, list[dict[str, Any]]] = {}
        self._removals: dict[tuple, Removal] = {}
        self._moves = 0
        self._ran: Any = None
        low, high = (work.snapped(float(end)) for end in band)
        super().__init__(
            model_info=model_line.shape_of(model)
            | {
                "level": level,
                "by": by,
                "fisher": self.decomposition.fisher,
                "n": len(self._sequences),
                "clean": len(self._clean),
            },
            layers=places,
            layer=names[len(names) // 2] if layer is None else layer,
            low=low,
            high=high,
            seed=seed,
        )
        self.observe(self._on_band, ["layer", "everywhere", "low", "high", "seed"])
        self._worker.quick(
            "spectra", self._first_spectra
        )  # drawn before the band is read, for which the model is asked
        self._offer(EXAMPLES if self._planted else ())
        self._on_band(None)
        self._worker.long(self._read_spectra)

    # --- the question

    def _band(self) -> Band:
        """The band that the fields describe. Raises ViewError."""
        with self._guard:
            band = Band(self.layer, self.everywhere, work.snapped(self.low), work.snapped(self.high), self.seed)
        if band.layer not in self.decomposition:
            raise ViewError(f"layer: {band.layer!r} is none of the decomposition's {len(self.decomposition)}")
        if not band.low < band.high:
            raise ViewError(
                f"band: {100 * band.low:g} to {100 * band.high:g} % is empty; expected a beginning below its end"
            )
        return band

    def _question(self) -> Removal:
        band = self._band()
        return self._removals.get(band.key()) or Removal(band, self._sides)

    def _running(self) -> Any:
        if self._ran is None:
            self._ran = plain(self.model)
        return self._ran

    def _compute(
        self, run: Removal, stop: Callable[[], bool], on_part: Callable[[xr.Dataset | None], None]
    ) -> xr.Dataset | None:
        if run.complete():
            return run.dataset
        run.points, run.base = {}, None
        before = weight_hash(self._running())
        try:
            work.take_out(
                self._running(), self.decomposition, run, self.by, self.level, stop, lambda: on_part(self._joined(run))
            )
        finally:
            run.hashes = (before, weight_hash(self._running()))
        if run.complete():
            self._removals[run.band.key()] = run
        return self._joined(run)

    def _joined(self, run: Removal) -> xr.Dataset | None:
        if not run.points:
            return None
        base = run.base
        assert base is not None  # it comes with the first point
        ds = xr.concat(
            [point.line for point in run.points.values()],
            "edit",
            data_vars="all",
            coords="minimal",
            compat="override",
            combine_attrs="drop",
        ).assign_coords(edit=list(run.points))
        ds["gold"], ds["tokens"] = ds.gold.isel(edit=0), ds.tokens.isel(edit=0)
        ds["clean_loss"] = ("edit", [point.table[sets.FOUND]["loss"] for point in run.points.values()])
        call = {
            "band": [run.band.low, run.band.high],
            "layers": list(run.band.of(self.decomposition)),
            "by": self.by,
            "removed": run.removed,
            "sequences": self._sequences.about(),
        }
        return results.stamp(
            ds,
            results.provenance(base)
            | {
                "kind": "band taken out",
                "call": call,
                "seed": run.band.seed,
                "status": "complete" if run.complete() else "partial",
            },
        )

    def _publish_run(self, run: Removal) -> None:
        self.publish(
            taken=copy.removal_payload(
                run, self.model, f"band {run.band.text()} of {run.band.where(len(self.decomposition))}"
            )
        )

    def _progress(self, run: Removal) -> dict[str, Any]:
        done = len(run.points)
        text = f"{done} of 3 measured (as it is, without the band, random control), {run.seconds:.1f} s"
        return {"done": done, "total": 3, "text": f"stopped: {text}" if run.status == "stopped" else text}

    # --- spectrum and band

    def _first_spectra(self) -> None:
        """The lines of the layer chosen and of its neighbours."""
        names = list(self.decomposition)
        at = names.index(self.layer)
        self._read_lines(names[max(0, at - LINES_FIRST // 2) :][:LINES_FIRST], pause=False)

    def _read_spectra(self) -> None:
        """The lines that are not there yet, one layer after another."""
        if "text" not in self.spectra:
            self._read_lines([name for name in self.decomposition if name not in self._spectra], pause=True)
            self._refresh_static_soon()

    def _read_lines(self, names: Sequence[str], pause: bool) -> None:
        for i, name in enumerate(names):
            if pause:
                self._worker.pause()
            try:
                self._spectra |= work.lines_of(self.decomposition.select([work.literal(name)]), self.by)
            except BaseException as error:  # shown where the spectrum would be
                self.publish(spectra={"text": str(error) or type(error).__name__})
                return
            if i + 1 == len(names) or i % 16 == 15:
                self._publish_spectra()

    def _publish_spectra(self) -> None:
        found = {name: self._spectra[name] for name in self.decomposition if name in self._spectra}
        buffers = {
            key: np.concatenate([line[key] for line in found.values()]).astype("<f4").tobytes()
            for key in ("density", "mass", "energy")
        }
        self.publish(
            spectra={
                "names": list(found),
                "facts": [line["facts"] for line in found.values()],
                "of": len(self.decomposition),
            }
            | buffers
        )

    def _on_band(self, _change: Any) -> None:
        self._moves += 1
        self._worker.quick("code", self._refresh_code)
        self._worker.quick("band", self._carry)
        self._refresh_static_soon()

    def _carry(self) -> None:
        """What the band carries; ends where a newer band waits."""
        with self._guard:
            mine, fields = self._moves, {name: getattr(self, name) for name in self._fields}
        try:
            band = self._band()
            key = band.key()
            if key not in self._carried:

                def reading(done, of):
                    return self.publish(carries={"fields": fields, "status": "running", "done": done, "of": of})

                reading(0, 1)
                part = band.of(self.decomposition)
                shares = curvature.spectrum(part, by=self.by, bands=work.ends_of(band.low, band.high)).isel(
                    band=work.band_number(band.low)
                )
                rows = work.carried(
                    self._running(),
                    self.decomposition,
                    band,
                    self._sequences.ids,
                    self._clean,
                    self.by,
                    self.level,
                    lambda: self._moves != mine,
                    reading,
                )
                at = {
                    name: (finite(m), finite(c))
                    for name, m, c in zip(
                        shares.layer.values, shares.band_mass.values, shares.coefficient_energy.values, strict=True
                    )
                }
                self._carried[key] = [
                    row | {"mass": at[row["layer"]][0], "energy": at[row["layer"]][1]} for row in rows
                ]
            self.publish(
                carries={
                    "fields": fields,
                    "status": "ready",
                    "rows": self._carried[key],
                    "text": band.text(),
                    "where": band.where(len(self.decomposition)),
                }
            )
        except Stopped:
            return
        except BaseException as error:  # a half-set band is the normal case here
            self.publish(
                carries={
                    "fields": fields,
                    "status": "error",
                    "title": self._title(error),
                    "text": str(error) or type(error).__name__,
                }
            )
            return
        old = self._removals.get(band.key())
        if old is not None and old is not self._shown and self.status not in ("running", "stopping"):
            self.publish(error={}, saved={})
            self._show(old, progress=self._progress(old))
        self._refresh_static_soon()

    # --- what a saved state keeps of the removals

    def _pack(self, run: Removal) -> dict[str, Any]:
        return saved.pack(run)

    def _unpack(self, packed: dict[str, Any]) -> Removal:
        run = saved.unpack(packed, self._sides)
        if run.band.layer not in self.decomposition:
            raise ViewError(f"decomposition: {run.band.layer!r}, which the state is of, is none of its layers")
        if run.complete():
            self._removals[run.band.key()] = run
        run.dataset = self._joined(run)
        return run

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        try:
            source = planted.CURVATURE_SOURCE if self._planted else None
            code = copy.program(self._band(), self.by, self.level, self._given, self._from_factors, source)
        except ValueError:
            code = ""
        self.publish(code=code)

    def _static(self) -> str:
        with contextlib.suppress(ValueError):
            band = self._band()
            run = self._shown if self._shown is not None and self._shown.band.key() == band.key() else None
            what = (
                f"{self.model_info['name']}, {self.decomposition.fisher} Fisher, {band.where(len(self.decomposition))}"
            )
            return copy.static(dict(self._spectra), band, self.carries, run, self.model, what, EMPTY)
        return f"<p><em>{EMPTY}</em></p>"
