"""Test that Ctrl-C and SIGTERM end a command with one line and exit code 130 at whatever moment they come."""

import gc
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from bayescale.cli.interrupts import INTERRUPTED_LINE, Outcome, answer

LINE = f"error: {INTERRUPTED_LINE}\n"


@pytest.fixture(autouse=True)
def usual_handlers() -> Iterator[None]:
    """Set the usual handlers and check that the test leaves them in place; background processes ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    hooks = sys.excepthook, sys.unraisablehook
    yield
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
    assert (sys.excepthook, sys.unraisablehook) == hooks


def work_for_ever() -> None:
    while True:
        time.sleep(0.01)


def raised() -> None:
    signal.raise_signal(signal.SIGINT)


def sent_by_slurm() -> None:
    signal.raise_signal(signal.SIGTERM)


def lost_in_a_callback_of_the_garbage_collector() -> None:
    def interrupt(_phase: str, _info: dict[str, int]) -> None:
        gc.callbacks.remove(interrupt)
        signal.raise_signal(signal.SIGINT)

    gc.callbacks.append(interrupt)
    gc.collect()
    work_for_ever()


def lost_in_a_destructor() -> None:
    class Interrupting:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    Interrupting()
    work_for_ever()


def caught_three_times() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    for _ in range(2):
        with suppress(KeyboardInterrupt):
            work_for_ever()
    work_for_ever()


def caught_by_a_command_that_finishes() -> None:
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def turned_into_an_import_error_with_a_traceback() -> None:
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt as error:
        sys.excepthook(KeyboardInterrupt, error, error.__traceback__)  # PyErr_Print of a compiled module does this
    raise ImportError("numpy.core.multiarray failed to import")


def arrived_while_a_thread_was_awaited() -> None:
    main_thread = threading.get_ident()
    sender = threading.Thread(target=signal.pthread_kill, args=(main_thread, signal.SIGINT))
    sender.start()
    threading.Event().wait()


@pytest.mark.parametrize(
    "way",
    [
        raised,
        sent_by_slurm,
        lost_in_a_callback_of_the_garbage_collector,
        lost_in_a_destructor,
        caught_three_times,
        caught_by_a_command_that_finishes,
        turned_into_an_import_error_with_a_traceback,
        arrived_while_a_thread_was_awaited,
    ],
    ids=lambda way: way.__name__,
)
def test_every_interrupt_is_heard(way: Callable[[], None], capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> Outcome:
        way()
        return Outcome(0)

    assert answer(command, ends_process=False) == 130
    assert capfd.readouterr() == ("", LINE)


def test_what_a_command_cleans_up_is_not_disturbed(capfd: pytest.CaptureFixture[str]) -> None:
    cleaned: list[str] = []

    def command() -> Outcome:
        try:
            raised()
        finally:
            signal.raise_signal(signal.SIGINT)  # an impatient second Ctrl-C
            time.sleep(0.5)  # longer than the pause between tries
            cleaned.append("all")
        return Outcome(0)

    assert answer(command, ends_process=False) == 130
    assert cleaned == ["all"]
    assert capfd.readouterr() == ("", LINE)


def test_a_command_may_say_itself_how_it_was_interrupted(capfd: pytest.CaptureFixture[str]) -> None:
    def command() -> Outcome:
        with suppress(KeyboardInterrupt):
            raised()
        return Outcome(130, "the sweep stopped;\ncontinue with --resume.")

    assert answer(command, ends_process=False) == 130
    assert capfd.readouterr() == ("", "error: the sweep stopped; continue with --resume.\n")


def test_commands_that_no_signal_ends_keep_their_code_and_errors(capfd: pytest.CaptureFixture[str]) -> None:
    assert answer(lambda: Outcome(4, "no configuration is feasible."), ends_process=False) == 4
    assert capfd.readouterr() == ("", "error: no configuration is feasible.\n")

    def broken() -> Outcome:
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        answer(broken, ends_process=False)


def test_an_ignored_signal_stays_ignored() -> None:
    def command() -> Outcome:
        raised()
        return Outcome(0)

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # nohup does this, and shells for background processes
    try:
        assert answer(command, ends_process=False) == 0
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_command_in_another_thread_leaves_the_handlers_alone() -> None:
    codes: list[int] = []

    def command() -> Outcome:
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return Outcome(0)

    thread = threading.Thread(target=lambda: codes.append(answer(command, ends_process=False)))
    thread.start()
    thread.join()
    assert codes == [0]


def run(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_third_signal_ends_a_command_that_does_not_end() -> None:
    done = run(
        "import signal, time\n"
        "from bayescale.cli.interrupts import answer\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "def command():\n"
        "    try:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "    finally:\n"
        "        signal.raise_signal(signal.SIGINT)\n"
        "        signal.raise_signal(signal.SIGTERM)\n"
        "        time.sleep(600)\n"
        "answer(command, ends_process=True)\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", LINE)


# The audit hook of this script interrupts its process at the import with the number that the first argument gives.
INTERRUPTED_IMPORT = """
import signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)
left = int(sys.argv.pop(1))


def interrupt(event, arguments):
    global left
    if event == "import" and started:
        left -= 1
        if left == 0:
            signal.raise_signal(signal.SIGINT)


started = False
sys.addaudithook(interrupt)
from bayescale.cli import main

started = True
sys.exit(main())
"""


@pytest.mark.parametrize("number", [1, 60, 300, 700, 1200, 1600])
@pytest.mark.parametrize("name", ["fit", "sweep"])
def test_an_interrupt_during_imports_ends_the_process(name: str, number: int, tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(
        'env_id = "Pendulum-v1"\nutd = [1]\nbatch_size = [8]\nlearning_rate = [1e-3]\nseed = [0]\nenv_steps = 100_000\n'
        "warmup_steps = 40\nhidden_width = 8\n"
    )
    curves = Path(__file__).parents[2] / "case_studies" / "data" / "sac_pendulum.parquet"
    arguments = {
        "fit": ("fit", curves, "--out", tmp_path / "fit.nc"),
        "sweep": ("sweep", plan, "--out", tmp_path / "runs", "--workers", "1"),
    }
    done = run(INTERRUPTED_IMPORT, number, *arguments[name])
    assert done.returncode == 130
    begun = f"error: the sweep in {tmp_path / 'runs'} stopped: it was interrupted. Finished runs are kept; "
    begun += "continue with resume (--resume).\n"
    assert done.stderr.endswith((LINE, begun))
    assert done.stderr.count("error: ") == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "fit.nc").exists()
