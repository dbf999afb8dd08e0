"""The parts of the benchmark `edges` work: each gives its figures."""

import pytest

from benchmarks import edges


def test_a_jacobian_lens_beside_its_peer_gives_its_figures_and_the_same_numbers(monkeypatch):
    pytest.importorskip("transformer_lens")
    from benchmarks import edges_jacobian

    monkeypatch.setattr(edges_jacobian, "BATCHES", (4,))
    figures = edges_jacobian.run(True)
    assert set(edges.FIGURES["jacobian"]) <= set(figures)
    assert figures["jacobian_max_rel_diff"] < 1e-4 and figures["chosen_tokens_speedup"] > 0
