"""Log-likelihood of tokens under a causal language model, without the [tokens, vocabulary] table of log-probabilities.

The body of the model runs once over a batch; its hidden states then meet the unembedding a few tokens at a time, and of each piece of logits only the target's,
the logsumexp and, on request, two moments are kept. A model whose logits are more than its head's output (a scale, a soft cap) is recognised on a probe; one that
is not recognised runs whole, a few rows at a time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lens.engine.decoder import EDITED, unwrapped

#: Bytes of one piece of logits in float32, by device type.
PIECE = {"cpu": 24 << 20, "cuda": 512 << 20}
_SCALES = {"logits_scaling": lambda x: 1.0 / x, "logit_scale": float, "lm_head_multiplier": float, "output_multiplier_scale": float}
_PROBE = 9


class ScoringError(ValueError):
    """A model, row or option that cannot be scored; the message names it and the next step."""


def core(model: Any) -> nn.Module:
    """The Hugging Face causal model in a bridge, in a PEFT wrapper, or itself. Raises ScoringError for anything else, a model in training mode or an edited one."""
    hf = getattr(model, "original_model", model)
    if hasattr(hf, "get_base_model"):
        hf = hf.get_base_model()
    if not isinstance(hf, nn.Module) or not hasattr(hf, "config") or not hasattr(hf, "get_output_embeddings"):
        raise ScoringError(f"model is a {type(model).__name__}; expected a Hugging Face causal language model, a model from lens.load, or its name or folder.")
    if hf.training:
        raise ScoringError("model is in training mode, where dropout changes every run; call model.eval() first.")
    if hf.__dict__.get(EDITED):
        raise ScoringError("model: edits are in force on it (lens.edited), which its weight hash does not tell; leave the with block first.")
    if hooked := sum(map(_hooked, {m for source in (model, hf) if isinstance(source, nn.Module) for m in source.modules()})):
        raise ScoringError(f"model: {hooked} of its modules have hooks, which its weight hash does not tell; remove them first (reset_hooks() on a bridge).")
    return hf


def _hooked(module: nn.Module) -> bool:
    """Whether somebody hooked the module; the captures that a bridge's blocks put on their own norms change nothing."""
    hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
    own = "transformer_lens." if type(module).__name__ != "HookPoint" else None
    return any(own is None or not str(getattr(hook, "__module__", "")).startswith(own) for hook in hooks)


@torch.no_grad()
def plain(model: Any) -> nn.Module:
    """The plain Hugging Face model of a bridge's weights (shared, not copied), with the attention that transformers chooses; any other model as it is.

    A bridge whose weights were replaced since it was made, or whose plain model gives other logits on a probe, runs as it is.
    """
    from transformers.initialization import no_init_weights

    from lens import models

    hf = core(model)
    if hf is model or "_mnemoscope_parameters" not in hf.__dict__:
        return hf
    state = models._plain_parameters(hf)
    if state is None:
        return hf
    config = copy.deepcopy(hf.config)
    config._attn_implementation = None
    with no_init_weights():
        made = type(hf)(config).eval().requires_grad_(False)
    try:
        missing = made.load_state_dict(dict(state), strict=False, assign=True).missing_keys
        made.tie_weights()
        made.to(hf.device)
        buffers = {name for name, _ in made.named_buffers()}
        tied = set(getattr(made, "_tied_weights_keys", None) or ())
        if {name for name in missing if name not in buffers} - tied:
            return hf
        ids = _probe(hf)
        theirs, ours = hf(ids, use_cache=False).logits.float(), made(ids, use_cache=False).logits.float()
    except (RuntimeError, AttributeError, TypeError):
        return hf
    allowed = 1e-4 if hf.dtype in (torch.float32, torch.float64) else 5e-2
    return made if torch.allclose(theirs, ours, rtol=allowed, atol=allowed * float(theirs.abs().max())) else hf


def cast(model: nn.Module, dtype: torch.dtype | None, device: torch.device | None) -> nn.Module:
    """The model itself where it fits, else a copy with its parameters in `dtype` on `device`; buffers such as rotary frequencies keep their precision."""
    if dtype in (None, model.dtype) and device in (None, model.device):
        return model
    made = copy.deepcopy(model)
    if dtype is not None:
        for p in made.parameters():
            p.data = p.data.to(dtype)
    return made if device is None else made.to(device)


def _probe(model: nn.Module, change: bool = False) -> Tensor:
    size = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(0, size, (1, _PROBE), generator=torch.Generator().manual_seed(0))
    if change:
        ids[0, -1] = (ids[0, -1] + 1) % size
    return ids.to(model.device)


class Likelihood:
    """Scores batches of rows under one model. `way`: "head", "scaled", "capped", or "whole" (the model's own full logits, a few rows at a time)."""

    def __init__(self, model: nn.Module, moments: bool = False, piece: int | None = None):
        self.model, self.moments = model, moments
        self.head = unwrapped(model.get_output_embeddings()) if model.get_output_embeddings() is not None else None
        self.body = getattr(model, model.base_model_prefix, None) if model.base_model_prefix else None
        self.vocabulary = model.get_input_embeddings().weight.shape[0]
        width = self.head.weight.shape[0] if self.head is not None and hasattr(self.head, "weight") else self.vocabulary
        self.piece = max(1, (PIECE.get(model.device.type, PIECE["cpu"]) if piece is None else piece) // (4 * width))
        self.scale = self.cap = None
        self.way, self.causal = self._way()

    @torch.no_grad()
    def _way(self) -> tuple[str, bool]:
        """How the logits follow from the head's output, seen on a probe at two sizes (a soft cap shows only at the larger), and whether later tokens never matter."""
        caught: dict[str, Tensor] = {}
        model, ids = self.model, _probe(self.model)
        if self.head is None or self.body is None or self.body is model:
            return "whole", False
        seen = [self.head.register_forward_hook(lambda _, args, out: caught.update(into=args[0], raw=out))]
        factor = 1.0
        seen.append(self.head.register_forward_pre_hook(lambda _, args: (args[0] * factor, *args[1:])))
        try:
            pairs = []
            for big in (False, True):
                if big:
                    factor = 200.0 / max(1e-3, float(caught["raw"][caught["raw"].isfinite()].abs().max()))
                logits = model(ids, use_cache=False).logits
                if "raw" not in caught or caught["raw"].shape != logits.shape:
                    return "whole", False
                if not big:
                    into = caught["into"]
                    if torch.isnan(logits).any() and (bad := [n for n, p in model.named_parameters() if torch.isnan(p).any()]):
                        raise ScoringError(f"model: parameter {bad[0]!r} holds NaN. Load the weights again.")
                pairs.append((caught["raw"].double(), logits.double()))
            factor = 1.0
            hidden = self.body(input_ids=ids, use_cache=False)[0]
            other = self.body(input_ids=_probe(model, True), use_cache=False)[0]
        except (AttributeError, TypeError, KeyError):
            return "whole", False
        finally:
            for handle in seen:
                handle.remove()
        close = 1e-5 if model.dtype in (torch.float32, torch.float64) else 2e-2
        # a logit may be -inf on both sides
        same = lambda a, b: a.shape == b.shape and bool(((a == b) | ((a - b).abs() <= close * b[b.isfinite()].abs().max())).all())
        causal = same(hidden[:, :-1], other[:, :-1])
        if not same(hidden, into):
            return "whole", causal
        if all(same(raw, logits) for raw, logits in pairs):
            return "head", causal
        raw, logits = pairs[1]
        finite = raw.isfinite() & logits.isfinite()
        ratio = float((raw * logits)[finite].sum() / (raw * raw)[finite].sum())
        config = getattr(model.config, "get_text_config", lambda: model.config)()
        listed = [f(v) for name, f in _SCALES.items() if isinstance(v := getattr(config, name, None), (int, float)) and v]
        for scale in [s for s in listed if abs(s / ratio - 1) < 0.02]:
            if all(same(raw * scale, logits) for raw, logits in pairs):
                self.scale = scale
                return "scaled", causal
        cap = getattr(config, "final_logit_softcapping", None)
        if isinstance(cap, (int, float)) and cap and all(same(torch.tanh(raw / cap) * cap, logits) for raw, logits in pairs):
            self.cap = cap
            return "capped", causal
        return "whole", causal

    @torch.no_grad()
    def batch(self, rows: Sequence[np.ndarray], start: int | None, first: int) -> list[tuple[np.ndarray, ...]]:
        """Per row float32 `(logprob,)` or `(logprob, mean, variance)` of the tokens from position `first` on, each array [tokens - first].

        `start`: a token put before every row; without one, `first` is at least 1. Rows must not be empty of scored tokens. Where memory runs out on a GPU the
        batch is halved.
        """
        try:
            return self._batch(rows, start, first)
        except torch.OutOfMemoryError:
            if len(rows) == 1:
                raise
            torch.cuda.empty_cache()
        half = len(rows) // 2
        return self.batch(rows[:half], start, first) + self.batch(rows[half:], start, first)

    def _batch(self, rows: Sequence[np.ndarray], start: int | None, first: int) -> list[tuple[np.ndarray, ...]]:
        device, lead = self.model.device, int(start is not None)
        # the last token predicts nothing that is asked for
        sizes = np.array([len(r) for r in rows]) - 1 + lead
        width = int(sizes.max())
        ids = np.zeros((len(rows), width), np.int64)
        keep = np.arange(width)[None] < sizes[:, None]
        if lead:
            ids[:, 0] = start
        for line, row in zip(ids, rows):
            line[lead:lead + len(row) - 1] = row[:-1]
        # input i predicts the row's token i + 1, or token i where a start token comes first
        scored = keep & (np.arange(width)[None] >= first - 1 + lead)
        targets = torch.from_numpy(np.concatenate([np.asarray(r[first:], np.int64) for r in rows])).to(device)
        chosen = torch.from_numpy(np.flatnonzero(scored)).to(device)
        inputs = {"input_ids": torch.from_numpy(ids).to(device), "use_cache": False}
        if not self.causal and not keep.all():
            inputs["attention_mask"] = torch.from_numpy(keep.astype(np.int64)).to(device)
        out = torch.empty((3 if self.moments else 1, len(targets)), dtype=torch.float32, device=device)
        if self.way == "whole":
            self._whole(inputs, scored, targets, out)
        else:
            hidden = self.body(**inputs)[0]
            hidden = hidden.reshape(-1, hidden.shape[-1])
            if len(chosen) != len(hidden):
                hidden = hidden[chosen]
            for a in range(0, len(targets), self.piece):
                self._read(self._logits(hidden[a:a + self.piece]), targets[a:a + self.piece], out[:, a:a + self.piece])
        ends = np.cumsum(scored.sum(1))[:-1]
        return list(zip(*(np.split(line, ends) for line in out.cpu().numpy())))

    def _logits(self, hidden: Tensor) -> Tensor:
        logits = self.head(hidden)
        if self.scale is not None:
            logits = logits * self.scale
        if self.cap is not None:
            logits = torch.tanh(logits / self.cap) * self.cap
        return logits

    def _whole(self, inputs: dict, scored: np.ndarray, targets: Tensor, out: Tensor) -> None:
        """The model's own logits, as many rows at a time as make a few pieces."""
        count, width = scored.shape
        step, done = max(1, 8 * self.piece // width), 0
        for a in range(0, count, step):
            part = {name: value[a:a + step] if isinstance(value, Tensor) else value for name, value in inputs.items()}
            logits = self.model(**part).logits
            logits = logits[torch.from_numpy(scored[a:a + step]).to(logits.device)]
            for b in range(0, len(logits), self.piece):
                piece = logits[b:b + self.piece]
                self._read(piece, targets[done:done + len(piece)], out[:, done:done + len(piece)])
                done += len(piece)

    def _read(self, logits: Tensor, targets: Tensor, out: Tensor) -> None:
        """Log-probability of the targets and the moments of the log-probability under the model's own prediction, into `out`."""
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        total = logits.logsumexp(-1)
        out[0] = logits.gather(-1, targets[:, None])[:, 0] - total
        if self.moments:
            logprob = logits - total[:, None]
            p = logprob.exp()
            logprob.masked_fill_(p == 0, 0.0)                        # a token that cannot come adds nothing, whatever its log-probability
            mean = (p * logprob).sum(-1)
            out[1] = mean
            out[2] = (p * (logprob - mean[:, None]).square_()).sum(-1)
