"""Circuits: edges that are kept, read from and written to the JSON of MIB's track and of EAP-IG's library."""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import reading
from ..arguments import Count, FilePath, Seed, door, shown
from ..files import write_json
from .errors import CircuitError
from .graph import Graph

#: The most layers and heads that a file may claim.
_MOST = 1024


@door(CircuitError)
@dataclass(frozen=True, eq=False)
class Circuit:
    """Edges of a graph that are kept while all others are cut.

    Attributes:
        graph: what they are edges of. kept: which, ``[reader, writer]``. scores: of all edges, by which they were
            chosen, NaN where there is none; larger speaks for the answer. about: how it came about: how many edges were
            asked for, the ranking, the record of the scores.
    """

    graph: Graph
    kept: np.ndarray
    scores: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.graph.mask(self.kept)

    def __len__(self) -> int:
        return int(self.kept.sum())

    def __repr__(self) -> str:
        return f"Circuit({len(self)} of {self.graph.n_edges} edges, {self.graph.n_layers} layers)"

    @property
    def edges(self) -> list[str]:
        """The names of its edges, reader by reader."""
        return self.graph.names(self.kept)

    @property
    def share(self) -> float:
        """The share of all edges that it keeps."""
        return len(self) / self.graph.n_edges

    def pruned(self) -> Circuit:
        """Without the edges that lie on no path from the input to the logits; they change nothing."""
        return replace(self, kept=self.graph.pruned(self.kept))

    def complement(self) -> Circuit:
        """All other edges."""
        return Circuit(self.graph, self.graph.exists & ~self.kept, self.scores, {**self.about, "complement": True})

    def jaccard(self, other: Circuit) -> float:
        """Edges of both as a share of those of either; NaN where neither has one.

        Raises:
            CircuitError: of another graph.
        """
        if not isinstance(other, Circuit) or other.graph != self.graph:
            raise CircuitError(f"other={shown(other)} is no circuit of {self.graph}.")
        either = int((self.kept | other.kept).sum())
        return float((self.kept & other.kept).sum() / either) if either else math.nan

    @door(CircuitError)
    def random_like(self, seed: Seed = 0) -> Circuit:
        """As many edges, drawn at random between the same layers: from each writer's layer to each reader's as many as
        here.
        """
        return Circuit(self.graph, random_mask(self.graph, self.kept, seed), None, {"random_like": len(self)})

    @door(CircuitError)
    def save(self, path: FilePath) -> Path:
        """Writes MIB's JSON: ``cfg``, ``nodes`` and ``edges`` with score and whether they are kept; of true key/value
        heads also their number, and of all how the circuit came about.

        Raises:
            FileError: it could not be written.
        """
        graph, kept = self.graph, self.kept
        cfg: dict[str, Any] = {
            "n_layers": graph.n_layers,
            "n_heads": graph.n_heads,
            "parallel_attn_mlp": graph.parallel,
            "d_model": graph.d_model,
        }
        if graph.grouped:
            cfg["n_key_value_heads"] = graph.n_kv_heads
        used: list[bool] = list(map(bool, np.asarray(graph.pruned(kept).any(axis=0))))
        nodes = {name: {"in_graph": inside} for name, inside in zip(graph.writers, used)}
        scores = np.zeros(kept.shape) if self.scores is None else np.nan_to_num(self.scores.astype(float))
        edges = {
            graph.name(r, w): {"score": float(scores[r, w]), "in_graph": bool(kept[r, w])}
            for r, w in np.argwhere(graph.exists)
        }
        content = {"cfg": cfg, "nodes": {**nodes, "logits": {"in_graph": True}}, "edges": edges}
        return write_json(path, {**content, "about": self.about}, indent=None)


@door(CircuitError)
def open_circuit(path: FilePath) -> Circuit:
    """A circuit from MIB's JSON, as `Circuit.save` or EAP-IG's library writes it; nodes and edges kept at the level of
    neurons are refused, and so are the same library's pickled ``.pt`` files.

    Raises:
        CircuitError: no such file, or one that is no circuit.
    """

    def refuse(said: str) -> CircuitError:
        return CircuitError(f"path: {said}; expected a circuit as JSON with cfg, nodes and edges.")

    if Path(path).suffix == ".pt":
        raise refuse(f"{path} is a pickle, which can run code: have the library that made it write JSON (to_json)")
    content = reading.json_file(path, refuse)
    for key in ("cfg", "nodes", "edges"):
        if not isinstance(content.get(key), dict):
            raise refuse(f"{path} has no object {key!r}")
    graph = _graph(content["cfg"], lambda said: refuse(f"{path}: {said}"))
    if any(isinstance(node, dict) and "neurons" in node for node in content["nodes"].values()):
        raise refuse(f"{path} keeps neurons of its nodes, which circuits of edges do not")
    kept, scores = np.zeros_like(graph.exists), np.full(graph.exists.shape, np.nan)
    for name, entry in content["edges"].items():
        try:
            at = graph.edge(name)
        except CircuitError as error:
            raise refuse(f"{path}: {error}") from None
        inside, score = (entry.get("in_graph"), entry.get("score")) if isinstance(entry, dict) else (None, None)
        number = score is None or (isinstance(score, (int, float)) and not isinstance(score, bool))
        if not isinstance(inside, bool) or not number:
            raise refuse(f"{path}: the edge {name} is {shown(entry)}, not a score and whether it is in_graph")
        kept[at] = inside
        scores[at] = np.nan if score is None else score
    about = content.get("about")
    return Circuit(graph, kept, scores, about if isinstance(about, dict) else {})


def _graph(cfg: dict[str, Any], refuse: Any) -> Graph:
    sizes = {}
    for name in ("n_layers", "n_heads", "d_model", "n_key_value_heads"):
        size = cfg.get(name, cfg.get("n_heads") if name == "n_key_value_heads" else None)
        most = _MOST if name != "d_model" else 2**20
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= most:
            raise refuse(f"its cfg has {name}={shown(size)}, not a number from 1 to {most}")
        sizes[name] = size
    parallel = cfg.get("parallel_attn_mlp", False)
    if not isinstance(parallel, bool):
        raise refuse(f"its cfg has parallel_attn_mlp={shown(parallel)}, not a truth value")
    if sizes["n_layers"] * sizes["n_heads"] > _MOST * 16:
        raise refuse(f"its cfg has {sizes['n_layers']} layers of {sizes['n_heads']} heads, more than any graph here")
    return Graph(sizes["n_layers"], sizes["n_heads"], sizes["n_key_value_heads"], sizes["d_model"], parallel)


def random_mask(graph: Graph, kept: np.ndarray, seed: int) -> np.ndarray:
    """As many edges between each writer's and each reader's layer as are kept, drawn without replacement."""
    rng, drawn = np.random.default_rng(seed), np.zeros_like(kept)
    of_writer = (np.arange(graph.n_writers) - 1) // (graph.n_heads + 1)  # the input is a layer of its own, -1
    of_reader = graph.layers()
    for reader in np.unique(of_reader):
        rows = of_reader == reader
        for writer in np.unique(of_writer[kept[rows].any(0)]):
            block = np.ix_(rows, of_writer == writer)
            there, count = np.argwhere(graph.exists[block]), int(kept[block].sum())
            chosen = there[rng.permutation(len(there))[:count]]
            part = np.zeros(graph.exists[block].shape, bool)
            part[chosen[:, 0], chosen[:, 1]] = True
            drawn[block] = part
    return drawn


@door(CircuitError)
def top_edges(graph: Graph, scores: np.ndarray, n: Count, *, absolute: bool = True, greedy: bool = False) -> np.ndarray:
    """The edges of the largest scores, ``[reader, writer]``; or, `greedy`, grown from the logits: each time the best
    edge into what is there.

    Args:
        scores: ``[reader, writer]``, NaN where there is none. absolute: by magnitude.

    Raises:
        CircuitError: more edges than have a score.

    Source: Hanna et al. 2024, section 3 (top n), and its library (greedy).
    """
    size = np.where(graph.exists & np.isfinite(scores), np.abs(scores) if absolute else scores, -np.inf)
    there = int(np.isfinite(size).sum())
    if n > there:
        raise CircuitError(f"n={n} is more than the {there} edges that have a score.")
    return _grown(graph, size, n) if greedy else _largest(size, n)


def _largest(size: np.ndarray, n: int) -> np.ndarray:
    kept = np.zeros(size.shape, bool)
    kept.flat[np.argsort(-size, axis=None, kind="stable")[:n]] = True
    return kept


def _grown(graph: Graph, size: np.ndarray, n: int) -> np.ndarray:
    belongs, kept, seen = graph.nodes(), np.zeros(size.shape, bool), np.zeros(graph.n_readers, bool)
    waiting: list[tuple[float, int, int]] = []

    def arrive(readers: np.ndarray) -> None:
        for reader in readers:
            if not seen[reader]:
                seen[reader] = True
                for writer in np.flatnonzero(np.isfinite(size[reader])):
                    heapq.heappush(waiting, (-float(size[reader, writer]), int(reader), int(writer)))

    arrive(np.array([graph.n_readers - 1]))
    for _ in range(n):
        if not waiting:
            break
        _, reader, writer = heapq.heappop(waiting)
        kept[reader, writer] = True
        arrive(np.flatnonzero(belongs[:, writer]))
    return kept
