"""A pipeline by name: whole, of known kinds, and finite, or refused."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from torch import nn

from .. import reading
from ..arguments import Check, Count, FilePath, Unfit, door
from ..extras import require
from ..models import LoadError
from ..models.adapter import NO_ADAPTER
from ..models.devices import device_named, dtype_of
from ..models.folder import require_complete, require_finite, require_known_ways, require_shallow
from ..models.names import folder_for
from ..models.shipped import CARD, ORGANISM, PICTURES, folder_of
from .codecs import Patches
from .errors import DiffusionError
from .pipeline import Pipeline

if TYPE_CHECKING:
    from diffusers.models import ModelMixin
    from transformers import PreTrainedModel

    #: A class of a part that has weights.
    Weighed = type[ModelMixin] | type[PreTrainedModel]

#: The parts whose weights a picture depends on.
WEIGHED = ("unet", "text_encoder", "vae")
#: Libraries that a part may come from; diffusers also names its own modules of pipelines (a safety checker's).
LIBRARIES = ("diffusers", "transformers")


@door(DiffusionError)
def load(name: FilePath = "organism:cards", *, device: str = "auto", dtype: str | torch.dtype = "float32") -> Pipeline:
    """A pipeline by name: "organism:cards", a folder in diffusers' layout, or a hub name
    ("CompVis/stable-diffusion-v1-4").

    Raises: ExtraError: the extra [diffusion] is not installed. LoadError: an unknown name or a device that is not
        there. DiffusionError: a folder that is no pipeline, names modules of other libraries, lacks a weight of the
        U-Net, the text encoder or the autoencoder (it would be a random number), holds a number that is not finite, or
        has no feed-forward blocks of the expected kind.
    """
    require("diffusion", "lens.diffusion.load")
    place, kind = device_named(device), dtype_of(dtype)
    ships = str(name).startswith(ORGANISM)
    folder = folder_of(str(name), PICTURES, " that makes pictures") if ships else folder_for(str(name))
    if folder is not None and not (folder / PICTURES).is_file():
        raise DiffusionError(
            f"name={str(name)!r} holds no model_index.json, so it is no diffusion pipeline; expected a folder that a"
            " pipeline's save_pretrained wrote."
        )
    refuse = _refusal(str(name))
    try:
        with reading.no_panic(refuse, "a part of it made a library fail"):
            if folder is None:
                folder = _from_hub(str(name))
            index = _inspected(str(name), folder)
            if index["_class_name"] == "Cards":
                return _cards(str(name), folder, index, place, kind)
            return Pipeline.of(_parts(str(name), folder, index, kind).to(place), str(name))
    except (DiffusionError, LoadError):
        raise
    except Exception as error:  # diffusers, transformers and safetensors each raise their own kinds
        raise DiffusionError(
            f"name={str(name)!r} is damaged or not whole ({_why(error)}); copy or train it again."
        ) from error


def _from_hub(name: str) -> Path:
    """The folder of a hub name in the hub's own cache, fetched where it is not there; nothing of it is opened but its
    index.
    """
    from diffusers import DiffusionPipeline

    try:
        return Path(DiffusionPipeline.download(name, use_safetensors=True, safety_checker=None))
    except Exception as error:  # the hub's client raises many kinds
        raise DiffusionError(
            f"name={name!r} could not be loaded ({_why(error)}); the weights of a hub name must be reachable or in the"
            " cache, and 'organism:cards' ships with the package."
        ) from None


def _inspected(name: str, folder: Path) -> dict[str, Any]:
    """The index of a pipeline's folder, after a look at every JSON file and header of weights in it. Raises
    DiffusionError, LoadError.
    """
    refuse = _refusal(name)
    index = reading.json_file(folder / PICTURES, refuse)
    texts = [*folder.glob("*.json"), *folder.glob("*/*.json")]
    require_shallow(texts, refuse)
    for path in sorted(texts):
        if path.name == "config.json":
            require_known_ways(f"{name}/{path.parent.name}", reading.json_file(path, refuse))
        if path.name.endswith(".safetensors.index.json"):
            named = reading.json_file(path, refuse).get("weight_map")
            for file in set(map(str, named.values())) if isinstance(named, dict) else ():
                reading.inside(path.parent, file, refuse)
    if not isinstance(index.get("_class_name"), str):
        raise refuse(
            f"{folder / PICTURES} names {index.get('_class_name')!r} as the kind of pipeline; expected the name of one"
            " of diffusers' own, such as StableDiffusionPipeline"
        )
    for part, entry in index.items():
        if part.startswith("_") or not isinstance(entry, list) or entry == [None, None]:
            continue
        library = entry[0] if len(entry) == 2 else entry
        if (
            (library not in LIBRARIES and not _of_diffusers(library))
            or not isinstance(entry[1], str)
            or not entry[1].isidentifier()
        ):
            raise refuse(
                f"{folder / PICTURES} asks for {part} as {entry!r}; expected [library, class] with a library of"
                f" {', '.join(LIBRARIES)}. No other module is imported for a pipeline"
            )
    for path in sorted(folder.glob("*/*.safetensors")):
        reading.safetensors_header(path, refuse)
    return index


def _of_diffusers(library: Any) -> bool:
    """Whether it is one of the modules of pipelines that diffusers itself holds."""
    from diffusers import pipelines

    return isinstance(library, str) and library.isidentifier() and (Path(pipelines.__file__).parent / library).is_dir()


def _parts(name: str, folder: Path, index: dict[str, Any], kind: torch.dtype) -> Any:
    """The pipeline of diffusers, each part with weights loaded here, so that what a load reports as missing is seen."""
    from diffusers import DiffusionPipeline

    own = {
        part: _weights(name, part, _class(name, part, index[part]), folder, kind)
        for part in WEIGHED
        if isinstance(index.get(part), list) and index[part][0] is not None
    }
    return DiffusionPipeline.from_pretrained(
        str(folder), dtype=kind, use_safetensors=True, local_files_only=True, safety_checker=None, **own
    )


def _class(name: str, part: str, entry: list[str]) -> Weighed:
    """The class that an index names for a part. Raises DiffusionError: it is no model of its library."""
    from diffusers.models import ModelMixin
    from transformers import PreTrainedModel

    kind = getattr(importlib.import_module(entry[0]), entry[1], None) if entry[0] in LIBRARIES else None
    if not isinstance(kind, type) or not issubclass(kind, (ModelMixin, PreTrainedModel)):
        raise DiffusionError(
            f"name={name!r}: model_index.json asks for {part} as {entry!r}, which is no model of"
            f" {' or '.join(LIBRARIES)}."
        )
    return kind


def _weights(name: str, part: str, of: Weighed, folder: Path, kind: torch.dtype, **options: Any) -> nn.Module:
    """A part with all of its weights, all of them finite. Raises DiffusionError."""
    from transformers import PreTrainedModel

    if issubclass(of, PreTrainedModel):
        options |= NO_ADAPTER  # transformers would put one that lies beside the weights on them, unasked
    loaded: Any = of.from_pretrained(
        folder / part, dtype=kind, use_safetensors=True, local_files_only=True, output_loading_info=True, **options
    )
    module, report = loaded
    require_complete(f"{name}/{part}", report, module, DiffusionError)
    require_finite(f"{name}/{part}", module, DiffusionError)
    return module


def _cards(name: str, folder: Path, index: dict, place: torch.device, kind: torch.dtype) -> Pipeline:
    from diffusers import DDIMScheduler
    from diffusers.models import UNet2DConditionModel
    from diffusers.utils import logging as logging_of_diffusers
    from transformers import CLIPTextModel, PreTrainedTokenizerFast
    from transformers.utils import logging

    for quiet in (logging, logging_of_diffusers):
        quiet.disable_progress_bar()
    card = reading.json_file(folder / CARD, _refusal(name))
    for file in sorted(folder.glob("*/*.safetensors")):
        if hashlib.sha256(file.read_bytes()).hexdigest() != card["weights_sha256"].get(file.parent.name):
            raise DiffusionError(
                f"name={name!r}: the weights in {file.parent.name} are not those of the card; get the folder anew, or"
                f" train it again with `{card['rebuild']}`."
            )
    unet = _weights(name, "unet", UNet2DConditionModel, folder, kind, low_cpu_mem_usage=False)
    text = _weights(name, "text_encoder", CLIPTextModel, folder, kind)
    for module in (unet, text):
        module.to(place).eval().requires_grad_(False)
    return Pipeline(
        name,
        unet,
        text,
        PreTrainedTokenizerFast.from_pretrained(folder / "tokenizer"),
        DDIMScheduler.from_pretrained(folder / "scheduler"),
        Patches(int(index["patch"])),
        card,
    )


class _Denoiser(Check):
    expected = "a module with `unet` and `text_encoder`"

    def take(self, value: Any) -> Any:
        try:
            fits = isinstance(value.unet, nn.Module) and isinstance(value.text_encoder, nn.Module)
        except Exception:  # an object may refuse to tell what it has
            fits = False
        if not fits:
            raise Unfit(value, self.expected)
        return value


@door(DiffusionError)
def of_parts(
    name: str,
    denoiser: Annotated[Any, _Denoiser()],
    tokenizer: Any,
    scheduler: Any,
    patch: Count,
    card: Mapping[str, Any] | None = None,
) -> Pipeline:
    """A pipeline of an organism that was just trained: a module with `unet` and `text_encoder`."""
    return Pipeline(
        name, denoiser.unet.eval(), denoiser.text_encoder.eval(), tokenizer, scheduler, Patches(patch), dict(card or {})
    )


def _refusal(name: str) -> Callable[[str], DiffusionError]:
    def refuse(said: str) -> DiffusionError:
        return DiffusionError(f"name={name!r}: {said}")

    return refuse


def _why(error: BaseException) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
