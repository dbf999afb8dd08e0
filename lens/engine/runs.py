"""Unedited runs, kept for forking: the residual stream and what else edits need of a batch of prompts.

Which path makes them is the model's to say: `lens.engine.model` fills `opened`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..arguments import Filled, HFModel, Index, door, unfit
from .edits import Activations
from .errors import RunError
from .sites import ORDER, SITES, SiteError, indices

if TYPE_CHECKING:
    from .model import Model

_ALWAYS = ("embed", "resid_pre", "resid_mid", "resid_post", "attn_out", "v")

#: A site that a run can keep.
if TYPE_CHECKING:
    Kept = str
else:
    Kept = Literal[SITES]
#: The view that runs are made with, of whatever model a person gives: one function, put here by `lens.engine.model`.
opened: list[Callable[[Any], "Model"]] = []


@dataclass(frozen=True)
class Source(Activations):
    """One prompt of some runs, to copy activations from."""

    runs: "Runs"
    prompt: int

    @property
    def length(self) -> int:
        """Tokens of the prompt."""
        return self.runs.lengths[self.prompt]

    @property
    def start(self) -> int:
        """The prompt's first token among those of all prompts."""
        start: int = self.runs.starts[self.prompt]
        return start


class Runs(Activations):
    """The forward passes of several prompts, token by token in flat tensors.

    Prompt ``i`` occupies rows ``offset[i] : offset[i] + lengths[i]``. Kept at every layer: ``resid_pre``, ``attn_out``,
    the values, and the token embeddings; other sites (``q``, ``k``, ``pattern``, ``z``, ``neuron``, ``mlp_out``) when
    named in ``keep``.

    Attributes:
        decoder: what made them. ids, lengths: of the prompts. resid: the stream before every block, on its device, and
            as it goes on behind the last (as ``resid_pre`` of a next block would be), flat over tokens. final: what a
            metric reads.
        embedded: the token embeddings that the runs began with, ``[n_tokens, d_model]``; for noised runs not the
            vocabulary's. of_ids: whether the runs are those of their token ids (noised ones are not).

    >>> run = Runs.record(model, [ids], keep=("z",))          # doctest: +SKIP
    >>> run.get("z", 3).shape                                 # doctest: +SKIP
    torch.Size([16, 9, 64])
    """

    embedded: Tensor

    def __init__(self, decoder: Any, ids: Sequence[Int[Tensor, " length"]], keep: Iterable[str]):
        self.decoder, self.ids = decoder, [torch.as_tensor(i, device=decoder.device).reshape(-1) for i in ids]
        if not self.ids:
            raise RunError("ids=[] holds no prompt; give at least one tensor of token ids.")
        self.lengths = [len(i) for i in self.ids]
        if min(self.lengths) == 0:
            raise RunError(f"ids: prompt {self.lengths.index(0)} is empty; every prompt needs at least one token.")
        if wrong := [
            i for i, one in enumerate(self.ids) if one.dtype not in (torch.int64, torch.int32, torch.int16, torch.uint8)
        ]:
            raise RunError(unfit(f"ids[{wrong[0]}]", self.ids[wrong[0]], "token ids, whole numbers"))
        longest, flat = max(self.lengths), torch.cat(self.ids)
        limit = decoder.max_length
        if limit and longest > limit:
            raise self._too_long(longest, limit)
        if flat.min() < 0 or flat.max() >= decoder.embedding.weight.shape[0]:
            bad = flat[(flat < 0) | (flat >= decoder.embedding.weight.shape[0])][0].item()
            raise RunError(
                f"ids: token {bad} is not in the vocabulary of {decoder.embedding.weight.shape[0]} tokens; was another"
                " tokenizer used?"
            )
        self.keep = tuple(sorted(set(keep) - set(_ALWAYS), key=ORDER.__getitem__))
        total = torch.tensor(self.lengths)
        self.offset = (total.cumsum(0) - total).to(decoder.device)
        self.prompt = torch.repeat_interleave(torch.arange(len(ids)), total).to(decoder.device)
        self.position = torch.cat([torch.arange(n) for n in self.lengths]).to(decoder.device)
        self.of_ids = True
        self.resid: list[Tensor] = []
        self.starts = self.offset.tolist()
        #: index of every prompt's tokens, ``[prompt, longest]``, clipped at its end
        at = torch.arange(longest, device=decoder.device)[None].expand(len(self), -1)
        self.table = torch.minimum(at, total.to(decoder.device)[:, None] - 1) + self.offset[:, None]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, prompt: int) -> "Source":
        """One prompt of the runs, as something to copy from."""
        return Source(self, indices(prompt, len(self), "prompt")[0])

    def __repr__(self) -> str:
        return (
            f"Runs({len(self)} prompts, {sum(self.lengths)} tokens, {self.decoder.n_layers} layers, keep={self.keep},"
            f" {self.nbytes / 2**20:.1f} MiB)"
        )

    @property
    def flat_ids(self) -> Int[Tensor, " n_tokens"]:
        """The token ids of all prompts, one after the other."""
        return torch.cat(self.ids)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(t.nbytes for t in self._tensors())

    def _tensors(self) -> Iterable[Tensor]:
        return self.resid

    @property
    def final(self) -> Tensor:
        """What a metric reads of every token: the stream after the last block, ``[n_tokens, d_model]``."""
        return self.resid[-1]

    @staticmethod
    def _too_long(longest: int, limit: int) -> Exception:
        return RunError(f"ids: a prompt of {longest} tokens is longer than the model's {limit} positions; shorten it.")

    @staticmethod
    @door(RunError)
    def record(model: Any | HFModel, ids: Sequence[Tensor], keep: Sequence[Kept] | Set[Kept] = ("z",)) -> Runs:
        """Runs every prompt once and keeps what edits need.

        Args:
            model: a ``TransformerBridge``, a Hugging Face causal model or the engine's view of one.
            ids: one tensor of token ids a prompt; lengths may differ.
            keep: sites to keep beside those always kept.

        Raises:
            RunError: an empty prompt, or a token outside the vocabulary.
            UnsupportedModel: see ``Model.of``.
        """
        return opened[0](model).record(ids, keep)

    @staticmethod
    @door(RunError)
    def record_pair(
        model: Any | HFModel,
        ids: Sequence[Tensor],
        others: Sequence[Tensor],
        keep: Sequence[Kept] | Set[Kept] = ("z",),
    ) -> tuple[Runs, Runs]:
        """The runs of ``ids`` and of ``others``, aligned prompt by prompt; equal to ``record`` and then ``fork``."""
        return opened[0](model).record_pair(ids, others, keep)

    @door(RunError)
    def verify(self, prompts: Annotated[Sequence[Index], Filled()] | None = None) -> None:
        """Compares the final residual streams of some prompts (all by default) with the model's own forward.

        ``record`` does so for the longest prompt; a sweep for every prompt whose unedited values it gives.

        Raises:
            UnsupportedModel: they differ.
        """
        self._verify(range(len(self)) if prompts is None else indices(prompts, len(self), "prompts"))

    def _verify(self, prompts: Sequence[int]) -> None:
        """Nothing where the runs are the model's own forward."""

    @door(RunError)
    @torch.no_grad()
    def fork(
        self,
        ids: Sequence[Tensor] | None = None,
        embed: Float[Tensor, "n_tokens d_model"] | None = None,
        keep: Sequence[Kept] | Set[Kept] | None = None,
    ) -> Runs:
        """The runs of other prompts of the same lengths, sharing what comes before the first difference where a path
        can.

        Either ``ids`` (other tokens) or ``embed`` (other token embeddings, e.g. with noise) differs.

        Raises:
            RunError: a prompt of another length.
        """
        return self._fork(self.ids if ids is None else ids, embed, self.keep if keep is None else keep)

    def _fork(self, ids: Sequence[Tensor], embed: Tensor | None, keep: Iterable[str]) -> Runs:
        raise NotImplementedError

    def _aligned(self, other: Runs, embed: Tensor | None) -> None:
        """Prepares ``other`` as a fork of these runs, where it can be one.

        Raises:
            RunError: other lengths, a site that these runs did not keep, embeddings of another shape.
        """
        if other.lengths != self.lengths:
            raise RunError(
                f"ids: lengths {other.lengths} differ from the base run's {self.lengths}; prompts must align token by"
                " token."
            )
        other.of_ids = embed is None and self.of_ids
        missing = set(other.keep) - set(self.keep)
        if missing:
            raise RunError(f"keep={sorted(missing)} is not kept by the base run; record it with keep={other.keep}.")
        if embed is not None and embed.shape != self.embedded.shape:
            raise RunError(unfit("embed", embed, f"one row a token, shape {tuple(self.embedded.shape)}"))

    @door(SiteError)
    def get(self, site: str, layer: Index) -> Tensor:
        """A site's activations at a layer, flat over tokens; ``pattern`` is ``[prompt, head, query, key]``. Of a model
        that is spread over devices they come to the device of the token ids.

        Raises:
            SiteError: the site was not kept, or the block has none of that name.
        """
        return self._get(site, layer).to(self.decoder.device)

    def _get(self, site: str, layer: int) -> Tensor:
        raise NotImplementedError


@door(SiteError)
@torch.no_grad()
def mean_activation(
    model: Any | HFModel, ids: Sequence[Tensor], site: Kept, layer: Index, position: Literal["all"] | Index = "all"
) -> Tensor:
    """The mean of a site's activation over prompts, for edits of kind ``mean``.

    Args:
        position: ``"all"`` averages over every token of every prompt; an int takes that position of each prompt
            (negative counts from each prompt's end).

    Returns: ``[*site width]``, e.g. ``[d_model]`` or ``[n_heads, d_head]``.

    Raises:
        SiteError: the position lies outside one of the prompts.
    """
    runs = Runs.record(model, ids, keep=(site,))
    values = runs.get(site, layer)
    if position == "all":
        return values.mean(0)
    if not all(-n <= position < n for n in runs.lengths):
        raise SiteError(f"position={position} is out of range; the shortest prompt has {min(runs.lengths)} tokens.")
    at = torch.tensor([position % n for n in runs.lengths], device=values.device) + runs.offset
    return values[at].mean(0)
