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
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .anatomy import Anatomy
from .changes import temporary
from .continuation import CACHE_ARGUMENTS, Continuation, Prefix
from .edits import Edit
from .effective import mixing_layer
from .ending import Ending
from .errors import UnsupportedModel
from .hooks import Hooks, PromptRun, first_difference
from .memory import ERRORS, chunk_tokens, no_room, out_of_memory
from .places import Place, alone, before_call, evaluating
from .row_groups import RowGroup, grouped
from .sites import ORDER, Site, indices
from .stopping import Stopped, says_stop
from .walk.blocks import unwrapped
from .walk.decoder import without_wrapper
from .writes import Plain, writes_of

#: Tokens of one call of a layer.
CHUNK_TOKENS = 1024
_PROBE = 9


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
        a, named = self.anatomy, f"site {site!r} of model type {self.anatomy.model_type!r}"
        missing = [l for l in (range(a.n_layers) if layers is None else layers) if not a.has(site, l)]
        if missing:
            raise UnsupportedModel(f"{named}: it was not found in layer {missing[0]}.")
        if site not in self.tried:
            self.tried[site] = None
            try:
                with evaluating(self.hf), torch.no_grad():
                    self._try_site(site, self._random_ids(self._length))
            except UnsupportedModel as error:
                self.tried[site] = str(error)
        if self.tried[site] is not None:
            raise UnsupportedModel(f"{named}: {self.tried[site]}")

    @torch.no_grad()
    def record(
        self,
        ids: Int[Tensor, " length"],
        keep: Sequence[tuple[str, int]] = (),
        embedded: Float[Tensor, "length d_model"] | None = None,
        after: tuple[PromptRun, int] | None = None,
    ) -> PromptRun:
        """One plain forward, how it called each layer, and the keys and values that edited runs continue; arguments as
        ``Hooks.record``.

        Args:
            after: a run of the same tokens up to a position, see `fork`: what comes before it is that run's.
        """
        calls: list[tuple[int, dict[str, Any]]] = []
        caches: list[Prefix] = []
        base, start = (None, 0) if after is None else after
        whole = None if base is None else self.prepare(base)

        def look(layer: int) -> Callable[..., Any]:
            def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
                call = {**dict(zip(self._names[layer], args)), **kwargs}
                call.pop("hidden_states" if "hidden_states" in call else self._names[layer][0])
                calls.append((layer, call))
                name = next((n for n in CACHE_ARGUMENTS if n in kwargs and kwargs[n] is None), None)
                if name is None:
                    return None
                if whole is None:
                    caches.append(Prefix())
                    return args, {**kwargs, name: caches[-1]}
                caches.append(whole.before(layer, start))
                x = args[0] if args else kwargs["hidden_states"]
                x = x[:, start:] if layer == 0 else x
                return (x,), {**whole.arguments(call, x, start), name: caches[-1]}

            return before

        with temporary(self.hf) as here:
            for l, m in enumerate(self.anatomy.layers):
                here.put(lambda: before_call(m, alone(look(l))).remove)
            run = self.whole.record(ids, keep, embedded)
        run.calls = calls
        if base is None and len(caches) == len(calls) and all(cache.whole is not None for cache in caches):
            run.caches = caches
        if base is not None:
            # another run's continuation is seldom continued itself, so that its keys and values are not kept
            run.resid = [torch.cat((x[:start], own)) for x, own in zip(base.resid, run.resid, strict=True)]
            run.activations = {
                key: torch.cat((base.activations[key][:start], own)) for key, own in run.activations.items()
            }
        return run

    def fork(self, run: PromptRun, ids: Int[Tensor, " length"], keep: Sequence[tuple[str, int]] = ()) -> PromptRun:
        """A plain run of other tokens, from the first of them on where it can continue ``run``."""
        same = min(first_difference(run.ids, ids), len(ids) - 1)
        if (
            not self._forks
            or not same
            or run.noised
            or any(k[0] == "pattern" or k not in run.activations for k in keep)
        ):
            return self.record(ids, keep)
        if run.caches is not None:
            self.prepare(run)
        own = run.continuation is not None and run.continuation.of_run
        return self.record(ids, keep, after=(run, same) if own else None)

    @torch.no_grad()
    def prepare(self, run: PromptRun) -> Continuation:
        """What edited runs continue of a recorded one, kept with it: the keys and values that it left, or where its
        layers were handed no cache, those of its layers one by one, which must give its logits.

        Raises:
            UnsupportedModel: a layer is called in a way that is not understood.
        """
        if run.continuation is not None:
            return run.continuation
        a, calls = self.anatomy, run.calls or []
        if [layer for layer, _ in calls] != list(range(a.n_layers)):
            raise UnsupportedModel(
                f"model type {a.model_type!r} does not call each of its layers once, in their order."
            )
        whole = Continuation(a, len(run.ids), [call for _, call in calls])
        pairs = [] if run.caches is None else [cache.whole for cache in run.caches if cache.whole is not None]
        if pairs:
            whole.keys, whole.values = map(list, zip(*pairs))
            whole.of_run, run.caches, run.continuation = True, None, whole
            return whole
        out = run.resid[0][None]
        for l in range(a.n_layers):
            cache = Prefix()
            out = self._layer(l, run.resid[l][None], whole, 0, cache)
            if cache.whole is None:
                raise UnsupportedModel(f"model type {a.model_type!r}: layer {l} does not use a cache.")
            whole.keys.append(cache.whole[0])
            whole.values.append(cache.whole[1])
        self._equal(
            self.unembed(out[0, -1:]),
            run.logits[None],
            f"its layers one by one, on a text of {len(run.ids)} tokens,",
        )
        run.continuation = whole
        return whole

    def _layer(
        self, layer: int, x: Float[Tensor, "rows n d_model"], whole: Continuation, start: int, cache: Prefix
    ) -> Tensor:
        call = whole.calls[layer]
        name = next((n for n in CACHE_ARGUMENTS if n in call), None)
        if name is None:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: layer {layer} is not given a cache by any of the names"
                f" {', '.join(CACHE_ARGUMENTS)}."
            )
        out = self.anatomy.layers[layer](x, **{**whole.arguments(call, x, start), name: cache})
        stream: Tensor = out[0] if isinstance(out, tuple) else out
        return stream

    @torch.no_grad()
    def run(
        self,
        base: PromptRun,
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
        whole = self.prepare(base)
        a, length = self.anatomy, len(base.ids)
        plain = [[self._at_first_block(e) if e.site.name == "embed" else e for e in edits] for edits in rows]
        first = [
            min(length, *reads, *(p for e in edits for p in indices(e.site.position, length, "position")))
            for edits in plain
        ]
        join = [min((a.layer_of(e.site.name, e.site.layer)[1] for e in edits), default=a.n_layers) for edits in plain]
        # what is recorded begins at one position for all rows
        layers = [a.n_layers - l for l in join]
        apart = [list(range(len(rows)))] if record else grouped(first, layers, length, a.n_layers)
        recorded: dict[tuple[str, int], dict[int, Tensor]] = {key: {} for key in record}
        groups: list[RowGroup] = []
        for mine in apart if rows else ():
            order, start = sorted(mine, key=join.__getitem__), min(first[r] for r in mine)
            writes = writes_of(a, [plain[r] for r in order], length, base=base, freeze=freeze, look=recorded)
            h = base.resid[0].new_empty(len(order), length - start, a.d_model)
            groups.append(RowGroup(order, [join[r] for r in order], start, h, writes))
        for l in range(a.n_layers):
            if says_stop(stop):
                raise Stopped(f"stopped before layer {l}")
            for group in groups:
                group.load(l, base.resid[l])
                self._step(l, group, whole)
        out = base.resid[-1].new_empty(len(rows), len(reads), a.d_model)
        for group in groups:
            group.load(a.n_layers, base.resid[-1])
            out[torch.tensor(group.order, device=out.device)] = group.h[:, [r - group.start for r in reads]]
        order = groups[0].order if groups else []
        by_number = {key: {order[r]: x for r, x in by_row.items()} for key, by_row in recorded.items()}
        return out, by_number, min(first, default=0)

    def _at_first_block(self, edit: Edit) -> Edit:
        """An embedding copied from an aligned run is the first block's input copied: each token's comes from its
        own.
        """
        if not isinstance(edit.value, Plain) or edit.keep or edit.scale != 1.0:
            raise UnsupportedModel("site 'embed' is served here for embeddings copied from another run only.")
        return Edit(Site("resid_pre", 0, position=edit.site.position), edit.op, edit.value)

    def _step(self, layer: int, group: RowGroup, whole: Continuation) -> None:
        h, start, n = group.h, group.start, group.joined
        writes = {site: w for (site, at), w in group.writes.items() if at == layer}
        size, begin = max(1, chunk_tokens(self.hf, CHUNK_TOKENS) // h.shape[1]), 0
        entering = writes.pop("resid_pre") if "resid_pre" in writes and self._enters(layer) else None
        while begin < n:
            part = range(begin, min(begin + size, n))
            try:
                edits: Any = temporary(self.hf) if writes else contextlib.nullcontext()
                with edits as here:
                    for site in sorted(writes, key=ORDER.__getitem__):
                        here.put(lambda: self.anatomy.attach(site, layer, writes[site].on_rows(part, start)))
                    x, prefix = h[begin : part.stop], whole.before(layer, start)
                    x = x if entering is None else entering.on_rows(part, start)(x)
                    h[begin : part.stop] = self._layer(layer, x, whole, start, prefix)
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
        generator = torch.Generator().manual_seed(length)
        return torch.randint(0, self.d_vocab, (length,), generator=generator).to(self.device)

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

    def _try_fork(self, run: PromptRun) -> None:
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
            having = [l for l in range(n) if a.has(site, l)]
            if not having:
                raise UnsupportedModel("it was found in no layer.")
            layers = sorted({having[0], having[len(having) // 2], having[-1]})
            run, rows = self.record(ids, [a.layer_of(site, l) for l in layers]), []
            for l in layers:
                old = run.get(*a.layer_of(site, l))
                value = torch.randn(old.shape[1:], generator=generator).to(old) * old.abs().mean()
                rows.append([Edit(Site(site, l, position=at(2)), "add", value)])
            want = self.unembed(self.whole.run(self.whole.record(ids), rows, reads)[0])
        self._equal(self.unembed(self.run(run, rows, reads)[0]), want, f"an edit at {site!r}")

    def _equal(self, ours: Tensor, theirs: Tensor, what: str) -> None:
        gap = (ours - theirs.to(ours.device)).abs().max().item() / max(1.0, theirs.abs().max().item())
        allowed = {torch.float32: 1e-4, torch.float64: 1e-4}.get(self.anatomy.dtype, 5e-2)
        if not gap <= allowed:
            raise UnsupportedModel(
                f"model type {self.anatomy.model_type!r}: {what} differ{'s' if what.startswith('an') else ''} from its"
                f" full forward by {gap:.2g} (relative)."
            )
