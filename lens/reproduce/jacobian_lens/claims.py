"""Claims of the Jacobian lens, and what others found of it since."""

from __future__ import annotations

from ..claims import Claim, Claims

CLAIMS = Claims(
    source=(
        "write-ups by others of published lenses (single groups: DeepSeek-V4, Qwen3.5-27B, Qwen3-4B) and the discussion"
        " of TransformerLens' implementation (Gemma-2-2B); the paper's own tables were not at hand"
    ),
    rule="the interval over bridge entities of the difference above 0, on the half that did not choose the layer",
    estimator=(
        "mean over bridge entities, of random directions over several draws too (the distances of both bounds, squared"
        " and added); place of the bridge among the entities' tokens, from 0 for the last to 1 for the first; each"
        " reading at its own best layer of the other half"
    ),
    claims={
        "logit_lens": Claim(
            says="The bridge entity of a two-hop question stands higher under the lens than under the plain logit lens",
            paper="among the first 20: .85 against .10 (Qwen3.5-27B); the first: .294 against .358 (DeepSeek-V4)",
        ),
        "random": Claim(
            says="... than under random directions at the same angles to each other",
            paper="among the first 20: .85 against .00 (Qwen3.5-27B)",
        ),
        "another": Claim(
            says="It is this question's bridge that stands high, not a token that always does (another question's)",
            paper="not reported",
        ),
        "any_layer": Claim(
            says="The bridge is the first of the entities in some layer more often than under random directions",
            paper="the published measure, without the random lens's own maximum over layers",
        ),
        "halves": Claim(
            says="Lenses of disjoint halves of the texts agree", paper="CKA .997 to .998 (Qwen3-4B, 100 texts each)"
        ),
        "without": Claim(
            says="Without the bridge's direction the answer is less likely than without a random or another's",
            paper="right answers .589 to .100, random directions .589",
            rule=(
                "the intervals of both differences of losses of log-probability above 0; in part where one is: a random"
                " direction at the same angles has less of the stream than another bridge's"
            ),
        ),
        "swap": Claim(
            says="Exchanging two bridges' coordinates moves the answer toward the other's, random directions do not",
            paper="1.00 of answers flip, 0 under controls; 33 of 48 (Gemma-2-2B)",
            rule="the interval of the difference of the two losses of logit difference above 0",
        ),
    },
)
