"""Likeness of states against plain formulas: U-centred matrices, SciPy's Procrustes and distances, rows taken out."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.distance import cdist
from scipy.stats import ortho_group

from lens import stats
from lens.stats import similarity
from lens.stats.similarity import halves, rows_of


def sets(n=40, d=6, e=6, noise=0.7, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d)) * np.linspace(1, 3, d) + rng.standard_normal(d)
    return x, x @ rng.standard_normal((d, e)) + noise * rng.standard_normal((n, e)) + 2


def u_centred(x):
    """Szekely and Rizzo's: the matrix whose inner products are unbiased."""
    k = x @ x.T
    np.fill_diagonal(k, 0)
    n = len(k)
    row = k.sum(0) / (n - 2)
    out = k - row[None] - row[:, None] + k.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(out, 0)
    return out


def plain_cka(x, y):
    k, l = u_centred(x), u_centred(y)
    return (k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum())


@pytest.mark.parametrize("n, d, e", [(12, 20, 7), (40, 6, 9), (60, 3, 4)])
def test_cka_is_that_of_u_centred_matrices_and_rows_are_owed_what_leaving_them_out_says(n, d, e):
    x, y = sets(n, d, e)
    rows = rows_of("cka", x, y, halves(n, None, 0))
    assert rows.mean() == pytest.approx(plain_cka(x, y), abs=1e-10)
    without = np.array([plain_cka(np.delete(x, i, 0), np.delete(y, i, 0)) for i in range(n)])
    values = n * plain_cka(x, y) - (n - 1) * without
    assert np.allclose(rows - rows.mean(), values - values.mean(), atol=1e-8)
    found = stats.likeness(x, y, "cka")
    assert found.low < found.estimate < found.high <= 1 and found.n == n


def test_blocks_of_the_gram_matrix_change_nothing(monkeypatch):
    x, y = sets()
    half = halves(40, None, 0)
    whole = {m: rows_of(m, x, y, half) for m in ("cka", "identification")}
    monkeypatch.setattr(similarity, "_BLOCK", 7)
    for m, rows in whole.items():
        assert np.allclose(rows_of(m, x, y, half), rows, atol=1e-10)


def test_cosines_and_what_centring_owes_to_rows():
    x, y = sets()
    plain = [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(x, y)]
    assert np.allclose(rows_of("cosine", x, y, halves(40, None, 0)), plain)

    def centred(w):
        u, v = x - w @ x / w.sum(), y - w @ y / w.sum()
        return w @ ((u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)) / w.sum()

    one = np.ones(40)
    rows = rows_of("centred_cosine", x, y, halves(40, None, 0))
    assert rows.mean() == pytest.approx(centred(one))
    # the derivative by a row's weight, numerically
    eps = 1e-6
    for i in (0, 7, 39):
        more = one.copy()
        more[i] += eps
        assert (centred(more) - centred(one)) / eps * 40 == pytest.approx(rows[i] - rows.mean(), abs=1e-4)


@pytest.mark.parametrize("n, d, e", [(40, 6, 9), (24, 30, 30)])
def test_procrustes_is_scipy_s_between_leading_directions(n, d, e):
    x, y = sets(n, d, e)
    half = halves(n, None, 3)
    left = whole = 0.0
    for fitted in (0, 1):
        fit, read = half == fitted, half != fitted
        k = min(d, e, int(fit.sum()) // 4)
        seen = []
        for a in (x, y):
            axes = np.linalg.svd(a[fit] - a[fit].mean(0))[2][:k].T
            seen.append(((a[fit] - a[fit].mean(0)) @ axes, (a[read] - a[fit].mean(0)) @ axes))
        (p, p_read), (q, q_read) = seen
        rotation, size = orthogonal_procrustes(p, q)
        left += ((q_read - size / (p**2).sum() * p_read @ rotation) ** 2).sum()
        whole += (q_read**2).sum()
    found = stats.likeness(x, y, "procrustes", seed=3)
    assert found.estimate == pytest.approx(left / whole)


def test_identification_is_the_nearest_by_distance():
    x, _ = sets()
    y = x + 2 * np.random.default_rng(1).standard_normal(x.shape)
    near = cdist(x - x.mean(0), y - y.mean(0), "cosine").argmin(1) == np.arange(40)
    found = stats.likeness(x, y, "identification")
    assert 0.2 < near.mean() < 1 and found.estimate == pytest.approx(near.mean())
    exact = stats.proportion(near.sum(), 40)
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high))


def test_equal_states_and_turned_ones():
    x, _ = sets(60, 8, 8)
    for measure, about in similarity.MEASURES.items():
        assert stats.likeness(x, x, measure).estimate == pytest.approx(about.same, abs=1e-9)
    turned = 2.5 * (x - x.mean(0)) @ ortho_group.rvs(8, random_state=1) + 4
    assert stats.likeness(x, turned, "cka").estimate == pytest.approx(1, abs=1e-9)
    assert stats.likeness(x, turned, "procrustes").estimate == pytest.approx(0, abs=1e-9)
    assert stats.likeness(x, turned, "centred_cosine").estimate < 0.6


def test_unrelated_states_have_no_likeness_that_is_debiased():
    low = high = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        found = stats.likeness(rng.standard_normal((20, 100)), rng.standard_normal((20, 100)), "cka")
        low, high = low + (found.low > 0), high + (found.high < 0)
    assert low + high <= 4  # at 95 %: 5 or more of 20 come up in 1 of 400 runs
    x, y = (np.random.default_rng(s).standard_normal((40, 10)) for s in (1, 2))
    assert stats.likeness(x, y, "procrustes").estimate > 0.9
    assert stats.likeness(x, y, "identification").estimate < 0.2


def test_units_count_once():
    x, y = sets(20)
    twice = [np.repeat(a, 2, 0) for a in (x, y)]
    found = stats.likeness(*twice, "cosine", units=np.repeat(np.arange(20), 2))
    plain = stats.likeness(x, y, "cosine")
    assert (found.estimate, found.low, found.high, found.n) == pytest.approx(
        (plain.estimate, plain.low, plain.high, 20)
    )
    half = halves(40, np.repeat(np.arange(20), 2).astype(str), 0)
    assert (half[::2] == half[1::2]).all() and half[::2].sum() == 10


def test_what_does_not_fit_is_refused():
    x, y = sets()
    for call, said in (
        (lambda: stats.likeness(x, y, "cca"), "measure = 'cca' is not known; expected one of cosine"),
        (lambda: stats.likeness(x, y[:-1], "cka"), "y has shape"),
        (lambda: stats.likeness(x, y[:, :-1], "cosine"), "the same width for measure = 'cosine'"),
        (lambda: stats.likeness(x[:9], y[:9], "cka"), "x has 9 rows; measure = 'cka' needs at least 10"),
        (lambda: stats.likeness(x, np.ones_like(y), "cka"), "y has equal rows"),
        (lambda: stats.likeness(x[0], y[0], "cosine"), r"x has shape \(6,\); expected finite states"),
        (lambda: stats.likeness(x, y, units=[1, 2]), "units has shape"),
    ):
        with pytest.raises(stats.StatisticsError, match=said):
            call()
    y[3, 2] = np.nan
    with pytest.raises(stats.StatisticsError, match="y has shape"):
        stats.likeness(x, y)
