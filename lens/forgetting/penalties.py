"""Penalties on how far weights move: what has changed, adapters included, and the diagonal Fisher information that
weighs it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Annotated, Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arguments import Count, Filled, HFModel, Seed, door
from ..engine.changes import temporary
from ..engine.places import evaluating
from ..engine.sessions import of_one_model
from ..training import Rows
from .data import ForgettingError, core


def changes(model: Any, anchor: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """How far each weight has moved from ``anchor``, with gradients: by subtraction, or, under a peft adapter, the
    adapter's own product.
    """
    plain = core(model)
    if plain is model:
        return {name: p - anchor[name] for name, p in plain.named_parameters() if name in anchor}
    out = {}
    for name, module in plain.named_modules():
        if hasattr(module, "get_delta_weight") and f"{name}.weight" in anchor:
            out[f"{name}.weight"] = module.get_delta_weight("default")
    return out


def squared_change(model: Any, anchor: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None) -> Tensor:
    """Sum of squared changes, each times its weight where weights are given."""
    terms = [
        (d.square() if weights is None else weights[name] * d.square()).sum()
        for name, d in changes(model, anchor).items()
    ]
    return torch.stack(terms).sum()


@door(ForgettingError)
@of_one_model(reads=False)
def fisher(
    model: HFModel,
    rows: Rows,
    names: Annotated[Sequence[str] | Set[str], Filled()],
    *,
    kind: Literal["true", "empirical"] = "true",
    examples: Count = 200,
    seed: Seed = 0,
) -> dict[str, Tensor]:
    """Diagonal Fisher information of named weights: the mean over examples of the squared gradient of an example's
    log-likelihood.

    Args:
        kind: "true" draws the counted tokens from the model itself (given the row before them); "empirical" takes the
            rows' own tokens.
        examples: rows used, drawn by ``seed`` without replacement; one backward pass each.

    Raises: ForgettingError: an unknown kind, no rows, a name that the model does not have.

    Source: Kirkpatrick et al. 2017, Overcoming catastrophic forgetting in neural networks; Kunstner et al. 2019 for the
        difference of the two kinds.
    """
    if len(rows.ids) == 0:
        raise ForgettingError("rows: old_rows has 0 rows; expected at least one.")
    own = dict(model.named_parameters())
    if absent := [n for n in names if n not in own]:
        raise ForgettingError(f"names: {absent[0]!r} is no weight of this model.")
    chosen = {n: own[n] for n in names}
    generator = torch.Generator().manual_seed(int(seed))
    sample = torch.randperm(len(rows.ids), generator=generator)[:examples]
    out, device = {n: torch.zeros_like(p) for n, p in chosen.items()}, next(iter(chosen.values())).device
    flags = {n: p.requires_grad for n, p in own.items()}
    with temporary(model) as here, evaluating(model):
        here.back(lambda: _ask(own, flags))
        _ask(own, {n: n in chosen for n in own})
        for i in sample.tolist():
            n = int(rows.lengths[i])
            at = rows.targets[i, :n].nonzero()[:, 0]
            logits = model(input_ids=rows.ids[i : i + 1, :n].to(device), use_cache=False).logits[0, at - 1].float()
            labels = (
                rows.ids[i, at]
                if kind == "empirical"
                else torch.multinomial(logits.detach().softmax(-1).cpu(), 1, generator=generator)[:, 0]
            )
            gradients = torch.autograd.grad(
                F.cross_entropy(logits, labels.to(device), reduction="sum"), list(chosen.values()), allow_unused=True
            )
            for name, g in zip(chosen, gradients):
                if g is not None:
                    out[name] += g.square() / len(sample)
    return out


def _ask(parameters: Mapping[str, Tensor], whether: Mapping[str, bool]) -> None:
    for name, p in parameters.items():
        p.requires_grad_(whether[name])


def weights_now(model: Any, names: Iterable[str]) -> dict[str, Tensor]:
    """Detached copies of named weights."""
    own = dict(model.named_parameters())
    return {n: own[n].detach().clone() for n in names}


@torch.no_grad()
def move_towards(model: Any, towards: Mapping[str, Tensor], ratio: float) -> None:
    """Moves weights in place: ``(1 - ratio) * now + ratio * towards``."""
    for name, p in model.named_parameters():
        if name in towards:
            p.mul_(1 - ratio).add_(towards[name].to(p), alpha=ratio)


#: A filter of weights by name, as the model without adapters calls them.
Trains = Callable[[str], bool]


def upper_layers(model: Any, share: float) -> tuple[Trains, list[str]]:
    """A filter that lets only the upper blocks (and what follows them) train, and the names it freezes; an output layer
    tied to the embedding stays frozen with it.
    """
    from .data import anatomy

    a = anatomy(model)
    frozen_blocks = a.layers[: int(share * a.n_layers)]
    frozen = {id(p) for block in frozen_blocks for p in block.parameters()} | {id(p) for p in a.embedding.parameters()}
    early = [name for name, p in model.named_parameters() if id(p) in frozen]
    # learned positions also lie below every block
    early += [name for name, p in model.named_parameters() if name.split(".")[-2:-1] in (["wpe"], ["embed_positions"])]
    closed = set(early)
    return (lambda name: name not in closed), early


def attention_weights(model: Any) -> Trains:
    """A filter that lets only the attention's projections train."""
    from ..engine.probe import ATTENTION

    def inside(name):
        return any(part in ATTENTION for part in name.split("."))

    names = {name for name, p in model.named_parameters() if inside(name) and p.ndim >= 2}
    names |= {name.removesuffix("weight") + "bias" for name in names}
    if not names:
        raise ForgettingError(f"method 'attention_only': no attention projection was found in {type(model).__name__}.")
    return lambda name: name in names
