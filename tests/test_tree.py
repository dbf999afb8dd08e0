"""The list of a model's modules and parameters is torch's own, whatever is done to the model in between."""

import copy
import pickle

import pytest
import torch
from torch import nn

from lens.models import weight_hash
from lens.models.tree import Tree


def make() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 3)),
        nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.LayerNorm(2)}),
    )
    model.tied = model[0][0]
    return model


def swap(model: nn.Module) -> None:
    inner = model[0]._modules
    inner["0"] = inner.pop("0")  # runs last from now on, under the same name


def renamed(model: nn.Module) -> None:
    inner = model[1]._modules
    inner["c"] = inner.pop("a")
    inner["b"] = inner.pop("b")


CHANGES = {
    "replaced": lambda m: m[0].__setitem__(1, nn.GELU()),
    "replaced by a copy": lambda m: m[0].__setitem__(2, copy.deepcopy(m[0][2])),
    "added": lambda m: m[1].update({"new": nn.Linear(1, 1)}),
    "added to a leaf": lambda m: setattr(m[0][0], "adapter", nn.Linear(1, 1)),
    "removed": lambda m: delattr(m, "tied"),
    "none": lambda m: setattr(m, "tied", None),
    "order": swap,
    "renamed": renamed,
    "parameter": lambda m: setattr(m[0][0], "bias", nn.Parameter(torch.zeros(4))),
    "new parameter": lambda m: m[1]["b"].register_parameter("gain", nn.Parameter(torch.zeros(2))),
    "parameter gone": lambda m: setattr(m[0][0], "bias", None),
    "tied": lambda m: setattr(m[1]["b"], "weight", m[1]["a"].bias),
    "other dictionary": (
        lambda m: m[0][0].__dict__.__setitem__("_parameters", {"weight": nn.Parameter(torch.ones(4, 3))})
    ),
}


def same(model: nn.Module) -> None:
    tree = Tree.of(model)
    assert [id(m) for m in tree.modules] == [id(m) for m in model.modules()]
    assert [(n, id(p)) for n, p in tree.named_parameters()] == [(n, id(p)) for n, p in model.named_parameters()]


@pytest.mark.parametrize("change", CHANGES)
def test_the_list_follows_the_model(change):
    model = make()
    same(model)
    before = Tree.of(model), weight_hash(model)
    same(model)
    assert Tree.of(model) is before[0], "it was listed again though nothing changed"
    CHANGES[change](model)
    same(model)


@pytest.mark.parametrize("copied", [copy.deepcopy, copy.copy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_has_a_list_of_its_own(copied):
    model = make()
    same(model)
    other = copied(model)
    same(other)
    same(model)
    other.append(nn.Linear(1, 1))
    same(other)
    same(model)
