"""The command line: `python -m benchmarks patching [--quick] [--peers tl,nnsight,pyvene] [--repeats N] [--json FILE]`, `... injection`, `... vectors`, `... provenance`, `... subspace`, `... diffusion`, or `... load`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

PEERS = ("tl", "nnsight", "pyvene")


def _peers(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if unknown := [name for name in names if name not in PEERS]:
        raise argparse.ArgumentTypeError(f"{unknown[0]!r} is not known; expected some of {','.join(PEERS)}, or '' for none")
    return names


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of runs; expected 1 or more")
    return int(text)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Speed and memory against other libraries, same numbers checked.")
    commands = parser.add_subparsers(dest="command", required=True)
    patching = commands.add_parser("patching", help="exact activation patching against TransformerLens, nnsight and pyvene")
    patching.add_argument("--quick", action="store_true", help="a random model of four layers: tests the benchmark, says nothing about speed")
    patching.add_argument("--peers", type=_peers, default=PEERS, help=f"which, separated by commas (default {','.join(PEERS)})")
    patching.add_argument("--repeats", type=_count, default=2, help="runs of each peer's sweep; ours runs six times as often (default 2)")
    patching.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    injection = commands.add_parser("injection", help="the full grid of memory injections against the published loop through TransformerLens")
    injection.add_argument("--quick", action="store_true", help="a random model of four layers and three items: tests the benchmark, says nothing about speed")
    injection.add_argument("--repeats", type=_count, default=1, help="runs of our grid; the cells of the loop are spread over them (default 1: it takes minutes)")
    injection.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    vectors = commands.add_parser("vectors", help="the exact effect of every head on a task's prompts against one hooked pass a head; layer sweep and training step of a vector")
    vectors.add_argument("--quick", action="store_true", help="a random model of four layers: tests the benchmark, says nothing about speed")
    vectors.add_argument("--repeats", type=_count, default=3, help="rounds; each times our sweeps and a share of the hooked passes (default 3)")
    vectors.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    provenance = commands.add_parser("provenance", help="scoring of rows against the published scorer's way, permutations, and the n-gram join against tokengrams")
    provenance.add_argument("--quick", action="store_true", help="a random model of four layers and small data: tests the benchmark, says nothing about speed")
    provenance.add_argument("--repeats", type=_count, default=2, help="rounds of our scoring; each times a share of the published batches (default 2)")
    provenance.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    subspace = commands.add_parser("subspace", help="statistics and K-FAC factors of all MLP matrices against the plain passes; further points of trade-off sweeps")
    subspace.add_argument("--quick", action="store_true", help="a random model of four layers: tests the benchmark, says nothing about speed")
    subspace.add_argument("--repeats", type=_count, default=1, help="rounds; each times every whole computation and the plain passes around it (default 1: it takes minutes)")
    subspace.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    diffusion = commands.add_parser("diffusion", help="denoising with statistics of the feed-forward blocks against plain denoising; masks of further sets of captions")
    diffusion.add_argument("--quick", action="store_true", help="a small random model: tests the benchmark, says nothing about speed")
    diffusion.add_argument("--repeats", type=_count, default=5, help="rounds; each times denoising without hooks and with (default 5)")
    diffusion.add_argument("--json", type=Path, metavar="FILE", help="write all timings there too")
    loading = commands.add_parser("load", help="time to load the fetched model in a fresh process")
    loading.add_argument("--repeats", type=_count, default=5, help="processes of each kind (default 5)")
    arguments = parser.parse_args()

    # Read once, when OpenMP, torch, the hub client and tqdm are imported.
    os.environ.update(OMP_WAIT_POLICY="PASSIVE", OMP_NUM_THREADS="2", HF_HUB_OFFLINE="1", TQDM_DISABLE="1", TOKENIZERS_PARALLELISM="false",
                      TRANSFORMERS_VERBOSITY="error")
    if arguments.command == "load":
        from benchmarks.load import run as run_load

        return run_load(arguments.repeats)
    if "torch" in sys.modules:
        print("warning: torch was imported before the benchmark set its environment; the timings may suffer", file=sys.stderr)
    import lens

    try:
        return _compare(arguments)
    except lens.LoadError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2


def _compare(arguments: argparse.Namespace) -> int:
    """Run the benchmark that was named; raises LoadError where its model was never fetched."""
    if arguments.command == "injection":
        from benchmarks.injection import run as run_injection

        return run_injection(quick=arguments.quick, repeats=arguments.repeats, file=arguments.json)
    if arguments.command == "vectors":
        from benchmarks.vectors import run as run_vectors

        return run_vectors(quick=arguments.quick, repeats=arguments.repeats, file=arguments.json)
    if arguments.command == "provenance":
        from benchmarks.provenance import run as run_provenance

        return run_provenance(quick=arguments.quick, repeats=arguments.repeats, file=arguments.json)
    if arguments.command == "subspace":
        from benchmarks.subspace import run as run_subspace

        return run_subspace(quick=arguments.quick, repeats=arguments.repeats, file=arguments.json)
    if arguments.command == "diffusion":
        from benchmarks.diffusion import run as run_diffusion

        return run_diffusion(quick=arguments.quick, repeats=arguments.repeats, file=arguments.json)
    from benchmarks.patching import run

    return run(quick=arguments.quick, peers=arguments.peers, repeats=arguments.repeats, file=arguments.json)


if __name__ == "__main__":
    sys.exit(main())
