"""Is patching exact on a type of model? A grid over several sites against naive hooks, at places that a person wrote
down for the type.

The places, and tiny random models of the types, come from a file outside the project (`MNEMOSCOPE_KINDS`, else
`../shared/cases/kinds.py`). This file runs in
every build that is compared, by its path: it names only what each of them has.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

FILE = "MNEMOSCOPE_KINDS"
CLEAN, CORRUPTED = (3, 17, 5, 60, 80, 41, 2, 33), (3, 17, 9, 60, 80, 41, 2, 33)
ANSWER, FOIL = 11, 23
LAYERS, POSITIONS = (0, 2, 3), (2, 5, 7)
#: Of the largest logit.
TOLERANCE = 1e-4
#: Types that are refused, but for these: they may be served where they equal plain hooks.
_BLOCKS = {
    "bart_causal": "model.decoder.layers",
    "bert_mlm": "bert.encoder.layer",
    "bert_lm_decoder": "bert.encoder.layer",
    "roberta_mlm": "roberta.encoder.layer",
    "modernbert_mlm": "model.layers",
    "llama_noncausal": "model.layers",
}


def kinds_file() -> Path | None:
    """The file of types, or None where it is not there."""
    named = os.environ.get(FILE)
    path = Path(named) if named else Path(__file__).resolve().parents[1].parent / "shared" / "cases" / "kinds.py"
    return path if path.is_file() else None


@functools.cache
def kinds(file: Path) -> Any:
    """The module of types at a path."""
    spec = importlib.util.spec_from_file_location("_kinds_of_models", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def names(file: Path) -> tuple[list[str], list[str]]:
    """Types that should be exact, and types for which a refusal is right."""
    module = kinds(file)
    return list(module.K), list(module.REFUSED)


def judged(file: Path, name: str) -> dict[str, str]:
    """`exact`, `refused`, `wrong: ...` or `failed: ...` for the plain model and the bridge.

    A site that is refused by an error of the project's own makes the type refused, unless another is wrong.
    """
    module = kinds(file)
    where = module.K[name][1] if name in module.K else {"layers": _BLOCKS.get(name)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            reference = Naive(module.build(name), where) if where.get("layers") else None
        except Exception as error:
            return dict.fromkeys(("plain", "bridge"), f"failed: reference: {type(error).__name__}: {error}"[:300])
        return {form: _judged(form, module, name, reference) for form in ("plain", "bridge")}


def _judged(form: str, module: Any, name: str, reference: "Naive | None") -> str:
    import lens

    pair = lens.Pair(_text(CLEAN), corrupted=_text(CORRUPTED), answer=f" w{ANSWER}", foil=f" w{FOIL}")
    try:
        model, tokenizer = module.build(name), module.word_tokenizer()
        if form == "bridge":
            model = lens.models.wrap(model, tokenizer, name)
        else:
            model.tokenizer = tokenizer
    except Exception as error:
        return _of(error)
    said = []
    for site in reference.sites if reference else ("resid_pre",):
        try:
            axes = ("layer", "head") if site == "z" else ("layer", "position")
            options = dict(positions=list(POSITIONS)) if site != "z" else {}
            found = lens.patch(model, pair, site, over=axes, layers=list(LAYERS), progress=False, **options)
        except Exception as error:
            said.append(_of(error))
            continue
        said.append(reference.compared(site, found) if reference else "wrong: a number where a refusal is right")
    worst = next((s for s in said if s.startswith("wrong")), None) or next(
        (s for s in said if s.startswith("failed")), None
    )
    return worst or ("refused" if "refused" in said else "exact")


def _of(error: Exception) -> str:
    own = any(kind.__module__.split(".")[0] == "lens" for kind in type(error).__mro__)
    return (
        "refused"
        if own
        else f"failed: {type(error).__module__}.{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    )


def _text(ids: tuple[int, ...]) -> str:
    return " ".join(f"w{i}" for i in ids)


class Naive:
    """Patching by plain hooks on a plain model: one forward a cell."""

    def __init__(self, model: nn.Module, where: dict[str, Any]):
        self.model, self.where = model, where
        self.layers = model.get_submodule(where["layers"])
        self.sites = [
            "resid_pre",
            "resid_post",
            *(s for s, key in (("attn_out", "attn"), ("mlp_out", "mlp"), ("z", "o")) if where.get(key)),
        ]
        self.kept: dict[tuple[str, int], torch.Tensor] = {}
        self.scale = 1.0
        hooks = [
            self._hook(site, layer, functools.partial(self._keep, site, layer))
            for site in self.sites
            for layer in LAYERS
        ]
        logits = self._logits(CLEAN)
        for hook in hooks:
            hook.remove()
        self.clean, self.corrupted = self._difference(logits), self._difference(self._logits(CORRUPTED))
        self.scale = max(1.0, float(logits.abs().max()))

    @torch.no_grad()
    def _logits(self, ids: tuple[int, ...]) -> torch.Tensor:
        return self.model(torch.tensor([ids])).logits[0, -1].double()

    @staticmethod
    def _difference(logits: torch.Tensor) -> float:
        return float(logits[ANSWER] - logits[FOIL])

    def _module(self, site: str, layer: int) -> nn.Module:
        part = {"attn_out": "attn", "mlp_out": "mlp", "z": "o"}.get(site)
        return self.layers[layer] if part is None else self.layers[layer].get_submodule(self.where[part])

    def _hook(self, site: str, layer: int, change: Any) -> Any:
        """Calls `change(tensor)` on the site's tensor [1, length, ...]; what it returns, if anything, goes on in its
        place.
        """
        module = self._module(site, layer)
        if site in ("resid_pre", "z"):

            def before(module, args, kwargs):
                key = None if args else next(k for k in ("hidden_states", "inputs", "x", "input") if k in kwargs)
                new = change(args[0] if args else kwargs[key])
                if new is not None:
                    return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, key: new})

            return module.register_forward_pre_hook(before, with_kwargs=True)

        def after(module, args, out):
            new = change(out[0] if isinstance(out, tuple) else out)
            if new is not None:
                return (new, *out[1:]) if isinstance(out, tuple) else new

        return module.register_forward_hook(after)

    def _keep(self, site: str, layer: int, x: torch.Tensor) -> None:
        self.kept[site, layer] = x.detach().clone()

    def cell(self, site: str, layer: int, at: int) -> float:
        """The logit difference of the corrupted run with one cell from the clean run: a token, or for `z` a head at
        every token.
        """
        held = self.kept[site, layer]

        def put(x: torch.Tensor) -> torch.Tensor:
            new = x.clone()
            if site == "z":
                d = self.where["d"]
                new[..., at * d : (at + 1) * d] = held[..., at * d : (at + 1) * d]
            elif new.ndim == 2:
                new[at] = held[at]
            else:
                new[:, at] = held[:, at]
            return new

        hook = self._hook(site, layer, put)
        try:
            return self._difference(self._logits(CORRUPTED))
        finally:
            hook.remove()

    def compared(self, site: str, found: Any) -> str:
        """Whether a result has the values of the naive cells, and of both unedited runs."""
        own = found.value.transpose("layer", ...).values.reshape(len(LAYERS), -1)
        at = POSITIONS if site != "z" else range(own.shape[1])
        want = np.array([[self.cell(site, layer, i) for i in at] for layer in LAYERS])
        if own.shape != want.shape:
            return f"wrong: {site} has the shape {own.shape}, not {want.shape}"
        gaps = [
            np.abs(own - want).max(),
            abs(float(found.clean) - self.clean),
            abs(float(found.corrupted) - self.corrupted),
        ]
        gap = max(float(g) if np.isfinite(g) else float("inf") for g in gaps)
        return (
            "exact"
            if gap <= TOLERANCE * self.scale
            else f"wrong: {site} differs by {gap:.2g}, logits reach {self.scale:.2g}"
        )
