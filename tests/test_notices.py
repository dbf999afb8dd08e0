"""A warning names the line of whoever called the package, through doors, sessions, decorators and constructors."""

import ast
import logging
import warnings
from pathlib import Path

import pytest
import torch

import lens
from lens import vectors
from lens.models import wrap
from tests import models as tiny_models
from tests.models import word_tokenizer

ROOT = Path(__file__).parent.parent


def here(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [(w.filename, w.lineno) for w in caught if issubclass(w.category, UserWarning)]


def test_a_sweep_by_whole_forwards():
    model = tiny_models.tiny("llama")
    model.tokenizer = word_tokenizer()
    model.model.layers[0].register_forward_hook(lambda module, args, out: None)
    pair = lens.Pair("w3 w5 w6", corrupted="w4 w5 w6", answer=" w7", foil=" w8")
    line = test_a_sweep_by_whole_forwards.__code__.co_firstlineno + 6
    assert here(lambda: lens.patch(model, pair, "resid_pre", progress=False)) == [(__file__, line)]


def test_an_edit_that_met_no_token():
    model = wrap(tiny_models.tiny("llama"), word_tokenizer(), "tiny")

    def call():
        with lens.edited(model, lens.Edit(lens.Site("resid_pre", layer=0, position=50), "zero")):
            model(torch.tensor([[3, 5]]))

    assert [name for name, _ in here(call)] == [__file__]


def test_a_constructor():
    pairs = [(f"w{i}", "w1") for i in range(4)]
    assert [name for name, _ in here(lambda: vectors.Task("same", pairs))] == [__file__]


@pytest.mark.parametrize("package", ["lens", "widgets"])
def test_everything_warns_there(package):
    """One that counted its own frames would be off by each decorator that comes later."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "notices.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and (ast.unparse(node.func) == "warnings.warn" or any(k.arg == "stacklevel" for k in node.keywords))
    ]
    assert not found, "use lens.notices.warn"


def test_what_packages_say_at_their_import_is_left_out_and_nothing_else(caplog):
    for name, said in (
        ("torchao", "Failed to load a library of another device"),
        ("torch.utils._pytree", "%s is an Enum subclass and more"),
        ("bitsandbytes.backends.cpu.ops", "Failed to load CPU gemm_4bit_forward from there: %s"),
    ):
        logging.getLogger(name).warning(said, *["it"] * said.count("%s"))
        logging.getLogger(name).warning("something else")
    assert [record.getMessage() for record in caplog.records] == ["something else"] * 3
