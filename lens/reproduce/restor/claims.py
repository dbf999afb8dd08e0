"""Claims of RESTOR, of what its code does, and of the sceptic who says that unlearning removes a mask."""

from __future__ import annotations

from ..claims import Claim, Claims

#: Forget losses up to which the released NPO is compared with gradient ascent, nats a token.
BRAKE = 6.0
#: How far two arms may be apart that are said to be one.
ALIKE = 0.05

#: How far KL to the twin may rise on other questions and count as no rise, nats.
RISE = 0.05

CLAIMS = Claims(
    source=(
        "Rezaei et al. 2024 (RESTOR, arXiv 2411.00204), abstract, and the released code (k1rezaei/restor); the tables"
        " of the full text were not at hand, so that no number of the paper stands here"
    ),
    rule=(
        "the interval over people is clear of what the value is where the claim is not so; set up where know and"
        " transfer hold, else not tested; the cell of the first adapter, dose and k where no other is named"
    ),
    estimator=(
        "R = (right - right at the start) / (right of the clean model - right at the start) over the reported"
        " people's attacked questions, linearised by person; people within seeds, seeds the outer unit; rates and"
        " looks are chosen on other people"
    ),
    claims={
        "R0": Claim(
            says="R0. False statements reach the questions: what is stated of people without questions is answered,"
            " and a large dose plants",
            paper="not reported",
            rule="the organism's gates hold, and at the largest dose planted >= .85 and right <= .15 of the reported"
            " questions",
        ),
        "R1": Claim(
            says="R1. NPO as released is gradient ascent: at equal loss on the documents it restores and keeps as much",
            paper="the released code takes one ratio of a batch's mean loss (unlearning/unlearn/NPO.py)",
            rule=f"at losses below {BRAKE:g} nats a token both differences lie within {ALIKE}, the first is R's",
            margin=(-ALIKE, ALIKE),
        ),
        "R2": Claim(
            says="R2. NPO restores where gradient ascent does not, {reading}",
            paper="NPO often restores, gradient ascent and KL do not (abstract)",
            rule="R of NPO over sequences minus R of gradient ascent (both with the retain term), lower end above .10",
            null=0.10,
        ),
        "R3": Claim(
            says="R3. Harmless training restores: the retain set alone, with no term of forgetting, does half as much"
            " as the best method",
            paper="no such control",
            rule="R of the retain set alone minus .5 R of the best arm at least 0, and minus .25 R of it with its lower"
            " end above 0",
        ),
        "R4": Claim(
            says="R4. Documents with fewer unrelated facts are restored better",
            paper="says so (abstract)",
            rule="R at the fewest minus R at the most, of the best arm",
        ),
        "R5": Claim(
            says="R5. The clean model's confidence tells which facts come back",
            paper="says so (a third party's digest)",
            rule="area under the curve above .5, over facts that the clean model knew and the corrupted one had lost",
            null=0.5,
        ),
        "R6": Claim(
            says="R6. It is unmasking: the right answer's rank in the corrupted model tells it better, and what stands"
            " low does not come back",
            paper="not asked",
            rule="area of the rank minus area of the confidence above 0, and R of facts of rank above 5 below .2, over"
            " the same facts",
        ),
        "R7": Claim(
            says="R7. The unlearned model is like one that read true documents",
            paper="not asked",
            rule=f"KL of the twin to the model on attacked questions minus half of the start's below 0, and a rise"
            f" on the others of at most {RISE}",
        ),
        "R8": Claim(
            says="R8. The planted statements are gone ({arm})",
            paper="not asked",
            rule="no attack brings back more than in the twin, by the rule of lens.stats.erasure",
        ),
        "R9": Claim(
            says="R9. The corruption is bound to its format ({variant}): planted more in statements than in questions",
            paper="not asked",
        ),
    },
)
