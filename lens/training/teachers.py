"""A frozen model, as a rule the one that a stage starts from, as a teacher: its outputs for every row, computed once
before training and kept.

What is kept of a position is its last hidden state, not its logits: d_model numbers in place of d_vocab (85 times fewer
in SmolLM2), and the frozen output layer turns them back into the same float32 log-probabilities. Where a model does
more after its output layer, which a check finds, the log-probabilities themselves are kept.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ..arguments import HFModel, Positive, Size, door, unfit
from ..engine.places import evaluating
from .head_outputs import HeadOutputs
from .recipe import Rows, TrainingError
from .wrapped import anatomy, core

#: From the positions of a batch's last input tokens to what is in force during its forward.
Around = Callable[[Tensor], contextlib.AbstractContextManager]
#: Tokens of one forward of a teacher.
TOKENS_AT_ONCE = 2048


@door(TrainingError)
class Teacher:
    """What a frozen model says of each row. Make one with `Teacher.of`.

    Attributes:
        last: position of each row's last input token, ``[n]``.
        z: outputs of the heads asked for at that token, without the intervention, ``[rows read, k, d_head]``; None
            where none were asked for.
        nbytes: memory of what is kept, the output layer's copy aside. seconds: what it took.
    """

    def __init__(
        self,
        last: Int[Tensor, " n"],
        lengths: Int[Tensor, " m"],
        states: Float[Tensor, "rows width"] | None,
        output: Callable[[Tensor], Tensor] | None,
        z: Float[Tensor, "m k d_head"] | None,
        everywhere: bool,
        seconds: float,
        slot: Int[Tensor, " n"],
    ):
        self.last, self.z, self.everywhere, self.seconds = last, z, everywhere, seconds
        self._states, self._output, self._slot = states, output, slot
        self._start = (
            torch.cat((torch.zeros(1, dtype=torch.long), lengths.cumsum(0)))
            if everywhere
            else torch.arange(len(lengths) + 1)
        )

    @property
    def nbytes(self) -> int:
        """Memory that the kept outputs take, in bytes."""
        return sum(t.numel() * t.element_size() for t in (self._states, self.z) if t is not None)

    @classmethod
    @door(TrainingError)
    @torch.no_grad()
    def of(
        cls,
        model: HFModel,
        rows: Rows,
        *,
        around: Around | None = None,
        heads: Sequence[tuple[Size, Size]] = (),
        logits: bool = True,
        everywhere: bool = False,
        only: Int[Tensor, " m"] | None = None,
        memory_mb: Positive = 2000,
    ) -> Teacher:
        """Reads every row once (twice, where both an intervention's logits and the plain model's heads are wanted).

        Args:
            around: an intervention that is in force while the distributions are computed: from the positions of a
                batch's last input tokens to a context; None for the plain model.
            heads: whose outputs are kept. logits: whether the next-token distribution is kept.
            everywhere: at all real tokens of a row, not only the last input token.
            only: numbers of the rows that will be asked for; None for all. memory_mb: what may be kept.

        Raises: TrainingError: a row without an answer; more memory than allowed.
        """
        began, heads = time.perf_counter(), tuple(heads)
        a, every = anatomy(model), rows.last_input()
        only = torch.arange(len(rows)) if only is None else only
        if bool(((only < 0) | (only >= len(rows))).any()):
            raise TrainingError(unfit("only", only, f"numbers of rows, from 0 to {len(rows) - 1}"))
        if wrong := [(l, h) for l, h in heads if l >= a.n_layers or h >= a.n_heads]:
            raise TrainingError(
                unfit(
                    "heads",
                    wrong[0],
                    f"pairs (layer, head) of this model of {a.n_layers} layers with {a.n_heads} heads each",
                )
            )
        slot = torch.full((len(rows),), -1)
        slot[only] = torch.arange(len(only))
        rows, last = rows.take(only), every[only]
        lengths = rows.lengths.cpu().long()
        output = _OutputLayer(model) if logits else None
        count = int(lengths.sum()) if everywhere else len(last)
        width = 0 if output is None else a.d_vocab if output.layer is None else a.d_model
        needs = (count * width + len(last) * len(heads) * a.d_head) * 4
        if needs > memory_mb * 2**20:
            raise TrainingError(
                f"memory_mb={memory_mb:g}: the teacher's outputs of {len(last)} rows would take {needs / 2**20:.0f} MB;"
                " give fewer rows, or more memory."
            )
        states: Tensor | None = None
        z: Tensor | None = None
        start = torch.cat((torch.zeros(1, dtype=torch.long), lengths.cumsum(0)))
        listen = HeadOutputs(heads)
        with evaluating(model):
            for index in _batches(lengths):
                ids = rows.ids[index, : int(lengths[index].max())].to(a.device)
                at = last[index].to(a.device)
                if output is not None:
                    with contextlib.ExitStack() as inside:
                        if around is not None:
                            inside.enter_context(around(at))
                        elif heads:
                            inside.enter_context(listen.listening(model))
                        values = output.read(model, ids)
                    states = values.new_empty(count, values.shape[-1], device="cpu") if states is None else states
                    for row, i in enumerate(index.tolist()):
                        if everywhere:
                            states[start[i] : start[i + 1]] = values[row, : lengths[i]].cpu()
                    if not everywhere:
                        states[index] = values[torch.arange(len(index), device=a.device), at].cpu()
                if heads:
                    if output is None or around is not None:
                        with listen.listening(model):
                            a.body(input_ids=ids, use_cache=False)
                    own = listen.at(at).cpu()
                    z = own.new_empty(len(last), *own.shape[1:]) if z is None else z
                    z[index] = own
        return cls(every, lengths, states, output, z, everywhere, time.perf_counter() - began, slot)

    @door(TrainingError)
    @torch.no_grad()
    def log_probs(
        self, index: Int[Tensor, " batch"], temperature: Positive = 1.0, where: Bool[Tensor, " tokens"] | None = None
    ) -> Float[Tensor, "n d_vocab"]:
        """Float32 log-probabilities: one row an example, or, kept everywhere, example after example one row a real
        token, or those of them that `where` has.
        """
        slots = self._slots(index)
        if self.everywhere:
            ends = self._start.tolist()
            slots = torch.cat([torch.arange(ends[i], ends[i + 1]) for i in slots.tolist()])
        if where is not None:
            if len(where) != len(slots):
                raise TrainingError(f"where has {len(where)} entries; expected one for each of {len(slots)} tokens.")
            slots = slots[where.cpu()]
        return self._distribution(slots, temperature)

    @door(TrainingError)
    @torch.no_grad()
    def last_log_probs(
        self, index: Int[Tensor, " batch"], temperature: Positive = 1.0
    ) -> Float[Tensor, "batch d_vocab"]:
        """Float32 log-probabilities of the token after each example's last input token."""
        slots = self._slots(index)
        if self.everywhere:
            slots = self._start[slots] + self.last[index.cpu()]
        return self._distribution(slots, temperature)

    def _distribution(self, places: Tensor, temperature: float) -> Tensor:
        """Log-probabilities of what was read at these places. Raises: TrainingError: no distribution was kept."""
        if self._states is None or self._output is None:
            raise TrainingError("the teacher kept no next-token distribution; make it with logits=True.")
        return (self._output(self._states[places]).float() / temperature).log_softmax(-1)

    @door(TrainingError)
    def heads(self, index: Int[Tensor, " batch"]) -> Float[Tensor, "batch k d_head"]:
        """Outputs of the heads asked for, at each example's last input token.

        Raises: TrainingError: none were asked for.
        """
        if self.z is None:
            raise TrainingError("the teacher kept the outputs of no head; make it with heads=[(layer, head), ...].")
        return self.z[self._slots(index)]

    def _slots(self, index: Tensor) -> Tensor:
        if bool(((index < 0) | (index >= len(self._slot))).any()):
            raise TrainingError(unfit("index", index, f"numbers of rows, from 0 to {len(self._slot) - 1}"))
        slots = self._slot[index.cpu()]
        if bool((slots < 0).any()):
            raise TrainingError(
                f"index={int(index.cpu()[slots < 0][0])}: the teacher did not read this row; name it in only."
            )
        return slots


class _OutputLayer:
    """A frozen copy of a model's output layer. `layer`: None where that is not all that follows the last hidden
    state.
    """

    def __init__(self, model: Any):
        plain, a = core(model), anatomy(model)
        layer, probe = plain.get_output_embeddings(), a.probe_ids()
        with evaluating(plain):
            logits = plain(probe, use_cache=False).logits
            ours = None if layer is None else layer(_hidden(model, probe))
        exact = (
            ours is not None
            and ours.shape == logits.shape
            and bool((ours - logits).abs().max() <= 1e-5 * max(1.0, float(logits.abs().max())))
        )
        self.layer = copy.deepcopy(layer).requires_grad_(False) if layer is not None and exact else None
        self.device = a.device

    def read(self, model: Any, ids: Tensor) -> Tensor:
        """What a batch leaves, ``[batch, position, width]``: last hidden states, or logits where there is no layer."""
        if self.layer is not None:
            return _hidden(model, ids)
        logits: Tensor = core(model)(ids, use_cache=False).logits
        return logits.float()

    def __call__(self, states: Tensor) -> Tensor:
        """The logits of what was read."""
        states = states.to(self.device)
        return states if self.layer is None else self.layer(states)


def _hidden(model: Any, ids: Tensor) -> Tensor:
    """Last hidden states, ``[batch, position, d_model]``."""
    states: Tensor = anatomy(model).body(input_ids=ids, use_cache=False).last_hidden_state
    return states


def _batches(lengths: Tensor) -> list[Tensor]:
    """Row numbers, like lengths together, the same for every call on the same rows."""
    order, out, begin = lengths.argsort(stable=True), [], 0
    while begin < len(order):
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * int(lengths[order[end]]) <= TOKENS_AT_ONCE:
            end += 1
        out.append(order[begin:end])
        begin = end
    return out
