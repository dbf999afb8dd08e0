"""Pairs, tokens, answers and positions, against what bytes and plain Python lists say."""

import copy
import doctest
import pickle
import re

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

import lens.prompts
from lens.prompts import (
    EncodedPair,
    Pair,
    PromptError,
    encode,
    encode_all,
    resolve_positions,
    token_id,
    token_strings,
)
from lens.tokens import offsets, tokenize, tokenizer_of
from tests.conftest import word_tokenizer

CLEAN = "When John and Mary went to the shops, John gave the bottle to"
CORRUPTED = "When John and Mary went to the shops, Mary gave the bottle to"
TEXT = st.text(st.sampled_from("aé Zü.,\n\t日本語🦙👩‍🚀नमस्ते7 '-"), min_size=1, max_size=24)
many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def tokenizer(smollm2):
    return smollm2.tokenizer


@pytest.fixture(scope="module")
def slow(tokenizer):
    class Slow:
        """The same vocabulary without character ranges, as a tokenizer in plain Python has it."""

        is_fast = False

        def __call__(self, text, **options):
            assert not options.get("return_offsets_mapping"), "slow tokenizers refuse this"
            return tokenizer(text, **options)

        def __getattr__(self, name):
            return getattr(tokenizer, name)

        def __len__(self):
            return len(tokenizer)

    return Slow()


@pytest.fixture(scope="module")
def pieces():
    """A tokenizer in the manner of Llama 2: spaces as ▁, unknown characters as bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {"<unk>": 0, "▁": 1, "▁a": 2, "a": 3, "b": 4} | {f"<0x{byte:02X}>": 5 + byte for byte in range(256)}
    backend = Tokenizer(models.BPE(vocabulary, [("▁", "a")], unk_token="<unk>", byte_fallback=True))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never", split=False)
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>")


def pair(**changes) -> Pair:
    return Pair(**({"clean": CLEAN, "corrupted": CORRUPTED, "answer": " Mary", "foil": " John"} | changes))


def text_of(labels) -> str:
    """The text behind labels, for text without a backslash."""
    written = re.sub(
        r"(\\x[0-9a-f]{2})+", lambda run: bytes.fromhex(run[0].replace("\\x", "")).decode(), "".join(labels)
    )
    return written


def tokens_by_bytes(tokenizer, text: str, begin: int, end: int) -> tuple[int, ...]:
    """Tokens that hold a byte of text[begin:end], white space at its ends aside."""
    part = text[begin:end]
    if part.strip():
        begin += len(part) - len(part.lstrip())
        end -= len(part) - len(part.rstrip())
    first, last = len(text[:begin].encode()), len(text[:end].encode())
    place, found = 0, []
    for number, raw in enumerate(tokenizer.convert_ids_to_tokens(tokenize(tokenizer, text))):
        # One character of a byte-level token is one byte.
        if place < last and place + len(raw) > first:
            found.append(number)
        place += len(raw)
    assert place == len(text.encode())
    return tuple(found)


# ---- what encode gives


def test_encode_ids_tokens_and_positions(tokenizer):
    encoded = encode(tokenizer, pair(spans={"io": "Mary", "s1": "John", "s2": ("John", 2), "shop": "to the shops"}))
    assert encoded.clean_ids.tolist() == tokenizer(CLEAN, add_special_tokens=False).input_ids
    assert encoded.corrupted_ids.tolist() == tokenizer(CORRUPTED, add_special_tokens=False).input_ids
    assert encoded.clean_ids.dtype == torch.int64 and len(encoded) == 14
    assert "".join(encoded.clean_tokens) == CLEAN and "".join(encoded.corrupted_tokens) == CORRUPTED
    assert encoded.answer_ids == tuple(tokenizer(" Mary", add_special_tokens=False).input_ids)
    assert encoded.foil_ids == tuple(tokenizer(" John", add_special_tokens=False).input_ids)
    assert {name: encoded.positions[name] for name in ("last", "first_difference", "io", "s1", "s2", "shop")} == {
        "last": (13,),
        "first_difference": (9,),
        "io": (3,),
        "s1": (1,),
        "s2": (9,),
        "shop": (5, 6, 7),
    }
    assert encoded.positions["shop_first"] == (5,) and encoded.positions["shop_last"] == (7,)
    assert encoded.positions["all"] == tuple(range(14))


def test_models_and_tokenizers_give_the_same(smollm2, tokenizer, tiny):
    words = word_tokenizer()
    plain = tiny("llama")
    plain.tokenizer = words
    assert encode(plain, Pair("w1 w2 w3", "w1 w4 w3", " w5")).clean_ids.tolist() == [1, 2, 3]
    assert encode(words, Pair("w1 w2 w3", "w1 w4 w3", " w5")).answer_ids == (5,)
    assert encode(smollm2, pair()).clean_ids.tolist() == encode(tokenizer, pair()).clean_ids.tolist()
    del plain.tokenizer
    with pytest.raises(PromptError, match=r"LlamaForCausalLM has none.*model\.tokenizer = "):
        encode(plain, pair())


def test_start_is_literal_and_nothing_is_added(tokenizer):
    without, started = (encode(tokenizer, pair(start=start, spans={"s1": "John"})) for start in ("", "<|endoftext|>"))
    assert started.clean_ids.tolist() == [0, *without.clean_ids.tolist()]
    assert started.clean_tokens[0] == "<|endoftext|>"
    assert started.positions["s1"] == (2,) and without.positions["s1"] == (1,)


def test_special_tokens_that_a_tokenizer_would_add_are_not(tokenizer):
    from tokenizers import processors

    eager = copy.deepcopy(tokenizer)
    eager.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", 1)]
    )
    assert eager("a b").input_ids[0] == 1
    assert encode(eager, pair()).clean_ids.tolist() == encode(tokenizer, pair()).clean_ids.tolist()


def test_answers_of_several_tokens(tokenizer):
    encoded = encode(tokenizer, pair(answer=" Mary Poppins the second", foil=" Zbigniew"))
    assert "".join(token_strings(tokenizer, encoded.answer_ids)) == " Mary Poppins the second"
    assert len(encoded.answer_ids) > 2 and len(encoded.foil_ids) > 2
    assert encode(tokenizer, pair(foil=None)).foil_ids is None


def test_unaligned_pairs(tokenizer):
    encoded = encode(tokenizer, pair(corrupted=CORRUPTED.replace("Mary gave", "Zbigniew gave")), aligned=False)
    assert len(encoded.corrupted_ids) > len(encoded.clean_ids) == 14
    assert encoded.positions["first_difference"] == (9,)
    same = encode(tokenizer, pair(corrupted=CLEAN), aligned=False)
    assert "first_difference" not in same.positions
    longer = encode(tokenizer, Pair("The cat", "The cat sat", " on"), aligned=False)
    assert "first_difference" not in longer.positions, "no token of the clean prompt differs"


def test_pairs_are_values(tokenizer):
    one = pair(spans={"s1": "John"})
    assert pickle.loads(pickle.dumps(one)) == one == copy.deepcopy(one)
    assert len({one, pair(spans={"s1": "John"})}) == 1
    with pytest.raises(AttributeError):
        one.clean = "other"
    assert isinstance(pickle.loads(pickle.dumps(encode(tokenizer, one))), EncodedPair)


def test_examples_in_the_docstrings():
    result = doctest.testmod(lens.prompts.pair)
    assert result.attempted >= 1 and result.failed == 0


# ---- bad input


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
@pytest.mark.parametrize("name", ["clean", "corrupted"])
def test_empty_prompts(name, text):
    with pytest.raises(PromptError, match=f"^{name}: the prompt is {re.escape(repr(text))}"):
        pair(**{name: text})


def test_not_text():
    with pytest.raises(PromptError, match="^answer=3 does not fit; expected text"):
        pair(answer=3)
    with pytest.raises(PromptError, match="^foil=b' John' does not fit; expected text"):
        pair(foil=b" John")


def test_different_lengths_show_both_tokenisations(tokenizer):
    with pytest.raises(PromptError) as error:
        encode(tokenizer, pair(corrupted=CORRUPTED.replace("Mary gave", "Zbigniew gave")))
    message = str(error.value)
    assert "`clean` has 14 tokens and `corrupted` 17" in message and "differ at token 9" in message
    lines = message.splitlines()
    marked = [line for line in lines if line.startswith("-->")]
    assert len(marked) == 1 and re.fullmatch(r"-->\s+9\s+' John'\s+' Z'", marked[0])
    head = next(
        line for line in lines if "clean" in line and "corrupted" in line and "token" in line and ":" not in line
    )
    column = head.index("corrupted")
    rows = [line for line in lines if re.match(r"(-->|   )\s*\d+\s+[('\"]", line)]
    assert len(rows) >= 12
    assert {line[column - 2 : column] for line in rows} == {"  "} and all(line[column] in "'(" for line in rows)
    assert "(end)" in message and "aligned=False" in message


def test_one_prompt_begins_the_other(tokenizer):
    with pytest.raises(PromptError, match=r"-->\s+2\s+\(end\)\s+' sat'"):
        encode(tokenizer, Pair("The cat", "The cat sat", " on"))


def test_long_tables_are_cut_around_the_place(tokenizer):
    clean = "a b c d e f g h i j k l m n o p q r s t u v w x y z"
    with pytest.raises(PromptError) as error:
        encode(tokenizer, Pair(clean, clean.replace("n o", "n and o"), " 1"))
    assert (
        "...  6 more" in str(error.value)
        and "...  4 more" in str(error.value)
        and len(str(error.value).splitlines()) < 24
    )


def test_identical_prompts(tokenizer):
    with pytest.raises(PromptError, match="corrupted: its tokens equal those of `clean`.*nothing to patch"):
        encode(tokenizer, pair(corrupted=CLEAN))


@pytest.mark.parametrize("name", ["answer", "foil"])
def test_empty_answers(name):
    with pytest.raises(PromptError, match=f"{name}: is empty"):
        pair(**{name: ""})


def test_answer_equal_to_foil():
    with pytest.raises(PromptError, match="foil: ' Mary' equals the answer"):
        pair(foil=" Mary")


@pytest.mark.parametrize("name", ["answer", "foil"])
def test_answers_that_merge_with_the_prompt(tokenizer, name):
    with pytest.raises(PromptError) as error:
        encode(tokenizer, pair(clean="When John an", corrupted="When Mary an", **{name: "d"}))
    message = str(error.value)
    assert (
        message.startswith(f"{name}: 'd' merges with the end of `clean`")
        and "[' an']" in message
        and "' and'" in message
    )
    assert "begin the" in message
    with pytest.raises(PromptError, match="`clean` ends with white space: move it to the front"):
        encode(tokenizer, pair(clean=CLEAN + " ", corrupted=CORRUPTED + " ", answer="Mary", foil=None))


def test_answers_that_split_differently_after_the_two_prompts(tokenizer):
    with pytest.raises(PromptError, match="^answer: .*merges with the end of `corrupted`"):
        encode(tokenizer, Pair("the cat sat 1", "the cat sat an", "d"), aligned=False)


def test_an_answer_that_the_tokenizer_drops():
    words = word_tokenizer()
    with pytest.raises(PromptError, match="answer: ' ' adds no token to `clean`"):
        encode(words, Pair("w1 w2", "w1 w3", " "))


def test_words_outside_the_vocabulary():
    words = word_tokenizer()
    with pytest.raises(PromptError, match="^clean: 'Mary' in 'w1 Mary' is not in the vocabulary.*'w0', id 0"):
        encode(words, Pair("w1 Mary", "w1 w2", " w3"))
    with pytest.raises(PromptError, match="^corrupted: 'Mary'"):
        encode(words, Pair("w1 w2", "w1 Mary", " w3"))
    with pytest.raises(PromptError, match="^foil: 'Mary'"):
        encode(words, Pair("w1 w2", "w1 w4", " w3", " Mary"))
    assert encode(words, Pair("w1 w0", "w1 w2", " w3")).clean_ids.tolist() == [1, 0], "written out, it is meant"


def test_token_id(tokenizer):
    mary = tokenizer(" Mary", add_special_tokens=False).input_ids
    assert [token_id(tokenizer, " Mary")] == mary
    assert token_id(tokenizer, np.int64(5)) == 5 == token_id(tokenizer, 5)
    with pytest.raises(
        PromptError, match=r"token: 'Zbigniew' is 4 tokens, \['Z', 'b', 'ign', 'iew'\].*begins with a space"
    ):
        token_id(tokenizer, "Zbigniew")
    with pytest.raises(PromptError, match="token: is empty"):
        token_id(tokenizer, "")
    for wrong in (len(tokenizer), -1, True):
        with pytest.raises(
            PromptError, match=rf"token: id {wrong} is not in the vocabulary \(ids from 0 to {len(tokenizer) - 1}\)"
        ):
            token_id(tokenizer, wrong)
    with pytest.raises(PromptError, match="token: expected text or an id, got float"):
        token_id(tokenizer, 1.5)
    with pytest.raises(PromptError, match="token: 'Mary' in 'Mary' is not in the vocabulary"):
        token_id(word_tokenizer(), "Mary")


def test_spans_that_are_not_there():
    with pytest.raises(PromptError, match=r"spans\['subject'\]: 'France' occurs 0 times in `clean`"):
        pair(spans={"subject": "France"})
    with pytest.raises(PromptError, match=r"spans\['s3'\]: 'John' occurs 2 times .* occurrence 3"):
        pair(spans={"s3": ("John", 3)})
    for wrong in ("", 3, ("John", 0), ("John", True), ("John", "1"), ("John", 1, 2)):
        with pytest.raises(PromptError, match=r"spans\['s'\]: "):
            pair(spans={"s": wrong})


@pytest.mark.parametrize("spans", [{"last": "John"}, {"all": "John"}, {"a": "John", "a_last": "Mary"}])
def test_span_names_that_are_taken(spans):
    with pytest.raises(PromptError, match="spans: the name .* is taken"):
        pair(spans=spans)


def test_not_a_pair(tokenizer):
    with pytest.raises(PromptError, match="^pair=.* does not fit; expected lens.Pair"):
        encode(tokenizer, CLEAN)
    with pytest.raises(PromptError, match="^pairs=.* does not fit; expected lens.Pair or several of lens.Pair"):
        encode_all(tokenizer, CLEAN)
    with pytest.raises(PromptError, match="pairs: is empty"):
        encode_all(tokenizer, [])


def test_encode_all_names_the_pair(tokenizer):
    good = pair()
    encoded = encode_all(tokenizer, iter([good, pair(foil=None)]))
    assert [e.pair for e in encoded] == [good, pair(foil=None)] and len(encode_all(tokenizer, good)) == 1
    with pytest.raises(PromptError, match=r"^pairs\[1\] \(twins\): corrupted: its tokens equal"):
        encode_all(tokenizer, [good, pair(corrupted=CLEAN, label="twins")])


# ---- labels


@many
@given(text=TEXT)
@example("🦙🦙 naïve\n\n日本 𝔘")
@example("a a a a")
@example("\N{REPLACEMENT CHARACTER} x")
def test_labels_give_the_text_back(tokenizer, text):
    assume(text.strip())
    encoded = encode(tokenizer, Pair(text, text, " a"), aligned=False) if not text[-1].isspace() else None
    labels = encoded.clean_tokens if encoded else token_strings(tokenizer, tokenize(tokenizer, text))
    assert text_of(labels) == text
    assert len(labels) == len(tokenize(tokenizer, text)) and all(labels)


def test_labels_of_parts_of_a_character_differ(tokenizer):
    ids = tokenize(tokenizer, "🦙𝔘")
    labels = token_strings(tokenizer, ids)
    assert len(ids) > 2 and len(set(labels)) == len(set(ids))
    assert token_strings(tokenizer, [len(tokenizer) + 7]) == (f"[id {len(tokenizer) + 7}]",)


def test_labels_of_sentencepiece_tokens(pieces):
    ids = tokenize(pieces, "a aé")
    assert token_strings(pieces, ids) == ("a", " a", "\\xc3", "\\xa9")
    assert token_strings(pieces, torch.tensor(ids)) == token_strings(pieces, ids)
    encoded = encode(pieces, Pair("a aé a", "a bé a", " ab", spans={"x": "é"}), aligned=False)
    assert encoded.positions["x"] == (2, 3) and encoded.answer_ids == (2, 4)


# ---- positions


@many
@given(text=TEXT, data=st.data())
def test_spans_cover_the_tokens_that_hold_their_bytes(tokenizer, slow, text, data):
    assume(text.strip())
    begin = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(begin + 1, len(text)))
    part, occurrence = text[begin:end], 1
    place = text.find(part)
    while 0 <= place < begin:
        place, occurrence = text.find(part, place + len(part)), occurrence + 1
    assume(place == begin)
    start = data.draw(st.sampled_from(["", "<|endoftext|>"]))
    one = Pair(text + ".", text + "!", " a", spans={"x": (part, occurrence)}, start=start)
    expected = tokens_by_bytes(tokenizer, text + ".", begin, end)
    shift = 1 if start else 0
    for each in (tokenizer, slow):
        encoded = encode(each, one, aligned=False)
        found = encoded.positions["x"]
        assert found == tuple(p + shift for p in expected)
        assert encoded.positions["x_first"] == found[:1] and encoded.positions["x_last"] == found[-1:]


def test_a_slow_tokenizer_that_does_not_give_the_text_back(slow):
    class Lossy(type(slow)):
        def decode(self, ids, **options):
            return "something else"

    with pytest.raises(PromptError, match="spans: this slow tokenizer decodes"):
        offsets(Lossy(), "a b", tokenize(slow, "a b"))


@many
@given(data=st.data(), length=st.integers(1, 30))
def test_positions_are_those_of_a_list(data, length):
    words = word_tokenizer()
    encoded = encode(words, Pair("w1 " * (length - 1) + "w2", "w1 " * (length - 1) + "w3", " w4"))
    places = list(range(length))
    bound = st.one_of(st.none(), st.integers(-40, 40))
    step = st.one_of(st.none(), st.integers(-5, 5).filter(bool))
    index = data.draw(st.integers(-length, length - 1))
    assert resolve_positions(encoded, index) == [(str(places[index]), (places[index],))]
    assert resolve_positions(encoded, np.int32(index)) == resolve_positions(encoded, [index])
    piece = slice(data.draw(bound), data.draw(bound), data.draw(step))
    if places[piece]:
        assert resolve_positions(encoded, piece) == [(str(p), (p,)) for p in places[piece]]
    else:
        with pytest.raises(PromptError, match="selects none"):
            resolve_positions(encoded, piece)
    wrong = data.draw(st.integers(-90, 90).filter(lambda i: not -length <= i < length))
    with pytest.raises(
        PromptError, match=rf"positions: {wrong} is out of range for {length} tokens \(from {-length} to {length - 1}\)"
    ):
        resolve_positions(encoded, wrong)


def test_positions_by_name_and_together(tokenizer):
    encoded = encode(tokenizer, pair(spans={"shop": "to the shops"}))
    assert resolve_positions(encoded) == [(str(p), (p,)) for p in range(14)]
    assert resolve_positions(encoded, "last") == [("last", (13,))]
    assert resolve_positions(encoded, ["shop", -1, (1, -14), slice(2, 4), range(4, 6)]) == [
        ("shop", (5, 6, 7)),
        ("13", (13,)),
        ("1+0", (1, 0)),
        ("2", (2,)),
        ("3", (3,)),
        ("4", (4,)),
        ("5", (5,)),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("subject", "positions: 'subject' is not a named position of this pair; it has last, all, first_difference"),
        ([], r"positions: \[\] selects none of the 14 tokens"),
        ([0, 99], "positions: 99 is out of range for 14 tokens"),
        ([1, -13], "asks for '1' more than once"),
        ([(1, 1)], r"the group \(1, 1\) holds a token twice"),
        (1.0, "positions: expected None, a name, an int, a slice or a list of those, got float 1.0"),
        (True, "got bool True"),
        (slice("a", None), "is not a slice of token indexes"),
        (slice(None, None, 0), "is not a slice of token indexes"),
    ],
)
def test_positions_that_are_not_there(tokenizer, spec, message):
    with pytest.raises(PromptError, match=message):
        resolve_positions(encode(tokenizer, pair()), spec)


def test_tokenizer_of_itself(smollm2, tokenizer):
    assert tokenizer_of(smollm2) is tokenizer is tokenizer_of(tokenizer)
    with pytest.raises(PromptError, match="tokenizer: str has none"):
        tokenizer_of("smollm2")
