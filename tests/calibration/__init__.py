"""Coverage of every kind of interval by simulation: `python -m tests.calibration` prints the table and one JSON line;
the suite runs a small preset.

>>> from tests.calibration import coverage, figures
>>> figures(coverage(draws=200, cells=("normal",), sizes=(5,)))["coverage_cells_available"]
1
"""

from tests.calibration.means import CELLS, SIZES, coverage, figures, required

__all__ = ["CELLS", "SIZES", "coverage", "figures", "required"]
