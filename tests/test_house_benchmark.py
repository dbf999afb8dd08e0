"""The benchmark `house` itself works: each part gives its figures, and each of its judges can fail."""

import json
import shutil
import subprocess

import pytest

from benchmarks import house, house_widgets
from benchmarks.__main__ import PARTED
from benchmarks.before import BeforeError


def test_the_command_line_knows_every_part():
    assert PARTED["house"][1] == tuple(house.FIGURES) == tuple(house.BENCH.parts)


def test_every_figure_that_is_promised_has_its_bound_in_words():
    figures = {name: bound for part in house.FIGURES.values() for name, bound in part.items()}
    assert len(figures) == 11 and all(bound for bound in figures.values())


def test_a_process_takes_the_packages_of_its_tree_and_others_from_where_this_one_does(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/some/lib")
    assert house.environment(tmp_path)["PYTHONPATH"].split(":") == [str(tmp_path), "/some/lib"]
    monkeypatch.delenv("PYTHONPATH")
    assert house.environment(tmp_path)["PYTHONPATH"] == str(tmp_path)


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small tree of its own under git."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / "lens").mkdir()
    (tmp_path / "lens" / "a.py").write_text("x = 1\n" * 401)
    (tmp_path / "lens" / "b.py").write_text("y = 1\n" * 400)
    (tmp_path / "view.js").write_text("// " + "-" * 300 + "\n")
    (tmp_path / "page.md").write_text("-" * 900)
    (tmp_path / ".gitignore").write_text("build/\n")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "c.js").write_text("/" * 999)
    monkeypatch.setattr(house, "ROOT", tmp_path)
    return tmp_path


def test_long_lines_and_files_are_found_and_what_git_ignores_is_not(tree):
    found = house.files(False)
    assert (found["longest_line"], found["longest_line_at"]) == (303, "view.js:1")
    assert found["files_over_400"] == 1 and found["long_files"] == {"lens/a.py": 401}


@pytest.mark.long
def test_walls_of_this_tree_and_a_method_that_nobody_knew(monkeypatch):
    from tests import test_house

    # `tests/test_house.py` makes a sixth method and runs its tests
    monkeypatch.setattr(test_house, "with_a_sixth_method", lambda place: subprocess.CompletedProcess([], 0, "", ""))
    found, wrong = house.walls(True), len(test_house.wrong_arrows(house.ROOT))
    assert found == {"circles": 0, "back_arrows": wrong, "files_changed_for_a_sixth_method": 0}
    monkeypatch.setattr(test_house, "wrong_arrows", lambda root: {("a", "b"): "a imports b"})
    monkeypatch.setattr(test_house, "with_a_sixth_method", lambda place: _written(place))
    found = house.walls(True)
    assert found["back_arrows"] == 1 and found["files_changed_for_a_sixth_method"] == 1


def _written(place):
    (place / "README.md").write_text("a line for the sixth")
    return subprocess.CompletedProcess([], 0, "", "")


def test_errors_of_types_are_counted(monkeypatch):
    assert house.types(True)["mypy_errors"] == 0
    told = "lens/a.py:1: error: no [x]\nlens/a.py:1: note: see\nlens/b.py:2: error: no [y]\nFound 2 errors in 2 files\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, told, ""))
    assert house.types(False) == {"mypy_errors": 2}
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2, "", "no module mypy"))
    assert "mypy gave no answer" in house.types(False)["why"]


def test_warnings_of_the_documentation_are_read_from_its_last_line(monkeypatch):
    assert "not built" in house.docs(True)["why"]
    line = 'reading\n{"docs_warnings": 3, "pages": 9}\n'
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, line, ""))
    assert house.docs(False) == {"docs_warnings": 3}
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 2, "", "sphinx is absent"))
    assert "sphinx is absent" in house.docs(False)["why"]


@pytest.mark.long
def test_the_first_call_is_timed_in_both_builds():
    found = house.before(True)
    if "why" in found:
        pytest.skip(found["why"])  # a shallow clone has no earlier commit
    assert 0 < found["first_call_over_before"] < 0.6
    assert {name: len(seconds) for name, seconds in found["first_call_seconds"].items()} == {"now": 1, "before": 1}


def test_a_build_that_fails_is_no_time(tmp_path):
    (tmp_path / "lens").mkdir()
    (tmp_path / "lens" / "__init__.py").write_text("raise ValueError('no')")
    with pytest.raises(BeforeError, match="ValueError: no"):
        house.first_call(tmp_path)


def test_without_a_browser_the_views_say_why(monkeypatch):
    monkeypatch.setattr("tests.browser.conftest.CHROMIUM", None)
    for part, figure in ((house.door, "notebook_open_s"), (house.views, "widget_hover_p95_ms")):
        found = part(True)
        assert "no Chromium was found" in found["why"] and figure not in found


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no Chromium")
@pytest.mark.long
def test_a_hover_a_move_and_the_start_page_are_timed(smollm2):
    assert 0 < house.door(True)["notebook_open_s"] < 180
    found = house.views(True)
    assert 0 < found["widget_hover_median_ms"] <= found["widget_hover_p95_ms"] < house_widgets.LONGEST
    assert 0 < found["live_injection_median_ms"] <= found["live_injection_p95_ms"] < house_widgets.LONGEST


@pytest.mark.long
def test_the_json_line_has_every_figure_and_null_where_one_could_not_be_taken(tmp_path, capsys, monkeypatch):
    quick = {name: (lambda quick: {"why": "left out"}) for name in house.FIGURES} | {"files": house.files}
    monkeypatch.setattr(house.BENCH, "parts", quick)
    assert house.BENCH.run(quick=True, part=None, again=True, kept=False, folder=tmp_path) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    for part, figures in house.FIGURES.items():
        assert all((line[name] is None) == (part != "files") for name in figures)
