"""The study of edges and circuits: run small on a random model, read back, and its estimates against plain sums."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

import lens
from lens.circuits import CircuitError
from lens.prompts import encode
from lens.reproduce import common
from lens.reproduce.circuits import bench, tables, verdicts
from lens.reproduce.circuits.claims import CLAIMS
from lens.reproduce.circuits.study import PRESETS, STUDY
from lens.reproduce.records import RECORD
from lens.stats import Interval


@pytest.fixture(scope="module")
def model():
    """Random, with the tokenizer of the pairs."""
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4)
    torch.manual_seed(0)
    config = LlamaConfig(
        **sizes, vocab_size=49152, num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.3
    )
    hf = LlamaForCausalLM(config).eval()
    hf.tokenizer = lens.load("smollm2").tokenizer
    return hf


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("circuits")
    return STUDY.run(model, preset="tiny", out=folder, progress=False), folder


def test_a_run_judges_its_claims_and_is_read_back(run, model):
    made, folder = run
    keys = {row[0] for row in made.table.attrs["claims"]}
    # one method by activations, and GIM, are not of the smallest preset
    assert keys == set(CLAIMS) - {"activations", "gim"}
    again = STUDY.load(folder)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert json.loads((folder / RECORD).read_text())["preset"] == "tiny"
    assert {path.stem for path in made.figures} == {"circuits", "agreement", "controls"}
    before = {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}
    assert len(before) == len(PRESETS["tiny"].methods) + 4
    taken_up = STUDY.run(model, preset="tiny", out=folder, progress=False)
    assert taken_up.table.equals(made.table)
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("*.nc")}


def test_the_exact_effects_are_those_of_the_edges_that_are_named(run, model):
    ds = run[0].parts["indirect objects"]
    names = [str(name) for name in ds.edge.values]
    pairs = bench.found_on(model, PRESETS["tiny"].pairs)
    exact = lens.edges(model, pairs, method="exact", edges=names[:2], progress=False)
    wanted = np.stack([exact.effect.values[(slice(None), *exact.graph.edge(name))] for name in names[:2]], 1)
    got = ds.effect.sel({"method": "exact"}).transpose("prompt", "edge").values[:, :2]
    np.testing.assert_allclose(got, wanted, atol=1e-5)
    assert len(set(names)) == len(names)


def test_pairs_are_of_scenes_and_none_is_alone_with_its_length(model):
    for count in (5, 12):
        chosen, judged = bench.found_on(model, count), bench.held_out(count)
        lengths = [len(encode(model, pair).clean_ids) for pair in chosen]
        assert len(lengths) == count and min(lengths.count(n) for n in lengths) > 1
        found, held = ({(p.clean, p.answer) for p in pairs} for pairs in (chosen, judged))
        assert len(found) == len(held) == count and not found & held
        names = [frozenset((p.answer, p.foil)) for p in chosen]
        assert not {frozenset((p.answer, p.foil)) for p in judged} & set(names)


def test_auroc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    scores, members = rng.integers(0, 6, 40).astype(float), rng.random(40) < 0.3
    pairs = itertools.product(scores[members], scores[~members])
    wanted = np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs])
    assert tables.auroc(scores, members) == pytest.approx(wanted)


def test_areas_are_compared_over_the_same_pairs():
    """The difference of two areas, each by trapezoids over the ratio of means."""
    rng, sizes, n = np.random.default_rng(1), [0.1, 0.4, 1.0], 8
    full, empty = rng.normal(4, 0.1, n), rng.normal(0, 0.1, n)

    def curve():
        value = xr.DataArray(rng.normal(2, 1, (1, 3, n)), dims=("ranking", "circuit", "prompt"))
        ds = xr.Dataset({"value": value, "full": ("prompt", full), "empty": ("prompt", empty)})
        return ds.assign_coords(ranking=["signed"], circuit=sizes)

    first, other = curve(), curve()
    ratios = [((ds.value.values[0] - empty).mean(1)) / (full - empty).mean() for ds in (first, other)]
    wanted = np.trapezoid(ratios[0], sizes) - np.trapezoid(ratios[1], sizes)
    found = tables.more_area(first, other)
    assert found.estimate == pytest.approx(wanted) and found.low < wanted < found.high


def test_edges_that_are_known_are_told_apart_by_threes(run):
    ds = run[0].parts["wired"]
    assert int((ds.truth == 1).sum()) == 7 and int(np.isnan(ds.truth).sum()) == 4
    table = tables.known(run[0].parts).set_index("method")
    labels = ds.truth.values
    there = np.isfinite(labels)
    effects = ds.effect.sel({"method": "EAP"}).transpose("prompt", "edge").values[:3]
    own = tables.auroc(np.abs(effects.mean(0))[there], labels[there] == 1)
    assert table["values"]["EAP"][0] == pytest.approx(own) and table.n["EAP"] == 5


@pytest.mark.parametrize(
    ("bounds", "null", "more", "word"),
    [
        ((0.2, 0.5), 0.0, True, "holds"),
        ((-0.5, -0.2), 0.0, True, "does not hold"),
        ((-0.5, 0.2), 0.0, True, "not shown: the interval holds 0"),
        ((0.2, 0.5), 1.0, False, "holds"),
        ((np.nan, np.nan), 0.0, True, "not shown: none"),
    ],
)
def test_words_follow_intervals(bounds, null, more, word):
    interval = Interval(np.mean(bounds), *bounds, 0.95, 9, "none")
    assert common.clear_of(interval, null, more=more) == word


@pytest.mark.parametrize(
    ("bounds", "word"),
    [((-0.1, 0.2), "holds"), ((0.3, 0.5), "does not hold"), ((-0.1, 0.4), "not shown: the interval reaches beyond")],
)
def test_no_difference_is_an_interval_within_bounds(bounds, word):
    interval = Interval(np.mean(bounds), *bounds, 0.95, 9, "some")
    assert verdicts._alike(interval, "activations").startswith(word)


def test_a_run_of_no_model_is_refused(tmp_path):
    with pytest.raises(CircuitError, match="model is missing: circuits asks a given model"):
        STUDY.run(preset="tiny")
    with pytest.raises(CircuitError):
        STUDY.load(tmp_path)


def test_a_figure_is_drawn_of_a_table_alone(run, tmp_path):
    made = run[0]
    STUDY.figure(made, "circuits", tmp_path / "circuits.png")
    assert (tmp_path / "circuits.png").stat().st_size > 1000
    assert isinstance(made.tables["curves"], pd.DataFrame) and {"random", "complement"} <= set(made.tables["curves"])
