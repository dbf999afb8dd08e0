"""The command line: `python -m benchmarks patching [--quick] [--peers tl,nnsight,pyvene] [--repeats N] [--json FILE]`,
`... injection`, `... vectors`, `... provenance`, `... subspace`, `... diffusion`, `... latency`, `... truth [--part
NAME]`, `... stress [--part NAME]`, `... house [--part NAME]`, `... scale [--part NAME]`, `... generation [--part
NAME]`, `... edges [--part NAME]`, `... steering [--part NAME]`, `... unlearning [--part NAME]`, `... models [--part
NAME] [--only TYPE ...] [--methods NAME ...]`, `... gpu`, or `... load`.
"""

from __future__ import annotations

import argparse
import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

PEERS = ("tl", "nnsight", "pyvene")
LLAMA = "a random model of four layers"


class Benchmark(NamedTuple):
    """What `help` says of a benchmark, of its subject with `--quick`, and of its `--repeats`, and how many these
    are.
    """

    help: str
    quick: str
    repeats: int
    rounds: str


#: Each is the function `run` of the module of its name.
BENCHMARKS = {
    "patching": Benchmark(
        "exact activation patching against TransformerLens, nnsight and pyvene",
        LLAMA,
        2,
        "runs of each peer's sweep; ours runs six times as often (default %(default)s)",
    ),
    "injection": Benchmark(
        "the full grid of memory injections against the published loop through TransformerLens",
        f"{LLAMA} and three items",
        1,
        "runs of our grid; the cells of the loop are spread over them (default %(default)s: it takes minutes)",
    ),
    "vectors": Benchmark(
        "the exact effect of every head on a task's prompts against one hooked pass a head; layer sweep and training"
        " step of a vector",
        LLAMA,
        3,
        "rounds; each times our sweeps and a share of the hooked passes (default %(default)s)",
    ),
    "provenance": Benchmark(
        "scoring of rows against the published scorer's way, permutations, and the n-gram join against tokengrams",
        f"{LLAMA} and small data",
        2,
        "rounds of our scoring; each times a share of the published batches (default %(default)s)",
    ),
    "subspace": Benchmark(
        "statistics and K-FAC factors of all MLP matrices against the plain passes; further points of trade-off sweeps",
        LLAMA,
        1,
        "rounds; each times every whole computation and the plain passes around it (default %(default)s: it takes"
        " minutes)",
    ),
    "diffusion": Benchmark(
        "denoising with statistics of the feed-forward blocks against plain denoising; masks of further sets of"
        " captions",
        "a small random model",
        5,
        "rounds; each times denoising without hooks and with (default %(default)s)",
    ),
    "latency": Benchmark(
        "how long a slider of the injection and of the vector view waits for its answer",
        "a few moves",
        3,
        "rounds of 40 moves of each view (default %(default)s)",
    ),
}


#: Each is the `BENCH` of the module of its name: what `help` says of it, and its parts.
PARTED = {
    "truth": (
        (
            "are the numbers right, the guarantees kept, and what does it cost: types of models, coverage, sizes, times"
            " beside an earlier build"
        ),
        ("types", "coverage", "size", "cost", "before"),
    ),
    "stress": (
        "is anything left behind: bad inputs, interruptions, kills, two workers, times beside an earlier build",
        ("inputs", "interruptions", "kills", "ray", "before"),
    ),
    "house": (
        (
            "is the house in order: long lines and files, walls, what the tools say, how quickly the start page and the"
            " views answer, the first call beside an earlier build"
        ),
        ("files", "walls", "types", "docs", "door", "views", "before"),
    ),
    "models": (
        (
            "what works on which type of model: every method against plain hooks, speed beside TransformerLens and an"
            " earlier build, what hashing costs"
        ),
        ("table", "speed", "hash"),
    ),
    "scale": (
        (
            "what more machines and less memory cost: a sweep on two Ray workers, weights that workers share, blocks on"
            " disk, memory of K-FAC statistics beside an earlier build"
        ),
        ("ray", "workers", "kfac", "offload"),
    ),
    "generation": (
        (
            "what generation under edits and a chat's sweep cost: a batch beside one-by-one writing of an earlier build"
            " and beside TransformerLens, an edit, a gate, a chat pair beside the operations that it needs"
        ),
        ("one_by_one", "peer", "edits", "chat"),
    ),
    "edges": (
        (
            "what edges and circuits cost: scores, circuits and exact effects beside TransformerLens, scores beside the"
            " passes that they need, the fit of a Jacobian lens, dictionary features beside the stream"
        ),
        ("scores", "faithfulness", "exact", "passes", "jacobian", "features"),
    ),
    "steering": (
        (
            "what steering costs: the depth of reading and writing beside one hooked forward a cell, gated batched"
            " generation beside the published way, a training with repeats beside the plain loop"
        ),
        ("depth", "gated", "repetition"),
    ),
    "unlearning": (
        (
            "what unlearning and two checkpoints side by side cost: one's states in the other beside hooked forwards, a"
            " comparison beside the forwards of both, a step with a frozen reference beside its passes"
        ),
        ("between", "compare", "step"),
    ),
}


def _options(parser: argparse.ArgumentParser, names: tuple[str, ...]) -> None:
    """The options of a benchmark in parts."""
    parser.add_argument("--part", choices=names, help="run this part alone and keep its figures")
    parser.add_argument("--again", action="store_true", help="run also the parts whose figures are kept")
    parser.add_argument("--kept", action="store_true", help="take kept figures of other code too, and say so")
    parser.add_argument("--quick", action="store_true", help="a little of each part: tests the benchmark, says nothing")


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(
            f"{unknown[0]!r} is not known; expected some of {','.join(PEERS)}, or '' for none"
        )
    return names


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs; expected 1 or more")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Speed and memory against other libraries, same numbers checked."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, about in BENCHMARKS.items():
        made = commands.add_parser(name, help=about.help)
        made.add_argument(
            "--quick", action="store_true", help=f"{about.quick}: tests the benchmark, says nothing about speed"
        )
        if name == "patching":
            made.add_argument(
                "--peers", type=_peers, default=PEERS, help=f"which, separated by commas (default {','.join(PEERS)})"
            )
        made.add_argument("--repeats", type=_count, default=about.repeats, help=about.rounds)
        made.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    loading = commands.add_parser("load", help="time to load the fetched model in a fresh process")
    loading.add_argument("--repeats", type=_count, default=5, help="processes of each kind (default %(default)s)")
    gpu = commands.add_parser(
        "gpu", help="what a GPU computes beside the CPU and how fast; left out where there is none"
    )
    gpu.add_argument("--device", default="cuda", help="cuda (default), or cpu to try the parts with --quick")
    gpu.add_argument("--quick", action="store_true", help="a tiny model: tests the benchmark, says nothing about speed")
    gpu.add_argument("--json", type=Path, metavar="FILE", help="write the JSON line there too")
    for name, (said, parts) in PARTED.items():
        made = commands.add_parser(name, help=said)
        _options(made, parts)
        if name == "models":
            made.add_argument("--only", nargs="+", metavar="TYPE", help="rows of the table, to look at them")
            made.add_argument("--methods", nargs="+", metavar="NAME", help="columns of the table, to look at them")
    arguments = parser.parse_args()

    # Read once, when OpenMP, torch, the hub client and tqdm are imported.
    os.environ.update(
        OMP_WAIT_POLICY="PASSIVE",
        OMP_NUM_THREADS="2",
        HF_HUB_OFFLINE="1",
        TQDM_DISABLE="1",
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
    )
    if arguments.command == "load":
        from benchmarks.load import run as run_load

        return run_load(arguments.repeats)
    if arguments.command == "gpu":
        from benchmarks.gpu import run as run_gpu

        return run_gpu(device=arguments.device, quick=arguments.quick, file=arguments.json)
    if arguments.command in PARTED:
        if arguments.command == "models" and (arguments.only or arguments.methods):
            return _look(parser, arguments)
        bench = import_module(f"benchmarks.{arguments.command}").BENCH
        return bench.run(quick=arguments.quick, part=arguments.part, again=arguments.again, kept=arguments.kept)
    if "torch" in sys.modules:
        print(
            "warning: torch was imported before the benchmark set its environment; the timings may suffer",
            file=sys.stderr,
        )
    import lens

    try:
        return _compare(arguments)
    except lens.LoadError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2


def _look(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """Some rows and columns of the table of models."""
    models = import_module("benchmarks.models")
    if arguments.part not in (None, "table"):
        parser.error(f"--only and --methods are of the table, not of --part {arguments.part}")
    for option, known in zip(("only", "methods"), models.names()):
        if unknown := [name for name in getattr(arguments, option) or () if name not in known]:
            parser.error(f"--{option} {unknown[0]} is not known; expected some of {', '.join(known)}")
    return models.look(quick=arguments.quick, only=arguments.only, methods=arguments.methods)


def _compare(arguments: argparse.Namespace) -> int:
    """Run the benchmark that was named; raises LoadError where its model was never fetched."""
    options = {"peers": arguments.peers} if arguments.command == "patching" else {}
    return import_module(f"benchmarks.{arguments.command}").run(
        quick=arguments.quick, repeats=arguments.repeats, file=arguments.json, **options
    )


if __name__ == "__main__":
    sys.exit(main())
