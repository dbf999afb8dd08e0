"""What a test of provenance found: the statistic, its p-values and what each is worth, the rows behind it, and the
record to check it by.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..arguments import Count, door
from ..markup import as_written
from ..stats.samples import Interval, PValue, probability, short, whole
from .errors import ProvenanceError


@dataclass(frozen=True, eq=False)
class QueryResult:
    """The outcome of `query`, `query_scores` or `partition`.

    Args:
        rho: rank correlation of score and position within exchange groups; `interval` its confidence interval
            (approximate, Fisher z).
        z: the statistic standardised by its exact permutation moments.
        p_permutation: guaranteed, unless a sequential stop looked at the data; `p_key`: guaranteed bound, only for
            keys, else None. Each guarantee has conditions (`PValue.condition`, `conditions()`); where the data speak
            against one, p is approximate and says why (`PValue.reason`).
        e: e-value after the last row, see `e_worth`; `p_e`: 1 over the largest e on the way, whatever ended it; `log_e`
            [n] in the sequence of asking.
        p_t: Student's two-sided approximation, as published.
        null: statistic over the permutations drawn.
        frame: one line a row used, in the sequence of asking: row_id, position (mean over epochs), group, suspect,
            references, score.
        n, tokens: rows used, and tokens scored (0 where unknown). warnings: what a reader must know before believing p.
        status: "complete", "stopped" (by the e-value), "interrupted" (by the user) or "partial".
        record: assumptions, choices, hashes of inputs, versions.
    """

    rho: float
    interval: Interval
    z: float
    p_permutation: PValue
    p_key: PValue | None
    e: float
    p_e: PValue
    p_t: PValue
    n: int
    tokens: int
    warnings: tuple[str, ...]
    null: np.ndarray
    log_e: np.ndarray
    frame: Any
    status: str = "complete"
    level: float = 0.95
    record: dict = field(default_factory=dict)

    @property
    def p(self) -> PValue:
        """One p-value, guaranteed if any is: twice the smaller of the permutation p and one that reaches further (the
        key bound, or 1 / e).

        Where one of the two is only approximate, the other alone; where both are, twice the smaller, approximate. After
        a sequential stop, and in a partial result, 1 / e alone. Guaranteed for a number of rows, or a rule of stopping,
        that was fixed beforehand: who may stop by hand as well, and takes whichever p comes, has looked twice and
        should read `p_e` in both cases.
        """
        if self.status != "complete" or self.record.get("stop_at") is not None:
            return self.p_e
        deep = self.p_key if self.p_key is not None else self.p_e
        sound = [p for p in (self.p_permutation, deep) if p.guaranteed]
        if len(sound) == 1:
            return sound[0]
        both, far = (self.p_permutation, deep), "key bound" if self.p_key is not None else "1 / e"
        return PValue(
            min(1.0, 2 * min(float(p) for p in both)),
            "bound" if sound else "approximate",
            self.n,
            f"twice the smaller of permutation and {far}",
            self.z,
            self.p_permutation.alternative,
            min(1.0, 2 * min(float(p.floor) for p in both)),
            self.p_permutation.condition if sound else "",
            "" if sound else "; ".join(dict.fromkeys(p.reason for p in both if p.reason)),
        )

    @property
    def looks(self) -> int:
        """The number of this look among those at this suspect in this order, from 1; 0 where none were counted."""
        return (self.record.get("looks") or {}).get("number", 0)

    @property
    def p_adjusted(self) -> PValue:
        """`p` for all looks so far at this suspect in this order, whichever of them is kept: times the planned number
        of looks, or for look k times k (k + 1).
        """
        look, p = self.record.get("looks"), self.p
        if not look:
            return p
        factor, how = look["factor"], f"look {look['number']}"
        how += f" of {look['planned']} planned, times {look['planned']}" if look["planned"] else f", times {factor:g}"
        adjusted = replace(
            p, p=min(1.0, factor * float(p)), floor=min(1.0, factor * float(p.floor)), method=f"{p.method}, {how}"
        )
        return replace(
            adjusted, condition=p.condition.replace(", and this is the only look", ", but for the looks counted")
        )

    def p_values(self) -> list[dict[str, Any]]:
        """Each p-value with name, value, kind, whether it is guaranteed, on what condition, why not, and how it was
        made: the combined one first.
        """
        named = [
            ("combined", self.p),
            ("permutation", self.p_permutation),
            ("key bound", self.p_key),
            ("e-value", self.p_e),
            ("approximate (published)", self.p_t),
        ]
        if self.looks > 1 or (self.record.get("looks") or {}).get("planned"):
            named.insert(1, ("adjusted for looks", self.p_adjusted))
        return [
            dict(
                name=name,
                p=float(p.p),
                kind=p.kind,
                guaranteed=bool(p.guaranteed),
                condition=p.condition,
                reason=p.reason,
                floor=float(p.floor),
                alternative=p.alternative,
                method=p.method,
            )
            for name, p in named
            if p is not None
        ]

    def conditions(self) -> list[str]:
        """What only a person can know and every guarantee rests on, in words that follow "guaranteed if"."""
        return list(self.record.get("conditions", []))

    @property
    def e_worth(self) -> str:
        """At which stops the mean of `e` is at most 1: at any, for keys; for ranks and steps only at stops that look at
        past scores and ranks.
        """
        if not self.p_e.guaranteed:
            return f"approximate: {self.p_e.reason}"
        if self.record.get("position", "key") == "key":
            return "guaranteed at any stop if the conditions hold"
        return "guaranteed if the stop looked at past scores and ranks only, not at positions or coming scores"

    @door(ProvenanceError)
    def table(self, quantiles: Count = 10):
        """Score by quantile of position: `low` and `high` of the position, n, mean score, and its t interval
        (`score_low`, `score_high`) as a DataFrame.
        """
        import pandas as pd
        from scipy import stats

        at = self.frame["position"].to_numpy(float)
        score = self.frame["score"].to_numpy(float)
        parts = np.array_split(np.argsort(at, kind="stable"), min(quantiles, len(at)))
        rows = []
        for number, part in enumerate(parts, 1):
            values, k = score[part], len(part)
            half = stats.t.ppf((1 + self.level) / 2, k - 1) * values.std(ddof=1) / np.sqrt(k) if k > 1 else np.nan
            rows.append(
                (number, at[part].min(), at[part].max(), k, values.mean(), values.mean() - half, values.mean() + half)
            )
        return pd.DataFrame(rows, columns=["quantile", "low", "high", "n", "score", "score_low", "score_high"])

    def __str__(self) -> str:
        names = self.record.get("names", {})
        title = names.get("title", "provenance query")
        against = f" against {' + '.join(names['references'])}" if names.get("references") else ""
        lines = [
            f"{title}: {names.get('suspect', 'suspect')}{against} on {names.get('transcript', 'transcript')}"
            + ("" if self.status == "complete" else f" [{self.status}]"),
            f"  rho {short(self.rho)} [{short(self.interval.low)}, {short(self.interval.high)}] ({100 * self.level:g}"
            f" %), z = {self.z:.2f}, n = {whole(self.n)} rows"
            + (f", {whole(self.tokens)} tokens" if self.tokens else ""),
        ]
        for line in self.p_values():
            lines.append(
                f"  {line['name']}: p ="
                f" {probability(line['p'])}{' (the smallest it can be)' if line['p'] <= line['floor'] else ''} -"
                f" {worth(line)}, {line['method']}, {line['alternative']}"
            )
        lines.append(f"  e = {short(self.e)} ({self.e_worth})")
        lines += [
            f"  {'guaranteed if' if not i else '          and if'} {text}" for i, text in enumerate(self.conditions())
        ]
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(v['name'])}</td><td>{probability(v['p'])}</td><td>{html.escape(worth(v))}</td>"
            f"<td>{html.escape(v['method'])}, {v['alternative']}</td></tr>"
            for v in self.p_values()
        )
        head, line = (html.escape(text) for text in str(self).split("\n")[:2])
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        rests = "".join(f"<li>{html.escape(text)}</li>" for text in self.conditions())
        return as_written(
            f"<p><b>{head}</b><br>{line}; e ="
            f" {short(self.e)}"
            f" ({html.escape(self.e_worth)})</p><table><thead><tr><th>p-value</th><th></th><th>worth</th>"
            f"<th>how</th></tr></thead><tbody>{rows}</tbody></table>"
            + (f"<p>Guaranteed if</p><ul>{rests}</ul>" if rests else "")
            + (f"<p>Warnings</p><ul>{notes}</ul>" if notes else "")
        )


def worth(line: dict[str, Any]) -> str:
    """What a line of `p_values` may be called, in a few words: the conditions stand below the lines."""
    if line["guaranteed"]:
        return "guaranteed if the conditions hold"
    return f"an approximation ({line['reason']})" if line["reason"] else "an approximation"
