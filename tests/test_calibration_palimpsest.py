"""The calibration study: its own arithmetic against closed forms, planted faults that it must find, and the traps of
provenance.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens.figures.calibration import order_matrix, qq_plot, size_bars
from lens.organisms.micro import BigramPlan, MicroPlan, corpus, draw_keys, train
from lens.provenance import ProvenanceError, Reference, Transcript, query_scores
from lens.reproduce.palimpsest import calibration as study
from lens.reproduce.palimpsest import micro_models as models
from lens.reproduce.palimpsest import redrawn, sizes, traps
from lens.reproduce.palimpsest.sizes import CONSERVATIVE, GUARANTEED, INSIDE, PUBLISHED, TOO_SMALL, Checked
from lens.results.errors import ResultError
from lens.stats import StatisticsError, proportion
from lens.stats.keys import key_test
from lens.stats.randomization import permutation_correlation
from lens.stats.retrain import published_size

SMALL = replace(study.PRESETS["tiny"], draws=20, replicates=20, trap_draws=10)


@pytest.fixture(scope="module")
def rows():
    return corpus(700, seed=2)


@pytest.fixture(scope="module")
def scored(rows):
    return models.Scored.of(train(rows, draw_keys(24, len(rows), seed=2), MicroPlan(rows=700), seed=2), rows)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration") / "run"
    return folder, study.calibrate(SMALL, folder, seed=3)


def summary_of(*cells):
    return sizes.sizes([sizes.summarise(cells, {}, 0)])


# ---- sizes and verdicts ------------------------------------------------------------------------------------------


def test_verdicts_of_right_conservative_and_too_small_p_values():
    u = np.random.default_rng(0).random(20_000)
    long = summary_of(
        Checked("right", GUARANTEED, 1, "x", u),
        Checked("bound", GUARANTEED, 1, "x", np.sqrt(u)),
        Checked("wrong", PUBLISHED, 1, "x", u**1.5),
    )
    words = long.groupby("p-value")["verdict"].agg(sizes.worst)
    assert words.to_dict() == {"right": INSIDE, "bound": CONSERVATIVE, "wrong": TOO_SMALL}
    right = long[long["p-value"] == "right"]
    exact = proportion((u[:, None] <= sizes.NOMINAL).sum(0), np.full(3, len(u)), 0.99)
    np.testing.assert_allclose(
        right[["size", "low", "high"]].to_numpy().T, [exact.estimate, exact.low, exact.high], rtol=1e-9
    )
    for bound in ("low, all cells", "high, all cells"):
        together = proportion((u <= 0.01).sum(), len(u), 1 - 0.01 / 9)
        assert right[right.nominal == 0.01][bound].item() == pytest.approx(
            together.low if "low" in bound else together.high, rel=1e-9
        )
    assert sizes.criterion(long)["holds"] and not sizes.criterion(long)["too_small_alone"]


def test_a_guaranteed_p_value_that_is_too_small_fails_the_study():
    u = np.random.default_rng(1).random(5000)
    told = sizes.criterion(
        summary_of(Checked("sound", GUARANTEED, 1, "x", u), Checked("broken", GUARANTEED, 1, "x", u / 1.6))
    )
    assert not told["holds"] and all("broken" in line for line in told["too_small_among_all"])


def test_p_values_that_share_a_unit_get_a_wider_interval():
    rng = np.random.default_rng(2)
    u = np.repeat(rng.random(100), 200)  # 100 independent values, each 200 times
    plain, clustered = (
        summary_of(Checked("p", GUARANTEED, 2, "x", u, c)) for c in ((), (np.repeat(np.arange(100), 200),))
    )

    def at(long):
        return long[long.nominal == 0.05].iloc[0]

    assert at(clustered)["effective n"] == pytest.approx(100, rel=0.25) and at(plain)["effective n"] == 20_000
    exact = proportion(round(100 * at(plain)["size"]), 100, 0.99)
    assert at(clustered)["high"] == pytest.approx(exact.high, abs=0.02)
    assert (np.diff(clustered["effective n"]) <= 0).all()
    free = summary_of(Checked("p", GUARANTEED, 2, "x", rng.random(20_000), (np.repeat(np.arange(100), 200),)))
    assert at(free)["effective n"] > 8_000  # independent within units: next to nothing is lost


@pytest.mark.long
def test_the_picture_without_a_reference_is_worth_as_many_tests_as_there_are_orders(scored):
    """Fresh orders that no model saw, many times: the spread of the size must be what the effective number says."""
    rng = np.random.default_rng(8)
    rates, said = [], []
    for _ in range(40):
        _, cells = models.matrix_cells(models.Scored(scored.nll, rng.random(scored.keys.shape)), "none", 99, 0)
        ds = sizes.summarise([c for c in cells if c.name == redrawn.NORMAL], {}, 0, resamples=300)
        rates.append(float(ds.hits[0, 0]) / float(ds.n[0]))
        said.append(float(ds.effective[0, 0]))
    seen = np.mean(rates) * (1 - np.mean(rates)) / np.var(rates)
    assert abs(np.mean(rates) - 0.05) < 4 * np.std(rates) / np.sqrt(40)
    assert seen < 60 and np.median(said) < 1.6 * seen  # of 552 cells; 24 orders


def test_quantiles_are_those_of_the_p_values():
    p = np.random.default_rng(3).random(999)
    ds = sizes.summarise([Checked("p", GUARANTEED, 1, "x", p)], {}, 0)
    shown = ds["quantile"].values[0]
    keep = np.isfinite(shown)
    np.testing.assert_allclose(
        shown[keep], np.sort(p)[np.ceil(ds.probability.values[keep] * 999).astype(int) - 1], rtol=1e-6
    )
    assert ds.ks.values[0, 1] == pytest.approx(stats.kstest(p, "uniform").pvalue)


# ---- levels 2 and 3 against slow, independent code ---------------------------------------------------------------


def test_cells_of_the_picture_equal_the_tests_one_by_one(scored):
    z, cells = models.matrix_cells(scored, "difference", 499, 0)
    found = {c.name: c for c in cells}
    place = {
        (i, j): k for k, (i, j) in enumerate((i, j) for i in range(24) for j in range(24) if j not in (i, (i + 1) % 24))
    }
    for i, j in ((0, 5), (11, 3), (23, 7)):
        score = scored.nll[i] - scored.nll[(i + 1) % 24]
        k = place[i, j]
        slow = permutation_correlation(score, scored.keys[j], resamples=9999, seed=5)
        assert z[i, j] == pytest.approx(slow.z, abs=1e-9)
        assert found[models.MATRIX_PERMUTATION].p[k] == pytest.approx(float(slow.p), abs=4 * np.sqrt(0.25 / 499))
        assert found[redrawn.KEY].p[k] == pytest.approx(
            float(key_test(stats.rankdata(score), scored.keys[j]).p), rel=1e-9
        )
        assert found[redrawn.T_TWO].p[k] == pytest.approx(stats.spearmanr(score, scored.keys[j]).pvalue, rel=1e-9)
        assert found[redrawn.T].p[k] == pytest.approx(
            stats.spearmanr(score, scored.keys[j], alternative="less").pvalue, rel=1e-9
        )
    assert all(len(c.p) == 24 * 22 for c in cells)


def test_the_linear_residual_is_that_of_least_squares(scored):
    made = models.residuals(scored, "linear")
    x, y = scored.nll[8], scored.nll[7]
    line = np.polyfit(x, y, 1)
    np.testing.assert_allclose(made[7], y - np.polyval(line, x), atol=1e-9)


def test_models_are_found_in_their_own_order_and_not_in_others(scored):
    z, _ = models.matrix_cells(scored, "difference", 199, 0)
    innocent = ~np.eye(24, dtype=bool)
    innocent[np.arange(24), models.reference_of(24)] = False
    assert np.diag(z).mean() < -2 and abs(z[innocent].mean()) < 0.2 and abs(z[innocent].std() - 1) < 0.12
    without, _ = models.matrix_cells(scored, "none", 199, 0)
    assert np.diag(without).mean() > np.diag(z).mean() / 1.5  # a reference is what finds them


def test_normal_shuffles_give_the_sizes_of_the_closed_form():
    drawn = np.random.default_rng(4).normal(size=(3000, 20))
    cells = {(c.name, c.condition): c.p for c in models.retrain_cells(drawn, (9, 19), "normal")}
    for m in (9, 19):
        p = cells[redrawn.PLUG_IN, f"normal, m = {m}"]
        inside = proportion(int((p <= 0.05).sum()), len(p), 0.999)
        assert inside.low < published_size(0.05, m) < inside.high
        prediction = proportion(int((cells[redrawn.PREDICTION, f"normal, m = {m}"] <= 0.05).sum()), len(p), 0.999)
        assert prediction.low < 0.05 < prediction.high
        ranks = proportion(int((cells[redrawn.RANK, f"normal, m = {m}"] <= 0.1).sum()), len(p), 0.999)
        assert ranks.low < 0.1 < ranks.high
    three = cells[redrawn.THREE, "normal, m = 2"]
    found = proportion(int((three <= 0.05).sum()), len(three), 0.999)
    assert found.low < 0.154 < found.high  # 0.866 times a Cauchy


def test_retrained_legs_are_exchangeable_for_an_innocent_text_and_not_for_their_own():
    plan = BigramPlan(vocab=12, rows=80, fraction=0.3)
    legs = models.retrain(120, 9, 60, 1, corpora=3, plan=plan)
    rank = (legs.innocent[:, :1] <= legs.innocent[:, 1:]).sum(
        1
    )  # how many shuffles do at least as well: uniform on 0..9
    assert stats.chisquare(np.bincount(rank, minlength=10)).pvalue > 1e-3
    own = (legs.derived[:, :1] <= legs.derived[:, 1:]).sum(1)
    assert (own == 0).mean() > 0.3
    assert legs.innocent.std(1).min() > 1e-4
    again = models.retrain(120, 9, 60, 1, corpora=3, plan=plan)
    np.testing.assert_array_equal(legs.early, again.early)


# ---- traps -------------------------------------------------------------------------------------------------------


def by_name(cells):
    return {(c.name.split(", ")[-1] if "query" in c.name else c.name, c.kind): c.p for c in cells}


def test_a_reference_of_the_same_order_flags_the_innocent(scored):
    p = by_name(traps.same_order_reference(scored, 499, 0))
    assert (p["two-sided", sizes.TRAP] <= 0.05).mean() > 0.5 and (p["greater", sizes.TRAP] <= 0.05).mean() > 0.5
    assert (p["two-sided", GUARANTEED] <= 0.01).mean() < 0.2
    assert (
        p["less", sizes.TRAP] <= 0.5
    ).mean() < 0.2  # the default side is not flagged: such a reference hides every suspect instead
    transcript = Transcript(tokens=None, position=scored.keys[1], kind="key")
    with pytest.raises(ProvenanceError, match="share the transcript's order"):
        query_scores(scored.nll[0], Reference(scored.nll[1], shares_order=True), transcript)


def test_a_sister_of_the_same_order_is_rejected_it_is_the_order_and_not_the_weights(rows, scored):
    (cell,) = traps.sisters(rows, scored, 6, MicroPlan(rows=700), 499, 2)
    assert (cell.p <= 0.05).mean() >= 0.5
    other = Transcript(tokens=None, position=scored.keys[20], kind="key")
    assert float(query_scores(scored.nll[0], scored.nll[1], other, resamples=499).p_permutation) > 0.01


def test_a_sorted_corpus_flags_the_innocent_and_is_warned_of(rows, scored):
    cells, noticed = traps.sorted_corpus(rows, scored, MicroPlan(rows=700), 199, 0)
    p = by_name(cells)
    assert (p["two-sided", sizes.TRAP] <= 0.01).mean() > 0.8
    assert (p["two-sided", GUARANTEED] <= 0.01).mean() < 0.2
    assert noticed["runs test p"] < 1e-6 and noticed["share warned"] == 1.0


def test_single_matches_may_not_be_permuted_documents_may():
    p = {c.name: c.p for c in traps.matches_and_sources(400, 199, 0)}

    def low(name):
        return proportion(int((p[name] <= 0.05).sum()), 400, 0.99)

    assert low("permutation of single matches").low > 0.05 and low("t of single matches, as published").low > 0.05
    assert low("permutation of documents").low <= 0.05 <= low("permutation of documents").high
    assert low("permutation over all rows").low > 0.9
    assert low("permutation within sources").low <= 0.05 <= low("permutation within sources").high


def test_ranks_in_place_of_keys_are_refused(scored):
    ranks = (stats.rankdata(scored.keys[1]) - 0.5) / scored.keys.shape[1]
    with pytest.raises(StatisticsError, match="keys"):
        key_test(scored.nll[0] - scored.nll[2], ranks)


# ---- the whole study ---------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_study_runs_holds_and_names_every_p_value_of_the_package(small):
    _, found = small
    assert found.holds and found.numbers["guaranteed"]["cells"] > 50
    kinds = found.long.groupby("p-value")["kind"].unique()
    assert all(len(k) == 1 for k in kinds)
    assert (
        kinds[
            [
                redrawn.SHUFFLES,
                redrawn.CYCLIC,
                redrawn.KEY,
                "query: permutation",
                "query: combined",
                "partition: permutation",
                "AUC, permutation",
                redrawn.RANK,
            ]
        ].str[0]
        == GUARANTEED
    ).all()
    assert set(kinds[kinds.str[0] == PUBLISHED].index) >= {redrawn.T_TWO, redrawn.PLUG_IN, redrawn.THREE}
    assert {1, 2, 3} == set(found.table["level"]) and list(found.table.columns) == sizes.COLUMNS
    assert (found.long["low"] <= found.long["size"]).all() and (found.long["size"] <= found.long["high"]).all()


@pytest.mark.long
def test_a_run_is_found_again_without_training_and_another_seed_is_refused(small, monkeypatch):
    folder, found = small
    monkeypatch.setattr(study, "train", None)
    again = study.calibrate(SMALL, folder, seed=3, figures=False)
    pd.testing.assert_frame_equal(again.long, found.long)
    loaded = study.load(folder)
    pd.testing.assert_frame_equal(loaded.table, found.table)
    pd.testing.assert_frame_equal(loaded.trapped, found.trapped)
    assert loaded.fingerprint == found.fingerprint and loaded.numbers == found.numbers
    with pytest.raises(ResultError, match="another configuration"):
        study.calibrate(SMALL, folder, seed=4)


@pytest.mark.long
def test_what_is_written_is_what_was_found(small):
    folder, found = small
    table = pd.read_csv(folder / "table.csv")
    assert table["p-value"].tolist() == found.table["p-value"].tolist()
    assert pd.read_csv(folder / "sizes.csv")["size"].to_numpy() == pytest.approx(
        found.long["size"].to_numpy(), rel=1e-5
    )
    assert {path.stem for path in (folder / "figures").glob("*.png")} == set(found.figures)
    assert "guaranteed p-values" in study.text_of(found)


@pytest.mark.long
def test_a_folder_with_a_part_of_a_run_says_what_is_missing(small, tmp_path):
    folder, _ = small
    for name in ("reproduction.json", "redrawn.nc"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    with pytest.raises(ResultError, match="lacks trained, power, retrained, traps"):
        study.load(tmp_path)
    with pytest.raises(ValueError, match="preset='huge'"):
        study.calibrate("huge")


def test_same_seed_same_numbers_whatever_the_other_conditions():
    difference = np.random.default_rng(7).normal(size=400)
    conditions = redrawn.all_conditions(difference, 99, 5)
    one, two = redrawn.redrawn(conditions[2:3], 20, 5), redrawn.redrawn(conditions[1:4], 20, 5)
    matching = {c.name: c.p for c in two if c.condition == one[0].condition}
    for cell in one:
        np.testing.assert_array_equal(cell.p, matching[cell.name])
    assert not np.array_equal(one[0].p, redrawn.redrawn(conditions[2:3], 20, 6)[0].p)


@pytest.mark.long
def test_groups_that_share_their_lots_would_be_seen(monkeypatch):
    conditions = redrawn.all_conditions(np.random.default_rng(7).normal(size=400), 99, 5)
    (condition,) = (c for c in conditions if "8 groups, two steps each" in c.text)

    def low():
        return {
            c.name: proportion(int((c.p <= 0.05).sum()), len(c.p), 0.99).low
            for c in redrawn.redrawn([condition], 800, 5)
        }

    assert max(low().values()) <= 0.05
    monkeypatch.setattr("lens.provenance.scores.mixed", lambda values, seed: np.full(len(values), seed, np.uint64))
    shared = low()
    assert shared["query: e-value, any stop"] > 0.05 >= shared["query: permutation"]


def test_triples_by_steps_are_permuted_within_their_groups(scored):
    cells = {c.name: c for c in models.triple_cells(scored, "difference", 199, 0, 8)}
    assert set(cells) == {
        "query: permutation",
        "query: e-value, any stop",
        "query: combined",
        "query: t, two-sided, as published",
    }
    assert all(
        c.condition == "disjoint triples, minus a reference, 700 rows, steps of 8 in 8 groups" and len(c.p) == 8
        for c in cells.values()
    )
    step, group = (
        stats.rankdata(scored.keys[1]).astype(int) - 1,
        np.repeat(np.arange(8), [88, 87, 88, 87, 88, 87, 88, 87]),
    )
    slow = permutation_correlation(scored.nll[0] - scored.nll[2], step // 8, groups=group, resamples=9999, seed=1)
    assert cells["query: permutation"].p[0] == pytest.approx(float(slow.p), abs=4 * np.sqrt(0.25 / 199))


# ---- figures -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_figures_draw_what_they_are_given(small):
    _, found = small
    level1 = found.summaries["redrawn"]
    fig = qq_plot(level1, panels=[("one", [(redrawn.KEY, "n = 20")])])
    line = fig.axes[0].lines[0]
    cell = next(
        i
        for i, (a, b) in enumerate(zip(level1.name.values, level1.condition.values))
        if a == redrawn.KEY and b.startswith("n = 20")
    )
    kept = level1["quantile"].values[cell][level1.probability.values >= 1 / SMALL.draws]
    np.testing.assert_allclose(line.get_ydata(), kept)
    with pytest.raises(ValueError, match="which is not there"):
        qq_plot(level1, panels=[("one", [("no such test", "")])])
    bars = size_bars(found.long, nominal=0.01)
    assert len(bars.axes[0].get_yticklabels()) == (found.long.nominal == 0.01).sum()
    z = found.summaries["trained"]["z_difference"]
    image = order_matrix(z).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), z.values)
