"""The organism `wired`: an induction circuit in two layers, written by hand, so that its edges are known.

Two heads of the first layer copy the token before each one (each does half of it: a redundancy, as trained models have
it); a head of the second looks for the place where the present token stood before, by that copy, and writes down what
stands there (induction heads: Olsson et al. 2022, In-context Learning and Induction Heads, section "Mechanistic view").
All other heads and both MLPs compute at random and write where nothing reads for the answer: what a method says of
their edges is its error. That the truth is known is the idea of InterpBench (Gupta et al. 2024), whose circuits are
trained; here no number was fitted.

`python -m lens.organisms.wired` writes it anew and replaces its folder among the `weights`.
"""

from .command import main
from .pairs import KINDS, measure, pairs, words
from .recipe import FOLDER, Recipe
from .weights import build, edges

__all__ = ["FOLDER", "KINDS", "Recipe", "build", "edges", "main", "measure", "pairs", "words"]
