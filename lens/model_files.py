"""An edited model as a folder that any program of Hugging Face opens: the edits are in the weights, and beside them
lies what they were.
"""

from __future__ import annotations

import contextlib
import copy
import datetime
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from . import files
from .arguments import FilePath, HFModel, Whole, door, shown
from .engine.anatomy import Anatomy
from .engine.change_registry import ACTIVATIONS, WEIGHTS, Changes
from .engine.edited import edited
from .engine.edits import Edit
from .engine.effective import is_conv1d
from .engine.errors import UnsupportedModel
from .engine.places import hook
from .engine.sites import SiteError
from .errors import Error
from .models import edits_file, weight_hash
from .models.check import IDS, Unlike, logits, random_ids, require_same
from .models.foreign import replaced_methods, user_hooks
from .models.hub import no_progress_bars
from .models.identity import Unidentified, digest
from .models.known import digests, joined
from .models.placement import dispatched, offloaded, places_of
from .models.quantised_layers import FLOATS, methods
from .results.record import Plainly, plain, record_of
from .scoring.causal import ScoringError
from .scoring.causal import plain as plain_model

__all__ = ["SaveError", "save_model"]

#: Sites whose activation is what one linear layer gives, in some types of models.
_OUTPUTS = ("attn_out", "mlp_out")
_SIZE = re.compile(r"[1-9][0-9]{0,5}(?:MB|GB|TB)")


class SaveError(Error, ValueError):
    """A model that cannot be saved as it is asked for: what is in the way, and what to do."""


@door(SaveError)
@torch.no_grad()
def save_model(
    model: HFModel,
    folder: FilePath,
    edits: Any = (),
    *,
    overwrite: bool = False,
    max_shard: str | Annotated[int, Whole(1, 1 << 50)] = "5GB",
    check: bool = True,
) -> Path:
    """Save a model with edits in its weights as a Hugging Face folder (safetensors, configuration, tokenizer), and
    return the path; the model itself is as before, bit for bit.

    `transformers` opens the folder as any other, and so does `lens.load`, which finds `mnemoscope.json` in it: what
    the edits were, of which weights, and the SHA-256 of the files that this is true of. The record of every later
    result tells them (``model.loaded.edited``). The folder appears whole or not at all.

    Args:
        model: as `lens.load` gives it, or a Hugging Face model. A bridge is saved as the plain model that it is.
        edits: one or several of what `lens.edited` takes: masks, edits of loss curvature, replacements; and a
            `lens.Edit` that is the same at every token and that one linear layer's weight and bias can hold: an ``add``
            at ``attn_out`` or ``mlp_out`` where the layer has a bias, a ``scale`` or ``zero`` there.
        overwrite: replaces a folder that this function wrote, and no other.
        max_shard: of one file of weights, as "5GB" or in bytes.
        check: opens what was written with transformers, and holds every weight and the logits of 64 random ids against
            the edited model's: takes a second copy of the weights for its length.

    Raises:
        SaveError: an edit that no weight can hold (gates, positions, heads, a layer without a bias); weights that are
            quantised or offloaded, adapters beside them, hooks or other edits in force; a folder that is there; what
            was written is another model.
        FileError: it cannot be written.
    """
    listed = list(_flat(edits))
    for i, edit in enumerate(listed):
        if not isinstance(edit, Edit) and not callable(getattr(edit, "applied", None)):
            raise SaveError(
                f"edits[{i}]={shown(edit)} is no edit that weights can hold; expected a mask, an edit of loss"
                " curvature, a replacement or a lens.Edit."
            )
        if isinstance(edit, Edit):
            _require_constant(edit, i)
    if isinstance(max_shard, str) and not _SIZE.fullmatch(max_shard):
        raise SaveError(f"max_shard={max_shard!r} does not fit; expected a size such as '5GB', or a number of bytes.")
    path = _place(folder, overwrite)
    core = _require_savable(model)
    view = Plainly(model, core.dtype, core.device)
    record = record_of(model, view, "edited model", {"edits": [_told(edit) for edit in listed]})
    activations = [edit for edit in listed if isinstance(edit, Edit)]
    weights = [edit for edit in listed if not isinstance(edit, Edit)]
    with contextlib.ExitStack() as stack:
        if weights:
            stack.enter_context(edited(model, *weights))
        hf = _plain(model)
        new = _held(hf, activations)
        state = hf.state_dict() | new
        part = stack.enter_context(files.replacing(path, parents=True, new=not overwrite))
        _write(hf, model, state, part, max_shard)
        if check:
            _require_same_model(hf, activations, state, part)
        told = {
            "edits": record["call"]["edits"],
            "of": {key: record["model"][key] for key in ("name", "hash", "dtype", "loaded") if key in record["model"]},
            "weights": _hash(hf, new),
            "versions": record["versions"],
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
        edits_file.write(part, told)
    return path


def _flat(edits: Any) -> Iterator[Any]:
    if isinstance(edits, (list, tuple)):
        for edit in edits:
            yield from _flat(edit)
    elif edits is not None:
        yield edits


def _place(folder: FilePath, overwrite: bool) -> Path:
    path = Path(os.path.abspath(files.expanded(folder)))
    if os.path.lexists(path):
        if not overwrite:
            raise SaveError(f"folder={str(path)!r} is there already; choose another, or pass overwrite=True.")
        if not (path / edits_file.NAME).is_file():
            raise SaveError(
                f"folder={str(path)!r} holds no {edits_file.NAME}, so that it is not one that lens.save_model wrote,"
                " and overwrite=True leaves it alone; choose another."
            )
    return path


def _told(edit: Any) -> dict[str, Any]:
    """What an edit is, for the record."""
    if isinstance(edit, Edit):
        own: dict[str, Any] = {"site": repr(edit.site), "op": edit.op, "scale": float(edit.scale)}
    else:
        about = next((found for n in ("about", "record") if isinstance(found := getattr(edit, n, None), Mapping)), {})
        own = {"record": plain(about)}
    try:
        content: str | None = digest(edit)
    except Unidentified:
        content = None
    return {"kind": f"{type(edit).__module__}.{type(edit).__name__}", "what": repr(edit), "digest": content, **own}


# -- what cannot be saved -------------------------------------------------------------------------------------------


def _require_constant(edit: Edit, i: int) -> None:
    """Raises SaveError where an edit is not the same affine map at every token."""
    said = f"edits[{i}] at {edit.site}"
    if (gate := getattr(edit, "when", None)) is not None:
        raise SaveError(f"{said} acts only when {shown(gate)}: no weight can hold a gate; leave it out.")
    if edit.site.position is not None:
        raise SaveError(f"{said} acts at positions of a text: no weight can hold that; leave the position out.")
    if edit.site.name not in _OUTPUTS:
        raise SaveError(
            f"{said} is no edit that a weight can hold; expected {' or '.join(_OUTPUTS)}. For heads and neurons make"
            " a mask of the weights that read them."
        )
    if edit.value is not None and (not isinstance(edit.value, Tensor) or edit.value.ndim != 1):
        raise SaveError(f"{said} has another value at each position or run: no bias can hold that; give one vector.")


def _require_savable(model: Any) -> Any:
    """The Hugging Face model, where its weights are all that it is."""
    core = getattr(model, "original_model", model)
    if not hasattr(core, "save_pretrained") or not hasattr(core, "config"):
        raise SaveError(f"model is a {type(model).__name__}; expected one of lens.load, or a Hugging Face model.")
    if hasattr(model, "peft_config") or any(hasattr(module, "base_layer") for module in core.modules()):
        raise SaveError(
            "model: adapters lie beside its weights, which saved alone would be another model; merge them"
            " (lens.load(..., adapter=...) with merge=True, or merge_and_unload) and save that."
        )
    if quantised := methods(core):
        raise SaveError(
            f"model: its weights are quantised ({', '.join(quantised)}), and some formats are another model once they"
            f" are saved after a forward; {FLOATS}."
        )
    if offloaded(core):
        raise SaveError("model: some of its weights are offloaded (accelerate); load it without offloading to save it.")
    if any(getattr(module, "layers_are_rescaled", False) for module in core.modules()):
        raise SaveError(
            "model: RWKV has divided its weights in place at its first forward in eval mode, and would do so again once"
            " they are loaded; save it before any forward, with model.train()."
        )
    changes = Changes.of(model)
    if in_force := [*changes.in_force(WEIGHTS), *changes.in_force(ACTIVATIONS)]:
        raise SaveError(
            f"model: {in_force[0].what} is in force on it; leave its with block, and give the edit as edits= so that"
            " the record tells it."
        )
    for one in (model, core):
        if others := [*user_hooks(one), *replaced_methods(one)]:
            raise SaveError(
                f"model: {len(others)} hooks or methods of its modules are your own (first: {others[0]}), which no file"
                " holds; take them off."
            )
    return core


def _plain(model: Any) -> Any:
    """The plain Hugging Face model on the weights of a bridge; any other model itself."""
    core = getattr(model, "original_model", model)
    if "_mnemoscope_parameters" not in core.__dict__:
        return core
    try:
        hf: Any = plain_model(model)
    except ScoringError as error:
        raise SaveError(f"model: {error}") from error
    if "_mnemoscope_parameters" in hf.__dict__:
        raise SaveError(
            "model: weights of this bridge were replaced since it was made, so that the plain model cannot be told from"
            " it; save the plain Hugging Face model."
        )
    hf.generation_config = core.generation_config
    return hf


# -- edits of activations as weights --------------------------------------------------------------------------------


def _held(hf: Any, edits: Sequence[Edit]) -> dict[str, Tensor]:
    """New values of parameters that hold edits of activations, by name."""
    new: dict[str, Tensor] = {}
    names = {id(module): name for name, module in hf.named_modules()}
    for edit in edits:
        linear = _linear_of(hf, edit)
        weight, bias = f"{names[id(linear)]}.weight", f"{names[id(linear)]}.bias"
        if edit.keep != 1:
            new[weight] = new.get(weight, linear.weight.detach()) * edit.keep
        if linear.bias is not None:
            new[bias] = new.get(bias, linear.bias.detach()) * edit.keep
        if edit.value is not None:
            if linear.bias is None:
                raise SaveError(
                    f"edits: at {edit.site} the layer {names[id(linear)]} of this {type(hf).__name__} has no bias that"
                    " could hold a vector, and its configuration knows none; put the edit in force where the model is"
                    " used (lens.edited)."
                )
            new[bias] = new[bias] + edit.scale * edit.value.to(new[bias])
    return new


def _linear_of(hf: Any, edit: Edit) -> Any:
    """The linear layer whose output is the site's activation, told by what both give on a probe."""
    given: dict[nn.Module, Tensor] = {}
    at: list[Tensor] = []

    def looking(module: nn.Module) -> Any:
        return lambda x: given.__setitem__(module, x.detach().clone())

    def seeing(x: Tensor) -> Tensor:
        at.append(x.detach().clone())
        return x

    try:
        anatomy = Anatomy.of(hf)
        name, layer = anatomy.layer_of(edit.site.name, edit.site.layer)
        anatomy.require(name, layer)
    except (UnsupportedModel, SiteError) as error:
        raise SaveError(f"edits: {error}") from error
    with contextlib.ExitStack() as stack:
        for module in anatomy.layers[layer].modules():
            if isinstance(module, nn.Linear) or is_conv1d(module):
                stack.callback(hook(module, "out", looking(module)).remove)
        stack.callback(anatomy.attach(name, layer, seeing))
        hf(anatomy.probe_ids(), use_cache=False)
    for module, output in given.items():
        if at and output.numel() == at[0].numel() and torch.equal(output.reshape(at[0].shape), at[0]):
            return module
    raise SaveError(
        f"edits: at {edit.site} of this {type(hf).__name__} stands no output of one linear layer (a norm or a factor"
        " comes after it, or several experts are added), so that no weight can hold the edit; put it in force where the"
        " model is used (lens.edited)."
    )


# -- writing, and looking at what was written -----------------------------------------------------------------------


def _write(hf: Any, model: Any, state: Mapping[str, Tensor], part: Path, max_shard: str | int) -> None:
    with no_progress_bars():
        hf.save_pretrained(part, state_dict=dict(state), max_shard_size=max_shard)
        tokenizer = getattr(model, "tokenizer", None)
        if tokenizer is not None:
            _as_it_came(tokenizer).save_pretrained(part)


def _as_it_came(tokenizer: Any) -> Any:
    """The tokenizer without the stand-ins that a load gives it where it has no start token or padding, and without
    where it was read from.
    """
    own = copy.deepcopy(tokenizer)
    for token in ("pad_token", "bos_token"):
        if own.init_kwargs.get(token) is None and getattr(own, token) == own.eos_token:
            setattr(own, token, None)
    for entry in ("local_files_only", "is_local"):
        own.init_kwargs.pop(entry, None)
    return own


def _require_same_model(hf: Any, edits: Sequence[Edit], state: Mapping[str, Tensor], part: Path) -> None:
    from transformers import AutoModelForCausalLM

    spread = dispatched(hf) and len(places_of(hf)) > 1
    try:
        with no_progress_bars():
            again: Any = AutoModelForCausalLM.from_pretrained(
                part,
                dtype=hf.dtype,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                attn_implementation=hf.config._attn_implementation,
            ).eval()
    except Exception as error:  # transformers and safetensors raise their own kinds
        raise SaveError(f"model: what was written cannot be opened ({type(error).__name__}: {error})") from error
    theirs = again.state_dict()
    bad = next((n for n, v in state.items() if n not in theirs or not torch.equal(theirs[n], v.to(theirs[n]))), None)
    if bad is not None:
        raise SaveError(f"model: its parameter {bad!r} is another one in what was written, which is not kept.")
    if spread:
        return
    try:
        ids = random_ids(hf, IDS)
        with edited(hf, *edits):
            want = logits(hf, ids)
        require_same(logits(again.to(hf.device), ids), want, f"{ids.shape[1]} random ids")
    except Unlike as error:
        raise SaveError(f"model: what was written is another model and is not kept: {error}") from error


def _hash(hf: Any, new: Mapping[str, Tensor]) -> str:
    """The hash of the weights that were written: the model's, some of them new."""
    if not new:
        return weight_hash(hf)
    named = [(name, new.get(name, value)) for name, value in sorted(hf.named_parameters())]
    return joined(f"{name} {one}\n" for (name, _), one in zip(named, digests(named)))
