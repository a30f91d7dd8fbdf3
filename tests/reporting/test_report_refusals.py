"""Test that the report of a task without any advice gives the reason in place of a recommendation."""

import numpy as np
import pytest

import bayescale as bs
from tests.scaffolding.page_answers import Page
from tests.scaffolding.prior_posterior import TASKS, prior_posterior, sweep


def test_a_task_that_reached_nothing_has_no_recommendation_and_the_others_have_one(tmp_path) -> None:
    table = sweep()
    second = table["env_id"] == TASKS[1]
    table.loc[second, ["env_steps_lower", "env_steps_upper"]] = (1e5, np.inf)
    posterior = prior_posterior(table.assign(censored=table["censored"] | second))
    with pytest.warns(UserWarning, match="none of 16 runs on Hopper & co reached 321") as heard:
        bs.report(posterior, tmp_path / "report.html")
    assert len(heard) == 1
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    reason = "none of 16 runs on Hopper &amp; co reached 321, the lowest fitted threshold: give longer runs"
    assert page.count(reason) == 1  # The table of all tasks has it; the top is about the first task.
    assert page.count("To reach <strong>J = ") == 1
    assert [bool(task["refusal"]) for task in Page(page).data["tasks"]] == [False, True]
