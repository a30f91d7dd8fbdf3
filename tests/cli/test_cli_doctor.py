"""The command `doctor` names what is missing and how to get it."""

import json
from pathlib import Path

import pytest

from bayescale.cli import app as cli
from bayescale.cli.commands import doctor


@pytest.fixture
def without_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version_of
    monkeypatch.setattr(doctor, "_version_of", lambda name: None if name == "matplotlib" else real(name))


def test_all_is_well_here(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAYESCALE_CACHE", str(tmp_path))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert cli.main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("bayescale ")
    assert "extra report: ready" in lines
    assert "threads: OMP_NUM_THREADS=1" in "\n".join(lines)
    assert f"0 MB in {tmp_path}" in lines[-1]
    assert not any(line.startswith("problem") for line in lines)


def test_a_missing_extra_comes_with_its_remedy(without_matplotlib: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor"]) == 0
    assert "extra report: missing matplotlib; get it with pip install 'bayescale[report]'" in capsys.readouterr().out


def test_scripts_read_json(without_matplotlib: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["extras"]["report"] == ["matplotlib"]
    assert found["packages"]["numpy"]
    assert not {"dev", "test", "docs", "all"} & set(found["extras"])


def test_an_old_core_package_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version_of
    monkeypatch.setattr(doctor, "_version_of", lambda name: "0.1" if name == "numpyro" else real(name))
    (problem,) = doctor.examination()["problems"]
    assert problem == "numpyro 0.1 does not meet >=0.18; pip install 'numpyro>=0.18'."


def test_an_extra_lacks_what_the_extras_in_it_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version_of
    monkeypatch.setattr(doctor, "_version_of", lambda name: None if name == "torch" else real(name))
    assert "torch" in doctor.missing_of("dmc")
    assert doctor.missing_of("report") == []


def test_a_cache_that_is_off_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAYESCALE_CACHE", "off")
    assert doctor.cache() == {"folder": None, "megabytes": 0.0, "writable": False}
    assert "Unset BAYESCALE_CACHE" in doctor.in_words(doctor.examination())
