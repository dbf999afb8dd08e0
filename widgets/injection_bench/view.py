"""InjectionBench: a memory injected by hand, its effect read at once, and every layer and strength mapped beside a
control.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

import traitlets
import xarray as xr

from lens import injection
from lens.arguments import HFModel, Index, Real, door
from widgets.base import state
from widgets.base.assets import script, style
from widgets.base.model_line import describe_model
from widgets.errors import ViewError
from widgets.injection_bench import copy, work
from widgets.injection_bench.examples import examples
from widgets.injection_bench.work import CONTROLS, PLACES, InjectionMap, Setting
from widgets.injection_bench.writing import WritingView

ENCODERS = ("activation", "unembed", "embed", "head")
EMPTY = "Nothing had been injected when this notebook was stored."
MEMORIES = 64  # encoded memories kept
MOST_ITEMS = 1000  # offered to choose from


class InjectionBench(WritingView):
    """Type a prompt and a memory, move layer and strength, and watch the next token; map every layer and strength
    beside a control.

    The traits are the state that Python and the browser share:

    - the question: `prompt`, `memory`, `answer` (with its leading space; optional for the lists), `subject` (words of
      the prompt), `encoder` (activation, unembed, embed, head), `head`, `positions` (all, not_first, last, subject),
      `relative`, `layer`, `strength`;
    - the map's question besides: `strengths` (text, such as "-2:8:1"), `control` (shuffled: `other`; random_tokens or
      random_direction: `seed`);
    - the answers: `live` (the next token and the whole answer without and with the injection), `status` (idle, running,
      stopping, complete, stopped, error), `progress`, `error`, `map` (labels and float32 buffers), `generation`,
      `code`, `saved`; `new_tokens` is how many to generate.

    `item` fills the fields from a `lens.injection.Item`, `items` (several, or the name of a data set) offers some to
    choose from; `result` is what `lens.injection.sweep` returned for one item, shown at once. `run()`, `stop()`,
    `generate()` and `stop_generation()` do what the buttons do, `result` gives the map's Dataset, and `wait()` blocks
    until everything asked for is there. Raises ViewError on an unknown encoder or place, a layer out of range, a result
    of several items.
    """

    _esm = script("injection_bench")
    _css = style("injection_bench")

    prompt = traitlets.Unicode().tag(sync=True)
    memory = traitlets.Unicode().tag(sync=True)
    answer = traitlets.Unicode().tag(sync=True)
    subject = traitlets.Unicode().tag(sync=True)
    encoder = traitlets.Enum(ENCODERS, "activation").tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    positions = traitlets.Enum(tuple(PLACES), "all").tag(sync=True)
    relative = traitlets.Bool(False).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    strength = traitlets.Float(2.0).tag(sync=True)
    items: traitlets.List[Any] = traitlets.List().tag(sync=True)

    strengths = traitlets.Unicode("-2:8:1").tag(sync=True)
    control = traitlets.Enum(tuple(CONTROLS), "random_tokens").tag(sync=True)
    other = traitlets.Unicode().tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    live = traitlets.Dict().tag(sync=True)
    map = traitlets.Dict().tag(sync=True, echo_update=False)

    _titles: ClassVar[dict[str, str]] = {
        "PromptError": "The prompt and the answer do not fit together",
        "InjectionError": "This cannot be injected",
        "ViewError": "Something is missing",
    }
    _begins = "The unedited run …"
    _live = tuple(Setting.__dataclass_fields__)
    _fields = (*_live, "strengths", "control", "other", "seed", "new_tokens")
    _typed = ("prompt", "memory", "answer", "subject")
    _asked_traits = _fields
    _answer_traits = ("generation", "live", "status", "progress")

    @door(ViewError)
    def __init__(
        self,
        model: HFModel,
        prompt: str | None = None,
        memory: str | None = None,
        answer: str | None = None,
        item: Any = None,
        items: Sequence[Any] | str | None = None,
        result: xr.Dataset | None = None,
        *,
        subject: str | None = None,
        layer: Index | None = None,
        strength: Real = 2.0,
        encoder: str = "activation",
        positions: str = "all",
        _next: Callable[..., Any] | None = None,
        _sweep: Callable[..., xr.Dataset] | None = None,
        _generate: Callable[..., str] | None = None,
        _encode: Callable[..., Any] | None = None,
        _words: Any = None,
    ) -> None:
        info = describe_model(model)
        for name, value, allowed in (("encoder", encoder, ENCODERS), ("positions", positions, tuple(PLACES))):
            if value not in allowed:
                raise ViewError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
        if layer is not None and info["layers"] and not 0 <= layer < info["layers"]:
            raise ViewError(
                f"layer: {layer} is out of range for {info['name']}, which has {info['layers']} of them (0 to"
                f" {info['layers'] - 1})"
            )
        self.model = model
        self._next_tokens, self._make, self._write = (
            _next or injection.next_tokens,
            _sweep or injection.sweep,
            _generate or injection.generate,
        )
        self._encode, self._words = _encode or injection.encode, _words or work.Words(model)
        self._choices, self._item = (
            list(injection.load_items(items) if isinstance(items, str) else items or ())[:MOST_ITEMS],
            None,
        )
        self._memories: dict[tuple, Any] = {}
        self._unedited: tuple[tuple[str, str], Any] | None = None
        self._answered: Setting | None = None
        super().__init__(
            model_info=info,
            layer=round(0.6 * (info["layers"] - 1)) if layer is None else layer,
            strength=strength,
            encoder=encoder,
            positions=positions,
            items=[f"{i.memory} → {i.answer.strip()} · {i.prompt}" for i in self._choices],
        )
        if result is not None:
            self._adopt(result)
        elif item is not None or (self._choices and prompt is None):
            self._take(item or self._choices[0])
        self.publish(
            **{
                name: value
                for name, value in (("prompt", prompt), ("memory", memory), ("answer", answer), ("subject", subject))
                if value is not None
            }
        )
        self.observe(self._on_setting, list(self._live))
        self.observe(lambda _: self._refresh_code(), [*self._fields[len(self._live) :], "generation"])
        self._on_setting(None)
        if not self._choices:
            self._offer(examples())
        if _sweep is None:
            self._worker.quick("hash", self._hash)

    # --- the next token, at once

    def _now(self) -> Setting:
        with self._guard:
            return Setting(**{name: getattr(self, name) for name in self._live})

    def _on_setting(self, _change: Any) -> None:
        if not self.live.get("before"):
            self.publish(
                live={
                    "status": "running" if self.prompt.strip() else "empty",
                    "text": (
                        "Type a prompt, and the memory that it lacks: the next token is shown without and with it."
                        * (not self.prompt.strip())
                    ),
                }
            )
        self._refresh_code()
        self._worker.quick("live", self._read)

    def _read(self) -> None:
        setting = self._now()
        if setting == self._answered:
            return  # several changes that came together are one question
        if not setting.prompt.strip():
            self._answered = setting
            self.publish(
                live={
                    "status": "empty",
                    "text": "Type a prompt, and the memory that it lacks: the next token is shown without and with it.",
                }
            )
            return
        try:
            asked, answer = (
                (setting.prompt, setting.answer),
                (self._words.answer(setting.prompt, setting.answer) if setting.answer else []),
            )
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                found = self._next_tokens(
                    self.model,
                    setting.prompt,
                    self._memory(setting) if setting.memory else None,
                    k=10,
                    answer=setting.answer or None,
                    runs=self._unedited[1] if self._unedited and self._unedited[0] == asked else None,
                    **(setting.where if setting.memory else {}),
                )
            self._unedited = (asked, found.runs)
            warned = [str(w.message) for w in caught if issubclass(w.category, UserWarning)]
            data = work.live(found, setting, answer, self._words) | {
                "warning": " ".join(filter(None, [*warned, work.glued(setting)]))
            }
        except BaseException as error:  # half-typed fields are the normal case here
            data = {
                "status": "error",
                "title": self._title(error),
                "text": str(error) or type(error).__name__,
                "fields": asdict(setting),
            }
        self._answered = setting
        self.publish(live=data)
        self._refresh_static_soon()

    def _memory(self, setting: Setting) -> Any:
        """The memory's vectors; those of the last questions are kept. Runs in the worker thread."""
        key = (setting.memory, *setting.encoding.values())
        if key not in self._memories:
            if len(self._memories) >= MEMORIES:
                del self._memories[next(iter(self._memories))]
            self._memories[key] = self._encode(self.model, setting.memory, **setting.encoding)
        return self._memories[key]

    # --- the map

    def _question(self) -> InjectionMap:
        setting, explicit = self._now(), ""
        for name in ("prompt", "memory", "answer"):
            if not getattr(setting, name).strip():
                raise ViewError(f"{name}: is empty; the map needs a prompt, a memory and an answer")
        if self.control == "shuffled" and not self.other.strip():
            raise ViewError(
                "other entity: is empty; name one, for example one of the same kind as the memory, or choose another"
                " control"
            )
        if self.control == "shuffled" and self.other.strip().lower() == setting.memory.strip().lower():
            raise ViewError(f"other entity: {self.other!r} is the memory itself; name another one")
        if self._item is not None and (self._item.prompt, self._item.memory, self._item.answer) == (
            setting.prompt,
            setting.memory,
            setting.answer,
        ):
            explicit = self._item.explicit
        elif setting.subject and setting.subject in setting.prompt:
            explicit = setting.prompt.replace(setting.subject, setting.memory, 1)
        return InjectionMap(setting, work.strengths_in(self.strengths), self.control, self.other, self.seed, explicit)

    def _compute(
        self, run: InjectionMap, stop: Callable[[], bool], on_part: Callable[[xr.Dataset], None]
    ) -> xr.Dataset:
        items = [injection.Item(**fields) for fields in run.items()]
        return self._make(self.model, items, progress=False, stop=stop, on_part=on_part, **run.call())

    def _publish_run(self, run: InjectionMap) -> None:
        self.publish(map=work.payload(run, self.model_info["name"], self._words))

    def _adopt(self, result: xr.Dataset) -> None:
        """Show a stored Dataset as the map, and fill the fields with what it is of."""
        run = work.adopted(result)
        fields = asdict(run.setting) | run.fields()
        self.publish(
            **{
                k: v
                for k, v in fields.items()
                if not isinstance(t := self.traits()[k], traitlets.Enum) or v in (t.values or ())
            },
            strengths=", ".join(f"{s:g}" for s in run.strengths),
            status=run.status,
        )
        self._show(run, progress=self._progress(run))

    def _take(self, item: Any) -> None:
        """Fill the fields from an item; as control another one's memory, where there is one."""
        others = [
            i.memory
            for i in self._choices
            if i.memory.lower() not in (item.memory.lower(), item.answer.strip().lower())
        ]
        control = (
            {
                "control": "shuffled",
                "other": others[(self._choices.index(item) if item in self._choices else 0) % len(others)],
            }
            if others
            else {}
        )
        positions = {} if item.subject or self.positions != "subject" else {"positions": "all"}
        self._item = item
        with self._guard:
            self.publish(
                prompt=item.prompt,
                memory=item.memory,
                answer=item.answer,
                subject=item.subject or "",
                **control,
                **positions,
            )

    def _take_example(self, fields: Mapping[str, Any]) -> None:
        with self._guard:
            self.publish(**fields)

    def _more_state(self) -> dict[str, Any]:
        result = self.result
        return {} if result is None else {"map": state.pack(result)}

    def _take_more(self, more: dict[str, Any]) -> None:
        if "map" in more:
            self._adopt(state.unpack(more["map"]))

    # --- what the browser asks for

    def _commands(self) -> dict[str, Callable[[dict], None]]:
        return super()._commands() | {
            "generate": lambda _: self.generate(),
            "stop_generation": lambda _: self.stop_generation(),
            "item": self._on_item,
        }

    def _on_item(self, message: dict) -> None:
        if isinstance(index := message.get("index"), int) and 0 <= index < len(self._choices):
            self._take(self._choices[index])

    # --- copies for people without a kernel

    def _refresh_code(self) -> None:
        written = self.generation.get("count", 0) if self.generation.get("status") == "ready" else 0
        self.publish(code=copy.program(self.model_info, self._now(), self._shown, written))

    def _static(self) -> str:
        return copy.static(self.model_info["name"], self.live, self._shown, self.generation, EMPTY)
