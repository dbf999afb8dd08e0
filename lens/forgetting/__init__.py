"""Forgetting: fine-tune a model on one task after another, measure what it can still do, and try the ways to keep it.

>>> start = lens.forgetting.starting_from("organism:symbols")  # doctest: +SKIP
>>> guided = lens.forgetting.sequential(start, stages, probes, "guided", recipe=recipe, guides=guides)  # doctest: +SKIP
>>> lens.forgetting.performance(guided.result), lens.forgetting.change(guided.result)  # doctest: +SKIP
>>> lens.forgetting.recovered(lens.forgetting.recover(guided.model, probe, old_vector, new_vector))  # doctest: +SKIP

Sources: Jiang et al. 2024, Interpretable Catastrophic Forgetting of Large Language Model Fine-tuning via Instruction
    Vector; Jiang et al. 2025 (ICLR), Unlocking the Power of Function Vectors for Characterizing and Mitigating
    Catastrophic Forgetting in Continual Instruction Tuning.
"""

from .cost import step_cost
from .data import KINDS, ForgettingError, Probe, Stage, accuracy, starting_from
from .drift import cosine, overlap, similarity, weight_drift
from .guide import Guide
from .methods import METHODS, Method, method
from .metrics import (
    at_end,
    at_start,
    change,
    compare,
    compare_prompts,
    over_seeds,
    performance,
    signs,
    stability_gap,
)
from .penalties import fisher
from .plans import Plan, Setup
from .recovery import recover, recovered
from .sequence import Sequence, sequential
from .summary import summary

__all__ = [
    "KINDS",
    "METHODS",
    "ForgettingError",
    "Guide",
    "Method",
    "Plan",
    "Probe",
    "Sequence",
    "Setup",
    "Stage",
    "accuracy",
    "at_end",
    "at_start",
    "change",
    "compare",
    "compare_prompts",
    "cosine",
    "fisher",
    "method",
    "over_seeds",
    "overlap",
    "performance",
    "recover",
    "recovered",
    "sequential",
    "signs",
    "similarity",
    "stability_gap",
    "starting_from",
    "step_cost",
    "summary",
    "weight_drift",
]
