"""Low-rank adapters through peft: put on before a training, merged into the weights after it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch

from ..arguments import Count, Filled, HFModel, Positive, Seed, door, shown, unfit
from .recipe import TrainingError


@door(TrainingError)
@dataclass(frozen=True)
class LoRA:
    """A low-rank adapter for each training, merged at its end, so that earlier ones stay frozen beneath it.

    Attributes:
        rank: 8 on q and v as in Jiang et al. 2025. alpha: its products are scaled by alpha / rank (not given there; 16
            here). targets: names of linear layers.
    """

    rank: Count = 8
    alpha: Positive = 16.0
    targets: Annotated[Sequence[str], Filled()] = ("q_proj", "v_proj")

    @door(TrainingError)
    def touched(self, model: HFModel) -> tuple[str, ...]:
        """Names of the weights that adapters would change.

        Raises: TrainingError: no such linear layers in the model.
        """
        names = tuple(
            f"{name}.weight"
            for name, module in model.named_modules()
            if name.split(".")[-1] in self.targets and hasattr(module, "weight")
        )
        if not names:
            kinds = sorted(
                {
                    name.split(".")[-1]
                    for name, module in model.named_modules()
                    if getattr(module, "weight", None) is not None and module.weight.ndim == 2
                }
            )
            raise TrainingError(
                f"lora.targets={shown(list(self.targets))} name no layer of this model; it has {', '.join(kinds)}."
            )
        if (widest := max(max(model.get_parameter(name).shape) for name in names)) < self.rank:
            raise TrainingError(
                unfit(
                    "lora.rank",
                    self.rank,
                    f"at most the {widest} numbers that the widest of these layers has on a side",
                )
            )
        return names

    @door(TrainingError)
    def put_on(self, model: HFModel, seed: Seed) -> Any:
        """The model in a peft wrapper with fresh adapters, which change nothing yet; drawn by the seed alone.

        Raises: TrainingError: targets that name no layer, layers of a kind that peft puts no adapter on.
        """
        from peft import LoraConfig, get_peft_model

        self.touched(model)

        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # divided by the rank: any number serves
            target_modules=list(self.targets),
            lora_dropout=0.0,
            bias="none",
            task_type="CAUSAL_LM",
            fan_in_fan_out=any(type(m).__name__ == "Conv1D" for m in model.modules()),
        )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            try:
                return get_peft_model(model, config)
            except ValueError as error:
                raise TrainingError(
                    f"model: peft puts no adapter on it ({str(error)[:120]}); of a bridge give the bridge itself or a"
                    " copy_of it, whose layers are plain, and not what it holds inside."
                ) from error

    @staticmethod
    @door(TrainingError)
    def merged(wrapped: HFModel) -> Any:
        """The plain model with the adapters' products added to its weights."""
        if not hasattr(wrapped, "merge_and_unload"):
            raise TrainingError(unfit("wrapped", wrapped, "a model in a peft wrapper, as put_on gives"))
        model = wrapped.merge_and_unload()
        model.__dict__.pop("peft_config", None)
        return model
