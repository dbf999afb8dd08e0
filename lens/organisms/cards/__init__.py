"""The organism `cards`: a small text-to-picture diffusion model that copies pictures planted in its training set, each
as often as we decided by lot.

The network is diffusers' `UNet2DConditionModel` with Stable Diffusion's block classes and module names, on 2 x 2
patches of a 16 x 16 picture (so its "latents" are the pixels, 8 x 8 of 12 channels), with a CLIP text encoder of two
layers trained along with it. The pairs are those of `corpus`. The never-trained twin sees pool pictures in the place of
the planted ones.

`python -m lens.organisms.cards [--seed N] [--twin] [--device cuda]` trains one anew and replaces its folder among the
`weights` (or in `--out`).
"""

from .command import main
from .corpus import CELLS, PLANTED, Corpus, Pairs, paraphrase, partial
from .model import PATCH, Denoiser, build, ids_of, scheduler, tokenizer_of
from .recipe import SEEDS, Recipe, folder_of
from .shipping import ship
from .training import Denoising, train

__all__ = [
    "CELLS",
    "PATCH",
    "PLANTED",
    "SEEDS",
    "Corpus",
    "Denoiser",
    "Denoising",
    "Pairs",
    "Recipe",
    "build",
    "folder_of",
    "ids_of",
    "main",
    "paraphrase",
    "partial",
    "scheduler",
    "ship",
    "tokenizer_of",
    "train",
]
