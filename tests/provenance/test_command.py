"""`lens provenance`: the two tests from the shell, and one message instead of a traceback."""

import json

import numpy as np
import pandas as pd
import pytest

from lens import cli
from lens.provenance import Reference, from_organism, from_parquet, query, query_scores
from lens.provenance.command_inputs import read_transcript
from lens.provenance.command_options import command_of

from .simulated import losses, shuffled


@pytest.fixture
def files(tmp_path):
    """A transcript and NLL of a suspect and a reference, as files."""
    t, times = shuffled(400, "key", 4)
    pd.DataFrame({"tokens": t.tokens.tolist(), "key": t.position}).to_parquet(tmp_path / "t.parquet")
    np.save(tmp_path / "suspect.npy", losses(times, 0.1, 1))
    pd.DataFrame({"row_id": t.row_id, "nll": losses(times, 0, 2)}).to_parquet(tmp_path / "reference.parquet")
    return tmp_path


def arguments(files, *more):
    return [
        "provenance",
        "query",
        "--suspect",
        str(files / "suspect.npy"),
        "--transcript",
        str(files / "t.parquet"),
        "--resamples",
        "999",
        "--shuffled-as",
        "drawn for the test",
        *more,
    ]


def refused(capsys, words):
    assert cli.main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("lens: ") and "Traceback" not in printed.err
    return printed.err


def test_query_prints_writes_and_can_be_repeated(files, capsys):
    words = arguments(
        files,
        "--reference",
        str(files / "reference.parquet"),
        "--references-share-order",
        "no",
        "--rows",
        "300",
        "--out",
        str(files / "r.html"),
        "--out",
        str(files / "r.json"),
    )
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert (
        "approximate (published): p = " in printed
        and f"report: {files / 'r.html'}" in printed
        and "warning" not in printed
    )
    content = json.loads((files / "r.json").read_text())
    result = query(
        np.load(files / "suspect.npy"),
        from_parquet(files / "t.parquet"),
        reference=Reference(pd.read_parquet(files / "reference.parquet").nll.to_numpy(), False),
        rows=300,
        resamples=999,
    )
    assert (
        content["statistic"]["rho"] == result.rho
        and content["statistic"]["n"] == 300
        and content["p_values"][0]["p"] == float(result.p)
    )
    assert len(content["inputs"]["suspect"]["file"]["sha256"]) == 64 and content["inputs"]["references"][0]["file"][
        "file"
    ].endswith("reference.parquet")
    import shlex

    again = shlex.split(content["command"])
    assert again[:3] == ["lens", "provenance", "query"]
    assert cli.main([*again[1:], "--out", str(files / "again.json")]) == 0
    second = json.loads((files / "again.json").read_text())
    assert all(
        second[key] == content[key]
        for key in ("statistic", "p_values", "choices", "inputs", "scores_sha256", "warnings")
    )


def test_query_refuses_what_makes_p_wrong(files, capsys):
    assert "declared to share the transcript's order" in refused(
        capsys, arguments(files, "--reference", str(files / "reference.parquet"), "--references-share-order", "yes")
    )
    assert cli.main(arguments(files, "--reference", str(files / "reference.parquet"))) == 0
    assert "nobody declared whether it shares" in capsys.readouterr().out


def test_query_names_bad_input_before_it_works(files, capsys):
    assert "ends in .html or .json" in refused(capsys, arguments(files, "--out", "r.pdf"))
    assert "does not exist" in refused(capsys, arguments(files, "--out", str(files / "none" / "r.html")))
    assert "expected one of .jsonl" in refused(
        capsys, ["provenance", "query", "--suspect", str(files / "suspect.npy"), "--transcript", "t.txt"]
    )
    np.save(files / "short.npy", np.ones(3))
    assert "shape (3,)" in refused(
        capsys, ["provenance", "query", "--suspect", str(files / "short.npy"), "--transcript", str(files / "t.parquet")]
    )
    assert "cannot be read" in refused(
        capsys, ["provenance", "query", "--suspect", str(files / "none.npy"), "--transcript", str(files / "t.parquet")]
    )
    assert "no such organism" in refused(
        capsys, ["provenance", "query", "--suspect", "organism:none", "--transcript", str(files / "t.parquet")]
    )
    with pytest.raises(SystemExit):
        cli.main(["provenance"])


def test_query_stops_and_reads_the_published_formats(files, capsys, tmp_path):
    table = np.random.default_rng(0).integers(0, 500, (600, 8)).astype("<u2")
    table.tofile(tmp_path / "pythia.bin")
    times = np.arange(600) / 600
    np.save(tmp_path / "s.npy", losses(times, 0.4, 1)), np.save(tmp_path / "r.npy", losses(times, 0, 2))
    words = [
        "provenance",
        "query",
        "--suspect",
        str(tmp_path / "s.npy"),
        "--reference",
        str(tmp_path / "r.npy"),
        "--references-share-order",
        "no",
        "--transcript",
        str(tmp_path / "pythia.bin"),
        "--format",
        "pythia",
        "--length",
        "8",
        "--batch-rows",
        "4",
        "--stop-at",
        "1000",
        "--batch",
        "50",
        "--resamples",
        "99",
    ]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "[stopped]" in printed and "stopped when e reached 1000" in printed


def test_a_model_by_name_is_scored(tmp_path, capsys):
    rng = np.random.default_rng(0)
    pd.DataFrame({"tokens": rng.integers(1, 30, (24, 6)).tolist(), "rank": rng.permutation(24)}).to_parquet(
        tmp_path / "t.parquet"
    )
    words = [
        "provenance",
        "query",
        "--suspect",
        "organism:symbols",
        "--reference",
        "organism:symbols-1",
        "--transcript",
        str(tmp_path / "t.parquet"),
        "--tokenizer",
        "organism:symbols",
        "--resamples",
        "99",
        "--device",
        "cpu",
        "--out",
        str(tmp_path / "r.json"),
    ]
    assert cli.main(words) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    from lens.models import load, weight_hash

    assert (
        content["inputs"]["suspect"]["sha256"] == weight_hash(load("organism:symbols", device="cpu"))
        and content["statistic"]["n"] == 24
        and content["statistic"]["tokens"] == 24 * 6
    )  # after a start token
    assert not any("tokenizer" in w for w in content["warnings"])


def test_text_against_a_transcript(tmp_path, capsys):
    t, times = shuffled(300, "rank", 5, length=14)
    pd.DataFrame({"tokens": t.tokens.tolist(), "rank": t.position}).to_parquet(tmp_path / "t.parquet")
    rng = np.random.default_rng(0)
    rows = rng.choice(300, 200, p=(0.1 + times) / (0.1 + times).sum())
    (tmp_path / "bob.jsonl").write_text("\n".join(json.dumps({"tokens": t.tokens[row, 2:11].tolist()}) for row in rows))
    words = [
        "provenance",
        "text",
        "--text",
        str(tmp_path / "bob.jsonl"),
        "--transcript",
        str(tmp_path / "t.parquet"),
        "--k",
        "6",
        "--resamples",
        "999",
        "--out",
        str(tmp_path / "r.json"),
        "--out",
        str(tmp_path / "r.html"),
    ]
    assert cli.main(words) == 0
    content = json.loads((tmp_path / "r.json").read_text())
    assert (
        content["test"] == "partition test"
        and content["statistic"]["rho"] > 0.15
        and content["inputs"]["text"]["documents"] == 200
        and len(content["inputs"]["text"]["sha256"]) == 64
    )
    assert "n-grams of 4 to 6 tokens" in capsys.readouterr().out
    (tmp_path / "empty.txt").write_text(" \n")
    assert "is empty; expected text of the suspect" in refused(
        capsys, [*words[:3], str(tmp_path / "empty.txt"), *words[4:]]
    )
    (tmp_path / "plain.txt").write_text("some words")
    assert "names no tokenizer" in refused(capsys, [*words[:3], str(tmp_path / "plain.txt"), *words[4:]])


@pytest.mark.long
def test_the_transcript_of_a_shipped_organism(tmp_path, capsys):
    report = tmp_path / "report.json"
    asked = [
        "provenance",
        "query",
        "--suspect",
        "organism:palimpsest",
        "--reference",
        "organism:palimpsest-reference",
        "--references-share-order",
        "no",
        "--transcript",
        "organism:palimpsest",
        "--rows",
        "400",
        "--resamples",
        "999",
        "--looks",
        "3",
        "--out",
        str(report),
    ]
    assert cli.main(asked) == 0
    printed = capsys.readouterr().out
    assert (
        "guaranteed if the trainer drew an independent uniform key" in printed
        and "look 1 of 3 planned, times 3" in printed
    )
    content = json.loads(report.read_text())
    assert (
        content["looks"] == {"number": 1, "planned": 3, "factor": 3.0}
        and len(content["guaranteed_if"]) == 4
        and "--looks 3" in content["command"]
    )
    assert len(from_organism("organism:palimpsest")) == 4000 and content["command"].startswith("lens provenance query")
    assert (
        cli.main(
            [
                word.replace("organism:palimpsest", "organism:induction") if word == "organism:palimpsest" else word
                for word in asked
            ]
        )
        == 2
        and "no transcript" in capsys.readouterr().err
    )


# ---- what a format uses and what it does not ---------------------------------------------------------------------


def read_by(*words):
    """The transcript that a command line reads."""
    return read_transcript(
        cli._parser().parse_args(["provenance", "query", "--suspect", "s.npy", *map(str, words)]), None
    )


@pytest.fixture
def olmo(tmp_path):
    """32-bit tokens that 16 bits cannot hold, in two parts, and an order; as the words of a command."""
    rng = np.random.default_rng(0)
    table, order = rng.integers(70_000, 200_000, (64, 8)).astype("<u4"), rng.permutation(64).astype("<u4")
    (
        table[:40].tofile(tmp_path / "part-0.npy"),
        table[40:].tofile(tmp_path / "part-1.npy"),
        order.tofile(tmp_path / "order.npy"),
    )
    parts = [word for i in (0, 1) for word in ("--transcript", tmp_path / f"part-{i}.npy")]
    return (
        table,
        order,
        tmp_path,
        [
            *parts,
            "--format",
            "olmo",
            "--order",
            tmp_path / "order.npy",
            "--length",
            8,
            "--batch-rows",
            4,
            "--dtype",
            "uint32",
        ],
    )


def test_olmo_tokens_have_the_width_that_was_said(olmo, capsys):
    table, order, folder, words = olmo
    found = read_by(*words, "--shuffled-as", "said here")
    assert (
        np.array_equal(found.tokens, table)
        and np.array_equal(found.position, np.argsort(order) // 4)
        and np.array_equal(found.row_id, np.arange(64))
    )
    assert found.shuffled_as == "said here" and "declared by its publisher" in read_by(*words).shuffled_as
    np.save(folder / "s.npy", np.random.default_rng(1).normal(size=64))
    asked = [
        "provenance",
        "query",
        "--suspect",
        str(folder / "s.npy"),
        *map(str, words),
        "--resamples",
        "99",
        "--out",
        str(folder / "r.json"),
    ]
    assert cli.main(asked) == 0
    content = json.loads((folder / "r.json").read_text())
    assert content["inputs"]["transcript"]["sha256"] == found.sha256() and "--dtype uint32" in content["command"]


def test_a_part_that_is_missing_is_left_out_where_sizes_are_known(olmo, capsys):
    table, order, folder, words = olmo
    sizes = ["--sizes", 40 * 32, "--sizes", 24 * 32]
    (folder / "part-1.npy").unlink()
    with pytest.raises(ValueError, match="bytes of each part"):
        read_by(*words)
    found = read_by(*words, *sizes)
    assert (
        np.array_equal(found.tokens, table[:40])
        and np.array_equal(found.position, np.argsort(order)[:40] // 4)
        and found.about["lost"]["rows"] == 24
    )
    given = cli._parser().parse_args(["provenance", "query", "--suspect", "s.npy", *map(str, [*words, *sizes])])
    assert "--sizes 1280 --sizes 768" in command_of(given)


def test_rows_of_a_second_epoch_are_not_drawn(tmp_path):
    table = np.arange(600 * 8).reshape(600, 8).astype("<u2")
    table.tofile(tmp_path / "pythia.bin")
    words = ["--transcript", tmp_path / "pythia.bin", "--format", "pythia", "--length", 8, "--batch-rows", 4]
    found = read_by(*words, "--epoch-rows", 100, "--read", 60, "--shuffled-as", "said here")
    assert (
        len(found) == 60
        and found.row_id.max() < 100
        and np.array_equal(found.tokens, table[found.row_id])
        and found.shuffled_as == "said here"
    )
    assert len(read_by(*words)) == 600


@pytest.mark.parametrize(
    "words, told",
    [
        (
            ["t.parquet", "--dtype", "uint32"],
            (
                "--dtype is given and a table .* has no use for it .*it is for a flat .bin file with an order, the"
                " format olmo"
            ),
        ),
        (["t.parquet", "--order", "o.npy"], "--order is given and a table"),
        (["t.parquet", "--read", "5"], "--read is given .*for the format pythia, the format olmo"),
        (["t.bin", "--format", "pythia", "--dtype", "uint32"], "--dtype is given and the format pythia"),
        (["t.bin", "--format", "pythia", "--kind", "rank"], "--kind is given and the format pythia"),
        (
            ["t.npy", "--format", "olmo", "--order", "o.npy", "--epoch-rows", "9"],
            "--epoch-rows is given and the format olmo",
        ),
        (["t.npy", "--order", "o.npy", "--dtype", "uint32"], "--dtype is given and an .npy file"),
        (["t.npy", "--order", "o.npy", "--sizes", "8"], "--sizes is given"),
        (["organism:palimpsest", "--tokenizer", "gpt2"], "--tokenizer is given and an organism's own transcript"),
        (["organism:palimpsest", "--format", "olmo"], "--format olmo: organism:palimpsest brings its own transcript"),
        (["t.jsonl", "--transcript", "u.jsonl"], "given 2 times, and a table"),
        (["t.bin", "--order", "o.npy", "--dtype", "float64"], "'float64' is no type of whole numbers"),
        (["t.bin", "--order", "o.npy", "--dtype", "word"], "'word' is no type of whole numbers"),
        (["t.bin", "--format", "pythia", "--length", "0"], "--length 0: expected whole numbers of at least 1"),
        (["t.bin", "--format", "olmo"], "needs --order"),
    ],
)
def test_an_option_that_does_nothing_is_refused(words, told):
    with pytest.raises(ValueError, match=told):
        read_by("--transcript", *words)


def test_the_trend_is_that_which_was_asked(files, capsys):
    for trend in ("spearman", "pearson"):
        assert cli.main(arguments(files, "--trend", trend, "--out", str(files / "r.json"))) == 0
        content, suspect = json.loads((files / "r.json").read_text()), np.load(files / "suspect.npy")
        t = from_parquet(files / "t.parquet")
        assert content["statistic"]["rho"] == pytest.approx(
            query_scores(suspect, None, t, trend=trend, resamples=99).rho, abs=1e-9
        )
        assert content["choices"]["trend"] == trend and f"--trend {trend}" in content["command"]
    expected = np.corrcoef(suspect, t.position)[0, 1]
    assert content["statistic"]["rho"] == pytest.approx(expected, abs=1e-6)
