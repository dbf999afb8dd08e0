"""The study of repeated data at its tiny size: whole, taken up, judged anew; its measures against other ways."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from scipy import stats as scipy_stats

import lens
from lens.reproduce import reproduction
from lens.reproduce.repeated_data import arms, bench, language, steps, tables, verdicts
from lens.reproduce.repeated_data.arms import ALL, HALF_BATCH, HALF_STEPS, Arm

STUDY = reproduction("repeated-data")
TINY = STUDY.presets["tiny"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    return STUDY.run(preset="tiny", out=folder), folder


def test_a_run_judges_every_claim_and_is_read_back(run):
    made, folder = run
    assert {row[0] for row in made.table.attrs["claims"]} == set(STUDY.claims)
    assert len(made.parts) == len(list(arms.arms(TINY))) == made.numbers["trainings"]
    again = STUDY.load(folder)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert {"by_repeats.png", "heads.png", "known.png"} <= {path.name for path in made.figures}


def test_a_run_that_was_cut_trains_only_what_is_missing(run, monkeypatch):
    made, folder = run
    key = Arm(ALL, 24, 0).key
    (folder / f"{key}.nc").unlink()
    trained = []

    def once(arm, plan):
        trained.append(arm.key)
        return bench.trained(arm, plan)

    monkeypatch.setattr(steps, "trained", once)
    assert STUDY.run(preset="tiny", out=folder).table.equals(made.table) and trained == [key]
    with pytest.raises(lens.ResultError, match="another configuration"):
        STUDY.run(preset=replace(TINY, steps=4), out=folder)


def test_trainings_of_a_seed_share_their_new_rows_and_differ_in_steps_or_batch():
    whole, steps_, batch = (Arm(name, 24, 0, r) for name, r in ((arms.repeats(4), 4), (HALF_STEPS, 1), (HALF_BATCH, 1)))
    plan = arms.plan_of(whole, TINY)
    assert (plan.budget, plan.unique, plan.subset) == (32, 16, 4)
    for arm, shape in ((steps_, (4, 4)), (batch, (8, 2)), (whole, (8, 4))):
        how = bench.recipe(arm, TINY)
        assert (how.steps, how.batch) == shape
    assert sorted(arms.plan_of(batch, TINY).numbers().tolist()) == list(range(16))
    early = bench.recipe(whole._replace(ends=0.5), TINY)
    assert (early.steps, early.batch) == (4, 4)
    text = Arm("text alone repeats 2", 24, 0, 2, text=True)
    pool, part = bench.pool(text, TINY), arms.plan_of(text, TINY)
    # lists repeat their period, text does not
    lists = [(row[1:33].tolist() in ([*row[1 + p : 33 + p].tolist()] for p in range(8, 25))) for row in pool.ids]
    assert all(lists[: part.unique]) and not any(lists[part.unique :])


def test_kinds_of_tokens_are_what_the_rows_show():
    drawn = language.draw(50, 3)
    for row, kinds in zip(drawn.rows.ids.tolist(), drawn.kinds.tolist()):
        if kinds[1] == language.TEXT:
            assert set(kinds[1:]) == {language.TEXT}
            continue
        period = row.index(row[1], 2) - 1
        # what follows the first word that stands there again is known; that one itself is not
        assert [at for at in range(1, len(row)) if kinds[at] == language.SEEN] == list(range(period + 2, len(row)))
        assert all(row[at] == row[at - period] for at in range(period + 2, len(row)))
    share = (language.draw(400, 4).kinds[:, 1] == language.TEXT).float().mean().item()
    assert abs(share - 0.3) <= 4 * (0.3 * 0.7 / 400) ** 0.5


def test_measures_are_those_of_the_package_and_of_a_plain_forward():
    model = bench.build(Arm(ALL, 48, 0))
    got = bench.copying(model)
    ids = language.twice(bench.COPIED, bench.COPIES)
    with torch.no_grad():
        logprob = model(ids).logits.log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
    assert got["copy_1"] == pytest.approx(-logprob[:, :31].mean().item(), abs=1e-5)
    assert got["copy_2"] == pytest.approx(-logprob[:, 32:].mean().item(), abs=1e-5)
    # a head that is wired: attention patterns by hand
    model.set_attn_implementation("eager")
    attention = model(ids[:4], output_attentions=True).attentions
    by_hand = [
        np.mean([attention[layer][:, head, q, q - 30].mean().item() for q in range(32, 62)])
        for layer in range(2)
        for head in range(2)
    ]
    monkey = bench.copying.__globals__
    count, monkey["COPIED"] = monkey["COPIED"], 4
    try:
        assert bench.copying(model)["prefix_matching"] == pytest.approx(max(by_hand), abs=1e-5)
    finally:
        monkey["COPIED"] = count


def test_attention_without_patterns_trains_the_same_model(monkeypatch):
    arm = Arm(arms.repeats(4), 24, 0, 4)
    fast = bench.trained(arm, TINY)
    plain = bench.decoder
    monkeypatch.setattr(bench, "decoder", lambda *args, **given: plain(*args, **given | {"attention": "eager"}))
    assert bench.build(arm).config._attn_implementation == "eager"
    slow = bench.trained(arm, TINY)
    for name in bench.MEASURES:
        np.testing.assert_allclose(fast[name], slow[name], rtol=1e-4, err_msg=name)


def test_patterns_are_given_within_alone():
    model = bench.build(Arm(ALL, 24, 0))
    with pytest.raises(ValueError, match="stopped"), bench.with_patterns(model):
        assert model.config._attn_implementation == "eager"
        raise ValueError("stopped")
    assert model.config._attn_implementation == "sdpa"


def test_quick_says_of_what_it_leaves_out_that_it_is_not_tested():
    quick = STUDY.presets["quick"]
    assert {arm.d_model for arm in arms.arms(quick)} == {72} and len(list(arms.arms(quick))) == 18
    table = pd.concat([ends(**PLANTED), ends(ten=dict(name="repeats 10", text=[3.11, 3.12, 3.1], repeats=10))])
    made = {"ends": table, "sizes": tables.sizes(table), "arms": tables.by_arm(table), "looks": table}
    words = verdicts.verdicts(made, replace(quick, sizes=(96,), main=96))[0]
    told = {key: word for (key, *_), word in zip(words.attrs["claims"], words.verdict)}
    untold = {"peak", "copying", "heads", "regular", "heals", "order", "text"}
    assert {key for key, word in told.items() if word.startswith("not tested")} == untold
    assert "looks inside the schedule alone" in row_of(words, "stopping").here


def test_dropout_acts_while_the_model_trains_and_is_gone_afterwards():
    model, ids = bench.build(Arm(ALL, 24, 0)), language.twice(2, 0)
    plain = model.eval()(ids).logits
    with bench.dropped(model, 0.5):
        assert torch.equal(model.eval()(ids).logits, plain)
        assert not torch.equal(model.train()(ids).logits, plain)
    assert torch.equal(model.train()(ids).logits, plain)


def ends(**by_arm):
    """A table of trainings at their end: text loss by seed of each arm, other measures alike."""
    lines = []
    for arm, given in by_arm.items():
        for seed, text in enumerate(given["text"]):
            line = dict(arm=given.get("name", arm), d=96, seed=seed, parameters=1000, repeats=given.get("repeats", 1))
            line |= dict(text=text, copy_1=4.5, copy_2=given.get("copy", 0.5), prefix_matching=given.get("heads", 0.6))
            line |= dict(subset=given.get("subset", np.nan), lists=0.1, subset_rows=8, steps=10, batch=4, step=10)
            stop = given.get("stopped", {"stopped_at": 10.0, "stopped": text, "stopped_choose": text})
            lines.append(line | {"all": 2.0, "text_choose": text, "head_at": 5.0} | stop)
    return pd.DataFrame(lines)


def judged(table, **changes):
    plan = replace(arms.Preset(), sizes=(96,), repeats=(100, 1000), **changes)
    made = {"ends": table, "sizes": tables.sizes(table), "arms": tables.by_arm(table), "looks": table}
    return verdicts.verdicts(made, plan)


PLANTED = dict(
    all=dict(name=ALL, text=[3.10, 3.11, 3.09]),
    steps=dict(name=HALF_STEPS, text=[3.20, 3.22, 3.19]),
    batch=dict(name=HALF_BATCH, text=[3.19, 3.20, 3.21]),
    worst=dict(name="repeats 100", text=[3.40, 3.41, 3.42], repeats=100, subset=1.0, heads=0.02, copy=4.4),
    most=dict(name="repeats 1000", text=[3.15, 3.165, 3.16], repeats=1000, subset=0.1, heads=0.02, copy=4.4),
)


def test_a_planted_bump_is_judged_by_the_gates():
    table, numbers = judged(ends(**PLANTED))
    words = dict(zip([row[0] for row in table.attrs["claims"]], table.verdict))
    harm = [v for (key, *_), v in zip(table.attrs["claims"], table.verdict) if key == "harm"]
    assert harm[0] == "holds" and harm[1].startswith("does not hold")
    assert words["induction"] == "holds" and words["descent"] == "holds"
    # .5 in every seed: no interval, so not shown
    assert words["memorising"].startswith("not shown")
    assert words["stopping"].startswith("does not hold") and words["few"].startswith("not tested")
    assert words["peak"].startswith("not tested") and words["copying"].startswith("not tested")
    assert numbers["harm 1000 100"] == pytest.approx(np.mean([0.20, 0.19, 0.21]))


def row_of(table, key, at=0):
    """A row of the claims table by its claim, the first or another."""
    return table.iloc[[i for i, (name, *_) in enumerate(table.attrs["claims"]) if name == key][at]]


def test_the_worst_count_of_each_seed_is_compared_between_sizes():
    def small(*counts):
        more = {"worst": PLANTED["worst"], "most": PLANTED["most"]}
        text = [x + 0.5 if count == 1000 else x for x, count in zip(PLANTED["most"]["text"], counts)]
        more["most"] = more["most"] | {"text": text}
        both = pd.concat([ends(**PLANTED), ends(**PLANTED | more).assign(d=72, parameters=500)], ignore_index=True)
        made = {"ends": both, "sizes": tables.sizes(both), "arms": tables.by_arm(both), "looks": both}
        table, numbers = verdicts.verdicts(made, replace(arms.Preset(), sizes=(96, 72), repeats=(100, 1000)))
        return row_of(table, "peak"), numbers

    row, numbers = small(1000, 1000, 100)
    assert row.here.startswith("worst counts by seed d 72: 1000/1000/100, d 96: 100/100/100")
    # decades of the three seeds: 1, 1, 0
    half = scipy_stats.t.ppf(0.975, 2) * np.std([1, 1, 0], ddof=1) / 3**0.5
    assert numbers["peak"] == pytest.approx(2 / 3) and numbers["peak_low"] == pytest.approx(2 / 3 - half)
    assert row.verdict == "not shown: the interval holds 0"
    # the same in every seed: nothing to make an interval of, so the best of means decides nothing
    assert small(1000, 1000, 1000)[0].verdict.startswith("not shown")


def test_an_early_stop_is_chosen_on_other_rows_than_it_is_reported_on():
    looks = xr.Dataset({n: ("look", [3.0, np.nan, 3.2]) for n in bench.MEASURES} | {"step": ("look", [5, 8, 10])})
    looks = looks.assign({n: 1 for n in ("repeats", "parameters", "subset_rows", "steps", "batch")})
    # the first look is the best on the rows that report, the end on those that choose
    made = tables.tables({"a": looks.assign(text_choose=("look", [3.3, np.nan, 3.1]))}, [Arm("a", 96, 0)])["ends"]
    assert made[["stopped_at", "stopped", "stopped_choose"]].to_numpy().tolist() == [[10, 3.2, 3.1]]

    # a harm of .2 in every seed; stops that are chosen save none of it, those that report best would save all of it
    chosen = {"stopped_at": 5.0, "stopped": 3.41, "stopped_choose": 3.0}
    other = {"stopped_at": 5.0, "stopped": 3.21, "stopped_choose": 3.3}
    half = dict(name="repeats 100, ends at half", text=[3.21] * 3, repeats=100, stopped=other)
    table, numbers = judged(ends(**PLANTED | {"worst": PLANTED["worst"] | {"stopped": chosen}, "half": half}))
    assert numbers["stopping"] == pytest.approx(np.mean([-0.01, 0, 0.01]) - 0.5 * np.mean([0.2, 0.19, 0.21]))
    assert row_of(table, "stopping").verdict.startswith("does not hold")
    # and the other way round the half-long training is what is stopped at
    half["stopped"] = other | {"stopped_choose": 2.9}
    _, numbers = judged(ends(**PLANTED | {"worst": PLANTED["worst"] | {"stopped": chosen}, "half": half}))
    assert numbers["stopping"] == pytest.approx(0.2 - 0.5 * 0.2)


def test_claims_of_the_worst_count_are_asked_of_the_count_that_was_fixed():
    # 1,000 repeats turn out worse than the 100 that were fixed: the descent is asked of 100 all the same
    worse = PLANTED | {"most": PLANTED["most"] | {"text": [3.50, 3.52, 3.51]}}
    table, numbers = judged(ends(**worse))
    assert numbers["descent 1000"] == pytest.approx(-0.1) and row_of(table, "descent").verdict == "does not hold"
    assert "100 repeats" in row_of(table, "memorising").claim
    table, _ = judged(ends(**{k: v for k, v in PLANTED.items() if k != "worst"}))
    assert row_of(table, "descent").verdict.startswith("not tested")
    assert row_of(table, "memorising").verdict.startswith("not tested")


def test_without_a_head_in_the_lines_copying_is_not_tested():
    without = {k: v | ({"heads": 0.02, "copy": 4.4} if k in ("steps", "batch") else {}) for k, v in PLANTED.items()}
    table, _ = judged(ends(**without))
    of = [v for (key, *_), v in zip(table.attrs["claims"], table.verdict) if key == "induction"]
    assert of[0] == "holds" and all(word.startswith("does not hold") for word in of[1:])


def test_no_size_is_made_up_for_trainings_without_a_head():
    rung = dict(name=ALL, text=[3.50, 3.52, 3.51], heads=0.35, copy=3.0)
    ladder = ends(small=rung).assign(d=48, parameters=250)
    with_heads = PLANTED | {"most": PLANTED["most"] | {"heads": 0.45, "copy": 2.0}}
    table, numbers = judged(pd.concat([ends(**with_heads), ladder], ignore_index=True))
    for key in ("copying", "heads"):
        row = row_of(table, key)
        assert row.verdict == "not tested: not translated: a head in 0 of 3 seeds" and row.n == "3 seeds"
        assert row.here.startswith("a head in 0 of 3 seeds; by text loss")
        assert row_of(table, key, 1).verdict in ("holds", "does not hold") or "overlap" in row_of(table, key, 1).verdict
    assert not any("100" in name.split() for name in numbers if name.startswith("size "))
    assert numbers["size prefix_matching 1000"] == pytest.approx(250 * 4 ** ((0.45 - 0.35) / 0.25))
    # heads in the arm, none in the lines without the subset: not tested either, and no number
    lines = {k: v | ({"heads": 0.02, "copy": 4.4} if k in ("steps", "batch") else {}) for k, v in with_heads.items()}
    table, numbers = judged(pd.concat([ends(**lines), ladder], ignore_index=True))
    assert row_of(table, "heads", 1).verdict == "not tested: no head without the subset"
    assert not [name for name in numbers if name.startswith("size ")]


def test_sizes_are_read_off_the_ladder_and_a_model_without_a_head_has_none():
    table = ends(**PLANTED)
    small = ends(small=dict(name=ALL, text=[3.40, 3.42, 3.41], heads=0.35, copy=3.0)).assign(d=48, parameters=250)
    sizes = tables.sizes(pd.concat([table, small], ignore_index=True)).set_index(["arm", "measure"])
    half = sizes.loc[("repeats 1000", "text")]
    want = lens.stats.effective_size([3.15, 3.165, 3.16], [250, 1000], [[3.40, 3.42, 3.41], [3.10, 3.11, 3.09]])
    assert half["size"] == pytest.approx(want.estimate) and half.low == pytest.approx(want.low)
    none = sizes.loc[("repeats 100", "prefix_matching")]
    assert none.kind == "not translated: a head in 0 of 3 seeds" and none[["size", "low", "high"]].isna().all()


def test_a_head_that_never_comes_has_no_step():
    looks = xr.Dataset({n: ("look", [0.1, 0.2, 0.4]) for n in bench.MEASURES} | {"step": ("look", [5, 10, 15])})
    looks = looks.assign({n: 1 for n in ("repeats", "parameters", "subset_rows", "steps", "batch")})
    parts = {"a": looks, "b": looks.assign(prefix_matching=("look", [0.0, 0.1, 0.2]))}
    made = tables.tables(parts, [Arm("a", 96, 0), Arm("b", 96, 0)])
    assert made["ends"].head_at.tolist()[0] == 15 and np.isnan(made["ends"].head_at[1])


@pytest.mark.slow
def test_a_training_on_new_rows_forms_a_head():
    made = bench.trained(Arm(ALL, 72, 0), replace(STUDY.presets["quick"], looks=4, tests=64))
    assert float(made.prefix_matching[-1]) >= tables.LEAST
    assert float(made.copy_1[-1] - made.copy_2[-1]) >= tables.NATS


def test_widths_that_are_no_whole_number_of_heads_are_refused():
    with pytest.raises(lens.Error, match="width 50; expected a multiple of 24"):
        bench.build(Arm(ALL, 50, 0))
