"""Where the bridge entity is read: single-hop against multi-hop prompts, head by head, and whether that tells where injection works."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Callable

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float
from scipy import special, stats
from torch import Tensor
from tqdm.auto import tqdm

from ..engine import results
from ..engine.decoder import Decoder
from ..engine.edits import Edit
from ..engine.metrics import METRICS, sequence_logprob
from ..engine.record import record_of
from ..engine.runs import Runs
from ..engine.sites import Site
from ..engine.sweeps import Cell, hidden, run_bytes, sweep
from ..measure import statistics
from ..measure.reading import count, kv_heads, norm_scale, selected, through_norm
from ..measure.readout import before_post_norm
from ..tokens import PromptError, require_known, tokenize, tokenizer_of
from .items import EncodedItem, InjectionError, Item, as_items, encode_items
from .scoring import described, item_coords

#: The two prompts of an item, in the order of the axis ``prompt``.
PROMPTS = ("single", "multi")
#: What ``from_explicit`` copies, and whether it has a head axis.
PATCHED = {"attn_out": False, "z": True, "mlp_out": False, "resid_pre": False, "resid_post": False}


# -- head read-outs ---------------------------------------------------------------------------------------------------

def bridge_reading(model: Any, items: Any, *, layers: Any = None, start: Any = "auto", k: int = 10, full: bool = True, seed: int = 0, memory_mb: float = 500,
                   progress: bool | None = None) -> xr.Dataset:
    """How strongly every head writes the bridge entity at the last token, of the explicit (single-hop) and of the multi-hop prompt.

    A head's output ``z W_O`` goes through the final norm's weight, frozen at the scale that the whole residual stream has in that run, and ``W_U``:
    the logits that this head adds there. The biases that all heads share (attention output, final norm, unembedding) are left out. A
    post-norm (OLMo 2) is frozen at the scale of the whole attention output.

    Args:
        items: items, or the name of a data set.
        layers: which; None for all.
        start: the start token of both prompts; see `encode_items`.
        k: a head that has a token of the entity among its ``k`` first ones reads it (``hit``).
        full: False leaves out ``rank``, ``hit`` and ``kl``, which take the whole vocabulary and nearly all the time.
        seed: which other item's entity is the control; see ``partners``.
        memory_mb: extra memory to stay under; one item's runs and logits are always held.
        progress: a bar over two seconds; False for none.

    Returns: over (item, layer, head, prompt = "single", "multi"): ``score``, the mean over the entity's distinct tokens of logit - mean logit of the
        vocabulary, the better of the entity with and without a space before it (logits); ``score_other``, the same of another item's entity;
        ``rank`` of the entity's best token (0 = top) and ``hit``. Over (item, layer, head): ``reading`` = single - multi of ``score``, ``reading_other`` (the
        control; NaN where all items share one memory), ``kl`` = KL(single || multi) of the head's own next-token distributions (nats).

    Raises: InjectionError (a memory or an item that the tokenizer cannot take), SiteError (no such layer), UnsupportedModel.

    Source: Sakarvadia et al. 2023, Memory Injections, section 2 (head outputs read through W_U; there with the shared bias, here without).

    >>> reading = bridge_reading(model, items)                                # doctest: +SKIP
    >>> over_items(reading, "reading").excess.argmax(...)                      # doctest: +SKIP
    """
    decoder = Decoder.of(model)
    weights = {layer: decoder.blocks[layer].output_weight for layer in selected(layers, decoder.n_layers, "layer")}
    return read_heads(model, items, weights, "bridge reading", {"layers": layers}, start=start, k=k, full=full, seed=seed, memory_mb=memory_mb, progress=progress)


@torch.no_grad()
def read_heads(model: Any, items: Any, weights: Mapping[int, Callable[[], Tensor]], kind: str, call: Mapping[str, Any], *, start: Any, k: int, full: bool,
               seed: int, memory_mb: float, progress: bool | None) -> xr.Dataset:
    """``bridge_reading`` through any map of a head's ``z`` to the residual stream: per layer a function that gives ``[n_heads, d_head, d_model]``."""
    began, decoder, items = time.perf_counter(), Decoder.of(model), as_items(items)
    k, encoded = count(k, "k"), encode_items(model, items, start=start)
    check_memory(memory_mb)
    layers, others = list(weights), partners(items, seed)
    tokens = [memory_tokens(model, i.memory) for i in items]
    shape = (len(items), len(layers), decoder.n_heads)
    names = ["score", "score_other", *(["rank", "hit"] if full else [])]
    out = {n: np.full((*shape, 2), np.nan, np.float32) for n in names} | ({"kl": np.full(shape, np.nan, np.float32)} if full else {})
    table, mean = decoder.head.weight.float(), decoder.head.weight.float().mean(0)
    with tqdm(total=len(items) * len(layers), desc=kind, unit="layer", delay=2.0, leave=False, disable=hidden(progress)) as bar:
        for block, runs in _both_prompts(decoder, encoded, ("z",), memory_mb / 2):
            last = last_tokens(runs)
            scale = norm_scale(decoder.norm, runs.resid[-1][last])
            own, other = (_directions(table, mean, [None if j is None else tokens[j] for j in js]) for js in (block, [others[i] for i in block]))
            for at, layer in enumerate(layers):
                vectors = head_vectors(decoder, layer, runs.get("z", layer)[last], scale, weights[layer]())
                vectors = vectors.unflatten(0, (2, len(block))).transpose(0, 1)
                for name, direction in (("score", own), ("score_other", other)):
                    out[name][block, at] = torch.einsum("nphm,nvm->nphv", vectors, direction).amax(-1).movedim(1, -1).cpu().numpy()
                if full:
                    for name, value in _distributions(table, vectors, [tokens[i] for i in block], k, memory_mb / 4):
                        out[name][block, at] = value
                bar.update(len(block))
    dims = ("item", "layer", "head", "prompt")
    out |= {name.replace("score", "reading"): out[name][..., 0] - out[name][..., 1] for name in ("score", "score_other")}
    heads = np.arange(decoder.n_heads)
    ds = xr.Dataset({n: (dims[:v.ndim], v) for n, v in out.items()},
                    {**item_coords(encoded), "layer": layers, "head": heads, "kv_head": ("head", kv_heads(decoder, heads)), "prompt": list(PROMPTS)})
    for name in ("score", "score_other", "reading", "reading_other"):
        ds[name].attrs["units"] = "logits"
    if full:
        ds["kl"].attrs["units"], ds["rank"].attrs["units"] = "nats", "rank (0 = top)"
    call = {**call, "start": start, "k": k, "full": full, "items": [described(i) for i in items]}
    return results.stamp(ds, record_of(model, decoder, kind, call, seed=seed, status="complete") | {"seconds": round(time.perf_counter() - began, 3)})


def head_vectors(decoder: Decoder, layer: int, z: Float[Tensor, "n n_heads d_head"], scale: Any,
                 weight: Float[Tensor, "n_heads d_head d_model"]) -> Float[Tensor, "n n_heads d_model"]:
    """What each head adds to the input of the unembedding: its output through the norms, frozen at ``scale`` (``[n, 1]``, see ``norm_scale``), biases left out."""
    block = decoder.blocks[layer]
    out, inner = torch.einsum("nhd,hdm->nhm", z.float(), weight.float()), 1.0
    if block.post_attn is not None:
        inner = norm_scale(block.post_attn, before_post_norm(block, z.float()))[:, None]
    return through_norm(decoder.norm, through_norm(block.post_attn, out, inner), scale[:, None] if isinstance(scale, Tensor) else scale)


def last_tokens(runs: Runs) -> Tensor:
    """Index of every prompt's last token in the runs' flat tensors, ``[n_prompts]``."""
    return runs.offset + torch.tensor(runs.lengths, device=runs.offset.device) - 1


def memory_tokens(model: Any, memory: str) -> list[tuple[int, ...]]:
    """The distinct tokens of a memory as it begins a text and as it follows a space; one entry where the tokenizer makes no difference.

    Raises: InjectionError for a memory that tokenises to nothing or is unknown to the tokenizer.
    """
    tokenizer, found = tokenizer_of(model), []
    for text in (memory.strip(), f" {memory.strip()}"):
        ids = tokenize(tokenizer, text)
        if not ids:
            raise InjectionError(f"memory={memory!r} tokenises to nothing, so no head can be seen to read it; give the entity's name.")
        try:
            require_known(tokenizer, text, ids, "memory")
        except PromptError as error:
            raise InjectionError(str(error)) from None
        distinct = tuple(dict.fromkeys(ids))
        if distinct not in found:
            found.append(distinct)
    return found


def partners(items: Sequence[Item], seed: int = 0) -> list[int | None]:
    """For each item the number of another one whose entity is its control: of the same group where there is one, never an entity that its prompts or
    its answer name. None where no other item will do."""
    rng, out = np.random.default_rng(seed), []
    for item in items:
        said = f"{item.prompt}\n{item.explicit}\n{item.answer}".lower()
        free = [j for j, o in enumerate(items) if o.memory.strip().lower() not in said and o.memory.strip().lower() != item.memory.strip().lower()]
        near = [j for j in free if items[j].group == item.group] or free
        out.append(int(rng.choice(near)) if near else None)
    return out


def check_memory(memory_mb: Any) -> None:
    """Raises InjectionError unless it is a positive number."""
    if isinstance(memory_mb, bool) or not isinstance(memory_mb, (int, float)) or not memory_mb > 0:
        raise InjectionError(f"memory_mb={memory_mb!r} is not a size; expected a positive number of megabytes.")


def _both_prompts(decoder: Decoder, encoded: Sequence[EncodedItem], keep: Sequence[str], memory_mb: float) -> Iterator[tuple[list[int], Runs]]:
    """The numbers of some items that fit the memory, and the runs of all their explicit prompts, then of all their multi-hop prompts."""
    sizes = [run_bytes(decoder, len(e.ids) + len(e.explicit_ids), keep) for e in encoded]
    for block in _blocks(sizes, memory_mb * 2**20):
        yield block, Runs.record(decoder, [encoded[i].explicit_ids for i in block] + [encoded[i].ids for i in block], keep)


def _blocks(sizes: Sequence[float], limit: float) -> Iterator[list[int]]:
    """Consecutive numbers whose sizes stay under ``limit`` together; at least one each."""
    block, used = [], 0.0
    for i, size in enumerate(sizes):
        if block and used + size > limit:
            yield block
            block, used = [], 0.0
        block.append(i)
        used += size
    yield block


def _directions(table: Tensor, mean: Tensor, tokens: Sequence[list[tuple[int, ...]] | None]) -> Float[Tensor, "n 2 d_model"]:
    """Per memory and variant, the direction whose product is the mean centred logit; NaN where there is no memory."""
    nothing = torch.full_like(mean, math.nan).expand(2, -1)
    one = lambda ids: table[torch.tensor(ids, device=table.device)].mean(0) - mean
    return torch.stack([nothing if t is None else torch.stack([one(t[0]), one(t[-1])]) for t in tokens])


def _distributions(table: Tensor, vectors: Float[Tensor, "n 2 n_heads d_model"], tokens: Sequence[list[tuple[int, ...]]], k: int,
                   memory_mb: float) -> Iterator[tuple[str, np.ndarray]]:
    """What takes the whole vocabulary: ``rank`` and ``hit`` ``[n, head, prompt]``, ``kl`` ``[n, head]``; logits of a few items are held at once."""
    n, _, n_heads, _ = vectors.shape
    at_once = max(1, int(memory_mb * 2**20 / (4 * 4 * 2 * n_heads * len(table))))
    rank, kl = [], []
    for first in range(0, n, at_once):
        part = vectors[first:first + at_once]
        # flat: one product over all rows, not one for every item and prompt
        logits = (part.reshape(-1, part.shape[-1]) @ table.T).view(*part.shape[:-1], -1)
        for x, variants in zip(logits, tokens[first:first + at_once]):
            ids = torch.tensor(sorted({t for v in variants for t in v}), device=x.device)
            rank.append((x > x[..., ids].amax(-1, keepdim=True)).sum(-1).T)
        single, multi = logits.log_softmax(-1).unbind(1)
        # a sum of signed terms that is zero in theory may end just below it
        kl.append((single.exp() * (single - multi)).sum(-1).clamp(min=0))
    rank = torch.stack(rank).cpu().numpy()
    yield from (("rank", rank), ("hit", rank < k), ("kl", torch.cat(kl).cpu().numpy()))


# -- patching from the explicit prompt ----------------------------------------------------------------------------------

def from_explicit(model: Any, items: Any, *, site: str = "attn_out", layers: Any = None, control: bool = True, start: Any = "auto", seed: int = 0, memory_mb: float = 500,
                  progress: bool | None = None, stop: Callable[[], bool] | None = None) -> xr.Dataset:
    """What the multi-hop prompt gains when one activation at its last token is that of the explicit prompt.

    The two prompts differ in length, so only their last tokens are matched. Each cell is one edited run, scored by the log-probability of the whole
    answer (teacher forced). The control copies from another item's explicit prompt (``partners``): what that still does is due to the form.

    Args:
        site: ``attn_out``, ``mlp_out``, ``resid_pre``, ``resid_post`` (per layer) or ``z`` (per layer and head).
        layers: which; None for all. ``control``: False leaves it out, which halves the time.
        stop: asked between layers; True ends with a partial result (NaN where nothing was computed).

    Returns: over (item, layer[, head]), in nats: ``effect`` and ``effect_other`` (value - unedited multi-hop prompt), ``value`` and ``value_other``; over
        (item,): ``multi_logprob`` and ``single_logprob`` of the unedited prompts.

    Raises: InjectionError (site, items), UnsupportedModel. Cost: two edited last tokens an item and cell, on top of two prompts' passes and the control's.

    >>> from_explicit(model, items, site="z").effect.mean("item").plot()       # doctest: +SKIP
    """
    if site not in PATCHED:
        raise InjectionError(f"site={site!r} cannot be copied from the explicit prompt; expected one of {', '.join(PATCHED)}.")
    check_memory(memory_mb)
    decoder, items = Decoder.of(model), as_items(items)
    encoded, layers = encode_items(model, items, start=start), selected(layers, decoder.n_layers, "layer")
    others = partners(items, seed) if control else [None] * len(items)
    keep = (site,) if site in ("z", "mlp_out") else ()
    heads = list(range(decoder.n_heads)) if PATCHED[site] else [None]
    held: dict[int, tuple[Tensor, Tensor | None]] = {}
    single = np.full(len(items), np.nan)

    @torch.no_grad()
    def make_runs(batch: Sequence[int], tails: Sequence[Tensor]) -> tuple[Runs, Runs]:
        join = lambda ids, tail: torch.cat([ids.to(tail.device), tail])
        base = Runs.record(decoder, [join(encoded[i].ids, t) for i, t in zip(batch, tails)], keep)
        answered = [join(encoded[i].explicit_ids, t) for i, t in zip(batch, tails)]
        controls = [i for i in batch if others[i] is not None]
        source = Runs.record(decoder, [*answered, *(encoded[others[i]].explicit_ids.to(decoder.device) for i in controls)], keep)
        here = lambda row, i: torch.stack([source.get(site, l)[source.starts[row] + len(encoded[i].explicit_ids) - 1] for l in layers])
        held.clear()
        for row, i in enumerate(batch):
            held[i] = here(row, i), here(len(batch) + controls.index(i), others[i]) if i in controls else None
            at = source.starts[row] + len(encoded[i].explicit_ids) - 1 + torch.arange(len(encoded[i].answer_ids), device=decoder.device)
            single[i] = sequence_logprob(decoder, source.resid[-1][at][None], encoded[i].answer_ids).item()
        # the sweep reads its source where the base is read; prompts of other lengths stay outside of it
        return base, base

    def cells(i: int, source: Runs, k: int) -> Iterator[Cell]:
        position = (len(encoded[i].ids) - 1,)
        for condition, values in enumerate(held[i]):
            for at, layer in enumerate(layers) if values is not None else ():
                for h, head in enumerate(heads):
                    value = values[at] if head is None else values[at, head]
                    yield Cell((at, h, condition), at, (Edit(Site(site, layer=layer, head=head, position=position), "replace", value),))

    lengths = [len(e.ids) for e in encoded]
    size = lambda i: sum(run_bytes(decoder, n, keep) for n in (lengths[i] + len(encoded[i].answer_ids), len(encoded[i].explicit_ids) + len(encoded[i].answer_ids),
                                                                0 if others[i] is None else len(encoded[others[i]].explicit_ids)))
    values = sweep(decoder, encoded, lengths, (len(layers), len(heads), 2), cells, make_runs, METRICS["logprob"], clean_is_base=True, bytes_per_prompt=size,
                   memory_mb=memory_mb, progress=progress, stop=stop, label=f"explicit {site}")
    dims = ("item", "layer", "head") if PATCHED[site] else ("item", "layer")
    drop = (lambda x: x) if PATCHED[site] else (lambda x: x[:, :, 0])
    variables = {}
    for condition, end in enumerate(("", "_other")[:1 + bool(control)]):
        value = drop(values.value[..., condition])
        variables |= {f"effect{end}": (dims, (value - values.base.reshape(-1, *[1] * (value.ndim - 1))).astype(np.float32)), f"value{end}": (dims, value)}
    axes = {"head": np.arange(decoder.n_heads), "kv_head": ("head", kv_heads(decoder, range(decoder.n_heads)))} if PATCHED[site] else {}
    ds = xr.Dataset({**variables, "multi_logprob": ("item", values.base), "single_logprob": ("item", single)},
                    {**item_coords(encoded), "layer": layers, **axes})
    for variable in ds.data_vars.values():
        variable.attrs["units"] = "nats"
    call = {"site": site, "layers": layers, "control": bool(control), "start": start, "items": [described(i) for i in items]}
    return results.stamp(ds, record_of(model, decoder, "explicit patch", call, seed=seed, status=values.status) | {"seconds": round(values.seconds, 3)})


# -- over items ---------------------------------------------------------------------------------------------------------

def over_items(ds: xr.Dataset, variable: str | None = None, *, level: float = 0.95, resamples: int = 2000, flips: int | None = None, method: str = "bca",
               seed: int = 0) -> xr.Dataset:
    """The mean over items of every cell with its bootstrap interval and sign-flip test, Holm-corrected over the cells, beside the control's.

    Args:
        ds: what ``bridge_reading``, ``lens_reading`` or ``from_explicit`` returned.
        variable: by default ``reading`` or ``effect``, whichever is there. Its control is ``<variable>_other``.
        flips: sign patterns of the test; None takes 100 a cell and at least 10 000, so that Holm's correction can reach 0.05.

    Returns: over the remaining axes ``mean``, ``low``, ``high``, ``n``, ``p`` (two-sided, null: symmetric about 0), ``p_holm``; where there is a control the
        same with ``_other``, and of ``excess`` = item by item, variable - control: ``excess``, ``excess_low``, ``excess_high``, ``excess_p``, ``excess_p_holm``.

    Raises: InjectionError: no item axis, fewer than two items, no such variable.

    Source: Efron and Tibshirani 1993; Phipson and Smyth 2010; Holm 1979.
    """
    variable = variable or next((n for n in ("reading", "effect") if n in ds), None)
    if variable not in ds or "item" not in ds[variable].dims:
        raise InjectionError(f"variable={variable!r} is not a variable over items of this result; it has {', '.join(map(str, ds.data_vars)) or 'none'}.")
    if ds.sizes["item"] < 2:
        raise InjectionError("ds has one item; an interval over items needs at least two.")
    own, control = ds[variable], ds.get(f"{variable}_other")
    kept = {c: ds[c] for c in ds.coords if not set(ds[c].dims) - set(own.dims) and "item" not in ds[c].dims}
    made, options = xr.Dataset(coords=kept), dict(level=level, resamples=resamples, flips=flips, method=method, seed=seed)
    made.update(_tested(own, "mean", "", options))
    if control is not None and control.notnull().any():
        made.update(_tested(control, "mean", "_other", options))
        made.update(_tested(own - control, "excess", "excess", options))
    for name in made.data_vars:
        if str(name).startswith(("mean", "low", "high", "excess")) and "_p" not in str(name):
            made[name].attrs["units"] = own.attrs.get("units", "")
    return results.stamp(made, {**results.provenance(ds), "kind": "items summary", "statistics": {"variable": variable, **options}})


def _tested(x: xr.DataArray, mean: str, label: str, options: Mapping[str, Any]) -> dict[str, Any]:
    x = x.transpose("item", ...)
    values = np.asarray(x.values, float).reshape(x.sizes["item"], -1)
    counted = np.isfinite(values).sum(0) >= 2
    out = {n: np.full(values.shape[1], np.nan) for n in ("mean", "low", "high", "p", "p_holm")} | {"n": np.isfinite(values).sum(0)}
    if counted.any():
        found = statistics.bootstrap(values[:, counted], level=options["level"], resamples=options["resamples"], seed=options["seed"], method=options["method"])
        test = statistics.sign_flip(values[:, counted], resamples=options["flips"] or max(10_000, 100 * int(counted.sum())), seed=options["seed"])
        for name, value in (("mean", found.estimate), ("low", found.low), ("high", found.high), ("p", test.p), ("p_holm", statistics.holm(np.atleast_1d(test.p)))):
            out[name][counted] = value
    named = {"": lambda n: n, "_other": lambda n: f"{n}_other", "excess": lambda n: mean if n == "mean" else f"{mean}_{n}"}[label]
    return {named(n): (x.dims[1:], v.reshape(x.shape[1:])) for n, v in out.items()}


# -- does a map tell where injection works? ---------------------------------------------------------------------------------

def predicts(maps: Any, effect: xr.DataArray, *, over_heads: str = "mean", splits: int = 50, resamples: int = 2000, permutations: int = 10_000, level: float = 0.95,
             seed: int = 0) -> xr.Dataset:
    """Whether a map of the model tells where injection works: the rank correlation, over layers (and heads), of the map's mean on one half of the items with
    the injection effect's mean on the other half.

    The halves share no item, so that items which are easy both to read and to repair cannot carry it. ``rho`` is the mean of Spearman's correlation over
    ``splits`` random halvings. Its interval resamples items inside each half (bootstrap standard error on Fisher's z scale): it speaks of other items, not of
    other layers. ``p`` permutes the cells: it takes neighbouring layers as independent, and is too small where they are alike; ``p_shift`` turns the layers in
    a circle instead, which keeps their likeness (its smallest value is 1 / n_layers). ``partial`` takes the depth out of both:
    a map that merely grows with depth has none.

    Args:
        maps: a DataArray over (item, layer) or (item, layer, head), or several by name (a Dataset: all its variables of such axes).
        effect: the injection effect over (item, layer[, head]), e.g. the log-ratio in nats at one strength. Items are matched by ``label`` where both have it.
        over_heads: for maps with heads and an effect without: "mean" or "max" over heads, taken after the mean over items.

    Returns: over ``map``: ``rho``, ``low``, ``high``, ``p``, ``p_holm`` (over maps), ``p_shift``, ``partial``, ``partial_low``, ``partial_high``,
        ``depth`` (rho of the layer's number with the effect), ``reliability`` (rho of the effect on one half with itself on the other;
        a map without noise could reach about its square root), ``n_items``, ``n_cells``, ``n_layers``.

    Raises: InjectionError: axes that do not fit, fewer than 8 items or 4 cells, a map that is constant.

    Source: Spearman 1904; Fisher 1921 (z); Efron and Tibshirani 1993, chapter 6; Phipson and Smyth 2010.
    """
    named = {str(n): maps[n] for n in maps} if isinstance(maps, Mapping) else {str(maps.name or "map"): maps} if isinstance(maps, xr.DataArray) else {}
    if isinstance(maps, xr.Dataset):
        named = {n: m for n, m in named.items() if set(m.dims) in ({"item", "layer"}, {"item", "layer", "head"})}
    if not named:
        raise InjectionError(f"maps is a {type(maps).__name__} without a map; expected DataArrays over (item, layer) or (item, layer, head).")
    if over_heads not in ("mean", "max"):
        raise InjectionError(f"over_heads={over_heads!r} is not known; expected 'mean' or 'max'.")
    splits, resamples, permutations = count(splits, "splits"), count(resamples, "resamples", 100), count(permutations, "permutations", 99)
    if not isinstance(level, float) or not 0 < level < 1:
        raise InjectionError(f"level={level!r} is outside (0, 1); give a fraction such as 0.95.")
    rows = [_predicted(*_matched(name, m, effect), name, over_heads, splits, resamples, permutations, level, seed) for name, m in named.items()]
    ds = xr.Dataset({n: ("map", np.array([r[n] for r in rows])) for n in rows[0]}, {"map": list(named)})
    ds["p_holm"] = ("map", np.atleast_1d(statistics.holm(ds.p.values)))
    call = dict(over_heads=over_heads, splits=splits, resamples=resamples, permutations=permutations, level=level)
    return results.stamp(ds, {"kind": "prediction", "call": call, "seed": seed})


def _matched(name: str, made: Any, effect: xr.DataArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The map ``[item, layer, head]``, the effect ``[item, layer, head or 1]`` on the same items and layers, and the layers; incomplete layers and items are left out."""
    for argument, x in ((f"maps[{name!r}]", made), ("effect", effect)):
        if not isinstance(x, xr.DataArray) or set(x.dims) not in ({"item", "layer"}, {"item", "layer", "head"}):
            raise InjectionError(f"{argument} has axes {getattr(x, 'dims', type(x).__name__)}; expected a DataArray over "
                                 "(item, layer) or (item, layer, head): select one strength and condition.")
    if "head" in effect.dims and "head" not in made.dims:
        raise InjectionError(f"maps[{name!r}] has no head axis but effect has; take effect.mean('head'), or a map by head.")
    if "label" in made.coords and "label" in effect.coords:
        at = {label: i for i, label in enumerate(effect.label.values)}
        mine = [i for i, label in enumerate(made.label.values) if label in at]
        if len(at) != effect.sizes["item"] or len(set(made.label.values)) != made.sizes["item"]:
            raise InjectionError(f"maps[{name!r}] and effect: labels of items repeat, so they cannot be matched; give each item its own label.")
        made, effect = made.isel(item=mine), effect.isel(item=[at[made.label.values[i]] for i in mine])
    elif made.sizes["item"] != effect.sizes["item"]:
        raise InjectionError(f"maps[{name!r}] has {made.sizes['item']} items and effect {effect.sizes['item']}; give both of the same items, in one order.")
    layers = np.intersect1d(made.layer.values, effect.layer.values) if "layer" in made.coords and "layer" in effect.coords else None
    if layers is None and made.sizes["layer"] != effect.sizes["layer"]:
        raise InjectionError(f"maps[{name!r}] has {made.sizes['layer']} layers and effect {effect.sizes['layer']}, without layer coordinates; name the layers of both.")
    if layers is not None:
        made, effect = made.sel(layer=layers), effect.sel(layer=layers)
    if "head" in effect.dims and made.sizes["head"] != effect.sizes["head"]:
        raise InjectionError(f"maps[{name!r}] has {made.sizes['head']} heads and effect {effect.sizes['head']}; give both of the same heads.")
    a, b = (np.asarray((x if "head" in x.dims else x.expand_dims("head")).transpose("item", "layer", "head").values, float) for x in (made, effect))
    kept = np.isfinite(a).any((0, 2)) & np.isfinite(b).any((0, 2))
    whole = np.isfinite(a[:, kept]).all((1, 2)) & np.isfinite(b[:, kept]).all((1, 2))
    if whole.sum() < 8 or kept.sum() * b.shape[2] < 4:
        raise InjectionError(f"maps[{name!r}] and effect share {int(whole.sum())} complete items and {int(kept.sum() * b.shape[2])} cells; "
                             "a split-half correlation needs at least 8 items and 4 cells.")
    numbers = np.arange(len(kept)) if layers is None else layers
    return a[np.ix_(whole, kept)], b[np.ix_(whole, kept)], numbers[kept]


def _predicted(made: np.ndarray, effect: np.ndarray, layers: np.ndarray, name: str, over_heads: str, splits: int, resamples: int, permutations: int, level: float,
               seed: int) -> dict[str, float]:
    n, n_layers, n_heads = effect.shape
    rng = np.random.default_rng(seed)
    reduce = (lambda x: x.max(-1, keepdims=True)) if over_heads == "max" else (lambda x: x.mean(-1, keepdims=True))

    def mean(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Ranks ``[rows, cells]``, centred and of length one, of the mean under the weights ``[rows, item]``."""
        cells = (weight @ x.reshape(n, -1) / weight.sum(1, keepdims=True)).reshape(-1, n_layers, x.shape[2])
        return _unit_ranks((cells if x.shape[2] == n_heads else reduce(cells)).reshape(len(cells), -1))

    depth = _unit_ranks(np.repeat(layers.astype(float), n_heads)[None])
    chosen = np.zeros((splits, n), bool)
    for s in range(splits):
        chosen[s, statistics.halves(n, seed=seed + s).select] = True
    first, second = mean(made, chosen * 1.0), mean(effect, ~chosen * 1.0)
    if not np.isfinite(first).all() or not np.isfinite(second).all():
        raise InjectionError(f"maps[{name!r}] or effect is the same in every cell; a rank correlation needs values that differ. Check that the right variable was given.")
    along = lambda a, b: np.clip((a * b).sum(-1), -1, 1)
    def part(r: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """The correlation r without what both share with the depth; NaN where the depth is all there is to one of them."""
        left = (1 - a**2) * (1 - b**2)
        return np.where(left > 1e-8, (r - a * b) / np.sqrt(np.maximum(left, 1e-8)), np.nan)

    with np.errstate(divide="ignore", invalid="ignore"):
        rho, deep = along(first, second), along(depth, second)
        partial = part(rho, along(first, depth), deep)
        # the same bootstrap sample serves every split; its items stay on the side where the split has them
        drawn, counted = np.zeros((resamples, 2)), np.zeros((resamples, 2))
        weight = rng.multinomial(n, np.full(n, 1 / n), size=resamples).astype(float)
        for side in chosen:
            a, b = mean(made, weight * side), mean(effect, weight * ~side)
            r = along(a, b)
            of_split = np.stack([r, part(r, along(a, depth), along(b, depth))], -1)
            drawn, counted = drawn + np.nan_to_num(of_split), counted + np.isfinite(of_split)
        # a resample without an item on one side of a split has no correlation there
        drawn = drawn / counted
        partial = partial[np.isfinite(partial)].mean() if np.isfinite(partial).any() else math.nan
    both = first.T @ second / splits
    order = np.stack([rng.permutation(both.shape[1]) for _ in range(permutations)])
    turned = (np.arange(n_layers)[:, None] + np.arange(n_layers)) % n_layers
    turned = (turned[..., None] * n_heads + np.arange(n_heads)).reshape(n_layers, -1)
    reach = lambda orders: np.abs(both[np.arange(len(both)), orders].sum(-1)) >= abs(rho.mean()) - 1e-10
    limits = [_interval(d, e, level, both.shape[0]) for d, e in zip(drawn.T, (rho.mean(), partial))]
    return {"rho": rho.mean(), "low": limits[0][0], "high": limits[0][1], "p": (1 + reach(order).sum()) / (1 + permutations), "p_shift": reach(turned).mean(),
            "partial": partial, "partial_low": limits[1][0], "partial_high": limits[1][1], "depth": deep.mean(),
            "reliability": along(mean(effect, chosen * 1.0), second).mean(), "n_items": n, "n_cells": n_layers * n_heads, "n_layers": n_layers}


def _unit_ranks(x: np.ndarray) -> np.ndarray:
    """Average ranks along the last axis, centred and of length one; NaN where all are equal."""
    ranks = stats.rankdata(x, axis=-1)
    ranks -= ranks.mean(-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        return ranks / np.linalg.norm(ranks, axis=-1, keepdims=True)


def _interval(drawn: np.ndarray, estimate: float, level: float, n_cells: int) -> tuple[float, float]:
    """Estimate +- normal quantile x bootstrap standard error, on Fisher's z scale. Percentiles would not do: the means of resampled halves are noisier,
    which pulls their correlation to 0."""
    if not np.isfinite(drawn).sum() > 0.5 * len(drawn) or not np.isfinite(estimate):
        return math.nan, math.nan
    # half a step of the ranks short of 1, where z would be infinite
    limit = 1 - 6 / (n_cells * (n_cells**2 - 1))
    z = lambda r: np.arctanh(np.clip(r, -limit, limit))
    half = special.ndtri((1 + level) / 2) * z(drawn[np.isfinite(drawn)]).std(ddof=1)
    return float(min(np.tanh(z(estimate) - half), estimate)), float(max(np.tanh(z(estimate) + half), estimate))
