"""One call from two sets of text to a mask: every method of this family by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from ..arguments import Count, FilePath, HFModel, Portion, Seed, TokenRows, door
from ..engine.linear import Linear
from ..engine.sessions import of_one_model
from . import attribution, baselines, learned, scores
from .activations import statistics
from .data import fitting, module_to_run, output_layers, refuse_overlap, tokens_of
from .errors import SubspaceError
from .masks import Mask
from .scores import Scores

#: Methods by what they look at; those of neurons score the inputs of the feed-forward blocks' second layers.
OF_STATISTICS = ("contrast", "corrected", "wanda", "activation")
OF_NEURONS = ("activation", "integrated_gradients", "zero_out", "slimming", "hard_concrete")
OF_WEIGHTS = ("subnet", "balanced_subnet")
WITHOUT_DATA = ("magnitude", "random")
Method = Literal[
    "contrast",
    "corrected",
    "wanda",
    "magnitude",
    "activation",
    "integrated_gradients",
    "zero_out",
    "slimming",
    "hard_concrete",
    "subnet",
    "balanced_subnet",
    "random",
]
METHODS: tuple[str, ...] = get_args(Method)
#: Methods that compare with the reference.
CONTRASTS = ("contrast", "corrected", "balanced_subnet")


@door(SubspaceError)
@of_one_model(reads=False)
def score(
    model: HFModel,
    memorised: TokenRows,
    reference: TokenRows | None = None,
    *,
    method: Method = "contrast",
    layers: str | Sequence[str] | Mapping[str, Linear] = "mlp",
    prefix: Count | None = None,
    batch: Count = 16,
    part: Literal["all", "prefix", "suffix"] = "all",
    folder: FilePath | None = None,
    seed: Seed = 0,
    overlap: Count | None = None,
    progress: bool | None = None,
    **options: Any,
) -> Scores:
    """Scores of weights or neurons by any method of `METHODS`; `Scores.mask(sparsity)` then costs no run of the model.

    Args:
        memorised, reference: token sets (a tensor, rows of ids, an object with `ids`); the methods without a contrast
            take no note of the reference.
        layers: patterns; for the methods of neurons "mlp" stands for the second layers of the feed-forward blocks.
        part: which tokens the statistics count, see `statistics`. folder: keeps the statistics, resumably. seed: of the
            methods that draw.
        overlap: run of equal tokens from which two rows overlap, see `refuse_overlap`. options: of the method.

    Raises: SubspaceError: an unknown method, sets that overlap (they are listed), a contrast without a reference.
    """
    if reference is None and method in CONTRASTS:
        raise SubspaceError(
            f"method={method!r} compares with reference text; give reference, or take one of"
            f" {', '.join(m for m in METHODS if m not in CONTRASTS)}."
        )
    mem = tokens_of(memorised, "memorised", prefix)
    ref = tokens_of(reference, "reference", prefix) if reference is not None else None
    core = module_to_run(model)
    fitting(core, mem, "memorised")
    if ref is not None:
        fitting(core, ref, "reference")
        refuse_overlap(mem, ref, run=overlap)
    if method in WITHOUT_DATA:
        return (
            scores.magnitude(model, layers, **options)
            if method == "magnitude"
            else scores.random(model, layers, seed=seed, **options)
        )
    if method in OF_STATISTICS:
        targets = output_layers(model, layers) if method in OF_NEURONS else layers

        def count(some):
            return statistics(
                model, targets, some, folder, batch=batch, part=part, absolute=method == "activation", progress=progress
            )

        stats = count(mem)
        return (
            getattr(scores, method)(model, stats, **options)
            if method not in CONTRASTS
            else getattr(scores, method)(model, stats, count(ref), **options)
        )
    options["progress"] = progress
    if method in OF_WEIGHTS:
        return baselines.subnet(
            model, mem, ref if method in CONTRASTS else None, layers, batch=batch, seed=seed, **options
        )
    if method in ("slimming", "hard_concrete"):
        return getattr(learned, method)(model, mem, layers, batch=batch, seed=seed, **options)
    return getattr(attribution, method)(model, mem, layers, **options)


@door(SubspaceError)
@of_one_model(reads=False)
def locate(
    model: HFModel,
    memorised: TokenRows,
    reference: TokenRows | None = None,
    *,
    method: Method = "contrast",
    sparsity: Portion = 0.01,
    per: Literal["row", "layer", "model"] | None = None,
    **options: Any,
) -> Mask:
    """The weights that hold the memorised text, by one method: the share `sparsity` of the largest scores.

    Args:
        sparsity: share of each row's weights (contrast, corrected, wanda, random), of each layer's (magnitude, subnet),
            or of all neurons; `per` says otherwise.
        options: see `score`.

    Returns: a mask, smaller than asked for where fewer weights pass the contrast, and empty where none does: the two
        sets then look the same.

    Raises: SubspaceError: see `score` and `Scores.mask`.

    >>> mask = lens.subspace.locate(model, memorised, reference, sparsity=0.01)  # doctest: +SKIP
    >>> with lens.edited(model, mask): ...  # doctest: +SKIP
    """
    if method in OF_WEIGHTS:
        options.setdefault("ratio", sparsity)
    return score(model, memorised, reference, method=method, **options).mask(sparsity, per=per)
