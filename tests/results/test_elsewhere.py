"""Results in the programs of others, read back by those: Inspect's own reader, MLflow's client, W&B's offline files."""

import base64
import hashlib
import json
import math
import struct
import sys

import numpy as np
import pytest
import xarray as xr

import lens
from lens.extras import ExtraError
from lens.results import inspect_log, stamp

RECORD = {
    "kind": "patch",
    "seed": 3,
    "model": {"name": "tiny", "hash": "t" + "a" * 64},
    "pairs": [{"clean": f"prompt {i}", "answer": f" answer {i}", "foil": " x", "label": f"p{i}"} for i in range(4)],
    "versions": {"torch": "2.13.0"},
    "started": "2026-11-30T10:00:00+00:00",
}


def result(**record):
    """Four prompts; the second lacks a cell, the third its score."""
    effect = np.arange(12, dtype=float).reshape(4, 3)
    effect[1, 2] = np.nan
    return stamp(
        xr.Dataset(
            {
                "effect": (("prompt", "layer"), effect),
                "score": ("prompt", [1.0, 2.0, np.nan, 6.0]),
                "hit": ("prompt", [True, False, True, True]),
                "norm": ("layer", [1.0, 2.0, 3.0]),
                "total": ((), np.inf),
                "share": ((), 0.25),
                "none": ((), np.nan),
            },
            coords={"prompt": ["a", "b", "c", "d"], "layer": [0, 1, 2], "length": ("prompt", [5, 6, 7, 8])},
        ),
        RECORD | record,
    )


# -- Inspect --------------------------------------------------------------------------------------------------------


def log_of(path, ds, **options):
    from inspect_ai.log import read_eval_log

    assert lens.export(ds, path, **options) == path
    return read_eval_log(str(path))


def test_inspect_reads_a_sample_a_prompt_with_its_scores(tmp_path):
    ds = result()
    log = log_of(tmp_path / "trace.eval", ds)
    assert (log.status, log.eval.task, log.eval.model, log.eval.dataset.samples) == ("success", "patch", "tiny", 4)
    assert log.eval.metadata["mnemoscope"] == lens.record(ds)
    assert log.eval.metadata["left_out"] == ["norm", "total", "share", "none"]
    assert [sample.id for sample in log.samples] == [1, 2, 3, 4]
    for i, sample in enumerate(log.samples):
        assert (sample.input, sample.target, sample.epoch) == (f"prompt {i}", f" answer {i}", 1)
        assert sample.metadata["prompt"] == "abcd"[i] and sample.metadata["length"] == 5 + i
        assert sample.metadata["foil"] == " x"
        got = sample.scores["effect"].value
        want = {f"layer={k}": float(ds.effect.values[i, k]) for k in range(3)}
        assert got.keys() == want.keys() and np.array_equal([*got.values()], [*want.values()], equal_nan=True)
        assert sample.scores["hit"].value == bool(ds.hit.values[i])


def test_what_is_missing_is_seen_where_inspect_leaves_it_out(tmp_path):
    log = log_of(tmp_path / "trace.eval", result())
    errors = [sample.error and sample.error.message for sample in log.samples]
    assert errors == [None, "effect is not a number in 1 of 3 cells", "score is not a number", None]
    assert (log.results.total_samples, log.results.completed_samples) == (4, 2)
    by_name = {score.name: score for score in log.results.scores}
    score = by_name["score"]
    assert (score.scored_samples, score.unscored_samples, score.metrics["missing"].value) == (3, 1, 1)
    assert score.metrics["mean"].value == np.mean([1.0, 2.0, 6.0])
    effect = by_name["effect"].metrics
    assert effect["missing"].value == 1 and effect["mean[layer=2]"].value == np.mean([2.0, 8.0, 11.0])
    assert math.isnan(log.samples[2].scores["score"].value)


def test_repetitions_are_epochs_and_an_axis_is_chosen(tmp_path):
    values = np.arange(24, dtype=float).reshape(2, 4, 3)
    ds = stamp(
        xr.Dataset({"effect": (("seed", "word", "layer"), values)}, coords={"seed": [7, 9]}),
        {"kind": "sweep", "status": "partial"},
    )
    log = log_of(tmp_path / "a.eval", ds, item="word")
    assert log.status == "cancelled" and log.eval.config.epochs == 2 and len(log.samples) == 8
    for sample in log.samples:
        assert [*sample.scores["effect"].value.values()] == values[sample.epoch - 1, sample.id - 1].tolist()
        assert sample.metadata["seed"] == [7, 9][sample.epoch - 1]
    assert log.results.scores[0].metrics["mean[layer=1]"].value == values[:, :, 1].mean()
    # no axis of samples: one sample
    whole = log_of(tmp_path / "b.eval", ds.isel(seed=0, drop=True))
    assert len(whole.samples) == 1 and len(whole.samples[0].scores["effect"].value) == 12


def test_labels_that_repeat_are_numbers(tmp_path):
    ds = stamp(xr.Dataset({"effect": ("token", [1.0, 2.0, 3.0])}, coords={"token": ["a", "b", "a"]}), {"kind": "patch"})
    (sample,) = log_of(tmp_path / "a.eval", ds).samples
    assert sample.scores["effect"].value == {"token=0": 1.0, "token=1": 2.0, "token=2": 3.0}


def test_logs_that_cannot_be(tmp_path, monkeypatch):
    ds, path = result(), tmp_path / "trace.eval"
    with pytest.raises(lens.ResultError, match="item='head' is no axis of this result; it has prompt, layer"):
        lens.export(ds, path, item="head")
    with pytest.raises(lens.ResultError, match=r"ds\['effect'\] has 3 cells for each sample.*select or average"):
        monkeypatch.setattr(inspect_log, "MOST", 2)
        lens.export(ds, path)
    with pytest.raises(lens.ResultError, match="no numbers along 'prompt'"):
        lens.export(stamp(xr.Dataset({"n": ("layer", [1.0])}, coords={"prompt": ["a"]}), {"kind": "x"}), path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    lens.export(ds, path)
    with pytest.raises(lens.ResultError, match="already exists"):
        lens.export(ds, path)
    lens.export(ds, path, overwrite=True)
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(ExtraError, match=r"a result as an Inspect log needs inspect_ai.*mnemoscope\[inspect\]"):
        lens.export(ds, path, overwrite=True)


# -- MLflow ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri((tmp_path / "tracked").as_uri())
    yield mlflow
    while mlflow.active_run() is not None:
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


def test_mlflow_gives_the_result_back_and_its_numbers(mlflow, tmp_path):
    ds = result()
    with mlflow.start_run() as run:
        lens.export(ds, run, name="trace")
    client = mlflow.MlflowClient()
    stored = client.get_run(run.info.run_id).data
    assert stored.metrics == {"trace.share": 0.25}
    assert (stored.tags["trace.total"], stored.tags["trace.none"]) == ("inf", "nan")
    assert stored.params["trace.kind"] == "patch" and stored.params["trace.weights"] == RECORD["model"]["hash"]
    folder = client.download_artifacts(run.info.run_id, "trace", str(tmp_path))
    assert lens.open(f"{folder}/trace.zarr").identical(ds)
    assert json.loads(open(f"{folder}/trace.json").read()) == lens.record(ds)


def test_what_mlflow_would_cut_is_in_the_record_alone(mlflow):
    long = "m" * 7000
    with mlflow.start_run() as run:
        found = lens.export(result(model={"name": long}), run)
    assert "patch.model" not in found.data.params and found.data.params["patch.kind"] == "patch"
    with mlflow.start_run(run.info.run_id), pytest.raises(lens.ResultError, match="did not take the result 'patch'"):
        lens.export(result(kind="patch", seed=4), run)


# -- Weights & Biases -----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_offline_files_of_wandb_have_the_result(tmp_path, monkeypatch):
    for name in ("DIR", "DATA_DIR", "CACHE_DIR", "CONFIG_DIR", "ARTIFACT_DIR"):
        monkeypatch.setenv(f"WANDB_{name}", str(tmp_path / name))
        (tmp_path / name).mkdir()
    monkeypatch.setenv("WANDB_SILENT", "true")
    import wandb

    ds = result()
    run = wandb.init(mode="offline", project="p", settings=wandb.Settings(x_disable_stats=True))
    try:
        lens.export(ds, run, name="trace")
        assert run.summary["trace/share"] == 0.25 and run.summary["trace/total"] == math.inf
    finally:
        run.finish()
        wandb.teardown()  # until then the end of the file may not be written
    (file,) = (tmp_path / "DIR").rglob("run-*.wandb")
    (artifact,) = [r.artifact for r in _records(file) if r.WhichOneof("record_type") == "artifact"]
    assert (artifact.name, artifact.type) == ("trace", "mnemoscope-result")
    facts = json.loads(artifact.metadata)
    assert facts["kind"] == "patch" and facts["weights"] == RECORD["model"]["hash"] and facts["sizes"]["prompt"] == 4
    folder = tmp_path / "again"
    for entry in artifact.manifest.contents:
        place = folder / entry.path
        place.parent.mkdir(parents=True, exist_ok=True)
        content = open(entry.local_path, "rb").read()
        assert base64.b64encode(hashlib.md5(content).digest()).decode() == entry.digest
        place.write_bytes(content)
    assert lens.open(folder / "trace.zarr").identical(ds)
    assert json.loads((folder / "trace.json").read_text()) == lens.record(ds)
    summary = {
        item.key or "/".join(item.nested_key): item.value_json for r in _records(file) for item in r.summary.update
    }
    assert json.loads(summary["trace/share"]) == 0.25


def _records(file):
    """What an offline file holds, by W&B's own messages: a log of blocks of 32 KB, as LevelDB writes it, whose pieces
    are whole (1) or the first, a middle and the last of several (2, 3, 4).
    """
    from wandb.proto import wandb_internal_pb2

    data, at, found, parts = file.read_bytes(), 7, [], b""
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        parts = (b"" if kind in (1, 2) else parts) + data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(parts))
    return found


def test_targets_that_are_none():
    ds = result()
    for target in (5, None, object(), {"run": 1}):
        with pytest.raises(lens.ResultError, match="path="):
            lens.export(ds, target)

    class Run:
        __module__ = "wandb.sdk"

        def log_artifact(self, artifact):
            raise RuntimeError("the run is finished")

    with pytest.raises(lens.ResultError, match=r"name='a/b' does not fit"):
        lens.export(ds, Run(), name="a/b")
    with pytest.raises(
        lens.ResultError, match=r"did not take the result 'patch' \(RuntimeError: the run is finished\)"
    ):
        lens.export(ds, Run())
