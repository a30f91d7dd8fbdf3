"""Damaged files of every kind end in a table or in one sentence; `python -m tests.fuzz.long` tries many more."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bayescale.errors import InputError
from bayescale.importers.mapping_file import read_mapping
from bayescale.runners import load_plan
from tests.fuzz.artefacts import Artefact, artefacts
from tests.fuzz.trial import outcome

INPUTS = {"fit": 20, "plan": 50, "csv": 50, "csv.gz": 40, "parquet": 50, "partitions": 30}
OTHERS = 33  # inputs of each other kind
NAMES = (
    "csv", "csv.gz", "parquet", "partitions", "mapped csv", "rllib", "sb3", "spinningup", "qscaled", "qscaled zip",
    "tensorboard", "cleanrl", "plan", "fit", "csv of a spreadsheet", "csv in utf-16", "wandb chart", "wandb run file",
    "mlflow database", "mlflow folder",
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, Artefact]:
    return artefacts()


def test_the_names_are_those_of_the_artefacts(made: dict[str, Artefact]) -> None:
    assert set(NAMES) == set(made)
    assert sum(INPUTS.get(name, OTHERS) for name in NAMES) >= 500


@pytest.mark.filterwarnings("ignore:.* was read with")  # spreadsheets
@pytest.mark.parametrize("name", NAMES)
def test_an_undamaged_artefact_is_read(made: dict[str, Artefact], tmp_path: Path, name: str) -> None:
    made[name].write(tmp_path)
    assert made[name].read(tmp_path) is not None


@pytest.mark.parametrize("name", NAMES)
def test_damage_ends_in_a_table_or_in_one_sentence(
    made: dict[str, Artefact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = Counter(outcome(name, made[name], seed) for seed in range(INPUTS.get(name, OTHERS)))
    assert set(found) <= {"read", "refused"}
    assert found["refused"] > 0


@pytest.mark.parametrize("read", [load_plan, read_mapping])
def test_a_pipe_is_not_waited_for(tmp_path: Path, read: Callable[[Path], object]) -> None:
    os.mkfifo(tmp_path / "pipe.toml")
    with pytest.raises(InputError, match=r"pipe.toml is (a pipe or a device|no plain file)\."):
        read(tmp_path / "pipe.toml")
