"""The command `plan` prints a plan that `sweep --dry-run` accepts, and the keys of plans."""

import json
from pathlib import Path

import pytest

from bayescale.cli import app as cli
from bayescale.runners.plan_keys import keys_of
from bayescale.runners.sweeps import estimates


def test_sweep_accepts_the_example(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.main(["plan", "--example"]) == 0
    (tmp_path / "plan.toml").write_text(capsys.readouterr().out)
    # Trials of every kind of ensemble would take half a minute; all else of a dry run is real.
    monkeypatch.setattr(estimates, "measured_rates", lambda _: estimates.Rates(1e-4, 1e-3, 1e-2, 1e6))
    assert cli.main(["sweep", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    assert capsys.readouterr().out.startswith("108 runs, ")
    assert not (tmp_path / "out").exists()


def test_keys_are_listed_for_people_and_for_scripts(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", "--keys", "--algorithm", "PQL"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == list(keys_of("PQL"))
    assert any(line.startswith("evaluation_interval (default 409_600; env steps): ") for line in lines)
    assert cli.main(["plan", "--keys", "--json"]) == 0
    documented = json.loads(capsys.readouterr().out)
    assert documented["stop_return"]["default"] == "inf"
    assert documented["utd"] | {"choose": ""} == {
        "meaning": "updates-to-data ratio: gradient updates per env step",
        "unit": "updates per env step",
        "default": None,
        "choose": "",
    }


@pytest.mark.parametrize(
    ("words", "remedy"),
    [([], "choose one of"), (["--example", "--keys"], "choose one of"), (["--example", "--json"], "Leave --json out")],
)
def test_one_thing_at_a_time(words: list[str], remedy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["plan", *words]) == 2
    assert remedy in capsys.readouterr().err
