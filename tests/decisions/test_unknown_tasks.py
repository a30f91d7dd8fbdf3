"""Test that a task without fitted runs is refused unless the caller asks for a new task."""

from collections.abc import Callable

import pandas as pd
import pytest

import bayescale as bs
from bayescale.data.tasks import require_fitted_tasks
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior

MISSPELT = "Hoper & co"
CONFIGS = pd.DataFrame({"env_id": MISSPELT, "utd": [2.0], "batch_size": 200, "learning_rate": 2e-4})
LISTED = r"the fit has no run of Hoper & co\. Did you mean Hopper & co\? It has runs of Hopper & co, <b>x\. For the"


@pytest.fixture(scope="module")
def posterior() -> bs.Posterior:
    return prior_posterior()


DECISIONS: dict[str, Callable[..., object]] = {
    "predict": lambda posterior, **more: posterior.predict(CONFIGS, **more),
    "frontier": lambda posterior, **more: bs.frontier(posterior, env_id=MISSPELT, threshold=THRESHOLDS[0], **more),
    "allocate": lambda posterior, **more: bs.allocate(posterior, env_id=MISSPELT, threshold=THRESHOLDS[0], **more),
    "budget_path": lambda posterior, **more: bs.budget_path(posterior, env_id=MISSPELT, **more),
    "portfolio": lambda posterior, **more: bs.portfolio(posterior, budget=1e30, env_ids=[TASKS[0], MISSPELT], **more),
    "next_experiments": lambda posterior, **more: bs.next_experiments(posterior, CONFIGS, budget=1e30, n=1, **more),
}


@pytest.mark.parametrize("decision", DECISIONS.values(), ids=DECISIONS)
def test_an_unknown_task_is_refused_with_the_fitted_ones_and_answered_as_a_new_task(
    posterior: bs.Posterior, decision: Callable[..., object]
) -> None:
    with pytest.raises(bs.InputError, match=LISTED):
        decision(posterior)
    assert decision(posterior, new_task=True) is not None


def test_a_choice_for_a_new_task_says_that_no_run_stands_behind_it(posterior: bs.Posterior) -> None:
    choice = bs.allocate(posterior, env_id="New-v0", threshold=THRESHOLDS[0], new_task=True)
    assert (choice.runs, choice.runs_reached, choice.left_out) == (0, 0, ())
    assert choice.extrapolation == "no run of this task"


def test_a_report_names_the_fitted_tasks(posterior: bs.Posterior, tmp_path) -> None:
    with pytest.raises(bs.InputError, match=LISTED):
        bs.report(posterior, tmp_path / "report.html", env_ids=[MISSPELT])


def test_the_closest_names_come_first_and_a_far_one_is_no_guess() -> None:
    known = [f"task-{number:02d}" for number in range(30)] + ["Ant-v4"]
    with pytest.raises(
        bs.InputError, match=r"no run of ant-v5\. Did you mean Ant-v4\? It has runs of Ant-v4, .* and 11 more"
    ):
        require_fitted_tasks(["task-03", "ant-v5"], known)
    with pytest.raises(bs.InputError, match=r"no run of Walker2d\. It has runs of "):
        require_fitted_tasks(["Walker2d"], known)
    require_fitted_tasks(["task-03", "Walker2d"], known, new_task=True)
    with pytest.raises(bs.InputError, match="the fit knows Ant-v4 as SAC/Ant-v4"):
        require_fitted_tasks(["Ant-v4"], ["SAC/Ant-v4"], new_task=True)
