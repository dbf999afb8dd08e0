#!/bin/bash
# captum 0.9 with transformers 5.23: with its default cache, attributions of every answer token but the first are of
# another text.
#
# Expected: `LLMAttribution(...).attribute(inp, target=...)` gives, per answer token, how its log-probability
# changes when a prompt token is ablated.
# What is: `use_cached_outputs` is True by default. After the first answer token the cache is handed to the model
# together with inputs that are not the one new token at its place, and the log-probabilities belong to no text that
# was asked for. The first row is right, which makes a spot check pass; rows and the sum over the answer are off by
# tenths of a nat and more.
# Instead: `use_cached_outputs=False`, which is exact.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0 captum==0.9.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from captum.attr import FeatureAblation, LLMAttribution, TextTokenInput
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.manual_seed(0)
model = (
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=60,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    )
    .eval()
    .requires_grad_(False)
)
for weight in model.parameters():
    weight.normal_(0, 0.3)
words = Tokenizer(
    models.WordLevel({"<none>": 0, "<start>": 1, "<end>": 2} | {f"w{i}": i for i in range(3, 60)}, unk_token="<none>")
)
words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=words, unk_token="<none>", pad_token="<none>", bos_token="<start>", eos_token="<end>"
)
prompt, answer = [5, 6, 7, 8, 9], [20, 21, 22, 23]


def log_probabilities(ids):
    """Of each answer token after a prompt, by one plain forward."""
    logits = model(torch.tensor([ids + answer])).logits[0].log_softmax(-1)
    return torch.stack([logits[len(ids) - 1 + at, token] for at, token in enumerate(answer)])


true = torch.stack(
    [
        log_probabilities(prompt) - log_probabilities(prompt[:at] + [0] + prompt[at + 1 :])
        for at in range(len(prompt))
    ],
    1,
)
given = TextTokenInput(" ".join(f"w{i}" for i in prompt), tokenizer, baselines=0)
print(
    f"captum {version('captum')}, transformers {version('transformers')}: largest error of an attribution in "
    f"nats, by answer token (largest attribution {float(true.abs().max()):.2f})"
)
off = {}
for name, options in (("default", {}), ("use_cached_outputs=False", {"use_cached_outputs": False})):
    found = LLMAttribution(FeatureAblation(model), tokenizer).attribute(
        given, target=" ".join(f"w{i}" for i in answer), **options
    )
    off[name] = (found.token_attr - true).abs().amax(1).tolist()
    print(
        f"  {name:25}",
        " ".join(f"{value:.3f}" for value in off[name]),
        f"  of the whole answer {float((found.seq_attr - true.sum(0)).abs().max()):.3f}",
    )
sys.exit(
    0
    if max(off["use_cached_outputs=False"]) < 1e-4 and off["default"][0] < 1e-4 < 0.01 < min(off["default"][1:])
    else 1
)
PY
