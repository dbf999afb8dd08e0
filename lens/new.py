"""A notebook of one's own: `lens new NAME --template patching` writes one that runs as it is, with the model and the
prompts in its first cell.

A template is a Markdown file in `lens/templates`: its blocks of Python are code cells, what stands between them is
text.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path
from typing import Any

from . import files
from .arguments import FilePath, Name, door
from .errors import Error
from .files import expanded

__all__ = ["TEMPLATES", "NewError", "cells", "new"]

FOLDER = Path(__file__).parent / "templates"
#: Names of the templates.
TEMPLATES = ("patching", "injection", "vectors", "subspace", "provenance", "blank")
_CODE = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
_MODEL = re.compile(r'^MODEL = "([^"]*)"', re.M)


class NewError(Error, ValueError):
    """A notebook that cannot be written from a template; the message names the argument and the next step."""


@door(NewError)
def new(name: FilePath, template: Name = "patching", *, model: Name | None = None) -> Path:
    """Write a notebook from a template, and return its path. Nothing that is there is overwritten.

    Args:
        name: where; `.ipynb` is put behind it where it is not there.
        template: one of `TEMPLATES`.
        model: what the notebook loads, as `lens.load` takes it; None: the template's own choice.

    Raises:
        NewError: an unknown template, a folder that is not there.
        FileError: a file of that name is there, or it cannot be written.
        LoadError: the model is not there, so that the notebook would not run; the message says how to get it.
    """
    if template not in TEMPLATES:
        raise NewError(f"template={template!r} is not known; expected one of {', '.join(TEMPLATES)}.")
    path = expanded(name)
    if path.suffix != ".ipynb":
        path = path.with_name(path.name + ".ipynb")
    text = (FOLDER / f"{template}.md").read_text(encoding="utf-8").replace("{{NAME}}", path.stem)
    if os.path.lexists(path):
        raise NewError(
            f"name={str(name)!r}: {path} is there already and stays as it is; choose another name, or move it away."
        )
    if model is not None:
        text = _MODEL.sub(lambda match: f"MODEL = {json.dumps(model)}", text, count=1)
    require_model(model or _MODEL.search(text)[1])  # type: ignore[index]
    notebook = {"cells": cells(text), "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    files.write(path, (json.dumps(notebook, indent=1, ensure_ascii=False) + "\n").encode(), new=True)
    return path


_METADATA = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}


def cells(text: str) -> list[dict[str, Any]]:
    """The cells of a template, in order."""
    notebook: list[dict[str, Any]] = []
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    for number, part in enumerate(_CODE.split(text)):
        if part.strip():
            source = part.strip().splitlines(keepends=True)
            cell: dict[str, Any] = {"id": f"cell-{len(notebook):02d}", "metadata": {}, "source": source}
            notebook.append(cell | (code if number % 2 else {"cell_type": "markdown"}))
    return notebook


def require_model(name: str) -> None:
    """Refuse a model that `lens.load` would not find on this machine; a hub name is looked for in the hub's cache where
    the hub is not to be asked.

    Raises: LoadError.
    """
    from .cache import LoadError, in_hub_cache
    from .models.names import named

    model = named(name)
    if model.folder is None and os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "on", "yes"):
        if not in_hub_cache(model.name, model.revision):
            raise LoadError(
                f"model={name!r} is no folder and not among the models of the hub's cache, and HF_HUB_OFFLINE says that"
                " the hub is not asked. Fetch it where there is a network, give a folder, or leave --model out."
            )


def add_parser(commands: Any) -> None:
    """The command `lens new`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "new", help="write a notebook that runs as it is, with your model and prompts at its top"
    )
    parser.add_argument("name", help="its name; .ipynb is put behind it")
    parser.add_argument("--template", choices=TEMPLATES, default="patching", help="what it does (default: patching)")
    parser.add_argument("--model", help="what it loads, as lens.load takes it (default: the template's own)")
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    path = new(arguments.name, arguments.template, model=arguments.model)
    print(f"written: {path}\nopen it: python -m jupyterlab {path}")
    return 0
