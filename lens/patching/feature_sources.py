"""What features of a dictionary are set to, where that is not what another run has: their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arguments import shown
from ..engine.features import Features, flat
from ..engine.live import read_place
from ..engine.model import Model
from ..engine.runs import Runs
from ..models.identity import digest
from .asked import Asked
from .grid import PatchError
from .means import Means, Reading

#: Prompts whose features are looked up together.
PROMPTS = 32


@dataclass(frozen=True)
class FeatureReading(Reading):
    """Features of a dictionary as what means are taken of.

    Attributes: dictionary, through: what reads the site. index: which features.
    """

    dictionary: Any = None
    through: Any = None
    index: Tensor | None = None

    @classmethod
    def of(cls, model: Model, dictionary: Features, index: Tensor) -> FeatureReading:
        """Those named, in a model."""
        (site, _), through = read_place(model.anatomy, dictionary)
        return cls(site, getattr(dictionary, "skip_tokens", 0), dictionary, through, index)

    def __call__(self, runs: Runs, layer: int) -> Tensor:
        """``[n_tokens, k]``. Raises: SiteError: the runs did not keep what the dictionary reads."""
        x = flat(self.through(runs._get(self.site, layer)), self.dictionary.reads)
        values: Tensor = self.dictionary.values(x, self.index)
        return values


@torch.no_grad()
def means(
    model: Model, ids: Sequence[Tensor], dictionary: Features, index: Tensor, asked: Asked, memory_mb: float | None
) -> tuple[np.ndarray, dict[str, Any]]:
    """The means of some features that each prompt's own are set to, ``[prompt, 1 or position, k]``, and what a record
    says of them; tokens that the dictionary was not trained on count in no mean over tokens.

    Raises:
        PatchError: a tensor of another size, or that holds no numbers; a single prompt; prompts of unlike length where
            each position has its own mean; no token that the dictionary was trained on.
    """
    if isinstance(asked.source, Tensor):
        given = asked.source.detach().cpu()
        if given.shape != (dictionary.n_features,) or not bool(torch.isfinite(given).all()):
            raise PatchError(
                f"source={shown(asked.source)}: expected one finite number for each of the dictionary's"
                f" {dictionary.n_features} features, ({dictionary.n_features},)."
            )
        value = given.float()[index].numpy()
        return np.tile(value, (len(ids), 1, 1)), {"of": "a tensor", "digest": digest(given)}
    reading, parts = FeatureReading.of(model, dictionary, index), dict[int, list[Tensor]]()
    (_, layer), _ = read_place(model.anatomy, dictionary)
    if isinstance(asked.source, Runs):
        if asked.source.decoder.d_model != model.d_model:
            raise PatchError("source: the runs are of a model of another width; give runs of this one.")
        found = Means.of_runs(asked.source, reading, [layer], asked.mean_over, list(map(len, ids)))
    else:
        found = Means.of_prompts(model, ids, reading, [layer], asked.mean_over, memory_mb, parts)
    if not found.leaves_out:
        own = found.of_all(layer)
        each = [own if found.by_position else own[None]] * len(ids)
    else:
        each = [found.rest(layer, part, len(of)) for part, of in zip(parts[layer], ids)]
        each = each if found.by_position else [x[None] for x in each]
    values = torch.stack(each).cpu().numpy()
    if not np.isfinite(values).all():
        raise PatchError(
            "source='mean': the prompts that the mean is over have no token that the dictionary was trained on (it"
            f" leaves out the first {reading.skip}); give longer ones."
        )
    return values, found.record()
