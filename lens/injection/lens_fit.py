"""Training of one attention lens: the fit of the sum of its read-outs to the model's next-token distribution."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from .. import stats
from ..engine.autograd import require_autograd
from ..engine.memory import budget
from ..readout.norms import norm_scale, post_norm_scale, through_norm
from ..stats.bounds import Bounds
from .items import InjectionError
from .lens_data import LensData

#: Rows whose logits are held at once outside of training.
_ROWS = 64


#: Times that the fit on validation texts is looked at while training.
_LOOKS = 10


class LensFit:
    """Training of one lens: its `weight` and `bias`, which move relative to the size of what they begin as."""

    def __init__(self, data: LensData, layer: int, weight: Tensor, bias: Tensor, lr: float, memory_mb: float | None):
        self.decoder, self.layer, self.weight, self.bias, self.lr = data.decoder, layer, weight, bias, lr
        self.block, self.table = data.decoder.blocks[layer], data.decoder.unembedding().detach().float()
        self.z, self.final = data.z[layer], data.final
        self.scale = norm_scale(self.decoder.norm, self.final)
        self.inner = post_norm_scale(self.block, self.z)
        self.rows = max(1, min(_ROWS, int(budget(data.decoder, memory_mb).runs / (16 * len(self.table)))))

    def logprobs(self, weight: Tensor, bias: Tensor, rows: Any) -> Float[Tensor, "rows d_vocab"]:
        """Log-probabilities of the sum of all heads' read-outs and the bias."""
        # the sum first: it is what is read, and one row a text goes through W_U
        total = self.z[rows].flatten(1) @ weight.flatten(0, 1)
        total = through_norm(self.block.post_attn, total, self.inner[rows])
        return (through_norm(self.decoder.norm, total + bias, self.scale[rows]) @ self.table.T).log_softmax(-1)

    def target(self, rows: Any) -> Float[Tensor, "rows d_vocab"]:
        """The model's own next-token log-probabilities, computed anew from the final residual stream."""
        return self.decoder.unembed(self.final[rows]).detach().float().log_softmax(-1)

    @torch.no_grad()
    def kl(self, rows: np.ndarray) -> np.ndarray:
        """KL(model || lens) of each text, in nats."""
        return self._kl(rows, lambda part: self.logprobs(self.weight, self.bias, part))

    @torch.no_grad()
    def kl_of_mean(self, train: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """KL(model || mean distribution of the training texts) of each text: the least that one distribution for all
        reaches on those.
        """
        mean = self.table.new_zeros(len(self.table))
        for part in self._parts(train):
            mean += self.target(part).exp().sum(0)
        mean /= len(train)
        return self._kl(rows, lambda part: mean.clamp_min(torch.finfo(mean.dtype).tiny).log())

    def _kl(self, rows: np.ndarray, guess: Callable[[Tensor], Tensor]) -> np.ndarray:
        out = []
        for part in self._parts(rows):
            target = self.target(part)
            out.append((target.exp() * (target - guess(part))).sum(-1).clamp(min=0))
        return torch.cat(out).double().cpu().numpy()

    def _parts(self, rows: np.ndarray) -> Sequence[Tensor]:
        return torch.as_tensor(rows, device=self.z.device).split(self.rows)

    def run(
        self, train: np.ndarray, validation: np.ndarray, steps: int, batch: int, seed: int, quiet: bool
    ) -> tuple[int, list[list[float]]]:
        """Trains in place and keeps the step with the best fit to the validation texts: that step, and every look as
        ``[step, KL]``.
        """
        begin = self.weight, self.bias
        written = (self.z.flatten(1) @ begin[0].flatten(0, 1)).square().mean().sqrt()
        sizes = begin[0].square().mean().sqrt(), _size(self.block, written)
        require_autograd(InjectionError, "training a lens", self.decoder.hf)
        offsets = [torch.zeros_like(x, requires_grad=True) for x in begin]
        optimiser = torch.optim.Adam(offsets, lr=self.lr)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / max(1, steps))
        order, queue = np.random.default_rng(seed), np.zeros(0, np.int64)
        best, looks = (0, float(self.kl(validation).mean()), begin), []
        looks.append([0, best[1]])
        bar = tqdm(
            range(1, steps + 1), desc=f"lens of layer {self.layer}", unit="step", delay=2.0, leave=False, disable=quiet
        )
        for step in bar:
            if len(queue) < batch:
                queue = np.concatenate([queue, order.permutation(train)])
            now, queue = torch.as_tensor(queue[:batch], device=self.z.device), queue[batch:]
            target = self.target(now)
            with torch.enable_grad():
                weight, bias = (b + s * m for b, s, m in zip(begin, sizes, offsets))
                # the model's entropy does not depend on the lens: the cross entropy has the gradient of the KL
                loss = -(target.exp() * self.logprobs(weight, bias, now)).sum(-1).mean()
            if not torch.isfinite(loss):
                raise InjectionError(
                    f"layer {self.layer}: the loss is {loss.item()} at step {step}; lower lr={self.lr!r}, or check the"
                    " model's weights."
                )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % max(1, steps // _LOOKS) == 0 or step == steps:
                self.weight, self.bias = (b + s * m.detach() for b, s, m in zip(begin, sizes, offsets))
                looks.append([step, float(self.kl(validation).mean())])
                if looks[-1][1] < best[1]:
                    best = (step, looks[-1][1], (self.weight, self.bias))
        self.weight, self.bias = best[2]
        return best[0], looks


def _size(block: Any, written: Tensor) -> Tensor:
    """The root mean square of the layer's attention output, given that of what the heads write: a post-norm brings it
    to about 1.
    """
    return written if block.post_attn is None else torch.ones_like(written)


def split_texts(groups: np.ndarray, seed: int) -> list[np.ndarray]:
    """Text numbers for training, validation and reporting, about 70/10/20; a group is whole.

    Raises: InjectionError where a part would be empty or the held-out one has fewer than two groups.
    """
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for place, group in enumerate(order):
        # held-out texts first: two groups at least, so that there is an interval
        which = 2 if len(parts[2]) < 0.2 * len(groups) or place < 2 else 1 if len(parts[1]) < 0.1 * len(groups) else 0
        parts[which].extend(np.flatnonzero(groups == group))
    if not all(parts):
        raise InjectionError(
            f"texts: {len(groups)} different ones in {len(order)} groups are too few to train on, choose a step by "
            "and report on; give more texts or groups."
        )
    return [np.sort(np.array(p)) for p in parts]


def interval_over(values: np.ndarray, unit: np.ndarray, seed: int, bounds: Bounds | None = None) -> list[float | None]:
    """The mean over units (each a mean over its texts) with its 95 % interval; its ends are None where there is none
    (all units alike). `bounds`: what the mean cannot leave.
    """
    means = np.array([values[unit == u].mean() for u in np.unique(unit)])
    interval = stats.bootstrap(means, seed=seed, values="number", bounds=bounds)
    return [
        float(interval.estimate),
        *(float(end) if np.isfinite(end) else None for end in (interval.low, interval.high)),
    ]
