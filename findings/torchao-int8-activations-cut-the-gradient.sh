#!/bin/bash
# torchao 0.18: a layer of int8 weights with int8 activations ends the graph; its tensors are those of weight-only int8.
#
# Expected: `Int8DynamicActivationInt8WeightConfig` rounds the inputs as well, which costs a little precision;
# a gradient with respect to the inputs is there as with `Int8WeightOnlyConfig`, or something raises.
# What is: the outputs do not require a gradient, whatever the inputs do. In a network with residual connections
# `backward()` works and gives the gradient of the network without its layers: each counts as a constant. Nothing
# warns. And nothing in the weights tells: both kinds are an `Int8Tensor` with the same codes, the same scales and the
# same `dequantize()`; only its `act_quant_kwargs` is not None.
# Instead: take gradients (attribution, soft prompts, adapters below other layers) of the weight-only kind, or of the
# dequantised weights; ask `weight.act_quant_kwargs` which kind a model is of.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 torchao==0.18.0

"$PYTHON" -I - <<'PY'
import copy
import logging
import sys
from importlib.metadata import version

logging.disable(logging.WARNING)
import torch
from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_


class Block(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = torch.nn.Linear(128, 256), torch.nn.Linear(256, 128)

    def forward(self, x):
        return x + 2 * self.down(torch.nn.functional.silu(self.up(x)))


torch.manual_seed(0)
network = torch.nn.Sequential(Block(), Block())
for weight in network.parameters():
    weight.data.mul_(3)
inputs, ahead = torch.randn(7, 128), torch.randn(7, 128)


def gradient(model):
    point = inputs.clone().requires_grad_()
    outputs = model(point)
    outputs.backward(ahead)
    return outputs.detach(), point.grad


found = {}
for name, config in (("weight-only", Int8WeightOnlyConfig), ("activations", Int8DynamicActivationInt8WeightConfig)):
    model = copy.deepcopy(network)
    quantize_(model, config())
    floats = copy.deepcopy(network)
    for layer, plain in zip(model.modules(), floats.modules()):
        if isinstance(plain, torch.nn.Linear):
            plain.weight.data.copy_(layer.weight.dequantize())
    alone = torch.nn.Sequential(copy.deepcopy(model[0].up).requires_grad_(False))
    graph = alone(inputs.clone().requires_grad_()).requires_grad
    (outputs, got), (wanted, right) = gradient(model), gradient(floats)
    cosine = float(torch.cosine_similarity(got.flatten(), right.flatten(), dim=0))
    off, constant = float((outputs - wanted).abs().max() / wanted.abs().max()), torch.equal(got, ahead)
    found[name] = model[0].up.weight, graph, cosine, constant, off
one, two = found["weight-only"][0], found["activations"][0]
same = type(one) is type(two) and torch.equal(one.qdata, two.qdata) and torch.equal(one.scale, two.scale)
same = same and torch.equal(one.dequantize(), two.dequantize())
print(f"torchao {version('torchao')}: two residual blocks against their own dequantised weights")
for name, (weight, graph, cosine, constant, off) in found.items():
    print(f"  {name:11} {type(weight).__name__}, act_quant_kwargs {'set' if weight.act_quant_kwargs else 'None'}: "
          f"outputs off by {off:.1e} of the largest, a layer's outputs require a gradient: {graph}; gradient of the "
          f"inputs: cosine {cosine:.3f}, that of the identity {constant}")
print(f"  codes, scales and dequantised weights of the two are equal: {same}")
ok = same and one.act_quant_kwargs is None and two.act_quant_kwargs is not None
ok = ok and found["weight-only"][1] and found["weight-only"][2] > 0.999 and not found["weight-only"][3]
ok = ok and not found["activations"][1] and found["activations"][2] < 0.9 and found["activations"][3]
sys.exit(0 if ok and found["activations"][4] < 0.05 else 1)
PY
