"""Spans that name parts of both prompts of a pair, and how prompts of unlike length are aligned."""

import pytest

from lens.prompts import Pair, PromptError, encode


@pytest.fixture(scope="module")
def tokenizer(smollm2):
    return smollm2.tokenizer


def test_spans_have_counterparts_in_the_corrupted_prompt(tokenizer):
    one = Pair(
        "Paris is the capital of France, and Mary knows",
        corrupted="The old city of Rome is the capital of Italy, and Mary knows",
        answer=" it",
        spans={"city": "Paris", "country": "France", "who": "Mary", "only_clean": "Paris is"},
        corrupted_spans={"city": "The old city of Rome", "country": "Italy"},
    )
    encoded = encode(tokenizer, one, aligned=False)
    tokens = encoded.corrupted_tokens

    def words(name):
        return "".join(tokens[p] for p in encoded.corrupted_positions[name]).strip()

    assert [words(n) for n in ("city", "country", "who")] == ["The old city of Rome", "Italy", "Mary"]
    assert words("city_first") == "The" and words("city_last") == "Rome"
    assert encoded.corrupted_positions["last"] == (len(tokens) - 1,)
    assert encoded.corrupted_positions["all"] == tuple(range(len(tokens)))
    assert "only_clean" in encoded.positions and "only_clean" not in encoded.corrupted_positions
    begin, end = one.locate("city", "corrupted")
    assert one.corrupted[begin:end] == "The old city of Rome"


def test_spans_of_the_corrupted_prompt_that_are_not_there():
    with pytest.raises(PromptError, match=r"corrupted_spans\['subject'\]: `spans` has no span of that name"):
        Pair("John gave", "Mary gave", " it", corrupted_spans={"subject": "John"})
    with pytest.raises(PromptError, match=r"corrupted_spans\['s'\]: 'France' occurs 0 times in `corrupted`"):
        Pair("John gave", "Mary gave", " it", spans={"s": "John"}, corrupted_spans={"s": "France"})
    with pytest.raises(PromptError, match=r"corrupted_spans\['s'\]: expected a part of `corrupted`"):
        Pair("John gave", "Mary gave", " it", spans={"s": "John"}, corrupted_spans={"s": 3})
    with pytest.raises(PromptError, match=r"spans\['s'\]: 'shop2' occurs 0 times in `corrupted`"):
        Pair("shop2 a", "shop b", " c", spans={"s": "shop2"}).locate("s", "corrupted")
