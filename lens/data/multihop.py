"""Candidates for two-hop recall: a prompt that describes a bridge entity, and the same prompt that names it.

"The capital of the country where the river Seine flows is" asks for two facts, "The capital of France is" for the
second alone; the bridge entity, the *memory*, is France. The form is that of Sakarvadia et al. 2023 (Memory Injections,
section 3); the facts and the sentences in `first_hop.py` and `second_hop.py` were written for this data set.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from lens.data.first_hop import FIRST
from lens.data.second_hop import COUNTRIES, COUNTRY, SECOND

# The pairs of relations that make a group: each description of the first with the answers of the second.
GROUPS = """landmark-capital city-capital person-capital culture-capital river-capital ruler-language
company-continent seat-currency uscity-statehouse ussight-statehouse book-home art-home science-home plot-author
substance-symbol animal-young animal-class animal-sound month-next thing-color quality-opposite god-greek
product-founder job-place""".split()

ARTICLE = re.compile(r"^(a|an|the) ")


def entries(text: str) -> list[tuple[str, str]]:
    """The (key, value) pairs of a table "key: value; ..."; a key may stand there several times."""
    return [
        (key.strip(), value.strip())
        for key, value in (entry.rsplit(":", 1) for entry in " ".join(text.split()).split(";"))
    ]


def answers(relation: str) -> dict[str, tuple[str, str]]:
    """Bridge entity -> (the entity as a sentence names it, its answer), without the facts marked "-"."""
    listed = entries(SECOND[relation][1] or COUNTRIES)
    if relation in COUNTRY:
        listed = [(name, facts.split(",")[COUNTRY[relation]].strip()) for name, facts in listed]
    return {ARTICLE.sub("", name): (name, answer) for name, answer in listed if answer != "-"}


def records() -> Iterator[dict[str, Any]]:
    """Every description of a group's first relation whose entity has an answer in the second, without a half."""
    for group in GROUPS:
        first, second = group.split("-")
        phrase, template, known = FIRST[first][0], SECOND[second][0], answers(second)
        described_entities = [(described, entity) for described, entity in entries(FIRST[first][1]) if entity in known]
        for number, (described, entity) in enumerate(described_entities, 1):
            name, answer = known[entity]
            subject, named = phrase.format(x=described), name
            if template.startswith("{s}"):
                subject, named = (text[0].upper() + text[1:] for text in (subject, named))
            yield {
                "id": f"{group}-{number:02d}",
                "group": group,
                "prompt": template.format(s=subject),
                "explicit": template.format(s=named),
                "memory": entity,
                "answer": f" {answer}",
                "subject": subject,
            }


def halves(seed: int) -> dict[str, str]:
    """Bridge entity in small letters -> "select" or "report", so that every group is cut about in the middle.

    Entities are dealt out one by one, those of most candidates first, each to the half that has fewer candidates in
    the groups where the entity stands.
    """
    stands: dict[str, Counter[str]] = defaultdict(Counter)
    for record in records():
        stands[record["memory"].lower()][record["group"]] += 1
    order = sorted(stands)
    random.Random(f"halves/{seed}").shuffle(order)
    order.sort(key=lambda entity: -stands[entity].total())
    half: dict[str, str] = {}
    taken = {split: Counter[str]() for split in ("select", "report")}
    for entity in order:
        load = {split: sum(count * taken[split][group] for group, count in stands[entity].items()) for split in taken}
        half[entity] = min(taken, key=lambda split: (load[split], taken[split].total()))
        taken[half[entity]] += stands[entity]
    return half


def holds(text: str, part: str) -> bool:
    """Whether `text` gives `part` away: as a word, or inside one where `part` has four letters or more (case
    ignored).
    """
    text, part = text.lower(), part.strip().lower()
    return part in text if len(part) > 3 else re.search(rf"(?<!\w){re.escape(part)}(?!\w)", text) is not None


def candidates(seed: int) -> Iterator[dict[str, Any]]:
    """Records without numbers: id, group, split, prompt, explicit, memory, answer, subject.

    Raises ValueError for a line of the tables whose prompt gives the memory or the answer away, or where one of the
    two is a part of the other.
    """
    half = halves(seed)
    for record in records():
        prompt, memory, answer = record["prompt"], record["memory"], record["answer"]
        short, long = sorted((memory.lower(), answer.strip().lower()), key=len)
        if holds(prompt, memory) or holds(prompt, answer.strip().removesuffix("s")) or short in long:
            raise ValueError(
                f"hops: {record['id']} gives away its memory {memory!r} or its answer {answer!r} in {prompt!r}, or one"
                " is a part of the other; describe the entity in other words, or mark the fact with '-'"
            )
        if prompt.count(record["subject"]) != 1 or not holds(record["explicit"], memory):
            raise ValueError(
                f"hops: {record['id']} needs its subject once in {prompt!r} and its memory in {record['explicit']!r}"
            )
        place = list(record).index("prompt")
        parts = list(record.items())
        yield dict(parts[:place]) | {"split": half[memory.lower()]} | dict(parts[place:])
