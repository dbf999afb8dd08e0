"""Claims of Unforgettable Generalization in Language Models (Zhang, Choshen & Andreas 2024), and what its design leaves
open; all bounds were set before any run.
"""

from __future__ import annotations

from ..claims import Claim, Claims

UNREAD = "only the abstract was at hand; it has no number"

CLAIMS = Claims(
    source="the abstract (arXiv 2409.02228); the paper's tables were not at hand",
    rule="the interval above 0",
    estimator=(
        "G, the share of an ability lost on unseen items over the share lost on the items trained on, at the stop, "
        "where at least .9 of it is lost there (fixed answers: .95 of them given); units are tasks within models, "
        "intervals hold both levels (`lens.stats.units.nested`)"
    ),
    claims={
        "right": Claim(
            says="The models know their tasks, and training on right answers moves none of them",
            paper="no such control in the abstract",
            rule="every gate of the models holds, and every task is within .03 of what it was",
            margin=(-0.03, 0.03),
        ),
        "forgotten": Claim(
            says="Training on drawn answers brings the items that are trained on near chance",
            paper=UNREAD,
            rule="the stop is reached in at least .8 of the runs",
            null=0.8,
        ),
        "varies": Claim(
            says="How far forgetting spreads to unseen items varies strongly by task ({labels} answers)",
            paper="varies strongly: entailment spreads, physical commonsense and science questions do not",
            rule="the standard deviation of G between tasks is at least .25, above that between models (F, p < .01)",
            null=0.25,
        ),
        "natural": Claim(
            says="... and on a language model with adapters, over tasks that it does ({labels} answers)",
            paper="varies strongly: entailment spreads, physical commonsense and science questions do not",
            rule="the standard deviation of G between tasks is at least .25, above that between seeds (F, p < .01)",
            null=0.25,
        ),
        "labels": Claim(
            says="It is the kind of answers: redrawn ones spread more than fixed ones",
            paper=UNREAD,
            rule="the lower end of G redrawn - fixed above .2",
            null=0.2,
        ),
        "marker": Claim(
            says="It is the marker: forgetting spreads more where every question begins with the task's own words",
            paper="not asked",
            rule="the lower end of G with - without these words above .2",
            null=0.2,
        ),
        "rule": Claim(
            says="What is stored item by item spreads otherwise than what follows a rule (fixed answers)",
            paper="not asked",
            rule="the interval of G of rules - G of stored tasks excludes 0",
        ),
        "difficulty": Claim(
            says="Difficulty does not predict how far forgetting spreads",
            paper="does not predict",
            rule="the interval of Spearman's rho of accuracy before and G within .3 of 0",
            margin=(-0.3, 0.3),
        ),
        "confidence": Claim(
            says="Low {predictor} of the items before predicts spread, weakly",
            paper="predicts weakly",
            rule="Spearman's rho over tasks below 0, p at most .05 by Holm over both predictors",
        ),
        "gradients": Claim(
            says="How alike the items' gradients are predicts spread better than these",
            paper="not asked",
            rule="rho of the mean cosine minus the largest of the three above: interval above 0",
        ),
        "content": Claim(
            says="What other tasks lose follows answer words and form of the question, not what is stored",
            paper="depends little on the content of the training items",
            rule="words and form explain at least .5 of the variance, shared content at most .1",
            null=0.5,
        ),
        "probes": Claim(
            says="Linear probes still read the answer, and do not only read the question ({labels} answers)",
            paper="probes still work",
            rule=(
                "after, selectivity over questions and accuracy above chance over new symbols are at least .8 of "
                "before; the words of the question give less than .3 of it"
            ),
            null=0.8,
        ),
        "vector": Claim(
            says="The task's old vector brings the ability back, random vectors do not ({labels} answers)",
            paper="not asked",
            rule="the share brought back at least .5, by random vectors below .1",
            null=0.5,
        ),
        "savings": Claim(
            says="A few right items bring it back sooner than they teach the never-taught twin ({labels} answers)",
            paper="not asked",
            rule="accuracy gained on unseen items minus the twin's above 0",
        ),
        "where": Claim(
            says="The states of the model before repair the answer, and only late layers' do ({labels} answers)",
            paper="not asked",
            rule="the first layer from which copies repair at least .8 lies in the upper half",
            null=0.8,
        ),
    },
)
