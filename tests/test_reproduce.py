"""The reproduction of Memory Injections, end to end on a tiny model: resumed, stored, loaded again, drawn."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lens
from lens import figures, injection
from lens.injection.items import FOLDER
from lens.reproduce import REPRODUCTIONS, ReproduceError, common, reproduction
from lens.reproduce.memory_injections import published, steps, verdicts
from lens.reproduce.memory_injections import study as paper
from lens.reproduce.palimpsest import calibration as palimpsest_calibration
from tests.models import speaking
from tests.variants import few

PRESET = paper.Preset(
    {e: paper.Grid(("shuffled", "random_direction"), (1, 3)) for e in ("unembed", "activation")}, None, 2, 10
)
COLUMNS = ["explicit_sentence", "obscure_sentence", "explicit_entity", "obscure_entity", "answer"]


@pytest.fixture(scope="module")
def model():
    """A tiny model whose tokenizer takes a full stop off the end of a word, as `score` puts one after the memory."""
    from tokenizers import normalizers

    made = speaking("llama")
    made.tokenizer.backend_tokenizer.normalizer = normalizers.Replace(".", "")
    return made


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("items")
    rows = [
        [f"w{10 + i} w5", f"w{30 + i} w{50 + i} w5", f"w{10 + i}", f"w{30 + i} w{50 + i}", f"w{70 + i} w{80 - i}"]
        for i in range(8)
    ]
    pd.DataFrame(rows, columns=COLUMNS).to_csv(folder / "items.csv", index=False)
    return folder / "items.csv"


@pytest.fixture(scope="module")
def known_words():
    """Everyday text, the memory's full stop and the factual prompts in the words that the tiny model knows."""
    pair = lens.Pair("w1 w2", corrupted="w3 w2", answer=" w4", foil=" w5")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "TEXTS", ("w1 w2 w3 w4", "w5 w6 w7"))
        patch.setattr(steps, "load_pairs", lambda *a, **k: [pair] * 2)
        yield


@pytest.fixture(scope="module")
def stored(model, data, known_words, tmp_path_factory):
    """A run, and where it is stored."""
    out = tmp_path_factory.mktemp("memory-injections") / "out"
    return paper.run(model, data=data, preset=PRESET, out=out, progress=False), out


def test_a_run_is_stored_resumed_and_loaded_with_the_same_table(model, data, stored, monkeypatch):
    made, out = stored
    assert list(made.table.columns) == common.COLUMNS and len(made.table) == 9 and made.table.notna().all().all()
    assert all(f.stat().st_size > 5000 for f in made.figures) and {f.name for f in (out / "figures").glob("*.png")} >= {
        "unembed_mean.png",
        "activation_trimmed_percent.png",
        "unembed_dose.png",
        "unembed_items.png",
    }
    monkeypatch.setattr(paper.STUDY, "draw", lambda *a: [])
    again = paper.run(model, data=data, preset=PRESET, out=out, progress=False)
    assert again.fingerprint == made.fingerprint and again.numbers == made.numbers
    loaded = paper.load(out, model=model)
    assert loaded.fingerprint == made.fingerprint and loaded.table.equals(made.table)
    assert np.allclose(loaded.summaries["activation"]["mean"], made.summaries["activation"]["mean"], atol=1e-6)
    record = json.loads((out / "reproduction.json").read_text())
    assert record["config"]["preset"]["encoders"]["unembed"]["strengths"] == [1, 3] and record["model"]["hash"]


def test_that_single_hop_prompts_are_answered_better_is_not_judged_on_items_chosen_for_it(stored):
    made, _ = stored
    given = (made.prompts, made.grids, made.summaries, made.chosen, made.damage)
    assert verdicts.verdicts(*given, by_outcome=True)[0].verdict[0].startswith("not judged") and not verdicts.verdicts(
        *given
    )[0].verdict[0].startswith("not judged")
    assert set(made.chosen.against[made.chosen.encoder == "activation"].dropna()) == {
        "shuffled",
        "random_direction",
        steps.RIVAL,
    }


def test_every_table_says_what_its_rows_were_corrected_for():
    table = common.table_of(
        [
            ("a", "", "", 1, "holds"),
            ("b", "", "", 1, "holds", "Holm over 2"),
            ("c", "", "", 1, "holds", "Holm over 2"),
            ("d", "", "", 1, "descriptive"),
        ]
    )
    assert table.multiplicity.tolist() == [common.ALONE, "Holm over 2", "Holm over 2", common.NOT_JUDGED]
    assert common.multiplicity(table).startswith(
        "Multiplicity: 3 of 4 rows are judged. Corrected together: Holm over 2 (2 rows). Judged alone, each at 5 %: 1 "
    )


@pytest.mark.long
def test_somebody_elses_texts_are_not_stored(stored):
    made, out = stored
    for file in ("effects_unembed.nc", "prompts.nc", "damage.nc"):
        kept = lens.open(out / file)
        assert (
            "w30 w50" not in str(kept.attrs)
            and "answer" not in kept.coords
            and str(kept["memory"].values[0]).startswith("memory ")
        )
        assert len(lens.record(kept)["call"]["items_sha256"]) == 64
    assert (
        len(set(made.grids["unembed"]["memory"].values))
        == len(set(lens.open(out / "effects_unembed.nc")["memory"].values))
        == 8
    )


def test_another_configuration_or_model_is_refused(model, data, stored, tmp_path):
    _, out = stored
    with pytest.raises(lens.ResultError, match="seed"):
        paper.run(model, data=data, preset=PRESET, out=out, seed=1, progress=False)
    with pytest.raises(injection.InjectionError, match="other weights"):
        paper.load(out, model=speaking("llama", seed=5))
    with pytest.raises(injection.InjectionError, match="no reproduction"):
        paper.load(tmp_path)


def test_published_cells_are_a_summary_that_the_same_figure_draws(tmp_path):
    rows = [
        (
            "curated",
            "hand",
            "gpt2-small",
            hook,
            tau,
            layer,
            106,
            10.0 * tau,
            5.0 * tau - layer,
            50.0 if tau == 2 else -50.0,
            -1.0,
            0.4,
        )
        for hook in ("unembed", "layer")
        for tau in (1, 2)
        for layer in (0, 1)
    ]
    names = [
        "kind",
        "ds",
        "model",
        "hook",
        "tau",
        "layer0",
        "n",
        "mean_pct",
        "mean_pct_2sd",
        "geomean_pct",
        "median_pct",
        "frac_up",
    ]
    pd.DataFrame(rows, columns=names).to_csv(tmp_path / "cells.csv", index=False)
    ds = published.published_cells(path=tmp_path / "cells.csv")
    at = ds.sel(condition="unembed", strength=2, layer=1)
    assert at.trimmed_percent == 9 and at["mean"] == pytest.approx(np.log(1.5)) and ds.attrs["n"] == 106
    figures.injection_map(ds, tmp_path / "cells.png", variable="trimmed_percent")
    assert (tmp_path / "cells.png").stat().st_size > 5000
    with pytest.raises(injection.InjectionError, match="gpt3.*curated/hand/gpt2-small"):
        published.published_cells(model="gpt3", path=tmp_path / "cells.csv")
    with pytest.raises(injection.InjectionError, match="no nothing.csv"):
        published.published_cells(path=tmp_path / "nothing.csv")


def test_the_published_numbers_that_the_table_quotes(monkeypatch):
    """The paper's figures in the table, from the authors' own result files, where these are at hand."""
    file = Path(os.environ.get(FOLDER, "nowhere")) / published.CELLS
    if not file.is_file():  # anything else that goes wrong with it is a failure
        pytest.skip(f"the authors' result files are not here: {FOLDER} names no folder with {published.CELLS}")
    cells = published.published_cells(data="2wmh").sel(condition="unembed")
    by_encoder = published.published_cells(data="hand")
    assert round(float(by_encoder.geometric.sel(condition="layer_encoding", layer=9, strength=3))) == 52
    hand = by_encoder.sel(condition="unembed")
    at = cells.sel(layer=5, strength=5)
    assert (
        round(float(at.trimmed_percent)) == 424
        and round(float(at.median_percent)) == -24
        and round(float(at.geometric)) == -42
        and round(float(at["mean"]), 2) == -0.54
    )
    assert (
        round(float(hand.trimmed_percent.sel(layer=6, strength=3))) == 45
        and round(float(hand.geometric.sel(layer=6, strength=2))) == 28
    )


def test_an_unknown_name_or_preset_is_named(capsys):
    with pytest.raises(ValueError, match="memory-injections"):
        reproduction("nothing")
    assert (
        lens.cli.main(["reproduce", "memory-injections", "--preset", "huge"]) == 2
        and "quick" in capsys.readouterr().err
    )


@pytest.mark.long
@pytest.mark.parametrize("of", few(["own", "hand"], ["own"]))
def test_the_shipped_results_are_whole_and_hold_no_text_of_others(of, smollm2):
    folder = Path(__file__).parent.parent / "notebooks" / "results" / "memory_injections" / of
    made, record = paper.load(folder, model=smollm2), json.loads((folder / "reproduction.json").read_text())
    assert record["config"]["data"] == of and set(made.grids) == set(record["config"]["grids"])
    assert all(not np.isnan(g.logprob).any() for g in made.grids.values()) and len(made.table) == 7 + len(made.grids)
    for name in ("gap", "unembed_mean_held_out", "headline_trimmed_percent"):
        assert made.numbers[name] == pytest.approx(record["numbers"][name], abs=1e-5), (
            "the stored numbers follow from the stored effects"
        )
    if of == "hand":
        assert not any(
            word in str(g.attrs) + str(g.coords) for g in made.grids.values() for word in ("Washington", "president")
        )


@pytest.mark.parametrize("name", REPRODUCTIONS)
@pytest.mark.parametrize(
    "wrong, said",
    [
        (dict(preset="all"), "^preset='all' does not fit; expected one of '"),
        (dict(preset=3), "^preset=3 does not fit"),
        (dict(seed=-1), "^seed=-1 does not fit; expected a whole number of at least 0"),
        (dict(limit=0), "^limit=0 does not fit; expected a whole number of at least 1"),
        (dict(out=3), "^out=3 does not fit; expected the path of a file or folder"),
        (dict(say=3), "^say=3 does not fit; expected a function of 1 argument"),
        (dict(data=""), "^data='' does not fit"),
    ],
)
def test_a_run_refuses_what_does_not_fit_before_any_work(name, wrong, said):
    with pytest.raises(lens.Error, match=said) as refused:
        reproduction(name).run(speaking(), **wrong)
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_run_that_is_loaded_is_named_by_a_path(name):
    for wrong in (None, 3, "", "a\0b"):
        with pytest.raises(lens.Error, match="^folder=.*expected the path of a file or folder"):
            reproduction(name).load(wrong)


def test_names_of_reproductions_and_their_presets_are_refused_by_name():
    for wrong in (None, 3, ""):
        with pytest.raises(ReproduceError, match="^name=.*expected text"):
            reproduction(wrong)
    with pytest.raises(ReproduceError, match="^preset='all' does not fit; expected one of 'full', 'quick', 'tiny'"):
        palimpsest_calibration.calibrate("all")
    with pytest.raises(ReproduceError, match="^seed=0.5"):
        palimpsest_calibration.calibrate(seed=0.5)
