"""Sums of activations against loops over single rows, over kills and damaged files, and against the statistics of
`lens.subspace`.
"""

import warnings
from contextlib import contextmanager

import pytest
import torch
from diffusers import DDIMScheduler

from lens import subspace
from lens.diffusion import DiffusionError, denoise, statistics
from lens.engine.stopping import Stopped
from tests.diffusion import naive

CAPTIONS, SEEDS = ["red circle upper left", "digit seven", "pale hoop high west"], (4, 11)
OPTIONS = {"seeds": SEEDS, "steps": 4, "first": 2}


def same(found, expected, rtol=2e-3):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value.double(), rtol=rtol, atol=1e-5 * float(value.max()))


def equal(a, b):
    return (
        a.captions == b.captions
        and a.rows == b.rows
        and all(torch.equal(a.sums[name], b.sums[name]) for name in a.layers)
    )


class Counted:
    """Counts the steps that are run, and cuts them short: asked as `stop` before each, since a counting hook would be
    part of what the sums are of.
    """

    def __init__(self, cut=None, error=False):
        self.runs, self.cut, self.error = 0, cut, error

    def __call__(self):
        if self.runs + 1 == self.cut:
            if self.error:
                raise KeyboardInterrupt
            return True
        self.runs += 1
        return False


@pytest.mark.parametrize("guidance", [3.0, 1])
def test_sums_are_those_of_single_rows(tiny, guidance):
    found = statistics(tiny, CAPTIONS, guidance=guidance, **OPTIONS)
    sums, rows = naive.sums(tiny, CAPTIONS, SEEDS, 4, guidance, first=2)
    assert found.layers == tuple(tiny.layers) and found.steps == 2 and len(found) == 3 and found.model == tiny.unet_hash
    assert next(iter(found.sums.values())).shape == (3, 2, 1 if guidance == 1 else 2, 2, 64)
    assert found.rows == rows and sorted(set(rows.values())) == [2 * 16, 2 * 64]
    same(found.sums, sums)
    for name, value in found.sums.items():
        # rows at unit length: the columns' energies add up to the rows
        torch.testing.assert_close(value[..., 1, :].sum(-1), torch.full(value.shape[:3], float(rows[name])))


@pytest.mark.parametrize("batch", [1, 2, 3, 5])
def test_a_batch_that_ends_within_a_captions_seeds_gives_the_same(tiny, batch):
    found, whole = (statistics(tiny, CAPTIONS, seeds=(4, 11, 5), steps=4, first=2, batch=size) for size in (batch, 96))
    assert found.rows == whole.rows and found.settings == whole.settings
    same(found.sums, whole.sums)


def test_captions_are_taken_added_and_run_once(tiny):
    count = Counted()
    whole = statistics(tiny, [*CAPTIONS, CAPTIONS[0], CAPTIONS[0]], stop=count, **OPTIONS)
    assert count.runs == 2
    assert len(whole) == 5 and all(torch.equal(value[0], value[3]) for value in whole.sums.values())
    parts = statistics(tiny, CAPTIONS[:1], **OPTIONS) + statistics(tiny, CAPTIONS[1:], **OPTIONS)
    assert parts.captions == tuple(CAPTIONS)
    same(parts.sums, {name: value[:3] for name, value in whole.sums.items()})
    taken = whole.take([2, 0])
    assert taken.captions == (CAPTIONS[2], CAPTIONS[0]) and all(
        torch.equal(taken.sums[name], value[[2, 0]]) for name, value in whole.sums.items()
    )
    for items, said in (
        ([], "numbers of captions from 0 to 4"),
        ([5], "numbers of captions from 0 to 4"),
        ([-1], r"items\[0\]=-1 does not fit"),
    ):
        with pytest.raises(DiffusionError, match=said):
            whole.take(items)
    assert statistics(tiny, CAPTIONS[1], **OPTIONS).captions == (CAPTIONS[1],)
    for change in ({"seeds": (4, 5)}, {"steps": 5}, {"first": 1}, {"guidance": 2.0}):
        with pytest.raises(DiffusionError, match="cannot be added"):
            whole + statistics(tiny, CAPTIONS[:1], **OPTIONS | change)
    with torch.no_grad():
        next(iter(tiny.layers.values())).weight[0, 0] += 0.1
    with pytest.raises(DiffusionError, match="other weights"):
        whole + statistics(tiny, CAPTIONS[:1], **OPTIONS)


@pytest.mark.parametrize(
    ("step", "half"), [(0, "caption"), (2, "caption"), (2, "empty"), (2, "both"), ((0, 2), "both"), ((1, 2), "caption")]
)
def test_a_step_is_what_the_statistics_of_any_module_give(tiny, step, half):
    """`lens.subspace.statistics` runs the U-Net itself, on the latents of a plain denoising run; its owner says which
    rows count for which caption.
    """
    before = []

    @contextmanager
    def watch(at):
        before.append((at.timestep, at.latents))
        yield

    denoise(tiny, CAPTIONS, seeds=SEEDS, steps=4, watch=watch)
    states, empty = tiny.embed(CAPTIONS), tiny.embed([""])
    steps = [step] if isinstance(step, int) else list(step)

    def run(items):
        for t, latents in (before[s] for s in steps):
            told = states[items].repeat_interleave(2, 0)
            rows = torch.cat([latents.view(3, 2, 12, 8, 8)[items].flatten(0, 1)] * 2)
            tiny.unet(rows, t, torch.cat([empty.expand_as(told), told]))

    def owner(items):
        own = [i for i in range(len(items)) for _ in SEEDS]
        none = [-1] * len(own)
        return {"caption": none + own, "empty": own + none, "both": own + own}[half]

    expected = subspace.statistics(
        tiny.unet, tiny.layers, range(3), batch=2, each=True, run=run, owner=owner, progress=False
    )
    found = statistics(tiny, CAPTIONS, seeds=SEEDS, steps=4).at(step, half)
    assert (
        found.names == expected.names
        and found.rows == expected.rows
        and found.items == expected.items == 3
        and found.model == expected.model
    )
    for of in ("sums", "each"):
        for name, value in getattr(expected, of).items():
            got = getattr(found, of)[name]
            assert got.shape == value.shape and got.dtype == value.dtype
            torch.testing.assert_close(got, value, rtol=2e-3, atol=1e-6 * float(value.max()))
    assert all(torch.equal(found.each_rows[name], value) for name, value in expected.each_rows.items())
    taken, some = expected.take([2, 0]), statistics(tiny, CAPTIONS, seeds=SEEDS, steps=4).take([2, 0]).at(step, half)
    torch.testing.assert_close(
        some.item_moments(some.names[0])[1], taken.item_moments(some.names[0])[1], rtol=0.02, atol=1e-12
    )


def test_steps_and_halves_that_were_not_run_are_refused(tiny):
    found = statistics(tiny, CAPTIONS[:1], **OPTIONS)
    for step, said in (
        (2, "numbers from 0 to 1"),
        (-1, "step=-1 does not fit"),
        ((0, 2), "numbers from 0 to 1"),
        ((), "numbers from 0 to 1"),
    ):
        with pytest.raises(DiffusionError, match=said):
            found.at(step)
    with pytest.raises(DiffusionError, match="half='all' is not known; expected one of 'caption', 'empty', 'both'"):
        found.at(0, "all")
    alone = statistics(tiny, CAPTIONS[:1], guidance=1, **OPTIONS)
    for half in ("empty", "both"):
        with pytest.raises(DiffusionError, match="without guidance 'caption' alone"):
            alone.at(0, half)
    for first, said in (
        (0, "does not fit; expected a whole number"),
        (5, "the scheduler makes 4 steps"),
        (True, "does not fit; expected a whole number"),
    ):
        with pytest.raises(DiffusionError, match=f"first={first}.*{said}"):
            statistics(tiny, CAPTIONS, **OPTIONS | {"first": first})
    with pytest.raises(DiffusionError, match="at least one seed"):
        statistics(tiny, CAPTIONS, **OPTIONS | {"seeds": ()})
    assert (
        statistics(tiny, CAPTIONS[:1], seeds=[1], steps=4).settings
        == statistics(tiny, CAPTIONS[:1], seeds=[1], steps=4, first=4).settings
    )


@pytest.mark.parametrize("how", ["stop", "interrupt"])
def test_a_run_that_was_cut_goes_on_to_the_same_numbers(tiny, tmp_path, how):
    captions = [*CAPTIONS, "digit one"]
    whole = statistics(tiny, captions, batch=2, **OPTIONS)
    # one caption a batch, two runs of the U-Net each: the third caption is cut in its middle
    with pytest.raises(Stopped if how == "stop" else KeyboardInterrupt):
        statistics(tiny, captions, batch=2, folder=tmp_path, stop=Counted(6, how == "interrupt"), **OPTIONS)
    assert naive.hooks(tiny.unet) == 0 and len(list(tmp_path.iterdir())) == 2 and not list(tmp_path.glob(".*"))
    count = Counted()
    assert equal(statistics(tiny, captions, batch=2, folder=tmp_path, stop=count, **OPTIONS), whole)
    assert count.runs == 4
    assert (
        equal(
            statistics(tiny, captions[::-1], batch=2, folder=tmp_path, stop=count, **OPTIONS), whole.take([3, 2, 1, 0])
        )
        and count.runs == 4
    )
    assert len(list(tmp_path.iterdir())) == 4


def test_a_damaged_file_is_run_anew(tiny, tmp_path):
    whole = statistics(tiny, CAPTIONS, batch=2, folder=tmp_path, **OPTIONS)
    first, second, _ = sorted(tmp_path.iterdir())
    first.write_bytes(first.read_bytes()[:-100])
    # another caption's sums under this one's name
    second.write_bytes(sorted(tmp_path.iterdir())[2].read_bytes())
    count = Counted()
    with pytest.warns(UserWarning, match="cannot be read .*run anew") as warned:
        assert equal(statistics(tiny, CAPTIONS, batch=2, folder=tmp_path, stop=count, **OPTIONS), whole)
    assert count.runs == 4 and len(warned) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert (
            equal(statistics(tiny, CAPTIONS, batch=2, folder=tmp_path, stop=count, **OPTIONS), whole)
            and count.runs == 4
        )


def change_unet(pipeline):
    with torch.no_grad():
        pipeline.unet.conv_in.weight.mul_(1.01)


def change_text(pipeline):
    with torch.no_grad():
        next(pipeline.text_encoder.parameters()).mul_(1.01)


def change_freeu(pipeline):
    pipeline.unet.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)


def change_hook(pipeline):
    pipeline.unet.mid_block.register_forward_hook(lambda module, args, out: out * 1.5)


def change_schedule(pipeline):
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config, beta_end=0.03)


@pytest.mark.parametrize(
    "change",
    [
        change_unet,
        change_text,
        change_freeu,
        change_hook,
        change_schedule,
        {"seeds": (4, 12)},
        {"seeds": (4,)},
        {"steps": 5},
        {"first": 3},
        {"guidance": 2.0},
    ],
    ids=lambda c: c.__name__ if callable(c) else str(c),
)
def test_sums_of_other_weights_or_settings_are_never_read(tiny, tmp_path, change):
    before = statistics(tiny, CAPTIONS[:1], folder=tmp_path, **OPTIONS)
    options = OPTIONS
    if callable(change):
        change(tiny)
    else:
        options = OPTIONS | change
    count = Counted()
    after = statistics(tiny, CAPTIONS[:1], folder=tmp_path, stop=count, **options)
    assert count.runs == options["first"]
    assert equal(after, statistics(tiny, CAPTIONS[:1], **options)) and not equal(after, before)


def test_nothing_is_left_behind_and_nothing_is_kept_of_numbers_that_are_not_finite(tiny, tmp_path):
    before = tiny.hash
    statistics(tiny, CAPTIONS, **OPTIONS)
    assert naive.hooks(tiny.unet) == 0 and tiny.hash == before
    _name, layer = list(tiny.layers.items())[2]
    handle = layer.module.register_forward_pre_hook(lambda _, args: (args[0] * float("inf"),))
    with pytest.raises(DiffusionError, match="not finite after step 0"):
        statistics(tiny, CAPTIONS, folder=tmp_path, **OPTIONS)
    handle.remove()
    # finite afterwards: the layer's own output drops it
    handle = layer.module.register_forward_pre_hook(lambda _, args: (args[0] * 1e30,))
    again = layer.module.register_forward_hook(lambda _, args, out: torch.zeros_like(out))
    with pytest.raises(DiffusionError, match="activations of 'red circle upper left' are not finite"):
        statistics(tiny, CAPTIONS, folder=tmp_path, **OPTIONS)
    handle.remove(), again.remove()
    assert naive.hooks(tiny.unet) == 0 and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DiffusionError, match="cannot be made"):
        statistics(tiny, CAPTIONS, folder=tmp_path / "file", **OPTIONS)
