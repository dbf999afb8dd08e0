"""Tests with a guaranteed tail when the trainer drew a key U(0, 1) for every row and trained in the order of the keys.

Under the null the keys are independent of the scores, and E exp(s (U - 1/2)) = sinh(s/2) / (s/2) <= exp(s^2 / 24)
(Hoeffding 1963 for the bound's kind). So a weighted sum of keys has a tail that holds for every n and all weights, far
beyond what any number of permutations can show, and bets on one key after the other make an e-process that may be
watched and stopped at will.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lens.arguments import Positive, Seed, Share, door
from lens.stats.assumptions import DOUBT, grid_step, spread_evenly
from lens.stats.evidence import EProcess
from lens.stats.planning_rows import require_level
from lens.stats.randomization import group_numbers
from lens.stats.samples import ALTERNATIVES, PValue, StatisticsError, as_array, check_choice, generator, short, whole

DRAWN = "the keys were drawn independently and uniformly, one a row, and the weights made without them"
SHUFFLED = (
    "the positions were shuffled, each arrangement within groups as likely, and rows and weights chosen without them"
)
BETS = np.geomspace(0.01, 2.0, 16)  # a true correlation rho asks for a bet of about 3.5 rho on weights of unit scale
CLIP = 4.0


@dataclass(frozen=True, eq=False)
class KeyTest:
    """Weighted sum of centred keys `statistic`, its exactly standardised `z`, and the guaranteed tail `p`; `left_out`
    counts rows without a weight.
    """

    statistic: float
    z: float
    p: PValue
    n: int
    left_out: int = 0

    @property
    def T(self) -> float:
        """The weighted sum, `statistic`."""
        return self.statistic

    def __str__(self) -> str:
        missing = f", {whole(self.left_out)} rows without a weight left out" if self.left_out else ""
        return f"keys: T = {short(self.statistic)}, z = {self.z:.2f}{missing}; {self.p}: {self.p.worth}"


@door(StatisticsError)
def key_test(weights, keys, *, alternative: str = "less", centre: bool = True, alpha: Share | None = None) -> KeyTest:
    """Tail bound for T = sum of w * (U - 1/2): p = exp(-z^2 / 2) on the claimed side with z = T / sqrt(sum w^2 / 12), 1
    on the other; twice that, at most 1, two-sided.

    `weights`: [n], made without looking at the keys (scores, residuals, ranks), NaN where missing. `keys`: [n] in (0,
    1), drawn independently by the trainer; ranks / N are refused where they can be told apart. Keys that are not
    uniform, equal for several rows, or on a grid (a test at level 0.001) make the bound approximate, with the reason.
    `centre` takes the weights' mean away first, which is as blind and keeps the bound. `alpha`: refuse a design that
    cannot reach this level. Raises `StatisticsError`.
    """
    check_choice(alternative, "alternative", ALTERNATIVES)
    w, u = _weights_and_keys(weights, keys)
    present = ~np.isnan(w)
    w, u = w[present], u[present]
    if w.size and centre:
        w = np.zeros_like(w) if w.min() == w.max() else w - w.mean()
    if not np.any(w):
        what = "constant" if centre else "zero"
        raise StatisticsError(
            f"weights is {what} over all n = {w.size} rows that have one; expected weights that differ. Is the suspect"
            " its own reference?"
        )
    scale = float(np.abs(w).max())
    w = w / scale  # no square can then overflow; z does not change
    total, spread = float(w @ (u - 0.5)), float(w @ w)
    z = total / math.sqrt(spread / 12)
    sides = 2 if alternative == "two-sided" else 1
    forward = abs(z) if sides == 2 else z if alternative == "greater" else -z
    p = min(1.0, sides * math.exp(-(max(forward, 0.0) ** 2) / 2))
    floor = min(1.0, sides * math.exp(-1.5 * float(np.abs(w).sum()) ** 2 / spread))
    require_level(floor, alpha, f"the bound for {whole(w.size)} keys with these weights", "Give more rows.")
    value, doubt = PValue(p, "bound", w.size, "exp(-z^2/2)", z, alternative, floor), doubt_of(u)
    return KeyTest(
        total * scale, z, value.doubted(doubt) if doubt else value.given(DRAWN), w.size, int((~present).sum())
    )


@door(StatisticsError)
def key_e_process(
    weights, keys, *, alternative: str = "less", bets=None, centre: bool = True, clip: Positive | None = CLIP
) -> EProcess:
    """E-process against keys that are independent of the weights: guaranteed at every stopping time if they were drawn
    so, rows in the order given.

    `weights`, `keys` as in `key_test`; a weight may depend on earlier rows, keys included, never on its own key or a
    later one. The factor of a row is exp(l v (U - 1/2)) / (sinh(l v / 2) / (l v / 2)), its mean exactly 1, where v is
    the weight minus the mean of the earlier ones (`centre`), divided by their root mean square and cut at +-`clip`; the
    first row places no bet. The process is the mean over the sizes of bet `bets` (positive, on weights of unit scale,
    fixed beforehand). A row with a NaN weight is passed over. Raises `StatisticsError`.
    Sources: Ville 1939; Robbins 1970 for the mixture.
    """
    w, u = _weights_and_keys(weights, keys, 1)
    scaled = _predictable(w, centre, clip)
    log_e, how = _mixture(scaled, u - 0.5, _log_mean_uniform, alternative, bets)
    doubt = doubt_of(u[~np.isnan(w)])
    guarantee = f"not guaranteed, {doubt}" if doubt else "guaranteed at any stop for independent uniform keys"
    return EProcess(log_e, int((~np.isnan(w)).sum()), f"{guarantee}, {how}", 0.0, doubt)


@door(StatisticsError)
def rank_e_process(
    weights,
    positions,
    *,
    groups=None,
    alternative: str = "less",
    bets=None,
    centre: bool = True,
    clip: Positive | None = CLIP,
    seed: Seed = 0,
) -> EProcess:
    """E-process against exchangeable positions (steps or ranks of a shuffle; no keys needed), guaranteed at stopping
    times that look at past ranks only.

    Given the earlier rows' order, the rank of row k's position among the first k is uniform on 1..k (Renyi 1962). The
    bets of `key_e_process` are placed on (rank - 1/2) / k - 1/2 with its exact mean. `weights` and the choice of rows
    may depend on all scores and on earlier *ranks*, not on the earlier positions themselves; the same holds for when to
    stop: whoever looks at positions and at scores to come gets a mean of e above 1 (1.04 for 10 rows), while 1 /
    largest e stays a p-value. `groups`: [n] names of what was shuffled together; ranks are then within the group. Equal
    positions (rows of one step) are put in random order by `seed`. Raises `StatisticsError`.
    """
    w, t = _aligned(weights, positions, "positions", 1)
    present = ~np.isnan(w)
    lots = generator(seed).random(w.size)  # one a row, so that equal positions keep their order when more rows come
    scaled = _predictable(w, centre, clip)
    names = group_numbers(groups, w.size)
    k, centred = np.ones(w.size), np.zeros(w.size)
    order = np.flatnonzero(present)[np.argsort(names[present], kind="stable")]
    for rows in np.split(order, np.flatnonzero(names[order[1:]] != names[order[:-1]]) + 1):
        k[rows] = np.arange(1, rows.size + 1)
        centred[rows] = (sequential_ranks(t[rows], lots[rows]) - 0.5) / k[rows] - 0.5
    log_e, how = _mixture(scaled, centred, lambda x: _log_mean_uniform(x) - _log_mean_uniform(x / k), alternative, bets)
    return EProcess(
        log_e,
        int(present.sum()),
        f"guaranteed for shuffled positions at stops that look at past ranks only, {how} on sequential ranks",
        0.0,
    )


def doubt_of(keys) -> str:
    """Why keys [n] cannot be one independent uniform draw a row, in a few words; "" where nothing speaks against it
    (each test at level 0.001).
    """
    u = np.asarray(keys, dtype=float)
    if u.size >= 4 and (repeats := u.size - np.unique(u).size):
        return f"{repeats} keys are there more than once: they were not drawn for each row"
    if (p := spread_evenly(u)) < DOUBT:
        return f"the keys do not look uniform (p = {p:.2g})"
    if (step := grid_step(u)) > 2e-7:
        return f"the keys are multiples of {step:.2g}, as ranks are: conservative in simulation, without proof"
    return ""


def sequential_ranks(positions, lots) -> np.ndarray:
    """Rank (from 1) of each position among those up to and including it, equal ones in the order of `lots` [n]; int64
    [n]. O(n log^2 n) by merging.
    """
    values = np.asarray(positions, dtype=float)
    n = values.size
    place = np.empty(n, dtype=np.int64)
    place[np.lexsort((lots, values))] = np.arange(n)
    by_value = np.argsort(place)
    ranks, width = np.ones(n, dtype=np.int64), 1
    while width < n:
        pair = by_value // (2 * width)  # two neighbouring runs of rows, read in order of value
        row = by_value[np.argsort(pair, kind="stable")]
        earlier = (row // width) % 2 == 0
        smaller = np.cumsum(earlier)
        start = np.searchsorted(row // (2 * width), row // (2 * width))
        before = np.concatenate([[0], smaller])[start]
        later = ~earlier
        ranks[row[later]] += (smaller - before)[later]
        width *= 2
    return ranks


# ---- parts -------------------------------------------------------------------------------------------------------


def _aligned(weights, label, name, least):
    w, u = as_array(weights, "weights"), as_array(label, name)
    if w.ndim != 1 or w.size < least:
        raise StatisticsError(
            f"weights has shape {w.shape}; expected one number a row, at least {least}. Average tokens first."
        )
    if u.shape != w.shape:
        raise StatisticsError(
            f"{name} has shape {u.shape} and weights has shape {w.shape}; expected equal shapes. Align them by row."
        )
    if np.isnan(u).any():
        raise StatisticsError(
            f"{name} has {int(np.isnan(u).sum())} NaN; expected a value for every row. Take rows without one out of the"
            " transcript."
        )
    return w, u


def _weights_and_keys(weights, keys, least=2):
    w, u = _aligned(weights, keys, "keys", least)
    outside = (u <= 0) | (u >= 1)
    if outside.any():
        raise StatisticsError(
            f"keys has the value {u[outside][0]:g}; expected keys drawn from U(0, 1), strictly inside. "
            "For training steps or ranks use permutation_correlation or rank_e_process."
        )
    n = u.size
    even = np.abs(np.sort(u) - (np.arange(n) + 0.5) / n).max()
    if n >= 20 and even <= 0.5 / n * (
        1 + 1e-6
    ):  # of sets of 20 independent keys one in 4e7 is as even (n! / n^n), of larger sets fewer
        raise StatisticsError(
            f"keys are evenly spaced over (0, 1), as ranks are and {n} independent keys are not; the bound needs the"
            " keys themselves. For ranks use permutation_correlation or rank_e_process."
        )
    return w, u


def _predictable(w, centre, clip):
    """Weights minus the mean of the earlier ones, in units of the earlier ones' root mean square, cut; 0 where there is
    nothing to go by.
    """
    if clip is not None and not clip > 0:
        raise StatisticsError(
            f"clip = {clip!r}; expected a positive number of standard deviations, or None to cut nothing."
        )
    present = ~np.isnan(w)
    if present.sum() > 2 and np.nanmin(w) == np.nanmax(w):
        raise StatisticsError(
            f"weights is constant over n = {present.sum()} rows; expected weights that differ. Is the suspect its own"
            " reference?"
        )
    values = w[present] / max(
        np.nanmax(np.abs(w), initial=0.0), np.finfo(float).tiny
    )  # one unit for all: it cancels, and nothing overflows
    if centre:
        count = np.arange(values.size)
        values = values - np.concatenate([[0.0], np.cumsum(values)[:-1]]) / np.maximum(count, 1)
        values[:1] = 0.0
    squares = np.concatenate([[0.0], np.cumsum(values**2)[:-1]])
    count = np.concatenate([[0], np.cumsum(values != 0)[:-1]])
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.where(squares > 0, values / np.sqrt(squares / np.maximum(count, 1)), 0.0)
    scaled = np.zeros(w.size)
    scaled[present] = out if clip is None else np.clip(out, -clip, clip)
    return scaled


def _log_mean_uniform(x):
    """Log of sinh(x/2) / (x/2), the mean of exp(x (U - 1/2)); at most x^2 / 24."""
    half = np.abs(x) / 2
    small = half < 1e-2
    safe = np.where(small, 1.0, half)
    large = safe + np.log1p(-np.exp(-2 * safe)) - np.log(2 * safe)
    return np.where(small, half**2 / 6 - half**4 / 180 + half**6 / 2835, large)


def _mixture(scaled, centred, log_mean, alternative, bets):
    """Log of the mean over bets of the product of exp(bet * scaled * centred) / mean, after each row."""
    check_choice(alternative, "alternative", ALTERNATIVES)
    sizes = BETS if bets is None else np.atleast_1d(as_array(bets, "bets"))
    if sizes.ndim != 1 or sizes.size == 0 or not (sizes > 0).all():
        raise StatisticsError(
            f"bets = {sizes.tolist()}; expected positive sizes of bet, such as [0.1, 0.5]. The alternative gives them"
            " their sign."
        )
    signs = {"greater": (1,), "less": (-1,), "two-sided": (1, -1)}[alternative]
    log_e = np.full(scaled.size, -np.inf)
    for bet in (sign * size for sign in signs for size in sizes):
        x = bet * scaled
        log_e = np.logaddexp(log_e, np.cumsum(x * centred - log_mean(x)))
    return log_e - math.log(len(signs) * sizes.size), f"mean of {len(signs) * sizes.size} bets, {alternative}"
