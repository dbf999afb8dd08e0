"""What the provenance bench keeps, exports and shows again in Python; and its answers on real models."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import lens
import widgets
from lens import provenance
from lens.provenance import Reference
from tests.provenance.simulated import shuffled
from tests.widgets.fakes import SCRIPT
from tests.widgets.test_provenance_bench import N, array, ask, bench, numbers_of, world
from widgets.provenance_bench import work as provenance_work

PATHS = ("path_n", "path_e", "q_n", "q_mean", "q_low", "q_high", "q_at", "null_counts", "null_edges")


def test_results_are_saved_and_sent_as_report_json_and_rows(tmp_path):
    view = bench(suspects=lambda t, known: {SCRIPT: known["alice"]})
    with pytest.raises(ValueError, match="no result"):
        view.save(str(tmp_path / "a.html"))
    view.run(wait=True)
    for name in ("a.html", "a.json", "a.csv"):
        view._on_message(view, {"type": "save", "path": str(tmp_path / name)}, [])
        assert view.saved["ok"], view.saved
        view._on_message(view, {"type": "document", "kind": name[2:]}, [])
        assert view.document["kind"] == name[2:] and view.document["data"] == (tmp_path / name).read_bytes()
    page, content, rows = (
        (tmp_path / "a.html").read_text(),
        json.loads((tmp_path / "a.json").read_text()),
        pd.read_csv(tmp_path / "a.csv"),
    )
    assert (
        SCRIPT not in page
        and "&lt;script&gt;alert(1)" in page
        and "provenance.query(" in page
        and content["names"]["suspect"] == SCRIPT
        and content["command"] == view.code
    )
    assert any(f"null hypothesis: {SCRIPT} does not depend" in text for text in content["assumed"])
    assert len(rows) == view.result.n and np.allclose(rows["score"], view.result.frame["score"])
    for path, words in (
        ("", "is empty"),
        (str(tmp_path / "a.zarr"), "no known format"),
        (str(tmp_path / "a.csv"), "is there already"),
    ):
        view._on_message(view, {"type": "save", "path": path}, [])
        assert not view.saved["ok"] and words in view.saved["text"]
    view._on_message(view, {"type": "document", "kind": "exe"}, [])
    assert view.document["kind"] == "csv"


@pytest.mark.parametrize("rule", ["e", "n"])
def test_the_python_shown_asks_the_same_question(rule):
    view = ask(bench(), rule=rule, reference="unknown", statistic="linear", seed=2)
    transcript, known, references = world()
    names = {"suspects": known, "transcripts": {"order": transcript}, "references": references}
    exec(compile(view.code, "view", "exec"), names)
    assert numbers_of(names["result"]) == numbers_of(view.result)
    names["transcripts"] = {"order": shuffled(N, seed=9)[0]}
    with pytest.raises(AssertionError, match="another transcript"):
        exec(compile(view.code, "view", "exec"), names)


def test_the_stored_copy_has_the_numbers_and_an_image():
    view = bench(suspects=lambda t, known: {SCRIPT: known["alice"]})
    assert "No question had been asked" in view._static()
    view.run(wait=True)
    text = view._static()
    assert (
        SCRIPT not in text
        and text.count("<table") == 2
        and "data:image/png;base64,iVBOR" in text
        and "not valid here: holds for a number of rows fixed beforehand" in text
        and "guaranteed at any stop if the conditions hold" in text
        and len(text) < 200_000
    )
    assert view._static_bundle()["text/plain"].startswith("<ProvenanceBench: 1 suspect · 1 transcript · 3 references")


def test_curves_travel_as_buffers_and_the_module_is_small():
    view = ask(bench(n=3000, transcripts={"order": shuffled(3000)[0]}), rule="n", rows=3000)
    assert (
        all(isinstance(view.found[name], bytes) for name in PATHS)
        and len(array(view, "path_e")) <= provenance_work.PATH_POINTS
        and len(array(view, "null_edges")) == len(array(view, "null_counts")) + 1
    )
    assert (
        len(view._esm) < 50_000
        and "http://" not in view._esm.replace("http://www.w3.org/2000/svg", "")
        and "https://" not in view._esm
    )


# --- real models


def test_models_are_scored_and_named():
    import torch

    from tests.models import speaking

    transcript = provenance.Transcript(
        np.random.default_rng(0).integers(1, 97, (64, 12)),
        np.random.default_rng(1).permutation(64),
        "rank",
        shuffled_as="drawn",
        tokenizer=speaking().tokenizer,
    )
    suspect, other = speaking("llama", 1), speaking("llama", 2)
    view = widgets.ProvenanceBench(
        {"tiny": suspect}, transcript, {"other": Reference(other, False)}, rule="n", resamples=199, alpha=0.05
    )
    view.run(wait=True)
    assert view.status == "complete", view.error
    ids = torch.as_tensor(transcript.tokens)
    with torch.no_grad():
        nll = {
            name: -model(ids).logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].mean(1).numpy()
            for name, model in (("suspect", suspect), ("reference", other))
        }
    frame = view.result.frame.set_index("row_id").sort_index()
    for name, values in nll.items():
        np.testing.assert_allclose(frame[name], values, atol=2e-5)
    assert (
        view.found["rho"]
        == pytest.approx(stats.spearmanr(nll["suspect"] - nll["reference"], transcript.position).statistic, abs=1e-6)
        and view.result.record["names"]["suspect"] == "tiny"
        and view.found["tokens"] == 64 * 11
    )


@pytest.mark.long
@pytest.mark.slow
def test_the_shipped_organisms_are_told_apart():
    from lens.organisms import palimpsest

    recipe = palimpsest.recipe_of("palimpsest")
    ids, lengths = palimpsest.tokens_of(recipe)
    transcript = provenance.Transcript(
        [row[:n] for row, n in zip(ids, lengths)],
        palimpsest.keys_of(recipe)[:, 0],
        "key",
        name="palimpsest",
        shuffled_as="keys drawn by the trainer",
        tokenizer=lens.load("organism:palimpsest").tokenizer,
    )
    view = widgets.ProvenanceBench(
        {name: f"organism:{name}" for name in ("palimpsest", "palimpsest-innocent")},
        transcript,
        {"another order": Reference("organism:palimpsest-reference", False)},
        rows=len(transcript),
        alpha=0.01,
    )
    view.run(wait=True)
    assert view.status == "complete" and view.found["verdict"]["kind"] == "shown", (
        view.error,
        view.found.get("verdict"),
    )
    ask(view, suspect="palimpsest-innocent", rows=500)
    assert (
        view.status == "complete"
        and view.found["verdict"]["kind"] == "open"
        and "lens.load('organism:palimpsest-innocent')" in view.code
    )
