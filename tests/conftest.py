"""What every test shares: the environment, the fetched model, and tiny random models of each block type."""

import gc
import os

# Read once, when torch and the hub client are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest
import torch

from tests import models as tiny_models
from tests.models import word_tokenizer

# One where several workers share the cores: more would only wait for each other.
torch.set_num_threads(min(int(os.environ["OMP_NUM_THREADS"].split(",")[0]), os.cpu_count() or 1))
# What test files import is never garbage, nor are thousands of tests: looking for some takes two fifths of collecting.
gc.disable()


#: Files whose few tests take minutes: begun first, so that no worker is left alone with one at the end.
LONG = (
    "test_notebook",
    "test_docs",
    "test_on_ray",
    "test_wheel",
    "test_new",
    "test_training",
    "test_reproduce_curvature",
    "test_reproduce_forgetting",
    "test_diffusion_bench",
    "test_subspace_bench",
    "test_docs_examples",
    "test_blocks",
    "test_readme",
    "test_reproduce_palimpsest",
    "test_reproduce_vectors",
    "test_calibration_palimpsest",
    "test_sequence",
    "test_reproduce",
    "test_provenance_bench",
    "test_benchmarks",
    "test_fuzz",
    "test_extras",
    "test_relearning",
    "test_utility",
    "test_vectors_benchmark",
    "test_house",
    "test_lab",
)


def pytest_ignore_collect(collection_path, config):
    """A file is not imported, which takes seconds, where no test of it can have the marks asked for by `-m a and b`."""
    asked = config.option.markexpr.split(" and ")
    if collection_path.suffix != ".py" or not collection_path.name.startswith("test_"):
        return None
    in_browser = collection_path.parent.name == "browser"
    if ("browser" in asked and not in_browser) or ("not browser" in asked and in_browser):
        return True
    # the mark is written in the file
    return True if "slow" in asked and "slow" not in collection_path.read_text(encoding="utf-8") else None


def pytest_collection_modifyitems(items):
    """Two workers must collect the same names: one that holds an address, such as an object's repr, ends the whole
    run.
    """
    items.sort(key=lambda item: LONG.index(item.path.stem) if item.path.stem in LONG else len(LONG))
    other = [item.nodeid for item in items if " at 0x" in item.nodeid]
    if other:
        raise pytest.UsageError(f"names of tests that differ from process to process; give ids=: {other[:3]}")


def pytest_collection_finish():
    """From here on garbage is looked for, in what comes after the imports, and seldom: tests leave little."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(30_000, 10, 10)
    gc.enable()


@pytest.fixture
def benchmark_command(monkeypatch, capsys):
    """`benchmark_command(*words)`: `python -m benchmarks ...` in this process; its exit code, and what it printed."""
    from benchmarks.__main__ import main

    threads = torch.get_num_threads()
    monkeypatch.setattr(os, "environ", os.environ.copy())

    def run(*words: str):
        monkeypatch.setattr("sys.argv", ["benchmarks", *words])
        capsys.readouterr()
        return main(), capsys.readouterr()

    yield run
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tiny():
    """`tiny(kind, seed=0)`: a fresh plain Hugging Face model with random weights; see `tests.models.KINDS`."""
    return tiny_models.tiny


@pytest.fixture(scope="session")
def tiny_bridge():
    """`tiny_bridge(kind, seed=0)`: (bridge, plain Hugging Face model of the same weights); token i is the word
    `w<i>`.
    """
    from lens import models

    def make(kind: str, seed: int = 0):
        return models.wrap(tiny_models.tiny(kind, seed), word_tokenizer(), f"tiny-{kind}"), tiny_models.tiny(kind, seed)

    return make


@pytest.fixture(scope="session")
def smollm2():
    """The fetched default model; fetched now if it is not there. Tests share it and leave it as they found it."""
    from lens import models

    models.fetch("smollm2")
    return models.load("smollm2")


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """What a process that starts Jupyter kernels needs in its environment, so that they begin with torch loaded."""
    from tests.kernels import Forks

    forks = Forks(tmp_path_factory.mktemp("kernels"))
    yield forks.environment
    forks.close()


@pytest.fixture
def saved(tmp_path):
    """A tiny Llama with its tokenizer, saved as a Hugging Face folder."""
    folder = tmp_path / "checkpoint"
    tiny_models.tiny("llama").save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def as_fetched(tmp_path, monkeypatch, saved):
    """That folder in a cache of its own, as if `lens fetch smollm2` had written it."""
    from lens import cache

    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))
    folder = cache.folder_of("smollm2")
    folder.parent.mkdir(parents=True)
    saved.rename(folder)
    cache._write_manifest(folder, "smollm2", cache.SOURCES["smollm2"], "0" * 64)
    return folder
