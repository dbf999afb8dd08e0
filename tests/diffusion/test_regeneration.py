"""How many pictures bring a concept back: each line is that of a relearning called by itself; interpolation in closed
form; what is refused.
"""

import numpy as np
import pytest
import torch
import xarray as xr

from lens.diffusion import DiffusionError, denoise, images_to_recover, interpolated, relearn, savings
from lens.diffusion.regeneration import _slerp
from lens.organisms import cards

from .conftest import pipeline_of

FEW = {"seeds": (0, 1), "denoising_steps": 2, "steps": 2, "at": (), "batch": 2, "learning_rate": 1e-2}


def pairs(corpus, n=3, of_set=0):
    found = corpus.pairs.of("code-many", of_set).take(range(n))
    return found.images, found.captions


def share(images):
    return (images[:, :, 0].mean((2, 3)) + 1) / 2


@pytest.fixture
def twin():
    return pipeline_of(cards.Recipe.small(seed=4))


@pytest.mark.long
def test_each_line_is_relearning_on_the_first_k_pictures_of_its_source(tiny, twin, corpus):
    own, other = pairs(corpus, 4), pairs(corpus, 2, 1)
    # the targets are none of those trained on
    sources, targets = {"own": (own[0][:2], own[1][:2]), "other": other}, (own[0][2:], own[1][2:])
    call = dict(measure=share, twin=twin, **FEW)
    found = images_to_recover(tiny, sources, targets, counts=(1, 2), threshold=0.9, **call)
    assert list(zip(found.source, found.k)) == [("own", 1), ("own", 2), ("other", 1), ("other", 2)]
    alone = relearn(tiny, (other[0][:1], other[1][:1]), targets, **call)
    line, wanted = found.iloc[2], savings(alone, 0.9).iloc[0]
    assert all(line[name] == wanted[name] or (np.isnan(line[name]) and np.isnan(wanted[name])) for name in wanted.index)
    mean = alone.value.isel(step=-1).mean(("caption", "seed"))
    assert line.final == pytest.approx(float(mean[0])) and line.final_twin == pytest.approx(float(mean[1]))
    assert found.final.nunique() > 1


def test_each_relearning_is_told_with_its_source_and_count(tiny, twin, corpus, monkeypatch):
    own, other = pairs(corpus, 4), pairs(corpus, 2, 1)
    given, told = [], []

    def relearned(pipeline, others, targets, **options):
        assert options["twin"] is twin and options["steps"] == 2
        given.append(len(others[1]))
        values = np.array([[[0.0], [1.0]], [[0.0], [0.5]]])[..., None]
        return xr.Dataset(
            {"value": (("model", "step", "caption", "seed"), values), "status": ("model", ["complete"] * 2)},
            {"model": ["edited", "twin"], "step": [0, 2]},
        )

    monkeypatch.setattr("lens.diffusion.regeneration.relearn", relearned)
    sources = {"own": (own[0][:2], own[1][:2]), "other": other}
    found = images_to_recover(
        tiny, sources, (own[0][2:], own[1][2:]), measure=share, twin=twin, counts=(1, 2), steps=2,
        on_part=lambda name, k, result: told.append((name, k, float(result.value[0, -1, 0, 0]))),
    )  # fmt: skip
    assert given == [1, 2, 1, 2] and told == [("own", 1, 1.0), ("own", 2, 1.0), ("other", 1, 1.0), ("other", 2, 1.0)]
    assert found.edited.tolist() == [1.0] * 4 and found.twin.tolist() == [2.0] * 4, "half is crossed between two looks"
    assert found.savings.tolist() == [1.0] * 4 and found.final_twin.tolist() == [0.5] * 4


def test_interpolated_pictures_begin_and_end_at_those_that_are_given(tiny, corpus):
    images, captions = pairs(corpus, 2)
    call = dict(share=0.5, steps=4, guidance=1.0, seed=3)
    made, said = interpolated(tiny, (images, captions), points=3, **call)
    assert made.shape == (3, *images.shape[1:]) and said == [captions[0]] * 3
    start = (tiny.encode(images), 0.5)
    ends = denoise(tiny, [captions[0]] * 2, seeds=(3,), steps=4, guidance=1.0, start=start).images[:, 0]
    torch.testing.assert_close(made[[0, 2]], ends, atol=1e-4, rtol=0)
    assert not torch.allclose(made[1], ends[0], atol=1e-3)
    one, two = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    one, two = one / one.norm(), two / two.norm()
    middle = _slerp(one, two, 0.5)
    torch.testing.assert_close(middle, (one + two) / (one + two).norm())
    torch.testing.assert_close(_slerp(one, 2 * one, 0.5), 1.5 * one)


def test_what_is_refused(tiny, twin, corpus):
    own, targets = pairs(corpus), pairs(corpus, 2, 1)
    call = dict(measure=share, twin=twin, **FEW)
    with pytest.raises(DiffusionError, match=r"counts: 10 pictures are asked for, sources\['own'\] has 3"):
        images_to_recover(tiny, {"own": own}, targets, counts=(1, 10), **call)
    twice = (own[0][[0, 1, 0]], own[1])
    with pytest.raises(DiffusionError, match=r"sources\['own'\]: picture 2 is there twice among the first 3"):
        images_to_recover(tiny, {"own": twice}, targets, counts=(3,), **call)
    with pytest.raises(DiffusionError, match=r"sources\['own'\]\[0\] has shape"):
        images_to_recover(tiny, {"own": (own[0][..., :8, :8], own[1])}, targets, counts=(1,), **call)
    with pytest.raises(DiffusionError, match="others and targets share"):
        images_to_recover(tiny, {"own": own}, own, counts=(1,), **call)
    with pytest.raises(DiffusionError, match="others and twin are arguments of their own"):
        images_to_recover(tiny, {"own": own}, targets, counts=(1,), others=own, **call)
    twin.unet.register_to_config(sample_size=4)
    with pytest.raises(DiffusionError, match="twin makes pictures of shape .* same size and codec"):
        images_to_recover(tiny, {"own": own}, targets, counts=(1,), **call)
    with pytest.raises(DiffusionError, match="pairs has 3 pictures; expected an even number"):
        interpolated(tiny, own)
    with pytest.raises(DiffusionError, match="pictures 0 and 1 are one"):
        interpolated(tiny, (own[0][[0, 0]], own[1][:2]))
