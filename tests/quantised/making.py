"""Small random models whose weights are quantised, by every method that runs on a processor."""

import contextlib
import functools
import logging
import tempfile
import warnings
from pathlib import Path

import torch
from transformers import (
    AutoModelForCausalLM,
    BitsAndBytesConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    QuantoConfig,
    TorchAoConfig,
)

import lens

from ..models import word_tokenizer

#: What the tests call the methods, and how a layer of each is told in records.
METHODS = {
    "torchao_int8": "torchao int8 weight-only",
    "torchao_float8": "torchao float8 weight-only",
    "torchao_int8_dynamic": "torchao int8 with int8 activations",
    "bitsandbytes_int8": "bitsandbytes int8",
    "nf4": "bitsandbytes nf4",
    "nf4_nested": "bitsandbytes nf4",
    "quanto_int8": "quanto qint8",
    "quanto_int4": "quanto qint4",
    "compressed": "compressed-tensors W8A16 int",
}
#: One of each library's kernels; the hash, weights as read and refusals are tried on all.
SOME = ("torchao_int8", "bitsandbytes_int8", "nf4", "quanto_int8", "compressed")
PAIR = lens.Pair("w5 w6 w7 w8 w3", corrupted="w5 w9 w7 w8 w3", answer=" w11", foil=" w12")
CLEAN, CORRUPTED = torch.tensor([5, 6, 7, 8, 3]), torch.tensor([5, 9, 7, 8, 3])


def plain(kind: str = "llama", seed: int = 0):
    """A random model in float32 whose sizes every method takes: 3 layers, d_model 64, 4 heads, d_mlp 128."""
    torch.manual_seed(seed)
    common = dict(vocab_size=97, initializer_range=0.2, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    if kind == "gpt2":
        model = GPT2LMHeadModel(GPT2Config(**common, n_embd=64, n_layer=3, n_head=4, n_inner=128, n_positions=64))
    else:
        model = LlamaForCausalLM(
            LlamaConfig(
                **common,
                hidden_size=64,
                num_hidden_layers=3,
                num_attention_heads=4,
                num_key_value_heads=2,
                intermediate_size=128,
                max_position_embeddings=64,
            )
        )
    model.eval().requires_grad_(False)
    for p in model.parameters():
        if p.ndim == 1:
            p.add_(torch.randn_like(p) * 0.2)
    return model


def unpacked(packed: torch.Tensor, bits: int) -> torch.Tensor:
    """Codes of a few bits out of bytes, the lowest bits of all bytes first."""
    return torch.cat([(packed >> bits * i) & (2**bits - 1) for i in range(8 // bits)])


@functools.cache
def unpack_by_torch() -> None:
    """Quanto unpacks int4 by the function above, so that no test waits for the compiler of its own in C++."""
    import types

    from optimum.quanto.library.extensions import cpp

    cpp.ext._lib = types.SimpleNamespace(unpack=unpacked)


def config(method: str):
    """The configuration by which transformers quantises while it loads."""
    if method.startswith("torchao"):
        from torchao import quantization

        name = {
            "torchao_int8": "Int8WeightOnlyConfig",
            "torchao_float8": "Float8WeightOnlyConfig",
            "torchao_int8_dynamic": "Int8DynamicActivationInt8WeightConfig",
        }[method]
        return TorchAoConfig(getattr(quantization, name)())
    if method == "bitsandbytes_int8":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    if method == "bitsandbytes_int8_outliers":
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=6.0)
    if method.startswith("nf4"):
        return BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=method == "nf4_nested"
        )
    unpack_by_torch()
    return QuantoConfig(weights=method.removeprefix("quanto_"))


#: Gone when the process ends.
_held = tempfile.TemporaryDirectory(prefix="quantised")


@functools.cache
def _temporary() -> Path:
    return Path(_held.name)


@functools.cache
def folder(kind: str = "llama", seed: int = 0) -> Path:
    """The float model on disk."""
    path = _temporary() / f"{kind}-{seed}"
    plain(kind, seed).save_pretrained(path)
    word_tokenizer().save_pretrained(path)
    return path


@functools.cache
def compressed_folder(kind: str = "llama", seed: int = 0, bits: int = 8) -> Path:
    """A folder as compressed-tensors writes it: codes packed into int32, a scale a row."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    model = plain(kind, seed)
    rows = QuantizationArgs(num_bits=bits, type="int", symmetric=True, strategy="channel")
    scheme = QuantizationScheme(targets=["Linear"], weights=rows)
    apply_quantization_config(
        model,
        QuantizationConfig(
            config_groups={"all": scheme},
            ignore=["lm_head"],
            quant_method="compressed-tensors",
            format="pack-quantized",
            quantization_status="compressed",
        ),
    )
    for module in model.modules():
        if hasattr(module, "weight_scale"):
            module.weight_scale.data.copy_(module.weight.abs().amax(1, keepdim=True) / (2 ** (bits - 1) - 0.5))
    compressor = ModelCompressor.from_pretrained_model(model, "pack-quantized")
    compressor.compress_model(model)
    path = _temporary() / f"compressed-{kind}-{seed}-{bits}"
    model.save_pretrained(path)
    compressor.update_config(str(path))
    word_tokenizer().save_pretrained(path)
    return path


def quantised(method: str, kind: str = "llama", seed: int = 0):
    """A fresh copy of the plain Hugging Face model, quantised; no forward was run."""
    options = {"dtype": torch.float32, "attn_implementation": "eager"}
    with quiet():
        if method == "compressed":
            return AutoModelForCausalLM.from_pretrained(compressed_folder(kind, seed), **options).requires_grad_(False)
        made = AutoModelForCausalLM.from_pretrained(folder(kind, seed), quantization_config=config(method), **options)
    return made.requires_grad_(False)


def wrapped(method: str, kind: str = "llama", seed: int = 0):
    """The quantised model as `lens.models.wrap` gives it."""
    with quiet():
        return lens.models.wrap(quantised(method, kind, seed), word_tokenizer(), method)


def layers(model):
    """The linear layers of a plain model by name, the head left out: those that are quantised."""
    return {name: m for name, m in model.named_modules() if hasattr(m, "in_features") and not name.endswith("lm_head")}


@contextlib.contextmanager
def quiet():
    """What the packages say of missing kernels, and that a plain model comes back, is no matter of these tests."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def dequantised(method: str, kind: str = "llama", seed: int = 0):
    """A plain float model with the weights that the quantised one applies, by each library's own function."""
    import bitsandbytes

    source, out = quantised(method, kind, seed), plain(kind, seed)
    if method == "compressed":
        with quiet():
            source(CLEAN[None])
    packs = bitsandbytes.functional.has_avx512bf16()
    found = layers(out)
    for name, layer in layers(source).items():
        w = layer.weight
        if hasattr(w, "SCB"):
            value = w.data.float() * w.SCB[:, None] / 127
        elif hasattr(w, "quant_state"):
            state = w.quant_state
            if packs:  # the kernel for such processors has scales in bfloat16
                absmax = state.absmax
                if state.nested:
                    absmax = bitsandbytes.functional.dequantize_blockwise(absmax, state.state2) + state.offset
                state.nested, state.absmax = False, absmax.bfloat16().float()
            value = bitsandbytes.functional.dequantize_4bit(w.data, state)
        else:
            value = w.dequantize() if hasattr(w, "dequantize") and type(w) is not torch.nn.Parameter else w
        found[name].weight.copy_(value)
    return out
