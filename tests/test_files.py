"""The one writer: whole or as before; leftovers of ended processes go, those of living ones stay; what a person is
told.
"""

import errno
import functools
import json
import os
import resource
import stat
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import lens
from lens import files, processes


@contextmanager
def size_limit(at: int):
    """Files of this process cannot grow beyond `at` bytes: a full disk that needs no disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (at, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def parquet(part: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": np.random.default_rng(0).normal(size=20_000)}), part)


CONTENTS = {
    "text": "x" * 100_000,
    "bytes": b"x" * 100_000,
    "tensors": lambda part: save_file({"a": torch.ones(50_000)}, part),
    "table": parquet,
    "array": lambda part: np.save(part.open("wb"), np.ones(50_000)),
}


@pytest.mark.parametrize("kind", CONTENTS)
def test_what_does_not_fit_leaves_the_earlier_file_and_nothing_beside_it(tmp_path, kind):
    path = tmp_path / "a.bin"
    path.write_bytes(b"earlier")
    with (
        size_limit(4096),
        pytest.raises(files.FileError, match=r"could not write '.*a\.bin'.*larger than.*limit") as told,
    ):
        files.write(path, CONTENTS[kind])
    assert isinstance(told.value, lens.Error) and isinstance(told.value, OSError) and told.value.errno == errno.EFBIG
    assert path.read_bytes() == b"earlier" and os.listdir(tmp_path) == ["a.bin"]
    files.write(path, CONTENTS[kind])
    assert path.stat().st_size > 50_000 and os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize(
    "code, said",
    [
        (errno.ENOSPC, "the disk is full; free some space"),
        (errno.EDQUOT, "the disk is full"),
        (errno.EROFS, "its file system is read-only; choose"),
        (errno.EACCES, "the folder cannot be written to; choose a folder that you may"),
        (errno.EMFILE, "too many files are open"),
        (errno.EIO, "Input/output"),
    ],
)
def test_what_the_system_says_is_told_in_words(tmp_path, code, said):
    def failing(part):
        part.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    with pytest.raises(files.FileError, match=said) as told:
        files.write(tmp_path / "a", failing)
    assert told.value.errno == code and not os.listdir(tmp_path)


def test_several_files_are_all_new_or_all_as_before(tmp_path):
    for name in "ab":
        (tmp_path / name).write_text("earlier")
    with size_limit(1000), pytest.raises(files.FileError, match="/b'"):
        files.write_all({tmp_path / "a": "new", tmp_path / "b": "x" * 5000})
    assert [(tmp_path / n).read_text() for n in "ab"] == ["earlier", "earlier"] and len(os.listdir(tmp_path)) == 2


def test_an_interrupt_on_the_way_leaves_nothing_and_passes(tmp_path):
    def stopped(part):
        part.write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write(tmp_path / "new" / "a", stopped, parents=True)
    assert not os.listdir(tmp_path)


def test_an_error_that_is_none_of_writing_passes_as_it_is(tmp_path):
    def wrong(part):
        raise ZeroDivisionError("of the caller")

    with pytest.raises(ZeroDivisionError):
        files.write(tmp_path / "a", wrong)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    "place, said",
    [
        ("gone/a", "the folder .*gone' is not there; make it"),
        ("file/a", "a part of the path, .*file', is a file"),
        ("file/deep/a", "file', is a file"),
        ("folder", "a folder of that name is there"),
        ("a" * 300, "longer than the file system allows"),
    ],
)
@pytest.mark.parametrize("parents", [False, True])
def test_a_place_that_cannot_be_written_to_is_told(tmp_path, place, said, parents):
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "held").touch()
    before = sorted(p for p in tmp_path.rglob("*"))
    if parents and place == "gone/a":
        assert files.write(tmp_path / place, "x", parents=True).read_text() == "x"
        return
    with pytest.raises(files.FileError, match=said):
        files.write(tmp_path / place, "x", parents=parents)
    assert sorted(tmp_path.rglob("*")) == before


@contextmanager
def nobody():
    """Whoever may write everywhere becomes another user for the while."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_folders_without_permission_are_told():
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o555)
        for write in (files.write, functools.partial(files.write, parents=True)):
            for path in (Path(name, "a"), Path(name, "sub", "a")):
                with (
                    nobody(),
                    pytest.raises(
                        files.FileError,
                        match=r"cannot be written to; choose a folder that you may|the folder '.*/sub' is not there",
                    ),
                ):
                    write(path, "x")
        assert not os.listdir(name)


def test_a_write_protected_file_stays(tmp_path, monkeypatch):
    held = tmp_path / "held"
    held.write_text("kept")
    held.chmod(0o400)
    monkeypatch.setattr(files.os, "access", lambda path, mode: path != held)  # what root is not told
    with pytest.raises(files.FileError, match="the file is write-protected; choose another path"):
        files.write(held, "x")
    assert held.read_text() == "kept" and os.listdir(tmp_path) == ["held"]


@pytest.mark.parametrize("path", [3, b"a", "", "a\0b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(files.FileError, match="path="):
        files.write(path, "x")


def test_links_and_permissions_stay(tmp_path):
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_text("earlier")
    real.chmod(0o640)
    link.symlink_to(real)
    files.write(link, "new")
    assert link.is_symlink() and real.read_text() == "new" and stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    files.write(pipe, "through")
    reader.join(10)
    assert got == ["through"] and stat.S_ISFIFO(pipe.stat().st_mode)


def test_json_is_what_it_says(tmp_path):
    assert json.loads(files.write_json(tmp_path / "a.json", {"a": [1, None]}).read_text()) == {"a": [1, None]}
    with pytest.raises(TypeError):
        files.write_json(tmp_path / "a.json", {"a": object()})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [1, None]}


def test_text_that_is_none_in_utf8_is_told_with_its_place(tmp_path):
    with pytest.raises(files.FileError, match=r"holds '\\ud800' at 2, half of a surrogate pair"):
        files.write(tmp_path / "a", "ab\ud800")
    assert not os.listdir(tmp_path)


def test_tensors_are_written_from_where_they_are(tmp_path):
    from safetensors.torch import load_file

    weight = torch.arange(6.0).reshape(2, 3).T.requires_grad_()
    files.write_tensors(tmp_path / "new" / "a.safetensors", {"w": weight}, {"about": "x"}, parents=True)
    assert torch.equal(load_file(tmp_path / "new" / "a.safetensors")["w"], weight.detach())


def test_new_refuses_what_is_there(tmp_path):
    files.write(tmp_path / "a", "first", new=True)
    with pytest.raises(FileExistsError, match="it is there already") as told:
        files.write(tmp_path / "a", "second", new=True)
    assert (
        isinstance(told.value, lens.Error) and (tmp_path / "a").read_text() == "first" and os.listdir(tmp_path) == ["a"]
    )


def test_a_folder_is_replaced_whole(tmp_path):
    for number in (1, 2):
        with files.replacing(tmp_path / "f") as part:
            part.mkdir()
            (part / f"only-{number}").write_text("x")
    assert os.listdir(tmp_path) == ["f"] and os.listdir(tmp_path / "f") == ["only-2"]
    with pytest.raises(files.FileError, match="disk is full"), files.replacing(tmp_path / "f") as part:
        part.mkdir()
        raise OSError(errno.ENOSPC, "full")
    assert os.listdir(tmp_path) == ["f"] and os.listdir(tmp_path / "f") == ["only-2"]


def test_a_folder_set_aside_by_a_process_that_died_is_put_back(tmp_path):
    aside = files.previous(tmp_path / "f")
    aside.mkdir()
    (aside / "held").touch()
    with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "f") as part:
        part.mkdir()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path / "f") == ["held"]


# -- leftovers

KILLED = """
import os, signal, sys
from pathlib import Path
from lens import files

def half(part):
    part.write_bytes(b"half")
    print(os.fspath(part), flush=True)
    {end}

files.write(Path(sys.argv[1]), half)
"""


def writer(path: Path, end: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", KILLED.format(end=end), str(path)],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )


def test_what_a_killed_writer_left_goes_and_what_a_living_one_is_at_stays(tmp_path):
    living = writer(tmp_path / "b", "sys.stdin.read()")
    under_way = Path(living.stdout.readline().strip())
    dead = writer(tmp_path / "a", "os.kill(os.getpid(), signal.SIGKILL)")
    left = Path(dead.stdout.readline().strip())
    try:
        # not waited for: a process that has ended and not been asked for its exit code is still listed
        while not files.leftover(left):
            pass
        for part in (left, under_way):
            os.utime(part, (0, 0))  # a clock that is decades off says nothing
        files.sweep(tmp_path)
        assert not left.exists() and under_way.exists() and not files.leftover(under_way)
    finally:
        living.stdin.close()
        living.wait(30), dead.wait(30)
    assert os.listdir(tmp_path) == ["b"] and (tmp_path / "b").read_text() == "half"


@pytest.mark.parametrize(
    "change, ended",
    [
        ({"pid": 2**22 + 7}, True),
        ({"start": "1"}, True),
        ({}, False),
        ({"space": "0" * 8, "pid": 2**22 + 7}, False),
        ({"machine": "0" * 8, "boot": "0" * 8, "pid": 2**22 + 7}, False),
    ],
)
def test_only_what_is_known_to_have_ended_is_taken_for_it(tmp_path, change, ended):
    from dataclasses import replace

    part = tmp_path / f".a.{replace(processes.Process.own(), **change).token()}.part"
    part.touch()
    assert files.leftover(part) is ended
    files.sweep(tmp_path)
    assert part.exists() is not ended


def test_a_machine_started_anew_has_ended_all_of_its_processes():
    from dataclasses import replace

    own = processes.Process.own()
    assert replace(own, boot="0" * 8).dead() is (own.machine != "x")


@pytest.mark.parametrize("name", [".a.part", "a.part", ".a.0123456789ab.part", ".hidden", ".a.x-x-x-1-1-nothex.part"])
def test_files_of_others_stay(tmp_path, name):
    (tmp_path / name).touch()
    files.sweep(tmp_path)
    assert os.listdir(tmp_path) == [name]


def test_long_and_foreign_names_have_room_for_their_sibling(tmp_path):
    for name in ("a" * 250, "ü" * 125):
        assert files.write(tmp_path / name, "x").read_text() == "x"


def test_a_user_that_is_not_known_is_left_as_a_name_of_a_folder(tmp_path, monkeypatch):
    from lens import cache
    from lens.reproduce.function_vectors.study import PRESETS, load_tasks

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert files.expanded("~/x") == tmp_path / "x" and files.expanded(Path("a") / "~") == Path("a/~")
    unknown = "~no-such-user-here/x"
    assert files.expanded(unknown) == Path(unknown)
    monkeypatch.setenv("MNEMOSCOPE_CACHE", unknown)
    assert cache.cache_dir() == Path(unknown)
    with pytest.raises(lens.Error, match="no-such-user-here"):
        load_tasks(unknown, PRESETS["quick"])
    with pytest.raises(lens.Error, match="no-such-user-here"):
        lens.load(unknown)


def test_one_place_reads_what_a_tilde_stands_for():
    root = Path(lens.__path__[0]).parent
    found = [
        str(path.relative_to(root))
        for package in ("lens", "widgets")
        for path in sorted((root / package).rglob("*.py"))
        if "expanduser(" in path.read_text(encoding="utf-8")
    ]
    assert found == ["lens/files.py"]


def test_no_file_lies_outside_the_rooms_of_the_project():
    """What a run wrote to a relative path and somebody added, such as tmp/."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        pytest.skip("no git here")
    listed = subprocess.run(["git", "-C", str(root), "ls-files"], capture_output=True, text=True, check=True).stdout
    folders = {name.split("/")[0] for name in listed.splitlines() if "/" in name}
    assert folders <= {".ci", "benchmarks", "docs", "findings", "lens", "notebooks", "tests", "widgets"}


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_tensors_are_for_those_for_whom_other_files_are(tmp_path, umask):
    """A file of safetensors is the owner's alone as it is written; one that is replaced keeps its permissions."""
    before = os.umask(umask)
    try:
        one = files.write_tensors(tmp_path / "a.safetensors", {"x": torch.zeros(2)})
        with files.replacing(tmp_path / "folder") as part:
            part.mkdir()
            save_file({"x": torch.zeros(2)}, part / "weights.safetensors")
        plain = files.write(tmp_path / "a.txt", "a")
        made = [stat.S_IMODE(path.stat().st_mode) for path in (one, tmp_path / "folder" / "weights.safetensors", plain)]
        assert made == [0o666 & ~umask] * 3
        one.chmod(0o640)
        files.write_tensors(one, {"x": torch.ones(2)})
        assert stat.S_IMODE(one.stat().st_mode) == 0o640
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.safetensors", "a.txt", "folder"]
    finally:
        os.umask(before)
