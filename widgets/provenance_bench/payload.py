"""A question and its answer as the browser wants them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from lens.stats import holm
from widgets.base.text import finite
from widgets.provenance_bench.work import BINS, MEANING, PATH_POINTS, Inquiry, doubts_of, line_p, p_rows, verdict


def payload(run: Inquiry, unit: str) -> dict[str, Any]:
    """The `found` trait: words and single numbers as JSON, curves as float32 buffers.

    While rows come, quantiles bear no positions: the e-value of shuffled positions allows stopping by ranks only.
    """
    q, result = run.question, run.dataset
    running = result.status == "partial" and run.status == "running"
    references = result.record.get("names", {}).get("references", [])
    data: dict[str, Any] = {
        "number": run.number,
        "fields": asdict(q),
        "status": "partial" if running else result.status,
        "n": int(result.n),
        "asked": run.asked,
        "tokens": int(result.tokens),
        "left_out": int(result.record.get("rows", {}).get("left out", 0)),
        "rho": finite(result.rho),
        "low": finite(result.interval.low),
        "high": finite(result.interval.high),
        "level": result.level,
        "interval": result.interval.method,
        "z": finite(result.z),
        "ps": p_rows(run),
        "log10_e": _log10_e(result),
        "stop": -math.log10(q.alpha),
        "warnings": list(result.warnings),
        "conditions": result.conditions(),
        "e_kind": "guaranteed" if result.p_e.guaranteed else "approximate",
        "e_worth": result.e_worth,
        "e_under": under_e(result),
        "verdict": verdict(run),
        "meaning": MEANING,
        "kind": result.record.get("position", ""),
        "unit": unit,
        "what": (
            f"{q.suspect} {'against ' + ' and '.join(references) if references else 'without a reference'} on"
            f" {q.transcript}"
        ),
        "against": bool(references),
        "draws": len(result.null),
        "observed": finite(result.rho),
        "seconds": round(run.seconds, 2),
    }
    buffers: dict[str, Any] = {
        name: []
        for name in ("path_n", "path_e", "q_n", "q_mean", "q_low", "q_high", "q_at", "null_counts", "null_edges")
    }
    if len(result.log_e):
        keep = np.unique(np.linspace(0, len(result.log_e) - 1, PATH_POINTS).round().astype(int))
        buffers |= {"path_n": keep + 1, "path_e": result.log_e[keep] / math.log(10)}
    if len(result.frame):
        table = result.table()
        buffers |= {
            "q_n": table["n"],
            "q_mean": table["score"],
            "q_low": table["score_low"],
            "q_high": table["score_high"],
        } | ({} if running else {"q_at": (table["low"] + table["high"]) / 2})
        data["mean"] = finite(result.frame["score"].mean())
    if len(result.null):
        counts, edges = np.histogram(result.null, bins=BINS)
        buffers |= {"null_counts": counts, "null_edges": edges}
    return data | {name: np.asarray(values, dtype="<f4").tobytes() for name, values in buffers.items()}


def under_e(result: Any) -> str:
    """Under the curve of e: at which stops it holds."""
    if not result.p_e.guaranteed:
        return "approximate"
    return "holds at any stop" if result.record.get("position") == "key" else "holds at stops by past scores and ranks"


def _log10_e(result: Any) -> float:
    return float(result.log_e[-1]) / math.log(10) if len(result.log_e) else 0.0


def compared(runs: Sequence[Inquiry]) -> list[dict[str, Any]]:
    """One line a question, in the sequence of asking, with Holm's correction over all of them; a question that failed,
    or whose p is only approximate, counts as p = 1.
    """
    lines = []
    for run in runs:
        q, result = run.question, run.dataset
        line: dict[str, Any] = {
            "number": run.number,
            **asdict(q),
            "status": run.status,
            "note": run.error,
            "p": None,
            "how": "",
            "reason": "",
        }
        if result is not None and result.n:
            p, how, reason = line_p(run)
            line |= {
                "n": int(result.n),
                "rho": finite(result.rho),
                "low": finite(result.interval.low),
                "high": finite(result.interval.high),
                "z": finite(result.z),
                "log10_e": _log10_e(result),
                "p": p,
                "how": how,
                "reason": reason,
                "warnings": len(doubts_of(result)),
            }
        lines.append(line)
    sound = [line["p"] is not None and not line["reason"] for line in lines]
    adjusted: Sequence[float] | np.ndarray = (
        holm([line["p"] if good else 1.0 for line, good in zip(lines, sound, strict=True)]) if lines else []
    )
    return [
        line | {"holm": float(p) if line["p"] is not None and not line["reason"] else None}
        for line, p in zip(lines, adjusted, strict=True)
    ]
