"""The memory subspace: what statistics and K-FAC factors cost beside the passes that they ride on, and what a further
point of a trade-off sweep costs.

Everything is over all MLP matrices of one model and the same rows of real text. Plain passes all cost the same, so a
share of the batches stands for all; half of it is timed before and half after ours, so that a drift of the machine's
speed meets both alike. The numbers are compared with explicit sums.
"""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

import lens
from lens import curvature, subspace
from lens.data.texts import TEXTS
from lens.injection import load_items
from lens.scoring.likelihood import plain

from . import frame, machine
from ._subspace_peer import PlainPasses, counted
from .frame import worst
from .subjects import Model, embedded, random_model
from .tables import median, number, say, spread, table

#: Largest difference from an explicit sum, as a share of the largest number of its tensor.
TOLERANCE = 1e-4
SEED = 0
#: Rows of a batch: of the statistics, what they take by themselves; of the plain passes beside the factors.
BATCH, FACTOR_BATCH = 16, 8
#: Plain passes are timed on one batch in so many: those of the headlines, and the others.
SHARE, RARE = 2, 4
TARGETS = {"scores_over_forward": 1.5, "kfac_over_backward": 1.6}
#: The points of the two sweeps, and the mask that is also written to disk. A row of 48 weights, as in the quick run,
#: has no share of 0.2 %.
SPARSITIES, STORED, QUICK_TIMES = (0.0025, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.02, 0.03, 0.05, 0.08), 0.01, 10
RHOS = tuple(float(r) for r in np.linspace(0.95, 0.5, 10))


@dataclass(frozen=True)
class Subject:
    """A model, the rows of text that are counted, others that a mask is contrasted with, and the blocks whose factors
    are decomposed.

    The last token of a row is a label only, so that statistics and factors are over the same tokens.
    """

    model: Model
    rows: Tensor
    others: Tensor
    blocks: tuple[int, ...]

    @property
    def inputs(self) -> Tensor:
        return self.rows[:, :-1]


def texts() -> list[str]:
    """The English text that ships with the package: short texts, facts, two-hop questions and their answers, mixed."""
    pairs = [p.clean + p.answer + "." for name in ("facts", "ioi") for p in lens.load_pairs(name)]
    items = [prompt + item.answer + "." for item in load_items("own") for prompt in (item.prompt, item.explicit)]
    every = list(dict.fromkeys([*TEXTS, *pairs, *items]))
    return [every[i] for i in np.random.default_rng(SEED).permutation(len(every))]


def rows_of(tokenizer: Any, some: Sequence[str], n: int, length: int) -> Tensor:
    """Texts one after the other, an end token between two, cut into rows [n, length]. Raises ValueError where they are
    too short.
    """
    ids = [
        i
        for one in tokenizer(list(some), add_special_tokens=False)["input_ids"]
        for i in (*one, tokenizer.eos_token_id)
    ]
    if len(ids) < n * length:
        raise ValueError(f"the texts have {len(ids)} tokens with this tokenizer; the benchmark needs {n * length}")
    return torch.tensor(ids[: n * length]).view(n, length)


def real() -> Subject:
    """SmolLM2, 160 rows of 128 tokens and a label. Raises LoadError where the model was never fetched."""
    model = embedded()
    rows = rows_of(model.tokenizer, texts(), 176, 129)
    return Subject(model, rows[16:], rows[:16], (27, 28, 29))


def tiny() -> Subject:
    """A random model of four layers, 40 rows of 16 tokens and a label."""
    some = texts()[:200]
    model = random_model(some)
    rows = rows_of(model.tokenizer, some, 48, 17)
    return Subject(model, rows[8:], rows[:8], (2, 3))


@dataclass
class Timings:
    """Seconds for all rows, one a round; of a point of a sweep, one a point."""

    forward: list[float] = field(default_factory=list)
    body: list[float] = field(default_factory=list)
    statistics: list[float] = field(default_factory=list)
    backward: list[float] = field(default_factory=list)
    activations: list[float] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    mask: list[float] = field(default_factory=list)
    curvature: list[float] = field(default_factory=list)


class Benchmark(frame.Frame):
    """Statistics, factors and sweeps of one subject."""

    def __init__(self, subject: Subject, repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        self.times = Timings()
        self.core, self.peer = plain(subject.model.bridge), PlainPasses(subject.model.copy())
        self.gap, self.gaps, self.same = 0.0, {}, {}
        self.seconds: dict[str, float] = {}
        self.runs: dict[str, int] = {}
        self.evaluations = 0

    def measure(self) -> None:
        """The numbers first, then rounds of what costs minutes, then the sweeps over what these made."""
        self.check()
        for number_ in range(self.repeats):
            say(
                f"round {number_ + 1} of {self.repeats}: statistics of all MLP matrices, then factors, over"
                f" {self.subject.inputs.numel()} tokens"
            )
            self.beat()
            self.scores()
            self.beat()
            self.kfac()
        self.beat()
        with tempfile.TemporaryDirectory() as folder:
            self.eigen(folder)
            self.masks(folder)
        self.curve()
        self.beat()
        own = dict(self.peer.hf.named_parameters())
        self.note("weights_restored", all(torch.equal(p, own[n]) for n, p in self.core.named_parameters()))

    # -- the numbers ------------------------------------------------------------------------------------------------

    def note(self, what: str, value: Tensor | bool, exact: Tensor | None = None) -> None:
        """How far a tensor is from the exact one, as a share of its largest number; or whether two things that must be
        equal are.
        """
        if exact is None:
            self.same[what] = bool(value)
            gap = 0.0 if value else math.inf
        else:
            gap = float((value.double() - exact).abs().max() / exact.abs().max())
            gap = self.gaps[what] = worst(self.gaps.get(what, 0.0), gap)
        self.gap = max(self.gap, gap)

    def check(self) -> None:
        """Statistics and factors of a few rows, streamed in two batches, against explicit sums; the first calls of
        everything.
        """
        s, few = self.subject, self.subject.rows[:4]
        say("numbers against explicit sums")
        stats, made = self.statistics(few[:, :-1], 2), self.factors(few, 2, "empirical")
        last = self.core.config.num_hidden_layers - 1
        names = [n for n in stats.names if int(n.split(".")[2]) in (0, last // 2, last)]
        for name, (x, g) in self.peer.seen(few, names).items():
            self.note("energy", stats.mean(name), x.square().mean(0))
            self.note("unit_energy", stats.mean(name, "unit"), (x.square() / x.square().sum(1, keepdim=True)).mean(0))
            self.note("a", made.a[name], x.T @ x / len(x))
            self.note("g", made.g[name], g.T @ g / len(g))
        self.checked = {"rows": len(few), "matrices": len(names)}
        self.peer.forward(s.inputs[:BATCH]), self.peer.body(s.inputs[:BATCH])
        self.peer.backward(s.rows[:FACTOR_BATCH]), self.peer.activations(s.rows[:FACTOR_BATCH])

    # -- what the statistics cost -----------------------------------------------------------------------------------

    def statistics(self, rows: Tensor, batch: int = BATCH) -> subspace.Stats:
        """Ours, as a user calls it."""
        return subspace.statistics(self.subject.model.bridge, "mlp", rows, batch=batch, progress=False)

    def factors(self, rows: Tensor, batch: int | None = None, fisher: str = "true") -> curvature.Factors:
        """Ours, as a user calls it: in batches of its own size."""
        return curvature.factors(
            self.subject.model.bridge, "mlp", rows, rows=batch, fisher=fisher, seed=SEED, progress=False
        )

    def scores(self) -> None:
        self.stats = self.around(
            "statistics",
            lambda: self.statistics(self.subject.inputs),
            self.subject.inputs.split(BATCH),
            "forward",
            "body",
        )

    def kfac(self) -> None:
        self.made = None
        self.made = self.around(
            "factors",
            lambda: self.factors(self.subject.rows),
            self.subject.rows.split(FACTOR_BATCH),
            "backward",
            "activations",
        )
        for name, a in self.made.a.items():
            self.note("a_all_tokens", a.diagonal(), self.stats.mean(name))

    def around(self, ours: str, call: Callable[[], Any], batches: Sequence[Tensor], *plain_ones: str) -> Any:
        """Ours whole, between two halves of the plain passes; their seconds for all rows, and the resident memory that
        each adds at its highest.
        """
        spent = {name: [] for name in plain_ones}

        def passes(some: Sequence[Tensor]) -> None:
            for name, every in zip(plain_ones, (SHARE, RARE)):
                seconds, _ = self.peaked(name, lambda: [getattr(self.peer, name)(ids) for ids in some[::every]])
                spent[name].append((seconds, sum(map(len, some[::every]))))

        passes(batches[: len(batches) // 2])
        seconds, result = self.peaked(ours, call)
        passes(batches[len(batches) // 2 :])
        getattr(self.times, ours).append(seconds)
        for name, parts in spent.items():
            seconds, rows = map(sum, zip(*parts))
            getattr(self.times, name).append(seconds / rows * len(self.subject.rows))
        return result

    # -- sweeps -----------------------------------------------------------------------------------------------------

    def eigen(self, folder: str) -> None:
        """Both factors of some blocks taken apart once, and found on disk afterwards."""
        f, names = self.made, [n for n in self.made.layers if int(n.split(".")[2]) in self.subject.blocks]
        some = replace(f, **{part: {n: getattr(f, part)[n] for n in names} for part in ("a", "g", "tokens")})
        say(f"eigendecompositions of {len(names)} matrices' factors, twice")
        made = []
        for key in ("decompose", "decompose_again"):
            with counted(self.core) as count:
                self.seconds[key], decomposition = machine.timed(
                    lambda: curvature.decompose(self.core, some, folder=Path(folder) / "eigen")
                )
            self.runs[key] = count["eigh"]
            made.append(decomposition)
        if self.runs["decompose_again"]:
            raise RuntimeError(
                f"{self.runs['decompose_again']} eigendecompositions were made again that were on disk: the cache does"
                " not work"
            )
        self.note(
            "eigenvectors_from_cache",
            all(
                torch.equal(getattr(made[0][n], p), getattr(made[1][n], p))
                for n in names
                for p in ("u_a", "mu", "u_g", "lam")
            ),
        )
        self.eigen_mb = sum(p.stat().st_size for p in (Path(folder) / "eigen").iterdir()) / 2**20
        self.decomposition = made[1]

    def masks(self, folder: str) -> None:
        """Masks of all matrices at ten sparsities from one set of scores, each applied, evaluated and undone; one of
        them on disk.
        """
        say(f"{len(SPARSITIES)} masks of all MLP matrices")
        others = self.statistics(self.subject.others)
        self.seconds["contrast"], scores = machine.timed(lambda: subspace.contrast(self.core, others, self.stats))
        losses = []
        with self.reused("mask"):
            unedited = self.evaluate(self.core)
            for sparsity in SPARSITIES:
                began = time.perf_counter()
                mask = scores.mask(sparsity * (QUICK_TIMES if self.quick else 1))
                with mask.applied(self.core):
                    spent = time.perf_counter() - began
                    losses.append(self.evaluate(self.core))
                    began = time.perf_counter()
                self.times.mask.append(spent + time.perf_counter() - began)
                if sparsity == STORED:
                    self.mask = mask
        self.note("masks_changed_loss", unedited not in losses)
        mask, path = self.mask, Path(folder) / "mask.npz"
        self.seconds["mask_save"], _ = machine.timed(lambda: mask.save(path))
        self.seconds["mask_load"], again = machine.timed(lambda: subspace.Mask.load(path))
        self.note(
            "mask_from_disk",
            all(np.array_equal(again.layers[n], index) for n, index in mask.layers.items())
            and again.shapes == dict(mask.shapes),
        )
        self.mask_disk = path.stat().st_size

    def curve(self) -> None:
        """The curvature edit at ten shares of mass from one decomposition."""
        say(f"{len(RHOS)} curvature edits of {len(self.decomposition)} matrices")
        with self.reused("curvature"):
            ds = curvature.curve(self.core, self.decomposition, RHOS, self.evaluate, controls=(), progress=False)
        self.note("curvature_edits_changed_loss", bool((ds.loss != ds.base_loss).all()))
        self.times.curvature = ds.seconds.values[0, :, 0].tolist()

    @contextmanager
    def reused(self, name: str) -> Iterator[None]:
        """Inside, the model runs for evaluations only, and nothing is decomposed. Raises RuntimeError where statistics
        were computed again.
        """
        began = self.evaluations
        with counted(self.core) as count:
            yield
        asked = self.evaluations - began
        self.runs[f"{name}_sweep"], self.runs[f"{name}_evaluations"] = count["model"], asked
        if count["model"] != asked or count["eigh"]:
            raise RuntimeError(
                f"the {name} sweep ran the model {count['model']} times for {asked} evaluations and made"
                f" {count['eigh']} eigendecompositions: it does not reuse what it was given"
            )

    @torch.no_grad()
    def evaluate(self, model: Any) -> dict[str, float]:
        """The loss of two rows: one run of the model, in nobody's seconds."""
        self.evaluations += 1
        ids = self.subject.others[:2]
        return {
            "loss": float(
                F.cross_entropy(
                    model(input_ids=ids, use_cache=False).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
                )
            )
        }

    # -- what comes out ---------------------------------------------------------------------------------------------

    def report(self) -> dict:
        """The JSON line: headline numbers first, then details."""
        t, mask, rows = self.times, self.mask, self.subject.inputs

        def over(a, b):
            return median([x / y for x, y in zip(getattr(t, a), getattr(t, b), strict=True)])

        weights = sum(a * b for a, b in mask.shapes.values())
        return {
            "scores_over_forward": over("statistics", "forward"),
            "kfac_over_backward": over("factors", "backward"),
            "peak_extra_mb": max(self.peaks["statistics"], self.peaks["factors"]),
            # the first point also makes what all share
            "sweep_point_seconds": {"mask": median(t.mask[1:]), "curvature": median(t.curvature[1:])},
            "max_abs_diff": self.gap,
            "scores_over_body": over("statistics", "body"),
            "kfac_over_activations": over("factors", "activations"),
            "memory_mb": {**self.peaks, "factors_kept": self.made.nbytes / 2**20},
            "gaps": self.gaps,
            "same": self.same,
            "seconds": (
                {
                    n: median(getattr(t, n))
                    for n in ("forward", "body", "statistics", "backward", "activations", "factors")
                }
                | self.seconds
                | {"mask_first_point": t.mask[0], "curvature_first_point": t.curvature[0]}
            ),
            "runs": self.runs,
            "mask": {
                "sparsity": mask.about["sparsity"],
                "chosen": mask.count,
                "bytes": self.mask_disk,
                "bytes_dense_bits": -(-weights // 8),
                "bytes_dense": weights,
            },
            "data": {
                "tokens": rows.numel(),
                "rows": len(rows),
                "row_tokens": rows.shape[1],
                "matrices": len(self.stats.names),
                "decomposed": len(self.decomposition),
                "eigen_mb": self.eigen_mb,
                "checked": self.checked,
            },
            "gflops_gemm": median(self.gemm),
        }


def show(bench: Benchmark, report: dict) -> str:
    """The readable tables."""
    s, t, d, m, mask, runs = (
        report["seconds"],
        bench.times,
        report["data"],
        report["memory_mb"],
        report["mask"],
        report["runs"],
    )

    def line(what, name, ratio):
        return (what, "", number(s[name]), spread(getattr(t, name)), ratio, number(m[name]))

    costs = [
        (f"{d['matrices']} MLP matrices, {d['tokens']} tokens", "", "seconds", "min-max", "ours over it", "adds MiB"),
        line("statistics for scores", "statistics", ""),
        line(f"  plain forward, logits (1 batch in {SHARE})", "forward", number(report["scores_over_forward"])),
        line(f"  without the head (1 batch in {RARE})", "body", number(report["scores_over_body"])),
        line("K-FAC factors", "factors", ""),
        line(
            f"  plain forward + backward, all weights' gradients (1 batch in {SHARE})",
            "backward",
            number(report["kfac_over_backward"]),
        ),
        line(
            f"  activations' gradients alone (1 batch in {RARE})",
            "activations",
            number(report["kfac_over_activations"]),
        ),
    ]
    sweep = [
        ("a further point of a sweep of ten", "", "seconds", "min-max", "first point"),
        (
            f"mask, {d['matrices']} matrices",
            "",
            number(report["sweep_point_seconds"]["mask"]),
            spread(t.mask[1:]),
            number(s["mask_first_point"]),
        ),
        (
            f"curvature edit, {d['decomposed']} matrices",
            "",
            number(report["sweep_point_seconds"]["curvature"]),
            spread(t.curvature[1:]),
            number(s["curvature_first_point"]),
        ),
    ]
    gaps = ", ".join(f"{name.replace('_', ' ')} {gap:.1e}" for name, gap in report["gaps"].items())
    return "\n".join(
        [
            (
                f"memory subspace, {bench.subject.model.name}, float32, {torch.get_num_threads()} threads, {d['rows']}"
                f" rows of {d['row_tokens']} tokens, load {os.getloadavg()[0]:.1f}"
            ),
            "",
            table(costs),
            "",
            "targets: statistics at most {scores_over_forward} of the forward, factors at most {kfac_over_backward} of"
            " forward + backward.".format(**TARGETS),
            f"The factors themselves are {number(m['factors_kept'])} MiB of what their call adds.",
            "",
            table(sweep),
            "",
            (
                f"runs of the model in the sweeps: {runs['mask_sweep']} and {runs['curvature_sweep']}, evaluations:"
                f" {runs['mask_evaluations']} and {runs['curvature_evaluations']}; no statistics and no"
                " eigendecomposition were made again."
            ),
            (
                f"eigendecompositions of {d['decomposed']} matrices' factors: {runs['decompose']} in"
                f" {number(s['decompose'])} s, then from disk in {number(s['decompose_again'])} s"
                f" ({number(d['eigen_mb'])} MiB)."
            ),
            (
                f"mask of {mask['sparsity']:.2g} a row, {mask['chosen']} weights: {mask['bytes'] / 2**20:.3g} MiB on"
                f" disk, dense {mask['bytes_dense_bits'] / 2**20:.3g} MiB as bits, {mask['bytes_dense'] / 2**20:.3g}"
                f" MiB as truth values; written in {number(s['mask_save'])} s, read in {number(s['mask_load'])} s."
            ),
            "",
            f"matrix products: {report['gflops_gemm']:.3g} GFLOP/s, min-max {spread(bench.gemm)}",
            (
                f"from explicit sums, as a share of the largest number ({d['checked']['matrices']} matrices,"
                f" {d['checked']['rows']} rows): {gaps}"
            ),
            ", ".join(f"{what.replace('_', ' ')}: {'yes' if yes else 'NO'}" for what, yes in report["same"].items()),
        ]
    )


def run(*, quick: bool, repeats: int, file: Path | None) -> int:
    """Measures, prints the tables and, last, one JSON line; returns 1 where numbers differ, else 0. Raises LoadError
    where the model is missing.
    """
    return frame.run(
        lambda: Benchmark(tiny() if quick else real(), repeats, quick),
        show,
        tolerance=TOLERANCE,
        what="statistics, factors or weights",
        file=file,
    )
