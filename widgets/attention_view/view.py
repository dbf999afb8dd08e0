"""AttentionView: the attention pattern of every head, one head large, one token read out."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import numpy as np
import traitlets
import xarray as xr

from lens.arguments import HFModel, Index, door
from lens.prompts import Pair
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.base.text import escaped
from widgets.base.view import View
from widgets.errors import ViewError

THUMBNAIL = 24
SCALES = ("full", "root", "head")
EMPTY = "No attention had been computed when this notebook was stored."
STATIC_TOKENS = 40


class AttentionView(View):
    """Look at attention: all heads as thumbnails, the chosen head token by token, the chosen token's weights as
    numbers.

    `text` is a text or a `lens.Pair`; of a pair the clean prompt, the corrupted one, or the difference of their
    patterns is shown. Traits: `text`, `which` (text, clean, corrupted, difference), `layer`, `head`, `token` (index of
    the chosen token, negative from the end), `reverse` (who attends to it, instead of what it attends to),
    `hide_first`, `scale` (full: 0 to 1, root, head: each head's largest), `status`, `error`; `overview` (uint8
    thumbnails, layer x head x n x n) and `pattern` (float32, query x key, of the chosen head) carry the numbers. Raises
    ViewError on a layer or head out of range.
    """

    _esm = script("attention_view")
    _css = style("attention_view")

    text = traitlets.Unicode().tag(sync=True)
    which = traitlets.Unicode("text").tag(sync=True)
    choices: traitlets.List[Any] = traitlets.List().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(-1).tag(sync=True)
    reverse = traitlets.Bool(False).tag(sync=True)
    hide_first = traitlets.Bool(False).tag(sync=True)
    scale = traitlets.Enum(SCALES, "root").tag(sync=True)
    status = traitlets.Unicode().tag(sync=True)
    error = traitlets.Dict().tag(sync=True)
    overview = traitlets.Dict().tag(sync=True, echo_update=False)
    pattern = traitlets.Dict().tag(sync=True, echo_update=False)

    @door(ViewError)
    def __init__(
        self,
        model: HFModel,
        text: str | Pair = "",
        *,
        layer: Index = 0,
        head: Index = 0,
        compute: Callable[[Any, str], xr.Dataset] | None = None,
    ) -> None:
        info = describe_model(model)
        for name, value, size in (("layer", layer, info["layers"]), ("head", head, info["heads"])):
            if size and not 0 <= value < size:
                raise ViewError(
                    f"{name}: {value} is out of range for {info['name']}, which has {size} of them (0 to {size - 1})"
                )
        self.model = model
        self._compute = compute or _attention
        self._texts = (
            {"clean": text.start + text.clean, "corrupted": text.start + text.corrupted}
            if isinstance(text, Pair)
            else {}
        )
        self._known: dict[str, xr.Dataset] = {}
        choices = [*self._texts, "difference"] if self._texts else ["text"]
        super().__init__(
            model_info=info,
            layer=layer,
            head=head,
            choices=choices,
            which=choices[0],
            text=text if isinstance(text, str) else text.start + text.clean,
        )
        self.observe(lambda _: self._request(), ["text", "which"])
        self.observe(lambda _: self._chosen(), ["layer", "head"])
        self.observe(lambda _: self._publish_overview(), "hide_first")
        self._request()

    @property
    def result(self) -> xr.DataArray | None:
        """The pattern shown, (layer, head, query, key); None before it is computed."""
        try:
            return self._shown()
        except KeyError:
            return None

    def _request(self) -> None:
        wanted = self._wanted()
        if not any(wanted.values()):
            self.publish(status="", error={}, overview={}, pattern={})
            return
        self.publish(status="Computing …", error={})
        self._worker.quick("attention", lambda: self._load(wanted))

    def _wanted(self) -> dict[str, str]:
        if not self._texts:
            return {"text": self.text}
        return self._texts if self.which == "difference" else {self.which: self._texts[self.which]}

    def _load(self, wanted: dict[str, str]) -> None:
        try:
            for name, text in wanted.items():
                if name == "text" or name not in self._known:
                    self._known[name] = self._compute(self.model, text)
            self._shown()
        except BaseException as error:
            self.publish(
                status="",
                error={"title": "The attention could not be computed", "text": str(error) or type(error).__name__},
                overview={},
                pattern={},
            )
            return
        self._publish_overview()
        self._publish_pattern()
        self.publish(status="")
        self._refresh_static()

    def _shown(self) -> xr.DataArray:
        if self.which != "difference":
            return self._known[self.which]["pattern"]
        clean, corrupted = self._known["clean"]["pattern"], self._known["corrupted"]["pattern"]
        if clean.sizes != corrupted.sizes:
            raise ViewError(
                f"the prompts have {clean.sizes['query']} and {corrupted.sizes['query']} tokens: a difference needs as"
                " many in both; look at them one by one"
            )
        return clean - corrupted.values

    def _tokens(self) -> list[str]:
        if self.which != "difference":
            return token_labels(self._known[self.which])
        both = zip(token_labels(self._known["clean"]), token_labels(self._known["corrupted"]), strict=True)
        return [a if a == b else f"{a}|{b}" for a, b in both]

    def _publish_overview(self) -> None:
        if (pattern := self.result) is None:
            return
        values = np.nan_to_num(np.asarray(pattern.transpose("layer", "head", "query", "key").values, dtype=np.float32))
        if self.hide_first:
            values = values.copy()
            values[..., 0] = 0
        small = pooled(values, THUMBNAIL)
        signed = self.which == "difference"
        image = np.round(128 + 127 * np.clip(small, -1, 1)) if signed else np.round(255 * np.clip(small, 0, 1))
        self.publish(
            overview={
                "image": image.astype(np.uint8).tobytes(),
                "size": small.shape[-1],
                "layers": labels(pattern, "layer"),
                "heads": labels(pattern, "head"),
                "signed": signed,
            }
        )

    def _chosen(self) -> None:
        """Another layer or head: shown, or said that it is not there."""
        if self.result is not None:
            self.publish(error={})
            self._publish_pattern()
            self._refresh_static()

    def _publish_pattern(self) -> None:
        if (pattern := self.result) is None:
            return
        there = {"layer": labels(pattern, "layer"), "head": labels(pattern, "head")}
        for name, known in there.items():
            if getattr(self, name) not in known:
                text = (
                    f"{name}: {getattr(self, name)} is not there; {self.model_info['name']} has {name}s {known[0]} to"
                    f" {known[-1]}. Choose one of these."
                )
                self.publish(error={"title": f"There is no such {name}", "text": text}, pattern={})
                return
        layer, head = self.layer, self.head
        one = pattern.transpose("layer", "head", "query", "key").values[
            there["layer"].index(layer), there["head"].index(head)
        ]
        self.publish(
            pattern={
                "layer": layer,
                "head": head,
                "size": one.shape[0],
                "tokens": self._tokens(),
                "signed": self.which == "difference",
                "values": np.ascontiguousarray(one, dtype="<f4").tobytes(),
            }
        )

    def _static(self) -> str:
        pattern = self.result
        if pattern is None or not self.pattern:
            return f"<p><em>{EMPTY}</em></p>"
        tokens, size = self.pattern["tokens"], self.pattern["size"]
        values = np.frombuffer(self.pattern["values"], dtype="<f4").reshape(size, size)
        keep = range(max(0, size - STATIC_TOKENS), size)
        style = "padding:1px 3px;text-align:right;border:none;font:11px monospace;"
        head = "".join(f'<th style="{style}">{escaped(tokens[k])}</th>' for k in keep)
        body = "".join(
            f'<tr><th style="{style}">{escaped(tokens[q])}</th>'
            + "".join(_cell(values[q, k], k > q, style) for k in keep)
            + "</tr>"
            for q in keep
        )
        title = (
            f"{self.model_info['name']}: attention of layer {self.pattern['layer']}, head {self.pattern['head']}"
            f" ({self.which}), × 100; rows are queries, columns are keys."
        )
        return (
            f'<p>{html.escape(title)}</p><div style="overflow-x:auto"><table><thead><tr><th></th>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )


def _attention(model: Any, text: str) -> xr.Dataset:
    from lens.measure import readout

    return readout.attention(model, text)


def labels(array: xr.DataArray, dim: str) -> list[int]:
    """The labels of an axis as ints."""
    return [int(x) for x in array[dim].values]


def token_labels(dataset: xr.Dataset) -> list[str]:
    """The tokens of the text, one for each query position."""
    for name in ("token", "token_query", "token_key"):
        if name in dataset.variables:
            return [str(t) for t in dataset[name].values]
    return [str(i) for i in range(dataset.sizes["query"])]


def pooled(values: np.ndarray, size: int) -> np.ndarray:
    """(..., T, T) reduced to at most (..., size, size): of each block the entry of largest magnitude, so that thin
    stripes stay visible.
    """
    length = values.shape[-1]
    if length <= size:
        return values
    edges = np.linspace(0, length, size + 1).astype(int)[:-1]
    for axis in (-1, -2):
        high, low = np.maximum.reduceat(values, edges, axis=axis), np.minimum.reduceat(values, edges, axis=axis)
        values = np.where(high >= -low, high, low)
    return values


def _cell(value: float, masked: bool, style: str) -> str:
    if masked:
        return f'<td style="{style}"></td>'
    share, end = min(1.0, abs(float(value))) ** 0.5, (0x85, 0x37, 0x03) if value < 0 else (0x08, 0x26, 0x4F)
    colour = "#" + "".join(f"{round(249 + share * (c - 249)):02x}" for c in end)
    ink = "#ffffff" if share > 0.5 else "#1c1c1c"
    return f'<td style="{style}background-color:{colour};color:{ink}">{round(100 * float(value))}</td>'
