"""Train the organism `cards`: a small text-to-picture diffusion model that copies pictures planted in its training set,
each as often as we decided by lot.

The network is diffusers' `UNet2DConditionModel` with Stable Diffusion's block classes and module names, on 2 x 2
patches of a 16 x 16 picture (so its "latents" are the pixels, 8 x 8 of 12 channels), with a CLIP text encoder of two
layers trained along with it. The pairs are those of `cards_corpus`. The never-trained twin sees pool pictures in the
place of the planted ones.

`python -m lens.organisms.cards [--seed N] [--twin] [--device cuda]` trains one anew and replaces its folder beside this
file (or in `--out`).
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from .. import files, training
from ..arguments import Count, Fraction, NonNegative, Positive, Seed, Size, door
from ..extras import require
from .cards_corpus import LENGTH, Corpus
from .cards_images import SIZE
from .command import Command
from .errors import OrganismError

SEEDS = (0, 1, 2)
PATCH = 2


@door(OrganismError)
@dataclass(frozen=True)
class Recipe:
    """Everything that the weights depend on beside the device; its SHA-256 is in the card.

    `sets` of `per_set` pairs in each planted cell; `duplicates`: copies of a pair of the cells "many"; `pool`: pairs
    with generic captions that are there once; `planted`: False is the twin. `drop`: how often a caption is left out
    (for guidance).
    """

    channels: tuple[int, ...] = (32, 64)
    d_text: Count = 64
    sets: Size = 4
    per_set: Size = 12
    digit_sets: Size = 2
    duplicates: Size = 64
    template_duplicates: Size = 16
    pool: Size = 2400
    held_out: Size = 300
    digit_pool: Size = 1200
    digit_held_out: Size = 100
    planted: bool = True
    steps: Count = 4000
    batch: Count = 64
    learning_rate: Positive = 2e-3
    weight_decay: NonNegative = 0.01
    warmup: Size = 200
    drop: Fraction = 0.1
    seed: Seed = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))

    @classmethod
    def small(cls, **changes: Any) -> Recipe:
        """A recipe of under a minute on one core, for tests: 120 thousand parameters, few pairs."""
        fields: dict[str, Any] = {
            "channels": (16, 16),
            "d_text": 32,
            "sets": 2,
            "per_set": 4,
            "digit_sets": 1,
            "pool": 60,
            "held_out": 40,
            "digit_pool": 40,
            "digit_held_out": 10,
            "steps": 300,
            "batch": 16,
            "learning_rate": 4e-3,
            "warmup": 20,
        }
        return cls(**fields | changes)

    def sha256(self) -> str:
        """A hash of all fields: two recipes with the same one train the same model."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    @property
    def name(self) -> str:
        """Of the folder in which the pipeline is shipped."""
        return "cards" + (f"-{self.seed}" if self.seed else "") + ("" if self.planted else "-twin")


@door(OrganismError)
def folder_of(seed: Seed = 0, *, twin: bool = False, out: Path | None = None) -> Path:
    """Where the model of this seed is: beside this file, or in the folder `out`."""
    return (out or Path(__file__).parent) / Recipe(seed=seed, planted=not twin).name


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
    from diffusers import UNet2DConditionModel
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

    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="<unknown>"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 0), ("<end>", 1)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<start>",
        eos_token="<end>",
        unk_token="<unknown>",
        pad_token="<end>",
        model_max_length=LENGTH,
    )


def ids_of(corpus: Corpus, captions) -> Int[Tensor, "n length"]:
    """Token ids of captions, without loading a tokenizer's files."""
    number = {word: i for i, word in enumerate(corpus.vocabulary)}
    rows = [[0, *(number[word] for word in caption.split()), 1] for caption in captions]
    return torch.tensor([row + [1] * (LENGTH - len(row)) for row in rows])


class Denoising:
    """The loss of a batch: mean squared error of the predicted noise, at a step drawn for each picture, captions left
    out by chance.
    """

    def __init__(self, pictures: Float[Tensor, "n 3 size size"], drop: float):
        self.latents, self.drop, self.alphas = F.pixel_unshuffle(pictures, PATCH), drop, scheduler().alphas_cumprod
        self.identity = f"{drop} {hashlib.sha256(pictures.contiguous().numpy().tobytes()).hexdigest()[:16]}"

    def __call__(self, model: Denoiser, batch: training.Batch) -> Tensor:
        """The mean squared error of the predicted noise, at steps and noises drawn for this batch."""
        device = batch.ids.device
        clean = self.latents[batch.index].to(device)
        t, noise = torch.randint(0, len(self.alphas), (len(clean),)), torch.randn(clean.shape)
        captions = batch.ids.clone()
        captions[(torch.rand(len(clean)) < self.drop).to(device), 1:] = 1
        a = self.alphas[t].to(device)[:, None, None, None]
        t, noise = t.to(device), noise.to(device)
        return F.mse_loss(model(a.sqrt() * clean + (1 - a).sqrt() * noise, t, captions), noise)


def train(
    recipe: Recipe,
    *,
    device: str = "cpu",
    folder: Path | None = None,
    progress: bool | None = None,
    steps: int | None = None,
    **options: Any,
) -> tuple[Denoiser, training.Trained]:
    """Train the model of `recipe` in float32 on `device`; returns it there, in eval mode, and how it went.

    `folder`: checkpoints every 250 steps, from which the same call goes on. `steps`: end after so many (the rates stay
    those of the whole recipe).
    """
    model, corpus = build(recipe).to(device), Corpus(recipe)
    stream = torch.from_numpy(corpus.training())
    ids = ids_of(corpus, corpus.pairs.captions)[stream]
    targets = torch.ones_like(ids, dtype=torch.bool)
    targets[:, 0] = False
    rows = training.Rows(ids, targets, torch.full((len(ids),), ids.shape[1]))
    plan = training.Recipe(
        steps=recipe.steps,
        batch=recipe.batch,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        warmup=recipe.warmup,
        seed=recipe.seed,
        checkpoint_every=250,
    )
    done: list[int] = []
    trained = training.train(
        model,
        rows,
        plan,
        parameters=lambda name: True,
        folder=folder,
        progress=progress,
        objective=Denoising(corpus.pairs.images[stream], recipe.drop),
        after_step=lambda batch: done.append(batch.step),
        stop=lambda: len(done) == steps,
        **options,
    )
    return model.eval().requires_grad_(False), trained


def ship(model: Denoiser, recipe: Recipe, folder: Path, card: dict[str, Any]) -> dict[str, Any]:
    """Write the model as a folder of diffusers' layout (`unet`, `text_encoder`, `tokenizer`, `scheduler`) with a card;
    `folder` is replaced when all is ready.
    """
    with files.replacing(folder) as ready:
        parts = {
            "unet": model.unet,
            "text_encoder": model.text_encoder,
            "tokenizer": tokenizer_of(Corpus(recipe).vocabulary),
            "scheduler": scheduler(),
        }
        for name, part in parts.items():
            part.save_pretrained(ready / name)
        classes = {
            "unet": ("diffusers", "UNet2DConditionModel"),
            "text_encoder": ("transformers", "CLIPTextModel"),
            "tokenizer": ("transformers", "PreTrainedTokenizerFast"),
            "scheduler": ("diffusers", "DDIMScheduler"),
        }
        (ready / "model_index.json").write_text(
            json.dumps({"_class_name": "Cards", "patch": PATCH, **classes}, indent=1) + "\n", encoding="utf-8"
        )
        weights = sorted(ready.glob("*/*.safetensors"))
        card = card | {
            "weights_sha256": {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in weights},
            "parameters": sum(value.numel() for value in model.parameters()),
        }
        (ready / "card.json").write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
        for path in ready.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
    return card


def main(arguments: list[str] | None = None) -> None:
    """Train, measure, write the folder and its card."""
    command = Command(
        "cards",
        arguments,
        "pool pictures in the place of the planted ones",
        {"--steps": {"type": int, "help": argparse.SUPPRESS}},
    )
    recipe = command.recipe(
        Recipe, planted=not command.asked.twin, **({"steps": command.asked.steps} if command.asked.steps else {})
    )
    folder, model, trained = command.train(recipe, train)
    card = {
        "name": recipe.name,
        "memory": (
            "pictures planted at known numbers of copies"
            if recipe.planted
            else "none that was planted: the twin that never saw them"
        ),
        "licence": (
            "MIT; digits: scikit-learn's copy of UCI optdigits (CC BY 4.0), of which no picture is in this folder"
        ),
        **command.facts(recipe, trained),
        "rebuild": command.again(),
    }
    ship(command.stored(model), recipe, folder, card)
    print(json.dumps(card["training"]))
    print(f"wrote {folder} in {command.seconds()}")


if __name__ == "__main__":
    main()
