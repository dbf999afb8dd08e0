"""Recognition, recall, retention and relearning: against explicit losses, an independent training run, and models whose
answer is known.
"""

import copy

import numpy as np
import pytest
import torch
from scipy import stats

from lens import memorization
from lens.memorization import Attack, MemorizationError, Sequences
from lens.memorization.probing import curve, recitation, rows_of
from lens.results import dataset as results
from lens.stats.crossings import crossing, reached
from lens.stats.samples import StatisticsError
from lens.training import Recipe, Rows, train
from lens.training.copies import copy_of
from tests.memorization.helpers import clean, known, taught, unknown, weights
from tests.memorization.test_damage import Fade
from tests.memorization.test_extraction import suffix_losses

FAST = Recipe(steps=4, batch=6, learning_rate=1e-3, schedule="constant")


def test_recognition_counts_lower_losses():
    foils = {"other": unknown(), "shuffled": memorization.scrambled(known(), "shuffled")}
    found = memorization.recognition(taught(seen=False), known(), foils, part="suffix")
    own = suffix_losses(taught(seen=False), known())
    for name, of in foils.items():
        assert found.recognised.sel(foil=name).values.tolist() == (own < suffix_losses(taught(seen=False), of)).tolist()
    table = memorization.recognition_summary(found).to_dataframe()
    right = int(found.recognised.sel(foil="other").sum())
    assert table.p["other"] == pytest.approx(stats.binomtest(right, 12, alternative="greater").pvalue)
    learned = memorization.recognition(taught(), known(), foils)
    assert learned.recognised.values.all()
    table = memorization.recognition_summary(learned).to_dataframe()
    assert (
        table.holm["other"] == pytest.approx(2 * 0.5**12)
        and table.p_kind["other"] == "exact if a coin chose which of each pair was seen"
    )
    assert (
        table.p_kind["shuffled"].startswith("approximate: foils were made of the sequences")
        and np.isnan([table.holm["shuffled"], table.chance["shuffled"]]).all()
    )


def test_scrambled_foils():
    for how in ("shuffled", "random", "swapped"):
        made = memorization.scrambled(known(), how, seed=1)
        assert (made.prefixes == known().prefixes).all() and (made.suffixes != known().suffixes).any()
        assert (made.ids == memorization.scrambled(known(), how, seed=1).ids).all()
    assert (np.sort(memorization.scrambled(known()).suffixes) == np.sort(known().suffixes)).all()
    with pytest.raises(MemorizationError, match="how='reversed'"):
        memorization.scrambled(known(), "reversed")


def test_foils_that_a_cheap_feature_tells_apart_are_named():
    """Sequences of a chain that often goes on the same way; foils drawn alike, by hand out of order, swapped, and at
    random.
    """
    rng = np.random.default_rng(0)

    def chain(n):
        rows = np.empty((n, 14), int)
        rows[:, 0] = rng.integers(60, size=n)
        for t in range(1, 14):
            rows[:, t] = np.where(rng.random(n) < 0.8, (7 * rows[:, t - 1] + 3) % 60, rng.integers(60, size=n))
        return Sequences(rows, 5)

    from lens.memorization.curves import told_apart

    seen = chain(24)
    mixed = Sequences(rng.permuted(seen.ids, axis=1), 5)
    swapped = Sequences(np.concatenate([seen.prefixes, np.roll(seen.suffixes, 1, 0)], 1), 5)
    noise = Sequences(rng.integers(60, size=seen.ids.shape), 5)
    words = [
        told_apart(seen, foils)
        for foils in (mixed, swapped, noise, memorization.scrambled(seen, "random").subset(np.arange(24)))
    ]
    assert (
        "another order" in words[0]
        and "swapped" in words[1]
        and "neighbouring tokens" in words[2]
        and "scrambled, random" in words[3]
    )
    assert sum(bool(told_apart(chain(24), chain(24))) for _ in range(300)) <= stats.binom.ppf(0.9999, 300, 1e-3)


def test_foils_that_do_not_pair_are_refused():
    with pytest.raises(MemorizationError, match="one for each of the 12"):
        memorization.recognition(taught(), known(), unknown().subset([0]))
    mixed = Sequences(np.concatenate([known().ids[:1], unknown().ids[1:]]), 6)
    with pytest.raises(MemorizationError, match="known 0 equal their partners"):
        memorization.recognition(taught(), known(), mixed)


def test_recall_gives_half():
    found = memorization.recall(taught(), known())
    assert (
        found.gold.shape == (12, 8)
        and found.strict.all()
        and (found.rouge_l == 1).all()
        and results.provenance(found)["kind"] == "recall"
    )


def test_retention_equals_a_training_run_by_hand_and_leaves_the_model():
    model = taught()
    start = weights(model)
    found = memorization.retention(
        model, known(), clean(12, 16), FAST, foils=unknown(), at=[0, 2], texts=clean(3, 9, seed=8)
    )
    assert torch.equal(weights(model), start) and not any(p.requires_grad for p in model.parameters())
    assert found.step.values.tolist() == [0, 2, 4] and found.clean_loss.shape == (3, 3)
    by_hand = taught()
    train(by_hand, rows_of(clean(12, 16)), FAST, parameters=lambda name: True, progress=False)
    by_hand.requires_grad_(False)
    np.testing.assert_allclose(found.nll.isel(step=-1), suffix_losses(by_hand, known()), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.foil_nll.isel(step=-1), suffix_losses(by_hand, unknown()), rtol=1e-3)
    assert (
        (found.recognised == (found.nll < found.foil_nll)).all()
        and found.strict.isel(step=0).all()
        and not found.foil_strict.any()
    )


def test_retention_goes_on_where_it_was_stopped(tmp_path):
    long = Recipe(steps=6, batch=6, learning_rate=1e-3, schedule="constant", checkpoint_every=2)
    whole = memorization.retention(taught(), known(), clean(12, 16), long, at=[0, 3])
    calls = []
    probe = recitation(known())
    curve(
        taught(),
        rows_of(clean(12, 16)),
        long,
        probe,
        [0, 3],
        folder=tmp_path,
        stop=lambda: len(calls) >= 4 or calls.append(1),
    )
    again = memorization.retention(taught(), known(), clean(12, 16), long, at=[0, 3], folder=tmp_path)
    assert again.step.values.tolist() == [0, 3, 6]
    for name in ("strict", "nll", "exact_prefix"):
        assert np.array_equal(again[name], whole[name])


def test_rows_that_hold_the_sequences_are_refused():
    rows = clean(4, 30)
    rows[2, 5:15] = known().suffixes[7]
    with pytest.raises(MemorizationError, match="rows hold the suffix of 1 of the sequences that are probed: known 7"):
        memorization.retention(taught(), known(), rows, FAST)
    with pytest.raises(MemorizationError, match="'known 1' of target and 'known 1'"):
        memorization.relearning(taught(), known(), {"others": known().subset([1])}, recipe=FAST)


# -- relearning
# -----------------------------------------------------------------------------------------------------------

QUICK = Recipe(steps=40, batch=12, learning_rate=3e-3, weight_decay=0.0, schedule="constant")


@pytest.fixture(scope="module")
def relearned():
    model, twin = taught(), taught(seen=False)
    start, before = weights(model), weights(twin)
    found = memorization.relearning(
        model,
        known(),
        {"target": known(), "clean": clean(12, 16)},
        edit=Fade(0.6),
        twin=twin,
        foils=unknown(),
        recipe=QUICK,
        at=[0, 2, 5, 10, 20],
        original=True,
    )
    assert torch.equal(weights(model), start) and torch.equal(weights(twin), before)
    return found


@pytest.mark.long
def test_relearning_starts_from_each_model(relearned):
    assert (
        relearned.sizes == {"model": 3, "on": 2, "step": 6, "sequence": 24}
        and relearned.set.values.tolist() == ["target"] * 12 + ["foil"] * 12
    )
    at_start = relearned.isel(step=0, on=0)
    original = memorization.extract(taught(), known())
    assert at_start.strict.sel(model="original").values[:12].tolist() == original.strict.values.tolist()
    with memorization.edited(model := taught(), Fade(0.6)):
        edited = memorization.extract(model, known())
    np.testing.assert_allclose(at_start.nll.sel(model="edited").values[:12], edited.nll, rtol=1e-4)
    assert not at_start.strict.sel(model="twin").any()


def test_a_faded_memory_is_relearned_sooner_than_by_a_twin(relearned):
    table = memorization.savings(relearned, measure="loose").set_index("on")
    row = table.loc["target"]
    assert row.edited < row.twin and row.low > 0 and row.low <= row.savings <= row.high and row.n == 12
    assert "twin" in table.loc["clean"].censored
    summary = memorization.relearning_summary(relearned)
    assert summary.sizes == {"model": 3, "on": 2, "set": 2, "step": 6}
    assert summary.strict.sel(set="foil").max() == 0 and (summary.n == 12).all()
    np.testing.assert_array_equal(summary["mean"].sel(set="target"), relearned.strict[..., :12].mean("sequence"))


def test_a_step_at_which_an_arm_was_not_looked_at_has_nothing(relearned):
    every, first = memorization.relearning_summary(relearned), relearned.on.values[0]
    gone = (relearned.on == first) & (relearned.step == relearned.step[2])
    some = memorization.relearning_summary(relearned.assign(strict=relearned.strict.where(~gone)))
    empty = some.sel(on=first).isel(step=2)
    assert (empty.n == 0).all() and empty["mean"].isnull().all() and empty.p.isnull().all()
    assert set(empty.p_kind.values.ravel()) == set(empty.interval_kind.values.ravel()) == {"none: no look at this step"}
    kept = some.to_dataframe().query("n > 0")
    assert len(kept) == every["mean"].size - empty["mean"].size
    assert kept["mean"].equals(every.to_dataframe()["mean"].loc[kept.index])


def test_steps_to_a_threshold_are_interpolated():
    curves = np.array([[0, 0.6, 0], [0.2, 0.7, 0.1], [0.6, 0.8, 0.2]])
    assert reached(curves, np.array([0, 4, 8]), 0.5).tolist() == [4 + 4 * 0.75, 0, 8]


def test_the_crossing_of_one_units_numbers_has_no_bounds():
    step, low, high, kind = crossing(np.array([[0.0], [0.25], [0.75]]), np.array([0, 4, 8]), 0.5)
    assert step == 6 and np.isnan([low, high]).all() and kind == "none: one unit"
    of_truths = crossing(np.array([[0.0], [0.0], [1.0]]), np.array([0, 4, 8]), 0.5)
    assert of_truths[0] == 6 and np.isfinite(of_truths[1]), "one truth value has Clopper and Pearson's bounds"


def test_relearning_needs_something_to_compare(relearned):
    with pytest.raises(MemorizationError, match="has no twin"):
        memorization.savings(relearned.sel(model=["edited"]))
    with pytest.raises(MemorizationError, match="measure='nll'"):
        memorization.savings(relearned, measure="nll")
    with pytest.raises(MemorizationError, match="on is empty"):
        memorization.relearning(taught(), known(), {})
    with pytest.raises(MemorizationError, match="original=True without edit"):
        memorization.relearning(taught(), known(), {"clean": clean()}, original=True)


def test_a_copy_holds_the_edit_and_nothing_that_was_remembered():
    model = taught()
    memorization.prefix_matching(model, clean())
    with memorization.edited(model, Fade(0.5)):
        inside = weights(model)
        made = copy_of(model)
    assert torch.equal(weights(made), inside) and not torch.equal(weights(model), inside)
    assert not [n for n in made.__dict__ if n.startswith("_mnemoscope")]
    with memorization.edited(made, Fade(0.5)):  # no mark of the edit came along
        pass


# -- attacks and the verdict
# ----------------------------------------------------------------------------------------------


def test_variants_of_a_prefix():
    made = memorization.variants(known(), shifts=[2], left=clean(12, 3), noise=[0.5])
    ids = known().ids
    expected = {
        "original": ids[:, :6],
        "longer +2": ids[:, :8],
        "shift +2": ids[:, 2:8],
        "shorter -2": ids[:, 2:6],
        "left +2": np.concatenate([clean(12, 3)[:, -2:], ids[:, :6]], 1),
    }
    for name, rows in expected.items():
        assert np.array_equal(np.stack(made[name][0]), rows)
    assert {name: given for name, (_, given) in made.items()} == {
        "original": 0,
        "longer +2": 2,
        "shift +2": 2,
        "shorter -2": 0,
        "left +2": 0,
        "noise 50%": 0,
    }
    again = memorization.variants(known(), shifts=[2], left=clean(12, 3), noise=torch.tensor([0.5]))
    assert np.array_equal(np.stack(again["noise 50%"][0]), np.stack(made["noise 50%"][0]))
    worn = np.stack(made["noise 50%"][0]) != ids[:, :6]
    assert worn.any() and worn.sum(1).max() <= 3
    for wrong, message in (
        (dict(shifts=[6]), "shifts has 6"),
        (dict(noise=[0]), r"noise\[0\]=0"),
        (dict(shifts=[4], left=clean(12, 3)), "left has shape"),
    ):
        with pytest.raises(MemorizationError, match=message):
            memorization.variants(known(), **wrong)


def test_stretched_prefixes_are_recited_as_by_generate():
    model, sequences = taught(), known()
    short = [row[3:6] for row in sequences.ids]
    with memorization.edited(model, Fade(0.7)):
        found = memorization.stretch(model, sequences, shifts=[2], paraphrases={"short": short})
        model.generation_config.eos_token_id = None
        for name, (prompts, given) in (memorization.variants(sequences, shifts=[2]) | {"short": (short, 0)}).items():
            gold = sequences.suffixes[:, given:]
            made = model.generate(
                torch.tensor(np.stack(prompts)), max_new_tokens=gold.shape[1], do_sample=False, pad_token_id=0
            )[:, len(prompts[0]) :].numpy()
            assert found.strict.sel(variant=name).values.tolist() == (made == gold).all(1).tolist()
            assert int(found.left.sel(variant=name)) == gold.shape[1]
    assert (found.strict_any == found.strict.any("variant")).all() and (
        found.longest == found.exact_prefix.max("variant")
    ).all()
    with pytest.raises(MemorizationError, match="paraphrases"):
        memorization.stretch(model, sequences, paraphrases={"short": short[:2]})


def flags(*counts):
    return np.repeat([True, False], counts)


def test_the_words_of_a_verdict():
    before, gone = flags(40, 0), flags(0, 40)
    none, back = Attack(gone, gone), Attack(flags(20, 20), gone)
    assert memorization.verdict(before, before, {"a": none}).word == "no removal shown"
    assert memorization.verdict(before, gone, {"a": none, "b": none}).word == "erases"
    found = memorization.verdict(before, gone, {"a": none, "relearning": back})
    assert (
        found.word == "hides"
        and found.by == ("relearning",)
        and "hides by relearning" in str(found)
        and "40 recalled before, 0 after" in str(found)
    )
    assert memorization.verdict(before[:5], gone[:5], {"a": Attack(gone[:5], gone[:5])}).word == "undecided"
    assert memorization.verdict(before, gone, {}).word == "undecided"
    # an attack that recites as much in a control brings nothing back, and what the edit left is not recovered
    assert memorization.verdict(before, gone, {"a": Attack(back.edited, back.edited)}).by == ()
    half = flags(20, 20)
    partial = memorization.verdict(before, half, {"a": Attack(half, gone)}, margin=0.2)
    assert partial.word == "partial" and partial.table.n[0] == 20
    unpaired = memorization.verdict(before, gone, {"a": Attack(back.edited, flags(1, 29), paired=False)})
    assert (
        unpaired.table.p[0] == pytest.approx(stats.fisher_exact([[20, 20], [1, 29]], alternative="greater").pvalue)
        and unpaired.word == "hides"
    )


def test_verdict_refuses_what_cannot_be_judged():
    with pytest.raises(StatisticsError, match="none of the items was recalled"):
        memorization.verdict(flags(0, 4), flags(0, 4), {})
    with pytest.raises(StatisticsError, match="before has shape"):
        memorization.verdict(flags(4, 0), flags(3, 0), {})
    with pytest.raises(StatisticsError, match="attack 'a' has shapes"):
        memorization.verdict(flags(4, 0), flags(0, 4), {"a": Attack(flags(1, 1), flags(1, 1))})
    with pytest.raises(MemorizationError, match="needs a control"):
        memorization.is_it_gone(taught(), None, known())
    with pytest.raises(MemorizationError, match="paraphrases of the target have no control"):
        memorization.is_it_gone(taught(), None, known(), foils=unknown(), paraphrases={"short": known().prefixes})


def silenced():
    """The taught model, trained to say token 96 after each known prefix, and all the rest of the suffix as before: the
    memory is there, one token further on.
    """
    ids = torch.from_numpy(np.concatenate([known().ids, known().ids]))
    targets = torch.arange(16).expand(ids.shape) >= 7
    ids[:12, 6] = 96
    targets = torch.where(torch.arange(24)[:, None] < 12, torch.arange(16) == 6, targets)
    model = taught()
    recipe = Recipe(steps=40, batch=24, learning_rate=3e-3, weight_decay=0.0, schedule="constant")
    train(model, Rows(ids, targets, torch.full((24,), 16)), recipe, parameters=lambda name: True, progress=False)
    return model.requires_grad_(False)


@pytest.mark.long
def test_a_memory_behind_one_token_is_hidden():
    model, edit, twin = taught(), silenced(), taught(seen=False)
    start = weights(model), weights(edit), weights(twin)
    target, others = known().subset(range(10)), known().subset(range(10, 12))
    found = memorization.is_it_gone(
        model,
        edit,
        target,
        others=others,
        clean=clean(12, 16),
        twin=twin,
        ks=[2, 8],
        paraphrases={"short": target.ids[:, 2:6]},
        recipe=QUICK,
        at=[5, 10, 20],
    )
    assert all(torch.equal(weights(m), w) for m, w in zip((model, edit, twin), start))
    assert found.word == "hides" and "stretched prefixes" in found.by and found.recited == (10, 0)
    table = found.table.set_index("attack")
    assert set(table.index) == {
        "stretched prefixes",
        "worn prefixes",
        "paraphrased prefixes",
        "training on 2 others",
        "training on clean text",
    }
    assert table.p["stretched prefixes"] == pytest.approx(0.5**10) and table.control["stretched prefixes"] == 0
    assert {"stretch", "stretch control", "relearning", "savings", "before", "after"} <= set(found.details)


def test_a_model_that_never_knew_is_an_erased_one():
    """The perfect edit: another model altogether, which never had the memory."""
    found = memorization.is_it_gone(taught(), taught(seen=False), known(), foils=unknown(), recipe=FAST, margin=0.3)
    assert found.word == "erases" and not found.by and not found.details["stretch"].strict_any.any()
    with pytest.raises(MemorizationError, match="recites none of it"):
        memorization.is_it_gone(copy.deepcopy(taught(seen=False)), None, known(), foils=unknown())
