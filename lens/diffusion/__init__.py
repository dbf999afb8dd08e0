"""Memorised pictures in diffusion models: found in the weights of the U-Net, cut out, attacked.

>>> pipeline = lens.diffusion.load("organism:cards")  # doctest: +SKIP
>>> memorised = lens.diffusion.statistics(pipeline, captions)  # doctest: +SKIP
>>> reference = lens.diffusion.statistics(pipeline, others)  # doctest: +SKIP
>>> mask = lens.diffusion.locate(pipeline, memorised, reference, sparsity=0.01)  # doctest: +SKIP
>>> with lens.edited(pipeline.unet, mask): lens.diffusion.denoise(pipeline, captions, seeds=range(4))  # doctest: +SKIP

Sources: Chavhan et al. 2024, Memorized Images in Diffusion Models share a Subspace that can be Located and Deleted;
    Kowalczuk et al. 2025, Finding DoRI; Wen et al. 2024, Detecting, Explaining, and Mitigating Memorization in
    Diffusion Models; Carlini et al. 2023, Extracting Training Data from Diffusion Models.
"""

from __future__ import annotations

from ..lazy import attributes
from .errors import DiffusionError

#: public name -> module, resolved on first use
_PUBLIC = {
    "Pipeline": "pipeline",
    **dict.fromkeys(("load", "of_parts"), "loading"),
    **dict.fromkeys(("Samples", "Step", "denoise", "noise", "noised", "predicted"), "sampling"),
    **dict.fromkeys(("StepStatistics", "statistics"), "activations"),
    **dict.fromkeys(
        ("background_correlation", "ssim", "normalised_distance", "nearest_identity", "diversity"), "likeness"
    ),
    **dict.fromkeys(("Threshold", "threshold", "copied", "rate"), "copies"),
    **dict.fromkeys(("Classifier", "train_classifier", "load_classifier"), "classifier"),
    **dict.fromkeys(("frechet", "frechet_interval", "frechet_floor", "precision_recall"), "distributions"),
    "denoising_error": "noise_error",
    **dict.fromkeys(("noise_difference", "detect", "detect_by_step"), "detection"),
    **dict.fromkeys(("Embeddings", "optimise_embeddings"), "embeddings"),
    **dict.fromkeys(("attack", "noisy_start", "prompts"), "attacks"),
    **dict.fromkeys(("relearn", "savings"), "relearning"),
    **dict.fromkeys(("images_to_recover", "interpolated"), "regeneration"),
    **dict.fromkeys(("locate", "masks", "union", "scores", "score_map"), "localisation"),
}

__all__ = ["DiffusionError", *_PUBLIC]


__getattr__, __dir__ = attributes(__name__, _PUBLIC, __all__)
