"""Rows of data from lists, frames, datasets and files: values stay what they are, errors name file, line and column."""

import csv
import datetime
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import lens
from lens import containers, reading, records


class Refused(lens.Error):
    pass


#: Texts that readers turn into something else.
TEXTS = ["2021-03-01", "12:30", "007", "1e3", "NA", "null", "None", "nan", "true", "", " Mary", "a\nb,c\"d'", "１"]
ROWS = [{"prompt": text, "answer": f" {i}"} for i, text in enumerate(TEXTS)]


def read(source, *columns, **options):
    return list(records.rows(source, Refused, columns, **options))


def csv_file(folder, rows=ROWS, name="qa.csv"):
    path = folder / name
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith("tsv") else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def written(folder, kind):
    path = folder / f"qa{kind}"
    if kind in (".csv", ".tsv"):
        return csv_file(folder, name=path.name)
    if kind == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path, row_group_size=5)
    elif kind == ".json":
        path.write_text(json.dumps(ROWS))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.mark.parametrize("kind", records.SUFFIXES)
def test_a_text_stays_a_text_in_every_format(tmp_path, kind):
    assert read(written(tmp_path, kind), "prompt", "answer") == ROWS
    assert read(str(written(tmp_path, kind)), start=4) == ROWS[4:]


def test_lists_frames_and_iterators():
    assert read(ROWS) == read(iter(ROWS)) == read(tuple(ROWS)) == ROWS
    assert [row.number for row in read(ROWS, start=3)] == list(range(3, len(ROWS)))
    for kind in ("object", "string", "str"):
        frame = pd.DataFrame(ROWS, dtype=kind)
        assert read(frame) == ROWS
        assert read(frame[::-1], start=1) == ROWS[-2::-1]


def test_what_a_frame_lacks_is_none_and_its_numbers_are_python_s():
    frame = pd.DataFrame(
        {
            "text": ["a", None, float("nan")],
            "whole": [1, 2, 3],
            "perhaps": pd.array([1, None, 3], dtype="Int64"),
            "real": [0.5, float("nan"), 2.0],
            "list": [[1, 2], [], [3]],
        }
    )
    first, second, third = read(frame)
    assert first == {"text": "a", "whole": 1, "perhaps": 1, "real": 0.5, "list": [1, 2]}
    assert second["text"] is None and third["text"] is None and second["perhaps"] is None
    assert second["real"] != second["real"] and type(first["whole"]) is int and type(first["real"]) is float


def test_blocks_of_a_long_frame_follow_on_each_other(monkeypatch):
    monkeypatch.setattr(records, "BLOCK", 3)
    frame = pd.DataFrame({"n": range(10)}, index=range(100, 110))
    assert [(row["n"], row.number, row.place) for row in read(frame)] == [(i, i, f"row {i}") for i in range(10)]


def test_keys_that_the_first_row_lacks_are_kept(tmp_path):
    rows = [{"a": "x"}, {"a": "y", "b": "z"}, {"c": None}]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert read(path) == read(rows) == rows


def test_rows_of_json_keep_their_kinds(tmp_path):
    rows = [{"i": 2**60, "x": 0.1, "t": True, "n": None, "chat": [{"role": "user", "content": "1999-01-01"}]}]
    for name, text in (("rows.jsonl", json.dumps(rows[0])), ("rows.json", json.dumps(rows, indent=1))):
        (tmp_path / name).write_text("\ufeff" + text)
        (row,) = read(tmp_path / name)
        assert row == rows[0] and row.whole("i") == 2**60 and row.real("x") == 0.1


def test_a_json_file_of_lines_is_read_as_lines(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    assert read(path) == ROWS
    path.write_text(json.dumps(ROWS[0], indent=1))
    with pytest.raises(Refused, match=r"rows\.json, line 1 cannot be read: it is not JSON"):
        read(path)


# -- datasets -------------------------------------------------------------------------------------------------------


@pytest.fixture
def datasets():
    return pytest.importorskip("datasets")


def test_datasets_in_memory_and_streaming(datasets, tmp_path):
    data = datasets.Dataset.from_list(ROWS)
    assert read(data) == read(data.to_iterable_dataset()) == ROWS
    assert read(data.select([3, 1])) == [ROWS[3], ROWS[1]]
    assert read(data.with_format("numpy")) == read(data.with_format("arrow")) == ROWS
    upper = data.with_transform(lambda batch: {"prompt": [text.upper() for text in batch["prompt"]]})
    assert [row["prompt"] for row in read(upper)] == [text.upper() for text in TEXTS]
    features = datasets.Features(dict.fromkeys(("prompt", "answer"), datasets.Value("string")))
    stream = datasets.load_dataset(
        "csv",
        data_files=str(csv_file(tmp_path)),
        split="train",
        streaming=True,
        cache_dir=str(tmp_path),
        features=features,
        keep_default_na=False,
    )
    assert read(stream) == ROWS


def test_texts_that_a_loader_made_dates_of_are_refused_with_what_to_do(datasets, tmp_path):
    path = tmp_path / "dates.jsonl"
    path.write_text("".join(json.dumps({"answer": f"2021-03-0{day}"}) + "\n" for day in range(1, 4)))
    stream = datasets.load_dataset("json", data_files=str(path), split="train", streaming=True, cache_dir=str(tmp_path))
    (first, *_) = read(stream)
    # what this guards against: the loader's own conversion
    assert isinstance(first["answer"], datetime.datetime)
    with pytest.raises(Refused, match=r"row 0, column 'answer' holds .*datetime.* where a text was expected; .*path"):
        first.text("answer")
    assert [row.text("answer") for row in read(path)] == ["2021-03-01", "2021-03-02", "2021-03-03"]


def test_a_block_of_another_type_is_told_by_its_row(datasets, tmp_path):
    path = tmp_path / "dates.jsonl"
    path.write_text(
        "".join(json.dumps({"answer": f"2021-03-0{day}"}) + "\n" for day in range(1, 4)) + '{"answer": "x"}'
    )
    stream = datasets.load_dataset(
        "json", data_files=str(path), split="train", streaming=True, chunksize=40, cache_dir=str(tmp_path)
    )
    with pytest.raises(Refused, match=r"row \d of the dataset cannot be read"):
        read(stream)


def test_a_stream_in_its_middle_is_refused_and_start_goes_on(datasets):
    data = datasets.Dataset.from_dict({"n": range(80)}).to_iterable_dataset(num_shards=4)
    stream = data.shuffle(seed=1, buffer_size=16)
    whole = [row["n"] for row in read(stream)]
    assert sorted(whole) == list(range(80)) and whole != list(range(80))
    assert whole[:30] + [row["n"] for row in read(stream, start=30)] == whole
    iterator = iter(stream)
    for _ in range(30):
        next(iterator)
    resumed = data.shuffle(seed=1, buffer_size=16)
    resumed.load_state_dict(stream.state_dict())
    with pytest.raises(Refused, match="load_state_dict.*start="):
        records.rows(resumed, Refused)
    # what this guards against: the shuffled stream's own resumption
    assert whole[:30] + [row["n"] for row in resumed] != whole


def test_splits_are_named(datasets):
    both = datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS), test=datasets.Dataset.from_list(ROWS))
    with pytest.raises(Refused, match=r"the splits 'train', 'test'; give one of them"):
        records.rows(both, Refused)


# -- what cannot be read --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"a": 1}\n\n{"a": ', r"a\.jsonl, line 3 cannot be read: it is not JSON"),
        ("a.jsonl", b'{"a": 1}\n[2]', r"a\.jsonl, line 2 cannot be read: it holds a list"),
        ("a.jsonl", b'{"b": 1}', r"a\.jsonl, line 1 lacks 'a'; its columns are 'b'"),
        ("a.jsonl", b'{"a": "\xff"}', r"a\.jsonl, line 1 cannot be read: it is not UTF-8"),
        ("a.jsonl", b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}", r"line 1 cannot be read: it has lists .* 101 deep"),
        ("a.json", b"[1]", r"a\.json, row 0 cannot be read: it is a int"),
        ("a.json", b"[{}", r"a\.json cannot be read: it is not JSON"),
        ("a.csv", b"", r"a\.csv is empty; expected a header"),
        ("a.csv", b"a,b,a\n1,2,3\n", r"a\.csv has the column 'a' twice"),
        ("a.csv", b"b\n1\n", r"a\.csv, line 2 lacks 'a'; its columns are 'b'"),
        ("a.csv", b'a,b\n"x\ny",2\n1\n', r"a\.csv, line 4 cannot be read: it has 1 fields where the header names 2"),
        ("a.csv", b"a,b\n1,2,3\n", r"a\.csv, line 2 cannot be read: it has 3 fields where the header names 2"),
        ("a.csv", b'a\nx\n"y\nz', r"a\.csv, line 3 cannot be read as CSV"),
        ("a.csv", b'a\n"x"y\n', r"a\.csv, line 2 cannot be read as CSV"),
        ("a.csv", b"a\n\xe9\n", r"a\.csv, line 2 is not UTF-8 .*save the file as UTF-8"),
        ("a.csv", b"a\n" + b"x" * (1 << 18), r"a\.csv, line 2 cannot be read as CSV: a field larger than"),
        ("a.parquet", b"PAR1 not really", r"a\.parquet cannot be read as Parquet"),
        ("a.xlsx", b"", r"a\.xlsx ends in '\.xlsx'; expected \.csv"),
    ],
)
def test_errors_name_file_line_and_column(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Refused, match=message):
        read(tmp_path / name, "a")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"a": [1]}, r"the source is .*\(dict\); expected a list of dicts"),
        (5, r"the source is 5 \(int\)"),
        (b"a.csv", r"\(bytes\)"),
        (None, r"\(NoneType\)"),
        (["a.csv"], "row 0 cannot be read: it is a str"),
        ([{"a": 1}, None], "row 1 cannot be read: it is a NoneType"),
        ([{1: 2}], "row 0 cannot be read: it has a column 1, whose name is no text"),
        ([{"a": 1}, {"b": 1}], "row 1 lacks 'a'; its columns are 'b'"),
        ([{}], "row 0 lacks 'a'; its columns are none"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the frame has the column 'a' twice"),
        ("nowhere.jsonl", "nowhere.jsonl cannot be read: it does not exist"),
        ("https://example.org/a.jsonl", "does not exist"),
    ],
)
def test_sources_that_are_none(source, message):
    with pytest.raises(Refused, match=message):
        read(source, "a")


def test_lines_that_cannot_be_read_are_told_and_the_rest_goes_on(tmp_path):
    path, lost = tmp_path / "rows.jsonl", []
    path.write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    rows = read(path, lost=lambda place, fault: lost.append((place, fault)))
    assert [(row.number, row["a"]) for row in rows] == [(0, 1), (2, 3)]
    assert [place for place, _ in lost] == [f"{path}, line 2"] and "not JSON" in lost[0][1]


def test_sizes_are_bounded(tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"a": "x" * 100}))
    with pytest.raises(Refused, match="line 1 has more than 50 bytes"):
        list(reading.line_stream(path, Refused, most=50))
    table = pa.table({"a": list(range(1000))})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10)
    monkeypatch.setattr(reading, "memory", lambda: 2000)
    with pytest.raises(Refused, match="more than this machine's memory"):
        containers.parquet(tmp_path / "a.parquet", Refused)
    # a group of rows has to fit, not the file
    assert [row["a"] for row in read(tmp_path / "a.parquet")] == list(range(1000))
    monkeypatch.setattr(reading, "memory", lambda: 20)
    with pytest.raises(Refused, match="more than this machine's memory"):
        read(tmp_path / "a.parquet")


def test_reading_is_streaming(tmp_path):
    lines = [json.dumps({"a": i}) for i in range(3)]
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join([*lines, "{broken"]))
    stream = records.rows(path, Refused)
    assert [next(stream)["a"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(Refused, match="line 4"):
        next(stream)

    def endless():
        number = 0
        while True:
            yield {"a": number}
            number += 1

    stream = records.rows(endless(), Refused, start=5)
    assert next(stream)["a"] == 5


# -- values ---------------------------------------------------------------------------------------------------------


def test_values_by_kind(tmp_path):
    path = csv_file(tmp_path, [{"i": "12", "x": "0.5", "t": "a", "e": ""}])
    (row,) = read(path)
    assert (row.whole("i"), row.real("x"), row.real("i"), row.text("i")) == (12, 0.5, 12.0, "12")
    assert row.optional("e") is None and row.text("e") == "" and row.optional("none") is None
    (row,) = read([{"i": "12", "x": 0.5, "t": None, "b": True, "s": "\ud800", "e": ""}])
    assert row.optional("t") is None and row.optional("e") == ""
    for call, column, message in (
        (row.text, "t", r"row 0, column 't' holds null where a text was expected"),
        (row.text, "x", r"row 0, column 'x' holds 0\.5 \(float\) where a text was expected; whatever read it"),
        (row.text, "s", "half of a surrogate pair"),
        (row.text, "none", "row 0 lacks 'none'; its columns are 'i', 'x', 't'"),
        (row.whole, "i", r"column 'i' holds '12' \(str\) where a whole number"),
        (row.whole, "x", "where a whole number"),
        (row.whole, "b", "where a whole number"),
        (row.real, "i", "where a number"),
    ):
        with pytest.raises(Refused, match=message):
            call(column)


@pytest.mark.parametrize("text", ["1.0", "1e3", " 1", "", "１", "9" * 40, "NA"])
def test_whole_numbers_of_a_csv_are_digits(tmp_path, text):
    (row,) = read(csv_file(tmp_path, [{"n": text, "m": "x"}]))
    with pytest.raises(Refused, match=r"qa\.csv, line 2, column 'n' holds .* where a whole number was expected"):
        row.whole("n")
