"""A model over two devices gives what one on one device gives, and no two tensors of different devices ever meet.

The devices are made up (`tests.simulated_devices`), in a process of their own. torch cannot go backward across two of
them, so that what needs gradients is tried over the processor's memory and disk instead (`test_offloaded`).
"""

import json
import subprocess
import sys

import pytest

READ = "logit_lens,attention,direct_logit_attribution,head_vocabulary"
SOME = f"resid_pre,z,pattern,path_patch,{READ},steering,scoring"
REST = "embed,resid_mid,k,v,neuron,mlp_out,causal_trace,explain_cell,injection_sweep,injection_live,vectors,subspace"
#: What says that torch itself cannot go backward here.
BACKWARD = "device_ready_queues_"


def judged(row, columns, path=None):
    command = [sys.executable, "-m", "tests.placed", row, columns, *(["--path", path] if path else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout[done.stdout.index("{") :])


def require_exact(made, path):
    wrong = [one for one in made["said"] if one["said"] not in ("exact", "none") and BACKWARD not in one["why"]]
    assert not wrong, wrong
    paths = {one["path"] for one in made["said"] if one["path"]}
    assert path in paths, paths


def test_methods_and_moves_by_the_walk():
    made = judged("llama", SOME)
    require_exact(made, "walk")
    # the rows' stream and their indexes cross once; nothing but what is read comes back
    there, back = ([move for move in made["moved"] if move[0] == device] for device in ("made:0", "made:1"))
    tokens = 3 * sum(range(1, 10))
    assert [size for *_, size in there].count(tokens * 32 * 4) == 1
    assert sum(size for *_, size in there) < 1.3 * tokens * 32 * 4, made["moved"]
    # 27 rows, of which one position is read
    assert sum(size for *_, size in back) <= 1.1 * 27 * 32 * 4, made["moved"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "row, columns, path",
    [
        ("llama", REST, None),
        ("llama", f"{SOME},{REST}", "layers"),
        ("llama", "resid_pre,resid_mid,z,pattern,path_patch,embed", "hooks"),
        ("gpt2", f"{SOME},{REST}", None),
        ("gemma2", SOME, None),
        ("qwen3_moe", f"{SOME},router,expert", None),
    ],
)
def test_other_types_and_paths(row, columns, path):
    require_exact(judged(row, columns, path), path or "walk")


def test_texts_of_a_batch():
    done = subprocess.run([sys.executable, "-m", "tests.texts_placed"], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"walk": True, "hooks": True}
