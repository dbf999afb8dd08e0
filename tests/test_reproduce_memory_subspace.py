"""The diffusion study: its frames against numbers worked out by hand, and a tiny run of the whole that is taken up,
read back and judged.
"""

import numpy as np
import pandas as pd
import pytest
import torch

from lens.organisms import cards
from lens.reproduce import cards_models, common
from lens.reproduce.memory_subspace import attacks as after
from lens.reproduce.memory_subspace import bench as memory_subspace_bench
from lens.reproduce.memory_subspace import places, steps, study
from lens.reproduce.memory_subspace import tables as frames
from lens.reproduce.memory_subspace.figures import FIGURES
from lens.reproduce.memory_subspace.methods import METHODS
from lens.results.errors import ResultError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("memory-subspace")


@pytest.fixture(scope="module")
def made(folder):
    return study.run(preset="tiny", out=folder, progress=False)


def curves(
    method="m", seeds=(0, 1), doses=(0.0, 0.1, 0.3), rises=(0.0, 0.02, 0.1), own=(1.0, 0.8, 0.0), others=(1.0, 1.0, 0.5)
):
    lines = []
    for seed in seeds:
        for dose, rise, a, b in zip(doses, rises, own, others):
            for of, value in ((1, a), (2, b)):
                lines += [
                    {
                        "method": method,
                        "seed": seed,
                        "located": 1,
                        "dose": dose,
                        "set": of,
                        "caption": f"{of}{k}",
                        "copy": value,
                        "likeness": value,
                        "rise_chosen": rise,
                        "rise": rise,
                        "density": dose,
                    }
                    for k in range(3)
                ]
    return pd.DataFrame(lines)


def test_methods_are_read_at_one_cost():
    table = curves()
    own, others = frames.at_rise(table, True, 0.06), frames.at_rise(table, False, 0.06)
    assert own["copy"][0] == pytest.approx(0.8 - 0.8 * 0.5) and others["copy"][0] == pytest.approx(1.0 - 0.5 * 0.5)
    assert (
        own.reached[0]
        and not frames.at_rise(table, True, 0.2).reached[0]
        and frames.at_rise(table, True, 0.2)["copy"][0] == 0
    )
    # what costs less than nothing is not better than the unedited model at a cost of nothing
    assert frames.at_rise(curves(rises=(0.0, 0.5, 0.9)), True, 0.0)["copy"][0] == 1
    blind = frames.at_rise(curves("kfac"), True, 0.02)
    assert blind["copy"][0] == pytest.approx(0.9), "an edit that looks at no set is judged on all of them"


def test_the_dose_that_removes_copies():
    assert steps.removing(curves(own=(0.8, 0.3, 0.1))) == 0.3 and steps.removing(curves(own=(0.8, 0.2, 0.1))) == 0.1
    assert steps.removing(curves(own=(0.8, 0.5, 0.6))) == 0.1, "none is enough: the one that leaves least"
    assert steps.removing(curves(doses=(0.0,), rises=(0.0,), own=(1.0,), others=(1.0,))) is None


def alone(seeds=(0, 1)):
    """By place: copies left at (dose, cost on the half for choosing, cost on the half that is reported)."""
    left = {
        "down": {0.5: (0.9, 0.0, 0.0), 1.0: (0.8, 0.1, 0.1)},
        "mid": {0.5: (0.4, 0.02, 0.05), 1.0: (0.0, 0.04, 0.5)},
        "all": {0.5: (0.6, 0.05, 0.05)},
    }
    return pd.DataFrame(
        [
            {
                "method": "m",
                "place": place,
                "located": located,
                "dose": dose,
                "set": located,
                "caption": f"{k}",
                "copy": copy - 0.1 * seed,
                "likeness": copy,
                "rise_chosen": a,
                "rise": b,
                "density": dose,
                "seed": seed,
            }
            for seed in seeds
            for located in (0, 1)
            for place, doses in left.items()
            for dose, (copy, a, b) in ({0.0: (1.0, 0.0, 0.0)} | doses).items()
            for k in range(3)
        ]
    )


def test_a_place_is_chosen_on_one_set_and_half_and_reported_on_another():
    found = places.carried(alone(), 0.05).set_index(["place", "seed"])
    assert found.chosen_by["mid", 0] == pytest.approx(0.0), "on the choosing half the whole place is affordable"
    assert found["copy"]["mid", 0] == pytest.approx(0.4), "on the reported half it is not"
    assert found["copy"]["down", 1] == pytest.approx(0.8 - 0.1 * 0.5) and found["copy"]["all", 0] == pytest.approx(0.6)
    assert (
        found.whole["mid", 0] == pytest.approx(0.0)
        and found.whole_rise["mid", 0] == pytest.approx(0.5)
        and np.isnan(found.whole["all", 0])
    )
    assert found.index[found.chosen].tolist() == [("mid", 0), ("mid", 1)]
    assert (
        places.chosen(alone((0,))) == "mid"
        and places.chosen(alone((0,)).query("located == 1")) is None
        and places.chosen(pd.DataFrame()) is None
    )
    against, others = places.claims(places.carried(alone(), 0.05))
    read = places.compared(places.carried(alone(), 0.05), against[0])
    assert (read["one"] - read["every"]).to_numpy() == pytest.approx([0.4 - 0.6] * 2)
    assert (read["others"] - read["one"]).mean() == pytest.approx(0.85 - 0.4) and "chosen mid, mid" in others[4]
    assert (against[1], others[1]) == ("all", "others")
    nothing = alone().query("located == 1")
    assert not places.carried(nothing).chosen.any() and list(places.claims(places.carried(nothing))) == []


@pytest.mark.long
def test_a_place_cut_whole_is_its_weights_at_zero(monkeypatch):
    """Against a copy of the U-Net whose weights are set to 0 by name; nothing is copied of the tune set."""
    trio = cards_models.models(None, (0,))[0]
    bench = memory_subspace_bench.Bench(0, trio, 2, 2, 3)
    before, copied = bench.pipeline.hash, bench.copied
    monkeypatch.setattr(bench, "copied", lambda cell, of: copied(cell, of).take(np.arange(2 * (of > 0))))
    table = places.alone(bench, METHODS["attention"], 1, 1)
    assert bench.pipeline.hash == before
    whole = table[(table.dose == 1) & (table.place == "down_blocks.1.attentions.0") & (table.located == 1)]
    of = bench.copied("code-many", 1)
    unet = bench.pipeline.unet
    kept = {
        name: p.detach().clone()
        for name, p in unet.named_parameters()
        if name.startswith("down_blocks.1.") and ".attn2.to_" in name and name.endswith(("to_k.weight", "to_v.weight"))
    }
    assert len(kept) == 2
    with torch.no_grad():
        for name in kept:
            unet.get_parameter(name).zero_()
        images, rise = bench.pictures(of.captions), bench.rise(1)
        for name, value in kept.items():
            unet.get_parameter(name).copy_(value)
    assert (
        whole.caption.tolist() == list(of.captions)
        and whole["copy"].tolist() == bench.copies(images, of).tolist()
        and whole.rise.iloc[0] == rise
        and whole.density.iloc[0] == 1
    )
    assert set(table.place) == {*map(places.place_of, bench.pipeline.layers), places.EVERY}
    assert set(table[table.place == places.EVERY].dose) == {0.0, 0.04}
    bench.block = "down_blocks.1.attentions.0"  # the method that turns one block down, all the way: the same edit
    with steps.edit_at(bench, "block", (), 1.0, 1).applied(bench.pipeline.unet):
        assert torch.equal(bench.pictures(of.captions), images) and bench.rise(1) == rise
    assert bench.pipeline.hash == before
    bench.block = None
    assert steps.edit_at(bench, "block", (), 1.0, 1) is None


def test_hides_by_the_attack_that_brings_copies_back():
    lines = [
        {
            "method": "m",
            "seed": s,
            "attack": attack,
            "caption": f"{k}",
            "before": 1.0,
            "after": 0.0,
            "edited": value,
            "twin": 0.0,
        }
        for s in (0, 1)
        for k in range(10)
        for attack, value in (("new seeds", 0.0), ("embeddings", 1.0))
    ]
    table = pd.DataFrame(lines)
    found = frames.gone(table)["m"]
    assert (
        found.word == "hides in each of 2 models"
        and found.by == {"embeddings": 2}
        and found.recalled == (20, 0)
        and found.table.loc["embeddings", "recovered"] == 1
    )
    assert set(frames.verdicts(table)) == {("m", 0), ("m", 1)} and "by embeddings (2 of 2 models)" in str(found)
    nothing = frames.gone(
        table[table.attack == "new seeds"].assign(seed=0).assign(caption=[str(k) for k in range(20)])
    )["m"]
    assert nothing.word in ("erases", "undecided") and nothing.by == {}
    line = frames.recovered(table).set_index("attack").loc["embeddings"]
    assert (line.counts, line.models) == (2, 2)


def test_a_few_captions_in_one_model_hide_nothing_after_all_models_are_paid_for():
    """Six of six brought back in one model of three: p 1/64, which three models and two attacks do not bear; pooled
    over models it was called.
    """
    lines = [
        {
            "method": "m",
            "seed": s,
            "attack": attack,
            "caption": f"{k}",
            "before": 1.0,
            "after": 0.0,
            "edited": float(s == 0 and attack == "embeddings"),
            "twin": 0.0,
        }
        for s in (0, 1, 2)
        for k in range(6)
        for attack in ("new seeds", "embeddings")
    ]
    found = frames.gone(pd.DataFrame(lines))["m"]
    assert found.by == {} and found.word == "undecided in each of 3 models"


def test_comparisons_hold_captions_within_models():
    """Three models whose means agree by accident, captions that go both ways: Student's t over the models has no width,
    and its p is 0.
    """
    rng = np.random.default_rng(0)
    even = np.array([0.5, -0.4] * 10)
    found = frames.within_models({s: pd.Series(rng.permutation(even)) for s in range(3)})
    assert (
        found.tops.tolist() == pytest.approx([0.05] * 3)
        and float(found.p) > 0.3
        and found.interval.low < 0 < found.interval.high
    )
    table = pd.concat([curves("a", own=(1.0, 0.2, 0.0)), curves("b", own=(1.0, 0.9, 0.8))])
    gap = frames.gap(table, True, "a", "b", 0.02)
    assert gap.tops.tolist() == pytest.approx([0.7, 0.7]) and frames.by_caption(
        table[(table.method == "a") & (table.seed == 0) & (table.set == 1)], 0.06
    ).tolist() == pytest.approx([0.1] * 3)


def test_pictures_survive_their_bytes():
    image = torch.linspace(-1, 1, 3 * 16 * 16).view(3, 16, 16)
    assert abs(after.decoded(after.encoded(image)) / 127.5 - 1 - image.permute(1, 2, 0).numpy()).max() < 1 / 127.5
    assert np.array_equal(after.decoded(after.encoded(torch.full((3, 16, 16), 2.0))), np.full((16, 16, 3), 255))


def test_bench_trims_sets_and_keeps_pools():
    pairs = cards.Corpus(cards.Recipe.small()).pairs
    few = memory_subspace_bench._first_of_each_set(pairs, 2)
    assert len(few.of("code-many", 0)) == len(few.of("code-never", 1)) == 2 and len(few.of("pool")) == len(
        pairs.of("pool")
    )
    assert few.of("code-many", 0).captions == pairs.of("code-many", 0).captions[:2]


@pytest.mark.long
def test_a_tiny_run_answers_every_claim(made):
    assert len(made.table) >= 20 and list(made.table.columns) == common.COLUMNS
    assert not made.table.map(lambda v: "nan" in str(v).lower().split()).any().any()
    copying = made.tables["copying"].groupby("cell")["copy"].mean()
    assert copying["code-many"] > 0.5 and copying["code-once"] < 0.1 and copying["code-never"] < 0.1
    # of a tiny run's edit nothing may be left to bring back
    drawn = set(FIGURES) - ({"images"} if made.tables["images"].empty else set())
    assert {figure.stem for figure in made.figures} == drawn == set(study.figures(made)) and all(
        figure.stat().st_size > 5000 for figure in made.figures
    )


@pytest.mark.long
def test_it_is_taken_up_and_read_back(made, folder, monkeypatch):
    monkeypatch.setattr(memory_subspace_bench, "denoise", lambda *a, **k: pytest.fail("a finished part ran again"))
    monkeypatch.setattr(study.STUDY, "draw", lambda *a: [])
    again = study.run(preset="tiny", out=folder, progress=False)
    assert (
        again.fingerprint == made.fingerprint
        and again.table.equals(made.table)
        and study.load(folder).table.equals(made.table)
    )


@pytest.mark.long
def test_another_configuration_or_figure_is_refused(made, folder):
    with pytest.raises(ResultError, match="another configuration"):
        study.run(preset="quick", out=folder)
    with pytest.raises(ValueError, match="figure: 'none'"):
        study.figure(made, "none")


def test_what_cannot_be_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match="preset='all'"):
        study.run(preset="all")
    with pytest.raises(ValueError, match="limit=3"):
        study.run(limit=3)
    with pytest.raises(ResultError, match="holds no reproduction"):
        study.load(tmp_path)
    with pytest.raises(ValueError, match="cards-1 does not ship"):
        cards_models.models(None, (1,))
