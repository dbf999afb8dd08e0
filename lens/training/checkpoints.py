"""Checkpoints of a training run: safetensors and JSON, written whole or not at all, and refused where they belong to
another run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError

from .. import files, locks, reading
from ..models.hash import older
from ..notices import warn
from .recipe import TrainingError

#: Checkpoints that stay; older ones are dropped.
MOST = 2


class Resumable(Protocol):
    """A training under way, as far as a checkpoint holds it."""

    losses: list[Any]
    evaluations: list[Any]

    @property
    def chosen(self) -> Mapping[str, torch.nn.Parameter]:
        """What is trained, by name."""
        ...

    @property
    def optimizer(self) -> torch.optim.Optimizer:
        """What trains it."""
        ...

    def finite(self) -> bool:
        """Whether all that is trained is finite."""
        ...


class Checkpoints:
    """The folder of one run: `step-00000100/` with `weights.safetensors`, `optimizer.safetensors` and `state.json`, the
    last two of them.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.identity: dict[str, Any] = {}
        self.resumed: int | None = None

    def hold(self) -> AbstractContextManager[None]:
        """Hold the folder for this run. Raises TrainingError: it is a file; lens.locks.Busy: another run is at work in
        it.
        """
        if self.folder.exists() and not self.folder.is_dir():
            raise TrainingError(f"folder={str(self.folder)!r} is a file; give a folder")
        return locks.at_work(self.folder, "a training")

    def places(self) -> list[Path]:
        """Finished checkpoints, the oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if (path / "state.json").is_file())

    def save(self, run: Resumable, finished: int) -> bool:
        """Write the state after `finished` steps, unless the run was resumed from there, and drop all but the last two;
        False, with nothing written, where a weight is not finite.
        """
        from safetensors.torch import save_file

        if not run.finite():
            return False
        place = self.folder / f"step-{finished:08d}"
        if finished != self.resumed:
            state = {
                "identity": self.identity,
                "finished": finished,
                "losses": run.losses,
                "evaluations": run.evaluations,
            }
            moments = {
                f"{name}|{key}": value.detach().cpu().contiguous()
                for name, p in run.chosen.items()
                for key, value in run.optimizer.state[p].items()
            }
            with files.replacing(place, parents=True) as stage:
                stage.mkdir()
                save_file(
                    {name: value.detach().cpu().contiguous() for name, value in run.chosen.items()},
                    stage / "weights.safetensors",
                )
                save_file(moments, stage / "optimizer.safetensors")
                (stage / "state.json").write_text(json.dumps(state), encoding="utf-8")
        for old in self.places()[:-MOST]:
            files.discard(old)
        return True

    def remove(self, finished: int) -> None:
        """Drop the checkpoint after `finished` steps."""
        files.discard(self.folder / f"step-{finished:08d}")

    def resume(self, run: Resumable, identity: dict[str, Any]) -> int:
        """Put the newest checkpoint that can be read and is finite into `run` and return how many steps are finished
        (0: none was there).
        """
        self.identity = identity
        if self.folder.exists():
            for stale in (*self.folder.glob(".step-*.part"), *self.folder.glob(".stage-*")):
                files.discard(stale)  # of a run that ended on the way: the folder is held by this one
        places = self.places()
        if self.folder.exists() and not places and any(path.name != locks.NAME for path in self.folder.iterdir()):
            raise TrainingError(
                f"folder={str(self.folder)!r} is not empty and holds no checkpoint; give a new folder or an empty one"
            )
        for place in reversed(places):
            try:
                self.resumed = self._load(run, place)
                return self.resumed
            except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
                if isinstance(error, TrainingError):
                    raise
                warn(f"the checkpoint {place} cannot be used ({error}); the one before it is tried")
        if places:
            raise TrainingError(
                f"folder={str(self.folder)!r}: no checkpoint in it can be used; remove the folder to start anew"
            )
        return 0

    def _load(self, run: Resumable, place: Path) -> int:
        from safetensors.torch import load_file

        state = reading.json_file(place / "state.json", ValueError)
        for key in {**state["identity"], **self.identity}:
            stored, value = state["identity"].get(key), self.identity.get(key)
            if stored != value and stored != older(value):
                raise TrainingError(
                    f"folder={str(self.folder)!r} holds a run with another {key}: {_short(stored)},"
                    f" and this call has {_short(value)}; give another folder, or remove this one to start anew"
                )
        weights, moments = load_file(place / "weights.safetensors"), load_file(place / "optimizer.safetensors")
        if bad := [name for name in run.chosen if not bool(torch.isfinite(weights[name]).all())]:
            raise ValueError(f"its weights {bad[0]} are not finite")
        keys = {
            name: {key.rpartition("|")[2]: value for key, value in moments.items() if key.rpartition("|")[0] == name}
            for name in run.chosen
        }
        with torch.no_grad():
            for name, parameter in run.chosen.items():
                parameter.copy_(weights[name])
        state_of = run.optimizer.state_dict()
        state_of["state"] = {number: keys[name] for number, name in enumerate(run.chosen) if keys[name]}
        run.optimizer.load_state_dict(state_of)
        run.losses[:], run.evaluations[:] = state["losses"], state["evaluations"]
        return int(state["finished"])


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) < 100 else text[:80] + "..."
