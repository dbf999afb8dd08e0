"""The parts of the benchmark `unlearning` work: each gives its figures."""

import pytest

from benchmarks import unlearning


def test_between_gives_its_figures_and_the_numbers_of_hooked_forwards():
    from benchmarks import unlearning_between

    figures = unlearning_between.run(True)
    assert set(unlearning.FIGURES["between"]) <= set(figures)
    assert figures["max_rel_diff"] <= 1e-4 and figures["ratio_between"] > 0 and figures["between_cells"] == 64


@pytest.mark.long
def test_compare_gives_its_figures():
    from benchmarks import unlearning_compare

    figures = unlearning_compare.run(True)
    assert set(unlearning.FIGURES["compare"]) <= set(figures) and figures["compare_over_forwards"] > 0
    assert len(figures["compare_metrics"]) == 6


def test_a_step_gives_its_figures():
    from benchmarks import unlearning_step

    figures = unlearning_step.run(True)
    assert set(unlearning.FIGURES["step"]) <= set(figures)
    assert figures["step_over_passes"] > 0 and figures["reference_bytes"]["npo"] == 16 * 31 * 4
    assert figures["reference_bytes"]["kl"] > figures["reference_bytes"]["npo"]
