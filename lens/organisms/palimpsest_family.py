"""The family of `palimpsest`: which models there are, what each is made from, and a folder that keeps what was made.

Alices are the models whose order is asked about; references and independents are trained apart from them; derivatives
are what became of an Alice. Every entry has an identity, the hash of its recipe, its kind and its parents' identities;
files of another identity are refused.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from .. import files
from . import palimpsest_derivatives as derive
from . import palimpsest_recipe as palimpsest
from .errors import OrganismError
from .palimpsest_recipe import Recipe

REFERENCES = ("reference", "disjoint", "smaller", "same-order")
TUNES = (1, 5, 25, 100)
WEIGHTS = (25, 50, 75)
#: every derivative of an Alice, in the order of making
DERIVATIVES = (
    *(f"tune-{share}" for share in TUNES),
    "tune-25b",
    "tune-25-mild",
    "tune-25-hot",
    "lora-25",
    *(f"tunes-{w}" for w in WEIGHTS),
    *(f"with-independent-{w}" for w in WEIGHTS),
    "int8",
    "int4",
    "pruned-50",
    "other-order-25",
    "soft",
    "samples",
)
ARMS = ("cosine", "linear", "wsd")
VERSION = 1


@dataclass(frozen=True)
class Size:
    """How large the family is: the recipe of an Alice, how many of them, and what is made of them.

    `retrains`: how often the last `tail` of Alice-0's rows is read again in a fresh order; `texts` rows are sampled at
    each of `temperatures`.
    """

    base: Recipe = field(default_factory=Recipe)
    alices: int = 3
    independents: int = 4
    derivatives: tuple[str, ...] = DERIVATIVES
    arms: tuple[str, ...] = ARMS
    arm_seeds: int = 3
    epoch_seeds: int = 3
    retrains: int = 19
    tail: float = 0.1
    temperatures: tuple[float, ...] = (0.0, 0.5, 0.9, 1.2)
    texts: int = 1000


PRESETS = {
    "tiny": Size(
        Recipe(rows=160, batch=8, d_model=32, layers=1, d_mlp=64, warmup=4),
        alices=2,
        independents=1,
        derivatives=(
            "tune-5",
            "tune-25",
            "tune-25b",
            "tunes-50",
            "lora-25",
            "int4",
            "soft",
            "samples",
            "with-independent-50",
        ),
        arms=("linear",),
        arm_seeds=1,
        retrains=2,
        temperatures=(0.9,),
        texts=8,
    ),
    "quick": Size(),
    "full": Size(
        Recipe(rows=12_000, d_model=128, layers=4, d_mlp=344),
        alices=5,
        independents=4,
        arm_seeds=5,
        epoch_seeds=3,
        retrains=39,
        temperatures=(0.0, 0.3, 0.6, 0.9, 1.0, 1.2),
        texts=4000,
    ),
}


@dataclass(frozen=True)
class Entry:
    """One model: `kind` says how it is made from its parents, `recipe` its size and, where it is trained anew,
    everything else.
    """

    name: str
    kind: str
    recipe: Recipe
    parents: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def entries(size: Size) -> dict[str, Entry]:
    """Every entry of a family by name, parents before what is made from them, the most important first."""
    base, found = size.base, {}

    def add(name: str, kind: str, recipe: Recipe = base, *parents: str, **options: Any) -> None:
        found[name] = Entry(name, kind, recipe, parents, options)

    def seeded(recipe: Recipe, seed: int, **changes: Any) -> Recipe:
        return replace(recipe, order_seed=seed, init_seed=seed, **changes)

    small = {
        "d_model": base.d_model * 2 // 3 // base.heads // 2 * base.heads * 2,
        "layers": max(1, base.layers - 1),
        "d_mlp": base.d_mlp * 2 // 3,
    }
    for i in range(size.alices):
        add(f"alice-{i}", "trained", seeded(base, i))
    add("reference", "trained", seeded(base, 100))
    for i in range(size.independents):
        add(f"independent-{i}", "trained", seeded(base, 200 + i))
    add("same-order", "trained", replace(base, order_seed=0, init_seed=103, **small))
    add("disjoint", "trained", seeded(base, 101, skip=base.rows))
    add("smaller", "trained", seeded(base, 102, **small))
    for arm in size.arms:
        add(f"{arm}/reference", "trained", seeded(base, 100, schedule=arm))
    if size.epoch_seeds:
        add("epochs/reference", "trained", seeded(base, 100, epochs=2))
    for j in range(size.retrains):
        add(f"retrain/{j}", "retrained", seeded(base, 0), "alice-0", tail=size.tail, shuffle=j)
    for i in range(max(size.alices, size.arm_seeds, size.epoch_seeds)):
        for name in size.derivatives if i < size.alices else ():
            _derivative(add, f"alice-{i}", name, replace(base, order_seed=500 + i, init_seed=500 + i), i)
        for arm in size.arms if i < size.arm_seeds else ():
            add(f"{arm}/alice-{i}", "trained", seeded(base, i, schedule=arm))
        if i < size.epoch_seeds:
            add(f"epochs/alice-{i}", "trained", seeded(base, i, epochs=2))
    return found


def _derivative(add: Callable[..., None], alice: str, name: str, student: Recipe, seed: int) -> None:
    """The entry of one derivative; `student` is the recipe of what is trained from a start of its own."""
    kind, _, number = name.rpartition("-")
    full, words = f"{alice}/{name}", name.split("-")
    if words[0] == "tune":
        other = words[1].endswith("b")
        rate = derive.TUNING_RATE * {"mild": 0.5, "hot": 2.5}.get(words[-1], 1.0)
        add(
            full,
            "tuned",
            student,
            alice,
            share=int(words[1].rstrip("b")) / 100,
            domain="questions",
            seed=(20 if other else 10) + seed,
            rate=rate,
        )
    elif kind == "lora":
        add(
            full,
            "lora",
            student,
            alice,
            share=int(number) / 100,
            domain="questions",
            seed=10 + seed,
            rate=derive.LORA_RATE,
        )
    elif kind == "tunes":
        add(full, "average", student, f"{alice}/tune-25", f"{alice}/tune-25b", weight=int(number) / 100)
    elif kind == "with-independent":
        add(full, "average", student, alice, "independent-0", weight=int(number) / 100)
    elif kind == "other-order":
        add(full, "continued", student, alice, share=int(number) / 100, seed=30 + seed)
    elif kind == "pruned":
        add(full, "pruned", student, alice, share=int(number) / 100)
    elif name.startswith("int"):
        add(full, "rounded", student, alice, bits=int(name[3:]))
    else:
        add(full, name, student, alice, seed=40 + seed)


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
        self.ids, self.lengths = palimpsest.tokens_of(self.size.base)

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
        return palimpsest.keys_of(entry.recipe if entry.kind == "trained" else self._entry(entry.parents[0]).recipe)

    def model(self, name: str) -> torch.nn.Module:
        """A model in eval mode, made now where it was not yet.

        Raises: OrganismError: no such entry, or the file is of another family.
        """
        entry, file = self._entry(name), self.out / "models" / f"{name}.safetensors"
        if file.is_file():
            with safe_open(file, "pt") as opened:
                self._mine(file, opened.metadata()["identity"], name)
            made = palimpsest.build(entry.recipe)
            made.load_state_dict(load_file(file), strict=False)
            return made.eval().requires_grad_(False)
        parents = [self.model(p) for p in entry.parents]
        began, worked = time.monotonic(), time.process_time()
        made, about = self._make(entry, parents)
        seconds = {"seconds": round(time.monotonic() - began, 1), "cpu_seconds": round(time.process_time() - worked, 1)}
        identity = self.identity(name)
        files.write_tensors(
            file,
            dict(made.named_parameters()),
            {"identity": identity, "about": json.dumps(about | seconds)},
            parents=True,
        )
        self._log(name=name, kind=entry.kind, identity=identity, **about, **seconds)
        return made

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
            lambda: {"nll": palimpsest.losses(self.model(name), self.ids, self.lengths).astype(np.float16)},
        )["nll"].astype(np.float32)

    def row_nll(self, name: str, rows: np.ndarray | None = None) -> np.ndarray:
        """The mean loss of each base row in nats a byte: float64 [rows]."""
        found = np.nanmean(self.nll(name).astype(np.float64), axis=1)
        return found if rows is None else found[rows]

    def text(self, name: str, temperature: float) -> tuple[np.ndarray, np.ndarray]:
        """Texts sampled from a model: ids [texts, width] and lengths; each goes on from the first bytes of a fresh
        row.
        """

        def make() -> dict[str, np.ndarray]:
            prompts = derive.prompts_of(self.size.texts, seed=77)
            ids, lengths = derive.sampled(self.model(name), prompts, temperature, seed=round(1000 * temperature))
            return {"ids": ids.astype(np.int16), "lengths": lengths}

        found = self._array("texts", f"{name}@{temperature:g}", f"{self.identity(name)} {self.size.texts}", make)
        return found["ids"].astype(np.int64), found["lengths"]

    def text_score(self, name: str, writer: str, temperature: float) -> np.ndarray:
        """The log-likelihood of each sampled text's completion under a model, in nats: float64 [texts]. The prompt
        takes no part.
        """

        def make() -> dict[str, np.ndarray]:
            found = palimpsest.losses(self.model(name), *self.text(writer, temperature))
            return {"score": -np.nansum(found[:, derive.PROMPT :].astype(np.float64), axis=1)}

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

    def _mine(self, file: Path, identity: str, name: str) -> None:
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
            with np.load(file) as held:
                if str(held["identity"]) == identity:
                    return {key: held[key] for key in held.files if key != "identity"}
        began = time.monotonic()
        made = make()
        memory = io.BytesIO()
        np.savez_compressed(memory, identity=np.array(identity), **made)
        files.write(file, memory.getvalue(), parents=True)
        self._log(name=f"{folder}/{name}", kind=folder, identity=identity, seconds=round(time.monotonic() - began, 1))
        return made

    def _log(self, **line: Any) -> None:
        self.say(f"{line['name']}: {line['seconds']} s" + (f", loss {line['loss']}" if "loss" in line else ""))
        files.append(self.out / "log.jsonl", json.dumps(line) + "\n")

    def _make(self, entry: Entry, parents: list[torch.nn.Module]) -> tuple[torch.nn.Module, dict[str, Any]]:
        """A model from its parents, and what is worth noting about it."""
        o, recipe = entry.options, entry.recipe
        if entry.kind == "trained":
            made, trained = palimpsest.train(recipe)
            derive.whole(made, trained)
            return made, {
                "loss": round(float(trained.losses.lm.iloc[-50:].mean()), 4),
                "first_loss": round(float(trained.losses.lm.iloc[0]), 4),
                "steps": trained.step,
            }
        if entry.kind == "retrained":
            return retrained(recipe, self.out / "stems", o["tail"], o["shuffle"]), {}
        if entry.kind in ("tuned", "lora"):
            rows = derive.share_of(self.size.base, o["share"], o["domain"], o["seed"])
            return (derive.tuned if entry.kind == "tuned" else derive.with_lora)(
                parents[0], rows, recipe, seed=o["seed"], rate=o["rate"]
            ), {
                "rows": len(rows[0]),
                "tokens": int((rows[1] - 1).sum()),
            }
        if entry.kind == "continued":
            count = round(o["share"] * self.size.base.rows / recipe.batch) * recipe.batch
            some = np.random.default_rng(o["seed"]).permutation(len(self.ids))[:count]
            return derive.tuned(
                parents[0],
                (self.ids[some], self.lengths[some]),
                recipe,
                seed=o["seed"],
                rate=1.0,
                schedule=recipe.schedule,
            ), {"rows": count}
        if entry.kind == "average":
            return derive.average(*parents, o["weight"]), {}
        if entry.kind == "rounded":
            return derive.rounded(parents[0], o["bits"]), {}
        if entry.kind == "pruned":
            return derive.pruned(parents[0], o["share"]), {}
        if entry.kind == "soft":  # fresh rows: the student never sees a row of Alice
            return (
                derive.distilled(
                    parents[0],
                    recipe,
                    palimpsest.tokens_of(replace(recipe, skip=2 * recipe.rows)),
                    soft=True,
                    seed=o["seed"],
                ),
                {},
            )
        rows = derive.sampled(parents[0], derive.prompts_of(recipe.rows, 0, length=0), 1.0, seed=o["seed"])
        return derive.distilled(parents[0], recipe, rows, soft=False, seed=o["seed"]), {
            "tokens": int((rows[1] - 1).sum())
        }


def retrained(recipe: Recipe, folder: Path, tail: float, shuffle: int | None) -> torch.nn.Module:
    """The model of `recipe` with the last `tail` of its order read in a fresh shuffle, from the weights and the
    optimiser's state at that point.

    `shuffle`: the seed of the new order of the tail; None keeps the true order. `folder` keeps the state for the next
    call.
    """
    order = palimpsest.order_of(recipe)
    steps = len(order) // recipe.batch
    stem, first = folder / f"{recipe.sha256()[:16]}-{tail:g}", steps - max(1, round(tail * steps))
    if not any(stem.glob("step-*")):
        shutil.rmtree(stem, ignore_errors=True)
        done: list[int] = []
        palimpsest.train(
            recipe, folder=stem, after_step=lambda batch: done.append(batch.step), stop=lambda: len(done) == first
        )
    if shuffle is not None:
        digest = hashlib.sha256(f"palimpsest tail {recipe.order_seed} {shuffle}".encode()).digest()
        order = copy.copy(order)
        np.random.default_rng(int.from_bytes(digest[:8], "little")).shuffle(order[first * recipe.batch :])
    branch = folder / f".branch-{stem.name}-{shuffle}"
    shutil.rmtree(branch, ignore_errors=True)
    shutil.copytree(stem, branch)
    try:
        made = palimpsest.build(recipe)
        trained = palimpsest.fit(
            made,
            palimpsest.padded(*palimpsest.tokens_of(recipe)),
            order,
            recipe,
            parameters=lambda name: True,
            folder=branch,
        )
    finally:
        shutil.rmtree(branch, ignore_errors=True)
    return derive.whole(made, trained)
