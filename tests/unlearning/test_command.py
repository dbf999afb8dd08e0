"""`lens unlearn`: files in, curves and a page out; what is wrong with them is said, with the line."""

import json

import pytest

import lens
from lens.cli import main

MODEL = "organism:induction"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder, tokenizer = tmp_path_factory.mktemp("rows"), lens.load(MODEL).tokenizer

    def word(*tokens):
        return tokenizer.decode(list(tokens))

    rows = {
        "forget": [{"prompt": word(5 + i, 6), "answer": word(7 + i), "unit": f"u{i // 2}"} for i in range(6)],
        "retain": [{"text": word(30 + i, 31, 32 + i, 9)} for i in range(6)],
        "true": [{"prompt": word(5, 6), "answer": word(7), "right": word(8)}],
        "holdout": [{"prompt": word(15 + i, 16), "answer": word(17)} for i in range(6)],
        "authors": [{"question": word(20 + i), "answer": word(9), "perturbed_answer": [word(10)]} for i in range(3)],
    }
    for name, of in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in of), encoding="utf-8")
    return folder


def command(files, *more, forget="forget", retain="retain"):
    sets = [f"--{name}={files / of}.jsonl" for name, of in (("forget", forget), ("retain", retain))]
    return main(["unlearn", *sets, "--model", MODEL, "--steps", "2", "--batch", "2", "--lora", "2", *more])


def test_a_persons_own_files_give_curves_and_a_page(files, tmp_path, capsys):
    out = tmp_path / "out"
    more = ["--method", "npo", "--holdout", str(files / "holdout.jsonl"), "--twin", MODEL, "--look", "1"]
    more += ["--real-authors", str(files / "authors.jsonl"), "--rouge", "2", "--question", "{question}"]
    assert command(files, *more, "--out", str(out)) == 0
    said = capsys.readouterr().out
    assert "model_utility" in said and "privleak" in said and "arm npo: done" in said
    assert "ra_Q_A_Prob_normalised" in said and "retain_Q_A_ROUGE" in said and "wf_Q_A" not in said
    found = json.loads((out / "report.json").read_text())
    assert found["status"] == {"start": "complete", "twin": "complete", "retain_only": "complete", "npo": "complete"}
    doses = [line["dose"] for line in found["curves"] if line["arm"] == "npo" and line["measure"] == "forget loss"]
    assert doses == [0.0, 1.0, 2.0] and all(
        line["n"] == 3 for line in found["curves"] if line["measure"] == "forget loss"
    )
    assert (out / "report.html").is_file() and (out / "measures.csv").is_file()


def test_what_is_wrong_is_said(files, tmp_path, capsys):
    assert command(files, retain="forget") == 2
    assert "forget and retain share 6 pairs of rows" in capsys.readouterr().err
    assert command(files, forget="none") == 2
    assert "none.jsonl" in capsys.readouterr().err
    assert command(files, "--world-facts", str(files / "holdout.jsonl")) == 2
    assert "world_facts has no wrong answers" in capsys.readouterr().err
    assert command(files, "--targets", ",") == 2
    assert "--targets" in capsys.readouterr().err
    assert command(files, "--method", "magic") == 2
    assert "method='magic' is not known" in capsys.readouterr().err
    assert command(files, forget="true") == 2
    assert "never_knew=None with questions" in capsys.readouterr().err
