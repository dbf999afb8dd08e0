"""The vectors benchmark itself works: a quick run prints what it promises, its hooked passes are plain ones, and it
goes on without the training part.
"""

import json
import math
import sys

import pytest
import torch

from benchmarks import vectors as benchmark
from benchmarks._vectors_peer import HookedHeads
from benchmarks.tables import finish, rounded
from benchmarks.work import layer_sweep_floor

KEYS = (
    "ratio_peer",
    "seconds_per_prompt",
    "layer_sweep_over_forward",
    "train_overhead",
    "max_abs_diff",
    "seconds",
    "machine",
    "data",
    "quick",
)


@pytest.fixture(scope="module")
def bench():
    made = benchmark.Benchmark(benchmark.tiny(), 1, True)
    made.measure()
    return made


@pytest.mark.long
def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, benchmark_command):
    code, printed = benchmark_command("vectors", "--quick", "--repeats", "1", "--json", str(tmp_path / "all.json"))
    assert code == 0, printed.err
    lines = printed.out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(key in report for key in KEYS) and report["quick"] is True
    assert (
        report["ratio_peer"] > 0
        and report["seconds_per_prompt"] > 0
        and report["layer_sweep_over_forward"] > 0
        and report["layer_sweep_floor"] > 0
    )
    assert 0 < report["max_abs_diff"] <= benchmark.TOLERANCE
    low, high = report["ratio_peer_interval"]
    assert low <= report["ratio_peer"] <= high
    assert any("one hooked pass a head" in line for line in lines) and any("one pass of them" in line for line in lines)
    every = json.loads((tmp_path / "all.json").read_text())
    assert len(every["runs"]["one"]) == 1 and len(every["runs"]["hooked"]) == report["heads_sampled"] == 10


@pytest.mark.long
def test_the_published_time_is_that_of_every_head_and_one_plain_pass(bench):
    bench.peer.seconds[:], bench.peer.unhooked[:] = [2.0] * 10, [1.0]
    bench.times.one[:] = [4.0]
    report = bench.report()
    assert report["ratio_peer"] == (16 * 2 + 1) / 4 and report["ratio_peer_interval"] == [report["ratio_peer"]] * 2


@pytest.mark.long
def test_a_hooked_pass_changes_one_head_at_the_last_token(bench):
    hf, ids = bench.subject.model.copy(), bench.swept[0]
    peer, seen = HookedHeads(hf), []
    value = torch.full((12,), 0.7)
    hook = hf.model.layers[2].self_attn.o_proj.register_forward_hook(lambda _, args, out: seen.append(args[0].clone()))
    plain, edited = peer.probability(ids, 5), peer.probability(ids, 5, 2, 1, value)
    hook.remove()
    changed = seen[1] != seen[0]
    assert plain != edited and (seen[1][0, -1, 12:24] == 0.7).all()
    assert not changed[0, :-1].any() and not changed[0, -1, :12].any() and not changed[0, -1, 24:].any()
    assert len(peer.seconds) == len(peer.unhooked) == 1
    assert not any(m._forward_pre_hooks for m in hf.modules())


@pytest.mark.long
def test_without_the_training_part_it_says_so(bench, monkeypatch):
    monkeypatch.setitem(sys.modules, "lens.forgetting", None)
    bench.overhead = None
    bench.train(None)
    assert "was not measured" in bench.missing and bench.overhead is None
    assert bench.missing in benchmark.show(bench, rounded(bench.report()))


def test_the_floor_of_a_layer_sweep_is_that_of_the_tokens_that_must_be_computed():
    """Four layers of width 8, two heads of 4 with one for the keys, an MLP of 16, 50 tokens; two operations a
    multiply-add.
    """
    from transformers import LlamaConfig

    config = LlamaConfig(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        vocab_size=50,
    )
    kv, rest, logits, key = 2 * 8 * 4 * 2, 2 * (8 * 8 * 2 + 3 * 8 * 16), 2 * 8 * 50, 2 * 2 * 8

    def token(p, layers):
        return layers * (kv + rest + (p + 1) * key)

    whole = sum(token(p, 4) for p in range(3)) + 3 * logits
    # the unedited pass: three layers of all tokens, the last layer's keys and values, and all of it at the token that
    # is read; then three to no layers
    alone = (
        sum(token(p, 3) + kv for p in range(3))
        + (token(2, 1) - kv)
        + sum(token(2, n) for n in (3, 2, 1, 0))
        + 5 * logits
    )
    assert layer_sweep_floor(config, [[1, 2, 3]], [(7,)]) == pytest.approx(alone / whole)
    # a second prompt parts at the last token: the first two are there already
    more = token(2, 4) + sum(token(2, n) for n in (3, 2, 1, 0)) + 5 * logits
    assert layer_sweep_floor(config, [[1, 2, 3], [1, 2, 4]], [(7,), (9,)]) == pytest.approx(
        (alone + more) / (2 * whole)
    )
    # an answer of two tokens: its first goes through every layer too, and both are read
    unedited, edited = (
        sum(token(p, 3) + kv for p in range(4)) + sum(token(p, 1) - kv for p in (2, 3)),
        sum(token(p, n) for p in (2, 3) for n in range(4)),
    )
    assert layer_sweep_floor(config, [[1, 2, 3]], [(7, 8)]) == pytest.approx((unedited + edited + 10 * logits) / whole)


@pytest.mark.parametrize(
    ("gap", "agree"), [(1e-6, True), (1e-3, False), (math.nan, False), (math.inf, False), (None, True)]
)
def test_a_run_ends_with_its_numbers_and_says_where_they_differ(gap, agree, tmp_path, capsys):
    report, options = (
        {"max_abs_diff": gap, "ratio": 1 / 3, "quick": False},
        dict(speeds=[[1.0, 1.05], [1.0, 1.3]], tolerance=1e-5, what="numbers"),
    )
    assert (
        finish(report, lambda made: f"ratio {made['ratio']}", **options, more={"runs": [1]}, file=tmp_path / "a.json")
        is agree
    )
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert (
        lines[0] == "ratio 0.3333"
        and json.loads(lines[-1]) == rounded(report)
        and ("the numbers differ" in said.out) is not agree
    )
    assert "factor of 1.30" in said.err and json.loads((tmp_path / "a.json").read_text())["runs"] == [1]
