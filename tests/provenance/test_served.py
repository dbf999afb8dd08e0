"""A suspect behind a server is tested like the model itself, from Python and from the shell."""

import json

import numpy as np
import pytest
import torch

from lens import cli
from lens.provenance import ProvenanceError, Reference, Transcript, compare, query
from lens.scoring import Served, ServedError
from tests.models import tiny
from tests.server import FakeClock, Server, status, tokenizer

FEW = dict(resamples=99, ledger=False)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def speaking(kind, seed):
    """A tiny model with the tokenizer attached."""
    model = tiny(kind, seed)
    model.tokenizer = tokenizer()
    return model


@pytest.fixture
def transcript():
    rng = np.random.default_rng(0)
    return Transcript(rng.integers(1, 97, (40, 10)), rng.random(40), "key", shuffled_as="drawn", tokenizer=tokenizer())


@pytest.fixture
def server():
    with Server(tiny("llama", 1), tokenizer=tokenizer()) as running:
        yield running


def served(server, **options):
    one = Served(server.url, tokenizer=tokenizer(), timeout=30, **options)
    one.pace.clock = FakeClock()
    return one


@pytest.mark.parametrize("options", [{}, {"prefix": 2, "window": 4}])
def test_a_served_suspect_gives_what_the_model_itself_gives(server, transcript, options):
    reference = Reference(speaking("gpt2", 2), False, "other")
    found, own = (
        query(one, transcript, reference=reference, score_options=options, **FEW)
        for one in (served(server), speaking("llama", 1))
    )
    assert found.rho == pytest.approx(own.rho, abs=1e-6) and float(found.p) == float(own.p)
    assert found.tokens == own.tokens and found.warnings == own.warnings
    suspect = found.record["inputs"]["suspect"]
    assert suspect["name"] == suspect["url"] == server.url and "cannot be hashed" in suspect["what"]
    assert suspect["model"] == "tiny" and suspect["says"]["tokenizer_compared"] is True
    assert "sha256" not in suspect and json.dumps(found.record)


def test_a_served_reference_and_an_address_are_taken_too(server, transcript):
    with Server(tiny("gpt2", 2), name="other") as second:
        reference = Reference(served(second), False)
        found = query(f"{server.url}#tiny", transcript, reference=reference, score_options={"start": None}, **FEW)
    own = query(
        tiny("llama", 1),
        transcript,
        reference=tiny("gpt2", 2),
        score_options={"start": None},
        shares_order=False,
        **FEW,
    )
    assert found.rho == pytest.approx(own.rho, abs=1e-6)
    assert found.record["inputs"]["suspect"]["model"] == "tiny"
    assert found.record["inputs"]["references"][0]["model"] == "other"
    with pytest.raises(ServedError, match=r"suspect: start='auto': the tokenizer of .* is not known"):
        query(f"{server.url}#tiny", transcript, **FEW)


def test_what_a_server_answered_is_kept_and_the_next_query_goes_on(server, transcript, tmp_path):
    one = served(server, retries=0, concurrency=1)
    options = dict(store=tmp_path, score_options={"batch_tokens": 1}, **FEW)
    one.facts()
    server.faults += [lambda handler, answer: answer] * 7 + [status(500)]
    with pytest.raises(ServedError, match=r"suspect: .*7 rows that were answered are in store=.*same call goes on"):
        query(one, transcript, **options)
    before = len(server.prompts)
    found = query(one, transcript, **options)
    assert found.n == 40 and len(server.prompts) - before == 33
    table = compare({"served": one, "itself": speaking("llama", 1)}, transcript, store=tmp_path)
    assert table.rho[0] == pytest.approx(table.rho[1], abs=1e-6) and len(server.prompts) - before == 33


def test_the_command_asks_a_server(server, tmp_path, capsys, monkeypatch):
    rng = np.random.default_rng(0)
    lines = [
        json.dumps({"tokens": tokens, "key": key})
        for tokens, key in zip(rng.integers(1, 97, (40, 10)).tolist(), rng.random(40).tolist())
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    tokenizer().save_pretrained(tmp_path / "tokenizer")
    monkeypatch.setenv("OF_THE_TEST", "sk-a-secret")
    words = ["provenance", "query", "--suspect", f"{server.url}#tiny", "--transcript", str(tmp_path / "t.jsonl")]
    words += ["--resamples", "99", "--shuffled-as", "drawn", "--out", str(tmp_path / "r.json")]
    assert cli.main(words) == 2
    assert "name it by --served-tokenizer" in capsys.readouterr().err and not server.asked
    words += ["--served-tokenizer", str(tmp_path / "tokenizer"), "--key-variable", "OF_THE_TEST", "--retries", "1"]
    words += ["--concurrency", "2", "--rate", "1000", "--timeout", "30"]
    assert cli.main(words) == 0
    report = (tmp_path / "r.json").read_text()
    assert json.loads(report)["inputs"]["suspect"]["model"] == "tiny" and "sk-a-secret" not in report
    assert "--concurrency 2" in json.loads(report)["command"]
    assert {headers["authorization"] for _, headers, _ in server.asked} == {"Bearer sk-a-secret"}
    words[words.index(f"{server.url}#tiny")] = f"{server.url.replace('//', '//me:secret@')}#tiny"
    assert cli.main(words) == 2
    assert "holds a user" in (said := capsys.readouterr().err) and "secret" not in said


def test_what_only_draws_cannot_be_asked_for_is_named(transcript):
    with pytest.raises(ProvenanceError, match=r"lens.scoring.Served or the address of a server"):
        query(3, transcript)
