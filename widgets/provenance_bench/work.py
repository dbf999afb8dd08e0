"""One question of provenance and its answer: how it is asked, what its p-values are worth now, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from lens import provenance
from widgets.errors import ViewError

STATISTICS = {
    "difference": "suspect − reference",
    "linear": "residual of a linear fit",
    "poly4": "residual of a fit of degree 4",
    "none": "suspect alone (weak)",
}
RULES = {"e": "stop when e ≥ 1 / α", "n": "a fixed number of rows"}
LOOKS = 50  # about so often the person sees new numbers
LEAST_BATCH, MOST_BATCH = 16, 1024
BINS = 60
PATH_POINTS = 500
SMALLEST = 1e-300
MEANING = (
    "A small p means dependence on this order: the suspect, or a model that it was made from, was trained in it. "
    "Two models trained in one order both show it, so this is no proof of descent."
)
LIVE_ONLY = "Rows are still coming: only the e-value may be read now."


@dataclass(frozen=True)
class Question:
    """What the fields ask for. `rule` "e": look after each batch and stop at e >= 1 / alpha; "n": all `rows`, however e
    moves.
    """

    suspect: str
    transcript: str
    reference: str
    rows: int
    statistic: str
    rule: str
    alpha: float
    seed: int

    def line(self) -> tuple:
        """What makes it another question: asked again, it has the same answer and is no second look. The level is none:
        p holds at every level.
        """
        return tuple(v for k, v in asdict(self).items() if k != "alpha")

    def batch(self) -> int:
        return min(MOST_BATCH, max(LEAST_BATCH, math.ceil(self.rows / LOOKS)))

    def options(self, resamples: int) -> dict[str, Any]:
        """The arguments of `lens.provenance.query`."""
        return {
            "rows": self.rows,
            "statistic": self.statistic,
            "level": round(1 - self.alpha, 15),
            "resamples": resamples,
            "seed": self.seed,
            "stop_at": 1 / self.alpha if self.rule == "e" else None,
            "batch": self.batch(),
        }


@dataclass
class Inquiry:
    """A question and its answer so far; `dataset` is the `QueryResult`."""

    question: Question
    ask: Callable[..., Any]
    number: int = 0
    dataset: Any = None
    status: str = "running"
    seconds: float = 0.0
    error: str = ""

    def complete(self) -> bool:
        """Whether it ended by its own rule, not by hand."""
        return self.dataset is not None and self.dataset.status in ("complete", "stopped")

    @property
    def asked(self) -> int:
        return int(self.dataset.record.get("rows", {}).get("asked", self.dataset.n)) if self.dataset is not None else 0


def references_of(given: Any, name: str) -> list[Any]:
    """A mapping's value as references that bear the mapping's name; raises ProvenanceError where one is declared to
    share the order.
    """
    from lens.provenance.scores import as_references

    several = (
        list(given)
        if isinstance(given, (list, tuple)) and given and not isinstance(given[0], (int, float, np.number))
        else [given]
    )
    named = [
        provenance.Reference(
            getattr(one, "model", one) if isinstance(one, provenance.Reference) else one,
            one.shares_order if isinstance(one, provenance.Reference) else None,
            name if len(several) == 1 else f"{name} {i + 1}",
        )
        for i, one in enumerate(several)
    ]
    return as_references(named)


def declared(given: Any) -> str:
    """What was said about a reference's order, for its line in the list."""
    orders = [getattr(one, "shares_order", None) for one in (given if isinstance(given, (list, tuple)) else [given])]
    return (
        "shares the order: refused"
        if True in orders
        else "not declared"
        if None in orders
        else "declared: another order"
    )


def renamed(result: Any, name: str) -> Any:
    """The result under the name that the person gave the suspect."""
    names = result.record.get("names", {})
    if (old := names.get("suspect")) not in (None, name):
        result.record["assumed"] = [
            text.replace(f"null hypothesis: {old} ", f"null hypothesis: {name} ")
            for text in result.record.get("assumed", [])
        ]
        result.record["names"] = names | {"suspect": name}
    return result


def line_p(run: Inquiry) -> tuple[float, str, str]:
    """The one p-value of a question, how it was made, and why it is only approximate ("" where it is guaranteed if the
    conditions hold, whenever the person stops).

    Rule "e": 1 / largest e. Rule "n": twice the smaller of that and, once all rows are in, the permutation p. Whoever
    watches chooses when to stop and so between the two; twice the smaller pays for the choice.
    """
    result = run.dataset
    e, permutation = result.p_e, result.p_permutation
    if run.question.rule == "e":
        return float(e), "1 / largest e", reason_of(e)
    if result.status == "complete" and permutation.guaranteed:
        if not e.guaranteed:
            return min(1.0, 2 * float(permutation)), f"twice the permutation p; e is approximate: {e.reason}", ""
        return (
            min(1.0, 2 * min(float(permutation), float(e))),
            "twice the smaller of the permutation p and 1 / largest e",
            "",
        )
    if result.status == "complete":
        return (
            min(1.0, 2 * min(float(permutation), float(e))),
            "twice the smaller of the permutation p and 1 / largest e",
            reason_of(permutation),
        )
    return min(1.0, 2 * float(e)), "twice 1 / largest e, since the rows were not all asked", reason_of(e)


def reason_of(p: Any) -> str:
    """Why a p-value is only approximate, "" where it is guaranteed."""
    return "" if p.guaranteed else p.reason or p.method


def written(p: float) -> str:
    """A p-value in words; it is never 0."""
    return f"p < {SMALLEST:g}" if p < SMALLEST else f"p = {p:.2g}"


def whole(n: int) -> str:
    return f"{n:,}"


def verdict(run: Inquiry) -> dict[str, str]:
    """What may be said now: a lead, the reason, and whether it is "shown", "open" or "running"."""
    q, result = run.question, run.dataset
    of = f"{whole(run.asked)} of {whole(q.rows)} rows"
    if result.status == "partial" and run.status == "running":
        return {
            "kind": "running",
            "lead": LIVE_ONLY,
            "text": (
                f"{of} asked. It is valid whenever you stop"
                + ("" if q.rule == "e" else "; the p-values for a fixed number of rows count once all rows are in")
                + "."
            ),
        }
    p, how, reason = line_p(run)
    shown = not reason and p <= q.alpha * (1 + 1e-9)
    lead = f"{q.suspect} depends on this order." if shown else f"No dependence on this order shown for {q.suspect}."
    text = f"{written(p)} ({how}), {'at most' if p <= q.alpha * (1 + 1e-9) else 'above'} α = {q.alpha:g}"
    if reason:
        text = f"Only an approximation, {text}, because {reason}."
    else:
        text = f"Guaranteed if the conditions below hold: {text}; the table below corrects for all questions asked."
    if result.status == "stopped":
        text = f"e reached {1 / q.alpha:g} after {of}. {text}"
    elif result.status in ("interrupted", "partial"):
        lead = f"Stopped {'by an error' if run.status == 'error' else 'by hand'} after {of}. {lead}"
        text = (
            "The e-value stays valid at such a stop; p-values for a fixed number of rows do not, and are greyed."
            f" {text}"
        )
    if not shown:
        text += (
            " That does not show that there is none: few rows, or little that is left of the training, give little"
            " power."
        )
    if count := len(doubts_of(result)):
        text += f" Read the {'warning' if count == 1 else f'{count} warnings'} first, on which this p rests."
    return {"kind": "shown" if shown else "open", "lead": lead, "text": text}


def doubts_of(result: Any) -> list[str]:
    """The warnings that question the p-value; that a run was stopped is no such doubt."""
    return [text for text in result.warnings if not text.startswith("stopped ")]


def p_rows(run: Inquiry) -> list[dict[str, Any]]:
    """Each p-value with what it is worth now: "guaranteed" (if the conditions hold), "approximate", "waiting" (for all
    rows) or "void" (the number of rows was decided on the way).
    """
    q, result = run.question, run.dataset
    running = result.status == "partial" and run.status == "running"

    def fixed(key: str, label: str, p: Any) -> dict[str, Any]:
        row = {
            "key": key,
            "label": label,
            "p": float(p),
            "at_floor": bool(float(p) <= float(p.floor)),
            "worth": "guaranteed",
            "note": p.method,
        }
        if p.guaranteed:
            return row
        if q.rule == "n" and result.status == "complete":
            return row | {"worth": "approximate", "note": f"{p.reason}; {p.method}"}
        if q.rule == "e":
            why = "holds for a number of rows fixed beforehand; here e decides it"
        elif running:
            why = f"counts once all {whole(q.rows)} rows are in"
        else:
            why = (
                f"not valid: stopped after {whole(run.asked)} of {whole(q.rows)} rows, and it holds for a number of"
                " rows fixed beforehand"
            )
        return row | {"worth": "waiting" if running and q.rule == "n" else "void", "note": why}

    rows = [fixed("permutation", "p, permutation", result.p_permutation)]
    if result.p_key is not None:
        key = fixed("key", "p, key bound", result.p_key)
        rows.append(key | ({"note": f"bound on the tail, {key['note']}"} if key["worth"] == "guaranteed" else {}))
    rows.append(
        {
            "key": "e",
            "label": "p from the e-value",
            "p": float(result.p_e),
            "at_floor": False,
            "worth": "guaranteed" if result.p_e.guaranteed else "approximate",
            "note": "1 / largest e so far, whatever ends the run" if result.p_e.guaranteed else result.p_e.reason,
        }
    )
    rows.append(
        {
            "key": "t",
            "label": "p, published way",
            "p": float(result.p_t),
            "at_floor": False,
            "worth": "approximate",
            "note": f"{result.p_t.method}; no guarantee, least of all where it is tiny",
        }
    )
    return rows


def named(given: Any, what: str, least: int = 1) -> dict[str, Any]:
    """The mapping from names to what was given. Raises ViewError."""
    if not isinstance(given, Mapping) or len(given) < least:
        raise ViewError(
            f"{what}: {type(given).__name__} of {len(given) if hasattr(given, '__len__') else 'no'} items; expected a"
            f" mapping from names to {what}" + (", at least one" if least else "")
        )
    if bad := [name for name in given if not isinstance(name, str) or not name.strip()]:
        raise ViewError(f"{what}: the name {bad[0]!r} cannot be shown; expected a text that is not empty")
    return dict(given)


def counted(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"
