"""What a method may ask of any decoder, and which path answers.

Three paths stand behind one class, the first that passes its probe: the *walk* writes the blocks out, so that each
edited row computes its own suffix alone; *layers* drives the model's own layers with a prefix cache; *hooks* runs full
forwards. All are exact: a path whose probe differs from the model's own forward is not used. A method never names a
path: it asks, and gets an answer or a `lens.Error` that says what this model cannot do.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import pandas as pd
from jaxtyping import Int
from torch import Tensor

from ..arguments import HFModel, door
from ..models.state import State
from ..notices import warn
from .anatomy import module_of
from .change_registry import Changes
from .changes import PATHS, edits_in_force
from .decoder_view import DecoderView
from .edits import Edit
from .errors import RunError, TooLong, UnsupportedModel
from .feature_rows import without_features
from .forwards import ForwardRuns, run_rows
from .gated_rows import without_gates
from .hooks import Hooks, PromptRun
from .layers import Layers
from .registry import register
from .runs import Runs, opened
from .sessions import hash_of
from .sites import SITES, SiteError
from .walk.decoder import Decoder
from .walk.rows import EditedRuns, walk
from .walk.runs import WalkRuns

_REMEMBERED = "_mnemoscope_model"


class Model(DecoderView):
    """The engine's view of any decoder, and its runs. Use ``Model.of(model)``, which probes once and remembers.

    Attributes: those of `DecoderView`.
    """

    def __init__(self, model: Any, state: State):
        self._warned = "walk"
        self._layered: Layers | UnsupportedModel | None = None
        super().__init__(model, state)

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
        state, known = State.of(model), key.__dict__.get(_REMEMBERED)
        if known is None or known.state is not state:
            known = cls(model, state)
            if key.training:
                raise RunError(
                    "model: it is in training mode, where dropout changes every run; call model.eval() first."
                )
            key.__dict__[_REMEMBERED] = known
        return known

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
        if self._layered is None:
            try:
                self._layered = Layers(self.anatomy, self.ending)
            except UnsupportedModel as error:
                self._layered = error
        if isinstance(self._layered, UnsupportedModel):
            raise self._layered
        try:
            self._layered.check(length)
        except UnsupportedModel as error:
            if length <= 9:
                self._layered = error
            raise
        return self._layered

    @functools.cached_property
    def whole(self) -> Hooks:
        """Full forwards with hooks."""
        return Hooks(self.anatomy, self.ending)

    def run_of(self, base: ForwardRuns, prompt: int, path: Layers | Hooks) -> PromptRun:
        """A prompt's unedited run with what a path needs of it, made once."""
        run = base.own[prompt]
        if isinstance(path, Layers):
            if run.calls is None:
                run = path.record(run.ids, list(run.activations), None if base.of_ids else run.embedded)
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
        chunk_bytes: int | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> EditedRuns:
        """Edited runs, each a fork of one of the base runs: what it ends in where it is read; see `walk`.

        Raises:
            SiteError, EditError: an edit that the model or the prompt has no place for. Stopped: ``stop`` said so.
        """
        rows = without_features(self, base, without_gates(self, base, rows, freeze=freeze, stop=stop))
        if isinstance(base, ForwardRuns):
            return run_rows(base, rows, reads, freeze=freeze, record=record, stop=stop)
        own: Any = base  # runs of a walk
        return walk(own, rows, reads, freeze=freeze, record=record, chunk_bytes=chunk_bytes, stop=stop)

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


opened[:] = [Model.of]
