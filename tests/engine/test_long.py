"""Rows that continue many tokens, which are read once for all of a prompt, against plain hooks and written out."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.walk import common, forward, kernels, siblings
from lens.engine.walk import rows as walking
from tests import naive
from tests.kinds import MAKERS
from tests.models import speaking, word_tokenizer

WORDS = [3, 9, 27, 81, 50, 53, 62, 89, 73, 25, 75, 31, 93, 85, 61, 86, 64, 95, 91, 79, 43, 32, 96, 94, 88, 70, 16, 48]
CLEAN = " ".join(f"w{i}" for i in WORDS)
PAIR = lens.Pair(CLEAN, corrupted=CLEAN.replace("w9 ", "w10 "), answer=" w7", foil=" w8")
SHORTER = lens.Pair(CLEAN.removeprefix("w3 "), corrupted=PAIR.corrupted.removeprefix("w3 "), answer=" w7", foil=" w8")
LAST = slice(-5, None)


@pytest.fixture
def calls(monkeypatch):
    """Rows have much in common from eight tokens on; what they were when it was read for all: rows, their slots, the
    keys of each, and the tokens that each prompt's have in common.
    """
    seen, plain = [], common.Common.attend
    monkeypatch.setattr(siblings, "LONG", 8)
    monkeypatch.setattr(siblings, "PART", 3.0)

    def attend(self, *given):
        seen.append((self.rows, self.slots, self.n_keys, [span.stop - span.start for _, span in self.before]))
        return plain(self, *given)

    monkeypatch.setattr(common.Common, "attend", attend)
    return seen


@pytest.mark.parametrize("chunk", [2048, 7])
@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "qwen3"])
def test_long_beginnings_are_read_as_plain_hooks_have_it(calls, kind, chunk, monkeypatch):
    monkeypatch.setattr(walking, "CHUNK_TOKENS", chunk)
    model = speaking(kind)
    ds = lens.patch(model, [PAIR, PAIR], "z", ("layer", "head", "position"), positions=LAST, layers=[0, 1])
    # prompts, heads and positions at the last five of 28 tokens; in the last layer also those of the layer before it
    whole = [(2 * 4 * 5, 5, 5, [23, 23]), (2 * 2 * 4 * 5, 1, 5, [23, 23])]
    assert sorted(calls) == whole if chunk == 2048 else max(rows for rows, *_ in calls) == 2
    reference = speaking(kind)
    reference.set_attn_implementation("naive")
    clean, corrupted = (torch.tensor([int(w[1:]) for w in t.split()]) for t in (PAIR.clean, PAIR.corrupted))
    for layer in (0, 1):
        act = naive.activation(reference, clean, "z", layer)
        for head, (i, p) in ((0, (0, 23)), (3, (2, 25)), (2, (4, 27))):

            def change(x, p=p, head=head, act=act):
                x = x.clone()
                x[0, p, head] = act[p, head]
                return x

            logits = naive.forward(reference, corrupted, [("z", layer, change)])[-1]
            assert np.abs(ds.value.values[:, layer, head, i] - (logits[7] - logits[8]).item()).max() <= 1e-4


def test_prompts_of_unlike_length_each_have_their_own_in_common(calls):
    call = dict(site="z", over=("layer", "head", "position"), positions=LAST, layers=[0, 1])
    model = speaking("llama")
    together = lens.patch(model, [PAIR, SHORTER], **call)
    assert any(sorted(alike) == [22, 23] for *_, alike in calls)
    alone = [lens.patch(model, p, **call).value.values for p in (PAIR, SHORTER)]
    np.testing.assert_allclose(together.value.values, alone, atol=1e-5)


@pytest.mark.parametrize("over", [("layer", "position"), ("layer", "head")])
def test_a_sweep_is_the_same_with_and_without(calls, over, monkeypatch):
    """Over all positions, where some rows continue few tokens, and over heads at all positions, whose rows continue the
    one token before the first that differs.
    """
    model, site = speaking("llama"), "resid_pre" if "position" in over else "z"
    monkeypatch.setattr(walking, "CHUNK_TOKENS", 40)
    got = lens.patch(model, [PAIR, SHORTER], site, over).value.values
    assert bool(calls) == ("position" in over)
    monkeypatch.setattr(siblings, "LONG", 1000)
    calls.clear()
    want = lens.patch(model, [PAIR, SHORTER], site, over).value.values
    assert not calls
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize("kind", ["mistral_window", "gemma2"])
def test_windows_and_caps_are_written_out(calls, kind):
    torch.manual_seed(0)
    model = MAKERS[kind]().eval()
    model.tokenizer = word_tokenizer()
    lens.patch(model, PAIR, "z", ("layer", "head", "position"), positions=LAST)
    assert not calls


class Block:
    scaling, cap, sinks, window = 0.3, None, None, None

    @staticmethod
    def placed_v(v):
        return v


@pytest.mark.parametrize("queries", ["all", "last"])
@pytest.mark.parametrize("per", [1, 3])
@torch.no_grad()
def test_rows_read_what_a_row_by_itself_reads(queries, per):
    """Three prompts, one of them with rows of one length and one with a single row, in float64 by itself."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator) * 2

    begin, lengths = [5, 320, 620], [310, 290, 150]
    prompt = np.array([0, 0, 1, 0, 1, 2, 0])
    start = np.array([301, 200, 288, 309, 288, 140, 200])
    size = np.array([lengths[p] - s for p, s in zip(prompt, start)])
    kv, d = 2, 8
    base = draw(800, kv, d), draw(800, kv, d)
    n = size.sum()
    k, v = draw(n, kv, d), draw(n, kv, d)
    row = torch.as_tensor(np.repeat(np.arange(7), size))
    position = torch.as_tensor(np.concatenate([np.arange(s, s + m) for s, m in zip(start, size)]))
    query = None if queries == "all" else torch.as_tensor(np.cumsum(size) - 1)
    lay = forward.Layout(row, position, 7, 310, query=query)
    q = draw(n if query is None else 7, kv * per, d)
    got = common.Common(lay, prompt, start, size, begin).attend(Block, q, k, v, base)
    for i in range(len(q)):
        r, p = int(lay.q_row[i]), int(lay.q_position[i])
        mine = (row == r) & (position <= p)
        at = slice(begin[prompt[r]], begin[prompt[r]] + int(start[r]))
        keys, values = (torch.cat([b[at], own[mine]]).double() for b, own in zip(base, (k, v)))
        for head in range(kv * per):
            weight = (keys[:, head // per] @ q[i, head].double() * Block.scaling).softmax(0)
            torch.testing.assert_close(got[i, head].double(), weight @ values[:, head // per], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part, served", [(0.27, True), (0.2, False)])
def test_rows_of_more_than_a_part_of_what_they_have_in_common_are_not_taken_so(calls, part, served, monkeypatch):
    """The last five of 28 tokens: 5 / 23 is .22."""
    monkeypatch.setattr(siblings, "PART", part)
    lens.patch(speaking("llama"), [PAIR], "z", ("layer", "head", "position"), positions=LAST, layers=[0])
    assert bool(calls) == served


def test_where_torch_has_no_such_kernel_scores_are_written_out(calls, monkeypatch):
    monkeypatch.setattr(walking, "serves", lambda *of: False)
    lens.patch(speaking("llama"), PAIR, "z", ("layer", "head", "position"), positions=LAST)
    assert not calls
    cpu = torch.device("cpu")
    with torch.no_grad():
        assert kernels.serves(Block, cpu, torch.float32) and not kernels.serves(Block, cpu, torch.bfloat16)
        assert not kernels.serves(Block, torch.device("cuda"), torch.float32)
    assert not kernels.serves(Block, cpu, torch.float32), "it has no gradients of the sums"
