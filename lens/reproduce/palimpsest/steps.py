"""The tables of the palimpsest experiment, one function a table; each is kept under the hash of its configuration."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from ... import provenance
from ...organisms.palimpsest.derivatives import PROMPT
from ...organisms.palimpsest.text import START
from ..common import step
from .bench import REFERENCE, Bench, effect, unused

LEVELS = (1e-2, 1e-4)
STATISTICS = ("difference", "poly4")
DRAWS = 200
ROWS = (100, 250, 500, 1000, 2000, 4000, 8000)
WINDOWS = (8, 16, 32)
#: suspects whose power is followed over windows too
WINDOWED = ("", "/tune-25")
#: derivatives in the figure of power
SHOWN = ("tune-5", "tune-25", "tune-100", "lora-25", "int4", "pruned-50", "other-order-25", "soft", "samples")
STOPS = (1e2, 1e4)
ARRIVALS = 20
GRAMS = (6, 12)  # bytes


@step("queries")
def queries(bench: Bench) -> pd.DataFrame:
    """Every suspect against every Alice whose order it may have: Alices, derivatives, innocent models, a sister in the
    same order, and the trap of a wrong
    reference. Each suspect is asked twice: by the difference to the reference, and by the residual of a polynomial of
        degree 4 in it.
    """
    family, lines = bench.family, []
    innocent = [name for name in family.entries if name.startswith("independent-")]
    innocent += [name for name in ("disjoint", "smaller") if name in family.entries]
    for i in bench.seeds:
        for statistic in STATISTICS:
            asked = [("alice", f"alice-{i}")]
            asked += [("derivative", f"alice-{i}/{name}") for name in family.size.derivatives]
            asked += [("innocent", name) for name in innocent]
            asked += [("another alice", f"alice-{j}") for j in bench.seeds if j != i]
            lines += [bench.line(group, suspect, i, REFERENCE, statistic=statistic) for group, suspect in asked]
    if "same-order" in family.entries:
        lines.append(bench.line("sister", "same-order", 0, REFERENCE))
        lines += [bench.line("trap", name, 0, "same-order", declared=None) for name in innocent]
    return pd.DataFrame(lines)


@step("references")
def references(bench: Bench) -> pd.DataFrame:
    """Each Alice with no reference, with each kind of reference, and with other ways to use it."""
    lines = []
    for i in bench.seeds:
        me = f"alice-{i}"
        lines += [
            bench.line("reference", me, i),
            *(
                bench.line("reference", me, i, name)
                for name in (REFERENCE, "disjoint", "smaller")
                if name in bench.family.entries
            ),
        ]
        lines.append(bench.line("reference", me, i, REFERENCE, "independent-0"))
        lines += [bench.line("reference", me, i, REFERENCE, statistic=statistic) for statistic in ("linear", "poly4")]
    return pd.DataFrame(lines)


@step("arms")
def arms(bench: Bench) -> pd.DataFrame:
    """Alices of every learning-rate schedule, each with a reference of the same schedule; and of two epochs, by both
    epochs' keys or one's.
    """
    size = bench.family.size
    lines = [bench.line("constant", f"alice-{i}", i, REFERENCE) for i in bench.seeds]
    for arm in size.arms:
        lines += [
            bench.line(arm, f"{arm}/alice-{i}", i, f"{arm}/reference", of=f"{arm}/alice-{i}")
            for i in range(size.arm_seeds)
        ]
    for i in range(size.epoch_seeds):
        name = f"epochs/alice-{i}"
        both = bench.transcript(name)
        for part, transcript in (
            ("both epochs", both),
            *((f"epoch {e + 1}", both.epoch(e)) for e in range(both.epochs)),
        ):
            bench.held[f"{name} {part}"] = transcript
            lines.append(bench.line(f"two epochs: {part}", name, i, "epochs/reference", of=f"{name} {part}"))
    return pd.DataFrame(lines)


@step("power")
def power(bench: Bench) -> pd.DataFrame:
    """How often a part of the rows is enough: `DRAWS` subsamples without replacement of every size, for Alices and all
    derivatives.

    Two tests: "normal" compares the exactly standardised rank correlation with the normal tail (an approximation, for
    speed: no permutation is drawn), "key" the guaranteed bound. Subsamples of one run share its weights: the unit over
    which to take intervals is the seed. `WINDOWS` of the first tokens of each row are scored for `WINDOWED` (Alice and
    one tuned model) only; for other suspects `tokens` grows with the rows alone.
    """
    lines, reference = [], bench.family.nll(REFERENCE)
    lengths = bench.family.lengths - 1
    for i in bench.seeds:
        key = bench.family.keys(f"alice-{i}")[:, 0]
        for name in ("", *(f"/{d}" for d in bench.family.size.derivatives)):
            suspect = bench.family.nll(f"alice-{i}{name}")
            for window in (None, *(WINDOWS if name in WINDOWED else ())):
                score = np.nanmean(suspect[:, :window].astype(float) - reference[:, :window], axis=1)
                tokens = float(np.minimum(lengths, window or lengths.max()).mean())
                for n in (*(n for n in ROWS if n < len(key)), len(key)):
                    z, rates = detection(score, key, n, DRAWS if n < len(key) else 1, [bench.seed, i, n])
                    lines.append(
                        {
                            "suspect": f"alice{name}",
                            "seed": i,
                            "n": n,
                            "window": window or 0,
                            "tokens": n * tokens,
                            "median_z": z,
                            **rates,
                        }
                    )
        bench.say(f"power of alice-{i} and its derivatives")
    return pd.DataFrame(lines)


def detection(score: np.ndarray, key: np.ndarray, n: int, draws: int, seed) -> tuple[float, dict[str, float]]:
    """Median z and the share of `draws` subsamples of n rows in which each test rejects at each of `LEVELS`, in the
    direction of training (lower NLL later).

    `normal_<level>`: the normal tail of z, an approximation; `key_<level>`: the guaranteed key bound.
    """
    rng = np.random.default_rng(seed)
    index = np.stack([rng.permutation(len(score))[:n] for _ in range(draws)])
    ranks = stats.rankdata(score[index], axis=1)
    ranks -= ranks.mean(axis=1, keepdims=True)
    places = stats.rankdata(key[index], axis=1)
    places -= places.mean(axis=1, keepdims=True)
    norm = (ranks**2).sum(axis=1)
    z = (ranks * places).sum(axis=1) / np.sqrt(norm * (places**2).sum(axis=1)) * np.sqrt(n - 1)
    bound = (ranks * (key[index] - 0.5)).sum(axis=1) / np.sqrt(norm / 12)
    logs = {"normal": stats.norm.logcdf(z), "key": np.where(bound < 0, -(bound**2) / 2, 0.0)}
    return float(np.median(z)), {
        f"{test}_{level:g}": float((log <= np.log(level)).mean()) for test, log in logs.items() for level in LEVELS
    }


@step("stopping")
def stopping(bench: Bench) -> pd.DataFrame:
    """Rows asked until the e-value reaches each of `STOPS`, over `ARRIVALS` random sequences of asking: Alices, one
    tuned, one innocent model. NaN: not within all rows.
    """
    lines = []
    for i in bench.seeds:
        for suspect in (f"alice-{i}", f"alice-{i}/tune-25", "independent-0"):
            for arrival in range(ARRIVALS):
                found = bench.ask(suspect, f"alice-{i}", REFERENCE, seed=arrival, resamples=199)
                for stop in STOPS:
                    reached = np.flatnonzero(found.log_e >= np.log(stop))
                    lines.append(
                        {
                            "suspect": (
                                suspect.removeprefix(f"alice-{i}/") if "/" in suspect else suspect.split("-")[0]
                            ),
                            "seed": i,
                            "arrival": arrival,
                            "stop": stop,
                            "rows": float(reached[0] + 1) if len(reached) else np.nan,
                        }
                    )
    return pd.DataFrame(lines)


@step("retrains")
def retrains(bench: Bench) -> pd.DataFrame:
    """Shuffle-retrain: texts of each writer at each temperature under Alice-0 and its retrained copies; exact rank p,
    Student's t, and the published plug-in p side by side.
    """
    family, lines = bench.family, []
    for writer, temperature in family.writings():
        true = family.text_score("alice-0", writer, temperature)
        others = np.stack([family.text_score(f"retrain/{j}", writer, temperature) for j in range(family.size.retrains)])
        tokens = (family.text(writer, temperature)[1] - 1 - PROMPT).clip(min=0)
        for share in (0.1, 0.3, 1.0):
            some = slice(0, max(2, round(share * len(true))))
            found = provenance.shuffle_retrain(true[some], others[:, some])
            test, gap = found.tests[0], found.intervals[0]
            lines.append(
                {
                    "writer": writer,
                    "temperature": temperature,
                    "texts": found.n,
                    "tokens": int(tokens[some].sum()),
                    "m": family.size.retrains,
                    "gap": gap.estimate,
                    "low": gap.low,
                    "high": gap.high,
                    "p_rank": float(found.p),
                    "floor": float(found.p.floor),
                    "p_t": float(test.t),
                    "p_published": float(test.published),
                    "z": test.z,
                }
            )
    return pd.DataFrame(lines)


@step("partitions")
def partitions(bench: Bench) -> pd.DataFrame:
    """Partition test: do sampled texts share more n-grams (bytes) with late rows of Alice-0's order? Beside it, keys
    that nobody trained by.
    """
    lines, transcript = [], bench.transcript("alice-0")
    null = provenance.Transcript(
        None,
        unused(bench.family.entries["alice-0"].recipe),
        "key",
        name="keys that nobody used",
        shuffled_as="drawn uniformly, used by nobody",
    )
    for writer, temperature in bench.family.writings():
        ids, lengths = bench.family.text(writer, temperature)
        documents = [row[1 + PROMPT : length] for row, length in zip(ids, lengths) if length - 1 - PROMPT >= GRAMS[0]]
        matches = match(documents, transcript)
        for name, of in (("alice-0", transcript), ("nobody", null)):
            line = {
                "writer": writer,
                "temperature": temperature,
                "keys": name,
                "texts": len(documents),
                "tokens": int(sum(map(len, documents))),
                "n": len(of),
                "matched": 0,
                "rho": np.nan,
                "low": np.nan,
                "high": np.nan,
                "z": np.nan,
                "p": 1.0,
                "p_permutation": 1.0,
            }  # what stays where no n-gram matches at all
            if len(matches.row):
                found = provenance.partition(matches, of, name=writer, resamples=bench.resamples, seed=bench.seed)
                line |= {"matched": found.record["rows"]["with a match"], **effect(found)}
            lines.append(line)
    return pd.DataFrame(lines)


def match(documents: list[np.ndarray], transcript: provenance.Transcript):
    """n-gram matches of byte documents with a transcript's rows."""
    from ...provenance.observation import match as matched

    return matched([np.asarray(d[d < START], dtype=np.int64) for d in documents], transcript, k=GRAMS, progress=False)
