"""Every public summary, found by its name: n, an interval with its kind, a test with its kind, and what counts as one.

A summary that is new fails here until it has a made-up result below, or is one of those that describe something of
which nothing was sampled.
"""

import importlib
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import lens
from lens.results import dataset as results
from lens.stats.effects import UNITS

README = (Path(__file__).parents[1] / "README.md").read_text()
#: what is called a summary and describes weights: nothing is sampled, so that there is no interval and no test
DESCRIPTIONS = {"lens.curvature.Edit.summary"}
#: summaries by another name
NAMED = ("over_items",)
N = 12


def public_summaries():
    """Name -> function, each once: of the public names of `lens` and of its modules; methods of public classes too."""
    found, seen = {}, set()
    for module in (lens, *(importlib.import_module(f"lens.{name}") for name in lens._MODULES)):
        for name in getattr(module, "__all__", []):
            thing = getattr(module, name)
            methods = inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else []
            for label, function in [(name, thing), *((f"{name}.{n}", f) for n, f in methods if not n.startswith("_"))]:
                if (
                    inspect.isfunction(function)
                    and ("summary" in label.rpartition(".")[2] or label in NAMED)
                    and function not in seen
                ):
                    seen.add(function)
                    found[f"{module.__name__}.{label}"] = function
    return found


def result(seed, variables, coords=None, **record):
    return results.stamp(
        xr.Dataset(variables, coords or {}), {"kind": "made up", "status": "complete", "call": {}, **record}
    )


def truths(rng, *shape, p=0.6):
    return rng.random(shape) < p


def patched(rng):
    return result(0, {"effect": (("prompt", "layer"), rng.normal(0.4, 1, (N, 3)))}, {"layer": [0, 1, 2]})


def heads(rng):
    return result(
        0, {"effect": (("prompt", "layer", "head"), rng.normal(0.4, 1, (N, 2, 2)))}, {"layer": [0, 1], "head": [0, 1]}
    )


def injected(rng):
    dims, shape = ("item", "layer", "strength", "condition"), (N, 2, 2, 2)
    one = {
        "multi_logprob": ("item", -rng.exponential(size=N)),
        "multi_first": ("item", -rng.exponential(size=N)),
        "multi_exact": ("item", truths(rng, N)),
    }
    cells = {
        "logprob": (dims, -rng.exponential(size=shape)),
        "first": (dims, -rng.exponential(size=shape)),
        "exact": (dims, truths(rng, *shape)),
    }
    return result(0, one | cells, {"layer": [0, 1], "strength": [1.0, 2.0], "condition": ["memory", "random"]})


def read(rng):
    return result(
        0,
        {
            "reading": (("item", "layer"), rng.normal(1, 1, (N, 2))),
            "reading_other": (("item", "layer"), rng.normal(size=(N, 2))),
        },
        {"layer": [0, 1]},
    )


def tuned(rng):
    correct = truths(rng, 1, 2, 2, N).astype(float)
    return result(
        0,
        {
            "correct": (("stage", "step", "probe", "prompt"), correct),
            "accuracy": (("stage", "step", "probe"), correct.mean(-1)),
            "n": ("probe", [N, N]),
            "last_step": ("stage", [5]),
        },
        {"stage": ["s"], "step": [0, 5], "probe": ["p", "q"], "kind": ("probe", ["instruction", "knowledge"])},
    )


def recited(rng):
    of = {
        "strict": truths(rng, N),
        "loose": truths(rng, N),
        "lev": rng.random(N),
        "exact_prefix": rng.integers(0, 9, N),
        "rouge_l": rng.random(N),
        "nll": rng.exponential(size=N),
    }
    return result(
        0,
        {k: ("sequence", v) for k, v in of.items()},
        {"duplicates": ("sequence", [0, 8] * (N // 2)), "name": ("sequence", [f"s{i}" for i in range(N)])},
    )


def exposed(rng):
    of = {
        "exposure": rng.exponential(size=N),
        "null": np.full(N, 1.4),
        "largest": np.full(N, 4.0),
        "loss": rng.normal(2, 1, N),
    }
    return result(
        0,
        {**{k: ("sequence", v) for k, v in of.items()}, "foil_loss": ("foil", rng.normal(3, 1, 15))},
        {
            "kind": ("sequence", ["code"] * N),
            "foil_kind": ("foil", ["code"] * 15),
            "duplicates": ("sequence", [1, 8] * (N // 2)),
        },
    )


def damaged(rng):
    text = {
        "nll_before": 20 + rng.normal(size=N),
        "nll_after": 22 + rng.normal(size=N),
        "tokens": rng.integers(8, 12, N),
        "ndcg": 1 - rng.random(N) / 5,
        "copy_loss_before": rng.random(N),
        "copy_loss_after": rng.random(N),
    }
    item = {"right_before": truths(rng, N), "right_after": truths(rng, N, p=0.4)}
    heads = {f"prefix_matching_{w}": (("random", "layer", "head"), rng.random((8, 2, 2))) for w in ("before", "after")}
    return result(
        0,
        {**{k: ("text", v) for k, v in text.items()}, **{k: ("item", v) for k, v in item.items()}, **heads},
        {"task": ("item", ["sum"] * N), "bin": ("item", [""] * N), "chance": ("item", np.full(N, 0.1))},
    )


def traded(rng):
    cells = {
        "strict": truths(rng, 3, N),
        "loose": truths(rng, 3, N),
        "lev": rng.random((3, N)),
        "exact_prefix": rng.integers(0, 9, (3, N)),
        "rouge_l": rng.random((3, N)),
        "nll": rng.random((3, N)),
    }
    ds = result(
        0,
        {
            **{k: (("edit", "sequence"), v) for k, v in cells.items()},
            "nll_text": (("edit", "text"), 20 + rng.random((3, N))),
            "ndcg": (("edit", "text"), rng.random((3, N))),
            "tokens": ("text", rng.integers(8, 12, N)),
        },
        {"edit": ["unedited", ".9", ".5"], "set": ("sequence", ["val"] * N)},
    )
    ds["clean_loss"] = ds.nll_text.sum("text") / ds.tokens.sum()
    return ds.assign(perplexity=np.exp(ds.clean_loss))


def relearned(rng):
    return result(
        0,
        {"strict": (("model", "on", "step", "sequence"), truths(rng, 1, 1, 3, N).astype(float))},
        {"model": ["edited"], "on": ["others"], "step": [0, 1, 2], "set": ("sequence", ["target"] * N)},
    )


def recognised(rng):
    return result(
        0, {"recognised": (("foil", "sequence"), truths(rng, 2, N))}, {"foil": ["other", "scrambled"]}
    ).assign(doubt=("foil", ["", "foils were made of the sequences"]))


def unlearned(rng):
    """A start model and an arm of two looks: questions of which some are answered as planted, and two sets of rows."""
    cells = ("arm", "look")
    outcome = rng.integers(0, 4, (2, 2, N)).astype(np.int8)
    outcome[0] = np.tile([1, 3], N // 2)
    return result(
        0,
        {
            "outcome": ((*cells, "question"), outcome),
            "kl_twin": ((*cells, "question"), rng.exponential(size=(2, 2, N))),
            "forget_logprob": ((*cells, "forget"), -rng.exponential(size=(2, 2, N))),
            "retain_logprob": ((*cells, "retain"), -rng.exponential(size=(2, 2, N))),
            "dose": (cells, [[0.0, 1.0], [0.0, 1.0]]),
            "status": ("arm", ["complete"] * 2),
        },
        {
            "arm": ["start", "npo"],
            "look": [0, 1],
            "is_model": ("arm", [True, False]),
            "attacked": ("question", np.ones(N, bool)),
        },
    )


#: summary -> a made-up result, its axes of units, options
MADE = {
    "lens.summary": (patched, ("prompt",), {}),
    "lens.vectors.summary": (heads, ("prompt",), {}),
    "lens.injection.summary": (injected, ("item",), {}),
    "lens.injection.over_items": (read, ("item",), {}),
    "lens.forgetting.summary": (tuned, ("prompt",), {}),
    "lens.unlearning.summary": (unlearned, ("question", "forget", "retain"), {}),
    "lens.memorization.summary": (recited, ("sequence",), {}),
    "lens.memorization.extraction_summary": (recited, ("sequence",), {}),
    "lens.memorization.exposure_summary": (exposed, ("sequence",), {}),
    "lens.memorization.damage_summary": (damaged, ("text", "item"), {}),
    "lens.memorization.tradeoff_summary": (traded, ("sequence", "text"), {}),
    "lens.memorization.relearning_summary": (relearned, ("sequence",), {}),
    "lens.memorization.recognition_summary": (recognised, ("sequence",), {}),
}
SUMMARIES = public_summaries()


def rows(found):
    """A summary as a list of rows, one a cell."""
    return found.to_dataframe().reset_index().to_dict("records")


def pooled_by(name, ds, axis, field):
    """The result with every unit twice, side by side, and a coordinate that says so."""
    twice = ds.isel({axis: np.repeat(np.arange(ds.sizes[axis]), 2)}).drop_vars(axis, errors="ignore")
    labels = np.repeat([f"u{i}" for i in range(ds.sizes[axis])], 2)
    several = len(MADE[name][1]) > 1
    if name == "lens.forgetting.summary":
        return twice.assign(n=("probe", [2 * N] * 2)).assign_coords(
            {field: (("probe", "prompt"), [[f"{p} {u}" for u in labels] for p in "pq"])}
        )
    return twice.assign_coords({f"{field}_{axis}" if several else field: (axis, labels)})


def test_every_summary_is_covered():
    assert set(SUMMARIES) == set(MADE) | DESCRIPTIONS, (
        "a public summary without a made-up result here, or one that is gone"
    )
    assert len(SUMMARIES) > 10
    promise = " ".join(README.split())
    assert "Every summary of what was measured has its sample size, interval and test" in promise
    assert "`curvature.Edit.summary`" in promise and "cannot rise" in promise  # what has none is said in so many words


@pytest.mark.parametrize("name", MADE)
def test_every_summary_has_one_face(name, tmp_path):
    """A result with the same variables, whatever the family; a file keeps it."""
    made = MADE[name][0](np.random.default_rng(3))
    found = SUMMARIES[name](made)
    assert isinstance(found, results.Result) and found["mean"].dims and found["mean"].dtype.kind == "f"
    for variable in ("low", "high", "p", "p_kind", "interval_kind", "n"):
        assert set(found[variable].dims) <= set(found["mean"].dims)
    for variable in ("low", "high"):
        assert found[variable].dims == found["mean"].dims
    record = results.provenance(found)
    assert "summary" in record["kind"] and record["status"] == "complete"
    lens.save(found, tmp_path / "summary.zarr")
    assert lens.open(tmp_path / "summary.zarr").identical(found)


@pytest.mark.parametrize("name", MADE)
def test_n_interval_and_test_in_every_row(name):
    make, _axes, options = MADE[name]
    found = rows(SUMMARIES[name](make(np.random.default_rng(3)), **options))
    assert found
    for row in found:
        assert int(row["n"]) == row["n"] and row["n"] >= 1
        kinds = [key for key in row if str(key).endswith("interval_kind")]
        assert kinds
        for key in kinds:
            low, high = (row[key.removesuffix("interval_kind") + end] for end in ("low", "high"))
            none = str(row[key]).startswith(("not available: ", "none: "))
            assert np.isnan([low, high]).all() if none else low <= high and str(row[key])
        if np.isnan(row["p"]):
            assert re.fullmatch(r"none: .+", row["p_kind"])
        else:
            assert 0 < row["p"] <= 1 and re.fullmatch(r"(exact|monte carlo) if .+|approximate(: .+)?", row["p_kind"]), (
                row["p_kind"]
            )
        assert str(row["units"])
    assert any(not np.isnan(row["p"]) for row in found)


@pytest.mark.parametrize("field", UNITS)
@pytest.mark.parametrize("name", MADE)
def test_units_are_guessed_from_the_fields_and_count_once(name, field):
    """Every unit twice, and a field that says so: the numbers of each once, with every kind of field that is guessed
    from.
    """
    make, axes, options = MADE[name]
    once = make(np.random.default_rng(4))
    twice = once
    for axis in axes:
        twice = pooled_by(name, twice, axis, field)
    if name == "lens.memorization.tradeoff_summary":
        twice = twice.assign(clean_loss=once.clean_loss, perplexity=once.perplexity)
    call = SUMMARIES[name]
    want, got = rows(call(once, cluster=None, **options)), rows(call(twice, **options))
    for a, b in zip(want, got, strict=True):
        assert (
            "guessed from their fields" in b["units"]
            or b["units"].startswith("each of 4 random")
            or b["units"].startswith("each of 8 random")
        )
        for key in a:
            p_is_anothers = name.endswith("exposure_summary") and key.startswith(
                "p"
            )  # units are compared by another test there
            if isinstance(a[key], (int, float, np.number)) and not p_is_anothers:
                assert b[key] == pytest.approx(a[key], rel=1e-9, abs=1e-12, nan_ok=True), (key, a[key], b[key])
    every = rows(call(twice, cluster=None, **options))
    assert max(row["n"] for row in every) == 2 * max(row["n"] for row in want)


@pytest.mark.parametrize("name", MADE)
def test_a_cluster_that_is_not_there_is_named(name):
    make, axes, options = MADE[name]
    assert inspect.signature(SUMMARIES[name]).parameters["cluster"].default == "auto"
    with pytest.raises(ValueError, match="cluster='shoe'"):
        SUMMARIES[name](make(np.random.default_rng(5)), cluster="shoe", **options)
    with pytest.raises(ValueError, match="cluster (has shape|is a list)"):
        SUMMARIES[name](make(np.random.default_rng(5)), cluster=["a", "b"], **options)
    if len(axes) > 1:
        for axis in axes:
            with pytest.raises(ValueError, match="cluster has shape"):
                SUMMARIES[name](make(np.random.default_rng(5)), cluster={axis: ["a", "b"]}, **options)
        with pytest.raises(ValueError, match="cluster has the axis 'shoe'"):
            SUMMARIES[name](make(np.random.default_rng(5)), cluster={"shoe": None}, **options)
