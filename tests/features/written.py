"""Random dictionaries on disk, each in the layout of its library, with ten lines of NumPy in float64 that read it."""

import json

import numpy as np
import torch
from safetensors.torch import save_file

D, F, OUT = 6, 10, 5


def rng(seed=0):
    return np.random.default_rng(seed)


def arrays(seed=0, d=D, n=F, out=D):
    r = rng(seed)
    return dict(
        W_enc=r.normal(size=(d, n)),
        W_dec=r.normal(size=(n, out)),
        b_enc=r.normal(size=n) * 0.3,
        b_dec=r.normal(size=out) * 0.5,
        threshold=np.abs(r.normal(size=n)),
    )


def save(path, tensors, dtype=torch.float32):
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: torch.tensor(np.ascontiguousarray(v)).to(dtype).contiguous() for k, v in tensors.items()}, path)


def saelens(folder, architecture, config=None, seed=0, d=D, n=F, out=None, hook="blocks.1.hook_resid_post", more=None):
    """A folder of SAELens 6; returns its arrays as NumPy float64 in the file's float32."""
    out = out or d
    a = arrays(seed, d, n, out)
    if "jumprelu" not in architecture:
        a.pop("threshold")
    r = rng(seed + 100)
    if architecture == "gated":
        a.pop("b_enc")
        a |= dict(b_gate=r.normal(size=n), r_mag=r.normal(size=n) * 0.3, b_mag=r.normal(size=n))
    if "skip" in architecture:
        a["W_skip"] = r.normal(size=(out, d))
    a |= more or {}
    save(folder / "sae_weights.safetensors", a)
    transcodes = "transcoder" in architecture
    told = dict(
        architecture=architecture,
        d_in=d,
        d_sae=n,
        apply_b_dec_to_input=not transcodes,
        normalize_activations="none",
        dtype="float32",
        metadata=dict(hook_name=hook, model_name="tiny", sae_lens_version="6.54.12", prepend_bos=True),
    )
    if transcodes:
        told |= dict(d_out=out)
        told["metadata"] |= dict(hook_name="blocks.1.mlp.hook_in", hook_name_out="blocks.1.hook_mlp_out")
    (folder / "cfg.json").write_text(json.dumps(told | (config or {})))
    return {k: np.float32(v).astype(np.float64) for k, v in a.items()}


def close(ours, theirs):
    """Rounding of float32 against float64: 1e-5 of the largest."""
    theirs = np.asarray(theirs)
    np.testing.assert_allclose(ours.numpy(), theirs, rtol=0, atol=1e-5 * max(1.0, np.abs(theirs).max()))


def relu(h):
    return np.maximum(h, 0)


def top(h, k):
    out = np.zeros_like(h)
    for row, values in enumerate(h):
        best = np.argsort(-values)[:k]
        out[row, best] = relu(values[best])
    return out
