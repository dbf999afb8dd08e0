"""Claims of Memorized Images in Diffusion Models share a Subspace (Chavhan et al. 2024)."""

from __future__ import annotations

from functools import partial
from math import inf

from ..claims import Claim, Claims

#: Captions are obeyed as before where less of their attributes is lost.
LOSS = 0.05
_GONE = partial(
    Claim,
    "Is it gone? {method} at the dose that removes the copies (rule: `lens.stats.erasure` in each model, each attack "
    "against the twin that never saw the pictures, sign flips)",
)

CLAIMS = Claims(
    source=(
        "output of the authors' notebook (IoU), and later work that checked it (Kowalczuk et al. 2025; Wen et al. 2024)"
    ),
    rule="the interval above 0, and p at most .05 by Holm over the rows that ask the same",
    estimator="over models Student's t; of captions of the same models a nested interval with both levels in it",
    claims={
        "overlap": Claim(
            says=(
                "Masks of disjoint memorised prompt sets overlap far above chance (as published, against the empty "
                "caption)"
            ),
            paper=(
                "mean IoU .556 against the empty caption, .538 against ordinary ones; chance .005 (5 sets of 10 "
                "prompts, 51 steps, 16 layers; computed from the notebook's output)"
            ),
        ),
        "own": Claim(
            says=(
                "Cutting the located weights removes copying of the pictures that they were located on, at +{rise} of "
                "the held-out denoising error"
            ),
            paper=(
                "copies (SSCD above .7) fall from .98 to .00 of the prompts (third-party check, Kowalczuk et al. 2025; "
                "the sparsity is not quoted); image quality by FID not at hand"
            ),
        ),
        "others": Claim(
            says=(
                "A mask of some memorised pictures takes away other memorised pictures, at +{rise} of the held-out "
                "denoising error"
            ),
            paper="the paper's claim of one shared subspace; its table was not at hand",
        ),
        "triggers": Claim(
            says="Masks of two captions of one picture overlap more than masks of captions of two pictures",
            paper="IoU of triggers of one image below .6 in most layers (Kowalczuk et al. 2025)",
        ),
        "own_more": Claim(says="... {method}: more than {control}, at equal cost", paper="not measured at equal cost"),
        "others_more": Claim(says="... {method}: more than {control}, at equal cost", paper="not measured"),
        "duplication": Claim(
            says="Pictures with many copies are copied, those that were there once are not",
            paper="memorised captions of Stable Diffusion are duplicated (Webster 2023)",
        ),
        "codes": Claim(
            says="... and more so where the caption has a code of its own",
            paper="not measured; captions with rare words are named",
        ),
        "told_code": Claim(
            says="Memorised captions are told by the size of the caption's part of the predicted noise",
            paper=(
                "AUC .999, true positives .99 at 1 % false positives in the best setting (Wen et al. 2024, Stable "
                "Diffusion 1.4)"
            ),
        ),
        "told_generic": Claim(says="... also those without a code", paper="not measured"),
        "told_digit": Claim(says="... and digits", paper="not measured"),
        "told_code, seen once": Claim(
            says="... and captions whose picture was there once (the control: words seen, picture not memorised)",
            paper="not measured",
        ),
        "specific": Claim(
            says=(
                "... and the overlap is about memory: sets of pictures seen once overlap less ({method}; {kind} "
                "captions)"
            ),
            paper="no set of prompts that are not memorised was tried",
        ),
        "template": Claim(
            says=(
                "Sets that share a template's words overlap more than sets that do not (as published): shared words "
                "raise the IoU"
            ),
            paper="17 of 50 captions of five published sets share a template (counted)",
        ),
        "as_well": Claim(
            says="{method} removes copying as well as the located mask does ({other}), at equal cost.",
            paper="not tested on diffusion models",
            rule="holds where it removes more",
        ),
        "place": Claim(
            says="Cut one place at a time ({method}, +{rise} of the held-out error): {claim}",
            paper="not measured: every layer was cut at once",
        ),
        "family": Claim(
            says=(
                "Edits at the dose that removes what they were located on take copies of a family that nothing was "
                "located on: {cell}"
            ),
            paper="not tested",
        ),
        "obeyed": Claim(
            says="After the edit captions are obeyed as before: {method} at the dose that removes the copies",
            paper="image quality collapses at 10 % sparsity (Kowalczuk et al. 2025)",
            margin=(-inf, LOSS),
        ),
        "gone_published": _GONE(
            paper=(
                "copies .00 after the cut, .72 after embeddings were optimised; never-memorised pictures .00 "
                "(Kowalczuk et al. 2025)"
            )
        ),
        "gone": _GONE(paper="not tested"),
        "images": Claim(
            says=(
                "{count} pictures ({source}) bring back what {method} took away in fewer steps than they teach it to "
                "the twin that never saw it"
            ),
            paper=(
                "three pairs of pictures made by the original model, 33 with those between, bring a deleted concept of "
                "Stable Diffusion 1.4 back; no twin, no interval (MemoRa 2025)"
            ),
            rule="the interval of the steps saved above 0; else the deletion is not shown to hide",
        ),
    },
)
