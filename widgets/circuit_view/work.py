"""Edges as the view wants them: a run of `lens.edges`, one edge in numbers, a faithfulness curve."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from lens.circuits import CircuitError, Edges, top_edges
from lens.results.dataset import provenance
from lens.stats.means import LEAST, mean_interval
from widgets.base.text import finite

#: Edges that the view draws at most.
MOST_DRAWN = 10_000
#: How a checked edge was chosen, as `lens.edges` says it in `selected`.
CHOSEN = {1: "among the largest scores", 2: "drawn from the rest"}
# the view says it where the curve stands; by module, since a thread must not change the filters around a call
warnings.filterwarnings("ignore", message=".*the circuits were found on", module=r"widgets\.circuit_view")


@dataclass
class Search:
    """A run: what is asked, and its edges so far.

    Attributes: pairs, held_out: what edges are found on, and what circuits are judged on (none: the same). exact: by
        edge, its exact effect on every pair.
    """

    number: int
    pairs: list[Any]
    held_out: list[Any]
    method: str = "inputs"
    metric: str = "logit_diff"
    ablation: str = "counterfactual"
    dataset: Edges | None = None
    status: str = "running"
    seconds: float = 0.0
    batches: int = 0
    exact: dict[str, np.ndarray] = field(default_factory=dict)

    def layers_done(self) -> list[int]:
        return []

    def complete(self) -> bool:
        return self.dataset is not None and provenance(self.dataset).get("status") == "complete"

    def what(self) -> str:
        """The question in one line."""
        return f"{self.method}, {self.metric}, {self.ablation}"


def whole(found: Edges) -> Edges | None:
    """The pairs whose scores are there, of a run that was stopped; None where there is none."""
    done = np.isfinite(found["effect"].values[:, found.graph.exists]).all(1)
    if done.all():
        return found
    return Edges.of(found.isel(prompt=done)) if done.any() else None


def sign_of(found: Edges) -> int:
    """By what an effect is multiplied so that more speaks for the answer."""
    return -1 if provenance(found)["call"]["direction"] == "noise" else 1


def known_exact(found: Edges) -> dict[str, np.ndarray]:
    """Exact effects that came with the scores, or are the scores, by edge: how much each speaks for the answer."""
    call, graph, sign = provenance(found)["call"], found.graph, sign_of(found)
    if call["method"] == "exact":
        there = np.argwhere(graph.exists & np.isfinite(found["effect"].values).all(0))
        values = found["effect"].values
    elif "exact" in found.data_vars:
        there, values = np.argwhere(found["selected"].values > 0), found["exact"].values
    else:
        return {}
    return {graph.name(r, w): sign * values[:, r, w].astype(float) for r, w in there}


def payload(run: Search, model: str) -> dict[str, Any]:
    """The `graph` trait: sizes, and the score of every edge as float32, reader by reader, NaN where there is none."""
    found = run.dataset
    assert found is not None
    graph, record = found.graph, provenance(found)
    scores, call = found.scores, record["call"]
    there = graph.exists & np.isfinite(scores)
    return {
        "run": run.number,
        "model": model,
        "layers": graph.n_layers,
        "heads": graph.n_heads,
        "kv": graph.n_kv_heads,
        "parallel": graph.parallel,
        "edges": graph.n_edges,
        "scored": int(there.sum()),
        "most": min(MOST_DRAWN, int(there.sum())),
        "method": call["method"],
        "metric": call["metric"],
        "unit": call["unit"],
        "ablation": call["ablation"],
        "pairs": found.sizes["prompt"],
        "clean": finite(found["clean"].mean()),
        "corrupted": finite(found["corrupted"].mean()),
        "complete": run.complete(),
        "check": _check(found),
        "scores": np.ascontiguousarray(scores[graph.exists], dtype="<f4").tobytes(),
    }


def _check(found: Edges) -> str:
    """How far scores are from exact effects, in a sentence; "" where nothing was checked."""
    if "exact" not in found.data_vars:
        return ""
    try:
        said = found.agreement(k=min(10, int((found["selected"].values > 0).sum())))
    except CircuitError:
        return ""
    missed, rest = found.missed(), ""
    if missed is not None:
        rest = (
            f" Of {missed['n_edges']} drawn from the rest, the largest exact effect is {abs(missed['effect']):.3g} in"
            f" size ({missed['edge']})."
        )
    return (
        f"Scores beside exact effects of {said.n_cells} edges, {said.n_prompts} pairs: Spearman {said.spearman:.2f},"
        f" slope {said.slope:.2f}, same sign on {said.sign:.0%} of the largest {said.k}.{rest}"
    )


def kept(found: Edges, n: int, ranking: str) -> dict[str, Any]:
    """What the `n` edges of the largest score are worth: how many lie on a path from the input to the logits, the
    least of them, and their share of all scores' size.
    """
    graph, scores = found.graph, found.scores
    mask = top_edges(graph, scores, n, absolute=ranking == "absolute")
    size = np.abs(scores)
    return {
        "n": n,
        "on_path": int(graph.pruned(mask).sum()),
        "least": finite(scores[mask][np.argmin(size[mask])]),
        "share": finite(size[mask].sum() / max(float(np.nansum(size[graph.exists])), 1e-30)),
    }


def mean_of(values: np.ndarray, level: float = 0.95) -> dict[str, Any]:
    """A mean over pairs with its interval, and why there is none where there is none."""
    said: dict[str, Any] = {"mean": finite(values.mean()), "n": len(values), "low": None, "high": None}
    if len(values) < LEAST:
        return said | {"kind": f"no interval below {LEAST} pairs"}
    interval = mean_interval(values, level=level, values="number")
    return said | {"low": finite(interval.low), "high": finite(interval.high), "kind": str(interval.kind)}


def edge_facts(found: Edges, name: str) -> dict[str, Any]:
    """One edge in numbers.

    Raises: CircuitError: no such edge.
    """
    graph, scores = found.graph, found.scores
    reader, writer = graph.edge(name)
    size = np.abs(scores[graph.exists])
    own = abs(scores[reader, writer])
    values = sign_of(found) * found["effect"].values[:, reader, writer].astype(float)
    chosen = int(found["selected"].values[reader, writer]) if "selected" in found.data_vars else 0
    return {
        "edge": name,
        "writer": graph.writers[writer],
        "reader": graph.readers[reader],
        "score": mean_of(values) if np.isfinite(values).all() else None,
        "rank": int((size > own).sum()) + 1 if np.isfinite(own) else None,
        "of": int(np.isfinite(size).sum()),
        "unit": provenance(found)["call"]["unit"],
        "gap": finite((found["clean"] - found["corrupted"]).mean()),
        "chosen": CHOSEN.get(chosen, ""),
    }


def curve_of(ds: xr.Dataset) -> dict[str, Any]:
    """The `curve` trait of a result of `lens.faithfulness`: by ranking, a line a size."""
    call = provenance(ds)["call"]

    def row(at: xr.Dataset) -> dict[str, Any]:
        random = at["random"].values if "random" in at else np.array([])
        return {
            **{name: finite(at[name]) for name in ("f", "f_low", "f_high")},
            "n_edges": int(at["n_edges"]),
            "on_path": int(at["n_pruned"]),
            "random": [finite(v) for v in random],
            "p": finite(at["p"]) if "p" in at else None,
            "complement": finite(at["complement"]) if "complement" in at else None,
        }

    rankings = [str(r) for r in ds["ranking"].values]
    areas = [n for n in ("CPR", "CPR_low", "CPR_high", "CMD", "CMD_low", "CMD_high") if n in ds]
    return {
        "sizes": [float(s) for s in ds["circuit"].values],
        "lines": {
            r: [row(ds.sel(ranking=r).isel(circuit=i)) for i in range(ds.sizes["circuit"])] for r in rankings
        },
        "areas": {
            r: {n: finite(ds[n].sel(ranking=r)) for n in areas}
            | {f"random_{n}": [finite(v) for v in ds[f"random_{n}"].sel(ranking=r).values]
               for n in ("CPR", "CMD") if f"random_{n}" in ds}
            for r in rankings
        },
        "n": ds.sizes["prompt"],
        "controls": call["controls"],
        "level": call["intervals"]["level"],
        "found_on": call["found_on"],
        "unit": call["unit"],
        "full": finite(ds["full"].mean()),
        "empty": finite(ds["empty"].mean()),
        "ablation": call["ablation"],
    }  # fmt: skip
