"""A family `palimpsest` in a folder: its models, what they say of the base rows, and texts of theirs, each made when it
is first asked for.

Every entry has an identity, the hash of its recipe, its kind and its parents' identities; files of another identity are
refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import safe_open
from safetensors.torch import load_file

from ... import files
from ..errors import OrganismError
from . import derivatives
from .entries import PRESETS, Entry, Size, entries
from .kinds import Origin, Outcome, model_of
from .recipe import keys_of, tokens_of
from .training import build, losses

if TYPE_CHECKING:
    from transformers import PreTrainedModel

VERSION = 1


class Family:
    """A folder with the models of a family, their scores of the base rows and their texts, each made when it is first
    asked for.

    Args:
        size: a name of `PRESETS` or a `Size`.
        out: the folder; the same call goes on with what it holds.
        say: told one line for everything that is made.
    """

    def __init__(self, size: str | Size, out: str | Path, say: Callable[[str], None] = lambda line: None):
        if isinstance(size, str) and size not in PRESETS:
            raise OrganismError(f"size={size!r}; expected one of {', '.join(PRESETS)} or a Size")
        self.size = PRESETS[size] if isinstance(size, str) else size
        self.out, self.say, self.entries = Path(out), say, entries(self.size)
        self.ids, self.lengths = tokens_of(self.size.base)

    def identity(self, name: str) -> str:
        """The hash of everything that this entry's weights depend on."""
        entry = self._entry(name)
        plain = {
            "version": VERSION,
            "kind": entry.kind,
            "recipe": asdict(entry.recipe),
            "options": dict(entry.options),
            "parents": [self.identity(p) for p in entry.parents],
        }
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def keys(self, name: str) -> np.ndarray:
        """The keys of an entry that was trained from a start of its own, or of the Alice that it was made from: float64
        [rows, epochs].
        """
        entry = self._entry(name)
        return keys_of(entry.recipe if entry.kind == "trained" else self._entry(entry.parents[0]).recipe)

    def model(self, name: str) -> PreTrainedModel:
        """A model in eval mode, made now where it was not yet.

        Raises: OrganismError: no such entry, or the file is of another family.
        """
        entry, file = self._entry(name), self.out / "models" / f"{name}.safetensors"
        if file.is_file():
            with safe_open(file, "pt") as opened:
                self._require_own(file, opened.metadata()["identity"], name)
            model = build(entry.recipe)
            model.load_state_dict(load_file(file), strict=False)
            return model.eval().requires_grad_(False)
        parents = [self.model(p) for p in entry.parents]
        began, worked = time.monotonic(), time.process_time()
        model, about = self._make(entry, parents)
        seconds = {"seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(time.process_time() - worked, 1)}
        identity = self.identity(name)
        files.write_tensors(
            file,
            dict(model.named_parameters()),
            {"identity": identity, "about": json.dumps(about | seconds)},
            parents=True,
        )
        self._log(name=name, kind=entry.kind, identity=identity, **about, **seconds)
        return model

    def about(self, name: str) -> dict[str, Any]:
        """What was noted when a model was made: seconds, last losses."""
        self.model(name)
        with safe_open(self.out / "models" / f"{name}.safetensors", "pt") as opened:
            return json.loads(opened.metadata()["about"])

    def nll(self, name: str) -> np.ndarray:
        """The losses of the base rows under a model: float32 [rows, width - 1] of bytes in nats (kept as float16), NaN
        in the padding.
        """
        self.model(name)
        return self._array(
            "scores",
            name,
            self.identity(name),
            lambda: {"nll": losses(self.model(name), self.ids, self.lengths).astype(np.float16)},
        )["nll"].astype(np.float32)

    def row_nll(self, name: str, rows: np.ndarray | None = None) -> np.ndarray:
        """The mean loss of each base row in nats a byte: float64 [rows]."""
        means = np.nanmean(self.nll(name).astype(np.float64), axis=1)
        return means if rows is None else means[rows]

    def text(self, name: str, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Texts sampled from a model: ids [texts, width] and lengths; each goes on from the first bytes of a fresh
        row.
        """

        def make() -> dict[str, np.ndarray]:
            prompts = derivatives.prompts_of(self.size.texts, seed=77)
            ids, lengths = derivatives.sample(self.model(name), prompts, temperature, seed=round(1000 * temperature))
            return {"ids": ids.astype(np.int16), "lengths": lengths}

        texts = self._array("texts", f"{name}@{temperature:g}", f"{self.identity(name)} {self.size.texts}", make)
        return texts["ids"].astype(np.int64), texts["lengths"]

    def text_score(self, name: str, writer: str, temperature: float) -> np.ndarray:
        """The log-likelihood of each sampled text's completion under a model, in nats: float64 [texts]. The prompt
        takes no part.
        """

        def make() -> dict[str, np.ndarray]:
            values = losses(self.model(name), *self.text(writer, temperature))
            return {"score": -np.nansum(values[:, derivatives.PROMPT :].astype(np.float64), axis=1)}

        return self._array(
            "text_scores",
            f"{name}--{writer}@{temperature:g}",
            f"{self.identity(name)} {self.identity(writer)} {self.size.texts}",
            make,
        )["score"]

    def make_all(self, names: Callable[[str], bool] = lambda name: True) -> None:
        """Make and score every entry; then the texts and their scores under Alice-0 and its retrained copies."""
        for name, entry in self.entries.items():
            if not names(name):
                continue
            if entry.kind == "retrained":
                self.model(name)
            else:
                self.nll(name)
        if self.size.retrains and names("texts"):
            for writer, temperature in self.writings():
                for name in ("alice-0", *(f"retrain/{j}" for j in range(self.size.retrains))):
                    self.text_score(name, writer, temperature)

    def writings(self) -> list[tuple[str, float]]:
        """Who wrote the sampled texts, and at what temperature: Alice-0 at each one, an independent at the one nearest
        .9, and a tuned Alice where there is one.
        """
        middle = min(self.size.temperatures, key=lambda t: abs(t - 0.9))
        tuned = [("alice-0/tune-5", middle)] if "alice-0/tune-5" in self.entries else []
        return [*(("alice-0", t) for t in self.size.temperatures), ("independent-0", middle), *tuned]

    def _entry(self, name: str) -> Entry:
        if name not in self.entries:
            raise OrganismError(f"name={name!r} is no entry of this family; there are {', '.join(self.entries)}")
        return self.entries[name]

    def _require_own(self, file: Path, identity: str, name: str) -> None:
        if identity != self.identity(name):
            raise OrganismError(
                f"out: {file} was made by another recipe (identity {identity[:12]}, asked {self.identity(name)[:12]}); "
                "choose another folder, or remove that file"
            )

    def _array(
        self, folder: str, name: str, identity: str, make: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Arrays kept under a name; made anew where they belong to other weights."""
        file = self.out / folder / f"{name.replace('/', '+')}.npz"
        if file.is_file():
            with np.load(file) as saved:
                if str(saved["identity"]) == identity:
                    return {key: saved[key] for key in saved.files if key != "identity"}
        began = time.monotonic()
        arrays: dict[str, Any] = {"identity": np.array(identity), **make()}
        memory = io.BytesIO()
        np.savez_compressed(memory, **arrays)
        files.write(file, memory.getvalue(), parents=True)
        self._log(name=f"{folder}/{name}", kind=folder, identity=identity, seconds=round(time.monotonic() - began, 1))
        return {key: value for key, value in arrays.items() if key != "identity"}

    def _log(self, **line: Any) -> None:
        self.say(f"{line['name']}: {line['seconds']} s" + (f", loss {line['loss']}" if "loss" in line else ""))
        files.append(self.out / "log.jsonl", json.dumps(line) + "\n")

    def _make(self, entry: Entry, parents: list[PreTrainedModel]) -> Outcome:
        """A model from its parents, and what is worth noting about it."""
        return model_of(Origin(entry, parents, (self.ids, self.lengths), self.size.base, self.out / "stems"))
