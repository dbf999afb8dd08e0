"""`lens reproduce`: one study, all of them with one page, or the list of what there is."""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..models.options import add_model_options, asked_for, refuse_which, words_of
from . import REPRODUCTIONS, reproduction
from .errors import ReproduceError

if TYPE_CHECKING:
    from .report import Part
    from .study import Study

ALL = "all"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command, and what it runs."""
    add = parser.add_argument
    add("name", nargs="?", help=f"which: {', '.join(REPRODUCTIONS)}, or {ALL}")
    add("--list", action="store_true", help="what there is: paper, models, presets, time, memory, what is stored")
    add("--only", action="append", default=[], metavar="NAME", help=f"{ALL}: this study alone; may be given again")
    add("--model", help="smollm2, organism:<name>, a folder or a hub name (default: that of the study)")
    add(
        "--data",
        default="own",
        help="memory-injections: own, hand, 2wmh or a file; function-vectors: own or a folder of tasks (default: own)",
    )
    add("--preset", default="quick", help="how much is asked: see --list (default: quick)")
    add("--limit", type=int, help="so many items (memory-injections) or tasks (function-vectors) at most")
    add_model_options(parser)
    add("--workers", type=int, help="compute the sweeps of its steps on Ray, by so many workers (default: here)")
    add("--jobs", type=int, help=f"{ALL}: so many studies at a time, which share the cores (default: 1)")
    add("--seed", type=int, default=0, help="of controls, splits and resampling (default: 0)")
    add(
        "--models",
        type=Path,
        help="loss-curvature, subspace-language, memory-subspace: a folder with organisms, into which those that are"
        " nowhere are trained",
    )
    add("--out", type=Path, help="folder for results and figures (default: build/<name>/[<model>-]<data>-<preset>)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Lists, runs one study, or all. Returns the exit code: 1 where a study of all of them failed."""
    if arguments.list:
        print(listed())
        return 0
    if arguments.name is None:
        raise ReproduceError(
            f"name is missing: expected one of {', '.join(REPRODUCTIONS)} or {ALL}; --list tells more."
        )
    if arguments.name == ALL:
        return every(arguments)
    if arguments.only:
        raise ReproduceError(f"--only {arguments.only[0]} goes with the name {ALL}; leave it out.")
    if arguments.jobs is not None:
        raise ReproduceError(f"--jobs {arguments.jobs} goes with the name {ALL}; leave it out.")
    one(arguments)
    return 0


def one(arguments: argparse.Namespace) -> Any:
    """Runs a study, prints its verdicts, and returns what it has."""
    study = reproduction(arguments.name)
    if arguments.preset not in study.presets:
        raise ReproduceError(f"--preset {arguments.preset!r} is not known; expected one of {', '.join(study.presets)}")
    if arguments.models is not None and not study.trains:
        raise ReproduceError(f"--models {arguments.models}: {study.name} takes no folder of models; leave it out")
    if not study.model:
        refuse_which(arguments, f"{study.name} loads no model by name")
    import lens

    # one folder for each model, data and preset: a study refuses a folder of another configuration
    name = arguments.model or study.model or "smollm2"
    words = [name.rsplit(":", 1)[-1].strip("/").rsplit("/", 1)[-1]] * (name != "smollm2")
    out = arguments.out or Path("build") / study.name / "-".join([*words, Path(arguments.data).stem, arguments.preset])
    result = study.run(
        lens.load(name, **asked_for(arguments)) if study.model else None,
        data=arguments.data,
        preset=arguments.preset,
        limit=arguments.limit,
        out=out,
        seed=arguments.seed,
        say=lambda line: print(line, flush=True),
        **({} if arguments.models is None else {"models": arguments.models}),
        **({} if arguments.workers is None else {"backend": "ray", "workers": arguments.workers}),
    )
    for row in result.table.to_dict("records"):
        print(
            f"\n{row['claim']}\n  paper:   {row['paper']}\n  here:    {row['here']}\n  n:       {row['n']}\n  looks:  "
            f" {row['multiplicity']}\n  verdict: {row['verdict']}"
        )
    print(f"\nresults and {len(result.figures)} figures: {out.absolute()}")
    return result


def every(arguments: argparse.Namespace) -> int:
    """Runs the studies, each in a process and a folder of its own, and writes one page of them: one after another, or
    `--jobs` at a time, each with its share of the cores. The same command goes on with what is there. A study that
    fails is named on the page, and the others run.
    """
    wanted = arguments.only or list(REPRODUCTIONS)
    studies = [reproduction(name) for name in wanted]
    if lacking := [study for study in studies if arguments.preset not in study.presets]:
        raise ReproduceError(
            f"--preset {arguments.preset!r} is not one of {lacking[0].name}'s: {', '.join(lacking[0].presets)}; name"
            " the studies that have it with --only."
        )
    for option in ("model", "limit", "models"):
        if getattr(arguments, option) is not None:
            raise ReproduceError(
                f"--{option} {getattr(arguments, option)}: each study has its own; run that one by name."
            )
    refuse_which(arguments, "each study has a model of its own; run that one by name")
    jobs = 1 if arguments.jobs is None else arguments.jobs
    if jobs < 1:
        raise ReproduceError(f"--jobs {jobs}: expected a number of studies at a time, 1 or more.")
    home = arguments.out or Path("build") / "reproduce" / arguments.preset
    began = time.monotonic()

    def ran(study: Study) -> str:
        started = time.monotonic()
        print(f"\n== {study.name}: {study.question}", flush=True)
        said = _apart(study, home / study.name, arguments, jobs)
        print(f"== {study.name}: {said or 'done'}, {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
        return said

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            outcomes = list(pool.map(ran, studies))
        except KeyboardInterrupt:  # a study that runs had the same signal, and leaves what is whole; none is begun
            pool.shutdown(cancel_futures=True)
            raise
    parts = [_part(study, home / study.name, said) for study, said in zip(studies, outcomes, strict=True)]
    from .report import page

    where = page(parts, home / "report.html", f"Studies run again, preset {arguments.preset}")
    flagged = sum(len(part.flags) for part in parts if part.flags is not None)
    compared = sum(part.flags is not None for part in parts)
    print(
        f"\n{len(parts)} studies in {(time.monotonic() - began) / 60:.1f} minutes; {flagged} numbers outside the"
        f" intervals of stored runs ({compared} studies have one of this configuration); report: {where.absolute()}"
    )
    return int(any(part.result is None for part in parts))


def _apart(study: Study, folder: Path, arguments: argparse.Namespace, jobs: int) -> str:
    """Runs a study in a process of its own, whose memory ends with it; what went wrong, or nothing."""
    command = [sys.executable, "-m", "lens", "reproduce", study.name, "--out", str(folder)]
    for option in ("preset", "seed"):
        command += [f"--{option}", str(getattr(arguments, option))]
    command += words_of(arguments)
    if arguments.workers is not None:
        command += ["--workers", str(arguments.workers)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    if jobs > 1:  # each line says whose it is, and the studies share the cores
        environment["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // jobs))
    stdout = subprocess.PIPE if jobs > 1 else None
    with (
        subprocess.Popen(command, env=environment, stdout=stdout, stderr=subprocess.PIPE, text=True) as process,
        concurrent.futures.ThreadPoolExecutor(1) as reader,
    ):
        errors = reader.submit(process.stderr.read)  # type: ignore[union-attr]
        for line in process.stdout or ():
            print(f"[{study.name}] {line}", end="", flush=True)
        said = errors.result()
    if said:
        print(said, file=sys.stderr, end="")
    if process.returncode == 130:
        raise KeyboardInterrupt
    lines = [line for line in said.splitlines() if line.strip()]
    return "" if process.returncode == 0 else (lines[-1] if lines else f"exit code {process.returncode}")


def _part(study: Study, folder: Path, said: str) -> Part:
    """What a finished run has for the page."""
    from . import stored
    from .records import RECORD
    from .report import Part

    if said:
        return Part(study, None, {}, said)
    record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    result, there = study.load(folder), stored.same(study.name, record)
    named = [name for _, names, *_ in result.table.attrs["claims"] for name in names]
    flags = None if there is None else stored.outside(record["numbers"], there.record["numbers"], named)
    return Part(study, result, record, flags=flags)


def listed(names: Sequence[str] = REPRODUCTIONS) -> str:
    """The list of studies as text: paper, question, models, presets with their time and memory where a stored run, or
    one in `build`, has measured them, and what is stored.
    """
    from . import stored
    from .records import Cost

    lines = []
    for name in names:
        study = reproduction(name)
        there = list(stored.runs(name))
        costs: dict[str, str] = {}
        for one in [*there, *stored.runs(name, [Path("build")] if Path("build").is_dir() else [])]:
            if cost := Cost.of(one.record).text:
                costs.setdefault(one.preset, cost)
        presets = [f"{preset} ({costs.get(preset, 'not measured')})" for preset in study.presets]
        stored_runs = [f"{one.folder.name} ({one.preset})" for one in there]
        lines += [
            f"{name}: {study.question}",
            f"  paper    {study.paper}",
            f"  models   {study.models}",
            f"  presets  {'; '.join(presets)}",
            f"  stored   {'; '.join(stored_runs) or 'nothing'}",
            "",
        ]
    return "\n".join(lines).rstrip()
