"""Whether an earlier place changes with later tokens: then no number of a model is a log-likelihood."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lens.engine.changes import temporary
from lens.engine.places import alone
from lens.models.quantised_layers import FLOATS, outlier_layer
from lens.models.state import State, plain_name

from ..arguments import NonNegative, door
from .causal import CHANGED, Causal, ScoringError, probe, same

_CAUSAL = "_mnemoscope_causal"
#: How many times what a model makes of one unit in the last place is still rounding.
_ROUNDINGS = 4.0


@door(ScoringError)
@torch.no_grad()
def require_causal(model: Causal) -> None:
    """Refuse a model of which an earlier place changes with later tokens; tried on the probe (in eval mode), once as
    long as the model's structure is what it is. Raises ScoringError.
    """
    if model.__dict__.get(_CAUSAL) is not (state := State.of(model)):
        close = 1e-5 if model.dtype in (torch.float32, torch.float64) else 2e-2
        before, after = (model(input_ids=probe(model, change), use_cache=False).logits for change in (0, CHANGED))
        refuse_ahead(model, before, after, close)
        model.__dict__[_CAUSAL] = state


@door(ScoringError)
def refuse_ahead(
    model: nn.Module,
    before: Float[Tensor, "batch token vocab"],
    after: Float[Tensor, "batch token vocab"],
    close: NonNegative,
) -> None:
    """Raises: ScoringError: the places before the last `CHANGED` of the probe differ by more than the model makes of
    rounding, so it has read what it is asked for; or they are NaN.
    """
    then, now = before[:, :-CHANGED], after[:, :-CHANGED]
    if bool(then.isnan().any()):
        raise ScoringError(
            f"model: this {type(model).__name__} gives NaN for token ids of its own vocabulary, so that no number of it"
            " is a log-likelihood. Load the weights again, or look at what was edited in them."
        )
    if not same(then, now, close) and not same(then, now, _ROUNDINGS * _sensitivity(model)):
        if (layer := outlier_layer(model)) is not None:
            raise ScoringError(
                f"model: the layer {plain_name(layer)!r} (bitsandbytes int8 with a threshold for outliers) multiplies"
                " those inputs in float that are large anywhere in a batch, so that what it gives at a place changes"
                " with later tokens and with other rows, and no number of it is a log-likelihood; quantise with"
                f" llm_int8_threshold=0.0 (lens.load(name, quantization='bitsandbytes-int8')), or {FLOATS}."
            )
        raise ScoringError(
            f"model: this {type(model).__name__} looks ahead (bidirectional attention): what it gives "
            "at a place changes with later tokens, so that no number of it is "
            "the log-likelihood of a token given those before it. Expected a causal language model."
        )


def _sensitivity(model: nn.Module) -> float:
    """What the model makes of a last place: the most by which logits of the probe change, as a share of the largest,
    where every number of its embeddings is one unit further up or down; of three draws.

    Experts' products have other sizes when later tokens are others, and some types enlarge rounding a hundredfold.
    """
    ids, steps = probe(model), torch.Generator().manual_seed(0)

    def moved(x: Tensor) -> Tensor:
        way = torch.randint(0, 2, x.shape, generator=steps).to(x.device, x.dtype) * 2 - 1
        return x * (1 + torch.finfo(x.dtype).eps * way)

    embed: Any = model.get_input_embeddings()  # type: ignore[operator]
    exact = model(input_ids=ids, use_cache=False).logits
    change = 0.0
    with temporary(model) as here:
        here.put(lambda: embed.register_forward_hook(alone(lambda _, args, out: moved(out))).remove)
        for _ in range(3):
            off = (model(input_ids=ids, use_cache=False).logits - exact).abs()
            change = max(change, _largest(off))
    return change / largest if (largest := _largest(exact)) else 0.0


def _largest(x: Tensor) -> float:
    finite = x[x.isfinite()].abs()
    return float(finite.max()) if finite.numel() else 0.0
