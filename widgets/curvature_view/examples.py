"""Bands of the planted sequences' spectrum that CurvatureView brings with it."""

from widgets.base.examples import Example

EXAMPLES = (
    Example("the bottom half, in all layers", {"everywhere": True, "low": 0.5, "high": 1.0}),
    Example("the top tenth, in all layers", {"everywhere": True, "low": 0.0, "high": 0.1}),
    Example("the bottom half of one layer", {"everywhere": False, "low": 0.5, "high": 1.0}),
)
