"""Shell completion, and the option --quiet."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from bayescale.cli import app as cli
from bayescale.cli.terminal import SweepDisplay, say
from bayescale.progress_display import ProgressDisplay, be_quiet, is_quiet
from bayescale.runners.sweeps.progress import Progress
from tests.scaffolding.prior_posterior import prior_posterior


@pytest.mark.parametrize(
    ("words", "last", "offered"), [("bayescale fron", 1, "frontier"), ("bayescale fit --ou", 2, "--out")]
)
def test_a_shell_gets_the_words_that_may_come_next(words: str, last: int, offered: str) -> None:
    asked = {"_BAYESCALE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(last)}
    command = [sys.executable, "-m", "bayescale"]
    done = subprocess.run(command, env=os.environ | asked, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]


def test_quiet_silences_notes_warnings_and_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prior_posterior().save(tmp_path / "fit.nc")
    fit, out = str(tmp_path / "fit.nc"), str(tmp_path / "frontier.csv")
    ask = ["frontier", fit, "--env", "new", "--new-task", "--threshold", "321", "--out", out]
    assert cli.main(ask) == 0
    assert "note: " in capsys.readouterr().err
    assert cli.main(["--quiet", *ask]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out == f"wrote {out}\n"
    assert cli.main(["-q", *ask[:3], "nobody", *ask[5:]]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert cli.main(ask) == 0
    assert "note: " in capsys.readouterr().err, "quiet ends with its command"


def test_a_quiet_process_shows_no_progress(capsys: pytest.CaptureFixture[str]) -> None:
    be_quiet(True)
    try:
        with SweepDisplay() as display:
            display(Progress(8, 8, 1.0, 140.0, 0.0))
        say("a note")
        assert is_quiet()
    finally:
        be_quiet(False)
    assert capsys.readouterr().err == ""


@pytest.mark.filterwarnings("always:look out")
def test_warnings_are_lines_unless_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_: object) -> None:
        warnings.warn("look out", stacklevel=2)

    monkeypatch.setattr("bayescale.cli.commands.doctor.examination", dict)
    monkeypatch.setattr("bayescale.cli.commands.doctor.in_words", warn)
    assert cli.main(["doctor"]) == 0
    assert capsys.readouterr().err == "warning: look out\n"
    assert cli.main(["-q", "doctor"]) == 0
    assert capsys.readouterr().err == ""
    assert not is_quiet(), "quiet ends with its command"


@pytest.mark.parametrize(("kernel", "lines"), [(False, 1), (True, 3)])
def test_a_notebook_hears_more_often(
    kernel: bool, lines: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    if kernel:
        monkeypatch.setitem(sys.modules, "ipykernel", sys)
    with ProgressDisplay() as display:
        for seconds in (0.0, 3.0, 6.0, 9.0, 12.0):
            display.show(seconds / 60, "sampling", seconds=seconds)
    assert len(capsys.readouterr().err.splitlines()) == lines
