"""The classifier on fresh cards; the Frechet distance against its closed form and SciPy; denoising error against the
noise that the network was given.
"""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from lens import diffusion
from lens.diffusion import DiffusionError
from lens.organisms.cards import images as cards_images
from lens.results import dataset as results


def fresh(n, seed):
    """New cards and what a caption would say of them."""
    rng = np.random.default_rng(seed)
    fores = [cards_images.foregrounds()[i] for i in rng.integers(432, size=n)]
    pictures = torch.stack(
        [cards_images.draw(fore, back) for fore, back in zip(fores, cards_images.background(rng, n))]
    )
    return pictures, {
        name: np.array([getattr(fore, name) for fore in fores]) for name in ("shape", "colour", "row", "column")
    }


@pytest.fixture(scope="module")
def classifier():
    """Trained on 2,500 cards and 300 digits (about five seconds)."""
    torch.set_num_threads(1)
    (cards, labels), (digits, digit) = fresh(2500, 1), cards_images.digits()
    none = np.full(300, -1)
    labels = {name: np.r_[value, none] for name, value in labels.items()} | {
        "digit": np.r_[np.full(2500, -1), digit[:300]]
    }
    return diffusion.train_classifier(torch.cat([cards, digits[:300]]), labels, batch=32, progress=False)


# -- classifier -------------------------------------------------------------------------------------------------------


def test_the_classifier_reads_fresh_pictures_and_counts_what_is_told(classifier):
    (cards, labels), (digits, digit) = fresh(300, 2), cards_images.digits()
    labels = {name: np.r_[value, np.full(100, -1)] for name, value in labels.items()} | {
        "digit": np.r_[np.full(300, -1), digit[300:400]]
    }
    images = torch.cat([cards, digits[300:400]])
    found = classifier.accuracy(images, labels)
    told = classifier.predict(images)
    by = dict(zip(found.attribute.values, found.accuracy.values))
    for name in ("shape", "colour", "row", "column"):
        assert by[name] == (told[name][:300] == labels[name][:300]).mean() and by[name] > (
            0.85 if name == "shape" else 0.97
        )
    assert by["digit"] == (told["digit"][300:] == digit[300:400]).mean() and by["digit"] > 0.75
    whole = [all(told[name][i] == labels[name][i] for name in labels if labels[name][i] >= 0) for i in range(400)]
    assert by["all"] == np.mean(whole) and found.n.values.tolist() == [300] * 4 + [100, 400]
    assert (
        (found.low.values < found.accuracy.values).all()
        and (found.accuracy.values <= found.high.values).all()
        and np.isnan(found.right.values[300:, 0, 0]).all()
    )
    assert results.provenance(found)["call"]["substitutes"] == {"accuracy": "CLIP score"}


def test_accuracy_falls_by_as_many_captions_as_are_not_obeyed_and_seeds_are_no_units(classifier):
    cards, labels = fresh(40, 3)
    labels |= {"digit": np.full(40, -1)}
    images = cards[:, None].repeat(1, 3, 1, 1, 1)
    images[:10] = fresh(10, 4)[0][:, None]
    right = np.stack(
        [classifier.predict(images)[name] == labels[name][:, None] for name in ("shape", "colour", "row", "column")]
    ).all(0)
    found = classifier.accuracy(images, labels).sel(attribute="all")
    assert (
        found.accuracy == pytest.approx(right.mean())
        and found.n == 40
        and right[10:].mean() > 0.8
        and right[:10].mean() < 0.2
    )
    once = classifier.accuracy(images[:, 0], labels).sel(attribute="all")
    assert (once.low, once.high) == (found.low, found.high)


def test_one_seed_one_classifier_and_the_global_stream_is_left_alone():
    cards, labels = fresh(120, 5)
    before = torch.random.get_rng_state()
    a, b, c = (diffusion.train_classifier(cards, labels, seed=seed, epochs=2, progress=False) for seed in (3, 3, 4))
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(a.features(cards), b.features(cards))
    assert a.identity == b.identity != c.identity and abs(a.features(cards) - c.features(cards)).max() > 0.1
    np.testing.assert_allclose(a.features(cards).mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(a.features(cards).std(0, ddof=1), 1, atol=1e-3)


def test_it_is_trained_once_for_a_file(tmp_path, monkeypatch):
    (cards, labels), path = fresh(120, 6), tmp_path / "new" / "classifier.safetensors"
    made = diffusion.train_classifier(cards, labels, epochs=1, path=path, progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(torch.optim, "Adam", lambda *_: pytest.fail("it was trained again"))
        again = diffusion.train_classifier(cards, labels, epochs=1, path=path, progress=False)
    np.testing.assert_array_equal(again.features(cards), made.features(cards))
    assert again.attributes == made.attributes and diffusion.load_classifier(path).size == (16, 16)
    other = diffusion.train_classifier(cards, labels | {"row": 2 - labels["row"]}, epochs=1, path=path, progress=False)
    assert (
        other.identity != made.identity == again.identity and diffusion.load_classifier(path).identity == other.identity
    )
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DiffusionError, match="holds no classifier"):
        diffusion.load_classifier(path)


# -- Frechet distance -------------------------------------------------------------------------------------------------


def sample(n, mean, covariance, seed):
    """A sample whose mean and covariance are exactly these."""
    z = np.random.default_rng(seed).normal(size=(n, len(mean)))
    z = (z - z.mean(0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(z.T))).T
    return np.asarray(mean) + z @ np.linalg.cholesky(covariance).T


def test_frechet_distance_has_its_closed_form_for_diagonal_covariances():
    a, b, means = np.array([1.0, 4.0, 0.25]), np.array([9.0, 4.0, 1.0]), np.array([[0.0, 1.0, 2.0], [3.0, 1.0, 0.0]])
    found = diffusion.frechet(sample(50, means[0], np.diag(a), 1), sample(40, means[1], np.diag(b), 2))
    assert found == pytest.approx(((means[0] - means[1]) ** 2).sum() + ((np.sqrt(a) - np.sqrt(b)) ** 2).sum())
    assert diffusion.frechet(sample(50, means[0], np.diag(a), 1), sample(60, means[0], np.diag(a), 3)) == pytest.approx(
        0, abs=1e-9
    )


def test_frechet_distance_equals_scipys_root_of_the_product():
    rng = np.random.default_rng(4)
    x, y = (
        rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)),
        0.5 + rng.normal(size=(150, 8)) @ rng.normal(size=(8, 8)),
    )
    c, d = np.cov(x.T), np.cov(y.T)
    naive = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(c + d - 2 * sqrtm(c @ d).real)
    assert (
        diffusion.frechet(x, y) == pytest.approx(naive) == diffusion.frechet(torch.from_numpy(y), x.reshape(50, 4, 8))
    )
    x[:, 7] = x[:, 6]  # a feature that says nothing new: covariances of no full rank
    c = np.cov(x.T)
    assert diffusion.frechet(x, x + 1) == pytest.approx(8) and diffusion.frechet_interval(
        x, x + 1
    ).estimate == pytest.approx(8)


def test_the_interval_covers_the_distance_of_the_sources():
    rng, c = np.random.default_rng(5), np.array([[2.0, 0.5], [0.5, 1.0]])
    d, mean = np.diag([0.5, 3.0]), np.array([0.7, 0.0])
    true = mean @ mean + np.trace(c + d - 2 * sqrtm(c @ d).real)
    found = [
        diffusion.frechet_interval(
            rng.multivariate_normal([0, 0], c, 300), rng.multivariate_normal(mean, d, 500), resamples=400, seed=i
        )
        for i in range(150)
    ]
    assert 0.88 <= np.mean([one.low <= true <= one.high for one in found]) <= 0.99
    spread = np.std([one.estimate for one in found])
    assert np.mean([one.high - one.low for one in found]) / (2 * 1.96) == pytest.approx(spread, rel=0.2)
    assert "300 and 500 units" in found[0].method and found[0].n == 800


def test_the_interval_has_captions_as_units_and_the_floor_is_what_one_source_gives():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(100, 4)), rng.normal(0.5, 1, size=(120, 4))
    once, thrice = diffusion.frechet_interval(x, y), diffusion.frechet_interval(np.repeat(x[:, None], 3, 1), y)
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.05)
    floor = diffusion.frechet_floor(x, rng.normal(size=(120, 4)), splits=40)
    expected = np.mean([diffusion.frechet(rng.normal(size=(100, 4)), rng.normal(size=(120, 4))) for _ in range(200)])
    assert floor.estimate == pytest.approx(expected, rel=0.35) and once.estimate > 4 * floor.estimate and floor.n == 40
    # pictures of one caption alike: whole captions are dealt, so the floor is that of captions, not of pictures
    assert diffusion.frechet_floor(np.repeat(x[:, None], 3, 1), np.repeat(y[:, None], 3, 1)).estimate == pytest.approx(
        diffusion.frechet_floor(x, y).estimate, rel=0.05
    )


def test_noise_and_cards_of_one_row_lie_far_from_fresh_cards(classifier):
    (cards, labels), a = fresh(800, 8), classifier.features(fresh(200, 7)[0])
    near, one_row = (
        diffusion.frechet(a, classifier.features(cards[:200])),
        classifier.features(cards[labels["row"] == 0][:200]),
    )
    assert len(one_row) == 200 and diffusion.frechet(a, one_row) > 4 * near
    assert (
        diffusion.frechet(
            a, classifier.features(torch.rand(200, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1)
        )
        > 10 * near
    )


# -- precision and recall ---------------------------------------------------------------------------------------------


def test_precision_and_recall_equal_loops():
    rng = np.random.default_rng(9)
    real, made = rng.normal(size=(60, 3)), rng.normal(0.8, 0.6, size=(40, 3))
    found = diffusion.precision_recall(real, made, nearest=3)

    def share(points, manifold):
        inside = 0
        for p in points:
            inside += any(
                np.linalg.norm(p - m) <= sorted(np.linalg.norm(m - other) for other in manifold)[3] for m in manifold
            )  # the first is itself
        return inside / len(points)

    assert found.value.values.tolist() == [share(made, real), share(real, made)] and found.n.values.tolist() == [40, 60]
    assert (found.low.values < found.value.values).all() and (found.value.values < found.high.values).all()
    far = diffusion.precision_recall(real, made + 50)
    few = diffusion.precision_recall(real, np.repeat(real[:10], 4, 0) + 1e-3 * rng.normal(size=(40, 3)))
    assert far.value.values.tolist() == [0, 0] and few.value.values[0] == 1 and few.value.values[1] < 0.3


# -- denoising error --------------------------------------------------------------------------------------------------


def watched(pipeline, *arguments, **options):
    """The result, and all that the U-Net was given and gave: latents, steps, states, outputs."""
    seen = []

    def see(module, given, named, out):
        seen.append((given[0], given[1], named["encoder_hidden_states"], out.sample))

    handle = pipeline.unet.register_forward_hook(see, with_kwargs=True)
    try:
        return diffusion.denoising_error(pipeline, *arguments, **options, progress=False), *(
            torch.cat(of) for of in zip(*seen)
        )
    finally:
        handle.remove()


def test_denoising_error_is_that_of_the_noise_that_was_put_in(tiny, corpus):
    pairs = corpus.pairs.of("held-out").take(range(5))
    captions = [*pairs.captions[:3], pairs.captions[0], pairs.captions[4]]  # one of them twice
    found, x, t, states, out = watched(tiny, pairs.images, captions, bins=4, per=3, seed=2)
    a = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)[t][:, None, None, None]
    clean = torch.nn.functional.pixel_unshuffle(pairs.images, 2).double().repeat_interleave(12, 0)
    noise = (x.double() - a.sqrt() * clean) / (1 - a).sqrt()
    assert len(t) == 60 and noise.mean().abs() < 0.02 and noise.var() == pytest.approx(1, abs=0.03)
    naive = ((out.double() - noise) ** 2).mean((1, 2, 3)).view(5, 4, 3).mean(2)
    np.testing.assert_allclose(found.error.values, naive.numpy(), rtol=1e-3)
    np.testing.assert_allclose(found["mean"].values, naive.mean(0).numpy(), rtol=1e-3)
    steps = t.view(5, 4, 3)
    for k in range(4):
        assert (250 * k <= steps[:, k]).all() and (steps[:, k] < 250 * (k + 1)).all()
    assert torch.equal(states, tiny.embed(captions).repeat_interleave(12, 0)) and len(steps.unique()) > 40
    assert found.begin.values.tolist() == [0, 250, 500, 750] and found.end.values.tolist() == [250, 500, 750, 1000]
    assert (found.low.values < found["mean"].values).all() and found.overall_low < found.overall == pytest.approx(
        found.error.values.mean()
    )
    model = results.provenance(found)["model"]
    assert model["hash"] == tiny.unet_hash and model["pipeline"] == tiny.hash


def test_the_same_noise_and_steps_whatever_the_batch_the_edit_and_the_other_pictures(tiny, corpus):
    pairs = corpus.pairs.of("held-out").take(range(6))
    one = watched(tiny, pairs.images, pairs.captions, bins=[0, 100, 1000], seed=4)
    other = watched(tiny, pairs.images.numpy(), pairs.captions, bins=[0, 100, 1000], seed=4, batch=3)
    np.testing.assert_allclose(one[0].error, other[0].error, rtol=1e-4)
    few = diffusion.denoising_error(tiny, pairs.images[:2], pairs.captions[:2], bins=[0, 100, 1000], seed=4)
    np.testing.assert_allclose(few.error, one[0].error[:2], rtol=1e-4)
    with torch.no_grad():
        tiny.unet.conv_out.weight.mul_(0.5)
    edited = watched(tiny, pairs.images, pairs.captions, bins=[0, 100, 1000], seed=4)
    assert (
        torch.equal(edited[1], one[1])
        and torch.equal(edited[2], one[2])
        and abs(edited[0].error - one[0].error).values.min() > 0
    )
    assert not torch.equal(watched(tiny, pairs.images, pairs.captions, bins=[0, 100, 1000], seed=5)[2], one[2])


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda c, p, h: c.features(torch.zeros(2, 3, 8, 8)), "8 x 8 pixels; expected 16 x 16"),
        (
            lambda c, p, h: c.accuracy(torch.zeros(2, 3, 16, 16), {"shape": np.zeros(2, int)}),
            "expected a mapping of shape, colour, row, column, digit",
        ),
        (
            lambda c, p, h: c.accuracy(torch.zeros(2, 3, 16, 16), {name: np.full(2, 10) for name in c.attributes}),
            r"labels\['shape'\] .* below 6",
        ),
        (lambda c, p, h: c.save("classifier.pt"), "ends in .safetensors"),
        (
            lambda c, p, h: diffusion.train_classifier(torch.zeros(3, 3, 16, 16), {"row": np.zeros(3, int)}),
            "fewer than two classes",
        ),
        (
            lambda c, p, h: diffusion.train_classifier(torch.zeros(3, 3, 16, 16), {"row": np.array([0, 1])}),
            "expected 3 whole numbers",
        ),
        (
            lambda c, p, h: diffusion.train_classifier(
                torch.full((3, 3, 16, 16), torch.nan), {"row": np.array([0, 1, 1])}
            ),
            "not finite",
        ),
        (lambda c, p, h: diffusion.frechet(np.zeros((8, 8)), np.zeros((20, 8))), "a has 8 pictures of 8 features"),
        (lambda c, p, h: diffusion.frechet(np.ones((20, 4)), np.ones((20, 5))), "take both from one classifier"),
        (lambda c, p, h: diffusion.frechet(np.full((20, 4), np.inf), np.ones((20, 4))), "expected finite features"),
        (lambda c, p, h: diffusion.frechet_floor(np.ones((20, 4)), np.ones((20, 2, 4))), "expected sets alike"),
        (lambda c, p, h: diffusion.precision_recall(np.ones((3, 4)), np.ones((9, 4))), "more pictures than neighbours"),
        (
            lambda c, p, h: diffusion.denoising_error(p, h.images, h.captions[:2]),
            "images has 40 pictures and captions 2",
        ),
        (
            lambda c, p, h: diffusion.denoising_error(p, h.images, h.captions, bins=[0, 2000]),
            "rising edges from 0 to 1000",
        ),
        (lambda c, p, h: diffusion.denoising_error(p, h.images, h.captions, bins=0), "bins=0"),
        (lambda c, p, h: diffusion.denoising_error(p, h.images, h.captions, per=0), "per=0"),
        (lambda c, p, h: diffusion.denoising_error(p, h.images[:, :, :8], h.captions), "resize"),
    ],
)
def test_bad_input_says_what_to_do(call, said, classifier, tiny, corpus):
    with pytest.raises(DiffusionError, match=said):
        call(classifier, tiny, corpus.pairs.of("held-out"))


def test_a_network_that_predicts_something_else_is_refused(tiny, corpus):
    pairs = corpus.pairs.of("held-out").take(range(2))
    tiny.scheduler = type(tiny.scheduler).from_config(tiny.scheduler.config, prediction_type="v_prediction")
    with pytest.raises(DiffusionError, match="predicts 'v_prediction'"):
        diffusion.denoising_error(tiny, pairs.images, pairs.captions)
