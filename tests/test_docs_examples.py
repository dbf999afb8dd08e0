"""Every block of code of the documentation runs, and prints what its page says."""

import os
import re
import subprocess

import numpy as np
import pytest

from tests import documentation as docs
from tests.page_calls import unknown_calls
from tests.variants import few

PAGES = {docs.read(path).name: path for path in docs.pages()}


@pytest.fixture(scope="module")
def models(smollm2):
    """One model of each name for all pages; they leave it as they found it."""
    return {"smollm2": smollm2}


def both_sides(names: dict) -> bool:
    """Where a block gave `ours` and the one before it `theirs`: whether these are the same numbers."""
    if not {"ours", "theirs"} <= set(names):
        names.pop("ours", None)
        return False
    ours, theirs = (np.asarray(names.pop(side), dtype=np.float64) for side in ("ours", "theirs"))
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(np.abs(theirs).max(), 1))
    return True


#: Pages whose examples take five seconds and more; of their calls it is seen here that they are there as written.
LONG = {
    "concepts",
    "generation",
    "prompts",
    *(
        f"methods/{name}"
        for name in (
            "attention-lens attribution-patching depth diffusion-memory edges exact-patching features gated-steering "
            "is-it-gone jacobian-lens loss-curvature memory-injection memory-masks model-provenance path-patching "
            "two-checkpoints unlearning"
        ).split()
    ),
}


@pytest.mark.parametrize("name", few(PAGES, lambda name: name not in LONG))
def test_the_examples_of_a_page_run_and_print_what_it_says(name, models, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert not [one.code.line for one in docs.read(PAGES[name]).examples if one.prints and not one.prints.text.strip()]
    page, names, wrong, left_out, compared = docs.read(PAGES[name]), {}, [], 0, 0
    with docs.shared_models(models):
        for example in page.examples:
            if not docs.installed(example.code.text):
                left_out += 1
                continue
            printed = docs.outcome(example, names, f"docs/{name}.md")
            compared += both_sides(names)
            shown = example.prints.text if example.prints else ""
            wrong += [f"line {example.code.line}:\n{told}" for told in docs.differences(shown, printed)]
    assert not wrong, "\n".join(wrong)
    assert compared >= (8 if left_out else 11) or name != "coming-from", f"{compared} calls were compared"
    if left_out == len(page.examples):
        pytest.skip(f"not installed: what all {left_out} examples import")


@pytest.mark.parametrize("name", sorted(LONG))
def test_calls_of_a_page_that_runs_elsewhere_are_there_and_take_their_arguments(name):
    page = docs.read(PAGES[name])
    code = "".join(one.code.text for one in page.examples if not (one.prints and docs.is_error(one.prints.text)))
    assert "lens" in code and unknown_calls(code) == []


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("lens.patched(1)", "patched"),
        ("lens.patch(1, 2, sight='z')", "sight"),
        ("lens.Site()", "missing"),
        ("from lens import diffusion\ndiffusion.denoise(1, stepps=3)", "stepps"),
        ("from lens.organisms.cards import Recipe as R\nR.large()", "large"),
    ],
)
def test_a_call_that_is_not_there_is_seen(code, why):
    (said,) = unknown_calls(f"import lens\n{code}\nlen([1])\n")
    assert why in said
    assert unknown_calls("import lens\nlens.Site('z', 3)\nlens.summary(*[1, 2], **{})\n") == []


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_the_page(name):
    """The text of a page is 928 pixels wide beside its list of pages, the columns of calls side by side half of it."""
    widest = 115
    for example in docs.read(PAGES[name]).examples:
        start = docs.read(PAGES[name]).text.rfind("\n", 0, example.code.span[0] - 1)
        inside = name == "coming-from" and docs.read(PAGES[name]).text[start:].startswith("\n    ")
        too_wide = [line for line in example.code.text.splitlines() if len(line) > (55 if inside else widest)]
        assert not too_wide, f"line {example.code.line} of {name}: {too_wide}"


@pytest.mark.parametrize("peer", ["transformer_lens", "nnsight", "circuitsvis"])
def test_whether_a_peers_calls_ran_is_said(peer):
    """A page leaves out the calls of a package that is not there; this test then says so."""
    blocks = [one.code.text for one in docs.read(PAGES["coming-from"]).examples]
    calls = [text for text in blocks if f"import {peer}" in text or f"from {peer}" in text]
    assert calls, f"no call of {peer} is in the page"
    if not docs.installed(calls[0]):
        pytest.skip(f"{peer} is not installed: its {len(calls)} calls in docs/coming-from.md were left out")
    assert all(map(docs.installed, calls))


COMMANDS = [(name, block) for name, path in PAGES.items() for block in docs.read(path).commands]
COMMANDS += [(path.stem, b) for path in sorted(docs.PAGES.rglob("*.md")) if not docs.LISTS.fullmatch(path.stem)
             for b in docs.read(path).commands if docs.read(path).name not in PAGES]  # fmt: skip


@pytest.mark.parametrize(("name", "block"), COMMANDS, ids=[f"{name}:{block.line}" for name, block in COMMANDS])
def test_commands_for_a_shell_are_known(name, block):
    """A target of the Makefile, or a command of `lens` whose arguments its parser takes."""
    from lens import cli

    for line in filter(None, (re.sub(r"\s*#.*", "", line).strip() for line in block.text.splitlines())):
        words = line.split()
        if words[0] == "make":
            done = subprocess.run(["make", "-n", *words[1:]], cwd=docs.ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
        elif words[0] == "lens" or words[:3] == ["python", "-m", "lens"]:
            import shlex

            cli._parser().parse_args(shlex.split(line)[1 if words[0] == "lens" else 3 :])
        elif words[:2] == ["python", "-m"]:
            top = words[2].split(".")[0]
            assert (docs.ROOT / top).is_dir() or docs.installed(f"import {top}"), line
        else:
            assert words[:2] in (["pip", "install"], ["git", "clone"]) or words[0] == "cd", line


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("effect 0.512", "effect 0.513", True),
        ("effect 0.512", "effect 0.552", False),
        ("p 1e-05", "p 1.001e-05", True),
        ("p 1e-05", "p 3e-05", False),
        ("30 layers", "30 layers", True),
        ("30 layers", "31 layers", False),
        ("layer 20", "head 20", False),
        ("one line", "one line\nand another", False),
        ("a   0.50", "a 0.50", True),
        ("x -0.2", "x 0.2", False),
    ],
)
def test_what_is_shown_is_compared_in_words_and_numbers(shown, printed, same):
    assert (not docs.differences(shown, printed)) == same


def test_a_block_that_stops_working_is_an_error(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("```python\n1 / 0\n```\n\n```text\nValueError: none\n```\n", encoding="utf-8")
    example = docs.read(path).examples[0]
    assert docs.differences(example.prints.text, docs.outcome(example, {}, "page"))
    path.write_text("```python\n1 / 0\n```\n", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        docs.outcome(docs.read(path).examples[0], {}, "page")


def test_blocks_in_the_cells_of_a_table_are_read(tmp_path):
    path = tmp_path / "page.md"
    cells = "* - Theirs\n    ```python\n    a = 1\n    b = 2\n    ```\n  - Ours\n    ```python\n    c = 3\n    ```\n"
    path.write_text(cells, encoding="utf-8")
    assert [one.code.text for one in docs.read(path).examples] == ["a = 1\nb = 2\n", "c = 3\n"]


def test_what_is_written_into_a_page_is_what_it_prints(tmp_path):
    path = tmp_path / "page.md"
    path.write_text("```python\nprint(40 + 2)\n```\n\n```text\n```\n\nThe end.\n", encoding="utf-8")
    assert docs.write(path, {}) == 1 and "```text\n42\n```\n\nThe end." in path.read_text(encoding="utf-8")
    assert docs.write(path, {}) == 0


def test_no_page_writes_outside_its_folder():
    """Examples write in the folder that they run in: no absolute path, none above it."""
    code = "".join(one.code.text for path in PAGES.values() for one in docs.read(path).examples)
    assert not re.search(r"[\"'](?:/|~|\.\./)", code) and os.getcwd() not in code
