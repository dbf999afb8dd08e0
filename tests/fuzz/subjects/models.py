"""Models by name, wrapped, told by their hash; a fetch of a small file in place of a published one."""

from __future__ import annotations

import functools
import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from huggingface_hub import constants

from lens import cache, models
from lens.doctor import doctor
from tests.models import tiny, word_tokenizer

from . import Subject
from .common import model

MODULES = ("lens.models",)


@functools.cache
def wheel() -> bytes:
    """A small wheel."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.whl"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("small/weights.gguf", b"GGUF")
        return path.read_bytes()


def known() -> str:
    """The name under which the cache knows it: in the process that makes the calls, not in the one that lists them."""
    cache.SOURCES["small"] = cache.Source(
        "small==1.0", hashlib.sha256(wheel()).hexdigest(), "small/weights.gguf", "MIT"
    )
    return "small"


@functools.cache
def folder() -> Path:
    """A model in a folder, kept as long as the process."""
    held = tempfile.TemporaryDirectory(prefix="fuzz-models-")
    folder.held = held
    tiny("llama").save_pretrained(held.name)
    word_tokenizer().save_pretrained(held.name)
    return Path(held.name)


@functools.cache
def cached() -> str:
    """A name of which the hub's cache has a revision: a cache that this process makes."""
    held = tempfile.TemporaryDirectory(prefix="fuzz-hub-")
    cached.held, constants.HF_HUB_CACHE = held, held.name
    place, commit = Path(held.name) / "models--nobody--nothing", "0" * 40
    (place / "snapshots" / commit).mkdir(parents=True)
    (place / "snapshots" / commit / "config.json").write_text("{}")
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(commit)
    return "nobody/nothing"


def served(source: Any, folder: Path) -> Path:
    (folder / "small.whl").write_bytes(wheel())
    return folder / "small.whl"


def copied(gguf: Path, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(gguf.read_bytes())
    (folder / "config.json").write_text("{}")


def subjects():
    yield Subject("load", models.load, lambda: dict(name="organism:induction", device="cpu"))
    yield Subject("load", models.load, lambda: dict(name=folder(), dtype="bfloat16"))
    yield Subject("wrap", models.wrap, lambda: dict(hf=tiny("llama"), tokenizer=word_tokenizer(), name="tiny"))
    yield Subject("wrap", models.wrap, lambda: dict(hf=tiny("gpt2"), tokenizer=word_tokenizer()))
    yield Subject("weight_hash", models.weight_hash, lambda: dict(model=model()))
    yield Subject("same_weights", models.same_weights, lambda: dict(model=model(), recorded="t" + "0" * 64))
    yield Subject("name_of", models.name_of, lambda: dict(model=model()))
    yield Subject("organisms", models.organisms, dict)
    yield Subject("checkpoints", models.checkpoints, lambda: dict(name=cached()))
    yield Subject("doctor", doctor, dict)
    # without these two it would go to the package index
    yield Subject(
        "fetch",
        models.fetch,
        lambda: dict(name=known(), download=served, convert=copied),
        leave=("download", "convert"),
    )
