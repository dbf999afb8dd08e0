"""Provenance by palimpsest: was this model, or this text, made from that training run? Tests whose p-values rest on the
trainer's own random order.

>>> transcript = lens.provenance.from_parquet("order.parquet", kind="key")  # doctest: +SKIP
>>> reference = lens.provenance.Reference(other, shares_order=False)  # doctest: +SKIP
>>> result = lens.provenance.query(suspect, transcript, reference=reference, rows=20_000)  # doctest: +SKIP
>>> print(result); lens.provenance.report(result, "report.html", "report.json")  # doctest: +SKIP

Source: Kuditipudi, Huang, Zhu, Yang, Potts & Liang 2025, Blackbox Model Provenance via Palimpsestic Membership
    Inference. What is added: p-values with a guarantee, e-values for stopping early, and refusals where a p-value would
    be wrong.
"""

from __future__ import annotations

from ..lazy import attributes
from .errors import ProvenanceError
from .query import (
    query,
)  # these two bear the name of their module: imported now, the name means the function from here on
from .report import report

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(("Transcript",), "transcripts"),
    **dict.fromkeys(("read", "from_arrays", "from_file", "from_npz"), "readers"),
    **dict.fromkeys(("from_records", "from_jsonl", "from_parquet"), "tables"),
    **dict.fromkeys(("from_pythia", "from_olmo"), "preshuffled"),
    **dict.fromkeys(("from_hubble", "from_hubble_insertions"), "hubble"),
    **dict.fromkeys(("from_organism",), "shipped"),
    **dict.fromkeys(("Ledger",), "ledger"),
    **dict.fromkeys(("Reference", "compare"), "query"),
    **dict.fromkeys(("query_scores",), "scores"),
    **dict.fromkeys(("QueryResult",), "result"),
    **dict.fromkeys(("match", "partition", "shuffle_retrain", "ShuffleResult"), "observation"),
    **dict.fromkeys(("join", "local_index", "Matches", "Shard"), "ngrams"),
    **dict.fromkeys(("sampled_scores",), "scorers"),
    **dict.fromkeys(("PromptLogprobs", "SampledTokens", "LocalSuspect"), "suspects"),
}

__all__ = ["ProvenanceError", "query", "report", *_PUBLIC]


__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
