"""Arguments are checked at the door."""

import ast
import dataclasses
import fractions
import importlib
import inspect
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int
from torch import Tensor

import lens
from lens.arguments import (
    AllFinite,
    Count,
    FilePath,
    Filled,
    Fitting,
    Fraction,
    HFModel,
    Layers,
    Name,
    NonNegative,
    Number,
    Numbers,
    Portion,
    Positions,
    Positive,
    Real,
    Seed,
    Share,
    TokenRow,
    TokenRows,
    Whole,
    door,
    has_door,
    shown,
    truth,
    unfit,
)

NAN, INF = float("nan"), float("inf")


class GateError(lens.Error, ValueError):
    pass


class Closed:
    def __getattr__(self, name):
        raise RuntimeError("no attribute")


class Odd:
    """Whatever is asked of it fails."""

    def __repr__(self):
        raise RuntimeError("no repr")

    def __len__(self):
        raise RuntimeError("no length")

    def __iter__(self):
        raise RuntimeError("no items")

    def __getitem__(self, at):
        raise RuntimeError("no item")

    def __index__(self):
        raise RuntimeError("no index")

    def __float__(self):
        raise RuntimeError("no number")

    def __fspath__(self):
        raise RuntimeError("no path")


def gate(annotation, default=inspect.Parameter.empty):
    """A function of one argument with this annotation, behind a door."""

    def function(value):
        return value

    function.__annotations__ = {"value": annotation}
    if default is not inspect.Parameter.empty:
        function.__defaults__ = (default,)
    return door(GateError)(function)


def refused(annotation, value):
    with pytest.raises(GateError) as error:
        gate(annotation)(value)
    assert str(error.value).startswith("value") and "expected" in str(error.value) and len(str(error.value)) < 600
    return str(error.value)


UNIVERSAL = [
    Odd(),
    Closed(),
    object(),
    b"x",
    {1, 2},
    lambda *a: None,
    (i for i in range(3)),
    np.array([1.5, NAN]),
    1 + 2j,
]


FITS = [
    (
        int,
        [0, -3, np.int64(3), torch.tensor(3)],
        [True, 1.0, "1", NAN, None, 2**63, 10**30, [1], torch.tensor(True), torch.tensor([3]), np.bool_(True)],
    ),
    (Count, [1, 10**9], [0, -1, True, 10**30, 10**9 + 1, 1.5]),
    (Seed, [0, 2**40], [-1, None, 10**30, 1.0]),
    (Annotated[int, Whole(2, 4)], [2, 4], [1, 5]),
    (
        float,
        [1, 0.5, np.float32(2.0), torch.tensor(1.5)],
        [NAN, INF, True, "1", None, 10**400, [1.0], 1j, np.array([1.0])],
    ),
    (Share, [0.05, np.float64(0.95)], [0, 1, 95, -0.1, NAN, True]),
    (Fraction, [0, 1, 0.5], [-0.1, 1.1, NAN]),
    (Positive, [1e-9, 3], [0, -1, INF]),
    (NonNegative, [0, 3], [-1e-9, INF]),
    (Real, [INF, -INF, 0], [NAN, True, "x"]),
    (Annotated[float, Number(1, 3)], [1, 3.0], [0.99, 3.01]),
    (bool, [True, np.bool_(False)], [0, 1, None, "True", "", []]),
    (str, ["", "ä", "a\0"], [b"x", None, 3, "\ud800", ["a"]]),
    (Name, ["a"], ["", "a\0", "\udfff", 3]),
    (
        FilePath,
        ["a", __import__("pathlib").Path("b")],
        ["", "a\0", b"x", 3, None, "\ud800", ["a"], "x" * 256, "x" * 250 + "ää🐍"],
    ),
    (Literal["mean", "sum"], ["mean"], ["median", 1, None, ["mean"], True]),
    (Literal[1, 2], [1], [True, 3, 1.0]),
    (Callable[[], bool] | None, [None, lambda: True, lambda a=1: True], [lambda a: True, 3, "stop", True]),
    (Callable[[int, int], int], [max, lambda *a: 1, lambda a, b: 1], [lambda a: 1, lambda a, b, c: 1]),
    (
        Sequence[int],
        [[], [1, 2], (1,), range(3), np.arange(3), torch.arange(3)],
        ["12", b"12", {1}, {1: 2}, [1.5], [True], np.ones(3), 3, np.ones((2, 2), int), [[1]], range(10**18)],
    ),
    (Annotated[Sequence[str], Filled()], [["a"], ("a", "b")], [[], (), ["a", 3], "ab", None]),
    (tuple[int, str], [(1, "a")], [(1,), (1, 2), "ab", (1, "a", 2), None]),
    (list[Sequence[float]], [[[1.0], [2]]], [[1.0], [[NAN]], 3]),
    (Iterable[int], [[1], (i for i in range(3)), {1}], [3, "12", [1.5], torch.tensor(3), Odd()]),
    (Iterable, [[1], (i for i in range(3))], [Odd(), 3]),
    (Mapping[str, float], [{}, {"a": 1}], [{"a": NAN}, {1: 1.0}, [("a", 1)], "a"]),
    (dict[str, Any], [{"a": object()}], [{1: 2}, []]),
    (
        Float[Tensor, "n d"],
        [torch.ones(2, 3), torch.ones(2, 3, dtype=torch.bfloat16)],
        [torch.ones(2), torch.ones(2, 3, dtype=torch.int64), np.ones((2, 3)), [[1.0]], None, torch.eye(3).to_sparse()],
    ),
    (Int[Tensor, "*rest n"], [torch.arange(3), torch.ones(2, 2, dtype=torch.int32)], [torch.tensor(3), torch.ones(3)]),
    (
        Annotated[Float[Tensor, " d"], AllFinite()],
        [torch.ones(2)],
        [torch.tensor([1.0, NAN]), torch.tensor([INF]), torch.ones(2, 2)],
    ),
    (
        Layers,
        [None, 0, -1, [0, 2], (1,), range(2), slice(None), np.arange(2), torch.arange(2), []],
        [
            1.5,
            [0, 1.5],
            True,
            [True, False],
            np.array([True]),
            "0",
            slice(0, 1.5),
            slice(0, 3, 0),
            [[0]],
            10**30,
            range(10**30),
            np.ones((1, 1), int),
        ],
    ),
    (
        Positions,
        [None, 0, "last", ["last", 0], ["a", [1, 2]], [(0, 1)], slice(1), [slice(1)]],
        [1.5, True, ["a", 1.5], [(0, 1.5)], [("a", 1)], b"last", {"a"}, "\ud800"],
    ),
    (Portion, [1, 1e-9, fractions.Fraction(1, 3)], [0, 1.1, -1, NAN]),
    (
        TokenRows,
        [[[1, 2], [3]], ((1,), (2,)), torch.ones(2, 3, dtype=torch.int32), [np.arange(3)], SimpleNamespace(ids=[[1]])],
        [[1, 2], [[1.5]], [["a"]], [[True]], [[2**63]], torch.ones(2, 3), torch.arange(3), "ab", range(3), [[[1]]]],
    ),
    (TokenRow, [[1, 2], [[1], [2, 3]], torch.arange(3), []], [[1.5], "12", torch.ones(2), [True], 3]),
    (
        Annotated[Any, Numbers(2)],
        [
            [[1, NAN], [2, 3]],
            np.ones((2, 2)),
            torch.ones(2, 2, dtype=torch.bfloat16),
            torch.ones(2, 2, dtype=torch.int8),
        ],
        [[1.0], [[1], [2, 3]], [["a"]], np.ones((2, 2), bool), np.ones((2, 2), complex), 3, None],
    ),
    (Annotated[Any, Numbers(1, truth=True)], [[True, False], [0, 1], torch.tensor([True])], [[0.5], [[True]], None]),
    (HFModel, [torch.nn.Linear(1, 1)], [3, "gpt2", None, torch.nn.Linear, torch.ones(1)]),
    (lens.Pair | Sequence[lens.Pair], [lens.Pair("a", "b", " c"), [lens.Pair("a", "b", " c")]], ["a", ["a"], None, 3]),
    (int | str | None, [1, "a", None], [1.5, True, b"a", [1]]),
]


@pytest.mark.parametrize("annotation, good, bad", FITS, ids=range(len(FITS)))
def test_what_fits_is_taken_and_what_does_not_is_refused_by_name(annotation, good, bad):
    function = gate(annotation)
    for value in good:
        function(value)
    for value in bad:
        refused(annotation, value)
    if "Iterable" not in str(annotation) and "Callable" not in str(annotation):
        for value in UNIVERSAL:
            refused(annotation, value)


def test_what_nothing_beneath_takes_is_handed_on_as_a_float():
    assert [type(gate(float)(value)) for value in (fractions.Fraction(1, 3), 10**30, 3)] == [float, float, int]


def test_a_share_that_has_lost_its_digits_is_refused():
    for kind in (Share, Fraction, Portion):
        assert gate(kind)(sys.float_info.min) == sys.float_info.min
        with pytest.raises(GateError, match="1e-320 does not fit; .*so near to 0 that its digits are lost"):
            gate(kind)(1e-320)
    assert gate(Fraction)(0) == 0 and gate(NonNegative)(1e-320) == 1e-320


def test_an_array_of_text_or_a_tensor_is_handed_on_as_a_list():
    for given in (np.array(["a", "b"]), np.array(["a", "b"], object)):
        taken = gate(Sequence[str])(given)
        assert taken == ["a", "b"] and [type(one) for one in taken] == [str, str]
        assert gate(Sequence[Literal["a", "b"]])(given) == ["a", "b"]
    numbers = np.arange(3)
    assert gate(Sequence[int])(numbers) is numbers
    taken = gate(Sequence[float])(torch.tensor([0.5, 0.25]))
    assert taken == [0.5, 0.25] and [type(one) for one in taken] == [
        float,
        float,
    ], "a tensor's items are no numbers of Python's"
    with pytest.raises(GateError, match=r"\[1\]='c' is not known"):
        gate(Sequence[Literal["a", "b"]])(np.array(["a", "c"]))
    with pytest.raises(GateError, match=r"^value\[0\]=.*expected a finite number"):
        gate(Sequence[float])(np.array([["a"]]))


def test_what_a_function_gave_is_true_or_false_or_refused():
    assert truth(3, "stop", GateError) and not truth([], "stop", GateError)
    with pytest.raises(GateError, match="stop=.*expected a function that gives True or False"):
        truth(torch.ones(2), "stop", GateError)


class Even(Fitting):
    expected = "an even number"

    def fits(self, value):
        return value.number % 2 == 0


class Mistaken(Fitting):
    """A check with a mistake of its own."""

    expected = "anything"

    def __init__(self, mistake):
        self.fits = mistake.__get__(self)


class Failing:
    def __init__(self, error):
        self.error = error

    @property
    def number(self):
        raise self.error


def test_what_a_value_raises_when_it_is_looked_at_is_a_refusal():
    even = gate(Annotated[Any, Even()])
    assert even(SimpleNamespace(number=2)).number == 2
    for error in (NameError("x"), ImportError("x"), NotImplementedError(), AttributeError("x"), RecursionError()):
        with pytest.raises(GateError, match="expected an even number"):
            even(Failing(error))
    for value in (3, SimpleNamespace(number=3), SimpleNamespace(number="a"), Odd(), None, math):
        with pytest.raises(GateError, match="expected an even number"):
            even(value)


@pytest.mark.parametrize(
    "mistake, error",
    [
        ("lambda self, value: valu", NameError),
        ("lambda self, value: self.fitting(value)", AttributeError),
        ("lambda self, value: math.isfinit(value)", AttributeError),
        ("lambda self, value: __import__('numpie')", ImportError),
    ],
)
def test_a_mistake_of_the_code_that_looks_is_no_refusal(mistake, error):
    """The code stands in the package, as a check's does."""
    made = eval(mistake, {"__name__": "lens.some_family.arguments", "math": math})
    with pytest.raises(error):
        gate(Annotated[Any, Mistaken(made)])(3)


def test_a_broad_except_stands_where_a_value_is_tried_and_at_the_door_alone():
    found = [
        path.name
        for path in sorted(Path(lens.arguments.__file__).parent.glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ExceptHandler) and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    assert found == ["checks.py", "doors.py"]


def test_numbers_of_numpy_are_handed_on_as_those_of_python():
    assert (
        type(gate(Count)(np.int32(4))) is int
        and type(gate(Share)(np.float32(0.5))) is float
        and gate(bool)(np.bool_(True)) is True
    )
    assert (
        gate(Layers)(np.arange(2)) == [0, 1]
        and gate(tuple[int, int])([1, 2]) == (1, 2)
        and type(gate(list[int])([np.int64(1)])[0]) is int
    )
    given = [1, 2]
    assert gate(Sequence[int])(given) is given


def test_the_text_names_argument_value_expectation_and_next_step():
    @door(GateError)
    def function(model, *, k: Count = 10, level: Share = 0.95, layers: Sequence[int] = ()):
        return k

    with pytest.raises(
        GateError,
        match=r"^k=-1 does not fit; expected a whole number of at least 1 and at most 10{9}; leave it out for 10\.$",
    ):
        function(None, k=-1)
    with pytest.raises(GateError, match=r"^level=95 .*did you mean 0\.95\?"):
        function(None, level=95)
    with pytest.raises(GateError, match=r"^layers\[1\]=1\.5 does not fit; expected a whole number"):
        function(None, layers=[0, 1.5])
    with pytest.raises(GateError, match="^method='x' is not known; expected 'a' or 'b'"):
        door(GateError)(_choosing)(method="x")
    with pytest.raises(TypeError, match="unexpected keyword argument 'kk'"):
        function(None, kk=1)
    assert (
        unfit("head", 12, "one of the 12 heads", "counting from 0")
        == "head=12 does not fit; expected one of the 12 heads; counting from 0."
    )
    with pytest.raises(GateError, match="^n=0 does not fit; expected a whole number of at least 1"):
        Whole(1).of(0, "n", GateError)


def _choosing(method="a", unknown=3, later=()):
    return method


_choosing.__annotations__ = {"method": "Literal['a', 'b']", "unknown": "NoSuchName", "later": "Sequence[NoSuchName]"}


def test_what_is_not_known_is_left_alone_and_a_default_is_always_taken():
    assert door(GateError)(_choosing)("b", unknown=object(), later=3) == "b"
    assert gate(Any)(Odd()) is not None and gate(int, default=None)(None) is None


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**6,
        list(range(10**6)),
        [[[[[[1]]]]]] * 100,
        torch.ones(100, 100),
        {i: i for i in range(10**5)},
        10**5000,
        Odd(),
        b"x" * 10**6,
        [Odd()],
        torch.nn.Linear(2, 2),
        "a\nb",
        [1, [10**5000]],
    ],
    ids=range(12),
)
def test_a_value_is_shown_short_and_on_one_line(value):
    text = shown(value)
    assert len(text) <= 130 and "\n" not in text


def test_a_class_checks_its_constructor():
    @door(GateError)
    @dataclasses.dataclass(frozen=True)
    class Point:
        x: float
        names: list[str] = dataclasses.field(default_factory=list)

        @classmethod
        @door(GateError)
        def at(cls, x: Count) -> "Point":
            return cls(x)

    assert (
        Point(1.0) == Point.at(1)
        and has_door(Point)
        and has_door(Point.at)
        and list(inspect.signature(Point).parameters) == ["x", "names"]
    )
    for wrong in (
        lambda: Point(NAN),
        lambda: Point(1, names=[3]),
        lambda: Point.at(0),
        lambda: dataclasses.replace(Point(1.0), x="a"),
    ):
        with pytest.raises(GateError):
            wrong()


def test_a_door_keeps_what_the_function_is():
    def function(model: HFModel, *rest: Count, k: Count = 3, **more: Any) -> int:
        """What it does."""
        return k

    made = door(GateError)(function)
    assert (
        made.__doc__ == "What it does."
        and inspect.signature(made) == inspect.signature(function)
        and made.__name__ == "function"
    )
    assert made(torch.nn.Linear(1, 1), 1, 2, k=4, other=Odd()) == 4
    with pytest.raises(GateError, match=r"^rest\[1\]=0"):
        made(torch.nn.Linear(1, 1), 1, 0)


def test_a_door_goes_outside_a_session_of_one_model(tiny):
    from lens.engine.sessions import of_one_model

    model, seen = tiny(), []

    @door(GateError)
    @of_one_model
    @torch.no_grad()
    def reads(model: HFModel, k: Count = 1) -> int:
        seen.append(k)
        return k

    assert reads(model, k=2) == 2
    with pytest.raises(GateError, match="^k=0"):
        reads(model, k=0)
    assert seen == [2]


def test_doors_are_not_imported_with_the_package():
    code = (
        "import sys, lens; heavy = {'torch', 'numpy', 'jaxtyping'}; "
        "assert not [m for m in sys.modules if m.startswith('lens.arguments') or m in heavy]; "
        "import lens.arguments; assert not [m for m in sys.modules if m in ('torch', 'numpy', 'jaxtyping')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_annotation_behind_a_door_can_be_read():
    """One that names what is not there at run time would be a door that lets everything in."""
    for found in pkgutil.walk_packages(lens.__path__, "lens."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    guarded, unread = 0, []
    for name, module in list(sys.modules.items()):
        if not name.startswith("lens"):
            continue
        kinds = [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == name]
        functions = [(v, None) for v in vars(module).values() if inspect.isfunction(v) and v.__module__ == name]
        functions += [
            (getattr(v, "__func__", v), None) for kind in kinds for key, v in vars(kind).items() if key != "__init__"
        ]
        functions += [(kind.__init__, kind) for kind in kinds]
        for function, owner in functions:
            if not has_door(function):
                continue
            guarded += 1
            space = vars(sys.modules[(owner or inspect.unwrap(function)).__module__])
            for p in inspect.signature(function).parameters.values():
                try:
                    eval(p.annotation, dict(space)) if isinstance(p.annotation, str) else None
                except Exception as error:
                    unread.append(f"{name}.{function.__qualname__}({p.name}: {p.annotation}): {error}")
    assert guarded > 300 and not unread, (guarded, unread)
