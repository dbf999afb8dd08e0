"""The reproduction of the loss-curvature edit: a very small run end to end, its tables against plain NumPy, its
verdicts and figures on numbers that are known.
"""

import json
from dataclasses import replace
from functools import cached_property
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import stats

import lens
from lens import cli
from lens.reproduce import (
    canaries_models,
    common,
    records,
    reproduction,
)
from lens.reproduce.claims import Rows
from lens.reproduce.loss_curvature import bench as bench_module
from lens.reproduce.loss_curvature import figures as draw
from lens.reproduce.loss_curvature import pooling, remains, steps
from lens.reproduce.loss_curvature import study as paper
from lens.reproduce.loss_curvature import tables as frames
from lens.reproduce.loss_curvature import verdicts as claims
from lens.reproduce.over_models import words
from lens.results import dataset as results
from lens.results.errors import ResultError

LEAST = replace(
    paper.PRESETS["tiny"],
    methods=("K-FAC", "random bases", "SVD", "BalancedSubnet"),
    factor_rows=30,
    rows=4,
    removed=(0.02, 0.1),
    multiples=(1.0,),
    learned_steps=2,
    tasks=5,
    planted=2,
    kept=("K-FAC", "BalancedSubnet"),
    attacked=("K-FAC",),
    relearn_steps=1,
    shifts=(8,),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("loss-curvature")
    patch = pytest.MonkeyPatch()
    patch.setattr(pooling, "RESAMPLES", 100)
    patch.setattr(frames, "PERMUTATIONS", 500)
    every = bench_module.Bench.known.func

    def fourth(bench):
        """Every fourth of the sequences that are recited, in both splits and the second family."""
        known = {name: mask.copy() for name, mask in every(bench).items()}
        for mask in known.values():
            mask[np.setdiff1d(np.flatnonzero(mask), np.flatnonzero(mask)[::4])] = False
        return known

    fewer = cached_property(fourth)
    fewer.__set_name__(bench_module.Bench, "known")
    patch.setattr(bench_module.Bench, "known", fewer)
    yield paper.run(preset=LEAST, out=out), out
    patch.undo()


# ---- end to end ------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_run_is_stored_drawn_and_loaded_with_the_same_table(made):
    result, out = made
    assert list(result.table.columns) == common.COLUMNS and result.table.notna().all().all() and len(result.table) >= 14
    assert {f.stem for f in out.glob("figures/*.png")} == set(draw.FIGURES) and all(
        f.stat().st_size > 5000 for f in result.figures
    )
    record = json.loads((out / records.RECORD).read_text())
    assert (
        record["fingerprint"] == result.fingerprint
        and record["config"]["preset"]["rows"] == 4
        and record["model"]["name"] == "organism:canaries"
    )
    assert not any(str(out.parent) in f.read_text(errors="replace") for f in out.rglob("*.json"))
    loaded = paper.load(out)
    assert (
        loaded.table.equals(result.table)
        and loaded.fingerprint == result.fingerprint
        and loaded.tables.keys() == result.tables.keys()
    )
    assert all(
        bench_module.file_of(name, 0) + ".nc" in {str(f.relative_to(out)) for f in out.rglob("*.nc")}
        for name in result.parts[0]
    )
    assert reproduction("loss-curvature") is paper.STUDY and not paper.STUDY.needs_model


@pytest.mark.long
def test_a_finished_run_computes_nothing_again_and_another_configuration_is_refused(made, monkeypatch, tmp_path):
    result, out = made
    monkeypatch.setattr(bench_module.curvature, "factors", lambda *a, **k: pytest.fail("factors were taken again"))
    monkeypatch.setattr(steps.memorization, "extract", lambda *a, **k: pytest.fail("recited again"))
    monkeypatch.setattr(paper.STUDY, "draw", lambda *a: [])
    assert paper.run(preset=LEAST, out=out).table.equals(result.table)
    with pytest.raises(ResultError, match="another configuration.*preset"):
        paper.run(preset=replace(LEAST, rows=5), out=out)
    with pytest.raises(ResultError, match="holds no reproduction.*loss-curvature"):
        paper.load(tmp_path)


@pytest.mark.long
def test_edits_are_compared_where_they_cost_as_much(made):
    ds = made[0].parts[0]["matched"]
    assert ds.edit.values.tolist() == ["unedited", *LEAST.methods]
    assert (
        (ds.chosen_rise[1:] <= bench_module.RISE * 1.031) | (ds.strength[1:] == bench_module._RANGE["curvature"][0])
    ).all()
    choice = made[0].tables["choice"]
    assert (choice.groupby("search").chosen.sum() == 1).all() and set(choice.search) == set(steps.SEARCHED)


@pytest.mark.long
def test_only_what_the_model_recites_enters_and_nothing_is_chosen_on_what_is_reported(made):
    ds = made[0].parts[0]["matched"]
    assert (ds.strict.values[0] == 1).all() and set(ds.set.values) == {"val", "verse"}
    model, _, corpus = canaries_models.models(None, (0,), twins=False)[0]
    bench = bench_module.Bench(model, model, corpus.recipe, LEAST, common.Steps(None, {}))
    lens.memorization.disjoint(**bench.sets)
    rows = bench.rows
    assert not {r.tobytes() for r in rows["choose"]} & {r.tobytes() for r in rows["report"]} and not {
        r.tobytes() for r in rows["factors"]
    } & {r.tobytes() for r in rows["training"]}
    trained = steps.others(replace(bench, plan=replace(LEAST, others=(8, 1000))))
    assert sorted(trained) == sorted({"8 others", f"{len(bench.sets['tune'])} others"}) and all(
        set(s.names) <= set(bench.sets["tune"].names) for s in trained.values()
    )
    whole = bench.scores("BalancedSubnet", 0.03)
    assert (
        bench.edit("BalancedSubnet", 0.01).density == pytest.approx(0.01, rel=1e-2)
        and bench.scores("BalancedSubnet", 0.03) is whole
    )


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"data": "hand"}, "data='hand'"),
        ({"limit": 3}, "limit=3"),
        ({"preset": "medium"}, "expected one of 'tiny', 'quick', 'full'"),
    ],
)
def test_wrong_arguments_are_named(wrong, said):
    with pytest.raises(ValueError, match=said):
        paper.run(**{"preset": LEAST} | wrong)


def test_a_missing_model_without_a_folder_is_named_before_anything_runs():
    with pytest.raises(ValueError, match=r"canaries-7 does not ship.*--models FOLDER"):
        paper.run(preset=replace(LEAST, seeds=(7,)))


def test_the_command_takes_a_folder_of_models_and_others_refuse_it(monkeypatch, tmp_path, capsys):
    seen = []
    monkeypatch.setattr(lens, "load", lambda *a, **k: pytest.fail("a model was loaded"))
    monkeypatch.setattr(
        paper.STUDY,
        "run",
        lambda model, **k: seen.append(k) or paper.Reproduction(table=common.table_of([("c", "p", "h", 1, "holds")])),
    )
    assert (
        cli.main(["reproduce", "loss-curvature", "--preset", "tiny", "--models", str(tmp_path), "--out", str(tmp_path)])
        == 0
    )
    assert seen[0]["models"] == tmp_path and "verdict: holds" in capsys.readouterr().out
    assert (
        cli.main(["reproduce", "palimpsest", "--models", str(tmp_path)]) == 2
        and "palimpsest takes no folder of models" in capsys.readouterr().err
    )


# ---- numbers that are known ------------------------------------------------------------------------------------------


def test_pooled_is_the_mean_of_the_runs_whose_unit_is_the_run():
    """Sequences of a run share its weights: by the bootstrap over pooled sequences a difference of nothing was called
    in .18 of cases where runs differ by a tenth.
    """
    rng = np.random.default_rng(0)
    parts = [rng.normal(m, 1, n) for m, n in ((0, 40), (1, 80), (3, 60))]
    found = frames.pooled(parts)
    means = np.array([p.mean() for p in parts])
    low, high = stats.t.interval(0.95, 2, means.mean(), stats.sem(means))
    assert (
        found["seeds"] == pytest.approx(means)
        and found["estimate"] == pytest.approx(means.mean())
        and found["n"] == 180
    )
    assert (found["low"], found["high"]) == pytest.approx((low, high)) and found["p"] == pytest.approx(
        stats.ttest_1samp(means, 0).pvalue
    )
    over = frames.pooled([np.array([1, 1, 0, 0.0])] * 2 + [np.array([1, 1, 1, 0.0])], [np.array([1, 1, 1, 0.0])] * 3)
    assert over["seeds"] == pytest.approx([2 / 3, 2 / 3, 1]) and over["high"] > 1
    agree = frames.pooled([np.full(30, 0.4), np.full(30, 0.4)])
    assert (
        agree["estimate"] == pytest.approx(0.4) and np.isnan([agree["low"], agree["high"], agree["p"]]).all()
    )  # nothing is seen of the spread between runs
    assert claims.by_runs([agree], False, False) == "not shown: the runs agree entirely, which gives no interval"
    none = frames.pooled(
        [np.zeros(30), np.zeros(30)]
    )  # of truth values the sequences within runs are known: Clopper-Pearson in closed form
    assert none["low"] == 0 and none["high"] == pytest.approx(1 - 0.025 ** (1 / 60))
    apart = frames.pooled([np.zeros(30), np.zeros(30)], of="difference")
    assert apart["low"] < 0 < apart["high"] and apart["p"] == 1


def test_one_run_has_an_interval_over_its_units_and_no_p():
    none = frames.pooled([np.zeros(60)])
    assert (
        none["low"] == 0 and none["high"] == pytest.approx(1 - 0.025 ** (1 / 60)) and np.isnan(none["p"])
    )  # Clopper-Pearson in closed form
    one = frames.pooled([np.tile([1, 1, 0, 0.0], 6)], [np.tile([1, 1, 1, 0.0], 6)])
    assert one["estimate"] == pytest.approx(2 / 3) and one["low"] < 2 / 3 < one["high"] and len(one["seeds"]) == 1
    assert claims.by_runs([one], True, False) == "not judged: one training run"


def test_a_verdict_over_pooled_sequences_is_gone_where_runs_differ():
    """Two hundred sequences a run, runs a tenth apart and no effect: at most about 5 % of verdicts may say that there
    is one.
    """
    rng, called = np.random.default_rng(3), 0
    for _ in range(400):
        found = frames.pooled([(rng.random(200) < np.clip(0.5 + rng.normal(0, 0.1), 0, 1)) - 0.5 for _ in range(3)])
        called += claims.by_runs([found], found["high"] < 0, found["low"] > 0) != "not shown: the interval holds 0"
    assert stats.binomtest(called, 400).proportion_ci(0.99).low <= 0.05


def test_the_matched_strength_is_found_for_known_costs(monkeypatch):
    for cost, expected in (
        (lambda s: 2.0 * s**1.5, (0.05 / 2) ** (2 / 3)),
        (lambda s: s**0.5, 0.0025),
        (lambda s: 0.3 * s, 0.05 / 0.3),
    ):
        monkeypatch.setattr(
            bench_module.Bench,
            "loss",
            lambda self, edit=None, rows="choose", cost=cost: 1.0 + (0.0 if edit is None else cost(edit)),
        )
        bench = bench_module.Bench(None, None, None, LEAST, None)
        strength, rise = bench.matched(lambda s: s, "curvature", 0.05)
        assert rise == pytest.approx(0.05, rel=0.031) and strength == pytest.approx(expected, rel=0.07)
    monkeypatch.setattr(
        bench_module.Bench, "loss", lambda self, edit=None, rows="choose": 1.0 + (0.0 if edit is None else 1e-3)
    )
    assert bench_module.Bench(None, None, None, LEAST, None).matched(lambda s: s, "mask", 0.05) == (
        0.5,
        pytest.approx(1e-3),
    )  # never so much: the end of the range


def parts_of(strict: dict[str, list], seeds: int = 3) -> dict:
    """Parts of which only the matched step is there, with the given strict recitation (a list for val) by method; of
    every further run a few values less.
    """
    n = len(next(iter(strict.values())))

    def of(s):
        return xr.Dataset(
            {
                m: (
                    ("edit", "sequence"),
                    np.array([np.ones(n), *(np.asarray(v) * (np.arange(n) >= 2 * s) for v in strict.values())]),
                )
                for m in ("strict", "loose", "lev")
            },
            {
                "edit": ["unedited", *strict],
                "set": ("sequence", np.full(n, "val")),
                "kind": ("sequence", np.full(n, "code")),
            },
        )

    return {s: {"matched": of(s)} for s in range(seeds)}


def test_differences_are_paired_and_verdicts_follow_their_intervals():
    rng = np.random.default_rng(1)
    other = (rng.random(60) < 0.5).astype(float)
    parts = parts_of(
        {
            "K-FAC": np.zeros(60),
            "random bases": other,
            "SVD": np.zeros(60),
            "inputs alone": np.zeros(60),
            "gradients alone": other,
        }
    )
    found = claims.difference(parts, "K-FAC", "random bases", "val", 0)
    runs = [-(other * (np.arange(60) >= 2 * s)).mean() for s in range(3)]
    assert (
        found["seeds"] == pytest.approx(runs)
        and found["high"] < 0
        and found["p"] == pytest.approx(stats.ttest_1samp(runs, 0).pvalue)
        and found["n"] == 180
    )
    rows, numbers = Rows(claims.CLAIMS), {}
    claims._against(rows, numbers, parts, ("random bases", "not there"), "directions", 0)
    claims._against(rows, numbers, parts, ("inputs alone", "gradients alone"), "both_sides", 0)
    claims._against(rows, numbers, parts, ("SVD",), "bottom", 0)
    assert [r[4].split(";")[0] for r in rows] == [
        "holds",
        "holds in part",
        "not shown: the interval holds 0",
    ] and "Rule:" in rows[0][0]
    assert common.table_of(rows).multiplicity.tolist() == [common.EVERY] * 3


def retained(before: dict[str, float], after: dict[str, float], n: int = 200) -> dict:
    """Parts of which only retention is there: each task right with these shares."""
    task = np.repeat(list(before), n)

    def right(share):
        return np.concatenate([np.arange(n) < share[t] * n for t in before])

    ds = xr.Dataset(
        {"right_before": ("item", right(before)), "right_after": (("edit", "item"), right(after)[None])},
        {
            "edit": ["K-FAC"],
            "task": ("item", task),
            "bin": ("item", np.full(len(task), "")),
            "chance": ("item", np.full(len(task), 0.05)),
        },
    )
    return {0: {"retention": ds}}


def test_kept_shares_are_compared_in_seeds_that_do_both_tasks():
    parts = retained({"a": 1.0, "b": 0.8, "c": 0.1}, {"a": 0.5, "b": 0.8, "c": 0.0})
    found = remains.apart(parts, "a", "b", 0)
    assert found["estimate"] == pytest.approx(0.5 - 1.0) and found["high"] < 0
    assert remains.apart(parts, "a", "c", 0) is None  # c is not above chance before the edit


def test_facts_that_no_one_seed_does_rare_and_often_are_not_compared(monkeypatch):
    """Each of two seeds does one of the groups: both have a line in the table, and no seed has the difference."""
    names = ["arithmetic", "open_book", "copy", "rule", "closed_book", "closed book, often"]
    parts = {}
    for s, facts in enumerate(((1.0, 0.0), (0.0, 1.0))):
        before = dict(zip(names, (1.0, 1.0, 1.0, 1.0, *facts)))
        ds = retained(before, before)[0]["retention"]
        often = ds.task.values == names[-1]
        task = np.where(often, "closed_book", ds.task.values)
        group = np.where(task == "closed_book", np.where(often, "16", "1"), "")
        ds = ds.assign_coords(task=("item", task), bin=("item", group))
        matched = parts_of({"K-FAC": np.zeros(60)})[0]["matched"]
        matched = matched.assign_coords(set=("sequence", np.repeat(["val", "verse"], 30)))
        parts[s] = {"retention": ds, "matched": matched}
    rows, numbers = Rows(claims.CLAIMS), {}
    remains._retention(rows, numbers, parts, {"retention": frames.retention(parts, 0)}, 0)
    assert [row.key for row in rows] == ["reasoning"] and "rare_minus_frequent" not in numbers


def test_membership_is_ranked_within_seed_and_kind():
    rng = np.random.default_rng(2)
    kind, of = np.repeat(["code", "plausible"], 32), np.tile(np.repeat([0, 64], 16), 2)
    parts = {}
    for s in range(2):
        value = (
            rng.normal(size=64) + (of == 64) + 50.0 * (kind == "code") * (1 - 2 * s)
        )  # kinds and seeds lie far apart
        parts[s] = {
            "duplicates": xr.Dataset(
                {"value": (("state", "score", "sequence"), value[None, None])},
                {"state": ["unedited"], "score": ["loss"], "kind": ("sequence", kind), "duplicates": ("sequence", of)},
            )
        }
    line = frames.membership(parts, 0).iloc[0]
    brute, member = [], of > 0
    for p in parts.values():
        v = p["duplicates"].value.values[0, 0]
        ranks = np.concatenate([stats.rankdata(v[kind == k]) for k in ("code", "plausible")])
        brute.append(np.mean([(a > b) + 0.5 * (a == b) for a in ranks[member] for b in ranks[~member]]))
    assert (
        line.seeds == pytest.approx(brute)
        and line.auc == pytest.approx(np.mean(brute))
        and line.auc > 0.65
        and line.holm <= 0.05
        and line.members == 64
    )


def gone_of(strict_by_arm: dict[str, np.ndarray], asked: np.ndarray) -> xr.Dataset:
    """An attack's result: [step, n] by what was trained on; `asked` [n] under one stretched prefix."""
    n = asked.shape[-1]
    return xr.Dataset(
        {
            "strict": (("on", "step", "sequence"), np.stack(list(strict_by_arm.values()))),
            "asked_strict": (("variant", "sequence"), np.stack([np.zeros(n), asked, np.zeros(n)])),
            "asked_exact_prefix": (("variant", "sequence"), np.ones((3, n))),
        },
        {"on": list(strict_by_arm), "step": [0, 5], "variant": ["original", "longer +4", "noise 10%"]},
    )


def test_hides_and_erases_are_told_apart_against_the_twin():
    n, nothing = 60, np.zeros((2, 60))
    back = np.stack([np.zeros(n), np.ones(n)])
    parts = parts_of({"K-FAC": np.zeros(n), "SVD": np.zeros(n)}, seeds=1)
    still = {"8 others": nothing, "43 others": nothing, "clean text": nothing, "the memory itself": back}
    parts[0] |= {
        "gone K-FAC": gone_of(still | {"43 others": back}, np.zeros(n)),
        "gone SVD": gone_of(still, np.zeros(n)),
        "gone twin": gone_of(still | {"the memory itself": nothing}, np.zeros(n)),
    }
    by_run = frames.judged(parts, "K-FAC", 0)
    hidden, erased = by_run[0], frames.judged(parts, "SVD", 0)[0]
    line = frames.attacks_over_runs(by_run).set_index("attack").loc["training on all others"]
    assert (
        line.recovered == 1
        and line.control == 0
        and line["counts in"] == 1
        and words(["hides", "hides", "erases"]) == "hides in 2 of 3 runs, erases in 1"
    )
    assert hidden.word == "hides" and hidden.by == ("training on all others",) and erased.word == "erases"
    assert "training on the memory itself" not in set(hidden.table.attack) and len(hidden.table) == 5
    gain = frames.savings(parts, "SVD", 0).set_index("on").loc["the memory itself"]
    assert (
        gain.edited == pytest.approx(2.5)
        and gain.twin == 5
        and gain.savings == pytest.approx(2.5)
        and gain.censored == "twin"
    )
    lines = frames.relearning(parts, 0)
    assert lines[(lines.method == "K-FAC") & (lines.on == "all others")].estimate.tolist() == [0, 1]


# ---- figures ---------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_figures_show_the_numbers_they_are_given(made):
    tables = made[0].tables
    ax = draw.activation_plot(tables["activation"]).axes
    mine = tables["activation"].query("basis == 'kfac' and side == 'output' and band != 'last over first'").estimate
    assert any(np.allclose(line.get_ydata(), mine) for line in ax[0].get_lines() if len(line.get_ydata()) == len(mine))
    curve = draw.curve_panels(tables["curves"], methods=("K-FAC", "SVD", "no such"), rise=None).axes[0]
    of = tables["curves"].query("method == 'K-FAC' and set == 'val'").sort_values("rise")
    assert [
        t.get_text() for t in draw.curve_panels(tables["curves"], methods=("K-FAC",)).axes[-1].get_legend().get_texts()
    ] == ["K-FAC"]
    assert np.allclose(curve.get_lines()[0].get_xdata(), of.rise) and np.allclose(
        curve.get_lines()[0].get_ydata(), of.estimate
    )
    bars = draw.retention_bars(tables["retention"], methods=("K-FAC",)).axes[0]
    kept = tables["retention"].query("method == 'K-FAC' and n > 0 and bin != 'never'").kept
    assert sorted(round(b.get_height(), 9) for b in bars.patches) == pytest.approx(sorted(kept.round(9)))
    names = [t.get_text() for t in draw.matched_bars(tables["matched"]).axes[0].get_yticklabels()]
    assert [n.split("  (")[0] for n in names] == list(LEAST.methods)
    panels = draw.relearning_plot(tables["relearning"]).axes
    assert [a.get_title() for a in panels] == ["on all others", "on clean text", "on the memory itself"]
    with pytest.raises(ValueError, match="bin"):
        draw.retention_bars(pd.DataFrame({"method": ["K-FAC"]}))


@pytest.mark.long
def test_the_record_of_a_step_says_what_it_was(made):
    record = results.provenance(made[0].parts[0]["gone K-FAC"])
    assert (
        record["kind"] == "is it gone"
        and record["call"]["method"] == "K-FAC"
        and record["call"]["arms"]["clean text"] == 240
    )
    assert SimpleNamespace(**results.provenance(made[0].parts[0]["curve SVD"])).method == "SVD"
