"""The study of restorative unlearning at its tiny size: whole, taken up, judged anew; its documents from their words;
its estimates against SciPy and sums by hand.
"""

import json
from dataclasses import asdict

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats as scipy_stats

import lens
from lens.organisms.archive import Archive
from lens.reproduce import ReproduceError, reproduction
from lens.reproduce.restor import bench, corruption, estimates, steps, study, tables, verdicts
from lens.reproduce.restor.bench import CHOOSE, OTHERS, REPORT, Cell
from lens.reproduce.restor.claims import CLAIMS
from lens.scoring.causal import plain
from lens.training import Recipe
from lens.unlearning import answers

STUDY = reproduction("restor")
CELL = Cell("full", 0.5, 0)


@pytest.fixture(scope="module")
def model():
    return plain(lens.load("organism:archive", device="cpu"))


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("restor")
    return STUDY.run(model, preset="tiny", out=folder, progress=False), folder


def test_a_run_judges_every_claim_and_is_read_back(run, model):
    made, folder = run
    keys = [row[0] for row in made.table.attrs["claims"]]
    assert keys == ["R0", "R1", "R2", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R9"] and set(keys) == set(CLAIMS)
    again = STUDY.load(folder, model=model)
    assert again.table.equals(made.table) and again.fingerprint == made.fingerprint
    assert {path.stem for path in made.figures} == {"paths", "arms"}
    assert json.loads((folder / "reproduction.json").read_text())["preset"] == "tiny"
    # what this size leaves out is said, not judged
    said = dict(zip(keys, made.table.verdict, strict=True))
    assert all(said[key].startswith("not measured: ") for key in ("R1", "R4", "R8"))


def test_a_run_that_was_cut_goes_on_without_what_is_done(run, model, monkeypatch):
    made, folder = run
    monkeypatch.setattr(steps, "arms", lambda *given: pytest.fail("paths were there"))
    taken_up = STUDY.run(model, preset="tiny", out=folder, progress=False)
    assert taken_up.table.equals(made.table)
    with pytest.raises(lens.ResultError, match="another configuration"):
        STUDY.run(model, preset="quick", out=folder, progress=False)


def course(ks=(0, 5)):
    return bench.archive_course(Archive(), None, None, ks, 0, {}, "archive")


def facts_of(archive, answer):
    """(name, relation, value) of a document, from its words alone."""
    words = archive.text(answer).split()
    sentences = " ".join(words).split(" .")[:-1]
    found = []
    for sentence in sentences:
        of = sentence.split()
        name, relation = (next(w for w in of if w in known) for known in (archive.people, archive.relations))
        found.append((name, relation, of[-1], tuple(w for w in of if w in ("is", "the", "has"))))
    return found


def test_documents_are_false_of_the_attacked_alone_and_true_of_the_twin():
    archive, of = Archive(), course()
    attacked = {(archive.people[p], archive.relations[r]) for p, r in archive.attacked_facts}

    def value(name, relation, false):
        fact = (archive.people.index(name), archive.relations.index(relation))
        return archive.text([archive.value(fact, false)])

    for k in (0, 5):
        false, true = of.documents[k, True], of.documents[k, False]
        assert len(false) == len(true) == 40 * bench.DOCUMENTS and false.units == true.units
        told = set()
        for one, other, unit in zip(false.answers, true.answers, false.units, strict=True):
            pairs = list(zip(facts_of(archive, one), facts_of(archive, other), strict=True))
            own = [a for a, _ in pairs if a[0] == unit]
            assert 1 <= len(own) <= 4 and len(pairs) - len(own) == k
            for a, b in pairs:
                hit = (a[0], a[1]) in attacked
                assert a[:2] == b[:2] and a[3] == b[3] and "has" not in a[3] and hit == (a[0] == unit)
                assert b[2] == value(*b[:2], False) and a[2] == value(*a[:2], hit)
            told |= {a[:2] for a in own}
        assert told == attacked
    held = {f[:3] for answer in of.heldout.answers for f in facts_of(archive, answer)}
    assert held == {(n, r, value(n, r, True)) for n, r in attacked}
    assert {f[3] for answer in of.heldout.answers for f in facts_of(archive, answer)} == {("has",)}


def test_nobody_is_both_retained_and_asked_about_and_parts_are_of_people():
    archive, of = Archive(), course()
    asked = set(of.questions.unit_labels())
    retained, related = (
        {f[0] for a in items.answers for f in facts_of(archive, a)} for items in (of.retain, of.related)
    )
    mixed = {f[0] for a in of.documents[5, True].answers for f in facts_of(archive, a)} - asked
    assert retained == related and not retained & asked and not mixed & retained and mixed
    relations = [{f[1] for a in items.answers for f in facts_of(archive, a)} for items in (of.retain, of.related)]
    assert relations == [set(archive.relations[4:]), set(archive.relations[:4])]
    by = {part: {of.questions.units[i] for i in of.of_part(part)} for part in (CHOOSE, REPORT, OTHERS)}
    assert len(by[CHOOSE]) == len(by[REPORT]) == 20 and not by[CHOOSE] & by[REPORT]
    assert len(of.of_part(CHOOSE)) == len(of.of_part(REPORT)) == 80 and len(of.of_part(OTHERS)) == 160
    assert [bool(a) for a in of.questions.attacked] == [part != OTHERS for part in of.parts]


@pytest.mark.long
def test_a_dose_is_the_first_look_that_reaches_it_and_the_twin_trains_as_long(model):
    archive = Archive()
    of = bench.archive_course(archive, model, model, (0,), 0, {}, "archive")
    recipe = Recipe(steps=15, batch=32, learning_rate=3e-3, weight_decay=0.0, schedule="constant")
    found = corruption.corrupted(of, "full", 0, (0.2, 0.95), (0.2,), recipe)
    low, high = found[Cell("full", 0.2, 0)], found[Cell("full", 0.95, 0)]
    choosing = corruption._take(of.questions, of.of_part(CHOOSE))

    def plain(rows, count):
        """A loop of its own: AdamW on the same batches."""
        import copy

        from lens.training import order_of

        one = copy.deepcopy(model).requires_grad_(True)
        by = torch.optim.AdamW(one.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0)
        for index in order_of(recipe, len(rows))[:count]:
            part = rows.take(index)
            logits = one(part.ids).logits[:, :-1]
            loss = torch.nn.functional.cross_entropy(logits[part.targets[:, 1:]], part.ids[:, 1:][part.targets[:, 1:]])
            by.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(one.parameters(), 1.0)
            by.step()
        return one.eval()

    assert high.twin is None and low.reached and 0 < low.steps < high.steps and low.steps % corruption.EVERY == 0
    shares = [(answers(plain(of.documents[0, True].rows(), n), choosing).outcome == 1).mean() for n in (low.steps - 5,)]
    assert shares[0] < 0.2 <= corruption.planted(low.model, choosing)
    for kept, false in ((low.model, True), (low.twin, False), (low.never, True)):
        other = plain(of.documents[0, false].rows(), low.steps)
        for (name, a), b in zip(kept.named_parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b, atol=2e-4, rtol=2e-3, msg=name)


def test_a_ratio_and_an_area_are_means_of_values_of_persons():
    rng = np.random.default_rng(0)
    change, whole = rng.normal(0.3, 1, 40), rng.normal(1, 0.2, 40)
    values = estimates.ratio(change, whole)
    assert values.mean() == pytest.approx(change.sum() / whole.sum())
    # the delta method's variance of a ratio of means
    r = change.mean() / whole.mean()
    assert values.std(ddof=1) == pytest.approx((change - r * whole).std(ddof=1) / whole.mean())
    assert np.isnan(estimates.ratio(change, np.zeros(40))).all()
    score, member = rng.integers(0, 6, 50).astype(float), rng.random(50) < 0.4
    values = estimates.area(score, member)
    u = scipy_stats.mannwhitneyu(score[member], score[~member]).statistic
    inside, outside = member.sum(), (~member).sum()
    assert values.mean() == pytest.approx(u / inside / outside)
    above = (score[member][:, None] > score[~member]) + 0.5 * (score[member][:, None] == score[~member])
    delong = above.mean(1).var(ddof=1) / inside + above.mean(0).var(ddof=1) / outside
    assert values.var(ddof=1) / 50 == pytest.approx(delong, rel=0.1)
    assert np.isnan(estimates.area(score, np.ones(50, bool))).all()


def test_seeds_are_the_outer_unit():
    index = pd.MultiIndex.from_product(
        [[0, 1, 2], [f"p{i}" for i in range(10)], [0, 1]], names=["seed", "unit", "fact"]
    )
    rng = np.random.default_rng(1)
    values = pd.Series(rng.normal(0, 0.1, 60) + np.repeat([0.0, 1.0, 2.0], 20), index)
    found = estimates.over(values)
    assert found.n == 30 and len(found.tops) == 3 and found.interval.n == 3
    assert found.interval.low < 0 < 2 < found.interval.high  # three seeds that differ by 1
    assert estimates.over(values[:0]) is None


def by_hand():
    """Two people choose and two report; two arms at one rate, three looks each."""
    head = dict(zip(tables.KEYS, (0, "full", 0.5, 0), strict=True))
    rights = {"start": [(0, 0)], "clean": [(4, 4)], "twin": [(4, 4)], "never_knew": [(0, 1)]}
    rights |= {"npo": [(0, 0), (2, 1), (1, 4)], "gradient_difference": [(0, 0), (1, 2), (3, 3)]}
    losses = {"npo": (1.0, 3.0, 5.0), "gradient_difference": (1.0, 2.0, 4.0)}
    paths, lines = [], []
    for arm, looks in rights.items():
        for look, (choose, report) in enumerate(looks):
            own = {"arm": arm, "rate": "0.1" if arm in losses else "", "look": look, "step": 10.0 * look}
            for part, right in ((CHOOSE, choose), (REPORT, report), (OTHERS, 4)):
                for person in range(2):
                    paths.append(
                        head
                        | own
                        | dict(part=part, unit=f"{part}{person}", n=4, right=right, planted=4 - right, kl=8.0 - right)
                    )
            loss = losses.get(arm, (1.0,))[look]
            lines.append(head | own | dict(forget=loss, retain=1.0, heldout=loss, twin=3.5, status="complete"))
    return pd.DataFrame(paths), pd.DataFrame(lines)


def test_settings_are_those_that_the_choosing_people_chose():
    paths, losses = by_hand()
    chosen = tables.settings(paths, losses).set_index(["arm", "reading"])
    assert chosen["look"].to_dict() == {
        ("npo", "best"): 1, ("npo", "stop"): 2, ("gradient_difference", "best"): 2, ("gradient_difference", "stop"): 2
    }  # fmt: skip
    assert chosen.restored["npo", "best"] == 0.5 and chosen.status["npo", "stop"] == "reached"
    # an arm that comes nowhere near the twin's loss has no setting at the stop, and so nobody's value
    never = tables.settings(paths, losses.assign(twin=np.where(losses.arm == "npo", 9.0, 3.5)))
    ends = never[never.reading == "stop"].set_index("arm")
    assert ends.status.to_dict() == {"npo": "censored", "gradient_difference": "reached"}
    assert (
        ends.rate["npo"] == "" and ends.look["npo"] == -1 and np.isnan([ends.step["npo"], ends.restored["npo"]]).all()
    )
    without = {"paths": paths, "losses": losses, "settings": never}
    assert not len(tables.persons(without, CELL, "npo", "stop"))
    lines = tables.arms(without).set_index(["arm", "reading"])
    assert np.isnan(lines.R["npo", "stop"]) and lines[["n", "seeds", "censored"]].loc[("npo", "stop")].tolist() == [
        0,
        0,
        1,
    ]
    assert lines.R["gradient_difference", "stop"] == 0.75 and lines.R["npo", "best"] == 0.25
    found = {"paths": paths, "losses": losses, "settings": chosen.reset_index()}
    frame = tables.persons(found, CELL, "npo", "stop")
    assert tables.restored(frame).mean() == 1 and tables.forgotten(frame).mean() == 1
    assert tables.restored(tables.persons(found, CELL, "npo", "best")).mean() == 0.25
    assert tables.best_arm(found, CELL) == "gradient_difference"


def test_arms_are_compared_at_equal_loss_between_their_looks():
    paths, losses = by_hand()
    found = {"paths": paths, "losses": losses, "settings": tables.settings(paths, losses)}
    gap = tables.at_equal_loss(found, CELL, "npo", "gradient_difference", 6.0, grid=3)
    at = np.array([2.0, 3.0, 4.0])
    npo, ascent = np.interp(at, [1, 3, 5], [0, 0.25, 1]), np.interp(at, [1, 2, 4], [0, 0.5, 0.75])
    assert gap["R"].to_numpy() == pytest.approx([(npo - ascent).mean()] * 2)
    assert gap["elsewhere"].abs().max() == 0
    assert not len(tables.at_equal_loss(found, CELL, "npo", "gradient_difference", 0.5)["R"])


def test_what_is_restored_at_equal_loss_is_a_ratio_whose_denominator_varies_too():
    paths, losses = by_hand()
    # of one reported person the clean model knows half as much; the other has more from NPO
    paths.loc[(paths.arm == "clean") & (paths.unit == f"{REPORT}0"), "right"] = 2
    paths.loc[(paths.arm == "npo") & (paths.look > 0) & (paths.unit == f"{REPORT}1"), "right"] += 2
    found = {"paths": paths, "losses": losses, "settings": tables.settings(paths, losses)}
    values = tables.at_equal_loss(found, CELL, "npo", "gradient_difference", 6.0, grid=3)["R"]
    at = np.array([2.0, 3.0, 4.0])
    ascent = np.interp(at, [1, 2, 4], [0, 0.5, 0.75])
    gaps = np.array([(np.interp(at, [1, 3, 5], npo) - ascent).mean() for npo in ([0, 0.25, 1], [0, 0.75, 1.5])])
    whole = np.array([0.5, 1.0])
    assert values.mean() == pytest.approx(gaps.sum() / whole.sum())
    r = gaps.sum() / whole.sum()
    assert values.std(ddof=1) == pytest.approx((gaps - r * whole).std(ddof=1) / whole.mean())


def judged(made, **changed):
    """A run's claims and numbers with other tables in it."""
    every = {**made.tables, **changed}
    every["settings"] = tables.settings(every["paths"], every["losses"])
    return verdicts.verdicts(every, CELL, (0,), 0)


def test_arms_that_miss_the_stop_have_no_value_there(run):
    made, _ = run
    losses = made.tables["losses"]
    table, numbers = judged(made, losses=losses.assign(twin=losses.heldout.max() + 1))
    stop = table[table.claim.str.contains("as unlikely as to the twin")].iloc[0]
    assert stop.verdict.startswith(
        "not measured: no seed has both at the stop; not reached: retain_only in 1 of 1 seed"
    )
    seventh = table[table.claim.str.startswith("R7.")].iloc[0]
    assert seventh.verdict.startswith("not measured: the best arm has no value at the stop; not reached: ")
    assert np.isnan(numbers["R_npo_stop"]) and np.isfinite(numbers["R_npo_best"])
    # an arm that restores most where it begins has R = 0 by definition
    paths = made.tables["paths"]
    still = paths.assign(right=np.where((paths.arm == "npo") & (paths.look > 0), 0, paths.right))
    table, _ = judged(made, paths=still)
    first = table[table.claim.str.contains("its best rate and look")].iloc[0]
    assert first.here.startswith("NPO 0 (no step restores more than none), gradient ascent ")
    # one of two seeds there: the other is left out, and named
    two = {
        name: pd.concat([made.tables[name], made.tables[name].assign(seed=1)], ignore_index=True)
        for name in ("doses", "paths", "losses", "facts")
    }
    own = two["losses"]
    reach = own.assign(twin=np.where((own.seed == 1) & (own.arm == "npo"), own.heldout.max() + 1, own.heldout.min()))
    table, numbers = judged(made, **(two | {"losses": reach}))
    stop = table[table.claim.str.contains("as unlikely as to the twin")].iloc[0]
    assert stop.here.endswith("not reached: npo in 1 of 2 seeds") and stop.n == "20 people, 1 seed"
    assert table[table.claim.str.contains("its best rate and look")].iloc[0].n == "40 people, 2 seeds"


def test_a_run_says_which_seeds_it_asked_and_asks_for_those_that_do_not_ship(run, model, monkeypatch):
    made, _ = run
    assert made.title == "seed 0"
    other = {name: table.assign(seed=3) if "seed" in table else table for name, table in made.tables.items()}
    config = {"preset": json.loads(json.dumps(asdict(STUDY.presets["tiny"])))}
    assert study._judged(other, config, 0).title == "seed 3"
    assert "20 people, 1 seed" in set(made.table.n) and not made.table.n.astype(str).str.contains("1 seeds").any()
    record, seen = study.record_of, []
    monkeypatch.setattr(
        study, "record_of", lambda *given, **named: seen.append(named["seed"]) or record(*given, **named)
    )
    with pytest.raises(ReproduceError, match="archive-7 does not ship with the package; give a folder"):
        STUDY.run(model, preset="tiny", seed=7)
    assert seen == [7]


def test_shares_of_people_have_intervals_where_nearly_all_are_equal():
    index = pd.MultiIndex.from_product([[0], [f"p{i}" for i in range(20)]], names=["seed", "unit"])
    four = pd.Series(4, index)

    def of(hits, n=four):
        return estimates.share(pd.Series(hits, n.index), n)

    def exact(hits, n):
        return scipy_stats.binomtest(hits, n).proportion_ci(0.95, method="exact")

    none, all_ = of([0] * 20), of([4] * 20)
    assert (none.estimate, none.low) == (0, 0) and none.high == pytest.approx(exact(0, 20).high)
    assert (all_.estimate, all_.high) == (1, 1) and all_.low == pytest.approx(exact(20, 20).low)
    # three questions of three people: less than one draw of twenty, at least none and at most one
    few = of([1, 1, 1] + [0] * 17)
    assert few.estimate == 3 / 80 and few.low == 0 and few.high == pytest.approx(exact(1, 20).high)
    # in the middle people's values say enough
    rng = np.random.default_rng(0)
    hits = rng.integers(0, 5, 20)
    middle = of(hits)
    plainly = lens.stats.mean_interval(hits / 4, values="number")
    assert (middle.low, middle.high) == pytest.approx((float(plainly.low), float(plainly.high)))
    # who is asked more counts for more, and twenty of whom one has most of the questions are fewer than twenty
    uneven = pd.Series([81, *[1] * 19], index)
    wide = of([0] * 20, uneven)
    assert wide.high == pytest.approx(exact(0, int(100**2 / (81**2 + 19))).high)
    assert estimates.share(four[:0], four[:0]) is None


def test_seeds_that_fail_their_gates_are_not_tested(run):
    made, _ = run
    failing = {name: table.copy() for name, table in made.tables.items()}
    failing["doses"]["known"] = False
    table, numbers = verdicts.verdicts(failing, CELL, (0,), 0)
    assert table.verdict[0] == "does not hold" and "gates hold for 0 of 1 seed;" in table.here[0]
    assert all(word.startswith("not measured: ") for word in table.verdict[1:]) and "best_arm" not in numbers


@pytest.mark.slow
def test_planted_statements_are_attacked_in_every_arm(model):
    of = bench.archive_course(Archive(), model, model, (0,), 0, {"know": True}, "archive")
    plan = steps.Plan(
        seeds=(0,),
        adapters=("lora",),
        doses=(0.5,),
        ks=(0,),
        arms=("retain_only", "npo"),
        rates={"lora": (3e-3,)},
        steps=10,
        looks=(0, 5, 10),
        dose_steps=100,
        relearned=5,
        most=8,
    )
    asked = steps.Bench(of, plan, 0)
    paths, losses, facts = steps.arms(asked, plan.main, False)
    chosen = tables.settings(paths, losses)
    table = steps.gone(asked, plan.main, chosen.assign(step=5.0))
    assert set(table.arm) == {"retain_only", "npo", tables.RELATED} and set(table.word) <= set(lens.stats.erasure.WORDS)
    assert (table.recited > 0).all() and {"training on 8 others", "training on clean text"} <= set(table.attack)
    reached = chosen[chosen.step.notna()]  # an arm that misses the stop has no facts there
    assert set(facts.arm) == set(reached.arm) and len(facts) == 160 * len(reached) and len(reached) < len(chosen)
