"""Lenses from files: the house's own, and published ones, whose pickles are read without running them."""

from __future__ import annotations

import os
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ... import reading
from ...arguments import FilePath, HFModel, door
from ...files import expanded
from ...pickled_tensors import PickledTensorsError, read_pickled_tensors
from .errors import JacobianLensError
from .fitted import FORMAT, JacobianLens, TokenLens


@door(JacobianLensError)
def open(
    path: FilePath, model: HFModel | None = None, *, allow_tensors_from_pickle: bool = False
) -> JacobianLens | TokenLens:
    """A lens from a file that ``save`` wrote, or from a published one (``*_jacobian_lens.pt``, or a checkpoint of its
    fit).

    Args:
        model: the model that it must be of, compared now; otherwise that is done where it is used.
        allow_tensors_from_pickle: reads the published form, a pickle of tensors, by a reader that runs nothing of it
            (`lens.pickled_tensors`). Which weights such a lens was fitted on it does not say.

    Raises: JacobianLensError: no such file, no lens in it, a pickle without permission, a lens of another model.
    """
    path = expanded(path)
    said = f"path={os.fspath(path)!r}"
    if not path.is_file():
        raise JacobianLensError(f"{said}: there is no such file.")
    if path.suffix == ".safetensors":
        lens = _own(os.fspath(path), said)
    elif not allow_tensors_from_pickle:
        raise JacobianLensError(
            f"{said} is no .safetensors file; published lenses are pickles of tensors, which are opened with"
            " allow_tensors_from_pickle=True by a reader that runs nothing of them."
        )
    else:
        try:
            lens = _published(read_pickled_tensors(path), said)
        except PickledTensorsError as error:
            raise JacobianLensError(str(error)) from None
    if model is not None:
        lens.require(model)
    return lens


def _own(path: str, said: str) -> JacobianLens | TokenLens:
    try:
        with safe_open(path, "pt") as file:
            header, tensors = file.metadata() or {}, {name: file.get_tensor(name) for name in file.keys()}
        if header.get("format") != FORMAT:
            raise ValueError("it does not say that it is one")
        kind: Any = {"JacobianLens": JacobianLens, "TokenLens": TokenLens}[header["kind"]]
        about = reading.value(header["about"], dict)
        whole, half = (
            {int(name.rpartition(".")[2]): x for name, x in tensors.items() if name.rpartition(".")[0] == which}
            for which in kind._names
        )
        layers = tuple(sorted(whole))
        if half and set(half) != set(whole):
            raise ValueError("its halves have other layers")
        rows = None if kind is JacobianLens else len(about["tokens"])
        lens: JacobianLens | TokenLens = kind(
            layers, _stacked(whole, rows, said), _stacked(half, rows, said) if half else None, about
        )
        return lens
    except JacobianLensError:
        raise
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise JacobianLensError(f"{said} holds no Jacobian lens ({type(error).__name__}: {error}).") from None


def _stacked(by_layer: dict[int, Tensor], rows: int | None, said: str) -> Tensor:
    """Matrices of one shape, square unless their rows are told, in float32 at least, layers ascending."""
    first = next(iter(by_layer.values()), torch.empty(0, 0))
    if first.ndim != 2 or not first.numel() or any(x.shape != first.shape for x in by_layer.values()):
        raise JacobianLensError(f"{said}: its layers' matrices are none, or not of one shape.")
    if first.shape[0] != (first.shape[1] if rows is None else rows) or not first.is_floating_point():
        raise JacobianLensError(f"{said}: its matrices are {first.dtype} of shape {tuple(first.shape)}.")
    whole = torch.stack([by_layer[l].to(torch.promote_types(first.dtype, torch.float32)) for l in sorted(by_layer)])
    if not whole.isfinite().all():
        raise JacobianLensError(f"{said} holds numbers that are not finite.")
    return whole


def _published(told: dict[str, Any], said: str) -> JacobianLens:
    """The published dictionary, or a checkpoint's, with sums in the place of means."""
    sums = "jacobian_sum" in told
    matrices, count = (told.get("jacobian_sum"), told.get("n_done")) if sums else (told.get("J"), told.get("n_prompts"))
    whole = isinstance(matrices, dict) and all(
        type(l) is int and l >= 0 and isinstance(x, Tensor) for l, x in matrices.items()
    )
    if not whole or type(count) is not int or count < 1:
        raise JacobianLensError(
            f"{said} holds the entries {', '.join(map(str, list(told)[:8]))}; a published lens has J, a dictionary of"
            " matrices by layer, and n_prompts."
        )
    mean = _stacked(dict(matrices or {}), None, said)
    layers = tuple(sorted(matrices or {}))
    if (
        sorted(told.get("source_layers", layers)) != list(layers)
        or told.get("d_model", mean.shape[-1]) != mean.shape[-1]
    ):
        raise JacobianLensError(f"{said}: its source_layers or d_model are not those of its matrices.")
    about: dict[str, Any] = {"estimator": "published", "n_prompts": count, "n_odd": 0, "model": {}}
    if isinstance(plain := told.get("metadata"), dict):
        about["metadata"] = {str(k): v for k, v in plain.items() if isinstance(v, str | int | float | bool | None)}
    return JacobianLens(layers, mean / count if sums else mean, None, about)
