"""Views of a test meet no input of an earlier one, and leave none behind."""

import pytest

from tests.widgets.fakes import without_last_inputs


@pytest.fixture(autouse=True)
def inputs(tmp_path_factory, monkeypatch):
    """The folder of the last inputs."""
    return without_last_inputs(tmp_path_factory, monkeypatch)
