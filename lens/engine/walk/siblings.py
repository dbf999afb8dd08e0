"""Rows that continue the same tokens, and so read them together."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .common import Common
from .forward import Layout
from .indexed_writes import put
from .plan import WalkPlan
from .runs import WalkRuns

#: Tokens of a row up to which rows that continue the same tokens read them together, and how many rows that takes.
FEW_TOKENS, MANY_ROWS = 4, 2
#: Tokens that rows have in common from which on these are read once for all, and the part of so many that may come
#: after them.
LONG, PART = 128, 0.25


class Siblings:
    """The rows of a walk by the tokens that they continue."""

    def __init__(self, base: WalkRuns, plan: WalkPlan):
        self.base, self.plan, self.offset, self.device = base, plan, plan.offset, base.decoder.device
        size, longest = plan.end - plan.start, max(base.lengths)
        #: rows with the same number continue the same tokens and are as long
        self.group = np.unique(
            (plan.prompt * (longest + 1) + plan.start) * (longest + 1) + plan.end, return_inverse=True
        )[1]
        #: of the first so many rows, how many tokens the longest has and how many groups they are
        self.longest = np.maximum.accumulate(size)
        new = np.zeros(len(size), np.int64)
        new[np.unique(self.group, return_index=True)[1]] = 1
        self.n_groups = np.cumsum(new)
        self.grouped: dict[tuple[int, int], list[tuple[Tensor, Tensor | slice, Tensor | None]]] = {}

    def regroup(self, device: torch.device) -> None:
        """Forgets the groups: other rows have joined, or all go on on another device."""
        self.device = device
        self.grouped.clear()

    def share(self, n_rows: int) -> bool:
        """Whether the first rows are of few tokens, and many of them continue the same ones."""
        if not n_rows or self.n_groups[n_rows - 1] * MANY_ROWS > n_rows:
            return False
        return bool(self.longest[n_rows - 1] <= FEW_TOKENS)

    def alike(self, first: int, last: int) -> int:
        """How many tokens the rows of a chunk have in common with the base run, at least; 0 where these are few, also
        beside those after them, or the rows are hardly more than their prompts.
        """
        rows = last - first
        if len(np.unique(self.plan.prompt[first:last])) * MANY_ROWS > rows:
            return 0
        least = int(self.plan.start[first:last].min())
        return least if least >= LONG and self.plan.end[first:last].max() <= (1 + PART) * least else 0

    def common(self, first: int, last: int, lay: Layout) -> Common:
        """What the rows of a chunk have in common. Not kept: it is large where rows are of very unlike length."""
        start = self.plan.start[first:last]
        return Common(lay, self.plan.prompt[first:last], start, self.plan.end[first:last] - start, self.base.starts)

    def groups(self, first: int, last: int) -> list[tuple[Tensor, Tensor | slice, Tensor | None]]:
        """The rows of a chunk by what they continue, groups of one size together: see ``Layout.after``; kept until
        other rows join.
        """
        if (first, last) not in self.grouped:
            _, size = np.unique(self.group[first:last], return_counts=True)
            alike: dict[tuple[int, int], list[np.ndarray]] = {}
            for rows in np.split(first + np.argsort(self.group[first:last], kind="stable"), np.cumsum(size)[:-1]):
                alike.setdefault((len(rows), int(self.plan.end[rows[0]] - self.plan.start[rows[0]])), []).append(rows)

            def before(rows: np.ndarray) -> int:
                return int(self.plan.start[rows[0]])

            self.grouped[first, last] = [
                self._side_by_side(np.stack(near), slots, int(self.offset[first]))
                for (_, slots), groups in alike.items()
                for near in _near(sorted(groups, key=before), before)
            ]
        return self.grouped[first, last]

    def _side_by_side(self, rows: np.ndarray, slots: int, origin: int) -> tuple[Tensor, Tensor | slice, Tensor | None]:
        """Groups ``[groups, rows]`` as ``Layout.after`` has them, tokens counted from ``origin``; what comes before the
        shorter ones is padded.
        """

        def here(a: np.ndarray) -> Tensor:
            return put(a, self.device)

        at = here((self.offset[rows] - origin)[..., None] + np.arange(slots))
        n, begin = self.plan.start[rows[:, 0]], np.asarray(self.base.starts)[self.plan.prompt[rows[:, 0]]]
        if len(rows) == 1:
            return at, slice(int(begin[0]), int(begin[0] + n[0])), None
        slot = np.arange(n.max())
        return (
            at,
            here(begin[:, None] + np.minimum(slot, np.maximum(n - 1, 0)[:, None])),
            here(slot < n[:, None]) if n.min() < n.max() else None,
        )


def _near(groups: Sequence[np.ndarray], length: Callable[[np.ndarray], int]) -> list[list[np.ndarray]]:
    """Groups sorted by length, cut where padding the first to the last would add more than a quarter and a few
    tokens.
    """
    out: list[list[np.ndarray]] = []
    for group in groups:
        if out and length(group) <= 1.25 * length(out[-1][0]) + 4:
            out[-1].append(group)
        else:
            out.append([group])
    return out
