"""The parts of the benchmark `generation` work: each gives its figures."""

import subprocess

import pytest

from benchmarks import generation
from benchmarks.before import ROOT, BeforeError, commit_of


def test_edits_give_their_figures_and_a_batchs_texts_are_those_alone():
    from benchmarks import generation_edits

    figures = generation_edits.run(True)
    assert set(generation.FIGURES["edits"]) <= set(figures) and figures["generation_equal"] is True
    assert 0 < figures["gate_open"] < 1 and figures["edit_over_plain"] > 0 and figures["gated_over_plain"] > 0


def test_the_peer_gives_its_figures_and_writes_the_same_texts():
    from benchmarks import generation_peer

    pytest.importorskip("transformer_lens")
    figures = generation_peer.run(True)
    assert figures["ratio_tl_generation"] > 0 and figures["tl_same_texts"] == 1


@pytest.mark.long
@pytest.mark.slow
def test_one_by_one_beside_an_earlier_build_gives_its_figure():
    from benchmarks import generation_one_by_one

    there = subprocess.run(
        ["git", "cat-file", "-e", f"{commit_of('generation')}^{{commit}}"], cwd=ROOT, capture_output=True
    )
    if there.returncode:
        pytest.skip("a shallow clone: the earlier build is not in its history")
    figures = generation_one_by_one.run(True)
    assert "why" not in figures, figures["why"]
    assert figures["ratio_one_by_one_generation"] > 0


def test_one_by_one_without_an_earlier_build_says_why(monkeypatch):
    from benchmarks import generation_one_by_one

    monkeypatch.setattr(generation_one_by_one, "commit_of", lambda name: (_ for _ in ()).throw(BeforeError("no line")))
    assert generation_one_by_one.run(True) == {"why": "no line"}
