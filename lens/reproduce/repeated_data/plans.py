"""How much each preset trains."""

from __future__ import annotations

from .arms import Preset

PRESETS = {
    "tiny": Preset(
        steps=8,
        batch=4,
        sizes=(24,),
        main=24,
        ladder=(24, 48),
        repeats=(4, 8),
        worst=4,
        text_repeats=(2,),
        seeds=(0,),
        text_share=0.25,
        looks=4,
        tests=24,
    ),
    "quick": Preset(
        steps=500,
        sizes=(72,),
        main=72,
        ladder=(72,),
        repeats=(10, 100, 1000),
        looks=10,
        further=(),
    ),
    "medium": Preset(
        steps=500,
        sizes=(72,),
        main=72,
        ladder=(48, 72),
        repeats=(10, 100, 1000),
        looks=10,
        further=("early", "order"),
    ),
    "long": Preset(
        sizes=(72, 48),
        main=72,
        ladder=(24, 48, 72),
        repeats=(10, 100, 1000),
        further=("regular", "early", "order"),
    ),
    "full": Preset(),
}
