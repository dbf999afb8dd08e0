"""What a call of ``patch`` asks to be put in, checked: which run, position, layer, model or mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ..arguments import shown
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sites import EXPERTS, HEADED, of_two_axes
from ..models import name_of
from ..models.state import identity
from ..prompts import Align, EncodedPair, Pair, Side, encode_all
from .copies import aligned, from_positions, of_one_prompt, of_partners, source_layers
from .grid import Grid, PatchError, Places
from .means import Means, Reading
from .sources import Origin, kind_of, partners_of, require_equal_width, require_same_tokens


@dataclass
class Asked:
    """What is put in. Attributes: see ``patch``."""

    align: Align | None = None
    source: Any = "pair"
    source_position: Any = None
    source_layer: Any = None
    source_model: Any = None
    mean_over: str = "tokens"
    seed: int = 0
    given_direction: str | None = None

    def __post_init__(self) -> None:
        self.kind = kind_of(self.source)
        #: the one that holds where none was given
        self.direction: str = self.given_direction or ("denoise" if self.kind == "pair" else "noise")
        #: the prompt whose run is edited
        self.edited: Any = "corrupted" if self.direction == "denoise" else "clean"
        named = {n: getattr(self, n) for n in ("source_position", "source_layer", "source_model")}
        given = [n for n, value in named.items() if value is not None]
        if self.kind != "pair" and given:
            raise PatchError(
                f"{given[0]}={shown(named[given[0]])} says what is copied of a pair's other run, and"
                f" source={shown(self.source)} copies none of it; leave one of them out."
            )
        if self.align is not None and self.kind in ("zero", "mean"):
            raise PatchError(
                f"align={self.align!r}: source={self.kind!r} copies no prompt that could be aligned; leave it out."
            )
        if self.align is not None and self.source_position is not None:
            raise PatchError(
                f"align={self.align!r} and source_position={self.source_position!r} both say which positions are"
                " copied; give one of them."
            )
        if self.mean_over != "tokens" and (self.kind != "mean" or isinstance(self.source, Tensor)):
            raise PatchError(
                f"mean_over={self.mean_over!r} goes with source='mean' or Runs, got source={shown(self.source)}."
            )

    @property
    def plain(self) -> bool:
        """Whether it is the other run of a pair, position by position."""
        others = (self.align, self.source_position, self.source_layer, self.source_model)
        return self.kind == "pair" and all(x is None for x in others)

    def require_one_head(self, metric: str) -> None:
        """Raises PatchError: a metric that compares runs by one model's head, of two models."""
        if self.source_model is not None and metric == "kl":
            raise PatchError(
                "metric='kl' compares with the clean run by one model's head, and with source_model= there are two; use"
                " logit_diff, logprob or prob."
            )

    def only_exact(self, method: str) -> None:
        """Raises PatchError: attribution is asked for something else than the pair's other run."""
        if method == "exact" or self.plain:
            return
        names = ("align", "source_position", "source_layer", "source_model")
        name = next((n for n in names if getattr(self, n) is not None), "source")
        raise PatchError(
            f"{name}={shown(getattr(self, name))} goes with method='exact': attribution goes from a run to the other of"
            " its pair, token by token."
        )

    def encode(self, model: Any, pairs: Sequence[Pair]) -> list[EncodedPair]:
        """The pairs' tokens.

        Raises:
            PromptError: a pair that has to align token by token and does not; one of equal prompts, of which one is
                copied into the other as it is. PatchError: another model's tokenizer reads them otherwise.
        """
        encoded = encode_all(model, pairs, aligned=self.plain)
        if self.source_model is not None:
            others = encode_all(self.source_model, pairs, aligned=False)
            require_same_tokens(encoded, others)
        unlike = [p for p, e in zip(pairs, encoded) if len(e.clean_ids) != len(e.corrupted_ids)]
        same = [p for p, e in zip(pairs, encoded) if e.clean_ids.tolist() == e.corrupted_ids.tolist()]
        copied = self.kind == "pair" and self.align is None and self.source_position is None
        within = self.kind == "pair" and self.source_model is None and self.source_layer is None
        if copied and unlike:
            encode_all(model, unlike)  # says why not
        if within and self.source_position is None and same:
            encode_all(model, same)
        return encoded

    def other(self, decoder: Model, site: str) -> Model | None:
        """The view of the model that is copied from, where it is another.

        Raises:
            PatchError: one of another width.
        """
        if self.source_model is None:
            return None
        other = Model.of(self.source_model)
        require_equal_width(decoder, other, site)
        return other

    def places(self, encoded: Sequence[EncodedPair], positions: Any, partners: Sequence[int] | None) -> Places | None:
        """Which positions are copied to which, where that is not position by position."""
        if self.source_position is not None:
            return from_positions(encoded, self.edited, positions, self.source_position)
        if self.align is not None and partners is not None:
            return of_partners(encoded, self.edited, partners, self.align, positions)
        if self.align is not None:
            return aligned(encoded, self.edited, self.align, positions)
        return of_one_prompt(encoded, self.edited, positions) if self.kind != "pair" else None

    def partners(self, encoded: Sequence[EncodedPair], positions: Any) -> list[int] | None:
        """Of resampling, the other pair of each one.

        Raises:
            PatchError: a pair that no other fits.
        """
        if self.kind != "resample":
            return None
        sides = [Side.of(e, self.edited) for e in encoded]
        lengths = [len(s) for s in sides]
        if self.align is None:
            why = "that has as many; give pairs of one length, or align='end' or 'spans'."
            return partners_of(lengths, lambda i, j: lengths[i] == lengths[j], self.seed, why)
        if self.align == "end":
            return partners_of(lengths, lambda i, j: True, self.seed, "; give several pairs.")
        names = [set(e.pair.spans) & set(s.positions) for e, s in zip(encoded, sides)]
        return partners_of(lengths, lambda i, j: names[i] <= names[j], self.seed, "with the same spans.")

    def origin(
        self,
        decoder: Model,
        encoded: Sequence[EncodedPair],
        grid: Grid,
        keep: tuple[str, ...],
        partners: list[int] | None,
        other: Model | None,
        memory_mb: float | None,
    ) -> Origin:
        """The unedited runs and edits of a grid, which takes on the source's layers."""
        n_layers = (other or decoder).n_layers
        if self.source_layer is not None and (grid.site == "embed" or grid.window != 1):
            raise PatchError(
                f"source_layer={self.source_layer!r} goes with one layer at a time; got site={grid.site!r} and"
                f" window={grid.window}."
            )
        grid.source_layers = source_layers(self.source_layer, grid.layers, n_layers)
        if other is not None and grid.site != "embed":
            for layer in grid.source_layers or grid.patched_layers:
                if layer >= n_layers:
                    raise PatchError(
                        f"source_model: it has {n_layers} layers, so none to copy into layer {layer}; name the layers,"
                        " or source_layer."
                    )
                other.require(grid.site, layer)
        origin = Origin(decoder, encoded, self.edited, keep, self.kind, other, None, partners)
        if self.kind == "mean":
            origin.means = self._means(origin, grid, memory_mb)
        return origin

    def _means(self, origin: Origin, grid: Grid, memory_mb: float | None) -> Means:
        site, layers = grid.site, [0] if grid.site == "embed" else grid.patched_layers
        if site == "pattern":
            raise PatchError("source='mean': patterns of prompts have unlike keys, and so no mean; take another site.")
        if isinstance(self.source, Tensor):
            return Means.of_tensor(self.source, site, layers, origin.model.n_layers, _width(origin.model, site))
        if isinstance(self.source, Runs):
            return Means.of_runs(self.source, Reading(site), layers, self.mean_over, origin.lengths)
        ids = [origin.ids(i, True) for i in range(len(origin.encoded))]
        return Means.of_prompts(origin.model, ids, Reading(site), layers, self.mean_over, memory_mb)

    def call(self) -> dict[str, Any]:
        """What a record says of it: nothing where it is the other run of a pair."""
        said: dict[str, Any] = {}
        if self.kind != "pair":
            said["source"] = self.kind
        for name in ("align", "source_position", "source_layer"):
            if getattr(self, name) is not None:
                said[name] = getattr(self, name)
        if self.source_model is not None:
            view = Model.of(self.source_model)
            said["source_model"] = {
                "name": name_of(self.source_model),
                "hash": view.weights(),
                **identity(self.source_model).record(),
                "dtype": str(view.dtype).removeprefix("torch."),
            }
        return said


def _width(model: Model, site: str) -> tuple[int, ...]:
    """Axes of a site's activation of one token."""
    if site in HEADED:
        return model.heads(site), model.d_head
    if site in EXPERTS:
        return (model.n_experts, model.d_model) if of_two_axes(site) else (model.n_experts,)
    return (model.d_mlp if site == "neuron" else model.d_model,)
