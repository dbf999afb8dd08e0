"""Which modules write into the residual stream of a block: confirmed by putting noise in the place of what they return.

What two modules return may sum to what a block adds within rounding and yet not be what is added: before a post-norm,
for instance, in a low precision or beside one very large activation. A module whose output is added moves the block's
output by exactly what is put there instead, whatever the precision; no other module does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .changes import Undo, temporary

if TYPE_CHECKING:
    from .anatomy import Anatomy

#: Roundings that may lie between a sum and its parts, in units of the number format's own step.
_ROUNDINGS = 8
#: A smaller factor on what a module returns is none that could be told.
_LEAST = 1e-3

#: From a module to what it returned, or was given, in the shape of the stream; None where that has another size.
Flow = Callable[[nn.Module], Tensor | None]


@dataclass(frozen=True)
class End:
    """A module whose output, times a factor, is added to the stream."""

    module: nn.Module
    factor: float = 1.0


@dataclass(frozen=True)
class Ends:
    """What a block adds to its stream.

    Attributes:
        attn: attention, or what stands in its place (linear attention, a state space, time mixing). mlp: the MLP.
        beside: what else is added before the MLP reads the stream: a state space beside attention.
        start: a norm in the block from whose output its stream goes on. between, behind: norms on the stream itself,
            after ``attn`` and after ``mlp``.
        last: what runs last before the MLP: ``attn``'s module or ``beside``'s.
    """

    attn: End
    mlp: End
    beside: End | None = None
    start: nn.Module | None = None
    between: nn.Module | None = None
    behind: nn.Module | None = None
    last: nn.Module | None = None

    @property
    def mixers(self) -> tuple[End, ...]:
        """What is added before the MLP reads the stream."""
        return (self.attn,) if self.beside is None else (self.attn, self.beside)

    @property
    def sums(self) -> bool:
        """Whether the block's output is its input and what is added, and nothing else."""
        return self.start is None and self.between is None and self.behind is None


@dataclass(frozen=True)
class BlockPass:
    """What went through a block on the probe.

    Attributes:
        x, y: the stream before and after it. output_of, input_of: what modules returned and were given.
        may: whether two modules may be attention and the MLP. inner: those that may be norms on the stream.
        factors: by what the model may multiply what its modules return.
    """

    x: Float[Tensor, "1 n d"]
    y: Float[Tensor, "1 n d"]
    output_of: Flow
    input_of: Flow
    may: Callable[[nn.Module, nn.Module], bool]
    inner: Sequence[nn.Module]
    factors: Sequence[float]

    @property
    def rough(self) -> float:
        """How near sums of what went through must be to be looked at."""
        return {torch.float32: 1e-5, torch.float64: 1e-5}.get(self.x.dtype, 3e-2)

    def adds(self, before: Tensor | None, after: Tensor | None, *modules: nn.Module) -> bool:
        """Whether what these modules returned, times factors, may be what was added in between."""
        outs = [out for m in modules if (out := self.output_of(m)) is not None]
        if before is None or after is None or len(outs) < len(modules):
            return False
        largest = max(1e-12, before.abs().max().item(), _sum(outs).abs().max().item())
        for scales in _scales((after - before).double(), [out.double() for out in outs], self.factors, self.rough):
            gap = (after - before).double() - _sum([c * out.double() for c, out in zip(scales, outs)])
            if gap.abs().max() <= self.rough * largest and min(scales) > _LEAST:
                return True
        return False


def candidates(firsts: Iterable[nn.Module], seconds: Iterable[nn.Module], trace: BlockPass) -> Iterator[Ends]:
    """What may be a block's ends, likeliest first: outputs that add up to what it adds, roughly.

    Args:
        firsts, seconds: modules that may hold what attention and the MLP add.
    """
    seconds = list(seconds)
    pairs = [(a, b) for a in firsts for b in seconds if a is not b and trace.may(a, b)]
    yield from (Ends(End(a), End(b)) for a, b in pairs if trace.adds(trace.x, trace.y, a, b))
    for start in trace.inner:
        before, after = trace.input_of(start), trace.output_of(start)
        if before is not None and torch.equal(before, trace.x):
            yield from (Ends(End(a), End(b), start=start) for a, b in pairs if trace.adds(after, trace.y, a, b))
    for beside in trace.inner:
        for a, b in pairs:
            if beside not in (a, b) and trace.adds(trace.x, trace.y, a, beside, b):
                yield Ends(End(a), End(b), beside=End(beside))
    firsts = dict.fromkeys(a for a, _ in pairs)
    behind = [n for n in trace.inner if (out := trace.output_of(n)) is not None and torch.equal(out, trace.y)]
    between = [(a, n) for n in trace.inner for a in firsts if a is not n and trace.adds(trace.x, trace.input_of(n), a)]
    for a, n in between:
        for last in (*behind, None):
            after = trace.y if last is None else trace.input_of(last)
            for b in (b for first, b in pairs if first is a and b not in (n, last) and n is not last):
                if trace.adds(trace.output_of(n), after, b):
                    yield Ends(End(a), End(b), between=n, behind=last)


def confirmed(
    anatomy: Anatomy, candidates_of: Sequence[Iterable[Ends]], put: Callable[..., Any], traces: Sequence[BlockPass]
) -> list[Ends | None]:
    """Of each layer's candidates the first that passes, or None: one forward on the probe for all layers at a time.

    Args:
        candidates_of: candidates by layer. put: ``anatomy.hook``. traces: what went through each layer.
    """
    left: list[Iterator[Ends]] = [iter(c) for c in candidates_of]
    passed: list[Ends | None] = [None] * len(left)
    while True:
        trials = [
            None
            if passed[l] is not None or (ends := next(rest, None)) is None
            else _Trial(anatomy.layers[l], ends, traces[l], l, anatomy.device)
            for l, rest in enumerate(left)
        ]
        if not any(trials):
            return passed
        with temporary(anatomy.hf) as here, torch.no_grad():
            for trial in trials:
                if trial is not None:
                    trial.install(put, here)
            anatomy.forward(anatomy.probe_ids())
        for l, trial in enumerate(trials):
            if trial is not None:
                passed[l] = trial.passed()


@dataclass
class _Trial:
    """The modules of one layer whose outputs are noise for one forward, and what the layer then makes of them."""

    block: nn.Module
    ends: Ends
    trace: BlockPass
    seed: int
    home: torch.device
    noise: dict[nn.Module, Tensor] = field(default_factory=dict)
    outputs: dict[nn.Module, Tensor] = field(default_factory=dict)
    inputs: dict[nn.Module, Tensor] = field(default_factory=dict)

    def install(self, put: Callable[..., Any], here: Undo) -> None:
        """Puts its hooks on."""
        ends, self.generator = self.ends, torch.Generator().manual_seed(self.seed)
        added = [end.module for end in (*ends.mixers, ends.mlp)]
        looks = [n for n in (ends.start, ends.between, ends.behind) if n is not None]
        if ends.beside is not None:
            looks = [m for m in self.trace.inner if m not in added]
        for module in (self.block, *looks):
            here.put(lambda: put(module, "in", self._look(self.inputs, module, self.home)).remove)
        for module in added:
            here.put(lambda: put(module, "out", self._instead(module)).remove)
        for module in (*looks, self.block):
            here.put(lambda: put(module, "out", self._look(self.outputs, module, self.home)).remove)

    @staticmethod
    def _look(into: dict[nn.Module, Tensor], module: nn.Module, home: torch.device) -> Callable[[Any], None]:
        def look(x: Any) -> None:
            if isinstance(x, Tensor):
                into[module] = x.detach().clone().to(home)

        return look

    def _instead(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        def through(out: Tensor) -> Tensor:
            # rows of unlike sizes: a norm that came after would make them alike
            rows = torch.randn(out.shape, generator=self.generator).flatten(0, -2)
            rows = rows * torch.linspace(0.5, 2.0, len(rows))[:, None]
            size = self.inputs[self.block].float().square().mean().sqrt().item() or 1.0
            noise = (rows.view(out.shape) * size).to(out)
            # a copy: some blocks add to what a module returned in place
            self.noise[module] = noise.to(self.home)
            return noise.clone()

        return through

    def passed(self) -> Ends | None:
        """The ends with their factors, where what the layer made is the sum of its parts."""
        ends, block = self.ends, self.block
        x, y = self.inputs.get(block), self.outputs.get(block)
        if x is None or y is None or len(self.noise) != len(ends.mixers) + 1:
            return None
        begin, end, mixers = x, y, ends.mixers
        if ends.start is not None:
            if not _same(self.inputs.get(ends.start), x) or ends.start not in self.outputs:
                return None
            begin = self.outputs[ends.start]
        if ends.behind is not None:
            if not _same(self.outputs.get(ends.behind), y) or ends.behind not in self.inputs:
                return None
            end = self.inputs[ends.behind]
        if ends.between is None:
            parts = self._parts(begin, end, [*mixers, ends.mlp])
        elif ends.between not in self.inputs or ends.between not in self.outputs:
            return None
        else:
            first = self._parts(begin, self.inputs[ends.between], mixers)
            second = self._parts(self.outputs[ends.between], end, [ends.mlp])
            parts = None if first is None or second is None else [*first, *second]
        if parts is None:
            return None
        last = [m for m in self.noise if m in [e.module for e in mixers]][-1]
        whole = replace(ends, attn=parts[0], mlp=parts[-1], beside=parts[1] if len(parts) > 2 else None, last=last)
        return whole if whole.beside is None or self._is_read(x, whole) else None

    def _parts(self, before: Tensor, after: Tensor, parts: Sequence[End]) -> list[End] | None:
        """The parts with their factors, where noise in their place was added exactly."""
        shape, step = self.trace.x.shape, torch.finfo(before.dtype).eps
        x, y = (t.reshape(shape).double() for t in (before, after))
        outs = [self.noise[part.module].reshape(shape).double() for part in parts]
        for scales in _scales(y - x, outs, self.trace.factors, 1e-5 if step < 1e-5 else 2e-2):
            size = x.abs() + y.abs() + sum(c * out.abs() for c, out in zip(scales, outs))
            right = (y - x - sum(c * out for c, out in zip(scales, outs))).abs() <= _ROUNDINGS * step * size
            if right.all() and min(scales) > _LEAST:
                return [End(part.module, c) for part, c in zip(parts, scales)]
        return None

    def _is_read(self, x: Tensor, ends: Ends) -> bool:
        """Whether something in the block reads the stream with all that is taken to be added before the MLP."""
        step = torch.finfo(x.dtype).eps
        parts = [(self.noise[e.module].reshape(x.shape) * e.factor).double() for e in ends.mixers]
        middle, size = x.double() + sum(parts), x.abs().double() + sum(p.abs() for p in parts)
        inputs = [t.reshape(x.shape).double() for t in self.inputs.values() if t.numel() == x.numel() and t is not x]
        return any(((t - middle).abs() <= _ROUNDINGS * step * size).all() for t in inputs)


def _same(one: Tensor | None, other: Tensor) -> bool:
    return one is not None and one.numel() == other.numel() and torch.equal(one.reshape(other.shape), other)


def _sum(outs: Sequence[Tensor]) -> Tensor:
    first, *others = outs
    return sum(others, first)


def _scales(
    added: Tensor, outs: Sequence[Tensor], factors: Sequence[float], near: float
) -> Iterator[tuple[float, ...]]:
    """Factors on outputs that come nearest to ``added``: one on all of them, the model's own where that is what the fit
    says; then one on each, where all of these are the model's own.
    """
    both = _sum(outs)
    norm = both.square().sum().item()
    fitted = 1.0 if norm == 0 else (added * both).sum().item() / norm
    yield (next((f for f in factors if math.isclose(fitted, f, rel_tol=near)), fitted),) * len(outs)
    if len(set(factors)) > 1 and len(outs) > 1:
        table = torch.stack([out.flatten() for out in outs], 1)
        each = torch.linalg.lstsq(table.cpu(), added.flatten()[:, None].cpu(), driver="gelsd").solution[:, 0].tolist()
        silent = [not out.any() for out in outs]
        own = [
            [1.0] if nothing else [f for f in factors if math.isclose(c, f, rel_tol=near)][:1]
            for c, nothing in zip(each, silent)
        ]
        if all(own):
            yield tuple(parts[0] for parts in own)
