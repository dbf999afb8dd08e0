"""A drawing of DiffusionBench in what JSON can hold: measures, finished pictures, the mask."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from lens import diffusion, files, subspace
from widgets.base import state
from widgets.base.force import file_of
from widgets.diffusion_bench.captions import Captions, decoded, encoded
from widgets.diffusion_bench.question import STATES, Drawing, Edit, Pictures, Question


def pack(run: Drawing, bound: diffusion.Threshold | None) -> dict[str, Any]:
    """The run with its finished pictures as they are sent, and what counts as a copy."""
    edit = run.edit
    return {
        "question": asdict(run.question),
        "captions": list(run.of.captions),
        "attack": run.attack,
        "bound": None if bound is None else state.to_json(asdict(bound)),
        "drawn": {name: _pack_drawn(one) for name, one in run.states().items()},
        "mask": None if edit is None else state.to_json(file_of(edit.mask)),
        "attacked": None if edit is None else [list(edit.attack), state.to_json(edit.never)],
        "map": None if run.map is None else state.pack(run.map),
        "dataset": None if run.dataset is None else state.pack(run.dataset),
        "status": run.status,
        "seconds": run.seconds,
        "stage": run.stage,
        "steps": [run.done, run.total],
        "hashes": list(run.hashes),
    }


def question_of(packed: dict[str, Any]) -> Question:
    """The question of the run that `pack` was given."""
    return Question(**packed["question"] | {"chosen": tuple(packed["question"]["chosen"])})


def unpack(
    packed: dict[str, Any], of: Captions, reference: Captions | None, control: int, number: int
) -> tuple[Drawing, diffusion.Threshold | None]:
    """What `pack` was given; `control`: the seed of the random mask."""
    question, drawn = question_of(packed), {name: _unpack_drawn(one) for name, one in packed["drawn"].items()}
    attack = packed["attack"]
    before, after = packed["hashes"]
    run = Drawing(
        question,
        of,
        reference,
        None if attack is None else (attack[0], attack[1]),
        number,
        drawn.get(STATES[0]),
        map=None if packed["map"] is None else state.unpack(packed["map"]),
        dataset=None if packed["dataset"] is None else state.unpack(packed["dataset"]),
        status=packed["status"],
        seconds=packed["seconds"],
        stage=packed["stage"],
        done=packed["steps"][0],
        total=packed["steps"][1],
        hashes=(before, after),
    )
    if packed["mask"] is not None:
        mask, ((count, start), never) = _mask_in(state.from_json(packed["mask"])), packed["attacked"]
        pictures = {name: drawn.get(name) for name in STATES[1:]}
        run.edit = Edit(
            question,
            mask,
            subspace.random_like(mask, control),
            **pictures,
            never=state.from_json(never),
            attack=(count, start),
        )
    return run, None if packed["bound"] is None else diffusion.Threshold(**state.from_json(packed["bound"]))


def _pack_drawn(one: Pictures) -> dict[str, Any]:
    captions, seeds = one.last.shape
    return {
        "frames": list(one.frames),
        "shape": [captions, seeds],
        "files": state.to_json(one.files[-1] if one.files else encoded(one.pictures.flatten(0, 1))),
        "values": state.to_json(one.values),
    }


def _unpack_drawn(packed: dict[str, Any]) -> Pictures:
    saved, frames = state.from_json(packed["files"]), tuple(packed["frames"])
    images = decoded(saved).unflatten(0, packed["shape"])
    earlier = [[b""] * len(saved) for _ in frames[1:]]
    return Pictures(frames, [*earlier, saved], images, np.asarray(state.from_json(packed["values"])))


def _mask_in(content: bytes) -> subspace.Mask:
    with tempfile.TemporaryDirectory() as folder:
        return subspace.Mask.load(files.write(Path(folder) / "mask.npz", content))
