"""Gates are looked at token by token and row by row: the edit acts where they are open, as in whole forwards."""

import warnings

import pytest
import torch

import lens
from lens import Edit, Gate, Site
from tests.engine import test_steps
from tests.models import tiny
from tests.texts import ASKED, PROMPTS, STEPS, edit, own, same, without_end


def by_projection(threshold):
    """The gate reads what enters the block whose output is edited: its own output in the reference is out of reach, so
    the gate's site is the edited one, before the edit.
    """
    unit = ASKED / ASKED.norm()
    return lambda text, x: ((x @ unit) > threshold).float()


@pytest.mark.parametrize("kind", ["llama", "gpt2", "olmo2"])
def test_a_projection_opens_token_by_token(kind):
    model, fresh = without_end(tiny(kind, seed=3)), tiny(kind, seed=3)
    gate = Gate.projection(Site("resid_post", layer=1), ASKED * 3, 0.3)
    got = same(model, fresh, edit(gate), by_projection(0.3))
    fired = [len(text.fired[0]) for text in got]
    assert 0 < sum(fired) < sum(len(p) + STEPS - 1 for p in PROMPTS)


def test_a_gate_in_padded_rows_opens_as_alone(monkeypatch):
    own(monkeypatch)
    gate = Gate.projection(Site("resid_post", layer=1), ASKED, 0.3)
    model = without_end(tiny("llama", seed=3))
    got = same(model, tiny("llama", seed=3), edit(gate), by_projection(0.3))
    monkeypatch.undo()
    walked = lens.generate(model, PROMPTS, edit(gate), max_new_tokens=STEPS, start=None)
    assert [t.fired for t in walked] == [t.fired for t in got]


@pytest.mark.parametrize("kind", ["recurrent_gemma", "longrope across its border"])
def test_a_gate_keeps_what_it_said_where_the_whole_text_is_read_again(kind):
    gate = Gate.projection(Site("resid_post", layer=1), ASKED, 0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        same(test_steps.make(kind), test_steps.make(kind), edit(gate), by_projection(0.3))


def test_a_probability_of_the_step_before_opens():
    watched, fresh = [3, 18, 24, 60, 72], tiny("llama", seed=3)

    def acts(text, x):
        out = torch.zeros(len(x))
        for at in range(len(x)):
            if text.read[at]:
                out[at] = float(text.logits[text.read[at] - 1].softmax(-1)[watched].sum() > 0.05)
        return out

    got = same(without_end(tiny("llama", seed=3)), fresh, edit(Gate.probability(watched, 0.05)), acts)
    assert any(text.fired[0] for text in got)
    assert all(p >= len(prompt) for text, prompt in zip(got, PROMPTS) for p in text.fired[0])


def test_a_token_opens_also_in_the_prompt():
    ids = {2, 7, 10, 40}
    acts = lambda text, x: torch.tensor([float(t in ids) for t in text.ids])  # noqa: E731
    got = same(without_end(tiny("llama", seed=3)), tiny("llama", seed=3), edit(Gate.token(sorted(ids))), acts)
    assert got[0].fired[0][:2] == (1, 3)


def test_a_function_opens_and_is_asked_for_one_row_at_a_time():
    asked = []

    def test(x):
        asked.append(len(x))
        return x[:, 0] > 0

    gate = Gate.function(Site("resid_post", layer=1), test)
    same(without_end(tiny("llama", seed=3)), tiny("llama", seed=3), edit(gate), lambda text, x: (x[:, 0] > 0).float())
    assert set(asked[len(PROMPTS) :]) == {1}


@pytest.mark.parametrize("padded", [False, True])
def test_a_gate_that_is_always_open_is_the_plain_edit_and_one_that_never_is_none_to_the_bit(padded, monkeypatch):
    if padded:
        own(monkeypatch)
    model, site = without_end(tiny("llama", seed=3)), Site("resid_post", layer=2)

    def captured(edits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return lens.generate(model, PROMPTS, edits, max_new_tokens=STEPS, start=None, capture=site)

    for when, plain in ((float("-inf"), edit()), (float("inf"), ())):
        gate = Gate.projection(Site("resid_pre", layer=1), ASKED, when)
        for a, b in zip(captured(edit(gate)), captured(plain)):
            assert a.ids == b.ids and torch.equal(a.activations[site], b.activations[site])


def test_a_rows_gate_does_not_depend_on_its_neighbours():
    model, gate = without_end(tiny("llama", seed=3)), Gate.projection(Site("resid_pre", layer=1), ASKED, 0.2)
    together = lens.generate(model, PROMPTS, edit(gate), max_new_tokens=STEPS, start=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one = [lens.generate(model, p, edit(gate), max_new_tokens=STEPS, start=None) for p in PROMPTS]
    assert [(t.ids, t.fired) for t in together] == [(t.ids, t.fired) for t in one]


def test_a_gate_that_is_never_open_is_told_with_what_it_read():
    model = without_end(tiny("llama", seed=3))
    gate = Gate.projection(Site("resid_pre", layer=1), ASKED, 1e6)
    with pytest.warns(UserWarning, match="was never open in 4 texts; the most that it read was"):
        lens.generate(model, PROMPTS, edit(gate), max_new_tokens=2, start=None)


@pytest.mark.parametrize(
    "test, said",
    [
        (lambda x: 1 / 0, "raised ZeroDivisionError: division by zero"),
        (lambda x: x[:, 0], "gave torch.float32 of shape"),
        (lambda x: torch.tensor(True), "gives a truth value for each of the"),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_a_condition_that_fails_is_named_and_leaves_nothing_behind(test, said, padded, monkeypatch):
    if padded:
        own(monkeypatch)
    model = without_end(tiny("llama", seed=3))
    before = [text.ids for text in lens.generate(model, PROMPTS, max_new_tokens=3, start=None)]
    with pytest.raises(lens.GateError, match=said):
        lens.generate(model, PROMPTS, edit(Gate.function(Site("resid_pre", layer=1), test)), start=None)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert [text.ids for text in lens.generate(model, PROMPTS, max_new_tokens=3, start=None)] == before


def test_gates_above_their_edits_and_gates_that_switch_each_other_are_refused():
    model = tiny("llama")
    above = edit(Gate.projection(Site("resid_pre", layer=2), ASKED, 0))
    at = Edit(Site("attn_out", layer=1), "zero", when=Gate.projection(Site("mlp_out", layer=1), ASKED, 0))
    for one in (Edit(above.site, "zero", when=Gate.projection(Site("attn_out", layer=2), ASKED, 0)), at):
        with pytest.raises(lens.EditError, match=r"edits\[0\]: its gate .* reads above the edit at"):
            lens.generate(model, PROMPTS, one, start=None)
    low = Edit(Site("mlp_out", layer=0), "zero", when=Gate.projection(Site("attn_out", layer=2), ASKED, 0))
    high = Edit(Site("attn_out", layer=2), "zero", when=Gate.projection(Site("resid_pre", layer=1), ASKED, 0))
    with pytest.raises(lens.EditError, match=r"edits\[0\] and edits\[1\] switch each other"):
        lens.generate(model, PROMPTS, [low, high], start=None)


def test_a_gate_may_be_read_where_its_edit_acts_and_sees_what_is_there_before():
    model = without_end(tiny("llama", seed=3))
    seen = []

    def test(x):
        seen.append(x.clone())
        return torch.zeros(len(x), dtype=torch.bool)

    both = [edit(), edit(Gate.function(Site("resid_post", layer=1), test))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lens.generate(model, PROMPTS[0], both, max_new_tokens=1, start=None)
        plain = lens.generate(model, PROMPTS[0], (), max_new_tokens=1, start=None, capture=both[0].site)
    torch.testing.assert_close(seen[0][-1], plain.activations[both[0].site][0])


def test_gates_that_cannot_be_are_refused():
    site = Site("resid_pre", layer=1)
    for make, said in (
        (lambda: Gate.projection(site, torch.zeros(32), 0), "expected a vector of numbers, finite and not all 0"),
        (lambda: Gate.projection(site, torch.ones(2, 32), 0), "expected numbers with 1 axis"),
        (lambda: Gate.projection(Site("resid_pre", layer=1, position=3), ASKED, 0), "leave position out"),
        (lambda: Gate.projection(Site("z", layer=1), ASKED, 0), "name one head"),
        (lambda: Gate.projection(site, ASKED, float("nan")), "threshold=nan does not fit"),
        (lambda: Gate.token([]), "holds none"),
        (lambda: Gate("projection", direction=ASKED), "site=None: a gate of kind 'projection' reads an activation"),
        (lambda: Gate("function", site), "test=None"),
        (lambda: Gate.token([1.5]), "does not fit"),
        (lambda: Gate.probability("yes", 0.5), "does not fit"),
    ):
        with pytest.raises(lens.GateError, match=said):
            make()
    with pytest.raises(lens.GateError, match="direction of .* has 5 numbers, and the site holds"):
        lens.generate(tiny("llama"), PROMPTS, edit(Gate.projection(site, torch.ones(5), 0)), start=None)
    with pytest.raises(lens.EditError, match="the model has 97 tokens"):
        lens.generate(tiny("llama"), PROMPTS, edit(Gate.probability(97, 0.5)), start=None)
