"""Mean activations at a prompt's last token: what a task leaves in every head."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ..arguments import HFModel, Size, door, unfit
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..notices import warn
from ..readout.answers import SCORES, answer_scores
from ..readout.reading import recorded
from .errors import VectorError
from .prompts import TaskPrompt

Source = Literal["demonstrations", "instruction"]


@door(VectorError)
@dataclass(frozen=True, eq=False)
class Means:
    """The mean over `n` prompts of every head's output `z` (before the output projection) and of every block's output
    `resid`, both at the last token; `z` is 0 in a hybrid's layers without attention heads, which have none.

    `source` says what the prompts had in common: "demonstrations" of a task or its "instruction"; `asked` is how many
    prompts were run, of which the model answered `known`; `filtered` says whether only those are in the mean.
    """

    z: Float[Tensor, "layer head d_head"]
    resid: Float[Tensor, "layer d_model"]
    n: Size
    source: Source
    task: str
    asked: Size = 0
    known: Size = 0
    filtered: bool = False

    def __post_init__(self) -> None:
        for name in ("z", "resid"):
            if not torch.isfinite(getattr(self, name)).all():
                raise VectorError(
                    f"{name} of the means of {self.task!r} holds NaN or infinity; check the model's weights."
                )

    @door(VectorError)
    def at_site(self, site: Site) -> Tensor:
        """The mean where a site is, so that `lens.Edit` takes it: `z` of a head (or of all, `[head, d_head]`), or
        `resid_post` of a layer.
        """
        if site.name in ("z", "resid_post"):
            if site.layer is None:
                raise VectorError(
                    unfit("site.layer", None, f"one of the {len(self.z)} layers", "name it: Site('z', 3)")
                )
            layer = indices(site.layer, len(self.z), "layer")[0]
            if site.name == "resid_post":
                return self.resid[layer]
            return self.z[layer] if site.head is None else self.z[layer, indices(site.head, self.z.shape[1], "head")[0]]
        raise VectorError(f"site={site}: means are kept of 'z' and of 'resid_post'.")

    @door(VectorError)
    def fits(self, decoder: Model) -> "Means":
        """Itself, on the model's device.

        Raises: VectorError: means of a model of another shape.
        """
        shape = (decoder.n_layers, decoder.n_heads, decoder.d_head)
        if tuple(self.z.shape) != shape:
            raise VectorError(
                f"means: z of {self.task!r} has the shape {tuple(self.z.shape)}, this model's heads {shape}; compute"
                " them with this model."
            )
        return self


@door(VectorError)
@of_one_model(reads=False)
@torch.no_grad()
def mean_activations(
    model: HFModel,
    prompts: Sequence[TaskPrompt],
    *,
    known: bool = False,
    source: Source | None = None,
    task: str = "",
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Means:
    """The means over prompts at their last token; batch by batch, nothing but the sums is kept.

    Args:
        known: only prompts whose whole answer is the model's greedy choice, read in the same pass (the published filter
            asks for the first token only, rank 0: it keeps more prompts where answers have several tokens); where there
            is none, all, with a warning.
        source: see `Means`; None: by the prompts' kind.
        stop: asked before each batch of prompts.

    Raises: VectorError: no prompt. Stopped: `stop` said so; means over fewer prompts than were asked for are not given.

    Source: Todd et al. 2024. Cost: one pass over each prompt with its answer; memory 256 MiB beside the model.
    """
    if not len(prompts):
        raise VectorError("prompts=[] holds none; give at least one.")
    decoder = Model.of(model)
    if source is None:
        source = "instruction" if prompts[0].kind == "instruction" else "demonstrations"
    widths = (decoder.n_layers, decoder.n_heads, decoder.d_head), (decoder.n_layers, decoder.d_model)
    # all prompts, and those that the model answers
    z, resid = (torch.zeros(2, *w, dtype=torch.float64) for w in widths)
    right = 0
    whole = [torch.cat([p.ids, torch.tensor(p.answer_ids[:-1], dtype=torch.long)]) for p in prompts]
    there = decoder.attention_layers
    for batch, runs in recorded(decoder, whole, ("z",) if there else (), "means", progress=progress, stop=stop):
        last = torch.tensor([runs.starts[k] + len(prompts[i]) - 1 for k, i in enumerate(batch)], device=decoder.device)
        reads = torch.cat(
            [last[k] + torch.arange(len(prompts[i].answer_ids), device=decoder.device) for k, i in enumerate(batch)]
        )
        scores = answer_scores(decoder, runs.final[reads], [prompts[i] for i in batch])
        correct = scores[:, list(SCORES).index("exact")].cpu() == 1
        right += int(correct.sum())
        of_z = torch.zeros(decoder.n_layers, len(batch), *widths[0][1:], dtype=torch.float64)
        for l in there:
            of_z[l] = runs.get("z", l)[last].cpu().double()
        of_resid = torch.stack([runs.get("resid_post", l)[last] for l in range(decoder.n_layers)]).double().cpu()
        z += torch.stack([of_z.sum(1), of_z[:, correct].sum(1)])
        resid += torch.stack([of_resid.sum(1), of_resid[:, correct].sum(1)])
    if known and not right:
        warn(
            f"the model answers none of the {len(prompts)} prompts of {task or 'the task'}; all of them are in the"
            " mean."
        )
    only = bool(known and right)
    n = right if only else len(prompts)

    def put(x):
        return (x[int(only)] / n).to(device=decoder.device, dtype=decoder.dtype)

    return Means(put(z), put(resid), n, source, task, len(prompts), right, only)
