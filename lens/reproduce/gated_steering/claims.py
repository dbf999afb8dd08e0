"""Claims of SafeConstellations and SEAL, and what has to hold for them to mean what they say."""

from __future__ import annotations

from ..claims import Claim, Claims

_SAFE, _SEAL = "arXiv 2508.11290, by reading notes of others", "arXiv 2504.07986, by reading notes of others"

CLAIMS = Claims(
    source="SafeConstellations (arXiv 2508.11290), SEAL (arXiv 2504.07986), by reading notes of others; other models",
    rule="the interval of the difference above 0",
    estimator=(
        "shares over prompts of the part that chose nothing; intervals by bootstrap over sets of sharp words (problems "
        "of the reasoner), with organisms as outer unit where there are several; area: mean over prices (shares of "
        "disguised refusals lost) up to .3 of the share of over-refused lists answered right, at the size worth "
        "most on the part that chooses; what costs more is taken for so many prompts as cost the price"
    ),
    claims={
        "G0": Claim(
            says="The organisms are what they should be, and texts of a batch are those written one by one.",
            paper="steered texts were drawn at temperature .8, unsteered ones taken greedily",
            rule="all gates of their cards hold, and every text is the same",
        ),
        "G1": Claim(
            says="As published, steering halves over-refusal, and what it cures is answered right.",
            paper="over-refusal 17.77 to 4.81 % (Llama-3.1-8B), 8.15 to 2.96 % (Qwen1.5-7B)",
            source=_SAFE,
            rule="cured at least half, and right answers at least .8 of the cured, both lower ends",
            null=0.5,
        ),
        "G2": Claim(
            says="{arm}: without price. Real refusals stay, and tasks that were never refused stay right.",
            paper="MMLU 46.57 before and after, where the gate fired on none of 101 items",
            source=_SAFE,
            rule="disguised and bare real refusals lost within .03, other tasks within .01, intervals inside",
            margin=(-0.03, 0.03),
        ),
        "G3": Claim(
            says="Centroids of the test items cure more than those of other items.",
            paper="centroids came from the 270 items that were evaluated",
            source=_SAFE,
            rule="difference of cured shares above 0",
        ),
        "G4": Claim(
            says="Each task needs its own direction.",
            paper="without trajectories 6.64 % against 4.81 %: flags that no code reads",
            source=_SAFE,
            rule="area of the task's direction minus that of the global one, both gated, above .02",
            null=0.02,
        ),
        "G5": Claim(
            says="The gate ({gate}) is worth it, against {rival}.",
            paper="no such control",
            rule="area with the gate minus area without, or with a random gate of equal rate, above .05",
            null=0.05,
        ),
        "G6": Claim(
            says="Steering beats a bias on the logit of the refusal.",
            paper="no such control",
            rule="area of the gated direction minus that of the bias above 0",
        ),
        "G7": Claim(
            says="It is the direction, not the push.",
            paper="no such control",
            rule="cured by a random direction of equal norm below .2 of what the direction cures, upper end",
            null=0.0,
        ),
        "G8": Claim(
            says="It carries over to sharp words that no planted list had.",
            paper="no such control",
            rule="cured share of such lists minus .7 of that of seen words above 0",
        ),
        "S1": Claim(
            says="{model} reasoner: the thought vector shortens reasoning.",
            paper="tokens -11.8 to -50.4 %; 4,526 to 3,154 (-30.3 %) on MATH-500",
            source=_SEAL,
            rule="tokens at least 10 % fewer, and the finished share not lower by .02, both intervals",
            null=0.1,
        ),
        "S2": Claim(
            says="{model} reasoner: ... and improves it.",
            paper="67.0 to 78.0 % on MATH-500 (1.5 B)",
            source=_SEAL,
            rule="difference of accuracy without a cap above 0",
        ),
        "S3": Claim(
            says="{model} reasoner: more than a penalty on the words does at the same length.",
            paper="no such control",
            rule="accuracy minus that of length penalties at equal mean length above 0",
        ),
        "S4": Claim(
            says="{model} reasoner: it spares reflections that repair.",
            paper="no such control",
            rule="relative fall of idle reflections minus that of repairing ones above 0",
        ),
        "S5": Claim(
            says="{model} reasoner: the types matter.",
            paper="of 541 keyword boundaries 93.3 % do not hold when sampled again (arXiv 2604.02113)",
            rule="tokens saved minus those of shuffled types above 0, and types by words save at least .9 as many",
        ),
    },
)
