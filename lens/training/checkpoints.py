"""Checkpoints of a training run: safetensors and JSON, written whole or not at all, and refused where they belong to another run."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError

from .recipe import TrainingError

if TYPE_CHECKING:
    from .loop import _Run

KEPT = 2


class Checkpoints:
    """The folder of one run: `step-00000100/` with `weights.safetensors`, `optimizer.safetensors` and `state.json`, the last two of them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.identity: dict[str, Any] = {}
        self.resumed: int | None = None

    def found(self) -> list[Path]:
        """Finished checkpoints, the oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if (path / "state.json").is_file())

    def save(self, run: _Run, finished: int) -> bool:
        """Write the state after `finished` steps, unless the run was resumed from there, and drop all but the last two; False, with nothing written, where
        a weight is not finite."""
        from safetensors.torch import save_file

        if not run.finite():
            return False
        place = self.folder / f"step-{finished:08d}"
        if finished != self.resumed:
            self.folder.mkdir(parents=True, exist_ok=True)
            stage = Path(tempfile.mkdtemp(dir=self.folder, prefix=".stage-"))
            try:
                save_file({name: value.detach().cpu().contiguous() for name, value in run.chosen.items()}, stage / "weights.safetensors")
                moments = {f"{name}|{key}": value.detach().cpu().contiguous() for name, p in run.chosen.items() for key, value in run.optimizer.state[p].items()}
                save_file(moments, stage / "optimizer.safetensors")
                state = {"identity": self.identity, "finished": finished, "losses": run.losses, "evaluations": run.evaluations}
                (stage / "state.json").write_text(json.dumps(state), encoding="utf-8")
                for path in stage.iterdir():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
                shutil.rmtree(place, ignore_errors=True)  # one that could not be used
                os.replace(stage, place)
            finally:
                shutil.rmtree(stage, ignore_errors=True)
        for old in self.found()[:-KEPT]:
            shutil.rmtree(old)
        return True

    def remove(self, finished: int) -> None:
        """Drop the checkpoint after `finished` steps."""
        shutil.rmtree(self.folder / f"step-{finished:08d}")

    def resume(self, run: _Run, identity: dict[str, Any]) -> int:
        """Put the newest checkpoint that can be read and is finite into `run` and return how many steps are finished (0: none was there)."""
        self.identity = identity
        if self.folder.exists() and not self.folder.is_dir():
            raise TrainingError(f"folder={str(self.folder)!r} is a file; give a folder")
        for stale in self.folder.glob(".stage-*"):
            shutil.rmtree(stale, ignore_errors=True)
        found = self.found()
        if self.folder.exists() and not found and any(self.folder.iterdir()):
            raise TrainingError(f"folder={str(self.folder)!r} is not empty and holds no checkpoint; give a new folder or an empty one")
        for place in reversed(found):
            try:
                self.resumed = self._load(run, place)
                return self.resumed
            except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
                if isinstance(error, TrainingError):
                    raise
                warnings.warn(f"the checkpoint {place} cannot be used ({error}); the one before it is tried", stacklevel=4)
        if found:
            raise TrainingError(f"folder={str(self.folder)!r}: no checkpoint in it can be used; remove the folder to start anew")
        return 0

    def _load(self, run: _Run, place: Path) -> int:
        from safetensors.torch import load_file

        state = json.loads((place / "state.json").read_text(encoding="utf-8"))
        for key in {**state["identity"], **self.identity}:
            if state["identity"].get(key) != (value := self.identity.get(key)):
                raise TrainingError(f"folder={str(self.folder)!r} holds a run with another {key}: {_short(state['identity'].get(key))}, and this call has {_short(value)}; "
                                    "give another folder, or remove this one to start anew")
        weights, moments = load_file(place / "weights.safetensors"), load_file(place / "optimizer.safetensors")
        if bad := [name for name in run.chosen if not bool(torch.isfinite(weights[name]).all())]:
            raise ValueError(f"its weights {bad[0]} are not finite")
        keys = {name: {key.rpartition("|")[2]: value for key, value in moments.items() if key.rpartition("|")[0] == name} for name in run.chosen}
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
