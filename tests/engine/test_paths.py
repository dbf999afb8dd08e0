"""Patching without the written-out blocks: the same labelled result, by way of stock layers or of hooked full
forwards.
"""

import itertools
import json
import warnings

import numpy as np
import pytest
import torch
import transformers as T
from torch import nn

import lens
from lens import Pair, PatchError, SiteError
from lens.engine.errors import UnsupportedModel
from lens.engine.layers import Layers
from lens.engine.walk.decoder import Decoder
from lens.patching import last_partial
from tests.conftest import word_tokenizer
from tests.models import tiny
from tests.variants import few

PAIR = Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
LONGER = Pair(
    "w7 w1 w2 w3 w4 w5 w6 w8 w9",
    corrupted="w7 w1 w2 w30 w4 w5 w6 w8 w9",
    answer=" w13 w14",
    foil=" w15 w16 w17",
    label="longer",
)
TOLERANCE = 1e-4


def with_tokenizer(hf):
    hf.tokenizer = word_tokenizer()
    return hf


@pytest.fixture(scope="module")
def llama():
    return with_tokenizer(tiny("llama"))


def forget(model):
    """The engine's view of a model is made anew."""
    getattr(model, "original_model", model).__dict__.pop("_mnemoscope_model", None)


def refuse(monkeypatch, *owners):
    """Makes the paths named refuse every model."""

    def no(*_, **__):
        raise UnsupportedModel("refused by the test.")

    for owner in owners:
        monkeypatch.setattr(owner, "of" if owner is Decoder else "__init__", no)


def patched(monkeypatch, engine, *args, **kwargs):
    forget(args[0])
    try:
        with monkeypatch.context() as m, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            refuse(m, *{"layers": (Decoder,), "hooks": (Decoder, Layers)}[engine])
            ds = lens.patch(*args, **kwargs)
    finally:
        forget(args[0])
    assert lens.record(ds)["engine"]["name"] == engine
    return ds


def assert_same(ds, fast):
    assert set(ds.variables) == set(fast.variables) and ds.sizes == fast.sizes
    for name in fast.variables:
        if fast[name].dtype.kind == "f":
            scale = max(1.0, float(np.nanmax(np.abs(fast[name].values))))
            np.testing.assert_allclose(ds[name].values, fast[name].values, atol=TOLERANCE * scale, equal_nan=True)
        else:
            assert (ds[name].values == fast[name].values).all()
        assert ds[name].attrs == fast[name].attrs
    ours, theirs = lens.record(ds), lens.record(fast)
    assert ours["call"] == theirs["call"] and ours["model"] == theirs["model"] and ours["status"] == "complete"


@pytest.mark.parametrize("engine", ["layers", "hooks"])
@pytest.mark.parametrize(
    "site, options",
    [
        ("resid_pre", {}),
        ("resid_post", dict(direction="noise", metric="kl")),
        ("embed", dict(metric="prob")),
        ("resid_mid", dict(layers=[0, 2], positions=["last", "first_difference"])),
        ("attn_out", dict(window=2, over=("layer",))),
        ("mlp_out", dict(metric=lambda logits, encoded: logits[:, 5], layers=slice(1, None), memory_mb=0.01)),
        ("z", dict(over=("layer", "head"), heads=[1, 3])),
        ("v", dict(over=("layer", "head", "position"), direction="noise", metric="logprob")),
        ("q", dict(over=("layer", "head"))),
        ("neuron", dict(positions=[3, -1])),
    ],
)
def test_both_ways_give_what_the_fast_path_gives(engine, site, options, llama, monkeypatch):
    fast = lens.patch(llama, PAIR, site, **options)
    assert lens.record(fast)["engine"]["name"] == "walk"
    assert_same(patched(monkeypatch, engine, llama, PAIR, site, **options), fast)


@pytest.mark.parametrize("engine", ["layers", "hooks"])
def test_several_pairs_of_other_lengths_and_answers_of_several_tokens(engine, llama, monkeypatch):
    pairs = [PAIR, LONGER]
    for metric in ("logprob_diff", "prob"):
        fast = lens.patch(llama, pairs, "resid_pre", metric=metric)
        assert_same(patched(monkeypatch, engine, llama, pairs, "resid_pre", metric=metric), fast)


@pytest.mark.parametrize(
    ("kind", "where"),
    few(
        itertools.product(("gpt2", "gpt_neox", "olmo2"), ("plain", "bridge")),
        [("gpt2", "bridge"), ("gpt_neox", "plain"), ("olmo2", "plain")],
    ),
)
def test_other_blocks_and_bridges(kind, where, tiny_bridge, monkeypatch):
    model = with_tokenizer(tiny(kind)) if where == "plain" else tiny_bridge(kind)[0]
    for site, over in (("attn_out", ("layer", "position")), ("k", ("layer", "head"))):
        fast = lens.patch(model, PAIR, site, over)
        for engine in ("layers", "hooks"):
            assert_same(patched(monkeypatch, engine, model, PAIR, site, over), fast)


def test_patterns_go_by_full_forwards(llama, monkeypatch):
    fast = lens.patch(llama, PAIR, "pattern", ("layer", "head"))
    forget(llama)
    refuse(monkeypatch, Decoder)
    with pytest.warns(UserWarning, match="full forwards with hooks.*refused by the test.*patterns"):
        ds = lens.patch(llama, PAIR, "pattern", ("layer", "head"))
    forget(llama)
    assert lens.record(ds)["engine"]["name"] == "hooks"
    assert_same(ds, fast)


def test_a_model_type_that_the_fast_path_does_not_know():
    torch.manual_seed(0)
    config = T.Starcoder2Config(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=64,
        initializer_range=0.3,
        sliding_window=5,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    model = with_tokenizer(T.Starcoder2ForCausalLM(config).eval().requires_grad_(False))
    with pytest.warns(UserWarning, match="starcoder2: .*own layers.*is not one of") as told:
        ds = lens.patch(model, PAIR, "resid_pre")
        lens.patch(model, PAIR, "resid_post")
    assert len(told) == 1, "said once a model"
    record = lens.record(ds)
    assert record["engine"]["name"] == "layers" and record["status"] == "complete"
    assert [t.strip() for t in ds.token_clean.values.tolist()] == PAIR.clean.split()
    clean, corrupted = (torch.tensor([int(w[1:]) for w in text.split()]) for text in (PAIR.clean, PAIR.corrupted))
    with torch.no_grad():
        inputs = model.model(clean[None], output_hidden_states=True).hidden_states
        for layer in range(3):
            for position in range(7):

                def hook(_, args, kwargs):
                    x = args[0].clone()
                    x[:, position] = inputs[layer][:, position]
                    return (x, *args[1:]), kwargs

                handle = model.model.layers[layer].register_forward_pre_hook(hook, with_kwargs=True)
                logits = model(corrupted[None]).logits[0, -1]
                handle.remove()
                assert abs(float(ds.value[layer, position]) - float(logits[11] - logits[12])) <= TOLERANCE
    assert (ds.effect[:, :3] == 0).all()
    seen = lens.explain_cell(model, PAIR, "resid_pre", 1, 3)
    assert seen.edited_value == pytest.approx(float(ds.value.sel(layer=1, position=3)), abs=TOLERANCE)


def test_layers_that_cannot_be_driven_go_by_hooks_with_a_warning():
    torch.manual_seed(0)
    bloom = with_tokenizer(
        T.BloomForCausalLM(T.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.3))
        .eval()
        .requires_grad_(False)
    )
    with pytest.warns(UserWarning, match="full forwards with hooks.*'bloom'.*alibi"):
        ds = lens.patch(bloom, PAIR, "resid_pre", layers=[1])
    with torch.no_grad():
        clean, corrupted = (torch.tensor([[int(w[1:]) for w in text.split()]]) for text in (PAIR.clean, PAIR.corrupted))
        source = bloom.transformer(clean, output_hidden_states=True).hidden_states[1]

        def hook(_, args, kwargs):
            x = args[0].clone()
            x[:, 3] = source[:, 3]
            return (x, *args[1:]), kwargs

        handle = bloom.transformer.h[1].register_forward_pre_hook(hook, with_kwargs=True)
        logits = bloom(corrupted).logits[0, -1]
        handle.remove()
    assert float(ds.value.sel(position=3, layer=1)) == pytest.approx(float(logits[11] - logits[12]), abs=TOLERANCE)
    with pytest.raises(SiteError, match="site='router' does not exist"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lens.patch(bloom, PAIR, "router", ("layer", "position"))


def test_a_prompt_beyond_a_sliding_window_on_the_stock_layers(monkeypatch):
    torch.manual_seed(0)
    config = T.Starcoder2Config(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=48,
        max_position_embeddings=32,
        initializer_range=0.3,
        sliding_window=9,
    )
    model = with_tokenizer(T.Starcoder2ForCausalLM(config).eval().requires_grad_(False))
    words = [f"w{i}" for i in range(20, 34)]
    long = Pair(" ".join(words), corrupted=" ".join([*words[:6], "w90", *words[7:]]), answer=" w11", foil=" w12")
    assert lens.record(lens.patch(model, PAIR, "resid_pre"))["engine"]["name"] == "layers"
    ds = lens.patch(model, long, "z", ("layer", "head"))
    assert lens.record(ds)["engine"]["name"] == "layers"
    assert_same(patched(monkeypatch, "hooks", model, long, "z", ("layer", "head")), ds)
    too_long = Pair(" ".join(words * 3), corrupted=" ".join(["w90", *(words * 3)[1:]]), answer=" w11", foil=" w12")
    with pytest.raises(lens.Error, match="42 tokens.*32 positions"):
        lens.patch(model, too_long, "resid_pre")


@pytest.mark.parametrize("engine", ["layers", "hooks"])
def test_parts_come_from_the_last_layers_and_stopping_leaves_what_is_there(engine, llama, monkeypatch):
    monkeypatch.setattr("lens.engine.sweep.WATCHED_LAYERS", 1)
    parts = []
    whole = patched(monkeypatch, engine, llama, PAIR, "resid_pre", on_part=lambda ds: parts.append(ds))
    assert [sorted(ds.layer.values[np.isfinite(ds.value.values).all(1)]) for ds in parts] == [[2], [1, 2], [0, 1, 2]]
    assert [lens.record(ds)["status"] for ds in parts] == ["partial"] * 3
    asked = []
    partial = patched(
        monkeypatch, engine, llama, PAIR, "resid_pre", stop=lambda: bool(asked), on_part=lambda ds: asked.append(1)
    )
    assert lens.record(partial)["status"] == "partial"
    assert np.isfinite(partial.value.values).all(1).tolist() == [False, False, True]
    np.testing.assert_array_equal(partial.value.values[2], whole.value.values[2])
    assert last_partial().identical(partial)
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in llama.modules())


@pytest.mark.parametrize("engine, owner", [("layers", None), ("hooks", None)])
def test_an_interrupt_leaves_a_partial_result_and_no_hook(engine, owner, llama, monkeypatch):
    monkeypatch.setattr("lens.engine.sweep.WATCHED_LAYERS", 1)
    interrupted = []

    def on_part(ds):
        def strike(*_):
            interrupted[-1].remove()
            raise KeyboardInterrupt

        interrupted.append(llama.model.layers[1].register_forward_pre_hook(strike))

    try:
        partial = patched(monkeypatch, engine, llama, PAIR, "attn_out", on_part=on_part)
    finally:
        for handle in interrupted:
            handle.remove()
    assert lens.record(partial)["status"] == "partial" and np.isfinite(partial.value.values).any(1).tolist() == [
        False,
        False,
        True,
    ]
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in llama.modules())


def test_a_store_takes_up_where_it_was_cut(llama, monkeypatch, tmp_path):
    monkeypatch.setattr("lens.engine.sweep.WATCHED_LAYERS", 1)
    asked, path = [], str(tmp_path / "sweep.zarr")
    patched(
        monkeypatch,
        "layers",
        llama,
        PAIR,
        "resid_pre",
        store=path,
        stop=lambda: bool(asked),
        on_part=lambda ds: asked.append(1),
    )
    runs, run = [], Layers.run
    monkeypatch.setattr(
        Layers,
        "run",
        lambda self, base, rows, *rest, **more: (
            runs.append(len(rows)) if len(base.ids) == 7 else None,
            run(self, base, rows, *rest, **more),
        )[1],
    )
    ds = patched(monkeypatch, "layers", llama, PAIR, "resid_pre", store=path)
    assert_same(ds, lens.patch(llama, PAIR, "resid_pre"))
    # layers 0 and 1 at the four positions from the first difference on
    assert sum(runs) == 8


def test_a_model_without_blocks_is_refused_by_name():
    class Odd(nn.Module):
        config = T.LlamaConfig(num_hidden_layers=2)

    odd = Odd()
    odd.config.model_type = "odd_net"
    odd.tokenizer = word_tokenizer()
    with pytest.raises(PatchError, match="(?s)'odd_net'.*blocks.*llama, mistral"):
        lens.patch(odd, PAIR, "resid_pre")


def test_an_error_in_the_users_metric_names_it_and_leaves_no_hook(llama, monkeypatch):
    def broken(logits, encoded):
        raise ZeroDivisionError("mine")

    for engine in ("layers", "hooks"):
        with pytest.raises(lens.MetricError, match="broken.*ZeroDivisionError"):
            patched(monkeypatch, engine, llama, PAIR, "resid_pre", metric=broken)
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in m.__dict__ for m in llama.modules())


def test_the_record_is_json(llama, monkeypatch):
    ds = patched(monkeypatch, "hooks", llama, PAIR, "resid_pre", layers=slice(0, 2))
    assert json.loads(ds.attrs["mnemoscope"])["engine"]["name"] == "hooks"


@pytest.mark.parametrize(
    "make",
    [
        lambda config: T.LlamaModel(config),
        lambda config: T.LlamaForSequenceClassification(config),
    ],
    ids=["base model", "classifier"],
)
def test_a_model_that_predicts_no_token_is_refused(make):
    from tests.models import word_tokenizer

    config = T.LlamaConfig(
        vocab_size=97, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, pad_token_id=0
    )
    model = make(config).eval()
    model.tokenizer = word_tokenizer()
    with pytest.raises(PatchError, match="predicts no token at each position"):
        lens.patch(
            model,
            lens.Pair("w3 w17 w5", corrupted="w3 w17 w9", answer=" w11", foil=" w23"),
            "resid_pre",
            progress=False,
        )


@pytest.mark.parametrize("new", [False, True])
def test_blocks_that_add_to_a_modules_output_in_place_have_their_ends(new):
    from tests.models import word_tokenizer

    torch.manual_seed(0)
    config = T.FalconConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_kv_heads=2,
        new_decoder_architecture=new,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = T.FalconForCausalLM(config).eval()
    model.tokenizer = word_tokenizer()
    pair = lens.Pair("w3 w17 w5 w8", corrupted="w3 w17 w9 w8", answer=" w11", foil=" w23")
    clean, corrupted = torch.tensor([[3, 17, 5, 8]]), torch.tensor([[3, 17, 9, 8]])
    for site, module in (("attn_out", lambda layer: layer.self_attention), ("mlp_out", lambda layer: layer.mlp)):
        found = lens.patch(model, pair, site, layers=[0], positions=[2], progress=False)
        kept, at = [], module(model.transformer.h[0])
        with torch.no_grad():
            hook = at.register_forward_hook(
                lambda m, args, out: kept.append((out[0] if isinstance(out, tuple) else out).clone())
            )
            model(clean)
            hook.remove()

            def put(m, args, out):
                x = (out[0] if isinstance(out, tuple) else out).clone()
                x[:, 2] = kept[0][:, 2]
                return (x, *out[1:]) if isinstance(out, tuple) else x

            hook = at.register_forward_hook(put)
            logits = model(corrupted).logits[0, -1]
            hook.remove()
        assert float(found.value.squeeze()) == pytest.approx(float(logits[11] - logits[23]), abs=1e-4)
