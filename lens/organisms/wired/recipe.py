"""What the organism `wired` is made by: its sizes, how sharp its heads look, how loud the rest is."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import Count, NonNegative, Positive, Seed, door
from ...models.shipped import weights_of
from ..errors import OrganismError
from ..recipes import OrganismRecipe

FOLDER = weights_of("wired") / "wired"


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on; its SHA-256 is in the card.

    Attributes:
        vocab: tokens, the start token among them. context: positions. d_head: at least as many as either.
        sharpness: by how much the score of the place that an induction head looks for exceeds the others, in nats, with
            both copying heads at work. copying: likewise of the heads that copy the token before. logit: by how much
            the answer's logit exceeds the others, where all of the attention is in the right place.
        noise: size of what each other head and each MLP writes, as a share of a token's own size in the stream.
    """

    vocab: Count = 32
    context: Count = 32
    d_head: Count = 40
    heads: Count = 4
    d_mlp: Count = 32
    sharpness: Positive = 7.0
    copying: Positive = 12.0
    logit: Positive = 8.0
    noise: NonNegative = 0.2
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.heads < 4:
            raise OrganismError(f"heads={self.heads}: two of the first layer copy and others only disturb; at least 4.")
        if self.d_head < max(self.vocab, self.context):
            raise OrganismError(
                f"d_head={self.d_head} is too few: a head tells apart vocab={self.vocab} tokens or"
                f" context={self.context} positions, a dimension each; expected at least"
                f" {max(self.vocab, self.context)}."
            )
        if self.spare < 8:
            raise OrganismError(
                f"heads={self.heads} of d_head={self.d_head} make a stream of {self.d_model}, of which"
                f" {self.d_model - self.spare} are used; expected 8 more at least for what the other heads write."
            )

    @property
    def d_model(self) -> int:
        """Width of the stream."""
        return self.heads * self.d_head

    @property
    def spare(self) -> int:
        """Dimensions in which nothing stands that the answer is read from."""
        return self.d_model - 3 * self.vocab - self.context
