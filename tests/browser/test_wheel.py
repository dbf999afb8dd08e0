"""The wheel, as a user installs it: built from the files of the repository, installed where nothing of the checkout is,
its command run, and a view of it opened in JupyterLab.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.browser.lab import READY, ROOT, Lab

#: Megabytes that the wheel may hold.
LARGEST = 45
#: What is in the wheel and nowhere else: packages, weights, templates, scripts and styles of the views.
PARTS = (
    "lens/__init__.py",
    "lens/organisms/canaries/weights/canaries/model.safetensors",
    "lens/data/ioi.jsonl",
    "widgets/__init__.py",
)


def environment() -> dict[str, str]:
    """This process's variables without what makes Python look into the checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy of what git holds: the build leaves folders beside what it builds."""
    folder = tmp_path_factory.mktemp("wheel")
    files = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, files):
        if name.split("/")[0] in ("lens", "widgets") or "/" not in name:
            if (ROOT / name).is_file():
                (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, folder / "tree" / name)
    pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
    run(*pip, "--no-build-isolation", "--no-index", "--wheel-dir", folder, folder / "tree", cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The Python of a new environment that holds the wheel alone; what the wheel asks for is taken from this one, since
    it is gigabytes.
    """
    folder = tmp_path_factory.mktemp("environment") / "env"
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder.parent)
    python = folder / "bin" / "python"
    place = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip())
    # a folder that a .pth names is looked into, and the .pth files in it are not: an editable installation is not seen
    (place / "rest.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--no-index", "--ignore-installed", wheel, cwd=folder)
    return python


@pytest.mark.slow
def test_the_wheel_holds_what_it_needs_and_no_more(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    megabytes = wheel.stat().st_size / 1e6
    print(f"{wheel.name}: {megabytes:.1f} MB")
    assert megabytes <= LARGEST
    assert set(PARTS) <= set(names)
    # links of a clone to what ships are left out
    every = [path for package in ("lens", "widgets") for path in (ROOT / package).rglob("*") if path.is_file()]
    files = [path for path in every if not path.is_symlink()]
    # what the views' scripts and style sheets are built from stays behind
    sources = {path for path in (ROOT / "widgets").rglob("*.*s") if path.parent.name != "static"}
    ours = {path.relative_to(ROOT).as_posix() for path in {*files} - sources if "__pycache__" not in path.parts}
    assert {name for name in names if ".dist-info/" not in name} == ours


@pytest.mark.slow
def test_the_installed_doctor_runs_and_a_view_opens(installed, browser, page, tmp_path):
    where = "import lens, widgets, sys; print(lens.__version__, lens.__file__, widgets.__file__)"
    version, *places = run(installed, "-c", where, cwd=tmp_path).split()
    assert all(Path(place).is_relative_to(installed.parents[1]) for place in places)
    assert run(installed.with_name("lens"), "version", cwd=tmp_path).strip() == f"mnemoscope {version}"
    told = subprocess.run(
        [installed.with_name("lens"), "doctor"], env=environment(), cwd=tmp_path, capture_output=True, text=True
    )
    assert told.returncode in (0, 1) and "organism:canaries        yes" in told.stdout, told.stderr

    # Jupyter's own files lie beside the packages that the environment borrows
    shared = Path(sys.prefix) / "share" / "jupyter"
    lab = Lab(tmp_path, str(installed), PYTHONPATH="", JUPYTERLAB_DIR=str(shared / "lab"), JUPYTER_PATH=str(shared))
    try:
        cells = [
            f"import lens, widgets\nassert lens.__file__.startswith({str(installed.parents[1])!r}), lens.__file__",
            'model = lens.load("organism:canaries")\nwidgets.AttentionView(model, "one two three")',
        ]
        lab.open(page, lab.write("view.ipynb", cells))
        page.wait_for_selector("[data-testid=attention-view][data-ready=true]", timeout=READY)
    finally:
        lab.close()
