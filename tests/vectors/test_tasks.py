"""Templates, tasks and prompts: what is built is what was asked for, and what cannot work is refused by name."""

import json
import warnings

import numpy as np
import pytest

from lens import vectors
from lens.vectors import TEMPLATES, Task, Template, VectorError, build, load_task, task_names
from lens.vectors.abilities import past, plural
from tests.models import speaking

PAIRS = [(f"w{i}", f"w{i + 40}") for i in range(1, 31)]


@pytest.fixture(scope="module")
def model():
    return speaking("llama")


@pytest.fixture(scope="module")
def task():
    return Task.from_pairs(PAIRS, name="shift", instruction="w90 w91", texts=("w80 {x} w81",))


def test_template_writes_the_published_form():
    text = Template().text([("hot", "cold"), ("up", "down")], "big")
    assert text == "Q: hot\nA: cold\n\nQ: up\nA: down\n\nQ: big\nA:"
    assert Template().text((), "big", "Give the opposite.") == "Give the opposite.\nQ: big\nA:"
    assert TEMPLATES["symbols"].text([("a", "b")], "c").split() == ["a", ":", "b", ";", "c", ":"]
    assert Template(question="{x} {y}->").text([], "{y}") == " {y} {y}->", "braces in the data are left alone"


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"question": "Q:"}, "{x}"),
        ({"answer": "y"}, "{y}"),
        ({"question": "Q:{x}\n"}, "white space"),
        ({"lead": None}, "lead"),
    ],
)
def test_template_refuses(fields, said):
    with pytest.raises(VectorError, match=said.replace("{", r"\{")):
        Template(**fields)


def test_splits_are_as_published_and_disjoint(task):
    big = Task.from_pairs([(f"x{i}", f"y{i}") for i in range(200)])
    assert [len(getattr(big, s)) for s in ("train", "valid", "test")] == [140, 18, 42]
    assert set(big.train) | set(big.valid) | set(big.test) == set(range(200))
    assert Task.from_pairs(PAIRS, seed=1).train != Task.from_pairs(PAIRS).train == Task.from_pairs(PAIRS).train
    assert all(len(getattr(Task.from_pairs(PAIRS[:3]), s)) == 1 for s in ("train", "valid", "test"))


def test_shipped_tasks_are_large_and_unambiguous():
    assert len(task_names()) >= 10
    for name in task_names():
        task = load_task(name)
        assert len(task.pairs) >= 100 and task.instruction and len(task.texts) == 3, name
        assert len({x for x, _ in task.pairs}) == len(task.pairs), name
    rule = {
        "first_letter": lambda x: x[0],
        "last_letter": lambda x: x[-1],
        "capitalize": str.capitalize,
        "lowercase": str.lower,
        "word_length": lambda x: str(len(x)),
        "choose_first_of_3": lambda x: x.split(", ")[0],
        "choose_middle_of_3": lambda x: x.split(", ")[1],
        "choose_last_of_3": lambda x: x.split(", ")[2],
    }
    for name, of in rule.items():
        assert all(of(x) == y for x, y in load_task(name).pairs), name
    known = {
        "present_past": {"go": "went", "carry": "carried", "stop": "stopped", "play": "played", "arrive": "arrived"},
        "singular_plural": {
            "child": "children",
            "city": "cities",
            "bus": "buses",
            "church": "churches",
            "donkey": "donkeys",
        },
        "country_capital": {"France": "Paris", "Mongolia": "Ulaanbaatar"},
        "next_item": {"Monday": "Tuesday", "nine": "ten", "December": "January", "b": "c"},
        "antonym": {"hot": "cold"},
    }
    for name, pairs in known.items():
        assert pairs.items() <= dict(load_task(name).pairs).items(), name
    assert past("cry") == "cried" and plural("box") == "boxes"


def test_file_in_the_published_format(tmp_path, monkeypatch):
    (tmp_path / "synonym.json").write_text(
        json.dumps(
            [
                {"input": "big", "output": "large"},
                {"input": "fast", "output": "quick"},
                {"input": "big", "output": "huge"},
            ]
        )
    )
    monkeypatch.setenv("MNEMOSCOPE_FUNCTION_VECTORS", str(tmp_path))
    with pytest.raises(VectorError, match="'big' has two outputs, 'large' and 'huge'"):
        load_task("synonym")
    assert load_task("synonym", repeated="first").pairs == (("big", "large"), ("fast", "quick"))
    with pytest.raises(VectorError, match="has no such file"):
        load_task("nowhere")
    (tmp_path / "bad.json").write_text('{"a": 1}')
    with pytest.raises(VectorError, match="another form"):
        load_task("bad")
    (tmp_path / "worse.json").write_text("nothing")
    with pytest.raises(VectorError, match="cannot be read"):
        load_task(tmp_path / "worse.json")


@pytest.mark.parametrize(
    "pairs, said",
    [
        ([("a", ["b", "c"])], r"outputs: \['b', 'c'\] is a list; give one text"),
        ([(["a"], "b")], "inputs: .* is a list"),
        ([("a", "")], "outputs: ''"),
        ([("a", None)], "outputs: None"),
        ([("a", "b"), ("a", "c")], "'a' has two outputs"),
        ([], "holds none"),
        ("ab", "pairs='ab' does not fit"),
        ([("a", "b", "c")], r"pairs\[0\]"),
        ([3], r"pairs\[0\]"),
    ],
)
def test_pairs_that_are_refused(pairs, said):
    with pytest.raises(VectorError, match=said):
        Task.from_pairs(pairs)


def test_splits_that_are_refused():
    with pytest.raises(VectorError, match="repeats pair 0"):
        Task("t", tuple(PAIRS), train=(0, 1), test=(0,))
    with pytest.raises(VectorError, match="holds 99"):
        Task("t", tuple(PAIRS), train=(99,))
    with pytest.raises(VectorError, match="shares"):
        Task.from_pairs(PAIRS, shares=(0.5, 0.1, 0.1))


def test_equal_labels_are_said(model):
    with pytest.warns(UserWarning, match="shuffling them changes nothing"):
        same = Task.from_pairs([(f"w{i}", "w60") for i in range(1, 21)])
    with pytest.warns(UserWarning, match="shuffling them changes nothing"):
        prompts = build(model, same, "shuffled", shots=4, template="bare", n=3)
    assert all(p.fixed_points == 4 for p in prompts)


def test_outputs_that_share_their_first_token_are_named(model):
    shared = Task.from_pairs([("w1", "w50 w51"), ("w2", "w50 w52"), ("w3", "w53")])
    assert shared.shared_first_tokens(model, "bare") == {50: ["w50 w51", "w50 w52"]}
    assert Task.from_pairs(PAIRS).shared_first_tokens(model, "bare") == {}
    prompts = build(model, shared, "zero_shot", split="all", template="bare")
    assert [p.answer_ids for p in prompts] == [(50, 51), (50, 52), (53,)]


def test_in_context_and_shuffled_prompts(model, task):
    plain = build(model, task, "icl", shots=5, n=40, template="bare", seed=3)
    mixed = build(model, task, "shuffled", shots=5, n=40, template="bare", seed=3)
    truth, train = dict(task.pairs), {task.pairs[i][0] for i in task.train}
    for p, q in zip(plain, mixed):
        assert (p.x, p.y) == (q.x, q.y) in task.words("test") and p.ids[0] == 0 == q.ids[0]
        assert (
            [x for x, _ in p.demos] == [x for x, _ in q.demos]
            and len({x for x, _ in p.demos}) == 5
            and {x for x, _ in p.demos} <= train
        )
        assert all(truth[x] == y for x, y in p.demos) and p.fixed_points is None
        assert sorted(y for _, y in q.demos) == sorted(y for _, y in p.demos)
        assert q.fixed_points == sum(truth[x] == y for x, y in q.demos)
        assert p.text.split() == [w for pair in p.demos for w in pair] + [p.x] and p.ids.tolist()[1:] == [
            int(w[1:]) for w in p.text.split()
        ]
        assert p.answer_ids == (int(p.y[1:]),)
    assert 0.3 < np.mean([q.fixed_points for q in mixed]) < 2.5, "one label in five stays by chance, on average"
    uses = [p.x for p in plain]
    assert max(map(uses.count, uses)) - min(map(uses.count, set(uses))) <= 1
    inside = build(model, task, "icl", shots=5, split="train", template="bare")
    assert all(p.x not in {x for x, _ in p.demos} for p in inside)
    again = build(model, task, "shuffled", shots=5, n=40, template="bare", seed=3)
    assert (
        [p.text for p in again]
        == [p.text for p in mixed]
        != [p.text for p in build(model, task, "shuffled", shots=5, n=40, template="bare", seed=4)]
    )


def test_prompts_without_demonstrations(model, task):
    bare, said, text = (build(model, task, kind, template="bare") for kind in ("zero_shot", "instruction", "text"))
    assert [p.text.split() for p in bare] == [[x] for x, _ in task.words("test")]
    assert [p.text.split() for p in said] == [["w90", "w91", x] for x, _ in task.words("test")]
    assert [p.text.split() for p in text] == [["w80", x, "w81"] for x, _ in task.words("test")]
    assert build(model, task, "instruction", instruction="w70", template="bare", n=1)[0].text.startswith("w70 ")
    assert len(build(model, task, "zero_shot", template="bare", start=None)[0]) == 1


@pytest.mark.parametrize(
    "options, said",
    [
        (dict(kind="icl", shots=22), "shots=22: task 'shift' has 21 pairs"),
        (dict(kind="icl", shots=21, split="train"), "fewer shots"),
        (dict(kind="few"), "kind='few'"),
        (dict(kind="icl", split="dev"), "split='dev'"),
        (dict(kind="icl", n=0), "n=0"),
        (dict(kind="icl", shots=1.5), "shots=1.5"),
        (dict(kind="icl", template="none"), "template='none'"),
    ],
)
def test_prompts_that_are_refused(model, task, options, said):
    with pytest.raises(VectorError, match=said):
        build(model, task, **{"template": "bare", **options})


def test_what_a_task_lacks_is_named(model):
    plain = Task.from_pairs(PAIRS)
    with pytest.raises(VectorError, match="has no instruction"):
        build(model, plain, "instruction", template="bare")
    with pytest.raises(VectorError, match="has no sentences"):
        build(model, plain, "text", template="bare")
    with pytest.raises(VectorError, match="not in the vocabulary"):
        build(model, plain, "zero_shot", template="qa")
    with pytest.raises(VectorError, match="holds no pair"):
        build(model, Task("t", tuple(PAIRS)), "zero_shot", template="bare")


def test_answered_is_greedy_decoding(model):
    """Outputs taken from the model's own greedy continuation are answered; others are not."""
    import torch

    probe = Task.from_pairs([(f"w{i}", "w1 w2") for i in range(5, 9)] + [("w9", "w3")])
    told = {}
    for p in build(model, probe, "zero_shot", split="all", template="bare"):
        ids = p.ids
        for _ in range(2):
            with torch.no_grad():
                ids = torch.cat([ids, model(ids[None]).logits[0, -1].argmax()[None]])
        told[p.x] = ids[-2:].tolist()
    spoken = [(x, f"w{a} w{b}") for x, (a, b) in told.items()]
    right = Task.from_pairs(spoken)
    assert vectors.answered(model, build(model, right, "zero_shot", split="all", template="bare")).all()
    half = Task.from_pairs([(x, f"w{a} w{(b + 1) % 96 + 1}") for x, (a, b) in told.items()])
    prompts = build(model, half, "zero_shot", split="all", template="bare")
    assert not vectors.answered(model, prompts).any() and vectors.answered(model, prompts, first=True).all()


def test_every_public_name_is_there():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert all(getattr(vectors, name) is not None for name in vectors.__all__)
    with pytest.raises(AttributeError, match="it offers"):
        vectors.nothing
