"""`lens.generate`: positions and schedules, what is shared, how texts end, draws, activations, and bad input."""

import pytest
import torch

import lens
from lens import Edit, Gate, Site
from lens.engine.anatomy import Anatomy
from lens.engine.model import Model
from lens.engine.walk.decoder import Decoder
from lens.engine.writing import own_forward
from lens.engine.writing.acts import Acts
from lens.engine.writing.written_out import WrittenOut
from tests.engine import test_positions
from tests.models import speaking, tiny
from tests.texts import PROMPTS, STEPS, VECTOR, alone, blocks_of, edit, every, out_of, own, same, without_end


@pytest.mark.parametrize(
    "position, meets",
    [
        (-1, lambda at, read, prompt: at == prompt - 1 or read > 0),
        (2, lambda at, read, prompt: at == 2),
        ((0, 9), lambda at, read, prompt: at in (0, 9)),
        (slice(-3, None), lambda at, read, prompt: at >= prompt - 3 if not read else True),
    ],
)
@pytest.mark.parametrize("padded", [False, True])
def test_positions_are_those_of_each_text_so_far(position, meets, padded, monkeypatch):
    if padded:
        own(monkeypatch)
    prompts = [p for p in PROMPTS if len(p) > 2]

    def acts(text, x):
        prompt = text.read.count(0)
        return torch.tensor([float(meets(at, text.read[at], prompt)) for at in range(len(x))])

    # a slice from the end meets earlier tokens again only where the whole text is read
    same(without_end(tiny("llama", seed=3)), tiny("llama", seed=3), edit(position=position), acts, prompts)


@pytest.mark.parametrize(
    "schedule, factor",
    [
        ("linear decay", lambda step: 1 - step / STEPS),
        ("first 2", lambda step: float(step < 2)),
        ([1, 0, 3.0], lambda step: [1, 0, 3, 0, 0, 0, 0, 0][step]),
        (lambda step: (-1) ** step, lambda step: (-1) ** step),
    ],
)
def test_a_schedule_says_how_far_an_edit_goes_at_each_step(schedule, factor):
    def acts(text, x):
        return torch.tensor([float(factor(step)) for step in text.read[: len(x)]])

    same(without_end(tiny("llama", seed=3)), tiny("llama", seed=3), edit(), acts, schedule=schedule)


def test_a_schedule_of_a_replacement_goes_a_part_of_the_way():
    model, site = without_end(tiny("llama", seed=3)), Site("resid_post", layer=2)

    def last(edits, **options):
        return lens.generate(model, PROMPTS[0], edits, max_new_tokens=1, start=None, capture=site, **options)

    at = Edit(Site("mlp_out", layer=2), "zero")
    whole, none = (last(e).activations[site] for e in (at, ()))
    torch.testing.assert_close(last(at, schedule=[0.25]).activations[site], none + 0.25 * (whole - none))


def test_what_all_prompts_begin_with_is_read_once():
    model, reads = without_end(tiny("llama", seed=3)), []
    begin = Acts.begin

    def noted(self, step, tokens, logits=None):
        reads.append(len(tokens.ids))
        begin(self, step, tokens, logits)

    prompts = [[*range(1, 21), *rest] for rest in ([30], [31, 32], [33, 34, 35])]
    Acts.begin = noted
    try:
        for position, first in ((None, 20), (-1, 20), (-3, 18), (7, 20), (slice(2, -2), 19)):
            reads.clear()
            same(model, tiny("llama", seed=3), edit(position=position), _slots(position), prompts)
            assert reads[0] == first and reads[1] == sum(len(p) - first for p in prompts)
    finally:
        Acts.begin = begin


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_the_models_own_forward_reads_a_beginning_once_for_rows_of_one_length(kind, monkeypatch):
    own(monkeypatch)
    model, reads = without_end(tiny(kind, seed=3)), []
    assert own_forward.batches(model, Anatomy.of(model)) is None and own_forward.shares(model, Anatomy.of(model))
    begin = Acts.begin
    monkeypatch.setattr(
        Acts,
        "begin",
        lambda self, step, tokens, *rest: (reads.append(len(tokens.ids)), begin(self, step, tokens, *rest))[1],
    )
    prompts = [[*range(1, 21), *rest] for rest in ([30, 31], [32, 33], [34, 35])]
    gate = Gate.projection(Site("resid_pre", layer=1), VECTOR, 0)
    same(model, tiny(kind, seed=3), edit(), every, prompts)
    assert reads[:2] == [20, 6]
    together = lens.generate(model, prompts, edit(gate), max_new_tokens=STEPS, start=None)
    assert [t.fired for t in together] == [
        lens.generate(model, p, edit(gate), max_new_tokens=STEPS, start=None).fired for p in prompts
    ]


def test_a_state_that_takes_no_several_tokens_shares_nothing():
    model = test_positions.make("mamba")
    assert not own_forward.shares(model, Anatomy.of(model))
    prompts = [[*range(1, 12), *rest] for rest in ([30, 31], [32, 33])]
    with pytest.warns(UserWarning, match="one by one"):
        same(model, test_positions.make("mamba"), edit(), every, prompts)


def _slots(position):
    def acts(text, x):
        out = torch.zeros(len(x))
        for step in range(max(text.read) + 1):
            length = text.read.count(0) + step
            fresh = [at for at in range(length) if text.read[at] == step]
            spec = range(length)[position] if isinstance(position, slice) else [position]
            named = range(length) if position is None else [p % length if p < length else -1 for p in spec]
            for at in fresh:
                out[at] = float(at in named)
        return out[: len(x)]

    return acts


def test_a_place_that_the_written_out_blocks_lack_is_met_in_the_models_own_forward(monkeypatch):
    model, plain = without_end(tiny("llama", seed=3)), Decoder.has
    monkeypatch.setattr(Decoder, "has", lambda self, site, layer: site != "mlp_out" and plain(self, site, layer))
    own_forwards, real = [], own_forward.OwnForward.start
    monkeypatch.setattr(
        own_forward.OwnForward, "start", lambda self, *given: own_forwards.append(len(given[0])) or real(self, *given)
    )
    push = Edit(Site("mlp_out", layer=0), "add", 3 * VECTOR)
    got = lens.generate(model, PROMPTS, push, max_new_tokens=STEPS, start=None)
    assert own_forwards[-1] == len(PROMPTS), "behind those of the probe"
    monkeypatch.undo()
    want = lens.generate(model, PROMPTS, push, max_new_tokens=STEPS, start=None)
    assert [t.ids for t in got] == [t.ids for t in want]
    plain_texts = lens.generate(model, PROMPTS, max_new_tokens=STEPS, start=None)
    assert [t.ids for t in got] != [t.ids for t in plain_texts], "the edit does something"


def test_a_prompt_is_compared_with_the_models_own_forward_once(monkeypatch):
    model, calls = without_end(tiny("llama", seed=3)), []
    real = Model.record
    monkeypatch.setattr(
        Model, "record", lambda self, ids, **how: calls.append(ids[0].tolist()) or real(self, ids, **how)
    )
    longest = max(PROMPTS, key=len)
    for _ in range(2):
        lens.generate(model, PROMPTS, edit(), max_new_tokens=2, start=None)
    assert calls == [longest]
    lens.generate(model, [[*longest, 1]], edit(), max_new_tokens=2, start=None)
    assert calls == [longest, [*longest, 1]]


def test_each_prompt_may_have_edits_of_its_own():
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    got = lens.generate(model, PROMPTS, [[edit()], [], [edit(scale=2)], [edit()]], max_new_tokens=STEPS, start=None)
    want = [alone(fresh, p, lambda text, x, k=k: k * torch.ones(len(x))) for p, k in zip(PROMPTS, (1, 0, 2, 1))]
    assert [text.ids for text in got] == want
    with pytest.raises(lens.GenerationError, match="edits holds 2 lists for 4 prompts"):
        lens.generate(model, PROMPTS, [[edit()], []], start=None)


# -- ends, stops, draws ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_rows_end_each_at_its_own_end_token_and_leave_the_batch(padded, monkeypatch):
    if padded:
        own(monkeypatch)
    model, fresh, sizes = tiny("llama", seed=3), tiny("llama", seed=3), []
    plain = [alone(fresh, p, every, steps=STEPS) for p in PROMPTS]
    ends = [plain[0][1], plain[2][3]]
    model.generation_config.eos_token_id = ends
    assert own_forward.batches(model, Anatomy.of(model)) is None and own_forward.shares(model, Anatomy.of(model))
    reader = own_forward.OwnForward if padded else WrittenOut
    step = reader.step
    monkeypatch.setattr(reader, "step", lambda self, new, *rest: (sizes.append(len(new)), step(self, new, *rest))[1])
    got = lens.generate(model, PROMPTS, edit(), max_new_tokens=STEPS, start=None)
    assert [text.ids for text in got] == [alone(fresh, p, every, ends=ends) for p in PROMPTS]
    assert [text.reason for text in got] == ["end" if set(t.ids) & set(ends) else "length" for t in got]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > sizes[-1]


def test_a_stop_string_ends_a_text_before_it_and_one_in_the_prompt_does_not():
    model = without_end(speaking("llama", seed=3))
    plain = lens.generate(model, "w1 w2 w3", max_new_tokens=6)
    word = plain.split()[2]
    text = lens.generate(model, "w1 w2 w3", max_new_tokens=6, stop=word)
    first = plain.split().index(word) + 1
    assert text.reason == "stop string" and text.ids == plain.ids[:first] and word not in text.split()
    assert str(text) == str(plain)[: str(plain).index(word)] and text.complete
    two = lens.generate(model, ["w1 w2 w3", "w5"], max_new_tokens=6, stop=[word, "never"])
    assert two[0] == text
    inside = lens.generate(model, f"w1 w2 {word} w3", max_new_tokens=4, stop=word)
    assert inside.ids and (inside.reason == "length" or word in str(lens.tokens.token_strings(model, inside.ids)))
    for stop in ("", ["a", 3]):
        with pytest.raises(lens.GenerationError, match="stop.* does not fit"):
            lens.generate(model, "w1", stop=stop)


def test_a_stop_function_and_ctrl_c_leave_what_there_is():
    model, asked = without_end(speaking("llama", seed=3)), []
    whole = lens.generate(model, ["w1 w2 w3", "w5"], max_new_tokens=6)
    part = lens.generate(
        model, ["w1 w2 w3", "w5"], max_new_tokens=6, stop=lambda: (asked.append(1), len(asked) > 3)[1], batch=1
    )
    assert [t.reason for t in part] == ["stopped", "stopped"] and not any(t.complete for t in part)
    # the shorter prompt goes first
    assert part[1].ids == whole[1].ids[:3] and part[0].ids == ()

    def press(x):
        if len(x) == 1:
            raise KeyboardInterrupt
        return torch.ones(len(x), dtype=torch.bool)

    pressed = lens.generate(model, "w1 w2 w3", edit(Gate.function(Site("resid_pre", layer=1), press)), max_new_tokens=6)
    assert pressed.reason == "stopped" and len(pressed.ids) == 1


def test_draws_of_a_text_are_its_own_whatever_its_neighbours_and_the_size_of_the_batch():
    model = without_end(tiny("llama", seed=3))
    options = dict(max_new_tokens=STEPS, temperature=1.5, seed=7, start=None)
    together = [t.ids for t in lens.generate(model, [*PROMPTS, PROMPTS[0]], edit(), **options)]
    for batch in (1, 2):
        assert [t.ids for t in lens.generate(model, [*PROMPTS, PROMPTS[0]], edit(), batch=batch, **options)] == together
    assert [lens.generate(model, p, edit(), **options).ids for p in PROMPTS] == together[:-1]
    assert together[-1] != together[0], "the same prompt again is another draw"
    assert [t.ids for t in lens.generate(model, PROMPTS, edit(), **{**options, "seed": 8})] != together[:-1]


def test_draws_follow_the_models_distribution():
    model = tiny("llama", seed=3)
    drawn = [t.ids[0] for t in lens.generate(model, [PROMPTS[1]] * 400, max_new_tokens=1, temperature=1, start=None)]
    share = model(torch.tensor([PROMPTS[1]])).logits[0, -1].softmax(-1)
    top = int(share.argmax())
    p, hits = float(share[top]), drawn.count(top)
    assert abs(hits - 400 * p) < 4 * (400 * p * (1 - p)) ** 0.5 and len(set(drawn)) > 5


def test_activations_are_those_of_the_token_before_each_new_one():
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    sites = [Site("resid_post", layer=1), Site("z", layer=2, head=(0, 3)), Site("neuron", layer=0)]
    got = lens.generate(model, PROMPTS, edit(), max_new_tokens=4, start=None, capture=sites)
    for text, prompt in zip(got, PROMPTS):
        ids = torch.tensor([[*prompt, *text.ids]])
        seen = {}
        with torch.no_grad(), out_of(blocks_of(fresh)[1], lambda x: x + VECTOR):
            handles = [
                fresh.model.layers[2].self_attn.o_proj.register_forward_pre_hook(
                    lambda _, a: seen.update(z=a[0][0].unflatten(-1, (4, 8))[:, [0, 3]])
                ),
                fresh.model.layers[0].mlp.down_proj.register_forward_pre_hook(lambda _, a: seen.update(neuron=a[0][0])),
                fresh.model.layers[1].register_forward_hook(
                    lambda _, a, out: seen.update(resid=out[0] if out.ndim == 3 else out)
                ),
            ]
            fresh(ids)
            for handle in handles:
                handle.remove()
        at = slice(len(prompt) - 1, len(prompt) + 3)
        for site, name in zip(sites, ("resid", "z", "neuron")):
            torch.testing.assert_close(text.activations[site], seen[name][at], atol=1e-4, rtol=1e-4)


def test_under_edits_of_a_with_block_around_it_both_act():
    model, fresh = without_end(tiny("llama", seed=3)), tiny("llama", seed=3)
    with lens.edited(model, edit()):
        same(model, fresh, edit(scale=1.0), lambda text, x: 2 * torch.ones(len(x)))


def test_a_full_memory_halves_the_batch_and_changes_nothing(monkeypatch):
    model, start, sizes = without_end(tiny("llama", seed=3)), WrittenOut.start, []
    options = dict(max_new_tokens=STEPS, start=None, temperature=1.0, capture=Site("resid_post", layer=1))
    want = lens.generate(model, PROMPTS, edit(), **options)

    def full(self, prompts, who):
        sizes.append(len(prompts))
        logits = start(self, prompts, who)
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("full")
        return logits

    monkeypatch.setattr(WrittenOut, "start", full)
    got = lens.generate(model, PROMPTS, edit(), **options)
    assert sizes == [4, 2, 2] and [t.ids for t in got] == [t.ids for t in want]
    for a, b in zip(got, want):
        torch.testing.assert_close(a.activations, b.activations, atol=1e-4, rtol=1e-4)


def test_prompts_that_cannot_be_are_refused():
    model = speaking("llama")
    for prompts, said in (
        ([], "holds none"),
        (3, "expected text, token ids"),
        (["w1", " "], r"prompts\[1\]=' ' does not fit; expected text that is more than spaces"),
        (["w1", [3, 97]], r"prompts\[1\]=\[3, 97\] does not fit; expected text, a chat or token ids"),
        ([[1.5]], r"prompts\[0\]=\[1.5\] does not fit"),
        ([list(range(60))], "max_new_tokens=20 holds a row of 79 tokens and the model reads at most 64"),
    ):
        with pytest.raises(lens.Error, match=said):
            lens.generate(model, prompts)
    for edits, said in ((["add"], "'add'"), (range(10**18), "0")):
        with pytest.raises(lens.Error, match=rf"edits\[0\]={said} is no lens.Edit"):
            lens.generate(model, "w1", edits)
    with pytest.raises(lens.Error, match="leave position out"):
        lens.generate(model, "w1", capture=Site("resid_pre", layer=1, position=2))
    with pytest.raises(lens.Error, match="patterns are wider at each step"):
        lens.generate(model, "w1", capture=Site("pattern", layer=1))
    with pytest.raises(lens.Error, match="schedule='fast' is not known"):
        lens.generate(model, "w1", schedule="fast")


def test_one_prompt_gives_one_text_and_a_list_a_list():
    model = without_end(speaking("llama", seed=3))
    one = lens.generate(model, "w1 w2 w3", max_new_tokens=3)
    many = lens.generate(model, ["w1 w2 w3"], max_new_tokens=3)
    ids = lens.generate(model, torch.tensor([0, 1, 2, 3]), max_new_tokens=3)
    assert isinstance(one, str) and many == [one] and ids.ids == one.ids and one.ids == many[0].ids


def test_an_edit_that_no_token_met_is_told():
    with pytest.warns(UserWarning, match="no token met the edit at"):
        lens.generate(tiny("llama"), PROMPTS, edit(position=50), max_new_tokens=2, start=None)
