"""Run each case study with `--smoke`; studies of published curves need an environment variable that names the data."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import ndtri

import bayescale as bs

ROOT = Path(__file__).parent.parent
PUBLISHED_GYM = "BAYESCALE_PUBLISHED_GYM"
PUBLISHED_SIMBA = "BAYESCALE_PUBLISHED_SIMBA"


def smoke(study: str, folder: Path, *options: str) -> str:
    """Run `case_studies/STUDY --smoke` in `folder` and return the text that it prints."""
    command = [sys.executable, "-W", "ignore", str(ROOT / "case_studies" / study), "--smoke", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("study", "env_id"),
    [("pendulum", "Pendulum-v1"), ("double_pendulum", "InvertedDoublePendulum-v5"), ("hopper", "Hopper-v5")],
)
def test_sac_trade_off(tmp_path: Path, study: str, env_id: str) -> None:
    picture = ROOT / "case_studies" / f"{study}_frontier.svg"
    before = picture.read_bytes()
    said = smoke("sac_trade_off.py", tmp_path, study)
    assert said.index(f'"env_id": "{env_id}"') < said.index("before its runs are read") < said.index("coverage90")
    assert picture.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_new_tasks(tmp_path: Path) -> None:
    """The script forecasts one task, then scores both forecasts of all three tasks; the forecast files stay."""
    forecasts = ROOT / "case_studies" / "forecasts"
    before = {path: path.read_bytes() for path in forecasts.glob("new_tasks*")}
    said, over_all = smoke("new_tasks.py", tmp_path).split("cost over that of BayeScale")
    first, *tasks, together = said.split("predicted by")
    assert first.count(" choice ") == 3 * 4  # three methods, four thresholds
    assert len(tasks) == 3
    for task in tasks:
        for method in ("BayeScale", "published pipeline"):
            assert task.count(method) == 7  # six rows of scores, and its choice
            assert together.count(method) == 6
        assert task.count("constant setting") == 1
    ours, *others = (line.split()[-3:] for line in over_all.splitlines()[2:])
    assert [float(value) for value in ours] == [1, 1, 1]
    assert len(others) == 2
    assert all(float(low) < float(ratio) < float(high) for ratio, low, high in others)
    assert {path: path.read_bytes() for path in forecasts.glob("new_tasks*")} == before
    assert list(tmp_path.iterdir()) == []


def test_closing_the_loop(tmp_path: Path) -> None:
    """The script trains one recommended run, and two fits, before and after it, state the compute at its setting."""
    said = smoke("closing_the_loop.py", tmp_path)
    assert said.count("$ bayescale fit ") == 2
    assert said.index("$ bayescale sweep second.toml") < said.index("the new runs: ")
    assert said.count(" decades wide") == said.count(" recommends UTD ") == 2
    assert list(tmp_path.iterdir()) == []


def test_sac_gymnasium(tmp_path: Path) -> None:
    said = smoke("sac_gymnasium.py", tmp_path)
    predicted, scores = said.index("before its runs are read"), said.index("coverage90")
    assert predicted < scores
    for plan in (ROOT / "case_studies" / "data").glob("sac_*_heldout*.toml"):
        assert said.count(plan.stem) == 3  # once each for predictions, runs and scores
    assert list(tmp_path.iterdir()) == []


def test_failures(tmp_path: Path) -> None:
    """The control, which ignores failures, has the worse Brier score even over four sweeps."""
    said = smoke("failures.py", tmp_path)
    scores = [float(line.split()[7].rstrip(",")) for line in said.splitlines() if line.startswith("Brier")]
    assert len(scores) == 2
    assert scores[0] < scores[1]
    assert said.count("share inside the 90% interval") == 2


def test_small_sweeps(tmp_path: Path) -> None:
    said = smoke("small_sweeps.py", tmp_path)
    assert said.startswith("seed 0, runs 18, tasks 3, evaluations 25, diverged 0, reached 1.0, status ")
    assert "swept: " in said
    assert "unswept: " in said


def test_edge_of_stability(tmp_path: Path) -> None:
    """Each setting has a row with its runs and its chance; no run at a rate of 0.1 or above reached the return."""
    said = smoke("edge_of_stability.py", tmp_path)
    rows = [line.split() for line in said.splitlines() if line.split()[:1] in (["0.5"], ["2.0"], ["8.0"])]
    assert len(rows) == 15
    assert all(row[3] == "0" for row in rows if float(row[1]) >= 0.1)
    assert sum(int(row[3]) for row in rows) == 12
    chances = {(row[0], row[1]): float(row[4]) for row in rows}
    assert max(chances[utd, "0.300"] for utd in ("0.5", "2.0", "8.0")) < 0.2
    assert min(chances[utd, "0.003"] for utd in ("0.5", "2.0", "8.0")) > 0.8
    assert "Brier score of the chance to reach -400 over the fitted runs: 0." in said
    assert '"env_id": "Pendulum-v1"' in said
    assert list(tmp_path.iterdir()) == []


def test_sac_decisions(tmp_path: Path) -> None:
    """Each task, price and method has a row; BayeScale's choices are the unit of cost."""
    choices = ROOT / "case_studies" / "data" / "decisions.csv"
    before = choices.read_bytes()
    said = smoke("sac_decisions.py", tmp_path)
    each, over_all = said[said.index("over_ours") : said.index("over all tasks")], said[said.index("over all tasks") :]
    for method in ("BayeScale", "published pipeline", "best of the grid", "usual settings"):
        assert each.count(method) == 8
        assert over_all.count(method) == 3  # one row for each of two prices, one for the scores of predictions
    ours = [line.split()[-3:] for line in said.splitlines() if "dear" in line and "BayeScale" in line]
    assert [[float(ratio) for ratio in line] for line in ours[-2:]] == [[1, 1, 1]] * 2
    assert choices.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_sac_next(tmp_path: Path) -> None:
    """Both ways start from the same fit and stay within the budget; the last table holds the means of the rows."""
    said = smoke("sac_next.py", tmp_path).splitlines()
    rows = [line.split() for line in said if line.startswith("sac_pendulum")]
    assert [row[2] for row in rows] == ["next", "cheapest"]
    (start, after, runs), (same_start, after_cheapest, most) = ([float(value) for value in row[3:]] for row in rows)
    assert start == same_start
    assert 4 < runs <= most
    (own,) = (line.split() for line in said if line.startswith("next"))
    of_cheapest, apart = (line.split() for line in said if line.startswith("cheapest"))
    assert (float(own[1]), float(own[3])) == pytest.approx((start, after), abs=6e-4)
    assert (float(of_cheapest[1]), float(of_cheapest[3])) == pytest.approx((start, after_cheapest), abs=6e-4)
    assert float(apart[3]) == pytest.approx(after_cheapest - after, abs=1.1e-3)
    assert list(tmp_path.iterdir()) == []


def test_held_out_splits(tmp_path: Path) -> None:
    """The folder keeps the scores of a split: a second call prints them, and a comparison shows them twice."""
    folder = tmp_path / "scores"
    said = smoke("held_out_splits.py", tmp_path, "--work", str(folder))
    table = pd.read_csv(folder / "PQL_lowest_UTD.csv")
    wis, male, coverage, bias = table.loc[0, ["wis", "male", "coverage90", "bias"]]
    assert 0 < wis < 1
    assert 0 <= coverage <= 1
    assert abs(bias) <= male
    text = f"{wis:.3f} / {male:.3f} / {coverage:.2f} / {bias:+.2f}"
    assert said.split(None, 3)[-1].strip() == text
    (folder / "PQL_lowest_UTD.csv").write_text(table.assign(wis=0.5).to_csv(index=False))
    again = smoke("held_out_splits.py", tmp_path, "--work", str(folder), "--compare", str(folder), str(folder))
    assert again.count("| 0.500 / ") == 2


def test_sac_against_sb3(tmp_path: Path) -> None:
    picture = ROOT / "case_studies" / "sac_against_sb3.svg"
    before = picture.read_bytes()
    said = smoke("sac_against_sb3.py", tmp_path)
    for env_id in ("Pendulum-v1", "InvertedDoublePendulum-v5", "cartpole-swingup"):
        assert said.count(env_id) == 2  # once in the summary, once in the evaluations
    assert picture.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


def test_pql_parallel(tmp_path: Path) -> None:
    said = smoke("pql_parallel.py", tmp_path)
    assert said.count("before its runs are read") == said.count("coverage90") == 2
    assert said.index("before its runs are read") < said.index("coverage90")
    assert list(tmp_path.iterdir()) == []


def test_bro_dmc(tmp_path: Path) -> None:
    said = smoke("bro_dmc.py", tmp_path)
    assert said.index("before its runs are read") < said.index("coverage90") < said.index("median return")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(PUBLISHED_GYM not in os.environ, reason=f"{PUBLISHED_GYM} does not name the published tables")
def test_published_gym(tmp_path: Path) -> None:
    said = smoke("published_gym.py", tmp_path, "--data", os.environ[PUBLISHED_GYM])
    assert "wrote predictions.csv" in said
    predicted = pd.read_csv(tmp_path / "predictions.csv")
    assert len(predicted)
    assert (predicted["q05"] <= predicted["q95"]).all()


@pytest.mark.skipif(PUBLISHED_GYM not in os.environ, reason=f"{PUBLISHED_GYM} does not name the published tables")
def test_published_recommendations(tmp_path: Path) -> None:
    """Both tables have a row for each task and UTD, and the fit is saved to the file that --fit names."""
    fit = tmp_path / "fit.nc"
    said = smoke("published_recommendations.py", tmp_path, "--data", os.environ[PUBLISHED_GYM], "--fit", str(fit))
    for task in ("Ant-v4", "HalfCheetah-v4", "Humanoid-v4", "Walker2d-v4"):
        assert said.count(f"| {task} | ") == 9  # four UTDs in each table, and all UTDs together
    assert said.count("**") == 2 * 4  # each task has one recommended UTD
    assert "| all | all | 1280 | " in said
    assert fit.exists()


@pytest.mark.skipif(PUBLISHED_SIMBA not in os.environ, reason=f"{PUBLISHED_SIMBA} does not name the published tables")
def test_published_simba(tmp_path: Path) -> None:
    said = smoke("published_simba.py", tmp_path, "--data", os.environ[PUBLISHED_SIMBA])
    assert said.count("coverage90") == 4


@pytest.mark.skipif(PUBLISHED_GYM not in os.environ, reason=f"{PUBLISHED_GYM} does not name the published tables")
def test_published_methods(tmp_path: Path) -> None:
    said = smoke("published_methods.py", tmp_path, "--data", os.environ[PUBLISHED_GYM])
    table = (tmp_path / "published_methods.md").read_text()
    for method in ("BayeScale", "published (Rybkin et al.)", "published (Fu et al.)", "complete pooling", "no pooling"):
        assert f"second stage {method}" in said
        assert f"| second stage | {method} | 1280 |" in table
    assert "| second stage | floor: each cell's best quantiles | 1280 |" in table


def test_no_prediction_beats_the_floor_of_the_published_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oracle of medians and the true quantiles score worse than the floor; some seeds never reach the threshold."""
    monkeypatch.syspath_prepend(ROOT / "case_studies")  # the studies import from one another
    spec = importlib.util.spec_from_file_location("published_methods", ROOT / "case_studies" / "published_methods.py")
    study = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(study)
    utds = [0.5, 1.0, 2.0, 4.0]
    design = pd.DataFrame({"env_id": "A", "utd": utds, "batch_size": 256, "learning_rate": 3e-4, "seeds": 8})
    location = np.log([[1e4, 3e4]]) - np.log(utds)[:, None] / 2
    runs = bs.simulate_runs(
        design.assign(algorithm="SAC"),
        thresholds=(1.0, 2.0),
        location=location,
        scale=0.3,
        rng=np.random.default_rng(0),
        p_reach=0.9,
    )
    seen = bs.crossings_of(runs, every=100, horizon=1e5)
    assert seen["censored"].any()
    medians, floor = (bs.score(study.oracle(seen, own), crossings=seen) for own in (False, True))
    right = study.oracle(seen, False)
    for name, level in study.QUANTILE_LEVELS.items():
        right[name] = np.exp(location + 0.3 * ndtri(level)).ravel()
    assert medians.male == pytest.approx(0.0, abs=1e-12)
    assert floor.wis < medians.wis < 1.5 * floor.wis
    assert floor.wis < bs.score(right, crossings=seen).wis
