import io
import sys

import pytest

from bayescale.cli.sweep import ProgressDisplay, duration
from bayescale.runners.sweeps.progress import Progress

STATES = [
    Progress(0, 8, 0.0, 0.0, None),
    Progress(0, 8, 0.1, 20.0, 180.0),
    Progress(2, 8, 0.4, 61.0, 91.5),
    Progress(4, 8, 0.5, 70.0, 70.0),
    Progress(8, 8, 1.0, 140.0, 0.0),
]


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    display = ProgressDisplay()
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
    display = ProgressDisplay()
    for state in STATES:
        display(state)
    _, *before, last = terminal.getvalue().split("\r\x1b[K")
    assert before[1] == "[###...........................] 10%, 0 of 8 runs after 20 s, 3 min left"
    assert not any("\n" in state for state in before)
    assert last == f"[{'#' * 30}] 100%, 8 of 8 runs after 2 min\n"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (89.0, "89 s"), (90.0, "2 min"), (5399.0, "90 min"), (5400.0, "1.5 h"), (2e5, "2.3 days")],
)
def test_durations_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said
