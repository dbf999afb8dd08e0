"""Bad values: some for every argument, some for arguments of one kind."""

from __future__ import annotations

import inspect
import itertools
import pathlib
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import torch

Value = tuple[str, Callable[[], Any]]
NAN, INF = float("nan"), float("inf")


class Raises:
    """An object whose methods of one kind fail."""

    def __repr__(self):
        raise RuntimeError("repr fails")

    def __str__(self):
        raise RuntimeError("str fails")


class LenRaises:
    def __len__(self):
        raise RuntimeError("len fails")

    def __getitem__(self, at):
        raise RuntimeError("item fails")


class IterRaises:
    def __iter__(self):
        raise RuntimeError("iter fails")


class IndexRaises:
    def __index__(self):
        raise RuntimeError("index fails")

    def __float__(self):
        raise RuntimeError("float fails")


class AttributeRaises:
    def __getattr__(self, name):
        raise RuntimeError("attribute fails")


class EqRaises:
    __hash__ = None

    def __eq__(self, other):
        raise RuntimeError("eq fails")


class BoolRaises:
    def __bool__(self):
        raise RuntimeError("bool fails")


def _deep(n: int) -> list:
    made: list = []
    for _ in range(n):
        made = [made]
    return made


def _own() -> list:
    made: list = [1]
    made.append(made)
    return made


def _named(**values: Any) -> list[Value]:
    return [
        (
            name,
            (
                value
                if inspect.isfunction(value)
                and value.__name__ == "<lambda>"
                and not inspect.signature(value).parameters
                else (lambda v=value: v)
            ),
        )
        for name, value in values.items()
    ]


#: For every argument.
UNIVERSAL: list[Value] = [
    *_named(
        none=None,
        true=True,
        false=False,
        nan=NAN,
        inf=INF,
        minus_inf=-INF,
        zero=0,
        minus_one=-1,
        one_and_a_half=1.5,
        minus_half=-0.5,
        ten_to_30=10**30,
        minus_ten_to_30=-(10**30),
        two_to_63=2**63,
        too_large_for_float=10**400,
        tiny=1e-320,
        empty_text="",
        nul="x\0",
        surrogate="\ud800",
        word="nonsense",
        long_text="x" * 100_000,
        bytes=b"bytes",
        complex=1 + 2j,
        decimal=Decimal("1.5"),
        fraction=Fraction(1, 3),
        date=datetime(2020, 1, 1),
        ellipsis=...,
        a_class=int,
        a_module=itertools,
    ),
    *_named(
        empty_list=lambda: [],
        list_of_none=lambda: [None],
        list_of_nan=lambda: [NAN],
        mixed_list=lambda: [1, "a", None],
        nested=lambda: [[[1]], [2]],
        deep=lambda: _deep(2000),
        in_itself=lambda: _own(),
        long_list=lambda: [0] * 100_000,
        empty_tuple=(),
        list_of_texts=lambda: ["a", "\ud800"],
        a_set=lambda: {1, "a"},
        empty_dict=lambda: {},
        a_dict=lambda: {"a": NAN},
        ordered=lambda: OrderedDict(a=1),
        a_deque=lambda: deque([1]),
        generator=lambda: (i for i in range(3)),
        endless=lambda: itertools.count(),
        a_range=range(3),
        huge_range=range(10**18),
        a_slice=slice(0, 1.5),
        memory=lambda: memoryview(b"ab"),
    ),
    *_named(
        numpy_int=np.int64(-7),
        numpy_nan=np.float32("nan"),
        numpy_bool=np.bool_(True),
        numpy_text=np.str_("nonsense"),
        array_empty=lambda: np.empty(0),
        array_nan=lambda: np.full((2, 2), NAN),
        array_object=lambda: np.array([object(), None]),
        array_text=lambda: np.array(["a", "b"]),
        array_complex=lambda: np.ones(2, complex),
        tensor_empty=lambda: torch.empty(0),
        tensor_bool=lambda: torch.tensor([True, False]),
        tensor_inf=lambda: torch.full((3,), INF),
        tensor_meta=lambda: torch.empty(2, 2, device="meta"),
        tensor_0d=lambda: torch.tensor(1.5),
    ),
    *_named(
        repr_raises=lambda: Raises(),
        len_raises=lambda: LenRaises(),
        iter_raises=lambda: IterRaises(),
        index_raises=lambda: IndexRaises(),
        attribute_raises=lambda: AttributeRaises(),
        eq_raises=lambda: EqRaises(),
        bool_raises=lambda: BoolRaises(),
        list_of_odd=lambda: [Raises()],
    ),
    ("function_of_nine", lambda: lambda a, b, c, d, e, f, g, h, i: None),
    ("plain_object", object),
]

NUMBERS: list[Value] = _named(
    half=0.5,
    one=1,
    ninety_five=95,
    billion_and_one=10**9 + 1,
    two_to_31=2**31,
    minus_two_to_63=-(2**63),
    text_number="3",
    bytes_number=b"3",
    list_of_one=lambda: [1],
    array_of_one=lambda: np.array([1]),
    uint=np.uint8(255),
    float_whole=2.0,
    just_above_one=1.0000001,
    minus_zero=-0.0,
    epsilon=1e-300,
)
TEXTS: list[Value] = _named(
    space=" ",
    upper="MEAN",
    number_text="12",
    newline="\n",
    path_text="../../x",
    nul_only="\0",
    emoji="\N{SNAKE}" * 3,
    dollar="$x$",
    braces="{x!r}",
    percent="%s",
    escape="\x1b[31m",
    bytes_text=b"mean",
    list_of_text=lambda: ["mean"],
    a_path=pathlib.Path("mean"),
    right_to_left="\u202e",
)
PATHS: list[Value] = _named(
    root=pathlib.Path("/"),
    missing="/no/such/folder/file.zarr",
    nul_path="a\0b.zarr",
    long_name="x" * 5000 + ".zarr",
    no_suffix="file",
    dot=".",
    home="~nobody/x.zarr",
    null="/dev/null",
    below_a_file="/etc/hostname/x.zarr",
    bytes_path=b"x.zarr",
    surrogate_path="\ud800.zarr",
    proc="/proc/self/mem",
    descriptor=0,
    list_of_paths=lambda: ["x.zarr"],
)
CALLABLES: list[Value] = [
    ("raises", lambda: _raising),
    ("of_none", lambda: lambda: None),
    ("of_one", lambda: lambda a: None),
    ("of_two", lambda: lambda a, b: None),
    ("of_three", lambda: lambda a, b, c: None),
    ("gives_nan", lambda: lambda *a, **k: NAN),
    ("gives_text", lambda: lambda *a, **k: "text"),
    ("gives_none", lambda: lambda *a, **k: None),
    ("keyword_only", lambda: _keyword),
    ("gives_tensor", lambda: lambda *a, **k: torch.ones(7, 5)),
    ("a_builtin", lambda: print),
    ("a_type", lambda: dict),
    ("a_method", lambda: [].append),
    ("a_name", lambda: "print"),
]
ARRAYS: list[Value] = _named(
    array_1d=lambda: np.arange(3),
    array_0d=lambda: np.array(1.0),
    array_4d=lambda: np.ones((1, 2, 1, 2)),
    floats=lambda: torch.ones(3, 4),
    halves=lambda: torch.ones(3, 4, dtype=torch.float16),
    longs=lambda: torch.ones(3, 4, dtype=torch.int64),
    minus_ids=lambda: torch.full((2, 5), -1),
    huge_ids=lambda: np.full((2, 5), 10**9),
    bools=lambda: np.ones((2, 3), bool),
    ragged=lambda: [[1, 2], [3]],
    wrong_width=lambda: torch.ones(7),
    zero_rows=lambda: np.empty((0, 4), int),
    sparse=lambda: torch.eye(3).to_sparse(),
    uints=lambda: np.ones((2, 3), np.uint64),
    dates=lambda: np.array(["2020"], "datetime64[D]"),
    structured=lambda: np.zeros(2, [("a", int)]),
)
MODELS: list[Value] = [
    ("linear", lambda: torch.nn.Linear(2, 2)),
    ("no_parameters", torch.nn.Identity),
    ("model_class", lambda: torch.nn.Linear),
    ("list_of_models", lambda: [torch.nn.Linear(2, 2)]),
    ("conv", lambda: torch.nn.Conv2d(1, 1, 1)),
    ("encoder", lambda: _encoder()),
    ("config_alone", lambda: _encoder().config),
    ("meta_model", lambda: torch.nn.Linear(2, 2, device="meta")),
    ("state_dict", lambda: torch.nn.Linear(2, 2).state_dict()),
    ("sequential", lambda: torch.nn.Sequential()),
    ("parameter", lambda: torch.nn.Parameter(torch.ones(2))),
]
MAPPINGS: list[Value] = _named(
    int_keys=lambda: {1: 1},
    none_key=lambda: {None: None},
    odd_value=lambda: {"a": Raises()},
    surrogate_key=lambda: {"\ud800": 1},
    pairs_list=lambda: [("a", 1)],
    nested_dict=lambda: {"a": {"a": {}}},
    text_values=lambda: {"a": "b"},
    empty_key=lambda: {"": 0},
)
FRAMES: list[Value] = [
    ("empty_dataset", lambda: _xr().Dataset()),
    ("other_dataset", lambda: _xr().Dataset({"x": ("y", [1.0, NAN])})),
    ("data_array", lambda: _xr().DataArray(np.ones((2, 2)))),
    ("bare_effect", lambda: _xr().Dataset({"effect": (("prompt", "layer"), np.ones((3, 2)))})),
    ("frame", lambda: _pd().DataFrame({"a": [1, None]})),
    ("series", lambda: _pd().Series(["a"])),
    ("bad_record", lambda: _xr().Dataset(attrs={"mnemoscope": "{"})),
    ("text_effect", lambda: _xr().Dataset({"effect": (("prompt",), np.array(["a", "b", "c"]))})),
]


def _raising(*args: Any, **kwargs: Any) -> None:
    raise ZeroDivisionError("the callback fails")


def _keyword(*, needed: Any) -> None:
    return needed


def _encoder() -> Any:
    from transformers import BertConfig, BertModel

    return BertModel(
        BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=20)
    )


def _xr() -> Any:
    import xarray

    return xarray


def _pd() -> Any:
    import pandas

    return pandas


def kinds(name: str, annotation: Any, value: Any) -> list[list[Value]]:
    """The lists that fit an argument, by its annotation, its name and a value that works."""
    hint = (
        annotation if isinstance(annotation, str) else "" if annotation is inspect.Parameter.empty else str(annotation)
    )

    def said(*words):
        return any(word in hint for word in words)

    found = []
    if said("Callable") or name in ("stop", "on_part", "evaluate") or inspect.isfunction(value):
        found.append(CALLABLES)
    if (
        name in ("model", "twin", "other", "reference", "before", "after")
        or said("Model", "nn.Module")
        or callable(getattr(value, "parameters", None))
    ):
        found.append(MODELS)
    if said("Path") or name in ("path", "store", "folder", "file"):
        found.append(PATHS)
    if said(
        "int", "float", "Count", "Size", "Seed", "Share", "Fraction", "Positive", "Real", "Index", "Layers", "Heads"
    ) or isinstance(value, (int, float)):
        found.append(NUMBERS)
    if said("str", "Literal", "Name", "Positions") or isinstance(value, str):
        found.append(TEXTS)
    if (
        said("Tensor", "ndarray", "Int[", "Float[", "Layers", "Heads")
        or hasattr(value, "dtype")
        or not hint
        or hint == "Any"
    ):
        found.append(ARRAYS)
    if said("Mapping", "dict") or isinstance(value, dict):
        found.append(MAPPINGS)
    if said("xr.", "Dataset", "DataFrame", "pd.") or hasattr(value, "data_vars"):
        found.append(FRAMES)
    return found or [NUMBERS, ARRAYS]


def bad_values(name: str, annotation: Any, value: Any, random_: random.Random, most: int | None = None) -> list[Value]:
    """Bad values of one argument in the order of a seed, of which `most` are taken, and some that the seed makes."""
    found: dict[str, Callable[[], Any]] = dict(UNIVERSAL)
    for kind in kinds(name, annotation, value):
        found.update(kind)
    # between the two a count is one that somebody might ask for, and wait for
    number, size = random_.uniform(-1, 1) * 10 ** random_.choice([*range(-9, 2), *range(15, 25)]), random_.randint(1, 6)
    text = "".join(chr(random_.randint(1, 0x2FFF)) for _ in range(size))
    found |= {
        f"number {number!r}": lambda: number,
        f"whole {int(number)}": lambda: int(number),
        f"text {text!r}": lambda: text,
        f"numbers of {size}": lambda: [number] * size,
    }
    chosen = list(found.items())
    random_.shuffle(chosen)
    return chosen if most is None else chosen[:most]
