"""A sweep of eight short runs in four jobs, and functions that list the files in its folder."""

from pathlib import Path

from bayescale.runners import make_plan
from bayescale.runners.sweeps.folder import job_file
from bayescale.runners.training.ensembles import make_ensembles

CONTENT = {
    "env_id": "Pendulum-v1",
    "utd": [0.5, 2],
    "batch_size": [8, 16],
    "learning_rate": [1e-3],
    "seed": [0, 1],
    "env_steps": {"0.5": 120, "2": 90},
    "hidden_width": 8,
    "warmup_steps": 40,
    "evaluation_interval": 50,
    "evaluation_episodes": 1,
}

PLAN = make_plan(CONTENT)
ENSEMBLES = make_ensembles(PLAN.runs)  # four ensembles of two seeds


def names(folder: Path) -> set[str]:
    """Return the paths of all files and folders in the folder, relative to it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def kept(out: Path) -> int:
    """Return the number of jobs whose results are written."""
    return sum(job_file(out, number).exists() for number in range(len(ENSEMBLES)))
