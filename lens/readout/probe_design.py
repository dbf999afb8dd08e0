"""The design of a probe: classes and their coverage, units on one side only, and the task that a probe could learn by
heart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from ..arguments import Labels, shown
from .reading import ReadoutError


@dataclass(frozen=True)
class Design:
    """What is predicted from which rows.

    Attributes:
        names: of the classes. classes: of each row. units: of each row, numbered. fold: of each row; rows of a unit are
            in one. inner: where a fold is read, the rows of the others on which the ridge is chosen, of units of their
            own. control: the classes of the control task. seen: whether a row's type stands in rows of other folds
            too; None where labels are shuffled over units (over rows, where those of a unit differ).
    """

    names: list[str]
    classes: Int[np.ndarray, " row"]
    units: Int[np.ndarray, " row"]
    fold: Int[np.ndarray, " row"]
    inner: Bool[np.ndarray, "fold row"]
    ridges: list[float]
    control: Int[np.ndarray, " row"]
    seen: Bool[np.ndarray, " row"] | None

    @classmethod
    def of(
        cls, labels: Any, units: Any, types: Any, n: int, folds: int, ridge: float | Sequence[float], seed: int
    ) -> Design:
        """Checked and drawn.

        Raises: ReadoutError: see `linear_probe`.
        """
        ridges = [float(r) for r in np.atleast_1d(ridge)]
        if not ridges:
            raise ReadoutError("ridge=[] holds no strength; give one, or several to choose from.")
        names, classes = _numbered(labels, "labels", n)
        _, unit = (None, np.arange(n)) if units is None else _numbered(units, "units", n)
        if len(names) == 1:
            raise ReadoutError(
                f"labels are all {names[0]!r}: a probe of one class is right on everything and says nothing; give rows"
                " of at least two classes."
            )
        n_units = int(unit.max()) + 1
        if n_units < folds:
            raise ReadoutError(
                f"folds={folds}, but there are {n_units} units; give at most as many folds, or more units."
            )
        for c, name in enumerate(names):
            if len(np.unique(unit[classes == c])) < 2:
                raise ReadoutError(
                    f"labels: class {name!r} is in one unit only, so that it cannot be both learned and read; give it"
                    " more units, or leave it out."
                )
        rng = np.random.default_rng(seed)
        fold = _folds(classes, unit, folds, rng)
        for f in range(folds):
            if missing := set(classes.tolist()) - set(classes[fold != f].tolist()):
                raise ReadoutError(
                    f"folds={folds}: without fold {f} no row of class {names[min(missing)]!r} is left to learn from;"
                    " give fewer folds, or more units of that class."
                )
        inner = np.zeros((folds, n), bool)
        if len(ridges) > 1:
            for f in range(folds):
                inner[f, fold != f] = _chosen_on(classes[fold != f], unit[fold != f], folds, seed, f)
        control, seen = _control(classes, unit, types, fold, n, rng)
        return cls(names, classes, unit, fold, inner, ridges, control, seen)

    def record(self) -> dict[str, Any]:
        """What a record says of it."""
        whole = all(len(set(self.classes[self.units == unit])) == 1 for unit in np.unique(self.units))
        said: dict[str, Any] = {
            "control": f"labels shuffled over {'units' if whole else 'rows'}",
            "classes": self.names,
        }
        if self.seen is not None:
            said |= {"control": "a class at random for each type", "control_seen": round(float(self.seen.mean()), 4)}
        return said


def _numbered(values: Any, name: str, n: int) -> tuple[list[str], np.ndarray]:
    labels = np.asarray(Labels().of(values, name, ReadoutError))
    if labels.shape != (n,):
        raise ReadoutError(f"{name}={shown(values)} has shape {labels.shape}; expected one for each of {n} rows.")
    names, number = np.unique(labels.astype(str), return_inverse=True)
    return names.tolist(), number


def _chosen_on(classes: np.ndarray, unit: np.ndarray, folds: int, seed: int, f: int) -> np.ndarray:
    """Which of the rows that a probe may learn from choose its ridge: one fold of their units."""
    _, own = np.unique(unit, return_inverse=True)
    if (n_units := int(own.max()) + 1) < 2:
        raise ReadoutError(
            f"ridge: without fold {f} of folds={folds} rows of one unit are left, which cannot both be fitted and"
            " choose among several strengths; give one ridge, or more units."
        )
    return _folds(classes, own, min(folds, n_units), np.random.default_rng([seed, 1, f])) == 0


def _folds(classes: np.ndarray, unit: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """A fold for each row; the units of each class (a unit's first row says which) are dealt out in turn."""
    _, first = np.unique(unit, return_index=True)
    order = rng.permutation(len(first))
    order = order[np.argsort(classes[first][order], kind="stable")]
    of_unit = np.empty(len(first), int)
    of_unit[order] = np.arange(len(order)) % folds
    return of_unit[unit]


def _control(
    classes: np.ndarray, unit: np.ndarray, types: Any, fold: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray | None]:
    """The classes of the control task, and which rows' types are in other folds too.

    Raises: ReadoutError: types of which one is all, or of which none comes back.
    """
    if types is None:
        _, first = np.unique(unit, return_index=True)
        if (classes != classes[first][unit]).any():
            # labels that differ within a unit are its rows', not its own
            return rng.permutation(classes), None
        return classes[first][rng.permutation(len(first))][unit], None
    names, kind = _numbered(types, "types", n)
    if len(names) == 1:
        raise ReadoutError(
            f"types are all {names[0]!r}, so that the control task has one class; give what tells the rows apart (the"
            " word that is read, say), or leave types out."
        )
    seen = np.array([bool((kind[fold != fold[i]] == kind[i]).any()) for i in range(n)])
    if not seen.any():
        raise ReadoutError(
            f"types: none of the {len(names)} stands in units of two folds, so that nothing of the control task could"
            " be learned; give types that come back, or leave types out."
        )
    # every type draws its class with the labels' own shares
    drawn = rng.choice(classes, size=len(names))
    while len(np.unique(drawn)) == 1:
        drawn = rng.choice(classes, size=len(names))
    return drawn[kind], seen
