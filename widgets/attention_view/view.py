"""AttentionView: the attention pattern of every head, one head large, one token read out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import traitlets
import xarray as xr

import lens
from lens.arguments import HFModel, Index, door
from lens.prompts import Pair
from widgets.attention_view import copy
from widgets.attention_view.examples import EXAMPLES
from widgets.attention_view.work import Request, labels, pooled, token_labels
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.base.sweep import SweepView
from widgets.errors import ViewError

THUMBNAIL = 24
SCALES = ("full", "root", "head")
EMPTY = "No attention had been computed when this notebook was stored."


class AttentionView(SweepView):
    """Look at attention: all heads as thumbnails, the chosen head token by token, the chosen token's weights as
    numbers.

    `text` is a text or a `lens.Pair`; of a pair the clean prompt, the corrupted one, or the difference of their
    patterns is shown. Traits: `text`, `which` (text, clean, corrupted, difference), `layer`, `head`, `token` (index of
    the chosen token, negative from the end), `reverse` (who attends to it, instead of what it attends to),
    `hide_first`, `scale` (full: 0 to 1, root, head: each head's largest); `overview` (uint8
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
    overview = traitlets.Dict().tag(sync=True, echo_update=False)
    pattern = traitlets.Dict().tag(sync=True, echo_update=False)

    _noun = "The attention"

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
        self._attention = compute or lens.attention
        text = text.rendered(model) if isinstance(text, Pair) else text
        self._pair = text if isinstance(text, Pair) else None
        self._texts = (
            {"clean": f"{text.start}{text.clean}", "corrupted": f"{text.start}{text.corrupted}"}
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
            text=text if isinstance(text, str) else f"{text.start}{text.clean}",
        )
        self.observe(lambda _: self._request(), ["text", "which"])
        self.observe(lambda _: self._chosen(), ["layer", "head"])
        self.observe(lambda _: self._publish_overview(), "hide_first")
        if not self._texts:
            self._offer(EXAMPLES)
        self._request()

    @property
    def result(self) -> Any:
        """The pattern shown as a DataArray (layer, head, query, key); None before it is computed."""
        try:
            return self._pattern()
        except KeyError:
            return None

    def _dataset(self) -> xr.Dataset | None:
        run = self._shown
        return None if run is None else run.dataset

    # --- the question

    def _request(self) -> None:
        if any(self._wanted().values()):
            self.run()
        else:
            self.publish(status="idle", progress={}, error={}, overview={}, pattern={})

    def _wanted(self) -> dict[str, str]:
        if not self._texts:
            return {"text": self.text}
        return self._texts if self.which == "difference" else {self.which: self._texts[self.which]}

    def _question(self) -> Request:
        with self._guard:
            wanted = dict(self._wanted())
        if not any(wanted.values()):
            raise ViewError("text: is empty; write one, and its attention is computed")
        return Request(self.which, wanted)

    def _compute(
        self, run: Request, stop: Callable[[], bool], on_part: Callable[[xr.Dataset | None], None]
    ) -> xr.Dataset | None:
        for name, text in run.texts.items():
            if stop():
                return None
            if name == "text" or name not in self._known:
                self._known[name] = self._attention(self.model, text)
            run.done += 1
        if run.which == "difference":
            return self._pattern().to_dataset(name="pattern")
        return self._known[run.which]

    def _publish_run(self, run: Request) -> None:
        self._publish_overview()
        self._publish_pattern()

    def _progress(self, run: Request) -> dict[str, Any]:
        text = f"{run.dataset.sizes['query']} tokens, " if run.dataset is not None else "stopped after "
        return {"done": run.done, "total": len(run.texts), "text": f"{text}{run.seconds:.1f} s"}

    def _fail(self, error: BaseException) -> None:
        super()._fail(error)
        self.publish(overview={}, pattern={})

    def _pattern(self) -> xr.DataArray:
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
            self._moved()

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

    # --- what the browser asks for

    _typed = _fields = ("text",)
    _asked_traits = ("text", "which", "layer", "head", "token", "reverse", "hide_first", "scale")

    def _run_example(self) -> None:
        """A changed text is computed by itself."""

    def _more_state(self) -> dict[str, Any]:
        return {"pair": None if self._pair is None else {f.name: getattr(self._pair, f.name) for f in fields(Pair)}}

    @classmethod
    def _for_state(cls, saved: dict[str, Any], given: tuple, options: dict[str, Any]) -> AttentionView:
        pair = (saved.get("more") or {}).get("pair")
        return cls(*given, **({} if pair is None else {"text": Pair(**pair)}) | options)

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return {"run": lambda _: self._again(), "stop": lambda _: self.stop(), "save": self._on_save}

    def _again(self) -> None:
        if self.status != "running":  # a changed text has begun already
            self.run()

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        wanted = self._wanted()
        if any(wanted.values()):
            self.publish(code=copy.program(self.model_info, wanted, self.which, self.layer, self.head))

    def _static(self) -> str:
        return copy.static(self.model_info["name"], self.pattern, self.which, EMPTY)
