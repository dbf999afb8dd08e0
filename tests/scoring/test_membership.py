"""Membership scores against loops written from the papers' formulas, and as what they are for: separating rows that a
model was trained on.
"""

import zlib
from dataclasses import replace

import numpy as np
import pytest
import torch

from lens.scoring import membership
from lens.scoring.causal import ScoringError
from lens.scoring.rows import score
from lens.scoring.scores import Scores
from tests import models as tiny_models
from tests.scoring.test_rows import make_rows
from tests.variants import few


@pytest.fixture(scope="module")
def scored():
    return score(tiny_models.tiny("llama"), make_rows(30), start=None, extra=("mean", "variance"))


@torch.no_grad()
def by_hand(row, k):
    """(loss, min-k, min-k++) of one row from its full table of log-probabilities."""
    logprob = tiny_models.tiny("llama")(torch.tensor([row.tolist()])).logits[0, :-1].double().log_softmax(-1)
    own = logprob[torch.arange(len(row) - 1), torch.tensor(row[1:])]
    mean = (logprob.exp() * logprob).sum(-1)
    deviation = (logprob.exp() * (logprob - mean[:, None]).square()).sum(-1).sqrt()

    def lowest(x):
        return x.sort().values[: max(1, int(k * len(x) + 1e-9))].mean().item()

    return own.mean().item(), lowest(own), lowest((own - mean) / deviation)


@pytest.mark.parametrize("k", [0.05, 0.2, 0.5, 1.0])
def test_scores_equal_the_formulas(scored, k):
    expected = np.array([by_hand(row, k) for row in make_rows(30)])
    np.testing.assert_allclose(membership.loss(scored), expected[:, 0], atol=1e-4)
    np.testing.assert_allclose(membership.min_k(scored, k), expected[:, 1], atol=1e-4)
    np.testing.assert_allclose(membership.min_k_plus(scored, k), expected[:, 2], atol=2e-3)


def test_zlib_and_reference_ratios(scored):
    texts = ["word " * (1 + i) + str(i) for i in range(30)]
    expected = [-nll / len(zlib.compress(t.encode())) for nll, t in zip(scored.nll(reduce="sum"), texts)]
    np.testing.assert_allclose(membership.zlib_ratio(scored, texts), expected)
    other = score(tiny_models.tiny("llama", seed=1), make_rows(30), start=None)
    np.testing.assert_allclose(
        membership.reference_ratio(scored, other), [by_hand(r, 1)[0] for r in make_rows(30)] + other.nll(), atol=1e-4
    )


def test_rows_without_a_usable_token_have_no_score():
    scores = Scores(
        np.arange(3),
        np.array([0, 0, 2, 4]),
        np.array([-1, np.nan, -3, -1], np.float32),
        np.full(4, -2, np.float32),
        np.full(4, 4, np.float32),
    )
    for value in (
        membership.loss(scores),
        membership.min_k(scores),
        membership.min_k_plus(scores),
        membership.zlib_ratio(scores, ["a", "b", "c"]),
    ):
        assert np.isnan(value).tolist() == [True, True, False]
    assert membership.min_k(scores, 0.2)[2] == -3 and membership.min_k_plus(scores, 0.2)[2] == -0.5


def test_a_place_where_the_model_is_certain_counts_as_neither():
    scores = Scores(
        np.arange(1),
        np.array([0, 2]),
        np.array([0, -3], np.float32),
        np.array([0, -2], np.float32),
        np.array([0, 4], np.float32),
    )
    assert membership.min_k_plus(scores, 1.0)[0] == -0.25


def test_members_score_higher():
    """A model trained on 20 rows until it knows them, and 20 rows of the same kind that it never saw."""
    rng = np.random.default_rng(0)
    members, others = rng.integers(0, 97, (2, 20, 16))
    model = tiny_models.tiny("llama").requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    ids = torch.tensor(members)
    for _ in range(30):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    rows = np.concatenate([members, others])
    scores = score(model.requires_grad_(False), rows, start=None, extra=("mean", "variance"))
    reference = score(tiny_models.tiny("llama"), rows, start=None)
    texts = [" ".join(map(str, r)) for r in rows]
    for value in (
        membership.loss(scores),
        membership.min_k(scores),
        membership.min_k_plus(scores),
        membership.zlib_ratio(scores, texts),
        membership.reference_ratio(scores, reference),
    ):
        assert (value[:20, None] > value[None, 20:]).mean() > 0.9


def test_sources_that_a_cheap_feature_tells_apart_are_named():
    """News with dates against stories without: every score separates them, in a model that saw neither."""
    rng = np.random.default_rng(3)
    rows = rng.integers(0, 97, (60, 12))
    label = np.arange(60) < 30
    scores = score(tiny_models.tiny("llama"), rows, start=None)
    words = ["in 2019 it was 17", "once upon a time"]
    texts = [" ".join([words[0 if member else 1], *("word" for _ in range(rng.integers(3, 9)))]) for member in label]
    table = membership.evaluate(scores, label, texts=texts, resamples=99)
    assert (table.p_kind == "approximate").all() and table.holm.isna().all()
    assert table.worth.str.contains("members are told from others by share of digits").all()
    fair = membership.evaluate(scores, label, resamples=99)
    assert (
        (fair.p_kind == "monte carlo").all()
        and fair.worth.str.startswith("guaranteed if a coin decided who is a member").all()
        and fair.holm.notna().all()
    )
    longer = [row[: 6 + 6 * member] for row, member in zip(rows, label)]
    told = membership.evaluate(score(tiny_models.tiny("llama"), longer, start=None), label, resamples=99)
    assert told.worth.str.contains("number of tokens").all()
    cheap = membership.features(scores, texts=texts)
    assert sum(bool(membership.told_apart(cheap, rng.permutation(label))) for _ in range(300)) <= 4


def test_bad_arguments_are_named(scored):
    with pytest.raises(ScoringError, match="k=0"):
        membership.min_k(scored, 0)
    with pytest.raises(ScoringError, match="extra="):
        membership.min_k_plus(score(tiny_models.tiny("llama"), [[1, 2]]))
    with pytest.raises(ScoringError, match="texts has 1 entries"):
        membership.zlib_ratio(scored, ["a"])
    with pytest.raises(ScoringError, match="take"):
        membership.reference_ratio(scored, scored.take(scored.row_id[::-1]))


@pytest.mark.parametrize("draws", few([40, 100], [40]))
def test_the_table_tells_members_from_others_and_keeps_its_level_where_there_are_none(draws):
    """The rows that a model read last, and rows that it never read; then labels that were drawn anew, which no score
    can know.
    """
    from scipy import stats

    import lens
    from lens.organisms import palimpsest

    recipe = palimpsest.recipe_of("palimpsest")
    members, keys = palimpsest.rows_and_keys("palimpsest")
    ids, lengths = palimpsest.tokens_of(replace(recipe, skip=recipe.rows, rows=480))
    rows = [*(members[i] for i in np.argsort(keys)[-480:]), *(row[1:length] for row, length in zip(ids, lengths))]
    label = np.arange(len(rows)) < 480
    model = lens.load("organism:palimpsest")
    scored, reference = (
        score(m, rows, extra=("mean", "variance"), progress=False)
        for m in (model, lens.load("organism:palimpsest-reference"))
    )
    texts = [bytes(row.tolist()) for row in rows]
    table = membership.evaluate(scored, label, texts=texts, reference=reference, resamples=999).set_index("score")
    assert list(table.index) == ["loss", "min-20%", "min-20%++", "zlib ratio", "reference ratio"]
    assert table.auc["loss"] == pytest.approx(
        stats.mannwhitneyu(*(membership.loss(scored)[label == side] for side in (True, False))).statistic / 480**2,
        abs=1e-12,
    )
    assert (
        (table.low < table.auc).all()
        and (table.auc < table.high).all()
        and (table.n == 960).all()
        and (table.holm >= table.p).all()
    )
    assert table.p["loss"] <= 0.01
    drawn = np.random.default_rng(0)
    rejected = [
        membership.evaluate(scored, drawn.permutation(label), resamples=99).p.le(0.05).to_numpy() for _ in range(draws)
    ]
    assert np.mean(rejected) <= 0.12
