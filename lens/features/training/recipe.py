"""What the weights of a dictionary that is trained here depend on."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from ...arguments import Count, Name, Positive, Seed, Size, door
from ..errors import FeatureError


@door(FeatureError)
@dataclass(frozen=True)
class Recipe:
    """A recipe.

    Attributes:
        tap, layer: the site that the dictionary is of. n_features, k: its size, and how many are active at once.
        tokens: in all; parts: in how many files, each the least that is lost by an interruption.
        length: tokens of a text; rows: texts that are written side by side. skip_tokens: leading ones left out.
        passes: how often a part's tokens are learned from, in another order each time, before the next part.
        outliers: tokens whose activation is longer than so many times the median of the first part are not learned
            from: an attention sink a hundred times as long as others, as an end of text within a text becomes, would
            be all that the error is of.
        batch: tokens of a step. rate: of Adam, falling to 0 over the last fifth. aux: weight of the loss by which
            features that are long silent learn what the others leave (Gao et al. 2024, appendix A.2).
        silent: tokens after which a feature that was not active counts as silent.
        seed: of the texts, the first weights and the order of tokens.
    """

    tap: Name = "resid_post"
    layer: Size = 15
    n_features: Count = 1280
    k: Count = 32
    tokens: Count = 4_000_000
    parts: Count = 60
    length: Count = 128
    rows: Count = 528
    passes: Count = 1
    skip_tokens: Size = 1
    outliers: Positive = 10.0
    batch: Count = 1024
    rate: Positive = 1e-3
    aux: Positive = 1 / 32
    silent: Count = 200_000
    seed: Seed = 0

    def __post_init__(self) -> None:
        if self.k > self.n_features:
            raise FeatureError(f"k={self.k}: the dictionary has {self.n_features} features; give fewer.")
        if self.outliers < 1:
            raise FeatureError(f"outliers={self.outliers}: below 1 it leaves out most tokens; give 10 or so.")
        if self.skip_tokens >= self.length - 1:
            raise FeatureError(f"skip_tokens={self.skip_tokens}: texts have {self.length} tokens; leave fewer out.")

    @property
    def texts(self) -> int:
        """Texts of a part."""
        return -(-self.tokens // (self.parts * self.length))

    @property
    def steps(self) -> int:
        """Steps in all, those of tokens that are left out as outliers included."""
        return self.parts * self.passes * (self.texts * (self.length - self.skip_tokens) // self.batch)

    def sha256(self) -> str:
        """Of all that the weights depend on, beside the model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
