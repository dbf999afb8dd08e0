"""A served model's scores are those of the model itself, and what was answered before a server was gone is kept."""

import threading

import numpy as np
import pytest

from lens.scoring import Served, ServedError, score
from tests.models import tiny
from tests.server import Server, broken_off, changed, endless, silent, status, tokenizer

from .asked import naive, served, stored

# -- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("way", ["prompt_logprobs", "echo", "echo1"])
def test_scores_are_those_of_the_model_itself(model, rows, way, strict):
    with Server(model, ways=(way,), strict=strict) as server:
        one = Served(server.url, tokenizer=tokenizer(), concurrency=3)
        found = score(one, rows, batch_tokens=20, progress=False)
        assert one.about()["asked_by"] == way.rstrip("1")
        salts = [body["cache_salt"] for _, _, body in server.asked[-3:] if "cache_salt" in body]
        assert len(set(salts)) == (3 if way == "prompt_logprobs" and not strict else 0)
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


def test_many_short_rows_are_not_more_than_a_server_takes_at_a_time(model, server):
    rows = np.arange(1, 97).repeat(8)[:, None]
    found = score(served(server), rows, progress=False)
    assert max(len(body["prompt"]) for _, _, body in server.asked if body and "prompt" in body) == 256
    own = score(model, rows, start=0, progress=False)
    assert found.logprob == pytest.approx(own.logprob, abs=1e-5)


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


def test_so_many_requests_at_a_time(server, rows):
    one = served(server, concurrency=3)
    one.facts()
    together = threading.Barrier(3, timeout=20)

    def waits(handler, answer):
        together.wait()
        return answer

    server.faults += [waits] * 3
    assert len(score(one, rows, batch_tokens=1, progress=False)) == len(rows) and server.most == 3


def test_an_answer_that_does_not_come_is_told(server, rows):
    over = threading.Event()
    one = served(server, retries=1)
    one.facts()
    one._client.timeout = 0.2
    for fault in (silent(over), endless(pause=0.02, size=1)):
        server.always = fault
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
