"""The words that a state points to, layer by layer, beside words as frequent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr

from ..arguments import Count, HFModel, Seed, door
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..results import dataset as results
from .reading import Prompt, ReadoutError, labels, read_prompts, record, recorded
from .word_lists import nearby


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def concepts(
    model: HFModel, prompts: Prompt | Sequence[Prompt], *, k: Count = 10, draws: Count = 200, seed: Seed = 0
) -> xr.Dataset:
    """The ``k`` words that the last token's state points to after each layer, through final norm and unembedding, with
    how far each stands out from words of like frequency.

    Args:
        prompts: text or pairs, whose ``clean`` is read. draws: words drawn near each in the vocabulary, which for a
            byte-pair tokenizer are about as frequent.

    Returns: over ``[prompt,] layer`` (0 to ``n_layers``, behind the last block) and ``rank``: ``token`` and
        ``token_id``, ``score`` (its logit) and ``z`` (score less the mean of the words drawn, over their standard
        deviation). The words are chosen for their scores, so that their z is that of the largest of a whole vocabulary:
        compare it between layers and prompts, not with 2. ``result.to_dataframe()`` is the table.

    Raises: ReadoutError: no prompt.

    Source: after the concept lists of arXiv 2510.06107 (v3), which take neither norm nor words of like frequency.
    """
    single, readings = read_prompts(model, prompts)
    view, generator = Model.of(model), torch.Generator().manual_seed(seed)
    k = min(k, view.d_vocab)
    shape = len(readings), view.n_layers + 1, k
    score, z, token = np.full(shape, np.nan), np.full(shape, np.nan), np.zeros(shape, int)
    for batch, runs in recorded(view, [reading.ids for reading in readings], (), "concepts"):
        for number, i in enumerate(batch):
            last = runs.starts[number] + runs.lengths[number] - 1
            every = view.unembed(torch.stack([x[last].to(view.device) for x in runs.resid])).float().cpu()
            for layer, logits in enumerate(every):
                top = logits.topk(k)
                drawn = torch.stack([logits[nearby(int(t), len(logits), draws, generator)] for t in top.indices])
                score[i, layer], token[i, layer] = top.values.numpy(), top.indices.numpy()
                if draws > 1:
                    spread = drawn.std(1)
                    apart = (top.values - drawn.mean(1)) / spread
                    z[i, layer] = torch.where(spread > 0, apart, torch.full_like(apart, torch.nan)).numpy()
    dims = ("prompt", "layer", "rank")
    ds = xr.Dataset(
        {
            "token": (dims, np.array(labels(model, token.reshape(-1).tolist()), dtype=str).reshape(shape)),
            "token_id": (dims, token),
            "score": (dims, score, {"units": "logits"}),
            "z": (dims, z),
        },
        {
            "prompt": np.arange(len(readings)),
            "layer": np.arange(view.n_layers + 1),
            "rank": np.arange(k),
            "label": ("prompt", np.array([r.label for r in readings], dtype=str)),
        },
    )
    entries = record(model, view, "concepts", {"k": k, "draws": draws}, readings, seed=seed)
    return results.stamp(ds.isel(prompt=0, drop=True) if single else ds, entries)
