"""``lens.patch_between``: one model's states in another, and the copies beside them; by plain hooks."""

import dataclasses

import numpy as np
import pytest
import torch

import lens
from tests import naive
from tests.models import speaking, tiny, word_tokenizer

PROMPTS = [
    lens.Pair(
        "w1 w2 w3 w4 w5", corrupted="w1 w9 w3 w4 w5", answer=" w7", foil=" w8", spans={"subject": "w2"}, label="a"
    ),
    lens.Pair("w21 w22 w3 w14 w5", corrupted="w9 w22 w3 w14 w5", answer=" w17", foil=" w8", label="b"),
    lens.Pair("w31 w12 w33 w4 w6", corrupted="w31 w9 w33 w4 w6", answer=" w5", foil=" w12", label="c"),
]


@pytest.fixture(scope="module")
def models():
    """Into, source and twin, on attention that plain hooks can read."""
    made = [speaking("llama", seed) for seed in range(3)]
    for model in made:
        model.set_attn_implementation("naive")
    return made


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


def edited(model, pair, site, layer, position, value):
    def change(x):
        x = x.clone()
        x[0, position] = value
        return x

    return difference(naive.forward(model, ids(pair.clean), [(site, layer, change)])[-1], pair)


def difference(logits, pair):
    return (logits[int(pair.answer[2:])] - logits[int(pair.foil[2:])]).item()


def moved(own, theirs, seed, prompt, layer, position):
    """A state as far from into's as the source's is, by the rule that says which direction."""
    draw = torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, prompt, layer, position]).generate_state(1)[0])
    )
    direction = torch.randn((1, *own.shape), generator=draw)[0]
    return own + direction * (theirs - own).norm() / direction.norm()


@pytest.mark.parametrize("site", ["resid_post", "z"])
def test_every_copy_is_that_of_plain_hooks(models, site):
    into, source, twin = models
    ds = lens.patch_between(into, source, PROMPTS, site, twin=twin, seed=3)
    partners = lens.record(ds)["call"]["partners"]
    assert ds.control.values.tolist() == ["another_prompt", "random", "twin"]
    assert all(p != i for i, p in enumerate(partners))
    largest = float(abs(ds.effect).max())
    for i, pair in enumerate(PROMPTS):
        text = ids(pair.clean)
        base = difference(naive.forward(into, text)[-1], pair)
        assert float(ds["into"][i]) == pytest.approx(base, abs=1e-4)
        assert float(ds.source[i]) == pytest.approx(difference(naive.forward(source, text)[-1], pair), abs=1e-4)
        for layer in range(3):
            own = naive.activation(into, text, site, layer)
            theirs = naive.activation(source, text, site, layer)
            other = naive.activation(source, ids(PROMPTS[partners[i]].clean), site, layer)
            third = naive.activation(twin, text, site, layer)
            for p in range(5):
                at = dict(prompt=i, layer=layer, position=p)
                values = (theirs[p], other[p], moved(own[p], theirs[p], 3, i, layer, p), third[p])
                want = [edited(into, pair, site, layer, p, v) - base for v in values]
                seen = [float(ds.effect.isel(at)), *ds.control_effect.isel(at).values]
                assert np.allclose(seen, want, atol=1e-4 * largest), (at, seen, want)
                assert np.allclose(ds.beyond.isel(at), want[0] - np.array(want[1:]), atol=2e-4 * largest)


def test_places_by_name_have_every_control(models):
    """The other prompt need not have the names: places are those of the prompt that is edited."""
    into, source, _ = models
    named = [dataclasses.replace(p, spans={"it": p.clean.split()[1]}, corrupted=p.clean) for p in PROMPTS]
    ds = lens.patch_between(into, source, named, positions=["it"], layers=[1], seed=3)
    plain = lens.patch_between(into, source, PROMPTS, positions=[1], layers=[1], seed=3)
    assert ds.control.values.tolist() == ["another_prompt", "random"] and ds.position.values.tolist() == ["it"]
    np.testing.assert_allclose(ds.control_effect.values, plain.control_effect.values, atol=1e-6)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["gpt2", "olmo2", "gpt_neox"])
def test_every_type_takes_another_model_s_states(kind):
    into, source = speaking(kind, 0), speaking(kind, 1)
    for model in (into, source):
        model.set_attn_implementation("naive")
    ds = lens.patch_between(into, source, PROMPTS[0])
    text = ids(PROMPTS[0].clean)
    for layer in range(3):
        theirs = naive.activation(source, text, "resid_post", layer)
        for p in range(5):
            want = edited(into, PROMPTS[0], "resid_post", layer, p, theirs[p])
            assert float(ds.value[layer, p]) == pytest.approx(want, abs=1e-4 * float(abs(ds.effect).max()) + 1e-5)


def test_the_last_state_of_a_model_with_the_same_head_gives_its_answer(models):
    into = models[0]
    source = speaking("llama", 0)
    with torch.no_grad():  # blocks alone differ: the last state is read by the same norm and head
        for layer in source.model.layers:
            layer.mlp.down_proj.weight.mul_(1.5)
    ds = lens.patch_between(into, source, PROMPTS, controls=())
    assert "control_effect" not in ds and "control" not in ds.dims
    last = ds.isel(layer=-1, position=-1)
    assert np.allclose(last.value, ds.source, atol=1e-4) and np.allclose(last.normalized, 1, atol=1e-4)
    assert np.allclose(ds.isel(layer=-1, position=slice(None, -1)).effect, 0, atol=1e-6)


def test_texts_are_told_apart_by_what_the_two_models_say(models):
    into, source, _ = models
    ds = lens.patch_between(into, source, ["w1 w2 w3", "w4 w5 w6"], layers=[2])
    for i, text in enumerate(("w1 w2 w3", "w4 w5 w6")):
        says = naive.forward(source, ids(text))[-1].argmax().item()
        own = naive.forward(into, ids(text))[-1]
        own[says] = -torch.inf
        pair = lens.record(ds)["pairs"][i]
        assert (pair["answer"], pair["foil"]) == (f" w{says}", f" w{own.argmax().item()}")
    single = lens.patch_between(into, source, "w1 w2 w3", layers=[2])
    assert "prompt" not in single.dims and np.allclose(single.effect, ds.effect[0], atol=1e-5)
    assert lens.record(single)["call"]["left_out"]["another_prompt"].startswith("controls=('another_prompt',)")


def test_several_sites_share_one_result_and_a_summary(models):
    into, source, twin = models
    ds = lens.patch_between(into, source, PROMPTS, ("attn_out", "mlp_out"), twin=twin, layers=[0, 2])
    one = lens.patch_between(into, source, PROMPTS, "mlp_out", twin=twin, layers=[0, 2])
    assert ds.sizes["site"] == 2
    assert np.allclose(ds.beyond.sel(site="mlp_out").transpose(*one.beyond.dims), one.beyond, atol=1e-5)
    table = lens.summary(one, "beyond")
    assert set(table["mean"].dims) == {"control", "layer", "position"}
    assert np.allclose(table["mean"].transpose(*one.beyond.mean("prompt").dims), one.beyond.mean("prompt"), atol=1e-6)
    assert (table.n == 3).all() and lens.record(one)["call"]["copies"]["twin"]["hash"]


def test_a_stop_leaves_what_was_computed(models):
    into, source, twin = models
    ds = lens.patch_between(into, source, PROMPTS, twin=twin, stop=lambda: True)
    assert lens.record(ds)["status"] == "partial" and np.isnan(ds.control_effect).all()
    assert lens.patching.last_partial() is ds


def test_models_that_do_not_fit_are_refused_by_name(models):
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.models import _SIZE

    into, source, twin = models

    def of(**other):
        model = LlamaForCausalLM(LlamaConfig(**{**_SIZE, "num_key_value_heads": 2, **other})).eval()
        model.tokenizer = word_tokenizer()
        return model

    with pytest.raises(lens.PatchError, match="source: it is the very model `into`"):
        lens.patch_between(into, into, PROMPTS)
    with pytest.raises(lens.PatchError, match="source: its d_model is 48, this model's 32"):
        lens.patch_between(into, of(hidden_size=48), PROMPTS)
    with pytest.raises(lens.PatchError, match="source: it has 2 layers, `into` 3"):
        lens.patch_between(into, of(num_hidden_layers=2), PROMPTS)
    other = of()
    other.tokenizer.add_tokens(["w1 w2"])
    with pytest.raises(lens.PatchError, match=r"source: its tokenizer reads prompts\[0\] as \[97, .*as \[1, 2,"):
        lens.patch_between(into, other, PROMPTS)
    with pytest.raises(lens.PatchError, match="metric='kl' compares with the clean run by one model's head"):
        lens.patch_between(into, source, PROMPTS, metric="kl")
    for wrong, said in (
        (into, "twin: it has the weights of `into`"),
        (source, "twin: it has the weights of `source`"),
        (speaking("llama", 1), "twin: it has the weights of `source`"),
        (of(hidden_size=48), "twin: its d_model is 48"),
        (of(num_hidden_layers=2), "twin: its n_layers is 2, that of `into` 3"),
        (speaking("qwen2", 4), "twin: its model_type is qwen2, that of `into` llama"),
    ):
        with pytest.raises(lens.PatchError, match=said):
            lens.patch_between(into, source, PROMPTS, twin=wrong)
    del twin


def test_prompts_and_controls_that_do_not_fit_are_refused(models):
    into, source, _ = models
    with pytest.raises(
        lens.PatchError, match=r"prompts\[0\] \(5 tokens\) has no partner among the 1 prompts of the call"
    ):
        lens.patch_between(into, source, PROMPTS[:1], controls=("another_prompt",))
    same = [PROMPTS[0], dataclasses.replace(PROMPTS[1], answer=" w7")]
    with pytest.raises(lens.PatchError, match="and another answer"):
        lens.patch_between(into, source, same, controls=("another_prompt",))
    with pytest.raises(lens.PatchError, match="controls"):
        lens.patch_between(into, source, PROMPTS, controls=("twin",))
    with pytest.raises(lens.PatchError, match=r"prompts=\[\] holds no prompt"):
        lens.patch_between(into, source, [])
    with pytest.raises(lens.PatchError, match=r"prompts\[1\]=3 is no prompt"):
        lens.patch_between(into, source, [PROMPTS[0], 3])
    for sites in ([], ["resid_post", "resid_post"]):
        with pytest.raises(lens.PatchError, match="sites="):
            lens.patch_between(into, source, PROMPTS, sites)
    with pytest.raises(lens.SiteError, match="site='resid' is not known"):
        lens.patch_between(into, source, PROMPTS, "resid")
    with pytest.raises(lens.MetricError, match="needs a foil"):
        lens.patch_between(into, source, dataclasses.replace(PROMPTS[0], foil=None))
    with pytest.raises(lens.PatchError, match="a pattern moved at random is none"):
        lens.patch_between(into, source, PROMPTS, "pattern", controls=("random",))


def test_an_adapter_on_and_off(tmp_path):
    from peft import LoraConfig, get_peft_model

    plain, tuned = speaking("llama", 0), tiny("llama", 0)
    tuned = get_peft_model(tuned, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)).eval()
    tuned.tokenizer = word_tokenizer()
    ds = lens.patch_between(plain, tuned, PROMPTS[0], controls=())
    text = ids(PROMPTS[0].clean)
    with torch.no_grad():
        hidden = tuned(text[None], output_hidden_states=True).hidden_states

        def put(module, args, out):
            out[0, 2] = hidden[2][0, 2]
            return out

        handle = plain.model.layers[1].register_forward_hook(put)
        want = difference(plain(text[None]).logits[0, -1], PROMPTS[0])
        handle.remove()
    assert float(ds.value[1, 2]) == pytest.approx(want, abs=1e-4)
