"""What speaks against a question of DiffusionBench before anything is drawn."""

from __future__ import annotations

from collections.abc import Mapping

from lens.diffusion import DiffusionError
from widgets.diffusion_bench.captions import Captions
from widgets.diffusion_bench.question import Question
from widgets.errors import ViewError


def checked(
    q: Question,
    attack: tuple[int, str] | None,
    memorised: Mapping[str, Captions],
    references: Mapping[str, Captions],
    steps: int,
) -> Captions:
    """The captions that are asked about. Raises ViewError, DiffusionError for sets that share captions."""
    of = memorised.get(q.memorised)
    if of is None or (q.reference not in references and q.method != "wanda"):
        raise ViewError(
            f"memorised={q.memorised!r}, reference={q.reference!r}: one is not there; with no reference take the"
            " method wanda"
        )
    if not q.chosen or q.chosen[0] < 0 or q.chosen[-1] >= len(of):
        raise ViewError(
            f"chosen={list(q.chosen)[:8]}: tick at least one of the {len(of)} captions for the mask to be located on"
        )
    if not 0 < q.sparsity < 1 or not 1 <= q.first <= steps:
        raise ViewError(
            f"sparsity={q.sparsity!r}, first={q.first!r}; expected a share above 0 and below 1, and 1 to {steps} steps"
        )
    if refused := overlap(q.memorised, q.reference, memorised, references):
        raise DiffusionError(refused)
    if attack is not None and (of.images is None or not 1 <= attack[0] <= 10_000):
        raise ViewError(
            "attack: it needs the training pictures, "
            + ("and these captions came without" if of.images is None else f"and 1 to 10000 updates, not {attack[0]}")
        )
    return of


def overlap(name: str, other: str, memorised: Mapping[str, Captions], references: Mapping[str, Captions]) -> str:
    """Why these sets cannot be compared, or ""."""
    ref = references.get(other)
    shared = sorted(set(memorised[name].captions) & set(ref.captions)) if name in memorised and ref is not None else []
    return (
        f"memorised and reference share {len(shared)} caption{'' if len(shared) == 1 else 's'}:"
        f" {', '.join(map(repr, shared[:4]))}. A set cannot be its own control: take what is shared out of one."
        if shared
        else ""
    )
