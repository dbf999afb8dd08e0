"""How much of a logit difference each head and MLP writes into the residual stream directly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..arguments import HFModel, Positions, Token, door
from ..engine.model import Model
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..results import dataset as results
from .labelling import alone, answer_coords, set_units
from .norms import back_through_norm, kv_heads, module_bias, norm_scale, post_norm_scale
from .places import one_position
from .reading import Prompt, ReadoutError, answers, read_prompts, record, recorded


@door(ReadoutError)
@of_one_model(reads=False)
@torch.no_grad()
def direct_logit_attribution(
    model: HFModel,
    pairs: Prompt | Sequence[Prompt],
    *,
    position: Positions = "last",
    answer: Token | Sequence[Token] | None = None,
    foil: Token | Sequence[Token] | None = None,
    which: str = "clean",
) -> xr.Dataset:
    """How much of the logit difference each head and MLP writes into the residual stream directly, at one position.

    The final norm is frozen at the scale that it has in the run; the logit difference is then a sum over what was added
    to the stream, and the parts add up to it exactly (to rounding):
    ``contribution.sum(["layer", "component"]) + embed + bias == total``.
    Effects through later layers are not in it: patch for those.

    Args:
        pairs: pairs, or texts with ``answer`` given; several have a ``prompt`` axis.
        position: an int or the name of one token, whose prediction is taken apart.
        answer, foil: as in ``logit_lens``; without a foil the answer's logit is taken apart.
        which: ``clean`` or ``corrupted``: the prompt of a pair that is read.

    Returns:
        ``contribution`` over ``[prompt,] layer, component`` in logits; components: "head 0", ..., "attn_bias" (the
        attention output's bias, and a post-norm's; 0 where there is none), "mlp", and in hybrids "mixer": what linear
        attention or a state space adds, in place of attention or beside it. NaN where a layer has no such thing (heads
        in a layer without attention), which sums leave out. ``embed``: the embedding with learned
        positions; ``bias``: of the final norm and the unembedding; ``total``: the model's logit difference. Coordinates
        ``head``, ``kv_head`` (-1: no head) along ``component``. A post-norm (OLMo 2) is frozen at the scale of the
        whole attention output, which makes each head's share of it linear too.

    Raises:
        ReadoutError: no answer, a position of several tokens. PromptError: see ``logit_lens``. SiteError: a model
        without attention heads, or whose stream is more than a sum (norms on the stream itself, as in OPT-350m).

    Source: Elhage et al. 2021, A Mathematical Framework for Transformer Circuits; Wang et al. 2023, Interpretability in
        the Wild, section 3.1.
    """
    decoder = Model.of(model)
    decoder.attention_parts()
    decoder.require_sum()
    single, readings = read_prompts(model, pairs, which, "pairs")
    wanted = answers(model, readings, answer, foil)
    compared: list[tuple[int, int | None]] = []
    for r, (a, f) in zip(readings, wanted):
        if a is None:
            raise ReadoutError(
                f"answer=None, and {r.text!r} is plain text, which has no answer; give answer=' Paris', or a lens.Pair."
            )
        compared.append((a, f))
    at = one_position(readings, position)
    heads = range(decoder.n_heads)
    others = ["attn_bias", *["mixer"] * any(map(decoder.headless, range(decoder.n_layers))), "mlp"]
    components = [*(f"head {h}" for h in heads), *others]
    value = {n: np.zeros(len(readings), np.float32) for n in ("embed", "bias", "total")}
    value["contribution"] = np.zeros((len(readings), decoder.n_layers, len(components)), np.float32)
    for batch, runs in recorded(decoder, [r.ids for r in readings], ("z", "mlp_out"), "direct logit attribution"):
        token = torch.tensor([runs.starts[n] + at[i] for n, i in enumerate(batch)], device=decoder.device)
        for name, part in _attributed(decoder, runs, token, [compared[i] for i in batch]).items():
            value[name][batch] = part.cpu().numpy()
    ds = xr.Dataset(
        {n: (("prompt", "layer", "component")[: v.ndim], v) for n, v in value.items()},
        {
            "prompt": np.arange(len(readings)),
            "layer": np.arange(decoder.n_layers),
            "component": np.array(components),
            "head": ("component", [*heads, *[-1] * len(others)]),
            "kv_head": ("component", [*kv_heads(decoder, heads), *[-1] * len(others)]),
            "label": ("prompt", np.array([r.label for r in readings], dtype=str)),
            "token": ("prompt", np.array([r.tokens[p] for r, p in zip(readings, at)], dtype=str)),
            "token_index": ("prompt", at),
            **answer_coords(model, readings, wanted),
        },
    )
    set_units(ds, contribution="logits", embed="logits", bias="logits", total="logits")
    call = dict(position=position, answer=answer, foil=foil, which=which)
    return results.stamp(
        alone(ds, "prompt") if single else ds, record(model, decoder, "direct_logit_attribution", call, readings)
    )


def _attributed(
    decoder: Model, runs: Runs, token: Tensor, wanted: Sequence[tuple[int, int | None]]
) -> dict[str, Tensor]:
    """The parts of the logit difference at some tokens ``[n]``: contribution ``[n, layer, component]`` and the rest
    ``[n]``.
    """
    weight, bias = decoder.unembedding(), decoder.unembedding_bias()

    def column(n):
        return torch.tensor([w[n] if w[n] is not None else 0 for w in wanted], device=token.device)

    there = torch.tensor([float(f is not None) for _, f in wanted], device=token.device)

    def difference(table: Tensor) -> Tensor:
        second = table[column(1)].float()
        return table[column(0)].float() - second * there.reshape(-1, *[1] * (second.ndim - 1))

    unembed, final = difference(weight), runs.resid[-1][token]
    # the direction in the residual stream along which an addend counts
    direction = back_through_norm(decoder.norm, unembed, norm_scale(decoder.norm, final))

    def along(x):
        return (x.float() * direction).sum(-1)

    def of_attention(l: int, block: Any) -> Tensor:
        """Each head's part, and what the output adds whatever they are."""
        if l not in with_heads:
            return torch.full((len(token), decoder.n_heads + 1), torch.nan, device=token.device)
        z = runs.get("z", l)[token].float()
        inner = back_through_norm(block.post_attn, direction, post_norm_scale(block, z))
        by_head = torch.einsum("nhd,hdm,nm->nh", z, block.output_weight().float(), inner)
        rest = torch.zeros_like(there)
        if (b := block.output_bias()) is not None:
            rest = rest + inner @ b
        if (b := module_bias(block.post_attn)) is not None:
            rest = rest + direction @ b
        return torch.cat([by_head, rest[:, None]], 1)

    with_heads = set(decoder.attention_layers)
    headless = [decoder.headless(l) for l in range(decoder.n_layers)]
    parts = []
    for l, block in enumerate(decoder.attention_parts()):
        columns = [of_attention(l, block)]
        if any(headless):
            site = headless[l]
            mixed = torch.full_like(there, torch.nan) if site is None else along(runs.get(site, l)[token])
            columns.append(mixed[:, None])
        parts.append(torch.cat([*columns, along(runs.get("mlp_out", l)[token])[:, None]], 1))
    logits = decoder.unembed(final).float()
    b_norm = module_bias(decoder.norm)
    constant = (unembed @ b_norm if b_norm is not None else torch.zeros_like(there)) + (
        difference(bias) if bias is not None else 0
    )

    def own(n):
        return logits.gather(1, column(n)[:, None])[:, 0]

    return {
        "contribution": torch.stack(parts, 1),
        "embed": along(runs.get("resid_pre", 0)[token]),
        "bias": constant,
        "total": own(0) - there * own(1),
    }
