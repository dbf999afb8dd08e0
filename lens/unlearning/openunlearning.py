"""OpenUnlearning's measures, by its names, of every look of every arm."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy import stats as scipy_stats

from ..arguments import Seed, Share, door
from ..stats.bounds import SHARE
from ..stats.labels import auc
from ..stats.means import NONE, mean_interval
from ..stats.samples import Interval
from ..stats.units import unit_means
from .errors import UnlearningError
from .looks import ANSWERED, CHOSEN
from .outcome import Result

#: What OpenUnlearning adds where it divides.
TINY = 1e-10


@door(UnlearningError)
def measures(result: Result, *, level: Share = 0.95, seed: Seed = 0) -> pd.DataFrame:
    """OpenUnlearning's measures: one line an arm, look and measure, with `dose`, `value`, `low`, `high`,
    `interval_kind`, `n`.

    - `forget_Q_A_Prob`, `retain_Q_A_Prob`: mean probability of an answer, the geometric mean over its tokens.
    - `forget_Truth_Ratio`: mean of min(r, 1 / r), where r is the probability of wrong answers (geometric mean) over
      that of the paraphrased answer, or of the answer where there is no paraphrase. `retain_Truth_Ratio`: mean of
      max(0, 1 - r). They need perturbed answers.
    - `forget_quality`: the p-value of the Kolmogorov-Smirnov test that r of the forget set is distributed as the
      twin's; it needs a twin. High is like the twin, or too few rows.
    - `forget_Q_A_ROUGE`, `retain_Q_A_ROUGE`, `ra_Q_A_ROUGE`, `wf_Q_A_ROUGE`: mean ROUGE-L recall of the answers in what
      the model writes; they need `unlearn(..., rouge=)`.
    - `ra_Q_A_Prob_normalised`, `wf_Q_A_Prob_normalised`: of TOFU's real authors and world facts, mean of an answer's
      probability over the sum of its own and those of the wrong answers. `ra_Truth_Ratio`, `wf_Truth_Ratio`: as the
      retain set's, against the answer itself.
    - `model_utility`: the harmonic mean of what is there of the retain set's measures and of these; there all nine are,
      and the kind says which are here.
    - `mia_min_k`: the area under the curve of Min-40 % told between the forget set (members) and the hold-out.
      `privleak`: 100 ((1 - area) - (1 - twin's)) / (1 - twin's), with .5 for the twin's where there is none.

    Intervals of means are over units; of areas DeLong's; of a p-value, of a harmonic mean and of a ratio of areas there
    is none, and the kind says so.

    Source: OpenUnlearning (Dorna et al. 2025), src/evals/metrics; Maini et al. 2024, TOFU, section 2.2.
    """
    lines: list[dict[str, Any]] = []
    names = [str(a) for a in result.arm.values]
    for a, arm in enumerate(names):
        for k in np.flatnonzero(~np.isnan(result.dose.values[a])).tolist():
            for measure, interval in _of_look(result, a, k, names, level, seed).items():
                lines.append(
                    {
                        "arm": arm,
                        "look": k,
                        "dose": float(result.dose.values[a, k]),
                        "measure": measure,
                        "value": float(interval.estimate),
                        "low": float(interval.low),
                        "high": float(interval.high),
                        "interval_kind": str(interval.kind),
                        "n": int(interval.n),
                    }
                )
    columns = ["arm", "look", "dose", "measure", "value", "low", "high", "interval_kind", "n"]
    return pd.DataFrame(lines, columns=columns)


def _of_look(result: xr.Dataset, a: int, k: int, names: list[str], level: float, seed: int) -> dict[str, Interval]:
    found: dict[str, Interval] = {}

    def over(name: str, values: np.ndarray) -> Interval:
        units = result[f"entity_{name}"].values.astype(str)
        return mean_interval(unit_means(values, units)[0], level=level, seed=seed, bounds=SHARE)

    for name in ("forget", "retain"):
        found[f"{name}_Q_A_Prob"] = over(name, np.exp(result[f"{name}_logprob"].values[a, k]))
        if f"{name}_truth_ratio" in result:
            ratio = result[f"{name}_truth_ratio"].values[a, k]
            of = np.minimum(ratio, 1 / (ratio + TINY)) if name == "forget" else np.maximum(0, 1 - ratio)
            found[f"{name}_Truth_Ratio"] = over(name, of)
    for name in CHOSEN:
        if name in result.dims:
            own = np.exp(result[f"{name}_logprob"].values[a, k])
            wrong = result[f"{name}_wrong"].values[a, k]
            found[f"{name}_Q_A_Prob_normalised"] = over(name, own / (own + wrong + TINY))
            true = np.maximum(0, 1 - result[f"{name}_truth_ratio"].values[a, k])
            found[f"{name}_Truth_Ratio"] = over(name, true)
    for name in ANSWERED:
        if f"{name}_rouge" in result:
            found[f"{name}_Q_A_ROUGE"] = over(name, result[f"{name}_rouge"].values[a, k])
    twin = names.index("twin") if "twin" in names else None
    if twin is not None and "forget_truth_ratio" in result:
        ratios = [result.forget_truth_ratio.values[i] for i in ((a, k), (twin, 0))]
        p = float(scipy_stats.ks_2samp(*ratios).pvalue)
        why = "itself a p-value of rows taken for independent: exact up to 10,000 of them, else approximate (SciPy)"
        found["forget_quality"] = _without(why, p, len(ratios[0]), level)
    of = [name for name in found if name.startswith(("retain_", *(f"{name}_" for name in CHOSEN)))]
    utility = float(scipy_stats.hmean(np.maximum([found[name].estimate for name in of], 0.0)))
    found["model_utility"] = _without(f"a harmonic mean of {', '.join(of)}", utility, len(of), level)
    if "holdout_min_k" in result:
        area = _area(result, a, k, level, seed)
        found["mia_min_k"] = area
        base = 0.5 if twin is None else float(_area(result, twin, 0, level, seed).estimate)
        leak = ((1 - float(area.estimate)) - (1 - base)) / (1 - base + TINY) * 100
        found["privleak"] = _without("a ratio of two areas", leak, int(area.n), level)
    return found


def _area(result: xr.Dataset, a: int, k: int, level: float, seed: int) -> Interval:
    """Members (the forget set) should have the higher Min-K."""
    members, others = (result[f"{name}_min_k"].values[a, k] for name in ("forget", "holdout"))
    member = np.repeat([1.0, 0.0], [len(members), len(others)])
    return auc(np.concatenate([members, others]), member, resamples=1000, seed=seed, level=level).interval


def _without(why: str, value: float, n: int, level: float) -> Interval:
    return Interval(value, np.nan, np.nan, level, n, f"{NONE}: {why}")
