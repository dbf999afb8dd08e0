"""What the tools are told: the list of known type errors only shrinks, and none is in the strict rooms."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Known errors of mypy; lower it whenever some are mended.
KNOWN = 0
STRICT = ("lens/engine/", "lens/results/", "lens/models/")


def test_the_list_of_known_type_errors_only_shrinks_and_leaves_the_strict_rooms_out():
    known = (ROOT / ".ci" / "mypy.txt").read_text(encoding="utf-8").split("\n")
    known = [line for line in known if line]
    assert len(known) <= KNOWN
    assert not [line for line in known if line.startswith(STRICT)]


def test_both_packages_say_that_they_are_typed():
    assert all((ROOT / package / "py.typed").exists() for package in ("lens", "widgets"))


def test_the_tools_have_the_versions_that_the_tests_ran_with():
    pinned = dict(re.findall(r"^([a-z-]+)==(\S+)", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.M))
    assert {"ruff", "mypy", "mypy-baseline"} <= set(pinned)
