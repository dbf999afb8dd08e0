"""Transcripts: what is refused, what is warned of, and choices that do not look at positions."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from lens.provenance import ProvenanceError, Transcript

from .simulated import shuffled


@pytest.mark.parametrize(
    "position, kind, message",
    [
        ([0, 1, np.nan, 2], "rank", "position is missing in 1 places, first in row 2"),
        ([0, 1, np.inf, 2], "step", "position is missing"),
        ([0, 1, 1, 2], "rank", "position 1 is there more than once"),
        ([0, 1, 1.5, 2], "rank", "1.5, which is not a whole number"),
        ([0, 1, 2.5, 2], "step", "2.5, which is not a whole number"),
        ([0.1, 0.5, 1.0, 0.2], "key", "strictly between 0 and 1"),
        ([0.1, 0.5, 0.0, 0.2], "key", "strictly between 0 and 1"),
        (["a", "b", "c", "d"], "rank", "position=.*expected one number for each row"),
        ([0, 1, 2], "rank", "tokens has 4 rows and position 3"),
        ([], "rank", "expected \\[rows\\]"),
        ([0, 1, 2, 3], "time", "kind='time' is not known"),
    ],
)
def test_positions_that_cannot_be_used(position, kind, message):
    with pytest.raises(ProvenanceError, match=message):
        Transcript(np.ones((4, 3), int), position, kind)


@pytest.mark.parametrize(
    "options, message",
    [
        (dict(tokens=[[1, 2], [], [3]]), "row 1 is empty"),
        (dict(tokens=["a", "", "b"]), "row 1 is empty"),
        (dict(tokens=[[1], "b", [2]]), "row 1 is a text"),
        (dict(tokens=np.ones((3, 2))), "dtype float64"),
        (dict(tokens=np.ones((3, 0), int)), "length 0"),
        (dict(row_id=[1, 1, 2]), "row_id has 1 2 times"),
        (dict(row_id=[0.5, 1, 2]), "3 integers"),
        (dict(group=[0, 1]), "3 labels"),
        (dict(group=[0, np.nan, 1]), "group is missing in 1"),
    ],
)
def test_rows_that_cannot_be_used(options, message):
    with pytest.raises(ProvenanceError, match=message):
        Transcript(**({"tokens": [[1, 2], [3], [4]], "position": [2, 0, 1]} | options))


def test_ties_are_fine_in_steps_and_ranks_may_repeat_in_other_groups():
    assert Transcript(None, [0, 0, 1, 1], "step").ties() == 1.0
    assert len(Transcript(None, [0, 1, 0, 1], "rank", group=["a", "a", "b", "b"])) == 4
    with pytest.raises(ProvenanceError, match="more than once"):
        Transcript(None, [[0, 0], [1, 0]], "rank")


def test_samples_are_nested_repeatable_and_blind_to_positions():
    t, _ = shuffled(2000)
    a, b = t.sample(300, seed=4), t.sample(500, seed=4)
    assert (
        set(a.row_id) < set(b.row_id)
        and np.array_equal(a.row_id, t.sample(300, seed=4).row_id)
        and not np.array_equal(a.row_id, t.sample(300, seed=5).row_id)
    )
    assert np.array_equal(a.tokens, t.tokens[a.row_id]) and np.array_equal(a.position, t.position[a.row_id])
    moved = Transcript(t.tokens, t.position[::-1].copy(), "key")
    assert np.array_equal(moved.sample(300, seed=4).row_id, a.row_id) and np.array_equal(moved.arrival(3), t.arrival(3))
    with pytest.raises(ProvenanceError, match="from 1 to 2000"):
        t.sample(2001)
    with pytest.raises(ProvenanceError, match="seed=-1"):
        t.sample(5, seed=-1)


def test_rows_chosen_by_hash_are_spread_evenly_even_where_row_ids_are_the_order():
    n = 4000
    t = Transcript(None, np.arange(n), "rank")
    assert stats.kstest(t.sample(500, seed=1).row_id / n, "uniform").pvalue > 1e-3
    assert abs(stats.spearmanr(t.arrival(0), np.arange(n)).statistic) < 4 / np.sqrt(n)


def test_arrival_follows_content_and_not_row_number():
    t, _ = shuffled(50)
    turned = Transcript(t.tokens[::-1].copy(), t.position, "key")
    assert np.array_equal(turned.tokens[turned.arrival(2)], t.tokens[t.arrival(2)])


def test_the_hash_is_of_everything_and_does_not_depend_on_the_container():
    t, _ = shuffled(30)
    listed = Transcript([row.astype(np.int32) for row in t.tokens], t.position, "key")
    assert t.sha256() == listed.sha256()
    changed = t.tokens.copy()
    changed[3, 2] += 1
    others = [
        Transcript(changed, t.position, "key"),
        Transcript(t.tokens, t.position[::-1].copy(), "key"),
        Transcript(t.tokens, t.position, "key", row_id=np.arange(1, 31)),
        Transcript(t.tokens, t.position, "key", group=[0] * 29 + [1]),
    ]
    assert len({t.sha256(), *(o.sha256() for o in others)}) == 5
    digest = hashlib.sha256(b"rank (2,)\n")
    for array in (np.array([1.0, 0.0]), np.arange(2), np.zeros(2, np.int64)):
        digest.update(array.tobytes())
    for row in ([7, 8], [9]):
        digest.update((8 * len(row)).to_bytes(8, "little") + np.array(row, "<i8").tobytes())
    assert Transcript([[7, 8], [9]], [1, 0], "rank").sha256() == digest.hexdigest()


def test_an_unshuffled_order_is_warned_of():
    rng = np.random.default_rng(0)
    n = 400
    sorted_file = Transcript(rng.integers(0, 9, (n, 5)), np.arange(n), "rank", shuffled_as="said so")
    assert any("does not look shuffled: positions follow the sequence of the file" in w for w in sorted_file.warnings())
    drift = rng.integers(0, 9, (n, 5)) + np.arange(n)[:, None] // 20
    curriculum = Transcript(drift, np.arange(n), "rank", shuffled_as="said so", about={"file_order": "training"})
    assert any("mean token follows the training order" in w for w in curriculum.warnings())
    grouped = Transcript(
        drift,
        np.concatenate([rng.permutation(20) + 20 * g for g in range(20)]),
        "rank",
        group=np.arange(n) // 20,
        shuffled_as="within groups",
    )
    assert not any("does not look shuffled" in w for w in grouped.warnings())
    assert any("nobody declared" in w for w in Transcript(None, [0, 1, 2], "rank").warnings())


def test_shuffled_orders_are_rarely_warned_of():
    flagged = sum(
        any("look shuffled" in w for w in shuffled(200, kind, seed)[0].warnings())
        for seed in range(60)
        for kind in ("key", "step")
    )
    assert flagged <= stats.binom.ppf(0.9999, 120, 2e-3)


def test_copies_epochs_and_lost_rows_are_told():
    t, _ = shuffled(100)
    rows = t.tokens.copy()
    rows[10] = rows[11] = rows[12]
    twice = Transcript(rows, t.position, "key", shuffled_as="x", about={"lost": {"rows": 7, "where": ["part 3"]}})
    told = " ".join(twice.warnings())
    assert (
        twice.copies() == 3
        and "3 of 100 rows have the same tokens" in told
        and "7 rows could not be read and are left out: part 3" in told
    )
    one = twice.one_copy(seed=1)
    assert len(one) == 98 and one.copies() == 0 and len({10, 11, 12} & set(one.row_id)) == 1
    epochs, _ = shuffled(50, "rank", epochs=3)
    assert (
        epochs.epochs == 3
        and any("3 epochs" in w for w in epochs.warnings())
        and np.array_equal(epochs.epoch(1).position, epochs.position[:, 1])
    )
    with pytest.raises(ProvenanceError, match="epochs 0 to 2"):
        epochs.epoch(3)


def test_a_reader_is_asked_in_blocks_and_texts_are_rows():
    class Reader:
        def __len__(self):
            return 5000

        def __getitem__(self, index):
            return np.stack([np.asarray(index), np.asarray(index) % 7], axis=1)

    t = Transcript(Reader(), np.random.default_rng(0).permutation(5000), "rank")
    assert t.copies() == 0 and t.sample(10).tokens.shape == (10, 2)
    texts = Transcript(["one", "two", "one"], [2, 0, 1], "rank")
    assert texts.is_text and texts.copies() == 2 and texts.take([1]).tokens == ["two"]
