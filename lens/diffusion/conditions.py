"""What the prediction of a pipeline may depend on: a text, noise and a timestep alone."""

from __future__ import annotations

from typing import Any

from .errors import DiffusionError

#: What a U-Net's configuration may say where its prediction depends on a text, noise and a timestep alone.
_TEXT_ALONE = {
    "time_cond_proj_dim": (None,),
    "class_embed_type": (None,),
    "num_class_embeds": (None,),
    "addition_embed_type": (None, "text"),
    "encoder_hid_dim_type": (None, "text_proj"),
}


def refuse_more_than_text(parts: Any) -> None:
    """Raises: DiffusionError: parts that a text, noise and a timestep do not determine the prediction of: control
    networks, a second text encoder, pictures as prompts, other channels.
    """
    own = (
        "unet",
        "text_encoder",
        "tokenizer",
        "scheduler",
        "vae",
        "safety_checker",
        "feature_extractor",
        "image_encoder",
    )
    components = getattr(parts, "components", None)
    if further := [
        name
        for name, part in (components if isinstance(components, dict) else {}).items()
        if part is not None and name not in own
    ]:
        raise DiffusionError(
            f"parts: the pictures of a {type(parts).__name__} depend on {', '.join(further)} too, which this family "
            "does not run; give a StableDiffusionPipeline."
        )
    if getattr(parts.text_encoder.config, "use_attention_mask", False):
        raise DiffusionError(
            "text_encoder: use_attention_mask=True, so that its states depend on where a caption ends; expected "
            "one that reads the padding too, as Stable Diffusion's does."
        )
    config = parts.unet.config
    for key, allowed in _TEXT_ALONE.items():
        if (value := getattr(config, key, None)) not in allowed:
            raise DiffusionError(
                f"unet: {key}={value!r}, so that its prediction depends on more than a text, noise and a timestep; "
                f"expected {allowed[0]!r}. "
                "Give a U-Net as Stable Diffusion 1 and 2 have it (adapters for pictures unloaded)."
            )
    channels, out = getattr(config, "in_channels", None), getattr(config, "out_channels", None)
    if channels != out:
        raise DiffusionError(
            f"unet: it takes {channels} channels and makes {out}; expected as many: inpainting and learned variances "
            "are not served."
        )
