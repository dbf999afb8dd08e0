"""Files of any size, read by byte ranges: local ones by seeking, remote ones by HTTP Range requests, several as if they
were one.
"""

from __future__ import annotations

import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from pathlib import Path

from ..arguments import unfit
from .errors import ProvenanceError


class LocalSource:
    """A local file: its `size`, and `read(start, stop)`."""

    def __init__(self, path: str | os.PathLike[str]):
        self.name = str(path)
        try:
            self.size = Path(path).stat().st_size
        except OSError as error:
            raise ProvenanceError(f"{path} cannot be read: {error}") from error

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`."""
        with open(self.name, "rb") as file:
            file.seek(start)
            return file.read(stop - start)


class HttpSource:
    """A remote file, of which only the ranges that are asked for travel.

    Raises ProvenanceError for a server that cannot send ranges; a whole file is never downloaded. Requests are tried
    `retries` times more, with growing pauses.
    """

    def __init__(self, url: str, timeout: float = 30.0, retries: int = 3, pause: float = 0.5):
        if not url.startswith(("http://", "https://")):
            raise ProvenanceError(f"url={url!r}; expected http:// or https://")
        self.name, self.timeout, self.retries, self.pause = url, timeout, retries, pause
        _, self.size = self._get(0, 1)

    def read(self, start: int, stop: int) -> bytes:
        """The bytes from `start` to before `stop`, asked of the server as a range."""
        return self._get(start, stop)[0]

    def _get(self, start: int, stop: int) -> tuple[bytes, int]:
        fault: Exception | None = None
        for attempt in range(self.retries + 1):
            try:
                return self._once(start, stop)
            except urllib.error.HTTPError as error:
                if error.code < 500 and error.code not in (408, 429):
                    raise ProvenanceError(
                        f"{self.name}: the server answered {error.code} {error.reason} for bytes {start} to {stop - 1}."
                        " Check the address and who may read it"
                    ) from error
                fault = error
            except (OSError, HTTPException) as error:
                fault = error
            if attempt < self.retries:
                time.sleep(self.pause * 2**attempt)
        raise ProvenanceError(
            f"{self.name}: bytes {start} to {stop - 1} could not be read in {self.retries + 1} tries ({fault}). Run it"
            " again later"
        )

    def _once(self, start: int, stop: int) -> tuple[bytes, int]:
        request = urllib.request.Request(
            self.name, headers={"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            if response.status != 206:
                raise ProvenanceError(
                    f"{self.name}: the server does not support Range requests (it answered {response.status} with"
                    f" {response.headers.get('Content-Length', '?')} bytes for {stop - start}); nothing was downloaded."
                    " Use a mirror that supports them, or a local copy of the file"
                )
            content_range = response.headers.get("Content-Range", "")
            try:
                span, total = content_range.removeprefix("bytes ").split("/")
                first, total = int(span.split("-")[0]), int(total)
            except ValueError:
                raise ProvenanceError(
                    f"{self.name}: the server's Content-Range {content_range!r} does not tell the file's size. Use"
                    " another mirror, or a local copy"
                ) from None
            content = response.read(stop - start)
        if first != start or len(content) != stop - start:
            raise OSError(f"{len(content)} bytes from {first} arrived")
        return content, total


class Joined:
    """Several sources end to end. A source that cannot be opened needs its size from `sizes`, else what follows it has
    no known place.
    """

    def __init__(
        self, paths: Sequence[str | os.PathLike[str]], sizes: Sequence[int] | None = None, name: str = "path", **http
    ):
        self.sources, self.faults, starts = [], [], [0]
        if sizes is not None and len(sizes) != len(paths):
            raise ProvenanceError(unfit("sizes", sizes, f"{len(paths)} numbers of bytes, one for each part"))
        for i, path in enumerate(paths):
            try:
                source = (
                    HttpSource(str(path), **http)
                    if str(path).startswith(("http://", "https://"))
                    else LocalSource(path)
                )
                size = source.size if sizes is None else sizes[i]
                if source.size < size:
                    self.faults.append(f"{path} (has {source.size} bytes where {size} are expected)")
            except ProvenanceError as error:
                if sizes is None:
                    raise ProvenanceError(
                        f"{name}: {error}. With sizes=, the bytes of each part, the other parts could be read"
                    ) from error
                self.faults.append(str(error))
                source, size = None, sizes[i]
            self.sources.append(source)
            starts.append(starts[-1] + size)
        self.starts, self.size = starts, starts[-1]

    def read_many(
        self, spans: Sequence[tuple[int, int]], gap: int = 65_536, most: int = 8_388_608, workers: int = 8
    ) -> list[bytes | None]:
        """The bytes of sorted spans; neighbours at most `gap` apart travel together, in requests of at most about
        `most` bytes.

        None where a source fails (noted in `faults`).
        """
        runs: list[list[int]] = []
        for i, (start, stop) in enumerate(spans):
            if runs and start - spans[runs[-1][-1]][1] <= gap and stop - spans[runs[-1][0]][0] <= most:
                runs[-1].append(i)
            else:
                runs.append([i])
        chunks: list[bytes | None] = [None] * len(spans)

        def fetch(run: list[int]) -> None:
            base, end = spans[run[0]][0], spans[run[-1]][1]
            try:
                content = self._read(base, end)
            except (ProvenanceError, OSError) as error:
                self.faults.append(str(error))
                if len(run) > 1:  # the fault may lie in one of them
                    for i in run:
                        fetch([i])
                return
            for i in run:
                chunks[i] = content[spans[i][0] - base : spans[i][1] - base]

        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(fetch, runs))
        return chunks

    def _read(self, start: int, stop: int) -> bytes:
        pieces = []
        for source, low, high in zip(self.sources, self.starts, self.starts[1:]):
            a, b = max(start, low), min(stop, high)
            if a < b:
                if source is None or b - low > source.size:
                    raise ProvenanceError(
                        f"bytes {a - low} to {b - low - 1} of part {self.starts.index(low)} are not there"
                    )
                pieces.append(source.read(a - low, b - low))
        content = b"".join(pieces)
        if len(content) != stop - start:
            raise OSError(f"{len(content)} of {stop - start} bytes arrived")
        return content
