"""Items and the files they come from."""

import pytest

from lens.injection import InjectionError, Item, encode_items, load_items
from tests.models import speaking
from tests.variants import few

HEADER = "explicit_sentence,obscure_sentence,explicit_entity,obscure_entity,answer\n"
ROW = (
    "George Washington fought in the,The first president fought in the,George Washington,The first"
    " president,Revolutionary War\n"
)


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_the_papers_columns_are_read_under_both_names(tmp_path):
    (item,) = load_items(write(tmp_path / "a.csv", "\ufeff" + HEADER + ROW))
    assert (item.prompt, item.explicit, item.memory, item.answer) == (
        "The first president fought in the",
        "George Washington fought in the",
        "George Washington",
        " Revolutionary War",
    )
    assert item.subject == "The first president" and item.label == "a:0"
    other = HEADER.replace("sentence", "sent").replace("explicit_sent,", ",explicit_sent,")
    (same,) = load_items(write(tmp_path / "b.csv", other + "0," + ROW))
    assert same.prompt == item.prompt and same.answer == item.answer


def test_a_subject_is_found_whatever_its_capitals_and_its_absence_is_said(tmp_path):
    text = (
        HEADER
        + ROW.replace(",The first president,", ",the first President,")
        + ROW.replace(",The first president,", ",a man,")
    )
    with pytest.warns(UserWarning, match="1 rows have a subject that is not in their prompt, first line 3"):
        items = load_items(write(tmp_path / "a.csv", text))
    assert [i.subject for i in items] == ["The first president", None]


@pytest.mark.parametrize(
    "text, words",
    [
        (HEADER.replace("answer", "reply") + ROW, "no column answer"),
        ("", "is empty; expected a header"),
        (HEADER, "holds no row"),
        (HEADER + ROW + ROW.replace("George Washington,", "NaN,"), "1 of 2 rows lack a value.*line 3"),
        (HEADER + ROW + "only,three,fields\n", r"line 3 cannot be read: it has 3 fields where the header names"),
        (HEADER + ROW.replace("Revolutionary War", "George Washington"), "answer.*is the memory itself"),
    ],
)
def test_a_damaged_file_is_refused_with_its_place(tmp_path, text, words):
    with pytest.raises(InjectionError, match=words):
        load_items(write(tmp_path / "a.csv", text))


def test_a_trailing_space_is_taken_off_with_a_warning(tmp_path):
    with pytest.warns(UserWarning, match="1 prompts end in white space, first line 2"):
        (item,) = load_items(
            write(tmp_path / "a.csv", HEADER + ROW.replace("fought in the,George", "fought in the ,George"))
        )
    assert item.prompt == "The first president fought in the"


@pytest.mark.parametrize("rows", few([20_000, 100_000], [20_000]))
def test_many_rows_are_read(tmp_path, rows):
    path = write(tmp_path / "many.csv", HEADER + ROW * rows)
    assert len(load_items(path)) == rows and len(load_items(path, limit=7)) == 7


@pytest.mark.parametrize(
    "arguments, words",
    [
        (dict(name="nothing"), "no data set"),
        (dict(name="away.csv"), "no file"),
        (dict(split="test"), "split"),
        (dict(limit=0), "limit"),
        (dict(group="no such group"), "selects none"),
    ],
)
def test_a_choice_that_does_not_exist_is_named(arguments, words):
    with pytest.raises(InjectionError, match=words):
        load_items(**{"name": "own"} | arguments)


def test_the_papers_files_need_their_folder(monkeypatch):
    monkeypatch.delenv("MNEMOSCOPE_MEMORY_INJECTIONS", raising=False)
    with pytest.raises(InjectionError, match="MNEMOSCOPE_MEMORY_INJECTIONS"):
        load_items("hand")


@pytest.mark.parametrize(
    "change", [dict(prompt=""), dict(memory="  "), dict(answer=None), dict(answer=" w3"), dict(subject="w9")]
)
def test_an_item_that_makes_no_sense_is_refused(change):
    with pytest.raises(InjectionError, match=next(iter(change))):
        Item(**dict(prompt="w1 w2", explicit="w3 w2", memory="w3", answer=" w4") | change)


def test_positions_and_answers_of_an_item():
    (e,) = encode_items(speaking("llama"), Item("w1 w2 w3 w4", "w5 w4", "w5", " w6 w7", subject="w2 w3"))
    assert e.ids.tolist() == [0, 1, 2, 3, 4] and e.explicit_ids.tolist() == [0, 5, 4] and e.answer_ids == (6, 7)
    assert e.positions == {"all": (0, 1, 2, 3, 4), "last": (4,), "not_first": (1, 2, 3, 4), "subject": (2, 3)}
    (bare,) = encode_items(speaking("llama"), Item("w1 w2", "w5 w2", "w5", " w6"), start=None)
    assert bare.ids.tolist() == [1, 2] and bare.positions["not_first"] == (0, 1) and "subject" not in bare.positions


def test_an_answer_that_no_tokenizer_knows_names_its_item():
    with pytest.raises(InjectionError, match=r"items\[1\] \(second\)"):
        encode_items(
            speaking("llama"),
            [Item("w1 w2", "w5 w2", "w5", " w6"), Item("w1 w2", "w5 w2", "w5", " unknown", label="second")],
        )
