"""The figure of unlearning paths holds the numbers that it is given, and refuses what it cannot draw."""

import numpy as np
import pytest
import xarray as xr

from lens.figures import unlearning_paths
from lens.figures.style import FigureError

ARMS = ("start", "twin", "retain_only", "npo")


def paths():
    """A summary of two models, looked at once, and two arms with three looks, in disorder along the loss."""
    measures = ("forgetting of probability", "forget loss", "retain probability")
    mean = np.random.default_rng(0).random((3, 4, 3))
    mean[:, :2, 1:] = np.nan
    axes = ("measure", "arm", "look")
    ds = xr.Dataset(
        {"mean": (axes, mean), "low": (axes, mean - 0.1), "high": (axes, mean + 0.2)},
        {"measure": list(measures), "arm": list(ARMS), "look": range(3)},
    )
    return ds


def test_a_line_is_an_arm_in_order_of_its_loss_and_a_model_is_a_point():
    ds = paths()
    axes = unlearning_paths(ds).axes
    assert [ax.get_title() for ax in axes] == ["forgetting of probability", "retain probability"]
    for ax in axes:
        lines = {line.get_label(): line for line in ax.get_lines()}
        for arm in ("retain_only", "npo"):
            x = ds["mean"].sel(measure="forget loss", arm=arm).values
            y = ds["mean"].sel(measure=ax.get_title(), arm=arm).values
            assert np.allclose(lines[arm].get_xydata(), np.stack([x, y], 1)[np.argsort(x)])
        spots = {bar.get_label(): bar[0].get_xydata()[0] for bar in ax.containers}
        assert set(spots) == {"start", "twin"}
        one = ds["mean"].sel(arm="twin", look=0)
        assert np.allclose(spots["twin"], [one.sel(measure="forget loss"), one.sel(measure=ax.get_title())])


def test_what_cannot_be_drawn_is_refused(tmp_path):
    for said, call in {
        "measures": lambda: unlearning_paths(paths(), measures=("restoration",)),
        "x=": lambda: unlearning_paths(paths(), x="time"),
        "summary lacks": lambda: unlearning_paths(paths().drop_vars("low")),
    }.items():
        with pytest.raises(FigureError, match=said):
            call()
    assert unlearning_paths(paths(), tmp_path / "paths.svg", title="a $b$") and (tmp_path / "paths.svg").is_file()
