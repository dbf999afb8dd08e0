"""The claims against what was trained. The unit is the seed: weights, rows and order; arms are compared within it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from ...stats import Interval, holm
from ..claims import Rows
from ..common import clear_of, shown, student, table_of, verdict
from . import tables as frames
from .arms import ALL, HALF_BATCH, HALF_STEPS, UNIQUE_ONLY, Preset, repeats
from .claims import CLAIMS
from .tables import LEAST, NATS, values

NONE = "nothing was trained for it"
MISSING = "not tested: {} is not trained by this preset"


def verdicts(tables: Mapping[str, pd.DataFrame], plan: Preset) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The table *claim | paper | here | n | multiplicity | verdict* and its numbers."""
    rows, ends = Rows(CLAIMS), tables["ends"]
    sizes = [d for d in plan.sizes if len(values(ends, HALF_BATCH, d))]
    passes = _induction(rows, ends, plan.main)
    _few(rows, ends, plan.main)
    for d in sizes:
        _harm(rows, ends, d, plan)
    _memorising(rows, ends, plan)
    _peak(rows, ends, sizes, plan)
    _as_sizes(rows, tables["sizes"], ends, plan, passes)
    _stopping(rows, ends, plan)
    for what in ("decay", "dropout"):
        _regular(rows, ends, plan, what)
    _orders(rows, ends, plan)
    _text(rows, ends, plan)
    _clock(rows, tables["arms"], plan.main)
    rows.numbers["trainings"] = len(ends)
    return table_of(rows), rows.numbers


def _n(of: pd.Series) -> str:
    return f"{of.notna().sum()} seeds"


def _induction(rows: Rows, ends: pd.DataFrame, d: int) -> bool:
    """A0, of each training on new rows alone; whether those without the subset pass."""
    passes = {}
    for arm in (ALL, *UNIQUE_ONLY):
        heads = values(ends, arm, d, "prefix_matching")
        if not len(heads):
            passes[arm] = False
            rows.add("induction", NONE, "0 seeds", MISSING.format(arm), arm=arm)
            continue
        below = values(ends, arm, d, "copy_1") - values(ends, arm, d, "copy_2")
        every = bool(((heads >= LEAST) & (below >= NATS)).all())
        passes[arm] = every
        mean = rows.put(f"prefix_matching {arm}", student(heads))
        rows.add(
            "induction",
            f"prefix matching {shown(mean)}, least {heads.min():.2f}; second copies lower by {below.min():.2f} nats or"
            " more",
            _n(heads),
            verdict(every, not ((heads >= LEAST) & (below >= NATS)).any(), otherwise="in some seeds"),
            effects=f"prefix_matching {arm}",
            arm=arm,
        )
    return all(passes[arm] for arm in UNIQUE_ONLY)


def _few(rows: Rows, ends: pd.DataFrame, d: int) -> None:
    cost = values(ends, repeats(10), d) - values(ends, ALL, d)
    if not len(cost.dropna()):
        return rows.add("few", NONE, "0 seeds", MISSING.format("the count 10"))
    left_out = values(ends, HALF_BATCH, d) - values(ends, ALL, d)
    more = rows.put("few", student(cost - 0.25 * left_out))
    rows.add(
        "few",
        f"cost {shown(student(cost), 3, sign=True)} nats, of leaving out {shown(student(left_out), 3, sign=True)};"
        f" less a quarter {shown(more, 3, sign=True)}",
        _n(cost),
        clear_of(more, more=False),
        effects="few",
    )
    return None


def _above(ends: pd.DataFrame, arm: str, d: int) -> pd.Series:
    """The text loss of an arm above the higher of the two trainings without the subset, by seed."""
    lines = pd.concat([values(ends, other, d) for other in UNIQUE_ONLY], axis=1)
    return (values(ends, arm, d) - lines.max(axis=1)).dropna()


def _harm(rows: Rows, ends: pd.DataFrame, d: int, plan: Preset) -> None:
    """A2 and A3, of one size."""
    size = int(ends[ends.d == d].parameters.iloc[0])
    counts = sorted(r for r in plan.repeats if len(_above(ends, repeats(r), d)))
    above = {r: _above(ends, repeats(r), d) for r in counts}
    raw = [float(scipy_stats.ttest_1samp(of, 0).pvalue) if len(of) > 1 else np.nan for of in above.values()]
    adjusted = dict(zip(counts, np.atleast_1d(holm(raw)))) if np.isfinite(raw).all() and raw else {}
    for count, of in above.items():
        harm = rows.put(f"harm {size} {count}", student(of))
        p = float(adjusted.get(count, np.nan))
        word = clear_of(harm)
        if word == "holds" and not p < 0.05:
            word = verdict(False, False, otherwise=f"not after Holm over {len(counts)}")
        each = frames.harms(ends, d, repeats(count))
        rows.add(
            "harm",
            f"{shown(harm, 3, sign=True)} nats above the higher line (half the steps"
            f" {shown(each[HALF_STEPS], 3, sign=True)}, half the batch {shown(each[HALF_BATCH], 3, sign=True)}); p by"
            f" Holm {p:.3g}, approximate",
            _n(of),
            word,
            f"Holm over {len(counts)}",
            effects=f"harm {size} {count}",
            count=count,
            size=size,
        )
    top, largest = plan.worst, max(counts, default=0)
    if top not in counts or largest <= top:
        missing = MISSING.format(f"a count above {top}, or that count itself,")
        return rows.add("descent", NONE, "0 seeds", missing, count=top, size=size)
    less = values(ends, repeats(top), d) - values(ends, repeats(largest), d)
    fall = rows.put(f"descent {size}", student(less))
    word = clear_of(fall)
    rows.add(
        "descent",
        f"text loss at {top} repeats less that at {largest}: {shown(fall, 3, sign=True)} nats",
        _n(less),
        f"{word}; a plateau" if word.startswith("not shown") else word,
        effects=f"descent {size}",
        count=top,
        size=size,
    )
    return None


def _memorising(rows: Rows, ends: pd.DataFrame, plan: Preset) -> None:
    top, d = plan.worst, plan.main
    if not len(values(ends, repeats(top), d)):
        return rows.add("memorising", NONE, "0 seeds", MISSING.format(repeats(top)), count=top)
    share = values(ends, repeats(top), d, "subset") / values(ends, ALL, d, "all")
    mean = rows.put("memorising", student(share))
    inside = CLAIMS["memorising"].within(mean.low, mean.high)
    outside = mean.high < 0.2 or mean.low > 0.8
    rows.add(
        "memorising",
        f"the subset's loss is {shown(mean)} of that of new rows",
        _n(share),
        verdict(inside, outside, otherwise="the interval reaches beyond the bounds")
        if np.isfinite(mean.low)
        else f"not shown: {mean.method}",
        effects="memorising",
        count=top,
    )
    return None


def _peak(rows: Rows, ends: pd.DataFrame, sizes: list[int], plan: Preset) -> None:
    """The worst count of each seed is found in that seed alone, so that seeds are compared, not the best of means."""
    tops = {d: frames.worst(ends, d, plan.repeats) for d in sorted(sizes)}
    tops = {d: of for d, of in tops.items() if len(of)}
    if len(tops) < 2:
        return rows.add("peak", NONE, "0 seeds", MISSING.format("a second size"))
    small, large = tops[min(tops)], tops[max(tops)]
    apart = np.log10(small.astype(float)) - np.log10(large.astype(float))
    fall = rows.put("peak", student(apart))
    listed = ", ".join(f"d {d}: {'/'.join(map(str, of))}" for d, of in tops.items())
    here = f"worst counts by seed {listed}; decades lower {shown(fall, sign=True)}"
    return rows.add("peak", here, _n(apart), clear_of(fall), effects="peak")


def _as_sizes(rows: Rows, sizes: pd.DataFrame, ends: pd.DataFrame, plan: Preset, passes: bool) -> None:
    """A5 and A6, at the worst count and at the largest; no size is made up where there is no head to translate."""
    d = plan.main
    for count in dict.fromkeys((plan.worst, max(plan.repeats))):
        heads = values(ends, repeats(count), d, "prefix_matching")
        with_head = f"a head in {int((heads >= LEAST).sum())} of {len(heads)} seeds"
        for key, measure in (("copying", "copy_2"), ("heads", "prefix_matching")):
            if sizes.empty or not len(heads):
                rows.add(key, NONE, "0 seeds", MISSING.format("a ladder of two sizes, or that count,"), count=count)
                continue
            of = sizes[(sizes.d == d) & (sizes.arm == repeats(count))].set_index("measure")
            text = f"by text loss {_size(of.loc['text'])}; own size {int(of.own.iloc[0]):,}"
            own, other = _interval(of.loc[measure]), _interval(of.loc["text"])
            if not passes or np.isnan([own.low, own.high]).any():
                without = "no head without the subset" if not passes else own.method
                rows.add(key, f"{with_head}; {text}", _n(heads), f"not tested: {without}", count=count)
                continue
            rows.put(f"size {measure} {count}", own)
            rows.put(f"size text {count}", other)
            apart, beyond = own.high < other.low, own.low > other.high
            word = verdict(apart, beyond, otherwise="the intervals overlap or are missing")
            here = f"{_size(of.loc[measure])}; {text}"
            rows.add(key, here, _n(heads), word, effects=f"size {measure} {count}", count=count)


def _interval(row: pd.Series) -> Interval:
    return Interval(float(row["size"]), float(row.low), float(row.high), 0.95, 0, str(row.kind))


def _size(row: pd.Series) -> str:
    if not np.isfinite([row.low, row.high]).any():
        return str(row.kind)
    bounds = f"[{row.low:,.0f}, {row.high:,.0f}]"
    return f"{row['size']:,.0f} {bounds}" if np.isfinite(row["size"]) else f"{row.kind} {bounds}"


#: Where nothing was lost nothing can be saved.
NO_HARM = "not tested: repeats do no harm here that its interval shows"


def _stopping(rows: Rows, ends: pd.DataFrame, plan: Preset) -> None:
    name, d = repeats(plan.worst), plan.main
    end = values(ends, name, d)
    if not len(end):
        return rows.add("stopping", NONE, "0 seeds", MISSING.format(name))
    stops = [name, f"{name}, ends at half"]
    chose, reports = (
        pd.concat([values(ends, arm, d, measure).rename(arm) for arm in stops], axis=1)
        for measure in ("stopped_choose", "stopped")
    )
    best = pd.Series({seed: reports.loc[seed, arm] for seed, arm in chose.idxmin(axis=1).items()})
    harm, saved = _above(ends, name, d), end - best
    more = rows.put("stopping", student(saved - 0.5 * harm))
    both = chose[stops[1]].notna().any()
    where = "looks and a schedule that ends at half" if both else "looks inside the schedule alone"
    rows.add(
        "stopping",
        f"saves {shown(student(saved), 3, sign=True)} of {shown(student(harm), 3, sign=True)} nats ({where}; chosen on"
        f" other rows than reported); less half {shown(more, 3, sign=True)}",
        _n(saved),
        clear_of(more) if float(student(harm).low) > 0 else NO_HARM,
        effects="stopping",
    )
    return None


def _regular(rows: Rows, ends: pd.DataFrame, plan: Preset, what: str) -> None:
    name, d = repeats(plan.worst), plan.main
    how = {"decay": f"A weight decay of {plan.decay:g}", "dropout": f"Dropout of {plan.dropout:g}"}[what]
    under = values(ends, f"{name}, {what}", d) - values(ends, f"{HALF_BATCH}, {what}", d)
    if not len(under.dropna()):
        return rows.add("regular", NONE, "0 seeds", MISSING.format(what), how=how)
    plain = values(ends, name, d) - values(ends, HALF_BATCH, d)
    more = rows.put(f"regular {what}", student(under - 0.5 * plain))
    rows.add(
        "regular",
        f"harm {shown(student(under), 3, sign=True)}, without it {shown(student(plain), 3, sign=True)} nats",
        _n(under),
        clear_of(more, more=False) if float(student(plain).low) > 0 else NO_HARM,
        effects=f"regular {what}",
        how=how,
    )
    return None


def _orders(rows: Rows, ends: pd.DataFrame, plan: Preset) -> None:
    name, d = repeats(plan.worst), plan.main
    for key, order, measure, more in (("heals", "first", "text", False), ("order", "last", "prefix_matching", True)):
        apart = values(ends, f"{name} {order}", d, measure) - values(ends, name, d, measure)
        if not len(apart.dropna()):
            rows.add(key, NONE, "0 seeds", MISSING.format(f"the order {order}"))
            continue
        found = rows.put(f"{key} {order}", student(apart))
        heads = values(ends, f"{name} {order}", d, "prefix_matching")
        rows.add(
            key,
            f"{measure.replace('_', ' ')} {shown(found, 3, sign=True)} beside mixed; prefix matching {heads.min():.2f}"
            f" to {heads.max():.2f}",
            _n(apart),
            clear_of(found, more=more),
            effects=f"{key} {order}",
        )


def _text(rows: Rows, ends: pd.DataFrame, plan: Preset) -> None:
    for count in plan.text_repeats:
        heads = values(ends, f"text alone {repeats(count)}", plan.main, "prefix_matching")
        if not len(heads):
            rows.add("text", NONE, "0 seeds", MISSING.format("text alone repeated"), count=count)
            continue
        mean = rows.put(f"text {count}", student(heads))
        known = values(ends, f"text alone {repeats(count)}", plan.main, "subset")
        rows.add(
            "text",
            f"prefix matching {shown(mean)}; the subset's loss {known.mean():.2f}",
            _n(heads),
            clear_of(mean, LEAST),
            effects=f"text {count}",
            count=count,
        )


def _clock(rows: Rows, arms: pd.DataFrame, d: int) -> None:
    of = arms[arms.d == d]
    told = [f"{r.arm}: " + (f"step {r.head_at:.0f}" if r.heads == r.seeds else f"{r.heads} of {r.seeds}")
            for r in of.itertuples()]  # fmt: skip
    rows.add("clock", "; ".join(told), f"{int(of.seeds.max())} seeds", "reported")
