"""Streamed statistics against explicit sums, cut and resumed, over language models and over a layer that a function of
one's own runs.
"""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from lens.engine.linear import LinearError, linears
from lens.engine.stopping import Stopped
from lens.subspace import SubspaceError, statistics, sums
from tests.models import EACH, KINDS, tiny
from tests.variants import few

IDS = torch.randint(1, 97, (7, 12), generator=torch.Generator().manual_seed(3))


def inputs(model, ids, name):
    """A layer's input [rows, length, d_in] by a hook of our own on the whole model."""
    kept = []
    handle = dict(model.named_modules())[name].register_forward_hook(
        lambda _, args, out: kept.append(args[0].detach().double())
    )
    with torch.no_grad():
        model(ids)
    handle.remove()
    return kept[0].reshape(len(ids), -1, kept[0].shape[-1])


def same(a, b):
    """Bit-equal statistics."""
    fields = ("sums", "moment", "each", "each_rows")
    return (a.source, a.rows, a.items, a.model) == (b.source, b.rows, b.items, b.model) and all(
        getattr(a, f).keys() == getattr(b, f).keys()
        and all(torch.equal(v, getattr(b, f)[k]) for k, v in getattr(a, f).items())
        for f in fields
    )


@pytest.mark.parametrize("kind", few(KINDS, EACH))
def test_equal_to_explicit_sums(kind):
    model = tiny(kind)
    stats = statistics(model, "mlp", IDS, batch=3, second_moment=True, absolute=True)
    assert stats.items == 7 and stats.names == tuple(linears(model, "mlp"))
    for name in stats.names:
        x = inputs(model, IDS, name)
        flat = x.flatten(0, 1)
        unit = x.square() / x.square().sum(-1, keepdim=True)
        close = dict(rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(stats.mean(name), flat.square().mean(0), **close)
        torch.testing.assert_close(stats.mean(name, "unit"), unit.flatten(0, 1).mean(0), **close)
        torch.testing.assert_close(stats.mean(name, "absolute"), flat.abs().mean(0), **close)
        torch.testing.assert_close(stats.norm(name), flat.norm(dim=0) / len(flat) ** 0.5, **close)
        torch.testing.assert_close(stats.second_moment(name), flat.T @ flat / len(flat), rtol=1e-3, atol=1e-4)
        for line, values in (("unit", unit.mean(1)), ("energy", x.square().mean(1))):
            mean, variance = stats.item_moments(name, line)
            torch.testing.assert_close(mean, values.mean(0), **close)
            torch.testing.assert_close(variance, values.var(0), rtol=1e-3, atol=1e-5)


def test_gate_and_up_are_counted_once_and_a_bridge_counts_as_its_plain_model(tiny_bridge):
    bridge, plain = tiny_bridge("llama")
    a, b = statistics(bridge, "mlp", IDS), statistics(plain, "mlp", IDS)
    assert a.source["model.layers.0.mlp.up_proj"] == "model.layers.0.mlp.gate_proj" and len(a.sums) == 6
    assert a.names == b.names and a.model == b.model
    torch.testing.assert_close(a.mean("model.layers.1.mlp.down_proj"), b.mean("model.layers.1.mlp.down_proj"))


@pytest.mark.parametrize(
    "part, skip, positions", [("all", 2, range(2, 12)), ("prefix", 0, range(5)), ("suffix", 0, range(4, 11))]
)
def test_parts_of_rows(part, skip, positions):
    model = tiny("llama")
    name = "model.layers.1.mlp.down_proj"
    stats = statistics(model, name, IDS, part=part, skip=skip, prefix=5)
    x = inputs(model, IDS, name)[:, list(positions)].flatten(0, 1)
    assert stats.rows[name] == len(x)
    torch.testing.assert_close(stats.mean(name), x.square().mean(0), rtol=1e-4, atol=1e-6)


def test_rows_of_different_lengths_do_not_count_their_padding():
    model, name = tiny("gpt2"), "transformer.h.2.mlp.c_proj"
    rows = [IDS[0, :5], IDS[1], IDS[2, :8]]
    stats = statistics(model, name, rows, second_moment=True)
    x = torch.cat([inputs(model, row[None], name)[0] for row in rows])
    assert stats.rows[name] == 25
    torch.testing.assert_close(stats.mean(name), x.square().mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(stats.second_moment(name), x.T @ x / 25, rtol=1e-3, atol=1e-4)


def test_additive_and_taken_apart():
    model = tiny("qwen3")
    options = dict(each=True, absolute=False)
    whole, a, b = (statistics(model, "mlp", ids, **options) for ids in (IDS, IDS[:3], IDS[3:]))
    for name in whole.names:
        for made in (a + b, whole.take(range(7))):
            assert made.rows == whole.rows and made.items == 7
            torch.testing.assert_close(
                made.sums[made.source[name]], whole.sums[whole.source[name]], rtol=1e-6, atol=1e-9
            )
        torch.testing.assert_close(
            whole.take([3, 4, 5, 6]).mean(name, "unit"), b.mean(name, "unit"), rtol=1e-5, atol=1e-8
        )


@pytest.mark.parametrize("cut", ["stopped", "interrupted", "killed"])
def test_resumed_equals_uninterrupted(tmp_path, monkeypatch, cut):
    model, options = tiny("llama"), dict(batch=2, second_moment=True, each=True, key="seven rows")

    def runner(limit=None):
        def run(some):
            run.batches += 1
            # the first block has run, and so been counted, when the batch is cut
            model.model.layers[2].mlp.act_fn.__dict__["_cut"] = run.batches == limit
            model(torch.stack(list(some)))

        run.batches = 0
        return run

    def cut_here(module, args):
        if module.__dict__.get("_cut"):
            raise KeyboardInterrupt

    whole = statistics(model, "mlp", list(IDS), run=runner(), **options)
    if cut == "stopped":
        asked = iter((False, False, True))
        with pytest.raises(Stopped):
            statistics(model, "mlp", list(IDS), tmp_path, run=runner(), stop=lambda: next(asked), **options)
    else:
        write = sums.SumsFile.write
        monkeypatch.setattr(sums, "SAVE_EVERY", 0.0)
        if cut == "killed":  # no last words: only what was written on the way is there
            monkeypatch.setattr(
                sums.SumsFile, "write", lambda self, *args, now=False: None if now else write(self, *args)
            )
        handle = model.model.layers[2].mlp.act_fn.register_forward_pre_hook(cut_here)
        with pytest.raises(KeyboardInterrupt):
            statistics(model, "mlp", list(IDS), tmp_path, run=runner(3), **options)
        handle.remove()
        monkeypatch.setattr(sums.SumsFile, "write", write)
    assert not any(module._forward_pre_hooks for module in model.modules()), "a hook was left behind"
    again, stored = runner(), runner()
    assert same(whole, statistics(model, "mlp", list(IDS), tmp_path, run=again, **options))
    assert same(whole, statistics(model, "mlp", list(IDS), tmp_path, run=stored, **options))
    # a large state is written at most a twentieth of the time, so that a kill may cost more than the batch under way
    assert 2 <= again.batches <= (2 if cut == "stopped" else 3) and stored.batches == 0


def test_a_file_of_other_statistics_or_a_damaged_one_is_never_taken(tmp_path):
    model = tiny("llama")
    a = statistics(model, "mlp", IDS, tmp_path)
    b = statistics(model, "mlp", IDS[:5], tmp_path)
    assert (a.items, b.items) == (7, 5) and len(list(tmp_path.glob("*.safetensors"))) == 2
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.warns(UserWarning, match="set aside"):
        assert same(statistics(model, "mlp", IDS, tmp_path), a)


class Steps(nn.Module):
    """A layer that runs at two resolutions a step, for a batch of [without prompt, with prompt], as a guided U-Net's
    feed-forward does.
    """

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.ff = nn.ModuleDict({"net": nn.ModuleList([nn.Linear(6, 8), nn.GELU(), nn.Linear(8, 6)])})

    def forward(self, x):
        for layer in self.ff["net"]:
            x = layer(x)
        return x


def test_a_function_that_runs_several_steps_with_half_of_the_batch_left_out():
    model = Steps()
    items = [torch.randn(4, 6, generator=torch.Generator().manual_seed(i)) for i in range(5)]

    def run(some):
        for step in (0.5, 1.5):
            x = torch.stack(list(some)) * step
            model(torch.cat([torch.zeros_like(x) + 9, x]))

    stats = statistics(
        model,
        "*.net.2",
        items,
        run=run,
        owner=lambda some: [-1] * len(some) + list(range(len(some))),
        batch=2,
        each=True,
    )
    with torch.no_grad():
        h = (
            torch.stack([model.ff["net"][1](model.ff["net"][0](x * step)) for x in items for step in (0.5, 1.5)])
            .view(5, 8, 8)
            .double()
        )
    torch.testing.assert_close(stats.mean("ff.net.2"), h.flatten(0, 1).square().mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(stats.each["ff.net.2"][:, 0].double(), h.square().sum(1), rtol=1e-4, atol=1e-6)
    assert stats.rows == {"ff.net.2": 40}
    with pytest.raises(SubspaceError, match="give"):
        statistics(model, "*.net.2", items, "somewhere", run=run)


def test_one_tensor_given_to_one_layer_twice_counts_twice():
    model, x = nn.Sequential(nn.Linear(3, 2)), torch.randn(4, 3)
    stats = statistics(model, "0", [0], run=lambda some: (model(x), model(x)))
    assert stats.rows == {"0": 8}
    torch.testing.assert_close(stats.mean("0"), x.double().square().mean(0), rtol=1e-5, atol=1e-7)


def test_refusals(tmp_path):
    model = tiny("llama")
    stats = statistics(model, "*.0.mlp.down_proj", IDS)
    for error, text, call in (
        (LinearError, "near ones", lambda: statistics(model, "*.mlp.downproj", IDS)),
        (SubspaceError, "97 tokens", lambda: statistics(model, "mlp", IDS + 90)),
        (SubspaceError, "at least one row", lambda: statistics(model, "mlp", [])),
        (SubspaceError, "without a token", lambda: statistics(model, "mlp", [[1], []])),
        (SubspaceError, "whole numbers", lambda: statistics(model, "mlp", torch.rand(2, 3))),
        (SubspaceError, "part=", lambda: statistics(model, "mlp", IDS, part="middle")),
        (SubspaceError, "no position", lambda: statistics(model, "mlp", IDS, skip=12)),
        (SubspaceError, "is a file", lambda: statistics(model, "mlp", IDS, __file__)),
        (SubspaceError, "second_moment=True", lambda: stats.second_moment(stats.names[0])),
        (SubspaceError, "absolute=True", lambda: stats.mean(stats.names[0], "absolute")),
        (SubspaceError, "each=True", lambda: stats.take([0])),
        (SubspaceError, "no layer", lambda: stats.mean("model.layers.1.mlp.down_proj")),
        (
            SubspaceError,
            "two prompts",
            lambda: statistics(model, "mlp", IDS[:1]).item_moments("model.layers.0.mlp.down_proj"),
        ),
        (SubspaceError, "different models", lambda: stats + statistics(tiny("llama", 1), "*.0.mlp.down_proj", IDS)),
    ):
        with pytest.raises(error, match=text):
            call()


def test_half_precision_is_summed_in_float32():
    model = tiny("llama").to(torch.bfloat16)
    name = "model.layers.0.mlp.down_proj"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats = statistics(model, name, IDS)
    x = inputs(model, IDS, name).flatten(0, 1)
    np.testing.assert_allclose(stats.mean(name), x.square().mean(0), rtol=1e-4)
