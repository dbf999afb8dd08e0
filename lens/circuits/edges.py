"""Edges of a decoder: what each carries, estimated for all of them at once, or exactly for some."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import xarray as xr

from ..arguments import Draws, HFModel, Positive, Seed, Size, door, shown
from ..engine.memory import budget
from ..engine.metrics import Metric, MetricError
from ..engine.sessions import of_one_model
from ..engine.sweep import Values
from ..prompts import Pair
from ..results.dataset import stamp
from ..results.record import record_of
from .circuit import Circuit
from .errors import CircuitError
from .exact import ExactEdges
from .positions import summed, tokens_of
from .result import Edges, chosen_edges
from .scores import Scores, points, rules_of
from .task import Task
from .writes import Ablated, Ablation


@door(CircuitError)
@of_one_model
def edges(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    *,
    method: Literal["inputs", "activations", "clean-corrupted", "gim", "exact"] = "inputs",
    steps: Draws | None = None,
    sums: Literal["midpoint", "left"] = "midpoint",
    metric: str | Metric | Callable[[Any, Any], Any] = "logit_diff",
    direction: Literal["denoise", "noise"] = "noise",
    ablation: Ablation = "counterfactual",
    grouped: bool = True,
    freeze_norms: bool = False,
    edges: Sequence[str] | Circuit | None = None,
    by: Literal["prompt", "position"] = "prompt",
    check: Size = 20,
    seed: Seed = 0,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Edges:
    """What every edge between a writer and a reader of the residual stream carries.

    An edge's effect is what the metric gains where its reader sees what its writer writes in the source run, and all
    else is the base run's. Writers are the input, heads and MLPs (a mixture of experts is one); readers queries, keys
    and values (of true key/value heads), MLPs and logits. Norms, rotary embeddings and biases belong to the reader.

    Args:
        pairs: one or several; each aligns token by token.
        method: ``inputs``: the gradient at the readers' inputs, averaged over ``steps`` runs from embeddings between
            the two prompts' (EAP-IG), or with one step at the base run (EAP); ``activations``: averaged over runs in
            which what one layer's heads, or its MLP, or the input writes lies between the two runs, ``steps`` for each,
            nothing flowing back through what is put in; ``clean-corrupted``: the mean of the
            gradients of both runs; ``gim``: the base run's with the scales of norms held, the softmax's derivative at
            temperature 2, and a quarter of what goes into queries and keys and half of what goes into values;
            ``exact``: one edited run an edge.
        steps: None: 5 of ``activations``, and of ``inputs`` where edges are cut by the other run; else 1.
        sums: where the steps lie: ``midpoint`` of each part, or ``left``, the published sum: of ``inputs`` it has the
            source run and not the base run, of ``activations`` the base run's and not the source's.
        metric: of the next token: a name, a ``Metric`` or a function, see ``lens.engine.metrics``.
        direction: ``noise``: the clean run is the base, corrupted writes come in; ``denoise``: the other way round.
        ablation: what comes in: the other run's writes, their ``mean`` over the tokens of all corrupted prompts, or
            ``zero``.
        grouped: readers of keys and values are true key/value heads; False: of every query head, as in MIB's files.
        freeze_norms: hold the scale of every norm in gradients.
        edges: of ``exact``, which, by name (``Edges.sample``) or those of a circuit; None: all.
        by: ``position``: beside each prompt's effects also those at each of its tokens, ``effect_at``: what the edge
            carries there. Scores add up to ``effect`` over tokens; exact effects, of the edge's write put in at one
            token, do not.
        check: beside scores, the exact effects of so many edges of the largest and of as many drawn from the rest, with
            ``seed``; 0 for none.
        memory_mb: extra memory to stay under, in units of 2^20 bytes; None: by the device.
        progress: a bar for what takes over two seconds; False for none. stop: asked between batches; True ends it.

    Returns: `Edges`, over ``prompt, reader, writer``: ``effect``; ``exact`` and ``selected`` of what was checked; the
        metric of the unedited runs, ``clean`` and ``corrupted`` (of another ablation than the other run's: its own).
        By position also ``effect_at``, over ``prompt, position, reader, writer``: NaN behind a prompt's end.

    Raises:
        PromptError: a pair that does not align. MetricError: a metric that has no gradient there. CircuitError: a model
            that is not served, an edge that does not exist, arguments that do not go together, effects by position that
            do not fit ``memory_mb``.

    Source: Syed et al. 2023 (EAP); Hanna et al. 2024, section 3 (EAP-IG), and its library (by activations); Edin et al.
        2025 (GIM); Mueller et al. 2025, section 4 (MIB; the names).

    Cost: scores, a forward and a backward pass a step and about a tenth of that for the products, of ``activations`` as
        many times that as there are layers; exact effects, a third to half of a forward an edge and prompt. In memory
        all writers' differences of a few prompts. By position scores take the same products, and the result is as many
        times larger as there are tokens; exact effects take one run a token more.

    >>> found = lens.edges(model, pairs, steps=5)             # doctest: +SKIP
    """
    exact, began = method == "exact", time.perf_counter()
    task = Task.of(model, pairs, metric, grouped)
    steps = _steps(method, steps, ablation, task.metric, direction, edges)
    noise = direction == "noise"
    ablated = Ablated.of(ablation, task.view, task.encoded, memory_mb)
    call: dict[str, Any] = {**task.call(), "method": method, "direction": direction, "ablation": ablation}
    apart = by == "position"
    if apart:
        call["by"] = by
        _fits(task, method, memory_mb)
    if exact:
        mask = _named(task, edges)
        value, values = ExactEdges(
            task.view, task.graph, task.encoded, mask, task.metric, ablated, noise, positions=apart
        ).values(memory_mb, progress, stop)
        effect = value - values.base.reshape(-1, *[1] * (value.ndim - 1))
        at, effect = (effect[:, 1:], effect[:, 0]) if apart else (None, effect)
    else:
        several = steps > 1 or method == "activations"
        call |= {"steps": steps, "sums": sums if several else None, "freeze_norms": freeze_norms or method == "gim"}
        rules, shares = rules_of(method, freeze_norms), points(method, steps, sums)
        scores = Scores(task, ablated, shares, rules, noise, method == "activations", positions=apart)
        effect, values = scores.effects(memory_mb, progress, stop)
        at, effect = (effect, summed(effect)) if apart else (None, effect)
    found = {"effect": effect} | ({} if at is None else {"effect_at": at})
    if not exact and check and values.status == "complete":
        # how sure scores are comes with them
        selected = chosen_edges(task.graph, np.abs(effect.mean(0)), check, check, seed)
        value, checked = ExactEdges(
            task.view, task.graph, task.encoded, selected > 0, task.metric, ablated, noise
        ).values(memory_mb, progress, stop)
        found |= {"exact": value - values.base[:, None, None], "selected": selected}
        values.status, call["check"] = checked.status, check
    values.seconds = time.perf_counter() - began
    record = record_of(model, task.view, "edges", call, task.pairs, seed=seed if check and not exact else None)
    return _labelled(task, found, values, noise, record)


def _steps(method: str, steps: int | None, ablation: str, metric: Metric, direction: str, edges: Any) -> int:
    """How many points the gradient is taken at.

    Raises:
        CircuitError: steps or edges that the method takes none of. MetricError: no gradient.
    """
    if method != "exact" and edges is not None:
        raise CircuitError(f"edges={shown(edges)} goes with method='exact'; scores are of all edges.")
    if method == "activations":
        steps = steps or 5
    elif method != "inputs":
        if steps not in (None, 1):
            raise CircuitError(
                f"steps={steps} goes with method='inputs' or 'activations'; method={method!r} takes none."
            )
        if method == "clean-corrupted" and ablation != "counterfactual":
            raise CircuitError(f"ablation={ablation!r}: method={method!r} takes the gradient of the other run too.")
    elif steps is None:
        steps = 5 if ablation == "counterfactual" else 1
    elif steps > 1 and ablation != "counterfactual":
        raise CircuitError(
            f"steps={steps}: between a run and a {ablation} there are no embeddings to go along; use steps=1, or"
            " ablation='counterfactual'."
        )
    if method == "exact":
        return 1
    if metric.name == "rank":
        raise MetricError("metric='rank' has no gradient; use logit_diff, logprob or prob, or method='exact'.")
    if metric.name == "kl" and direction == "noise" and steps in (None, 1) and method != "clean-corrupted":
        raise MetricError(
            "metric='kl' is at its minimum in the clean run, where its gradient vanishes; use method='inputs' with"
            " steps=5 or so, or direction='denoise'."
        )
    return steps or 1


def _fits(task: Task, method: str, memory_mb: float | None) -> None:
    """Raises: CircuitError: effects by position that take more memory than there is, or that cannot be told apart."""
    graph, room = task.graph, budget(task.view, memory_mb)
    if method == "exact" and graph.n_kv_heads != task.view.heads("k"):
        raise CircuitError(
            "by='position' with method='exact' is of true key/value heads, and grouped=False tells query heads of a"
            " group apart; leave grouped=True."
        )
    size = 4 * len(task.encoded) * max(task.lengths) * graph.exists.size
    if size > room.bytes:
        raise CircuitError(
            f"by='position': the effects of {len(task.encoded)} prompts of up to {max(task.lengths)} tokens take"
            f" {size / 2**20:.0f} MB, of the {room.memory_mb:.0f} that may be added; give fewer pairs, or"
            f" memory_mb={2 * size / 2**20:.0f}."
        )


def _named(task: Task, edges: Any) -> np.ndarray:
    if edges is None:
        return task.graph.exists
    if isinstance(edges, Circuit):
        if edges.graph != task.graph:
            raise CircuitError(f"edges={shown(edges)} is of {edges.graph}, and this model is {task.graph}.")
        return edges.kept
    return task.graph.mask(edges)


def _labelled(task: Task, found: dict[str, np.ndarray], values: Values, noise: bool, record: dict[str, Any]) -> Edges:
    graph = task.graph
    clean, corrupted = (values.base, values.source) if noise else (values.source, values.base)
    axes = ("prompt", "position", "reader", "writer")
    coords = {
        "prompt": np.arange(len(task.pairs)),
        "reader": np.array(graph.readers),
        "writer": np.array(graph.writers),
        "label": ("prompt", np.array([p.label for p in task.pairs], dtype=str)),
    }
    if "effect_at" in found:
        coords |= tokens_of(task.encoded)
    of = {2: axes[2:], 3: ("prompt", *axes[2:]), 4: axes}
    data = {
        name: (of[array.ndim], array.astype(np.float32, copy=False) if array.dtype.kind == "f" else array)
        for name, array in found.items()
    }
    ds = xr.Dataset({**data, "clean": ("prompt", clean), "corrupted": ("prompt", corrupted)}, coords)
    for name in ("effect", "effect_at", "exact", "clean", "corrupted"):
        if name in ds:
            ds[name].attrs["units"] = record["call"]["unit"]
    stamped = stamp(ds, {**record, "status": values.status, "seconds": round(values.seconds, 4)})
    return Edges.of(stamped)
