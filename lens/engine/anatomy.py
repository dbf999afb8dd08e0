"""Where the sites of a Hugging Face decoder lie: modules found by name and confirmed by arithmetic on a probe.

Serves a plain model and one inside a TransformerLens bridge, whose wrappers stand in the same tree and are what the
model calls. A site is taken as found only if the numbers say so: what attention and MLP add must sum to what the block
adds, the output projection must give what attention returns, the down projection what the MLP returns.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field
from typing import Any, Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .decoder import UnsupportedModel, unwrapped
from .patterns import attention_inside, eager_patterns, hooked_pattern
from .sites import HEADED, SiteError, indices

#: A change of one activation, ``[batch, position, (head,) width]``; returns its argument itself where nothing changes.
Change = Callable[[Tensor], Tensor]

# names of bridge components come first: where a bridge splits fused projections, the fused one is no longer called
_ATTENTION = ("attn", "self_attn", "attention", "self_attention")
_MLP = ("mlp", "feed_forward", "ffn")
_OUT = ("o", "o_proj", "out_proj", "c_proj", "dense")
_DOWN = ("out", "down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2")
_PROJECTION = {"q": ("q", "q_proj"), "k": ("k", "k_proj"), "v": ("v", "v_proj")}
_REMEMBERED = "_mnemoscope_anatomy"
_PROBE = 9


@dataclass
class Place:
    """A module whose input or output holds a site's activation.

    Attributes:
        view: from the module's tensor ``[batch, position, width]`` to the site's part of it, sharing memory.
        scale: what the model multiplies the tensor by before adding it to the residual stream.
        flat: whether the module sees ``[batch * position, width]``.
    """

    module: nn.Module
    side: str
    view: Callable[[Tensor], Tensor] = lambda x: x
    scale: float = 1.0
    flat: bool = False


class Anatomy:
    """The blocks of a model and the places of their sites. Use ``Anatomy.of(model)``, which probes once and remembers.

    Attributes:
        layers: the block modules as the model calls them. body: the module that owns them and is given the position ids.
        n_layers, n_heads, n_kv_heads, d_head, d_model, d_vocab: sizes; heads are 0 where attention was not found.
    """

    def __init__(self, model: Any):
        self.hf = getattr(model, "original_model", model)
        config = getattr(self.hf, "config", None)
        self.model_type = getattr(config, "model_type", type(self.hf).__name__)
        if config is None or getattr(config, "is_encoder_decoder", False):
            raise UnsupportedModel(f"model type {self.model_type!r} is no Hugging Face causal language model.")
        self.config = config.get_text_config() if hasattr(config, "get_text_config") else config
        self.body = getattr(self.hf, "base_model", self.hf)
        self.layers = _layers(self.hf, model, getattr(self.config, "num_hidden_layers", None))
        if self.layers is None:
            raise UnsupportedModel(f"model type {self.model_type!r} has no list of {getattr(self.config, 'num_hidden_layers', '?')} decoder blocks that could be found.")
        self.embedding = self.hf.get_input_embeddings()
        self.n_layers, self.d_vocab = len(self.layers), self.config.vocab_size
        self._places: dict[tuple[str, int], Place] = {}
        self._parallel: dict[int, bool] = {}
        self.n_heads = self.n_kv_heads = self.d_head = 0
        with evaluating(self.hf):
            _Probe(self).run()
        self._mark = self._stamp()

    @classmethod
    def of(cls, model: Any) -> "Anatomy":
        """The anatomy of a ``TransformerBridge`` or a Hugging Face causal model; one probe a model.

        Raises:
            UnsupportedModel: no decoder blocks could be found, or the model does not take token ids.
        """
        key = getattr(model, "original_model", model)
        if not isinstance(key, nn.Module):
            raise UnsupportedModel(f"{type(key).__name__} is no PyTorch module.")
        found = key.__dict__.get(_REMEMBERED)
        if found is None or found._mark != found._stamp():
            found = cls(model)
            key.__dict__[_REMEMBERED] = found
        return found

    def _stamp(self) -> tuple[int, ...]:
        return tuple(id(m) for m in self.hf.modules())

    @property
    def device(self) -> torch.device:
        return self.hf.get_input_embeddings().weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.hf.get_input_embeddings().weight.dtype

    @property
    def blocks(self) -> tuple["Anatomy", ...]:
        """Itself once, for callers that ask ``blocks[0].parallel`` as of a ``Decoder``."""
        return (self,)

    @property
    def parallel(self) -> bool:
        """Whether the first block's MLP reads the stream before attention has added to it."""
        return self.is_parallel(0)

    def probe_ids(self) -> Tensor:
        return torch.randint(0, self.d_vocab, (1, _PROBE), generator=torch.Generator().manual_seed(0)).to(self.device)

    def has(self, site: str, layer: int | None) -> bool:
        """Whether a site of a layer can be read and written."""
        try:
            self.require(site, layer or 0)
        except SiteError:
            return False
        return True

    def require(self, site: str, layer: int) -> Place:
        """Where a site is.

        Raises:
            SiteError: it was not found in this layer.
        """
        if site == "resid_mid":
            place = self.require("attn_out", layer)
            if self.is_parallel(layer):
                raise SiteError("site 'resid_mid' does not exist: this model's attention and MLP run side by side; use 'attn_out' or 'resid_post'.")
            return place
        if site == "embed":
            return Place(self.embedding, "out")
        if (site, layer) not in self._places:
            raise SiteError(f"site={site!r} was not found in layer {layer} of model type {self.model_type!r}; "
                            f"found there: {', '.join(dict.fromkeys(s for s, l in self._places if l == layer))}.")
        return self._places[site, layer]

    def is_parallel(self, layer: int) -> bool:
        """Whether what a layer's attention adds is unseen by its MLP: tried out on the probe."""
        if layer not in self._parallel:
            seen: list[Tensor] = []
            push = torch.randn(1, generator=torch.Generator().manual_seed(1)).to(self.device, self.dtype)
            with evaluating(self.hf), contextlib.ExitStack() as undo, torch.no_grad():
                undo.callback(self.attach("mlp_out", layer, lambda x: (seen.append(x.clone()), x)[1]))
                self.hf(self.probe_ids(), use_cache=False)
                undo.callback(self.attach("attn_out", layer, lambda x: x + push * x.abs().amax() * torch.linspace(-1, 1, x.shape[-1]).to(x)))
                self.hf(self.probe_ids(), use_cache=False)
            self._parallel[layer] = bool(torch.equal(*seen))
        return self._parallel[layer]

    def heads(self, site: str) -> int:
        return self.n_heads if HEADED[site] == "query" else self.n_kv_heads

    def layer_of(self, site: str, layer: int | None) -> tuple[str, int]:
        """The site and layer with a non-negative layer; ``resid_post`` as the next layer's ``resid_pre`` where there is one."""
        at = 0 if site == "embed" else indices(layer, self.n_layers, "layer")[0]
        return ("resid_pre", at + 1) if site == "resid_post" and at + 1 < self.n_layers else (site, at)

    def attach(self, site: str, layer: int, change: Change) -> Callable[[], None]:
        """Puts a change at a site in force on every forward; returns what undoes it.

        The change sees ``[batch, position, (head,) width]``; patterns as ``[batch, query, head, key]``.

        Raises:
            SiteError: the site was not found.
        """
        place, handles = self.require(site, layer), contextlib.ExitStack()
        if site == "pattern":
            if place.side == "eager":
                return eager_patterns(self.config, place.module, change)
            return hooked_pattern(place.module, change)
        batch: list[int] = [1]
        block_input: list[Tensor] = []
        if site == "resid_mid" or place.flat:
            def look(_, args, kwargs):
                x = args[0] if args else kwargs["hidden_states"]
                batch[:], block_input[:] = [x.shape[0]], [x]
            handles.callback(self.layers[layer].register_forward_pre_hook(look, with_kwargs=True).remove)
        if site == "resid_mid":
            inner = change

            def change(x):
                middle = block_input[0] + x
                new = inner(middle)
                return x if new is middle else new - block_input[0]

        def through(x: Tensor) -> Tensor | None:
            whole = x.unflatten(0, (batch[0], -1)) if place.flat else x
            seen = place.view(whole)
            seen = seen if place.scale == 1.0 else seen * place.scale
            new = change(seen)
            if new is seen:
                return None
            whole = whole.clone()
            place.view(whole).copy_(new if place.scale == 1.0 else new / place.scale)
            return whole.flatten(0, 1) if place.flat else whole
        handles.callback(hook(place.module, place.side, through).remove)
        return handles.close


def hook(module: nn.Module, side: str, through: Callable[[Tensor], Tensor | None]):
    """A torch hook on the first tensor that goes into or comes out of a module; None from ``through`` leaves it as it is."""
    if side == "in":
        def before(_, args, kwargs):
            name = None if args else next(iter(kwargs))
            name = "hidden_states" if name is not None and "hidden_states" in kwargs else name
            new = through(args[0] if args else kwargs[name])
            return None if new is None else ((new, *args[1:]), kwargs) if args else (args, {**kwargs, name: new})
        return module.register_forward_pre_hook(before, with_kwargs=True)

    def after(_, args, output):
        new = through(output[0] if isinstance(output, tuple) else output)
        return None if new is None else (new, *output[1:]) if isinstance(output, tuple) else new
    return module.register_forward_hook(after)


@contextlib.contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """The module in eval mode; each part is put back as it was."""
    training = [m for m in module.modules() if m.training]
    for m in training:
        m.training = False
    try:
        yield
    finally:
        for m in training:
            m.training = True


def _layers(hf: nn.Module, model: Any, count: int | None) -> list[nn.Module] | None:
    lists = [m for m in hf.modules() if isinstance(m, nn.ModuleList) and len(m) == count and len({type(unwrapped(b)) for b in m}) <= 2]
    blocks = getattr(model, "blocks", None)
    if isinstance(blocks, nn.ModuleList) and len(blocks) == count:
        lists.append(blocks)
    return list(lists[0]) if lists else None


def _children(module: nn.Module) -> dict[str, nn.Module]:
    """Parts of a module and, where it is a bridge wrapper, of what it wraps; hook points left out."""
    out: dict[str, nn.Module] = {}
    for owner in dict.fromkeys((module, unwrapped(module))):
        for name, part in owner._modules.items():
            if part is not None and name != "_original_component" and type(part).__name__ != "HookPoint" and part not in out.values():
                out[name] = part
    return out


def _within(module: nn.Module | None, names: tuple[str, ...]) -> nn.Module | None:
    """The part of a module, at any depth, that has the first of these names that is there."""
    if module is not None:
        parts = [(path.split(".")[-1], part) for path, part in module.named_modules(remove_duplicate=False)]
        for name in names:
            for last, part in parts:
                if last == name and type(part).__name__ != "HookPoint":
                    return part
    return None


@dataclass
class _Seen:
    """What went through a module on the probe."""

    first_in: Tensor | None = None
    first_out: Tensor | None = None
    calls: int = 0


@dataclass
class _Probe:
    """One forward on the probe, every candidate module watched, and the conclusions."""

    anatomy: Anatomy
    seen: dict[nn.Module, _Seen] = field(default_factory=dict)

    def run(self) -> None:
        a = self.anatomy
        parts = [self._parts(layer) for layer in a.layers]
        watched = {m for p in parts for m in (p["block"], p["attn"], p["mlp"], p["o"], p["down"], p["pattern"], *p["projections"].values(), *p["children"].values()) if m is not None}
        handles = []
        for module in watched:
            self.seen[module] = _Seen()
            handles += [hook(module, "in", lambda x, m=module: self._note(m, "first_in", x)), hook(module, "out", lambda x, m=module: self._note(m, "first_out", x))]
        try:
            with torch.no_grad():
                a.hf(a.probe_ids(), use_cache=False)
        except Exception as error:
            raise UnsupportedModel(f"model type {a.model_type!r}: a forward on {_PROBE} token ids failed with {type(error).__name__}: {error}") from error
        finally:
            for handle in handles:
                handle.remove()
        for l, p in enumerate(parts):
            self._conclude(l, p)

    @staticmethod
    def _parts(layer: nn.Module) -> dict[str, Any]:
        children = _children(layer)
        pick = lambda names: next((children[n] for n in names if n in children), None)
        attn, mlp = pick(_ATTENTION), pick(_MLP)
        return dict(block=layer, children=children, attn=attn, mlp=mlp, o=_within(attn, _OUT), down=_within(mlp if mlp is not None else layer, _DOWN),
                    projections={s: m for s, names in _PROJECTION.items() if (m := _within(attn, names)) is not None},
                    pattern=getattr(attn, "hook_pattern", None) if attn is not None and unwrapped(attn) is not attn else None)

    def _note(self, module: nn.Module, side: str, x: Any) -> None:
        seen = self.seen[module]
        if isinstance(x, Tensor):
            setattr(seen, side, x.detach().clone())
        seen.calls += side == "first_out"

    def _out(self, module: nn.Module | None, like: Tensor) -> Tensor | None:
        seen = self.seen.get(module)
        ok = seen is not None and seen.calls == 1 and seen.first_out is not None and seen.first_out.numel() == like.numel()
        return seen.first_out.reshape(like.shape) if ok else None

    def _conclude(self, l: int, p: dict[str, Any]) -> None:
        a, block = self.anatomy, self.seen[p["block"]]
        x, y = block.first_in, block.first_out
        if block.calls != 1 or x is None or y is None or x.ndim != 3 or x.shape[:2] != (1, _PROBE) or x.shape != y.shape:
            raise UnsupportedModel(f"model type {a.model_type!r}: layer {l} does not map [batch, position, d_model] to the same shape.")
        a.d_model = x.shape[-1]
        put = lambda site, place: a._places.__setitem__((site, l), place)
        put("resid_pre", Place(p["block"], "in")), put("resid_post", Place(p["block"], "out"))
        attn_end, mlp_end, scale = self._ends(p, x, y)
        for site, end in (("attn_out", attn_end), ("mlp_out", mlp_end)):
            if end is not None:
                put(site, Place(end, "out", scale=scale, flat=self.seen[end].first_out.ndim == 2))
        down, mlp_out = self._out(p["down"], x), self._out(p["mlp"], x)
        if down is not None and (p["down"] is mlp_end or (mlp_out is not None and _same(down, mlp_out))) and self.seen[p["down"]].first_in is not None:
            put("neuron", Place(p["down"], "in", flat=self.seen[p["down"]].first_in.ndim == 2))
        o, attn_out = self._out(p["o"], x), self._out(p["attn"], x)
        if o is not None and (p["o"] is attn_end or (attn_out is not None and _same(o, attn_out))):
            self._headed(l, p, put)

    def _headed(self, l: int, p: dict[str, Any], put) -> None:
        """The sites with heads; ``z`` is what the output projection reads."""
        a, z = self.anatomy, self.seen[p["o"]].first_in
        heads = getattr(a.config, "num_attention_heads", 0)
        if z is None or not heads or z.ndim != 3 or z.shape[-1] % heads or a.n_heads not in (0, heads) or a.d_head not in (0, z.shape[-1] // heads):
            return
        a.n_heads, a.d_head = heads, z.shape[-1] // heads
        split = lambda x: x.unflatten(-1, (-1, a.d_head))
        put("z", Place(p["o"], "in", split))
        out = {s: self.seen[m].first_out for s, m in p["projections"].items() if self.seen[m].calls == 1}
        if len(out) == 3 and all(t is not None and t.ndim == 3 and t.shape[-1] % a.d_head == 0 for t in out.values()) and \
                out["q"].shape[-1] == z.shape[-1] and out["k"].shape == out["v"].shape and z.shape[-1] % out["k"].shape[-1] == 0:
            a.n_kv_heads = out["k"].shape[-1] // a.d_head
            for s, m in p["projections"].items():
                put(s, Place(m, "out", split))
        elif (fused := _fused(p["attn"], heads, a.d_head)) is not None:
            module, views, a.n_kv_heads = fused
            for s, view in views.items():
                put(s, Place(module, "out", view))
        pattern = self.seen.get(p["pattern"])
        if pattern is not None and pattern.calls == 1 and pattern.first_out.shape == (1, heads, _PROBE, _PROBE):
            put("pattern", Place(p["pattern"], "hooked"))
        elif p["pattern"] is None and attention_inside(p["attn"]) is not None:
            put("pattern", Place(p["attn"], "eager"))

    def _ends(self, p: dict[str, Any], x: Tensor, y: Tensor) -> tuple[nn.Module | None, nn.Module | None, float]:
        """The modules whose outputs, times one factor, sum to what the block adds."""
        if p["attn"] is None:
            return None, None, 1.0
        added = (y - x).double()
        others = [m for m in p["children"].values() if m not in (p["attn"], p["mlp"])]
        outputs = {m: t.double() for m in (p["attn"], p["mlp"], p["o"], p["down"], *others) if m is not None and (t := self._out(m, x)) is not None}
        allowed = {torch.float32: 1e-5, torch.float64: 1e-5}.get(x.dtype, 3e-2)
        for first in (p["attn"], *others, p["o"]):
            for second in (p["mlp"], *others, p["down"]):
                if first is second or first not in outputs or second not in outputs:
                    continue
                both = outputs[first] + outputs[second]
                norm = both.square().sum().item()
                scale = 1.0 if norm == 0 else (added * both).sum().item() / norm
                # in low precision the fit is rough; the model's own factor is exact
                scale = next((f for f in (1.0, getattr(self.anatomy.config, "residual_multiplier", 1.0)) if math.isclose(scale, f, rel_tol=allowed)), scale)
                if (added - scale * both).abs().max() <= allowed * max(1e-12, x.abs().max().item(), both.abs().max().item()) and scale > 1e-3:
                    return first, second, scale
        return None, None, 1.0


def _same(a: Float[Tensor, "*shape"], b: Float[Tensor, "*shape"]) -> bool:
    return bool((a - b).abs().max() <= {torch.float32: 1e-6}.get(a.dtype, 1e-2) * max(1e-12, a.abs().max().item()))


def _fused(attn: nn.Module, heads: int, d_head: int):
    """The module that projects to q, k and v at once, a view for each, and the number of key/value heads."""
    inner, kind = unwrapped(attn), type(unwrapped(attn)).__name__
    if kind == "GPT2Attention":
        return inner.c_attn, {s: lambda x, i=i: x.unflatten(-1, (3, heads, d_head)).select(-3, i) for i, s in enumerate("qkv")}, heads
    if kind == "GPTNeoXAttention":
        return inner.query_key_value, {s: lambda x, i=i: x.unflatten(-1, (heads, 3, d_head)).select(-2, i) for i, s in enumerate("qkv")}, heads
    if kind in ("Phi3Attention", "Glm4Attention") and hasattr(inner, "qkv_proj"):
        shared = inner.config.num_key_value_heads
        begin = {"q": (0, heads), "k": (heads, shared), "v": (heads + shared, shared)}
        return inner.qkv_proj, {s: lambda x, b=b, n=n: x.narrow(-1, b * d_head, n * d_head).unflatten(-1, (n, d_head)) for s, (b, n) in begin.items()}, shared
    return None
