"""What speaks against a transcript and a reference before anything is run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from widgets.provenance_bench.work import references_of


def doubts(
    transcript: str, reference: str, given: Mapping[str, Mapping[str, Any]], known: dict[str, list[str]]
) -> dict[str, Any]:
    """The `doubts` trait; no model is asked. `known`: warnings of the transcripts that were looked at."""
    data: dict[str, Any] = {
        "transcript": transcript,
        "reference": reference,
        "texts": [],
        "refused": "",
        "none": not reference,
    }
    try:
        if reference in given["references"]:
            data["texts"] += [
                f"reference {one.name}: nobody declared whether it shares the transcript's order"
                " (shares_order=None). If it does, an innocent suspect is flagged and p means nothing"
                for one in references_of(given["references"][reference], reference)
                if one.shares_order is None
            ]
    except ValueError as error:
        data["refused"] = str(error)
    try:
        if transcript not in known and transcript in given["transcripts"]:
            known[transcript] = given["transcripts"][transcript].warnings()
        data["texts"] += known.get(transcript, [])
    except BaseException as error:  # a reader that fails is met again, and explained, by the run
        data["texts"].append(f"transcript {transcript}: could not be looked at ({error})")
    return data
