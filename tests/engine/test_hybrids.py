"""Models whose layers are not all alike, or add more than attention and an MLP: every site against plain hooks."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.anatomy import Anatomy
from tests import hybrids
from tests.hybrids import N_LAYERS, WHERE, gradient, head, logits, read
from tests.variants import few

IDS = torch.tensor([5, 17, 3, 88, 41, 9, 60])
OTHER = torch.tensor([5, 17, 3, 21, 41, 50, 60])
PAIR = lens.Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
pytestmark = pytest.mark.filterwarnings("ignore:.*every edited run is")
LAYERS = range(N_LAYERS)


def text(ids):
    return " ".join(f"w{i}" for i in ids.tolist())


# -- a stream that is halved behind some blocks ------------------------------------------------------------------------


def test_a_direction_is_of_the_stream_that_leaves_each_block():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    first, second = [IDS, OTHER[:5]], [OTHER, IDS[2:], IDS[1:6]]
    vectors = lens.vectors.contrast(model, list(map(text, first)), list(map(text, second)), start=None).vectors
    posts = [("resid_post", l) for l in LAYERS]
    means = [
        torch.stack([torch.stack(read("rwkv", plain, ids, posts))[:, -1] for ids in some]).mean(0)
        for some in (first, second)
    ]
    torch.testing.assert_close(vectors, means[0] - means[1], atol=1e-5, rtol=1e-5)
    leaves, enters = read("rwkv", plain, IDS, [("resid_post", 1), ("resid_pre", 2)])
    assert torch.equal(leaves, 2 * enters)


def test_the_lens_reads_each_stream_as_it_is():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    seen = lens.logit_lens(model, PAIR, k=3)
    streams = read("rwkv", plain, IDS, [("embed", 0), *(("resid_post", l) for l in LAYERS)])
    for layer, stream in zip(seen.layer.values, streams):
        want = head("rwkv", plain, stream)
        np.testing.assert_allclose(seen.logit.sel(layer=layer).values, want[:, 11], atol=1e-5)
        # an embedding is small enough for the norm's epsilon to count: halved it would be another
        if layer == -1:
            assert (head("rwkv", plain, stream / 2) - want).abs().max() > 1e-3
    np.testing.assert_allclose(seen.logit.sel(layer=N_LAYERS - 1).values, logits("rwkv", plain, IDS)[:, 11], atol=1e-4)


def test_what_runs_end_in_enters_the_last_norm():
    model, plain = hybrids.rwkv(), hybrids.rwkv()
    runs = lens.Runs.record(model, [IDS], ())
    torch.testing.assert_close(runs.get("resid_post", 3), read("rwkv", plain, IDS, [("resid_post", 3)])[0])
    torch.testing.assert_close(runs.final, read("rwkv", plain, IDS, [("resid_post", 3)])[0] / 2)
    torch.testing.assert_close(lens.Model.of(model).unembed(runs.final), logits("rwkv", plain, IDS))


# -- every site --------------------------------------------------------------------------------------------------------

#: kind -> sites that all its layers have
SITES = {
    "qwen3_next": ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"),
    "falcon_h1": ("resid_pre", "attn_out", "resid_mid", "neuron", "mlp_out", "resid_post"),
    "rwkv": ("resid_pre", "attn_out", "resid_mid", "mlp_out", "resid_post"),
    "norms behind": ("resid_pre", "attn_out", "neuron", "mlp_out", "resid_post"),
}
CELLS = [(kind, site) for kind, sites in SITES.items() for site in sites]


def difference(out):
    """The logit difference at the last token."""
    return out[-1, 11] - out[-1, 12]


@pytest.mark.parametrize("kind, site", CELLS)
def test_an_edit_equals_plain_hooks_in_every_layer(kind, site):
    model, plain = hybrids.MAKERS[kind](), hybrids.MAKERS[kind]()
    push = torch.randn(48 if site == "neuron" else 32, generator=torch.Generator().manual_seed(1))
    base = logits(kind, plain, IDS)
    for layer in LAYERS:
        with torch.no_grad(), lens.edited(model, lens.Edit(lens.Site(site, layer), "add", push)):
            got = model(IDS[None]).logits[0]
        want = logits(kind, plain, IDS, (site, layer, lambda x: x + push))
        assert (got - want).abs().max() <= 1e-4 and (want - base).abs().max() > 0.05, layer


@pytest.mark.parametrize(
    "kind, site",
    few(
        CELLS,
        [
            ("qwen3_next", "attn_out"),
            ("qwen3_next", "mlp_out"),
            ("falcon_h1", "attn_out"),
            ("falcon_h1", "resid_mid"),
            ("rwkv", "resid_post"),
            ("rwkv", "mlp_out"),
            ("norms behind", "resid_post"),
            ("norms behind", "neuron"),
        ],
    ),
)
def test_patching_and_attribution_equal_plain_hooks(kind, site):
    model, plain = hybrids.MAKERS[kind](), hybrids.MAKERS[kind]()
    kept = read(kind, plain, IDS, [(site, l) for l in LAYERS])
    want = np.array([
        [
            difference(
                logits(kind, plain, OTHER, (site, l, lambda x: torch.where(torch.arange(7)[:, None] == p, kept[l], x)))
            )
            for p in range(7)
        ]
        for l in LAYERS
    ])  # fmt: skip
    base = float(difference(logits(kind, plain, OTHER)))
    got = lens.patch(model, PAIR, site, progress=False).value.values
    np.testing.assert_allclose(got, want, atol=1e-4 * np.abs(want - base).max())
    assert np.abs(want - base).max() > 0.05
    other = read(kind, plain, OTHER, [(site, l) for l in LAYERS])
    slopes = [
        ((a - b) * gradient(kind, plain, OTHER, site, l, difference)).sum(-1)
        for l, a, b in zip(LAYERS, kept, other, strict=True)
    ]
    got = lens.patch(model, PAIR, site, method="attribution", progress=False).value.values - base
    np.testing.assert_allclose(got, torch.stack(slopes), atol=1e-4 * float(torch.stack(slopes).abs().max()))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", SITES)
def test_what_is_added_is_found_with_its_factor_in_every_precision(kind, dtype):
    model, where = hybrids.MAKERS[kind]().to(dtype), WHERE[kind]
    anatomy, blocks = Anatomy.of(model), model.get_submodule(where.blocks)
    for layer, block in enumerate(blocks):
        mixers, attn = where.mixers(layer), where.attn(layer)
        want = {"attn_out": (attn, mixers[attn]), "mlp_out": (where.mlp, 1.0)}
        for beside in mixers.keys() - {attn}:
            want["mixer"] = beside, mixers[beside]
        want |= {"start": (where.start[layer], 1.0)} if layer in where.start else {}
        for site in ("attn_out", "mixer", "mlp_out", "start"):
            assert anatomy.has(site, layer) == (site in want), (site, layer)
            if site in want:
                place, (name, times) = anatomy.require(site, layer), want[site]
                assert place.module is block.get_submodule(name) and place.scale == times


def test_a_stream_that_is_normed_between_attention_and_mlp_has_no_middle():
    model = hybrids.MAKERS["norms behind"]()
    with pytest.raises(lens.SiteError, match="'resid_mid' does not exist in layer 0: this model's stream is normed"):
        lens.patch(model, PAIR, "resid_mid", progress=False)
    with pytest.raises(lens.SiteError, match="a norm lies on the residual stream"):
        lens.direct_logit_attribution(model, PAIR)
    with pytest.raises(lens.SiteError, match="a norm lies on the residual stream"):
        lens.head_vocabulary(model, 1, 0, text=PAIR)


# -- what is added beside attention ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, beside", [("falcon_h1", ["mixer:mamba"] * 4), ("qwen3_next", ["attn_out", None] * 2)])
def test_direct_attribution_adds_up_with_what_a_mixer_adds(kind, beside):
    model, plain = hybrids.MAKERS[kind](), hybrids.MAKERS[kind]()
    found = lens.direct_logit_attribution(model, PAIR)
    # the last norm is a root mean square: linear once its scale is held
    norm = plain.get_submodule(WHERE[kind].norm)
    final = read(kind, plain, IDS, [("resid_post", N_LAYERS - 1)])[0][-1]
    gain = norm(final[None])[0] / final
    times = 0.5 if kind == "falcon_h1" else 1.0
    row = times * (plain.lm_head.weight[11] - plain.lm_head.weight[12]) * gain
    of = found.contribution
    for l in LAYERS:
        mlp, *mixers = read(
            kind, plain, IDS, [("mlp_out", l), *[("attn_out", l), (beside[l], l)][: 1 + bool(beside[l])]]
        )
        own = of.sel(layer=l)
        assert float(own.sel(component="mlp")) == pytest.approx(float(mlp[-1] @ row), abs=1e-4)
        if beside[l] is not None:
            assert float(own.sel(component="mixer")) == pytest.approx(float(mixers[-1][-1] @ row), abs=1e-4)
        else:
            assert np.isnan(own.sel(component="mixer"))
        heads = own.sel(component=[f"head {h}" for h in range(4)])
        if beside[l] == "attn_out":
            assert np.isnan(heads).all() and np.isnan(own.sel(component="attn_bias"))
        else:
            assert float(heads.sum()) == pytest.approx(float(mixers[0][-1] @ row), abs=1e-4)
    total = float(of.sum()) + float(found.embed) + float(found.bias)
    assert total == pytest.approx(float(difference(logits(kind, plain, IDS))), abs=1e-4)
    assert float(found.total) == pytest.approx(total, abs=1e-4)


def test_a_path_holds_still_what_runs_beside_attention():
    model, plain = hybrids.falcon_h1(), hybrids.falcon_h1()
    last = N_LAYERS - 1
    found = lens.path_patch(model, PAIR, lens.Site("resid_post", last), senders=[(1, 2)], through_mlps=False)
    still = [(site, l) for l in LAYERS for site in ("mixer:mamba", "attn_out", "mlp_out")]
    kept = dict(zip(still, read("falcon_h1", plain, IDS, still)))
    o_proj, sent = plain.model.layers[1].self_attn.o_proj, []
    for ids in (OTHER, IDS):
        hook = o_proj.register_forward_pre_hook(lambda m, args: sent.append(args[0]))
        plain(ids[None], use_cache=False)
        hook.remove()
    z = sent[1].clone()
    z[..., 16:24] = sent[0][..., 16:24]
    kept["attn_out", 1] = o_proj(z)[0] * 0.6
    changes = ((s, l, lambda x, v=v: v[None]) for (s, l), v in kept.items())
    want = float(difference(logits("falcon_h1", plain, IDS, *changes)))
    got = float(found.value.sel(layer=1, head=2))
    assert got == pytest.approx(want, abs=1e-4) and abs(want - difference(logits("falcon_h1", plain, IDS))) > 0.01


# -- which layers are the MLP's ----------------------------------------------------------------------------------------

#: kind -> how to make it, and its MLP's layers
MLPS = {
    "opt": (hybrids.opt, [f"model.decoder.layers.{l}.fc{i}" for l in LAYERS for i in (1, 2)]),
    "norms behind": (
        lambda: hybrids.opt(do_layer_norm_before=False, word_embed_proj_dim=16),
        [f"model.decoder.layers.{l}.fc{i}" for l in LAYERS for i in (1, 2)],
    ),
    **{
        f"vision of {depth} layers": (
            lambda depth=depth: hybrids.seeing(depth),
            [f"model.language_model.layers.{l}.mlp.{name}_proj" for l in LAYERS for name in ("gate", "up", "down")],
        )
        for depth in (2, N_LAYERS)
    },
}


@pytest.mark.parametrize("kind", MLPS)
def test_the_layers_of_the_mlp_are_found_and_are_those_that_text_reaches(kind):
    make, names = MLPS[kind]
    model, plain = make(), make()
    rows = torch.randint(2, 90, (24, 6), generator=torch.Generator().manual_seed(0))
    factors = lens.curvature.factors(model, "mlp", rows, fisher="empirical", progress=False)
    assert sorted(factors.a) == sorted(names)
    came = {}
    hooks = [
        plain.get_submodule(n).register_forward_pre_hook(
            lambda m, args, n=n: came.setdefault(n, []).append(args[0].reshape(6, -1)[:-1].double())
        )
        for n in names
    ]
    with torch.no_grad():
        for row in rows:
            plain(row[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    for name in names:
        x = torch.cat(came[name])
        torch.testing.assert_close(factors.a[name].double(), x.T @ x / len(x), atol=1e-4, rtol=1e-4)
