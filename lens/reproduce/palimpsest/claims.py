"""Claims of Blackbox Model Provenance via Palimpsestic Membership Inference (Kuditipudi et al. 2025)."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source=(
        "abstract, and the authors' repository (notebooks, README), as read; the full table of p-values was not seen"
    ),
    rule=(
        "detected: guaranteed p at most .01 after Holm over all suspects of that Alice; effects: their interval clear "
        "of 0"
    ),
    estimator="mean over Alices with Student's t interval; the Alice is the unit",
    claims={
        "order": Claim(
            says=(
                "A model's losses of its training rows fall with their position, and the order alone proves it (query "
                "test with a reference)"
            ),
            paper="rho -.078, published p 2e-134 on 100,000 rows (Pythia 6.9b deduped against 6.9b)",
        ),
        "reference": Claim(
            says="A reference is essential: without one the differences between rows drown the trace",
            paper="p .21 without, 8e-20 with the same model on other-order data (10,000 rows)",
        ),
        "best_reference": Claim(
            says="The best reference is of the same size, on the same data in another order",
            paper="p 8e-20 (same data) against .008 to 3.4e-4 (other families), monotone in size",
        ),
        "ways": Claim(
            says=(
                "How the reference is used (regression on it, two references) matters little for validity and somewhat "
                "for power"
            ),
            paper="degree-4 polynomial is one of the released options; no comparison quoted",
        ),
        "derived": Claim(
            says="Models made from Alice are recognised: tuned, adapted, merged, rounded, pruned, trained on",
            paper="p at most about 1e-8 for all but six of more than 40 fine-tunes",
        ),
        "tuning": Claim(
            says="The trace survives fine-tuning, and fades as tuning grows",
            paper="survives supervised fine-tuning (no dose quoted)",
        ),
        "residual": Claim(
            says="The residual of a degree-4 polynomial in the reference's loss sees more than the difference",
            paper="one of the released options, used for distillation; no comparison quoted",
        ),
        "innocent": Claim(
            says="Models that never saw the order are not flagged", paper="p .915 for an independent model (figure 1)"
        ),
        "trap": Claim(
            says="Trap: a reference that was trained in Alice's order makes an innocent suspect look related",
            paper="the published averages mix such references in",
        ),
        "sister": Claim(
            says=(
                "What is found is the order, not the weights: a model of another size, trained from its own start in "
                "Alice's order, is flagged too"
            ),
            paper="not separated in the paper's wording; all Pythia sizes share one order",
        ),
        "end_rate": Claim(
            says="The learning rate at the end decides how well the order is seen: less where it decays to 0",
            paper="Pythia decays to 10 %; no arm to 0 quoted",
        ),
        "end_depth": Claim(
            says="The learning rate at the end decides how deep the last rows' trace is: shallower where it decays",
            paper="not separated in the paper",
        ),
        "averaging": Claim(says="Averaging weights with an innocent model (not in the paper)", paper="not measured"),
        "distilled_soft": Claim(
            says="Distillation leaves a weak trace: {writer}, who never sees her rows",
            paper="rho -.015, p 7e-4 at 50,000 rows",
        ),
        "distilled_samples": Claim(
            says="Distillation leaves a weak trace: {writer}, who never sees her rows",
            paper="rho -.030, p .0025 at 10,000 rows",
        ),
        "epochs": Claim(
            says="With two epochs the order of the last one is remembered better",
            paper="ten epochs, epoch's own order: rho -.165 at n = 10,000",
        ),
        "fewer_rows": Claim(
            says="A part of the rows is enough, chosen without looking at the order",
            paper="p .005 at 500, 5e-5 at 1,000, 5e-15 at 6,000 rows (read off a notebook)",
        ),
        "stopping": Claim(
            says="One may ask row after row and stop when convinced (not in the paper)", paper="not measured"
        ),
        "text": Claim(
            says="Text alone tells: it fits the true order better than models whose last tenth was reshuffled",
            paper="nominal p down to 1e-83 with m = 9, whose rank p cannot fall below .1",
        ),
        "temperature": Claim(
            says="Temperature of the text matters: best near .9, gone from 1.2",
            paper="p 1e-13 at T about .9, 1e-5 at 0, none from 1.2 (3,200 tokens)",
        ),
        "innocent_text": Claim(
            says="An innocent writer's text does not fit the true order better",
            paper="the published null study varies only the sampled text",
        ),
        "partition": Claim(
            says="Text alone tells, partition form: its n-grams match late rows more",
            paper="works from several hundred thousand tokens",
        ),
    },
)
