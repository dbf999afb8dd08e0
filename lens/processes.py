"""Which process something belongs to, told from what it left on a disk: by host and process number, never by a clock.

It imports nothing of the package.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

#: What stands in a token where a machine does not tell.
_UNKNOWN = "x"
_TOKEN = re.compile(r"([0-9a-f]{8}|x)-([0-9a-f]{8}|x)-([0-9a-f]{8}|x)-(\d+)-(\d+|x)-([0-9a-f]{12})")


@dataclass(frozen=True)
class Process:
    """A process as it can be recognised from elsewhere.

    `machine`: hash of the host's name and its permanent number; `boot`: of the start of its kernel; `space`: of the
    container (pid namespace) in which `pid` counts;
    `start`: when the process began, in the kernel's own ticks. Each is "x" where the machine does not tell.
    """

    machine: str
    boot: str
    space: str
    pid: int
    start: str

    @classmethod
    def own(cls) -> Process:
        """This process."""
        machine, boot, space = _here()
        return cls(machine, boot, space, os.getpid(), _started(os.getpid()) or _UNKNOWN)

    @classmethod
    def of(cls, token: str) -> Process | None:
        """The process that made a token; None where the text is none."""
        match = _TOKEN.fullmatch(token)
        return None if match is None else cls(match[1], match[2], match[3], int(match[4]), match[5])

    def token(self) -> str:
        """A text that fits into a file's name, another one at each call."""
        return f"{self.machine}-{self.boot}-{self.space}-{self.pid}-{self.start}-{uuid.uuid4().hex[:12]}"

    def dead(self) -> bool:
        """Whether it is known to have ended; False where this machine cannot tell (another host, another container)."""
        machine, boot, space = _here()
        same = self.machine == machine != _UNKNOWN
        if self.boot != boot and _UNKNOWN not in (self.boot, boot):
            return same  # the machine was started anew since
        if (_UNKNOWN in (self.boot, boot) and not same) or self.space != space:
            return False
        return _ended(self.pid, self.start)


@functools.cache
def _here() -> tuple[str, str, str]:
    number = _text("/etc/machine-id")
    if not number and not (node := uuid.getnode()) >> 40 & 1:  # that bit: a number drawn at random
        number = str(node)
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    machine = f"{socket.gethostname()} {number}" if number else ""
    return _hash(machine), _hash(_text("/proc/sys/kernel/random/boot_id")), _hash(space)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8] if text else _UNKNOWN


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _fields(pid: int) -> list[str]:
    # the name of the program, in parentheses, may hold anything; the fields after it are plain
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _started(pid: int) -> str:
    fields = _fields(pid)
    return fields[19] if len(fields) > 19 else ""


def _ended(pid: int, start: str) -> bool:
    if os.name != "posix":
        return False  # elsewhere the question itself could end the process
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass  # another person's: it lives
    fields = _fields(pid)
    if len(fields) < 20:
        return False
    return fields[0] in "ZX" or start not in (_UNKNOWN, fields[19])
