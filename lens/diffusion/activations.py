"""Statistics of the hidden neurons of a U-Net's feed-forward blocks by caption, denoising step and half of the
guidance.

They are additive over captions, so each caption's are kept on their own (in memory, and in a file of its own where a
folder is given): any set of captions then costs no new run, and a run that was killed goes on at the caption where it
was cut.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from torch import Tensor

from .. import files, reading
from ..arguments import Count, FilePath, Size, door, unfit
from ..engine.linear import Linear, inputs_of
from ..engine.sessions import of_one_model
from ..models import weight_hash
from ..models.hash import older, same_record
from ..notices import warn
from ..subspace.activations import Stats
from ..subspace.sums import lines_of
from .arguments import Captions, Guidance, Seeds, texts_of
from .errors import DiffusionError
from .pipeline import FEED_FORWARD, Pipeline
from .sampling import BATCH, Step, denoise
from .schedules import scheduler_name, timesteps

#: Which rows of the U-Net's batch count: those with the caption, those without, or both (as published).
Half = Literal["caption", "empty", "both"]


@dataclass(frozen=True, eq=False)
class StepStatistics:
    """Sums over the inputs of the feed-forward blocks' second layers, by caption and step.

    Attributes:
        sums: layer -> [caption, step, half, line, d_in] float32: over the seeds and the picture's positions, the energy
            x^2 and that of rows at unit length x^2 / |x|^2; half 0 is the captioned one, half 1 (with guidance) the one
            without.
        rows: layer -> rows that one caption's sums of one half and step are over. model: hash of the U-Net's weights.
            settings: seeds, steps, guidance.
    """

    captions: tuple[str, ...]
    sums: Mapping[str, Float[Tensor, "caption step half line d_in"]]
    rows: Mapping[str, int]
    model: str
    settings: Mapping[str, object]

    def __len__(self) -> int:
        return len(self.captions)

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers that were read."""
        return tuple(self.sums)

    @property
    def steps(self) -> int:
        """How many denoising steps were read."""
        return next(iter(self.sums.values())).shape[1]

    @door(DiffusionError)
    def take(self, items: Sequence[Size]) -> StepStatistics:
        """Those of some captions, by number; no run of the model."""
        items = [int(i) for i in items]
        if not items or max(items) >= len(self):
            raise DiffusionError(
                f"items={items[:8]}: expected numbers of captions from 0 to {len(self) - 1}, at least one."
            )
        at = torch.tensor(items)
        return replace(
            self,
            captions=tuple(self.captions[i] for i in items),
            sums={name: value[at] for name, value in self.sums.items()},
        )

    def __add__(self, other: StepStatistics) -> StepStatistics:
        """Both sets of captions. Raises DiffusionError: other weights or settings."""
        if not same_record(self.model, other.model) or dict(self.settings) != dict(other.settings):
            raise DiffusionError(
                "statistics of other weights, seeds, steps or guidance cannot be added; compute both with the same."
            )
        return replace(
            self,
            captions=self.captions + other.captions,
            sums={name: torch.cat([value, other.sums[name]]) for name, value in self.sums.items()},
        )

    @door(DiffusionError)
    def at(self, step: Size | Sequence[Size], half: Half = "caption") -> Stats:
        """The statistics of one step (or several together) as `lens.subspace` takes them, an item for each caption.

        Raises: DiffusionError: an unknown half, the empty half without guidance, a step that was not run.
        """
        steps = [step] if isinstance(step, int) else [int(s) for s in step]
        halves = {"caption": [0], "empty": [1], "both": [0, 1]}[half]
        first = next(iter(self.sums.values()))
        if max(halves) >= first.shape[2]:
            raise DiffusionError(
                f"half={half!r}: without guidance 'caption' alone was run; take that, or run with guidance above 1."
            )
        if not steps or max(steps) >= first.shape[1]:
            raise DiffusionError(unfit("step", step, f"numbers from 0 to {first.shape[1] - 1}, at least one"))
        # the two lines of every caption; as if each caption's rows of the chosen halves and steps had been seen one
        # after another
        each = {name: value[:, steps][:, :, halves].sum((1, 2)) for name, value in self.sums.items()}
        rows = {
            name: torch.full((len(self),), float(self.rows[name] * len(steps) * len(halves)), dtype=torch.float64)
            for name in each
        }
        return Stats(
            {name: name for name in each},
            {name: lines_of(each[name], rows[name]) for name in each},
            {name: int(rows[name].sum()) for name in each},
            len(self),
            self.model,
            each=each,
            each_rows=rows,
        )


@door(DiffusionError)
@of_one_model
def statistics(
    pipeline: Pipeline,
    captions: Captions,
    *,
    layers: str | Sequence[str] = FEED_FORWARD,
    seeds: Seeds = (0, 1, 2, 3),
    steps: Count = 25,
    first: Count | None = None,
    guidance: Guidance = 3.0,
    batch: Count = BATCH,
    folder: FilePath | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> StepStatistics:
    """Statistics of captions while they are denoised.

    Args:
        layers: names of the linear layers whose inputs are watched; the second layers of the feed-forward blocks, as
            published. `pipeline.CROSS_ATTENTION` reads words.
        seeds: of the starting noise, the same for each caption (the published code has one, 0). first: only the first
            steps, of `steps`.
        folder: each caption's sums are written there as soon as they are whole, and read back by any later call with
            the same weights (the text encoder's too), settings
            and whatever else is in force on the two: hooks, FreeU, adapters' scales.

    Raises: as `denoise`; DiffusionError also for `first` outside of the steps that there are. Stopped: `stop` said so,
        captions that are whole are in `folder`.

    Cost: that of denoising, and a few hundredths of it.
    """
    texts = texts_of(captions)
    pipeline.tokens(texts)
    named, model, there = pipeline.named(layers), pipeline.unet_hash, len(timesteps(pipeline, steps))
    first = there if first is None else first
    if first > there:
        raise DiffusionError(
            f"first={first!r}; the scheduler makes {there} steps of steps={steps}: give 1 to {there}, or None for all."
        )
    numbers = [int(s) for s in seeds]
    settings = {
        "seeds": numbers,
        "steps": int(steps),
        "first": int(first),
        "guidance": float(guidance),
        "scheduler": scheduler_name(pipeline, steps),
        "text encoder": weight_hash(pipeline.text_encoder),
    }
    store = (
        _Store(folder, {"model": model, "state": pipeline.state(), "layers": list(named), **settings})
        if folder is not None
        else None
    )
    by_caption: dict[str, dict[str, Tensor]] = {}
    rows: dict[str, int] = {}
    if store is not None:
        for caption in texts:
            if caption not in by_caption and (stored := store.read(caption)) is not None:
                by_caption[caption], rows = stored
    missing = list(dict.fromkeys(caption for caption in texts if caption not in by_caption))
    per = max(1, batch // max(1, len(numbers)))
    for at in range(0, len(missing), per):
        some = missing[at : at + per]
        sums, watch = watching(pipeline, len(some), layers)
        denoise(
            pipeline,
            some,
            seeds=numbers,
            steps=steps,
            guidance=guidance,
            only=first,
            batch=batch,
            watch=watch,
            decode=False,
            progress=progress,
            stop=stop,
        )
        whole = {name: torch.stack(parts, 1).cpu() for name, parts in sums.parts.items()}
        for number, caption in enumerate(some):
            by_caption[caption] = {name: value[number] for name, value in whole.items()}
            if not all(bool(torch.isfinite(value).all()) for value in by_caption[caption].values()):
                raise DiffusionError(
                    f"captions: the activations of {caption!r} are not finite; run in float32, or undo the edit in"
                    " force."
                )
            rows = {name: count // len(some) for name, count in sums.rows.items()}
            if store is not None:
                store.write(caption, by_caption[caption], rows)
    return StepStatistics(
        tuple(texts),
        {name: torch.stack([by_caption[caption][name] for caption in texts]) for name in named},
        rows,
        model,
        settings,
    )


def watching(pipeline: Pipeline, captions: int, layers: str | Sequence[str] = FEED_FORWARD) -> tuple[_Sums, Callable]:
    """Empty sums of so many captions, and the `watch` of `denoise` that fills them: `parts`, layer -> a list over steps
    of [caption, half, line, d_in].
    """
    sums = _Sums(captions, pipeline.named(layers))
    return sums, sums.watch(pipeline)


class _Sums:
    """What one batch of captions adds: by layer a list over steps of [caption, half, line, d_in], on the device."""

    def __init__(self, captions: int, layers: Mapping[str, Linear]):
        self.captions, self.layers = captions, layers
        self.parts: dict[str, list[Tensor]] = {name: [] for name in layers}
        self.rows: dict[str, int] = {}
        self.space: dict[tuple, Tensor] = {}

    def watch(self, pipeline: Pipeline):
        @contextmanager
        def around(step: Step):
            halves = 2 if step.guided else 1
            own = step.captions.to(pipeline.device)

            def see(name: str, x: Tensor) -> None:
                x = x.float().view(halves * len(own), -1, x.shape[-1])
                key = (x.shape, x.device)
                if key not in self.space:
                    self.space[key] = torch.empty_like(x)
                squares = torch.mul(x, x, out=self.space[key])
                whole = squares.sum(-1)
                # both lines in one product: a row's squares times 1 and times 1 / |x|^2
                lines = torch.bmm(
                    torch.stack([torch.ones_like(whole), whole.clamp_min(1e-30).reciprocal()], 1), squares
                )
                # [caption, half, line, d_in]; the U-Net's batch has the half without a caption first
                lines = lines.view(halves, len(own), 2, -1).flip(0).transpose(0, 1)
                total = lines.new_zeros(self.captions, *lines.shape[1:]).index_add_(0, own, lines)
                parts = self.parts[name]
                if step.number < len(parts):  # a batch may end within a caption's seeds
                    parts[step.number] = parts[step.number] + total
                else:
                    parts.append(total)
                if step.number == 0:
                    self.rows[name] = self.rows.get(name, 0) + len(own) * x.shape[1]

            with inputs_of(pipeline.unet, self.layers, see):
                yield

        return around


class _Store:
    """A file for each caption, named by the hash of everything that its sums depend on."""

    def __init__(self, folder: str | os.PathLike, identity: Mapping[str, object]):
        self.folder, self.identity, self._of = Path(folder), json.dumps(identity, sort_keys=True), dict(identity)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiffusionError(
                f"folder={str(folder)!r} cannot be made ({error}); give a folder that can be written."
            ) from None

    @cached_property
    def _before(self) -> str:
        """What files were named by that an earlier version wrote, if there are files."""
        return json.dumps(older(self._of), sort_keys=True) if any(self.folder.glob("*")) else self.identity

    def path(self, caption: str, identity: str | None = None) -> Path:
        digest = hashlib.sha256("\n".join((identity or self.identity, caption)).encode()).hexdigest()
        return self.folder / f"{digest[:24]}.safetensors"

    def read(self, caption: str) -> tuple[dict[str, Tensor], dict[str, int]] | None:
        path, identity = self.path(caption), self.identity
        if not path.is_file():
            path, identity = self.path(caption, self._before), self._before
        if not path.is_file():
            return None
        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                if about.get("identity") != identity or about.get("caption") != caption:
                    raise ValueError("it holds other statistics")
                rows = reading.value(about["rows"], dict)
                return {name: file.get_tensor(name) for name in rows}, rows
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            warn(f"{path} cannot be read ({error}); its caption is run anew")
            return None

    def write(self, caption: str, sums: Mapping[str, Tensor], rows: Mapping[str, int]) -> None:
        files.write_tensors(
            self.path(caption), sums, {"identity": self.identity, "caption": caption, "rows": json.dumps(dict(rows))}
        )
