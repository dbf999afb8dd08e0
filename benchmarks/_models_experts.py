"""The experts of a mixture written out, one after the other, for what a plain hook cannot see.

Experts are parameters with a matrix for each; what one of them reads and writes is no module's. Here their forward is
replaced by loops over experts and matrices, and what comes out is compared with the module's own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ._models_naive import Naive, NaiveError

#: Types that keep [in, out].
_TRANSPOSED = ("gpt_oss", "llama4_text")
#: An expert's matrix by its name: the module, the number, the parameter.
_NAME = re.compile(r"(.*\.experts)\.(\d+)\.(gate_up_proj|down_proj)")
#: Called with a name, the tokens' numbers, what a matrix read and what it made of it.
See = Callable[[str, Int[Tensor, " some"], Tensor, Tensor], None]


def weight(naive: Naive, name: str) -> Float[Tensor, "out in"]:
    """A layer's weight as [out, in], a module's or an expert's; what is written into it is the model's from then on."""
    if (found := _NAME.fullmatch(name)) is not None:
        matrix = getattr(naive.module(found[1]), found[3])[int(found[2])]
        return matrix.T if naive.variant.row in _TRANSPOSED else matrix
    module = naive.module(name)
    return module.weight.T if type(module).__name__ == "Conv1D" else module.weight


@contextmanager
def watched(naive: Naive, names: Sequence[str], see: See) -> Iterator[None]:
    """While it is in force, every forward of one text hands on what the named layers read and make."""
    wanted, modules, handles = set(names), {}, []
    for name in names:
        if (found := _NAME.fullmatch(name)) is not None:
            modules[found[1]] = naive.module(found[1])
        else:
            handles.append(naive.module(name).register_forward_hook(_hook(name, see)))
    try:
        for path, module in modules.items():
            module.forward = _Loop(naive, path, module, wanted, see)
        yield
    finally:
        for handle in handles:
            handle.remove()
        for module in modules.values():
            del module.forward


def _hook(name: str, see: See) -> Callable[..., None]:
    def hook(_: Any, args: Any, out: Tensor) -> None:
        flat = args[0].reshape(-1, args[0].shape[-1])
        see(name, torch.arange(len(flat)), flat, out)

    return hook


class _Loop:
    """The forward of one module with experts."""

    def __init__(self, naive: Naive, path: str, module: nn.Module, wanted: set[str], see: See):
        self.naive, self.path, self.module, self.wanted, self.see = naive, path, module, wanted, see
        self.own = type(module).forward.__get__(module)

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        given = [*args, *kwargs.values()]
        x, out = given[0], torch.zeros_like(given[0])
        if len(given) == 1:  # every expert is given all tokens, times its weight for each
            tokens = len(x) // self.naive.model.config.num_local_experts
            for number in range(len(x) // tokens):
                block = slice(number * tokens, (number + 1) * tokens)
                rows = (x[block] != 0).any(-1).nonzero()[:, 0]
                made = torch.zeros_like(x[block])
                out[block] = made.index_put((rows,), self._expert(number, rows, x[block][rows]))
        else:
            index, share = sorted(given[1:3], key=torch.is_floating_point)
            for number in index.unique().tolist():
                rows, slot = (index == number).nonzero(as_tuple=True)
                made = self._expert(number, rows, x[rows]) * share[rows, slot, None]
                out = out.index_add(0, rows, made.to(out.dtype))
        with torch.no_grad():
            off = (out - self.own(*args, **kwargs)).abs().max() / out.abs().max()
        if off > (1e-4 if x.dtype == torch.float32 else 5e-2):
            raise NaiveError(f"{self.path}: experts written out are {off:.2g} off")
        return out

    def _expert(self, number: int, rows: Tensor, x: Tensor) -> Tensor:
        both = self._matrix("gate_up_proj", number, rows, x)
        if hasattr(self.module, "alpha"):  # gpt-oss: interleaved, bounded, each gate's own slope
            gate, up = both[..., ::2].clamp(max=self.module.limit), both[..., 1::2]
            up = up.clamp(min=-self.module.limit, max=self.module.limit)
            inner = (up + 1) * gate * torch.sigmoid(gate * self.module.alpha)
        else:
            gate, up = both.chunk(2, -1)
            inner = self.module.act_fn(gate) * up
        return self._matrix("down_proj", number, rows, inner)

    def _matrix(self, parameter: str, number: int, rows: Tensor, x: Tensor) -> Tensor:
        name = f"{self.path}.{number}.{parameter}"
        made = x @ weight(self.naive, name).T
        bias = getattr(self.module, f"{parameter}_bias", None)
        made = made if bias is None else made + bias[number]
        if name in self.wanted:
            self.see(name, rows, x, made)
        return made


@contextmanager
def replaced(naive: Naive, new: Mapping[str, Tensor]) -> Iterator[None]:
    """Other weights in a model for a while."""
    old = {name: weight(naive, name).clone() for name in new}
    for name, value in new.items():
        weight(naive, name).copy_(value)
    try:
        yield
    finally:
        for name, value in old.items():
            weight(naive, name).copy_(value)


def inputs(naive: Naive, names: Sequence[str], ids: Tensor) -> dict[str, Float[Tensor, "some d_in"]]:
    """What layers read, of all rows one after the other; of an expert the tokens that are sent to it."""
    kept: dict[str, list[Tensor]] = {
        name: [weight(naive, name).new_zeros(0, weight(naive, name).shape[1]).double()] for name in names
    }

    def see(name: str, rows: Tensor, x: Tensor, out: Tensor) -> None:
        kept[name].append(x.detach().double())

    with watched(naive, names, see):
        for row in ids:
            naive.logits(row)
    return {name: torch.cat(parts) for name, parts in kept.items()}


def gradients(naive: Naive, names: Sequence[str], ids: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What layers read, and the gradient of each row's loss at their outputs; the last token of a row is left out."""
    x: dict[str, list[Tensor]] = {name: [] for name in names}
    g: dict[str, list[Tensor]] = {name: [] for name in names}
    for row in ids:
        out: dict[str, tuple[Tensor, Tensor]] = {}

        def see(name: str, rows: Tensor, read: Tensor, made: Tensor, out: Any = out, last: int = len(row) - 1) -> None:
            x[name].append(read.detach()[rows != last].double())
            out[name] = made, rows != last

        begin = naive.module(naive.where.embed).register_forward_hook(lambda *a: a[-1].detach().requires_grad_())
        with torch.enable_grad(), watched(naive, names, see):
            logits = naive.model(row[None], use_cache=False).logits[0, :-1].float()
            loss = torch.nn.functional.cross_entropy(logits, row[1:], reduction="sum")
            found = torch.autograd.grad(loss, [made for made, _ in out.values()])
        begin.remove()
        for (name, (_, kept)), each in zip(out.items(), found):
            g[name].append(each.reshape(-1, each.shape[-1])[kept].double())
    return tuple({name: torch.cat(parts) for name, parts in of.items() if parts} for of in (x, g))
