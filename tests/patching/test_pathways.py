"""``lens.patching.pathways`` against plain hooks at every layer from one on."""

import dataclasses

import numpy as np
import pytest
import torch

import lens
from lens.patching import pathways
from tests import naive
from tests.models import speaking

PAIR = lens.Pair(
    "w1 w2 w3 w4 w5 w6", corrupted="w1 w12 w3 w14 w5 w6", answer=" w7", foil=" w8", spans={"cue": "w2", "word": "w4 w5"}
)
PAIR = lens.Pair(
    PAIR.clean,
    PAIR.corrupted,
    PAIR.answer,
    PAIR.foil,
    spans=PAIR.spans,
    corrupted_spans={"cue": "w12", "word": "w14 w5"},
)
PLACES = {"cue": [1], "word": [3, 4]}


def ids(text):
    return torch.tensor([int(w[1:]) for w in text.split()])


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_every_cell_is_a_hooked_forward(kind):
    model = speaking(kind)
    model.set_attn_implementation("naive")
    ds = pathways(model, [PAIR], list(PLACES), progress=False)
    clean, other = ids(PAIR.clean), ids(PAIR.corrupted)

    def odds(edits=()):
        out = naive.forward(model, clean, edits)[-1]
        return float(out[7] - out[8])

    for name, group in PLACES.items():
        for layer in range(4):
            edits = []
            for l in range(layer, 3):
                theirs = naive.activation(model, other, "resid_pre", l)

                def change(x, theirs=theirs, group=group):
                    x = x.clone()
                    x[0, group] = theirs[group]
                    return x

                edits.append(("resid_pre", l, change))
            assert float(ds.effect.sel(place=name, layer=layer)[0]) == pytest.approx(odds(edits) - odds(), abs=2e-4)
    assert ds.share.values * (ds.corrupted - ds.clean).values == pytest.approx(ds.effect.values, abs=1e-6)
    assert np.all(ds.effect.sel(layer=3) == 0) and lens.record(ds)["kind"] == "pathways"


def test_a_model_that_no_path_serves_and_numbers_that_are_none_are_named():
    tied = speaking()
    tied.model.layers[1] = tied.model.layers[0]
    for call in (lambda: pathways(tied, [PAIR], ["cue"]), lambda: lens.depth(tied, [PAIR])):
        with pytest.raises(lens.PatchError, match=r"cannot be patched.*layers 0 and 1 are one module \(tied\)"):
            call()
    broken = speaking()
    broken.model.embed_tokens.weight[14] = float("nan")  # a token of the other prompt alone
    with pytest.raises(lens.Error, match="is not finite"):
        pathways(broken, [PAIR], ["cue"], progress=False)


def test_rows_are_split_to_fit_and_a_stop_keeps_what_is_there():
    model = speaking()
    pairs = [dataclasses.replace(PAIR, label=str(i)) for i in range(4)]
    whole, split = (pathways(model, pairs, list(PLACES), memory_mb=mb, progress=False) for mb in (None, 0.02))
    np.testing.assert_allclose(whole.effect, split.effect, atol=1e-5)
    asked = iter([False, True])
    part = pathways(model, pairs, ["cue"], memory_mb=0.02, progress=False, stop=lambda: next(asked, True))
    assert lens.record(part)["status"] == "partial" and part.effect.isnull().any()


def test_what_does_not_fit_is_named():
    model = speaking()
    with pytest.raises(lens.PatchError, match="holds the last token"):
        pathways(model, [PAIR], ["last"])
    with pytest.raises(lens.PatchError, match="name one twice"):
        pathways(model, [PAIR], ["cue", "cue"])
    with pytest.raises(lens.PromptError, match="'verb' is not a named position"):
        pathways(model, [PAIR], ["verb"])
    with pytest.raises(lens.PatchError, match="places"):
        pathways(model, [PAIR], [])
    first = lens.Pair("w1 w2 w3", "w9 w2 w3", " w7", " w8", spans={"cue": "w1"}, corrupted_spans={"cue": "w9"})
    with pytest.warns(UserWarning, match="the first token"):
        pathways(model, first, ["cue"], progress=False)
