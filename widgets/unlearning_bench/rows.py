"""The rows of both sets as one list, of which a person says which are to go and which to stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from lens.tokens import tokenizer_of
from lens.unlearning import Items
from widgets.errors import ViewError

FORGET, RETAIN, NEITHER = "forget", "retain", "neither"
ROLES = (FORGET, RETAIN, NEITHER)
#: Rows that the page lists; the others have the role they were given with.
MOST = 60


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows of a forget and a retain set, those to forget first."""

    forget: Items
    retain: Items

    def __len__(self) -> int:
        return len(self.forget) + len(self.retain)

    def roles(self) -> list[str]:
        """What each row was given as."""
        return [FORGET] * len(self.forget) + [RETAIN] * len(self.retain)

    def listed(self) -> list[int]:
        """The rows that the page lists: of each set the first ones."""
        half = MOST // 2
        n = len(self.forget)
        first = min(n, max(half, MOST - len(self.retain)))
        return [*range(first), *range(n, min(len(self), n + MOST - first))]

    def texts(self, model: Any) -> list[dict[str, Any]]:
        """The listed rows as a person reads them."""
        decode = tokenizer_of(model).decode
        out = []
        for i in self.listed():
            items, at = (self.forget, i) if i < len(self.forget) else (self.retain, i - len(self.forget))
            prompt, answer = (decode([int(t) for t in part[at]]) for part in (items.prompts, items.answers))
            out.append({"row": i, "prompt": prompt, "answer": answer, "unit": items.units[at] if items.units else ""})
        return out

    def sets(self, roles: Sequence[str]) -> tuple[Items, Items]:
        """The two sets that these roles make.

        Raises: ViewError: other roles than there are rows, or a set without a row.
        """
        if len(roles) != len(self) or any(role not in ROLES for role in roles):
            raise ViewError(
                f"roles: has {len(roles)} entries for {len(self)} rows; expected for each one of {', '.join(ROLES)}"
            )
        picked = []
        for role in (FORGET, RETAIN):
            index = [i for i, own in enumerate(roles) if own == role]
            if not index:
                raise ViewError(f"roles: no row is to {role}; choose at least one in the list of rows")
            picked.append(self._take(index))
        return picked[0], picked[1]

    def _take(self, index: Sequence[int]) -> Items:
        """Some rows; what only one of two mixed sets has (paraphrases, say) is left out."""
        n = len(self.forget)
        parts = [
            items.take(own)
            for items, own in (
                (self.forget, [i for i in index if i < n]),
                (self.retain, [i - n for i in index if i >= n]),
            )
            if own
        ]
        if len(parts) == 1:
            return parts[0]
        return Items(
            **{
                f.name: [*getattr(parts[0], f.name), *getattr(parts[1], f.name)]
                if all(len(getattr(part, f.name)) for part in parts)
                else ()
                for f in fields(Items)
            }
        )
