"""The sites of a mixture of experts, ``router`` and ``expert``, against sums over all experts on a plain copy."""

import itertools

import numpy as np
import pytest
import torch

import lens
from lens import Edit, Site
from lens.engine.anatomy import Anatomy
from lens.engine.edits import EditError
from lens.engine.model import Model
from lens.engine.runs import Runs, mean_activation
from lens.engine.sites import SiteError
from tests.mixtures import KINDS, Rewritten, blocks, mixed_layers, mixture, routing
from tests.models import tiny, word_tokenizer
from tests.variants import few

IDS = torch.randint(1, 97, (2, 7), generator=torch.Generator().manual_seed(3))
PAIR = lens.Pair("w5 w9 w13 w17 w21 w3 w40", corrupted="w5 w9 w30 w17 w22 w3 w40", answer=" w11", foil=" w23")
SITES = ("router", "expert")
#: Without a shared expert, with biases, dense layers or a multiplier, and weights that go into an expert.
EACH = ("mixtral", "gpt_oss", "deepseek_v3", "granitemoe", "llama4_text")


def speaking(kind, seed=0):
    model = mixture(kind, seed)
    model.tokenizer = word_tokenizer()
    return model


def logits(model, ids=IDS):
    return getattr(out := model(ids), "logits", out)


def near(told, want, scale=None):
    assert float((told - want).abs().max()) <= 1e-4 * float((want if scale is None else scale).abs().max())


def by_hand(kind, layer, site, change):
    """Logits of a plain copy whose experts of one layer are changed by hand."""
    model = mixture(kind)
    with Rewritten(kind, model, len(IDS), **{site: {layer: change}}) as seen:
        return model(IDS).logits, seen.seen


def changed(op, value, experts, positions):
    def change(x):
        new = x.clone()
        for p in positions:
            for e in experts:
                old = x[:, p, e]
                new[:, p, e] = {
                    "zero": lambda old: 0 * old,
                    "scale": lambda old: 0.3 * old,
                    "add": lambda old: old + value,
                }.get(op, lambda old: value + 0 * old)(old)
        return new

    return change


@pytest.mark.parametrize("kind", KINDS)
def test_a_plain_copy_by_hand_is_the_model(kind):
    model = mixture(kind)
    want = model(IDS).logits
    with Rewritten(kind, model, len(IDS)):
        near(model(IDS).logits, want)


@pytest.mark.parametrize(
    ("kind", "site", "op"),
    few(
        itertools.product(KINDS, SITES, ("zero", "scale", "add", "replace", "mean")),
        lambda case: case[0] == "mixtral" or case[1:] in (("router", "replace"), ("expert", "add")),
    ),
)
def test_edits_of_some_experts_are_those_of_a_sum_over_all(kind, site, op):
    model = mixture(kind)
    clean = model(IDS).logits
    for layer in mixed_layers(model):
        for experts, positions in (((2,), (1, 4)), ((0, 3), range(7))):
            value = None
            if op in ("add", "replace", "mean"):
                value = (
                    torch.randn(32, generator=torch.Generator().manual_seed(1))
                    if site == "expert"
                    else torch.tensor([0.7])
                )
            want, seen = by_hand(kind, layer, site, changed(op, value, experts, positions))
            edit = Edit(
                Site(site, layer, expert=list(experts), position=list(positions)),
                op,
                value,
                0.3 if op == "scale" else 1.0,
            )
            with lens.edited(model, edit):
                told = model(IDS).logits
            near(told, want)
            met = seen[site, layer][:, list(positions)][:, :, list(experts)]
            if op not in ("zero", "scale") or met.any():
                assert not torch.equal(told, clean)
        assert torch.equal(model(IDS).logits, clean)
    assert not any("forward" in m.__dict__ or m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_values_for_each_expert_and_position(kind, site):
    model, layer = mixture(kind), mixed_layers(mixture(kind))[0]
    width = (4,) if site == "router" else (4, 32)
    value = torch.rand(3, *width, generator=torch.Generator().manual_seed(2))

    def change(x):
        new = x.clone()
        new[:, [0, 2, 5]] = value
        return new

    want, _ = by_hand(kind, layer, site, change)
    with lens.edited(model, Edit(Site(site, layer, position=[0, 2, 5]), "replace", value)):
        near(model(IDS).logits, want)
    with (
        pytest.raises(EditError, match="broadcasts to"),
        lens.edited(model, Edit(Site(site, layer), "add", torch.ones(5))),
    ):
        model(IDS)


@pytest.mark.parametrize("kind", KINDS)
def test_recorded_weights_are_the_models_own_and_parts_add_up(kind):
    plain, model = mixture(kind), mixture(kind)
    runs = Runs.record(model, list(IDS), keep=("router", "expert", "mlp_out"))
    with Rewritten(kind, plain, len(IDS)) as seen:
        plain(IDS)
    for layer in mixed_layers(model):
        weights, parts = runs.get("router", layer), runs.get("expert", layer)
        assert weights.shape == (IDS.numel(), 4) and parts.shape == (IDS.numel(), 4, 32)
        near(weights, seen.seen["router", layer].flatten(0, 1))
        near(parts, seen.seen["expert", layer].flatten(0, 1))
        assert not parts[weights == 0].any()
        k = 1 if kind == "llama4_text" else 2
        assert ((weights != 0).sum(1) == k).all()
        module = next(m for n, m in plain.named_modules() if n.endswith(f"layers.{layer}"))
        out, shared = [], []
        mlp = next(m for n, m in module.named_children() if n in ("mlp", "feed_forward", "block_sparse_moe"))
        hooks = [mlp.register_forward_hook(lambda m, a, o: out.append(o[0] if isinstance(o, tuple) else o))]
        both = [m for n, m in mlp.named_children() if n.startswith("shared_expert") and "gate" not in n]
        hooks += [m.register_forward_hook(lambda m, a, o: shared.append(o.clone())) for m in both]
        gates = []
        if hasattr(mlp, "shared_expert_gate"):
            hooks.append(mlp.shared_expert_gate.register_forward_hook(lambda m, a, o: gates.append(o.sigmoid())))
        plain(IDS)
        for hook in hooks:
            hook.remove()
        rest = shared[0].reshape(-1, 32) * (gates[0] if gates else 1) if shared else 0
        multiplier = getattr(plain.config, "residual_multiplier", 1.0)
        near(parts.sum(1) + rest * multiplier, out[0].reshape(-1, 32) * multiplier)
        near(runs.get("mlp_out", layer), out[0].reshape(-1, 32) * multiplier)
        near(mean_activation(model, list(IDS), "router", layer), weights.mean(0))


@pytest.mark.parametrize(
    ("kind", "site", "direction"),
    few(
        itertools.product(KINDS, SITES, ("denoise", "noise")),
        lambda case: (
            (case[0] in EACH and case[1:] in (("router", "denoise"), ("expert", "noise")))
            or case in (("mixtral", "router", "noise"), ("qwen2_moe", "expert", "denoise"))
        ),
    ),
)
def test_a_grid_over_layers_and_experts(kind, site, direction):
    model, plain = speaking(kind), mixture(kind)
    layers = mixed_layers(model)
    clean, corrupted = (torch.tensor([[int(w[1:]) for w in t.split()]]) for t in (PAIR.clean, PAIR.corrupted))
    base, source = (corrupted, clean) if direction == "denoise" else (clean, corrupted)

    def metric(out):
        return float(out[0, -1, 11] - out[0, -1, 23])

    with Rewritten(kind, plain, 1) as held:
        copied = (plain(source), dict(held.seen))[1]
    table = lens.patch(model, PAIR, site, over=("layer", "expert"), layers=layers, direction=direction, progress=False)
    assert table.value.dims == ("layer", "expert") and table.expert.values.tolist() == [0, 1, 2, 3]
    at = lens.patch(
        model, PAIR, site, over=("layer", "expert", "position"), layers=layers, experts=[1, 3], direction=direction,
        positions=[-1, 2], progress=False,
    )  # fmt: skip
    assert at.value.shape == (len(layers), 2, 2)
    scale = torch.tensor([metric(plain(i).logits) for i in (base, source)])
    for l, layer in enumerate(layers):
        for e in range(4):
            for positions, told in (
                (range(7), table.value[l, e]),
                *(((p,), at.value[l, [1, 3].index(e), i]) for i, p in enumerate((6, 2)) if e in (1, 3)),
            ):

                def change(x, e=e, positions=positions, layer=layer):
                    new = x.clone()
                    for p in positions:
                        new[:, p, e] = copied[site, layer][:, p, e]
                    return new

                with Rewritten(kind, plain, 1, **{site: {layer: change}}):
                    want = metric(plain(base).logits)
                assert abs(float(told) - want) <= 1e-4 * float(scale.abs().max())
    assert float(abs(table.effect).max()) > 1e-3
    path = lens.results.dataset.provenance(table)["engine"]["name"]
    assert path == ("walk" if kind in ("mixtral", "qwen3_moe", "olmoe", "gpt_oss") else "layers")


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_attribution_is_the_gradient_of_every_experts_weight_or_part(kind, site):
    model, plain = speaking(kind), mixture(kind)
    layers = mixed_layers(model)
    clean, corrupted = (torch.tensor([[int(w[1:]) for w in t.split()]]) for t in (PAIR.clean, PAIR.corrupted))
    with Rewritten(kind, plain, 1) as held:
        source = (plain(clean), dict(held.seen))[1]
    told = lens.patch(model, PAIR, site, over=("layer", "expert"), layers=layers, method="attribution", progress=False)
    leaves = {}

    def leaf(layer):
        def change(x):
            leaves[layer] = x.detach().clone().requires_grad_() if not x.requires_grad else x.clone()
            leaves[layer].retain_grad()
            return leaves[layer]

        return change

    with torch.enable_grad(), Rewritten(kind, plain, 1, **{site: {l: leaf(l) for l in layers}}) as held:
        out = plain(corrupted).logits
        grads = dict(zip(layers, torch.autograd.grad(out[0, -1, 11] - out[0, -1, 23], [leaves[l] for l in layers])))
    want = torch.stack(
        [((source[site, l] - leaves[l].detach()) * grads[l]).flatten(3).sum((0, 1, 3)) if site == "expert"
         else ((source[site, l] - leaves[l].detach()) * grads[l]).sum((0, 1)) for l in layers]
    )  # fmt: skip
    near(torch.tensor(told.effect.values), want)
    near(torch.tensor(lens.patch(model, PAIR, site, over=("layer",), layers=layers, method="attribution",
                                 progress=False).effect.values), want.sum(1), want)  # fmt: skip


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_behind_a_bridge_they_are_the_same(kind):
    model, bridge = mixture(kind), lens.models.wrap(mixture(kind), word_tokenizer(), kind)
    layer = mixed_layers(model)[-1]
    edits = [
        Edit(Site("router", layer, expert=1, position=[0, 3]), "replace", torch.tensor([0.4])),
        Edit(Site("expert", layer, expert=2), "zero"),
    ]
    clean = logits(bridge)
    with lens.edited(model, *edits), lens.edited(bridge, *edits):
        near(logits(bridge), logits(model))
    assert torch.equal(logits(bridge), clean)


def test_both_at_once_apply_in_the_order_of_computation():
    kind, layer = "mixtral", 1
    model, plain = mixture(kind), mixture(kind)

    def weights(w):
        new = w.clone()
        new[:, 2, 1] = 0.9
        return new

    def parts(p):
        new = p.clone()
        new[:, 2, 1] *= 2
        return new

    with Rewritten(kind, plain, 2, router={layer: weights}, expert={layer: parts}):
        want = plain(IDS).logits
    for edits in (
        (Edit(Site("router", layer, expert=1, position=2), "replace", torch.tensor([0.9])),
         Edit(Site("expert", layer, expert=1, position=2), "scale", scale=2.0)),
    ):  # fmt: skip
        for order in (edits, edits[::-1]):
            with lens.edited(model, *order):
                near(model(IDS).logits, want)


def test_a_router_that_ties_is_as_the_models_own_choice():
    model = mixture("mixtral")
    for block in model.model.layers:
        block.mlp.gate.weight[3] = block.mlp.gate.weight[0]  # two logits equal to the bit
    runs = Runs.record(model, list(IDS), keep=("router",))
    tied = 0
    for name, ((_, index, weight), _) in routing(model, IDS).items():
        want = torch.zeros(len(index), 4).scatter(1, index, weight)
        layer = int(name.split(".")[2])
        near(runs.get("router", layer), want)
        assert torch.equal(runs.get("router", layer) != 0, want != 0)
        tied += int(((want[:, 0] != 0) ^ (want[:, 3] != 0)).sum())
    assert tied  # one of two that tie was left out somewhere
    with lens.edited(model, Edit(Site("router", 1), "scale")):
        near(model(IDS).logits, model(IDS).logits)


def test_an_expert_that_no_token_reaches_changes_nothing_when_it_is_taken_out():
    model = speaking("mixtral")
    weights = Runs.record(model, [IDS[0, :2]], keep=("router",)).get("router", 1)
    e = int((weights == 0).all(0).nonzero()[0, 0])
    clean = model(IDS[:1, :2]).logits
    for site in SITES:
        with lens.edited(model, Edit(Site(site, 1, expert=e), "zero")):
            assert torch.equal(model(IDS[:1, :2]).logits, clean)


def test_where_there_are_no_experts_the_error_says_so():
    model, dense = speaking("deepseek_v3"), tiny("llama")
    dense.tokenizer = word_tokenizer()
    for site in SITES:
        with pytest.raises(SiteError, match=rf"site='{site}' does not exist in layer 0 .*deepseek_v3.*layers=\[1, 2\]"):
            lens.patch(model, PAIR, site, over=("layer", "expert"), layers=[0, 1], progress=False)
        every = lens.patch(model, PAIR, site, over=("layer", "expert"), progress=False)
        assert every.layer.values.tolist() == [1, 2]  # all that have experts
        with pytest.raises(SiteError, match=f"{site}.*does not exist in layer 0.*no routed experts"):
            lens.patch(dense, PAIR, site, over=("layer", "expert"), progress=False)
        with pytest.raises(SiteError, match=f"{site}.*does not exist in layer 1.*no routed experts"):
            Runs.record(dense, [IDS[0]], keep=(site,)).get(site, 1)
        with (
            pytest.raises(SiteError, match=f"{site}.*does not exist in layer 0"),
            lens.edited(dense, Edit(Site(site, 0), "zero")),
        ):
            pass
    with pytest.raises(SiteError, match="expert=9 is out of range"):
        lens.patch(model, PAIR, "router", over=("layer", "expert"), layers=[1], experts=[9], progress=False)
    with pytest.raises(SiteError, match="has no expert axis"):
        Site("mlp_out", 1, expert=0)
    with pytest.raises(lens.Error, match="site='z' has none; use site='router' or 'expert'"):
        lens.patch(model, PAIR, "z", over=("layer", "expert"), progress=False)
    with pytest.raises(lens.Error, match=r"experts=\[1\] is given but over="):
        lens.patch(model, PAIR, "router", over=("layer", "position"), experts=[1], layers=[1], progress=False)


def test_the_list_of_sites_names_them_in_the_layers_that_have_them():
    for kind, layers, path in (("deepseek_v3", "1-2", "layers"), ("mixtral", "0-2", "walk")):
        listed = lens.sites(mixture(kind))
        for site in SITES:
            assert (listed.layers[site], listed.path[site]) == (layers, path)
    assert not set(SITES) & set(lens.sites(tiny("llama")).index)


def test_experts_behind_more_than_a_factor_have_weights_and_no_parts():
    model = mixture("mixtral")

    class Bent(type(model.model.layers[1].mlp)):
        def forward(self, hidden_states):
            return torch.tanh(super().forward(hidden_states))

    model.model.layers[1].mlp.__class__ = Bent
    anatomy = Anatomy.of(model)
    assert anatomy.has("router", 1) and anatomy.has("expert", 0) and not anatomy.has("expert", 1)
    with pytest.raises(SiteError, match="site='expert' does not exist in layer 1 .*goes through more than a factor"):
        anatomy.require("expert", 1)


@pytest.mark.parametrize("kind", ["qwen2_moe", "deepseek_v3", "llama4_text"])
def test_nan_in_one_expert_is_refused_by_its_number(kind):
    model = mixture(kind)
    layer = mixed_layers(model)[0]
    runs = Runs.record(model, [Anatomy.of(model).probe_ids()[0]], keep=("router",)).get("router", layer)
    unreached = (runs == 0).all(0).nonzero()[:, 0].tolist()
    for e in sorted({0, *unreached}):
        model = mixture(kind)
        module = next(m for n, m in blocks(model).items() if f".{layer}." in n)
        module.down_proj[e, 3, 4] = torch.nan
        # Llama 4 runs every expert on every token
        own = e in unreached and kind != "llama4_text"
        refused = f"expert {e} gives numbers that are not finite" if own else "adds on a probe is not finite"
        with pytest.raises(lens.Error, match=refused):
            Anatomy.of(model).require("expert", layer)
            raise AssertionError


def test_generation_under_an_edit_of_experts_is_that_of_whole_texts():
    model = speaking("qwen3_moe")
    edits = (
        Edit(Site("router", 1, expert=2), "replace", torch.tensor([0.5])),
        Edit(Site("expert", 0, expert=1), "zero"),
    )
    with lens.edited(model, *edits):
        written = model.generate(IDS[:1], max_new_tokens=5, do_sample=False)
        ids = IDS[:1]
        for _ in range(5):
            ids = torch.cat([ids, model(ids).logits[:, -1].argmax(-1, keepdim=True)], 1)
    assert written.tolist() == ids.tolist()


def test_explaining_a_cell_of_an_expert():
    model = speaking("olmoe")
    table = lens.patch(model, PAIR, "router", over=("layer", "expert", "position"), progress=False)
    best = np.unravel_index(abs(table.effect.values).argmax(), table.effect.shape)
    view = lens.patching.explain_cell(model, PAIR, "router", int(best[0]), int(best[2]), expert=int(best[1]))
    assert view.edited_value == pytest.approx(float(table.value[best]), abs=1e-4)
    assert Model.of(model).experts("router", [0, 1]) == 4 and len(blocks(model)) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_as_near_as_its_own_forward(kind):
    single, half, layer = mixture(kind), mixture(kind).to(torch.bfloat16), mixed_layers(mixture(kind))[-1]
    assert {l: m.scale for l, m in Anatomy.of(half).mixtures.items()} == {
        l: m.scale for l, m in Anatomy.of(single).mixtures.items()
    }
    copied = mixture(kind).to(torch.bfloat16).float()  # the same weights
    for site in SITES:
        edit = Edit(Site(site, layer, expert=[0, 2]), "scale", scale=0.5)
        with lens.edited(half, edit):
            told = half(IDS).logits.float()

        def change(x):
            new = x.clone()
            new[:, :, [0, 2]] *= 0.5
            return new

        with Rewritten(kind, copied, len(IDS), **{site: {layer: change}}):
            want = copied(IDS).logits
        own = (half(IDS).logits.float() - copied(IDS).logits).abs().max()
        assert float((told - want).abs().max()) <= 2 * float(own)
