"""Mass and activation by band against sums written out."""

import numpy as np
import pytest
import torch

import lens
import lens.curvature as curvature
from lens.curvature.controls import random_orthogonal
from lens.engine.stopping import Stopped
from tests.curvature import naive
from tests.curvature.made import decomposition, layer
from tests.curvature.test_edit import IDS, real

NAMES = ["model.layers.0.mlp.up_proj", "model.layers.2.mlp.down_proj"]


def test_mass_by_band_and_pairs_by_share():
    one = layer((8, 10), seed=2)
    ds = curvature.spectrum(decomposition(one), shares=(0.5, 0.9))
    products = np.sort(np.outer(one.lam, one.mu).flatten())[::-1]
    expected = [products[:8].sum(), products[8:20].sum(), products[20:40].sum(), products[40:].sum()]
    assert np.allclose(ds.band_mass.values[0], np.array(expected) / products.sum()) and float(
        ds.band_mass.sum()
    ) == pytest.approx(1)
    assert float(ds.coefficient_energy.sum()) == pytest.approx(1)
    for share in (0.5, 0.9):
        assert ds.pairs.sel(mass_share=share).item() == len(naive.kept_by_sorting(one.lam, one.mu, share)) / 80
    assert (
        np.array_equal(ds.mu.values[0], one.mu)
        and np.array_equal(ds.lam.values[0, :8], one.lam)
        and np.isnan(ds.lam.values[0, 8:]).all()
    )
    assert (
        list(ds.band.values) == ["0-10 %", "10-25 %", "25-50 %", "50-100 %"]
        and lens.record(ds)["kind"] == "curvature spectrum"
    )
    for bad in ((0.5, 0.9), (0.5, 0.5, 1), (), (0, 1)):
        with pytest.raises(curvature.CurvatureError, match=r"bands(\[\d\])?="):
            curvature.spectrum(decomposition(one), bands=bad)


def written_out(model, made, ids, first):
    """Per sequence, basis, layer, side and band, one token after another."""
    x, _ = naive.tokens_of(model, ids, ids[:, 1:], NAMES)
    length = ids.shape[1] - 1
    out = np.zeros((len(ids), 3, len(NAMES), 2, 4))
    for n, name in enumerate(NAMES):
        one = made[name]
        p, q = one.shape
        u, s, vh = torch.linalg.svd(one.weight.double(), full_matrices=True)
        full = torch.zeros(p, q, dtype=torch.float64)
        full[: len(s), : len(s)] = torch.diag(s)
        left, right = random_orthogonal(p, 0).double(), random_orthogonal(q, 1).double()
        w = one.weight.double()
        bases = [(one.u_g.double(), one.u_a.double()), (u, vh.T), (left, right)]
        for b, (l, r) in enumerate(bases):
            c = l.T @ w @ r
            if b == 1:

                def bands_of(i, j):
                    return band(i, len(s)) if i == j and i < len(s) else None
            else:
                order = {
                    int(k): place for place, k in enumerate(one.mass().flatten().argsort(descending=True, stable=True))
                }

                def bands_of(i, j):
                    return band(order[i * q + j], p * q)

            masks = [torch.tensor([[bands_of(i, j) == k for j in range(q)] for i in range(p)]) for k in range(4)]
            for row in range(len(ids)):
                for t in range(first, length):
                    z = r.T @ x[name][row * length + t]
                    for k in range(4):
                        out[row, b, n, 0, k] += float(((c * masks[k]) @ z).norm()) / (length - first)
                        out[row, b, n, 1, k] += float(
                            torch.stack([z[j] for j in range(q) if band(j, q) == k]).norm()
                        ) / (length - first)
    return out


def band(place, n):
    return int(np.searchsorted([round(e * n) for e in (0.1, 0.25, 0.5, 1.0)], place, side="right"))


def test_activation_by_band_is_the_norm_of_what_the_band_carries(tiny):
    model = tiny("llama")
    made = real(model).select(NAMES)
    memorised, clean = IDS[:3, :7], IDS[3:6, :7]
    ds = curvature.activation_ratio(model, made, memorised, clean, first=2, seed=0)
    a, b = (written_out(model, made, ids, 2) for ids in (memorised, clean))
    # where W [32, 48] has no singular direction for part of the input, that part of the bands is a matter of choice
    known = np.ones(a.shape[1:], dtype=bool)
    known[1, 1, 1, -1] = False
    assert made[NAMES[1]].shape == (32, 48)
    for ours, theirs in ((ds.of_memorised, a), (ds.of_clean, b)):
        assert np.allclose(ours.values[:, known], theirs[:, known], rtol=1e-3)
        # the bands of the input make up the whole of it, whatever the basis
        total = (ours.sel(side="input") ** 2).sum("band")
        assert (
            np.allclose(ours.sel(side="input").values[:, 1, 1, -1], theirs[:, 1, 1, 1, -1], rtol=1e-3)
            and total.notnull().all()
        )
    ratio = ds.of_memorised.mean("memorised_sequence") / ds.of_clean.mean("clean_sequence")
    assert (
        np.allclose(ds.ratio, ratio)
        and ds.low.isnull().all()
        and set(ds.interval_kind.values.ravel()) == {"not available: fewer than 5 values"}
    )

    def lean(x):
        return (x.isel(band=-1) / x.isel(band=0)).mean(x.dims[0])

    assert np.allclose(ds.ordering, lean(ds.of_memorised) / lean(ds.of_clean))
    record = lens.record(ds)
    assert record["call"]["n"] == {"memorised": 3, "clean": 3} and record["kind"] == "activation ratio"


def test_a_planted_direction_shows_in_its_band(tiny):
    """Clean text runs along the leading directions; sequences off them must stand out in the lowest band."""
    model = tiny("llama")
    rng = np.random.default_rng(3)
    common = rng.integers(0, 4, (60, 17))
    made = real(model, ids=common, layers="model.layers.0.mlp.up_proj")
    ds = curvature.activation_ratio(
        model, made, rng.integers(40, 97, (20, 9)), rng.integers(0, 4, (20, 9)), bases=("kfac",)
    )
    here = ds.sel(basis="kfac", side="input").isel(layer=0)
    assert float(here.low.isel(band=-1)) > 1.5 and float(here.ordering_low) > 1.5
    null = (
        curvature.activation_ratio(
            model, made, rng.integers(0, 4, (20, 9)), rng.integers(0, 4, (20, 9)), bases=("kfac",)
        )
        .sel(basis="kfac", side="input")
        .isel(layer=0)
    )
    assert float(null.ordering_low) < 1 < float(null.ordering_high)


def test_refused(tiny):
    model = tiny("llama")
    made = real(model).select(NAMES)

    def run(m=model, a=IDS[:3], b=IDS[3:], **options):
        return curvature.activation_ratio(m, made, a, b, **options)

    for call, words in (
        (lambda: run(bases=("pca",)), r"bases\[0\]="),
        (lambda: run(bases=()), "bases="),
        (lambda: run(first=16), "first=16"),
        (lambda: run(first=-1), "first=-1"),
        (lambda: run(a=IDS[:1]), "memorised holds one sequence"),
        (lambda: run(m=tiny("llama", 1)), "belongs to weights"),
        (lambda: run(by="ekfac"), "second moments"),
    ):
        with pytest.raises(curvature.CurvatureError, match=words):
            call()
    with pytest.raises(Stopped):
        run(stop=lambda: True)
    assert not any(m._forward_pre_hooks for m in model.modules())
