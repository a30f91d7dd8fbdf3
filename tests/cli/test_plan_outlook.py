"""Test the comparison of a plan's lengths with expected crossing times, by a fit and by the priors."""

import re
from pathlib import Path

from bayescale.cli.plan_outlook import outlook
from bayescale.runners import make_plan
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior

PLAN = {
    "utd": [1, 4],
    "batch_size": [128, 256],
    "learning_rate": [1e-4, 3e-4],
    "seed": [0, 1],
    "evaluation_interval": 1_000,
}


def test_a_fit_judges_the_tasks_that_it_knows_and_the_priors_the_others(tmp_path: Path) -> None:
    posterior = prior_posterior()
    posterior.save(tmp_path / "fit.nc")
    short = make_plan({**PLAN, "env_id": [TASKS[1], "Unknown-v0"], "env_steps": 2_000})
    by_fit, doubt, by_priors = outlook(short.runs, tmp_path / "fit.nc")
    assert by_fit.startswith(f"{TASKS[1]}, by {tmp_path / 'fit.nc'}: the median run crosses {THRESHOLDS[0]:g} after ")
    assert " env steps, depending on its setting; " in by_fit
    shares = re.search(
        rf"; (\d+)% of the planned runs cross it by their end, and (\d+)% cross {THRESHOLDS[1]:g}\.$", by_fit
    )
    assert shares is not None
    assert int(shares[2]) <= int(shares[1]) < 50
    assert doubt.startswith(f"doubt: most runs on {TASKS[1]} end before they cross {THRESHOLDS[1]:g}. Raise env_steps")
    assert by_priors.startswith(f"Unknown-v0, by the priors, as {tmp_path / 'fit.nc'} has no runs of it: the lowest ")
    assert "(90% interval); 8 settings considered, " in by_priors

    coarse = make_plan({**PLAN, "env_id": TASKS[1], "env_steps": 10**9, "evaluation_interval": 10**7})
    _, doubt = outlook(coarse.runs, tmp_path / "fit.nc")
    assert doubt.startswith(f"doubt: on {TASKS[1]}, 100% of the settings cross {THRESHOLDS[0]:g} within their first 3 ")
