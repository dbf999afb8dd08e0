"""Rows to score from data: equal to texts that are tokenised one by one, and known by their number in the source."""

import json

import numpy as np
import pandas as pd
import pytest

from lens.scoring import Rows, ScoringError, from_records, score, texts
from tests.models import speaking, word_tokenizer

TEXTS = [f"w{i % 90 + 3} w{i % 7 + 3} w{i % 11 + 3}" for i in range(30)]


def jsonl(folder):
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps({"text": text}) for text in TEXTS))
    return path


def test_texts_are_tokenised_as_one_by_one_whatever_they_come_from(tmp_path, monkeypatch):
    tokenizer = word_tokenizer()
    want = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    monkeypatch.setattr(texts, "BLOCK", 7)
    for source in (jsonl(tmp_path), pd.DataFrame({"text": TEXTS}), ({"text": text} for text in TEXTS)):
        rows = from_records(source, tokenizer)
        assert [row.tolist() for row in rows] == want and rows.row_ids.tolist() == list(range(30))
    part = from_records(jsonl(tmp_path), tokenizer, start=4, limit=9)
    assert [row.tolist() for row in part] == want[4:13] and part.row_ids.tolist() == list(range(4, 13))
    assert part[2:4].row_ids.tolist() == [6, 7]
    mixed = from_records([{"t": TEXTS[0]}, {"t": [5, 6]}, {"t": []}, {"t": TEXTS[1]}], tokenizer, column="t")
    assert [row.tolist() for row in mixed] == [want[0], [5, 6], [], want[1]]


def test_a_stream_is_scored_in_parts_as_at_once_and_a_store_knows_its_rows(tmp_path):
    datasets = pytest.importorskip("datasets")
    model = speaking()
    stream = (
        datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(num_shards=3).shuffle(seed=1, buffer_size=8)
    )
    whole = score(model, from_records(stream, model), progress=False)
    assert whole.row_id.tolist() == list(range(30))
    for start in (0, 13):
        part = from_records(stream, model, start=start, limit=13 if start == 0 else None)
        found = score(model, part, store=tmp_path, progress=False)
        assert found.about["cached"] == 0
        np.testing.assert_allclose(found.nll(), whole.take(part.row_ids).nll(), rtol=1e-5)
    assert score(model, from_records(stream, model), store=tmp_path, progress=False).about["cached"] == 30


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "w3"}, {"text": None}], r"source: row 1, column 'text' holds None; expected a text or a list"),
        ([{"text": 5}], r"row 0, column 'text' holds 5; expected"),
        ([{"text": [1.5]}], "expected a text or a list of token ids"),
        ([{"text": [-1]}], "expected a text or a list of token ids"),
        ([{"other": "w3"}], "source: row 0 lacks 'text'; its columns are 'other'"),
        ("none.csv", "source: none.csv cannot be read"),
        (5, "source: the source is 5"),
    ],
)
def test_rows_that_are_none(rows, message):
    with pytest.raises(ScoringError, match=message):
        from_records(rows, word_tokenizer())
    with pytest.raises(ScoringError, match="tokenizer="):
        from_records([], "gpt2")


def test_rows_are_what_score_takes():
    model = speaking()
    rows = Rows([np.array([5, 6, 7]), np.array([8, 9])], np.array([40, 7]))
    assert score(model, rows, progress=False).row_id.tolist() == [40, 7]
    assert score(model, rows, row_ids=[1, 2], progress=False).row_id.tolist() == [1, 2]
