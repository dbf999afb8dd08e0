"""Figures of forgetting show the numbers they are given and refuse what they cannot show."""

import numpy as np
import pandas as pd
import pytest

from lens.reproduce.instruction_vectors import figures

TASKS = ("table_1", "pick_last", "step_1")


def points(seeds=2):
    draw, rows = np.random.default_rng(0), []
    for seed in range(seeds):
        for task in TASKS:
            for at in range(0, 60, 10):
                a = 1 - at / 60
                rows.append(
                    {
                        "seed": seed,
                        "task": task,
                        "at": at,
                        "accuracy": a,
                        "vector": 0.4 + 0.5 * a,
                        "hidden state": draw.random(),
                        "distance": 2 - a,
                    }
                )
    return pd.DataFrame(rows)


def compared(seeds=3):
    rows = []
    for k, method in enumerate(("plain", "guided", "kl_start")):
        for metric, title in (("instruction", "old tasks"), ("final", "new tasks")):
            d = 0.1 * k - (0.05 if metric == "final" else 0)
            rows.append(
                {"method": method, "metric": metric, "title": title, "start": 1.0, "mean": 0.5 + d, "units": 12}
                | (
                    {}
                    if method == "plain"
                    else {
                        "difference": d,
                        "low": d - 0.04,
                        "high": d + 0.06,
                        "by_seed": tuple(d + 0.01 * s for s in range(seeds)),
                    }
                )
            )
    return pd.DataFrame(rows)


def curves():
    return pd.DataFrame(
        [
            {
                "seed": s,
                "method": m,
                "kind": k,
                "stage": f"n{j}",
                "step": step,
                "at": 40 * j + step,
                "accuracy": 0.9 - 0.1 * j - 0.01 * s - (0.3 if step == 10 else 0),
            }
            for s in range(2)
            for m in ("plain", "guided")
            for k in ("instruction", "new")
            for j in range(2)
            for step in (0, 10, 40)
        ]
    )


def back():
    rows = []
    for seed in range(2):
        for i, task in enumerate(TASKS):
            for c, gain in (("old", 0.3), ("random", 0.0), ("new", 0.1), ("random of new", 0.02)):
                rows.append(
                    {
                        "seed": seed,
                        "task": task,
                        "condition": c,
                        "base": 0.6 - 0.2 * i,
                        "lost": 0.4 + 0.2 * i,
                        "accuracy": 0.6 - 0.2 * i + gain + 0.02 * seed,
                        "n": 24,
                    }
                )
    return pd.DataFrame(rows)


def test_the_scatter_has_a_panel_for_each_predictor_and_says_how_well_it_follows(tmp_path):
    frame = points()
    fig = figures.forgetting_scatter(frame, tmp_path / "scatter.png", title="plain")
    first, _, last = fig.axes
    assert (
        "r along the training +1.00, 6 tasks" in first.get_title()
        and "-1.00" in last.get_title()
        and "+1.00" not in fig.axes[1].get_title()
    )
    drawn = [line for line in first.lines if line.get_marker() == "o" and len(line.get_xdata()) == 6]
    assert (
        np.allclose(drawn[0].get_xdata(), frame[(frame.seed == 0) & (frame.task == "table_1")].vector)
        and len(drawn) == 3
    )
    assert (tmp_path / "scatter.png").stat().st_size > 10_000
    assert "no task's accuracy moved" in figures.forgetting_scatter(frame.assign(accuracy=0.5)).axes[0].get_title()
    assert figures.forgetting_scatter(frame[frame["at"] < 50]).axes[0].get_title() == "no r: fewer than 6 evaluations"


def test_recovery_stands_beside_before_and_after_in_the_order_of_what_was_lost(tmp_path):
    fig = figures.recovery_bars(back(), tmp_path / "back.png")
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["step 1", "pick last", "table 1"]
    heights = np.array([p.get_height() for p in ax.patches]).reshape(6, 3)
    assert (
        np.allclose(heights[0], 1)
        and np.allclose(heights[1], [0.2, 0.4, 0.6])
        and np.allclose(heights[2], [0.51, 0.71, 0.91])
    )
    assert "n = 24" in ax.get_title() and "old vector added" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_methods_come_in_the_order_of_the_first_metric_with_interval_and_seeds(tmp_path):
    fig = figures.method_plot(
        compared(), tmp_path / "methods.png", metrics=("instruction", "final"), names={"guided": "the paper's"}
    )
    ax = fig.axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == [
        "the paper's",
        "kl_start",
    ] and "plain 0.50, start 1.00, 12 units" in ax.get_title()
    assert figures.method_plot(compared().assign(seeds=3)).axes[0].get_title().endswith("12 units of 3 seeds")
    bars = ax.containers[0]
    assert np.allclose(bars.lines[0].get_xdata(), [0.1, 0.2])
    segments = bars.lines[2][0].get_segments()
    assert np.allclose(segments[0][:, 0], [0.06, 0.16])
    ticks = [line for line in ax.lines if line.get_marker() == "|" and len(line.get_xdata()) == 3]
    assert (
        len(ticks) == 2
        and np.allclose(ticks[0].get_xdata(), [0.1, 0.11, 0.12])
        and "t interval over seeds" in fig.get_suptitle()
    )
    alone = figures.method_plot(compared(1).assign(low=np.nan, high=np.nan), metrics=("instruction",))
    assert "one seed" in alone.get_suptitle() and not any(
        len(x) for x in alone.axes[0].containers[0].lines[2][0].get_segments()
    )


def test_what_is_kept_stands_against_what_is_learnt_beside_the_start(tmp_path):
    ax = figures.tradeoff_plot(
        compared(), tmp_path / "tradeoff.png", across="final", names={"guided": "the paper's"}
    ).axes[0]
    at = {
        line.get_label(): (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in ax.lines
        if len(line.get_xdata()) == 1
    }
    assert at["the paper's  0.55, 0.60"] == pytest.approx((0.55, 0.6)) and at["start model (new tasks unknown)"] == (
        0,
        1,
    )
    assert [t.get_text().split("  ")[0] for t in ax.get_legend().get_texts()][1:] == [
        "kl_start",
        "the paper's",
        "plain",
    ]
    with pytest.raises(ValueError, match="across='own'.*instruction, final"):
        figures.tradeoff_plot(compared())


def test_curves_show_every_evaluation_and_where_stages_begin(tmp_path):
    fig = figures.curve_plot(
        curves(),
        tmp_path / "curves.png",
        methods=["plain"],
        kinds={"instruction": "told", "knowledge": "facts", "new": "new"},
    )
    assert [ax.get_title() for ax in fig.axes] == ["told", "new"]
    line = next(of for of in fig.axes[0].lines if len(of.get_xdata()) == 3)
    assert np.allclose(line.get_xdata(), [0, 10, 40]) and np.allclose(line.get_ydata(), [0.895, 0.595, 0.895])
    assert [t.get_text().strip() for t in fig.axes[0].texts] == ["n0", "n1"]


def test_head_sets_stand_beside_chance_and_drift_by_part(tmp_path):
    sets = pd.DataFrame(
        [
            {"seed": s, "method": "plain", "task": t, "jaccard": 0.5 + 0.1 * s, "chance": 0.2, "k": 10, "heads": 32}
            for s in range(2)
            for t in TASKS
        ]
    )
    ax = figures.set_plot(sets, tmp_path / "heads.png").axes[0]
    assert np.allclose([p.get_height() for p in ax.patches], 0.55) and any(
        np.allclose(line.get_ydata(), 0.2) for line in ax.lines if line.get_linestyle() == "--"
    )
    drift = pd.DataFrame(
        [
            {"seed": s, "method": m, "part": p, "drift": d + 0.01 * s}
            for s in range(2)
            for m, f in (("plain", 1.0), ("l2sp", 0.5))
            for p, d in (("all", 0.2 * f), ("attention", 0.3 * f), ("other", 0.0))
            if p != "other" or s == 0
        ]
    )
    ax = figures.drift_plot(drift, tmp_path / "drift.png").axes[0]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["l2sp", "plain"] and [
        t.get_text() for t in ax.get_legend().get_texts()
    ] == ["attention"]
    assert np.allclose(ax.containers[0].lines[0].get_xdata(), [0.155, 0.305])


@pytest.mark.parametrize(
    "draw, frame, lacks",
    [
        (figures.forgetting_scatter, points(), "vector"),
        (figures.recovery_bars, back(), "lost"),
        (figures.method_plot, compared(), "difference"),
        (figures.curve_plot, curves(), "at"),
    ],
)
def test_tables_that_lack_a_column_are_refused_by_name(draw, frame, lacks):
    with pytest.raises(ValueError, match=f"lacks '{lacks}'"):
        draw(frame.drop(columns=lacks))
    with pytest.raises(ValueError, match="is empty"):
        draw(frame.iloc[:0])
