"""The notebooks in a real JupyterLab: opened as they are stored, run from top to bottom, and their views used as a
reader would.
"""

import json
import shutil
import time

import pytest

from tests.browser.lab import LAYERS_SHOWN, READY, ROOT, Lab, point, status
from tests.variants import few

NOTEBOOKS = {
    "00": (ROOT / "notebooks" / "00_start_here.ipynb", 2),
    "01": (ROOT / "notebooks" / "01_activation_patching.ipynb", 8),
    "02": (ROOT / "notebooks" / "02_memory_injection.ipynb", 6),
    "03": (ROOT / "notebooks" / "03_instruction_vectors.ipynb", 8),
    "04": (ROOT / "notebooks" / "04_forgetting.ipynb", 7),
    "05": (ROOT / "notebooks" / "05_provenance.ipynb", 12),
    "06": (ROOT / "notebooks" / "06_memory_subspace.ipynb", 10),
    "07": (ROOT / "notebooks" / "07_loss_curvature.ipynb", 11),
    "08": (ROOT / "notebooks" / "08_diffusion_memory.ipynb", 10),
    "09": (ROOT / "notebooks" / "09_edges_and_circuits.ipynb", 7),
    "10": (ROOT / "notebooks" / "10_jacobian_lens.ipynb", 4),
    "11": (ROOT / "notebooks" / "11_unlearning.ipynb", 4),
    "12": (ROOT / "notebooks" / "12_two_checkpoints.ipynb", 4),
    "13": (ROOT / "notebooks" / "13_forgetting_that_spreads.ipynb", 4),
    "14": (ROOT / "notebooks" / "14_commitment.ipynb", 4),
    "15": (ROOT / "notebooks" / "15_gated_steering.ipynb", 4),
    "16": (ROOT / "notebooks" / "16_repeats_and_hubble.ipynb", 7),
}
#: Seconds that a whole notebook may take.
RUN = 900
#: Errors of the notebook in front, from its model: a cell out of sight is not in the page.
ERRORS = """() => {
    const cells = window.jupyterapp?.shell.currentWidget?.content?.model?.cells;
    if (!cells) throw new Error("no notebook is open");
    return [...cells].flatMap((cell) => cell.type === "code" ? cell.outputs.toJSON() : [])
        .filter((output) => output.output_type === "error").map((output) => `${output.ename}: ${output.evalue}`);
}"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory, browser, kernels):
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as patch:
        # a handful of pairs: the numbers are the full run's affair, this is about what a person can do
        patch.setenv("MNEMOSCOPE_PRESET", "tiny")
        patch.setenv("MNEMOSCOPE_OUT", str(folder / "out"))
        patch.setenv("PYTHONPATH", str(ROOT))
        server = Lab(folder, **kernels)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def freed(lab):
    """A notebook that has run leaves no kernel, with its models, behind."""
    yield
    lab.free()


@pytest.fixture(scope="module")
def reader(browser, lab):
    """One page for all who read."""
    context = browser.new_context(viewport={"width": 1200, "height": 1000})
    yield context.new_page()
    context.close()


@pytest.fixture
def page(page):
    """A page whose scripts end without an error."""
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    yield page
    assert problems == []


def run_whole(lab, page, path):
    """Runs a notebook from clean; its last numbers are in `headline.json`."""
    page.set_viewport_size({"width": 1500, "height": 1200})
    headline = lab.folder / "out" / "headline.json"
    headline.unlink(missing_ok=True)
    fresh = json.loads(path.read_text())
    for cell in fresh["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (lab.folder / path.name).write_text(json.dumps(fresh))
    lab.open(page, path.name)
    until = time.monotonic() + RUN
    while not headline.exists():
        assert time.monotonic() < until, "the notebook did not write its headline numbers"
        errors = page.evaluate(ERRORS)
        assert not errors, errors
        page.wait_for_timeout(1000)
    page.evaluate(
        "() => { const panel = document.querySelector('.jp-WindowedPanel-outer'); panel.scrollTop ="
        " panel.scrollHeight }"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", few(NOTEBOOKS, ("00", "09")))
def test_the_stored_notebook_shows_its_figures_and_its_view_before_it_is_run(lab, reader, name):
    path, figures = NOTEBOOKS[name]
    shutil.copy(path, lab.folder / f"stored_{name}.ipynb")
    lab.show(reader, f"stored_{name}.ipynb")
    stored = json.loads(path.read_text())
    outputs = [o for c in stored["cells"] for o in c.get("outputs", [])]
    assert sum("image/png" in o.get("data", {}) for o in outputs) >= figures
    html = "".join("".join(o["data"].get("text/html", "")) for o in outputs if "data" in o)
    assert "mnemoscope-static" in html and "<td" in html
    assert not any(o["output_type"] == "error" for o in outputs)


@pytest.mark.slow
def test_the_start_page_links_the_notebooks_and_draws_a_prompt_of_ones_own(lab, page, smollm2):
    """What a newcomer does: the gallery is in sight, all cells run, two sentences are changed, the figure is there."""
    page.set_viewport_size({"width": 1500, "height": 1200})
    shutil.copytree(ROOT / "notebooks" / "images", lab.folder / "images")
    shutil.copy(NOTEBOOKS["02"][0], lab.folder)
    source = json.loads(NOTEBOOKS["00"][0].read_text())
    own = next(cell for cell in source["cells"] if cell["id"] == "yours")
    changed = "".join(own["source"]).replace("France", "Spain").replace(" Paris", " Madrid")
    assert changed != "".join(own["source"])
    own["source"] = changed
    (lab.folder / "start.ipynb").write_text(json.dumps(source))
    lab.open(page, "start.ipynb", run=False)
    picture = page.locator("img[alt='02 · Memory injection']")
    picture.wait_for(timeout=READY)
    assert picture.evaluate("(image) => image.complete && image.naturalWidth > 100")
    lab.run_all(page)
    until = time.monotonic() + RUN
    while not (lab.folder / "mine.png").exists():
        assert time.monotonic() < until and not (errors := page.evaluate(ERRORS)), errors
        page.wait_for_timeout(500)
    page.evaluate("() => { const p = document.querySelector('.jp-WindowedPanel-outer'); p.scrollTop = p.scrollHeight }")
    page.wait_for_selector("[data-testid=patch-explorer][data-ready=true]", timeout=READY)
    assert "Spain" in page.get_by_test_id("clean").input_value()
    page.evaluate("() => { document.querySelector('.jp-WindowedPanel-outer').scrollTop = 0 }")
    page.locator("a", has_text="02 · Memory injection").last.click()
    page.wait_for_selector(".lm-TabBar-tab:has-text('02_memory_injection.ipynb')", timeout=READY)


@pytest.mark.slow
def test_notebook_01_runs_and_its_explorer_answers(lab, page, smollm2):
    run_whole(lab, page, NOTEBOOKS["01"][0])

    # The explorer opens on the sweep that the notebook made: no run is needed before a cell can be asked.
    page.wait_for_selector("[data-testid=patch-explorer][data-ready=true]", timeout=READY)
    rows, columns = (int(page.get_by_test_id("map").get_attribute(f"aria-{n}count")) for n in ("row", "col"))
    assert rows == 30
    page.mouse.click(*point(page, "map", 29, columns - 1))
    page.wait_for_selector("[data-testid=side][data-status=ready]", timeout=READY)
    assert page.get_by_test_id("side").get_attribute("data-cell") == f"29,{columns - 1}"
    assert (
        page.get_by_test_id("predictions").locator("ol").first.locator("li").first.inner_text().split("\n")[0]
        == "·Mary"
    )
    for key in ("ArrowDown", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector(f"[data-testid=side][data-status=ready][data-cell='28,{columns - 2}']", timeout=READY)

    story = " We walked along the river in the rain and talked about the old days, the boats and the mill." * 3
    for name, first in (("clean", "John"), ("corrupted", "Anna")):
        page.get_by_test_id(name).fill(f"{first} came.{story} And then")
    page.get_by_test_id("answer").fill(" John")
    page.get_by_test_id("foil").fill(" Anna")
    explorer = page.get_by_test_id("patch-explorer")
    explorer.get_by_test_id("run").click()
    status(page, "running")
    page.wait_for_function(LAYERS_SHOWN, timeout=READY)
    explorer.get_by_test_id("stop").click()
    status(page, "stopped", 60_000)
    assert explorer.get_by_test_id("progress").inner_text().startswith("stopped: layers ")


@pytest.mark.slow
@pytest.mark.long
def test_notebook_02_runs_and_its_bench_answers(lab, page, smollm2):
    run_whole(lab, page, NOTEBOOKS["02"][0])
    page.wait_for_selector("[data-testid=injection-bench][data-ready=true]", timeout=READY)
    bench = page.get_by_test_id("injection-bench")
    bench.get_by_test_id("lists").locator("ol").nth(1).wait_for(timeout=READY)
    before = bench.get_by_test_id("lists").inner_text()
    bench.get_by_test_id("strength").fill("6")
    page.wait_for_function(
        "(before) => document.querySelector('[data-testid=injection-bench] [data-testid=lists]').innerText !== before",
        arg=before,
        timeout=READY,
    )


@pytest.mark.slow
@pytest.mark.long
def test_notebook_03_runs_and_its_bench_answers(lab, page, smollm2):
    run_whole(lab, page, NOTEBOOKS["03"][0])
    page.wait_for_selector("[data-testid=vector-bench][data-ready=true]", timeout=READY)
    bench = page.get_by_test_id("vector-bench")
    assert bench.get_by_test_id("task").input_value() == "present_past"
    before = bench.get_by_test_id("table-notes").inner_text()
    bench.get_by_test_id("task").select_option("capitalize")
    page.wait_for_function(
        "(before) => document.querySelector('[data-testid=vector-bench] [data-testid=table-notes]').innerText !=="
        " before",
        arg=before,
        timeout=READY,
    )


@pytest.mark.slow
@pytest.mark.long
def test_notebook_04_runs_and_its_bench_shows_both_models(lab, page):
    run_whole(lab, page, NOTEBOOKS["04"][0])
    page.wait_for_selector("[data-testid=vector-bench][data-ready=true]", timeout=READY)
    bench = page.get_by_test_id("vector-bench")
    assert bench.get_by_test_id("task").input_value() == "own pairs"
    page.wait_for_function(
        "() => document.querySelector('[data-testid=vector-bench]').innerText.includes('symbols after table_5')",
        timeout=READY,
    )


@pytest.mark.slow
@pytest.mark.long
def test_notebook_05_runs_and_its_bench_answers(lab, page):
    run_whole(lab, page, NOTEBOOKS["05"][0])
    page.wait_for_selector("[data-testid=provenance-bench][data-ready=true]", timeout=READY)
    bench = page.get_by_test_id("provenance-bench")
    assert bench.get_by_test_id("empty").is_visible()
    bench.get_by_test_id("run").click()
    page.wait_for_function(
        "() => Number(document.querySelector('[data-testid=provenance-bench] [data-testid=answer]').dataset.n) >= 100",
        timeout=READY,
    )
    bench.get_by_test_id("stop").click()
    page.wait_for_function(
        "() => document.querySelector('[data-testid=provenance-bench]"
        " [data-testid=verdict]').innerText.includes('e-value')",
        timeout=READY,
    )


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "view"),
    [("06", "subspace-bench"), ("07", "curvature-view"), ("08", "diffusion-bench"), ("10", "patch-explorer")],
)
def test_further_notebooks_run_and_their_views_are_ready(lab, page, smollm2, name, view):
    run_whole(lab, page, NOTEBOOKS[name][0])
    page.wait_for_selector(f"[data-testid={view}][data-ready=true]", timeout=READY)


@pytest.mark.slow
@pytest.mark.long
def test_notebook_09_runs_and_its_view_draws_the_edges_that_were_found(lab, page, smollm2):
    run_whole(lab, page, NOTEBOOKS["09"][0])
    page.wait_for_selector("[data-testid=circuit-view][data-ready=true]", timeout=READY)
    assert "edges" in page.get_by_test_id("circuit-view").get_by_test_id("kept").inner_text()
