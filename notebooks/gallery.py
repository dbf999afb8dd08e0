"""The gallery of `00_start_here.ipynb`: `python notebooks/gallery.py` takes a picture out of each stored notebook,
shrinks it into `notebooks/images`, and writes the notebook's cell of pictures, questions and minutes anew.
"""

from __future__ import annotations

import base64
import functools
import io
import re
import sys
from pathlib import Path

import nbformat

from lens import files

HERE = Path(__file__).parent
START = HERE / "00_start_here.ipynb"
#: The cell that is written.
CELL = "gallery"
#: notebook -> which of its pictures stands for it, counted from 1
PICTURES = {
    "01": 2,
    "02": 2,
    "03": 3,
    "04": 6,
    "05": 1,
    "06": 3,
    "07": 3,
    "08": 1,
    "09": 4,
    "10": 1,
    "11": 2,
    "12": 1,
    "13": 2,
    "14": 1,
    "15": 1,
    "16": 2,
}
#: Pixels of a picture: as wide as a column of the gallery, at most so high.
SIZE = (300, 190)


def notebooks() -> list[Path]:
    """The notebooks that the gallery links, in order."""
    return sorted(path for path in HERE.glob("[0-9][0-9]_*.ipynb") if path != START)


def picture(path: Path) -> bytes:
    """The picture that stands for a notebook, as PNG on white."""
    from PIL import Image, ImageOps

    outputs = [o for cell in nbformat.read(path, as_version=4).cells for o in cell.get("outputs", [])]
    found = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
    whole = Image.open(io.BytesIO(base64.b64decode(found[PICTURES[path.name[:2]] - 1]))).convert("RGB")
    if whole.height > 1.3 * whole.width:  # the top of a tall one
        whole = whole.crop((0, 0, whole.width, whole.width * SIZE[1] // SIZE[0]))
    small = ImageOps.pad(whole, SIZE, Image.Resampling.LANCZOS, "white")
    out = io.BytesIO()
    small.quantize(128, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def thumbnail(path: Path) -> Path:
    """Where a notebook's picture lies."""
    return HERE / "images" / f"gallery_{path.name[:2]}.png"


def entry(path: Path) -> str:
    """One cell of the gallery: picture, title and question, and how long a run takes."""
    first = nbformat.read(path, as_version=4).cells[0].source
    title, question = re.match(r"# (\d\d · [^:]+): (.+)", first).groups()
    time = re.search(r"^\*Takes (.*?) on ", first, re.M)[1]
    shown = thumbnail(path).relative_to(HERE).as_posix()
    return f"[![{title}]({shown})]({path.name})<br>**[{title}]({path.name})**<br>{question.capitalize()}<br>*{time}*"


def markdown(columns: int = 3) -> str:
    """The gallery as a table."""
    entries = [entry(path) for path in notebooks()]
    rows = [entries[i : i + columns] for i in range(0, len(entries), columns)]
    lines = [" | ".join(row + [""] * (columns - len(row))) for row in rows]
    return "\n".join(
        [
            "## The notebooks",
            "",
            "| " + " | " * (columns - 1) + " |",
            "|" + "---|" * columns,
            *(f"| {line} |" for line in lines),
        ]
    )


def main() -> int:
    for path in notebooks():
        files.write(thumbnail(path), picture(path))
    book = nbformat.read(START, as_version=4)
    cell = next(cell for cell in book.cells if cell.id == CELL)
    cell.source = markdown()
    files.write(START, functools.partial(nbformat.write, book))
    print(f"written: {len(notebooks())} pictures and the cell {CELL!r} of {START.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
