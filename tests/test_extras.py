"""What the base brings is enough for language models; what it leaves out is named, with the extra that brings it."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import numpy as np
import pytest
import torch

import lens
from lens.extras import EXTRAS, ExtraError, absent, require
from lens.organisms import cards
from lens.organisms.cards import images as cards_images
from lens.scoring import rows as scoring

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

#: A program in whose interpreter the modules `hidden` are found nowhere, as where they are not installed.
HIDING = """
import importlib.machinery as machinery
find = machinery.PathFinder.find_spec
def without(name, path=None, target=None):
    return None if name.partition(".")[0] in {hidden} else find(name, path, target)
machinery.PathFinder.find_spec = staticmethod(without)
"""


def run_without(hidden, code: str) -> subprocess.CompletedProcess:
    program = HIDING.format(hidden=set(hidden)) + code
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, timeout=300)


def modules_of_extras() -> set[str]:
    """Every module that only extras bring, those for tests and benchmarks too."""

    def named(lines):
        return {re.match(r"[\w.-]+", line)[0].lower() for line in lines}

    base = named(PROJECT["dependencies"])
    extra = named(line for lines in PROJECT["optional-dependencies"].values() for line in lines) - {PROJECT["name"]}
    owners = {
        name: {owner.lower().replace("_", "-") for owner in found} for name, found in packages_distributions().items()
    }
    # matplotlib, which the base has, brings pillow itself, and transformer-lens datasets and wandb; what it needs of
    # packaging transformers does, and of httpx2 huggingface-hub
    brought = {"PIL", "packaging", "yaml", "datasets", "httpx2", "wandb"}
    return {name for name, found in owners.items() if found <= extra - base} - brought


def test_what_the_extras_bring_is_what_pyproject_says():
    owners = packages_distributions()
    for extra, modules in EXTRAS.items():
        named = {re.match(r"[\w.-]+", line)[0].lower() for line in PROJECT["optional-dependencies"][extra]}
        for module in modules:
            there = {owner.lower().replace("_", "-") for owner in owners[module.partition(".")[0]]}
            assert there & named, (extra, module)


def test_an_absent_extra_is_an_error_that_names_it(monkeypatch):
    assert absent("diffusion") == []
    require("diffusion", "lens.diffusion.load")
    monkeypatch.setitem(sys.modules, "diffusers", None)
    assert absent("diffusion") == ["diffusers"]
    with pytest.raises(ExtraError, match="lens.diffusion.load needs diffusers, which is not installed") as refused:
        lens.diffusion.load("organism:cards")
    assert "pip install 'mnemoscope[diffusion]'" in str(refused.value)
    assert isinstance(refused.value, lens.Error) and isinstance(refused.value, ImportError)


def test_each_package_of_quantised_weights_is_absent_by_itself(monkeypatch):
    assert absent("quantized") == []
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    assert absent("quantized") == ["bitsandbytes"]
    require("quantized", "quantization='torchao_int8'", "torchao")
    with pytest.raises(ExtraError, match=r"^quantization='nf4' needs bitsandbytes, .*mnemoscope\[quantized\]"):
        require("quantized", "quantization='nf4'", "bitsandbytes")


def test_a_submodule_of_an_absent_package_is_absent():
    said = run_without({"optimum"}, "from lens.extras import absent; print(*absent('quantized'))")
    assert said.stdout.split() == ["optimum.quanto"], said.stderr[-2000:]


@pytest.mark.parametrize(
    ("module", "what", "call"),
    [
        ("skimage", "lens.diffusion.ssim", lambda d, c: d.ssim(c, c)),
        ("sklearn", "lens.diffusion.normalised_distance", lambda d, c: d.normalised_distance(c, c, c)),
        ("sklearn", "lens.diffusion.precision_recall", lambda d, c: d.precision_recall(c, c)),
        ("sklearn", "the organism cards", lambda d, c: cards_images.digits()),
        ("diffusers", "the organism cards", lambda d, c: cards.scheduler()),
    ],
)
def test_each_part_of_the_diffusion_extra_is_named_where_it_is_used(module, what, call, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ExtraError, match=rf"^{what} needs {module}, .*\[diffusion\]"):
        call(lens.diffusion, torch.zeros(2, 3, 16, 16))


def test_widgets_without_the_notebook_extra_name_it():
    said = run_without({"anywidget", "ipywidgets"}, "import widgets")
    assert said.returncode == 1
    assert "widgets needs anywidget, ipywidgets, which are not installed: the extra [notebook]" in said.stderr
    assert "pip install 'mnemoscope[notebook]'" in said.stderr


def test_ray_is_named_where_it_is_absent(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    model = lens.load("organism:palimpsest")
    with pytest.raises(lens.Error, match=r"pip install 'mnemoscope\[ray\]'"):
        scoring.score(model, [np.arange(4)], backend="ray", progress=False)


FAMILIES = """
import importlib, pathlib
for path in sorted(pathlib.Path("lens").rglob("*.py")):
    name = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    if not name.endswith("__main__"): importlib.import_module(name)
import lens
model = lens.load("organism:induction")
a, b = (model.tokenizer.decode([i]) for i in (5, 6))
pair = lens.Pair(f"{a} {b} {a}", corrupted=f"{b} {a} {a}", answer=f" {b}", foil=f" {a}")
trace = lens.patch(model, pair, "resid_pre")
lens.figures.patch_map(trace)
order = lens.provenance.from_organism("palimpsest")
asked = lens.provenance.query("organism:palimpsest-tuned", order, rows=50)
print(trace.effect.size, asked.n)
"""


def test_the_base_alone_imports_every_module_and_runs_on_language_models():
    hidden = modules_of_extras()
    assert {"diffusers", "sklearn", "skimage", "anywidget", "ipywidgets", "IPython", "ray", "nbformat"} <= hidden
    said = run_without(hidden, FAMILIES)
    assert said.returncode == 0, said.stderr[-2000:]
    cells, rows = map(int, said.stdout.split()[-2:])
    assert cells > 0 and rows == 50


def test_the_doctor_says_which_extras_are_there():
    from lens.doctor import doctor

    lines = "\n".join(doctor().sections["extras"])
    assert all(f"{extra:24} installed" in lines for extra in EXTRAS)
    said = run_without({"ray", "sklearn"}, "from lens.doctor import _extras; print(*_extras(), sep='\\n')")
    assert "sklearn missing: pip install 'mnemoscope[diffusion]'" in said.stdout
    assert "ray missing: pip install 'mnemoscope[ray]'" in said.stdout


@pytest.mark.long
def test_a_float_model_loads_without_the_packages_of_quantised_weights():
    """Torchao aside, which transformers itself imports where it is installed."""
    code = "import lens; lens.load('organism:induction'); import sys; print(*sys.modules)"
    said = run_without((), code)
    assert not {"bitsandbytes", "optimum.quanto", "compressed_tensors"} & set(said.stdout.split()), said.stderr[-2000:]
    first = run_without((), "import lens; import lens.models.quantised_layers; import sys; print(*sys.modules)")
    assert "torch" in first.stdout.split() and not {
        "torchao",
        "bitsandbytes",
        "optimum.quanto",
        "compressed_tensors",
    } & set(first.stdout.split())
