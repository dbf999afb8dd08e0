"""What is stored: tables of claims say their multiplicity, notebooks stay small, stored runs are judged again.

And what the stored tables changed since a commit can be printed.
"""

import base64
import importlib.util
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lens.reproduce import again as judging
from lens.reproduce import common, records

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, NOTEBOOKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


changed, run, gallery = script("changed"), script("run"), script("gallery")


@pytest.mark.parametrize("file", gallery.notebooks(), ids=lambda f: f.stem)
def test_every_table_of_claims_says_its_multiplicity_and_the_notebook_stays_small(file):
    text = file.read_text(encoding="utf-8")
    rows = changed.rows(text)
    assert len(rows) >= 5 and all(row.get("multiplicity") for row in rows) and "Multiplicity: " in text
    assert len(text.encode()) < 1.1e6 and run.STORED < 1.1e6


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("[01]*.ipynb")), ids=lambda f: f.stem)
def test_it_is_stored_with_figures_a_view_and_no_error(file):
    """What each shows in JupyterLab before it is run is judged by long tests of `tests/browser`."""
    code = [cell for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in code for output in cell.outputs]
    shown = [output["data"] for output in outputs if "data" in output]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert sum("image/png" in data for data in shown) >= (2 if file == gallery.START else 4)
    html = "".join("".join(data.get("text/html", "")) for data in shown)
    assert "mnemoscope-static" in html and "<td" in html


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.glob("[01]*.ipynb")), ids=lambda f: f.stem)
def test_code_fits_a_page_and_the_first_cell_says_how_long_it_takes_and_on_what(file):
    book = nbformat.read(file, as_version=4)
    lines = [line for cell in book.cells if cell.cell_type == "code" for line in cell.source.split("\n")]
    assert [line for line in lines if len(line) > 100] == []
    said = book.cells[0].source.split("\n")[2]
    assert said.startswith(run.time_line(book)) and (": it runs " in said or ": every sweep" in said)


@pytest.mark.parametrize("file", gallery.notebooks(), ids=lambda f: f.stem)
def test_a_notebook_makes_the_folder_that_it_saves_figures_in_by_itself(file):
    code = [cell.source for cell in nbformat.read(file, as_version=4).cells if cell.cell_type == "code"]
    saves = [number for number, source in enumerate(code) if "savefig(OUT" in source]
    makes = [number for number, source in enumerate(code) if "OUT.mkdir(parents=True, exist_ok=True)" in source]
    assert not saves or (makes and makes[0] <= saves[0])


def test_the_start_page_shows_every_notebook_with_a_picture_its_question_and_its_minutes():
    book = nbformat.read(gallery.START, as_version=4)
    (cell,) = [cell for cell in book.cells if cell.id == gallery.CELL]
    assert cell.source == gallery.markdown()
    assert set(gallery.PICTURES) == {path.name[:2] for path in gallery.notebooks()}
    for path in gallery.notebooks():
        title = nbformat.read(path, as_version=4).cells[0].source.split("\n")[0].removeprefix("# ").split(":")[0]
        assert f"[{title}]({path.name})" in cell.source
        picture = Image.open(gallery.thumbnail(path))
        assert picture.size == gallery.SIZE and gallery.thumbnail(path).stat().st_size < 40_000
        assert len(np.unique(np.asarray(picture))) > 5, "it is empty"


def test_the_start_page_is_small_and_has_the_users_own_prompt_before_its_view():
    book = nbformat.read(gallery.START, as_version=4)
    assert gallery.START.stat().st_size < 3e5
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert code[-2].source.startswith("CLEAN = ") and "PatchExplorer" in code[-1].source
    assert all(cell.outputs and not any(o.output_type == "error" for o in cell.outputs) for cell in code)


def test_a_stored_run_writes_into_the_first_cell_what_it_took():
    times = {"iopub.execute_input": "2026-01-01T00:00:10.5Z", "shell.execute_reply": "2026-01-01T00:06:20+00:00"}
    cells = [
        nbformat.v4.new_markdown_cell("# A\n\n*Takes less than a minute on 64 CPU cores: it runs a model. No GPU.*"),
        nbformat.v4.new_code_cell("1", metadata={"execution": times}),
    ]
    book = nbformat.v4.new_notebook(cells=cells, metadata={"mnemoscope": {"cores": 1}})
    assert run.seconds(book) == 369.5
    line = run.TIME.sub(run.time_line(book), book.cells[0].source)
    assert line == "# A\n\n*Takes about 6 minutes on 1 CPU core: it runs a model. No GPU.*"


def test_wide_pictures_and_padded_tables_shrink_to_what_a_screen_shows():
    buffer = io.BytesIO()
    Image.effect_noise((2600, 400), 60).save(buffer, "PNG")
    padded = pd.DataFrame({"claim": ["a short one", "x" * 60]})
    tables = {"text/html": padded.to_html(), "text/plain": padded.to_string()}
    pictures = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    outputs = [nbformat.v4.new_output("display_data", data) for data in (tables, pictures)]
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(outputs=outputs)])
    run.squeeze(book)
    table, picture = (output.data for output in book.cells[0].outputs)
    assert Image.open(io.BytesIO(base64.b64decode(picture["image/png"]))).size == (1300, 200)
    assert table["text/plain"].split() == padded.to_string().split() and "   " not in table["text/plain"]
    assert table["text/html"] == padded.to_html()


@pytest.mark.parametrize("file", sorted(NOTEBOOKS.rglob("results/**/table.csv")), ids=lambda f: f.parent.name)
def test_stored_tables_have_todays_columns(file):
    table = pd.read_csv(file)
    if "claim" in table:
        assert list(table.columns) == common.COLUMNS and table.notna().all().all()


def test_a_stored_run_is_judged_again_by_todays_rules(tmp_path, monkeypatch):
    """The table and the numbers are new, the run's own record stays."""
    (tmp_path / "a").mkdir()
    run_of = {"reproduction": "loss-curvature", "fingerprint": "f", "config": {"x": 1}, "versions": {"torch": "0"}}
    record = run_of | {"numbers": {"old": 1}}
    (tmp_path / "a" / records.RECORD).write_text(json.dumps(record))
    (tmp_path / "other.json").write_text("{}")
    numbers = {"new": np.float64(2.5), "none": float("nan"), "of": (1, np.inf)}
    made = SimpleNamespace(table=common.table_of([("c", "p", "h", 1, "holds")]), numbers=numbers)
    monkeypatch.setattr(judging, "reproduction", lambda name: SimpleNamespace(load=lambda folder: made))
    assert judging.again(tmp_path) == [tmp_path / "a"]
    after = json.loads((tmp_path / "a" / records.RECORD).read_text())
    assert after == run_of | {"numbers": {"new": 2.5, "none": None, "of": [1, None]}}
    assert pd.read_csv(tmp_path / "a" / "table.csv").verdict.tolist() == ["holds"]


def notebook(rows: list[tuple[str, str, str]]) -> str:
    html = pd.DataFrame(rows, columns=["claim", "here", "verdict"]).to_html()
    return json.dumps({"cells": [{"cell_type": "code", "outputs": [{"data": {"text/html": html}}]}]})


def test_rows_are_paired_by_their_words_and_only_what_differs_is_printed():
    fell = "A falls. Rule: below 0", "x -0.10 [-0.20, -0.01]", "holds"
    rose = "B rises (rule: above 0)", "y 3", "holds (rule: above 0)"
    before = changed.rows(notebook([fell, rose, ("C is gone for good", "z", "holds")]))
    now = "A falls. Rule: over runs below 0", "x -0.10 [-0.30, +0.10]", "not shown"
    after = changed.rows(notebook([("B rises", "y 3", "holds"), now, ("Something else entirely", "", "holds")]))
    names = [tuple(row and changed.words(row) for row in pair) for pair in changed.paired(before, after)]
    new, gone = (None, "Something else entirely"), ("C is gone for good", None)
    assert names == [("B rises", "B rises"), ("A falls", "A falls"), new, gone]
    assert changed.verdict(before[1]) == "holds" and changed.differing(before[1]["here"], after[0]["here"]) == ""
    assert changed.differing(before[0]["here"], after[1]["here"]) == "-0.10 [-0.20, -0.01] → -0.10 [-0.30, +0.10]"


def test_pictures_are_stored_with_a_palette_and_look_the_same():
    picture = Image.new("RGB", (400, 300), "white")
    picture.paste((200, 30, 30), (50, 50, 200, 200))
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), dtype=np.uint8)
    both = Image.blend(picture, Image.fromarray(noise), 0.02)
    buffer = io.BytesIO()
    both.save(buffer, "PNG")
    data = {"image/png": base64.b64encode(buffer.getvalue()).decode()}
    cell = nbformat.v4.new_code_cell(outputs=[nbformat.v4.new_output("display_data", data)])
    made = nbformat.v4.new_notebook(cells=[cell])
    run.squeeze(made)
    small = base64.b64decode(made.cells[0].outputs[0].data["image/png"])
    shown = np.asarray(Image.open(io.BytesIO(small)).convert("RGB"), float)
    assert len(small) < len(buffer.getvalue()) and np.abs(shown - np.asarray(both, float)).mean() < 4


def executed(path):
    """A stored notebook, run from top to bottom without an error, and its outputs."""
    book = nbformat.read(path, as_version=4)
    nbformat.validate(book)
    code = [cell for cell in book.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert max(len(line) for cell in code for line in cell.source.split("\n")) <= 100
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    return book, outputs


def test_the_how_to_of_machines_is_stored_executed_and_names_no_folder_of_a_machine():
    path = NOTEBOOKS / "howto_machines.ipynb"
    book, outputs = executed(path)
    said = "".join(
        str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs
    )
    assert not re.search(r"/(tmp|home|root|work|Users)/", said) and "the same to the bit" in said
    assert run.time_line(book) and path.name in (NOTEBOOKS / "00_start_here.ipynb").read_text(encoding="utf-8")


@pytest.fixture
def begun(tmp_path, kernels, monkeypatch):
    """A kernel of the tiny preset, which begins with the large packages loaded."""
    own = {"MNEMOSCOPE_PRESET": "tiny", "MNEMOSCOPE_OUT": str(tmp_path), "PYTHONPATH": str(NOTEBOOKS.parent)}
    for name, value in (own | kernels).items():
        monkeypatch.setenv(name, value)


@pytest.mark.slow
@pytest.mark.long
def test_the_how_to_of_machines_runs_an_adapter_few_bits_blocks_on_disk_and_workers(tmp_path, smollm2, begun):
    book = nbformat.read(NOTEBOOKS / "howto_machines.ipynb", as_version=4)
    run.execute(book, tmp_path, 600)
    found = json.loads((tmp_path / "headline.json").read_text())
    assert found["the same to the bit with half of the blocks on disk"] is True
    assert found["largest difference with two workers"] == 0.0
    with_adapter, without = map(float, found["gap with the adapter, and without (logits)"].split(","))
    assert with_adapter > 5 > abs(without)
    eight, four = map(float, found["8 and 4 bits against 32, correlation of cells"].split(","))
    assert eight > 0.99 and four > 0.8


def test_the_how_to_of_prompts_is_stored_executed_and_names_no_folder_of_a_machine():
    path = NOTEBOOKS / "howto_prompts.ipynb"
    book, outputs = executed(path)
    assert not re.search(r"/(tmp|home|root|work|Users)/", json.dumps([o.get("data", o.get("text")) for o in outputs]))
    assert book.cells[0].source.split("\n")[2].startswith(run.time_line(book)) and path.stat().st_size < 1e6
    assert path.name in (NOTEBOOKS / "00_start_here.ipynb").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.long
def test_the_how_to_of_prompts_patches_conversations_and_gates_an_edit(tmp_path, smollm2, begun):
    book = nbformat.read(NOTEBOOKS / "howto_prompts.ipynb", as_version=4)
    run.execute(book, tmp_path, 600)
    found = json.loads((tmp_path / "headline.json").read_text())
    assert found["each text as alone, token by token"] is True
    assert found["changed by the gated edit: about capitals, others"].endswith("0 of 4")
