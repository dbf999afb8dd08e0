"""Results: the record, the repr, files; compared with plain xarray, zarr, pandas and pyarrow reads of the same
files.
"""

import contextlib
import csv
import errno
import hashlib
import json
import os
import pickle
import resource
import shutil
import signal
import tempfile
import threading
import time
import warnings
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lens import files
from lens.results import dataset as results
from lens.results.dataset import Peak, Result, describe, fingerprint, peak, provenance, stamp, table
from lens.results.errors import ResultError
from lens.results.opening import open_result
from lens.results.saving import export, save
from lens.results.store import Store
from tests.results.children import Child

ROOT = Path(__file__).resolve().parents[2]
TOKENS = [
    "When",
    " John",
    "\n",
    "\r\n",
    "😀",
    "\ufffd",
    "",
    "<script>alert(1)</script>",
    " John",
    "\0",
    "a\0",
    "NA",
    "#",
    '"',
    "=1+1",
    " é",
]
RECORD = {
    "kind": "patch",
    "seed": 0,
    "engine": "fast",
    "started": "2025-01-01T00:00:00",
    "seconds": 1.5,
    "model": {"name": "smollm2", "hash": "ab12", "dtype": "float32", "device": "cpu"},
    "call": {
        "site": "resid_pre",
        "over": ["layer", "position"],
        "metric": "logit_diff",
        "direction": "denoise",
        "method": "exact",
        "heads": None,
        "renorm": True,
        "nested": {"deep": [1, None, {"x": False}]},
    },
    "pairs": [{"clean": "When John\n😀", "corrupted": "When Mary", "answer": " Mary", "foil": None}],
    "versions": {"torch": "2.13.0"},
}


def single(layers=4, tokens=TOKENS, seed=0, record=RECORD) -> Result:
    """One pair over layer x position, in the shape that lens.patch returns, with a NaN and an infinity in it."""
    rng = np.random.default_rng(seed)
    shape = (layers, len(tokens))
    data = {name: (("layer", "position"), rng.normal(size=shape)) for name in ("value", "effect", "normalized")}
    data["value"][1].flat[1], data["value"][1].flat[2] = np.nan, np.inf
    data |= {"clean": 3.25, "corrupted": -2.5}
    labels = np.array(tokens, dtype=object)
    ds = xr.Dataset(
        data,
        coords={
            "layer": range(layers),
            "position": range(len(tokens)),
            "token_clean": ("position", labels),
            "token_corrupted": ("position", labels[::-1]),
        },
    )
    return stamp(ds, record)


def batch(prompts=3, layers=4, positions=5) -> Result:
    """Several pairs, the last one shorter and padded with NaN and ""."""
    rng = np.random.default_rng(1)
    shape = (prompts, layers, positions)
    data = {
        name: (("prompt", "layer", "position"), rng.normal(size=shape).astype(np.float32))
        for name in ("value", "effect", "normalized")
    }
    token = np.array([[f" t{p}{i}" for i in range(positions)] for p in range(prompts)], dtype=object)
    token[-1, -1] = ""
    for name in data:
        data[name][1][-1, :, -1] = np.nan
    data |= {"clean": ("prompt", rng.normal(size=prompts)), "corrupted": ("prompt", rng.normal(size=prompts))}
    coords = {
        "prompt": range(prompts),
        "layer": range(layers),
        "position": range(positions),
        "token_clean": (("prompt", "position"), token),
        "token_corrupted": (("prompt", "position"), token.copy()),
    }
    return stamp(xr.Dataset(data, coords=coords), RECORD)


def left(folder) -> list[str]:
    return sorted(os.listdir(folder))


# -- record ---------------------------------------------------------------------------------------------------------


def test_stamp_keeps_data_indexes_and_attributes():
    ds = xr.Dataset(
        {"effect": (("layer", "head"), np.arange(6.0).reshape(2, 3), {"units": "logits"}), "n": ((), 4)},
        {"layer": [3, 5], "head": ["a", "b", "c"], "token": ("head", list("xyz"), {"of": "head"})},
        {"note": "kept"},
    )
    ds = ds.stack(cell=("layer", "head"))
    made = stamp(ds, {"kind": "patch"})
    assert type(made) is Result and results.ATTRIBUTE not in ds.attrs
    assert made.attrs.pop(results.ATTRIBUTE) and made.identical(ds)
    assert made.indexes["cell"].equals(ds.indexes["cell"]) and float(made["effect"].sel(layer=5, head="b")) == 4.0
    assert np.shares_memory(made["effect"].values, ds["effect"].values)
    assert made["effect"].attrs == {"units": "logits"} and made["token"].attrs == {"of": "head"}


def test_stamp_and_provenance_keep_none_booleans_and_nesting():
    ds = xr.Dataset({"effect": ("layer", [1.0])})
    made = stamp(
        ds,
        RECORD
        | {
            "call": (
                RECORD["call"]
                | {
                    "n": np.int64(3),
                    "scale": np.float32(0.5),
                    "flag": np.bool_(True),
                    "file": Path("a/b"),
                    "over": ("layer",),
                    "odd": "\ud800",
                }
            )
        },
    )
    assert ds.attrs == {} and isinstance(made, Result) and isinstance(made, xr.Dataset)
    assert isinstance(made.attrs["mnemoscope"], str) and list(made.attrs) == ["mnemoscope"]
    record = provenance(made)
    assert record == json.loads(made.attrs["mnemoscope"])
    assert record["schema"] == 1 and record["status"] == "complete"
    assert record["call"] == RECORD["call"] | {
        "n": 3,
        "scale": 0.5,
        "flag": True,
        "file": "a/b",
        "over": ["layer"],
        "odd": "\ud800",
    }
    assert record["call"]["flag"] is True and record["call"]["nested"] == {"deep": [1, None, {"x": False}]}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"call": {"x": float("nan")}}, r"record\['call'\]\['x'\] is nan"),
        ({"call": {"x": [1, np.zeros(2)]}}, r"record\['call'\]\['x'\]\[1\] is a ndarray"),
        ({"call": {3: "x"}}, r"key 3 \(int\)"),
        ({"kind": ""}, "kind=''"),
        ({"status": "done"}, "status='done'"),
        ({"schema": 2}, "schema=2.*newer Mnemoscope"),
        ({"schema": 0}, "schema=0"),
        ({"schema": True}, "schema=True"),
    ],
)
def test_stamp_refuses(change, words):
    with pytest.raises(ResultError, match=words):
        stamp(xr.Dataset(), RECORD | change)


def test_wrong_types_name_the_argument():
    with pytest.raises(ResultError, match="ds=<DataArray.* expected xarray.Dataset"):
        stamp(xr.DataArray([1.0]), RECORD)
    with pytest.raises(ResultError, match=r"record=\[1\] does not fit; expected a dict"):
        stamp(xr.Dataset(), [1])
    with pytest.raises(ResultError, match="record=3"):
        fingerprint(3)
    for bad in (3, None, b"x.zarr"):
        for call in (
            lambda: save(single(), bad),
            lambda: open_result(bad),
            lambda: export(single(), bad),
            lambda: Store(bad, single()),
        ):
            with pytest.raises(ResultError, match="path="):
                call()
    with pytest.raises(ResultError, match="ds={} does not fit; expected xarray.Dataset"):
        save({}, "x.zarr")


def test_provenance_of_what_is_not_a_result():
    with pytest.raises(ResultError, match="lens.results.stamp"):
        provenance(xr.Dataset())
    with pytest.raises(ResultError, match="not JSON"):
        provenance(xr.Dataset(attrs={"mnemoscope": "{"}))
    with pytest.raises(ResultError, match="newer"):
        provenance(xr.Dataset(attrs={"mnemoscope": '{"schema": 9, "kind": "patch", "status": "complete"}'}))


def test_fingerprint_ignores_time_and_order_only():
    base = fingerprint(RECORD)
    assert base == fingerprint(dict(reversed(RECORD.items())) | {"started": "later", "seconds": 9})
    kept = {k: v for k, v in RECORD.items() if k not in ("started", "seconds")}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    assert base == hashlib.sha256(text.encode()).hexdigest()
    assert base != fingerprint(RECORD | {"seed": 1})
    # "seconds" inside an entry may be a word of a prompt
    assert fingerprint({"pairs": {"seconds": 1}}) != fingerprint({"pairs": {"seconds": 2}})


# -- what it says ---------------------------------------------------------------------------------------------------


def test_peak_is_the_largest_magnitude_with_its_labels():
    ds = single()
    ds["effect"][2, 4] = -50.0
    found = ds.mnemoscope.peak()
    assert found == Peak(
        "effect", -50.0, {"layer": 2, "position": 4}, {"token_clean": "😀", "token_corrupted": TOKENS[::-1][4]}
    )
    assert type(found.at["layer"]) is int
    found = peak(ds, "normalized")
    assert abs(found.value) == float(abs(ds.normalized).max()) == abs(float(ds.normalized.sel(found.at)))
    with pytest.raises(ResultError, match="variable='nope'.*effect"):
        peak(ds, "nope")


def test_peak_over_prompts_is_of_the_mean_and_names_a_token_only_if_shared():
    ds = batch()
    mean = np.nanmean(ds.effect.values, axis=0)
    at = np.unravel_index(np.abs(mean).argmax(), mean.shape)
    found = peak(ds)
    assert found.at == {"layer": at[0], "position": at[1]} and found.value == pytest.approx(mean[at])
    assert found.tokens == {}
    shared = ds.assign_coords(token_clean=(("prompt", "position"), np.full((3, 5), " x", dtype=object)))
    assert peak(shared).tokens == {"token_clean": " x"}
    each = peak(ds, average=())
    assert abs(each.value) == np.nanmax(np.abs(ds.effect.values)) and set(each.at) == {"prompt", "layer", "position"}
    assert each.tokens["token_clean"] == ds.token_clean.values[each.at["prompt"], each.at["position"]]


def test_peak_of_nothing():
    ds = single()
    ds["effect"][:] = np.nan
    assert peak(ds) is None and "no finite effect" in describe(ds)
    assert (
        describe(stamp(xr.Dataset(), RECORD)) == "Activation patching, smollm2, resid_pre, denoise, logit_diff, exact"
    )


def test_describe_says_what_where_and_how():
    ds = single()
    ds["effect"][3, 2] = 7.5
    ds["normalized"][3, 2] = 0.75
    lines = describe(ds).splitlines()
    assert lines[0] == "Activation patching, smollm2, resid_pre, denoise, logit_diff, exact, 4 layers × 16 positions"
    assert lines[1] == 'Peak: effect +7.5 at layer 3, position 2, token "\\n" (corrupted "\\""); normalized +0.75'
    assert repr(ds).startswith(describe(ds)) and "<xarray.Result>" in repr(ds)
    many = describe(batch())
    assert "mean over 3 prompts" in many and "Partial" not in many


def test_describe_says_that_a_run_ended_early():
    ds = single()
    for name in ("value", "effect", "normalized"):
        ds[name][:1] = np.nan
    ds = stamp(ds, RECORD | {"status": "partial"})
    assert "3 of 4 layers" in describe(ds) and "3 of 4 layers" in ds._repr_html_()


@pytest.mark.parametrize(
    "make",
    [
        single,
        batch,
        lambda: single().isel(layer=1),
        lambda: single().isel(layer=1).drop_vars(["layer"]),
        lambda: batch().isel(prompt=[0]),
        lambda: single().rename(position="head").drop_vars(["token_clean", "token_corrupted"]),
        lambda: single().expand_dims(head=[0, 1, 2]).copy(deep=True),
        lambda: single(tokens=["a", "b"]).assign_coords(position=["subject", "last"]),
        lambda: stamp(
            xr.Dataset({"mean": ("layer", [0.1, 0.2]), "low": ("layer", [0.0, 0.1])}, {"layer": [3, 4]}),
            {"kind": "summary"},
        ),
    ],
)
def test_the_plot_line_runs_and_draws(make):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    result = make()
    code = next(line for line in describe(result).splitlines() if line.startswith("Plot: ")).removeprefix("Plot: ")
    plt.figure()
    try:
        eval(code, {"result": result})
        axes = plt.gcf().axes[0]
        assert axes.collections or axes.images or axes.lines
    finally:
        plt.close("all")
    assert len(eval("result.mnemoscope.table()", {"result": result})) == np.prod(list(result.sizes.values()))


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen, self.text = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        assert not any(name.startswith("on") for name, _ in attrs)

    def handle_data(self, data):
        self.text.append(data)


def test_html_escapes_tokens_and_brings_no_colours_of_its_own():
    ds = single(tokens=["a", "<script>alert(1)</script>", "<img src=x onerror=alert(1)>"])
    ds["effect"][0, 1] = 99.0
    ds = stamp(ds, RECORD | {"model": {"name": "<script>m</script>"}, "kind": "<b>"})
    page = _Tags()
    page.feed(ds._repr_html_())
    assert "script" not in page.seen and "img" not in page.seen and "b" not in page.seen
    assert "<script>alert(1)</script>" in "".join(page.text)  # shown as text
    head = ds._repr_html_().split("</div></div>")[0]
    assert (
        head.startswith("""<div class="mathjax_ignore tex2jax_ignore"><div class='mnemoscope-result'""")
        and "#" not in head
        and "rgb" not in head
    )
    assert head.count("color:inherit") == 3 and "Peak" in head and "result.effect.plot" in head


def test_repr_survives_a_broken_record_and_the_text_style():
    ds = single()
    ds.attrs["mnemoscope"] = "{"
    assert "without a Mnemoscope record" in repr(ds)
    ds.attrs["mnemoscope"] = json.dumps({"schema": 1, "kind": "patch", "status": "complete", "call": [], "model": 3})
    assert "Activation patching" in repr(ds) and "Activation patching" in ds._repr_html_()
    with xr.set_options(display_style="text"):
        assert ds._repr_html_().startswith('<div class="mathjax_ignore tex2jax_ignore"><pre>Activation patching')


def test_result_through_xarray_operations():
    ds = single()
    plain = xr.Dataset(data_vars=ds.data_vars, coords=ds.coords, attrs=ds.attrs)
    assert type(plain) is xr.Dataset and ds.identical(plain) and plain.identical(ds)
    keep = [
        ds.sel(layer=1),
        ds.isel(layer=[0]),
        ds.mean("layer"),
        ds.copy(),
        ds + 1,
        ds[["effect"]],
        ds.assign(x=1),
        pickle.loads(pickle.dumps(ds)),
        ds.rename(effect="e"),
        ds.load(),
    ]
    lose = [ds + ds, ds.where(ds.effect > 0), xr.merge([ds])]
    for out in keep + lose:
        assert isinstance(out, xr.Dataset) and repr(out) and out._repr_html_()
        assert ("layer" in out.mnemoscope.describe()) == ("layer" in out.sizes)
    assert all(type(out) is Result for out in keep) and all(type(out) is xr.Dataset for out in lose)
    xr.testing.assert_identical(pickle.loads(pickle.dumps(ds)), ds)


def test_accessor(tmp_path):
    ds = batch()
    assert ds.mnemoscope.provenance == provenance(ds) and ds.mnemoscope.describe() == describe(ds) == repr(
        ds.mnemoscope
    )
    assert open_result(ds.mnemoscope.save(tmp_path / "a.zarr")).identical(ds)


def test_table_against_a_loop():
    ds = batch()
    frame = ds.mnemoscope.table()
    assert list(frame.columns)[:6] == ["prompt", "layer", "position", "token_clean", "token_corrupted", "effect"]
    assert len(frame) == 3 * 4 * 5
    for row in frame.sample(20, random_state=0).itertuples():
        at = (row.prompt, row.layer, row.position)
        assert row.token_clean == ds.token_clean.values[row.prompt, row.position]
        np.testing.assert_equal([row.effect, row.clean], [ds.effect.values[at], ds.clean.values[row.prompt]])
    assert len(table(ds.isel(prompt=0, layer=0, position=0))) == 1


def test_the_lines_of_a_result_one_after_another():
    ds = batch()
    lines = list(ds.itertuples())
    assert len(lines) == 3 * 4 * 5
    for line in lines:
        at = (line.prompt, line.layer, line.position)
        np.testing.assert_equal([line.effect, line.clean], [ds.effect.values[at], ds.clean.values[line.prompt]])
    (one,) = ds.isel(prompt=0, layer=0, position=0).itertuples()
    assert one.effect == ds.effect.values[0, 0, 0]


# -- round trips ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        single,
        batch,
        lambda: single(tokens=["a"]),
        lambda: single(tokens=["", ""]),
        lambda: single(tokens=["a", "b"]).assign_coords(position=["subject\n", "last"]),
        lambda: single().assign(flag=("layer", [True, False, True, True]), n=("layer", [1, 2, 3, 2**60])),
        lambda: single().isel(layer=0),
        lambda: single().isel(layer=slice(0, 0)),
        lambda: single().astype(np.float16).pipe(stamp, RECORD),
    ],
)
def test_round_trip_without_a_warning(tmp_path, make):
    ds = make()
    before = ds.copy(deep=True)
    half = ds["effect"].dtype == np.float16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for path in (save(ds, tmp_path / "a.zarr"), export(ds, tmp_path / "a.nc")):
            back = open_result(path)
            assert type(back) is Result and back.attrs == ds.attrs
            if half and path.suffix == ".nc":  # NetCDF has no float16; float32 holds the same values
                assert back["effect"].dtype == np.float32
                back = back.map(lambda array: array.astype(np.float16))
            xr.testing.assert_identical(back, ds)
            for name in ds.variables:
                if ds[name].dtype.kind in "biuf":
                    assert back[name].dtype == ds[name].dtype
                else:
                    assert back[name].values.tolist() == ds[name].values.tolist()
    assert ds.identical(before)
    assert left(tmp_path) == ["a.nc", "a.zarr"]


def test_plain_readers_see_the_same(tmp_path):
    ds = single()
    save(ds, tmp_path / "a.zarr")
    export(ds, tmp_path / "a.nc")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_xarray = xr.open_zarr(tmp_path / "a.zarr").load()
        group = zarr.open_group(tmp_path / "a.zarr", mode="r")
        with xr.open_dataset(tmp_path / "a.nc") as opened:
            by_netcdf = opened.load()
    assert by_xarray.identical(xr.Dataset(data_vars=ds.data_vars, coords=ds.coords, attrs=ds.attrs))
    assert group["token_clean"][...].tolist() == TOKENS and dict(group.attrs)["mnemoscope"] == ds.attrs["mnemoscope"]
    np.testing.assert_array_equal(group["value"][...], ds.value.values)
    np.testing.assert_array_equal(by_netcdf.value.values, ds.value.values)
    # other readers of NetCDF see text up to a NUL; lens.open sees all of it
    assert by_netcdf.token_clean.values.tolist() == [token.split("\0")[0] for token in TOKENS]
    assert json.loads(by_netcdf.attrs["mnemoscope"])["call"]["heads"] is None


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.sampled_from(TOKENS)
floats = st.floats(width=64) | st.sampled_from([np.nan, np.inf, -0.0, 5e-324])


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(texts, min_size=1, max_size=6), st.lists(floats, min_size=1, max_size=4), st.text(max_size=5))
def test_any_text_and_float_round_trips(tokens, numbers, word):
    data = np.array(numbers)[:, None] * np.ones(len(tokens))
    ds = xr.Dataset(
        {"effect": (("layer", "position"), data)}, {"token_clean": ("position", np.array(tokens, dtype=object))}
    )
    ds = stamp(ds, {"kind": "patch", "word": word})
    with tempfile.TemporaryDirectory() as folder:
        for path in (save(ds, Path(folder, "a.zarr")), export(ds, Path(folder, "a.nc"))):
            back = open_result(path)
            assert back.token_clean.values.tolist() == tokens and back.token_clean.dims == ("position",)
            there = ~np.isnan(data)  # bit for bit, but for which NaN it is
            np.testing.assert_array_equal(np.isnan(back.effect.values), ~there)
            assert back.effect.values[there].tobytes() == data[there].tobytes()
            assert provenance(back)["word"] == word
        frame = pd.read_parquet(export(ds, Path(folder, "a.parquet")))
        assert frame.token_clean.tolist() == tokens * len(numbers)
        with open(export(ds, Path(folder, "a.csv")), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert [row["token_clean"] for row in rows] == tokens * len(numbers)
        np.testing.assert_array_equal([float(row["effect"] or "nan") for row in rows], data.ravel())


@pytest.mark.parametrize(
    "change, words",
    [
        (
            lambda ds: ds.assign_coords(token_clean=("position", np.array(["a", None], dtype=object))),
            "token_clean.*(None|nan) at flat index 1.*fillna",
        ),
        (lambda ds: ds.assign_coords(token_clean=("position", np.array(["a", "\ud83d"]))), "surrogate"),
        (lambda ds: ds.assign(when=("position", np.array(["2020", "2021"], dtype="datetime64[ns]"))), "datetime64"),
        (lambda ds: ds.assign(z=("position", np.array([1j, 2]))), "complex128"),
        (lambda ds: ds.stack(cell=("layer", "position")), "MultiIndex.*reset_index"),
        (lambda ds: ds.drop_attrs(), "lens.results.stamp"),
    ],
)
def test_save_refuses_what_a_result_cannot_hold(tmp_path, change, words):
    ds = change(single(tokens=["a", "b"]))
    for write in (
        lambda: save(ds, tmp_path / "a.zarr"),
        lambda: export(ds, tmp_path / "a.nc"),
        lambda: export(ds, tmp_path / "a.csv"),
    ):
        with pytest.raises(ResultError, match=words):
            write()
    assert left(tmp_path) == []


# -- paths, overwriting, failures -----------------------------------------------------------------------------------


def test_overwrite_must_be_asked_for_and_replaces_only_results(tmp_path):
    first, second = single(seed=1), single(layers=2, seed=2)
    path = save(first, str(tmp_path / "new" / "folder" / "a.zarr"))
    assert path == tmp_path / "new" / "folder" / "a.zarr"
    with pytest.raises(ResultError, match=f"{path}.*overwrite=True"):
        save(second, path)
    assert open_result(path).identical(first)
    save(second, path, overwrite=True)
    assert open_result(path).identical(second) and left(path.parent) == ["a.zarr"]

    mine = tmp_path / "thesis.zarr"
    mine.mkdir()
    (mine / "chapter").write_text("x")
    (tmp_path / "file.zarr").write_text("x")
    for taken in (mine, tmp_path / "file.zarr"):
        with pytest.raises(ResultError, match="leaves it alone"):
            save(first, taken, overwrite=True)
    assert (mine / "chapter").read_text() == "x" and (tmp_path / "file.zarr").read_text() == "x"


def test_paths_are_checked(tmp_path, monkeypatch):
    with pytest.raises(ResultError, match=r"ends in '.json'; expected .zarr.*lens.export"):
        save(single(), tmp_path / "a.json")
    with pytest.raises(ResultError, match=r"'.xlsx'; expected .nc, .csv, .parquet"):
        export(single(), tmp_path / "a.xlsx")
    with pytest.raises(ResultError, match="without NUL"):
        save(single(), "a\0.zarr")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResultError, match="file.*b.zarr"):
        save(single(), tmp_path / "file" / "b.zarr")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert save(single(), "~/[a]*.zarr") == tmp_path / "[a]*.zarr"
    monkeypatch.chdir(tmp_path)
    assert open_result("[a]*.zarr").identical(single())


def _exhaust(monkeypatch, after):
    """Let ``after`` files of a Zarr folder through, then fail as a full disk does."""
    real, count = zarr.storage._local._put, iter(range(10**6))

    def put(path, *args, **kwargs):
        if next(count) >= after:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return real(path, *args, **kwargs)

    monkeypatch.setattr(zarr.storage._local, "_put", put)


@pytest.mark.parametrize("make", [save, Store])
def test_writes_still_under_way_when_one_fails_leave_nothing_behind(tmp_path, monkeypatch, make):
    """Zarr writes several files at once: here one fails while one beside it is still being written."""
    real, lock, under_way, late = zarr.storage._local._put, threading.Lock(), [], []

    def put(path, *args, **kwargs):
        with lock:
            under_way.append(path)
            beside = len(under_way) > 1
        if beside:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        time.sleep(0.1)
        late.append(path)
        under_way.remove(path)
        return real(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.storage._local, "_put", put)
        with pytest.raises(ResultError, match="disk is full"):
            save(single(), tmp_path / "a.zarr") if make is save else Store(tmp_path / "a.zarr", single())
        there, seen = left(tmp_path), len(late)
        time.sleep(0.5)
    assert (there, left(tmp_path), len(late)) == ([], [], seen)


@pytest.mark.parametrize("how", ["full disk", "ctrl-c"])
def test_a_late_write_of_a_region_arrives_before_the_next(tmp_path, monkeypatch, how):
    made = Store(tmp_path / "s.zarr", single(seed=1))
    real, count = zarr.storage._local._put, iter(range(10**6))

    def put(path, *args, **kwargs):
        if next(count) == 0:
            if how == "full disk":
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)
        return real(path, *args, **kwargs)

    handler = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # a process in the background may have been started without
    try:
        with monkeypatch.context() as patch:
            patch.setattr(zarr.storage._local, "_put", put)
            with pytest.raises(
                ResultError if how == "full disk" else KeyboardInterrupt,
                match="disk is full" if how == "full disk" else None,
            ):
                made.write(single(seed=1) * 0)
    finally:
        signal.signal(signal.SIGINT, handler)
    made.write(single(seed=1))
    time.sleep(0.5)
    assert made.load().identical(single(seed=1))


@pytest.mark.parametrize("after", [0, 1, 7, 20])
def test_full_disk_while_saving(tmp_path, monkeypatch, after):
    with monkeypatch.context() as patch:
        _exhaust(patch, after)
        with pytest.raises(ResultError, match="a.zarr.*disk is full.*free some space") as caught:
            save(single(), tmp_path / "made" / "a.zarr")
        assert caught.value.errno == errno.ENOSPC and isinstance(caught.value, OSError)
    assert left(tmp_path) == []
    save(single(seed=1), tmp_path / "a.zarr")
    with monkeypatch.context() as patch:
        _exhaust(patch, after)
        with pytest.raises(ResultError, match="disk is full"):
            save(single(seed=2), tmp_path / "a.zarr", overwrite=True)
    assert open_result(tmp_path / "a.zarr").identical(single(seed=1)) and left(tmp_path) == ["a.zarr"]


def test_the_classic_form_of_netcdf_holds_the_same_in_less_space(tmp_path):
    ds = single()
    large, small = export(ds, tmp_path / "a.nc"), export(ds, tmp_path / "b.nc", classic=True)
    assert small.read_bytes()[:3] == b"CDF" and small.stat().st_size < large.stat().st_size - 4000
    back, plain = open_result(small), open_result(large)
    assert provenance(back) == provenance(ds) and set(back.variables) == set(plain.variables)
    for name in plain.variables:
        np.testing.assert_array_equal(back[name].values, plain[name].values, err_msg=name)


@pytest.mark.parametrize("name", ["a.zarr", "a.nc", "a.csv", "a.parquet"])
def test_a_real_write_error_leaves_nothing(tmp_path, name):
    """The kernel refuses to let any file grow past 512 bytes, as a quota does."""
    ds = single(layers=30)
    export(ds, tmp_path / "warm.parquet")  # imports write caches
    os.remove(tmp_path / "warm.parquet")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, limit[1]))
        with pytest.raises(ResultError) as caught:
            (save if name == "a.zarr" else export)(ds, tmp_path / name)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, before)
    assert (
        str(tmp_path / name) in str(caught.value)
        and "raise the limit" in str(caught.value)
        and caught.value.errno == errno.EFBIG
    )
    assert left(tmp_path) == []


@contextlib.contextmanager
def read_only():
    """A folder that this process may not write to (root drops to another user for the while)."""
    folder = tempfile.mkdtemp(prefix="mnemoscope-", dir="/tmp")
    save(single(), Path(folder, "old.zarr"))
    root = os.geteuid() == 0
    os.chmod(folder, 0o555)
    if root:
        os.seteuid(65534)
    try:
        yield Path(folder)
    finally:
        if root:
            os.seteuid(0)
        os.chmod(folder, 0o755)
        shutil.rmtree(folder)


def test_read_only_folder():
    with read_only() as folder:
        for write in (
            lambda: save(single(seed=3), folder / "a.zarr"),
            lambda: save(single(seed=3), folder / "sub" / "a.zarr"),
            lambda: save(single(seed=3), folder / "old.zarr", overwrite=True),
            lambda: export(single(), folder / "a.nc"),
            lambda: export(single(), folder / "a.csv"),
            lambda: Store(folder / "s.zarr", single()),
        ):
            with pytest.raises(
                ResultError, match=f"{folder}.*cannot be written to; choose a folder that you may write to"
            ):
                write()
        assert open_result(folder / "old.zarr").identical(single()) and left(folder) == ["old.zarr"]


def test_ctrl_c_while_saving_passes_through_and_leaves_nothing(tmp_path, monkeypatch):
    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "flush", stop)
    with pytest.raises(KeyboardInterrupt):
        save(single(), tmp_path / "a.zarr")
    assert left(tmp_path) == []


def _child(folder, ds, body, **names) -> Child:
    """A process in ``folder`` that runs ``body`` with ``ds`` at hand."""
    source = folder.parent / f"{folder.name}-source.zarr"
    if not source.exists():
        save(ds, source)
    return Child(folder, source, body, **names)


def _killed(folder, ds, body) -> None:
    assert _child(folder, ds, body).ended() == -signal.SIGKILL


KILL = "lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    "moment, expected",
    [
        ("files.flush = " + KILL, 1),  # before the old one is moved aside
        (
            (
                "real = os.rename\nos.rename = lambda a, b: real(a, b) if '.previous' in str(b) else"
                " os.kill(os.getpid(), signal.SIGKILL)"
            ),
            1,
        ),
        (
            (
                "files.discard = lambda p: os.kill(os.getpid(), signal.SIGKILL) if p.name.endswith('.previous') and"
                " p.exists() else None"
            ),
            2,
        ),  # renamed, old one not yet deleted
    ],
)
def test_a_killed_overwrite_leaves_the_old_or_the_new(tmp_path, moment, expected):
    path = save(single(seed=1), tmp_path / "a.zarr")
    _killed(tmp_path, single(seed=2), f"{moment}\nsaving.save(ds, 'a.zarr', overwrite=True)")
    assert open_result(path).identical(single(seed=expected))
    with pytest.raises(ResultError, match="overwrite=True"):
        save(single(seed=3), path)
    save(single(seed=3), path, overwrite=True)
    assert open_result(path).identical(single(seed=3))
    assert left(tmp_path) == ["a.zarr"], "what the killed process left belongs to nobody any more"


# -- what open refuses ----------------------------------------------------------------------------------------------


def _edit_root(path, change):
    root = json.loads((path / "zarr.json").read_text())
    change(root)
    (path / "zarr.json").write_text(json.dumps(root))


def _set_record(path, **change):
    def edit(root):
        root["attributes"]["mnemoscope"] = json.dumps(json.loads(root["attributes"]["mnemoscope"]) | change)

    _edit_root(path, edit)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda p: shutil.rmtree(p), "does not exist"),
        (lambda p: (shutil.rmtree(p), p.write_text("x")), "is a file"),
        (lambda p: (p / "zarr.json").unlink(), "no zarr.json"),
        (lambda p: (p / "zarr.json").write_text("{"), "damaged"),
        (lambda p: (p / "zarr.json").write_text("[]"), "damaged"),
        (lambda p: _edit_root(p, lambda r: r["attributes"].clear()), "not a Mnemoscope result.*xarray.open_zarr"),
        (lambda p: _edit_root(p, lambda r: r.pop("consolidated_metadata")), "incomplete"),
        (lambda p: _set_record(p, schema=2), "schema=2.*newer.*upgrade"),
        (lambda p: _set_record(p, schema="x"), "schema='x'"),
        (lambda p: _set_record(p, kind=None), "kind=None"),
        (lambda p: shutil.rmtree(p / "effect"), "incomplete.*effect"),
        (lambda p: shutil.rmtree(p / "token_clean" / "c"), "incomplete.*token_clean"),
        (lambda p: (p / "effect" / "c" / "0" / "0").write_bytes(b""), "damaged"),
        (lambda p: _flip(p / "effect" / "c" / "0" / "0"), "damaged"),
        (lambda p: _flip(p / "token_clean" / "c" / "0"), "damaged"),
    ],
)
def test_open_refuses(tmp_path, damage, words):
    path = save(single(), tmp_path / "a.zarr")
    damage(path)
    with pytest.raises(ResultError, match=words) as caught:
        open_result(path)
    assert str(path) in str(caught.value)


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_open_refuses_foreign_files(tmp_path):
    xr.Dataset({"x": ("t", [1.0])}).to_zarr(tmp_path / "other.zarr", zarr_format=2)
    xr.Dataset({"x": ("t", [1.0])}).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "broken.nc").write_bytes(b"CDF garbage")
    for name, words in {
        "other.zarr": "no zarr.json",
        "other.nc": "no attribute 'mnemoscope'",
        "broken.nc": "cannot be read as NetCDF",
        "none.nc": "does not exist",
        "a.csv": "pandas",
    }.items():
        with pytest.raises(ResultError, match=words):
            open_result(tmp_path / name)


def test_partial_results_open(tmp_path):
    ds = stamp(single(), RECORD | {"status": "partial"})
    assert open_result(save(ds, tmp_path / "a.zarr")).identical(ds)
    assert describe(open_result(tmp_path / "a.zarr")).splitlines()[1].startswith("Partial: ")


# -- exports --------------------------------------------------------------------------------------------------------


def test_csv_with_its_record(tmp_path):
    ds = single()
    path = export(ds, tmp_path / "a.csv")
    frame = pd.read_csv(path, keep_default_na=False, na_values={"value": [""]})
    np.testing.assert_array_equal(frame.value, ds.value.values.ravel())
    np.testing.assert_array_equal(frame.effect, ds.effect.values.ravel())
    assert frame.token_clean.tolist() == TOKENS * 4
    beside = json.loads((tmp_path / "a.csv.json").read_text())
    assert beside["mnemoscope"] == provenance(ds) and beside["file"] == "a.csv"
    assert beside["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert left(tmp_path) == ["a.csv", "a.csv.json"]


def test_parquet_with_its_record(tmp_path):
    import pyarrow.parquet as pq

    ds = batch()
    path = export(ds, tmp_path / "a.parquet")
    schema = pq.read_schema(path)
    assert json.loads(schema.metadata[b"mnemoscope"]) == provenance(ds)
    frame = pd.read_parquet(path)
    pd.testing.assert_frame_equal(frame, ds.mnemoscope.table(), check_dtype=False)
    assert frame.effect.dtype == np.float32 and frame.token_clean[0] == " t00"


@pytest.mark.parametrize("suffix", [".nc", ".csv", ".parquet"])
def test_export_overwrites_only_when_asked(tmp_path, suffix):
    path = export(single(seed=1), tmp_path / f"a{suffix}")
    before = path.read_bytes()
    with pytest.raises(ResultError, match=f"a{suffix}.*overwrite=True"):
        export(single(seed=2), path)
    assert path.read_bytes() == before
    export(single(seed=2), path, overwrite=True)
    assert path.read_bytes() != before
    (tmp_path / f"folder{suffix}").mkdir()
    with pytest.raises(ResultError, match="is a folder"):
        export(single(), tmp_path / f"folder{suffix}", overwrite=True)


# -- stores ---------------------------------------------------------------------------------------------------------


def test_store_region_by_region(tmp_path):
    ds = batch()
    path = tmp_path / "s.zarr"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = Store(path, ds)
        assert made.regions == {"prompt": 1, "layer": 1} and len(made.pending()) == 12 and left(tmp_path) == ["s.zarr"]
        assert made.pending()[1] == {"prompt": slice(0, 1), "layer": slice(1, 2)}
        empty = open_result(path)
        assert provenance(empty)["status"] == "partial" and np.isnan(empty.effect).all() and "done" not in empty
        assert empty.token_clean.values.tolist() == ds.token_clean.values.tolist()
        made.write(ds.isel(prompt=1, layer=3))  # single labels
        made.write(ds.isel(prompt=[2, 0], layer=[2, 1]))  # several regions, in any order
    half = made.load()
    known = np.zeros((3, 4), bool)
    known[1, 3] = known[0, 1:3] = known[2, 1:3] = True
    assert made.done.values.tolist() == known.tolist() and made.done.dims == ("prompt", "layer")
    np.testing.assert_array_equal(half.effect, np.where(known[:, :, None], ds.effect, np.nan))
    np.testing.assert_array_equal(half.clean, ds.clean)
    assert half.effect.dtype == np.float32 and provenance(half)["status"] == "partial" and type(half) is Result
    raw = zarr.open_group(path, mode="r")  # as another program sees it
    np.testing.assert_array_equal(raw["done"][...], known)
    np.testing.assert_array_equal(raw["effect"][...], half.effect)

    again = Store(path, ds)  # resumes
    assert again.pending() == made.pending() and len(again.pending()) == 7
    for region in again.pending():
        again.write(ds.isel(region))
    assert (
        again.load().identical(ds)
        and open_result(path).identical(ds)
        and again.pending() == []
        and "12 of 12" in repr(again)
    )


def test_store_with_regions_of_several_cells(tmp_path):
    ds = single(layers=7)
    made = Store(tmp_path / "s.zarr", ds, regions={"layer": 3})
    assert made.pending() == [{"layer": slice(0, 3)}, {"layer": slice(3, 6)}, {"layer": slice(6, 7)}]
    assert zarr.open_array(tmp_path / "s.zarr", path="effect").chunks == (3, 16)
    for bad in (slice(0, 2), slice(1, 4), [0, 2, 4], slice(3, 5)):
        with pytest.raises(ResultError, match=r"not whole regions; a region is 3 layer"):
            made.write(ds.isel(layer=bad))
    made.write(ds.isel(layer=[6]))
    made.write(ds.isel(layer=slice(0, 6)))
    assert made.load().identical(ds)


def test_store_refuses_parts_that_do_not_fit(tmp_path):
    ds = single()
    made = Store(tmp_path / "s.zarr", ds.astype(np.float32).pipe(stamp, RECORD))
    part = ds.isel(layer=[1]).astype(np.float32)
    for bad, words in [
        (part.assign_coords(layer=[9]), r"layer=\[9\].*\[0, 1, 2, 3\]"),
        (part.drop_vars("effect"), "lacks the variable 'effect'"),
        (part.drop_vars("layer"), "no coordinate 'layer'"),
        (part.isel(position=slice(0, 3)), "axis 'position'.*16 labels"),
        (part.assign_coords(position=part.position + 1), "axis 'position'"),
        (ds.isel(layer=[1]), "float64.*float32.*lose"),
        (part.rename(position="head"), "axes"),
    ]:
        with pytest.raises(ResultError, match=words):
            made.write(bad)
    assert len(made.pending()) == 4
    made.write(part.drop_vars(["clean", "corrupted"]))
    assert len(made.pending()) == 3


@pytest.mark.parametrize(
    "regions, change, words",
    [
        ({"banana": 1}, None, "banana"),
        ({"layer": 0}, None, r"regions\['layer'\]=0"),
        ({"layer": True}, None, "True"),
        ({}, None, "regions={}"),
        (3, None, "regions=3"),
        (None, lambda ds: ds.rename(layer="depth"), "axes"),
        (None, lambda ds: ds.assign(n=("layer", [1, 2, 3, 4])), "'n' is int64"),
        (None, lambda ds: ds.assign(done=1.0), "'done'"),
        (None, lambda ds: ds.isel(position=slice(0, 0)), "no cells"),
        (None, lambda ds: ds.drop_attrs(), "lens.results.stamp"),
        (None, lambda ds: ds.assign_coords(layer=[0, 0, 1, 2]), "unique"),
    ],
)
def test_store_refuses_templates(tmp_path, regions, change, words):
    ds = (change or (lambda ds: ds))(single())
    with pytest.raises(ResultError, match=words):
        Store(tmp_path / "s.zarr", ds, regions=regions)
    assert left(tmp_path) == []


def test_store_refuses_another_sweep_and_lists_what_changed(tmp_path):
    ds = single()
    made = Store(tmp_path / "s.zarr", ds)
    made.write(ds.isel(layer=[0]))
    same = RECORD | {
        "started": "later",
        "seconds": 99,
        "versions": {"torch": "3"},
        "engine": "stock",
        "model": RECORD["model"] | {"device": "cuda", "name": "./copy"},
    }
    assert len(Store(tmp_path / "s.zarr", stamp(ds, same)).pending()) == 3
    other = RECORD | {
        "seed": 7,
        "call": RECORD["call"] | {"direction": "noise"},
        "model": RECORD["model"] | {"hash": "ff"},
        "pairs": [RECORD["pairs"][0] | {"clean": "Other"}],
    }
    with pytest.raises(ResultError) as caught:
        Store(tmp_path / "s.zarr", single(layers=3, record=other))
    for line in (
        "call.direction: 'denoise' -> 'noise'",
        "seed: 0 -> 7",
        "model.hash: 'ab12' -> 'ff'",
        "pairs[0].clean: 'When John\\n😀' -> 'Other'",
        "grid.labels.layer: 4 entries -> 3 entries",
    ):
        assert line in str(caught.value)
    assert str(tmp_path / "s.zarr") in str(caught.value)
    with pytest.raises(ResultError, match=r"grid.labels.token_clean\[0\]: 'When' -> 'Then'"):
        Store(tmp_path / "s.zarr", single(tokens=["Then", *TOKENS[1:]]))
    with pytest.raises(ResultError, match=r"grid.regions.layer: 1 -> 2"):
        Store(tmp_path / "s.zarr", ds, regions={"layer": 2})
    save(ds, tmp_path / "finished.zarr")
    with pytest.raises(ResultError, match="not a store to write to"):
        Store(tmp_path / "finished.zarr", ds)
    assert open_result(tmp_path / "finished.zarr").identical(ds) and len(made.pending()) == 3


def test_store_stamp(tmp_path):
    ds = single(layers=2)
    made = Store(tmp_path / "s.zarr", ds)
    with pytest.raises(ResultError, match="2 regions pending"):
        made.stamp(RECORD)
    made.write(ds)
    with pytest.raises(ResultError, match="seed: 0 -> 1"):
        made.stamp(RECORD | {"seed": 1})
    made.stamp(RECORD | {"seconds": 12.5})
    assert (
        provenance(open_result(made.path))["seconds"] == 12.5
        and provenance(xr.open_zarr(made.path))["status"] == "complete"
    )
    assert Store(made.path, ds).pending() == []


def test_store_on_a_full_disk_keeps_the_region_pending(tmp_path, monkeypatch):
    ds = single()
    made = Store(tmp_path / "s.zarr", ds)
    made.write(ds.isel(layer=[0]))
    for after in (0, 1, 3):
        with monkeypatch.context() as patch:
            _exhaust(patch, after)
            with pytest.raises(ResultError, match="s.zarr.*disk is full"):
                made.write(ds.isel(layer=[1]))
        assert made.pending()[0] == {"layer": slice(1, 2)} and np.isnan(made.load().effect[1]).all()
    with monkeypatch.context() as patch:
        _exhaust(patch, 3)
        with pytest.raises(ResultError, match="disk is full"):
            Store(tmp_path / "t.zarr", ds)
    assert left(tmp_path) == ["s.zarr"]
    for region in made.pending():
        made.write(ds.isel(region))
    assert made.load().identical(ds)


def test_a_store_killed_in_a_write_recomputes_that_region(tmp_path):
    """The process dies between the data of layer 2 and its flag; the data on disk are deliberately wrong."""
    ds = single()
    _killed(
        tmp_path,
        ds,
        f"""
made = Store("s.zarr", ds)
made.write(ds.isel(layer=[3]))
made._mark = {KILL}
made.write(ds.isel(layer=[2]) + 1000)
""",
    )
    assert (zarr.open_array(tmp_path / "s.zarr", path="effect", mode="r")[2] > 900).all()  # the data did arrive
    partial = open_result(tmp_path / "s.zarr")
    assert np.isnan(partial.effect[2]).all() and partial.effect[3].identical(ds.effect[3])
    again = Store(tmp_path / "s.zarr", ds)
    assert [r["layer"].start for r in again.pending()] == [0, 1, 2]
    for region in again.pending():
        again.write(ds.isel(region))
    assert again.load().identical(ds)


def test_two_processes_fill_one_store_and_one_is_killed(tmp_path):
    """Both make the store and write their half; the parent kills one at an arbitrary moment and finishes its half."""
    ds = single(layers=60)
    body = """
made = Store("s.zarr", ds)
for layer in range(begin, 60, 2):
    made.write(ds.isel(layer=[layer]))
    say(layer)
"""
    first, second = (_child(tmp_path, ds, body, begin=begin) for begin in (0, 1))
    assert [first.heard() for _ in range(3)] == [0, 2, 4]
    time.sleep(0.013)
    first.kill()
    assert (first.ended(), second.ended()) == (-signal.SIGKILL, 0)
    made = Store(tmp_path / "s.zarr", ds)
    missing = [r["layer"].start for r in made.pending()]
    assert missing and all(layer % 2 == 0 for layer in missing) and 0 not in missing
    known = made.done.values
    partial = made.load()
    np.testing.assert_array_equal(partial.effect, np.where(known[:, None], ds.effect, np.nan))
    for region in made.pending():
        made.write(ds.isel(region))
    assert made.load().identical(ds) and left(tmp_path) == ["s.zarr"]


def test_a_store_that_lost_a_chunk_is_refused(tmp_path):
    ds = single()
    ds["effect"][1] = np.nan  # an all-NaN region is a file like any other
    made = Store(tmp_path / "s.zarr", ds)
    made.write(ds)
    assert made.load().identical(ds)
    (tmp_path / "s.zarr" / "effect" / "c" / "1" / "0").unlink()
    with pytest.raises(ResultError, match="incomplete.*effect"):
        made.load()


def test_modules_do_not_import_jupyter_or_plotting(tmp_path):
    child = Child(tmp_path, None, "import lens.results.dataset\nsay(sorted(sys.modules))")
    modules = child.heard()
    assert child.ended() == 0 and {"lens.results.dataset", "lens.results.saving", "lens.results.store"} <= {*modules}
    assert not {"IPython", "ipywidgets", "matplotlib.pyplot", "plotly"} & {*modules}
