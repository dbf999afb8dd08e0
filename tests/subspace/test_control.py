"""The specificity control: planted memory gives a gap, none gives none; permuted labels against enumeration and against
the house's exact test.
"""

from itertools import combinations

import numpy as np
import pytest
import torch

from lens.results.dataset import provenance
from lens.stats import permutation
from lens.subspace import SubspaceError, label_permutation, specificity
from tests.models import tiny


def table(seed, n=8, planted=0.0, first=4):
    x = np.random.default_rng(seed).random((n, n))
    x = (x + x.T) / 2
    x[:first, :first] += planted
    np.fill_diagonal(x, np.nan)
    return np.nan_to_num(x)


@pytest.mark.parametrize("against", ["other", "mixed"])
@pytest.mark.parametrize("planted", [0.0, 0.3])
def test_permuted_labels_against_exhaustive_enumeration(against, planted):
    x = table(1, 8, planted)

    def value(group):
        rest = [i for i in range(8) if i not in group]
        within = np.mean([x[i, j] for i, j in combinations(group, 2)])
        return within - np.mean(
            [x[i, j] for i, j in combinations(rest, 2)]
            if against == "other"
            else [x[i, j] for i in group for j in rest]
        )

    every = [value(g) for g in combinations(range(8), 4)]
    made = label_permutation(x, np.arange(8) < 4, against=against)
    assert made.kind == "exact" and made.statistic == pytest.approx(value((0, 1, 2, 3)))
    assert made.p == pytest.approx(np.mean(np.array(every) >= value((0, 1, 2, 3)) - 1e-12))
    drawn = label_permutation(x, np.arange(8) < 4, against=against, resamples=69, seed=1)
    assert drawn.kind == "monte carlo" and drawn.p == pytest.approx(made.p, abs=0.2) and drawn.p >= 1 / 70


def test_with_groups_of_one_size_it_is_the_exact_test_of_row_means():
    """Pairs between the kinds cancel: the difference of within-means is that of the rows' sums, whose two-sample
    permutation test is known.
    """
    x = table(3, 10, 0.1, 5)
    rows = x.sum(1)
    other = permutation(rows[:5], rows[5:], alternative="greater", resamples=300)
    made = label_permutation(x, np.arange(10) < 5)
    assert other.kind == made.kind == "exact" and made.p == pytest.approx(other.p)
    assert made.statistic == pytest.approx(other.statistic / 4)


def test_p_is_uniform_where_nothing_is_planted():
    p = np.array([float(label_permutation(table(s), np.arange(8) < 4, against="mixed")) for s in range(200)])
    for a in (0.1, 0.3, 0.5):
        assert abs((p <= a).mean() - a) < 3.5 * np.sqrt(a * (1 - a) / 200) + 1 / 70


def texts(seed, n, common=None):
    """Rows [n, 24] of random tokens; those of one kind hold tokens of a common small set in every other place."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(1, 97, (n, 24), generator=g)
    if common is not None:
        ids[:, ::2] = torch.tensor(common)[torch.randint(0, len(common), (n, 12), generator=g)]
    return ids


OPTIONS = dict(sets=4, sparsity=0.1, overlap=20)


def test_a_shared_pattern_gives_a_gap_and_its_absence_none():
    model = tiny("llama")
    # sets of few prompts: with many, the reference's own noise is what all masks share
    gap = specificity(
        model, texts(1, 16, common=[3, 50]), texts(2, 16), texts(3, 64), method="corrected", margin=0.5, **OPTIONS
    )
    none = specificity(model, texts(4, 16), texts(2, 16), texts(3, 64), method="corrected", margin=0.5, **OPTIONS)
    assert float(gap.p.sel(test="memorised - other")) == pytest.approx(1 / 70) and float(
        gap.p.sel(test="memorised - mixed")
    ) == pytest.approx(1 / 70)
    assert float(none.p.min()) > 0.05
    assert float(gap["mean"].sel(pair="memorised")) > float(gap["mean"].sel(pair="other")) > 0
    assert (
        gap.n.values.tolist() == [6, 6, 16]
        and gap.low.isnull().all()
        and set(gap.interval_kind.values) == {"not available: fewer than 5 values"}
    )  # four sets a kind
    assert (
        provenance(gap)["kind"] == "specificity"
        and "exact" in gap.p.attrs["kind"]
        and provenance(gap)["call"]["prompts_a_set"] == 4
    )


def test_without_a_contrast_any_two_sets_look_alike():
    """The trap: the same columns are large on any text, and the IoU of other sets is far above chance too."""
    made = specificity(tiny("llama"), texts(1, 16), texts(2, 16), texts(3, 16), method="wanda", **OPTIONS)
    assert float(made["mean"].sel(pair="other")) > 5 * float(made.chance)
    assert float(made.p.sel(test="memorised - mixed")) > 0.05


def test_means_and_cells_agree():
    made = specificity(tiny("gpt2"), texts(1, 12), texts(2, 12), texts(3, 12), sets=3, sparsity=0.2, overlap=20, seed=5)
    x = made.iou.values
    assert np.allclose(x, x.T, equal_nan=True) and np.isnan(np.diag(x)).all()
    assert float(made["mean"].sel(pair="mixed")) == pytest.approx(x[:3, 3:].mean()) and float(
        made["mean"].sel(pair="memorised")
    ) == pytest.approx(np.nanmean(x[:3, :3]))
    assert float(made.difference.sel(test="memorised - mixed")) == pytest.approx(
        np.nanmean(x[:3, :3]) - x[:3, 3:].mean()
    )
    again = specificity(
        tiny("gpt2"), texts(1, 12), texts(2, 12), texts(3, 12), sets=3, sparsity=0.2, overlap=20, seed=5
    )
    assert made.identical(again)


def test_a_family_stays_in_one_set():
    from lens.subspace.control import _sets
    from lens.subspace.data import tokens_of

    names = ["a", "b", "c", "a", "d", "e", "b", "a", "f", "c"]
    made = _sets(tokens_of(texts(0, 10), "ids"), 3, names, np.random.default_rng(0), "memorised")
    assert sorted(np.concatenate(made).tolist()) == list(range(10))
    owners = {name: {k for k, group in enumerate(made) if any(names[i] == name for i in group)} for name in names}
    assert all(len(owner) == 1 for owner in owners.values())


def test_refusals():
    model, mem, other, ref = tiny("llama"), texts(1, 8), texts(2, 8), texts(3, 8)
    mixed = torch.cat([other[:7], mem[2:3]])
    for text, call in (
        (r"memorised\[2\] with other\[7\]", lambda: specificity(model, mem, mixed, ref, **OPTIONS)),
        (r"other\[7\] with reference\[2\]", lambda: specificity(model, texts(9, 8), mixed, mem, **OPTIONS)),
        ("for sets=9", lambda: specificity(model, mem, other, ref, sets=9)),
        ("at least 2", lambda: specificity(model, mem, other, ref, sets=1)),
        ("method=", lambda: specificity(model, mem, other, ref, method="zero_out")),
        ("families for sets", lambda: specificity(model, mem, other, ref, sets=3, families=([0] * 8, [0] * 8))),
        (
            "are empty",
            lambda: specificity(model, mem, other, ref, sets=2, sparsity=0.1, method="corrected", margin=1e6),
        ),
        ("square", lambda: label_permutation(np.ones((3, 3)), np.array([True, True, False]))),
        ("symmetric", lambda: label_permutation(np.arange(16.0).reshape(4, 4), np.array([True, True, False, False]))),
    ):
        with pytest.raises(SubspaceError, match=text):
            call()
