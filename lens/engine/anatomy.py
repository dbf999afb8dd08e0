"""Where the sites of a Hugging Face decoder lie: modules found by name and confirmed by arithmetic on a probe.

Serves a plain model and one inside a TransformerLens bridge, whose wrappers stand in the same tree and are what the
model calls. A site is taken as found only if the numbers say so: what attention and MLP add must sum to what the block
adds, the output projection must give what attention returns, the down projection what the MLP returns.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import ModelLike, unfit
from ..models.placement import device_of
from ..models.state import State
from .effective import shape
from .ends import Ends
from .errors import UnsupportedModel
from .lengths import Lengths
from .middle import Middle
from .mixtures import Mixture, mixtures_of
from .patterns import eager_patterns, hooked_pattern, softmaxed
from .places import Place, alone, before_call, evaluating, hook
from .probe import PROBE, Probe, layers_of
from .registry import calling, config_of, registered
from .sites import EXPERTS, HEADED, SITES, SiteError, indices
from .walk.decoder import both_ways

#: A change of one activation, ``[batch, position, (head,) width]``; returns its argument itself where nothing changes.
Change = Callable[[Tensor], Tensor]
_REMEMBERED = "_mnemoscope_anatomy"


class Anatomy:
    """The blocks of a model and the places of their sites. Use ``Anatomy.of(model)``, which probes once and remembers.

    Attributes:
        layers: the block modules as the model calls them. body: the library's base model.
        carriers: the modules around the layers that are really called and take tokens, from the outermost inwards.
        devices: where each layer computes.
        n_layers, n_heads, n_kv_heads, d_head, d_model, d_vocab: sizes; heads are 0 where attention was not found.
    """

    state: State
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_vocab: int
    layers: list[nn.Module]
    embedding: Any
    head: Any

    def __init__(self, model: Any):
        self.hf: Any = getattr(model, "original_model", model)
        self.names, config = registered(self.hf), config_of(self.hf)
        self.model_type: str = getattr(config, "model_type", None) or type(self.hf).__name__
        if config is None or getattr(config, "is_encoder_decoder", False):
            raise UnsupportedModel(
                f"model type {self.model_type!r} is no Hugging Face causal language model; a class of your own is"
                " named by lens.Model.register(...)."
            )
        self.config = config.get_text_config() if hasattr(config, "get_text_config") else config
        self.body = getattr(self.hf, "base_model", self.hf)
        #: from token ids to logits
        self.forward = calling(self.hf)
        layers: list[nn.Module] | None
        if self.names is not None:
            layers = list(self.names.part(self.hf, self.names.blocks))
        else:
            layers = layers_of(self.hf, model, getattr(self.config, "num_hidden_layers", None))
        if layers is None:
            raise UnsupportedModel(
                f"model type {self.model_type!r} has no list of {getattr(self.config, 'num_hidden_layers', '?')}"
                " decoder blocks that could be found; lens.Model.register(...) says where they are."
            )
        self.layers = layers
        if self.names is not None:
            self.embedding = self.names.part(self.hf, self.names.embedding)
            self.head = self.names.part(self.hf, self.names.head)
        else:
            self.embedding, self.head = self.hf.get_input_embeddings(), self.hf.get_output_embeddings()
        self.n_layers, self.d_vocab = len(self.layers), self.config.vocab_size
        self.devices = [device_of(layer) for layer in self.layers]
        self.points: dict[nn.Module, nn.Module] = {}
        self._places: dict[tuple[str, int], Place] = {}
        #: layers whose heads' outputs are multiplied by a gate before the output projection reads them
        self.gated: set[int] = set()
        #: by layer, what it adds to the stream, where that was found
        self.ends: dict[int, Ends] = {}
        self._parallel: dict[int, bool] = {}
        self._causal: bool | None = None
        self._mixtures: dict[int, Mixture] | None = None
        #: of layers whose mixture was not confirmed, why not
        self._unmixed: dict[int, str] = {}
        self._lookers: dict[int, list[Callable[..., Any]]] = {}
        #: see ``decoding``: how far the model's numbers are from the text by itself, by the way in which it is called
        self.ways: dict[Any, float] = {}
        self.carriers: tuple[nn.Module, ...] = (self.hf,)
        #: None, or which lengths of text share their rotary frequencies
        self.lengths = Lengths.of(self.hf)
        #: layers whose output is the next layer's input as it is; RWKV halves the stream in between every few layers
        self.handed_on: frozenset[int] = frozenset()
        self.n_heads = self.n_kv_heads = self.d_head = 0
        with evaluating(self.hf):
            Probe(self).run()

    @classmethod
    def of(cls, model: Any) -> "Anatomy":
        """The anatomy of a ``TransformerBridge`` or a Hugging Face causal model; one probe a model.

        Raises:
            UnsupportedModel: no decoder blocks could be found, or the model does not take token ids.
        """
        key = module_of(model)
        state = State.of(model)
        anatomy: Anatomy | None = key.__dict__.get(_REMEMBERED)
        if anatomy is None or anatomy.state is not state:
            anatomy = cls(model)
            anatomy.state = state
            key.__dict__[_REMEMBERED] = anatomy
        return anatomy

    @property
    def device(self) -> torch.device:
        """Where the embedding is, and so the runs."""
        weight: Tensor = self.embedding.weight
        return device_of(self.embedding) if weight.is_meta else weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the embedding, and so of the residual stream."""
        dtype: torch.dtype = self.embedding.weight.dtype
        return dtype

    @property
    def blocks(self) -> tuple["Anatomy", ...]:
        """Itself once, for callers that ask ``blocks[0].parallel`` as of a ``Decoder``."""
        return (self,)

    @property
    def parallel(self) -> bool:
        """Whether the first block's MLP reads the stream before attention has added to it."""
        return self.is_parallel(0)

    @property
    def causal(self) -> bool:
        """Whether no token reads a later one: by the configuration, and tried on the probe by changing its last
        token.
        """
        if both_ways(self.config):
            return False
        if self._causal is None:
            ids = self.probe_ids().repeat(2, 1)
            ids[1, -1] = (ids[1, -1] + 1) % self.d_vocab
            streams: list[Tensor] = []
            with evaluating(self.hf) as here, torch.no_grad():
                here.put(lambda: hook(self.layers[-1], "out", lambda x: streams.append(x.detach().double())).remove)
                self.forward(ids)
            one, other = streams[0][:, :-1]
            allowed = {torch.float32: 1e-5, torch.float64: 1e-5}.get(self.dtype, 2e-2)
            self._causal = bool((one - other).abs().max() <= allowed * max(1.0, one.abs().max().item()))
        return self._causal

    def probe_ids(self) -> Tensor:
        """A row of `PROBE` token ids, always the same for a vocabulary, on the model's device."""
        return torch.randint(0, self.d_vocab, (1, PROBE), generator=torch.Generator().manual_seed(0)).to(self.device)

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
            self.require("attn_out", layer)
            if self.ends[layer].between is not None:
                raise SiteError(
                    f"site 'resid_mid' does not exist in layer {layer}: this model's stream is normed between attention"
                    " and MLP, so that it is one thing before and another after; use 'attn_out' or 'mlp_out'."
                )
            if self.is_parallel(layer):
                raise SiteError(
                    "site 'resid_mid' does not exist: this model's attention and MLP run side by side; use 'attn_out'"
                    " or 'resid_post'."
                )
            return self._places["attn_out" if self.ends[layer].attn.module is self.ends[layer].last else "mixer", layer]
        if site == "embed":
            return Place(self.embedding, "out")
        if site in EXPERTS:
            return Place(self.mixture(site, layer).module, "mixture", flat=True)
        if (site, layer) not in self._places:
            headless = site in HEADED and ("z", layer) not in self._places
            why = ", which has no attention heads there that could be told apart" if headless else ""
            raise SiteError(
                f"site={site!r} was not found in layer {layer} of model type {self.model_type!r}{why}; "
                f"found there: {', '.join(dict.fromkeys(s for s, l in self._places if l == layer and s in SITES))}."
            )
        return self._places[site, layer]

    @property
    def mixtures(self) -> dict[int, Mixture]:
        """The layers' mixtures of experts; probed when first asked for."""
        if self._mixtures is None:
            self._mixtures, self._unmixed = mixtures_of(self)
        return self._mixtures

    def mixture(self, site: str, layer: int) -> Mixture:
        """The mixture of experts of a layer that has this site of it.

        Raises:
            SiteError: it has none.
        """
        mixture = self.mixtures.get(layer)
        if mixture is None or (site == "expert" and mixture.scale is None):
            why = ", which has no routed experts that could be told"
            if mixture is not None or layer in self._unmixed:
                why = f": {mixture.why if mixture is not None else self._unmixed[layer]}"
            raise SiteError(f"site={site!r} does not exist in layer {layer} of model type {self.model_type!r}{why}.")
        return mixture

    def experts(self, site: str, layer: int) -> int:
        """How many experts a layer has. Raises SiteError as ``mixture``."""
        return self.mixture(site, layer).n_experts

    def is_parallel(self, layer: int) -> bool:
        """Whether what a layer's attention adds is unseen by its MLP: tried out on the probe."""
        if layer not in self._parallel:
            seen: list[Tensor] = []
            push = torch.randn(1, generator=torch.Generator().manual_seed(1)).to(self.device, self.dtype)

            def note(x: Tensor) -> Tensor:
                seen.append(x.clone())
                return x

            with evaluating(self.hf) as here, torch.no_grad():
                here.put(lambda: self.attach("mlp_out", layer, note))
                self.forward(self.probe_ids())
                here.put(
                    lambda: self.attach(
                        "attn_out",
                        layer,
                        lambda x: x + push.to(x) * x.abs().amax() * torch.linspace(-1, 1, x.shape[-1]).to(x),
                    )
                )
                self.forward(self.probe_ids())
            self._parallel[layer] = bool(torch.equal(*seen))
        return self._parallel[layer]

    def heads(self, site: str) -> int:
        """How many heads the site has: query heads, or the key and value heads that groups of them share."""
        return self.n_heads if HEADED[site] == "query" else self.n_kv_heads

    def neurons(self, layer: int) -> int:
        """Neurons of a layer's MLP: the width that its down projection reads.

        Raises:
            SiteError: no neurons were found there.
        """
        return shape(self.require("neuron", layer).module)[1]

    def layer_of(self, site: str, layer: int | None) -> tuple[str, int]:
        """The site and layer with a non-negative layer; ``resid_post`` as the next layer's ``resid_pre`` where these
        are one tensor.
        """
        at = 0 if site == "embed" else indices(layer, self.n_layers, "layer")[0]
        return ("resid_pre", at + 1) if site == "resid_post" and at in self.handed_on else (site, at)

    def shown(self, site: str, layer: int | None) -> tuple[str, int]:
        """As ``layer_of``, but ``resid_post`` stays where a bridge's hook point of that name shows it: what is hooked
        there then sees the change.
        """
        at = 0 if site == "embed" else indices(layer, self.n_layers, "layer")[0]
        return (site, at) if site == "resid_post" and self.layers[at] in self.points else self.layer_of(site, layer)

    def enter(self, layer: int, args: tuple[Any, ...]) -> None:
        """Tells the changes in a layer what goes into it, where it runs without its hooks: inside gradient
        checkpointing.
        """
        for look in self._lookers.get(layer, ()):
            look(None, args, {})

    def attach(self, site: str, layer: int, change: Change, *, everywhere: bool = False) -> Callable[[], None]:
        """Puts a change at a site in force on every forward of this thread, or of every thread; returns what undoes it.

        The change sees ``[batch, position, (head,) width]``; patterns as ``[batch, query, head, key]``, ``router`` as
        ``[batch, position, expert]`` and ``expert`` as ``[batch, position, expert, d_model]``.

        Raises:
            SiteError: the site was not found.
        """
        place, handles = self.require(site, layer), contextlib.ExitStack()
        try:
            return self._attach(place, handles, site, layer, change, everywhere)
        except BaseException:
            handles.close()
            raise

    def _attach(
        self, place: Place, handles: contextlib.ExitStack, site: str, layer: int, change: Change, everywhere: bool
    ) -> Callable[[], None]:
        if site == "pattern":
            if not everywhere:
                change = alone(change, lambda pattern: pattern)
            if place.side == "eager":
                return eager_patterns(self.config, place.module, change)
            if place.side == "written out":
                return softmaxed(place.module, change, self.n_heads)
            return hooked_pattern(place.module, change)
        batch: list[int] = [1]
        middle = Middle(self.ends[layer]) if site == "resid_mid" else None
        if middle is not None or place.flat:

            def look(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
                x = args[0] if args else kwargs["hidden_states"]
                batch[:] = [x.shape[0]]
                if middle is not None:
                    middle.enter(x)

            handles.callback(before_call(self.layers[layer], look if everywhere else alone(look)).remove)
            lookers = self._lookers.setdefault(layer, [])
            lookers.append(look)
            handles.callback(lookers.remove, look)
        if site in EXPERTS:
            handles.callback(self.mixture(site, layer).attach(site, change, lambda: batch[0], everywhere))
            return handles.close
        if middle is not None:
            for module, add in middle.parts():
                handles.callback(hook(self.points.get(module, module), "out", add, everywhere=everywhere).remove)
            change = middle.through(change)

        def through(x: Tensor) -> Tensor | None:
            whole = x.unflatten(0, (batch[0], -1)) if place.flat else x
            seen = place.view(whole)
            seen = seen if place.scale == 1.0 else seen * place.scale
            new = change(seen)
            if new is seen:
                return None
            whole, new = whole.clone(), new if place.scale == 1.0 else new / place.scale
            if place.write is None:
                place.view(whole).copy_(new)
            else:
                place.write(whole, new)
            return whole.flatten(0, 1) if place.flat else whole

        handles.callback(
            hook(
                self.points.get(place.module, place.module) if place.side == "out" else place.module,
                place.side,
                through,
                everywhere=everywhere,
            ).remove
        )
        return handles.close


def module_of(model: Any) -> nn.Module:
    """The module whose forward is the model's: its own, or the Hugging Face model behind a bridge.

    Raises:
        UnsupportedModel: there is none.
    """
    key = getattr(model, "original_model", model)
    if not isinstance(key, nn.Module):
        raise UnsupportedModel(unfit("model", key, ModelLike.expected, "load one with lens.load"))
    return key
