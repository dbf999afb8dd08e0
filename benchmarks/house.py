"""Is the house in order? Long lines and files, arrows between rooms, what a sixth method touches, what the tools say,
how quickly the front door opens and the views answer, and the first call beside an earlier build.

`python -m benchmarks house` prints, last, one JSON line with every figure; `--part NAME` runs one part and keeps its
figures.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from .before import ROOT, BeforeError, commit_of, work_tree
from .parts import Parts
from .tables import median, say

#: Figures that a part gives, None where it could not be taken; what must hold is said in the table.
FIGURES = {
    "files": {"longest_line": "at most 120", "files_over_400": "at most 5"},
    "walls": {"circles": "0", "back_arrows": "0", "files_changed_for_a_sixth_method": "0"},
    "types": {"mypy_errors": "at most 100"},
    "docs": {"docs_warnings": "0"},
    "door": {"notebook_open_s": "at most 8"},
    "views": {"widget_hover_p95_ms": "at most 40", "live_injection_p95_ms": "at most 200"},
    "before": {"first_call_over_before": "at most .6"},
}
#: Suffixes of the files whose lines are measured, and lines that a file of the packages may have.
SUFFIXES = (".py", ".js", ".css", ".toml")
LONGEST_FILE = 400
#: What is put together of other files, so that its length is nobody's writing.
BUILT = ROOT / "widgets" / "static"
#: What a person types first, timed by a new process from its start to the attribute.
FIRST_CALL = "import time; began = time.perf_counter(); import lens; lens.load; print(time.perf_counter() - began)"
#: Fresh processes of each build, after one that warms the disk's cache.
ROUNDS = 9


def tracked(*patterns: str) -> list[Path]:
    """Files that git holds or would add, by patterns of git."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def files(quick: bool) -> dict[str, Any]:
    """The longest line of code and where it is; files of the packages that are too long, those that are put together
    of others aside.
    """
    longest, where = max(
        (len(line), f"{path.relative_to(ROOT)}:{number}")
        for path in tracked(*(f"*{suffix}" for suffix in SUFFIXES))
        for number, line in enumerate(lines_of(path), 1)
    )
    written = [path for path in tracked("lens", "widgets") if BUILT not in path.parents]
    packages = [path for path in written if path.suffix in SUFFIXES]
    long = {str(path.relative_to(ROOT)): n for path in packages if (n := len(lines_of(path))) > LONGEST_FILE}
    return {"longest_line": longest, "longest_line_at": where, "files_over_400": len(long), "long_files": long}


def walls(quick: bool) -> dict[str, Any]:
    """Circles and arrows that run the wrong way, by the rules that the tests hold; and the files outside its own
    folders that a method changes which nobody knew.
    """
    from tests import test_house as house

    found = {"circles": len(house.circles(ROOT)), "back_arrows": len(house.wrong_arrows(ROOT))}
    with tempfile.TemporaryDirectory(prefix="mnemoscope-sixth-") as folder:
        place = Path(folder)
        done = house.with_a_sixth_method(place)
        if done.returncode:
            return found | {"why": f"the sixth method's tests do not pass: {done.stdout[-400:]}"}
        found["files_changed_for_a_sixth_method"] = len(house.changed_for_it(place))
    return found


def types(quick: bool) -> dict[str, Any]:
    """Errors that mypy finds; `quick`: in one module."""
    command = [sys.executable, "-m", "mypy", *(["lens/errors.py", "--follow-imports=skip"] if quick else [])]
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1800)
    except subprocess.TimeoutExpired:
        return {"why": "mypy took more than half an hour"}
    if not re.search(r"Success: |Found \d+ error", done.stdout):
        return {"why": f"mypy gave no answer: {(done.stderr or done.stdout)[-300:]}"}
    return {"mypy_errors": len(re.findall(r"^.*: error: ", done.stdout, re.M))}


def docs(quick: bool) -> dict[str, Any]:
    """Warnings of a build of the documentation from nothing; `quick`: none is built."""
    if quick:
        return {"why": "not built with --quick: it takes minutes"}
    with tempfile.TemporaryDirectory(prefix="mnemoscope-docs-") as folder:
        command = [sys.executable, "docs/build.py", "--fresh", "--out", f"{folder}/docs"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment(ROOT))
    for line in done.stderr.splitlines():
        if "WARNING" in line:
            say(line)
    try:
        return {"docs_warnings": json.loads(done.stdout.splitlines()[-1])["docs_warnings"]}
    except (IndexError, ValueError, KeyError):
        return {"why": f"the documentation was not built: {(done.stderr or done.stdout)[-400:]}"}


def door(quick: bool) -> dict[str, Any]:
    """Seconds from the page's load to the last stored output of the start page."""
    from .house_widgets import Unseen, notebook_open

    try:
        seconds = notebook_open(rounds=1 if quick else 5)
    except Unseen as error:
        return {"why": str(error)}
    return {"notebook_open_s": median(seconds), "notebook_open_all": seconds}


def views(quick: bool) -> dict[str, Any]:
    """What a hand waits for: a tooltip of the patch explorer, the bars of the injection bench."""
    from .house_widgets import Unseen, hover, live_injection, percentile

    try:
        hovers, moves = hover(8 if quick else 200), live_injection(4 if quick else 100)
    except Unseen as error:
        return {"why": str(error)}
    return {
        "widget_hover_p95_ms": percentile(hovers, 95),
        "widget_hover_median_ms": median(hovers),
        "live_injection_p95_ms": percentile(moves, 95),
        "live_injection_median_ms": median(moves),
    }


def environment(root: Path) -> dict[str, str]:
    """Variables of a process that takes the packages from `root`, and others from where this one does."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])]),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TQDM_DISABLE": "1",
    }


def first_call(root: Path) -> float:
    """Seconds of a fresh process from its first line to `lens.load`."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", FIRST_CALL], cwd=root, env=environment(root), capture_output=True, text=True
    )
    if done.returncode:
        raise BeforeError(f"the build of {root} failed: {done.stderr[-300:]}")
    return float(done.stdout.split()[-1])


def before(quick: bool) -> dict[str, Any]:
    """The first call in fresh processes of this build and of the earlier one, which take turns."""
    try:
        commit = commit_of("house")
        with work_tree(commit) as tree:
            seconds: dict[str, list[float]] = {"now": [], "before": []}
            for round_ in range(2 if quick else ROUNDS + 1):
                say(f"first call, {f'round {round_}' if round_ else 'warming up'}")
                for name, root in sorted({"now": ROOT, "before": tree}.items(), reverse=bool(round_ % 2)):
                    took = first_call(root)
                    if round_:
                        seconds[name].append(took)
    except BeforeError as error:
        return {"why": str(error)}
    over = median(seconds["now"]) / median(seconds["before"])
    return {"first_call_over_before": over, "before": commit, "first_call_seconds": seconds}


BENCH = Parts(
    "house",
    FIGURES,
    {
        "files": files,
        "walls": walls,
        "types": types,
        "docs": docs,
        "door": door,
        "views": views,
        "before": before,
    },
    code=(
        "widgets/**/*.py",
        "widgets/**/*.js",
        "widgets/**/*.css",
        "docs/**/*.md",
        "docs/**/*.py",
        "notebooks/00*",
        "*.toml",
    ),
    more=("longest_line_at", "long_files", "first_call_seconds"),
)
