"""What readers of dictionaries' files share: what is asked of a file beside its path, and words of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.features import Tap
from ..errors import FeatureError
from ..weights import Matrix, TensorFile


@dataclass(frozen=True)
class Told:
    """What a caller says that no file holds, or that is to stand in a file's place.

    Attributes:
        scale: of the input, for dictionaries whose list of releases has it. tap: a site's name. layer: 0-based.
        without_mean: whether the training's weights were centred.
    """

    scale: float | None = None
    tap: str | None = None
    layer: int | None = None
    without_mean: bool | None = None

    def place(self, found: Tap | None, folder: Path) -> Tap:
        """Where a dictionary reads or writes: as told, or as found.

        Raises:
            FeatureError: neither says it.
        """
        if self.tap is None and self.layer is None:
            if found is None:
                raise FeatureError(
                    f"folder={str(folder)!r} does not say which activation of which layer its dictionary is of; give"
                    " tap='resid_post' and layer=, as its card says."
                )
            return found
        site = self.tap if self.tap is not None else found.site if found is not None else None
        layer = self.layer if self.layer is not None else found.layer if found is not None else None
        if site is None or layer is None:
            raise FeatureError(
                f"tap={self.tap!r}, layer={self.layer!r}: folder={str(folder)!r} does not say the other; give both."
            )
        gain = True if found is None or site != found.site else found.gain
        if site == "mlp_in_without_gain":
            site, gain = "mlp_in", False
        return Tap(site, layer, None if found is None or site != found.site else found.head, gain)


def number(config: Mapping[str, Any], key: str, where: Path, least: int = 1) -> int:
    """A whole number of a configuration. Raises: FeatureError: it is absent or another thing."""
    value = config.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FeatureError(f"{where}: {key}={value!r}; expected a whole number of at least {least}.")
    return value


def oriented(file: TensorFile, name: str, rows: int | None, width: int | None, rows_first: bool) -> Matrix:
    """A matrix in the orientation in which its library writes it, compared with the sizes that are known.

    Raises:
        FeatureError: it has other sizes, or those of the other orientation.
    """
    matrix = Matrix(file, name, turned=not rows_first)
    if name not in file:
        raise FeatureError(f"{file.path} has no {name!r}; it holds {', '.join(sorted(file.shapes))}.")
    shape = matrix.shape
    if (rows is not None and shape[0] != rows) or (width is not None and shape[1] != width):
        written = "[features, width]" if rows_first else "[width, features]"
        raise FeatureError(
            f"{file.path}: {name!r} is {file.shapes[name]}, where {rows if rows is not None else 'any'} features of"
            f" width {width if width is not None else 'any'} are written as {written}; the file is of another"
            " dictionary, or turned round."
        )
    return matrix
