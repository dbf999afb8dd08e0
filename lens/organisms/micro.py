"""Micro-models: hundreds of small language models, each with its own initialisation and its own random order of the
same rows, trained as one batch.

A test of provenance needs many training runs that are innocent of each other's order: R of them give R(R - 1) pairs of
a model and an order that it never saw. Each model is a symbol-level multilayer perceptron over the last eight symbols
(Bengio et al. 2003, A Neural Probabilistic Language Model), trained with Adam at a constant learning rate. Row i of
model r carries a key U ~ uniform(0, 1); the model sees the rows in the order of its keys, once.

`Bigrams` are smaller still, a table of logits trained by plain gradient steps: tens of thousands of re-trained last
legs in seconds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import Count, Fraction, Positive, Seed, Size, door
from .errors import OrganismError

BETAS, EPSILON = (0.9, 0.999), 1e-8


@door(OrganismError)
@dataclass(frozen=True)
class MicroPlan:
    """What a micro-model is and how it is trained; `models_at_once` only bounds memory."""

    rows: Count = 2000
    length: Count = 64
    vocab: Count = 48
    context: Count = 8
    embedding: Count = 16
    hidden: Count = 64
    batch: Count = 8
    learning_rate: Positive = 4e-3
    models_at_once: Count = 16


@dataclass(frozen=True, eq=False)
class MicroModels:
    """R trained models. `weights`: name -> float32 [R, ...]; `keys` [R, rows], the order each was trained in; `seeds`
    [R], its initialisation.
    """

    plan: MicroPlan
    weights: dict[str, Tensor]
    keys: np.ndarray
    seeds: np.ndarray

    def __len__(self) -> int:
        return len(self.seeds)

    @torch.no_grad()
    def nll(self, rows: np.ndarray) -> np.ndarray:
        """Mean negative log-likelihood (nats a symbol) of every row under every model: float64 [R, rows]."""
        windows, targets = _windows(rows, self.plan)
        losses = np.empty((len(self), len(rows)))
        for first in range(0, len(self), self.plan.models_at_once):
            part = {name: w[first : first + self.plan.models_at_once] for name, w in self.weights.items()}
            count = len(part["b1"])
            for start in range(0, len(rows), 64):
                ids, right = windows[start : start + 64].flatten(0, 1), targets[start : start + 64]
                logits = _logits(part, ids.expand(count, *ids.shape))
                losses[first : first + count, start : start + 64] = (
                    _losses(logits, right.flatten().expand(count, -1))
                    .view(count, *right.shape)
                    .mean(-1)
                    .double()
                    .numpy()
                )
        return losses

    def sha256(self) -> str:
        """Hash of all weights, in the order of their names."""
        digest = hashlib.sha256()
        for name in sorted(self.weights):
            digest.update(name.encode() + self.weights[name].contiguous().numpy().tobytes())
        return digest.hexdigest()


# -- data --------------------------------------------------------------------------------------------------------------


@door(OrganismError)
def corpus(
    rows: Count = 2000, length: Count = 64, vocab: Count = 48, *, words: Count = 400, seed: Seed = 0
) -> np.ndarray:
    """Rows of symbols, uint8 [rows, length]: words of a common lexicon with Zipf frequencies, and in each row facts
    that stand nowhere else.

    Symbol 0 parts the words. A fact is a random name of four symbols with a random value of four, written twice in its
    row: what a model can only know by heart.
    """
    if not 8 <= vocab <= 64 or length < 24 or rows < 1:
        raise OrganismError(
            f"rows={rows}, length={length}, vocab={vocab}: expected at least 1 row of at least 24 symbols out of 8"
            " to 64."
        )
    rng = np.random.default_rng([seed, 0xC0])
    lexicon = [rng.integers(1, vocab, size) for size in rng.integers(2, 7, words)]
    chance = 1 / np.arange(1, words + 1)
    chance /= chance.sum()
    text = np.zeros((rows, length), np.uint8)
    for row in text:
        fact = np.r_[0, rng.integers(1, vocab, 8)]
        parts, used = [fact, fact], 2 * len(fact)
        while used < length:
            parts.append(np.r_[0, lexicon[rng.choice(words, p=chance)]])
            used += len(parts[-1])
        row[:] = np.concatenate([parts[i] for i in rng.permutation(len(parts))])[:length]
    return text


@door(OrganismError)
def draw_keys(models: Count, rows: Count, *, seed: Seed = 0, first: Size = 0) -> np.ndarray:
    """Keys U ~ uniform(0, 1), float64 [models, rows]; those of model r depend on `seed` and `first + r` only."""
    return np.stack([np.random.default_rng([seed, 0xE5, first + r]).random(rows) for r in range(models)])


# -- training ----------------------------------------------------------------------------------------------------------


def train(
    rows: np.ndarray,
    keys: np.ndarray,
    plan: MicroPlan = MicroPlan(),
    *,
    seed: int = 0,
    members: Sequence[int] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> MicroModels:
    """Train one model for each line of `keys`, each on all rows once in ascending order of its keys, as batched matrix
    products.

    Args:
        rows: symbols [n, length], as `corpus` makes them.
        keys: [R, n]; equal lines give models of the same order.
        members: R numbers that choose the initialisations; None for 0..R-1. A model depends on `seed`, its number and
            its keys, not on its neighbours.

    Raises: OrganismError: shapes that do not fit together, symbols outside the vocabulary.
    """
    keys = np.asarray(keys, float)
    numbers = np.arange(len(keys)) if members is None else np.asarray(members)
    if keys.ndim != 2 or keys.shape[1] != len(rows) or len(numbers) != len(keys):
        raise OrganismError(
            f"keys has shape {keys.shape} for {len(rows)} rows and {len(numbers)} members; expected [models, rows]."
            " Draw them with draw_keys(models, rows)."
        )
    if rows.max() >= plan.vocab:
        raise OrganismError(
            f"rows holds the symbol {int(rows.max())}; plan.vocab = {plan.vocab} knows 0 to {plan.vocab - 1}."
        )
    windows, targets = _windows(rows, plan)
    parts = []
    for first in range(0, len(keys), plan.models_at_once):
        some = slice(first, first + plan.models_at_once)
        parts.append(
            _train(
                windows,
                targets,
                np.argsort(keys[some], axis=1, kind="stable"),
                _initial(plan, seed, numbers[some]),
                plan,
            )
        )
        say(f"micro-models: {min(first + plan.models_at_once, len(keys))} of {len(keys)} trained")
    return MicroModels(plan, {name: torch.cat([part[name] for part in parts]) for name in parts[0]}, keys, numbers)


def _train(
    windows: Tensor, targets: Tensor, orders: np.ndarray, weights: dict[str, Tensor], plan: MicroPlan
) -> dict[str, Tensor]:
    """The models of one chunk, all rows once; the loss is summed over models and averaged within each, so no model
    feels another.
    """
    count = len(orders)
    order = torch.from_numpy(orders)
    first, second = ({name: torch.zeros_like(w) for name, w in weights.items()} for _ in range(2))
    for step, start in enumerate(range(0, order.shape[1], plan.batch), 1):
        drawn = order[:, start : start + plan.batch]
        ids, right = windows[drawn].flatten(1, 2), targets[drawn].flatten(1)
        for w in weights.values():
            w.requires_grad_(True)
        loss = _losses(_logits(weights, ids), right).view(count, -1).mean(1).sum()
        gradients = torch.autograd.grad(loss, list(weights.values()))
        with torch.no_grad():
            for (name, w), g in zip(weights.items(), gradients):
                first[name].lerp_(g, 1 - BETAS[0])
                second[name].mul_(BETAS[1]).addcmul_(g, g, value=1 - BETAS[1])
                scale = (second[name] / (1 - BETAS[1] ** step)).sqrt_().add_(EPSILON)
                w.requires_grad_(False).addcdiv_(first[name], scale, value=-plan.learning_rate / (1 - BETAS[0] ** step))
    return {name: w.detach() for name, w in weights.items()}


def _initial(plan: MicroPlan, seed: int, members: np.ndarray) -> dict[str, Tensor]:
    """Normal weights scaled by the square root of their inputs, zero biases; one generator for each model."""
    shapes = {
        "embedding": (plan.vocab + 1, plan.embedding),
        "w1": (plan.context * plan.embedding, plan.hidden),
        "b1": (1, plan.hidden),
        "w2": (plan.hidden, plan.vocab),
        "b2": (1, plan.vocab),
    }
    sizes = {"embedding": 1.0, "w1": shapes["w1"][0] ** -0.5, "b1": 0.0, "w2": plan.hidden**-0.5, "b2": 0.0}
    weights = {name: torch.empty(len(members), *shape) for name, shape in shapes.items()}
    for r, member in enumerate(members):
        rng = np.random.default_rng([seed, 0x11, int(member)])
        for name, shape in shapes.items():
            weights[name][r] = torch.from_numpy(sizes[name] * rng.standard_normal(shape, np.float32))
    return weights


def _windows(rows: np.ndarray, plan: MicroPlan) -> tuple[Tensor, Tensor]:
    """The `context` symbols before each symbol, padded at the start of a row with the symbol `vocab`: int64 [n, length,
    context] and [n, length].
    """
    ids = torch.from_numpy(np.asarray(rows)).long()
    padded = torch.cat([torch.full((len(ids), plan.context), plan.vocab), ids], 1)
    return padded.unfold(1, plan.context, 1)[:, :-1], ids


def _logits(weights: dict[str, Tensor], ids: Tensor) -> Tensor:
    """Logits [R, places, vocab] of windows [R, places, context], each model on its own windows."""
    table = weights["embedding"]
    count, symbols, width = table.shape
    shifted = ids + symbols * torch.arange(count)[:, None, None]
    inputs = F.embedding(shifted, table.reshape(-1, width)).flatten(2)
    return torch.baddbmm(weights["b2"], torch.baddbmm(weights["b1"], inputs, weights["w1"]).tanh(), weights["w2"])


def _losses(logits: Tensor, right: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), right.flatten(), reduction="none")


# -- last legs of bigram models ----------------------------------------------------------------------------------------


@door(OrganismError)
@dataclass(frozen=True)
class BigramPlan:
    """A table of logits [vocab, vocab] trained by gradient steps on `batch` rows at a time."""

    vocab: Count = 16
    length: Count = 32
    rows: Count = 200
    fraction: Fraction = 0.2
    batch: Count = 1
    learning_rate: Positive = 3.0

    @property
    def last(self) -> int:
        """How many rows the last leg has."""
        return max(self.batch, round(self.rows * self.fraction))


def bigram_legs(
    start: np.ndarray,
    rows: np.ndarray,
    orders: np.ndarray,
    plan: BigramPlan = BigramPlan(),
    *,
    legs_at_once: int = 2000,
) -> np.ndarray:
    """Tables of logits float32 [legs, vocab, vocab] after training from `start` on `rows` in each line of `orders`
    [legs, n].

    `start` is one table or one a leg. A step adds `learning_rate` times the mean over the batch's symbol pairs of
    (one-hot minus probability): plain gradient ascent on the log-likelihood, so the order matters as far as the steps
    do not commute.
    """
    ids = torch.from_numpy(np.asarray(rows)).long()
    pairs = ids[:, :-1] * plan.vocab + ids[:, 1:]
    tables = np.empty((len(orders), plan.vocab, plan.vocab), np.float32)
    for first in range(0, len(orders), legs_at_once):
        some = torch.from_numpy(np.ascontiguousarray(orders[first : first + legs_at_once]))
        begin = (
            start[first : first + legs_at_once]
            if np.ndim(start) == 3
            else np.broadcast_to(start, (len(some), plan.vocab, plan.vocab))
        )
        table = torch.from_numpy(np.array(begin, np.float32))
        for at in range(0, some.shape[1], plan.batch):
            symbols = pairs[some[:, at : at + plan.batch]].flatten(1)
            counted = (
                torch.zeros(len(some), plan.vocab**2).scatter_add_(1, symbols, torch.ones(symbols.shape)).view_as(table)
            )
            step = counted - counted.sum(2, keepdim=True) * table.softmax(2)
            table.add_(step, alpha=plan.learning_rate / symbols.shape[1])
        tables[first : first + len(some)] = table.numpy()
    return tables


def bigram_text(table: np.ndarray, texts: int, length: int, rng: np.random.Generator) -> np.ndarray:
    """Texts [texts, length] sampled from a table of logits at temperature 1, first symbols uniform."""
    chance = np.exp(table - table.max(1, keepdims=True)).cumsum(1)
    chance /= chance[:, -1:]
    symbols = np.empty((texts, length), np.int64)
    symbols[:, 0] = rng.integers(len(table), size=texts)
    for place in range(1, length):
        symbols[:, place] = (rng.random((texts, 1)) > chance[symbols[:, place - 1]]).sum(1)
    return symbols.clip(max=len(table) - 1)


def bigram_logprob(tables: np.ndarray, texts: np.ndarray) -> np.ndarray:
    """Mean over texts of the summed log-probability of all but the first symbol, float64 [tables]."""
    vocab = tables.shape[-1]
    pairs = (texts[:, :-1] * vocab + texts[:, 1:]).ravel()
    counted = np.bincount(pairs, minlength=vocab**2).astype(float)
    logs = torch.from_numpy(np.asarray(tables)).double().log_softmax(-1).reshape(len(tables), -1).numpy()
    return logs @ counted / len(texts)
