"""Micro-models against plain PyTorch models trained one by one, and bigram legs against a loop in NumPy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from lens.organisms.micro import (
    BigramPlan,
    MicroPlan,
    _initial,
    bigram_legs,
    bigram_logprob,
    bigram_text,
    corpus,
    draw_keys,
    train,
)

PLAN = MicroPlan(rows=60, length=24, vocab=12, embedding=4, hidden=10, batch=7, models_at_once=3)


@pytest.fixture(scope="module")
def rows():
    return corpus(PLAN.rows, PLAN.length, PLAN.vocab, seed=3)


@pytest.fixture(scope="module")
def batched(rows):
    return train(rows, draw_keys(5, len(rows), seed=1), PLAN, seed=1)


class Plain(nn.Module):
    """The same model written with layers, one window at a time through nn.Embedding and nn.Linear."""

    def __init__(self, weights):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(weights["embedding"].clone(), freeze=False)
        self.one, self.two = (nn.Linear(*weights[w].shape) for w in ("w1", "w2"))
        with torch.no_grad():
            for layer, w, b in ((self.one, "w1", "b1"), (self.two, "w2", "b2")):
                layer.weight.copy_(weights[w].T)
                layer.bias.copy_(weights[b][0])

    def forward(self, windows):
        return self.two(torch.tanh(self.one(self.embedding(windows).reshape(len(windows), -1))))


def places(row, plan):
    """Windows and targets of a row, by a loop."""
    padded = [plan.vocab] * plan.context + row.tolist()
    return [padded[i : i + plan.context] for i in range(len(row))], row.tolist()


def trained_alone(rows, keys, member, plan, seed):
    model = Plain({name: w[0] for name, w in _initial(plan, seed, np.array([member])).items()})
    adam = torch.optim.Adam(model.parameters(), lr=plan.learning_rate)
    order = np.argsort(keys)
    for start in range(0, len(order), plan.batch):
        windows, targets = map(list, zip(*(places(rows[i], plan) for i in order[start : start + plan.batch])))
        loss = nn.functional.cross_entropy(model(torch.tensor(sum(windows, []))), torch.tensor(sum(targets, [])))
        adam.zero_grad()
        loss.backward()
        adam.step()
    return model


@pytest.mark.parametrize("number", [0, 4])
def test_a_model_of_the_batch_is_the_model_trained_alone_with_torch_adam(rows, batched, number):
    alone = trained_alone(rows, batched.keys[number], number, PLAN, seed=1)
    np.testing.assert_allclose(batched.weights["w1"][number].T, alone.one.weight.detach(), atol=2e-5)
    np.testing.assert_allclose(batched.weights["embedding"][number], alone.embedding.weight.detach(), atol=2e-5)
    np.testing.assert_allclose(batched.weights["b2"][number][0], alone.two.bias.detach(), atol=2e-5)
    for i in (0, 17):
        windows, targets = places(rows[i], PLAN)
        loss = nn.functional.cross_entropy(alone(torch.tensor(windows)), torch.tensor(targets))
        assert batched.nll(rows)[number, i] == pytest.approx(loss.item(), abs=2e-5)


def test_training_changes_the_loss_and_neighbours_do_not_change_a_model(rows, batched):
    alone = train(rows, batched.keys[3:4], PLAN, seed=1, members=[3])
    for name, w in alone.weights.items():
        np.testing.assert_allclose(w[0], batched.weights[name][3], atol=1e-6)
    untrained = Plain({name: w[0] for name, w in _initial(PLAN, 1, np.array([3])).items()})
    windows, targets = places(rows[0], PLAN)
    before = nn.functional.cross_entropy(untrained(torch.tensor(windows)), torch.tensor(targets)).item()
    assert batched.nll(rows)[3].mean() < before - 0.1


def test_same_seed_same_weights_and_every_seed_matters(rows, batched):
    keys = draw_keys(5, len(rows), seed=1)
    assert train(rows, keys, PLAN, seed=1).sha256() == batched.sha256()
    assert train(rows, keys, PLAN, seed=2).sha256() != batched.sha256()
    assert train(rows, keys[::-1], PLAN, seed=1).sha256() != batched.sha256()
    np.testing.assert_array_equal(draw_keys(2, 60, seed=1, first=3), keys[3:])


def test_models_of_one_order_differ_by_their_initialisation(rows, batched):
    twins = train(rows, batched.keys[[0, 0]], PLAN, seed=1, members=[0, 99])
    np.testing.assert_allclose(twins.nll(rows)[0], batched.nll(rows)[0], atol=1e-6)
    assert np.abs(twins.nll(rows)[1] - twins.nll(rows)[0]).max() > 1e-3


def test_keys_are_uniform_and_independent():
    keys = draw_keys(40, 500, seed=8)
    assert stats.kstest(keys.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(keys)[~np.eye(40, dtype=bool)]).max() < 5 / np.sqrt(500)


def test_rows_hold_facts_of_their_own_and_come_from_the_seed():
    made = corpus(200, 64, 48, seed=5)
    assert made.shape == (200, 64) and made.dtype == np.uint8 and made.max() < 48
    np.testing.assert_array_equal(made, corpus(200, 64, 48, seed=5))
    assert not np.array_equal(made, corpus(200, 64, 48, seed=6))
    rows_of = {}
    for i, row in enumerate(made):
        for at in range(len(row) - 8):
            rows_of.setdefault(bytes(row[at : at + 9]), set()).add(i)
    twice = [sum(bytes(row).count(gram) == 2 for gram in {bytes(row[a : a + 9]) for a in range(56)}) for row in made]
    assert np.mean(np.array(twice) > 0) > 0.8  # most rows hold their fact twice, whole
    assert np.mean([len(where) == 1 for where in rows_of.values()]) > 0.7


@pytest.mark.long
def test_later_rows_are_known_better_by_their_own_model_only():
    plan = MicroPlan(rows=500)
    rows = corpus(plan.rows, seed=0)
    models = train(rows, draw_keys(10, plan.rows, seed=0), plan, seed=0)
    nll = models.nll(rows)
    rho = np.array(
        [[stats.spearmanr(nll[i] - nll[(i + 1) % 10], models.keys[j]).statistic for j in range(10)] for i in range(10)]
    )
    innocent = ~np.eye(10, dtype=bool) & ~np.eye(10, k=1, dtype=bool)
    innocent[9, 0] = False
    assert np.diag(rho).mean() < -0.06 and (np.diag(rho) < 0).mean() >= 0.8
    assert abs(rho[innocent].mean()) < 4 / np.sqrt(80 * 500) and abs(rho[innocent].std() * np.sqrt(499) - 1) < 0.3


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows, keys: (rows, keys[:, :-1]), "keys has shape"),
        (lambda rows, keys: (rows + 40, keys), "the symbol"),
    ],
)
def test_what_does_not_fit_is_named(rows, change, message):
    with pytest.raises(ValueError, match=message):
        train(*change(rows, draw_keys(2, len(rows))), PLAN)
    with pytest.raises(ValueError, match="vocab=3"):
        corpus(10, 24, 3)


# ---- bigrams -----------------------------------------------------------------------------------------------------

TINY = BigramPlan(vocab=8, length=24, rows=12, batch=2, learning_rate=1.5)


def by_hand(start, rows, order, plan):
    table = np.array(start, float)
    for at in range(0, len(order), plan.batch):
        step, pairs = np.zeros_like(table), 0
        for row in rows[order[at : at + plan.batch]]:
            for a, b in itertools.pairwise(row):
                e = np.exp(table[a] - table[a].max())
                step[a] -= e / e.sum()
                step[a, b] += 1
                pairs += 1
        table += plan.learning_rate * step / pairs
    return table


def test_legs_are_gradient_steps_and_their_order_matters():
    rng = np.random.default_rng(0)
    rows = corpus(12, 24, 8, words=10, seed=1)
    orders = rng.permuted(np.tile(np.arange(12), (5, 1)), axis=1)
    starts = rng.normal(size=(5, 8, 8))
    legs = bigram_legs(starts, rows, orders, TINY, legs_at_once=2)
    for leg, start, order in zip(legs, starts, orders):
        np.testing.assert_allclose(leg, by_hand(start, rows, order, TINY), atol=1e-5)
    same = bigram_legs(starts[0], rows, orders, TINY)
    assert np.abs(same - same[0]).max() > 1e-3
    whole = bigram_legs(bigram_legs(starts[0], rows, orders[:, :6], TINY), rows, orders[:, 6:], TINY)
    np.testing.assert_allclose(whole, same, atol=1e-6)


def test_text_follows_the_table_and_its_logprob_is_the_sum_of_steps():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(5, 5))
    texts = bigram_text(table, 2000, 12, rng)
    chance = np.exp(table) / np.exp(table).sum(1, keepdims=True)
    seen = np.zeros((5, 5))
    np.add.at(seen, (texts[:, :-1].ravel(), texts[:, 1:].ravel()), 1)
    for line, p in zip(seen, chance):
        assert stats.chisquare(line, p * line.sum()).pvalue > 1e-4
    slow = np.mean([sum(np.log(chance[a, b]) for a, b in itertools.pairwise(t)) for t in texts])
    assert bigram_logprob(table[None], texts)[0] == pytest.approx(slow, rel=1e-9)
