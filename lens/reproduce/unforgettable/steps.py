"""What is computed of one model: every task forgotten under every kind of label, and what is left of it."""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...organisms.verdicts.tasks import BY_NAME
from . import hidden, spread
from .bench import Bench, lost

#: Tables of a part, in the order in which `of_task` gives them.
TABLES = ("runs", "looks", "matrix", "predictors", "probes", "vectors", "relearning", "layers", "doses")


def of_task(bench: Bench, task: str) -> list[pd.DataFrame]:
    """The tables of one forgotten task; see `TABLES`."""
    plan, made = bench.plan, {name: [] for name in TABLES}  # type: ignore[var-annotated]
    asked = BY_NAME[task].decides is not None
    if asked:
        made["probes"].append(hidden.probes(bench, task, bench.model, "before"))
        made["probes"].append(hidden.probes(bench, task, bench.untrained, "untrained"))
    for form in plan.forms:
        made["predictors"].append(spread.predictors(bench, task, form))
        for labels in plan.labels:
            of: dict[str, Any] = {"task": task, "form": form, "labels": labels}
            forgotten = bench.forget(**of)
            made["runs"].append(spread.run(bench, **of, forgotten=forgotten))
            made["looks"].append(forgotten.looks.assign(seed=bench.seed, **of))
            made["matrix"].append(spread.matrix(bench, **of, forgotten=forgotten))
            if labels not in plan.deep or form != plan.forms[0]:
                continue
            if asked:
                made["probes"].append(hidden.probes(bench, task, forgotten.model, labels))
            for name, ask in (
                ("vectors", hidden.vectors),
                ("relearning", hidden.relearned),
                ("layers", hidden.layers),
            ):
                made[name].append(ask(bench, task, forgotten.model, labels, form))
    if task in plan.dosed:
        for what, value in plan.doses:
            for labels in [kind for kind in plan.labels if kind in ("fixed", "redrawn")]:
                made["doses"].append(_dosed(bench, task, labels, what, value))
    return [pd.concat(made[name], ignore_index=True) if made[name] else pd.DataFrame() for name in TABLES]


def _dosed(bench: Bench, task: str, labels: str, what: str, value: float) -> pd.DataFrame:
    """The last look of a run with another number of items, rate, or with adapters of a rank."""
    form = bench.plan.forms[0]
    forgotten = bench.forget(task, form, labels, **{what: value})
    first, last = forgotten.looks.iloc[0], forgotten.looks.iloc[-1]
    chance = BY_NAME[task].chance
    line = {
        "seed": bench.seed,
        "form": form,
        "task": task,
        "labels": labels,
        "dose": f"{what} {value:g}",
        "step": int(last.step),
        "reached": forgotten.reached,
        "lost_train": lost(first.train, last.train, chance),
        "lost_held": lost(first.held, last.held, chance),
    }
    return pd.DataFrame([line])
