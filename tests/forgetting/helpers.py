"""Small tasks of random tokens, and plain hooked forwards to compare with."""

import contextlib

import torch

from lens.forgetting import Guide, Probe, Stage
from lens.training import Rows

HEADS = ((0, 1), (2, 3), (2, 0))


def prompts(n, seed=0, answer=(1, 3), length=(3, 9)):
    """(ids, answer ids) of varying lengths."""
    g = torch.Generator().manual_seed(seed)

    def draw(lo, hi):
        return torch.randint(1, 97, (int(torch.randint(lo, hi, (1,), generator=g)),), generator=g).tolist()

    return [(draw(*length), draw(*answer)) for _ in range(n)]


def guide(layer=1, seed=5, heads=HEADS, **more):
    return Guide(torch.randn(32, generator=torch.Generator().manual_seed(seed)) * 2, layer, heads, **more)


def stages(n=20):
    return [Stage.of("first", prompts(n, 1), prompts(n, 1)[:4]), Stage.of("second", prompts(n, 2), prompts(n, 2)[:4])]


def probes():
    return [Probe("old task", "instruction", prompts(6, 3)), Probe("fact", "knowledge", prompts(5, 4))]


def old_rows():
    return Rows.of(prompts(12, 3))


@contextlib.contextmanager
def vector_added(model, layer, direction, position, at="block"):
    """A plain torch hook on the block (or on its attention) of a Llama model."""

    def add(_, __, output):
        x = (output[0] if isinstance(output, tuple) else output).clone()
        x[:, position] += direction
        return (x, *output[1:]) if isinstance(output, tuple) else x

    module = model.model.layers[layer] if at == "block" else model.model.layers[layer].self_attn
    handle = module.register_forward_hook(add)
    try:
        yield
    finally:
        handle.remove()


@torch.no_grad()
def logits_of(model, ids, layer=None, direction=None, position=None, at="block"):
    """Logits ``[length, vocab]`` of one row without padding, with a vector where one is given."""
    with vector_added(model, layer, direction, position, at) if direction is not None else contextlib.nullcontext():
        return model(input_ids=torch.tensor([ids])).logits[0]


@torch.no_grad()
def heads_of(model, ids, position, heads):
    """What heads write at a position, ``[k, d_head]``: slices of the output projection's input."""
    seen, handles = {}, []
    for l in {l for l, _ in heads}:
        handles.append(
            model.model.layers[l].self_attn.o_proj.register_forward_pre_hook(
                lambda _, args, l=l: seen.__setitem__(l, args[0][0, position].clone())
            )
        )
    model(input_ids=torch.tensor([ids]))
    for handle in handles:
        handle.remove()
    return torch.stack([seen[l][h * 8 : (h + 1) * 8] for l, h in heads])
