"""Claims about how much evidence it takes: rows that are asked of a model, and text of it without the model."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...stats.planning_rows import rows_needed
from ..claims import Rows
from ..common import EVERY, verdict
from . import steps
from .tables import LEVEL, p_text, power_curves, rows_for


def rows_asked(rows: Rows, power: pd.DataFrame, stopping: pd.DataFrame) -> None:
    """How many rows are enough, chosen beforehand or asked one after another."""
    curves = power_curves(power, steps.DRAWS)
    need, own = rows_for(curves), power_curves(power[power.suspect == "alice"], steps.DRAWS)
    first = float(need.get("alice", np.nan))
    of = own[own.window == 0]
    rows.numbers |= {"rows_for_80": {k: float(v) for k, v in need.items()}}
    largest = int(of.n.max())
    part = power_curves(
        power[(power.suspect == "alice") & (power.window == 0) & (power.n < largest)],
        steps.DRAWS,
        level=1 - 0.05 / max(1, of.n.nunique() - 1),
    )
    text = "; ".join(f"{int(r.n):,} rows {r.rate:.2f} [{r.low:.2f}, {r.high:.2f}]" for r in of.itertuples())
    rho = float(
        power[(power.suspect == "alice") & (power.window == 0) & (power.n == largest)].median_z.mean()
    ) / np.sqrt(largest - 1)
    planned = rows_needed(rho, alpha=0.01, alternative="less", test="key") if rho else np.nan
    rows.add(
        "fewer_rows",
        f"detection of Alice at .01 by the guaranteed bound: {text}; planned from rho {rho:+.3f}: {planned:,}"
        " rows for 80 %",
        f"{int(of.seeds.max())} Alices x {steps.DRAWS} subsamples",
        verdict(
            bool((part.low >= 0.8).any()),
            bool((of.high < 0.8).all()),
            f"80 % first at {first:,.0f} rows" if np.isfinite(first) else "80 % is not reached",
        ).replace("the interval holds 0", "no lower bound is at 80 %")
        + " (rule: lower bound of the detection rate at least 80 % at fewer rows than all)",
        f"Bonferroni over {len(part)} numbers of rows",
    )
    asked = stopping.assign(rows=stopping.rows.fillna(np.inf)).groupby(["suspect", "stop"], sort=False).rows.median()
    wrong = (
        stopping[stopping.suspect == "independent"]
        .groupby(["seed", "stop"])
        .rows.apply(lambda r: r.notna().mean())
        .groupby("stop")
        .mean()
    )
    rows.numbers |= {
        "stopping": {f"{s} {e:g}": float(v) for (s, e), v in asked.items()},
        "stopping_innocent": {f"{e:g}": float(v) for e, v in wrong.items()},
    }
    rows.add(
        "stopping",
        "median rows until e >= 100: "
        + "; ".join(
            f"{s} {'not within all' if not np.isfinite(v) else f'{v:,.0f}'}" for (s, e), v in asked.items() if e == 100
        )
        + f"; the innocent model ever reaches 100 in {100 * wrong.get(100.0, 0):.1f} % of sequences (guaranteed: at"
        " most 1 % on average over orders)",
        f"{stopping.arrival.nunique()} sequences x {stopping.seed.nunique()} Alices",
        "holds" if np.isfinite(asked.get(("alice", 100.0), np.inf)) else "not shown at this number of rows",
    )


def text_alone(rows: Rows, retrains: pd.DataFrame, partitions: pd.DataFrame) -> None:
    """What text alone tells: shuffle-retrain with its three p-values, temperatures, an innocent writer, and the
    partition test.
    """
    if len(retrains):
        most = retrains.loc[retrains.groupby(["writer", "temperature"], sort=False).tokens.idxmax()]
        mine, null = most[most.writer.str.startswith("alice-0")], most[most.writer.str.startswith("independent")]

        def said(of):
            return "; ".join(
                f"{r.writer} T={r.temperature:g}: rank {p_text(r.p_rank)}, t {p_text(r.p_t)}, published"
                f" {p_text(r.p_published)}"
                for r in of.itertuples()
            )

        rows.numbers |= {
            "retrain": (
                most[["writer", "temperature", "tokens", "p_rank", "p_t", "p_published", "gap", "low", "high"]].to_dict(
                    "records"
                )
            ),
            "retrain_m": int(most.m.iloc[0]),
        }
        m, floor = int(most.m.iloc[0]), float(most.floor.iloc[0])
        rows.add(
            "text",
            f"{said(mine)}. The rank p, the only guaranteed one, cannot fall below {floor:.2g} with m = {m}",
            f"{m} retrainings; {int(mine.tokens.min()):,} to {int(mine.tokens.max()):,} tokens",
            verdict(
                bool((mine.p_rank <= LEVEL).any()),
                not (mine.p_rank <= floor).any(),
                f"the true order comes first in {int((mine.p_rank <= floor * 1.0001).sum())} of {len(mine)} texts;"
                f" no p below {floor:.2g} can be shown",
                part=bool((mine.p_rank <= 0.05).all()),
            ),
            EVERY,
        )
        first = most[(most.writer == "alice-0") & (most.p_rank <= floor * 1.0001)].temperature
        last = first.max() if len(first) else np.nan
        rows.add(
            "temperature",
            "mean gap per text in nats: "
            + "; ".join(
                f"T={r.temperature:g} {r.gap:+.3f} [{r.low:+.3f}, {r.high:+.3f}]"
                for r in most[most.writer == "alice-0"].itertuples()
            ),
            f"one Alice, {int(mine.texts.min()):,} texts each; intervals are of the {m} retrainings",
            "does not hold: it comes first at T = 1.2 too"
            if last >= 1.2
            else "not shown: one Alice, no temperatures are compared",
        )
        rows.add(
            "innocent_text",
            said(null),
            f"{m} retrainings",
            f"not shown: {len(null)} text{'s' * (len(null) > 1)}, not first; first by chance is one in {m + 1}"
            if (null.p_rank > floor * 1.0001).all()
            else f"not shown: the innocent text ranks first, which happens once in {m + 1}",
        )
    if len(partitions):
        real, null = partitions[partitions["keys"] == "alice-0"], partitions[partitions["keys"] == "nobody"]
        mine = real[real.writer.str.startswith("alice-0")]
        rows.numbers |= {
            "partition": real[["writer", "temperature", "tokens", "rho", "low", "high", "p"]].to_dict("records"),
            "partition_null_smallest_p": float(null.p.min()),
        }
        rows.add(
            "partition",
            "; ".join(
                f"{r.writer} T={r.temperature:g}: rho {r.rho:+.3f} [{r.low:+.3f}, {r.high:+.3f}], p {p_text(r.p)}"
                for r in real.itertuples()
            )
            + f"; smallest p under keys that nobody used {p_text(null.p.min())}",
            f"{int(real.n.iloc[0]):,} rows; {int(mine.tokens.min()):,} to {int(mine.tokens.max()):,} bytes of text",
            verdict(
                bool((mine.p <= LEVEL / len(real)).all()),
                not (mine.p <= 0.05).any(),
                f"{int((mine.p <= LEVEL / len(real)).sum())} of {len(mine)} texts at .01 after Bonferroni",
                part=bool((mine.p <= LEVEL / len(real)).any()),
            ),
            f"Bonferroni over {len(real)} at {LEVEL:g}",
        )
