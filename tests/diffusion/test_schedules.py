"""The pipeline's own scheduler, as it is now: whole runs as the pipeline makes them, starts in the middle against
formulas written out, and what is refused.
"""

import inspect
import math

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, LMSDiscreteScheduler, PNDMScheduler
from scipy.integrate import quad

from lens.diffusion import DiffusionError, Pipeline, denoise, denoising_error, noise, optimise_embeddings, statistics
from lens.diffusion.schedules import refuse_drift, scheduler_name, timesteps
from tests.diffusion.test_stable_diffusion import own, parts_in

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
MULTI = {"clip_sample": False, "steps_offset": 1, "skip_prk_steps": True}


def made(kind, **options):
    """A scheduler of a class by its name, with those of the options that it takes."""
    kind = getattr(diffusers, kind)
    return kind(
        **{
            key: value
            for key, value in (BETAS | MULTI | options).items()
            if key in inspect.signature(kind.__init__).parameters
        }
    )


def alpha(t):
    """Sqrt of the share of the picture in the variance at a timestep of training, whole or not."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    signal = np.cumprod(1 - betas)
    return (1 + np.interp(t, np.arange(1000), np.sqrt((1 - signal) / signal)) ** 2) ** -0.5


class Knows(torch.nn.Module):
    """A U-Net that knows the clean latents and the noise that was added, and says what it was trained to say."""

    def __init__(self, unet, clean, added, kind="epsilon"):
        super().__init__()
        self.unet, self.config, self.clean, self.added, self.kind = unet, unet.config, clean, added, kind

    def forward(self, rows, t, encoder_hidden_states):
        a = float(alpha(float(t)))
        said = {
            "epsilon": self.added,
            "sample": self.clean,
            "v_prediction": a * self.added - math.sqrt(1 - a * a) * self.clean,
        }[self.kind]
        return type("Output", (), {"sample": said.expand_as(rows)})()


@pytest.fixture
def parts(tmp_path):
    given = parts_in(tmp_path, small=True)
    given.set_progress_bar_config(disable=True)
    return given


def last_latents(parts, scheduler, clean, share, steps, kind="epsilon"):
    parts.scheduler = scheduler
    pipeline, seen = Pipeline.of(parts), []
    pipeline.unet = Knows(parts.unet, clean, noise(pipeline, (5,)), kind)
    denoise(
        pipeline,
        ["a"],
        seeds=(5,),
        steps=steps,
        guidance=1,
        start=(clean, share),
        each=lambda step: seen.append(step.latents),
        decode=False,
    )
    return seen[-1]


#: one of each kind of scheduler; then what they do with other options
EXACT = [
    ("DDIMScheduler", {}),
    ("DDIMScheduler", {"prediction_type": "v_prediction"}),
    ("PNDMScheduler", {}),
    ("LMSDiscreteScheduler", {}),
    ("EulerDiscreteScheduler", {"prediction_type": "v_prediction", "timestep_spacing": "leading"}),
    ("HeunDiscreteScheduler", {}),
    ("KDPM2DiscreteScheduler", {}),
    ("DPMSolverMultistepScheduler", {}),
    ("DPMSolverSinglestepScheduler", {}),
    ("DEISMultistepScheduler", {}),
    ("UniPCMultistepScheduler", {}),
]
OTHERS = [
    ("DDIMScheduler", {"timestep_spacing": "trailing"}),
    ("DDIMScheduler", {"prediction_type": "sample"}),
    ("DDIMParallelScheduler", {}),
    ("LMSDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("LMSDiscreteScheduler", {"use_karras_sigmas": True}),
    ("EulerDiscreteScheduler", {}),
    ("HeunDiscreteScheduler", {"use_karras_sigmas": True}),
    ("DPMSolverMultistepScheduler", {"solver_order": 3, "use_karras_sigmas": True}),
    ("UniPCMultistepScheduler", {"solver_order": 3}),
]


def variants(*values):
    """Parameters that run in the long tests alone."""
    return [pytest.param(*value, marks=pytest.mark.long) for value in values]


@pytest.mark.parametrize(
    ("kind", "options"),
    [*EXACT, *variants(*OTHERS)],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())) or "plain",
)
def test_a_network_that_knows_the_noise_ends_at_the_clean_latents_from_any_start(parts, kind, options):
    clean = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.7
    added = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(5))
    first = float(np.sqrt(1 - alpha(0) ** 2))
    for share in (1.0, 0.45, 0.2, 0.01):
        end = last_latents(parts, made(kind, **options), clean, share, 20, options.get("prediction_type", "epsilon"))
        # at the latents, or at the first level of training, where the schedule's own last step ends
        gaps = [
            float((end - target).abs().max())
            for target in (clean, alpha(0) * clean + first * added, clean + first / alpha(0) * added)
        ]
        assert min(gaps) < 2e-3, (share, gaps)


@pytest.mark.parametrize(
    "kind",
    [
        "DDPMScheduler",
        "EulerAncestralDiscreteScheduler",
        "KDPM2AncestralDiscreteScheduler",
        "LCMScheduler",
        "TCDScheduler",
        "SASolverScheduler",
    ],
)
def test_a_scheduler_with_noise_of_its_own_keeps_each_steps_level_from_any_start(parts, kind):
    """The network knows the clean latents and finds the rest of its input to be noise: of the size that the timestep
    says, at each step.
    """
    clean, sizes = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)) * 0.7, []

    class Sees(Knows):
        def forward(self, rows, t, encoder_hidden_states):
            a = float(alpha(float(t)))
            inside = (rows - a * self.clean) / math.sqrt(1 - a * a)
            sizes.append(float(inside.std()))
            return type("Output", (), {"sample": inside})()

    parts.scheduler = made(kind)
    pipeline, ends = Pipeline.of(parts), []
    pipeline.unet = Sees(parts.unet, clean, None)
    for share in (0.75, 0.45):
        denoise(
            pipeline,
            ["a"],
            seeds=range(4),
            steps=20,
            guidance=1,
            start=(clean, share),
            each=lambda step: ends.append(step.latents),
            decode=False,
        )
        assert len(sizes) >= round(share * 20) and all(abs(size - 1) < 0.1 for size in sizes), sizes
        # the schedule's last level is .03 of noise
        assert float((ends[-1] - clean).std()) < 0.05
        sizes.clear()


def to_level(x, told, t, before):
    """Latents at another timestep along one prediction of noise (DDIM's formula); before 0: the level of timestep 0."""
    now, then = alpha(t), alpha(max(before, 0))
    return then * (x - math.sqrt(1 - now**2) * told) / now + math.sqrt(1 - then**2) * told


@torch.no_grad()
def test_pndm_in_the_middle_is_the_pseudo_linear_multistep_method_from_there(parts):
    """Liu et al. 2022, with the second timestep taken twice (a trapezoid) for want of a history, then two, three and
    four terms.
    """
    clean, seen = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2)), []
    pipeline, states = Pipeline.of(parts), parts.text_encoder(Pipeline.of(parts).tokens(["a cat"]))[0]
    found = denoise(
        pipeline,
        ["a cat"],
        seeds=(5,),
        steps=20,
        guidance=1,
        start=(clean, 0.4),
        each=lambda step: seen.append(step.latents),
        decode=False,
    )
    used = [301, 251, 201, 151, 101, 51, 1]
    assert found.timesteps.tolist() == [301, 251, *used[1:]], "as many calls as a share of .4 of 21 are"
    x = alpha(301) * clean + math.sqrt(1 - alpha(301) ** 2) * torch.randn(
        1, 4, 16, 16, generator=torch.Generator().manual_seed(5)
    )
    noises = [parts.unet(x, 301, states).sample]
    ahead = parts.unet(to_level(x, noises[0], 301, 251), 251, states).sample
    x = to_level(x, (noises[0] + ahead) / 2, 301, 251)
    torch.testing.assert_close(seen[1], x.float(), atol=1e-4, rtol=0)
    terms = {2: (3 / 2, -1 / 2), 3: (23 / 12, -16 / 12, 5 / 12), 4: (55 / 24, -59 / 24, 37 / 24, -9 / 24)}
    for number, t in enumerate(used[1:]):
        noises.append(parts.unet(x, t, states).sample)
        some = terms[min(len(noises), 4)]
        x = to_level(x, sum(c * e for c, e in zip(some, noises[::-1])), t, t - 50)
        torch.testing.assert_close(seen[number + 2], x.float(), atol=2e-4, rtol=0)


@torch.no_grad()
def test_linear_multistep_in_the_middle_takes_as_many_terms_as_it_has(parts):
    """The integral over sigma of the polynomial through the last one to four predictions, by quadrature."""
    clean, seen = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2)), []
    parts.scheduler = LMSDiscreteScheduler(**BETAS)
    pipeline, states = Pipeline.of(parts), parts.text_encoder(Pipeline.of(parts).tokens(["a cat"]))[0]
    denoise(
        pipeline,
        ["a cat"],
        seeds=(5,),
        steps=12,
        guidance=1,
        start=(clean, 0.5),
        each=lambda step: seen.append(step.latents),
        decode=False,
    )
    times = np.linspace(0, 999, 12)[::-1][6:]
    sigmas = [*(math.sqrt(1 - alpha(t) ** 2) / alpha(t) for t in times), 0.0]
    x, noises = clean + sigmas[0] * torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(5)), []
    for number, t in enumerate(times):
        noises.append(
            parts.unet(x / math.sqrt(sigmas[number] ** 2 + 1), torch.tensor(t, dtype=torch.float32), states).sample
        )
        nodes = range(max(0, number - 3), number + 1)
        for j in nodes:
            weight = quad(
                lambda s, j=j, nodes=nodes: math.prod(
                    (s - sigmas[k]) / (sigmas[j] - sigmas[k]) for k in nodes if k != j
                ),
                sigmas[number],
                sigmas[number + 1],
            )[0]
            x = x + weight * noises[j]
        torch.testing.assert_close(seen[number], x, atol=5e-4, rtol=0)


@pytest.mark.parametrize("guidance", [1.0, 3.0])
def test_what_a_pipeline_corrected_in_its_scheduler_stays_corrected(parts, tmp_path, guidance):
    """StableDiffusionPipeline sets `steps_offset` to 1 and `clip_sample` to False where a scheduler has its
    defaults.
    """
    with pytest.warns(FutureWarning):
        corrected = type(parts)(
            **parts.components | {"scheduler": DDIMScheduler(**BETAS)}, requires_safety_checker=False
        )
    corrected.set_progress_bar_config(disable=True)
    assert corrected.scheduler.config.steps_offset == 1 and not corrected.scheduler.config.clip_sample
    found = denoise(Pipeline.of(corrected), ["a cat"], seeds=(3,), steps=6, guidance=guidance)
    assert found.timesteps[-1] == 1
    np.testing.assert_allclose(
        (found.images[0, 0] / 2 + 0.5).permute(1, 2, 0).numpy(), own(corrected, "a cat", 3, 6, guidance), atol=2e-4
    )


@pytest.mark.parametrize(
    "kind",
    [
        "PNDMScheduler",
        "HeunDiscreteScheduler",
        "DPMSolverSinglestepScheduler",
        "SASolverScheduler",
        *variants(["DDIMScheduler"], ["LMSDiscreteScheduler"], ["UniPCMultistepScheduler"]),
    ],
)
def test_a_scheduler_in_use_is_neither_changed_nor_heard(parts, kind):
    parts.scheduler = made(kind)
    pipeline = Pipeline.of(parts)
    images, name = denoise(pipeline, ["a cat"], seeds=(3,), steps=6).images, scheduler_name(pipeline, 6)
    np.testing.assert_allclose(
        (images[0, 0] / 2 + 0.5).permute(1, 2, 0).numpy(), own(parts, "a cat", 3, 6, 3.0), atol=2e-4
    )
    # left in the middle of a run of other latents
    parts.scheduler.set_timesteps(9)
    for t in parts.scheduler.timesteps[:4]:
        x = torch.ones(1, 4, 3, 3)
        parts.scheduler.step(x, t, parts.scheduler.scale_model_input(x, t))
    before = {key: str(value) for key, value in vars(parts.scheduler).items()}
    assert (
        torch.equal(denoise(pipeline, ["a cat"], seeds=(3,), steps=6).images, images)
        and scheduler_name(pipeline, 6) == name
    )
    assert {key: str(value) for key, value in vars(parts.scheduler).items()} == before


def test_statistics_are_told_apart_by_what_the_scheduler_does(parts, tmp_path):
    pipeline = Pipeline.of(parts)
    one = statistics(pipeline, ["a cat"], seeds=(0,), steps=2, folder=tmp_path / "sums")
    parts.scheduler.alphas_cumprod = parts.scheduler.alphas_cumprod**1.1
    two = statistics(pipeline, ["a cat"], seeds=(0,), steps=2, folder=tmp_path / "sums")
    assert one.settings["scheduler"] != two.settings["scheduler"] and not all(
        torch.equal(value, two.sums[name]) for name, value in one.sums.items()
    )


@pytest.mark.parametrize(
    ("kind", "spacing", "predicted"),
    [
        ("DDIMScheduler", "leading", "v_prediction"),
        ("DDIMScheduler", "leading", "sample"),
        ("EulerDiscreteScheduler", "linspace", "v_prediction"),
        ("HeunDiscreteScheduler", "linspace", "sample"),
        ("KDPM2DiscreteScheduler", "linspace", "v_prediction"),
        ("KDPM2DiscreteScheduler", "linspace", "sample"),
        *variants(
            ("EulerDiscreteScheduler", "linspace", "sample"),
            ("HeunDiscreteScheduler", "linspace", "v_prediction"),
            ("DPMSolverMultistepScheduler", "linspace", "v_prediction"),
            ("DPMSolverMultistepScheduler", "linspace", "sample"),
            ("LMSDiscreteScheduler", "leading", "v_prediction"),
            ("LMSDiscreteScheduler", "leading", "sample"),
        ),
    ],
)
@torch.no_grad()
def test_the_difference_is_of_the_noise_whatever_the_network_predicts(parts, kind, spacing, predicted):
    parts.scheduler = made(kind, prediction_type=predicted, timestep_spacing=spacing)
    pipeline, calls = Pipeline.of(parts), []
    if kind == "KDPM2DiscreteScheduler" and predicted == "sample":
        with pytest.raises(DiffusionError, match="step of KDPM2DiscreteScheduler failed .NotImplementedError"):
            denoise(pipeline, ["a cat"], steps=4)
        return
    handle = parts.unet.register_forward_hook(
        lambda module, args, out: calls.append((args[0], float(args[1]), out.sample))
    )
    found = denoise(pipeline, ["a cat"], seeds=(3,), steps=4, guidance=3.0)
    handle.remove()
    assert found.difference.shape[2] == len(calls) >= 4
    for difference, (rows, t, out) in zip(found.difference[0, 0], calls, strict=True):
        a = float(alpha(t))
        s = math.sqrt(1 - a * a)
        empty, told = (
            (a * half + s * x if predicted == "v_prediction" else (x - a * half) / s).double()
            for half, x in zip(out.chunk(2), rows.chunk(2))
        )
        assert float(difference) == pytest.approx(float((told - empty).norm()), rel=2e-3, abs=1e-5)


class OnePath(EulerDiscreteScheduler):
    noise_sampler = None


REFUSED = [
    (
        "PNDMScheduler",
        {"skip_prk_steps": False},
        0.5,
        "start: with PNDMScheduler.*its formulas do not begin in the middle; start at the first step",
    ),
    ("PNDMScheduler", {"timestep_spacing": "linspace"}, 0.5, "start: with PNDMScheduler and steps=12.*times the noise"),
    (
        "DDIMScheduler",
        {"clip_sample": True},
        0.5,
        "its clip_sample cuts latents beyond its range; give latents within it",
    ),
    ("UniPCMultistepScheduler", {"solver_type": "bh1"}, 0.5, "not finite at the end, whatever the network"),
    ("DDPMScheduler", {"variance_type": "fixed_large"}, 0.5, "latents are .* off a step's level of noise"),
    ("DDIMInverseScheduler", {}, None, "DDIMInverseScheduler without add_noise"),
    ("DPMSolverMultistepInverseScheduler", {}, None, "timesteps of DPMSolverMultistepInverseScheduler rise"),
    ("EDMEulerScheduler", {}, None, "EDMEulerScheduler without alphas_cumprod is of a kind.*DDIMScheduler.from_config"),
    ("FlowMatchEulerDiscreteScheduler", {}, None, "FlowMatchEulerDiscreteScheduler without scale_model_input"),
    ("IPNDMScheduler", {}, None, "IPNDMScheduler without add_noise"),
    ("CMStochasticIterativeScheduler", {}, None, "without alphas_cumprod"),
    ("RePaintScheduler", {}, None, "step of RePaintScheduler needs mask, original_image too"),
    (
        "DPMSolverMultistepScheduler",
        {"prediction_type": "flow_prediction", "use_flow_sigmas": True},
        None,
        "prediction_type='flow_prediction', use_flow_sigmas=True; expected one of epsilon",
    ),
    ("PNDMScheduler", {"prediction_type": "sample"}, None, "step of PNDMScheduler failed .ValueError"),
]


@pytest.mark.parametrize(
    ("kind", "options", "share", "message"),
    REFUSED,
    ids=[f"{kind}-{'-'.join(map(str, options.values()))}" for kind, options, *_ in REFUSED],
)
def test_a_scheduler_that_would_go_wrong_is_refused_by_name(parts, kind, options, share, message):
    pipeline = Pipeline.of(parts)
    pipeline.scheduler = made(kind, **options)
    start = None if share is None else (torch.full((1, 4, 16, 16), 1.5), share)
    with pytest.raises(DiffusionError, match=message):
        denoise(pipeline, ["a cat"], steps=12, start=start)


def test_other_ways_in_refuse_unknown_schedulers_too(parts):
    pipeline = Pipeline.of(parts)
    pipeline.scheduler = OnePath(**BETAS)
    for call in (
        lambda: denoise(pipeline, ["a cat"], steps=2),
        lambda: statistics(pipeline, ["a cat"], steps=2),
        lambda: timesteps(pipeline, 2),
        lambda: optimise_embeddings(pipeline, torch.zeros(1, 3, 32, 32), steps=1),
        lambda: denoising_error(pipeline, torch.zeros(1, 3, 32, 32), ["a cat"]),
    ):
        with pytest.raises(DiffusionError, match="OnePath draws one path of noise for a whole batch"):
            call()


def test_a_whole_run_under_runge_kutta_steps_is_the_pipelines_own(parts):
    parts.scheduler = PNDMScheduler(**BETAS, skip_prk_steps=False, steps_offset=1)
    found = denoise(Pipeline.of(parts), ["a cat"], seeds=(3,), steps=5)
    np.testing.assert_allclose(
        (found.images[0, 0] / 2 + 0.5).permute(1, 2, 0).numpy(), own(parts, "a cat", 3, 5, 3.0), atol=2e-4
    )


def test_latents_within_the_range_that_a_scheduler_clips_to_start_anywhere(tiny, corpus):
    """The organism's own scheduler clips; its latents are pixels from -1 to 1."""
    clean = tiny.encode(corpus.pairs.images[:3])
    for share in (0.01, 0.5, 1.0):
        refuse_drift(tiny, 25, clean, share)
    with pytest.raises(DiffusionError, match="clip_sample cuts latents"):
        refuse_drift(tiny, 25, clean * 1.5, 0.5)
