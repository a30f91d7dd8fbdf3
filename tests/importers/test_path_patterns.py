"""Settings come from the names of runs by a pattern."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers.path_patterns import path_settings, with_path_settings
from bayescale.importers.run_logs import Logs, RunLog


@pytest.mark.parametrize(
    ("pattern", "name", "found"),
    [
        ("{env}__{algo}__{seed}", "runs/Ant-v4__sac__3", {"env": "Ant-v4", "algo": "sac", "seed": "3"}),
        ("{env}/seed_{seed}.csv", "a/b/Ant-v4/seed_3.csv", {"env": "Ant-v4", "seed": "3"}),
        ("utd{utd}/run", "a/utd4/run/", {"utd": "4"}),
        ("{env}__{seed}", "A__B__3", {"env": "A", "seed": "B__3"}),
        ("{env}__{seed}", "A__", None),
        ("{env}__{seed}", "A_3", None),
        ("{a}/{b}", "alone", None),
        ("x{a}x", "x", None),
    ],
)
def test_patterns(pattern: str, name: str, found: dict[str, str] | None) -> None:
    assert path_settings(pattern, name) == found


@given(st.lists(st.text("ab1-.", min_size=1, max_size=5), min_size=3, max_size=3))
def test_what_a_pattern_writes_it_reads(values: list[str]) -> None:
    assert path_settings("{x}__{y}__{z}", "__".join(values)) == dict(zip("xyz", values, strict=True))


def test_a_long_hostile_name_takes_linear_time() -> None:
    pattern = "_".join(f"{{f{i}}}" for i in range(50)) + "!"
    assert path_settings(pattern, "_" * 100_000) is None


def test_runs_that_do_not_match_are_listed() -> None:
    rows = pd.DataFrame({"env_steps": [1]})
    logs = Logs([RunLog("id1", {"seed": 7}, rows, label="Ant__3"), RunLog("id2", {}, rows)])
    found = with_path_settings(logs, "{env_id}__{seed}")
    assert [run.config for run in found.runs] == [{"env_id": "Ant", "seed": 7}]
    assert [one.name for one in found.skipped] == ["id2"]
    with pytest.raises(InputError, match="no run matches the pattern"):
        with_path_settings(logs, "{env_id}__{seed}__{utd}")


@pytest.mark.parametrize("pattern", ["runs", "{a}_{a}", "{}"])
def test_a_pattern_without_fields_is_refused(pattern: str) -> None:
    with pytest.raises(InputError, match="a pattern needs fields"):
        with_path_settings(Logs([]), pattern)


def test_the_command_takes_a_pattern_as_option_or_from_the_mapping(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    rows = pd.DataFrame({"global_step": np.arange(1, 4) * 100, "episodic_return": [1.0, 2.0, 3.0]})
    for seed in (0, 1):
        rows.to_csv(f"Ant__SAC__{seed}.csv", index=False)
    constants = [f"--constant={text}" for text in ("utd=1", "batch_size=256", "learning_rate=0.001")]
    command = ["import", "csv", "*.csv", "--out", "c.parquet", *constants]
    assert cli.main([*command, "--path-pattern", "{env_id}__{algorithm}__{seed}.csv"]) == 0
    curves = pd.read_parquet("c.parquet")
    assert curves[["env_id", "algorithm"]].drop_duplicates().to_numpy().tolist() == [["Ant", "SAC"]]
    assert set(curves["seed"]) == {0, 1}
    (tmp_path / "MAP.toml").write_text('path_pattern = "{env_id}__{algorithm}__{seed}.csv"\n')
    assert cli.main([*command, "--map", "MAP.toml"]) == 0
    assert pd.read_parquet("c.parquet").equals(curves)
    (tmp_path / "MAP.toml").unlink()
    assert cli.main([*command[:3], "--dry-run", *constants, "--path-pattern", "{env_id}__{algorithm}__{seed}.csv"]) == 0
    assert 'path_pattern = "{env_id}__' in (tmp_path / "MAP.toml").read_text()
