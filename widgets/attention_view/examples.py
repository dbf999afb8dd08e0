"""Texts that AttentionView shows when it is given none."""

from widgets.base.examples import Example

EXAMPLES = (
    Example("words that come again (induction)", {"text": "The cat sat on the mat. I saw that the cat sat on the"}),
    Example("two names", {"text": "When John and Mary went to the shops, John gave the bottle to"}),
    Example("what “it” is", {"text": "The trophy did not fit into the suitcase because it was too big"}),
    Example("a program", {"text": "def area(width, height):\n    return width * height"}),
)
