"""The reverse walk against torch's autograd: through plain hooks on the library's own model, through copies whose norms
and patterns are held, and in float64.
"""

import pytest
import torch
from torch import nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import eager_mask

from lens.engine.gradients import recorded_gradients, site_gradients
from lens.engine.model import Model
from lens.engine.reverse import GIM, Reverse, ReverseError, Rules, run
from lens.engine.walk.blocks import Norm
from tests import kinds, models, naive
from tests.engine.test_layers import model as layered

#: One of each way that a block is transposed; the others run with `make test-long`.
PATHS = ("llama", "gpt2", "gpt_neox", "qwen3", "gemma2", "olmo3", "phi3", "smollm3", "olmoe_clipped", "gpt_oss")
OTHERS = tuple(name for name in (*models.KINDS, *kinds.VARIANTS) if name not in PATHS and "seeing" not in name)
NAMES = (*PATHS, *(pytest.param(name, marks=pytest.mark.long) for name in OTHERS))
IN_DOUBLE = ("llama", "gpt2", "qwen3", "gemma2", "olmo2")
SITES = ("resid_post", "mlp_out", "neuron", "resid_mid", "attn_out", "z", "q", "k", "v")
LENGTHS = (9, 9, 7)


def make(name):
    return models.tiny(name) if name in models.KINDS else kinds.make(name)


def prompts(lengths=LENGTHS):
    g = torch.Generator().manual_seed(0)
    return [torch.randint(1, 97, (n,), generator=g) for n in lengths]


def weights(count=1):
    return torch.randn(count, 97, generator=torch.Generator().manual_seed(1))


def back(hf, rules=Rules(), ids=None, sites=SITES, w=None, dtype=torch.float32, chunk=None, **options):
    """``{(site, layer): [cotangent, prompt, position, ...]}`` of weighted last logits, and the reverse walk."""
    model, ids = Model.of(hf), prompts() if ids is None else ids
    runs = model.record(ids)
    reverse = Reverse(runs, rules=rules, **options)
    last, w = [s + n - 1 for s, n in zip(runs.starts, runs.lengths)], (weights() if w is None else w).to(dtype)
    found = {}
    c = reverse.cotangents(lambda final: (model.unembed(final[last]) @ w.T).sum(0))
    for step in reverse.layers(c, sites, chunk=chunk):
        found |= {(site, step.layer): x for site, x in step.at.items()}
        found["resid_pre", step.layer] = step.resid_pre.clone()
    return found, reverse


def own(hf, ids, sites, w):
    """The same by the library's own forward, one prompt at a time, and torch's autograd."""
    found = {}
    for i, text in enumerate(ids):
        seen = {}

        def watch(key, seen=seen):
            def change(x):
                seen[key] = x.clone() if x.requires_grad else x.detach().clone().requires_grad_()
                return 1 * seen[key]  # OLMoE clips in place

            return change

        undo = [naive.hook(hf, site, layer, watch((site, layer))) for layer in range(3) for site in sites]
        try:
            with torch.enable_grad():
                total = hf(text[None]).logits[0, -1] @ w[0]
        finally:
            for u in undo:
                u()
        for key, g in zip(seen, torch.autograd.grad(total, list(seen.values()))):
            found[(*key, i)] = g[0]
    return found


def close(ours, theirs, share=1e-4):
    """To a share of the largest number."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=share * theirs.abs().max().item())


@pytest.mark.parametrize("name", NAMES)
def test_cotangents_are_autograds_of_the_models_own_forward(name):
    model = Model.of(make(name))
    sites = [s for s in (*SITES, "resid_pre") if all(model.has(s, l) for l in range(3))]
    got, _ = back(model.hf)
    reference = make(name)
    if name in models.KINDS:
        reference.set_attn_implementation("eager")
    want = own(reference, prompts(), sites, weights())
    for (site, layer, i), theirs in want.items():
        ours = got[site, layer][0, i]
        close(ours[: LENGTHS[i]], theirs.view(LENGTHS[i], *ours.shape[1:]))
        assert not ours[LENGTHS[i] :].any()


def _double(monkeypatch, hf=None, detach=False):
    """Norms that compute in the numbers that they are given (the library's own round to float32): the walk's, or those
    of a model that it does not see, with their scale held if asked for.
    """

    def rms(self, x):
        scale = (x.square().mean(-1, keepdim=True) + getattr(self, "eps", getattr(self, "variance_epsilon", 0))).rsqrt()
        weight = 1 + self.weight if "Gemma" in type(self).__name__ else self.weight
        return x * (scale.detach() if detach else scale) * weight

    def layer_norm(self, x):
        x = x - x.mean(-1, keepdim=True)
        scale = (x.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return x * (scale.detach() if detach else scale) * self.weight + self.bias

    def written_out(self, x):
        return (layer_norm if isinstance(self.module, nn.LayerNorm) else rms)(self.module, x)

    if hf is None:
        monkeypatch.setattr(Norm, "__call__", written_out)
    for kind in {type(m) for m in hf.modules()} if hf is not None else ():
        if "RMSNorm" in kind.__name__ or kind is nn.LayerNorm:
            monkeypatch.setattr(kind, "forward", layer_norm if kind is nn.LayerNorm else rms)


@pytest.mark.parametrize(
    "name",
    [
        *IN_DOUBLE,
        # the library's mixtures have no products in float64
        *(
            pytest.param(n, marks=pytest.mark.long)
            for n in (*PATHS, *OTHERS)
            if n not in IN_DOUBLE and n not in kinds.MIXTURES
        ),
    ],
)
def test_in_float64_they_are_equal_to_ten_digits(name, monkeypatch):
    hf = make(name).double()
    _double(monkeypatch)
    got, reverse = back(hf, dtype=torch.float64)
    model, runs = Model.of(hf), reverse.runs
    last, w = [s + n - 1 for s, n in zip(runs.starts, runs.lengths)], weights().double()
    for site in (s for s in (*SITES, "resid_pre") if any(model.has(s, l) for l in range(3))):
        want = site_gradients(
            model, [runs], [runs.embedded], site, lambda finals: (model.unembed(finals[0][last]) @ w.T).sum()
        )[0]
        for layer in (l for l in range(3) if model.has(site, l)):
            ours = got[site, layer][0][reverse.there]
            close(ours, want[layer].view_as(ours), 1e-10)


class _Soft(torch.autograd.Function):
    """A softmax whose derivative is taken at another temperature, without its factor."""

    @staticmethod
    def forward(ctx, scores, temperature):
        ctx.save_for_backward((scores / temperature).softmax(-1))
        return scores.softmax(-1)

    @staticmethod
    def backward(ctx, c):
        (p,) = ctx.saved_tensors
        return p * (c - (p * c).sum(-1, keepdim=True)), None


def _scaled(x, factor):
    return x * factor + (x * (1 - factor)).detach()


#: What the reference's attention does.
RULES = [Rules()]


def _ruled(module, query, key, value, attention_mask, scaling=None, dropout=0.0, softcap=None, s_aux=None, **kwargs):
    rules = RULES[-1]
    query, key, value = _scaled(query, rules.into_qk), _scaled(key, rules.into_qk), _scaled(value, rules.into_v)
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    seen = torch.ones(scores.shape[-2:], dtype=torch.bool).tril() if attention_mask is None else attention_mask == 0
    pattern = _Soft.apply(scores.masked_fill(~seen, float("-inf")), rules.temperature)
    pattern = pattern.detach() if rules.freeze_patterns else pattern
    return (pattern @ value).transpose(1, 2).contiguous(), pattern


AttentionInterface.register("ruled", _ruled)
AttentionMaskInterface.register("ruled", eager_mask)


@pytest.mark.parametrize(
    "rules",
    [Rules(freeze_norms=True), Rules(freeze_patterns=True), GIM],
    ids=["norms", "patterns", "gim"],
)
@pytest.mark.parametrize("name", ["qwen3", "gpt2", "gemma2", "olmo2", "gpt_neox"])
def test_what_is_held_is_a_constant_of_a_copy(name, rules, monkeypatch):
    hf = make(name)
    sites = [s for s in ("resid_pre", "resid_mid", "z", "v", "neuron") if Model.of(hf).has(s, 0)]
    got, _ = back(hf, rules, sites=(*sites[1:],))
    reference = make(name)
    reference.set_attn_implementation("ruled")
    monkeypatch.setattr(f"{__name__}.RULES", [rules])
    _double(monkeypatch, reference, rules.freeze_norms)
    for (site, layer, i), theirs in own(reference, prompts(), sites, weights()).items():
        ours = got[site, layer][0, i, : LENGTHS[i]]
        close(ours, theirs.view_as(ours))


@pytest.mark.parametrize("name", ["gpt2", "qwen3", "gpt_neox", "gemma2"])
def test_what_goes_into_one_reader_is_autograds_through_it_alone(name):
    model = Model.of(make(name))
    runs = model.record(prompts((8, 8)))
    reverse = Reverse(runs)
    c = torch.randn(2, 2, 8, 32, generator=torch.Generator().manual_seed(2))
    before = c.clone()
    step = next(reverse.layers(c, ("q", "k", "v", "mlp_in", "resid_mid")))
    block = reverse.decoder.blocks[2]
    with torch.enable_grad():
        x = runs.get("resid_pre", 2)[reverse.table].detach().requires_grad_()
        q, k, v = block.qkv(block.norm_attn(x).flatten(0, 1))
        for name, one in (("q", q), ("k", k), ("v", v)):
            for head in range(one.shape[1]):
                whole = (one[:, head].view(2, 8, -1) * step.at[name][1, :, :, head]).sum()
                (want,) = torch.autograd.grad(whole, x, retain_graph=True)
                close(step.into(name)[1, :, :, head], want)
                close(step.into(name, slice(head, head + 1))[1, :, :, 0], want)
    # what enters the layer is what leaves it and what went into each reader
    through = sum(step.into(name).sum(3) for name in ("q", "k", "v"))
    mid = before + step.into("mlp")
    if block.parallel:
        close(step.resid_pre, before + step.into("mlp") + through)
    else:
        close(step.at["resid_mid"], mid)
        close(step.resid_pre, mid + through)


def test_a_small_change_before_a_post_norm_is_the_norms_own(monkeypatch):
    hf = make("olmo2").double()
    _double(monkeypatch)
    model = Model.of(hf)
    runs = model.record(prompts((8,)), keep=("z",))
    reverse = Reverse(runs)
    step = next(reverse.layers(torch.zeros(1, 1, 8, 32, dtype=torch.float64)))
    block, delta = reverse.decoder.blocks[2], torch.randn(8, 32, dtype=torch.float64)
    before = block.o_proj(runs.get("z", 2).flatten(1))
    want = (block.post_attn(before + 1e-6 * delta) - block.post_attn(before - 1e-6 * delta)) / 2e-6
    close(step.post_norm("attn_out", delta[None])[0], want, 1e-7)
    plain = Model.of(make("llama"))
    step = next(Reverse(plain.record(prompts((8,)))).layers(torch.zeros(1, 1, 8, 32)))
    assert step.post_norm("mlp_out", delta) is delta


@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_constants_before_and_nothing_after_give_the_same_in_between(name):
    runs = Model.of(make(name)).record(prompts((12,)))
    c = torch.zeros(3, 1, 12, 32)
    c[:, :, 4:10] = torch.randn(3, 1, 6, 32, generator=torch.Generator().manual_seed(3))
    some = {
        s.layer: s.resid_pre.clone() for s in Reverse(runs, start=4, stop=10).layers(c[:, :, 4:10].clone(), chunk=2)
    }
    for step in Reverse(runs).layers(c):
        close(some[step.layer], step.resid_pre[:, :, 4:10])
        assert not step.resid_pre[:, :, 10:].any()


def test_several_read_outs_are_each_their_own():
    hf, w = make("llama"), weights(3)
    together, _ = back(hf, w=w)
    for n in range(3):
        alone, _ = back(hf, w=w[n : n + 1])
        for key, x in alone.items():
            close(together[key][n], x[0])


def test_bad_input_is_refused_by_name():
    model = Model.of(make("llama"))
    runs = model.record(prompts((6,)))
    for options, said in (
        ({"start": 6}, "start=6"),
        ({"start": -1}, "start=-1"),
        ({"stop": 7}, "stop=7"),
        ({"start": 2, "stop": 2}, "stop=2"),
    ):
        with pytest.raises(ReverseError, match=said):
            Reverse(runs, **options)
    reverse = Reverse(runs)
    with pytest.raises(ReverseError, match=r"expected \[cotangent, 1, 6, 32\]"):
        next(reverse.layers(torch.zeros(1, 6, 32)))
    with pytest.raises(ReverseError, match="sites=.'pattern'."):
        next(reverse.layers(torch.zeros(1, 1, 6, 32), ("pattern",)))
    with pytest.raises(ReverseError, match="does not depend"):
        reverse.cotangents(lambda final: torch.zeros(1))
    step = next(Reverse(runs, rules=Rules(freeze_patterns=True)).layers(torch.zeros(1, 1, 6, 32), ("q", "v")))
    with pytest.raises(ReverseError, match="reader='q' was not kept"):
        step.into("q")
    with pytest.raises(ReverseError, match="reader='z'"):
        step.into("z")
    for bad in ({"temperature": 0.0}, {"into_v": float("nan")}, {"into_qk": True}):
        with pytest.raises(ReverseError, match=next(iter(bad))):
            Rules(**bad)
    with torch.inference_mode(), pytest.raises(ReverseError, match="inference_mode"):
        Reverse(runs)


@pytest.mark.parametrize("site", ["embed", "resid_pre", "q", "mlp_out", "neuron"])
@pytest.mark.parametrize("name", ["gpt2", "qwen3_moe"])
def test_gradients_at_recorded_runs_are_those_of_another_forward(name, site):
    model = Model.of(make(name))
    two = [model.record(prompts(lengths)) for lengths in ((9, 7), (5, 8))]
    w = weights()[0]

    def score(finals):
        logits = [model.unembed(f) @ w for f in finals]
        return logits[0][8] * logits[1][4] - logits[1][-1].square() + logits[0][-1]

    ours = recorded_gradients(model, two, site, score)
    theirs = site_gradients(model, two, [runs.embedded for runs in two], site, score)
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            assert a.shape == b.shape
            if a.numel():
                close(a, b)


@pytest.mark.parametrize("name", ["granite", "stablelm"])
def test_a_models_own_layers_are_transposed_by_autograd(name):
    hf = layered(name)
    model = Model.of(hf)
    assert model.walked is None
    runs, w = model.record(prompts()), weights(2)
    last = [s + n - 1 for s, n in zip(runs.starts, runs.lengths)]
    sites = [s for s in ("z", "v", "attn_out", "mlp_out", "resid_mid") if model.has(s, 1)]

    def score(final):
        return (model.unembed(final[last]) @ w.T).sum(0)

    got, reverse = {}, Reverse(runs)
    for step in reverse.layers(reverse.cotangents(score), sites, chunk=1):
        got |= {(site, step.layer): x for site, x in step.at.items()} | {
            ("resid_pre", step.layer): step.resid_pre.clone()
        }
    for site in (*sites, "resid_pre"):
        want = site_gradients(model, [runs], [runs.embedded], site, lambda finals: score(finals[0])[1])[0]
        for layer in range(3):
            ours = got[site, layer][1][reverse.there]
            close(ours, want[layer].view_as(ours))
    # earlier positions are constants
    c = torch.zeros(1, 3, 9, 32)
    c[:, :, 3:6] = torch.randn(1, 3, 3, 32, generator=torch.Generator().manual_seed(3))
    some = [s.resid_pre.clone() for s in Reverse(runs, start=3, stop=6).layers(c[:, :, 3:6].clone())]
    for ours, step in zip(some, Reverse(runs).layers(c), strict=True):
        close(ours, step.resid_pre[:, :, 3:6])
    with pytest.raises(ReverseError, match="norms and patterns are held"):
        Reverse(runs, rules=GIM)
    with pytest.raises(ReverseError, match="mlp_in"):
        next(Reverse(runs).layers(torch.zeros(1, 3, 9, 32), ("mlp_in",)))
    step = next(Reverse(runs).layers(torch.zeros(1, 3, 9, 32), ("v",)))
    for ask in (lambda: step.into("v"), lambda: step.post_norm("attn_out", torch.zeros(9, 32))):
        with pytest.raises(ReverseError, match="written out"):
            ask()


@pytest.mark.parametrize("rules", [Rules(), Rules(freeze_norms=True)], ids=["gradient", "norms held"])
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_an_mlp_that_is_formed_as_one_matrix_is_the_mlp(name, rules, monkeypatch):
    hf, w, kept, asked = make(name), weights(40), ("resid_mid", "z", "q", "k", "v"), []
    real = run.pays
    monkeypatch.setattr(run, "pays", lambda *given: asked.append(real(*given)) or asked[-1])
    formed, _ = back(hf, rules, sites=kept, w=w)
    assert asked == [True] * 3
    in_pieces, _ = back(hf, rules, sites=kept, w=w, chunk=3)
    if rules.plain:
        theirs = own(hf, prompts(), ("resid_mid", "z"), w[:1])
        for site, layer, i in theirs:
            close(formed[site, layer][0, i, : LENGTHS[i]], theirs[site, layer, i], 1e-5)
    monkeypatch.setattr(run, "pays", lambda *given: False)
    plain, _ = back(hf, rules, sites=kept, w=w)
    for key in plain:
        close(formed[key], plain[key], 1e-5)
        close(in_pieces[key], plain[key], 1e-5)


def test_an_mlp_is_formed_where_that_saves_operations_and_nothing_inside_is_asked(monkeypatch):
    def formed(name, count, sites=("z",)):
        asked = []
        real = run.pays
        with monkeypatch.context() as patch:
            patch.setattr(run, "pays", lambda *given: asked.append(real(*given)) or asked[-1])
            back(make(name) if isinstance(name, str) else name, sites=sites, w=weights(count))
        return set(asked)

    assert formed("llama", 40) == {True} and formed("llama", 4) == {False}
    assert formed("llama", 40, ("neuron",)) == formed("llama", 40, ("mlp_in",)) == {False}
    # side by side with attention, a norm behind, experts
    assert formed("gpt_neox", 40) == formed("olmo2", 40) == formed("gpt_oss", 40) == {False}
