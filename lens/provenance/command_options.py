"""The options of `lens provenance query` and `lens provenance text`, and the command line that they came from."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from ..models.options import DTYPES, add_model_options


def query_options(parser: argparse.ArgumentParser) -> None:
    """What `lens provenance query` takes."""
    parser.add_argument(
        "--suspect",
        required=True,
        help=(
            "a model (smollm2, organism:<name>, a folder or a hub name), a model behind a server"
            " (http://localhost:8000/v1#name), or a .npy or .parquet file of NLL, one for each row"
        ),
    )
    parser.add_argument(
        "--reference",
        action="append",
        default=[],
        help="the same, for a model that never saw the order; may be given several times",
    )
    parser.add_argument(
        "--references-share-order",
        choices=("no", "yes", "unknown"),
        default="unknown",
        help="what you declare of the references; yes is refused, unknown is noted in the report",
    )
    _transcript_options(parser, _Dtype)
    parser.add_argument(
        "--rows", type=int, help="how many rows to ask for, drawn without looking at positions (default: all)"
    )
    parser.add_argument(
        "--statistic",
        choices=("difference", "linear", "poly4", "none"),
        default="difference",
        help="how suspect and references make a score (default: difference)",
    )
    parser.add_argument(
        "--weights", choices=("noise",), help="divide residuals by the deviation that the reference's NLL predicts"
    )
    parser.add_argument("--stop-at", type=float, help="stop asking once the e-value is this large")
    parser.add_argument("--batch", type=int, help="rows between two looks at the e-value (default: 256)")
    parser.add_argument("--prefix", type=int, help="tokens at the start of a row that are not scored")
    parser.add_argument("--window", type=int, help="tokens of a row that are scored")
    parser.add_argument("--store", type=Path, help="folder that keeps scores, so that no model scores a row twice")
    _served_options(parser)
    add_model_options(parser, dtype=False)
    parser.add_argument("--model-dtype", choices=DTYPES, help="of the models' weights (default: float32)")
    _test_options(parser, "less")


#: Options of served models, as arguments of `lens.scoring.Served`.
_SERVED = {
    "served_tokenizer": "tokenizer",
    "key_variable": "key_variable",
    "rate": "rate",
    "concurrency": "concurrency",
}
_SERVED |= {"timeout": "timeout", "retries": "retries"}


def _served_options(parser: argparse.ArgumentParser) -> None:
    """Of models behind a server. The key itself is no option: it would stand in the record of the command."""
    add = parser.add_argument
    add(
        "--served-tokenizer", help="of models behind a server: their tokenizer, a folder or a name that lens.load takes"
    )
    add("--key-variable", help="the environment variable that holds the server's key (default: MNEMOSCOPE_SERVED_KEY)")
    add("--rate", type=float, help="requests a second to a server (default: as many as come)")
    add("--concurrency", type=int, help="requests to a server at a time (default: 16)")
    add("--timeout", type=float, help="seconds that a server's answer may take (default: 120)")
    add("--retries", type=int, help="how often a request to a server is tried again (default: 5)")


def served_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """What the options ask `lens.scoring.Served` for."""
    given = {name: getattr(arguments, option) for option, name in _SERVED.items()}
    return {name: value for name, value in given.items() if value is not None}


def text_options(parser: argparse.ArgumentParser) -> None:
    """What `lens provenance text` takes."""
    parser.add_argument(
        "--text",
        required=True,
        type=Path,
        help="a text file (.txt: one document, or .jsonl: a 'text' or 'tokens' a line)",
    )
    _transcript_options(parser)
    parser.add_argument("--k", type=int, default=8, help="the longest n-gram, in tokens (default: 8)")
    parser.add_argument("--k-least", type=int, default=4, help="the shortest (default: 4)")
    parser.add_argument(
        "--max-count", type=int, default=1000, help="n-grams with more occurrences are left out (default: 1000)"
    )
    parser.add_argument("--counts", action="store_true", help="count matches plainly, not by 1 / occurrences")
    parser.add_argument("--unit", choices=("row", "step"), default="row", help="what is permuted (default: row)")
    parser.add_argument("--workers", type=int, default=1, help="processes (default: 1)")
    _test_options(parser, "greater")


class _Dtype(argparse.Action):
    """Of `--dtype`: a format of numbers is that of the models' weights, a type of whole numbers that of tokens."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, "model_dtype" if values in DTYPES else "dtype", values)


def _transcript_options(parser: argparse.ArgumentParser, dtype: Any = "store") -> None:
    parser.add_argument(
        "--transcript",
        required=True,
        action="append",
        help=(
            ".jsonl, .csv, .parquet (may be given several times), .npz, a token file .npy / .bin with --order or"
            " --format, or organism:palimpsest"
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
    models = "" if dtype == "store" else f"; {', '.join(DTYPES)}: of the models' weights, as --model-dtype"
    parser.add_argument(
        "--dtype",
        action=dtype,
        help=f"of the tokens in a flat .bin file or in olmo parts (default: uint16){models}",
    )
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
