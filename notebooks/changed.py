"""What the stored tables of claims say today beside an earlier commit: `python notebooks/changed.py COMMIT`.

Prints Markdown. The tables are those of the notebooks' outputs (of that commit by `git show`, and of today). Rows are
paired within a notebook by the words of their claims, in order; of a row whose verdict is the same only the printed
intervals and numbers that differ are listed.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NUMBERS = re.compile(r"[-+]?\d[\d,.]*(?:e-?\d+)?(?: \[[^\]]*\])?(?: %)?")
RULE = re.compile(r" ?\(rule:.*?\)(?=$| |;|\))")

Row = dict[str, str]


def rows(text: str) -> list[Row]:
    """Every row of the tables *claim | ... | verdict* among a notebook's outputs."""
    from bs4 import BeautifulSoup

    found = []
    for cell in json.loads(text)["cells"]:
        for output in cell.get("outputs", []):
            page = BeautifulSoup("".join(output.get("data", {}).get("text/html", "")), "html.parser")
            for table in page.find_all("table"):
                found += _rows_of(table)
    return found


def _rows_of(table) -> list[Row]:
    if behind := table.select("details > dl"):  # short cells, with all that was measured behind them
        return [
            {name.get_text(strip=True): name.find_next_sibling("dd").get_text(" ", strip=True) for name in of("dt")}
            for of in behind
        ]
    parts = [line.find_all(["th", "td"]) for line in table.find_all("tr")]
    lines = [[part.get_text(" ", strip=True) for part in line] for line in parts]
    if not lines or "verdict" not in lines[0]:
        return []
    named = len(lines) > 1 and not lines[1][lines[0].index("verdict")]  # pandas names an index in a second line
    heads = [a or b for a, b in zip(*lines[:2])] if named else lines[0]
    if not {"claim", "here"} <= set(heads):
        return []
    return [dict(zip(heads, line)) for line in lines[1 + named :] if len(line) == len(heads)]


def words(row: Row) -> str:
    """What tells a row: its model or data, and its claim without the rule."""
    claim = re.split(r"[.] Rule|[.] Judged| [(]rule", row["claim"])[0]
    return f"{row.get('model') or row.get('data') or ''} {claim}".strip()


def verdict(row: Row) -> str:
    """A row's verdict without its rule."""
    return RULE.sub("", row["verdict"]).strip()


def paired(before: list[Row], after: list[Row]) -> list[tuple[Row | None, Row | None]]:
    """Rows of both, in today's order; each row of before once, the nearest words first."""
    left, out = list(before), []
    for row in after:
        near = []
        for i, old in enumerate(left):
            alike = difflib.SequenceMatcher(None, words(old), words(row)).ratio()
            near.append((alike + (old["claim"] == row["claim"]), -i))
        best = max(near, default=(0, 0))
        out.append((left.pop(-best[1]) if best[0] > 0.6 else None, row))
    return out + [(old, None) for old in left]


def differing(old: str, new: str) -> str:
    """The numbers of two texts that differ, in order; both whole where they do not pair."""
    a, b = NUMBERS.findall(old), NUMBERS.findall(new)
    if a == b:
        return ""
    if len(a) != len(b):
        return f"before: {old}; now: {new}"
    return "; ".join(f"{x} → {y}" for x, y in zip(a, b) if x != y)


def shown(head: str, lines: list[tuple[str, ...]]) -> str:
    """A Markdown table."""
    escaped = [" | ".join(" ".join(text.replace("|", "\\|").split()) for text in line) for line in dict.fromkeys(lines)]
    return "\n".join([f"| {head} |", "|" + "---|" * (head.count("|") + 1), *(f"| {line} |" for line in escaped)])


def main() -> int:
    parser = argparse.ArgumentParser(description="Stored tables of claims beside those of an earlier commit.")
    parser.add_argument("commit")
    asked = parser.parse_args()
    changed, numbers = [], []
    for file in sorted(HERE.glob("[01]*.ipynb")):
        command = ["git", "show", f"{asked.commit}:notebooks/{file.name}"]
        earlier = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=True).stdout
        for old, new in paired(rows(earlier), rows(file.read_text(encoding="utf-8"))):
            name = words(new or old)
            said = [verdict(row) if row else "(no such row)" for row in (old, new)]
            if said[0] != said[1]:
                changed.append((file.name[:2], name, *said))
            if old and new:
                printed = [f"{row['here']} | n {row.get('n', '')}" for row in (old, new)]
                if found := differing(*printed):
                    numbers.append((file.name[:2], name, found))
    print(shown("notebook | claim | before | now", changed))
    print()
    print(shown("notebook | claim | printed numbers, before → now", numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
