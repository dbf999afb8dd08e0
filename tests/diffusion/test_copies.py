"""Measures of copying against naive loops, scikit-image and simulated pairs whose answer is known."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from lens import diffusion
from lens.diffusion import DiffusionError
from lens.organisms.cards import images as cards_images
from lens.results import dataset as results


def drawn(n, seed):
    """Cards of random foregrounds on random backgrounds, and the pixels of the background."""
    rng = np.random.default_rng(seed)
    fores = [cards_images.foregrounds()[i] for i in rng.integers(432, size=n)]
    pictures = [cards_images.draw(fore, back) for fore, back in zip(fores, cards_images.background(rng, n))]
    return torch.stack(pictures), torch.stack([cards_images.background_mask(fore) for fore in fores])


def noisy(pictures, seeds, sd=0.1, seed=0):
    made = pictures[:, None] + sd * torch.randn(
        len(pictures), seeds, *pictures.shape[1:], generator=torch.Generator().manual_seed(seed)
    )
    return made.clamp(-1, 1)


TRUTH, SEEN = drawn(6, 1)
POOL = torch.cat([TRUTH[:4], TRUTH[1:2], drawn(30, 2)[0]])  # the own pictures of four captions, one of them twice
IMAGES = torch.stack([TRUTH, drawn(6, 3)[0], noisy(TRUTH, 1)[:, 0]], 1)  # a copy, another picture, a noisy copy


def test_background_correlation_equals_a_loop():
    found = diffusion.background_correlation(IMAGES, TRUTH, SEEN)
    for c in range(6):
        for s in range(3):
            sides = [
                np.concatenate(
                    [z[k][SEEN[c]].double().numpy() - z[k][SEEN[c]].double().numpy().mean() for k in range(3)]
                )
                for z in (IMAGES[c, s], TRUTH[c])
            ]
            assert found[c, s] == pytest.approx(
                np.dot(*sides) / np.sqrt(np.dot(sides[0], sides[0]) * np.dot(sides[1], sides[1])), abs=1e-9
            )
    np.testing.assert_allclose(diffusion.background_correlation(IMAGES[:, 1], TRUTH, SEEN), found[:, 1])
    assert found[:, 0] == pytest.approx(1) and (found[:, 2] > 0.85).all() and (abs(found[:, 1]) < 0.6).all()


def test_background_correlation_leaves_the_foreground_and_each_channels_level_out():
    other = torch.where(
        SEEN[:, None], 0.3 * TRUTH + torch.tensor([-0.4, 0.0, 0.4])[:, None, None], torch.rand(TRUTH.shape)
    )
    assert diffusion.background_correlation(other, TRUTH, SEEN) == pytest.approx(1, abs=1e-6)
    assert (diffusion.background_correlation(torch.zeros_like(TRUTH), TRUTH, SEEN) == 0).all()


@pytest.mark.parametrize("window", [3, 7])
def test_ssim_equals_scikit_image_picture_by_picture(window):
    found = diffusion.ssim(IMAGES, TRUTH, window)
    for c in range(6):
        for s in range(3):
            naive = structural_similarity(
                IMAGES[c, s].double().numpy(), TRUTH[c].double().numpy(), channel_axis=0, data_range=2, win_size=window
            )
            assert found[c, s] == pytest.approx(naive, abs=1e-9)
    assert found[:, 0] == pytest.approx(1) and (found[:, 2] > found[:, 1] + 0.2).all()


@pytest.mark.parametrize("nearest", [1, 8, 33])
def test_normalised_distance_equals_a_loop_and_leaves_the_own_picture_out(nearest):
    found = diffusion.normalised_distance(IMAGES, TRUTH, POOL, nearest)
    for c in range(6):
        others = [y for y in POOL if not torch.equal(y, TRUTH[c])]
        assert len(others) == {0: 34, 1: 33, 2: 34, 3: 34}.get(c, 35)
        for s in range(3):
            near = sorted(float((IMAGES[c, s].double() - y.double()).norm()) for y in others)[:nearest]
            assert found[c, s] == pytest.approx(
                float((IMAGES[c, s].double() - TRUTH[c].double()).norm()) / (0.5 * np.mean(near)), rel=1e-6, abs=1e-6
            )
    assert (found[:, 0] < 1e-6).all() and (found[:, 2] < 1).all() and (found[:, 1] > 1).all()


def test_nearest_identity_equals_a_loop_and_takes_numbers_of_pictures():
    naive = np.array([[min(range(len(POOL)), key=lambda i: float((x - POOL[i]).norm())) for x in of] for of in IMAGES])
    assert (diffusion.nearest_identity(IMAGES, POOL) % 34 == naive % 34).all()
    number = np.arange(100, 135)
    number[4] = number[1]  # the same picture
    found = diffusion.nearest_identity(IMAGES, POOL, number)
    assert (found == number[naive]).all() and (found[:4, [0, 2]] == np.arange(100, 104)[:, None]).all()
    assert (diffusion.nearest_identity(IMAGES[:, 1], POOL, number) == found[:, 1]).all()


def test_diversity_equals_a_loop_and_is_low_where_the_seed_does_not_matter():
    found = diffusion.diversity(IMAGES)
    for c in range(6):
        naive = [float(((IMAGES[c, i] - IMAGES[c, j]).double() ** 2).mean().sqrt()) for i in range(3) for j in range(i)]
        assert found[c] == pytest.approx(np.mean(naive), rel=1e-6)
    assert (diffusion.diversity(TRUTH[:, None].expand(-1, 4, -1, -1, -1)) == 0).all()
    assert (diffusion.diversity(noisy(TRUTH, 4, 0.05)) < 0.1).all() and (found > 0.3).all()


# -- threshold --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("copied_are", ["above", "below"])
def test_the_rate_of_false_positives_on_fresh_independent_pairs_is_the_bound(copied_are):
    """Over many calibrations the chance that a fresh value passes is k / (n + 1): for uniform values the distance from
    the threshold to the end.
    """
    rng, n = np.random.default_rng(0), 299
    found = [diffusion.threshold(rng.random(n), 0.02, copied_are) for _ in range(2000)]
    chance = [1 - t.value if copied_are == "above" else t.value for t in found]
    assert found[0].bound == pytest.approx(6 / 300) and found[0].resolved and found[0].beyond == 5
    assert np.mean(chance) == pytest.approx(0.02, abs=4 * np.std(chance) / np.sqrt(2000))


@pytest.mark.parametrize("share", [0.0, 0.7, 1.0])
def test_the_bound_holds_however_much_the_seeds_of_a_caption_depend_on_each_other(share):
    rng, seeds = np.random.default_rng(1), 4

    def values(captions):
        return np.sqrt(share) * rng.normal(size=(captions, 1)) + np.sqrt(1 - share) * rng.normal(size=(captions, seeds))

    fresh, reached = values(50_000), []
    for _ in range(300):
        found = diffusion.threshold(values(199), 0.02)
        assert found.bound <= 0.02 and found.resolved and found.captions == 199 and found.n == 796
        reached.append(found.of(fresh).mean())
    assert np.mean(reached) < found.bound + 3 * np.std(reached) / np.sqrt(300)


def test_false_positives_of_background_correlation_on_fresh_pairs_of_pictures():
    (a, _), (truth, seen) = drawn(700, 5), drawn(700, 6)
    null = diffusion.background_correlation(a, truth, seen)
    limit = diffusion.threshold(null[:200], 0.05)
    assert 0.005 < limit.of(null[200:]).mean() < 0.11  # 0.05 expected; 500 pairs and a threshold of 200
    assert limit.of(diffusion.background_correlation(noisy(truth, 2, 0.15), truth, seen)).mean() > 0.99


def test_few_captions_cannot_show_the_rate_and_say_so():
    values = np.arange(96 * 4).reshape(96, 4) / 400
    found = diffusion.threshold(values)
    assert (
        found.value == values.max()
        and not found.resolved
        and found.bound == pytest.approx(1 / 97)
        and "less than 1/97" in str(found)
        and "asked for 0.01" in str(found)
    )
    assert (
        diffusion.threshold(values[:, 0], 0.05).value == np.sort(values[:, 0])[-4]
        and diffusion.threshold(values[:, 0], 0.05).beyond == 3
    )
    assert float(diffusion.threshold(values, copies="below")) == 0


# -- the table and the rate -------------------------------------------------------------------------------------------


def test_the_table_has_every_measure_and_what_counts_as_a_copy():
    limit = diffusion.threshold(diffusion.background_correlation(*[drawn(120, 7)[0], *drawn(120, 8)]), 0.02)
    found = diffusion.copied(
        IMAGES, TRUTH, SEEN, POOL, above=limit, nearest=10, captions=[f"card {i}" for i in range(6)], seeds=(3, 5, 9)
    )
    assert (
        found.copied.dims == ("caption", "seed")
        and found.seed.values.tolist() == [3, 5, 9]
        and found.text.values[1] == "card 1"
    )
    assert (found.copied.values == [True, False, True]).all()
    np.testing.assert_array_equal(found.background_correlation, diffusion.background_correlation(IMAGES, TRUTH, SEEN))
    np.testing.assert_array_equal(found.ssim, diffusion.ssim(IMAGES, TRUTH))
    np.testing.assert_array_equal(found.normalised_distance, diffusion.normalised_distance(IMAGES, TRUTH, POOL, 10))
    assert (found.identity.values[:4] == [True, False, True]).all() and not found.identity.values[4:].any()
    number = np.r_[10:14, 11, 20:50]
    again = diffusion.copied(
        IMAGES, TRUTH, SEEN, POOL, above=float(limit), nearest=10, own=np.r_[10:14, 90, 91], picture=number
    )
    assert (
        (again.identity.values == found.identity.values).all()
        and (again.copied.values == found.copied.values).all()
        and (again.nearest.values[:4, 0] == np.r_[10:14]).all()
    )
    call = results.provenance(found)["call"]
    assert (
        "never-trained" in call["criterion"]
        and call["substitutes"] == {"background_correlation": "SSCD"}
        and call["pool"] == 35
    )
    assert np.isnan(diffusion.copied(IMAGES[:, :1], TRUTH, SEEN, POOL, above=0.7, nearest=10).diversity).all()


def test_rate_has_captions_as_units():
    assert (diffusion.rate(np.ones((10, 8), bool)).low, diffusion.rate(np.ones((10, 8), bool)).n) == (
        pytest.approx(0.025 ** (1 / 10)),
        10,
    )
    assert diffusion.rate(np.zeros((10, 8), bool)).high == pytest.approx(1 - 0.025 ** (1 / 10))
    half = diffusion.rate(np.tile([True, False], (12, 1)))
    assert half.estimate == 0.5 and half.low == pytest.approx(diffusion.rate(np.arange(12) < 6).low)
    rng = np.random.default_rng(2)
    hit = 0
    for trial in range(200):  # shares of captions are uniform: seeds depend on each other, the true rate is a half
        copy = rng.random((30, 4)) < rng.random((30, 1))
        found = diffusion.rate(copy, seed=trial, resamples=400)
        hit += found.low <= 0.5 <= found.high
    assert 0.89 <= hit / 200 <= 0.99 and found.estimate == pytest.approx(copy.mean()) and "captions" in found.method
    assert diffusion.rate(copy, seed=5).low == diffusion.rate(copy, seed=5).low


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: diffusion.ssim(IMAGES[..., :8], TRUTH), "truth has 16 x 16 pixels; expected 8 x 16"),
        (lambda: diffusion.ssim(IMAGES, TRUTH[:5]), "images are of 6 captions and truth has 5"),
        (lambda: diffusion.ssim(IMAGES, TRUTH, 17), "window=17"),
        (lambda: diffusion.ssim((IMAGES + 1) * 127.5, TRUTH), "x / 127.5 - 1"),
        (lambda: diffusion.ssim(torch.where(IMAGES > 0.5, torch.nan, IMAGES), TRUTH), "not finite"),
        (lambda: diffusion.ssim(IMAGES[:, :, :1], TRUTH), r"images has shape \(6, 3, 1, 16, 16\)"),
        (lambda: diffusion.background_correlation(IMAGES, TRUTH, SEEN.float()), "seen has type float32"),
        (
            lambda: diffusion.background_correlation(IMAGES, TRUTH, SEEN[:3]),
            r"seen has type bool and shape \(3, 16, 16\)",
        ),
        (lambda: diffusion.background_correlation(IMAGES, TRUTH * 0, SEEN), "background of picture 0 is one colour"),
        (lambda: diffusion.normalised_distance(IMAGES, TRUTH, POOL), "nearest=50; expected 1 to 33"),
        (lambda: diffusion.nearest_identity(IMAGES, POOL, np.arange(3)), r"picture has shape \(3,\)"),
        (lambda: diffusion.diversity(IMAGES[:, :1]), "at least two seeds"),
        (lambda: diffusion.threshold([0.1, np.nan]), "expected finite values"),
        (lambda: diffusion.threshold([0.1, 0.2], 1), "rate=1"),
        (lambda: diffusion.rate(np.array([0.5, 1.0])), "expected truth values"),
        (lambda: diffusion.copied(IMAGES, TRUTH, SEEN, POOL, above=0.5, own=np.arange(6)), "own and picture"),
        (lambda: diffusion.copied(IMAGES, TRUTH, SEEN, POOL, above=0.5, captions=["one"]), "captions has 1 entries"),
        (
            lambda: diffusion.copied(IMAGES, TRUTH, SEEN, POOL, above=diffusion.threshold([0.1, 0.2], copies="below")),
            "copies lie above",
        ),
    ],
)
def test_bad_input_says_what_to_do(call, said):
    with pytest.raises(DiffusionError, match=said):
        call()
