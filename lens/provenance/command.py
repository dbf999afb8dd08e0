"""`lens provenance query` and `lens provenance text`: the two tests from the shell, with their report."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..models.options import asked_for
from .command_inputs import TABLES, read_documents, read_subject, read_transcript
from .command_options import command_of, query_options, served_options, text_options
from .errors import ProvenanceError


def add_parsers(provenance: argparse.ArgumentParser) -> None:
    """The two subcommands and their options."""
    commands = provenance.add_subparsers(dest="test", required=True, metavar="test")
    query = commands.add_parser(
        "query", help="was this model trained in that order? asks it for the likelihood of training rows"
    )
    query_options(query)
    query.set_defaults(run=run_query)
    text = commands.add_parser(
        "text", help="does this text match late training rows more than early ones? n-grams by position"
    )
    text_options(text)
    text.set_defaults(run=run_text)


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
    transcript = read_transcript(arguments, arguments.rows)
    other = asked_for(arguments, which=False)
    served = served_options(arguments)
    references = [Reference(read_subject(name, other, served), declared, name) for name in arguments.reference]
    options = {
        key: value for key, value in (("prefix", arguments.prefix), ("window", arguments.window)) if value is not None
    }
    suspect = Reference(read_subject(arguments.suspect, asked_for(arguments), served), name=arguments.suspect)
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
    documents = read_documents(arguments.text)
    transcript = read_transcript(arguments, None)
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


def _check_out(paths: list[Path]) -> None:
    for path in paths:
        if path.suffix not in (".html", ".json"):
            raise ProvenanceError(f"--out {path}: expected a name that ends in .html or .json")
        if not path.absolute().parent.is_dir():
            raise ProvenanceError(f"--out {path}: the folder {path.absolute().parent} does not exist; make it first")
