"""Dictionaries from tensors in memory, and random ones to compare with."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from torch import Tensor

from ..arguments import Fitting, Name, Numbers, Seed, Size, door
from ..engine.features import Tap
from .activations import JumpReLU, Rule, TopK, checked_k
from .dictionary import Dictionary
from .errors import FeatureError
from .weights import Matrix


class _IsDictionary(Fitting):
    """A dictionary that one site can have."""

    expected = "a dictionary, such as lens.features.load gives"

    def fits(self, value: Any) -> bool:
        """Whether it is one."""
        return isinstance(value, Dictionary)


#: A dictionary as an argument.
AnyDictionary = Annotated[Any, _IsDictionary()]


@door(FeatureError)
def from_weights(
    W_enc: Annotated[Any, Numbers(2)],
    b_enc: Annotated[Any, Numbers(1)],
    W_dec: Annotated[Any, Numbers(2)],
    b_dec: Annotated[Any, Numbers(1)],
    *,
    tap: str,
    layer: Size,
    threshold: Annotated[Any, Numbers(1)] | None = None,
    k: int | None = None,
    centred: bool = False,
    name: Name = "dictionary",
) -> Dictionary:
    """A dictionary from tensors: an autoencoder of one site, or of ``mlp_in`` a transcoder to ``mlp_out``.

    Args:
        W_enc: ``[d_in, n_features]``. b_enc: ``[n_features]``. W_dec: ``[n_features, d_out]``. b_dec: ``[d_out]``.
        tap: a site's name, or ``mlp_in``. layer: 0-based.
        threshold: of a JumpReLU, ``[n_features]``. k: of a top-k. Neither: ReLU.
        centred: whether ``b_dec`` is taken from the input before it is encoded.
        name: what errors and records call it.

    Raises:
        FeatureError: tensors that do not fit each other; threshold and k at once; k beyond the features; numbers that
            are not finite.
    """
    weights = [torch.as_tensor(x).float() for x in (W_enc, b_enc, W_dec, b_dec)]
    for given, of in zip(weights, ("W_enc", "b_enc", "W_dec", "b_dec")):
        if not bool(torch.isfinite(given).all()):
            raise FeatureError(f"{of} holds NaN or infinity; check where it was computed.")
    encoder, bias, decoder, centre = weights
    if threshold is not None and k is not None:
        raise FeatureError(f"k={k} and threshold are two rules of which features are active; give one of them.")
    n, rule = encoder.shape[1], Rule()
    if k is not None:
        rule = TopK(checked_k(k, n, name))
    if threshold is not None:
        limits = torch.as_tensor(threshold).float()
        if limits.shape != (n,) or not bool(torch.isfinite(limits).all()):
            raise FeatureError(
                f"threshold is {tuple(limits.shape)}; expected one finite number for each of {n} features."
            )
        rule = JumpReLU(limits)
    if centred and centre.shape != encoder.shape[:1]:
        raise FeatureError(f"centred=True: b_dec is {tuple(centre.shape)} and the input {encoder.shape[0]} wide.")
    reads = Tap(tap, int(layer))
    return Dictionary(
        name=name,
        reads=reads,
        writes=Tap("mlp_out", int(layer)) if tap == "mlp_in" else reads,
        encoder=Matrix.of(encoder.T, "W_enc"),
        encoder_bias=bias,
        rule=rule,
        decoder=Matrix.of(decoder, "W_dec"),
        decoder_bias=centre,
        centre=centre if centred else None,
    )


@door(FeatureError)
def random_like(sae: AnyDictionary, seed: Seed = 0) -> Dictionary:
    """A random dictionary of equal shape: directions drawn at random, each as long as the one in its place, read by
    themselves; biases, rule and normalisation stay.

    A dictionary explains something by its rule and its size alone; what it explains beyond this one it has learned.

    Args:
        sae: the dictionary whose control it is.

    Raises:
        FeatureError: weights that hold NaN.
    """
    generator = torch.Generator().manual_seed(int(seed))

    def lengths(matrix: Matrix) -> Tensor:
        return matrix.norms[:, None]

    def drawn(rows: int, width: int) -> Tensor:
        directions = torch.randn(rows, width, generator=generator)
        return directions / directions.norm(dim=1, keepdim=True)

    written = drawn(sae.n_features, sae.d_out)
    read = written if not sae.transcodes and sae.d_in == sae.d_out else drawn(sae.n_features, sae.d_in)
    decoder = Matrix.of(written * lengths(sae.decoder), "W_dec")
    rule = sae.rule
    if getattr(rule, "norms", None) is not None:
        rule = replace(rule, norms=lambda: decoder.norms)
    return replace(
        sae,
        name=f"random like {sae.name}",
        encoder=Matrix.of(read * lengths(sae.encoder), "W_enc"),
        decoder=decoder,
        rule=rule,
        source="random",
    )
