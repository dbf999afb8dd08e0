"""The organism `induction`: two layers whose only skill is to go on with a sequence that it has seen before.

Each training row is one random period of 8 to 24 distinct words, repeated to the end of the context. The period's
length changes from row to row, so no fixed look-back distance helps: what predicts the next word is a head that finds
the earlier copy of this word and copies what came after it (induction heads: Olsson et al. 2022, In-context Learning
and Induction Heads, section "Mechanistic view"). The MLPs are narrow, to leave the work to the attention.

`python -m lens.organisms.induction` trains it anew and replaces its folder among the `weights`.
"""

from .command import main
from .recipe import FOLDER, Recipe
from .sequences import losses, measure, rows, words
from .training import build, train

__all__ = ["FOLDER", "Recipe", "build", "losses", "main", "measure", "rows", "train", "words"]
