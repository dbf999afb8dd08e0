"""The full grid of memory injections against the published loop through TransformerLens, on one model, in one run.

Ours is one call, from plain items to the labelled grid. The loop is far too slow to run whole: a random sample of its
cells is timed and stands for all of them. The grid is also compared with the fewest passes that prefix reuse allows, in
units of the fastest unedited pass at hand.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

import lens
from lens.engine import model as engine
from lens.engine.runs import Runs
from lens.engine.walk import rows as walking
from lens.engine.walk import runs as recording
from lens.engine.walk.decoder import Decoder
from lens.engine.walk.forward import Layout, all_blocks
from lens.injection import InjectionError, Item, encode_items, load_items
from lens.injection.items import FOLDER
from lens.readout import answers

from . import machine
from ._injection_peer import PublishedLoop
from .frame import Frame, worst
from .subjects import Model, embedded, random_model
from .tables import finish, median, number, say, spread, table
from .work import Shape, injection_flop, minimum_passes, published_passes

TOLERANCE = 1e-4
ITEMS = 106
STRENGTHS = tuple(range(1, 16))
#: Cells of the published loop that are run, and explicit prompts.
CELLS, EXPLICIT = 240, 40
SEED = 0
#: Tokens of a batch of unedited passes, and how often every prompt is among them.
BATCH_TOKENS = (1024, 2048, 4096)
COPIES = 2
#: For a model of random weights: answers of one, two and three tokens.
QUICK = (
    Item(
        "The capital of the country of the tower that Eiffel built is",
        "The capital of France is",
        "France",
        " Paris",
        label="tower",
    ),
    Item(
        "The first president of the United States fought in the",
        "George Washington fought in the",
        "George Washington",
        " Revolutionary War",
        label="war",
    ),
    Item(
        "The author of the play about the prince of Denmark was born in",
        "William Shakespeare was born in",
        "William Shakespeare",
        " Stratford upon Avon",
        label="play",
    ),
)


@dataclass(frozen=True)
class Subject:
    """A model, the items of the grid and its strengths; every layer is injected, at all positions."""

    model: Model
    items: list[Item]
    strengths: tuple[int, ...]
    data: str
    cells: int

    @property
    def layers(self) -> int:
        return self.model.config.num_hidden_layers

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.items), self.layers, len(self.strengths)

    def grid(self) -> xr.Dataset:
        """Ours, as a user calls it."""
        return lens.injection.sweep(
            self.model.bridge, self.items, strengths=self.strengths, encoder="unembed", controls=(), start="bos"
        )


def real() -> Subject:
    """SmolLM2 and the paper's hand-written items where the environment names their folder, else as many of the
    project's own.

    Raises: LoadError, InjectionError: the model was never fetched, or the items cannot be read.
    """
    name = "hand" if os.environ.get(FOLDER) else "own"
    items = load_items(name) if name == "hand" else load_items("own", limit=ITEMS)
    data = (
        "the paper's hand-written items"
        if name == "hand"
        else f"the project's own items (the paper's were not found: {FOLDER} is not set)"
    )
    return Subject(embedded(), items, STRENGTHS, data, CELLS)


def tiny() -> Subject:
    """A random model of four layers, three items, three strengths."""
    texts = [t for item in QUICK for t in (item.prompt, item.explicit, item.memory, item.answer)]
    return Subject(random_model(texts), list(QUICK), (1, 2, 3), "three items made for the test", 24)


# -- ours
# ----------------------------------------------------------------------------------------------------------------

#: What of a grid's time is told apart: where the function is looked up, and within which other part it runs.
PARTS = {
    "walk": (engine, "walk"),
    "planning": (walking, "plan_walk"),
    "attention": (walking, "attention"),
    "feed-forward": (walking, "feed_forward"),
    "scoring": (answers, "next_token"),
}


@contextmanager
def parts() -> Iterator[dict[str, float]]:
    """Collects the seconds that a grid spends in each of `PARTS`."""
    seconds = dict.fromkeys(PARTS, 0.0)

    def measured(name: str, call: Callable) -> Callable:
        def run(*args, **kwargs):
            began = time.perf_counter()
            try:
                return call(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - began

        return run

    with ExitStack() as stack:
        for name, (module, attribute) in PARTS.items():
            stack.enter_context(mock.patch.object(module, attribute, measured(name, getattr(module, attribute))))
        yield seconds


def exclusive(seconds: dict[str, float], whole: float) -> dict[str, float]:
    """The parts made disjoint, with the rest of the call; they add up to ``whole``."""
    inner = seconds["planning"] + seconds["attention"] + seconds["feed-forward"]
    return {
        **{k: seconds[k] for k in ("planning", "attention", "feed-forward")},
        "rest of the walks": seconds["walk"] - inner,
        "scoring": seconds["scoring"],
        "rest of the call": whole - seconds["walk"] - seconds["scoring"],
    }


# -- the yardstick
# -------------------------------------------------------------------------------------------------------


def batches(ids: Sequence[Tensor], tokens: int) -> list[list[Tensor]]:
    """The prompts by length, as many together as fill ``tokens`` when padded."""
    made: list[list[Tensor]] = [[]]
    for prompt in sorted(ids, key=len):
        if made[-1] and len(prompt) * (len(made[-1]) + 1) > tokens:
            made.append([])
        made[-1].append(prompt)
    return made


class Passes:
    """The time of one unedited pass with logits at its last token, in several ways.

    The engine's blocks (nothing kept), its recording (as the grid makes its unedited runs), and a plain Hugging Face
    model with its own choice of attention, each on batches of several sizes. Prompts are sorted by length, so that next
    to nothing is padding.
    """

    def __init__(
        self, decoder: Decoder, hf, ids: Sequence[Tensor], copies: int = COPIES, sizes: Sequence[int] = BATCH_TOKENS
    ):
        self.decoder, self.hf, self.ids = decoder, hf, [i for i in ids for _ in range(copies)]
        self.ways = {f"Hugging Face, {n} tokens": (self.hugging_face, n) for n in sizes} | {
            f"engine, {n} tokens": (self.engine, n) for n in sizes
        }
        self.ways["engine, recorded"] = (self.recorded, max(sizes) // 2)
        self.seconds: dict[str, list[float]] = {name: [] for name in self.ways}

    def measure(self) -> None:
        for name, (way, size) in self.ways.items():
            seconds, _ = machine.timed(lambda: self.run(way, size))
            self.seconds[name].append(seconds / len(self.ids))

    @torch.no_grad()
    def run(self, way: Callable[[list[Tensor]], Tensor], size: int) -> list[Tensor]:
        """The last token's top logit and its sum of exponentials, prompt by prompt in the order of length."""
        head = self.decoder.head
        out = []
        for batch in batches(self.ids, size):
            for some in way(batch).split(128):
                logits = head(some)
                out.append(torch.stack([logits.amax(-1), logits.logsumexp(-1)], -1))
        return out

    def hugging_face(self, batch: list[Tensor]) -> Tensor:
        last = torch.tensor([len(i) - 1 for i in batch])
        # padding stands behind every prompt, where its tokens cannot see it
        hidden = self.hf.base_model(input_ids=pad_sequence(batch, batch_first=True), use_cache=False).last_hidden_state
        return hidden[torch.arange(len(batch)), last]

    def engine(self, batch: list[Tensor]) -> Tensor:
        lengths = torch.tensor([len(i) for i in batch])
        row = torch.repeat_interleave(torch.arange(len(batch)), lengths)
        position, longest = torch.cat([torch.arange(n) for n in lengths.tolist()]), int(lengths.max())
        lay = Layout(row, position, len(batch), longest, dense=bool((lengths == longest).all()))
        x = all_blocks(self.decoder, self.decoder.place(self.decoder.embed(torch.cat(batch)), position), lay)
        return self.decoder.norm(x[lengths.cumsum(0) - 1])

    def recorded(self, batch: list[Tensor]) -> Tensor:
        # the copies of a prompt are passes of their own here
        with mock.patch.object(recording, "_shared", lambda ids: (None, None)):
            runs = Runs.record(self.decoder, batch, keep=())
        return self.decoder.norm(runs.resid[-1][runs.offset + torch.tensor(runs.lengths) - 1])

    def best(self) -> tuple[str, float]:
        """The fastest way and its median seconds a prompt."""
        return min(((name, median(s)) for name, s in self.seconds.items()), key=lambda pair: pair[1])


# -- the measurement
# -----------------------------------------------------------------------------------------------------


@dataclass
class Gaps:
    """The largest difference of probabilities between the loop and the grid, by prompt."""

    injected: float = 0.0
    clean: float = 0.0
    explicit: float = 0.0
    cells: int = 0

    def note(self, prompt: str, theirs: float, ours: float) -> None:
        setattr(self, prompt, worst(getattr(self, prompt), abs(theirs - ours)))


class Benchmark(Frame):
    """Our grid, a share of the published loop, and unedited passes."""

    def __init__(self, subject: Subject, repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        self.decoder = Decoder.of(subject.model.bridge)
        self.encoded = encode_items(subject.model.bridge, subject.items, start="bos")
        self.passes = Passes(
            self.decoder,
            subject.model.copy(),
            [e.ids for e in self.encoded],
            COPIES,
            BATCH_TOKENS[:1] if quick else BATCH_TOKENS,
        )
        self.whole, self.parts, self.busy = [], [], {"ours": [], "peer": []}
        self.gaps, self.peak, self.value, self.peer = Gaps(), machine.Peak(), None, None
        draw = np.random.default_rng(SEED)
        self.cells = draw.choice(math.prod(subject.shape), min(subject.cells, math.prod(subject.shape)), replace=False)
        self.explicit = draw.choice(len(subject.items), min(EXPLICIT, len(subject.items)), replace=False)

    def measure(self) -> None:
        """Rounds of ours and of a share of the loop's cells, between measurements of the unedited pass and of the
        matrix-multiply rate.
        """
        model = self.subject.model
        # weights read from disk, the check of the model and the first unedited passes are nobody's time
        lens.injection.sweep(
            model.bridge, self.subject.items[:1], strengths=(1,), encoder="unembed", controls=(), start="bos"
        )
        self.passes.measure()
        for of_way in self.passes.seconds.values():
            of_way.clear()
        for round_ in range(self.repeats):
            self._between()
            say(f"round {round_ + 1} of {self.repeats}: the whole grid, {math.prod(self.subject.shape)} cells")
            # the peer is loaded later: freed memory of its own could hide ours
            with machine.peak_memory() if round_ == 0 else ExitStack() as peak:
                self.ours()
            self.peak = self.peak if round_ else peak
            self._between()
            if self.peer is None:
                self.peer = PublishedLoop(model.copy(), model.tokenizer)
                self.peer.cell(self.subject.items[0], 0, 1.0), self.peer.explicit(self.subject.items[0])
                self.peer.timings = type(self.peer.timings)()
            cells, explicit = (some[round_ :: self.repeats] for some in (self.cells, self.explicit))
            say(f"round {round_ + 1} of {self.repeats}: the published loop, {len(cells)} cells")
            self.loop(cells, explicit)
        self._between()

    def _between(self) -> None:
        self.beat()
        self.passes.measure()

    def ours(self) -> None:
        others = machine.Bystanders()
        with parts() as seconds:
            whole, ds = machine.timed(self.subject.grid)
        self.busy["ours"].append(others.share())
        self.whole.append(whole), self.parts.append(exclusive(seconds, whole))
        self.value = ds

    def loop(self, cells: Sequence[int], explicit: Sequence[int]) -> None:
        """Runs some of the loop's cells and explicit prompts, and compares their probabilities with the grid's."""
        others, ds, subject = machine.Bystanders(), self.value, self.subject
        for i, layer, s in zip(*np.unravel_index(cells, subject.shape)):
            clean, edited = self.peer.cell(subject.items[i], int(layer), float(subject.strengths[s]))
            self.gaps.note("injected", edited, float(np.exp(ds["first"].values[i, layer, s, 0])))
            self.gaps.note("clean", clean, float(np.exp(ds["multi_first"].values[i])))
            self.gaps.cells += 1
        for i in explicit:
            self.gaps.note(
                "explicit", self.peer.explicit(subject.items[i]), float(np.exp(ds["single_first"].values[i]))
            )
        self.busy["peer"].append(others.share())

    # -- what follows from it

    def published(self) -> tuple[float, float, float]:
        """Seconds of the whole published loop, the half-width of its 95% interval over the cells drawn, and its seconds
        without the repeated clean and explicit runs.
        """
        (n, layers, strengths), t = self.subject.shape, self.peer.timings
        of_cell = np.add(t.clean, t.hooked)
        runs, explicit = n * layers * strengths, float(np.mean(t.explicit))
        seconds = runs * of_cell.mean() + n * strengths * explicit
        # drawn without replacement: nothing is uncertain where all were
        left = 1 - len(of_cell) / runs
        half = 1.96 * runs * of_cell.std(ddof=1) / math.sqrt(len(of_cell)) * math.sqrt(left)
        return float(seconds), float(half), float(runs * np.mean(t.hooked) + n * (np.mean(t.clean) + explicit))

    def work(self) -> dict[str, float]:
        """Operations: of a whole pass (mean over the prompts), of the minimum, and of what is asked of ours (the
        answers' tokens ride along).
        """
        (n, layers, strengths), config = self.subject.shape, self.subject.model.config
        lengths, of_answers = [len(e.ids) for e in self.encoded], [len(e.answer_ids) for e in self.encoded]
        shape = Shape(config)
        one = float(np.mean([shape.full(length) for length in lengths]))
        unedited = 2 * n * one
        return {
            "pass": one,
            "minimum": minimum_passes(n, strengths, layers) * one,
            "grid": injection_flop(config, lengths, of_answers, strengths) + unedited,
            "grid_first_token": injection_flop(config, lengths, [1] * n, strengths) + unedited,
        }

    def report(self) -> dict:
        """The JSON line: headline numbers first, then details."""
        (n, layers, strengths), t, work = self.subject.shape, self.peer.timings, self.work()
        ours, (published, half, no_waste) = median(self.whole), self.published()
        way, one = self.passes.best()
        minimum = minimum_passes(n, strengths, layers)
        gemm = median(self.gemm)
        each = {name: median([p[name] for p in self.parts]) for name in self.parts[0]}
        return {
            "ratio_peer": published / ours,
            "ratio_peer_no_waste": no_waste / ours,
            "passes_over_minimum": ours / (minimum * one),
            "max_abs_diff": max(self.gaps.injected, self.gaps.clean, self.gaps.explicit),
            "peak_extra_mb": self.peak.extra_mb,
            "seconds": {
                "ours": ours,
                "published": published,
                "published_no_waste": no_waste,
                "pass": one,
                "cell_clean": float(np.mean(t.clean)),
                "cell_hooked": float(np.mean(t.hooked)),
                "explicit": float(np.mean(t.explicit)),
                "ours_parts": each,
            },
            "ratio_peer_interval": [(published - half) / ours, (published + half) / ours],
            "cells_sampled": self.gaps.cells,
            "explicit_sampled": len(t.explicit),
            "max_abs_diffs": {"injected": self.gaps.injected, "clean": self.gaps.clean, "explicit": self.gaps.explicit},
            "passes": {
                "published": published_passes(n, strengths, layers),
                "minimum": minimum,
                "ours_equivalent": ours / one,
            },
            "yardstick": way,
            "yardsticks": {name: median(s) for name, s in self.passes.seconds.items()},
            "work_over_minimum": work["grid"] / work["minimum"],
            "work_over_minimum_first_token": work["grid_first_token"] / work["minimum"],
            "gflops": {"gemm": gemm, "pass": work["pass"] / one / 1e9, "ours": work["grid"] / ours / 1e9},
            "data": {
                "name": self.subject.data,
                "items": n,
                "layers": layers,
                "strengths": strengths,
                "cells": n * layers * strengths,
                "prompt_tokens": float(np.mean([len(e.ids) for e in self.encoded])),
                "answer_tokens": float(np.mean([len(e.answer_ids) for e in self.encoded])),
            },
        }


def show(bench: Benchmark, report: dict) -> str:
    """The readable tables."""
    (n, layers, strengths), s, t, data = bench.subject.shape, report["seconds"], bench.peer.timings, report["data"]
    passes, flops = report["passes"], report["gflops"]
    low, high = report["ratio_peer_interval"]
    grid = [
        ("grid", "by", "passes", "whole s", "ratio", "runs timed"),
        (
            f"{n} items x {layers} layers x {strengths} strengths",
            "Mnemoscope",
            number(passes["ours_equivalent"], 5),
            number(s["ours"]),
            "1",
            f"{len(bench.whole)} whole",
        ),
        (
            "",
            "published loop",
            str(passes["published"]),
            number(s["published"]),
            number(report["ratio_peer"]),
            f"{report['cells_sampled']} cells",
        ),
        (
            "",
            "  one clean run an item",
            str(n * layers * strengths + 2 * n),
            number(s["published_no_waste"]),
            number(report["ratio_peer_no_waste"]),
            "the same",
        ),
    ]
    cell = [("published loop, a run", "", "mean ms", "median ms", "min-max ms", "runs")]
    for name, values in (
        ("clean run, with tokenizing", t.clean),
        ("hooked run", t.hooked),
        ("explicit run, all activations kept", t.explicit),
    ):
        ms = [1e3 * v for v in values]
        cell.append((name, "", number(float(np.mean(ms))), number(median(ms)), spread(ms), str(len(ms))))
    ways = [("unedited pass, batched", "", "ms a prompt", "min-max ms")]
    for name, values in bench.passes.seconds.items():
        ways.append(
            (
                name,
                "<- yardstick" if name == report["yardstick"] else "",
                number(1e3 * median(values)),
                spread([1e3 * v for v in values]),
            )
        )
    least = passes["minimum"] * s["pass"]
    where = [("where the grid's time goes", "", "s", "share", "of the minimum")]
    for name, seconds in sorted(s["ours_parts"].items(), key=lambda p: -p[1]):
        where.append((name, "", number(seconds), f"{seconds / s['ours']:.0%}", f"{seconds / least:.3f}"))
    where.append(("together", "", number(s["ours"]), "100%", f"{report['passes_over_minimum']:.3f}"))
    gaps = report["max_abs_diffs"]
    return "\n".join(
        [
            (
                f"memory injection, {bench.subject.model.name}, {data['name']}: mean {data['prompt_tokens']:.1f} prompt"
                f" and {data['answer_tokens']:.1f} answer tokens, float32, {torch.get_num_threads()} threads"
            ),
            "",
            table(grid),
            "",
            (
                f"published: {strengths} x {n} x (2 x {layers} + 1) passes of one prompt, a clean and a hooked one a"
                " cell and the explicit prompt once a strength; its time is"
            ),
            (
                f"           {n * layers * strengths} x (mean of a cell's two runs) + {strengths * n} x (mean of an"
                f" explicit run); 95% interval of the ratio, over the cells drawn: {low:.3g} to {high:.3g}."
            ),
            (
                "ours: passes are its time in unedited passes (below). It also scores the answers' further tokens,"
                " their rank and exact match, which the loop does not."
            ),
            "",
            table(cell),
            "",
            table(ways),
            "",
            table(where),
            "",
            (
                f"minimum with prefix reuse: 2 x {n} + {strengths} x {n} x sum over layers of (L-1-l + 2/3)/L ="
                f" {passes['minimum']:.0f} passes of {1e3 * s['pass']:.3g} ms = {least:.4g} s;"
            ),
            (
                f"ours takes {report['passes_over_minimum']:.3f} of it = {report['work_over_minimum']:.3f} in"
                f" operations ({report['work_over_minimum_first_token']:.3f} if only first tokens were scored; every"
                f" edited run unembeds its reads) x {flops['pass'] / flops['ours']:.3f} in speed"
            ),
            (
                f"           ({flops['pass']:.3g} GFLOP/s in the yardstick's passes, {flops['ours']:.3g} in our grid,"
                f" {flops['gemm']:.3g} in a {bench.gemm_size}^3 product, min-max {spread(bench.gemm)})"
            ),
            (
                f"largest difference of probabilities: injected {gaps['injected']:.1e} (n = {report['cells_sampled']}),"
                f" clean {gaps['clean']:.1e}, explicit {gaps['explicit']:.1e}"
            ),
            f"peak extra memory, MiB ({bench.peak.how}): {report['peak_extra_mb']:.0f}",
        ]
    )


def run(*, quick: bool, repeats: int, file: Path | None) -> int:
    """Measures, prints the tables and, last, one JSON line; returns 1 where numbers differ, 2 where the model or the
    items are missing, else 0.
    """
    machine.set_threads()
    watch = machine.Watch()
    try:
        subject = tiny() if quick else real()
        bench = Benchmark(subject, repeats, quick)
    except (lens.LoadError, InjectionError) as error:
        say(f"benchmark: {error}")
        return 2
    with machine.settled():
        bench.measure()
    report = bench.report() | {
        "machine": watch.end() | {f"others_during_{who}": max(shares) for who, shares in bench.busy.items()},
        "quick": quick,
        "model": subject.model.name,
        "repeats": repeats,
    }
    t = bench.peer.timings
    runs = {
        "ours": bench.whole,
        "parts": bench.parts,
        "clean": t.clean,
        "hooked": t.hooked,
        "explicit": t.explicit,
        "cells": bench.cells.tolist(),
        "passes": bench.passes.seconds,
    }
    agree = finish(
        report,
        lambda made: show(bench, made),
        speeds=[bench.gemm, bench.passes.seconds[bench.passes.best()[0]]],
        tolerance=TOLERANCE,
        what="probabilities",
        more={"runs": runs, "gemm_runs": bench.gemm},
        file=file,
    )
    return 0 if agree else 1
