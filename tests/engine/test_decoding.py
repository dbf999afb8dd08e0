"""Ways of calling a model that cannot be tried on the probe: an edit there is refused with the reason and the next
step, and nothing is remembered of it.
"""

import pytest
import torch
import transformers as T

import lens
from lens import EditError
from lens.engine import decoding
from lens.engine.anatomy import Anatomy
from lens.engine.decoding import Way
from tests.engine.test_positions import _SIZE, VALUE, edit

#: Which calls of a `Fragile` fail: a function of the number of new tokens, the mask and the cache.
FAILS = {"when": None}


class Fragile(T.OPTForCausalLM):
    """An OPT whose forward fails for some calls; all the others are those of the plain class."""

    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, position_ids=None, **given):
        before = 0 if past_key_values is None else past_key_values.get_seq_length()
        if FAILS["when"] is not None and FAILS["when"](input_ids.shape[1], before, attention_mask):
            raise RuntimeError("no kernel for this shape")
        return super().forward(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
            **given,
        )


@pytest.fixture(autouse=True)
def works_again():
    yield
    FAILS["when"] = None


def make():
    torch.manual_seed(1)
    size = {k: v for k, v in _SIZE.items() if k not in ("intermediate_size", "initializer_range")}
    config = T.OPTConfig(**{**size, "pad_token_id": 1}, ffn_dim=48, word_embed_proj_dim=32, init_std=0.3)
    return Fragile(config).eval().requires_grad_(False)


IDS = torch.tensor([[0, 0, 5, 17, 3], [88, 41, 9, 60, 7]])
MASK = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])


def padded(model):
    return model(IDS, attention_mask=MASK, use_cache=False).logits


def stepped(model):
    first = model(IDS[1:, :4], use_cache=True)
    return model(IDS[1:, 4:], past_key_values=first.past_key_values, use_cache=True).logits


def several(model):
    first = model(IDS[1:, :3], use_cache=True)
    return model(IDS[1:, 3:], past_key_values=first.past_key_values, use_cache=True).logits


WHY = r"could not be tried on the probe \(RuntimeError: no kernel"
#: how the model is called; which calls of the probe fail, none of the person's; what is said
CALLS = {
    "padding": (padded, lambda n, before, mask: n == 12, rf"left-padded rows without.*{WHY}.*Hand in position_ids"),
    "a step": (
        stepped,
        lambda n, before, mask: n == 1 and before > 5,
        rf"one token after a cache without.*{WHY}.*Hand in position_ids",
    ),
    "steps": (
        several,
        lambda n, before, mask: n == 4 and before > 4,
        rf"several tokens after a cache without.*{WHY}.*one at a time",
    ),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_way_that_cannot_be_tried_is_refused_with_the_reason(name):
    call, fails, said = CALLS[name]
    model = make()
    with torch.no_grad():
        plain = call(model)
        FAILS["when"] = fails
        assert torch.equal(call(model), plain)  # the person's own calls do not fail
        with pytest.raises(EditError, match=said), lens.edited(model, edit(1)):
            call(model)
        FAILS["when"] = None
        with lens.edited(model, edit(1)):  # what failed is tried anew
            served = call(model)
        assert not torch.equal(served, plain)
        FAILS["when"] = fails
        with lens.edited(model, edit(1)):  # and what was tried is not tried again
            assert torch.equal(call(model), served)


def test_a_model_that_hands_over_no_cache_is_refused_after_one(monkeypatch):
    anatomy, own = Anatomy.of(make()), decoding.read
    monkeypatch.setattr(decoding, "read", lambda *given, **named: (own(*given, **named)[0], None))
    way = Way(padded=False, position_ids=False, mask=False, step=1, static=False)
    why = decoding.refusal(anatomy, way, [5], 5)
    assert "could not be tried on the probe (LookupError: it hands over no cache" in why
    assert "Hand in position_ids" in why


def test_numbers_that_are_none_are_refused(monkeypatch):
    anatomy = Anatomy.of(make())
    monkeypatch.setattr(decoding, "_called", lambda a, ids, way: torch.full((2, 97), float("nan")))
    way = Way(padded=False, position_ids=True, mask=True, step=1, static=False)
    assert "gives other numbers" in decoding.refusal(anatomy, way, [5], 5)


def test_a_full_memory_says_nothing_of_a_way(monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("full")

    anatomy = Anatomy.of(make())
    monkeypatch.setattr(decoding, "_called", full)
    with pytest.raises(torch.OutOfMemoryError):
        decoding.refusal(anatomy, Way(padded=True, position_ids=True, mask=True, step=0, static=False), [5], 5)
    assert not anatomy.ways


def test_a_recurrent_model_whose_steps_differ_is_refused_and_served_without_a_cache():
    from tests.engine.test_steps import PROMPT
    from tests.engine.test_steps import make as of

    model, fresh = of("recurrent_gemma"), of("recurrent_gemma")
    options = dict(max_new_tokens=4, do_sample=False, pad_token_id=0)
    with pytest.raises(EditError, match="recurrent_gemma.*could not be tried.*use_cache=False"):
        with lens.edited(model, edit(1)):
            model.generate(PROMPT[None], **options)
    with lens.edited(model, edit(1)):
        got = model.generate(PROMPT[None], use_cache=False, **options)[0].tolist()
    ids = PROMPT.tolist()

    def add(_, args, kwargs):
        x = (args[0] if args else kwargs["hidden_states"]).clone()
        x[:, 1] += VALUE
        return ((x, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": x})

    fresh.model.layers[1].register_forward_pre_hook(add, with_kwargs=True)
    with torch.no_grad():
        for _ in range(4):
            ids.append(int(fresh(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    assert got == ids
