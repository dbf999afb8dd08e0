"""A model over two devices gives what one on one device gives, and no two tensors of different devices ever meet.

The devices are made up (`tests.simulated_devices`), in a process of their own. torch cannot go backward across two of
them, so that what needs gradients is tried over the processor's memory and disk instead (`test_offloaded`).
"""

import json
import subprocess
import sys

import pytest

from tests.variants import few

READ = "logit_lens,attention,direct_logit_attribution,head_vocabulary"
SOME = f"resid_pre,z,pattern,path_patch,{READ},steering,scoring"
REST = "embed,resid_mid,k,v,neuron,mlp_out,causal_trace,explain_cell,injection_sweep,injection_live,vectors,subspace"
#: What says that torch itself cannot go backward here.
BACKWARD = "device_ready_queues_"


def judged(*rows, more=False):
    command = [sys.executable, "-m", "tests.placed", json.dumps(rows), *(["--more"] if more else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.index("{") :])


def require_exact(said, path):
    wrong = [one for one in said if one["said"] not in ("exact", "none") and BACKWARD not in one["why"]]
    assert not wrong, wrong
    paths = {one["path"] for one in said if one["path"]}
    assert (path or "walk") in paths, paths


@pytest.mark.long
def test_methods_and_moves_by_the_walk_and_texts_of_a_batch():
    made = judged(("llama", SOME, None), more=True)
    require_exact(made["said"][0], "walk")
    # the rows' stream and their indexes cross once; nothing but what is read comes back
    there, back = ([move for move in made["moved"] if move[0] == device] for device in ("made:0", "made:1"))
    tokens = 3 * sum(range(1, 10))
    assert [size for *_, size in there].count(tokens * 32 * 4) == 1
    assert sum(size for *_, size in there) < 1.3 * tokens * 32 * 4, made["moved"]
    # 27 rows, of which one position is read
    assert sum(size for *_, size in back) <= 1.1 * 27 * 32 * 4, made["moved"]
    assert made["texts"] == {"walk": True, "hooks": True}


@pytest.mark.slow
@pytest.mark.parametrize(
    "row, columns, path",
    few(
        [
            ("llama", REST, None),
            ("llama", "resid_pre,z,pattern,neuron,path_patch,causal_trace,injection_sweep,vectors", "layers"),
            ("llama", "resid_pre,pattern,embed", "hooks"),
            ("gpt2", "resid_pre,embed,v,pattern,neuron,direct_logit_attribution,scoring", None),
            ("gemma2", "resid_pre,pattern,scoring", None),
            ("qwen3_moe", "resid_pre,router,expert", None),
        ],
        lambda variant: variant[0] == "qwen3_moe",
    ),
)
def test_other_types_and_paths(row, columns, path):
    require_exact(judged((row, columns, path))["said"][0], path)


@pytest.mark.long
@pytest.mark.parametrize(
    "row, columns, path",
    [
        ("llama", f"{SOME},{REST}", "layers"),
        ("llama", "resid_pre,resid_mid,z,pattern,path_patch,embed", "hooks"),
        ("gpt2", f"{SOME},{REST}", None),
        ("gemma2", SOME, None),
        ("qwen3_moe", f"{SOME},router,expert", None),
    ],
)
def test_every_method_of_other_types_and_paths(row, columns, path):
    require_exact(judged((row, columns, path))["said"][0], path)
