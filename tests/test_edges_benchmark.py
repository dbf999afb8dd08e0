"""The parts of the benchmark `edges` work: each gives its figures, and TransformerLens' numbers are ours."""

from importlib import import_module

import pytest

from benchmarks import edges


@pytest.mark.long
def test_a_jacobian_lens_beside_its_peer_gives_its_figures_and_the_same_numbers(monkeypatch):
    pytest.importorskip("transformer_lens")
    from benchmarks import edges_jacobian

    monkeypatch.setattr(edges_jacobian, "BATCHES", (4,))
    figures = edges_jacobian.run(True)
    assert set(edges.FIGURES["jacobian"]) <= set(figures)
    assert figures["jacobian_max_rel_diff"] < 1e-4 and figures["chosen_tokens_speedup"] > 0


def test_scores_are_set_beside_the_passes_that_they_need():
    from benchmarks import edges_passes

    figures = edges_passes.run(True)
    assert set(edges.FIGURES["passes"]) <= set(figures) and figures["edges_over_passes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", ["scores", "faithfulness", "exact"])
def test_numbers_are_those_of_transformer_lens(part):
    figures = import_module(f"benchmarks.edges_{part}").run(True)
    assert set(edges.FIGURES[part]) <= set(figures)
    assert next(value for name, value in figures.items() if name.endswith("max_rel_diff")) < 1e-4
    assert all(value > 0 for name, value in figures.items() if name.startswith("ratio"))


@pytest.mark.long
def test_features_give_their_figures():
    from benchmarks import edges_features

    figures = edges_features.run(True)
    assert set(edges.FIGURES["features"]) <= set(figures) and figures["rows"] == 40
    assert figures["features_over_resid"] > 0 and set(figures["seconds"]) == {"resid", "patch", "edit"}
