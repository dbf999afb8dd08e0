"""The memory subspace: which weights hold verbatim memory, cutting them out, and putting them back exactly.

>>> mask = lens.subspace.locate(model, memorised, reference, sparsity=0.01)                             # doctest: +SKIP
>>> with lens.edited(model, mask): ...                                                             # doctest: +SKIP
>>> report = lens.subspace.specificity(model, memorised, other, reference)                              # doctest: +SKIP

Everything is over named linear layers (`lens.engine.linear`), so that a language model's feed-forward blocks and a
U-Net's are the same to it.

Sources: Chavhan et al. 2024, Memorized Images in Diffusion Models share a Subspace that can be Located and Deleted;
    Chang, Thomason and Jia 2024, Do Localization Methods Actually Localize Memorized Data in LLMs?; Sun et al. 2024,
    Wanda; Sakarvadia et al. 2025, Mitigating Memorization in Language Models.
"""

from __future__ import annotations

from ..lazy import attributes
from .errors import SubspaceError

#: public name -> module, resolved on first use
_PUBLIC = {
    **dict.fromkeys(("Tokens", "tokens_of", "overlaps", "refuse_overlap", "output_layers"), "data"),
    **dict.fromkeys(("Stats", "statistics"), "activations"),
    **dict.fromkeys(("Mask", "random_like", "chance_iou"), "masks"),
    **dict.fromkeys(("Replacement",), "replacement"),
    **dict.fromkeys(
        ("Scores", "magnitude", "random", "wanda", "contrast", "corrected", "column_z", "activation"), "scores"
    ),
    **dict.fromkeys(("integrated_gradients", "zero_out"), "attribution"),
    **dict.fromkeys(("slimming", "hard_concrete"), "learned"),
    **dict.fromkeys(("subnet", "gradient_ascent"), "baselines"),
    **dict.fromkeys(("Planted", "inject", "recall_at_k"), "planted"),
    **dict.fromkeys(("score", "locate", "METHODS"), "localisation"),
    **dict.fromkeys(("specificity", "label_permutation"), "control"),
    **dict.fromkeys(("Subspace", "generalised", "principal_angles"), "eigen"),
}

__all__ = ["SubspaceError", *_PUBLIC]


__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
