"""The real client of W&B reads runs from a local service; see tests/scaffolding/wandb_service.py for what it speaks."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bayescale as bs
import bayescale.importers.kinds.wandb.requests as requests
import bayescale.importers.kinds.wandb.service as service_module
from bayescale.cli import app as cli
from bayescale.errors import InputError
from bayescale.importers import read_wandb
from bayescale.importers.kinds.wandb import Download
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding.wandb_service import STEPS, Service, client_environment, evaluation_rows, served, sweep_run


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Service]:
    monkeypatch.setattr(requests, "PAUSE", 0.01)
    monkeypatch.chdir(tmp_path)
    runs = [sweep_run(utd, seed, sweep="sw1" if utd == 1 else None) for utd in (1, 2, 4) for seed in range(3)]
    with served(Service(runs)) as one:
        for name, value in client_environment(one, tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        yield one


def test_a_project_becomes_a_table(service: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["import", "wandb", "me/proj", "--out", "c.parquet"]) == 0
    said = capsys.readouterr().out
    assert "guess: eval/mean_reward is a return of evaluation." in said
    assert "runs: 9, evaluations: 108, tasks: 1" in said
    assert service.requests["Runs"] == 3, "nine runs come in pages of three"
    assert not list(tmp_path.glob("*.parts")), "the parts of a finished import are removed"
    curves = bs.read_curves("c.parquet")
    own = curves[(curves["utd"] == 4) & (curves["seed"] == 1)]
    wanted = [row for row in evaluation_rows(4, 1) if "eval/mean_reward" in row]
    assert own["env_steps"].tolist() == [row["global_step"] for row in wanted]
    assert own["episode_return"].tolist() == [row["eval/mean_reward"] for row in wanted]


def test_sweeps_runs_addresses_and_filters(service: Service) -> None:
    def read(*sources: str, **download: Any) -> set[tuple[float, int]]:
        curves = read_wandb(*sources, download=Download(**download))
        return set(curves[["utd", "seed"]].itertuples(index=False, name=None))

    assert read("me/proj/sweeps/sw1") == {(1, 0), (1, 1), (1, 2)}
    assert read("me/proj/runs/id40", "me/proj/id41", "me/proj/id41") == {(4, 0), (4, 1)}
    assert read(f"{service.url}/me/proj/runs/id40?nw=nwuser") == {(4, 0)}
    assert read("me/proj", filters={"config.utd": 2}) == {(2, 0), (2, 1), (2, 2)}
    assert read("me/proj/sweeps/sw1", filters={"config.seed": 2}, page_size=5) == {(1, 2)}


def test_a_history_is_read_in_full_by_any_page_size(service: Service) -> None:
    whole = read_wandb("me/proj/runs/id10")
    before = service.requests["SampledHistoryPage"]
    assert before == 1, "a run of fewer rows than a page takes one request"
    assert read_wandb("me/proj/runs/id10", download=Download(page_size=5)).equals(whole)
    assert service.requests["SampledHistoryPage"] - before == 5
    sparse = [{**row, "_step": row["_step"] * 10**6} for row in evaluation_rows(1, 0)]
    service.runs.append(sweep_run(8, 0, rows=sparse))
    before = service.requests["SampledHistoryPage"]
    assert read_wandb("me/proj/runs/id80")["episode_return"].equals(whole["episode_return"])
    assert service.requests["SampledHistoryPage"] - before == 1


def test_states_become_statuses(service: Service) -> None:
    states = {
        "finished": "finished",
        "crashed": "crashed",
        "failed": "crashed",
        "killed": "stopped early",
        "running": "running",
    }
    service.runs[:] = [sweep_run(1, seed, state=state) for seed, state in enumerate(states)]
    curves = read_wandb("me/proj")
    assert curves.groupby("seed")["status"].first().tolist() == list(states.values())


def test_a_resumed_run_keeps_its_later_rows(service: Service, capsys: pytest.CaptureFixture[str]) -> None:
    again = [{**row, "_step": row["_step"] + 24, "eval/mean_reward": -1.0} for row in evaluation_rows(1, 0)[17::2]]
    service.runs[:] = [sweep_run(1, 0, rows=[*evaluation_rows(1, 0), *again])]
    assert cli.main(["import", "wandb", "me/proj", "--out", "c.parquet"]) == 0
    assert "note: 4 rows of resumed runs replaced by later rows." in capsys.readouterr().out
    curves = bs.read_curves("c.parquet")
    assert curves["env_steps"].tolist() == STEPS.tolist()
    assert (curves["episode_return"] == -1.0).tolist() == [False] * 8 + [True] * 4
    over = [{**row, "_step": row["_step"] + 24} for row in evaluation_rows(2, 0)]
    service.runs[:] = [sweep_run(1, 0, rows=[*evaluation_rows(1, 0), *over])]
    with pytest.raises(InputError, match="--resumed keep-last"):
        read_wandb("me/proj")


def test_words_for_numbers_are_numbers(service: Service) -> None:
    special = evaluation_rows(1, 0)
    special[1]["eval/mean_reward"] = "NaN"
    special[-1]["eval/mean_reward"] = "Infinity"
    service.runs[:] = [sweep_run(1, 0, rows=special)]
    with pytest.warns(UserWarning, match="1 run diverged"):
        curves = read_wandb("me/proj")
    assert curves["env_steps"].tolist() == STEPS[1:-1].tolist()
    assert set(curves["status"]) == {"diverged"}


def test_an_interrupted_import_goes_on_where_it_stopped(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.runs[0].state = "running"
    done: list[str] = []
    history = service_module._history

    def interrupted(run: Any, *arguments: Any) -> pd.DataFrame:
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(run.id)
        return history(run, *arguments)

    monkeypatch.setattr(service_module, "_history", interrupted)
    monkeypatch.setattr("bayescale.importers.kinds.wandb.WORKERS", 1)
    with pytest.raises(KeyboardInterrupt):
        read_wandb("me/proj", download=Download(parts=tmp_path / "parts"))
    kept = sorted((tmp_path / "parts").iterdir())
    assert len(kept) == 3, "the run that still runs is not kept"
    monkeypatch.setattr(service_module, "_history", history)
    kept[0].write_bytes(b"damaged")
    before = service.requests["RunParquetHistory"]
    table = read_wandb("me/proj", download=Download(parts=tmp_path / "parts"))
    assert service.requests["RunParquetHistory"] - before == 9 - 2
    assert table.equals(read_wandb("me/proj"))
    again = service.requests["RunParquetHistory"]
    read_wandb("me/proj", download=Download(parts=tmp_path / "parts"))
    assert service.requests["RunParquetHistory"] - again == 1, "a run that goes on is read again"


def test_the_client_waits_when_the_service_limits_the_rate(service: Service) -> None:
    service.runs[:] = service.runs[:1]
    service.failures = {"Runs": [429], "SampledHistoryPage": [503]}
    assert len(read_wandb("me/proj")) == len(STEPS)
    assert service.requests["Runs"] == 2
    assert service.requests["SampledHistoryPage"] == 2


def test_a_service_that_stays_away_ends_in_a_sentence(
    service: Service, monkeypatch: pytest.MonkeyPatch, refused
) -> None:
    monkeypatch.setattr(service_module, "TIMEOUT", 1)
    monkeypatch.setattr(requests, "TRIES", 2)
    service.failures = {"Viewer": [503] * 100}
    assert "W&B does not answer for the service after 2 tries" in refused(
        "import", "wandb", "me/proj", "--out", "c.parquet"
    )


@pytest.mark.parametrize(
    ("source", "failures", "said"),
    [
        ("me/nowhere", {}, "W&B refuses me/nowhere: Could not find project nowhere."),
        ("me/proj/runs/none", {}, "me/proj/runs/none has no run."),
        ("me/proj", {"Runs": [401]}, "Log in with `wandb login`, or set WANDB_API_KEY."),
        ("me/proj", {"Viewer": [403]}, "Log in with `wandb login`, or set WANDB_API_KEY."),
        ("https://evil.example/me/proj", {}, "is not on wandb.ai. Set WANDB_BASE_URL"),
    ],
)
def test_refusals_are_sentences(
    service: Service, refused, source: str, failures: dict[str, list[int]], said: str
) -> None:
    service.failures = failures
    assert said in refused("import", "wandb", source, "--out", "c.parquet")


def test_a_run_that_is_gone_is_listed(service: Service) -> None:
    service.failures = {"RunParquetHistory": [404]}
    with pytest.warns(UserWarning, match=r"1 file or run left out.*W&B refuses me/proj/id"):
        curves = read_wandb("me/proj")
    assert len(curves) == 8 * len(STEPS)


def test_options_of_the_service_are_checked(service: Service, refused) -> None:
    command = ("import", "wandb", "me/proj", "--out", "c.parquet")
    assert "--filter must be JSON" in refused(*command, "--filter", "{")
    assert "the filter must be a JSON object" in refused(*command, "--filter", "[1]")
    assert "page_size must be at least 1" in refused(*command, "--page-size", "0")
    assert "does not exist" in refused(*command, "--parts", "no/such/folder")
    assert "are for wandb; KIND is csv" in refused("import", "csv", "x.csv", "--out", "c.parquet", "--page-size", "3")
    assert "--ignore names 'tau'" in refused(*command, "--ignore", "tau")


def test_other_settings_become_columns_that_can_be_ignored(service: Service) -> None:
    for number, one in enumerate(service.runs):
        one.config = {**one.config, "tau": 0.005 * (1 + number % 2), "nested": {"width": 64 + number % 2}}
    service.runs[:] = [one for one in service.runs if one.config["utd"] == 1] + [sweep_run(1, 3 + s) for s in range(0)]
    command = ["import", "wandb", "me/proj", "--out", "c.parquet"]
    assert cli.main(command) == 2
    assert cli.main([*command, "--ignore", "tau", "--ignore", "nested.width"]) == 0
    assert "tau" not in bs.read_curves("c.parquet")


def test_names_of_runs_hold_settings(service: Service) -> None:
    service.runs[:] = [sweep_run(utd, 0) for utd in (1, 2)]
    for one in service.runs:
        one.config = {key: value for key, value in one.config.items() if key != "utd"}
    curves = read_wandb("me/proj", mapping=ColumnMapping(path_pattern="{agent}-{utd}-{number}"))
    assert set(curves["utd"]) == {1.0, 2.0}


def test_nothing_of_the_client_is_imported_before_it_is_needed() -> None:
    import subprocess

    code = "import sys, bayescale.importers; sys.exit('wandb' in sys.modules or 'mlflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
