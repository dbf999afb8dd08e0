"""DiffusionBench's answers as the browser wants them, and for people without a kernel: payloads, the Python that makes
the numbers again, the copy in a stored notebook.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr

from lens import diffusion
from widgets.base.tables import coloured_table
from widgets.base.text import finite
from widgets.diffusion_bench.captions import CORRELATION, encoded, packed
from widgets.diffusion_bench.question import PLACES, Drawing, Pictures
from widgets.diffusion_bench.work import Work

TITLES = {
    "training": "training picture",
    "before": "before",
    "after": "after the edit",
    "random": "random control",
    "attacked": "after the attack",
}
STATIC_SIDE = 96
ALIKE = " All of these layers read the caption’s words, which no layer and no step changes: the map holds one value."


# --- for the browser


def state(run: Drawing, name: str, pictures: Pictures, bound: Any, level: float) -> dict[str, Any]:
    """The `before`, `after`, `random` or `attacked` trait: pictures of each kept step as one buffer, values [frame,
    caption, seed], what counts as a copy in the last frame.
    """
    q, values = run.question, pictures.values
    whole = values is not None
    final = np.zeros((0, 0)) if values is None else values[-1]
    copies = bound.of(final) if bound is not None and whole else None
    found = {
        "memorised": q.memorised,
        "key": q.fields(),
        "status": "ready" if whole else "running",
        "frames": pictures.done,
        **packed([one for frame in pictures.files for one in frame]),
        "values": [] if values is None else [finite(v) for v in values.ravel()],
        "copied": [] if copies is None else copies.ravel().tolist(),
        "groups": groups(final, copies, q.chosen, level) if whole else [],
    }
    if name == "attacked" and whole:
        e = run.answer
        found |= {"attack": list(e.attack)} | (
            {}
            if e.never is None
            else {
                "never": group(
                    "never trained, same attack", e.never, None if bound is None else bound.of(e.never), level
                )
            }
        )
    return found


def groups(
    values: np.ndarray, copies: np.ndarray | None, chosen: tuple[int, ...], level: float
) -> list[dict[str, Any]]:
    """Captions that the mask was located on, and the others."""
    on = np.isin(np.arange(len(values)), chosen)
    parts = (("located on", on), ("not located on", ~on))
    return [group(name, values[of], None if copies is None else copies[of], level) for name, of in parts if of.any()]


def group(name: str, values: np.ndarray, copies: np.ndarray | None, level: float) -> dict[str, Any]:
    found = {"name": name, "captions": len(values), "pictures": int(values.size), "mean": finite(values.mean())}
    if copies is None or not np.isfinite(values).all():
        return found
    share = diffusion.rate(copies, level=level)
    return found | {
        "copies": int(copies.sum()),
        "rate": finite(share.estimate),
        "low": finite(share.low),
        "high": finite(share.high),
        "method": share.method,
    }


def limit(work: Work) -> dict[str, Any]:
    """What counts as a copy, in words."""
    name, bound = work.measure.name, work.bound
    if not name:
        return {"text": "No training pictures were given, so nothing is said about copies."}
    if bound is None:
        return {
            "text": (
                "What counts as a copy was not said: give pairs that were never trained (never=), or a value"
                " (threshold=)."
            )
        }
    text = f"A picture counts as a copy where its {name} is {bound.copies} {bound.value:.2f}"
    if work.given is not None:
        return {"value": bound.value, "copies": bound.copies, "text": f"{text}, the threshold that was given."}
    text += (
        f": of a fresh caption that was never trained at most {100 * bound.bound:.2g} % of the pictures are expected to"
        f" pass that (of {bound.captions} such captions, {bound.beyond} of {bound.n} pictures do)."
    )
    return {
        "value": bound.value,
        "copies": bound.copies,
        "text": (
            text
            + ("" if bound.resolved else f" So few captions cannot show the {100 * bound.rate:g} % that was asked for.")
        ),
    }


def edit(run: Drawing) -> dict[str, Any]:
    """The edit in numbers: weights set to 0, their share of all, and of each layer's."""
    mask = run.answer.mask
    return {
        "key": run.question.fields(),
        "text": run.question.text(),
        "weights": mask.count,
        "density": mask.density,
        "layers": list(mask.densities().values()),
        "hashes": list(run.hashes),
    }


def scores(run: Drawing) -> dict[str, Any]:
    """The `scores` trait: layers x steps, two float32 buffers."""
    if run.map is None:
        return {}
    names = [str(name) for name in run.map.layer.values]
    buffers = {
        key: np.ascontiguousarray(run.map[key].transpose("layer", "step").values, "<f4").tobytes()
        for key in ("share", "largest")
    }
    return {
        "memorised": run.question.memorised,
        "reference": run.question.reference,
        "place": run.question.place,
        "chosen": list(run.question.chosen),
        "layers": names,
        "short": [short(name) for name in names],
        "steps": run.map.sizes["step"],
        "sets": [int(run.map.attrs["memorised"]), int(run.map.attrs["reference"])],
        **buffers,
    }


def short(name: str) -> str:
    """A layer by its place: down 1.0 is the first attention of the second down block, down 1.0 k its keys."""
    parts = name.split(".")
    block = parts[0].removesuffix("_blocks").removesuffix("_block")
    numbers = [part for part in parts if part.isdigit()]
    which = parts[-1].removeprefix("to_") if parts[-1].startswith("to_") else ""
    return f"{block} {'.'.join(numbers[:2] if parts[0].endswith('s') else numbers[:1])} {which}".strip()


def dataset(run: Drawing, states: Mapping[str, Pictures], bound: Any, seeds: tuple[int, ...]) -> xr.Dataset:
    """The measures over state, caption and seed."""
    axes, values = ("state", "caption", "seed"), np.stack([one.last for one in states.values()])
    found = {"value": (axes, values)} | (
        {} if bound is None else {"copied": (axes, np.where(np.isfinite(values), bound.of(values), False).astype(bool))}
    )
    n = len(run.of)
    return xr.Dataset(
        found,
        {
            "state": list(states),
            "caption": np.arange(n),
            "seed": list(seeds),
            "text": ("caption", list(run.of.captions)),
            "located": ("caption", np.isin(np.arange(n), run.question.chosen)),
        },
    )


# --- a stored notebook


def measured(name: str, value: float | None, copied: bool | None) -> str:
    """A measure in words."""
    if value is None or not np.isfinite(value):
        return "no training picture"
    text = f"{'r' if name == CORRELATION else 'd'} = {value:.2f}".replace("-0.00", "0.00").replace("-", "−")
    return text if copied is None else f"{text}, {'copy' if copied else 'no copy'}"


def static(run: Drawing | None, work: Work, info: Mapping[str, Any], level: float, seed: int, empty: str) -> str:
    """The grid of pictures with their measures, the shares of copies and the map as plain HTML; pictures as data."""
    if run is None or not (states := run.states()):
        return f"<p><em>{html.escape(empty)}</em></p>"
    e, q, bound, name = html.escape, run.question, work.bound, work.measure.name
    left, style = (
        'style="text-align:left;vertical-align:top"',
        'style="text-align:center;vertical-align:top;font-size:11px;max-width:110px"',
    )
    rows: list[tuple[str, torch.Tensor, np.ndarray | None]] = []
    if run.of.images is not None:
        rows += [("training", run.of.images, None)]
    rows += [
        (
            state,
            one.pictures[:, min(seed, one.pictures.shape[1] - 1)],
            one.last[:, min(seed, one.last.shape[1] - 1)],
        )
        for state, one in states.items()
    ]
    body = ""
    for state_, images, values in rows:
        cells = ""
        for i, (caption, file) in enumerate(zip(run.of.captions, _small(images))):
            said = (
                ""
                if values is None or not name
                else measured(name, float(values[i]), None if bound is None else bool(bound.of(values[i])))
            )
            kind = "jpeg" if file[:2] == b"\xff\xd8" else "png"
            alt = e(", ".join(part for part in (caption, TITLES[state_], said) if part))
            cells += (
                f'<td {style}><img alt="{alt}" src="data:image/{kind};base64,{base64.b64encode(file).decode()}"'
                f' width="64" style="image-rendering:pixelated"><br>{e(said)}</td>'
            )
        body += f"<tr><th {left}>{e(TITLES[state_])}</th>{cells}</tr>"
    head = "".join(
        f"<th {style}>{e(caption)}{'' if i in q.chosen else '<br><em>not located on</em>'}</th>"
        for i, caption in enumerate(run.of.captions)
    )
    mask = run.edit.mask if run.edit is not None else None
    what = f"{info['places'][q.place]['text']}. {q.memorised}" + (
        ""
        if mask is None
        else (
            f" against {q.reference or 'nothing'}: {q.text()}, {mask.count:,} weights ({100 * mask.density:.3g} %) set"
            " to 0"
        )
    )
    shares = "".join(_share_row(TITLES[state_], one, bound, q.chosen, level) for state_, one in states.items())
    if "attacked" in states and (fresh := run.answer.never) is not None:
        shares += _line(
            "never trained, same attack",
            [group("", fresh, None if bound is None else bound.of(fresh), level)],
        )
    table = (
        f"<table><thead><tr><th {left}>pictures</th><th {left}>copies, {100 * level:g} % interval over captions</th><th"
        f" {left}>mean {e(name)}</th></tr></thead><tbody>{shares}</tbody></table>"
    )
    return (
        f"<p>{e(what)}. {e(limit(work)['text'])}</p><div"
        f' style="overflow-x:auto"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        f"{table if name else ''}{_map(run)}"
    )


def _share_row(title: str, pictures: Pictures, bound: Any, chosen: tuple[int, ...], level: float) -> str:
    values = pictures.last
    return _line(title, groups(values, None if bound is None else bound.of(values), chosen, level))


def _line(title: str, parts: list[dict[str, Any]]) -> str:
    left = 'style="text-align:left"'
    several = len(parts) > 1
    copies = [
        (
            f"{p['copies']} of {p['pictures']} [{100 * p['low']:.0f} to {100 * p['high']:.0f}"
            f" %]{' ' + p['name'] if several else ''}"
            if "copies" in p
            else "–"
        )
        for p in parts
    ]
    means = ["–" if p["mean"] is None else f"{p['mean']:.2f}".replace("-", "−") for p in parts]
    return (
        f"<tr><th {left}>{html.escape(title)}</th><td {left}>{html.escape('; '.join(copies))}</td><td"
        f" {left}>{'; '.join(means)}</td></tr>"
    )


def _small(images: torch.Tensor) -> list[bytes]:
    side = max(images.shape[-2:])
    return encoded(
        images
        if side <= STATIC_SIDE
        else torch.nn.functional.interpolate(images.float(), scale_factor=STATIC_SIDE / side, mode="area")
    )


def _map(run: Drawing) -> str:
    if run.map is None:
        return ""
    values = run.map["share"].transpose("layer", "step").values
    steps = [str(int(step) + 1) for step in run.map.step.values]
    table = coloured_table(
        steps,
        [html.escape(short(str(name))) for name in run.map.layer.values],
        values,
        max(1e-9, float(values.max())),
        lambda v: str(round(100 * v)),
    )
    place = PLACES[run.question.place]
    return (
        f"<p>Share of a layer’s {place.unit} (%) whose mean energy differs between the two sets by more than 3 standard"
        " errors, by layer (the last on top) and denoising step; about 0.3 % by"
        f" chance.{ALIKE if place.alike else ''}</p>{table}"
    )
