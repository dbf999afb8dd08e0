"""What counts as one: equal sequences, texts and items are told; units of several runs are within their run; lines
without a test say why.
"""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from lens import memorization
from lens.memorization import MemorizationError, Sequences
from lens.results import dataset as results
from tests.memorization.helpers import KNOWN, clean, known, taught
from tests.variants import few

TEXTS = clean(6)


def test_equal_sequences_have_one_label_in_whatever_set():
    once, twice = known(), Sequences.concat([known(), known().subset([2, 2])])
    assert "duplicate" not in once.coords()
    labels = twice.coords()["duplicate"][1]
    assert labels[2] == labels[KNOWN] == labels[KNOWN + 1] and len(set(labels)) == KNOWN
    alone = Sequences.concat([known().subset([2]), known().subset([2])]).coords()["duplicate"][1]
    assert alone[0] == labels[2]


def test_a_sequence_that_stands_twice_counts_once():
    model = taught()
    first, again = known().subset(range(6)), Sequences.concat([known().subset(range(6)), known().subset([0, 0, 0])])
    want, got = (memorization.extraction_summary(memorization.extract(model, s), by=None) for s in (first, again))
    assert (
        got.n[0] == want.n[0] == 6
        and got.units == "6 units of 9 sequences, by duplicate (guessed from their fields; cluster=None counts each)"
    )
    for measure in ("strict", "lev", "nll"):
        assert [got[measure + end].item() for end in ("", "_low", "_high")] == pytest.approx(
            [want[measure + end].item() for end in ("", "_low", "_high")], nan_ok=True
        )
    assert memorization.extraction_summary(memorization.extract(model, again), by=None, cluster=None).n[0] == 9
    # the same where sets are put together of which one has them
    curve = memorization.tradeoff(model, {1: None}, {"a": again, "b": known().subset(range(6, 9))}, TEXTS, heads=False)
    assert memorization.tradeoff_summary(curve).n.values.tolist() == [[6, 3]] * 2


def test_equal_texts_and_items_count_once_in_the_damage():
    model, other = taught(), taught(seen=False)
    items = [([1, 2, 3], [4]), ([5, 6, 7], [8]), ([9, 10], [11]), ([12, 13], [14]), ([20, 21], [22])]
    several = np.concatenate([TEXTS, TEXTS[:2], TEXTS[:1]])
    one = memorization.damage(model, other, TEXTS, {"t": items}, heads=False)
    many = memorization.damage(model, other, several, {"t": [*items, items[0], items[0]]}, heads=False)
    assert not {"duplicate_text", "duplicate_item"} & set(one.coords) and len(set(many.duplicate_text.values)) == 6
    want, got = (
        memorization.damage_summary(one).to_dataframe(),
        memorization.damage_summary(many).to_dataframe(),
    )
    for line in ("nDCG@10", "copying loss", "task t"):
        assert got.n[line] == want.n[line] and (got.change[line], got.low[line], got.high[line]) == pytest.approx(
            (want.change[line], want.low[line], want.high[line]), rel=1e-4, nan_ok=True
        )
    assert (
        got.n["clean loss"] == 6
        and got.units["clean loss"].startswith("6 units of 9 texts, by duplicate")
        and got.units["task t"].startswith("5 units of 7 items")
    )
    # a text that stands three times still has three times its tokens in the loss
    apart = (many.nll_after - many.nll_before).values
    assert got.change["clean loss"] == pytest.approx(apart.sum() / many.tokens.values.sum(), rel=1e-6)
    assert np.isnan(got.p["nDCG@10"]) and got.p_kind["nDCG@10"] == "none: it cannot rise above 1"
    with pytest.raises(MemorizationError, match="say of which, as in {'text': labels}"):
        memorization.damage_summary(many, cluster=list(range(9)))
    by_hand = memorization.damage_summary(many, cluster={"text": [*range(6), 0, 1, 0]}).to_dataframe()
    assert by_hand.low["nDCG@10"] == pytest.approx(got.low["nDCG@10"]) and by_hand.units["clean loss"].endswith(
        "as given"
    )


def made(values, **coords):
    ds = xr.Dataset(
        {"strict": ("sequence", np.asarray(values))}, {k: ("sequence", np.asarray(v)) for k, v in coords.items()}
    )
    return results.stamp(ds, {"kind": "made up"})


def test_units_of_several_runs_are_within_their_run_whatever_it_is_called():
    rng = np.random.default_rng(0)
    parts = {
        f"seed {s}": made(rng.random(8) < 0.2 + 0.3 * s, entity=list("aabbccdd"), name=[str(i) for i in range(8)])
        for s in range(3)
    }
    pooled = memorization.pool(parts)
    table = memorization.summary(pooled, by=None)
    assert table.n[0] == 12 and "12 units of 24 sequences, by entity" in table.units.item()
    means = np.array([ds.strict.values.reshape(4, 2).mean(1) for ds in parts.values()])
    tops = means.mean(1)
    half = stats.t.isf(0.025, 2) * tops.std(ddof=1) / np.sqrt(3)
    assert table.strict[0] == pytest.approx(tops.mean())
    # both levels: never narrower than Student's t over the three runs
    assert (
        table.strict_low[0] <= max(0, tops.mean() - half) + 1e-12
        and table.strict_high[0] >= min(1, tops.mean() + half) - 1e-12
    )
    given = memorization.summary(pooled, by=None, cluster=np.tile(list("aabbccdd"), 3))
    assert given.n[0] == 12 and given.strict_low[0] == pytest.approx(table.strict_low[0])


def test_a_sequence_that_is_in_several_runs_is_no_several_sequences_of_the_test():
    values = np.repeat([True, False], 4)
    runs = {s: made(values, duplicates=[8] * 4 + [1] * 4, name=[str(i) for i in range(8)]) for s in range(3)}
    table = memorization.summary(list(runs.values())).to_dataframe()
    assert table.p[8] == pytest.approx(stats.fisher_exact([[4, 0], [0, 4]])[1])  # eight sequences, not 24
    assert table.n[8] == 12 and table.p_kind[8] == "exact if the groups were drawn at random"
    assert memorization.summary(runs[0], by=None).p_kind[0] == "none: one group"


def test_recognition_by_unit_flips_whole_units():
    right = np.array([True, True, True, False, True, True, False, True])
    ds = results.stamp(
        xr.Dataset(
            {"recognised": (("foil", "sequence"), right[None])},
            {"foil": ["other"], "entity": ("sequence", list("aabbccdd"))},
        ),
        {"kind": "made up"},
    )
    row = memorization.recognition_summary(ds).to_dataframe().iloc[0]
    sums = np.array([2, 0, 2, 0])
    signs = 1 - 2 * ((np.arange(16)[:, None] >> np.arange(4)) & 1)
    assert row.p == pytest.approx(np.mean(signs @ sums >= sums.sum())) and row.n == 4
    assert (
        row.p_kind == "exact if a coin chose which of each pair was seen, or which pairs of each unit were"
        and row.recognised == pytest.approx(0.75)
    )
    each = memorization.recognition_summary(ds, cluster=None).to_dataframe().iloc[0]
    assert (
        each.p == pytest.approx(stats.binom.sf(5, 8, 0.5)) and each.n == 8 and each.interval_kind == "Clopper-Pearson"
    )


@pytest.mark.long
@pytest.mark.parametrize("draws", few([60, 150], [60]))
def test_exposure_of_canaries_that_share_a_unit_is_approximate_and_of_the_right_size(draws):
    """Eight units of four canaries that are alike, beside foils: canary by canary, p is at most .05 twice as often as
    it says.
    """
    rng, hits = np.random.default_rng(3), np.zeros(2)
    for _ in range(draws):
        loss = np.sqrt(0.7) * np.repeat(rng.normal(size=8), 4) + np.sqrt(0.3) * rng.normal(size=32)
        foils = rng.normal(size=32)
        of = {k: ("sequence", np.ones(32)) for k in ("exposure", "null", "largest")}
        ds = results.stamp(
            xr.Dataset(
                {**of, "loss": ("sequence", loss), "foil_loss": ("foil", foils)},
                {
                    "kind": ("sequence", ["c"] * 32),
                    "foil_kind": ("foil", ["c"] * 32),
                    "entity": ("sequence", np.repeat(np.arange(8), 4)),
                },
            ),
            {"kind": "made up"},
        )
        rows = [memorization.exposure_summary(ds, by=None, cluster=c).to_dataframe().iloc[0] for c in ("auto", None)]
        hits += [row.p <= 0.05 for row in rows]
    assert rows[0].p_kind.startswith("approximate: canaries that share a unit") and rows[1].p_kind.startswith(
        "monte carlo if "
    )
    assert hits[0] <= stats.binom.ppf(1 - 1e-3, draws, 0.06) < hits[1]
