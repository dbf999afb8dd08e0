"""Features as cells of a grid: each against a plain hook, and scores by gradients against autograd's own."""

import numpy as np
import pytest
import torch

import lens
from lens import Pair, PatchError
from lens.engine.features import Tap
from tests import naive
from tests.models import speaking, tiny

from .tiny import KINDS, dictionary, features, norm_of_mlp, unit

PAIR = Pair("w5 w17 w3 w88 w41 w9 w60", corrupted="w5 w17 w3 w21 w41 w50 w60", answer=" w11", foil=" w12")
OTHER = Pair("w5 w17 w4 w88 w41 w9 w61", corrupted="w5 w17 w4 w21 w41 w50 w61", answer=" w13", foil=" w12")
CLEAN, CORRUPTED = (torch.tensor([int(w[1:]) for w in t.split()]) for t in (PAIR.clean, PAIR.corrupted))


@pytest.fixture(scope="module")
def llama():
    return speaking("llama")


def read(hf, ids, sae):
    """What a dictionary reads of each token, from a hook."""
    if sae.reads.site == "mlp_in":
        x = naive.activation(hf, ids, "resid_mid", sae.reads.layer)
        return norm_of_mlp(hf, sae.reads.layer, x, sae.reads.gain)
    return naive.activation(hf, ids, sae.reads.site, sae.reads.layer)


def direct(hf, sae, base, source):
    """The logit difference of every feature and position, one hooked forward each; NaN where nothing differs."""
    of_base, of_source = read(hf, base, sae), read(hf, source, sae)
    out = np.full((sae.n_features, len(base)), np.nan)
    for p in range(len(base)):
        delta = features(sae, of_source[p]) - features(sae, of_base[p])
        for i in delta.nonzero()[:, 0].tolist():
            step = unit(sae, of_base[p].flatten()) * delta[i] * sae.decoder.whole[i].double()

            def change(x, p=p, step=step):
                x = x.clone()
                x[0, p] += step.view(x[0, p].shape).to(x)
                return x

            logits = naive.forward(hf, base, [(sae.writes.site, sae.writes.layer, change)])[-1]
            out[i, p] = logits[11] - logits[12]
    return out


@pytest.mark.parametrize("direction", ["denoise", "noise"])
@pytest.mark.parametrize("kind", ["top-k", pytest.param("heads", marks=pytest.mark.long), "layer norm", "transcoder"])
def test_every_cell_is_a_hooked_forward(kind, direction, llama):
    sae, other = KINDS[kind](), tiny("llama")
    ds = lens.patch(llama, PAIR, lens.Site("feature", sae), ("feature", "position"), direction=direction)
    base, source = (CORRUPTED, CLEAN) if direction == "denoise" else (CLEAN, CORRUPTED)
    want = direct(other, sae, base, source)[ds.feature.values]
    own = float(ds.corrupted if direction == "denoise" else ds.clean)
    ours = ds.value.values
    np.testing.assert_allclose(ours, np.where(np.isnan(want), own, want), rtol=0, atol=1e-4 * np.nanmax(np.abs(want)))
    assert (ours[np.isnan(want)] == np.float32(own)).all() and np.isfinite(want).sum() > 20
    assert ds.attrs and ds.sizes == {"feature": len(ds.feature), "position": 7} and int(ds.layer) == 1
    record = lens.record(ds)["call"]
    assert record["site"] == "feature" and record["dictionary"]["n_features"] == sae.n_features


def test_features_are_patched_at_all_positions_together_and_several_pairs_have_one_axis(llama):
    sae = KINDS["autoencoder"]()
    site = lens.Site("feature", sae)
    both = lens.patch(llama, [PAIR, OTHER], site, "feature", features=[3, 8, 1], positions=[3, 5])
    assert both.value.dims == ("prompt", "feature") and both.feature.values.tolist() == [3, 8, 1]
    view = lens.Model.of(llama)
    base, source = view.record_pair([CORRUPTED], [CLEAN], ())
    rows = [
        (0, [lens.Edit(lens.Site("feature", sae, index=i, position=(3, 5)), "replace", source[0])]) for i in (3, 8, 1)
    ]
    logits = view.unembed(view.run(base, rows, [[6]]).resid)
    np.testing.assert_allclose(both.value[0], (logits[:, 11] - logits[:, 12]).numpy(), rtol=0, atol=1e-5)


def test_switching_features_off_edits_the_clean_run(llama):
    sae = KINDS["autoencoder"]()
    ds = lens.patch(llama, PAIR, lens.Site("feature", sae), ("feature", "position"), source="zero", positions=4)
    f = sae.values(naive.activation(tiny("llama"), CLEAN, "resid_post", 1))[4]
    assert ds.feature.values.tolist() == f.nonzero()[:, 0].tolist()
    with lens.edited(llama, lens.Edit(lens.Site("feature", sae, index=int(ds.feature[0]), position=4), "zero")):
        logits = llama(CLEAN[None]).logits[0, -1]
    assert abs(float(ds.value[0, 0]) - float(logits[11] - logits[12])) < 1e-4


@pytest.mark.parametrize("kind", ["autoencoder", "heads", "transcoder"])
def test_attribution_passes_the_gradient_through_and_adds_up_to_the_node(kind, llama):
    """Against autograd on a second copy; features and what they leave sum to the score of the activation."""
    sae, other = KINDS[kind](), tiny("llama")
    ds = lens.patch(llama, PAIR, lens.Site("feature", sae), ("feature", "position"), method="attribution")
    held = {}

    def leaf(x):
        held["x"] = x.detach().clone().requires_grad_()
        return held["x"]

    with torch.enable_grad():
        undo = naive.hook(other, sae.writes.site, sae.writes.layer, leaf)
        logits = other(CORRUPTED[None]).logits[0, -1]
        (logits[11] - logits[12]).backward()
        undo()
    g = held["x"].grad[0].flatten(1).double()
    of_base, of_source = read(other, CORRUPTED, sae), read(other, CLEAN, sae)
    f = torch.stack([features(sae, s) - features(sae, b) for s, b in zip(of_source, of_base)])
    scores = (f * (g @ sae.decoder.whole.double().T)).T
    scale = float(scores.abs().max())
    np.testing.assert_allclose(ds.effect.values, scores[ds.feature.values], rtol=0, atol=2e-4 * scale)
    written = [
        naive.activation(other, ids, sae.writes.site, sae.writes.layer).flatten(1).double()
        for ids in (CLEAN, CORRUPTED)
    ]
    moved = written[0] - written[1]
    error = moved - f @ sae.decoder.whole.double()
    np.testing.assert_allclose(ds.node, (moved * g).sum(1), rtol=0, atol=2e-4 * scale)
    np.testing.assert_allclose(ds.rest, (error * g).sum(1), rtol=0, atol=2e-4 * scale)
    node = lens.patch(llama, PAIR, sae.writes.site, method="attribution", layers=[1])
    np.testing.assert_allclose(ds.effect.sum("feature") + ds.rest, node.effect[0], rtol=0, atol=2e-4 * scale)


def test_tokens_that_a_dictionary_was_not_trained_on_are_not_numbers(llama):
    sae = dictionary(Tap("resid_post", 1), skip_tokens=4)
    ds = lens.patch(llama, PAIR, lens.Site("feature", sae), ("feature", "position"))
    assert np.isnan(ds.value[:, :4]).all() and np.isfinite(ds.value[:, 4:]).all()


def test_what_does_not_go_with_features_is_refused(llama):
    site = lens.Site("feature", KINDS["autoencoder"]())
    for more, says in [
        (dict(over=("layer", "position")), "over="),
        (dict(layers=[1]), r"layers=\[1\]"),
        (dict(window=3), "window=3"),
        (dict(features=[1, 1]), "features="),
        (dict(source_layer=1), "source_layer=1"),
    ]:
        with pytest.raises(PatchError, match=says):
            lens.patch(llama, PAIR, site, **{"over": ("feature", "position")} | more)
    with pytest.raises(lens.SiteError, match="feature=24"):
        lens.patch(llama, PAIR, site, ("feature", "position"), features=[24])
    with pytest.raises(PatchError, match="name of a site"):
        lens.patch(llama, PAIR, lens.Site("resid_pre", 1))
    with pytest.raises(PatchError, match="features="):
        lens.patch(llama, PAIR, "resid_pre", features=[1])
