"""A served model's scores are those of the model itself; what a server breaks is told, what was answered is kept."""

import json
import sys
import threading

import numpy as np
import pytest
import torch

import lens
from lens.scoring import Served, ServedError, score
from lens.scoring.served.model import VARIABLE
from lens.scoring.store import Store
from tests.models import tiny, word_tokenizer
from tests.served import FakeClock, Server, broken_off, changed, endless, silent, status

KEY = "sk-a-secret-of-the-test"


@pytest.fixture(scope="module")
def model():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield tiny("llama", 1)
    torch.set_num_threads(before)


@pytest.fixture
def server(model):
    with Server(model) as running:
        yield running


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return [rng.integers(1, 97, length) for length in (9, 3, 1, 0, 14, 9, 6, 2, 11, 5)]


def served(server, **options):
    """A served model of one request at a time, whose waits are noted and not waited for."""
    one = Served(server.url, **{"tokenizer": word_tokenizer(), "concurrency": 1, "retries": 3, "timeout": 30} | options)
    one.pace.clock = FakeClock()
    return one


def naive(model, row, start=0):
    """Log-probabilities of a row's tokens after a start token, by one plain forward."""
    if not len(row):
        return np.empty(0)
    ids = torch.as_tensor([start, *map(int, row)])
    with torch.inference_mode():
        logprob = torch.log_softmax(model(ids[None, :-1]).logits[0].double(), -1)
    return logprob.gather(1, ids[1:, None])[:, 0].numpy()


def stored(folder):
    """How many rows a store of scores holds, whatever their model."""
    return sum(len(Store(folder, json.loads(path.read_text())).rows()) for path in folder.glob("*/options.json"))


# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("way", ["prompt_logprobs", "echo", "echo1"])
def test_scores_are_those_of_the_model_itself(model, rows, way, strict):
    with Server(model, ways=(way,), strict=strict) as server:
        one = Served(server.url, tokenizer=word_tokenizer(), concurrency=3)
        found = score(one, rows, batch_tokens=20, progress=False)
        assert one.about()["asked_by"] == way.rstrip("1")
        several = [body for _, _, body in server.asked if body and not isinstance(body.get("prompt", [0])[0], int)]
    assert several and found.row_id.tolist() == list(range(len(rows))) and found.about["status"] == "complete"
    for row, a, b in zip(rows, found.offsets[:-1], found.offsets[1:]):
        assert found.logprob[a:b] == pytest.approx(naive(model, row), abs=1e-5)
    own = score(model, rows, start=0, progress=False)
    assert found.logprob == pytest.approx(own.logprob, abs=1e-5) and (found.offsets == own.offsets).all()
    assert found.nll(2, 3) == pytest.approx(own.nll(2, 3), abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("options", [{"start": None}, {"start": 5}, {"start": None, "prefix": 2, "window": 4}])
def test_start_prefix_and_window_mean_what_they_mean_of_a_model_at_hand(model, server, rows, options):
    found, own = (score(one, rows, progress=False, **options) for one in (served(server, tokenizer=None), model))
    assert found.logprob == pytest.approx(own.logprob, abs=1e-5) and (found.offsets == own.offsets).all()
    assert found.first == own.first


def test_an_address_is_a_model_by_name(model, server, rows):
    found = score(f"{server.url}#tiny", rows, start=None, progress=False)
    assert found.logprob == pytest.approx(score(model, rows, start=None, progress=False).logprob, abs=1e-5)
    assert found.model["name"] == f"tiny at {server.url}" and found.model["hash"] is None
    assert found.model["says"] == {"owned_by": "vllm", "root": "/models/tiny", "version": "0.0.test"}


def test_a_row_longer_than_a_request_can_be_is_cut(model, server):
    row = np.arange(90) % 97
    found = score(served(server), [row], progress=False)
    # 64 tokens: the start token, 62 of the row, and the one that is generated
    assert found.about["cut"] == 1 and len(found.logprob) == 62
    assert found.logprob == pytest.approx(naive(model, row[:62]), abs=1e-5)
    assert max(map(len, server.prompts)) == 63


def test_minus_infinity_is_what_servers_write_for_it(server, rows):
    def floor(answer):
        answer["choices"][0]["prompt_logprobs"][2] = {str(rows[0][1]): {"logprob": -9999.0}}

    one = served(server)
    one.facts()
    server.faults.append(changed(floor))
    found = score(one, rows[:1], batch_tokens=1, progress=False)
    assert found.logprob[1] == -np.inf and found.about["bad"] == 1


# -- what passes by itself ------------------------------------------------------------------------------------------


def test_a_server_that_asks_to_wait_is_waited_for(model, server, rows):
    one = served(server, retries=4)
    one.facts()
    server.faults += [status(429, Retry_After="7"), status(503), status(500), broken_off]
    found = score(one, rows[:1], progress=False)
    assert found.logprob == pytest.approx(naive(model, rows[0]), abs=1e-5)
    first, *others = one.pace.clock.waits
    assert first == 7 and len(others) == 3 and len(server.prompts) == 5
    assert all(0.75 * full <= wait <= full for wait, full in zip(others, (1.0, 2.0, 4.0)))


def test_waits_end_and_say_how_often_was_asked(server, rows, tmp_path):
    one = served(server)
    one.facts()
    server.always = status(429, "too many requests")
    with pytest.raises(
        ServedError, match=r"answers with status 429 \(too many requests\) \(asked 4 times\).*call again"
    ):
        score(one, rows[:2], progress=False, store=tmp_path)
    assert len(server.prompts) == 2 * 4 and stored(tmp_path) == 0


def test_a_wait_of_an_hour_is_not_waited_for(server, rows):
    one = served(server)
    one.facts()
    server.faults.append(status(429, Retry_After="Thu, 01 Jan 2099 00:00:00 GMT"))
    with pytest.raises(ServedError, match=r"asks to wait \d{9,} s; make the same call again then"):
        score(one, rows[:1], progress=False)
    assert one.pace.clock.waits == []


def test_so_many_requests_a_second(server, rows):
    one = served(server, rate=4)
    score(one, rows, batch_tokens=1, progress=False)
    asked = len(server.asked)
    assert one.pace.clock.seconds == pytest.approx((asked - 1) / 4) and asked > 8


def test_an_answer_that_does_not_come_is_told(server, rows):
    over = threading.Event()
    one = served(server, retries=1, timeout=0.2)
    one.facts()
    server.always = silent(over)
    with pytest.raises(ServedError, match=r"gave no whole answer within timeout=0.2 s \(asked 2 times\)"):
        score(one, rows[:1], progress=False)
    over.set()


# -- gone in the middle ---------------------------------------------------------------------------------------------


def test_what_a_server_answered_before_it_was_gone_is_kept_and_the_next_call_goes_on(model, server, rows, tmp_path):
    one = served(server, retries=0)
    one.facts()
    whole = score(model, rows, start=0, progress=False)
    count = iter(range(100))

    def leaves(handler, answer):
        if next(count) < 4:
            return answer
        handler.close_connection = True
        server.close()
        return None

    server.always = leaves
    with pytest.raises(ServedError, match=r"4 rows that were answered are in store='.*', and the same call goes on"):
        score(one, rows, batch_tokens=1, progress=False, store=tmp_path)
    assert stored(tmp_path) == 4
    with pytest.raises(ServedError, match="cannot be reached"):
        score(one, rows, batch_tokens=1, progress=False, store=tmp_path)
    assert stored(tmp_path) == 4
    server.open()
    server.always, before = None, len(server.prompts)
    found = score(one, rows, batch_tokens=1, progress=False, store=tmp_path)
    assert found.about["cached"] == 4 and len(server.prompts) - before == 9 - 4
    assert found.logprob == pytest.approx(whole.logprob, abs=1e-5) and stored(tmp_path) == 9
    server.close()
    again = score(served(server), rows, batch_tokens=1, progress=False, store=tmp_path)
    assert again.about["cached"] == 9 and (again.logprob == found.logprob).all()
    server.open()


def test_without_a_store_the_error_says_that_nothing_is_kept(server, rows):
    one = served(server, retries=0)
    one.facts()
    server.always = status(500)
    with pytest.raises(ServedError, match="Nothing is kept without store=; give one"):
        score(one, rows, progress=False)


def test_many_at_a_time_lose_nothing_that_was_answered(model, server, rows, tmp_path):
    one = served(server, concurrency=4, retries=0)
    one.facts()
    server.faults += [changed(lambda answer: None)] * 5 + [status(500)]
    with pytest.raises(ServedError, match=r"(\d) rows that were answered") as told:
        score(one, rows, batch_tokens=1, progress=False, store=tmp_path)
    kept = int(str(told.value).partition(" rows that were")[0][-1])
    assert 5 <= kept == stored(tmp_path) < 9
    server.always = None
    assert score(one, rows, batch_tokens=1, progress=False, store=tmp_path).about["cached"] == kept


def test_stop_and_an_interrupt_keep_what_was_answered(server, rows, tmp_path):
    calls = iter(range(100))
    found = score(served(server), rows, batch_tokens=1, progress=False, store=tmp_path, stop=lambda: next(calls) >= 2)
    assert found.about["status"] == "stopped" and stored(tmp_path) == len(found) - 1 == 3

    def interrupt():
        if next(calls) >= 5:
            raise KeyboardInterrupt
        return False

    with pytest.raises(KeyboardInterrupt):
        score(served(server), rows, batch_tokens=1, progress=False, store=tmp_path, stop=interrupt)
    assert 3 < stored(tmp_path) < 9


@pytest.mark.parametrize("change, said", [("weights", "nats a token away"), ("root", "now serves '/models/other'")])
def test_another_model_under_the_same_name_is_found_when_the_server_is_back(server, rows, tmp_path, change, said):
    score(served(server), rows[:2], progress=False, store=tmp_path)
    if change == "weights":
        server.model = tiny("llama", 2)
    else:
        server.listed[0]["root"] = "/models/other"
    with pytest.raises(ServedError, match=rf"'tiny' is another model than it was: .*{said}"):
        score(served(server), rows, progress=False, store=tmp_path)
    assert stored(tmp_path) == 2
    assert len(score(served(server), rows[:2], progress=False, store=tmp_path)) == 2


def test_another_model_is_found_by_the_same_object_too(server, rows):
    one = served(server, retries=0)
    score(one, rows[:1], progress=False)
    server.faults.append(status(500))
    with pytest.raises(ServedError, match="status 500"):
        score(one, rows[:1], progress=False)
    server.model = tiny("llama", 2)
    for _ in range(2):
        with pytest.raises(ServedError, match="another model than it was"):
            score(one, rows[:1], progress=False)


# -- the key --------------------------------------------------------------------------------------------------------


def test_the_key_goes_to_the_server_alone(server, rows, tmp_path, monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.setenv(name, "meant-for-another")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Own: meant-for-another")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/meant-for-another")
    one = served(server, key=KEY)
    table = score(one, rows, progress=False, store=tmp_path)
    assert {headers.get("authorization") for _, headers, _ in server.asked} == {f"Bearer {KEY}"}
    assert "meant-for-another" not in str(server.asked) and "stainless" not in str(server.asked).lower()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert KEY.encode() not in kept and KEY not in f"{one!r} {one.about()} {table.model} {table.about}"
    server.asked.clear()
    score(served(server), rows[:1], progress=False)
    assert not [headers for _, headers, _ in server.asked if "authorization" in headers]
    monkeypatch.setenv(VARIABLE, KEY)
    score(served(server), rows[:1], progress=False)
    assert server.asked[-1][1]["authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv("ANOTHER_VARIABLE", "of-its-own")
    score(served(server, key_variable="ANOTHER_VARIABLE"), rows[:1], progress=False)
    assert server.asked[-1][1]["authorization"] == "Bearer of-its-own"


@pytest.mark.parametrize(
    "code, said", [(401, "the key was refused"), (403, "the key was refused"), (400, r"\[the key\]")]
)
def test_a_server_that_repeats_the_key_does_not_bring_it_into_an_error(server, rows, code, said):
    one = served(server, key=KEY)
    one.facts()
    server.always = status(code, f"Incorrect API key provided: {KEY}\x1b[2J")
    with pytest.raises(ServedError, match=said) as told:
        score(one, rows, progress=False)
    assert KEY not in str(told.value) and "\x1b" not in str(told.value)


@pytest.mark.parametrize("key", [b"sk-bytes", 7, "", " sk-a ", "sk-a\n", "sk-ä", ["sk-list"]])
def test_what_is_no_key_is_refused_and_not_shown(server, key):
    with pytest.raises(ServedError, match="key: what is given is no key") as told:
        Served(server.url, key=key)
    assert "sk-" not in str(told.value)


# -- arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url, said",
    [
        ("localhost:8000/v1", "url='localhost:8000/v1' is no address; expected the address"),
        ("ftp://host/v1", "is no address"),
        ("http://", "is no address"),
        ("http://host:port/v1", "is no address"),
        ("http://ho st/v1", "is no address"),
        (None, "url=<NoneType> is no address"),
        ("http://me:secret@host/v1", "the address of host holds a user, a password"),
        ("http://host/v1?api-key=secret", "the address of host holds a user, a password"),
        ("ftp://me:secret@host/v1", "is no address"),
    ],
)
def test_what_is_no_address_is_refused_and_a_secret_in_one_not_shown(url, said):
    with pytest.raises(ServedError, match=said.replace("(", r"\(")) as told:
        Served(url)
    assert "secret" not in str(told.value)


def test_the_model_is_the_only_one_or_the_one_that_is_named(server, rows):
    assert served(server).facts().model == "tiny" and repr(Served(server.url + "/")) == f"Served({server.url})"
    assert repr(Served(f"{server.url}#a/b")) == f"Served(a/b at {server.url})"
    with pytest.raises(ServedError, match=r"model='a': url names 'b' after '#'"):
        Served(f"{server.url}#b", "a")
    with pytest.raises(ServedError, match=r"model='large': http://.* serves 'tiny'; give one of these"):
        score(served(server, model="large"), rows, progress=False)
    server.listed += [{"id": f"m{i}"} for i in range(10)]
    with pytest.raises(ServedError, match=r"model=None: .* serves 'm0', .* and 3 more; say which model is meant"):
        score(served(server), rows, progress=False)
    server.listed = None
    with pytest.raises(ServedError, match=r"model=None: .* does not list its models"):
        score(served(server), rows, progress=False)
    assert len(score(served(server, model="tiny"), rows, progress=False)) == len(rows)


def test_the_tokenizer_is_compared_with_the_servers(server, rows, tmp_path):
    one = served(server)
    assert one.about()["says"]["tokenizer_compared"] is False
    other = word_tokenizer()
    other.add_tokens(["Rows"])
    server.tokenizer = word_tokenizer()
    assert served(server).about()["says"]["tokenizer_compared"] is True
    with pytest.raises(ServedError, match=r"tokenizer='' gives \d+ tokens .*not the tokenizer of 'tiny'; give"):
        score(served(server, tokenizer=other), rows, progress=False)
    word_tokenizer().save_pretrained(tmp_path / "own")
    assert served(server, tokenizer=tmp_path / "own").about()["tokenizer"] == str(tmp_path / "own")
    with pytest.raises(ServedError, match=r"tokenizer 'no/such/folder' cannot be loaded"):
        Served(server.url, tokenizer="no/such/folder")
    with pytest.raises(ServedError, match="tokenizer is a int; expected a tokenizer, its folder"):
        Served(server.url, tokenizer=3)


def test_options_that_a_server_has_no_use_for_are_refused(server, rows):
    for options, said in (
        ({"extra": "mean"}, "extra: .* log-probability of each token alone"),
        ({"dtype": "bfloat16"}, "dtype='bfloat16': .* has the server's own; leave dtype out"),
        ({"device": "cpu"}, "device='cpu': "),
        ({"backend": "ray"}, "backend='ray': .* is asked by this process"),
    ):
        with pytest.raises(ServedError, match=said):
            score(served(server), rows, progress=False, **options)
    with pytest.raises(ServedError, match=r"start='auto': the tokenizer of .* is not known; give it"):
        score(served(server, tokenizer=None), rows, progress=False)
    with pytest.raises(lens.Error, match="rows: row 0 holds tokens from 97"):
        score(served(server), [[97]], progress=False)
    assert not server.prompts
    for name, value in (("timeout", 0), ("retries", -1), ("rate", 0), ("concurrency", 0), ("model", "")):
        with pytest.raises(ServedError, match=f"{name}="):
            Served(server.url, **{name: value})


PAIR = lens.Pair("a b", corrupted="c b", answer=" d", foil=" e")


@pytest.mark.parametrize(
    "call",
    [
        lambda one: lens.patch(one, PAIR, "resid_pre"),
        lambda one: lens.causal_trace(one, "a b c", "b", " d"),
        lambda one: lens.models.weight_hash(one),
        lambda one: lens.provenance.LocalSuspect(one),
        lambda one: lens.Model.of(one),
    ],
)
def test_what_needs_the_model_itself_says_what_a_served_one_is(server, call):
    with pytest.raises(lens.Error, match="a served model gives log-probabilities of prompts alone, no activations"):
        call(served(server))
    assert not server.asked


def test_the_extra_is_named_where_it_is_absent(server, monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(
        lens.extras.ExtraError, match=r"lens.scoring.Served needs openai, .*pip install 'mnemoscope\[served\]'"
    ):
        Served(server.url)


# -- answers that cannot be used ------------------------------------------------------------------------------------


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
    "endless": (endless, r"more than the \d+ bytes that an answer can have"),
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
