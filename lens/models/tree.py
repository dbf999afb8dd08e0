"""The modules and parameters of a model, listed once and listed again only where its tree has changed.

What compares a model before and after each computation asks for these lists several times a call; torch's own
generators take some milliseconds for the two thousand modules of a bridge, a look whether the tree is the same a third
of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from operator import attrgetter, itemgetter, methodcaller
from typing import Any

from torch import nn

from .placement import stand_ins

__all__ = ["Parameters", "Tree"]

_KEPT = "_mnemoscope_tree"
_attributes, _values = attrgetter("__dict__"), methodcaller("values")
_children, _parameters = itemgetter("_modules"), itemgetter("_parameters")


class Tree:
    """Use ``Tree.of(core)``: the tree of a model as it is now.

    Attributes:
        modules: each once, in the order of ``core.modules()``.
        attributes: for each, what who compares models notes of the names of its attributes.
    """

    def __init__(self, core: nn.Module):
        self.modules: list[nn.Module] = []
        self._prefixes: list[str] = []
        self._table: _NameTable | None = None
        for name, module in core.named_modules():
            self.modules.append(module)
            self._prefixes.append(f"{name}." if name else "")
        self.attributes: list[tuple[tuple[str, ...], list[str]] | None] = [None] * len(self.modules)
        self._own = list(map(_attributes, self.modules))
        self._sizes, self._keys, self._children = self._read()

    def _read(self) -> tuple[list[int], list[str], list[nn.Module | None]]:
        """How many children each module has, their names and themselves, all in order: a comparison of plain lists is
        quick.
        """
        held = list(map(_children, self._own))
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

    @classmethod
    def kept(cls, core: nn.Module) -> Tree:
        """The tree as it was last looked at, for who has looked in the same computation; else as `of`."""
        kept = core.__dict__.get(_KEPT)
        return kept if kept is not None and kept.modules[0] is core else cls.of(core)

    def _same(self, core: nn.Module) -> bool:
        # a copy may have taken the attribute over
        own = self.modules[0] is core and self._own[0] is core.__dict__
        return own and self._read() == (self._sizes, self._keys, self._children)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """As ``core.named_parameters()``: a parameter in several places has the name of the first."""
        return self.parameters().named()

    def parameters(self) -> Parameters:
        """The parameters as they stand in the modules now; of an offloaded one what it is told by (`placement`). Asks
        every module, of which a bridge has thousands: who needs them several times in one computation asks once.
        """
        every = list(map(_parameters, self._own))
        sizes = list(map(len, every))
        table = self._table
        # of two thousand modules a few hundred hold parameters
        held = (
            [every[i] for i in table.holders]
            if table is not None and table.sizes == sizes
            else list(filter(None, every))
        )
        keys = list(chain.from_iterable(held))
        values = list(chain.from_iterable(map(_values, held)))
        if any([value is not None and value.is_meta for value in values]):
            known = stand_ins(self.modules[0])
            values = [
                known.get(id(module), {}).get(key, value)
                for module, own in zip(self.modules, every)
                for key, value in own.items()
            ]
        ids = list(map(id, values))
        if table is None or (table.sizes, table.keys, table.ids) != (sizes, keys, ids):
            prefixes = chain.from_iterable([prefix] * n for prefix, n in zip(self._prefixes, sizes))
            table = self._table = _NameTable.of(sizes, keys, ids, [p + key for p, key in zip(prefixes, keys)], values)
        return Parameters(table, values)


@dataclass(frozen=True)
class Parameters:
    """A model's parameters as they stood in its modules at one time. It holds them: whoever keeps it longer than a
    computation keeps weights that the model may have given up.

    Attributes: table: which of the values is a parameter of what name. values: all that stands in the modules, in their
        order, None where a parameter is absent.
    """

    table: _NameTable
    values: list[Any]

    def named(self) -> list[tuple[str, nn.Parameter]]:
        """Name and parameter; one in several places has the name of the first."""
        return [(name, self.values[i]) for name, i in zip(self.table.names, self.table.at)]

    def plain(self) -> tuple[list[str], list[nn.Parameter]]:
        """The names of the parameters in the plain model, sorted, and the parameters: what a bridge or a compiler adds
        to a name is left out. The list of names is the same object as long as they are the same.
        """
        return self.table.plain, [self.values[i] for i in self.table.sorted]

    def everywhere(self) -> list[nn.Parameter]:
        """In the order of the modules, one that stands in several places as often."""
        return [value for value in self.values if value is not None]


@dataclass(frozen=True)
class _NameTable:
    """The parameters' names, found once. Of all that stands in the modules, in order: `sizes` a module, and the `keys`
    and `ids`. `holders`: the modules in which something stands. `at`: the places of parameters of which each is there
    once, by `names`; `sorted`: those of the same by their `plain` names, sorted.
    """

    sizes: list[int]
    keys: list[str]
    ids: list[int]
    holders: list[int]
    names: list[str]
    at: list[int]
    plain: list[str]
    sorted: list[int]

    @classmethod
    def of(cls, sizes: list[int], keys: list[str], ids: list[int], full: list[str], values: list[Any]) -> _NameTable:
        first: dict[int, int] = {}
        for i, value in enumerate(values):
            if value is not None:
                first.setdefault(id(value), i)
        at = list(first.values())
        plain = {i: full[i].replace("._original_component", "").replace("_orig_mod.", "") for i in at}
        order = sorted(at, key=plain.__getitem__)
        return cls(
            sizes,
            keys,
            ids,
            [i for i, n in enumerate(sizes) if n],
            [full[i] for i in at],
            at,
            [plain[i] for i in order],
            order,
        )
