"""Odd arguments: what stands behind a door is refused by name, or taken because it fits; always with an answer."""

import pytest

from lens.engine.stopping import Stopped
from tests import fuzz
from tests.fuzz import judge
from tests.fuzz.running import QUICK, figures
from tests.fuzz.subjects import families, without_subject
from tests.fuzz.values import _raising, bad_values
from tests.variants import few

#: Families all of whose public functions have a door.
BEHIND_DOORS = (
    "circuits",
    "curvature",
    "diffusion",
    "engine",
    "figures",
    "forgetting",
    "injection",
    "measure",
    "memorization",
    "models",
    "organisms",
    "patching",
    "provenance",
    "subspace",
    "training",
    "unlearning",
    "vectors",
)


@pytest.fixture(scope="module", autouse=True)
def folders(tmp_path_factory):
    """What subjects write lies in the folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("subjects")))
        yield


#: Ten processor seconds and more each.
SLOW = ("circuits", "diffusion", "figures")


@pytest.mark.parametrize("family", few(BEHIND_DOORS, lambda family: family not in SLOW))
def test_nothing_raw_comes_from_behind_a_door(family):
    made = fuzz.run(families=[family], seed=0, values=QUICK)
    told = [
        f"{f['function']}({f['argument']}: {f['value']}) {f['outcome']} {f['error'][:200]}"
        for f in made["faults"]
        if f["outcome"] in ("raw", "hang")
    ]
    assert not made["broken"] and not told, "\n".join([*made["broken"], *told])
    assert made["bad_inputs"] > 50 and made["own_and_named_fraction"] >= 0.97


@pytest.mark.parametrize("family", families())
def test_every_function_behind_a_door_has_a_call_that_works(family):
    assert not without_subject(family, doors_only=True)
    if family in BEHIND_DOORS:
        assert not without_subject(family)


def test_there_are_fifty_bad_values_for_every_argument():
    import random

    for annotation, value in (
        ("int", 1),
        ("str", "a"),
        ("Any", None),
        ("Callable", len),
        ("Mapping", {}),
        ("Int[Tensor]", None),
        ("Model", None),
    ):
        assert len(bad_values("x", annotation, value, random.Random(0))) >= 50
    assert [n for n, _ in bad_values("x", "int", 1, random.Random(3))] == [
        n for n, _ in bad_values("x", "int", 1, random.Random(3))
    ]


def test_an_outcome_is_judged_by_the_error_and_by_what_it_names():
    import lens

    cases = [
        (None, "accepted"),
        (lens.PatchError("k=0 does not fit"), "own_named"),
        (lens.PatchError("lack of prompts"), "own_unnamed"),
        (lens.SiteError("layers=3"), "own_unnamed"),
        (TypeError("k is odd"), "builtin_named"),
        (TypeError("nothing"), "raw"),
        (KeyError("k"), "raw"),
        (SystemExit("k"), "raw"),
        (KeyboardInterrupt(), "raw"),
    ]
    assert [judge.outcome(error, "k") for error, _ in cases] == [wanted for _, wanted in cases]
    assert judge.outcome(Stopped("stopped after 1 of 2"), "stop") == "accepted"
    with pytest.raises(ZeroDivisionError) as own:
        _raising()
    assert judge.outcome(own.value, "stop") == "accepted"  # what a given function raises comes through
    with pytest.raises(ZeroDivisionError) as other:
        1 / 0
    assert judge.outcome(other.value, "stop") == "raw"
    assert judge.names("layer=3 is out of range", "layers") and not judge.names("player=3", "layers")


def test_figures_count_a_hang_as_raw_and_no_refusal():
    from collections import Counter

    made = figures({"a": Counter(accepted=2, own_named=6, raw=1, hang=1), "b": Counter(own_named=2, builtin_named=1)})
    assert made == {
        "bad_inputs": 13,
        "raw_error_fraction": round(2 / 13, 5),
        "own_and_named_fraction": 0.8,
        "hangs": 1,
        "accepted": 2,
    }


def test_a_raw_error_a_hang_and_a_death_are_found(tmp_path):
    """The fuzzer finds what it is there to find, in a family made for it."""
    (tmp_path / "planted.py").write_text(PLANTED)
    made = fuzz.run(families=["planted"], seed=1, limit=5, beside=str(tmp_path))
    counts = made["by_function"]["planted", "planted"]
    wrong = {f["value"]: f["outcome"] for f in made["faults"]}
    assert (
        wrong["none"] == "raw"
        and wrong["true"] == "hang"
        and wrong["ten_to_30"] == "raw"
        and wrong["word"] == "builtin_named"
    )
    assert (
        counts["hang"] == made["hangs"] == 1
        and counts["accepted"] > 20
        and made["broken"] == ["planted.broken: ZeroDivisionError: division by zero"]
    )


PLANTED = """
import os, time
from . import Subject

MODULES = ()


def planted(x):
    if x is None:
        raise KeyError("x")
    if x is True:
        time.sleep(60)
    if type(x) is int and x == 10**30:
        os._exit(3)
    if isinstance(x, str) and x == "nonsense":
        raise ValueError("x is nonsense")


def broken(x):
    1 / 0


def subjects():
    yield Subject("planted", planted, lambda: dict(x=3))
    yield Subject("broken", broken, lambda: dict(x=3), leave=("x",))
"""
