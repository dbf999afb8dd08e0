#!/bin/bash
# accelerate 1.15: weights that are offloaded get no gradient, and an optimiser's step leaves them as they are.
#
# Expected: an offloaded model computes what the plain one does, forward and backward; its weights say
# `requires_grad=True`, the loss has a graph, `backward()` returns. So `weight.grad` is there, or something raises.
# What is: each forward makes a new Parameter for the weight that it brings in, and another new one on meta afterwards.
# The gradient goes to the one in between, which nothing holds. `.grad` stays None, a hook on the parameter is
# never called, an optimiser skips it, all silently; parts that are not offloaded are trained meanwhile. What was kept
# of a parameter (the object itself, its `id`, an attribute, a hook, `_version`) is of one that is no more in the
# module after the first forward. The gradient with respect to the inputs is right.
# Instead: train before offloading. For the gradient of one weight, take the layer's inputs and the gradient of its
# outputs by hooks. Find offloaded weights by name and `is_meta`, never by identity.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 accelerate==1.15.0

"$PYTHON" -I - <<'PY'
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("error", UserWarning)  # so that a warning would be seen: as an error
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

CPU = torch.device("cpu")


def network():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4))


def offloaded(by, *arguments):
    model = network()
    by(model, *arguments)
    return model


def measured(model):
    """Of each of the two layers whether its weight has a gradient; and more of the first layer's weight."""
    torch.manual_seed(1)
    inputs, held, called = torch.randn(3, 6, requires_grad=True), model[0].weight, []
    held.register_post_accumulate_grad_hook(called.append)
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    outputs = model(inputs)
    outputs.sum().backward()
    gradients = [model[layer].weight.grad is not None for layer in (0, 2)]
    optimiser.step()
    moved = float((model(inputs) - outputs).detach().abs().max())
    return {
        "requires": model[0].weight.requires_grad,
        "gradients": gradients,
        "hooks": len(called),
        "moved": moved,
        "same object": model[0].weight is held,
        "inputs": inputs.grad,
    }


with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
    found = {
        "plain": measured(network()),
        "cpu_offload": measured(offloaded(cpu_offload, CPU)),
        "disk_offload": measured(offloaded(disk_offload, one, CPU)),
        "first layer on disk": measured(
            dispatch_model(network(), {"0": "disk", "1": "cpu", "2": "cpu"}, main_device="cpu", offload_dir=two)
        ),
    }
print(f"accelerate {version('accelerate')}: two linear layers, one backward and a step of SGD with rate 1")
right = found["plain"]["inputs"]
for name, seen in found.items():
    off = float((seen.pop("inputs") - right).abs().max())
    print(f"  {name:19} requires_grad {seen['requires']}, .grad of the layers there {seen['gradients']}, hook called "
          f"{seen['hooks']}, outputs moved by {seen['moved']:.2f}, the same Parameter {seen['same object']}, "
          f"gradient of the inputs off by {off:.0e}")
    seen["off"] = off
plain, *others = found.values()
ok = plain["gradients"] == [True, True] and plain["hooks"] == 1 and plain["moved"] > 0.1 and plain["same object"]
for seen in others:
    ok = ok and seen["requires"] and not seen["gradients"][0] and not seen["hooks"] and not seen["same object"]
ok = ok and all(seen["off"] < 1e-6 for seen in found.values())
ok = ok and [seen["gradients"][1] for seen in others] == [False, False, True]
ok = ok and [seen["moved"] > 0.1 for seen in others] == [False, False, True]
sys.exit(0 if ok else 1)
PY
