"""Path patching: from a sender head to one receiver, everything else between them held still."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import HFModel, Index, Positive, door
from ..engine.edits import Edit
from ..engine.memory import budget
from ..engine.metrics import Metric, resolve
from ..engine.metrics import identity as metric_identity
from ..engine.model import Model
from ..engine.pieces import batches_of, run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site, indices
from ..engine.sweep import Values, paired
from ..progress import hidden
from ..prompts import EncodedPair, Pair, encode_all
from ..results.record import record_of
from .exact import _labelled, chosen_pairs, remember
from .grid import Grid, PatchError

RECEIVERS = ("q", "k", "v", "resid_pre", "resid_post")


@door(PatchError)
@of_one_model
def path_patch(
    model: HFModel,
    pairs: Pair | Sequence[Pair],
    receiver: Site,
    *,
    senders: Sequence[tuple[Index, Index]] | None = None,
    metric: "str | Metric | Callable[[Any, Any], Any]" = "logit_diff",
    direction: Literal["denoise", "noise"] = "noise",
    through_mlps: bool = True,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """The effect of each sender head on the metric through one receiver only.

    A sender's output ``z`` is taken from the source run, at every prompt token; all other heads stay at the base run;
    what then arrives at the receiver is put into the base run there, and the rest of the model runs on freely.

    Args:
        receiver: ``Site("q" | "k" | "v", layer, head=...)``, or ``Site("resid_pre" | "resid_post", layer)``; the last
            layer's ``resid_post`` gives the direct effect on the logits. A position restricts where the receiver is
            changed.
        senders: ``(layer, head)`` pairs; None for every head that can reach the receiver.
        direction: ``noise`` sends corrupted activations through the path of the clean run (as in the source); or
            ``denoise``.
        through_mlps: let MLPs between sender and receiver respond (as in the source); False keeps only the direct path.

    Returns: a result over ``[prompt,] layer, head`` of the senders, as ``lens.patch``; NaN for heads that are not
        senders. Layers of a hybrid that have no attention heads are not on its axis; what they add is held still too.

    Raises:
        PatchError: a receiver of another kind, or senders that cannot reach it. SiteError: a sender in a layer without
            attention heads.

    Source: Wang et al. 2023, "Interpretability in the Wild", section 3.1 and appendix B; Goldowsky-Dill et al. 2023.

    Cost: a walk of MLPs alone down to the receiver, and a full walk from there, with one row a sender and prompt.
    """
    single, chosen = chosen_pairs(pairs)
    if not isinstance(receiver, Site) or receiver.name not in RECEIVERS:
        raise PatchError(f"receiver={receiver!r} cannot receive; expected a Site named {', '.join(RECEIVERS)}.")
    decoder, measure, began = Model.of(model), resolve(metric), time.perf_counter()
    encoded = encode_all(model, chosen)
    layer = indices(receiver.layer, decoder.n_layers, "layer")[0]
    reach = layer + (receiver.name == "resid_post")
    if not decoder.n_heads:
        decoder.attention_parts()  # says that there are none
    if senders is None:
        senders = [(l, h) for l in decoder.attention_layers if l < reach for h in range(decoder.n_heads)]
    for l, h in senders:
        indices(l, decoder.n_layers, "senders: layer"), indices(h, decoder.n_heads, "senders: head")
        if l % decoder.n_layers >= reach:
            raise PatchError(
                f"senders: head {h} of layer {l} lies at or after the receiver {receiver}; senders must come before it."
            )
    senders = [(l % decoder.n_layers, h % decoder.n_heads) for l, h in senders]
    if not senders:
        raise PatchError(f"receiver={receiver!r} lies before all attention heads; no head can send to it.")
    for l, _ in senders:
        decoder.require("z", l)
    for e in encoded:
        measure.sequences(e)
        indices(receiver.position, len(e.clean_ids), "position")
    if receiver.name in ("q", "k", "v"):
        indices(receiver.head, decoder.heads(receiver.name), "head")
    axis = [l for l in decoder.attention_layers if l <= max(l for l, _ in senders)]
    grid = Grid.make(decoder, encoded, "z", ("layer", "head"), axis)
    lengths = [len(e.clean_ids) for e in encoded]
    ids = [
        (e.corrupted_ids, e.clean_ids) if direction == "denoise" else (e.clean_ids, e.corrupted_ids) for e in encoded
    ]
    keep = ("z", "mlp_out") if not through_mlps else ("z",)
    make_runs = paired(decoder, ids, keep)
    n = len(encoded)
    values = Values.empty(n, grid.shape)
    job = _Job(
        decoder,
        encoded,
        lengths,
        measure,
        receiver,
        layer,
        senders,
        axis,
        () if through_mlps else ("mlp",),
        direction == "noise",
    )

    # two walks with a row a sender, and what arrives at the receiver
    def rows(m):
        return 3 * len(senders) * m * decoder.d_model * 4

    sizes = [len(measure.sequences(e)) * (2 * run_bytes(decoder, m, keep) + rows(m)) for e, m in zip(encoded, lengths)]
    try:
        for batch in tqdm(
            batches_of(sizes, budget(decoder, memory_mb).bytes * 0.6),
            desc="path patch",
            unit="part",
            delay=2.0,
            leave=False,
            disable=hidden(progress),
        ):
            job.run(batch, make_runs, values)
        values.status = "complete"
    except KeyboardInterrupt:
        values.status = "partial"
    values.seconds = time.perf_counter() - began
    call = dict(
        site="z",
        over=["layer", "head"],
        metric=measure.name,
        **metric_identity(measure),
        unit=measure.unit,
        direction=direction,
        method="path",
        receiver=dict(site=receiver.name, layer=layer, head=receiver.head, position=receiver.position),
        through_mlps=through_mlps,
    )
    return remember(
        _labelled(grid, encoded, values, direction, single, record_of(model, decoder, "path patch", call, chosen))
    )


@dataclass(frozen=True)
class _Job:
    """Sender and receiver walks of some prompts."""

    decoder: Model
    encoded: Sequence[EncodedPair]
    lengths: Sequence[int]
    measure: Metric
    receiver: Site
    layer: int
    senders: Sequence[tuple[int, int]]
    axis: list[int]
    freeze: Sequence[str]
    clean_is_base: bool

    @torch.no_grad()
    def run(self, batch: Sequence[int], make_runs, values: Values) -> None:
        answers = [self.measure.sequences(self.encoded[i]) for i in batch]
        ends, bases, sources = [], [], []
        for j in range(len(answers[0])):
            tails = [torch.tensor(a[j][:-1], dtype=torch.long, device=self.decoder.device) for a in answers]
            base, source = make_runs(batch, tails)
            reads = [[self.lengths[i] - 1 + t for t in range(max(1, len(a[j])))] for i, a in zip(batch, answers)]
            at = [torch.tensor(r, device=self.decoder.device) + base.starts[k] for k, r in enumerate(reads)]
            bases.append([base.final[a][None] for a in at])
            sources.append([source.final[a][None] for a in at])
            ends.append(self._received(batch, base, source, reads))
        clean = bases if self.clean_is_base else sources
        for k, i in enumerate(batch):

            def score(resid):
                return self.measure.score(self.decoder, resid, self.encoded[i], [c[k] for c in clean])

            values.base[i], values.source[i] = (
                score([b[k] for b in bases]).item(),
                score([s[k] for s in sources]).item(),
            )
            scores = score([torch.stack(e[k]) for e in ends]).cpu().numpy()
            for (l, h), v in zip(self.senders, scores):
                values.value[i, self.axis.index(l), h] = v

    def _received(self, batch, base: Runs, source: Runs, reads) -> list[list[torch.Tensor]]:
        """Per prompt and sender, the final residual stream at the reads."""
        site = self.receiver.name
        send = [
            (k, (Edit(Site("z", l, head=h, position=range(self.lengths[i])), "replace", source[k]),))
            for k, i in enumerate(batch)
            for l, h in self.senders
        ]
        arrived = self.decoder.run(
            base, send, reads, freeze=("attention", *self.freeze), record=[(site, self.layer)]
        ).recorded.get((site, self.layer), [None] * len(send))
        rows: list[tuple[int, tuple[Edit, ...]]] = []
        for (k, _), got in zip(send, arrived):
            if got is None:
                rows.append((k, ()))
                continue
            start, tensor = got
            wanted = set(indices(self.receiver.position, self.lengths[batch[k]], "position"))
            at = [p for p in range(start, start + len(tensor)) if p in wanted]
            heads = None if self.receiver.head is None else indices(self.receiver.head, tensor.shape[1], "head")
            value = tensor[[p - start for p in at]]
            value = value if heads is None else value[:, heads]
            edit = Edit(Site(site, self.layer, head=heads, position=at), "replace", value)
            rows.append((k, (edit,) if at else ()))
        walked = self.decoder.run(base, rows, reads)
        ends: list[list[torch.Tensor]] = [[] for _ in batch]
        for r, (k, _) in enumerate(rows):
            ends[k].append(walked.resid[walked.first[r] : walked.first[r + 1]])
        return ends
