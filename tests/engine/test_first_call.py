"""What is asked first in a new process is answered as it is later."""

import subprocess
import sys

import pytest

FIRST = """
import torch, lens
try:
    lens.Runs.record(object(), [torch.tensor([1, 2])])
except lens.Error as error:
    print(type(error).__name__, error)
"""


@pytest.mark.long
def test_runs_are_recorded_before_anything_else_was_asked_of_a_model():
    """No other part of the engine is loaded then."""
    done = subprocess.run([sys.executable, "-c", FIRST], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("UnsupportedModel model=")
