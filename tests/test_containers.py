"""Parquet, NumPy, Zarr, NetCDF and safetensors from elsewhere: what they say of themselves is looked at before they are
opened in full.
"""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

import lens
from lens import containers, provenance, reading, subspace, vectors
from lens.containers import CODECS, require_known_nodes
from lens.results import dataset as results
from lens.results.errors import ResultError


class Refused(Exception):
    pass


def lies(folder, content=b"no such format"):
    file = folder / "held.bin"
    file.write_bytes(content)
    return file


# -- tables and arrays ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "read", [containers.parquet, containers.archive, containers.array, containers.require_netcdf, containers.tensors]
)
@pytest.mark.parametrize(
    "content", [b"", b"no such format", b"PAR1\0\0\0\0PAR1", b"PK\3\4", b"\x93NUMPY\1\0\xff\xff{", b"\xff" * 64]
)
def test_what_is_of_another_format_is_refused_by_its_name(tmp_path, read, content):
    with pytest.raises(Refused, match="held.bin"):
        read(lies(tmp_path, content), Refused)
    with pytest.raises(Refused, match="does not exist"):
        read(tmp_path / "absent", Refused)
    with pytest.raises(Refused, match="no plain file"):
        read(tmp_path, Refused)


def test_a_table_that_says_it_holds_more_than_the_memory_is_not_read(tmp_path, monkeypatch):
    pd.DataFrame({"a": np.zeros(10_000), "b": ["x"] * 10_000}).to_parquet(tmp_path / "t.parquet")
    assert containers.parquet(tmp_path / "t.parquet", Refused, ["a"]).num_rows == 10_000
    monkeypatch.setattr(reading, "memory", lambda: 5_000)
    with pytest.raises(Refused, match="t.parquet says that it holds 10000 rows"):
        containers.parquet(tmp_path / "t.parquet", Refused)


def test_a_column_of_many_levels_is_refused(tmp_path):
    kind = pa.int8()
    for _ in range(12):
        kind = pa.struct([("x", kind)])
    pq.write_table(pa.table({"a": pa.array([None], kind)}), tmp_path / "some.parquet")
    assert containers.parquet(tmp_path / "some.parquet", Refused).num_rows == 1
    for _ in range(6):
        kind = pa.struct([("x", kind)])
    pq.write_table(pa.table({"a": pa.array([None], kind)}), tmp_path / "deep.parquet")
    with pytest.raises(Refused, match="deep.parquet has a column of 19 levels"):
        containers.parquet(tmp_path / "deep.parquet", Refused)


def test_a_table_reads_as_pandas_reads_it(tmp_path):
    (tmp_path / "key=1").mkdir()  # no column comes from a folder's name
    want = pd.DataFrame({"n": [1.5, np.nan], "s": ["a", None], "l": [[1, 2], []]})
    want.to_parquet(tmp_path / "key=1" / "t.parquet")
    got = containers.parquet(tmp_path / "key=1" / "t.parquet", Refused).to_pandas()
    assert list(got) == ["n", "s", "l"] and got.n.equals(want.n) and [list(x) for x in got.l] == [[1, 2], []]


def test_an_archive_larger_than_the_memory_is_not_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(100_000), y=np.arange(3))
    assert containers.archive(tmp_path / "a.npz", Refused)["y"].tolist() == [0, 1, 2]
    monkeypatch.setattr(reading, "memory", lambda: 100_000)
    with pytest.raises(Refused, match="a.npz .*unpacked it has 8"):
        containers.archive(tmp_path / "a.npz", Refused)


def test_objects_in_arrays_are_never_unpickled(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    np.savez(tmp_path / "o.npz", o=np.array([{}], object))
    for read, name in ((containers.array, "o.npy"), (containers.archive, "o.npz")):
        with pytest.raises(Refused, match=name):
            read(tmp_path / name, Refused)


# -- transcripts ----------------------------------------------------------------------------------------------------


def test_lines_of_a_transcript_that_no_array_holds_are_named_and_the_rest_is_read(tmp_path):
    lines = [
        {"tokens": [1, 2], "rank": 0},
        {"tokens": [1, 2], "rank": int("9" * 400)},
        {"tokens": [[1], 2], "rank": 1},
        {"tokens": [10**30], "rank": 2},
        {"tokens": [1.5], "rank": 3},
        {"tokens": {}, "rank": 4},
        {"tokens": [3, 4], "rank": 1},
        {"tokens": [5], "rank": "six"},
        {"tokens": [7], "rank": 2},
        {"tokens": [1], "rank": True},
    ]
    file = tmp_path / "t.jsonl"
    file.write_text(
        "\n".join(map(json.dumps, lines)) + "\n" + '{"tokens": ' + "[" * 300 + "]" * 300 + ', "rank": 9}\n5\n'
    )
    found = provenance.from_jsonl(file)
    assert len(found) == 3 and found.about["lost"]["rows"] == 9
    assert all(
        word in " ".join(found.about["lost"]["where"])
        for word in ("line 2", "line 3", "line 4", "line 5", "line 6", "and 4 more")
    )
    assert [list(row) for row in found.tokens] == [[1, 2], [3, 4], [7]]


def test_parquet_files_of_unlike_types_are_refused_with_both(tmp_path):
    for name, tokens, rank in (("a.parquet", [[1, 2], [3]], [0, 1]), ("b.parquet", ["a b", "c"], [2, 3])):
        pd.DataFrame({"tokens": tokens, "rank": rank}).to_parquet(tmp_path / name)
    with pytest.raises(provenance.ProvenanceError, match="differ in the type of 'tokens': .*a.parquet.*b.parquet"):
        provenance.from_parquet(tmp_path)


@pytest.mark.parametrize("offsets", [[0, 5, 3], [[0, 3]], [0.0, 3.0], [], [1, 3], [0, 9]])
def test_offsets_that_do_not_cut_tokens_into_rows_are_refused(tmp_path, offsets):
    np.savez(
        tmp_path / "t.npz", tokens=np.arange(3), offsets=np.array(offsets), rank=np.arange(max(1, np.size(offsets) - 1))
    )
    with pytest.raises(provenance.ProvenanceError, match="t.npz: offsets"):
        provenance.from_npz(tmp_path / "t.npz")


# -- masks and vectors ----------------------------------------------------------------------------------------------


def good_mask():
    return {"schema": 1, "model": "m", "about": {}, "layers": [["a", 2, 3]]}


@pytest.mark.parametrize(
    "change",
    [
        {"model": 5},
        {"about": []},
        {"layers": 5},
        {"layers": [["a", 2]]},
        {"layers": [["a", "x", 3]]},
        {"layers": [["a", 10**400, 3]]},
        {"layers": [["a", 2, 3], ["b", 1, 1]]},
    ],
)
def test_masks_of_another_form_are_refused_by_their_file(tmp_path, change):
    def save(about):
        text = about if isinstance(about, str) else json.dumps(about)
        np.savez(tmp_path / "m.npz", about=np.frombuffer(text.encode(), np.uint8), layer0=np.array([1, 4]))
        return tmp_path / "m.npz"

    assert subspace.Mask.load(save(good_mask())).count == 2
    for about in (
        good_mask() | change,
        {k: v for k, v in good_mask().items() if k not in change},
        "[" * 100 + "]" * 100,
        "[]",
    ):
        with pytest.raises(subspace.SubspaceError, match="m.npz"):
            subspace.Mask.load(save(about))


@pytest.mark.parametrize(
    "record",
    [
        "[]",
        "5",
        "{",
        "[" * 100 + "]" * 100,
        '{"name": "v"}',
        '{"name": "v", "model": "m", "source": "s", "about": {}, "heads": 5}',
    ],
)
def test_vectors_whose_record_is_of_another_form_are_refused_by_their_file(tmp_path, record):
    save_file(
        {"direction": torch.ones(3), "parts": torch.ones(1, 3)},
        tmp_path / "v.safetensors",
        metadata={"format": "mnemoscope vector 1", "record": record},
    )
    with pytest.raises(vectors.VectorError, match="v.safetensors"):
        vectors.load_vector(tmp_path / "v.safetensors")


# -- results --------------------------------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    ds = results.stamp(
        xr.Dataset({"x": (("t", "token"), np.arange(6.0).reshape(2, 3)), "label": ("token", ["a", "b", "c"])}),
        {"kind": "test"},
    )
    lens.save(ds, tmp_path / "r.zarr")
    assert lens.open(tmp_path / "r.zarr").x.equals(ds.x)
    return tmp_path / "r.zarr"


def nodes_of(saved):
    return json.loads((saved / "zarr.json").read_text())["consolidated_metadata"]["metadata"]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("codecs", [{"name": "numcodecs.pickle", "configuration": {}}], "packed by 'numcodecs.pickle'"),
        (
            "codecs",
            [{"name": "sharding_indexed", "configuration": {"codecs": [{"name": "other"}], "index_codecs": []}}],
            "packed by 'other'",
        ),
        ("codecs", ["other"], "packed by 'other'"),
        ("codecs", None, "packed by None"),
        ("shape", [10**9, 10**9], "more than"),
        ("shape", [-1, 3], "shape"),
        ("shape", [2.0, 3], "shape"),
        ("shape", "2", "shape"),
        ("shape", [2], "shape"),
        ("chunk_grid", 5, "chunks None"),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [0, 3]}}, "chunks"),
        ("chunk_grid", {"name": "regular", "configuration": {"chunk_shape": [1 << 40, 1 << 20]}}, "memory"),
        ("data_type", "object", "expected numbers"),
        ("data_type", {"name": "struct"}, "expected numbers"),
        ("data_type", {"name": "fixed_length_utf32", "configuration": {"length_bytes": -4}}, "expected numbers"),
    ],
)
def test_what_a_zarr_folder_says_of_its_arrays_is_looked_at_first(saved, key, value, message):
    held = json.loads((saved / "zarr.json").read_text())
    held["consolidated_metadata"]["metadata"]["x"][key] = value
    (saved / "zarr.json").write_text(json.dumps(held))
    with pytest.raises(ResultError, match=f"r.zarr .*{message}"):
        lens.open(saved)


def test_known_arrays_are_taken(saved):
    require_known_nodes(nodes_of(saved), saved, Refused)
    written = {codec["name"] for node in nodes_of(saved).values() for codec in node["codecs"]}
    assert written and written <= CODECS
    for name in ("../x", "/x", "a//b", "", "a\\b"):
        with pytest.raises(Refused, match="no array of that folder"):
            require_known_nodes({name: nodes_of(saved)["x"]}, saved, Refused)


@pytest.mark.parametrize(
    "change",
    [
        lambda held: "[" * 500 + "]" * 500,
        lambda held: "[]",
        lambda held: json.dumps(held | {"consolidated_metadata": []}),
        lambda held: "{",
        lambda held: json.dumps(held | {"attributes": {"mnemoscope": "[" * 500 + "]" * 500}}),
        lambda held: json.dumps(held | {"attributes": {"mnemoscope": [1]}}),
    ],
)
def test_a_damaged_root_or_record_is_an_error_of_the_package(saved, change):
    (saved / "zarr.json").write_text(change(json.loads((saved / "zarr.json").read_text())))
    with pytest.raises(ResultError, match="r.zarr"):
        lens.open(saved)


def test_netcdf_that_does_not_fit_or_is_none_is_refused_unread(saved, tmp_path, monkeypatch):
    lens.export(lens.open(saved), tmp_path / "r.nc")
    assert lens.open(tmp_path / "r.nc").x.shape == (2, 3)
    monkeypatch.setattr(reading, "memory", lambda: 40)
    with pytest.raises(ResultError, match="r.nc says that it holds"):
        lens.open(tmp_path / "r.nc")
    (tmp_path / "r.nc").write_bytes(b"PK\3\4 some other thing")
    with pytest.raises(ResultError, match="r.nc cannot be read as NetCDF"):
        lens.open(tmp_path / "r.nc")
