"""`python -m tests.calibration [--draws N] [--means | --correlations] [--seed S]`: the table of coverage, and last one
JSON line.
"""

import argparse
import json

from tests.calibration import coverage, figures
from tests.calibration.correlations import correlations
from tests.calibration.others import table


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.calibration", description=__doc__)
    parser.add_argument("--draws", type=int, default=4000, help="samples a cell")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--means", action="store_true", help="only the intervals of means")
    parser.add_argument("--correlations", action="store_true", help="only the intervals of correlations (a minute)")
    given = parser.parse_args()
    if given.correlations:
        found = correlations(given.draws / 4000, given.seed)
        print(found.to_string(index=False, float_format="{:.3f}".format))
        wanted = found[found.wanted.notna()]
        print(
            json.dumps(
                {"correlations_coverage_min": round(float(wanted.rate.min()), 4), "correlations_cells": len(wanted)}
            )
        )
        return
    found = coverage(given.draws, given.seed)
    print(found.to_string(index=False, float_format="{:.3f}".format))
    if not given.means:
        print(table(given.draws / 4000, given.seed).to_string(index=False, float_format="{:.3f}".format))
    print(json.dumps(figures(found)))


main()
