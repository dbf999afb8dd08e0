"""How much memory and time methods take of a model of some sizes, on some devices: arithmetic alone, from a
configuration and from what a device does a second. What it gives is an estimate; no weight is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lens.engine.memory import BACKWARD_TOKENS, SHARE, Budget, mlp_width
from lens.models.devices import size

#: Bytes of a number.
BYTES: Mapping[str, int] = {"float32": 4, "bfloat16": 2}
#: Of the rate of large matrix products, what a sweep, a pass or scoring reaches.
REACHED = 0.5
#: Bytes beside weights and unedited runs without which no method runs.
BESIDE = 1e9
#: Of a device's memory, what the system and libraries leave.
USABLE = 0.95
#: Tokens of K-FAC statistics of which the time is told.
FACTOR_TOKENS = 20_480
#: Of a symmetric product, the share that is computed and kept while it is summed.
_TRIANGLE = 0.625
#: Bytes of the indexes of one token of an edited run.
_INDEX = 64


@dataclass(frozen=True)
class Shape:
    """Sizes of a causal language model.

    Attributes:
        parameters: all of them, a shared one once. inner: those of its blocks; active: of these, what one token meets
            (fewer where experts are chosen).
        width: of the stream. mlp: of an MLP. values: numbers that a token's keys and values are in one block.
        factors: numbers of all K-FAC factors of its MLPs, a shared input once.
    """

    name: str
    parameters: int
    inner: int
    active: int
    blocks: int
    width: int
    mlp: int
    heads: int
    values: int
    vocabulary: int
    factors: int

    @classmethod
    def of(cls, model: Any, name: str = "") -> Shape:
        """The sizes of a Hugging Face model, which may be without weights (on the meta device)."""
        config = model.config.get_text_config()
        ends = {
            id(m.weight): m.weight.numel() for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m
        }
        total = sum(p.numel() for p in model.parameters())
        inner = total - sum(ends.values())
        fused = sum(p.numel() for n, p in model.named_parameters() if ".experts." in n)
        chosen = getattr(config, "num_experts_per_tok", None) or 1
        there = next(
            (
                n
                for key in ("num_local_experts", "num_experts", "n_routed_experts")
                if (n := getattr(config, key, None))
            ),
            chosen,
        )
        width, heads, blocks = config.hidden_size, config.num_attention_heads, config.num_hidden_layers
        mlp = mlp_width(config)
        kv_heads = getattr(config, "num_key_value_heads", None) or heads
        head = getattr(config, "head_dim", None) or width // heads
        return cls(
            name or str(getattr(config, "model_type", "")),
            total,
            inner,
            int(inner - fused * (1 - chosen / there)),
            blocks,
            width,
            mlp,
            heads,
            2 * kv_heads * head,
            config.vocab_size,
            _factors(model) or blocks * (3 * mlp**2 + 2 * width**2),
        )

    def weights(self, dtype: str) -> float:
        """Bytes of the weights."""
        return float(self.parameters * BYTES[dtype])

    def runs(self, tokens: int, dtype: str) -> float:
        """Bytes of the two unedited runs of a pair: stream, what attention adds, keys and values of every block."""
        return float(2 * self.blocks * tokens * (2 * self.width + self.values) * BYTES[dtype])

    def rows(self, tokens: int, dtype: str) -> float:
        """Bytes of all edited runs of a sweep over blocks and positions, held at once."""
        return self.blocks * tokens * (tokens + 1) / 2 * (2 * self.width * BYTES[dtype] + _INDEX)

    def sweep(self, tokens: int) -> float:
        """Operations of a sweep of `resid_pre` over blocks and positions of a pair that differs from the first token
        on: an edited run goes from its position on, through its block and those after it.
        """
        steps = self.blocks * (self.blocks + 1) / 2
        cells, keys = tokens * (tokens + 1) / 2, tokens * (tokens + 1) * (2 * tokens + 1) / 6
        return steps * (2 * self.active / self.blocks * cells + 4 * self.width * keys)

    def heads_sweep(self, tokens: int) -> float:
        """The same of `z` over blocks and heads, all positions together."""
        steps = self.blocks * (self.blocks + 1) / 2
        return self.heads * steps * tokens * (2 * self.active / self.blocks + 4 * self.width * (tokens + 1) / 2)

    def forward(self, tokens: int = 1) -> float:
        """Operations of a forward with logits at every token, a token of a row of so many."""
        return 2.0 * (self.active + self.width * self.vocabulary) + 4 * self.width * self.blocks * (tokens + 1) / 2

    def factor_passes(self) -> float:
        """Operations a token of forward and backward without gradients of weights."""
        return 2 * self.forward()

    def factor_sums(self) -> float:
        """Operations a token of the sums of K-FAC factors."""
        return 2 * _TRIANGLE * self.factors

    def factor_bytes(self) -> float:
        """Bytes of the factors, float32; what is held while they are summed is less."""
        return 4.0 * self.factors


def _factors(model: Any) -> int:
    """Numbers of the K-FAC factors of a model's MLPs: of the layers' inputs (layers of one parent that read as many
    numbers read the same) and outputs.
    """
    from lens.engine.linear import LinearError, linears

    try:
        chosen = linears(model, "mlp")
    except LinearError:
        return 0
    inputs: dict[tuple[str, int], int] = {}
    total = 0
    for name, linear in chosen.items():
        out, width = linear.weight.shape
        inputs[name.rpartition(".")[0] if linear.expert is None else name, width] = width**2
        total += out**2
    return total + sum(inputs.values())


@dataclass(frozen=True)
class Device:
    """What a device does, per second, and has.

    Attributes:
        memory: bytes that are free for a model and its methods.
        rate: operations of large matrix products by format; bandwidth: bytes of its own memory; link: bytes from the
            machine's memory (None: it is that).
        source: where the figures are from: a data sheet, or that they were measured.
    """

    name: str
    memory: float
    rate: Mapping[str, float]
    bandwidth: float
    link: float | None = None
    source: str = "measured"


#: Rates are of dense products; the sheet gives those of sparse ones, twice as high. Link: PCIe 5 with 16 lanes carries
#: 64 GB/s one way, of which 50 are reached from pinned memory.
H100 = Device(
    "H100 SXM 80 GB",
    80e9,
    {"bfloat16": 989e12, "float32": 67e12},
    3.35e12,
    50e9,
    "NVIDIA H100 Tensor Core GPU data sheet, https://www.nvidia.com/en-us/data-center/h100/",
)
#: Bytes a second that one thread hashes (SHA-256) and looks through for what is not finite (measured on a CPU, weights
#: in bfloat16).
HASHED, LOOKED_AT = 1.78e9, 17e9


@dataclass(frozen=True)
class Placed:
    """How a model lies on some devices of one kind.

    Attributes:
        replicas: copies that work side by side, each on `each` devices. offloaded: its weights lie in the machine's
            memory, and are read block by block.
    """

    replicas: int
    each: int
    offloaded: bool = False

    def __str__(self) -> str:
        if self.offloaded:
            return f"{self.replicas} offloaded" if self.replicas > 1 else "offloaded"
        return f"{self.replicas} x {self.each}"


def place(shape: Shape, device: Device, count: int, dtype: str, tokens: int) -> Placed:
    """As many copies as there are devices for, each over as few as hold the weights, the unedited runs of a pair of so
    many tokens, and a gigabyte.
    """
    needed = shape.weights(dtype) + shape.runs(tokens, dtype) + BESIDE
    each = max(1, math.ceil(needed / (device.memory * USABLE)))
    if each <= count:
        return Placed(count // each, each)
    return Placed(count if device.link else 1, 1, True)


@dataclass(frozen=True)
class Estimate:
    """What a model takes on some devices, for pairs of `tokens` tokens. Bytes, and seconds of one of many pairs over
    all devices.
    """

    shape: Shape
    device: Device
    count: int
    dtype: str
    tokens: int
    placed: Placed = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "placed", place(self.shape, self.device, self.count, self.dtype, self.tokens))

    @property
    def fits(self) -> bool:
        """Whether the devices hold weights and unedited runs, so that nothing is offloaded."""
        return not self.placed.offloaded

    @property
    def walks(self) -> int:
        """How many walks a sweep over blocks and positions is cut into: each reads all weights once."""
        free = self.device.memory * USABLE * self.placed.each
        free -= 0 if self.placed.offloaded else self.shape.weights(self.dtype)
        allowed = max(SHARE * free, BESIDE / 2)
        room = Budget("cuda", allowed / 2**20, 0)
        rows = max(room.rows(min(self.shape.runs(self.tokens, self.dtype), room.runs)), BESIDE / 4)
        return math.ceil(self.shape.rows(self.tokens, self.dtype) / rows)

    def seconds(self, operations: float, reads: int, dtype: str | None = None) -> float:
        """Of so many operations, in which all weights are read so often, by one of the copies in turn; what is read
        meanwhile takes no time until it takes more than computing.
        """
        rate = self.device.rate[dtype or self.dtype] * REACHED
        speed = self.device.link if self.placed.offloaded and self.device.link else self.device.bandwidth
        return max(operations / rate, reads * self.shape.weights(self.dtype) / speed) / self.placed.replicas

    @property
    def sweep(self) -> float:
        """Seconds of a pair's sweep of `resid_pre` over blocks and positions."""
        return self.seconds(self.shape.sweep(self.tokens), 1 + self.walks)

    @property
    def heads(self) -> float:
        """Seconds of a pair's sweep of `z` over blocks and heads."""
        return self.seconds(self.shape.heads_sweep(self.tokens), 2)

    @property
    def scoring(self) -> float:
        """Tokens a second."""
        # a batch of many tokens reads the weights once
        return 65_536 / self.seconds(65_536 * self.shape.forward(self.tokens), 1)

    @property
    def factors_fit(self) -> bool:
        """Whether weights and K-FAC factors of all MLPs fit the devices of one copy, or all of them."""
        kept = self.shape.factor_bytes() + BESIDE
        held = 0 if self.placed.offloaded else self.shape.weights(self.dtype)
        return kept + held <= self.device.memory * USABLE * self.count

    @property
    def factors(self) -> float:
        """Seconds of K-FAC statistics over 20,480 tokens: passes in the model's format, sums in float32."""
        passes = self.seconds(FACTOR_TOKENS * self.shape.factor_passes(), FACTOR_TOKENS // BACKWARD_TOKENS)
        return passes + self.seconds(FACTOR_TOKENS * self.shape.factor_sums(), 0, "float32")

    @property
    def hashing(self) -> float:
        """Seconds in which one thread hashes all weights."""
        return self.shape.weights(self.dtype) / HASHED

    @property
    def checking(self) -> float:
        """Seconds in which one thread looks whether all weights are finite."""
        return self.shape.weights(self.dtype) / LOOKED_AT


def duration(seconds: float) -> str:
    """A time for a person.

    >>> duration(0.0173), duration(42), duration(1024), duration(24_120)
    ('17 ms', '42 s', '17 min', '6.7 h')
    """
    for limit, part, unit in ((1, 1e-3, "ms"), (120, 1, "s"), (7200, 60, "min")):
        if seconds < limit:
            return f"{seconds / part:.2g} {unit}" if seconds / part < 10 else f"{seconds / part:.0f} {unit}"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 86_400:.0f} days"


def table(estimates: Mapping[str, Sequence[Estimate]]) -> str:
    """Columns of estimates that differ in the length of their pairs alone, by what each column is called."""
    rows = [["", *estimates]]

    def row(what: str, tell: Any, of: int = 0) -> None:
        rows.append([what, *(tell(column[of]) for column in estimates.values())])

    row("weights", lambda e: size(e.shape.weights(e.dtype)))
    for i, tokens in enumerate(e.tokens for e in next(iter(estimates.values()))):
        row(f"{tokens} tokens: copies x devices of each", lambda e: str(e.placed), i)
        row("  unedited runs of a pair", lambda e: size(e.shape.runs(e.tokens, e.dtype)), i)
        row("  resid_pre by layer and position", lambda e: duration(e.sweep), i)
        row("    walks, each reads all weights", lambda e: str(e.walks), i)
        row("  z by layer and head", lambda e: duration(e.heads), i)
    row("scoring, tokens/s", lambda e: f"{e.scoring:,.0f}")
    row("K-FAC factors, float32", lambda e: size(e.shape.factor_bytes()))
    row("  fit beside the weights, spread", lambda e: "yes" if e.factors_fit else "no")
    row("  over 20,480 tokens", lambda e: duration(e.factors))
    row("hash of the weights, one thread", lambda e: duration(e.hashing))
    row("finite check, one thread", lambda e: duration(e.checking))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))).rstrip()
        for r in rows
    )
