"""Arms of an unlearning experiment: each is a path, and is looked at by dose."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from ..arguments import Filled, Name, door
from ..training import LoRA, Recipe
from .errors import UnlearningError
from .methods import Method
from .methods import method as method_of

#: Names of the models that are looked at once, and of the arm that is always run.
MODELS = ("start", "clean", "twin", "never_knew")
RETAIN_ONLY = "retain_only"
#: Between an arm's name and an attack's.
AFTER = " after "


@door(UnlearningError)
@dataclass(frozen=True, eq=False)
class Arm:
    """A path away from the start model. Make one with `Arm.of` (a method) or `Arm.of_edits` (masks, edits of loss
    curvature, replacements, edits of activations).

    Attributes:
        method: how it is trained; its dose is the number of finished steps, of a task vector its factor.
        edits: dose -> an edit that `lens.edited` takes, or a list of them.
        recipe, lora: of its training; None: those of the experiment. parameters: what is trained, as for
            `lens.training.train`; None: all, or the adapters.
    """

    name: Name
    method: Method | None = None
    edits: Mapping[float, Any] | None = None
    recipe: Recipe | None = None
    lora: LoRA | None = None
    parameters: Iterable[str] | Callable[[str], bool] | None = None

    def __post_init__(self) -> None:
        if self.name in MODELS or AFTER in self.name:
            raise UnlearningError(f"name={self.name!r} is that of a model or an attack; choose another.")
        if (self.method is None) == (self.edits is None):
            raise UnlearningError(
                f"arm {self.name!r} needs a method or edits, one of them; use Arm.of or Arm.of_edits."
            )
        if self.edits is not None and not self.edits:
            raise UnlearningError(f"arm {self.name!r}: edits is empty; give at least one dose with its edit.")

    @classmethod
    @door(UnlearningError)
    def of(
        cls,
        method: str | Method,
        name: Name | None = None,
        *,
        recipe: Recipe | None = None,
        lora: LoRA | None = None,
        parameters: Iterable[str] | Callable[[str], bool] | None = None,
        **options: Any,
    ) -> Arm:
        """An arm by a method of `METHODS`, with some of its options changed; named as the method where no name is
        given.
        """
        chosen = method_of(method, **options)
        return cls(name or chosen.name, chosen, None, recipe, lora, parameters)

    @classmethod
    @door(UnlearningError)
    def of_edits(cls, name: Name, edits: Annotated[Mapping[float, Any], Filled()]) -> Arm:
        """An arm without training: at each dose (the share of weights cut, say) an edit of the start model."""
        return cls(name, edits=dict(edits))


def arms_of(arms: Sequence[Any]) -> list[Arm]:
    """The arms, and the retain-only control where none of them is it. Raises UnlearningError: a name given twice."""
    every = [arm if isinstance(arm, Arm) else Arm.of(arm) for arm in arms]
    if not any(arm.method is not None and arm.method.name == RETAIN_ONLY for arm in every):
        every.insert(0, Arm.of(RETAIN_ONLY))
    names = [arm.name for arm in every]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise UnlearningError(f"arms: the name {twice!r} is given twice; give each its own, as Arm.of(method, name).")
    return every
