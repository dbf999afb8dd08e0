"""Adapters by name: put on a model by peft alone, then merged into its weights, or kept beside them to be switched.

peft's own `PeftModel.from_pretrained` reads every kind right (transformers' loaders lose the magnitudes of DoRA). What
cannot be right is refused by name: virtual tokens before the text, kinds that need more than the model and the text,
and adapters of another base.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from lens import reading
from lens.arguments import shown
from lens.cache import LoadError, sha256_file
from lens.files import expanded

from .adapter import CONFIG, WEIGHTS, require_plain
from .check import logits, one_line, random_ids
from .hub import commit_of, snapshot, unreachable
from .names import Named, named

__all__ = ["Adapter", "Switch", "adapters", "base_of_adapter", "merged", "put_on_all", "switch_of"]

_SWITCH = "_mnemoscope_adapters"
#: Kinds that act on more than layers: virtual tokens, or parts that ask for a task.
_REFUSED = {
    "PROMPT_TUNING": "puts tokens of its own before the text, which no position of a result would count",
    "MULTITASK_PROMPT_TUNING": "puts tokens of its own before the text, which no position of a result would count",
    "P_TUNING": "puts tokens of its own before the text, which no position of a result would count",
    "PREFIX_TUNING": "puts keys and values of its own before the text, which no position of a result would count",
    "CPT": "puts tokens of its own before the text, which no position of a result would count",
    "ADAPTION_PROMPT": "puts keys and values of its own beside the text, which no position of a result would count",
    "XLORA": "mixes further adapters by what a second forward says of the whole text",
    "POLY": "asks for the number of a task with every text",
    "LILY": "weighs its parts by a mean over all tokens of a call, so that a token's output depends on its batch",
}
#: Ways to begin an adapter that move part of the base weights into it: without it the base is another model.
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
#: Largest difference of logits between the merged model and the one with its adapter beside it that is rounding, as a
#: share of the largest logit.
_MERGED = {torch.float64: 1e-4, torch.float32: 1e-3}
_MERGED_LOW = 0.1


@dataclass
class Adapter:
    """An adapter in its folder: its name among others, where it was looked for, its kind, and the SHA-256 of its
    weights.
    """

    name: str
    source: Named
    folder: Path
    config: dict[str, Any]
    merged: bool = False
    rounding: dict[str, float] | None = None
    _sha256: str | None = field(default=None, repr=False)

    @property
    def sha256(self) -> str:
        """Of the file of weights."""
        if self._sha256 is None:
            self._sha256 = sha256_file(self.folder / WEIGHTS)
        return self._sha256

    @property
    def kind(self) -> str:
        """What peft calls it: LORA, IA3, ..."""
        return str(self.config.get("peft_type"))

    def record(self) -> dict[str, Any]:
        """For the record of a result."""
        commit = commit_of(self.source)
        return {
            "name": self.name,
            "source": str(self.source),
            **({"commit": commit} if commit else {}),
            "kind": self.kind,
            "sha256": self.sha256,
            "merged": self.merged,
            **({"rounding": self.rounding} if self.rounding else {}),
        }


@dataclass
class Switch:
    """The adapters that lie beside a model's weights. `wrapper`: peft's, around the model; `to_base`: whether the model
    is its base once all are switched off, and why not where it is not.
    """

    wrapper: Any
    names: tuple[str, ...]
    to_base: str | None = None

    def __deepcopy__(self, memo: Any) -> Switch:
        import copy

        return Switch(copy.deepcopy(self.wrapper, memo), self.names, self.to_base)


def switch_of(model: Any) -> Switch | None:
    """The adapters of a model that was loaded with them beside its weights."""
    core = getattr(model, "original_model", model)
    found = getattr(core, "__dict__", {}).get(_SWITCH)
    return found if isinstance(found, Switch) else None


def adapters(asked: Any) -> list[Adapter]:
    """The adapters that an argument names, looked at before anything opens them.

    `asked`: None, a folder or a hub name, or several. Raises: LoadError: none is there, a pickle, damaged, a kind that
    is refused, two of one name.
    """
    if asked is None:
        return []
    several = asked if isinstance(asked, Sequence) and not isinstance(asked, str) else [asked]
    if isinstance(asked, Mapping) or not several:
        raise LoadError(f"adapter={shown(asked)}: expected a folder or a hub name, or a list of them")
    found = [_found(one, f"adapter[{i}]" if several is asked else "adapter") for i, one in enumerate(several)]
    names = [one.name for one in found]
    for i, one in enumerate(found):
        if any((other.source, other.folder) == (one.source, one.folder) for other in found[:i]):
            raise LoadError(f"adapter={shown(asked)} names {str(one.source)!r} twice; give each once")
        if names.count(one.name) > 1:
            one.name = f"{one.name}-{names[: i + 1].count(one.name)}"
    return found


def _found(asked: Any, argument: str) -> Adapter:
    where = named(asked, argument=argument)

    def refuse(said: str) -> LoadError:
        return LoadError(f"{argument}={str(where)!r}: {said}")

    folder = where.folder
    if folder is None:
        folder = _fetched(where, argument)
    if not (folder / CONFIG).is_file():
        raise refuse(
            f"{folder} holds no {CONFIG}, so it is no adapter; expected a folder that peft's save_pretrained wrote"
        )
    config = require_plain(folder, refuse)
    if (why := _REFUSED.get(str(config.get("peft_type")))) is not None:
        raise refuse(
            f"an adapter of the kind {config['peft_type']} {why}. Load the model without it, or train a kind that acts"
            " on each token by itself, such as LoRA."
        )
    # peft makes module names of it, in which a point would be a step
    return Adapter(Path(where.name).name.replace(".", "_") or "default", where, folder, config)


def _fetched(where: Named, argument: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(where.name, revision=where.revision, allow_patterns=[CONFIG, WEIGHTS, "README.md"])
        )
    except Exception as error:  # the hub's client raises many kinds
        if (known := snapshot(where)) is not None:
            return known
        raise unreachable(
            where, error, "Give the folder of the adapter, or check the spelling and the network.", argument
        ) from error


def base_of_adapter(folder: Path, name: str) -> tuple[str, str | None]:
    """The model that an adapter's folder names as its base, and its revision. Raises: LoadError: it names none."""

    def refuse(said: str) -> LoadError:
        return LoadError(f"name={name!r}: {said}")

    config = require_plain(folder, refuse)
    base, revision = config.get("base_model_name_or_path"), config.get("revision")
    if not isinstance(base, str) or not base:
        raise refuse(
            f"{folder} holds an adapter alone, which does not name its base model; give that as lens.load(base,"
            f" adapter={name!r})"
        )
    return base, revision if isinstance(revision, str) and not expanded(base).is_dir() else None


def require_base(adapter: Adapter, model: Named, hf: Any) -> None:
    """Raises LoadError where an adapter says that it was trained on another model: by its class, or by its name and
    content.
    """
    mapping = adapter.config.get("auto_mapping")
    kind = mapping.get("base_model_class") if isinstance(mapping, dict) else None
    if isinstance(kind, str) and kind and kind not in {c.__name__ for c in type(hf).__mro__}:
        raise LoadError(
            f"adapter={str(adapter.source)!r} was trained on a {kind}, and model {model.name!r} is a"
            f" {type(hf).__name__}; give the adapter's own base."
        )
    base = adapter.config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base or _same_model(base, model):
        return
    raise LoadError(
        f"adapter={str(adapter.source)!r} was trained on {base!r}, and this is model {model.name!r}: on other weights"
        f" than its own base an adapter does something else. Load {base!r}; where both are the same model under two"
        f" names, write this one as base_model_name_or_path into {adapter.folder / CONFIG}."
    )


def _same_model(base: str, model: Named) -> bool:
    path = expanded(base)
    if model.folder is not None and path.is_dir():
        return path.resolve() == model.folder.resolve() or _same_files(path, model.folder)
    # of two names one of which is a folder that is not here, the last parts tell
    return base == model.name or Path(base).name.lower() == Path(model.name).name.lower()


def _same_files(one: Path, other: Path) -> bool:
    """Whether two folders hold the same weights, by their files."""
    files = [sorted(path.name for path in folder.glob("model*.safetensors")) for folder in (one, other)]
    if files[0] != files[1] or not files[0]:
        return False
    pairs = [(one / name, other / name) for name in files[0]]
    if any(a.stat().st_size != b.stat().st_size for a, b in pairs):
        return False
    return all(sha256_file(a) == sha256_file(b) for a, b in pairs)


@torch.no_grad()
def put_on_all(hf: Any, listed: Sequence[Adapter], model: Named, check: bool = True) -> Any:
    """Peft's wrapper around the model with every adapter in its layers, the first in force, and what tells whether the
    base is whole under it.

    Raises: LoadError: another base or shape, damaged or incomplete, several of which one changes the base.
    """
    from peft import PeftModel

    ids = random_ids(hf, 16)
    before = logits(hf, ids) if check else None
    wrapper: Any = None
    for adapter in listed:
        require_base(adapter, model, hf)
        where = f"adapter={str(adapter.source)!r}"
        try:
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                if wrapper is None:
                    wrapper = PeftModel.from_pretrained(
                        hf, str(adapter.folder), adapter_name=adapter.name, is_trainable=False
                    )
                else:
                    wrapper.load_adapter(str(adapter.folder), adapter.name, is_trainable=False)
        except Exception as error:  # peft, safetensors and json each raise their own kinds
            raise LoadError(f"{where} cannot be put on model {model.name!r}: {one_line(error)}") from error
        if lacking := next((str(w.message) for w in said if "missing adapter keys" in str(w.message)), None):
            raise LoadError(f"{where} is incomplete: {lacking}")
        if over := _left_over(wrapper, adapter):
            raise LoadError(
                f"{where} holds {len(over)} weights that model {model.name!r} has no place for, first {over[0]!r}: it"
                " was trained on a model with other or more layers."
            )
        wrapper.eval().requires_grad_(False)
    switch = Switch(wrapper, tuple(one.name for one in listed))
    if before is not None:
        with wrapper.disable_adapter():
            off = logits(hf, ids)
        if not torch.equal(off, before):
            worst = float((off.float() - before.float()).abs().max())
            switch.to_base = (
                f"with its adapters switched off model {model.name!r} is not its base (logits off by {worst:.2g}):"
                f" {', '.join(sorted({one.kind for one in listed}))} with init_lora_weights="
                f"{listed[0].config.get('init_lora_weights')!r} changes the base weights themselves"
            )
            if len(listed) > 1:
                raise LoadError(
                    f"adapter: {switch.to_base}, so that the others would lie on another model; load each by itself."
                )
    return switch


def _left_over(wrapper: Any, adapter: Adapter) -> list[str]:
    """Names in the file of weights for which the model with the adapter on has no tensor."""
    from peft import get_peft_model_state_dict

    def refuse(said: str) -> LoadError:
        return LoadError(f"adapter={str(adapter.source)!r}: {said}")

    there = get_peft_model_state_dict(wrapper, adapter_name=adapter.name, save_embedding_layers=False)
    named = reading.safetensors_header(adapter.folder / WEIGHTS, refuse)
    return sorted(key for key in named if key not in there and "embed" not in key and "lm_head" not in key)


@torch.no_grad()
def merged(switch: Switch, adapter: Adapter, model: Named) -> Any:
    """The plain model with the adapter's product in its weights; notes the largest difference of logits between the two
    on 64 random ids.

    Raises: LoadError: a kind that cannot be merged, or whose merged weights are another model.
    """
    wrapper = switch.wrapper
    hf = wrapper.get_base_model()
    ids = random_ids(hf, 64)
    want = logits(hf, ids).float()
    try:
        plain = wrapper.merge_and_unload()
    except Exception as error:  # each kind of peft raises its own
        raise LoadError(
            f"adapter={str(adapter.source)!r}: an adapter of the kind {adapter.kind} cannot be merged"
            f" ({one_line(error)}); give merge=False, which keeps it beside the weights."
        ) from error
    got = logits(plain, ids).float()
    off, largest = float((got - want).abs().max()), float(want.abs().max())
    if not off <= _MERGED.get(plain.dtype, _MERGED_LOW) * largest:
        raise LoadError(
            f"adapter={str(adapter.source)!r}: merged into the weights it is another model (logits off by {off:.2g},"
            f" the largest is {largest:.2g}); give merge=False, which keeps it beside the weights."
        )
    adapter.merged, adapter.rounding = True, {"logits": off, "largest_logit": largest}
    for mark in ("peft_config", "_hf_peft_config_loaded"):
        plain.__dict__.pop(mark, None)
    return plain


def kept(switch: Switch) -> Any:
    """The model with its adapters in its layers, and the switch noted on it."""
    hf = switch.wrapper.get_base_model()
    hf.__dict__[_SWITCH] = switch
    return hf
