"""What the tests compare with: denoising and its activations written out for one caption and one seed, DDIM from its
formula, float64 sums.
"""

import math

import torch


def states_of(pipeline, caption):
    """The text encoder's states of one caption, tokens put together by hand."""
    vocabulary = pipeline.tokenizer.get_vocab()
    ids = [0, *(vocabulary[word] for word in caption.split()), 1]
    return pipeline.text_encoder(torch.tensor([ids + [1] * (8 - len(ids))]))[0]


def timesteps(steps):
    """Evenly spaced, the last step of training first."""
    return [round(1000 - i * 1000 / steps) - 1 for i in range(steps)]


def alphas():
    return torch.cumprod(1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64), 0)


@torch.no_grad()
def denoise(pipeline, caption, seed, steps, guidance, start=None, share=1.0, only=None, see=None, states=None):
    """Pictures, the norms of the guidance at each step, and the latents after each step.

    `see(step, half, name, x)`: the inputs of the feed-forward blocks' second layers as [rows, d_in] float64; half 0 is
    the captioned one.
    """
    pixels = torch.randn(pipeline.latent_shape, generator=torch.Generator().manual_seed(seed))[None]
    a, used = alphas(), timesteps(steps)
    used = used[len(used) - max(1, round(share * len(used))) :]
    x = pixels if start is None else a[used[0]].sqrt().float() * start[None] + (1 - a[used[0]]).sqrt().float() * pixels
    texts = [states_of(pipeline, caption) if states is None else states[None], states_of(pipeline, "")]
    norms, after = [], []
    for number, t in enumerate(used[:only]):
        noise = []
        for half, text in enumerate(texts[: 1 if guidance == 1 else 2]):
            handles = []
            for name, module in pipeline.unet.named_modules():
                if see is not None and name.endswith("ff.net.2"):
                    handles.append(
                        module.register_forward_pre_hook(
                            lambda _, args, name=name, half=half: see(number, half, name, args[0][0].double())
                        )
                    )
            noise.append(pipeline.unet(x, t, text).sample)
            for handle in handles:
                handle.remove()
        told = noise[0]
        if guidance != 1:
            norms.append(math.sqrt(float((noise[0] - noise[1]).double().square().sum())))
            told = noise[1] + guidance * (noise[0] - noise[1])
        before = t - 1000 // steps
        now, then = float(a[t]), float(a[before]) if before >= 0 else 1.0
        clean = ((x - math.sqrt(1 - now) * told) / math.sqrt(now)).clamp(-1, 1)
        x = math.sqrt(then) * clean + math.sqrt(1 - then) * told
        after.append(x[0])
    return picture(x[0]), norms, after


def picture(latents, size=2):
    """Patches laid side by side, pixel by pixel."""
    channels, h, w = latents.shape
    out = torch.empty(channels // size**2, h * size, w * size)
    for c in range(out.shape[0]):
        for y in range(out.shape[1]):
            for x in range(out.shape[2]):
                out[c, y, x] = latents[c * size**2 + (y % size) * size + x % size, y // size, x // size]
    return out.clamp(-1, 1)


def sums(pipeline, captions, seeds, steps, guidance, first=None):
    """Layer -> [caption, step, half, line, d_in] float64: energies, and those of rows at unit length; and layer -> rows
    a caption.
    """
    found, rows = {}, {}
    halves, kept = (1 if guidance == 1 else 2), steps if first is None else first
    for number, caption in enumerate(captions):
        for seed in seeds:

            def see(step, half, name, x):
                if name not in found:
                    found[name] = torch.zeros(len(captions), kept, halves, 2, x.shape[1], dtype=torch.float64)
                for row in x:
                    found[name][number, step, half, 0] += row**2
                    found[name][number, step, half, 1] += row**2 / (row**2).sum()
                if number == 0 and step == 0 and half == 0:
                    rows[name] = rows.get(name, 0) + len(x)

            denoise(pipeline, caption, seed, steps, guidance, only=first, see=see)
    return found, rows


def hooks(module):
    """How many hooks there are in a module and below it."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in module.modules())
