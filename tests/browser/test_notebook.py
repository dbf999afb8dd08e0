"""Notebook 01 in a real JupyterLab: opened as it is stored, and run from top to bottom. Its explorer is driven in `test_lab.py`."""

import json
import shutil
import time

import pytest

from tests.browser.test_lab import ROOT, Lab

NOTEBOOK = ROOT / "notebooks" / "01_activation_patching.ipynb"
RUN = 900


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser):
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # a handful of pairs: the numbers are the full run's affair, this is about what a person can do
        patch.setenv("MNEMOSCOPE_PRESET", "tiny")
        patch.setenv("MNEMOSCOPE_OUT", str(folder / "out"))
        patch.setenv("PYTHONPATH", str(ROOT))
        server = Lab(folder)
    shutil.copy(NOTEBOOK, folder / "notebook.ipynb")
    yield server
    server.close()


@pytest.mark.slow
def test_the_stored_notebook_shows_its_figures_and_the_map_before_it_is_run(lab, page):
    lab.open(page, "notebook.ipynb", run=False)
    stored = json.loads(NOTEBOOK.read_text())
    pictures = sum("image/png" in o.get("data", {}) for c in stored["cells"] for o in c.get("outputs", []))
    assert pictures >= 8
    html = "".join("".join(o["data"].get("text/html", "")) for c in stored["cells"] for o in c.get("outputs", []) if "data" in o)
    assert "mnemoscope-static" in html and "<td" in html
    assert not any(o["output_type"] == "error" for c in stored["cells"] for o in c.get("outputs", []))


@pytest.mark.slow
def test_notebook_01_runs_from_top_to_bottom(lab, page, smollm2):
    page.set_viewport_size({"width": 1500, "height": 1200})
    fresh = json.loads(NOTEBOOK.read_text())
    for cell in fresh["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (lab.folder / "fresh.ipynb").write_text(json.dumps(fresh))
    lab.open(page, "fresh.ipynb")
    until = time.monotonic() + RUN
    while not (lab.folder / "out" / "headline.json").exists():
        assert time.monotonic() < until, "the last cell did not write the headline numbers"
        assert page.locator(".jp-OutputArea-output[data-mime-type='application/vnd.jupyter.error']").count() == 0, page.locator(".jp-RenderedText").all_inner_texts()[-1]
        page.wait_for_timeout(1000)
