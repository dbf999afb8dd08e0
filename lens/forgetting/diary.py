"""What a sequence writes down, so that the same call goes on where it was cut: measurements as they are made, weights
and losses as stages end.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from .. import containers, files, locks, reading
from ..models.hash import older
from ..results.dataset import fingerprint
from .data import ForgettingError

_HEAD, _DONE, _WEIGHTS, _LOSSES = "sequence.json", "done.json", "weights.safetensors", "losses.parquet"


@dataclass(frozen=True)
class StageEnd:
    """A stage that ended earlier."""

    losses: pd.DataFrame
    notes: dict[str, Any]


def hold(folder: Any) -> contextlib.AbstractContextManager[None]:
    """Hold the folder of a sequence, if there is one. Raises: lens.locks.Busy: another is at work in it."""
    return (
        contextlib.nullcontext() if folder is None else locks.at_work(files.expanded(folder), "a sequence of trainings")
    )


class Diary:
    """A folder of a sequence; without a folder nothing is kept.

    Layout: ``sequence.json``; per stage ``stage-<j>/train`` (the training's own checkpoints), ``step-<s>.safetensors``,
    and at its end ``weights.safetensors`` (only what the sequence can have changed), ``losses.parquet`` and, last,
    ``done.json``.
    """

    def __init__(self, folder: Any, what: Mapping[str, Any], keep_all: bool):
        self.folder = None if folder is None else files.expanded(folder)
        self.keep_all = keep_all
        if self.folder is None:
            return
        mark, head = fingerprint(what), self.folder / _HEAD
        if head.is_file():
            record = reading.json_file(head, _refuse)
            if not isinstance(record.get("what"), dict) or "fingerprint" not in record:
                raise _refuse(f"{head} is no record of a sequence")
            if "state" in what and "state" not in record["what"]:
                raise ForgettingError(
                    f"folder={str(self.folder)!r} was made before folders recorded the state of their model"
                    " (configuration, buffers, adapters), so it cannot be told whether it is this experiment's; give"
                    " an empty folder."
                )
            if record["fingerprint"] != mark and record["fingerprint"] != fingerprint(older(what)):
                raise ForgettingError(
                    f"folder={str(self.folder)!r} holds another experiment ({_difference(record['what'], what)}); give"
                    " an empty folder, or the same call."
                )
        else:
            if self.folder.exists() and any(
                path.name != locks.NAME and not files.leftover(path) for path in self.folder.iterdir()
            ):
                raise ForgettingError(
                    f"folder={str(self.folder)!r} is not empty and holds no sequence; give an empty folder."
                )
            files.write_json(head, {"fingerprint": mark, "what": what}, parents=True)

    def _stage(self, number: int) -> Path | None:
        """The folder of a stage; None where nothing is kept."""
        return None if self.folder is None else self.folder / f"stage-{number}"

    def training(self, number: int) -> Path | None:
        """Where the training of a stage keeps its checkpoints."""
        return None if (stage := self._stage(number)) is None else stage / "train"

    def note(self, number: int, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Writes one measurement down."""
        if (stage := self._stage(number)) is None:
            return
        from safetensors.numpy import save

        files.write(
            stage / f"step-{step}.safetensors",
            save({k: np.ascontiguousarray(v) for k, v in values.items()}),
            parents=True,
        )

    def measurements(self, number: int) -> dict[int, dict[str, np.ndarray]]:
        """What was measured in a stage so far, by step."""
        if (stage := self._stage(number)) is None:
            return {}
        return {
            int(p.stem.removeprefix("step-")): containers.tensors(p, _refuse, "np")[0]
            for p in sorted(stage.glob("step-*.safetensors"))
        }

    def finish(
        self, number: int, model: Any, names: Iterable[str], losses: pd.DataFrame, notes: Mapping[str, Any]
    ) -> None:
        """Writes a stage's end: first its weights, last the mark that it is done; then the earlier stage's weights and
        the checkpoints go.
        """
        if (stage := self._stage(number)) is None:
            return
        own = dict(model.named_parameters())
        files.write_tensors(stage / _WEIGHTS, {n: own[n] for n in names}, parents=True)
        files.write(stage / _LOSSES, losses.to_parquet())
        files.write_json(stage / _DONE, {"notes": dict(notes)})
        if not self.keep_all and (earlier := self._stage(number - 1)) is not None:
            (earlier / _WEIGHTS).unlink(missing_ok=True)
        for path in sorted((stage / "train").glob("**/*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def finished(self, number: int) -> StageEnd | None:
        """What a stage left when it ended; None if it has not."""
        stage = self._stage(number)
        if stage is None or not (stage / _DONE).is_file():
            return None
        return StageEnd(
            containers.parquet(stage / _LOSSES, _refuse).to_pandas(),
            reading.json_file(stage / _DONE, _refuse).get("notes", {}),
        )

    @torch.no_grad()
    def load_weights(self, number: int, model: Any) -> None:
        """Puts a stage's weights into the model; a stage whose weights went when the next one ended needs none."""
        if (stage := self._stage(number)) is None:
            return
        path = stage / _WEIGHTS
        if not path.is_file():
            if self.finished(number + 1) is None:
                raise ForgettingError(
                    f"folder: {path} is missing, so the sequence cannot go on; start it anew in an empty folder."
                )
            return
        own = dict(model.named_parameters())
        for name, value in containers.tensors(path, _refuse)[0].items():
            own[name].copy_(value)


def _refuse(said: str) -> ForgettingError:
    return ForgettingError(f"folder: {said}; give an empty folder, and the same call runs anew.")


def _difference(there: Any, now: Any, path: str = "") -> str:
    """The first entry in which two records differ."""
    now = json.loads(json.dumps(now))
    if isinstance(there, dict) and isinstance(now, dict):
        for key in sorted(there.keys() | now.keys()):
            if there.get(key) != now.get(key):
                return _difference(there.get(key), now.get(key), f"{path}.{key}" if path else key)
    if isinstance(there, list) and isinstance(now, list) and len(there) == len(now):
        return next(_difference(a, b, f"{path}[{i}]") for i, (a, b) in enumerate(zip(there, now)) if a != b)
    return f"{path}: {there!r:.80} there, {now!r:.80} here"
