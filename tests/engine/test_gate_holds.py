"""For how long gates hold: a token, the text by what is said at the prompt's end, or from the first opening on."""

import json
import warnings

import pytest
import torch

import lens
from lens import Edit, Gate, Site
from tests import naive
from tests.engine import test_steps
from tests.models import tiny
from tests.texts import ASKED, PROMPTS, STEPS, VECTOR, edit, own, same, without_end

AT = Site("resid_post", layer=1)
UNIT = ASKED / ASKED.norm()
THRESHOLD = 0.3
NAMED = (2, 7, 10, 30, 40)
HOLDS = ["prompt", "once"]
pytestmark = pytest.mark.filterwarnings("ignore:the gate", "ignore:recurrent_gemma")


def acts(hold, *, tokens=(), begin=None, new_only=False):
    """What an edit does to each token of a whole text: `begin`: which tokens it meets; new_only: none of the prompt."""

    def of(text, x):
        n = text.read.count(0)
        said = (x @ UNIT) > THRESHOLD
        if tokens:
            said &= torch.isin(torch.tensor(text.ids), torch.tensor(tokens))
        met = torch.arange(len(x)) >= (0 if begin is None else begin(n))
        if hold == "prompt":
            opened = said[n - 1].expand(len(x))
        else:
            opened = (said & met).long().cumsum(0) > 0
        if new_only:
            met &= torch.arange(len(x)) >= n
        return (opened & met).float()

    return of


def gate(hold, **how):
    return Gate.projection(AT, ASKED * 3, THRESHOLD, hold=hold, **how)


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("path", ["walk", "own", pytest.param("again", marks=pytest.mark.long)])
def test_a_gate_holds_in_a_batch_as_in_whole_texts_one_by_one(hold, path, monkeypatch):
    kind = "recurrent_gemma" if path == "again" else "llama"
    make = (lambda: test_steps.make(kind)) if path == "again" else (lambda: tiny(kind, seed=3))
    if path == "own":
        own(monkeypatch)
    model, fresh = without_end(make()), make()
    # two that begin alike by themselves: what they share is read once where nothing depends on their ends
    for prompts in (PROMPTS, [PROMPTS[0], [*PROMPTS[3], 7]]):
        for position, begin in ((None, None), (-1, lambda n: n - 1)):
            got = same(model, fresh, edit(gate(hold), position), acts(hold, begin=begin), prompts)
            fired = [text.fired[0] for text in got]
            if position is None and prompts is PROMPTS:
                assert len({len(one) > 0 for one in fired}) == 2 or hold == "once"
                # of the prompt all of a text or nothing; once: from some token on all
                assert all(one == tuple(range(one[0], len(p) + STEPS - 1)) for one, p in zip(fired, PROMPTS) if one)
                assert hold == "once" or all(one[0] == 0 for one in fired if one)


def test_a_decision_at_the_prompts_end_is_taken_where_the_edit_does_not_act_there():
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    later = [0.0] + [1.0] * (STEPS - 1)
    same(model, fresh, edit(gate("prompt")), acts("prompt", new_only=True), schedule=later)
    each = [[edit(gate("prompt"), slice(len(p), None))] for p in PROMPTS]
    same(model, fresh, each, acts("prompt", new_only=True))


def test_tokens_are_those_at_which_alone_a_gate_can_be_open():
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    plain = lambda text, x: acts("once", tokens=NAMED)(text, x)  # noqa: E731
    got = same(model, fresh, edit(gate("once", tokens=NAMED)), plain)
    assert all(t.ids_of[t.fired[0][0]] in NAMED for t in map(whole, got, PROMPTS) if t.fired[0])
    step = gate("step", tokens=NAMED)
    got = [whole(t, p) for t, p in zip(lens.generate(model, PROMPTS, edit(step), start=None), PROMPTS)]
    fired = [t.ids_of[at] for t in got for at in t.fired[0]]
    assert fired and set(fired) <= set(NAMED)


def whole(text, prompt):
    text.ids_of = [*prompt, *text.ids]
    return text


@pytest.mark.parametrize("hold", HOLDS)
def test_a_gate_holds_in_rows_and_in_with_blocks(hold):
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    ids = [torch.tensor(p) for p in PROMPTS]
    view, reads = lens.Model.of(model), [[len(p) - 1] for p in PROMPTS]
    for position, begin in ((None, 0), (slice(1, None), 1)):
        of = edit(gate(hold), position)
        want = []
        for one in ids:
            x = naive.activation(fresh, one, "resid_post", 1)
            said = (x @ UNIT) > THRESHOLD
            met = torch.arange(len(one)) >= begin
            opened = said[-1].expand(len(one)) if hold == "prompt" else (said & met).long().cumsum(0) > 0
            act = (opened & met).float()
            want.append(naive.forward(fresh, one, [("resid_post", 1, lambda x, a=act: x + a[:, None] * VECTOR)])[-1])
        want = torch.stack(want)
        rows = view.run(view.record(ids), [(i, (of,)) for i in range(len(ids))], reads)
        close = dict(atol=1e-4 * float(want.abs().max()), rtol=0)
        torch.testing.assert_close(view.unembed(rows.resid), want, **close)
        with lens.edited(model, of), torch.no_grad():
            torch.testing.assert_close(torch.stack([model(one[None]).logits[0, -1] for one in ids]), want, **close)
            n = max(map(len, PROMPTS))
            padded = torch.tensor([[0] * (n - len(p)) + p for p in PROMPTS])
            mask = torch.tensor([[0] * (n - len(p)) + [1] * len(p) for p in PROMPTS])
            got = model.generate(padded, attention_mask=mask, max_new_tokens=STEPS, do_sample=False)[:, n:]
        texts = lens.generate(model, PROMPTS, of, max_new_tokens=STEPS, start=None)
        assert [tuple(row.tolist()) for row in got] == [text.ids for text in texts]


def test_a_with_block_refuses_what_it_cannot_follow():
    model = without_end(tiny("llama", seed=3))
    ids = torch.tensor(PROMPTS[:1])
    with torch.no_grad(), lens.edited(model, edit(gate("prompt"))):
        first, other = model(ids), model(ids + 1)
        with pytest.raises(lens.EditError, match="goes on with 5 tokens that are not those read last"):
            model(ids[:, :1], past_key_values=first.past_key_values)
        with pytest.raises(lens.EditError, match="beams and drafts"):
            model.generate(ids, num_beams=2, max_new_tokens=2, do_sample=False)
        with pytest.raises(lens.EditError, match="read again at every step"):
            model.generate(ids, use_cache=False, max_new_tokens=3, do_sample=False)
    with torch.no_grad(), lens.edited(model, edit(gate("once"))):
        cached, read_again = (
            model.generate(ids, use_cache=use, max_new_tokens=STEPS, do_sample=False) for use in (True, False)
        )
    assert torch.equal(cached, read_again)
    given = model(ids, use_cache=True).past_key_values
    with pytest.raises(lens.EditError, match="are not those read last"), lens.edited(model, edit(gate("once"))):
        model(ids[:, :1], past_key_values=given)
    assert other is not None and not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize("hold", HOLDS)
def test_once_a_probability_or_a_token_has_opened_a_gate_it_stays_open(hold):
    model = without_end(tiny("llama", seed=3))
    shown = Gate.token(NAMED, hold=hold)
    texts = lens.generate(model, PROMPTS, edit(shown), max_new_tokens=STEPS, start=None)
    for text, prompt in zip(texts, PROMPTS):
        ids = [*prompt, *text.ids][:-1]
        at = [i for i, one in enumerate(ids) if one in NAMED]
        if hold == "prompt":
            begin = 0 if prompt[-1] in NAMED else len(ids)
        else:
            begin = at[0] if at else len(ids)
        assert text.fired[0] == tuple(range(begin, len(ids)))
    if hold == "once":
        each, kept = (
            [t.fired[0] for t in lens.generate(model, PROMPTS, none(one), max_new_tokens=STEPS, start=None)]
            for one in (Gate.probability([3, 18, 24], 0.04), Gate.probability([3, 18, 24], 0.04, hold="once"))
        )
        ends = [len(p) + STEPS - 1 for p in PROMPTS]
        assert kept == [tuple(range(one[0], n)) if one else () for one, n in zip(each, ends)]
        assert any(len(one) not in (0, len(other)) for one, other in zip(each, kept))


def none(gate):
    """An edit that changes nothing, so that gates read what they read without it."""
    return Edit(Site("resid_post", layer=1), "scale", scale=1.0, when=gate)


def test_a_file_says_how_long_and_older_files_are_read(tmp_path):
    for one in (gate("once", tokens=NAMED), gate("prompt"), Gate.token(3, hold="once"), gate("step")):
        again = Gate.open(one.save(tmp_path / "gate.safetensors"))
        assert (again.hold, again.tokens, repr(again)) == (one.hold, one.tokens, repr(one))
        assert "hold" not in repr(one) or one.hold in repr(one)
    from safetensors import safe_open

    formats = []
    for one in (gate("step"), gate("once"), gate("step", tokens=3), Gate.token(3)):
        with safe_open(one.save(tmp_path / "gate.safetensors"), "pt") as file:
            formats.append(file.metadata()["format"][-1])
            about = json.loads(file.metadata()["gate"])
    assert formats == ["1", "2", "2", "1"]  # older readers refuse what they would leave out
    del about["hold"]
    header = {"format": "mnemoscope gate 1", "gate": json.dumps(about)}
    lens.files.write_tensors(tmp_path / "old.safetensors", {"none": torch.zeros(1)}, header)
    old = Gate.open(tmp_path / "old.safetensors")
    assert (old.kind, old.tokens, old.hold) == ("token", (3,), "step")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: gate("always"), "hold='always'"),
        (lambda: gate(None), "hold=None"),
        (lambda: Gate("token", tokens=(1,), hold="twice"), "hold='twice'"),
        (lambda: Gate.probability(3, 0.5, hold="prompt"), "hold='prompt': a gate of kind 'probability' is shut"),
        (lambda: gate("once", tokens=[-1]), "does not fit"),
        (lambda: gate("once", tokens="yes"), "does not fit"),
    ],
)
def test_what_no_gate_can_hold_is_named(make, message):
    with pytest.raises(lens.GateError, match=message):
        make()


def test_a_gate_that_never_opened_is_told_whatever_it_holds():
    model = without_end(tiny("llama", seed=3))
    for hold in HOLDS:
        shut = edit(Gate.projection(AT, ASKED, 1e6, hold=hold))
        with pytest.warns(UserWarning, match="was never open in 4 texts; the most that it read was"):
            lens.generate(model, PROMPTS, shut, max_new_tokens=2, start=None)
        with warnings.catch_warnings(record=True) as said, torch.no_grad():
            warnings.simplefilter("always")
            with lens.edited(model, shut):
                model(torch.tensor(PROMPTS[:1]))
        assert any("was never open" in str(one.message) for one in said)
