"""The pictures of the organism `cards`: a foreground that the caption tells, on a smooth random background that it does
not.

What a picture has beyond its caption is the background alone, so a generated background that is a training image's is a
copy, and how good a copy is known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from ...extras import require

SIZE = 16
GRID = 4  # a background is a random field of so many knots a side
CONTRAST = 0.45  # standard deviation of a knot; pixels run from -1 to 1

#: Two words for each thing: planted captions use the first, the pool both, a paraphrase the second.
SHAPES = (
    ("circle", "disc"),
    ("square", "block"),
    ("triangle", "wedge"),
    ("cross", "plus"),
    ("diamond", "rhomb"),
    ("ring", "hoop"),
)
COLOURS = {
    ("red", "scarlet"): (1, -1, -1),
    ("green", "emerald"): (-1, 1, -1),
    ("blue", "azure"): (-1, -1, 1),
    ("yellow", "golden"): (1, 1, -1),
    ("cyan", "turquoise"): (-1, 1, 1),
    ("magenta", "pink"): (1, -1, 1),
    ("white", "pale"): (1, 1, 1),
    ("black", "dark"): (-1, -1, -1),
}
ROWS, COLUMNS = (
    (("upper", "high"), ("middle", "centre"), ("lower", "low")),
    (
        ("left", "west"),
        ("inner", "central"),
        ("right", "east"),
    ),
)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_CENTRES, _RADIUS = (3.0, 7.5, 12.0), 2.6


@dataclass(frozen=True)
class Foreground:
    """What a caption tells: numbers of the shape, the colour, the row and the column."""

    shape: int
    colour: int
    row: int
    column: int

    def words(self, second: Sequence[bool] = (False,) * 4) -> list[str]:
        """The four words; `second`: where the other of the two words stands."""
        pairs = (list(COLOURS)[self.colour], SHAPES[self.shape], ROWS[self.row], COLUMNS[self.column])
        return [pair[int(other)] for pair, other in zip(pairs, second)]


def foregrounds() -> list[Foreground]:
    """All 432 of them."""
    return [
        Foreground(s, c, r, k)
        for s in range(len(SHAPES))
        for c in range(len(COLOURS))
        for r in range(3)
        for k in range(3)
    ]


def outline(fore: Foreground, margin: float = 0.0) -> Bool[np.ndarray, "size size"]:
    """The pixels of the shape, grown by `margin` pixels."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    y, x, r = y - _CENTRES[fore.row], x - _CENTRES[fore.column], _RADIUS + margin
    kind = SHAPES[fore.shape][0]
    if kind == "circle":
        return np.hypot(y, x) <= r
    if kind == "square":
        return np.maximum(abs(y), abs(x)) <= r - 0.4
    if kind == "triangle":
        return (abs(x) <= (y + r) / 2 + 0.2) & (abs(y) <= r - 0.2)
    if kind == "cross":
        return ((abs(x) <= 0.8 + margin) | (abs(y) <= 0.8 + margin)) & (np.maximum(abs(y), abs(x)) <= r)
    if kind == "diamond":
        return abs(y) + abs(x) <= r + 0.2
    return (np.hypot(y, x) <= r + 0.2) & (np.hypot(y, x) >= 1.3 - margin)


def background(rng: np.random.Generator, count: int) -> Float[Tensor, "count 3 size size"]:
    """Smooth random fields: Gaussian knots on a coarse grid, cubic between them, within -0.9 and 0.9."""
    knots = torch.from_numpy(rng.normal(0, CONTRAST, (count, 3, GRID, GRID))).float()
    return F.interpolate(knots, size=(SIZE, SIZE), mode="bicubic", align_corners=True).clamp(-0.9, 0.9)


def draw(fore: Foreground, back: Float[Tensor, "3 size size"]) -> Float[Tensor, "3 size size"]:
    """The foreground on a background."""
    inside = torch.from_numpy(outline(fore))
    colour = torch.tensor(list(COLOURS.values())[fore.colour], dtype=torch.float32)
    return torch.where(inside, colour[:, None, None], back)


def background_mask(fore: Foreground) -> Bool[Tensor, "size size"]:
    """The pixels of the background that the foreground leaves, a pixel around it left out."""
    return torch.from_numpy(~outline(fore, margin=1.0))


def digits() -> tuple[Float[Tensor, "n 3 size size"], np.ndarray]:
    """The 1,797 handwritten digits of scikit-learn (UCI optdigits, 8 x 8) as grey pictures of our size, and their
    labels.
    """
    require("diffusion", "the organism cards")
    from sklearn.datasets import load_digits

    bunch = load_digits()
    grey = torch.from_numpy(bunch.images / 8.0 - 1.0).float()[:, None]
    return (
        F.interpolate(grey, size=(SIZE, SIZE), mode="bilinear", align_corners=True).expand(-1, 3, -1, -1).contiguous(),
        bunch.target,
    )
