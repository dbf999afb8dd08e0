"""Hub names without a network: revisions in a cache that is made by hand, and a local server in the hub's place for
names that are gated, absent or not to be reached.
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import lens
from lens.models import LoadError, checkpoints, weight_hash
from lens.models.loaded import loaded_as
from lens.models.names import named
from tests.models import tiny, word_tokenizer

STEPS = {"step0": 0, "step1000": 1, "step143000": 2, "main": 2}
IDS = torch.tensor([[3, 17, 5]])


def commit_of(seed):
    return hashlib.sha1(f"commit {seed}".encode()).hexdigest()


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A hub cache with three checkpoints of one model: blobs by their SHA-256, snapshots of links, and names."""
    home = tmp_path_factory.mktemp("hub")
    repo = home / "models--lab--steps"
    for seed in sorted(set(STEPS.values())):
        made = tmp_path_factory.mktemp(f"made{seed}")
        tiny("gpt_neox", seed=seed).save_pretrained(made)
        word_tokenizer().save_pretrained(made)
        snapshot = repo / "snapshots" / commit_of(seed)
        snapshot.mkdir(parents=True)
        (repo / "blobs").mkdir(exist_ok=True)
        for file in made.iterdir():
            blob = repo / "blobs" / hashlib.sha256(file.read_bytes()).hexdigest()
            blob.write_bytes(file.read_bytes())
            (snapshot / file.name).symlink_to(os.path.relpath(blob, snapshot))
    (repo / "refs" / "pr").mkdir(parents=True)
    for revision, seed in STEPS.items():
        (repo / "refs" / revision).write_text(commit_of(seed))
    (repo / "refs" / "pr" / "1").write_text(commit_of(1))
    (repo / "refs" / "gone").write_text("0" * 40)
    return home


@pytest.fixture(autouse=True)
def here(cache, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for module in ("transformers.utils.hub", "huggingface_hub.file_download", "huggingface_hub._snapshot_download"):
        __import__(module)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@torch.no_grad()
def logits(model):
    out = model(IDS)
    return getattr(out, "logits", out)


def test_the_revisions_in_the_cache_are_listed_in_their_order():
    found = checkpoints("lab/steps")
    assert list(found) == ["main", "pr/1", "step0", "step1000", "step143000"]
    assert found["step1000"] == found["pr/1"] == commit_of(1) and lens.models.checkpoints is checkpoints
    with pytest.raises(LoadError, match="no revision of it is in the hub's cache"):
        checkpoints("lab/nothing")


@pytest.mark.parametrize("how", ["argument", "short", "commit", "pull request"])
def test_a_revision_is_that_checkpoint(how):
    given = {
        "argument": ("lab/steps", {"revision": "step1000"}),
        "short": ("lab/steps@step1000", {}),
        "commit": ("lab/steps", {"revision": commit_of(1)}),
        "pull request": ("lab/steps@pr/1", {}),
    }
    name, options = given[how]
    model = lens.load(name, **options)
    torch.testing.assert_close(logits(model), logits(tiny("gpt_neox", seed=1)), atol=1e-5, rtol=1e-5)
    told = loaded_as(model)
    assert told["source"] == "lab/steps" and told["commit"] == commit_of(1) and told["revision"]
    assert weight_hash(model) == weight_hash(tiny("gpt_neox", seed=1)) != weight_hash(lens.load("lab/steps"))


def test_without_a_revision_it_is_main_and_the_commit_is_told():
    told = loaded_as(lens.load("lab/steps"))
    assert told["commit"] == commit_of(2) and "revision" not in told


def test_the_record_of_a_result_says_which(tmp_path):
    pair = lens.Pair("w3 w17 w5", corrupted="w3 w9 w5", answer=" w11", foil=" w23")
    found = lens.patch(lens.load("lab/steps@step0"), pair, "resid_pre", layers=[1], progress=False)
    told = lens.record(found)["model"]["loaded"]
    assert told == {
        "source": "lab/steps",
        "revision": "step0",
        "commit": commit_of(0),
        "dtype": "float32",
        "attention": "eager",
    }


@pytest.mark.parametrize(
    "name, options, message",
    [
        (
            "lab/steps",
            {"revision": "step7"},
            "revision='step7' .* is not there: .*HF_HUB_OFFLINE.* In the cache are: main",
        ),
        ("lab/steps@step7", {}, "revision='step7' .* In the cache are: main, pr/1, step0, step1000, step143000"),
        ("lab/steps@step0", {"revision": "step1000"}, "ask for two revisions"),
        ("lab/steps@", {}, "expected a name of the hub, '@' and a revision"),
        ("lab/nothing", {"revision": "step7"}, "'lab/nothing@step7' cannot be loaded"),
        ("organism:induction", {"revision": "main"}, "is a folder .* which has no revisions"),
    ],
)
def test_a_revision_that_is_not_there_is_told_with_those_that_are(name, options, message):
    with pytest.raises(LoadError, match=message):
        lens.load(name, **options)


def test_a_revision_of_a_folder_is_refused_and_not_ignored(tmp_path):
    tiny("llama").save_pretrained(tmp_path)
    word_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(LoadError, match="which has no revisions; leave the revision out"):
        lens.load(str(tmp_path), revision="step0")
    odd = tmp_path.parent / "model@step0"
    os.rename(tmp_path, odd)
    assert named(str(odd)).revision is None and named(str(odd)).folder == odd
    lens.load(str(odd))


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for repositories that are gated, absent, or lack a revision."""

    def do_GET(self):
        kind = next(k for k in ("gated", "absent", "revision", "silent") if f"/{k}" in self.path)
        status, code = {
            "gated": (403, "GatedRepo"),
            "absent": (404, "RepoNotFound"),
            "revision": (404, "RevisionNotFound"),
            "silent": (400, ""),
        }[kind]
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET

    def log_message(self, *args):
        pass


ASKED = {
    "lab/gated": "is gated: .*Accept them at https://huggingface.co/lab/gated, then log in .*`hf auth login`",
    "lab/absent": "the hub has no model of that name, or it is private. Check its spelling",
    "lab/revision@step9": "revision='step9' of name='lab/revision' is not there: the hub has no such revision",
    "lab/silent": "'lab/silent' cannot be loaded: .*\n'lab/silent' was taken for a hub name",
}
CODE = """
import json, sys
import lens
told = {}
for name in json.loads(sys.argv[1]):
    try:
        lens.load(name)
    except lens.LoadError as error:
        told[name] = str(error)
print("TOLD" + json.dumps(told))
"""


def test_what_the_hub_answers_is_told_with_the_next_step(tmp_path):
    import re

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        environment = os.environ | {
            "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "HF_HUB_OFFLINE": "0",
            "HF_HOME": str(tmp_path),
            "PYTHONPATH": str(Path(lens.__file__).parent.parent),
            "NO_PROXY": "127.0.0.1",
        }
        environment.pop("HF_HUB_CACHE", None)
        done = subprocess.run(
            [sys.executable, "-c", CODE, json.dumps(list(ASKED))],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
    finally:
        server.shutdown()
        server.server_close()
    assert "TOLD" in done.stdout, done.stderr[-2000:]
    told = json.loads(done.stdout.split("TOLD")[1])
    for name, message in ASKED.items():
        assert re.search(message, told[name], re.S), told[name]
