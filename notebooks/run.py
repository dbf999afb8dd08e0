"""Run a notebook from clean, headless: `python notebooks/run.py notebooks/01_activation_patching.ipynb --out
build/demo`.

Writes the executed notebook, its HTML and its figures into the folder `--out`, and prints where they lie, then the
headline numbers. The notebook finds two environment variables: MNEMOSCOPE_OUT, that folder, where it may write figures
and a `headline.json` ({label: number or text}); and MNEMOSCOPE_PRESET: `full`, `small` or `tiny`. `--store` also writes
the outputs back into the notebook itself, its pictures at the size of a screen, and into its first cell how long it
took.
"""

from __future__ import annotations

import argparse
import base64
import functools
import io
import json
import os
import re
import shutil
import sys
import time
from datetime import datetime
from pathlib import Path

import nbformat
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert import HTMLExporter

from lens import files

IMAGES = {"image/png": ".png", "image/svg+xml": ".svg"}
PRESETS = ("full", "small", "tiny")
#: Pixels of a page on a screen.
WIDTH = 1300
#: Colours of stored pictures, fewer where the notebook is larger than so many bytes with more.
COLOURS, STORED = (256, 128, 64), 1_080_000
#: The line of a first cell that says what a run of the notebook takes, up to what it runs on.
TIME = re.compile(r"^\*Takes .*? on \d+ CPU cores?(?=\b)", re.M)


class OwnKernel(AsyncKernelManager):
    """A kernel of this very Python: a kernelspec of another environment may bear the same name."""

    @property
    def kernel_spec(self):
        spec = super().kernel_spec
        spec.argv[0] = sys.executable
        return spec


def execute(notebook: nbformat.NotebookNode, folder: Path, timeout: int) -> None:
    """Run every cell in a new kernel of this very Python, with `folder` as its working directory."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    code = [index for index, cell in enumerate(notebook.cells) if cell.cell_type == "code"]

    def started(cell, cell_index, **_):
        if cell_index in code:
            print(f"  cell {code.index(cell_index) + 1} of {len(code)}", flush=True)

    NotebookClient(
        notebook,
        kernel_name="python3",
        kernel_manager_class=OwnKernel,
        timeout=timeout,
        startup_timeout=300,
        resources={"metadata": {"path": str(folder)}},
        store_widget_state=False,
        on_cell_start=started,
    ).execute()


def squeeze(notebook: nbformat.NotebookNode, colours: int = 256, width: int = WIDTH) -> None:
    """Outputs as a screen needs them, so that a stored notebook stays small enough for a forge to show: pictures at
    most `width` pixels wide, as PNG with a palette where that is smaller; of a table that is there as HTML the plain
    text without the blanks that fill its columns.
    """
    from PIL import Image

    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "text/html" in data and "text/plain" in data:
                data["text/plain"] = re.sub(r" {3,}", "  ", "".join(data["text/plain"]))
            if "image/png" not in data:
                continue
            whole = base64.b64decode(data["image/png"])
            picture = Image.open(io.BytesIO(whole)).convert("RGBA")
            flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
            if flat.width > width:
                flat = flat.resize((width, round(flat.height * width / flat.width)), Image.Resampling.LANCZOS)
            small = io.BytesIO()
            flat.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
                small, "PNG", optimize=True
            )
            if len(small.getvalue()) < len(whole):
                data["image/png"] = base64.b64encode(small.getvalue()).decode()


def seconds(notebook: nbformat.NotebookNode) -> float:
    """Seconds from the first cell's start to the last one's end, by the times that a run leaves in the code cells."""
    times = [
        datetime.fromisoformat(time) for cell in notebook.cells for time in cell.metadata.get("execution", {}).values()
    ]
    return (max(times) - min(times)).total_seconds()


def time_line(notebook: nbformat.NotebookNode) -> str:
    """How the line on its time begins, by what the last stored run took and the cores that it had."""
    minutes, cores = round(seconds(notebook) / 60), notebook.metadata["mnemoscope"]["cores"]
    about = f"about {minutes} minutes" if minutes > 1 else "about a minute" if minutes else "less than a minute"
    return f"*Takes {about} on {cores} CPU core{'s' if cores > 1 else ''}"


def html(notebook: nbformat.NotebookNode) -> str:
    """The notebook as one HTML page that loads nothing from elsewhere."""
    urls = (
        "mathjax_url",
        "require_js_url",
        "jquery_url",
        "mermaid_js_url",
        "mermaid_layout_elk_js_url",
        "widget_renderer_url",
    )
    page, _ = HTMLExporter(embed_images=True, **dict.fromkeys(urls, "")).from_notebook_node(notebook)
    return page


def figures(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Write the pictures among the outputs as `cell<number>-<count>.png` or `.svg`."""
    for index, cell in enumerate(notebook.cells):
        count = 0
        for output in cell.get("outputs", []):
            for kind, suffix in IMAGES.items():
                if kind in output.get("data", {}):
                    count += 1
                    value = output["data"][kind]
                    data = base64.b64decode(value) if suffix == ".png" else "".join(value).encode()
                    files.write(folder / f"cell{index:02d}-{count}{suffix}", data)
                    break


def main() -> int:
    parser = argparse.ArgumentParser(description="Run a notebook from clean and collect what it shows.")
    parser.add_argument("notebook", type=Path)
    parser.add_argument(
        "--out", type=Path, default=Path("build/demo"), help="folder for the HTML and the figures; it is emptied first"
    )
    parser.add_argument("--preset", choices=PRESETS, default=os.environ.get("MNEMOSCOPE_PRESET", "small"))
    parser.add_argument("--timeout", type=int, default=1800, help="seconds that one cell may take")
    parser.add_argument("--store", action="store_true", help="write the outputs back into the notebook")
    arguments = parser.parse_args()
    if arguments.preset not in PRESETS:
        parser.error(f"MNEMOSCOPE_PRESET={arguments.preset!r} is not known; expected one of {', '.join(PRESETS)}")
    if not arguments.notebook.is_file():
        parser.error(f"{arguments.notebook} is not there")

    out = arguments.out.absolute()
    if out.exists():
        # Only what this script or the notebook left there: a mistyped --out must not empty a folder of the user's.
        if any(out.iterdir()) and not (out / ".mnemoscope").exists():
            parser.error(f"--out {arguments.out} holds files of yours; name a new or empty folder")
        shutil.rmtree(out)
    out.mkdir(parents=True)
    (out / ".mnemoscope").touch()
    os.environ["MNEMOSCOPE_OUT"] = str(out)
    os.environ["MNEMOSCOPE_PRESET"] = arguments.preset

    notebook = nbformat.read(arguments.notebook, as_version=4)
    print(f"running {arguments.notebook} with preset {arguments.preset}", flush=True)
    start, failure = time.monotonic(), None
    try:
        execute(notebook, arguments.notebook.absolute().parent, arguments.timeout)
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        failure = error
    files.write(out / arguments.notebook.name, functools.partial(nbformat.write, notebook))
    page = out / f"{arguments.notebook.stem}.html"
    files.write(page, html(notebook))
    figures(notebook, out)
    print(f"HTML: {page}")
    if failure is not None:
        print(f"the notebook failed after {time.monotonic() - start:.0f} s:\n{failure}", file=sys.stderr)
        return 1
    if arguments.store:
        for colours in COLOURS:
            squeeze(notebook, colours)
            if len(nbformat.writes(notebook).encode()) <= STORED:
                break
        notebook.metadata["mnemoscope"] = {"cores": os.cpu_count()}
        notebook.cells[0].source = TIME.sub(time_line(notebook), notebook.cells[0].source)
        files.write(arguments.notebook, functools.partial(nbformat.write, notebook))
    for path in sorted(path for path in out.rglob("*") if path.suffix in (*IMAGES.values(), ".pdf")):
        print(f"figure: {path}")
    headline = out / "headline.json"
    if headline.is_file():
        print("headline numbers:")
        for label, value in json.loads(headline.read_text(encoding="utf-8")).items():
            print(f"  {label}: {value:.4g}" if isinstance(value, float) else f"  {label}: {value}")
    print(f"done in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
