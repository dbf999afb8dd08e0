"""The study of commitment: run small on the shipped organism, read back, and its estimates against plain sums."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
import torch

import lens
from lens.organisms import senses
from lens.reproduce import ReproduceError, reproduction
from lens.reproduce.commitment import bench, model_verdicts, rules, steps, tables, verdicts
from lens.reproduce.commitment.claims import CLAIMS
from lens.reproduce.commitment.sentences import ITEMS, Sentence, sentences
from lens.reproduce.records import RECORD
from lens.stats import Interval
from tests.models import speaking, tiny

STUDY = reproduction("commitment")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("commitment")
    return STUDY.run(preset="tiny", out=folder, progress=False), folder


def test_a_run_judges_its_claims_and_is_read_back(run):
    made, folder = run
    keys = {row[0] for row in made.table.attrs["claims"]}
    assert keys == set(CLAIMS) - {"probe"}  # the smallest preset fits no probe
    assert set(made.tables["items"].moment) == set(senses.MOMENTS) and len(made.tables["items"]) == 48
    again = STUDY.load(folder)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert json.loads((folder / RECORD).read_text())["preset"] == "tiny"
    assert {path.stem for path in made.figures} == {"curves", "predictors", "doses", "markers"}
    before = {path: path.stat().st_mtime_ns for path in (folder / "tables").iterdir()}
    taken_up = STUDY.run(preset="tiny", out=folder, progress=False)
    assert taken_up.table.equals(made.table)
    assert before == {path: path.stat().st_mtime_ns for path in (folder / "tables").iterdir()}


def test_answers_and_published_edges_are_those_of_plain_forwards(run):
    """Of the model's own file, without the engine."""
    subject = bench.subjects(0, senses.folder_of())[0]
    hf, suite = lens.load("organism:senses-middle", device="cpu").original_model, subject.suite()
    items = suite.items(24, partners=1, same=suite.recipe.cues, seed=0)
    said = run[0].tables["items"].query("moment == 'middle'")

    def odds(text, item):
        out = hf(torch.tensor([[0, *suite.ids(text)]])).logits[0, -1].double()
        return out, float(out[suite.index[item.sense]] - out[suite.index[item.other]])

    with torch.no_grad():
        for item, margin, answer in zip(items, said.margin, said.answer):
            out, own = odds(item.text, item)
            assert margin == pytest.approx(own, abs=1e-3)
            top = suite.vocabulary[int(out.argmax())]
            assert answer == {item.sense: "right", item.other: "wrong"}.get(top, "neither")
        first = items[0]
        words = first.text.split()
        words[first.at - 1] = f"n{suite.recipe.noise}"
        index = suite.index[first.sense]
        want = odds(first.text, first)[0].softmax(-1)[index] - odds(" ".join(words), first)[0].softmax(-1)[index]
        # the null has the cue that is nearest in log-odds
        (chosen,) = bench.items_of(subject.model(), suite, bench.Preset(items=1, partners=1, same=1), 0)
        apart = {text: abs(odds(text, first)[1] - odds(first.text, first)[1]) for text in first.same}
        assert apart[chosen.same[0]] == min(apart.values())
    edge = run[0].tables["edges"].query("moment == 'middle'")
    assert edge.published.to_numpy() == pytest.approx([float(want)] * 6, abs=1e-5) and edge.published.nunique() == 1
    assert edge.patched.nunique() > 1


def test_sentences_come_in_both_readings_and_orders():
    every = sentences()
    assert len(every) == 2 * len(ITEMS) >= 80 and len({s.word for s in every}) == len(ITEMS)
    for one in every:
        assert one.cue in one.pair.clean and one.cue not in one.pair.corrupted.split("Is")[0].split()
        own, other = one.pair.answer.strip(), one.pair.foil.strip()
        named = [f"{own} or {other}?", f"{other} or {own}?"]
        assert sorted(name in one.pair.clean for name in named) == [False, True]
        assert [name in one.turned.clean for name in named] == [name not in one.pair.clean for name in named]
    first, second = every[:2]
    assert (first.pair.answer, first.pair.foil) == (second.pair.foil, second.pair.answer)
    # which answer is named first says nothing of which is right
    assert first.pair.clean.split("about")[1] == second.pair.clean.split("about")[1]


def test_sentences_of_a_model_that_is_right_and_wrong_have_depths(monkeypatch):
    pairs = [lens.Pair(f"w1 w{a} w3 w4", f"w1 w{a + 30} w3 w4", " w7", " w8", label=f"w{a}") for a in range(20, 24)]
    asked = [Sentence(pair.label, f"w{20 + i}", pair, pair) for i, pair in enumerate(pairs)]
    model, plain = speaking(), tiny()
    for pair, odds in zip(pairs, bench.odds_of(model, pairs)):
        out = plain(torch.tensor([[int(w[1:]) for w in str(pair.clean).split()]])).logits[0, -1]
        assert float(out[7] - out[8]) == pytest.approx(float(odds), abs=1e-4)
    monkeypatch.setattr(steps, "sentences", lambda count: asked)
    monkeypatch.setattr(steps, "LEAST", {"right": 1, "wrong": 1})
    monkeypatch.setattr(steps, "odds_of", lambda model, pairs: torch.tensor([3.0, -2.0, 1.0, -1.0]))
    frame, layers = steps.of_sentences(model, bench.Preset(depths=3), False, lambda line: None)
    assert frame.answer.tolist() == ["right", "wrong"] * 2 and steps.enough(frame)
    assert layers["item"].unique().tolist() == [1, 3, 0] and np.isnan(frame.reading[2])
    rows = verdicts.Rows(CLAIMS)
    model_verdicts.of_sentences(rows, frame, 0, 10)
    assert [row.key for row in rows] == ["sentences", "sentences_depth", "sentences_errors"]
    model_verdicts.of_sentences(rows, frame[:0], 0, 10)
    assert rows[-1].verdict == "not judged: not asked"


def frame(n=60, seeds=(0,), rng=np.random.default_rng(0)):
    rows = [(s, f"w{w}", rng.normal() + 0.1 * w) for s in seeds for w in range(n) for _ in range(2)]
    return pd.DataFrame(rows, columns=["seed", "word", "x"])


def test_intervals_resample_words_with_all_of_their_items():
    of = frame()
    x, word = of.x.to_numpy(), of.word.to_numpy()
    found = rules.over_words(of, lambda i: float(x[i].mean()), seed=0, resamples=400)
    means = of.groupby("word").x.mean()
    half = 1.96 * means.std() / len(means) ** 0.5
    assert found.estimate == pytest.approx(x.mean()) and found.n == 60
    assert found.high - found.low == pytest.approx(2 * half, rel=0.15)
    seen = []
    rules.over_words(of, lambda i: seen.append(sorted(word[i].tolist())) or 0.0, seed=0, resamples=3)
    assert all(set(map(one.count, set(one))) <= {2, 4, 6, 8, 10, 12} for one in seen)
    # seeds that differ widen it
    apart = of.assign(seed=1, x=of.x + 5)
    both = pd.concat([of, apart], ignore_index=True)
    x2 = both.x.to_numpy()
    wide = rules.over_words(both, lambda i: float(x2[i].mean()), seed=0, resamples=400)
    assert wide.high - wide.low > 3 * (found.high - found.low)
    few, same = (rules.over_words(part, lambda i: 1.0, seed=0, resamples=20) for part in (of[:10], of))
    assert np.isnan(few.low) and "few words" in few.method
    assert np.isnan(same.low) and "every resample says the same" in same.method


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(1, 2, "holds"), (1, 2.5, "not shown: the interval reaches beyond 2"), (2.5, 3, "does not")],
)
def test_a_spread_of_just_two_layers_is_at_most_two(low, high, word):
    assert rules.agree(Interval(1.5, low, high, 0.95, 60, "")).startswith(word)
    assert rules.agree(Interval(1.5, np.nan, np.nan, 0.95, 6, "few")) == "not shown: few"


def test_statistics_are_what_they_say():
    rng = np.random.default_rng(1)
    scores, wrong = rng.integers(0, 5, 40).astype(float), rng.random(40) < 0.4
    pairs = itertools.product(scores[wrong], scores[~wrong])
    assert rules.auc(scores, wrong) == pytest.approx(np.mean([(a > b) + 0.5 * (a == b) for a, b in pairs]))
    assert np.isnan(rules.auc(scores, np.ones(40, bool)))
    assert rules.spearman(scores, scores**3) == pytest.approx(1) and np.isnan(rules.spearman(scores, scores * 0))
    depth = np.array([1.0, 3, 2, 2, 5, 9, 7])
    kind = np.array([True, False, True, False, True, False, False])
    strata = np.array(list("aaaabbc"))
    # a: (1.5 - 2.5) at weight 1; b: (5 - 9) at weight .5; c has right items alone
    assert rules.matched(depth, kind, strata) == pytest.approx((-1 * 1 - 4 * 0.5) / 1.5)
    x, g = np.array([1.0, 2, 11, 12]), np.array([0, 0, 1, 1])
    assert rules.within(x, np.array([2.0, 1, 1, 0]), g) == pytest.approx(-1)


def test_an_early_layer_is_chosen_on_other_words_below_the_depth_of_writing():
    items = pd.DataFrame(
        [(0, "middle", i, f"w{i}", "choose" if i < 8 else "report", float(i % 2), 3.0, 1.0, 0.0, "determined")
         for i in range(16)],
        columns="seed moment item word part wrong writing depth margin status".split(),
    )  # fmt: skip
    layers = pd.DataFrame(
        [(0, "middle", i, layer, {1: 0.0, 2: -(i % 2), 4: -5.0 * (i % 2)}.get(layer, 0.0) if i < 8 else 9.0 - layer)
         for i in range(16) for layer in range(6)],
        columns="seed moment item layer CAS".split(),
    )  # fmt: skip
    # layer 4 tells as much, but is where the answer is written; the reported words would say another
    assert tables.early_layer(layers, items, "CAS") == 2


def test_an_edge_that_no_layer_changes_is_no_edge_by_layer(run):
    """That the published one knows no layer is so by its formula; the patched one has to differ for the claim."""
    made, _ = run
    edges = made.tables["edges"]
    many = [edges.assign(word=f"{edges.word.iloc[0]}{i}", item=i, patched=edges.patched + i) for i in range(8)]
    for flat, word in ((True, "not shown"), (False, "holds")):
        draw = np.random.default_rng(0)
        of = pd.concat([one.assign(patched=0.0 if flat else (5.0 - one.layer) * draw.uniform(1, 2)) for one in many])
        table, numbers = verdicts.verdicts({**made.tables, "edges": of}, 0, 20)
        row = next(r for r, about in zip(table.itertuples(), table.attrs["claims"]) if about[0] == "edges")
        setup = verdicts.Judge(made.tables, 0, 20).set_up
        assert not setup or row.verdict.startswith(word if not flat else ("not shown", "holds in part")), row.verdict
        ends = of.pivot_table(index=["word", "moment"], columns="layer", values="patched")
        assert numbers["edges patched"] == pytest.approx((ends[0] - ends[5]).mean())


def test_where_the_set_up_fails_nothing_else_is_judged(run):
    made, _ = run
    broken = {**made.tables, "gates": made.tables["gates"].assign(holds=False)}
    table, _ = verdicts.verdicts(broken, 0, 20)
    rest = [
        row for row, about in zip(table.itertuples(), table.attrs["claims"]) if about[0] in ("exists", "race", "edges")
    ]
    assert all(row.verdict.startswith("not judged: not tested") for row in rest)
    assert table.verdict[0].startswith("does not hold")


def test_organisms_that_are_nowhere_are_named():
    with pytest.raises(ReproduceError, match="senses-7 does not ship"):
        STUDY.run(preset=bench.Preset(seeds=(7,), items=2, sentences=0), progress=False)
    with pytest.raises(ReproduceError, match="no such argument"):
        STUDY.run(preset="tiny", layer=3)
