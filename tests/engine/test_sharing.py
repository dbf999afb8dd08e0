"""What prompts and rows share is computed once: against plain forwards, one prompt at a time."""

import functools
import itertools

import numpy as np
import pytest
import torch

from lens.engine import metrics
from lens.engine.edits import Edit
from lens.engine.runs import Runs
from lens.engine.sites import EXPERTS, SITES, Site
from lens.engine.walk import rows as walking
from lens.engine.walk import runs as recording
from lens.engine.walk import siblings
from lens.engine.walk.decoder import Decoder
from lens.engine.walk.rows import walk
from tests import naive
from tests.models import EACH, KINDS, tiny
from tests.variants import few

#: Prompts that begin alike: one twice, one inside another, two that part late, one that shares nothing.
ALIKE = [
    [3, 1, 4, 1, 5, 9],
    [3, 1, 4, 1, 5, 9],
    [3, 1, 4],
    [3, 1, 4, 1, 5, 2, 6, 5],
    [8, 1, 4, 1],
    [3, 1, 4, 1, 5, 9, 7, 7],
]
EVEN = [[3, 1, 4, n, 5] for n in (1, 9, 1, 2)]


@functools.cache
def model(kind):
    hf = tiny(kind, seed=1)
    hf.set_attn_implementation("naive")
    return hf


PROMPTS = {"ragged": ALIKE, "even": EVEN}


@pytest.mark.parametrize(
    ("kind", "shape"),
    few(itertools.product(KINDS, PROMPTS), [*((kind, "ragged") for kind in EACH), ("llama", "even")]),
)
def test_prompts_that_begin_alike_are_recorded_as_if_alone(kind, shape, monkeypatch):
    prompts = PROMPTS[shape]
    pushed, real = [], recording.feed_forward
    monkeypatch.setattr(
        recording, "feed_forward", lambda block, x, *rest: (pushed.append(len(x)), real(block, x, *rest))[1]
    )
    run = Runs.record(model(kind), [torch.tensor(p) for p in prompts], keep=("q", "k", "z", "neuron", "mlp_out"))
    distinct = {tuple(p[: n + 1]) for p in prompts for n in range(len(p))}
    assert pushed == [len(distinct)] * 3 and len(distinct) < sum(map(len, prompts)), (
        "each token that follows the same tokens goes through a layer once"
    )
    for i, p in enumerate(prompts):
        at = slice(run.starts[i], run.starts[i] + len(p))
        for site in (s for s in SITES if s not in EXPERTS):
            if site == "pattern" or (site == "resid_mid" and kind == "gpt_neox"):
                continue
            for layer in (0,) if site == "embed" else range(3):
                want = naive.activation(model(kind), torch.tensor(p), site, layer)
                assert torch.allclose(run.get(site, layer)[at], want, atol=1e-4), (site, layer)


def test_prompts_with_little_in_common_and_those_whose_patterns_are_kept_go_whole(monkeypatch):
    pushed, real = [], recording.feed_forward
    monkeypatch.setattr(
        recording, "feed_forward", lambda block, x, *rest: (pushed.append(len(x)), real(block, x, *rest))[1]
    )
    Runs.record(model("llama"), [torch.arange(1, 20), torch.arange(2, 20)], keep=())
    run = Runs.record(model("llama"), [torch.tensor(p) for p in EVEN], keep=("pattern",))
    assert pushed == [37] * 3 + [20] * 3
    assert torch.allclose(
        run.get("pattern", 1)[1], naive.activation(model("llama"), torch.tensor(EVEN[1]), "pattern", 1), atol=1e-5
    )


@pytest.mark.parametrize(
    ("kind", "chunk", "tails"),
    few(
        [(kind, *way) for kind in KINDS for way in ((2048, (1,)), (2048, (1, 2, 4)), (7, (1, 3)))],
        lambda case: case[0] == "llama" or (case[0] in EACH and case[1:] == (2048, (1, 2, 4))),
    ),
)
def test_rows_of_many_prompts_of_any_length_equal_the_hooked_forward(kind, chunk, tails, monkeypatch):
    """Short rows that continue the same tokens are taken together, those of prompts of about one length in one
    product.
    """
    monkeypatch.setattr(walking, "CHUNK_TOKENS", chunk)
    joint, real = [], siblings.Siblings._side_by_side
    monkeypatch.setattr(
        siblings.Siblings,
        "_side_by_side",
        lambda self, rows, *rest: (joint.append(rows.shape), real(self, rows, *rest))[1],
    )
    g = torch.Generator().manual_seed(4)
    tail = [tails[i % len(tails)] for i in range(8)]
    prompts = [torch.randint(0, 97, (n + t - 1,), generator=g) for n, t in zip((1, 2, 5, 6, 7, 9, 24, 40), tail)]
    base = Runs.record(model(kind), prompts, keep=())
    reads = [list(range(len(p) - t, len(p))) for p, t in zip(prompts, tail)]
    vectors = torch.randn(3, 32, generator=g)
    rows = [
        (i, (Edit(Site(name, layer, position=reads[i][0]), "add", v),))
        for i in range(8)
        for layer in range(3)
        for name in ("resid_post", "attn_out")
        for v in vectors
    ]
    logits = base.decoder.unembed((walked := walk(base, rows, reads)).resid)
    assert chunk < 100 or max(groups for groups, _ in joint) > 1
    for number, (i, (edit,)) in enumerate(rows):

        def change(x, edit=edit):
            x = x.clone()
            x[0, edit.site.position] += edit.value
            return x

        want = naive.forward(model(kind), prompts[i], [(edit.site.name, edit.site.layer, change)])[reads[i]]
        got = logits[walked.first[number] : walked.first[number + 1]]
        assert (want - got).abs().max() <= 1e-4 * max(1, want.abs().max()), (i, edit.site)


def test_groups_are_made_once_while_no_row_joins(monkeypatch):
    made, real = [], siblings.Siblings._side_by_side
    monkeypatch.setattr(
        siblings.Siblings, "_side_by_side", lambda self, *rest: (made.append(rest[0].shape), real(self, *rest))[1]
    )
    base = Runs.record(model("llama"), [torch.arange(n, n + 6) for n in (1, 9)], keep=())
    value = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    walk(base, [(i, (Edit(Site("resid_pre", 0, position=5), "add", v),)) for i in (0, 1) for v in value], [[5], [5]])
    assert made == [(2, 4)], "one product for both prompts, worked out at the first layer only"


def test_groups_of_very_different_length_are_not_padded_to_one():
    groups = [np.array([n]) for n in (0, 3, 5, 6, 9, 40, 52, 60)]
    cut = [[int(g[0]) for g in near] for near in siblings._near(groups, lambda g: int(g[0]))]
    assert cut == [[0, 3], [5, 6, 9], [40, 52], [60]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("rows", "block"), [(5, 13), (1000, 2048)])
def test_what_is_said_of_a_next_token_equals_the_whole_distribution(dtype, bias, rows, block, monkeypatch):
    hf = tiny("llama", seed=2).to(dtype)
    if bias:
        hf.lm_head.bias = torch.nn.Parameter(torch.randn(97).to(dtype), requires_grad=False)
    # two tokens that are always as likely as each other
    hf.lm_head.weight[96] = hf.lm_head.weight[11]
    if bias:
        hf.lm_head.bias[96] = hf.lm_head.bias[11]
    decoder = Decoder.of(hf)
    (
        monkeypatch.setattr(metrics, "logit_bytes", lambda device: 97 * 2 * rows),
        monkeypatch.setattr(metrics, "_BLOCK", block),
    )
    resid = torch.randn(23, 32, generator=torch.Generator().manual_seed(1)).to(dtype)
    logits = decoder.unembed(resid).float()
    target = torch.randint(0, 97, (23,), generator=torch.Generator().manual_seed(3))
    target[:4] = logits[:4].argmax(-1)
    resid[4] = 3 * decoder.head.weight[11] / decoder.norm.module.weight
    target[4], logits = 96, decoder.unembed(resid).float()
    logprob, rank, chosen, top = metrics.next_token(decoder, resid, target)
    wanted = logits.gather(1, target[:, None])
    assert torch.allclose(logprob, logits.log_softmax(-1).gather(1, target[:, None])[:, 0], atol=1e-5)
    assert torch.equal(rank, (logits > wanted).sum(-1).float()) and torch.equal(chosen, rank == 0) and chosen[:5].all()
    assert torch.equal(logits.gather(1, top[:, None])[:, 0], logits.amax(-1)), "the likeliest, or one of two"
    assert all(len(part) == 0 for part in metrics.next_token(decoder, resid[:0], target[:0]))
    bad = resid.clone()
    bad[1] = float("nan")
    assert metrics.next_token(decoder, bad, target)[0].isnan().tolist() == [i == 1 for i in range(23)]
