"""Independent jobs on workers give what they give here: on a stand-in for Ray."""

import functools
import threading

import numpy as np
import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

import xarray as xr

import lens
from lens.cluster import connection, run_jobs
from lens.cluster.weights import SharedWeights, mapped
from lens.models.state import identity
from lens.organisms.seeds import train_all
from lens.organisms.symbols import training as symbols
from lens.organisms.symbols.recipe import Recipe
from lens.reproduce.common import Steps
from lens.results.dataset import stamp
from tests.cluster.test_sweeps import PAIRS, ray, same  # noqa: F401
from tests.models import speaking


def square(n, folder=None):
    if folder is not None:
        (folder / f"{n}").touch()
    return n * n


def test_jobs_come_back_with_their_numbers_and_a_dead_worker_costs_its_own(ray, tmp_path):  # noqa: F811
    jobs = [(f"it squared {n}", functools.partial(square, n, tmp_path)) for n in range(7)]
    ray.die = lambda actor, method, number: method == "do" and number == 5
    assert dict(run_jobs(jobs, "ray")) == dict(run_jobs(jobs)) == {n: n * n for n in range(7)}
    assert len(ray.actors) == 3 and ray.log[-1] == ("shutdown",)
    ray.die = lambda actor, method, number: method == "do"
    with pytest.raises(lens.Error, match="the worker died 3 times while it squared 0"):
        dict(run_jobs(jobs, "ray", 1))
    ray.die = lambda *_: False
    with pytest.raises(ZeroDivisionError):
        dict(run_jobs([("it divided", lambda: 1 / 0)], "ray"))
    held = threading.Lock()
    with pytest.raises(lens.Error, match="it locked cannot be sent to workers"):
        dict(run_jobs([("it locked", lambda: held.acquire())], "ray"))
    assert dict(run_jobs([], "ray")) == {}


def test_jobs_and_sweeps_share_workers_that_stay(ray):  # noqa: F811
    with lens.cluster.Ray(workers=2) as stays:
        assert dict(run_jobs([("it squared 3", functools.partial(square, 3))], stays)) == {0: 9}
        model = speaking()
        assert same(lens.patch(model, PAIRS, progress=False), lens.patch(model, PAIRS, progress=False, backend=stays))
        before = len(ray.actors)
        assert dict(run_jobs([("it squared 4", functools.partial(square, 4))], stays)) == {0: 16}
        assert len(ray.actors) == before


def test_seeds_that_are_trained_on_workers_have_the_same_weights(ray, tmp_path):  # noqa: F811
    recipes = [Recipe(seed=seed, layers=2, d_model=32, heads=4, d_mlp=64) for seed in (0, 1)]
    here = train_all(symbols.train, recipes, steps=3, progress=False)
    there = train_all(symbols.train, recipes, steps=3, progress=False, backend="ray", folder=tmp_path)
    hashes = [lens.models.weight_hash(model) for model, _ in here]
    assert hashes == [lens.models.weight_hash(model) for model, _ in there] and len(set(hashes)) == 2
    assert [t.losses.to_numpy().tobytes() for _, t in here] == [t.losses.to_numpy().tobytes() for _, t in there]


def test_steps_of_a_study_are_made_on_workers_and_kept(ray, tmp_path):  # noqa: F811
    made = []

    def step(number):
        draw = np.random.default_rng(number).normal(size=5)
        record = {"schema": 1, "status": "complete", "kind": "step", "call": {"number": number}}
        made.append(number)
        return stamp(xr.Dataset({"x": ("n", draw)}), record)

    makers = {f"part-{n}": functools.partial(step, n) for n in range(4)}
    here = Steps(tmp_path / "here", {"seed": 0}).all(makers)
    there = Steps(tmp_path / "there", {"seed": 0})
    there.kept("part-2", makers["part-2"])
    found = there.all(makers, backend="ray")
    assert [ds.x.values.tobytes() for ds in here] == [ds.x.values.tobytes() for ds in found] and ray.actors
    assert sorted(p.name for p in (tmp_path / "there").glob("*.nc")) == [f"part-{n}.nc" for n in range(4)]
    actors = len(ray.actors)
    Steps(tmp_path / "there", {"seed": 0}).all(makers, backend="ray")
    assert len(ray.actors) == actors


@pytest.mark.parametrize("kind", ["tied", "gemma", "gpt2"])
def test_a_model_that_is_mapped_is_the_model(kind, tmp_path, monkeypatch):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM

    from lens.cluster.transfer import packed_model, unpacked_model

    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path))
    torch.manual_seed(0)
    size = dict(vocab_size=97, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4)
    made = {
        "tied": lambda: LlamaForCausalLM(LlamaConfig(**size, num_key_value_heads=2, tie_word_embeddings=True)),
        "gemma": lambda: Gemma3ForCausalLM(
            Gemma3TextConfig(**size, num_key_value_heads=2, head_dim=8, sliding_window=4)
        ),
        "gpt2": lambda: speaking("gpt2"),
    }[kind]
    model = made().eval().requires_grad_(False)
    content, weights = packed_model(model)
    shared = SharedWeights(weights)
    again = unpacked_model(content, mapped(shared.path, len(weights)))
    shared.close()
    ids = torch.arange(1, 13)[None]
    assert torch.equal(model(ids).logits, again(ids).logits)
    assert lens.models.weight_hash(model) == lens.models.weight_hash(again)
    assert identity(model).digest == identity(again).digest
    embedding, head = again.get_input_embeddings().weight, again.get_output_embeddings().weight
    assert embedding is head and embedding.data_ptr() % 64 == 0
    with torch.no_grad():  # a worker's edit is its own
        embedding.mul_(2)
    assert not torch.equal(model(ids).logits, again(ids).logits)


def test_weights_that_cannot_be_written_or_are_nowhere_are_refused(tmp_path, monkeypatch):
    from lens.cluster.transfer import packed_model

    (tmp_path / "file").touch()
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(lens.Error, match="cannot be written to .*MNEMOSCOPE_CACHE"):
        SharedWeights([torch.zeros(8)])
    model = speaking()
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.to("meta"))
    with pytest.raises(lens.Error, match="not in memory .they are on 'meta'"):
        packed_model(model)


def test_gpus_are_asked_for_one_actor_each_or_several_for_one(ray, monkeypatch):  # noqa: F811
    ray.resources = {"CPU": 8.0, "GPU": 2.0, "memory": 2.0**31}
    asked, remote = [], ray.remote
    monkeypatch.setattr(ray, "remote", lambda **options: asked.append(options) or remote(**options))
    model = speaking()
    whole = lens.patch(model, PAIRS, progress=False)
    for gpus in (1.0, 0.5):
        assert same(whole, lens.patch(model, PAIRS, progress=False, backend=lens.cluster.Ray(2, num_gpus=gpus)))
        assert [o["num_gpus"] for o in asked[-2:]] == [gpus, gpus]
    with pytest.raises(lens.Error, match="workers=2: .*2 workers of 1 CPU and 2 GPUs each.*room for 0 of them"):
        ray.free = {"CPU": 8.0, "GPU": 1.0}
        lens.patch(model, PAIRS, progress=False, backend=lens.cluster.Ray(2, num_gpus=2))
    one = lens.cluster.Ray(1, num_gpus=2, device_map={"": "cpu"})
    assert same(whole, lens.patch(model, PAIRS, progress=False, backend=one))
    for bad in (0, -1, "many"):
        with pytest.raises(lens.Error, match="num_gpus"):
            lens.cluster.Ray(2, num_gpus=bad)
    with pytest.raises(lens.Error, match="device_map='everywhere'"):
        lens.cluster.Ray(2, device_map="everywhere")
    assert connection.engine() is ray
