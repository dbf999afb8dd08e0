"""The exact effect of every head on a task's prompts against one hooked pass a head, on one model, in one run.

Ours is the call of a user, from the task to the labelled result. The hooked passes are too slow to run whole: a random
sample of heads is timed and stands for all.
Two more figures: a vector added after every layer against one pass of the same prompts, and a training step with the
    vector loss against a plain one.
"""

from __future__ import annotations

import importlib
import math
import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from lens import vectors
from lens.vectors.mediation import TRIALS_SEED

from . import frame, machine
from ._vectors_peer import HookedHeads
from .frame import worst
from .subjects import Model, embedded, random_model
from .tables import median, number, say, spread, table
from .work import layer_sweep_floor

TOLERANCE = 1e-5
#: Heads that are hooked, prompts of the batched walk, prompts of the layer sweep.
HEADS, TRIALS, SWEPT = 36, 25, 40
SEED = 0
TASK = "present_past"
QUICK_SHOTS = 3
#: Rows of a training batch, and their length with padding.
BATCH, STEPS = 8, 4


@dataclass(frozen=True)
class Subject:
    """A model, a task, and how many demonstrations a prompt has."""

    model: Model
    task: vectors.Task
    shots: int
    trials: int
    swept: int
    heads: int

    def effects(self, means: vectors.Means, trials: int) -> Any:
        """Ours, as a user calls it."""
        return vectors.head_effects(
            self.model.bridge, self.task, means=means, trials=trials, shots=self.shots, seed=SEED, progress=False
        )


def real() -> Subject:
    """SmolLM2 and a shipped task.

    Raises: LoadError: the model was never fetched.
    """
    return Subject(embedded(), vectors.load_task(TASK), 10, TRIALS, SWEPT, HEADS)


def tiny() -> Subject:
    """A random model of four layers and a few pairs."""
    task = vectors.Task.from_pairs(
        vectors.load_task(TASK).pairs[:24], name=TASK, instruction="Give the past tense of the verb."
    )
    template = vectors.as_template("qa")
    texts = [template.text([p], p[0], said) + f" {p[1]}" for p in task.pairs for said in (None, task.instruction)]
    return Subject(random_model(texts), task, QUICK_SHOTS, 4, 3, 10)


@dataclass
class Timings:
    """Seconds of each call, one a round."""

    one: list[float] = field(default_factory=list)
    many: list[float] = field(default_factory=list)
    sweep: list[float] = field(default_factory=list)
    forward: list[float] = field(default_factory=list)
    forward_last: list[float] = field(default_factory=list)


class Benchmark(frame.Frame):
    """Effects of heads, a layer sweep and a training step."""

    def __init__(self, subject: Subject, repeats: int, quick: bool):
        super().__init__(subject, repeats, quick)
        model = subject.model
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a random model answers no prompt
            self.means = vectors.task_means(model.bridge, subject.task, n=20, shots=subject.shots)
        prompts = vectors.build(model.bridge, subject.task, "zero_shot", n=subject.swept, seed=SEED)
        self.swept = [p.ids for p in prompts]
        self.floor = layer_sweep_floor(model.config, [p.ids.tolist() for p in prompts], [p.answer_ids for p in prompts])
        self.hf = model.copy()
        self.peer, self.times = HookedHeads(self.hf), Timings()
        self.gap = 0.0
        config = model.config
        self.shape = config.num_hidden_layers, config.num_attention_heads
        self.cells = np.random.default_rng(SEED).choice(
            math.prod(self.shape), min(subject.heads, math.prod(self.shape)), replace=False
        )
        self.busy: list[float] = []
        self.overhead: dict | None = None
        self.missing = ""

    def note(self, theirs: float, ours: float) -> None:
        self.gap = worst(self.gap, abs(theirs - ours))

    def measure(self) -> None:
        """Rounds of ours and of a share of the hooked heads, then the training step."""
        subject, peer = self.subject, self.peer
        # the check of the model, its hash and first passes are nobody's time
        subject.effects(self.means, 1)
        vector = vectors.extract(
            subject.model.bridge,
            subject.task,
            effects=subject.effects(self.means, 2),
            means=self.means,
            top=4,
            shots=subject.shots,
        )
        self.sweep(vector), self.forward(False), self.forward(True)
        shown = vectors.build(
            subject.model.bridge,
            subject.task,
            "shuffled",
            n=1,
            shots=subject.shots,
            split="valid",
            seed=SEED + TRIALS_SEED,
        )[0]
        self.tokens = len(shown)
        peer.probability(shown.ids, shown.answer_ids[0])
        peer.unhooked.clear()
        for number_, cells in enumerate(np.array_split(self.cells, self.repeats)):
            say(f"round {number_ + 1} of {self.repeats}: all {math.prod(self.shape)} heads, {len(cells)} hooked ones")
            others = machine.Bystanders()
            self.beat()
            seconds, ds = machine.timed(lambda: subject.effects(self.means, 1))
            self.times.one.append(seconds)
            if ds.x.values[0] != shown.x or int(ds.tokens[0]) != len(shown):
                raise RuntimeError(
                    f"the hooked prompt ({shown.x!r}) is not the one that was swept ({ds.x.values[0]!r})"
                )
            self.note(peer.probability(shown.ids, shown.answer_ids[0]), float(ds.base[0]))
            for c in cells:
                layer, head = np.unravel_index(c, self.shape)
                self.note(
                    peer.probability(shown.ids, shown.answer_ids[0], int(layer), int(head), self.means.z[layer, head]),
                    float(ds.edited[0, layer, head]),
                )
            seconds, ds = machine.timed(lambda: subject.effects(self.means, subject.trials))
            self.times.many.append(seconds / subject.trials)
            for name, call in (
                ("sweep", lambda: self.sweep(vector)),
                ("forward", lambda: self.forward(False)),
                ("forward_last", lambda: self.forward(True)),
            ):
                for _ in range(3):
                    getattr(self.times, name).append(machine.timed(call)[0])
            self.busy.append(others.share())
        self.train(vector)

    def sweep(self, vector: vectors.Vector) -> Any:
        """The vector added after every layer to bare prompts."""
        return vectors.evaluate(
            self.subject.model.bridge,
            self.subject.task,
            {"vector": vector},
            layers="all",
            n=self.subject.swept,
            seed=SEED,
            progress=False,
        )

    @torch.no_grad()
    def forward(self, last_only: bool) -> torch.Tensor:
        """One pass of these prompts together: logits at every token, or at the last only."""
        batch, last = pad_sequence(self.swept, batch_first=True), torch.tensor([len(i) - 1 for i in self.swept])
        if not last_only:
            return self.hf(batch, use_cache=False).logits
        hidden = self.hf.base_model(input_ids=batch, use_cache=False).last_hidden_state
        return self.hf.lm_head(hidden[torch.arange(len(batch)), last])

    def train(self, vector: vectors.Vector) -> None:
        """A step with the vector loss against a plain one; left out, with a word, where that part of the package is not
        there.
        """
        try:
            forgetting, training = importlib.import_module("lens.forgetting"), importlib.import_module("lens.training")
        except ImportError as error:
            self.missing = f"the training step was not measured: {error}"
            say(self.missing)
            return
        subject = self.subject
        prompts = vectors.build(subject.model.bridge, subject.task, "instruction", split="train", seed=SEED)
        rows = training.Rows.of([(p.ids.tolist(), list(p.answer_ids)) for p in prompts])
        guide = forgetting.Guide(vector.direction, self.shape[0] // 2, vector.heads)
        say("a training step with and without the vector loss")
        self.overhead = forgetting.step_cost(
            self.hf.requires_grad_(True),
            rows,
            "guided",
            guide=guide,
            batch=BATCH,
            steps=STEPS,
            repeats=2 if self.quick else 5,
            seed=SEED,
        )

    def report(self) -> dict:
        """The JSON line: headline numbers first, then details."""
        heads, t, peer = math.prod(self.shape), self.times, self.peer
        # one pass a head, and the unedited one
        published = heads * float(np.mean(peer.seconds)) + float(np.mean(peer.unhooked))
        half = (
            1.96
            * heads
            * float(np.std(peer.seconds, ddof=1))
            / math.sqrt(len(peer.seconds))
            * math.sqrt(1 - len(peer.seconds) / heads)
        )
        one, sweep = median(t.one), median(t.sweep)
        return {
            "ratio_peer": published / one,
            "seconds_per_prompt": median(t.many),
            "layer_sweep_over_forward": sweep / median(t.forward),
            "layer_sweep_floor": self.floor,
            "train_overhead": math.nan if self.overhead is None else self.overhead["ratio"],
            "max_abs_diff": self.gap,
            "ratio_peer_interval": [(published - half) / one, (published + half) / one],
            "ratio_peer_batched": published / median(t.many),
            "layer_sweep_over_forward_last": sweep / median(t.forward_last),
            "seconds": {
                "ours_one": one,
                "published": published,
                "hooked": float(np.mean(peer.seconds)),
                "unhooked": float(np.mean(peer.unhooked)),
                "sweep": sweep,
                "forward": median(t.forward),
                "forward_last": median(t.forward_last),
            },
            "train": self.overhead,
            "gflops_gemm": median(self.gemm),
            "heads": heads,
            "heads_sampled": len(peer.seconds),
            "data": {
                "task": self.subject.task.name,
                "shots": self.subject.shots,
                "prompt_tokens": self.tokens,
                "trials": self.subject.trials,
                "swept": len(self.swept),
            },
        }

    def others(self) -> dict[str, Any]:
        return {"others_by_round": self.busy}

    def timings(self) -> dict[str, Any]:
        return {
            "runs": vars(self.times) | {"hooked": self.peer.seconds, "unhooked": self.peer.unhooked},
            "gemm_runs": self.gemm,
            "cells": self.cells.tolist(),
        }


def show(bench: Benchmark, report: dict) -> str:
    """The readable tables."""
    s, t, peer, data = report["seconds"], bench.times, bench.peer, report["data"]
    low, high = report["ratio_peer_interval"]
    rows = [
        ("effects of all heads on a prompt", "by", "seconds", "min-max", "ratio", "timed"),
        (
            f"{report['heads']} heads, {data['prompt_tokens']} tokens",
            "Mnemoscope, one prompt",
            number(s["ours_one"]),
            spread(t.one),
            "1",
            f"{len(t.one)} whole",
        ),
        (
            "",
            f"Mnemoscope, {data['trials']} prompts in one call, each",
            number(report["seconds_per_prompt"]),
            spread(t.many),
            number(report["seconds_per_prompt"] / s["ours_one"]),
            f"{len(t.many)} whole",
        ),
        (
            "",
            "one hooked pass a head",
            number(s["published"]),
            "",
            number(report["ratio_peer"]),
            f"{report['heads_sampled']} heads",
        ),
        ("", "  a pass", number(s["hooked"]), spread(peer.seconds), "", ""),
    ]
    sweep = [
        ("a vector after every layer", "", "seconds", "min-max", "ratio"),
        (f"{data['swept']} prompts x {bench.shape[0]} layers", "", number(s["sweep"]), spread(t.sweep), "1"),
        (
            "one pass of them, all logits",
            "",
            number(s["forward"]),
            spread(t.forward),
            number(report["layer_sweep_over_forward"]),
        ),
        ("  operations that an exact sweep needs, of that pass's", "", "", "", number(report["layer_sweep_floor"])),
        (
            "one pass of them, last token's logits",
            "",
            number(s["forward_last"]),
            spread(t.forward_last),
            number(report["layer_sweep_over_forward_last"]),
        ),
    ]
    if bench.overhead is None:
        train = bench.missing
    else:
        o = bench.overhead
        train = table(
            [
                ("a training step", "", "seconds", "ratio", "each round"),
                ("plain", "", number(o["plain"]), "1", ""),
                (
                    "with the vector loss",
                    "",
                    number(o["method"]),
                    number(o["ratio"]),
                    " ".join(number(r) for r in o["ratios"]),
                ),
                ("the teacher, once a stage", "", number(o["prepare_seconds"]), "", ""),
            ]
        )
    return "\n".join(
        [
            (
                f"instruction vectors, {bench.subject.model.name}, task {data['task']}, {data['shots']} shots, float32,"
                f" {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}"
            ),
            "",
            table(rows),
            "",
            (
                f"published: {report['heads']} hooked passes and one without an edit; 95% interval of the ratio, over"
                f" the heads drawn: {low:.3g} to {high:.3g}."
            ),
            "",
            table(sweep),
            "",
            train,
            "",
            f"matrix products: {report['gflops_gemm']:.3g} GFLOP/s, min-max {spread(bench.gemm)}",
            f"largest difference of probabilities: {report['max_abs_diff']:.1e} (n = {report['heads_sampled']})",
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
        what="probabilities",
        file=file,
    )
