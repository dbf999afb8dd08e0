"""The weights of the organism `wired`, written down.

The stream has blocks of dimensions: the present token, the token before, the answer (a dimension for each token), the
position, and spare ones. Everything that is written sums to zero over the stream, the balance lying in the spare
dimensions, so that layer norms only divide; by how much is worked out, and nearly the same for all tokens.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .recipe import Recipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Heads of the first layer that copy the token before, and the head of the second that looks for it.
COPYING, INDUCTION = (0, 1), 0


def edges(recipe: Recipe | None = None) -> dict[str, list[str]]:
    """The edges of the circuit, writer and reader as in MIB's files.

    Returns: ``tokens``: those through which what the tokens are reaches the answer; ``positions``: those that only tell
    the copying heads where they are, the same in two prompts of one length.
    """
    heads = [f"a0.h{h}" for h in COPYING]
    into = f"a1.h{INDUCTION}"
    return {
        "tokens": [
            *(f"input->{h}<v>" for h in heads),
            *(f"{h}->{into}<k>" for h in heads),
            f"input->{into}<q>",
            f"input->{into}<v>",
            f"{into}->logits",
        ],
        "positions": [f"input->{h}<{side}>" for h in heads for side in "qk"],
    }


class _Stream:
    """Where in the stream what stands, and how large it is after each norm."""

    def __init__(self, recipe: Recipe):
        v, self.spare = recipe.vocab, slice(3 * recipe.vocab + recipe.context, recipe.d_model)
        self.token, self.before, self.answer = (slice(i * v, (i + 1) * v) for i in range(3))
        self.position = slice(3 * v, 3 * v + recipe.context)
        self.recipe = recipe

    def scale(self, parts: int) -> float:
        """What a norm multiplies by, of a stream in which so many parts of size one stand; noise is left out."""
        squares = parts + parts**2 / self.recipe.spare
        return float((self.recipe.d_model / squares) ** 0.5)

    def balanced(self, rows: Tensor) -> Tensor:
        """Rows of the stream's width that sum to zero."""
        rows = rows.clone()
        rows[..., self.spare] -= rows.sum(-1, keepdim=True) / self.recipe.spare
        return rows


@torch.no_grad()
def build(recipe: Recipe) -> PreTrainedModel:
    """The model: a GPT-2 of two layers, in eval mode.

    Random are only the parts that do not matter, from the recipe's seed.
    """
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=recipe.vocab,
        n_positions=recipe.context,
        n_embd=recipe.d_model,
        n_layer=2,
        n_head=recipe.heads,
        n_inner=recipe.d_mlp,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.zero_()
    for name, parameter in model.named_parameters():
        if ".ln_" in name and name.endswith("weight"):
            parameter.fill_(1.0)
    stream, generator = _Stream(recipe), torch.Generator().manual_seed(recipe.seed)
    one = torch.eye(max(recipe.vocab, recipe.context))
    tokens, positions = one[: recipe.vocab, : recipe.vocab], one[: recipe.context, : recipe.context]

    def placed(at: slice, values: Tensor) -> Tensor:
        rows = torch.zeros(len(values), recipe.d_model)
        rows[:, at] = values
        return stream.balanced(rows)

    trunk = model.transformer
    trunk.wte.weight.copy_(placed(stream.token, tokens))
    trunk.wpe.weight.copy_(placed(stream.position, positions))
    for layer, block in enumerate(trunk.h):
        for head in range(recipe.heads):
            wires = _copying(stream) if layer == 0 and head in COPYING else None
            wires = _induction(stream) if layer == 1 and head == INDUCTION else wires
            q, k, v, o = wires or _disturbing(stream, generator)
            mine = slice(head * recipe.d_head, (head + 1) * recipe.d_head)
            for at, read in enumerate((q, k, v)):
                columns = slice(at * recipe.d_model + mine.start, at * recipe.d_model + mine.stop)
                block.attn.c_attn.weight[:, columns] = read
            block.attn.c_proj.weight[mine] = o
        into, out = _disturbing_mlp(stream, generator)
        block.mlp.c_fc.weight.copy_(into)
        block.mlp.c_proj.weight.copy_(out)
    # after the last layer the answer stands beside the token, the one before and the position
    model.lm_head.weight[:, stream.answer] = tokens * recipe.logit / stream.scale(4)
    return model


def _read(stream: _Stream, at: slice, shift: int = 0) -> Tensor:
    """``[d_model, d_head]``: what stands in a block, in a head's first dimensions; `shift`: so many further on."""
    out = torch.zeros(stream.recipe.d_model, stream.recipe.d_head)
    width = at.stop - at.start - shift
    out[at, shift : shift + width] = torch.eye(at.stop - at.start)[:, :width]
    return out


def _write(stream: _Stream, at: slice, size: float) -> Tensor:
    """``[d_head, d_model]``: a head's first dimensions into a block."""
    out = torch.zeros(stream.recipe.d_head, stream.recipe.d_model)
    out[: at.stop - at.start, at] = torch.eye(at.stop - at.start)
    return stream.balanced(out) * size


def _copying(stream: _Stream) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Queries, keys, values and outputs of a head that looks at the position before its own and writes its token."""
    recipe, scale = stream.recipe, stream.scale(2)
    sharp = recipe.copying * recipe.d_head**0.5 / scale**2
    keys = _read(stream, stream.position, shift=1)
    copied = _read(stream, stream.token) / scale
    return _read(stream, stream.position) * sharp, keys, copied, _write(stream, stream.before, 1 / len(COPYING))


def _induction(stream: _Stream) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Those of the head that looks where the present token is the token before, and writes the token there."""
    recipe, scale = stream.recipe, stream.scale(3)
    sharp = recipe.sharpness * recipe.d_head**0.5 / scale**2
    found = _read(stream, stream.token) / scale
    return _read(stream, stream.token) * sharp, _read(stream, stream.before), found, _write(stream, stream.answer, 1.0)


def _disturbing(stream: _Stream, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Those of a head that reads everything but the answer at random, and writes into spare dimensions."""
    recipe = stream.recipe

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) / shape[0] ** 0.5

    reads = [random(recipe.d_model, recipe.d_head) for _ in range(3)]
    for read in reads:
        read[stream.answer] = 0
    return reads[0], reads[1], reads[2], _spare(stream, random(recipe.d_head, recipe.spare)) * recipe.noise


def _disturbing_mlp(stream: _Stream, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs ``[d_model, d_mlp]`` and outputs ``[d_mlp, d_model]`` of an MLP that does the same."""
    recipe = stream.recipe
    into = torch.randn(recipe.d_model, recipe.d_mlp, generator=generator) / recipe.d_model**0.5
    into[stream.answer] = 0
    out = torch.randn(recipe.d_mlp, recipe.spare, generator=generator) / recipe.d_mlp**0.5
    return into, _spare(stream, out) * recipe.noise


def _spare(stream: _Stream, rows: Tensor) -> Tensor:
    """Rows in the spare dimensions that sum to zero."""
    out = torch.zeros(len(rows), stream.recipe.d_model)
    out[:, stream.spare] = rows - rows.mean(-1, keepdim=True)
    return out
