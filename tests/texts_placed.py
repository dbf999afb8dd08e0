"""Texts of a batch over two made-up devices beside those on one, by the written-out blocks and by the model's own
forward; in a process of its own.
"""

import copy
import json

import torch

import lens
from lens.engine.writing import call
from tests.models import tiny
from tests.placed import late
from tests.simulated_devices import Simulated, spread
from tests.texts import PROMPTS, edit, without_end


def main():
    """Prints, for each way, whether texts, open gates and activations are the same."""
    model = without_end(tiny("llama", seed=3))
    alone, site = copy.deepcopy(model), lens.Site("resid_post", 2)
    gate = lens.Gate.projection(lens.Site("resid_post", 1), torch.ones(32), 0.0)
    edits = [edit(gate), edit(position=-1)]

    def written(of):
        return lens.generate(of, PROMPTS, edits, max_new_tokens=4, start=None, capture=site)

    want, same = written(alone), {}
    with Simulated():
        placed = spread(model, late(model).__contains__)
        for way in ("walk", "hooks"):
            if way == "hooks":
                call._Path._written_out = lambda self, ids, longest: None
            got = written(placed)
            same[way] = all(
                a.ids == b.ids
                and a.fired == b.fired
                and torch.allclose(a.activations[site], b.activations[site], atol=1e-4)
                for a, b in zip(got, want)
            )
    print(json.dumps(same))


if __name__ == "__main__":
    main()
