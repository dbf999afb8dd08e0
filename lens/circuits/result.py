"""Effects of edges as a result: the largest, a sample to check, circuits, and how scores agree with exact effects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ..arguments import Count, Draws, Seed, Share, Size, door
from ..readout.agreement import Agreement, AgreementError, compare
from ..results import dataset as results
from ..results.dataset import Result
from ..stats.intervals import Interval
from ..stats.means import LEAST, mean_interval
from .circuit import Circuit, top_edges
from .errors import CircuitError
from .graph import Graph
from .positions import at_tokens, layered

#: How a checked edge was chosen, in `selected`.
TOP, RANDOM = 1, 2


class Edges(Result):
    """Effects of edges over ``prompt``, ``reader`` and ``writer``, NaN where there is no edge or it was not asked for.

    ``effect`` is what the metric gains where the edge carries the source's write: of scores an estimate. ``exact`` has
    the exact effects of the edges that were checked, ``selected`` how each was chosen (1: among the largest, 2: drawn
    from the rest). ``effect_at``, over ``position`` too, is there where it was asked for (``by="position"``). It is an
    ``xarray.Dataset``: select, save (`lens.save`), export.
    """

    __slots__ = ()

    @classmethod
    @door(CircuitError)
    def of(cls, ds: xr.Dataset) -> Edges:
        """A result of `lens.edges` that was saved and opened again.

        Raises:
            CircuitError: another kind of result.
        """
        if results.provenance(ds).get("kind") != "edges":
            raise CircuitError("ds is no result of lens.edges; give what lens.open gives of one that was saved.")
        return cls({name: ds.variables[name] for name in ds.data_vars}, ds.coords, ds.attrs)

    @property
    def graph(self) -> Graph:
        """Writers, readers and edges of the model."""
        return Graph(**results.provenance(self)["call"]["graph"])

    @property
    def scores(self) -> np.ndarray:
        """How much each edge speaks for the answer, ``[reader, writer]``: the mean effect over prompts where clean
        activations come in, and its negative where corrupted ones do.
        """
        sign = -1 if results.provenance(self)["call"]["direction"] == "noise" else 1
        return sign * self["effect"].mean("prompt", skipna=False).values.astype(float)

    @door(CircuitError)
    def top(self, n: Count = 20, *, level: Share = 0.95, together: bool = False) -> pd.DataFrame:
        """The edges of the largest mean effect, with intervals over prompts (from five on), and the exact effect beside
        where it was taken.

        Each interval is of its edge alone; ``together``, corrected for as many rows as are shown (Bonferroni), not for
        their choice among all edges: they are the largest on these very prompts, and overestimated. For effects to
        report ask ``lens.edges(other_pairs, method="exact", edges=...)``. For the same reason there is no p-value.
        """
        graph, mean = self.graph, np.abs(self["effect"].mean("prompt", skipna=False).values)
        order = np.argsort(np.where(np.isfinite(mean), -mean, np.inf), axis=None)[: min(n, np.isfinite(mean).sum())]
        reader, writer = np.unravel_index(order, mean.shape)
        columns: dict[str, Any] = {"edge": [graph.name(r, w) for r, w in zip(reader, writer)]}
        for name in ("effect", "exact"):
            if name not in self.data_vars:
                continue
            values = self[name].values[:, reader, writer].astype(float)
            columns[name] = values.mean(0)
            if len(values) >= LEAST:
                interval = _mean(values, level, int(np.isfinite(values).all(0).sum()) if together else 1)
                columns |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        return pd.DataFrame(columns).assign(n=self.sizes["prompt"])

    @door(CircuitError)
    def top_at(self, n: Count = 20, *, prompt: Size = 0) -> pd.DataFrame:
        """The edges and tokens of the largest effect in one prompt: ``edge``, ``position``, ``token``, ``effect``.

        They are of that prompt alone: there is no interval, and the largest of many are overestimated where they are
        scores.

        Raises:
            CircuitError: no effects by position, no such prompt.
        """
        effect = at_tokens(self, prompt)
        order = np.argsort(np.where(np.isfinite(effect), -np.abs(effect), np.inf), axis=None)
        at = np.unravel_index(order[: min(n, int(np.isfinite(effect).sum()))], effect.shape)
        tokens = self["token_clean"].values[prompt]
        return pd.DataFrame(
            {
                "edge": [self.graph.name(r, w) for r, w in zip(*at[1:])],
                "position": at[0],
                "token": tokens[at[0]],
                "effect": effect[at],
            }
        )

    @door(CircuitError)
    def by_layer(self, prompt: Size = 0) -> xr.DataArray:
        """Effects at every token between layers, summed over their heads: ``position, reader, writer``, NaN where there
        is no edge. Writers are the input and each layer's attention (``a3``) and MLP, readers its queries, keys and
        values (``a3<q>``), its MLP and the logits.

        Raises:
            CircuitError: no effects by position, not of every edge, no such prompt.
        """
        return layered(self.graph, at_tokens(self, prompt))

    @door(CircuitError)
    def sample(self, top: Size = 100, random: Size = 100, *, seed: Seed = 0) -> list[str]:
        """Names of the edges of the largest mean effect, and of others drawn from the rest: for ``lens.edges(...,
        method="exact", edges=...)``.

        Raises:
            CircuitError: none is asked for.
        """
        chosen = chosen_edges(self.graph, self.scores, top, random, seed)
        if not chosen.any():
            raise CircuitError(f"top={top} and random={random} ask for no edge; give one of them.")
        return self.graph.names(chosen > 0)

    @door(CircuitError)
    def circuit(self, n: Count, *, greedy: bool = False, absolute: bool = True) -> Circuit:
        """The ``n`` edges of the largest score, or grown from the logits by the best edge into what is there.

        Args:
            n: edges, before those on no path from input to logits are left out (`Circuit.pruned`).
            absolute: by magnitude; False for what speaks for the answer alone.

        Raises:
            CircuitError: more edges than have a score.
        """
        scores, record = self.scores, results.provenance(self)
        kept = top_edges(self.graph, scores, n, absolute=absolute, greedy=greedy)
        about = {"n": n, "greedy": greedy, "absolute": absolute, **{k: record[k] for k in ("call", "model", "pairs")}}
        return Circuit(self.graph, kept, scores, about)

    @door(CircuitError)
    def stability(
        self, n: Count, *, greedy: bool = False, absolute: bool = True, resamples: Draws = 200, level: Share = 0.95,
        seed: Seed = 0,
    ) -> dict[str, Any]:  # fmt: skip
        """How alike circuits of ``n`` edges are where the pairs are drawn again: the mean Jaccard index with the
        circuit of all pairs, and the range of the middle ``level`` of resamples (which describes them and is no
        confidence interval). ``stable``: at least .8 on average over 100 pairs or more.

        Source: bootstraps of circuits: Méloux et al. 2025 (arXiv 2510.00845).
        """
        effects, graph = signed(self), self.graph
        rng, whole = np.random.default_rng(seed), self.circuit(n, greedy=greedy, absolute=absolute)
        found = []
        for _ in range(resamples):
            drawn = effects[rng.integers(len(effects), size=len(effects))].mean(0)
            kept = top_edges(graph, drawn, n, absolute=absolute, greedy=greedy)
            found.append(whole.jaccard(Circuit(graph, kept)))
        low, high = np.quantile(found, [(1 - level) / 2, (1 + level) / 2])
        mean, pairs = float(np.mean(found)), len(effects)
        return {
            "jaccard": mean,
            "low": float(low),
            "high": float(high),
            "n_pairs": pairs,
            "resamples": resamples,
            "stable": bool(mean >= 0.8 and pairs >= 100),
        }

    @door(CircuitError)
    def agreement(self, *, k: Count = 10, level: Share = 0.95, seed: Seed = 0) -> Agreement:
        """How the scores agree with the exact effects of the edges that were checked.

        Raises:
            CircuitError: none was checked (``check=0``), or fewer than three.
        """
        if "exact" not in self.data_vars:
            raise CircuitError(
                "ds has no exact effects beside its scores; ask lens.edges for some (check=), or compare with those of"
                " method='exact' by lens.agreement."
            )
        exact = self.drop_vars(["effect"]).rename(exact="effect")
        try:
            return compare(exact, self, same=(), k=k, level=level, seed=seed)
        except AgreementError as error:
            raise CircuitError(str(error)) from None

    def missed(self, level: float = 0.95) -> dict[str, Any] | None:
        """The largest exact effect among the edges drawn from the rest, with its interval over prompts, and the largest
        of the upper bounds of |effect| there; None where none was drawn.

        It is the largest of many, so that the intervals of all that were drawn hold at once at ``level`` (Bonferroni).
        Of the edges that were not drawn they say nothing: a look at what the scores pass over, and no proof.
        """
        if "selected" not in self.data_vars or not (self["selected"].values == RANDOM).any():
            return None
        at = np.argwhere(self["selected"].values == RANDOM)
        values = self["exact"].values[:, at[:, 0], at[:, 1]].astype(float)
        largest = int(np.abs(values.mean(0)).argmax())
        said: dict[str, Any] = {
            "edge": self.graph.name(*(int(i) for i in at[largest])),
            "effect": float(values.mean(0)[largest]),
            "n_edges": len(at),
            "n_unselected": int(self.graph.n_edges - (self["selected"].values == TOP).sum()),
        }
        if len(values) >= LEAST:
            interval = _mean(values, level, len(at))
            bound = np.fmax(np.abs(interval.low), np.abs(interval.high))
            said |= {"low": float(np.asarray(interval.low)[largest]), "high": float(np.asarray(interval.high)[largest])}
            said["largest_bound"] = float(np.nanmax(bound)) if np.isfinite(bound).any() else float("nan")
        return said

    def plot(self, n: int = 100, **options: Any) -> Any:  # type: ignore[override]
        """A heat map, by xarray, of how much the ``n`` largest edges carry from each layer to each: the sum of their
        |effect|. White is where no edge can be.
        """
        graph, scores = self.graph, np.abs(self.scores)
        kept = top_edges(graph, scores, min(n, int(np.isfinite(scores).sum())))
        summed = np.zeros((graph.n_layers + 1, graph.n_layers + 1))
        of_writer = (np.arange(graph.n_writers) - 1) // (graph.n_heads + 1)
        reader, writer = np.nonzero(kept)
        np.add.at(summed, (graph.layers()[reader], of_writer[writer] + 1), scores[reader, writer])
        reader, writer = np.nonzero(graph.exists)
        there = np.zeros(summed.shape, bool)
        there[graph.layers()[reader], of_writer[writer] + 1] = True
        axes = {"into_layer": np.arange(graph.n_layers + 1), "from_layer": np.arange(-1, graph.n_layers)}
        drawn = xr.DataArray(np.where(there, summed, np.nan), axes, ("into_layer", "from_layer"), "sum of |effect|")
        drawn.attrs["units"] = self["effect"].attrs.get("units", "")
        mesh = drawn.plot(**options)
        # every layer of a small model, about ten of a large one
        step, layers = max(1, graph.n_layers // 10), graph.n_layers
        shown = list(range(0, layers, step))
        beside = shown[step > 2 :]  # of a large model "input" covers the first layer's number
        mesh.axes.set_xticks([-1, *beside], ["input", *map(str, beside)])
        mesh.axes.set_yticks([*shown, layers], [*map(str, shown), "logits"])
        mesh.axes.set(xlabel="writes in layer", ylabel="reads in layer")
        return mesh


def signed(found: Edges) -> np.ndarray:
    """How much each edge speaks for the answer in each prompt, ``[prompt, reader, writer]``."""
    sign = -1 if results.provenance(found)["call"]["direction"] == "noise" else 1
    effects: np.ndarray = sign * found["effect"].values
    return effects


def _mean(values: np.ndarray, level: float, cells: int) -> Interval:
    """Intervals over prompts that hold for so many cells at once."""
    level = 1 - (1 - level) / max(1, cells)
    resamples = max(2000, math.ceil(round(2 / (1 - level), 6)))
    return mean_interval(values, level=level, values="number", resamples=resamples)


def chosen_edges(graph: Graph, scores: np.ndarray, top: int, random: int, seed: int) -> np.ndarray:
    """`TOP` at the edges of the largest score, `RANDOM` at those drawn from the rest, 0 elsewhere, ``[reader,
    writer]``.
    """
    there = graph.exists & np.isfinite(scores)
    chosen = np.zeros(scores.shape, np.int8)
    if top:
        chosen[top_edges(graph, scores, min(top, int(there.sum())))] = TOP
    rest = np.argwhere(there & (chosen == 0))
    drawn = np.random.default_rng(seed).permutation(len(rest))[:random]
    chosen[rest[drawn, 0], rest[drawn, 1]] = RANDOM
    return chosen
