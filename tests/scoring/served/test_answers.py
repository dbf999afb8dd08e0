"""An answer that cannot be used is told, and no number of it is kept."""

import json

import pytest

from lens.scoring import ServedError, score
from tests.server import Server, broken_off, changed, endless, status

from .asked import naive, served, stored


def choice(change):
    """A fault that changes the first choice of an answer."""

    def first(answer):
        change(answer["choices"][0])

    return changed(first)


def place(at, value):
    """A fault that puts something else at one place of the log-probabilities."""

    def change(found):
        own = found["prompt_logprobs"]
        own[at] = value(own[at]) if callable(value) else value

    return choice(change)


WRONG = {
    "another model": (
        changed(lambda a: a.update(model="tiny-chat")),
        r"of the model 'tiny-chat', and 'tiny' was asked",
    ),
    "no model": (changed(lambda a: a.pop("model") and None), "of the model None"),
    "no choices": (changed(lambda a: a.update(choices=None)), "no list of choices"),
    "no objects": (changed(lambda a: a.update(choices=[3])), "no list of choices"),
    "two choices": (changed(lambda a: a["choices"].append(a["choices"][0])), "2 choices for 1 rows.*batch_tokens=1"),
    "one token less": (choice(lambda c: c["prompt_logprobs"].pop()), "9 places for a row of 10 tokens"),
    "one token more": (
        choice(lambda c: c["prompt_logprobs"].append({"1": {"logprob": -1}})),
        "11 places for a row of 10",
    ),
    "no list": (choice(lambda c: c.update(prompt_logprobs={})), "no list of places"),
    "read more": (
        changed(lambda a: a["usage"].update(prompt_tokens=11)),
        "read 11 tokens where 10 were sent.*start token",
    ),
    "first is there": (place(0, {"0": {"logprob": -1.0}}), "the first token of a row has a value"),
    "a hole": (place(3, None), "nothing for token 3 of a row of 10"),
    "empty": (place(3, {}), "nothing for token 3"),
    "another token": (place(3, {"96": {"logprob": -1.0}}), "another token was read than was sent"),
    "most likely alone": (place(3, {"96": {"logprob": -1.0}, "95": {"logprob": -2.0}}), "the most likely tokens alone"),
    "NaN": (place(3, lambda own: {k: {"logprob": float("nan")} for k in own}), "token 3 is nan"),
    "positive": (place(3, lambda own: {k: {"logprob": 2.5} for k in own}), "token 3 is 2.5; one is at most 0"),
    "infinite": (place(3, lambda own: {k: {"logprob": float("inf")} for k in own}), "token 3 is inf"),
    "null": (place(3, lambda own: {k: {"logprob": None} for k in own}), "token 3 is None"),
    "text": (place(3, lambda own: {k: {"logprob": "-1"} for k in own}), "token 3 is '-1'"),
    "true": (place(3, lambda own: dict.fromkeys(own, False)), "token 3 is False"),
    "not JSON": (changed(lambda a: json.dumps(a).encode()[:-20]), "the answer is not JSON .*it is cut"),
    "a list": (changed(lambda a: [a]), "the answer holds a list where an object was expected"),
    "deep": (changed(lambda a: b'{"a":' * 100 + b"1" + b"}" * 100), "deep inside each other"),
    "a page": (
        lambda handler, answer: handler.answer(b"<!doctype html><p>Sign in</p>", headers={"Content-Type": "text/html"}),
        "a web page .HTML., not with JSON",
    ),
    "a page that says it is JSON": (changed(lambda a: b"\n<html></html>"), "a web page .HTML., not with JSON"),
    "elsewhere": (status(307, Location="http://127.0.0.1:9/v1/completions"), "redirects to another address"),
    "endless": (endless(), r"more than the \d+ bytes that an answer can have"),
    "endless error": (endless(500), r"more than the \d+ bytes that an answer can have"),
    "compressed": (
        lambda handler, answer: handler.answer(b"xx", headers={"Content-Encoding": "gzip"}),
        "compressed content that was not asked for",
    ),
    "refused": (status(400, "too long"), "answers with status 400: too long"),
    "broken off": (broken_off, "broke off its answer .asked once"),
}


@pytest.mark.parametrize("fault, said", WRONG.values(), ids=WRONG)
def test_an_answer_that_cannot_be_used_is_told_and_not_kept(model, server, rows, tmp_path, fault, said):
    one = served(server, retries=0)
    one.facts()
    server.faults += [changed(lambda answer: None), fault]
    with pytest.raises(ServedError, match=said) as told:
        score(one, [rows[4], rows[0]], batch_tokens=1, progress=False, store=tmp_path)
    assert server.url in str(told.value) and "1 rows that were answered are in store=" in str(told.value)
    assert stored(tmp_path) == 1
    found = score(one, [rows[4], rows[0]], batch_tokens=1, progress=False, store=tmp_path)
    assert found.logprob[-9:] == pytest.approx(naive(model, rows[0]), abs=1e-5)


ECHOES = {
    "another text": (lambda found: found["tokens"].__setitem__(3, " w96"), "the server has read ' w96' there"),
    "no text": (lambda found: found["tokens"].__setitem__(3, None), "the text of token 3 is None"),
    "another id": (lambda found: found["tokens"].__setitem__(3, "token_id:96"), "has read 'token_id:96' there"),
    "one token less": (lambda found: found["tokens"].pop(), "echo has 9 and 10 of tokens and values for a row of 10"),
    "one value more": (lambda found: found["token_logprobs"].append(-1.0), "echo has 10 and 11"),
    "no values": (lambda found: found.pop("token_logprobs"), "echo has 10 and no list"),
    "a hole": (lambda found: found["token_logprobs"].__setitem__(3, None), "token 3 is None"),
    "first is there": (lambda found: found["token_logprobs"].__setitem__(0, -1.0), "first token of a row has a value"),
}


@pytest.mark.parametrize("change, said", ECHOES.values(), ids=ECHOES)
def test_an_echo_that_cannot_be_used_is_told_and_not_kept(model, rows, tmp_path, change, said):
    with Server(model, ways=("echo",)) as server:
        one = served(server, retries=0)
        one.facts()
        server.faults.append(choice(lambda found: change(found["logprobs"])))
        with pytest.raises(ServedError, match=said):
            score(one, rows[:1], progress=False, store=tmp_path)
    assert stored(tmp_path) == 0


def test_an_echo_whose_end_nobody_tells_is_refused(model, rows):
    with Server(model, ways=("echo1",)) as server:
        one = served(server)
        one.facts()
        server.faults.append(changed(lambda answer: answer.pop("usage") and None))
        with pytest.raises(ServedError, match=r"has read None tokens where 10 were sent"):
            score(one, rows[:1], progress=False)


def test_texts_of_an_echo_that_are_no_text_of_their_own_pass(model, rows):
    def bytes_of(found):
        tokens = found["tokens"]
        tokens[1:4] = ["bytes:\\xe2", "\ufffd", f"token_id:{rows[0][2]}"]

    with Server(model, ways=("echo",)) as server:
        one = served(server)
        one.facts()
        server.faults.append(choice(lambda found: bytes_of(found["logprobs"])))
        assert len(score(one, rows[:1], progress=False)) == 1


@pytest.mark.parametrize("strict", [False, True])
def test_a_server_without_log_probabilities_of_prompts_is_told_what_to_use(model, rows, strict):
    with Server(model, ways=(), strict=strict) as server:
        with pytest.raises(ServedError, match=r"tells no log-probabilities of a prompt's own tokens .*SampledTokens"):
            score(served(server), rows, progress=False)
