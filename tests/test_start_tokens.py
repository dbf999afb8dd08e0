"""The start token: one policy for every family, and a word where a prompt lacks what the model was trained with."""

import json
import warnings

import pytest
import torch

import lens
from lens.injection import Item, encode_items
from lens.prompts import Pair, PromptError, encode, prompt_ids, start_token
from lens.scoring import ScoringError, score
from lens.vectors import Task, build
from tests.models import speaking, tiny

WORDS = {"<unk>": 0, "<turn>": 1, "<|endoftext|>": 2, "<s>": 3} | {f"w{i}": i for i in range(4, 97)}


def words(bos="<turn>", added=None):
    """A tokenizer of words; `added` is the token that it puts before every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.WordLevel(WORDS, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if added:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{added} $A", special_tokens=[(added, WORDS[added])]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<unk>", bos_token=bos, additional_special_tokens=["<s>", "<|endoftext|>"]
    )


def model(**options):
    one = tiny("llama")
    one.tokenizer = words(**options)
    return one


@pytest.mark.parametrize(
    ("options", "start", "expected"),
    [
        ({}, "auto", 2),  # the start token opens a turn, so the one between documents
        ({}, "bos", 1),
        ({"added": "<s>"}, "auto", 3),  # what the tokenizer itself puts in front
        ({"added": "<s>"}, "bos", 1),
        ({}, None, None),
        ({}, "w9", 9),
        ({}, 7, 7),
    ],
)
def test_which_token_is_put_before_a_text(options, start, expected):
    assert start_token(model(**options), start) == expected
    assert prompt_ids(model(**options), "w5 w6", start).tolist() == [*([] if expected is None else [expected]), 5, 6]


@pytest.mark.parametrize("start", ["w5 w6", "nothing", "", 97, -1])
def test_a_start_that_is_not_one_token(start):
    with pytest.raises(PromptError, match="start"):
        start_token(model(), start)


def test_a_model_without_a_tokenizer_begins_as_its_configuration_says():
    bare = tiny("llama")
    assert start_token(bare, "auto") == bare.config.bos_token_id == 0
    bare.config.bos_token_id = None
    assert start_token(bare, "auto") is None and start_token(bare, 5) == 5


@pytest.mark.parametrize("added", [None, "<s>"])
def test_every_family_begins_with_the_same_token(added):
    one, expected = model(added=added), WORDS[added or "<|endoftext|>"]
    task = Task.from_pairs([(f"w{i}", f"w{i + 10}") for i in range(10, 19)])
    item = Item("w10 w11", "w12 w11", "w12", " w13")
    first = {
        "vectors": build(one, task, "zero_shot", template="bare")[0].ids[0],
        "injection": encode_items(one, item)[0].ids[0],
        "scoring": score(one, [torch.tensor([9, 8])]).about["start"],
        "heads": lens.induction_scores(one, length=5, sequences=2).token_id[0, 0],
        "a prompt": prompt_ids(one, "w10")[0],
    }
    assert {name: int(token) for name, token in first.items()} == dict.fromkeys(first, expected)
    generated = lens.vectors.generate(one, "w10 w11", max_new_tokens=1)
    with torch.no_grad():
        own = one(torch.tensor([[expected, 10, 11]])).logits[0, -1].argmax()
    assert generated.ids[0] == own


def test_a_prompt_that_lacks_the_start_token_of_training_is_told_once():
    one, pair = model(added="<s>"), Pair("w5 w6", "w5 w7", " w8")
    with pytest.warns(
        UserWarning, match=r"begins with 'w5', but this model's tokenizer puts '<s>'.*start='<s>'"
    ) as told:
        encode(one, pair)
        encode(one, pair)
        lens.logit_lens(one, "w5 w6")
    assert len([w for w in told if "as in training" in str(w.message)]) == 1


@pytest.mark.parametrize(
    ("make", "pair"),
    [
        (lambda: model(added="<s>"), Pair("w5 w6", "w5 w7", " w8", start="<s> ")),
        (model, Pair("w5 w6", "w5 w7", " w8")),
        (speaking, Pair("w5 w6", "w5 w7", " w8")),
    ],
)
def test_nothing_is_said_where_nothing_is_lacking(make, pair):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encode(make(), pair)


def test_scores_begin_with_what_is_asked_for(tmp_path):
    rows = [torch.tensor([9, 8, 7])]
    one = model()
    assert [score(one, rows, start=s).about["start"] for s in ("auto", "bos", "w9", 5, None)] == [2, 1, 9, 5, None]
    with pytest.raises(ScoringError, match=r"start: token: 'w9 w8' is 2 tokens"):
        score(one, rows, start="w9 w8")
    with pytest.raises(ScoringError, match=r"start=97 is not a token of the model, which has 97; expected 'auto'"):
        score(one, rows, start=97)


def test_what_an_older_version_noted_of_a_model_does_not_choose_its_start(tmp_path):
    folder, store = tmp_path / "model", tmp_path / "scores"
    one = model()
    one.save_pretrained(folder)
    one.tokenizer.save_pretrained(folder)
    rows = [torch.tensor([9, 8, 7])]
    scores = score(str(folder), rows, store=store)
    assert scores.about["start"] == 2
    (note,) = (store / "models").iterdir()
    old = json.loads(note.read_text())
    old["start"] = 1
    del old["start_token"]
    note.write_text(json.dumps(old))
    again = score(str(folder), rows, store=store)
    assert again.about["start"] == 2 and (again.logprob == scores.logprob).all()
