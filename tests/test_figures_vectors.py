"""Figures of instruction vectors show the numbers they are given and refuse what they cannot show."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from lens import figures

TASKS = ("capitalize", "present_past", "singular_plural")


def effects(seed=0, layers=6, heads=4, prompts=5):
    rng = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "effect": (
                ("prompt", "layer", "head"),
                rng.normal(0, 0.01, (prompts, layers, heads))
                + 0.2 * (np.arange(layers * heads) == 13).reshape(layers, heads),
            )
        },
        coords={"layer": range(layers), "head": range(heads)},
    )


def rows(by, over, places, seed=0):
    rng = np.random.default_rng(seed)
    made = [
        {by: name, over: x, "accuracy": (a := rng.uniform(0.1, 0.9)), "low": a - 0.08, "high": a + 0.06, "n": 40}
        for name in ("vector", "random vector", "layer average")
        for x in places
    ]
    return pd.DataFrame(made)


def test_every_task_and_their_mean_have_a_panel_on_one_scale(tmp_path):
    given = {t: effects(i) for i, t in enumerate(TASKS)}
    fig = figures.effects_map(
        given, tmp_path / "map.png", heads={"capitalize": [(3, 1)], "mean of tasks": [(3, 1), (2, 0)]}
    )
    images = [ax.images[0] for ax in fig.axes if ax.images]
    assert np.allclose(images[1].get_array(), given["present_past"].effect.mean("prompt"))
    assert np.allclose(images[3].get_array(), sum(ds.effect.mean("prompt") for ds in given.values()) / 3)
    assert len({i.get_clim() for i in images[:4]}) == 1 and images[0].get_clim()[0] == -images[0].get_clim()[1]
    assert "3.1" in fig.axes[0].get_title() and [len(ax.lines) for ax in fig.axes[:4]] == [1, 0, 0, 2]
    assert (tmp_path / "map.png").stat().st_size > 10_000


def test_a_single_task_has_no_mean_and_a_summary_is_taken_as_it_is():
    summary = xr.Dataset({"mean": effects().effect.mean("prompt")})
    fig = figures.effects_map({"capitalize": summary})
    shown = [ax for ax in fig.axes if ax.images]
    assert len(shown) == 1 and np.allclose(shown[0].images[0].get_array(), summary["mean"])


def test_a_sweep_is_a_line_for_each_vector_with_its_interval(tmp_path):
    frame = rows("vector", "layer", range(0, 30, 3))
    fig = figures.sweep_plot(frame, tmp_path / "sweep.png", base=0.05, marks={"a third": 10})
    ax = fig.axes[0]
    assert np.allclose(ax.lines[1].get_ydata(), frame[frame.vector == "random vector"].accuracy)
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "vector",
        "random vector",
        "layer average",
        "no vector",
    ]
    assert len(ax.collections) == 3 and "n = 40" in ax.get_title() and ax.texts[0].get_text() == "a third"
    assert np.isclose(ax.collections[0].get_paths()[0].vertices[:, 1].max(), frame[frame.vector == "vector"].high.max())


def test_numbers_of_heads_are_on_a_logarithmic_axis_with_their_own_ticks():
    ax = figures.sweep_plot(rows("task", "heads", (1, 2, 5, 10, 40)), by="task", over="heads").axes[0]
    assert ax.get_xscale() == "log" and [t.get_text() for t in ax.get_xticklabels()] == ["1", "2", "5", "10", "40"]


def test_bars_stand_at_their_group_with_their_interval_and_gaps_stay(tmp_path):
    frame = rows("vector", "task", TASKS)
    frame = frame[~((frame.vector == "random vector") & (frame.task == "present_past"))].assign(
        n=lambda f: [20, *[40] * (len(f) - 1)]
    )
    fig = figures.accuracy_bars(frame, tmp_path / "bars.png")
    ax = fig.axes[0]
    heights = [[b.get_height() for b in c] for c in ax.containers if hasattr(c, "patches")]
    assert (
        np.allclose(heights[0], frame[frame.vector == "vector"].accuracy)
        and np.isnan(heights[1][1])
        and "n = 20 to 40" in ax.get_title()
    )
    assert [t.get_text() for t in ax.get_xticklabels()] == ["capitalize", "present past", "singular plural"]


def test_the_sources_are_compared_head_by_head(tmp_path):
    a, b = effects(0), effects(1)
    b["effect"] = b.effect + 0.3 * ((b.layer == 5) & (b["head"] == 0))
    fig = figures.source_plot(a, b, tmp_path / "scatter.png", k=3)
    ax = fig.axes[0]
    n = [len(line.get_xdata()) for line in ax.lines[:4]]
    assert sum(n) == 24 and n[1] + n[3] == 3 and n[2] + n[3] == 3 and n[3] >= 1
    r = np.corrcoef(*(one.effect.mean("prompt").values.ravel() for one in (a, b)))[0, 1]
    assert {"3.1", "5.0"} <= {t.get_text() for t in ax.texts} and f"r = {r:.2f}" in ax.get_title()


def test_what_a_figure_cannot_show_is_refused():
    with pytest.raises(ValueError, match="'effect' nor 'mean'"):
        figures.effects_map({"a": xr.Dataset({"other": ("layer", [1.0])})})
    with pytest.raises(ValueError, match="layer by head"):
        figures.effects_map({"a": xr.Dataset({"effect": (("layer", "position"), np.zeros((2, 2)))})})
    with pytest.raises(ValueError, match="lacks 'low', 'high'"):
        figures.accuracy_bars(rows("vector", "task", TASKS).drop(columns=["low", "high"]))
    with pytest.raises(ValueError, match="is empty"):
        figures.sweep_plot(
            rows("vector", "layer", ()).reindex(columns=["vector", "layer", "accuracy", "low", "high", "n"])
        )
    with pytest.raises(ValueError, match="same model"):
        figures.source_plot(effects(), effects(layers=5))
