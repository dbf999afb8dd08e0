"""Heat maps: layer by position, layer by head, the logit lens."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from ..arguments import FilePath, Fraction, Name, Positive, Size, door, unfit
from ..results.dataset import provenance
from .panels import colour_bar, heat
from .style import INK, SEQUENTIAL, UNITS, FigureError, figure, finish, limits, require_variables, shown, token_ticks

_DIRECTION = {"denoise": "clean into corrupted", "noise": "corrupted into clean"}


def _plane(ds: xr.Dataset, variable: str | None, across: str) -> tuple[xr.DataArray, str]:
    """The variable as layer by ``across``, averaged over prompts, and its name."""
    name = variable or ("effect" if "effect" in ds else "mean" if "mean" in ds else None)
    if name is None or name not in ds:
        raise FigureError(f"variable={variable!r} is not in the result; it has {', '.join(map(str, ds.data_vars))}.")
    plane = plane_of(ds, name, across)
    require_variables(ds, ("layer", across), ("layer", across))
    return plane, name


def plane_of(ds: xr.Dataset, name: str, across: str, argument: str = "ds") -> xr.DataArray:
    """A variable as layer by `across`, averaged over prompts. Raises FigureError that names the argument."""
    if ds[name].dtype.kind not in "biuf":
        raise FigureError(f"{argument} has {name} of type {ds[name].dtype}; expected numbers.")
    plane = ds[name].mean("prompt") if "prompt" in ds[name].dims else ds[name]
    if set(plane.dims) != {"layer", across}:
        raise FigureError(
            f"{argument} has the axes {tuple(plane.dims)}; this figure shows layer by {across}. Select first, e.g."
            " ds.sel(...)."
        )
    return plane.transpose("layer", across)


def draw_plane(
    ax, plane: xr.DataArray, label: str, significant: np.ndarray | None, limit: float | None = None, nudge: float = 0.0
) -> list:
    """A heat map of layer by something on `ax`, diverging round zero, with a colour bar; `significant` cells get a dot,
    moved by `nudge` columns.

    Returns the axes that were drawn on.
    """
    values = plane.values.astype(float)
    image = heat(ax, values, limit or limits(values), plane.layer.values, 15, 8)
    bar = colour_bar(ax, image, label, 9, 8, pad=0.02)
    ax.set_ylabel("layer", fontsize=9)
    if significant is not None:
        rows, columns = np.nonzero(significant)
        ax.plot(columns + nudge, rows, "o", color=INK, markersize=3, markeredgecolor="white", markeredgewidth=0.6)
    return [ax, bar]


def _drawn(
    ds: xr.Dataset,
    plane: xr.DataArray,
    name: str,
    width: float,
    alpha: float,
    ax: Any,
    limit: float | None,
    **more: Any,
) -> tuple[Any, Axes, list[Axes] | None]:
    """The heat map of a result with its title, on `ax` or on one of its own: the figure, the axes, and those that were
    drawn on where they are somebody else's.
    """
    given, (fig, ax) = ax is not None, figure(max(4.6, width), 4.8) if ax is None else (ax.figure, ax)
    holm = ds.p_holm.transpose(*plane.dims).values <= alpha if "p_holm" in ds else None
    own = draw_plane(ax, plane, _label(ds, name), holm, limit, **more)
    ax.set_title(_title(ds) + ("" if holm is None else f"\ndots: p ≤ {alpha} after Holm"), fontsize=9)
    return fig, ax, own if given else None


def _label(ds: xr.Dataset, name: str) -> str:
    record = provenance(ds)
    unit = ds[name].attrs.get("units", "")
    metric = record.get("call", {}).get("metric", "metric")
    what = {
        "effect": f"change of {metric}",
        "mean": f"mean change of {metric}",
        "normalized": "share of the clean-corrupted gap",
        "mean_normalized": "share of the mean clean-corrupted gap",
        "value": metric,
    }.get(name, name)
    return f"{what} ({UNITS[unit]})" if unit in UNITS and unit != "1" else what


def _title(ds: xr.Dataset) -> str:
    record = provenance(ds)
    call, model = record.get("call", {}), record.get("model", {}).get("name", "")
    n = f", n = {int(ds['n'].max())} pairs" if "n" in ds else ""
    n = f", {int(ds.sizes['prompt'])} pairs" if "prompt" in ds.dims else n
    method = {"attribution": "attribution patching", "path": "path patching"}.get(call.get("method"), "patching")
    return f"{model}: {method} of {call.get('site', '')}\n{_DIRECTION.get(call.get('direction'), '')}{n}"


@door(FigureError)
def patch_map(
    ds: xr.Dataset,
    path: FilePath | None = None,
    *,
    variable: Name | None = None,
    alpha: Fraction = 0.05,
    ax: Axes | None = None,
    limit: Positive | None = None,
):
    """Layer by position, with the tokens below; several prompts are averaged.

    Args:
        ds: a result of ``lens.patch``, ``lens.causal_trace`` or ``lens.summary``.
        path: where to save; the suffix names the format.
        variable: ``effect`` (``mean`` in a summary) unless told otherwise.
        alpha: cells of a summary whose Holm-corrected p is at most this get a dot.

    Raises:
        ValueError: another grid, or a variable that is not there.

    Source: the layout of Meng et al. 2022, figure 1.
    """
    plane, name = _plane(ds, variable, "position")
    fig, ax, own = _drawn(ds, plane, name, 2.6 + 0.34 * plane.sizes["position"], alpha, ax, limit)
    if "token_clean" in ds.coords and ds.token_clean.dims == ("position",):
        token_ticks(ax, ds.token_clean.values.tolist(), ds.token_corrupted.values.tolist())
    else:
        ax.set_xticks(
            range(plane.sizes["position"]),
            [str(p) for p in plane.position.values],
            fontsize=8,
            rotation=30 if plane.position.dtype.kind in "UO" else 0,
        )
        ax.set_xlabel("position", fontsize=9)
    return finish(fig, path, own)


@door(FigureError)
def head_map(
    ds: xr.Dataset,
    path: FilePath | None = None,
    *,
    variable: Name | None = None,
    alpha: Fraction = 0.05,
    name_top: Size = 5,
    ax: Axes | None = None,
    limit: Positive | None = None,
):
    """Layer by head, the strongest heads named; several prompts are averaged. Arguments as ``patch_map``."""
    plane, name = _plane(ds, variable, "head")
    fig, ax, own = _drawn(ds, plane, name, 2.8 + 0.36 * plane.sizes["head"], alpha, ax, limit, nudge=0.36)
    ax.set_xticks(range(plane.sizes["head"]), plane["head"].values, fontsize=8)
    ax.set_xlabel("head", fontsize=9)
    values, heads = np.abs(np.nan_to_num(plane.values)), plane["head"].values
    for flat in np.argsort(-values, axis=None)[:name_top]:
        l, h = np.unravel_index(flat, values.shape)
        dark = values[l, h] > 0.6 * (limit or limits(plane.values))
        ax.text(
            h,
            l,
            f"{plane.layer.values[l]}.{heads[h]}",
            fontsize=6,
            ha="center",
            va="center",
            color="white" if dark else INK,
        )
    return finish(fig, path, own)


@door(FigureError)
def logit_lens_map(ds: xr.Dataset, path: FilePath | None = None, *, rank: Size = 0):
    """Layer by position, the token that each residual stream would say and how surely (nostalgebraist 2020)."""
    require_variables(ds, ("top_prob", "top_token", "token", "layer"), ("top", "layer", "position"))
    if rank >= ds.sizes["top"]:
        raise FigureError(
            unfit("rank", rank, f"0 to {ds.sizes['top'] - 1}: ds has the {ds.sizes['top']} likeliest tokens")
        )
    probability = ds["top_prob"].isel(top=rank).transpose("layer", "position")
    tokens = ds["top_token"].isel(top=rank).transpose("layer", "position").values
    fig, ax = figure(2.2 + 0.62 * probability.sizes["position"], 0.6 + 0.21 * probability.sizes["layer"])
    image = ax.imshow(probability.values, origin="lower", aspect="auto", cmap=SEQUENTIAL, vmin=0, vmax=1)
    fig.colorbar(image, ax=ax, pad=0.02).set_label("probability", fontsize=9)
    for (l, p), token in np.ndenumerate(tokens):
        ax.text(
            p,
            l,
            shown(str(token))[:9],
            fontsize=5.5,
            ha="center",
            va="center",
            color="white" if probability.values[l, p] < 0.6 else "black",
        )
    ax.set_yticks(range(probability.sizes["layer"]), probability.layer.values, fontsize=7)
    ax.set_ylabel("layer", fontsize=9)
    token_ticks(ax, [str(t) for t in ds.token.values])
    ax.set_title(f"{provenance(ds).get('model', {}).get('name', '')}: logit lens, most likely next token", fontsize=9)
    return finish(fig, path)
