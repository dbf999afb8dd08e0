"""Edits as data: a site and what happens there.

Every operation is affine, ``x -> scale * x + value``, so that the walk applies any mix of them in one indexed write.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from ..arguments import Index as At
from ..arguments import Indices, door, shown
from ..errors import Error
from .features import Live
from .gates import Gate
from .sites import Site, indices

OPERATIONS = ("replace", "add", "scale", "zero", "mean", "resample")


class Activations:
    """What an edit may copy from: the activations of some run."""


class EditError(Error, ValueError):
    """An edit that cannot be applied; the message names the argument, its value and what was expected."""


@door(EditError)
@dataclass(frozen=True, eq=False)
class Edit:
    """What happens at a site.

    ========  ==========================================  =================================
    op        effect                                      value
    ========  ==========================================  =================================
    replace   ``x <- scale * value``                      a tensor, or the ``Runs`` to copy from
    add       ``x <- x + scale * value``                  a tensor
    scale     ``x <- scale * x``                          none
    zero      ``x <- 0``                                  none
    mean      ``x <- scale * value`` (a data-set mean)    a tensor, see ``runs.mean_activation``
    resample  as ``replace``, from another prompt's run   the ``Runs`` to copy from
    ========  ==========================================  =================================

    In place of a tensor a value may be an object with ``at_site(site) -> tensor``. A tensor's last axis is the site's
    width (``d_model``, ``d_head``, the number of neurons or of keys); leading axes, if any, are ``[position]`` or
    ``[position, head]`` and broadcast.

    ``when``: a `Gate`, looked at token by token: the edit acts where it is open.

    Of a run, ``source_position`` and ``source_layer`` say what is copied: position and layer of the run for the site's
    (Patchscopes: Ghandeharioun et al. 2024, section 3); None: the same. One position serves every position of the site,
    several one each; negative ones count from the run's end. The run may be another model's of equal width.

    At a site of features ``x`` is how strong the features named are, the value's last axis counts them (one number
    serves all), and what the dictionary does not explain of the activation stays as it is.

    >>> Edit(Site("attn_out", layer=9), "scale", scale=0.5).op
    'scale'
    """

    site: Site
    op: str
    value: Any = None
    scale: float = 1.0
    when: Gate | None = None
    source_position: Annotated[Any, Indices("source_position")] = None
    source_layer: At | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.site, Site):
            raise EditError(f"site={self.site!r} is not a Site; write Edit(Site('resid_pre', layer=3), ...).")
        if self.op not in OPERATIONS:
            raise EditError(f"op={self.op!r} is not known; expected one of {', '.join(OPERATIONS)}.")
        if hasattr(type(self.value), "at_site"):  # something that has a vector for each site, such as an encoded memory
            object.__setattr__(self, "value", self.value.at_site(self.site))
        takes_value = self.op not in ("scale", "zero")
        if takes_value and self.value is None:
            raise EditError(
                f"op={self.op!r} needs a value: a tensor" + (" or a run to copy from." if self.op != "add" else ".")
            )
        if not takes_value and self.value is not None:
            raise EditError(f"op={self.op!r} takes no value, got {type(self.value).__name__}; leave it out.")
        if self.op == "add" and isinstance(self.value, Live):
            return  # of the engine's own
        if self.site.of is not None:
            self._of_features()
        if self.op in ("add", "mean") and not isinstance(self.value, torch.Tensor):
            raise EditError(f"op={self.op!r} needs a tensor as value, got {type(self.value).__name__}.")
        if takes_value and not isinstance(self.value, torch.Tensor) and not isinstance(self.value, Activations):
            raise EditError(
                f"value is a {type(self.value).__name__}, {shown(self.value)}; expected a torch tensor, or a run to"
                " copy from."
            )
        for name in ("source_position", "source_layer"):
            if getattr(self, name) is not None and not isinstance(self.value, Activations):
                raise EditError(
                    f"{name}={getattr(self, name)!r} says what is copied from a run, and the value is"
                    f" {shown(self.value)}; give a run as value, or leave it out."
                )
        if isinstance(self.value, torch.Tensor) and (
            self.value.is_meta or self.value.is_sparse or self.value.is_complex() or self.value.dtype == torch.bool
        ):
            raise EditError(
                f"value={shown(self.value)} holds no numbers that an activation can take; expected a dense tensor of"
                " real numbers."
            )
        if isinstance(self.value, torch.Tensor) and not torch.isfinite(self.value).all():
            raise EditError(f"value of the edit at {self.site} holds NaN or infinity; check where it was computed.")

    def _of_features(self) -> None:
        """Numbers as a tensor, and its last axis the features named."""
        value, k = self.value, len(indices(self.site.index, self.site.of.n_features, "index"))  # type: ignore[union-attr]
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = torch.tensor([float(value)])
            object.__setattr__(self, "value", value)
        if self.source_layer is not None:
            raise EditError(
                f"source_layer={self.source_layer!r}: a dictionary is of one layer; its features are copied from the"
                " same one; leave it out."
            )
        if isinstance(value, torch.Tensor) and (value.ndim > 2 or (value.ndim and value.shape[-1] not in (1, k))):
            raise EditError(
                f"value={shown(value)} of the edit at {self.site}; expected one number, or one for each of the {k}"
                " features named, with an axis in front where every position named has its own."
            )

    @property
    def keep(self) -> float:
        """The factor on the old activation: 1 for ``add``, ``scale`` for ``scale``, else 0."""
        return {"add": 1.0, "scale": float(self.scale)}.get(self.op, 0.0)


def require_ungated(edits: Sequence[Any], where: str) -> None:
    """Refuses edits with a gate, where none is served. Raises: EditError."""
    for edit in edits:
        if getattr(edit, "when", None) is not None:
            raise EditError(
                f"when={edit.when} of the edit at {edit.site}: {where} has no gates; Model.run, lens.edited and"
                " lens.generate serve them, and without when= the edit acts at every token that it meets."
            )


def as_computed(edits: Sequence[Edit]) -> list[Edit]:
    """The edits in the order given, but those of ``resid_post`` first: it is computed before the next layer's
    ``resid_pre``, which is the same tensor.
    """
    return sorted(edits, key=lambda e: getattr(getattr(e, "site", None), "place", (None,))[0] != "resid_post")
