"""Pairs and tasks of rows of data: every source gives the same, what looks like a date or number stays text, and a row
that makes none is named.
"""

import csv
import json

import pandas as pd
import pytest

import lens
from lens.prompts import Chat, Pair, PromptError
from lens.vectors import Task, VectorError

#: Texts that readers like to take for something else.
ANSWERS = [" 2021-03-01", "007", "1e3", "NA", "null", "true", " 12:30", "nan"]
ROWS = [{"q": f"The {i}th is", "other": f"A {i}th is", "a": a, "id": f"row-{i}"} for i, a in enumerate(ANSWERS)]
COLUMNS = {"clean": "q", "corrupted": "other", "answer": "a", "label": "id"}
EXPECTED = [Pair(r["q"], r["other"], r["a"], label=r["id"]) for r in ROWS]


def jsonl(folder, rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def table(folder, rows):
    path = folder / "rows.csv"
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def parquet(folder, rows):
    pd.DataFrame(rows).to_parquet(folder / "rows.parquet")
    return folder / "rows.parquet"


def dataset(folder, rows):
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def stream(folder, rows):
    datasets = pytest.importorskip("datasets")
    return datasets.load_dataset(
        "parquet", data_files=str(parquet(folder, rows)), split="train", streaming=True, cache_dir=str(folder / "cache")
    )


SOURCES = [lambda folder, rows: rows, lambda folder, rows: pd.DataFrame(rows), jsonl, table, parquet, dataset, stream]
NAMES = ["list", "frame", "jsonl", "csv", "parquet", "dataset", "stream"]


@pytest.mark.parametrize("source", SOURCES, ids=NAMES)
def test_every_source_gives_the_same_pairs_and_tasks(source, tmp_path):
    records = source(tmp_path, ROWS)
    assert Pair.from_records(records, COLUMNS) == EXPECTED
    assert Pair.from_records(records, COLUMNS, limit=3) == EXPECTED[:3]
    task = Task.from_records(records, {"input": "q", "output": "a"}, seed=3)
    assert task == Task.from_pairs([(r["q"], r["a"]) for r in ROWS], seed=3)


def test_conversations_and_spans_of_rows(tmp_path):
    asked = [{"role": "user", "content": "Where is Lyon?"}], [{"role": "user", "content": "Where is Rome?"}]
    rows = [{"clean": asked[0], "corrupted": asked[1], "answer": "France", "foil": "Italy", "city": "Lyon"}]
    expected = [Pair.chat(*asked, "France", "Italy", spans={"city": "Lyon"})]
    for records in (rows, jsonl(tmp_path, rows), dataset(tmp_path, rows)):
        assert Pair.from_records(records, spans={"city": "city"}) == expected
        assert Pair.from_records(records, spans={"city": "city"})[0].spans == {"city": "Lyon"}
    recorded = json.loads(json.dumps([pair.as_record() for pair in expected]))
    (again,) = Pair.from_records(recorded)
    assert again == expected[0] and again.spans == expected[0].spans and isinstance(again.clean, Chat)


def test_the_pairs_that_ship_are_such_rows():
    pairs = lens.load_pairs("ioi", limit=5)
    again = Pair.from_records([pair.as_record() for pair in pairs])
    assert again == pairs and [p.spans for p in again] == [p.spans for p in pairs]


@pytest.mark.parametrize(
    ("rows", "columns", "match"),
    [
        (
            [{"clean": "a b", "answer": "c"}],
            None,
            r"records: row 0 lacks 'corrupted'; its columns are 'clean'",
        ),
        (ROWS, {"clean": "q", "right": "a"}, "records: columns has 'right', which is none of clean, corrupted, answer"),
        ([{**ROWS[0], "a": 7}], COLUMNS, r"records: row 0, column 'a' holds 7 \(int\) where a text was expected"),
        ([ROWS[0], {**ROWS[1], "q": " "}], COLUMNS, "records: row 1: clean: the prompt is ' '"),
        ([], COLUMNS, "records: holds no row"),
        ([{**ROWS[0], "spans": 3}], COLUMNS, "column 'spans' holds 3 where an object"),
        (7, None, "records: the source is 7"),
    ],
)
def test_rows_that_make_no_pair(rows, columns, match):
    with pytest.raises(PromptError, match=match):
        Pair.from_records(rows, columns)


def test_a_row_of_a_file_is_named_by_its_line(tmp_path):
    path = jsonl(tmp_path, [*ROWS, {**ROWS[0], "a": ""}])
    with pytest.raises(PromptError, match=r"rows.jsonl, line 9: answer: is empty"):
        Pair.from_records(path, COLUMNS)
    with pytest.raises(VectorError, match=r"rows.jsonl, line 9, column 'a' holds ''"):
        Task.from_records(path, {"input": "q", "output": "a"})
    with pytest.raises(PromptError, match=r"row 0, column 'city' is not there, of which spans"):
        Pair.from_records(ROWS, COLUMNS, spans={"city": "city"})


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        ({"x": "q"}, "records: columns has 'x', which is none of input, output"),
        (None, "records: row 0 lacks 'input', 'output'"),
    ],
)
def test_rows_that_make_no_task(columns, match):
    with pytest.raises(VectorError, match=match):
        Task.from_records(ROWS, columns)
