"""What one edit does to the tokens that it meets, on any path that runs the model's own modules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from .anatomy import Anatomy
from .edits import Edit, EditError
from .features import Key, Live
from .live import live_of
from .sites import EXPERTS, HEADED, Site, indices, of_two_axes


@dataclass
class Change:
    """What one edit does to the tokens it meets, ``x -> keep * x + scale * value``, on some heads (or neurons, or
    experts) and keys.
    """

    keep: float
    scale: float
    sub: list[int] | None = None
    key: list[int] | None = None
    value: Tensor | Live | None = None
    #: whether the site's axes after position are ``(heads or experts, width)`` rather than ``(width,)``
    headed: bool = False

    @property
    def reads(self) -> Key | None:
        """The other place whose activation it is computed from; `note` is given that before the write."""
        return self.value.reads if isinstance(self.value, Live) else None

    @property
    def by_position(self) -> bool:
        """Whether the value has one entry a position."""
        value, axes = self.value, 1 + self.headed
        if isinstance(value, Live):
            value, axes = value.value, 1
        return value is not None and value.ndim > axes and len(value) > 1

    def note(self, x: Tensor) -> Tensor:
        """Keeps what a forward has where it `reads`, and hands it on as it is."""
        return self.value.note(x) if isinstance(self.value, Live) else x

    def write(
        self, x: Tensor, row: Int[Tensor, " n"], column: Int[Tensor, " n"], entry: Int[Tensor, " n"] | None, where: Site
    ) -> None:
        """Writes in place at ``x[row, column]``; ``entry`` says which position of a value with a position axis each
        token takes.
        """
        old = x[row, column]
        if isinstance(self.value, Live):
            live = self.value
            into: Any = x if live.reads is None else live.noted
            into = into[row.to(into.device), column.to(into.device)]
            added = live.added(into, old.shape[1:], entry) * self.scale
            x[row, column] = (old + added.to(old)).to(x.dtype)
            return
        part = old if self.sub is None else old[:, self.sub]
        part = part if self.key is None else part[..., self.key]
        new = part * self.keep if self.keep else torch.zeros_like(part)
        if self.value is not None:
            new = new + self._values(part, entry, where) * self.scale
        if self.key is not None:
            whole = old if self.sub is None else old[:, self.sub]
            whole = whole.clone()
            whole[..., self.key] = new
            new = whole
        if self.sub is None:
            x[row, column] = new.to(x.dtype)
        else:
            x[row[:, None], column[:, None], torch.tensor(self.sub, device=x.device)] = new.to(x.dtype)

    def _values(self, part: Tensor, entry: Tensor | None, where: Site) -> Tensor:
        given: Any = self.value  # asked for only where there is one
        value: Tensor = given.to(part)
        axes = part.shape[1:]
        try:
            if value.ndim <= len(axes) or value.shape[0] == 1:
                return (value if value.ndim <= len(axes) else value[0]).expand(axes)
            if value.ndim == len(axes) + 1 and entry is not None and int(entry.max()) < len(value):
                return value.expand(len(value), *axes)[entry]
        except RuntimeError:
            pass
        beyond = entry is not None and value.ndim > len(axes)
        raise EditError(
            f"value has shape {tuple(given.shape)} at {where}; expected something that broadcasts to "
            f"{tuple(axes)}, with one more axis in front where every position named has its own"
            + (f" (position {int(entry.max())} of the text has none)." if beyond and entry is not None else ".")
        )


def resolved(anatomy: Anatomy, edit: Edit, n_keys: int | None = None) -> tuple[str, int, Change]:
    """Site, layer and change of an edit; ``resid_post`` is the next layer's ``resid_pre``.

    Raises:
        SiteError: no such layer, head or neuron, or the site was not found in the model.
    """
    site = edit.site
    if site.of is not None:
        site.of.require(anatomy)
    name, layer = anatomy.layer_of(*site.place)
    anatomy.require(name, layer)
    if site.of is not None or isinstance(edit.value, Live):
        return name, layer, Change(1.0, 1.0, value=live_of(anatomy, edit), headed=of_two_axes(name))
    sub = None
    if name in HEADED and site.head is not None:
        sub = indices(site.head, anatomy.heads(name), "head")
    elif name == "neuron" and site.neuron is not None:
        sub = indices(site.neuron, anatomy.neurons(layer), "neuron")
    elif name in EXPERTS and site.expert is not None:
        sub = indices(site.expert, anatomy.experts(name, layer), "expert")
    key = None
    if site.key is not None:
        key = indices(site.key, n_keys, "key") if n_keys is not None else _plain_indices(site.key)
    value = edit.value if isinstance(edit.value, Tensor) else None
    listed = site.position is not None and not isinstance(site.position, slice)
    if value is not None and value.ndim == 2 + of_two_axes(name) and listed:
        named = len(site.position) if hasattr(site.position, "__len__") else 1
        if value.shape[0] not in (1, named):
            raise EditError(
                f"value has shape {tuple(value.shape)} at {site}; its first axis counts positions, and "
                f"{named} are named."
            )
    return name, layer, Change(edit.keep, float(edit.scale), sub, key, value, of_two_axes(name))


def _plain_indices(spec: Any) -> list[int]:
    values = [spec] if hasattr(spec, "__index__") else list(spec) if not isinstance(spec, slice) else None
    if values is None or min(values) < 0:
        raise EditError(f"key={spec!r}: while the text may grow, keys are named by non-negative numbers.")
    return [int(v) for v in values]
