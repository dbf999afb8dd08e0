"""The `lens` command: fetch a model, look at the machine, write a notebook to begin with, patch one pair of prompts,
run a published experiment again, unlearn rows of one's own, test where a model or a text comes from.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

__all__ = ["main"]

FIGURES = (".png", ".pdf", ".svg")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `lens` command and return its exit code: 0 done, 1 `doctor` found the default model unusable, 2 an
    error.
    """
    # Two torch programs on the same cores stall each other when idle threads spin; torch reads this when it is
    # imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("lens: stopped", file=sys.stderr)
        return 130
    except (ValueError, RuntimeError, OSError, LookupError, ImportError) as error:
        print(f"lens: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lens", description="Find, read, move and erase what a transformer remembers."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    fetch = commands.add_parser("fetch", help="download a model once, check it and keep it in the cache")
    fetch.add_argument("name", nargs="?", default="smollm2", help="the model (default: smollm2)")
    fetch.set_defaults(run=_fetch)

    doctor = commands.add_parser(
        "doctor", help="say what is installed, cached and usable; exit code 1 when smollm2 is not"
    )
    doctor.add_argument(
        "--model",
        help="say instead what of this model fits: a name, a folder, or the path of a config.json; reads no weights",
    )
    doctor.add_argument("--tokens", type=int, default=64, help="of a prompt of that model (default: 64)")
    doctor.add_argument("--json", action="store_true", help="print it as JSON")
    doctor.set_defaults(run=_doctor)

    from lens.new import add_parser

    add_parser(commands)

    version = commands.add_parser("version", help="print the version")
    version.set_defaults(run=_version)

    patch = commands.add_parser("patch", help="patch every layer and position of one pair of prompts")
    patch.add_argument("--clean", required=True, help="the prompt that has the answer")
    patch.add_argument("--corrupted", required=True, help="the prompt of the same length in tokens that lacks it")
    patch.add_argument("--answer", required=True, help="what follows the clean prompt, with its leading space")
    patch.add_argument("--foil", required=True, help="what follows the corrupted prompt, with its leading space")
    patch.add_argument(
        "--model", default="smollm2", help="smollm2, organism:<name>, a folder or a hub name (default: smollm2)"
    )
    patch.add_argument("--site", default="resid_pre", help="which activation to patch (default: resid_pre)")
    from lens.models.options import add_model_options

    add_model_options(patch)
    patch.add_argument("--out", type=Path, help="save the result here: .zarr, or export it: .nc, .csv, .parquet")
    patch.add_argument("--figure", type=Path, help="draw the map here: .png, .pdf or .svg")
    patch.set_defaults(run=_patch)

    again = commands.add_parser(
        "reproduce", help="run a published experiment again, with intervals and controls; the same command resumes it"
    )
    from lens.reproduce.command import add_arguments

    add_arguments(again)

    from lens.unlearning.command import add_arguments as add_unlearning
    from lens.unlearning.command import run as run_unlearning

    unlearning = commands.add_parser(
        "unlearn", help="train a model to forget your rows, by several methods beside controls, and write a report"
    )
    add_unlearning(unlearning)
    unlearning.set_defaults(run=run_unlearning)

    from lens.provenance.command import add_parsers

    add_parsers(
        commands.add_parser(
            "provenance",
            help=(
                "was this model, or this text, made from that training run? tests by the order of training, with a"
                " report"
            ),
        )
    )
    return parser


def _fetch(arguments: argparse.Namespace) -> int:
    from lens.models import fetch

    fetch(arguments.name, say=lambda line: print(line, flush=True))
    return 0


def _doctor(arguments: argparse.Namespace) -> int:
    if arguments.model is not None:
        from lens.doctor.fits import fits

        found = fits(arguments.model, tokens=arguments.tokens)
        print(json.dumps(found.facts) if arguments.json else found)
        return 0
    from lens.doctor import doctor

    report = doctor()
    print(json.dumps({"sections": report.sections, "usable": report.usable}) if arguments.json else report)
    return 0 if report.ok else 1


def _version(arguments: argparse.Namespace) -> int:
    print(f"mnemoscope {metadata.version('mnemoscope')}")
    return 0


def _patch(arguments: argparse.Namespace) -> int:
    _require_writable(arguments.out, "--out", (".zarr", ".nc", ".csv", ".parquet"))
    _require_writable(arguments.figure, "--figure", FIGURES)
    import lens
    from lens.models.options import asked_for

    model = lens.load(arguments.model, **asked_for(arguments))
    pair = lens.Pair(arguments.clean, corrupted=arguments.corrupted, answer=arguments.answer, foil=arguments.foil)
    trace = lens.patch(model, pair, arguments.site)
    print(lens.describe(trace))
    if arguments.out is not None:
        (lens.save if arguments.out.suffix == ".zarr" else lens.export)(trace, arguments.out)
        print(f"saved: {arguments.out}")
    if arguments.figure is not None:
        from lens.figures import patch_map

        patch_map(trace, arguments.figure)
        print(f"figure: {arguments.figure}")
    return 0


def _require_writable(path: Path | None, option: str, suffixes: tuple[str, ...]) -> None:
    """Find out before the sweep whether its result can be written at all."""
    if path is None:
        return
    if path.suffix not in suffixes:
        raise ValueError(f"{option} {path}: expected a name that ends in {' or '.join(suffixes)}")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ValueError(f"{option} {path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK):
        raise ValueError(f"{option} {path}: the folder {folder} cannot be written to; name another")
