"""Text written under a vector against a loop of whole hooked forwards without a cache, and against the library's own
generation.
"""

import numpy as np
import pytest
import torch

from lens.results.dataset import provenance
from lens.vectors import Task, VectorError, written
from lens.vectors.generation import Generated, generate
from lens.vectors.prompts import build
from lens.vectors.vector import LayerVectors, Vector
from tests import naive
from tests.models import ABOVE, KINDS, speaking
from tests.variants import few
from tests.vectors.test_vector import TASK

SEED = 5  # of a model that does not end its text at once under these vectors
PROMPT, IDS = "w1 w2 w3", [0, 1, 2, 3]
VECTOR = Vector(torch.randn(32, generator=torch.Generator().manual_seed(4)) * 2)


def hooked_step(model, ids, additions, layer):
    """Logits after all of `ids`, with `additions` {position: vector} added to the block's output."""

    def change(x):
        x = x.clone()
        for at, v in additions.items():
            x[:, at] += v
        return x

    hook = naive._on_output(naive.parts(model, layer)["block"], change)
    try:
        return model(torch.tensor([ids]), use_cache=False).logits[0, -1]
    finally:
        hook.remove()


def by_loop(model, position, factors, layer, strength, steps, vector=VECTOR.direction):
    """What was added at a position stays there: each token keeps the factor of the step that read it."""
    ids, additions = list(IDS), {}
    for step in range(steps):
        fresh = range(len(IDS)) if step == 0 else [len(ids) - 1]
        for at in fresh:
            if (
                position == "all"
                or (position == "new" and at >= len(IDS) - 1)
                or (position == "last" and at == len(IDS) - 1)
            ):
                additions[at] = vector * strength * factors(step)
        ids.append(int(hooked_step(model, ids, additions, layer).argmax()))
        if ids[-1] == 0:
            break
    return tuple(ids[len(IDS) :])


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
@pytest.mark.parametrize("position", ["last", "new", "all"])
def test_it_equals_a_loop_of_hooked_forwards(kind, position):
    model = speaking(kind)
    text = generate(model, PROMPT, VECTOR, layer=1, strength=-2.5, position=position, max_new_tokens=6)
    assert text.ids == by_loop(model, position, lambda s: 1, 1, -2.5, 6)
    assert text.split() == [f"w{i}" for i in text.ids if i] and isinstance(text, str) and text.complete


@pytest.mark.parametrize(
    "schedule, factor",
    [
        ("linear decay", lambda s: 1 - s / 6),
        ("first 2", lambda s: s < 2),
        ([1, 0, 3.0], lambda s: [1, 0, 3, 0, 0, 0][s]),
        (lambda s: (-1) ** s, lambda s: (-1) ** s),
        ("constant", lambda s: 1),
    ],
)
@pytest.mark.parametrize("position", ["new", "all"])
def test_a_schedule_scales_each_step(schedule, factor, position):
    model = speaking("llama", seed=SEED)
    text = generate(model, PROMPT, VECTOR, layer=0, strength=3, position=position, schedule=schedule, max_new_tokens=6)
    assert text.ids == by_loop(model, position, factor, 0, 3, 6)


def test_schedules_differ():
    model = speaking("llama", seed=SEED)
    texts = {
        str(s): generate(model, PROMPT, VECTOR, layer=0, strength=3, position="all", schedule=s, max_new_tokens=6)
        for s in (None, "linear decay", "first 1", lambda s: -1.0)
    }
    assert len(set(texts.values())) > 2, "otherwise the test above shows little"


@pytest.mark.parametrize("kind", few(KINDS, ABOVE))
def test_without_a_vector_it_is_the_librarys_greedy_text(kind):
    model = speaking(kind)
    own = model.generate(
        torch.tensor([IDS]),
        max_new_tokens=8,
        do_sample=False,
        attention_mask=torch.ones(1, 4, dtype=torch.long),
        pad_token_id=0,
    )[0, 4:]
    text = generate(model, PROMPT, max_new_tokens=8)
    assert text.ids == tuple(own.tolist()) and text.reason == ("end" if text.ids[-1] == 0 else "length")


def test_an_end_token_ends_it():
    model = speaking("llama")
    first = generate(model, PROMPT, max_new_tokens=3).ids
    model.generation_config.eos_token_id = [first[1], 96]
    text = generate(model, PROMPT, max_new_tokens=8)
    assert text.ids == first[:2] and text.reason == "end" and text.complete


def test_layer_vectors_prompts_and_ids_are_taken():
    model = speaking("gpt2")
    layers = LayerVectors(torch.stack([VECTOR.direction * k for k in (0, 1, -2)]))
    assert generate(model, PROMPT, layers, layer=2, max_new_tokens=4).ids == by_loop(
        model, "last", lambda s: 1, 2, 1, 4, layers.vectors[2]
    )
    assert generate(model, torch.tensor(IDS), VECTOR, layer=-1, max_new_tokens=4) == generate(
        model, PROMPT, VECTOR, layer=2, max_new_tokens=4
    )
    prompt = build(model, TASK, "zero_shot", n=1, template="bare")[0]
    assert generate(model, prompt, max_new_tokens=3) == generate(model, prompt.ids.tolist(), max_new_tokens=3)


@pytest.mark.parametrize("draws", few([150, 400], [150]))
def test_temperature_draws_from_the_models_distribution(draws):
    model = speaking("llama")

    def draw(seed, t=1.0):
        return generate(model, PROMPT, max_new_tokens=1, temperature=t, seed=seed).ids[0]

    share = model(torch.tensor([IDS])).logits[0, -1].softmax(-1)
    drawn = np.bincount([draw(s) for s in range(draws)], minlength=97)
    top = int(share.argmax())
    p = float(share[top])
    assert (
        abs(drawn[top] - draws * p) < 4 * np.sqrt(draws * p * (1 - p)) and (drawn[np.asarray(share < 1e-6)] == 0).all()
    )
    same = [generate(model, PROMPT, max_new_tokens=8, temperature=2.0, seed=s) for s in (1, 1, 2)]
    assert same[0].ids == same[1].ids != same[2].ids
    assert all(draw(s, 0.01) == top for s in range(5))


def test_ids_beyond_what_the_model_reads_are_refused_before_it_reads():
    with pytest.raises(VectorError, match="prompt holds a row of 100000 tokens and the model reads at most"):
        generate(speaking("llama"), [0] * 100_000)


def test_a_stop_leaves_the_text_so_far():
    model, asked = speaking("llama"), []
    whole = generate(model, PROMPT, VECTOR, layer=1, position="all", max_new_tokens=6)
    text = generate(
        model, PROMPT, VECTOR, layer=1, position="all", max_new_tokens=6, stop=lambda: len(asked) > 2 or asked.append(1)
    )
    assert text.ids == whole.ids[:3] and not text.complete and text.reason == "stopped"
    assert isinstance(generate(model, PROMPT, stop=lambda: True), Generated)


SAYING = Task.from_pairs(
    [(f"w{i}", f"w{i + 30}") for i in range(1, 25)], name="saying", texts=("w70 {x} w71", "w72 {x}")
)


def test_written_text_is_right_where_the_answer_is_in_the_first_tokens():
    model = speaking("llama", SEED)
    saying = Task.from_pairs(SAYING.pairs, name="saying", texts=SAYING.texts[0])
    prompts = build(model, saying, "text", n=6, seed=3)
    # answers that the model writes as its fourth word (or its last): with the vector for half of the items, without it
    # for the others
    texts = [
        [str(generate(model, p, v, layer=1, strength=2.0, max_new_tokens=5)) for p in prompts] for v in (VECTOR, None)
    ]
    answers = {
        p.x: (with_it if i % 2 else without).split()[:4][-1]
        for i, (p, with_it, without) in enumerate(zip(prompts, *texts))
    }
    task = Task.from_pairs([(x, answers.get(x, y)) for x, y in SAYING.pairs], name="saying", texts=SAYING.texts[0])
    ds = written(model, task, VECTOR, layer=1, strength=2.0, n=6, seed=3, progress=False)
    assert (
        ds.x.values.tolist() == [p.x for p in prompts]
        and ds.text.values[:, 0].tolist() == texts[0]
        and ds.base_text.values.tolist() == texts[1]
    )

    def right(of):
        return [float(answers[p.x] in t) for p, t in zip(prompts, of)]

    assert ds.success.values[:, 0].tolist() == right(texts[0]) and ds.base_success.values.tolist() == right(texts[1])
    assert all(ds.success.values[1::2, 0]) and all(ds.base_success.values[::2]), (
        "the fourth word is among the five tokens"
    )
    short = written(model, task, VECTOR, layer=1, strength=2.0, n=6, seed=3, tokens=3, progress=False)
    assert (
        all(t.startswith(s) for s, t in zip(short.base_text.values, ds.base_text.values))
        and short.base_success.sum() < ds.base_success.sum()
    )


def test_draws_of_a_control_take_turns_and_a_stop_leaves_holes():
    model = speaking("llama", SEED)
    ds = written(
        model, SAYING, {"it": VECTOR, "control": [VECTOR * 0, VECTOR]}, layer=1, strength=2.0, n=4, progress=False
    )
    own = ds.text.sel(vector="it").values
    assert ds.text.sel(vector="control").values.tolist() == [
        ds.base_text.values[0],
        own[1],
        ds.base_text.values[2],
        own[3],
    ]
    asked = []
    part = written(model, SAYING, VECTOR, layer=1, n=4, progress=False, stop=lambda: len(asked) > 7 or asked.append(1))
    assert (
        provenance(part)["status"] == "partial"
        and np.isfinite(part.base_success).all()
        and not np.isfinite(part.success).any()
    )
    for vectors_, word in (
        (3, "vectors=3"),
        ({"a": []}, "holds none"),
        ({"a": Vector(torch.ones(9))}, "d_model 9"),
        ({}, "vectors={}"),
    ):
        with pytest.raises(VectorError, match=word):
            written(model, SAYING, vectors_, layer=1)
    with pytest.raises(VectorError, match="no sentences"):
        written(model, TASK, VECTOR, layer=1)


def test_no_hook_stays_after_an_error():
    model = speaking("llama")
    before = model(torch.tensor([IDS])).logits

    def count():
        return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())

    hooks = count()
    for failing in (lambda step: 1 / 0, lambda step: float("nan") if step else 1.0):
        with pytest.raises((ZeroDivisionError, VectorError)):
            generate(model, PROMPT, VECTOR, layer=1, position="new", schedule=failing, max_new_tokens=6)

    def interrupt(step):
        if step == 2:
            raise KeyboardInterrupt
        return 1.0

    assert (
        generate(model, PROMPT, VECTOR, layer=1, position="new", schedule=interrupt, max_new_tokens=6).reason
        == "stopped"
    )
    model.model.layers[2].mlp.forward = lambda x: 1 / 0
    with pytest.raises(ZeroDivisionError):
        generate(model, torch.tensor(IDS), max_new_tokens=3)
    del model.model.layers[2].mlp.forward
    assert count() == hooks and torch.equal(model(torch.tensor([IDS])).logits, before)


@pytest.mark.parametrize(
    "change, word",
    [
        (dict(prompt=" "), "prompt"),
        (dict(prompt="hello"), "hello"),
        (dict(prompt=[0.5]), "prompt"),
        (dict(prompt=3), "prompt"),
        (dict(layer=None), "layer"),
        (dict(layer=3), "layer"),
        (dict(strength=float("inf")), "strength"),
        (dict(position="middle"), "position"),
        (dict(schedule="slow"), "schedule"),
        (dict(schedule=3), "schedule"),
        (dict(schedule="first 2", position="last"), "schedule"),
        (dict(max_new_tokens=0), "max_new_tokens"),
        (dict(temperature=-1), "temperature"),
        (dict(vector=Vector(torch.ones(9))), "d_model 9, this model 32"),
        (dict(vector=torch.ones(32)), "vector"),
    ],
)
def test_bad_arguments_are_named(change, word):
    arguments = dict(prompt=PROMPT, vector=VECTOR, layer=1, position="new") | change
    with pytest.raises(ValueError, match=word):
        generate(speaking("llama"), arguments.pop("prompt"), arguments.pop("vector"), **arguments)
