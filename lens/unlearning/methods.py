"""Ways to unlearn: what each does, where it is from, and its numbers.

>>> METHODS["npo"].does  # doctest: +SKIP
>>> method("npo", over="batch")  # the same, as released with RESTOR; doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ..arguments import Check, Name, Number, Text, Whole, door, shown
from ..arguments.hints import Flag
from . import plans
from .errors import UnlearningError
from .plans import Plan, Setup


@door(UnlearningError)
@dataclass(frozen=True)
class Method:
    """A way to unlearn.

    Attributes:
        does: in one sentence. source: where it is from. options: its numbers, with their defaults; change them with
            `method`. `retain` among them is the weight of the retain set's loss.
        doses: of a method whose path is not one of steps (a task vector's factors); None where it is.
    """

    name: Name
    title: Name
    does: Name
    source: Name
    prepare: Callable[[Setup, Mapping[str, Any]], Plan]
    options: Mapping[str, Any] = field(default_factory=dict)
    doses: tuple[float, ...] | None = None


@door(UnlearningError)
def method(name: str | Method, **options: Any) -> Method:
    """A method of `METHODS` with some of its options changed.

    Raises: UnlearningError: an unknown method, an option that it does not have, a value that it cannot take.
    """
    if isinstance(name, str) and name not in METHODS:
        raise UnlearningError(f"method={shown(name)} is not known; expected the name of one: {', '.join(METHODS)}.")
    chosen = METHODS[name] if isinstance(name, str) else name
    if unknown := [o for o in options if o not in chosen.options]:
        raise UnlearningError(
            f"method {chosen.name!r} has no option {unknown[0]!r}; it has {', '.join(chosen.options) or 'none'}."
        )
    for option, value in options.items():
        default = chosen.options[option]
        kind: Check = (
            Flag()
            if isinstance(default, bool)
            else Text()
            if isinstance(default, str)
            else Whole(-(2**31))
            if isinstance(default, int)
            else Number()
        )
        kind.of(value, option, UnlearningError, f"method {chosen.name!r} has {default!r}")
        if option in ("beta", "coefficient") and not value > 0:
            raise UnlearningError(f"{option}={value!r}; expected a number above 0.")
        if option == "retain" and value < 0:
            raise UnlearningError(f"retain={value!r}; expected a weight of at least 0.")
    return replace(chosen, options={**chosen.options, **options})


_RETAIN = {"retain": 1.0, "retain_loss": "nll"}
_RESTOR = "RESTOR (Rezaei et al. 2024)"
_NPO = "Zhang et al. 2024, Negative Preference Optimization"

#: Every method by name.
METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        Method(
            "retain_only",
            "retain only",
            "trains on the retain set and nothing else: what harmless training forgets and restores.",
            "a control of this package; not in the papers",
            plans.retain_only,
        ),
        Method(
            "gradient_ascent",
            "gradient ascent",
            "maximises the loss on the forget set.",
            "Jang et al. 2023, Knowledge Unlearning for Mitigating Privacy Risks in Language Models",
            plans.ascent,
            {"retain": 0.0, "retain_loss": "nll"},
        ),
        Method(
            "gradient_difference",
            "gradient difference",
            "maximises the loss on the forget set and minimises it on the retain set.",
            "Liu et al. 2022, Continual Learning and Private Unlearning; Maini et al. 2024, TOFU",
            plans.ascent,
            _RETAIN,
        ),
        Method(
            "kl",
            "KL as stated",
            "maximises KL(model || start) on the forget set.",
            f"{_RESTOR}, README",
            plans.divergent,
            {**_RETAIN, "as_published": False, "direction": "reverse"},
        ),
        Method(
            "kl_as_published",
            "KL as published",
            "maximises the cross-entropy of the model's distribution against the start's on the forget set, which"
            " rewards flat answers too.",
            f"{_RESTOR}, released code unlearning/unlearn/KL.py",
            plans.divergent,
            {**_RETAIN, "as_published": True, "direction": "reverse"},
        ),
        Method(
            "npo",
            "NPO",
            "lowers the forget set's likelihood below the start's, each whole row braked by its own ratio.",
            f"{_NPO}, section 3",
            plans.preference,
            {**_RETAIN, "beta": 0.1, "over": "sequence"},
        ),
        Method(
            "npo_token",
            "NPO by token",
            "the same with each token braked by its own ratio.",
            f"{_RESTOR}, README",
            plans.preference,
            {**_RETAIN, "beta": 0.1, "over": "token"},
        ),
        Method(
            "npo_batch",
            "NPO by batch",
            "the same with one brake for the mean loss of a batch: gradient ascent till the model is nearly broken.",
            f"{_RESTOR}, released code unlearning/unlearn/NPO.py",
            plans.preference,
            {**_RETAIN, "beta": 0.1, "over": "batch"},
        ),
        Method(
            "simnpo",
            "SimNPO",
            "lowers the forget set's likelihood a token, without a reference.",
            "Fan et al. 2024, Simplicity Prevails; beta as its README's for TOFU",
            plans.simple_preference,
            {**_RETAIN, "beta": 2.5, "gamma": 0.0},
        ),
        Method(
            "rmu",
            "RMU",
            "pushes the forget set's states at one layer to a fixed random direction and keeps the retain set's.",
            "Li et al. 2024, The WMDP Benchmark; OpenUnlearning's coefficient",
            plans.misdirection,
            {"retain": 1.0, "layer": -2, "coefficient": 20.0},
        ),
        Method(
            "task_vector",
            "task vector",
            "trains a copy further on the forget set and takes a multiple of the change off the weights.",
            "Ilharco et al. 2023, Editing Models with Task Arithmetic",
            plans.tuned_further,
            doses=(0.0, 0.25, 0.5, 1.0, 2.0, 4.0),
        ),
        Method(
            "random_labels",
            "random labels",
            "trains on the forget set's prompts with answers drawn at random (labels: fixed, redrawn, wrong, uniform;"
            " right is the control).",
            "Zhang, Choshen & Andreas 2024, Unforgettable Generalization in Language Models",
            plans.scrambled,
            {**_RETAIN, "labels": "fixed"},
        ),
    )
}
