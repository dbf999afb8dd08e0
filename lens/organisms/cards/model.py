"""The organism `cards` untrained: a U-Net of diffusers with a text encoder, its noise schedule and its tokenizer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...extras import require
from .corpus import LENGTH, Corpus
from .images import SIZE
from .recipe import Recipe

PATCH = 2


class Denoiser(nn.Module):
    """U-Net and text encoder as one module, so that both are trained, hashed and moved together."""

    def __init__(self, unet: nn.Module, text_encoder: nn.Module):
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    def forward(
        self, x: Float[Tensor, "b c h w"], t: Int[Tensor, " b"], captions: Int[Tensor, "b length"]
    ) -> Float[Tensor, "b c h w"]:
        """The noise in `x` at step `t`."""
        return self.unet(x, t, self.text_encoder(captions)[0]).sample


def build(recipe: Recipe) -> Denoiser:
    """The untrained model, from the recipe's seed, in float32 on the CPU."""
    require("diffusion", "the organism cards")
    from diffusers.models import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    levels = len(recipe.channels)
    text = CLIPTextConfig(
        vocab_size=len(Corpus(recipe).vocabulary),
        hidden_size=recipe.d_text,
        intermediate_size=2 * recipe.d_text,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        unet = UNet2DConditionModel(
            sample_size=SIZE // PATCH,
            in_channels=3 * PATCH**2,
            out_channels=3 * PATCH**2,
            layers_per_block=1,
            block_out_channels=recipe.channels,
            down_block_types=("CrossAttnDownBlock2D",) * levels,
            up_block_types=("CrossAttnUpBlock2D",) * levels,
            cross_attention_dim=recipe.d_text,
            attention_head_dim=8,
            norm_num_groups=8,
        )
        return Denoiser(unet, CLIPTextModel(text)).float()


def scheduler():
    """The noise schedule: 1,000 steps, linear, the network predicting the noise; samples are drawn with DDIM."""
    require("diffusion", "the organism cards")
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=1e-4,
        beta_end=0.02,
        beta_schedule="linear",
        clip_sample=True,
        clip_sample_range=1.0,
        set_alpha_to_one=True,
        steps_offset=0,
        prediction_type="epsilon",
        timestep_spacing="trailing",
    )


def tokenizer_of(vocabulary: list[str]):
    """Whole words between a start and an end, padded with ends to LENGTH, as Stable Diffusion's tokenizer does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unknown>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
        pad_token="<end>",
        model_max_length=LENGTH,
    )


def ids_of(corpus: Corpus, captions: Sequence[str]) -> Int[Tensor, "n length"]:
    """Token ids of captions, without loading a tokenizer's files."""
    number = {word: i for i, word in enumerate(corpus.vocabulary)}
    rows = [[0, *(number[word] for word in caption.split()), 1] for caption in captions]
    return torch.tensor([row + [1] * (LENGTH - len(row)) for row in rows])
