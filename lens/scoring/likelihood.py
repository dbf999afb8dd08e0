"""Log-likelihood of tokens under a causal language model, without the [tokens, vocabulary] table of log-probabilities.

The body of the model runs once over a batch; its hidden states then meet the unembedding a few tokens at a time, and of
each piece of logits only the target's, the logsumexp and, on request, two moments are kept. A model whose logits are
more than its head's output (a scale, a soft cap) is recognised on a probe; one that is not recognised runs whole, a few
rows at a time; one that looks ahead is refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lens.engine.changes import temporary
from lens.engine.lengths import Lengths
from lens.engine.memory import ERRORS, logit_bytes, no_room, out_of_memory
from lens.engine.places import alone
from lens.engine.resident import resident
from lens.engine.stopping import says_stop
from lens.engine.walk.blocks import unwrapped
from lens.models.placement import device_of
from lens.scoring.causal import CHANGED, PROBE, ScoringError, cast, core, plain, probe, same, unwritten
from lens.scoring.look_ahead import refuse_ahead

__all__ = ["Likelihood", "ScoringError", "cast", "core", "plain"]

#: Bytes of one piece of logits in float32 where the device is no GPU (there: `logit_bytes`): it stays in the cache.
PIECE = 24 << 20
_SCALES = {
    "logits_scaling": lambda x: 1.0 / x,
    "logit_scale": float,
    "lm_head_multiplier": float,
    "output_multiplier_scale": float,
}


class Likelihood:
    """Scores batches of rows under one model. `way`: "head", "scaled", "capped", or "whole" (the model's own full
    logits, a few rows at a time).

    `lengths`: None, or what rows may share a batch (longrope, dynamic NTK); such rows run whole, the last token too,
    since their frequencies depend on it.

    Raises: ScoringError: no next-token logits of token ids alone, a model that looks ahead, one that writes into its
    own weights, a parameter that holds NaN.
    """

    def __init__(self, model: Any, moments: bool = False, piece: int | None = None):
        self.model, self.moments = model, moments
        self.head: Any = unwrapped(model.get_output_embeddings()) if model.get_output_embeddings() is not None else None
        self.body: Any = getattr(model, model.base_model_prefix, None) if model.base_model_prefix else None
        self.vocabulary = model.get_input_embeddings().weight.shape[0]
        width = self.head.weight.shape[0] if self.head is not None and hasattr(self.head, "weight") else self.vocabulary
        self.piece = max(1, (logit_bytes(device_of(model), PIECE) if piece is None else piece) // (4 * width))
        self.scale: float | None = None
        self.cap: float | None = None
        self.lengths = Lengths.of(model)
        self.begin()
        self.way = self._way()

    def begin(self) -> None:
        """Forget what earlier texts left in the rotary frequencies."""
        if self.lengths is not None:
            self.lengths.forget()

    def _logits_of_probe(self) -> Tensor:
        """The first forward: refuse what gives no next-token logits, or writes into its weights."""
        model, ids = self.model, probe(self.model)
        kind = type(model).__name__
        try:
            with unwritten(model):
                logits = model(input_ids=ids, use_cache=False).logits
        except ScoringError:
            raise
        except (AttributeError, TypeError, KeyError, ValueError) as error:
            raise ScoringError(
                f"model is a {kind}, which gives no next-token logits of token ids alone "
                f"({type(error).__name__}: {str(error)[:200]}); "
                "expected a causal language model."
            ) from error
        config = getattr(model.config, "get_text_config", lambda: model.config)()
        size = min(self.vocabulary, getattr(config, "vocab_size", None) or self.vocabulary)
        fits = isinstance(logits, Tensor) and logits.ndim == 3 and logits.shape[:2] == ids.shape
        if not fits or logits.shape[-1] < size:
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ScoringError(
                f"model is a {kind}, whose output for {PROBE} tokens has shape {shape}; expected logits "
                f"[1, {PROBE}, {size}] of the next token: a causal language model."
            )
        if torch.isnan(logits).any() and (bad := [n for n, p in model.named_parameters() if torch.isnan(p).any()]):
            raise ScoringError(f"model: parameter {bad[0]!r} holds NaN. Load the weights again.")
        return logits

    @torch.no_grad()
    def _way(self) -> str:
        """How the logits follow from the head's output, seen on a probe at two sizes (a soft cap shows only at the
        larger); later tokens must never matter.
        """
        caught: dict[str, Tensor] = {}
        model, ids, other = self.model, probe(self.model), probe(self.model, CHANGED)
        home = ids.device
        close = 1e-5 if model.dtype in (torch.float32, torch.float64) else 2e-2
        factor, scaled = 1.0, False
        with temporary(model) as here:
            if self.head is not None:
                here.put(
                    lambda: (
                        self.head.register_forward_hook(
                            alone(lambda _, args, out: caught.update(into=args[0].to(home), raw=out.to(home)))
                        ).remove
                    )
                )
                here.put(
                    lambda: (
                        self.head.register_forward_pre_hook(alone(lambda _, args: (args[0] * factor, *args[1:]))).remove
                    )
                )
            with contextlib.suppress(AttributeError, TypeError, KeyError):
                own = self._logits_of_probe()
                if "raw" in caught and caught["raw"].shape == own.shape and self.body not in (None, model):
                    into, pairs = caught["into"], [(caught["raw"].double(), own.double())]
                    factor = 200.0 / max(1e-3, float(caught["raw"][caught["raw"].isfinite()].abs().max()))
                    logits = model(input_ids=ids, use_cache=False).logits
                    pairs.append((caught["raw"].double(), logits.double()))
                    factor = 1.0
                    hidden = self.body(input_ids=ids, use_cache=False)[0].to(home)
                    ahead = self.body(input_ids=other, use_cache=False)[0]
                    scaled = True
        if not scaled or not same(hidden, into, close):
            refuse_ahead(model, own, model(input_ids=other, use_cache=False).logits, close)
            return "whole"
        refuse_ahead(model, hidden, ahead, close)
        if all(same(raw, logits, close) for raw, logits in pairs):
            return "head"
        raw, logits = pairs[1]
        finite = raw.isfinite() & logits.isfinite()
        ratio = float((raw * logits)[finite].sum() / (raw * raw)[finite].sum())
        config = getattr(model.config, "get_text_config", lambda: model.config)()
        listed = [
            f(v) for name, f in _SCALES.items() if isinstance(v := getattr(config, name, None), (int, float)) and v
        ]
        for scale in [s for s in listed if abs(s / ratio - 1) < 0.02]:
            if all(same(raw * scale, logits, close) for raw, logits in pairs):
                self.scale = scale
                return "scaled"
        cap = getattr(config, "final_logit_softcapping", None)
        if (
            isinstance(cap, (int, float))
            and cap
            and all(same(torch.tanh(raw / cap) * cap, logits, close) for raw, logits in pairs)
        ):
            self.cap = cap
            return "capped"
        return "whole"

    @torch.no_grad()
    def batch(self, rows: Sequence[np.ndarray], start: int | None, first: int) -> list[tuple[np.ndarray, ...]]:
        """Per row float32 `(logprob,)` or `(logprob, mean, variance)` of the tokens from position `first` on, each
        array [tokens - first].

        `start`: a token put before every row; without one, `first` is at least 1. Rows must not be empty of scored
            tokens. Where memory runs out the batch is halved.
        """
        groups = [] if self.lengths is None else self.lengths.groups([len(r) + (start is not None) for r in rows])
        if len(groups) > 1:
            scores: dict[int, tuple[np.ndarray, ...]] = {}
            for group in groups:
                scores.update(zip(group, self.batch([rows[i] for i in group], start, first)))
            return [scores[i] for i in range(len(rows))]
        try:
            return self._batch(rows, start, first)
        except ERRORS as error:
            if not out_of_memory(error):
                raise
            if len(rows) == 1:
                raise no_room(device_of(self.model), len(rows[0])) from error
            torch.cuda.empty_cache()
        half = len(rows) // 2
        return self.batch(rows[:half], start, first) + self.batch(rows[half:], start, first)

    def _batch(self, rows: Sequence[np.ndarray], start: int | None, first: int) -> list[tuple[np.ndarray, ...]]:
        device, lead = device_of(self.model), int(start is not None)
        # where logits come out
        there = device if self.way == "whole" else device_of(self.head)
        # the last token predicts nothing that is asked for; it is read all the same where the length of the text counts
        last = int(self.lengths is None)
        sizes = np.array([len(r) for r in rows]) - last + lead
        width = int(sizes.max())
        ids = np.zeros((len(rows), width), np.int64)
        keep = np.arange(width)[None] < sizes[:, None]
        if start is not None:
            ids[:, 0] = start
        for line, row in zip(ids, rows):
            line[lead : lead + len(row) - last] = row[: len(row) - last]
        # input i predicts the row's token i + 1, or token i where a start token comes first
        scored = keep & (np.arange(width)[None] >= first - 1 + lead)
        if not last:
            scored &= np.arange(width)[None] < sizes[:, None] - 1
            self.begin()
        targets = torch.from_numpy(np.concatenate([np.asarray(r[first:], np.int64) for r in rows])).to(there)
        chosen = torch.from_numpy(np.flatnonzero(scored)).to(device)
        inputs = {"input_ids": torch.from_numpy(ids).to(device), "use_cache": False}
        if self.way == "whole" and not keep.all():
            inputs["attention_mask"] = torch.from_numpy(keep.astype(np.int64)).to(device)
        out = torch.empty((3 if self.moments else 1, len(targets)), dtype=torch.float32, device=there)
        if self.way == "whole":
            self._whole(inputs, scored, targets, out)
        else:
            hidden = self.body(**inputs)[0]
            hidden = hidden.reshape(-1, hidden.shape[-1])
            if len(chosen) != len(hidden):
                hidden = hidden[chosen.to(hidden.device)]
            with resident(self.head):
                for a in range(0, len(targets), self.piece):
                    at = slice(a, a + self.piece)
                    self._read(self.logits(hidden[at]), targets[at], out[:, at])
        ends = np.cumsum(scored.sum(1))[:-1]
        return list(zip(*(np.split(line, ends) for line in out.cpu().numpy())))

    def logits(self, hidden: Tensor) -> Tensor:
        """Of final hidden states ``[..., width]``, as the model makes them; not where `way` is "whole"."""
        logits: Tensor = self.head(hidden)
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
            part = {name: value[a : a + step] if isinstance(value, Tensor) else value for name, value in inputs.items()}
            logits = self.model(**part).logits
            logits = logits[torch.from_numpy(scored[a : a + step]).to(logits.device)]
            for b in range(0, len(logits), self.piece):
                piece = logits[b : b + self.piece]
                self._read(piece, targets[done : done + len(piece)], out[:, done : done + len(piece)])
                done += len(piece)

    def _read(self, logits: Tensor, targets: Tensor, out: Tensor) -> None:
        """Log-probability of the targets and the moments of the log-probability under the model's own prediction, into
        `out`.
        """
        if logits.dtype in (torch.bfloat16, torch.float16):
            logits = logits.float()
        total = logits.logsumexp(-1)
        out[0] = logits.gather(-1, targets[:, None])[:, 0] - total
        if self.moments:
            logprob = logits - total[:, None]
            p = logprob.exp()
            logprob.masked_fill_(p == 0, 0.0)  # a token that cannot come adds nothing, whatever its log-probability
            mean = (p * logprob).sum(-1)
            out[1] = mean
            out[2] = (p * (logprob - mean[:, None]).square_()).sum(-1)


def score_piece(
    likelihood: Likelihood,
    rows: list[np.ndarray],
    batches: list[int],
    start: int | None,
    first: int,
    stop: Callable[[], bool] | None = None,
) -> list | None:
    """The values of every row of a piece, batch by batch; None where it was stopped."""
    values, at = [], 0
    for size in batches:
        if says_stop(stop):
            return None
        values += likelihood.batch(rows[at : at + size], start, first)
        at += size
    return values
