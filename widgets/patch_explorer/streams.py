"""What the residual stream and a dictionary's features say at the cell that is looked at, in both unedited runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from lens import Model, features, logit_lens
from lens.arguments import shown
from lens.readout.jacobian_lens import JacobianLens
from widgets.errors import ViewError
from widgets.patch_explorer.work import PatchMap

#: Tokens of a lens and features that are shown.
TOKENS, FEATURES = 6, 10
#: Features of a token that are read; where more are active, those beyond are not known.
READ = 512
#: Read-outs that are kept.
_KEPT = 32
PROMPTS = ("clean", "corrupted")


@dataclass
class Streams:
    """A Jacobian lens and a dictionary of a model, read at cells; what was read once is kept.

    Attributes: lens, dictionary: either may be None. encode: the tokens of a pair.
    """

    model: Any
    lens: Any
    dictionary: Any
    encode: Callable[..., Any]
    _known: dict[tuple[Any, ...], Any] = field(default_factory=dict, repr=False)

    def require(self) -> None:
        """Raises ViewError: no lens or dictionary, or those of another model."""
        for name, value, kind, expected in (
            ("lens", self.lens, JacobianLens, "a Jacobian lens of all tokens, as lens.jacobian_lens.open gives"),
            ("dictionary", self.dictionary, features.Dictionary, "a dictionary, as lens.features.load gives"),
        ):
            if value is not None and not isinstance(value, kind):
                raise ViewError(f"{name}: {shown(value)} is none; expected {expected}")
            try:
                if value is not None:
                    value.require(Model.of(self.model))
            except Exception as error:
                raise ViewError(f"{name}: {error}") from error

    def of(self, run: PatchMap, facts: dict[str, Any]) -> dict[str, Any]:
        """What both say at a cell, as the `readout` trait has it: parts with a title, and numbers or a note."""
        position = facts["column"] if run.column == "position" else -1
        where = f"position {position}" if run.column == "position" else "the last position"
        parts: dict[str, Any] = {}
        if self.lens is not None:
            parts["lens"] = self._lens(run, facts["layer"], position, where)
        if self.dictionary is not None:
            parts["features"] = self._features(run, facts["layer"], position, where)
        return parts

    def _once(self, key: tuple[Any, ...], read: Callable[[], Any]) -> Any:
        if key not in self._known:
            while len(self._known) >= _KEPT:
                self._known.pop(next(iter(self._known)))
            self._known[key] = read()
        return self._known[key]

    def _lens(self, run: PatchMap, layer: int, position: int, where: str) -> dict[str, Any]:
        """The most likely tokens of the stream by the Jacobian lens and by the plain logit lens, beside each other."""
        layer -= run.site in ("resid_pre", "embed")
        title = f"Residual stream after layer {layer}, {where}" if layer >= 0 else f"Embedding, {where}"
        known = {*self.lens.layers, Model.of(self.model).n_layers - 1}
        if layer not in known:
            fitted = ", ".join(map(str, self.lens.layers))
            return {"title": title, "note": f"The Jacobian lens was not fitted there; it has the layers {fitted}."}
        columns = []
        for name, lens in (("Jacobian lens", self.lens), ("logit lens", None)):
            for prompt in PROMPTS:
                ds = self._once(
                    ("lens", run.pair.clean, run.pair.corrupted, run.pair.start, position, prompt, name),
                    partial(logit_lens, self.model, run.pair, positions=position, which=prompt, lens=lens, k=TOKENS),
                )
                columns.append([f"{name}, {prompt} run", _tokens(ds.sel(layer=layer))])
        return {"title": title, "columns": columns}

    def _features(self, run: PatchMap, layer: int, position: int, where: str) -> dict[str, Any]:
        """The strongest features at a token of both runs, and by how much they differ."""
        sae = self.dictionary
        told = {
            "title": f"Features of {sae.name}: {sae.writes}, {where}",
            "more": "" if sae.writes.layer == layer else f"The cell is of layer {layer}; the dictionary is not.",
        }
        ids = self.encode(self.model, run.pair)
        ds = self._once(
            ("features", run.pair.clean, run.pair.corrupted, run.pair.start),
            partial(features.read, self.model, [ids.clean_ids, ids.corrupted_ids], sae, top=READ, length=1 << 20),
        )
        seen = []
        for number, of in enumerate((ids.clean_ids, ids.corrupted_ids)):
            seen.append(ds.isel(prompt=number, position=position % len(of)))
        if any(np.isnan(float(one.l0)) for one in seen):
            first = "first token" if sae.skip_tokens == 1 else f"first {sae.skip_tokens} tokens"
            return told | {"note": f"The dictionary was not trained on the {first} of a text, and says nothing here."}
        values = [dict(zip(one.feature.values.tolist(), map(float, one.value.values))) for one in seen]
        # a feature beyond those that were read is not known, else it is off
        off = [0.0 if float(one.l0) <= one.sizes["rank"] else None for one in seen]
        named = sorted({i for of in values for i in of if i >= 0})
        if not named:
            return told | {"note": "No feature is active here, in either run."}
        labels = sae.labels
        rows: list[list[Any]] = [
            [i, labels.get(i, ""), values[0].get(i, off[0]), values[1].get(i, off[1])] for i in named
        ]
        strongest = sorted(rows, key=lambda row: -max(abs(v or 0.0) for v in row[2:]))[:FEATURES]
        known = [row for row in rows if None not in row[2:]]
        apart = sorted(known, key=lambda row: -abs(row[2] - row[3]))[:FEATURES]
        l0, error = ([float(one[name]) for one in seen] for name in ("l0", "error"))
        return told | {"strongest": strongest, "different": apart, "l0": l0, "error": error, "labelled": bool(labels)}


def _tokens(cell: xr.Dataset) -> list[list[Any]]:
    """The most likely tokens of a cell with their shares."""
    return [[str(token), float(p)] for token, p in zip(cell.top_token.values, cell.top_prob.values)]
