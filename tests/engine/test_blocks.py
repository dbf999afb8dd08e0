"""Every block that is written out, against its own model and against hooked forwards on a plain second copy of it."""

import functools

import pytest
import torch

from lens import models
from lens.engine.edits import Edit
from lens.engine.gradients import site_gradients
from lens.engine.runs import Runs
from lens.engine.sites import EXPERTS, SITES, Site
from lens.engine.walk import blocks, forward
from lens.engine.walk.decoder import Decoder
from lens.engine.walk.rows import walk
from tests import kinds, naive
from tests.kinds import EACH, EAGER_ONLY, MIXTURES, VARIANTS
from tests.models import word_tokenizer
from tests.variants import few

LENGTHS = (9, 7)
KEEP = ("q", "k", "pattern", "z", "neuron", "mlp_out")
READS = [[LENGTHS[0] - 3, LENGTHS[0] - 1], [LENGTHS[1] - 1]]
WAYS = few(
    [(name, way) for name in VARIANTS for way in ("eager", "sdpa") if way == "eager" or name not in EAGER_ONLY],
    [*((name, "eager") for name in EACH), ("mistral_window", "sdpa"), ("gemma3", "sdpa")],
)
TOLERANCE = 1e-5


@functools.cache
def prompts():
    """Two prompts, and two of the same lengths that begin alike."""
    g = torch.Generator().manual_seed(5)
    base = [torch.randint(1, 90, (n,), generator=g) for n in LENGTHS]
    other = [ids.clone() for ids in base]
    other[0][2], other[0][5], other[1][1] = 3, 4, 5
    return base, other


@functools.cache
def copy_of(name):
    """The plain second copy, whose attention weights can be changed too."""
    return kinds.make(name, "naive")


@functools.cache
def runs(name, way):
    base, other = prompts()
    record = Runs.record(kinds.make(name, way), base, keep=KEEP)
    return record, record.fork(other)


def places(name):
    """Every site in every layer that has it."""
    found = [("embed", None)]
    for layer in range(3):
        has_neurons = naive.parts(copy_of(name), layer)["down"] is not None
        found += [(site, layer) for site in SITES[1:] if site not in EXPERTS and (site != "neuron" or has_neurons)]
    return found


@functools.cache
def activation(name, prompt, site, layer, which=0):
    return naive.activation(copy_of(name), prompts()[which][prompt], site, layer)


def hooked(name, prompt, edits):
    """Logits of a plain forward with the edits as hooks."""
    changes = []
    for e in edits:
        source = None if isinstance(e.value, torch.Tensor) else activation(name, prompt, e.site.name, e.site.layer, 1)
        changes.append((e.site.name, e.site.layer, naive.changed(e, source)))
    return naive.forward(copy_of(name), prompts()[0][prompt], changes)


def close(ours, theirs, what=""):
    gap = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1)
    assert gap <= TOLERANCE, (what, float(gap))


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_what_is_recorded_is_what_hooks_see(name, way):
    record, other = runs(name, way)
    for run, ids in zip((record, other), prompts()):
        for prompt, text in enumerate(ids):
            span = slice(run.starts[prompt], run.starts[prompt] + len(text))
            want = kinds.make(name, way)(text[None]).logits[0]
            close(run.decoder.unembed(run.resid[-1][span]), want)
            close(naive.forward(copy_of(name), text), want)
            columns = torch.tensor([5, 0, 96])
            close(run.decoder.unembed(run.resid[-1][span], columns), want[:, columns])
    for site, layer in places(name):
        own = record.get(site, layer or 0)
        for prompt, n in enumerate(LENGTHS):
            theirs = activation(name, prompt, site, layer)
            at = record.starts[prompt]
            close(own[prompt][:, :n, :n] if site == "pattern" else own[at : at + n], theirs, (site, layer))


@pytest.mark.parametrize(("name", "way"), WAYS)
@pytest.mark.parametrize("each", few([False, True], [False]), ids=["in turn", "each"])
def test_every_site_replaced_from_another_run_equals_the_hooked_forward(name, way, each):
    """``each``: of three positions of the first prompt every layer has each; else one, another in every layer."""
    base, source = runs(name, way)
    rows = [
        (prompt, [Edit(Site(site, layer, position=position), "replace", source)])
        for site, layer in places(name)
        for prompt, positions in enumerate(((None, 5, -1), (-2,)))
        for at, position in enumerate(positions)
        if each or at == (SITES.index(site) + (layer or 0)) % len(positions)
    ]
    walked = walk(base, rows, READS)
    logits = base.decoder.unembed(walked.resid)
    for i, (prompt, edits) in enumerate(rows):
        want = hooked(name, prompt, edits)[READS[prompt]]
        close(logits[walked.first[i] : walked.first[i + 1]], want, edits)


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_rows_of_a_few_tokens_read_what_they_continue_within_their_window(name, way, monkeypatch):
    base, source = runs(name, way)
    rows = [
        (prompt, [Edit(Site("resid_pre", layer, position=at), "scale", scale=(0.5, 2.0, -1.0)[(layer + at) % 3])])
        for prompt, n in enumerate(LENGTHS)
        for layer in range(3)
        for at in range(n - 4, n)
    ]
    rows += [(0, [Edit(Site(site, 1, position=-3), "replace", source)]) for site in ("q", "k", "v")]
    calls, real = [], forward.attend_after
    monkeypatch.setattr(forward, "attend_after", lambda *given: calls.append(given[1].shape) or real(*given))
    walked = walk(base, rows, READS)
    assert {shape[2] for shape in calls} == {1, 2, 3, 4}, "rows of one token, and of up to four"
    logits = base.decoder.unembed(walked.resid)
    for i, (prompt, edits) in enumerate(rows):
        want = hooked(name, prompt, edits)[READS[prompt]]
        close(logits[walked.first[i] : walked.first[i + 1]], want, edits)


@pytest.mark.parametrize("name", few(VARIANTS, ["qwen3_window", "gemma2", "gemma3_seeing", "olmo3", "phi3", "gpt_oss"]))
def test_a_model_inside_a_bridge_is_walked_as_it_is_by_itself(name):
    plain = kinds.make(name)
    bridge = models.wrap(kinds.make(name), word_tokenizer(), f"tiny-{name}")
    base, other = prompts()
    record, source = Runs.record_pair(bridge, base, other, keep=("z", "mlp_out"))
    assert not isinstance(bridge, type(plain))
    close(record.decoder.unembed(record.resid[-1][: LENGTHS[0]]), plain(base[0][None]).logits[0])
    rows = [(0, [Edit(Site(site, 1, position=5), "replace", source)]) for site in ("resid_pre", "z", "v", "mlp_out")]
    for edits, resid in zip(rows, walk(record, rows, [[8], [6]]).resid):
        close(record.decoder.unembed(resid), hooked(name, *edits)[8], edits)


@pytest.mark.parametrize("name", few(VARIANTS, ["gemma2", "phi3", "smollm3", "qwen3_moe", "gpt_oss"]))
def test_half_precision_is_as_near_to_single_as_the_model_itself_is(name):
    """Over all edits together: where a router is near a tie, a token may go another way in either. The weights are such
    that none does on the probe, which would be refused.
    """
    half = kinds.make(name, "naive", seed=2).to(torch.bfloat16)
    single = kinds.make(name, "naive", seed=2)
    single.load_state_dict({key: value.float() for key, value in half.state_dict().items()})
    base = prompts()[0]
    record = Runs.record(kinds.make(name, seed=2).to(torch.bfloat16), base, keep=("z",))
    rows = [
        (prompt, [Edit(Site(site, layer, position=at), "scale", scale=0.5)])
        for prompt in (0, 1)
        for site in ("resid_pre", "z", "attn_out", "mlp_out")
        for layer in range(3)
        for at in (1, 4, -1)
    ]
    ours = record.decoder.unembed(walk(record, rows, [[8], [6]]).resid).float()
    changes = [[(e.site.name, e.site.layer, naive.changed(e, None)) for e in edits] for _, edits in rows]
    exact, theirs = (
        torch.stack([naive.forward(m, base[prompt], c)[-1].float() for (prompt, _), c in zip(rows, changes)])
        for m in (single, half)
    )
    assert 0 < (ours - exact).norm() <= 2 * (theirs - exact).norm()


@pytest.mark.parametrize("name", few(VARIANTS, EACH))
@pytest.mark.parametrize("site", ["embed", "resid_pre", "v", "z", "attn_out", "mlp_out"])
def test_gradients_are_those_of_the_models_own_forward(name, site):
    record, text = runs(name, "eager")[0], prompts()[0][0]
    run = Runs.record(record.decoder, [text], keep=())
    direction = torch.randn(97, generator=torch.Generator().manual_seed(2))
    (ours,) = site_gradients(
        run.decoder, [run], [run.embedded], site, lambda finals: run.decoder.unembed(finals[0][-1]) @ direction
    )
    seen = []

    def keep(x):
        x = x if x.requires_grad else x.detach().requires_grad_()
        seen.append(x)
        return x.clone()  # OLMoE clamps in place

    layers = [None] if site == "embed" else range(3)
    model = copy_of(name)
    undo = [naive.hook(model, site, layer, keep) for layer in layers]
    try:
        with torch.enable_grad():
            # the stream carries a gradient from the first layer on, whichever site is looked at
            start = model.get_input_embeddings().register_forward_hook(lambda m, a, out: out.requires_grad_())
            wanted = torch.autograd.grad(model(text[None]).logits[0, -1] @ direction, seen)
    finally:
        start.remove()
        for put_back in undo:
            put_back()
    for own, theirs in zip(ours, wanted, strict=True):
        close(own, theirs[0].reshape(own.shape), site)


@pytest.mark.parametrize("name", few(VARIANTS, EACH))
def test_what_is_told_of_the_next_token_is_told_under_the_soft_cap(name):
    from lens.engine.metrics import next_token
    from lens.vectors.mediation import first_logprob

    record = runs(name, "eager")[0]
    want = copy_of(name)(prompts()[0][0][None]).logits[0].log_softmax(-1)
    resid, target = record.resid[-1][: LENGTHS[0]], torch.arange(LENGTHS[0])
    logprob, _, _, top = next_token(record.decoder, resid, target)
    close(logprob, want.gather(1, target[:, None])[:, 0])
    assert torch.equal(top, want.argmax(-1))

    class Asked:
        answer_ids = (11,)

    close(first_logprob(record.decoder, [resid[:, None]], Asked), want[:, 11])


@pytest.mark.parametrize("names", few([(EACH,), (VARIANTS,)], [(EACH,)]), ids=["each", "variants"])
def test_every_kind_of_layer_is_among_the_variants(names):
    """The variants say what they are meant to: windows shorter than the prompts, caps, sinks, layers without rotary
    tables, mixed dense and sparse layers.
    """
    decoders = {name: Decoder.of(runs(name, "eager")[0].decoder) for name in names}

    def those(tell):
        return {name for name, d in decoders.items() if any(map(tell, d.blocks))}

    assert {n.split("_")[0] for n in those(lambda b: b.window is not None)} >= {"gemma2", "gemma3", "olmo3", "phi3"}
    assert all(b.window is None or b.window < min(LENGTHS) for d in decoders.values() for b in d.blocks)
    assert those(lambda b: b.cap is not None) == {"gemma2"}
    assert {n for n, d in decoders.items() if d.cap is not None} == {"gemma2", "gemma3"}
    assert those(lambda b: b.sinks is not None) == {"gpt_oss", "gpt_oss_yarn"} & set(names)
    assert those(lambda b: not b.rotary) == {"smollm3", "smollm3_window"} & set(names)
    assert those(lambda b: b.experts is not None) == set(MIXTURES) & set(names)
    mixed = those(lambda b: b.experts is not None) & those(lambda b: b.experts is None)
    assert mixed == {"qwen3_moe", "qwen3_moe_sparse"} & set(names)
    assert {len(d.rope(9)) for d in decoders.values()} == {1, 2}


@pytest.mark.parametrize("bias", [True, False])
def test_few_rows_of_a_wide_product_are_columns_of_the_same_numbers(bias):
    torch.manual_seed(0)
    layer, narrow = torch.nn.Linear(1030, 24, bias=bias), torch.nn.Linear(96, 24, bias=bias)
    for n in (1, 7, 8, 48, 49):
        x = torch.randn(n, 1030)
        with torch.no_grad():
            torch.testing.assert_close(blocks.product(layer, x), layer(x))
            assert blocks.product(layer, x).is_contiguous() == (n not in range(8, 49))
            assert torch.equal(blocks.product(narrow, x[:, :96]), narrow(x[:, :96]))
    x = torch.randn(8, 1030)
    assert torch.equal(blocks.product(layer, x), layer(x)), "with gradients it is the layer itself"
    layer.register_forward_hook(lambda module, given, out: out + 1)
    with torch.no_grad():
        assert torch.equal(blocks.product(layer, x), layer(x)), "and so where something acts on it"


@pytest.mark.parametrize("window", [None, 4])
def test_one_query_a_row_reads_the_same_fused_and_written_out(window, monkeypatch):
    class Block:
        scaling, cap, sinks = 0.4, None, None

        @staticmethod
        def capped(scores):
            return scores

    Block.window = window
    lay = forward.Layout(torch.arange(3), torch.tensor([8, 2, 5]), 3, 9)
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(*shape, generator=g) for shape in ((3, 6, 8), (3, 9, 2, 8), (3, 9, 2, 8)))
    calls, real = [], forward.fused
    monkeypatch.setattr(forward, "fused", lambda *given: calls.append(given[0].shape) or real(*given))
    with torch.no_grad():
        got = forward.attend(Block, q, k, v, lay, forward.no_tap, False)
    assert calls == [(3, 2, 3, 8)], "queries that share keys are queries of one head"
    for row, p in enumerate((8, 2, 5)):
        seen = slice(0 if window is None else max(0, p + 1 - window), p + 1)
        for head in range(6):
            weight = (k[row, seen, head // 3] @ q[row, head] * 0.4).softmax(0)
            torch.testing.assert_close(got[row, head], weight @ v[row, seen, head // 3])
    again = forward.attend(Block, q, k, v, lay, forward.no_tap, False)  # with gradients
    assert len(calls) == 1
    torch.testing.assert_close(got, again)
