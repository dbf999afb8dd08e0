#!/bin/bash
# TransformerLens 4.3: on OPT and GPT-J a hook on the attention pattern of a bridge is called and changes nothing.
#
# Expected: a pattern that a hook returns at blocks.0.attn.hook_pattern is what the values are averaged with;
# zeroing it removes the layer's attention.
# What is: so on Llama. On OPT and GPT-J (GPT-Neo and XGLM too) the bridge leaves attention to the Hugging Face
# layer and shows the pattern that it hands back: the hook sees the right numbers, its answer is thrown away, and an
# ablation of any head comes out as exactly 0, which reads like "this head does not matter".
# Instead: ablate heads on what goes into the output projection, or compare once with a zeroed pattern before
# trusting a 0.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 transformer-lens==4.3.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
import transformers as t
from tokenizers import Tokenizer, models
from transformer_lens.model_bridge import TransformerBridge

llama = t.LlamaConfig(
    vocab_size=60,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
)
opt = t.OPTConfig(
    vocab_size=60,
    hidden_size=32,
    word_embed_proj_dim=32,
    ffn_dim=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=64,
)
gptj = t.GPTJConfig(vocab_size=60, n_embd=32, n_layer=2, n_head=4, n_positions=64, rotary_dim=8)
ids, seen = torch.arange(3, 15)[None], {}
print(
    f"transformer-lens {version('transformer-lens')}: the pattern of the first layer is zeroed by a hook; largest "
    "change of a logit"
)
for kind, config in ((t.LlamaForCausalLM, llama), (t.OPTForCausalLM, opt), (t.GPTJForCausalLM, gptj)):
    torch.manual_seed(0)
    model = kind(config).eval().requires_grad_(False)
    model.config.architectures = [kind.__name__]
    for weight in model.parameters():
        if weight.ndim > 1:
            weight.data.normal_(0, 0.3)
    words = t.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel({f"w{i}": i for i in range(60)}, unk_token="w0")),
        pad_token="w0",
        bos_token="w1",
        eos_token="w2",
        add_bos_token=True,
        name_or_path="",
    )
    bridge, called = TransformerBridge.boot_transformers("tiny", hf_model=model, tokenizer=words, device="cpu"), []

    def zero(pattern, hook):
        called.append(tuple(pattern.shape))
        return pattern * 0

    base = bridge(ids)
    seen[kind.__name__] = float(
        (bridge.run_with_hooks(ids, fwd_hooks=[("blocks.0.attn.hook_pattern", zero)]) - base).abs().max()
    )
    print(f"  {kind.__name__:18} {seen[kind.__name__]:.3f}   (the hook was called with {called})")
sys.exit(0 if seen["LlamaForCausalLM"] > 0.1 and seen["OPTForCausalLM"] == seen["GPTJForCausalLM"] == 0 else 1)
PY
