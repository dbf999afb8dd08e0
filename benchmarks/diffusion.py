"""Memorised pictures: what statistics of the feed-forward blocks cost beside the denoising that they ride on, and what
the masks of a further set of captions cost.

The model is the organism `cards` at its full size. Plain and hooked denoising go through one loop, in turn, on the same
captions and seeds; sums and pictures are compared with a loop over one caption and one seed at a time.
"""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens import diffusion
from lens.diffusion.activations import watching
from lens.models.shipped import PICTURES, folders
from lens.organisms import cards

from . import frame, machine
from ._diffusion_peer import OneAtATime, counted
from .frame import worst
from .tables import median, number, say, spread, table

#: Largest difference from the loop over single pictures: of sums as a share of the largest of their tensor, of pictures
#: on their scale from -1 to 1.
TOLERANCE = 2e-3
GUIDANCE = 3.0
TARGETS = {"hooked_over_plain": 1.2}


@dataclass(frozen=True)
class Subject:
    """A pipeline, the captions that are denoised (memorised, then others), the seeds and steps; how many captions the
    loop over single pictures has.
    """

    pipeline: diffusion.Pipeline
    weights: str
    memorised: list[str]
    others: list[str]
    seeds: tuple[int, ...]
    steps: int
    single: int
    sparsity: float

    @property
    def captions(self) -> list[str]:
        return self.memorised + self.others

    @property
    def options(self) -> dict[str, Any]:
        return {"seeds": self.seeds, "steps": self.steps, "guidance": GUIDANCE, "progress": False}


def subject(quick: bool) -> Subject:
    """The organism `cards` (with random weights where it does not ship), 12 planted captions and 12 that were never
    trained; quick: a small random one.
    """
    recipe = cards.Recipe.small() if quick else cards.Recipe()
    corpus = cards.Corpus(recipe)
    if not quick and recipe.name in folders(PICTURES):
        pipeline, weights = diffusion.load(f"organism:{recipe.name}", device="cpu"), "shipped"
    else:
        model = cards.build(recipe).requires_grad_(False)
        pipeline, weights = (
            diffusion.of_parts("cards", model, cards.tokenizer_of(corpus.vocabulary), cards.scheduler(), cards.PATCH),
            "random",
        )
    few = 3 if quick else 12
    memorised, others = (list(corpus.pairs.of(cell).captions[:few]) for cell in ("code-many", "code-never"))
    return Subject(
        pipeline,
        weights,
        memorised,
        others,
        (0, 1) if quick else (0, 1, 2, 3),
        3 if quick else 25,
        1,
        0.02 if quick else 0.01,
    )


@dataclass
class Timings:
    """Seconds, one a round, of all captions and seeds; of `single`, of its own; of `set`, one a set."""

    plain: list[float] = field(default_factory=list)
    hooked: list[float] = field(default_factory=list)
    single: list[float] = field(default_factory=list)
    set: list[float] = field(default_factory=list)


class Benchmark(frame.Frame):
    """Denoising without hooks and with, and what the sums are reused for."""

    name = "cards"

    def __init__(self, subject: Subject, repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        self.times = Timings()
        self.peer = OneAtATime(subject.pipeline)
        self.gaps: dict[str, float] = {}
        self.same: dict[str, bool] = {}
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, int] = {}

    @property
    def gap(self) -> float:
        return max([*self.gaps.values(), *(0.0 if yes else math.inf for yes in self.same.values())])

    def plain(self) -> diffusion.Samples:
        """Ours, without hooks; nothing is decoded, as in the hooked run."""
        return diffusion.denoise(self.subject.pipeline, self.subject.captions, decode=False, **self.subject.options)

    def hooked(self) -> diffusion.StepStatistics:
        """Ours, as a user calls it."""
        return diffusion.statistics(self.subject.pipeline, self.subject.captions, **self.subject.options)

    def measure(self) -> None:
        """The numbers first, which are also the first calls of everything, then rounds, then what the sums are reused
        for.
        """
        before = self.subject.pipeline.hash
        self.check()
        for round_ in range(self.repeats):
            say(
                f"round {round_ + 1} of {self.repeats}: {len(self.subject.captions)} captions,"
                f" {len(self.subject.seeds)} seeds, {self.subject.steps} steps, without hooks and with"
            )
            self.beat()
            pair = ["plain", "hooked"] if round_ % 2 == 0 else ["hooked", "plain"]
            for name in pair:
                self.turn(name)
            self.times.single.append(
                machine.timed(
                    lambda: self.peer.run(
                        self.subject.captions[: self.subject.single],
                        self.subject.seeds[:1],
                        self.subject.steps,
                        GUIDANCE,
                    )
                )[0]
            )
        self.beat()
        self.reuse()
        self.beat()
        self.same["weights_restored"] = self.subject.pipeline.hash == before

    def turn(self, name: str) -> None:
        """One run, plain or hooked."""
        seconds, result = self.peaked(name, getattr(self, name))
        getattr(self.times, name).append(seconds)
        if name == "hooked":
            self.sums = result

    # -- the numbers ------------------------------------------------------------------------------------------------

    def note(self, what: str, value: Tensor, exact: Tensor, scale: float) -> None:
        """The largest difference, as a share of `scale`."""
        gap = float((value.double() - exact.double()).abs().max()) / scale
        self.gaps[what] = worst(self.gaps.get(what, 0.0), gap)

    def check(self) -> None:
        """Pictures with hooks and without are one; and pictures and sums are those of single ones."""
        s = self.subject
        say("numbers against single pictures")
        few = [*s.memorised[: s.single], *s.others[: s.single]]
        plain = diffusion.denoise(s.pipeline, few, **s.options)
        sums, watch = watching(s.pipeline, len(few))
        watched = diffusion.denoise(s.pipeline, few, watch=watch, **s.options)
        self.same["pictures_equal"] = torch.equal(plain.images, watched.images) and torch.equal(
            plain.difference, watched.difference
        )
        pictures, expected = self.peer.run(few, s.seeds, s.steps, GUIDANCE)
        self.note("pictures", plain.images, pictures, 1.0)
        found = diffusion.statistics(s.pipeline, few, **s.options)
        self.same["sums_equal"] = all(
            torch.equal(found.sums[name], torch.stack(parts, 1)) for name, parts in sums.parts.items()
        )
        for line, what in enumerate(("energy", "unit_energy")):
            for name, value in expected.items():
                self.note(
                    what, found.sums[name][:, :, :, line], value[:, :, :, line], float(value[:, :, :, line].max())
                )
        self.checked = {"captions": len(few), "pictures": len(few) * len(s.seeds), "layers": len(expected)}
        self.same["no_hook_left"] = not any(
            module._forward_pre_hooks or module._forward_hooks for module in s.pipeline.unet.modules()
        )

    # -- what the sums are good for ---------------------------------------------------------------------------------

    def reuse(self) -> None:
        """Masks of sets that nobody asked for when the model ran, and sums from disk. Raises RuntimeError where the
        U-Net ran.
        """
        s, half = self.subject, len(self.subject.memorised)
        sets = 3 if self.quick else 8
        say(f"masks of {sets} sets of captions from the sums")
        rng = np.random.default_rng(0)
        with counted(s.pipeline.unet) as rows:
            for _ in range(sets):
                mem, ref = (
                    rng.permutation(half)[: max(2, half // 2)],
                    half + rng.permutation(len(s.others))[: max(2, half // 2)],
                )
                seconds, self.mask = machine.timed(
                    lambda: diffusion.locate(
                        s.pipeline,
                        self.sums.take(mem),
                        self.sums.take(ref),
                        sparsity=s.sparsity,
                        first=10,
                        variant="published",
                    )
                )
                self.times.set.append(seconds)
            self.runs["sets"] = len(rows)
            with self.mask.applied(s.pipeline.unet):
                pass
        # counted where it asks whether to stop, before each run: a hook would be part of what the sums are of
        with tempfile.TemporaryDirectory() as folder:
            asked = iter(range(10**9))

            def count():
                return next(asked) < 0

            stored = diffusion.statistics(s.pipeline, s.captions, folder=folder, stop=count, **s.options)
            self.runs["stored"] = next(asked)
            self.seconds["from_disk"], again = machine.timed(
                lambda: diffusion.statistics(s.pipeline, s.captions, folder=folder, stop=count, **s.options)
            )
            self.runs["from_disk"] = next(asked) - self.runs["stored"] - 1
            self.disk_mb = sum(path.stat().st_size for path in Path(folder).iterdir()) / 2**20
        self.same["sums_from_disk"] = all(torch.equal(value, stored.sums[name]) for name, value in again.sums.items())
        if self.runs["sets"] or self.runs["from_disk"]:
            raise RuntimeError(
                f"the U-Net ran {self.runs['sets']} times for masks of sums that were there, and"
                f" {self.runs['from_disk']} times for sums on disk: they are not reused"
            )

    # -- what comes out ---------------------------------------------------------------------------------------------

    def report(self) -> dict:
        """The JSON line: headline numbers first, then details."""
        s, t = self.subject, self.times
        pictures = len(s.captions) * len(s.seeds)
        single = median(t.single) / s.single
        return {
            "hooked_over_plain": median([a / b for a, b in zip(t.hooked, t.plain, strict=True)]),
            "images_per_second": pictures / median(t.hooked),
            "peak_extra_mb": self.peaks["hooked"],
            "any_set_seconds": median(t.set),
            "max_abs_diff": self.gap,
            "ratio_peer": single / (median(t.hooked) / pictures),
            "images_per_second_plain": pictures / median(t.plain),
            "memory_mb": {
                **self.peaks,
                "sums": sum(value.nbytes for value in self.sums.sums.values()) / 2**20,
                "sums_on_disk": self.disk_mb,
            },
            "gaps": self.gaps,
            "same": self.same,
            "seconds": {"plain": median(t.plain), "hooked": median(t.hooked), "single_picture": single} | self.seconds,
            "runs": self.runs,
            "data": {
                "captions": len(s.captions),
                "seeds": len(s.seeds),
                "steps": s.steps,
                "guidance": GUIDANCE,
                "layers": len(self.sums.layers),
                "weights": s.weights,
                "parameters": sum(p.numel() for p in s.pipeline.unet.parameters()),
                "mask": {"sparsity": s.sparsity, "chosen": self.mask.count},
                "checked": self.checked,
            },
            "gflops_gemm": median(self.gemm),
        }


def show(bench: Benchmark, report: dict) -> str:
    """The readable tables."""
    t, d, s, m = bench.times, report["data"], report["seconds"], report["memory_mb"]
    pictures = d["captions"] * d["seeds"]

    def line(what, name):
        return (
            what,
            "",
            number(s[name]),
            spread(getattr(t, name)),
            number(pictures / s[name]),
            number(m[name]),
        )

    costs = [
        (
            f"{d['captions']} captions, {d['seeds']} seeds, {d['steps']} steps",
            "",
            "seconds",
            "min-max",
            "pictures/s",
            "adds MiB",
        ),
        line("denoising", "plain"),
        line(f"denoising with statistics of {d['layers']} layers", "hooked"),
        (
            "the same, one picture at a time",
            "",
            number(s["single_picture"] * pictures),
            "",
            number(1 / s["single_picture"]),
            "",
        ),
    ]
    gaps = ", ".join(f"{name.replace('_', ' ')} {gap:.1e}" for name, gap in report["gaps"].items())
    return "\n".join(
        [
            (
                f"diffusion, organism cards ({d['weights']} weights, {d['parameters']} parameters), float32,"
                f" {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
            ),
            "",
            table(costs),
            "",
            (
                f"with statistics over without: {number(report['hooked_over_plain'])} (median of {bench.repeats}"
                f" rounds; target: at most {TARGETS['hooked_over_plain']}); one picture at a time over ours:"
                f" {number(report['ratio_peer'])}"
            ),
            (
                f"masks of a further set of captions, {bench.subject.steps if bench.subject.steps < 10 else 10} steps"
                f" united: {number(report['any_set_seconds'])} s ({spread(t.set)}), {bench.runs['sets']} runs of the"
                f" U-Net; sums of all captions from disk: {number(s['from_disk'])} s, {number(m['sums_on_disk'])} MiB."
            ),
            "",
            f"matrix products: {report['gflops_gemm']:.3g} GFLOP/s, min-max {spread(bench.gemm)}",
            f"from single pictures ({d['checked']['pictures']} of them): {gaps}",
            ", ".join(f"{what.replace('_', ' ')}: {'yes' if yes else 'NO'}" for what, yes in report["same"].items()),
        ]
    )


def run(*, quick: bool, repeats: int, file: Path | None) -> int:
    """Measures, prints the tables and, last, one JSON line; returns 1 where numbers differ, else 0."""
    return frame.run(
        lambda: Benchmark(subject(quick), repeats, quick),
        show,
        tolerance=TOLERANCE,
        what="pictures, sums or weights",
        file=file,
    )
