"""The subspace bench's state without a browser: what is located, measured, cached, stopped, refused, put in force and
undone; its numbers beside those of `tradeoff`.
"""

import itertools
import threading

import numpy as np
import pandas as pd
import pytest
import torch

import lens
import widgets
from lens import curvature, memorization, subspace
from lens.engine.weights import WeightError
from lens.memorization import Sequences
from lens.models import weight_hash
from lens.stats import halves, proportion
from lens.subspace import activations
from tests.memorization.helpers import clean, known, taught, weights
from tests.models import word_tokenizer
from tests.variants import few
from tests.widgets.fakes import SCRIPT, without_last_inputs
from widgets.subspace_bench import locator as subspace_locator
from widgets.subspace_bench import work as subspace_work

SECONDS = 60
POINTS, KEPT = (0.04, 0.1), (0.9, 0.6)


def tokenizer():
    """Token 2 is a script, the others are words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({(SCRIPT if i == 2 else f"w{i}"): i for i in range(97)}, unk_token="w0"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, eos_token="w0", unk_token="w0", pad_token="w0")


def speaking():
    model = taught()
    model.tokenizer = tokenizer()
    return model


def bench(model=None, memorised=None, reference=None, **options):
    view = widgets.SubspaceBench(
        model if model is not None else speaking(),
        memorised or {"known": known()},
        reference if reference is not None else {"random": clean(60)},
        **({"sparsities": POINTS, "kept": KEPT} | options),
    )
    assert view.wait(SECONDS)
    return view


def ask(view, **fields):
    view._on_message(view, {"type": "run", "fields": fields}, [])
    assert view.wait(SECONDS)
    return view


@pytest.fixture(scope="module")
def asked(tmp_path_factory):
    """A view with its curve, for those who only look at it."""
    with pytest.MonkeyPatch.context() as patch:
        without_last_inputs(tmp_path_factory, patch)
        yield ask(bench())


def floats(value):
    return np.frombuffer(value, "<f4")


# --- the numbers


@pytest.mark.parametrize("method", few(["contrast", "wanda", "activation", "random", "curvature"], ["contrast"]))
def test_the_curve_is_that_of_tradeoff(method):
    model = speaking()
    view = ask(bench(model), method=method, seed=3)
    assert view.status == "complete", view.error
    every, rows = known(), list(clean(60))
    half, other = halves(len(every), 3, every.duplicates), halves(60, 3)
    sets = {"kept apart": every.subset(half.report), "found on": every.subset(half.select)}
    seen, texts = [rows[i] for i in other.select], [rows[i] for i in other.report]
    if method == "curvature":
        decomposition = curvature.decompose(model, curvature.factors(model, "mlp", np.stack(seen), seed=3))
        edits = {s: curvature.keep(decomposition, s) for s in KEPT}
        controls = {s: curvature.control(decomposition, "random", edits[s], match="norm", seed=3) for s in KEPT}
    else:
        edits = {
            s: subspace.locate(model, sets["found on"], seen, method=method, sparsity=s, layers="mlp", seed=3)
            for s in POINTS
        }
        controls = {
            s: subspace.random_like(edits[s], 3, "columns" if method == "activation" else "rows") for s in POINTS
        }
    for name, family in (("edit", edits), ("random", controls)):
        expected = memorization.tradeoff(model, family, sets, texts, copying=0, heads=False)
        table = memorization.tradeoff_summary(expected, seed=3).to_dataframe().reset_index()
        for i, strength in enumerate(family):
            for part in sets:
                row, mine = (
                    table[(table.edit == str(strength)) & (table.set == part)].iloc[0],
                    view.found[name][i][part],
                )
                for key, theirs in (
                    ("strict", "strict"),
                    ("loose", "loose"),
                    ("lev", "lev"),
                    ("exact_prefix", "exact_prefix"),
                    ("loss", "clean_loss"),
                    ("rise", "rise"),
                    ("rise_low", "rise_low"),
                    ("rise_high", "rise_high"),
                    ("ndcg", "ndcg"),
                ):
                    assert mine[key] == pytest.approx(row[theirs], abs=1e-6), (key, strength, part)
                exact = proportion(round(mine["strict"] * mine["n"]), mine["n"])
                assert (mine["strict_low"], mine["strict_high"]) == pytest.approx((exact.low, exact.high)), (
                    "a share has its exact interval, also at 0"
                )
    line = view.result.sel(edit=f"{next(iter(edits)):g}")
    np.testing.assert_array_equal(
        line.strict.values,
        memorization.tradeoff(model, edits, sets, texts, copying=0, heads=False).isel(edit=1).strict.values,
    )
    assert view.found["unedited"]["kept apart"]["strict"] == 1 and view.found["hashes"][0] == view.found["hashes"][
        1
    ] == weight_hash(model)
    assert (
        "random bases" if method == "curvature" else "random neurons" if method == "activation" else "random weights"
    ) in view.found["control"]


def test_the_map_has_the_share_of_every_matrix(asked):
    view = asked
    found, sides = view.found, view._shown.sides
    mask = subspace.locate(view.model, sides.found, sides.reference, sparsity=0.1)
    assert found["grid"]["matrices"] == ["gate_proj", "up_proj", "down_proj"] and found["grid"]["blocks"] == [0, 1, 2]
    cells = floats(found["cells"]).reshape(len(POINTS), 3, 3)
    for r, matrix in enumerate(("gate_proj", "up_proj", "down_proj")):
        for block in range(3):
            assert cells[1, r, block] == pytest.approx(mask.densities()[f"model.layers.{block}.mlp.{matrix}"], rel=1e-6)
    assert found["shares"][1] == pytest.approx(mask.density)


def test_texts_show_what_was_generated(asked):
    view = asked
    texts, run = view.found["texts"], view._shown
    memorised = [item for item in texts["items"] if item["what"] == "kept apart"]
    assert len(memorised) == 6 and [item["what"] for item in texts["items"]][-2:] == ["clean", "clean"]
    made = floats(texts["made"]).astype(int)
    sizes = [len(item["gold"]) for item in texts["items"]]
    first = made[: 3 * sizes[0]].reshape(3, -1)
    name = memorised[0]["name"]
    for i, edit in enumerate(("unedited", "0.04", "0.1")):
        at = list(run.dataset.name.values).index(name)
        written = [texts["tokens"][k] for k in first[i]]
        assert written == [SCRIPT if t == 2 else f"w{t}" for t in run.dataset.generated.sel(edit=edit).values[at]]
    assert len(made) == 3 * sum(sizes)
    half = next(iter(run.sides.sets.values()))
    assert [texts["tokens"][k] for k in memorised[0]["given"]] == [
        SCRIPT if t == 2 else f"w{t}" for t in half.prefixes[list(half.names).index(name)]
    ]


# --- points are computed once


@pytest.mark.long
def test_a_second_run_computes_only_what_is_new(monkeypatch):
    view, calls = bench(), []
    kept = subspace_work.measured
    monkeypatch.setattr(subspace_work, "measured", lambda *a, **k: calls.append(1) or kept(*a, **k))
    ask(view, sparsities="0.04, 0.1")
    assert len(calls) == 5 and view.found["strengths"] == [0.04, 0.1]
    ask(view, sparsities="0.1; 0.2")
    assert len(calls) == 7 and view.found["strengths"] == [0.04, 0.1, 0.2] and view.status == "complete"
    ask(view, method="magnitude")
    assert len(calls) == 12
    before = view.found["number"]
    view._on_message(view, {"type": "move", "fields": {"method": "contrast"}}, [])
    assert view.wait(SECONDS) and view.found["fields"]["method"] == "contrast" and view.found["number"] != before, (
        "a curve that is there is shown at once"
    )


def test_statistics_are_run_once_for_two_methods(monkeypatch):
    view, calls = bench(options={"margin": 0.0}, method="corrected"), []
    ask(view)
    assert view.status == "complete", view.error
    kept = activations._reader

    def watched(core, tokens):
        run = kept(core, tokens)
        return lambda some: calls.append(1) or run(some)

    monkeypatch.setattr(activations, "_reader", watched)
    ask(view, method="contrast")
    assert view.status == "complete" and calls == [], "the sums on disk were read back"


def test_a_stop_keeps_the_points_that_are_there_and_the_weights(monkeypatch):
    model = speaking()
    view, gate, reached = bench(model, sparsities=(0.04, 0.1, 0.2)), threading.Event(), threading.Event()
    before, kept, calls = weights(model), subspace_work.measured, []

    def slow(*a, **k):
        calls.append(1)
        if len(calls) == 4:
            reached.set()
            assert gate.wait(SECONDS)
        return kept(*a, **k)

    monkeypatch.setattr(subspace_work, "measured", slow)
    view.run()
    assert reached.wait(SECONDS)
    view.put()
    view.stop()
    gate.set()
    assert view.wait(SECONDS)
    assert (
        view.status == "stopped"
        and view.found["strengths"] == [0.04, 0.1]
        and not view.found["complete"]
        and "stopped: 2 of 3" in view.progress["text"]
    )
    assert "slider" in view.force["text"] or "being computed" in view.force["text"]
    assert torch.equal(weights(model), before)
    ask(view)
    assert view.status == "complete" and len(calls) == 7


def test_an_exception_in_the_middle_leaves_the_weights(monkeypatch):
    model = speaking()
    view, before, kept, calls = bench(model), weights(model), memorization.extract, []

    def failing(*a, **k):
        calls.append(1)
        if len(calls) == 5:
            raise RuntimeError("the disk is full")
        return kept(*a, **k)

    monkeypatch.setattr(memorization, "extract", failing)
    ask(view)
    assert view.status == "error" and "disk is full" in view.error["text"] and torch.equal(weights(model), before)


# --- an edit by hand


@pytest.mark.parametrize("method", few(["contrast", "curvature"], ["contrast"]))
def test_put_and_undo_are_bit_equal(method):
    model = speaking()
    before, digest = weights(model), weight_hash(model)
    view = ask(bench(model), method=method)
    assert view.at == 1, "the first curve opens in its middle"
    view.put(wait=True)
    assert (
        view.force["state"] == "in force"
        and view.force["before"] == digest != view.force["now"]
        and not torch.equal(weights(model), before)
    )
    ask(view)
    assert view.status == "error" and "undo it first" in view.error["text"]
    with pytest.raises(WeightError, match="applied twice"):
        with view.mask().applied(model):
            pass
    view.at = 2
    view.put(wait=True)
    assert view.force["state"] == "in force" and ("0.1" if method == "contrast" else "0.6") in view.force["what"], (
        "another point takes the place of the first"
    )
    view.undo(wait=True)
    assert (
        view.force["state"] == "undone"
        and view.force["same"]
        and view.force["now"] == digest
        and torch.equal(weights(model), before)
    )
    view.undo(wait=True)
    view.put(wait=True)
    view.close()
    assert torch.equal(weights(model), before), "a view that is closed leaves no edit behind"


def test_nothing_is_put_in_force_unedited():
    view = bench()
    view.put(wait=True)
    assert view.force["state"] == "error" and "slider" in view.force["text"]
    with pytest.raises(ValueError, match="unedited"):
        view.mask()


# --- what is refused


def test_sets_that_overlap_are_refused_and_listed():
    shared = np.concatenate([known().ids[:2], clean(10, 16)])
    view = bench(reference={"shared": shared, "random": clean(60)})
    assert "overlap" in view.doubts["refused"] and "memorised[0]" in view.doubts["refused"]
    ask(view, reference="shared")
    assert view.status == "error" and view.error["text"] == view.doubts["refused"] and view.found == {}
    view.reference = "random"
    assert view.wait(SECONDS) and view.doubts["refused"] == ""


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sparsities": "0.1, x"}, "no list of numbers"),
        ({"sparsities": "2"}, "above 0 and below 1"),
        ({"sparsities": ""}, "1 to 40"),
        ({"sparsities": "0.001"}, "less than one"),
    ],
)
def test_points_that_cannot_be_are_explained(fields, words):
    view = ask(bench(), **fields)
    assert view.status == "error" and words in view.error["text"]


def test_a_point_that_cannot_be_made_is_left_out_and_said():
    view = ask(bench(), sparsities="0.001, 0.1")
    assert (
        view.status == "complete"
        and view.found["strengths"] == [0.1]
        and view.found["failed"][0][0] == "0.001"
        and "less than one" in view.found["failed"][0][1]
    )
    empty = ask(bench(method="corrected", options={"margin": 1e6}))
    assert (
        empty.status == "error"
        and "mask is empty" in empty.error["text"]
        and empty.found["failed"][0][0] == "0.04, 0.1"
    )


def test_points_that_were_left_out_or_not_asked_for_are_not_counted_as_missing():
    view = ask(bench(), sparsities="0.001, 0.04, 0.1")
    assert (
        view.progress["text"].startswith("2 of 3 points")
        and ", 1 left out, " in view.progress["text"]
        and view.progress["done"] == view.progress["total"] == 3
    )
    ask(view, sparsities="0.1")
    assert (
        view.found["strengths"] == [0.04, 0.1]
        and view.progress["text"].startswith("1 of 1 points")
        and view.progress["done"] == view.progress["total"] == 1
    )


def test_factors_of_too_few_tokens_are_refused_at_once_unless_told_otherwise(monkeypatch):
    few, kept, seen = {"few": clean(4, 12)}, curvature.factors, []
    monkeypatch.setattr(curvature, "factors", lambda *a, **k: (seen.append(1), kept(*a, **k))[1])
    view = ask(bench(reference=few, method="curvature"))
    assert (
        view.status == "error"
        and "the 22 tokens of 2 texts have rank 22 at most" in view.error["text"]
        and "deficient=" in view.error["text"]
        and not seen
        and "meanwhile" not in view.progress["text"]
    )
    view = ask(bench(reference=few, method="curvature", deficient="keep"))
    assert (
        view.status == "complete"
        and seen == [1]
        and len(view.found["notes"]) == 1
        and "(and of 8 other layers)" in view.found["notes"][0]
    )


@pytest.mark.long
def test_eigenvectors_are_counted_and_can_be_stopped(monkeypatch):
    view, kept, seen = bench(), curvature.decompose, []

    def watched(*a, **k):
        if len(seen) == 2:
            view.stop()
        return kept(*a, **k)

    monkeypatch.setattr(curvature, "decompose", watched)
    view.observe(
        lambda change: seen.append(text) if (text := change.new.get("text", "")).startswith("Eigen") else None,
        "progress",
    )
    ask(view, method="curvature")
    assert (
        view.status == "stopped"
        and seen == [f"Eigenvectors, {n} of 9 layers …" for n in (0, 2)]
        and view.found["strengths"] == []
    )
    monkeypatch.setattr(curvature, "decompose", kept)
    again = ask(view, method="curvature")
    whole = kept(again.model, curvature.factors(again.model, "mlp", np.stack(again._shown.sides.reference), seed=0))
    assert again.status == "complete" and list(again._shown.locator._decomposition) == list(whole)
    for name, layer in whole.items():
        assert torch.equal(again._shown.locator._decomposition[name].u_a, layer.u_a) and torch.equal(
            again._shown.locator._decomposition[name].mu, layer.mu
        )


@pytest.mark.long
def test_sequences_without_a_name_are_called_by_their_number():
    numbered = Sequences(known().ids, known().prefix)
    view = ask(bench(memorised={"known": numbered}))
    names = [item["name"] for item in view.found["texts"]["items"] if item["what"] != "clean"]
    assert (
        names
        and all(name.startswith("sequence ") and name.split()[1].isdigit() for name in names)
        and "<strong>sequence " in view._static()
    )


def test_an_edit_on_its_way_says_so():
    view, seen = ask(bench()), []
    view.observe(lambda change: seen.append((change.new["state"], change.new.get("doing", ""))), "force")
    view.put(wait=True)
    view.put(wait=True)
    view.undo(wait=True)
    assert seen == [
        ("none", "Setting the edit in force …"),
        ("in force", ""),
        ("in force", "Setting the edit in force …"),
        ("in force", ""),
        ("undone", ""),
    ]
    view.at = 0
    view.put(wait=True)
    assert view.force["state"] == "error" and "doing" not in view.force


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memorised": {"": known()}}, "cannot be shown"),
        ({"memorised": {"a": clean(5)}}, "prefix="),
        ({"memorised": {"a": ["w1 w2 w3 w4"]}}, "prefix=, suffix="),
        ({"method": "magic"}, "is not one of"),
        ({"reference": {"a": [[1]]}}, "at least two token ids"),
        ({"deficient": "hope"}, "is not one of"),
        ({"level": 2}, "level"),
        ({"sparsities": (0.0,)}, "above 0"),
    ],
)
def test_bad_arguments(options, words):
    with pytest.raises(ValueError, match=words):
        bench(**options)


def test_layers_that_match_nothing_are_listed():
    view = ask(bench(layers="*.mlp.nothing"))
    assert view.status == "error" and view.error["title"] == "No such layers" and "near ones" in view.error["text"]


@pytest.mark.long
def test_few_sequences_are_not_halved():
    view = ask(bench(memorised={"three": known().subset(range(3))}))
    assert view.found["sets"] == ["found on"] and view.status == "complete"
    view = ask(bench(reference={"two": clean(2)}))
    assert view.status == "error" and "clean=" in view.error["text"]
    assert ask(bench(reference={"two": clean(2)}, clean=clean(8, seed=9))).status == "complete"


def test_a_message_cannot_set_what_is_no_field():
    view = bench()
    for message in (
        {"type": "run", "fields": {"found": {"x": 1}}},
        {"type": "nothing"},
        "text",
        {"type": "document", "kind": "exe"},
        {"type": "move", "fields": {"method": "magic", "at": "three"}},
    ):
        view._on_message(view, message, [])
        assert view.wait(SECONDS)
    assert view.found.get("x") is None and view.document == {} and view.method == "contrast"


# --- what is kept


@pytest.mark.long
def test_the_curve_and_the_mask_are_saved(tmp_path, monkeypatch):
    view = ask(bench())
    for name in ("curve.zarr", "curve.nc", "curve.csv", "mask.npz"):
        view._on_message(view, {"type": "save", "path": str(tmp_path / name)}, [])
        assert view.wait(SECONDS) and view.saved["ok"], view.saved
    again = lens.open(tmp_path / "curve.zarr")
    assert again.strict.equals(view.result.strict) and lens.record(again)["call"]["question"]["method"] == "contrast"
    assert len(pd.read_csv(tmp_path / "curve.csv"))
    mask = subspace.Mask.load(tmp_path / "mask.npz")
    assert mask.iou(view.mask()) == 1 and mask.model == weight_hash(view.model)
    view._on_message(view, {"type": "document", "kind": "npz"}, [])
    assert view.wait(SECONDS) and view.document["kind"] == "npz"
    (tmp_path / "sent.npz").write_bytes(view.document["data"])
    assert subspace.Mask.load(tmp_path / "sent.npz").iou(mask) == 1
    for path, words in (
        ("", "is empty"),
        (str(tmp_path / "mask.npz"), "is there already"),
        (str(tmp_path / "a.xyz"), ""),
    ):
        view._on_message(view, {"type": "save", "path": path}, [])
        assert view.wait(SECONDS) and not view.saved["ok"] and words in view.saved["text"]
    ask(view, method="curvature")
    with pytest.raises(ValueError, match="has no mask"):
        view.save(str(tmp_path / "b.npz"))
    monkeypatch.setattr(subspace_locator.Locator, "edit", lambda *a: pytest.fail("made, although it has no mask"))
    view._on_message(view, {"type": "document", "kind": "npz"}, [])
    assert view.wait(SECONDS) and "has no mask" in view.saved["text"]


@pytest.mark.parametrize(
    ("method", "how"),
    few(
        itertools.product(("contrast", "curvature", "zero_out"), ("ids", "texts")),
        [("contrast", "texts"), ("curvature", "ids")],
    ),
)
def test_the_python_shown_makes_the_numbers(method, how, capsys):
    model = speaking()
    say = lambda rows: [" ".join(SCRIPT if t == 2 else f"w{t}" for t in row) for row in rows]  # noqa: E731
    given = (
        ({"known": known()}, {"random": clean(60)}, {})
        if how == "ids"
        else (
            {"known": say(known().ids)},
            {"random": say(clean(60))},
            {"prefix": 6, "suffix": 10, "clean": say(clean(6, seed=9))},
        )
    )
    view = ask(bench(model, given[0], given[1], **given[2]), method=method, sparsities="0.1", kept="0.8", seed=1)
    assert view.status == "complete", view.error
    names = {"model": model, "memorised": given[0], "reference": given[1], "clean": given[2].get("clean")}
    exec(compile(view.code, "view", "exec"), names)
    line, found = names["curve"].isel(edit=1), view.found["random"][0]
    for part in view.found["sets"]:
        assert float(line.nll.values[line.set.values == part].mean()) == pytest.approx(found[part]["nll"], rel=1e-5)
    assert (
        float(line.clean_loss) == pytest.approx(found["kept apart"]["loss"], rel=1e-6)
        and "edit" in capsys.readouterr().out
    )


@pytest.mark.long
def test_the_stored_copy_has_the_numbers_the_texts_and_an_image():
    view = bench(memorised={SCRIPT: known()})
    assert "No curve had been computed" in view._static()
    ask(view)
    text = view._static()
    assert (
        SCRIPT not in text
        and "&lt;script&gt;" in text
        and "data:image/png;base64,iVBOR" in text
        and text.count("<tr>") > 8
        and "<u>[" in text
        and "kept apart" in text
    )
    assert len(text) < 200_000 and view._static_bundle()["text/plain"].startswith("<SubspaceBench: LlamaForCausalLM")


def test_the_module_is_small_and_loads_nothing(asked):
    view = asked
    assert (
        len(view._esm) < 50_000
        and "http://" not in view._esm.replace("http://www.w3.org/2000/svg", "")
        and "https://" not in view._esm
    )
    assert isinstance(view.found["cells"], bytes) and isinstance(view.found["texts"]["made"], bytes)


@pytest.mark.long
def test_a_bridge_is_edited_together_with_its_plain_model():
    bridge = lens.models.wrap(taught(), word_tokenizer(), "tiny")
    digest = weight_hash(bridge)
    view = ask(bench(bridge))
    assert view.status == "complete", view.error
    ids = torch.from_numpy(known().ids)
    before = bridge(ids)
    view.put(wait=True)
    assert not torch.allclose(bridge(ids), before)
    view.undo(wait=True)
    assert torch.equal(bridge(ids), before) and weight_hash(bridge) == digest


def test_sets_are_taken_in_every_form():
    model = speaking()

    class Planted:
        ids, prefix, duplicates = known().ids, 6, known().duplicates

    view = widgets.SubspaceBench(
        model, {"planted": Planted(), "rows": known().ids, "sequences": known()}, clean(20), prefix=6
    )
    assert view.wait(SECONDS) and [text for _, text in view.names["memorised"]] == [
        f"{n} (12 of 6 + 10 tokens)" for n in ("planted", "rows", "sequences")
    ]
    assert view.reference == "reference" and isinstance(view._sequences["rows"], Sequences)
