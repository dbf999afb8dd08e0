"""What the injection bench asks of `lens.injection`, and its answers as the browser wants them, as static HTML and as
Python.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from lens import prompts, tokens
from widgets.base.tables import read_record
from widgets.base.text import finite
from widgets.errors import ViewError

#: where a memory is injected, in words
PLACES = {
    "all": "at every token",
    "not_first": "at all but the start token",
    "last": "at the last token",
    "subject": "at the subject’s tokens",
}
CONTROLS = {"shuffled": "another entity", "random_tokens": "random tokens", "random_direction": "a random direction"}
MOST_STRENGTHS = 60


@dataclass(frozen=True)
class Setting:
    """What is injected into which prompt, where and how strongly."""

    prompt: str
    memory: str
    answer: str
    subject: str
    encoder: str
    head: int
    positions: str
    relative: bool
    layer: int
    strength: float

    @property
    def encoding(self) -> dict[str, Any]:
        """Arguments of `lens.injection.encode`."""
        return {"encoder": self.encoder} | ({"heads": (self.head,)} if self.encoder == "head" else {})

    @property
    def where(self) -> dict[str, Any]:
        """Arguments of `lens.injection.next_tokens` and `generate`."""
        subject = {"subject": self.subject} if self.positions == "subject" else {}
        return (
            {"layers": self.layer, "strength": self.strength, "positions": self.positions}
            | subject
            | ({"relative": True} if self.relative else {})
        )

    def how(self) -> str:
        """Encoder and place in words."""
        head = f" (head {self.head})" if self.encoder == "head" else ""
        return (
            f"{self.encoder}{head},"
            f" {PLACES.get(self.positions, self.positions)}{', relative to the stream' if self.relative else ''}"
        )

    def what(self) -> str:
        """Everything about the injection in words."""
        return f"{self.memory!r} at layer {self.layer}, strength {self.strength:g}; {self.how()}"


@dataclass
class InjectionMap:
    """One map over layers and strengths with its control: the question, and the answer so far."""

    setting: Setting
    strengths: tuple[float, ...]
    control: str
    other: str = ""
    seed: int = 0
    explicit: str = ""
    more: dict[str, Any] = field(default_factory=dict)
    dataset: xr.Dataset | None = None
    status: str = "running"
    seconds: float = 0.0

    def items(self) -> list[dict[str, Any]]:
        """The fields of the items to sweep: with another entity as control a second one that is the same but for its
        memory.
        """
        s = self.setting
        first = {
            "prompt": s.prompt,
            "explicit": self.explicit or s.prompt,
            "memory": s.memory,
            "answer": s.answer,
            "subject": s.subject or None,
        }
        return (
            [first | {"label": "memory"}, first | {"memory": self.other, "label": "control"}]
            if self.control == "shuffled"
            else [first]
        )

    def call(self) -> dict[str, Any]:
        """The other arguments of `lens.injection.sweep`."""
        s = self.setting
        drawn = (
            {"controls": (), "seed": 0}
            if self.control == "shuffled"
            else {"controls": (self.control,), "seed": self.seed}
        )
        return (
            s.encoding
            | {"strengths": list(self.strengths), "positions": s.positions, "relative": s.relative}
            | drawn
            | self.more
        )

    def names(self) -> dict[str, tuple[int, str]]:
        """Which item and condition of the Dataset each map is."""
        assert self.dataset is not None
        if self.dataset.sizes["item"] == 2:
            return {"memory": (0, "memory"), "control": (1, "memory")}
        others = [str(c) for c in self.dataset["condition"].values if c != "memory"]
        return {"memory": (0, "memory")} | ({"control": (0, others[0])} if others else {})

    def pick(self, which: str, variable: str = "logprob") -> xr.DataArray:
        """One map's numbers, (layer, strength), layers ascending; `logprob` as its change against the unedited prompt,
        nats.
        """
        item, condition = self.names()[which]
        assert self.dataset is not None
        ds = self.dataset.isel(item=item).sel(condition=condition)
        values = ds[variable] - ds["multi_logprob"] if variable == "logprob" else ds[variable]
        return values.transpose("layer", "strength").sortby("layer")

    def layers_done(self) -> list[int]:
        """Layers that hold at least one number."""
        if self.dataset is None:
            return []
        done = self.dataset["logprob"].notnull().any([d for d in self.dataset["logprob"].dims if d != "layer"])
        return [int(layer) for layer in self.dataset["layer"].values[done.values]]

    def complete(self) -> bool:
        """Whether the Dataset says that nothing is missing."""
        return self.dataset is not None and read_record(self.dataset).get("status", self.status) == "complete"

    def control_text(self) -> str:
        """What stands in the control's map."""
        return (
            f"{CONTROLS['shuffled']}, {self.other}"
            if self.control == "shuffled"
            else f"{CONTROLS.get(self.control, self.control)}, seed {self.seed}"
        )

    def fields(self) -> dict[str, Any]:
        """What the fields were when this map was asked for; layer and strength are the map's own axes."""
        drawn = {"other": self.other} if self.control == "shuffled" else {"seed": self.seed}
        return (
            {k: v for k, v in asdict(self.setting).items() if k not in ("layer", "strength")}
            | {"control": self.control}
            | drawn
        )


def adopted(result: xr.Dataset) -> InjectionMap:
    """A stored sweep as a run. Raises ViewError for what is no injection sweep of one item, or does not say what it is
    of.
    """
    call = read_record(result).get("call", {})
    if not {"layer", "strength", "condition"} <= set(result.dims) or "multi_logprob" not in result:
        raise ViewError(f"result: has dimensions {tuple(result.sizes)}, expected what lens.injection.sweep returns")
    dataset = result if "item" in result.dims else result.expand_dims("item")
    own = "label" in dataset.coords and [str(x) for x in np.atleast_1d(dataset["label"].values)] == [
        "memory",
        "control",
    ]
    if dataset.sizes["item"] != 1 and not own:
        raise ViewError(f"result: holds {dataset.sizes['item']} items; choose one, for example result.isel(item=[0])")
    known, numbers = call.get("items") or [], [int(n) for n in dataset["item"].values]
    if max(numbers) >= len(known):
        raise ViewError("result: does not say which item it belongs to; give what lens.injection.sweep returned")
    item, others = known[numbers[0]], [str(c) for c in dataset["condition"].values if c != "memory"]
    heads, strengths = call.get("heads"), tuple(float(s) for s in dataset["strength"].values)
    head = heads[0] if isinstance(heads, list) and heads else int(heads or 0)
    layers = [int(x) for x in dataset["layer"].values]
    more = {k: call[k] for k, usual in (("start", "auto"), ("window", 1)) if call.get(k, usual) != usual} | (
        {"layers": layers} if sorted(layers) != list(range(len(layers))) else {}
    )
    setting = Setting(
        item["prompt"],
        item["memory"],
        item["answer"],
        item.get("subject") or "",
        call.get("encoder", "activation"),
        head,
        call.get("positions", "all"),
        bool(call.get("relative")),
        layers[len(layers) // 2],
        strengths[len(strengths) // 2],
    )
    run = InjectionMap(
        setting,
        strengths,
        "shuffled" if own else others[0] if others else "",
        known[numbers[1]]["memory"] if own else "",
        int(read_record(result).get("seed") or 0),
        item["explicit"],
        more,
        dataset,
        "complete",
        float(read_record(result).get("seconds") or 0),
    )
    run.status = "complete" if run.complete() else "stopped"
    return run


class Words:
    """The model's tokens as text. What a slider's move asks again is kept, as long as the tokenizer has no more
    tokens.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._kept: dict[tuple[Any, ...], Any] = {}

    def of(self, text: str) -> list[str]:
        """The tokens of a text."""
        return list(self._once(lambda t: tuple(tokens.token_strings(t, tokens.tokenize(t, text))), text))

    def answer(self, prompt: str, answer: str) -> list[tuple[int, str]]:
        """The tokens that the answer adds to the prompt; PromptError where it merges with the prompt's end."""

        def of(tokenizer: Any) -> list[tuple[int, str]]:
            before = tokens.tokenize(tokenizer, prompt)
            ids = prompts.continuation(tokenizer, prompt, before, answer, "answer", "prompt")
            return list(zip(ids, tokens.token_strings(tokenizer, ids), strict=True))

        return list(self._once(of, prompt, answer))

    def _once(self, of: Callable[[Any], Any], *asked: str) -> Any:
        tokenizer = tokens.tokenizer_of(self._model)
        key = (id(tokenizer), len(tokenizer), *asked)
        if key not in self._kept:
            if len(self._kept) >= 64:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = of(tokenizer)
        return self._kept[key]

    def names(self, ids: np.ndarray) -> list[str]:
        """A token's text for each id of an array, "" for NaN."""
        known = {
            i: tokens.token_strings(self._model, [i])[0] for i in {int(i) for i in ids.ravel() if math.isfinite(i)}
        }
        return [known[int(i)] if math.isfinite(i) else "" for i in ids.ravel()]


def live(found: Any, setting: Setting, answer: Sequence[tuple[int, str]], words: Words) -> dict[str, Any]:
    """The `live` trait of a `lens.injection.Distribution`; `answer` holds the answer's tokens, as `Words.answer` gives
    them.
    """
    memory = words.of(setting.memory) if setting.memory else []
    # the run holds the answer as well, all but its last token
    length = found.runs.lengths[0] - max(0, len(answer) - 1)
    notes = (
        [f"prompt {count(length)}{', the start token included' if length > len(words.of(setting.prompt)) else ''}"]
        + [f"memory {count(len(memory))}"] * bool(memory)
        + [f"answer {count(len(answer))}"] * bool(answer)
    )
    data = {
        "status": "ready",
        "notes": " · ".join(notes),
        "what": setting.what() if memory else "",
        "fields": asdict(setting),
        "before": _listed(found.before),
        "after": _listed(found.after) if memory else None,
        "text": "" if memory else "Give a memory to inject.",
        "memory_tokens": [*memory, *words.of(" " + setting.memory)] if memory else [],
        "answer": None,
        "kl": finite(found.kl) if memory else None,
    }
    if answer:
        first, name = answer[0]

        def changes(before, after):
            return dict(zip(("before", "after", "change"), _changes(before, after if memory else None), strict=True))

        data["answer"] = {
            "text": setting.answer,
            "token": name,
            "tokens": len(answer),
            **changes(found.answer_before, found.answer_after),
            "first": changes(found.logprobs_before[first], found.logprobs_after[first]),
        }
    return data


def _changes(before: Any, after: Any) -> tuple[float | None, float | None, float | None]:
    """Both log-probabilities and their difference, nats; None where one is missing or not finite."""
    before, after = finite(before), None if after is None else finite(after)
    return before, after, None if before is None or after is None else finite(after - before)


def _listed(pairs: Sequence[tuple[str, float]]) -> list[list[Any]]:
    return [[str(token), float(p) if math.isfinite(p) else 0.0] for token, p in pairs]


def count(n: int) -> str:
    return f"{n} token{'' if n == 1 else 's'}"


def glued(setting: Setting) -> str:
    """A warning where the answer, for want of a space, goes on with the prompt's last word."""
    before, after = setting.prompt[-1:], setting.answer[:1]
    if (before + after).isascii() and before.isalnum() and after.isalnum():
        return (
            "The answer begins without a space, so it is read as the end of the prompt’s last word; write"
            f" {' ' + setting.answer!r}."
        )
    return ""


def strengths_in(text: str) -> tuple[float, ...]:
    """The strengths that a person typed: numbers and first:last:step ranges (last included), between commas or spaces.

    >>> strengths_in("-1:1:0.5, 4")
    (-1.0, -0.5, 0.0, 0.5, 1.0, 4.0)
    """
    found: list[float] = []
    for part in text.replace(",", " ").replace("\N{MINUS SIGN}", "-").split():
        try:
            ends = [float(x) for x in part.split(":")]
        except ValueError:
            ends = []
        if not 1 <= len(ends) <= 3 or not all(math.isfinite(x) for x in ends):
            raise ViewError(
                f"strengths: {part!r} is neither a number nor first:last:step, for example 1, 2.5, 4 or -2:8:1"
            )
        first, last, step = (*ends, 1.0) if len(ends) == 2 else ends if len(ends) == 3 else (ends[0], ends[0], 1.0)
        steps = (last - first) / step if step else -1.0
        if steps < 0:
            raise ViewError(f"strengths: {part!r} never reaches its end; write first:last:step, for example -2:8:1")
        if steps > MOST_STRENGTHS:
            raise ViewError(
                f"strengths: {part!r} is {math.floor(steps + 1)} strengths; a map shows at most {MOST_STRENGTHS}, take"
                " a larger step"
            )
        found += [round(first + step * i, 9) + 0.0 for i in range(math.floor(steps + 1e-9) + 1)]
    once = tuple(dict.fromkeys(found))
    if not once or len(once) > MOST_STRENGTHS:
        raise ViewError(f"strengths: {len(once)} are given, expected 1 to {MOST_STRENGTHS}, for example -2:8:1")
    return once


def payload(run: InjectionMap, model: str, words: Words) -> dict[str, Any]:
    """The `map` trait: labels as JSON, changes of the answer's log-probability as float32 buffers (layer, strength),
    NaN where not computed.
    """
    assert run.dataset is not None
    names = run.names()
    maps = {which: run.pick(which) for which in names}
    data: dict[str, Any] = {
        "model": model,
        "shape": list(maps["memory"].shape),
        "rows": [int(x) for x in maps["memory"]["layer"].values],
        "columns": [float(x) for x in maps["memory"]["strength"].values],
        "base": finite(run.dataset["multi_logprob"].values[0]),
        "single": (
            finite(run.dataset["single_logprob"].values[0]) if run.explicit not in ("", run.setting.prompt) else None
        ),
        "explicit": run.explicit,
        "answer": run.setting.answer,
        "memory_name": run.setting.memory,
        "control_name": run.other or CONTROLS.get(run.control, run.control),
        "control_what": run.control_text() if "control" in names else "",
        "what": run.setting.how(),
        "axis": "strength (× residual RMS)" if run.setting.relative else "strength",
        "complete": run.complete(),
        "fields": run.fields(),
    }
    for which, values in maps.items():
        data |= {
            which: np.ascontiguousarray(values.values, dtype="<f4").tobytes(),
            f"{which}_top": words.names(run.pick(which, "top").values),
        }
    return data
