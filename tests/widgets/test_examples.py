"""Views open on a working example, offer further ones, and remember what a person asked."""

import json

import pytest
from IPython import display as ipython_display

import widgets
from lens.prompts import encode
from tests.variants import few
from tests.widgets import fakes, test_injection_bench, test_provenance_bench, test_vector_bench
from widgets.base import last_inputs
from widgets.base.examples import ExampleView
from widgets.patch_explorer.examples import EXAMPLES

SECONDS = 60


@pytest.fixture(autouse=True)
def nothing_displayed(monkeypatch):
    monkeypatch.setattr(ipython_display, "display", lambda *a, **k: None)


def explorer(pair=None, encode=fakes.encode):
    return widgets.PatchExplorer(
        fakes.FakeModel(), pair, _patch=fakes.FakePatch(), _explain=fakes.explain, _encode=encode
    )


def test_a_view_without_a_question_opens_on_the_first_example_with_its_result():
    view = explorer()
    assert view.status == "idle" and view.clean == "", "nothing is asked before it is shown"
    view._ipython_display_()
    view.wait(SECONDS)
    assert view.status == "complete" and view.clean == EXAMPLES[0].fields["clean"] and view.map["complete"]
    assert view.examples == {"names": [example.name for example in EXAMPLES], "chosen": 0, "own": False}
    view.clean = "Something else"
    view._ipython_display_()
    assert view.clean == "Something else" and view.examples["chosen"] is None, "shown again, it is left as it is"


def test_a_view_with_a_question_is_left_to_it():
    view = explorer(fakes.PAIR)
    view._ipython_display_()
    view.wait(SECONDS)
    assert view.status == "idle" and view.clean == fakes.PAIR.clean


def test_prompts_that_this_tokenizer_cuts_unevenly_are_passed_over():
    def uneven(model, pair):
        if "bottle" in pair.clean:
            raise ValueError("the prompts have 13 and 14 tokens")
        return fakes.encode(model, pair)

    view = explorer(encode=uneven)
    view._ipython_display_()
    view.wait(SECONDS)
    assert view.examples["chosen"] == 1 and view.status == "complete"


def test_the_menu_leads_to_an_example_and_back_to_what_the_person_asked():
    view = explorer()
    view._on_message(view, {"type": "example", "number": 2}, [])
    view.wait(SECONDS)
    assert view.clean == EXAMPLES[2].fields["clean"] and view.status == "complete" and not view.examples["own"]
    mine = {"clean": "a b c", "corrupted": "a x c", "answer": " y", "foil": " z", "start": ""}
    view._on_message(view, {"type": "run", "fields": mine}, [])
    view.wait(SECONDS)
    assert view.examples["own"] and view.examples["chosen"] == -1
    view._on_message(view, {"type": "example", "number": 0}, [])
    view.wait(SECONDS)
    assert view.examples == view.examples | {"own": True, "chosen": 0}
    view._on_message(view, {"type": "example", "number": -1}, [])
    view.wait(SECONDS)
    assert {name: getattr(view, name) for name in mine} == mine and view.status == "complete"
    other = explorer()
    assert other.examples["own"] and other.examples["chosen"] is None, "another view offers it, too"
    for number in (99, -2, "0", None):
        view._on_message(view, {"type": "example", "number": number}, [])
    assert view.clean == "a b c"


def test_the_examples_of_an_explorer_fit_the_default_models_tokenizer(smollm2):
    for example in EXAMPLES:
        pair = widgets.patch_explorer.view.prompts.Pair(**example.fields)
        assert encode(smollm2, pair).clean_tokens != encode(smollm2, pair).corrupted_tokens


def test_attention_injection_and_vectors_open_with_an_answer():
    attention = widgets.AttentionView(fakes.FakeModel(), compute=fakes.attention)
    bench = widgets.InjectionBench(
        fakes.FakeModel(),
        _next=test_injection_bench.FakeNext(),
        _sweep=test_injection_bench.FakeSweep(),
        _generate=test_injection_bench.FakeGenerate(),
        _encode=test_injection_bench.encode,
        _words=test_injection_bench.Words(),
    )
    vectors = widgets.VectorBench(fakes.FakeModel(), _tools=test_vector_bench.FakeTools())
    for view in (attention, bench, vectors):
        view._ipython_display_()
        assert view.wait(SECONDS) and view.examples["chosen"] == 0 and len(view.examples["names"]) >= 2
    assert attention.pattern["size"] > 4 and attention.status == "complete"
    assert bench.prompt and bench.memory and vectors.map["sides"] == ["before"]


def test_a_vector_bench_opens_in_the_middle_of_the_model_unless_a_place_was_asked_for():
    def opened(**options):
        view = widgets.VectorBench(fakes.FakeModel(30, 9), _tools=test_vector_bench.FakeTools(), **options)
        view._ipython_display_()
        assert view.wait(SECONDS) and view.status == "complete" and view.examples["chosen"] == 0
        return view.layer, view.strength

    assert opened() == (15, 2.0)
    assert opened(layer=4) == (4, 1.0) and opened(strength=3.0) == (9, 3.0)
    asked = widgets.VectorBench(fakes.FakeModel(30, 9), "plural", _tools=test_vector_bench.FakeTools())
    assert (asked.layer, asked.strength) == (9, 1.0), "a task that is given is where it always was"


@pytest.mark.slow
@pytest.mark.long
def test_the_opening_example_of_a_vector_bench_has_a_gain_on_the_default_model(smollm2):
    view = widgets.VectorBench(smollm2)
    view._ipython_display_()
    assert view.wait(1200) and view.status == "complete"
    (side,) = view.live["sides"]
    assert side["with"]["low"] > side["base"]["high"], "the intervals are apart on validation"
    view.test(wait=True)
    rows = {row["name"]: row for row in view.report["rows"]}
    assert rows["vector"]["low"] > max(rows[name]["high"] for name in ("no vector", "random vector of equal norm"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "view",
    few(
        [widgets.SubspaceBench, widgets.CurvatureView, widgets.ProvenanceBench, widgets.DiffusionBench],
        [widgets.SubspaceBench],
    ),
)
def test_a_view_given_nothing_brings_its_own_example(view):
    shown = view()
    assert shown.status == "idle"
    shown._ipython_display_()
    assert shown.wait(600) and shown.status == "complete" and shown.error == {}
    assert shown.examples["chosen"] == 0 and len(shown.examples["names"]) >= 3


@pytest.mark.parametrize(
    ("view", "given", "missing"),
    [
        (widgets.SubspaceBench, {"model": None, "memorised": ["a"]}, "model"),
        (widgets.CurvatureView, {"memorised": ["a"], "clean": ["b"]}, "model"),
        (widgets.ProvenanceBench, {"suspects": {"a": [1.0]}}, "transcripts"),
    ],
)
def test_half_of_what_a_view_needs_is_not_taken_for_nothing(view, given, missing):
    with pytest.raises(widgets.ViewError, match=f"^{missing}: is missing; give"):
        view(**given)


def test_each_injected_example_is_of_another_memory_and_has_a_control_of_its_own():
    found = [example.fields for example in widgets.injection_bench.examples.examples()]
    assert len(found) >= 4 and len({fields["memory"] for fields in found}) == len(found)
    for fields in found:
        assert fields["other"].lower() not in (fields["memory"].lower(), fields["answer"].strip().lower())
        assert fields["subject"] in fields["prompt"]


# --- the last own input, in another session

MINE = {"clean": "a b c", "corrupted": "a x c", "answer": " y", "foil": " z", "start": ""}


def asked(fields):
    view = explorer()
    view._on_message(view, {"type": "run", "fields": fields}, [])
    view.wait(SECONDS)
    return view


def another_session(monkeypatch):
    monkeypatch.setattr(ExampleView, "_last_inputs", {})


def test_the_last_own_input_is_offered_in_another_session(monkeypatch, inputs):
    asked(MINE)
    another_session(monkeypatch)
    view = explorer()
    assert view.examples["own"] and view.examples["chosen"] is None
    view._on_message(view, {"type": "example", "number": -1}, [])
    view.wait(SECONDS)
    assert {name: getattr(view, name) for name in MINE} == MINE and view.status == "complete"
    assert [path.name for path in inputs.iterdir()] == ["PatchExplorer.json"], "nothing unfinished lies beside it"
    attention = widgets.AttentionView(fakes.FakeModel(), compute=fakes.attention)
    assert not attention.examples["own"], "each kind of view has its own"


def test_the_next_own_input_replaces_it(monkeypatch):
    asked(MINE)
    asked(MINE | {"answer": " w"})
    another_session(monkeypatch)
    view = explorer()
    view._on_message(view, {"type": "example", "number": -1}, [])
    view.wait(SECONDS)
    assert view.answer == " w"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "cannot be read"),
        (b"\xff\xfe\x00", "cannot be read"),
        ("[]", "another form"),
        ('{"format": "mnemoscope input", "version": 99, "fields": {}}', "another form"),
        ('{"format": "mnemoscope input", "version": 1, "fields": {"clean": "a"}}', "fields are other ones"),
        ('{"format": "mnemoscope input", "version": 1, "fields": 3}', "fields are other ones"),
        ("x" * 200_000, "are too many"),
    ],
)
def test_a_damaged_input_is_left_out_with_a_notice_and_replaced_by_the_next(monkeypatch, inputs, content, why):
    path = inputs / "PatchExplorer.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.warns(UserWarning, match=f"the last input of PatchExplorer was left out: .*{why}"):
        view = explorer()
    assert not view.examples["own"] and view.clean == ""
    view._on_message(view, {"type": "run", "fields": MINE}, [])
    view.wait(SECONDS)
    another_session(monkeypatch)
    assert explorer().examples["own"]


def test_values_that_a_field_cannot_hold_are_not_offered(monkeypatch, inputs):
    fields = MINE | {"clean": 3}
    text = json.dumps({"format": last_inputs.FORMAT, "version": last_inputs.VERSION, "fields": fields})
    (inputs / "PatchExplorer.json").write_text(text)
    assert not explorer().examples["own"]


def test_an_input_of_sets_that_a_view_was_not_given_is_not_offered(monkeypatch):
    transcript, suspects, references = test_provenance_bench.world(n=100)
    view = widgets.ProvenanceBench(suspects, transcript, references, resamples=99)
    view._on_message(view, {"type": "run", "fields": {"suspect": "bob"}}, [])
    assert view.wait(SECONDS) and view.examples["own"]
    another_session(monkeypatch)
    assert widgets.ProvenanceBench(suspects, transcript, references).examples["own"]
    assert not widgets.ProvenanceBench({"carol": suspects["alice"]}, transcript, references).examples["own"]


def test_a_long_input_is_of_its_session_alone(monkeypatch, inputs):
    with pytest.warns(UserWarning, match="kept until this session ends, not longer: it has more than"):
        view = asked(MINE | {"start": "w " * last_inputs.MOST_BYTES})
    assert view.examples["own"] and list(inputs.iterdir()) == []
    another_session(monkeypatch)
    assert not explorer().examples["own"]


def test_a_folder_that_cannot_be_written_costs_the_next_session_only(monkeypatch, inputs):
    monkeypatch.setattr(last_inputs, "place", lambda view: inputs / "file" / f"{view}.json")
    (inputs / "file").write_text("")
    with pytest.warns(UserWarning, match="kept until this session ends, not longer"):
        view = asked(MINE)
    assert view.status == "complete" and view.examples["own"]
