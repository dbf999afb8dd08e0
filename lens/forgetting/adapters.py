"""Low-rank adapters through peft: put on before a stage, merged into the weights after it."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import torch

from .data import ForgettingError


@dataclass(frozen=True)
class LoRA:
    """A low-rank adapter for each stage, merged at the stage's end, so that earlier ones stay frozen beneath it.

    Attributes:
        rank: 8 on q and v as in Jiang et al. 2025. alpha: its products are scaled by alpha / rank (not given there; 16 here). targets: names of linear layers.
    """

    rank: int = 8
    alpha: float = 16.0
    targets: tuple[str, ...] = ("q_proj", "v_proj")

    def touched(self, model: Any) -> tuple[str, ...]:
        """Names of the weights that adapters would change.

        Raises: ForgettingError: no such linear layers in the model.
        """
        names = tuple(f"{name}.weight" for name, module in model.named_modules() if name.split(".")[-1] in self.targets and hasattr(module, "weight"))
        if not names:
            kinds = sorted({name.split(".")[-1] for name, module in model.named_modules() if getattr(module, "weight", None) is not None and module.weight.ndim == 2})
            raise ForgettingError(f"lora.targets={list(self.targets)} name no layer of this model; it has {', '.join(kinds)}.")
        return names

    def put_on(self, model: Any, seed: int) -> Any:
        """The model in a peft wrapper with fresh adapters, which change nothing yet; drawn by the seed alone."""
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=list(self.targets), lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                            fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in model.modules()))
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            return get_peft_model(model, config)

    @staticmethod
    def merged(wrapped: Any) -> Any:
        """The plain model with the adapters' products added to its weights."""
        model = wrapped.merge_and_unload()
        model.__dict__.pop("peft_config", None)
        return model
