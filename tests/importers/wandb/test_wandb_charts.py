"""The CSV files that W&B's pages export become tables: a chart, and beside it the table of runs."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers import read_wandb
from bayescale.importers.kinds.wandb import guess_wandb, log_wandb
from bayescale.importers.run_logs import ColumnMapping

STEPS = [1000, 2000, 3000, 4000]
METRIC = "charts/episodic_return"
CONSTANTS = {"algorithm": "SAC", "utd": 1, "batch_size": 256, "learning_rate": 3e-4}


def chart(names: list[str], *, metric: str = METRIC, steps: str = "global_step", spread: float = 0.0) -> pd.DataFrame:
    """Return a chart as W&B exports it: three columns for each run, and the step of each run."""
    table = pd.DataFrame({steps: STEPS})
    for number, name in enumerate(names):
        returns = pd.Series([np.nan, 1.0, 2.0, 3.0]) + 10 * number
        table[f"{name} - _step"] = range(4)
        table[f"{name} - {metric}"] = returns
        table[f"{name} - {metric}__MIN"] = returns - spread
        table[f"{name} - {metric}__MAX"] = returns + spread
    return table


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    chart(["Ant - 1", "quiet-river-2", "<script>"]).to_csv("chart.csv", index=False)
    runs = {
        "Name": ["Ant - 1", "quiet-river-2", "<script>", "other"],
        "State": ["finished", "killed", "running", "crashed"],
        "Created": "2026-01-01", "env_id": "Ant-v4", "algo": "SAC", "utd": [1, 2, 4, 8], "batch_size": 256,
        "agent.lr": 3e-4, "seed": [0, 1, 2, 3], METRIC: [3.0, 13.0, 23.0, 5.0],
    }  # fmt: skip
    pd.DataFrame(runs).to_csv("runs.csv", index=False)
    return tmp_path


def test_a_chart_and_the_table_of_its_runs_become_a_table(exported: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "wandb", "chart.csv", "runs.csv", "--out", "c.parquet"]) == 0
    assert "guess: env_steps: taken from global_step." in capsys.readouterr().out
    curves = pd.read_parquet("c.parquet")
    assert curves.groupby("seed")["status"].first().tolist() == ["finished", "stopped early", "running"]
    assert curves["env_steps"].tolist() == STEPS[1:] * 3
    assert curves["episode_return"].tolist() == [1.0, 2.0, 3.0, 11.0, 12.0, 13.0, 21.0, 22.0, 23.0]
    assert curves["utd"].unique().tolist() == [1.0, 2.0, 4.0]
    assert set(curves["learning_rate"]) == {3e-4}
    assert METRIC not in curves


def test_a_spreadsheet_may_have_saved_the_files_with_semicolons_and_decimal_commas(exported: Path) -> None:
    curves = read_wandb("chart.csv", "runs.csv")
    for name in ("chart.csv", "runs.csv"):
        pd.read_csv(name).to_csv(name, index=False, sep=";", decimal=",", encoding="utf-8-sig")
    with pytest.warns(UserWarning, match=r"(chart|runs).csv was read with semicolons between its fields"):
        pd.testing.assert_frame_equal(read_wandb("chart.csv", "runs.csv"), curves)


def test_settings_come_from_names_by_a_pattern_or_as_pairs(exported: Path) -> None:
    chart([f"Ant__{seed}" for seed in (4, 7)]).to_csv("chart.csv", index=False)
    curves = read_wandb("chart.csv", mapping=ColumnMapping(constants=CONSTANTS, path_pattern="{env_id}__{seed}"))
    assert curves[["env_id", "seed"]].drop_duplicates().to_numpy().tolist() == [["Ant", 4], ["Ant", 7]]
    chart([f"env_id=Ant, seed={seed}" for seed in (4, 7)]).to_csv("chart.csv", index=False)
    assert read_wandb("chart.csv", mapping=ColumnMapping(constants=CONSTANTS)).equals(curves)


def test_a_name_that_the_table_has_not_or_twice_is_listed(exported: Path) -> None:
    chart(["Ant - 1", "unknown", "quiet-river-2"]).to_csv("chart.csv", index=False)
    runs = pd.read_csv("runs.csv")
    pd.concat([runs, runs[runs["Name"] == "quiet-river-2"]]).to_csv("runs.csv", index=False)
    logs = log_wandb("chart.csv", "runs.csv")
    assert [run.label for run in logs.runs] == ["Ant - 1"]
    assert {one.name.split("run ")[1]: one.reason for one in logs.skipped} == {
        "unknown": "the table of runs has no run of its name.",
        "quiet-river-2": "the table of runs has 2 runs of its name.",
    }


def test_two_runs_of_one_name_are_two_runs(exported: Path) -> None:
    table = chart(["a", "b"])
    table.columns = [name.replace("b - ", "a - ") for name in table.columns]
    table.to_csv("chart.csv", index=False)
    curves = read_wandb("chart.csv", mapping=ColumnMapping(constants={**CONSTANTS, "env_id": "Ant"}))
    assert curves.groupby("seed")["episode_return"].first().tolist() == [1.0, 11.0]


def test_means_of_several_points_and_a_lone_metric_are_said(exported: Path) -> None:
    chart(["a"], metric="fitness", spread=0.5).to_csv("chart.csv", index=False)
    mapping, said = guess_wandb(log_wandb("chart.csv"))
    assert mapping.episode_return == "fitness"
    assert any("3 points of the chart are means" in sentence for sentence in said)


def test_a_chart_over_the_number_of_the_call_asks_for_the_counter(
    exported: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chart(["a"], steps="Step").to_csv("chart.csv", index=False)
    constants = [f"--constant={key}={value}" for key, value in {**CONSTANTS, "env_id": "Ant"}.items()]
    command = ["import", "wandb", "chart.csv", "--out", "c.parquet", *constants]
    assert cli.main(command) == 2
    assert "no key gives env_steps. Likely keys: Step" in capsys.readouterr().err
    assert cli.main([*command, "--key", "env_steps=Step", "--key", "env_steps_factor=4"]) == 0
    assert pd.read_parquet("c.parquet")["env_steps"].tolist() == [8000, 12_000, 16_000]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a,b\n1,2\n", "is no chart of W&B"),
        (b"Name,State\nx,finished\n", "is the table of runs and holds no curves"),
        (b"", "cannot be read as a CSV file of W&B"),
        (b"\xff\xfe\x00", "is no UTF-8 text"),
        (b'Step,"a - m\n1,2\n', "cannot be read as a CSV file of W&B"),
    ],
)
def test_other_files_are_refused(exported: Path, content: bytes, said: str) -> None:
    Path("other.csv").write_bytes(content)
    with pytest.raises(InputError, match=said):
        read_wandb("other.csv")
