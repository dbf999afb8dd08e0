"""Stems of English words: Porter's algorithm with the deviations of NLTK, which ROUGE reads words through.

Sources: Porter 1980, An algorithm for suffix stripping; what NLTK does otherwise is told at each step.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

#: Words that NLTK has by heart.
_KNOWN = {"skies": "sky", "dying": "die", "lying": "lie", "tying": "tie", "innings": "inning", "outings": "outing"}
_KNOWN |= {"cannings": "canning"}
_KNOWN |= dict.fromkeys(("sky", "news", "inning", "outing", "canning", "howe", "proceed", "exceed", "succeed"), "")

# as published but for "bli" (there "abli" to "able"); "alli", "fulli" and "logi" are further down
_DOUBLE: tuple[tuple[str, str], ...] = (("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"))
_DOUBLE += (("izer", "ize"), ("bli", "ble"))
_DOUBLE += (("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"), ("ator", "ate"))
_DOUBLE += (("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"))
_DOUBLE += (("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"))
_FULL = (("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""))
_LAST: tuple[str, ...] = ("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion")
_LAST += ("ou", "ism", "ate", "iti", "ous", "ive", "ize")


@functools.lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """The stem of a word in lower case; one of at most two letters is its own."""
    if word in _KNOWN or len(word) <= 2:
        return _KNOWN.get(word) or word
    for step in (_plural, _past, _y, _double, _full, _last, _e):
        word = step(word)
    return word


def _shape(word: str) -> str:
    """`v` for a vowel, `c` for a consonant, which `y` is at the start and after a vowel."""
    out = ""
    for letter in word:
        out += "v" if letter in "aeiou" or (letter == "y" and out[-1:] == "c") else "c"
    return out


def _measure(word: str) -> int:
    """Sequences of vowels that consonants follow."""
    return _shape(word).count("vc")


def _closed(word: str) -> bool:
    """Whether a consonant, a vowel and a consonant other than w, x and y end it; to NLTK also a vowel and a consonant
    that are all of it.
    """
    shape = _shape(word)
    return (shape.endswith("cvc") and word[-1] not in "wxy") or shape == "vc"


def _plural(word: str) -> str:
    """Step 1a; "ties" is "tie" to NLTK."""
    if word.endswith("ies") and len(word) == 4:
        return word[:-1]
    for suffix, new in (("sses", "ss"), ("ies", "i"), ("ss", "ss"), ("s", "")):
        if word.endswith(suffix):
            return word.removesuffix(suffix) + new
    return word


def _past(word: str) -> str:
    """Step 1b; "tied" is "tie" and "applied" "appli" to NLTK."""
    if word.endswith("ied"):
        return word[:-1] if len(word) == 4 else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    suffix = next((s for s in ("ed", "ing") if word.endswith(s)), None)
    if suffix is None or "v" not in _shape(rest := word.removesuffix(suffix)):
        return word
    if rest.endswith(("at", "bl", "iz")):
        return rest + "e"
    if len(rest) > 1 and rest[-1] == rest[-2] and _shape(rest)[-1] == "c":
        return rest if rest[-1] in "lsz" else rest[:-1]
    return rest + "e" if _measure(rest) == 1 and _closed(rest) else rest


def _y(word: str) -> str:
    """Step 1c; to NLTK where a consonant of a longer word stands before."""
    rest = word[:-1]
    return rest + "i" if word.endswith("y") and len(rest) > 1 and _shape(rest)[-1] == "c" else word


def _double(word: str) -> str:
    """Step 2; to NLTK what remains of "alli" goes through it again, and "logi" counts its own l."""
    if word.endswith("alli"):
        return _double(word[:-2]) if _measure(word[:-4]) > 0 else word
    if word.endswith("logi"):
        return word[:-1] if _measure(word[:-3]) > 0 else word
    return _replaced(word, _DOUBLE)


def _full(word: str) -> str:
    """Step 3."""
    return _replaced(word, _FULL)


def _replaced(word: str, rules: Sequence[tuple[str, str]]) -> str:
    """The first suffix that fits, replaced where the rest has a measure."""
    for suffix, new in rules:
        if word.endswith(suffix):
            rest = word.removesuffix(suffix)
            return rest + new if _measure(rest) > 0 else word
    return word


def _last(word: str) -> str:
    """Step 4."""
    for suffix in _LAST:
        if word.endswith(suffix):
            rest = word.removesuffix(suffix)
            return rest if _measure(rest) > 1 and (suffix != "ion" or rest[-1] in "st") else word
    return word


def _e(word: str) -> str:
    """Step 5."""
    if word.endswith("e"):
        rest, m = word[:-1], _measure(word[:-1])
        word = rest if m > 1 or (m == 1 and not _closed(rest)) else word
    return word[:-1] if word.endswith("ll") and _measure(word[:-1]) > 1 else word
