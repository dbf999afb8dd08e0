"""PatchExplorer: activation patching asked, watched and read inside the notebook."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import traitlets
import xarray as xr

from lens import patch, patching, prompts
from lens.arguments import HFModel, door
from widgets.base import pairs, tables
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.errors import ViewError
from widgets.patch_explorer import copy, saved, work
from widgets.patch_explorer.cells import number_of
from widgets.patch_explorer.depths import DepthView
from widgets.patch_explorer.examples import EXAMPLES
from widgets.patch_explorer.streams import Streams
from widgets.patch_explorer.work import PatchMap

SITES = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_out", "z", "q", "k", "v", "pattern", "neuron")
#: Sites and maps of mixtures of experts; the menus of other models do not offer them.
MIXTURE_SITES = ("router", "expert")
OVERS = ("position", "head", "expert")
METHODS = ("exact", "attribution")
METRICS = ("logit_diff", "logprob_diff", "prob", "logprob", "rank", "kl")
CHOICES = ("site", "over", "metric", "direction", "method")
QUANTITIES = ("normalized", "effect", "value")
EMPTY = "No sweep had been run when this notebook was stored."


class PatchExplorer(DepthView):
    """Edit a pair, patch it, and read every cell: heat map, predictions, pins, comparison, export.

    The traits are the state that Python and the browser share:

    - the question: `clean`, `corrupted`, `answer`, `foil`, `start`, `site`, `over` ("position", "head" or, of a
      mixture of experts, "expert"), `metric`, `direction`, `method` (exact, attribution);
    - the answer: `status` (idle, running, stopping, complete, stopped, error), `progress`, `error`, `map` (labels and
      float32 buffers of the run shown), `history`, `detail` (predictions for the chosen cell), `readout` (what `lens`
      and `dictionary` say there), `depth` (of reading and writing, once asked for), `pins`, `code`, `saved`;
    - the view: `show` (normalized, effect, value), `cell` ({run, layer, column}), `compare` ({mode, run}), and `other`,
      the map compared with.

    `pair` is a `lens.Pair` or None; `result` a Dataset that `lens.patch` returned for one pair, shown at once.
    `lens`, a Jacobian lens of `lens.jacobian_lens`, and `dictionary`, of `lens.features`, are read in both unedited
    runs at the cell that is chosen, the plain logit lens beside; features have the labels of `Dictionary.labels`.
    `run()` and `stop()` do what the buttons do, `result` and `results` give the Datasets. Raises ViewError on an
    unknown site, metric, direction or map, and on a lens or dictionary of another model.
    """

    _esm = script("patch_explorer")
    _css = style("patch_explorer")

    clean = traitlets.Unicode().tag(sync=True)
    corrupted = traitlets.Unicode().tag(sync=True)
    answer = traitlets.Unicode().tag(sync=True)
    foil = traitlets.Unicode().tag(sync=True)
    start = traitlets.Unicode().tag(sync=True)
    site = traitlets.Enum((*SITES, *MIXTURE_SITES), "resid_pre").tag(sync=True)
    over = traitlets.Enum(OVERS, "position").tag(sync=True)
    metric = traitlets.Enum(METRICS, "logit_diff").tag(sync=True)
    direction = traitlets.Enum(tuple(work.DIRECTIONS), "denoise").tag(sync=True)
    method = traitlets.Enum(METHODS, "exact").tag(sync=True)
    sites = traitlets.List(list(SITES)).tag(sync=True)
    overs = traitlets.List(list(OVERS[:2])).tag(sync=True)
    metrics = traitlets.List(list(METRICS)).tag(sync=True)

    alignment = traitlets.Dict().tag(sync=True)
    warning = traitlets.Unicode().tag(sync=True)
    map = traitlets.Dict().tag(sync=True, echo_update=False)
    other = traitlets.Dict().tag(sync=True, echo_update=False)
    history: traitlets.List[Any] = traitlets.List().tag(sync=True)

    show = traitlets.Enum(QUANTITIES, "normalized").tag(sync=True)
    compare = traitlets.Dict({"mode": "off", "run": 0}).tag(sync=True)

    _titles: ClassVar[dict[str, str]] = {
        "PromptError": "The prompts do not fit together",
        "MetricError": "The metric cannot be computed",
    }

    @door(ViewError)
    def __init__(
        self,
        model: HFModel,
        pair: Any = None,
        *,
        result: xr.Dataset | None = None,
        site: str = "resid_pre",
        over: str = "position",
        metric: str = "logit_diff",
        direction: str = "denoise",
        method: str = "exact",
        lens: Any = None,
        dictionary: Any = None,
        _patch: Callable[..., xr.Dataset] | None = None,
        _explain: Callable[..., Any] | None = None,
        _encode: Callable[..., Any] | None = None,
    ) -> None:
        for name, value, allowed in (
            ("site", site, (*SITES, *MIXTURE_SITES)),
            ("over", over, OVERS),
            ("metric", metric, METRICS),
            ("direction", direction, tuple(work.DIRECTIONS)),
            ("method", method, METHODS),
        ):
            if value not in allowed:
                raise ViewError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        self.model = model
        self._runs: dict[int, PatchMap] = {}
        self._numbers, self._pin_numbers = itertools.count(1), itertools.count(1)
        self._spans: dict[str, list[tuple[int, int]]] = {}
        self._label = ""
        self._patch, self._explain, self._encode = (
            _patch or patch,
            _explain or patching.explain_cell,
            _encode or prompts.encode,
        )
        self._streams = None
        if lens is not None or dictionary is not None:
            self._streams = Streams(model, lens, dictionary, self._encode)
            self._streams.require()
        info = describe_model(model)
        mixture = info["experts"] > 1 or site in MIXTURE_SITES or over == "expert"
        super().__init__(
            model_info=info, site=site, over=over, metric=metric, direction=direction, method=method,
            sites=[*SITES, *(MIXTURE_SITES if mixture else ())], overs=list(OVERS if mixture else OVERS[:2]),
        )  # fmt: skip
        if result is not None:
            pair = self._adopt(result, pair)
        if pair is not None:
            self._take(pair)
        self._refresh_code()
        self.observe(self._on_cell, "cell")
        self.observe(self._on_compare, "compare")
        self.observe(self._on_prompts, ["clean", "corrupted", "answer", "foil", "start"])
        self.observe(lambda _: self._refresh_code(), ["show", *CHOICES])
        self._on_prompts(None)
        self._offer(EXAMPLES)
        if _patch is None:
            self._worker.quick("hash", self._hash)

    # --- what Python users call

    @property
    def results(self) -> dict[str, xr.Dataset]:
        """Every run's Dataset by the run's name."""
        return {run.name: run.dataset for run in self._runs.values() if run.dataset is not None}

    # --- one sweep

    def _take(self, pair: Any) -> None:
        pair = pair.rendered(self.model)
        self._spans, self._label = work.spans_as_text(pair.clean, pair.spans), pair.label
        self.publish(**work.pair_fields(pair))

    def _question(self) -> PatchMap:
        pair = prompts.Pair(
            self.clean,
            corrupted=self.corrupted,
            answer=self.answer,
            foil=self.foil or None,
            start=self.start,
            label=self._label,
            spans=work.spans_in(self.clean, self._spans),
        )
        number = next(self._numbers)
        return PatchMap(number, f"run {number}", pair, self.site, self.over, self.metric, self.direction, self.method)

    def _compute(self, run: PatchMap, stop: Callable[[], bool], on_part: Callable[[xr.Dataset], None]) -> xr.Dataset:
        return self._patch(
            self.model,
            run.pair,
            run.site,
            ("layer", run.column),
            metric=run.metric,
            direction=run.direction,
            method=run.method,
            progress=False,
            stop=stop,
            on_part=on_part,
        )

    def _ended(self, run: PatchMap) -> None:
        if run.layers_done() or run.status == "complete":
            self._runs[run.number] = run
        self.publish(history=self._history())

    def _publish_run(self, run: PatchMap) -> None:
        self.publish(map=work.payload(run, self.model_info["name"]))

    def _adopt(self, result: xr.Dataset, pair: Any) -> Any:
        """Show a stored Dataset as the first run; returns its pair."""
        known = tables.read_record(result)
        call = known.get("call", {})
        if "prompt" in result["value"].dims:
            raise ViewError(
                f"result: holds {result.sizes['prompt']} prompts; choose one, for example result.isel(prompt=0)"
            )
        column = next((d for d in OVERS if set(result["value"].dims) == {"layer", d}), None)
        if column is None:
            raise ViewError(
                f"result: has dimensions {tuple(result['value'].dims)}, expected (layer, position), (layer,"
                " head) or (layer, expert)"
            )
        pair = pair or pairs.pair_from(known, prompts.Pair, int(result["prompt"]) if "prompt" in result.coords else 0)
        if pair is None:
            raise ViewError("result: does not say which pair it belongs to; give pair=")
        number = next(self._numbers)
        run = PatchMap(
            number,
            f"run {number}",
            pair,
            call.get("site", self.site),
            column,
            str(call.get("metric", self.metric)),
            call.get("direction", self.direction),
            call.get("method", "exact"),
            result,
            "complete",
            float(known.get("seconds") or 0),
        )
        run.status = "complete" if run.complete() else "stopped"
        self._runs[number] = run
        allowed = {name: getattr(run, name) for name in CHOICES if getattr(run, name) in self.traits()[name].values}
        if run.site in MIXTURE_SITES:
            self.publish(sites=[*SITES, *MIXTURE_SITES], overs=list(OVERS))
        self.publish(**allowed, history=self._history(), status=run.status)
        self._show(run, progress=self._progress(run))
        return pair

    # --- what the browser asks for

    _typed = ("clean", "corrupted", "answer", "foil", "start")
    _fields = (*_typed, *CHOICES)
    _asked_traits = (*_fields, "show")
    _answer_traits = ("pins", "cell", "compare", "detail", "readout", "depth", "status", "progress", "warning")

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        self._spans, self._label = {}, ""
        self.publish(**{"start": ""} | dict(fields))

    def _open(self) -> None:
        """The first example whose prompts this model's tokenizer cuts into as many tokens."""
        for number, example in enumerate(self._offered if self._waits() else ()):
            with contextlib.suppress(Exception):  # the next one may fit
                self._encode(self.model, prompts.Pair(**example.fields))
                self._on_example({"number": number})
                return

    def _more_state(self) -> dict[str, Any]:
        return {
            "runs": [saved.pack(run) for run in self._runs.values() if run.dataset is not None],
            "shown": None if self._shown is None else self._shown.number,
        }

    def _take_more(self, more: dict[str, Any]) -> None:
        self._runs |= {run.number: run for run in map(saved.unpack, more.get("runs", ()))}
        if not self._runs:
            return
        self._numbers = itertools.count(max(self._runs) + 1)
        self.publish(history=self._history())
        if (shown := self._runs.get(more.get("shown", 0))) is not None:
            self._take(shown.pair)
            self._show(shown, progress=self._progress(shown))

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {
            "pin": self._pin,
            "unpin": self._unpin,
            "show": self._on_show,
            "rename": self._rename,
            "forget": self._forget,
            "depth": self._on_depth,
        }

    def _on_show(self, message: dict) -> None:
        if (run := self._runs.get(number_of(message))) is not None:
            self._show(run, progress=self._progress(run))
            self._take(run.pair)
            self.publish(
                **{name: getattr(run, name) for name in CHOICES if getattr(run, name) in self.traits()[name].values}
            )
            self._refresh_static()

    def _rename(self, message: dict) -> None:
        if (run := self._runs.get(number_of(message))) is not None:
            name, taken = (
                str(message.get("name", "")).strip() or f"run {run.number}",
                {r.name for r in self._runs.values() if r is not run},
            )
            run.name = name if name not in taken else f"{name} ({run.number})"
            self.publish(
                history=self._history(),
                pins=[pin | {"name": run.name} if pin["run"] == run.number else pin for pin in self.pins],
            )
            if run is self._shown:
                self._show(run)

    def _forget(self, message: dict) -> None:
        run = self._runs.pop(number_of(message), None)
        if run is not None:
            self.publish(history=self._history(), pins=[pin for pin in self.pins if pin["run"] != run.number])
            if self.compare.get("run") == run.number:
                self.publish(compare={"mode": "off", "run": 0})
            if run is self._shown:
                self._shown = None
                if self._runs:
                    self._show(next(reversed(self._runs.values())))
                else:
                    self.publish(map={}, status="idle", progress={})

    def _history(self) -> list[dict[str, Any]]:
        return [
            {
                "run": run.number,
                "name": run.name,
                "what": f"{run.what()}; answer {run.pair.answer!r}",
                "status": f"{run.status}, {run.seconds:.1f} s",
            }
            for run in self._runs.values()
        ]

    def _on_compare(self, _change: Any) -> None:
        run = self._runs.get(number_of(self.compare)) if self.compare.get("mode", "off") != "off" else None
        self.publish(
            other=work.payload(run, self.model_info["name"]) if run is not None and run.dataset is not None else {}
        )

    def _on_prompts(self, _change: Any) -> None:
        if self.clean and self.corrupted and self.answer:
            self._worker.quick("alignment", self._check)
        else:
            self.publish(alignment={"text": "Fill in both prompts and the answer."})
        self._refresh_code()

    def _check(self) -> None:
        try:
            encoded = self._encode(self.model, self._pair_now())
        except BaseException as error:  # half-typed prompts are the normal case here; Run shows the whole message
            self.publish(
                alignment={"ok": False, "text": str(error).splitlines()[0] if str(error) else type(error).__name__}
            )
            return
        clean, corrupted = encoded.clean_tokens, encoded.corrupted_tokens
        different = [i for i, (a, b) in enumerate(zip(clean, corrupted, strict=False)) if a != b]
        where = (
            f"; they differ at position{'s' if len(different) > 1 else ''}"
            f" {', '.join(map(str, different[:6]))}{' …' if len(different) > 6 else ''}"
            if different
            else ""
        )
        self.publish(alignment={"ok": True, "text": f"{len(clean)} tokens each{where}"})

    def _pair_now(self) -> Any:
        return prompts.Pair(
            self.clean, corrupted=self.corrupted, answer=self.answer, foil=self.foil or None, start=self.start
        )

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        run = self._shown
        if run is None:
            try:
                run = PatchMap(0, "", self._pair_now(), self.site, self.over, self.metric, self.direction, self.method)
            except Exception:  # no valid pair yet, so there is no program to show
                self.publish(code="")
                return
        chosen = self.cell if self.cell.get("run") == run.number else None
        self.publish(code=copy.program(self.model_info, run, self.show, chosen))

    def _static(self) -> str:
        told = self.depth.get("text", "") if self._shown and self.depth.get("run") == self._shown.number else ""
        return copy.static_table(self._shown, self.model_info["name"], EMPTY, told)
