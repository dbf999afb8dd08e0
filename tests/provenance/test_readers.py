"""Readers: files made here are read back, damaged parts are named, and a remote file is never downloaded whole."""

import http.server
import itertools
import json
import threading

import numpy as np
import pandas as pd
import pytest

from lens.provenance import (
    ProvenanceError,
    from_arrays,
    from_file,
    from_jsonl,
    from_npz,
    from_olmo,
    from_parquet,
    from_pythia,
    read,
)


@pytest.fixture
def rows():
    return np.random.default_rng(0).integers(0, 5000, (40, 12)).astype(np.uint16)


@pytest.fixture
def order():
    return np.random.default_rng(1).permutation(40)


def test_an_order_and_its_positions_are_inverse(rows, order):
    by_order, by_position = from_arrays(rows, order=order), from_arrays(rows, np.argsort(order))
    assert np.array_equal(by_order.position, by_position.position)
    assert all(by_order.position[order[t]] == t for t in range(40))
    for bad in (dict(), dict(order=order, position=order), dict(order=order[:-1] + 1), dict(order=order, kind="key")):
        with pytest.raises(ProvenanceError):
            from_arrays(rows, **bad)


def test_local_token_files(tmp_path, rows, order):
    (
        np.save(tmp_path / "rows.npy", rows),
        np.save(tmp_path / "flat.npy", rows.ravel()),
        np.save(tmp_path / "order.npy", order),
    )
    rows.tofile(tmp_path / "rows.bin")
    for path, options in (("rows.npy", {}), ("flat.npy", {"length": 12}), ("rows.bin", {"length": 12})):
        t = from_file(tmp_path / path, tmp_path / "order.npy", **options)
        assert (
            np.array_equal(t.rows(np.arange(40)), rows)
            and t.position[order[5]] == 5
            and t.about["files"] == [str(tmp_path / path)]
        )
    with pytest.raises(ProvenanceError, match="divides"):
        from_file(tmp_path / "rows.bin", tmp_path / "order.npy", length=13)
    with pytest.raises(ProvenanceError, match="order is missing"):
        read(tmp_path / "rows.bin")
    with pytest.raises(ProvenanceError, match="cannot be read"):
        from_file(tmp_path / "none.npy", order)


def test_jsonl_names_the_lines_it_cannot_read(tmp_path, rows, order):
    lines = [
        json.dumps({"tokens": row.tolist(), "step": int(step), "group": "a"}) for row, step in zip(rows, order // 4)
    ]
    lines[3], lines[9] = lines[3][:-5], "[1, 2]"
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(lines) + "\n\n")
    t = from_jsonl(path)
    assert (
        len(t) == 38
        and t.kind == "step"
        and t.about["lost"]["rows"] == 2
        and "line 4" in t.about["lost"]["where"][0]
        and any("2 rows could not be read" in w for w in t.warnings())
    )
    path.write_text('{"tokens": [1], "rank": 0}\n{"tokens": [2]}\n')
    with pytest.raises(ProvenanceError, match="position is missing in 1 places, first in row 1"):
        from_jsonl(path)
    path.write_text('{"tokens": [1], "rank": 0}\n{"rank": 1}\n')
    with pytest.raises(ProvenanceError, match="tokens are missing in 1 rows"):
        from_jsonl(path)
    path.write_text("")
    with pytest.raises(ProvenanceError, match="no column of positions"):
        from_jsonl(path)
    path.write_text('{"text": "one", "rank": 0}\n{"text": "two", "rank": 1}\n')
    assert read(path).is_text


def test_parquet_shards_of_which_one_is_corrupt(tmp_path, rows):
    keys = np.random.default_rng(3).random(40)
    for part in range(4):
        mine = slice(10 * part, 10 * part + 10)
        pd.DataFrame(
            {
                "tokens": [r.tolist() for r in rows[mine]],
                "key": keys[mine],
                "row_id": np.arange(40)[mine],
                "group": part % 2,
            }
        ).to_parquet(tmp_path / f"part{part}.parquet")
    t = from_parquet(tmp_path)
    assert (
        t.kind == "key"
        and np.array_equal(np.stack(t.rows(np.arange(40))), rows)
        and np.array_equal(t.position, keys)
        and len(np.unique(t.group)) == 2
    )
    body = (tmp_path / "part2.parquet").read_bytes()
    (tmp_path / "part2.parquet").write_bytes(
        body[:4] + bytes(64) + body[68:]
    )  # its footer still says that it has ten rows
    t = from_parquet(tmp_path)
    assert (
        len(t) == 30
        and t.about["lost"]["rows"] == 10
        and "part2.parquet" in t.about["lost"]["where"][0]
        and 25 not in t.row_id
    )
    for part in range(4):
        (tmp_path / f"part{part}.parquet").write_bytes(b"nothing")
    with pytest.raises(ProvenanceError, match="none of 4 files can be read"):
        from_parquet(tmp_path)


def test_ambiguous_positions_are_refused(tmp_path, rows):
    path = tmp_path / "two.parquet"
    pd.DataFrame({"tokens": list(rows.tolist()), "step": np.arange(40) // 4, "rank": np.arange(40)}).to_parquet(path)
    with pytest.raises(ProvenanceError, match="several columns of positions"):
        read(path)
    assert read(path, position="step").kind == "step"


def test_npz_even_and_ragged(tmp_path, rows, order):
    np.savez(tmp_path / "a.npz", tokens=rows, rank=order, row_id=np.arange(100, 140))
    assert np.array_equal(from_npz(tmp_path / "a.npz").row_id, np.arange(100, 140))
    np.savez(tmp_path / "b.npz", tokens=np.arange(9), offsets=[0, 2, 5, 9], step=[0, 0, 1])
    assert [r.tolist() for r in read(tmp_path / "b.npz").tokens] == [[0, 1], [2, 3, 4], [5, 6, 7, 8]]
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(ProvenanceError, match="cannot be read"):
        read(tmp_path / "c.npz")
    with pytest.raises(ProvenanceError, match="expected one of .jsonl"):
        read(tmp_path / "c.txt")


class Link:
    """A path of another kind, as `os.DirEntry` is one."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return str(self.path)


def test_a_path_of_any_kind_is_one_file(tmp_path, rows, order):
    np.savez(tmp_path / "a.npz", tokens=rows, rank=order)
    pd.DataFrame({"tokens": rows.tolist(), "rank": order}).to_parquet(tmp_path / "a.parquet")
    np.save(tmp_path / "rows.npy", rows)
    np.save(tmp_path / "order.npy", order)
    for name in ("a.npz", "a.parquet"):
        assert np.array_equal(read(Link(tmp_path / name)).position, order)
    assert from_file(Link(tmp_path / "rows.npy"), Link(tmp_path / "order.npy")).position[order[5]] == 5


@pytest.fixture
def pythia(tmp_path):
    """A small file in Pythia's form, whole and cut into parts that end within rows."""
    table = np.random.default_rng(2).integers(0, 50000, (300, 2049)).astype("<u2")
    content = table.tobytes()
    (tmp_path / "whole.bin").write_bytes(content)
    cuts = [0, 400_001, 800_500, len(content)]
    for i, (a, b) in enumerate(itertools.pairwise(cuts)):
        (tmp_path / f"part{i}.bin").write_bytes(content[a:b])
    return tmp_path, table, [b - a for a, b in itertools.pairwise(cuts)]


def test_pythia_local_whole_parts_and_samples(pythia):
    folder, table, _ = pythia
    t = from_pythia(folder / "whole.bin")
    assert len(t) == 300 and np.array_equal(t.rows([7, 299]), table[[7, 299]]) and t.kind == "step"
    s = from_pythia([folder / f"part{i}.bin" for i in range(3)], rows=40, seed=3, batch=10)
    assert (
        len(s) == 40
        and np.array_equal(s.tokens, table[s.row_id])
        and np.array_equal(s.position, s.row_id // 10)
        and not s.about.get("lost")
    )
    assert from_pythia(folder / "whole.bin", rows=50, epoch_rows=60).row_id.max() < 60
    assert np.array_equal(from_pythia(folder / "whole.bin", rows=[5, 2]).row_id, [2, 5])
    for bad, message in (
        (dict(rows=301), "300 usable rows"),
        (dict(rows=[1, 1]), "different row numbers"),
        (dict(length=2048), "no whole number of rows"),
    ):
        with pytest.raises(ProvenanceError, match=message):
            from_pythia(folder / "whole.bin", **bad)


def test_pythia_goes_on_without_a_part_that_is_missing_or_cut_short(pythia):
    folder, table, sizes = pythia
    parts = [folder / f"part{i}.bin" for i in range(3)]
    parts[1].write_bytes(parts[1].read_bytes()[:-1000])
    parts[2].unlink()
    with pytest.raises(ProvenanceError, match="part2.bin cannot be read"):
        from_pythia(parts, rows=100)
    t = from_pythia(parts, rows=300, sizes=sizes)
    assert np.array_equal(t.tokens, table[t.row_id]) and t.about["lost"]["rows"] == 300 - len(t)
    last = (sizes[0] + sizes[1] - 1000) // 4098
    assert t.row_id.max() == last - 1 and len(t) == last
    assert "part2.bin" in " ".join(t.about["lost"]["where"]) and "part1.bin" in " ".join(t.about["lost"]["where"])


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves one file: with ranges, without, or with faults at first."""

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if server.faults:
            server.faults -= 1
            return self.send_error(503)
        if self.path == "/none":
            return self.send_error(404)
        content = server.content
        if self.path == "/plain" or not asked:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                for at in range(0, len(content), 65536):
                    self.wfile.write(content[at : at + 65536])
                    server.sent += 65536
            except OSError:
                pass
            return
        start, stop = asked.removeprefix("bytes=").split("-")
        start, stop = int(start), int(stop) + 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(content)}")
        self.send_header("Content-Length", str(stop - start))
        self.end_headers()
        body = content[start:stop]
        if server.short:
            server.short -= 1
            body = body[:-1]
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(pythia):
    _folder, table, _ = pythia
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.content, made.asked, made.faults, made.short, made.sent = table.tobytes(), [], 0, 0, 0
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def test_http_ranges_bring_only_the_rows_asked_for(server, pythia):
    _, table, _ = pythia
    t = from_pythia(server.url + "/file", rows=[3, 4, 5, 200, 299], pause=0.01)
    assert np.array_equal(t.tokens, table[[3, 4, 5, 200, 299]]) and t.about["files"] == [server.url + "/file"]
    assert len(server.asked) == 4  # the size, three neighbours together, two rows apart
    with pytest.raises(ProvenanceError, match="rows is missing"):
        from_pythia(server.url + "/file")


def test_http_is_tried_again_and_gives_up_with_a_message(server, pythia):
    _, table, _ = pythia
    server.faults, server.short = 2, 1
    t = from_pythia(server.url + "/file", rows=[7], pause=0.01)
    assert np.array_equal(t.tokens[0], table[7])
    server.faults = 100
    with pytest.raises(ProvenanceError, match="could not be read in 3 tries .*503"):
        from_pythia(server.url + "/file", rows=[7], pause=0.01, retries=2)
    server.faults = 0
    with pytest.raises(ProvenanceError, match="404"):
        from_pythia(server.url + "/none", rows=[7], pause=0.01)


def test_a_server_without_ranges_is_refused_before_the_download(server):
    server.content = bytes(4098 * 20_000)  # 82 MB
    with pytest.raises(ProvenanceError, match="does not support Range requests .*nothing was downloaded"):
        from_pythia(server.url + "/plain", rows=10, pause=0.01)
    assert len(server.asked) == 1 and server.sent < 20_000_000


def test_http_needs_an_http_address():
    from lens.provenance.bytesource import HttpSource

    with pytest.raises(ProvenanceError, match="expected http"):
        HttpSource("file:///etc/passwd")


@pytest.mark.parametrize("header", [False, True])
def test_olmo_order_and_parts(tmp_path, header):
    rng = np.random.default_rng(5)
    parts, instances = [], []
    for i, tokens in enumerate((16 * 7 + 5, 16 * 3, 16 * 10 + 15)):
        content = rng.integers(0, 60000, tokens).astype("<u2")
        parts.append(tmp_path / f"part-{i}.npy")
        np.save(parts[-1], content) if header else content.tofile(parts[-1])
        instances += list(content[: tokens // 16 * 16].reshape(-1, 16))
    order = rng.permutation(20).astype("<u4")
    path = tmp_path / "global_indices.npy"
    np.save(path, order) if header else order.tofile(path)
    t = from_olmo(path, parts, None, chunk=16, batch=4)
    assert len(t) == 20 and t.kind == "step"
    for row, instance, step in zip(t.tokens, t.row_id, t.position):
        assert np.array_equal(row, instances[instance]) and step == np.flatnonzero(order == instance)[0] // 4
    assert len(from_olmo(path, parts, 6, chunk=16, batch=4, seed=1)) == 6
    with pytest.raises(ProvenanceError, match="hold 13 of 16 tokens|names instance"):
        from_olmo(path, parts[:2], None, chunk=16)
    sizes = [p.stat().st_size for p in parts]
    parts[1].unlink()
    t = from_olmo(path, parts, None, chunk=16, batch=4, sizes=sizes)
    assert len(t) == 17 and t.about["lost"]["rows"] == 3 and "part-1.npy" in " ".join(t.about["lost"]["where"])
    assert all(np.array_equal(row, instances[instance]) for row, instance in zip(t.tokens, t.row_id))


def test_a_tokenizer_whose_files_are_damaged_is_an_error_of_the_family(tmp_path):
    from lens.provenance.tokenizers import tokenizer_of
    from tests.models import word_tokenizer

    word_tokenizer().save_pretrained(tmp_path)
    assert tokenizer_of(str(tmp_path)).convert_tokens_to_ids("w5") == 5
    for number, content in enumerate(("[" * 300 + "]" * 300, "{}", "5", '{"model": {"type": "WordLevel"}}')):
        place = tmp_path / str(number)  # what was loaded is remembered by its name
        word_tokenizer().save_pretrained(place)
        (place / "tokenizer.json").write_text(content)
        with pytest.raises(ProvenanceError, match="tokenizer .*cannot be loaded"):
            tokenizer_of(str(place))


def test_records_of_every_source_give_one_transcript(tmp_path, rows, order):
    from lens.provenance import from_records

    table = [{"tokens": row.tolist(), "step": int(step)} for row, step in zip(rows, order // 4)]
    want = from_arrays(rows, order // 4, kind="step")
    (tmp_path / "t.ndjson").write_text("\n".join(map(json.dumps, table)))
    pd.DataFrame(table).to_parquet(tmp_path / "t.parquet")
    sources = [table, iter(table), pd.DataFrame(table), tmp_path / "t.ndjson", tmp_path / "t.parquet"]
    datasets = pytest.importorskip("datasets")
    data = datasets.Dataset.from_list(table)
    sources += [data, data.to_iterable_dataset(), data.shuffle(seed=0).sort("step").flatten_indices()]
    for source in sources[:-1]:
        found = from_records(source)
        assert found.kind == "step" and found.sha256() == want.sha256()
    assert sorted(from_records(sources[-1]).position) == sorted(want.position)
    renamed = [{"input_ids": row["tokens"], "at": row["step"]} for row in table]
    assert from_records(renamed, position="at", kind="step", tokens="input_ids").sha256() == want.sha256()


def test_texts_of_a_csv_are_texts_and_its_positions_numbers(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text('text,step,row_id,group\n2021-03-01,3,007,a\n"NA",1,9,b\nnull,x,10,b\n')
    found = read(path)
    assert (
        found.tokens == ["2021-03-01", "NA"] and found.position.tolist() == [3, 1] and found.row_id.tolist() == [7, 9]
    )
    assert found.about["lost"] == {"rows": 1, "where": ["t.csv, line 4 (has step=x, which is no number of 64 bits)"]}
    path.write_text("text,key\na,0.25\nb,0.5\n")
    assert read(path).position.tolist() == [0.25, 0.5]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"tokens": [1], "step": 1}, {"tokens": [1.5], "step": 2}], "source: row 1 has tokens that are no flat list"),
        ([{"tokens": [1], "step": "1"}], "source: row 0 has step=1, which is no number"),
        ([5], "source: row 0 is a int, not a row"),
        ([{"tokens": [1]}], "source: no column of positions"),
        ([{"step": 1}], "source: no column 'tokens'"),
        ({"tokens": [[1]]}, "source: the source is"),
    ],
)
def test_records_that_are_no_transcript(rows, message):
    from lens.provenance import from_records

    with pytest.raises(ProvenanceError, match=message):
        from_records(rows)
