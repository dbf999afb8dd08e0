"""A server for tests, on loopback: it answers as vLLM does, or by echo, with what a tiny model computes by plain
forwards, and misbehaves where it is told to.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import torch

from lens.scoring.served.pace import Clock
from tests.models import word_tokenizer

#: What a handler does in place of an answer, or with the one that it would give.
Fault = Callable[["Handler", dict[str, Any]], Any]


def tokenizer():
    """The word tokenizer, whose token 0 begins a text too."""
    words = word_tokenizer()
    words.bos_token = "w0"
    return words


class FakeClock(Clock):
    """Time that passes where somebody waits, and at once."""

    def __init__(self):
        self.seconds, self.waits = 0.0, []

    def now(self):
        return self.seconds

    def wait(self, seconds, halt):
        self.waits.append(seconds)
        self.seconds += seconds


class Handler(BaseHTTPRequestHandler):
    """One request. What the server is to do is in `server.state`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        state = self.server.state
        state.asked.append((self.path, self.names(), None))
        if self.path == "/v1/models" and state.listed is not None:
            self.answer({"object": "list", "data": state.listed})
        elif self.path == "/version" and state.ways == {"prompt_logprobs"}:
            self.answer({"version": "0.0.test"})
        else:
            self.answer({"detail": "Not Found"}, 404)

    def do_POST(self):
        state = self.server.state
        with state.lock:
            state.open_requests += 1
            state.most = max(state.most, state.open_requests)
        try:
            self.post(state)
        finally:
            with state.lock:
                state.open_requests -= 1

    def post(self, state):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        state.asked.append((self.path, self.names(), body))
        if self.path == "/tokenize" and state.tokenizer is not None:
            ids = state.tokenizer.encode(body["prompt"], add_special_tokens=body["add_special_tokens"])
            self.answer({"count": len(ids), "max_model_len": 64, "tokens": ids})
        elif self.path != "/v1/completions":
            self.answer({"detail": "Not Found"}, 404)
        else:
            status, answer = state.completed(body)
            fault = state.faults.popleft() if state.faults else state.always
            if fault is None or (changed := fault(self, answer)) is not None:
                self.answer(answer if fault is None else changed, status)

    def names(self):
        return {name.lower(): value for name, value in self.headers.items()}

    def answer(self, content: Any, status: int = 200, headers: dict[str, str] | None = None):
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(data))} | (headers or {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


class Server:
    """What it serves, what it was asked (`most`: at a time), and what it does wrong.

    Args:
        ways: "prompt_logprobs", "echo" with any number of tokens after it, "echo1" that wants one token at least.
        faults: for the completions that come, one after the other; `always`: for all after those.
        strict: a parameter that is not known is refused (a salt always), and not passed over.
    """

    def __init__(self, model, *, name="tiny", ways=("prompt_logprobs",), tokenizer=None, strict=False, port=0):
        self.model, self.name, self.ways, self.tokenizer, self.strict = model, name, set(ways), tokenizer, strict
        self.asked: list[tuple[str, dict, Any]] = []
        self.faults: deque[Fault] = deque()
        self.always: Fault | None = None
        self.listed: list[dict] | None = [{"id": name, "owned_by": "vllm", "root": "/models/tiny", "max_model_len": 64}]
        self.lock, self.port = threading.Lock(), port
        self.open_requests = self.most = 0
        self.open()

    def open(self):
        """Begins to listen, again on the same port after `close`."""
        self.http = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.http.daemon_threads, self.http.state, self.port = True, self, self.http.server_address[1]
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    def close(self):
        """From here on no connection is taken."""
        self.http.shutdown()
        self.http.server_close()
        self.thread.join()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def prompts(self):
        """Every row of token ids that was asked about, the probe left out."""
        from lens.scoring.served.model import PROBE

        rows = []
        for _, _, body in self.asked:
            if body is not None and "max_tokens" in body:
                prompt = body["prompt"]
                rows += [prompt] if isinstance(prompt[0], int) else prompt
        return [row for row in rows if row != list(PROBE)]

    def completed(self, body):
        """The status and the answer that are right."""
        prompt = body["prompt"]
        rows = [prompt] if isinstance(prompt[0], int) else prompt
        if body["model"] != self.name:
            return 404, {"error": {"message": f"The model {body['model']} does not exist."}}
        if "cache_salt" in body and self.strict:
            return 400, {"error": {"message": "cache_salt: extra fields not permitted"}}
        if "prompt_logprobs" in body and "prompt_logprobs" not in self.ways and self.strict:
            return 400, {"error": {"message": "prompt_logprobs: extra fields not permitted"}}
        if body.get("echo") and not {"echo", "echo1"} & self.ways and self.strict:
            return 400, {"error": {"message": "echo is not supported"}}
        if body.get("echo") and self.ways == {"echo1"} and body["max_tokens"] == 0:
            return 422, {"error": "max_tokens must be at least 1"}
        choices = [self._choice(body, i, row) for i, row in enumerate(rows)]
        usage = {"prompt_tokens": sum(map(len, rows)), "completion_tokens": body["max_tokens"] * len(rows)}
        return 200, {
            "id": "cmpl-1",
            "object": "text_completion",
            "model": self.name,
            "choices": choices,
            "usage": usage,
        }

    def _choice(self, body, index, row):
        values = [None, *self._logprobs(row)]
        choice = {"index": index, "text": "", "finish_reason": "length", "logprobs": None, "prompt_logprobs": None}
        if "prompt_logprobs" in body and "prompt_logprobs" in self.ways:
            choice["prompt_logprobs"] = [
                None if value is None else {str(token): {"logprob": value, "rank": 1, "decoded_token": f" w{token}"}}
                for token, value in zip(row, values)
            ]
        if body.get("echo") and {"echo", "echo1"} & self.ways:
            tokens = [f" w{token}" for token in row] + [" w0"] * body["max_tokens"]
            choice["logprobs"] = {"tokens": tokens, "token_logprobs": values + [-1.0] * body["max_tokens"]}
        return choice

    def _logprobs(self, row):
        with self.lock, torch.inference_mode():
            logits = self.model(torch.as_tensor(row)[None]).logits[0, :-1].double()
        return torch.log_softmax(logits, -1)[torch.arange(len(row) - 1), torch.as_tensor(row[1:])].tolist()


# -- what it does wrong ---------------------------------------------------------------------------------------------


def status(code: int, message: str = "busy", **headers: str) -> Fault:
    """Another status, with headers."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda handler, answer: handler.answer({"error": {"message": message}}, code, named)


def changed(change: Callable[[dict], Any]) -> Fault:
    """The right answer, changed in place or replaced."""

    def fault(handler, answer):
        found = change(answer)
        return answer if found is None else found

    return fault


def broken_off(handler, answer):
    """Half of the answer, and the connection ends."""
    data = json.dumps(answer).encode()
    handler.answer(data[: len(data) // 2], headers={"Content-Length": str(len(data))})
    handler.close_connection = True


def endless(code: int = 200, pause: float = 0.0, size: int = 65536) -> Fault:
    """Spaces without an end, so many every so many seconds, until the other side has enough."""

    def fault(handler, answer):
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.close_connection = True
        try:
            while True:
                handler.wfile.write(b" " * size)
                time.sleep(pause)
        except OSError:
            pass

    return fault


def silent(until: threading.Event) -> Fault:
    """Nothing, until the test is over."""

    def fault(handler, answer):
        until.wait(30)
        handler.close_connection = True

    return fault
