"""The case studies run from top to bottom with `--smoke`; one needs published curves that do not ship."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).parent.parent
PUBLISHED_GYM = "BAYESCALE_PUBLISHED_GYM"
PUBLISHED_SIMBA = "BAYESCALE_PUBLISHED_SIMBA"


def smoke(study: str, folder: Path, *options: str) -> str:
    """What `case_studies/STUDY.py --smoke` prints, run in `folder`."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "case_studies" / study), "--smoke", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sac_pendulum(tmp_path: Path) -> None:
    picture = ROOT / "case_studies" / "pendulum_frontier.svg"
    before = picture.read_bytes()
    said = smoke("sac_pendulum.py", tmp_path)
    assert "env_steps_q50" in said
    assert '"env_id": "Pendulum-v1"' in said
    assert picture.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_sac_gymnasium(tmp_path: Path) -> None:
    said = smoke("sac_gymnasium.py", tmp_path)
    predicted, scores = said.index("before its runs are read"), said.index("coverage90")
    assert predicted < scores
    for plan in (ROOT / "case_studies" / "data").glob("sac_*_heldout*.toml"):
        assert said.count(plan.stem) == 3  # its predictions, its runs and its scores
    assert list(tmp_path.iterdir()) == []


def test_pql_parallel(tmp_path: Path) -> None:
    said = smoke("pql_parallel.py", tmp_path)
    assert said.index("before its runs are read") < said.index("coverage90")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(PUBLISHED_GYM not in os.environ, reason=f"{PUBLISHED_GYM} does not name the published tables")
def test_published_gym(tmp_path: Path) -> None:
    said = smoke("published_gym.py", tmp_path, "--data", os.environ[PUBLISHED_GYM])
    assert "wrote predictions.csv" in said
    predicted = pd.read_csv(tmp_path / "predictions.csv")
    assert len(predicted)
    assert (predicted["q05"] <= predicted["q95"]).all()


@pytest.mark.skipif(PUBLISHED_SIMBA not in os.environ, reason=f"{PUBLISHED_SIMBA} does not name the published tables")
def test_published_simba(tmp_path: Path) -> None:
    said = smoke("published_simba.py", tmp_path, "--data", os.environ[PUBLISHED_SIMBA])
    assert said.count("coverage90") == 4
