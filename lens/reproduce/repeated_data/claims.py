"""Claims about repeated data: Hernandez et al. 2022, and what was asked of it afterwards."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="Hernandez et al. 2022, abstract; its tables were not reachable",
    rule="Student's t over seeds, arms of a seed compared with each other",
    estimator=(
        "differences of final losses between arms of one seed (same new rows, same weights at the start), Student's t "
        "over seeds; sizes by inversion of Student's t on a ladder of sizes"
    ),
    claims={
        "induction": Claim(
            says="A0 There is a head to lose: {arm} forms one.",
            paper="induction heads in all models without repeats (no number)",
            rule="prefix matching of the best head .3 or more and second copies 1 nat below first ones, in every seed",
            null=0.3,
        ),
        "few": Claim(
            says="A1 Ten repeats are nearly free.",
            paper="no number: repeats of a few times cost little",
            rule="what they cost less a quarter of what leaving the rows out costs is below 0, interval over seeds",
        ),
        "harm": Claim(
            says="A2 {count} repeats do harm beyond the rows that they take the place of ({size} parameters).",
            paper="10 % of the tokens, 100 times: 800M as good as 400M; no line without the repeats",
            rule="text loss above both unique-only trainings, the smaller difference; Holm over counts",
        ),
        "descent": Claim(
            says="A3 Still more repeats than {count} do less harm: a double descent ({size} parameters).",
            paper="a double descent at shares of 50 to 90 % (figures)",
            rule="text loss at a count fixed beforehand above that at the largest, interval over seeds; else a plateau",
        ),
        "memorising": Claim(
            says="A4 Where harm is worst ({count} repeats) the subset is half known by heart.",
            paper="the worst is where the subset's loss goes to 0 (third-party notes)",
            rule="the subset's loss at that count, fixed beforehand, .2 to .8 of that of new rows, interval over seeds",
            margin=(0.2, 0.8),
        ),
        "peak": Claim(
            says="A4 The worst count falls with size.",
            paper="falls as a power of size, exponent -.5 (third-party notes)",
            rule="logarithm of each seed's worst count, smallest less largest size, above 0, interval over seeds",
        ),
        "copying": Claim(
            says="A5 Copying is hit more than loss, as sizes ({count} repeats).",
            paper="3 % repeated: copying up to 3 times smaller, loss 1.15 times (third-party notes)",
            rule="size by loss of second copies below size by text loss, intervals apart; unique-only runs pass A0, and"
            " every seed has a head",
        ),
        "heads": Claim(
            says="A6 So is the head ({count} repeats).",
            paper="prefix matching 32 % lower (third-party notes)",
            rule="size by prefix matching below size by text loss, intervals apart; unique-only runs pass A0, and every"
            " seed has a head",
        ),
        "stopping": Claim(
            says="A7 It is overfitting at the end: an early stop takes half of the harm away.",
            paper="not asked",
            rule="what the best stop saves less half of the harm is above 0, interval over seeds; the stop is chosen on"
            " other rows than it is reported on",
        ),
        "regular": Claim(
            says="A8 {how} takes half of the harm away.",
            paper="named as not tested",
            rule="harm beside its own unique-only training less half of that without is below 0, interval over seeds",
        ),
        "heals": Claim(
            says="Text heals after repeats that come first.",
            paper="not asked",
            rule="text loss, repeats first less mixed, below 0, interval over seeds",
        ),
        "order": Claim(
            says="Repeats keep a head from forming rather than destroy it: where they all come last it is there.",
            paper="not asked",
            rule="prefix matching, repeats last less mixed, above 0, interval over seeds",
        ),
        "text": Claim(
            says="With the text alone repeated {count} times a head forms all the same.",
            paper="not asked",
            rule="prefix matching above .3, interval over seeds",
            null=0.3,
        ),
        "clock": Claim(
            says="When the head comes.",
            paper="not asked",
            rule="reported: steps to prefix matching .3",
        ),
    },
)
