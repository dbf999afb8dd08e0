"""What PatchExplorer shows when it is given nothing: pairs that many tokenizers cut into as many tokens."""

from widgets.base.examples import Example

EXAMPLES = (
    Example(
        "who gets the bottle (indirect object)",
        dict(
            clean="When John and Mary went to the shops, John gave the bottle to",
            corrupted="When John and Mary went to the shops, Mary gave the bottle to",
            answer=" Mary",
            foil=" John",
        ),
    ),
    Example(
        "the capital of a country",
        dict(
            clean="The capital of France is the city of",
            corrupted="The capital of Italy is the city of",
            answer=" Paris",
            foil=" Rome",
        ),
    ),
    Example(
        "one or several (subject and verb)",
        dict(
            clean="The keys to the old wooden door",
            corrupted="The key to the old wooden door",
            answer=" are",
            foil=" is",
        ),
    ),
    Example(
        "he or she",
        dict(
            clean="The king sat down because",
            corrupted="The queen sat down because",
            answer=" he",
            foil=" she",
        ),
    ),
)
