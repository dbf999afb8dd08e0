"""The benchmark `truth` itself works: each part runs on a little of its work, types are judged against plain hooks, and
kept figures are merged only where they are of this code.
"""

import json
import subprocess
import textwrap

import pytest

from benchmarks import _types, before, truth

ARGUMENTS = dict(
    vocab_size=97,
    hidden_size=32,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=48,
    max_position_embeddings=64,
    initializer_range=0.3,
    bos_token_id=0,
    eos_token_id=0,
    pad_token_id=0,
)
KINDS = f"""
import torch
import transformers as T
from tests.models import word_tokenizer
S = {ARGUMENTS!r}
L = dict(layers="model.layers", attn="self_attn", mlp="mlp", o="self_attn.o_proj", d=8)
llama = lambda: T.LlamaForCausalLM(T.LlamaConfig(**S))
K = {{"right": (llama, L), "elsewhere": (llama, dict(L, mlp="self_attn")), "unbuilt": (lambda: 1 / 0, L)}}
T5 = dict(vocab_size=97, d_model=32, d_kv=8, d_ff=48, num_layers=4, num_heads=4)
t5 = lambda: T.T5ForConditionalGeneration(T.T5Config(**T5))
REFUSED = {{"t5": t5, "llama_noncausal": llama, "served": llama}}


def build(name):
    torch.manual_seed(0)
    return (K[name][0] if name in K else REFUSED[name])().eval().requires_grad_(False)
"""


@pytest.fixture
def kinds(tmp_path, monkeypatch):
    """A file of types of its own: one is patched right, one has a place written down wrongly, one cannot be built."""
    file = tmp_path / "kinds.py"
    file.write_text(textwrap.dedent(KINDS))
    monkeypatch.setenv(_types.FILE, str(file))
    return file


@pytest.mark.long
def test_types_are_judged_against_plain_hooks(kinds):
    assert _types.kinds_file() == kinds and _types.names(kinds) == (
        ["right", "elsewhere", "unbuilt"],
        ["t5", "llama_noncausal", "served"],
    )
    assert _types.judged(kinds, "right") == {"plain": "exact", "bridge": "exact"}
    assert all(said.startswith("wrong: mlp_out differs by") for said in _types.judged(kinds, "elsewhere").values())
    assert all(
        said.startswith("failed: reference: ZeroDivisionError") for said in _types.judged(kinds, "unbuilt").values()
    )
    assert _types.judged(kinds, "t5") == {"plain": "refused", "bridge": "refused"}
    assert _types.judged(kinds, "llama_noncausal")["plain"] == "exact", "served where it equals plain hooks"
    assert _types.judged(kinds, "served")["plain"] == "wrong: a number where a refusal is right"


def test_counts_keep_refusals_apart_from_wrong_numbers():
    answers = {
        "a": {"plain": "exact", "bridge": "refused"},
        "b": {"plain": "wrong: x", "bridge": "failed: y"},
        "r": {"plain": "refused", "bridge": "wrong: z"},
    }
    found = truth._counts(answers, ["a", "b"])
    assert (found["types_exact"], found["types_total"], found["types_wrong"]) == (1, 4, 2) and found[
        "types_exact_each"
    ] == {"plain": 1, "bridge": 0}
    assert found["types_failed"] == ["b, bridge: failed: y"]


def test_without_the_file_of_types_their_figures_are_null(tmp_path, monkeypatch):
    monkeypatch.setenv(_types.FILE, str(tmp_path / "none.py"))
    made = truth.BENCH.measure("types", tmp_path, quick=True)
    assert made["figures"]["types_exact"] is None and "no file of types" in made["figures"]["why"]


@pytest.mark.long
def test_sizes_of_a_little(tmp_path):
    found = truth.BENCH.measure("size", tmp_path, quick=True)["figures"]
    assert (
        0 < found["size_max_over_nominal"] <= 1
        and found["size_data_sets"] == 40
        and found["size_p_values"] == 2
        and found["size_above"] == []
    )


@pytest.mark.long
def test_the_cost_of_comparing_a_little(tmp_path):
    found = truth.BENCH.measure("cost", tmp_path, quick=True)["figures"]
    for name in ("check_fraction", "check_fraction_late"):
        assert all(
            min(times) > 0 for way in ("with", "without", "first_sight") for times in found[f"{name}_seconds"][way]
        )
        assert found[name] > -1 and found[f"{name}_first_sight"] > -1


def test_coverage_of_a_little(tmp_path):
    pytest.importorskip("tests.calibration")
    found = truth.BENCH.measure("coverage", tmp_path, quick=True)["figures"]
    assert found["coverage_min"] > 0.85 and found["coverage_cells_available"] == 1 and found["coverage_worst"]["n"] == 5


@pytest.mark.long
def test_calls_in_two_builds(tmp_path):
    if subprocess.run(["git", "-C", str(before.ROOT), "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("not a git work tree")
    seconds = before.compared("HEAD", ["injection"], rounds=1, quick=True)
    assert [len(s) for s in seconds["injection"].values()] == [1, 1]
    assert all(before.ratios(seconds)[f"injection_over_before{suffix}"] > 0 for suffix in ("", "_processor"))
    assert "mnemoscope-before-" not in before._git("worktree", "list").stdout


def test_a_commit_that_is_not_there_and_a_benchmark_without_one():
    with pytest.raises(before.BeforeError, match="commit='0000000': its tree cannot be made"):
        with before.work_tree("0000000"):
            pass
    assert before.commit_of("truth") == "ab2c98d"
    with pytest.raises(before.BeforeError, match="before.txt has no line for it"):
        before.commit_of("beauty")


def test_kept_figures_are_merged_and_those_of_other_code_are_not(tmp_path, monkeypatch, capsys):
    parts = {
        name: lambda quick, name=name: ran.append(name) or {key: 0.5 for key in truth.FIGURES[name]}
        for name in truth.BENCH.parts
    }
    ran = []
    monkeypatch.setattr(truth.BENCH, "parts", parts)
    monkeypatch.setattr(truth.machine, "busy_share", lambda: 0.0)

    def line(**options):
        ran.clear()
        assert (
            truth.BENCH.run(quick=True, folder=tmp_path, **{"part": None, "again": False, "kept": False, **options})
            == 0
        )
        return json.loads(capsys.readouterr().out.strip().splitlines()[-1])

    first = line(part="cost")
    assert ran == ["cost"] and first["check_fraction"] == 0.5 and first["coverage_min"] is None
    assert line()["coverage_min"] == 0.5 and ran == ["types", "coverage", "size", "before"]
    line()
    assert ran == []
    line(again=True)
    assert len(ran) == 5
    monkeypatch.setattr(truth.BENCH, "digest", lambda: "other")
    old = line(kept=True)
    assert (
        ran == []
        and not any(part["of_this_code"] for part in old["parts"].values())
        and old["size_max_over_nominal"] == 0.5
    )
    line()
    assert len(ran) == 5
    assert [key for key in first if key in {k for keys in truth.FIGURES.values() for k in keys}] == [
        k for keys in truth.FIGURES.values() for k in keys
    ]
