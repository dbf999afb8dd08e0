"""The study of repeated data at its tiny size: whole, taken up, judged anew; its measures against other ways."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

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
    key = Arm(ALL, 24, 1).key
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
            lines.append(line | {"all": 2.0, "head_at": 5.0, "best_look": text - 0.01})
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


def test_the_worst_count_is_compared_between_sizes():
    small = ends(**{k: v | ({"text": [x + 0.5 for x in v["text"]]} if k == "most" else {}) for k, v in PLANTED.items()})
    both = pd.concat([ends(**PLANTED), small.assign(d=72, parameters=500)], ignore_index=True)
    made = {"ends": both, "sizes": tables.sizes(both), "arms": tables.by_arm(both), "looks": both}
    table, _ = verdicts.verdicts(made, replace(arms.Preset(), sizes=(96, 72), repeats=(100, 1000)))
    (row,) = [i for i, (key, *_) in enumerate(table.attrs["claims"]) if key == "peak"]
    assert table.here[row] == "worst counts d 72: 1000, d 96: 100" and table.verdict[row] == "holds"


def test_without_a_head_in_the_lines_copying_is_not_tested():
    without = {k: v | ({"heads": 0.02, "copy": 4.4} if k in ("steps", "batch") else {}) for k, v in PLANTED.items()}
    table, _ = judged(ends(**without))
    of = [v for (key, *_), v in zip(table.attrs["claims"], table.verdict) if key == "induction"]
    assert of[0] == "holds" and all(word.startswith("does not hold") for word in of[1:])


def test_sizes_are_read_off_the_ladder_and_a_model_without_a_head_has_none():
    table = ends(**PLANTED)
    small = ends(small=dict(name=ALL, text=[3.40, 3.42, 3.41], heads=0.35, copy=3.0)).assign(d=48, parameters=250)
    sizes = tables.sizes(pd.concat([table, small], ignore_index=True)).set_index(["arm", "measure"])
    half = sizes.loc[("repeats 1000", "text")]
    want = lens.stats.effective_size([3.15, 3.165, 3.16], [250, 1000], [[3.40, 3.42, 3.41], [3.10, 3.11, 3.09]])
    assert half["size"] == pytest.approx(want.estimate) and half.low == pytest.approx(want.low)
    none = sizes.loc[("repeats 100", "prefix_matching")]
    assert none.kind == "no head, not translated" and np.isnan(none["size"]) and none.high == 250


def test_a_head_that_never_comes_has_no_step():
    looks = xr.Dataset({n: ("look", [0.1, 0.2, 0.4]) for n in bench.MEASURES} | {"step": ("look", [5, 10, 15])})
    looks = looks.assign({n: 1 for n in ("repeats", "parameters", "subset_rows", "steps", "batch")})
    parts = {"a": looks, "b": looks.assign(prefix_matching=("look", [0.0, 0.1, 0.2]))}
    made = tables.tables(parts, [Arm("a", 96, 0), Arm("b", 96, 0)])
    assert made["ends"].head_at.tolist()[0] == 15 and np.isnan(made["ends"].head_at[1])
    assert made["ends"].best_look.tolist() == [0.1, 0.1]


@pytest.mark.slow
def test_a_training_on_new_rows_forms_a_head():
    made = bench.trained(Arm(ALL, 72, 0), replace(STUDY.presets["quick"], looks=4, tests=64))
    assert float(made.prefix_matching[-1]) >= tables.LEAST
    assert float(made.copy_1[-1] - made.copy_2[-1]) >= tables.NATS


def test_widths_that_are_no_whole_number_of_heads_are_refused():
    with pytest.raises(lens.Error, match="width 50; expected a multiple of 24"):
        bench.build(Arm(ALL, 50, 0))
