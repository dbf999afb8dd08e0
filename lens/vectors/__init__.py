"""Instruction and function vectors: which heads carry what a prompt asks for, the vector that they add up to, and what
it steers.

>>> effects = lens.vectors.head_effects(model, "present_past")                                          # doctest: +SKIP
>>> vector = lens.vectors.extract(model, "present_past", effects=effects)                               # doctest: +SKIP
>>> scores = lens.vectors.evaluate(model, "present_past", vector, layers="all", split="valid")          # doctest: +SKIP

Sources: Todd et al. 2024, Function Vectors in Large Language Models; Jiang et al. 2024, Interpretable Catastrophic
    Forgetting of Large Language Model Fine-tuning via Instruction Vector.
"""

from __future__ import annotations

from ..lazy import attributes
from .errors import VectorError

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(("ChatTemplate", "Template", "TEMPLATES", "as_template"), "templates"),
    **dict.fromkeys(("Task", "load_task", "task_names"), "tasks"),
    **dict.fromkeys(("TaskPrompt", "build", "answered", "as_task"), "prompts"),
    **dict.fromkeys(("Means", "mean_activations"), "means"),
    **dict.fromkeys(("head_effects", "task_means"), "mediation"),
    **dict.fromkeys(("summary", "top_heads", "universal", "overlap", "agreement"), "heads"),
    **dict.fromkeys(("Vector", "LayerVectors", "load_vector", "random_like"), "vector"),
    **dict.fromkeys(("extract", "layer_average"), "extraction"),
    "evaluate": "evaluation",
    **dict.fromkeys(("choose", "report"), "selection"),
    **dict.fromkeys(("head_count_curve", "portability"), "curves"),
    **dict.fromkeys(("generate", "Generated"), "generation"),
    "written": "writing",
    **dict.fromkeys(("contrast",), "steering"),
    **dict.fromkeys(("fire_rates", "gate_rivals"), "gating"),
    **dict.fromkeys(("trajectories", "place"), "centroids"),
    **dict.fromkeys(
        ("ThoughtTypes", "thought_segments", "thought_vector", "thought_edit", "thought_rivals"), "thoughts"
    ),
    **dict.fromkeys(("thought_lengths", "equal_length"), "lengths"),
}

__all__ = ["VectorError", *_PUBLIC]


__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
