"""The study of two checkpoints: its tables and verdicts by hand, and whole at its tiny size, against plain forwards."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

from lens import stats
from lens.models.shipped import CARD
from lens.organisms import atlas
from lens.reproduce import ReproduceError, reproduction
from lens.reproduce.traversal import bench, steps, tables, verdicts
from lens.reproduce.traversal.bench import BASE, FLOOR, PAIR, ROLES, STATEMENT, WALK
from lens.reproduce.traversal.claims import CLAIMS

STUDY = reproduction("traversal")
LEAVES = 90


def behaviour(seeds=(0,)):
    """What checkpoints answer, by hand: rl and walk are right but for a few, answers are learnt after 50 updates."""
    draw, rows = np.random.default_rng(0), []
    right = {BASE: 0.3, "answer": 0.3, "answer-again": 0.3, "walk": 0.98, "rl": 0.98, "rl-again": 0.98}
    for seed, arm, part in itertools.product(seeds, (*right, "form", "coin"), ("tuned", "report")):
        for updates, leaf in itertools.product((0,) if arm == BASE else (25, 50, 100), range(LEAVES)):
            free = draw.random() < right.get(arm, 0.3)
            if part == "tuned" and arm == "answer":
                free = updates >= 50 or leaf % 2
            sampled = {"rl": 14, "walk": 14, "form": 6}.get(arm, 4) + int(draw.integers(-1, 2))
            rows.append(
                dict(seed=seed, arm=arm, part=part, updates=updates, leaf=leaf, draws=16, free=int(free))
                | dict(sampled=sampled, sampled_walks=8, free_walks=1, direct=0, filler=0, path=int(free))
                | dict(forced=int(free or (arm == "answer" and leaf % 2)), match_1=1.0, f1_1=1.0, order_1=1.0)
                | dict.fromkeys(("match_2", "f1_2", "order_2"), float(free))
            )
    return pd.DataFrame(rows)


def knowledge(lost=0.0, missed=False):
    rows = [(0, arm, "known", "what", 1.0 - lost * (arm == "rl"), np.nan, np.nan) for arm in bench.ARMS]
    rows += [(0, BASE, "gate", "path", 0.1 if missed else 0.5, 0.2, 0.8)]
    return pd.DataFrame(rows, columns=["seed", "arm", "what", "kind", "value", "least", "most"])


def states():
    draw, rows = np.random.default_rng(1), []
    for (one, other), role, measure in itertools.product(steps.COMPARED, ROLES, steps.MEASURES):
        apart = 0.3 if "question" in role and FLOOR not in (one, other) and measure == "cosine" else 0.0
        for leaf in range(LEAVES):
            value = 0.9 - apart + 0.01 * draw.standard_normal()
            rows.append(dict(one=one, other=other, role=role, layer=0, measure=measure, leaf=leaf, value=value, seed=0))
    return pd.DataFrame(rows)


def patches(of_statements=0.0):
    draw, rows = np.random.default_rng(2), []
    for kind, metric in ((WALK, "log_odds"), (STATEMENT, "log_odds"), (STATEMENT, "logprob")):
        for copy, leaf in itertools.product(("source", "twin", "another_prompt", "random"), range(LEAVES)):
            effect = (2.0 if kind == WALK else of_statements) * (copy == "source") + 0.01 * draw.standard_normal()
            rows.append(dict(kind=kind, metric=metric, direction=verdicts.FORWARD, copy=copy, layer=0, leaf=leaf,
                             effect=effect, before=0.0, seed=0))  # fmt: skip
    return pd.DataFrame(rows)


def measured(**other):
    of = dict(behaviour=behaviour(), knowledge=knowledge(), states=states(), patches=patches()) | other
    return {**of, "draws": tables.draws(of["behaviour"])}


def words(made):
    table, _ = made
    keys = [row[0] for row in table.attrs["claims"]]
    return {key: [table.verdict[i] for i, k in enumerate(keys) if k == key] for key in keys}


def test_verdicts_follow_what_was_measured():
    of = measured()
    table, numbers = verdicts.verdicts(of)
    told = words((table, numbers))
    assert set(told) == set(CLAIMS)
    for key in ("setup", "depth", "deeper", "form", "coin", "cosine", "cause", "untouched", "plain"):
        assert set(told[key]) == {"holds"}, key
    assert told["walk"] == ["holds"] * 3 and told["matched"][0].startswith(("not shown", "does not hold"))
    assert told["there"] == told["room"] == ["reported"]
    assert (numbers["look"], numbers["learnt"]) == (50, True)
    by = of["behaviour"].set_index(["arm", "part", "updates", "leaf"])
    gap = by.free["rl", "report", 100] - by.free["answer", "report", 100]
    expected = stats.bootstrap(gap.to_numpy(float), values="difference")
    assert (numbers["depth"], numbers["depth_low"]) == pytest.approx((gap.mean(), expected.low))
    at = by.loc[:, "report", 50, :]
    closes = (at.forced["rl"] - at.forced["answer"]) - (at.free["rl"] - at.free["answer"]) / 2
    assert numbers["forced"] == pytest.approx(closes.mean())


def test_what_fails_is_said():
    lost = words(verdicts.verdicts(measured(knowledge=knowledge(lost=0.1))))
    assert lost["setup"] == ["does not hold"]  # what forgot its edges is not asked how it walks them
    missed = words(verdicts.verdicts(measured(knowledge=knowledge(missed=True))))
    assert missed["setup"] == ["does not hold"]
    assert all(
        word.startswith("not measured: the set-up")
        for of in (lost, missed)
        for word in (*of["depth"], *of["walk"], *of["cause"])
    )
    table = behaviour()
    learnt = table.arm.isin(("answer", "rl"))
    alike = table.assign(free=table.free.where(~learnt, 1), forced=table.forced.where(table.arm != "answer", 0))
    assert words(verdicts.verdicts(measured(behaviour=alike)))["forced"] == ["not shown: there is no gap to close"]
    moved = words(verdicts.verdicts(measured(patches=patches(0.5))))
    assert moved["untouched"] == ["does not hold"]
    table = behaviour()
    table.loc[table.arm == "walk", "sampled"] -= 3
    assert words(verdicts.verdicts(measured(behaviour=table)))["walk"] == ["does not hold"] * 3


def test_several_bases_are_the_unit():
    of = behaviour((0, 1, 2))
    series = tables.values(of, "rl", "free") - tables.values(of, "answer", "free")
    told = tables.interval(series)
    means = series.groupby("seed").mean()
    half = 4.302653 * means.std(ddof=1) / 3**0.5
    within = stats.bootstrap(series.to_numpy(), values="difference")
    wider = min(means.mean() - half, within.low), max(means.mean() + half, within.high)
    assert (told.estimate, told.low, told.high) == pytest.approx((means.mean(), *wider), rel=1e-5)
    # bases that tie by chance are no interval of no width
    tied = series.groupby("leaf").transform("first")
    assert tables.interval(tied).high - tables.interval(tied).low > 0.05
    curves = tables.curves(of[of.arm.isin((BASE, "rl"))], measures=("free",))
    line = curves[(curves.arm == "rl") & (curves.part == "report") & (curves.measure == "free")]
    assert line.updates.tolist() == [0, 25, 50, 100]
    assert line.share.iloc[0] == pytest.approx(of[(of.arm == BASE) & (of.part == "report")].free.mean())


def test_at_least_one_of_k_draws_is_the_share_over_all_choices():
    of = behaviour()
    one = of[(of.arm == "form") & (of.part == "report") & (of.updates == 100)]
    got = tables.draws(of).set_index(["arm", "k"]).share
    for k in (1, 4):
        shares = [
            np.mean([any(i < right for i in chosen) for chosen in itertools.combinations(range(16), k)])
            for right in one.sampled
        ]
        assert got["form", k] == pytest.approx(np.mean(shares))
    assert got["form", 16] == 1


def test_log_odds_are_those_of_the_answer():
    logits = torch.randn(3, 7)

    class Encoded:
        answer_ids = (4,)

    p = logits.softmax(-1)[:, 4]
    torch.testing.assert_close(bench.log_odds(logits, Encoded), (p / (1 - p)).log())


def test_prompts_differ_in_one_thing():
    of = bench.Bench(0, bench.Preset(leaves=5), None, print)
    texts = {role: [text.split() for text in of.texts(role)] for role in ROLES}
    at_code = [texts[role] for role in ("statement, code", "question, code", "fact question, code")]
    for prompts in zip(*at_code):
        assert len({len(text) for text in prompts}) == 1 and len({text[-1] for text in prompts}) == 1
        assert prompts[0][bench.CODE] == prompts[0][-1] in of.suite.code
    for right, wrong, answered in zip(*(texts[role] for role in list(ROLES)[-3:])):
        assert len(right) == len(wrong) == len(answered) and right[-1] == wrong[-1] == answered[-1] == "."
        assert sum(a != b for a, b in zip(right, wrong)) == 1 and right[-2] == answered[-2]
    for kind in (WALK, STATEMENT):
        for leaf, pair in zip(of.leaves, of.pairs(kind)):
            assert pair.clean.split()[bench.CODE] == of.suite.code[leaf]
            assert pair.answer.strip() == of.suite.path[leaf][0] != pair.foil.strip()


def test_models_that_are_nowhere_are_named_with_their_command():
    of = bench.Bench(5, bench.Preset(), None, print)
    with pytest.raises(ReproduceError, match=r"models: atlas-5-rl does not ship .* --seed 5 --float16 --arm rl --out"):
        of.folder("rl")


def test_a_model_of_another_recipe_is_refused(tmp_path):
    (tmp_path / "atlas").mkdir()
    (tmp_path / "atlas" / CARD).write_text(json.dumps({"recipe_sha256": "another"}))
    with pytest.raises(ReproduceError, match="was trained by another recipe than this study asks for"):
        bench.Bench(0, bench.Preset(), tmp_path, print).folder(BASE)


@pytest.mark.slow
def test_a_whole_run_is_read_back_and_its_numbers_are_those_of_plain_forwards(tmp_path):
    asked = dict(preset="tiny", models=tmp_path / "models", out=tmp_path / "run", progress=False)
    made = STUDY.run(**asked)
    assert {row[0] for row in made.table.attrs["claims"]} == set(CLAIMS)
    assert {path.stem for path in made.figures} == {"curves", "likeness", "patches"}
    again = STUDY.load(asked["out"])
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    (asked["out"] / "tables" / "states.seed-0.parquet").unlink()
    assert STUDY.run(**asked).table.equals(made.table)

    of = bench.Bench(0, STUDY.presets["tiny"], tmp_path / "models", print)
    models = {arm: atlas.command.loaded(of.folder(arm)) for arm in (*PAIR, FLOOR)}
    leaf = of.leaves[1]
    ids = torch.tensor([of.suite.ids(of.texts("question, code")[1])])
    one, other = (models[arm](ids, output_hidden_states=True).hidden_states[1][0, -1] for arm in PAIR)
    told = tables.by_leaf(
        made.tables["states"], one=PAIR[0], other=PAIR[1], role="question, code", layer=0, measure="cosine"
    )
    assert told[0, leaf] == pytest.approx(torch.cosine_similarity(one, other, 0).item(), abs=1e-5)

    pair = of.pairs(WALK)[1]
    ids = torch.tensor([of.suite.ids(pair.clean)])
    answer = of.suite.index[pair.answer.strip()]
    state = models["rl"](ids, output_hidden_states=True).hidden_states[1][:, bench.CODE]

    def replaced(module, args, output):
        hidden = (output[0] if isinstance(output, tuple) else output).clone()
        hidden[:, bench.CODE] = state
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    odds = []
    for hook in (None, replaced):
        handle = models["answer"].model.layers[0].register_forward_hook(hook) if hook else None
        p = models["answer"](ids).logits[0, -1].softmax(-1)[answer]
        odds.append((p / (1 - p)).log().item())
        if handle:
            handle.remove()
    found = tables.by_leaf(
        made.tables["patches"], "effect", kind=WALK, copy="source", metric="log_odds", layer=0,
        direction=verdicts.FORWARD,
    )  # fmt: skip
    assert found[0, leaf] == pytest.approx(odds[1] - odds[0], abs=1e-4)
