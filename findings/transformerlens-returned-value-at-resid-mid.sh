#!/bin/bash
# TransformerLens 4.3: a value that a hook returns at `hook_resid_mid` of a bridge changes only what the MLP reads.
#
# Expected: `lambda x, hook: x + v` at blocks.0.hook_resid_mid adds v to the residual stream, as in
# HookedTransformer: the MLP reads it and it rides on to the next block.
# What is: the MLP reads x + v, and the stream goes on without v. Written in place (`x += v`) the same hook edits
# the stream. Logits differ by several units, without a word.
# Instead: write in place at this site and return nothing.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 transformer-lens==4.3.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from tokenizers import Tokenizer, models
from transformer_lens.model_bridge import TransformerBridge
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def model():
    torch.manual_seed(0)
    made = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).eval()
    made.config.architectures = ["LlamaForCausalLM"]
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_(0, 0.3)
    return made.requires_grad_(False)


words = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(60)}, unk_token="w0")),
    pad_token="w0",
    bos_token="w1",
    eos_token="w2",
    add_bos_token=True,
    name_or_path="",
)
ids, v, plain = torch.arange(3, 15)[None], 3 * torch.randn(32, generator=torch.Generator().manual_seed(1)), model()
# what is meant, with plain PyTorch: v is added to what the second norm of the block reads and to what goes round it
adds = plain.model.layers[0].self_attn.register_forward_hook(lambda module, args, out: (out[0] + v, *out[1:]))
meant = plain(ids).logits
adds.remove()
reads = plain.model.layers[0].post_attention_layernorm.register_forward_pre_hook(lambda module, args: (args[0] + v,))
only_read = plain(ids).logits
reads.remove()


def in_place(x, hook):
    x += v


bridge = TransformerBridge.boot_transformers("tiny", hf_model=model(), tokenizer=words, device="cpu")
returned, written = (
    bridge.run_with_hooks(ids, fwd_hooks=[("blocks.0.hook_resid_mid", hook)])
    for hook in (lambda x, hook: x + v, in_place)
)


def gap(a, b):
    return float((a - b).abs().max())


print(f"transformer-lens {version('transformer-lens')}: largest difference of a logit")
print(f"  written in place, from the edit that is meant:      {gap(written, meant):.1e}")
print(f"  returned, from the edit that is meant:              {gap(returned, meant):.2f}")
print(f"  returned, from an edit of what the MLP reads alone: {gap(returned, only_read):.1e}")
sys.exit(0 if gap(written, meant) < 1e-3 < 0.1 < gap(returned, meant) and gap(returned, only_read) < 1e-3 else 1)
PY
