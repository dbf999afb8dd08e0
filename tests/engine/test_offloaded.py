"""Models whose weights accelerate keeps on disk: equal to the bit to the same model in memory."""

import numpy as np
import pytest
import torch

import lens
from lens.engine.model import Model
from lens.models.hash import weight_hash
from lens.prompts import Pair
from tests.placed import pair_of

PAIR = Pair("w3 w5 w7 w11 w13 w2", "w3 w5 w8 w11 w13 w2", " w9", " w4")


@pytest.mark.parametrize("kind", ["llama", "gpt2", "qwen3", "gpt_neox"])
def test_every_site_is_patched_as_in_memory(kind, tmp_path):
    model, offloaded = pair_of(kind, tmp_path)
    assert Model.of(offloaded).walked is not None
    sites = [
        s for s in ("resid_pre", "resid_mid", "attn_out", "z", "k", "v", "mlp_out", "pattern") if Model.of(model).has(s)
    ]
    for site in sites:
        over = ("layer", "head") if site in ("z", "k", "v", "pattern") else ("layer", "position")
        ours, want = (lens.patch(m, PAIR, site, over, progress=False) for m in (offloaded, model))
        np.testing.assert_array_equal(ours.value, want.value, err_msg=site)
        assert float(np.abs(want.effect).max()) > 1e-3


def test_the_hash_is_that_of_the_weights_and_stays_after_a_forward(tmp_path):
    model, offloaded = pair_of("llama", tmp_path)
    assert weight_hash(offloaded) == weight_hash(model)
    ids = torch.arange(6)[None]
    assert torch.equal(offloaded(ids).logits, model(ids).logits)
    assert weight_hash(offloaded) == weight_hash(offloaded, anew=True) == weight_hash(model)
