"""Titles of kinds of result: named by who makes the kind, told without it."""

import json
import subprocess
import sys

import pytest
import xarray as xr

import lens
from lens.results import titles
from lens.results.dataset import describe, fingerprint, provenance, stamp
from lens.results.saving import save

DATA = xr.Dataset({"effect": ("layer", [0.25, -1.0])}, {"layer": [0, 1]})


def first(ds):
    return describe(ds).splitlines()[0]


@pytest.fixture
def own(monkeypatch):
    monkeypatch.setattr(titles, "_registered", {})


def test_a_kind_of_ones_own_has_the_title_that_it_was_given(own):
    assert first(stamp(DATA, {"kind": "echo"})).startswith('Result of kind "echo"')
    assert titles.register("echo", "Echoes of a prompt") == "echo" == titles.register("echo", "Echoes of a prompt")
    assert first(stamp(DATA, {"kind": "echo"})).startswith("Echoes of a prompt, 2 layers")


def test_a_title_travels_with_the_result(own, monkeypatch, tmp_path):
    titles.register("echo", "Echoes of a prompt")
    path = save(stamp(DATA, {"kind": "echo"}), tmp_path / "echo.zarr")
    monkeypatch.setattr(titles, "_registered", {})
    assert first(lens.open(path)).startswith("Echoes of a prompt")
    # a result of another kind that is made of it is not called so
    other = stamp(DATA, lens.record(lens.open(path)) | {"kind": "echo summary"})
    assert first(other).startswith('Result of kind "echo summary"') and titles.ENTRY not in provenance(other)
    assert first(stamp(DATA, lens.record(other) | {"kind": "patch"})).startswith("Activation patching")


def test_a_title_is_no_part_of_what_was_computed(own):
    before = fingerprint(provenance(stamp(DATA, {"kind": "echo"})))
    titles.register("echo", "Echoes of a prompt")
    assert fingerprint(provenance(stamp(DATA, {"kind": "echo"}))) == before


def test_titles_that_cannot_be_are_refused(own):
    titles.register("echo", "Echoes of a prompt")
    for kind, title, message in (
        ("echo", "Another", "has the title 'Echoes of a prompt' already"),
        ("patch", "Another", "has the title 'Activation patching' already"),
        ("new", "two\nlines", "one line of at most 80"),
        ("new", "x" * 81, "one line of at most 80"),
        ("new", "", "title"),
        (3, "three", "kind"),
    ):
        with pytest.raises(lens.ResultError, match=message):
            titles.register(kind, title)


@pytest.mark.parametrize("held", ["text", {"echo": "a\nb"}, {"echo": 3}, {"echo": "x" * 81}, [], None])
def test_a_files_title_that_is_none_is_passed_over(own, held):
    ds = stamp(DATA, {"kind": "echo"})
    ds.attrs["mnemoscope"] = json.dumps(provenance(ds) | {titles.ENTRY: held})
    assert first(ds).startswith('Result of kind "echo"')


@pytest.mark.long
def test_an_old_file_is_described_without_the_package_that_made_it(tmp_path):
    """Records of earlier versions have no title in them."""
    ds = stamp(DATA, {"kind": "embedding attack"})
    record = {key: value for key, value in provenance(ds).items() if key != titles.ENTRY}
    ds.attrs["mnemoscope"] = json.dumps(record)
    save(ds, tmp_path / "old.zarr")
    code = (
        f"import sys, lens; print(lens.describe(lens.open({str(tmp_path / 'old.zarr')!r})));"
        " print([name for name in sys.modules if name.startswith('lens.diffusion')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Embeddings optimised towards pictures, 2 layers") and done.stdout.endswith("[]\n")


def test_each_kind_has_one_title_and_each_file_is_of_a_package():
    """Two packages that call one kind by two names would show whichever is read last."""
    seen = {}
    for package, own in titles.files():
        assert own, package
        for kind, title in own.items():
            assert isinstance(title, str) and 0 < len(title) <= titles.LONGEST and title.isprintable(), (package, kind)
            assert seen.setdefault(kind, package) == package, kind
    assert {"patch", "logit_lens", "injection", "head effects", "recovery", "recall", "copies"} <= set(seen)
