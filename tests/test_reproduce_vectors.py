"""The reproduction of Function Vectors, end to end on a tiny model: resumed, stored, loaded again, drawn; and its
tables on numbers that are known.
"""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import xarray as xr

import lens
from lens import vectors
from lens.reproduce import common, reproduction
from lens.reproduce.common import student
from lens.reproduce.function_vectors import draws, steps
from lens.reproduce.function_vectors import study as paper
from lens.reproduce.function_vectors import tables as frames
from lens.reproduce.function_vectors import told as vector_told
from lens.reproduce.function_vectors import verdicts as vector_claims
from lens.reproduce.function_vectors.arithmetic import Quartet
from tests.models import speaking

OTHER_FORM = vectors.Template("{x} w5", "{y}", " w6", " ", "{instruction} ", "other")
PRESET = paper.Preset(
    None,
    0.0,
    shots=3,
    mean_prompts=4,
    trials=3,
    instruction_trials=3,
    heads=3,
    methods={"atp": 3, "atp*": 3, "ig": 3},
    counts=(1, 3),
    strengths=(1.0, 2.0),
    items=4,
    text_items=3,
    shot_counts=(0, 1, 3),
    draws=3,
    template="bare",
    templates=("bare", OTHER_FORM),
    naive_heads=4,
)


def words(seed, name, n=40):
    xs = random.Random(seed).sample(range(1, 96), n)
    return vectors.Task.from_pairs(
        [(f"w{x}", f"w{(x * 7 + seed) % 96 + 1}") for x in xs],
        name=name,
        instruction="w90 w91",
        texts=("w1 {x} w2", "w3 {x}"),
    )


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
    assert all(f"G{g}." in claims for g in (1, 2, 3, 4)) and len(made.table) == 22
    assert {f.name for f in out.glob("figures/*.png")} == {
        f"{n}.png"
        for n in (
            "head_effects",
            "layers",
            "heads",
            "shots",
            "conditions_zero_shot",
            "conditions_shuffled",
            "conditions_text",
            "conditions_written",
            "templates",
            "sources",
            "estimates",
        )
    }
    assert all(f.stat().st_size > 5000 for f in made.figures)
    loaded = paper.load(out, model=model)
    assert (
        loaded.table.equals(made.table)
        and loaded.fingerprint == made.fingerprint
        and loaded.numbers == made.numbers
        and loaded.tasks == ["one", "two", "three"]
    )
    record = json.loads((out / "reproduction.json").read_text())
    assert (
        record["config"]["preset"]["strengths"] == [1, 2]
        and record["model"]["hash"]
        and set(record["config"]["filter"]) == {"one", "two", "three"}
    )


@pytest.mark.long
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
    monkeypatch.setattr(paper.STUDY, "draw", lambda *a: [])
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
        (tmp_path / f"{name}.json").write_text(
            json.dumps(
                [{"input": f"w{i}", "output": f"w{i + 1}"} for i in range(20)] + [{"input": "w0", "output": "w9"}]
            )
        )
    plan = paper.PRESETS["quick"]
    assert [t.name for t in paper.load_tasks(tmp_path, plan)] == ["present-past"], (
        "the preset's tasks, however their files spell a space"
    )
    assert {t.name for t in paper.load_tasks(tmp_path, paper.PRESETS["full"])} == {"present-past", "antonym"}
    assert [t.name for t in paper.load_tasks(tmp_path / "antonym.json", plan)] == ["antonym"] and len(
        paper.load_tasks("own", plan, limit=2)
    ) == 2
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
        assert set(made.universal(task)) == {
            tuple(map(int, np.unravel_index(i, mean.shape))) for i in np.argsort(-mean.ravel())[:3]
        }


def test_the_report_stands_at_the_cell_that_validation_chose(stored):
    made, _ = stored
    held = made.parts[0, "two"]
    rows = made.report[(made.report.task == "two") & (made.report.condition == "zero_shot")].set_index("vector")
    swept = held["sweep"].sel(condition="zero_shot", vector="own heads")
    best = swept.correct.mean("item").max()
    at = rows.loc["own heads"]
    assert float(swept.correct.mean("item").sel(layer=at.layer, strength=at.strength)) == pytest.approx(float(best))
    assert at.accuracy == pytest.approx(
        float(
            held["test"]
            .correct.sel(condition="zero_shot", vector="own heads", layer=at.layer, strength=at.strength)
            .mean()
        )
    )
    assert at.low <= at.accuracy <= at.high and at.n == 4


# -- tables on numbers that are known
# -----------------------------------------------------------------------------------


def parts(vector=0.8, base=0.1, random=0.1, average=0.3, tasks=8, n=50):
    """Stored steps with given accuracies."""
    names = ["universal heads", "own heads", "layer average", "random vector", "another task's"]
    accuracy = dict(zip(names, (vector, vector, average, random, base)))

    def right(share):
        return (np.arange(n) < round(share * n)).astype("int8")

    rng, made = np.random.default_rng(0), {}
    coords = {"condition": ["zero_shot"], "vector": names, "layer": [3, 6], "strength": [1.0]}
    for t in range(tasks):
        cell = np.stack([right(accuracy[v] + 0.02 * ((t + i) % 3 - 1)) for i, v in enumerate(names)], 1)
        correct = np.stack([0 * cell, cell], -1)[:, None, :, :, None]
        grid = xr.Dataset(
            {
                "correct": (("item", "condition", "vector", "layer", "strength"), correct),
                "mean_logprob": (("condition", "vector", "layer", "strength"), np.zeros((1, 5, 2, 1))),
                "base_correct": (("item", "condition"), right(base)[:, None]),
            },
            coords,
        )
        effect = rng.normal(0, 0.001, (5, 9, 4))
        effect[:, 6, 2] += 0.3
        answers = xr.Dataset(
            {
                "correct": (("condition", "item"), np.stack([right(0.9), right(0.3), right(base)])),
                "first": (("condition", "item"), np.stack([right(0.9)] * 3)),
            },
            {"condition": ["icl", "shuffled", "zero_shot"]},
        )
        made[0, f"task {t}"] = {
            "answers": answers,
            "effects_demonstrations": xr.Dataset(
                {"effect": (("prompt", "layer", "head"), effect)}, {"layer": range(9), "head": range(4)}
            ),
            "sweep": grid,
            "test": xr.concat(
                [grid, grid.assign_coords(condition=["shuffled"])],
                "condition",
                data_vars="minimal",
                coords="minimal",
                compat="override",
            ),
        }
    return made


def verdict_of(table, gate):
    return table[table.claim.str.startswith(gate)].verdict.iloc[0]


def test_gates_follow_from_the_intervals():
    table, numbers = vector_claims.verdicts(parts(), [], depth=9, k=3)
    assert (
        verdict_of(table, "G1") == verdict_of(table, "G2") == "holds"
        and numbers["vector_minus_base"] == pytest.approx(0.7, abs=0.01)
        and numbers["top_head"] == "6.2"
    )
    assert "0.10 to 0.80" in table[table.claim.str.startswith("G1")].here.iloc[0] and "8 tasks, 400 questions" in set(
        table.n
    )
    assert verdict_of(table, "The place") == "does not hold", (
        "at layer 3, a third of the depth, nothing happens in these numbers"
    )
    assert numbers["chosen_minus_third"] == pytest.approx(0.8, abs=0.01)
    table, _ = vector_claims.verdicts(parts(vector=0.12, average=0.5), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold" and verdict_of(table, "G2") == "does not hold"
    table, _ = vector_claims.verdicts(parts(vector=0.35), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold", "an effect of .25 is there, but below the gate"
    table, _ = vector_claims.verdicts(parts(vector=0.8, random=0.75), [], depth=9, k=3)
    assert verdict_of(table, "G1") == "does not hold", "a random vector does nearly the same"


def test_the_interval_over_tasks_is_student_s():
    x = [0.05, 0.31, 0.12, -0.08, 0.22, 0.27]
    found = student([*x, np.nan])
    assert (found.low, found.high) == pytest.approx(
        scipy.stats.t.interval(0.95, 5, np.mean(x), scipy.stats.sem(x))
    ) and found.n == 6
    assert np.isnan([student([0.2] * 6).low, student([0.2] * 6).high]).all(), (
        "tasks that are all alike show nothing of their spread"
    )


def test_one_task_gives_no_interval_and_no_verdict():
    one = student([0.4, np.nan])
    assert one.estimate == 0.4 and np.isnan((one.low, one.high)).all() and one.n == 1 and np.isnan(student([]).estimate)
    table, numbers = vector_claims.verdicts(parts(tasks=1), [], depth=9, k=3)
    assert (
        set(table.verdict) == {"not shown: no interval (too few units, or all alike)"}
        and numbers["vector_minus_base"] > 0.5
        and np.isnan(numbers["vector_minus_base_low"])
    )
    assert {"holds"} < set(vector_claims.verdicts(parts(tasks=2), [], depth=9, k=3)[0].verdict)


@pytest.mark.parametrize(
    "low, high, verdict",
    [
        (-0.04, 0.03, "holds: within 0.05"),
        (0.01, 0.04, "holds: within 0.05"),
        (-0.04, 0.07, "not shown: the interval reaches beyond 0.05"),
        (-0.30, 0.02, "not shown: the interval reaches beyond 0.05"),
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (np.nan, np.nan, "not shown: no interval (too few units, or all alike)"),
    ],
)
def test_equal_is_shown_by_an_interval_within_the_margin(low, high, verdict):
    from lens.stats import Interval

    assert vector_claims.equal(Interval((low + high) / 2, low, high, 0.95, 6, "BCa"), "better", "worse") == verdict


def test_no_difference_seen_is_no_equality_shown():
    held, rng = parts(), np.random.default_rng(3)
    for steps_ in held.values():  # own heads: as good on average, but not task by task
        for name in ("sweep", "test"):
            ds = steps_[name]
            move = rng.normal(0, 0.15)
            own = ds.correct.sel(vector="own heads").copy()
            own[..., 1, 0] = (np.arange(50) < 50 * (0.7 + move))[:, None]
            ds["correct"] = xr.where(ds["vector"] == "own heads", own, ds.correct).transpose(*ds.correct.dims)
    table, numbers = vector_claims.verdicts(held, [], depth=9, k=3)
    assert numbers["own_heads_minus_universal_low"] < -0.05 and verdict_of(table, "One head set").startswith(
        ("not shown", "holds: the heads of other")
    )
    assert verdict_of(vector_claims.verdicts(parts(), [], depth=9, k=3)[0], "One head set") == "holds: within 0.05", (
        "nearly equal on every task"
    )


def counted(accuracies):
    """Steps of which the curve over the number of heads has these accuracies, by task."""
    made = parts(tasks=len(accuracies))
    for steps_, of in zip(made.values(), accuracies):
        right = np.stack([(np.arange(50) < round(50 * a)) for a in of])[:, :, None].repeat(2, 2).astype("int8")
        steps_["curve"] = xr.Dataset(
            {"correct": (("heads", "item", "choice"), right)}, {"heads": [1, 5, 10, 40], "choice": ["top", "random"]}
        )
    return made


@pytest.mark.parametrize(
    "accuracies, verdict",
    [
        ([(0.2, 0.8, 0.8, 0.8), (0.2, 0.5, 0.8, 0.8)] * 3, "holds"),
        ([(0.1, 0.2, 0.3, 0.8)] * 4 + [(0.1, 0.2, 0.8, 0.8)], "does not hold"),
        ([(0.2, 0.8, 0.8, 0.8)] * 3 + [(0.2, 0.4, 0.5, 0.8)] * 2, "not shown: the interval holds 11"),
    ],
)
def test_about_ten_heads_follows_from_an_interval_over_tasks(accuracies, verdict):
    table, numbers = vector_claims.verdicts(counted(accuracies), [], depth=9, k=3)
    assert (
        verdict_of(table, "About ten") == verdict
        and numbers["heads_needed_low"] <= numbers["heads_needed_mean"] <= numbers["heads_needed_high"]
    )


def estimated(shared, seeds, texts=("a", "b")):
    """Steps of which the estimate shares so many of the ten strongest heads with the exact effects, by task, the same
    for all seeds but the first, which shares ten.
    """
    from lens.results.dataset import stamp

    made = {}
    for s in range(seeds):
        for (_, task), steps_ in parts(tasks=len(shared)).items():
            n = 10 if s == 0 else shared[int(task.split()[1])]
            exact, estimate = np.zeros((2, 9, 4)), np.zeros((1, 9, 4))
            exact.reshape(2, -1)[:, :10], estimate.reshape(1, -1)[:, 10 - n : 20 - n] = (
                1 + np.arange(10),
                1 + np.arange(10),
            )

            def of(x, said):
                return stamp(
                    xr.Dataset({"effect": (("prompt", "layer", "head"), x)}, {"layer": range(9), "head": range(4)}),
                    {"kind": "head effects", "texts": said},
                )

            made[s, task] = steps_ | {
                "effects_demonstrations": of(exact, ["a", "b"]),
                "effects_atp": of(estimate, list(texts)),
            }
    return made


def test_seeds_are_averaged_within_a_task_before_any_interval():
    _, one = vector_claims.verdicts(estimated((8, 6, 9, 7), 2), [], depth=9, k=10)
    table, three = vector_claims.verdicts(estimated((8, 6, 9, 7), 9), [], depth=9, k=10)
    by_hand = student([9, 8, 9.5, 8.5])
    assert (one["atp_shared"], one["atp_low"], one["atp_high"]) == (by_hand.estimate, by_hand.low, by_hand.high)
    by_hand = student([(10 + 8 * n) / 9 for n in (8, 6, 9, 7)])
    assert three["atp_low"] == pytest.approx(by_hand.low) and three["atp_high"] == pytest.approx(by_hand.high), (
        "more seeds of the same tasks are no more units"
    )
    assert table[table.claim.str.startswith("G4")].n.iloc[0] == "4 tasks, 9 seeds"


def test_estimates_of_other_prompts_are_refused():
    with pytest.raises(vectors.VectorError, match="different prompts"):
        vector_claims.verdicts(estimated((8, 6, 9), 1, texts=("a", "c")), [], depth=9, k=10)
    for name, plan in paper.PRESETS.items():
        assert all(n == plan.trials for n in plan.methods.values()), name


def test_questions_of_the_composition_are_one_unit_however_many_seeds_ask_them():
    def asked(xs, composed):
        right = np.array([composed, [0] * len(xs), [0] * len(xs), composed, [0] * len(xs)], float)
        return xr.Dataset(
            {
                "correct": (("vector", "item"), right),
                "base_correct": ("item", np.zeros(len(xs))),
                "icl_correct": ("item", np.ones(len(xs))),
            },
            {"vector": ["composed", "only a", "only b", "direct", "random vector"], "x": ("item", list(xs))},
        )

    table, numbers = vector_claims.verdicts(
        parts(), [asked("abcd", [1, 0, 1, 1]), asked("dcba", [1, 0, 0, 1]), asked("abxy", [1, 1, 0, 0])], depth=9, k=3
    )
    unit = student([1, 1 / 3, 0.5, 1, 0, 0])  # a, b, c, d, x, y
    assert numbers["composed_minus_part"] == pytest.approx(unit.estimate) and numbers[
        "composed_minus_part_low"
    ] == pytest.approx(unit.low)
    assert table[table.claim.str.startswith("Vectors add up")].n.iloc[0] == "6 questions, 3 seeds"


def instructed(known):
    """Steps with vectors from the instruction, of which so many of ten prompts were answered, by task."""
    from lens.results.dataset import stamp

    made = parts(tasks=len(known))
    for n, steps_ in zip(known, made.values()):
        steps_["effects_instruction"] = stamp(
            steps_["effects_demonstrations"], {"kind": "head effects", "means": {"known": n, "asked": 10}}
        )
        steps_["sources"] = xr.Dataset({"cosine": 0.3})
        for name in ("sweep", "test"):
            names = [v.replace("another task's", "from instruction") for v in steps_[name]["vector"].values]
            steps_[name] = steps_[name].assign_coords(vector=names)
    return made


def test_vectors_of_instructions_that_are_not_followed_are_not_measured():
    def of(known):
        return vector_claims.verdicts(instructed(known), [], depth=9, k=3)

    table, numbers = of([0, 1, 0, 1])
    assert (
        verdict_of(table, "Instruction text")
        == verdict_of(table, "... and gives a vector")
        == "not measured: the model answers 5 % by instruction"
    )
    assert (
        "2 of 40 prompts with the instruction answered" in table[table.claim.str.startswith("Instruction")].n.iloc[0]
        and numbers["instruction_tasks"] == []
    )
    table, numbers = of([9, 10, 0, 8])
    assert (
        numbers["instruction_tasks"] == ["task 0", "task 1", "task 3"]
        and verdict_of(table, "... and gives a vector") == "does not hold"
    )
    assert verdict_of(table, "Instruction text") == "not shown: no interval (too few units, or all alike)", (
        "all heads are shared in every task: nothing is seen of their spread"
    )
    assert table[table.claim.str.startswith("Instruction")].n.iloc[0].startswith("3 tasks")


def test_draws_of_the_random_control_are_put_together_by_their_mean():
    names = ["universal heads", "random vector 1", "random vector 2", "another task's"]
    ds = xr.Dataset(
        {
            "correct": (("item", "vector"), np.array([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 1]], "int8")),
            "base_correct": ("item", [0, 0, 1]),
        },
        {"vector": names},
    )
    made = draws.averaged(ds)
    assert made["vector"].values.tolist() == [
        "universal heads",
        "random vector",
        "another task's",
    ] and made.base_correct.values.tolist() == [0, 0, 1]
    assert made.correct.sel(vector="random vector").values.tolist() == [0.5, 1, 0] and made.correct.sel(
        vector="another task's"
    ).values.tolist() == [0, 1, 1]
    assert draws.averaged(ds.isel(vector=[0, 3])).equals(ds.isel(vector=[0, 3])) and draws.averaged(
        ds.isel(vector=[1, 2])
    )["vector"].values.tolist() == ["random vector"]
    got = frames.rate([0.5, 1, 0, 0.2])
    assert got["accuracy"] == pytest.approx(0.425) and (got["low"], got["high"]) == (
        frames.rate([1, 1, 0, 0])["low"],
        frames.rate([1, 1, 0, 0])["high"],
    )


def test_a_vector_needs_the_stored_means(model, stored):
    made, _ = stored
    less = replace(
        made, parts={k: {n: ds for n, ds in v.items() if n != "means_demonstrations"} for k, v in made.parts.items()}
    )
    with pytest.raises(vectors.VectorError, match="mean activations were not stored.*same folder"):
        less.vector(model, "one")


def test_every_task_and_seed_has_random_vectors_of_its_own(model, stored):
    made, out = stored

    def record(s, t):
        return lens.results.dataset.provenance(made.parts[s, t]["sweep"])["call"]["vectors"]

    drawn = {v["sha256"] for t in made.tasks for n, v in record(0, t).items() if n.startswith("random vector ")}
    assert len(drawn) == len(made.tasks) * PRESET.draws
    assert not (out / "seed-0" / "one" / "sweep.nc").read_bytes().count(b"w90"), "of the prompts a digest is kept"


def test_the_choice_is_the_best_cell_and_ties_go_to_the_likelier_answer():
    ds = parts()[0, "task 0"]["sweep"]
    assert steps.chosen_cells(ds)["own heads"] == {"layer": 6, "strength": 1.0, "accuracy": pytest.approx(0.80)}
    tied = ds.assign(correct=ds.correct * 0, mean_logprob=ds.mean_logprob - 5.0 * (ds.layer == 6))
    assert steps.chosen_cells(tied)["own heads"]["layer"] == 3


def test_rates_are_clopper_pearson():
    from scipy.stats import binomtest

    got, expected = frames.rate([1] * 7 + [0] * 13 + [np.nan]), binomtest(7, 20).proportion_ci(method="exact")
    assert got == {"accuracy": 0.35, "low": pytest.approx(expected.low), "high": pytest.approx(expected.high), "n": 20}


def test_an_unknown_name_or_preset_is_named(capsys):
    with pytest.raises(ValueError, match="memory-injections, function-vectors"):
        reproduction("nothing")
    assert reproduction("function-vectors") is paper.STUDY
    assert (
        lens.cli.main(["reproduce", "function-vectors", "--preset", "huge"]) == 2
        and "medium" in capsys.readouterr().err
    )


@pytest.mark.long
def test_the_shipped_results_are_whole_and_their_table_follows_from_them(smollm2):
    folder = Path(__file__).parent.parent / "notebooks" / "results" / "function_vectors"
    made, record = paper.load(folder, model=smollm2), json.loads((folder / "reproduction.json").read_text())
    assert made.tasks == record["config"]["tasks"] and len(made.table) >= 16
    for name in ("vector_minus_base", "vector_minus_average", "max_abs_diff", "top_share"):
        assert made.numbers[name] == pytest.approx(record["numbers"][name], abs=1e-9), (
            "the stored numbers follow from the stored steps"
        )


@pytest.mark.long
def test_vectors_of_instructions_on_organisms_that_follow_them():
    from lens.reproduce.function_vectors.told import told

    units, table = told(("organism:symbols",), ("table_4", "pick_first", "last_table_1"), trials=8, prompts=20, draws=2)
    by = units.set_index("task")
    assert (
        (units.known_instruction >= 0.9).all()
        and by.known_demonstrations["pick_first"] < 0.5
        and np.isnan(by.shared["pick_first"])
    )
    assert (
        by.chance["table_4"] == pytest.approx(100 / 32)
        and by.n["table_4"] > 10
        and list(table.columns) == common.COLUMNS
    )
    assert (by.instruction > by["random vector"] + 0.3)[["table_4", "last_table_1"]].all()
    assert table.n.iloc[0] == f"2 tasks, 1 model, {int(units.n.sum())} questions; left out: 1 of 3 tasks x models"
    with pytest.raises(vectors.VectorError, match="no task is answered"):
        told(("organism:symbols",), ("pick_first",), prompts=4)


def test_tasks_of_one_model_are_no_units_where_models_differ():
    """Three models a fifth apart, tasks alike: over tasks alone the interval is short and says nothing of another
    model.
    """
    units = pd.DataFrame(
        [
            {
                "seed": s,
                "task": f"t{t}",
                "shared": 5.0,
                "chance": 3.0,
                "cosine": 0.5,
                "n": 20,
                "no vector": 0.1,
                "demonstrations": 0.6,
                "random vector": 0.1,
                "instruction": 0.6 + 0.2 * (s - 1) + 0.01 * t,
            }
            for s in range(3)
            for t in range(8)
        ]
    )
    table = vector_told._table(units, 10)
    assert (
        table.verdict[2] == "not shown: the interval reaches beyond 0.05"
        and "Student" in vector_told.wider(*[student([0.1, 0.2])] * 2).method
    )
    assert vector_told._table(units[units.seed == 1], 10).verdict[2].startswith("holds")  # of that model it is shown
    one = student([0.1, 0.2, 0.15])
    assert vector_told.wider(one, student([0.3])) is one
