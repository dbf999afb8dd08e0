"""Token sets as this family takes them, the model that runs them, and the refusal of sets that overlap."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Count, HFModel, Ids, Name, door, unfit
from ..engine.lengths import require_alike, require_readable
from ..engine.linear import Linear, inputs_of, linears
from ..models.placement import device_of
from ..scoring.likelihood import plain
from ..scoring.look_ahead import require_causal
from .errors import SubspaceError

#: Overlaps that a message lists before it only counts.
LISTED = 8
#: A run of equal tokens shorter than this is never an overlap, unless the rows are equal.
SHORTEST_RUN = 8


@door(SubspaceError)
@dataclass(frozen=True, eq=False)
class Tokens:
    """Token rows, padded on the right with 0: `ids` [n, length] int64, `lengths` [n], and `prefix`, how many tokens of
    each row are given (the rest is to be recited).
    """

    ids: Int[Tensor, "n length"]
    lengths: Int[Tensor, " n"]
    prefix: Count

    def __post_init__(self):
        if self.lengths.shape != self.ids.shape[:1] or (
            len(self.lengths) and not 0 <= int(self.lengths.min()) <= int(self.lengths.max()) <= self.ids.shape[1]
        ):
            raise SubspaceError(
                unfit(
                    "lengths",
                    self.lengths.tolist(),
                    f"a length from 0 to {self.ids.shape[1]} for each of the {len(self.ids)} rows of ids",
                )
            )

    def __len__(self) -> int:
        return len(self.ids)

    @door(SubspaceError)
    def take(self, index: Sequence[int]) -> Tokens:
        """The rows of these numbers."""
        rows = torch.as_tensor(index, dtype=torch.long)
        if not len(rows) or not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise SubspaceError(
                unfit("index", rows.tolist(), f"numbers of rows from 0 to {len(self) - 1}, at least one")
            )
        lengths = self.lengths[rows]
        return Tokens(self.ids[rows, : int(lengths.max())], lengths, self.prefix)

    def rows(self) -> list[np.ndarray]:
        """Each row without its padding."""
        return [row[:n] for row, n in zip(self.ids.numpy(), self.lengths.tolist())]

    def sha256(self) -> str:
        """A hash of the ids, the lengths and the prefix."""
        digest = hashlib.sha256(f"{tuple(self.ids.shape)} {self.prefix}".encode())
        for value in (self.ids, self.lengths):
            digest.update(value.contiguous().numpy().tobytes())
        return digest.hexdigest()


@door(SubspaceError)
def tokens_of(data: Any, argument: Name, prefix: Count | None = None) -> Tokens:
    """Token rows from a tensor [n, length], a sequence of rows, or an object with `ids` (and `prefix`, or `lengths`).

    `prefix`: None takes the object's own, or 1: all tokens but the first are to be recited.

    Raises: SubspaceError: no row, an empty row, ids that are not whole numbers of at least 0, a prefix that leaves a
        row nothing.
    """
    if isinstance(data, Tokens):
        return data if prefix is None else _checked(Tokens(data.ids, data.lengths, int(prefix)), argument)
    Ids().of(data, argument, SubspaceError, "tokenise texts first")
    own, lengths, ids = getattr(data, "prefix", None), getattr(data, "lengths", None), getattr(data, "ids", data)
    prefix = int(prefix if prefix is not None else own if own is not None else 1)
    try:
        if isinstance(ids, (Tensor, np.ndarray)) and ids.ndim == 2:
            table = torch.as_tensor(np.asarray(ids.cpu() if isinstance(ids, Tensor) else ids))
            lengths = (
                torch.full((len(table),), table.shape[1]) if lengths is None else torch.as_tensor(lengths).cpu().long()
            )
        else:
            rows = [np.asarray(row.cpu() if isinstance(row, Tensor) else row) for row in ids]
            lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
            kind = np.result_type(*full) if (full := [row for row in rows if len(row)]) else np.int64
            table = torch.zeros(
                len(rows),
                max(map(len, rows), default=0),
                dtype=torch.int64 if np.issubdtype(kind, np.integer) else torch.float64,
            )
            for line, row in zip(table, rows):
                line[: len(row)] = torch.as_tensor(row)
    except (TypeError, ValueError) as error:
        raise SubspaceError(
            f"{argument} is a {type(data).__name__} that holds no rows of token ids ({error}); give a tensor [n,"
            " length] or a list of rows of ids."
        ) from None
    if table.dtype.is_floating_point or table.dtype == torch.bool:
        raise SubspaceError(
            f"{argument} holds {table.dtype} values; expected token ids, whole numbers: tokenise texts first."
        )
    return _checked(Tokens(table.long(), lengths, prefix), argument)


def _checked(tokens: Tokens, argument: str) -> Tokens:
    if not len(tokens) or int(tokens.lengths.min()) < 1:
        raise SubspaceError(
            f"{argument} has {len(tokens)} rows{', one of them without a token' if len(tokens) else ''}; give at least"
            " one row, each of at least one token."
        )
    if int(tokens.ids.min()) < 0:
        raise SubspaceError(f"{argument} holds the id {int(tokens.ids.min())}; expected token ids of at least 0.")
    if tokens.prefix < 1:
        raise SubspaceError(
            f"prefix={tokens.prefix}; expected at least 1: the first token of a row has nothing before it that could"
            " predict it."
        )
    return tokens


def rows_to_recite(data: Any, argument: str, prefix: int | None = None) -> Tokens:
    """`tokens_of`, where every row must have a token after its prefix."""
    tokens = tokens_of(data, argument, prefix)
    if int(tokens.lengths.min()) <= tokens.prefix:
        raise SubspaceError(
            f"{argument}: row {int(tokens.lengths.argmin())} has {int(tokens.lengths.min())} tokens and"
            f" prefix={tokens.prefix}, so nothing of it is left to recite; give a shorter prefix or longer rows."
        )
    return tokens


@door(SubspaceError)
def refuse_overlap(
    a: Tokens, b: Tokens, names: tuple[str, str] = ("memorised", "reference"), *, run: Count | None = None
) -> None:
    """Refuse two sets of which rows are equal or share a run of `run` tokens (None: half of the shorter row, at least
    8).

    Raises: SubspaceError, with a list of the pairs of rows.
    """
    if pairs := overlaps(a, b, run=run):
        listed = ", ".join(f"{names[0]}[{i}] with {names[1]}[{j}] ({n} tokens)" for i, j, n in pairs[:LISTED])
        more = f" and {len(pairs) - LISTED} more" if len(pairs) > LISTED else ""
        raise SubspaceError(
            f"{names[0]} and {names[1]} overlap in {len(pairs)} pairs of rows: {listed}{more}. A set cannot be its own"
            " control: take these rows out of one of them."
        )


@door(SubspaceError)
def overlaps(a: Tokens, b: Tokens, *, run: Count | None = None) -> list[tuple[int, int, int]]:
    """Pairs (row of a, row of b, tokens) that are equal or share a run of at least so many tokens."""
    rows, others = a.rows(), b.rows()
    length = run if run is not None else max(SHORTEST_RUN, min(int(a.lengths.min()), int(b.lengths.min())) // 2)
    rows_by_gram: dict[bytes, set[int]] = {}
    for i, row in enumerate(rows):
        for gram in _grams(row, length):
            rows_by_gram.setdefault(gram, set()).add(i)
    out = []
    for j, row in enumerate(others):
        for i in sorted({i for gram in _grams(row, length) for i in rows_by_gram.get(gram, ())}):
            out.append((i, j, length if not np.array_equal(rows[i], row) else len(row)))
    return sorted(out)


def _grams(row: np.ndarray, length: int) -> Iterator[bytes]:
    """Runs of `length` tokens as bytes, and the whole row (marked) so that short equal rows meet too."""
    yield b"row" + row.tobytes()
    if len(row) >= length:
        text, size = row.tobytes(), row.itemsize
        for k in range(len(row) - length + 1):
            yield text[k * size : (k + length) * size]


# -- the model ------------------------------------------------------------------------------------------------------


def module_to_run(model: Any) -> nn.Module:
    """The module that runs: the plain model that shares a bridge's parameters; anything that is no causal language
    model as it is.

    Raises: ScoringError: a language model in training mode, or with hooks on it.
    """
    hf = getattr(model, "original_model", model)
    return plain(model) if hasattr(hf, "get_output_embeddings") and hasattr(hf, "config") else model


def causal_model(model: Any) -> nn.Module:
    """`module_to_run`, where losses of next tokens are asked for.

    Raises: ScoringError: as `module_to_run`; a model that looks ahead.
    """
    core = module_to_run(model)
    if not isinstance(getattr(core, "dtype", None), torch.dtype) or not hasattr(core, "config"):
        raise SubspaceError(unfit("model", model, "a causal language model, such as lens.load gives"))
    require_causal(core)
    return core


def fitting(core: nn.Module, tokens: Tokens, argument: str) -> Tokens:
    """The rows, of tokens that a model has and no longer than it reads. Raises SubspaceError."""
    require_readable(core, int(tokens.ids.max()), int(tokens.lengths.max()), SubspaceError, argument)
    return tokens


@door(SubspaceError)
def output_layers(
    model: HFModel, layers: str | Sequence[str] | Mapping[str, Linear] | None = None
) -> dict[str, Linear]:
    """The layers whose inputs are the hidden neurons of the feed-forward blocks: the last linear layer of each block's
    MLP ("down_proj", "c_proj", "ff.net.2") and of each of its experts, or the given ones.
    """
    if layers is not None and not (isinstance(layers, str) and layers == "mlp"):
        return linear_layers(model, layers)
    last: dict[str, Linear] = {}
    for name, linear in linears(model, "mlp").items():
        block = name.rpartition(".")[0] if linear.expert is not None else name.rpartition(".mlp.")[0]
        last[block or str(linear.layer)] = linear
    return {linear.name: linear for linear in last.values()}


def linear_layers(model: Any, layers: str | Sequence[str] | Mapping[str, Linear]) -> dict[str, Linear]:
    """The model's own linear layers of these patterns, or of the names of a mapping."""
    return linears(model, tuple(layers) if isinstance(layers, Mapping) else layers)


@torch.no_grad()
def layers_reached(core: nn.Module, layers: Mapping[str, Linear], tokens: Tokens) -> set[str]:
    """The layers that run on the rows' tokens, those that nothing follows aside: all but the experts that the router
    sends none of them to. A forward a row where experts are among them.
    """
    experts = {name: linear for name, linear in layers.items() if linear.expert is not None}
    names = set(layers) - set(experts)
    if experts:
        device = device_of(core)
        with inputs_of(core, experts, lambda name, *_: names.add(name)):
            for row in tokens.rows():
                core(input_ids=torch.from_numpy(row[None, : max(1, len(row) - 1)]).to(device), use_cache=False)
    return names


def losses(core: nn.Module, tokens: Tokens, *, call: Any = None) -> Float[Tensor, " rows"]:
    """Mean cross-entropy (nats) of each row's tokens after the prefix, with gradients; a row that a hook multiplied
    counts as several.

    `call`: what runs instead of `core(**inputs)`.
    """
    require_alike(core, tokens.lengths.tolist(), SubspaceError, "tokens")
    device = device_of(core)
    ids, lengths = tokens.ids.to(device), tokens.lengths.to(device)
    keep = ids.shape[1] - tokens.prefix + 1
    inputs: dict[str, Any] = {"input_ids": ids, "use_cache": False}
    if "logits_to_keep" in inspect.signature(core.forward).parameters:
        inputs["logits_to_keep"] = keep
    logits = (call or core)(**inputs).logits[:, -keep:-1]
    targets = ids[:, tokens.prefix :].expand(len(logits), -1) if len(ids) == 1 else ids[:, tokens.prefix :]
    each = F.cross_entropy(logits.flatten(0, 1).float(), targets.reshape(-1), reduction="none").view(targets.shape)
    counted = (torch.arange(tokens.prefix, ids.shape[1], device=device)[None] < lengths[:, None]).to(each.dtype)
    return (each * counted).sum(1) / counted.sum(1)
