"""Tensors in memory as a dictionary, and the random one beside it."""

import torch

import lens

from .tiny import KINDS


def test_tensors_in_memory_are_the_dictionary_that_they_say():
    generator = torch.Generator().manual_seed(0)
    W_enc, W_dec = torch.randn(32, 24, generator=generator), torch.randn(24, 32, generator=generator)
    b_enc, b_dec = torch.randn(24, generator=generator), torch.randn(32, generator=generator)
    x = torch.randn(5, 32, generator=generator)
    sae = lens.features.from_weights(W_enc, b_enc, W_dec, b_dec, tap="mlp_in", layer=1, k=4)
    h = x @ W_enc + b_enc
    want = torch.where(h >= h.topk(4)[0][:, -1:], h, 0.0).clamp(min=0)
    torch.testing.assert_close(sae.values(x), want, rtol=0, atol=1e-5)
    assert sae.transcodes and str(sae.writes) == "mlp_out of layer 1"
    centred = lens.features.from_weights(W_enc, b_enc, W_dec, b_dec, tap="resid_post", layer=1, centred=True)
    torch.testing.assert_close(centred.values(x), ((x - b_dec) @ W_enc + b_enc).clamp(min=0), rtol=0, atol=1e-4)


def test_a_random_dictionary_has_the_shape_and_lengths_and_nothing_else():
    for kind in ("autoencoder", "top-k", "transcoder"):
        sae = KINDS[kind]()
        other, again = (lens.features.random_like(sae, seed=s) for s in (5, 6))
        for matrix in ("encoder", "decoder"):
            ours, theirs = getattr(sae, matrix), getattr(other, matrix)
            torch.testing.assert_close(theirs.norms, ours.norms)
            cosine = torch.cosine_similarity(ours.whole, theirs.whole)
            assert cosine.abs().mean() < 0.4 and not torch.equal(getattr(again, matrix).whole, theirs.whole)
        assert (other.reads, other.writes, other.rule.name) == (sae.reads, sae.writes, sae.rule.name)
        assert torch.equal(lens.features.random_like(sae, 5).decoder.whole, other.decoder.whole)
