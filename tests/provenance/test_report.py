"""Reports: the numbers are the result's, hostile text stays text, nothing is loaded from elsewhere."""

import dataclasses
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

from lens import FileError
from lens.provenance import ProvenanceError, Reference, Transcript, partition, query, query_scores, report

from .simulated import losses, shuffled

HOSTILE = '<script>alert("x")</script> & $\\frac{1}{2}$ \'"'


@pytest.fixture(scope="module")
def result():
    t, times = shuffled(300, "key", 1)
    t = dataclasses.replace(t, name=HOSTILE, shuffled_as=HOSTILE)
    return query(
        Reference(losses(times, 0.1, 1), name=HOSTILE),
        t,
        reference=Reference(losses(times, 0, 2), None, "ref " + HOSTILE),
        resamples=999,
    )


class Page(html.parser.HTMLParser):
    """Tags in sequence, checked to be balanced, and the text outside styles."""

    VOID = {"meta", "br", "use", "path"}

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.links, self.words = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [
            (name, value)
            for name, value in attrs
            if name in ("src", "href", "xlink:href", "action", "data") or name.startswith("on")
        ]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)
        self.links += [(name, value) for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)


def test_json_has_the_results_numbers(result, tmp_path):
    returned = report(result, tmp_path / "r.html", tmp_path / "r.json")
    read = json.loads((tmp_path / "r.json").read_text(encoding="utf-8"))
    assert read == json.loads(json.dumps(returned))
    s = read["statistic"]
    assert (s["rho"], s["z"], s["n"], s["e"], s["interval"]["low"], s["interval"]["high"]) == (
        result.rho,
        result.z,
        result.n,
        result.e,
        result.interval.low,
        result.interval.high,
    )
    by_name = {line["name"]: line for line in read["p_values"]}
    for name, p in (
        ("combined", result.p),
        ("permutation", result.p_permutation),
        ("key bound", result.p_key),
        ("e-value", result.p_e),
        ("approximate (published)", result.p_t),
    ):
        assert (by_name[name]["p"], by_name[name]["guaranteed"], by_name[name]["kind"]) == (
            float(p),
            p.guaranteed,
            p.kind,
        )
    assert (
        read["warnings"] == list(result.warnings)
        and [row["n"] for row in read["quantiles"]] == result.table().n.tolist()
        and [row["score"] for row in read["quantiles"]] == result.table().score.tolist()
    )
    assert (
        read["choices"]["seed"] == 0
        and read["choices"]["resamples"] == 999
        and read["null"]["draws"] == 999
        and read["inputs"]["transcript"]["rows"] == 300
    )
    frame = result.frame
    digest = hashlib.sha256(
        b"".join(
            frame[c].to_numpy().astype(d).tobytes()
            for c, d in (("row_id", "<i8"), ("position", "<f8"), ("group", "<i8"), ("score", "<f8"))
        )
    )
    assert (
        read["scores_sha256"] == digest.hexdigest()
        and read["command"].startswith("lens.provenance.query(")
        and "resamples=999" in read["command"]
    )


def test_the_page_is_whole_escaped_and_self_contained(result, tmp_path):
    report(result, tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert (
        not page.open
        and page.seen.count("svg") == 1
        and "script" not in page.seen
        and "<script" not in text
        and "&lt;script&gt;" in text
    )
    assert all(
        name in ("href", "xlink:href") and value.startswith("#") for name, value in page.links
    )  # only within the drawing
    assert not re.search(r"@import|url\((?!#)|<link|<img|<iframe", text)
    words = " ".join(page.words)
    assert HOSTILE in words and all(warning in words for warning in result.warnings)
    for heading in (
        "What was assumed",
        "What was tested",
        "What was found",
        "Warnings",
        "Inputs and their SHA-256",
        "Software",
        "To repeat it",
    ):
        assert heading in words
    assert (
        f"{float(result.p_permutation):.3g}" in words
        and f"{float(result.p_t):.3g}" in words
        and words.count("an approximation") >= 1
        and "guaranteed" in words
    )
    assert "color: #16181d; background: #fff" in text and "@media print" in text


def test_the_same_result_gives_the_same_page(result, tmp_path):
    for name in "ab":
        report(result, tmp_path / f"{name}.html")
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_what_is_not_finite_is_none_and_files_are_hashed(tmp_path):
    path = tmp_path / "rows.jsonl"
    rng = np.random.default_rng(0)
    path.write_text(
        "\n".join(json.dumps({"tokens": rng.integers(0, 9, 4).tolist(), "rank": int(r)}) for r in rng.permutation(12))
    )
    from lens.provenance import read

    result = query(rng.standard_normal(12), read(path), resamples=99)
    content = report(result, path_json=tmp_path / "r.json")
    files = content["inputs"]["transcript"]["files"]
    assert files == [
        {"file": str(path), "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    ]
    assert content["quantiles"][9]["score_low"] is None  # one row: no interval
    path.unlink()
    from lens.provenance.report import file_hashes

    assert (
        file_hashes([str(path), "https://example.org/x"])[0]["note"].startswith("could not be read")
        and file_hashes(["https://example.org/x"])[0]["sha256"] is None
    )


def test_partition_and_stopped_results_are_reported(tmp_path):
    t, times = shuffled(200, "rank", 3)
    y = np.random.default_rng(0).poisson(1 + times)
    content = report(partition(y, t, resamples=99, name=HOSTILE), tmp_path / "p.html")
    assert content["test"] == "partition test" and "rises with the rows' position" in content["tested"]
    stopped = query_scores(
        losses(times, 0.5, 1), Reference(losses(times, 0, 2), False), t, stop_at=10, batch=40, resamples=99
    )
    content = report(stopped, tmp_path / "s.html")
    assert (
        content["status"] == "stopped"
        and not next(v for v in content["p_values"] if v["name"] == "permutation")["guaranteed"]
    )


def test_a_result_without_rows_is_refused():
    t = Transcript(None, np.random.default_rng(0).permutation(50), "rank", shuffled_as="x")
    parts = []
    query_scores(
        np.random.default_rng(1).standard_normal(50), None, t, stop_at=1e9, batch=3, on_part=parts.append, resamples=99
    )
    assert parts[0].n == 3 and np.isnan(parts[0].rho) and float(parts[0].p) == 1 and str(parts[0])
    with pytest.raises(ProvenanceError, match="n = 3 rows"):
        report(parts[0])


def test_a_path_that_no_file_can_have_is_named_as_it_was_given(result, tmp_path):
    for argument in ("path_html", "path_json"):
        with pytest.raises(FileError, match=f"^{argument}='/' is the root of all folders"):
            report(result, **{"path_html": tmp_path / "r.html", "path_json": tmp_path / "r.json"} | {argument: "/"})
    assert not list(tmp_path.iterdir())
