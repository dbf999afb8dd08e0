"""The study of Hubble at its tiny size, on a stand-in in Hubble's layout that its own loader reads."""

import numpy as np
import pandas as pd
import pytest

import lens
from lens.provenance import from_hubble
from lens.provenance.hubble import inserted
from lens.reproduce import ReproduceError, reproduction
from lens.reproduce.hubble import standin, tables, verdicts
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
    assert len(made.parts) == 16 and made.numbers["trainings"] == 16
    assert STUDY.load(folder).table.equals(made.table)


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
