"""Estimates of all heads' effects from gradients at the last token, on the keys and values of one unedited run.

=====  ==================================================================  ============================
name   estimate of a head's effect                                         cost a prompt, beside its run
=====  ==================================================================  ============================
atp    (mean - z) . gradient of the metric at the unedited run             1 token, forward and back
atp*   mean over later dropped layers of |(mean - z) . gradient|, the      1 token a layer
       gradient of one layer's attention and MLP output set to zero
       (GradDrop); a magnitude
ig     (mean - z) . mean gradient along z -> mean of all heads of a layer  `steps` tokens a layer, through
       together                                                            the later layers, all layers in
                                                                           one walk
=====  ==================================================================  ============================

Of AtP* only GradDrop is here. Its other part corrects for the softmax when queries or keys are patched, which patching
z does not do: the edited z enters by a linear map, and attention of later layers is part of the gradient. Its bound on
missed nodes is not needed where the exact walk costs little more.

"ig" moves the heads of a layer together, so that each layer's estimates add up to the effect of all its heads at once;
along a head's own path they would be the exact effect, at `steps` times its cost. It pays where a layer has many heads;
with few (SmolLM2: 9) the exact walk is the cheaper of the two.

Sources: Nanda 2023, attribution patching; Kramar et al. 2024, AtP* (GradDrop); Sundararajan et al. 2017, integrated
    gradients.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from ..engine.autograd import require_autograd
from ..engine.last_token import last_token
from ..engine.memory import budget
from ..engine.model import Model
from ..engine.pieces import batches_of, run_bytes
from ..engine.runs import Runs
from ..engine.stopping import says_stop
from ..engine.sweep import Values
from ..progress import hidden
from .errors import VectorError

#: Logits that "ig" holds at once, each several times over for the way back.
_LOGITS = 1 << 24


def estimate(
    decoder: Model,
    prompts: Sequence[Any],
    z: Float[Tensor, "layer head d_head"],
    method: str,
    metric: str,
    steps: int,
    memory_mb: float | None,
    progress,
    stop=None,
    on_part: Callable[[Values], None] | None = None,
) -> Values:
    """Estimated effects ``[prompt, layer, head]`` in units of the metric; ``base`` holds the unedited runs'
    log-probabilities.
    """
    began, z = time.perf_counter(), z.to(device=decoder.device, dtype=decoder.dtype)
    values = Values.empty(len(prompts), (decoder.n_layers, decoder.n_heads))
    sizes = [run_bytes(decoder, len(p), ("z",)) for p in prompts]
    bar = tqdm(total=len(prompts), desc=method, unit="prompt", delay=2.0, leave=False, disable=hidden(progress))
    try:
        for batch in batches_of(sizes, budget(decoder, memory_mb).runs):
            runs = Runs.record(decoder, [prompts[i].ids for i in batch], keep=("z",))
            for k, i in enumerate(batch):
                if says_stop(stop):
                    return values
                last = _LastToken(decoder, runs, k, prompts[i].answer_ids[0], metric)
                values.base[i], estimates = last.logprob(), last.estimate(z, method, steps)
                values.value[i] = estimates.float().cpu().numpy()
                bar.update(1)
            values.seconds = time.perf_counter() - began
            if on_part is not None:
                on_part(values)
        values.status = "complete"
    except KeyboardInterrupt:
        pass
    finally:
        bar.close()
        values.seconds = time.perf_counter() - began
    return values


class _LastToken:
    """The last token of one prompt, run again with gradients as often as there are rows."""

    def __init__(self, decoder: Model, runs: Runs, prompt: int, target: int, metric: str):
        self.decoder, self.target, self.metric = decoder, target, metric
        self.at = runs.starts[prompt] + runs.lengths[prompt] - 1
        self.final = runs.final[self.at]
        self.rows = last_token(runs, prompt)
        #: layers with attention heads, and their outputs
        self.layers = decoder.attention_layers
        self.z: Float[Tensor, "layer head d_head"] = torch.stack([runs.get("z", l)[self.at] for l in self.layers])

    def _score(self, resid: Float[Tensor, "rows d_model"]) -> Float[Tensor, " rows"]:
        """Log-probability of the answer's first token."""
        logits = self.decoder.unembed(resid).float()
        return logits[:, self.target] - logits.logsumexp(-1)

    @torch.no_grad()
    def logprob(self) -> float:
        return float(self._score(self.final[None]))

    def _finish(self, resid: Tensor) -> Tensor:
        score = self._score(resid)
        return (score.exp() if self.metric == "prob" else score).sum()

    def estimate(self, means: Tensor, method: str, steps: int) -> Float[Tensor, "layer head"]:
        """The estimate of every head; NaN in layers without."""
        require_autograd(VectorError, f"method={method!r}", self.decoder.hf)
        out = means.new_full((self.decoder.n_layers, self.decoder.n_heads), torch.nan)
        out[self.layers] = self._estimate(means[self.layers], method, steps)
        return out

    def _estimate(self, means: Tensor, method: str, steps: int) -> Float[Tensor, "layer head"]:
        with torch.enable_grad():
            if method == "ig":
                at_once = max(1, _LOGITS // (steps * self.decoder.d_vocab))
                every = range(len(self.layers))
                parts = [self._along(every[a : a + at_once], means, steps) for a in every[::at_once]]
                return ((means - self.z) * torch.cat(parts)).sum(-1)
            if method == "atp":
                return ((means - self.z) * self._gradients(1)[:, 0]).sum(-1)
            dropped = self._gradients(self.decoder.n_layers)  # [layer, dropped layer, head, d_head]
            each = ((means - self.z)[:, None] * dropped).sum(-1).abs()
            # a layer's own z has no gradient once the layer's output is dropped: it is left out of its mean
            return each.sum(1) / max(1, self.decoder.n_layers - 1)

    def _gradients(self, rows: int) -> Float[Tensor, "layer row head d_head"]:
        """The gradient at every layer's z; with several rows, in row ``d`` nothing flows back through the output of
        layer ``d``.
        """
        activations: list[Tensor] = []
        drop = rows > 1

        def tap(layer: int, site: str, t: Tensor) -> Tensor:
            if site == "z":
                t = t.clone() if t.requires_grad else t.detach().clone().requires_grad_()
                activations.append(t)
            elif drop and site in ("attn_out", "mixer", "mlp_out") and t.requires_grad:
                flows = torch.ones(rows, 1, dtype=torch.bool, device=t.device)
                flows[layer] = False
                t = torch.where(flows, t, t.detach())
            return t

        resid = self.rows.whole(rows, tap)
        grads = torch.autograd.grad(self._finish(resid), activations, allow_unused=True)
        grads = tuple(torch.zeros_like(t) if g is None else g for g, t in zip(grads, activations))
        return torch.stack([grad.to(self.decoder.device) for grad in grads])

    def _along(self, layers: range, means: Tensor, steps: int) -> Float[Tensor, "layer head d_head"]:
        """For each of these (numbers among the layers with heads), the mean gradient at its z over the midpoints of
        ``steps`` parts of the way to the mean.
        """
        share = (torch.arange(steps, device=means.device, dtype=means.dtype) + 0.5)[:, None, None] / steps
        way = {self.layers[i]: self.z[i] + share * (means[i] - self.z[i]) for i in layers}
        points = {l: x.detach().requires_grad_() for l, x in way.items()}
        resid = self.rows.joining(points)
        return torch.stack(torch.autograd.grad(self._finish(resid), list(points.values()))).mean(1)
