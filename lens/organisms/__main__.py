"""`python -m lens.organisms [NAME ...]`: train again the models that ship, each by the command that its card has."""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence

from ..models.shipped import CARD, folder_of, folders
from .errors import OrganismError

#: How a command of a card begins, and then names a module of this package.
PROGRAM = ["python", "-m"]


def commands(names: Sequence[str] = ()) -> list[list[str]]:
    """What trains the models of these names (none given: all that ship), by their cards, each command once.

    Raises: LoadError: no such model. OrganismError: a card whose command is none of an organism.
    """
    lines: dict[str, None] = {}
    for name in names or folders():
        card = json.loads((folder_of(name, CARD) / CARD).read_text(encoding="utf-8"))
        lines[str(card.get("rebuild"))] = None
    return [_checked(line) for line in lines]


def _checked(line: str) -> list[str]:
    words = shlex.split(line)
    if words[:2] != PROGRAM or len(words) < 3 or not words[2].startswith(f"{__package__}."):
        raise OrganismError(
            f"rebuild={line!r} is no command of an organism; expected 'python -m {__package__}.<organism> ...' in its"
            f" {CARD}"
        )
    return words


def main(arguments: list[str] | None = None) -> int:
    """Run the commands one after another; the first that fails ends it."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {__package__}", description="Train again the models that ship, and replace their folders."
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a model (default: all that ship)")
    parser.add_argument("--list", action="store_true", help="print the commands and run none")
    asked = parser.parse_args(arguments)
    for command in commands(asked.names):
        print(shlex.join(command), flush=True)
        if not asked.list and (code := subprocess.run([sys.executable, *command[1:]]).returncode):
            return code
    return 0


if __name__ == "__main__":
    sys.exit(main())
