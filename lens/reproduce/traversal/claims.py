"""Claims about reinforcement and the walk through what is known, of the paper and of its sceptics."""

from __future__ import annotations

from ..claims import Claim, Claims

#: Within which two accuracies, or what a patch does to a statement, count as equal.
EQUAL, UNTOUCHED = 0.05, 0.1

CLAIMS = Claims(
    source="arXiv 2511.05933: the abstract; other figures by reading notes of others, and so in kind only",
    rule="the interval of the difference above 0",
    estimator=(
        "means over reported leaves (exact bounds of right and wrong answers, else Student's t and studentized"
        " bootstrap, the wider); with several bases the wider of Student's t over them and the leaves within"
        " (`lens.stats.units.nested`)"
    ),
    claims={
        "setup": Claim(
            says="Every checkpoint knows single edges and codes as its base does (C0).",
            paper="not tested",
            rule="all gates of the bases hold, and no share of single facts lies more than .03 below the base's",
            null=-0.03,
        ),
        "depth": Claim(
            says="Reinforced for right answers, a model answers deep questions better than supervised on answers (C1).",
            paper="24 points over the supervised relative (medical codes)",
            rule="difference of most likely answers at least .10",
            null=0.10,
        ),
        "forced": Claim(
            says="A prompt that makes both walk closes most of that gap (C2).",
            paper="from 24 to 7 points",
            rule=(
                "at the first look at which tuned answers reach .99: the free gap above 0, and the gap of forced walks"
                " minus half of it below 0"
            ),
        ),
        "deeper": Claim(
            says="The gap of path matching grows with depth (C3).",
            paper="from 5 to 9 points from light to heavy questions",
            rule="the gap of a forced walk matched to the top, minus that matched for one edge, above 0",
        ),
        "walk": Claim(
            says="It is the walk, not reinforcement: supervised on walks a model does as well, {updates} updates (C4).",
            paper="not tested",
            rule="the interval of the difference of sampled answers within .05, at every look",
            margin=(-EQUAL, EQUAL),
        ),
        "form": Claim(
            says="The reward for right answers matters: one for the mere form of a walk does less (C5).",
            paper="not tested",
            rule="difference of sampled answers above .05",
            null=EQUAL,
        ),
        "coin": Claim(
            says="Reinforced by chance, at a hundred times the price for leaving its base, a model stays it (C5).",
            paper="not tested",
            rule="the interval of the difference of sampled answers within .05",
            margin=(-EQUAL, EQUAL),
        ),
        "cosine": Claim(
            says="States of statements stay alike between {one} and {other}, those of questions part (C6).",
            paper="cosines .85 to .92 of statements, .65 to .73 of questions, middle layers, of 32B models",
            rule="raw cosine at the last token, statements minus questions, above 0",
        ),
        "matched": Claim(
            says="... and so they do at one token, in prompts of one length without an answer, beyond the floor (C7).",
            paper="no floor, and prompts that differ in length, last token and answer",
            rule="centred cosine minus that of two runs of one recipe, statements minus questions, above 0",
        ),
        "cause": Claim(
            says="The reinforced code's state makes the supervised model take the first step of the walk (C8).",
            paper="no intervention",
            rule="log-odds raised by more than by another run's state and by more than by another prompt's",
        ),
        "untouched": Claim(
            says="The same state changes nothing of what a statement says (C9).",
            paper="no intervention",
            rule="the interval of the effect beyond another run's state within .1 nats of log-probability",
            margin=(-UNTOUCHED, UNTOUCHED),
        ),
        "plain": Claim(
            says="It is no string work: so it is with codes that say nothing of the path (C10).",
            paper="codes whose digits spell the path",
            rule="C1 of plain codes; every code here is a single token drawn at random, so that it is C1 once more",
            null=0.10,
        ),
        "there": Claim(
            says="Right answers were among the base's own draws before.",
            paper="not tested",
            rule="no claim to judge: at least one right of k draws",
        ),
        "room": Claim(
            says="Filler as long as a walk does what a walk does.",
            paper="not tested",
            rule="no claim to judge: `say` behind filler, and behind a forced walk",
        ),
    },
)
