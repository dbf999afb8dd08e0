"""The work behind DiffusionBench: each stage makes what is missing, keeps it, and can be stopped between two steps of
the model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import xarray as xr

from lens import diffusion, subspace
from lens.diffusion import DiffusionError, Pipeline
from lens.diffusion.sampling import timesteps
from lens.engine.stopping import Stopped
from widgets.diffusion_bench.captions import Captions, Measure, some
from widgets.diffusion_bench.question import PLACES, Drawing, Edit, Pictures, Question, Sampling, draw

KEPT = 24  # edits whose pictures are kept
SETS = 8  # sets whose statistics are kept in memory, counted at each place; those of all are in the folder


class Masks:
    """Masks by step, kept for the last settings: moving the slider of first steps only unites them anew."""

    def __init__(self, most: int = 6):
        self._kept: dict[tuple, list[subspace.Mask]] = {}
        self._most = most

    def clear(self) -> None:
        self._kept.clear()

    def united(
        self,
        pipeline: Pipeline,
        question: Question,
        memorised: Any,
        reference: Any,
        margin: float,
        stop: Callable[[], bool],
    ) -> subspace.Mask:
        """The mask that `lens.diffusion.locate` gives. Raises Stopped, DiffusionError, SubspaceError."""
        key = (
            question.memorised,
            question.reference,
            question.place,
            question.method,
            question.chosen,
            question.sparsity,
        )
        there = self._kept.pop(key, [])
        self._kept[key] = there
        while len(self._kept) > self._most:
            self._kept.pop(next(iter(self._kept)))
        options = {"margin": margin} if question.method == "corrected" else {}
        while len(there) < question.first:
            if stop():
                raise Stopped("locating was stopped")
            scored = diffusion.scores(
                pipeline,
                memorised,
                reference if question.method != "wanda" else None,
                len(there),
                variant=question.method,
                **options,
            )
            there.append(scored.mask(question.sparsity))
        mask = diffusion.union(there, question.first)
        if not mask.count:
            raise DiffusionError(
                f"sparsity={question.sparsity:g}, first={question.first}: no weight passes the contrast; raise them,"
                " choose more captions, or take another method."
            )
        return mask


class Work:
    """Everything that is asked of the pipeline. `tell(run, now)` says how far a stage is, `show(run, state, pictures)`
    shows pictures while they come.

    What is kept is of one state of the weights: with others it is made anew.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        sampling: Sampling,
        measure: Measure,
        *,
        never: Captions | None,
        threshold: float | None,
        rate: float,
        statistic_seeds: tuple[int, ...],
        margin: float,
        control: int,
        folder: Any,
        tell: Callable[[Drawing, bool], None],
        show: Callable[[Drawing, str, Pictures], None],
    ) -> None:
        self.pipeline, self.sampling, self.measure, self.never, self.given, self.rate = (
            pipeline,
            sampling,
            measure,
            never,
            threshold,
            rate,
        )
        self.statistic_seeds, self.margin, self.control, self.folder, self.tell, self.show = (
            statistic_seeds,
            margin,
            control,
            folder,
            tell,
            show,
        )
        self.steps = len(timesteps(pipeline, sampling.steps))
        self.bound = (
            None
            if threshold is None
            else diffusion.Threshold(float(threshold), np.nan, np.nan, 0, 0, 0, measure.copies)
        )
        self.before: dict[str, Pictures] = {}
        self.statistics: dict[tuple[str, str], Any] = {}
        self.maps: dict[tuple, xr.Dataset] = {}
        self.edits: dict[Question, Edit] = {}
        self.masks, self._hash = Masks(), ""

    def fill(self, run: Drawing, stop: Callable[[], bool], part: Callable[[], None]) -> None:
        """Make what the run lacks; ends early where `stop` says so. Raises DiffusionError, SubspaceError."""
        digest = self.pipeline.hash
        if digest != self._hash:
            for kept in (self.before, self.statistics, self.maps, self.edits, self.masks):
                kept.clear()
            self._hash, self.bound = digest, self.bound if self.given is not None else None
        q = run.question
        with contextlib.suppress(Stopped):
            if q.memorised not in self.before:
                self.before[q.memorised] = self._drawn(
                    run, "before", f"Drawing {len(run.of)} captions with the model’s own weights …", stop
                )
            run.before = self.before[q.memorised]
            self._bounded(run, stop)
            part()
            mem = self._measured(run, q.memorised, run.of, stop).take(q.chosen)
            ref = None if run.reference is None else self._measured(run, q.reference, run.reference, stop)
            if ref is not None:
                key = (q.memorised, q.reference, q.place, q.chosen)
                if key not in self.maps:
                    self.maps = dict([*self.maps.items()][-KEPT:]) | {key: diffusion.score_map(self.pipeline, mem, ref)}
                run.map = self.maps[key]
            self._edited(run, mem, ref, stop, part)
            if run.attack is not None and not run.answer.complete(run.attack):
                self._attacked(run, run.attack, stop)
        run.hashes = (digest, self.pipeline.hash)

    def ready(self, memorised: str, reference: str, place: str) -> bool:
        """Whether any edit of these sets at this place costs no statistics."""
        return (
            memorised in self.before
            and (place, memorised) in self.statistics
            and (not reference or (place, reference) in self.statistics)
        )

    def _counted(self, run: Drawing, stage: str, total: int, stop: Callable[[], bool]) -> Callable[[], bool]:
        """A `stop` that says how far a stage is: it is asked before each step."""
        run.stage, run.done, run.total = stage, 0, max(1, total)
        self.tell(run, True)

        def asked() -> bool:
            if stop():
                return True
            self.tell(run, False)
            run.done = min(run.done + 1, run.total)
            return False

        return asked

    def _drawn(
        self,
        run: Drawing,
        state: str,
        stage: str,
        stop: Callable[[], bool],
        of: Captions | None = None,
        embeddings: Any = None,
    ) -> Pictures:
        """Pictures with the weights as they are now; `state` "": not shown."""
        of = of or run.of
        batches = -(-len(of) * len(self.sampling.seeds) // self.sampling.batch)
        return draw(
            self.pipeline,
            self.sampling,
            of,
            self.measure,
            embeddings=embeddings,
            stop=self._counted(run, stage, batches * self.steps, stop),
            on_frame=lambda pictures: self.show(run, state, pictures) if state else None,
        )

    def _bounded(self, run: Drawing, stop: Callable[[], bool]) -> None:
        """What counts as a copy, from never-trained captions."""
        if self.bound is None and self.never is not None and self.never.images is not None and self.measure.name:
            pictures = self._drawn(
                run,
                "",
                f"Drawing {len(self.never)} never-trained captions, to see what counts as a copy …",
                stop,
                self.never,
            )
            self.bound = diffusion.threshold(pictures.last, self.rate, self.measure.copies)

    def _measured(self, run: Drawing, name: str, of: Captions, stop: Callable[[], bool]) -> Any:
        """Statistics of a set at the place asked for: of each caption once, found again in the folder, where a place
        has files of its own.
        """
        place = run.question.place
        if (place, name) not in self.statistics:
            per = max(1, self.sampling.batch // len(self.statistic_seeds))
            asked = self._counted(
                run,
                f"Statistics of {len(of)} captions of “{name}”, once for all edits of the {PLACES[place].noun}s …",
                -(-len(of) // per) * self.steps,
                stop,
            )
            sums = diffusion.statistics(
                self.pipeline,
                of.captions,
                layers=PLACES[place].layers,
                seeds=self.statistic_seeds,
                steps=self.sampling.steps,
                guidance=self.sampling.guidance,
                batch=self.sampling.batch,
                folder=self.folder,
                progress=False,
                stop=asked,
            )
            self.statistics = dict([*self.statistics.items()][1 - SETS :]) | {(place, name): sums}
        return self.statistics[place, name]

    def _edited(self, run: Drawing, mem: Any, ref: Any, stop: Callable[[], bool], part: Callable[[], None]) -> None:
        q = run.question
        edit = self.edits.pop(q, None)
        if edit is None:
            mask = self.masks.united(
                self.pipeline, q, mem, ref, self.margin, self._counted(run, "Scoring the weights …", q.first, stop)
            )
            edit = Edit(q, mask, subspace.random_like(mask, self.control))
        self.edits[q] = run.edit = edit
        while len(self.edits) > KEPT:
            self.edits.pop(next(iter(self.edits)))
        for state, mask, words in (
            ("after", edit.mask, "with the edit"),
            ("random", edit.control, "with the random control"),
        ):
            if getattr(edit, state) is None:
                with mask.applied(self.pipeline.unet):
                    setattr(
                        edit,
                        state,
                        self._drawn(run, state, f"Drawing {len(run.of)} captions {words} ({q.text()}) …", stop),
                    )
            part()

    def _attacked(self, run: Drawing, attack: tuple[int, str], stop: Callable[[], bool]) -> None:
        """The embeddings of never-trained pictures are optimised beside the others, with the same budget."""
        (updates, start), of, edit = attack, run.of, run.answer
        few = some(self.never, len(of)) if self.never is not None and self.never.images is not None else None
        images, captions = (
            (of.pictures, of.captions)
            if few is None
            else (torch.cat([of.pictures, few.pictures]), (*of.captions, *few.captions))
        )
        with edit.mask.applied(self.pipeline.unet):
            per = max(1, self.sampling.batch // 8)
            asked = self._counted(
                run,
                f"Optimising {len(images)} embeddings in the edited model, {updates} updates …",
                -(-len(images) // per) * updates,
                stop,
            )
            found = diffusion.optimise_embeddings(
                self.pipeline,
                images,
                start=list(captions) if start == "caption" else start,
                steps=updates,
                seed=self.control,
                rows=self.sampling.batch,
                progress=False,
                stop=asked,
            )
            drawn = self._drawn(
                run, "attacked", "Drawing from the optimised embeddings …", stop, embeddings=found.final[: len(of)]
            )
            control = (
                None
                if few is None
                else self._drawn(
                    run, "", "The same for never-trained pictures …", stop, few, found.final[len(of) :]
                ).last
            )
        edit.attacked, edit.never, edit.attack = drawn, control, attack
