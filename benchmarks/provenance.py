"""Provenance: scoring rows against the published scorer's way, permutations, and the n-gram join against a suffix array
(tokengrams).

The published scorer pads every batch of 16 to the longest row of all. The headline is more lenient: it pads to the
longest row of its batch. All its batches cost the same a padded token, so a share of them is timed, and their tokens'
losses are compared with ours.
"""

from __future__ import annotations

import importlib.util
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lens import scoring
from lens.provenance import gram_index, ngrams
from lens.scoring.likelihood import Likelihood, plain
from lens.stats.randomization import permutation_correlation

from . import frame, machine
from ._provenance_peer import BATCH, PublishedScorer
from .frame import worst
from .subjects import Model, embedded, random_model
from .tables import median, number, say, spread, table

TOLERANCE = 1e-4
SEED = 0
K, MOST, ROW = (4, 8), 1000, 2049


@dataclass(frozen=True)
class Subject:
    """A model, rows of mixed length, and the sizes of the other two parts."""

    model: Model
    rows: list[np.ndarray]
    published: int  # batches of the published way that are timed
    permutations: int
    tokens: int
    documents: int


def lengths(n: int, least: int, most: int) -> np.ndarray:
    """Log-uniform whole numbers: the documents of a corpus differ in length by factors."""
    return np.exp(np.random.default_rng(SEED).uniform(np.log(least), np.log(most + 1), n)).astype(int)


def real() -> Subject:
    """SmolLM2, 512 rows of 16 to 256 tokens; raises LoadError where the model was never fetched."""
    model, rng = embedded(), np.random.default_rng(SEED)
    return Subject(
        model,
        [rng.integers(0, model.config.vocab_size, n) for n in lengths(512, 16, 256)],
        4,
        100_000,
        105_000_000,
        200,
    )


def tiny() -> Subject:
    """A random model of four layers, and small data."""
    model, rng = random_model(["a b c d e f g h i j k l m n o p q r s t u v w x y z"]), np.random.default_rng(SEED)
    return Subject(
        model, [rng.integers(0, model.config.vocab_size, n) for n in lengths(40, 4, 40)], 2, 500, 400_000, 20
    )


@dataclass
class Timings:
    """Seconds of each call; of the published way by padded token."""

    ours: list[float] = field(default_factory=list)
    padded_to_batch: list[float] = field(default_factory=list)
    padded_to_all: list[float] = field(default_factory=list)
    batch: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    permutations: list[float] = field(default_factory=list)
    join: list[float] = field(default_factory=list)
    build: float = math.nan
    query: float = math.nan


class Benchmark(frame.Frame):
    """The three parts, one after the other."""

    def __init__(self, subject: Subject, repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        self.times = Timings()
        self.gap, self.token_gap, self.rounding = 0.0, 0.0, 0.0
        self.perm_peak, self.matches = math.nan, 0

    def measure(self) -> None:
        machine.set_threads()
        self.score()
        self.permute()
        torch.set_num_threads(1)
        self.join()

    def score(self) -> None:
        """Rounds of our whole call, of a share of the published batches, and of some of our batches beside a plain
        forward of the same.
        """
        s, t = self.subject, self.times
        hf, start = s.model.copy(), int(s.model.bridge.tokenizer.bos_token_id)
        peer, likelihood = PublishedScorer(hf, start, start), Likelihood(plain(s.model.bridge))

        def call():
            return scoring.score(s.model.bridge, s.rows, start=start, progress=False)

        groups = [s.rows[i : i + BATCH] for i in range(0, len(s.rows), BATCH)]
        longest = max(map(len, s.rows))
        self.padded = {
            "padded_to_batch": sum(len(g) * (max(map(len, g)) + 1) for g in groups),
            "padded_to_all": len(s.rows) * (longest + 1),
        }
        ours_batches = self._batches(call)
        peer.batch([row[:8] for row in groups[0][:2]], 8)
        shown = np.linspace(0, len(groups) - 1, s.published * self.repeats).round().astype(int)
        for number_, share in enumerate(np.array_split(shown, self.repeats)):
            say(
                f"scoring, round {number_ + 1} of {self.repeats}: {len(s.rows)} rows, {len(share)} published batches"
                " each way"
            )
            self.beat()
            seconds, scores = machine.timed(call)
            t.ours.append(seconds)
            for g in share:
                for name, width in (("padded_to_batch", max(map(len, groups[g]))), ("padded_to_all", longest)):
                    seconds, losses = machine.timed(lambda: peer.batch(groups[g], width))
                    getattr(t, name).append(seconds / (len(groups[g]) * (width + 1)))
                    self.note(losses, peer.unrounded(groups[g]), scores, BATCH * int(g))
            for rows in ours_batches[number_ % 4 :: 4]:
                t.batch.append(machine.timed(lambda: likelihood.batch(rows, start, 0))[0])
                t.forward.append(machine.timed(lambda: self._forward(hf, rows, start))[0])

    def note(self, losses: list[np.ndarray], unrounded: list[np.ndarray], scores: scoring.Scores, first: int) -> None:
        """How far ours and the published float32 losses are from those of the published way's logits in float64, as a
        row's mean, which is what it returns.
        """
        for i, (loss, exact) in enumerate(zip(losses, unrounded, strict=True), first):
            ours = -scores.logprob[scores.offsets[i] : scores.offsets[i + 1]].astype(float)
            gaps = (
                abs(ours.mean() - exact.mean()),
                np.abs(ours - exact).max(),
                abs(loss.astype(float).mean() - exact.mean()),
            )
            self.gap, self.token_gap, self.rounding = (
                worst(held, float(gap)) for held, gap in zip((self.gap, self.token_gap, self.rounding), gaps)
            )

    def _batches(self, call: Any) -> list[list[np.ndarray]]:
        """The batches that our call makes."""
        seen, real_batch = [], Likelihood.batch
        try:
            Likelihood.batch = lambda self, rows, start, first: (
                seen.append(list(rows)) or [(np.zeros(len(r) - first, np.float32),) for r in rows]
            )
            call()
        finally:
            Likelihood.batch = real_batch
        return seen

    @torch.no_grad()
    def _forward(self, hf: torch.nn.Module, rows: list[np.ndarray], start: int) -> torch.Tensor:
        """The plain model's logits of a batch, without any loss."""
        ids = torch.zeros((len(rows), max(map(len, rows))), dtype=torch.long)
        for line, row in zip(ids, rows):
            line[: len(row)] = torch.from_numpy(np.concatenate([[start], row[:-1]]))
        return hf(ids, use_cache=False).logits

    def permute(self) -> None:
        n = self.subject.permutations
        rng = np.random.default_rng(SEED)
        value, label = rng.normal(size=n), rng.permutation(n)
        for _ in range(self.repeats):
            say(f"{n} permutations of {n} rows")
            with machine.peak_memory() as peak:
                seconds, _ = machine.timed(lambda: permutation_correlation(value, label, resamples=n, seed=SEED))
            self.times.permutations.append(seconds)
            self.perm_peak = max(peak.extra_mb, self.perm_peak) if not math.isnan(self.perm_peak) else peak.extra_mb

    def join(self) -> None:
        """Ours over the file and over half of it (memory), and the suffix array's build and query."""
        s, t = self.subject, self.times
        with tempfile.TemporaryDirectory() as folder:
            path, half = Path(folder) / "tokens.bin", Path(folder) / "half.bin"
            text = generate(path, s.tokens, s.documents)
            half.write_bytes(path.read_bytes()[: s.tokens // 2 * 2])
            self.file_mb = path.stat().st_size / 1e6

            def call(file):
                return ngrams.join(text, file, k=K, max_count=MOST, row_length=ROW, across=True, progress=False)

            call(half)
            for _ in range(max(3, self.repeats)):
                say(f"n-gram join of {sum(map(len, text))} tokens with a file of {self.file_mb:.0f} MB")
                for name, file in (("half", half), ("whole", path)):
                    with machine.peak_memory() as peak:
                        seconds, found = machine.timed(lambda: call(file))
                    self.peaks[name] = max(self.peaks.get(name, 0.0), peak.extra_mb)
                t.join.append(seconds)
            self.matches = len(found.row)
            if importlib.util.find_spec("tokengrams") is None:
                say("tokengrams is not installed: its build and query were not measured")
                return
            say("tokengrams: build, then the same query")
            import tokengrams

            t.build, _ = machine.timed(
                lambda: tokengrams.MemmapIndex.build(str(path), f"{folder}/table.bin", 65_535, False)
            )
            index = gram_index.LocalIndex(
                tokengrams.MemmapIndex(str(path), f"{folder}/table.bin", 65_535),
                {"tokens": s.tokens, "row_length": ROW},
            )
            t.query, other = machine.timed(lambda: index.join(text, k=K, max_count=MOST, across=True))
            for name in ("query", "row", "count", "length", "occurrences"):
                if not np.array_equal(getattr(found, name), getattr(other, name)):
                    raise RuntimeError(
                        f"the join and tokengrams differ in {name!r}: the timings compare different things"
                    )

    def report(self) -> dict:
        """The JSON line: headline numbers first, then details."""
        t, s = self.times, self.subject
        ours, join = median(t.ours), median(t.join)
        published = {name: median(getattr(t, name)) * self.padded[name] for name in self.padded}
        return {
            "ratio_scorer": published["padded_to_batch"] / ours,
            "fraction_of_forward": sum(t.forward) / sum(t.batch),
            "perm_seconds": median(t.permutations),
            "join_mb_s": self.file_mb / join,
            "join_peak_mb": self.peaks["whole"],
            "ratio_tokengrams_total": (t.build + t.query) / join,
            "max_abs_diff": self.gap,
            "max_token_diff": self.token_gap,
            "max_published_rounding": self.rounding,
            "ratio_scorer_published": published["padded_to_all"] / ours,
            "perm_peak_mb": self.perm_peak,
            "join_peak_mb_half": self.peaks["half"],
            "tokens_per_s": sum(map(len, s.rows)) / ours,
            "seconds": {
                "score": ours,
                **published,
                "join": join,
                "tokengrams_build": t.build,
                "tokengrams_query": t.query,
            },
            "data": {
                "rows": len(s.rows),
                "tokens": sum(map(len, s.rows)),
                **self.padded,
                "permutations": s.permutations,
                "file_mb": self.file_mb,
                "matches": self.matches,
            },
            "gflops_gemm": median(self.gemm),
        }

    def timings(self) -> dict[str, Any]:
        return {"runs": vars(self.times), "gemm_runs": self.gemm}


def generate(path: Path, tokens: int, documents: int) -> list[np.ndarray]:
    """Write a file of tokens with Zipf-like frequencies, and return documents of the same kind of which half hold a
    passage of it.
    """
    rng = np.random.default_rng(SEED)
    weight = 1 / (np.arange(50_000) + 3.7) ** 1.05
    pick = np.searchsorted(np.cumsum(weight) / weight.sum(), (np.arange(1 << 16) + 0.5) / (1 << 16)).astype(np.uint16)

    def draw(n):
        return pick[rng.integers(0, 1 << 16, n, dtype=np.uint16)]

    text = [draw(512) for _ in range(documents)]
    with open(path, "wb") as file:
        for begin in range(0, tokens, 1 << 22):
            part = draw(min(1 << 22, tokens - begin))
            part.tofile(file)
            if begin == 0:
                for document in text[::2]:
                    at = int(rng.integers(0, len(part) - 64))
                    document[200:264] = part[at : at + 64]
    return text


def show(bench: Benchmark, report: dict) -> str:
    """The readable tables."""
    s, t, d = report["seconds"], bench.times, report["data"]
    score = [
        ("scoring", f"{d['rows']} rows, {d['tokens']} tokens", "seconds", "ratio", "padded tokens", "timed"),
        ("Mnemoscope", "length-sorted", number(s["score"]), "1", "", f"{len(t.ours)} whole"),
        (
            "published way",
            "padded to its batch's longest",
            number(s["padded_to_batch"]),
            number(report["ratio_scorer"]),
            str(d["padded_to_batch"]),
            f"{len(t.padded_to_batch)} batches",
        ),
        (
            "published way",
            "padded to the longest of all, as it does",
            number(s["padded_to_all"]),
            number(report["ratio_scorer_published"]),
            str(d["padded_to_all"]),
            f"{len(t.padded_to_all)} batches",
        ),
        (
            "plain forward",
            "full logits, no loss, our batches",
            number(sum(t.forward)),
            number(report["fraction_of_forward"]),
            "",
            f"{len(t.forward)} batches",
        ),
    ]
    join = [
        ("n-gram join", f"{d['file_mb']:.0f} MB, {d['matches']} matches", "seconds", "ratio", "peak MiB"),
        (
            "Mnemoscope",
            f"one pass, {number(report['join_mb_s'])} MB/s",
            number(s["join"]),
            "1",
            number(report["join_peak_mb"]),
        ),
        ("", "half of the file", "", "", number(report["join_peak_mb_half"])),
        ("tokengrams", "build", number(s["tokengrams_build"]), "", ""),
        ("", "query", number(s["tokengrams_query"]), number(report["ratio_tokengrams_total"]), ""),
    ]
    return "\n".join(
        [
            f"provenance, {bench.subject.model.name}, float32, load {os.getloadavg()[0]:.1f}",
            "",
            table(score),
            "",
            (
                f"{d['permutations']} permutations of as many rows: {number(report['perm_seconds'])} s"
                f" ({spread(t.permutations)}), {number(report['perm_peak_mb'])} MiB"
            ),
            "",
            table(join),
            "",
            (
                "from the loss of the published way's logits in float64: a row's mean"
                f" {number(report['max_abs_diff'])}, a single token {number(report['max_token_diff'])}; the published"
                f" float32 loss itself, a row's mean: {number(report['max_published_rounding'])}"
            ),
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
        what="rows' losses",
        file=file,
    )
