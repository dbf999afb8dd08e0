"""A thousand rows that each patch one feature of one token, or set it to a number, beside as many rows that patch the
whole stream at the same layer and positions; all take turns.
"""

from __future__ import annotations

import statistics
from typing import Any

import torch

from .machine import set_threads, timed
from .tables import say

ROUNDS, ROWS = {True: 1, False: 5}, {True: 40, False: 1000}
N_FEATURES, K = {True: 256, False: 24_576}, 64
CLEAN = "When John and Mary went to the shops, John gave the bottle to"
CORRUPTED = "When Paul and Anna went to the shops, Paul gave the bottle to"


def run(quick: bool) -> dict[str, Any]:
    """The figures; `quick`: of a random model of four layers and a small dictionary."""
    import lens
    from lens.engine.model import Model

    set_threads()
    if quick:
        from tests.models import tiny

        model, layer = tiny("llama"), 1
        clean, corrupted = torch.arange(1, 13), torch.cat([torch.tensor([1, 40, 50]), torch.arange(4, 13)])
    else:
        model, layer = lens.load("smollm2"), 15
        both = [model.tokenizer(text)["input_ids"] for text in (CLEAN, CORRUPTED)]
        clean, corrupted = map(torch.tensor, both)
    view = Model.of(model)
    sae = _dictionary(view.d_model, N_FEATURES[quick], min(K, N_FEATURES[quick] // 4), layer)
    base, source = view.record_pair([corrupted], [clean], ())
    at = [
        p
        for p in range(len(clean))
        if not torch.equal(base.get("resid_pre", layer)[p], source.get("resid_pre", layer)[p])
    ]
    active = [(sae.values(runs.get("resid_pre", layer)) != 0) for runs in (base, source)]
    cells = [(p, int(i)) for p in at for i in (active[0] | active[1])[p].nonzero()[:, 0]][: ROWS[quick]]
    last = [[len(clean) - 1]]

    def feature(op: str, value: Any) -> Any:
        rows = [(0, [lens.Edit(lens.Site("feature", sae, index=i, position=(p,)), op, value)]) for p, i in cells]
        return lambda: view.run(base, rows, last)

    def whole() -> Any:
        rows = [(0, [lens.Edit(lens.Site("resid_pre", layer, position=(p,)), "replace", source[0])]) for p, _ in cells]
        return lambda: view.run(base, rows, last)

    calls = {"resid": whole(), "patch": feature("replace", source[0]), "edit": feature("replace", 3.0)}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(ROUNDS[quick] + 1):
        say(f"features, round {number} of {ROUNDS[quick]}")
        for name, call in calls.items():
            taken = timed(call)[0]
            if number:  # the first looks at the model
                seconds[name].append(taken)
    ratios = {
        name: statistics.median(a / b for a, b in zip(seconds[name], seconds["resid"])) for name in ("patch", "edit")
    }
    return {
        "features_over_resid": max(ratios.values()),
        "patch_over_resid": ratios["patch"],
        "edit_over_resid": ratios["edit"],
        "rows": len(cells),
        "n_features": sae.n_features,
        "seconds": {name: statistics.median(of) for name, of in seconds.items()},
    }


def _dictionary(width: int, n: int, k: int, layer: int) -> Any:
    """A random top-k dictionary, read by its own directions."""
    import lens

    directions = torch.randn(n, width, generator=torch.Generator().manual_seed(0))
    directions /= directions.norm(dim=1, keepdim=True)
    weights = directions.T, torch.zeros(n), directions, torch.zeros(width)
    return lens.features.from_weights(*weights, tap="resid_pre", layer=layer, k=k)
