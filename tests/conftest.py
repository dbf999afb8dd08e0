"""What every test shares: the environment, the fetched model, and tiny random models of each block type."""

import os

# Read once, when torch and the hub client are imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest  # noqa: E402
import torch  # noqa: E402

from tests import models as tiny_models  # noqa: E402
from tests.models import word_tokenizer  # noqa: E402

torch.set_num_threads(min(2, os.cpu_count() or 1))


@pytest.fixture(scope="session")
def tiny():
    """`tiny(kind, seed=0)`: a fresh plain Hugging Face model with random weights; see `tests.models.KINDS`."""
    return tiny_models.tiny


@pytest.fixture(scope="session")
def tiny_bridge():
    """`tiny_bridge(kind, seed=0)`: (bridge, plain Hugging Face model of the same weights); token i is the word `w<i>`."""
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
