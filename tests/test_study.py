"""A study as an object: run, cut anywhere, taken up, read back, refused; its claims and what is shown of them."""

import argparse
import functools
import json
import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import lens
from lens import cli, files
from lens.figures.forest import KINDS, Line, forest_plot
from lens.figures.style import FigureError
from lens.reproduce import REPRODUCTIONS, ReproduceError, command, records, report, reproduction, stored
from lens.reproduce import again as judging
from lens.reproduce.claims import Claim, Claims, Rows, effect
from lens.reproduce.common import COLUMNS, Steps, Tables, table_of
from lens.reproduce.study import Asked, Reproduction, Study, of_tables
from lens.results.errors import ResultError
from tests.variants import few

RESULTS = Path(__file__).parent.parent / "notebooks" / "results"
#: every stored run of a study, by its folder
RUNS = [
    file.parent
    for file in sorted(RESULTS.rglob(records.RECORD))
    if (record := json.loads(file.read_text(encoding="utf-8")))["reproduction"] in REPRODUCTIONS
    and not record.get(stored.ALONE)
]
CLAIMS = Claims(
    source="nowhere",
    rule="the mean is above 0",
    estimator="a mean",
    claims={"up": Claim(says="It goes up for {name}.", paper="says so", rule="mean above {least}", null=0.5)},
)


@functools.cache
def loaded(folder: Path) -> Reproduction:
    """A stored run, its verdicts judged once."""
    return reproduction(json.loads((folder / records.RECORD).read_text())["reproduction"]).load(folder)


@dataclass(frozen=True)
class Plan:
    parts: int = 3


def measure(asked: Asked, *, shift: float = 0.0) -> Reproduction:
    """Three parts of a table and a verdict."""
    config = {"version": 1, "parts": asked.plan.parts, "seed": asked.seed, "shift": shift}
    steps, tables = Steps(asked.folder, config), Tables(asked.folder, ("a", "b"), asked.say)
    for i in range(asked.plan.parts):
        tables.kept(("a",), f"seed-{i}", lambda i=i: pd.DataFrame({"x": np.arange(3.0) + i + shift}))
        tables.kept(("b",), f"seed-{i}", lambda i=i: pd.DataFrame({"y": [float(i)]}))
    return judged(tables.joined(), steps.config)


def judged(tables: dict, config: dict | None = None) -> Reproduction:
    mean = float(tables["a"].x.mean())
    rows = Rows(CLAIMS)
    rows.add("up", f"mean {mean:.2f}", len(tables["a"]), "holds", effects="mean", name="x", least=0)
    numbers = {"mean": mean, "mean_low": mean - 1, "mean_high": mean + 1}
    return Reproduction(table=table_of(rows), numbers=numbers, tables=tables, config=config)


def read(folder: Path, record: dict, seed: int) -> Reproduction:
    parts = range(record["config"]["parts"])
    return judged(
        {
            n: pd.concat([pd.read_parquet(folder / "tables" / f"{n}.seed-{i}.parquet") for i in parts])
            for n in ("a", "b")
        }
    )


def drawn(table: pd.DataFrame, path: Path | None) -> None:
    if path is not None:
        files.write(path, table.to_csv())


@pytest.fixture
def toy() -> Study:
    return Study(
        "toy",
        paper="Nobody 2000",
        question="Does it go up?",
        models="none",
        presets={"tiny": Plan(1), "quick": Plan(3)},
        plan=Plan,
        measure=measure,
        read=read,
        figures=lambda made: of_tables({"a": (("a",), drawn), "none": (("b", "c"), drawn)}, made.tables),
        claims=CLAIMS,
        controls="none",
        version=1,
    )


def test_a_run_is_written_with_its_record_and_read_back(toy, tmp_path):
    made = toy.run(out=tmp_path / "run")
    record = json.loads((tmp_path / "run" / records.RECORD).read_text())
    assert record["schema"] == records.SCHEMA and record["preset"] == "quick" and record["reproduction"] == "toy"
    assert (
        record["cost"]["processor"] is not None
        and record["cost"]["seconds"] >= 0
        and record["cost"]["peak_mb"] > 1
        and record["cost"]["cores"] >= 1
    )
    again = toy.load(tmp_path / "run")
    assert again.table.equals(made.table) and again.numbers == made.numbers and again.fingerprint == made.fingerprint
    assert [path.name for path in made.figures] == ["a.png"] and again.figures == made.figures
    assert toy.run().table.equals(made.table) and toy.run(preset=Plan(3)).fingerprint == made.fingerprint


def test_a_run_that_is_stopped_at_any_writing_goes_on_and_ends_the_same(toy, tmp_path, monkeypatch):
    whole = toy.run(out=tmp_path / "whole")
    place, stopped = files._place, 0
    for number in range(100):
        left = [number]

        def cut(*given, left=left):
            if left[0] == 0:
                left[0] = -1
                raise KeyboardInterrupt
            left[0] -= 1
            return place(*given)

        folder = tmp_path / f"cut-{number}"
        monkeypatch.setattr(files, "_place", cut)
        try:
            toy.run(out=folder)
        except KeyboardInterrupt:
            stopped += 1
        monkeypatch.setattr(files, "_place", place)
        kept = {path: path.read_bytes() for path in folder.rglob("*.parquet")}
        resumed = toy.run(out=folder)
        assert resumed.table.equals(whole.table) and resumed.numbers == whole.numbers
        assert all(path.read_bytes() == data for path, data in kept.items())
        assert (folder / "table.csv").read_bytes() == (tmp_path / "whole" / "table.csv").read_bytes()
        assert toy.load(folder).fingerprint == whole.fingerprint and not list(folder.rglob("*.part*"))
        if left[0] >= 0:
            break
    assert stopped == number >= 9  # every writing of a run was tried


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"preset": "huge"}, "^preset='huge' does not fit; expected 'tiny' or 'quick'"),
        ({"data": "hand"}, "data='hand': toy has its own data only"),
        ({"limit": 2}, "limit=2: toy has no items"),
        ({"models": "m"}, "models='m': toy takes no folder"),
        ({"shifts": 2}, "shifts=2: toy has no such argument; expected one of shift"),
        ({"shift": "x"}, "^shift='x' does not fit"),
        ({"seed": -1}, "^seed=-1 does not fit"),
    ],
)
def test_what_a_study_does_not_take_is_refused_before_any_work(toy, wrong, said, tmp_path):
    with pytest.raises(ReproduceError, match=said):
        toy.run(out=tmp_path / "run", **wrong)
    assert not (tmp_path / "run").exists()


def test_a_study_of_a_given_model_asks_for_one():
    with pytest.raises(lens.Error, match="model is missing: function-vectors"):
        reproduction("function-vectors").run()


def changed(folder: Path, change: dict) -> None:
    file = folder / records.RECORD
    file.write_text(json.dumps(json.loads(file.read_text()) | change))


BAD = {
    "no JSON": (lambda f: (f / records.RECORD).write_text("{"), "cannot be read"),
    "another shape": (lambda f: (f / records.RECORD).write_text("[1]"), "cannot be read"),
    "a part is missing": (lambda f: (f / records.RECORD).write_text('{"reproduction": "toy"}'), "lacks fingerprint"),
    "numbers are none": (lambda f: changed(f, {"numbers": 3}), "has numbers=3"),
    "a later schema": (lambda f: changed(f, {"schema": 99}), "schema 99, this version reads 1 to"),
    "a schema that is none": (lambda f: changed(f, {"schema": "new"}), "schema 'new'"),
    "another study": (lambda f: changed(f, {"reproduction": "other"}), "a run of 'other', expected 'toy'"),
    "older tables": (lambda f: changed(f, {"config": {"version": 0, "parts": 3}}), "version 0 of this study's tables"),
    "a configuration without a key": (lambda f: changed(f, {"config": {"version": 1}}), "does not fit its record"),
    "a table that is gone": (lambda f: next((f / "tables").glob("a*")).unlink(), "does not fit its record"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_stored_run_that_is_damaged_or_older_is_refused_and_nothing_is_lost(toy, case, tmp_path):
    toy.run(out=tmp_path)
    damage, said = BAD[case]
    damage(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ResultError, match=said):
        toy.load(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_record_of_the_first_schema_is_read(toy, tmp_path):
    made = toy.run(out=tmp_path)
    record = json.loads((tmp_path / records.RECORD).read_text())
    older = {key: record[key] for key in ("reproduction", "fingerprint", "config", "numbers", "versions")}
    (tmp_path / records.RECORD).write_text(json.dumps(older))
    assert toy.load(tmp_path).table.equals(made.table)


@pytest.mark.parametrize("damage", ["parquet", "nc"])
def test_a_damaged_table_or_step_of_a_stored_run_is_named(damage, tmp_path):
    name = "subspace_language" if damage == "parquet" else "instruction_vectors/symbols"
    shutil.copytree(RESULTS / name, tmp_path / "run")
    file = next((tmp_path / "run").rglob(f"*.{damage}"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(lens.Error, match=re.escape(file.name)):
        reproduction(name.split("/")[0].replace("_", "-")).load(tmp_path / "run")


def test_the_cost_of_all_calls_is_summed_and_says_what_was_not_counted(tmp_path):
    both = records.Cost().more(30, 12.5).more(60, 7.5)
    assert (both.seconds, both.processor) == (90, 20) and both.text.startswith("1.5 min (0.3 of a processor), ")
    both.write(tmp_path)
    assert records.Cost.read(tmp_path) == both
    assert both.more(30, None).processor is None  # workers of Ray count for themselves
    before = records.Cost(90, 12, 2).more(30, 5)
    assert before.processor is None and before.text.startswith("2.0 min, ") and not records.Cost().text
    # a record of a later version, of an earlier one, and damaged ones
    cost = {"seconds": 90, "peak_mb": 12, "cores": 2}
    assert records.Cost.of({"cost": cost | {"processor": 60.0, "joules": 5}}) == records.Cost(90.0, 12, 2, 60.0)
    assert records.Cost.of({"cost": cost}) == records.Cost(90.0, 12, 2) and records.Cost.of({}) == records.Cost()
    assert records.Cost.of({"cost": 90}) == records.Cost.of({"cost": {"seconds": "?"}}) == records.Cost()


def test_a_damaged_cost_is_no_reason_to_stop(toy, tmp_path):
    toy.run(out=tmp_path)
    (tmp_path / "cost.json").write_text("{")
    assert records.Cost.read(tmp_path) == records.Cost()
    assert toy.run(out=tmp_path).table.equals(toy.load(tmp_path).table) and records.Cost.read(tmp_path).cores


# -- claims ------------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize(
    "folder",
    few(RUNS, lambda folder: "quick" in folder.parts or folder.name == "function_vectors"),
    ids=lambda f: str(f.relative_to(RESULTS)),
)
def test_rendered_verdicts_are_those_that_are_stored(folder):
    record = json.loads((folder / records.RECORD).read_text())
    study = reproduction(record["reproduction"])
    made, there = loaded(folder), pd.read_csv(folder / "table.csv")
    assert made.table.verdict.tolist() == there.verdict.tolist()
    assert made.table.claim.tolist() == there.claim.tolist() and made.table.paper.tolist() == there.paper.tolist()
    assert made.table.multiplicity.tolist() == there.multiplicity.tolist()
    verdicts = report.Verdicts(study, made)
    assert verdicts.frame.map(lambda cell: len(str(cell))).to_numpy().max() <= report.CELL == 160
    for row, cell in zip(verdicts.rows, verdicts.frame.verdict):
        assert cell == row.cells.verdict or row.cells.verdict.startswith(cell.removesuffix("…"))
        assert row.claim is not None and row.kind in KINDS
        # what the verdict says of an interval is drawn
        assert row.effects or "interval holds" not in row.cells.verdict, row.cells.claim
    named = report.Verdicts(study, made, data="own")
    assert named.frame.columns.tolist() == ["", "data", "claim", "paper", "here", "n", "verdict"]
    assert repr(named) == repr(verdicts) and named.frame.drop(columns="data").equals(verdicts.frame)
    page, plain = named._repr_html_(), verdicts._repr_html_()
    assert page.count(">own</td>") == len(named.rows) and page.count("<th ") == plain.count("<th ") + 1
    least = 0 if folder.name == "smollm2" else 3  # one seed gives no interval
    assert sum(bool(row.effects) for row in verdicts.rows) >= least
    assert records.finite(made.numbers).keys() == record["numbers"].keys()


def test_a_study_is_a_folder_and_in_no_list():
    folders = {p.parent.name.replace("_", "-") for p in Path(lens.__file__).parent.glob("reproduce/*/study.py")}
    assert set(REPRODUCTIONS) == folders and len(REPRODUCTIONS) == len(folders)
    assert all(reproduction(name).name == name for name in REPRODUCTIONS)


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_claims_are_data(name):
    claims = reproduction(name).claims
    assert len(claims) >= 5 and claims.source and claims.rule and claims.estimator
    folder = Path(lens.__file__).parent / "reproduce" / name.replace("-", "_")
    code = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py") if file.name != "claims.py")
    for key in claims:
        claim = claims[key]
        assert claim.says.strip() and claim.paper.strip() and "Rule:" not in claim.says
        # each is judged somewhere: by its key, or by the key of a family of claims
        assert any(
            f'"{part}' in code
            for part in (key, key.rpartition("_")[0], *(key.partition(end)[0] for end in "_ "))
            if part
        ), key


@pytest.mark.long
def test_effects_are_drawn_beside_the_value_that_their_verdict_asks_for():
    """The line of a row stands where the claim is not so, also where only the run says what that is."""
    study = reproduction("function-vectors")
    made = loaded(RESULTS / "function_vectors")
    rows = {row.says: row for row in report.Verdicts(study, made).rows}
    (found,) = [row for says, row in rows.items() if "integrated gradients" in says]
    assert found.null == 8 and "holds 8" in found.cells.verdict
    assert found.effects[0].low < found.null < found.effects[0].high
    for row in rows.values():
        if row.cells.verdict == "holds" and row.effects:
            first = row.effects[0]
            assert not first.low <= row.null <= first.high, row.says


def test_a_claim_is_filled_in_and_an_unknown_one_is_named():
    rows = Rows(CLAIMS)
    rows.add("up", "h", 3, "holds", effects=("a", "b"), name="x", least=2)
    assert rows[0][:6] == ("It goes up for x. Rule: mean above 2", "says so", "h", 3, "holds", "alone")
    table = table_of(rows)
    assert list(table.columns) == COLUMNS and table.attrs["claims"] == [["up", ("a", "b"), 0.5]]
    with pytest.raises(ReproduceError, match="claim: 'down' is not one of up"):
        rows.add("down", "h", 3, "holds")


def test_an_effect_is_found_in_each_form_of_a_number():
    numbers = {
        "a": 1.0,
        "a_low": 0.5,
        "a_high": 1.5,
        "b": {"estimate": 2, "low": 1, "high": 3, "n": 4},
        "c": [1.0, 0.0, 2.0],
        "d": {"x": [3.0, 2.0, 4.0], "y": [1.0, None, None]},
        "e": 4.0,
        "f_held_out": 1.0,
        "f_low": 0.0,
        "f_high": 2.0,
        "g": [1.0, 2.0],
        "h": 1.0,
        "h_low": float("nan"),
        "h_high": 2.0,
    }
    assert effect(numbers, "a") == [("a", 1.0, 0.5, 1.5)] and effect(numbers, "b") == [("b", 2.0, 1.0, 3.0)]
    assert effect(numbers, "c") == [("c", 1.0, 0.0, 2.0)] and effect(numbers, "d/*") == [("x", 3.0, 2.0, 4.0)]
    assert effect(numbers, "d/x") == effect(numbers, "d/*") and effect(numbers, "f") == [("f", 1.0, 0.0, 2.0)]
    assert effect(numbers, "e") == effect(numbers, "g") == effect(numbers, "h") == effect(numbers, "none") == []


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("holds", "holds"),
        ("holds in part; 2 of 3", "part"),
        ("helps; new tasks pay", "holds"),
        ("does not hold", "fails"),
        ("harms", "fails"),
        ("not shown: the interval holds 0", "open"),
        ("no difference shown: the interval holds 0", "open"),
        ("not judged: one model", "none"),
        ("descriptive", "none"),
        ("hides in each of 3 runs", "answer"),
    ],
)
def test_a_verdict_has_a_sign(word, kind):
    assert report.kind(word) == kind and kind in KINDS


def test_texts_are_cut_between_words():
    assert report.short("a  b\nc") == "a b c" and report.short("one two three", 9) == "one two…"
    assert len(report.short("x" * 400)) == report.CELL


# -- what is shown -----------------------------------------------------------------------------------------------------


def test_the_forest_plot_draws_each_claim_and_refuses_what_is_none(tmp_path):
    lines = [Line(f"claim {k} $x$", k, k, [(1.0, 0.5, 1.5), (2.0, 1.0, 3.0)], null=1.0) for k in KINDS]
    figure = forest_plot([*lines, Line("no interval", "open", "not shown")], tmp_path / "forest.png", title="t")
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert {sign for sign, *_ in KINDS.values()} <= set(shown) and "no interval" in shown
    assert "1 [0.5, 1.5] vs 1" in shown and (tmp_path / "forest.png").stat().st_size > 10_000
    with pytest.raises(FigureError, match="holds no claim"):
        forest_plot([])
    with pytest.raises(FigureError, match="kind='yes'"):
        forest_plot([Line("a", "yes", "yes")])


def test_a_claim_of_no_difference_is_drawn_with_its_margin():
    """The band spans the margin on the row's scale, ends at the edge where it has no bound, and is in the legend."""
    margins = [None, (-0.2, 0.2), (0.5 - math.inf, 1.1)]
    lines = [
        Line("no margin", "holds", "holds", [(1.0, 0.5, 2.0)]),
        Line("equal", "holds", "holds", [(0.05, -0.1, 0.1), (3.0, 2.0, 4.0)], margin=margins[1]),
        Line("no worse", "holds", "holds", [(0.9, 0.8, 1.05)], null=1.0, margin=margins[2]),
        Line("nothing measured", "none", "not judged", margin=margins[1]),
    ]
    figure = forest_plot(lines)
    axes = figure.axes[0]
    bands = [band.get_datalim(axes.transData) for band in axes.collections]
    # scales: the furthest bound of margin or interval, 4 from 0 and .2 from 1
    assert [(band.x0, band.x1) for band in bands] == [pytest.approx((-0.05, 0.05)), pytest.approx((-1.1, 0.5))]
    points = {line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 1}
    assert [sum(band.y0 < y < band.y1 for y in points) for band in bands] == [1, 1]  # of two effects the first alone
    shown = [text.get_text() for text in (*axes.texts, *figure.texts)]
    assert {"margin: -0.2 to 0.2", "margin: below 1.1"} <= set(shown) and sum("no difference" in s for s in shown) == 1
    assert not any("no difference" in text.get_text() for text in forest_plot(lines[:1]).texts)
    with pytest.raises(FigureError, match="do not rise"):
        forest_plot([Line("a", "holds", "holds", margin=(1.0, -1.0))])


def test_the_margin_of_a_study_reaches_its_forest_plot():
    for name, keys in {"function-vectors": 3, "loss-curvature": 2, "memory-subspace": 1}.items():
        claims = reproduction(name).claims
        assert sum(claims[key].margin is not None for key in claims) == keys
    claim = reproduction("loss-curvature").claims["svd_close"]
    assert claim.within(-0.09, 0.09) and not claim.within(-0.11, 0.0) and not Claim("a", "b").within(0.0, 0.0)


def test_the_page_has_everything_and_loads_nothing(toy, tmp_path):
    made = toy.run(out=tmp_path / "run")
    record = json.loads((tmp_path / "run" / records.RECORD).read_text())
    flags = pd.DataFrame({"number": ["mean"], "here": [3.0], "stored": [1.0], "low": [0.0], "high": [2.0]})
    parts = [
        report.Part(toy, made, record, flags=flags),
        report.Part(toy, made, record),
        report.Part(toy, made, record, flags=flags.iloc[:0]),
        report.Part(toy, None, {}, "out of <memory>"),
    ]
    text = report.page(parts, tmp_path / "report.html", "Title").read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "") and "out of &lt;memory&gt;" in text
    for said in (
        "1 numbers lie outside",
        "No stored run",
        "Every number lies within",
        "It goes up for x",
        "fingerprint",
    ):
        assert said in text
    assert text.count("data:image/png") == 2 * 3


def test_a_run_is_stored_as_its_record_and_another_is_compared_with_it(toy, tmp_path, monkeypatch):
    toy.run(preset="quick", out=tmp_path / "home" / "toy", progress=False)
    [folder] = stored.store_records(tmp_path / "home", tmp_path / "kept")
    assert folder == tmp_path / "kept" / "toy"
    assert sorted(path.name for path in folder.iterdir()) == [records.RECORD, "table.csv"]
    own = json.loads((tmp_path / "home" / "toy" / records.RECORD).read_text())
    there = stored.same("toy", own, [tmp_path / "kept"])
    assert there.preset == "quick" and there.record == own | {stored.ALONE: True}
    # it has nothing to be judged again from
    monkeypatch.setattr(judging, "REPRODUCTIONS", ("toy",))
    assert judging.again(tmp_path / "kept") == []
    (tmp_path / "home" / "toy" / "table.csv").unlink()
    with pytest.raises(ReproduceError, match=r"home: .*toy has no table\.csv; run `lens reproduce` to its end first"):
        stored.store_records(tmp_path / "home", tmp_path / "again")
    with pytest.raises(ReproduceError, match=r"home: .* holds no run; expected folders with a reproduction\.json"):
        stored.store_records(tmp_path / "nowhere", tmp_path / "again")


def test_numbers_outside_a_stored_interval_are_found():
    there = {"a": 1.0, "a_low": 0.5, "a_high": 1.5, "b": {"x": [1.0, 0.0, 2.0], "y": [1.0, 0.0, 2.0]}, "n": 3}
    here = {"a": 1.6, "a_low": 1.0, "a_high": 2.0, "b": {"x": [1.9, 1.0, 3.0], "y": [2.1, 1.0, 3.0]}, "n": 9}
    found = stored.outside(here, there, ["b/*"])
    assert (
        found.number.tolist() == ["b/y", "a"] and found.here.tolist() == [2.1, 1.6] and found.high.tolist() == [2, 1.5]
    )
    assert stored.outside(there, there, ["b/*", "none"]).empty


@pytest.mark.parametrize("name", REPRODUCTIONS)
def test_a_study_that_trains_does_it_with_one_thread_so_that_its_numbers_are_those_of_any_machine(name):
    folder = Path(lens.__path__[0]) / "reproduce" / name.replace("-", "_")
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    trains = re.search(
        r"^from \.\.\.training|^from \.\.\. import .*\b(training|forgetting|unlearning)\b|\brelearn\w*\(", text, re.M
    )
    assert not trains or "one_thread()" in text


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_list_says_what_there_is(capsys):
    assert cli.main(["reproduce", "--list"]) == 0
    text = capsys.readouterr().out
    for name in REPRODUCTIONS:
        study = reproduction(name)
        assert name in text and study.paper in text and study.models in text
        assert all(f"{preset} (" in text for preset in study.presets)
    assert "not measured" in text and "reproduction (" in text


@pytest.fixture
def finished(monkeypatch):
    """Studies that are run apart end at once, with the stored run of a study in their folder."""

    def apart(study: Study, folder: Path, arguments: argparse.Namespace, jobs: int) -> str:
        if study.name == "loss-curvature":
            return "out of memory"
        shutil.copytree(RESULTS / study.name.replace("-", "_"), folder, dirs_exist_ok=True)
        return ""

    monkeypatch.setattr(command, "_apart", apart)


def test_all_studies_have_one_page_and_a_failure_is_named(finished, tmp_path, capsys):
    names = [word for name in ("subspace-language", "loss-curvature") for word in ("--only", name)]
    assert cli.main(["reproduce", "all", *names, "--out", str(tmp_path)]) == 1
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "It did not run: out of memory" in text and "Every number lies within" in text
    said = capsys.readouterr().out
    assert "2 studies in" in said and "0 numbers outside" in said and "(1 studies have one" in said


def test_two_studies_at_a_time_share_the_cores_and_each_line_says_whose_it_is(tmp_path, capsys, monkeypatch):
    """Each waits until the other has begun; neither leaves a run."""
    script = tmp_path / "python"
    script.write_text(
        f"#!/bin/sh\ncd {tmp_path}; touch $4\nuntil [ -e hubble ] && [ -e restor ]; do sleep .01; done\n"
        'echo "$OMP_NUM_THREADS threads"\necho broken >&2\nexit 1\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(command.sys, "executable", str(script))
    monkeypatch.setattr(command.os, "cpu_count", lambda: 6)
    words = ["--only", "hubble", "--only", "restor", "--jobs", "2", "--out", str(tmp_path / "out")]
    assert cli.main(["reproduce", "all", *words]) == 1
    said = capsys.readouterr()
    assert "[hubble] 3 threads\n" in said.out and "[restor] 3 threads\n" in said.out and said.err.count("broken\n") == 2
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert text.count("It did not run: broken") == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name is missing"),
        (["nothing"], "'nothing' is not known"),
        (["all", "--preset", "medium"], "--preset 'medium' is not one of .*--only"),
        (["all", "--only", "none"], "'none' is not known"),
        (["all", "--limit", "3"], "--limit 3: each study has its own"),
        (["palimpsest", "--only", "palimpsest"], "goes with the name all"),
        (["palimpsest", "--jobs", "2"], "--jobs 2 goes with the name all"),
        (["all", "--jobs", "0"], "--jobs 0: expected a number of studies at a time"),
        (["palimpsest", "--models", "x"], "takes no folder of models"),
    ],
)
def test_what_the_command_does_not_take_is_named(words, said, capsys):
    assert cli.main(["reproduce", *words]) == 2
    assert re.search(said, capsys.readouterr().err)


def test_an_interval_without_bounds_is_told_as_none():
    from lens.reproduce.common import shown
    from lens.stats import Interval

    nan = float("nan")
    assert shown(Interval(0.25, nan, nan, 0.95, 3, "too few")) == "0.25 (no interval)"
    assert shown(Interval(0.25, 0.125, nan, 0.95, 3, "half"), 1, sign=True) == "+0.2 [+0.1, +nan]"


def _texts(value):
    if isinstance(value, dict):
        return [text for one in value.values() for text in _texts(one)]
    if isinstance(value, list):
        return [text for one in value for text in _texts(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize("file", sorted(RESULTS.rglob("*.json")), ids=lambda f: str(f.relative_to(RESULTS)))
def test_no_stored_record_names_a_place_of_the_machine_that_made_it(file):
    told = _texts(json.loads(file.read_text(encoding="utf-8")))
    assert not [text for text in told if Path(text).is_absolute()]


def test_a_model_of_a_folder_is_named_as_it_ships_and_damaged_weights_are_refused(tmp_path):
    from lens.organisms import archive
    from lens.reproduce.organism_models import bridged

    folder = archive.folder_of(0)
    assert lens.models.name_of(bridged(folder)) == "organism:archive"
    shutil.copytree(folder, tmp_path / "archive")
    assert lens.models.name_of(bridged(tmp_path / "archive")) == str(tmp_path / "archive")
    weights = tmp_path / "archive" / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ReproduceError, match="models: the weights"):
        bridged(tmp_path / "archive")
