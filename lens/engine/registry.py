"""A person's own model classes: where their blocks, the attention's and the MLP's output and the head are.

What is said here is probed like what is found by itself: a name that does not hold what it should is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from jaxtyping import Float, Int
from torch import Tensor, nn

from ..arguments import Name, Whole, door
from .errors import RunError, UnsupportedModel

_Heads = Annotated[int, Whole(1)]


@dataclass(frozen=True)
class Registered:
    """Names of a model class's parts: ``blocks``, ``embedding`` and ``head`` in the model, the others in a block."""

    blocks: str
    attn: str | None
    mlp: str | None
    head: str
    embedding: str
    o_proj: str | None = None
    down_proj: str | None = None
    q: str | None = None
    k: str | None = None
    v: str | None = None
    n_heads: int | None = None

    def part(self, owner: nn.Module, name: str | None) -> Any:
        """The module of this name, of whatever class; None where the name is None.

        Raises:
            UnsupportedModel: there is none.
        """
        if name is None:
            return None
        try:
            return owner.get_submodule(name)
        except AttributeError:
            there = ", ".join(n for n, _ in owner.named_children()) or "none"
            raise UnsupportedModel(
                f"{type(owner).__name__} has no module {name!r}, under which it was registered; its own are {there}."
                " Register the class again with the right names."
            ) from None


_classes: dict[type, Registered] = {}


@door(RunError)
def register(
    kind: type,
    *,
    blocks: Name,
    head: Name,
    embedding: Name,
    attn: str | None = None,
    mlp: str | None = None,
    o_proj: str | None = None,
    down_proj: str | None = None,
    q: str | None = None,
    k: str | None = None,
    v: str | None = None,
    n_heads: _Heads | None = None,
) -> None:
    """Tells the engine where the parts of a person's own model class are; registering it again replaces the names.

    Args:
        kind: a class of ``torch.nn.Module`` whose forward takes token ids ``input_ids [batch, position]`` and returns
            logits ``[batch, position, d_vocab]``, by themselves or as ``.logits``.
        blocks: name of the list of decoder blocks, each of which takes the residual stream ``[batch, position,
            d_model]`` first and returns it (alone or first of a tuple). embedding, head: of the token embedding and of
            the linear layer that gives the logits.
        attn, mlp: within a block, the modules whose outputs are added to the stream; without them only the stream's own
            sites are served.
        o_proj, down_proj: the output projections within the block, for sites ``z`` and ``neuron``. q, k, v: the
            projections of queries, keys and values. n_heads: query heads, where the model's ``config`` does not say.

    Raises:
        RunError: no class of modules.

    >>> lens.Model.register(MyGPT, blocks="blocks", embedding="tok", head="head", attn="attn", mlp="mlp")
    ... # doctest: +SKIP
    """
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise RunError(f"kind={kind!r} is no class of torch.nn.Module; give the model's class.")
    _classes[kind] = Registered(blocks, attn, mlp, head, embedding, o_proj, down_proj, q, k, v, n_heads)


def registered(model: Any) -> Registered | None:
    """What was said of a model's class or of one that it descends from."""
    return next((_classes[kind] for kind in type(model).__mro__ if kind in _classes), None)


@dataclass(frozen=True)
class OwnConfig:
    """What the engine reads of a configuration, for a class that has none."""

    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    model_type: str
    bos_token_id: int | None = None
    is_encoder_decoder: bool = False
    _attn_implementation: str = "eager"


def config_of(model: nn.Module) -> Any:
    """The configuration of a model, or what takes its place for a registered class that has none."""
    config, names = getattr(model, "config", None), registered(model)
    if names is None or hasattr(config, "to_dict"):
        return config
    return OwnConfig(
        len(names.part(model, names.blocks)),
        names.n_heads or 0,
        names.part(model, names.embedding).weight.shape[0],
        type(model).__name__,
    )


def _logits(out: Any) -> Any:
    """None where there are none: a model is told so by who compares."""
    return getattr(out, "logits", None)


def calling(model: nn.Module) -> Callable[..., Tensor]:
    """The model's forward as a function from token ids to logits (None where it gives none); ``logits_to_keep`` may ask
    for the last ones alone.
    """
    if registered(model) is None or hasattr(getattr(model, "config", None), "to_dict"):

        def library(ids: Int[Tensor, "batch position"], **options: Any) -> Float[Tensor, "batch position d_vocab"]:
            logits: Tensor = _logits(model(ids, use_cache=False, **options))
            return logits

        return library

    def own(ids: Int[Tensor, "batch position"], **options: Any) -> Float[Tensor, "batch position d_vocab"]:
        out = model(ids)
        logits: Tensor = out if isinstance(out, Tensor) else _logits(out)
        return logits

    return own
