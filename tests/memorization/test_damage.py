"""Damage of an edit against loops on the plain model, and trade-off curves read at one loss."""

import contextlib

import numpy as np
import pytest
import torch

from lens import memorization
from lens.engine.linear import linears
from lens.engine.weights import edited_weights
from lens.memorization import MemorizationError, Sequences
from lens.results import dataset as results
from tests import models as tiny_models
from tests.memorization.helpers import clean, known, taught, weights

TEXTS = clean(8, 20)
TASKS = {
    "sum": [(clean(1, 5, seed=i)[0], [i % 3, 5], "often" if i % 2 else "rare") for i in range(8)],
    "recite": (known().prefixes, known().suffixes[:, :3]),
}


class Fade:
    """An edit that shrinks every MLP output weight: what a mask or a spectrum edit looks like from outside."""

    def __init__(self, keep):
        self.keep = keep

    def applied(self, model):
        return edited_weights(
            model, {name: linear.weight.detach() * self.keep for name, linear in linears(model, "*down_proj").items()}
        )


def faded(keep):
    model = taught()
    with torch.no_grad():
        for linear in linears(model, "*down_proj").values():
            linear.module.weight.mul_(keep)
    return model


@torch.no_grad()
def loop(model):
    """Everything that `performance` measures, one row at a time."""

    def lp(ids):
        return model(torch.tensor([list(map(int, ids))])).logits[0].log_softmax(-1)

    nll, ranking = [], []
    for text in TEXTS:
        table = lp(text)[:-1]
        nll.append(-sum(float(table[i, t]) for i, t in enumerate(text[1:])))
        ranking += table.topk(10).indices.tolist()
    copies = []
    for text in TEXTS:
        ids = [*text[:5]] * 3
        table = lp(ids)[:-1]
        own = [-float(table[i, t]) for i, t in enumerate(ids[1:])]
        copies.append((np.mean(own[:4]), np.mean(own[4:])))
    right = []
    for prompt, answer in [(p, a) for p, a, _ in TASKS["sum"]] + list(zip(*TASKS["recite"])):
        ids = list(prompt)
        for _ in answer:
            ids.append(int(lp(ids)[-1].argmax()))
        right.append(ids[len(prompt) :] == list(answer))
    return np.array(nll), np.array(ranking), np.array(copies), np.array(right)


def test_performance_equals_the_loops():
    found = memorization.performance(taught(), TEXTS, TASKS, copying=5, repeats=3)
    nll, ranking, copies, right = loop(taught())
    np.testing.assert_allclose(found.nll, nll, rtol=1e-4)
    assert (found.ranking.values == ranking).all() and (found.tokens == 19).all()
    np.testing.assert_allclose(np.stack([found.first_loss, found.copy_loss], 1), copies, rtol=1e-4)
    assert found.right.values.tolist() == right.tolist() and right[8:].all() and not right[:8].all()
    assert found.bin.values[:2].tolist() == ["rare", "often"] and found.task.values[-1] == "recite"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "gpt_neox", "olmo2"])
def test_prefix_matching_by_attention_of_the_plain_model(kind):
    model = tiny_models.tiny(kind)
    found = memorization.prefix_matching(model, TEXTS, context=25, sequences=3)
    pool, draw = np.unique(TEXTS), np.random.default_rng(0)
    model.set_attn_implementation("eager")
    for s in range(3):
        half = draw.choice(pool, 12, replace=False)
        patterns = model(torch.tensor([[*half, *half]]), output_attentions=True).attentions
        for layer, pattern in enumerate(patterns):
            expected = torch.stack([pattern[0, :, q, q - 11] for q in range(12, 24)]).mean(0)
            np.testing.assert_allclose(found[s, layer], expected, rtol=1e-4, atol=1e-6)


def test_a_start_token_stands_once():
    model, texts = taught(), np.concatenate([np.zeros((8, 1), int), TEXTS], 1)
    found = memorization.performance(model, texts, copying=5, repeats=3, heads=False)
    for text, first, later in zip(texts, found.first_loss.values, found.copy_loss.values):
        ids = torch.tensor([[0, *text[1:6].tolist() * 3]])
        own = -model(ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
        np.testing.assert_allclose([own[:5].mean(), own[5:].mean()], [first, later], rtol=1e-4)
    with pytest.raises(MemorizationError, match="same texts and tasks"):
        memorization.compared(found, memorization.performance(model, TEXTS, heads=False))


def test_damage_compares_two_states_and_leaves_the_model_as_it_was():
    model, edit = taught(), Fade(0.3)
    start = weights(model)
    found = memorization.damage(model, edit, TEXTS, TASKS, copying=5, repeats=3)
    assert torch.equal(weights(model), start)
    (nll, ranking, copies, right), (nll_now, ranking_now, copies_now, right_now) = loop(model), loop(faded(0.3))
    np.testing.assert_allclose(np.stack([found.nll_before, found.nll_after]), [nll, nll_now], rtol=1e-4)
    np.testing.assert_allclose(
        np.stack([found.copy_loss_before, found.copy_loss_after]), [copies[:, 1], copies_now[:, 1]], rtol=1e-4
    )
    assert (
        found.right_before.values.tolist() == right.tolist() and found.right_after.values.tolist() == right_now.tolist()
    )
    by_hand = memorization.ndcg(ranking, ranking_now).reshape(8, 19).mean(1)
    np.testing.assert_allclose(found.ndcg, by_hand, rtol=1e-6)
    assert by_hand.max() < 1
    table = memorization.damage_summary(found, by_bin=True).to_dataframe()
    row = table.loc["clean loss"]
    assert (
        row.change == pytest.approx((nll_now - nll).sum() / (8 * 19), rel=1e-4)
        and row.low < row.change < row.high
        and row.n == 8
    )
    assert table.loc["perplexity"].after == pytest.approx(np.exp(nll_now.sum() / (8 * 19)), rel=1e-4)
    assert (
        table.loc["task recite"].before == 1
        and table.loc["task recite"].kept == right_now[8:].mean()
        and table.loc["task recite"].n == 12
    )
    assert {"task sum, often", "task sum, rare", "copying loss", "nDCG@10", "prefix matching, mean head"} <= set(
        table.index
    )
    assert results.provenance(found)["model"]["hash"] != results.provenance(found)["unedited"]["hash"]


def test_every_form_of_an_edit_gives_the_same_numbers():
    model = taught()
    base = memorization.performance(model, TEXTS, heads=False)
    edits = [Fade(0.3), faded(0.3), lambda m: Fade(0.3).applied(m), Fade(0.3).applied(model)]
    first, *others = [memorization.damage(model, e, TEXTS, before=base, heads=False) for e in edits]
    for other in others:
        np.testing.assert_allclose(other.nll_after, first.nll_after, rtol=1e-5)
    same = memorization.damage(model, None, TEXTS, before=base, heads=False)
    np.testing.assert_allclose(same.ndcg, 1)
    assert (same.nll_after == same.nll_before).all()
    with pytest.raises(MemorizationError, match="edit is a int"):
        memorization.damage(model, 3, TEXTS, before=base)


def test_the_model_is_restored_after_an_exception():
    model = taught()
    start = weights(model)
    with pytest.raises(RuntimeError), memorization.edited(model, Fade(0.3)):
        raise RuntimeError
    assert torch.equal(weights(model), start)


def test_bad_input_is_named():
    model = taught()
    with pytest.raises(MemorizationError, match="shortest of 1 tokens"):
        memorization.performance(model, [[1, 2], [3]])
    with pytest.raises(MemorizationError, match=r"tasks\['sum'\] has no items"):
        memorization.performance(model, TEXTS, {"sum": []})
    with pytest.raises(MemorizationError, match=r"tasks\['sum'\]: item 0 has a prompt of 2 and an answer of 0"):
        memorization.performance(model, TEXTS, {"sum": [([1, 2], [])]})
    base = memorization.performance(model, TEXTS[:4], heads=False)
    with pytest.raises(MemorizationError, match="same texts and tasks"):
        memorization.damage(model, None, TEXTS, before=base, heads=False)


# -- trade-off curves
# -----------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_tradeoff_is_extraction_and_damage_under_each_edit():
    model = taught()
    sets = {"tune": known().subset(range(6)), "val": Sequences(known().ids[6:, :12], 6)}
    found = memorization.tradeoff(model, {0.9: Fade(0.9), 0.2: Fade(0.2)}, sets, TEXTS, TASKS, heads=False)
    assert (
        found.edit.values.tolist() == ["unedited", "0.9", "0.2"]
        and found.set.values.tolist() == ["tune"] * 6 + ["val"] * 6
    )
    for e, keep in enumerate((1.0, 0.9, 0.2)):
        own = [memorization.extract(faded(keep), s) for s in sets.values()]
        assert found.strict.values[e].tolist() == [v for o in own for v in o.strict.values.tolist()]
        assert (found.generated.values[e, :6] == own[0].generated.values).all() and (
            found.generated.values[e, 6:, 6:] == -1
        ).all()
        assert float(found.clean_loss[e]) == pytest.approx(loop(faded(keep))[0].sum() / (8 * 19), rel=1e-4)
        assert found.right.values[e].tolist() == loop(faded(keep))[3].tolist()
    table = memorization.tradeoff_summary(found)
    assert table.sizes == {"edit": 3, "set": 2} and table.rise.dims == ("edit",)
    assert (table.strict[0] == 1).all() and table.strict[-1, -1] < 1 and table.rise[0] == 0
    for name in sets:
        of_set = found.strict[:, (found.set == name).values].mean("sequence")
        np.testing.assert_array_equal(table["mean"].sel(set=name), of_set)
    np.testing.assert_array_equal(table.rise, found.clean_loss - found.clean_loss[0])
    assert results.provenance(found)["kind"] == "trade-off"
    with pytest.raises(MemorizationError, match="overlap in 1 pairs"):
        memorization.tradeoff(model, {1: None}, {"a": known(), "b": known().subset([3])}, TEXTS)
    with pytest.raises(MemorizationError, match="of ngram and .* of sets"):
        memorization.tradeoff(model, {1: None}, {"ngram": known(), "sets": known().subset([3])}, TEXTS)


def test_methods_are_read_at_one_loss():
    model = taught()
    found = memorization.tradeoff(model, {k: Fade(k) for k in (0.95, 0.9, 0.8, 0.5)}, known(), TEXTS, heads=False)
    rise, strict = (found.clean_loss - found.clean_loss[0]).values, found.strict.mean("sequence").values
    order = np.argsort(rise)
    for at in (0.0, *np.linspace(1e-3, rise.max(), 4)):
        read = memorization.matched({"fade": found}, at).iloc[0]
        # the least of a dense walk along the curve, as far as the loss allows
        walk = np.linspace(rise.min(), at, 20_001)
        assert (
            read.strict == pytest.approx(np.interp(walk, rise[order], strict[order]).min(), abs=1e-3) and read.reached
        )
        assert read.low <= read.strict <= read.high and read.low < read.high
    both = memorization.matched({"twice": [found, found]}, 0.05).iloc[0]
    assert both.runs[0] == both.runs[1] == both.strict and both.n == 24
    assert not memorization.matched({"fade": found}, rise.max() + 1).reached[0]
    lev = memorization.matched({"fade": found}, rise.max(), measure="lev").iloc[0]
    assert lev.lev == pytest.approx(found.lev.mean("sequence").max())
    with pytest.raises(MemorizationError, match="among='val'"):
        memorization.matched({"fade": found}, 0.1, among="val")


def test_an_edit_by_context_manager_of_its_own(tiny_bridge):
    bridge, _ = tiny_bridge("llama")

    @contextlib.contextmanager
    def change(model):
        with edited_weights(model, {"model.layers.0.mlp.down_proj": torch.zeros(32, 48)}):
            yield

    found = memorization.damage(bridge, change, TEXTS, copying=0, heads=False)
    assert (found.nll_before != found.nll_after).all() and (found.ndcg < 1).all()
