"""Cotangents of many read-outs carried up the layers over a recorded base run: gradients without a graph of the model.

>>> reverse = Reverse(runs)                                                   # doctest: +SKIP
>>> for step in reverse.layers(reverse.cotangents(score), sites=("q",)):      # doctest: +SKIP
...     step.into("q")
"""

from .rules import GIM, ReverseError, Rules
from .run import Reverse, Step

__all__ = ["GIM", "Reverse", "ReverseError", "Rules", "Step"]
