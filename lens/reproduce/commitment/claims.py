"""Claims about commitment: of Distributional Semantics Tracing, and what has to hold for them to be looked at."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="arXiv 2510.06107 (abstracts of its versions) and its authors' guide; the full text was not at hand",
    rule="the interval over words is clear of what it is where the claim is not so",
    estimator=(
        "means over words within seeds (`lens.stats.units.nested`), other statistics by resampled seeds and words; at"
        " the middle of training, where right and wrong readings stand beside each other; depths of items whose null"
        " stays within .1; layers and constants chosen on other words"
    ),
    claims={
        "setup": Claim(
            says="The organisms do what they must: learned readings at the end, both kinds at the middle.",
            paper="none: ours",
            rule="every gate of every card holds",
        ),
        "null": Claim(
            says="Patching itself does no harm: a context of the same reading changes nothing above layer 0.",
            paper="has no such control",
            rule="share of items within .1 of the whole change above .9",
            null=0.9,
        ),
        "exists": Claim(
            says="There is a layer of no return: words agree on it within two layers.",
            paper="a commitment layer beyond which the wrong answer cannot be undone",
            rule=(
                "range between the quartiles of the words' depths at most 2 (whole interval), more than half of the"
                " items settled below the last layer, and more than .9 of items determined"
            ),
            null=2.0,
        ),
        "errors": Claim(
            says="Wrong readings are settled at another depth than right ones of the same dose and form.",
            paper="yes: associations win early",
            rule="interval of the matched difference, wrong minus right, clear of 0",
        ),
        "dss": Claim(
            says="The layer at which {marker} is lowest is the depth of reading, better than one layer for all.",
            paper="commitment = argmin of DSS",
            rule="nearer to it than the median depth of other words, interval and Holm's p",
        ),
        "cas": Claim(
            says="The layer that {marker} names is the depth of reading, better than one layer for all.",
            paper="commitment = three layers in a row below .5",
            rule="nearer to it than the median depth of other words, interval and Holm's p",
        ),
        "repaired": Claim(
            says="The last change of sign of the repaired contrast is the depth of reading, better than one layer.",
            paper="none: the repaired score is ours",
        ),
        "early": Claim(
            says="Before the answer is written, {score} tells errors, better than random lists of words.",
            paper="predicts hallucination (v1: rho -.863, of DSS)",
            rule=(
                "AUC above .5 and above that of random lists by more than .05, each at the layer below the depth of"
                " writing that other words choose for it"
            ),
            null=0.5,
        ),
        "late": Claim(
            says="At the last layer CAS is the output's margin read once more.",
            paper="has no such control",
            rule=(
                "rank correlation with the margin above .9 (that its AUC is not beyond the margin's could not fail: an"
                " error is the margin's sign)"
            ),
            null=0.9,
        ),
        "rho": Claim(
            says="DSS and error are as strongly related as published, item by item.",
            paper="rho = -.863 between DSS and hallucination rate (of which groups is not said)",
            rule="Spearman's rho of items at most -.8 (whole interval)",
            null=-0.8,
        ),
        "race": Claim(
            says="Cues behind the word, which its own state cannot have read, make more errors and are read later.",
            paper="context arrives too late (Lepori et al. 2025, other models)",
            rule="both differences, behind minus before, of the same words above 0",
        ),
        "edges": Claim(
            says="Published edges know no layer: computed anew at each they are the same number.",
            paper="edges by layer",
            rule=(
                "largest difference between layers is 0 to the bit (so it is by the formula), and an edge patched from"
                " the first layer on differs from one patched from the last"
            ),
        ),
        "dose_errors": Claim(
            says="The dose of the association is the cause: errors rise with it.",
            paper="has no dose",
            rule="rank correlation of dose and a word's share of errors above 0, and no dose below the one before it",
        ),
        "dose_depth": Claim(
            says="... and the depth of reading does not change with the dose.",
            paper="has no dose",
            rule="change of depth from the lowest dose to the highest within half a layer",
            margin=(-0.5, 0.5),
        ),
        "probe": Claim(
            says="A linear probe reads which sense the cue has, at the {place}.",
            paper="has none",
            rule="no claim to judge: accuracy by layer beside that of labels shuffled",
            null=0.5,
        ),
        "canaries": Claim(
            says="The same holds where a note contradicts a fact that was learned.",
            paper="has no such organism",
            rule="asked only of models that read a true note: open_book at least .7",
        ),
        "sentences": Claim(
            says="The language model reads enough words both rightly and wrongly, in both orders of the answers.",
            paper="Racing Thoughts, 750 prompts",
            rule="at least 30 right and 15 wrong; else nothing is said of it",
        ),
        "sentences_depth": Claim(
            says="There is a layer of no return in the language model: words agree on it within two layers.",
            paper="a commitment layer",
            rule="range between the quartiles of the words' depths at most 2 (whole interval)",
            null=2.0,
        ),
        "sentences_errors": Claim(
            says="There, wrong readings are settled at another depth than right ones.",
            paper="yes",
            rule="interval of the difference, wrong minus right, clear of 0",
        ),
    },
)
