"""What InjectionBench shows when it is given nothing."""

from __future__ import annotations

from lens import injection
from widgets.base.examples import Example

COUNT = 5


def examples() -> list[Example]:
    """Questions of the set that ships, whose single hop a small model knows, each about another memory; the control is
    the next one's.
    """
    items: list[injection.Item] = []
    for item in injection.load_items("own", rank=1):
        words = {word for one in items for word in (one.memory.lower(), one.answer.strip().lower())}
        if item.subject and not words & {item.memory.lower(), item.answer.strip().lower()}:
            items.append(item)
        if len(items) == COUNT:
            break
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
