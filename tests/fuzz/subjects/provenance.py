"""Provenance: transcripts and their readers, queries, n-grams."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lens import provenance
from lens.provenance import Transcript
from tests.provenance.simulated import losses, shuffled

from . import Subject
from .common import model

MODULES = ("lens.provenance",)
RESULTS = ("Matches", "QueryResult", "ShuffleResult", "PromptLogprobs", "SampledTokens")
ROWS = 40


@functools.cache
def order() -> Transcript:
    made, _ = shuffled(ROWS, "step", batch=4)
    return Transcript(made.tokens % 97, made.position, "step", made.row_id, about=made.about)


@functools.cache
def scored() -> tuple[np.ndarray, np.ndarray]:
    times = order().position / order().position.max()
    return losses(times, 0.3, 1), losses(times, 0.0, 2)


@functools.cache
def result() -> Any:
    return provenance.query_scores(*scored(), order(), resamples=99)


@functools.cache
def matches() -> Any:
    return provenance.match(order().tokens[3], order(), k=(2, 3))


@functools.cache
def local() -> Any:
    return provenance.LocalSuspect(model())


@functools.cache
def index() -> Any:
    return provenance.local_index(order().tokens.astype(np.uint16), folder() / "index")


@functools.cache
def folder() -> Path:
    """Small files of every form, kept as long as the process."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held = tempfile.TemporaryDirectory(prefix="fuzz-provenance-")
    folder.held = held
    where = Path(held.name)
    tokens, rank = order().tokens, np.random.default_rng(0).permutation(ROWS)
    np.save(where / "tokens.npy", tokens.astype(np.uint16))
    tokens.astype("<u2").tofile(where / "flat.bin")
    rank.astype("<u4").tofile(where / "order.bin")
    np.savez(where / "rows.npz", tokens=tokens, rank=rank)
    (where / "rows.jsonl").write_text(
        "".join(json.dumps({"tokens": t.tolist(), "rank": int(r)}) + "\n" for t, r in zip(tokens, rank))
    )
    pq.write_table(pa.table({"tokens": tokens.tolist(), "rank": rank}), where / "rows.parquet")
    hubble(where / "hubble")
    return where


def hubble(where: Path) -> None:
    """Eight sequences of nine tokens, each a document, into two of which something was put."""
    from lens.reproduce.hubble.standin import index

    where.mkdir()
    sizes, places = np.full(9, 8), np.arange(9)
    (where / "corpus.bin").write_bytes(np.arange(72).astype("<u2").tobytes())
    (where / "corpus.idx").write_bytes(index(sizes))
    np.save(where / "order_doc_idx.npy", places)
    np.save(where / "order_sample_idx.npy", np.stack([places, 0 * places], 1))
    np.save(where / "order_shuffle_idx.npy", places[:8][::-1])
    lines = [{"item": i, "place": i, "tokens": [1, 2]} for i in range(2)]
    (where / "insertions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def subjects():
    at, quick = folder(), dict(resamples=99)
    yield Subject(
        "Transcript",
        Transcript,
        lambda: dict(tokens=[[1, 2], [3, 4]], position=[1, 0], row_id=[5, 6], group=["a", "a"]),
        use=lambda t: (t.sha256(), t.warnings(), str(t)),
    )
    for name, given in (
        ("take", dict(index=[0, 3])),
        ("epoch", dict(number=0)),
        ("sample", dict(n=5)),
        ("arrival", {}),
        ("one_copy", {}),
        ("rows", dict(index=[1])),
        ("digests", {}),
        ("copies", {}),
        ("sha256", {}),
        ("warnings", {}),
        ("doubts", {}),
        ("ties", {}),
        ("shuffle_checks", {}),
    ):
        yield Subject(f"Transcript.{name}", getattr(order(), name), lambda given=given: dict(given))
    yield Subject("read", provenance.read, lambda: dict(path=at / "rows.jsonl"))
    yield Subject("from_arrays", provenance.from_arrays, lambda: dict(tokens=np.ones((3, 2), int), order=[2, 0, 1]))
    yield Subject("from_arrays", provenance.from_arrays, lambda: dict(tokens=np.ones((3, 2), int), position=[2, 0, 1]))
    yield Subject("from_file", provenance.from_file, lambda: dict(path=at / "tokens.npy", order=np.arange(ROWS)))
    yield Subject(
        "from_file", provenance.from_file, lambda: dict(path=at / "flat.bin", order=np.arange(ROWS), length=6)
    )
    yield Subject("from_npz", provenance.from_npz, lambda: dict(path=at / "rows.npz"))
    yield Subject("from_jsonl", provenance.from_jsonl, lambda: dict(path=at / "rows.jsonl"))
    yield Subject("from_records", provenance.from_records, lambda: dict(source=at / "rows.jsonl"))
    yield Subject("from_parquet", provenance.from_parquet, lambda: dict(path=at / "rows.parquet"))
    yield Subject("from_pythia", provenance.from_pythia, lambda: dict(path=at / "flat.bin", rows=5, length=6, batch=4))
    yield Subject(
        "from_pythia", provenance.from_pythia, lambda: dict(path=at / "flat.bin", length=6, batch=4, sizes=[ROWS * 12])
    )
    yield Subject(
        "from_olmo",
        provenance.from_olmo,
        lambda: dict(global_indices=at / "order.bin", parts=[at / "flat.bin"], rows=5, chunk=6, batch=4),
    )
    yield Subject(
        "from_hubble",
        provenance.from_hubble,
        lambda: dict(
            order=at / "hubble" / "order",
            corpus=at / "hubble" / "corpus",
            rows=5,
            insertions=at / "hubble" / "insertions.jsonl",
            length=9,
            batch=4,
        ),
    )
    yield Subject(
        "from_hubble_insertions",
        provenance.from_hubble_insertions,
        lambda: dict(log=at / "hubble" / "insertions.jsonl", duplicates=1, copy="last", batch=4),
    )
    yield Subject("from_organism", provenance.from_organism, lambda: dict(name="palimpsest"))
    yield Subject("Ledger", provenance.Ledger, lambda: dict(planned=3))
    yield Subject(
        "Ledger.look",
        lambda suspect, row_id, values, question: provenance.Ledger().look(suspect, row_id, values, question),
        lambda: dict(suspect="a", row_id=[1, 2], values=[0.5, 1.5], question="q"),
    )
    yield Subject("Reference", provenance.Reference, lambda: dict(model=scored()[1], shares_order=False, name="other"))
    yield Subject(
        "query",
        provenance.query,
        lambda: dict(
            suspect=scored()[0], transcript=order(), reference=scored()[1], shares_order=False, ledger=False, **quick
        ),
    )
    yield Subject(
        "query_scores",
        provenance.query_scores,
        lambda: dict(suspect=scored()[0], reference=scored()[1], transcript=order(), ledger=False, **quick),
    )
    yield Subject("compare", provenance.compare, lambda: dict(suspects={"a": result()}, transcript=order()))
    yield Subject("report", provenance.report, lambda: dict(result=result()))
    yield Subject("QueryResult.table", result().table, dict)
    yield Subject("match", provenance.match, lambda: dict(text=order().tokens[3], transcript=order(), k=(2, 3)))
    yield Subject("join", provenance.join, lambda: dict(text=order().tokens[3], corpus=order().tokens, k=(2, 3)))
    yield Subject(
        "partition", provenance.partition, lambda: dict(matches=matches(), transcript=order(), ledger=False, **quick)
    )
    for name in ("per_row", "per_step", "dense"):
        yield Subject(
            f"Matches.{name}",
            getattr(matches(), name),
            lambda name=name: dict(rows_per_step=4) if name == "per_step" else {},
        )
    yield Subject(
        "Shard",
        provenance.Shard,
        lambda: dict(source=order().tokens, rows=ROWS, dtype="uint16"),
        use=lambda s: provenance.join([1, 2, 3, 4], s, row_length=6),
    )
    yield Subject("Shard.label", provenance.Shard("a.bin").label, dict)
    yield Subject(
        "local_index",
        provenance.local_index,
        lambda: dict(corpus=order().tokens.astype(np.uint16), folder=at / "index"),
    )
    yield Subject("LocalIndex.join", index().join, lambda: dict(text=order().tokens[3], k=(2, 3)))
    yield Subject(
        "shuffle_retrain",
        provenance.shuffle_retrain,
        lambda: dict(observed=[0.5, 1.5, 2.0], shuffled=np.random.default_rng(0).normal(size=(20, 3))),
    )
    yield Subject(
        "LocalSuspect",
        provenance.LocalSuspect,
        lambda: dict(model=model()),
        use=lambda s: s.prompt_logprobs([[1, 2, 3]]),
    )
    yield Subject("LocalSuspect.prompt_logprobs", local().prompt_logprobs, lambda: dict(rows=[[1, 2, 3]]))
    yield Subject("LocalSuspect.sample_next", local().sample_next, lambda: dict(prefixes=[[1, 2, 3]], k=4))
    yield Subject(
        "sampled_scores",
        provenance.sampled_scores,
        lambda: dict(client=local(), transcript=order().take([0, 1, 2]), places=1, k=2),
    )
