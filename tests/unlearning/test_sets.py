"""Forget and retain sets: layouts of files, rows that both share, and what is refused."""

import json

import pytest
import torch

from lens.unlearning import Items, UnlearningError, overlap, read
from tests.models import speaking

from .helpers import items, pairs


def written(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_every_layout_is_prompts_and_answers(tmp_path):
    model = speaking()
    prompted = read(written(tmp_path / "a.jsonl", [{"prompt": "w3 w4", "answer": "w5 w6", "unit": "x"}]), model)
    assert prompted.pairs() == (((3, 4), (5, 6)),) and prompted.unit_labels() == ["x"]
    assert prompted.place(0).endswith("a.jsonl, line 1")
    text = read([{"text": "w7 w8 w9"}], model)
    assert text.pairs() == (((7,), (8, 9)),)
    tofu = read(
        [{"question": "w3", "answer": "w4", "paraphrased_answer": "w5", "perturbed_answer": ["w6", "w7"]}],
        model,
        question="w1 {question} w2",
    )
    assert tofu.pairs() == (((1, 3, 2), (4,)),)
    assert tofu.paraphrases == [(5,)] and tofu.perturbed == [((6,), (7,))]
    back = read([{"prompt": "w3 w4", "answer": "w5", "right": "w6"}], model)
    assert back.right == [(6,)]
    rows = prompted.rows()
    assert torch.equal(rows.ids, torch.tensor([[3, 4, 5, 6]])) and rows.targets.tolist() == [[False, False, True, True]]


def test_an_answer_is_set_off_by_a_space_and_a_start_token_comes_first():
    import lens

    model = lens.load("organism:induction")
    start = lens.prompts.start.start_of_rows(model)
    prompt, answer = read(
        [{"prompt": model.tokenizer.decode([5, 6]), "answer": model.tokenizer.decode([7])}], model
    ).pairs()[0]
    assert (prompt[0] == start) == (start is not None) and prompt[-2:] == (5, 6) and answer == (7,)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "source: it has no row"),
        ([{"prompt": "w1"}], "row 0 lacks 'answer'"),
        ([{"prompt": "w1", "answer": " "}], "row 0, column 'answer' is empty"),
        ([{"prompt": "w1", "answer": 3}], "holds 3"),
        ([{"text": "w1"}], "holds too little text"),
        (
            [{"prompt": "w1", "answer": "w2", "unit": "a"}, {"prompt": "w1", "answer": "w3"}],
            "row 1 lacks what other rows have",
        ),
        ([{"question": "w1", "answer": "w2", "perturbed_answer": [3]}], "expected a text or a list of texts"),
        ([{"prompt": "w1", "answer": "w2", "right": "w2"}], "row 0 has the same answer as what is to be forgotten"),
        ([{"question": "w1", "answer": "w2", "perturbed_answer": ["w2"]}], "row 0 has its own answer"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(rows, said):
    with pytest.raises(UnlearningError, match=said):
        read(rows, speaking())


def test_items_that_do_not_fit_are_refused():
    for said, call in {
        "prompts is empty": lambda: Items([], []),
        "answers has 1 entries for 2 prompts": lambda: Items([(1,), (2,)], [(3,)]),
        "row 1 has a prompt of 1 and an answer of 0 tokens": lambda: Items([(1,), (2,)], [(3,), ()]),
        "units has 1 entries": lambda: Items([(1,), (2,)], [(3,), (4,)], units=["a"]),
        r"index=\[4\]; expected numbers from 0 to 2": lambda: items(3).take([4]),
        "expected a template that holds": lambda: read([{"question": "w1", "answer": "w2"}], speaking(), question="w1"),
    }.items():
        with pytest.raises(UnlearningError, match=said):
            call()
    some = items(9).sample(4, seed=1)
    assert (
        len(some) == 4 and set(some.pairs()) < set(items(9).pairs()) and items(9).sample(9).pairs() == items(9).pairs()
    )


def jaccard(a, b, n=3):
    first, second = ({tuple(row[i : i + n]) for i in range(len(row) - n + 1)} for row in (a, b))
    return len(first & second) / len(first | second)


def test_shared_rows_are_found_exact_and_near():
    """Against Jaccard's index of every pair, one by one."""
    forget, retain = pairs(8, 1, length=12), pairs(8, 2, length=12)
    retain[3] = forget[5]
    changed = list(forget[2][0])
    changed[0] = 96
    retain[6] = (tuple(changed), forget[2][1])
    a, b = (Items(*zip(*of)) for of in (forget, retain))
    table = overlap(a, b, near=0.7)
    want = {
        (i, j): jaccard((*p, *q), (*r, *s))
        for i, (p, q) in enumerate(forget)
        for j, (r, s) in enumerate(retain)
        if jaccard((*p, *q), (*r, *s)) >= 0.7
    }
    assert {(line.forget, line.retain): line.share for line in table.itertuples()} == pytest.approx(want)
    assert [(line.forget, line.retain, line.kind) for line in table.itertuples()] == [(5, 3, "exact"), (2, 6, "near")]
    assert not len(overlap(a, Items(*zip(*pairs(8, 3)))))
