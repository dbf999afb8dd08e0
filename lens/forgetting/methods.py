"""Ways of fine-tuning that may forget less: each is a few extra loss terms, a choice of weights, of rows, or an act
after a stage.

>>> METHODS["guided"].does                                                # doctest: +SKIP
>>> method("guided", a2=0.25)                                             # the same with another weight; doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from ..arguments import Check, Number, Text, Whole, door, shown
from ..arguments.hints import Flag
from . import plans
from .data import ForgettingError
from .plans import Plan, Setup


@door(ForgettingError)
@dataclass(frozen=True)
class Method:
    """A way of fine-tuning.

    Attributes:
        does: in one sentence. source: where it is from. options: its numbers, with their defaults; change them with
            `method`.
        needs: "guide" and/or "old_rows", where it cannot do without.
    """

    name: str
    title: str
    does: str
    source: str
    prepare: Callable[[Setup, Mapping[str, Any]], Plan]
    options: Mapping[str, Any] = field(default_factory=dict)
    needs: Sequence[Literal["guide", "old_rows"]] = ()


@door(ForgettingError)
def method(name: str | Method, **options: Any) -> Method:
    """A method of `METHODS` with some of its options changed.

    Raises: ForgettingError: an unknown method, or an option that it does not have.
    """
    if isinstance(name, Method):
        chosen = name
    elif name in METHODS:
        chosen = METHODS[name]
    else:
        raise ForgettingError(f"method={shown(name)} is not known; expected the name of one: {', '.join(METHODS)}.")
    if unknown := [o for o in options if o not in chosen.options]:
        raise ForgettingError(
            f"method {chosen.name!r} has no option {unknown[0]!r}; it has {', '.join(chosen.options) or 'none'}."
        )
    for option, value in options.items():
        _like(chosen.options[option]).of(
            value, option, ForgettingError, f"method {chosen.name!r} has {chosen.options[option]!r}"
        )
    return replace(chosen, options={**chosen.options, **options})


def _like(default: Any) -> Check:
    """What an option with this default may be."""
    return (
        Flag()
        if isinstance(default, bool)
        else Text()
        if isinstance(default, str)
        else Whole(0)
        if isinstance(default, int)
        else Number()
    )


# -- losses ---------------------------------------------------------------------------------------------------------


# -- preparations ----------------------------------------------------------------------------------------------------


# -- the registry ----------------------------------------------------------------------------------------------------

_FVG = "Jiang et al. 2025 (ICLR), Unlocking the Power of Function Vectors"
_HERE = "a control of this package; not in the papers"
_KL = {"a2": 0.08, "direction": "reverse"}

#: Every method by name.
METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "plain",
            "plain fine-tuning",
            "minimises the language-model loss of the new task and nothing else.",
            "the baseline of all",
            plans.plain,
        ),
        Method(
            "guided",
            "vector-guided training (paper)",
            "adds the distance of the guide's head outputs to the stage's start model and KL(student || that model with"
            " the vector) at the last input token; a1=0 leaves only the KL.",
            f"{_FVG} (a1 = 1, a2 = 0.08)",
            plans.guided,
            {"a1": 1.0, **_KL, "distance": "l2", "vector": "own"},
            ("guide",),
        ),
        Method(
            "guided_released",
            "vector-guided training (released code)",
            "pulls towards the sequence's first model with the vector added after attention: a gated KL at the last"
            " input token, a gated KL over all real tokens, and a gated squared error of the guide's head outputs.",
            f"{_FVG}, released code src/tuning/trainer/base.py; sequence G1's weights (C1: kl_all=0.5; M1: kl_last=1)."
            " It also counts padding tokens, which is left out here",
            plans.released,
            {
                "kl_last": 20.0,
                "kl_all": 0.1,
                "heads": 1.0,
                "temperature": 2.0,
                "gate_kl": 0.1,
                "gate_heads": 0.01,
                "at": "attn_out",
            },
            ("guide",),
        ),
        Method(
            "progressive",
            "progressive vector intervention",
            "trains with the vector added to the stream, its strength falling linearly from 1 to 0 over the first half"
            " of the steps.",
            "Jiang et al. 2024, Interpretable Catastrophic Forgetting via Instruction Vector; the schedule's shape and"
            " length are ours",
            plans.progressive,
            {"until": 0.5},
            ("guide",),
        ),
        Method(
            "progressive_kl",
            "progressive vector intervention with KL",
            "trains with the fading vector too, and adds KL(student as it is trained || the stage's start model with"
            " the vector) at the last input token.",
            "Jiang et al. 2024; weight and direction from their 2025 paper",
            plans.progressive,
            {"until": 0.5, **_KL},
            ("guide",),
        ),
        Method(
            "kl_start",
            "KL to the stage's start, no vector",
            "adds KL(student || the stage's start model) at the last input token: the guided loss without any vector"
            " (a1=1 adds the guide's head term).",
            _HERE,
            plans.guided,
            {"a1": 0.0, **_KL, "distance": "l2", "vector": "none"},
        ),
        Method(
            "kl_random",
            "KL to the stage's start with a random vector",
            "adds KL(student || the stage's start model with a random vector of the guide's norm) at the last input"
            " token (a1=1 adds the head term).",
            f"{_HERE} (an option of the released code, never reported)",
            plans.guided,
            {"a1": 0.0, **_KL, "distance": "l2", "vector": "random", "vector_seed": 0},
            ("guide",),
        ),
        Method(
            "heads_only",
            "head outputs only",
            "adds only the distance of the guide's head outputs to the stage's start model.",
            _HERE,
            plans.guided,
            {"a1": 1.0, "distance": "l2", "vector": "none"},
            ("guide",),
        ),
        Method(
            "l2sp",
            "L2-SP",
            "adds alpha / 2 times the squared distance of the trained weights from the stage's start.",
            "Li, Grandvalet & Davoine 2018, Explicit Inductive Bias for Transfer Learning; alpha is ours",
            plans.l2sp,
            {"alpha": 0.1},
        ),
        Method(
            "ewc",
            "elastic weight consolidation",
            "adds strength / 2 times the squared distance from the stage's start, each weight's share scaled by its"
            " Fisher information on old rows.",
            f"Kirkpatrick et al. 2017; factor 4000 from {_FVG}; Fisher anew at each stage, by default with labels drawn"
            " from the model (true, not empirical)",
            plans.ewc,
            {"strength": 4000.0, "fisher": "true", "examples": 200},
            ("old_rows",),
        ),
        Method(
            "freeze_bottom",
            "bottom layers frozen",
            "trains only the upper blocks and what follows them; embeddings, and an output layer tied to them, stay.",
            "a common baseline; the share is ours",
            plans.freeze_bottom,
            {"share": 0.5},
        ),
        Method(
            "attention_only",
            "attention only",
            "trains only the attention's projections.",
            "a common baseline",
            plans.attention_only,
        ),
        Method(
            "averaging",
            "model averaging",
            "after each stage moves the trained weights by the ratio towards those of the sequence's first model"
            " (to='stage': of the stage's start).",
            f"{_FVG}, table 8 (ratio 0.2)",
            plans.averaging,
            {"ratio": 0.2, "to": "first"},
        ),
        Method(
            "replay",
            "replay",
            "mixes old rows into the new ones, 2 % of all by default (earlier=True: rows of earlier stages too).",
            "a ceiling: the others see no old data",
            plans.replay,
            {"share": 0.02, "earlier": False},
            ("old_rows",),
        ),
    )
}
