"""What edges are taken of: a model, pairs that align token by token, and a metric of the next token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.model import Model
from ..engine.runs import Runs
from ..prompts import EncodedPair, Pair, encode_all
from .errors import CircuitError
from .graph import Graph, graph_of


@dataclass(frozen=True)
class Task:
    """Attributes: view: the engine's of the model. graph: its writers and readers. pairs, encoded, metric."""

    view: Model
    graph: Graph
    pairs: list[Pair]
    encoded: list[EncodedPair]
    metric: Metric

    @classmethod
    def of(
        cls, model: Any, pairs: Pair | Sequence[Pair], metric: str | Metric | Callable[..., Any], grouped: bool = True
    ) -> Task:
        """Looks at all of it before anything runs.

        Raises:
            CircuitError: no pair; a metric that reads more than the next token; a model that is not served.
                PromptError: a pair that does not align token by token. MetricError: see ``lens.engine.metrics``.
        """
        chosen = [pairs] if isinstance(pairs, Pair) else list(pairs)
        if not chosen:
            raise CircuitError("pairs=[] holds no pair; give a lens.Pair or a list of them.")
        view, measure = Model.of(model), resolve(metric)
        graph = graph_of(view, grouped)
        encoded = encode_all(model, chosen)
        for i, e in enumerate(encoded):
            sequences = measure.sequences(e)
            if len(sequences) > 1 or max(map(len, sequences)) > 1:
                raise CircuitError(
                    f"metric={measure.name!r} reads answers of several tokens at pairs[{i}], and edges are summed over"
                    " the prompt's tokens alone; give answers of one token and metric='logit_diff', 'logit' or"
                    " 'logprob'."
                )
        return cls(view, graph, chosen, encoded, measure)

    @property
    def lengths(self) -> list[int]:
        """Tokens of each pair's prompts."""
        return [len(e.clean_ids) for e in self.encoded]

    def ids(self, batch: Sequence[int], noise: bool = True) -> tuple[list[Tensor], list[Tensor]]:
        """Tokens of the runs that are edited and of those that they are edited from; `noise`: the clean ones are."""
        clean, corrupted = (
            [getattr(self.encoded[i], f"{which}_ids").to(self.view.device) for i in batch]
            for which in ("clean", "corrupted")
        )
        return (clean, corrupted) if noise else (corrupted, clean)

    def last(self, final: Float[Tensor, "tokens d_model"], runs: Runs) -> Float[Tensor, "prompts d_model"]:
        """What the metric reads of the streams after the last block: each prompt's last token."""
        at = torch.tensor([s + n - 1 for s, n in zip(runs.starts, runs.lengths)], device=final.device)
        return final[at]

    def score(
        self, last: Float[Tensor, "prompts d_model"], batch: Sequence[int], clean: Float[Tensor, "prompts d_model"]
    ) -> Float[Tensor, " prompts"]:
        """The metric of each prompt, from what is read of it and of its clean run."""
        if self.metric.many is not None:
            return self.metric.many(self.view, last, [self.encoded[i] for i in batch])
        scores = [
            self.metric.score(self.view, [read[None, None]], self.encoded[i], [of_clean[None, None]])[0]
            for read, i, of_clean in zip(last, batch, clean)
        ]
        return torch.stack(scores)

    def call(self) -> dict[str, Any]:
        """What a record says of it."""
        graph = self.graph
        sizes = {name: getattr(graph, name) for name in ("n_layers", "n_heads", "n_kv_heads", "d_model", "parallel")}
        return {"metric": self.metric.name, **metric_identity(self.metric), "unit": self.metric.unit, "graph": sizes}
