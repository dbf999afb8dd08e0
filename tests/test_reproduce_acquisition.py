"""Acquisition in the study of Hubble: who reads what, what is looked at beside plain forwards, and planted curves."""

import numpy as np
import pytest
import torch
import xarray as xr

import lens
from lens.organisms import archive as organism
from lens.reproduce import ReproduceError
from lens.reproduce.claims import Rows
from lens.reproduce.hubble import acquisition, retention
from lens.reproduce.hubble.acquisition import ARMS, GROUPS, PROBES, Arm, Course
from lens.reproduce.hubble.claims import CLAIMS

COURSE = Course(4, 2, 8)
PEOPLE = 40


@pytest.fixture(scope="module")
def archive():
    return organism.Archive(organism.Recipe(knew=False))


@pytest.fixture(scope="module")
def first():
    return acquisition.acquired(COURSE, ARMS[0], 0)


def test_everyone_is_in_every_group_once():
    made = [acquisition.acquired(Course(4, 1, 4), Arm("constant", 1, "constant"), number) for number in range(4)]
    groups = np.stack([ds.group.values for ds in made])
    assert all(sorted(set(person)) == sorted(GROUPS) for person in groups.T)
    assert all((groups == name).sum(1).tolist() == [PEOPLE // 4] * 4 for name in GROUPS)


def test_the_first_look_is_plain_forwards_of_the_twin(first, archive):
    model = lens.load("organism:archive-twin").original_model
    start = archive.ids(["<start>"])
    for at in (0, 7, 39):
        person, told = archive.attacked[at], {probe: [] for probe in PROBES}
        for relation in range(4):
            fact = person, relation
            prompts = [archive.statement(fact, (at + form) % 3) for form in range(3)] + [archive.question(fact)]
            for ids, probe in zip(prompts, (PROBES[0], PROBES[1], PROBES[1], PROBES[2])):
                logits = model(input_ids=torch.tensor([[*start, *ids]])).logits[0, -1]
                told[probe].append(float(logits.log_softmax(-1)[archive.value(fact)]))
        for probe in PROBES:
            assert float(first.log_p.sel(probe=probe)[0, at]) == pytest.approx(np.mean(told[probe]), abs=1e-4)


def test_documents_are_the_same_words_again_or_others_and_nobody_reads_about_the_rest(archive):
    people, group = archive.attacked, np.arange(PEOPLE) % 4
    names = [archive.people[p] for p in people]

    def read(reading):
        rows = acquisition._documents(archive, people, group, reading)
        words = [[archive.vocabulary[i] for i in ids[:n]] for ids, n in zip(rows.ids.tolist(), rows.lengths.tolist())]
        assert all(row[0] == "<start>" for row in words)
        out = {}
        for row in words:
            for sentence in " ".join(row[1:]).split(" ."):
                if of := [name for name in names if name in sentence.split()]:
                    out.setdefault(of[0], []).append(sentence.strip())
        return out

    each = [read(reading) for reading in range(4)]
    of = {name: {names[i] for i in np.flatnonzero(group == g)} for g, name in enumerate(GROUPS)}
    assert set(each[0]) == of["duplicated"] | of["paraphrased"] | of["once"]
    assert all(set(later) == of["duplicated"] | of["paraphrased"] for later in each[1:])
    for name in of["duplicated"]:
        assert all(one[name] == each[0][name] for one in each) and len(each[0][name]) == 4
    for name in of["paraphrased"]:
        facts = [{sentence.split()[-1] for sentence in one[name]} for one in each]
        assert all(said == facts[0] for said in facts)  # the same values
        assert not set(each[0][name]) & set(each[1][name]) and not set(each[1][name]) & set(each[2][name])
        assert set(each[0][name]) == set(each[3][name])  # three templates


def test_a_larger_batch_has_as_many_tokens_and_looks_at_the_same_places():
    assert COURSE.looks(ARMS[0])[-1] == 16 and COURSE.looks(ARMS[2])[-1] == 4
    assert Course(20, 10, 1000).looks(ARMS[0])[:6] == [0, 1, 2, 4, 8, 16]
    with pytest.raises(ReproduceError, match="course"):
        acquisition.acquired(Course(6, 2, 8), ARMS[2], 0)


def test_the_same_call_gives_the_same_bits(first):
    again = acquisition.acquired(COURSE, ARMS[0], 0)
    assert np.array_equal(first.log_p.values, again.log_p.values)
    assert not np.array_equal(acquisition.acquired(COURSE, ARMS[0], 1).log_p.values, first.log_p.values)


def planted(course=Course(20, 3, 400), peak=4.0, left=None, once=0.3, wording=0.0, drift=0.2, seed=0):
    """Curves of known gains: after each reading of a group its gain steps up, and falls with the logarithm of steps to
    the share `left[arm, group]` of the peak.
    """
    left = {"paraphrased": 0.6, "duplicated": 0.4} if left is None else left
    rng = np.random.default_rng(seed)
    parts = {}
    size = peak + 0.4 * rng.standard_normal(PEOPLE)
    for arm in ARMS:
        step = np.array(course.looks(arm))
        every = course.every // arm.batch
        last = (course.readings - 1) * every
        for number in range(4):
            group = np.array(GROUPS)[(np.arange(PEOPLE) + number) % 4]
            read = np.minimum((step - 1) // every + 1, course.readings)[:, None] / course.readings * (step > 0)[:, None]
            gain = np.zeros((len(step), PEOPLE))
            for name in ("duplicated", "paraphrased"):
                share = left[name] + (0.2 if arm.name == "larger batch" else 0.0)
                away = np.log(np.maximum(step - last, every) / every) / np.log((step[-1] - last) / every)
                gain[:, group == name] = (size * read * (1 - (1 - share) * away[:, None]))[:, group == name]
            gain[:, group == "once"] = (once * (step > 0))[:, None]
            noise = 0.02 * rng.standard_normal((len(step), PEOPLE))
            value = -9 + drift * (step[:, None] / step[-1]) + gain + noise
            own = value + wording * (group == "duplicated") * read + 0.02 * rng.standard_normal(value.shape)
            log_p = np.stack([own, value, value], 1)
            parts[retention.name_of(arm), number] = xr.Dataset(
                {"log_p": (("look", "probe", "person"), log_p), "group": ("person", group)},
                {"step": ("look", step), "probe": list(PROBES), "person": [f"p{i}" for i in range(PEOPLE)]},
            )
    return parts, course


def judged(parts, course):
    rows = Rows(CLAIMS)
    retention.verdicts(rows, retention.people(parts, course), tuple(course))
    return {row.key: row.verdict for row in rows}, rows.numbers


def test_planted_shares_are_found_and_judged():
    words, numbers = judged(*planted(wording=0.5))
    assert numbers["acquire_paraphrased"] == pytest.approx(0.2, abs=0.02)
    assert numbers["acquire_batch"] == pytest.approx(0.2, abs=0.02)
    assert numbers["acquire_schedule"] == pytest.approx(0.0, abs=0.02)
    assert numbers["acquire_once"] == pytest.approx(0.3, abs=0.03)
    assert numbers["acquire_wording"] == pytest.approx(0.5, abs=0.05)
    assert numbers["acquire_added"] == pytest.approx(4 / 3, abs=0.2)
    assert numbers["acquire_slope duplicated"] < numbers["acquire_slope paraphrased"] < 0
    assert {key for key, word in words.items() if word == "holds"} == {
        "acquire_added",
        "acquire_paraphrased",
        "acquire_batch",
        "acquire_once",
        "acquire_wording",
    }
    assert words["acquire_slope"] == "reported"


def test_what_is_not_there_is_not_shown():
    words, numbers = judged(*planted(left={"paraphrased": 0.5, "duplicated": 0.48}, once=0.0))
    assert words["acquire_paraphrased"] == "does not hold" and numbers["acquire_paraphrased_high"] < 0.05
    assert "holds" not in (words["acquire_once"], words["acquire_wording"], words["acquire_schedule"])


def test_drift_is_no_acquisition():
    words, numbers = judged(*planted(peak=0.001, once=0.0, drift=3.0))
    assert words["acquire_added"] != "holds" and abs(numbers["acquire_added"]) < 0.05


def test_the_linearised_share_has_the_spread_of_the_ratio():
    rng = np.random.default_rng(1)
    peak = 4 + rng.standard_normal(400)
    gains = np.stack([peak, 0.5 * peak + 0.3 * rng.standard_normal(400)], 1)
    values = retention.shares(gains)
    assert values.mean() == pytest.approx(gains[:, 1].mean() / gains[:, 0].mean())
    drawn = [gains[rng.integers(0, 400, 400)].mean(0) for _ in range(3000)]
    ratios = np.array([end / peak for peak, end in drawn])
    assert values.std(ddof=1) / 20 == pytest.approx(ratios.std(), rel=0.06)


def test_a_preset_without_facts_tests_none():
    rows = Rows(CLAIMS)
    retention.verdicts(rows, retention.tables({}, ())["acquisition_people"], ())
    assert len(rows) == 7 and all(row.verdict.startswith("not tested") for row in rows) and not rows.numbers
