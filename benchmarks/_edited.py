"""A small model, by name what changes it or computes with it, and what is left of that afterwards."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

import lens
from lens import curvature, memorization
from lens.engine.change_registry import Changes, core_of
from lens.engine.linear import linears
from lens.subspace import Mask

PAIR = lens.Pair("w4 w5 w6 w7", corrupted="w4 w5 w9 w7", answer=" w10", foil=" w11")
EDITS = (
    lens.Edit(lens.Site("attn_out", 1), "zero"),
    lens.Edit(lens.Site("resid_mid", 0), "scale", scale=0.5),
    lens.Edit(lens.Site("resid_pre", 2, position=1), "zero"),
)
ROWS = np.random.default_rng(0).integers(1, 97, (16, 15))
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _plain() -> Any:
    from tests.models import speaking

    return speaking()


def _bridge() -> Any:
    from tests.models import tiny, word_tokenizer

    return lens.models.wrap(tiny("gpt2"), word_tokenizer(), "tiny-gpt2")


def _layers() -> Any:
    """A model of a type without blocks of the engine's own: its own layers are run, with hooks on them."""
    import transformers

    from tests.models import word_tokenizer

    torch.manual_seed(0)
    config = transformers.OPTConfig(
        vocab_size=97,
        hidden_size=32,
        num_hidden_layers=3,
        ffn_dim=48,
        num_attention_heads=4,
        max_position_embeddings=64,
        word_embed_proj_dim=32,
        init_std=0.3,
        dropout=0.0,
    )
    model = transformers.OPTForCausalLM(config).eval().requires_grad_(False)
    model.tokenizer = word_tokenizer()
    return model


MODELS: dict[str, Callable[[], Any]] = {"plain": _plain, "bridge": _bridge, "layers": _layers}


@dataclass
class Subject:
    """A model, how it was, and by name what is done to it in a round."""

    name: str
    model: Any = None
    uses: dict[str, Callable[[], Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model = MODELS[self.name]()
            self._ready()

    def _ready(self) -> None:
        model, core = self.model, core_of(self.model)
        self.layers = "*.fc1" if self.name == "layers" else "mlp"
        layers = linears(model, self.layers)
        generator = torch.Generator().manual_seed(0)
        self.mask = Mask.of(
            {name: torch.rand(layer.weight.shape, generator=generator) < 0.3 for name, layer in layers.items()}
        )
        factors = curvature.factors(
            model, list(layers)[:2], np.random.default_rng(1).integers(1, 97, (40, 15)), progress=False
        )
        self.edit = curvature.keep(curvature.decompose(model, factors), 0.6, deficient="keep")
        sequences = memorization.Sequences(ROWS[:4], prefix=8)
        edits, texts = {"mask": self.mask, "edit": self.edit}, ROWS[4:8]
        self.uses = {
            "mask": lambda: self.inside(self.mask.applied(model)),
            "curvature edit": lambda: self.inside(self.edit.applied(model)),
            "lens.edited": lambda: self.inside(lens.edited(model, *EDITS)),
            "tradeoff": lambda: memorization.tradeoff(model, edits, sequences, texts, heads=False, progress=False),
            "sweep": lambda: self.sweep(),
        }
        # hooks of a bridge's own, put on at its first forward, are nobody's change
        self.sweep()
        self.uses["tradeoff"]()
        self.weights = [value.detach().clone() for value in core.parameters()]
        self.hooks, self.wanted = self._hooks(), {"": self.sweep()}
        for what, edit in {"mask": self.mask, "curvature edit": self.edit}.items():
            with edit.applied(model):
                self.wanted[what] = self.sweep()

    def inside(self, block: Any) -> None:
        with block:
            _forward(self.model)

    def sweep(self) -> np.ndarray:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return lens.patch(self.model, PAIR, progress=False).effect.values

    def _hooks(self) -> list[tuple[int, ...]]:
        roots = [self.model] if isinstance(self.model, nn.Module) else []
        return [
            tuple(len(getattr(module, kind)) for kind in HOOKS)
            for root in [*roots, core_of(self.model)]
            for module in root.modules()
        ]

    def left(self) -> str | None:
        """What is not as it was before the round, in words; None where all is."""
        core = core_of(self.model)
        if changed := sum(not torch.equal(a, b) for a, b in zip(core.parameters(), self.weights)):
            return f"{changed} of {len(self.weights)} weights are edited"
        if self._hooks() != self.hooks:
            return "hooks are left"
        if (registry := Changes.of(self.model)).changes or registry.sessions:
            return f"{len(registry.changes)} changes and {len(registry.sessions)} computations are held to be under way"
        try:
            self.inside(self.mask.applied(self.model))
            self.inside(lens.edited(self.model, EDITS[0]))
            gap = np.abs(self.sweep() - self.wanted[""]).max()
        except Exception as error:
            return f"the next edit or sweep is refused: {type(error).__name__}: {error}"
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return None if gap < 1e-5 else f"the next sweep is off by {gap:.2g}"
        return "Ctrl-C is swallowed"


def _forward(model: Any) -> None:
    with torch.no_grad():
        model(torch.tensor([[1, 2, 3, 4]]))
