"""What the server from which workers are forked imports once for all of them; see `tests.fuzz.running`."""

import gc
import os

# Read once, when torch and the hub client are imported.
os.environ.update(
    OMP_NUM_THREADS="1",
    OMP_WAIT_POLICY="PASSIVE",
    HF_HUB_OFFLINE="1",
    TQDM_DISABLE="1",
    TOKENIZERS_PARALLELISM="false",
)

from . import worker  # noqa: F401
from .subjects import common  # noqa: F401

# None of it is garbage, and workers share its pages as long as nobody writes to them.
gc.collect()
gc.freeze()
