"""The memory-subspace study: its models, its edits and doses, its claims on tables with a known answer, its figures,
and a tiny run that is taken up where it was cut.
"""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from lens import memorization, subspace
from lens.engine.linear import linears
from lens.memorization.known_texts import KNOWN
from lens.organisms import canaries
from lens.reproduce import canaries_models, over_models
from lens.reproduce.subspace_language import figures as draws
from lens.reproduce.subspace_language import (
    places as subspace_places,
)
from lens.reproduce.subspace_language import (
    smollm2 as subspace_smollm2,
)
from lens.reproduce.subspace_language import (
    steps as subspace_steps,
)
from lens.reproduce.subspace_language import (
    study as subspace_study,
)
from lens.reproduce.subspace_language import (
    tables as subspace_frames,
)
from lens.reproduce.subspace_language import (
    verdicts as subspace_claims,
)
from lens.reproduce.subspace_language.bench import METHODS, Bench
from lens.results.errors import ResultError

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def trio():
    return canaries_models.models(None, (0,))[0]


@pytest.fixture(scope="module")
def bench(trio):
    return Bench(0, trio, rows=4, most=4, hurry=0.05)


# -- the models --------------------------------------------------------------------------------------------------------


def test_models_come_from_the_folder_or_the_package_and_a_missing_one_says_how_to_get_it(trio, tmp_path):
    assert (
        trio.model.config.name_or_path == "organism:canaries"
        and trio.twin.config.name_or_path == "organism:canaries-twin"
    )
    assert trio.corpus.recipe == canaries.Recipe() and not any(p.requires_grad for p in trio.model.parameters())
    with pytest.raises(ValueError, match="canaries-1 does not ship.*--models FOLDER.*--seed 1"):
        canaries_models.models(None, (1,))
    copied = tmp_path / "canaries"
    shutil.copytree(canaries.folder_of(0), copied)
    found = canaries_models.models(tmp_path, (0,), twins=False)[0]
    assert found.twin is None and torch.equal(found.model.lm_head.weight, trio.model.lm_head.weight)
    card = json.loads((copied / "card.json").read_text())
    (copied / "card.json").write_text(json.dumps(card | {"weights_sha256": "0" * 64}))
    with pytest.raises(ValueError, match="are not those of its card"):
        canaries_models.models(tmp_path, (0,), twins=False)
    (copied / "card.json").write_text(json.dumps(card | {"recipe": card["recipe"] | {"steps": 7}}))
    with pytest.raises(ValueError, match="another recipe"):
        canaries_models.models(tmp_path, (0,), twins=False)


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_missing_models_are_trained_where_there_is_a_folder_and_said_before(monkeypatch, tmp_path):
    asked, said = [], []

    def train(arguments):
        asked.append(arguments)
        assert len(said) == len(asked), "the training began before it was announced"
        shutil.copytree(
            canaries_models.canaries.folder_of(0),
            place := tmp_path / ("canaries-7-twin" if "--twin" in arguments else "canaries-7"),
        )
        card = json.loads((place / "card.json").read_text())
        card["recipe"] |= {"seed": 7, "canaries": "--twin" not in arguments}
        (place / "card.json").write_text(json.dumps(card))

    monkeypatch.setattr(canaries_models.canaries, "main", train)
    found = canaries_models.models(tmp_path, (7,), say=said.append)
    assert (
        len(asked) == 2
        and "--twin" not in asked[0]
        and "--twin" in asked[1]
        and asked[0][:2] == ["--seed", "7"]
        and "--checkpoints" in asked[0]
        and str(tmp_path) in said[0]
    )
    assert found[7].corpus.recipe.seed == 7 and found[7].twin is not None
    canaries_models.models(tmp_path, (7,), say=said.append)
    assert len(asked) == 2


@pytest.mark.long
def test_only_recited_sequences_enter_and_the_splits_share_nothing(bench):
    greedy = canaries.right(bench.model, torch.tensor(bench.val.prefixes), torch.tensor(bench.val.suffixes)).all(1)
    assert greedy.all() and len(bench.val) == len(bench.tune) == 4
    memorization.disjoint(tune=bench.tune, val=bench.val, reference=bench.reference)
    planted = bench.corpus.canaries()
    of = {tuple(row): split for row, split in zip(planted.ids.tolist(), planted.split)}
    assert {of[tuple(row)] for row in bench.val.ids.tolist()} == {"val"} and {
        of[tuple(row)] for row in bench.tune.ids.tolist()
    } == {"tune"}
    assert not any(tuple(row) in of for row in bench.reference.ids.tolist())
    rows = [row.tobytes() for part in (bench.clean, *bench.held) for row in part]
    assert len(set(rows)) == len(rows)


@pytest.mark.parametrize("name", METHODS)
def test_every_method_gives_edits_that_change_the_weights_and_put_them_back(bench, name):
    method, layers = METHODS[name], linears(bench.model)
    before = {n: l.weight.clone() for n, l in layers.items()}
    edits = method.make(bench, bench.val, method.settings[-1], (method.doses[0], method.doses[-1]))
    assert edits
    for edit in edits.values():
        with memorization.edited(bench.model, edit):
            assert any(not torch.equal(l.weight, before[n]) for n, l in layers.items())
        assert all(torch.equal(l.weight, before[n]) for n, l in layers.items())
    if name in subspace_steps.METHODS and hasattr(next(iter(edits.values())), "density"):
        density = [edit.density for edit in edits.values()]
        assert density == sorted(density)


def test_a_sweep_counts_what_extract_and_the_loss_count(bench):
    edits = {0.3: subspace.score(bench.model, bench.val, method="random", layers="mlp").mask(0.3)}
    frame = subspace_steps.sweep(bench, "random", edits, {"val": bench.val})
    with edits[0.3].applied(bench.model):
        strict = memorization.extract(bench.model, bench.val).strict.values
        with torch.no_grad():
            ids = torch.tensor(bench.held[0])
            loss = torch.nn.functional.cross_entropy(
                bench.model(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
            ).item()
    cut = frame[frame.dose == 0.3]
    assert cut.strict.tolist() == strict.tolist() and cut.clean_loss.iloc[0] == pytest.approx(loss, abs=1e-4)
    assert frame[frame.dose == 0].strict.all() and cut.rise.iloc[0] == pytest.approx(
        loss - frame[frame.dose == 0].clean_loss.iloc[0], abs=1e-4
    )


def test_the_dose_is_the_largest_within_the_bound_whatever_it_recites():
    frame = pd.DataFrame(
        {"method": "m", "seed": 0, "dose": [0, 0.1, 0.2, 0.3], "rise": [0, 0.01, 0.04, 0.2], "strict": [1, 0, 1, 0]}
    )
    assert subspace_steps.operating(frame, "m", 0) == 0.2
    assert subspace_steps.operating(frame[frame.dose != 0.2].assign(rise=[0, 0.06, 0.2]), "m", 0) is None


def test_the_least_recitation_on_the_tune_split_is_chosen():
    table = pd.DataFrame(
        {
            "method": ["a", "a", "b"],
            "setting": ['{"x": 1}', '{"x": 2}', "{}"],
            "order": [0, 1, 0],
            "strict": [0.5, 0.2, 1.0],
            "chosen": [False, True, True],
        }
    )
    assert subspace_steps.settings_of(table) == {"a": {"x": 2}, "b": {}}


def test_new_prompts_end_with_the_prefix(bench):
    asked = subspace_places.prompts(bench, bench.val)
    for row, half, after in zip(bench.val.ids, *asked.values()):
        assert half[0] == 0 and (half[1:] == row[bench.val.prefix // 2 : bench.val.prefix]).all()
        assert len(after) == 24 + bench.val.prefix and (after[-bench.val.prefix :] == row[: bench.val.prefix]).all()


@pytest.mark.long
def test_an_injected_neuron_is_found_by_the_locators_that_look_at_it(bench):
    table = subspace_places.planted(bench, 1)
    assert (
        set(table.locator) == set(subspace_places.LOCATORS) and (table.loss < 0.05).all() and (table.before > 1).all()
    )
    row = table[(table.locator == "zero_out") & (table.k == 0.05)].iloc[0]
    assert row.hits / row.n > 4 * row.chance and row.p == pytest.approx(
        stats.hypergeom.sf(row.hits - 1, 2048, row.n, 102)
    )


# -- tables with a known answer ----------------------------------------------------------------------------------------


def curves(strict):
    """Two doses at rises 0.02 and 0.08; `strict[method]`: recitation at them by seed, of 20 sequences."""
    lines = []
    for method, by_seed in strict.items():
        for seed, values in enumerate(by_seed):
            for name in ("val", "verse"):
                for dose, rise, value in zip((0.0, 0.1, 0.2), (0.0, 0.02, 0.08), (1.0, *values)):
                    lines += [
                        {
                            "method": method,
                            "seed": seed,
                            "set": name,
                            "dose": dose,
                            "rise": rise,
                            "clean_loss": 1 + rise,
                            "name": f"s{i}",
                            "kind": "code",
                            "strict": i < 20 * value,
                            "loose": i < 20 * value,
                            "lev": 0.0 if i < 20 * value else 1.0,
                            "nll": 0.0,
                        }
                        for i in range(20)
                    ]
    return pd.DataFrame(lines)


def specificity(shift):
    """IoU by seed with memorised pairs above the others by `shift`."""
    lines = []
    for seed in SEEDS:
        for reference in ("clean text", "unseen, same kind"):
            for method in ("contrast", "corrected"):
                for pair, value in (("memorised", 0.4 + shift), ("other", 0.4), ("mixed", 0.4)):
                    lines.append(
                        {
                            "seed": seed,
                            "kind": "code",
                            "reference": reference,
                            "method": method,
                            "pair": pair,
                            "mean": value + 0.01 * seed,
                            "low": value - 0.05,
                            "high": value + 0.05,
                            "n": 10,
                            "sets": 5,
                            "chance": 0.005,
                            "density": 0.01,
                            "p_other": 1 / 252 if shift > 0 else 0.6,
                            "p_mixed": 0.5,
                            "p_kind": "exact",
                            "layers": [value, value],
                        }
                    )
    return pd.DataFrame(lines)


def transfer(own, random):
    lines = [
        {
            "method": "contrast",
            "source": source,
            "set": name,
            "seed": seed,
            "of": 0,
            "strict": i < 10 * own + seed % 2 if source == "memorised" else i < 10 * random,
            "rise": 0.02,
            "density": 0.02,
            "dose": 0.04,
        }
        for source in ("memorised", "random rows", "random columns", "unseen")
        for name in ("own", "others", "verse")
        for seed in SEEDS
        for i in range(10)
    ]
    return pd.DataFrame(lines)


def places(hits):
    """The seeds differ a little, each locator in its own way."""
    return pd.DataFrame(
        [
            {
                "seed": seed,
                "injection": i,
                "kind": "code",
                "locator": name,
                "k": 0.01,
                "hits": min(20, count + (seed == {"hard_concrete": 0, "activation": 1}.get(name, 2))),
                "n": 20,
                "chance": 0.01,
                "p": 0.5,
            }
            for name, count in hits.items()
            for seed in SEEDS
            for i in range(2)
        ]
    )


def gone(word):
    lines = [
        {
            "seed": seed,
            "method": "contrast",
            "dose": 0.04,
            "word": word,
            "by": "",
            "recited_before": 30,
            "recited_after": 2,
            "attack": attack,
            "recovered": 0.6 if word == "hides" else 0.0,
            "control": 0.0,
            "difference": 0.6,
            "low": 0.4,
            "high": 0.8,
            "p": 0.001,
            "p_kind": "exact",
            "holm": 0.002 if word == "hides" else 1.0,
            "n": 28,
        }
        for seed in SEEDS
        for attack in ("stretched prefixes", "training on clean text")
    ]
    return pd.DataFrame(lines)


def damage(kept):
    lines = [
        {
            "seed": seed,
            "method": "contrast",
            "source": "memorised",
            "measure": f"task {task}",
            "before": 1.0,
            "after": kept[task] + 0.01 * seed * (2 if task == "copy" else 1),
            "change": 0.0,
            "n": 100,
            "density": 0.02,
            "strict": 0.1,
            "dose": 0.04,
        }
        for seed in SEEDS
        for task in kept
    ]
    lines += [
        {
            "seed": seed,
            "method": "contrast",
            "source": "memorised",
            "measure": m,
            "before": 1.0,
            "after": 0.9,
            "change": 0.05,
            "n": 8,
        }
        for seed in SEEDS
        for m in ("clean loss", "nDCG@10")
    ]
    return pd.DataFrame(lines)


def tables(**changes):
    made = {
        "curves": curves({"contrast": [(0.2, 0.0)] * 3, "random": [(1.0, 0.8), (1.0, 0.85), (1.0, 0.75)]}),
        "specificity": specificity(0.2),
        "transfer": transfer(0.1, 0.9),
        "planted": places({"hard_concrete": 15, "activation": 5, "magnitude": 2}),
        "gone": gone("hides"),
        "relearning": pd.DataFrame(),
        "damage": damage({"copy": 1.0, "closed_book": 0.7, "arithmetic": 0.7}),
    }
    return made | changes


def word(table, begins):
    found = table[table.claim.str.startswith(begins)]
    assert len(found) == 1, begins
    return found.verdict.iloc[0]


CLAIMS = (
    ("... and the overlap is about memory", "specificity", specificity(-0.1), "does not hold"),
    (
        "Pruning by the published contrast",
        "curves",
        curves({"contrast": [(1.0, 0.8)] * 3, "random": [(0.5, 0.1), (0.6, 0.0), (0.5, 0.0)]}),
        "does not hold",
    ),
    (
        "A common subspace: the edit found on some memories takes away other memorised",
        "transfer",
        transfer(0.5, 0.5),
        "not shown",
    ),
    (
        "A common subspace: the edit found on some memories takes away other memorised",
        "curves",
        curves({"contrast": [(0.2, 0.0)] * 3, "random": [(0.2, 0.0), (0.2, 0.0), (0.1, 0.0)]}),
        "not shown",
    ),  # random weights of the same cost leave as little
    (
        "Memory at a known place",
        "planted",
        places({"hard_concrete": 1, "activation": 15, "magnitude": 2}),
        "does not hold",
    ),
    (
        "... and every locator does better than chance",
        "planted",
        places({"hard_concrete": 15, "activation": 0, "magnitude": 2}),
        "holds in part",
    ),
    ("Trap of that test", "planted", places({"hard_concrete": 1, "activation": 5, "magnitude": 19}), "holds"),
    ("Pruning hides the memory", "gone", gone("erases"), "does not hold"),
    (
        "What is cut falls on facts",
        "damage",
        damage({"copy": 0.5, "closed_book": 0.9, "arithmetic": 0.9}),
        "does not hold",
    ),
)


@pytest.fixture(scope="module")
def first():
    return subspace_claims.verdicts(tables())[0]


@pytest.mark.parametrize(("claim", "name", "other", "expected"), CLAIMS)
def test_a_verdict_follows_what_was_measured(first, claim, name, other, expected):
    turned, _ = subspace_claims.verdicts(tables(**{name: other}))
    assert word(first, claim).startswith("does not hold" if claim.startswith("Trap") else "holds") and word(
        turned, claim
    ).startswith(expected)
    assert word(first, claim).count("rule:") == 1 and (first.n.astype(str) != "").all()


def test_one_seed_is_shown_and_not_judged():
    one = {name: t[t.seed == 0] if len(t) else t for name, t in tables().items()}
    table, _ = subspace_claims.verdicts(one)
    assert word(table, "Pruning by the published").startswith("not judged: one model") and word(
        table, "What is cut"
    ).startswith("not judged: one model")


def test_models_that_agree_exactly_are_not_judged():
    assert (
        over_models.judged(over_models.over_seeds([0.2, 0.2, 0.2])).startswith("not judged: the models agree")
        and over_models.judged(over_models.over_seeds([0.2, 0.21, 0.2])) == "holds"
    )
    assert (
        over_models.judged(over_models.over_seeds([0.2])) == "not judged: one model"
        and over_models.judged(over_models.over_seeds([-0.2, -0.21, -0.2])) == "does not hold"
        and over_models.judged(None) == "not measured"
    )


def test_methods_are_read_at_one_rise_by_interpolation():
    frame = subspace_frames.at_rise(tables()["curves"], "val", rise=0.05).set_index("method")
    assert frame.loc["contrast"].runs == pytest.approx((0.1, 0.1, 0.1)) and frame.loc["random"].runs == pytest.approx(
        (0.9, 0.925, 0.875)
    )
    found = subspace_frames.difference(frame.reset_index(), "random", "contrast")
    gap = np.array([0.8, 0.825, 0.775])
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 2, gap.mean(), gap.std(ddof=1) / np.sqrt(3)))


def test_the_unit_of_recall_is_the_seed_and_p_values_are_corrected_over_seeds():
    """Neurons of one injection, and injections into one model, are no independent units."""
    line = subspace_frames.recall(places({"activation": 5})).iloc[0]
    seeds = np.array([0.25, 0.3, 0.25])
    assert (
        line.seeds == pytest.approx(seeds)
        and (line.low, line.high) == pytest.approx(stats.t.interval(0.95, 2, seeds.mean(), stats.sem(seeds)))
        and line.injections == 6
    )
    assert line.p == pytest.approx(max(stats.ttest_1samp(u, 0.01).pvalue for u in (seeds, np.repeat(seeds, 2))))
    uneven = places({"slimming": 2}).assign(hits=lambda t: np.where(t.injection == 1, 0, t.hits))
    assert subspace_frames.recall(uneven).p[0] > 0.05, "found in one injection of each seed and never in the other"
    alike = subspace_frames.recall(places({"activation": 5}).assign(hits=1)).iloc[0]
    assert alike.p == pytest.approx(stats.binomtest(6, 120, 0.01).pvalue), (
        "seeds that agree are as sure as their neurons"
    )
    gap = subspace_frames.recall_gap(places({"activation": 5, "zero_out": 5}), "activation", "zero_out")
    assert abs(gap.interval.estimate) < 0.06 and float(gap.p) > 0.05
    one = subspace_frames.recall(places({"activation": 5}).query("seed == 0")).iloc[0]
    assert (one.low, one.high) == pytest.approx(stats.binomtest(10, 40).proportion_ci(method="exact")) and np.isnan(
        one.p
    )
    spec = subspace_frames.specificity(specificity(0.2)).iloc[0]
    assert spec.holm_other == pytest.approx((3 / 252,) * 3) and spec.more_other.estimate == pytest.approx(0.2)


def test_a_control_is_read_at_the_very_cost_of_each_edit():
    table = transfer(0.1, 0.9).assign(rise=lambda t: 0.05 + 0.01 * t.seed)
    found, left, costs = subspace_frames.at_cost(tables()["curves"], table, "contrast", "others")
    assert costs == pytest.approx((0.05, 0.06, 0.07)) and left == pytest.approx(
        (0.9, 1 - 0.15 * 2 / 3, 1 - 0.25 * 5 / 6)
    )  # between the doses at .02 and .08
    gaps = np.subtract(left, (0.1, 0.2, 0.1))
    assert (found.low, found.high) == pytest.approx(stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps)))
    assert subspace_frames.at_cost(tables()["curves"].query("method != 'random'"), table, "contrast", "others") is None


def test_a_task_that_the_model_hardly_does_is_left_out():
    table = damage({"copy": 1.0, "open_book": 0.3})
    table.loc[table.measure == "task open_book", "before"] = 0.3
    assert set(subspace_frames.kept(table).task) == {"copy"}


# -- SmolLM2's part, on a tiny model -----------------------------------------------------------------------------------


def test_known_texts_are_few_short_and_named():
    size = sum(len(source) + len(text) for source, text in KNOWN.values())
    assert (
        size < 12_000
        and len({text for _, text in KNOWN.values()}) == len(KNOWN)
        and all(source and text == " ".join(text.split()) for source, text in KNOWN.values())
    )


def test_recitation_counts_windows_whose_next_tokens_are_all_right(tiny_bridge):
    bridge, plain = tiny_bridge("llama")
    table = subspace_smollm2.recitation(bridge, (2, 4), stride=5)
    ids = [
        [0] * (1 + 24 + 4) for _, text in KNOWN.values() for at in range(0, len(text.split()) - 24 - 4 + 1, 5)
    ]  # no word is in the vocabulary: all are token 0
    with torch.no_grad():
        right = (plain(torch.tensor(ids)).logits[:, 24:-1].argmax(-1) == 0).numpy()
    every = table[table.text == "all"].set_index("suffix")
    assert every.n.tolist() == [len(ids)] * 2 and every.recited.tolist() == [
        int(right[:, :k].all(1).sum()) for k in (2, 4)
    ]
    assert every.low.tolist() == pytest.approx(
        [stats.binomtest(int(r), len(ids)).proportion_ci(method="exact").low for r in every.recited]
    )


# -- figures -----------------------------------------------------------------------------------------------------------


def test_figures_show_the_bars_and_refuse_tables_without_their_columns(tmp_path):
    made = tables()
    fig = draws.specificity_plot(made["specificity"], tmp_path / "a.png")
    heights = [bar.get_height() for bar in fig.axes[0].patches]
    assert heights == pytest.approx([0.61, 0.41, 0.41]) and (tmp_path / "a.png").stat().st_size > 1000
    fig = draws.matched_plot({name: subspace_frames.at_rise(made["curves"], name) for name in ("val", "verse")})
    assert [bar.get_width() for bar in fig.axes[0].patches] == pytest.approx([0.1, 0.9])
    fig = draws.recall_plot(subspace_frames.recall(made["planted"]))
    assert next(t.get_text() for t in fig.axes[0].get_yticklabels()) == "hard concrete"
    for plot in (draws.layer_plot, draws.transfer_plot, draws.gone_plot, draws.tradeoff_plot):
        with pytest.raises(ValueError, match="method"):
            plot(pd.DataFrame({"seed": [0]}))


# -- the whole ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_a_tiny_run_is_stored_taken_up_and_read_again(tmp_path, monkeypatch):
    made = subspace_study.run(preset="tiny", out=tmp_path / "run", progress=False)
    assert (
        len(made.figures) == 9
        and all(path.is_file() for path in made.figures)
        and (tmp_path / "run" / "table.csv").is_file()
    )
    again = subspace_study.load(tmp_path / "run")
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    (tmp_path / "run" / "tables" / "transfer.seed-0.parquet").unlink()
    monkeypatch.setattr(subspace_study.STUDY, "draw", lambda *a: [])
    for step in ("curves", "specific", "chosen"):
        monkeypatch.setattr(subspace_steps, step, lambda *_: pytest.fail("a step that was done is done again"))
    resumed = subspace_study.run(preset="tiny", out=tmp_path / "run", progress=False)
    assert resumed.table.equals(made.table)
    with pytest.raises(ResultError, match="another configuration"):
        subspace_study.run(preset="quick", out=tmp_path / "run", progress=False)
    assert str(tmp_path) not in "".join(path.read_text() for path in (tmp_path / "run").glob("*.json"))


def test_arguments_that_make_no_sense_are_refused(tmp_path):
    for options, message in (({"data": "hand"}, "data='hand'"), ({"preset": "huge"}, "preset='huge'")):
        with pytest.raises(ValueError, match=message):
            subspace_study.run(out=tmp_path, **options)
    with pytest.raises(ResultError, match="subspace-language"):
        subspace_study.load(tmp_path)
    with pytest.raises(ValueError, match="'nothing' is not one"):
        subspace_study.figure(
            subspace_study.Reproduction(
                table=pd.DataFrame(), tables={name: pd.DataFrame() for name in subspace_study.TABLES}
            ),
            "nothing",
        )
