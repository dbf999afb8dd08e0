"""Hubble's order files, corpus and log of insertions: sequences against documents laid end to end; misfits refused."""

import json

import numpy as np
import pytest

from lens.provenance import ProvenanceError, from_hubble, from_hubble_insertions
from lens.reproduce.hubble.standin import index

LENGTH, SEQUENCES = 9, 12


def lay(folder, seed=0, name="order"):
    """Documents of random lengths, an order of them, sequences that share one token, and a shuffle; all tokens."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 14, 40)
    documents = [rng.integers(1, 500, size) for size in sizes]
    (folder / "corpus.bin").write_bytes(np.concatenate(documents).astype("<u2").tobytes())
    (folder / "corpus.idx").write_bytes(index(sizes))
    doc = rng.permutation(40).astype(np.int32)
    sample, place, offset = [(0, 0)], 0, 0
    # walked document by document, as the trainer does it
    for _ in range(SEQUENCES):
        left = LENGTH - 1
        while left:
            step = min(left, int(sizes[doc[place]]) - offset)
            left, offset = left - step, offset + step
            if offset == sizes[doc[place]]:
                place, offset = place + 1, 0
        sample.append((place, offset))
    shuffle = rng.permutation(SEQUENCES).astype(np.uint32)
    for part, array in (("doc", doc), ("sample", np.array(sample, np.int32)), ("shuffle", shuffle)):
        np.save(folder / f"{name}_{part}_idx.npy", array)
    return np.concatenate([documents[d] for d in doc]), shuffle


def log(folder, lines):
    path = folder / "insertions.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def put(item, place, tokens=(5, 6, 7)):
    return {"file": "codes", "item": item, "place": place, "tokens": list(tokens)}


def read(folder, **options):
    asked = dict(corpus=folder / "corpus", rows=None, length=LENGTH, batch=4) | options
    return from_hubble(folder / "order", **asked)


def test_sequences_are_the_documents_laid_end_to_end_and_cut(tmp_path):
    flat, shuffle = lay(tmp_path)
    order = read(tmp_path)
    want = [flat[s * (LENGTH - 1) : s * (LENGTH - 1) + LENGTH] for s in shuffle]
    assert np.array_equal(np.asarray(order.tokens), want)
    assert order.position.tolist() == [n // 4 for n in range(SEQUENCES)] and order.kind == "step"
    assert order.row_id.tolist() == shuffle.tolist()


def test_some_places_and_no_corpus(tmp_path):
    _, shuffle = lay(tmp_path)
    some = read(tmp_path, rows=[3, 7])
    assert some.row_id.tolist() == shuffle[[3, 7]].tolist() and some.position.tolist() == [0, 1]
    drawn = read(tmp_path, rows=5, seed=1)
    assert len(drawn) == 5 and np.array_equal(drawn.row_id, read(tmp_path, rows=5, seed=1).row_id)
    alone = from_hubble(tmp_path / "order", rows=None, batch=4)
    assert alone.tokens is None and alone.row_id.tolist() == shuffle.tolist()


def test_sequences_that_something_was_put_into_are_left_out_and_counted(tmp_path):
    _, shuffle = lay(tmp_path)
    path = log(tmp_path, [put(0, 2), put(1, 11)])
    order = read(tmp_path, insertions=path)
    assert order.about["inserted"] == 2 and set(shuffle) - set(order.row_id) == {shuffle[2], shuffle[11]}
    with pytest.raises(ProvenanceError, match="into every sequence"):
        read(tmp_path, insertions=path, rows=[2, 11])


def test_the_log_alone_gives_the_order_of_items(tmp_path):
    path = log(tmp_path, [put(0, 9, [1, 2]), put(1, 4, [3, 4]), put(2, 1, [5]), put(2, 8, [5])])
    once = from_hubble_insertions(path, batch=4)
    assert once.position.tolist() == [1, 2] and [t.tolist() for t in once.tokens] == [[3, 4], [1, 2]]
    assert once.about["names"] == ["codes:1", "codes:0"]
    for copy, step in (("first", 0), ("last", 2)):
        twice = from_hubble_insertions(path, duplicates=2, copy=copy, batch=4)
        assert twice.position.tolist() == [step] and len(twice) == 1
    with pytest.raises(ProvenanceError, match="duplicates=3: .* has items put in 1, 2 times"):
        from_hubble_insertions(path, duplicates=3)


def replaced(folder, part, change):
    file = folder / f"order_{part}_idx.npy"
    np.save(file, change(np.load(file)))


@pytest.mark.parametrize(
    ("part", "change", "said"),
    (
        ("shuffle", lambda x: np.concatenate([x[:-1], x[:1]]), "no order of its 12 sequences"),
        ("shuffle", lambda x: x[:-1], "bounds of 12 sequences and _shuffle_idx.npy puts 11"),
        ("sample", lambda x: x[:, :1], "have shapes"),
        ("sample", lambda x: x + np.array([100, 0], np.int32), "names place"),
        ("doc", lambda x: x + 30, "names document 69 and the corpus .* has 40"),
        ("doc", lambda x: x[::-1].copy(), "another corpus|not of the corpus"),
        ("doc", lambda x: x.astype(float), "holds no whole numbers"),
    ),
)
def test_an_order_that_does_not_fit_its_corpus_is_refused(tmp_path, part, change, said):
    lay(tmp_path)
    replaced(tmp_path, part, change)
    with pytest.raises(ProvenanceError, match=said):
        read(tmp_path)


def test_the_order_files_of_another_corpus_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    lay(tmp_path / "a")
    lay(tmp_path / "b", seed=1)
    with pytest.raises(ProvenanceError, match="order: sequence .*another corpus|order: sequence .*not of the corpus"):
        from_hubble(tmp_path / "a" / "order", tmp_path / "b" / "corpus", None, length=LENGTH)
    with pytest.raises(ProvenanceError, match="length=17 asks for 16"):
        read(tmp_path / "a", length=17)


def test_files_that_are_absent_damaged_or_compressed_are_refused(tmp_path):
    lay(tmp_path)
    flat, index_ = tmp_path / "corpus.bin", tmp_path / "corpus.idx"
    with pytest.raises(ProvenanceError, match="other_doc_idx.npy is not there"):
        from_hubble(tmp_path / "other")
    whole, head = flat.read_bytes(), index_.read_bytes()
    flat.write_bytes(b"\x28\xb5\x2f\xfd" + whole[:50])
    with pytest.raises(ProvenanceError, match="begins like zstd: join its parts and unpack"):
        read(tmp_path)
    flat.write_bytes(whole[:-2])
    with pytest.raises(ProvenanceError, match="its index says"):
        read(tmp_path)
    flat.write_bytes(whole)
    for content, said in ((head[:-3], "damaged or of another version"), (b"x" * 60, "no index of documents")):
        index_.write_bytes(content)
        with pytest.raises(ProvenanceError, match=said):
            read(tmp_path)
    index_.write_bytes(head)
    (tmp_path / "order_doc_idx.npy").write_bytes(b"no array")
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("lines", "said"),
    (
        ([], "has no line"),
        ([put(0, 3), put(1, 3)], "puts 2 items at place 3"),
        ([put(0, 40)], "at place 40 of the order, which has 12"),
        ([put(0, -1)], "place -1"),
        ([put(0, 1, ["a"])], "a list of token ids"),
        ([{"item": 0, "place": 1}], "lacks 'tokens'"),
    ),
)
def test_logs_that_are_no_logs_of_this_run_are_refused(tmp_path, lines, said):
    lay(tmp_path)
    with pytest.raises(ProvenanceError, match=said):
        read(tmp_path, insertions=log(tmp_path, lines))
