"""The provenance benchmark itself works: a quick run prints what it promises, and its published scorer gives the losses
of plain passes.
"""

import json

import numpy as np
import pytest
import torch

from benchmarks import provenance as benchmark
from benchmarks._provenance_peer import PublishedScorer

KEYS = (
    "ratio_scorer",
    "fraction_of_forward",
    "perm_seconds",
    "join_mb_s",
    "join_peak_mb",
    "ratio_tokengrams_total",
    "max_abs_diff",
    "machine",
    "data",
    "quick",
)


@pytest.mark.long
def test_quick_run_prints_tables_and_one_json_line_last(tmp_path, capsys):
    threads = torch.get_num_threads()
    try:
        assert benchmark.run(quick=True, repeats=1, file=tmp_path / "all.json") == 0
    finally:
        torch.set_num_threads(threads)
    lines = capsys.readouterr().out.strip().splitlines()
    report = json.loads(lines[-1])
    assert all(key in report for key in KEYS) and report["quick"] is True
    assert (
        report["ratio_scorer"] > 0
        and report["fraction_of_forward"] > 0
        and report["join_mb_s"] > 0
        and report["data"]["matches"] >= 10
    )
    assert 0 < report["max_abs_diff"] <= benchmark.TOLERANCE
    assert report["data"]["padded_to_all"] > report["data"]["padded_to_batch"] > report["data"]["tokens"]
    assert any("published way" in line for line in lines) and any("tokengrams" in line for line in lines)
    every = json.loads((tmp_path / "all.json").read_text())
    assert len(every["runs"]["ours"]) == 1 and len(every["runs"]["padded_to_all"]) == 2
    if report["ratio_tokengrams_total"] is None:
        pytest.importorskip("tokengrams")


def test_the_published_way_gives_the_losses_of_single_plain_passes(tiny):
    model, rows = tiny("llama"), [np.array([5, 6, 7]), np.array([9, 2, 3, 4, 8]), np.array([1])]
    for width in (5, 9):
        for row, losses in zip(rows, PublishedScorer(model, 0, 0).batch(rows, width)):
            logprob = model(torch.tensor([[0, *row.tolist()]])).logits[0, :-1].log_softmax(-1)
            np.testing.assert_allclose(
                losses, -logprob[torch.arange(len(row)), torch.from_numpy(row)].numpy(), atol=1e-5
            )


def test_the_generated_text_holds_passages_of_the_file(tmp_path):
    text = benchmark.generate(tmp_path / "tokens.bin", 50_000, 4)
    tokens = np.fromfile(tmp_path / "tokens.bin", np.uint16)
    windows = np.lib.stride_tricks.sliding_window_view(tokens, 64)
    assert len(tokens) == 50_000 and [bool((windows == d[200:264]).all(1).any()) for d in text] == [
        True,
        False,
        True,
        False,
    ]
    again = benchmark.generate(tmp_path / "again.bin", 50_000, 4)
    assert (tmp_path / "again.bin").read_bytes() == (tmp_path / "tokens.bin").read_bytes() and all(
        (a == b).all() for a, b in zip(text, again)
    )
