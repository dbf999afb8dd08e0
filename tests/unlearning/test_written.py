"""TOFU's further sets and answers that a model writes: against plain forwards and the model's own `generate`."""

import functools

import numpy as np
import pytest
import torch
from scipy import stats

from lens.training import LoRA, Recipe
from lens.unlearning import UnlearningError, measures, read, unlearn
from tests.models import speaking, tiny, word_tokenizer

from .helpers import items, plain_logp
from .test_rouge import by_table

RECIPE = Recipe(steps=2, batch=2, learning_rate=1e-2, weight_decay=0.0, schedule="constant")
TOKENS = 4


def rows(first, count):
    """Rows in TOFU's layout."""
    return [
        {"question": f"w{first + i} w3", "answer": f"w{40 + i} w9", "perturbed_answer": ["w11", f"w12 w{50 + i}"]}
        for i in range(count)
    ]


@functools.cache
def sets():
    model = speaking()
    further = {"ra": rows(20, 2), "wf": rows(30, 3)}
    own = {name: read(of, model, question="{question}") for name, of in further.items()}
    return {"forget": items(3, 1), "retain": items(2, 2, perturbed=[((5,), (6, 7))] * 2), **own}


@functools.cache
def run():
    """The result, and the last model of the arm."""
    last = {}
    result = unlearn(
        speaking(),
        sets()["forget"],
        sets()["retain"],
        ["gradient_ascent"],
        recipe=RECIPE,
        lora=LoRA(rank=2),
        looks=[2],
        real_authors=sets()["ra"],
        world_facts=sets()["wf"],
        rouge=TOKENS,
        on_model=lambda name, model: last.update({name: model}),
        progress=False,
    )
    return result, last["gradient_ascent"]


def written(model, prompt):
    """Words that a model adds, each the likeliest."""
    ids = torch.tensor([prompt])
    greedy = dict(max_new_tokens=TOKENS, do_sample=False, pad_token_id=0)
    out = model.generate(ids, attention_mask=torch.ones_like(ids), **greedy)
    return word_tokenizer().decode(out[0, len(prompt) :], skip_special_tokens=True).split()


@functools.cache
def texts(which):
    """What a model writes to each prompt, by set."""
    model = speaking() if which == "start" else run()[1]
    return {name: [written(model, prompt) for prompt in of.prompts] for name, of in sets().items()}


def by_hand(which, name):
    answers = [word_tokenizer().decode(list(answer)).split() for answer in sets()[name].answers]
    return [by_table(answer, text) / len(answer) for answer, text in zip(answers, texts(which)[name])]


def test_what_is_written_is_what_the_model_writes_alone():
    for name in sets():
        values = run()[0][f"{name}_rouge"].sel(arm="gradient_ascent")
        for look, which in enumerate(("start", "last")):
            assert values.sel(look=look).values.tolist() == pytest.approx(by_hand(which, name))
    assert texts("start") != texts("last")


def test_model_utility_is_the_harmonic_mean_of_openunlearnings_nine():
    result, last = run()
    table = measures(result)
    at = table[(table.arm == "gradient_ascent") & (table["look"] == 1)].set_index("measure").value
    expected = {}
    for name in ("retain", "ra", "wf"):
        of = sets()[name]
        own = np.array([plain_logp(last, *pair).mean() for pair in of.pairs()])
        wrong = [[plain_logp(last, prompt, w).mean() for w in of.perturbed[i]] for i, prompt in enumerate(of.prompts)]
        ratio = np.exp([np.mean(w) for w in wrong]) / np.exp(own)
        chosen = np.exp(own) / (np.exp(own) + np.exp(wrong).sum(1))
        expected |= {
            "retain_Q_A_Prob" if name == "retain" else f"{name}_Q_A_Prob_normalised": np.mean(
                np.exp(own) if name == "retain" else chosen
            ),
            f"{name}_Q_A_ROUGE": np.mean(by_hand("last", name)),
            f"{name}_Truth_Ratio": np.maximum(0, 1 - ratio).mean(),
        }
    assert len(expected) == 9
    for measure, value in expected.items():
        assert at[measure] == pytest.approx(value, rel=1e-4), measure
    assert at["model_utility"] == pytest.approx(stats.hmean(list(expected.values())), rel=1e-4)
    kind = table[table.measure == "model_utility"].interval_kind.iloc[0]
    assert all(measure in kind for measure in expected)


def test_wrong_answers_of_a_further_set_are_told_from_the_answer_itself():
    own = sets()["ra"]
    other = type(own)(own.prompts, own.answers, paraphrases=[(60, 61)] * len(own), perturbed=own.perturbed)
    looks = dict(recipe=RECIPE, looks=[2], progress=False)
    found = unlearn(speaking(), sets()["forget"], sets()["retain"], ["npo"], real_authors=other, **looks)
    assert np.allclose(found.ra_truth_ratio.sel(arm="start", look=0), run()[0].ra_truth_ratio.sel(arm="start", look=0))


def test_what_cannot_be_compared_is_refused():
    model, own = speaking(), sets()
    long = type(own["ra"])([(3,) * 60], [(4,)], perturbed=[((5,),)])
    silent = type(own["ra"])([(3,)], [(0,)])  # the answer is an end token, which no text shows
    for said, call in {
        "real_authors has no wrong answers": dict(real_authors=own["forget"]),
        "world_facts has no wrong answers": dict(world_facts=own["forget"]),
        "rouge=-1 does not fit; expected a whole number": dict(rouge=-1),
        "ra with rouge=9 more tokens holds a row of 69 tokens": dict(real_authors=long, rouge=9),
        "the answer of row 0 is '', and ROUGE reads words": dict(retain=silent, rouge=2),
    }.items():
        with pytest.raises(UnlearningError, match=said):
            unlearn(model, **dict(forget=own["forget"], retain=own["retain"], progress=False) | call)
    with pytest.raises(UnlearningError, match="rouge=2 compares texts, and the model has no tokenizer"):
        unlearn(tiny(), own["forget"], own["retain"], rouge=2, progress=False)
