"""Texts of a batch over two made-up devices beside those on one, by the written-out blocks and by the model's own
forward.
"""

import copy
from contextlib import nullcontext
from unittest import mock

import torch

import lens
from lens.engine.writing import readers
from tests.models import tiny
from tests.texts import PROMPTS, edit, without_end


def texts_alike(place):
    """For each way, whether texts, open gates and activations are the same in a model that ``place`` has spread."""
    model = without_end(tiny("llama", seed=3))
    alone, site = copy.deepcopy(model), lens.Site("resid_post", 2)
    gate = lens.Gate.projection(lens.Site("resid_post", 1), torch.ones(32), 0.0)
    edits = [edit(gate), edit(position=-1)]

    def written(of):
        return lens.generate(of, PROMPTS, edits, max_new_tokens=4, start=None, capture=site)

    want, placed, same = written(alone), place(model), {}
    for way in ("walk", "hooks"):
        without = mock.patch.object(readers.Readers, "_written_out", lambda self, longest: None)
        with without if way == "hooks" else nullcontext():
            got = written(placed)
        same[way] = all(
            a.ids == b.ids
            and a.fired == b.fired
            and torch.allclose(a.activations[site], b.activations[site], atol=1e-4)
            for a, b in zip(got, want, strict=True)
        )
    return same
