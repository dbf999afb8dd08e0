"""The fuzzer by command; see `tests.fuzz`."""

from __future__ import annotations

import argparse
import json

from .judge import OUTCOMES
from .running import QUICK, figures, run
from .subjects import families, without_subject


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description="Calls public functions with odd arguments and judges what becomes of each.",
    )
    parser.add_argument("--family", action="append", choices=families(), help="one family, or several; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--values", type=int, help="values an argument, drawn by the seed; all by default")
    parser.add_argument("--quick", action="store_true", help=f"the preset of the tests: {QUICK} values an argument")
    parser.add_argument("--part", default="1/1", help="2/4: the second quarter of the inputs")
    parser.add_argument("--show", type=int, default=3, help="faults shown of each function")
    asked = parser.parse_args()
    made = run(
        families=asked.family,
        seed=asked.seed,
        values=QUICK if asked.quick else asked.values,
        part=asked.part,
        say=lambda text: print(text, flush=True),
    )
    width = max((len(f"{f}.{n}") for f, n in made["by_function"]), default=8)
    print(f"\n{'function':{width}}  inputs  " + "  ".join(OUTCOMES))
    for (family, name), counts in made["by_function"].items():
        print(
            f"{family}.{name:{width - len(family) - 1}}  {sum(counts.values()):6d}  "
            + "  ".join(f"{counts[o]:{len(o)}d}" for o in OUTCOMES)
        )
    seen: dict[tuple, int] = {}
    for fault in sorted(made["faults"], key=lambda f: (f["family"], f["function"], f["argument"])):
        key = fault["family"], fault["function"], fault["argument"], fault["outcome"]
        seen[key] = seen.get(key, 0) + 1
        if seen[key] <= asked.show:
            print(
                f"{fault['outcome']:13} {fault['family']}.{fault['function']}({fault['argument']}: {fault['value']}) "
                + " ".join(fault["error"].split())[:160]
            )
    for text in made["broken"]:
        print(f"BROKEN        {text}")
    for family in asked.family or families():
        if left := without_subject(family):
            print(f"without a subject in {family}: {', '.join(left)}")
    print(json.dumps(figures(made["by_function"]) | {"seed": asked.seed}))
    return 1 if made["broken"] else 0


raise SystemExit(main())
