"""CheckpointView on tiny models: its numbers against plain hooks, what is refused, stopped, kept and copied."""

import numpy as np
import pytest
import torch

import lens
import widgets
from lens import patching
from tests import naive
from tests.models import speaking
from tests.variants import few
from widgets.checkpoint_view import work
from widgets.checkpoint_view.work import Tools

SECONDS = 60
PROMPT = "w1 w2 w3 w4"
ABOUT = ["w5 w6 w7 w8 w9 w10", "w11 w12 w13 w14 w15 w16 w17"]


@pytest.fixture(scope="module")
def models():
    return [speaking("llama", seed) for seed in range(3)]


def view(models, prompt=PROMPT, *, run=True, floor=True, **options):
    made = widgets.CheckpointView(
        models[0], models[1], prompt, floor=models[2] if floor else None, about=ABOUT, **options
    )
    if run:
        made.run(wait=True)
    assert made.wait(SECONDS)
    return made


@pytest.fixture(scope="module")
def shown(models):
    return view(models)


def numbers(made, name, kind="value"):
    return np.frombuffer(made.map["tables"][name][kind], "<f4").reshape(made.map["shape"])


def states(model, text):
    ids = torch.tensor([int(w[1:]) for w in text.split()])
    return np.stack([naive.activation(model, ids, "resid_post", layer).double().numpy() for layer in range(3)])


def test_distances_and_the_floor_are_those_of_plain_hooks(models, shown):
    assert shown.status == "complete" and shown.map["complete"] and shown.map["notes"] == []
    x, y, z = (states(model, PROMPT) for model in models)

    def cosine(u, v):
        return (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)

    np.testing.assert_allclose(numbers(shown, "distance"), 1 - cosine(x, y), rtol=0, atol=1e-5)
    np.testing.assert_allclose(numbers(shown, "distance", "floor"), cosine(x, z) - cosine(x, y), rtol=0, atol=1e-5)
    x, y, z = (
        s - np.concatenate([states(model, text)[:, 1:] for text in ABOUT], 1).mean(1, keepdims=True)
        for s, model in zip((x, y, z), models, strict=True)
    )
    np.testing.assert_allclose(numbers(shown, "centred"), 1 - cosine(x, y), rtol=0, atol=1e-5)
    np.testing.assert_allclose(numbers(shown, "centred", "floor"), cosine(x, z) - cosine(x, y), rtol=0, atol=1e-5)
    assert (numbers(shown, "lens_kl") > 0).all()


def test_a_click_puts_the_state_there_as_a_plain_hook_does(models, shown):
    a, b, _ = models
    ids = torch.tensor([1, 2, 3, 4])
    for layer, position in ((1, 2), (0, 3)):
        shown.cell = {"layer": layer, "position": position}
        assert shown.wait(SECONDS) and shown.detail["status"] == "ready"
        state = naive.activation(b, ids, "resid_post", layer)[position]

        def put(x, position=position, state=state):
            x = x.clone()
            x[0, position] = state
            return x

        logits = {"into": naive.forward(a, ids), "source": naive.forward(b, ids)}
        logits["edited"] = naive.forward(a, ids, [("resid_post", layer, put)])
        for name, said in logits.items():
            p = said[-1].softmax(-1)
            assert shown.detail[name][0][0] == f"w{int(p.argmax())}", name
            assert shown.detail[name][0][1] == pytest.approx(float(p.max()), rel=1e-4)
        answer, foil = (int(shown.map[key].strip()[1:]) for key in ("answer", "foil"))
        log_odds = [float(logits[k][-1, answer] - logits[k][-1, foil]) for k in ("edited", "into")]
        here = numbers(shown, "effect")[layer, position]
        assert here == pytest.approx(log_odds[0] - log_odds[1], abs=1e-4)
        assert shown.detail["effect"] == pytest.approx(float(here)) and set(shown.detail["controls"]) == {
            "random",
            "twin",
        }


def test_the_other_direction_has_no_twin_and_named_answers_are_taken(models):
    made = view(models, direction="a into b")
    assert made.map["tables"]["effect"]["against"] == ["nothing", "random"]
    made.set_state({"answer": " w7", "foil": " w8", "direction": "b into a"})
    made.run(wait=True)
    assert (made.map["answer"], made.map["foil"]) == (" w7", " w8") and made.map["direction"] == "b into a"


def test_without_a_floor_and_with_texts_that_cannot_be_read_what_is_left_out_is_said(models):
    made = widgets.CheckpointView(*models[:2], PROMPT)  # the ordinary sentences are no words of this tokenizer
    made.run(wait=True)
    tables = made.map["tables"]
    assert made.status == "complete" and tables["distance"]["against"] == ["nothing"]
    if "centred" not in tables:
        assert "centred distance is left out" in made.map["notes"][0]


def test_what_was_computed_before_a_stop_is_shown_and_no_cell_is_run(models):
    made = view(models, run=False)
    real = lens.compare

    def compare(*given, **options):
        found = real(*given, **options)
        made.stop()
        return found

    made._tools = Tools(compare, lens.patch_between, patching.explain_cell)
    made.run(wait=True)
    assert made.status == "stopped" and set(made.map["tables"]) == {"distance", "lens_kl"}
    assert "some or no copies" in made.progress["text"] and made.detail == {}
    made.cell = {"layer": 0, "position": 1}
    assert made.wait(SECONDS) and made.detail["status"] == "waiting"
    compile(made.code, "code", "exec")


def test_what_cannot_be_asked_is_told_where_the_fields_are(models):
    made = view(models, "", run=False)
    for fields, said in (
        ({}, "prompt: is empty"),
        ({"prompt": PROMPT, "foil": "w3"}, "answer: is empty and the foil is not"),
    ):
        made.set_state(fields)
        made.run(wait=True)
        assert made.status == "error" and said in made.error["text"]
    made.set_state({"foil": "", "cell": {"layer": 99, "position": "x"}})
    made.run(wait=True)
    assert made.status == "complete" and made.error == {} and made.detail["status"] == "ready"


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ((0, None), {}, "^b: is missing; give a, b"),
        ((0, 0), {}, "^b: it is the very model `a`"),
        ((0, 1), {"direction": "both"}, "^direction: 'both' is not one of"),
        ((0, 1), {"floor": 3}, "^floor="),
    ],
)
def test_models_that_do_not_fit_are_refused(models, given, options, said):
    a, b = (None if i is None else models[i] for i in given)
    with pytest.raises(widgets.ViewError, match=said):
        widgets.CheckpointView(a, b, PROMPT, **options)


def test_models_of_unlike_width_are_an_error_on_the_page(models):
    from tests.readout.test_comparison import of

    made = widgets.CheckpointView(models[0], of(hidden_size=48), PROMPT)
    made.run(wait=True)
    assert made.status == "error" and made.error["title"] == "The models cannot be compared"


def test_a_saved_state_comes_back_on_the_same_weights_and_is_saved_as_a_result(models, tmp_path):
    made = view(models)
    made.set_state({"show": "effect", "against": "random", "cell": {"layer": 1, "position": 3}})
    assert made.wait(SECONDS)
    path = made.save_state(tmp_path / "x.json")
    options = {"floor": models[2], "about": ABOUT}
    again = widgets.restore(path, *models[:2], **options)
    assert again.wait(SECONDS)
    for name in ("map", "detail", "show", "against", "cell", "status", "code", "prompt"):
        assert getattr(again, name) == getattr(made, name), name
    again.cell = {"layer": 0, "position": 0}
    assert again.wait(SECONDS) and again.detail["status"] == "ready"
    with pytest.raises(widgets.ViewError, match="^model: the state is of"):
        widgets.restore(path, models[0], models[2])
    kept = lens.open(made.save(tmp_path / "x.zarr"))
    np.testing.assert_array_equal(kept["effect"], made.result["effect"])
    with pytest.raises(widgets.ViewError, match="^save: nothing has been compared yet"):
        view(models, run=False).save(tmp_path / "y.zarr")


@pytest.mark.parametrize("show", few(work.QUANTITIES, ["centred", "effect"]))
def test_the_code_gives_the_numbers_shown(models, show):
    made = view(models)
    made.set_state({"show": show, "against": made.map["tables"][show]["against"][-1]})
    assert made.wait(SECONDS)
    lines = [line for line in made.code.splitlines() if not line.startswith(("a = ", "b = ", "floor = "))]
    code = "\n".join(lines).replace("print(", "shown.append(")
    space = {"a": models[0], "b": models[1], "floor": models[2], "shown": []}
    exec(code, space)
    np.testing.assert_allclose(space["shown"][0].values, numbers(made, show, made.against), rtol=0, atol=2e-3)


def test_the_static_copy_tells_the_map_and_the_copy_and_escapes(shown):
    page = shown._static()
    assert "centred states" in page and "<table" in page and "with the copied state" in page
    assert "Nothing had been compared" in widgets.CheckpointView(*list(shown._sides.values())[:2])._static()


@pytest.mark.slow
@pytest.mark.long
def test_given_nothing_it_opens_on_an_organism_and_its_tuned_copy(monkeypatch):
    from IPython import display

    monkeypatch.setattr(display, "display", lambda *a, **k: None)
    made = widgets.CheckpointView()
    made._ipython_display_()
    assert made.wait(600) and made.status == "complete" and made.detail["status"] == "ready"
    assert made.examples["chosen"] == 0 and len(made.examples["names"]) == 3
