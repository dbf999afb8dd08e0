"""The benchmark `models` itself works: its table runs on a few types with every method, and each of its judges can
fail.
"""

import json

import numpy as np
import pytest
import torch

import lens
from benchmarks import _models_table as table
from benchmarks import models
from benchmarks.__main__ import PARTED, main
from benchmarks._models_cells import CLEAN, Case, Ours, Part, judged, path_of
from benchmarks._models_naive import Naive
from benchmarks._models_zoo import ROWS

#: The issue's rows; a type may have several variants, but none may be missing.
TYPES = (
    "llama mistral qwen2 qwen3 olmo2 olmo3 gpt2 gpt_neox gptj opt bloom falcon mpt phi phi3 gemma gemma2 gemma3_text "
    "stablelm starcoder2 cohere cohere2 granite glm4 exaone4 smollm3 llama4_text mixtral qwen2_moe qwen3_moe olmoe "
    "granitemoe deepseek_v3 gpt_oss qwen3_next falcon_h1 mamba2 rwkv"
).split()

#: Types of which the table is filled here: dense, with experts, and hybrid.
FEW = ("gpt2", "qwen3_moe", "qwen3_next")
#: And the methods of them: of a stream and of heads, by what is edited, read, added, trained on and taken from weights.
SOME = "resid_pre pattern router expert attribution head_effects".split()


@pytest.fixture(
    scope="module", params=[SOME, pytest.param(list(table.COLUMNS), marks=pytest.mark.long)], ids=["some", "every"]
)
def quick(request):
    """The table of one variant of a few types."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield table.fill(FEW, request.param, first=True)
    torch.set_num_threads(threads)


def variant(row, label=None):
    return next(v for v in ROWS[row] if label in (None, v.label))


def test_the_command_line_knows_every_part():
    assert PARTED["models"][1] == tuple(models.FIGURES) == tuple(models.BENCH.parts)


def test_every_type_has_a_row_and_is_of_that_type():
    assert not [row for row in TYPES if row not in ROWS]
    for row, variants in ROWS.items():
        assert len({v.label for v in variants}) == len(variants)
        for v in variants:
            assert v.build().config.model_type == row


def test_methods_on_a_few_types_are_exact_or_refused_by_name(quick):
    found = table.figures(quick)
    assert not found["wrong"] and not found["failed"] and not found["weak"], found
    assert found["models_max_rel_diff"] <= 1e-4
    assert all(cell.parts for cells in quick.values() for cell in cells.values())
    # a walk serves every method of the types that it knows, of what there is
    assert {column for column, cell in quick["gpt2"].items() if cell.said != "exact"} == {"router", "expert"}
    assert all(cell.said in ("exact", "none") for row in ("gpt2", "qwen3_moe") for cell in quick[row].values())


def test_what_a_type_has_not_is_told_from_what_is_refused(quick):
    linear = quick["qwen3_next"]["pattern"]
    assert {p.name: p.said for _, p in linear.parts} == {"pattern": "exact", "pattern of layer 0": "none"}
    case = Case(variant("qwen3_next"))
    reason = case.where.reason("pattern", 0)

    def said(error):
        def ours(case):
            raise error

        return judged([case], Part("pattern", ours, None, reason)).said

    assert said(lens.SiteError("site='pattern' was not found in layer 0: it has no attention.")) == "none"
    assert said(lens.SiteError("model type 'qwen3_next' is not one of llama, gpt2.")) == "refused"
    assert said(ValueError("site='pattern' was not found")) == "raw"
    assert judged([case], Part("pattern", lambda c: Ours({"x": 1.0}), None, reason)).said == "wrong"


def test_a_number_that_is_off_is_wrong_and_an_error_of_another_is_raw():
    case = Case(variant("gpt2"))
    part = table.COLUMNS["z"].parts(case)[0]
    assert judged([case], part).said == "exact"

    def spoiled(change):
        def ours(case):
            made = part.ours(case)
            return Ours(dict(made.values) | {"value": change(made.values["value"].copy())}, made.result)

        return judged([case], part._replace(ours=ours))

    def put(value, at):
        def change(x):
            x[at] = value
            return x

        return change

    off = spoiled(lambda x: x * (1 + 1e-3))
    assert off.said == "wrong" and off.gap > 1e-4 and off.path == "walk"
    assert spoiled(put(np.nan, (0, 0))).said == spoiled(put(np.inf, (0, 0))).said == "wrong"
    assert spoiled(lambda x: x[:1]).said == "wrong"

    def raises(error):
        def ours(case):
            raise error

        return judged([case], part._replace(ours=ours)).said

    assert raises(RuntimeError("no")) == "raw" and raises(lens.PatchError("no")) == "refused"
    assert judged([case], part._replace(naive=lambda c, n: 1 / 0)).said == "failed"


def test_rounding_is_judged_over_several_models():
    half = variant("gpt2", "bfloat16")
    cases = [Case(half, seed) for seed in range(4)]
    part = table.COLUMNS["logit_lens"].parts(cases[0])[0]
    right = judged(cases, part)
    assert right.said == "exact" and right.gap is None and 0 < right.half <= 2

    def coarse(case):
        made = part.ours(case)
        # halves of logits that go to 7: three times as far from float32 as the plain run in bfloat16
        return Ours({name: np.round(v * 2) / 2 for name, v in made.values.items()}, made.result)

    assert judged(cases, part._replace(ours=coarse)).said == "wrong"


@pytest.mark.parametrize(
    "row", ["llama", "gpt2", "bloom", "falcon", "mpt", "gemma2", "gpt_oss", "llama4_text", "rwkv", "opt"]
)
def test_the_reference_holds_together(row):
    """A place that is written down wrongly is seen: what is put back where it was read changes nothing, and what is
    taken away changes the logits.
    """
    naive = Naive(ROWS[row][0])
    plain = naive.logits(CLEAN)
    for site in ("embed", *table.SITES):
        for layer in [0] if site == "embed" else naive.where.having(site, naive.n_layers)[:1]:
            held = naive.read(CLEAN, [(site, layer)])[0]
            same = naive.logits(CLEAN, [(site, layer, lambda x: held[None].to(x))])
            none = naive.logits(CLEAN, [(site, layer, lambda x: x.flip(-1))])
            assert (same - plain).abs().max() < 1e-4 < 1e-2 < (none - plain).abs().max(), site
    # the stream is what it was before, and what is added to it
    before, after, added, mlp = naive.read(
        CLEAN, [("resid_pre", 1), ("resid_post", 1), ("attn_out", 1), ("mlp_out", 1)]
    )
    assert torch.allclose(before + added + mlp, after, atol=1e-4)
    if naive.where.reason("resid_mid", 1) is None:
        assert torch.allclose(before + added, naive.read(CLEAN, [("resid_mid", 1)])[0], atol=1e-4)


def test_the_path_is_read_from_both_forms_of_the_record(monkeypatch):
    records = [{"engine": "fast"}, {"engine": "hooks"}, {"engine": {"name": "layers", "why": "a window"}}, {}]
    monkeypatch.setattr(lens, "record", lambda result: result)
    found = [path_of(record) for record in records]
    assert found == [("walk", ""), ("hooks", ""), ("layers", "a window"), (None, "")]


def test_the_table_is_written_for_people_and_for_programs(quick, tmp_path):
    table.written(quick, tmp_path)
    text = (tmp_path / "models.md").read_text()
    assert all(f"| {row} |" in text for row in FEW)
    assert all(table.COLUMNS[column].title in text for column in quick["gpt2"])
    made = json.loads((tmp_path / "models.json").read_text())
    assert list(made["rows"]) == list(FEW) and list(made["columns"]) == list(quick["gpt2"])
    cell = made["rows"]["gpt2"]["cells"]["resid_pre"]
    assert cell["said"] == "exact" and cell["paths"] == ["walk"] and cell["gap"] <= 1e-4


def test_rows_and_columns_can_be_looked_at(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", "benchmarks models --quick --only gpt2 --methods z attention".split())
    monkeypatch.setattr(table, "ROWS", {"gpt2": ROWS["gpt2"][:1]})
    assert main() == 0
    printed = capsys.readouterr().out
    line = json.loads(printed.strip().splitlines()[-1])
    assert line["models_rows"] == 1 and line["models_exact"] == line["models_parts"] == 2
    assert "| gpt2 | walk" in printed


@pytest.mark.parametrize(
    "arguments", ["--only gtp2", "--methods zz", "--part speed --only gpt2"], ids=["type", "method", "part"]
)
def test_what_is_not_known_is_refused(monkeypatch, capsys, arguments):
    monkeypatch.setattr("sys.argv", ["benchmarks", "models", *arguments.split()])
    with pytest.raises(SystemExit):
        main()
    said = capsys.readouterr().err
    assert arguments.split()[1] in said and ("expected" in said or "table" in said)


def test_a_part_whose_module_is_absent_says_so(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "benchmarks.models_speed", None)
    with pytest.raises(ModuleNotFoundError):
        __import__("benchmarks.models_speed")
    found = models._elsewhere("models_nothing", True)
    assert found == {"why": "benchmarks/models_nothing.py is not there"}
