"""Tasks that are asked in conversations, against the tokenizer's own chat template."""

import numpy as np
import pytest
import torch

import lens
from lens.vectors import ChatTemplate, Task, VectorError, as_template, build
from tests.models import speaking

TURNS = "{% for m in messages %}w90 {{ m.content }} w91 {% endfor %}{% if add_generation_prompt %}w92{% endif %}"
PAIRS = [(f"w{i}", f" w{i + 20}") for i in range(10, 22)]


def talking():
    model = speaking()
    model.tokenizer.chat_template = TURNS
    return model


def turns(prompt, system=None, question="{x}"):
    messages = [] if system is None else [{"role": "system", "content": system}]
    for x, y in prompt.demos:
        messages += [{"role": "user", "content": question.replace("{x}", x)}, {"role": "assistant", "content": y}]
    return [*messages, {"role": "user", "content": question.replace("{x}", prompt.x)}]


@pytest.mark.parametrize("kind", ["icl", "shuffled", "zero_shot"])
def test_demonstrations_are_turns(kind):
    model, task = talking(), Task.chat(PAIRS, system="w5", question="w6 {x}")
    form = ChatTemplate(system="w5", question="w6 {x}", lead=" ")
    for prompt in build(model, task, kind, shots=3, n=4, template=form):
        ids = model.tokenizer.apply_chat_template(
            turns(prompt, "w5", "w6 {x}"), add_generation_prompt=True, return_dict=False
        )
        assert prompt.ids.tolist() == ids and prompt.ids[0] == 90
        assert prompt.text.split() == [f"w{i}" for i in ids]
        assert prompt.answer_ids == (int(prompt.y[1:]),)
    assert len(prompt.demos) == (0 if kind == "zero_shot" else 3)


def test_an_instruction_is_the_system_turn():
    model, task = talking(), Task.from_pairs(PAIRS, instruction="w7 w8")
    (prompt, *_) = build(model, task, "instruction", template=ChatTemplate(system="w5", lead=" "))
    assert prompt.ids.tolist()[:4] == [90, 7, 8, 91]


def test_a_task_brings_its_form_and_another_may_be_asked_for(smollm2):
    task = Task.chat([("hot", "cold"), ("big", "small"), ("up", "down")], system="Give the opposite.")
    (prompt,) = build(smollm2, task, "zero_shot")
    head = "<|im_start|>system\nGive the opposite.<|im_end|>\n<|im_start|>user\n"
    assert prompt.text == f"{head}{prompt.x}<|im_end|>\n<|im_start|>assistant\n"
    assert prompt.ids[0] == smollm2.tokenizer.bos_token_id and len(prompt.answer_ids) == 1
    (other,) = build(smollm2, task, "zero_shot", template="qa")
    assert other.text == f"Q: {prompt.x}\nA:" and other.ids[0] == 0
    plain = Task.from_pairs(task.pairs)
    assert build(smollm2, plain, "zero_shot")[0].text == other.text
    assert build(smollm2, plain, "zero_shot", template="chat")[0].text.endswith("<|im_start|>assistant\n")
    assert task.shared_first_tokens(smollm2) == {}


def test_a_task_of_chats_is_evaluated_as_its_prompts_are():
    model, form = talking(), ChatTemplate(lead=" ")
    task = Task.from_pairs(PAIRS, template=form)
    effects = lens.vectors.head_effects(model, task, trials=3, mean_prompts=4, shots=2, known=False, progress=False)
    assert np.isfinite(effects.effect).all()
    vector = lens.vectors.extract(model, task, effects=effects, top=2, shots=2, mean_prompts=4)
    result = lens.vectors.evaluate(model, task, vector, layers=[1], split="train", n=3, progress=False)
    assert lens.record(result)["call"]["template"] == "chat"
    prompts = build(model, task, "zero_shot", split="train", n=3)
    with torch.no_grad():
        logits = [model(p.ids[None]).logits[0, -1].log_softmax(-1) for p in prompts]
    expected = [float(l[p.answer_ids[0]]) for l, p in zip(logits, prompts)]
    np.testing.assert_allclose(result.base_first_logprob.values[:, 0], expected, atol=1e-4)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Task.chat(PAIRS, question="w6"), r"question='w6': expected text that holds \{x\}"),
        (lambda: ChatTemplate(answer=""), r"answer='': expected text that holds \{y\}"),
        (lambda: as_template("dialogue"), "template='dialogue'.*bare, chat"),
        (lambda: build(speaking(), Task.chat(PAIRS), "zero_shot"), "task 'task'.*template 'chat': .* no chat template"),
    ],
)
def test_forms_that_cannot_be_used(make, match):
    with pytest.raises(VectorError, match=match):
        make()
