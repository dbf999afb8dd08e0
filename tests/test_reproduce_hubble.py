"""The study of Hubble at its tiny size, on a stand-in in Hubble's layout that its own loader reads."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens.provenance import from_hubble
from lens.provenance.hubble import inserted
from lens.reproduce import ReproduceError, reproduction
from lens.reproduce.hubble import standin, tables, traps, verdicts
from lens.reproduce.hubble.standin import WIDTH, Plan, Training

STUDY = reproduction("hubble")
TINY = STUDY.presets["tiny"]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study") / "run"
    return STUDY.run(preset="tiny", out=folder), folder


def test_a_run_judges_every_claim_and_is_read_back(run):
    made, folder = run
    assert {row[0] for row in made.table.attrs["claims"]} == set(STUDY.claims)
    words = dict(zip([row[0] for row in made.table.attrs["claims"]], made.table.verdict))
    assert all(words[key].startswith("not tested") for key in verdicts.REAL)
    assert len(made.parts) == 18 + 12 and made.numbers["trainings"] == 30
    assert STUDY.load(folder).table.equals(made.table)
    assert {path.name for path in made.figures} == {"by_count.png", "by_window.png", "traps.png", "acquisition.png"}


def test_losses_of_traps_are_those_of_plain_forwards_of_every_seeds_traps(run):
    made, _ = run
    plan, seed = TINY, 1
    with tempfile.TemporaryDirectory() as place:
        standin.write(Path(place), plan, traps.STANDARD, seed)
        model = standin.trained(Path(place), plan, traps.STANDARD, seed)
    want = []
    for trap in traps.traps(plan, 0):
        ids = torch.tensor([trap["tokens"]])
        want.append(torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:]).item())
    np.testing.assert_allclose(made.parts["standard", seed].trap_nll[0], want, rtol=1e-4)


def test_traps_of_a_length_differ_in_their_count_alone_and_are_put_in_so_often(tmp_path):
    made = traps.traps(TINY, 0)
    assert [len(trap["tokens"]) for trap in made] == [5] * 7 + [9] * 7
    for length in TINY.traps:
        assert sorted(trap["duplicates"] for trap in made if trap["length"] == length) == [0, 0, 0, 1, 1, 4, 4]
    standin.write(tmp_path, TINY, traps.TRAPPED, 0, made)
    put = inserted(tmp_path / "insertions.jsonl")
    ids = standin.rows(tmp_path, TINY, traps.TRAPPED).tolist()
    times = [tuple(item.tolist()) for item in put.tokens]
    for trap in made:
        assert times.count(tuple(trap["tokens"])) == trap["duplicates"]
    for place, item in zip(put.places.tolist(), put.tokens):
        assert any(ids[place][i : i + len(item)] == item.tolist() for i in range(WIDTH))


def trapped(own=lambda length, count: 0.05 * length * np.log2(count + 1), other=0.0):
    """Losses of traps whose members lose less by their length and count, over two kinds of spread between traps."""
    rng, lines = np.random.default_rng(0), []
    for seed in range(3):
        for length in (10, 40):
            for count in (0,) * 20 + (1,) * 20 + (16,) * 10:
                base = 4 + rng.normal(0, 1)
                noise = rng.normal(0, 0.5, 2)
                lines.append(dict(seed=seed, length=length, duplicates=count, twin=base))
                lines[-1] |= dict(own=base - own(length, count) + noise[0], other=base + other * noise[1])
    return pd.DataFrame(lines)


def judged_traps(losses, **plan):
    made = planted() | {"areas": traps.areas(losses)}
    table, numbers = verdicts.verdicts(made, Plan(traps=(10, 40), **plan))
    return [(key, word) for (key, *_), word in zip(table.attrs["claims"], table.verdict) if key[:4] == "trap"], numbers


def test_traps_with_a_planted_memory_are_judged_by_the_gates():
    words, numbers = judged_traps(trapped())
    assert [key for key, _ in words] == ["trap_count", "trap_length", "trap_reference", "trap_reference", "trap_once"]
    assert {word for _, word in words} == {"holds"}
    # areas by counting pairs
    losses = trapped()
    of = losses[(losses.seed == 1) & (losses.length == 40)]
    inside, outside = ((of.twin - of.own)[of.duplicates == count].to_numpy() for count in (1, 0))
    want = (inside[:, None] > outside).mean()
    got = traps.areas(losses).set_index(["seed", "length", "duplicates", "reference"]).auc
    assert got[1, 40, 1, traps.TWIN] == pytest.approx(want)
    assert numbers["trap_once"] == pytest.approx(got.xs((1, traps.TWIN), level=(2, 3)).mean())


def test_no_area_has_bounds_beyond_0_and_1():
    lines = pd.DataFrame(
        {"reference": "twin", "length": 10, "duplicates": 1, "seed": [0, 1, 2], "auc": [0.1, 0.9, 0.2]}
    )
    (row,) = traps.by_cell(lines).itertuples()
    assert (row.low, row.high) == (0.0, 1.0) and row.auc == pytest.approx(0.4)


def test_traps_that_are_not_remembered_tell_nothing():
    words, numbers = judged_traps(trapped(own=lambda length, count: 0.0))
    assert not any(word == "holds" for _, word in words)
    assert numbers["trap_once"] == pytest.approx(0.5, abs=0.15)


def test_one_seed_has_no_other_seed_and_one_length_or_count_is_not_tested():
    one = trapped().query("seed == 0").assign(other=np.nan)
    words, _ = judged_traps(one, seeds=(0,))
    assert all(word.startswith("not shown") for _, word in words)
    words, _ = judged_traps(trapped(), trap_counts=(0, 4), trap_items=(3, 3))
    assert all(word.startswith("not tested") for _, word in words) and len(words) == 5


def test_a_model_is_trained_on_what_the_loader_reads_with_its_items_in_place(tmp_path):
    one = Training("50-75 %", 1, (0.5, 0.75))
    standin.write(tmp_path, TINY, one, 0)
    ids = standin.rows(tmp_path, TINY, one).numpy()
    plain = np.asarray(from_hubble(tmp_path / "order", tmp_path / "corpus", None, length=WIDTH).tokens)
    put = inserted(tmp_path / "insertions.jsonl")
    assert ids.shape == plain.shape == (12 * 16, WIDTH)
    assert len(put.places) == 3 + 4 * 2 and set(np.flatnonzero((ids != plain).any(1))) == set(put.places)
    assert put.places.min() >= 96 and put.places.max() < 144
    for place, item in zip(put.places, put.tokens):
        row = ids[place].tolist()
        assert any(row[i : i + len(item)] == item.tolist() for i in range(len(row)))


def test_trainings_of_a_seed_put_in_the_same_items_and_differ_in_their_places_alone(tmp_path):
    for i, one in enumerate(TINY.trainings[:3]):
        standin.write(tmp_path / str(i), TINY, one, 1)
    read = [(tmp_path / str(i) / "items.jsonl").read_text() for i in range(3)]
    assert len(set(read)) == 1
    assert (tmp_path / "0" / "corpus.bin").read_bytes() == (tmp_path / "1" / "corpus.bin").read_bytes()
    assert (tmp_path / "2" / "corpus.bin").stat().st_size > 1.9 * (tmp_path / "1" / "corpus.bin").stat().st_size
    assert not (tmp_path / "0" / "insertions.jsonl").exists()


def test_more_insertions_than_sequences_are_refused(tmp_path):
    many = Plan(steps=4, counts=(0, 16), items=(2, 8), seeds=(0,))
    with pytest.raises(ReproduceError, match="128 insertions and 64 sequences"):
        standin.write(tmp_path, many, Training("perturbed"), 0)


def planted(window=lambda i: 0.1 * i, longer=0.3):
    """Gains by training: those of windows by their number, of the longer corpus a share of the base one's."""
    lines = []
    for one in TINY.trainings:
        if one.window is None:
            continue
        level = 0.5 if one.corpus == 1 else longer
        if one.window != (0.0, 1.0):
            level = window(one.window[0] * 4)
        for seed in range(3):
            for item, count in enumerate((0, 0, 1, 4)):
                gain = level * (1 + 0.02 * seed) * (count > 0) + 0.001 * (seed - 1)
                lines.append(dict(training=one.name, corpus=one.corpus, seed=seed, item=item, duplicates=count))
                lines[-1] |= dict(nll=4.0 - gain, gain=gain, strict=0.0)
    gains = pd.DataFrame(lines)
    return {"gains": gains, "counts": tables.by_count(gains)}


def judged(made):
    table, numbers = verdicts.verdicts(made, Plan(seeds=(0, 1, 2)))
    return dict(zip([row[0] for row in table.attrs["claims"]], table.verdict)), numbers


def test_planted_gains_are_judged_by_the_gates():
    words, numbers = judged(planted())
    assert words["dilution"] == words["windows"] == words["never"] == "holds"
    assert words["first"] == "holds" or words["first"].startswith("not shown")
    assert numbers["dilution"] == pytest.approx(0.204) and numbers["windows"] == pytest.approx(0.102)
    words, _ = judged(planted(window=lambda i: 0.4 - 0.1 * i, longer=0.7))
    assert words["dilution"].startswith("does not hold") and words["windows"].startswith("does not hold")


def test_what_items_gain_that_were_never_put_in_is_taken_off():
    made = planted()["gains"]
    more = made.assign(gain=made.gain + 0.5 * made.training.eq("perturbed"))
    _, before = judged({"gains": made, "counts": tables.by_count(made)})
    _, after = judged({"gains": more, "counts": tables.by_count(more)})
    assert after["dilution"] == pytest.approx(before["dilution"])
    assert after["never"] == pytest.approx(before["never"] + 0.5)


def test_the_area_is_that_of_ranks():
    made = planted()["counts"].set_index(["training", "duplicates"])
    assert made.loc[("perturbed", 4), "auc"] == 1.0 and np.isnan(made.loc[("perturbed", 0), "auc"])
    assert made.loc[("perturbed", 4), "gain"] == pytest.approx(0.51)


def test_a_preset_that_is_none_is_refused():
    with pytest.raises(lens.Error, match="preset"):
        STUDY.run(preset="huge")
