#!/bin/bash
# diffusers 0.42: UniPC with `solver_type="bh1"` (recommended for few steps without a condition) ends in NaN with
# its own defaults.
#
# Expected: one of two documented solver types of a scheduler works with the scheduler's other defaults.
# What is: the default `final_sigmas_type="zero"` makes the last step infinitely long in log-SNR. "bh2" weighs it by
# expm1(-inf) = -1; "bh1" by the length itself, and infinity times the zero that follows is NaN. All latents of the
# last step are lost; the steps before are right. `predict_x0=False` ends so too. Pictures come out black.
# Instead: `final_sigmas_type="sigma_min"` with "bh1".
. "$(dirname "$0")/environment.sh"
environment torch==2.13.0 diffusers==0.42.1

"$PYTHON" -I - <<'PY'
import logging, sys, warnings
from importlib.metadata import version

logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
from diffusers import UniPCMultistepScheduler

draw = torch.Generator().manual_seed(0)
picture, noise = (torch.randn(1, 4, 16, 16, generator=draw) for _ in range(2))


def run(**options):
    """How many steps gave finite latents, and how far the last are from the picture; the network knows the noise."""
    scheduler = UniPCMultistepScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **options)
    scheduler.set_timesteps(8)
    x, finite = scheduler.add_noise(picture, noise, scheduler.timesteps[:1]), 0
    for t in scheduler.timesteps:
        x = scheduler.step(noise, t, x, return_dict=False)[0]
        finite += bool(torch.isfinite(x).all())
    return finite, float((x - picture).abs().max())


print(
    f"diffusers {version('diffusers')}: finite steps of 8, and the largest difference of a latent from the "
    "picture's at the end"
)
rows = [
    run(**options)
    for options in (
        {},
        {"solver_type": "bh1"},
        {"predict_x0": False},
        {"solver_type": "bh1", "final_sigmas_type": "sigma_min"},
    )
]
for name, row in zip(("defaults (bh2)", "bh1", "predict_x0=False", "bh1, final_sigmas_type=sigma_min"), rows):
    print(f"  {name:33} {row[0]} of 8   {row[1]:.3f}")
sys.exit(
    0
    if rows[0][0] == rows[3][0] == 8 and rows[1][0] == rows[2][0] == 7 and rows[0][1] < 0.01 and rows[3][1] < 0.2
    else 1
)
PY
