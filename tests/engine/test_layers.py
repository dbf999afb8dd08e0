"""Edited runs on stock layers against full forwards with hooks placed by hand, on random models of many types."""

import functools
import itertools

import pytest
import torch
import transformers as T

from lens.engine.edits import Edit
from lens.engine.errors import UnsupportedModel
from lens.engine.layers import Layers
from lens.engine.model import Model
from lens.engine.row_groups import grouped
from lens.engine.sites import Site
from tests.models import tiny
from tests.variants import few

_SIZE = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=3,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
_GROUPED = dict(_SIZE, num_key_value_heads=2)
_OLD = dict(vocab_size=97, n_embd=32, n_layer=3, n_head=4, n_positions=64, bos_token_id=0, eos_token_id=0)
_LLAMA = dict(attn="self_attn", mlp="mlp", o="self_attn.o_proj", down="mlp.down_proj")
_POST = dict(_LLAMA, attn="post_attention_layernorm", mlp="post_feedforward_layernorm")
#: kind -> model, and where its sites are: written down from the modelling files, not found by the code under test
MAKERS = {
    "gemma2": (
        lambda: T.Gemma2ForCausalLM(
            T.Gemma2Config(
                **_GROUPED, head_dim=8, sliding_window=6, query_pre_attn_scalar=8, final_logit_softcapping=5.0
            )
        ),
        _POST,
    ),
    "gemma3_text": (lambda: T.Gemma3ForCausalLM(T.Gemma3TextConfig(**_GROUPED, head_dim=8, sliding_window=6)), _POST),
    "phi3": (lambda: T.Phi3ForCausalLM(T.Phi3Config(**_GROUPED)), _LLAMA),
    "granite": (
        lambda: T.GraniteForCausalLM(
            T.GraniteConfig(**_GROUPED, residual_multiplier=0.4, logits_scaling=3.0, embedding_multiplier=2.0)
        ),
        dict(_LLAMA, times=0.4),
    ),
    "smollm3": (lambda: T.SmolLM3ForCausalLM(T.SmolLM3Config(**_GROUPED)), _LLAMA),
    "starcoder2": (lambda: T.Starcoder2ForCausalLM(T.Starcoder2Config(**_GROUPED)), dict(_LLAMA, down="mlp.c_proj")),
    "stablelm": (lambda: T.StableLmForCausalLM(T.StableLmConfig(**_GROUPED)), _LLAMA),
    "cohere": (lambda: T.CohereForCausalLM(T.CohereConfig(**_GROUPED, logit_scale=0.3)), _LLAMA),
    "phi": (lambda: T.PhiForCausalLM(T.PhiConfig(**_SIZE)), dict(_LLAMA, o="self_attn.dense", down="mlp.fc2")),
    "qwen3": (lambda: T.Qwen3ForCausalLM(T.Qwen3Config(**_GROUPED, head_dim=8)), _LLAMA),
    "olmo3": (lambda: T.Olmo3ForCausalLM(T.Olmo3Config(**_GROUPED, sliding_window=6)), _POST),
    "mixtral": (
        lambda: T.MixtralForCausalLM(T.MixtralConfig(**_GROUPED, num_local_experts=4)),
        dict(_LLAMA, down=None),
    ),
    "opt": (
        lambda: T.OPTForCausalLM(
            T.OPTConfig(
                vocab_size=97,
                hidden_size=32,
                num_hidden_layers=3,
                ffn_dim=48,
                num_attention_heads=4,
                max_position_embeddings=64,
                word_embed_proj_dim=32,
                init_std=0.3,
            )
        ),
        dict(attn="self_attn", mlp="fc2", o="self_attn.out_proj", down="fc2", layers="model.decoder.layers"),
    ),
    "gptj": (
        lambda: T.GPTJForCausalLM(T.GPTJConfig(**_OLD, rotary_dim=4, initializer_range=0.3)),
        dict(attn="attn", mlp="mlp", o="attn.out_proj", down="mlp.fc_out", layers="transformer.h"),
    ),
    "mistral": (lambda: T.MistralForCausalLM(T.MistralConfig(**_GROUPED, sliding_window=6)), _LLAMA),
}
#: Two kinds of layers, multipliers, a mixture, blocks in parallel with and without biases, no rotary tables, a last
#: stream in the shape of the tokens.
EACH = ["gemma2", "granite", "mixtral", "cohere", "phi", "opt", "gptj"]
LENGTH = 13
SITES = ("resid_pre", "resid_post", "attn_out", "mlp_out", "z", "neuron")


@functools.cache
def model(kind):
    torch.manual_seed(0)
    made = MAKERS[kind][0]().eval().requires_grad_(False)
    for p in made.parameters():
        if p.ndim == 1:
            p.add_(torch.randn_like(p) * 0.2)
    return made


def by_hand(kind, site, layer, change):
    """A hook at a site, ``change`` applied to ``[batch, position, width]``."""
    hf, where = model(kind), MAKERS[kind][1]
    block = hf.get_submodule(where.get("layers", "model.layers"))[layer]

    def rows(x):
        return x if x.ndim == 3 else x[None]

    def into(_, args, kwargs):
        x = args[0] if args else kwargs["hidden_states"]
        new = change(rows(x)).reshape(x.shape)
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def out(_, args, output):
        x, times = (
            output[0] if isinstance(output, tuple) else output,
            (where.get("times", 1.0) if site != "resid_post" else 1.0),
        )
        new = (change(rows(x) * times) / times).reshape(x.shape)
        return (new, *output[1:]) if isinstance(output, tuple) else new

    part = {"attn_out": "attn", "mlp_out": "mlp", "z": "o", "neuron": "down"}.get(site)
    module = block if part is None else block.get_submodule(where[part])
    return (
        module.register_forward_pre_hook(into, with_kwargs=True)
        if site in ("resid_pre", "z", "neuron")
        else module.register_forward_hook(out)
    )


@torch.no_grad()
def full_forward(kind, ids, changes):
    handles = [by_hand(kind, *c) for c in changes]
    try:
        return model(kind)(ids[None], use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def activation(kind, ids, site, layer):
    seen = []
    full_forward(kind, ids, [(site, layer, lambda x: (seen.append(x[0].clone()), x)[1])])
    return seen[0]


def replaced(position, value):
    def change(x):
        x = x.clone()
        x[:, position] = value[position]
        return x

    return change


def layers_of(hf, length=9):
    """The layers path of a model, checked for prompts of so many tokens."""
    return Model.of(hf)._layers(length)


@pytest.mark.parametrize("kind", few(MAKERS, EACH))
def test_copied_activations_equal_hooked_forwards(kind):
    g = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 97, (LENGTH,), generator=g)
    other = ids.clone()
    other[5], other[9] = (other[5] + 1) % 97, (other[9] + 1) % 97
    stock = layers_of(model(kind), LENGTH)
    sites = [s for s in SITES if not (s == "neuron" and MAKERS[kind][1]["down"] is None)]
    for site in sites:
        stock.serves(site)
    keep = [stock.anatomy.layer_of(s, l) for s in sites for l in range(3)]
    base, source = stock.record(ids), stock.record(other, keep)
    rows, wanted = [], []
    for site in sites:
        for layer in range(3):
            position = [[5, 9], [LENGTH - 1], [9, 11, 12]][layer]
            rows.append([Edit(Site(site, layer, position=position), "replace", source)])
            wanted.append(
                full_forward(kind, ids, [(site, layer, replaced(position, activation(kind, other, site, layer)))])
            )
    # a row may have several edits, at several layers
    rows.append([rows[0][0], rows[-1][0]])
    wanted.append(
        full_forward(
            kind,
            ids,
            [
                ("resid_pre", 0, replaced([5, 9], activation(kind, other, "resid_pre", 0))),
                (sites[-1], 2, replaced([9, 11, 12], activation(kind, other, sites[-1], 2))),
            ],
        )
    )
    reads = [LENGTH - 2, LENGTH - 1]
    got = stock.unembed(stock.run(base, rows, reads)[0])
    want = torch.stack([w[reads] for w in wanted])
    assert (got - want).abs().max() <= 1e-4
    unedited = full_forward(kind, ids, [])[reads]
    assert (stock.unembed(stock.run(base, [()], reads)[0])[0] - unedited).abs().max() <= 1e-4
    assert (want - unedited).flatten(1).abs().amax(1).min() > 1e-3, "an edit of the reference does nothing"
    columns = torch.tensor([11, 3])
    assert torch.allclose(
        stock.unembed(base.resid[-1], columns), stock.unembed(base.resid[-1])[:, columns], rtol=1e-4, atol=1e-5
    )


def test_positions_before_the_first_change_are_not_computed_and_rows_join_at_their_layer():
    hf = model("gemma2")
    stock, ids = layers_of(hf, LENGTH), torch.arange(LENGTH)
    base = stock.record(ids)
    stock.prepare(base)
    rows = [[Edit(Site("resid_pre", l, position=p), "add", torch.ones(32))] for l in (0, 2) for p in (9, 11, 12)]
    shapes = {}
    handles = [
        m.register_forward_pre_hook(
            lambda m, args, kwargs, l=l: shapes.setdefault(l, []).append(tuple(args[0].shape[:2])), with_kwargs=True
        )
        for l, m in enumerate(hf.model.layers)
    ]
    stock.run(base, rows, [LENGTH - 1])
    for handle in handles:
        handle.remove()
    assert shapes == {0: [(3, LENGTH - 9)], 1: [(3, LENGTH - 9)], 2: [(6, LENGTH - 9)]}


@pytest.mark.parametrize("kind", few([kind for kind in MAKERS if kind != "gptj"], EACH[:-1]))
@torch.no_grad()
def test_a_run_of_other_tokens_begins_where_they_do(kind):
    hf, ids = model(kind), torch.arange(1, LENGTH + 1)
    stock = layers_of(hf, LENGTH)
    assert stock._forks
    keep = [("attn_out", 1), ("z", 0)]
    other, base, seen = ids.clone(), stock.record(ids, keep), []
    other[9], other[11] = 70, 71
    handles = [m.register_forward_hook(lambda m, a, out: seen.append(a[0].shape[1])) for m in stock.anatomy.layers]
    fork = stock.fork(base, other, keep)
    for handle in handles:
        handle.remove()
    assert seen == [LENGTH - 9] * len(handles)
    whole = hf(other[None], use_cache=False, output_hidden_states=True)
    for x, y in zip(fork.resid[:-1], whole.hidden_states[:-1], strict=True):
        torch.testing.assert_close(x, y[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(stock.unembed(fork.resid[-1]), whole.logits[0], rtol=1e-4, atol=1e-4)
    for site, layer in keep:
        theirs = activation(kind, other, site, layer)
        torch.testing.assert_close(fork.get(site, layer).flatten(1), theirs, rtol=1e-4, atol=1e-4)
    # and it can be continued itself
    rows = [[Edit(Site("resid_pre", 1, position=[4]), "replace", base)], [Edit(Site("z", 0, position=[10]), "zero")]]
    ends = stock.unembed(stock.run(fork, rows, [LENGTH - 1])[0])
    want = full_forward(kind, other, [("z", 0, lambda x: x.index_fill(1, torch.tensor([10]), 0.0))])[-1:]
    torch.testing.assert_close(ends[0], whole.logits[0, -1:], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ends[1], want, rtol=1e-4, atol=1e-4)
    # a pattern is of all tokens, and so is a run that kept another site
    for wanted in ([("pattern", 0)], [("mlp_out", 0)]):
        before = len(seen)
        assert stock.fork(base, other, wanted if stock.anatomy.has(*wanted[0]) else ()).ids is other
        assert len(seen) == before


def test_a_model_that_cannot_begin_later_is_run_whole():
    hf = model("gptj")  # gives its last stream the shape of the tokens
    stock, ids = layers_of(hf), torch.arange(9)
    assert not stock._forks
    base, other = stock.record(ids), ids.clone()
    other[8] = 50
    want = full_forward("gptj", other, [])[-1]
    torch.testing.assert_close(stock.fork(base, other).logits, want, rtol=1e-4, atol=1e-4)


def test_rows_that_begin_far_apart_are_run_apart_and_give_the_same_numbers(monkeypatch):
    hf = model("starcoder2")
    stock, ids = layers_of(hf, LENGTH), torch.arange(LENGTH)
    base = stock.record(ids)
    rows = [
        [Edit(Site(site, l, position=p), "scale", scale=scale)]
        for site in ("resid_pre", "z")
        for l in range(3)
        for p in (0, 3, 4, 9, 12)
        for scale in (0.5, -1.0)
    ]
    calls, layer = [], Layers._layer
    monkeypatch.setattr(
        Layers, "_layer", lambda self, l, x, b, start, c: calls.append(start) or layer(self, l, x, b, start, c)
    )
    monkeypatch.setattr("lens.engine.row_groups.ALONE", 10**6)
    want = stock.run(base, rows, [LENGTH - 2, LENGTH - 1])[0]
    assert set(calls) == {0}
    for alone, starts in ((0, {0, 3, 4, 9, 11}), (20, None)):  # the last but one token is read
        calls.clear()
        monkeypatch.setattr("lens.engine.row_groups.ALONE", alone)
        got = stock.run(base, rows, [LENGTH - 2, LENGTH - 1])[0]
        assert (got - want).abs().max() <= 1e-5 * want.abs().max()
        assert starts is None or set(calls) == starts


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_grouped_at_the_least_cost(seed, monkeypatch):
    """Against every way of cutting the starts into groups."""
    g = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 16, (40,), generator=g).tolist()
    left = torch.randint(0, 4, (40,), generator=g).tolist()
    monkeypatch.setattr("lens.engine.row_groups.ALONE", 2 + 3 * seed)

    def cost(groups):
        return sum(
            (2 + 3 * seed) * 3 + (16 - min(first[r] for r in group)) * sum(left[r] for r in group) for group in groups
        )

    starts = sorted(set(first))[:8]
    first = [min(p, starts[-1]) for p in first]
    ways = []
    for cuts in range(2 ** (len(starts) - 1)):
        edges = [0, *[i + 1 for i in range(len(starts) - 1) if cuts >> i & 1], len(starts)]
        parts = [set(starts[a:b]) for a, b in itertools.pairwise(edges)]
        ways.append(cost([[r for r, p in enumerate(first) if p in part] for part in parts]))
    found = grouped(first, left, 16, 3)
    assert sorted(r for group in found for r in group) == list(range(40))
    assert cost(found) == min(ways)


def test_chunks_and_an_exhausted_memory_change_nothing(monkeypatch):
    hf = model("phi3").double()  # so that another order of summation is far below any real difference
    stock, ids = layers_of(hf, LENGTH), torch.arange(LENGTH)
    base = stock.record(ids)
    rows = [[Edit(Site("attn_out", l, position=p), "scale", scale=2.0)] for l in range(3) for p in range(4, LENGTH)]
    want = stock.run(base, rows, [LENGTH - 1])[0]
    monkeypatch.setattr("lens.engine.layers.CHUNK_TOKENS", 20)
    assert (stock.run(base, rows, [LENGTH - 1])[0] - want).abs().max() <= 1e-12
    monkeypatch.setattr("lens.engine.layers.CHUNK_TOKENS", 1000)
    asked, layer = [], Layers._layer

    def narrow(self, l, x, *rest):
        asked.append(len(x))
        if len(x) > 4:
            raise torch.OutOfMemoryError("no room")
        return layer(self, l, x, *rest)

    monkeypatch.setattr(Layers, "_layer", narrow)
    assert (stock.run(base, rows, [LENGTH - 1])[0] - want).abs().max() <= 1e-12
    assert max(asked) > 4, "all rows of a group were tried at once"


def test_the_model_is_left_as_it_was():
    hf = model("granite")
    ids = torch.arange(LENGTH)

    def hooks():
        return [
            (n, len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in m.__dict__)
            for n, m in hf.named_modules()
        ]

    before, state = hf(ids[None]).logits, hooks()
    stock = layers_of(hf, LENGTH)
    base = stock.record(ids, [("z", 1)])
    stock.unembed(stock.run(base, [[Edit(Site("z", 1, position=3), "zero")]], [LENGTH - 1])[0])
    assert hooks() == state and torch.equal(hf(ids[None]).logits, before)
    assert layers_of(hf, 9) is stock


@pytest.mark.parametrize("kind, reason", [("bloom", "alibi"), ("mamba", "cache")])
def test_layers_that_cannot_be_driven_are_refused(kind, reason):
    made = {
        "bloom": lambda: T.BloomForCausalLM(T.BloomConfig(vocab_size=97, hidden_size=32, n_layer=2, n_head=4)),
        "mamba": lambda: T.MambaForCausalLM(T.MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2)),
    }[kind]().eval()
    with pytest.raises(UnsupportedModel, match=reason):
        layers_of(made)


@pytest.mark.parametrize("fault", ["the mean over tokens", "a last norm outside"])
def test_a_model_whose_numbers_would_differ_is_refused(fault, monkeypatch):
    hf = tiny("llama")
    if fault == "the mean over tokens":
        # looks back beyond keys and values, so that a suffix alone is not enough; a whole forward gives no sign of it
        mlp = hf.model.layers[1].mlp
        forward = mlp.forward
        monkeypatch.setattr(mlp, "forward", lambda x: forward(x.cumsum(1) / torch.arange(1, x.shape[1] + 1)[:, None]))
    else:
        # the head reads what was not in the stream that the layers hand on
        seen = []
        hf.model.embed_tokens.register_forward_hook(lambda m, a, out: seen.append(out))
        hf.model.norm.register_forward_hook(lambda m, a, out: out + seen[-1].mean(1, keepdim=True))
    with pytest.raises(UnsupportedModel, match="differ"):
        layers_of(hf)
