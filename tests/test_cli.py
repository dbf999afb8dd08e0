"""The `lens` command: what it prints, what it writes, and one message instead of a traceback."""

import subprocess
import sys

import numpy as np
import pytest

import lens
from lens import cli

CLEAN = "When John and Mary went to the shops, John gave the bottle to"
CORRUPTED = "When John and Mary went to the shops, Mary gave the bottle to"
PATCH = ["patch", "--clean", CLEAN, "--corrupted", CORRUPTED, "--answer", " Mary", "--foil", " John"]


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MNEMOSCOPE_CACHE", str(tmp_path / "cache"))


def refused(capsys, arguments):
    """Run a command that must fail, and return its one message."""
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("lens: ") and "Traceback" not in printed.err and printed.out == ""
    return printed.err


def test_version_from_the_shell():
    result = subprocess.run([sys.executable, "-m", "lens", "version"], capture_output=True, text=True)
    assert (result.returncode, result.stdout.strip(), result.stderr) == (0, f"mnemoscope {lens.__version__}", "")


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["--help"])
    assert end.value.code == 0
    printed = capsys.readouterr().out
    assert all(f"\n    {command} " in printed for command in ("fetch", "doctor", "new", "patch", "version"))


@pytest.mark.parametrize("arguments", [[], ["dance"], ["patch", "--clean", "a"]])
def test_a_wrong_command_line_ends_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2 and "usage: lens" in capsys.readouterr().err


def test_fetch_of_what_is_there_says_so(smollm2, capsys):
    assert cli.main(["fetch", "smollm2"]) == 0
    assert "smollm2 is already here" in capsys.readouterr().out


def test_fetch_of_an_unknown_name_is_one_message(capsys):
    assert "name='gpt7' cannot be fetched" in refused(capsys, ["fetch", "gpt7"])


def test_doctor_reports_a_usable_machine(smollm2, capsys):
    assert cli.main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for part in ("torch ", "threads ", "chromium", "sizes and SHA-256 as written"):
        assert part in printed
    assert "smollm2                  yes" in printed and "organism:induction       yes" in printed


def test_doctor_ends_with_code_1_where_nothing_was_fetched(empty_cache, capsys):
    assert cli.main(["doctor"]) == 1
    assert "run `lens fetch smollm2`" in capsys.readouterr().out


def test_patch_writes_the_result_that_the_library_gives_and_draws_its_map(smollm2, tmp_path, capsys):
    out, figure = tmp_path / "trace.zarr", tmp_path / "map.png"
    assert cli.main([*PATCH, "--device", "cpu", "--out", str(out), "--figure", str(figure)]) == 0
    printed = capsys.readouterr().out
    assert f"saved: {out}" in printed and "layer" in printed
    assert f"figure: {figure}" in printed and figure.read_bytes().startswith(b"\x89PNG")
    expected = lens.patch(smollm2, lens.Pair(CLEAN, corrupted=CORRUPTED, answer=" Mary", foil=" John"), "resid_pre")
    np.testing.assert_allclose(lens.open(out).effect.values, expected.effect.values, atol=1e-4)


def test_patch_without_the_model_names_the_command(empty_cache, capsys):
    assert "Run `lens fetch smollm2`" in refused(capsys, PATCH)


@pytest.mark.long
def test_patch_of_prompts_that_do_not_align_is_one_message(smollm2, capsys):
    arguments = ["patch", "--clean", "a b c", "--corrupted", "a b c d e", "--answer", " x", "--foil", " y"]
    assert "corrupted" in refused(capsys, arguments)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--out", "trace.pickle"], "--out trace.pickle: expected a name that ends in .zarr"),
        (["--figure", "map.gif"], "--figure map.gif: expected a name that ends in .png"),
        (["--out", "nowhere/at/all.zarr"], "does not exist; make it first"),
        (["--device", "abacus"], "device='abacus'"),
        (["--model", "organism:unicorn"], "there is no such organism"),
    ],
)
def test_patch_refuses_what_it_cannot_do_before_it_starts(extra, message, capsys):
    assert message in refused(capsys, [*PATCH, *extra])


def test_patch_names_an_unknown_site(smollm2, capsys):
    assert "resid_perhaps" in refused(capsys, [*PATCH, "--device", "cpu", "--site", "resid_perhaps"])


def test_ctrl_c_is_no_traceback(monkeypatch, capsys):
    def stop(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("lens.models.fetch", stop)
    assert cli.main(["fetch"]) == 130
    assert capsys.readouterr().err == "lens: stopped\n"
