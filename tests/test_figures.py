"""Figures show the numbers they are given: colours, labels, dots, limits; and refuse what they cannot show."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import lens
from lens import figures
from lens.figures.style import limits, shown
from tests.models import speaking

PAIRS = [lens.Pair(f"w1 w2 w{i} w4", corrupted=f"w1 w2 w{i + 30} w4", answer=" w7", foil=" w8") for i in range(10, 22)]


@pytest.fixture(scope="module")
def model():
    return speaking()


def image(fig):
    return fig.axes[0].images[0].get_array()


def test_a_map_shows_the_effects_layer_by_position(model, tmp_path):
    ds = lens.patch(model, PAIRS[0])
    fig = figures.patch_map(ds, tmp_path / "deep" / "map.png")
    assert np.allclose(image(fig), ds.effect) and (tmp_path / "deep" / "map.png").stat().st_size > 5000
    low, high = fig.axes[0].images[0].get_clim()
    assert low == -high and high == pytest.approx(float(abs(ds.effect).max()))
    labels = [t.get_text() for t in fig.axes[0].get_xticklabels()]
    assert labels[2] == "w10 | w40" and fig.axes[0].get_xticklabels()[2].get_fontweight() == "bold"
    assert "logit_diff" in fig.axes[1].get_ylabel() and "logits" in fig.axes[1].get_ylabel()


def test_a_summary_gets_dots_exactly_where_holm_allows(model):
    summary = lens.summary(lens.patch(model, PAIRS))
    fig = figures.patch_map(summary, alpha=0.2)
    dots = {(int(y), int(x)) for line in fig.axes[0].lines for x, y in zip(*line.get_data())}
    assert dots == {tuple(map(int, c)) for c in np.argwhere(summary.p_holm.values <= 0.2)}
    assert "n = 12 pairs" in fig.axes[0].get_title() and "Holm" in fig.axes[0].get_title()


def test_a_head_map_names_the_strongest_heads(model):
    ds = lens.patch(model, PAIRS[0], "z", over=("layer", "head"))
    at = ds.effect.argmax(...) if ds.effect.max() > -ds.effect.min() else ds.effect.argmin(...)
    fig = figures.head_map(ds, name_top=1)
    assert [t.get_text() for t in fig.axes[0].texts] == [f"{int(at['layer'])}.{int(at['head'])}"]


def test_missing_cells_are_grey_not_white(model):
    ds = lens.patch(model, PAIRS[0])
    ds["effect"] = ds.effect.where(ds.layer > 1)
    fig = figures.patch_map(ds)
    assert np.ma.getmaskarray(np.ma.masked_invalid(image(fig)))[0].all() and to_hex(fig.axes[0].get_facecolor()) == "#d1d5db"


def test_the_logit_lens_writes_the_tokens(model):
    ds = lens.logit_lens(model, "w1 w2 w3")
    fig = figures.logit_lens_map(ds)
    assert len(fig.axes[0].texts) == ds.sizes["layer"] * 3
    assert fig.axes[0].texts[-1].get_text() == shown(str(ds.top_token.transpose("layer", "position", "top").values[-1, -1, 0]))


def test_agreement_and_controls(model):
    exact, atp = lens.patch(model, PAIRS), lens.patch(model, PAIRS, method="attribution")
    fig = figures.agreement_plot(exact, {"AtP": atp})
    assert np.allclose(fig.axes[0].lines[0].get_data()[1], atp.effect.mean("prompt").values.ravel())
    fig = figures.control_plot(["a", "b"], [1.0, 2.0], [0.5, 1.5], [1.5, 3.0], n=4)
    assert [t.get_text() for t in fig.axes[0].get_yticklabels()] == ["a", "b"] and "n = 4" in fig.axes[0].get_xlabel()


def test_what_a_map_cannot_show_is_refused(model):
    ds = lens.patch(model, PAIRS[0], "z", over=("layer", "head"))
    with pytest.raises(ValueError, match="layer by position"):
        figures.patch_map(ds)
    with pytest.raises(ValueError, match="variable='p'"):
        figures.head_map(ds, variable="p")


def test_tokens_are_shown_harmless_and_visible():
    assert shown(" $x$\n") == r"·\$x\$⏎" and limits(np.array([np.nan, 0.0])) == 1.0
