"""Random dictionaries of the tests' tiny models, in memory, and what an edit of their features adds in float64."""

import torch

from lens.engine.features import Tap
from lens.features import Dictionary
from lens.features.activations import JumpReLU, Rule, TopK
from lens.features.weights import Matrix

N = 24


def dictionary(reads, writes=None, d_in=32, d_out=None, n=N, seed=0, rule=None, **more):
    generator = torch.Generator().manual_seed(seed)
    d_out = d_out or d_in

    def normal(*shape):
        return torch.randn(shape, generator=generator)

    return Dictionary(
        name="tiny",
        reads=reads,
        writes=writes or reads,
        encoder=Matrix.of(normal(n, d_in) / d_in**0.5),
        encoder_bias=normal(n) * 0.2 + 0.6,
        rule=rule or Rule(),
        decoder=Matrix.of(normal(n, d_out)),
        decoder_bias=normal(d_out),
        **more,
    )


def jumping(n=N, seed=5):
    return JumpReLU(torch.rand(n, generator=torch.Generator().manual_seed(seed)) * 0.5)


KINDS = {
    "autoencoder": lambda: dictionary(Tap("resid_post", 1)),
    "top-k": lambda: dictionary(Tap("mlp_out", 1), rule=TopK(6), centre=torch.full((32,), 0.1)),
    "heads": lambda: dictionary(Tap("z", 1), rule=jumping()),
    "one head": lambda: dictionary(Tap("z", 1, head=2), d_in=8),
    "scaled": lambda: dictionary(Tap("resid_pre", 1), normalisation="scale", scale_in=0.5, scale_out=0.5),
    "layer norm": lambda: dictionary(Tap("resid_pre", 1), normalisation="layer_norm"),
    "transcoder": lambda: dictionary(Tap("mlp_in", 1), Tap("mlp_out", 1), rule=jumping()),
    "without gain": lambda: dictionary(Tap("mlp_in", 1, gain=False), Tap("mlp_out", 1)),
}


def features(sae, x):
    """Features of one token in float64, by one formula a rule."""
    x = x.double().flatten()
    if sae.normalisation == "layer_norm":
        x = (x - x.mean()) / (x.std() + 1e-5)
    x = x * sae.scale_in
    x = x if sae.centre is None else x - sae.centre.double()
    h = sae.encoder.whole.double() @ x + sae.encoder_bias.double()
    if isinstance(sae.rule, TopK):
        return torch.where(h >= h.topk(sae.rule.k)[0][-1], h, 0.0).clamp(min=0)
    if isinstance(sae.rule, JumpReLU):
        return (h * (h > sae.rule.threshold.double())).clamp(min=0)
    return h.clamp(min=0)


def unit(sae, x):
    return float(x.double().std()) if sae.normalisation == "layer_norm" else 1 / sae.scale_out


def added(sae, x, index, target):
    """What moves features ``index`` of a token to ``target(f)``, [d_out] in float64."""
    f = features(sae, x)[list(index)]
    return unit(sae, x.flatten()) * ((target(f) - f) @ sae.decoder.whole.double()[list(index)])


def norm_of_mlp(hf, layer, x, gain):
    """What a Llama-like block's MLP reads, written out."""
    norm = hf.model.layers[layer].post_attention_layernorm
    x = x.double()
    x = x * (x.square().mean(-1, keepdim=True) + norm.variance_epsilon).rsqrt()
    return x * norm.weight.double() if gain else x
