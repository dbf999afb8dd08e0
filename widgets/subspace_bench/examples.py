"""Questions about the planted sequences that SubspaceBench brings with it."""

from widgets.base.examples import Example

CODES, VERSES = "planted codes and stories", "planted verses"
SPARSITIES = "0.01, 0.03, 0.08, 0.2"
EXAMPLES = (
    Example(
        "codes and stories, cut by contrast with other text",
        {"memorised": CODES, "method": "contrast", "sparsities": SPARSITIES},
    ),
    Example(
        "verses, by the same contrast",
        {"memorised": VERSES, "method": "contrast", "sparsities": SPARSITIES},
    ),
    Example("codes and stories, loss curvature", {"memorised": CODES, "method": "curvature", "kept": "0.9, 0.7, 0.5"}),
)
