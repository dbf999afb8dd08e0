"""Claims of From Memorization to Reasoning in the Spectrum of Loss Curvature (Merullo et al. 2025)."""

from __future__ import annotations

from functools import partial
from math import inf

from ..claims import Claim, Claims
from .bench import RISE

#: where methods are compared
AT = f"at +{RISE:g} nats"
#: rules of several claims
_LESS = f"strict of K-FAC minus theirs on val {AT} below 0, interval clear of 0, against every one"
_APART = f"the interval of the difference of strict {AT}"
_GONE = partial(
    Claim,
    f"Is it gone after {{method}} {AT}?",
    rule=(
        "`lens.memorization.verdict` in each run, each attack against the twin that never had it, exact or Monte Carlo "
        "sign flips"
    ),
)

CLAIMS = Claims(
    source="text of the paper (OLMo-2 of 1 and 7 billion parameters, edited in three layers), compared in kind only",
    rule="as it stands in the row; written before the first full run",
    estimator="mean over training runs with Student's t interval; recitation with its sequences within runs in it too",
    claims={
        "decay": Claim(
            says="Stronger weight decay sharpens the split between the bands", paper="says so (no number quoted)"
        ),
        "spectrum": Claim(
            says="Memorised text leans on directions of low curvature, clean text on those of high curvature.",
            paper="7B, input of layer 22: top tenth 26 % stronger on clean, bottom half 23.1 % stronger on memorised",
            rule=(
                "memorised over clean below 1 in the top tenth of the inputs' eigenvectors and above 1 in the bottom "
                "half, both intervals clear of 1"
            ),
            null=1.0,
        ),
        "singular": Claim(
            says="Singular vectors lack that ordering.",
            paper="SVD lacks it (no number quoted; random bases are not reported)",
            rule=(
                "bottom over top of the eigenvectors exceeds that of singular vectors and of random bases, both "
                "intervals above 0"
            ),
        ),
        "removal": Claim(
            says="Keeping the coefficients of most curvature mass removes recitation that no choice was made on.",
            paper=(
                "7B: strict 99.9 to 3.4 %, loose 100 to 8.8 %, AvgLev .002 to .704, perplexity 19.04 to 22.84 (x 1.20)"
            ),
            rule=f"upper bound of strict on val at most .10 {AT}; in part below .50",
            null=0.1,
        ),
        "verse": Claim(
            says="The edit carries over to memorised text of another kind.",
            paper="quotes: strict 99.9 to 16.1 % (7B), 98.5 to 27.7 % (1B)",
            rule=f"upper bound of strict on verse at most .30 {AT}; in part below .50",
            null=0.3,
        ),
        "plausible": Claim(
            says="Memory that looks like ordinary text is harder to cut out than random codes (not in the paper).",
            paper="not reported",
            rule="loose recitation of code minus plausible below 0",
        ),
        "directions": Claim(
            says="It is the curvature's directions and not the amount removed: random orthogonal bases do less.",
            paper="the baseline is in the code and not reported",
            rule=_LESS,
        ),
        "both_sides": Claim(
            says="Both sides are needed: a principal component cut of inputs or of gradients alone does less.",
            paper="not reported",
            rule=_LESS,
        ),
        "bottom": Claim(
            says="Keeping the bottom of the spectrum, or the largest weights, does less.",
            paper="not reported",
            rule=_LESS,
        ),
        "balanced_subnet": Claim(
            says=(
                "BalancedSubnet, which is shown memorised text, does as well on its own kinds and transfers worse to "
                "another than K-FAC."
            ),
            paper=(
                "own kind: strict BSN 6.0, K-FAC 3.4 % (7B), 3.0, 2.8 % (1B); quotes: 60.0 against 16.1 %, 57.0 "
                "against 27.7 %"
            ),
            rule=(
                "the upper bound of its strict minus K-FAC's is below .10 on val, and the difference is above 0 on "
                "verse"
            ),
            margin=(-inf, 0.1),
        ),
        "reasoning": Claim(
            says=f"Arithmetic and closed-book facts lose more than open-book questions and copying {AT}.",
            paper=(
                "share kept, 7B: mathematics 66-74 %, closed-book 74-86 %, open-book 93-99 %, logic 95-106 %, "
                "memorised 3-16 %"
            ),
            rule="kept share minus kept share below 0 in every pair, in seeds that do both",
        ),
        "ranking": Claim(
            says=(
                "The ranking of next tokens (nDCG@10 to the unedited model) moves less under BalancedSubnet than under "
                "K-FAC."
            ),
            paper="BSN .97, K-FAC .91, SVD .91",
            rule="difference above 0",
        ),
        "duplicates": Claim(
            says="The more duplicates, the more is extracted.",
            paper="not varied in the paper (memorised text is found, not planted)",
            rule=(
                "strict never falls with duplicates, and the last count's exact interval lies above the first's, in "
                "every run and kind"
            ),
        ),
        "membership": Claim(
            says="After the edit it can still be told what was in the data.",
            paper="not tested",
            rule=(
                "AUC of the loss against never-planted foils above .5 in every run, and Holm-corrected p at most .05 "
                "(labels permuted within runs: which sequences were planted was drawn by lot), at every count from 64 "
                f"on {AT}"
            ),
        ),
        "svd_close": Claim(
            says="Singular values, their layers chosen as K-FAC's were, come close on the kinds that were chosen on.",
            paper="strict SVD 3.0, K-FAC 3.4 % (7B); 3.2, 2.8 % (1B)",
            rule=(
                "the interval of the difference of strict on val lies within .10; does not hold where it lies outside "
                "0 and beyond .10 on one side"
            ),
            margin=(-0.1, 0.1),
        ),
        "svd_verse": Claim(
            says="On memorised text of another kind K-FAC removes more than singular values.",
            paper="quotes: K-FAC 16.1, SVD 17.5 % (7B); 27.7, 39.6 % (1B)",
            rule="difference of strict on verse below 0",
        ),
        "rare": Claim(
            says="Rare facts lose more than frequent ones.",
            paper="rarer relations drop more (company and its head: -78 %)",
            rule="kept share of facts seen {few} times minus that of facts seen {many} times below 0",
        ),
        "retention_random": Claim(
            says=(
                "What K-FAC takes from arithmetic and facts is more than random bases take at the same clean loss (not "
                "in the paper; this row was added after the first run)."
            ),
            paper="not tested",
            rule="kept under K-FAC minus kept under random bases below 0 for both",
        ),
        "gone_K-FAC": _GONE(
            paper="resurfacing is conceded, not tested; longest match under stretched prefixes 6.6 to 13.3 tokens"
        ),
        "gone_BalancedSubnet": _GONE(paper="longest match 4.6 to 9.8 tokens"),
        "gone_SVD": _GONE(paper="longest match 6.3 to 12.8 tokens"),
        "gone": _GONE(paper="not tested"),
        "comes_back": Claim(
            says="What BalancedSubnet hides comes back more easily than what K-FAC removes (not in the paper).",
            paper="not tested",
            rule="recited after training on clean text, BSN minus K-FAC, above 0",
        ),
        "labels": Claim(
            says=(
                "Labels of the text (as the code has it) in place of the model's (as the paper says) (no direction "
                "expected)."
            ),
            paper="not compared",
            rule=_APART,
        ),
        "ekfac": Claim(
            says="Second moments of EKFAC in place of the product (no direction expected).",
            paper="not compared",
            rule=_APART,
        ),
        "natural_mix": Claim(
            says=(
                "Statistics over the training's own mix, canaries in it, in place of clean text (no direction "
                "expected)."
            ),
            paper="not compared",
            rule=_APART,
        ),
    },
)
