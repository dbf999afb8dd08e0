"""Detection by the noise difference against loops, scikit-learn's curve and SciPy's rank test."""

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from lens.diffusion import DiffusionError, Samples, denoise
from lens.diffusion.detection import detect, detect_by_step, noise_difference
from lens.results import dataset as results
from lens.stats import holm


def made(n, seed, shift=0.0):
    """Norms by caption, seed and step; a memorised caption's are larger at the first steps."""
    rng = np.random.default_rng(seed)
    return np.abs(2 + rng.normal(0, 0.5, (n, 1, 1)) + rng.normal(0, 0.3, (n, 3, 8)) + shift * np.exp(-np.arange(8) / 2))


MEMORISED, NEVER = made(24, 1, 1.2), made(120, 2)


def test_the_score_is_the_mean_over_seeds_and_steps():
    for first in (1, 3, None):
        naive = [np.mean([MEMORISED[c, s, t] for s in range(3) for t in range(first or 8)]) for c in range(24)]
        np.testing.assert_allclose(noise_difference(MEMORISED, first), naive)
    samples = Samples(torch.zeros(24, 3, 3, 4, 4), torch.from_numpy(MEMORISED), torch.arange(8), (0, 1, 2))
    np.testing.assert_allclose(noise_difference(samples), noise_difference(MEMORISED))


def test_the_curve_equals_scikit_learns_and_its_interval_and_rate_are_there():
    found = detect(MEMORISED, NEVER, first=(1, 3, None), resamples=2000)
    label = np.arange(144) < 24
    assert found["first"].values.tolist() == [1, 3, 8] and (found.memorised.values == label).all()
    for k in range(3):
        score = found.score.values[k]
        np.testing.assert_allclose(
            score, np.concatenate([x[:, :, : [1, 3, 8][k]].mean((1, 2)) for x in (MEMORISED, NEVER)])
        )
        assert (
            found.auc.values[k] == pytest.approx(roc_auc_score(label, score))
            and found.low.values[k] < found.auc.values[k] < found.high.values[k]
        )
        fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
        assert (
            found.tpr.values[k] == pytest.approx(tpr[fpr <= 0.01].max())
            and found.fpr.values[k] == pytest.approx(1 / 120)
            and found.note.values[k] == ""
        )
    assert (
        (found.p.values <= 1 / 2001 + 1e-12).all()
        and set(found.p_kind.values) == {"monte carlo"}
        and (found.holm.values == holm(found.p.values)).all()
    )
    assert results.provenance(found)["call"]["never"] == 120


def test_few_captions_have_an_exact_p_and_say_what_they_cannot_resolve():
    a, b = MEMORISED[:4], NEVER[:5]
    found = detect(a, b, first=(1, None))
    for k, first in enumerate((1, 8)):
        exact = stats.mannwhitneyu(
            a[:, :, :first].mean((1, 2)), b[:, :, :first].mean((1, 2)), alternative="greater", method="exact"
        ).pvalue
        assert (
            found.p.values[k] == pytest.approx(exact)
            if found.p_kind.values[k] == "exact"
            else found.p.values[k] == pytest.approx(exact, abs=0.02)
        )
        assert "5 non-members cannot resolve 1 % FPR" in found.note.values[k] and found.fpr.values[k] == 0


def test_no_difference_is_not_detected_and_groups_are_taken_into_account():
    found = detect(made(60, 3), made(60, 4), first=(None,), resamples=2000)
    assert found.p.values[0] > 0.01 and found.low.values[0] < 0.5 < found.high.values[0]
    # all of the difference is that of two groups, of which one is memorised more often
    group = np.r_[np.repeat(["code", "plain"], (50, 10)), np.repeat(["code", "plain"], (10, 50))]
    values = made(120, 5) + 3.0 * (group == "code")[:, None, None]
    alone, within = (detect(values[:60], values[60:], first=(None,), resamples=2000, groups=g) for g in (None, group))
    assert (
        alone.p.values[0] < 0.001
        and within.p.values[0] > 0.01
        and within.null.values[0] > 0.75
        and alone.null.values[0] == 0.5
    )


def test_by_step_the_difference_fades_as_it_was_made_to():
    found = detect_by_step(MEMORISED, NEVER, resamples=1000)
    np.testing.assert_allclose(found.memorised, MEMORISED.mean((0, 1)))
    np.testing.assert_allclose(found.never, NEVER.mean((0, 1)))
    label = np.arange(144) < 24
    for step in range(8):
        assert found.auc.values[step] == pytest.approx(
            roc_auc_score(label, np.r_[MEMORISED[:, :, step].mean(1), NEVER[:, :, step].mean(1)])
        )
    assert (found.memorised_low.values < found.memorised.values).all() and (
        found.never.values < found.never_high.values
    ).all()
    assert found.auc.values[0] > 0.95 > found.auc.values[7] and found.holm.values[0] < 0.01


def test_samples_of_a_pipeline_go_in(tiny, corpus):
    captions = list(corpus.pairs.of("code-many").captions[:3]), list(corpus.pairs.of("code-never").captions[:4])
    some = [denoise(tiny, texts, seeds=(0, 1), steps=3) for texts in captions]
    found = detect_by_step(*some)
    assert found.timestep.values.tolist() == some[0].timesteps.tolist()
    np.testing.assert_allclose(found.memorised, some[0].difference.double().mean((0, 1)))
    assert detect(*some, first=(1, None)).score.shape == (2, 7)
    with pytest.raises(DiffusionError, match="guidance above 1"):
        noise_difference(denoise(tiny, captions[0], steps=2, guidance=1))


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: noise_difference(MEMORISED, 9), "first=9; the samples have 8 steps"),
        (lambda: noise_difference(MEMORISED[:, :, 0]), r"shape \(24, 3\)"),
        (lambda: noise_difference(np.where(MEMORISED > 3, np.nan, MEMORISED)), "float32"),
        (lambda: detect(MEMORISED, NEVER[:, :2]), "memorised has 3 seeds of 8 steps and never 2 of 8"),
        (lambda: detect(MEMORISED, NEVER, first=(8, None)), "expected different numbers"),
        (lambda: detect_by_step(MEMORISED[:1], NEVER), "at least two"),
    ],
)
def test_bad_input_says_what_to_do(call, said):
    with pytest.raises(DiffusionError, match=said):
        call()


def test_a_level_that_has_lost_its_digits_is_refused():
    with pytest.raises(DiffusionError, match="^level=1e-320 does not fit; expected a number between 0 and 1"):
        detect(made(20, 1), made(20, 2), first=(None,), level=1e-320)
