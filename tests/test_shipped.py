"""The models that ship: found by their folders, and trained again by their cards; a new organism is one folder."""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lens
from lens import doctor
from lens.models import LoadError, shipped
from lens.organisms import __main__ as again
from lens.organisms.errors import OrganismError
from tests.test_house import ROOT, within

#: An organism that is in no list: what it reads, its recipe, and what trains it.
ANTS = {
    "__init__.py": '"""The organism `ants`: one symbol follows another in a ring, and nothing else is known."""\n',
    "recipe.py": '''
"""What the organism `ants` is made by."""

from __future__ import annotations

from dataclasses import dataclass

from ...arguments import Count, Positive, Seed, door
from ..errors import OrganismError
from ..recipes import OrganismRecipe


@door(OrganismError)
@dataclass(frozen=True)
class Recipe(OrganismRecipe):
    """Everything that the weights depend on."""

    d_model: Count = 16
    layers: Count = 1
    heads: Count = 2
    d_mlp: Count = 16
    steps: Count = 3
    learning_rate: Positive = 1e-2
    weight_decay: float = 0.0
    warmup: int = 0
    seed: Seed = 0
''',
    "__main__.py": '''
"""Trains the model."""

from dataclasses import asdict

import torch

from ...models.shipped import weights_of
from ...training import Rows
from ..decoder import decoder
from ..shipping import START, pseudowords, ship
from ..training import fit
from .recipe import Recipe

WORDS = [START, *pseudowords(7)]
recipe = Recipe()
ring = 1 + torch.arange(12) % 7
rows = Rows.full(torch.cat([torch.zeros(1, dtype=torch.long), ring])[None].repeat(8, 1))
model = decoder(recipe, vocabulary=len(WORDS), context=32, seed=recipe.seed)
model, trained = fit(model, lambda step, generator: rows, recipe, batch=8, checkpoint_every=10, progress=False)
card = {"name": "ants", "recipe": asdict(recipe), "recipe_sha256": recipe.sha256()}
card = ship(model, WORDS, weights_of("ants") / "ants", card | {"rebuild": "python -m lens.organisms.ants"})
print(trained.status, card["parameters"])
''',
}


@pytest.fixture
def copied(tmp_path, monkeypatch) -> Path:
    """A folder of organisms with `induction` alone, in the place of those that ship."""
    shutil.copytree(shipped.folder_of("induction"), tmp_path / "induction" / "weights" / "induction")
    monkeypatch.setattr(shipped, "ORGANISMS", tmp_path)
    return tmp_path


def test_every_model_that_ships_has_its_name_in_its_card_and_is_of_one_kind():
    words, pictures = shipped.folders(shipped.WORDS), shipped.folders(shipped.PICTURES)
    assert words.keys() | pictures.keys() == shipped.folders().keys() and not words.keys() & pictures.keys()
    assert list(words) == lens.models.organisms() and {"palimpsest-tuned", "symbols-1"} <= words.keys()
    for name, folder in shipped.folders().items():
        card = json.loads((folder / shipped.CARD).read_text(encoding="utf-8"))
        assert card["name"] == name and folder.parts[-4:] == ("organisms", name.split("-")[0], "weights", name)


def test_each_model_has_a_command_that_trains_it_and_they_are_of_modules_that_are_there():
    lines = again.commands()
    assert len(lines) == len({tuple(line) for line in lines}) and again.commands(["palimpsest-tuned"]) == [
        ["python", "-m", "lens.organisms.palimpsest"]
    ]
    for line in lines:
        assert (ROOT / Path(*line[2].split(".")) / "__main__.py").is_file()
    trained = {name: again.commands([name])[0] for name in shipped.folders()}
    assert len(trained) == len(shipped.folders()) and all(line in lines for line in trained.values())


def test_a_folder_with_a_card_is_a_model_by_its_name(copied):
    """For loading, for what this machine has, and for training again."""
    assert shipped.organisms() == ["induction"]
    shutil.copytree(copied / "induction" / "weights" / "induction", copied / "ants" / "weights" / "ants")
    assert shipped.organisms() == ["ants", "induction"]
    assert lens.load("organism:ants", device="cpu").tokenizer("zz").input_ids == [0]
    assert "organism:ants" in doctor.models().index and doctor.doctor().usable["organism:ants"]
    shutil.rmtree(copied / "ants")
    with pytest.raises(LoadError, match="name='organism:ants': there is no such organism; there are: induction$"):
        lens.load("organism:ants")


def test_two_models_of_one_name_are_refused(copied):
    shutil.copytree(copied / "induction", copied / "moths")
    with pytest.raises(LoadError, match=r"'organism:induction' is two models, .*induction and .*moths.*; rename"):
        lens.load("organism:induction")


def test_a_card_runs_nothing_but_an_organism(copied, monkeypatch, capsys):
    card = copied / "induction" / "weights" / "induction" / shipped.CARD
    told = json.loads(card.read_text(encoding="utf-8"))
    ran = []
    monkeypatch.setattr(
        again.subprocess, "run", lambda command: ran.append(command) or subprocess.CompletedProcess([], 3)
    )
    assert again.main(["--list"]) == 0 and not ran and capsys.readouterr().out == f"{told['rebuild']}\n"
    assert again.main([]) == 3 and ran == [[sys.executable, *shlex.split(told["rebuild"])[1:]]]
    for line in ("rm -r x", "python -m venv x", "python -m lens.organisms", "", None):
        card.write_text(json.dumps(told | {"rebuild": line}), encoding="utf-8")
        with pytest.raises(OrganismError, match=r"^rebuild=.* is no command of an organism; expected 'python -m lens"):
            again.main([])
    with pytest.raises(LoadError, match="there is no such organism; there are: induction"):
        again.main(["moths"])


def test_to_find_what_ships_imports_neither_torch_nor_an_organism():
    script = (
        "import sys; from lens.models import organisms; found = organisms();"
        "print(len(found), 'torch' in sys.modules, any(name.startswith('lens.organisms') for name in sys.modules))"
    )
    shown = within(ROOT, sys.executable, "-c", script)
    assert shown.stdout.split() == [str(len(shipped.organisms())), "False", "False"], shown.stderr


@pytest.mark.long
def test_a_new_organism_is_one_folder_and_no_line_elsewhere(tmp_path):
    """In a copy of the package: its command trains it, its name loads it, and what trains all trains it too."""
    large = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.npz", "*.csv", "*.jsonl")
    shutil.copytree(ROOT / "lens", tmp_path / "lens", ignore=large)
    for name, text in ANTS.items():
        (tmp_path / "lens" / "organisms" / "ants").mkdir(exist_ok=True)
        (tmp_path / "lens" / "organisms" / "ants" / name).write_text(text.lstrip(), encoding="utf-8")
    trained = within(tmp_path, sys.executable, "-m", "lens.organisms.ants")
    assert trained.stdout.startswith("complete "), trained.stdout + trained.stderr
    script = (
        "import lens; from lens.organisms.__main__ import commands; model = lens.load('organism:ants', device='cpu');"
        "print(lens.models.organisms(), commands(['ants']), model.tokenizer.decode([3]))"
    )
    loaded = within(tmp_path, sys.executable, "-c", script)
    assert loaded.stdout.startswith("['ants'] [['python', '-m', 'lens.organisms.ants']] "), loaded.stderr


@pytest.mark.parametrize("name", ["archive", "canaries", "induction", "palimpsest", "symbols", "wired"])
def test_the_folder_of_an_organism_loads_as_its_first_model(name):
    folder = shipped.ORGANISMS / name
    links = {path.name: path for path in folder.iterdir() if path.is_symlink()}
    held = {path.name for path in (folder / "weights" / name).iterdir() if path.is_file()}
    assert set(links) == held and all(path.resolve().parent.name == name for path in links.values())
    loaded, by_name = lens.load(folder), lens.load(f"organism:{name}")
    assert lens.models.weight_hash(loaded) == lens.models.weight_hash(by_name)
