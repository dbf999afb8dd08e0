"""Features set to a mean or to another pair's, each cell against a hooked forward, and grids of them kept on disk."""

import numpy as np
import pytest
import torch

import lens
from lens import Pair, PatchError
from lens.engine.features import Tap
from tests import naive
from tests.models import speaking, tiny

from .test_patch import OTHER, PAIR
from .tiny import KINDS, dictionary, features

PAIRS = [PAIR, OTHER]
PROMPTS = [torch.tensor([int(w[1:]) for w in pair.clean.split()]) for pair in PAIRS]
ANSWERS = [(11, 12), (13, 12)]
AT = [2, 5]
OVER = ("feature", "position")


@pytest.fixture(scope="module")
def llama():
    return speaking("llama")


def of(sae, ids):
    """The features of a prompt, ``[position, feature]`` in float64, by a hook."""
    x = naive.activation(tiny("llama"), ids, sae.reads.site, sae.reads.layer)
    return torch.stack([features(sae, one) for one in x])


def logit_diff(hf, sae, prompt, p, step):
    """The metric of a prompt in which something is added to one token."""
    ids = PROMPTS[prompt]

    def change(x):
        x = x.clone()
        x[0, p] += step.to(x)
        return x

    logits = naive.forward(hf, ids, [(sae.writes.site, sae.writes.layer, change)])[-1]
    return float(logits[ANSWERS[prompt][0]] - logits[ANSWERS[prompt][1]])


def sources(llama, sae):
    """What is asked, and what each prompt's features are then set to, ``[position or 1, feature]``."""
    own, skip = [of(sae, ids) for ids in PROMPTS], sae.skip_tokens
    given = torch.linspace(0, 2, sae.n_features)
    runs = lens.Model.of(llama).record(PROMPTS, ("mlp_out",))
    every = torch.cat([f[skip:] for f in own]).mean(0)
    return {
        "tokens": (dict(source="mean"), [own[1][skip:].mean(0)[None], own[0][skip:].mean(0)[None]]),
        "position": (dict(source="mean", mean_over="position"), [own[1], own[0]]),
        "runs": (dict(source=runs), [every[None]] * 2),
        "tensor": (dict(source=given), [given.double()[None]] * 2),
        "resample": (dict(source="resample"), [own[1], own[0]]),
    }


@pytest.mark.parametrize("which", ["tokens", "position", "runs", "tensor", "resample"])
def test_every_cell_of_an_ablation_is_a_hooked_forward(which, llama):
    sae, other = dictionary(Tap("mlp_out", 1), skip_tokens=1), tiny("llama")
    asked, targets = sources(llama, sae)[which]
    ds = lens.patch(llama, PAIRS, lens.Site("feature", sae), OVER, positions=AT, **asked)
    assert lens.record(ds)["call"]["direction"] == "noise" and ds.sizes["position"] == 2
    far = 0
    for prompt in range(2):
        target, own = targets[prompt], of(sae, PROMPTS[prompt])
        for row, i in enumerate(ds.feature.values[::3]):
            for column, p in enumerate(AT):
                step = (target[p if len(target) > 1 else 0, i] - own[p, i]) * sae.decoder.whole[i].double()
                want = logit_diff(other, sae, prompt, p, step)
                ours = float(ds.value[prompt, 3 * row, column])
                assert abs(ours - want) < 1e-4, (prompt, i, p)
                far += abs(want - float(ds.clean[prompt])) > 1e-3
    assert far > 4


def test_a_grid_has_the_features_of_the_runs_that_take_part(llama):
    """Of a mean those of the run that is edited, of resampling those of either; what neither has is not computed."""
    sae = dictionary(Tap("mlp_out", 1), skip_tokens=1)
    site, active = lens.Site("feature", sae), [of(sae, ids)[AT] != 0 for ids in PROMPTS]
    mean = lens.patch(llama, PAIRS, site, OVER, positions=AT, source="mean")
    drawn = lens.patch(llama, PAIRS, site, OVER, positions=AT, source="resample")
    both = (active[0] | active[1]).any(0).nonzero()[:, 0].tolist()
    assert mean.feature.values.tolist() == drawn.feature.values.tolist() == both
    off = ~(active[0] | active[1])[:, both].T.numpy()
    clean = np.broadcast_to(drawn.clean.values[:, None, None], drawn.value.shape).astype(np.float32)
    assert off.any() and (drawn.value.values[:, off] == clean[:, off]).all()
    assert lens.record(drawn)["call"]["partners"] == [1, 0] and lens.record(drawn)["seed"] == 0
    assert lens.record(mean)["call"]["mean"]["prompts"] == 1


def test_means_at_all_positions_together(llama):
    sae = KINDS["autoencoder"]()
    ds = lens.patch(llama, PAIRS, lens.Site("feature", sae), "feature", features=[3, 8], positions=AT, source="mean")
    mean, view = of(sae, PROMPTS[1]).mean(0), lens.Model.of(llama)
    base = view.record([PROMPTS[0]], ())
    rows = [
        (0, [lens.Edit(lens.Site("feature", sae, index=i, position=tuple(AT)), "replace", float(mean[i]))])
        for i in (3, 8)
    ]
    logits = view.unembed(view.run(base, rows, [[6]]).resid)
    np.testing.assert_allclose(ds.value[0], (logits[:, 11] - logits[:, 12]).numpy(), rtol=0, atol=1e-5)


def test_means_that_cannot_be_are_refused(llama):
    sae = dictionary(Tap("resid_post", 1), skip_tokens=2)
    site, short = lens.Site("feature", sae), Pair("w5 w17", corrupted="w5 w18", answer=" w11", foil=" w12")
    longer = Pair("w1 w17 w4", corrupted="w1 w18 w4", answer=" w11", foil=" w12")
    for pairs, asked, says in [
        (PAIR, dict(source="mean"), "there is one pair"),
        (PAIRS, dict(source=torch.zeros(5)), "24 features"),
        (PAIRS, dict(source=torch.full((24,), torch.nan)), "finite number"),
        ([PAIR, short], dict(source="mean", mean_over="position"), "one length"),
        ([short, longer], dict(source="mean", features=[1]), "leaves out the first 2"),
        ([PAIR, short], dict(source="resample"), "no partner"),
        (PAIRS, dict(source="mean", method="attribution"), "method='exact'"),
    ]:
        with pytest.raises(PatchError, match=says):
            lens.patch(llama, pairs, site, OVER, **asked)


@pytest.mark.parametrize(
    "asked, places",
    [
        (dict(align="end", positions=[-1, -3]), {(5, 4), (3, 2)}),
        (dict(positions=[2, 4], source_position=3), {(2, 3), (4, 3)}),
    ],
)
def test_features_are_copied_from_where_another_prompt_has_them(asked, places, llama):
    pair = Pair("w5 w17 w3 w88 w41", corrupted="w9 w5 w17 w3 w21 w50", answer=" w11", foil=" w12")
    clean, corrupted = (torch.tensor([int(w[1:]) for w in text.split()]) for text in (pair.clean, pair.corrupted))
    sae, other = dictionary(Tap("mlp_out", 1), skip_tokens=1), tiny("llama")
    source, base = of(sae, clean), of(sae, corrupted)
    ds = lens.patch(llama, pair, lens.Site("feature", sae), OVER, **asked)
    seen = [(int(p), int(q)) for p, q in zip(ds.position_corrupted.values, ds.position_clean.values)]
    assert set(seen) == places
    for column, (p, q) in enumerate(seen):
        for row, i in enumerate(ds.feature.values):
            step = (source[q, i] - base[p, i]) * sae.decoder.whole[i].double()

            def change(x, p=p, step=step):
                x = x.clone()
                x[0, p] += step.to(x)
                return x

            logits = naive.forward(other, corrupted, [("mlp_out", 1, change)])[-1]
            assert abs(float(ds.value[row, column]) - float(logits[11] - logits[12])) < 1e-4


def test_another_layers_features_are_refused_and_other_positions_outside_of_sweeps(llama):
    site = lens.Site("feature", KINDS["autoencoder"](), index=3, position=2)
    runs = lens.Model.of(llama).record([PROMPTS[0]], ())
    with pytest.raises(lens.EditError, match="source_layer=0"):
        lens.Edit(site, "replace", runs[0], source_layer=0)
    with pytest.raises(lens.EditError, match="in sweeps alone"):
        with lens.edited(llama, lens.Edit(site, "replace", runs[0], source_position=1)):
            pass


@pytest.mark.parametrize("over", [OVER, ("feature",)])
def test_a_grid_of_features_is_kept_as_it_goes_and_taken_up_again(over, llama, tmp_path):
    site = lens.Site("feature", KINDS["top-k"]())
    whole = lens.patch(llama, PAIRS, site, over, positions=AT)
    store = tmp_path / "features.zarr"
    half = lens.patch(llama, PAIRS, site, over, positions=AT, store=store, share=(1, 2))
    assert lens.record(half)["status"] == "partial" and np.isnan(half.value[0]).any()
    parts = []
    ds = lens.patch(llama, PAIRS, site, over, positions=AT, store=store, on_part=parts.append)
    assert len(parts) == 1
    np.testing.assert_allclose(ds.value, whole.value, rtol=0, atol=1e-5)
    kept = lens.open(store)
    assert kept.value.dims == ("prompt", "layer", *over) and kept.layer.values.tolist() == [1]
    np.testing.assert_array_equal(kept.effect.isel(layer=0), ds.effect)
    parts.clear()
    again = lens.patch(llama, PAIRS, site, over, positions=AT, store=store, on_part=parts.append)
    assert not parts
    np.testing.assert_array_equal(again.value, ds.value)
    with pytest.raises(lens.Error, match="another"):
        lens.patch(llama, PAIRS, site, over, positions=AT, store=store, features=[1])
    with pytest.raises(PatchError, match="store="):
        lens.patch(llama, PAIRS, site, over, method="attribution", store=store)


def test_scores_by_gradients_are_told_part_by_part(llama):
    parts = []
    site = lens.Site("feature", KINDS["autoencoder"]())
    ds = lens.patch(llama, PAIRS, site, OVER, method="attribution", on_part=parts.append)
    assert parts and parts[-1].identical(ds.assign_attrs(parts[-1].attrs))
