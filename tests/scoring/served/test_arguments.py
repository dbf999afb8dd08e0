"""Addresses, keys, names, tokenizers and options of served models: what does not fit is told, and no secret with it."""

import sys

import pytest

import lens
from lens.scoring import Served, ServedError, score
from lens.scoring.served.model import VARIABLE
from tests.server import status, tokenizer

from .asked import served

KEY = "sk-a-secret-of-the-test"


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
    other = tokenizer()
    other.add_tokens(["Rows"])
    server.tokenizer = tokenizer()
    assert served(server).about()["says"]["tokenizer_compared"] is True
    with pytest.raises(ServedError, match=r"tokenizer='' gives \d+ tokens .*not the tokenizer of 'tiny'; give"):
        score(served(server, tokenizer=other), rows, progress=False)
    tokenizer().save_pretrained(tmp_path / "own")
    assert served(server, tokenizer=tmp_path / "own").about()["tokenizer"] == str(tmp_path / "own")
    with pytest.raises(ServedError, match=r"tokenizer 'no/such/folder' cannot be loaded"):
        Served(server.url, tokenizer="no/such/folder")
    for odd in (3, object(), type("Odd", (), {"encode": property(lambda self: 1 / 0)})()):
        with pytest.raises(ServedError, match=r"tokenizer is a \w+; expected a tokenizer, its folder"):
            Served(server.url, tokenizer=odd)


@pytest.mark.parametrize("start, first", [("auto", 0), ("bos", 0), ("w5", 5), (7, 7)])
def test_the_start_token_is_that_of_every_family(server, rows, start, first):
    score(served(server), rows[:1], start=start, progress=False)
    assert server.prompts == [[first, *rows[0].tolist()]]


def test_a_start_that_is_no_token_is_refused(server, rows):
    for start, said in (("w5 w6", "start: .*w5 w6"), ("auto", "start='auto': the tokenizer of")):
        with pytest.raises(ServedError, match=said):
            score(served(server, **({"tokenizer": None} if start == "auto" else {})), rows, start=start, progress=False)
    assert not server.prompts


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
