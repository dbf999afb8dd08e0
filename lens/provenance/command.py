"""`lens provenance query` and `lens provenance text`: the two tests from the shell, with their report."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

import numpy as np

from .. import containers, reading
from .errors import ProvenanceError

TABLES = (".npy", ".parquet")
#: what the transcript is read as, in words
NAMES = {
    "table": "a table (.jsonl, .parquet, .npz)",
    "npy": "an .npy file with an order",
    "bin": "a flat .bin file with an order",
    "pythia": "the format pythia",
    "olmo": "the format olmo",
    "organism": "an organism's own transcript",
}
_SAME = {name: name for name in ("tokenizer", "shuffled_as")}
#: options of a transcript that each of them uses, and the name of the reader's argument
USED = {
    "table": _SAME | {"position": "position", "kind": "kind"},
    "npy": _SAME | {"order": "order", "order_is": "order_is", "kind": "kind", "length": "length"},
    "bin": _SAME | {"order": "order", "order_is": "order_is", "kind": "kind", "length": "length", "dtype": "dtype"},
    "pythia": (
        _SAME
        | {
            "length": "length",
            "batch_rows": "batch",
            "read": "rows",
            "epoch_rows": "epoch_rows",
            "sizes": "sizes",
        }
    ),
    "olmo": (
        _SAME
        | {
            "order": "order",
            "length": "chunk",
            "dtype": "dtype",
            "batch_rows": "batch",
            "read": "rows",
            "sizes": "sizes",
        }
    ),
    "organism": {},
}


def add_parsers(provenance: argparse.ArgumentParser) -> None:
    """The two subcommands and their options."""
    commands = provenance.add_subparsers(dest="test", required=True, metavar="test")

    query = commands.add_parser(
        "query", help="was this model trained in that order? asks it for the likelihood of training rows"
    )
    query.add_argument(
        "--suspect",
        required=True,
        help=(
            "a model (smollm2, organism:<name>, a folder or a hub name), or a .npy or .parquet file of NLL, one for"
            " each row"
        ),
    )
    query.add_argument(
        "--reference",
        action="append",
        default=[],
        help="the same, for a model that never saw the order; may be given several times",
    )
    query.add_argument(
        "--references-share-order",
        choices=("no", "yes", "unknown"),
        default="unknown",
        help="what you declare of the references; yes is refused, unknown is noted in the report",
    )
    _transcript_options(query)
    query.add_argument(
        "--rows", type=int, help="how many rows to ask for, drawn without looking at positions (default: all)"
    )
    query.add_argument(
        "--statistic",
        choices=("difference", "linear", "poly4", "none"),
        default="difference",
        help="how suspect and references make a score (default: difference)",
    )
    query.add_argument(
        "--weights", choices=("noise",), help="divide residuals by the deviation that the reference's NLL predicts"
    )
    query.add_argument("--stop-at", type=float, help="stop asking once the e-value is this large")
    query.add_argument("--batch", type=int, help="rows between two looks at the e-value (default: 256)")
    query.add_argument("--prefix", type=int, help="tokens at the start of a row that are not scored")
    query.add_argument("--window", type=int, help="tokens of a row that are scored")
    query.add_argument("--store", type=Path, help="folder that keeps scores, so that no model scores a row twice")
    query.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)")
    _test_options(query, "less")
    query.set_defaults(run=run_query)

    text = commands.add_parser(
        "text", help="does this text match late training rows more than early ones? n-grams by position"
    )
    text.add_argument(
        "--text",
        required=True,
        type=Path,
        help="a text file (.txt: one document, or .jsonl: a 'text' or 'tokens' a line)",
    )
    _transcript_options(text)
    text.add_argument("--k", type=int, default=8, help="the longest n-gram, in tokens (default: 8)")
    text.add_argument("--k-least", type=int, default=4, help="the shortest (default: 4)")
    text.add_argument(
        "--max-count", type=int, default=1000, help="n-grams with more occurrences are left out (default: 1000)"
    )
    text.add_argument("--counts", action="store_true", help="count matches plainly, not by 1 / occurrences")
    text.add_argument("--unit", choices=("row", "step"), default="row", help="what is permuted (default: row)")
    text.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    _test_options(text, "greater")
    text.set_defaults(run=run_text)


def _transcript_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--transcript",
        required=True,
        action="append",
        help=(
            ".jsonl, .parquet (may be given several times), .npz, a token file .npy / .bin with --order or --format, or"
            " organism:palimpsest"
        ),
    )
    parser.add_argument(
        "--format",
        choices=("table", "file", "pythia", "olmo"),
        default=None,
        help=(
            "pythia: flat uint16 rows in training order, files or URLs; olmo: token parts, with --order"
            " global_indices.npy"
        ),
    )
    parser.add_argument(
        "--order",
        help=(
            "for token files: .npy of row numbers in training order (or positions, with --order-is position); for olmo:"
            " global_indices.npy"
        ),
    )
    parser.add_argument(
        "--order-is", choices=("order", "position"), help="what --order holds, for token files (default: order)"
    )
    parser.add_argument("--position", help="the column that holds positions")
    parser.add_argument(
        "--kind", choices=("key", "step", "rank"), help="what positions are (default: the column's name, else rank)"
    )
    parser.add_argument("--dtype", help="of the tokens in a flat .bin file or in olmo parts (default: uint16)")
    parser.add_argument("--length", type=int, help="tokens of a row in a flat file (pythia: 2049, olmo: 2048)")
    parser.add_argument("--batch-rows", type=int, help="rows of a training step (pythia: 1024, olmo: 2048)")
    parser.add_argument("--read", type=int, help="how many rows to read of a pythia or olmo file")
    parser.add_argument(
        "--epoch-rows",
        type=int,
        help="of a pythia file: rows of the first epoch; later ones repeat it and are not drawn",
    )
    parser.add_argument(
        "--sizes",
        type=int,
        action="append",
        default=[],
        help="bytes of a pythia or olmo part, once for each part in order, so that a missing one can be left out",
    )
    parser.add_argument(
        "--tokenizer", help="what made the transcript's token ids: a folder, or a name that lens.load takes"
    )
    parser.add_argument(
        "--shuffled-as", help="in words: what was shuffled, and how that is known; goes into the report"
    )
    parser.add_argument("--epoch", type=int, help="use this epoch's positions only (from 0)")


def _test_options(parser: argparse.ArgumentParser, alternative: str) -> None:
    parser.add_argument(
        "--alternative",
        choices=("less", "greater", "two-sided"),
        default=alternative,
        help=f"the direction (default: {alternative}, the effect of training)",
    )
    parser.add_argument(
        "--trend",
        choices=("spearman", "pearson"),
        default="spearman",
        help="ranks of the scores, or the scores themselves (default: spearman)",
    )
    parser.add_argument("--level", type=float, default=0.95, help="of the interval (default: 0.95)")
    parser.add_argument("--resamples", type=int, default=100_000, help="permutations (default: 100000)")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the rows' choice and the permutations; not to be chosen by its result (default: 0)",
    )
    parser.add_argument(
        "--looks",
        type=int,
        help=(
            "looks at this suspect and order that you planned in all: p is given times their number too (a shell call"
            " counts itself only)"
        ),
    )
    parser.add_argument(
        "--out", type=Path, action="append", default=[], help="write the report: .html or .json; may be given twice"
    )


def run_query(arguments: argparse.Namespace) -> int:
    """Score, test, print, write."""
    from .query import query
    from .report import file_hashes
    from .scores import Reference

    _check_out(arguments.out)
    declared = {"no": False, "yes": True, "unknown": None}[arguments.references_share_order]
    if declared and arguments.reference:
        from .scores import as_references

        as_references([Reference(name, True, name) for name in arguments.reference])  # refused before anything is read
    transcript = _transcript(arguments, arguments.rows)
    references = [Reference(_subject(name, arguments.device), declared, name) for name in arguments.reference]
    options = {
        key: value for key, value in (("prefix", arguments.prefix), ("window", arguments.window)) if value is not None
    }
    suspect = Reference(_subject(arguments.suspect, arguments.device), name=arguments.suspect)
    result = query(
        suspect,
        transcript,
        reference=references or None,
        rows=arguments.rows if arguments.rows and arguments.rows < len(transcript) else None,
        statistic=arguments.statistic,
        weights=arguments.weights,
        trend=arguments.trend,
        alternative=arguments.alternative,
        level=arguments.level,
        resamples=arguments.resamples,
        seed=arguments.seed,
        stop_at=arguments.stop_at,
        batch=arguments.batch,
        store=arguments.store,
        score_options=options,
        ledger=_ledger(arguments),
    )
    for entry, name in zip(
        [result.record["inputs"]["suspect"], *result.record["inputs"]["references"]],
        [arguments.suspect, *arguments.reference],
    ):
        if Path(name).suffix in TABLES:
            entry["file"] = file_hashes([name])[0]
    return _finish(result, arguments)


def run_text(arguments: argparse.Namespace) -> int:
    """Match, test, print, write."""
    from .observation import match, partition
    from .report import file_hashes, versions

    _check_out(arguments.out)
    documents = _documents(arguments.text)
    transcript = _transcript(arguments, None)
    matches = match(
        documents,
        transcript,
        k=(min(arguments.k_least, arguments.k), arguments.k),
        max_count=arguments.max_count,
        workers=arguments.workers,
    )
    print(matches)
    result = partition(
        matches,
        transcript,
        unit=arguments.unit,
        counts=arguments.counts,
        trend=arguments.trend,
        alternative=arguments.alternative,
        level=arguments.level,
        resamples=arguments.resamples,
        seed=arguments.seed,
        name=str(arguments.text),
        ledger=_ledger(arguments),
    )
    result.record["inputs"] = {
        "text": file_hashes([str(arguments.text)])[0] | {"documents": len(documents)},
        "transcript": {
            "name": transcript.name,
            "rows": len(transcript),
            "sha256": transcript.sha256(),
            "files": file_hashes(transcript.about.get("files", ())),
            "shuffled_as": transcript.shuffled_as,
            "lost": transcript.about.get("lost"),
        },
    }
    result.record["versions"] = versions()
    return _finish(result, arguments)


def _ledger(arguments: argparse.Namespace):
    """The ledger of the looks that were planned; without a plan, the process's own."""
    from .ledger import Ledger

    return None if arguments.looks is None else Ledger(arguments.looks)


def _finish(result, arguments: argparse.Namespace) -> int:
    from .report import report

    result.record["command"] = command_of(arguments)
    print(result)
    for path in arguments.out:
        report(result, path if path.suffix == ".html" else None, path if path.suffix == ".json" else None)
        print(f"report: {path}")
    return 0


def command_of(arguments: argparse.Namespace) -> str:
    """The command line that these arguments came from, every choice written out."""
    words = ["lens", "provenance", arguments.test]
    for name, value in vars(arguments).items():
        if name in ("run", "command", "test", "out") or value is None or value is False or value == [] or value == "":
            continue
        for one in value if isinstance(value, list) else [value]:
            words += [f"--{name.replace('_', '-')}"] + ([] if one is True else [str(one)])
    for path in arguments.out:
        words += ["--out", str(path)]
    return shlex.join(words)


def _check_out(paths: list[Path]) -> None:
    for path in paths:
        if path.suffix not in (".html", ".json"):
            raise ProvenanceError(f"--out {path}: expected a name that ends in .html or .json")
        if not path.absolute().parent.is_dir():
            raise ProvenanceError(f"--out {path}: the folder {path.absolute().parent} does not exist; make it first")


def _subject(name: str, device: str) -> Any:
    """A model, or the numbers of a file."""
    path = Path(name)
    if path.suffix not in TABLES:
        from ..models import load

        return load(name, device=device)
    if path.suffix == ".npy":
        return np.array(containers.array(path, ProvenanceError))
    table = containers.parquet(path, ProvenanceError).to_pandas()
    columns = [column for column in table.columns if column == "nll"] or [
        column for column in table.columns if column != "row_id" and table[column].dtype.kind == "f"
    ]
    if len(columns) != 1:
        raise ProvenanceError(
            f"{name} has the columns {', '.join(map(str, table.columns))}; expected one named 'nll', in the sequence of"
            " the transcript's rows"
        )
    return table[columns[0]].to_numpy(float)


def _documents(path: Path) -> list[Any]:
    def refuse(said: str) -> ProvenanceError:
        return ProvenanceError(f"--text {said}; expected one object a line with 'text' or 'tokens'")

    if path.suffix != ".jsonl":
        content = reading.text(path, lambda said: ProvenanceError(f"--text {said}"), most=None)
        documents = [content] if content.strip() else []
    else:
        documents = []
        for number, record in reading.records(path, refuse):
            try:
                documents.append(np.asarray(record["tokens"], dtype=np.int64) if "tokens" in record else record["text"])
                if not isinstance(documents[-1], str) and documents[-1].ndim != 1:
                    raise TypeError("tokens or text of another form")
            except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
                raise refuse(f"{path}, line {number} ({reading.said(error)})") from error
        documents = [document for document in documents if len(document)]
    if not documents:
        raise ProvenanceError(f"--text {path} is empty; expected text of the suspect")
    return documents


def _transcript(arguments: argparse.Namespace, rows: int | None):
    from .preshuffled import from_olmo, from_pythia
    from .readers import from_file, read
    from .shipped import from_organism

    paths = arguments.transcript if len(arguments.transcript) > 1 else arguments.transcript[0]
    how = _format(arguments)
    given = _given(arguments, how)
    if how in ("pythia", "olmo"):
        rows = given.pop("rows", rows)
    if how == "organism":
        transcript = from_organism(paths)
    elif how == "pythia":
        transcript = from_pythia(paths, rows, seed=arguments.seed, **given)
    elif how == "olmo":
        if not arguments.order:
            raise ProvenanceError("--format olmo needs --order global_indices.npy")
        transcript = from_olmo(given.pop("order"), arguments.transcript, rows, seed=arguments.seed, **given)
    elif how in ("npy", "bin"):
        transcript = from_file(paths, **given)
    else:
        transcript = read(paths, **given)
    return transcript if arguments.epoch is None else transcript.epoch(arguments.epoch)


def _format(arguments: argparse.Namespace) -> str:
    """What the transcript is read as: a key of `USED`."""
    from .shipped import PREFIX

    first, several = arguments.transcript[0], len(arguments.transcript) > 1
    if first.startswith(PREFIX):
        how = "organism"
        if arguments.format:
            raise ProvenanceError(f"--format {arguments.format}: {first} brings its own transcript; leave --format out")
    elif arguments.format in ("pythia", "olmo"):
        return arguments.format
    else:
        suffix = Path(first).suffix
        how = "npy" if suffix == ".npy" else "bin" if suffix == ".bin" or arguments.format == "file" else "table"
    if several and not (how == "table" and suffix == ".parquet"):
        raise ProvenanceError(
            f"--transcript is given {len(arguments.transcript)} times, and {NAMES[how]} is read alone; only .parquet"
            " files and parts of pythia or olmo (--format) may be several"
        )
    return how


def _given(arguments: argparse.Namespace, how: str) -> dict[str, Any]:
    """The reader's arguments from the options that were given; one that this format does not use is refused, since it
    would do nothing in silence.
    """
    found = {}
    for option in dict.fromkeys(name for used in USED.values() for name in used):
        value, flag = getattr(arguments, option), f"--{option.replace('_', '-')}"
        if value in (None, "", []):
            continue
        if option not in USED[how]:
            where = ", ".join(NAMES[name] for name, used in USED.items() if option in used)
            raise ProvenanceError(
                f"{flag} is given and {NAMES[how]} has no use for it (it is for {where}); leave it out, or say with"
                " --format what the file is"
            )
        if any(isinstance(one, int) and one < 1 for one in (value if isinstance(value, list) else [value])):
            raise ProvenanceError(f"{flag} {value}: expected whole numbers of at least 1")
        if option == "dtype" and not _whole_numbers(value):
            raise ProvenanceError(
                f"{flag} {value!r} is no type of whole numbers; expected one such as uint16 or uint32"
            )
        found[USED[how][option]] = value
    return found


def _whole_numbers(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "iu"
    except TypeError:
        return False
