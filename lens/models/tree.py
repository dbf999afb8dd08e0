"""The modules and parameters of a model, listed once and listed again only where its tree has changed.

What compares a model before and after each computation asks for these lists several times a call; torch's own
generators take some milliseconds for the two thousand modules of a bridge, a look whether the tree is the same a third
of that.
"""

from __future__ import annotations

from itertools import chain
from operator import attrgetter, methodcaller

from torch import nn

__all__ = ["Tree"]

_KEPT = "_mnemoscope_tree"
_children, _values = attrgetter("_modules"), methodcaller("values")


class Tree:
    """Use ``Tree.of(core)``: the tree of a model as it is now.

    Attributes:
        modules: each once, in the order of ``core.modules()``.
        attributes: for each, what who compares models notes of the names of its attributes.
    """

    def __init__(self, core: nn.Module):
        self.modules: list[nn.Module] = []
        self._prefixes: list[str] = []
        self._plain: dict[str, str] = {}
        for name, module in core.named_modules():
            self.modules.append(module)
            self._prefixes.append(f"{name}." if name else "")
        self.attributes: list[tuple[tuple[str, ...], list[str]] | None] = [None] * len(self.modules)
        self._sizes, self._keys, self._children = self._read()

    def _read(self) -> tuple[list[int], list[str], list[nn.Module | None]]:
        """How many children each module has, their names and themselves, all in order: a comparison of plain lists is
        quick.
        """
        held = list(map(_children, self.modules))
        return list(map(len, held)), list(chain.from_iterable(held)), list(chain.from_iterable(map(_values, held)))

    @classmethod
    def of(cls, core: nn.Module) -> Tree:
        """The tree as it is now; the same object as long as no module was added, removed, replaced, renamed or
        moved.
        """
        kept = core.__dict__.get(_KEPT)
        if kept is None or not kept._same(core):
            kept = core.__dict__[_KEPT] = cls(core)
        return kept

    def _same(self, core: nn.Module) -> bool:
        # a copy may have taken the attribute over
        return self.modules[0] is core and self._read() == (self._sizes, self._keys, self._children)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """As ``core.named_parameters()``: a parameter in several places has the name of the first."""
        seen: set[int] = set()
        found: list[tuple[str, nn.Parameter]] = []
        for prefix, module in zip(self._prefixes, self.modules):
            parameters = module.__dict__["_parameters"]
            if not parameters:
                continue
            for key, value in parameters.items():
                if value is not None and id(value) not in seen:
                    seen.add(id(value))
                    found.append((prefix + key, value))
        return found

    def plain_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters by their names in the plain model, sorted: what a bridge or a compiler adds to a name is left
        out.
        """
        known, found = self._plain, self.named_parameters()
        for name, _ in found:
            if name not in known:
                known[name] = name.replace("._original_component", "").replace("_orig_mod.", "")
        return sorted((known[name], value) for name, value in found)
