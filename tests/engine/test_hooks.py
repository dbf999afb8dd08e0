"""Edits put in force by hooks against plain hooks written out for each model type, in forwards and in generation."""

import functools
import warnings

import pytest
import torch
from torch import nn
from transformers import MambaConfig, MambaForCausalLM

import lens
from lens import Edit, EditError, Site, SiteError
from lens.engine.runs import Runs
from lens.engine.sites import EXPERTS, HEADED, SITES
from tests import naive
from tests.models import EACH, KINDS, tiny
from tests.naive import changed
from tests.variants import few

LENGTH = 7
IDS = torch.tensor([5, 17, 3, 88, 41, 9, 60])


@functools.cache
def reference(kind):
    hf = tiny(kind)
    hf.set_attn_implementation("naive")
    return hf


@pytest.fixture(scope="module")
def subjects(tiny_bridge):
    """The model of a kind as it stands and inside a bridge; tests leave both as they were."""
    made = {}

    def get(kind, where):
        if (kind, where) not in made:
            made[kind, where] = tiny(kind) if where == "plain" else tiny_bridge(kind)[0]
        return made[kind, where]

    return get


def sites_of(kind):
    return [s for s in SITES if s not in EXPERTS and not (s == "resid_mid" and kind == "gpt_neox")]


def width(kind, site):
    if site == "neuron":
        return 48
    return 8 if site in HEADED else 32


def expected(kind, edits, ids=IDS):
    order = {s: i for i, s in enumerate(SITES)}
    changes = [(e.site.name, e.site.layer, changed(e, None)) for e in edits]
    return naive.forward(reference(kind), ids, sorted(changes, key=lambda c: (c[1] or 0, order[c[0]])))


def edits_for(kind, site, seed=0):
    """One edit of every kind at a site, at some positions, heads and neurons."""
    g = torch.Generator().manual_seed(seed)
    layer = None if site == "embed" else 1

    def draw(*shape):
        return torch.randn(*shape, generator=g)

    if site == "pattern":
        # keys of a query come before it; the reference applies values whole, so these have one number a key
        return [
            Edit(Site(site, layer, head=1, position=4), "scale", scale=0.5),
            Edit(Site(site, 2, head=[0, 2], position=[3, 5], key=[0, 2]), "zero"),
            Edit(Site(site, 0, position=-1, key=1), "scale", scale=2.0),
        ]
    w = width(kind, site)
    sub = {"head": 1} if site in HEADED else {}
    many = {"head": [0, 1]} if site in HEADED else {}
    if site == "neuron":
        sub, many = {"neuron": 7}, {"neuron": [7, 30]}
    return [
        Edit(Site(site, layer, position=2), "replace", draw(w)),
        Edit(Site(site, layer, position=[1, 4], **sub), "add", draw(1 if site == "neuron" else w), scale=-0.5),
        Edit(Site(site, layer, position=-2, **many), "zero"),
        Edit(Site(site, layer, **sub), "scale", scale=1.5),
        Edit(Site(site, layer, position=5), "mean", draw(w), scale=2.0),
    ]


def state_of(model):
    """Every hook on every module, and what a forward gives."""
    hooks = {
        n: (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks), "forward" in m.__dict__)
        for n, m in model.named_modules()
    }
    return hooks, model.config._attn_implementation


@pytest.mark.parametrize(
    "kind, where",
    few(
        [(k, "plain") for k in KINDS] + [(k, "bridge") for k in ("llama", "gpt2", "gpt_neox", "olmo2")],
        [*((k, "plain") for k in EACH), ("llama", "bridge"), ("gpt_neox", "bridge")],
    ),
)
def test_an_edit_at_any_site_equals_plain_hooks(kind, where, subjects):
    model = subjects(kind, where)
    hf = getattr(model, "original_model", model)
    with torch.no_grad():
        before = hf(IDS[None]).logits
        state = state_of(hf)
        for site in sites_of(kind):
            for edit in edits_for(kind, site):
                with lens.edited(model, edit):
                    got = model(IDS[None])
                got = getattr(got, "logits", got)[0]
                want = expected(kind, [edit])
                assert (got - want).abs().max() <= 1e-4, edit
                # a query or key that is normalised next does not mind being scaled
                assert (edit.op == "scale" and site in "qk") or (got - before[0]).abs().max() > 1e-4, (
                    f"{edit} had no effect"
                )
        assert state_of(hf) == state
        assert torch.equal(hf(IDS[None]).logits, before)


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_several_edits_apply_in_the_order_of_computation_and_over_the_whole_batch(kind, subjects):
    model = subjects(kind, "plain")
    sites = ["embed", "resid_pre", "v", "z", "attn_out", "neuron", "mlp_out", "resid_post"] + ["resid_mid"] * (
        kind != "gpt_neox"
    )
    edits = [edits_for(kind, s, seed=i)[i % 4] for i, s in enumerate(sites)]
    batch = torch.stack([IDS, IDS.flip(0)])
    with torch.no_grad(), lens.edited(model, *reversed(edits)):
        got = model(batch).logits
    for row, ids in zip(got, batch):
        assert (row - expected(kind, edits, ids)).abs().max() <= 1e-4


def test_edits_at_one_place_apply_in_the_order_given_and_resid_post_before_the_next_resid_pre(subjects):
    model = subjects("llama", "plain")
    value = torch.randn(32, generator=torch.Generator().manual_seed(1))
    add, scale = (
        Edit(Site("resid_pre", 1, position=3), "add", value),
        Edit(Site("resid_pre", 1, position=3), "scale", scale=2.0),
    )
    post = Edit(Site("resid_post", 0, position=3), "scale", scale=2.0)

    def logits(*edits):
        with torch.no_grad(), lens.edited(model, *edits):
            return model(IDS[None]).logits[0]

    assert (
        logits(add, scale) - expected("llama", [scale, Edit(Site("resid_pre", 1, position=3), "add", value, scale=2.0)])
    ).abs().max() <= 1e-4
    assert (logits(scale, add) - expected("llama", [scale, add])).abs().max() <= 1e-4
    assert torch.equal(logits(add, post), logits(scale, add)), (
        "resid_post of a layer is computed before resid_pre of the next, whatever the order given"
    )


def test_a_value_may_have_a_position_and_a_head_axis(subjects):
    model = subjects("llama", "plain")
    value = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad(), lens.edited(model, Edit(Site("z", 1, position=[2, 5]), "replace", value)):
        got = model(IDS[None]).logits[0]
    want = expected(
        "llama",
        [
            Edit(Site("z", 1, head=h, position=p), "replace", value[i, h])
            for i, p in enumerate((2, 5))
            for h in range(4)
        ],
    )
    assert (got - want).abs().max() <= 1e-4


def greedy(kind, ids, steps, edits_at):
    """Greedy continuation by full forwards, without a cache; ``edits_at(length)`` are the edits on a text of that
    length.
    """
    ids = ids.clone()
    for _ in range(steps):
        ids = torch.cat([ids, expected(kind, edits_at(len(ids)), ids)[-1].argmax()[None]])
    return ids


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "mistral"])
def test_generation_meets_absolute_positions_with_and_without_a_cache(kind, use_cache, subjects):
    value = 3 * torch.randn(32, generator=torch.Generator().manual_seed(2))
    everywhere = [Edit(Site("attn_out", 1), "add", value)]
    inside = [
        Edit(Site("resid_pre", 1, position=2), "add", value),
        Edit(Site("neuron", 2, position=slice(4, 6)), "zero"),
    ]
    # tokens that are there only once they are generated
    later = [
        Edit(Site("resid_post", 0, position=LENGTH + 1), "replace", value),
        Edit(Site("mlp_out", 2, position=slice(LENGTH, None)), "scale", scale=-1.0),
    ]
    model = subjects(kind, "plain")
    plain = greedy(kind, IDS, 5, lambda n: [])
    texts = []
    for edits in (everywhere, inside, later):

        def met(n):
            return [
                Edit(Site(e.site.name, e.site.layer, position=p), e.op, e.value, e.scale)
                for e in edits
                if (p := list(range(n)[e.site.position]) if isinstance(e.site.position, slice) else e.site.position)
                is None
                or (p != [] and (not isinstance(p, int) or p < n))
            ]

        with lens.edited(model, *edits):
            got = model.generate(
                IDS[None],
                max_new_tokens=5,
                do_sample=False,
                use_cache=use_cache,
                eos_token_id=None,
                pad_token_id=0,
                attention_mask=torch.ones_like(IDS[None]),
            )[0]
        assert got.tolist() == greedy(kind, IDS, 5, met).tolist()
        texts.append(got.tolist())
    assert any(t != plain.tolist() for t in texts)


def test_the_logits_of_every_step_of_a_cached_generation_are_those_of_full_forwards(subjects):
    model = subjects("llama", "plain")
    value = torch.randn(32, generator=torch.Generator().manual_seed(2))
    # the last token of the text so far: under a cache, the last of the prompt and then each new one
    with lens.edited(model, Edit(Site("resid_pre", 1, position=-1), "add", value)):
        out = model.generate(
            IDS[None],
            max_new_tokens=4,
            do_sample=False,
            eos_token_id=None,
            pad_token_id=0,
            output_logits=True,
            return_dict_in_generate=True,
        )
    for step, logits in enumerate(out.logits):
        ids = out.sequences[0, : LENGTH + step]
        want = expected(
            "llama", [Edit(Site("resid_pre", 1, position=list(range(LENGTH - 1, LENGTH + step))), "add", value)], ids
        )[-1]
        assert (logits[0] - want).abs().max() <= 1e-4


def test_left_padded_rows_count_their_own_tokens(subjects):
    model = subjects("llama", "plain")
    value = 3 * torch.randn(32, generator=torch.Generator().manual_seed(2))
    edit = Edit(Site("resid_pre", 1, position=[1, LENGTH - 1]), "add", value)
    short = IDS[2:]
    batch = torch.stack([IDS, torch.cat([torch.zeros(2, dtype=torch.long), short])])
    mask = torch.ones_like(batch)
    mask[1, :2] = 0
    options = dict(max_new_tokens=4, do_sample=False, eos_token_id=None, pad_token_id=0)
    with lens.edited(model, edit):
        together = model.generate(batch, attention_mask=mask, **options)
        alone = [model.generate(i[None], attention_mask=torch.ones_like(i[None]), **options)[0] for i in (IDS, short)]
    assert together[0].tolist() == alone[0].tolist()
    assert together[1, 2:].tolist() == alone[1].tolist()


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_bridge_generates_under_edits_as_full_forwards_do(kind, subjects):
    model = subjects(kind, "bridge")
    value = 3 * torch.randn(32, generator=torch.Generator().manual_seed(2))
    edits = [Edit(Site("attn_out", 1), "add", value), Edit(Site("resid_pre", 2, position=3), "zero")]
    with lens.edited(model, *edits):
        got = model.generate(IDS[None], max_new_tokens=5, do_sample=False, stop_at_eos=False, verbose=False)[0]
    assert got.tolist() == greedy(kind, IDS, 5, lambda n: edits).tolist()


def test_the_example_of_the_design_reads_as_written(smollm2):
    model = smollm2
    text = "The first president of the United States fought in the"
    memory = torch.randn(576, generator=torch.Generator().manual_seed(0))
    options = dict(max_new_tokens=3, do_sample=False, verbose=False)
    before = model.generate(text, **options)
    with lens.edited(model, lens.Edit(lens.Site("attn_out", layer=9), "add", memory, scale=3)):
        edited = model.generate(text, **options)
    assert edited.startswith(text) and edited != before
    assert model.generate(text, **options) == before
    # positions are those of the tokenizer: the bridge as loaded puts no start token in front
    ids = model.tokenizer(text)["input_ids"]
    assert (
        model.generate(text, max_new_tokens=1, do_sample=False, verbose=False, return_type="tokens")[
            0, : len(ids)
        ].tolist()
        == ids
    )


def test_gradients_flow_to_the_value(subjects):
    model = subjects("llama", "plain")
    value = torch.zeros(32, requires_grad=True)

    def answer(v):
        with lens.edited(model, Edit(Site("resid_mid", 1, position=3), "add", v)):
            return model(IDS[None]).logits[0, -1, 11]

    (grad,) = torch.autograd.grad(answer(value), value)
    step = 1e-2 * grad / grad.norm()
    with torch.no_grad():
        slope = (answer(step) - answer(-step)) / 2e-2
    assert slope.item() == pytest.approx(grad.norm().item(), rel=2e-2)


@pytest.mark.parametrize("where", ["plain", "bridge"])
def test_nothing_stays_after_an_exception(where, subjects):
    model = subjects("llama", where)
    hf = getattr(model, "original_model", model)
    with torch.no_grad():
        before, state = hf(IDS[None]).logits, state_of(hf)
        with (
            pytest.raises(KeyboardInterrupt),
            lens.edited(model, Edit(Site("pattern", 1), "zero"), Edit(Site("embed"), "zero")),
        ):
            assert not torch.equal(hf(IDS[None]).logits, before)
            raise KeyboardInterrupt
        assert state_of(hf) == state and torch.equal(hf(IDS[None]).logits, before)
        with (
            pytest.raises(EditError, match=r"shape \(31,\).*\(32,\)"),
            lens.edited(model, Edit(Site("embed"), "zero"), Edit(Site("resid_pre", 1), "add", torch.ones(31))),
        ):
            model(IDS[None])
        with (
            pytest.raises(SiteError, match="layer=9"),
            lens.edited(model, Edit(Site("embed"), "zero"), Edit(Site("resid_pre", 9), "zero")),
        ):
            pass
        assert state_of(hf) == state and torch.equal(hf(IDS[None]).logits, before)


def test_edits_nest(subjects):
    model = subjects("llama", "plain")
    first, second = (
        Edit(Site("attn_out", 0, position=2), "zero"),
        Edit(Site("pattern", 1, head=1, position=4), "scale", scale=0.5),
    )
    with torch.no_grad(), lens.edited(model, first):
        with lens.edited(model, second):
            both = model(IDS[None]).logits[0]
        one = model(IDS[None]).logits[0]
    assert (both - expected("llama", [first, second])).abs().max() <= 1e-4
    assert (one - expected("llama", [first])).abs().max() <= 1e-4


def test_what_cannot_be_put_in_force_is_said(subjects):
    model = subjects("llama", "plain")
    run = Runs.record(model, [IDS])
    for value in (run, run[0]):
        with (
            pytest.raises(EditError, match="must be a tensor"),
            lens.edited(model, Edit(Site("resid_pre", 1), "replace", value)),
        ):
            pass
    with (
        pytest.raises(EditError, match=r"^edits\[0\]=Site.* expected lens.Edit"),
        lens.edited(model, Site("resid_pre", 1)),
    ):
        pass
    with pytest.raises(SiteError, match="head=7"), lens.edited(model, Edit(Site("z", 1, head=7), "zero")):
        pass
    with pytest.raises(SiteError, match="neuron=48"), lens.edited(model, Edit(Site("neuron", 1, neuron=48), "zero")):
        pass
    with (
        pytest.raises(EditError, match="3 are named"),
        lens.edited(model, Edit(Site("resid_pre", 1, position=[1, 2, 3]), "add", torch.ones(2, 32))),
    ):
        pass
    with (
        pytest.raises(SiteError, match="position=-9"),
        lens.edited(model, Edit(Site("resid_pre", 1, position=-9), "zero")),
    ):
        model(IDS[None])
    with (
        pytest.raises(SiteError, match="side by side"),
        lens.edited(subjects("gpt_neox", "plain"), Edit(Site("resid_mid", 1), "zero")),
    ):
        pass
    # a value for each position of the prompt has none for a token that is generated
    with (
        pytest.raises(EditError, match="position 7 of the text"),
        lens.edited(model, Edit(Site("resid_pre", 1), "add", torch.ones(LENGTH, 32))),
    ):
        model.generate(IDS[None], max_new_tokens=3, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_an_edit_that_no_token_met_is_pointed_out(subjects):
    model = subjects("llama", "plain")
    with pytest.warns(UserWarning, match="no token met the edit at Site\\('resid_pre', layer=1, position=50\\)"):
        with torch.no_grad(), lens.edited(model, Edit(Site("resid_pre", 1, position=50), "zero")):
            model(IDS[None])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with lens.edited(model, Edit(Site("resid_pre", 1, position=50), "zero")):
            pass


def test_a_model_of_an_unknown_type_is_served_where_its_parts_are_found():
    torch.manual_seed(0)
    mamba = (
        MambaForCausalLM(MambaConfig(vocab_size=97, hidden_size=32, num_hidden_layers=2)).eval().requires_grad_(False)
    )
    with torch.no_grad():
        before = mamba(IDS[None]).logits
        handle = mamba.backbone.layers[1].register_forward_pre_hook(
            lambda m, args, kwargs: ((args[0] * torch.tensor([1.0, 1, 1, 0, 1, 1, 1])[:, None], *args[1:]), kwargs),
            with_kwargs=True,
        )
        want = mamba(IDS[None]).logits
        handle.remove()
        with lens.edited(mamba, Edit(Site("resid_pre", 1, position=3), "zero")):
            got = mamba(IDS[None]).logits
        assert (got - want).abs().max() <= 1e-5 and not torch.equal(want, before)
    with (
        pytest.raises(SiteError, match="'z' was not found in layer 1 of model type 'mamba'"),
        lens.edited(mamba, Edit(Site("z", 1), "zero")),
    ):
        pass
    with pytest.raises(EditError, match="Linear"), lens.edited(nn.Linear(3, 3), Edit(Site("embed"), "zero")):
        pass


@pytest.mark.parametrize(
    "given",
    [
        dict(layer=[0, 3]),
        dict(layer=0, position=1.5),
        dict(layer=True),
        dict(layer=0, position=[0, True]),
        dict(layer=0, position=slice(0, 1.5)),
    ],
)
def test_a_site_of_no_one_layer_and_position_is_refused(given):
    with pytest.raises(SiteError, match=list(given)[-1]):
        Site("attn_out", **given)


def test_an_edit_takes_finite_numbers_and_what_can_be_copied():
    for scale in (float("nan"), float("inf"), True, "2"):
        with pytest.raises(EditError, match="^scale="):
            Edit(Site("attn_out", 0), "add", torch.ones(4), scale=scale)
    for value in (object(), {1}, "x", torch.ones(4).bool(), torch.ones(4, device="meta"), torch.eye(4).to_sparse()):
        with pytest.raises(EditError, match="value"):
            Edit(Site("attn_out", 0), "replace", value)
