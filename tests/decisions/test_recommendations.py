"""Test recommendations against the frontier and the predictive that they rest on."""

import json

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.posterior.predictive import run_lengths
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep


@pytest.fixture(scope="module")
def posterior():
    return prior_posterior()


@pytest.fixture(scope="module")
def table(posterior):
    return bs.recommend(posterior, threshold=321.0)


def test_a_row_per_task_and_swept_utd_has_the_setting_of_the_frontier(posterior, table):
    assert table[["env_id", "utd"]].to_numpy().tolist() == [[task, utd] for task in TASKS for utd in (1.0, 4.0)]
    front = bs.frontier(posterior, env_id=TASKS[0], threshold=321.0, utd=[1.0, 4.0]).table()
    own = table[table["env_id"] == TASKS[0]].reset_index(drop=True)
    assert own["batch_size"].tolist() == front["batch_size_q50"].tolist()
    assert own["learning_rate"].tolist() == front["learning_rate_q50"].tolist()
    assert own["risk"].tolist() == front["risk"].tolist()
    assert (own["batch_size_q05"] < own["batch_size_q95"]).all()
    for _, rows in table.groupby("env_id"):
        assert rows["recommended"].sum() == 1
        assert rows.loc[rows["recommended"], "excess"].item() == 0
        assert rows["risk"].idxmin() == rows["recommended"].idxmax()


def test_within_the_run_length_that_share_of_the_runs_that_ever_arrive_has_arrived(posterior, table):
    distribution = run_lengths(posterior.model, posterior.flat_draws(400), table)
    reach = distribution.p_reach[:, :, 0].mean(axis=0)
    for length, share in ((table["run_length"], ">="), (table["run_length"] - table["evaluation_interval"], "<")):
        log_steps = np.broadcast_to(np.log(length.to_numpy())[:, None], (len(table), 2))
        arrived = distribution.reached_by(log_steps)[:, :, 0].mean(axis=0)
        assert ((arrived >= 0.949 * reach) if share == ">=" else (arrived < 0.951 * reach)).all()
    assert (table["run_length"] % table["evaluation_interval"] == 0).all()
    assert table["p_reach"].to_numpy() == pytest.approx(reach, abs=1e-3)


def test_seconds_follow_utd_and_batch_size(posterior, table):
    curves = sweep().drop(columns=["threshold", "censored", "env_steps_lower", "env_steps_upper"]).drop_duplicates()
    curves = curves.assign(env_steps=1000, episode_return=0.0)
    timed = curves.assign(seconds=1000 * 1e-3 * curves["utd"] * curves["batch_size"] ** 0.5)
    with_seconds = bs.recommend(posterior, threshold=321.0, curves=timed)
    per_step = 1e-3 * table["utd"] * table["batch_size"] ** 0.5
    assert with_seconds["seconds_q50"].to_numpy() == pytest.approx((per_step * table["env_steps_q50"]).to_numpy())
    with pytest.raises(InputError, match="curves have no column 'seconds'"):
        bs.recommend(posterior, threshold=321.0, curves=curves)


def test_the_default_return_is_the_highest_that_half_of_the_runs_reached(posterior):
    assert bs.recommend(posterior, env_ids=[TASKS[1]], utd=[4.0])["threshold"].tolist() == [654.0]  # 8 of 16 runs did
    with pytest.raises(InputError, match="success must lie in"):
        bs.recommend(posterior, success=1.0)


def test_the_command_prints_a_table_and_writes_forms(posterior, table, tmp_path, capsys):
    fit = tmp_path / "fit.nc"
    posterior.save(fit)
    ask = ["recommend", str(fit), "--threshold", "321"]
    assert cli.main(ask) == 0
    said = capsys.readouterr().out
    assert [line.startswith("*") for line in said.splitlines()[1:5]] == table["recommended"].tolist()
    assert "dearer by" in said
    assert cli.main([*ask, "--format", "json", "--out", str(tmp_path / "r.json")]) == 0
    rows = json.loads((tmp_path / "r.json").read_text())
    assert [row["run_length"] for row in rows] == table["run_length"].tolist()
    assert cli.main([*ask, "--format", "csv"]) == 0
    said = capsys.readouterr().out.split("\n", 1)[1]
    assert len(pd.read_csv(pd.io.common.StringIO(said))) == 4
    assert cli.main([*ask, "--format", "tabel"]) == 2
    assert "--format must be one of table, csv" in capsys.readouterr().err
    assert cli.main([*ask, "--format", "plan", "--out", str(tmp_path / "p.csv")]) == 2
