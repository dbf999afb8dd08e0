"""How long reasoning is, how often it ends, and how often it is right, under several arms; arms at equal length."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import xarray as xr

from ..arguments import Draws, Filled, HFModel, Name, NonNegative, Seed, Share, Token, door, truth
from ..engine.model import Model
from ..engine.sessions import of_one_model
from ..engine.writing.call import generate as write_on
from ..notices import warn
from ..results import dataset as results
from ..results.record import record_of
from ..stats import at_equal_cost, mean_interval
from .errors import VectorError
from .thoughts import ThoughtTypes, thought_segments

#: What an arm may say, of the arguments of `lens.generate`.
ARM = ("edits", "bias", "schedule", "max_new_tokens", "stop")
#: More chains than this that meet the cap, and accuracy is an accuracy of short chains.
CUT = 0.2


@door(VectorError)
@of_one_model(reads=False)
def thought_lengths(
    model: HFModel,
    prompts: Annotated[Sequence[Any], Filled()],
    right: Callable[[int, Any], bool],
    arms: Annotated[Mapping[str, Mapping[str, Any]], Filled()],
    types: ThoughtTypes | None = None,
    *,
    max_new_tokens: Draws = 256,
    temperature: NonNegative = 0.0,
    level: Share = 0.95,
    seed: Seed = 0,
    start: Token | None = "auto",
    progress: bool | None = None,
    stop: Callable[[], bool] | None = None,
) -> results.Result:
    """Length, end, accuracy and thoughts of what is written to each prompt under each arm; decoding is the same in all.

    Args:
        right: of a prompt's number and the text written to it, whether the answer is right; a text that did not end is
            asked too.
        arms: by name what `lens.generate` is given beside the prompts: edits, bias, schedule, max_new_tokens, stop; see
            `thought_rivals`.
        types: how the texts are cut; None: between blank lines, by the words of `ThoughtTypes`.
        max_new_tokens: the cap of arms that name none. temperature: of all arms; each prompt's draws have a stream of
            their own, which is the same in every arm.
        stop: asked before every token; True ends with a partial result of the arms that are whole.

    Returns: a result over ``arm, item``: ``tokens`` (new ones), ``right``, ``finished`` (not cut by the cap), and
        ``thoughts`` over ``type`` too; over ``arm``: ``mean_tokens``, ``accuracy``, ``finished_share`` with ``_low``
        and ``_high`` over prompts (NaN for one prompt), and ``accuracy_finished``, of the chains that ended (NaN where
        none did). The texts are the label ``text``.

    Raises: VectorError: an arm of other arguments; arms that decode differently.

    Warns of an arm of which more than a fifth of the chains meet the cap.
    """
    types = types or ThoughtTypes()
    for name, arm in arms.items():
        if unknown := [key for key in arm if key not in ARM]:
            raise VectorError(
                f"arms[{name!r}] has {unknown[0]!r}, and an arm says of generation only {', '.join(ARM)}; temperature"
                " and seed are those of the whole call, so that all arms decode alike."
            )
        if stop is not None and arm.get("stop"):
            raise VectorError(
                f"arms[{name!r}] has stop texts, and stop= is a function; generation takes one of both: leave one out."
            )
    names, written = list(arms), []
    for arm in arms.values():
        asked = {"max_new_tokens": max_new_tokens, **arm}
        ends = asked.pop("stop", ())
        texts = write_on(
            model,
            list(prompts),
            stop=stop if stop is not None else ends,
            temperature=temperature,
            seed=seed,
            start=start,
            progress=progress,
            **asked,
        )
        if not all(text.complete for text in texts):
            break
        written.append(texts)
    done = names[: len(written)]
    shape = (len(written), len(prompts))
    tokens, ok, ended = (np.zeros(shape, np.float32) for _ in range(3))
    thoughts = np.zeros((*shape, len(types.names)), np.float32)
    for a, texts in enumerate(written):
        table = thought_segments(model, prompts, texts, types, start=start)
        counts = table.groupby(["text", "type"]).size()
        for i, text in enumerate(texts):
            tokens[a, i], ended[a, i] = len(text.ids), text.reason != "length"
            ok[a, i] = truth(right(i, text), f"right({i}, text)", VectorError)
            thoughts[a, i] = [counts.get((i, kind), 0) for kind in types.names]
        if ended[a].mean() < 1 - CUT:
            warn(
                f"arm {done[a]!r}: {1 - ended[a].mean():.0%} of the chains meet the cap; accuracy there is also one of"
                " short chains. Raise max_new_tokens, or read accuracy_finished."
            )
    data: dict[str, Any] = {
        "tokens": (("arm", "item"), tokens, {"units": "tokens"}),
        "right": (("arm", "item"), ok),
        "finished": (("arm", "item"), ended),
        "thoughts": (("arm", "item", "type"), thoughts),
    }
    for name, values, kind in (
        ("mean_tokens", tokens, "number"),
        ("accuracy", ok, "share"),
        ("finished_share", ended, "share"),
    ):
        bounds = np.full((len(values), 2), np.nan)
        if len(prompts) > 1:
            for a, row in enumerate(values):
                told = mean_interval(row, level=level, values=kind, seed=seed)
                bounds[a] = float(told.low), float(told.high)
        data[name] = ("arm", np.asarray(values, float).mean(1))
        data |= {f"{name}{end}": ("arm", bounds[:, k]) for k, end in enumerate(("_low", "_high"))}
    with np.errstate(invalid="ignore"):
        data["accuracy_finished"] = ("arm", (ok * ended).sum(1) / np.where(ended.sum(1) > 0, ended.sum(1), np.nan))
    coords = {
        "arm": done,
        "item": range(len(prompts)),
        "type": types.names,
        "text": (
            ("arm", "item"),
            np.array([[str(text) for text in texts] for texts in written], dtype=str).reshape(shape),
        ),
    }
    call = {
        "arms": {name: {key: repr(value)[:200] for key, value in arm.items()} for name, arm in arms.items()},
        "separator": types.separator,
        "types": {name: list(words) for name, words in types.types.items()},
        "max_new_tokens": int(max_new_tokens),
        "temperature": float(temperature),
        "level": level,
    }
    record = record_of(
        model, Model.of(model), "thought lengths", call, seed=seed, status="complete" if done == names else "partial"
    )
    return results.stamp(xr.Dataset(data, coords), record)


@door(VectorError)
def equal_length(
    lengths: xr.Dataset,
    arm: Name,
    rivals: Annotated[Sequence[str], Filled()],
    *,
    finished: bool = False,
    level: Share = 0.95,
    resamples: Draws = 2000,
    seed: Seed = 0,
) -> Any:
    """How much more accurate one arm is than a rival that writes as many tokens: a `lens.stats.Interval`.

    Args:
        lengths: of `thought_lengths`. rivals: arms that are one rival at several sizes, such as penalties of 0, 1, 2
            and 4 ("none" is one of size 0); its accuracy is taken between the two whose mean lengths are around the
            arm's.
        finished: length and accuracy of a prompt's chain count only where no arm was cut by the cap.

    Returns: see `lens.stats.at_equal_cost`, which says where no rival is as long.

    Raises: VectorError: an arm that is not there.
    """
    for name in (arm, *rivals):
        if name not in lengths.arm.values:
            raise VectorError(f"arm={name!r} is not in lengths, which has {', '.join(map(str, lengths.arm.values))}.")
    of = lengths.sel(arm=[arm, *rivals])
    if finished:
        of = of.isel(item=np.flatnonzero(of.finished.values.all(0)))
        if not of.sizes["item"]:
            raise VectorError(
                "finished=True: there is no prompt to which every arm's chain ended; raise max_new_tokens."
            )
    tokens, right = of.tokens.values.astype(float), of.right.values.astype(float)
    return at_equal_cost(tokens[0], right[0], tokens[1:], right[1:], level=level, resamples=resamples, seed=seed)
