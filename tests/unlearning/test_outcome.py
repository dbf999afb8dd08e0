"""What is read of a result: classes, restoration, the stopping rule, OpenUnlearning's measures: against plain forwards,
SciPy and results written by hand.
"""

import functools
import json

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import rel_entr

from lens.training import Recipe, Teacher
from lens.unlearning import (
    CLASSES,
    Questions,
    UnlearningError,
    answers,
    measures,
    predictors,
    report,
    stopping,
    summary,
    unlearn,
)
from tests.models import tiny

from .helpers import items, plain_logp, questions

ASKED = questions(8)


def next_token(model, prompt):
    with torch.no_grad():
        return model(input_ids=torch.tensor([prompt])).logits[0, -1].double().log_softmax(-1).numpy()


def test_answers_are_classes_of_the_likeliest_token():
    model, twin = tiny(), tiny(seed=1)
    best = [int(next_token(model, p).argmax()) for p in ASKED.prompts]
    asked = Questions(
        ASKED.prompts[:4],
        right=[best[0], 1, 2, 3],
        planted=[5, best[1], 6, 7],
        others=[[8], [9], [best[2]], [10]],
    )
    found = answers(model, asked, twin=Teacher.of(twin, asked.rows()))
    assert [CLASSES[k] for k in found.outcome] == ["right", "planted", "other", "else"]
    for i, prompt in enumerate(asked.prompts):
        ours, theirs = next_token(model, prompt), next_token(twin, prompt)
        assert found.right[i] == pytest.approx(np.exp(ours[asked.right[i]]), rel=1e-4)
        assert found.planted[i] == pytest.approx(np.exp(ours[asked.planted[i]]), rel=1e-4)
        assert found.rank[i] == (ours > ours[asked.right[i]]).sum()
        p = np.exp(ours[asked.right[i]])
        assert found.log_odds[i] == pytest.approx(np.log(p / (1 - p)), rel=1e-3)
        assert found.kl[i] == pytest.approx(rel_entr(np.exp(theirs), np.exp(ours)).sum(), rel=1e-4)
    assert np.isnan(answers(model, asked).kl).all()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (dict(right=[3, 4], planted=[3, 5]), "question 0: the planted answer begins with the token of the right one"),
        (dict(right=[3, 4], planted=[5]), "planted has 1 entries for 2 prompts"),
        (dict(right=[3, 4], planted=[5, 6], others=[[7], [4]]), "question 1: others holds the right"),
        (dict(right=[3, 4], planted=[5, 6], units=["a"]), "units has 1 entries"),
    ],
)
def test_questions_that_cannot_be_judged_are_refused(more, said):
    with pytest.raises(UnlearningError, match=said):
        Questions([(1, 2), (3, 4)], **more)


def test_a_token_that_the_model_has_not_is_refused():
    with pytest.raises(UnlearningError, match="questions hold the token 120 and this model has 97"):
        answers(tiny(), Questions([(1, 2)], [3], [120]))


@functools.cache
def run():
    """A model between others: all are random, so that numbers are there and mean nothing."""
    truth = dict(
        paraphrases=[(5 + i, 6) for i in range(12)],
        perturbed=[((7 + i,), (8, 9 + i)) for i in range(12)],
        units=[f"author {i // 2}" for i in range(12)],
    )
    return unlearn(
        tiny(),
        items(12, 1, **truth),
        items(12, 2, perturbed=[((3,), (4, 5))] * 12),
        ["gradient_ascent"],
        recipe=Recipe(steps=4, batch=4, learning_rate=3e-3, weight_decay=0.0, schedule="constant"),
        looks=[0, 2],
        questions=questions(24),
        never_knew=tiny(seed=3),
        twin=tiny(seed=1),
        clean=tiny(seed=2),
        heldout=items(6, 7),
        holdout=items(10, 8),
        progress=False,
    )


def planted_by_hand(result):
    """The same result with outcomes of which all is known, two questions a person: at the start 12 answers are planted
    and 4 right; the clean model is right in all 24; at the arm's last look 13 are right and 6 planted.
    """
    made = result.copy(deep=True)
    start = np.array([1, 1] * 4 + [1, 3] * 4 + [0, 3] * 4, np.int8)
    after = np.array([0, 0, 0, 1, 1, 1, 0, 1, 0, 3, 1, 0, 1, 3, 3, 0, 0, 0, 0, 3, 0, 0, 0, 3], np.int8)
    made.outcome[:] = start
    made.outcome.loc[{"arm": "clean"}] = np.zeros(24, np.int8)
    made.outcome.loc[{"arm": "gradient_ascent", "look": 2}] = after
    return made


def test_restoration_and_forgetting_are_ratios_of_what_changed():
    """9 of the 20 right answers that were missing are back; 6 of 12 planted ones are gone."""
    found = summary(planted_by_hand(run()))
    last = found.sel(arm="gradient_ascent", look=2)
    assert float(last["mean"].sel(measure="restoration")) == pytest.approx(9 / 20)
    assert float(last["mean"].sel(measure="forgetting")) == pytest.approx(6 / 12)
    assert float(last["mean"].sel(measure="right")) == pytest.approx(13 / 24)
    for measure in ("restoration", "forgetting"):
        one = last.sel(measure=measure)
        assert float(one.low) < float(one["mean"]) < float(one.high) and int(one.n) == 12  # persons of two questions
        assert 0 < float(one.p) <= float(one.p_holm) <= 1 and str(one.p_kind.item()).startswith(
            ("exact if", "monte carlo if")
        )
    start = found.sel(measure="restoration", arm="start", look=0)
    assert float(start["mean"]) == 0 and np.isnan(float(start.p)) and str(start.p_kind.item()).startswith("none")
    assert float(found["mean"].sel(measure="restoration", arm="clean", look=0)) == 1
    assert str(found.says.sel(measure="restoration").item()).startswith("R = ")
    assert str(found.units.sel(measure="restoration", arm="start", look=0).item()).startswith(
        "12 units of 24 questions, by entity"
    )


def test_the_p_of_a_change_is_the_exact_sign_flip_of_units():
    made = planted_by_hand(run())
    right = (made.outcome == 0).astype(float)
    change = (right.sel(arm="gradient_ascent", look=2) - right.sel(arm="start", look=0)).values.reshape(12, 2).mean(1)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 12)).reshape(12, -1).T
    flipped = np.abs(signs @ change)
    p = (flipped >= abs(change.sum()) - 1e-9).mean()
    found = summary(made).sel(measure="restoration", arm="gradient_ascent", look=2)
    assert float(found.p) == pytest.approx(p)


def test_measures_are_means_over_plain_forwards():
    result, found, model = run(), summary(run()), tiny(seed=1)
    probability = [np.exp(plain_logp(model, *pair).mean()) for pair in items(12, 1).pairs()]
    assert float(found["mean"].sel(measure="forget probability", arm="twin", look=0)) == pytest.approx(
        np.mean(probability), rel=1e-4
    )
    kl = result.kl_twin.sel(arm="start", look=0).values
    theirs = [rel_entr(*(np.exp(next_token(m, p)) for m in (model, tiny()))).sum() for p in questions(24).prompts]
    assert np.allclose(kl, theirs, rtol=1e-3)
    assert np.abs(result.kl_twin.sel(arm="twin", look=0).values).max() < 1e-5


def test_the_stopping_rule_is_the_first_look_at_which_the_twins_loss_is_reached():
    made = run().copy(deep=True)
    made.heldout_logprob[:] = -1.0
    made.heldout_logprob.loc[{"arm": "twin"}] = -2.0
    made.heldout_logprob.loc[{"arm": "gradient_ascent", "look": 1}] = -2.5
    table = stopping(made).set_index("arm")
    assert table.loc["gradient_ascent", ["look", "dose", "status"]].tolist() == [1, 2.0, "reached"]
    assert table.loc["retain_only", ["look", "status"]].tolist() == [2, "censored"] and set(table.twin) == {2.0}
    with pytest.raises(UnlearningError, match="result has no heldout"):
        stopping(made.drop_vars("heldout_logprob"))
    with pytest.raises(UnlearningError, match="result has no twin"):
        stopping(made.sel(arm=["start", "gradient_ascent"]))


def test_predictors_are_areas_under_the_curve():
    made = planted_by_hand(run())
    table = predictors(made, "gradient_ascent").set_index("predictor")
    right = (made.outcome.sel(arm="gradient_ascent", look=2) == 0).values
    rank = made["rank"].sel(arm="start", look=0).values
    area = stats.mannwhitneyu(-rank[right], -rank[~right]).statistic / right.sum() / (~right).sum()
    assert table.auc["rank in the start model"] == pytest.approx(area)
    assert set(table.index) == {
        "confidence of the clean model",
        "rank in the start model",
        "log-odds in the start model",
    }
    for said, call in {
        "arm='npo' is not in the result": lambda: predictors(made, "npo"),
        "has the looks": lambda: predictors(made, "gradient_ascent", 7),
        "needs some that are and some that are not": lambda: predictors(made, "clean"),
        "result has no questions": lambda: predictors(made.drop_vars("outcome"), "gradient_ascent"),
        "expected what lens.unlearning.unlearn returned": lambda: summary(made.drop_vars("dose")),
    }.items():
        with pytest.raises(UnlearningError, match=said):
            call()


def of(table, arm, measure, look=0):
    return table[(table.arm == arm) & (table.measure == measure) & (table["look"] == look)].iloc[0]


def test_openunlearnings_measures_are_its_formulas():
    result, table, model, twin = run(), measures(run()), tiny(), tiny(seed=1)
    forget = items(12, 1)

    def ratios(model):
        out = []
        for i, prompt in enumerate(forget.prompts):
            wrong = np.mean([plain_logp(model, prompt, w).mean() for w in (((7 + i),), (8, 9 + i))])
            out.append(np.exp(wrong) / np.exp(plain_logp(model, prompt, (5 + i, 6)).mean()))
        return np.array(out)

    ours, theirs = ratios(model), ratios(twin)
    assert of(table, "start", "forget_Truth_Ratio").value == pytest.approx(np.minimum(ours, 1 / ours).mean(), rel=1e-4)
    assert of(table, "start", "forget_quality").value == pytest.approx(stats.ks_2samp(ours, theirs).pvalue, rel=1e-6)
    assert of(table, "twin", "forget_quality").value == 1.0
    kept = [of(table, "start", f"retain_{name}").value for name in ("Q_A_Prob", "Truth_Ratio")]
    assert of(table, "start", "model_utility").value == pytest.approx(stats.hmean(kept))

    def area(model):
        """Min-40 % of members against others, by Mann and Whitney."""
        scores = [
            [np.sort(lp := plain_logp(model, *pair))[: max(1, int(len(lp) * 0.4))].mean() for pair in of.pairs()]
            for of in (forget, items(10, 8))
        ]
        return stats.mannwhitneyu(*scores).statistic / 120

    assert of(table, "start", "mia_min_k").value == pytest.approx(area(model), abs=1e-9)
    leak = ((1 - area(model)) - (1 - area(twin))) / (1 - area(twin)) * 100
    assert of(table, "start", "privleak").value == pytest.approx(leak, rel=1e-6)
    assert (
        table[table.measure == "model_utility"].interval_kind.str.startswith("not available: a harmonic mean")
    ).all()
    assert len(result.look) == 3


def test_a_report_is_written_whole_and_says_what_it_is_of(tmp_path):
    tables = report(run(), tmp_path / "out", command="lens unlearn --forget f.jsonl")
    found = json.loads((tmp_path / "out" / "report.json").read_text())
    assert len(found["curves"]) == len(tables["curves"]) and len(found["measures"]) == len(tables["measures"])
    assert {line["status"] for line in found["stopping"]} <= {"reached", "censored"}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "forget_quality" in page and "<svg" in page and "lens unlearn --forget f.jsonl" in page
    assert (tmp_path / "out" / "curves.csv").read_text().startswith("measure,arm,look,mean,low,high")
