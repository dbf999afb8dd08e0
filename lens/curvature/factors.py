"""K-FAC factors of linear layers: the second moments of what goes in, and of the gradients that come back."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from ..arguments import Count, FilePath, HFModel, Seed, Size, door, unfit
from ..arguments.kinds import is_sequence
from ..engine.feedforward import FEED_FORWARD, feed_forward, in_block, said
from ..engine.lengths import Lengths
from ..engine.linear import Linear, linears
from ..engine.memory import budget, give_back
from ..engine.sessions import of_one_model
from ..models import same_weights, weight_hash
from ..notices import warn
from ..results.record import Plainly, record_of
from ..scoring.likelihood import plain
from . import passes
from .errors import CurvatureError

#: Block rows of a symmetric product, of which only what lies from the diagonal on is computed and kept, and the least
#: height of one: lower ones save products and lose more of their speed. An earlier build cut sums otherwise.
_CUT, _EARLIER = (4, 192), (6, 64)
#: Bytes of a sum that has pages of its own, so that those behind it stay empty; many small ones lie in the heap.
_OWN_PAGES = 1 << 20


@door(CurvatureError)
@dataclass(frozen=True, eq=False)
class Factors:
    """Per layer A = E[x xT] (`a`, [in, in]) and G = E[g gT] (`g`, [out, out]) over tokens: input x, and g, the gradient
    at the token's output of the row's loss summed over its tokens (nats). Attention brings the losses of later tokens
    back to it, so that g is of more than the loss at its own place.

    Layers that read the same activation (a gated MLP's gate and up) share one tensor in `a`. `tokens`: how many are in
    each (of an expert's, those that the router sent to it; experts that got none are left out, and named in
    `unreached`); `fisher`: whose labels ("true": drawn from the model; "empirical": the text's); `model`: the hash of
    the weights that they belong to; `record`: how they were made.
    """

    a: Mapping[str, Float[Tensor, "in in"]]
    g: Mapping[str, Float[Tensor, "out out"]]
    tokens: Mapping[str, Size]
    fisher: str
    model: str
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        for field_ in ("a", "tokens"):
            if (mapping := getattr(self, field_)).keys() != self.g.keys():
                raise CurvatureError(
                    unfit(field_, mapping, f"a value for each of the layers of g: {', '.join(list(self.g)[:4])}")
                )

    @property
    def layers(self) -> list[str]:
        """The names of the layers that have factors."""
        return list(self.g)

    @property
    def unreached(self) -> list[str]:
        """The experts' layers that were asked for and have no factors: no token was sent to them."""
        return list(self.record.get("unreached", ()))

    @property
    def nbytes(self) -> int:
        """Bytes of all factors, shared ones once."""
        return sum(t.nbytes for t in {t.data_ptr(): t for t in (*self.a.values(), *self.g.values())}.values())

    def __repr__(self) -> str:
        shared = len(self.a) - len({t.data_ptr() for t in self.a.values()})
        return (
            f"Factors of {len(self.g)} layers ({shared} share another's input), {self.fisher} Fisher,"
            f" {min(self.tokens.values())} tokens, {self.nbytes / 2**20:.1f} MiB"
            + said(
                sum(len(self.a[n]) * len(self.g[n]) for n in self.g if in_block(n) is not None),
                int(self.record.get(FEED_FORWARD, 0)),
            )
            + (f"; without {len(self.unreached)} that no token was sent to" if self.unreached else "")
        )


@door(CurvatureError)
@of_one_model(reads=False)
def factors(
    model: HFModel,
    layers: str | Sequence[str],
    batches: Any,
    *,
    fisher: passes.Fisher = "true",
    seed: Seed = 0,
    folder: FilePath | None = None,
    rows: Count | None = None,
    objective: passes.Objective | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> Factors:
    """The K-FAC factors of linear layers over token ids, in one forward and one backward pass, summed in float32; the
    last token of a row is left out.

    Args:
        layers: "mlp" (without the experts of Llama 4, which are given every token), or glob patterns of plain layer
            names, see `lens.engine.linear.linears`.
        batches: token ids [rows, length], or a sequence of such (rows of one batch equally long). With `objective`: a
            sequence of whatever it takes.
        fisher: whose next tokens the loss is of: "true" draws them from the model (the Fisher matrix; as the paper
            says), "empirical" takes the text's own (as its code does).
        seed: of the draws; they do not depend on how rows are cut into batches.
        folder: the sums are written there about once a minute, and a call that was killed goes on there, to the same
            bits; a finished one is read back.
        rows: rows of a batch; None: as many as the device has memory for, on a CPU about 384 tokens. More of them cost
            memory and are hardly faster; sums differ by their rounding.
        objective: `f(model, batch, generator)` -> the sum of every item's loss, for a model that is no language model;
            `fisher` then only says what it draws. On disk it is known by its qualified name.

    Raises: LinearError: no such layer. CurvatureError: batches that are no token ids, a layer that no gradient reaches,
        none but experts that no token is sent to.
        Stopped: `stop` said so.

    Source: Martens & Grosse 2015; Merullo et al. 2025, section 2. Cost: a forward and a backward pass in which no
        weight asks for a gradient, and per token 0.63 (in^2 + out^2) multiplications a layer (of a symmetric product
        little more than one triangle is computed). Memory: the factors, four bytes a number; while they are summed 0.63
        of that, and what one batch leaves for the backward pass.
    """
    hf, chosen, work, record, state = prepared("factors", model, layers, batches, fisher, seed, folder, rows, objective)
    device = next(iter(chosen.values())).weight.device
    state.load(device)
    widths: dict[str, int] = state.notes.setdefault("widths", {})
    for name, total in state.sums.items():  # of a folder: an earlier build wrote whole matrices, or cut them otherwise
        if total.ndim == 2:
            widths[name], state.sums[name] = len(total), packed(total)
        elif "cut" not in state.notes:
            state.sums[name] = packed(mirrored(total, widths[name], _EARLIER))
    state.notes["cut"] = list(_CUT)
    shared: dict[str, str] = state.notes.setdefault("shared", {})
    tokens: dict[str, int] = state.notes.setdefault("tokens", dict.fromkeys(chosen, 0))
    read: dict[tuple, tuple[str, StorageWeakRef]] = {}

    def inputs(name: str, x: Tensor) -> None:
        owner = name
        if chosen[name].expert is None:  # an expert's rows are its own
            key = (x.data_ptr(), x.shape, x.stride(), x._version)
            owner, there = read.get(key, (name, None))
            if there is None or there.expired():  # what had this address is gone
                owner = name
                read[key] = name, StorageWeakRef(x.untyped_storage())
        if shared.setdefault(name, owner) == name:
            _add(state, f"a/{name}", x)
        elif shared[name] != owner:
            raise CurvatureError(
                f"layers: {name!r} shared its input with {shared[name]!r} in an earlier batch and does not now; take"
                " their factors in two calls."
            )

    def sink(name: str, g: Tensor) -> None:
        tokens[name] += len(g)
        _add(state, f"g/{name}", g)

    passes.run(
        hf,
        chosen,
        work,
        sink,
        state,
        fisher=fisher,
        seed=seed,
        objective=objective,
        inputs=inputs,
        between=read.clear,
        progress=progress,
        stop=stop,
        label="K-FAC factors",
    )
    none = [name for name in chosen if not tokens[name]]
    if len(none) == len(chosen):
        raise CurvatureError(
            f"layers: no token was sent to any of the {len(none)} experts' layers ({none[0]}, ...); give more tokens,"
            " or choose other layers."
        )
    if none:
        warn(
            f"layers: no token was sent to {len(none)} of {len(chosen)} layers ({none[0]}"
            f"{', ...' if len(none) > 1 else ''}), which have no factors and are left out; give more tokens to have"
            " them."
        )
        record["unreached"] = none
        chosen = {name: linear for name, linear in chosen.items() if tokens[name]}
    means = {}
    if any(_has_room(total, widths[name]) for name, total in state.sums.items()):
        give_back()  # the batches' memory: the means take what lies behind their sums
    while state.sums:  # one at a time: a sum is given up for its mean, or its memory is the mean's
        name, total = state.sums.popitem()
        means[name] = mirrored(total, widths[name]).div_(tokens[name.split("/", 1)[1]])
    a, g = (
        {name: means[f"{side}/{of(name)}"] for name in chosen} for side, of in (("a", shared.__getitem__), ("g", str))
    )
    return Factors(a, g, {name: tokens[name] for name in chosen}, fisher, record["model"]["hash"], record)


def prepared(
    what: str,
    model: Any,
    layers: str | Sequence[str],
    batches: Any,
    fisher: str,
    seed: int,
    folder: Any,
    rows: int | None,
    objective: Any,
    **facts: Any,
) -> tuple[nn.Module, dict[str, Linear], Sequence[Any], dict[str, Any], passes.State]:
    """What every pass needs: the plain model, its layers, the batches, the record, and the state on disk."""
    if objective is not None and not is_sequence(batches):
        raise CurvatureError(unfit("batches", batches, "a list of whatever objective takes"))
    hf = plain(model) if objective is None else getattr(model, "original_model", model)
    if not isinstance(hf, nn.Module):
        raise CurvatureError(unfit("model", model, "a torch.nn.Module"))
    chosen = linears(hf, layers)
    if layers == "mlp":
        # given every token, times a weight that is zero for most: such moments are not of the tokens that they read
        chosen = {name: l for name, l in chosen.items() if not l.sees_all} or chosen
    work = passes.token_batches(batches, rows, budget(hf).backward_tokens) if objective is None else list(batches)
    if not work:
        raise CurvatureError("batches is empty; give at least one.")
    if objective is None:
        passes.fitting(hf, work, "batches")
    # rows of equal number and content give equal draws, however they are cut; the sums' rounding does depend on the
    # cuts
    digest = passes.digest_of(work)
    loss = (
        "next token"
        if objective is None
        else f"{getattr(objective, '__module__', '')}.{getattr(objective, '__qualname__', type(objective).__name__)}"
    )
    call = dict(
        layers=list(chosen),
        fisher=fisher,
        batches=digest,
        items=sum(len(b) for b in work if hasattr(b, "__len__")),
        objective=loss,
        **facts,
    )
    lengths = Lengths.of(hf) if objective is None else None
    if lengths is not None and any(lengths.needs_last(ids.shape[1]) for ids in work):
        call["read"] = "whole rows"  # sums of rows read without their last token are others
    weight = next(iter(chosen.values())).weight
    record = record_of(
        model,
        Plainly(model, weight.dtype, weight.device),
        f"curvature {what}",
        call,
        seed=seed,
        status="complete",
    ) | feed_forward(chosen)
    state = passes.State(folder, {"what": what, "model": record["model"]["hash"], "seed": seed, **call})
    return hf, chosen, work, record, state


def _add(state: passes.State, key: str, x: Float[Tensor, "n d"]) -> None:
    """Adds xT x to the sum of a side and layer."""
    first = key not in state.sums
    if first:
        state.sums[key] = empty_gram(x.shape[-1], x.device)
        state.notes["widths"][key] = x.shape[-1]
    add_gram(state.sums[key], x, first)


def _block_rows(width: int, cut: tuple[int, int] = _CUT) -> list[slice]:
    """The rows of each block of a symmetric matrix; a block has the columns from its first row on."""
    blocks, narrowest = cut
    step = max(narrowest, math.ceil(width / blocks))
    return [slice(a, min(a + step, width)) for a in range(0, width, step)]


def _blocks(
    total: Float[Tensor, "packed"], width: int, cut: tuple[int, int] = _CUT
) -> Iterator[tuple[slice, Float[Tensor, "rows columns"]]]:
    """The block rows of a packed sum, as views of it."""
    start = 0
    for rows in _block_rows(width, cut):
        shape = rows.stop - rows.start, width - rows.start
        yield rows, total[start : start + shape[0] * shape[1]].view(shape)
        start += shape[0] * shape[1]


def empty_gram(width: int, device: torch.device | None = None) -> Float[Tensor, "packed"]:
    """A packed sum of zeros, float32: of a symmetric [width, width] matrix the blocks from the diagonal on, 0.63
    of its numbers (of a matrix narrower than 768 more). On a CPU a large one has room behind it for the whole matrix,
    which takes no memory before something is written there (see `mirrored`).
    """
    size = sum((rows.stop - rows.start) * (width - rows.start) for rows in _block_rows(width))
    private = getattr(mmap, "MAP_PRIVATE", None)
    elsewhere = device is not None and device.type != "cpu"
    if private is None or elsewhere or 4 * size < _OWN_PAGES:
        return torch.zeros(size, dtype=torch.float32, device=device)
    pages = mmap.mmap(-1, 4 * width**2, flags=private | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(pages, dtype=torch.float32)[:size]


def _has_room(total: Float[Tensor, "packed"], width: int) -> bool:
    """Whether a packed sum has room behind it for the whole matrix."""
    return total.untyped_storage().nbytes() >= 4 * width**2 > 4 * len(total) and total.storage_offset() == 0


def packed(matrix: Float[Tensor, "d d"]) -> Float[Tensor, "packed"]:
    """The packed form of a matrix; what lies before the blocks of the diagonal is left out."""
    return torch.cat([matrix[rows, rows.start :].reshape(-1) for rows in _block_rows(len(matrix))])


def add_gram(total: Float[Tensor, "packed"], x: Float[Tensor, "n d"], first: bool = False) -> None:
    """Add xT x to a packed sum, in place: 0.63 of the whole product's work (see `mirrored`). `first`: the sum is of
    zeros that are not read, since what is read before it is written costs its page twice.
    """
    x = x.float()
    for rows, block in _blocks(total, x.shape[-1]):
        if first:
            torch.mm(x[:, rows].T, x[:, rows.start :], out=block)
        else:
            block.addmm_(x[:, rows].T, x[:, rows.start :])


def mirrored(total: Float[Tensor, "packed"], width: int, cut: tuple[int, int] = _CUT) -> Float[Tensor, "d d"]:
    """The symmetric matrix of a packed sum: its upper triangle, and the same below. Where the sum has room behind it,
    the matrix takes its place.
    """
    if _has_room(total, width):
        whole = total.as_strided((width, width), (width, 1))
        total = total.clone()
    else:
        whole = total.new_empty(width, width)
    for rows, block in _blocks(total, width, cut):
        height = rows.stop - rows.start
        own = block[:, :height].triu()
        whole[rows, rows] = own + own.triu(1).T
        whole[rows, rows.stop :] = block[:, height:]
        whole[rows.stop :, rows] = block[:, height:].T
    return whole


def require_model(model: Any, weights: str, what: str) -> None:
    """Raises: CurvatureError: `made` is the hash of other weights than the model's."""
    if not same_weights(model, weights):
        raise CurvatureError(
            f"{what} belongs to weights {weights[:12]}, this model's are {weight_hash(model)[:12]}; compute it with"
            " this model, or leave the edit that is in force on it."
        )
