"""What a method may ask of any decoder, and which path answers.

Three paths stand behind one class, the first that passes its probe: the *walk* writes the blocks out, so that each
edited row computes its own suffix alone; *layers* drives the model's own layers with a prefix cache; *hooks* runs full
forwards. All are exact: a path whose probe differs from the model's own forward is not used. A method never names a
path: it asks, and gets an answer or a `lens.Error` that says what this model cannot do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ..arguments import HFModel, door
from ..models.state import State
from ..notices import warn
from .anatomy import Anatomy, module_of
from .changes import PATHS, Changes, edits_in_force
from .edits import Edit
from .effective import table
from .ending import Ending
from .errors import RunError, TooLong, UnsupportedModel
from .forwards import ForwardRuns, run_rows
from .hooks import Hooks, Recorded
from .layers import Layers
from .parts import FoundBlock, Tail, parts_of
from .registry import register
from .runs import Runs, opened
from .sessions import hash_of
from .sites import HEADED, SITES, SiteError
from .walk.decoder import Decoder
from .walk.rows import Walked, walk
from .walk.runs import WalkRuns

_REMEMBERED = "_mnemoscope_model"


@dataclass(frozen=True)
class _Own:
    """What was found of a model on whose own modules runs are made."""

    blocks: list[FoundBlock]
    tail: Tail
    ending: Ending


class Model:
    """The engine's view of any decoder. Use ``Model.of(model)``, which probes once and remembers.

    Attributes:
        hf: the Hugging Face model. config: of its text part. model_type.
        n_layers, n_heads, n_kv_heads, d_head, d_model, d_mlp, d_vocab: sizes; 0 where a model has no such thing.
        blocks: each block's attention by its parts (``output_weight()``, ``value_weight()``, ``norm_attn``,
            ``post_attn``, ``out(z)``, ``values(x)``). norm: the final norm.
        walked: the written-out blocks, or None. why: why not, in words. state: what the model was when it was probed.
    """

    blocks: list[Any]
    config: Any
    model_type: str
    n_layers: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    d_model: int
    d_mlp: int
    d_vocab: int
    max_length: int | None

    def __init__(self, model: Any, state: State):
        self.state = state
        self.hf: Any = getattr(model, "original_model", model)
        self.walked: Decoder | None = None
        self.why: str | None = None
        self._source, self._warned = model, "walk"
        self._paths: dict[str, Layers | UnsupportedModel] = {}
        try:
            self._take(Decoder.of(model))
        except UnsupportedModel as reason:
            try:
                self._without_walk(str(reason))
            except UnsupportedModel as error:
                raise UnsupportedModel(f"{error} {reason}") from error

    # -- which path --------------------------------------------------------------------------------------------------

    @classmethod
    def of(cls, model: Any) -> Model:
        """The probed view of a ``TransformerBridge`` or a Hugging Face causal model; one probe a model and structure.

        Raises:
            UnsupportedModel: no decoder blocks could be found, or the model gives no logits for every token.
            RunError: the model's logits hold NaN or infinity; edits are in force on it; it is in training mode.
        """
        if isinstance(model, cls):
            return model
        if isinstance(model, Decoder):
            model = model.hf
        key = module_of(model)
        if edits_in_force(key):
            raise RunError(
                "model: edits are in force on it (lens.edited), which a sweep would not see; leave the with block"
                " first."
            )
        state, found = State.of(model), key.__dict__.get(_REMEMBERED)
        if found is None or found.state is not state:
            found = cls(model, state)
            if key.training:
                raise RunError(
                    "model: it is in training mode, where dropout changes every run; call model.eval() first."
                )
            key.__dict__[_REMEMBERED] = found
        return found

    def _take(self, decoder: Decoder) -> None:
        self.walked = decoder
        self.config, self.model_type, self.blocks = decoder.config, decoder.model_type, decoder.blocks
        for name in (
            "n_layers",
            "n_heads",
            "n_kv_heads",
            "d_head",
            "d_model",
            "d_mlp",
            "d_vocab",
            "max_length",
        ):
            setattr(self, name, getattr(decoder, name))

    def _without_walk(self, reason: str) -> None:
        """Goes on without the written-out blocks, for as long as the model's structure is what it is."""
        self.walked, self.why = None, reason
        a, own = self.anatomy, self.own
        self.blocks, self.config, self.model_type = own.blocks, a.config, a.model_type
        self.n_layers, self.n_heads, self.n_kv_heads, self.d_head = a.n_layers, a.n_heads, a.n_kv_heads, a.d_head
        self.d_model, self.d_vocab = a.d_model, a.d_vocab
        self.d_mlp = max((a.neurons(l) for l in range(a.n_layers) if a.has("neuron", l)), default=0)
        self.max_length = getattr(a.config, "max_position_embeddings", None)

    @functools.cached_property
    def anatomy(self) -> Anatomy:
        """Where the sites lie; probed when first asked for."""
        return Anatomy.of(self._source)

    @functools.cached_property
    def own(self) -> _Own:
        """What the paths on the model's own modules need, made when first asked for."""
        _require_token_logits(self.anatomy)
        blocks, tail, seen = parts_of(self.anatomy)
        return _Own(blocks, tail, Ending(self.anatomy, tail, seen))

    @property
    def ending(self) -> Ending:
        """How what runs of the model's own modules end in becomes logits."""
        return self.own.ending

    def path_for(
        self, sites: Collection[tuple[str, int | None]], length: int, *, edited: bool = False
    ) -> Layers | Hooks:
        """The path behind the walk that serves these sites in prompts of so many tokens; for runs of `ForwardRuns`.

        Raises:
            SiteError: a site that the model does not have.
        """
        for site, layer in sites:
            self.anatomy.require(*self.anatomy.layer_of(site, layer))
        try:
            layers = self._layers(length)
            path: Layers | Hooks = layers
            of_site: dict[str, list[int]] = {}
            for site, layer in sites:
                of_site.setdefault(site, []).append(0 if layer is None else layer)
            for site, where in of_site.items():
                layers.serves(site, None if site == "embed" else where)
            why = None
        except UnsupportedModel as error:
            path, why = self.whole, str(error)
        self.note(path.name, why, edited=edited)
        return path

    def _layers(self, length: int) -> Layers:
        found: Layers | UnsupportedModel | None = self._paths.get("layers")
        if found is None:
            try:
                found = Layers(self.anatomy, self.ending)
            except UnsupportedModel as error:
                found = error
            self._paths["layers"] = found
        if isinstance(found, UnsupportedModel):
            raise found
        try:
            found.check(length)
        except UnsupportedModel as error:
            if length <= 9:
                self._paths["layers"] = error
            raise
        return found

    @functools.cached_property
    def whole(self) -> Hooks:
        """Full forwards with hooks."""
        return Hooks(self.anatomy, self.ending)

    def run_of(self, base: ForwardRuns, prompt: int, path: Layers | Hooks) -> Recorded:
        """A prompt's unedited run with what a path needs of it, made once."""
        run = base.own[prompt]
        if isinstance(path, Layers):
            if run.calls is None:
                run = path.record(run.ids, list(run.kept), None if base.of_ids else run.embedded)
                base.own[prompt] = run
            path.prepare(run)
        return run

    def note(self, path: str, why: str | None = None, *, edited: bool = False) -> None:
        """Notes for records which path served; of edited runs that are not the fastest it warns, once a path."""
        reason = " ".join(dict.fromkeys(w for w in (self.why, why) if w))
        for session in Changes.of(self.hf).sessions:
            session.serve(path, reason or None)
        if edited and PATHS.index(path) > PATHS.index(self._warned):
            self._warned = path
            how = (
                "computed on the model's own layers, one prompt at a time, slower than written-out blocks"
                if path == "layers"
                else "computed by full forwards with hooks, many times slower than usual"
            )
            warn(f"{self.model_type}: every edited run is {how}. {reason}")

    def served(self) -> Mapping[str, Any]:
        """Which path served the computation under way, the slowest of those that did, and why not a faster one; filled
        until its end, with None where nothing was run.
        """
        session = Changes.of(self.hf).mine()
        if session is None:
            return {"name": "walk" if self.walked is not None else "hooks", "why": self.why}
        return session.path

    def weights(self) -> str:
        """The hash of the weights, looked up once a computation."""
        return hash_of(self.hf)

    def found(self, sites: Iterable[str], required: Iterable[str] = ()) -> list[tuple[str, int]]:
        """Of these sites, every layer that has them.

        Raises:
            SiteError: a required site that no layer has.
        """
        a, keys = self.anatomy, []
        for site in dict.fromkeys(sites):
            if site in ("resid_pre", "resid_mid", "resid_post", "embed"):
                continue
            layers = [l for l in range(a.n_layers) if a.has(site, l)]
            if not layers and site in required:
                a.require(site, 0)
            keys += [(site, l) for l in layers]
        return keys

    # -- runs --------------------------------------------------------------------------------------------------------

    def record(self, ids: Sequence[Int[Tensor, " length"]], keep: Collection[str] = ("z",)) -> Runs:
        """Unedited runs of some prompts: the residual stream at every layer, and the sites named; see `Runs.record`."""
        if self.walked is not None:
            try:
                runs = WalkRuns.of(self.walked, ids, keep)
                self.note("walk")
                return runs
            except UnsupportedModel as reason:
                self.refuse(reason)
        return ForwardRuns.of(self, ids, keep)

    def record_pair(
        self, ids: Sequence[Tensor], others: Sequence[Tensor], keep: Collection[str] = ("z",)
    ) -> tuple[Runs, Runs]:
        """The runs of ``ids`` and of ``others``, aligned prompt by prompt; see `Runs.record_pair`."""
        if self.walked is not None:
            try:
                pair = WalkRuns.pair(self.walked, ids, others, keep)
                self.note("walk")
                return pair
            except UnsupportedModel as reason:
                self.refuse(reason)
        base = ForwardRuns.of(self, ids, keep)
        return base, base.fork(others)

    def refuse(self, reason: UnsupportedModel) -> None:
        """Leaves the written-out blocks, on which a text gave other logits than the model's own.

        A text that is merely too long for them is no reason.
        """
        if self.walked is None:
            raise reason
        if not isinstance(reason, TooLong):
            self._without_walk(str(reason))

    def run(
        self,
        base: Runs,
        rows: Sequence[tuple[int, Sequence[Edit]]],
        reads: Sequence[Sequence[int]],
        *,
        freeze: Sequence[str] = (),
        record: Sequence[tuple[str, int]] = (),
        chunk_bytes: int = 96 << 20,
        stop: Callable[[], bool] | None = None,
    ) -> Walked:
        """Edited runs, each a fork of one of the base runs: what it ends in where it is read; see `walk`.

        Raises:
            SiteError, EditError: an edit that the model or the prompt has no place for. Stopped: ``stop`` said so.
        """
        if isinstance(base, ForwardRuns):
            return run_rows(base, rows, reads, freeze=freeze, record=record, stop=stop)
        own: Any = base  # runs of a walk
        return walk(own, rows, reads, freeze=freeze, record=record, chunk_bytes=chunk_bytes, stop=stop)

    # -- parts -------------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the token embedding lies."""
        device: torch.device = self.embedding.weight.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """Of the token embedding, and so of the residual stream."""
        dtype: torch.dtype = self.embedding.weight.dtype
        return dtype

    @property
    def embedding(self) -> Any:
        """The token embedding."""
        return self.walked.embedding if self.walked is not None else self.anatomy.embedding

    @property
    def norm(self) -> Any:
        """The final norm; ``module`` None where there is none.

        Raises: SiteError: none was found.
        """
        if self.walked is not None:
            return self.walked.norm
        if self.own.tail.why is not None:
            raise SiteError(self.own.tail.why)
        return self.own.tail.norm

    @property
    def causal(self) -> bool:
        """Whether no token reads a later one, and nothing but the model acts on its tokens."""
        return self.walked is not None or (self.anatomy.causal and not self.state.foreign)

    @property
    def reads_ahead(self) -> bool:
        """Whether tokens read later ones."""
        return self.walked is None and not self.anatomy.causal

    def parallel(self, layer: int) -> bool:
        """Whether a layer's MLP reads the stream before its attention has added to it."""
        parallel: bool = self.blocks[layer].parallel
        return parallel

    #: see `registry.register`
    register = staticmethod(register)

    def sites(self) -> pd.DataFrame:
        """Which sites the model has, in which layers, and which path serves edits there.

        Returns: indexed by site: ``layers`` (all of them, as ranges), ``path``, ``why`` not a faster one.
        """
        rows = {}
        for site in SITES:
            layers = [0] if site == "embed" else [l for l in range(self.n_layers) if self.has(site, l)]
            if not layers:
                continue
            path, why = "walk", self.why if self.walked is None else ""
            if self.walked is None:
                try:
                    self._layers(9).serves(site, None if site == "embed" else layers)
                    path = "layers"
                except UnsupportedModel as error:
                    path, why = "hooks", " ".join(dict.fromkeys((self.why or "", str(error))))
            rows[site] = {"layers": "" if site == "embed" else ranges(layers), "path": path, "why": why}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("site")

    def heads(self, site: str) -> int:
        """Heads at a site: query heads, or key/value heads for ``k`` and ``v``."""
        return self.n_heads if HEADED[site] == "query" else self.n_kv_heads

    def experts(self, site: str, layers: Sequence[int]) -> int:
        """Experts at a site (``router``, ``expert``) of some layers.

        Raises:
            SiteError: a layer without experts, or layers with more and fewer of them.
        """
        for layer in layers:
            self.require(site, layer)
        counts = {self._experts(layer) for layer in layers}
        if len(counts) > 1:
            raise SiteError(f"layers={list(layers)!r} have {min(counts)} to {max(counts)} experts; take like ones.")
        return counts.pop()

    def _experts(self, layer: int) -> int:
        if self.walked is not None:
            mixture = self.walked.blocks[layer].experts
            return 0 if mixture is None else mixture.n_experts
        found = self.anatomy.mixtures.get(layer)
        return 0 if found is None else found.n_experts

    @property
    def n_experts(self) -> int:
        """Routed experts of the layer that has most; 0 where none has any."""
        return max(map(self._experts, range(self.n_layers)))

    def require(self, site: str, layer: int) -> None:
        """Nothing, where a layer has a site.

        Raises:
            SiteError: it has not; the message says which layers have.
        """
        try:
            self._required(site, layer)
        except SiteError as error:
            having = [l for l in range(self.n_layers) if self._has(site, l)]
            advice = f" Layers that have it: layers={having}." if having and layer not in having else ""
            raise SiteError(f"{error}{advice}") from None

    def _required(self, site: str, layer: int) -> None:
        if self.walked is not None:
            self.walked.require(site, layer)
        else:
            self.anatomy.require(*self.anatomy.layer_of(site, layer))

    def _has(self, site: str, layer: int) -> bool:
        try:
            self._required(site, layer)
        except SiteError:
            return False
        return True

    def has(self, site: str, layer: int = 0) -> bool:
        """Whether a layer has a site."""
        return self._has(site, layer)

    def embed(self, ids: Int[Tensor, " n"]) -> Float[Tensor, "n d_model"]:
        """Token embeddings, without learned positions."""
        embedded: Tensor = self.embedding(ids)
        return embedded

    def embeddings(self) -> Float[Tensor, "tokens d_model"]:
        """The rows of the token embedding as they are looked up now."""
        return table(self.embedding)

    def unembed(self, resid: Float[Tensor, "... d_model"], columns: Tensor | None = None) -> Tensor:
        """Logits of a final residual stream (as runs end in), of the whole vocabulary or of the ``columns`` named."""
        return (self.walked or self.ending).unembed(resid, columns)

    def unembedding(self) -> Float[Tensor, "d_vocab d_model"]:
        """The rows of the unembedding as they are applied now, the model's own factor in them, before a soft cap.

        Raises: LayerError: under an adapter that applies no fixed weight. SiteError: no head was found.
        """
        return self.walked.unembedding() if self.walked is not None else self.own.tail.weight()

    @property
    def cap(self) -> float | None:
        """The soft cap on the logits, ``cap * tanh(logits / cap)``, or None."""
        return self.walked.cap if self.walked is not None else self.own.tail.cap

    def capped(self, logits: Tensor) -> Tensor:
        """Logits under the model's soft cap, where it has one."""
        return (self.walked or self.own.tail).capped(logits)

    def linear_head(self) -> tuple[Any, nn.Module] | None:
        """The final norm and a plain linear layer that together give the logits, up to `capped`, for readers of whole
        distributions; None where more acts on them (an adapter, a factor) or the blocks are not written out.
        """
        return None if self.walked is None else self.walked.linear_head()

    def unembedding_bias(self) -> Float[Tensor, " d_vocab"] | None:
        """The bias of the unembedding in float32, or None."""
        return (self.walked or self.own.tail).bias()

    @property
    def attention_layers(self) -> list[int]:
        """The layers with attention heads; in a hybrid some have linear attention or a state space in their place."""
        return [l for l in range(self.n_layers) if self._has("z", l)]

    def attention_parts(self) -> list[FoundBlock]:
        """The blocks, layer by layer; of one without attention heads every question raises SiteError.

        Raises: SiteError: a model without attention heads.
        """
        if not self.n_heads:
            raise SiteError(f"model type {self.model_type!r} has no attention heads whose outputs could be told apart.")
        return self.blocks

    def headless(self, layer: int) -> str | None:
        """The site of what a layer adds before its MLP by anything but attention heads (``attn_out``, where it has
        none; ``mixer`` beside them), or None.
        """
        if self.walked is not None:
            return None
        return "mixer" if self.anatomy.has("mixer", layer) else None if self._has("z", layer) else "attn_out"

    def require_sum(self) -> None:
        """Nothing, where the stream that enters the final norm is the sum of the embedding and of what layers add.

        Raises: SiteError: something else acts on the stream on its way, or what a layer adds was not found.
        """
        if self.walked is not None:
            return
        a, kind = self.anatomy, f"model type {self.model_type!r}"
        for layer in range(self.n_layers):
            a.require("mlp_out", layer)
            if not a.ends[layer].sums:
                raise SiteError(
                    f"{kind}: in layer {layer} a norm lies on the residual stream itself, so that what attention heads"
                    " and MLPs add is not what reaches the logits of it; patch or ablate instead."
                )
        if len(a.handed_on) < self.n_layers - 1 or self.ending.before != 1.0:
            raise SiteError(
                f"{kind} changes its residual stream between layers, so that what attention heads and MLPs add is not"
                " what reaches the logits of it; patch or ablate instead."
            )


def ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers in words, runs of them as ranges.

    >>> ranges([0, 1, 2, 5])
    '0-2, 5'
    """
    parts: list[list[int]] = []
    for n in numbers:
        if parts and n == parts[-1][1] + 1:
            parts[-1][1] = n
        else:
            parts.append([n, n])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


@door(SiteError)
def sites(model: HFModel) -> pd.DataFrame:
    """Which sites a model has, in which layers, and which path serves edits there: see ``Model.sites``.

    Raises:
        UnsupportedModel: no decoder blocks could be found.

    >>> lens.sites(model)                                     # doctest: +SKIP
    """
    return Model.of(model).sites()


def _require_token_logits(anatomy: Anatomy) -> None:
    """Refuses a model that predicts no token at each position: a base model, a classifier."""
    ids = anatomy.probe_ids()
    with torch.no_grad():
        logits = anatomy.forward(ids)
    if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
        seen = (
            f"its logits have the shape {tuple(logits.shape)}"
            if isinstance(logits, Tensor)
            else "its output holds no logits"
        )
        raise UnsupportedModel(
            f"model={type(anatomy.hf).__name__} predicts no token at each position ({seen} for a text of {ids.shape[1]}"
            " tokens), so that no metric can be read; give the causal language model of the same weights."
        )


opened[:] = [Model.of]
