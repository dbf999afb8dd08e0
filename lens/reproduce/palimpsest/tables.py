"""The palimpsest experiment's tables brought into the form that figures and claims read: over Alices, with intervals
whose unit is the Alice.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...stats.multiplicity import holm
from ...stats.units import rate_over_runs
from ..over_models import by_seed
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
    lines = []
    for name, of in queries[queries.group.isin(("alice", "derivative"))].groupby(
        queries.suspect.str.partition("/")[2].replace("", "alice"), sort=False
    ):
        rho, low, high = by_seed(of.rho)
        shares = (of.set_index("seed").rho / own).dropna()
        share, share_low, share_high = by_seed(shares)
        lines.append(
            {
                "derivative": name,
                "title": TITLES.get(name, name),
                "rho": rho,
                "low": low,
                "high": high,
                "seeds": list(of.rho),
                "share": share,
                "share_low": share_low,
                "share_high": share_high,
                "shares": shares.tolist(),
                "detected": int((of.holm <= LEVEL).sum()),
                "of": len(of),
                "largest_p": float(of.p.max()),
                "z": float(of.z.mean()),
                "loss": float(of.loss.mean()),
            }
        )
    return pd.DataFrame(lines)


def rate_interval(rates: np.ndarray, draws: int, level: float = 0.95) -> tuple[float, float, float]:
    """Mean of the seeds' detection rates with its interval over seeds, see `lens.stats.units.rate_over_runs`."""
    found = rate_over_runs(rates, draws, level)
    return found.estimate, found.low, found.high


def power_curves(power: pd.DataFrame, draws: int, test: str = "key_0.01", level: float = 0.95) -> pd.DataFrame:
    """Detection rate by suspect, window and number of rows, over seeds."""
    lines = []
    for (suspect, window, n), of in power.groupby(["suspect", "window", "n"], sort=False):
        rate, low, high = rate_interval(of[test].to_numpy(), draws, level)
        lines.append(
            {
                "suspect": suspect,
                "title": TITLES.get(suspect.partition("/")[2] or "alice", suspect),
                "window": window,
                "n": n,
                "tokens": float(of.tokens.mean()),
                "rate": rate,
                "low": low,
                "high": high,
                "seeds": len(of),
            }
        )
    return pd.DataFrame(lines)


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
    lines = []
    for group, of in arms.groupby("group", sort=False):
        rho, low, high = by_seed(of.rho)
        lines.append(
            {
                "arm": group,
                "rho": rho,
                "low": low,
                "high": high,
                "seeds": list(of.rho),
                "n": int(of.n.iloc[0]),
                "largest_p": float(of.p.max()),
                "loss": float(of.loss.mean()),
                "last_tenth": float(of.last_tenth.mean()),
                "spread": float(of.spread.mean()),
            }
        )
    return pd.DataFrame(lines)


def trends(
    bench: Bench, suspects: tuple[str, ...] = ("alice-0", "alice-0/tune-25", "independent-0"), quantiles: int = 20
) -> pd.DataFrame:
    """Suspect minus reference by quantile of the position in Alice-0's order."""
    parts = []
    for name in suspects:
        found = bench.ask(name, "alice-0", REFERENCE, resamples=999)
        table = found.table(quantiles)
        table[["score", "score_low", "score_high"]] -= found.frame["score"].mean()
        parts.append(table.assign(suspect=name, rho=found.rho, p=float(found.p)))
    return pd.concat(parts, ignore_index=True)


def arm_trends(bench: Bench, quantiles: int = 10) -> pd.DataFrame:
    """Suspect minus the reference of the same schedule by quantile of the position, for the first Alice of every
    learning-rate arm.
    """
    parts = []
    for arm in ("constant", *bench.family.size.arms):
        name, reference = ("alice-0", REFERENCE) if arm == "constant" else (f"{arm}/alice-0", f"{arm}/reference")
        found = bench.ask(name, name, reference, resamples=999)
        table = found.table(quantiles)
        table[["score", "score_low", "score_high"]] -= found.frame["score"].mean()
        parts.append(table.assign(suspect=arm, rho=found.rho, p=float(found.p)))
    return pd.concat(parts, ignore_index=True)


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
