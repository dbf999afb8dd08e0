"""The causal effect of every head on a task: its output at the last token of an uninformative prompt is replaced by its
mean over informative ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
import xarray as xr
from jaxtyping import Float
from torch import Tensor

from ..arguments import Draws, FilePath, HFModel, Positive, Seed, Size, Token, door, shown
from ..cluster import Workers, backend_of
from ..engine.edits import Edit
from ..engine.metrics import Metric
from ..engine.model import Model
from ..engine.pieces import Cell, run_bytes
from ..engine.runs import Runs
from ..engine.sessions import of_one_model
from ..engine.sites import Site
from ..engine.sweep import Sweep, Values, alone
from ..notices import warn
from ..results import dataset as results
from ..results.record import record_of
from ..results.resume import SweepStore
from .approximations import estimate
from .errors import VectorError
from .means import Means, Source, mean_activations
from .prompts import TaskPrompt, as_task, build
from .tasks import Split, Task
from .templates import Form, as_template

METRICS = {"prob": "probability", "logprob": "nats"}
#: Prompts to a region of a store on disk.
REGION = 5
#: Added to the seed for the prompts that are edited, so that they are not those of the means.
TRIALS_SEED = 10_007
#: Bytes of logits held at once; small enough to stay in a processor's cache.
_LOGIT_BYTES = 4 << 20
#: Memory of one cell that waits for its walk, in bytes.
_CELL_BYTES = 900


def first_logprob(decoder: Model, resid: Sequence[Tensor], encoded: Any, clean: Any = None) -> Float[Tensor, " rows"]:
    """Ln p of the answer's first token (nats), from the final residual stream at the last token; the vocabulary is read
    in blocks and never held whole.
    """
    x, target, linear = resid[0][:, 0], encoded.answer_ids[0], decoder.linear_head()
    own = linear is not None
    whole: Any = None
    weight: Any = None
    bias: Any = None
    if linear is None:
        whole = decoder.unembed(x)
    else:
        x, weight, bias = linear[0](x), linear[1].weight, linear[1].bias
    size = max(256, _LOGIT_BYTES // (4 * max(1, len(x))))
    highest = torch.full((len(x),), float("-inf"), dtype=torch.float32, device=x.device)
    total, wanted = torch.zeros_like(highest), torch.zeros_like(highest)
    for a in range(0, decoder.d_vocab, size):
        # the part is changed in place below
        logits = (
            F.linear(x, weight[a : a + size], None if bias is None else bias[a : a + size])
            if own
            else whole[:, a : a + size].clone()
        )
        logits = (decoder.capped(logits) if own else logits).float()
        if a <= target < a + size:
            wanted = logits[:, target - a].clone()
        new = torch.maximum(highest, logits.amax(-1))
        total = total * (highest - new).exp() + logits.sub_(new[:, None]).exp_().sum(-1)
        highest = new
    return wanted - highest - total.log()


#: The log-probability of the answer's first token after the prompt.
FIRST = Metric("first", "nats", lambda e: [()], first_logprob)


@door(VectorError)
@of_one_model
def head_effects(
    model: HFModel,
    task: Task | FilePath,
    *,
    means: Means | None = None,
    trials: Draws = 25,
    shots: Size = 10,
    mean_prompts: Draws = 100,
    source: Source = "demonstrations",
    template: Form | None = None,
    instruction: str | None = None,
    method: Literal["exact", "atp", "atp*", "ig"] = "exact",
    metric: Literal["prob", "logprob"] = "prob",
    steps: Draws = 8,
    seed: Seed = 0,
    start: Token | None = "auto",
    split: Split = "valid",
    known: bool = True,
    memory_mb: Positive | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[xr.Dataset], None] | None = None,
    store: FilePath | None = None,
    backend: Any = "local",
    workers: Workers = 2,
) -> xr.Dataset:
    """The indirect effect of every head of every layer on the answer to prompts with shuffled labels.

    Args:
        means: what replaces each head's output; None: the means over `mean_prompts` prompts of `source` with questions
            of `split`.
        trials: prompts with shuffled labels that are edited; questions of `split`, each equally often.
        source: "demonstrations" (`shots` of them) or "instruction" (the task's instruction, or `instruction`, before
            the bare question; questions of `train`).
        method: "exact"; or an estimate from gradients, see `lens.vectors.approximations`: "atp", "atp*" (a magnitude,
            never negative), "ig" with `steps`.
        metric: of the answer's first token: "prob" (published) or "logprob", which does not saturate near 0 and 1.
        known: the means are over prompts that the model answers (all, with a warning, where it answers none), by their
            whole answers, see `mean_activations`.
        memory_mb: extra memory to stay under; None: by the device. stop: asked between layers; True ends with a partial
            result. on_part:
            called with the result so far.
        store: a path that ends in .zarr; written as the sweep goes and taken up again where it was cut (exact only).
        backend, workers: as ``lens.patch`` (exact only).

    Returns: a result over `prompt, layer, head`: ``effect`` = edited - unedited, ``edited``; by prompt ``base``
        (unedited) and labels. NaN in a hybrid's layers without attention heads, which the record names
        (`without_heads`).

    Warns: where different outputs of the task share their first token, which is all that the effects are of; the record
        counts them (`shared_first_tokens`).

    Raises: VectorError: arguments or a task that cannot be used; means of another model. SiteError: a model without
        attention heads.

    Source: Todd et al. 2024 (one hooked pass a head). Cost, exact: about the unedited prompts and one token a head
        through the later layers: keys and values before the last token are the unedited run's, and all heads of all
        layers go down in one walk.
    """
    task = as_task(task)
    template = as_template(template, task)
    if store is not None and method != "exact":
        raise VectorError(
            f"store={str(store)!r}: method={method!r} takes little longer than reading it back; leave `store` out, or"
            " use method='exact'."
        )
    if backend != "local" and method != "exact":
        raise VectorError(
            f"backend={shown(backend)}: method={method!r} is one pass over the model, here; leave `backend` out, or use"
            " method='exact'."
        )
    decoder = Model.of(model)
    decoder.attention_parts()
    without = sorted(set(range(decoder.n_layers)) - set(decoder.attention_layers))
    prompts = build(
        model,
        task,
        "shuffled",
        n=trials,
        shots=shots,
        split=split,
        template=template,
        seed=seed + TRIALS_SEED,
        start=start,
    )
    if means is None:
        means = task_means(
            model,
            task,
            source=source,
            n=mean_prompts,
            shots=shots,
            split=split,
            template=template,
            instruction=instruction,
            known=known,
            seed=seed,
            start=start,
            progress=progress,
        )
    means.fits(decoder)
    call = dict(
        task=task.name,
        trials=trials,
        shots=shots,
        mean_prompts=mean_prompts,
        source=means.source,
        template=template.name,
        instruction=instruction,
        method=method,
        metric=metric,
        start=start,
        split=split,
        known=known,
        **({"steps": steps} if method == "ig" else {}),
    )
    record = record_of(model, decoder, "head effects", call, seed=seed, store=store) | {
        "shared_first_tokens": _shared_first_tokens(model, task, template),
        "texts": [p.text for p in prompts],
        "means": {name: getattr(means, name) for name in ("n", "asked", "known", "filtered", "source", "task")},
        **({"without_heads": without} if without else {}),
    }
    read = np.exp if metric == "prob" else np.asarray

    def labelled(values: Values) -> xr.Dataset:
        base = read(values.base)
        # an estimate is of the metric itself; a walk gives log-probabilities
        edited = read(values.value) if method == "exact" else values.value + base[:, None, None]
        of = {"effect": (edited - base[:, None, None]).astype(np.float32), "edited": edited.astype(np.float32)}
        ds = xr.Dataset(
            {name: (("prompt", "layer", "head"), v, {"units": METRICS[metric]}) for name, v in of.items()}
            | {"base": ("prompt", base, {"units": METRICS[metric]})},
            coords={"layer": np.arange(decoder.n_layers), "head": np.arange(decoder.n_heads), **prompt_coords(prompts)},
        )
        return results.stamp(ds, record | {"status": values.status, "seconds": round(values.seconds, 4)})

    if method != "exact":
        return labelled(
            estimate(
                decoder,
                prompts,
                means.z,
                method,
                metric,
                steps,
                memory_mb,
                progress,
                stop,
                None if on_part is None else lambda v: on_part(labelled(v)),
            )
        )

    def fill(ds: xr.Dataset, values: Values) -> None:
        edited, base = ds["edited"].transpose("prompt", "layer", "head").values, ds["base"].values
        values.value[...], values.base[...] = (np.log(edited), np.log(base)) if metric == "prob" else (edited, base)

    return effects_of_heads(decoder, prompts, means.z).run(
        labelled,
        record=record,
        store=None
        if store is None
        else lambda template: SweepStore(store, template, regions={"prompt": REGION, "layer": 1}),
        fill=fill,
        memory_mb=memory_mb,
        progress=progress,
        stop=stop,
        on_part=on_part,
        backend=backend_of(backend, workers, store),
    )


def _shared_first_tokens(model: Any, task: Task, template: Form) -> int:
    """How many of the outputs share their first token with another; warns where there are any."""
    shared = task.shared_first_tokens(model, template)
    count = sum(len(ys) for ys in shared.values())
    if count:
        some = "; ".join(", ".join(ys[:4]) + (", ..." if len(ys) > 4 else "") for ys in list(shared.values())[:3])
        warn(
            f"task {task.name!r}: {count} of {len({y for _, y in task.pairs})} outputs share their first token with"
            f" another ({some}); the effects are of the first token and do not tell these apart. Read whole answers"
            " with lens.vectors.evaluate."
        )
    return count


def effects_of_heads(decoder: Model, prompts: Sequence[TaskPrompt], z: Float[Tensor, "layer head d_head"]) -> Sweep:
    """The grid of log-probabilities of every prompt's first answer token with each head's output at the last token
    replaced by `z`, ``[prompt, layer, head]``.
    """
    z = z.to(device=decoder.device, dtype=decoder.dtype)
    lengths = [len(p) for p in prompts]

    def cells(i: int, source: Runs, number: int) -> Iterator[Cell]:
        at = (lengths[i] - 1,)
        for l in decoder.attention_layers:
            for h in range(decoder.n_heads):
                yield Cell((l, h), l, (Edit(Site("z", layer=l, head=h, position=at), "replace", z[l, h]),))

    return Sweep(
        decoder,
        prompts,
        lengths,
        (decoder.n_layers, decoder.n_heads),
        cells,
        alone(decoder, [p.ids for p in prompts], ("z",)),
        FIRST,
        label="head effects",
        bytes_of=lambda i: run_bytes(decoder, lengths[i], ("z",)),
        waiting=decoder.n_layers * decoder.n_heads * _CELL_BYTES,
        region=REGION,
    )


@door(VectorError)
def task_means(
    model: HFModel,
    task: Task | FilePath,
    *,
    source: Source = "demonstrations",
    n: Draws = 100,
    shots: Size = 10,
    split: Split = "valid",
    template: Form | None = None,
    instruction: str | None = None,
    known: bool = True,
    seed: Seed = 0,
    start: Token | None = "auto",
    progress: bool | None = None,
) -> Means:
    """The means that `head_effects` and `extract` take by default: over `n` prompts with demonstrations, or over
    prompts with the instruction (at most one a pair of `train`).

    Raises: VectorError: see `build`.
    """
    if source == "demonstrations":
        prompts = build(model, task, "icl", n=n, shots=shots, split=split, template=template, seed=seed, start=start)
    else:
        # without demonstrations a question can be shown once only
        prompts = build(
            model,
            task,
            "instruction",
            n=min(n, len(as_task(task).train)),
            split="train",
            template=template,
            instruction=instruction,
            seed=seed,
            start=start,
        )
    return mean_activations(model, prompts, known=known, source=source, task=as_task(task).name, progress=progress)


def prompt_coords(prompts: Sequence[TaskPrompt]) -> dict[str, Any]:
    """Labels of the prompt axis."""
    return {
        "prompt": np.arange(len(prompts)),
        "x": ("prompt", [p.x for p in prompts]),
        "y": ("prompt", [p.y for p in prompts]),
        "tokens": ("prompt", [len(p) for p in prompts]),
        "answer_tokens": ("prompt", [len(p.answer_ids) for p in prompts]),
        "fixed_points": ("prompt", [-1 if p.fixed_points is None else p.fixed_points for p in prompts]),
    }
