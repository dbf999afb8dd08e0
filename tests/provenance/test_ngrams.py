"""The n-gram join equals brute force on small data, whatever the pieces, collisions, dtypes and processes."""

import json
import os
import sys
from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest

from lens.provenance import gram_index, gram_scan, ngrams
from lens.provenance.errors import ProvenanceError
from lens.provenance.ngrams import Matches, Shard, join, local_index
from tests.variants import few


def brute(documents, rows, low, high, most, weight, *, flat=None, length=None):
    """Every place, every length, every occurrence, with dictionaries. `flat`: grams may cross the rows' ends."""
    where = defaultdict(list)
    for k in range(low, high + 1):
        if flat is not None:
            for p in range(len(flat) - k + 1):
                where[tuple(flat[p : p + k])].append(p // length)
        else:
            for r, row in enumerate(rows):
                for p in range(len(row) - k + 1):
                    where[tuple(row[p : p + k])].append(r)
    count, sums, lengths, occurrences = Counter(), Counter(), [], []
    for d, document in enumerate(documents):
        for i in range(len(document)):
            k = next(
                (k for k in range(high, low - 1, -1) if i + k <= len(document) and tuple(document[i : i + k]) in where),
                0,
            )
            found = where[tuple(document[i : i + k])] if k else []
            lengths.append(k)
            occurrences.append(len(found))
            for row in found if len(found) <= most else []:
                count[d, row] += 1
                sums[d, row] += 1 / len(found) if weight == "inverse" else 1
    keys = sorted(count)
    return keys, [count[k] for k in keys], [sums[k] for k in keys], lengths, occurrences


def assert_equal(matches: Matches, expected):
    keys, count, sums, lengths, occurrences = expected
    assert list(zip(matches.query.tolist(), matches.row.tolist())) == keys
    assert (
        matches.count.tolist() == count
        and matches.length.tolist() == lengths
        and matches.occurrences.tolist() == occurrences
    )
    np.testing.assert_allclose(matches.weight, sums)


def case(seed):
    rng = np.random.default_rng(seed)
    vocabulary, low = int(rng.choice([2, 5, 30, 60_000])), int(rng.integers(1, 10))
    length, n = int(rng.integers(3, 40)), int(rng.integers(1, 30))
    flat = rng.integers(0, vocabulary, n * length - int(rng.integers(0, length)) * (rng.random() < 0.3)).astype(
        rng.choice([np.uint16, np.uint32, np.int64])
    )
    documents = [
        rng.integers(0, vocabulary, int(rng.integers(1, 60))),
        *(flat[a : a + int(rng.integers(0, 30))].astype(int) for a in rng.integers(0, len(flat), 2)),
    ]
    options = dict(
        k=(low, low + int(rng.integers(0, 5))),
        max_count=int(rng.choice([1, 3, 1000])),
        across=bool(rng.random() < 0.4),
        weight=str(rng.choice(ngrams.WEIGHTS)),
    )
    return documents, flat, length, options


def expected_of(documents, flat, length, options):
    plain = [[int(t) for t in d] for d in documents]
    tokens = [int(t) for t in flat]
    rows = [tokens[i : i + length] for i in range(0, len(tokens), length)]
    return brute(
        plain,
        rows,
        *options["k"],
        options["max_count"],
        options["weight"],
        flat=tokens if options["across"] else None,
        length=length,
    )


@pytest.mark.parametrize("seed", few(range(120), range(40)))
def test_equals_brute_force_however_the_stream_is_cut(seed, monkeypatch):
    documents, flat, length, options = case(seed)
    rng = np.random.default_rng(seed)
    monkeypatch.setattr(gram_scan, "CHUNK", int(rng.choice([16, 64, 1 << 16])))
    monkeypatch.setattr(gram_scan, "HITS", int(rng.choice([5, 10**6])))
    monkeypatch.setattr(ngrams, "SPAN", int(rng.choice([2 * length, 1 << 24])))
    assert_equal(join(documents, flat, row_length=length, **options), expected_of(documents, flat, length, options))


@pytest.mark.parametrize("seed", range(20))
def test_a_hash_that_always_collides_makes_no_match(seed, monkeypatch):
    monkeypatch.setattr(gram_scan, "BASE", np.uint64(0))
    monkeypatch.setattr(gram_scan, "MULTIPLIER", np.uint64(0))
    monkeypatch.setattr(gram_scan, "SECOND", np.uint64(0))
    documents, flat, length, options = case(seed)
    assert_equal(join(documents, flat, row_length=length, **options), expected_of(documents, flat, length, options))


def test_rows_of_two_dimensions_and_files_are_the_same(tmp_path):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 6, (50, 12)).astype(np.uint16)
    text = [rng.integers(0, 6, 40), rng.integers(0, 6, 30)]
    np.save(tmp_path / "rows.npy", rows)
    rows.tofile(tmp_path / "rows.bin")
    first = join(text, rows)
    assert len(first.row) > 10
    for corpus, more in (
        (tmp_path / "rows.npy", {}),
        (str(tmp_path / "rows.bin"), {"row_length": 12}),
        ([rows[:20], rows[20:]], {}),
        (rows.astype(np.int32), {}),
    ):
        other = join(text, corpus, **more)
        for name in ("query", "row", "count", "weight", "length", "occurrences"):
            assert (getattr(first, name) == getattr(other, name)).all()


@pytest.mark.long
def test_worker_processes_change_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = rng.integers(0, 6, (60, 12)).astype(np.uint16)
    np.save(tmp_path / "a.npy", rows[:30])
    monkeypatch.setattr(ngrams, "SPAN", 10 * 12)
    one, two = (
        join([rng_text], [tmp_path / "a.npy", rows[30:]], max_count=20, workers=n)
        for n in (1, 2)
        for rng_text in [np.arange(60) % 6]
    )
    for name in ("query", "row", "count", "weight", "length", "occurrences"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert one.about == two.about


def test_common_grams_are_dropped_by_their_count_and_hold_no_memory(monkeypatch):
    monkeypatch.setattr(gram_scan, "HITS", 100)
    held, hold = [], gram_scan.Occurrences.hold
    monkeypatch.setattr(gram_scan.Occurrences, "hold", lambda self, *a: (hold(self, *a), held.append(self.held))[0])
    corpus = np.tile(np.array([1, 2, 3, 4, 5], np.uint16), 20_000).reshape(-1, 50)
    corpus[700, :4] = 9
    monkeypatch.setattr(gram_scan, "CHUNK", 1 << 10)
    found = join([1, 2, 3, 4, 9, 9, 9, 9], corpus, k=4, max_count=10)
    assert found.row.tolist() == [700] and found.weight.tolist() == [1.0]
    assert found.occurrences[0] > 19_000 and found.length.tolist() == [4, 0, 0, 0, 4, 0, 0, 0]
    assert max(held) < 1000


def test_steps_and_dense_sums():
    corpus = np.array([[1, 2, 3], [4, 5, 6], [1, 2, 3], [7, 8, 9]], np.uint16)
    found = join([[1, 2, 3], [4, 5, 6, 1, 2, 3]], corpus, k=3)
    assert found.query.tolist() == [0, 0, 1, 1, 1] and found.row.tolist() == [0, 2, 0, 1, 2]
    assert found.weight.tolist() == [0.5, 0.5, 0.5, 1.0, 0.5]
    assert [a.tolist() for a in found.per_row(counts=True)] == [[0, 1, 2], [2, 1, 2]]
    assert found.dense(2).tolist() == [2.0, 1.0] and found.dense().tolist() == [1.0, 1.0, 1.0, 0.0]


def test_a_shard_that_cannot_be_read_is_named_and_the_rest_goes_on(tmp_path):
    rows = np.arange(120, dtype=np.uint16).reshape(10, 12)
    np.save(tmp_path / "a.npy", rows[:4])
    np.save(tmp_path / "b.npy", rows[4:7])
    (tmp_path / "b.npy").write_bytes((tmp_path / "b.npy").read_bytes()[:-40])
    rows[7:].tofile(tmp_path / "c.bin")
    found = join(rows[9], [tmp_path / "a.npy", tmp_path / "b.npy", tmp_path / "c.bin"])
    assert set(found.row.tolist()) == {9}
    (lost,) = found.about["lost"]
    assert (
        lost["shard"].endswith("b.npy")
        and lost["rows"] == 3
        and found.about["rows_read"] == 7
        and found.about["rows"] == 10
    )
    assert np.isnan(found.dense()).tolist() == [4 <= r < 7 for r in range(10)]
    assert "3 of them lost" in str(found)
    with pytest.raises(ProvenanceError, match="gone.bin.*rows="):
        join(rows[9], [tmp_path / "gone.bin", rows])
    found = join(rows[9], [Shard(tmp_path / "gone.bin", rows=5), rows])
    assert set(found.row.tolist()) == {14} and found.about["lost"][0]["rows"] == 5
    short = join(rows[9], [Shard(tmp_path / "c.bin", rows=4), rows], row_length=12)
    assert set(short.row.tolist()) == {2, 13} and short.about["lost"] == [
        {"shard": str(tmp_path / "c.bin"), "rows": 1, "why": "it has 3 whole rows of 4"}
    ]


def test_stopping_leaves_the_matches_so_far(monkeypatch):
    monkeypatch.setattr(ngrams, "SPAN", 24)
    rows, asked = np.tile(np.arange(12, dtype=np.uint16), (10, 1)), []
    found = join(np.arange(12), rows, stop=lambda: asked.append(1) or len(asked) == 2)
    assert (
        found.about["status"] == "stopped" and found.about["rows_read"] == 4 and set(found.row.tolist()) == {0, 1, 2, 3}
    )


@pytest.mark.parametrize(
    "call, message",
    [
        (dict(text=[]), "text is empty"),
        (dict(text=[[], []]), "text is empty"),
        (dict(text=["a b"]), "document 0"),
        (dict(text=[[-1, 2]]), "document 0"),
        (dict(k=(5, 4)), r"k=\(5, 4\)"),
        (dict(k=0), "k=0"),
        (dict(max_count=0), "max_count=0"),
        (dict(weight="idf"), "weight='idf'"),
        (dict(workers=0), "workers=0"),
        (dict(corpus=np.arange(9, dtype=np.uint16)), "row_length is missing"),
        (dict(row_length=5), "rows of 3"),
        (dict(corpus=np.zeros((2, 3))), "float64"),
        (dict(text=[[70_000, 2, 3, 4]]), "another tokenizer"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ProvenanceError, match=message):
        join(**{"text": [[1, 2, 3, 4]], "corpus": np.zeros((2, 3), np.uint16), **call})


@pytest.mark.parametrize("vocabulary", [5, 60_000, 65_536])
def test_the_local_index_gives_the_same_matches(tmp_path, vocabulary, capfd):
    pytest.importorskip("tokengrams", reason="tokengrams is an optional extra")
    rng = np.random.default_rng(0)
    flat = rng.integers(0, vocabulary, 3000).astype(np.uint16)
    flat[7] = vocabulary - 1
    documents = [rng.integers(0, vocabulary, 60), flat[100:150].astype(int), np.r_[flat[:12], 65_535]]
    local_index(flat, tmp_path / "index", row_length=37)
    index = local_index(flat, tmp_path / "index", row_length=37)
    for options in (dict(k=(1, 4), max_count=20, across=True), dict(k=(4, 8), weight="count"), dict(k=3, max_count=3)):
        one, two = index.join(documents, **options), join(documents, flat, row_length=37, **options)
        for name in ("query", "row", "count", "weight", "length", "occurrences"):
            np.testing.assert_allclose(getattr(one, name), getattr(two, name))
    with pytest.raises(ProvenanceError, match="another corpus"):
        local_index(flat[::-1], tmp_path / "index", row_length=37)


def test_an_index_that_another_process_built_meanwhile_is_opened(tmp_path, monkeypatch):
    tokengrams = pytest.importorskip("tokengrams")
    flat, real = np.random.default_rng(1).integers(0, 50, 3700), tokengrams.MemmapIndex.build

    def late(*args):
        monkeypatch.setitem(sys.modules, "tokengrams", tokengrams)
        local_index(flat, tmp_path / "index", row_length=37)
        return real(*args)

    class Engine:
        """The engine, whose own class cannot be changed, with another way to build."""

        def __new__(cls, *args):
            return tokengrams.MemmapIndex(*args)

        build = staticmethod(late)

    monkeypatch.setitem(sys.modules, "tokengrams", SimpleNamespace(MemmapIndex=Engine))
    index = local_index(flat, tmp_path / "index", row_length=37)
    assert index.about["tokens"] == 3700 and [p.name for p in tmp_path.iterdir()] == ["index"]


def _cut(file):
    os.truncate(file, file.stat().st_size // 2)


def _zeroed(file):
    file.write_bytes(bytes(file.stat().st_size))


def _flipped(file):
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))


def _gone(file):
    file.unlink()


@pytest.mark.parametrize("name", ["tokens.bin", "suffixes.bin"])
@pytest.mark.parametrize("damage", [_cut, _zeroed, _flipped, _gone])
def test_a_damaged_index_is_refused_by_its_file(tmp_path, name, damage):
    pytest.importorskip("tokengrams", reason="tokengrams is an optional extra")
    flat, folder = np.random.default_rng(0).integers(0, 50, 400).astype(np.uint16), tmp_path / "index"
    whole = local_index(flat, folder, row_length=20).join([flat[5:30]], k=(1, 3))
    assert (
        local_index(flat, folder, row_length=20).join([flat[5:30]], k=(1, 3)).occurrences.tolist()
        == whole.occurrences.tolist()
    )
    damage(folder / name)
    with pytest.raises(ProvenanceError, match=rf"{name} (is damaged|cannot be read).*delete .*index"):
        local_index(flat, folder, row_length=20)


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop("files"),
        lambda kept: kept.update(files=[]),
        lambda kept: kept.update(vocabulary="50"),
        lambda kept: kept["files"].pop("tokens.bin"),
        lambda kept: kept["files"].update({"tokens.bin": 5}),
    ],
)
def test_an_index_that_does_not_tell_its_hashes_is_refused(tmp_path, change):
    pytest.importorskip("tokengrams", reason="tokengrams is an optional extra")
    flat, folder = np.arange(100, dtype=np.uint16), tmp_path / "index"
    local_index(flat, folder, row_length=20)
    kept = json.loads((folder / "about.json").read_text())
    change(kept)
    (folder / "about.json").write_text(json.dumps(kept))
    gram_index._WHOLE.clear()
    with pytest.raises(ProvenanceError, match="index"):
        local_index(flat, folder, row_length=20)
    (folder / "about.json").write_text("{")
    with pytest.raises(ProvenanceError, match="about.json cannot be read"):
        local_index(flat, folder, row_length=20)


def test_an_unchanged_index_is_read_whole_once(tmp_path, monkeypatch):
    pytest.importorskip("tokengrams", reason="tokengrams is an optional extra")
    flat, read, plain = np.arange(100, dtype=np.uint16), [], gram_index.sha256_file
    local_index(flat, tmp_path / "index", row_length=20)
    monkeypatch.setattr(gram_index, "sha256_file", lambda file: (read.append(file.name), plain(file))[1])
    for _ in range(3):
        local_index(flat, tmp_path / "index", row_length=20)
    assert sorted(read) == ["suffixes.bin", "tokens.bin"]


def test_a_panic_inside_the_index_is_an_error_of_the_family(tmp_path, monkeypatch):
    class PanicException(BaseException):
        pass

    class Index:
        def count(self, query):
            raise PanicException("index out of bounds")

        positions = count

    index = gram_index.LocalIndex(Index(), {"tokens": 40, "row_length": 20})
    with pytest.raises(ProvenanceError, match="failed in a look-up.*out of bounds"):
        index.join([[1, 2, 3]], k=2)
