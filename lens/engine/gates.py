"""Gates: conditions, looked at token by token, under which an edit acts."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from torch import Tensor

from ..arguments import FilePath, HFModel, Name, Numbers, Real, Token, Whole, door, unfit
from ..errors import Error
from . import gate_files
from .sites import ORDER, Site, of_two_axes

Kind = Literal["projection", "cosine", "nearest", "probability", "token", "function"]
Hold = Literal["step", "prompt", "once"]
#: Kinds that compare a number read from an activation with a threshold.
MEASURED = ("projection", "cosine", "nearest")
#: What fits one: one function, put here by `lens.engine.gate_fitting`, which knows models.
fitting: list[Callable[..., Gate]] = []
_Id = Annotated[int, Whole(0, 2**31)]
_Ids = _Id | Sequence[_Id]


class GateError(Error, ValueError):
    """A gate that cannot be, or one that failed while it was looked at; the message names what it is of."""


@door(GateError)
@dataclass(frozen=True, eq=False)
class Gate:
    """When an edit acts: `Edit(..., when=Gate...)`. Made by `projection`, `cosine`, `nearest`, `probability`, `token`
    or `function`, or of labelled items by `fit`; kept by `save` and `open`.

    A gate says yes or no for each token that its edit would meet; what other rows of a batch hold changes nothing. It
    is read before the edit acts, so its site lies at or below the edit's. In a text that is being written the tokens of
    the prompt have gates too.

    Attributes:
        kind: which of these. site: what is read. direction: of unit length, ``[width]``.
        threshold: what must be exceeded; minus infinity is always open, whatever the kind reads, and infinity never.
        tokens: ids, of "token" and "probability" what they are of; of the others those at which alone it can be open,
            none for all. test: a person's own function. centroids: ``[class, width]``; target: which of them it is for.
        about: of a fitted gate, on what and how well.
        hold: for how long it holds. "step": it is looked at anew for every token. "prompt": what it says at the
            prompt's last token holds for the whole text, the prompt's earlier tokens and all new ones, whether the edit
            meets that token or not. "once": opened at a token that the edit meets, it stays open for all later ones.

    Raises: GateError: what its kind needs is not there.

    >>> Gate.token(5)
    Gate.token((5,))
    """

    kind: Kind
    site: Site | None = None
    direction: Annotated[Any, Numbers(1)] | None = None
    threshold: Real = 0.0
    tokens: Sequence[_Id] = ()
    test: Callable[[Tensor], Any] | None = None
    centroids: Annotated[Any, Numbers(2)] | None = None
    target: Annotated[int, Whole(0)] = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    hold: Hold = "step"

    def __post_init__(self) -> None:
        object.__setattr__(self, "tokens", _several(self.tokens))
        if self.kind == "probability" and self.hold == "prompt":
            raise GateError(
                "hold='prompt': a gate of kind 'probability' is shut while the prompt is read, before which there is no"
                " step; take 'step' or 'once', or a gate of activations."
            )
        if self.kind in (*MEASURED, "function"):
            if self.site is None:
                raise GateError(f"site=None: a gate of kind {self.kind!r} reads an activation; name its lens.Site.")
            _require_plain(self.site)
        elif not self.tokens:
            raise GateError(f"tokens={self.tokens} holds none; give one id or several, as lens.prompts.token_id gives.")
        if self.kind == "function" and self.test is None:
            raise GateError("test=None: a gate of kind 'function' needs a function of activations [n, width].")
        if self.kind in ("projection", "cosine"):
            object.__setattr__(self, "direction", _unit(self.direction))
        if self.kind == "cosine" and math.isfinite(self.threshold) and not -1 <= self.threshold <= 1:
            raise GateError(f"threshold={self.threshold:g}: a cosine lies between -1 and 1; give one there, or inf.")
        if self.kind == "nearest":
            object.__setattr__(self, "centroids", _classes(self.centroids, self.target))

    @classmethod
    @door(GateError)
    def projection(
        cls,
        site: Site,
        direction: Annotated[Any, Numbers(1)],
        threshold: Real,
        *,
        hold: Hold = "step",
        tokens: _Ids = (),
    ) -> Gate:
        """Open where the activation at `site` has a projection on `direction` above `threshold`.

        Args:
            site: without positions; of sites with heads one head. It holds what edits before it have made of it, and
                of edits at that very site nothing yet.
            direction: ``[width]`` of the site; its length does not matter.
            threshold: in units of the activation. Minus infinity: always open, the edit is the plain one to the bit;
                infinity: never.
            hold: for how long: "step", "prompt" or "once", see `Gate`. tokens: ids at which alone it can be open; none:
                all.

        Raises: GateError: a direction without length, or not of one axis; a site with positions.

        Cost: one dot product a token.
        """
        return cls("projection", site, direction, float(threshold), _several(tokens), hold=hold)

    @classmethod
    @door(GateError)
    def cosine(
        cls,
        site: Site,
        direction: Annotated[Any, Numbers(1)],
        threshold: Real,
        *,
        hold: Hold = "step",
        tokens: _Ids = (),
    ) -> Gate:
        """Open where the cosine of the activation at `site` and `direction` is above `threshold` (0 of an activation
        that is 0). Otherwise as `projection`.

        Raises: GateError: as `projection`; a threshold that is finite and outside -1 to 1.
        """
        return cls("cosine", site, direction, float(threshold), _several(tokens), hold=hold)

    @classmethod
    @door(GateError)
    def nearest(
        cls,
        site: Site,
        centroids: Annotated[Any, Numbers(2)],
        target: Annotated[int, Whole(0)],
        threshold: Real = 0.0,
        *,
        hold: Hold = "step",
        tokens: _Ids = (),
    ) -> Gate:
        """Open where the activation at `site` is nearer to one centroid than to all others, by more than `threshold`:
        the distance to the nearest other less that to the target's, in units of the activation.

        Args: centroids: ``[class, width]``, at least two. target: the class's number. hold, tokens: as of `projection`.

        Raises: GateError: fewer than two centroids, no such target; a site with positions.

        Source: the task centroids of SafeConstellations (arXiv 2508.11290). Cost: a distance a class and token.
        """
        return cls(
            "nearest", site, None, float(threshold), _several(tokens), centroids=centroids, target=target, hold=hold
        )

    @classmethod
    @door(GateError)
    def probability(cls, tokens: _Ids, threshold: Real, *, hold: Hold = "step") -> Gate:
        """Open where the model gave these next tokens, together, a probability above `threshold` in the step before.

        Of the step that reads the prompt there is none before it: the gate is shut there. The probability is that of
        the softmax of the (edited) logits at temperature 1.

        Args: hold: "step" or "once", see `Gate`.

        Raises: GateError: no tokens; hold="prompt", at whose end it is shut.
        """
        return cls("probability", threshold=float(threshold), tokens=_several(tokens), hold=hold)

    @classmethod
    @door(GateError)
    def token(cls, tokens: _Ids, *, hold: Hold = "step") -> Gate:
        """Open at the tokens with these ids, those of the prompt too; `hold` as of `projection`. Raises: GateError: no
        tokens.
        """
        return cls("token", tokens=_several(tokens), hold=hold)

    @classmethod
    @door(GateError)
    def function(cls, site: Site, test: Callable[[Tensor], Any], *, hold: Hold = "step", tokens: _Ids = ()) -> Gate:
        """Open where `test` says so of the activations at `site`: ``[n, width] -> [n]`` of truth values, called for one
        row's tokens at a time. What it raises ends the computation with a `GateError` that names the gate.

        Args: hold, tokens: as of `projection`.

        Raises: GateError: a site with positions.
        """
        return cls("function", site, test=test, tokens=_several(tokens), hold=hold)

    @classmethod
    @door(GateError)
    def fit(
        cls,
        model: HFModel,
        train: Any,
        tune: Any,
        sites: Site | Sequence[Site],
        target: Name,
        *,
        kind: Literal["nearest", "cosine", "projection"] = "nearest",
        hold: Hold = "step",
        start: Token | None = "auto",
    ) -> Gate:
        """A gate that opens at the last token of prompts of one label: centroids of `train`, threshold and site chosen
        on `tune`.

        Args:
            train, tune: items with a "text" (or a chat's messages) and a "label": a list of dicts, a pandas frame, a
                dataset, or a CSV, JSONL, JSON or Parquet file. No text may be in both.
            sites: what is read; of several the one that tells `target` best on `tune` (the first of equals).
            target: the label for which the gate opens.
            kind: "nearest" of the labels' centroids; "cosine" or "projection": on the direction from the mean of the
                other labels' centroids to the target's.
            hold: for how long it holds, see `Gate`; "prompt" looks where it was fitted, at a prompt's last token.
            start: the start token of text, see `lens.prompts.start_token`.

        The threshold is the one with the largest share of target items above it less that of others (Youden 1950), in
        the widest gap between items where several are. How often the gate opens on texts that had no part in this is
        for `lens.vectors.fire_rates` to say; `about` holds labels, counts, the choice and hashes of the texts.

        Raises: GateError: items that are none; a label with fewer than five of them; no such label; texts in both.

        Source: task centroids and a threshold: SafeConstellations (arXiv 2508.11290).

        Cost: a run of every item.
        """
        if not fitting:
            raise GateError("fit: lens.engine.gate_fitting is not loaded; use lens.Gate.")
        return fitting[0](model, train, tune, sites, target, kind, hold, start)

    @door(GateError)
    def save(self, path: FilePath) -> Path:
        """Writes it to a ``.safetensors`` file, with what it was fitted on; `open` reads it.

        Raises: GateError: another suffix; a gate of a function, which is code. FileError: it cannot be written.
        """
        if self.kind == "function":
            raise GateError(f"{self} is a function, and code is not kept in files; take a gate of numbers.")
        tensors = {name: value for name in ("direction", "centroids") if (value := getattr(self, name)) is not None}
        about: dict[str, Any] = {
            "kind": self.kind,
            "site": gate_files.of_site(self.site),
            "threshold": str(self.threshold),
        }
        about |= {"target": self.target, "tokens": list(self.tokens), "about": dict(self.about), "hold": self.hold}
        # a file of tensors holds at least one
        return gate_files.write(path, tensors or {"none": torch.zeros(1)}, about, GateError)

    @classmethod
    @door(GateError)
    def open(cls, path: FilePath) -> Gate:
        """A gate from a file that `save` wrote. Raises: GateError: no such file, or what is no gate."""
        tensors, about = gate_files.read(path, GateError)
        site = about.get("site")
        try:
            return cls(
                about["kind"],
                None if site is None else Site(**site),
                tensors.get("direction"),
                float(about.get("threshold", 0.0)),
                tuple(about.get("tokens", ())),
                None,
                tensors.get("centroids"),
                about.get("target", 0),
                about.get("about", {}),
                about.get("hold", "step"),
            )
        except (TypeError, ValueError) as error:
            raise GateError(f"path={str(path)!r} holds no gate: {error}") from None

    def __repr__(self) -> str:
        more = "" if self.hold == "step" else f", hold={self.hold!r}"
        if self.kind in ("token", "probability"):
            return f"Gate.{self.kind}({self.tokens}{'' if self.kind == 'token' else f', {self.threshold:g}'}{more})"
        more += f", tokens={self.tokens}" if self.tokens else ""
        return f"Gate.{self.kind}({self.site}{'' if self.kind == 'function' else f', ..., {self.threshold:g}'}{more})"

    @property
    def always(self) -> bool:
        """Whether it is open whatever it reads, at every token."""
        return self.threshold == -math.inf and (
            self.kind == "probability" or (self.kind in MEASURED and not self.tokens)
        )


def _unit(direction: Any) -> Tensor:
    try:
        vector: Tensor = torch.as_tensor(direction).detach().float()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        vector = torch.zeros(0)
    length = vector.norm()
    if vector.ndim != 1 or not torch.isfinite(length) or not length > 0:
        raise GateError(unfit("direction", direction, "a vector of numbers, finite and not all 0, of the site's width"))
    # one of unit length stays what it is, to the bit
    unit: Tensor = vector if abs(float(length) - 1) <= 1e-6 else vector / length
    return unit


def _classes(centroids: Any, target: int) -> Tensor:
    try:
        rows: Tensor = torch.as_tensor(centroids).detach().float()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        rows = torch.zeros(0)
    if rows.ndim != 2 or len(rows) < 2 or not rows.shape[-1] or not torch.isfinite(rows).all():
        raise GateError(unfit("centroids", centroids, "finite numbers [class, width] of at least two classes"))
    if target >= len(rows):
        raise GateError(f"target={target}: the centroids are of the classes 0 to {len(rows) - 1}; name one of them.")
    return rows


def _require_plain(site: Site) -> None:
    if site.position is not None:
        raise GateError(f"site={site}: a gate is read at each token that its edit meets; leave position out.")
    if site.name == "pattern" or (of_two_axes(site.name) and not isinstance(site.head, int) and site.expert is None):
        raise GateError(f"site={site}: a gate reads one vector a token; name one head, or a site of the stream.")


def _several(tokens: Any) -> tuple[int, ...]:
    """Ids in the order given, each once."""
    return (tokens,) if isinstance(tokens, int) else tuple(dict.fromkeys(tokens))


Place = tuple[int, float]


def require_below(edits: Sequence[Any], places: Sequence[tuple[Place, Place | None]], error: type[Exception]) -> None:
    """Refuses gates that are read after their edit has acted: the forward would have to know itself.

    Args: places: of each edit where it acts, and where its gate reads (None where it reads no activation), as layer and
        order in the layer.

    Raises: `error`, which names the two edits where their gates would switch each other.
    """
    for i, (edit, (acts, reads)) in enumerate(zip(edits, places)):
        if reads is None or reads <= acts:
            continue
        for k, (other, read) in enumerate(places):
            # the other acts where this gate sees it, and its gate sees what this one has let through
            if k != i and read is not None and acts <= read and other <= reads:
                raise error(
                    f"edits[{i}] and edits[{k}] switch each other: {edit.when} reads what edits[{k}] at"
                    f" {edits[k].site} has made, and {edits[k].when} what edits[{i}] at {edit.site} has. Read one of"
                    " them below the edits."
                )
        raise error(
            f"edits[{i}]: its gate {edit.when} reads above the edit at {edit.site}, when that has acted already;"
            " read it at the same site, at an earlier one of that layer, or in a lower layer."
        )


def place_of(name: str, layer: int) -> Place:
    """Where a site comes in a forward."""
    return layer, ORDER[name]
