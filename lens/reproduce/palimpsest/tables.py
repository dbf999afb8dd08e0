"""The palimpsest experiment's tables brought into the form that figures and claims read: over Alices, with intervals
whose unit is the Alice.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...stats.multiplicity import holm
from ...stats.units import rate_over_runs
from ..common import by_group, columns
from ..over_models import over_seeds
from .bench import REFERENCE, Bench

#: a suspect counts as detected where the guaranteed p, after Holm's correction, is at most this
LEVEL = 0.01
#: how derivatives are printed
TITLES = {
    "alice": "Alice herself",
    "tune-1": "tuned on 1 %",
    "tune-5": "tuned on 5 %",
    "tune-25": "tuned on 25 %",
    "tune-25b": "tuned on other 25 %",
    "tune-25-mild": "tuned on 25 %, half the rate",
    "tune-25-hot": "tuned on 25 %, 2.5 times the rate",
    "tune-100": "tuned on 100 %",
    "lora-25": "adapters, 25 %",
    "tunes-25": "average of two tunes, .25",
    "tunes-50": "average of two tunes, .5",
    "tunes-75": "average of two tunes, .75",
    "with-independent-25": ".25 Alice + .75 independent",
    "with-independent-50": ".5 Alice + .5 independent",
    "with-independent-75": ".75 Alice + .25 independent",
    "int8": "8-bit weights",
    "int4": "4-bit weights",
    "pruned-50": "half the weights pruned",
    "other-order-25": "25 % of her rows, another order",
    "soft": "student of her distributions",
    "samples": "student of her samples",
}


def with_holm(queries: pd.DataFrame) -> pd.DataFrame:
    """The table of queries with Holm's correction of the guaranteed p over all suspects of an Alice and both statistics
    that they were asked by (the trap, which is no test, stands apart).
    """
    found = queries.copy()
    family = found.group.where(found.group == "trap", "suspects") + found.seed.astype(str)
    found["holm"] = found.groupby(family).p.transform(lambda p: holm(p.to_numpy(float)))
    return found


def survival(queries: pd.DataFrame, statistic: str = "difference") -> pd.DataFrame:
    """What is left of the effect by derivative: mean rho over Alices with Student's t interval over them, each Alice's
    rho, the share of her own rho, and how many are detected.
    """
    queries = with_holm(queries)  # over both statistics, whichever is shown
    queries = queries[queries.statistic == statistic]
    own = queries[queries.group == "alice"].set_index("seed").rho
    queries = queries[queries.group.isin(("alice", "derivative"))]
    queries = queries.assign(derivative=queries.suspect.str.partition("/")[2].replace("", "alice"))

    def line(of: pd.DataFrame) -> dict[str, Any]:
        name, shares = of.derivative.iloc[0], (of.set_index("seed").rho / own).dropna()
        return {
            "title": TITLES.get(name, name),
            **columns("rho", over_seeds(of.rho)),
            "seeds": list(of.rho),
            **columns("share", over_seeds(shares), "share_"),
            "shares": shares.tolist(),
            "detected": int((of.holm <= LEVEL).sum()),
            "of": len(of),
            "largest_p": float(of.p.max()),
            "z": float(of.z.mean()),
            "loss": float(of.loss.mean()),
        }

    return by_group(queries, ("derivative",), line)


def rate_interval(rates: np.ndarray, draws: int, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the seeds' detection rates with its interval over seeds, see `lens.stats.units.rate_over_runs`."""
    found = rate_over_runs(rates, draws, level)
    return found.estimate, found.low, found.high


def power_curves(power: pd.DataFrame, draws: int, test: str = "key_0.01", level: float = 0.95) -> pd.DataFrame:
    """Detection rate by suspect, window and number of rows, over seeds."""

    def line(of: pd.DataFrame) -> dict[str, Any]:
        suspect = of.suspect.iloc[0]
        rate, low, high = rate_interval(of[test].to_numpy(), draws, level)
        about = {"title": TITLES.get(suspect.partition("/")[2] or "alice", suspect), "tokens": float(of.tokens.mean())}
        return about | {"rate": rate, "low": low, "high": high, "seeds": len(of)}

    return by_group(power, ("suspect", "window", "n"), line)


def rows_for(curves: pd.DataFrame, power: float = 0.8) -> pd.Series:
    """Fewest rows among those tried at which a suspect's detection rate reaches `power` (all bytes scored); NaN where
    none does.
    """
    whole = curves[curves.window == 0]
    return whole.groupby("suspect", sort=False)[["n", "rate"]].apply(
        lambda of: of.loc[of.rate >= power, "n"].min() if (of.rate >= power).any() else np.nan
    )


def arm_means(arms: pd.DataFrame) -> pd.DataFrame:
    """Mean rho by learning-rate arm with Student's t interval over Alices, each Alice's rho, and the largest guaranteed
    p.
    """

    def line(of: pd.DataFrame) -> dict[str, Any]:
        means = {column: float(of[column].mean()) for column in ("loss", "last_tenth", "spread")}
        about = {"seeds": list(of.rho), "n": int(of.n.iloc[0]), "largest_p": float(of.p.max())}
        return columns("rho", over_seeds(of.rho)) | about | means

    return by_group(arms.rename(columns={"group": "arm"}), ("arm",), line)


def trends(
    bench: Bench, suspects: tuple[str, ...] = ("alice-0", "alice-0/tune-25", "independent-0"), quantiles: int = 20
) -> pd.DataFrame:
    """Suspect minus reference by quantile of the position in Alice-0's order."""
    asked = {name: (name, "alice-0", REFERENCE) for name in suspects}
    return pd.concat([_trend(bench, name, *of, quantiles) for name, of in asked.items()], ignore_index=True)


def arm_trends(bench: Bench, quantiles: int = 10) -> pd.DataFrame:
    """Suspect minus the reference of the same schedule by quantile of the position, for the first Alice of every
    learning-rate arm.
    """
    asked = {"constant": ("alice-0", "alice-0", REFERENCE)}
    asked |= {arm: (f"{arm}/alice-0", f"{arm}/alice-0", f"{arm}/reference") for arm in bench.family.size.arms}
    return pd.concat([_trend(bench, arm, *of, quantiles) for arm, of in asked.items()], ignore_index=True)


def _trend(bench: Bench, called: str, suspect: str, of: str, reference: str, quantiles: int) -> pd.DataFrame:
    found = bench.ask(suspect, of, reference, resamples=999)
    table = found.table(quantiles)
    table[["score", "score_low", "score_high"]] -= found.frame["score"].mean()
    return table.assign(suspect=called, rho=found.rho, p=float(found.p))


def null_draws(bench: Bench) -> pd.DataFrame:
    """The statistic over permutations of the positions, with what was observed: Alice-0 and an innocent model."""
    parts = []
    for name in ("alice-0", "independent-0"):
        found = bench.ask(name, "alice-0", REFERENCE, resamples=20_000)
        parts.append(pd.DataFrame({"suspect": name, "null": found.null, "observed": found.rho}))
    return pd.concat(parts, ignore_index=True)


def p_text(p: float) -> str:
    """A p-value to read: two digits, small ones as a power of ten."""
    return f"{p:.2g}" if p >= 1e-3 else f"{p:.0e}"
