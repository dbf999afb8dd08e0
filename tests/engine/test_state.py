"""The model as it is now: what is noticed between two calls, what runs whole, and what a record says of it."""

import types

import numpy as np
import pytest
import torch
from peft import LoraConfig, inject_adapter_in_model

import lens
from lens.engine.errors import RunError, UnsupportedModel
from lens.engine.model import Model
from lens.engine.runs import Runs
from lens.engine.walk.decoder import Decoder
from lens.engine.walk.runs import WalkRuns
from lens.models.state import State, foreign, identity, user_hooks
from tests.models import EACH, KINDS, speaking, tiny, word_tokenizer
from tests.variants import few

CLEAN = list(range(5, 19))
PAIR = lens.Pair(
    " ".join(f"w{i}" for i in CLEAN),
    corrupted=" ".join(f"w{60 if i == 8 else i}" for i in CLEAN),
    answer=" w11",
    foil=" w23",
)
IDS = torch.tensor([CLEAN])


def own(model) -> float:
    """The model's own logit difference on the clean text."""
    with torch.no_grad():
        logits = getattr(model, "original_model", model)(IDS).logits[0, -1]
    return float(logits[11] - logits[23])


def patched(model):
    return lens.patch(model, PAIR, "resid_pre", layers=[1], progress=False)


def add(strength, push, since=0):
    def hook(_, args, out):
        new = (out[0] if isinstance(out, tuple) else out).clone()
        new[:, since:] += strength["now"] * push
        return (new, *out[1:]) if isinstance(out, tuple) else new

    return hook


def with_own_layer(kind):
    """A model one of whose linear layers is a person's own class with the old weights."""
    model = speaking()
    old = model.model.layers[1].mlp.down_proj
    own_layer = kind(old.in_features, old.out_features, bias=False).requires_grad_(False)
    own_layer.weight = old.weight
    model.model.layers[1].mlp.down_proj = own_layer
    return model


@pytest.mark.parametrize("since", [0, 10])
@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
def test_the_unedited_value_is_the_models_own_with_a_hook_whose_strength_changes(since):
    model, strength, push = speaking(), {"now": 0.0}, torch.randn(32, generator=torch.Generator().manual_seed(0))
    model.model.layers[1].register_forward_hook(add(strength, push, since))
    for now in (0.0, 1.5, -3.0):
        strength["now"] = now
        result = patched(model)
        assert lens.record(result)["engine"]["name"] == "hooks"
        assert abs(float(result.clean) - own(model)) < 1e-4
    assert "hook" in lens.record(result)["model"]["unusual"][0]


def _class_forward(self, x):
    return 0.5 * self.down_proj(self.up_proj(x))


CHANGES = {
    "a method replaced on an object": (
        lambda m, mp: m.model.layers[1].mlp.__setattr__("forward", lambda x: torch.zeros_like(x))
    ),
    "a method bound to an object": (
        lambda m, mp: m.model.layers[1].mlp.__setattr__(
            "forward", types.MethodType(_class_forward, m.model.layers[1].mlp)
        )
    ),
    "a method replaced on a class": lambda m, mp: mp.setattr(type(m.model.layers[1].mlp), "forward", _class_forward),
    "a function of the model's own file replaced": lambda m, mp: mp.setattr(
        "transformers.models.llama.modeling_llama.apply_rotary_pos_emb", _no_rotation
    ),
    "an attention scale": lambda m, mp: setattr(m.model.layers[1].self_attn, "scaling", 1.0),
    "the epsilon of a norm": lambda m, mp: setattr(m.model.norm, "variance_epsilon", 3.0),
    "rotary frequencies": lambda m, mp: m.model.rotary_emb.inv_freq.mul_(3),
    "a module swapped": lambda m, mp: setattr(m.model.layers[1].mlp, "act_fn", torch.nn.Tanh()),
    "weights through .data": lambda m, mp: m.model.layers[1].mlp.down_proj.weight.data.mul_(-2),
    "a global hook": lambda m, mp: mp.setitem(torch.nn.modules.module._global_forward_hooks, 10**6, _halved),
}


def _no_rotation(q, k, cos, sin, *_, **__):
    return q, k


def _halved(module, args, out):
    return out * 0.5 if isinstance(module, torch.nn.Linear) else None


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.filterwarnings("ignore:.*every edited run is computed")
def test_a_change_after_a_first_sweep_is_in_the_next(change, monkeypatch):
    model = speaking()
    before = float(patched(model).clean)
    CHANGES[change](model, monkeypatch)
    want = own(model)
    assert abs(want - before) > 1e-3
    assert abs(float(patched(model).clean) - want) < 1e-4


@pytest.mark.parametrize(
    "call",
    [
        lambda m: lens.patch(m, PAIR, method="attribution", progress=False),
        lambda m: lens.logit_lens(m, PAIR.clean),
        lambda m: lens.path_patch(m, PAIR, lens.Site("q", 2, head=1)),
    ],
)
def test_a_persons_hook_is_part_of_every_methods_numbers(call):
    """A hook that changes an activation, against the same change made in the weights."""
    hooked, changed = speaking(), speaking()
    hooked.model.layers[1].mlp.register_forward_hook(lambda m, args, out: 1.5 * out)
    changed.model.layers[1].mlp.down_proj.weight.mul_(1.5)
    with pytest.warns(UserWarning, match=r"the hook .* of model.layers.1.mlp .*take it off"):
        seen = call(hooked)
        lens.patch(hooked, PAIR, layers=[1], progress=False)
    want = call(changed)
    for name, value in want.data_vars.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(seen[name], value, rtol=1e-3, atol=1e-4)
    assert lens.record(seen)["engine"]["name"] == "hooks"


def test_a_text_on_which_the_model_does_something_else_goes_the_slow_way():
    """A module of the person's own that acts beyond the tokens of the probe is no hook and no replaced method: the text
    itself tells.
    """

    class Late(torch.nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            if x.ndim == 3 and x.shape[1] > 10:
                out = out * torch.where(torch.arange(x.shape[1]) < 10, 1.0, -1.0)[:, None]
            return out

    model = with_own_layer(Late)
    Decoder.of(model)
    with pytest.raises(UnsupportedModel, match="text of 14 tokens"):
        WalkRuns.of(Decoder.of(model), [IDS[0]])
    final = Runs.record(model, [IDS[0]]).final
    assert torch.allclose(Model.of(model).unembed(final[-1:]), model(IDS).logits[0, -1:], atol=1e-4)
    assert abs(float(patched(model).clean) - own(model)) < 1e-4


def test_a_text_is_compared_once_as_long_as_the_model_is_the_same(monkeypatch):
    model = speaking()
    patched(model)
    forwards = []
    model.register_forward_pre_hook(_counting(forwards))
    decoder = Decoder.of(model)
    decoder.verify([IDS[0]], [Runs.record(model, [IDS[0]]).resid[-1][-1]])
    assert not forwards
    model.model.layers[0].mlp.down_proj.weight.mul_(1.5)
    Runs.record(model, [IDS[0]])
    assert len(forwards) == 1


def _counting(forwards):
    def count(*_):
        forwards.append(1)

    count.__module__ = "lens.counting"  # as one of the package's own, which are no reason to run whole
    return count


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_a_bridge_has_the_state_of_its_plain_model_and_neither_moves_with_forwards(kind):
    plain, other = tiny(kind), tiny(kind)
    want = identity(plain)
    assert want.digest is not None and want.unusual == () and foreign(plain) == []
    state = State.of(plain)
    plain(IDS, output_hidden_states=True, output_attentions=True)
    assert State.of(plain) is state and identity(plain).digest == want.digest
    bridge = lens.models.wrap(other, word_tokenizer(), "tiny")
    bridge.run_with_cache(IDS) if hasattr(bridge, "run_with_cache") else None
    assert user_hooks(bridge) == [] and identity(bridge).digest == want.digest


def test_hooks_of_a_person_on_a_bridge_are_found_by_name():
    bridge = lens.models.wrap(tiny("llama"), word_tokenizer(), "tiny")
    bridge.add_hook("blocks.1.hook_resid_post", lambda t, hook: t)
    assert len(user_hooks(bridge)) == 1 and "model.layers.1" in str(user_hooks(bridge)[0])
    bridge.reset_hooks()
    assert user_hooks(bridge) == []


STATES = {
    "an adapter's scale": lambda m: [
        setattr_scale(part, 0.25) for part in m.modules() if isinstance(getattr(part, "scaling", None), dict)
    ],
    "an adapter switched off": lambda m: [
        part.enable_adapters(False)
        for part in m.modules()
        if hasattr(part, "enable_adapters") and hasattr(part, "lora_A")
    ],
    "a norm's epsilon": lambda m: setattr(m.model.norm, "variance_epsilon", 1.0),
    "the configuration": lambda m: setattr(m.config, "sliding_window", 3),
    "rotary frequencies": lambda m: m.model.rotary_emb.inv_freq.mul_(2),
    "a hook": lambda m: m.model.layers[0].register_forward_hook(_halved),
    "a replaced method": lambda m: setattr(m.model.layers[0].mlp, "forward", _zeros),
}


def setattr_scale(part, value):
    part.scaling["default"] = value


def _zeros(x):
    return torch.zeros_like(x)


@pytest.mark.parametrize("change", STATES)
def test_the_state_tells_what_weights_do_not(change):
    def make():
        return inject_adapter_in_model(LoraConfig(r=4, target_modules=["v_proj"]), tiny()).eval().requires_grad_(False)

    torch.manual_seed(0)
    model = make()
    before, weights = identity(model), lens.models.weight_hash(model)
    STATES[change](model)
    after = identity(model)
    # which adapter is in force, and how strongly, is told by the hash too
    assert (lens.models.weight_hash(model) == weights) == ("adapter" not in change)
    assert None not in (before.digest, after.digest) and before.digest != after.digest


def test_adapters_are_named_in_the_record():
    model = (
        inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, target_modules=["v_proj"]), tiny())
        .eval()
        .requires_grad_(False)
    )
    assert identity(model).unusual == ("adapter 'default' on 3 layers, scale 2",)


def test_weights_written_through_data_have_another_hash():
    model = tiny()
    before = lens.models.weight_hash(model)
    model.model.layers[0].mlp.up_proj.weight.data.add_(1e-3)
    assert lens.models.weight_hash(model) != before
    one = tiny()
    kept = lens.models.weight_hash(one)
    place = one.model.embed_tokens.weight.data
    place[50, 3] += 1
    assert lens.models.weight_hash(one, anew=True) != kept


def test_a_text_is_compared_once_under_one_mask_however_often_it_is_put_on(monkeypatch):
    from lens.engine.weights import edited_weights
    from tests.models import speaking

    model = speaking("llama")
    pair = lens.Pair("w3 w17 w5 w80", corrupted="w3 w17 w9 w80", answer=" w11", foil=" w23")
    name, compared, own = "model.layers.1.mlp.down_proj", [], State.remember
    monkeypatch.setattr(State, "remember", lambda self, key: (compared.append(key), own(self, key))[1])

    def values(weight):
        compared.clear()
        with edited_weights(model, {name: weight}):
            found = lens.patch(model, pair, "resid_pre", layers=[2], progress=False)
            with torch.no_grad():
                logits = model(torch.tensor([[3, 17, 5, 80]])).logits[0, -1]
        assert float(found.clean) == pytest.approx(float(logits[11] - logits[23]), abs=1e-4)
        return len(compared), found.value.values

    old = model.model.layers[1].mlp.down_proj.weight.detach().clone()
    half, none = old * 0.5, torch.zeros_like(old)
    first, again, other = values(half), values(half), values(none)
    assert (
        first[0] == 2
        and again[0] == 0
        and other[0] == 2
        and np.array_equal(first[1], again[1])
        and not np.array_equal(first[1], other[1])
    )
    assert values(half)[0] == 0 and torch.equal(model.model.layers[1].mlp.down_proj.weight, old)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_text_on_which_the_models_own_logits_are_not_finite_is_not_taken_for_compared(value):
    """A module of the person's own whose output breaks beyond the tokens of the probe, on the model's own way of
    calling it alone.
    """

    class Breaks(torch.nn.Linear):
        def forward(self, x):
            out = super().forward(x)
            return out * value if x.ndim == 3 and x.shape[1] > 10 else out

    model = with_own_layer(Breaks)
    with pytest.raises(UnsupportedModel, match="text of 14 tokens"):
        WalkRuns.of(Decoder.of(model), [IDS[0]])
    with pytest.raises(RunError, match="not finite"):
        patched(model)
