"""Test the progress of a sweep, a bar on a terminal and a line every minute elsewhere, and what the command refuses."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bayescale.arguments import three_digits
from bayescale.cli import app as cli
from bayescale.cli.terminal import SweepDisplay, table_text
from bayescale.progress_display import BAR_WIDTH, ProgressDisplay, duration
from bayescale.runners.sweeps.progress import Progress

STATES = [
    Progress(0, 8, 0.0, 0.0, None),
    Progress(0, 8, 0.1, 20.0, 180.0),
    Progress(2, 8, 0.4, 61.0, 91.5),
    Progress(4, 8, 0.5, 70.0, 70.0),
    Progress(8, 8, 1.0, 140.0, 0.0),
]


def test_progress_is_a_line_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    with SweepDisplay() as display:
        for state in STATES:
            display(state)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [
        "0%, 0 of 8 runs after 0 s",
        "40%, 2 of 8 runs after 61 s, 2 min left",
        "100%, 8 of 8 runs after 2 min",
    ]


def test_time_left_counts_the_pace_after_compiling(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Compiling takes 50 s for the first tenth; the next tenth takes 5 s, and so will each of the other eight."""
    now = [0.0]
    monkeypatch.setattr("bayescale.progress_display.time.monotonic", lambda: now[0])
    with ProgressDisplay() as display:
        display.advance(0.0, "compiling")
        now[0] = 50.0
        display.set_pace(0.1)
        now[0] = 55.0
        display.advance(0.2, "working")
    assert capsys.readouterr().err.splitlines() == ["0%, compiling", "20%, working, 40 s left"]


def test_progress_on_a_terminal_is_a_bar_that_stays_in_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with SweepDisplay() as display:
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
    assert three_digits(value) == said


def test_a_table_for_a_pipe_is_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    head, row = table_text(["task", "cost", "note"], [["[b]x" * 40, "1", "long " * 40]], text_columns=["note"]).split(
        "\n"
    )
    assert row.split() == ["[b]x" * 40, "1", *["long"] * 40]
    assert head.index("note") == row.index("long")


PLAN = 'env_id = "Pendulum-v1"\nutd = [1]\nbatch_size = [16]\nlearning_rate = [3e-4]\nenv_steps = 2000\n'


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("[" * 10_000 + "]" * 10_000, "nests lists or tables too deeply. A plan needs one level of each."),
        (str(list(range(1_000_000))), "the plan has 1,000,000 runs; one sweep takes at most 100,000. Split it into"),
    ],
    ids=["nested 10,000 deep", "a million runs"],
)
def test_plans_that_cannot_be_expanded_are_refused(
    seeds: str, said: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    (tmp_path / "plan.toml").write_text(f"{PLAN}seed = {seeds}\n")
    assert said in refused("sweep", tmp_path / "plan.toml", "--out", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--address", "127.0.0.1:1"], {}, "no Ray cluster answers at '127.0.0.1:1': Connection refused. Start one or"),
        (["--address", "head node"], {}, "address must be HOST:PORT, ray://HOST:PORT, auto or local; got 'head node'."),
        (
            [],
            {"RAY_ADDRESS": "127.0.0.1:1"},
            "no Ray cluster answers at '127.0.0.1:1' (RAY_ADDRESS): Connection refused. Start one, or correct or unset",
        ),
    ],
    ids=["option", "no address", "environment"],
)
def test_a_ray_address_where_nothing_answers_is_refused(
    options: list[str],
    environment: dict[str, str],
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("ray")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "plan.toml").write_text(f"{PLAN}seed = [0]\n")
    command = ["sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "runs"), "--engine", "ray"]
    assert cli.main([*command, *options]) == 2
    heard = capsys.readouterr()
    assert heard.out == "1 run, 2,000 env steps, 1,000 gradient updates\n"
    *doubts, error = heard.err.splitlines()
    assert error.startswith(f"error: {said}")
    assert "doubt: every setting has one seed: the sweep cannot tell seed noise from the effect of a setting." in (
        doubt.partition(" Give")[0] for doubt in doubts
    )
    assert not (tmp_path / "runs").exists()
