"""A served model as the tests ask it, and what its scores are compared with."""

import json

import numpy as np
import torch

from lens.scoring import Served
from lens.scoring.store import Store
from tests.server import FakeClock, tokenizer


def served(server, **options):
    """A served model of one request at a time, whose waits are noted and not waited for."""
    one = Served(server.url, **{"tokenizer": tokenizer(), "concurrency": 1, "retries": 3, "timeout": 30} | options)
    one.pace.clock = FakeClock()
    return one


def naive(model, row, start=0):
    """Log-probabilities of a row's tokens after a start token, by one plain forward."""
    if not len(row):
        return np.empty(0)
    ids = torch.as_tensor([start, *map(int, row)])
    with torch.inference_mode():
        logprob = torch.log_softmax(model(ids[None, :-1]).logits[0].double(), -1)
    return logprob.gather(1, ids[1:, None])[:, 0].numpy()


def stored(folder):
    """How many rows a store of scores holds, whatever their model."""
    return sum(len(Store(folder, json.loads(path.read_text())).rows()) for path in folder.glob("*/options.json"))
