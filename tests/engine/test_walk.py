"""The walk against full forwards with plain hooks, on random models of every block type and random edits."""

import functools

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens.engine.edits import Edit, EditError
from lens.engine.runs import Runs
from lens.engine.sites import EXPERTS, HEADED, SITES, Site, SiteError
from lens.engine.stopping import Stopped
from lens.engine.walk.rows import walk
from tests import naive
from tests.models import EACH, KINDS, tiny
from tests.variants import few

LENGTH = 7
KEEP = ("embed", "q", "k", "pattern", "z", "neuron", "mlp_out")


@functools.cache
def model(kind):
    hf = tiny(kind, seed=1)
    hf.set_attn_implementation("naive")
    return hf


def sites_of(kind):
    return [s for s in SITES if s not in EXPERTS and not (s == "resid_mid" and kind == "gpt_neox")]


@functools.cache
def runs(kind):
    g = torch.Generator().manual_seed(5)
    base = [torch.randint(0, 97, (n,), generator=g) for n in (LENGTH, LENGTH - 2)]
    other = [i.clone() for i in base]
    other[0][2], other[0][5], other[1][1] = 3, 4, 5
    record = Runs.record(model(kind), base, keep=KEEP)
    return record, record.fork(other)


@st.composite
def edit_for(draw, kind):
    _hf, (base, source) = model(kind), runs(kind)
    name = draw(st.sampled_from(sites_of(kind)))
    layer = None if name == "embed" else draw(st.integers(0, 2))
    shortest = LENGTH - 2
    position = draw(
        st.none()
        | st.integers(-shortest, shortest - 1)
        | st.lists(st.integers(0, shortest - 1), min_size=1, max_size=3, unique=True)
    )
    axes = {}
    if name in HEADED:
        heads = base.decoder.n_heads if HEADED[name] == "query" else base.decoder.n_kv_heads
        axes["head"] = draw(
            st.none()
            | st.integers(0, heads - 1)
            | st.lists(st.integers(0, heads - 1), min_size=1, max_size=2, unique=True)
        )
    if name == "neuron":
        axes["neuron"] = draw(st.none() | st.integers(0, 47))
    site = Site(name, layer, position=position, **axes)
    op = draw(st.sampled_from(["replace", "tensor", "add", "scale", "zero", "mean", "resample"]))
    scale = draw(st.sampled_from([1.0, -0.5, 2.0]))
    if op in ("scale", "zero"):
        return Edit(site, op, scale=scale)
    if op in ("replace", "resample") or name == "pattern":
        return Edit(site, "replace" if name == "pattern" else op, source, scale=scale)
    width = (
        1
        if name == "neuron" and axes["neuron"] is not None
        else base.decoder.d_mlp
        if name == "neuron"
        else base.decoder.d_head
        if name in HEADED
        else base.decoder.d_model
    )
    value = torch.randn(width, generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
    if name in HEADED and axes["head"] is None:
        value = value  # broadcasts over heads
    return Edit(site, {"tensor": "replace"}.get(op, op), value, scale=scale)


def reference(kind, prompt, edits):
    hf, (base, source) = model(kind), runs(kind)
    changes = []
    for e in edits:
        act = (
            naive.activation(hf, source.ids[prompt], e.site.name, e.site.layer)
            if not isinstance(e.value, torch.Tensor) and e.value is not None
            else None
        )
        changes.append((e.site.name, e.site.layer, naive.changed(e, act)))
    order = {s: i for i, s in enumerate(SITES)}
    changes.sort(key=lambda c: (c[1] or 0, order[c[0]]))  # hooks of one site fire in the order installed
    return naive.forward(hf, base.ids[prompt], changes)


@pytest.mark.parametrize("kind", few(KINDS, EACH))
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_mix_of_edits_equals_the_hooked_forward(kind, data):
    base, _ = runs(kind)
    rows = data.draw(
        st.lists(st.tuples(st.integers(0, 1), st.lists(edit_for(kind), min_size=1, max_size=3)), min_size=1, max_size=5)
    )
    reads = [[LENGTH - 3, LENGTH - 1], [LENGTH - 3]]
    walked = walk(base, rows, reads)
    logits = base.decoder.unembed(walked.resid)
    for i, (prompt, edits) in enumerate(rows):
        want = reference(kind, prompt, edits)[reads[prompt]]
        got = logits[walked.first[i] : walked.first[i + 1]]
        assert (want - got).abs().max() <= 1e-4 * max(1, want.abs().max())


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_every_site_replaced_from_the_other_run_is_exact(kind):
    base, source = runs(kind)
    sites = [
        Site(n, None if n == "embed" else l, position=p)
        for n in sites_of(kind)
        for l in ((None,) if n == "embed" else range(3))
        for p in (None, 2, -1)
    ]
    rows = [(0, [Edit(s, "replace", source)]) for s in sites]
    walked = walk(base, rows, [[LENGTH - 1], [LENGTH - 3]])
    logits = base.decoder.unembed(walked.resid)
    for i, (_, edits) in enumerate(rows):
        want = reference(kind, 0, edits)[LENGTH - 1]
        assert (want - logits[i]).abs().max() <= 1e-4, edits


def test_positions_shared_by_both_prompts_are_answered_without_a_row():
    base, source = runs("llama")
    rows = [(0, [Edit(Site("resid_pre", l, position=p), "replace", source)]) for l in range(3) for p in range(LENGTH)]
    walked = walk(base, rows, [[LENGTH - 1], [LENGTH - 3]])
    changed_rows = walked.changed.reshape(3, LENGTH)
    assert not changed_rows[:, :2].any() and changed_rows[1:, 2:].all()
    assert changed_rows[0].tolist() == [False, False, True, False, False, True, False]
    untouched = base.resid[-1][LENGTH - 1]
    assert torch.equal(walked.resid[0], untouched)


def test_pattern_keys_can_be_edited_one_by_one():
    base, source = runs("llama")
    edit = Edit(Site("pattern", 1, head=1, position=5, key=[0, 2]), "replace", source)
    got = base.decoder.unembed(walk(base, [(0, [edit])], [[LENGTH - 1], [LENGTH - 3]]).resid)[0]
    assert (reference("llama", 0, [edit])[LENGTH - 1] - got).abs().max() <= 1e-4


def test_small_chunks_give_the_same_numbers(monkeypatch):
    base, source = runs("olmo2")
    rows = [(p, [Edit(Site("z", l, head=h), "replace", source)]) for l in range(3) for h in range(4) for p in (0, 1)]
    reads = [[LENGTH - 1], [LENGTH - 3]]
    whole = walk(base, rows, reads).resid
    monkeypatch.setattr("lens.engine.walk.rows.CHUNK_TOKENS", 8)
    assert torch.allclose(whole, walk(base, rows, reads, chunk_bytes=1).resid, atol=1e-5)


def test_out_of_memory_halves_the_chunk_and_goes_on(monkeypatch):
    base, source = runs("llama")
    rows = [(0, [Edit(Site("resid_pre", l, position=p), "replace", source)]) for l in range(3) for p in range(LENGTH)]
    reads = [[LENGTH - 1], [LENGTH - 3]]
    whole, failures = walk(base, rows, reads).resid, []
    import lens.engine.walk.rows as module

    attention, feed_forward = module.attention, module.feed_forward

    def scarce(real, limit):
        def call(block, x, *rest):
            if len(x) > limit:
                failures.append(len(x))
                raise torch.OutOfMemoryError("no memory")
            return real(block, x, *rest)

        return call

    monkeypatch.setattr(module, "attention", scarce(attention, 12))
    monkeypatch.setattr(module, "feed_forward", scarce(feed_forward, 300))
    assert torch.allclose(whole, walk(base, rows, reads).resid, atol=1e-5) and failures


@pytest.mark.parametrize(
    "site, message",
    [
        (dict(name="resid_pre", layer=3), "layer=3 is out of range"),
        (dict(name="z", layer=0, head=4), "head=4 is out of range"),
        (dict(name="k", layer=0, head=2), "head=2 is out of range"),
        (dict(name="resid_pre", layer=0, position=LENGTH), "position=7 is out of range"),
        (dict(name="neuron", layer=0, neuron=99), "neuron=99 is out of range"),
    ],
)
def test_indexes_out_of_range_are_named(site, message):
    base, _source = runs("llama")
    with pytest.raises(SiteError, match=message):
        walk(base, [(0, [Edit(Site(**site), "zero")])], [[LENGTH - 1], [LENGTH - 3]])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Site("residual", 0), "site name='residual' is not known"),
        (lambda: Site("z"), "needs a layer"),
        (lambda: Site("resid_pre", 0, head=1), "has no head axis"),
        (lambda: Site("embed", 3), "has no layer"),
    ],
)
def test_impossible_sites_are_refused(make, message):
    with pytest.raises(SiteError, match=message):
        make()


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Edit(Site("z", 0), "swap"), "op='swap' is not known"),
        (lambda: Edit(Site("z", 0), "replace"), "needs a value"),
        (lambda: Edit(Site("z", 0), "zero", torch.ones(8)), "takes no value"),
        (lambda: Edit("z", "zero"), "site='z' does not fit; expected lens.Site"),
        (lambda: Edit(Site("attn_out", 0), "add", torch.tensor([float("nan")])), "NaN or infinity"),
    ],
)
def test_impossible_edits_are_refused(make, message):
    with pytest.raises(EditError, match=message):
        make()


def test_a_value_of_the_wrong_width_is_refused():
    base, _ = runs("llama")
    with pytest.raises(EditError, match=r"value has shape \(5,\)"):
        walk(base, [(0, [Edit(Site("attn_out", 0), "add", torch.ones(5))])], [[LENGTH - 1], [LENGTH - 3]])


def test_resid_mid_of_a_parallel_block_is_refused():
    base, _source = runs("gpt_neox")
    with pytest.raises(SiteError, match="side by side"):
        walk(base, [(0, [Edit(Site("resid_mid", 0), "zero")])], [[LENGTH - 1], [LENGTH - 3]])


def test_a_walk_stops_when_told_to():
    base, _source = runs("llama")
    with pytest.raises(Stopped, match="layer 1"):
        calls = iter([False, True])
        walk(base, [(0, [Edit(Site("resid_pre", 0), "zero")])], [[LENGTH - 1], [LENGTH - 3]], stop=lambda: next(calls))


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_recording_a_pair_in_one_pass_equals_recording_and_forking(kind):
    base, source = runs(kind)
    together = Runs.record_pair(model(kind), base.ids, source.ids, keep=KEEP)
    for one, other in zip(together, (base, source)):
        for site in sites_of(kind):
            for l in (0,) if site == "embed" else range(3):
                assert torch.allclose(one.get(site, l), other.get(site, l), atol=1e-4), (site, l)
        assert torch.allclose(one.resid[-1], other.resid[-1], atol=1e-4)
    first, second = together
    for l in range(4):
        assert torch.equal(first.resid[l][:2], second.resid[l][:2]), "what is shared is shared bit by bit"


def test_edits_apply_in_the_order_of_computation():
    base, _source = runs("llama")
    value = torch.randn(32, generator=torch.Generator().manual_seed(3))
    before, after = (
        Edit(Site("resid_post", 1, position=4), "replace", value),
        Edit(Site("resid_pre", 2, position=4), "scale", scale=2.0),
    )
    reads = [[LENGTH - 1], [LENGTH - 3]]
    logits = [
        base.decoder.unembed(walk(base, [(0, edits)], reads).resid)[0] for edits in ([before, after], [after, before])
    ]
    assert torch.equal(*logits) and (reference("llama", 0, [before, after])[LENGTH - 1] - logits[0]).abs().max() <= 1e-4


def test_a_site_that_cannot_be_recorded_is_refused():
    base, _source = runs("llama")
    with pytest.raises(ValueError, match="site 'z' cannot be recorded"):
        walk(base, [(0, [Edit(Site("resid_pre", 0), "zero")])], [[LENGTH - 1], [LENGTH - 3]], record=[("z", 1)])


def test_the_stream_after_the_last_block_can_be_asked_for_and_no_other_layer():
    model = tiny()
    run = Runs.record(model, [torch.arange(1, 6)])
    assert torch.equal(run.get("resid_pre", 3), run.get("resid_post", 2)) and torch.equal(
        run.get("resid_pre", -1), run.get("resid_pre", 2)
    )
    for site, layer in (("resid_pre", 4), ("resid_post", 3), ("resid_post", -4), ("v", 3), ("resid_pre", 1.5)):
        with pytest.raises(SiteError, match="^layer="):
            run.get(site, layer)
