"""The progress of a sweep: a bar on a terminal, a line every minute elsewhere."""

import io
import re
import sys

import pytest

from bayescale.cli.terminal import BAR_WIDTH, ProgressDisplay, duration, number, table_text
from bayescale.runners.sweeps.progress import Progress

STATES = [
    Progress(0, 8, 0.0, 0.0, None),
    Progress(0, 8, 0.1, 20.0, 180.0),
    Progress(2, 8, 0.4, 61.0, 91.5),
    Progress(4, 8, 0.5, 70.0, 70.0),
    Progress(8, 8, 1.0, 140.0, 0.0),
]


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressDisplay() as display:
        for state in STATES:
            display(state)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "0%, 0 of 8 runs after 0 s",
        "40%, 2 of 8 runs after 61 s, 2 min left",
        "100%, 8 of 8 runs after 2 min",
    ]


def test_progress_on_a_terminal_is_a_bar_that_stays_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with ProgressDisplay() as display:
        for state in STATES:
            display(state)
    _, *before, last = terminal.getvalue().split("\r\x1b[2K")
    assert re.findall(r"━+|╺", before[1]) == ["━" * 3, "╺", "━" * (BAR_WIDTH - 4)]  # done, the tip, to do
    assert before[1].endswith(" 10%, 0 of 8 runs after 20 s, 3 min left")
    assert not any("\n" in state for state in before)
    text = re.sub(r"\x1b\[[\d;?]+[a-z]", "", last)
    assert text == f"{'━' * BAR_WIDTH} 100%, 8 of 8 runs after 2 min\n"
    assert last.endswith("\x1b[?25h"), "the cursor is shown again"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h"), (2e5, "2.3 days")],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.01234, "0.0123"), (2.0, "2"), (999.6, "1,000"), (318_123.0, "318,000"), (4e9, "4e+09"), (float("inf"), "inf")],
)
def test_numbers_have_three_digits_and_separators(value: float, said: str) -> None:
    assert number(value) == said


def test_a_table_for_a_pipe_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    head, row = table_text(["task", "cost", "note"], [["[b]x" * 40, "1", "long " * 40]], text_columns=["note"]).split(
        "\n"
    )
    assert row.split() == ["[b]x" * 40, "1", *["long"] * 40]
    assert head.index("note") == row.index("long")
