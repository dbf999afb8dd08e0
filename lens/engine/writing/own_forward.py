"""Texts read by the model's own forward: one row as `Steps` reads it, or several with padding in front.

A model is given several rows only where a probe finds each of them as it is alone, to the last step, also after a row
has left the batch; else its texts are read one by one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..anatomy import Anatomy
from ..changes import Undo
from ..memory import out_of_memory
from ..steps import Steps, allowed, gap, newest, read
from .acts import Acts, Key, Tokens

#: Lengths of the probe's rows, steps that are compared, and the step after which a row leaves.
_LENGTHS, _STEPS, _LEAVES = (9, 5, 9), 4, 2
#: Tokens of the probe's shared beginning.
_BEGINNING = 5
_REMEMBERED = "batches of texts"


class OwnForward:
    """Some texts on their way through a model's own forward, as rows of one batch.

    Attributes: shares: what all rows begin with may be read once, and several tokens after it.
    """

    def __init__(self, hf: Any, acts: Acts, shares: bool = False):
        self.hf, self.acts, self.shares = hf, acts, shares
        self.steps = Steps(hf)
        self.who: list[int] = []
        self.lengths: list[int] = []
        #: of several rows: which columns are text, and what the model keeps of them
        self.mask: Tensor | None = None
        self.cache: Any = None
        self._short = "logits_to_keep" in inspect.signature(hf.forward).parameters

    def hooks(self, anatomy: Anatomy, here: Undo) -> None:
        """Puts what the edits do on the model's own modules, until `here` ends."""
        for site, layer in sorted(self.acts.places):
            here.put(partial(anatomy.attach, site, layer, self._through((site, layer))))

    def _through(self, key: Key) -> Callable[[Tensor], Tensor]:
        def change(x: Tensor) -> Tensor:
            flat = x.flatten(0, 1)
            new = self.acts.through(key, flat)
            return x if new is flat else new.unflatten(0, x.shape[:2])

        return change

    @torch.no_grad()
    def start(self, prompts: Sequence[Int[Tensor, " length"]], who: Sequence[int]) -> Float[Tensor, "rows d_vocab"]:
        """The logits after each prompt."""
        self.who, self.lengths = list(who), [len(p) for p in prompts]
        self.acts.fresh()
        if len(prompts) == 1:
            return self._one(prompts[0][None], 0)
        longest = max(self.lengths)
        # between a beginning and rests of unlike lengths there would be padding, which windows count
        shared = self.acts.shared(prompts) if self.shares and len(set(self.lengths)) == 1 else 0
        if shared:
            self._beginning(prompts[0][:shared])
        ids = torch.stack([torch.cat([p.new_zeros(longest - len(p)), p[shared:]]) for p in prompts])
        return self._several(ids, 0)

    def _beginning(self, ids: Tensor) -> None:
        """Reads what all rows begin with, once for all."""
        at, rows = torch.arange(len(ids), device=ids.device), len(self.who)
        self.acts.begin(0, Tokens(ids, torch.zeros_like(at), at, self.lengths[:1], at[:0], [self.who]))
        options: dict[str, Any] = {"position_ids": at[None]} if self.steps.positions else {}
        if self._short:
            options["logits_to_keep"] = 1
        _, self.cache = read(self.hf, ids[None], None, True, **options)
        self.cache[1].reorder_cache(torch.zeros(rows, dtype=torch.long, device=ids.device))
        self.mask = ids.new_ones(rows, len(ids))

    @torch.no_grad()
    def step(self, new: Int[Tensor, " rows"], step: int, logits: Tensor) -> Float[Tensor, "rows d_vocab"]:
        """The logits after one more token of each row; `logits`: those that it was chosen by."""
        self.lengths = [n + 1 for n in self.lengths]
        return (self._one if self.mask is None else self._several)(new[:, None], step, logits)

    def keep(self, rows: Sequence[int]) -> None:
        """Only these rows go on."""
        self.lengths, self.who = [self.lengths[r] for r in rows], [self.who[r] for r in rows]
        if self.mask is not None:
            at = torch.tensor(rows, device=self.mask.device)
            self.mask = self.mask[at]
            self.cache[1].reorder_cache(at)

    def _one(self, feed: Tensor, step: int, logits: Tensor | None = None) -> Tensor:
        """One row, by `Steps`: where the whole text is read again, under what its tokens met when they first came."""
        before, count = 0 if self.steps.text is None else self.steps.text.shape[1], feed.shape[1]
        self.acts.begin(step, self._tokens(feed[0], before, self.lengths), logits)
        fresh = {number: list(acts) for number, acts in self.acts.acts.items()}
        again = self.steps.text is not None and self.steps.again(count)
        if again and self.steps.text is not None:
            whole = torch.cat([self.steps.text[0], feed[0]])
            self.acts.again(self._tokens(whole, 0, self.lengths), before)
        if not self.steps.cached or self.steps.lengths is not None:
            self.acts.remember(0 if again else before, fresh)
        return newest(self.steps(feed))

    def _tokens(self, ids: Tensor, before: int, lengths: Sequence[int]) -> Tokens:
        position = torch.arange(before, before + len(ids), device=ids.device)
        return Tokens(
            ids, torch.zeros_like(position), position, lengths, position[-1:] - before, [[w] for w in self.who]
        )

    def _several(self, feed: Tensor, step: int, logits: Tensor | None = None) -> Tensor:
        rows, count = feed.shape
        before = 0 if self.mask is None else self.mask.shape[1]
        column = torch.arange(before, before + count, device=feed.device)
        pads = torch.tensor([before + count - n for n in self.lengths], device=feed.device)
        position = column[None] - pads[:, None]
        new = (position >= 0).long()
        self.mask = new if self.mask is None else torch.cat([self.mask, new], 1)
        row = torch.arange(rows, device=feed.device)[:, None].expand(-1, count)
        last = torch.arange(rows, device=feed.device) * count + count - 1
        self.acts.begin(
            step,
            Tokens(
                feed.flatten(),
                row.flatten(),
                position.clamp(min=-1).flatten(),
                self.lengths,
                last,
                [[w] for w in self.who],
            ),
            logits,
        )
        options: dict[str, Any] = {"attention_mask": self.mask}
        if self.steps.positions:
            options["position_ids"] = position.clamp(min=0)
        if self._short:
            options["logits_to_keep"] = 1
        out, self.cache = read(self.hf, feed, self.cache, True, **options)
        return newest(out)


def batches(hf: Any, anatomy: Anatomy) -> str | None:
    """Why a model's texts are read one by one, or None where several rows of unlike lengths are each as alone.

    Tried on a probe, once as long as the model's structure is what it is.
    """
    if anatomy.lengths is not None:
        return "its rotary frequencies are chosen by the longest row of a batch"
    if getattr(anatomy.config, "attn_temperature_tuning", None):
        return "its attention is scaled by a token's column, padding included"
    try:
        off = _tried(hf, anatomy, 0)
    except Exception as error:  # whatever a model's own code meets; not remembered, it may be of the moment
        if out_of_memory(error):
            raise
        return f"rows in a batch could not be tried on a probe ({type(error).__name__}: {str(error)[:200]})"
    if off <= allowed(anatomy.dtype):
        return None
    return f"rows in a batch have other logits than alone, off by {off:.2g} of the largest on a probe"


def shares(hf: Any, anatomy: Anatomy) -> bool:
    """Whether a model gives rows that go on from one beginning, read once, the numbers of each by itself; tried on a
    probe.
    """
    try:
        return _tried(hf, anatomy, _BEGINNING) <= allowed(anatomy.dtype)
    except Exception as error:
        if out_of_memory(error):
            raise
        return False


def _tried(hf: Any, anatomy: Anatomy, shared: int) -> float:
    key = (_REMEMBERED, shared, getattr(anatomy.config, "_attn_implementation", None))
    if key not in anatomy.ways:
        anatomy.ways[key] = _gap(hf, anatomy, shared)
    return anatomy.ways[key]


@torch.no_grad()
def _gap(hf: Any, anatomy: Anatomy, shared: int) -> float:
    """The largest difference of a batch's logits to those of each text by itself, of the largest logit; so many tokens
    of the texts' beginnings are the same, and these are then of one length.
    """
    from ..places import evaluating

    if not Steps(hf).cached:
        raise LookupError("it keeps no cache that it can go on from")
    generator = torch.Generator().manual_seed(0)
    lengths = [max(_LENGTHS)] * len(_LENGTHS) if shared else list(_LENGTHS)
    texts = [torch.randint(0, anatomy.d_vocab, (n + _STEPS,), generator=generator).to(anatomy.device) for n in lengths]
    for text in texts:
        text[:shared] = texts[0][:shared]
    live, off = list(range(len(texts))), 0.0
    batch = OwnForward(hf, Acts(lambda: anatomy, [()] * len(texts)), shared > 0)
    with evaluating(hf):
        logits = batch.start([t[:n] for t, n in zip(texts, lengths)], live)
        for step in range(_STEPS + 1):
            for row, i in enumerate(live):
                alone = newest(hf(texts[i][None, : lengths[i] + step], use_cache=False))[0]
                found = gap(logits[row], alone)
                off = max(off, found if found == found else float("inf"))
            if step == _STEPS:
                break
            if step == _LEAVES:
                live = live[1:]
                batch.keep([1, 2])
                logits = logits[1:]
            new = torch.stack([texts[i][lengths[i] + step] for i in live])
            logits = batch.step(new, step + 1, logits)
    return off
