"""The reproduction of palimpsestic provenance: end to end on a tiny family, its tables against SciPy and brute force,
its claims on numbers that are known.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

import lens
from lens import cli, stats
from lens.models.shipped import CARD, weights_of
from lens.organisms import palimpsest as organism
from lens.organisms.palimpsest import PRESETS, Family, Size, derivatives, shipped, training
from lens.provenance import ProvenanceError
from lens.reproduce import (
    common,
    over_models,
    records,
    reproduction,
)
from lens.reproduce.claims import Rows
from lens.reproduce.palimpsest import bench as runs
from lens.reproduce.palimpsest import public, schedules, steps
from lens.reproduce.palimpsest import study as paper
from lens.reproduce.palimpsest import tables as frames
from lens.reproduce.palimpsest import verdicts as claims
from lens.results.errors import ResultError

TINY = replace(PRESETS["tiny"], derivatives=("tune-25", "int4"), arms=("linear",), arm_seeds=1)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("palimpsest")
    patch = pytest.MonkeyPatch()
    patch.setattr(steps, "DRAWS", 10)
    patch.setattr(steps, "ARRIVALS", 2)
    yield paper.run(preset=TINY, out=out, resamples=999), out
    patch.undo()


class Known:
    """A family whose scores are made up: Alice remembers late rows, the same-order model too, nobody else anything."""

    size = Size(
        organism.Recipe(rows=1600), alices=2, independents=1, derivatives=("tune-25", "soft"), arms=(), retrains=0
    )

    def __init__(self, effect=0.5):
        draw = np.random.default_rng(0)
        names = [
            "reference",
            "independent-0",
            "disjoint",
            "smaller",
            "same-order",
            *(f"alice-{i}{d}" for i in (0, 1) for d in ("", "/tune-25", "/soft")),
        ]
        self.entries, self.scores = dict.fromkeys(names), {}
        row = draw.normal(size=(1600, 1)) + 2
        for name in names:
            seed = int(name[6]) if name.startswith("alice") else 0
            strength = (
                effect
                * (name.startswith("alice") or name == "same-order")
                * (0 if name.endswith("soft") else 0.5 if name.endswith("25") else 1)
            )
            self.scores[name] = (
                row
                + 0.3 * draw.normal(size=(1600, 12))
                - 0.3 * strength * self.keys(f"alice-{seed}")
                + 0.1 * draw.normal(size=(1600, 1))
            ).astype(np.float32)
        self.lengths, self.ids = np.full(1600, 13), draw.integers(256, size=(1600, 13))

    def keys(self, name):
        return organism.keys_of(replace(self.size.base, order_seed=int(name[6])))

    def nll(self, name):
        return self.scores[name]

    def row_nll(self, name, rows=None):
        found = self.scores[name].astype(float).mean(1)
        return found if rows is None else found[rows]


@pytest.fixture
def known(monkeypatch):
    return bench_of(Known(), monkeypatch)


def bench_of(family, monkeypatch):
    bench = runs.Bench(family, resamples=999)
    for name in ("alice-0", "alice-1"):
        rows = [row.astype(np.int32) for row in family.ids]
        bench.held[name] = runs.Transcript(rows, family.keys(name)[:, 0], "key", name=name, shuffled_as="drawn here")
    monkeypatch.setattr(steps, "DRAWS", 40)
    return bench


# ---- end to end --------------------------------------------------------------------------------------------------


def test_a_run_is_stored_drawn_and_loaded_with_the_same_table(made):
    result, out = made
    assert list(result.table.columns) == common.COLUMNS and result.table.notna().all().all() and len(result.table) >= 15
    assert {f.name for f in out.glob("figures/*.png")} == {
        f"{n}.png"
        for n in ("positions", "null", "power_rows", "power_tokens", "survival", "arms", "arm_positions", "retrain")
    }
    assert all(f.stat().st_size > 8000 for f in result.figures)
    record = json.loads((out / records.RECORD).read_text())
    assert (
        record["fingerprint"] == result.fingerprint
        and record["config"]["size"]["base"]["rows"] == 160
        and record["config"]["identities"]["alice-0"] == result.family.identity("alice-0")[:16]
    )
    loaded = paper.load(out)
    assert (
        loaded.table.equals(result.table)
        and loaded.numbers.keys() == result.numbers.keys()
        and len(loaded.figures) == 8
    )
    assert reproduction("palimpsest") is paper.STUDY and not paper.STUDY.needs_model


def test_a_finished_run_trains_and_tests_nothing_again(made, monkeypatch):
    result, out = made
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained again"))
    monkeypatch.setattr(runs.Bench, "line", lambda *a, **k: pytest.fail("asked again"))
    monkeypatch.setattr(paper.STUDY, "draw", lambda *a: [])
    again = paper.run(preset=TINY, out=out, resamples=999)
    assert again.table.equals(result.table) and again.fingerprint == result.fingerprint


@pytest.mark.long
def test_the_quick_preset_trains_nothing_and_its_models_do_what_their_cards_say(tmp_path, monkeypatch):
    """Of one Alice nothing is judged over Alices."""
    for name in ("tune", "tune_adapters", "distill"):
        monkeypatch.setattr(derivatives, name, lambda *a, **k: pytest.fail("trained"))
    monkeypatch.setattr(training, "train", lambda *a, **k: pytest.fail("trained"))
    monkeypatch.setattr(steps, "DRAWS", 20)
    monkeypatch.setattr(steps, "ARRIVALS", 2)
    made = paper.run(preset="quick", out=tmp_path, resamples=199)
    word = made.table.set_index("claim").verdict
    assert word[word.index.str.startswith("A model's losses")].tolist() == ["holds"]
    for begins in ("A reference is essential", "The trace survives", "The residual of a degree-4"):
        assert word[word.index.str.startswith(begins)].tolist() == ["not judged: one training run"]
    assert not made.table.map(lambda cell: bool(re.search(r"\bnan\b", str(cell)))).any().any()
    assert set(made.family.entries) >= {"alice-0", "reference", "independent-0", "alice-0/int4", "alice-0/tune-25"}
    whole = Family("quick", tmp_path / "nowhere")
    assert all(made.family.identity(name) == whole.identity(name) for name in made.family.entries)
    assert {f.stem for f in made.figures} >= {"positions", "null", "survival", "power_rows"}
    assert paper.load(tmp_path).table.equals(made.table)
    asked = made.tables["queries"].query("statistic == 'difference'").set_index("suspect")
    for folder, (name, _) in shipped.SHIPPED.items():
        told = json.loads((weights_of("palimpsest") / folder / CARD).read_text())["measured"]
        assert np.nanmean(made.family.nll(name)) == pytest.approx(told["loss"], abs=2e-3)
        if name != "reference":
            assert asked.rho[name] == pytest.approx(told["rho_with_the_keys_of_palimpsest"], abs=2e-3), name
    # Alice and the tuned one are recognised, and the innocent is not
    assert asked.rho["alice-0"] < -0.05 and asked.p_published["alice-0"] < 1e-6
    assert asked.rho["alice-0/tune-25"] < -0.03 and asked.p_published["alice-0/tune-25"] < 1e-3
    assert asked.p_published["independent-0"] > 0.01


def test_another_configuration_has_tables_of_its_own_and_other_models_are_refused(made, tmp_path, monkeypatch):
    monkeypatch.setattr(paper.STUDY, "draw", lambda *a: [])
    result, out = made
    other = paper.run(preset=TINY, out=out, resamples=499)
    assert other.fingerprint != result.fingerprint and len(list((out / "tables").glob("queries-*"))) == 2
    with pytest.raises(ValueError, match="was made by another recipe"):
        paper.run(preset=replace(TINY, base=replace(TINY.base, learning_rate=1e-3)), out=out)
    with pytest.raises(ResultError, match="holds no reproduction"):
        paper.load(tmp_path)
    paper.run(preset=TINY, out=out, resamples=999)  # the record is that of the fixture's run again


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"data": "hand"}, "data='hand'"),
        ({"limit": 3}, "limit=3"),
        ({"preset": "huge"}, "preset='huge' does not fit; expected one of 'tiny', 'quick', 'medium', 'full', 'paper'"),
        ({"out": None}, "out is missing"),
    ],
)
def test_wrong_arguments_are_named(wrong, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        paper.run(**{"out": tmp_path, "preset": TINY} | wrong)


def test_the_paper_preset_says_what_it_needs_where_the_hub_is_out_of_reach(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(
        ProvenanceError, match=r"HF_HUB_OFFLINE is set.*pythia-6.9b-deduped.*82 MB of 600 GB.*quick and full"
    ):
        paper.run(preset="paper")
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(public, "HUB", "http://127.0.0.1:9")
    with pytest.raises(ProvenanceError, match="cannot be reached"):
        paper.run(preset="paper")
    assert len(public.shards(public.DEDUPED)) == 21 and public.shards(public.DEDUPED)[-1].endswith(
        "document-00020-of-00020.bin"
    )


@pytest.mark.parametrize(
    "effects, words", [((0.9, 0), ("holds", "not flagged")), ((0, 0.9), ("not shown: p above .01", "flagged"))]
)
def test_the_paper_preset_asks_the_public_models_and_judges(monkeypatch, tmp_path, effects, words):
    """Stand-ins for models and corpus: what is asked of which, and the word that each answer gets."""
    rng, loaded, read = np.random.default_rng(0), [], []
    t = runs.Transcript(
        rng.integers(9, size=(800, 4)), np.arange(800) // 4, "step", shuffled_as="x", about={"file_order": "training"}
    )
    monkeypatch.setattr(public, "unreachable", lambda: "")
    monkeypatch.setattr(public, "from_pythia", lambda paths, **k: read.append((paths, k)) or t)
    monkeypatch.setattr(public, "load", lambda name, dtype: loaded.append((name, dtype)) or name)

    def answer(suspect, transcript, *, reference, **options):
        assert (
            options["store"] == tmp_path / "scores"
            and options["score_options"] == {"window": 128}
            and reference.shares_order is False
        )
        related = {a.suspect: a.related for a in public.QUERIES}[suspect.model]
        return runs.query_scores(
            rng.normal(size=800) - effects[0 if related else 1] * t.position / 200,
            None,
            transcript,
            resamples=999,
            seed=options["seed"],
        )

    monkeypatch.setattr(public, "query", answer)
    found = paper.run(preset="paper", out=tmp_path, seed=3)
    assert found.table.verdict.tolist() == [words[0 if asked.related else 1] for asked in public.QUERIES]
    assert list(found.table.columns) == common.COLUMNS and found.table.claim.tolist() == [
        f"{a.suspect} was trained in the order of {a.data}" for a in public.QUERIES
    ]
    assert pd.read_csv(tmp_path / "table.csv").verdict.tolist() == found.table.verdict.tolist()
    lines = found.tables["queries"]
    assert (
        all(
            f"rho {line.rho:+.4f} [{line.low:+.4f}, {line.high:+.4f}]" in here
            for line, here in zip(lines.itertuples(), found.table.here)
        )
        and (lines.n == 800).all()
    )
    assert ((lines.p <= 0.01) == [effects[0 if a.related else 1] > 0 for a in public.QUERIES]).all()
    assert loaded == [(name, "bfloat16") for a in public.QUERIES for name in (a.suspect, a.reference)]
    assert all(
        "pythia" in k["tokenizer"] and k["rows"] == 20_000 and k["epoch_rows"] == public.EPOCH and len(paths) == 21
        for paths, k in read
    )  # the corpus is Pythia's


def test_the_paper_preset_asks_for_memory_for_two_models():
    assert (
        "34 GB of memory" in public.needs() and "82 MB of 600 GB" in public.needs()
    )  # 2 x 6.9 x 10^9 weights of 2 bytes, a quarter of them twice


def test_the_command_loads_no_model(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(lens, "load", lambda *a, **k: pytest.fail("a model was loaded"))
    found = []
    monkeypatch.setattr(
        paper.STUDY,
        "run",
        lambda model, **k: (
            found.append((model, k)) or paper.Reproduction(table=common.table_of([("c", "p", "h", 1, "holds")]))
        ),
    )
    assert cli.main(["reproduce", "palimpsest", "--preset", "tiny", "--out", str(tmp_path)]) == 0
    assert found[0][0] is None and found[0][1]["preset"] == "tiny" and "verdict: holds" in capsys.readouterr().out


# ---- tables on known numbers -------------------------------------------------------------------------------------


def test_queries_agree_with_scipy_and_find_what_was_put_in(known):
    table = steps.queries(known)
    poly = table[(table.statistic == "poly4") & (table.suspect == "alice-0/tune-25")].iloc[0]
    x, y = (known.family.row_nll(name) for name in ("reference", "alice-0/tune-25"))
    assert poly.rho == pytest.approx(
        scipy_stats.spearmanr(y - np.polyval(np.polyfit(x, y, 4), x), known.family.keys("alice-0")[:, 0]).statistic,
        abs=1e-6,
    )
    table = table[table.statistic == "difference"].set_index(["group", "suspect", "seed"])
    for i in (0, 1):
        key = known.family.keys(f"alice-{i}")[:, 0]
        difference = known.family.row_nll(f"alice-{i}/tune-25") - known.family.row_nll("reference")
        line = table.loc[("derivative", f"alice-{i}/tune-25", i)]
        assert line.rho == pytest.approx(scipy_stats.spearmanr(difference, key).statistic, abs=1e-9) and line.n == 1600
        assert line.p_published == pytest.approx(scipy_stats.spearmanr(difference, key).pvalue, rel=1e-6)
        assert (
            table.loc[("alice", f"alice-{i}", i)].p < 1e-6 and table.loc[("derivative", f"alice-{i}/soft", i)].p > 0.01
        )
        assert (
            table.loc[("alice", f"alice-{i}", i)].p_key
            >= scipy_stats.norm.cdf(table.loc[("alice", f"alice-{i}", i)].z) / 2
        )  # a bound, not the tail
    assert table.loc[("sister", "same-order", 0)].p < 1e-6
    trap = table.loc[("trap", "independent-0", 0)]
    assert (
        trap.p_published < 1e-6 and trap.rho > 0 and trap.p > 0.5
    )  # two-sided as published it is flagged; asked one-sided it is not
    assert (table.loc["innocent"].p > 1e-3).all() and (table.loc["another alice"].p > 1e-3).all()


def test_a_reference_that_is_declared_to_share_the_order_is_refused(known):
    with pytest.raises(ProvenanceError, match="same-order.*shares_order=True"):
        known.ask("independent-0", "alice-0", "same-order", declared=True)


def test_detection_agrees_with_brute_force():
    draw = np.random.default_rng(1)
    key = draw.random(300)
    score = draw.normal(size=300) - 1.0 * key
    z, rates = steps.detection(score, key, 120, 60, [3, 1])
    rng = np.random.default_rng([3, 1])
    index = [rng.permutation(300)[:120] for _ in range(60)]
    rho = np.array([scipy_stats.spearmanr(score[i], key[i]).statistic for i in index])
    bound = np.array([float(stats.key_test(scipy_stats.rankdata(score[i]), key[i]).p) for i in index])
    assert z == pytest.approx(np.median(rho * np.sqrt(119))) and 0 < rates["key_0.01"] < 1
    for level in steps.LEVELS:
        assert (
            rates[f"key_{level:g}"] == (bound <= level).mean()
            and rates[f"normal_{level:g}"] == (scipy_stats.norm.cdf(rho * np.sqrt(119)) <= level).mean()
        )
    innocent = steps.detection(draw.normal(size=4000), draw.random(4000), 200, 2000, 0)[1]
    assert innocent["key_0.01"] <= 0.01 and abs(innocent["normal_0.01"] - 0.01) < 0.012


def test_power_rises_with_rows_and_windows(known):
    curves = frames.power_curves(steps.power(known), 40)
    alice = curves[(curves.suspect == "alice") & (curves.window == 0)].sort_values("n")
    assert (
        alice.rate.iloc[-1] == 1.0
        and alice.rate.iloc[0] < 0.5
        and (np.diff(alice.rate) > -0.1).all()
        and (alice.low <= alice.rate).all()
        and (alice.rate <= alice.high).all()
    )

    def at(window):
        return float(curves[(curves.suspect == "alice") & (curves.window == window) & (curves.n == 500)].rate.iloc[0])

    assert at(8) <= at(0) + 0.1 and curves[curves.suspect == "alice/soft"].rate.max() < 0.3
    need = frames.rows_for(curves)
    assert need["alice"] in steps.ROWS and np.isnan(need["alice/soft"])


def test_sequences_of_asking_stop_for_alice_and_not_for_the_innocent(known, monkeypatch):
    monkeypatch.setattr(steps, "ARRIVALS", 4)
    table = steps.stopping(known)
    at = table[table.stop == 1e2].groupby("suspect").rows
    assert (
        at.apply(lambda r: r.notna().all())["alice"]
        and at.median()["alice"] < 1600
        and at.apply(lambda r: r.isna().all())["independent"]
    )


# ---- intervals ---------------------------------------------------------------------------------------------------


def test_intervals_over_seeds_are_those_of_student():
    x = [-0.1, -0.13, -0.09]
    wanted = scipy_stats.t.interval(0.95, 2, np.mean(x), scipy_stats.sem(x))
    assert over_models.by_seed(x) == pytest.approx((np.mean(x), *wanted))
    assert np.isnan(over_models.by_seed([1.0])[1:]).all()


def test_a_rate_holds_both_the_draws_and_the_seeds():
    """Seeds that agree near an end are as sure as their number alone, whatever their draws; seeds that differ as
    Student's t of so few.
    """
    for value in (0.0, 1.0):
        found, wanted = frames.rate_interval(np.full(3, value), 200), stats.proportion(int(3 * value), 3)
        assert found == pytest.approx((value, wanted.low, wanted.high))
    spread, close = frames.rate_interval([0.2, 0.5, 0.8], 200), frames.rate_interval([0.49, 0.5, 0.51], 200)
    assert spread[2] - spread[1] > 3 * (close[2] - close[1])
    widest = frames.rate_interval([0.0, 1.0, 0.5], 200)
    assert (
        widest[2] - widest[1] > 0.9
    )  # three seeds that disagree that much bound nothing; Wilson's interval covered .82
    inside = 0
    draw = np.random.default_rng(0)
    for _ in range(500):
        found = frames.rate_interval(
            draw.binomial(200, draw.beta(0.7 * 4.25, 0.3 * 4.25, 3)) / 200, 200
        )  # rates of mean .7 and spread .2 between seeds
        inside += found[1] <= 0.7 <= found[2]
    assert inside / 500 > 0.93


def test_few_models_that_are_not_flagged_show_no_rate():
    """None of 24 is at most one in seven, not one in a hundred."""
    null = pd.DataFrame(
        {"group": "innocent", "suspect": "independent-0", "seed": 0, "p": np.linspace(0.05, 1, 24), "holm": 1.0}
    )
    rest = pd.DataFrame(
        [
            {
                "group": g,
                "suspect": "independent",
                "seed": 0,
                "p": 1.0,
                "holm": 1.0,
                "rho": 0.1,
                "z": 6.0,
                "p_published": 1e-9,
                "low": 0.0,
                "high": 0.2,
                "n": 10,
            }
            for g in ("trap", "sister")
        ]
    )
    rows = Rows(claims.CLAIMS)
    claims._innocent(rows, pd.concat([null, rest]))
    assert rows[0][4].startswith("not shown: 0 of 24 bounds the rate at 0.14") and scipy_stats.binomtest(
        0, 24
    ).proportion_ci(method="exact").high == pytest.approx(0.1425, abs=1e-3)
    many = pd.concat([pd.concat([null] * 20), rest])
    rows = Rows(claims.CLAIMS)
    claims._innocent(rows, many)
    assert rows[0][4] == "holds"


def test_one_arm_of_three_does_not_turn_the_claim_alone():
    """Cosine and linear decay show nothing, and one arm is stronger with p .02: by Holm over three that is .06."""
    of = {
        "constant": (-0.110, -0.127, -0.099),
        "cosine": (-0.117, -0.150, -0.119),
        "linear": (-0.123, -0.131, -0.145),
        "wsd": (-0.181, -0.172, -0.148),
    }
    arms = pd.DataFrame(
        [
            {"group": a, "seed": s, "rho": r, "p": 1e-9, "n": 4000, "loss": 1.0, "last_tenth": -0.01 * r, "spread": 0.1}
            for a, v in of.items()
            for s, r in enumerate(v)
        ]
    )
    rows = Rows(claims.CLAIMS)
    schedules.schedules(rows, arms)
    gap = scipy_stats.ttest_rel(of["wsd"], of["constant"]).pvalue
    assert gap < 0.05 < 3 * gap and rows[0][4].startswith("not shown") and rows[0][5] == "Holm over 3 arms"


def test_survival_counts_what_holm_leaves(known):
    queries = steps.queries(known)
    lines = frames.survival(queries).set_index("derivative")
    assert (
        lines.loc["alice", "share"] == 1
        and lines.loc["alice", "detected"] == lines.loc["alice", "of"] == 2
        and 0.2 < lines.loc["tune-25", "share"] < 0.9
        and lines.loc["soft", "detected"] == 0
    )
    holm = frames.with_holm(queries)
    one = holm[(holm.seed == 0) & (holm.group != "trap")]
    assert np.allclose(one.holm, stats.holm(one.p.to_numpy())) and len(holm) == len(queries)


# ---- claims ------------------------------------------------------------------------------------------------------


def told(bench):
    tables = {name: getattr(steps, name)(bench) for name in ("queries", "references", "power", "stopping")}
    arms = pd.concat(
        [tables["queries"][tables["queries"].group == "alice"].assign(group=name) for name in ("constant", "linear")]
    )
    table, numbers = claims.verdicts(**tables, arms=arms, retrains=pd.DataFrame(), partitions=pd.DataFrame())
    return table.set_index("claim").verdict, numbers


def test_claims_follow_the_numbers(monkeypatch):
    monkeypatch.setattr(steps, "ARRIVALS", 2)
    verdict, numbers = told(bench_of(Known(), monkeypatch))

    def starts(text):
        return next(v for c, v in verdict.items() if c.startswith(text))

    assert (
        starts("A model's losses") == "holds"
        and starts("Models that never saw").startswith("not shown: 0 of ")
        and starts("Trap") == "holds"
        and starts("What is found is the order") == "holds"
    )
    assert starts("Models made from Alice") == "holds" and numbers["derived_detected"] == numbers["derived_of"] == 2
    assert starts("Distillation leaves a weak trace: student of her distributions").startswith("not shown")
    null, _ = told(bench_of(Known(effect=0.0), monkeypatch))

    def starts(text):
        return next(v for c, v in null.items() if c.startswith(text))

    assert (
        starts("A model's losses").startswith("does not hold")
        and starts("Models made from Alice").startswith("does not hold")
        and starts("Trap").startswith("does not hold")
    )
    assert starts("Models that never saw").startswith("not shown: ")
    # seeds that all detect nothing show nothing of their spread, so no bound is given
    assert starts("A part of the rows").startswith("not shown: no lower bound is at 80 %; 80 % is not reached")
