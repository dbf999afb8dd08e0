"""What the views ship: built from the sources as they are, small, and loading nothing."""

import hashlib
import re
from pathlib import Path

import pytest

import widgets

ROOMS = Path(widgets.__path__[0])
STATIC = ROOMS / "static"
NAMES = sorted(path.parent.name for path in ROOMS.glob("*/view.js"))
#: Bytes that a module may have: every view on a page sends its own.
MODULE_BYTES = 60_000
LINE = 120


def sources(room: str, kind: str) -> list[str]:
    """The files that a view is built of, by what they import."""
    found, left = set(), [ROOMS / room / f"view.{kind}"]
    pattern = r'^(?:import|\} from|@import) ?(?:[^"\n]* from )?"(\.[^"]+)";' if kind == "js" else r'^@import "([^"]+)";'
    while left:
        path = left.pop().resolve()
        if path not in found:
            found.add(path)
            left += [path.parent / name for name in re.findall(pattern, path.read_text(encoding="utf-8"), re.M)]
    return sorted(path.relative_to(ROOMS.resolve()).as_posix() for path in found)


@pytest.mark.parametrize("kind", ["js", "css"])
@pytest.mark.parametrize("room", NAMES)
def test_what_ships_is_built_from_the_sources_as_they_are(room, kind):
    first = (STATIC / f"{room}.{kind}").read_text(encoding="utf-8").splitlines()[0]
    digest, files = hashlib.sha256(), sources(room, kind)
    for name in files:
        digest.update(f"{name}\n".encode() + (ROOMS / name).read_bytes() + b"\n")
    assert f"from {len(files)} files, sha256 {digest.hexdigest()}" in first, (
        f"widgets/static/{room}.{kind} is older than its sources; build it: npm ci --ignore-scripts && npm run build"
    )


def test_each_view_ships_one_module_and_one_sheet_and_nothing_else(capsys):
    assert {path.name for path in STATIC.iterdir()} == {f"{room}.{kind}" for room in NAMES for kind in ("js", "css")}
    assert len(NAMES) == len([name for name in widgets.__all__ if name[0].isupper() and name != "ViewError"])
    sizes = {room: (STATIC / f"{room}.js").stat().st_size for room in NAMES}
    with capsys.disabled():
        print("\nbytes of each module: " + ", ".join(f"{room} {size:,}" for room, size in sizes.items()))
    assert max(sizes.values()) < MODULE_BYTES


@pytest.mark.parametrize("room", NAMES)
def test_a_module_loads_nothing_and_writes_no_markup(room):
    source = (STATIC / f"{room}.js").read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    for forbidden in ("http://", "https://", "import ", "import(", "innerHTML", "insertAdjacentHTML", "eval("):
        assert forbidden not in source, forbidden
    assert source.rstrip().endswith("};") and "as default" in source[-60:]


def test_lines_are_short():
    long = [
        f"{path.relative_to(ROOMS)}:{number}"
        for path in [*ROOMS.rglob("*.js"), *ROOMS.rglob("*.css"), *ROOMS.rglob("*.mjs")]
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if len(line) > LINE
    ]
    assert not long
