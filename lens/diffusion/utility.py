"""What a diffusion model can still do: captions obeyed, the spread of its pictures, the noise it predicts for pictures
that it never saw.

Substitutes, named as such: the accuracy of a small classifier of what captions say stands for the CLIP score, the
Frechet distance in that classifier's features for FID. Both are read beside their ceiling or floor: the classifier's
own accuracy on held-out pictures, the distance between pictures of one source.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from .. import files, reading
from ..arguments import Count, Draws, FilePath, NonNegative, Seed, Share, Whole, door, unfit
from ..arguments import array as numbers
from ..engine.sessions import of_one_model
from ..extras import require
from ..progress import hidden
from ..results import dataset as results
from ..stats import Interval, bootstrap, bootstrap_comparison
from ..stats.bounds import AT_LEAST_0, clip
from .arguments import Captions
from .copies import Images, pixels, rate
from .errors import DiffusionError
from .pipeline import Pipeline
from .sampling import BATCH, noised, predicted
from .schedules import prediction, refuse_unknown

#: Features of the classifier: few, so that a thousand pictures give their covariances.
WIDTH = 32
Features = Float[np.ndarray, "n d"] | Float[np.ndarray, "caption seed d"]


class Network(nn.Module):
    """Two convolutions, `WIDTH` features, one linear head for each attribute. Features are given in standard deviations
    of the pictures that it was trained on.
    """

    centre: Tensor
    scale: Tensor

    def __init__(self, attributes: Mapping[str, int], size: Sequence[int]):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 24, 3, padding=1),
            nn.BatchNorm2d(24),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(24, 48, 3, padding=1),
            nn.BatchNorm2d(48),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(48 * (size[0] // 4) * (size[1] // 4), WIDTH),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(WIDTH, classes) for name, classes in attributes.items()})
        self.register_buffer("centre", torch.zeros(WIDTH))
        self.register_buffer("scale", torch.ones(WIDTH))

    def forward(
        self, x: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n d"], dict[str, Float[Tensor, "n classes"]]]:
        """Standardised features of pictures in -1 to 1, and the logits of each head by its name."""
        features = self.body(x)
        return (features - self.centre) / self.scale, {
            name: head(F.relu(features)) for name, head in self.heads.items()
        }


@dataclass(frozen=True, eq=False)
class Classifier:
    """What captions say, read off pictures. `attributes`: their number of classes; `size`: height and width of the
    pictures; `identity`: hash of what it was trained on.
    """

    network: Network
    attributes: Mapping[str, int]
    size: tuple[int, int]
    identity: str

    @door(DiffusionError)
    def features(self, images: Any) -> Features:
        """The features that the heads read, standardised on the training pictures, [n, d] or [caption, seed, d],
        float64. Raises: DiffusionError: pictures of another size.
        """
        return self._run(images)[0]

    @door(DiffusionError)
    def predict(self, images: Any) -> dict[str, Int[np.ndarray, "..."]]:
        """The likeliest class of each attribute. Raises as `features`."""
        return self._run(images)[1]

    @door(DiffusionError)
    def accuracy(self, images: Any, labels: Mapping[str, Any], *, level: Share = 0.95, seed: Seed = 0) -> xr.Dataset:
        """How many pictures show what was asked for: on generated ones a substitute for the CLIP score, on held-out
        ones this classifier's own ceiling.

        Args:
            images: [n, 3, h, w] or [caption, seed, 3, h, w]. labels: attribute -> class of each caption, -1 where it
                says nothing of it.

        Returns: over `attribute` (with "all": each that the caption tells is right): `accuracy`, `low`, `high` (over
            captions, see `rate`), `n`; over `caption, seed, attribute`: `right` (1, 0, NaN where nothing was told).

        Raises: DiffusionError: pictures or labels that do not fit.
        """
        found = {name: value.reshape(len(value), -1) for name, value in self.predict(images).items()}
        truth = _labels(labels, len(next(iter(found.values()))), self.attributes)
        right = np.stack(
            [
                np.where(truth[name][:, None] >= 0, found[name] == truth[name][:, None], np.nan)
                for name in self.attributes
            ],
            -1,
        )
        told = ~np.isnan(right).all(-1)
        right = np.concatenate([right, np.where(told, np.nan_to_num(right, nan=1.0).all(-1), np.nan)[..., None]], -1)
        names, lines = [*self.attributes, "all"], []
        for column in np.moveaxis(right, -1, 0):
            some = ~np.isnan(column[:, 0])
            one = (
                rate(column[some].astype(bool), level=level, seed=seed)
                if some.any()
                else Interval(np.nan, np.nan, np.nan, level, 0, "none")
            )
            lines.append((one.estimate, one.low, one.high, one.n))
        ds = xr.Dataset(
            {
                **{
                    name: ("attribute", np.array(value))
                    for name, value in zip(("accuracy", "low", "high", "n"), zip(*lines))
                },
                "right": (("caption", "seed", "attribute"), right),
            },
            {"attribute": names},
        )
        return results.stamp(
            ds,
            {
                "kind": "caption accuracy",
                "seed": seed,
                "call": {"level": level, "classifier": self.identity, "substitutes": {"accuracy": "CLIP score"}},
            },
        )

    @door(DiffusionError)
    def save(self, path: FilePath) -> None:
        """Writes a .safetensors file, see `load_classifier`. Raises: DiffusionError: another ending; lens.FileError: it
        cannot be written.
        """
        path = _checked(path)
        about = {
            "kind": "classifier",
            "attributes": json.dumps(dict(self.attributes)),
            "size": json.dumps(list(self.size)),
            "identity": self.identity,
        }
        files.write_tensors(path, self.network.state_dict(), about, parents=True)

    @torch.no_grad()
    def _run(self, images: Images) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        x = pixels(images, size=self.size)
        flat = torch.from_numpy(x.reshape(-1, *x.shape[-3:])).float()
        parts = [self.network(some) for some in flat.split(1024)]
        shape = x.shape[:-3]
        return (
            torch.cat([features for features, _ in parts]).double().numpy().reshape(*shape, -1),
            {
                name: torch.cat([heads[name] for _, heads in parts]).argmax(1).numpy().reshape(shape)
                for name in self.attributes
            },
        )


@door(DiffusionError)
def train_classifier(
    images: Any,
    labels: Mapping[str, Any],
    *,
    seed: Seed = 0,
    epochs: Annotated[int, Whole(1, 10**6)] = 10,
    batch: Annotated[int, Whole(2)] = 64,
    noise: NonNegative = 0.1,
    path: FilePath | None = None,
    progress: bool | None = None,
) -> Classifier:
    """A small convolutional network that reads off pictures what captions say.

    Args:
        images: real pictures; give none that `accuracy` is then measured on. labels: attribute -> class of each
            picture, -1 where it has none (a digit has no colour).
        noise: Gaussian noise of up to this standard deviation is put on the pictures while it is trained, as generated
            pictures have some.
        path: a .safetensors file; one trained on the same pictures, labels and settings is read from it, else it is
            trained and written there.

    Returns: the same numbers for the same arguments (on one kind of machine).

    Raises: DiffusionError: pictures or labels that do not fit, an attribute without two classes.

    Cost: about two seconds for a thousand pictures of 16 x 16 on one core.
    """
    x = pixels(images, ndim=(4,))
    if min(x.shape[-2:]) < 4 or len(x) < 2:
        raise DiffusionError(
            f"images has {len(x)} pictures of {x.shape[-1]} x {x.shape[-2]} pixels; expected at least two, of at least"
            " 4 x 4 pixels."
        )
    truth = _labels(labels, len(x))
    attributes = {name: int(value.max()) + 1 for name, value in truth.items()}
    if short := [
        name for name, classes in attributes.items() if classes < 2 or len(np.unique(truth[name][truth[name] >= 0])) < 2
    ]:
        raise DiffusionError(
            f"labels[{short[0]!r}] has fewer than two classes; expected numbers from 0 with at least two of them."
        )
    told = hashlib.sha256(json.dumps([attributes, list(x.shape), seed, epochs, batch, noise, WIDTH]).encode())
    for array in (x.astype(np.float32), *truth.values()):
        told.update(np.ascontiguousarray(array).tobytes())
    identity = told.hexdigest()
    if path is not None and _checked(path).is_file() and (kept := load_classifier(path)).identity == identity:
        return kept
    flat, goal = torch.from_numpy(x).float(), {name: torch.from_numpy(value) for name, value in truth.items()}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Network(attributes, x.shape[-2:])
    order = torch.Generator().manual_seed(seed)
    per = max(1, len(flat) // batch)
    optimiser = torch.optim.Adam(network.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=1e-2, total_steps=epochs * per)
    network.train()
    for _ in tqdm(range(epochs), desc="classifier", unit="epoch", delay=2.0, leave=False, disable=hidden(progress)):
        for some in torch.randperm(len(flat), generator=order).tensor_split(per):
            level = noise * torch.rand(len(some), 1, 1, 1, generator=order)
            _, found = network(flat[some] + level * torch.randn(flat[some].shape, generator=order))
            there = {name: (value[some] >= 0).sum() for name, value in goal.items()}
            losses = (
                F.cross_entropy(found[name], goal[name][some], ignore_index=-1, reduction="sum")
                / there[name].clamp_min(1)
                for name in attributes
            )
            loss = sum(losses, torch.zeros(()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        features = torch.cat([network.body(some) for some in flat.split(1024)])
        network.centre.copy_(features.mean(0))
        network.scale.copy_(features.std(0).clamp_min(1e-6))
    made = Classifier(network.requires_grad_(False), attributes, tuple(x.shape[-2:]), identity)
    if path is not None:
        made.save(path)
    return made


@door(DiffusionError)
def load_classifier(path: FilePath) -> Classifier:
    """A classifier from the file that `save` wrote. Raises: DiffusionError: it is no such file."""
    path = _checked(path)
    try:
        with safe_open(path, "pt") as file:
            about = file.metadata() or {}
            if about.get("kind") != "classifier":
                raise ValueError("it holds something else")
            attributes, size = reading.value(about["attributes"], dict), tuple(reading.value(about["size"], list))
            network = Network(attributes, size)
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise DiffusionError(
            f"path={str(path)!r} holds no classifier ({str(error).splitlines()[0]}); train one with"
            " train_classifier(..., path=...)."
        ) from None
    return Classifier(network.eval().requires_grad_(False), attributes, size, about["identity"])


# -- spread of the pictures -------------------------------------------------------------------------------------------


@door(DiffusionError)
def frechet(a: Any, b: Any) -> float:
    """Frechet distance of two sets of features, each taken as a Gaussian: |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a
    C_b)^(1/2)); with `Classifier.features` a substitute for FID.

    It is above 0 for two samples of one source, the more so the fewer there are: read it beside `frechet_floor`, and
    compare only sets of equal size.

    Raises: DiffusionError: features that do not fit, or not more pictures than features.

    Source: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium.
    """
    return _frechet(_features(a, "a"), _features(b, "b"))[0]


@door(DiffusionError)
def frechet_interval(a: Any, b: Any, *, level: Share = 0.95, resamples: Draws = 2000, seed: Seed = 0) -> Interval:
    """`frechet` with an interval over pictures, over captions where features are [caption, seed, d].

    The distance is linearised in each picture's share (its influence function) and the interval is of that: a plain
    bootstrap would move the whole interval up, as resampled sets have fewer different pictures. What finite sets add to
    the distance stays in the estimate and its interval; `frechet_floor` says how much.
    """
    x, y = _features(a, "a"), _features(b, "b")
    value, matrix, mean = _frechet(x, y)
    other = _frechet(y, x)[1]
    parts = []
    for given, z, m, sign in ((a, x, matrix, 1), (b, y, other, -1)):
        moved = z - z.mean(0)
        share = sign * 2 * moved @ mean + np.einsum("ni,ij,nj->n", moved, m, moved)
        share = (share - share.mean()).reshape(len(given), -1).mean(1)
        parts.append(share)
    found = bootstrap_comparison(
        parts[0], -parts[1], statistic="difference", paired=False, level=level, resamples=resamples, seed=seed
    )
    method = f"{found.method}, of the linearised distance, {len(parts[0])} and {len(parts[1])} units"
    low, high = value + found.low, value + found.high
    one = Interval(value, low, high, level, found.n, method, "Frechet distance", str(found.kind))
    return clip(one, AT_LEAST_0)


@door(DiffusionError)
def frechet_floor(
    a: Any, b: Any, *, splits: Annotated[int, Whole(2, 10**7)] = 20, level: Share = 0.95, seed: Seed = 0
) -> Interval:
    """The control of `frechet`: mean distance between random sets of these sizes drawn from both put together, in which
    no difference of source is left.

    Captions [caption, seed, d] stay whole. The interval is of the mean over the splits.
    """
    x, y = _features(a, "a"), _features(b, "b")
    if np.ndim(a) != np.ndim(b) or np.shape(a)[1:] != np.shape(b)[1:]:
        raise DiffusionError(
            f"a has shape {np.shape(a)} and b {np.shape(b)}; expected sets alike but for their length (so many seeds a"
            " caption in both)."
        )
    both = np.concatenate([np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(splits):
        order = rng.permutation(len(both))
        found.append(_frechet(*(both[part].reshape(-1, x.shape[1]) for part in (order[: len(a)], order[len(a) :])))[0])
    one = bootstrap(found, level=level, seed=seed, bounds=AT_LEAST_0)
    return Interval(
        one.estimate,
        one.low,
        one.high,
        level,
        splits,
        f"{one.method} over random splits of {len(x)} and {len(y)} pictures",
        "Frechet distance by chance",
        str(one.kind),
    )


@door(DiffusionError)
def precision_recall(
    real: Any, generated: Any, *, nearest: Count = 3, level: Share = 0.95, seed: Seed = 0
) -> xr.Dataset:
    """Precision: the share of generated pictures that lie among the real ones, within the distance of any of them to
    its `nearest`-th neighbour; recall: the other way round.

    Returns: over `measure` ("precision", "recall"): `value`, `low`, `high` (over pictures or captions with the
        neighbourhoods as given, see `rate`), `n`. Both depend on the numbers of pictures: the same on two sets of real
        pictures is what to compare with.

    Raises: DiffusionError: features that do not fit, or too few.

    Source: Kynkaanniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative Models (nearest =
        3).
    """
    require("diffusion", "lens.diffusion.precision_recall")
    from sklearn.metrics import pairwise_distances
    from sklearn.neighbors import NearestNeighbors

    x, y = _features(real, "real", few=True), _features(generated, "generated", few=True)
    if x.shape[1] != y.shape[1] or nearest >= min(len(x), len(y)):
        raise DiffusionError(
            f"real has shape {x.shape}, generated {y.shape}, nearest={nearest!r}; expected equal numbers of features"
            " and more pictures than neighbours in both."
        )
    lines = []
    for manifold, points, given in ((x, y, generated), (y, x, real)):
        radius = (
            NearestNeighbors(n_neighbors=nearest, algorithm="brute").fit(manifold).kneighbors()[0][:, -1]
        )  # without itself
        inside = np.concatenate(
            [
                (pairwise_distances(points[at : at + 512], manifold) <= radius).any(1)
                for at in range(0, len(points), 512)
            ]
        )
        one = rate(inside.reshape(len(given), -1), level=level, seed=seed)
        lines.append((one.estimate, one.low, one.high, one.n))
    ds = xr.Dataset(
        {name: ("measure", np.array(value)) for name, value in zip(("value", "low", "high", "n"), zip(*lines))},
        {"measure": ["precision", "recall"]},
    )
    return results.stamp(
        ds,
        {
            "kind": "precision and recall",
            "seed": seed,
            "call": {"nearest": nearest, "level": level, "real": len(x), "generated": len(y)},
        },
    )


def _frechet(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """The distance; its derivative by the covariance of x, I - C^(-1/2) (C^(1/2) D C^(1/2))^(1/2) C^(-1/2); the
    difference of the means.
    """
    from scipy.linalg import eigh

    if x.shape[1] != y.shape[1]:
        raise DiffusionError(f"a has {x.shape[1]} features and b {y.shape[1]}; take both from one classifier.")
    mean, (c, d) = x.mean(0) - y.mean(0), (np.cov(z, rowvar=False).reshape(z.shape[1], -1) for z in (x, y))
    values, vectors = eigh(c)
    roots = np.sqrt(values.clip(0))
    inverse = np.where(roots > 1e-7 * roots.max(initial=1e-300), 1 / np.maximum(roots, 1e-300), 0)
    root, back = ((vectors * power) @ vectors.T for power in (roots, inverse))
    # symmetric, so that its root is real: the same eigenvalues as C D
    values, vectors = eigh(root @ d @ root)
    roots = np.sqrt(values.clip(0))
    value = float(mean @ mean + np.trace(c) + np.trace(d) - 2 * roots.sum())
    return max(0.0, value), np.eye(len(c)) - back @ ((vectors * roots) @ vectors.T) @ back, mean


def _features(given: Any, argument: str, few: bool = False) -> np.ndarray:
    values = numbers(
        given,
        argument,
        "finite features [n, d] or [caption, seed, d], from `Classifier.features`",
        DiffusionError,
        dtype=np.float64,
    )
    if values.ndim not in (2, 3) or not values.size or not np.isfinite(values).all():
        raise DiffusionError(
            f"{argument} has shape {values.shape}; expected finite features [n, d] or [caption, seed, d], from"
            " `Classifier.features`."
        )
    flat = values.reshape(-1, values.shape[-1])
    if not few and len(flat) <= flat.shape[1]:
        raise DiffusionError(
            f"{argument} has {len(flat)} pictures of {flat.shape[1]} features; their covariance needs more pictures"
            " than features. Generate more."
        )
    return flat


# -- noise of held-out pictures ---------------------------------------------------------------------------------------


@door(DiffusionError)
@of_one_model
def denoising_error(
    pipeline: Pipeline,
    images: Any,
    captions: Captions,
    *,
    bins: Any = 10,
    per: Annotated[int, Whole(1, 10**6)] = 2,
    seed: Seed = 0,
    batch: Count = 2 * BATCH,
    level: Share = 0.95,
    progress: bool | None = None,
) -> xr.Dataset:
    """Mean squared error of the predicted noise on pictures, by bin of the training schedule's step.

    The same seed gives each picture the same steps and noise under any edit (common random numbers), so that errors
    before and after one compare in pairs.

    Args:
        images, captions: held-out pairs. bins: how many of equal width, or their edges [first, ..., last + 1]. per:
            draws of step and noise for each picture and bin.

    Returns: over `picture, bin`: `error`; over `bin`: `mean`, `low`, `high` (bootstrap over pictures), coordinates
        `begin`, `end`; `overall`, `overall_low`, `overall_high` over all bins.

    Raises: DiffusionError: pairs that do not fit, bins that are not there, a scheduler whose network does not predict
        noise, an error that is not finite.

    Cost: pictures x bins x per forward passes of the U-Net, without guidance.
    """
    refuse_unknown(pipeline.scheduler)
    steps = int(pipeline.scheduler.config.num_train_timesteps)
    if (kind := prediction(pipeline.scheduler)) != "epsilon":
        raise DiffusionError(
            f"pipeline: the network of {pipeline.name} predicts {kind!r}; this error is of the predicted noise"
            " ('epsilon')."
        )
    expected = f"1 to {steps}, or rising edges from 0 to {steps}"
    edges = numbers(bins, "bins", expected, DiffusionError, "iu", np.int64)
    if edges.ndim == 0 and 0 < edges <= steps:
        edges = np.linspace(0, steps, int(edges) + 1).round().astype(int)
    if edges.ndim != 1 or len(edges) < 2 or edges[0] < 0 or edges[-1] > steps or (np.diff(edges) < 1).any():
        raise DiffusionError(unfit("bins", bins, expected))
    captions = [captions] if isinstance(captions, str) else list(captions)
    clean = pipeline.encode(torch.from_numpy(images) if isinstance(images, np.ndarray) else images)
    if len(clean) != len(captions):
        raise DiffusionError(
            f"images has {len(clean)} pictures and captions {len(captions)} texts; expected a caption for each picture,"
            " in the same order."
        )
    known = {text: i for i, text in enumerate(dict.fromkeys(captions))}
    states, whose = pipeline.embed(list(known)), torch.tensor([known[text] for text in captions])
    jobs, error = len(edges[:-1]) * per, np.zeros((len(clean), len(edges) - 1))
    some = max(1, batch // jobs)
    with torch.no_grad():
        for at in tqdm(
            range(0, len(clean), some),
            desc="denoising error",
            unit="batch",
            delay=2.0,
            leave=False,
            disable=hidden(progress),
        ):
            of = range(at, min(at + some, len(clean)))
            drawn = [_draw(seed, number, edges, per, tuple(clean.shape[1:])) for number in of]
            t, added = (
                torch.cat([t for t, _ in drawn]).to(clean.device),
                torch.cat([noise for _, noise in drawn]).to(clean),
            )
            number = torch.tensor(of).repeat_interleave(jobs)
            found = []
            for rows in torch.arange(len(t)).split(batch):
                x = noised(pipeline, clean[number[rows]], added[rows], t[rows])
                out = predicted(pipeline, x, t[rows], states[whose[number[rows]]])
                found.append(((out - added[rows]).double() ** 2).flatten(1).mean(1).cpu())
            error[at : at + len(of)] = torch.cat(found).view(len(of), -1, per).mean(2).numpy()
    if not np.isfinite(error).all():
        raise DiffusionError("pipeline: the predicted noise is not finite; run in float32, or undo the edit in force.")
    coords = {
        "picture": np.arange(len(error)),
        "bin": np.arange(error.shape[1]),
        "begin": ("bin", edges[:-1]),
        "end": ("bin", edges[1:]),
    }
    ds = xr.Dataset({"error": (("picture", "bin"), error)}, coords)
    if len(error) > 1:
        by, whole = (
            bootstrap(x, level=level, seed=seed, values="number", bounds=AT_LEAST_0) for x in (error, error.mean(1))
        )
    else:
        by, whole = (
            Interval(value, value * np.nan, value * np.nan, level, 1, "none: one picture")
            for value in (error[0], error.mean())
        )
    ds = ds.assign(
        mean=("bin", by.estimate),
        low=("bin", by.low),
        high=("bin", by.high),
        overall=whole.estimate,
        overall_low=whole.low,
        overall_high=whole.high,
        interval_kind=("bin", np.broadcast_to(by.kind, ds.sizes["bin"])),
        overall_interval_kind=str(whole.kind),
    )
    model = {"name": pipeline.name, "hash": pipeline.unet_hash, "pipeline": pipeline.hash}
    return results.stamp(
        ds,
        {
            "kind": "denoising error",
            "seed": seed,
            "model": model,
            "call": {"bins": edges.tolist(), "per": per, "level": level},
        },
    )


def _draw(
    seed: int, number: int, edges: np.ndarray, per: int, shape: tuple[int, ...]
) -> tuple[Int[Tensor, " job"], Float[Tensor, "job c h w"]]:
    """Steps (`per` in each bin, bins in order) and noise of one picture; they depend on the seed and the picture's
    number alone.
    """
    rng = torch.Generator().manual_seed(
        int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> 1)
    )
    t = torch.cat([torch.randint(int(a), int(b), (per,), generator=rng) for a, b in itertools.pairwise(edges)])
    return t, torch.randn(len(t), *shape, generator=rng)


# -- checks -----------------------------------------------------------------------------------------------------------


def _labels(labels: Mapping[str, Any], n: int, attributes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Labels as whole numbers; those of a trained classifier must be of its attributes and classes."""
    if not isinstance(labels, Mapping) or not labels or (attributes is not None and set(labels) != set(attributes)):
        named = "at least one attribute" if attributes is None else ", ".join(attributes)
        raise DiffusionError(
            f"labels has {list(labels) if isinstance(labels, Mapping) else type(labels).__name__}; expected a mapping"
            f" of {named} to classes."
        )
    made = {
        name: numbers(value, f"labels[{name!r}]", f"{n} whole numbers from 0, -1 where there is none", DiffusionError)
        for name, value in labels.items()
    }
    for name, value in made.items():
        if (
            value.shape != (n,)
            or value.dtype.kind not in "iu"
            or value.min() < -1
            or value.max() > 2**16
            or (attributes is not None and value.max() >= attributes[name])
        ):
            most = "" if attributes is None else f" below {attributes[name]}"
            raise DiffusionError(
                f"labels[{name!r}] has shape {value.shape} and type {value.dtype}; expected {n} whole numbers from"
                f" 0{most}, -1 where there is none."
            )
    return {name: value.astype(np.int64) for name, value in made.items()}


def _checked(path: str | os.PathLike) -> Path:
    if Path(path).suffix != ".safetensors":
        raise DiffusionError(f"path={str(path)!r}: expected a name that ends in .safetensors.")
    return Path(path)
