"""Weights of a dictionary, left in their file and its dtype until they are used, and turned to float32 in blocks."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .. import reading
from ..containers import archive, plain
from .errors import FeatureError

#: Rows that are turned to float32 at a time.
BLOCK = 8192
_DTYPES = ("F64", "F32", "F16", "BF16")


class TensorFile:
    """The tensors of a safetensors file or NumPy archive: their shapes at once, themselves when they are asked for.

    Args:
        path: the file.

    Raises:
        FeatureError: it is no such file, damaged, or holds something else than floating-point numbers.
    """

    def __init__(self, path: Path):
        self.path = plain(path, FeatureError)
        if path.suffix == ".npz":
            arrays = archive(self.path, FeatureError)
            self._arrays: dict[str, Tensor] | None = {n: torch.from_numpy(a) for n, a in arrays.items() if a.ndim}
            self.shapes = {name: tuple(a.shape) for name, a in self._arrays.items()}
            return
        self._arrays = None
        header = reading.safetensors_header(self.path, FeatureError)
        for name, entry in header.items():
            if entry.get("dtype") not in _DTYPES:
                raise FeatureError(
                    f"{self.path}: {name!r} holds {entry.get('dtype')}; expected floating-point numbers"
                    f" ({', '.join(_DTYPES)})."
                )
        self.shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}

    @classmethod
    def of(cls, path: Path, tensors: dict[str, Tensor]) -> TensorFile:
        """Tensors that are in memory, as a file of them; those of whole numbers are left out."""
        file = cls.__new__(cls)
        file.path = path
        file._arrays = {name: x for name, x in tensors.items() if x.is_floating_point()}
        file.shapes = {name: tuple(x.shape) for name, x in file._arrays.items()}
        return file

    def __contains__(self, name: str) -> bool:
        return name in self.shapes

    def tensor(self, name: str) -> Tensor:
        """A tensor in the file's dtype; a map of the file where the library gives one."""
        if name not in self.shapes:
            raise FeatureError(f"{self.path} has no {name!r}; it holds {', '.join(sorted(self.shapes))}.")
        if self._arrays is not None:
            return self._arrays[name]
        from safetensors import safe_open

        try:
            with reading.no_panic(FeatureError, f"{self.path} cannot be read"):
                with safe_open(self.path, framework="pt") as file:
                    tensor: Tensor = file.get_tensor(name)
                    return tensor
        except FeatureError:
            raise
        except Exception as error:  # safetensors' own kind, and what torch raises from depth
            raise FeatureError(f"{self.path} cannot be read ({reading.said(error)})") from error

    def vector(self, name: str, size: int) -> Float[Tensor, " size"]:
        """A tensor of one axis, in float32. Raises: FeatureError: of another size, or not finite."""
        if self.shapes.get(name) != (size,):
            raise FeatureError(f"{self.path}: {name!r} is {self.shapes.get(name)}; expected ({size},).")
        vector = self.tensor(name).float()
        if not bool(torch.isfinite(vector).all()):
            raise FeatureError(f"{self.path}: {name!r} holds NaN or infinity; fetch the file again.")
        return vector


@dataclass(eq=False)
class Matrix:
    """A matrix of a dictionary as ``[rows, width]``, whatever its orientation in the file.

    Attributes:
        file, name: where it is. turned: whether the file has it as ``[width, rows]``. layer: of a stack ``[rows,
            layer, width]`` the one that is meant.
    """

    file: TensorFile | None
    name: str
    turned: bool = False
    layer: int | None = None
    given: Tensor | None = None

    @classmethod
    def of(cls, tensor: Float[Tensor, "rows width"], name: str = "weight") -> Matrix:
        """A matrix that is in memory."""
        return cls(None, name, given=tensor)

    @functools.cached_property
    def whole(self) -> Float[Tensor, "rows width"]:
        """All of it, in the file's dtype."""
        if self.given is not None:
            return self.given
        assert self.file is not None
        tensor = self.file.tensor(self.name)
        tensor = tensor if self.layer is None else tensor[:, self.layer]
        return tensor.T if self.turned else tensor

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and width, known before it is read."""
        if self.given is not None:
            return self.given.shape[0], self.given.shape[1]
        assert self.file is not None
        shape = self.file.shapes.get(self.name, ())
        shape = shape if self.layer is None else (shape[0], shape[2])
        if len(shape) != 2:
            raise FeatureError(f"{self.file.path}: {self.name!r} is {shape}; expected a matrix.")
        return (shape[1], shape[0]) if self.turned else (shape[0], shape[1])

    def rows(self, index: Int[Tensor, " k"], device: Any = None) -> Float[Tensor, "k width"]:
        """Some rows in float32; only they are read where rows lie together in the file.

        Raises:
            FeatureError: one of them holds NaN or infinity.
        """
        rows = self.whole[index.to(self.whole.device)].float()
        if not bool(torch.isfinite(rows).all()):
            bad = int(index[(~torch.isfinite(rows).all(1)).nonzero()[0, 0].to(index.device)])
            raise FeatureError(
                f"feature {bad}: its row of {self.name!r} holds NaN or infinity; the file is damaged, or of a training"
                " that came apart."
            )
        return rows.to(device) if device is not None else rows

    def blocks(self, device: Any = None) -> Iterator[tuple[slice, Float[Tensor, "rows width"]]]:
        """All rows in float32, so many at a time, on a device."""
        for start in range(0, self.shape[0], BLOCK):
            part = slice(start, min(start + BLOCK, self.shape[0]))
            yield part, self.whole[part].float().to(device)

    @functools.cached_property
    def norms(self) -> Float[Tensor, " rows"]:
        """The length of each row, in float32.

        Raises:
            FeatureError: NaN or infinity in one.
        """
        norms = torch.cat([rows.norm(dim=1) for _, rows in self.blocks()])
        if not bool(torch.isfinite(norms).all()):
            self.rows(torch.arange(len(norms))[~torch.isfinite(norms)][:1])
        return norms
