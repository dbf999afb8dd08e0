"""`lens unlearn`: a person's own forget and retain sets, from the shell."""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path
from typing import Any

from ..models.options import add_model_options, asked_for
from .defaults import ARMS, QUESTION, ROUGE
from .errors import UnlearningError

#: Options that name a further model, and the argument of `unlearn` that they give.
MODELS = {"twin": "twin", "clean": "clean", "never_knew": "never_knew", "reference": "reference"}

#: Sets that no arm trains on.
LOOKED_AT = ("heldout", "holdout", "real_authors", "world_facts")
#: Training on the retain set; all weights rounded.
ATTACKS = ("relearn", "int8", "int4")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    add = parser.add_argument
    add("--forget", required=True, type=Path, help="what is to be forgotten: rows {text}, {prompt, answer} or TOFU's")
    add("--retain", required=True, type=Path, help="what is to stay, in the same layouts")
    add("--model", default="smollm2", help="smollm2, organism:<name>, a folder or a hub name (default: smollm2)")
    add(
        "--method",
        action="append",
        default=[],
        help=f"a method of lens.unlearning.METHODS; may be given several times (default: {', '.join(ARMS)})",
    )
    add("--out", type=Path, default=Path("unlearning"), help="folder of curves and report (default: unlearning)")
    add(
        "--twin", help="a model like this one that never had the forget set: forget quality and distance are against it"
    )
    add("--clean", help="the model before it read the forget set: restoration is towards it")
    add(
        "--never-knew", help="a model that had the documents but never the true facts: needed with rows that have right"
    )
    add("--reference", help="the frozen model of KL, NPO and RMU (default: the model itself)")
    add("--heldout", type=Path, help="the forget set's facts in another wording: the stopping rule reads them")
    add(
        "--holdout",
        type=Path,
        help="rows like the forget set's that no model has read: membership is told against them",
    )
    add("--real-authors", type=Path, help="TOFU's real authors, or rows like them with perturbed_answer: model utility")
    add("--world-facts", type=Path, help="TOFU's world facts, or rows like them with perturbed_answer: model utility")
    add(
        "--rouge",
        type=int,
        nargs="?",
        const=ROUGE,
        default=0,
        help="have answers written at every look and compare them by ROUGE-L; how many tokens, at most (default: none;"
        f" without a number {ROUGE})",
    )
    add("--attack", action="append", default=[], choices=ATTACKS, help="what each arm is put through at its end")
    add("--steps", type=int, default=50, help="of each arm (default: 50)")
    add("--batch", type=int, default=8, help="rows of a step, of each set (default: 8)")
    add("--learning-rate", type=float, default=1e-4, help="(default: 1e-4)")
    add("--lora", type=int, default=8, help="rank of the adapters; 0: all weights are trained (default: 8)")
    add("--targets", default="q_proj,v_proj", help="layers that get adapters (default: q_proj,v_proj)")
    add("--look", type=int, action="append", help="a finished step to look at; may be given several times")
    add("--question", default=QUESTION, help="in what TOFU's questions are asked")
    add("--near", type=float, default=0.8, help="share of n-grams from which two rows are the same (default: 0.8)")
    add("--most", type=int, default=200, help="items of each set that are looked at (default: 200)")
    add("--seed", type=int, default=0, help="of the order of rows and of what is drawn (default: 0)")
    add_model_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Read, unlearn, print, write."""
    from ..models import load
    from ..training import LoRA, Recipe
    from .attacks import quantise, relearn
    from .experiment import unlearn
    from .items import read
    from .questions import Questions
    from .reporting import last_looks, report

    options = asked_for(arguments)
    # with another attention than eager the plain Hugging Face model comes back, which is what is trained
    model = load(arguments.model, attn_implementation="sdpa", **options)
    sets = {
        name: read(path, model, name=f"--{name.replace('_', '-')}", question=arguments.question)
        for name in ("forget", "retain", *LOOKED_AT)
        if (path := getattr(arguments, name)) is not None
    }
    further: dict[str, Any] = {
        argument: load(getattr(arguments, option), attn_implementation="sdpa", **asked_for(arguments, which=False))
        for option, argument in MODELS.items()
        if getattr(arguments, option) is not None
    }
    forget = sets.pop("forget")
    questions = None
    if forget.right:
        questions = Questions(
            forget.prompts,
            [answer[0] for answer in forget.right],
            [answer[0] for answer in forget.answers],
            units=forget.unit_labels(),
        )
    recipe = Recipe(arguments.steps, arguments.batch, arguments.learning_rate, weight_decay=0.0, schedule="constant")
    done = {
        "relearn": lambda: relearn(sets["retain"]),
        "int8": lambda: quantise(8),
        "int4": lambda: quantise(4),
    }
    result = unlearn(
        model,
        forget,
        sets["retain"],
        arguments.method or ARMS,
        recipe=recipe,
        lora=LoRA(rank=arguments.lora, targets=_targets(arguments.targets)) if arguments.lora else None,
        looks=arguments.look,
        questions=questions,
        attacks={name: done[name]() for name in arguments.attack},
        near=arguments.near,
        most=arguments.most,
        seed=arguments.seed,
        on_part=lambda name: print(f"arm {name}: done", flush=True),
        rouge=arguments.rouge,
        **{name: sets.get(name) for name in LOOKED_AT},
        **further,
    )
    tables = report(result, arguments.out, command=command_of(), seed=arguments.seed)
    last, named = last_looks(result), tables["measures"]
    ends = named[[last.get(arm) == look for arm, look in zip(named.arm, named.look)]]
    wide = ends.pivot(index="arm", columns="measure", values="value").reindex(list(last))
    print(wide.round(3).to_string())
    for arm, status in zip(map(str, result.arm.values), map(str, result.status.values)):
        if status not in ("complete",):
            print(f"arm {arm}: {status}")
    print(f"report: {arguments.out / 'report.html'}")
    return 0


def _targets(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names:
        raise UnlearningError(f"--targets {text!r} names no layer; give names such as q_proj,v_proj, or --lora 0")
    return names


def command_of() -> str:
    """The command line that this process was called with."""
    return shlex.join(["lens", *sys.argv[1:]])
