"""Sentences of a word with two readings, each told by one cue word: own items for a language model."""

from __future__ import annotations

from dataclasses import dataclass

from ...prompts import Pair

#: word, sentence, and for each of its readings the cue and what the word is about
ITEMS = (
    ("bank", "The bank was full of {}.", ("mud", "river"), ("cash", "money")),
    ("bat", "The bat was found in the {}.", ("cave", "animals"), ("stadium", "sport")),
    ("bark", "The bark came from the {}.", ("dog", "sound"), ("tree", "wood")),
    ("spring", "The spring gave us {}.", ("flowers", "seasons"), ("water", "wells")),
    ("crane", "The crane lifted its {}.", ("wings", "birds"), ("hook", "machines")),
    ("mouse", "The mouse was near the {}.", ("cheese", "animals"), ("keyboard", "computers")),
    ("match", "He lost the match and the {}.", ("candle", "fire"), ("game", "sport")),
    ("seal", "The seal was on the {}.", ("ice", "animals"), ("letter", "paper")),
    ("palm", "The palm was near the {}.", ("beach", "trees"), ("thumb", "hands")),
    ("pitcher", "The pitcher was full of {}.", ("milk", "drinks"), ("energy", "sport")),
    ("nail", "The nail was in the {}.", ("wall", "tools"), ("finger", "hands")),
    ("organ", "The organ was in the {}.", ("church", "music"), ("patient", "medicine")),
    ("plant", "The plant made {}.", ("leaves", "nature"), ("cars", "industry")),
    ("club", "The club was made of {}.", ("wood", "tools"), ("members", "people")),
    ("pen", "The pen was full of {}.", ("ink", "writing"), ("pigs", "animals")),
    ("ring", "The ring was for the {}.", ("bride", "marriage"), ("boxer", "sport")),
    ("star", "The star was in the {}.", ("sky", "space"), ("movie", "actors")),
    ("table", "The table was full of {}.", ("food", "furniture"), ("numbers", "data")),
    ("trunk", "The trunk was on the {}.", ("elephant", "animals"), ("car", "travel")),
    ("wave", "The wave came from the {}.", ("ocean", "water"), ("child", "people")),
    ("court", "The court was full of {}.", ("lawyers", "law"), ("players", "sport")),
    ("cell", "The cell was full of {}.", ("prisoners", "prison"), ("proteins", "biology")),
    ("chip", "The chip was full of {}.", ("salt", "food"), ("circuits", "computers")),
    ("deck", "The deck was full of {}.", ("cards", "games"), ("sailors", "ships")),
    ("board", "The board was made of {}.", ("wood", "tools"), ("managers", "people")),
    ("bill", "The bill was from the {}.", ("restaurant", "money"), ("duck", "birds")),
    ("note", "The note was on the {}.", ("piano", "music"), ("door", "writing")),
    ("scale", "The scale was on the {}.", ("fish", "animals"), ("counter", "weight")),
    ("log", "The log was on the {}.", ("fire", "wood"), ("server", "computers")),
    ("band", "The band was on the {}.", ("stage", "music"), ("wrist", "clothes")),
    ("bow", "The bow was for the {}.", ("arrow", "weapons"), ("violin", "music")),
    ("jam", "The jam was on the {}.", ("bread", "food"), ("highway", "traffic")),
    ("pool", "The pool was full of {}.", ("water", "swimming"), ("workers", "people")),
    ("root", "The root was in the {}.", ("soil", "plants"), ("equation", "math")),
    ("shell", "The shell was on the {}.", ("beach", "animals"), ("computer", "software")),
    ("track", "The track was on the {}.", ("album", "music"), ("field", "running")),
    ("train", "The train was for the {}.", ("workers", "travel"), ("dress", "clothes")),
    ("virus", "The virus was in the {}.", ("blood", "disease"), ("laptop", "computers")),
    ("wing", "The wing was on the {}.", ("bird", "animals"), ("building", "houses")),
    ("key", "The key was on the {}.", ("piano", "music"), ("door", "locks")),
    ("draft", "The draft came from the {}.", ("window", "air"), ("writer", "writing")),
    ("fan", "The fan was in the {}.", ("stadium", "people"), ("ceiling", "machines")),
)


@dataclass(frozen=True)
class Sentence:
    """One reading of a word: the pair whose other prompt has the other reading's cue, and the same pair asked with the
    two answers named in the other order.
    """

    word: str
    cue: str
    pair: Pair
    turned: Pair


def sentences(count: int | None = None) -> list[Sentence]:
    """Both readings of each word in turn; at most so many."""
    return [
        Sentence(word, own[0], *(_pair(word, text, own, other, order) for order in (True, False)))
        for word, text, *readings in ITEMS
        for own, other in (readings, readings[::-1])
    ][slice(count)]


def _pair(word: str, text: str, own: tuple[str, str], other: tuple[str, str], order: bool) -> Pair:
    # which of the two is named first does not hang on which is right
    first, second = sorted((own[1], other[1]), reverse=not order)
    ask = f' Is "{word}" here about {first} or {second}? It is about'
    return Pair(
        text.format(own[0]) + ask,
        text.format(other[0]) + ask,
        f" {own[1]}",
        f" {other[1]}",
        spans={"cue": own[0]},
        label=word,
        corrupted_spans={"cue": other[0]},
    )
