"""The injection benchmark itself works: a quick run prints what it promises, its loop is the published one, its counts
can be trusted.
"""

import json
import math

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import injection, work
from benchmarks._injection_peer import PublishedLoop, Timings

KEYS = (
    "ratio_peer",
    "ratio_peer_no_waste",
    "passes_over_minimum",
    "max_abs_diff",
    "peak_extra_mb",
    "seconds",
    "machine",
    "data",
    "quick",
)


@pytest.fixture(scope="module")
def subject():
    return injection.tiny()


@pytest.fixture(scope="module")
def bench(subject):
    return injection.Benchmark(subject, 1, True)


@pytest.mark.long
def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, benchmark_command):
    code, printed = benchmark_command("injection", "--quick", "--repeats", "2", "--json", str(tmp_path / "all.json"))
    assert code == 0, printed.err
    lines = printed.out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(key in report for key in KEYS)
    assert (
        report["ratio_peer"] > report["ratio_peer_no_waste"] > 0
        and report["passes_over_minimum"] > 0
        and report["peak_extra_mb"] >= 0
    )
    assert 0 < report["max_abs_diff"] <= injection.TOLERANCE
    assert report["quick"] is True and report["machine"]["threads"] <= 2 and report["data"]["cells"] == 3 * 4 * 3
    assert any("published loop" in line for line in lines) and any(
        "minimum with prefix reuse" in line for line in lines
    )
    low, high = report["ratio_peer_interval"]
    assert low <= report["ratio_peer"] <= high
    every = json.loads((tmp_path / "all.json").read_text())
    assert len(every["runs"]["ours"]) == 2 and len(every["runs"]["hooked"]) == report["cells_sampled"] == 24, (
        "the cells are spread over the rounds"
    )
    parts = report["seconds"]["ours_parts"]
    assert all(v >= 0 for v in parts.values()) and {"attention", "feed-forward", "scoring", "planning"} <= set(parts)


def test_folder_that_is_not_there_is_named(benchmark_command, monkeypatch):
    monkeypatch.setenv("MNEMOSCOPE_MEMORY_INJECTIONS", "nowhere")
    code, printed = benchmark_command("injection")
    assert code == 2 and "nowhere" in printed.err and not printed.out


def test_loop_adds_the_memory_as_published(subject):
    """One cell against the plain model, hooked by hand, with a vector built from its own weights."""
    item, layer, strength = subject.items[1], 2, 2.0
    clean, edited = PublishedLoop(subject.model.copy(), subject.model.tokenizer).cell(item, layer, strength)
    hf, tokenizer = subject.model.copy(), subject.model.tokenizer

    def ids(text):
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    W_U = hf.lm_head.weight * hf.model.norm.weight
    memory = strength * (W_U - W_U.mean(0))[sorted(set(ids(item.memory)))].sum(0)
    prompt = torch.tensor([[0, *ids(item.prompt)]])

    def probability():
        return float(hf(prompt).logits[0, -1].softmax(-1)[ids(item.answer)[0]])

    assert clean == pytest.approx(probability(), abs=1e-6)
    hook = hf.model.layers[layer].self_attn.register_forward_hook(
        lambda module, inputs, out: (out[0] + memory, *out[1:])
    )
    assert edited == pytest.approx(probability(), abs=1e-6) and abs(edited - clean) > 1e-4
    hook.remove()


@pytest.mark.parametrize("wrong", [1.0, float("nan")])
def test_other_numbers_are_noticed(subject, wrong):
    """A loop whose probabilities differ, or are no numbers, never passes as equal."""

    class Other:
        timings = Timings()

        def cell(self, item, layer, strength):
            return 0.1, wrong

        def explicit(self, item):
            return 0.1

    bench = injection.Benchmark(subject, 1, True)
    bench.ours()
    bench.peer = Other()
    bench.loop(bench.cells[:2], [])
    assert not bench.gaps.injected <= injection.TOLERANCE and bench.gaps.explicit == 0.0


def test_passes_as_the_paper_s_models_have_them():
    """GPT-2 small and large on 106 items; the counts are also sums over single runs."""
    assert [work.published_passes(106, 15, layers) for layers in (12, 36)] == [39750, 116070]
    assert [round(work.minimum_passes(106, 15, layers)) for layers in (12, 36)] == [10017, 29097]
    n, strengths, layers = 3, 2, 5
    counted = sum(1 for _ in range(n) for _ in range(2)) + sum(
        (layers - 1 - layer + 2 / 3) / layers for _ in range(n) for _ in range(strengths) for layer in range(layers)
    )
    assert work.minimum_passes(n, strengths, layers) == pytest.approx(counted)


def test_time_of_the_loop_is_drawn_out_to_all_its_runs(bench, subject):
    n, layers, strengths = subject.shape
    bench.peer = type("Timed", (), {"timings": Timings(clean=[1.0, 3.0], hooked=[2.0, 2.0], explicit=[5.0])})
    cells = n * layers * strengths
    seconds, half, no_waste = bench.published()
    assert seconds == cells * 4.0 + n * strengths * 5.0
    assert no_waste == cells * 2.0 + n * (2.0 + 5.0)
    assert half == pytest.approx(1.96 * cells * np.std([3.0, 5.0], ddof=1) / math.sqrt(2) * math.sqrt(1 - 2 / cells))
    bench.peer.timings = Timings(clean=[1.0, 3.0] * (cells // 2), hooked=[2.0] * cells, explicit=[5.0])
    assert bench.published()[1] == 0.0, "every cell was run, so that nothing is uncertain"


def test_every_way_of_an_unedited_pass_gives_the_same_logits(bench):
    found = {name: torch.cat(bench.passes.run(way, size)) for name, (way, size) in bench.passes.ways.items()}
    assert len(found) == 3
    lengths = sorted((len(e.ids), tuple(e.ids.tolist())) for e in bench.encoded for _ in range(injection.COPIES))
    hf = bench.passes.hf
    with torch.no_grad():
        logits = [hf(torch.tensor([ids])).logits[0, -1] for _, ids in lengths]
    expected = torch.stack([torch.stack([x.max(), x.logsumexp(-1)]) for x in logits])
    for name, values in found.items():
        assert torch.allclose(values, expected, atol=1e-4), name


def test_batches_hold_every_prompt_once_and_stay_within_their_size():
    ids = [torch.full((n,), k) for k, n in enumerate([5, 1, 9, 3, 3, 30, 2])]
    made = injection.batches(ids, 10)
    assert sorted(int(i[0]) for batch in made for i in batch) == list(range(7))
    assert all(len(batch) == 1 or max(map(len, batch)) * len(batch) <= 10 for batch in made)


def test_parts_of_our_time_add_up_and_leave_nothing_behind(subject):
    before = {name: getattr(module, attribute) for name, (module, attribute) in injection.PARTS.items()}
    with injection.parts() as seconds:
        subject.grid()
    assert all(v > 0 for v in seconds.values())
    assert sum(injection.exclusive(seconds, 100.0).values()) == pytest.approx(100.0)
    assert {name: getattr(module, attribute) for name, (module, attribute) in injection.PARTS.items()} == before


def test_nominal_operations_match_those_counted(subject, bench, monkeypatch):
    """The formula equals what torch counts in the edited runs' matrix products and their unembedding, attention left
    out of both.
    """
    from lens.engine import pieces

    monkeypatch.setattr(work.Shape, "attend", lambda self, position: 0)
    nominal = work.injection_flop(
        subject.model.config,
        [len(e.ids) for e in bench.encoded],
        [len(e.answer_ids) for e in bench.encoded],
        len(subject.strengths),
    )
    counted, walk = 0, pieces.Batch._walk

    def counting(*args, **kwargs):
        nonlocal counted
        with FlopCounterMode(display=False) as counter:
            result = walk(*args, **kwargs)
        counted += counter.get_total_flops()
        return result

    monkeypatch.setattr(pieces.Batch, "_walk", counting)
    monkeypatch.setattr("lens.engine.walk.forward.FEW", 0)  # written-out attention would be counted
    subject.grid()
    assert nominal == pytest.approx(counted, rel=0.02)
