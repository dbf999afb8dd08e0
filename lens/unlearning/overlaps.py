"""Rows that a forget set and a retain set share, exactly or nearly."""

from __future__ import annotations

from collections import Counter, defaultdict

import pandas as pd

from ..arguments import Count, Portion, door
from .errors import UnlearningError
from .items import Items

#: How many overlapping rows a message lists.
LISTED = 6


@door(UnlearningError)
def overlap(forget: Items, retain: Items, *, near: Portion = 0.8, gram: Count = 3) -> pd.DataFrame:
    """Pairs of rows that both sets have: `forget`, `retain` (numbers of rows), `where_forget`, `where_retain`, `share`
    (Jaccard's index of their sets of n-grams of tokens, prompt and answer together; 1 of equal rows) and `kind`
    ("exact", "near"); those of at least `near`, the largest first.

    Cost: every pair that shares an n-gram, so that rows of one template are compared with each other.
    """
    first, second = ([_grams((*p, *a), gram) for p, a in items.pairs()] for items in (forget, retain))
    holders: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, grams in enumerate(second):
        for one in grams:
            holders[one].append(number)
    lines = []
    for i, grams in enumerate(first):
        shared: Counter[int] = Counter()
        for one in grams:
            shared.update(holders.get(one, ()))
        for j, count in shared.items():
            share = count / (len(grams) + len(second[j]) - count)
            if share >= near:
                equal = forget.pairs()[i] == retain.pairs()[j]
                lines.append((i, j, forget.place(i), retain.place(j), share, "exact" if equal else "near"))
    columns = ["forget", "retain", "where_forget", "where_retain", "share", "kind"]
    table = pd.DataFrame(lines, columns=columns)
    return table.sort_values(["share", "forget", "retain"], ascending=[False, True, True], ignore_index=True)


def require_apart(forget: Items, retain: Items, near: float = 0.8) -> None:
    """Raises UnlearningError, with the rows: the sets share some, so that what one asks to forget the other teaches."""
    table = overlap(forget, retain, near=near)
    if len(table):
        listed = "; ".join(
            f"{line.where_forget} and {line.where_retain} ({line.kind}, {line.share:.2f})"
            for line in table.head(LISTED).itertuples()
        )
        more = f" and {len(table) - LISTED} more" if len(table) > LISTED else ""
        raise UnlearningError(
            f"forget and retain share {len(table)} pairs of rows: {listed}{more}. Take the rows out of one of them, or"
            " give a larger near= where they are not the same."
        )


def _grams(tokens: tuple[int, ...], n: int) -> set[tuple[int, ...]]:
    """The row's n-grams; of a shorter row itself."""
    return {tokens[i : i + n] for i in range(max(1, len(tokens) - n + 1))}
