#!/bin/bash
# accelerate 1.15: `load_state_dict` on an offloaded model says that all keys matched, and the model stays as it was.
#
# Expected: after "<All keys matched successfully>" the model has those weights, however it is placed.
# What is: the weights that the module shows are placeholders on meta; those that are used are in the offload hook's
# own map (or its file), from which every forward brings them in. Without `assign` torch warns, once for each weight,
# that a copy into meta does nothing; with `assign=True` nothing is said, and the next forward puts the old weights
# back. So does setting `module.weight` to a new Parameter. A write inside `accelerate.utils.align_module_device` stays
# with `cpu_offload` and is lost on disk, silently.
# Instead: load first and offload afterwards; compare outputs (not keys) after loading into a placed model.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 accelerate==1.15.0

"$PYTHON" -I - <<'PY'
import logging
import sys
import tempfile
import warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
import torch
from accelerate import cpu_offload, disk_offload
from accelerate.utils import align_module_device

CPU, INPUTS = torch.device("cpu"), torch.linspace(-1, 1, 18).reshape(3, 6)


def network(seed):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 4)).requires_grad_(False)


OLD, NEW = network(0), network(1)


def load(model):
    return str(model.load_state_dict(NEW.state_dict()))


def assign(model):
    return str(model.load_state_dict(NEW.state_dict(), assign=True))


def attribute(model):
    for name, value in NEW.state_dict().items():
        layer, _, parameter = name.partition(".")
        setattr(model[int(layer)], parameter, torch.nn.Parameter(value.clone(), requires_grad=False))


def aligned(model):
    for layer, new in zip(model, NEW):
        with align_module_device(layer):
            for parameter, value in zip(layer.parameters(), new.parameters()):
                parameter.copy_(value)


def outcome(place, write):
    """Whose outputs the model gives after the write ('new', 'old'); what the write returned; warnings that it gave."""
    model = network(0)
    with tempfile.TemporaryDirectory() as folder:
        place(model, folder)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            returned = write(model)
        outputs = model(INPUTS)
    near = [name for name, other in (("new", NEW), ("old", OLD)) if torch.allclose(outputs, other(INPUTS), atol=1e-6)]
    return near, returned, len(seen)


PLACES = {
    "plain": lambda model, folder: None,
    "cpu_offload": lambda model, folder: cpu_offload(model, CPU),
    "disk_offload": lambda model, folder: disk_offload(model, folder, CPU),
}
print(f"accelerate {version('accelerate')}: outputs after new weights were written into a model of two layers")
as_said = True
for place, offload in PLACES.items():
    for write in (load, assign, attribute, aligned):
        near, returned, warned = outcome(offload, write)
        print(f"  {place:12} {write.__name__:9} outputs of the {' and the '.join(near) or 'neither'} weights, warnings "
              f"{warned}{', returned ' + returned if returned else ''}")
        kept = place == "plain" or (place == "cpu_offload" and write is aligned)
        as_said = as_said and near == (["new"] if kept else ["old"])
        as_said = as_said and (warned > 0) == (write is load and place != "plain")
        as_said = as_said and (returned is None or "All keys matched" in returned)
sys.exit(0 if as_said else 1)
PY
