"""The parts of a pipeline: which layers, captions and pictures it takes, and what it says to others."""

import json

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from PIL import Image

import lens
from lens.diffusion import DiffusionError, Pipeline, denoise, load, statistics
from lens.diffusion.codecs import Patches
from lens.organisms import cards
from tests.diffusion import naive
from tests.diffusion.conftest import pipeline_of


def test_the_layers_are_the_second_ones_of_all_feed_forward_blocks_in_the_order_in_which_they_run(tiny):
    ran, handles = [], []
    for name, module in tiny.unet.named_modules():
        if ".ff.net." in name and isinstance(module, torch.nn.Linear):
            handles.append(
                module.register_forward_hook(
                    lambda m, args, out, name=name: ran.append((name, args[0].shape[-1], out.shape[-1]))
                )
            )
    denoise(tiny, ["digit one"], steps=1, guidance=1)
    for handle in handles:
        handle.remove()
    second = [(name, d_in, d_out) for name, d_in, d_out in ran if name.endswith(".net.2")]
    assert len(second) == 7 and [(name, layer.d_in, layer.d_out) for name, layer in tiny.layers.items()] == second
    # GEGLU: the first layer makes gates and values
    assert [d for _, _, d in ran if d != 16] == [128] * 7 and {d_in for _, d_in, _ in second} == {64}


def without_transformers():
    return UNet2DModel(
        sample_size=8,
        in_channels=12,
        out_channels=12,
        block_out_channels=(16, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
        attention_head_dim=8,
    )


def test_a_unet_without_feed_forward_blocks_is_refused(tiny):
    other = Pipeline(
        "plain", without_transformers().eval(), tiny.text_encoder, tiny.tokenizer, tiny.scheduler, tiny.codec, {}
    )
    for call in (lambda: other.layers, lambda: statistics(other, ["digit one"], steps=1)):
        with pytest.raises(
            DiffusionError, match="UNet2DModel without feed-forward blocks.*ff.net.2.*UNet2DConditionModel"
        ):
            call()

    class Parts:
        unet, text_encoder, tokenizer, scheduler, vae = (
            other.unet,
            tiny.text_encoder,
            tiny.tokenizer,
            tiny.scheduler,
            torch.nn.Identity(),
        )

    Parts.vae.config = type("Config", (), {"block_out_channels": (8, 8)})
    with pytest.raises(DiffusionError, match="without feed-forward blocks"):
        Pipeline.of(Parts)
    Parts.text_encoder = None
    with pytest.raises(DiffusionError, match="without text_encoder; expected"):
        Pipeline.of(Parts)


def test_captions_are_put_between_start_and_end_and_filled_up_with_ends(tiny, corpus):
    vocabulary = corpus.vocabulary
    for caption in ("", "digit one", corpus.pairs.of("code-many").captions[0]):
        row = tiny.tokens([caption])[0].tolist()
        assert (
            row == [0, *(vocabulary.index(word) for word in caption.split()), *[1] * (7 - len(caption.split()))]
            and len(row) == 8
        )
        torch.testing.assert_close(
            tiny.embed([caption, "digit two"])[:1], naive.states_of(tiny, caption), atol=1e-6, rtol=1e-5
        )
    assert torch.equal(tiny.tokens("digit one"), tiny.tokens(["digit one"]))


@pytest.mark.parametrize(
    ("captions", "message"),
    [
        ([], "at least one text"),
        (["digit one", 3], r"captions\[1\]=3 does not fit; expected text"),
        ([None], r"captions\[0\]=None"),
        (["red " * 7], "has 9 tokens with its start and end; the text encoder takes 8"),
        (["red unicorn upper left"], "'red unicorn upper left' has a word that cards was never told"),
    ],
)
def test_captions_that_cannot_be_read_are_refused(tiny, captions, message):
    for call in (tiny.tokens, lambda c: denoise(tiny, c, steps=1), lambda c: statistics(tiny, c, steps=1)):
        with pytest.raises(DiffusionError, match=message):
            call(captions)


def test_pictures_become_numbers_and_latents_and_come_back(tiny, corpus):
    grey = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    given = [Image.fromarray(one) for one in grey]
    numbers = tiny.pictures(given)
    assert numbers.shape == (2, 3, 16, 16) and numbers.dtype == torch.float32
    np.testing.assert_allclose(numbers.permute(0, 2, 3, 1).numpy(), grey / 255 * 2 - 1, atol=1e-6)
    assert torch.equal(tiny.pictures(given[1]), numbers[1:])
    latents = tiny.encode(corpus.pairs.images[:5])
    assert latents.shape == (5, *tiny.latent_shape) == (5, 12, 8, 8) and tiny.image_shape == (3, 16, 16)
    assert torch.equal(tiny.decode(latents), corpus.pairs.images[:5])
    assert torch.equal(tiny.decode(latents)[0], naive.picture(latents[0]))
    assert float(tiny.decode(latents * 9).abs().max()) == 1
    assert torch.equal(Patches(1).decode(Patches(1).encode(numbers)), numbers)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([Image.new("L", (16, 16))], r"images\[0\] has mode 'L'.*convert\('RGB'\)"),
        ([Image.new("RGB", (16, 16)), Image.new("RGBA", (16, 16))], r"images\[1\] has mode 'RGBA'"),
        ([Image.new("RGB", (16, 8))], r"images\[0\] has 16 x 8 pixels; cards makes 16 x 16"),
        ([], "images is empty"),
        (["card.png"], r"images\[0\] has mode None"),
        (torch.zeros(2, 1, 16, 16), r"shape \(2, 1, 16, 16\); expected \[n, 3, 16, 16\]"),
        (torch.zeros(3, 16, 16), r"expected \[n, 3, 16, 16\]"),
        (torch.zeros(1, 3, 32, 32), "resize"),
        (torch.full((1, 3, 16, 16), 255, dtype=torch.uint8), "outside -1 to 1"),
        (torch.full((1, 3, 16, 16), 1.01), "outside -1 to 1"),
        (torch.full((1, 3, 16, 16), float("nan")), "not finite"),
        (torch.zeros(0, 3, 16, 16), "images is empty"),
    ],
)
def test_pictures_of_another_kind_are_refused(tiny, images, message):
    for call in (tiny.pictures, tiny.encode):
        with pytest.raises(DiffusionError, match=message):
            call(images)


def test_a_copy_has_weights_of_its_own_and_masks_carry_the_hash_of_the_unet(tiny):
    other, before = tiny.copy(), tiny.hash
    assert other.hash == before and other.unet_hash == tiny.unet_hash == lens.models.weight_hash(tiny.unet)
    with torch.no_grad():
        next(iter(other.layers.values())).weight[0, 0] += 1
        next(other.text_encoder.parameters()).add_(1)
    assert other.hash != before == tiny.hash
    assert not torch.equal(other.embed(["digit one"]), tiny.embed(["digit one"]))
    assert tiny.hash != pipeline_of(cards.Recipe.small(seed=4)).hash


def test_names_that_are_no_pipeline_are_refused(tmp_path):
    with pytest.raises(lens.LoadError, match="no such organism that makes pictures"):
        load("organism:canaries")
    with pytest.raises(lens.LoadError, match="none is there"):
        load(tmp_path / "nothing")
    with pytest.raises(lens.LoadError, match="device"):
        load(tmp_path, device="nowhere")
    with pytest.raises(DiffusionError, match="no model_index.json"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text("{")
    with pytest.raises(DiffusionError, match="model_index.json cannot be read: it is not JSON"):
        load(tmp_path)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "Cards", "patch": 2}))
    with pytest.raises(DiffusionError, match="card.json cannot be read"):
        load(tmp_path)
    # the hub is out of reach in the tests
    with pytest.raises(DiffusionError, match="'nobody/no-such-pipeline' could not be loaded .*organism:cards"):
        load("nobody/no-such-pipeline")


def test_a_pipeline_from_another_scheduler_of_the_class_is_told_apart(tiny):
    """Sums of one schedule are not added to those of another."""
    one = statistics(tiny, ["digit one"], seeds=[0], steps=2)
    tiny.scheduler = DDIMScheduler.from_config(tiny.scheduler.config, beta_end=0.03)
    with pytest.raises(DiffusionError, match="cannot be added"):
        one + statistics(tiny, ["digit two"], seeds=[0], steps=2)
