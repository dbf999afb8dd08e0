"""The hash of a model's weights against reading everything anew, whatever was done to them in between; and the hashes
that earlier versions recorded.
"""

import copy
import hashlib
import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import lens
from lens.engine.linear import every_linear, linears
from lens.engine.weights import apply_weights, edited_weights
from lens.forgetting.diary import Diary
from lens.models import LoadError, same_weights, weight_hash
from lens.models import known as known_module
from lens.models.hash import is_old, old_hash, older, same_record
from lens.models.samples import SAMPLED, Samples
from lens.reproduce.common import Steps
from lens.results import dataset
from lens.results.identity import restate
from lens.results.store import load_store
from lens.scoring.rows import score
from lens.scoring.store import fingerprint
from lens.subspace import Mask, statistics
from lens.training import Recipe, Rows, train
from tests.mixtures import mixture
from tests.models import speaking, tiny, word_tokenizer

NAME = "model.layers.1.mlp.down_proj"
PAIR = lens.Pair("w3 w17 w5 w80", corrupted="w3 w17 w9 w80", answer=" w11", foil=" w23")


def values(model):
    """Names and values of the parameters, read from the state of the module itself."""
    return [(name, value.detach().clone().contiguous()) for name, value in sorted(model.named_parameters())]


def by_hand(model):
    """The documented formula, of a plain model."""
    whole = hashlib.sha256()
    for name, value in values(model):
        own = hashlib.sha256(f"{tuple(value.shape)} {value.dtype}\n".encode())
        own.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
        whole.update(f"{name} {own.hexdigest()}\n".encode())
    return f"t{whole.hexdigest()}"


def by_hand_before(model):
    """The formula of earlier versions."""
    whole = hashlib.sha256()
    for name, value in values(model):
        whole.update(f"{name} {tuple(value.shape)} {value.dtype}\n".encode())
        whole.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return whole.hexdigest()


@pytest.fixture
def read(monkeypatch):
    """The names of the tensors whose values are read, as they are read."""
    seen, own = [], known_module.read
    monkeypatch.setattr(known_module, "read", lambda name, value: (seen.append(name), own(name, value))[1])
    return seen


def test_both_formulas_are_the_documented_ones(tmp_path):
    model = tiny("qwen2")
    model.save_pretrained(tmp_path)
    assert weight_hash(model) == by_hand(model) and old_hash(model) == by_hand_before(model)
    lines = []
    for name, value in sorted(load_file(tmp_path / "model.safetensors").items()):
        digest = hashlib.sha256(f"{tuple(value.shape)} torch.float32\n".encode() + value.numpy().tobytes())
        lines.append(f"{name} {digest.hexdigest()}\n")
    assert weight_hash(model) == "t" + hashlib.sha256("".join(lines).encode()).hexdigest()
    assert not is_old(weight_hash(model)) and is_old(old_hash(model))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_dtype_is_part_of_it(dtype):
    model = tiny("llama").to(dtype)
    assert weight_hash(model) == by_hand(model) != weight_hash(tiny("llama"))
    assert old_hash(model) == by_hand_before(model)


# -- only what changed is read ---------------------------------------------------------------------------------------


def weight(model):
    return model.get_submodule(NAME).weight


def by_optimizer(model):
    own = weight(model).requires_grad_(True)
    own.grad = torch.ones_like(own)
    torch.optim.AdamW([own], lr=0.1, fused=True).step()
    own.requires_grad_(False)


def loaded(model):
    model.load_state_dict({f"{NAME}.weight": torch.ones(32, 48)}, strict=False)


def adapter(model):
    model.get_submodule(NAME).register_parameter("gain", nn.Parameter(torch.ones(3), requires_grad=False))


def renamed(model):
    layers = model.model.layers
    layers[0].mlp.gate_proj, layers[0].mlp.up_proj = layers[0].mlp.up_proj, layers[0].mlp.gate_proj


#: What is done to a model, and the tensors that must then be read (None: it says nothing of these).
CHANGES = {
    "in place": (lambda m: weight(m).add_(1e-3), [f"{NAME}.weight"]),
    "one value": (lambda m: weight(m).__setitem__((5, 7), 1.0), [f"{NAME}.weight"]),
    "through a view": (lambda m: weight(m).view(-1)[777:778].zero_(), [f"{NAME}.weight"]),
    "through its transpose": (lambda m: weight(m).T[3].mul_(2), [f"{NAME}.weight"]),
    "through a detached one": (lambda m: weight(m).detach()[4, 4:9].zero_(), [f"{NAME}.weight"]),
    "through .data": (lambda m: weight(m).data.add_(1e-3), [f"{NAME}.weight"]),
    "through numpy": (lambda m: np.multiply(a := weight(m).numpy(), 2, out=a), [f"{NAME}.weight"]),
    "by a fused optimiser": (by_optimizer, [f"{NAME}.weight"]),
    "other data": (lambda m: setattr(weight(m), "data", torch.zeros(32, 48)), [f"{NAME}.weight"]),
    "equal data": (lambda m: setattr(weight(m), "data", weight(m).data.clone()), [f"{NAME}.weight"]),
    "another form": (lambda m: setattr(weight(m), "data", weight(m).data.view(48, 32)), [f"{NAME}.weight"]),
    "another parameter": (
        lambda m: setattr(m.get_submodule(NAME), "weight", nn.Parameter(torch.ones(32, 48))),
        [f"{NAME}.weight"],
    ),
    "the same storage in another parameter": (
        lambda m: setattr(m.get_submodule(NAME), "weight", nn.Parameter(weight(m).data)),
        [f"{NAME}.weight"],
    ),
    "loaded": (loaded, [f"{NAME}.weight"]),
    "added": (adapter, [f"{NAME}.gain"]),
    "names swapped": (renamed, []),
    "tied": (lambda m: setattr(m.lm_head, "weight", m.model.embed_tokens.weight), []),
    "two at once": (
        lambda m: (weight(m).mul_(2), m.model.norm.weight.mul_(2)),
        ["model.norm.weight", f"{NAME}.weight"],
    ),
    "all in bfloat16": (lambda m: m.to(torch.bfloat16), None),
}


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_what_changed_is_read_and_the_hash_is_that_of_everything(change, read):
    model, (act, expected) = tiny("llama"), CHANGES[change]
    assert weight_hash(model) == by_hand(model)
    read.clear()
    assert weight_hash(model) == by_hand(model) and not read
    act(model)
    after = weight_hash(model)
    assert after == by_hand(model) and (expected is None or sorted(read) == sorted(expected))
    read.clear()
    assert weight_hash(model) == after and not read
    assert old_hash(model) == by_hand_before(model)
    assert weight_hash(model, anew=True) == after and len(read) == len(list(model.parameters()))


def test_another_storage_at_the_same_address_is_read():
    """Two storages over one memory: address, writes and sampled values are the same."""
    model, memory = tiny("llama"), np.ones((32, 48), np.float32)
    weight(model).data = torch.from_numpy(memory)
    before = weight_hash(model)
    memory[5, 7] = 2.0
    assert weight_hash(model) == before, "this place is sampled: the test says nothing"
    weight(model).data = torch.from_numpy(memory)
    assert weight_hash(model) == by_hand(model) != before


def test_the_same_storage_seen_another_way_is_read():
    """A square matrix transposed: storage, address, writes, shape and samples are the same."""
    model = tiny("llama")
    own = model.model.layers[0].self_attn.q_proj.weight
    own.zero_()[3, 10] = 1.0
    before = weight_hash(model)
    own.data = own.data.T
    assert weight_hash(model) == by_hand(model) != before


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_is_read_by_itself(copied):
    model = tiny("llama")
    before = weight_hash(model)
    other = copied(model)
    weight(other).view(-1).data[5] += 1
    assert weight_hash(other) == by_hand(other) != before == weight_hash(model)


def test_many_threads_and_one_give_the_same(monkeypatch):
    model, counts = tiny("llama"), []
    monkeypatch.setattr(known_module, "SHARED", 1)
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda n=threads: n)
        counts.append(weight_hash(model, anew=True))
    assert counts == [by_hand(model)] * 2


def test_an_interrupt_while_weights_are_read_leaves_nothing_half_known(monkeypatch):
    model, own = tiny("llama"), known_module.read

    def stopped(name, value):
        if name == f"{NAME}.weight":
            raise KeyboardInterrupt
        return own(name, value)

    monkeypatch.setattr(known_module, "read", stopped)
    with pytest.raises(KeyboardInterrupt):
        weight_hash(model)
    monkeypatch.undo()
    assert weight_hash(model) == by_hand(model)


@pytest.mark.parametrize(
    "value,message",
    [
        (torch.empty(32, 48, device="meta"), "'model.layers.1.mlp.down_proj.weight' is on the meta device"),
        (torch.eye(32).to_sparse(), "'model.layers.1.mlp.down_proj.weight' is not strided"),
    ],
)
def test_weights_without_values_are_refused_by_name(value, message):
    model = tiny("llama")
    weight_hash(model)
    model.get_submodule(NAME).weight = nn.Parameter(value, requires_grad=False)
    for asked in (weight_hash, old_hash):
        with pytest.raises(LoadError, match=message):
            asked(model)


# -- edits that this package makes and takes back --------------------------------------------------------------------


def mask_of(model, column=3):
    layers = {name: m.weight for name, m in model.named_modules() if name.endswith("down_proj")}
    shapes = {name: tuple(value.shape) for name, value in layers.items()}
    return Mask.of_columns({name: [column] for name in shapes}, shapes, weight_hash(model))


def test_an_edit_that_is_undone_is_known_again_without_reading(read):
    model = tiny("llama")
    before = weight_hash(model)
    for edit in ({NAME: weight(model) * 2}, {NAME: torch.zeros(32, 48), "lm_head": torch.zeros(97, 32)}):
        with edited_weights(model, edit):
            read.clear()
            assert weight_hash(model) == by_hand(model) != before
            assert read == sorted([f"{name}.weight" for name in edit], key=lambda name: read.index(name))
        read.clear()
        assert weight_hash(model) == before == by_hand(model) and not read
    with edited_weights(model, {NAME: weight(model) * 2}), torch.no_grad():
        model.lm_head.weight.mul_(2)
    assert weight_hash(model) == by_hand(model) != before and read == ["lm_head.weight"]


def test_an_edit_that_is_undone_while_nobody_asked_for_the_hash():
    model = tiny("llama")
    with edited_weights(model, {NAME: weight(model) * 2}):
        pass
    assert weight_hash(model) == by_hand(model)


def test_the_same_mask_is_read_once(read):
    model = tiny("llama")
    before, hashes = weight_hash(model), []
    for _ in range(4):
        # a mask of its own each time: what it does is compared, not which object it is
        with mask_of(model).applied(model):
            read.clear()
            hashes.append((weight_hash(model), len(read)))
            assert hashes[-1][0] == by_hand(model) != before
        assert weight_hash(model) == before == by_hand(model)
    assert [count for _, count in hashes] == [3, 0, 0, 0]
    with mask_of(model, 4).applied(model):
        assert weight_hash(model) == by_hand(model) not in [before, hashes[0][0]]


@pytest.mark.parametrize("place,value", [((5, 7), 9.0), ((5, 3), -0.0)])
def test_a_write_that_nobody_counts_is_not_remembered_as_the_masks(place, value):
    """Neither a value that the mask leaves, nor one that equals its zeros and has other bits."""
    model = tiny("llama")
    weight_hash(model)
    for change in (True, False, False):
        with mask_of(model).applied(model):
            if change:
                weight(model).data[place] = value
            assert weight_hash(model) == by_hand(model)
        assert weight_hash(model) == by_hand(model)


def test_a_mask_on_other_weights_is_another_edit():
    model = tiny("llama")
    mask = mask_of(model)
    for factor in (1.0, 1.5, 1.0, 1.5):
        with edited_weights(model, {"lm_head": model.lm_head.weight * factor}):
            for _ in range(2):
                with mask.applied(model, strict=False):
                    assert weight_hash(model) == by_hand(model)
    model.get_submodule(NAME).weight.mul_(2)
    for _ in range(3):
        with mask.applied(model, strict=False):
            assert weight_hash(model) == by_hand(model)


@pytest.mark.parametrize("first", [0, 1])
def test_edits_within_each_other_and_undone_in_any_order(first):
    model = tiny("llama")
    before = weight_hash(model)
    undos = [apply_weights(model, {NAME: weight(model) * 2}), apply_weights(model, {"lm_head": torch.zeros(97, 32)})]
    assert weight_hash(model) == by_hand(model) != before
    undos[first].undo()
    assert weight_hash(model) == by_hand(model) != before
    undos[1 - first].undo()
    assert weight_hash(model) == by_hand(model) == before


@pytest.mark.parametrize("counted", [True, False])
def test_a_write_under_an_edit_is_seen_or_undone_with_it(counted):
    """All of the layer is put back, whatever was written to it meanwhile."""
    model = tiny("llama")
    before = weight_hash(model)
    with edited_weights(model, {NAME: weight(model) * 2}):
        (weight(model) if counted else weight(model).data)[5, 7] = 9.0
    assert weight_hash(model) == by_hand(model) == before
    with edited_weights(model, {NAME: weight(model) * 2}):
        weight(model).data = torch.zeros(32, 48)
    assert weight_hash(model) == by_hand(model)
    with edited_weights(model, {NAME: weight(model) * 2}):
        model.get_submodule(NAME).weight = nn.Parameter(torch.ones(32, 48), requires_grad=False)
    assert weight_hash(model) == by_hand(model)


def test_edits_of_experts_that_share_one_parameter():
    model = mixture("mixtral")
    before = weight_hash(model)
    names = [name for name in every_linear(model) if ".experts." in name and "down" in name][:2]
    new = {name: torch.zeros_like(every_linear(model)[name].weight) for name in names}
    with edited_weights(model, new):
        assert weight_hash(model) == by_hand(model) != before
    assert weight_hash(model) == by_hand(model) == before
    one, other = (apply_weights(model, {name: new[name]}) for name in names)
    assert weight_hash(model) == by_hand(model)
    one.undo()
    assert weight_hash(model) == by_hand(model) != before
    other.undo()
    assert weight_hash(model) == by_hand(model) == before
    held = every_linear(model)[names[0]].parameter
    with edited_weights(model, {names[0]: new[names[0]]}):
        held[3].mul_(2)  # another expert's, in the same tensor
    assert weight_hash(model) == by_hand(model) != before


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox"])
def test_a_bridge_and_the_plain_model_agree_under_every_edit(kind, read):
    plain = tiny(kind)
    bridge = lens.models.wrap(tiny(kind), word_tokenizer(), "tiny")
    assert weight_hash(bridge) == by_hand(plain) and old_hash(bridge) == by_hand_before(plain)
    names = [name for name in linears(bridge, "*") if name in dict(plain.named_modules())]
    for name in [names[0], names[-2]]:
        new = torch.zeros_like(every_linear(plain)[name].weight)
        with edited_weights(plain, {name: new}), edited_weights(bridge, {name: new}):
            assert weight_hash(bridge) == by_hand(plain)
        read.clear()
        assert weight_hash(bridge) == by_hand(plain) and not read


def test_a_fused_layer_that_its_parts_do_not_follow_is_another_model():
    """Written by hand, in either of the two: what the bridge runs is not what the plain model says."""
    for side in ("whole", "part", "part unseen"):
        bridge, plain = lens.models.wrap(tiny("gpt_neox"), word_tokenizer(), "tiny"), tiny("gpt_neox")
        before = weight_hash(bridge)
        name = "gpt_neox.layers.0.attention.query_key_value"
        layers = every_linear(bridge)
        if side == "whole":
            layers[name].weight.mul_(2)
            plain.get_submodule(name).weight.mul_(2)
        elif side == "part":
            layers[name.replace("query_key_value", "q")].weight.mul_(2)
        else:
            layers[name.replace("query_key_value", "q")].weight.data.mul_(2)
        assert weight_hash(bridge) not in (before, by_hand(plain)), side


def test_a_written_part_of_a_fused_layer_is_put_back_or_seen():
    bridge = lens.models.wrap(tiny("gpt_neox"), word_tokenizer(), "tiny")
    before, name = weight_hash(bridge), "gpt_neox.layers.0.attention.query_key_value"
    layers = every_linear(bridge)
    part = name.replace("query_key_value", "q")
    with edited_weights(bridge, {part: torch.zeros(32, 32)}):
        assert weight_hash(bridge) != before
    assert weight_hash(bridge) == before == weight_hash(bridge, anew=True)
    with edited_weights(bridge, {part: torch.zeros(32, 32)}):
        layers[name].weight[-1, 0] += 1  # a row that the part does not have
    assert weight_hash(bridge) == weight_hash(bridge, anew=True) != before


# -- what earlier versions recorded ----------------------------------------------------------------------------------


def test_a_recorded_hash_of_either_form_is_told_from_others():
    model, other = tiny("llama"), tiny("llama", seed=1)
    for recorded in (by_hand(model), by_hand_before(model)):
        assert same_weights(model, recorded) and not same_weights(other, recorded)
        assert same_record(recorded, weight_hash(model)) and same_record(weight_hash(model), recorded)
        assert not same_record(recorded, weight_hash(other))
    with edited_weights(model, {NAME: torch.zeros(32, 48)}):
        assert not same_weights(model, by_hand_before(tiny("llama")))
        assert same_weights(model, by_hand_before(model))
    assert not same_weights(model, "") and not same_weights(model, None) and not same_record(None, weight_hash(model))


def test_a_record_is_told_as_it_was_made_before():
    model = tiny("llama")
    new, old = weight_hash(model), by_hand_before(model)
    assert older({"model": new, "of": [new[:16], "text", 3, "t" + "0" * 64]}) == {
        "model": old,
        "of": [old[:16], "text", 3, "t" + "0" * 64],
    }
    weight(model).mul_(2)
    assert older(new) == new, "the model that had it has other weights now"


def test_a_store_of_an_earlier_version_is_taken_up_again(tmp_path):
    model, path = speaking("llama"), tmp_path / "sweep.zarr"
    made = lens.patch(model, PAIR, "resid_pre", store=path, progress=False)
    record = dataset.provenance(load_store(path))
    restate(path, record | {"model": record["model"] | {"hash": by_hand_before(model)}})
    again = lens.patch(model, PAIR, "resid_pre", store=path, progress=False)
    assert again.identical(made) or np.array_equal(again.effect, made.effect)
    assert len(list(tmp_path.iterdir())) == 1
    other = speaking("llama", seed=1)
    with pytest.raises(lens.results.errors.ResultError, match="another sweep"):
        lens.patch(other, PAIR, "resid_pre", store=path, progress=False)
    # whose word is taken is told by the old hash too
    unstated = {key: value for key, value in record["model"].items() if key != "state"}
    restate(path, record | {"model": unstated | {"hash": by_hand_before(model)}})
    with pytest.raises(lens.results.errors.ResultError, match="of weights"):
        lens.adopt(path, other)
    lens.adopt(path, model)
    lens.patch(model, PAIR, "resid_pre", store=path, progress=False)


def test_scores_that_an_earlier_version_stored_are_found(tmp_path):
    model, rows = speaking("llama"), [[3, 5, 7, 9], [2, 4, 6, 8]]
    made = score(model, rows, store=tmp_path, progress=False)
    (folder,) = [path for path in tmp_path.iterdir() if (path / "options.json").is_file()]
    options = json.loads((folder / "options.json").read_text())
    assert options["model"] == weight_hash(model)
    options["model"] = by_hand_before(model)
    (folder / "options.json").write_text(json.dumps(options))
    folder.rename(tmp_path / fingerprint(options))
    again = score(model, rows, store=tmp_path, progress=False)
    assert again.about["cached"] == 2 and np.array_equal(again.logprob, made.logprob)
    assert score(speaking("llama", seed=1), rows, store=tmp_path, progress=False).about["cached"] == 0


def test_a_mask_of_an_earlier_version_fits_its_model():
    model = tiny("llama")
    mask = mask_of(model)
    old = Mask(mask.layers, mask.shapes, by_hand_before(model))
    with old.applied(model):
        assert weight_hash(model) == by_hand(model)
    assert (mask | old).count == mask.count
    with pytest.raises(lens.Error, match="another model"), old.applied(tiny("llama", seed=1)):
        pass


def test_sums_and_steps_of_an_earlier_version_are_taken_up_again(tmp_path, monkeypatch):
    model, data = tiny("llama"), torch.randint(1, 97, (4, 8), generator=torch.Generator().manual_seed(0))
    kept, runs = {"preset": "small", "models": [weight_hash(model)[:16]]}, []
    monkeypatch.setattr("lens.subspace.activations.weight_hash", old_hash)
    made = statistics(model, "*.down_proj", data, tmp_path / "sums", progress=False)
    Steps(tmp_path / "steps", older(kept))
    Diary(tmp_path / "diary", older({"model": weight_hash(model), "state": "x"}), False)
    monkeypatch.undo()
    again = statistics(model, "*.down_proj", data, tmp_path / "sums", progress=False, stop=lambda: runs.append(1))
    assert not runs and all(torch.equal(again.sums[name], made.sums[name]) for name in made.sums)
    statistics(model, "*.down_proj", data[:3], tmp_path / "sums", progress=False, stop=lambda: runs.append(1))
    assert runs
    Steps(tmp_path / "steps", kept)
    Diary(tmp_path / "diary", {"model": weight_hash(model), "state": "x"}, False)
    weight(model).mul_(2)
    for there in (
        lambda: Steps(tmp_path / "steps", {"preset": "small", "models": [weight_hash(model)[:16]]}),
        lambda: Diary(tmp_path / "diary", {"model": weight_hash(model), "state": "x"}, False),
    ):
        with pytest.raises(lens.Error, match="holds"):
            there()


def test_a_training_of_an_earlier_version_goes_on(tmp_path, monkeypatch):
    rows = Rows.of([([3, 5, i], [7, i + 1]) for i in range(6)])
    recipe, steps = Recipe(steps=4, batch=2, learning_rate=1e-3), []
    with monkeypatch.context() as before:
        before.setattr("lens.models.weight_hash", old_hash)
        whole = tiny("llama")
        train(whole, rows, recipe, folder=tmp_path, parameters=[f"{NAME}.weight"], progress=False)
    again = tiny("llama")
    train(again, rows, recipe, folder=tmp_path, parameters=[f"{NAME}.weight"], progress=False, after_step=steps.append)
    assert not steps and weight_hash(again) == weight_hash(whole)
    with pytest.raises(lens.Error, match="starting weights"):
        train(tiny("llama", seed=1), rows, recipe, folder=tmp_path, parameters=[f"{NAME}.weight"], progress=False)


@pytest.mark.parametrize(
    "dtypes",
    [
        (torch.float32,),
        (torch.bfloat16,),
        (torch.float64,),
        (torch.complex64,),
        (torch.complex128,),
        (torch.int8,),
        (torch.float32, torch.bfloat16),
    ],
    ids=str,
)
def test_samples_are_the_values_that_torch_picks(dtypes):
    """Read from memory whole or byte by byte, also of tensors that begin at an odd address."""
    torch.manual_seed(0)
    values = []
    for i in range(24):
        dtype, n = dtypes[i % len(dtypes)], int(torch.randint(1, 300, ()))
        spare = torch.randint(0, 100, ((n + 1) * dtype.itemsize,), dtype=torch.uint8)
        # every third begins one number later than its storage
        values.append(spare.view(dtype)[int(i % 3 == 0) :][:n].view(-1))
    samples = Samples(values)
    read = samples.read(values)
    for i, value in enumerate(values):
        n = value.numel()
        step, first = (-(-n // SAMPLED), (n - 1) % SAMPLED) if n > SAMPLED else (1, 0)
        picked = value[first::step].contiguous().view(torch.uint8).numpy().tobytes()
        assert samples.of(i, read) == picked
