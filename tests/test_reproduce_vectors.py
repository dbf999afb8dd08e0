"""The reproduction of Function Vectors, end to end on a tiny model: resumed, stored, loaded again, drawn; and its tables on numbers that are known."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lens
from lens import vectors
from lens.reproduce import common, function_vectors as paper, reproduction, vector_claims, vector_frames as frames, vector_steps as steps
from lens.reproduce.vector_arithmetic import Quartet
from tests.models import speaking

OTHER_FORM = vectors.Template("{x} w5", "{y}", " w6", " ", "{instruction} ", "other")
PRESET = paper.Preset(None, 0.0, shots=3, mean_prompts=4, trials=3, instruction_trials=3, heads=3, methods={"atp": 3, "atp*": 2, "ig": 2}, counts=(1, 3), strengths=(1.0, 2.0),
                      items=4,
                      text_items=3, template="bare", templates=("bare", OTHER_FORM), naive_heads=4)


def words(seed, name, n=40):
    xs = random.Random(seed).sample(range(1, 96), n)
    return vectors.Task.from_pairs([(f"w{x}", f"w{(x * 7 + seed) % 96 + 1}") for x in xs], name=name, instruction="w90 w91", texts=("w1 {x} w2", "w3 {x}"))


TASKS = [words(1, "one"), words(2, "two"), words(3, "three")]


def quartet(seed):
    return Quartet(*(words(i, f"part {i}") for i in (5, 6, 7, 8)))


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def stored(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("function-vectors")
    return paper.run(model, data=TASKS, preset=PRESET, out=out, progress=False, quartet=quartet), out


def test_a_run_is_stored_and_loaded_with_the_same_table(model, stored):
    made, out = stored
    assert list(made.table.columns) == common.COLUMNS and made.table.notna().all().all()
    claims = " ".join(made.table.claim)
    assert all(f"G{g}." in claims for g in (1, 2, 3, 4)) and len(made.table) == 20
    assert {f.name for f in out.glob("figures/*.png")} == {f"{n}.png" for n in ("head_effects", "layers", "heads", "conditions_zero_shot", "conditions_shuffled", "conditions_text",
                                                                                "templates",
                                                                                "sources", "estimates")}
    assert all(f.stat().st_size > 5000 for f in made.figures)
    loaded = paper.load(out, model=model)
    assert loaded.table.equals(made.table) and loaded.fingerprint == made.fingerprint and loaded.numbers == made.numbers and loaded.tasks == ["one", "two", "three"]
    record = json.loads((out / "reproduction.json").read_text())
    assert record["config"]["preset"]["strengths"] == [1, 2] and record["model"]["hash"] and set(record["config"]["filter"]) == {"one", "two", "three"}


def test_a_killed_run_goes_on_where_it_was(model, stored, tmp_path, monkeypatch):
    made, _ = stored
    whole, calls = vectors.evaluate, []

    def cut(model, task, *args, **options):
        calls.append(task.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(model, task, *args, **options)
    monkeypatch.setattr(vectors, "evaluate", cut)
    with pytest.raises(KeyboardInterrupt):
        paper.run(model, data=TASKS, preset=PRESET, out=tmp_path / "out", progress=False, quartet=quartet)
    done = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.nc")}
    assert 10 < len(done) < 40
    monkeypatch.setattr(vectors, "evaluate", whole)
    monkeypatch.setattr(vectors, "head_effects", lambda *a, **k: pytest.fail("the effects are there already"))
    again = paper.run(model, data=TASKS, preset=PRESET, out=tmp_path / "out", progress=False, quartet=quartet)
    assert all(p.stat().st_mtime_ns == t for p, t in done.items())
    assert again.fingerprint == made.fingerprint and again.table.equals(made.table)


def test_another_configuration_or_model_is_refused(model, stored):
    _, out = stored
    with pytest.raises(lens.ResultError, match="seed: 0 there, 1 asked"):
        paper.run(model, data=TASKS, preset=PRESET, out=out, seed=1, progress=False, quartet=quartet)
    with pytest.raises(vectors.VectorError, match="other weights"):
        paper.load(out, model=speaking("llama", seed=5))
    with pytest.raises(vectors.VectorError, match="no reproduction.*function-vectors"):
        paper.load(out / "seed-0")


def test_what_is_not_answered_is_left_out_and_nothing_usable_is_an_error(model):
    with pytest.raises(vectors.VectorError, match="none is answered in 90 %.*other tasks"):
        paper.run(model, data=TASKS[:1], preset=replace(PRESET, usable=0.9), progress=False)
    assert steps.need_tasks({"a": 0.2, "b": 0.5, "c": 0.9}, 0.5) == ["b", "c"]


def test_tasks_come_from_a_folder_in_the_published_format(tmp_path):
    for name in ("present-past", "antonym"):
        (tmp_path / f"{name}.json").write_text(json.dumps([{"input": f"w{i}", "output": f"w{i + 1}"} for i in range(20)] + [{"input": "w0", "output": "w9"}]))
    plan = paper.PRESETS["quick"]
    assert [t.name for t in paper.load_tasks(tmp_path, plan)] == ["present-past"], "the preset's tasks, however their files spell a space"
    assert {t.name for t in paper.load_tasks(tmp_path, paper.PRESETS["full"])} == {"present-past", "antonym"}
    assert [t.name for t in paper.load_tasks(tmp_path / "antonym.json", plan)] == ["antonym"] and len(paper.load_tasks("own", plan, limit=2)) == 2
    (tmp_path / "nothing").mkdir()
    with pytest.raises(vectors.VectorError, match="no .json file"):
        paper.load_tasks(tmp_path / "nothing", plan)


def test_the_walk_of_the_reproduction_is_that_of_hooked_forwards(stored):
    for held in stored[0].parts.values():
        ds = held["against_hooks"]
        assert np.allclose(ds.walk, ds.hooked, atol=1e-6) and np.abs(ds.hooked).max() > 1e-4


def test_the_universal_set_leaves_the_task_out(model, stored):
    made, _ = stored
    effects = made.effects()
    for task in made.tasks:
        mean = np.mean([effects[t].effect.values for t in made.tasks if t != task], 0)
        assert set(made.universal(task)) == {tuple(map(int, np.unravel_index(i, mean.shape))) for i in np.argsort(-mean.ravel())[:3]}


def test_the_report_stands_at_the_cell_that_validation_chose(stored):
    made, _ = stored
    held = made.parts[0, "two"]
    rows = made.report[(made.report.task == "two") & (made.report.condition == "zero_shot")].set_index("vector")
    swept = held["sweep"].sel(condition="zero_shot", vector="own heads")
    best = swept.correct.mean("item").max()
    at = rows.loc["own heads"]
    assert float(swept.correct.mean("item").sel(layer=at.layer, strength=at.strength)) == pytest.approx(float(best))
    assert at.accuracy == pytest.approx(float(held["test"].correct.sel(condition="zero_shot", vector="own heads", layer=at.layer, strength=at.strength).mean()))
    assert at.low <= at.accuracy <= at.high and at.n == 4


# -- tables on numbers that are known -----------------------------------------------------------------------------------

def parts(vector=0.8, base=0.1, random=0.1, average=0.3, tasks=8, n=50):
    """Stored steps with given accuracies."""
    names = ["universal heads", "own heads", "layer average", "random vector", "another task's"]
    accuracy = dict(zip(names, (vector, vector, average, random, base)))
    right = lambda share: (np.arange(n) < round(share * n)).astype("int8")
    rng, made = np.random.default_rng(0), {}
    coords = {"condition": ["zero_shot"], "vector": names, "layer": [3, 6], "strength": [1.0]}
    for t in range(tasks):
        move = 0.02 * (t % 3 - 1)
        cell = np.stack([right(accuracy[v] + move) for v in names], 1)
        correct = np.stack([0 * cell, cell], -1)[:, None, :, :, None]
        grid = xr.Dataset({"correct": (("item", "condition", "vector", "layer", "strength"), correct),
                           "mean_logprob": (("condition", "vector", "layer", "strength"), np.zeros((1, 5, 2, 1))),
                           "base_correct": (("item", "condition"), right(base)[:, None])}, coords)
        effect = rng.normal(0, 0.001, (5, 9, 4))
        effect[:, 6, 2] += 0.3
        answers = xr.Dataset({"correct": (("condition", "item"), np.stack([right(0.9), right(0.3), right(base)])), "first": (("condition", "item"), np.stack([right(0.9)] * 3))},
                             {"condition": ["icl", "shuffled", "zero_shot"]})
        made[0, f"task {t}"] = {"answers": answers, "effects_demonstrations": xr.Dataset({"effect": (("prompt", "layer", "head"), effect)}, {"layer": range(9), "head": range(4)}),
                                "sweep": grid,
                                "test": xr.concat([grid, grid.assign_coords(condition=["shuffled"])], "condition", data_vars="minimal", coords="minimal", compat="override")}
    return made


def verdict_of(table, gate):
    return table[table.claim.str.startswith(gate)].verdict.iloc[0]


def test_gates_follow_from_the_intervals():
    table, numbers = vector_claims.verdicts(parts(), [], depth=9, k=3)
    assert verdict_of(table, "G1") == verdict_of(table, "G2") == "holds" and numbers["vector_minus_base"] == pytest.approx(0.7, abs=0.01) and numbers["top_head"] == "6.2"
    assert "0.10 to 0.80" in table[table.claim.str.startswith("G1")].here.iloc[0] and "8 tasks, 400 questions" in set(table.n)
    assert verdict_of(table, "The place") == "does not hold", "at layer 3, a third of the depth, nothing happens in these numbers"
    assert numbers["chosen_minus_third"] == pytest.approx(0.8, abs=0.01)
    table, _ = vector_claims.verdicts(parts(vector=0.12, average=0.5), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold" and verdict_of(table, "G2") == "does not hold"
    table, _ = vector_claims.verdicts(parts(vector=0.35), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold", "an effect of .25 is there, but below the gate"
    table, _ = vector_claims.verdicts(parts(vector=0.8, random=0.75), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold", "a random vector does nearly the same"


def test_the_choice_is_the_best_cell_and_ties_go_to_the_likelier_answer():
    ds = parts()[0, "task 0"]["sweep"]
    assert steps.chosen_cells(ds)["own heads"] == {"layer": 6, "strength": 1.0, "accuracy": pytest.approx(0.78)}
    tied = ds.assign(correct=ds.correct * 0, mean_logprob=ds.mean_logprob - 5.0 * (ds.layer == 6))
    assert steps.chosen_cells(tied)["own heads"]["layer"] == 3


def test_rates_are_clopper_pearson():
    from scipy.stats import binomtest

    got, expected = frames.rate([1] * 7 + [0] * 13 + [np.nan]), binomtest(7, 20).proportion_ci(method="exact")
    assert got == {"accuracy": 0.35, "low": pytest.approx(expected.low), "high": pytest.approx(expected.high), "n": 20}


def test_an_unknown_name_or_preset_is_named(capsys):
    with pytest.raises(ValueError, match="memory-injections, function-vectors"):
        reproduction("nothing")
    assert reproduction("function-vectors") is paper
    assert lens.cli.main(["reproduce", "function-vectors", "--preset", "huge"]) == 2 and "medium" in capsys.readouterr().err


def test_the_shipped_results_are_whole_and_their_table_follows_from_them(smollm2):
    folder = Path(__file__).parent.parent / "notebooks" / "results" / "function_vectors"
    made, record = paper.load(folder, model=smollm2), json.loads((folder / "reproduction.json").read_text())
    assert made.tasks == record["config"]["tasks"] and len(made.table) >= 16
    for name in ("vector_minus_base", "vector_minus_average", "max_abs_diff", "top_share"):
        assert made.numbers[name] == pytest.approx(record["numbers"][name], abs=1e-9), "the stored numbers follow from the stored steps"
