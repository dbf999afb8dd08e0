"""Models whose weights accelerate keeps on disk: equal to the bit to the same model in memory."""

import copy
import importlib

import numpy as np
import pytest
import torch
from torch import nn

import lens
from lens.engine.linear import linears
from lens.engine.model import Model
from lens.engine.weights import WeightError, apply_weights
from lens.models import LoadError
from lens.models.hash import weight_hash
from lens.prompts import Pair
from lens.scoring.rows import score
from tests.models import tiny, word_tokenizer
from tests.placed import judged_parts, on_disk, pair_of, reads
from tests.variants import few

PAIR = Pair("w3 w5 w7 w11 w13 w2", "w3 w5 w8 w11 w13 w2", " w9", " w4")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gpt_neox"])
def test_every_site_is_patched_as_in_memory(kind, tmp_path):
    model, offloaded = pair_of(kind, tmp_path)
    assert Model.of(offloaded).walked is not None
    sites = [
        s for s in ("resid_pre", "resid_mid", "attn_out", "z", "k", "v", "mlp_out", "pattern") if Model.of(model).has(s)
    ]
    for site in sites:
        over = ("layer", "head") if site in ("z", "k", "v", "pattern") else ("layer", "position")
        ours, want = (lens.patch(m, PAIR, site, over, progress=False) for m in (offloaded, model))
        np.testing.assert_array_equal(ours.value, want.value, err_msg=site)
        assert float(np.abs(want.effect).max()) > 1e-3


def test_the_hash_is_that_of_the_weights_and_stays_after_a_forward(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    assert weight_hash(offloaded) == weight_hash(model)
    ids = torch.arange(6)[None]
    assert torch.equal(offloaded(ids).logits, model(ids).logits)
    assert weight_hash(offloaded) == weight_hash(offloaded, anew=True) == weight_hash(model)


@pytest.mark.parametrize("chunk", [2048, 8])
def test_a_sweep_reads_each_offloaded_weight_twice_however_many_chunks(chunk, tmp_path, monkeypatch):
    monkeypatch.setattr("lens.engine.walk.rows.CHUNK_TOKENS", chunk)
    monkeypatch.setattr("lens.engine.walk.runs.CHUNK_TOKENS", chunk)
    model, offloaded = pair_of("llama", tmp_path)
    pairs = [PAIR, Pair("w3 w5 w7 w11", "w3 w6 w7 w11", " w9", " w4")]
    first = lens.patch(offloaded, pairs, progress=False)  # compares with the model's own forward, and hashes
    with reads() as counts:
        again = lens.patch(offloaded, pairs, progress=False, stop=lambda: False)
    assert len(counts) == 27 and set(counts.values()) == {2}
    want = lens.patch(model, pairs, progress=False)
    np.testing.assert_array_equal(first.value, want.value)
    np.testing.assert_array_equal(again.value, want.value)


def test_what_is_set_aside_is_put_back_when_a_sweep_ends_early(tmp_path, monkeypatch):
    model, offloaded = pair_of("llama", tmp_path)
    lens.patch(offloaded, PAIR, progress=False)
    before = [(dict(m._parameters), m.__dict__.get("forward")) for m in offloaded.modules()]
    plain = importlib.import_module("lens.engine.walk.rows").feed_forward

    def interrupted(block, *rest):
        if block.layer is offloaded.model.layers[1]:
            raise KeyboardInterrupt
        return plain(block, *rest)

    monkeypatch.setattr("lens.engine.walk.rows.feed_forward", interrupted)
    assert lens.record(lens.patch(offloaded, PAIR, progress=False))["status"] == "partial"
    after = [(dict(m._parameters), m.__dict__.get("forward")) for m in offloaded.modules()]
    for (weights, forward), (now, same) in zip(before, after, strict=True):
        assert forward is same and weights.keys() == now.keys()
        assert all(now[key] is value for key, value in weights.items())
    ids = torch.arange(6)[None]
    assert torch.equal(offloaded(ids).logits, model(ids).logits)


def test_edits_of_offloaded_weights_are_refused_by_name(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    name = "model.layers.1.mlp.down_proj"
    new = {name: linears(model, name)[name].weight + 1}
    torch.testing.assert_close(linears(offloaded, name)[name].weight, linears(model, name)[name].weight, rtol=0, atol=0)
    with pytest.raises(WeightError, match=f"{name}: its weight is offloaded"):
        apply_weights(offloaded, new)


def test_a_weight_that_was_set_while_it_is_offloaded_is_refused_by_name(tmp_path):
    _, offloaded = pair_of("llama", tmp_path)
    layer = offloaded.model.layers[1].mlp.down_proj
    layer.weight = nn.Parameter(torch.zeros(32, 48), requires_grad=False)
    with pytest.raises(LoadError, match="'model.layers.1.mlp.down_proj.weight' was set while it is offloaded"):
        lens.patch(offloaded, PAIR, progress=False)


def test_a_changed_file_changes_the_hash(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    old, file = weight_hash(offloaded), tmp_path / "model.layers.1.mlp.down_proj.weight.dat"
    values = np.fromfile(file, np.float32)
    values[3] += 1
    file.write_bytes(values.tobytes())
    assert weight_hash(offloaded) != old
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight.view(-1)[3] += 1
    assert weight_hash(offloaded) == weight_hash(model)


def test_a_weight_on_meta_is_never_read():
    model = tiny("llama")
    layer = model.model.layers[0].mlp.up_proj
    layer.weight = nn.Parameter(layer.weight.to("meta"), requires_grad=False)
    model.tokenizer = word_tokenizer()
    with pytest.raises(LoadError, match="'model.layers.0.mlp.up_proj.weight' is on the meta device"):
        lens.patch(model, PAIR, progress=False)
    with pytest.raises(LoadError, match="'model.layers.0.mlp.up_proj.weight' is on the meta device"):
        lens.models.wrap(model, word_tokenizer())


def test_an_adapter_is_loaded_onto_an_offloaded_model_and_not_made_on_it(tmp_path):
    peft = pytest.importorskip("peft")
    model, offloaded = pair_of("llama", tmp_path / "blocks")
    adapted = peft.get_peft_model(copy.deepcopy(model), peft.LoraConfig(target_modules=["q_proj"], r=2))
    for name, p in adapted.named_parameters():
        if "lora_" in name:
            p.data.normal_(generator=torch.Generator().manual_seed(len(name)))
    adapted.eval().save_pretrained(tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(offloaded, tmp_path / "adapter").eval()
    adapted.tokenizer = loaded.tokenizer = model.tokenizer
    ours, want = (lens.patch(m, PAIR, progress=False) for m in (loaded, adapted))
    np.testing.assert_allclose(ours.value, want.value, rtol=0, atol=1e-5)
    _, other = pair_of("llama", tmp_path / "other")
    made = peft.get_peft_model(other, peft.LoraConfig(target_modules=["q_proj"], r=2)).eval()
    made.tokenizer = model.tokenizer
    with pytest.raises(lens.Error, match="is on the meta device.*PeftModel.from_pretrained"):
        lens.patch(made, PAIR, progress=False)


def test_rwkv_offloaded_is_refused_by_name(tmp_path):
    from transformers import RwkvConfig, RwkvForCausalLM

    config = RwkvConfig(vocab_size=97, hidden_size=32, attention_hidden_size=32, num_hidden_layers=3, rescale_every=2)
    model = on_disk(RwkvForCausalLM(config).eval().requires_grad_(False), tmp_path)
    model.tokenizer = word_tokenizer()
    for call in (lambda: lens.patch(model, PAIR, progress=False), lambda: score(model, [[1, 2, 3]])):
        with pytest.raises(lens.Error, match="RWKV divides its weights in place"):
            call()


def test_tensor_parallelism_is_refused_by_name(tmp_path):
    import torch.distributed as dist
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    model = tiny("llama")
    model.tokenizer = word_tokenizer()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/rendezvous", rank=0, world_size=1)
    try:
        layer = model.model.layers[0].mlp.up_proj
        cut = distribute_tensor(layer.weight.detach(), init_device_mesh("cpu", (1,)), [Shard(0)])
        layer.weight = nn.Parameter(cut, requires_grad=False)
        with pytest.raises(LoadError, match="tensor parallelism .*'model.layers.0.mlp.up_proj.weight'.*device_map"):
            lens.patch(model, PAIR, progress=False)
    finally:
        dist.destroy_process_group()


def test_an_offloaded_model_stays_plain_and_scores_where_it_is(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    with pytest.warns(UserWarning, match="comes back as the plain.*accelerate has spread it"):
        assert lens.models.wrap(offloaded, word_tokenizer(), "tiny") is offloaded
    rows = [[1, 2, 3, 4], [5, 6, 7]]
    for ours, want in zip(*(score(m, rows, start=None).logprob for m in (offloaded, model)), strict=True):
        np.testing.assert_allclose(ours, want, rtol=0, atol=1e-5)
    assert all(p.is_meta for p in offloaded.model.layers.parameters())


@pytest.mark.parametrize("what", ["layers", "embedding"])
def test_training_an_offloaded_model_is_refused_by_name(what, tmp_path):
    from lens.training import Recipe, Rows, TrainingError, train

    _, offloaded = pair_of("llama", tmp_path)
    with pytest.raises(TrainingError, match="its weights are offloaded"):
        train(
            offloaded,
            Rows.of([([1, 2, 3], [4])]),
            Recipe(steps=1, batch=1, learning_rate=1e-2),
            parameters=lambda name: (what == "layers") == ("layers" in name),
        )
    assert not any(p.requires_grad for p in offloaded.parameters())


@pytest.mark.parametrize("method", ["subnet", "gradient_ascent", "zero_out"])
def test_what_learns_weights_refuses_offloaded_ones_and_what_leaves_them_out_is_right(method, tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    rows = [[1, 2, 3, 4, 5, 6, 7, 8], [9, 8, 7, 6, 5, 4, 3, 2]]
    if method == "zero_out":
        ours, want = (lens.subspace.zero_out(m, rows).mask(0.05) for m in (offloaded, model))
        assert ours.iou(want) == 1 and want.count > 0
        return
    with pytest.raises(lens.Error, match="model.layers.0.mlp.gate_proj: its weight is offloaded"):
        getattr(lens.subspace, method)(offloaded, rows)


@pytest.mark.slow
@pytest.mark.parametrize(
    "row, columns, path",
    few(
        [
            (
                "llama",
                "attribution,path_patch,causal_trace,explain_cell,injection_sweep,injection_live,head_effects",
                None,
            ),
            (
                "llama",
                "logit_lens,direct_logit_attribution,head_vocabulary,vectors,steering,scoring,attribution",
                "layers",
            ),
            ("gpt2", "attribution,direct_logit_attribution,head_vocabulary,head_effects,steering", None),
            ("qwen3_moe", "resid_pre,z,router,expert,attribution", None),
            ("gemma2", "resid_pre,z,pattern,attribution,scoring", None),
        ],
        lambda case: case[0] != "gemma2",
    ),
)
def test_methods_with_the_embedding_and_the_head_on_disk_too(row, columns, path, tmp_path):
    def place(model):
        tied = model.config.tie_word_embeddings
        return on_disk(
            model,
            tmp_path,
            lambda name: "rotary" not in name and not (tied and ("emb" in name or "wte" in name or "head" in name)),
        )

    wrong = [one for one in judged_parts(row, columns.split(","), place, path) if one["said"] not in ("exact", "none")]
    assert not wrong, wrong


def test_texts_of_a_batch_are_those_of_the_model_in_memory(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    site, push = lens.Site("resid_post", 1), torch.ones(32)
    gate = lens.Gate.projection(lens.Site("resid_pre", 1), push, 0.0)
    edit = lens.Edit(site, "add", push, when=gate)
    ours, want = (
        lens.generate(m, [[3, 5, 7], [3, 5], [9] * 6], edit, max_new_tokens=4, capture=site) for m in (offloaded, model)
    )
    assert Model.of(offloaded).walked is not None
    assert [(t.ids, t.fired) for t in ours] == [(t.ids, t.fired) for t in want]
    for a, b in zip(ours, want):
        torch.testing.assert_close(a.activations[site], b.activations[site], atol=1e-5, rtol=1e-5)
