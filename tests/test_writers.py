"""Who writes, and that it is whole: studies, reports, statistics, factors, lenses, vectors; two runs in one folder."""

import ast
import json
import multiprocessing
import os
import re
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lens
from lens import files, provenance
from lens.reproduce.common import Steps, Tables
from lens.reproduce.records import RECORD, read_record, write_record
from lens.results import dataset as results
from lens.results.errors import ResultError
from tests.test_files import size_limit

CONFIG = {"preset": "tiny", "seeds": list(range(30))}
ROOT = Path(lens.__path__[0]).parent

# -- the one writer

WRITES = {
    "write_text",
    "write_bytes",
    "savefig",
    "to_csv",
    "to_parquet",
    "to_netcdf",
    "save_file",
    "save",
    "savez",
    "savez_compressed",
    "dump",
}
#: Names of what has not its own name yet, or is not on a disk: it is renamed, or written, when it is whole.
UNDER_WAY = {"part", "stage", "ready", "memory"}
#: The writer itself; what makes damaged files on purpose; the fetched model, unpacked in a stage that is renamed; the
#: machine's own counters, which are no files; weights that workers map, under a name that goes with the process.
APART = {
    "lens/files.py": None,
    "benchmarks/_damage.py": None,
    "lens/cache.py": {"open", "write_text"},
    "lens/cluster/weights.py": {"open"},
    "benchmarks/machine.py": {"write_text"},
    "benchmarks/provenance.py": {"open", "write_bytes"},
}


def _written_directly(path: Path) -> list[str]:
    source = path.read_text(encoding="utf-8")
    found = []
    for call in ast.walk(ast.parse(source)):
        if not isinstance(call, ast.Call):
            continue
        name = (
            call.func.attr
            if isinstance(call.func, ast.Attribute)
            else call.func.id
            if isinstance(call.func, ast.Name)
            else ""
        )
        receiver = call.func.value if isinstance(call.func, ast.Attribute) else None
        whose = ast.unparse(receiver) if receiver is not None else ""
        if name == "open":
            given = [
                *(k.value for k in call.keywords if k.arg == "mode"),
                *call.args[int(receiver is None or whose == "os") :],
            ]
            modes = [a.value for a in given if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            writes = any(re.fullmatch(r"[rbt]*[wax+][bt+]*", mode) for mode in modes)
            where = [ast.unparse(a) for a in call.args] + [whose]
        elif name in WRITES:
            writes = bool(call.args) and not (
                name in ("save", "dump") and whose not in ("np", "torch", "json", "numpy")
            )
            where = [ast.unparse(a) for a in call.args] + [whose]
        else:
            continue
        if writes and not any(UNDER_WAY & set(re.findall(r"\w+", text)) for text in where):
            found.append(f"{name} in line {call.lineno}: {ast.unparse(call)[:90]}")
    return found


@pytest.mark.parametrize("folder", ["lens", "widgets", "benchmarks"])
def test_nothing_is_written_past_the_one_writer(folder):
    past = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        allowed = APART.get(name, set())
        if allowed is not None and (
            found := [line for line in _written_directly(path) if line.split(" ")[0] not in allowed]
        ):
            past[name] = found
    assert not past, "write through lens.files (files.write, files.write_json, files.write_tensors, files.replacing)"


def test_the_search_finds_what_it_looks_for(tmp_path):
    bad = [
        'Path("a").write_text("x")',
        'open("a", "w")',
        'open("a", mode="ab")',
        'Path("a").open("wb")',
        "frame.to_csv(path, index=False)",
        'fig.savefig("a.png")',
        "save_file(tensors, path)",
        'torch.save(x, "a")',
        "json.dump(x, file)",
        "np.savez_compressed(file, x=x)",
    ]
    good = [
        'open("a")',
        'open("a", "rb")',
        "frame.to_csv(index=False)",
        "table.to_parquet(index=False)",
        'part.write_text("x")',
        'save_file(tensors, stage / "a")',
        'model.save("a")',
        "json.dumps(x)",
    ]
    for line, expected in [(x, 1) for x in bad] + [(x, 0) for x in good]:
        (tmp_path / "a.py").write_text(line)
        assert len(_written_directly(tmp_path / "a.py")) == expected, line


# -- a study's folder


@pytest.mark.parametrize("at", [0, 20])
def test_a_study_begun_on_a_full_disk_leaves_nothing_and_begins_later(tmp_path, at):
    with size_limit(at), pytest.raises(lens.FileError, match="config.json"):
        Steps(tmp_path / "run", CONFIG)
    assert not os.listdir(tmp_path)
    Steps(tmp_path / "run", CONFIG)
    assert json.loads((tmp_path / "run" / "config.json").read_text()) == CONFIG


def test_a_record_that_does_not_fit_leaves_the_earlier_one(tmp_path):
    write_record(tmp_path, "x", "f", CONFIG, {"a": 1.0})
    before = (tmp_path / RECORD).read_bytes()
    with size_limit(20), pytest.raises(lens.FileError, match=RECORD):
        write_record(tmp_path, "x", "f", CONFIG, {"a": 2.0})
    assert (tmp_path / RECORD).read_bytes() == before and read_record(tmp_path, "x")["numbers"] == {"a": 1.0}


def test_an_empty_configuration_of_an_earlier_full_disk_is_written_anew(tmp_path):
    (tmp_path / "config.json").touch()
    Steps(tmp_path, CONFIG)
    assert json.loads((tmp_path / "config.json").read_text()) == CONFIG


@pytest.mark.parametrize(
    "content, said",
    [
        ("{", "cannot be read"),
        ("[1]", "not a configuration"),
        ('{"preset": "other"}', 'preset: "other" there, "tiny" asked'),
    ],
)
def test_a_folder_with_another_configuration_is_refused(tmp_path, content, said):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ResultError, match=said):
        Steps(tmp_path, CONFIG)
    assert (tmp_path / "config.json").read_text() == content


@pytest.mark.parametrize("empty", [False, True])
@pytest.mark.parametrize("again", range(10))
def test_of_two_configurations_at_once_one_is_refused(tmp_path, empty, again):
    if empty:
        (tmp_path / "config.json").touch()
    ends, begin = [], threading.Barrier(8)

    def start(number):
        begin.wait(10)
        try:
            Steps(tmp_path, {"number": number % 2})
            ends.append((number % 2, "begins"))
        except ResultError:
            ends.append((number % 2, "refused"))

    threads = [threading.Thread(target=start, args=(n,)) for n in range(8)]
    [t.start() for t in threads], [t.join(30) for t in threads]
    kept = json.loads((tmp_path / "config.json").read_text())["number"]
    assert len(ends) == 8 and all(what == ("begins" if number == kept else "refused") for number, what in ends)
    assert os.listdir(tmp_path) == ["config.json"]


def step(value: float) -> xr.Dataset:
    return results.stamp(xr.Dataset({"effect": ("layer", [value])}, {"layer": [0]}), {"kind": "patch"})


def test_a_step_that_a_second_run_made_meanwhile_is_joined_and_not_refused(tmp_path):
    first, second = Steps(tmp_path, CONFIG), Steps(tmp_path, CONFIG)

    def make():
        second.kept("one/a", lambda: step(1.0))
        return step(1.0)

    assert first.kept("one/a", make).effect.item() == 1.0 == second.kept("one/a", lambda: step(2.0)).effect.item()
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["a.nc", "config.json"]


def frame() -> pd.DataFrame:
    return pd.DataFrame(np.random.default_rng(0).normal(size=(5000, 4)).astype("f4"), columns=list("abcd"))


def _tables(folder, begin, told):
    tables = Tables(Path(folder), ["x", "y"])
    begin.wait(60)
    try:
        told.put(
            sum(
                all(t.equals(frame()) for t in tables.kept(("x", "y"), f"p{i}", lambda: (frame(), frame())))
                for i in range(15)
            )
        )
    except BaseException as error:
        told.put(repr(error))


@pytest.mark.long
def test_two_processes_that_make_the_same_tables_read_every_part_whole(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    begin, told = spawn.Barrier(2), spawn.Queue()
    both = [spawn.Process(target=_tables, args=(str(tmp_path), begin, told), daemon=True) for _ in range(2)]
    [p.start() for p in both]
    assert [told.get(timeout=120) for _ in both] == [15, 15]
    [p.join(30) for p in both]
    assert len(list(tmp_path.rglob("*.parquet"))) == len([p for p in tmp_path.rglob("*") if p.is_file()]) == 30


def test_a_damaged_part_of_a_table_is_named(tmp_path):
    Tables(tmp_path, ["x"]).kept(("x",), "p", frame)
    part = tmp_path / "tables" / "x.p.parquet"
    part.write_bytes(part.read_bytes()[:-100])
    with pytest.raises(ResultError, match="x.p.parquet cannot be read.*remove it"):
        Tables(tmp_path, ["x"]).kept(("x",), "p", frame)


# -- reports


def test_a_report_that_does_not_fit_leaves_both_earlier_files(tmp_path):
    rng = np.random.default_rng(0)
    transcript = provenance.from_arrays(rng.integers(0, 9, (60, 6)), position=rng.permutation(60), shuffled_as="drawn")
    result = provenance.query_scores(rng.normal(size=60), None, transcript, statistic="none", level=0.9, resamples=99)
    page, data = tmp_path / "report.html", tmp_path / "report.json"
    page.write_text("earlier page")
    data.write_text("earlier data")
    for at in (1000, 20_000):  # neither fits; the data fit and the page does not
        with size_limit(at), pytest.raises(lens.FileError, match=r"report\."):
            provenance.report(result, page, data)
        assert (page.read_text(), data.read_text()) == ("earlier page", "earlier data") and len(
            os.listdir(tmp_path)
        ) == 2
    provenance.report(result, page, data)
    assert json.loads(data.read_text())["schema"] and "<svg" in page.read_text()


# -- tensors


def _vector(path):
    from lens.vectors.vector import Vector

    Vector(torch.ones(4000), torch.ones(2, 4000), ((0, 0), (0, 1)), "v", "", "given", {}).save(path)


def _factors(path):
    from lens.curvature.passes import write

    write(path, {"a": torch.ones(9000)}, {"facts": "{}"})


def _measurement(path):
    from lens.forgetting.diary import Diary

    diary = Diary(path.parent / "run", {"call": {}}, False)
    diary.note(0, 0, {"probe": np.ones(9000, np.float32)})


@pytest.mark.parametrize("write", [_vector, _factors, _measurement])
def test_tensors_that_do_not_fit_leave_nothing(tmp_path, write):
    with size_limit(4096), pytest.raises(lens.FileError, match="could not write .*safetensors'.*larger"):
        write(tmp_path / "a.safetensors")
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".part", ".safetensors")]
    write(tmp_path / "a.safetensors")
    assert len(list(tmp_path.rglob("*.safetensors"))) == 1 and not files.leftover(tmp_path)
