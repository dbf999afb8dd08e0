"""What InjectionBench shows when it is given nothing."""

from __future__ import annotations

from lens import injection
from widgets.base.examples import Example

COUNT = 5


def examples() -> list[Example]:
    """Questions of the set that ships, whose single hop a small model knows; the control is the next one's memory."""
    items = injection.load_items("own", rank=1, limit=COUNT)
    return [
        Example(
            f"{item.memory} → {item.answer.strip()}",
            dict(
                prompt=item.prompt,
                memory=item.memory,
                answer=item.answer,
                subject=item.subject or "",
                control="shuffled",
                other=items[(number + 1) % len(items)].memory,
            ),
        )
        for number, item in enumerate(items)
    ]
