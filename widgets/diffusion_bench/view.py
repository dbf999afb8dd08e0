"""DiffusionBench: memorised pictures of a diffusion model: watched while they are denoised, cut out of the weights by
hand, attacked, and put back bit for bit.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import traitlets
import xarray as xr

from lens import diffusion, subspace
from lens.arguments import Count, Positive, Real, Seed, Share, door
from lens.diffusion import Pipeline
from lens.diffusion.record import stamp
from lens.diffusion.sampling import BATCH
from widgets.base.assets import script, style
from widgets.base.folder import folder_for
from widgets.diffusion_bench import code, copy, saved
from widgets.diffusion_bench.captions import encoded, measure_of, packed, sets_of
from widgets.diffusion_bench.checks import checked, overlap
from widgets.diffusion_bench.examples import examples
from widgets.diffusion_bench.question import (
    METHODS,
    PLACES,
    SPARSITIES,
    STARTS,
    Drawing,
    Question,
    Sampling,
    layers_at,
    where_of,
)
from widgets.diffusion_bench.showing import PictureView
from widgets.diffusion_bench.work import Work
from widgets.errors import ViewError

EMPTY = "No pictures had been made when this notebook was stored."
#: fields that ask for another edit; only the first can ask for statistics
MOVES = ("place", "method", "chosen", "sparsity", "first")


class DiffusionBench(PictureView):
    """See which captions a diffusion model answers with a training picture, cut out the weights that hold those, and
    attack the edited model.

    The traits are the state that Python and the browser share:

    - the question: `memorised` and `reference` (names), `chosen` (numbers of the captions that the mask is located on),
      `place` (the layers that are watched and cut), `method`, `sparsity`, `first` (denoising steps united); for the
      attack `updates` and `start`;
    - where the person looks: `step` (of the kept ones; the last is the finished picture), `seed` (which of the seeds);
    - the answers: `prompts` (captions and training pictures), `limit` (what counts as a copy), `before`, `after`,
      `random` (the control), `attacked` (pictures by step, measures, shares of copies), `scores` (the layer-by-step
      map), `edit`, `doubts` (sets that overlap), `force` (an edit put in force by hand, and the weight hash), `status`,
      `progress`, `error`, `code`.

    Args:
        pipeline: a `lens.diffusion.Pipeline`, or a name for `lens.diffusion.load`.
        memorised: by name or alone: pairs (attributes `captions`, `images`, `seen`), (captions, images), (captions,
            images, seen) or captions. None: the planted sets of the organism cards. Pictures are needed for the copy
            measure and the attack, `seen` (background pixels) for the background correlation; without it the normalised
            distance is taken.
        reference: by name or alone: captions that are not memorised. None: those of `never`.
        place: "feed-forward" (second layers, as published) or "cross-attention" (keys and values).
        never: pairs that were never trained: what a picture counts as a copy from, and the control of the attack.
            threshold: a value instead. rate: false positives.
        seeds, steps, guidance: of the pictures shown. statistic_seeds: of the statistics. margin: of the method
            "corrected", in standard errors.
        pool: the training pictures that a distance is judged beside; None: all those given. batch: pictures denoised at
            once. control: seed of the random mask and the attack.
        folder: keeps statistics (default: for the life of the view). level: of the intervals.

    `run()` makes what is missing, `attack()` attacks the edit shown, `stop()` ends either; a caption's statistics are
    run once at each place, so that moving the sliders only unites masks and draws pictures. The last request wins.
    `result` holds the measures, `score_map` the map, `mask()` the edit; `put()` sets it in force, `undo()` takes it
    back. While the view draws, the
    weights are edited and restored: leave the model alone until the end. Raises ViewError, DiffusionError for sets that
        cannot be used.
    """

    _esm = script("diffusion_bench")
    _css = style("diffusion_bench")

    names = traitlets.Dict().tag(sync=True)
    methods = traitlets.List([list(pair) for pair in METHODS.items()]).tag(sync=True)
    places: traitlets.List[Any] = traitlets.List().tag(sync=True)
    starts = traitlets.List([list(pair) for pair in STARTS.items()]).tag(sync=True)
    sparsities: traitlets.List[Any] = traitlets.List().tag(sync=True)

    memorised = traitlets.Unicode().tag(sync=True)
    reference = traitlets.Unicode().tag(sync=True)
    place = traitlets.Enum(tuple(PLACES), next(iter(PLACES))).tag(sync=True)
    method = traitlets.Enum(tuple(METHODS), "published").tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    sparsity = traitlets.Float(0.08).tag(sync=True)
    first = traitlets.Int(4).tag(sync=True)
    updates = traitlets.Int(50).tag(sync=True)
    start = traitlets.Enum(tuple(STARTS), "caption").tag(sync=True)
    step = traitlets.Int(0).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    prompts = traitlets.Dict().tag(sync=True, echo_update=False)
    doubts = traitlets.Dict().tag(sync=True)

    _begins = "Reading the unedited model …"
    _busy = "pictures are being drawn"
    _own = "“before” is the model's own"
    _asked_traits = _fields = ("memorised", "reference", *MOVES, "updates", "start", "step", "seed")
    _typed = ("memorised", "place", "sparsity")
    _answer_traits = ("limit", "before", "after", "random", "attacked", "scores", "edit", "status", "progress")

    def _waits(self) -> bool:
        return self._planted and self._asked == 0 and self.status == "idle"

    def _weights(self) -> str:
        with contextlib.suppress(Exception):  # a pipeline that cannot be hashed is not compared
            return self._digest()
        return ""

    def _can_ask(self, fields: Mapping[str, Any]) -> bool:
        return fields["memorised"] in self._memorised and super()._can_ask(fields)

    @door(ViewError)
    def __init__(
        self,
        pipeline: Pipeline | str = "organism:cards",
        memorised: Any = None,
        reference: Any = None,
        *,
        never: Any = None,
        threshold: Real | None = None,
        rate: Share = 0.05,
        place: str = "feed-forward",
        method: str = "published",
        sparsity: Share = 0.08,
        first: Count = 4,
        seeds: Sequence[int] = (10,),
        steps: Count = 20,
        guidance: Positive = 3.0,
        statistic_seeds: Sequence[int] = (0, 1),
        margin: Positive = 1.0,
        pool: Any = None,
        batch: Count | None = None,
        control: Seed = 0,
        folder: Any = None,
        level: Share = 0.95,
    ) -> None:
        if not 0 < level < 1 or not 0 < rate < 1:
            raise ViewError(f"level={level!r}, rate={rate!r}; expected both between 0 and 1, such as 0.95 and 0.05")
        if method not in METHODS:
            raise ViewError(f"method: {method!r} is not one of {', '.join(METHODS)}")
        self.pipeline = p = diffusion.load(pipeline) if isinstance(pipeline, str) else pipeline
        self._named = pipeline if isinstance(pipeline, str) else None
        layers_at(p, place)
        self.level = level
        sampling = Sampling(
            tuple(map(int, seeds)), int(steps), float(guidance), batch or (BATCH if p.image_shape[1] <= 64 else 8)
        )
        self._memorised, self._references, own = sets_of(p, memorised, reference, never)
        measure = measure_of(
            [*self._memorised.values(), *([own] if own else [])],
            None if pool is None else p.pictures(pool, "pool").float().cpu(),
        )
        self._work = Work(
            p,
            sampling,
            measure,
            never=own,
            threshold=threshold,
            rate=rate,
            statistic_seeds=tuple(map(int, statistic_seeds)),
            margin=margin,
            control=int(control),
            folder=folder_for(self, folder, "diffusion"),
            tell=self._tell,
            show=self._watch,
        )
        there, frames = self._work.steps, sampling.frames(p)
        where = where_of(p)

        def sized(sets, what):
            return [[name, f"{name} ({len(one)} {what}{'' if len(one) == 1 else 's'})"] for name, one in sets.items()]

        super().__init__(
            model_info={
                "name": p.name,
                "text": where[place]["text"],
                "places": where,
                "layers": len(p.layers),
                "level": level,
                "steps": there,
                "frames": list(frames),
                "seeds": list(sampling.seeds),
                "guidance": float(guidance),
                "side": p.image_shape[2],
                "measure": measure.name,
                "about": measure.label,
                "copies": measure.copies,
            },
            names={
                "memorised": sized(self._memorised, "caption"),
                "reference": sized(self._references, "caption") or [["", "none: Wanda alone"]],
            },
            places=[[name, PLACES[name].label] for name in where],
            sparsities=list(SPARSITIES),
            memorised=next(iter(self._memorised)),
            reference=next(iter(self._references), ""),
            place=place,
            method=method if self._references else "wanda",
            chosen=list(range(len(next(iter(self._memorised.values()))))),
            sparsity=float(sparsity),
            first=min(int(first), there),
            step=len(frames) - 1,
        )
        self.observe(self._on_set, ["memorised"])
        self.observe(self._on_choice, ["reference"])
        self.observe(self._on_place, ["place"])
        self.observe(self._on_move, list(MOVES))
        self.observe(lambda _: self._moved(), ["updates", "start", "step", "seed"])
        self._planted = memorised is None
        self._offer(examples(list(self._memorised), list(where)) if self._planted else ())
        self._worker.quick("prompts", self._publish_prompts)
        self._on_choice(None)

    # --- what Python users call

    @property
    def score_map(self) -> xr.Dataset | None:
        """How far each layer tells the two sets apart at each step (`lens.diffusion.score_map`); None before the first
        run, or without a reference.
        """
        return self._shown.map if self._shown is not None else None

    def mask(self) -> subspace.Mask:
        """The edit shown. Raises ViewError where there is none."""
        if self._shown is None or self._shown.edit is None:
            raise ViewError("mask: no edit is there yet; press “Locate and draw” first")
        return self._shown.edit.mask

    @door(ViewError)
    def attack(self, wait: bool = False) -> None:
        """Optimise embeddings towards the training pictures in the edited model, and draw what they give; the same for
        never-trained pictures.
        """
        self.run(wait, attack=True)

    @door(ViewError)
    def run(self, wait: bool = False, *, attack: bool = False) -> None:
        """Runs the question in the background; `wait` until it is done, `attack` the cut model too."""
        self._attacks = attack
        super().run(wait)

    _attacks = False

    # --- the question

    def _question(self) -> Drawing:
        with self._guard:
            q = Question(
                self.memorised,
                self.reference,
                self.place,
                self.method,
                tuple(sorted(set(self.chosen))),
                self.sparsity,
                self.first,
            )
            attack = (self.updates, self.start) if self._attacks else None
        self._attacks = False
        self._refuse()
        layers_at(self.pipeline, q.place)
        of = checked(q, attack, self._memorised, self._references, self.model_info["steps"])
        self._asked += 1
        return Drawing(q, of, self._references.get(q.reference), attack, self._asked)

    # --- the answer

    def _compute(
        self, run: Drawing, stop: Callable[[], bool], on_part: Callable[[xr.Dataset | None], None]
    ) -> xr.Dataset | None:
        self._refuse(meanwhile=True)
        self._work.fill(run, stop, lambda: on_part(self._joined(run)))
        return self._joined(run)

    def _joined(self, run: Drawing) -> xr.Dataset | None:
        if not (states := run.states()):
            return None
        w = self._work
        known = (
            None if w.bound is None else str(w.bound) if w.given is None else f"{w.measure.copies} {w.given:g}, given"
        )
        call = (
            run.question.fields()
            | w.sampling.options()
            | {
                "statistic_seeds": w.statistic_seeds,
                "margin": w.margin,
                "measure": w.measure.name,
                "copy": known,
                "attack": run.attack or (),
            }
        )
        ds = copy.dataset(run, states, w.bound, w.sampling.seeds)
        return stamp(ds, self.pipeline, "diffusion bench", call, w.control, "complete" if run.complete() else "partial")

    # --- what a saved state keeps

    def _pack(self, run: Drawing) -> dict[str, Any]:
        return saved.pack(run, self._work.bound)

    def _unpack(self, packed: dict[str, Any]) -> Drawing:
        question = saved.question_of(packed)
        of = self._memorised.get(question.memorised)
        if of is None or list(of.captions) != packed["captions"]:
            raise ViewError(
                f"memorised: {question.memorised!r} is not given, or with other captions than the state's; give the"
                " sets that the view was made with, or any_weights=True to take the question without the answers"
            )
        self._asked += 1
        control, reference = self._work.control, self._references.get(question.reference)
        run, bound = saved.unpack(packed, of, reference, control, self._asked)
        self._work.bound = self._work.bound or bound
        return run

    # --- before and beside a run

    def _on_set(self, change: Any) -> None:
        self.publish(chosen=list(range(len(self._memorised.get(change["new"], ())))))
        self._worker.quick("prompts", self._publish_prompts)
        self._on_choice(change)

    def _on_choice(self, _change: Any) -> None:
        self._worker.quick("doubts", self._check)
        self._on_move(None)

    def _on_place(self, change: Any) -> None:
        """The heading names the layers of the place."""
        if change["new"] in (where := self.model_info["places"]):
            self.publish(model_info=self.model_info | {"text": where[change["new"]]["text"]})

    def _on_move(self, _change: Any) -> None:
        """Another edit of sets whose statistics are there is made at once."""
        if self._work.ready(self.memorised, self.reference, self.place):
            self.run()
        self._moved()

    def _check(self) -> None:
        with self._guard:
            names = {"memorised": self.memorised, "reference": self.reference}
        refused = overlap(self.memorised, self.reference, self._memorised, self._references)
        self.publish(doubts=names | {"refused": refused})

    def _publish_prompts(self) -> None:
        with self._guard:
            name = self.memorised
        if name in self._memorised:
            of = self._memorised[name]
            files = [b""] * len(of) if of.images is None else encoded(of.images)
            self.publish(prompts={"memorised": name, "captions": list(of.captions), **packed(files)})

    # --- an edit in force

    def _edit_shown(self) -> tuple[subspace.Mask, str]:
        return self.mask(), self._shown.question.text()

    def _apply(self, edit: subspace.Mask) -> Callable[[], None]:
        return edit.apply(self.pipeline.unet).undo

    def _digest(self) -> str:
        return self.pipeline.hash

    def _undone(self) -> None:
        if self.error:
            self.publish(error={}, status="idle")
        self._on_move(None)

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {"attack": lambda _: self.attack()}

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        run = self._shown
        self.publish(code="" if run is None or run.edit is None else code.program(run, self._work, self._named))

    def _static(self) -> str:
        return copy.static(self._shown, self._work, self.model_info, self.level, self.seed, EMPTY)

    def close(self) -> None:
        """End what runs, undo what is in force, and leave."""
        with contextlib.suppress(AttributeError):  # a bench whose making was refused
            self._stopped.set()
        super().close()
