"""Claims of Memory Injections (Sakarvadia et al. 2023)."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source="the authors' own result files (their repository, MIT), not the paper's tables",
    rule="the interval of the log-ratio above 0, in cells that were chosen on the other half of the memories",
    estimator="mean log-ratio over memories, median over splits of what the half shows that did not choose the cell",
    claims={
        "multi_hop": Claim(
            says="Multi-hop prompts are answered worse than single-hop ones",
            paper="p(first token) .087 against .158 (GPT-2 small, hand-written), .157 against .284 (large)",
        ),
        "memory": Claim(
            says="It is the memory that helps, not any injection",
            paper=(
                "random words of each part of speech: -17.1 to +17.6 % (both models, both sets), one layer deeper than "
                "the memory"
            ),
        ),
        "prompted": Claim(
            says="Putting the memory in the prompt instead (baseline that the paper lacks)", paper="not measured"
        ),
        "headline": Claim(
            says=(
                "The headline: up to 424 % (trimmed mean percentage, best cell, same items). Judged by the log-ratio "
                "in cells chosen so on the other half"
            ),
            paper=(
                "+424 % at strength 5, layer 5 of GPT-2 small on 2WikiMultiHop (n = 1000); in that cell the median is "
                "-24 % and the mean log-ratio -0.54 nats (geometric mean -42 %)"
            ),
        ),
        "unembed_trimmed_percent": Claim(
            says="Injecting the memory (unembed, cell by the published measure) raises the answer's probability",
            paper="+45 % (GPT-2 small, hand-written), trimmed mean of the same items that chose the cell",
        ),
        "unembed_mean": Claim(
            says="... in the cell with the best mean log-ratio",
            paper="not reported; from their files +28 % geometric mean at strength 2, layer 6 of 12",
        ),
        "encoder": Claim(
            says="Another encoder does better than unembed (not in the paper; its code has `layer`, here activation).",
            paper="from their files: +52 % geometric mean (GPT-2 small, hand-written) against +28 %",
            rule=(
                "its gain over unembed on the same memories, each at its own best cell, and over another item's memory"
            ),
        ),
        "damage": Claim(
            says="Damage of {e} at the cell of the first split (not measured in the paper)",
            paper="perplexity is never measured",
        ),
    },
)
