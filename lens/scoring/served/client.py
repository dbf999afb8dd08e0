"""One server over HTTP by the `openai` client: what is sent is what is meant to be, what comes is bounded in size and
time, and what passes by itself is tried again.
"""

from __future__ import annotations

import email.utils
import math
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...extras import require
from ...reading import Fault, value
from .address import Address
from .errors import ServedError, said
from .pace import Pace

if TYPE_CHECKING:
    import httpx2

#: Headers that go out; the client adds others, from environment variables too, that are meant for another server.
_SENT = {"host", "accept", "connection", "user-agent", "content-length", "content-type"}
#: Statuses that pass by themselves: a time-out, a conflict, too early, too many requests.
_PASSING = {408, 409, 425, 429}
#: Seconds that a server may ask to wait; after longer ones the same call is better made again.
PATIENCE = 120.0
#: Bytes of an answer that holds no log-probabilities.
SMALL = 1 << 20


class Halted(ServedError):
    """A request that was not made any more, since another one failed or the work was stopped."""


class Refused(ServedError):
    """A request that the server refuses, with its `status`."""

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


class _Passing(Exception):
    """A failure that may be gone at the next try. `wait`: seconds that the server asks for."""

    def __init__(self, what: str, wait: float | None = None):
        super().__init__(what)
        self.wait = wait


class Client:
    """The requests to one server. `gone`: it did not answer the last time that it was asked."""

    def __init__(self, address: Address, key: str | None, *, timeout: float, retries: int, pace: Pace, most: int):
        require("served", "lens.scoring.Served")
        import httpx2
        import openai

        self.address, self.key, self.timeout, self.retries, self.pace = address, key, timeout, retries, pace
        self.gone = False
        self._limits = threading.local()
        http = openai.DefaultHttpxClient(
            follow_redirects=False,  # whoever is redirected to would get the rows
            limits=httpx2.Limits(max_connections=most, max_keepalive_connections=most),
            event_hooks={"request": [self._as_meant], "response": [self._bounded]},
        )
        # without a key of its own the client would take one, meant for another server, from the environment
        self._openai = openai.OpenAI(base_url=address.url, api_key=key or "none", max_retries=0, http_client=http)

    def get(self, path: str, halt: threading.Event | None = None) -> dict[str, Any]:
        """The JSON object at a path below the address, or at a whole address. Raises ServedError, as `post`."""
        return self._tried("get", path, None, SMALL, halt or threading.Event())

    def post(
        self, path: str, body: Mapping[str, Any], most: int = SMALL, halt: threading.Event | None = None
    ) -> dict[str, Any]:
        """The JSON object that answers a request.

        Args: most: bytes of it that are read.
        Raises: ServedError: no answer after all tries, or none that can be read. Refused: a status that will not pass.
            Halted: `halt` was set before the request went out.
        """
        return self._tried("post", path, body, most, halt or threading.Event())

    def _tried(self, verb: str, path: str, body: Any, most: int, halt: threading.Event) -> dict[str, Any]:
        last = ""
        for tries in range(1, self.retries + 2):
            self.pace.turn(halt)
            if halt.is_set():
                raise Halted(f"{self.address.url}: the request was not made any more")
            try:
                answer = self._once(verb, path, body, most)
                self.gone = False
                return answer
            except _Passing as passing:
                last = str(passing)
                if passing.wait is not None and passing.wait > PATIENCE:
                    raise ServedError(
                        f"{self.address.url} {last} and asks to wait {passing.wait:.0f} s; make the same call again"
                        " then"
                    ) from None
                if tries > self.retries:
                    break
                if passing.wait is not None:
                    self.pace.pause(passing.wait)
                else:
                    self.pace.again(tries, halt)
        self.gone = True
        times = "once" if self.retries == 0 else f"{self.retries + 1} times"
        raise ServedError(f"{self.address.url} {last} (asked {times}); see whether the server runs, and call again")

    def _once(self, verb: str, path: str, body: Any, most: int) -> dict[str, Any]:
        import httpx2
        import openai

        self._limits.most, self._limits.until = most, time.monotonic() + self.timeout
        options: openai.RequestOptions = {"timeout": httpx2.Timeout(self.timeout)}
        try:
            response: httpx2.Response = (
                self._openai.get(path, cast_to=httpx2.Response, options=options)
                if body is None
                else self._openai.post(path, cast_to=httpx2.Response, body=body, options=options)
            )
        except openai.APITimeoutError:
            raise _Passing(f"gave no whole answer within timeout={self.timeout:g} s") from None
        except openai.APIConnectionError as error:
            cause = error.__cause__
            raise _Passing(
                "cannot be reached" if isinstance(cause, httpx2.ConnectError) else "broke off its answer"
            ) from error
        except openai.APIStatusError as error:
            raise self._status(error.response) from None
        return self._parsed(response)

    def _status(self, response: httpx2.Response) -> Exception:
        status, words = response.status_code, said(response.content, self.key)
        if status in _PASSING or (status >= 500 and status != 501):
            return _Passing(f"answers with status {status}" + (f" ({words})" if words else ""), _wait(response.headers))
        url = self.address.url
        if 300 <= status < 400:
            return ServedError(
                f"{url} redirects to another address, which is not followed: what is asked would go there. Give that"
                " address itself if it is the right one."
            )
        if status in (401, 403):
            given = "the key was refused" if self.key else "it wants a key"
            return Refused(
                f"{url} answers with status {status}: {given}; give one by key= or by the environment variable that"
                " key_variable= names.",
                status,
            )
        hint = "; an address often ends in /v1" if status == 404 and not url.endswith("/v1") else ""
        return Refused(f"{url} answers with status {status}: {words or 'no more is said'}{hint}.", status)

    def _parsed(self, response: httpx2.Response) -> dict[str, Any]:
        content, url = response.content, self.address.url
        if "html" in response.headers.get("content-type", "") or content[:64].lstrip().startswith(b"<"):
            raise ServedError(
                f"{url} answers with a web page (HTML), not with JSON: it is no OpenAI-compatible server, or"
                " another program stands before it; an address often ends in /v1"
            )
        try:
            answer: dict[str, Any] = value(content, dict)
        except Fault as fault:
            raise ServedError(
                f"{url}: the answer {fault}, beginning {said(content[:60], self.key)!r}; it is cut, or it is no"
                " OpenAI-compatible server"
            ) from None
        return answer

    # -- hooks of the HTTP client -----------------------------------------------------------------------------------

    def _as_meant(self, request: httpx2.Request) -> None:
        """Leaves the headers that are meant for this server, and its key."""
        for name in [name for name in request.headers if name.lower() not in _SENT]:
            del request.headers[name]
        request.headers["Accept-Encoding"] = "identity"
        if self.key is not None:
            request.headers["Authorization"] = f"Bearer {self.key}"

    def _bounded(self, response: httpx2.Response) -> None:
        """Lets the body end with an error where it is longer, or takes longer, than what was asked for can."""
        import httpx2

        most, until, url = self._limits.most, self._limits.until, self.address.url

        class Bounded(httpx2.SyncByteStream):
            def __init__(self, stream: Any):
                self.stream = stream

            def __iter__(self) -> Any:
                size = 0
                for chunk in self.stream:
                    size += len(chunk)
                    if size > most:
                        raise ServedError(
                            f"{url} answers with more than the {most} bytes that an answer can have; its end was not"
                            " waited for. See whether it is an OpenAI-compatible server."
                        )
                    if time.monotonic() > until:
                        raise httpx2.ReadTimeout("the answer has no end", request=response.request)
                    yield chunk

            def close(self) -> None:
                self.stream.close()

        if response.headers.get("content-encoding", "identity") != "identity":
            raise ServedError(f"{url} answers with compressed content that was not asked for; a proxy may add it")
        response.stream = Bounded(response.stream)


def _wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, of a number or a date; None where it does not say."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        parsed = email.utils.parsedate_tz(text)
        if parsed is None:
            return None
        seconds = email.utils.mktime_tz(parsed) - time.time()
    return max(0.0, seconds) if math.isfinite(seconds) else None
