"""Claims about edges and circuits, of the papers that the methods are from and of those that checked them."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="tables of MIB (Mueller et al. 2025) where nothing else is said; other models and prompts, compared in kind",
    rule="the interval over pairs is clear of what it is where the claim is not so",
    estimator=(
        "ratios of means over held-out pairs (Fieller and studentized bootstrap, the wider), means over pairs of what "
        "holds in one pair (Student's t and studentized bootstrap, the wider)"
    ),
    claims={
        "random": Claim(
            says="Circuits of {method} keep more of the task than random ones of as many edges.",
            paper="CPR 1.85 (GPT-2) and 1.63 (Qwen2.5-0.5B) of EAP-IG, random .25 to .32",
            rule="CPR above that of every random draw, interval clear of their mean",
            null="mean",
        ),
        "first_size": Claim(
            says="A circuit of 5 % of the edges keeps most of the task.",
            paper="no number: figures of EAP-IG on indirect objects (Hanna et al. 2024)",
            rule="f on held-out pairs above .5",
            null=0.5,
        ),
        "integrated": Claim(
            says="EAP-IG finds more faithful circuits than EAP (CPR).",
            paper="1.85 against 1.20 (GPT-2), 1.63 against .26 (Qwen2.5-0.5B)",
        ),
        "activations": Claim(
            says="By inputs EAP-IG is as good as by activations (CPR).",
            paper="1.85 against 1.82 (GPT-2), 1.63 against 1.63 (Qwen2.5-0.5B)",
            rule="the interval of the difference lies within .25",
            margin=(-0.25, 0.25),
        ),
        "gim": Claim(
            says="GIM finds more faithful circuits than EAP (CPR).",
            paper="says so of its own measure (no number quoted)",
            source="Edin et al. 2025",
        ),
        "distance": Claim(
            says="Circuits of EAP-IG, ranked by magnitude, come close to the whole model (CMD).",
            paper="CMD .03 (GPT-2), .02 (Qwen2.5-0.5B)",
            rule="CMD below .1; random ones are about .75",
            null=0.1,
        ),
        "loose": Claim(
            says="Scores of {method} understate the exact effects of the edges that were checked.",
            paper="EAP: R squared .27 over all edges of GPT-2; slope .531 (TransformerLens' documentation)",
            rule="slope of score on exact effect below 1",
            null=1.0,
            source="Syed et al. 2023",
        ),
        "order": Claim(
            says="{method} orders the checked edges more like their exact effects than EAP does.",
            paper="has no such number",
            rule="difference of Spearman's rank correlation within a pair above 0",
        ),
        "known": Claim(
            says="On a circuit that is known, scores of {method} tell its edges from all others.",
            paper="AUROC on InterpBench: EAP-IG by activations .81, EAP .73, EAP-IG .71, random .44",
            rule="AUROC of the mean scores of three pairs, one of each kind, above .5",
            null=0.5,
        ),
        "exact_known": Claim(
            says="There, exact effects tell the edges less well than EAP-IG's scores.",
            paper="AUROC on InterpBench: exact .28, EAP-IG .71",
            rule="difference of AUROC, exact minus EAP-IG, below 0",
        ),
        "induction": Claim(
            says="On the trained induction organism scores of {method} order all edges like their exact effects.",
            paper="has no such number",
            rule="Spearman's rank correlation within a pair above .5",
            null=0.5,
        ),
        "answers": Claim(
            says="The circuit of pairs with shuffled answers is less faithful to the task.",
            paper="has no such control",
            rule="f of the circuit minus its f above 0",
        ),
        "counterfactuals": Claim(
            says="Another counterfactual for the same questions gives a circuit that is as faithful.",
            paper="has no such control",
            rule="f of the circuit minus its f within .2, of two draws of counterfactuals",
            margin=(-0.2, 0.2),
        ),
        "same_edges": Claim(
            says="The edge set hangs on the pairs and on the counterfactual.",
            paper="bootstraps of GPT-2's circuits: Jaccard .67; EAP-IG against clean-corrupted .071",
            rule="no claim to judge: ranges of resamples are no intervals",
            source="Méloux et al. 2025",
        ),
    },
)
