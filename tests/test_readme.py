"""The README's examples run, in order, as they stand."""

import re
import tomllib
from pathlib import Path

import pytest

import lens
from lens.reproduce import REPRODUCTIONS, reproduction
from tests.page_calls import unknown_calls

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.S)


def test_there_are_six_examples_of_at_most_ten_lines():
    assert len(EXAMPLES) == 6 and all(len(e.strip().splitlines()) <= 10 for e in EXAMPLES)
    code = [line for block in re.findall(r"```\w+\n(.*?)```", README, re.S) for line in block.splitlines()]
    assert [line for line in code if len(line) > 115] == []


def test_it_is_read_in_a_few_minutes_and_says_what_a_newcomer_asks():
    """What, a picture, two commands, examples, methods, limits, how to cite."""
    assert len(README.splitlines()) <= 150
    (commands,) = re.findall(r"```sh\n(.*?)```", README, re.S)
    assert [line.split("#")[0].strip() for line in commands.splitlines()] == ["make demo", "make lab"]
    assert README.index("![") < README.index("```python")
    assert re.findall(r"^## (.*)$", README, re.M) == [
        "Six examples",
        "Methods",
        "What it promises, and its limits",
        "How to cite",
    ]


def test_the_citation_has_the_version_and_the_licence_of_the_project():
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    (citation,) = re.findall(r"```bibtex\n(.*?)```", README, re.S)
    cited = dict(re.findall(r"^ +(\w+) += \{+(.*?)\}+,?$", citation, re.M))
    assert cited["version"] == project["version"] and cited["license"] == project["license"]
    assert cited["author"] == project["authors"][0]["name"]


def test_every_command_and_name_of_the_table_of_methods_is_there():
    """Families, functions, views, notebooks and studies, each by the name that a person would type."""
    import widgets
    from lens.new import TEMPLATES

    table = README.split("## Methods")[1].split("\n\n")[1]
    names = set(re.findall(r"`([\w -]+)`", table)) - {"lens"}
    studies = {name.removeprefix("lens reproduce ") for name in names if name.startswith("lens reproduce ")}
    assert studies == set(REPRODUCTIONS) and all(reproduction(name) for name in studies)
    for name in {name for name in names if " " not in name}:
        assert hasattr(widgets if name[0].isupper() else lens, name), name
    notebooks = {path.name[:2] for path in (Path(__file__).parent.parent / "notebooks").glob("[01]*.ipynb")}
    assert set(re.findall(r"[|,] (\d\d) ", table)) == notebooks - {"00"}
    assert re.search(r"lens new \w+ --template (\w+)", README)[1] in TEMPLATES


#: Many heads, and every row of a transcript: half a minute each.
LONG = (1, 3)


@pytest.mark.parametrize("left_out", [LONG, pytest.param((), marks=pytest.mark.long)], ids=["short", "all"])
def test_the_examples_run_and_print_what_they_promise(left_out, smollm2, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    load = lens.load
    monkeypatch.setattr(lens, "load", lambda name: smollm2 if name == "smollm2" else load(name))
    names: dict = {}
    printed = []
    for number, example in enumerate(EXAMPLES):
        if number not in left_out:
            exec(compile(example, "README.md", "exec"), names)
        printed.append(capsys.readouterr().out)
    assert (
        "30 layers" in printed[0]
        and (tmp_path / "trace.png").stat().st_size > 10_000
        and lens.open("trace.zarr").identical(names["trace"])
    )
    assert len(eval(printed[2].splitlines()[0])) == 3 and "river Po" in printed[2]
    cost = names["lens"].memorization.tradeoff_summary(names["cost"]).to_dataframe().droplevel("set")
    assert (
        cost.strict["unedited"] == cost.strict["random"] == 1
        and cost.strict["mask"] < 0.1
        and cost.n["mask"] == 32
        and cost.rise["mask"] < 0.1
    )
    before, after = map(float, printed[5].split())
    assert before > 0.5 and after < before - 0.1
    if not left_out:
        assert "p_holm" in printed[1] and names["summary"].n.max() == 13
        assert "rho -" in printed[3] and "guaranteed" in printed[3] and "an approximation" in printed[3]


@pytest.mark.parametrize("number", LONG)
def test_calls_of_the_longer_examples_are_there_and_take_their_arguments(number):
    assert "lens." in EXAMPLES[number] and unknown_calls(f"import lens\n{EXAMPLES[number]}") == []


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)h][^)]*)\)", README))
def test_what_the_readme_links_to_is_there(link):
    assert (Path(__file__).parent.parent / link).exists(), link


def test_the_lines_of_the_interface_run(smollm2, tmp_path, monkeypatch):
    """What a user types first, line by line."""
    monkeypatch.chdir(tmp_path)
    model = smollm2
    pair = lens.Pair(
        "When John and Mary went to the shops, John gave the bottle to",
        corrupted="When John and Mary went to the shops, Mary gave the bottle to",
        answer=" Mary",
        foil=" John",
    )
    trace = lens.patch(model, pair, "resid_pre")
    at = trace.effect.argmax(...)
    assert set(at) == {"layer", "position"} and trace.effect.isel(at) == trace.effect.max()
    pairs = [pair]
    exact = lens.patch(model, pairs, "z", over=("layer", "head"), method="exact", layers=[22, 23])
    estimate = lens.patch(model, pairs, "z", over=("layer", "head"), method="attribution", layers=[22, 23])
    assert exact.effect.dims == estimate.effect.dims == ("prompt", "layer", "head")
    lens.save(trace, "trace.zarr")
    assert lens.open("trace.zarr").identical(trace)
    memory = lens.Runs.record(model, [lens.encode(model, pair).clean_ids]).get("attn_out", 9)[-1]
    with lens.edited(model, lens.Edit(lens.Site("attn_out", layer=9), "add", memory, scale=3)):
        said = model.generate(
            "The first president of the United States fought in the", max_new_tokens=3, do_sample=False, verbose=False
        )
    assert said.startswith("The first president")
    plain = model.generate(
        "The first president of the United States fought in the", max_new_tokens=3, do_sample=False, verbose=False
    )
    assert isinstance(plain, str)
