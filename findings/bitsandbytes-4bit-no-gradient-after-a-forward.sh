#!/bin/bash
# bitsandbytes 0.50: on a processor with AVX512-BF16, a 4 bit layer passes no gradient on once it has run without one.
#
# Expected: `Linear4bit` is differentiable in its inputs (QLoRA rests on it), before and after an evaluation.
# What is: the first forward in `eval()` whose inputs require no gradient repacks the weight for a product that has
# no backward. From then on the layer counts as a constant: alone it leaves the gradient None, in a network with
# residual connections the gradient is that of the network without its 4 bit layers. `train()` does not
# undo it. Outputs change only by the rounding to bfloat16. Torch warns at the backward, in words about a kernel that is
# not registered for Autograd; nothing raises. An evaluation before a training on such a machine (a baseline, a
# generated sample) so changes what is learnt below the top layer. Other processors and GPUs do not repack.
# Instead: run the first forwards with inputs that require a gradient, or in `train()`; reload the model for gradients
# after an evaluation; take a weight of shape [outputs, inputs / 2] (fresh: [n, 1]) as the sign of a repacked one.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 bitsandbytes==0.50.2

"$PYTHON" -I - <<'PY'
import logging
import sys
import warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
import bitsandbytes
import torch
from bitsandbytes.functional import dequantize_4bit, has_avx512bf16

if not has_avx512bf16():
    print("this processor has no AVX512-BF16: the layers are not repacked here")
    sys.exit(2)


class Block(torch.nn.Module):
    def __init__(self, nested):
        super().__init__()
        options = dict(bias=False, quant_type="nf4", compress_statistics=nested, compute_dtype=torch.float32)
        self.up = bitsandbytes.nn.Linear4bit(128, 256, **options)
        self.down = bitsandbytes.nn.Linear4bit(256, 128, **options)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x)))


def network(nested):
    torch.manual_seed(0)
    model = torch.nn.Sequential(Block(nested), Block(nested))
    for layer in model.modules():
        if isinstance(layer, torch.nn.Linear):
            layer.weight.data.copy_(torch.randn(layer.weight.shape) * 1.5 / layer.in_features**0.5)
    return model.to("cpu").eval()  # this call quantises


torch.manual_seed(1)
inputs, ahead = torch.randn(7, 128), torch.randn(7, 128)


def gradient(function):
    point = inputs.clone().requires_grad_()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        outputs = function(point)
        outputs.backward(ahead)
    return outputs.detach(), point.grad, sum("autograd kernel" in str(warning.message) for warning in seen)


print(f"bitsandbytes {version('bitsandbytes')}: gradient through two residual blocks of NF4, against that of the "
      "dequantised weights")
ok = True
for nested in (False, True):
    model = network(nested)
    weights = [[dequantize_4bit(layer.weight.data, layer.weight.quant_state) for layer in (block.up, block.down)]
               for block in model]

    def plain(x):
        for up, down in weights:
            x = x + torch.tanh(x @ up.T) @ down.T
        return x

    wanted, right, _ = gradient(plain)
    found = {}
    for state in ("fresh", "after a forward without gradients", "then in train()"):
        if state.startswith("after"):
            with torch.no_grad():
                model(inputs)
        outputs, got, warned = gradient(model.train(state.startswith("then")))
        cosine = float(torch.cosine_similarity(got.flatten(), right.flatten(), dim=0))
        off = float((outputs - wanted).abs().max() / wanted.abs().max())
        found[state] = off, cosine, torch.equal(got, ahead), warned > 0
        print(f"  scales {'nested' if nested else 'plain'}, {state}: outputs off by {off:.1e} of the largest, cosine "
              f"{cosine:.3f}, gradient of the identity {found[state][2]}, warned {warned > 0}, weight "
              f"{list(model[0].up.weight.shape)}")
    fresh, *later = found.values()
    ok = ok and fresh[0] < 1e-4 and fresh[1] > 0.9999 and not fresh[2] and not fresh[3]
    ok = ok and all(off < 0.02 and cosine < 0.9 and constant and warned for off, cosine, constant, warned in later)
point = inputs.clone().requires_grad_()
model[0].up(point).sum().backward()
print(f"  one repacked layer alone: the gradient of its inputs is {point.grad}")
sys.exit(0 if ok and point.grad is None else 1)
PY
