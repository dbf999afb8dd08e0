"""Chats as prompts: what their templates make of them, where each turn stands, and what is refused by name.

The templates are short ones of the usual kinds; the reference for text and tokens is `apply_chat_template` of the
tokenizer itself, for a turn's tokens the bytes that they stand for.
"""

import copy
import datetime

import numpy as np
import pytest

import lens
from lens.injection import InjectionError, Item, encode_items
from lens.prompts import Chat, Pair, PromptError, encode, prompt_ids, render
from tests.models import speaking
from tests.test_prompts import tokens_by_bytes

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
#: Of Llama 3's kind: a header with today's date, turns without white space at their ends.
DATED = (
    "<|endoftext|>{% if not date is defined %}{% set date = strftime_now('%d %b %Y') %}{% endif %}"
    "[system]\nToday: {{ date }}\n{% for m in messages %}[{{ m.role }}]\n{{ m.content | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]\n{% endif %}"
)
#: Of Gemma's kind: the model's turns have another name, and a system turn is refused.
NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system turn here') }}{% endif %}"
    "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('turns must alternate') }}{% endif %}"
    "<turn>{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
#: Of Mistral's kind: the system turn stands at the head of the last user's, and nothing asks for the answer.
INSTRUCT = (
    "<|endoftext|>{% set system = messages[0].content if messages[0].role == 'system' else '' %}"
    "{% for m in messages %}{% if m.role == 'user' %}[INST] {% if loop.last and system %}{{ system }}\n\n{% endif %}"
    "{{ m.content }}[/INST]{% elif m.role == 'assistant' %} {{ m.content }}<|im_end|>{% endif %}{% endfor %}"
)
#: Writes what users and assistants say and nothing else.
DROPS = "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}\n{% endfor %}<assistant>"

SYSTEM, USER, ASSISTANT = ({"role": r, "content": c} for r, c in [
    ("system", "Be brief."), ("user", "Where is Lyon? user"), ("assistant", "In France.")
])  # fmt: skip
AGAIN = {"role": "user", "content": "And 日本 🦙?"}
LONG = [SYSTEM, USER, ASSISTANT, AGAIN]


@pytest.fixture(scope="module")
def tokenizer(smollm2):
    return smollm2.tokenizer


def without_template(tokenizer):
    bare = copy.copy(tokenizer)
    bare.chat_template = None
    return bare


# ---- text and tokens


@pytest.mark.parametrize(
    ("template", "messages"),
    [
        (None, LONG),
        (None, [USER]),
        (CHATML, LONG),
        (NO_SYSTEM, LONG[1:]),
        (INSTRUCT, LONG[1:]),
    ],
)
@pytest.mark.parametrize("continued", [False, True])
def test_text_and_tokens_are_those_of_the_tokenizers_own_template(tokenizer, template, messages, continued):
    if continued:
        messages = [*messages, {"role": "assistant", "content": "I think it is"}]
    chat = Chat(messages, template=template, continued=continued)
    own = {"chat_template": template, "add_generation_prompt": not continued, "continue_final_message": continued}
    text = tokenizer.apply_chat_template(messages, tokenize=False, **own)
    rendered = render(tokenizer, chat)
    assert rendered.text == text
    ids = tokenizer.apply_chat_template(messages, tokenize=True, return_dict=False, **own)
    assert prompt_ids(tokenizer, chat).tolist() == ids
    said = {name: text[begin:end] for name, (begin, end) in rendered.spans.items()}
    assert said == dict(zip(chat.names, (m["content"] for m in messages)))
    if template is None and not continued:
        assert prompt_ids(tokenizer, messages).tolist() == ids


def test_a_system_turn_at_the_head_of_the_users(tokenizer):
    rendered = render(tokenizer, Chat(LONG[:2], template=INSTRUCT))
    assert rendered.text == "<|endoftext|>[INST] Be brief.\n\nWhere is Lyon? user[/INST]"
    assert [rendered.text[slice(*rendered.spans[n])] for n in ("system_1", "user_1")] == [
        "Be brief.",
        "Where is Lyon? user",
    ]
    # where the last turn is not the user's, such a template forgets the system's
    begun = Chat([*LONG[:2], ("assistant", "It is")], template=INSTRUCT, continued=True)
    with pytest.raises(PromptError, match=r"messages\[0\]: the chat template leaves it out"):
        render(tokenizer, begun)


def test_the_tokens_of_each_turn_and_of_the_template(tokenizer):
    pair = Pair.chat(LONG, [*LONG[:3], {"role": "user", "content": "And 中国 🦙?"}], "Asia", "Europe",
                     spans={"city": "Lyon", "second": ("And", 1), "word": ("user", 1)})  # fmt: skip
    encoded = encode(tokenizer, pair, aligned=False)
    text, pieces = encoded.clean_text, encoded.clean_tokens
    assert text == render(tokenizer, pair.clean).text and "".join(pieces[:8]) == text[: len("".join(pieces[:8]))]
    spans = {}
    for name, message in zip(("system_1", "user_1", "assistant_1", "user_2"), LONG):
        begin = text.index(message["content"], text.index("<|im_start|>" + message["role"]))
        spans[name] = begin, begin + len(message["content"])
    spans["city"] = text.index("Lyon"), text.index("Lyon") + 4
    # what a turn says, not the name of its role that the template writes
    spans["word"] = text.index("? user") + 2, text.index("? user") + 6
    for name, span in spans.items():
        expected = tokens_by_bytes(tokenizer, text, *span)
        assert encoded.positions[name] == expected, name
        assert encoded.positions[f"{name}_first"] == expected[:1] and encoded.positions[f"{name}_last"] == expected[-1:]
    said = {p for name in ("system_1", "user_1", "assistant_1", "user_2") for p in encoded.positions[name]}
    assert encoded.positions["template"] == tuple(p for p in range(len(encoded)) if p not in said)
    after = encoded.positions["post_instruction"]
    assert "".join(pieces[p] for p in after) == "<|im_end|>\n<|im_start|>assistant\n" and after[-1] == len(encoded) - 1
    assert encoded.spans[:3] == ("system_1", "user_1", "city") and "template" not in encoded.spans
    others = encoded.corrupted_positions
    assert "".join(encoded.corrupted_tokens[p] for p in others["system_1"]) == "Be brief." and "city" in others


def test_turns_of_the_corrupted_chat_alone_are_no_template(tokenizer):
    encoded = encode(tokenizer, Pair.chat([USER], LONG, "Lyon"), aligned=False)
    assert "user_2" not in encoded.positions and "user_2" in encoded.corrupted_positions
    assert not set(encoded.corrupted_positions["template"]) & set(encoded.corrupted_positions["user_2"])


def test_answers_follow_where_the_assistants_turn_begins(tokenizer):
    encoded = encode(tokenizer, Pair.chat([USER], [AGAIN], "Paris", "Tokyo"), aligned=False)
    whole = tokenizer(encoded.clean_text + "Paris", add_special_tokens=False).input_ids
    assert [*encoded.clean_ids.tolist(), *encoded.answer_ids] == whole
    begun = Pair.chat([USER, ("assistant", "It is in")], [AGAIN, ("assistant", "It is in")], " France", continued=True)
    encoded = encode(tokenizer, begun, aligned=False)
    assert encoded.clean_text.endswith("assistant\nIt is in") and "post_instruction" not in encoded.positions
    assert encoded.positions["last"] == encoded.positions["assistant_1_last"]


def test_the_date_is_pinned_whatever_the_day(tokenizer, monkeypatch):
    today = Chat([USER], template=DATED)
    first = render(tokenizer, today).text
    assert "Today: 26 Jul 2024\n" in first
    assert "Today: 03 Feb 2025\n" in render(tokenizer, Chat([USER], template=DATED, date="2025-02-03")).text
    # transformers' own rendering has the day on which it is asked
    own = tokenizer.apply_chat_template([USER], chat_template=DATED, tokenize=False)
    assert f"Today: {datetime.datetime.now().strftime('%d %b %Y')}\n" in own
    computed = "{{ strftime_now('%Y') | int + 1 }}:{% set f = '%m' %}{{ strftime_now(f) }}" + CHATML
    assert render(tokenizer, Chat([USER], template=computed)).text.startswith("2025:07<")
    unknown = "{{ strftime_now('%' ~ 'Y') }}" + CHATML
    with pytest.raises(PromptError, match=r"the form of its date is no text of its own: %Y"):
        render(tokenizer, Chat([USER], template=unknown))
    with pytest.raises(PromptError, match=r"date: 'yesterday' is no day .*2024-07-26"):
        Chat([USER], date="yesterday")


def test_white_space_around_a_turn_may_go(tokenizer):
    padded = {"role": "user", "content": "  Where is Lyon?\n"}
    rendered = render(tokenizer, Chat([padded], template=DATED))
    begin, end = rendered.spans["user_1"]
    assert rendered.text[begin:end] == "Where is Lyon?"
    pair = Pair.chat([padded], [{"role": "user", "content": " Where is Rome?"}], "x", spans={"city": "Lyon"},
                     corrupted_spans={"city": "Rome"}, template=DATED)  # fmt: skip
    text = pair.rendered(tokenizer)
    assert [str(p)[slice(*text.locate("city", n))] for n, p in (("clean", text.clean), ("corrupted", text.corrupted))] \
        == ["Lyon", "Rome"]  # fmt: skip


def test_a_template_that_moves_a_turn_says_so_and_names_it_right(tokenizer):
    with pytest.warns(UserWarning, match="another order: user_1, assistant_1, system_1, user_2"):
        rendered = render(tokenizer, Chat(LONG, template=INSTRUCT))
    assert [rendered.text[slice(*rendered.spans[n])] for n in ("system_1", "user_2")] == ["Be brief.", "And 日本 🦙?"]


def test_no_second_start_token_and_a_warning_where_the_template_lacks_it(tokenizer):
    from tokenizers import processors

    eager = copy.deepcopy(tokenizer)
    eager.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    ids = prompt_ids(eager, Chat([USER], template=DATED)).tolist()
    assert ids.count(0) == 1 and ids[0] == 0
    with pytest.warns(UserWarning, match=r"begins with '<\|im_start\|>'.*puts '<\|endoftext\|>'"):
        prompt_ids(eager, Chat([USER], template=CHATML))


# ---- what is refused


def test_a_chat_without_a_template(tokenizer):
    with pytest.raises(PromptError, match=r"has no chat template.*instruction-tuned.*template="):
        encode(without_template(tokenizer), Pair.chat([USER], [AGAIN], "x"))
    ids = prompt_ids(without_template(tokenizer), Chat([USER], template=CHATML))
    assert ids.tolist() == tokenizer.apply_chat_template([USER], chat_template=CHATML, add_generation_prompt=True,
                                                         return_dict=False)  # fmt: skip


def test_a_template_by_name(tokenizer):
    several = copy.copy(tokenizer)
    several.chat_template = {"plain": CHATML, "dated": DATED}
    assert "Today" in render(several, Chat([USER], template="dated")).text
    with pytest.raises(PromptError, match=r"template: .*multiple chat templates.*'dated', 'plain'"):
        render(several, Chat([USER]))
    with pytest.raises(PromptError, match=r"'other' is neither a Jinja text nor a template's name; those of .* plain"):
        render(several, Chat([USER], template="other"))
    with pytest.raises(PromptError, match="names none"):
        render(tokenizer, Chat([USER], template="other"))


@pytest.mark.parametrize(
    ("template", "messages", "match"),
    [
        (NO_SYSTEM, LONG[:2], r"refuses them \(TemplateError: no system turn here\).*head of the first user's turn"),
        (DROPS, LONG[:2], r"messages\[0\]: the chat template leaves it out \(system: 'Be brief.'\).*first user's turn"),
        (NO_SYSTEM, [USER, AGAIN], r"turns must alternate\); their roles are user, user; see .*chat_template"),
        (CHATML + "{{ messages[-1].content }}", [USER], r"messages\[0\]: the chat template writes it 2 times"),
        (CHATML.replace("{{ m.content }}", "{{ m.content | upper }}"), [USER], "changes what they say"),
        ("{{ nonsense", [USER], r"refuses them \(TemplateSyntaxError"),
    ],
)
def test_a_turn_that_the_template_refuses_drops_repeats_or_changes(tokenizer, template, messages, match):
    with pytest.raises(PromptError, match=match):
        render(tokenizer, Chat(messages, template=template))


@pytest.mark.parametrize(
    ("messages", "match"),
    [
        ([], "messages: holds no turn"),
        ("Where is Lyon?", "messages: 'Where is Lyon.' is a str; give a list"),
        (7, "messages: 7 is a int; give a list"),
        (USER, "messages: .* is a dict; give a list"),
        ([{"role": "model", "content": "x"}], r"messages\[0\]: role='model' is not known; expected one of system,"),
        ([{"role": "user"}], r"messages\[0\]: .* lacks 'content'"),
        ([USER | {"name": "Ann"}], r"messages\[0\]: .* has 'name' too"),
        ([("user", ["x"])], r"messages\[0\]: content=\['x'\] is a list; expected text"),
        ([("user", " ")], r"messages\[0\]: content=' ' says nothing"),
        ([("system", "")], "messages: nothing is said"),
        ([USER, 3], r"messages\[1\]: 3 is no role and content"),
        ([USER, ASSISTANT], "last turn is the assistant's .*continued=True"),
        ([USER, ("system", "")], "the last turn is empty"),
    ],
)
def test_conversations_that_are_none(messages, match):
    with pytest.raises(PromptError, match=match):
        Chat(messages)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Pair.chat([USER], [], "x"), "corrupted: messages: holds no turn"),
        (lambda: Pair(Chat([USER]), "text", "x"), "one prompt is a chat and the other a text"),
        (lambda: Pair(Chat([USER]), Chat([AGAIN]), "x", start="<s>"), "start: '<s>' would be a second start"),
        (
            lambda: Pair.chat([USER], [AGAIN], "x", spans={"a": "Rome"}),
            r"spans\['a'\]: 'Rome' occurs 0 times in `clean`",
        ),
        (lambda: Pair.chat(LONG, LONG, "x", spans={"a": "user Be"}), r"'user Be' occurs 0 times"),
        (
            lambda: Pair.chat(LONG, LONG, "x", spans={"user_1": "Lyon"}),
            r"spans: the name 'user_1' is taken: .*template",
        ),
        (
            lambda: Pair.chat([USER], [AGAIN], "x", spans={"a": "Lyon"}, corrupted_spans={"a": "Lyon"}),
            r"corrupted_spans\['a'\]: 'Lyon' occurs 0 times in `corrupted`",
        ),
        (lambda: Pair.chat([USER], [AGAIN], "x", spans={"a": "Lyon"}).locate("a"), r"ask Pair.rendered\(model\)"),
        (lambda: Pair.chat(Chat([USER]), [AGAIN], "x", template=CHATML), "is a Chat, which has its own"),
        (lambda: Pair("ab", "ab", "x", spans={"a": (1, 3)}), r"characters 1 to 3 are no part of `clean`"),
    ],
)
def test_pairs_of_chats_that_are_none(make, match):
    with pytest.raises(PromptError, match=match):
        make()


def test_an_error_of_the_corrupted_chat_says_so(tokenizer):
    pair = Pair.chat([USER], [SYSTEM, USER], "x", template=NO_SYSTEM)
    with pytest.raises(PromptError, match=r"pairs\[0\]: corrupted: messages: the chat template refuses them"):
        lens.prompts.encode_all(tokenizer, [pair])


# ---- through the methods

TURNS = "{% for m in messages %}w90 {{ m.content }} w91 {% endfor %}{% if add_generation_prompt %}w92{% endif %}"


def talking(kind="llama", template=TURNS):
    model = speaking(kind)
    model.tokenizer.chat_template = template
    return model


MESSAGES = [{"role": "system", "content": "w5 w6"}, {"role": "user", "content": "w1 w2 w3"}]
ASKED = Pair.chat(
    [("system", "w5 w6"), ("user", "w1 w2 w3")], [("system", "w5 w6"), ("user", "w1 w4 w3")], " w7", " w8"
)
PLAIN = Pair("w90 w5 w6 w91 w90 w1 w2 w3 w91 w92", "w90 w5 w6 w91 w90 w1 w4 w3 w91 w92", " w7", " w8",
             spans={"user_1": "w1 w2 w3"})  # fmt: skip


@pytest.mark.parametrize("read", [
    lambda model, pair: lens.patch(model, pair, "resid_pre").effect,
    lambda model, pair: lens.patch(model, pair, "z", over=("layer", "head", "position"), positions="user_1").effect,
    lambda model, pair: lens.patch(model, pair, "resid_pre", method="attribution").effect,
    lambda model, pair: lens.logit_lens(model, pair).logit,
    lambda model, pair: lens.direct_logit_attribution(model, pair).contribution,
    lambda model, pair: lens.attention(model, pair, which="corrupted").pattern,
])  # fmt: skip
def test_a_method_reads_a_pair_of_chats_as_the_text_of_its_template(read):
    ours, theirs = read(talking(), ASKED), read(talking(), PLAIN)
    np.testing.assert_array_equal(ours.values, theirs.values)


def test_conversations_of_unlike_length_are_aligned_by_their_turns():
    other = [("system", "w5 w6"), ("user", "w9 w1 w4 w3")]
    longer = Pair.chat(MESSAGES, other, " w7", " w8")
    plain = Pair(PLAIN.clean, "w90 w5 w6 w91 w90 w9 w1 w4 w3 w91 w92", " w7", " w8", spans={"user_1": "w1 w2 w3"},
                 corrupted_spans={"user_1": "w9 w1 w4 w3"})  # fmt: skip
    ours = lens.patch(talking(), longer, "resid_pre", align="spans")
    assert ours.position.values.tolist() == ["system_1", "user_1", "post_instruction"]
    theirs = lens.patch(talking(), plain, "resid_pre", align="spans")
    # other cells beside it change the order of sums: rounding of float32
    np.testing.assert_allclose(
        ours.effect.values[:, 1], theirs.effect.values[:, 0], atol=1e-4 * abs(theirs.effect).max().item()
    )
    with pytest.raises(PromptError, match="align='spans'"):
        lens.patch(talking(), longer, "resid_pre")


def test_read_outs_take_a_conversation_itself():
    model = talking()
    for given in (Chat(MESSAGES), MESSAGES):
        read = lens.logit_lens(model, given)
        np.testing.assert_array_equal(read.top_prob, lens.logit_lens(model, PLAIN.clean).top_prob)


def test_a_record_has_the_chat_and_its_text_and_a_store_knows_another_template(tmp_path):
    result = lens.patch(talking(), ASKED, "resid_pre", store=tmp_path / "x.zarr")
    (known,) = lens.record(result)["pairs"]
    assert known["clean_text"] == PLAIN.clean and known["corrupted_text"] == PLAIN.corrupted
    assert Chat.from_record(known["clean"]) == ASKED.clean
    lens.save(result, tmp_path / "y.zarr")
    assert lens.record(lens.open(tmp_path / "y.zarr"))["pairs"] == [known]
    again = lens.patch(talking(), ASKED, "resid_pre", store=tmp_path / "x.zarr")
    np.testing.assert_array_equal(again.effect, result.effect)
    with pytest.raises(lens.Error, match="x.zarr"):
        lens.patch(talking(template=TURNS.replace("w91", "w93")), ASKED, "resid_pre", store=tmp_path / "x.zarr")


def test_effects_of_conversations_are_summarised_as_those_of_texts():
    turned = Pair.chat(MESSAGES[1:], [("user", "w1 w9 w3")], " w7", " w8")
    texts = Pair("w90 w1 w2 w3 w91 w92", "w90 w1 w9 w3 w91 w92", " w7", " w8")
    ours, theirs = (
        lens.summary(lens.patch(talking(), pairs, "resid_pre", positions="last"), flips=200)
        for pairs in ([ASKED, turned, ASKED], [PLAIN, texts, PLAIN])
    )
    assert int(ours.n.max()) == int(theirs.n.max()) == 2  # equal prompts are one unit
    np.testing.assert_array_equal(ours["mean"], theirs["mean"])


def test_views_show_the_text_of_a_pair_of_chats():
    widgets = pytest.importorskip("widgets")
    explorer, attention = widgets.PatchExplorer(talking(), ASKED), widgets.AttentionView(talking(), ASKED)
    assert (explorer.clean, explorer.corrupted, attention.text) == (PLAIN.clean, PLAIN.corrupted, PLAIN.clean)
    assert explorer._spans["user_1"] == ("w1 w2 w3", 1)


def test_records_that_are_no_chats():
    for record in (None, {"messages": [USER], "tools": []}, {"continued": True}):
        with pytest.raises(PromptError, match="chat: expected an object of messages"):
            Chat.from_record(record)


@pytest.mark.parametrize("given", [MESSAGES, Chat(MESSAGES), Chat([tuple(m.values()) for m in MESSAGES])])
def test_a_chat_is_written_on_as_its_tokens_are(given):
    model = talking()
    ids = [90, 5, 6, 91, 90, 1, 2, 3, 91, 92]
    options = dict(max_new_tokens=4)
    alone, among = lens.generate(model, given, **options), lens.generate(model, [given, "w4 w5"], **options)
    assert alone.ids == among[0].ids == lens.generate(model, ids, **options).ids
    assert lens.vectors.generate(model, given, **options).ids == alone.ids


@pytest.mark.parametrize("position", ["last", "mean"])
def test_a_contrast_of_chats_is_that_of_their_texts(position):
    other = [{"role": "user", "content": "w8 w9"}]
    ours = lens.vectors.contrast(talking(), [MESSAGES], [Chat(other)], position=position)
    texts = ["w90 w5 w6 w91 w90 w1 w2 w3 w91 w92"], ["w90 w8 w9 w91 w92"]
    theirs = lens.vectors.contrast(talking(), *texts, position=position, start=None)
    np.testing.assert_array_equal(ours.vectors, theirs.vectors)


def test_a_chat_to_write_on_for_a_model_without_a_template_names_it():
    with pytest.raises(lens.Error, match=r"tokenizer: .* has no chat template"):
        lens.generate(speaking(), [MESSAGES, "w4 w5"], max_new_tokens=2)


# ---- items

ITEM = Item.chat([("user", "w1 w2 w3")], [("user", "w4 w3")], "w4", " w6", subject="w2")


def test_an_item_in_a_conversation():
    (encoded,) = encode_items(talking(), ITEM)
    assert encoded.ids.tolist() == [90, 1, 2, 3, 91, 92] and encoded.explicit_ids.tolist() == [90, 4, 3, 91, 92]
    assert encoded.positions["subject"] == (2,) and encoded.positions["not_first"] == (1, 2, 3, 4, 5)
    assert str(ITEM.prompted("w9")) == "user: w9. w1 w2 w3"


def test_injection_reads_an_item_of_chats_as_the_text_of_its_template():
    model, other = talking(), Item.chat([("user", "w1 w7 w3")], [("user", "w9 w3")], "w9", " w8", subject="w7")
    texts = [Item("w90 w1 w2 w3 w91 w92", "w90 w4 w3 w91 w92", "w4", " w6", subject="w2"),
             Item("w90 w1 w7 w3 w91 w92", "w90 w9 w3 w91 w92", "w9", " w8", subject="w7")]  # fmt: skip
    call = dict(strengths=[1.0, 3.0], controls=(), positions="subject", encoder="unembed")
    ours = lens.injection.sweep(model, [ITEM, other], **call)
    theirs = lens.injection.sweep(model, texts, start=None, **call)
    np.testing.assert_array_equal(ours.logprob, theirs.logprob)
    assert Chat.from_record(lens.record(ours)["call"]["items"][0]["prompt"]) == ITEM.prompt


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Item.chat([("user", "w1")], [("user", "w2")], "w2", "w3", subject="w9"), "subject: 'w9' is not in"),
        (lambda: Item(Chat([("user", "w1")]), "w2", "w2", "w3"), "explicit: one of the two prompts is a chat"),
    ],
)
def test_items_that_are_none(make, match):
    with pytest.raises(InjectionError, match=match):
        make()


def test_an_item_for_a_model_without_a_template_names_it():
    with pytest.raises(InjectionError, match=r"items\[0\]: tokenizer: .* has no chat template"):
        encode_items(speaking(), ITEM)
