"""Whole sequences: what each method trains, what is measured, resuming, divergence, and what is refused."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import torch

from lens import locks
from lens.forgetting import (
    METHODS,
    ForgettingError,
    Guide,
    Probe,
    Stage,
    accuracy,
    method,
    performance,
    sequential,
    starting_from,
    step_cost,
    summary,
)
from lens.results import dataset as results
from lens.training import LoRA, Recipe, Rows, TrainingError

from ..models import ABOVE, KINDS, tiny
from ..variants import few
from .helpers import guide, logits_of, old_rows, probes, prompts, stages

RECIPE = Recipe(steps=6, batch=8, learning_rate=3e-3)


def run(chosen="plain", **more):
    options = dict(
        recipe=RECIPE, guides={"first": guide(), "second": guide(seed=6)}, old_rows=old_rows(), progress=False
    )
    return sequential(tiny, stages(), probes(), chosen, **(options | more))


def changed(model, start=None):
    before = dict((start or tiny()).named_parameters())
    return {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}


def test_a_prompt_that_is_asked_twice_counts_once():
    asked = prompts(6)
    several = [Probe("a", "instruction", asked), Probe("b", "knowledge", [*asked[:2], *prompts(3, seed=9)])]
    found = sequential(tiny, stages()[:1], several, "plain", recipe=RECIPE, progress=False).result
    labels = found.duplicate.transpose("probe", "prompt").sel(probe=["a", "b"]).values
    assert labels[0, :2].tolist() == labels[1, :2].tolist() and len(set(labels[0])) == 6 and labels[1, 5] == ""
    told, each = (summary(found, cluster=c).sel(metric="general change") for c in ("auto", None))
    assert (
        (told["n"], each["n"]) == (9, 11)
        and told["units"].item().startswith("9 units of 11 prompts, by duplicate")
        and told["mean"] == each["mean"]
    )
    assert "duplicate" not in run().result.coords


@pytest.mark.parametrize(
    ("name", "lora"),
    few(
        itertools.product(METHODS, (None, LoRA(rank=2))),
        lambda case: case[1] is None or case[0] in ("plain", "guided", "ewc"),
    ),
)
def test_every_method_trains_what_it_should(name, lora):
    found = run(name, lora=lora)
    model, moved = found.model, changed(found.model)
    assert found.status == "complete" and len(found.losses) == 12 and np.isfinite(found.losses.total).all()
    assert set(found.losses.columns) - {"stage", "step", "lm", "total", "learning_rate", "gradient_norm"} == {
        "guided": {"heads", "kl"},
        "guided_released": {"kl_last", "kl_all", "heads"},
        "progressive_kl": {"kl"},
        "kl_start": {"kl"},
        "kl_random": {"kl"},
        "heads_only": {"heads"},
        "l2sp": {"penalty"},
        "ewc": {"penalty"},
    }.get(name, set())
    every = {n for n, _ in model.named_parameters()}
    if lora:
        allowed = {n for n in every if n.split(".")[-2] in ("q_proj", "v_proj")}
    else:
        allowed = every
    if name == "freeze_bottom":
        allowed = {n for n in allowed if not n.startswith(("model.embed", "model.layers.0."))}
    if name == "attention_only":
        allowed = {n for n in allowed if ".self_attn." in n}
    assert moved == allowed
    assert (
        not model.training
        and not any(p.requires_grad for p in model.parameters())
        and not hasattr(model, "peft_config")
    )
    assert found.result.accuracy.sel(step=[0, 6]).notnull().all() and performance(found.result).keys() == {
        "AP",
        "FP",
        "forget",
    }
    assert METHODS[name].does.endswith(".") and METHODS[name].source


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_block_types_that_are_not_llamas_train_too(kind):
    def still():
        model = tiny(kind)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):  # GPT-2's own default is 0.1
                module.p = 0.0
        return model

    found = sequential(
        still,
        stages()[:1],
        probes(),
        "guided",
        recipe=dataclasses.replace(RECIPE, steps=2),
        guides={"first": guide()},
        progress=False,
    )
    assert (
        found.status == "complete"
        and found.losses.heads[1] > found.losses.heads[0]
        and changed(found.model, tiny(kind))
    )


def test_averaging_and_replay_do_what_they_say():
    assert not changed(run(method("averaging", ratio=1.0)).model)
    plain, half = run().model, run(method("averaging", ratio=0.5, to="stage"), recipe=RECIPE)
    one = sequential(tiny, stages()[:1], probes(), "plain", recipe=RECIPE, progress=False).model
    mean = sequential(
        tiny, stages()[:1], probes(), method("averaging", ratio=0.25), recipe=RECIPE, progress=False
    ).model
    for (n, a), b, c in zip(one.named_parameters(), mean.parameters(), tiny().parameters()):
        assert torch.allclose(b, 0.75 * a + 0.25 * c, atol=1e-6), n
    assert changed(half.model, plain)
    some = run(method("replay", share=0.2))
    assert some.notes == [
        {"replayed_rows": 5, "replay_pool": 12, "seconds": some.notes[0]["seconds"]},
        {"replayed_rows": 5, "replay_pool": 12, "seconds": some.notes[1]["seconds"]},
    ]
    assert run(method("replay", share=0.2, earlier=True)).notes[1]["replay_pool"] == 12 + 20


def test_training_learns_its_rows_and_the_result_says_so():
    found = run(
        recipe=Recipe(steps=60, batch=20, learning_rate=3e-3),
        evaluate_at=(10, 999),
        watch={"norm": lambda m: m.model.norm.weight},
    )
    ds = found.result
    assert (
        ds.step.values.tolist() == [0, 10, 60]
        and ds.accuracy.dims == ("stage", "step", "probe")
        and ds.kind.values.tolist() == ["instruction", "knowledge", "new", "new"]
    )
    assert (
        float(ds.accuracy.sel(stage="first", step=60, probe="first")) == 1.0
        and float(ds.accuracy.sel(stage="first", step=0, probe="first")) == 0.0
    )
    assert ds.accuracy.sel(stage="second", step=0).equals(
        ds.accuracy.sel(stage="first", step=60).assign_coords(stage="second", step=0)
    )
    assert np.isnan(ds.correct.sel(probe="fact").values[..., 5]).all() and ds.n.values.tolist() == [6, 5, 4, 4]
    last = [accuracy(found.model, p).mean() for p in (*probes(), *(Probe(s.name, "new", s.prompts) for s in stages()))]
    assert ds.accuracy.sel(stage="second", step=60).values.tolist() == pytest.approx(last)
    assert found.watched["norm"].shape == (2, 3, 32) and np.array_equal(
        found.watched["norm"][0, 0], tiny().model.norm.weight.numpy()
    )
    assert np.array_equal(found.watched["norm"][1, 2], found.model.model.norm.weight.detach().numpy())
    record = results.provenance(ds)
    assert (
        record["call"]["method"] == "plain"
        and record["call"]["recipe"][0]["steps"] == 60
        and record["status"] == "complete"
    )
    assert summary(ds)["mean"].sel(metric="AP") == performance(ds)["AP"]


def test_seeds_decide_and_methods_share_the_order():
    a, b, c = run(seed=1), run(seed=1), run(seed=2)
    assert a.losses.equals(b.losses) and not a.losses.lm.equals(c.losses.lm)
    assert run("heads_only", seed=1).losses.lm[0] == a.losses.lm[0]


def test_accuracy_is_greedy_decoding():
    model, some = tiny(), []
    for i, (ids, _) in enumerate(prompts(12, 8)):
        text = list(ids)
        for _ in range(1 + i % 3):
            text.append(int(logits_of(model, text)[-1].argmax()))
        answer = text[len(ids) :]
        if i % 4 == 0:
            answer[-1] = (answer[-1] + 1) % 97
        some.append((ids, answer))
    model.train()
    for batch in (1, 5, 64):
        assert accuracy(model, Probe("p", "in_context", some), batch=batch).tolist() == [i % 4 != 0 for i in range(12)]
    assert model.training


class Killed(Exception):
    pass


@pytest.mark.parametrize(
    "name, lora", few([("guided", None), ("ewc", LoRA(rank=2)), ("replay", None)], lambda case: case[0] != "replay")
)
def test_a_killed_sequence_goes_on_to_the_same_bits(tmp_path, name, lora):
    recipe, calls = dataclasses.replace(RECIPE, checkpoint_every=2), []

    def once(deadly):
        def look(model):
            calls.append(1)
            if deadly and len(calls) == 6:  # second stage, step 5: the last checkpoint is that of step 4
                raise Killed
            return torch.zeros(1)

        return look

    whole = run(name, lora=lora, recipe=recipe, evaluate_at=(1, 5), watch={"look": once(False)})
    calls.clear()
    with pytest.raises(Killed):
        run(name, lora=lora, recipe=recipe, evaluate_at=(1, 5), watch={"look": once(True)}, folder=tmp_path / "run")
    assert (tmp_path / "run" / "stage-0" / "done.json").is_file() and not (
        tmp_path / "run" / "stage-1" / "done.json"
    ).exists()
    calls.clear()
    resumed = run(
        name, lora=lora, recipe=recipe, evaluate_at=(1, 5), watch={"look": once(False)}, folder=tmp_path / "run"
    )
    assert len(calls) == 2  # step 5 and the end of the second stage; nothing else is done again
    assert resumed.losses.equals(whole.losses)
    assert not changed(resumed.model, whole.model)
    assert resumed.result.correct.equals(whole.result.correct)
    again = run(name, lora=lora, recipe=recipe, evaluate_at=(1, 5), watch={"look": once(True)}, folder=tmp_path / "run")
    assert (
        len(calls) == 2
        and again.losses.equals(whole.losses)
        and not changed(again.model, whole.model)
        and again.result.correct.equals(whole.result.correct)
    )
    assert (
        not list((tmp_path / "run").glob("stage-*/train/*"))
        and not (tmp_path / "run" / "stage-0" / "weights.safetensors").exists()
    )


def test_a_folder_of_another_experiment_is_refused(tmp_path):
    run(folder=tmp_path / "run", save_weights=True)
    assert (tmp_path / "run" / "stage-0" / "weights.safetensors").exists()
    with pytest.raises(ForgettingError, match="another experiment .*learning_rate: 0.003 there, 0.01 here"):
        run(folder=tmp_path / "run", recipe=dataclasses.replace(RECIPE, learning_rate=0.01))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(ForgettingError, match="not empty and holds no sequence"):
        run(folder=tmp_path / "other")


@pytest.mark.filterwarnings("ignore:training diverged")
@pytest.mark.parametrize("lora", [None, LoRA(rank=2)])
def test_a_diverging_stage_stops_in_its_last_good_state(lora):
    found = run(recipe=[RECIPE, dataclasses.replace(RECIPE, learning_rate=1e38, clip=0.0)], lora=lora)
    assert found.status == "diverged" and "stage 'second' diverged" in found.about
    record = results.provenance(found.result)
    assert record["status"] == "partial" and record["outcome"] == "diverged" and record["about"] == found.about
    assert all(torch.isfinite(p).all() for p in found.model.parameters()) and not found.model.training
    assert (
        found.result.accuracy.sel(stage="first").notnull().all()
        and found.result.accuracy.sel(stage="second", step=6).isnull().all()
    )
    first = sequential(tiny, stages()[:1], probes(), recipe=RECIPE, lora=lora, progress=False).model
    assert not changed(found.model, first)


def test_a_stopped_sequence_goes_on(tmp_path):
    asked = []
    stopped = run(folder=tmp_path / "run", stop=lambda: len(asked) >= 8 or asked.append(1))
    assert stopped.status == "stopped" and results.provenance(stopped.result)["status"] == "partial"
    assert run(folder=tmp_path / "run").losses.equals(run().losses)


def test_bad_input_is_refused_with_what_to_do():
    good = dict(recipe=RECIPE, progress=False)
    for said, call in {
        "method='magic' is not known": lambda: run("magic"),
        "method 'guided' has no option 'a3'": lambda: method("guided", a3=1),
        "d_model 64, this model 32": lambda: run(
            "guided", guides={"first": Guide(torch.ones(64), 1, ((0, 0),)), "second": guide()}
        ),
        "guides lacks 'second'": lambda: run("guided", guides={"first": guide()}),
        "guides: 'third' is no stage": lambda: run(guides={"third": guide()}),
        "none are given; name the heads": lambda: run("guided", guides={"first": guide(heads=()), "second": guide()}),
        "old_rows is None": lambda: run("replay", old_rows=None),
        "stages=\\[\\]": lambda: sequential(tiny, [], probes(), **good),
        "it has no rows": lambda: Stage.of("empty", []),
        "prompt 1 has 2 tokens and an answer of 0": lambda: Probe("p", "instruction", [([1, 2], [3]), ([1, 2], [])]),
        "it has no prompts": lambda: Probe("p", "instruction", []),
        "kind='mood' is not known": lambda: Probe("p", "mood", prompts(2)),
        "the name 'first' is given twice": lambda: sequential(
            tiny, stages(), [Probe("first", "new", prompts(2))], **good
        ),
        "probes=\\[\\]": lambda: sequential(tiny, [Stage.of("a", prompts(4))], [], **good),
        "recipe holds 1 recipes for 2 stages": lambda: run(recipe=[RECIPE]),
        "nothing is left to train": lambda: run("attention_only", lora=LoRA(targets=("up_proj",))),
        "expected the plain Hugging Face model": lambda: sequential(
            lambda: LoRA().put_on(tiny(), 0), stages(), probes(), **good
        ),
        "share=1.5": lambda: run(method("replay", share=1.5)),
        "ratio=2": lambda: run(method("averaging", ratio=2)),
        "until=0.0": lambda: run(method("progressive", until=0)),
    }.items():
        with pytest.raises(ForgettingError, match=said):
            call()
    with pytest.raises(TrainingError, match="name no layer of this model"):
        run(lora=LoRA(targets=("query",)))
    with pytest.raises(TrainingError, match="has no token that counts"):
        Rows(torch.ones(1, 3, dtype=torch.long), torch.zeros(1, 3, dtype=torch.bool), torch.tensor([3]))


def test_the_cost_of_a_step_is_measured_and_leaves_the_model_alone():
    model = tiny()
    found = step_cost(model, Rows.of(prompts(16)), "guided", guide=guide(), steps=2, repeats=3)
    assert (
        len(found["ratios"]) == 3
        and found["ratio"] == pytest.approx(np.median(found["ratios"]), abs=1e-3)
        and found["plain"] > 0
    )
    assert found["notes"]["teacher_mb"] > 0 and not changed(model)


def test_a_record_can_be_read_as_json():
    assert json.loads(run().result.attrs["mnemoscope"])["kind"] == "forgetting"


def test_a_hub_name_is_let_through_and_the_folder_named_where_it_cannot_be_reached(monkeypatch):
    from transformers import AutoConfig, AutoModelForCausalLM

    asked = {}

    def read(what):
        return classmethod(
            lambda cls, name, **options: (
                asked.setdefault(what, (name, options))
                and (tiny() if what == "config" else (tiny(), {"missing_keys": []}))
            )
        )

    monkeypatch.setattr(AutoConfig, "from_pretrained", read("config"))
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", read("weights"))
    model = starting_from("EleutherAI/gpt-j-6b")()
    assert asked["weights"][0] == "EleutherAI/gpt-j-6b" and not any(p.requires_grad for p in model.parameters())
    options = asked["weights"][1]
    assert (
        options["use_safetensors"] is True
        and options["trust_remote_code"] is False
        and options["local_files_only"] is False
        and options["dtype"] is torch.float32
    )

    def offline(cls, name, **options):
        raise OSError("We couldn't connect to the hub")

    monkeypatch.setattr(AutoConfig, "from_pretrained", classmethod(offline))
    with pytest.raises(
        ForgettingError, match="name='EleutherAI/gpt-j-6b'.*couldn't connect.*to a folder and give that"
    ):
        starting_from("EleutherAI/gpt-j-6b")
    monkeypatch.undo()
    start = starting_from("organism:symbols")
    assert start() is not start() and not start().training


def test_how_often_checkpoints_are_written_is_no_other_experiment(tmp_path):
    first = run(recipe=RECIPE, folder=tmp_path)
    again = run(recipe=dataclasses.replace(RECIPE, checkpoint_every=2), folder=tmp_path)
    assert again.result.correct.equals(first.result.correct) and again.losses.equals(first.losses)


def test_a_sequence_in_a_folder_that_another_is_at_work_in_is_told_so(tmp_path):
    alone = run(folder=tmp_path / "alone")
    with (
        locks.at_work(tmp_path / "run", "a sequence of trainings"),
        pytest.raises(locks.Busy, match="in use by a sequence of trainings of process"),
    ):
        run(folder=tmp_path / "run")
    found = run(folder=tmp_path / "run")
    assert found.status == "complete" and np.array_equal(found.losses.total, alone.losses.total)
    assert not [p for p in (tmp_path / "run").rglob(".*")]
