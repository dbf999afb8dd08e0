#!/bin/bash
# torch 2.13 (with any model that uses torch.utils.checkpoint): under gradient checkpointing, a hook that is removed
# before `backward()` changes the gradient.
#
# Expected: the gradient is that of the loss that was computed. A hook that was there in the forward is part of it,
# also when the `with` block that set it has ended.
# What is: checkpointing runs the layer a second time during the backward pass, now without the hook, and
# differentiates with those activations. Only where the number of saved tensors differs is there an error; a hook
# that adds or scales passes. The gradient points elsewhere, with no word, reentrant or not.
# Instead: keep the hook until after `backward()`.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0

"$PYTHON" -I - <<'PY'
import sys, warnings

warnings.simplefilter("ignore")
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def gradient(checkpointed, kept, reentrant=False):
    """Of the first layer's weight; a hook inside of the checkpointed block triples what its second layer reads."""
    torch.manual_seed(0)
    block = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 1))
    x = torch.randn(8, 16, requires_grad=True)
    handle = block[1].register_forward_hook(lambda module, args, out: 3 * out)
    loss = (checkpoint(block, x, use_reentrant=reentrant) if checkpointed else block(x)).square().mean()
    if not kept:
        handle.remove()
    loss.backward()
    handle.remove()
    return torch.cat([block[0].weight.grad.flatten(), block[2].weight.grad.flatten()])


true = gradient(False, True)


def cosine(other):
    return float(torch.cosine_similarity(true, other, dim=0))


rows = {
    "no checkpoint, removed before": cosine(gradient(False, False)),
    "checkpoint, kept": cosine(gradient(True, True)),
    "checkpoint, removed before": cosine(gradient(True, False)),
    "reentrant checkpoint, removed before": cosine(gradient(True, False, True)),
}
print(f"torch {torch.__version__}: cosine with the gradient of the loss that was computed")
for name, value in rows.items():
    print(f"  {name:37} {value:.4f}")
plain, kept, *removed = rows.values()
sys.exit(0 if min(plain, kept) > 0.9999 and max(removed) < 0.99 else 1)
PY
