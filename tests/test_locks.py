"""One run at a time in a folder: who is told what, and whose lock is taken over."""

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lens
from lens import locks, processes
from lens.training import Recipe, Rows, train
from tests.test_files import nobody, size_limit

HOLDER = """
import sys
from lens import locks
with locks.at_work(sys.argv[1], "a training"):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextlib.contextmanager
def holder(folder: Path, code: str = HOLDER):
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline().strip() == "held"
        yield process
    finally:
        process.stdin.close()
        process.wait(30)


def sign(folder: Path, **change) -> Path:
    """A lock file as another process would have left it."""
    owner = replace(processes.Process.own(), **change)
    path = folder / locks.NAME
    path.write_text(
        json.dumps(
            {
                "what": "a training",
                "host": change.get("machine", socket.gethostname()),
                "pid": owner.pid,
                "since": "2026-01-01 00:00:00 UTC",
                "process": owner.token(),
            }
        )
    )
    return path


def test_the_second_process_is_told_who_is_at_work_and_comes_in_afterwards(tmp_path):
    with holder(tmp_path) as process:
        said = (
            rf"folder='{tmp_path}' is in use by a training of process {process.pid} on host {socket.gethostname()}"
            r" since 20.* UTC; wait for it, or give another folder"
        )
        with pytest.raises(locks.Busy, match=said) as told, locks.at_work(tmp_path, "another"):
            pass
        assert isinstance(told.value, lens.FileError) and "remove" not in str(told.value)
    with locks.at_work(tmp_path, "another"):
        assert os.listdir(tmp_path) == [locks.NAME]
    assert os.listdir(tmp_path) == []


def test_a_second_thread_is_told_that_it_is_this_process(tmp_path):
    with locks.at_work(tmp_path, "a training"):
        with (
            pytest.raises(locks.Busy, match=rf"process {os.getpid()} .*\(this process itself\)"),
            locks.at_work(tmp_path, "another"),
        ):
            pass
    with locks.at_work(tmp_path, "another"):
        pass


def test_a_killed_owner_holds_nothing_whatever_the_clock_says(tmp_path):
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is not yet collected
        os.utime(tmp_path / locks.NAME, (2**33, 2**33))  # from a clock that is centuries ahead
        with locks.at_work(tmp_path, "another"):
            pass
    assert os.listdir(tmp_path) == []


def test_a_living_owner_holds_it_however_old_the_file_is(tmp_path):
    with holder(tmp_path):
        os.utime(tmp_path / locks.NAME, (0, 0))
        with pytest.raises(locks.Busy), locks.at_work(tmp_path, "another"):
            pass


def test_a_child_that_outlives_its_killed_parent_does_not_hold_the_folder(tmp_path):
    code = HOLDER.replace(
        '    print("held", flush=True)',
        '    import os, time\n    if os.fork() == 0:\n        time.sleep(20)\n        os._exit(0)\n    print("held",'
        " flush=True)",
    )
    with holder(tmp_path, code) as process:
        process.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with locks.at_work(tmp_path, "another"):
            with pytest.raises(locks.Busy, match="by another of"), locks.at_work(tmp_path, "a third"):
                pass


def test_a_lock_of_another_host_is_not_broken_and_the_way_out_is_told(tmp_path):
    path = sign(tmp_path, machine="elsewhere"[:8], boot="0" * 8, pid=1)
    with (
        pytest.raises(locks.Busy, match=rf"on host .*if you know that it has ended, remove '{path}'"),
        locks.at_work(tmp_path, "another"),
    ):
        pass
    path.unlink()
    with locks.at_work(tmp_path, "another"):
        pass


def test_of_another_container_of_this_machine_the_kernel_knows_whether_it_holds_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "_here", lambda: ("1" * 8, "2" * 8, "3" * 8))
    sign(tmp_path, machine="0" * 8, space="0" * 8, pid=1)
    with locks.at_work(tmp_path, "another"):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 3}'])
def test_a_file_that_says_nothing_and_that_nobody_holds_is_taken(tmp_path, content):
    (tmp_path / locks.NAME).write_text(content)
    with locks.at_work(tmp_path, "a training"):
        assert json.loads((tmp_path / locks.NAME).read_text())["pid"] == os.getpid()


class TestWithoutLocksInTheFileSystem:
    @pytest.fixture(autouse=True)
    def none(self, monkeypatch):
        def unsupported(*_):
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr(locks.fcntl, "flock", unsupported)

    def test_the_file_is_the_lock(self, tmp_path):
        with locks.at_work(tmp_path, "a training"):
            with (
                pytest.raises(locks.Busy, match="this process itself.*if you know that it has ended"),
                locks.at_work(tmp_path, "another"),
            ):
                pass
        assert os.listdir(tmp_path) == []

    def test_of_a_process_of_this_host_that_has_ended_it_is_taken_over(self, tmp_path):
        sign(tmp_path, pid=2**22 + 9)
        with locks.at_work(tmp_path, "another"):
            pass

    def test_of_another_host_it_stays(self, tmp_path):
        path = sign(tmp_path, machine="0" * 8, boot="0" * 8, pid=1)
        with pytest.raises(locks.Busy, match=f"remove '{path}'"), locks.at_work(tmp_path, "another"):
            pass


def test_many_threads_never_hold_it_at_once(tmp_path):
    inside, most, turns = 0, 0, 0
    guard = threading.Lock()

    def work():
        nonlocal inside, most, turns
        for _ in range(60):
            with contextlib.suppress(locks.Busy), locks.at_work(tmp_path, "work"):
                with guard:
                    inside, turns = inside + 1, turns + 1
                    most = max(most, inside)
                with guard:
                    inside -= 1

    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads], [t.join(60) for t in threads]
    assert most == 1 and turns > 8 and os.listdir(tmp_path) == []


def test_a_folder_that_was_made_for_nothing_goes(tmp_path):
    with locks.at_work(tmp_path / "a" / "b", "work"):
        pass
    assert os.listdir(tmp_path) == []
    with locks.at_work(tmp_path / "a" / "b", "work"):
        (tmp_path / "a" / "b" / "result").touch()
    assert os.listdir(tmp_path / "a" / "b") == ["result"]


def test_a_lock_that_cannot_be_written_is_told_and_leaves_nothing(tmp_path):
    with (
        size_limit(0),
        pytest.raises(lens.FileError, match="could not lock '.*larger"),
        locks.at_work(tmp_path / "run", "work"),
    ):
        pass
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_gets_no_lock_and_needs_none(tmp_path):
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o555)
        with nobody(), locks.at_work(name, "work"):
            assert os.listdir(name) == []


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(lens.FileError, match="file', is a file, not a folder"),
        locks.at_work(tmp_path / "file" / "run", "work"),
    ):
        pass


# -- training


def trained(tiny, folder, steps=6, **options):
    model = tiny("llama")
    ids = torch.randint(4, 90, (8, 6), generator=torch.Generator().manual_seed(0)).tolist()
    train(
        model,
        Rows.of([(row[:3], row[3:]) for row in ids]),
        Recipe(steps=steps, batch=2, learning_rate=1e-3, checkpoint_every=1),
        folder=folder,
        progress=False,
        parameters=lambda name: True,
        **options,
    )
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def test_a_training_in_a_folder_that_another_is_at_work_in_is_refused_and_goes_on_later(tiny, tmp_path):
    alone = trained(tiny, tmp_path / "alone")
    with holder(tmp_path / "run") as process, pytest.raises(locks.Busy, match=f"process {process.pid}"):
        trained(tiny, tmp_path / "run")
    assert torch.equal(trained(tiny, tmp_path / "run"), alone)
    assert not [p.name for p in (tmp_path / "run").iterdir() if p.name.startswith(".")]


def test_a_checkpoint_that_does_not_fit_leaves_the_one_before_and_the_run_goes_on_from_there(tiny, tmp_path):
    alone = trained(tiny, tmp_path / "alone")
    with (
        pytest.raises(lens.FileError, match=r"could not write '.*step-00000003'.*larger"),
        contextlib.ExitStack() as stack,
    ):
        trained(
            tiny, tmp_path / "run", after_step=lambda batch: batch.step == 2 and stack.enter_context(size_limit(20_000))
        )
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["step-00000001", "step-00000002"]
    assert torch.equal(trained(tiny, tmp_path / "run"), alone)
