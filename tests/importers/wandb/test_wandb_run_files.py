"""Run files that W&B's own library wrote offline become tables, whole, cut or damaged."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bayescale.importers.kinds.wandb.run_files as run_files
from bayescale.errors import InputError
from bayescale.importers import read_wandb
from bayescale.importers.kinds.wandb import guess_wandb, log_wandb
from bayescale.importers.run_logs import ColumnMapping
from tests.scaffolding import wandb_offline
from tests.scaffolding.wandb_records import chunks, record

WHOLE = wandb_offline.ROWS // 3  # rows with a return of a run that is not cut


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("offline")
    command = [sys.executable, wandb_offline.__file__, str(folder)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    cut = files_of(folder / "wandb")[2]  # A killed run leaves such a file.
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    return folder / "wandb"


def files_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("offline-run-*/*.wandb"))


def test_offline_runs_become_a_table(offline: Path) -> None:
    with pytest.warns(UserWarning, match="cut short at byte"):
        curves = read_wandb(offline)
    first = curves.iloc[0]
    assert (first["algorithm"], first["env_id"], first["utd"], first["batch_size"]) == ("SAC", "Ant-v4", 2.0, 256)
    assert first["learning_rate"] == 3e-4
    ends = curves.groupby("seed")["status"].first()
    assert ends.tolist() == ["finished", "crashed", "running"]
    for seed in (0, 1):
        own = curves[curves["seed"] == seed]
        assert own["env_steps"].tolist() == [300 * i for i in range(WHOLE)]
        assert own["episode_return"].tolist() == [3.0 * i + seed for i in range(WHOLE)]
    cut = curves[curves["seed"] == 2]
    assert 0.4 * WHOLE < len(cut) < 0.6 * WHOLE
    assert cut["episode_return"].tolist() == [3.0 * i + 2 for i in range(len(cut))]


def test_the_config_is_the_last_one_and_names_give_settings(offline: Path) -> None:
    logs = log_wandb(files_of(offline)[0])
    (run,) = logs.runs
    assert run.config["late"] == 7
    assert run.config["wandb.group"] == "g"
    assert run.label == "<script>0"
    curves = read_wandb(
        files_of(offline)[0], mapping=ColumnMapping(path_pattern="<script>{number}", columns={"seed": "late"})
    )
    assert set(curves["seed"]) == {7}


def test_guesses_name_the_return_of_training_and_the_counter(offline: Path) -> None:
    mapping, said = guess_wandb(log_wandb(offline))
    assert (mapping.env_steps, mapping.episode_return) == ("global_step", "charts/episodic_return")
    assert any("return of training: CleanRL logs single episodes" in sentence for sentence in said)
    assert any("global_step counts env steps" in sentence for sentence in said)


def test_a_resumed_run_keeps_its_later_rows(offline: Path, tmp_path: Path) -> None:
    whole = files_of(offline)[0]
    for name in ("offline-run-1-a", "offline-run-2-a"):
        (tmp_path / name).mkdir()
    write_run(tmp_path / "offline-run-1-a" / "run-a.wandb", steps=range(10), start=100, returns=1.0)
    write_run(tmp_path / "offline-run-2-a" / "run-a.wandb", steps=range(6, 12), start=200, returns=2.0)
    assert whole.exists()
    curves = read_wandb(tmp_path)
    assert curves["env_steps"].tolist() == list(range(12))
    assert curves["episode_return"].tolist() == [1.0] * 6 + [2.0] * 6


def test_a_run_that_starts_over_is_refused(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"offline-run-{number}-a").mkdir()
        write_run(tmp_path / f"offline-run-{number}-a" / "run-a.wandb", steps=range(10), start=number, returns=number)
    with pytest.raises(InputError, match="--resumed keep-last"):
        read_wandb(tmp_path)


CONFIG = {"algo": "SAC", "env": "Ant", "utd": 1, "batch_size": 8, "lr": 1e-3, "seed": 0}


def write_run(file: Path, *, steps: range, start: int, returns: float) -> None:
    rows = [record(env_steps=step, **{"eval/return": returns}) for step in steps]
    file.write_bytes(chunks([record(id="a", start=start, config=CONFIG), *rows]))


@pytest.mark.parametrize("chunk", [7, 100, 10**6])
def test_records_may_lie_in_any_chunks(tmp_path: Path, chunk: int) -> None:
    rows = [record(env_steps=step, filler=json.dumps("x" * 90), **{"eval/return": 1.0}) for step in range(400)]
    (tmp_path / "run-a.wandb").write_bytes(chunks([record(id="a", start=1, config=CONFIG), *rows], chunk=chunk))
    assert read_wandb(tmp_path)["env_steps"].tolist() == list(range(400))


def test_a_file_that_is_cut_anywhere_gives_the_rows_before(tmp_path: Path) -> None:
    write_run(tmp_path / "run-a.wandb", steps=range(4), start=1, returns=1.0)
    content = (tmp_path / "run-a.wandb").read_bytes()
    counts = []
    for end in range(len(content)):
        (tmp_path / "run-a.wandb").write_bytes(content[:end])
        logs = log_wandb(tmp_path)
        assert len(logs.runs) + len(logs.skipped) >= 1, "a cut file is read or listed"
        counts.append(len(logs.runs[0].history) if logs.runs else 0)
    assert counts == sorted(counts)
    assert set(counts) == set(range(4))


def test_a_flipped_bit_ends_the_rows_before_it(tmp_path: Path) -> None:
    write_run(tmp_path / "run-a.wandb", steps=range(4), start=1, returns=1.0)
    content = bytearray((tmp_path / "run-a.wandb").read_bytes())
    whole = log_wandb(tmp_path).runs[0].history["env_steps"].tolist()
    for place in range(7, len(content), 3):
        damaged = bytes(content[:place]) + bytes([content[place] ^ 16]) + bytes(content[place + 1 :])
        (tmp_path / "run-a.wandb").write_bytes(damaged)
        logs = log_wandb(tmp_path)
        assert logs.skipped, f"the flip at byte {place} is found"
        if logs.runs:
            steps = logs.runs[0].history["env_steps"].tolist()
            assert steps == whole[: len(steps)]


@pytest.mark.parametrize(
    "rows",
    [
        [b"\xff" * 50],
        [record(env_steps="[" * 5000)],
        [record(env_steps="1" * 5000)],
        [record(env_steps="{no json")],
    ],
    ids=["no record", "nested", "huge number", "no json"],
)
def test_hostile_records_are_listed(tmp_path: Path, rows: list[bytes]) -> None:
    good = record(env_steps=1, **{"eval/return": 1.0})
    (tmp_path / "run-a.wandb").write_bytes(chunks([record(id="a", start=1, config=CONFIG), good, *rows]))
    logs = log_wandb(tmp_path)
    assert [len(run.history) for run in logs.runs] == [1]
    assert "is damaged" in logs.skipped[0].reason


def test_a_history_of_too_many_values_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_files, "MOST_VALUES", 10)
    write_run(tmp_path / "run-a.wandb", steps=range(8), start=1, returns=1.0)
    assert "more than 10 values" in log_wandb(tmp_path).skipped[0].reason


def test_links_pipes_and_folders_named_like_run_files(tmp_path: Path) -> None:
    write_run(tmp_path / "run-a.wandb", steps=range(3), start=1, returns=1.0)
    os.mkfifo(tmp_path / "pipe.wandb")
    (tmp_path / "folder.wandb").mkdir()
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "again.wandb").symlink_to(tmp_path / "run-a.wandb")
    (tmp_path / "itself.wandb").symlink_to(tmp_path / "itself.wandb")
    logs = log_wandb(tmp_path)
    assert len(logs.runs) == 1
    reasons = {Path(one.name).name: one.reason for one in logs.skipped}
    assert "cannot be read" in reasons.pop("itself.wandb")
    assert reasons == {"pipe.wandb": "it is no plain file.", "folder.wandb": "it is no plain file."}


@pytest.mark.parametrize("source", ["x" * 300, "a\0b", "~nobody/wandb"])
def test_paths_that_cannot_be_are_refused_in_a_sentence(source: str, refused) -> None:
    refused("import", "wandb", source, "--out", "c.parquet")


def test_a_file_of_another_kind_is_listed_and_the_command_ends_in_a_sentence(tmp_path: Path, refused) -> None:
    (tmp_path / "run-a.wandb").write_bytes(b"hello")
    assert "it is no run file of W&B" in refused("import", "wandb", tmp_path, "--out", tmp_path / "c.parquet")
    shutil.rmtree(tmp_path)
    assert "does not exist" in refused("import", "wandb", tmp_path, "--out", "c.parquet")


def test_a_counter_that_numbers_rows_is_a_question_and_one_that_the_trainer_gave_is_taken(tmp_path: Path) -> None:
    rows = [record(**{"eval/return": 1.0, "_step": step}) for step in range(5)]
    (tmp_path / "run-a.wandb").write_bytes(chunks([record(id="a", start=1, config=CONFIG), *rows]))
    mapping, said = guess_wandb(log_wandb(tmp_path))
    assert mapping.env_steps is None
    assert any("_step only numbers the rows" in sentence for sentence in said)
    mapped = read_wandb(tmp_path, mapping=ColumnMapping(env_steps="_step", env_steps_factor=1000))
    assert mapped["env_steps"].tolist() == [0, 1000, 2000, 3000, 4000]
    rows = [record(**{"eval/return": 1.0, "_step": 1000 * step}) for step in range(5)]
    (tmp_path / "run-a.wandb").write_bytes(chunks([record(id="a", start=1, config=CONFIG), *rows]))
    assert read_wandb(tmp_path)["env_steps"].tolist() == [0, 1000, 2000, 3000, 4000]


def test_without_wandb_the_error_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused) -> None:
    write_run(tmp_path / "run-a.wandb", steps=range(3), start=1, returns=1.0)
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setitem(sys.modules, "wandb.proto.wandb_internal_pb2", None)
    for source in (tmp_path, "me/proj"):
        assert "pip install 'bayescale[wandb]'" in refused("import", "wandb", source, "--out", "c.parquet")
