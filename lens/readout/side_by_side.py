"""Several models on the same prompts: what has to be alike for their states to be set side by side, and those
states.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..engine.memory import logit_bytes
from ..engine.model import Model
from ..engine.pieces import run_bytes
from ..engine.runs import Runs
from ..engine.sites import RESIDUAL, SITES, SiteError
from ..models import name_of
from ..models.state import identity
from ..stats.similarity import LEAST, MEASURES
from .places import Places, places
from .reading import Reading, ReadoutError, layers_with, read_prompts
from .states import States

#: Sites that a run keeps anyway.
_KEPT = ("resid_pre", "resid_mid", "resid_post", "attn_out", "v")
#: Sites without one state a token and layer.
_NO_STATE = ("embed", "pattern", "expert")


def require_state(site: str) -> None:
    """Raises SiteError where a site has no state of each token and layer."""
    if site not in SITES or site in _NO_STATE:
        known = ", ".join(s for s in SITES if s not in _NO_STATE)
        raise SiteError(f"site={site!r} has no state of each token and layer; expected one of {known}.")


def kept(site: str) -> tuple[str, ...]:
    """What a run has to keep for a site beside what it keeps anyway."""
    return () if site in _KEPT else (site,)


@dataclass
class Sides:
    """The models of a comparison and what is read of them.

    Attributes:
        models: a, b and, where there is one, the floor. views: the engine's. readings: the prompts, alike in all.
        where: the tokens that are read. layers: of each model, those that lie side by side. widths: of the states
        there.
    """

    models: list[Any]
    views: list[Model]
    readings: list[Reading]
    where: Places
    site: str
    layers: list[list[int]]
    widths: list[list[int]]
    #: of each model and layer, what is taken off its states
    centres: list[list[np.ndarray]] | None = None

    @classmethod
    def of(cls, a: Any, b: Any, floor: Any, prompts: Any, which: str, site: str, layers: Any, positions: Any) -> Sides:
        """Checked.

        Raises: as `lens.compare`.
        """
        require_state(site)
        models = [a, b] if floor is None else [a, b, floor]
        views = [Model.of(m) for m in models]
        if views[0].hf is views[1].hf:
            raise ReadoutError(
                "b: it is the very model `a`, which is like itself; load the other checkpoint beside it (of an adapter"
                " on and off: lens.load twice, with adapter= and without)."
            )
        if floor is not None:
            _require_run(views)
        single, readings = read_prompts(a, prompts, which)
        for name, other in zip(("b", "floor"), models[1:]):
            _require_same_tokens(readings, read_prompts(other, prompts, which)[1], name)
        where = places(readings, "last" if positions is None and not single else positions)
        chosen = layers_with(views[0], layers, site)
        beside = [_layers_of(view, chosen, views[0], site) for view in views]
        widths = []
        for view, of_model in zip(views, beside):
            runs = Runs.record(view, [readings[0].ids[:1]], kept(site))
            widths.append([runs.get(site, l).flatten(1).shape[1] for l in of_model])
        return cls(models, views, readings, where, site, beside, widths)

    def centre(self, prompts: Any) -> dict[str, Any]:
        """Takes off every model's states their mean at some prompts' tokens, the first of each left out; what a record
        says of it.

        Raises: ReadoutError: fewer than `LEAST` tokens, or another tokenizer.
        """
        readings = read_prompts(self.models[0], prompts, "clean")[1] if prompts else []
        for name, other in zip(("b", "floor"), self.models[1:] if prompts else ()):
            _require_same_tokens(readings, read_prompts(other, prompts, "clean")[1], name)
        tokens = sum(len(r) - 1 for r in readings)
        if tokens < LEAST:
            raise ReadoutError(
                f"centre: holds {tokens} tokens behind the first of each prompt; a mean needs at least {LEAST}. Give"
                " more prompts."
            )
        self.centres = []
        for view, layers, widths in zip(self.views, self.layers, self.widths):
            sums = [np.zeros(width) for width in widths]
            for reading in readings:
                runs = Runs.record(view, [reading.ids], kept(self.site))
                for total, layer in zip(sums, layers):
                    total += runs.get(self.site, layer)[1:].flatten(1).double().sum(0).cpu().numpy()
            self.centres.append([total / tokens for total in sums])
        return {"prompts": len(readings), "tokens": tokens, "sha256": _digest(readings)}

    def sizes(self) -> list[int]:
        """Memory of each prompt's run in the largest of the models."""
        return [max(run_bytes(v, len(r), kept(self.site)) for v in self.views) for r in self.readings]

    def metrics(self, asked: Sequence[str] | None, known: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """The measures that are told, and of the others why not.

        Raises: ReadoutError: one that is asked for and cannot be told; none, one twice.
        """
        if asked is not None and (not len(asked) or len(set(asked)) < len(asked)):
            raise ReadoutError(f"metrics={list(asked)!r}; expected some of {', '.join(known)}, each once.")
        why = {name: said for name in known if (said := self._refusal(name))}
        for name in asked or ():
            if name in why:
                raise ReadoutError(f"metrics: {name!r} cannot be told here: {why[name]}.")
        if asked is None:
            why.setdefault("lens_kl", "it is told where it is asked for")
            asked = [name for name in known if name not in why]
            if not asked:
                raise ReadoutError(f"metrics: none can be told here: {'; '.join(dict.fromkeys(why.values()))}.")
        return list(asked), {name: said for name, said in why.items() if name not in asked}

    def _refusal(self, name: str) -> str:
        """Why a measure cannot be told, or nothing."""
        if name in MEASURES:
            about, n = MEASURES[name], len(self.readings)
            if about.equal_width and self.widths[0] != self.widths[1]:
                return f"the states are {self.widths[0][0]} and {self.widths[1][0]} wide, and it asks for equal widths"
            if n < about.least:
                return f"it needs at least {LEAST} prompts, and there are {n}"
            return ""
        first, second = (v.d_vocab for v in self.views[:2])
        if first != second:
            return f"the vocabularies have {first} and {second} tokens"
        if name == "kl" and self.layers[0][-1] != self.views[0].n_layers - 1:
            return f"it stands at the last layer, {self.views[0].n_layers - 1}, which layers= leaves out"
        if name == "lens_kl" and (self.site not in RESIDUAL or any(v.ending.kind == "logits" for v in self.views)):
            return f"site {self.site!r} of these models is no stream that could be unembedded"
        return ""

    def call(self) -> dict[str, Any]:
        """What a record says of the models beside the first."""
        said: dict[str, Any] = {}
        for name, model, view in zip(("b", "floor"), self.models[1:], self.views[1:]):
            said[name] = {
                "name": name_of(model),
                "hash": view.weights(),
                **identity(model).record(),
                "dtype": str(view.dtype).removeprefix("torch."),
            }
        return said

    def distinct(self) -> Bool[np.ndarray, "prompt position"]:
        """Whether a prompt has a position and no earlier prompt reads the same up to there."""
        causal = all(v.causal for v in self.views)
        out = np.zeros((len(self.readings), self.where.width), bool)
        for s in range(self.where.width):
            seen: set[bytes] = set()
            for i, (r, at) in enumerate(zip(self.readings, self.where.at)):
                if s < len(at):
                    # a position's number counts too, where the tokens behind it may matter
                    text = r.ids[: at[s] + 1] if causal else torch.cat([r.ids, torch.tensor(at[s : s + 1])])
                    key = text.numpy().tobytes()
                    out[i, s] = key not in seen
                    seen.add(key)
        return out

    def open(self, metrics: Sequence[str], seed: int) -> Collected:
        """What takes up the states."""
        return Collected(self, list(metrics))


@dataclass
class Collected:
    """States of the prompts read so far, and the divergences of predictions. To be closed, as a with block does.

    Attributes:
        n: prompts so far. kl: of the pairs (a, b) and (a, floor) at each prompt and position; lens_kl: at each layer
        too.
    """

    sides: Sides
    metrics: list[str]
    n: int = 0
    states: list[States] = field(default_factory=list)

    def __enter__(self) -> Collected:
        s = self.sides
        n, slots, layers = len(s.readings), s.where.width, len(s.layers[0])
        wide = any(v.dtype == torch.float64 for v in s.views)
        for widths in s.widths if set(self.metrics) & set(MEASURES) else ():
            each = [w for w in widths for _ in range(slots)]
            self.states.append(States(n, each, np.float64 if wide else np.float32))
        pairs = len(s.views) - 1
        self.kl = np.full((pairs, n, slots), np.nan)
        self.lens_kl = np.full((pairs, n, layers, slots), np.nan)
        return self

    def __exit__(self, *_: Any) -> None:
        for states in self.states:
            states.close()

    def add(self, batch: Sequence[int]) -> None:
        """Reads some prompts, which follow those before, in every model."""
        s = self.sides
        cells = [(k, slot, p) for k, i in enumerate(batch) for slot, p in enumerate(s.where.at[i])]
        row, slot = (np.array([c[j] for c in cells]) for j in (0, 1))
        finals: list[Tensor] = []
        streams: list[list[Tensor]] = []
        for m, view in enumerate(s.views):
            runs = Runs.record(view, [s.readings[i].ids for i in batch], kept(s.site))
            token = torch.tensor([runs.starts[k] + p for k, _, p in cells], device=view.device)
            finals.append(runs.final[token])
            of_model = [runs.get(s.site, layer)[token].flatten(1) for layer in s.layers[m]]
            self._finite(of_model, row, batch, m)
            if self.states:
                # all layers in one transfer
                joined = torch.cat(of_model, 1)
                values = (joined.double() if joined.dtype == torch.float64 else joined.float()).cpu().numpy()
                ends = np.cumsum([0, *(x.shape[1] for x in of_model)])
                for number, (a, b) in enumerate(itertools.pairwise(ends.tolist())):
                    self._store(m, number, batch, row, slot, values[:, a:b])
            streams.append(of_model if "lens_kl" in self.metrics else [])
        for pair in range(len(s.views) - 1):
            at = np.array(batch)[row], slot
            if "kl" in self.metrics:
                self.kl[pair][at] = self._divergence(pair, finals[0], finals[pair + 1]).cpu().double().numpy()
            if "lens_kl" in self.metrics:
                each = torch.stack([self._divergence(pair, x, y) for x, y in zip(streams[0], streams[pair + 1])])
                for number, values in enumerate(each.cpu().double().numpy()):
                    self.lens_kl[pair][at[0], number, at[1]] = values
        self.n = batch[-1] + 1

    def _store(
        self, m: int, number: int, batch: Sequence[int], row: np.ndarray, slot: np.ndarray, values: np.ndarray
    ) -> None:
        slots = self.sides.where.width
        if self.sides.centres is not None:
            values = (values - self.sides.centres[m][number]).astype(values.dtype)
        for s in range(slots):
            mine = slot == s
            if mine.all():
                block = values
            else:
                block = np.zeros((len(batch), values.shape[1]), values.dtype)
                block[row[mine]] = values[mine]
            self.states[m].write(number * slots + s, batch[0], block)

    def _finite(self, of_model: Sequence[Tensor], row: np.ndarray, batch: Sequence[int], m: int) -> None:
        """Raises ReadoutError where a state of some layer is no number; the device is asked once."""
        whole = torch.stack([torch.isfinite(x).all(1) for x in of_model]).cpu()
        if not whole.all():
            number, cell = (~whole).nonzero()[0].tolist()
            prompt, layer = batch[int(row[cell])], self.sides.layers[m][number]
            raise ReadoutError(
                f"{('a', 'b', 'floor')[m]}: its states of prompts[{prompt}] at {self.sides.site!r} of layer {layer}"
                " hold NaN or infinity; load it in a wider dtype, or leave the prompt out."
            )

    def _divergence(self, pair: int, x: Tensor, y: Tensor) -> Float[Tensor, " n"]:
        """KL(first || second) of what two models' heads make of their streams, in nats."""
        first, second = self.sides.views[0], self.sides.views[pair + 1]
        size = max(1, logit_bytes(first.device) // (4 * first.d_vocab))
        parts = []
        for i in range(0, len(x), size):
            p = first.unembed(x[i : i + size]).float().log_softmax(-1)
            q = second.unembed(y[i : i + size]).float().log_softmax(-1).to(p.device)
            # a sum of signed terms that is zero in theory may end just below it
            parts.append(torch.linalg.vecdot(p.exp(), p - q).clamp(min=0))
        return torch.cat(parts)


def _digest(readings: Sequence[Reading]) -> str:
    """SHA-256 of what is read."""
    found = hashlib.sha256()
    for r in readings:
        found.update(f"{len(r)} ".encode() + r.ids.numpy().astype("<i8").tobytes())
    return found.hexdigest()


def _layers_of(view: Model, chosen: Sequence[int], first: Model, site: str) -> list[int]:
    """The layers of a model that lie as deep as some of another."""
    n, own = first.n_layers, view.n_layers
    layers = list(chosen) if n == own else [max(0, round((l + 1) / n * own) - 1) for l in chosen]
    for layer in layers:
        view.require(site, layer)
    return layers


def _require_run(views: Sequence[Model]) -> None:
    """Raises ReadoutError where the floor is no other run of the recipe of ``a``: it has the weights of one of the two,
    or another architecture.
    """
    a, b, floor = views
    for name, view in (("a", a), ("b", b)):
        if floor.hf is view.hf or floor.weights() == view.weights():
            raise ReadoutError(
                f"floor: it has the weights of `{name}`; expected another run of the recipe of `a`, trained with"
                " another seed. Leave it out where there is none."
            )
    for what in ("model_type", "n_layers", "d_model", "n_heads", "d_vocab"):
        ours, theirs = getattr(a, what), getattr(floor, what)
        if ours != theirs:
            raise ReadoutError(
                f"floor: its {what} is {theirs}, that of `a` {ours}; expected another run of the same recipe. Leave it"
                " out where there is none."
            )


def _require_same_tokens(readings: Sequence[Reading], others: Sequence[Reading], name: str) -> None:
    """Raises ReadoutError where another model's tokenizer reads a prompt in other tokens; the message shows the
    first.
    """
    for i, (ours, theirs) in enumerate(zip(readings, others)):
        a, b = ours.ids.tolist(), theirs.ids.tolist()
        if a != b:
            first = next((p for p, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
            shown = [
                f"{r.tokens[first]!r} (id {int(r.ids[first])})" if first < len(r) else "nothing" for r in (ours, theirs)
            ]
            raise ReadoutError(
                f"{name}: its tokenizer reads prompts[{i}] otherwise than that of `a`: token {first} is {shown[1]}, of"
                f" `a` {shown[0]}. States of unlike tokens cannot be set side by side; give models of one tokenizer."
            )
