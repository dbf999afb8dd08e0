"""The model to score with: loaded when it is needed, known by its hash and state."""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lens.engine.memory import budget
from lens.models.devices import device_named, dtype_of
from lens.models.loaded import loaded_as, told_apart
from lens.models.names import named
from lens.prompts import PromptError, start_of_rows, start_token
from lens.scoring.causal import settle
from lens.scoring.likelihood import ScoringError, cast, core, plain
from lens.scoring.served.address import is_address
from lens.scoring.served.model import Served
from lens.scoring.served.source import ServedSource
from lens.scoring.store import remember, remembered


class Source:
    """The model to score with, loaded when the first row needs it. `facts`: its hash, state, vocabulary, context and
    start token; `memory`: what a store noted of it.
    """

    def __init__(self, model: Any, dtype: Any, device: Any, store: Any):
        from lens import models

        self.given, self.device = model, device
        self.dtype = None if dtype is None else dtype_of(dtype)
        self.named = isinstance(model, (str, os.PathLike))
        self.name = str(model) if self.named else models.name_of(model)
        if not self.named:
            core(model)
        digest = _files_digest(model) if self.named and store is not None else None
        if digest and self.dtype not in (None, torch.float32):
            digest += f"-{self.dtype_name}"  # of the same files in another dtype the hash is another
        noted = remembered(store, digest) if digest else None
        # what an older version noted lacks the state, or has another token in front
        if noted is not None and not {"state", "start_token"} <= set(noted):
            noted = None
        self.facts = noted if noted is not None else self._facts(anew=store is not None)
        if digest and self.facts is not noted:
            remember(store, digest, self.facts)
        if store is not None and self.facts["state"] is None:
            raise ScoringError(
                f"store={str(store)!r}: the model cannot be identified ({self.facts['unidentified']}), so that the"
                " store could return another one's scores; leave store out, or take that off the model."
            )
        self.start = self.facts["start_token"]

    def begin(self, start: Any) -> Any:
        """The token that `start` names: "auto", "bos", a token as text; a number as it is."""
        if start == "auto" or not isinstance(start, str):
            return self.start if isinstance(start, str) else start
        try:
            return start_token(self.loaded, start)
        except PromptError as error:
            raise ScoringError(str(error)) from None

    def require(self, options: dict) -> None:
        """Refuse options that this source cannot serve: a model at hand serves all."""

    @property
    def identity(self) -> dict:
        """What the numbers depend on, of the model."""
        return {
            "model": self.facts["hash"],
            "state": self.facts["state"],
            **({"loaded": self.facts["loaded"]} if self.facts.get("loaded") else {}),
            "dtype": self.dtype_name,
        }

    @property
    def about(self) -> dict:
        """As it stands in a table of scores."""
        return {"name": self.name, "hash": self.facts["hash"], "dtype": self.dtype_name}

    @property
    def dtype_name(self) -> str:
        """What the model is scored in, as torch names it."""
        if self.dtype is None:
            return "float32" if self.named else str(self.model.dtype).removeprefix("torch.")
        return str(self.dtype).removeprefix("torch.")

    @cached_property
    def loaded(self) -> Any:
        """The model as it was given, or as it is loaded by name, in the dtype asked for."""
        from lens import models

        if not self.named:
            return self.given
        return settle(models.load(self.given, device=self.device or "auto", dtype=self.dtype or "float32"))

    @cached_property
    def model(self) -> Any:
        """The causal model itself, in the dtype and on the device asked for."""
        return cast(plain(self.loaded), self.dtype, None if self.device is None else device_named(self.device))

    @cached_property
    def kind(self) -> str:
        """The type of the device: "cpu", "cuda", "mps"."""
        return (
            device_named(self.device or "auto").type
            if self.named
            else device_named(self.device).type
            if self.device
            else self.model.device.type
        )

    @cached_property
    def batch_tokens(self) -> int:
        """Tokens of a batch where nobody says: by the device, on a GPU by what is free beside the model."""
        # a CPU's are told without the model, which is not loaded where a store has every row
        return budget(self.model if self.kind == "cuda" else torch.device(self.kind)).batch_tokens

    def _facts(self, anew: bool = False) -> dict:
        from lens import models
        from lens.models.state import identity

        hf = core(self.loaded)
        config = getattr(hf.config, "get_text_config", lambda: hf.config)()
        embedding: Any = hf.get_input_embeddings()
        vocabulary = int(embedding.weight.shape[0])
        context = getattr(config, "max_position_embeddings", None)
        known = identity(self.loaded)
        return {
            "hash": models.weight_hash(self.loaded, anew=anew),
            "state": known.digest,
            **({"loaded": loaded} if (loaded := told_apart(loaded_as(self.loaded))) else {}),
            **({"unidentified": known.unidentified} if known.unidentified else {}),
            "vocabulary": vocabulary,
            "context": int(context) if isinstance(context, int) and context > 0 else None,
            "start_token": start_of_rows(self.loaded),
        }


def source_of(model: Any, dtype: Any, device: Any, store: Any) -> Source | ServedSource:
    """The source that a model is, a name, or the address of a server."""
    if is_address(model):
        model = Served(model)
    return (ServedSource if isinstance(model, Served) else Source)(model, dtype, device, store)


def _files_digest(name: Any) -> str | None:
    """SHA-256 over a local model's weight, configuration and tokenizer files; None for a hub name."""
    folder = named(name).folder
    if folder is None:
        return None
    digest = hashlib.sha256()
    for path in sorted(
        p for p in Path(folder).iterdir() if p.suffix in (".safetensors", ".json") and p.name != "card.json"
    ):
        digest.update(json.dumps([path.name, path.stat().st_size]).encode())
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
