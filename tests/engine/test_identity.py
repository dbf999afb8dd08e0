"""Digests of functions and values: equal where nothing that the answer depends on differs, refused where that cannot be
told.
"""

import functools
import runpy
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from lens.models.identity import Unidentified, digest

TARGET = 3
TABLE = {"at": [1, 2]}


def by_global(x):
    return x[TARGET]


def nested(x):
    return [x[i] for i in TABLE["at"]]


def helper(x):
    return x + TARGET


def by_helper(x):
    return helper(x)


def closing(value):
    return lambda x: x @ value


class Holder:
    def __init__(self, at):
        self.at = at

    def read(self, x):
        return x[self.at]

    def __call__(self, x):
        return x[self.at]


class Slotted:
    __slots__ = ("at",)

    def __init__(self, at):
        self.at = at


def column(x, at):
    return x[:, at]


PAIRS = {
    "an array closed over": lambda at: closing(np.eye(4)[at]),
    "a tensor closed over": lambda at: closing(torch.eye(4)[at]),
    "a list closed over": lambda at: closing([at]),
    "an argument of a partial": lambda at: functools.partial(column, at=at),
    "a bound method": lambda at: Holder(at).read,
    "a callable object": lambda at: Holder(at),
    "an object with slots": lambda at: closing(Slotted(at)),
    "a default": lambda at: lambda x, at=at: x[at],
    "a network": lambda at: closing(_network(at)),
    "a closure in a closure": lambda at: closing(closing(at)),
}


def _network(at):
    torch.manual_seed(at)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.ReLU())


@pytest.mark.parametrize("name", PAIRS)
def test_what_a_function_reads_is_in_its_digest(name):
    make = PAIRS[name]
    assert digest(make(1)) == digest(make(1)) != digest(make(2))


@pytest.mark.parametrize(
    "function, change", [(by_global, ("TARGET", 4)), (by_helper, ("TARGET", 4)), (nested, ("TABLE", {"at": [1, 3]}))]
)
def test_globals_count_also_through_other_functions(function, change, monkeypatch):
    before = digest(function)
    monkeypatch.setitem(globals(), *change)
    assert digest(function) != before


def test_code_counts():
    assert digest(lambda x: x + 1) != digest(lambda x: x + 2)
    assert digest(lambda x: x + 1) == digest(lambda x: x + 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iter([1]),
        lambda: (i for i in range(3)),
        lambda: torch.empty(2, device="meta"),
        object,
        lambda: np.random.default_rng(0),
    ],
    ids=["an iterator", "a generator", "a tensor without data", "an object", "a source of randomness"],
)
def test_what_has_no_content_to_compare_is_refused(make):
    with pytest.raises(Unidentified):
        digest(closing(make()))


def test_what_is_installed_counts_by_its_name():
    assert digest(open) == digest(open) != digest(len)
    assert digest(torch.nn.functional.relu) != digest(torch.nn.functional.gelu)


def test_a_file_is_refused(tmp_path):
    with open(tmp_path / "x", "w") as file, pytest.raises(Unidentified):
        digest(closing(file))


def test_circles_end():
    ring = [1]
    ring.append(ring)
    assert digest(ring) == digest(ring)


def test_another_process_says_the_same(tmp_path, capsys):
    script = textwrap.dedent("""
        import sys, numpy as np
        from lens.models.identity import digest
        TABLE = {"b": {1, 2, 3}, "a": np.arange(3)}
        def metric(x, e): return x[TABLE["a"]].sum() + len(TABLE["b"])
        print(digest(metric))
    """)
    file = tmp_path / "said.py"
    file.write_text(script)
    runpy.run_path(str(file), run_name="__main__")
    here = capsys.readouterr().out
    there = subprocess.run([sys.executable, str(file)], capture_output=True, text=True, check=True).stdout
    assert here == there and len(here.strip()) == 16
