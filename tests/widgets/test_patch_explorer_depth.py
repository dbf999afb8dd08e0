"""The depth beside a map: measured when it is asked for, kept to its run, and said where there is none."""

import json

import lens
from tests.models import speaking
from tests.patching.test_depth import ITEM, flipped
from tests.widgets.test_patch_explorer import SECONDS, explorer
from widgets.patch_explorer.depths import told


def asked(view):
    view._on_depth({})
    assert view.wait(SECONDS)
    return view.depth


def test_a_depth_is_that_of_lens_depth_and_is_of_the_run_that_is_shown():
    model = speaking()
    pair = flipped(model, ITEM)
    ds = lens.depth(model, [pair], gap=1e-6, progress=False)
    view = explorer()
    view._on_depth({})
    assert view.depth == {}  # no run is shown
    view.run(wait=True)
    calls = []
    view._depth = lambda m, pairs, progress: calls.append(pairs) or ds
    depth = asked(view)
    assert (depth["run"], depth["status"]) == (1, "ready") and calls == [[view._shown.pair]]
    assert [row[0] for row in depth["rows"]] == [0, 1, 2, 3]
    for k, measure in ((1, "reading"), (2, "writing")):
        assert [row[k] for row in depth["rows"]] == [float(x) for x in ds.effect.sel(measure=measure)[0]]
        n = float(ds.depth.sel(measure=measure)[0])
        words = f"Depth of {measure}: " + ("behind the last block (3)" if n == 3 else f"layer {n:.0f} of 3")
        assert words in depth["text"]
    json.dumps(depth)
    assert depth["text"] in view._static()
    view.run(wait=True)
    assert depth["text"] not in view._static()  # of another run


def test_a_pair_that_has_none_is_told_why():
    view = explorer()
    view.run(wait=True)

    def none(model, pairs, progress):
        raise lens.PatchError("items[0]: the last token differs")

    view._depth = none
    assert asked(view) == {"run": 1, "status": "error", "text": "No depth: items[0]: the last token differs"}
    ds = lens.depth(speaking(), [flipped(speaking(), ITEM)], gap=1e6, progress=False)
    assert told(ds)["text"].startswith("Not determined (no gap)")
    view._depth = lambda m, pairs, progress: ds
    assert asked(view)["status"] == "ready"
