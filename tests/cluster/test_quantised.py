"""A quantised model is the same one in a worker: codes, scales and formats travel, by each library's own classes."""

import pytest
import torch

pytest.importorskip("ray", reason="ray is an optional extra: pip install 'mnemoscope[ray]'")

from lens.cluster.transfer import packed_model, unpacked_model
from lens.models import weight_hash
from tests.quantised.making import CLEAN, METHODS, quantised, quiet


@pytest.mark.parametrize("used", [True, False])
@pytest.mark.parametrize("method", METHODS)
def test_a_quantised_model_arrives_as_it_was_sent(method, used):
    with quiet():
        model = quantised(method)
        if used:
            model(CLEAN[None])
        content, weights = packed_model(model)
        arrived = unpacked_model(content, [value.detach().clone() for value in weights])
        assert weight_hash(arrived) == weight_hash(model)
        assert [type(value) for value in arrived.parameters()] == [type(value) for value in model.parameters()]
        assert torch.equal(arrived(CLEAN[None]).logits, model(CLEAN[None]).logits)
        assert weight_hash(arrived) == weight_hash(model)
