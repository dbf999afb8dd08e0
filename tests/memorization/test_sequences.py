"""Token sequences, their overlap, and the distances between them, against brute force."""

from dataclasses import dataclass, field
from functools import cache
from itertools import permutations

import numpy as np
import pytest

from lens.memorization import MemorizationError, Sequences, disjoint, levenshtein, ndcg, rouge_l
from lens.memorization.distances import leading
from tests import models as tiny_models


def edit_distance(a, b):
    @cache
    def at(i, j):
        if min(i, j) == 0:
            return max(i, j)
        return min(at(i - 1, j) + 1, at(i, j - 1) + 1, at(i - 1, j - 1) + (a[i - 1] != b[j - 1]))

    return at(len(a), len(b))


def common(a, b):
    @cache
    def at(i, j):
        if min(i, j) == 0:
            return 0
        return at(i - 1, j - 1) + 1 if a[i - 1] == b[j - 1] else max(at(i - 1, j), at(i, j - 1))

    return at(len(a), len(b))


@pytest.mark.parametrize(("la", "lb", "tokens"), [(1, 1, 2), (7, 7, 3), (9, 4, 2), (3, 12, 5)])
def test_distances_equal_the_recursions(la, lb, tokens):
    rng = np.random.default_rng(la)
    a, b = rng.integers(0, tokens, (40, la)), rng.integers(0, tokens, (40, lb))
    assert levenshtein(a, b).tolist() == [edit_distance(tuple(x), tuple(y)) for x, y in zip(a, b)]
    np.testing.assert_allclose(rouge_l(a, b), [2 * common(tuple(x), tuple(y)) / (la + lb) for x, y in zip(a, b)])


def test_leading_tokens():
    assert leading(
        np.array([[1, 2, 3], [1, 2, 3], [0, 2, 3]]), np.array([[1, 2, 3], [1, 0, 3], [1, 2, 3]])
    ).tolist() == [3, 1, 0]


def test_ndcg_by_hand():
    def by_hand(base, other):
        def gain(ranking):
            return sum((len(base) - list(base).index(t)) / np.log2(r + 2) for r, t in enumerate(ranking) if t in base)

        return gain(other) / gain(base)

    base = np.arange(4)
    others = np.array([*permutations(range(4)), [9, 8, 7, 6], [9, 0, 8, 1]])
    found = ndcg(np.tile(base, (len(others), 1)), others)
    np.testing.assert_allclose(found, [by_hand(base, o) for o in others])
    assert found[0] == 1 and found[-2] == 0 and (found[1:] < 1).all()


def test_parts_and_subsets():
    made = Sequences([[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 3]], 3, ["a", "b", "c"], ["x", "y", "x"], [0, 4, 4])
    assert made.prefixes.tolist() == [[1, 2, 3], [5, 6, 7], [9, 1, 2]] and made.suffixes.tolist() == [[4], [8], [3]]
    assert made.subset([2, 0]).names == ("c", "a") and made.subset(made.kind == "x").duplicates.tolist() == [0, 4]
    assert made.cut(1).suffix == 3 and made.cut(1).duplicates.tolist() == [0, 4, 4]
    both = Sequences.concat([made, made.subset([1])])
    assert len(both) == 4 and both.names[-1] == "b" and both.duplicates.tolist() == [0, 4, 4, 4]
    assert made.sha256 == Sequences(made.ids, 3).sha256 != made.cut(2).sha256
    assert [row.tolist() for row in made][1] == made[1].tolist() == [5, 6, 7, 8]


def test_from_what_was_planted():
    @dataclass
    class Planted:
        prefix: int = 2
        ids: np.ndarray = field(default_factory=lambda: np.arange(8).reshape(2, 4))
        duplicates: tuple = (0, 16)

    made = Sequences.of(Planted(), kind="code")
    assert made.prefix == 2 and made.duplicates.tolist() == [0, 16] and made.kind.tolist() == ["code"] * 2


def test_from_texts():
    made = Sequences.of_texts(
        tiny_models.word_tokenizer(), ["w1 w2 w3 w4", "w5 w6 w7 w8 w9"], prefix=3, suffix=2, start=0
    )
    assert made.ids.tolist() == [[0, 1, 2, 3, 4], [0, 5, 6, 7, 8]]
    with pytest.raises(MemorizationError, match=r"texts: 1 \(3 tokens\) of 2 are shorter"):
        Sequences.of_texts(tiny_models.word_tokenizer(), ["w1 w2 w3 w4", "w5 w6"], prefix=3, suffix=1, start=0)


def test_overlapping_sets_are_refused_with_a_list():
    rng = np.random.default_rng(0)
    a, b = (Sequences(rng.integers(0, 1000, (5, 30)), 10, [f"{n}{i}" for i in range(5)]) for n in "ab")
    assert a.overlap(b) == [] and disjoint(a, b) is None
    mixed = b.ids.copy()
    mixed[0], mixed[3, 15:28] = a.ids[2], a.ids[4, 12:25]
    overlapping = Sequences(mixed, 10, b.names)
    assert [tuple(o) for o in a.overlap(overlapping)] == [
        ("a2", "b0", "identical"),
        ("a4", "b3", "13 tokens of suffix"),
    ]
    with pytest.raises(
        MemorizationError,
        match=r"overlap in 2 pairs: 'a2' of memorised and 'b0' of reference \(identical\), 'a4' of memorised and 'b3'",
    ):
        disjoint(memorised=a, reference=overlapping)
    # a run in the part that is given is no overlap; a short suffix counts whole
    mixed = b.ids.copy()
    mixed[:, :10] = a.ids[:, :10]
    assert a.overlap(Sequences(mixed, 10)) == []
    assert len(Sequences([[1, 2, 3]], 2).overlap(Sequences([[4, 5, 3]], 2))) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(ids=[[1, 2], [3]], prefix=1), "different lengths"),
        (dict(ids=[1, 2], prefix=1), r"shape \(2,\)"),
        (dict(ids=[[0.5, 1]], prefix=1), "float64"),
        (dict(ids=[[1, -1]], prefix=1), "ids holds -1"),
        (dict(ids=[[1, 2]], prefix=2), "prefix=2 leaves nothing"),
        (dict(ids=[[1, 2]], prefix=0), "prefix=0"),
        (dict(ids=[[1, 2]], prefix=1, names=["a", "b"]), "names has 2"),
        (dict(ids=[[1, 2]], prefix=1, kind=["a", "b"]), "kind has shape"),
        (dict(ids=[[1, 2]], prefix=1, duplicates=-1), "duplicates=-1"),
    ],
)
def test_bad_sequences_are_named(arguments, message):
    with pytest.raises(MemorizationError, match=message):
        Sequences(**arguments)


def test_a_subset_of_none_is_refused():
    with pytest.raises(MemorizationError, match="chooses none of 1"):
        Sequences([[1, 2]], 1).subset([False])
