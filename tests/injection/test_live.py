"""One prompt at once: the next token and generated text against the same edits made by hooks."""

import pytest
import torch

import lens
from lens.injection import InjectionError, encode, generate, next_tokens, places
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few

PROMPT = "w1 w2 w3 w4"


def logits_by_hook(model, ids, layer, vector, positions):
    def change(x):
        x = x.clone()
        x[:, positions] += vector
        return x

    hook = naive._on_output(naive.parts(model, layer)["attn_end"], change)
    try:
        return model(ids).logits
    finally:
        hook.remove()


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_the_next_token_equals_a_hooked_forward(kind):
    model = speaking(kind)
    memory = encode(model, "w5 w9", "activation")
    d = next_tokens(model, PROMPT, memory, layers=1, strength=-2.5, positions="not_first", k=3)
    ids = torch.tensor([[0, 1, 2, 3, 4]])
    want = logits_by_hook(model, ids, 1, -2.5 * memory.vectors[1], [1, 2, 3, 4])[0, -1].log_softmax(-1)
    assert torch.allclose(d.logprobs_after, want, atol=2e-4) and torch.allclose(
        d.logprobs_before, model(ids).logits[0, -1].log_softmax(-1), atol=2e-4
    )
    assert [t for t, _ in d.after] == [f"w{i}" for i in want.topk(3).indices.tolist()]
    assert d.kl == pytest.approx(
        torch.nn.functional.kl_div(want, d.logprobs_before, log_target=True, reduction="sum").item(), abs=1e-3
    )
    again = next_tokens(model, PROMPT, memory, layers=1, strength=-2.5, positions="not_first", runs=d.runs)
    assert again.runs is d.runs and torch.equal(again.logprobs_after, d.logprobs_after)
    assert next_tokens(model, "w1 w2", memory, layers=1, runs=d.runs).runs is not d.runs, (
        "the run of another prompt is not used"
    )


@pytest.mark.parametrize("positions", lens.injection.POSITIONS)
def test_generation_equals_a_loop_of_hooked_forwards(positions):
    model = speaking("llama")
    memory, ids = encode(model, "w5", "embed"), [0, 1, 2, 3, 4]
    text = generate(
        model, PROMPT, memory, layers=(0, 2), strength=4, positions=positions, subject="w2 w3", max_new_tokens=5
    )
    for _ in range(5):
        at = {"all": range(len(ids)), "not_first": range(1, len(ids)), "last": [4], "subject": [2, 3]}[positions]
        hooks = [
            naive._on_output(
                naive.parts(model, layer)["attn_end"],
                lambda x, layer=layer: x.index_add(
                    1, torch.tensor(list(at)), 4 * memory.vectors[layer].expand(1, len(at), -1)
                ),
            )
            for layer in (0, 2)
        ]
        ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        for hook in hooks:
            hook.remove()
        if ids[-1] == 0:
            break
    assert text.split() == [f"w{i}" for i in ids[5:] if i]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_an_answer_of_several_tokens_is_read_whole(kind):
    model = speaking(kind)
    memory = encode(model, "w5 w9", "activation")
    d = next_tokens(model, PROMPT, memory, layers=1, strength=3, answer=" w7 w8 w6")
    ids = torch.tensor([[0, 1, 2, 3, 4, 7, 8]])

    def read(logits):
        return sum(logits[0, 4 + t].log_softmax(-1)[a].item() for t, a in enumerate((7, 8, 6)))

    assert d.answer_before == pytest.approx(read(model(ids).logits), abs=2e-4)
    assert d.answer_after == pytest.approx(
        read(logits_by_hook(model, ids, 1, 3 * memory.vectors[1], [0, 1, 2, 3, 4])), abs=2e-4
    )
    assert d.answer_tokens == 3 and d.answer_change == pytest.approx(d.answer_after - d.answer_before)
    again = next_tokens(model, PROMPT, memory, layers=1, strength=3, answer=" w7 w8 w6", runs=d.runs)
    assert again.runs is d.runs and again.answer_change == d.answer_change
    other = next_tokens(model, PROMPT, memory, layers=1, strength=3, answer=" w7 w9 w6", runs=d.runs)
    assert other.runs is not d.runs and other.answer_before != d.answer_before, "the run of another answer is not used"
    plain = next_tokens(model, PROMPT, memory, layers=1, strength=3)
    assert (
        torch.allclose(plain.logprobs_after, d.logprobs_after, atol=1e-5)
        and plain.answer_after is plain.answer_change is None
        and not plain.answer_tokens
    )
    alone = next_tokens(model, PROMPT, answer=" w7 w8 w6")
    assert alone.answer_change == 0 and alone.answer_before == pytest.approx(d.answer_before, abs=1e-5)
    with pytest.raises(InjectionError, match="answer"):
        next_tokens(model, PROMPT, memory, layers=1, answer="")


def test_a_stopped_generation_returns_what_there_is():
    model = speaking("llama")
    memory, asked = encode(model, "w5", "embed"), []

    def call(stop):
        return generate(model, PROMPT, memory, layers=1, strength=4, max_new_tokens=5, stop=stop)

    whole = call(lambda: False)
    assert whole.complete and whole.reason in ("length", "end") and len(whole.ids) >= 2
    part = call(lambda: len(asked) == 2 or asked.append(1))
    assert (
        not part.complete
        and part.ids == whole.ids[:2]
        and whole.startswith(part)
        and part == " ".join(f"w{i}" for i in part.ids if i)
    )
    assert call(lambda: True) == "" and not call(lambda: True).complete
    assert torch.equal(
        next_tokens(model, PROMPT).logprobs_before, next_tokens(speaking("llama"), PROMPT).logprobs_before
    ), "no hook stays on the model"


def test_without_a_memory_nothing_is_injected():
    model = speaking("gpt2")
    d = next_tokens(model, PROMPT)
    assert d.kl == 0 and d.before == d.after


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda m, v: next_tokens(m, " ", v, layers=0), "prompt"),
        (lambda m, v: next_tokens(m, PROMPT, v, layers=9), "layer"),
        (lambda m, v: next_tokens(m, PROMPT, v, layers=0, strength=float("inf")), "strength"),
        (lambda m, v: next_tokens(m, PROMPT, v, layers=0, positions="first"), "positions"),
        (lambda m, v: places(m, PROMPT, "subject", subject="w9"), "subject"),
        (lambda m, v: generate(m, PROMPT, v, layers=0, max_new_tokens=0), "max_new_tokens"),
    ],
)
def test_bad_arguments_are_named(call, words):
    model = speaking("llama")
    with pytest.raises(ValueError, match=words) as error:
        call(model, encode(model, "w5"))
    assert isinstance(error.value, (InjectionError, ValueError))
