"""The published way of scoring a diffusion model's neurons, written anew: one caption and one seed at a time, a hook on
every feed-forward block, sums layer by layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class OneAtATime:
    """Runs a pipeline's own modules as the pipelines of diffusers do: a U-Net's batch of two rows, the half without a
    caption and the one with it.
    """

    def __init__(self, pipeline: Any):
        self.pipeline = pipeline
        self.layers = {name: module for name, module in pipeline.unet.named_modules() if name.endswith("ff.net.2")}

    @torch.no_grad()
    def run(
        self, captions: Sequence[str], seeds: Sequence[int], steps: int, guidance: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Pictures [caption, seed, 3, h, w], and by layer the sums [caption, step, half, line, d_in] (halves: with a
        caption, without; lines: energy, energy at unit length).
        """
        p, images, found = (
            self.pipeline,
            [],
            {
                name: torch.zeros(len(captions), steps, 2, 2, module.in_features, dtype=torch.float64)
                for name, module in self.layers.items()
            },
        )
        at = [0, 0]

        def see(name: str):
            def hook(module: Any, args: tuple[Tensor]) -> None:
                for half, rows in enumerate(reversed(args[0])):
                    squares = rows.double().square()
                    found[name][at[0], at[1], half] += torch.stack(
                        [squares.sum(0), (squares / squares.sum(-1, keepdim=True)).sum(0)]
                    )

            return hook

        handles = [module.register_forward_pre_hook(see(name)) for name, module in self.layers.items()]
        for at[0], caption in enumerate(captions):
            text = torch.cat([p.text_encoder(p.tokens([some]))[0] for some in ("", caption)])
            for seed in seeds:
                ran = type(p.scheduler).from_config(p.scheduler.config)
                ran.set_timesteps(steps)
                x = (
                    torch.randn(1, *p.latent_shape, generator=torch.Generator().manual_seed(seed))
                    * ran.init_noise_sigma
                )
                for at[1], t in enumerate(ran.timesteps):
                    empty, told = p.unet(
                        ran.scale_model_input(torch.cat([x, x]), t), t, encoder_hidden_states=text
                    ).sample.chunk(2)
                    x = ran.step(empty + guidance * (told - empty), t, x).prev_sample
                images.append(p.codec.decode(x).clamp(-1, 1))
        for handle in handles:
            handle.remove()
        return torch.cat(images).view(len(captions), len(seeds), *images[0].shape[1:]), found


@contextmanager
def counted(unet: torch.nn.Module) -> Iterator[list[int]]:
    """Counts the runs of a U-Net: the rows of each."""
    rows: list[int] = []
    handle = unet.register_forward_pre_hook(lambda module, args: rows.append(len(args[0])))
    try:
        yield rows
    finally:
        handle.remove()
