"""Whether a TransformerLens bridge computes what the plain Hugging Face model computes: logits beside logits.

A boot reads a configuration and builds its own forward from it; what it does not know of (another scale, another
mask, an unbiased projection) it leaves out without a word. So a random copy of the configuration is booted first: few
layers, every window cut so that the text is longer than it, weights large enough that each part matters. The model
itself is compared only where the copy is right.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lens.arguments import HFModel

from .placement import device_of

#: Part of what is remembered of a comparison: another name for other comparisons.
CHECK = "logits 1"
#: Layers and windows of the copy, ids of its text (more than a window holds), ids that the model itself is compared on.
LAYERS, WINDOW, LENGTH, IDS = 2, 16, 40, 64
#: The copy's vocabulary, and the parameters above which its feed-forward layers and experts are cut too.
VOCABULARY, LARGE = 256, 64_000_000
#: Largest difference of logits that counts as rounding, as a share of the largest logit.
ROUNDING = {torch.float64: 1e-4, torch.float32: 1e-4}
ROUNDING_LOW = 4e-2

_DEPTHS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "decoder_layers", "depth", "encoder_layers")
_WINDOWS = (
    "sliding_window",
    "attention_window_size",
    "local_attention",
    "attention_chunk_size",
    "window_size",
    "original_max_position_embeddings",
    "chunk_size",
    "mamba_chunk_size",
)
_VOCABULARIES = ("vocab_size", "vocab_size_per_layer_input")
_WIDTHS = (
    "intermediate_size",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "intermediate_size_mlp",
    "ffn_dim",
    "n_inner",
    "ffn_hidden_size",
    "shared_intermediate_size",
    "prefix_dense_intermediate_size",
)
_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
#: Where the layers' kinds follow a rule instead of a list: a value with which two layers hold both kinds.
_RULES = {
    "first_k_dense_replace": 1,
    "max_window_layers": 1,
    "num_kv_shared_layers": 0,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
    "interleave_moe_layer_step": 2,
    "decoder_sparse_step": 1,
}
_OTHER_TOKENS = ("image", "video", "audio", "vision", "boi", "eoi", "boa", "eoa")
_FEWEST = 4

_verdicts: dict[tuple[Any, ...], str | None] = {}


class Unlike(Exception):
    """Logits that differ, or cannot be had; the message says by how much, or why."""


def random_ids(hf: HFModel, length: int) -> Int[Tensor, "1 length"]:
    """Random token ids of the text vocabulary, no placeholder of an image or a sound among them, at most as many as
    the model has positions for.
    """
    text = hf.config.get_text_config() if hasattr(hf.config, "get_text_config") else hf.config
    table = hf.get_input_embeddings()
    size = min(int(getattr(text, "vocab_size", None) or table.weight.shape[0]), table.weight.shape[0])
    limits = [
        value
        for key in ("max_position_embeddings", "max_seq_len", "n_positions", "n_ctx")
        if isinstance(value := getattr(text, key, None), int) and value > 0
    ]
    placeholders = {value for key, value in _ids_in(hf.config) if key.startswith(_OTHER_TOKENS)}
    allowed = torch.tensor([i for i in range(size) if i not in placeholders]) if placeholders else torch.arange(size)
    length = min([length, *limits])
    at = torch.randint(0, len(allowed), (1, length), generator=torch.Generator().manual_seed(0))
    return allowed[at].to(device_of(hf))


@torch.no_grad()
def logits(model: Any, ids: Int[Tensor, "1 length"]) -> Float[Tensor, "length vocabulary"]:
    """The logits of a bridge or a plain model. Raises Unlike where the model gives none of every token of a text."""
    try:
        out = model(ids)
    except Exception as error:  # any model's own code
        raise Unlike(
            f"a forward on {ids.shape[1]} token ids fails ({type(error).__name__}: {one_line(error)})"
        ) from error
    out = getattr(out, "logits", out)
    if not isinstance(out, Tensor) or out.ndim != 3 or out.shape[:2] != ids.shape:
        raise Unlike(f"its output holds no logits [1, {ids.shape[1]}, vocabulary]")
    return out[0]


def require_same(got: Float[Tensor, "length vocabulary"], want: Float[Tensor, "length vocabulary"], where: str) -> None:
    """Raises Unlike where two tables of logits differ by more than rounding."""
    if got.shape != want.shape:
        raise Unlike(f"its logits have shape {tuple(got.shape)} instead of {tuple(want.shape)} on {where}")
    got, want, allowed = got.float(), want.float(), ROUNDING.get(want.dtype, ROUNDING_LOW)
    alike = (got == want) | got.isnan() & want.isnan()
    if bool(alike.all()):
        return
    largest, off = want.abs().max(), (got - want)[~alike].abs().max()
    if not off <= allowed * largest:
        raise Unlike(f"its logits are off by {off:.2g} (the largest is {largest:.2g}) on {where}")


def differs_on_copies(hf: HFModel, boot: Callable[[Any], Any]) -> str | None:
    """Why a bridge of this configuration is not the plain model; None where it is, on a random copy in float32 and in
    the model's own dtype.

    `boot`: makes a bridge of a plain model. The answer is remembered by type, configuration and dtype.
    """
    owner = hf.get_base_model() if hasattr(hf, "get_base_model") else hf
    key = (
        type(owner),
        owner.config.to_json_string(use_diff=False),
        getattr(owner.config, "_attn_implementation", None),
        hf.dtype,
        hf.device.type,
    )
    if key not in _verdicts:
        try:
            for dtype in dict.fromkeys((torch.float32, hf.dtype)):
                _compare_copy(owner, dtype, boot)
            _verdicts[key] = None
        except Unlike as error:
            _verdicts[key] = str(error)
    return _verdicts[key]


def _compare_copy(hf: HFModel, dtype: torch.dtype, boot: Callable[[Any], Any]) -> None:
    small = small_copy(hf, dtype)
    ids = random_ids(small, LENGTH)
    want = logits(small, ids)
    if not torch.isfinite(want).all():
        raise Unlike(
            "a random copy of its configuration gives logits that are not finite, so that nothing can be compared"
        )
    try:
        bridge = boot(small)
    except Exception as error:  # adapters raise whatever their code meets
        raise Unlike(f"it cannot wrap this type ({type(error).__name__}: {one_line(error)})") from error
    kind = str(dtype).removeprefix("torch.")
    where = (
        f"{ids.shape[1]} ids through a random copy of the configuration with few layers and windows of at most"
        f" {WINDOW}, in {kind}"
    )
    require_same(logits(bridge, ids), want, where)
    require_same(logits(bridge.original_model, ids), want, where)


def small_copy(hf: HFModel, dtype: torch.dtype) -> Any:
    """A random model of the same class and configuration with few layers, short windows and a small vocabulary, on
    the same kind of device.

    Raises: Unlike: the class cannot be built from such a configuration.
    """
    # in low precision the two kinds of attention differ by rounding alone, which random weights amplify
    attention = (
        "sdpa" if dtype == torch.float32 and getattr(hf.config, "_attn_implementation", None) == "sdpa" else "eager"
    )
    device = hf.device if hf.device.type in ("cpu", "cuda", "mps") else torch.device("cpu")
    allowed, failed = max(LARGE, sum(p.numel() for p in hf.parameters()) // 8), None
    for cut_depth, cut_width in ((True, False), (True, True), (False, True)):
        config = small_config(hf.config, cut_depth, cut_width)
        try:
            with torch.device("meta"):
                size = sum(p.numel() for p in type(hf)(copy.deepcopy(config)).parameters())
            if size > (LARGE if cut_depth and not cut_width else allowed):
                failed = f"it would take {size:,} parameters"
                continue
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                small = (
                    type(hf)
                    ._from_config(config, dtype=dtype, attn_implementation=attention)
                    .eval()
                    .requires_grad_(False)
                )
                _randomise(small)
            small = small.to(device)
            logits(small, random_ids(small, LENGTH))
            return small
        except Exception as error:  # a configuration that was cut may break anything in a model's own code
            failed = f"{type(error).__name__}: {one_line(error)}"
    raise Unlike(f"no small random copy of its configuration can be built to compare the two on ({failed})")


def small_config(config: Any, cut_depth: bool = True, cut_width: bool = False) -> Any:
    """The configuration with few layers, windows of at most `WINDOW`, and a vocabulary of at most `VOCABULARY`; parts
    of a composite one alike.
    """
    small = copy.deepcopy(config)
    free = iter(range(VOCABULARY - 1, 0, -1))
    for part in _parts(small):
        own = part.__dict__
        own.pop("quantization_config", None)
        if cut_depth:
            _cut_depth(own)
        for key, value in _entries(own):
            if isinstance(value, bool) or not isinstance(value, int):
                continue
            if key.name in _WINDOWS:
                key.set(min(value, WINDOW))
            elif key.name in _VOCABULARIES:
                key.set(min(value, VOCABULARY))
            elif key.name.endswith(("_token_id", "_token_index")) and value >= VOCABULARY:
                key.set(next(free))
            elif cut_width and key.name in _WIDTHS:
                key.set(min(value, 8 * VOCABULARY))
            elif cut_width and key.name in _EXPERTS:
                key.set(min(value, 2 * _FEWEST))
        for key, value in list(own.items()):
            if key.endswith("_token_id") and isinstance(value, (list, tuple)):
                own[key] = [token if token < VOCABULARY else next(free) for token in value]
    return small


def _cut_depth(own: dict[str, Any]) -> None:
    """Keep one layer of each kind that the lists of layers tell apart, at least `LAYERS` and at most `_FEWEST`, in
    their order.
    """
    depth = next((own[key] for key in _DEPTHS if isinstance(own.get(key), int)), 0)
    if depth <= LAYERS:
        return
    lists = {key: value for key, value in own.items() if isinstance(value, (list, tuple)) and len(value) == depth}
    kinds = [repr([value[i] for value in lists.values()]) for i in range(depth)]
    chosen = [kinds.index(kind) for kind in dict.fromkeys(kinds)][:_FEWEST]
    pattern = len(own["block_types"]) if isinstance(own.get("block_types"), (list, tuple)) else 0
    for i in range(depth):
        if len(chosen) >= max(LAYERS, min(pattern, _FEWEST)):
            break
        chosen += [i] * (i not in chosen)
    for key, value in lists.items():
        own[key] = type(value)(value[i] for i in sorted(chosen))
    for key in _DEPTHS:
        if own.get(key) == depth:
            own[key] = len(chosen)
    for key, most in _RULES.items():
        if isinstance(own.get(key), int) and own[key] > most:
            own[key] = most


class _Key:
    """One entry of a configuration: its name, and how to replace it."""

    def __init__(self, owner: dict[str, Any], name: str):
        self.owner, self.name = owner, name

    def set(self, value: Any) -> None:
        self.owner[self.name] = value


def _entries(own: dict[str, Any]) -> Iterator[tuple[_Key, Any]]:
    """The entries of a configuration and of the dictionaries in it (rotary parameters, by kind of layer too)."""
    for name, value in list(own.items()):
        if isinstance(value, dict):
            yield from _entries(value)
        else:
            yield _Key(own, name), value


def _parts(config: Any) -> Iterator[Any]:
    """A configuration and those inside it."""
    from transformers import PretrainedConfig

    yield config
    for value in list(vars(config).values()):
        if isinstance(value, PretrainedConfig):
            yield from _parts(value)


def _ids_in(config: Any) -> Iterator[tuple[str, int]]:
    for part in _parts(config):
        for key, value in vars(part).items():
            if isinstance(value, int) and key.endswith(("_token_id", "_token_index")):
                yield key, value


@torch.no_grad()
def _randomise(model: nn.Module) -> None:
    """Weights so large that attention chooses, norms and biases that are not all alike; what a state-space layer
    starts from stays.
    """
    projections = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, (nn.Linear, nn.Embedding))
        or (type(module).__name__ == "Conv1D" and isinstance(getattr(module, "weight", None), Tensor))
    }
    for name, value in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        if value.ndim == 1 and last not in ("A_log", "D", "dt_bias", "time_decay", "time_first"):
            value.add_(torch.randn(value.shape).to(value) * 0.2)
        elif id(value) in projections or (value.ndim == 3 and "conv" not in name and last not in ("A_log", "D")):
            # scores of queries and keys are then a few units large whatever the widths
            value.copy_(torch.randn(value.shape).to(value) * 1.6 / (value.shape[-1] * value.shape[-2]) ** 0.25)
    for name, buffer in model.named_buffers():
        if name.endswith("_bias") and buffer.is_floating_point() and not buffer.any():
            buffer.copy_(torch.randn(buffer.shape).to(buffer) * 0.1)


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, at most 400 characters."""
    return " ".join(str(error).split())[:400] or type(error).__name__
