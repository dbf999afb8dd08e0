"""The running sums behind `statistics`: what one batch adds, and the file that they are taken up from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import files, reading
from ..engine.experts import Routed
from ..engine.linear import Linear
from ..models.hash import older
from ..models.placement import device_of
from ..notices import warn
from .errors import SubspaceError

#: Lines of `Stats.sums`: sums over rows, then over items the first and second moments of an item's mean.
LINES = ("energy", "unit", "item_energy", "item_energy_squared", "item_unit", "item_unit_squared", "absolute")
#: Seconds between two writes of a file.
SAVE_EVERY = 10.0


class Sums:
    """What is summed up so far. A batch counts when it has ended: whatever cuts it short leaves the sums of whole
    batches.
    """

    def __init__(self, model: str, second_moment: bool, each: bool, absolute: bool):
        self.model, self.keep_moment, self.keep_each, self.absolute = model, second_moment, each, absolute
        self.source: dict[str, str] = {}
        self.sums: dict[str, Tensor] = {}
        self.rows: dict[str, int] = {}
        self.moment: dict[str, Tensor] = {}
        self.each: dict[str, list[Tensor]] = {}
        self.each_rows: dict[str, list[Tensor]] = {}
        self.reached: dict[str, int] = {}
        self.whole = True
        self._space: dict[tuple, Tensor] = {}

    def begin(self, items: int, counted: Tensor | None, owner: Sequence[int]) -> None:
        """Begins a batch of `items` items; `owner` says which item each row is of, `counted` which tokens count."""
        self.items, self.counted, self.owner = items, counted, torch.as_tensor(list(owner), dtype=torch.long)
        if not len(self.owner) or int(self.owner.max()) >= items:
            raise SubspaceError(
                f"owner names item {int(self.owner.max()) if len(self.owner) else None} of a batch of {items}; expected"
                f" numbers from 0 to {items - 1}, or -1."
            )
        self.plain = torch.equal(self.owner, torch.arange(items))
        self.now: dict[str, Tensor] = {}
        self.now_rows: dict[str, Tensor] = {}
        # second moments are added to as the batch runs: only they make a batch that was cut short unusable
        self.whole = not self.keep_moment
        self.last: tuple[str, Tensor, int] | None = None
        self.masks: dict[tuple, tuple[Tensor, Tensor]] = {}

    def see(self, name: str, x: Tensor, routed: Routed | None = None) -> None:
        """One layer's input [rows, d_in]: its energies by element of the batch, as one product of the squares with the
        rows' weights. `routed`: of an expert, whose rows these are.
        """
        if routed is not None:
            return self._expert(name, x.float(), routed)
        if self._again(name, x):
            return
        if self.source.setdefault(name, name) != name:
            raise SubspaceError(
                f"{name} shared its input with {self.source[name]} before and does not now; compute the statistics of"
                " the two in separate calls."
            )
        # holding it keeps its memory from being another layer's input meanwhile
        self.last = (name, x, x._version)
        elements = len(self.owner)
        if len(x) % elements:
            raise SubspaceError(
                f"{name}: {len(x)} rows cannot be split over {elements} elements of a batch; say with owner which"
                " element belongs to which item."
            )
        x = x.float().reshape(elements, -1, x.shape[-1])
        counted, rows = self._counted(x)
        space = self._space.get((x.shape, x.device))
        if space is None:
            self._space = {k: v for k, v in self._space.items() if k[0][:2] == x.shape[:2]}
            space = self._space[x.shape, x.device] = torch.empty_like(x)
        squares = torch.mul(x, x, out=space)
        whole = squares.sum(-1)
        weights = torch.stack([counted, torch.where(whole > 0, counted / whole, 0.0)], 1)
        out = torch.bmm(weights, squares)
        if self.absolute:
            out = torch.cat([out, torch.bmm(counted[:, None], torch.abs(x, out=space))], 1)
        if not self.plain:
            valid = (self.owner >= 0).nonzero()[:, 0]
            owner = self.owner[valid].to(x.device)
            out = out.new_zeros(self.items, *out.shape[1:]).index_add_(0, owner, out[valid.to(x.device)])
        self._add(name, out, rows)
        if self.keep_moment:
            self._add_moment(name, (x if bool((counted == 1).all()) else x * counted[..., None]).flatten(0, 1))

    def _expert(self, name: str, x: Float[Tensor, "some d_in"], routed: Routed) -> None:
        """The same of the rows that an expert was given, each counted for the item that its token is of."""
        self.source.setdefault(name, name)
        elements = len(self.owner)
        if routed.tokens % elements:
            raise SubspaceError(
                f"{name}: {routed.tokens} tokens cannot be split over {elements} elements of a batch; say with owner"
                " which element belongs to which item."
            )
        length = routed.tokens // elements
        weight, _ = self._counted(x.new_empty(elements, length, 0))
        weight = weight.reshape(-1)[routed.rows]
        owner = self.owner.to(x.device)[routed.pieces(elements)]
        x, weight, owner = x[weight > 0], weight[weight > 0], owner[weight > 0]
        squares = x.square()
        whole = squares.sum(-1)
        unit = torch.where(whole > 0, weight / whole, 0.0)
        kinds = [squares * weight[:, None], squares * unit[:, None]]
        if self.absolute:
            kinds.append(x.abs() * weight[:, None])
        out = x.new_zeros(self.items, len(kinds), x.shape[1]).index_add_(0, owner, torch.stack(kinds, 1))
        rows = torch.zeros(self.items, dtype=torch.float64).index_add_(0, owner.cpu(), weight.cpu().double())
        self._add(name, out, rows)
        if self.keep_moment:
            self._add_moment(name, x)

    def _add(self, name: str, out: Tensor, rows: Tensor) -> None:
        self.now[name] = out if name not in self.now else self.now[name] + out
        self.now_rows[name] = rows if name not in self.now_rows else self.now_rows[name] + rows

    def _add_moment(self, name: str, flat: Float[Tensor, "n d_in"]) -> None:
        if name not in self.moment:
            self.moment[name] = torch.zeros(flat.shape[1], flat.shape[1], device=flat.device)
        self.moment[name] = self.moment[name].to(flat.device).addmm_(flat.T, flat)

    def _again(self, name: str, x: Tensor) -> bool:
        """Whether this is the tensor that the layer before was given, unchanged: its sums are then kept once."""
        if self.last is None or self.last[0] == name:
            return False
        entry, last, version = self.last
        same = (x.data_ptr(), x.shape, x.stride(), x._version) == (last.data_ptr(), last.shape, last.stride(), version)
        return same and self.source.setdefault(name, entry) == entry

    def _counted(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [elements, rows] of an input of this shape, and the rows that count for each item."""
        key = (x.shape[1], x.device)
        if key not in self.masks:
            if self.counted is not None and self.counted.shape[1] != x.shape[1]:
                raise SubspaceError(
                    f"a layer saw {x.shape[1]} rows an element where the tokens are {self.counted.shape[1]}; choose"
                    " layers that see every token, or give run."
                )
            counted = torch.ones(x.shape[:2]) if self.counted is None else self.counted
            counted = counted * (self.owner >= 0)[:, None]
            rows = torch.zeros(self.items, dtype=torch.float64).index_add_(
                0, self.owner.clamp_min(0), counted.sum(1).double()
            )
            self.masks[key] = counted.to(x.device), rows
        return self.masks[key]

    def end(self, layers: Mapping[str, Linear]) -> None:
        """The batch is whole: add it. An expert that no token reached has no rows."""
        experts = {name: linear for name, linear in layers.items() if linear.expert is not None}
        for name, linear in experts.items():
            self.source.setdefault(name, name)
            if name not in self.now:
                none = torch.zeros(0, linear.d_in, device=device_of(linear.module))
                self.now[name] = none.new_zeros(self.items, 3 if self.absolute else 2, linear.d_in)
                self.now_rows[name] = torch.zeros(self.items, dtype=torch.float64)
                if self.keep_moment:
                    self._add_moment(name, none)
        if unseen := [name for name in layers if name not in self.source]:
            raise SubspaceError(
                f"{unseen[0]} was not reached when the model ran; choose layers that the run passes through."
            )
        sums, rows, reached = dict(self.sums), dict(self.rows), dict(self.reached)
        names = list(self.now)
        flat = torch.cat([self.now[name].flatten(1).cpu() for name in names], 1).split(
            [self.now[name][0].numel() for name in names], 1
        )
        each = {}
        for name, values in zip(names, flat):
            each[name] = values.view(self.items, -1, self.now[name].shape[-1])
            lines, r = lines_of(each[name], self.now_rows[name]), self.now_rows[name]
            sums[name] = lines if name not in sums else sums[name] + lines
            rows[name] = rows.get(name, 0) + int(r.sum())
            if name in experts:
                reached[name] = reached.get(name, 0) + int((r > 0).sum())
        self.sums, self.rows, self.reached = sums, rows, reached
        if self.keep_each:
            for name in names:
                self.each.setdefault(name, []).append(each[name][:, :2].clone())
                self.each_rows.setdefault(name, []).append(self.now_rows[name])
        self.last, self.whole = None, True

    def fields(self, items: int) -> dict[str, Any]:
        """The fields of `Stats`."""

        def joined(parts):
            return {name: torch.cat(values) for name, values in parts.items()}

        return dict(
            source=dict(self.source),
            sums=self.sums,
            rows=self.rows,
            items=items,
            model=self.model,
            moment={k: v.cpu() for k, v in self.moment.items()},
            each=joined(self.each),
            each_rows=joined(self.each_rows),
            reached=dict(self.reached),
        )


def lines_of(each: Float[Tensor, "item kind d_in"], rows: Float[Tensor, " item"]) -> Float[Tensor, "line d_in"]:
    """The lines of `LINES` from items' sums, float64."""
    each = each.double()
    energy, unit = each[:, 0], each[:, 1]
    counted = rows > 0
    mean = torch.where(counted[:, None, None], each[:, :2] / rows.clamp_min(1)[:, None, None], 0.0)
    lines = [
        energy.sum(0),
        unit.sum(0),
        mean[:, 0].sum(0),
        mean[:, 0].square().sum(0),
        mean[:, 1].sum(0),
        mean[:, 1].square().sum(0),
    ]
    return torch.stack(lines + ([each[:, 2].sum(0)] if each.shape[1] > 2 else []))


class SumsFile:
    """What was counted so far, on disk: one file a computation, replaced whole."""

    def __init__(self, folder: str | os.PathLike, identity: dict[str, Any]):
        folder = files.expanded(folder)
        if folder.exists() and not folder.is_dir():
            raise SubspaceError(f"folder={str(folder)!r} is a file; give a folder.")
        files.make_folder(folder)
        self.identity, self.path = self._named(folder, identity)
        if not self.path.is_file() and any(folder.glob("statistics-*.safetensors")):
            before = self._named(folder, older(identity))
            self.identity, self.path = before if before[1].is_file() else (self.identity, self.path)
        self.written, self.cost, self.done = time.monotonic(), 0.0, -1

    @staticmethod
    def _named(folder: Path, identity: dict[str, Any]) -> tuple[str, Path]:
        text = json.dumps({"schema": 1, **identity}, sort_keys=True)
        return text, folder / f"statistics-{hashlib.sha256(text.encode()).hexdigest()[:24]}.safetensors"

    def write(self, sums: Sums, count: int, now: bool = False) -> None:
        """Writes the sums after batch `done`, where it is time for it."""
        # a large state is written less often: at most a twentieth of the time goes into it
        if (
            count == self.done
            or not sums.whole
            or (not now and time.monotonic() - self.written < max(SAVE_EVERY, 20 * self.cost))
        ):
            return
        began = time.monotonic()
        tensors = {f"sums/{k}": v for k, v in sums.sums.items()} | {
            f"moment/{k}": v.cpu() for k, v in sums.moment.items()
        }
        for kind in ("each", "each_rows"):
            tensors |= {f"{kind}/{k}": torch.cat(v) for k, v in getattr(sums, kind).items()}
        about = {
            "identity": self.identity,
            "done": str(count),
            "source": json.dumps(sums.source),
            "rows": json.dumps(sums.rows),
            "reached": json.dumps(sums.reached),
        }
        files.write_tensors(self.path, tensors, about)
        self.written, self.cost, self.done = time.monotonic(), time.monotonic() - began, count

    def read(self, sums: Sums) -> int:
        """Put what is there into `sums`; how many items it covers. A file that cannot be read is set aside."""
        if not self.path.is_file():
            return 0
        try:
            with safe_open(self.path, "pt") as file:
                about = file.metadata() or {}
                if about.get("identity") != self.identity:
                    raise ValueError("it holds other statistics")
                for name in file.keys():
                    kind, _, layer = name.partition("/")
                    value = file.get_tensor(name)
                    if kind in ("each", "each_rows"):
                        getattr(sums, kind)[layer] = [value]
                    else:
                        getattr(sums, kind)[layer] = value
            sums.source, sums.rows, sums.reached, count = (
                reading.value(about["source"], dict),
                reading.value(about["rows"], dict),
                reading.value(about.get("reached", "{}"), dict),
                int(about["done"]),
            )
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            warn(f"{self.path} cannot be read ({error}); it is set aside and counted anew")
            with contextlib.suppress(OSError):
                os.replace(self.path, self.path.with_suffix(".damaged"))
            for value in (sums.source, sums.sums, sums.rows, sums.reached, sums.moment, sums.each, sums.each_rows):
                value.clear()
            return 0
        self.done = count
        return count
