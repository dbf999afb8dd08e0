"""Is it gone? Other ways to ask for a memory: prefixes that are stretched, shifted, worn or paraphrased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from ..arguments import Count, HFModel, Portion, Seed, TokenRows, door
from ..engine.sessions import of_one_model
from .errors import MemorizationError, stamp, table
from .extraction import judge
from .reading import Reader
from .sequences import Sequences

MEASURES = ("strict", "loose", "lev", "exact_prefix")


@door(MemorizationError)
def variants(
    sequences: Sequences,
    *,
    shifts: Sequence[int] | None = None,
    left: TokenRows | None = None,
    noise: Sequence[Portion] = (0.1,),
    seed: Seed = 0,
) -> dict[str, tuple[list[np.ndarray], int]]:
    """Other prefixes for each sequence: name -> (prompts, tokens of the suffix that the prompt gives away).

    "original"; for each shift t: "longer +t" (the prefix and t tokens of the suffix), "shift +t" (the same without its
    first t tokens), "shorter -t" (the prefix without its first t tokens) and "left +t" (t tokens before the prefix: the
    last ones of `left` [n, >= t] where given, else random ones that occur in the set); "noise p": a share p of the
    prefix's tokens, at least one, replaced by random ones.

    Args:
        shifts: default 1, 2, 4 ... up to a quarter of the suffix and half of the prefix.
    """
    n, size = len(sequences), sequences.prefix
    most = min(sequences.suffix // 4, size // 2)
    shifts = [t for t in (1, 2, 4, 8, 16, 20) if t <= most] if shifts is None else [int(t) for t in shifts]
    if bad := [t for t in shifts if not 1 <= t < min(sequences.suffix, size)]:
        raise MemorizationError(
            f"shifts has {bad[0]}; expected whole numbers from 1 to {min(sequences.suffix, size) - 1}, below the"
            " prefix's and the suffix's lengths."
        )
    before = None if left is None else table(left, "left")
    if before is not None and (before.ndim != 2 or len(before) != n or before.shape[1] < max(shifts, default=0)):
        raise MemorizationError(
            f"left has shape {before.shape}; expected the tokens before each sequence, [{n}, at least"
            f" {max(shifts, default=0)}]."
        )
    rng, pool, ids = np.random.default_rng(seed), np.unique(sequences.ids), sequences.ids
    out: dict[str, tuple[list[np.ndarray], int]] = {"original": (list(sequences.prefixes), 0)}
    for t in shifts:
        lead = rng.choice(pool, (n, t)) if before is None else before[:, -t:]
        out |= {
            f"longer +{t}": (list(ids[:, : size + t]), t),
            f"shift +{t}": (list(ids[:, t : size + t]), t),
            f"shorter -{t}": (list(ids[:, t:size]), 0),
            f"left +{t}": (list(np.concatenate([lead, sequences.prefixes], 1)), 0),
        }
    for share in noise:
        worn = sequences.prefixes.copy()
        for row in worn:
            row[rng.choice(size, max(1, round(share * size)), replace=False)] = rng.choice(
                pool, max(1, round(share * size))
            )
        out[f"noise {100 * share:g}%"] = (list(worn), 0)
    return out


@door(MemorizationError)
@of_one_model(reads=False)
def stretch(
    model: HFModel,
    sequences: Sequences,
    *,
    paraphrases: Mapping[str, Sequence[Sequence[int]]] | None = None,
    shifts: Sequence[int] | None = None,
    left: TokenRows | None = None,
    noise: Sequence[Portion] = (0.1,),
    seed: Seed = 0,
    batch: Count = 64,
    progress: bool | None = None,
) -> xr.Dataset:
    """Ask for each suffix with every variant of its prefix (see `variants`) and with paraphrased prefixes, and keep the
    best recitation.

    The best of many variants is better than one by chance alone: compare with the same call on a model, or on
        sequences, that had nothing to forget.

    Args:
        paraphrases: name -> one prompt (token ids, any length) a sequence. Replacing tokens at random ("noise") is a
            poor man's paraphrase, for when there is none.

    Returns: over `variant, sequence`: `strict`, `loose`, `lev`, `exact_prefix`, each of what is left of the suffix, and
        `left` (how many tokens that is; over `variant`); over `sequence`: `strict_any`, `loose_any` (under any
        variant), `longest` (the largest exact_prefix), `lev_least`.

    Raises: MemorizationError: shifts, noise, left or paraphrases that do not fit.

    Source: Huang et al. 2024, Demystifying Verbatim Memorization in Large Language Models (position stress); Merullo et
        al. 2025, appendix (longest match, largest over variants).
    """
    prefixes = variants(sequences, shifts=shifts, left=left, noise=noise, seed=seed)
    for name, prompts in (paraphrases or {}).items():
        if len(prompts) != len(sequences) or min(map(len, prompts)) < 1:
            raise MemorizationError(
                f"paraphrases[{name!r}] has {len(prompts)} prompts; expected one of at least one token for each of"
                f" {len(sequences)} sequences."
            )
        prefixes[str(name)] = ([np.asarray(p, np.int64) for p in prompts], 0)
    reader, lines = Reader(model), []
    for name in paraphrases or {}:
        reader.check(prefixes[str(name)][0], f"paraphrases[{name!r}]")
    if left is not None:
        reader.check(list(table(left, "left")), "left")
    # variants that ask for equally much are recited together
    for length in sorted({g for _, g in prefixes.values()}):
        names = [n for n, (_, g) in prefixes.items() if g == length]
        gold = np.concatenate([sequences.suffixes[:, length:]] * len(names))
        values = judge(
            gold, *reader.recite([p for n in names for p in prefixes[n][0]], gold, batch=batch, progress=progress)
        )
        for k, name in enumerate(names):
            at = slice(k * len(sequences), (k + 1) * len(sequences))
            lines.append((name, sequences.suffix - length, {m: values[m][at] for m in MEASURES}))
    lines.sort(key=lambda line: list(prefixes).index(line[0]))
    values = {m: np.stack([line[2][m] for line in lines]) for m in MEASURES}
    ds = xr.Dataset(
        {
            **{m: (("variant", "sequence"), v) for m, v in values.items()},
            "left": ("variant", [line[1] for line in lines]),
            "strict_any": ("sequence", values["strict"].any(0)),
            "loose_any": ("sequence", values["loose"].any(0)),
            "longest": ("sequence", values["exact_prefix"].max(0)),
            "lev_least": ("sequence", values["lev"].min(0)),
        },
        {"variant": [line[0] for line in lines], "sequence": np.arange(len(sequences)), **sequences.coords()},
    )
    call = {"sequences": sequences.about(), "variants": list(prefixes), "paraphrases": list(paraphrases or {})}
    return stamp(ds, model, reader.model, "prefix attacks", call, seed)
