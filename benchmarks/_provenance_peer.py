"""The published scorer's way, written anew: the perplexity metric of Hugging Face `evaluate`, which the published code
calls, keeping every token's loss.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import CrossEntropyLoss

BATCH = 16


class PublishedScorer:
    """Rows in the order given, 16 at a time, right padding, a start token, full logits in float32, the loss over the
    transposed table.
    """

    def __init__(self, model: torch.nn.Module, start: int, pad: int):
        self.model, self.start, self.pad, self.loss = model, start, pad, CrossEntropyLoss(reduction="none")
        self.last: tuple[torch.Tensor, torch.Tensor] | None = None

    @torch.no_grad()
    def batch(self, rows: Sequence[np.ndarray], width: int) -> list[np.ndarray]:
        """The loss of every token of up to 16 rows, padded to `width` tokens (the metric pads to the longest of all
        rows).
        """
        ids = torch.full((len(rows), width + 1), self.pad)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            ids[i, 0], mask[i, : len(row) + 1] = self.start, 1
            ids[i, 1 : len(row) + 1] = torch.from_numpy(np.asarray(row, np.int64))
        logits = self.model(ids, attention_mask=mask).logits.float()
        self.last = logits, ids
        shifted, labels, kept = logits[..., :-1, :].contiguous(), ids[..., 1:].contiguous(), mask[..., 1:].contiguous()
        losses = self.loss(shifted.transpose(1, 2), labels) * kept
        return [line[: len(row)].numpy() for line, row in zip(losses, rows)]

    @torch.no_grad()
    def unrounded(self, rows: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The losses of the last batch's own logits, summed in float64: float32 over a strided vocabulary loses
        digits.
        """
        logits, ids = self.last
        return [
            -logits[i, : len(row)].double().log_softmax(-1).gather(1, ids[i, 1 : len(row) + 1, None])[:, 0].numpy()
            for i, row in enumerate(rows)
        ]
