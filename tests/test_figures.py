"""Figures show the numbers they are given: colours, labels, dots, limits; and refuse what they cannot show."""

import ast
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

import lens
from lens import figures
from lens.figures.style import FigureError, finish, limits, shown
from tests.models import speaking, tiny, word_tokenizer
from tests.test_files import size_limit

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
    assert (
        np.ma.getmaskarray(np.ma.masked_invalid(image(fig)))[0].all()
        and to_hex(fig.axes[0].get_facecolor()) == "#d1d5db"
    )


def test_the_logit_lens_writes_the_tokens(model):
    ds = lens.logit_lens(model, "w1 w2 w3")
    fig = figures.logit_lens_map(ds)
    assert len(fig.axes[0].texts) == ds.sizes["layer"] * 3
    assert fig.axes[0].texts[-1].get_text() == shown(
        str(ds.top_token.transpose("layer", "position", "top").values[-1, -1, 0])
    )


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


def test_tokens_are_shown_visible():
    assert shown(" $x$\n") == "·$x$⏎" and limits(np.array([np.nan, 0.0])) == 1.0


# -- texts as they are written

NAMES = ("run-$x^{$", "cost $5 to $9", r"a\$b$c\d", "$", r"$\frac{1}{2}$")


def read_as_formula(fig) -> list[str]:
    """Texts that matplotlib would set as mathematics, but for the powers of ten that it writes along an axis itself."""
    return [
        t.get_text()
        for t in fig.findobj(Text)
        if "$" in t.get_text() and t.get_parse_math() and "mathdefault" not in t.get_text()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_models_name_and_tokens_with_dollar_signs_stand_as_they_are(name, tmp_path):
    model = lens.models.wrap(tiny("llama"), word_tokenizer(), name)
    ds = lens.patch(model, PAIRS[0])
    ds = ds.assign_coords(token_clean=("position", [name] * ds.sizes["position"]))
    fig = figures.patch_map(ds, tmp_path / "a.svg")
    assert f"{name} | w40" in [t.get_text() for t in fig.axes[0].get_xticklabels()]
    assert fig.axes[0].get_title().startswith(f"{name}: ") and not read_as_formula(fig)
    assert (tmp_path / "a.svg").stat().st_size > 5000


@pytest.mark.parametrize("name", NAMES)
def test_titles_labels_ticks_and_legends_are_no_formulas_and_powers_of_ten_are(name, tmp_path):
    fig = Figure()
    left, right = fig.subplots(1, 2)
    left.plot([1, 2], [1e-3, 1e3], label=name)
    left.legend(title=name)
    left.set(title=name, xlabel=name, ylabel=name, yscale="log", xticks=[1, 2], xticklabels=[name, "b"])
    left.annotate(name, (1, 1))
    right.set_xticks(range(2), [name, "b"])
    fig.suptitle(name)
    fig.colorbar(right.imshow(np.ones((2, 2))), ax=right).set_label(name)
    finish(fig, tmp_path / "a.png")
    assert not read_as_formula(fig) and sum(t.get_text() == name for t in fig.findobj(Text)) >= 9
    shown_powers = [t for t in left.get_yticklabels() if "mathdefault" in t.get_text()]
    assert shown_powers and all(t.get_parse_math() for t in shown_powers)


def test_a_figure_of_somebody_else_keeps_its_formulas(model):
    fig = Figure()
    theirs, ours = fig.subplots(1, 2)
    theirs.set_title("$x^2$")
    ours.set_title("$y$")
    figures.patch_map(lens.patch(model, PAIRS[0]), ax=ours)
    assert theirs.title.get_parse_math() and not ours.title.get_parse_math()


def test_every_picture_is_saved_in_one_place():
    """Where else a figure were saved, its texts would not be as they are written, and the file not be whole."""
    root = Path(lens.__path__[0])
    found = {
        str(path.relative_to(root.parent))
        for folder in (root, root.parent / "widgets")
        for path in folder.rglob("*.py")
        if ".savefig(" in path.read_text(encoding="utf-8")
    }
    assert found == {"lens/figures/style.py"}
    for path in [*(root / "figures").glob("*.py"), *(root / "reproduce").glob("*/*figures.py")]:
        functions = [
            f
            for f in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(f, ast.FunctionDef) and f.name not in ("figure", "grid", "wrapped", "finish")
        ]
        calls = {
            f.name: {c.func.id for c in ast.walk(f) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)}
            for f in functions
        }
        finishing = {name for name, called in calls.items() if "finish" in called}
        for name, called in calls.items():
            if not name.startswith("_") and {"Figure", "figure", "grid", "wrapped"} & called:
                assert name in finishing or finishing & called, (
                    f"{path.name}: {name} makes a figure and does not finish it"
                )


def test_a_figure_that_cannot_be_saved_says_so_and_keeps_the_earlier_one(model, tmp_path):
    ds = lens.patch(model, PAIRS[0])
    figures.patch_map(ds, tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()
    with size_limit(3000), pytest.raises(lens.FileError, match="a.png.*larger"):
        figures.patch_map(ds, tmp_path / "a.png")
    with pytest.raises(FigureError, match="ends in '.xyz'; expected one of .*png"):
        figures.patch_map(ds, tmp_path / "a.xyz")
    assert (tmp_path / "a.png").read_bytes() == before and len(list(tmp_path.iterdir())) == 1
    figures.patch_map(ds, tmp_path / "b")
    assert (tmp_path / "b.png").is_file()


def test_conditions_may_be_an_array_of_text():
    from tests.fuzz.subjects.figures import doses

    ds = doses()
    names = [str(c) for c in ds.condition.values]
    drawn = figures.dose_plot(ds, 1, conditions=np.array(names[:1]))
    assert [text.get_text() for text in drawn.axes[0].get_legend().get_texts()] == names[:1]
    with pytest.raises(FigureError, match="conditions"):
        figures.dose_plot(ds, 1, conditions=np.array(["nothing of the kind"]))
