#!/bin/bash
# transformers 5.23: with longrope frequencies (Phi-3.5, Phi-4-mini, MiniCPM) the logits of a row depend on the
# longest row of its batch.
#
# Expected: with padding on the right and the right mask a row's logits are those of the row alone.
# What is: the short or the long factors are chosen once for the batch, by its largest position. A row shorter than
# `original_max_position_embeddings` gets the long factors as soon as a longer row is beside it. Scores of a data
# set then depend on how it was sorted and batched. The default frequencies do not do this.
# Instead: batch rows on one side of that length together, or one at a time.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 transformers==5.23.0

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from transformers import Phi3Config, Phi3ForCausalLM

LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 16,
}
draw = torch.Generator().manual_seed(0)
short, others = (
    torch.randint(3, 60, (1, 10), generator=draw),
    {length: torch.randint(3, 60, (1, length), generator=draw) for length in (14, 30)},
)
off = {}
print(
    f"transformers {version('transformers')}: a row of 10 tokens in a batch (padded, masked), largest difference "
    "of a log-probability from the row alone"
)
for name, rope in (("default", {"rope_type": "default", "rope_theta": 10000.0}), ("longrope", LONG)):
    torch.manual_seed(0)
    config = Phi3Config(
        vocab_size=60,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        original_max_position_embeddings=16,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        rope_parameters=rope,
    )
    model = Phi3ForCausalLM(config).eval().requires_grad_(False)
    for weight in model.parameters():
        weight.normal_(0, 0.3)
    alone = model(short).logits.log_softmax(-1)
    for length, other in others.items():
        batch, mask = torch.zeros(2, length, dtype=torch.long), torch.ones(2, length, dtype=torch.long)
        batch[0, :10], batch[1], mask[0, 10:] = short, other, 0
        off[name, length] = float(
            (model(batch, attention_mask=mask).logits.log_softmax(-1)[:1, :10] - alone).abs().max()
        )
        print(f"  {name:8} beside a row of {length} tokens: {off[name, length]:.1e}")
sys.exit(
    0 if max(off["default", 14], off["default", 30], off["longrope", 14]) < 1e-4 < 0.01 < off["longrope", 30] else 1
)
PY
