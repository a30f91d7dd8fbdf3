"""The command `report`, on a fit of simulated curves."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bayescale.cli import app as cli
from bayescale.cli.terminal import say
from tests.scaffolding.simulated_curves import simulated_curves


def test_report_writes_one_page(fit_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    assert cli.main(["report", str(fit_file), "--out", str(out)]) == 0
    page = out.read_text(encoding="utf-8")
    assert "Ant-v4" in page
    assert "1 per flop and 4e9 per env step" in " ".join(page.split())
    assert "with 1.5e5 critic parameters" in page
    assert list(tmp_path.iterdir()) == [out]


def test_report_takes_curves_prices_and_a_model_size(
    fit_file: Path, curves_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The options reach `bayescale.report`, and the default prices equal the defaults of `allocate`."""
    asked = []
    monkeypatch.setattr("bayescale.report", lambda *given, **named: asked.append((*given[1:], named)))
    out = tmp_path / "report.html"
    prices = ["--flop-price", "2", "--env-step-price", "3e9"]
    (tmp_path / "scale.csv").write_text("env_id,low,high\nAnt-v4,0,1000\n")
    options = ["--curves", str(curves_file), "--return-scale", str(tmp_path / "scale.csv"), "--model-size", "77"]
    options += ["--threshold", "300"]
    options += ["--held-out", str(tmp_path / "a.csv"), "--held-out", str(tmp_path / "b.csv")]
    assert cli.main(["report", str(fit_file), "--out", str(out), *prices, *options]) == 0
    assert cli.main(["report", str(fit_file), "--out", str(out)]) == 0
    (_, named), (_, by_default) = asked
    curves, given = named.pop("curves"), named.pop("prices")
    none, default = by_default["curves"], by_default["prices"]
    assert named.pop("tell") is by_default["tell"] is say
    assert (given.flop, given.env_step) == (2.0, 3e9)
    scores = [tmp_path / "a.csv", tmp_path / "b.csv"]
    assert named == {"return_scale": tmp_path / "scale.csv", "model_size": 77, "held_out": scores, "threshold": 300.0}
    assert by_default["threshold"] is None
    assert by_default["held_out"] is None
    assert len(curves) == len(simulated_curves())
    assert none is None
    assert (default.flop, default.env_step) == (1.0, 4e9)


def test_curves_of_other_runs_are_refused_by_the_report(
    fit_file: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    simulated_curves().assign(seed=lambda curves: curves["seed"] + 99).to_parquet(tmp_path / "other.parquet")
    options = ["--out", tmp_path / "report.html", "--curves", tmp_path / "other.parquet"]
    assert "curves hold no run of the fit" in refused("report", fit_file, *options)
    assert not (tmp_path / "report.html").exists()


def test_a_file_that_is_no_posterior_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "fit.nc").write_text("not netCDF")
    assert "fit.nc" in refused("report", tmp_path / "fit.nc", "--out", tmp_path / "report.html")
    assert "none.nc" in refused("report", tmp_path / "none.nc", "--out", tmp_path / "report.html")
