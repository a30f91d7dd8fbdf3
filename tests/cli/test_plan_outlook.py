"""Test what a dry run says of a plan: by the plan alone, by a fit of the task, and by a fit of other tasks."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from bayescale.cli.plan_outlook import NO_FORECAST, outlook
from bayescale.runners import make_plan
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior

PLAN = {
    "utd": [1, 4],
    "batch_size": [128, 256],
    "learning_rate": [1e-4, 3e-4],
    "seed": [0, 1],
    "evaluation_interval": 1_000,
}


def test_without_a_fit_the_plan_alone_says_what_it_can_show() -> None:
    plan = make_plan(
        {
            **PLAN,
            "env_id": ["A", "B"],
            "utd": [0.5, 1, 2],
            "learning_rate": [1e-4, 3e-4, 1e-3],
            "env_steps": {"0.5": 40_000, "1": 20_000, "2": 20_000},
        }
    )
    first, second, last = outlook(plan.runs, None)
    assert first == (
        "A: 36 runs with 3 UTDs, 2 batch sizes, 3 learning rates and 2 seeds. The sweep can show the best UTD and "
        "learning rate. Two values of batch size show which is better; a third would show the best. Each run is "
        "evaluated 20 to 40 times, every 1,000 env steps until 20,000 to 40,000; a crossing is known up to this "
        "interval."
    )
    assert second == first.replace("A:", "B:")
    assert last == NO_FORECAST
    assert "--fit" in last


def test_one_value_of_an_axis_is_no_choice() -> None:
    plan = make_plan({**PLAN, "env_id": "A", "utd": [1], "batch_size": [128], "seed": [0], "env_steps": 5_000})
    assert outlook(plan.runs, None)[0].startswith(
        "A: 2 runs with 1 UTD, 1 batch size, 2 learning rates and 1 seed. Two values of learning rate show"
    )


def test_a_fit_judges_the_tasks_that_it_knows(tmp_path: Path) -> None:
    prior_posterior().save(tmp_path / "fit.nc")
    short = make_plan({**PLAN, "env_id": [TASKS[1]], "env_steps": 2_000})
    by_plan, by_fit, doubt = outlook(short.runs, tmp_path / "fit.nc")
    assert by_plan.startswith(f"{TASKS[1]}: 16 runs with ")
    assert by_fit.startswith(f"{TASKS[1]}, by {tmp_path / 'fit.nc'}: the median run crosses {THRESHOLDS[0]:g} after ")
    assert " env steps, depending on its setting; " in by_fit
    shares = re.search(
        rf"; (\d+)% of the planned runs cross it by their end, and (\d+)% cross {THRESHOLDS[1]:g}\.$", by_fit
    )
    assert shares is not None
    assert int(shares[2]) <= int(shares[1]) < 50
    assert doubt.startswith(f"doubt: most runs on {TASKS[1]} end before they cross {THRESHOLDS[1]:g}. Raise env_steps")

    coarse = make_plan({**PLAN, "env_id": TASKS[1], "env_steps": 10**9, "evaluation_interval": 10**7})
    *_, doubt = outlook(coarse.runs, tmp_path / "fit.nc")
    assert doubt.startswith(f"doubt: on {TASKS[1]}, 100% of the settings cross {THRESHOLDS[0]:g} within their first 3 ")


def test_a_fit_of_other_tasks_speaks_only_if_they_foretell_a_new_one(tmp_path: Path) -> None:
    """Draws of the prior span many orders of magnitude; one draw, repeated, leaves the differences between tasks."""
    posterior, plan = prior_posterior(), make_plan({**PLAN, "env_id": "Unknown-v0", "env_steps": 2_000})
    posterior.save(tmp_path / "vague.nc")
    *_, said = outlook(plan.runs, tmp_path / "vague.nc")
    assert said == (
        f"Unknown-v0: {tmp_path / 'vague.nc'} has no runs of this task, and its 2 tasks cannot foretell when runs on a "
        "new task cross a threshold. Train a few runs first and fit them too."
    )
    draws = {name: np.repeat(values[:1, :1], 40, axis=1) for name, values in posterior.draws.items()}
    replace(posterior, draws=draws).save(tmp_path / "sure.nc")
    *_, said = outlook(plan.runs, tmp_path / "sure.nc")
    found = re.search(
        r"If it is like the fit's 2 tasks, on the same scale of returns, the median run crosses 321 after ([\d,]+) to "
        r"([\d,]+) env steps \(90% interval\), and (\d+)% of the runs never do\.$",
        said,
    )
    assert found is not None
    low, high = (float(each.replace(",", "")) for each in found.groups()[:2])
    assert low < high < 100 * low
    assert "inf" not in said
