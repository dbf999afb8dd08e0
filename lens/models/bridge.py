"""A model in memory as a TransformerLens bridge; where the bridge would not be the model, the plain model,
untouched.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lens.arguments import FilePath, HFModel, Name, door, shown
from lens.cache import LoadError

from ..notices import warn
from .check import IDS, ROUNDING, Unlike, differs_on_copies, logits, one_line, random_ids, require_same
from .placement import dispatched, offloaded, places_of, require_readable

if TYPE_CHECKING:
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_patching = threading.RLock()
#: Where a plain model keeps the name that a bridge has in its `cfg`.
_NAME = "_mnemoscope_name"


@door(LoadError)
def wrap(hf: nn.Module, tokenizer: Any, name: Name = "model") -> TransformerBridge | PreTrainedModel:
    """A Hugging Face causal language model that is already in memory, as a `TransformerBridge` where that gives the
    model's own logits.

    Compared are the logits of a random copy of its configuration (few layers, every window shorter than the text) and
    of the model itself on 64 random ids, in the model's dtype. Where TransformerLens gives others, or cannot wrap the
    type, the plain model itself comes back, unchanged and with `.tokenizer`, and a UserWarning says why: every method
    takes it too. Costs two forwards of 64 tokens and, once for each configuration, a copy of a few layers (for
    SmolLM2-135M together about as long as reading it from its files); no second set of weights.

    A model that accelerate has spread over devices, or offloaded, stays plain: each block computes where it is.

    A bridge rewrites the model object in place (eager attention, wrapped modules): keep a second copy where the plain
    one is needed. Either way the model is in eval mode and asks for no gradients. Nothing is installed and no hub is
    asked.

    Raises: LoadError: no tokenizer, or a model that gives no logits for every token of a text (an encoder-decoder, a
    classifier, a base model).
    """
    return wrapped(hf, tokenizer, name)


def wrapped(
    hf: HFModel, tokenizer: PreTrainedTokenizerBase, name: FilePath, mark: Path | None = None
) -> TransformerBridge | PreTrainedModel:
    """`wrap`. Where the file `mark` is there the bridge was
    compared before; it is made once it was.
    """
    if not _is_tokenizer(tokenizer):
        raise LoadError(
            f"tokenizer={shown(tokenizer)} is no Hugging Face tokenizer; give the one that belongs to the model, such"
            " as AutoTokenizer.from_pretrained(...)"
        )
    if not isinstance(hf, nn.Module) or not hasattr(hf, "config") or getattr(hf.config, "is_encoder_decoder", False):
        raise LoadError(f"hf: model {name!r} is a {type(hf).__name__}; expected a Hugging Face causal language model")
    require_readable(hf)
    hf.eval().requires_grad_(False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if dispatched(hf) and (offloaded(hf) or len(places_of(hf)) > 1):
        warn(
            f"model {name!r} comes back as the plain Hugging Face model, not as a bridge of TransformerLens: accelerate"
            " has spread it over devices or offloaded it, which a bridge does not follow everywhere. lens uses it all"
            " the same; only the bridge's own methods (run_with_cache, hook names) are missing."
        )
        return plainly(hf, tokenizer, name)
    if mark is not None and mark.is_file():
        return booted(hf, tokenizer, name)
    try:
        ids = random_ids(hf, IDS)
        want = logits(hf, ids)
    except Unlike as error:
        raise LoadError(
            f"hf: model {name!r} is a {type(hf).__name__} and no causal language model that can be used here: {error}"
        ) from error
    reason = differs_on_copies(hf, lambda model: booted(model, copied_tokenizer(), "copy"))
    if reason is None:
        before = Before(hf, tokenizer)
        try:
            # in low precision another kind of attention rounds differently: the bridge's is eager, so is what it is
            # held against
            eager = want if hf.dtype in ROUNDING else _eager_logits(hf, ids)
            bridge = booted(hf, tokenizer, name)
            require_same(logits(bridge, ids), eager, f"{ids.shape[1]} random ids")
            if mark is not None:
                with contextlib.suppress(OSError):  # a cache that cannot be written is compared anew each time
                    mark.parent.mkdir(parents=True, exist_ok=True)
                    mark.touch()
            return bridge
        except Unlike as error:
            reason = str(error)
        except Exception as error:  # adapters raise whatever their code meets
            reason = f"it cannot wrap this model ({type(error).__name__}: {one_line(error)})"
        finally:
            if reason is not None or "bridge" not in locals():
                before.restore()
        if not torch.allclose(logits(hf, ids), want, rtol=0, atol=0, equal_nan=True):
            raise LoadError(
                f"model {name!r} was changed by the try to wrap it and does not give its own logits any more; load it"
                " again and use it without lens.models.wrap"
            )
    warn(
        f"model {name!r} comes back as the plain Hugging Face model, not as a bridge of TransformerLens"
        f" {metadata.version('transformer-lens')}: {reason}. lens uses it all the same; only the bridge's own methods"
        " (run_with_cache, hook names) are missing."
    )
    return plainly(hf, tokenizer, name)


def plainly(hf: HFModel, tokenizer: PreTrainedTokenizerBase, name: FilePath) -> PreTrainedModel:
    """The plain Hugging Face model as every method takes it: in eval mode, without gradients, with `.tokenizer` and
    its name.

    A tokenizer without a start token has the one that ends a text for it, as in a bridge, so that what puts one in
    front (scoring) gives the same numbers however a model was loaded.
    """
    model: Any = hf.eval().requires_grad_(False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.bos_token is None:
        tokenizer.bos_token = tokenizer.eos_token
    model.tokenizer, model.__dict__[_NAME] = tokenizer, str(name)
    plain: PreTrainedModel = model
    return plain


def _is_tokenizer(value: Any) -> bool:
    try:
        return callable(value) and not isinstance(value, type) and hasattr(value, "convert_ids_to_tokens")
    except Exception:  # an object may refuse to tell what it has
        return False


def _eager_logits(hf: HFModel, ids: torch.Tensor) -> torch.Tensor:
    if getattr(hf.config, "_attn_implementation", None) != "eager":
        hf.set_attn_implementation("eager")
    return logits(hf, ids)


@door(LoadError)
def name_of(model: Any, default: str | None = None) -> str:
    """What a model was loaded or wrapped as, bridge or plain; else the name in its configuration, else `default`, or
    where that is None its class.
    """
    try:
        core = getattr(model, "original_model", model)
        names: tuple[Any, ...] = (
            getattr(getattr(model, "cfg", None), "model_name", None),
            core.__dict__.get(_NAME) if isinstance(core, nn.Module) else None,
            getattr(getattr(core, "config", None), "name_or_path", None),
        )
    except Exception:  # an object may refuse to tell what it has
        core, names = model, ()
    known = next((name for name in names if isinstance(name, str) and name), default)
    return type(core).__name__ if known is None else known


def booted(hf: HFModel, tokenizer: PreTrainedTokenizerBase, name: FilePath) -> TransformerBridge:
    """The bridge, compared with nothing; rewrites the model in place."""
    from transformer_lens.model_bridge import TransformerBridge

    if not hf.config.architectures:
        hf.config.architectures = [
            type(hf).__name__
        ]  # absent in a model that was built from a config, and the boot asks for it
    parameters = sorted(hf.named_parameters())
    layers = [
        (name, module)
        for name, module in hf.named_modules()
        if isinstance(getattr(module, "weight", None), nn.Parameter)
    ]
    # With these entries the boot keeps this tokenizer instead of a second copy that puts a start token before every
    # text.
    with (
        _entries(tokenizer.init_kwargs, add_bos_token=True, name_or_path=tokenizer.init_kwargs.get("name_or_path", "")),
        _no_processor(),
    ):
        bridge = TransformerBridge.boot_transformers(str(name), hf_model=hf, tokenizer=tokenizer, device=str(hf.device))
    hf.requires_grad_(False)  # the copies that the boot makes of a joint query-key-value matrix ask for gradients
    remember_parameters(hf, parameters)
    hf.__dict__["_mnemoscope_layers"] = layers  # by the plain model's names; the boot has others for some
    bridge.cfg.default_prepend_bos = False
    bridge.cfg.dtype = hf.dtype
    return bridge.eval()


def copied_tokenizer() -> PreTrainedTokenizerBase:
    """A tokenizer of a few words, for a bridge that reads ids alone."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="b", unk_token="a", pad_token="b")


def remember_parameters(hf: nn.Module, before: list[tuple[str, nn.Parameter]]) -> None:
    """Note which parameters the model had before the boot, and the state of the copies that the boot made of some of
    them.

    The boot renames modules, and where query, key and value are one matrix it also makes three copies for its hooks.
    """
    own = {id(value) for _, value in before}
    copies = [(value, value._version) for value in hf.parameters() if id(value) not in own]
    hf.__dict__["_mnemoscope_parameters"] = (before, copies)


class Before:
    """A model and its tokenizer as they are, so that a boot can be undone. It holds the objects and copies no tensor;
    the boot writes into none.
    """

    _CONTAINERS = (dict, set, list)

    def __init__(self, hf: nn.Module, tokenizer: Any):
        self.modules = [
            (
                module,
                type(module),
                {
                    key: copy.copy(value) if isinstance(value, self._CONTAINERS) else value
                    for key, value in vars(module).items()
                },
            )
            for module in hf.modules()
        ]
        self.configs = [(config, self._plain(config)) for config in self._configs(hf)]
        self.tokenizer = tokenizer
        self.tokens = {
            key: getattr(tokenizer, key, None) for key in ("padding_side", "bos_token", "eos_token", "pad_token")
        }

    @staticmethod
    def _configs(hf: nn.Module) -> list[Any]:
        from transformers import PretrainedConfig

        configs: dict[int, Any] = {}
        ahead = [getattr(module, "config", None) for module in hf.modules()] + [getattr(hf, "generation_config", None)]
        while ahead:
            config = ahead.pop()
            if config is None or id(config) in configs or not hasattr(config, "__dict__"):
                continue
            configs[id(config)] = config
            ahead += [value for value in vars(config).values() if isinstance(value, PretrainedConfig)]
        return list(configs.values())

    @staticmethod
    def _plain(config: Any) -> dict[str, Any]:
        """The entries, copied; parts that are configurations themselves stay the same objects."""
        from transformers import PretrainedConfig

        return {
            key: value if isinstance(value, PretrainedConfig) else copy.deepcopy(value)
            for key, value in vars(config).items()
        }

    def restore(self) -> None:
        """Everything as it was."""
        for module, kind, own in self.modules:
            module.__class__ = kind
            module.__dict__.clear()
            module.__dict__.update(own)
        for config, own in self.configs:
            config.__dict__.clear()
            config.__dict__.update(own)
        for key, value in self.tokens.items():
            if getattr(self.tokenizer, key, None) != value:
                setattr(self.tokenizer, key, value)


@contextlib.contextmanager
def _entries(mapping: dict[str, Any], **wanted: Any) -> Iterator[None]:
    """Some entries of a dictionary for a while."""
    missing = object()
    entries = {key: mapping.get(key, missing) for key in wanted}
    mapping.update(wanted)
    try:
        yield
    finally:
        for key, value in entries.items():
            if value is missing:
                mapping.pop(key, None)
            else:
                mapping[key] = value


@contextlib.contextmanager
def _no_processor() -> Iterator[None]:
    """A boot in this thread looks for no processor of images or sounds: that asks the hub for the model's label, and
    installs packages for it.
    """
    from transformer_lens.model_bridge.sources.transformers import source

    mine, kept = threading.get_ident(), source.load_modality_processor

    def load(*args: Any, **kwargs: Any) -> None:
        if threading.get_ident() != mine:
            kept(*args, **kwargs)

    with _patching:
        source.load_modality_processor = load
        try:
            yield
        finally:
            source.load_modality_processor = kept
