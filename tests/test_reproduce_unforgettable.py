"""The study of random labels: its estimates in closed form, forgetting on the shipped model, and a small run."""

import numpy as np
import pandas as pd
import pytest
import torch

from lens.models.shipped import folder_of
from lens.organisms.verdicts import NAMES, Suite, build
from lens.organisms.verdicts.tasks import BY_NAME
from lens.reproduce.errors import ReproduceError
from lens.reproduce.unforgettable import bench, hidden, language, spread, tables, verdicts
from lens.reproduce.unforgettable.claims import CLAIMS
from lens.reproduce.unforgettable.study import PRESETS, STUDY
from lens.unlearning.labels import random_labels
from tests.models import tiny

PLAN = PRESETS["tiny"]


@pytest.fixture(scope="module")
def of_seed_0():
    return bench.Bench(0, bench.taught(folder_of("verdicts")), None, Suite(0), PLAN)


def test_parts_share_no_unit_and_are_those_of_the_suite():
    suite = Suite(0)
    for task in NAMES:
        parts = bench.parts_of(suite, task, 40)
        of = [{bench.unit_of(item) for item in part} for part in (parts.forget, parts.choose, parts.report)]
        assert all(of) and not of[0] & of[1] and not of[0] & of[2] and not of[1] & of[2]
        assert parts.held == [*parts.choose, *parts.report] and len(parts.forget) <= 40


def test_spread_in_closed_form():
    line = {"reached": True, "labels": "fixed", "chance": 0.5, "train_before": 1.0, "held_before": 0.9}
    runs = pd.DataFrame([line | {"train": 0.5, "held": 0.7}]).assign(reworded_before=1.0, reworded=1.0)
    one = tables.spread(runs).iloc[0]
    assert one.lost_train == 1 and one.lost_held == pytest.approx(0.5) and one.G == pytest.approx(0.5)
    assert one.lost_reworded == 0
    # right answers lose nothing, and a run that did not get there is left out
    assert tables.spread(runs.assign(labels="right")).empty and tables.spread(runs.assign(reached=False)).empty
    assert np.isnan(bench.lost(0.5, 0.4, 0.5))


def test_variation_is_called_where_tasks_differ_and_not_where_models_do():
    rng, wide = np.random.default_rng(0), [(s, t) for s in range(3) for t in range(8)]
    noise = rng.normal(0, 0.05, len(wide))
    frame = pd.DataFrame({"seed": [s for s, _ in wide], "task": [t for _, t in wide]})
    sd, between, p = tables.variation(frame.assign(G=[0.1 * t for _, t in wide] + noise), 0)
    assert p < 0.01 and sd.estimate == pytest.approx(np.std(0.1 * np.arange(8), ddof=1), abs=0.05)
    assert between < 0.1 and sd.low < sd.estimate < sd.high
    assert tables.variation(frame.assign(G=rng.normal(0, 1, len(wide))), 0)[2] > 0.05
    assert np.isnan(tables.variation(frame[frame.seed == 0].assign(G=1.0), 0)[2])


def test_a_task_is_one_however_often_it_was_trained_on():
    lines = [("a", 1.0, 0.2), ("a", 1.0, 0.4), *[("b", 0.0, 0.1)] * 6]
    runs = pd.DataFrame(lines, columns=["task", "reached", "G"]).assign(seed=0, labels="fixed")
    rows = verdicts.Rows(CLAIMS)
    verdicts._forgotten(rows, runs)
    assert rows.numbers["reached"] == 0.5 and rows[0].n == "8 runs, 2 tasks, 1 model"
    assert verdicts.over_tasks(runs, "G", 0).estimate == pytest.approx((0.3 + 0.1) / 2)
    # all runs of six tasks: Clopper and Pearson's bound of six of six, however many runs there are
    every = pd.concat([pd.DataFrame({"task": list("abcdef")})] * 4).assign(seed=0, reached=True)
    share = verdicts.shares(every, "reached")
    assert share.low == pytest.approx(0.025 ** (1 / 6)) and (share.estimate, share.high) == (1, 1)
    three = pd.concat([every.assign(seed=seed) for seed in range(3)])
    assert verdicts.shares(three, "reached").low == pytest.approx(0.025 ** (1 / 3))


def test_right_answers_are_judged_by_the_largest_change_and_told_by_task():
    matrix = pd.DataFrame({"task": ["a"] * 3 + ["b"], "before": 1.0, "after": [0.9, 0.96, 1.0, 1.0]})
    own = pd.DataFrame({"task": ["a", "b"], "held_before": 1.0, "held": [0.98, 1.0]})
    gates = pd.DataFrame({"holds": [True, True]})
    tables_of = {"matrix": matrix.assign(seed=0, labels="right"), "runs": own.assign(seed=0, labels="right")}
    rows = verdicts.Rows(CLAIMS)
    verdicts._right(rows, tables_of | {"gates": gates}, 0)
    assert rows.numbers["right_change"] == pytest.approx((-0.1 - 0.04 - 0.02) / 4 / 2)
    assert rows.numbers["right_worst"] == pytest.approx(-0.1) and rows[0].verdict.startswith("does not hold")
    still = {name: table.replace({"after": {0.9: 1.0, 0.96: 1.0}}) for name, table in tables_of.items()}
    verdicts._right(rows, still | {"gates": gates}, 0)
    assert rows[1].verdict == "holds"
    verdicts._right(rows, still | {"gates": gates.assign(holds=[True, False])}, 0)
    assert rows[2].verdict == "does not hold"


def test_what_missed_the_stop_is_left_out_of_every_table():
    runs = pd.DataFrame(
        {"task": ["a", "b", "b"], "labels": ["fixed", "fixed", "redrawn"], "reached": [True, False, True]}
    )
    runs = runs.assign(seed=0, form="instruction")
    layers = runs[["seed", "task", "form", "labels"]].assign(layer=1)
    assert list(tables.at_the_stop(layers, runs).task) == ["a", "b"]
    probes = pd.DataFrame(
        {"task": ["a", "b", "b", "b", "b"], "model": ["fixed", "before", "untrained", "fixed", "redrawn"]}
    )
    left = tables.at_the_stop(probes.assign(seed=0), runs)
    assert list(zip(left.task, left.model)) == [
        (t, m) for t, m in zip(probes.task, probes.model) if (t, m) != ("b", "fixed")
    ]
    # the stop of a run in another form is not the probes'
    other = pd.concat([runs, runs.assign(form="common", reached=True)])
    assert len(tables.at_the_stop(probes.assign(seed=0), other)) == 4
    assert tables.at_the_stop(pd.DataFrame(), runs).empty


def test_adapters_are_judged_at_the_stop_and_their_seeds_are_no_models(monkeypatch):
    wide = pd.DataFrame([(s, t) for s in range(3) for t in range(6)], columns=["seed", "task"])
    of = wide.assign(labels="fixed", G=0.3 * wide.task + 0.01 * wide.seed).astype({"task": str})
    of.loc[of.task == "5", "G"] = np.nan
    rows = verdicts.Rows(CLAIMS)
    verdicts._spread(rows, of.assign(form="instruction", kind="rule"), of, 0)
    row = next(row for row in rows if row.key == "natural")
    assert row.n == "5 tasks, 3 adapter seeds" and row.verdict == "holds"
    assert rows.numbers["sd fixed natural"] == pytest.approx(0.3 * np.std(range(5), ddof=1))

    # by turns what is right of the items and, of fixed answers, what is given of the drawn ones
    seen = iter([1.0, 0.2, 0.6, 0.6, 0.55, 0.96])
    monkeypatch.setattr(language, "_right", lambda model, probe: next(seen))
    items = [([3, 4, 5], [6]), ([3, 5, 5], [7])]
    recipe = language.training.Recipe(steps=9, batch=1, learning_rate=1e-3, schedule="constant")
    how = {"items": items, "trained": language.Probe("a", "in_context", items), "before": 1.0, "every": 2}
    last = language._forget(
        tiny("llama").requires_grad_(True), random_labels(items, "fixed", 0), "fixed", recipe=recipe, **how
    )
    assert last == {"step": 4, "agreement": 0.96, "reached": True} and next(seen, None) is None
    seen = iter([1.0, 0.11, 0.1, 0.0])
    drawn = random_labels(items, "redrawn", 0, 1)
    last = language._forget(tiny("llama").requires_grad_(True), drawn, "redrawn", recipe=recipe, **how)
    assert last["step"] == 4 and last["reached"] and np.isnan(last["agreement"])


@pytest.mark.slow
def test_what_explains_the_losses_of_other_tasks_is_found_again():
    rows = []
    for one in NAMES:
        for other in [name for name in NAMES if name != one]:
            a, b = BY_NAME[one], BY_NAME[other]
            words = int(a.answers == b.answers)
            alike = (words, int(a.form == b.form), int(bool(a.stored) and a.stored == b.stored), int(a.kind == b.kind))
            rows.append((one, other, 1.0, 1 - 0.3 * words, 0.5, *alike))
    columns = ["task", "tested", "before", "after", "chance", "same_words", "same_form", "same_content", "same_kind"]
    found = tables.explained(pd.DataFrame(rows, columns=columns), 0)
    assert found["words and form"].estimate > 0.9 and abs(found["content"].estimate) < 1e-9
    assert found["words and form"].low > 0.8


def test_a_better_predictor_is_told():
    rng = np.random.default_rng(1)
    g = np.arange(12.0)
    table = pd.DataFrame({"G": g, "gradient cosine": g + rng.normal(0, 0.1, 12)})
    for name in ("accuracy", "confidence", "variance 3"):
        table[name] = rng.permutation(12)
    more = tables.better(table, 3, 0)
    rho = table.corr("spearman")["G"]
    assert more.estimate == pytest.approx(1 - rho[["accuracy", "confidence", "variance 3"]].abs().max())


def test_a_predictor_that_is_the_same_for_all_tasks_is_not_tested():
    g = [0.2, 0.5, 0.4, 0.9, 0.7, 1.1]
    of = pd.DataFrame({"task": list("abcdef"), "G": g}).assign(seed=0, labels="fixed", form="instruction")
    values = {"accuracy": [1.0] * 6, "confidence": [-x for x in g], "variance 1": g, "gradient cosine": g}
    lines = [(t, name, v) for name, column in values.items() for t, v in zip("abcdef", column, strict=True)]
    known = pd.DataFrame(lines, columns=["task", "predictor", "value"]).assign(seed=0, form="instruction")
    rows = verdicts.Rows(CLAIMS)
    verdicts._predicted(rows, of, known, 0)
    assert [row.key for row in rows] == ["difficulty", "confidence", "confidence", "gradients"]
    assert rows[0].verdict.startswith("not tested: ") and rows[0].here == "every task has 1"
    # of 720 orders one is as far on either side
    assert rows.numbers["p confidence"] == pytest.approx(2 / 720) and rows[1].verdict == "holds"
    assert rows[2].verdict == "does not hold" and rows[1].multiplicity == "Holm over 2"


def test_gradients_are_those_of_one_item_at_a_time(of_seed_0):
    items = bench.of_items(of_seed_0.suite, of_seed_0.parts("longer").forget[:3], "instruction")
    model, each = bench.copy_of(of_seed_0.model).requires_grad_(True), []
    for ids, answer in items:
        model.zero_grad()
        logits = model(torch.tensor([ids])).logits[0, -1]
        (-logits.log_softmax(-1)[answer[0]]).backward()
        each.append(torch.cat([v.grad.flatten() for v in model.parameters() if v.grad is not None]))
    norm, cosine = spread.gradients(of_seed_0.model, items)
    assert norm == pytest.approx(np.mean([float(g.norm()) for g in each]), rel=1e-4)
    pairs = [torch.cosine_similarity(each[i], each[j], 0) for i in range(3) for j in range(i)]
    assert cosine == pytest.approx(float(torch.stack(pairs).mean()), abs=1e-4)


def test_states_are_those_of_the_layers(of_seed_0):
    items = of_seed_0.parts("set_a").forget[:2]
    got, heard = spread.states(of_seed_0.model, of_seed_0.suite, items, "common"), []
    layer = of_seed_0.model.model.layers[1]
    hook = layer.register_forward_hook(lambda m, i, o: heard.append(o if isinstance(o, torch.Tensor) else o[0]))
    for item in items:
        of_seed_0.model(torch.tensor([of_seed_0.suite.prompt(item, "common")]))
    hook.remove()
    np.testing.assert_allclose(got[1], torch.stack([h[0, -1] for h in heard]).numpy(), atol=1e-4)


def test_forgetting_stops_where_it_should_and_leaves_the_model_alone(of_seed_0):
    before = {k: v.clone() for k, v in of_seed_0.model.state_dict().items()}
    redrawn = of_seed_0.forget("longer", "instruction", "redrawn")
    assert of_seed_0.parts("longer") is of_seed_0.parts("longer")
    assert all(torch.equal(v, before[k]) for k, v in of_seed_0.model.state_dict().items())
    gone = [(redrawn.looks.train[0] - now) / (redrawn.looks.train[0] - 0.5) for now in redrawn.looks.train]
    # the first look at which so much is gone, and no training after it
    assert redrawn.reached and [share >= bench.LOST for share in gone] == [False] * (len(gone) - 1) + [True]
    right = of_seed_0.forget("longer", "instruction", "right")
    assert not right.reached and int(right.looks.step.iloc[-1]) == PLAN.steps and right.looks.train.iloc[-1] > 0.9


def test_a_model_that_knows_nothing_has_nothing_to_forget(of_seed_0):
    untrained = bench.Bench(0, build(of_seed_0.recipe), None, Suite(0), PLAN)
    with pytest.raises(ReproduceError, match="task='set_a': .* nothing to forget"):
        untrained.forget("set_a", "instruction", "fixed")


def test_a_state_that_is_the_models_own_repairs_from_the_layer_on(of_seed_0):
    other = bench.copy_of(of_seed_0.model)
    with torch.no_grad():
        other.model.layers[-1].mlp.down_proj.weight.mul_(-6)
    table = hidden.layers(of_seed_0, "longer", other, "redrawn", "instruction").set_index("layer")
    # all blocks but the last are the same in both, and so are the states before it; what comes after it is too
    assert (table.copied.iloc[:-1] == table["into"].iloc[0]).all() and table["into"].iloc[0] < table.source.iloc[0]
    assert table.copied.iloc[-1] == table.source.iloc[-1]


def test_presets_that_cannot_be_are_refused():
    for wrong, said in (({"tasks": ()}, "tasks="), ({"tasks": ("longer", "longer")}, "tasks=")):
        with pytest.raises(ReproduceError, match=said):
            STUDY.run(preset=bench.replace(PLAN, **wrong))
    with pytest.raises(ReproduceError, match="verdicts-7"):
        STUDY.run(preset=bench.replace(PLAN, seeds=(7,)))


@pytest.mark.slow
def test_a_run_judges_its_claims_and_is_read_back(tmp_path):
    made = STUDY.run(preset="tiny", out=tmp_path, progress=False)
    keys = {row[0] for row in made.table.attrs["claims"]}
    assert keys == set(CLAIMS)
    # six tasks and more are needed to correlate, five to explain; fixed answers to `set_a` take more steps
    untested = {row[0] for row, word in zip(made.table.attrs["claims"], made.table.verdict) if word.startswith("not t")}
    assert untested >= {"difficulty", "confidence", "gradients", "content", "natural", "rule"}
    again = STUDY.load(tmp_path)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    runs = made.tables["runs"]
    assert len(runs) == len(PLAN.tasks) * len(PLAN.forms) * len(PLAN.labels)
    assert set(made.tables["probes"].model) == {"before", "untrained", "redrawn"}
    assert {path.stem for path in made.figures} == {"spread", "matrix", "probes", "layers"}
