"""Texts by whole forwards: what is written in a batch is compared with it, row by row and step by step.

The reference reads a row's whole text anew at every step, by itself, on a model of its own; what acts on a token is
what acted when it was first read.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import torch
from torch import nn

import lens
from lens import Edit, Site
from lens.engine.writing import readers

PROMPTS = [[1, 2, 3, 40, 5], [7, 8], [1, 2, 9, 10, 11, 60, 4, 30], [1, 2, 3, 40, 6]]
STEPS = 7
VECTOR = torch.randn(32, generator=torch.Generator().manual_seed(4)) * 2
ASKED = torch.randn(32, generator=torch.Generator().manual_seed(5))


@dataclass
class Text:
    """A text as the reference has it: its tokens, the step at which each was read, and the logits of each step."""

    ids: list
    read: list
    logits: list = field(default_factory=list)


def blocks_of(model):
    """The list of decoder blocks: the longest list of modules that are alike enough to be called one after another."""
    count = getattr(model.config, "get_text_config", lambda: model.config)().num_hidden_layers
    lists = [m for name, m in model.named_modules() if isinstance(m, nn.ModuleList) and "vision" not in name]
    return next(m for m in lists if len(m) == count)


@contextlib.contextmanager
def out_of(block, change):
    def hook(_, args, out):
        new = change(out[0] if isinstance(out, tuple) else out)
        return (new, *out[1:]) if isinstance(out, tuple) else new

    handle = block.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def near_tie(logits):
    top = logits.topk(2).values
    return float(top[0] - top[1]) < 2e-5 * float(logits.abs().max())


@torch.no_grad()
def alone(model, prompt, acts, layer=1, steps=STEPS, ends=()):
    """Tokens of one text by whole forwards; `acts(text, x)`: by how much the edit acts on each of its tokens, [length],
    told by what leaves the edited block.
    """
    text = Text(list(prompt), [0] * len(prompt))
    for step in range(steps):

        def change(x, text=text):
            return x + acts(text, x[0])[None, :, None] * VECTOR.to(x)

        with out_of(blocks_of(model)[layer], change):
            logits = model(torch.tensor([text.ids]), use_cache=False).logits[0, -1]
        assert not near_tie(logits), "two tokens are as likely: choose another model, this text tells nothing"
        text.logits.append(logits)
        text.ids.append(int(logits.argmax()))
        text.read.append(step + 1)
        if text.ids[-1] in ends:
            break
    return tuple(text.ids[len(prompt) :])


def every(text, x):
    return torch.ones(len(x))


def edit(when=None, position=None, scale=1.0):
    return Edit(Site("resid_post", layer=1, position=position), "add", VECTOR, scale=scale, when=when)


def same(model, fresh, edits, acts, prompts=PROMPTS, **options):
    got = lens.generate(model, prompts, edits, max_new_tokens=STEPS, start=None, **options)
    want = [alone(fresh, p, acts) for p in prompts]
    assert [text.ids for text in got] == want
    return got


def without_end(model):
    model.generation_config.eos_token_id = model.config.eos_token_id = None
    return model


def own(monkeypatch):
    """As of a type whose blocks are not written out."""
    monkeypatch.setattr(readers.Readers, "_written_out", lambda self, longest: None)
