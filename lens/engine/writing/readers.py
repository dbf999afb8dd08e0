"""What reads texts that are written on: a model's written-out blocks where they are exact, else its own forward."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from torch import Tensor

from ..anatomy import Anatomy
from ..changes import edits_in_force, temporary
from ..errors import UnsupportedModel
from ..memory import budget
from ..model import Model
from ..walk.decoder import Decoder
from .acts import Acts
from .own_forward import OwnForward, batches, shares
from .rows import Reader
from .written_out import WrittenOut

#: Rows of a batch, at most: on a CPU more are no faster.
ROWS = {"cpu": 64, "cuda": 512}


class Readers:
    """What reads the texts of a model under what acts on them; the longest of the prompts is compared first."""

    def __init__(self, model: Any, acts: Acts, prompts: Sequence[Tensor]):
        self.model, self.acts, self.hf = model, acts, getattr(model, "original_model", model)
        self.kind: str = getattr(self.hf.config, "model_type", type(self.hf).__name__)
        self.decoder: Decoder | None = None
        self.together = False
        self.view: Model | None = None
        self.device = Anatomy.of(model).device if acts.places else self.hf.get_input_embeddings().weight.device
        self._written_out(max(prompts, key=len))

    def _written_out(self, longest: Tensor) -> None:
        """Takes the written-out blocks where they serve."""
        if edits_in_force(self.hf):
            return  # the edits of a with block around this are hooks on the model's own modules
        try:
            self.view = Model.of(self.model)
        except UnsupportedModel:
            return
        view = self.view
        if view.walked is None or not all(view.walked.has(site, layer) for site, layer in self.acts.places):
            return
        text = longest.to(view.walked.device)
        try:
            # compared with the model's own forward on the longest prompt, once a text
            if not view.walked.verified(text):
                view.record([text], keep=())
        except UnsupportedModel as reason:
            view.refuse(reason)
        if view.walked is not None:
            self.decoder, self.device = view.walked, view.walked.device

    def alone(self) -> str | None:
        """Why texts are written one by one, or None."""
        why = None if self.decoder is not None else batches(self.hf, Anatomy.of(self.model))
        self.together = why is None
        return why

    def rows(self, ids: Sequence[Tensor], most: int, memory_mb: float | None) -> int:
        """Texts at once."""
        view: Any = self.view if self.view is not None else Anatomy.of(self.model)
        can = budget(view, memory_mb)
        config = getattr(self.hf.config, "get_text_config", lambda: self.hf.config)()
        kept = 2 * view.n_layers * max(1, view.n_kv_heads) * max(1, view.d_head) or config.hidden_size
        logits = view.d_vocab * 4 * 3
        longest = max(len(p) for p in ids) + most
        itemsize = self.hf.get_input_embeddings().weight.dtype.itemsize
        row = longest * kept * itemsize + logits
        return max(1, min(ROWS.get(can.kind, ROWS["cpu"]), int(can.bytes // row)))

    def reader(self, stack: ExitStack) -> Reader:
        """A reader for one batch; what it puts on the model goes with `stack`."""
        if self.decoder is not None:
            if self.view is not None:
                self.view.note("walk")
            return WrittenOut(self.decoder, self.acts)
        own = OwnForward(self.hf, self.acts, self.together and shares(self.hf, Anatomy.of(self.model)))
        if self.view is not None:
            self.view.note("hooks", self.view.why)
        if self.acts.places:
            here = stack.enter_context(temporary(self.hf))
            own.hooks(Anatomy.of(self.model), here)
        return own
