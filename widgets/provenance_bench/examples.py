"""What ProvenanceBench shows when it is given nothing: the organisms of the family `palimpsest`."""

from __future__ import annotations

from typing import Any

from lens import provenance
from widgets.base.examples import Example

SUSPECTS = ("palimpsest", "palimpsest-tuned", "palimpsest-innocent")
#: Python that makes what the view is given
SOURCE = """from widgets.provenance_bench.examples import planted

suspects, transcripts, references = planted()"""
EXAMPLES = (
    Example("a model tuned from the one that read these rows", {"suspect": "palimpsest-tuned", "rule": "e"}),
    Example("the model that read these rows itself", {"suspect": "palimpsest", "rule": "e"}),
    Example("an innocent model", {"suspect": "palimpsest-innocent", "rule": "n"}),
)


def planted() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Suspects, the transcript of the first, and a model that read the same rows in another order; by name."""
    transcript = provenance.from_organism("palimpsest")
    return (
        {name: f"organism:{name}" for name in SUSPECTS},
        {transcript.name: transcript},
        {"palimpsest-reference": provenance.Reference("organism:palimpsest-reference", shares_order=False)},
    )
