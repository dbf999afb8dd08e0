"""What of a fact's reading is left: numbers of each person, their table, and the claims about them.

Everything is compared within people: in another of the four trainings the same person is in another group. A gain is
beside the same person's own drift, where nothing about it was read. Intervals are over people; the four trainings
begin with the same weights, and people of one training share what else was read.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float

from ...stats import Interval
from ..claims import Rows
from ..common import clear_of, columns, mean_interval, shown
from .acquisition import ARMS, GROUPS, PROBES, Arm, Course

DUPLICATED, PARAPHRASED, ONCE, NEVER = GROUPS
SAME, OTHER, QUESTION = PROBES
CONSTANT, FALLING, LARGER = (arm.name for arm in ARMS)
READ = (DUPLICATED, PARAPHRASED)


def name_of(arm: Arm) -> str:
    """The name of an arm's trainings among the parts of a run."""
    return f"acquisition, {arm.name}"


def people(parts: Mapping[tuple[str, int], xr.Dataset], course: Course) -> pd.DataFrame:
    """A line an arm, probe, group and person: `added` (the mean over readings of the highest look within the steps
    after one, less the look before it), `peak` (the highest within the steps after the last reading), `end` (the last
    look) and `slope` (of the looks from the last reading's on, nats per e-fold of steps), nats.
    """
    lines = []
    for arm in ARMS:
        every = course.every // arm.batch
        for number in range(len(GROUPS)):
            ds = parts[name_of(arm), number]
            step = ds.step.values
            before = [k * every for k in range(course.readings)]
            windows = [(step > at) & (step <= at + every) for at in before]
            later = step > before[-1] + every
            log = np.log(step[later] - before[-1])
            weight = (log - log.mean()) / ((log - log.mean()) ** 2).sum()
            for probe in PROBES:
                v = ds.log_p.sel(probe=probe).values.astype(float)
                highest = np.stack([v[window].max(0) for window in windows])
                start = np.stack([v[step == at][0] for at in before])
                lines.append(
                    pd.DataFrame(
                        {
                            "arm": arm.name,
                            "probe": probe,
                            "group": ds.group.values.astype(str),
                            "person": ds.person.values.astype(str),
                            "added": (highest - start).mean(0),
                            "peak": highest[-1],
                            "end": v[-1],
                            "slope": weight @ v[later],
                        }
                    )
                )
    return pd.concat(lines, ignore_index=True)


def by_person(table: pd.DataFrame, arm: str, probe: str, column: str) -> pd.DataFrame:
    """A column of the people's table: a line a person, a column a group."""
    of = table[(table.arm == arm) & (table.probe == probe)]
    return of.pivot(index="person", columns="group", values=column)


def gains(table: pd.DataFrame, arm: str, probe: str, group: str) -> Float[np.ndarray, "person 2"]:
    """At the peak and at the end, beyond the same person's where nothing about it was read; nats."""
    each = [by_person(table, arm, probe, column) for column in ("peak", "end")]
    return np.stack([of[group] - of[NEVER] for of in each], 1)


def shares(gains: Float[np.ndarray, "person 2"]) -> Float[np.ndarray, " person"]:
    """Values, one a person, whose mean is the share of the peak that is left at the end, and whose spread is that of
    this ratio of means (linearised).
    """
    peak, end = gains.T
    share = end.mean() / peak.mean()
    return share + (end - share * peak) / peak.mean()


def retained(table: pd.DataFrame) -> pd.DataFrame:
    """A line an arm, probe and group that was read about: the gain at the peak, and the share of it that is left."""
    lines = []
    for arm in ARMS:
        for probe in PROBES:
            for group in (*READ, ONCE):
                of = gains(table, arm.name, probe, group)
                # what was read once, first, has no peak after the last reading
                left = mean_interval(shares(of)) if group in READ else mean_interval([])
                added = by_person(table, arm.name, probe, "added")[group]
                lines.append(
                    {"arm": arm.name, "probe": probe, "group": group, "people": len(of)}
                    | {"added": added.mean()}
                    | columns("peak", mean_interval(of[:, 0]))
                    | columns("end", mean_interval(of[:, 1]))
                    | columns("share", left)
                )
    return pd.DataFrame(lines)


def curves(parts: Mapping[tuple[str, int], xr.Dataset]) -> pd.DataFrame:
    """A line an arm, look and group: the mean log-probability of the answer to the question, over people; steps are of
    the smallest batch.
    """
    lines = []
    for arm in ARMS:
        all_of = [parts[name_of(arm), number] for number in range(len(GROUPS))]
        steps = all_of[0].step.values * arm.batch
        for group in GROUPS:
            each = [ds.log_p.sel(probe=QUESTION).values[:, ds.group.values == group] for ds in all_of]
            mean = np.concatenate(each, 1).mean(1)
            lines.append(pd.DataFrame({"arm": arm.name, "group": group, "step": steps, "log_p": mean}))
    return pd.concat(lines, ignore_index=True)


def tables(parts: Mapping[tuple[str, int], xr.Dataset], course: tuple[int, ...]) -> dict[str, pd.DataFrame]:
    """All of them; empty ones where nothing was trained for them."""
    if not course:
        return {name: pd.DataFrame() for name in ("acquisition_people", "acquisition", "acquisition_curves")}
    each = people(parts, Course(*course))
    return {"acquisition_people": each, "acquisition": retained(each), "acquisition_curves": curves(parts)}


def verdicts(rows: Rows, table: pd.DataFrame, course: tuple[int, ...]) -> None:
    """The claims about acquisition, each with its interval over people."""
    if not course:
        for key in (key for key in rows.claims if key.startswith("acquire_")):
            rows.add(key, "nothing was trained for it", "0 people", "not tested: no fact is read by this preset")
        return
    n = f"{table.person.nunique()} people, each in every group; {course[1]} readings, {course[2]} steps after the last"

    def judged(key: str, interval: Interval, here: str) -> None:
        rows.put(key, interval)
        rows.add(key, here, n, clear_of(interval, float(rows.claims[key].null)), effects=key)

    added = {probe: by_person(table, CONSTANT, probe, "added") for probe in PROBES}
    beyond = {p: of[list(READ)].mean(axis=1) - of[NEVER] for p, of in added.items()}
    effect = mean_interval(beyond[SAME])
    listed = ", ".join(f"{p} {of.mean():+.2f}" for p, of in beyond.items() if p != SAME)
    judged(
        "acquire_added",
        effect,
        f"{added[SAME][list(READ)].mean(axis=1).mean():+.2f} a reading, drift {added[SAME][NEVER].mean():+.2f}:"
        f" {shown(effect, sign=True)} nats ({listed})",
    )
    left = {(arm.name, g): shares(gains(table, arm.name, QUESTION, g)) for arm in ARMS for g in READ}
    apart = left[CONSTANT, PARAPHRASED] - left[CONSTANT, DUPLICATED]
    share = mean_interval(apart)
    wordings = {
        probe: [shares(gains(table, CONSTANT, probe, group)).mean() for group in READ] for probe in (SAME, OTHER)
    }
    others = ", ".join(f"{probe} {more - less:+.2f}" for probe, (less, more) in wordings.items())
    judged(
        "acquire_paraphrased",
        share,
        f"{left[CONSTANT, PARAPHRASED].mean():.2f} against {left[CONSTANT, DUPLICATED].mean():.2f}:"
        f" {shown(share, sign=True)} ({others})",
    )
    both = {arm.name: (left[arm.name, DUPLICATED] + left[arm.name, PARAPHRASED]) / 2 for arm in ARMS}
    for key, arm in (("acquire_batch", LARGER), ("acquire_schedule", FALLING)):
        change = mean_interval(both[arm] - both[CONSTANT])
        here = f"{both[arm].mean():.2f} against {both[CONSTANT].mean():.2f}: {shown(change, sign=True)}"
        judged(key, change, here)
    own = by_person(table, CONSTANT, SAME, "peak") - by_person(table, CONSTANT, OTHER, "peak")
    copied = mean_interval(own[DUPLICATED] - own[PARAPHRASED])
    judged("acquire_wording", copied, f"{shown(copied, sign=True)} nats")
    once = mean_interval(gains(table, CONSTANT, QUESTION, ONCE)[:, 1])
    judged("acquire_once", once, f"{shown(once, sign=True)} nats")
    slopes = by_person(table, CONSTANT, QUESTION, "slope")
    falls = {g: rows.put(f"acquire_slope {g}", mean_interval(slopes[g] - slopes[NEVER])) for g in READ}
    rows.add(
        "acquire_slope",
        "; ".join(f"{g} {shown(of, sign=True)}" for g, of in falls.items()) + " nats per e-fold of steps",
        n,
        "reported",
        effects=tuple(f"acquire_slope {g}" for g in READ),
    )
