"""An unlearning experiment: every arm's path beside its controls, in one result."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import xarray as xr
from tqdm.auto import tqdm

from ..arguments import Count, FilePath, Filled, HFModel, Portion, Positive, Seed, Size, door
from ..engine.changes import edits_in_force
from ..engine.sessions import of_one_model
from ..models import weight_hash
from ..progress import hidden
from ..results import dataset as results
from ..results.record import Plainly, record_of
from ..scoring.causal import inner, plain
from ..training import LoRA, Recipe
from ..training.copies import copy_of
from .arms import AFTER, MODELS, Arm, arms_of
from .attacks import Attack
from .defaults import ARMS
from .errors import UnlearningError
from .items import Items
from .kept import Kept, hold
from .looks import Looker, Sets, foils_of, require_chosen, require_fitting
from .overlaps import require_apart
from .paths import Path, Start, path_of
from .questions import CLASSES, Questions
from .reference import require_same_vocabulary

#: What tells guessing from knowing, as the record says it.
MODEL_CONTROL = "a model that never knew"
FOIL_CONTROL = "foils: the forget set's prompts with answers of other rows"
RECIPE = Recipe(steps=50, batch=8, learning_rate=1e-5, weight_decay=0.0, warmup=5, schedule="constant")


@door(UnlearningError)
@of_one_model(reads=False)
def unlearn(
    model: HFModel,
    forget: Items,
    retain: Items,
    arms: Annotated[Sequence[str | Arm], Filled()] = ARMS,
    *,
    recipe: Recipe = RECIPE,
    lora: LoRA | None = None,
    looks: Sequence[Size] | None = None,
    questions: Questions | None = None,
    never_knew: HFModel | None = None,
    twin: HFModel | None = None,
    clean: HFModel | None = None,
    reference: HFModel | None = None,
    heldout: Items | None = None,
    holdout: Items | None = None,
    real_authors: Items | None = None,
    world_facts: Items | None = None,
    rouge: Size = 0,
    attacks: Mapping[str, Attack] | None = None,
    near: Portion = 0.8,
    most: Count = 200,
    memory_mb: Positive = 2000,
    seed: Seed = 0,
    folder: FilePath | None = None,
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
    on_part: Callable[[str], None] | None = None,
    on_model: Callable[[str, Any], None] | None = None,
) -> xr.Dataset:
    """Walk every arm's path from one model and look at each along the way, beside the models that it is compared with.
    No given model is changed. Training on the retain set alone is always an arm.

    Args:
        forget, retain: what is to go and what is to stay; their answers are trained on.
        arms: names of `METHODS`, or an `Arm` each.
        recipe, lora: of every arm that has none of its own. The order of rows is drawn from both seeds.
        looks: finished steps to look at; the start and the end always.
        questions: what is asked where false statements were planted: needed for restoration.
        never_knew: a model that had the forget set's documents but never the true facts: how much of "right" is
            guessing. Compulsory with `questions`.
        twin: a model like this one that never had the forget set: what unlearning is to arrive at. clean: the model
            before it read the forget set. reference: frozen, for KL, NPO and RMU; None: the model itself.
        heldout: the forget set's facts in another wording, which no arm trains on: the stopping rule reads them.
        holdout: rows like the forget set's that no model has read: membership is told against them.
        real_authors, world_facts: TOFU's further sets, or sets like them: what any model may know, with wrong answers
            (`perturbed`). They enter `measures`' model utility.
        rouge: tokens written at most in answer to each prompt of the forget, the retain and these sets, at every look,
            and compared with the answer by ROUGE-L (OpenUnlearning: 200); 0: none. Cost: a forward a token, so that
            this is most of a look.
        attacks: what is done to a copy of each model and of each arm's last one, by name, as `relearn` and `quantise`
            give it; what comes of it is an arm of its own, "npo after relearn".
        near: share of n-grams from which two rows are the same, see `overlap`. most: items of each set that are looked
            at, drawn by the seed.
        folder: where arms that have ended are kept; the same call goes on with the next. Arms of edits, or whose
            parameters a function chooses, are walked anew.
        on_part: told the name of each arm when it has ended. on_model: told each arm's name and its last model, which
            is not kept.

    Returns: over `arm, look`: `dose` and, by set, `forget_logprob`, `retain_logprob`, `foil_logprob`, ... (nats a
        token), `forget_min_k`, `forget_truth_ratio`, `forget_rouge` and their like over the set's own axis (of
        real authors `ra`, of world facts `wf`); with questions `outcome`
        (a number of `unlearning.CLASSES`; -1 where there is no look), `p_right`, `p_planted`, `rank`, `log_odds`,
        `kl_twin` over `question`. `status` over `arm`. The first arms are the models: "start", and "clean", "twin",
        "never_knew" where they are given, with one look each.

    Raises: UnlearningError: sets that overlap (listed), a model of another vocabulary, a missing control, a folder of
        another experiment. lens.locks.Busy: another is at work in the folder.
    """
    chosen = arms_of(arms)
    if questions is not None and never_knew is None:
        raise UnlearningError(
            "never_knew=None with questions: a right answer may be a guess; give the model that had the documents but"
            " never the true facts."
        )
    require_apart(forget, retain, near)
    require_chosen(real_authors, "real_authors")
    require_chosen(world_facts, "world_facts")
    models = {"start": model, "clean": clean, "twin": twin, "never_knew": never_knew}
    for name, other in [*models.items(), ("reference", reference)]:
        if other is not None and other is not model:
            require_same_vocabulary(model, other, name)

    def some(of: Items | None) -> Items | None:
        return None if of is None else of.sample(most, seed)

    sets = Sets(
        forget.sample(most, seed),
        retain.sample(most, seed),
        foils_of(forget.sample(most, seed), seed),
        some(heldout),
        some(holdout),
        questions,
        some(real_authors),
        some(world_facts),
        rouge,
    )
    require_fitting(model, {**sets.items(), "forget": forget, "retain": retain})
    looker, began, paths = Looker(sets, twin, model), time.perf_counter(), dict[str, Path]()
    frozen = plain(model if reference is None else reference)
    start = Start(model, forget, retain, frozen, recipe, lora, looks, seed, memory_mb, False, stop)
    call = {
        "arms": {arm.name: _described(arm, recipe, lora) for arm in chosen},
        "sets": {name: {"n": len(of), "sha256": _hash(of)} for name, of in sets.items().items()},
        "trained": {"forget": forget.rows().sha256(), "retain": retain.rows().sha256()},
        "questions": None if questions is None else {"n": len(questions), "sha256": _hash(questions)},
        "never_knew_control": MODEL_CONTROL if never_knew is not None else FOIL_CONTROL,
        "looks": None if looks is None else list(looks),
        "attacks": {name: _identity(attack) for name, attack in (attacks or {}).items()},
        "near": near,
        "most": most,
        "rouge": rouge,
        "models": {n: weight_hash(m) for n, m in {**models, "reference": reference}.items() if m is not None},
    }
    core = plain(model)
    record = record_of(model, Plainly(core, core.dtype, core.device), "unlearning", call, seed=seed)
    walk = _Walk(looker, dict(attacks or {}), on_model)
    with (
        hold(folder),
        tqdm(total=len(chosen), desc="unlearning", unit="arm", delay=2.0, leave=False, disable=hidden(progress)) as bar,
    ):
        kept = Kept(folder, {"call": call, "model": record["model"], "seed": seed})
        for name, of in models.items():
            if of is not None:
                paths |= walk.model(name, of)
        for arm in chosen:
            lasting = arm.method is not None and not callable(arm.parameters)
            found = kept.arm(arm.name) if lasting and on_model is None else None
            if found is None:
                found = {arm.name: Path()} if stop is not None and stop() else walk.arm(arm, start)
                if lasting:
                    kept.keep(arm.name, found)
            paths |= found
            bar.update()
            if on_part is not None:
                on_part(arm.name)
    whole = all(path.status in ("complete", "diverged") for path in paths.values())
    record |= {"status": "complete" if whole else "partial", "seconds": round(time.perf_counter() - began, 3)}
    return results.stamp(assembled(paths, sets), record)


@dataclass(eq=False)
class _Walk:
    """Looks at models and arms, and puts what each ends as through the attacks."""

    looker: Looker
    attacks: dict[str, Attack]
    on_model: Callable[[str, Any], None] | None

    def model(self, name: str, of: Any) -> dict[str, Path]:
        """A model as it is, and attacked."""
        return {name: Path([0.0], [self.looker.look(of)], "complete"), **self.attacked(name, of, 0.0)}

    def arm(self, arm: Arm, start: Start) -> dict[str, Path]:
        """An arm's path, and its last model attacked."""
        behind: dict[str, Path] = {}

        def end(of: Any, dose: float) -> None:
            behind.update(self.attacked(arm.name, of, dose))
            if self.on_model is not None:
                self.on_model(arm.name, of)

        return {arm.name: path_of(arm, start, self.looker, end), **behind}

    def attacked(self, name: str, of: Any, dose: float) -> dict[str, Path]:
        """What comes of each attack on a copy; nothing of a model under edits of activations, which a copy lacks."""
        if edits_in_force(inner(of)):
            return {}
        return {
            f"{name}{AFTER}{attack}": Path([dose], [self.looker.look(do(copy_of(of)))], "complete")
            for attack, do in self.attacks.items()
        }


def _identity(attack: Attack) -> str:
    """An attack as a record tells it."""
    own = getattr(attack, "identity", "")
    return str(own) or f"{getattr(attack, '__module__', '')}.{getattr(attack, '__qualname__', type(attack).__name__)}"


def _hash(of: Items | Questions) -> str:
    """Of everything that a set holds: not of the texts alone, on which the steps depend, but of all that looks read."""
    return results.fingerprint({field.name: getattr(of, field.name) for field in dataclasses.fields(of)})


def _described(arm: Arm, recipe: Recipe, lora: LoRA | None) -> dict[str, Any]:
    if arm.method is None:
        return {"edits": [float(dose) for dose in sorted(arm.edits or {})]}
    own = arm.lora or lora
    return {
        "method": arm.method.name,
        "options": dict(arm.method.options),
        "recipe": dataclasses.asdict(arm.recipe or recipe),
        "lora": None if own is None else dataclasses.asdict(own),
        "parameters": None if arm.parameters is None or callable(arm.parameters) else sorted(arm.parameters),
    }


def assembled(paths: Mapping[str, Path], sets: Sets) -> xr.Dataset:
    """One Dataset of all paths; NaN (outcomes: -1) where an arm has no look."""
    names, longest = list(paths), max(1, *(len(p.doses) for p in paths.values()))
    dose = np.full((len(names), longest), np.nan)
    arrays: dict[str, np.ndarray] = {}
    axes = {name: name for name in sets.items()}
    for a, path in enumerate(paths.values()):
        dose[a, : len(path.doses)] = path.doses
        for k, values in enumerate(path.looks):
            for name, value in values.items():
                if name not in arrays:
                    empty = -1 if name == "outcome" else np.nan
                    kind = np.int8 if name == "outcome" else np.float64
                    arrays[name] = np.full((len(names), longest, len(value)), empty, kind)
                arrays[name][a, k] = value
    coords: dict[str, Any] = {"arm": names, "look": np.arange(longest)}
    coords["is_model"] = ("arm", [name.split(AFTER)[0] in MODELS for name in names])
    for name, items in sets.items().items():
        coords[f"entity_{name}"] = (name, items.unit_labels())
    if sets.questions is not None:
        coords["entity_question"] = ("question", sets.questions.unit_labels())
        coords["attacked"] = ("question", sets.questions.is_attacked())
    variables: dict[str, Any] = {
        name: (("arm", "look", axes.get(name.split("_")[0], "question")), value) for name, value in arrays.items()
    }
    variables["dose"] = (("arm", "look"), dose)
    variables["status"] = ("arm", [path.status for path in paths.values()])
    variables["seconds"] = ("arm", [path.seconds for path in paths.values()])
    ds = xr.Dataset(variables, coords)
    if "outcome" in ds:
        ds.outcome.attrs["classes"] = ", ".join(CLASSES)
    return ds
