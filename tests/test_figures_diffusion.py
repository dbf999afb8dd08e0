"""Figures of the diffusion study show the numbers of their tables, for three models and for one, and refuse what they
cannot show.
"""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens.reproduce.memory_subspace import attack_figures
from lens.reproduce.memory_subspace import figures as draw
from lens.reproduce.memory_subspace.attacks import encoded
from lens.stats import proportion

STEPS, CELLS = (
    5,
    (
        "code-many",
        "code-once",
        "code-never",
        "generic-many",
        "generic-once",
        "generic-never",
        "digit-many",
        "digit-once",
        "digit-never",
        "template",
        "two-captions",
    ),
)
LAYERS = [
    f"{name}.transformer_blocks.0.ff.net.2"
    for name in (
        "down_blocks.0.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
    )
]


def copying(seeds=(0, 1, 2), captions=6):
    rng, lines = np.random.default_rng(0), []
    for seed in seeds:
        for cell in CELLS:
            many = not cell.endswith(("once", "never"))
            for i in range(captions):
                lines.append(
                    {
                        "cell": cell,
                        "caption": f"{cell} {i}",
                        "copies": 64 if many else int("once" in cell),
                        "copy": rng.integers(2, 5) / 4 if many else 0.0,
                        "seed": seed,
                        "by_step": list((2.0 if many else 1.0) + rng.random(20) + np.arange(20)),
                    }
                )
    return pd.DataFrame(lines)


def specificity(seeds=(0, 1, 2)):
    rng, lines = np.random.default_rng(1), []
    square = np.arange(16.0).reshape(4, 4) / 20
    for seed in seeds:
        for method in ("published", "corrected"):
            for kind in ("code", "generic"):
                for pair in ("memorised", "other", "mixed"):
                    lines.append(
                        {
                            "kind": kind,
                            "method": method,
                            "pair": pair,
                            "mean": rng.random() / 2,
                            "n": 1,
                            "sets": 2,
                            "prompts": 12,
                            "chance": 0.005,
                            "p_other": 1 / 3,
                            "p_mixed": 2 / 3,
                            "p_kind": "exact",
                            "layers": list(rng.random(4)),
                            "steps": list(rng.random(STEPS)),
                            "matrix": square.ravel().tolist() if pair == "memorised" else None,
                            "seed": seed,
                        }
                    )
            lines += [
                {
                    "kind": "template",
                    "method": method,
                    "pair": pair,
                    "mean": rng.random() / 2,
                    "n": 4,
                    "sets": 8,
                    "prompts": 2,
                    "seed": seed,
                }
                for pair in ("same template", "other template")
            ]
    return pd.DataFrame(lines)


def curves(seeds=(0, 1, 2), methods=("published", "random rows", "kfac")):
    lines = []
    for seed in seeds:
        for method in methods:
            for located in (1,) if method == "kfac" else (1, 2):
                for k, dose in enumerate((0.0, 0.1, 0.2)):
                    for of in (1, 2):
                        for i in range(3):
                            copy = 1 - 0.25 * k - (0.2 if of == located and k else 0.0) + 0.02 * seed
                            lines.append(
                                {
                                    "method": method,
                                    "located": located,
                                    "dose": dose,
                                    "set": of,
                                    "caption": f"{of} {i}",
                                    "copy": copy,
                                    "likeness": copy,
                                    "rise": 0.05 * k,
                                    "density": dose,
                                    "seed": seed,
                                }
                            )
    return pd.DataFrame(lines)


def alone(seeds=(0, 1, 2), methods=("published", "attention")):
    """Places of the U-Net cut one at a time: the second carries it, the dose costs nothing but for the whole place."""
    names, lines = [layer.partition(".transformer")[0] for layer in LAYERS], []
    for seed in seeds:
        for method in methods:
            for located in (0, 1):
                for place in (*names, "all"):
                    takes = 0.8 if place == names[1] else 0.6 if place == "all" else 0.1
                    for dose, rise in ((0.0, 0.0), (0.5, 0.01), (1.0, 0.4)):
                        if place == "all" and dose == 1:
                            continue
                        for i in range(3):
                            copy = 1 - 0.05 * seed - takes * dose
                            lines.append(
                                {
                                    "method": method,
                                    "place": place,
                                    "located": located,
                                    "set": located,
                                    "dose": dose,
                                    "caption": f"{located} {i}",
                                    "copy": copy,
                                    "likeness": copy,
                                    "rise": rise,
                                    "rise_chosen": rise,
                                    "density": dose,
                                    "seed": seed,
                                }
                            )
    return pd.DataFrame(lines)


def attacks(seeds=(0, 1, 2), after=0.0):
    lines = []
    for seed in seeds:
        for attack, edited, twin in (
            ("embeddings", (1, 1, 1, 0), (0, 0, 1, 0)),
            ("new seeds", (0, 0, 0, 0), (0, 0, 0, 0)),
            ("embeddings (never trained)", (0, 0, 0, 1), (np.nan,) * 4),
        ):
            never = "never" in attack
            lines += [
                {
                    "method": "published",
                    "attack": attack,
                    "caption": f"{never} {i}",
                    "edited": float(edited[i]),
                    "twin": float(twin[i]),
                    "before": 0.0 if never else 1.0,
                    "after": np.nan if never else max(after, float(i == 2)),
                    "seed": seed,
                }
                for i in range(4)
            ]
    return pd.DataFrame(lines)


def relearning(seeds=(0, 1, 2)):
    return pd.DataFrame(
        [
            {
                "method": "published",
                "model": model,
                "step": step,
                "caption": f"c{i}",
                "copy": (step / 60 if model == "edited" else 0.0) * (i + seed) / 6,
                "seed": seed,
            }
            for seed in seeds
            for model in ("edited", "twin")
            for step in (0, 15, 60)
            for i in range(4)
        ]
    )


def images(seeds=(0, 1, 2)):
    """Own pictures save steps; with unrelated ones neither model is there in the end."""
    lines, ends = [], []
    for seed in seeds:
        for source, k in (("own", 1), ("own", 3), ("unrelated", 3)):
            own = source == "own"
            saved = {"edited": 10.0, "twin": 30.0} if own else {"edited": 30.0, "twin": 30.0}
            saved |= {"savings": 20.0 * own, "low": 10.0 if own else np.nan, "high": 25.0 if own else np.nan}
            about = {"method": "attention", "source": source, "k": k, "seed": seed}
            censored = "twin" if own else "edited, twin"
            lines.append(about | saved | {"censored": censored, "interval_kind": "x", "n": 4, "steps": 30})
            shares = ({"edited": 0.5 * own + 0.1 * seed * own, "twin": 0.0} for _ in range(4))
            ends += [about | {"caption": str(i)} | share for i, share in enumerate(shares)]
    return pd.DataFrame(lines), pd.DataFrame(ends)


def families(seeds=(0, 1, 2)):
    return pd.DataFrame(
        [
            {
                "method": method,
                "cell": cell,
                "caption": f"c{i}",
                "copy": (1 - 0.3 * k) * (i + seed + 1) / 6,
                "seed": seed,
            }
            for seed in seeds
            for k, method in enumerate(("unedited", "published"))
            for cell in ("generic-many", "template")
            for i in range(3)
        ]
    )


def utility(seeds=(0, 1, 2)):
    lines = [
        {
            "method": method,
            "accuracy": 0.9 - 0.1 * k + 0.01 * seed,
            "accuracy_low": 0.85 - 0.1 * k,
            "accuracy_high": 0.95 - 0.1 * k,
            "ceiling": 0.97,
            "frechet": 2.0 + k + 0.1 * seed,
            "frechet_low": 1.5 + k,
            "frechet_high": 2.6 + k,
            "frechet_floor": 0.4,
            "pictures": 30,
            "captions": 15,
            "seed": seed,
        }
        for seed in seeds
        for k, method in enumerate(("unedited", "published"))
    ]
    errors = [
        {"method": method, "bin": b, "error": (1 + 0.1 * k * (b + seed)) * 0.2, "before": 0.2, "seed": seed}
        for seed in seeds
        for k, method in enumerate(("unedited", "published"))
        for b in range(3)
    ]
    return pd.DataFrame(lines), pd.DataFrame(errors)


def pictures():
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        [
            {
                "method": method,
                "column": column,
                "caption": f"caption {i}",
                "likeness": 0.25 + i / 2,
                "pixels": encoded(rng.uniform(-1, 1, (3, 16, 16))),
                "seed": seed,
            }
            for seed, methods in ((3, ("published",)), (4, ("published", "corrected")))
            for method in methods
            for column in attack_figures.COLUMNS
            for i in range(2)
        ]
    )


def maps(seeds=(0, 1, 2)):
    return pd.DataFrame(
        [
            {
                "set": name,
                "step": step,
                "layer": layer,
                "share": (0.5 if name == "memorised" else 0.1) * (k + step + seed) / 10,
                "largest": 4.0,
                "seed": seed,
            }
            for seed in seeds
            for name in ("memorised", "seen once")
            for step in range(STEPS)
            for k, layer in enumerate(LAYERS)
        ]
    )


def thresholds():
    return pd.DataFrame({"family": ["digits", "cards"], "threshold": [-1.5, 0.4], "seed": 0})


def bars(ax):
    return [round(float(b.get_height()), 6) for b in ax.patches]


def student(values):
    low, high = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
    return float(low), float(high)


def every(seeds):
    """Each figure of tables of some models."""
    used, errors = utility(seeds)
    table = copying(seeds)
    return {
        "copying": draw.copying_plot(table, thresholds()),
        "detection": draw.detection_plot(table),
        "overlap": draw.overlap_plot(specificity(seeds)),
        "map": draw.map_plot(maps(seeds)),
        "layers": draw.step_layer_plot(specificity(seeds)),
        "tradeoff": draw.tradeoff_plot(curves(seeds)),
        "places": draw.places_plot(alone(seeds)),
        "attacks": draw.attack_plot(attacks(seeds)),
        "relearning": draw.relearning_plot(relearning(seeds)),
        "images": draw.images_plot(*images(seeds)),
        "families": draw.families_plot(families(seeds)),
        "utility": draw.utility_plot(used, errors),
    }


@pytest.fixture(scope="module")
def drawn():
    return every((0, 1, 2))


def test_copying_is_by_cell_with_each_model_and_student_t(drawn):
    ax, other = drawn["copying"].axes
    table = copying()
    runs = table.groupby(["cell", "seed"])["copy"].mean()
    assert bars(ax) == pytest.approx(
        [runs[f"{kind}-{seen}"].mean() for kind in ("code", "generic") for seen in ("many", "once", "never")], abs=1e-6
    )
    assert bars(other) == pytest.approx(
        [runs[cell].mean() for cell in ("digit-many", "digit-once", "digit-never", "template", "two-captions")],
        abs=1e-6,
    )
    interval, dots = ax.lines[0], ax.lines[1]
    assert list(interval.get_ydata()) == pytest.approx(np.clip(student(runs["code-many"]), 0, 1))
    assert sorted(dots.get_ydata()) == pytest.approx(sorted(runs["code-many"]))
    assert [t.get_text() for t in ax.get_xticklabels()] == [
        "64 times",
        "once",
        "never",
    ] and "6 captions" in ax.get_title()
    assert "above 0.40" in drawn["copying"].get_suptitle() and "below 1.50" in drawn["copying"].get_suptitle()


def test_detection_draws_means_by_step_and_every_models_auc(drawn):
    code, *_, told = drawn["detection"].axes
    table = copying()
    for line, seen in zip(code.lines, ("many", "once", "never")):
        assert list(line.get_ydata()) == pytest.approx(
            np.mean(table[table.cell == f"code-{seen}"].by_step.to_list(), 0)
        )
    marks = told.containers[1][0].get_xdata()  # the second container: all steps, with a code
    assert len(marks) == 3 and list(marks) == pytest.approx([1.0] * 3)  # the made-up norms are apart
    assert [t.get_text() for t in told.get_yticklabels()] == list(draw.TOLD.values())


def test_overlap_shows_the_first_models_matrix_means_chance_and_the_largest_p(drawn):
    fig, table = drawn["overlap"], specificity()
    matrices = [ax for ax in fig.axes if ax.images and ax.texts]
    shown = matrices[0].images[0].get_array()
    assert len(matrices) == 2 and np.ma.getmaskarray(shown).diagonal().all() and shown[0, 3] == pytest.approx(3 / 20)
    code = next(ax for ax in fig.axes if "with a code" in ax.get_title())
    means = table[table.kind == "code"].groupby(["method", "pair"])["mean"].mean()
    assert bars(code) == pytest.approx(
        [means[method, pair] for method in ("published", "corrected") for pair in ("memorised", "other", "mixed")],
        abs=1e-6,
    )
    assert [list(line.get_ydata()) for line in code.lines if line.get_linestyle() == "--"] == [
        [pytest.approx(0.005)] * 2
    ] * 2
    assert [t.get_text() for t in code.texts] == ["p = 1", "p = 1"]  # 1/3 in each of three models, after Holm
    one = draw.overlap_plot(specificity((0,)))
    assert [t.get_text() for t in next(ax for ax in one.axes if "with a code" in ax.get_title()).texts] == [
        "p = .33",
        "p = .33",
    ]


def test_the_map_has_one_scale_and_short_layer_names(drawn):
    one, two, _ = drawn["map"].axes
    table = maps()
    mean = table[table["set"] == "seen once"].groupby(["layer", "step"]).share.mean().unstack().loc[LAYERS]
    assert np.asarray(two.images[0].get_array()) == pytest.approx(mean.to_numpy())
    assert one.images[0].get_clim() == two.images[0].get_clim() == (0, pytest.approx(0.5 * 0.8))
    assert [t.get_text() for t in one.get_yticklabels()] == ["down 0", "mid", "up 1.0", "up 1.1"]
    assert draw.short(["a", "b"]) == ["a", "b"]


def test_the_overlap_by_layer_and_step_is_the_mean_over_models(drawn):
    table, axes = specificity(), drawn["layers"].axes
    of = table[(table.method == "published") & (table.kind == "code") & (table.pair == "memorised")]
    for ax, column in ((axes[0], "layers"), (axes[2], "steps")):
        thick = next(line for line in ax.lines if line.get_label().startswith("both memorised, with a code"))
        assert list(thick.get_ydata()) == pytest.approx(np.mean(of[column].to_list(), 0))
    assert sum(line.get_linewidth() < 1 for line in axes[0].lines) == 12  # two kinds x two pairs x three models


def test_tradeoff_draws_own_and_other_sets_and_reads_both_where_methods_are_compared(drawn):
    axes = drawn["tradeoff"].axes
    assert [ax.get_title().split("\n")[0] for ax in axes[1:]] == [
        "random weights of each row",
        "K-FAC, low curvature out",
    ]
    lines = {
        line.get_linestyle(): line for line in axes[0].lines if line.get_marker() in "o^" and len(line.get_xdata()) == 3
    }
    assert list(lines["-"].get_ydata()) == pytest.approx([1.02, 0.57, 0.32]) and list(
        lines["--"].get_ydata()
    ) == pytest.approx([1.02, 0.77, 0.52])
    assert list(lines["-"].get_xdata()) == pytest.approx([0, 0.05, 0.1]) and list(axes[0].lines[0].get_xdata()) == [
        0.05,
        0.05,
    ]
    read = [
        float(line.get_ydata()[0]) for line in axes[0].lines if line.get_marker() == "D" and len(line.get_ydata()) == 1
    ]
    assert read == pytest.approx([0.57, 0.77])
    assert len([line for line in axes[2].lines if line.get_marker() == "D"]) == 1  # K-FAC looks at no set


def test_the_grid_shows_the_model_with_most_methods_pixel_by_pixel():
    table = pictures()
    fig = draw.grid_plot(table)
    assert (
        "Model 4" in fig.get_suptitle() and len(fig.axes) == 2 * 7
    )  # two captions; training, before, 2 x (after, attacked), twin
    row = table[(table.seed == 4) & (table.method == "corrected") & (table.column == "attacked")].iloc[1]
    image = fig.axes[7 + 5].images[0]
    assert (
        np.array_equal(image.get_array(), np.frombuffer(row.pixels, np.uint8).reshape(16, 16, 3))
        and image.get_interpolation() == "nearest"
    )
    assert (
        fig.axes[7 + 5].get_xlabel() == "0.75"
        and fig.axes[7].get_xlabel() == ""
        and fig.axes[7].get_ylabel() == "caption 1"
    )
    assert len(draw.grid_plot(table, seed=3).axes) == 2 * 5
    with pytest.raises(ValueError, match="is empty"):
        draw.grid_plot(table, seed=9)


def test_attacks_are_of_the_captions_that_the_edit_took_away(drawn):
    ax = drawn["attacks"].axes[0]
    marks = [(float(c[0].get_xdata()[0]), c[2][0].get_segments()[0][:, 0]) for c in ax.containers]
    exact = proportion(6, 9)
    assert marks[0][0] == pytest.approx(6 / 9) and list(marks[0][1]) == pytest.approx(
        [exact.low, exact.high]
    )  # caption 2 was left by the edit
    assert [m[0] for m in marks[1:4]] == [0, 0, 0] and marks[4][0] == pytest.approx(
        3 / 12
    )  # ... and 12 pictures that no model saw
    # two captions of three brought back in each model are too few to show it in a model by itself
    assert "no removal shown in each of 3 models; 9 captions taken away" in " ".join(ax.get_title().split())
    assert [t.get_text() for t in ax.texts].count("0 of 3") == 2
    nothing = draw.attack_plot(attacks(after=1.0)).axes[0]
    assert (
        "no removal shown in each of 3 models; 0 captions taken away" in " ".join(nothing.get_title().split())
        and "nothing to bring back" in nothing.texts[0].get_text()
        and len(nothing.containers) == 1
    )


def test_relearning_families_and_utility_show_means_and_intervals_over_models(drawn):
    edited, twin = drawn["relearning"].axes[0].containers[:2]
    assert list(edited[0].get_ydata()) == pytest.approx([0, 0.25 * 2.5 / 6, 2.5 / 6]) and list(twin[0].get_ydata()) == [
        0,
        0,
        0,
    ]
    assert list(edited[2][0].get_segments()[2][:, 1]) == pytest.approx(
        np.clip(student([1.5 / 6, 2.5 / 6, 3.5 / 6]), 0, 1)
    )
    generic = drawn["families"].axes[0]
    assert [float(b.get_width()) for b in generic.patches] == pytest.approx(
        [0.5, 0.35]
    ) and "9 captions" in generic.get_title()
    right, near, error = drawn["utility"].axes
    assert [float(b.get_width()) for b in right.patches] == pytest.approx([0.91, 0.81]) and [
        float(b.get_width()) for b in near.patches
    ] == pytest.approx([2.1, 3.1])
    assert list(right.lines[0].get_xdata()) == pytest.approx(student([0.9, 0.91, 0.92]))
    assert any(list(line.get_xdata()) == pytest.approx([0.97, 0.97]) for line in right.lines)
    assert (
        any(list(line.get_xdata()) == pytest.approx([0.4, 0.4]) for line in near.lines)
        and "floor 0.40" in near.get_title()
    )
    assert list(error.containers[0][0].get_ydata()) == pytest.approx([10, 20, 30]) and len(error.containers) == 1


@pytest.mark.long
def test_pictures_that_bring_back_show_both_models_by_source_and_what_is_saved(drawn):
    ax = drawn["images"].axes[0]
    edited, twin = (container[0] for container in ax.containers[:2])
    assert edited.get_ydata() == pytest.approx([0.6, 0.6, 0.0]) and twin.get_ydata() == pytest.approx([0.0] * 3)
    assert [text.get_text() for text in ax.texts] == ["+20", "+20", "?"]
    assert [label.get_text().split("\n")[-1] for label in ax.get_xticklabels()] == ["k = 1", "k = 3", "k = 3"]


def test_one_model_has_intervals_over_its_captions():
    figures = every((0,))
    assert "bootstrap over captions" in figures["copying"].get_suptitle()
    ax = figures["copying"].axes[0]
    at = ax.patches[0].get_x() + ax.patches[0].get_width() / 2
    own = [line.get_linestyle() for line in ax.lines if line.get_xdata()[0] == pytest.approx(at)]
    assert own == ["None"], "six captions are too few for an interval of such values: dots alone"
    low, high = draw.copying_plot(copying((0,), captions=16), thresholds()).axes[0].lines[0].get_ydata()
    assert 0.5 <= low < high <= 1
    assert list(figures["utility"].axes[0].lines[0].get_xdata()) == [0.85, 0.95]  # what came with the table
    assert not any(map(len, figures["utility"].axes[2].containers[0][2][0].get_segments()))  # of one model none


def test_places_are_read_at_one_cost_and_the_chosen_one_is_named(drawn):
    left, right, *_ = drawn["places"].axes
    names = ["down 0", "mid\nchosen by 3 of 3", "up 1.0", "up 1.1", "all together"]
    assert [t.get_text() for t in right.get_yticklabels()] == names
    share = (0.05 - 0.01) / (0.4 - 0.01)  # of the way from the dose that is affordable to the whole place
    before = 0.95
    widths = [before - takes * (0.5 + 0.5 * share) for takes in (0.1, 0.8, 0.1, 0.1)] + [before - 0.3]
    assert [bar.get_width() for bar in right.patches] == pytest.approx(widths)
    whole = [line.get_xdata()[0] for line in right.lines if line.get_marker() == "D" and len(line.get_xdata())]
    assert whole[:4] == pytest.approx([0.85, 0.15, 0.85, 0.85])
    assert [line.get_label() for line in left.lines[1:]] == ["down 0", "mid", "up 1.0", "up 1.1", "all together"]
    assert list(left.lines[2].get_ydata()) == pytest.approx([0.95, 0.55, 0.15])


def test_one_model_gives_places_no_interval():
    figure = draw.places_plot(alone((0,), ("attention",)))
    assert figure.get_suptitle().endswith("1 model, no interval") and figure.axes[1].get_title().endswith(
        "; 3 captions"
    )


def test_figures_are_saved_and_empty_tables_refused(tmp_path):
    draw.map_plot(maps(), tmp_path / "in" / "map.png")
    assert (tmp_path / "in" / "map.png").stat().st_size > 1000
    for plot in (
        draw.detection_plot,
        draw.overlap_plot,
        draw.map_plot,
        draw.step_layer_plot,
        draw.tradeoff_plot,
        draw.places_plot,
        draw.grid_plot,
        draw.attack_plot,
        draw.relearning_plot,
        draw.families_plot,
    ):
        with pytest.raises(ValueError, match="lacks"):
            plot(pd.DataFrame())
    for plot in (draw.copying_plot, draw.utility_plot):
        with pytest.raises(ValueError, match="lacks"):
            plot(pd.DataFrame(), pd.DataFrame())
    with pytest.raises(ValueError, match="is empty"):
        draw.map_plot(maps().iloc[:0])
