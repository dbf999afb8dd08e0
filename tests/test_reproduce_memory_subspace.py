"""The diffusion study: its frames against numbers worked out by hand, and a tiny run of the whole that is taken up, read back and judged."""

import numpy as np
import pandas as pd
import pytest
import torch

from lens.engine.results import ResultError
from lens.organisms import cards
from lens.reproduce import cards_models, memory_subspace as study, memory_subspace_attacks as after, memory_subspace_bench, memory_subspace_frames as frames, memory_subspace_steps as steps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("memory-subspace")


@pytest.fixture(scope="module")
def made(folder):
    return study.run(preset="tiny", out=folder, progress=False)


def curves(method="m", seeds=(0, 1), doses=(0.0, 0.1, 0.3), rises=(0.0, 0.02, 0.1), own=(1.0, 0.8, 0.0), others=(1.0, 1.0, 0.5)):
    lines = []
    for seed in seeds:
        for dose, rise, a, b in zip(doses, rises, own, others):
            for of, value in ((1, a), (2, b)):
                lines += [{"method": method, "seed": seed, "located": 1, "dose": dose, "set": of, "caption": f"{of}{k}", "copy": value, "likeness": value, "rise_chosen": rise, "rise": rise,
                           "density": dose} for k in range(3)]  # fmt: skip
    return pd.DataFrame(lines)


def test_methods_are_read_at_one_cost():
    table = curves()
    own, others = frames.at_rise(table, True, 0.06), frames.at_rise(table, False, 0.06)
    assert own["copy"][0] == pytest.approx(0.8 - 0.8 * 0.5) and others["copy"][0] == pytest.approx(1.0 - 0.5 * 0.5)
    assert own.reached[0] and not frames.at_rise(table, True, 0.2).reached[0] and frames.at_rise(table, True, 0.2)["copy"][0] == 0
    # what costs less than nothing is not better than the unedited model at a cost of nothing
    assert frames.at_rise(curves(rises=(0.0, 0.5, 0.9)), True, 0.0)["copy"][0] == 1
    blind = frames.at_rise(curves("kfac"), True, 0.02)
    assert blind["copy"][0] == pytest.approx(0.9), "an edit that looks at no set is judged on all of them"


def test_the_dose_that_removes_copies():
    assert steps.removing(curves(own=(0.8, 0.3, 0.1))) == 0.3 and steps.removing(curves(own=(0.8, 0.2, 0.1))) == 0.1
    assert steps.removing(curves(own=(0.8, 0.5, 0.6))) == 0.1, "none is enough: the one that leaves least"
    assert steps.removing(curves(doses=(0.0,), rises=(0.0,), own=(1.0,), others=(1.0,))) is None


def test_hides_by_the_attack_that_brings_copies_back():
    lines = [{"method": "m", "seed": s, "attack": attack, "caption": f"{k}", "before": 1.0, "after": 0.0, "edited": value, "twin": 0.0}
             for s in (0, 1) for k in range(10) for attack, value in (("new seeds", 0.0), ("embeddings", 1.0))]  # fmt: skip
    table = pd.DataFrame(lines)
    assert frames.joint(table)["m"].word == "hides" and frames.joint(table)["m"].by == ("embeddings",) and frames.joint(table)["m"].recited == (20, 0)
    assert set(frames.verdicts(table)) == {("m", 0), ("m", 1)}
    gone = frames.joint(table[table.attack == "new seeds"].assign(seed=0).assign(caption=[str(k) for k in range(20)]))["m"]
    assert gone.word in ("erases", "undecided") and gone.by == ()


def test_pictures_survive_their_bytes():
    image = torch.linspace(-1, 1, 3 * 16 * 16).view(3, 16, 16)
    assert abs(after.decoded(after.encoded(image)) / 127.5 - 1 - image.permute(1, 2, 0).numpy()).max() < 1 / 127.5
    assert np.array_equal(after.decoded(after.encoded(torch.full((3, 16, 16), 2.0))), np.full((16, 16, 3), 255))


def test_bench_trims_sets_and_keeps_pools():
    pairs = cards.Corpus(cards.Recipe.small()).pairs
    few = memory_subspace_bench._first_of_each_set(pairs, 2)
    assert len(few.of("code-many", 0)) == len(few.of("code-never", 1)) == 2 and len(few.of("pool")) == len(pairs.of("pool"))
    assert few.of("code-many", 0).captions == pairs.of("code-many", 0).captions[:2]


def test_a_tiny_run_answers_every_claim(made):
    assert len(made.table) >= 20 and set(made.table.columns) == {"claim", "paper", "here", "n", "verdict"}
    assert not made.table.map(lambda v: "nan" in str(v).lower().split()).any().any()
    copying = made.tables["copying"].groupby("cell")["copy"].mean()
    assert copying["code-many"] > 0.5 and copying["code-once"] < 0.1 and copying["code-never"] < 0.1
    assert {figure.stem for figure in made.figures} == set(study.FIGURES) and all(figure.stat().st_size > 5000 for figure in made.figures)


def test_it_is_taken_up_and_read_back(made, folder, monkeypatch):
    monkeypatch.setattr(memory_subspace_bench, "denoise", lambda *a, **k: pytest.fail("a finished part ran again"))
    monkeypatch.setattr(study, "draw", lambda *a: [])
    again = study.run(preset="tiny", out=folder, progress=False)
    assert again.fingerprint == made.fingerprint and again.table.equals(made.table) and study.load(folder).table.equals(made.table)


def test_what_cannot_be_run_is_refused(made, folder, tmp_path):
    with pytest.raises(ResultError, match="another configuration"):
        study.run(preset="quick", out=folder)
    with pytest.raises(ValueError, match="preset='all'"):
        study.run(preset="all")
    with pytest.raises(ValueError, match="limit=3"):
        study.run(limit=3)
    with pytest.raises(ResultError, match="holds no reproduction"):
        study.load(tmp_path)
    with pytest.raises(ValueError, match="cards-1 does not ship"):
        cards_models.models(None, (1,))
    with pytest.raises(ValueError, match="figure: 'none'"):
        study.figure(made, "none")
