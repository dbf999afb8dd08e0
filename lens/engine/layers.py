"""Edited runs on a model's own layers, from the first changed token on: exact for any decoder whose layers take a
cache.

The stock layers run unmodified. Positions before the first changed one enter as keys and values, through an object that
has just the methods of a cache that attention calls. Edited runs of one prompt are rows of one batch, and join it at
their layer. A model is served only if, on a probe, its layers so driven give the model's own logits, and a site only if
an edited run equals a full forward with hooks.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy, evaluating
from .changes import temporary
from .edits import Edit
from .effective import mixing_layer
from .errors import UnsupportedModel
from .hooks import HookedForwards, Recorded, on_rows, writes_of
from .memory import ERRORS, no_room, out_of_memory
from .metrics import LOGIT_BYTES
from .places import alone, before_call
from .sites import ORDER, Site, indices
from .stopping import Stopped, says_stop
from .walk.blocks import unwrapped
from .walk.decoder import without_wrapper

#: Tokens of one call of a layer.
CHUNK_TOKENS = 1024
_PROBE = 9
_CACHES = ("past_key_values", "layer_past", "past_key_value")
_REMEMBERED = "_mnemoscope_stock"


class _Prefix:
    """What attention asks of a cache: keys and values of a prefix to put before the new ones, which are kept."""

    def __init__(self, keys: Tensor | None = None, values: Tensor | None = None):
        self.keys, self.values, self.whole = keys, values, None

    def update(self, keys: Tensor, values: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        if self.keys is not None:
            shape = (len(keys), -1, -1, -1)
            keys, values = (
                torch.cat((self.keys.expand(shape), keys), 2),
                torch.cat((self.values.expand(shape), values), 2),
            )
        self.whole = keys, values
        return self.whole

    def get_seq_length(self, *_: Any) -> int:
        return 0 if self.keys is None else self.keys.shape[2]


@dataclass
class StockRun(Recorded):
    """One prompt's run: the residual stream before every block and after the last, ``[1, length, d_model]``, keys and
    values, and how each layer was called.
    """

    resid: list[Tensor] = field(default_factory=list)
    keys: list[Tensor] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=list)
    calls: list[dict[str, Any]] = field(default_factory=list)

    def get(self, site: str, layer: int) -> Tensor:
        if site == "resid_pre":
            return self.resid[layer][0]
        if site == "resid_post":
            return self.resid[layer + 1][0]
        return self.kept[site, layer]


class Stock:
    """The stock layers of a model as a sweep drives them. Use ``Stock.of(model)``, which checks it and remembers it."""

    engine = "stock"

    def __init__(self, model: Any):
        self.anatomy = Anatomy.of(model)
        self.hf, self.d_vocab = self.anatomy.hf, self.anatomy.d_vocab
        #: per site tried, why it is not served, or None
        self.tried: dict[str, str | None] = {"pattern": "attention patterns are changed on full forwards only."}
        self._tuples: list[int] = [0] * self.anatomy.n_layers
        self._names = [list(inspect.signature(unwrapped(layer).forward).parameters) for layer in self.anatomy.layers]
        self._length = 0

    @classmethod
    def of(cls, model: Any, length: int = 9) -> "Stock":
        """The checked path of a model, for prompts of up to ``length`` tokens; one check a model and length.

        Raises:
            UnsupportedModel: layers that cannot be driven so, or that then give other logits.
        """
        anatomy = Anatomy.of(model)
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
        found = anatomy.hf.__dict__.get(_REMEMBERED)
        if found is None or found.anatomy is not anatomy:
            found = cls(model)
        for probe in (_PROBE, length):
            # a sliding window or a stretched rotary embedding shows only beyond some length
            if probe > found._length:
                found._check(probe)
                found._length = probe
                found.tried = {s: why for s, why in found.tried.items() if s == "pattern"}
        anatomy.hf.__dict__[_REMEMBERED] = found
        return found

    @property
    def device(self) -> torch.device:
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
    def record(self, ids: Int[Tensor, " length"], keep: Sequence[tuple[str, int]] = ()) -> StockRun:
        """Runs a prompt once and keeps what edited runs need, and the activations named.

        Raises:
            UnsupportedModel: a layer is called in a way that is not understood.
        """
        a = self.anatomy
        inputs: list[Tensor] = []
        calls: list[dict[str, Any]] = []

        def look(layer):
            def before(_, args, kwargs):
                given = {**dict(zip(self._names[layer], args)), **kwargs}
                name = "hidden_states" if "hidden_states" in given else self._names[layer][0]
                inputs.append(given.pop(name).clone()), calls.append(given)

            return before

        with temporary(a.hf) as here:
            for l, m in enumerate(a.layers):
                here.put(lambda: before_call(m, alone(look(l))).remove)
            run = HookedForwards(a).record(ids, [k for k in keep if k[0] not in ("resid_pre", "resid_post")])
        made = StockRun(run.ids, run.kept, run.last, resid=inputs, calls=calls)
        if len(inputs) != a.n_layers:
            raise UnsupportedModel(f"model type {a.model_type!r} does not call each of its layers once.")
        for l in range(a.n_layers):
            cache = _Prefix()
            out = self._layer(l, inputs[l], made, 0, cache)
            if cache.whole is None:
                raise UnsupportedModel(f"model type {a.model_type!r}: layer {l} does not use a cache.")
            made.keys.append(cache.whole[0]), made.values.append(cache.whole[1])
        made.resid.append(out)
        self._equal(
            self.unembed(out[0, -1:]), run.last[None], f"its layers one by one, on a text of {len(ids)} tokens,"
        )
        return made

    def _layer(
        self, layer: int, x: Float[Tensor, "rows n d_model"], base: StockRun, start: int, cache: _Prefix
    ) -> Tensor:
        given = base.calls[layer]
        name = next((n for n in _CACHES if n in given), None)
        if name is None:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: layer {layer} is not given a cache by any of the names"
                f" {', '.join(_CACHES)}."
            )
        call = {k: self._cut(k, v, start, len(base.ids)) for k, v in given.items()}
        call[name] = cache
        if "attention_mask" in given and given["attention_mask"] is None:
            call["attention_mask"] = self._causal(x, start, len(base.ids))
        out = self.anatomy.layers[layer](x, **call)
        self._tuples[layer] = len(out) if isinstance(out, tuple) else 0
        return out[0] if isinstance(out, tuple) else out

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
        base: StockRun,
        rows: Sequence[Sequence[Edit]],
        reads: Sequence[int],
        stop: Callable[[], bool] | None = None,
    ) -> Float[Tensor, "rows reads d_model"]:
        """The final residual stream of every edited run at the positions read.

        Args:
            base: the unedited run that the rows fork from. rows: the edits of each. reads: positions, ascending.
            stop: asked before every layer.

        Raises:
            Stopped: ``stop`` said so.
        """
        a, length = self.anatomy, len(base.ids)
        if not rows:
            return base.resid[-1].new_zeros(0, len(reads), a.d_model)
        plain = [[self._at_first_block(e) if e.site.name == "embed" else e for e in edits] for edits in rows]
        first = [
            min((p for e in edits for p in indices(e.site.position, length, "position")), default=length)
            for edits in plain
        ]
        start = min(min(first), min(reads))
        join = [min((a.layer_of(e.site.name, e.site.layer)[1] for e in edits), default=a.n_layers) for edits in plain]
        order = sorted(range(len(rows)), key=join.__getitem__)
        writes = writes_of(a, [plain[i] for i in order], length)
        h = base.resid[0].new_empty(len(rows), length - start, a.d_model)
        n = 0
        for l in range(a.n_layers):
            if says_stop(stop):
                raise Stopped(f"stopped before layer {l}")
            old = n
            while n < len(order) and join[order[n]] <= l:
                n += 1
            h[old:n] = base.resid[l][:, start:]
            self._step(l, h, n, base, start, {s: w for (s, at), w in writes.items() if at == l})
        h[n:] = base.resid[-1][:, start:]
        out = torch.empty(len(rows), len(reads), a.d_model, dtype=h.dtype, device=h.device)
        out[torch.tensor(order, device=h.device)] = h[:, [r - start for r in reads]]
        return out

    def _at_first_block(self, edit: Edit) -> Edit:
        """An embedding copied from an aligned run is the first block's input copied: each token's comes from its
        own.
        """
        if not isinstance(edit.value, StockRun) or edit.keep or edit.scale != 1.0:
            raise UnsupportedModel("site 'embed' is served here for embeddings copied from another run only.")
        return Edit(Site("resid_pre", 0, position=edit.site.position), edit.op, edit.value)

    def _step(self, layer: int, h: Tensor, n: int, base: StockRun, start: int, writes: dict[str, list]) -> None:
        size, begin = max(1, CHUNK_TOKENS // h.shape[1]), 0
        while begin < n:
            part = range(begin, min(begin + size, n))
            try:
                with temporary(self.hf) if writes else contextlib.nullcontext() as here:
                    for site in sorted(writes, key=ORDER.__getitem__):
                        here.put(lambda: self.anatomy.attach(site, layer, on_rows(writes[site], part, start)))
                    prefix = (
                        _Prefix(base.keys[layer][:, :, :start], base.values[layer][:, :, :start])
                        if start
                        else _Prefix()
                    )
                    h[begin : part.stop] = self._layer(layer, h[begin : part.stop], base, start, prefix)
            except ERRORS as error:
                if not out_of_memory(error):
                    raise
                if size == 1:
                    raise no_room(h.device, h.shape[1]) from error
                size //= 2
                continue
            begin = part.stop

    @torch.no_grad()
    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a final residual stream, by the model's own norm, head, scale and cap: its forward runs with its
        blocks stood in for.
        """
        flat = resid.reshape(-1, 1, resid.shape[-1])
        size = len(flat) if columns is None else max(1, LOGIT_BYTES // (4 * self.d_vocab))
        parts = (
            [self._head(part) if columns is None else self._head(part)[..., columns] for part in flat.split(size)]
            if len(flat)
            else []
        )
        logits = torch.cat(parts) if parts else resid.new_zeros(0, self.d_vocab if columns is None else len(columns))
        return logits.reshape(*resid.shape[:-1], logits.shape[-1])

    def _head(self, x: Float[Tensor, "n 1 d_model"]) -> Float[Tensor, "n d_vocab"]:
        layers = self.anatomy.layers
        if any("forward" in layer.__dict__ for layer in layers):
            raise UnsupportedModel(f"{type(layers[0]).__name__} has had its forward replaced; it is left alone.")

        def put_back() -> None:
            for layer in layers:
                layer.__dict__.pop("forward", None)

        with temporary(self.hf) as here:
            here.back(put_back)
            for layer, size in zip(layers, self._tuples):

                def stand_in(*_, size=size, **__):
                    return (x, *[None] * (size - 1)) if size else x

                layer.__dict__["forward"] = alone(stand_in, type(layer).forward.__get__(layer))
            return self.hf(torch.zeros(x.shape[:2], dtype=torch.long, device=x.device), use_cache=False).logits[:, 0]

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
                self._equal(
                    self.unembed(self.record(ids).resid[-1][0]),
                    self.hf(ids[None], use_cache=False).logits[0],
                    "its layers one by one",
                )
                self._try_site("resid_pre", ids)
        except UnsupportedModel:
            raise
        except Exception as error:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: its layers could not be run one by one"
                f" ({type(error).__name__}: {error})."
            ) from error

    def _try_site(self, site: str, ids: Int[Tensor, " length"]) -> None:
        """Edits at a site in the first, the middle and the last layer, at random positions, here and on full forwards.

        Raises:
            UnsupportedModel: they differ, or the site was found in no layer.
        """
        a, n, length = self.anatomy, self.anatomy.n_layers, len(ids)
        generator, reads = torch.Generator().manual_seed(1), list(range(length - 3, length))

        def at(count):
            return sorted({int(p) for p in torch.randint(1, length, (count,), generator=generator)})

        if site == "embed":
            other, position = ids.clone(), at(1)
            other[position] = (other[position] + 1) % self.d_vocab
            run, rows = self.record(ids), [[Edit(Site("embed", position=position), "replace", self.record(other))]]
            want = self.hf(other[None], use_cache=False).logits[:, reads]
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
            slow = HookedForwards(a)
            want = slow.run(slow.record(ids, ()), rows, reads)
        self._equal(self.unembed(self.run(run, rows, reads)), want, f"an edit at {site!r}")

    def _equal(self, ours: Tensor, theirs: Tensor, what: str) -> None:
        gap = (ours - theirs).abs().max().item() / max(1.0, theirs.abs().max().item())
        allowed = {torch.float32: 1e-4, torch.float64: 1e-4}.get(self.anatomy.dtype, 5e-2)
        if not gap <= allowed:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: {what} differ{'s' if what.startswith('an') else ''} from its"
                f" full forward by {gap:.2g} (relative)."
            )
