"""Files of every kind that the library reads, whole ones made by the library itself, and what is done to them: cut, a
byte flipped, another kind, nested deep, a key missing, a huge size declared.

All damage is harmless: nothing in a file would do anything even where it were run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import re
import shutil
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from transformers import LlamaConfig, LlamaForCausalLM

import lens
from lens import injection, provenance, scoring, subspace, vectors
from lens.training import Recipe, Rows, train
from tests.models import speaking, word_tokenizer

DEEP = "[" * 3000 + "]" * 3000
#: Bytes that are flipped, one at a time, and keys that are left out, one at a time, of each file.
FLIPS, KEYS = 5, 8


@dataclass(frozen=True)
class Kind:
    """`make` writes a whole one into a folder; `read` reads it; `files`: of those in the folder, which are damaged."""

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    files: str = "**/*"


def _result() -> Any:
    pair = lens.Pair("w4 w5", corrupted="w4 w6", answer=" w7", foil=" w8")
    return lens.patch(speaking(), pair, "resid_pre", progress=False)


def _model(folder: Path) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=97,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=24,
    )
    LlamaForCausalLM(config).save_pretrained(folder / "model")
    word_tokenizer().save_pretrained(folder / "model")


def _rows() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 97, (20, 12))


def _transcript(folder: Path) -> None:
    table = pd.DataFrame({"tokens": list(_rows()), "rank": np.arange(20)})
    table.to_parquet(folder / "order.parquet")
    (folder / "order.jsonl").write_text(
        "".join(json.dumps({"tokens": row.tolist(), "rank": i}) + "\n" for i, row in enumerate(_rows()))
    )


def _pairs(folder: Path) -> None:
    line = {
        "id": "a",
        "group": "g",
        "split": "report",
        "clean": "a b",
        "corrupted": "a c",
        "answer": " d",
        "foil": " e",
    }
    more = {"spans": {}, "start": "", "ranks": [1, 1]}
    (folder / "pairs.jsonl").write_text("".join(json.dumps(line | more | {"id": f"{i}"}) + "\n" for i in range(4)))


def _items(folder: Path) -> None:
    names = ["explicit_sentence", "obscure_sentence", "explicit_entity", "obscure_entity", "answer"]
    rows = [[f"w{i} w5", f"w{i + 9} w5", f"w{i}", f"w{i + 9}", f"w{i + 20}"] for i in range(6)]
    pd.DataFrame(rows, columns=names).to_csv(folder / "items.csv", index=False)


def _vector(folder: Path) -> None:
    made = vectors.Vector(torch.ones(8), torch.ones(1, 8), ((0, 1),), "v", "0" * 64, "demonstrations", {"n": 3})
    made.save(folder / "vector.safetensors")


def _mask(folder: Path) -> None:
    subspace.Mask.of({"a": torch.rand(6, 8) < 0.5, "b": torch.rand(4, 4) < 0.5}).save(folder / "mask.npz")


def _training(folder: Path) -> None:
    model, ids = speaking(), torch.from_numpy(_rows())
    rows = Rows(ids, torch.arange(12).expand(ids.shape) >= 1, torch.full((20,), 12))
    recipe = Recipe(steps=4, batch=4, learning_rate=1e-3)
    train(model, rows, recipe, parameters=lambda n: n.endswith("o_proj.weight"), folder=folder / "run", progress=False)


def _scores(folder: Path) -> None:
    scoring.score(speaking(), _rows(), store=folder / "scores", progress=False)


def _index(folder: Path) -> None:
    provenance.local_index(_rows().astype("<u2"), folder / "index")


def _pipeline(folder: Path) -> None:
    from tests.diffusion.test_stable_diffusion import parts_in

    (folder / "made").mkdir()
    parts_in(folder / "made").save_pretrained(folder / "pipeline")
    shutil.rmtree(folder / "made")


def kinds() -> dict[str, Kind]:
    """Every kind for which what reads it is installed."""
    found = {
        "model": Kind(_model, lambda folder: lens.load(str(folder / "model"), device="cpu")),
        "Zarr": Kind(
            lambda folder: lens.save(_result(), folder / "a.zarr"), lambda folder: lens.open(folder / "a.zarr").load()
        ),
        "NetCDF": Kind(
            lambda folder: lens.export(_result(), folder / "a.nc"), lambda folder: lens.open(folder / "a.nc").load()
        ),
        "Parquet": Kind(_transcript, lambda folder: provenance.from_parquet(folder / "order.parquet"), "*.parquet"),
        "JSONL": Kind(_transcript, lambda folder: provenance.from_jsonl(folder / "order.jsonl"), "*.jsonl"),
        "pairs": Kind(_pairs, lambda folder: lens.load_pairs(str(folder / "pairs.jsonl"))),
        "CSV": Kind(_items, lambda folder: injection.load_items(folder / "items.csv")),
        "task": Kind(_task, lambda folder: vectors.load_task(folder / "task.json")),
        "vector": Kind(_vector, lambda folder: vectors.load_vector(folder / "vector.safetensors")),
        "mask": Kind(_mask, lambda folder: subspace.Mask.load(folder / "mask.npz")),
        "checkpoint": Kind(_training, _training),
        "scores": Kind(_scores, _scores),
        "pipeline": Kind(_pipeline, lambda folder: lens.diffusion.load(folder / "pipeline", device="cpu")),
    }
    if importlib.util.find_spec("tokengrams") is not None:
        found["index"] = Kind(_index, _index)
    return found


def _task(folder: Path) -> None:
    rows = [{"input": f"w{i}", "output": f"w{i + 40}"} for i in range(40)]
    (folder / "task.json").write_text(json.dumps(rows))


# -- damage ------------------------------------------------------------------------------------------------------------


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return None


def damages(content: bytes, seed: str) -> Iterator[tuple[str, bytes | None]]:
    """What is done to a file, in words, and its new content (None: the file is gone)."""
    draw = random.Random(seed)
    yield "gone", None
    yield "empty", b""
    for share in (0.25, 0.5, 0.9):
        yield f"cut at {share:g}", content[: int(len(content) * share)]
    for _ in range(min(FLIPS, len(content))):
        at = draw.randrange(len(content))
        yield f"byte {at} flipped", content[:at] + bytes([content[at] ^ (1 << draw.randrange(8))]) + content[at + 1 :]
    yield "of another kind", b"\x89PNG\r\n\x1a\n" + b"\0" * 64
    yield "a list", b"[1, 2]"
    yield "a number", b"5"
    yield "nested deep", DEEP.encode()
    yield "a huge size in front", struct.pack("<Q", 1 << 60) + content[8:]
    if isinstance(held := _json(content), dict):
        for key in list(held)[:KEYS]:
            yield f"without {key}", json.dumps({k: v for k, v in held.items() if k != key}).encode()
            yield f"{key} nested deep", json.dumps(held | {key: 0}).replace(f'"{key}": 0', f'"{key}": {DEEP}').encode()
    if re.search(rb":\s*\[?\s*\d", content) and len(content) < 1 << 20:
        yield "huge numbers", re.sub(rb"(?<=[\s\[,:])(\d{1,6})(?=[\s\],}])", rb"\g<1>000000000000", content)


def cases(kind: str, base: Path) -> Iterator[tuple[str, Callable[[], Any], Path]]:
    """Each damaged file of a kind: in words, what reads it, and its path; each in a folder of its own."""
    of = kinds()[kind]
    whole = base / "whole"
    whole.mkdir(parents=True)
    of.make(whole)
    yield f"{kind}: whole", lambda: of.read(whole), whole
    number = 0
    for file in sorted(path for path in whole.glob(of.files) if path.is_file() and path.name != ".lock"):
        name = file.relative_to(whole)
        for what, content in damages(file.read_bytes(), f"{kind} {name}"):
            number += 1
            folder = base / f"{number}"
            shutil.copytree(whole, folder)
            if content is None:
                os.remove(folder / name)
            else:
                (folder / name).write_bytes(content)
            yield f"{kind}: {name} {what}", lambda: of.read(folder), folder / name
            shutil.rmtree(folder, ignore_errors=True)


def judged(error: BaseException | None, path: Path) -> str:
    """What became of a file, in the fuzzer's words: "own_named" names it, or the folder or record that it is of."""
    if error is None:
        return "accepted"
    names = {path.name, *(part.name for part in path.parents if part.name not in ("", "tmp"))}
    named = any(name in str(error) for name in names if len(name) > 2)
    if isinstance(error, lens.Error):
        return "own_named" if named else "own_unnamed"
    return "raw"


def run(kind: str, base: str, begin: int, answers: Any) -> None:
    """The whole of a process: reads the files of a kind from one number on, and says what became of each."""
    os.environ.update(TQDM_DISABLE="1", TRANSFORMERS_VERBOSITY="error")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # what libraries say of each damaged file
    for number, (what, read, path) in enumerate(cases(kind, Path(base))):
        if number < begin:
            continue
        answers.send(("begin", number, what, ""))
        error: BaseException | None = None
        try:
            read()
        except BaseException as raised:
            error = raised
        said = "" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        answers.send((judged(error, path), number, what, said))
    answers.send(("done", -1, "", ""))
