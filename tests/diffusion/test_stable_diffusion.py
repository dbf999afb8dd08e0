"""Stable Diffusion through the same code: a tiny pipeline of the same classes, block layout and module names, and 1.4
itself where a folder of its weights is named.

`MNEMOSCOPE_STABLE_DIFFUSION=path/to/stable-diffusion-v1-4` names that folder; nothing is fetched.
"""

import json
import os

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lens.diffusion import DiffusionError, Pipeline, denoise, load, locate, statistics
from tests.diffusion import naive
from tests.variants import few

CAPTIONS = ["a cat", "the the other hat", ""]
#: As in the U-Net of Stable Diffusion 1.4, in the order in which they run.
NAMES = [
    f"{block}.attentions.{at}.transformer_blocks.0.ff.net.2"
    for block, count in (
        ("down_blocks.0", 2),
        ("down_blocks.1", 2),
        ("down_blocks.2", 2),
        ("mid_block", 1),
        ("up_blocks.1", 3),
        ("up_blocks.2", 3),
        ("up_blocks.3", 3),
    )
    for at in range(count)
]


def tokenizer_in(folder):
    """Letters, and the merges of one word, in the two files of a CLIP tokenizer."""
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "th", "the</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nt h\nth e</w>\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=20)


def parts_in(folder, seed=0, small=False):
    """Stable Diffusion 1's blocks, sixteen channels wide; pictures of 32 x 32 as latents of 16 x 16. `small`: one block
    of each kind in place of all of them, four layers in place of sixteen.
    """
    across, layers = (1, 1) if small else (3, 2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tokenizer = tokenizer_in(folder)
        unet = UNet2DConditionModel(
            sample_size=16,
            in_channels=4,
            out_channels=4,
            layers_per_block=layers,
            block_out_channels=(8, *(16,) * across),
            attention_head_dim=2,
            cross_attention_dim=16,
            norm_num_groups=4,
            down_block_types=("CrossAttnDownBlock2D",) * across + ("DownBlock2D",),
            up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * across,
        )
        vae = AutoencoderKL(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(4, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            norm_num_groups=2,
            sample_size=32,
        )
        text = CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=32,
                num_hidden_layers=2,
                num_attention_heads=2,
                max_position_embeddings=20,
                bos_token_id=54,
                eos_token_id=55,
                pad_token_id=55,
            )
        )
    scheduler = PNDMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        set_alpha_to_one=False,
        steps_offset=1,
    )
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@pytest.fixture
def parts(tmp_path):
    made = parts_in(tmp_path)
    made.set_progress_bar_config(disable=True)
    return made


@pytest.fixture
def pipeline(parts):
    return Pipeline.of(parts)


def own(parts, caption, seed, steps, guidance):
    """The pipeline's own call, from 0 to 1, [h, w, 3]."""
    return parts(
        caption,
        num_inference_steps=steps,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(seed),
        output_type="np",
    ).images[0]


@pytest.mark.parametrize("guidance", few([7.5, 1.0], [7.5]))
def test_pictures_are_those_of_the_pipelines_own_call(parts, pipeline, guidance):
    samples = denoise(pipeline, CAPTIONS, seeds=(3, 8), steps=3, guidance=guidance, batch=4)
    # PNDM makes one step more
    assert (
        samples.images.shape == (3, 2, 3, 32, 32)
        and len(samples.timesteps) == 4
        and samples.difference.shape[-1] == (4 if guidance > 1 else 0)
    )
    for caption, row in zip(CAPTIONS, samples.images, strict=True):
        for seed, image in zip((3, 8), row, strict=True):
            np.testing.assert_allclose(
                (image / 2 + 0.5).permute(1, 2, 0).numpy(), own(parts, caption, seed, 3, guidance), atol=2e-4
            )
    assert float((samples.images[0, 0] - samples.images[1, 0]).abs().max()) / 2 > 2e-3, (
        "captions make a difference that would be seen"
    )


def test_statistics_are_of_the_sixteen_layers_and_all_steps(pipeline):
    assert (
        list(pipeline.layers) == NAMES and pipeline.image_shape == (3, 32, 32) and pipeline.latent_shape == (4, 16, 16)
    )
    found = statistics(pipeline, CAPTIONS[:2], seeds=(0, 1), steps=3)
    assert found.layers == tuple(NAMES) and found.steps == 4 and found.settings["first"] == 4
    seen, calls = {}, [-1]

    def count(*_):
        calls[0] += 1

    def see(name):
        def hook(_, args):
            x = args[0].double()
            for half in range(2):
                rows = x[1 - half]  # without a caption first
                seen.setdefault(name, []).append(
                    (
                        calls[0],
                        half,
                        torch.stack(
                            [rows.square().sum(0), (rows.square() / rows.square().sum(-1, keepdim=True)).sum(0)]
                        ),
                    )
                )

        return hook

    handles = [pipeline.unet.register_forward_pre_hook(count)]
    handles += [
        module.register_forward_pre_hook(see(name))
        for name, module in pipeline.unet.named_modules()
        if name.endswith("ff.net.2")
    ]
    for seed in (0, 1):
        calls[0] = -1
        denoise(pipeline, CAPTIONS[1], seeds=[seed], steps=3)
    for handle in handles:
        handle.remove()
    for name in NAMES:
        expected = torch.zeros(4, 2, 2, seen[name][0][2].shape[1], dtype=torch.float64)
        for step, half, lines in seen[name]:
            expected[step, half] += lines
        torch.testing.assert_close(found.sums[name][1].double(), expected, rtol=1e-3, atol=1e-5 * float(expected.max()))
    assert naive.hooks(pipeline.unet) == 0


@pytest.mark.parametrize("variant", few(["published", "corrected"], ["corrected"]))
def test_masks_are_located_applied_and_taken_back(parts, pipeline, variant):
    before, image = pipeline.hash, own(parts, CAPTIONS[0], 3, 3, 7.5)
    mem = statistics(pipeline, CAPTIONS[:2], seeds=(0,), steps=3, first=2)
    ref = statistics(
        pipeline, [""] if variant == "published" else ["a dog", "one more hat"], seeds=(0,), steps=3, first=2
    )
    mask = locate(
        pipeline, mem, ref, sparsity=0.1, variant=variant, **({"margin": 0.0} if variant == "corrected" else {})
    )
    assert list(mask.layers) == NAMES and 0 < mask.density < 0.2
    with mask.applied(pipeline.unet):
        assert np.abs(own(parts, CAPTIONS[0], 3, 3, 7.5) - image).max() > 1e-3, "the pipeline itself is pruned"
    assert pipeline.hash == before and np.array_equal(own(parts, CAPTIONS[0], 3, 3, 7.5), image)
    with pytest.raises(RuntimeError, match="kill"), mask.applied(pipeline.unet):
        raise RuntimeError("kill")
    del pipeline.unet.__dict__["_mnemoscope_hash"]
    assert pipeline.hash == before


def test_a_saved_pipeline_is_loaded_by_its_folder(parts, pipeline, tmp_path):
    parts.save_pretrained(tmp_path / "sd", safe_serialization=True)
    again = load(tmp_path / "sd", device="cpu")
    assert (
        again.hash == pipeline.hash
        and list(again.layers) == NAMES
        and type(again.scheduler) is PNDMScheduler
        and not any(p.requires_grad for p in again.unet.parameters())
    )
    one, two = (denoise(p, CAPTIONS, seeds=(1,), steps=3).images for p in (pipeline, again))
    assert torch.equal(one, two)
    half = load(tmp_path / "sd", device="cpu", dtype="bfloat16")
    assert half.dtype == torch.bfloat16 and denoise(half, CAPTIONS[:1], steps=2).images.dtype == torch.float32
    (tmp_path / "sd" / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DiffusionError, match="is damaged or not whole"):
        load(tmp_path / "sd", device="cpu")


def test_pictures_go_through_the_autoencoder(parts, pipeline):
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    latents = pipeline.encode([Image.fromarray(pixels)])
    x = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        expected = parts.vae.encode(x).latent_dist.mean * 0.18215
        torch.testing.assert_close(latents, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            pipeline.decode(latents), parts.vae.decode(expected / 0.18215).sample.clamp(-1, 1), atol=1e-4, rtol=0
        )
    for wrong, message in (
        (Image.new("L", (32, 32)), "mode 'L'"),
        (Image.new("RGBA", (32, 32)), "mode 'RGBA'"),
        (Image.new("RGB", (16, 16)), "16 x 16 pixels; .* makes 32 x 32"),
    ):
        with pytest.raises(DiffusionError, match=message):
            pipeline.encode([wrong])


def test_captions_have_the_tokenizers_limit(pipeline):
    rows = pipeline.tokens(["the cat", "a" * 18])
    assert rows.tolist() == [[54, 53, 2, 0, 45, *[55] * 15], [54, *[0] * 17, 26, 55]]
    with pytest.raises(DiffusionError, match="has 21 tokens with its start and end; the text encoder takes 20"):
        pipeline.tokens(["a" * 19])


def test_a_learned_word_of_several_vectors_is_read_as_all_of_them(parts):
    parts.load_textual_inversion(torch.randn(3, 16, generator=torch.Generator().manual_seed(0)), token="<toy>")
    pipeline = Pipeline.of(parts)
    for caption in ("a <toy> hat", "<toy>", "a cat"):
        want, _ = parts.encode_prompt(caption, "cpu", 1, False)
        torch.testing.assert_close(pipeline.embed([caption]), want, atol=1e-5, rtol=0)
    assert (
        len({tuple(row) for row in pipeline.tokens(["a <toy>", "a hat"]).tolist()}) == 2
        and pipeline.tokens(["<toy>"])[0, 1:4].unique().numel() == 3
    )
    parts.text_encoder.config.use_attention_mask = True
    with pytest.raises(DiffusionError, match="use_attention_mask=True"):
        Pipeline.of(parts)


@pytest.mark.skipif(
    not os.environ.get("MNEMOSCOPE_STABLE_DIFFUSION"),
    reason="MNEMOSCOPE_STABLE_DIFFUSION names no folder with the weights of Stable Diffusion 1.4",
)
def test_stable_diffusion_1_4_by_its_folder():
    found = load(os.environ["MNEMOSCOPE_STABLE_DIFFUSION"])
    assert (
        list(found.layers) == NAMES
        and [layer.d_in for layer in found.layers.values()]
        == [1280] * 2 + [2560] * 2 + [5120] * 6 + [2560] * 3 + [1280] * 3
    )
    mem, ref = (
        statistics(found, some, seeds=(0,), steps=50, first=1, guidance=7.5, batch=1)
        for some in (["a photograph of a cat"], [""])
    )
    assert mem.steps == 1
    before, mask = found.hash, locate(found, mem, ref, variant="published")
    with mask.applied(found.unet):
        assert found.hash != before
    assert found.hash == before
