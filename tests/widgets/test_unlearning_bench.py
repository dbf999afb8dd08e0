"""UnlearningBench on a tiny model: its curves against plain forwards, rows, attacks, stops, weights put and back."""

import copy

import numpy as np
import pytest
import torch

import lens
import widgets
from lens import unlearning
from lens.models import weight_hash
from lens.unlearning import Items
from tests import naive
from tests.models import speaking
from widgets.unlearning_bench.rows import FORGET, NEITHER, RETAIN

SECONDS = 120
FORGOTTEN = Items([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10]], [[11, 12], [13], [14], [15], [16]])
RETAINED = Items([[21, 22], [23, 24], [25, 26], [27, 28], [29, 30]], [[31], [32], [33], [34], [35]])


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def twin():
    return speaking("llama", 1)


def bench(model, twin=None, forget=FORGOTTEN, retain=RETAINED, *, steps=3, rate=1e-3, run=True, **options):
    made = widgets.UnlearningBench(model, forget, retain, twin=twin, method="gradient_ascent", **options)
    made.set_state({"steps": steps, "rate": rate})
    if run:
        made.run(wait=True)
    assert made.wait(SECONDS)
    return made


@pytest.fixture(scope="module")
def shown(model, twin):
    return bench(model, twin)


def probability(model, items):
    """The geometric mean over tokens of each answer's probability, averaged over rows."""
    rows = []
    for prompt, answer in items.pairs():
        logp = naive.forward(model, torch.tensor([*prompt, *answer])).double().log_softmax(-1)
        said = [float(logp[len(prompt) - 1 + i, token]) for i, token in enumerate(answer)]
        rows.append(np.exp(np.mean(said)))
    return np.mean(rows)


def line(made, measure, arm):
    return next(m for m in made.curves["measures"] if m["name"] == measure)["lines"][arm]


def test_every_look_is_drawn_and_start_and_end_are_those_of_plain_forwards(model, twin, shown):
    assert shown.status == "complete" and shown.curves["arms"][:2] == ["start", "twin"]
    assert [dose for dose, *_ in line(shown, "forget probability", "gradient_ascent")] == [0, 1, 2, 3]
    for name, of in (("start", model), ("twin", twin)):
        for measure, items in (("forget probability", FORGOTTEN), ("retain probability", RETAINED)):
            assert line(shown, measure, name)[0][1] == pytest.approx(probability(of, items), rel=1e-3)
    ended = copy.deepcopy(model)
    ended.load_state_dict(shown._shown.weights, strict=False)
    _, mean, low, high = line(shown, "forget probability", "gradient_ascent")[-1]
    assert mean == pytest.approx(probability(ended, FORGOTTEN), rel=1e-3) and low <= mean <= high
    assert mean < line(shown, "forget probability", "start")[0][1]


def test_the_model_is_as_it_was_until_weights_are_put_and_then_put_back(model, twin):
    before = weight_hash(model)
    own = {name: p.clone() for name, p in model.named_parameters()}
    made = bench(model, twin)
    assert weight_hash(model) == before
    made.put()
    assert made.force["state"] == "in force" and weight_hash(model) == made.force["now"] != before
    for name, p in model.named_parameters():
        assert torch.equal(p, made._shown.weights[name]), name
    made.run(wait=True)
    assert made.status == "error" and "an edit is in force; undo it first" in made.error["text"]
    made.undo()
    assert made.force["state"] == "undone" and made.force["same"] and weight_hash(model) == before
    assert all(torch.equal(p, own[name]) for name, p in model.named_parameters())


def test_an_attack_joins_start_twin_and_arm_and_is_that_of_rounded_weights(model, twin):
    made = bench(model, twin)
    made.attack_with("int4")
    assert made.attack["status"] == "ready" and made.curves["attacks"] == ["int4"]
    assert made.curves["arms"][-3:] == [f"{n} after int4" for n in ("start", "twin", "gradient_ascent")]
    rounded = unlearning.quantise(4)(copy.deepcopy(model))
    said = line(made, "forget probability", "start after int4")
    assert len(said) == 1 and said[0][1] == pytest.approx(probability(rounded, FORGOTTEN), rel=1e-3)
    made.attack_with("int4")
    assert len(made.curves["arms"]) == len(set(made.curves["arms"])), "an attack is made once"
    made.attack_with("relearn")
    assert made.curves["attacks"] == ["int4", "relearn"] and "relearn(retain)" in made.code
    with pytest.raises(widgets.ViewError, match="^name: 'heat' is not one of int4"):
        made.attack_with("heat")


def test_an_attack_before_a_run_is_told_beside_its_button(model):
    made = bench(model, run=False)
    made._on_message(made, {"type": "attack", "name": "int8"}, [])
    assert made.wait(SECONDS)
    assert made.attack["status"] == "error" and "run first" in made.attack["text"]
    made.put()
    assert made.force["state"] == "error" and "run first" in made.force["text"]


def test_a_row_may_go_to_the_other_set_or_to_none(model):
    made = bench(model, run=False)
    roles = list(made.roles)
    assert roles == [FORGET] * 5 + [RETAIN] * 5 and [r["row"] for r in made.rows] == list(range(10))
    assert made.rows[0]["prompt"] == "w1 w2" and made.rows[0]["answer"] == "w11 w12"
    roles[0], roles[9], roles[5] = RETAIN, FORGET, NEITHER
    forget, retain = made._pool.sets(roles)
    assert forget.pairs()[-1] == ((29, 30), (35,)) and retain.pairs()[0] == ((1, 2), (11, 12))
    assert (len(forget), len(retain)) == (5, 4)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"roles": [FORGET] * 10}, "roles: no row is to retain"),
        ({"roles": [FORGET]}, "roles: has 1 entries for 10 rows"),
        ({"roles": ["burn"] * 10}, "roles: has 10 entries for 10 rows; expected for each one of forget"),
        ({"steps": 0}, "steps: 0 is too few"),
        ({"rate": 2.0}, "rate: 2 is no learning rate"),
    ],
)
def test_what_cannot_be_asked_is_told_where_the_fields_are(model, fields, said):
    made = bench(model, run=False)
    made._on_message(made, {"type": "run", "fields": fields}, [])
    assert made.wait(SECONDS) and made.status == "error" and said in made.error["text"]


def test_sets_that_share_rows_are_an_error_on_the_page(model):
    made = bench(model, forget=FORGOTTEN, retain=FORGOTTEN)
    assert made.status == "error" and "share 5 pairs of rows" in made.error["text"]
    assert made.error["title"] == "This cannot be unlearned"


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        ((FORGOTTEN, None), {}, "^retain: is missing; give model, forget, retain"),
        ((FORGOTTEN, RETAINED), {"method": "hope"}, "^method: 'hope' is not one of"),
        ((3, RETAINED), {}, "^forget="),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(model, given, options, said):
    with pytest.raises(widgets.ViewError, match=said):
        widgets.UnlearningBench(model, *given, **options)


def test_a_stopped_path_is_shown_as_far_as_it_came(model):
    made = bench(model, run=False, steps=6)
    real = made._run_now

    def counted():
        run = real()
        made.observe(lambda change: run.calls >= 9 and made.stop(), "progress")
        return run

    made._run_now = counted
    made.run(wait=True)
    assert made.status == "stopped" and made.curves["status"]["gradient_ascent"] == "stopped"
    assert 0 < len(line(made, "forget probability", "gradient_ascent")) < 7


def test_a_saved_state_comes_back_without_its_weights_and_says_so(model, twin, tmp_path):
    made = bench(model, twin)
    path = made.save_state(tmp_path / "x.json")
    again = widgets.restore(path, model, FORGOTTEN, RETAINED, twin=twin)
    assert again.wait(SECONDS)
    for name in ("curves", "status", "method", "steps", "rate", "roles", "code"):
        assert getattr(again, name) == getattr(made, name), name
    again.put()
    assert again.force["state"] == "error" and "run first" in again.force["text"]
    kept = lens.open(made.save(tmp_path / "x.zarr"))
    np.testing.assert_array_equal(kept["forget_logprob"], made.result["forget_logprob"])


def test_the_code_gives_the_looks_shown_and_the_copy_tells_the_last_ones(model, twin, shown):
    space = {"model": model, "forget": FORGOTTEN, "retain": RETAINED, "twin": twin}
    given = "\n".join(part for part in shown.code.splitlines() if "..." not in part)
    exec(given.replace("print(", "kept = ("), space)
    own = space["table"].xs(("forget probability", "gradient_ascent"), level=("measure", "arm"))["mean"].dropna()
    shown_line = [mean for _, mean, *_ in line(shown, "forget probability", "gradient_ascent")]
    np.testing.assert_allclose(own.values, shown_line, rtol=1e-6)
    page = shown._static()
    assert "<th" in page and "gradient_ascent" in page and "5 rows to forget" in page
    assert "Nothing had been unlearned" in bench(model, run=False)._static()


@pytest.mark.slow
@pytest.mark.long
def test_given_nothing_it_opens_on_false_documents(monkeypatch):
    from IPython import display

    monkeypatch.setattr(display, "display", lambda *a, **k: None)
    made = widgets.UnlearningBench()
    made._ipython_display_()
    assert made.wait(600) and made.status == "complete" and made.examples["chosen"] == 0
    # half a dozen steps on false documents: the truth is mostly gone, the twin on true ones and the clean model have it
    ends = {arm: line(made, "right", arm)[0][1] for arm in ("start", "twin", "clean", "never_knew")}
    assert ends["twin"] > 0.9 and ends["clean"] > 0.9 and max(ends["start"], ends["never_knew"]) < 0.5
    planted = {arm: line(made, "planted", arm)[0][1] for arm in ("start", "twin", "clean")}
    assert planted["start"] > 0.3 and planted["twin"] < 0.1 and planted["clean"] < 0.1
    before = made._digest()
    made.put()
    assert made.force["state"] == "in force"
    made.undo()
    assert made.force["same"] and made._digest() == before
