"""`lens new`: each template is a notebook that runs as it is; nothing that is there is overwritten."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pytest

import lens
from lens import cli
from lens.new import FOLDER, TEMPLATES, NewError, new
from tests.variants import few

ROOT = Path(__file__).parent.parent


def run(path: Path) -> nbformat.NotebookNode:
    """The notebook after it ran from top to bottom in a kernel of its own."""
    spec = importlib.util.spec_from_file_location("run", ROOT / "notebooks" / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    book = nbformat.read(path, as_version=4)
    module.execute(book, path.parent, 600)
    return book


def shown(book: nbformat.NotebookNode) -> str:
    """All texts among its outputs."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    texts = [output.get("text", "") + "".join(output.get("data", {}).get("text/plain", "")) for output in outputs]
    return "\n".join(texts)


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture
def begun(kernels, monkeypatch):
    """Kernels of this test begin with the large packages loaded."""
    for name, value in kernels.items():
        monkeypatch.setenv(name, value)


def test_there_is_a_file_for_each_template_and_no_other():
    assert {path.stem for path in FOLDER.iterdir()} == set(TEMPLATES)


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_is_a_notebook_with_the_users_model_and_prompts_at_its_top(template, tmp_path, smollm2):
    path = new(tmp_path / "mine", template)
    assert path == tmp_path / "mine.ipynb"
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    text, first, *_ = book.cells
    assert text.cell_type == "markdown" and text.source.startswith("# mine") and "*Takes " in text.source
    assert first.cell_type == "code" and first.source.startswith('MODEL = "')
    assert all(re.match(r"[A-Z_, ]+ = |[\])#]|    ", line) for line in first.source.split("\n"))
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert max(len(line) for cell in code for line in cell.source.split("\n")) <= 100
    assert not any(cell.outputs or cell.execution_count for cell in code)
    assert "widgets." in code[-1].source


def test_the_model_that_was_asked_for_stands_in_the_first_cell(tmp_path):
    path = new(tmp_path / "mine.ipynb", "blank", model="organism:induction")
    assert 'MODEL = "organism:induction"' in nbformat.read(path, as_version=4).cells[1].source
    assert path.name == "mine.ipynb"


def test_a_file_that_is_there_stays_as_it_is(tmp_path, capsys):
    there = tmp_path / "mine.ipynb"
    there.write_text("my work")
    with pytest.raises(NewError, match="is there already and stays as it is; choose another name"):
        new(tmp_path / "mine", "blank", model="organism:induction")
    assert cli.main(["new", str(there), "--template", "blank"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert there.read_text() == "my work" and list(tmp_path.iterdir()) == [there]
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "nowhere")
    with pytest.raises(NewError, match="is there already"):
        new(tmp_path / "link", "blank", model="organism:induction")
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("template", ["patching", "blank"])
def test_a_model_that_is_not_fetched_is_told_before_anything_is_written(template, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(lens.LoadError, match="Run `lens fetch smollm2` once"):
        new(tmp_path / "mine", template)
    assert cli.main(["new", str(tmp_path / "mine"), "--template", template]) == 2
    assert "model 'smollm2' has not been fetched" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("organism:unicorn", "there is no such organism"),
        ("./no/such/folder", "looks like a folder, but none is there"),
        ("nobody/no-such-model", "HF_HUB_OFFLINE says that the hub is not asked"),
        (" ", "is not a model"),
    ],
)
def test_a_model_that_is_nowhere_is_refused(model, said, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(lens.LoadError, match=said):
        new(tmp_path / "mine", model=model)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_template_and_a_folder_that_is_not_there_are_refused(tmp_path):
    with pytest.raises(NewError, match=r"template='poem' is not known; expected one of patching, injection, "):
        new(tmp_path / "mine", "poem")
    with pytest.raises(lens.FileError, match="is not there; make it"):
        new(tmp_path / "no" / "mine", "blank", model="organism:induction")


@pytest.mark.long
def test_a_notebook_whose_model_went_away_says_how_to_get_it(tmp_path, monkeypatch, smollm2):
    path = new(tmp_path / "mine", "blank")
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    with pytest.raises(Exception, match="Run `lens fetch smollm2` once"):
        run(path)


def test_the_command_writes_and_says_how_to_open_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "mine", "--template", "blank", "--model", "organism:induction"]) == 0
    assert capsys.readouterr().out.splitlines() == ["written: mine.ipynb", "open it: python -m jupyterlab mine.ipynb"]
    assert json.loads(Path("mine.ipynb").read_text())["nbformat"] == 4


#: template -> what its outputs say when it ran on its own model and prompts
SAID = {
    "blank": "Paris",
    "patching": "30 layers",
    "injection": "a random direction",
    "vectors": "over_control",
    "subspace": "sequences are recited without a fault",
    "provenance": "guaranteed",
}


@pytest.mark.slow
@pytest.mark.parametrize("template", few(TEMPLATES, ["patching"]))
def test_each_template_runs_as_it_is(template, tmp_path, smollm2, begun):
    book = run(new(tmp_path / "mine", template))
    assert SAID[template] in shown(book)
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    if template not in ("blank", "subspace"):
        assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any("mnemoscope-static" in "".join(output.get("data", {}).get("text/html", "")) for output in outputs)


@pytest.mark.long
def test_a_template_runs_on_an_organism(tmp_path):
    path = new(tmp_path / "mine", "subspace")
    book = json.loads(path.read_text())
    source = "".join(book["cells"][1]["source"])
    assert 'MODEL = "organism:canaries"' in source
    book = run(path)
    assert SAID["subspace"] in shown(book)
