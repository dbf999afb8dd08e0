"""Masks of a U-Net against the published formulas written out, planted neurons, and weights that come back bit for
bit.
"""

from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from lens.diffusion import DiffusionError, denoise, locate, masks, score_map, scores, statistics, union
from lens.models import weight_hash
from lens.organisms import cards
from lens.subspace import SubspaceError
from tests.diffusion import naive
from tests.diffusion.conftest import pipeline_of

MEMORISED, REFERENCE = (
    ["red circle upper left", "digit seven", "pale hoop high west"],
    [
        "blue ring low east",
        "numeral two",
        "dark plus centre central",
    ],
)
OPTIONS = {"seeds": (0,), "steps": 4, "first": 3}
SPARSITY, TOP = 0.08, 5  # of 64 weights a row: int(5.12)


@pytest.fixture(scope="module")
def sides():
    """Of a pipeline of the same weights as each test's own."""
    tiny = pipeline_of(cards.Recipe.small(seed=3))
    return statistics(tiny, MEMORISED, **OPTIONS), statistics(tiny, REFERENCE, **OPTIONS)


@contextmanager
def louder(pipeline, name, column, factor=1e5):
    """One hidden neuron times a factor, in the inputs that the layer and every later hook see."""

    def change(_, args):
        x = args[0].clone()
        x[..., column] *= factor
        return (x,)

    handle = pipeline.layers[name].module.register_forward_pre_hook(change)
    try:
        yield
    finally:
        handle.remove()


@pytest.mark.parametrize("reference", [REFERENCE, [""] * 3], ids=["captions", "null"])
def test_the_published_masks_are_its_formulas(tiny, reference):
    """A.1 of the published code: a^2[j] = sum over captions, positions and both halves of (h_j / |h|)^2, S = |W| a; the
    top k of a row of S_mem, and there S_mem > S_ref.
    """
    by_step = masks(
        tiny,
        statistics(tiny, MEMORISED, **OPTIONS),
        statistics(tiny, reference, **OPTIONS),
        sparsity=SPARSITY,
        variant="published",
    )
    assert len(by_step) == 3
    a_mem, a_ref = (
        {
            name: value.sum((0, 2))[:, 1].sqrt()
            for name, value in naive.sums(tiny, some, (0,), 4, 3.0, first=3)[0].items()
        }
        for some in (MEMORISED, reference)
    )
    weights = {
        name: module.weight.abs().double() for name, module in tiny.unet.named_modules() if name.endswith("ff.net.2")
    }
    assert len(weights) == 7
    clear = 0
    for step, mask in enumerate(by_step):
        for name, w in weights.items():
            mem, ref = w * a_mem[name][step], w * a_ref[name][step]
            found = mask.dense(name)
            for row in range(len(w)):
                order = mem[row].argsort(descending=True)
                expected = [j for j in order[:TOP].tolist() if mem[row, j] > ref[row, j]]
                # rounding may decide what is nearly equal; such a row is left out
                close = mem[row, order[TOP - 1]] < 1.0001 * mem[row, order[TOP]] or any(
                    abs(mem[row, j] / ref[row, j] - 1) < 1e-4 for j in order[:TOP]
                )
                if not close:
                    assert sorted(expected) == found[row].nonzero()[:, 0].tolist(), (step, name, row)
                    clear += 1
    assert clear > 0.9 * 3 * 7 * 16 and 0 < by_step[0].count < 7 * 16 * TOP
    assert by_step[0].model == tiny.unet_hash and by_step[0].about["method"] == "contrast"


def test_the_corrected_masks_are_welchs_excess(tiny):
    mem, ref = (
        statistics(tiny, MEMORISED, seeds=(0, 1), steps=4, first=2),
        statistics(tiny, REFERENCE, seeds=(0, 1), steps=4, first=2),
    )
    made = scores(tiny, mem, ref, 1, margin=0.5)
    a, b = (naive.sums(tiny, some, (0, 1), 4, 3.0, first=2) for some in (MEMORISED, REFERENCE))
    for name, layer in tiny.layers.items():
        x, y = (sums[name][:, 1, 0, 1].numpy() / rows[name] for sums, rows in (a, b))
        excess = x.mean(0) - y.mean(0) - 0.5 * np.sqrt(x.var(0, ddof=1) / 3 + y.var(0, ddof=1) / 3)
        expected = layer.weight.abs().numpy() * np.sqrt(np.maximum(excess, 0))
        np.testing.assert_allclose(made.values[name].numpy(), expected, rtol=0.02, atol=2e-3 * expected.max())
        found = made.mask(SPARSITY).dense(name).numpy()
        assert (found.sum(1) <= TOP).all() and not found[:, excess < -1e-6].any()


def test_wanda_takes_whole_rows_and_needs_no_reference(tiny, sides):
    mem, _ = sides
    energy, rows = naive.sums(tiny, MEMORISED, (0,), 4, 3.0, first=1)
    mask = scores(tiny, mem, None, 0, variant="wanda").mask(SPARSITY)
    for name, layer in tiny.layers.items():
        s = layer.weight.abs().double() * (energy[name][:, 0, 0, 0].sum(0) / (3 * rows[name])).sqrt()
        found = mask.dense(name)
        assert (found.sum(1) == TOP).all()
        assert all(s[row][found[row]].min() > 0.9999 * s[row][~found[row]].max() for row in range(16))


def test_sets_that_do_not_differ_give_an_empty_mask_and_it_is_refused(tiny, sides):
    mem, _ = sides
    same = replace(mem, captions=tuple(f"{caption} again" for caption in mem.captions))
    for variant in ("published", "corrected"):
        mask = locate(tiny, mem, same, sparsity=SPARSITY, variant=variant)
        assert mask.count == 0
        with pytest.raises(SubspaceError, match="the mask is empty"):
            mask.apply(tiny.unet)
    found = score_map(tiny, mem, same)
    assert float(abs(found.largest).max()) == 0 == float(found.share.max())


def test_the_union_grows_with_the_steps(tiny, sides):
    by_step = masks(tiny, *sides, sparsity=SPARSITY, variant="published")
    grown = [union(by_step, first) for first in (1, 2, 3)]
    for name in tiny.layers:
        expected = set()
        for step, one in enumerate(grown):
            expected |= set(by_step[step].layers[name].tolist())
            assert set(one.layers[name].tolist()) == expected
    assert grown[0].count < grown[1].count < grown[2].count and grown[2].about["steps"] == 3
    for first in (1, 2, 3, 10):
        made = locate(tiny, *sides, sparsity=SPARSITY, first=first, variant="published")
        assert made.iou(grown[min(first, 3) - 1]) == 1
    with pytest.raises(DiffusionError, match="by_step is empty"):
        union([])
    for first, said in (
        (0, "does not fit; expected a whole number"),
        (4, "the statistics are of 3 steps"),
        (True, "does not fit; expected a whole number"),
    ):
        with pytest.raises(DiffusionError, match=f"first={first}.*{said}"):
            masks(tiny, *sides, sparsity=SPARSITY, first=first)


def test_a_share_of_less_than_one_weight_a_row_is_refused_and_the_least_is_told(tiny, sides):
    with pytest.raises(
        SubspaceError, match=r"sparsity=0.01 of 64 weights a row of .*ff.net.2 is less than one; give at least 0.016"
    ):
        locate(tiny, *sides, sparsity=0.01)
    assert locate(tiny, *sides, sparsity=0.016, variant="published").count > 0


@pytest.mark.parametrize("variant", ["corrected", "published"])
def test_a_planted_neuron_is_found(tiny, variant):
    """One neuron is much louder while memorised captions run: its column is taken in every row, no other of its layer,
    and nothing before the layer differs.
    """
    both = [
        (i + j, f"{colour} {shape} upper left")
        for i, colour in enumerate(("red", "green", "blue", "cyan"))
        for j, shape in enumerate(("circle", "square", "ring", "cross"))
    ]
    memorised, reference = ([caption for number, caption in both if number % 2 == side] for side in (0, 1))
    (name, column), options = (list(tiny.layers)[3], 17), {"seeds": (0, 1), "steps": 4, "first": 1}
    ref, plain = statistics(tiny, reference, **options), statistics(tiny, memorised, **options)
    with louder(tiny, name, column):
        mem = statistics(tiny, memorised, **options)
    mask, without = (locate(tiny, some, ref, sparsity=0.02, variant=variant) for some in (mem, plain))
    assert mask.columns(name).tolist() == [16 * (j == column) for j in range(64)] and without.columns(name)[column] < 16
    before, after = list(tiny.layers)[:3], list(tiny.layers)[4:]
    assert all(np.array_equal(mask.layers[other], without.layers[other]) for other in before)
    assert any(not np.array_equal(mask.layers[other], without.layers[other]) for other in after)
    found = score_map(tiny, mem, ref).largest[0]
    assert float(found.sel(layer=name)) > 3 * float(found.sel(layer=before).max())


def test_pruned_weights_are_zero_inside_and_bit_equal_afterwards(tiny, sides):
    mask = locate(tiny, *sides, sparsity=SPARSITY, variant="published")
    before, weights, images = (
        tiny.unet_hash,
        {n: p.detach().clone() for n, p in tiny.unet.named_parameters()},
        denoise(tiny, MEMORISED, steps=2).images,
    )
    with mask.applied(tiny.unet):
        for name, layer in tiny.layers.items():
            chosen = mask.dense(name)
            assert (
                chosen.any()
                and (layer.weight[chosen] == 0).all()
                and torch.equal(layer.weight[~chosen], weights[f"{name}.weight"][~chosen])
            )
        pruned = denoise(tiny, MEMORISED, steps=2).images
        assert tiny.unet_hash != before
        with pytest.raises(ValueError, match="in force"):
            mask.apply(tiny.unet)
    assert float((pruned - images).abs().max()) > 1e-3
    with pytest.raises(KeyboardInterrupt), mask.applied(tiny.unet):
        raise KeyboardInterrupt
    assert all(torch.equal(p, weights[n]) for n, p in tiny.unet.named_parameters())
    tiny.unet.__dict__.pop("_mnemoscope_hash")
    assert weight_hash(tiny.unet) == before and torch.equal(denoise(tiny, MEMORISED, steps=2).images, images)


def test_masks_and_statistics_of_another_model_are_refused(tiny, sides):
    mask = locate(tiny, *sides, sparsity=SPARSITY, variant="published")
    other = pipeline_of(cards.Recipe.small(seed=4))
    before = other.hash
    with pytest.raises(SubspaceError, match="mask of another model"):
        mask.apply(other.unet)
    with mask.applied(other.unet, strict=False):
        assert other.hash != before
    assert other.hash == before
    with pytest.raises(SubspaceError, match="compute them with this model"):
        locate(other, *sides, sparsity=SPARSITY)
    with pytest.raises(SubspaceError, match="mask of another model|which the model has not"):
        mask.apply(pipeline_of(cards.Recipe.small(channels=(8, 16), seed=4)).unet)
    with pytest.raises(SubspaceError, match="different weights"):
        locate(tiny, sides[0], statistics(other, REFERENCE, **OPTIONS), sparsity=SPARSITY)


def test_sets_that_overlap_and_options_that_are_not_known_are_refused(tiny, sides):
    mem, ref = sides
    mixed = ref + mem.take([1])
    for call in (
        lambda: locate(tiny, mem, mixed, sparsity=SPARSITY),
        lambda: scores(tiny, mem, mixed, 0, variant="published"),
        lambda: score_map(tiny, mem, mixed),
    ):
        with pytest.raises(DiffusionError, match="overlap in 1 captions: 'digit seven'.*own control"):
            call()
    with pytest.raises(
        DiffusionError, match="variant='best' is not known; expected one of 'published', 'corrected', 'wanda'"
    ):
        scores(tiny, mem, ref, 0, variant="best")
    with pytest.raises(DiffusionError, match="give reference, or take 'wanda'"):
        scores(tiny, mem, None, 0)
    with pytest.raises(DiffusionError, match="numbers from 0 to 2"):
        scores(tiny, mem, ref, 3)
    with pytest.raises(SubspaceError, match="no variance over items"):
        scores(tiny, mem.take([0]), ref, 0)


def test_the_score_map_is_welchs_t_of_every_neuron(tiny):
    mem, ref = (
        statistics(tiny, MEMORISED, seeds=(0, 1), steps=4, first=2),
        statistics(tiny, REFERENCE, seeds=(0, 1), steps=4, first=2),
    )
    found = score_map(tiny, mem, ref)
    assert (
        found.largest.dims == ("step", "layer")
        and found.layer.values.tolist() == list(tiny.layers)
        and found.attrs == {"memorised": 3, "reference": 3}
    )
    a, b = (naive.sums(tiny, some, (0, 1), 4, 3.0, first=2)[0] for some in (MEMORISED, REFERENCE))
    for step in range(2):
        for name in tiny.layers:
            t = stats.ttest_ind(a[name][:, step, 0, 1], b[name][:, step, 0, 1], equal_var=False).statistic
            assert float(found.largest.sel(step=step, layer=name)) == pytest.approx(abs(t).max(), rel=0.05)
            assert float(found.share.sel(step=step, layer=name)) == pytest.approx((abs(t) > 3).mean(), abs=1.5 / 64)
