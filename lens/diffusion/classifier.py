"""A small classifier of what captions say: its accuracy on generated pictures stands for the CLIP score, and is read
beside its ceiling, the accuracy on held-out pictures.
"""

from __future__ import annotations

import hashlib
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
from ..arguments import FilePath, NonNegative, Seed, Share, Whole, door
from ..arguments import array as numbers
from ..progress import hidden
from ..results import dataset as results
from ..stats import Interval
from .copies import rate
from .errors import DiffusionError
from .pictures import Images, pixels

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
        guesses = {name: value.reshape(len(value), -1) for name, value in self.predict(images).items()}
        truth = _labels(labels, len(next(iter(guesses.values()))), self.attributes)
        right = np.stack(
            [
                np.where(truth[name][:, None] >= 0, guesses[name] == truth[name][:, None], np.nan)
                for name in self.attributes
            ],
            -1,
        )
        labelled = ~np.isnan(right).all(-1)
        right = np.concatenate(
            [right, np.where(labelled, np.nan_to_num(right, nan=1.0).all(-1), np.nan)[..., None]], -1
        )
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
    digest = hashlib.sha256(json.dumps([attributes, list(x.shape), seed, epochs, batch, noise, WIDTH]).encode())
    for array in (x.astype(np.float32), *truth.values()):
        digest.update(np.ascontiguousarray(array).tobytes())
    identity = digest.hexdigest()
    if path is not None and _checked(path).is_file() and (before := load_classifier(path)).identity == identity:
        return before
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
            _, logits = network(flat[some] + level * torch.randn(flat[some].shape, generator=order))
            count = {name: (value[some] >= 0).sum() for name, value in goal.items()}
            losses = (
                F.cross_entropy(logits[name], goal[name][some], ignore_index=-1, reduction="sum")
                / count[name].clamp_min(1)
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
    classifier = Classifier(network.requires_grad_(False), attributes, tuple(x.shape[-2:]), identity)
    if path is not None:
        classifier.save(path)
    return classifier


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


def _labels(labels: Mapping[str, Any], n: int, attributes: Mapping[str, int] | None = None) -> dict[str, np.ndarray]:
    """Labels as whole numbers; those of a trained classifier must be of its attributes and classes."""
    if not isinstance(labels, Mapping) or not labels or (attributes is not None and set(labels) != set(attributes)):
        named = "at least one attribute" if attributes is None else ", ".join(attributes)
        raise DiffusionError(
            f"labels has {list(labels) if isinstance(labels, Mapping) else type(labels).__name__}; expected a mapping"
            f" of {named} to classes."
        )
    classes = {
        name: numbers(value, f"labels[{name!r}]", f"{n} whole numbers from 0, -1 where there is none", DiffusionError)
        for name, value in labels.items()
    }
    for name, value in classes.items():
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
    return {name: value.astype(np.int64) for name, value in classes.items()}


def _checked(path: str | os.PathLike) -> Path:
    if Path(path).suffix != ".safetensors":
        raise DiffusionError(f"path={str(path)!r}: expected a name that ends in .safetensors.")
    return Path(path)
