"""Figures of provenance show the numbers they are given and refuse what they cannot show."""

import numpy as np
import pandas as pd
import pytest

from lens.reproduce.palimpsest import figures as draw


def positions():
    at = np.linspace(0, 0.9, 10)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "suspect": name,
                    "low": at,
                    "high": at + 0.1,
                    "score": -slope * at,
                    "score_low": -slope * at - 0.01,
                    "score_high": -slope * at + 0.01,
                    "n": 40,
                    "rho": -slope,
                    "p": p,
                }
            )
            for name, slope, p in (("alice", 0.1, 1e-12), ("innocent", 0.0, 0.4))
        ]
    )


def curves():
    return pd.DataFrame(
        [
            {
                "suspect": s,
                "title": t,
                "window": w,
                "n": n,
                "tokens": n * (w or 70),
                "rate": min(1, n / 1000) * k,
                "low": 0.0,
                "high": 1.0,
                "seeds": 3,
            }
            for s, t, k in (("alice", "Alice herself", 1.0), ("alice/int4", "4-bit weights", 0.7))
            for w in (0, 8)
            for n in (1000, 100, 500)
        ]
    )


def survived():
    return pd.DataFrame(
        [
            {
                "title": "Alice herself",
                "rho": -0.1,
                "low": -0.12,
                "high": -0.08,
                "seeds": [-0.11, -0.1, -0.09],
                "detected": 3,
                "of": 3,
            },
            {"title": "student", "rho": -0.01, "low": np.nan, "high": np.nan, "seeds": [-0.01], "detected": 0, "of": 1},
        ]
    )


def retrains():
    return pd.DataFrame(
        [
            {
                "writer": "alice-0",
                "temperature": t,
                "tokens": n,
                "m": 19,
                "p_rank": 0.05,
                "floor": 0.05,
                "p_t": 1e-4,
                "p_published": p,
            }
            for t in (0.0, 0.9)
            for n, p in ((100, 1e-3), (900, 1e-12))
        ]
    )


def test_positions_are_drawn_with_their_intervals():
    ax = draw.position_plot(positions(), title="run").axes[0]
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) == 10]
    assert np.allclose(lines[0].get_xdata(), np.linspace(0.05, 0.95, 10)) and np.allclose(
        lines[0].get_ydata(), -0.1 * np.linspace(0, 0.9, 10)
    )
    text = [t.get_text() for t in ax.get_legend().get_texts()]
    assert text == ["alice: rho -0.100, p = 1e-12", "innocent: rho -0.000, p = 0.4"] or text == [
        "alice: rho -0.100, p = 1e-12",
        "innocent: rho +0.000, p = 0.4",
    ]
    assert "n = 400 rows" in ax.get_title()


def test_the_null_has_all_draws_and_the_observed_line():
    null = np.random.default_rng(0).normal(0, 0.02, 5000)
    frame = pd.concat(
        [
            pd.DataFrame({"suspect": "a", "null": null, "observed": -0.1}),
            pd.DataFrame({"suspect": "b", "null": null, "observed": 0.0}),
        ]
    )
    first, second = draw.null_plot(frame).axes
    assert sum(bar.get_height() for bar in first.patches) == 5000 and first.get_lines()[0].get_xdata()[0] == -0.1
    assert "0 of 5,000" in first.get_title() and f"{int((null <= 0).sum()):,} of 5,000" in second.get_title()


def test_power_is_drawn_in_order_across_rows_and_tokens():
    ax = draw.power_plot(curves()).axes[0]
    alice = ax.get_lines()[0]
    assert (
        list(alice.get_xdata()) == [100, 500, 1000]
        and np.allclose(alice.get_ydata(), [0.1, 0.5, 1.0])
        and [t.get_text() for t in ax.get_legend().get_texts()] == ["Alice herself", "4-bit weights"]
    )
    tokens = draw.power_plot(curves(), across="tokens", suspects=["alice/int4"]).axes[0]
    assert [t.get_text() for t in tokens.get_legend().get_texts()] == ["all bytes", "first 8 bytes"] and list(
        tokens.get_lines()[1].get_xdata()
    ) == [
        800,
        4000,
        8000,
    ]
    with pytest.raises(ValueError, match="across='seconds'"):
        draw.power_plot(curves(), across="seconds")


def test_survival_turns_the_sign_and_shows_every_run():
    ax = draw.survival_bars(survived()).axes[0]
    assert [bar.get_width() for bar in ax.patches] == [0.1, 0.01] and [t.get_text() for t in ax.get_yticklabels()] == [
        "Alice herself  (3/3)",
        "student  (0/1)",
    ]
    dots = [line for line in ax.get_lines() if line.get_marker() == "o"]
    assert list(dots[0].get_xdata()) == [0.11, 0.1, 0.09] and list(dots[1].get_xdata()) == [0.01]
    spans = [
        list(line.get_xdata())
        for line in ax.get_lines()
        if line.get_marker() == "None" and len(line.get_xdata()) == 2 and line.get_xdata()[0] != line.get_xdata()[1]
    ]
    assert spans == [[0.08, 0.12]]


def test_arms_and_retrainings():
    ax = draw.arm_plot(survived().rename(columns={"title": "arm"}).assign(n=4000)).axes[0]
    assert [bar.get_height() for bar in ax.patches] == [0.1, 0.01] and "n = 4,000 rows" in ax.get_title()
    ax = draw.retrain_plot(retrains()).axes[0]
    rank, t, published = ax.get_lines()[:3]
    assert (
        np.allclose(rank.get_ydata(), -np.log10(0.05))
        and np.allclose(t.get_ydata(), 4)
        and np.allclose(published.get_ydata(), 12)
        and "900 to 900" in ax.get_title()
    )


@pytest.mark.parametrize(
    "plot", [draw.position_plot, draw.null_plot, draw.power_plot, draw.survival_bars, draw.arm_plot, draw.retrain_plot]
)
def test_what_is_missing_is_named(plot, tmp_path):
    with pytest.raises(ValueError, match="frame lacks"):
        plot(pd.DataFrame({"a": [1]}))


def test_figures_are_saved(tmp_path):
    draw.position_plot(positions(), tmp_path / "sub" / "a.png")
    assert (tmp_path / "sub" / "a.png").stat().st_size > 5000
