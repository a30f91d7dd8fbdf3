"""Test what the command fit says and keeps: progress in words, interrupted fits, and draws that did not converge."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import NotConverged
from bayescale.inference.checkpoints import checkpoint_beside
from bayescale.inference.convergence import Status


@pytest.fixture
def unconverged(fit_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let fits end with draws that have not converged."""
    apart = dataclasses.replace(bs.load(fit_file), status=Status.NOT_MIXED)

    def fail(*_: object, **_settings: object) -> None:
        raise NotConverged("not converged: the chains disagree.", (), apart)

    monkeypatch.setattr("bayescale.fit", fail)


def test_a_fit_is_written_and_summarised(
    curves_file: Path,
    fit_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fitted, asked = bs.load(fit_file), []
    monkeypatch.setattr("bayescale.fit", lambda _, **options: asked.append(options) or fitted)
    out = tmp_path / "fit.nc"
    assert cli.main(["fit", str(curves_file), "--out", str(out), "--chains", "3", "--draws", "77", "--seed", "5"]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "runs: 108, tasks: 2, thresholds: 3 from 300 to 800, right-censored crossings: 0%",
        fitted.status.value,
        f"wrote {out}",
    ]
    assert bs.load(out).provenance == fitted.provenance
    (options,) = asked
    assert (options["chains"], options["draws"], options["seed"], options["method"]) == (3, 77, 5, "hmc")
    assert options["checkpoint"] == checkpoint_beside(out)


@pytest.mark.usefixtures("unconverged")
def test_draws_that_did_not_converge_are_kept_for_a_report_and_refused_by_decisions(
    curves_file: Path, tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    out, kept = tmp_path / "fit.nc", tmp_path / "draws.nc"
    assert "the chains disagree." in refused("fit", curves_file, "--out", out, code=3)
    assert list(tmp_path.iterdir()) == []
    assert cli.main(["fit", str(curves_file), "--out", str(out), "--keep-unconverged", str(kept)]) == 3
    said = capsys.readouterr().err.splitlines()
    assert said == [
        f"wrote {kept}, for a diagnosis with `bayescale report`.",
        "error: not converged: the chains disagree.",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["draws.nc"]
    asked = ["--env", "Ant-v4", "--threshold", "500"]
    configs = tmp_path / "configs.csv"
    configs.write_text("env_id,utd,batch_size,learning_rate\nAnt-v4,2,256,3e-4\n")
    for command in (
        ["allocate", kept, *asked],
        ["frontier", kept, *asked, "--out", tmp_path / "frontier.csv"],
        ["predict", kept, "--at", configs, "--out", tmp_path / "predicted.csv"],
        ["next", kept, "--candidates", configs, "--budget", "1e15", "--out", tmp_path / "next.csv"],
    ):
        assert refused(*command, code=3) == (
            f"error: {kept} holds draws that have not converged: the chains disagree: they serve a diagnosis "
            "(bayescale report), not a prediction or a decision. Fit again as `fit` advised.\n"
        )


def test_ctrl_c_keeps_the_checkpoint_and_says_how_to_go_on(
    curves_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "fit.nc"
    asked = []

    def interrupt(*_: object, checkpoint: Path, resume: bool, **_settings: object) -> None:
        asked.append(resume)
        checkpoint.write_text("the chains so far")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("bayescale.fit", interrupt)
    assert cli.main(["fit", str(curves_file), "--out", str(out)]) == 130
    checkpoint = checkpoint_beside(out)
    assert checkpoint.name == "fit.nc.checkpoint.npz"
    said = (
        f"error: interrupted; {checkpoint} keeps what the chains have done. Go on with the same command and --resume."
    )
    assert capsys.readouterr().err == f"{said}\n"
    assert cli.main(["fit", str(curves_file), "--out", str(out)]) == 130
    note = f"note: {checkpoint} holds an interrupted fit, which --resume would go on with; this fit starts anew."
    assert capsys.readouterr().err.splitlines() == [note, said]
    assert cli.main(["fit", str(curves_file), "--out", str(out), "--resume"]) == 130
    assert capsys.readouterr().err == f"{said}\n"
    assert asked == [False, False, True]


def test_a_fit_that_was_not_interrupted_cannot_go_on(
    curves_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["fit", str(curves_file), "--out", str(tmp_path / "fit.nc"), "--resume"]) == 2
    tells, error = capsys.readouterr().err.splitlines()
    assert tells.startswith(
        "the sweep: 108 runs of 54 settings on 2 tasks; 3 UTDs (1 to 8), 3 batch sizes (128 to 512)"
    )
    assert error == (
        f"error: there is no checkpoint {tmp_path / 'fit.nc.checkpoint.npz'}; leave out resume (--resume) to start the "
        "fit."
    )
