"""Files from elsewhere: limits of size, depth and kind; errors that name the file and the line; names that lead out of
a folder.
"""

import json
import os
import struct

import pytest

import lens
from lens import reading


class Refused(Exception):
    pass


DEEP = "[" * 200 + "]" * 200


def write(folder, name, content):
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("5", 0),
        ("[]", 1),
        ('{"a": [1, {"b": []}]}', 4),
        (json.dumps("[[[["), 0),
        (json.dumps({'a"[[': ['\\"[[[[', []]}), 3),
        ("[1],[[2]]", 2),
        ("", 0),
    ],
)
def test_depth_is_that_of_the_brackets_outside_texts(text, levels):
    assert reading.depth(text.encode()) == levels


def test_depth_is_counted_by_the_parsed_value():
    def deep(value):
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return isinstance(value, (dict, list)) + max(map(deep, inside), default=0)

    for value in ([[], [[]]], {"x": {"]": [{}]}}, [1, 2, {"\\": "}"}], {"é[": ["\u2028[", {"a": [[0]]}]}):
        for ascii_alone in (True, False):
            assert reading.depth(json.dumps(value, ensure_ascii=ascii_alone).encode()) == deep(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, "200 deep"),
        ("[1]", "a list where an object"),
        ("5", "a number where an object"),
        ("{", "not JSON"),
        ("", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON"),
    ],
)
def test_a_json_file_is_refused_by_its_name(tmp_path, content, message):
    file = write(tmp_path, "held.json", content)
    with pytest.raises(Refused, match=message) as raised:
        reading.json_file(file, Refused)
    assert str(file) in str(raised.value)


def test_a_json_file_within_the_limits_is_read(tmp_path):
    assert reading.json_file(write(tmp_path, "held.json", "\ufeff" + '{"a": [[1]]}'), Refused) == {"a": [[1]]}
    assert reading.json_file(write(tmp_path, "list.json", "[1]"), Refused, list) == [1]


def test_what_is_too_large_absent_or_no_plain_file_is_not_opened(tmp_path):
    file = write(tmp_path, "large.json", "{" + " " * 100 + "}")
    with pytest.raises(Refused, match="has 102 bytes where at most 50"):
        reading.json_file(file, Refused, most=50)
    with pytest.raises(Refused, match="absent.json"):
        reading.json_file(tmp_path / "absent.json", Refused)
    with pytest.raises(Refused, match="no plain file"):
        reading.json_file(tmp_path, Refused)
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for a writer for ever
    with pytest.raises(Refused, match="no plain file"):
        reading.text(tmp_path / "pipe", Refused)


def test_lines_end_at_line_feeds_alone(tmp_path):
    told = ["one\u2028two", "one\x85two", "one\x0ctwo", "one\x1etwo"]
    content = "\ufeff" + "\r\n".join(json.dumps({"t": t}, ensure_ascii=False) for t in told) + "\n\n  \n"
    found = reading.records(write(tmp_path, "rows.jsonl", content), Refused)
    assert found == [(n, {"t": t}) for n, t in enumerate(told, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"t": ', "not JSON"),
        ("[1]", "a list"),
        ('{"x": 1}', "lacks 't'"),
        (DEEP, "200 deep"),
        (b'{"t": "\xff"}', "not UTF-8"),
    ],
)
def test_a_damaged_line_is_named_by_its_number(tmp_path, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    file = write(tmp_path, "rows.jsonl", '{"t": "a\u2028b"}\n\n'.encode() + line + b'\n{"t": 1}\n')
    with pytest.raises(Refused, match=f"rows.jsonl, line 3 .*{message}"):
        reading.records(file, Refused, ("t",))


@pytest.mark.parametrize(
    "name", ["/etc/other", "../other", "a/../../other", "..", "", 5, None, "C:other", "a\\..\\other", "a\0b"]
)
def test_names_that_lead_out_of_a_folder_are_refused(tmp_path, name):
    with pytest.raises(Refused, match="not a file of that folder"):
        reading.inside(tmp_path, name, Refused)


def test_names_inside_a_folder_are_taken(tmp_path):
    assert (
        reading.inside(tmp_path, "model-00001-of-00002.safetensors", Refused)
        == tmp_path / "model-00001-of-00002.safetensors"
    )
    assert reading.inside(tmp_path, "part/..2", Refused) == tmp_path / "part" / "..2"


def header(text):
    return struct.pack("<Q", len(text)) + text.encode()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\1",
        header(DEEP),
        header("[]"),
        header('{"w": 5}'),
        header('{"w": {"dtype": "F32", "shape": [1], "data_offsets": []}}'),
        header('{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'),
        header('{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}'),
        header('{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, "4"]}}'),
        struct.pack("<Q", 1 << 60),
    ],
)
def test_a_damaged_header_of_safetensors_is_refused_by_its_file(tmp_path, content):
    file = write(tmp_path, "w.safetensors", content)
    with pytest.raises(Refused, match="w.safetensors"):
        reading.safetensors_header(file, Refused)


def test_a_panic_of_a_library_in_rust_is_an_error_of_ones_own():
    class PanicException(BaseException):  # as pyo3 names it: `except Exception` lets it pass
        pass

    with pytest.raises(Refused, match=r"the index \(PanicException: out of bounds\)"):
        with reading.no_panic(Refused, "the index"):
            raise PanicException("out of bounds\nmore")
    for other in (KeyboardInterrupt, ValueError):
        with pytest.raises(other):
            with reading.no_panic(Refused, "the index"):
                raise other


# -- pairs ----------------------------------------------------------------------------------------------------------

PAIR = {
    "id": "a/1",
    "group": "a",
    "split": "report",
    "ranks": [1, 1],
    "clean": "one two",
    "corrupted": "one three",
    "answer": " x",
    "foil": " y",
    "start": "",
    "spans": {"n": "two"},
}


def test_pairs_hold_whatever_separators_unicode_has(tmp_path):
    told = [
        PAIR | {"id": f"a/{n}", "clean": f"one{mark}two"} for n, mark in enumerate(("\u2028", "\u2029", "\x85", "\x0b"))
    ]
    file = write(tmp_path, "own.jsonl", "\n".join(json.dumps(record, ensure_ascii=False) for record in told) + "\n\n")
    assert [pair.clean for pair in lens.load_pairs(str(file))] == [record["clean"] for record in told]


@pytest.mark.parametrize(
    "other",
    [
        {"spans": ["two"]},
        {"spans": {"n": 5}},
        {"ranks": 1},
        {"ranks": []},
        {"ranks": ["1"]},
        {"group": 5},
        {"id": None},
        {"clean": 7},
        {"answer": ""},
        {"foil": " x"},
        {"start": None},
    ],
)
def test_a_pair_of_another_form_names_its_line(tmp_path, other):
    file = write(tmp_path, "own.jsonl", json.dumps(PAIR) + "\n" + json.dumps(PAIR | other))
    with pytest.raises(lens.PromptError, match="own.jsonl, line 2"):
        lens.load_pairs(str(file))
    file.write_text(json.dumps(PAIR) + "\n" + json.dumps({k: v for k, v in PAIR.items() if k not in other}))
    with pytest.raises(lens.PromptError, match="own.jsonl, line 2"):
        lens.load_pairs(str(file))


# -- records of runs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", ["", '{"preset": {"a', "[]", "{}", DEEP])
def test_a_record_of_a_run_that_is_cut_or_of_another_form_says_which_file_and_what_to_do(tmp_path, content):
    from lens.reproduce import again, records
    from lens.results.errors import ResultError

    file = write(tmp_path, "reproduction.json", content)
    with pytest.raises(ResultError, match=r"reproduction.json .*run `python -m lens reproduce some --out .*again"):
        records.read_record(tmp_path, "some")
    if content != "{}":
        with pytest.raises(ResultError, match="reproduction.json cannot be read"):
            again.again(tmp_path)
    assert file.read_text() == content
