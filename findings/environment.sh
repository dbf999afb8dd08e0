# Read by every finding: `environment PIN...` makes a temporary virtual environment with exactly these versions and
# sets PYTHON to its interpreter.
# With FINDINGS_PYTHON=/path/to/python nothing is made: that interpreter is taken, provided that its versions are
# the pins.
# Ends with exit code 2 where the environment cannot be had, which says nothing about the finding.

environment() {
    if [ -n "${FINDINGS_PYTHON:-}" ]; then
        PYTHON=$FINDINGS_PYTHON
        "$PYTHON" -I - "$@" <<'PY' || exit 2
import sys
from importlib.metadata import PackageNotFoundError, version

for pin in sys.argv[1:]:
    name, wanted = pin.split("==")
    try:
        there = version(name).split("+")[0]  # a CPU wheel of torch calls itself 2.13.0+cpu
    except PackageNotFoundError:
        there = "none"
    if there != wanted:
        sys.exit(f"FINDINGS_PYTHON has {name} {there}, this finding is of {wanted}; unset it, or give another")
PY
        return
    fi
    FOLDER=$(mktemp -d)
    trap 'rm -rf "$FOLDER"' EXIT
    PYTHON=$FOLDER/venv/bin/python
    python3 -m venv "$FOLDER/venv" || exit 2
    "$PYTHON" -m pip install --quiet --disable-pip-version-check "$@" || exit 2
}

export HF_HUB_OFFLINE=1 TRANSFORMERS_VERBOSITY=error TQDM_DISABLE=1
