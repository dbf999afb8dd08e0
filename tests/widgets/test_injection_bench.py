"""The injection bench's state without a browser: what is computed, published, kept and reported; and its numbers over
the real engine.
"""

import contextlib
import dataclasses
import io
import json
import threading
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import lens
import widgets
from lens import injection
from lens.prompts import PromptError
from tests.widgets import fakes
from widgets.injection_bench import work as injection_work

SECONDS = 10
PROMPT, MEMORY, ANSWER, SUBJECT = (
    "The capital of the country of the Seine is",
    "France",
    " Paris",
    "the country of the Seine",
)
ITEM = injection.Item(PROMPT, "The capital of France is", MEMORY, ANSWER, subject=SUBJECT, label="seine")
OTHER = injection.Item(
    "The capital of the country of the Nile is",
    "The capital of Egypt is",
    "Egypt",
    " Cairo",
    subject="the country of the Nile",
    label="nile",
)
VOCABULARY = [
    " Paris",
    " the",
    "France",
    " France",
    " Cairo",
    fakes.SCRIPT,
    "\n",
    " a",
    " b",
    " c",
    " d",
    " New",
    " York",
]


# --- a model whose answers are known


class Words:
    """One token a word, numbered by `VOCABULARY`."""

    def of(self, text):
        return fakes.words(text)

    def answer(self, prompt, answer):
        if not answer.startswith(" "):
            raise PromptError(f"answer: {answer!r} merges with the end of `prompt`")
        return [(VOCABULARY.index(" " + w), " " + w) for w in answer.split()]

    def names(self, ids):
        return [VOCABULARY[int(i)] if np.isfinite(i) else "" for i in ids.ravel()]


def encode(model, memory, encoder="activation", heads=None):
    return SimpleNamespace(text=memory, encoder=encoder, heads=heads)


def effect(text, layer, strength):
    """How far the fake model's answer moves, nats: gains around layer 3, losses at layer 0; half of it for a
    control.
    """
    share = 1.0 if text == MEMORY else 0.5
    return share * (2 * np.exp(-((layer - 3) ** 2) / 4) * strength / 4 - (0.1 if layer == 0 else 0.02) * strength**2)


class FakeNext:
    """Stands in for `lens.injection.next_tokens`; `gate`, when given, is waited for before every answer."""

    def __init__(self, gate=None, error=None, warn=""):
        self.gate, self.error, self.warn, self.calls = gate, error, warn, []

    def __call__(
        self,
        model,
        prompt,
        memory=None,
        *,
        layers=(),
        strength=1.0,
        positions="all",
        subject=None,
        relative=False,
        answer=None,
        k=10,
        runs=None,
    ):
        self.calls.append(
            SimpleNamespace(
                prompt=prompt,
                memory=memory,
                layers=layers,
                strength=strength,
                positions=positions,
                subject=subject,
                relative=relative,
                answer=answer,
                runs=runs,
            )
        )
        if self.gate is not None:
            self.gate.acquire()
        if self.error:
            raise self.error
        if self.warn:
            warnings.warn(self.warn, stacklevel=2)
        before = np.linspace(-1, -8, len(VOCABULARY))
        after = before.copy()
        if memory is not None:
            after[0] += effect(memory.text, layers, strength)
        top = lambda x: [(VOCABULARY[i], float(np.exp(x[i]))) for i in np.argsort(-x)[:k]]  # noqa: E731
        words = answer.split() if answer else []
        # every token of the answer after the first has probability 1/2, and an injection moves it by a tenth of what it
        # does to ` Paris`
        whole = (
            [float(x[VOCABULARY.index(" " + words[0])]) - np.log(2) * (len(words) - 1) for x in (before, after)]
            if words
            else [None, None]
        )
        if memory is not None and len(words) > 1:
            whole[1] += effect(memory.text, layers, strength) / 10
        return SimpleNamespace(
            before=top(before),
            after=top(after),
            logprobs_before=before,
            logprobs_after=after,
            answer_before=whole[0],
            answer_after=whole[1],
            kl=0.25,
            runs=runs or SimpleNamespace(lengths=[10 + max(0, len(words) - 1)], prompt=prompt, answer=answer),
        )


class FakeSweep:
    """Stands in for `lens.injection.sweep`: layers from the last to the first; `gate`, when given, is waited for before
    every layer.
    """

    def __init__(self, gate=None, error=None):
        self.gate, self.error, self.calls = gate, error, []

    def __call__(
        self,
        model,
        items,
        *,
        encoder,
        strengths,
        positions,
        relative,
        controls=(),
        heads=None,
        seed=0,
        progress=None,
        stop=None,
        on_part=None,
    ):
        call = dict(
            encoder=encoder,
            strengths=list(strengths),
            positions=positions,
            relative=relative,
            controls=list(controls),
            heads=heads,
            items=[
                {k: getattr(i, k) for k in ("prompt", "explicit", "memory", "answer", "subject", "label")}
                for i in items
            ],
        )
        self.calls.append(SimpleNamespace(**call | {"items": items, "seed": seed}))
        done = []
        for layer in reversed(range(model.cfg.n_layers)):
            while self.gate is not None and not self.gate.acquire(timeout=0.02):
                if stop():
                    return self.built(model, items, call, seed, done, "partial")
            if stop():
                return self.built(model, items, call, seed, done, "partial")
            if self.error is not None and len(done) == 2:
                raise self.error
            done.append(layer)
            on_part(self.built(model, items, call, seed, done, "partial"))
        return self.built(model, items, call, seed, done, "complete")

    @staticmethod
    def built(model, items, call, seed, done, status):
        layers, conditions = range(model.cfg.n_layers), ["memory", *call["controls"]]
        texts = [[i.memory, *call["controls"]] for i in items]
        grid = [
            [
                [[effect(text, layer, s) if layer in done else np.nan for text in row] for s in call["strengths"]]
                for layer in layers
            ]
            for row in texts
        ]
        dims = ("item", "layer", "strength", "condition")
        values = np.array(grid, np.float32) - 2
        top = np.where(np.isfinite(values), 5.0, np.nan)
        attrs = {
            "mnemoscope": json.dumps(
                {
                    "schema": 1,
                    "kind": "injection",
                    "status": status,
                    "model": {"name": "tiny"},
                    "call": call,
                    "seed": seed,
                    "seconds": 0.5,
                }
            )
        }
        return xr.Dataset(
            {
                "logprob": (dims, values),
                "top": (dims, top),
                "multi_logprob": ("item", [-2.0] * len(items)),
                "single_logprob": ("item", [-1.0] * len(items)),
            },
            {
                "item": range(len(items)),
                "layer": list(layers),
                "strength": call["strengths"],
                "condition": conditions,
                "label": ("item", [i.label for i in items]),
            },
            attrs,
        )


class FakeGenerate:
    """Stands in for `lens.injection.generate`, four words a text; `gate`, when given, is waited for before every
    word.
    """

    def __init__(self, gate=None):
        self.gate, self.calls = gate, []

    def __call__(self, model, prompt, memory=None, *, max_new_tokens, stop, **where):
        self.calls.append((memory.text if memory else None, max_new_tokens, where))
        said = ""
        for word in [memory.text if memory else "nothing", "and", "more", fakes.SCRIPT]:
            while not stop() and self.gate is not None and not self.gate.acquire(timeout=0.02):
                pass
            if stop():
                break
            said += f" {word}"
        return said


def bench(
    prompt=PROMPT,
    memory=MEMORY,
    answer=ANSWER,
    *,
    layers=6,
    heads=4,
    next_=None,
    sweep=None,
    generate=None,
    wait=True,
    **options,
):
    view = widgets.InjectionBench(
        fakes.FakeModel(layers, heads),
        prompt,
        memory,
        answer,
        _next=next_ or FakeNext(),
        _sweep=sweep or FakeSweep(),
        _generate=generate or FakeGenerate(),
        _encode=options.pop("encode", encode),
        _words=Words(),
        **options,
    )
    if wait:
        assert view.wait(SECONDS)
    return view


def numbers(trait, name="memory"):
    return np.frombuffer(trait[name], dtype="<f4").reshape(trait["shape"])


def until(condition):
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def move(view, **fields):
    view._on_message(view, {"type": "move", "fields": fields}, [])


# --- the next token, live


def test_starts_with_both_lists_and_the_answers_change():
    view = bench(layer=3, strength=4)
    assert view.live["status"] == "ready" and len(view.live["before"]) == len(view.live["after"]) == 10
    assert view.live["before"][0] == [" Paris", pytest.approx(np.exp(-1))]
    answer = view.live["answer"]
    assert (answer["before"], answer["change"]) == (pytest.approx(-1), pytest.approx(effect(MEMORY, 3, 4)))
    assert (
        answer["after"] == pytest.approx(-1 + effect(MEMORY, 3, 4))
        and answer["token"] == " Paris"
        and answer["tokens"] == 1
    )
    assert view.live["notes"] == "prompt 10 tokens, the start token included · memory 1 token · answer 1 token"
    assert view.live["what"] == "'France' at layer 3, strength 4; activation, at every token"
    assert {"France", " France"} <= set(view.live["memory_tokens"]) and view.live["kl"] == 0.25
    assert (view.status, view.map, view.result) == ("idle", {}, None)


def test_without_a_memory_only_the_unedited_list_is_shown_and_without_a_prompt_nothing_is_computed():
    view = bench(memory=None, answer=None)
    assert (
        view.live["before"]
        and view.live["after"] is None
        and view.live["answer"] is None
        and "Give a memory" in view.live["text"]
    )
    next_ = FakeNext()
    view = bench(prompt="  ", next_=next_)
    assert (
        view.live["status"] == "empty"
        and "Type a prompt" in view.live["text"]
        and next_.calls == []
        and view.code == ""
    )


def test_a_move_brings_its_fields_and_is_answered_by_them():
    view = bench(layer=0)
    move(view, layer=3, strength=-2.5, positions="subject", subject=SUBJECT, encoder="head", head=2, relative=True)
    assert view.wait(SECONDS)
    call = view._next_tokens.calls[-1]
    assert (call.layers, call.strength, call.positions, call.subject, call.relative) == (
        3,
        -2.5,
        "subject",
        SUBJECT,
        True,
    )
    assert (call.memory.encoder, call.memory.heads) == ("head", (2,))
    assert view.live["fields"] == {
        "prompt": PROMPT,
        "memory": MEMORY,
        "answer": ANSWER,
        "subject": SUBJECT,
        "encoder": "head",
        "head": 2,
        "positions": "subject",
        "relative": True,
        "layer": 3,
        "strength": -2.5,
    }
    assert len(view._next_tokens.calls) == 2, "seven changes that came with one message are one question"


def test_fields_that_a_page_may_not_send_are_ignored():
    view = bench()
    move(view, layer="x", strength=None, encoder="nonsense", status="complete", model_info={}, code="import os")
    assert view.wait(SECONDS)
    assert (
        (view.layer, view.strength, view.encoder, view.status) == (3, 2.0, "activation", "idle")
        and view.model_info["layers"] == 6
        and "import os" not in view.code
    )


def test_only_the_newest_move_is_computed():
    gate = threading.Semaphore(0)
    view = bench(next_=FakeNext(gate), wait=False)
    until(lambda: view._next_tokens.calls)
    for k in range(40):
        move(view, strength=k / 4, layer=k % 6)
    gate.release(100)
    assert view.wait(SECONDS)
    assert len(view._next_tokens.calls) == 2
    assert (view.live["fields"]["strength"], view.live["fields"]["layer"]) == (39 / 4, 39 % 6)


def test_the_unedited_run_and_the_vectors_are_kept_between_moves():
    encoded = []

    def counted(model, memory, encoder="activation", heads=None):
        encoded.append((memory, encoder, heads))
        return encode(model, memory, encoder, heads)

    view = bench(encode=counted)
    for fields in (
        {"strength": 1.0},
        {"layer": 1},
        {"encoder": "unembed"},
        {"encoder": "activation"},
        {"memory": "Egypt"},
        {"memory": MEMORY},
    ):
        move(view, **fields)
        assert view.wait(SECONDS)
    assert encoded == [(MEMORY, "activation", None), (MEMORY, "unembed", None), ("Egypt", "activation", None)]
    calls = view._next_tokens.calls
    assert calls[0].runs is None and all(
        c.runs is not None and c.runs.prompt == PROMPT and c.answer == ANSWER for c in calls[1:]
    )
    for fields in ({"answer": " New York"}, {"prompt": "Another one"}):
        move(view, **fields)
        assert view.wait(SECONDS) and view._next_tokens.calls[-1].runs is None


def test_half_typed_fields_are_explained_and_do_not_last():
    view = bench(answer="Paris")
    assert (
        view.live["status"] == "error"
        and view.live["title"] == "The prompt and the answer do not fit together"
        and "merges" in view.live["text"]
    )
    move(view, answer=" Paris")
    assert view.wait(SECONDS) and view.live["status"] == "ready"
    view._next_tokens.error = injection.InjectionError("subject='x' is not in the prompt")
    move(view, subject="x", positions="subject")
    assert view.wait(SECONDS) and view.live["title"] == "This cannot be injected" and "subject='x'" in view.live["text"]


def test_an_answer_of_several_tokens_is_read_whole_and_at_its_first():
    view = bench(answer=" New York", layer=3, strength=4)
    answer, first = view.live["answer"], np.linspace(-1, -8, len(VOCABULARY))[11]
    assert answer["tokens"] == 2 and answer["token"] == " New" and view._next_tokens.calls[-1].answer == " New York"
    assert answer["before"] == pytest.approx(first - np.log(2)) and answer["change"] == pytest.approx(
        effect(MEMORY, 3, 4) / 10
    )
    assert answer["after"] == pytest.approx(answer["before"] + answer["change"]) and answer["first"] == {
        "before": pytest.approx(first),
        "after": pytest.approx(first),
        "change": 0,
    }
    assert view.live["notes"] == "prompt 10 tokens, the start token included · memory 1 token · answer 2 tokens"
    move(view, memory="")
    assert (
        view.wait(SECONDS)
        and view.live["answer"]["before"] == pytest.approx(first - np.log(2))
        and view.live["answer"]["change"] is None
    )
    move(view, answer="")
    assert view.wait(SECONDS) and view.live["answer"] is None and view._next_tokens.calls[-1].answer is None


@pytest.mark.parametrize(
    ("prompt", "answer", "warned"),
    [
        ("The capital is", "Paris", True),
        ("The capital is", " Paris", False),
        ("The capital is ", "Paris", False),
        ("Is it", "?", False),
        ("首都是", "巴黎", False),
    ],
)
def test_an_answer_without_its_space_is_pointed_out(prompt, answer, warned):
    setting = injection_work.Setting(prompt, MEMORY, answer, "", "activation", 0, "all", False, 0, 1.0)
    assert bool(injection_work.glued(setting)) is warned


def test_an_overflow_is_a_warning_beside_the_lists():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        view = bench(next_=FakeNext(warn="strength=9 overflows float16 at layer 2"))
    assert view.live["status"] == "ready" and view.live["warning"] == "strength=9 overflows float16 at layer 2"


def test_numbers_that_are_not_finite_are_sent_as_none():
    class Overflowing(FakeNext):
        def __call__(self, *args, **kwargs):
            found = super().__call__(*args, **kwargs)
            found.logprobs_after, found.after, found.kl, found.answer_after = (
                np.full(len(VOCABULARY), np.nan),
                [(" the", float("nan"))],
                float("nan"),
                float("nan"),
            )
            return found

    view = bench(next_=Overflowing())
    assert view.live["after"] == [[" the", 0.0]] and view.live["kl"] is None
    assert (view.live["answer"]["after"], view.live["answer"]["change"], view.live["answer"]["first"]["change"]) == (
        None,
        None,
        None,
    )
    json.dumps(view.live, allow_nan=False)


def test_items_fill_the_fields_and_offer_another_entity_as_control():
    view = bench(None, None, None, items=[ITEM, OTHER])
    assert (view.prompt, view.memory, view.answer, view.subject) == (ITEM.prompt, "France", " Paris", SUBJECT)
    assert (view.control, view.other) == ("shuffled", "Egypt") and view.items[1].startswith(
        "Egypt → Cairo · The capital of the country of the Nile"
    )
    view._on_message(view, {"type": "item", "index": 1}, [])
    assert view.wait(SECONDS)
    assert (view.prompt, view.memory, view.answer, view.other) == (
        OTHER.prompt,
        "Egypt",
        " Cairo",
        "France",
    ) and view.live["fields"]["memory"] == "Egypt"
    for index in (7, -1, "0", None):
        view._on_message(view, {"type": "item", "index": index}, [])
    assert view.memory == "Egypt"
    assert bench(None, None, None, items="own").items[:1] != [], "a data set by its name"
    alone = bench(None, None, None, item=ITEM)
    assert alone.memory == "France" and alone.control == "random_tokens"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder": "x"}, "encoder: 'x' is not one of activation"),
        ({"positions": "x"}, "positions: 'x'"),
        ({"layer": 6}, "layer: 6 is out of range for tiny, which has 6"),
        ({"layer": -1}, "layer: -1"),
    ],
)
def test_arguments_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        bench(**options)


# --- the map


def test_a_run_publishes_the_memorys_map_and_the_other_entitys_beside_it():
    view = bench()
    view.control, view.other, view.strengths, view.subject = "shuffled", "Egypt", "-2:4:2, 8", SUBJECT
    view.run(wait=True)
    assert view.status == "complete" and view.error == {}
    assert (
        view.map["shape"] == [6, 5] and view.map["columns"] == [-2, 0, 2, 4, 8] and view.map["rows"] == list(range(6))
    )

    def truth(text):
        return np.array([[effect(text, layer, s) for s in view.map["columns"]] for layer in range(6)])

    np.testing.assert_allclose(numbers(view.map), truth(MEMORY), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(numbers(view.map, "control"), truth("Egypt"), rtol=1e-5, atol=1e-6)
    assert (view.map["base"], view.map["single"]) == (-2, -1) and view.map["memory_top"][:2] == [fakes.SCRIPT] * 2
    call = view._make.calls[0]
    assert (
        [i.memory for i in call.items] == ["France", "Egypt"]
        and {i.prompt for i in call.items} == {PROMPT}
        and call.controls == []
    )
    assert call.items[0].explicit == "The capital of France is", (
        "the subject, put in the memory's words, makes the single-hop prompt"
    )
    assert view.progress["text"].startswith("6 layers in ") and view.map["control_what"] == "another entity, Egypt"


@pytest.mark.parametrize("control", ["random_tokens", "random_direction"])
def test_random_controls_are_drawn_by_the_sweep(control):
    view = bench()
    view.control, view.seed, view.encoder, view.head, view.positions, view.relative = (
        control,
        7,
        "head",
        3,
        "last",
        True,
    )
    view.run(wait=True)
    call = view._make.calls[0]
    assert (call.controls, call.seed, call.encoder, call.heads, call.positions, call.relative, len(call.items)) == (
        [control],
        7,
        "head",
        (3,),
        "last",
        True,
        1,
    )
    assert (
        np.isfinite(numbers(view.map, "control")).all()
        and view.map["control_what"].endswith(", seed 7")
        and view.map["axis"] == "strength (× residual RMS)"
    )


def test_an_items_own_explicit_prompt_is_used_while_the_fields_are_its_own():
    view = bench(None, None, None, item=injection.Item(PROMPT, "France has the capital city of", MEMORY, ANSWER))
    view.run(wait=True)
    assert view._make.calls[0].items[0].explicit == "France has the capital city of"
    view.memory = "Gaul"
    view.run(wait=True)
    assert view._make.calls[1].items[0].explicit == PROMPT and view.map["single"] is None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"answer": " "}, "answer: is empty"),
        ({"memory": ""}, "memory: is empty"),
        ({"control": "shuffled"}, "other entity: is empty"),
        ({"control": "shuffled", "other": "france "}, "is the memory itself"),
        ({"strengths": "1, x"}, "strengths: 'x' is neither"),
        ({"answer": " France"}, "is the memory itself"),
    ],
)
def test_what_is_missing_for_a_map_is_said_where_it_is_run(fields, message):
    view = bench()
    view._on_message(view, {"type": "run", "fields": fields}, [])
    assert view.wait(SECONDS)
    assert view.status == "error" and message in view.error["text"] and view.map == {}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", (1,)),
        ("1, 2.5,-3", (1, 2.5, -3)),
        ("-2:4:2", (-2, 0, 2, 4)),
        ("0:1:0.25 8", (0, 0.25, 0.5, 0.75, 1, 8)),
        ("3:1:-1", (3, 2, 1)),
        ("1:3", (1, 2, 3)),
        ("−1 1 1.0", (-1, 1)),
        ("0:0.3:0.1", (0, 0.1, 0.2, 0.3)),
    ],
)
def test_strengths_are_lists_and_ranges(text, expected):
    assert injection_work.strengths_in(text) == expected


@pytest.mark.parametrize("text", ["", " , ", "a", "1:5:0", "5:1", "1:2:3:4", "nan", "inf", "0:1000", "1:1e9:1e-9"])
def test_strengths_that_make_no_map_are_refused(text):
    with pytest.raises(ValueError, match="strengths: "):
        injection_work.strengths_in(text)


def test_layers_are_shown_as_they_finish_a_move_is_answered_in_between_and_stop_keeps_them(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    gate = threading.Semaphore(0)
    view = bench(sweep=FakeSweep(gate))
    view.run()
    gate.release(2)
    until(lambda: view.map and np.isfinite(numbers(view.map)).any(1).sum() == 2)
    assert view.status == "running" and view.progress["text"].startswith("layers 4–5 of 6, ")
    assert np.isfinite(numbers(view.map, "control")).any(1).tolist() == [False] * 4 + [True] * 2
    move(view, strength=9.0)
    until(lambda: view.live["fields"]["strength"] == 9)
    assert view.status == "running"
    view.stop()
    assert view.wait(SECONDS) and view.status == "stopped" and not view.map["complete"]
    assert view.progress["text"].startswith("stopped: layers 4–5 of 6, ") and view.result.attrs


def test_everything_that_touches_the_model_runs_in_one_thread():
    threads = set()

    def watched(f):
        def call(*args, **kwargs):
            threads.add(threading.current_thread())
            return f(*args, **kwargs)

        return call

    gate = threading.Semaphore(0)
    view = bench(
        next_=watched(FakeNext()),
        sweep=watched(FakeSweep(gate)),
        generate=watched(FakeGenerate()),
        encode=watched(encode),
    )
    view.run()
    gate.release(1)
    until(lambda: view.map)
    threads.clear()
    for k in range(5):
        move(view, strength=float(k))
    view.generate()
    gate.release(10)
    assert view.wait(SECONDS)
    assert len(threads) == 1 and threading.main_thread() not in threads


def test_an_error_in_the_sweep_is_shown_and_what_was_finished_stays(monkeypatch):
    monkeypatch.setattr("widgets.base.sweep.PART_SECONDS", 0)
    view = bench(sweep=FakeSweep(error=RuntimeError("not enough memory")))
    view.run(wait=True)
    assert view.status == "error" and view.error == {
        "title": "The sweep failed (RuntimeError)",
        "text": "not enough memory",
    }
    assert np.isfinite(numbers(view.map)).any(1).sum() == 2


def test_a_map_comes_back_with_its_question():
    view = bench(strength=2)
    view.control, view.other, view.encoder, view.positions, view.subject, view.strengths = (
        "shuffled",
        "Egypt",
        "unembed",
        "subject",
        SUBJECT,
        "1,3",
    )
    view.run(wait=True)
    again = bench(None, None, None, result=view.result)
    assert {
        k: getattr(again, k)
        for k in ("prompt", "memory", "answer", "subject", "encoder", "positions", "control", "other")
    } == {
        k: getattr(view, k)
        for k in ("prompt", "memory", "answer", "subject", "encoder", "positions", "control", "other")
    }
    np.testing.assert_array_equal(numbers(again.map), numbers(view.map))
    np.testing.assert_array_equal(numbers(again.map, "control"), numbers(view.map, "control"))
    assert again.status == "complete" and again.strengths == "1, 3" and again.map["fields"] == view.map["fields"]


def test_a_result_of_one_item_out_of_several_is_shown_and_of_several_refused():
    grid = FakeSweep()(
        fakes.FakeModel(6, 4),
        [ITEM, OTHER],
        encoder="embed",
        strengths=[1, 2],
        positions="all",
        relative=False,
        controls=("random_direction",),
        seed=3,
        stop=lambda: False,
        on_part=lambda _: None,
    )
    for one in (grid.isel(item=[1]), grid.isel(item=1)):
        view = bench(None, None, None, result=one)
        assert (view.memory, view.control, view.seed, view.map["control_what"]) == (
            "Egypt",
            "random_direction",
            3,
            "a random direction, seed 3",
        )
        np.testing.assert_allclose(numbers(view.map)[3, 1], effect("Egypt", 3, 2), rtol=1e-5)
    with pytest.raises(ValueError, match=r"holds 2 items; choose one, for example result.isel\(item=\[0\]\)"):
        bench(result=grid)
    with pytest.raises(ValueError, match="expected what lens.injection.sweep returns"):
        bench(result=xr.Dataset({"x": ("layer", [1.0])}))


def test_saving_before_a_run_and_without_a_path_is_explained():
    view = bench()
    view._on_message(view, {"type": "save", "path": "x.zarr"}, [])
    assert view.saved["ok"] is False and "no run to save" in view.saved["text"]
    view._on_message(view, {"type": "save", "path": " "}, [])
    assert "path: is empty" in view.saved["text"]


# --- generation, code, static copy


def test_generation_shows_both_texts_and_writes_the_unedited_one_once():
    view = bench(layer=2, strength=3)
    view._on_message(view, {"type": "generate", "fields": {"new_tokens": 7}}, [])
    assert view.wait(SECONDS)
    assert (
        view.generation["status"] == "ready"
        and view.generation["before"].startswith(" nothing")
        and view.generation["after"].startswith(" France")
    )
    assert view._write.calls == [(None, 7, {}), ("France", 7, {"layers": 2, "strength": 3.0, "positions": "all"})]
    move(view, strength=5.0)
    view.generate(wait=True)
    assert [c[0] for c in view._write.calls] == [None, "France", "France"] and "strength 5" in view.generation["what"]


@pytest.mark.parametrize("words", [0, 2, 4, 6])
def test_a_stopped_generation_keeps_what_was_written_and_says_which_text_was_cut(words):
    gate = threading.Semaphore(0)
    view = bench(generate=FakeGenerate(gate), layer=2, strength=3)
    view.stop_generation()
    assert view.generation == {}, "nothing to stop"
    view.generate()
    if words:
        gate.release(words)
    until(lambda: gate._value == 0 and len(view._write.calls) == (2 if words >= 4 else 1))
    view._on_message(view, {"type": "stop_generation"}, [])
    assert view.wait(SECONDS) and view.generation["status"] == "stopped" and view.status == "idle"
    before, after = (" nothing and more " + fakes.SCRIPT).split(" "), (" France and more " + fakes.SCRIPT).split(" ")
    assert view.generation["before"] == " ".join(before[: min(words, 4) + 1]) and view.generation["cut"] == (
        "after" if words >= 4 else "before"
    )
    assert (
        view.generation.get("after") == (None if words < 4 else " ".join(after[: words - 3]))
        and "max_new_tokens" not in view.code
    )
    page = view._static()
    assert "(stopped here)" in page and page.count("<b>") == (2 if words >= 4 else 1)
    gate.release(20)
    view.generate(wait=True)
    assert (
        view.generation["status"] == "ready"
        and "cut" not in view.generation
        and view.generation["before"] == " ".join(before)
    ), "a cut text is not taken for the whole one"
    assert [c[0] for c in view._write.calls].count(None) == (1 if words >= 4 else 2)


def test_a_new_generation_takes_the_place_of_one_under_way():
    gate = threading.Semaphore(0)
    view = bench(generate=FakeGenerate(gate))
    view.generate()
    until(lambda: view._write.calls)
    move(view, memory="Egypt")
    seen = []
    view.observe(lambda change: seen.append(change["new"]["status"]), "generation")
    view.generate()
    gate.release(20)
    assert (
        view.wait(SECONDS)
        and view.generation["status"] == "ready"
        and view.generation["after"].startswith(" Egypt and more")
    )
    assert "stopped" not in seen


def test_interrupting_a_generation_stops_it_and_keeps_the_text(monkeypatch):
    gate = threading.Semaphore(1)
    view = bench(generate=FakeGenerate(gate))
    real, interrupted = view.wait, []

    def wait(timeout=None):
        if not interrupted:
            until(lambda: gate._value == 0)
            interrupted.append(1)
            raise KeyboardInterrupt
        return real(SECONDS)

    monkeypatch.setattr(view, "wait", wait)
    with pytest.raises(KeyboardInterrupt):
        view.generate(wait=True)
    assert view.generation["status"] == "stopped" and view.generation["before"] == " nothing"


def test_generation_reports_its_errors_in_its_place():
    view = bench(memory="")
    view.generate(wait=True)
    assert (
        view.generation["status"] == "error"
        and "memory: is empty" in view.generation["text"]
        and view.generation["before"]
    )


def test_the_python_is_valid_whatever_the_fields_hold():
    view = bench(prompt='It\'s "quoted"\nand\\broken', memory="O'Brien", answer=" x'y", subject="quoted")
    compile(view.code, "view", "exec")
    view.positions, view.encoder, view.relative = "subject", "head", True
    view.generation = {"status": "ready", "count": 3}
    compile(view.code, "view", "exec")
    assert (
        "heads=(0,)" in view.code
        and "relative=True" in view.code
        and "max_new_tokens=3" in view.code
        and "sweep" not in view.code
    )


def test_the_static_copy_holds_lists_maps_and_texts_escaped():
    view = bench()
    assert "<script>" not in view._static() and "·Paris" in view._static()
    view.control, view.other = "shuffled", fakes.SCRIPT
    view.run(wait=True)
    view.generate(wait=True)
    page = view._static()
    assert (
        fakes.SCRIPT not in page
        and "&lt;script&gt;" in page
        and page.count("<table") == 3
        and "another entity" in page
        and " France and more" in page
    )
    empty = bench(prompt="", memory="", answer="")
    assert "Nothing had been injected" in empty._static()


def test_the_module_stays_small():
    assert len(widgets.InjectionBench._esm.encode()) < 50_000


# --- over the real engine

TINY = injection.Item("w3 w9 w5 w6", "w4 w6", "w4 w9", " w7", subject="w9 w5", label="tiny")


@pytest.fixture
def bridge(tiny_bridge):
    return tiny_bridge("llama")[0]


def real(bridge, **options):
    view = widgets.InjectionBench(bridge, item=TINY, **options)
    assert view.wait(30)
    return view


@pytest.mark.parametrize("encoder", ["activation", "unembed", "embed", "head"])
@pytest.mark.parametrize("positions", ["all", "not_first", "last", "subject"])
def test_the_lists_are_what_lens_says(bridge, encoder, positions):
    view = real(bridge, encoder=encoder, positions=positions, layer=1, strength=-1.5)
    assert view.live["status"] == "ready", view.live
    memory = injection.encode(bridge, TINY.memory, encoder, heads=(0,) if encoder == "head" else None)
    found = injection.next_tokens(
        bridge, TINY.prompt, memory, layers=1, strength=-1.5, positions=positions, subject=TINY.subject
    )
    assert view.live["after"] == [[t, pytest.approx(p)] for t, p in found.after] and view.live["before"] == [
        [t, pytest.approx(p)] for t, p in found.before
    ]
    assert view.live["answer"]["change"] == pytest.approx(
        float(found.logprobs_after[7] - found.logprobs_before[7]), abs=1e-5
    )
    move(view, answer=" w7 w3 w8")
    assert view.wait(30)
    found = injection.next_tokens(
        bridge,
        TINY.prompt,
        memory,
        layers=1,
        strength=-1.5,
        positions=positions,
        subject=TINY.subject,
        answer=" w7 w3 w8",
    )
    assert view.live["answer"]["tokens"] == 3 and view.live["answer"]["change"] == pytest.approx(
        found.answer_change, abs=1e-5
    )
    assert view.live["answer"]["first"]["change"] == pytest.approx(
        float(found.logprobs_after[7] - found.logprobs_before[7]), abs=1e-5
    )


@pytest.mark.parametrize(
    ("control", "answer"), [("shuffled", " w7"), ("random_tokens", " w7 w3"), ("random_direction", " w7 w3 w8")]
)
def test_the_maps_are_what_lens_sweeps_and_agree_with_the_lists(bridge, control, answer):
    view = real(bridge, positions="not_first")
    move(view, answer=answer)
    view.control, view.other, view.strengths, view.seed = control, "w11 w12", "-1, 2, 5", 4
    view.run(wait=True)
    assert view.status == "complete", view.error
    # another way to the same numbers: the lists, cell by cell
    for layer in range(3):
        for column, strength in enumerate((-1.0, 2.0, 5.0)):
            move(view, layer=layer, strength=strength)
            assert view.wait(30)
            assert numbers(view.map)[layer, column] == pytest.approx(view.live["answer"]["change"], abs=2e-4)
    if control == "shuffled":
        move(view, memory="w11 w12")
        assert view.wait(30)
        assert numbers(view.map, "control")[2, 2] == pytest.approx(view.live["answer"]["change"], abs=2e-4)
    else:
        item = dataclasses.replace(TINY, answer=answer)
        grid = injection.sweep(
            bridge,
            [item],
            encoder="activation",
            strengths=[-1, 2, 5],
            positions="not_first",
            controls=(control,),
            seed=4,
            progress=False,
        )
        np.testing.assert_allclose(
            numbers(view.map, "control"),
            injection.log_ratio(grid).isel(item=0).sel(condition=control).values,
            atol=1e-4,
        )


@pytest.mark.parametrize("control", ["shuffled", "random_direction"])
def test_a_real_map_is_saved_opened_and_shown_again(bridge, tmp_path, control):
    view = real(bridge)
    view.control, view.other, view.strengths = control, "w11 w12", "1, 3"
    view.run(wait=True)
    view._on_message(view, {"type": "save", "path": str(tmp_path / "map.zarr")}, [])
    assert view.saved["ok"], view.saved
    again = widgets.InjectionBench(bridge, result=lens.open(tmp_path / "map.zarr"))
    assert again.wait(30) and (again.prompt, again.memory, again.control) == (TINY.prompt, TINY.memory, control)
    for name in ("memory", "control"):
        np.testing.assert_array_equal(numbers(again.map, name), numbers(view.map, name))


def executed(view, model, monkeypatch):
    """The names and the output of the Python that the view shows; `lens.load` gives `model`."""
    monkeypatch.setattr(lens, "load", lambda name, **_: model)
    names, printed = {}, io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(view.code, "view", "exec"), names)
    return names, printed.getvalue()


@pytest.mark.parametrize(
    ("control", "encoder", "positions", "relative"),
    [
        ("shuffled", "activation", "all", False),
        ("random_tokens", "head", "subject", True),
        ("random_direction", "unembed", "last", False),
    ],
)
def test_the_python_shown_reproduces_the_view(bridge, monkeypatch, control, encoder, positions, relative):
    view = real(bridge, encoder=encoder, positions=positions, layer=1)
    move(view, relative=relative, control=control, other="w11", strengths="-2, 4", seed=2, new_tokens=4, head=1)
    view.run(wait=True)
    view.generate(wait=True)
    names, printed = executed(view, bridge, monkeypatch)
    assert [[t, pytest.approx(p)] for t, p in names["found"].after] == view.live["after"]
    assert (
        names["found"].answer_change == pytest.approx(view.live["answer"]["change"], abs=1e-5)
        and "ln p of the whole answer" in printed
    )
    for which in ("memory", "control"):
        np.testing.assert_allclose(names[f"{which}_map"].values, numbers(view.map, which), atol=1e-5)
    assert printed.rstrip().endswith(view.generation["after"].rstrip()) and view.generation["before"] in printed


def test_generated_texts_are_what_lens_generates(bridge):
    view = real(bridge, layer=1, strength=6)
    view.new_tokens = 5
    view.generate(wait=True)
    memory = injection.encode(bridge, TINY.memory, "activation")
    assert view.generation["before"] == injection.generate(bridge, TINY.prompt, max_new_tokens=5)
    assert view.generation["after"] == injection.generate(
        bridge, TINY.prompt, memory, layers=1, strength=6, max_new_tokens=5
    )


@pytest.mark.parametrize(
    ("fields", "title", "part"),
    [
        ({"answer": "w7"}, "The prompt and the answer do not fit together", "answer"),
        ({"memory": " "}, "This cannot be injected", "nothing"),
        ({"subject": "w50", "positions": "subject"}, "This cannot be injected", "w50"),
        ({"layer": 9}, None, "layer"),
    ],
)
def test_errors_of_the_engine_reach_the_lists(bridge, fields, title, part):
    view = real(bridge)
    move(view, **fields)
    assert view.wait(30)
    if "answer" in fields and view.live["status"] == "ready":
        return  # this tokenizer splits at spaces, so an answer without one continues the prompt as well
    assert view.live["status"] == "error" and part in view.live["text"] and title in (None, view.live["title"])


@pytest.mark.slow
def test_every_slider_move_on_the_default_model_is_answered_by_its_own_setting(smollm2):
    """An answer of three tokens; how long a move takes is `python -m benchmarks latency`."""
    prompt = "The capital of the country in which the river Seine meets the sea is"
    view = widgets.InjectionBench(smollm2, prompt, "France", " Le Havre")
    assert view.wait(300) and view.live["status"] == "ready" and view.live["answer"]["tokens"] == 3, view.live
    for layer, strength in ((7, -1.5), (29, 0.25), (0, 3.0)):
        move(view, layer=layer, strength=strength)
        assert view.wait(300) and view.live["status"] == "ready"
        assert (view.live["fields"]["layer"], view.live["fields"]["strength"]) == (layer, strength)


@pytest.mark.slow
def test_the_python_shown_runs_on_the_default_model(smollm2, monkeypatch):
    view = widgets.InjectionBench(smollm2, PROMPT, MEMORY, ANSWER, subject=SUBJECT, layer=20)
    view.control, view.other, view.strengths = "shuffled", "Egypt", "2, 4"
    view.run(wait=True)
    assert view.status == "complete", view.error
    names, _ = executed(view, smollm2, monkeypatch)
    np.testing.assert_allclose(names["memory_map"].values, numbers(view.map), atol=1e-4)
    assert view.map["single"] > view.map["base"], "the prompt that names France is answered better"
