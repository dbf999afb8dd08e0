"""One forward on the probe, every candidate module watched, and which of them hold which site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .changes import temporary
from .ends import BlockPass, Ends, candidates, confirmed
from .errors import UnsupportedModel
from .fused_heads import clip_of, fused, gated
from .patterns import acting, attention_inside
from .places import Place, alone, hook, takes_tokens
from .points import outward
from .walk.blocks import unwrapped

if TYPE_CHECKING:
    from .anatomy import Anatomy

# names of bridge components come first: where a bridge splits fused projections, the fused one is no longer called
ATTENTION = ("attn", "self_attn", "attention", "self_attention")
MLP = ("mlp", "feed_forward", "ffn")
_OUT = ("o", "o_proj", "out_proj", "c_proj", "dense")
_DOWN = ("out", "down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")
_PROJECTION = {"q": ("q", "q_proj"), "k": ("k", "k_proj"), "v": ("v", "v_proj")}
#: What a configuration calls the factors on what attention, a state space and the MLP return.
_FACTORS = ("residual_multiplier", "attention_out_multiplier", "ssm_out_multiplier", "mlp_multipliers")
#: Tokens of the probe.
PROBE = 9


def layers_of(hf: Any, model: Any, count: int | None) -> list[nn.Module] | None:
    """The list of decoder blocks: of ``count`` modules and at most two kinds, nearest to the token embedding.

    A model that sees has another list, of its vision blocks, which may be as long.
    """
    lists = {
        name: m
        for name, m in hf.named_modules()
        if isinstance(m, nn.ModuleList) and len(m) == count and len({type(unwrapped(b)) for b in m}) <= 2
    }
    if lists:
        embedding = hf.get_input_embeddings()
        home = next((name for name, m in hf.named_modules() if m is embedding), "").split(".")
        return list(lists[max(lists, key=lambda name: _shared(name.split("."), home))])
    blocks = getattr(model, "blocks", None)
    return list(blocks) if isinstance(blocks, nn.ModuleList) and len(blocks) == count else None


def _shared(a: list[str], b: list[str]) -> int:
    """How many names two paths begin with alike."""
    return next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """Parts of a module and, where it is a bridge wrapper, of what it wraps; hook points left out."""
    out: dict[str, nn.Module] = {}
    for owner in dict.fromkeys((module, unwrapped(module))):
        for name, part in owner._modules.items():
            if (
                part is not None
                and name != "_original_component"
                and type(part).__name__ != "HookPoint"
                and part not in out.values()
            ):
                out[name] = part
    return out


def _within(module: nn.Module | None, names: tuple[str, ...]) -> nn.Module | None:
    """The part of a module, at any depth, that has the first of these names that is there."""
    if module is not None:
        parts = [(path.split(".")[-1], part) for path, part in module.named_modules(remove_duplicate=False)]
        for name in names:
            for last, part in parts:
                if last == name and type(part).__name__ != "HookPoint":
                    inner: nn.Module = part
                    return inner
    return None


@dataclass
class _Calls:
    """What went through a module on the probe."""

    #: a tensor, once one went through
    first_in: Any = None
    first_out: Any = None
    calls: int = 0
    #: its place among all in the order in which they returned
    turn: int = 0


@dataclass
class Probe:
    """One forward on the probe, every candidate module watched, and the conclusions."""

    anatomy: "Anatomy"
    calls: dict[Any, _Calls] = field(default_factory=dict)
    _turns: int = 0

    def run(self) -> None:
        """Runs the model once and compares what each part reads and makes with what was found of it."""
        a = self.anatomy
        parts = [self._parts(layer) if a.names is None else self._named(layer) for layer in a.layers]
        watched = {
            m
            for p in parts
            for m in (
                p["block"],
                p["attn"],
                p["mlp"],
                p["o"],
                p["down"],
                p["pattern"],
                *p["projections"].values(),
                *p["children"].values(),
                *(m for m in (p["attn"].modules() if p["attn"] is not None else ()) if "weight" in m._parameters),
            )
            if m is not None
        }
        called: list[nn.Module] = []
        with temporary(a.hf) as here:
            for module in a.hf.modules():
                if (
                    module not in watched
                    and any(m is parts[0]["block"] for m in module.modules())
                    and takes_tokens(module)
                ):
                    here.put(lambda: module.register_forward_pre_hook(alone(lambda m, _: called.append(m))).remove)
            for module in watched:
                self.calls[module] = _Calls()
                here.put(lambda: hook(module, "in", partial(self._note, module, "first_in")).remove)
                here.put(lambda: hook(module, "out", partial(self._note, module, "first_out")).remove)
            try:
                with torch.no_grad():
                    a.forward(a.probe_ids())
            except Exception as error:
                raise UnsupportedModel(
                    f"model type {a.model_type!r}: a forward on {PROBE} token ids failed with {type(error).__name__}:"
                    f" {error}"
                ) from error
        a.carriers = tuple(dict.fromkeys(called)) or a.carriers
        for l, p in enumerate(parts):
            self._require_stream(l, p)
        streams = [(self.calls[p["block"]].first_in, self.calls[p["block"]].first_out) for p in parts]
        a.handed_on = frozenset(l for l in range(len(parts) - 1) if torch.equal(streams[l][1], streams[l + 1][0]))
        through = [self._through(p, x, y) for p, (x, y) in zip(parts, streams)]
        wanted = [self._ends(p, call) for p, call in zip(parts, through)]
        for l, (p, ends) in enumerate(zip(parts, confirmed(a, wanted, hook, through))):
            self._conclude(l, p, ends)
        self._confirm_patterns(parts)
        a.points = outward(
            a, {a.embedding, *(place.module for place in a._places.values() if place.side == "out")}, hook
        )

    def _confirm_patterns(self, parts: list[dict[str, Any]]) -> None:
        """A bridge's hook point on the pattern may lie behind its use (the library's own attention ran already): then
        the library's function is the place.
        """
        a, places = self.anatomy, self.anatomy._places
        layers = {
            l: (p["block"], self.calls[p["block"]].first_in, p["o"], self.calls[p["o"]].first_in)
            for l, p in enumerate(parts)
            if ("pattern", l) in places and places["pattern", l].side in ("hooked", "written out")
        }
        for l in layers.keys() - acting(a, layers, hook):
            del places["pattern", l]
            inside = attention_inside(parts[l]["attn"]) is not None
            places["pattern", l] = Place(parts[l]["attn"], "eager" if inside else "written out")
        swapped = {
            l: layer
            for l, layer in layers.items()
            if ("pattern", l) in places and places["pattern", l].side in ("eager", "written out")
        }
        for l in swapped.keys() - acting(a, swapped, hook):
            del places["pattern", l]

    @staticmethod
    def _parts(layer: nn.Module) -> dict[str, Any]:
        children = _children(layer)

        def pick(names: Sequence[str]) -> nn.Module | None:
            return next((children[n] for n in names if n in children), None)

        attn, mlp = pick(ATTENTION), pick(MLP)
        return dict(
            block=layer,
            children=children,
            attn=attn,
            mlp=mlp,
            o=_within(attn, _OUT),
            down=_within(mlp if mlp is not None else layer, _DOWN),
            projections={s: m for s, names in _PROJECTION.items() if (m := _within(attn, names)) is not None},
            pattern=getattr(attn, "hook_pattern", None) if attn is not None and unwrapped(attn) is not attn else None,
        )

    def _named(self, layer: nn.Module) -> dict[str, Any]:
        """The same by the names under which a person's own class was registered."""
        names: Any = self.anatomy.names
        parts = self._parts(layer)
        own = {part: names.part(layer, getattr(names, part)) for part in ("attn", "mlp")}
        own |= {"o": names.part(layer, names.o_proj), "down": names.part(layer, names.down_proj)}
        projections = {s: m for s in "qkv" if (m := names.part(layer, getattr(names, s))) is not None}
        return (
            parts
            | {part: m for part, m in own.items() if m is not None}
            | ({"projections": projections} if projections else {})
        )

    def _note(self, module: nn.Module, side: str, x: Any) -> None:
        call = self.calls[module]
        if isinstance(x, Tensor):
            # in one place: what enters a block lies where the one before it computes
            setattr(call, side, x.detach().clone().to(self.anatomy.device))
        if side == "first_out":
            self._turns += 1
            call.calls, call.turn = call.calls + 1, self._turns

    def _output(self, module: nn.Module) -> Tensor | None:
        """What a module returned, where it was called once."""
        call = self.calls.get(module)
        return call.first_out if call is not None and call.calls == 1 else None

    def _out(self, module: nn.Module | None, like: Tensor) -> Tensor | None:
        call = self.calls.get(module)
        if call is None or call.calls != 1 or call.first_out is None or call.first_out.numel() != like.numel():
            return None
        out: Tensor = call.first_out.reshape(like.shape)
        return out

    def _require_stream(self, l: int, p: dict[str, Any]) -> None:
        a, block = self.anatomy, self.calls[p["block"]]
        x, y = block.first_in, block.first_out
        if block.calls != 1 or x is None or y is None or x.ndim != 3 or x.shape[:2] != (1, PROBE) or x.shape != y.shape:
            raise UnsupportedModel(
                f"model type {a.model_type!r}: layer {l} does not map [batch, position, d_model] to the same shape."
            )
        a.d_model = x.shape[-1]

    def _conclude(self, l: int, p: dict[str, Any], ends: Ends | None) -> None:
        a, x = self.anatomy, self.calls[p["block"]].first_in

        def put(site: str, place: Place) -> None:
            a._places[site, l] = place

        put("resid_pre", Place(p["block"], "in"))
        put("resid_post", Place(p["block"], "out"))
        attn_end = mlp_end = None
        if ends is not None:
            a.ends[l], attn_end, mlp_end = ends, ends.attn.module, ends.mlp.module
            for site, end in (("attn_out", ends.attn), ("mixer", ends.beside), ("mlp_out", ends.mlp)):
                if end is not None:
                    flat = self.calls[end.module].first_out.ndim == 2
                    put(site, Place(end.module, "out", scale=end.factor, flat=flat))
            if ends.start is not None:
                put("start", Place(ends.start, "out", flat=self.calls[ends.start].first_out.ndim == 2))
        # what is one tensor is equal bit by bit, whatever the precision
        down, mlp_out = self._out(p["down"], x), self._out(p["mlp"], x)
        if (
            down is not None
            and (
                p["down"] is mlp_end
                or (mlp_out is not None and any(torch.equal(down * c, mlp_out) for c in self._factors()))
            )
            and self.calls[p["down"]].first_in is not None
        ):
            put("neuron", Place(p["down"], "in", flat=self.calls[p["down"]].first_in.ndim == 2))
        o, attn_out = self._out(p["o"], x), self._out(p["attn"], x)
        if o is not None and (p["o"] is attn_end or (attn_out is not None and torch.equal(o, attn_out))):
            self._headed(l, p, put)

    def _headed(self, l: int, p: dict[str, Any], put: Callable[[str, Place], None]) -> None:
        """The sites with heads; ``z`` is what the output projection reads."""
        a, z = self.anatomy, self.calls[p["o"]].first_in
        heads = getattr(a.config, "num_attention_heads", 0)
        if (
            z is None
            or not heads
            or z.ndim != 3
            or z.shape[-1] % heads
            or a.n_heads not in (0, heads)
            or a.d_head not in (0, z.shape[-1] // heads)
        ):
            return
        a.n_heads, a.d_head = heads, z.shape[-1] // heads

        def split(x: Tensor) -> Tensor:
            heads: Tensor = x.unflatten(-1, (-1, a.d_head))
            return heads

        put("z", Place(p["o"], "in", split))
        out = {s: self.calls[m].first_out for s, m in p["projections"].items() if self.calls[m].calls == 1}
        if (
            len(out) == 3
            and all(t is not None and t.ndim == 3 and t.shape[-1] % a.d_head == 0 for t in out.values())
            and out["q"].shape[-1] in (z.shape[-1], 2 * z.shape[-1])
            and out["k"].shape == out["v"].shape
            and z.shape[-1] % out["k"].shape[-1] == 0
        ):
            a.n_kv_heads = out["k"].shape[-1] // a.d_head
            views: dict[str, Callable[[Tensor], Tensor] | None] = dict.fromkeys("qkv", split)
            if out["q"].shape[-1] != z.shape[-1]:
                a.gated.add(l)
                views["q"] = gated(out["q"], out["v"], z, a.d_head)
            for s, m in p["projections"].items():
                if (of_site := views[s]) is not None:
                    put(s, Place(m, "out", of_site))
        elif p["attn"] is not None and (
            found := fused(unwrapped(p["attn"]), heads, a.d_head, self._output, z, clip_of(a.config))
        ):
            module, laid_out, a.n_kv_heads = found
            for s, view in laid_out.items():
                put(s, Place(module, "out", view, getattr(view, "write", None)))
        pattern = self.calls.get(p["pattern"])
        if pattern is not None and pattern.calls == 1 and pattern.first_out.shape == (1, heads, PROBE, PROBE):
            put("pattern", Place(p["pattern"], "hooked"))
        elif p["pattern"] is None and attention_inside(p["attn"]) is not None:
            put("pattern", Place(p["attn"], "eager"))
        elif p["pattern"] is None:
            put("pattern", Place(p["attn"], "written out"))

    def _through(self, p: dict[str, Any], x: Tensor, y: Tensor) -> BlockPass:
        """What went through a block."""

        def went(module: nn.Module) -> Tensor | None:
            call = self.calls[module]
            fits = call.calls == 1 and call.first_in is not None and call.first_in.numel() == x.numel()
            return call.first_in.reshape(x.shape) if fits else None

        def may(first: nn.Module, second: nn.Module) -> bool:
            # what is not called attention comes before the MLP
            return p["attn"] is not None or self.calls[first].turn < self.calls[second].turn

        inner = [m for m in p["children"].values() if m not in (p["attn"], p["mlp"])]
        return BlockPass(x, y, lambda m: self._out(m, x), went, may, inner, self._factors())

    @staticmethod
    def _ends(p: dict[str, Any], trace: BlockPass) -> Iterator[Ends]:
        """What may be what the block adds: attention's output or its projection's, the MLP's or its last layer's, or
        those of norms behind them; where nothing is called attention, of whatever comes before the MLP.
        """
        firsts, seconds = (p["attn"], *trace.inner, p["o"]), (p["mlp"], *trace.inner, p["down"])

        def called(modules: Iterable[nn.Module | None]) -> list[nn.Module]:
            return [m for m in dict.fromkeys(modules) if m is not None and trace.output_of(m) is not None]

        return candidates(called(firsts), called(seconds), trace)

    def _factors(self) -> tuple[float, ...]:
        """By what a model's configuration says that it multiplies what its modules return."""
        config, factors = self.anatomy.config, [1.0]
        for name in _FACTORS:
            value = getattr(config, name, None)
            factors += [float(f) for f in (value if isinstance(value, list | tuple) else [value]) if f is not None]
        return tuple(dict.fromkeys(factors))
