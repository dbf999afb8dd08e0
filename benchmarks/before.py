"""The same calls in this build and in an earlier one, interleaved: `python -m benchmarks.before COMMIT [CALL ...]
[--quick] [--rounds N]`.

The commit's tree is made as a git work tree in a temporary folder, and its calls run in a process of its own, as this
build's do. `before.txt` names, benchmark by benchmark, the commit that an issue began at.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ._calls import MARK, TIMED
from .tables import median, say

ROOT = Path(__file__).resolve().parents[1]
COMMITS = Path(__file__).with_name("before.txt")
ROUNDS = 5


class BeforeError(RuntimeError):
    """An earlier build that cannot be had, or a call that failed in it."""


def commit_of(benchmark: str) -> str:
    """The commit that a benchmark is compared with.

    Raises: BeforeError: `before.txt` has no line for it.
    """
    for line in COMMITS.read_text(encoding="utf-8").splitlines():
        if line.split()[:1] == [benchmark]:
            return line.split()[1]
    raise BeforeError(
        f"benchmark={benchmark!r}: {COMMITS.name} has no line for it; add one with the commit at which the issue began."
    )


@contextmanager
def work_tree(commit: str) -> Iterator[Path]:
    """The files of a commit in a temporary folder, as a git work tree that is gone again afterwards.

    Raises: BeforeError: no such commit here (a shallow clone, for example).
    """
    with tempfile.TemporaryDirectory(prefix="mnemoscope-before-") as folder:
        place = Path(folder) / "tree"
        made = _git("worktree", "add", "--detach", str(place), commit)
        if made.returncode:
            raise BeforeError(
                f"commit={commit!r}: its tree cannot be made: {made.stderr.strip().splitlines()[-1:]}; fetch the whole"
                " history first."
            )
        try:
            yield place
        finally:
            _git("worktree", "remove", "--force", str(place))


def _git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)


class Build:
    """The calls of one build, in a process of its own that lives until `close`."""

    def __init__(self, root: Path, quick: bool = False):
        self.root = root.resolve()
        environment = {
            **os.environ,
            "PYTHONPATH": str(self.root),
            "OMP_WAIT_POLICY": "PASSIVE",
            "OMP_NUM_THREADS": "2",
            "HF_HUB_OFFLINE": "1",
            "TQDM_DISABLE": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TRANSFORMERS_VERBOSITY": "error",
            "PYTHONWARNINGS": "ignore",
            "PIP_NO_INDEX": "1",
        }
        program = [sys.executable, "-P", str(Path(__file__).with_name("_calls.py")), *(["--quick"] if quick else [])]
        self.process = subprocess.Popen(
            program, cwd=self.root, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        began = self._answer("lens")
        if not Path(began).is_relative_to(self.root):
            raise BeforeError(
                f"the build of {self.root} took its code from {began}; another installation stands before it on the"
                " path."
            )

    def ask(self, key: str, **asked: Any) -> Any:
        """The answer to a question.

        Raises: BeforeError: the call failed, or the process ended.
        """
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._answer(key)

    def _answer(self, key: str) -> Any:
        for line in self.process.stdout:
            if line.startswith(MARK):
                answer = json.loads(line.removeprefix(MARK))
                if "error" in answer:
                    raise BeforeError(f"the build of {self.root} failed: {answer['error']}")
                return answer[key]
        raise BeforeError(f"the process of the build of {self.root} ended with exit code {self.process.wait()}.")

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@contextmanager
def builds(commit: str, quick: bool = False) -> Iterator[dict[str, Build]]:
    """This build and that of a commit, as `now` and `before`."""
    with work_tree(commit) as tree, Build(ROOT, quick) as now, Build(tree, quick) as before:
        yield {"now": now, "before": before}


#: Per call and build, round after round: seconds by the clock, and of the processor.
Seconds = dict[str, dict[str, list[tuple[float, float]]]]


def compared(commit: str, calls: Sequence[str], *, rounds: int = ROUNDS, quick: bool = False) -> Seconds:
    """The time of each call in both builds, the builds taking turns at going first; a call of each before it warms
    up.
    """
    seconds: Seconds = {call: {"now": [], "before": []} for call in calls}
    with builds(commit, quick) as both:
        for call in calls:
            for round_ in range(rounds + 1):
                say(f"{call}, {'warming up' if not round_ else f'round {round_} of {rounds}'}")
                for name in sorted(both, reverse=bool(round_ % 2)):
                    took = both[name].ask("seconds", call=call)
                    if round_:
                        seconds[call][name].append(took)
    return seconds


def ratios(seconds: Seconds) -> dict[str, float]:
    """Median of this build over median of the earlier one; `..._processor`: of the processor's time."""
    of = {
        call: {build: [median(each) for each in zip(*taken)] for build, taken in s.items()}
        for call, s in seconds.items()
    }
    return {
        f"{call}_over_before{suffix}": s["now"][i] / s["before"][i]
        for i, suffix in enumerate(("", "_processor"))
        for call, s in of.items()
    }


def beside(benchmark: str, calls: Sequence[str], *, quick: bool = False) -> dict[str, Any]:
    """The figures of a benchmark's part: the ratios of some calls to the commit that `before.txt` names for it, or
    `why` there are none. `quick`: the first call, once.
    """
    try:
        commit = commit_of(benchmark)
        seconds = compared(commit, calls[:1] if quick else calls, rounds=1 if quick else ROUNDS, quick=quick)
    except BeforeError as error:
        return {"why": str(error)}
    return ratios(seconds) | {"before": commit, "before_seconds": seconds}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.before", description=__doc__.splitlines()[0])
    parser.add_argument("commit")
    parser.add_argument("calls", nargs="*", choices=[*TIMED, []], help=f"some of {', '.join(TIMED)} (default all)")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument(
        "--quick",
        action="store_true",
        help="a random model of four layers: tests the comparison, says nothing about speed",
    )
    arguments = parser.parse_args()
    try:
        seconds = compared(
            arguments.commit, arguments.calls or list(TIMED), rounds=arguments.rounds, quick=arguments.quick
        )
    except BeforeError as error:
        say(f"before: {error}")
        return 2
    print(json.dumps({"commit": arguments.commit, **ratios(seconds), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
