"""A text read by a model piece by piece: the cache under whatever name the type has for it, and position ids counted
here.

Without position ids some types (Bamba, MiniMax with a linear layer first) count from 0 at each step; others (Zamba2,
RecurrentGemma) give other numbers step by step than in one forward, or have no cache that can be handed over. Each
model is tried once on a probe; where steps with a cache do not give the numbers of whole forwards, every step reads the
whole text again.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from ..models.placement import device_of
from ..models.state import State
from .lengths import Lengths
from .memory import out_of_memory

#: What a model calls the state that it takes up again: keys and values, a state-space model's state, RWKV's.
CACHES = ("past_key_values", "cache_params", "state")
_REMEMBERED = "_mnemoscope_steps"
_PROBE, _STEPS = 9, 3
#: Share of the largest number by which a way of reading a text may differ from a whole forward of it by itself.
_CLOSE = {torch.float32: 1e-3, torch.float64: 1e-3}
_CLOSE_HALF = 5e-2


class Steps:
    """One batch of texts of one length, read in pieces: `steps(ids [n, k])` reads k more tokens of each and gives the
    model's output, of which the last place is the newest token's.

    Attributes:
        cached: whether earlier pieces are kept in a cache; else the whole text is read again at every step. text: all
            tokens read so far [n, length].

    `module`: the Hugging Face model, or its body.
    """

    def __init__(self, module: nn.Module, hf: nn.Module | None = None, how: tuple[bool, bool] | None = None):
        hf = module if hf is None else hf
        self.module = module
        self.text: Tensor | None = None
        self.cache: Any = None
        self.lengths = Lengths.of(hf)
        self.cached, self.positions = _tried(module, hf) if how is None else how

    def again(self, count: int) -> bool:
        """Whether the next `count` tokens are read with the whole text before them: at first, without a cache, and
        where a longer text has other rotary frequencies than the cache.
        """
        if not self.cached or self.text is None:
            return True
        before = self.text.shape[1]
        return self.lengths is not None and self.lengths.key(before) != self.lengths.key(before + count)

    def __call__(self, new: Int[Tensor, "n k"]) -> Any:
        """The model's output for new tokens, after those that it was given before."""
        again, before = self.again(new.shape[1]), 0 if self.text is None else self.text.shape[1]
        text = self.text = new if self.text is None else torch.cat([self.text, new], 1)
        if not again:
            return self._read(new, before)
        self.cache = None
        if self.lengths is not None:
            self.lengths.forget()
        return self._read(text, 0)

    def _read(self, feed: Tensor, start: int) -> Any:
        options: dict[str, Any] = {}
        if self.positions:
            at = torch.arange(start, start + feed.shape[1], device=feed.device)
            options["position_ids"] = at[None].expand(len(feed), -1)
        out, self.cache = read(self.module, feed, self.cache, self.cached, **options)
        return out


#: A cache with the name that the model has for it.
Named = tuple[str, Any]


def read(
    module: nn.Module, feed: Int[Tensor, "n k"], cache: Named | None, keep: bool, **given: Any
) -> tuple[Any, Named | None]:
    """One forward of the next tokens after a cache, and the cache that it leaves with its name; None where it leaves
    none.
    """
    inputs = {"input_ids": feed, "use_cache": keep, **given, **({} if cache is None else {cache[0]: cache[1]})}
    out = module(**inputs)
    left = next(((name, value) for name in CACHES if keep and (value := getattr(out, name, None)) is not None), None)
    return out, left


def newest(out: Any) -> Tensor:
    """What an output says at its last place: logits [n, vocabulary], or a body's hidden state [n, width]."""
    whole: Tensor = out.logits if getattr(out, "logits", None) is not None else out[0]
    return whole[:, -1]


def takes_positions(module: nn.Module) -> bool:
    """Whether a model's forward can be given position ids."""
    return "position_ids" in inspect.signature(module.forward).parameters


def gap(got: Tensor, want: Tensor) -> float:
    """The largest difference, as a share of the largest number that is wanted; NaN where either holds one."""
    off, most = (got.float() - want.float()).abs().max().item(), want.float().abs().max().item()
    return off / most if most else off


def allowed(dtype: torch.dtype) -> float:
    """The gap that is rounding, in this precision."""
    return _CLOSE.get(dtype, _CLOSE_HALF)


def _tried(module: nn.Module, hf: Any) -> tuple[bool, bool]:
    """Whether steps with a cache give the numbers of whole forwards, and whether position ids are given: tried on a
    probe, once as long as the model's structure is what it is.
    """
    weight, state = hf.get_input_embeddings().weight, State.of(hf)
    key = (module is hf, weight.dtype, weight.device, getattr(hf.config, "_attn_implementation", None))
    cached: tuple[State, dict[Any, tuple[bool, bool]]] | None = hf.__dict__.get(_REMEMBERED)
    if cached is None or cached[0] is not state:
        cached = hf.__dict__[_REMEMBERED] = (state, {})
    if key not in cached[1]:
        cached[1][key] = _try(module, hf, weight)
    return cached[1][key]


@torch.no_grad()
def _try(module: nn.Module, hf: nn.Module, weight: Tensor) -> tuple[bool, bool]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, len(weight), (1, _PROBE + _STEPS), generator=generator).to(device_of(hf))
    lengths, close = Lengths.of(hf), allowed(weight.dtype)
    wholes = []
    for end in range(_PROBE, _PROBE + _STEPS + 1):
        if lengths is not None:
            lengths.forget()
        wholes.append(newest(module(input_ids=ids[:, :end], use_cache=False)))
    for positions in (True, False) if takes_positions(module) else (False,):
        steps = Steps(module, hf, (True, positions))
        try:
            for end, whole in enumerate(wholes, _PROBE):
                out = steps(ids[:, 0 if steps.text is None else end - 1 : end])
                if steps.cache is None or not gap(newest(out), whole) <= close:
                    break
            else:
                return True, positions
        except Exception as error:  # whatever a model's own code meets: it reads its whole text at every step then
            if out_of_memory(error):
                raise  # says nothing of the model, and must not be remembered
            continue
    return False, False
