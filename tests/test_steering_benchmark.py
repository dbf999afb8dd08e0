"""The parts of the benchmark `steering` work: each gives its figures, of the same numbers."""

import pytest

from benchmarks import steering
from benchmarks.__main__ import PARTED


def test_its_parts_are_those_of_the_command_line():
    assert PARTED["steering"][1] == tuple(steering.FIGURES) == tuple(steering.BENCH.parts)


def test_a_plain_loop_has_the_losses_of_the_plan():
    from benchmarks import steering_repetition

    figures = steering_repetition.run(True)
    assert figures["repetition_over_plain"] > 0 and figures["repetition_largest_difference_of_losses"] < 1e-4


@pytest.mark.long
def test_hooked_cells_and_texts_written_one_by_one_are_the_same():
    from benchmarks import steering_depth, steering_gated

    figures = steering_depth.run(True)
    assert figures["ratio_depth"] > 0 and figures["depth_max_diff"] < 1e-3
    figures = steering_gated.run(True)
    assert figures["ratio_published_gated"] > 0 and figures["gated_same_texts"] == 1
