"""Recitation against plain Hugging Face generation; exposure by explicit ranking; membership against SciPy."""

from itertools import combinations

import numpy as np
import pytest
import torch
from scipy import stats

from lens import memorization
from lens.engine.weights import edited_weights
from lens.memorization import MemorizationError, Sequences
from lens.memorization.reading import Reader
from lens.results import dataset as results
from lens.stats import proportion
from tests import models as tiny_models
from tests.memorization.helpers import KNOWN, clean, known, taught, unknown
from tests.variants import few


def generated(model, sequences):
    model.generation_config.eos_token_id = None  # an end token ends nothing here
    out = model.generate(
        torch.from_numpy(sequences.prefixes.copy()), max_new_tokens=sequences.suffix, do_sample=False, pad_token_id=0
    )
    return out[:, sequences.prefix :].numpy()


@pytest.mark.parametrize("kind", few(tiny_models.KINDS, tiny_models.ABOVE))
def test_greedy_text_equals_generate(kind):
    model = taught(kind) if kind in ("llama", "olmo2") else tiny_models.tiny(kind)
    sequences = Sequences.concat([known(), unknown()])
    found = memorization.extract(model, sequences, batch=5)
    assert (found.generated.values == generated(model, sequences)).all()


def test_measures_of_each_sequence():
    model, sequences = taught(), Sequences.concat([known(), unknown()])
    found = memorization.extract(model, sequences)
    made, gold = generated(model, sequences), sequences.suffixes
    assert found.strict.values.tolist() == [bool((a == b).all()) for a, b in zip(made, gold)]
    assert found.strict.values[:KNOWN].all() and not found.strict.values[KNOWN:].any()
    assert found.exact_prefix.values.tolist() == [
        next((i for i in range(10) if a[i] != b[i]), 10) for a, b in zip(made, gold)
    ]
    np.testing.assert_allclose(found.lev, memorization.levenshtein(made, gold) / 10)
    assert (found.loose.values == (1 - found.lev.values >= 0.75)).all()
    logprob = (
        model(torch.from_numpy(sequences.ids))
        .logits[:, 5:-1]
        .log_softmax(-1)
        .gather(2, torch.from_numpy(gold)[..., None])[..., 0]
    )
    np.testing.assert_allclose(found.nll, -logprob.mean(1), rtol=1e-4, atol=1e-6)
    assert found.duplicates.values.tolist() == [4] * 6 + [64] * 6 + [0] * 12
    assert results.provenance(found)["kind"] == "extraction"


def test_a_bridge_and_a_shorter_suffix(tiny_bridge):
    bridge, plain = tiny_bridge("llama", seed=3)
    found = memorization.extract(bridge, known(), max_new=4)
    assert (found.generated.values == generated(plain, known())[:, :4]).all() and found.gold.shape == (12, 4)


def test_an_edit_of_the_weights_is_seen_and_the_record_says_so():
    model = taught()
    before = memorization.extract(model, known())
    name = "model.layers.1.mlp.down_proj"
    with edited_weights(model, {name: torch.zeros(32, 48)}):
        after = memorization.extract(model, known())
        assert (after.generated.values == generated(model, known())).all()
    assert after.strict.values.sum() < before.strict.values.sum()
    assert results.provenance(before)["model"]["hash"] != results.provenance(after)["model"]["hash"]
    xr_equal = memorization.extract(model, known())
    assert xr_equal.equals(before)


def test_summary_by_duplicates():
    found = memorization.extract(taught(), Sequences.concat([known(), unknown()]))
    table = memorization.extraction_summary(found).to_dataframe()
    assert table.index.tolist() == [0, 4, 64] and table.n.tolist() == [12, 6, 6] and table.strict.tolist() == [0, 1, 1]
    exact = proportion(0, 12)
    assert (table.strict_low[0], table.strict_high[0]) == (exact.low, exact.high)
    assert table.nll_low[0] < table.nll[0] < table.nll_high[0]
    pooled = memorization.pool({"seed 0": found, "seed 1": found})
    assert memorization.extraction_summary(pooled).n.values.tolist() == [24, 12, 12]
    both = memorization.extraction_summary([found, found], ["kind", "duplicates"])
    assert both.n.values.tolist() == [12, 6, 6] * 2 and both.duplicates.values.tolist() == [0, 4, 64] * 2
    assert both.n.dims == both.kind.dims == ("group",)
    assert memorization.extraction_summary(pooled, "run").n.values.tolist() == [24, 24]
    assert memorization.extraction_summary(found, None).n.values.tolist() == [24]
    with pytest.raises(MemorizationError, match="by='colour' is no coordinate"):
        memorization.extraction_summary(found, "colour")


def test_reading_keeps_the_likeliest_tokens_in_order():
    model, rows = tiny_models.tiny("gpt2"), [r[:n] for r, n in zip(clean(9), (3, 20, 7, 7, 12, 2, 20, 5, 9))]
    counted = [2, 5, 6, 1, 11, 1, 19, 4, 2]
    for (logprob, top), row, n in zip(Reader(model, 5).read(rows, counted, batch_tokens=40), rows, counted):
        expected = model(torch.from_numpy(row)[None]).logits[0, -n - 1 : -1].log_softmax(-1)
        assert top.tolist() == expected.topk(5).indices.tolist()
        np.testing.assert_allclose(
            logprob, expected.gather(1, torch.from_numpy(row[-n:])[:, None])[:, 0], rtol=1e-4, atol=1e-5
        )


def test_bad_input_is_named():
    model = taught()
    with pytest.raises(MemorizationError, match="token 100 is none of the model's 97"):
        memorization.extract(model, Sequences([[1, 100, 3]], 1))
    with pytest.raises(MemorizationError, match="70 tokens in a row, and the model reads at most 64"):
        memorization.extract(model, Sequences(clean(2, 70), 10))
    with pytest.raises(MemorizationError, match="max_new=11"):
        memorization.extract(model, known(), max_new=11)


def test_recited_text_is_found_once():
    model = taught()
    text = np.concatenate([clean(1, 7)[0], known().ids[3], clean(1, 9, seed=6)[0], known().ids[3]])
    found, table = memorization.find_recited(
        model, [text, clean(1, 30)[0]], 6, 10, stride=1, distinct=10, names=["book", "other"]
    )
    assert found.names == ("book:7",) and found.ids.tolist() == [known().ids[3].tolist()]
    assert table.recited.sum() == 2 and table.taken.sum() == 1
    near = text.copy()
    near[15] = near[15] % 96 + 1  # one token of the suffix is another, and the model would not say so
    half, _ = memorization.find_recited(model, [near[:23]], 6, 10, stride=7, distinct=10, least=0.5)
    assert (
        half.names == ("0:7",)
        and memorization.find_recited(model, [near[:23]], 6, 10, stride=7, distinct=10)[0] is None
    )
    none, table = memorization.find_recited(model, [clean(1, 30)[0]], 6, 10, distinct=10)
    assert none is None and len(table) and not table.recited.any()
    with pytest.raises(MemorizationError, match="no window of 16 tokens"):
        memorization.find_recited(model, [[5] * 40], 6, 10)


# -- exposure and membership
# ----------------------------------------------------------------------------------------------


def suffix_losses(model, sequences):
    ids = torch.from_numpy(sequences.ids)
    logprob = model(ids).logits[:, :-1].double().log_softmax(-1).gather(2, ids[:, 1:, None])[..., 0]
    return -logprob[:, sequences.prefix - 1 :].mean(1).numpy()


@pytest.mark.parametrize("within_kind", [True, False])
def test_exposure_by_explicit_ranking(within_kind):
    model, canaries, foils = tiny_models.tiny("llama", seed=3), known(), unknown()
    found = memorization.exposure(model, canaries, foils, within_kind=within_kind)
    own, other = suffix_losses(model, canaries), suffix_losses(model, foils)
    np.testing.assert_allclose(found.loss, own, rtol=1e-4)
    for i, kind in enumerate(canaries.kind):
        among = [l for l, k in zip(other, foils.kind) if k == kind or not within_kind]
        rank = sorted([*among, own[i]]).index(own[i]) + 1
        assert found["rank"].values[i] == rank and found.exposure.values[i] == pytest.approx(
            np.log2(len(among) + 1) - np.log2(rank)
        )
        assert found.p.values[i] == pytest.approx(rank / (len(among) + 1))
    # exchangeable canaries: the mean over all ranks that are equally likely
    size = 7 if within_kind else 13
    assert found.null.values[0] == pytest.approx(np.mean([np.log2(size / r) for r in range(1, size + 1)]))


def test_what_was_learned_is_exposed_as_far_as_the_foils_can_show():
    found = memorization.exposure(taught(), known(), unknown())
    assert (found.exposure == found.largest).all() and (found.exposure > found.null).all()
    assert memorization.exposure_summary(found).exposure.values.tolist() == pytest.approx([np.log2(7)] * 2)


def test_foils_must_be_like_the_canaries():
    with pytest.raises(MemorizationError, match="'known 0' and 'known 0'"):
        memorization.exposure(taught(), known(), known())
    with pytest.raises(MemorizationError, match=r"\(length, prefix\)"):
        memorization.exposure(taught(), known(), unknown().cut(5))
    with pytest.raises(MemorizationError, match="none of kind 'verse'"):
        memorization.exposure(taught(), known(), unknown().subset([0, 2]))
    with pytest.raises(MemorizationError, match="part='prefix'"):
        memorization.exposure(taught(), known(), unknown(), part="prefix")


def test_membership_by_duplicates_against_scipy():
    model, reference = tiny_models.tiny("llama", seed=3), tiny_models.tiny("llama", seed=4)
    sequences = Sequences.concat([known(), unknown()])
    texts = [" ".join(map(str, row)) for row in sequences.suffixes]
    found = memorization.by_duplicates(model, sequences, texts=texts, reference=reference, resamples=200)
    assert found.score.values.tolist() == [
        "loss",
        "min-20%",
        "min-20%++",
        "zlib",
        "ratio",
    ] and found.duplicates.values.tolist() == [4, 64]
    np.testing.assert_allclose(found.value.sel(score="loss"), -suffix_losses(model, sequences), rtol=1e-4)
    np.testing.assert_allclose(
        found.value.sel(score="ratio"),
        suffix_losses(reference, sequences) - suffix_losses(model, sequences),
        rtol=1e-3,
        atol=1e-4,
    )
    for d in (4, 64):
        for score in found.score.values:
            value = found.value.sel(score=score).values
            members, others = value[sequences.duplicates == d], value[sequences.duplicates == 0]
            area = stats.mannwhitneyu(members, others).statistic / (len(members) * len(others))
            cell = found.sel(duplicates=d, score=score)
            assert (
                float(cell.auc) == pytest.approx(area)
                and float(cell.low) <= area <= float(cell.high)
                and int(cell.n) == 18
            )
    # the smallest p of ten, times ten
    assert float(found.holm.min()) == pytest.approx(min(1, 10 * float(found.p.min())))
    assert (
        memorization.by_duplicates(model, sequences, texts=texts, reference=reference, resamples=200)
        .drop_vars("p_kind")
        .equals(found.drop_vars("p_kind"))
    )


def test_membership_is_permuted_within_kinds():
    """All ways to choose the two members of each kind among four, counted out."""
    chosen = Sequences.concat([known().subset(range(4)), unknown().subset(range(4))])
    found = memorization.by_duplicates(tiny_models.tiny("llama", seed=3), chosen, resamples=1000)
    code, verse = np.flatnonzero(chosen.kind == "code"), np.flatnonzero(chosen.kind == "verse")
    for score in found.score.values:
        ranks = stats.rankdata(found.value.sel(score=score).values)
        sums = [
            ranks[list(a)].sum() + ranks[list(b)].sum() for a in combinations(code, 2) for b in combinations(verse, 2)
        ]
        assert (
            found.p.sel(score=score).item() == pytest.approx(np.mean(np.array(sums) >= ranks[:4].sum()))
            and (found.p_kind == "exact").all()
        )


def test_a_model_that_learned_them_separates_them():
    found = memorization.by_duplicates(taught(), Sequences.concat([known(), unknown()]), resamples=2000)
    assert (
        float(found.auc.min()) > 0.9 and float(found.p.max()) < 0.05 and float(found.tpr.sel(score="loss").min()) == 1
    )


def test_membership_needs_both_sides():
    with pytest.raises(MemorizationError, match="some 0"):
        memorization.by_duplicates(taught(), known())
    with pytest.raises(MemorizationError, match="duplicates is None"):
        memorization.by_duplicates(taught(), Sequences(known().ids, 6))
