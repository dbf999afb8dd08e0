"""The second path: edited runs on a model's own layers, from the first changed token on: exact for any decoder whose
layers take a cache.

The stock layers run unmodified. Positions before the first changed one enter as keys and values, through an object that
has just the methods of a cache that attention calls. Edited runs of one prompt are rows of one batch, and join it at
their layer. A model is served only if, on a probe, its layers so driven give the model's own logits, and a site only if
an edited run equals a full forward with hooks.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy
from .changes import temporary
from .edits import Edit
from .effective import mixing_layer
from .ending import Ending
from .errors import UnsupportedModel
from .hooks import Hooks, Recorded, first_difference
from .memory import ERRORS, no_room, out_of_memory
from .places import Place, alone, before_call, evaluating
from .sites import ORDER, Site, indices
from .stopping import Stopped, says_stop
from .walk.blocks import unwrapped
from .walk.decoder import without_wrapper
from .writes import Plain, Writes, writes_of

#: Tokens of one call of a layer.
CHUNK_TOKENS = 1024
#: What a call of a layer costs beside its tokens, in tokens (measured at 576 dimensions: 20).
ALONE = 20
#: First positions that are told apart when rows are grouped by them.
_STARTS = 64
_PROBE = 9
_CACHES = ("past_key_values", "layer_past", "past_key_value")


class _Prefix:
    """What attention asks of a cache: keys and values of a prefix to put before the new ones, which are kept."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values = keys, values
        self.whole: tuple[Tensor, Tensor] | None = None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self.keys is not None and self.values is not None:
            shape = (len(keys), -1, -1, -1)
            keys, values = (
                torch.cat((self.keys.expand(shape), keys), 2),
                torch.cat((self.values.expand(shape), values), 2),
            )
        self.whole = keys, values
        return keys, values

    def get_seq_length(self, *_: Any) -> int:
        return 0 if self.keys is None else self.keys.shape[2]


@dataclass
class Continued:
    """What edited runs of a prompt continue: keys and values of the unedited run by layer, how each layer was called,
    and causal masks from the positions on at which runs began.
    """

    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)
    masks: dict[tuple[int, torch.dtype, torch.device], Tensor] = field(default_factory=dict)
    #: whether the run itself left them, not its layers one by one
    of_run: bool = False


@dataclass
class _Group:
    """Rows that are run together, in the order in which they join.

    Attributes:
        order: the caller's numbers. join: the layer of each. start: the position that all begin at.
        h: their streams, ``[rows, length - start, d_model]``. joined: how many are on their way.
    """

    order: list[int]
    join: list[int]
    start: int
    h: Tensor
    writes: dict[tuple[str, int], Writes]
    joined: int = 0

    def load(self, layer: int, stream: Float[Tensor, "length d_model"]) -> None:
        """Takes the rows that join at a layer from the unedited run's stream before it."""
        old = self.joined
        while self.joined < len(self.join) and self.join[self.joined] <= layer:
            self.joined += 1
        self.h[old : self.joined] = stream[self.start :]


class Layers:
    """A model's own layers as a sweep drives them."""

    name = "layers"

    def __init__(self, anatomy: Anatomy, ending: Ending):
        if not anatomy.causal:
            raise UnsupportedModel(
                f"model type {anatomy.model_type!r}: its tokens read later ones too, so that no prefix of a run can be"
                " kept."
            )
        # layers driven one by one know nothing of what a wrapper does around them
        without_wrapper(anatomy.hf)
        if mixed := mixing_layer(anatomy.hf):
            raise UnsupportedModel(mixed)
        if anatomy.state.foreign:
            raise UnsupportedModel(f"{anatomy.model_type}: {anatomy.state.refusal()}")
        if ending.before != 1.0:
            raise UnsupportedModel(f"model type {anatomy.model_type!r} changes its stream behind its last layer.")
        if ending.kind == "logits":
            raise UnsupportedModel(
                f"model type {anatomy.model_type!r}: its logits are made of more than its last residual stream."
            )
        self.anatomy, self.ending, self.hf, self.d_vocab = anatomy, ending, anatomy.hf, anatomy.d_vocab
        self.unembed = ending.unembed
        self.whole = Hooks(anatomy, ending)
        #: per site tried, why it is not served, or None
        self.tried: dict[str, str | None] = {"pattern": "attention patterns are changed on full forwards only."}
        self._names = [list(inspect.signature(unwrapped(layer).forward).parameters) for layer in anatomy.layers]
        self._length = 0
        #: whether runs of other tokens begin where these do
        self._forks = True

    def check(self, length: int) -> None:
        """Compares the path with full forwards on a probe, and once more for prompts of up to ``length`` tokens.

        Raises:
            UnsupportedModel: layers that cannot be driven so, or that then give other logits.
        """
        for probe in (_PROBE, length):
            # a sliding window or a stretched rotary embedding shows only beyond some length
            if probe > self._length:
                self._check(probe)
                self._length = probe
                self.tried = {s: why for s, why in self.tried.items() if s == "pattern"}

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.anatomy.device

    def serves(self, site: str, layers: Sequence[int] | None = None) -> None:
        """Tries a site out once: random edits in three of its layers against full forwards.

        Args:
            layers: in which layers it is wanted, where not in all.

        Raises:
            UnsupportedModel: the site is not served in this model, or not in all of these layers.
        """
        missing = [
            l for l in (range(self.anatomy.n_layers) if layers is None else layers) if not self.anatomy.has(site, l)
        ]
        if missing:
            raise UnsupportedModel(
                f"site {site!r} of model type {self.anatomy.model_type!r}: it was not found in layer {missing[0]}."
            )
        if site not in self.tried:
            self.tried[site] = None
            try:
                with evaluating(self.hf), torch.no_grad():
                    self._try_site(site, self._random_ids(self._length))
            except UnsupportedModel as error:
                self.tried[site] = str(error)
        if self.tried[site] is not None:
            raise UnsupportedModel(f"site {site!r} of model type {self.anatomy.model_type!r}: {self.tried[site]}")

    @torch.no_grad()
    def record(
        self,
        ids: Int[Tensor, " length"],
        keep: Sequence[tuple[str, int]] = (),
        embedded: Float[Tensor, "length d_model"] | None = None,
        after: tuple[Recorded, int] | None = None,
    ) -> Recorded:
        """One plain forward, how it called each layer, and the keys and values that edited runs continue; arguments as
        ``Hooks.record``.

        Args:
            after: a run of the same tokens up to a position, see `fork`: what comes before it is that run's.
        """
        calls: list[tuple[int, dict[str, Any]]] = []
        caches: list[_Prefix] = []
        base, start = (None, 0) if after is None else after

        def look(layer: int) -> Callable[..., Any]:
            def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                given = {**dict(zip(self._names[layer], args)), **kwargs}
                given.pop("hidden_states" if "hidden_states" in given else self._names[layer][0])
                calls.append((layer, given))
                name = next((n for n in _CACHES if n in kwargs and kwargs[n] is None), None)
                if name is None:
                    return None
                if base is None:
                    caches.append(_Prefix())
                    return args, {**kwargs, name: caches[-1]}
                caches.append(self._before(base, layer, start))
                x = args[0] if args else kwargs["hidden_states"]
                x = x[:, start:] if layer == 0 else x
                return (x,), {**self._call(given, x, start, base), name: caches[-1]}

            return before

        with temporary(self.hf) as here:
            for l, m in enumerate(self.anatomy.layers):
                here.put(lambda: before_call(m, alone(look(l))).remove)
            run = self.whole.record(ids, keep, embedded)
        run.held["calls"] = calls
        if base is None and len(caches) == len(calls) and all(cache.whole is not None for cache in caches):
            run.held["caches"] = caches
        if base is not None:
            # another run's continuation is seldom continued itself, so that its keys and values are not kept
            run.resid = [torch.cat((x[:start], own)) for x, own in zip(base.resid, run.resid, strict=True)]
            run.kept = {key: torch.cat((base.kept[key][:start], own)) for key, own in run.kept.items()}
        return run

    def fork(self, run: Recorded, ids: Int[Tensor, " length"], keep: Sequence[tuple[str, int]] = ()) -> Recorded:
        """A plain run of other tokens, from the first of them on where it can continue ``run``."""
        same = min(first_difference(run.ids, ids), len(ids) - 1)
        if not self._forks or not same or run.noised or any(k[0] == "pattern" or k not in run.kept for k in keep):
            return self.record(ids, keep)
        if "caches" in run.held:
            self.prepare(run)
        own = "prefix" in run.held and run.held["prefix"].of_run
        return self.record(ids, keep, after=(run, same) if own else None)

    @staticmethod
    def _before(run: Recorded, layer: int, start: int) -> _Prefix:
        """A recorded run's keys and values before a position."""
        made = run.held["prefix"]
        return _Prefix(made.keys[layer][:, :, :start], made.values[layer][:, :, :start]) if start else _Prefix()

    @torch.no_grad()
    def prepare(self, run: Recorded) -> None:
        """What edited runs continue of a recorded one, made once: the keys and values that it left, or where its layers
        were handed no cache, those of its layers one by one, which must give its logits.

        Raises:
            UnsupportedModel: a layer is called in a way that is not understood.
        """
        if "prefix" in run.held:
            return
        a, calls = self.anatomy, run.held["calls"]
        if [layer for layer, _ in calls] != list(range(a.n_layers)):
            raise UnsupportedModel(
                f"model type {a.model_type!r} does not call each of its layers once, in their order."
            )
        made = Continued(calls=[given for _, given in calls])
        run.held["prefix"] = made
        if caches := run.held.pop("caches", None):
            made.keys, made.values = map(list, zip(*(cache.whole for cache in caches)))
            made.of_run = True
            return
        out = run.resid[0][None]
        try:
            for l in range(a.n_layers):
                cache = _Prefix()
                out = self._layer(l, run.resid[l][None], run, 0, cache)
                if cache.whole is None:
                    raise UnsupportedModel(f"model type {a.model_type!r}: layer {l} does not use a cache.")
                made.keys.append(cache.whole[0])
                made.values.append(cache.whole[1])
            self._equal(
                self.unembed(out[0, -1:]),
                run.logits[None],
                f"its layers one by one, on a text of {len(run.ids)} tokens,",
            )
        except UnsupportedModel:
            del run.held["prefix"]
            raise

    def _layer(
        self, layer: int, x: Float[Tensor, "rows n d_model"], base: Recorded, start: int, cache: _Prefix
    ) -> Tensor:
        given = base.held["prefix"].calls[layer]
        name = next((n for n in _CACHES if n in given), None)
        if name is None:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: layer {layer} is not given a cache by any of the names"
                f" {', '.join(_CACHES)}."
            )
        out = self.anatomy.layers[layer](x, **{**self._call(given, x, start, base), name: cache})
        stream: Tensor = out[0] if isinstance(out, tuple) else out
        return stream

    def _call(self, given: dict[str, Any], x: Tensor, start: int, base: Recorded) -> dict[str, Any]:
        """What a layer was called with, for the positions from ``start`` on."""
        call = {k: self._cut(k, v, start, len(base.ids)) for k, v in given.items()}
        if "attention_mask" in given and given["attention_mask"] is None:
            key = start, x.dtype, x.device
            if key not in base.held["prefix"].masks:
                base.held["prefix"].masks[key] = self._causal(x, start, len(base.ids))
            call["attention_mask"] = base.held["prefix"].masks[key]
        return call

    def _causal(self, x: Tensor, start: int, length: int) -> Tensor:
        if self.anatomy.config._attn_implementation not in ("sdpa", "eager"):
            raise UnsupportedModel(
                f"attention {self.anatomy.config._attn_implementation!r} takes no mask; load the model with"
                " attn_implementation='sdpa' or 'eager'."
            )
        seen = torch.arange(length, device=x.device) <= torch.arange(start, length, device=x.device)[:, None]
        return (
            seen[None, None]
            if self.anatomy.config._attn_implementation == "sdpa"
            else torch.zeros(seen.shape, dtype=x.dtype, device=x.device).masked_fill(~seen, torch.finfo(x.dtype).min)[
                None, None
            ]
        )

    def _cut(self, name: str, value: Any, start: int, length: int) -> Any:
        """A layer's argument for the positions from ``start`` on."""
        if isinstance(value, tuple) and name.startswith("position_embeddings"):
            return tuple(self._cut(name, v, start, length) for v in value)
        if not isinstance(value, Tensor):
            return value
        if name.startswith("position_embeddings") and value.ndim == 3 and value.shape[1] == length:
            return value[:, start:]
        if name == "position_ids" and value.ndim == 2 and value.shape[1] == length:
            return value[:, start:]
        if name == "cache_position" and value.shape == (length,):
            return value[start:]
        if name.endswith("mask") and value.ndim == 4 and value.shape[2:] == (length, length):
            return value[:, :, start:]
        raise UnsupportedModel(
            f"model type {self.anatomy.model_type!r}: its layers take {name!r} of shape {tuple(value.shape)}, which is"
            " not understood."
        )

    @torch.no_grad()
    def run(
        self,
        base: Recorded,
        rows: Sequence[Sequence[Edit]],
        reads: Sequence[int],
        *,
        freeze: Sequence[str] = (),
        record: Sequence[tuple[str, int]] = (),
        stop: Callable[[], bool] | None = None,
    ) -> tuple[Float[Tensor, "rows reads d_model"], dict[tuple[str, int], dict[int, Tensor]], int]:
        """The final residual stream of every edited run at the positions read, and what was recorded; arguments as
        ``Hooks.run``.

        Cost: per row the tokens from the first one on that it changes, or that a row near it does: rows that begin near
        each other are run together, and each layer's weights are read once for all of these.

        Raises:
            Stopped: ``stop`` said so.
        """
        self.prepare(base)
        a, length = self.anatomy, len(base.ids)
        plain = [[self._at_first_block(e) if e.site.name == "embed" else e for e in edits] for edits in rows]
        first = [
            min((p for e in edits for p in indices(e.site.position, length, "position")), default=length)
            for edits in plain
        ]
        first = [min(p, *reads) for p in first]
        join = [min((a.layer_of(e.site.name, e.site.layer)[1] for e in edits), default=a.n_layers) for edits in plain]
        # what is recorded begins at one position for all rows
        apart = (
            [list(range(len(rows)))] if record else _apart(first, [a.n_layers - l for l in join], length, a.n_layers)
        )
        seen: dict[tuple[str, int], dict[int, Tensor]] = {key: {} for key in record}
        groups: list[_Group] = []
        for mine in apart if rows else ():
            order, start = sorted(mine, key=join.__getitem__), min(first[r] for r in mine)
            writes = writes_of(a, [plain[r] for r in order], length, base=base, freeze=freeze, look=seen)
            h = base.resid[0].new_empty(len(order), length - start, a.d_model)
            groups.append(_Group(order, [join[r] for r in order], start, h, writes))
        for l in range(a.n_layers):
            if says_stop(stop):
                raise Stopped(f"stopped before layer {l}")
            for group in groups:
                group.load(l, base.resid[l])
                self._step(l, group, base)
        out = base.resid[-1].new_empty(len(rows), len(reads), a.d_model)
        for group in groups:
            group.load(a.n_layers, base.resid[-1])
            out[torch.tensor(group.order, device=out.device)] = group.h[:, [r - group.start for r in reads]]
        order = groups[0].order if groups else []
        return out, {key: {order[r]: x for r, x in found.items()} for key, found in seen.items()}, min(first, default=0)

    def _at_first_block(self, edit: Edit) -> Edit:
        """An embedding copied from an aligned run is the first block's input copied: each token's comes from its
        own.
        """
        if not isinstance(edit.value, Plain) or edit.keep or edit.scale != 1.0:
            raise UnsupportedModel("site 'embed' is served here for embeddings copied from another run only.")
        return Edit(Site("resid_pre", 0, position=edit.site.position), edit.op, edit.value)

    def _step(self, layer: int, group: _Group, base: Recorded) -> None:
        h, start, n = group.h, group.start, group.joined
        writes = {site: w for (site, at), w in group.writes.items() if at == layer}
        size, begin = max(1, CHUNK_TOKENS // h.shape[1]), 0
        entering = writes.pop("resid_pre") if "resid_pre" in writes and self._enters(layer) else None
        while begin < n:
            part = range(begin, min(begin + size, n))
            try:
                edits: Any = temporary(self.hf) if writes else contextlib.nullcontext()
                with edits as here:
                    for site in sorted(writes, key=ORDER.__getitem__):
                        here.put(lambda: self.anatomy.attach(site, layer, writes[site].on_rows(part, start)))
                    x, prefix = h[begin : part.stop], self._before(base, layer, start)
                    x = x if entering is None else entering.on_rows(part, start)(x)
                    h[begin : part.stop] = self._layer(layer, x, base, start, prefix)
            except ERRORS as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise no_room(h.device, h.shape[1]) from error
                size //= 2
                continue
            begin = part.stop

    def _enters(self, layer: int) -> bool:
        """Whether the stream before a layer is what it is called with, and nobody else has a say in that: then it is
        changed on the way, without a hook.
        """
        place = self.anatomy.require("resid_pre", layer)
        return place == Place(self.anatomy.layers[layer], "in") and not place.module._forward_pre_hooks

    def _random_ids(self, length: int) -> Tensor:
        return torch.randint(0, self.d_vocab, (length,), generator=torch.Generator().manual_seed(length)).to(
            self.device
        )

    def _check(self, length: int) -> None:
        """Compares the path with full forwards on random tokens: the plain logits, and edits of the residual stream.

        Raises:
            UnsupportedModel: the layers give other logits than the model itself, or cannot be run one by one.
        """
        ids = self._random_ids(length)
        try:
            with evaluating(self.hf), torch.no_grad():
                run = self.record(ids)
                self.prepare(run)
                self._equal(self.unembed(run.resid[-1]), self.anatomy.forward(ids[None])[0], "its layers one by one")
                self._try_site("resid_pre", ids)
                self._try_fork(run)
        except UnsupportedModel:
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: its layers could not be run one by one"
                f" ({type(error).__name__}: {error})."
            ) from error

    def _try_fork(self, run: Recorded) -> None:
        """Whether a run of other last tokens can begin where they do."""
        other, start = run.ids.clone(), len(run.ids) - 3
        other[start:] = (other[start:] + 1) % self.d_vocab
        try:
            ours, whole = self.record(other, after=(run, start)), self.whole.record(other)
            for x, y in zip([*ours.resid, ours.logits], [*whole.resid, whole.logits], strict=True):
                self._equal(x, y, "a run of other last tokens")
        except Exception:  # whatever a model's own forward raises where its stream is shorter than its text
            self._forks = False

    def _try_site(self, site: str, ids: Int[Tensor, " length"]) -> None:
        """Edits at a site in the first, the middle and the last layer, at random positions, here and on full forwards.

        Raises:
            UnsupportedModel: they differ, or the site was found in no layer.
        """
        a, n, length = self.anatomy, self.anatomy.n_layers, len(ids)
        generator, reads = torch.Generator().manual_seed(1), list(range(length - 3, length))

        def at(count: int) -> list[int]:
            return sorted({int(p) for p in torch.randint(1, length, (count,), generator=generator)})

        if site == "embed":
            other, position = ids.clone(), at(1)
            other[position] = (other[position] + 1) % self.d_vocab
            run, rows = self.record(ids), [[Edit(Site("embed", position=position), "replace", self.record(other))]]
            want = self.anatomy.forward(other[None])[:, reads]
        else:
            found = [l for l in range(n) if a.has(site, l)]
            if not found:
                raise UnsupportedModel("it was found in no layer.")
            layers = sorted({found[0], found[len(found) // 2], found[-1]})
            run, rows = self.record(ids, [a.layer_of(site, l) for l in layers]), []
            for l in layers:
                old = run.get(*a.layer_of(site, l))
                value = torch.randn(old.shape[1:], generator=generator).to(old) * old.abs().mean()
                rows.append([Edit(Site(site, l, position=at(2)), "add", value)])
            want = self.unembed(self.whole.run(self.whole.record(ids), rows, reads)[0])
        self._equal(self.unembed(self.run(run, rows, reads)[0]), want, f"an edit at {site!r}")

    def _equal(self, ours: Tensor, theirs: Tensor, what: str) -> None:
        gap = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
        allowed = {torch.float32: 1e-4, torch.float64: 1e-4}.get(self.anatomy.dtype, 5e-2)
        if not gap <= allowed:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: {what} differ{'s' if what.startswith('an') else ''} from its"
                f" full forward by {gap:.2g} (relative)."
            )


def _apart(first: Sequence[int], layers: Sequence[int], length: int, n_layers: int) -> list[list[int]]:
    """Which rows are run together, so that what all compute costs least: each from its group's first position on
    through its own ``layers``, and ``ALONE`` tokens a group and layer.
    """
    grain = -(-length // _STARTS)
    starts = sorted({p // grain * grain for p in first})
    weight = dict.fromkeys(starts, 0)
    for p, n in zip(first, layers):
        weight[p // grain * grain] += n
    # the least cost of the rows that begin at the first so many starts, and where their last group begins
    cost: list[float] = [0]
    begin = [0]
    for end in range(1, len(starts) + 1):
        held = 0
        best = math.inf, 0
        for k in range(end - 1, -1, -1):
            held += weight[starts[k]]
            best = min(best, (cost[k] + ALONE * n_layers + (length - starts[k]) * held, k))
        cost.append(best[0])
        begin.append(best[1])
    groups, end = [], len(starts)
    while end:
        span = range(starts[begin[end]], length + 1 if end == len(starts) else starts[end])
        groups.append([r for r, p in enumerate(first) if p in span])
        end = begin[end]
    return groups
