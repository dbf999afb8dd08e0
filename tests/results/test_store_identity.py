"""A store belongs to one model as it was and one metric as it was: everything else is refused, or adopted on a person's
word.
"""

import functools
import json

import pytest
import torch
import zarr
from peft import LoraConfig, inject_adapter_in_model
from torch.nn.utils import prune

import lens
from lens.results.dataset import fingerprint
from lens.results.identity import identity_of
from lens.results.saving import STORE_MARK
from tests.models import speaking, tiny, word_tokenizer

PAIRS = [lens.Pair("w5 w9 w13 w17 w21", corrupted="w5 w9 w30 w17 w21", answer=" w11", foil=" w23")]
TARGET = 11


def sweep(model, store=None, metric="logit_diff"):
    return lens.patch(model, PAIRS, "resid_pre", metric=metric, progress=False, store=store)


def adapted():
    torch.manual_seed(0)
    model = (
        inject_adapter_in_model(LoraConfig(r=4, target_modules=["v_proj"], init_lora_weights=False), tiny())
        .eval()
        .requires_grad_(False)
    )
    model.tokenizer = word_tokenizer()
    return model


def pruned():
    model = speaking()
    torch.manual_seed(0)
    prune.random_unstructured(model.model.layers[1].mlp.down_proj, "weight", 0.5)
    return model


def other_half(model):
    layer = model.model.layers[1].mlp.down_proj
    layer.weight_mask.copy_(1 - layer.weight_mask)


def no_scale(model):
    for part in model.modules():
        if isinstance(getattr(part, "scaling", None), dict):
            part.scaling["default"] = 0.0


def one_value(model):
    model.model.layers[1].mlp.down_proj.weight.data[7, 5] += 1.0


STRENGTH = {"now": 0.5}


def hooked():
    model = speaking()
    model.model.layers[1].register_forward_hook(
        lambda _, args, out: (out[0] * STRENGTH["now"], *out[1:]) if isinstance(out, tuple) else out * STRENGTH["now"]
    )
    return model


@pytest.mark.parametrize(
    "make, change",
    [(adapted, no_scale), (pruned, other_half), (speaking, one_value), (hooked, lambda m: STRENGTH.update(now=4.0))],
    ids=["an adapter's scale", "the mask of a pruning", "one value through .data", "a hook's strength"],
)
@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
def test_a_store_of_the_model_as_it_was_is_not_taken_up_for_another(make, change, tmp_path):
    STRENGTH["now"] = 0.5
    model, store = make(), tmp_path / "sweep.zarr"
    first = sweep(model, store)
    again = sweep(model, store)
    assert lens.record(again)["status"] == "complete" and (first.value.values == again.value.values).all()
    change(model)
    with pytest.raises(lens.ResultError, match=r"belongs to another sweep[\s\S]*model\.(state|hash)"):
        sweep(model, store)


def by_global(logits, encoded):
    return logits[:, TARGET]


def column(logits, encoded, at):
    return logits[:, at]


METRICS = {
    "a global": lambda at: by_global,
    "a partial": lambda at: functools.partial(column, at=at),
    "a tensor": lambda at: lambda x, e, v=torch.eye(97)[at]: x @ v,
    "a Metric of the person's": lambda at: lens.engine.metrics.Metric(
        "mine", "1", lambda e: [()], lambda d, r, e, c: d.unembed(r[0][:, 0])[:, at].float()
    ),
}


@pytest.mark.parametrize("name", METRICS)
def test_a_store_of_one_metric_is_not_taken_up_with_another_of_its_name(name, tmp_path, monkeypatch):
    model, store = speaking(), tmp_path / "sweep.zarr"
    sweep(model, store, METRICS[name](11))
    assert lens.record(sweep(model, store, METRICS[name](11)))["status"] == "complete"
    monkeypatch.setitem(globals(), "TARGET", 40)
    with pytest.raises(lens.ResultError, match="metric_digest"):
        sweep(model, store, METRICS[name](40))


def test_what_cannot_be_identified_is_refused_for_a_store_and_runs_without(tmp_path):
    model, file = speaking(), open(tmp_path / "log", "w")
    with file:

        def metric(logits, encoded):
            return (logits[:, 11], file.write("."))[0]

        assert "metric_unidentified" in lens.record(sweep(model, metric=metric))["call"]
        with pytest.raises(lens.ResultError, match=r"metric=.* cannot be identified .*TextIOWrapper.*Leave store out"):
            sweep(model, tmp_path / "sweep.zarr", metric)
        model.model.layers[1].register_forward_hook(lambda m, args, out: file.write(".") and None)
        with pytest.warns(UserWarning, match="every edited run"):
            assert "unidentified" in lens.record(sweep(model))["model"]
        with pytest.raises(lens.ResultError, match="model cannot be identified"):
            sweep(model, tmp_path / "sweep.zarr")
    assert not (tmp_path / "sweep.zarr").exists()


def older(store):
    """Makes a store as it was before records had their model's state."""
    record = lens.record(lens.open(store))
    del record["model"]["state"]
    stored = lens.results.dataset.stamp(lens.open(store), record)
    group = zarr.open_group(store, mode="r+", use_consolidated=False)
    group.attrs["mnemoscope"] = json.dumps(record)
    mark = json.loads(group["done"].attrs[STORE_MARK])
    group["done"].attrs[STORE_MARK] = json.dumps(
        mark | {"fingerprint": fingerprint(identity_of(stored, mark["regions"]))}
    )
    zarr.consolidate_metadata(store)


def test_a_store_without_a_state_is_refused_with_what_to_do_and_adopted_on_a_persons_word(tmp_path):
    model, store = speaking(), tmp_path / "sweep.zarr"
    first = sweep(model, store)
    older(store)
    with pytest.raises(lens.ResultError, match=r"lens\.adopt\(store, model\) takes them on your word"):
        sweep(model, store)
    with pytest.raises(lens.ResultError, match="this model's are"):
        lens.adopt(store, speaking(seed=1))
    lens.adopt(store, model)
    again = sweep(model, store)
    assert (first.value.values == again.value.values).all()
    for said in (lens.record(lens.open(store))["model"], lens.record(again)["model"]):
        assert (
            said["state"] == lens.record(first)["model"]["state"]
            and "word" in said["adopted"]["why"]
            and said["adopted"]["on"]
        )
    with pytest.raises(lens.ResultError, match="nothing to adopt"):
        lens.adopt(store, model)
    no_scale(model)
    model.model.norm.variance_epsilon = 0.5
    with pytest.raises(lens.ResultError, match="model.state"):
        sweep(model, store)


def test_what_is_no_store_is_not_adopted(tmp_path):
    with pytest.raises(lens.ResultError):
        lens.adopt(tmp_path / "nothing.zarr", speaking())
