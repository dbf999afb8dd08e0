"""Cross-layer transcoders: features that read one layer and write to it and to all later ones. They are read only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from .dictionary import Dictionary
from .errors import FeatureError


@dataclass(eq=False)
class CrossLayer:
    """A transcoder of every layer, whose features write to their own and all later MLP outputs.

    Attributes:
        name: of the folder. layers: of each, what reads it; ``decoder`` is what it writes to its own layer, and
            ``decoder_bias`` is added once to what all write there. skips: whether ``x @ W_skip`` is added.
    """

    name: str
    layers: list[Dictionary]

    instead = "a cross-layer transcoder writes to several layers and is no one site; use the dictionary of one layer"

    def __post_init__(self) -> None:
        if not self.layers:
            raise FeatureError(f"{self.name} holds no layer.")

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self)} layers of {self.layers[0].n_features} features, which write to later ones>"

    def writes(self, source: int, target: int) -> Dictionary:
        """The features of a layer with what they write to another, without its bias; what it skips is of its own.

        Raises:
            FeatureError: the target lies before the source.
        """
        if not 0 <= source <= target < len(self):
            raise FeatureError(f"source={source}, target={target}: features of a layer write to it and to later ones.")
        own = self.layers[source]
        place = replace(own.writes, layer=target)
        if source == target:
            return replace(own, decoder_bias=torch.zeros(own.d_out))
        offset = own.decoder.layer or 0
        decoder = replace(own.decoder, layer=offset + target - source)
        return replace(own, writes=place, decoder=decoder, decoder_bias=torch.zeros(own.d_out), skip=None)

    def reconstruct(
        self, features: Sequence[Float[Tensor, "n n_features"]], inputs: Sequence[Float[Tensor, "n d_in"]], target: int
    ) -> Float[Tensor, "n d_out"]:
        """What all layers up to a target write to its MLP output; the target's bias is added once.

        Args:
            features: by layer, up to the target. inputs: what each layer's dictionary read.

        Raises:
            FeatureError: fewer layers than the target needs.
        """
        if len(features) <= target or len(inputs) <= target:
            raise FeatureError(f"target={target} needs the features of the layers 0 to {target}, got {len(features)}.")
        out = self.layers[target].decoder_bias.to(features[0].device).expand(len(features[0]), -1).clone()
        for source in range(target + 1):
            out += self.writes(source, target).reconstruct(features[source], inputs[source])
        return out
