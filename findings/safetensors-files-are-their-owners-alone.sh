#!/bin/bash
# safetensors 0.8: `save_file` makes files that nobody but their owner can read, whatever the umask, and takes read
# permission from a file that is replaced.
#
# Expected: a new file has the permissions that `open` gives it (0644 with the usual umask of 022), as `torch.save` and
# `numpy.savez` do; a file that is written again keeps those that it had.
# What is: it is written under a temporary name made for the owner alone (0600), which then takes the place of the
# target. Weights on a shared disk cannot be read by colleagues, by a server, or by workers under another account, and
# a `chmod` is undone by the next save. `config.json` beside them is readable, so that a folder looks whole.
# transformers' `save_pretrained` does the same to its weights.
# Instead: `os.chmod` afterwards, or write the bytes of `safetensors.torch.save` to a file of one's own.
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 safetensors==0.8.0 transformers==5.23.0 numpy==2.4.6

"$PYTHON" -I - <<'PY'
import os
import stat
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import numpy
import torch
from safetensors.torch import save, save_file
from transformers import LlamaConfig, LlamaForCausalLM

os.umask(0o022)
tensors = {"x": torch.zeros(3)}
small = LlamaConfig(vocab_size=20, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)


def mode(path):
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


with tempfile.TemporaryDirectory() as name:
    folder, seen = Path(name), {}
    torch.save(tensors, folder / "x.pt")
    seen["torch.save"] = mode(folder / "x.pt")
    numpy.savez(folder / "x.npz", x=numpy.zeros(3))
    seen["numpy.savez"] = mode(folder / "x.npz")
    path = folder / "x.safetensors"
    path.write_bytes(save(tensors))
    seen["bytes of save"] = mode(path)
    save_file(tensors, path)
    seen["save_file over it"] = mode(path)
    path.chmod(0o644)
    save_file(tensors, path)
    seen["after chmod, again"] = mode(path)
    LlamaForCausalLM(small).save_pretrained(folder / "model")
    seen["save_pretrained, config"] = mode(folder / "model" / "config.json")
    seen["save_pretrained, weights"] = mode(folder / "model" / "model.safetensors")
print(f"safetensors {version('safetensors')}, umask 022")
for what, found in seen.items():
    print(f"  {what:26} {found}")
sys.exit(0 if list(seen.values()) == ["0644"] * 3 + ["0600"] * 2 + ["0644", "0600"] else 1)
PY
