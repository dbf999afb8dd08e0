"""Edges and circuits."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import lens
from lens import circuits

from . import Subject
from .common import model, pair, pairs

MODULES = ("lens.circuits",)


def graph() -> circuits.Graph:
    return circuits.Graph(3, 4, 2, 32)


@functools.cache
def found() -> Any:
    """Scores of two pairs, some of them checked."""
    return lens.edges(model(), pairs(2), steps=1, check=3, progress=False)


@functools.cache
def at_tokens() -> Any:
    """Scores of a pair by token."""
    return lens.edges(model(), pair(), steps=1, check=0, by="position", progress=False)


def circuit() -> circuits.Circuit:
    return found().circuit(20)


@functools.cache
def stored() -> str:
    import tempfile

    return str(circuit().save(f"{tempfile.mkdtemp()}/circuit.json"))


def subjects():
    quiet = dict(progress=False)
    yield Subject(
        "edges", circuits.edges, lambda: dict(model=model(), pairs=pair(), steps=1, check=0, **quiet), leave=("edges",)
    )
    yield Subject(
        "faithfulness",
        circuits.faithfulness,
        lambda: dict(
            model=model(), pairs=pair(5), circuits=circuit(), controls=0, complement=False, resamples=50, **quiet
        ),
    )
    yield Subject("shuffled", circuits.shuffled, lambda: dict(model=model(), pairs=pairs(3)))
    yield Subject(
        "controls",
        circuits.controls,
        lambda: dict(
            model=model(), pairs=pair(5), found=found(), others={}, n=20, draws=1, resamples=5, level=0.5, **quiet
        ),
    )
    yield Subject("Graph", circuits.Graph, lambda: dict(n_layers=2, n_heads=4, n_kv_heads=2, d_model=8))
    one = graph()
    yield Subject("Graph.first_writer", one.first_writer, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.heads_of", one.heads_of, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.mlp_of", one.mlp_of, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.attention_readers", one.attention_readers, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.mlp_reader", one.mlp_reader, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.before_mlp", one.before_mlp, lambda: dict(layer=1), leave=("layer",))
    yield Subject("Graph.name", one.name, lambda: dict(reader=1, writer=0), leave=("reader", "writer"))
    yield Subject("Graph.edge", one.edge, lambda: dict(name="input->m0"))
    yield Subject("Graph.mask", one.mask, lambda: dict(edges=["input->m0"]))
    yield Subject("Graph.names", one.names, lambda: dict(mask=one.exists), leave=("mask",))
    yield Subject("Graph.nodes", one.nodes, dict)
    yield Subject("Graph.pruned", one.pruned, lambda: dict(mask=one.exists), leave=("mask",))
    yield Subject("Graph.layers", one.layers, dict)
    yield Subject("Circuit", circuits.Circuit, lambda: dict(graph=one, kept=one.exists), leave=("scores", "about"))
    of = circuits.Circuit(one, one.exists)
    yield Subject("Circuit.pruned", of.pruned, dict)
    yield Subject("Circuit.complement", of.complement, dict)
    yield Subject("Circuit.jaccard", of.jaccard, lambda: dict(other=of))
    yield Subject("Circuit.random_like", of.random_like, dict)
    yield Subject("Circuit.save", of.save, lambda: dict(path=stored()))
    yield Subject("open_circuit", circuits.open_circuit, lambda: dict(path=stored()))
    yield Subject("top_edges", circuits.top_edges, lambda: dict(graph=one, scores=np.ones(one.exists.shape), n=5))
    yield Subject("Edges", circuits.Edges, dict, leave=("data_vars", "coords", "attrs"))
    yield Subject("Edges.of", circuits.Edges.of, lambda: dict(ds=found()))
    yield Subject("Edges.top", found().top, dict)
    yield Subject("Edges.top_at", at_tokens().top_at, dict)
    yield Subject("Edges.by_layer", at_tokens().by_layer, dict)
    yield Subject("Edges.sample", found().sample, dict)
    yield Subject("Edges.circuit", found().circuit, lambda: dict(n=5))
    yield Subject("Edges.stability", found().stability, lambda: dict(n=5, resamples=5))
    yield Subject("Edges.agreement", found().agreement, dict)
    yield Subject("Edges.missed", found().missed, dict)
    yield Subject("Edges.plot", found().plot, dict, leave=("n", "options"))
