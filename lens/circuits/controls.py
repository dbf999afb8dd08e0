"""Controls of a circuit: what else would have been found, how much of it is the same, and how faithful it is.

A circuit is set beside those of shuffled pairs, of other counterfactuals, and random ones: where those are as faithful,
or share as many edges, the circuit says nothing of the task.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Count, Draws, HFModel, Positive, Seed, Share, Size, door, shown
from ..engine.metrics import Metric
from ..engine.sessions import of_one_model
from ..prompts import Pair, encode_all
from ..results.dataset import Result, provenance, stamp
from .circuit import Circuit, top_edges
from .errors import CircuitError
from .faithfulness import faithfulness, ratio
from .result import Edges, signed
from .writes import Ablation


@door(CircuitError)
def shuffled(
    model: HFModel, pairs: Sequence[Pair], what: Literal["answers", "counterfactuals"] = "answers", *, seed: Seed = 0
) -> list[Pair]:
    """The pairs with their parts put together anew, each from another pair.

    Args:
        what: ``answers``: each pair is asked for the answer and foil of one that has others, which its prompts say
            nothing of: what is found then is not the task. ``counterfactuals``: each clean prompt has the corrupted
            prompt of another pair of as many tokens: another counterfactual for the same question, with each seed.
        seed: of the draw.

    Returns: the pairs, in their order, without spans.

    Raises:
        CircuitError: a pair that no other can be put together with. PromptError: a pair that does not align.
    """
    given = list(pairs)
    whole = all(isinstance(pair, Pair) for pair in given)
    if len(given) < 2 or not whole:
        raise CircuitError(
            f"pairs={shown(given)}: expected a list of two pairs or more, to put their parts together anew."
        )
    by_length: dict[Any, list[int]] = {}
    for i, (e, pair) in enumerate(zip(encode_all(model, given), given)):
        key = (len(e.clean_ids), pair.start) if what == "counterfactuals" else None
        by_length.setdefault(key, []).append(i)
    rng, found = np.random.default_rng(seed), list(given)
    for group in by_length.values():
        for i, other in zip(*_apart([_part(given[i], what) for i in group], rng)):
            part: dict[str, Any] = _part(given[group[other]], what, whole=True)
            found[group[i]] = dataclasses.replace(given[group[i]], **part, spans={}, corrupted_spans={})
    return found


def _part(pair: Pair, what: str, whole: bool = False) -> Any:
    """What a pair is given of another; not ``whole``: by what two are told apart."""
    if what == "counterfactuals":
        return dict(corrupted=pair.corrupted) if whole else str(pair.corrupted)
    return dict(answer=pair.answer, foil=pair.foil) if whole else frozenset((pair.answer, pair.foil))


def _apart(parts: Sequence[Any], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of parts, and for each that of another part: in a circle in which equal ones lie together, as many
    places on as there are of the most frequent.

    Raises:
        CircuitError: more than half of them are equal.
    """
    kinds = {part: number for number, part in enumerate(rng.permutation(np.array([*dict.fromkeys(parts)], object)))}
    order = rng.permutation(len(parts))
    order = order[np.argsort([kinds[parts[i]] for i in order], kind="stable")]
    most = max(np.bincount([kinds[part] for part in parts]))
    if 2 * most > len(parts):
        raise CircuitError(
            f"pairs: {most} of {len(parts)} that can be put together have the same part, so that not every one can be"
            " given another; leave some out, or give more pairs (of counterfactuals: of the same number of tokens)."
        )
    return order, np.roll(order, most)


@door(CircuitError)
@of_one_model
def controls(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    found: Edges,
    others: Mapping[str, Edges],
    *,
    n: Count,
    greedy: bool = False,
    absolute: bool = True,
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    ablation: Ablation = "counterfactual",
    draws: Size = 5,
    level: Share = 0.95,
    resamples: Draws = 200,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Result:
    """A circuit of ``n`` edges beside those of other scores, all run by themselves on the same held-out pairs.

    Args:
        pairs: held out: on which the circuits are judged. found: the scores that the circuit is of.
        others: scores by name that it is set beside: of shuffled pairs (`shuffled`), of other counterfactuals, of
            another method.
        n, greedy, absolute: of all circuits, as ``Edges.circuit``.
        metric, ablation, level: as ``lens.faithfulness``. draws: random circuits, with as many edges between the same
            layers as the circuit.
        resamples: pairs that are drawn again for the edge sets. seed: of these, the random circuits and the intervals.

    Returns: over ``circuit`` (``found``, and the others by name): ``f`` with ``f_low`` and ``f_high`` over held-out
        pairs; ``less``, by how much it is below the f of ``found``, with bounds; ``jaccard``, edges of both as a share
        of those of either, with ``jaccard_low`` and ``jaccard_high``, the middle ``level`` of pairs drawn again (for
        two results of as many pairs the same ones), which describes how far the edge sets hang on the pairs and is no
        confidence interval; ``n_edges``, ``n_pruned``. ``random`` and ``random_jaccard``, of every draw.

    Raises:
        CircuitError: scores of another model; a name that is taken; as ``lens.faithfulness``.

    Cost: as ``lens.faithfulness`` of so many circuits.
    """
    several = {"found": found, **others}
    if len(several) != 1 + len(others):
        raise CircuitError("others: 'found' is the circuit's own name; name the others otherwise.")
    for name, scores in several.items():
        if scores.graph != found.graph:
            raise CircuitError(f"others[{name!r}] is of {scores.graph}, and the circuit of {found.graph}.")
    circuits = [scores.circuit(n, greedy=greedy, absolute=absolute) for scores in several.values()]
    random = [circuits[0].random_like(seed + draw) for draw in range(draws)]
    judged = faithfulness(
        model,
        pairs,
        [*circuits, *random],
        metric=metric,
        ablation=ablation,
        controls=0,
        complement=False,
        level=level,
        seed=seed,
        memory_mb=memory_mb,
        progress=progress,
        stop=stop,
    ).isel(ranking=0, drop=True)
    of_random = judged.f.values[len(circuits) :]
    judged = judged.isel(circuit=slice(len(circuits)))
    own = judged.value.values - judged["empty"].values
    gap = (judged.full - judged["empty"]).values
    less = ratio(own[0] - own, gap, level, 2000, seed)
    sets = _alike(several, n, greedy, absolute, resamples, level, seed)
    data: dict[str, Any] = {name: judged[name] for name in ("f", "f_low", "f_high", "n_edges", "n_pruned", "value")}
    data |= {name: judged[name] for name in ("full", "empty")}
    for names, values in (
        (("less", "less_low", "less_high"), less),
        (("jaccard", "jaccard_low", "jaccard_high"), sets),
    ):
        data |= {name: ("circuit", value) for name, value in zip(names, values)}
    if random:
        data["random"] = ("draw", of_random)
        data["random_jaccard"] = ("draw", [circuits[0].jaccard(circuit) for circuit in random])
    ds = xr.Dataset(data).assign_coords(circuit=list(several))
    record = dict(provenance(judged))
    call = {**record["call"], "n": n, "greedy": greedy, "absolute": absolute, "resamples": resamples}
    call["others"] = {name: provenance(scores)["call"] for name, scores in several.items()}
    return stamp(ds, {**record, "kind": "circuit_controls", "call": call})


def _alike(
    several: Mapping[str, Edges], n: int, greedy: bool, absolute: bool, resamples: int, level: float, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The Jaccard index of each edge set with the first, and its range where pairs are drawn again."""
    graph = several["found"].graph
    effects = [signed(scores) for scores in several.values()]

    def circuits(means: Sequence[np.ndarray]) -> list[Circuit]:
        return [Circuit(graph, top_edges(graph, mean, n, absolute=absolute, greedy=greedy)) for mean in means]

    def indices(some: Sequence[Circuit], first: Circuit) -> list[float]:
        return [first.jaccard(circuit) for circuit in some]

    whole = circuits([e.mean(0) for e in effects])
    rng, drawn = np.random.default_rng(seed), []
    for _ in range(resamples):
        rows = {size: rng.integers(size, size=size) for size in sorted({len(e) for e in effects})}
        again = circuits([e[rows[len(e)]].mean(0) for e in effects])
        # of the circuit itself, with that of all pairs
        drawn.append([whole[0].jaccard(again[0]), *indices(again[1:], again[0])])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return np.array(indices(whole, whole[0])), low, high
