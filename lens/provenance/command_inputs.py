"""What the commands of provenance read: the transcript, its options and format, the suspect, the documents."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import containers, reading
from ..scoring.served import Served, is_address
from .errors import ProvenanceError
from .transcripts import Transcript

TABLES = (".npy", ".parquet")
#: what the transcript is read as, in words
NAMES = {
    "table": "a table (.jsonl, .csv, .parquet, .npz)",
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


def read_subject(name: str, asked: Mapping[str, Any], served: Mapping[str, Any]) -> Any:
    """A model, loaded as `asked`, one behind a server, asked as `served` says, or the numbers of a file."""
    if is_address(name):
        if served.get("tokenizer") is None:
            raise ProvenanceError(
                f"{Served(name).name}: the tokenizer of a served model is not known here; name it by"
                " --served-tokenizer, a folder or a name that lens.load takes"
            )
        return Served(name, **served)
    path = Path(name)
    if path.suffix not in TABLES:
        from ..models import load

        return load(name, **asked)
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


def read_documents(path: Path) -> list[Any]:
    """The documents of a file, as texts or token ids. Raises ProvenanceError."""

    def refuse(said: str) -> ProvenanceError:
        return ProvenanceError(f"--text {said}; expected one object a line with 'text' or 'tokens'")

    documents: list[Any] = []
    if path.suffix != ".jsonl":
        content = reading.text(path, lambda said: ProvenanceError(f"--text {said}"), most=None)
        documents = [content] if content.strip() else []
    else:
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


def read_transcript(arguments: argparse.Namespace, rows: int | None) -> Transcript:
    """The transcript that the options name; of a format that is read in parts, at most `rows` of its rows. Raises
    ProvenanceError.
    """
    from .preshuffled import from_olmo, from_pythia
    from .readers import from_file, read
    from .shipped import from_organism

    paths = arguments.transcript if len(arguments.transcript) > 1 else arguments.transcript[0]
    form = _format(arguments)
    options = _reader_options(arguments, form)
    if form in ("pythia", "olmo"):
        rows = options.pop("rows", rows)
    if form == "organism":
        transcript = from_organism(paths)
    elif form == "pythia":
        transcript = from_pythia(paths, rows, seed=arguments.seed, **options)
    elif form == "olmo":
        if not arguments.order:
            raise ProvenanceError("--format olmo needs --order global_indices.npy")
        transcript = from_olmo(options.pop("order"), arguments.transcript, rows, seed=arguments.seed, **options)
    elif form in ("npy", "bin"):
        transcript = from_file(paths, **options)
    else:
        transcript = read(paths, **options)
    return transcript if arguments.epoch is None else transcript.epoch(arguments.epoch)


def _format(arguments: argparse.Namespace) -> str:
    """What the transcript is read as: a key of `USED`."""
    from .shipped import PREFIX

    first, several = arguments.transcript[0], len(arguments.transcript) > 1
    if first.startswith(PREFIX):
        form = "organism"
        if arguments.format:
            raise ProvenanceError(f"--format {arguments.format}: {first} brings its own transcript; leave --format out")
    elif arguments.format in ("pythia", "olmo"):
        return arguments.format
    else:
        suffix = Path(first).suffix
        form = "npy" if suffix == ".npy" else "bin" if suffix == ".bin" or arguments.format == "file" else "table"
    if several and not (form == "table" and suffix == ".parquet"):
        raise ProvenanceError(
            f"--transcript is given {len(arguments.transcript)} times, and {NAMES[form]} is read alone; only .parquet"
            " files and parts of pythia or olmo (--format) may be several"
        )
    return form


def _reader_options(arguments: argparse.Namespace, form: str) -> dict[str, Any]:
    """The reader's arguments from the options that were given; one that this format does not use is refused, since it
    would do nothing in silence.
    """
    options = {}
    for option in dict.fromkeys(name for used in USED.values() for name in used):
        value, flag = getattr(arguments, option), f"--{option.replace('_', '-')}"
        if value in (None, "", []):
            continue
        if option not in USED[form]:
            where = ", ".join(NAMES[name] for name, used in USED.items() if option in used)
            raise ProvenanceError(
                f"{flag} is given and {NAMES[form]} has no use for it (it is for {where}); leave it out, or say with"
                " --format what the file is"
            )
        if any(isinstance(one, int) and one < 1 for one in (value if isinstance(value, list) else [value])):
            raise ProvenanceError(f"{flag} {value}: expected whole numbers of at least 1")
        if option == "dtype" and not _whole_numbers(value):
            raise ProvenanceError(
                f"{flag} {value!r} is no type of whole numbers; expected one such as uint16 or uint32"
            )
        options[USED[form][option]] = value
    return options


def _whole_numbers(dtype: str) -> bool:
    try:
        return np.dtype(dtype).kind in "iu"
    except TypeError:
        return False
