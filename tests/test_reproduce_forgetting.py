"""The reproduction of Instruction Vectors, end to end on tiny models: resumed, stored, loaded again, drawn; and its tables on numbers that are known."""

import copy
import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lens import forgetting, vectors
from lens.engine.results import ResultError
from lens.forgetting import ForgettingError
from lens.organisms import symbols
from lens.organisms.shipping import tokenizer_of
from lens.organisms.symbols_suite import Suite
from lens.reproduce import common, forgetting_claims as claims, forgetting_frames as frames, forgetting_steps as steps, forgetting_studies as studies
from lens.reproduce import instruction_vectors as paper, reproduction

PLAN = paper.Preset(("plain", "guided", "kl_vector", "kl_start"), 6, 8, 2e-2, seeds=2, evaluate_at=(2, 4), old=("table_1", "pick_last"), new=("table_5", "last_table_7"),
                    instruction_items=12, icl_items=4,
                    icl_shots=3, fact_items=6, new_items=8, training_rows=24, shots=4, vector_prompts=3, mean_prompts=4, trials=3, heads=3, strengths=(1.0,), watched=("plain",),
                    effects=("plain",),
                    recover=("plain",))
#: values that are quoted: each stands in the spec as read in a paper's text or, where the row says so, in a secondary source
QUOTED = ("-10.24", "+1.93", "-19.60", "-4.48", ".95", ".873", ".03 to .47", "+7.3", "39.5 to 49.1", "+2.84", "+.84", "+5.44", "+17.52", "+.87", "+10.35", "+1.46")


@pytest.fixture(scope="module")
def model():
    """An untrained model of the suite with two layers; its copies are the start of every sequence."""
    made = symbols.build(symbols.Recipe(layers=2, d_model=32, heads=4, d_mlp=64)).eval().requires_grad_(False)
    made.tokenizer = tokenizer_of(Suite(0).vocabulary)
    return made


@pytest.fixture(scope="module")
def stored(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("instruction-vectors")
    return paper.run(model, preset=PLAN, out=out, progress=False), out


def test_a_run_is_stored_drawn_and_loaded_with_the_same_table(model, stored):
    made, out = stored
    assert list(made.table.columns) == common.COLUMNS and made.table.notna().all().all()
    for gate in range(5, 10):
        assert made.table.claim.str.contains(f"G{gate}.", regex=False).any()
    assert {f.name for f in out.glob("figures/*.png")} == {f"{n}.png" for n in ("methods", "tradeoff", "curves", "drift", "similarity", "recovery", "heads")}
    assert all(f.stat().st_size > 8000 for f in made.figures)
    assert not any((out / "training").rglob("*.safetensors"))
    loaded = paper.load(out, model=model)
    assert loaded.table.equals(made.table) and loaded.fingerprint == made.fingerprint and loaded.numbers.keys() == made.numbers.keys()
    record = json.loads((out / "reproduction.json").read_text())
    assert record["config"]["methods"] == list(PLAN.methods) and record["model"]["hash"] and record["fingerprint"] == made.fingerprint
    assert set(made.seconds) == {(s, m) for s in (0, 1) for m in PLAN.methods} and reproduction("instruction-vectors") is paper


def test_a_finished_sequence_is_not_trained_again_and_a_new_method_is_added(model, stored, tmp_path, monkeypatch):
    made, out = stored
    copied = tmp_path / "out"
    shutil.copytree(out, copied)
    (copied / "seed-1" / "kl_start.nc").unlink()
    trained, whole = [], forgetting.sequential

    def watched(make, stages, probes, method, **options):
        trained.append((method.name, options["seed"]))
        return whole(make, stages, probes, method, **options)
    monkeypatch.setattr(forgetting, "sequential", watched)
    again = paper.run(model, preset=replace(PLAN, methods=(*PLAN.methods, "averaging")), out=copied, progress=False)
    assert sorted(trained) == [("averaging", 0), ("averaging", 1), ("kl_start", 1)]
    assert np.array_equal(again.parts[1, "kl_start"].correct, made.parts[1, "kl_start"].correct, equal_nan=True)
    assert "averaging_instruction" in again.numbers and again.fingerprint != made.fingerprint


def test_a_sequence_that_was_cut_goes_on_from_its_last_stage(model, stored, tmp_path, monkeypatch):
    made, _ = stored
    plan, calls, whole = replace(PLAN, methods=("plain",), seeds=1), [], forgetting.accuracy

    def cut(module, probe, **options):
        calls.append(probe.name)
        if len(calls) == 45:        # ten probes an evaluation: in the second of two stages
            raise KeyboardInterrupt
        return whole(module, probe, **options)
    monkeypatch.setattr("lens.forgetting.sequence.accuracy", cut)
    with pytest.raises(KeyboardInterrupt):
        paper.run(model, preset=plan, out=tmp_path / "out", progress=False)
    assert (tmp_path / "out" / "training" / "seed-0" / "plain" / "stage-0" / "done.json").is_file() and not (tmp_path / "out" / "seed-0" / "plain.nc").exists()
    monkeypatch.setattr("lens.forgetting.sequence.accuracy", whole)
    again = paper.run(model, preset=plan, out=tmp_path / "out", progress=False)
    assert np.array_equal(again.parts[0, "plain"].correct, made.parts[0, "plain"].correct, equal_nan=True)
    assert np.allclose(again.parts[0, "plain"].loss, made.parts[0, "plain"].loss)


def test_another_configuration_other_data_and_other_weights_are_refused(model, stored, tmp_path):
    _, out = stored
    with pytest.raises(ResultError, match="another configuration.*learning_rate"):
        paper.run(model, preset=replace(PLAN, learning_rate=1e-3), out=out, progress=False)
    with pytest.raises(ForgettingError, match="data='hand'"):
        paper.run(model, data="hand", preset=PLAN)
    with pytest.raises(ForgettingError, match="reproduce instruction-vectors"):
        paper.load(tmp_path)
    other = copy.deepcopy(model)
    with torch.no_grad():
        next(iter(other.parameters())).add_(1)
    with pytest.raises(ForgettingError, match="other weights"):
        paper.load(out, model=other)


def test_similarity_and_distance_are_those_of_plain_forwards(model, stored):
    """The watched numbers against vectors extracted anew from a model that was changed by hand."""
    bench = steps.Bench(studies.study_of(model, PLAN, 0), PLAN, common.Steps(None, {}), False)
    heads = [(0, 1), (1, 2), (1, 3)]
    of, far = steps.similarities(bench, heads), steps.distances(bench)
    assert np.allclose(of(bench.study.make_model()), 1) and np.allclose(far(bench.study.make_model()), 0)
    moved = bench.study.make_model()
    with torch.no_grad():
        for p in moved.parameters():
            p.add_(torch.randn(p.shape, generator=torch.Generator().manual_seed(3)) * 0.02)
    found, task = of(moved), bench.study.old[0]
    prompts = bench.study.prompts(task, "icl", n=PLAN.vector_prompts, shots=PLAN.shots, split="test")

    def read(module):
        z, last = [], []
        for p in prompts:
            kept, undo = {}, []
            for i, layer in enumerate(module.model.layers):
                undo.append(layer.self_attn.o_proj.register_forward_pre_hook(lambda m, x, i=i: kept.__setitem__(i, x[0][0, -1])))
            undo.append(module.model.layers[-1].register_forward_hook(lambda m, x, y: kept.__setitem__("out", (y[0] if isinstance(y, tuple) else y).reshape(-1, 32)[-1])))
            with torch.no_grad():
                module(p.ids[None])
            for u in undo:
                u.remove()
            z.append(torch.stack([kept[i].reshape(4, 8) for i in range(2)]))
            last.append(kept["out"])
        mean = torch.stack(z).mean(0)
        return sum(module.model.layers[l].self_attn.o_proj.weight[:, h * 8:(h + 1) * 8] @ mean[l, h] for l, h in heads), torch.stack(last).mean(0)
    (a, x), (b, y) = read(bench.study.reader), read(moved)
    cosine = lambda u, v: float(torch.nn.functional.cosine_similarity(u.double(), v.double(), dim=0))
    assert abs(found[0, 0] - cosine(a, b)) < 1e-5 and abs(found[1, 0] - cosine(x, y)) < 1e-5
    length = torch.cat([(p - q).double().ravel() for p, q in zip(moved.parameters(), bench.study.reader.parameters())]).norm()
    assert abs(far(moved)[0] / float(length) - 1) < 1e-6


def test_the_symbols_study_asks_for_the_tasks_of_the_suite(model):
    study, suite = studies.study_of(model, replace(PLAN, old=None, new=None), 1), Suite(1)
    assert [t.name for t in study.new] == suite.new_tasks() and {t.name for t in study.old} <= set(suite.names)
    words = suite.vocabulary
    for stage in study.stages:
        ability = suite.ability(stage.name)
        for ids, answer in stage.prompts:
            text = [words[i] for i in ids]
            assert text[1:3] == suite.instruction(stage.name).split() and text[-1] == ":" and suite.answer(stage.name, " ".join(text[3:-1])) == words[answer[0]]
        if ability.pick != "only":      # lists are asked for that were not trained on
            trained = {tuple(row[:n - 1].tolist()) for row, n in zip(stage.rows.ids, stage.rows.lengths)}
            assert trained.isdisjoint(ids for ids, _ in stage.prompts)
    fact = next(p for p in study.probes if p.name == "facts R2")
    for ids, answer in fact.prompts:
        assert words[ids[1]] == "R2" and suite.answer("table_2", words[ids[2]]) == words[answer[0]]


def test_guides_are_the_start_models_vectors_of_the_new_tasks(model, stored):
    made, _ = stored
    bench = steps.Bench(studies.study_of(model, PLAN, 0), PLAN, common.Steps(None, {}), False)
    guides = steps.guides(bench, made.starts[0])
    heads = steps.heads_of(made.starts[0])
    means = vectors.mean_activations(model, bench.study.prompts(bench.study.new[0], "icl", n=PLAN.mean_prompts, shots=PLAN.shots, split="valid"))
    own = vectors.extract(model, bench.study.new[0], heads=heads, means=means)
    assert set(guides) == {"table_5", "last_table_7"} and guides["table_5"].heads == tuple(heads)
    assert torch.allclose(guides["table_5"].direction, own.direction, atol=1e-5)
    assert guides["table_5"].layer == int(made.starts[0].swept.mean("old").values.argmax())


# -- tables on numbers that are known -------------------------------------------------------------------------------------------

def known(loss=0.4, facts=0.05, gain=0.3, seeds=3, tasks=4):
    """Units of three methods: plain loses `loss` of the old tasks, guided keeps `gain` more of them, the KL alone half of that."""
    rows, draw = [], np.random.default_rng(0)
    for seed in range(seeds):
        for method, kept in (("plain", 0.0), ("guided", gain), ("kl_vector", gain), ("kl_start", gain / 2)):
            for i in range(tasks):
                e = 0.02 * draw.standard_normal()
                old = {"seed": seed, "method": method, "before": 1.0, "gap": 0.1, "n": 40}
                rows.append(old | {"probe": f"t{i}", "kind": "instruction", "after": 1 - loss + kept + e, "partner": -facts})
                rows.append(old | {"probe": f"t{i}, shown", "kind": "in_context", "after": 1 - 1.5 * loss + kept + e})
                rows.append(old | {"probe": f"facts {i}", "kind": "knowledge", "after": 1 - facts})
                rows.append(old | {"probe": f"n{i}", "kind": "new", "before": 0.0, "own": 0.9, "after": 0.9 - (0.2 if method == "plain" else 0.1) + e})
    return pd.DataFrame(rows).assign(change=lambda f: f.after - f.before)


EMPTY = {n: pd.DataFrame() for n in ("recovery", "points", "sets", "drift")}


def table_for(units, **more):
    made, numbers = claims.verdicts(units=units, methods=frames.methods(units, {(s, m): None for s in units.seed.unique() for m in units.method.unique()}), curves=pd.DataFrame(),
                                    cost=None, **(EMPTY | more))
    return made, numbers, lambda start: made[made.claim.str.contains(start, regex=False)].iloc[0]


def test_verdicts_follow_the_intervals():
    _, numbers, row = table_for(known())
    assert abs(numbers["instruction_change"] + 0.4) < 0.03 and row("loses old ones").verdict == "holds" and row("G5.").verdict == "holds"
    assert row("G8.").verdict == "holds" and abs(numbers["guided_forget"] + 0.1) < 0.03 and "keeps old tasks" in row("keeps old").claim
    assert abs(numbers["guided_instruction"] - 0.3) < 0.03 and abs(numbers["kl_vector_minus_kl_start"] - 0.15) < 0.03 and row("G9.").verdict == "helps"
    assert row("G5.").n == "12 units: 3 seeds x 4 tasks" and "seeds" in row("G5.").here
    _, _, worse = table_for(known(loss=0.05, facts=0.4, gain=-0.2))
    dear = known().assign(after=lambda f: f.after - 0.3 * ((f["kind"] == "new") & (f.method == "guided")),
                          own=lambda f: f.own - 0.5 * ((f["kind"] == "new") & (f.method == "guided")))
    assert table_for(dear)[2]("G8.").verdict == "does not hold; less is forgotten, but final performance falls"
    assert worse("G5.").verdict == "does not hold" and worse("keeps old").verdict == "does not hold" and worse("G9.").verdict == "harms"
    _, _, none = table_for(known(gain=0.0))
    assert none("G9.").verdict.startswith("no difference shown")


def test_what_only_learns_less_keeps_nothing_beyond_the_line():
    units = known(loss=0.4)
    half = units[units.method == "plain"].assign(method="heads_only")      # learns half of the new and loses half of the old
    half = half.assign(after=half.after.where(half["kind"] != "instruction", 1 - (1 - half.after) / 2), own=half.own / 2)
    averaged = units[units.method == "plain"].assign(method="averaging", after=lambda f: f.after + 0.25 * (f["kind"] == "instruction"))
    found = claims._beyond_the_line(pd.concat([units, half, averaged]))
    assert np.allclose(found["heads_only"], 0) and np.allclose(found["averaging"], 0.25) and len(found["guided"]) == 3


def test_only_sourced_values_are_quoted():
    made, _, _ = table_for(known())
    for text in made.paper:
        values = [w.strip("();,") for w in text.split() if any(c.isdigit() for c in w) and not w.startswith(("Llama", "G1", "(Llama", "5-shot", "C1"))]
        assert all(any(q in v or v in q for q in QUOTED) or v in ("2", "8", "1", "table") for v in values), (text, values)
    assert "secondary source" in made[made.claim.str.contains("G5.", regex=False)].paper.iloc[0]


def test_the_vectors_similarity_is_judged_against_both_controls():
    rows, draw = [], np.random.default_rng(1)
    for seed in range(3):
        for task in range(4):
            for at in range(9):
                a = 1 - 0.1 * at + 0.05 * draw.standard_normal()
                rows.append({"seed": seed, "method": "plain", "task": f"t{task}", "stage": "n0", "at": at, "accuracy": a, "distance": draw.random(), "vector": 0.5 + 0.5 * a,
                             "hidden state": draw.random(), "vector from instruction": a, "hidden state of instruction": a})
    points = pd.DataFrame(rows)
    table = frames.correlations(points)
    assert len(table) == 12 and np.allclose(table.vector, 1) and (table.distance.abs() < 0.95).all()
    _, numbers, row = table_for(known(), points=points)
    assert row("G6.").verdict == "holds" and abs(numbers["r_similarity"] - 1) < 1e-9
    swapped = points.rename(columns={"vector": "hidden state", "hidden state": "vector"})
    assert table_for(known(), points=swapped)[2]("G6.").verdict != "holds"
    still = points.assign(accuracy=0.9)
    assert frames.correlations(still).empty and table_for(known(), points=still)[2]("G6.").verdict.startswith("not measured")


def test_recovery_counts_only_tasks_that_were_lost():
    rows = []
    for seed in range(3):
        for task, lost in (("a", 0.5), ("b", 0.6), ("kept", 0.0)):
            for condition, gain in (("old", 0.6 * lost), ("random", 0.0), ("new", 0.1 * lost), ("random of new", 0.1 * lost)):
                rows.append({"seed": seed, "method": "plain", "task": task, "condition": condition, "difference": gain + 0.01 * seed, "lost": lost, "base": 1 - lost,
                             "accuracy": 1 - lost + gain, "n": 20,
                             "layer": 1, "strength": 1.0})
    _, numbers, row = table_for(known(), recovery=pd.DataFrame(rows))
    assert row("G7.").verdict == "holds" and row("G7.").n == "6 units: 3 seeds x 2 tasks" and abs(numbers["recovery_share"] - 0.62) < 0.02
    assert row("taking the new task").verdict != "holds"
    nothing = pd.DataFrame(rows).assign(lost=0.0)
    assert table_for(known(), recovery=nothing)[2]("G7.").verdict.startswith("not measured")


def test_a_random_set_of_heads_overlaps_by_chance():
    draw = np.random.default_rng(0)
    pairs = [(set(draw.choice(32, 10, replace=False)), set(draw.choice(32, 10, replace=False))) for _ in range(20000)]
    assert abs(np.mean([len(a & b) / len(a | b) for a, b in pairs]) - frames._by_chance(10, 32)) < 0.003
