"""Statistics of what goes into linear layers over token sets: streamed, additive, taken up where they were cut.

Of every input column (a neuron, where the layer is the second of a feed-forward block) two energies are summed over
rows: of the activations as they are, and of the rows scaled to unit length, as Chavhan et al. 2024 do. Each is kept as
the sum over all rows and as the first two moments over items of the item's mean, so that a contrast between two sets
has a variance. Layers with one common input (gate and up) are counted once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..arguments import Count, FilePath, HFModel, Size, door, unfit
from ..arguments.kinds import is_sequence
from ..engine.lengths import require_alike
from ..engine.linear import Linear, inputs_of
from ..engine.sessions import of_one_model
from ..engine.stopping import Stopped, says_stop
from ..models import weight_hash
from ..models.hash import same_record
from ..models.placement import device_of
from ..progress import hidden
from .data import Tokens, fitting, linear_layers, module_to_run, tokens_of
from .errors import SubspaceError
from .sums import LINES, Sums, SumsFile, lines_of


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Stats:
    """Sums over the inputs of linear layers.

    Attributes:
        source: layer name -> the layer that the sums of their common input are kept under.
        sums: [line, d_in] float64, the lines of `LINES` ("absolute" only where asked for). rows: rows counted. items:
            prompts (or whatever was run) counted.
        reached: of an expert, the items of which some row was sent to it; what is said of its items is said of these.
            An expert that no row was sent to has 0 rows, and no mean.
        moment: uncentred second moment, summed, [d_in, d_in] float32; empty unless asked for. each: [item, 2, d_in]
            float32, an item's own sums, and each_rows [item]; likewise.
        model: hash of the model's weights.
    """

    source: Mapping[str, str]
    sums: Mapping[str, Float[Tensor, "line d_in"]]
    rows: Mapping[str, Size]
    items: Size
    model: str
    moment: Mapping[str, Float[Tensor, "d_in d_in"]] = field(default_factory=dict)
    each: Mapping[str, Float[Tensor, "item two d_in"]] = field(default_factory=dict)
    each_rows: Mapping[str, Float[Tensor, " item"]] = field(default_factory=dict)
    reached: Mapping[str, Size] = field(default_factory=dict)

    @property
    def unreached(self) -> tuple[str, ...]:
        """The experts' layers that no row was sent to, of which these statistics say nothing."""
        return tuple(name for name in self.names if not self.rows[self.source[name]])

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the layers that were read."""
        return tuple(self.source)

    @door(SubspaceError)
    def mean(self, name: str, line: Literal["energy", "unit", "absolute"] = "energy") -> Float[Tensor, " d_in"]:
        """Mean over rows of "energy" (x^2), "unit" (x^2 / |x|^2) or "absolute" (|x|) of a layer's input columns,
        float64.
        """
        key, at = self._key(name), LINES.index(line)
        if at >= len(self.sums[key]):
            raise SubspaceError(
                f"line={line!r}: statistics without it; compute them with statistics(..., absolute=True)."
            )
        self._require_rows(name)
        return self.sums[key][at] / self.rows[key]

    @door(SubspaceError)
    def norm(self, name: str, line: Literal["energy", "unit", "absolute"] = "energy") -> Float[Tensor, " d_in"]:
        """Root of the mean energy of each column: |X_j| / sqrt(rows)."""
        return self.mean(name, line).sqrt()

    @door(SubspaceError)
    def item_moments(
        self, name: str, line: Literal["energy", "unit"] = "unit"
    ) -> tuple[Float[Tensor, " d_in"], Float[Tensor, " d_in"]]:
        """Mean and variance (n - 1) over items of an item's mean "energy" or "unit" energy; of an expert, over the
        items that reached it. Raises SubspaceError with fewer than two items.
        """
        n = self.items_of(name)
        if n < 2:
            where = f" of which a row was sent to {name}" if n < self.items else ""
            raise SubspaceError(
                f"statistics over {n} item{where} have no variance over items; give at least two prompts"
                f"{', or leave the layer out' if where else ''}."
            )
        at = LINES.index(f"item_{line}")
        first, second = self.sums[self._key(name)][at : at + 2] / n
        return first, (second - first.square()).clamp_min(0) * (n / (n - 1))

    @door(SubspaceError)
    def items_of(self, name: str) -> int:
        """How many items a layer's inputs are of: all, or those that reached an expert."""
        return self.reached.get(self._key(name), self.items)

    @door(SubspaceError)
    def second_moment(self, name: str) -> Float[Tensor, "d_in d_in"]:
        """E[x x^T] over rows, float64. Raises SubspaceError where it was not asked for."""
        if not self.moment:
            raise SubspaceError(
                "statistics without second moments; compute them with statistics(..., second_moment=True)."
            )
        key = self._key(name)
        self._require_rows(name)
        return self.moment[key].double() / self.rows[key]

    @door(SubspaceError)
    def take(self, items: Sequence[int]) -> Stats:
        """The statistics of some of the items, from `each`, without running the model. Raises SubspaceError where they
        were not kept.
        """
        if not self.each:
            raise SubspaceError("statistics without its items' own sums; compute them with statistics(..., each=True).")
        index = torch.as_tensor(list(items), dtype=torch.long)
        if not len(index) or int(index.min()) < 0 or int(index.max()) >= self.items:
            raise SubspaceError(
                f"items={list(items)[:8]}...: expected numbers from 0 to {self.items - 1}, at least one."
            )
        each, each_rows = {k: v[index] for k, v in self.each.items()}, {k: v[index] for k, v in self.each_rows.items()}
        return replace(
            self,
            sums={k: lines_of(each[k], each_rows[k]) for k in each},
            rows={k: int(v.sum()) for k, v in each_rows.items()},
            items=len(index),
            moment={},
            each=each,
            each_rows=each_rows,
            reached={k: int((each_rows[k] > 0).sum()) for k in self.reached},
        )

    def __add__(self, other: Stats) -> Stats:
        """Statistics of both token sets together. Raises SubspaceError: another model, other layers, or other things
        kept.
        """
        if not isinstance(other, Stats):
            return NotImplemented
        if not same_record(self.model, other.model) or dict(self.source) != dict(other.source):
            raise SubspaceError(
                "statistics of different models or layers cannot be added; compute both with the same weights and"
                " layers."
            )
        if any(bool(getattr(self, n)) != bool(getattr(other, n)) for n in ("moment", "each")) or any(
            len(self.sums[k]) != len(other.sums[k]) for k in self.sums
        ):
            raise SubspaceError(
                "statistics that keep different things cannot be added; compute both with the same second_moment, each"
                " and absolute."
            )

        def added(n):
            return {k: v + getattr(other, n)[k] for k, v in getattr(self, n).items()}

        def joined(n):
            return {k: torch.cat([v, getattr(other, n)[k]]) for k, v in getattr(self, n).items()}

        return Stats(
            self.source,
            added("sums"),
            added("rows"),
            self.items + other.items,
            self.model,
            added("moment"),
            joined("each"),
            joined("each_rows"),
            added("reached"),
        )

    def _require_rows(self, name: str) -> None:
        if not self.rows[self._key(name)]:
            raise SubspaceError(
                f"{name}: no token of the {self.items} items was sent to this expert, so that there are no statistics"
                " of its inputs; give more text, or leave the layer out."
            )

    def _key(self, name: str) -> str:
        if name not in self.source:
            raise SubspaceError(
                f"name={name!r}: the statistics hold no layer {name!r}; they hold {', '.join(list(self.source)[:4])}"
                " ...: compute them over that layer."
            )
        return self.source[name]


@door(SubspaceError)
@of_one_model(reads=False)
def statistics(
    model: HFModel,
    layers: str | Sequence[str] | Mapping[str, Linear],
    data: Any,
    folder: FilePath | None = None,
    *,
    batch: Count = 16,
    part: Literal["all", "prefix", "suffix"] = "all",
    skip: Size = 0,
    prefix: Size | None = None,
    second_moment: bool = False,
    each: bool = False,
    absolute: bool = False,
    run: Callable[[Sequence[Any]], Any] | None = None,
    owner: Callable[[Sequence[Any]], Sequence[int]] | None = None,
    key: str | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Stats:
    """Statistics of the inputs of named linear layers over a token set.

    Args:
        layers: patterns as for `lens.engine.linear.linears`, or a mapping by name.
        data: token rows (a tensor, a list of rows, an object with `ids`); with `run`, items of any kind.
        folder: what was counted so far is written there (safetensors, every ten seconds), and the same call goes on
            from it, to the same numbers bit for bit.
        part: "all" tokens, those of the "prefix", or of the "suffix": the positions that predict the tokens after the
            prefix. skip: leading positions that do not count.
        second_moment: keep E[x x^T], [d_in, d_in]. each: keep every item's own sums, for `Stats.take`. absolute: keep
            |x| as well.
        run: called with a slice of the items, runs the model in whatever way (a U-Net, several steps). owner: for such
            a slice, the item that each element of the layer's batch belongs to, -1 for one that does not count (the
            half without a prompt); None: one each, in order. key: what the items are, in words; needed with `folder`.
        stop: asked before each batch.

    An expert's inputs are the rows of the tokens that the router sent to it, each counted for the item of its token.

    Raises: SubspaceError: no items, an unknown part, rows that cannot be split over the batch. Stopped: `stop` said so;
        what was counted is in `folder`.

    Cost: a few thousandths of a layer's product with its weight; language models run without their unembedding.
    """
    core = model if run is not None else module_to_run(model)
    if not isinstance(getattr(core, "original_model", core), torch.nn.Module):
        raise SubspaceError(unfit("model", model, "a torch.nn.Module"))
    linears = linear_layers(core, layers)
    items: Any
    forward: Callable[[Any], Any]
    if run is None:
        items = fitting(core, tokens_of(data, "data", prefix), "data")
        forward, identity = _reader(core, items), items.sha256()
    else:
        forward, items, identity = run, list(data) if is_sequence(data) else [], key
        if not items:
            raise SubspaceError("data holds no item; give a list of at least one, of whatever run takes.")
        if folder is not None and key is None:
            raise SubspaceError(
                "folder is given with run, but not key; name the items (key='captions, version 2'), so that other"
                " statistics are never taken for these."
            )
    options = dict(batch=batch, part=part, skip=skip, second_moment=second_moment, each=each, absolute=absolute)
    digest = weight_hash(model)
    saved = (
        SumsFile(folder, {"model": digest, "layers": list(linears), "data": identity, "items": len(items), **options})
        if folder is not None
        else None
    )
    sums = Sums(digest, second_moment, each, absolute)
    count = saved.read(sums) if saved is not None else 0
    bar = tqdm(
        total=len(items),
        initial=count,
        desc="statistics",
        unit="item",
        delay=2.0,
        leave=False,
        disable=hidden(progress),
    )
    with bar, torch.no_grad(), inputs_of(core, linears, sums.see):
        try:
            for start in range(count, len(items), batch):
                if says_stop(stop):
                    raise Stopped(f"statistics stopped after {count} of {len(items)} items")
                some: Any
                if isinstance(items, Tokens):
                    some = items.take(range(start, min(start + batch, len(items))))
                    sums.begin(len(some), *_weights(some, part, skip))
                else:
                    some = items[start : start + batch]
                    sums.begin(len(some), None, owner(some) if owner is not None else range(len(some)))
                forward(some)
                sums.end(linears)
                count = start + len(some)
                bar.update(len(some))
                if saved is not None and count < len(items):
                    saved.write(sums, count)
        except BaseException:
            if saved is not None and count:
                saved.write(sums, count, now=True)
            raise
    if saved is not None:
        saved.write(sums, count, now=True)
    return Stats(**sums.fields(count))


def _reader(core: Any, tokens: Tokens) -> Callable[[Tokens], Any]:
    """Runs the body of a language model on padded rows."""
    body = getattr(core, getattr(core, "base_model_prefix", "") or "", None) or core
    device = device_of(core)

    def read(some: Tokens) -> Any:
        require_alike(core, some.lengths.tolist(), SubspaceError, "data")
        return body(input_ids=some.ids.to(device), use_cache=False)

    return read


def _weights(tokens: Tokens, part: str, skip: int) -> tuple[Tensor, range]:
    """Which positions count, [rows, length] of 0 and 1."""
    at = torch.arange(tokens.ids.shape[1])[None]
    counted = (at >= skip) & (at < tokens.lengths[:, None])
    if part == "prefix":
        counted = counted & (at < tokens.prefix)
    elif part == "suffix":
        counted = counted & (at >= tokens.prefix - 1) & (at < tokens.lengths[:, None] - 1)
    if not bool(counted.any(1).all()):
        raise SubspaceError(
            f"data: a row of {int(tokens.lengths.min())} tokens has no position of part={part!r} after skip={skip}"
            f" (prefix {tokens.prefix}); lower skip or give longer rows."
        )
    return counted.float(), range(len(tokens))


def same_layers(mem: Stats, ref: Stats) -> None:
    """Refuse a contrast of statistics of different models or layers (SubspaceError)."""
    if not same_record(mem.model, ref.model):
        raise SubspaceError(
            "mem, ref: the memorised and the reference statistics are of different weights; compute both with the same"
            " model."
        )
    if mem.names != ref.names:
        raise SubspaceError(
            f"the memorised statistics are of {len(mem.names)} layers, the reference's of {len(ref.names)} others;"
            " compute both over the same layers."
        )
