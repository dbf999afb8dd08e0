"""Arms that have ended, kept in a folder, so that the same call goes on with the next."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import torch

from .. import containers, files, locks, reading
from ..results.dataset import fingerprint
from .errors import UnlearningError
from .paths import Path

_HEAD = "unlearning.json"


def hold(folder: Any) -> contextlib.AbstractContextManager[None]:
    """Hold the folder of an experiment, if there is one. Raises: lens.locks.Busy: another is at work in it."""
    return contextlib.nullcontext() if folder is None else locks.at_work(files.expanded(folder), "unlearning")


class Kept:
    """A folder of one experiment: `unlearning.json` says which; of each arm that has ended `arm-<name>.safetensors` has
    the looks and, written last, `arm-<name>.json` the doses and how it ended (after the name a few digits of its hash).
    Without a folder nothing is kept.

    An arm whose steps no text tells (edits, parameters chosen by a function) is walked anew each time.
    """

    def __init__(self, folder: Any, what: Mapping[str, Any]):
        self.folder: FilePath | None = None if folder is None else files.expanded(folder)
        if self.folder is None:
            return
        head, mark = self.folder / _HEAD, fingerprint(what)
        if head.is_file():
            if reading.json_file(head, _refuse).get("fingerprint") != mark:
                raise UnlearningError(
                    f"folder={str(self.folder)!r} holds another experiment (other models, sets, arms or options); give"
                    " an empty folder, or the same call."
                )
        elif any(path.name != locks.NAME and not files.leftover(path) for path in self.folder.iterdir()):
            raise UnlearningError(
                f"folder={str(self.folder)!r} is not empty and holds no experiment; give an empty folder."
            )
        else:
            files.write_json(head, {"fingerprint": mark, "what": what})

    def arm(self, name: str) -> dict[str, Path] | None:
        """The paths of an arm that ended earlier, its own and those of attacks; None if it has not."""
        if self.folder is None or not (done := self._file(name, "json")).is_file():
            return None
        values = containers.tensors(self._file(name, "safetensors"), _refuse, "np")[0]
        paths = {}
        for key, about in reading.json_file(done, _refuse)["paths"].items():
            looks: list[dict[str, Any]] = [{} for _ in about["doses"]]
            for place, array in values.items():
                of, k, variable = json.loads(place)
                if of == key:
                    looks[k][variable] = array
            paths[key] = Path(about["doses"], looks, about["status"], about["seconds"])
        return paths

    def keep(self, name: str, paths: Mapping[str, Path]) -> None:
        """Write an arm that has ended."""
        if self.folder is None or any(path.status not in ("complete", "diverged") for path in paths.values()):
            return
        arrays = {
            json.dumps([key, k, variable]): torch.from_numpy(array.copy())
            for key, path in paths.items()
            for k, look in enumerate(path.looks)
            for variable, array in look.items()
        }
        about = {key: {"doses": p.doses, "status": p.status, "seconds": p.seconds} for key, p in paths.items()}
        files.write_tensors(self._file(name, "safetensors"), arrays)
        files.write_json(self._file(name, "json"), {"paths": about})

    def _file(self, name: str, suffix: str) -> FilePath:
        assert self.folder is not None
        plain = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        return self.folder / f"arm-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.{suffix}"


def _refuse(said: str) -> UnlearningError:
    return UnlearningError(f"folder: {said}; give an empty folder, and the same call runs anew.")
