"""Memorization: how much of its training text a model recites, how that is measured, what an edit costs, and whether
the memory is really gone.

>>> planted = lens.memorization.Sequences(ids, prefix=32, duplicates=counts)  # doctest: +SKIP
>>> lens.memorization.extraction_summary(lens.memorization.extract(model, planted))  # doctest: +SKIP
>>> lens.memorization.by_duplicates(model, planted).auc  # doctest: +SKIP
>>> cost = lens.memorization.damage(model, mask, texts, tasks); lens.memorization.damage_summary(cost)  # doctest: +SKIP
>>> print(lens.memorization.is_it_gone(model, mask, planted, others=others, clean=texts, twin=twin))  # doctest: +SKIP

Sources: Carlini et al. 2019 (exposure) and 2021 (extraction); Orhan 2023 (recognition, recall, retention); Merullo et
    al. 2025, From Memorization to Reasoning in the Spectrum of Loss Curvature (strict and loose recitation, nDCG,
    stretched prefixes); Hernandez et al. 2022 (copying, prefix matching).
"""

from .attacks import stretch, variants
from .curves import recall, recognition, recognition_summary, retention, scrambled
from .damage import compared, damage, damage_summary, edited
from .distances import levenshtein, ndcg, rouge_l
from .errors import MemorizationError
from .exposure import by_duplicates, exposure, exposure_summary, losses, membership_scores
from .extraction import extract, extraction_summary, find_recited
from .hubble import gain_over_twin, hubble_items
from .performance import performance, prefix_matching
from .pooling import pool
from .relearning import relearning, relearning_summary, savings
from .sequences import Overlap, Sequences, disjoint
from .tables import summary
from .tradeoff import matched, tradeoff, tradeoff_summary
from .verdict import Attack, Verdict, is_it_gone, verdict

__all__ = [
    "Attack",
    "MemorizationError",
    "Overlap",
    "Sequences",
    "Verdict",
    "by_duplicates",
    "compared",
    "damage",
    "damage_summary",
    "disjoint",
    "edited",
    "exposure",
    "exposure_summary",
    "extract",
    "extraction_summary",
    "find_recited",
    "gain_over_twin",
    "hubble_items",
    "is_it_gone",
    "levenshtein",
    "losses",
    "matched",
    "membership_scores",
    "ndcg",
    "performance",
    "pool",
    "prefix_matching",
    "recall",
    "recognition",
    "recognition_summary",
    "relearning",
    "relearning_summary",
    "retention",
    "rouge_l",
    "savings",
    "scrambled",
    "stretch",
    "summary",
    "tradeoff",
    "tradeoff_summary",
    "variants",
    "verdict",
]
