"""The field's words for arguments, to be used as annotations."""

from __future__ import annotations

import os
from typing import Annotated, Any

from .arrays import Ids
from .kinds import Indices, ModelLike, Number, PathLike, Places, Text, Whole

#: Of things that are made or drawn: samples, tokens, predictions shown, repetitions.
Count = Annotated[int, Whole(1)]
#: Of random draws, resamples and repetitions, each of which costs a computation.
Draws = Annotated[int, Whole(1, 10**7)]
#: As a count, and 0 is one.
Size = Annotated[int, Whole(0)]
#: The seed of all that is drawn.
Seed = Annotated[int, Whole(0, 2**63 - 1)]
#: A level, a significance: strictly between 0 and 1.
Share = Annotated[float, Number(0, 1, closed=False)]
#: A part of a whole, 0 and 1 included.
Fraction = Annotated[float, Number(0, 1)]
#: A part that is not nothing: above 0, and 1 included.
Portion = Annotated[float, Number(0, 1, above=True)]
Positive = Annotated[float, Number(0, above=True)]
NonNegative = Annotated[float, Number(0)]
#: Any number but NaN.
Real = Annotated[float, Number(infinite=True)]
Name = Annotated[str, Text(filled=True)]
FilePath = Annotated[str | os.PathLike[str], PathLike()]
#: Something with parameters; whether a method can take it is found where it is read.
HFModel = Annotated[Any, ModelLike()]
#: Rows of token ids; TokenRow: of one row, too.
TokenRows = Annotated[Any, Ids()]
TokenRow = Annotated[Any, Ids(one=True)]
#: One layer, head, neuron or token; negative counts from the end.
Index = Annotated[int, Whole(-(2**31), 2**31)]
#: One token: as text, or by its id.
Token = str | Annotated[int, Whole(0, 2**31)]
#: Several of them: an index, a slice, a range, or a sequence of indices; None is all.
Layers = Annotated[Any, Indices("layer")]
Heads = Annotated[Any, Indices("head")]
Experts = Annotated[Any, Indices("expert")]
#: Token positions: as above, also by name; a tuple within a list is a group that is taken together.
Positions = Annotated[Any, Places()]
