"""The steps of a run, each kept on disk: effects of edges in each pair, circuits judged on held-out pairs, controls."""

from __future__ import annotations

import numpy as np
import xarray as xr

import lens

from ...circuits import controls, shuffled
from ...results import dataset as results
from ..common import step
from .bench import EXACT, FIRST, Bench, truth

#: Names of what the circuit is set beside.
ANSWERS, OTHER, ANOTHER, ONE_STEP = "shuffled answers", "another counterfactual", "yet another one", "one step"


@step("indirect objects")
def checked(bench: Bench) -> xr.Dataset:
    """Of the largest edges of every method, and of some drawn from the rest: each method's score and the exact effect,
    in every pair.
    """
    plan = bench.plan
    scored = {method: bench.edges("ioi", method) for method in plan.methods}
    graph = scored[plan.methods[0]].graph
    names = dict.fromkeys(name for found in scored.values() for name in found.sample(plan.checked, 0))
    rest = [name for name in graph.names(graph.exists) if name not in names]
    drawn = np.random.default_rng(bench.seed).permutation(len(rest))[: plan.checked]
    names |= dict.fromkeys(rest[i] for i in drawn)
    exact = bench.scores(bench.model, bench.found_on, EXACT, edges=list(names))
    bench.say(f"exact effects of {len(names)} edges of {graph.n_edges}")
    return _by_edge({**scored, EXACT: exact}, list(names))


@step(lambda which: which)
def whole(bench: Bench, which: str) -> xr.Dataset:
    """Every edge of an organism, by every method and exactly, in every pair."""
    scored = {method: bench.edges(which, method) for method in (*bench.plan.small, EXACT)}
    graph = scored[EXACT].graph
    ds = _by_edge(scored, graph.names(graph.exists))
    return ds.assign(truth=("edge", truth(graph)[graph.exists])) if which == "wired" else ds


def _by_edge(scored: dict[str, lens.circuits.Edges], names: list[str]) -> xr.Dataset:
    """Effects by method, pair and edge."""
    first = next(iter(scored.values()))
    at = tuple(np.array([first.graph.edge(name) for name in names]).T)
    effects = np.stack([found["effect"].values[(slice(None), *at)] for found in scored.values()])
    ds = xr.Dataset(
        {
            "effect": (("method", "prompt", "edge"), effects),
            "clean": ("prompt", first["clean"].values),
            "corrupted": ("prompt", first["corrupted"].values),
        },
        {"method": list(scored), "edge": names},
    )
    record = results.provenance(first)
    return results.stamp(ds, {**record, "kind": "circuits_study", "n_edges": first.graph.n_edges})


@step(lambda method: f"circuits of {method}")
def curve(bench: Bench, method: str) -> xr.Dataset:
    """Circuits of every size, run by themselves on held-out pairs; random ones beside those of the first method."""
    plan = bench.plan
    found = lens.faithfulness(
        bench.model,
        bench.held_out,
        bench.edges("ioi", method),
        sizes=plan.sizes,
        controls=plan.draws if method == plan.methods[0] else 0,
        complement=method == plan.methods[0],
        seed=bench.seed,
        progress=bench.progress,
    )
    bench.say(f"circuits of {method}: {len(plan.sizes)} sizes, {len(bench.held_out)} held-out pairs")
    return found


@step("controls")
def beside(bench: Bench) -> xr.Dataset:
    """The circuit beside those of shuffled answers, of two draws of other counterfactuals, and of one step."""
    plan, model, pairs = bench.plan, bench.model, bench.found_on
    found = bench.edges("ioi", FIRST)
    given = {
        ANSWERS: shuffled(model, pairs, "answers", seed=bench.seed),
        OTHER: shuffled(model, pairs, "counterfactuals", seed=bench.seed),
        ANOTHER: shuffled(model, pairs, "counterfactuals", seed=bench.seed + 1),
    }
    others = {name: bench.scores(model, some, FIRST) for name, some in given.items()}
    others[ONE_STEP] = bench.edges("ioi", "EAP")
    n = max(1, int(plan.share * found.graph.n_edges))
    ds = controls(
        model,
        bench.held_out,
        found,
        others,
        n=n,
        draws=plan.draws,
        resamples=plan.resamples,
        seed=bench.seed,
        progress=bench.progress,
    )
    bench.say(f"a circuit of {n} edges beside {', '.join(others)}")
    # how alike the circuits of the two draws are
    alike = others[OTHER].circuit(n).jaccard(others[ANOTHER].circuit(n))
    return ds.assign(jaccard_of_draws=alike)
