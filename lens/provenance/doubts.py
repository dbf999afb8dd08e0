"""What transcript and scores show against a test's assumptions: which p-values are then only approximate, and when
there is no result at all.

Each check is a test of its own (`lens.stats.assumptions`): below `DOUBT` (1 in 1,000) the p-values that rest on the
assumption are called approximate, with the reason; below `REFUSAL` (1 in 1,000,000) a reference or a choice of groups
is refused. A check only takes a guarantee away, so it never makes a p-value too small; of honest data sets it costs at
most its level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..stats import assumptions
from ..stats.assumptions import DOUBT, LEAST, REFUSAL
from .errors import ProvenanceError
from .order import Order, mixed

ALL = ("permutation", "key", "e")
KEYS = ("key", "e")  # what rests on each key being uniform and independent of the others
MISSING = 0.01  # rows lost by their position spoil p at once, so this check has a higher level
LOOKED_AT = 2000  # neighbours of which tokens are compared


@dataclass(frozen=True)
class Doubt:
    """`text`: what a reader is told. `reason`: why the p-values in `spoils` are only approximate ("": a note).
    `refuse`: there is no result.
    """

    text: str
    reason: str = ""
    spoils: tuple[str, ...] = ()
    refuse: bool = False


def of_transcript(t: Order) -> list[Doubt]:
    """What rows and positions show by themselves; no model is asked."""
    doubts, n = [], len(t)
    if not t.shuffled_as:
        doubts.append(
            Doubt(
                "nobody declared how the order was drawn (shuffled_as): every p-value assumes that rows of a group"
                " were put in random order, each arrangement"
                " as likely"
            )
        )
    for name, p in t.shuffle_checks().items():
        if p < DOUBT:
            own = "; rows handed over in training order need about={'file_order': 'training'}" if "file" in name else ""
            text = (
                f"the transcript does not look shuffled: {name} (p = {p:.2g}). A test on an order that was not drawn"
                " at random has no valid p-value; "
                "give the exchange groups within which rows were shuffled, or use the data of a shuffled"
                f" run{own}"
            )
            doubts.append(Doubt(text, f"the order does not look shuffled ({name})", ALL))
    doubts += _copies(t)
    if (p := share_tokens(t)) < DOUBT:
        doubts.append(
            Doubt(
                f"rows that stand side by side in the order share more tokens than others do (p = {p:.2g}), as"
                " chunks of one document do. Rows that were"
                " placed together are one unit: use one row of each document",
                "neighbouring rows share tokens: documents were shuffled, not rows",
                ALL,
            )
        )
    if t.kind == "key":
        doubts += _keys(t)
    if t.epochs > 1:
        doubts.append(
            Doubt(
                f"{t.epochs} epochs: each row's positions are permuted together. Choose one epoch with"
                " transcript.epoch(k) only before scores are seen"
            )
        )
    one_shuffle = t.kind == "rank" and t.epochs == 1 and len(np.unique(t.group)) == 1
    if one_shuffle and t.about.get("complete", False) and np.ptp(t.position) != n - 1:
        ends = f"{t.position.min():g} to {t.position.max():g}"
        doubts.append(Doubt(f"ranks run from {ends} for {n} rows: rows are missing from the transcript"))
    lost = t.about.get("lost")
    if lost and lost.get("rows"):
        where = "; ".join(lost.get("where", []))
        doubts.append(Doubt(f"{lost['rows']} rows could not be read and are left out: {where}"))
    return doubts


def _copies(t: Order) -> list[Doubt]:
    if t.tokens is None or not (copies := t.copies()):
        return []
    note = f"{copies} of {len(t)} rows have the same tokens as another row at another position."
    p, near = assumptions.equals_together(t.digests(), _first(t))
    if p < DOUBT:
        text = (
            f"{note} {near} of them stand side by side (p = {p:.2g}): copies were shuffled together and are one unit."
            " Use transcript.one_copy()"
        )
        return [Doubt(text, "equal rows stand side by side: copies were shuffled together", ALL)]
    return [
        Doubt(
            f"{note} This is harmless where each copy was shuffled by itself; where copies were shuffled together, use"
            " transcript.one_copy()"
        )
    ]


def _keys(t: Order) -> list[Doubt]:
    """Keys must be uniform, and independent of each other over epochs too; the permutation p needs neither."""
    columns = t.position.reshape(len(t), -1)
    doubts = []
    p, equal = assumptions.epochs_alike(columns)
    if equal:
        text = (
            f"position has the same keys, or the same order of them, in several of {t.epochs} epochs: one key"
            " ordered them all, and the key bound and the"
            " e-value would count it once an epoch. Use transcript.epoch(0), which holds all there is"
        )
        return [Doubt(text, "one key orders several epochs", KEYS, refuse=True)]
    if p < DOUBT:
        text = (
            f"the keys of different epochs go together (p = {p:.2g}): the key bound and the e-value take them as"
            " independent. Use transcript.epoch(0)"
        )
        doubts.append(Doubt(text, "keys of different epochs go together", KEYS))
    uniform = min(1.0, columns.shape[1] * min(assumptions.spread_evenly(column) for column in columns.T))
    if uniform < DOUBT:
        text = (
            f"the keys do not look uniform on (0, 1) (p = {uniform:.2g}): the key bound and the e-value need that,"
            " the permutation p does not. Give the"
            " keys as they were drawn, or kind='rank'"
        )
        doubts.append(Doubt(text, "keys are not uniform", KEYS))
    step = assumptions.grid_step(columns[:, 0])
    if step > 2e-7:
        text = (
            f"all keys are multiples of {step:.3g}, as ranks divided by their number are: drawn without replacement,"
            " so that the key bound and the e-value"
            " are conservative in simulation but not by proof. Nothing is lost but strength; kind='rank' is exact"
        )
        doubts.append(Doubt(text, "keys lie on a grid, as ranks do: conservative, without proof", KEYS))
    return doubts


def share_tokens(t: Order) -> float:
    """One-sided p that neighbours in the order share no more of their tokens than two rows of one group that stand
    apart (rank sum of set overlaps).
    """
    from scipy import stats

    if t.tokens is None or len(t) < 2 * LEAST:
        return 1.0
    order = np.lexsort((mixed(t.row_id, 0), _first(t), t.group))
    start = np.flatnonzero(np.r_[True, np.diff(t.group[order]) != 0])
    size = np.diff(np.r_[start, len(order)])
    base, length = np.repeat(start, size), np.repeat(size, size)
    at = np.flatnonzero((np.arange(len(order)) - base < length - 1) & (length >= LEAST))
    if len(at) < LEAST:
        return 1.0
    at = at[np.argsort(mixed(t.row_id[order[at]], 1), kind="stable")[:LOOKED_AT]]
    lots = mixed(t.row_id[order[at]], 2)
    inside = at - base[at]
    away = (lots % np.maximum(length[at] - 3, 1).astype(np.uint64)).astype(np.int64)
    far = base[at] + (inside + 2 + away) % length[at]  # neither itself nor its neighbours
    rows = np.unique(np.r_[at, at + 1, far])
    sets = {}
    for part in np.array_split(rows, max(1, len(rows) // 512)):
        for place, row in zip(part.tolist(), t.rows(order[part])):
            sets[place] = set(row.split()) if isinstance(row, str) else set(np.asarray(row).tolist())
    overlap = lambda a, b: len(sets[a] & sets[b]) / max(1, min(len(sets[a]), len(sets[b])))  # noqa: E731
    near, other = ([overlap(a, b) for a, b in zip(at.tolist(), to.tolist())] for to in (at + 1, far))
    return float(stats.mannwhitneyu(near, other, alternative="greater").pvalue) if near != other else 1.0


# ---- scores ----------------------------------------------------------------------------------------------------------


def of_scores(run, score: np.ndarray, z: float) -> list[Doubt]:
    """What the scores of a `scores.Running` show against reading p as one of its order; `z` is the standardised
    statistic.
    """
    from scipy import stats

    t = run.transcript
    at, group = t.position[run.index], t.group[run.index]
    first = at if at.ndim == 1 else at[:, 0]
    doubts = []
    for one, line in zip(run.references, run.others):
        own = assumptions.goes_with(line, at, group) if np.ptp(line) > 0 else 0.0
        p = float(2 * stats.norm.sf(abs(own)))
        if p < DOUBT:
            declared = ", though it is declared to have been trained in another (shares_order=False)"
            declared = declared if one.shares_order is False else ""
            text = (
                f"the loss of the reference {one.name!r} by itself {'falls' if own < 0 else 'rises'} with the order"
                f" (z = {own:.1f}, p = {p:.2g})"
                + declared
                + ". Either it was trained in this order, or the order was not drawn at random and hard rows stand"
                " together (a curriculum, a shuffle"
                " buffer): an innocent suspect would be flagged. Use a reference of another order, and the data of a"
                " shuffled run"
            )
            reason = f"the loss of reference {one.name} goes with the order by itself"
            doubts.append(Doubt(text, reason, ALL, refuse=p < REFUSAL))
    if run.references and run.statistic != "none" and z > 0:
        doubts += _rises(run, z, float(stats.norm.sf(z)))
    doubts += _missing(run)
    if len(np.unique(group)) > 1 and (p := assumptions.groups_by_outcome(score, first, group)) < DOUBT:
        text = (
            f"groups go with the order and, within it, with the scores (p = {p:.2g}): groups that were named after"
            " positions and scores make any p small. Give"
            " the groups as the trainer knew them before the training, or test one source at a time"
        )
        doubts.append(Doubt(text, "groups go with scores within the order", ALL, refuse=p < REFUSAL))
    return doubts + _neighbours(run, first, group)


def _rises(run, z: float, p: float) -> list[Doubt]:
    """Suspect minus reference that rises with the order: what a reference of this order makes, and no training of the
    suspect does.
    """
    names = " and ".join(one.name for one in run.references)
    if run.alternative == "less":
        if p >= DOUBT:
            return []
        return [
            Doubt(
                f"suspect minus reference rises with the order (z = {z:.1f}): the reference {names} may itself have"
                " been trained in it, and then hides"
                " every suspect. A large p is no acquittal here"
            )
        ]
    text = (
        f"suspect minus reference rises with the order (z = {z:.1f}): that is what a reference trained in this order"
        f" makes ({names}), and no training of the"
        " suspect does. It is no evidence about the suspect; ask with alternative='less'"
    )
    return [Doubt(text, "the score rises, as a reference of this order makes it", ALL, refuse=p < REFUSAL)]


def _missing(run) -> list[Doubt]:
    if not len(run.lost):
        return []
    t = run.transcript
    every = np.r_[run.index, run.lost]
    at = t.position[every] if t.position.ndim == 1 else t.position[every, 0]
    gone = np.r_[np.zeros(len(run.index), bool), np.ones(len(run.lost), bool)]
    other = np.r_[run.others.mean(axis=0), run.lost_others.mean(axis=0)] if len(run.others) else None
    p = assumptions.missing_by_position(at, gone, other)
    if p >= MISSING:
        return []
    text = (
        f"scores are missing by position (p = {p:.2g}, {len(run.lost)} rows): rows that were left out after a look"
        " at where they stood, or at how they scored"
        " there, make p wrong. Score the missing rows, or leave out rows without looking at positions"
    )
    return [Doubt(text, "scores are missing by position", ALL)]


def _neighbours(run, first: np.ndarray, group: np.ndarray) -> list[Doubt]:
    """Rows placed together: equal scores side by side, and losses that are alike among neighbours (of the references,
    which did not see the order).
    """
    t, doubts = run.transcript, []
    if t.tokens is None and run.title == "provenance query":
        p, near = assumptions.equals_together(np.unique(run.suspect, return_inverse=True)[1], first)
        if p < DOUBT:
            text = (
                f"{near} rows have exactly the score of the row beside them in the order (p = {p:.2g}), as copies"
                " that were shuffled together have: they are"
                " one unit. Keep one row of each copy"
            )
            doubts.append(Doubt(text, "equal scores stand side by side: copies were shuffled together", ALL))
    values = run.others.mean(axis=0) if len(run.others) else run.suspect
    labels, counts = np.unique(group, return_counts=True)
    parts = labels[np.argsort(-counts, kind="stable")][:20]
    ties, ps = mixed(t.row_id[run.index], 0), []
    for label in parts:
        mine = np.flatnonzero(group == label)
        if len(mine) >= LEAST:
            ps.append(assumptions.follow_each_other(values[mine][np.lexsort((ties[mine], first[mine]))]))
    if ps and (p := min(1.0, len(ps) * min(ps))) < DOUBT:
        text = (
            f"rows that stand side by side in the order have like losses (p = {p:.2g}), as chunks of one document or"
            " copies that were placed together have:"
            " rows that were placed together are one unit. Use one row of each document"
        )
        doubts.append(Doubt(text, "neighbouring rows have like losses: they were not placed one by one", ALL))
    return doubts


# ---- what only the person can know -----------------------------------------------------------------------------------


def conditions(run) -> list[str]:
    """What the data cannot show and every guarantee rests on, in words that follow "guaranteed if"."""
    t = run.transcript
    groups = len(np.unique(t.group)) > 1
    within = " within each exchange group, and the groups were there before the training" if groups else ""
    if t.kind == "key":
        each = "each row and epoch" if t.epochs > 1 else "each row"
        drawn = f"the trainer drew an independent uniform key for {each} and trained in their order{within}"
    else:
        what = "the rows" if groups else "the whole file at once (no buffer, no shards one after another)"
        drawn = f"the trainer shuffled {what}{within}"
    drawn += ", each row placed on its own and not with its document or its copies"
    assumed = [drawn]
    if run.references:
        names = " and ".join(one.name for one in run.references)
        declared = " (declared)" if all(one.shares_order is False for one in run.references) else ""
        assumed.append(f"{names} {'was' if len(run.references) == 1 else 'were'} not trained in this order{declared}")
    assumed.append("nobody else, on whose model the suspect may rest, trained on a part of this file in this order")
    chosen = "rows, groups, statistic, weights and seed were chosen before any score was seen"
    assumed.append(f"{chosen}, and this is the only look")
    return assumed


def refuse(doubts: list[Doubt]) -> None:
    """Raise ProvenanceError for the first doubt that leaves no result."""
    for one in doubts:
        if one.refuse:
            raise ProvenanceError(f"refused: {one.text}")


def _first(t: Order) -> np.ndarray:
    return t.position if t.position.ndim == 1 else t.position[:, 0]
