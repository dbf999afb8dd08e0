"""The plain model of a training, out of a peft wrapper where there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.anatomy import Anatomy
from ..engine.errors import UnsupportedModel
from ..engine.walk.decoder import without_wrapper
from ..errors import Error
from .recipe import TrainingError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def core(model: Any, error: type[Error] = TrainingError) -> PreTrainedModel:
    """The plain causal language model, out of a peft wrapper where there is one; its modules then hold the adapters.

    Raises: `error`: a wrapper that does more than its adapted layers (virtual tokens, adapters that begin at a token).
    """
    try:
        plain: PreTrainedModel = without_wrapper(model)
        return plain
    except UnsupportedModel as unsupported:
        raise error(
            f"model: {unsupported} What is measured of the model inside would be another model's; train adapters of"
            " layers (LoRA and the like), or weights."
        ) from unsupported


def anatomy(model: Any, error: type[Error] = TrainingError) -> Anatomy:
    """Where the sites of a model in training lie, adapters included."""
    return Anatomy.of(core(model, error))
