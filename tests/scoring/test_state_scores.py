"""A store of scores belongs to the model as it is: what weights do not say counts, and a model that cannot be
identified is refused.
"""

import numpy as np
import pytest
import torch

from lens.scoring.causal import ScoringError
from lens.scoring.rows import score
from tests.models import tiny

ROWS = [np.arange(3, 15), np.arange(20, 29)]


def scored(model, store=None):
    return np.concatenate([score(model, ROWS, start=None, store=store, progress=False).logprob])


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m.model.norm, "variance_epsilon", 2.0),
        lambda m: m.model.rotary_emb.inv_freq.mul_(3),
        lambda m: setattr(m.model.layers[0].mlp, "act_fn", torch.nn.Tanh()),
        lambda m: m.model.layers[0].mlp.up_proj.weight.data[3:, 4].mul_(9),
    ],
    ids=["a norm's epsilon", "rotary frequencies", "another activation", "weights through .data"],
)
def test_scores_of_the_model_as_it_was_do_not_come_back(change, tmp_path):
    model = tiny()
    before = scored(model, tmp_path)
    assert np.array_equal(scored(model, tmp_path), before)
    change(model)
    want = scored(model)
    assert np.abs(want - before).max() > 1e-3
    assert np.allclose(scored(model, tmp_path), want, atol=1e-5)


def test_a_model_that_cannot_be_identified_is_refused_for_a_store(tmp_path):
    model, log = tiny(), open(tmp_path / "log", "w")
    plain_forward = model.model.layers[0].mlp.forward
    model.model.layers[0].mlp.forward = lambda x: (log.write("."), plain_forward(x))[1]
    assert np.isfinite(scored(model)).all()
    with log, pytest.raises(ScoringError, match="cannot be identified"):
        scored(model, tmp_path / "scores")
