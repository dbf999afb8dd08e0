"""Rules of the house that a script can hold."""

import ast
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_no_test_judges_a_duration():
    """How long something takes belongs to the benchmarks: on a busy machine such a test says nothing of the code.
    Waiting with a limit is no judgement.
    """
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and node.attr in (
                "perf_counter",
                "perf_counter_ns",
                "process_time",
                "thread_time",
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} reads {node.attr}")
            if isinstance(node, ast.Assert):
                clocks = [
                    part
                    for part in ast.walk(node.test)
                    if isinstance(part, ast.BinOp) and "time.monotonic()" in ast.unparse(part)
                ]
                found += [f"{path.relative_to(ROOT)}:{node.lineno} asserts {ast.unparse(part)}" for part in clocks]
    assert not found, found
