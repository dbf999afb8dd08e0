"""What a test of provenance found: the statistic, its p-values and what each is worth, the rows behind it, and the record to check it by."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..measure.samples import Interval, PValue, probability, short, whole


@dataclass(frozen=True, eq=False)
class QueryResult:
    """The outcome of `query`, `query_scores` or `partition`.

    Args:
        rho: rank correlation of score and position within exchange groups; `interval` its confidence interval (approximate, Fisher z).
        z: the statistic standardised by its exact permutation moments.
        p_permutation: guaranteed, unless a sequential stop looked at the data; `p_key`: guaranteed bound, only for keys, else None.
        e: e-value after the last row; `p_e`: guaranteed at any stop, 1 over the largest e on the way; `log_e` [n] in the sequence of asking.
        p_t: Student's two-sided approximation, as published.
        null: statistic over the permutations drawn.
        frame: one line a row used, in the sequence of asking: row_id, position (mean over epochs), group, suspect, references, score.
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
        """One guaranteed p-value: twice the smaller of the permutation p and one that reaches further (the key bound, or 1 / e).

        After a sequential stop, and in a partial result, 1 / e alone. Guaranteed for a number of rows, or a rule of stopping, that was fixed beforehand: who
        may stop by hand as well, and takes whichever p comes, has looked twice and should read `p_e` in both cases.
        """
        if not self.p_permutation.guaranteed:
            return self.p_e
        deep = self.p_key if self.p_key is not None else self.p_e
        both, far = (self.p_permutation, deep), "key bound" if self.p_key is not None else "1 / e"
        return PValue(
            min(1.0, 2 * min(float(p) for p in both)),
            "bound",
            self.n,
            f"twice the smaller of permutation and {far}",
            self.z,
            self.p_permutation.alternative,
            min(1.0, 2 * min(float(p.floor) for p in both)),
        )

    def p_values(self) -> list[dict[str, Any]]:
        """Each p-value with name, value, kind, whether it is guaranteed, and how it was made: the combined one, its parts, then the approximation."""
        named = [
            ("guaranteed, combined", self.p),
            ("permutation", self.p_permutation),
            ("key bound", self.p_key),
            ("e-value", self.p_e),
            ("approximate (published)", self.p_t),
        ]
        return [
            dict(name=name, p=float(p.p), kind=p.kind, guaranteed=bool(p.guaranteed), floor=float(p.floor), alternative=p.alternative, method=p.method)
            for name, p in named
            if p is not None
        ]

    def table(self, quantiles: int = 10):
        """Score by quantile of position: `low` and `high` of the position, n, mean score, and its t interval (`score_low`, `score_high`) as a DataFrame."""
        import pandas as pd
        from scipy import stats

        at = self.frame["position"].to_numpy(float)
        score = self.frame["score"].to_numpy(float)
        parts = np.array_split(np.argsort(at, kind="stable"), min(quantiles, len(at)))
        rows = []
        for number, part in enumerate(parts, 1):
            values, k = score[part], len(part)
            half = stats.t.ppf((1 + self.level) / 2, k - 1) * values.std(ddof=1) / np.sqrt(k) if k > 1 else np.nan
            rows.append((number, at[part].min(), at[part].max(), k, values.mean(), values.mean() - half, values.mean() + half))
        return pd.DataFrame(rows, columns=["quantile", "low", "high", "n", "score", "score_low", "score_high"])

    def __str__(self) -> str:
        names = self.record.get("names", {})
        title = names.get("title", "provenance query")
        against = f" against {' + '.join(names['references'])}" if names.get("references") else ""
        lines = [
            f"{title}: {names.get('suspect', 'suspect')}{against} on {names.get('transcript', 'transcript')}"
            + ("" if self.status == "complete" else f" [{self.status}]"),
            f"  rho {short(self.rho)} [{short(self.interval.low)}, {short(self.interval.high)}] ({100 * self.level:g} %), z = {self.z:.2f}, n = {whole(self.n)}"
            " rows" + (f", {whole(self.tokens)} tokens" if self.tokens else ""),
        ]
        for line in self.p_values():
            lines.append(
                f"  {line['name']}: p = {probability(line['p'])}{' (the smallest it can be)' if line['p'] <= line['floor'] else ''}"
                f" - {'guaranteed' if line['guaranteed'] else 'an approximation'}, {line['method']}, {line['alternative']}"
            )
        lines.append(f"  e = {short(self.e)} (guaranteed at any stop)")
        return "\n".join(lines + [f"  warning: {text}" for text in self.warnings])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{html.escape(v['name'])}</td><td>{probability(v['p'])}</td><td>{'guaranteed' if v['guaranteed'] else 'an approximation'}</td>"
            f"<td>{html.escape(v['method'])}, {v['alternative']}</td></tr>"
            for v in self.p_values()
        )
        head, line = (html.escape(text) for text in str(self).split("\n")[:2])
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in self.warnings)
        return (
            f"<div><p><b>{head}</b><br>{line}; e ="
            f" {short(self.e)}</p><table><thead><tr><th>p-value</th><th></th><th>worth</th><th>how</th></tr></thead><tbody>{rows}</tbody></table>"
            + (f"<p>Warnings</p><ul>{notes}</ul>" if notes else "")
            + "</div>"
        )
