"""Checks, read-outs and examples against plain hooks and sums in float64."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.features import Tap
from lens.features import FeatureError
from lens.features.activations import JumpReLU
from tests import naive
from tests.models import speaking, tiny

from .tiny import KINDS, dictionary, features, norm_of_mlp
from .written import rng

TEXTS = [torch.tensor(rng(i).integers(1, 97, size=7 + i % 3)) for i in range(6)]


@pytest.fixture(scope="module")
def llama():
    return speaking("llama")


def made(hf, sae, ids):
    """Features, what they make of the activation, and the activation written to, in float64, by hooks."""
    y = naive.activation(hf, ids, sae.writes.site, sae.writes.layer).flatten(1).double()
    x = y
    if sae.transcodes:
        x = norm_of_mlp(hf, sae.reads.layer, naive.activation(hf, ids, "resid_mid", sae.reads.layer), sae.reads.gain)
    f = torch.stack([features(sae, one) for one in x])
    return f, f @ sae.decoder.whole.double() + sae.decoder_bias.double(), y


def loss(hf, ids, sae, put, first):
    """The summed loss of the tokens behind the first, with an activation put in the place of the dictionary's."""

    def change(x):
        x = x.clone()
        for p in range(first, len(ids)):
            x[0, p] = put(p).view(x[0, p].shape).to(x)
        return x

    changes = [] if put is None else [(sae.writes.site, sae.writes.layer, change)]
    logits = naive.forward(hf, ids, changes)[first:-1]
    return float(torch.nn.functional.cross_entropy(logits.double(), ids[first + 1 :], reduction="sum"))


@pytest.mark.parametrize("kind", ["autoencoder", "heads", "transcoder"])
def test_a_check_is_sums_over_hooked_forwards(kind, llama, monkeypatch):
    monkeypatch.setattr("lens.features.checking.NEAR", 0.3)  # so many that it is more than none
    sae, other = KINDS[kind](), tiny("llama")
    sae.skip_tokens = first = 2
    ds = lens.features.check(llama, sae, TEXTS)
    parts = [made(other, sae, ids) for ids in TEXTS]
    f, xhat, y = (torch.cat([p[i][first:] for p in parts]) for i in range(3))
    mean, error = y.mean(0), (y - xhat).square().sum()
    sums = dict.fromkeys(("clean", "spliced", "zero", "mean"), 0.0)
    for ids, (_, made_of, _) in zip(TEXTS, parts):
        for name, put in dict(
            clean=None, spliced=lambda p, m=made_of: m[p], zero=lambda p: 0 * mean, mean=lambda p: mean
        ).items():
            sums[name] += loss(other, ids, sae, put, first)
    tokens = sum(len(ids) - first - 1 for ids in TEXTS)
    want = {
        "l0": float((f != 0).sum(1).double().mean()),
        "explained_variance": 1 - float(error / (y - mean).square().sum()),
        "explained_variance_about_zero": 1 - float(error / y.square().sum()),
        "loss": sums["clean"] / tokens,
        "loss_spliced": sums["spliced"] / tokens,
        "loss_added": (sums["spliced"] - sums["clean"]) / tokens,
        "loss_recovered_zero": (sums["zero"] - sums["spliced"]) / (sums["zero"] - sums["clean"]),
        "loss_recovered_mean": (sums["mean"] - sums["spliced"]) / (sums["mean"] - sums["clean"]),
        "dead_share": float((~(f != 0).any(0)).double().mean()),
    }
    given = ds["mean"].sel(dictionary="given")
    near = given.sel(measure="near_threshold")
    if isinstance(sae.rule, JumpReLU):
        close = (f - sae.rule.threshold.double()).abs() <= 0.3 * sae.rule.threshold.double()
        want["near_threshold"] = float((close & (f != 0)).sum() / (f != 0).sum())
        assert 0 < want["near_threshold"] < 1
    else:
        assert np.isnan(near) and "no threshold" in str(ds.interval_kind.sel(near.coords))
    for name, value in want.items():
        assert abs(float(given.sel(measure=name)) - value) <= 1e-3 * max(1, abs(value)), name
    assert (ds.n == len(TEXTS)).all() and ds.sizes["dictionary"] == 2
    inside = ds.sel(measure=["l0", "explained_variance", "loss"])
    assert ((inside.low <= inside["mean"]) & (inside["mean"] <= inside.high)).all()
    assert float(ds.l0_by_reading.sel(reading="as the file says")) > 0 and len(ds.reading) > 3


def test_a_dictionary_at_another_place_is_told_by_its_sparsity(llama):
    """The place that the file means is found among those that it could have meant."""
    right = dictionary(Tap("resid_post", 1), seed=3)
    wrong = right.at(Tap("attn_out", 1))
    x = torch.cat([naive.activation(tiny("llama"), ids, "resid_post", 1) for ids in TEXTS[:4]])
    l0 = float((right.values(x) != 0).sum(1).float().mean())
    wrong.about["folder"] = f"x/average_l0_{round(l0 * 4)}"
    with pytest.warns(UserWarning, match="where .* was published"):
        ds = lens.features.check(llama, wrong, TEXTS)
    assert abs(float(ds.l0_by_reading.sel(reading="resid_post of layer 1")) - l0) < 1e-5


def test_the_strongest_features_of_each_token(llama):
    sae = KINDS["autoencoder"]()
    ds = lens.features.read(llama, ["w5 w17 w3 w88", "w7 w9"], sae, top=3)
    f, xhat, y = made(tiny("llama"), sae, torch.tensor([0, 5, 17, 3, 88]))
    strongest = f.sort(1, descending=True)
    np.testing.assert_allclose(ds.value[0], strongest[0][:, :3], rtol=0, atol=1e-4 * float(f.max()))
    assert (ds.feature[0].values == strongest[1][:, :3].numpy()).all()
    np.testing.assert_allclose(ds.error[0], (y - xhat).norm(dim=1) / y.norm(dim=1), rtol=1e-4)
    assert (ds.l0[0] == (f != 0).sum(1).numpy()).all() and [t.strip() for t in ds.token[1].values.tolist()[:3]] == [
        "w0",
        "w7",
        "w9",
    ]
    assert np.isnan(ds.value[1, 3:]).all() and (ds.feature[1, 3:] == -1).all()


def test_the_strongest_texts_of_a_stream(llama):
    sae = KINDS["top-k"]()
    ds = lens.features.examples(llama, sae, (t for t in TEXTS), [3, 7], top=4, window=2)
    for i in (3, 7):
        of = [made(tiny("llama"), sae, ids)[0][:, i] for ids in TEXTS]
        order = sorted((n for n in range(len(TEXTS)) if of[n].max() > 0), key=lambda n: -float(of[n].max()))[:4]
        ours = ds.sel(feature=i)
        assert ours.text.values.tolist() == order + [-1] * (4 - len(order))
        for rank, n in enumerate(order):
            at = int(of[n].argmax())
            assert int(ours.position[rank]) == at and f"w{int(TEXTS[n][at])}" in str(ours.token[rank].values)
            assert abs(float(ours.value[rank]) - float(of[n].max())) < 1e-4
        assert abs(float(ours.density) - float((torch.cat(of) > 0).double().mean())) < 1e-9
    assert lens.record(ds)["call"]["n_texts"] == len(TEXTS)


def test_texts_that_are_none_are_refused(llama):
    sae = dictionary(Tap("resid_post", 1), skip_tokens=8)
    with pytest.raises(FeatureError, match="none has more than the 8 tokens"):
        lens.features.check(llama, sae, TEXTS[:1])
    with pytest.raises(FeatureError, match="texts='w1 w2'"):
        lens.features.examples(llama, sae, "w1 w2", 3)
    with pytest.raises(lens.SiteError, match="feature=99"):
        lens.features.examples(llama, sae, TEXTS, 99)
    with pytest.raises(FeatureError, match="there 32"):
        lens.features.read(llama, "w1 w2", dictionary(Tap("resid_post", 1), d_in=16))
