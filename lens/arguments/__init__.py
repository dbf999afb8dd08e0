"""Arguments are checked at the door: before any work starts, each by what its annotation says.

How to put a door before a function, a method or a class:

    from ..arguments import Count, HFModel, Seed, Share, Layers, FilePath, door

    @door(PatchError)                       # the family's own error; outermost, above @of_one_model and @torch.no_grad
    @of_one_model
    def patch(model: HFModel, pairs: Pair | Sequence[Pair], *, layers: Layers = None, k: Count = 10,
              level: Share = 0.95, direction: Literal["denoise", "noise"] = "denoise",
              stop: Callable[[], bool] | None = None) -> xr.Dataset: ...

    @door(SiteError)                        # a class: its constructor; above @dataclass
    @dataclass(frozen=True)
    class Site: ...

    @classmethod
    @door(RunError)                         # below classmethod, staticmethod and property
    def record(cls, model: HFModel, ids: Sequence[Tensor]): ...

What an annotation asks for:

- ``int``: a whole number that fits 64 bits; ``float``: a finite number; both refuse truth values. ``bool``, ``str``
  (text that can be encoded), ``Literal`` (a choice), ``None`` where the annotation has it. A default is always taken.
- Words: ``Count``, ``Draws`` (of repetitions: at most ten million), ``Size`` (from 0), ``Seed``, ``Share`` (in (0, 1)),
  ``Fraction`` (in [0, 1]), ``Portion`` (in (0, 1]), ``Positive``, ``NonNegative``, ``Real`` (infinity too), ``Name``
  (text that is not empty), ``FilePath``, ``HFModel``, ``TokenRows`` (ids), ``TokenRow`` (those of one row too),
  ``Index``, ``Token`` (text or id), ``Layers``, ``Heads`` and ``Experts`` (indices, slices, ranges, sequences of
  indices), ``Positions`` (names and groups too).
- Others: ``Annotated[int, Whole(2, 64)]``, ``Annotated[float, Number(0, 10)]``, ``Annotated[Sequence[X], Filled()]``
  (not empty), ``Annotated[Float[Tensor, "n"], AllFinite()]``, ``Annotated[Any, Labels()] | None`` (one label for each
  unit), ``Annotated[Any, Numbers(2)]`` (an array, tensor or list of so many axes), ``Annotated[Any,
  Indices("neuron")]``; or a ``Check`` of one's own: a ``Fitting`` has
  only ``expected`` and ``fits(value)``, and what the value itself raises there counts as no.
- ``Callable[[A, B], R]``: callable with two arguments, where its signature can be read. ``Callable``: callable.
- ``Sequence[X]``, ``list[X]``, ``tuple[A, B]``, ``Mapping[K, V]``: the kind, and each item. Text, sets and iterators
  are no sequence. ``Iterable[X]``: items only where they can be read twice (an endless one is taken).
- jaxtyping's ``Float[Tensor, "n d"]``: the array's type, the kind of its dtype, its number of axes. A class: an
  instance of it.
- ``A | B``: one of them. ``Any``, what is not annotated, and names that are not there at run time: left alone
  (``Annotated[Any, ...]`` is checked).

A Python number is handed on in place of NumPy's, a list in place of an array of indices or text, a tuple in place of a
list where a ``tuple[A, B]`` is asked for. Annotations are read at the first call. A call costs a microsecond or two,
and about a quarter of one for each argument and each item of a list.

What depends on several arguments, or on the model, stays in the function; ``unfit`` words it alike:
``raise PatchError(unfit("head", head, "one of the 12 heads"))``, and ``Whole(1).of(value, "k", PatchError)`` checks one
value later than the door; ``truth(keep(row), "keep", PatchError)`` reads what a person's function gave.
"""

from .arrays import AllFinite, Ids, Labels, Numbers, array, different_numbers
from .checks import Check, Fitting, Unfit, shown, tried, truth, unfit
from .doors import door, has_door
from .kinds import (
    MOST,
    Choice,
    Filled,
    Indices,
    ModelLike,
    Number,
    PathLike,
    Places,
    Text,
    Whole,
)
from .words import (
    Count,
    Draws,
    Experts,
    FilePath,
    Fraction,
    Heads,
    HFModel,
    Index,
    Layers,
    Name,
    NonNegative,
    Portion,
    Positions,
    Positive,
    Real,
    Seed,
    Share,
    Size,
    Token,
    TokenRow,
    TokenRows,
)

__all__ = [
    "MOST",
    "AllFinite",
    "Check",
    "Choice",
    "Count",
    "Draws",
    "Experts",
    "FilePath",
    "Filled",
    "Fitting",
    "Fraction",
    "HFModel",
    "Heads",
    "Ids",
    "Index",
    "Indices",
    "Labels",
    "Layers",
    "ModelLike",
    "Name",
    "NonNegative",
    "Number",
    "Numbers",
    "PathLike",
    "Places",
    "Portion",
    "Positions",
    "Positive",
    "Real",
    "Seed",
    "Share",
    "Size",
    "Text",
    "Token",
    "TokenRow",
    "TokenRows",
    "Unfit",
    "Whole",
    "array",
    "different_numbers",
    "door",
    "has_door",
    "shown",
    "tried",
    "truth",
    "unfit",
]
