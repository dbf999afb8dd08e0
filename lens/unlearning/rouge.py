"""ROUGE-L recall: how much of an answer stands in a text, in its order.

Source: Lin 2004, ROUGE: A package for automatic evaluation of summaries, section 3; words, stems and the treatment of
what is neither letter nor digit as in rouge-score 0.1.2, which OpenUnlearning calls with its stemmer.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from .stems import stem


def words(text: str) -> list[str]:
    """A text's words: runs of a-z and 0-9 in lower case, of more than three letters the stems. What is written in other
    letters has none.
    """
    return [stem(word) if len(word) > 3 else word for word in re.findall("[a-z0-9]+", text.lower())]


def recall(answer: Sequence[str], written: Sequence[str]) -> float:
    """Share of an answer's words that the longest common subsequence with a text holds; `answer` has at least one."""
    return longest_common(answer, written) / len(answer)


def longest_common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence.

    A row of the table of lengths is the bits of one number, set where the length does not grow.
    Source: Hyyrö 2004, Bit-parallel LCS-length computation revisited.
    Cost: a few operations on len(a) bits for each word of b.
    """
    places: dict[str, int] = defaultdict(int)
    for i, word in enumerate(a):
        places[word] |= 1 << i
    whole = (1 << len(a)) - 1
    row = whole
    for word in b:
        there = row & places.get(word, 0)
        row = ((row + there) | (row - there)) & whole
    return len(a) - row.bit_count()
