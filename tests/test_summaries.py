"""Results show a summary of about ten lines in a terminal and in a notebook, with all names escaped."""

import numpy as np
import pytest

from bayescale.decisions.budget_path import BudgetPath
from bayescale.decisions.frontier import Frontier
from bayescale.decisions.portfolio import Portfolio
from bayescale.decisions.records import QUANTILE_LEVELS, Allocation, Basis
from bayescale.decisions.utility import Prices
from bayescale.inference.convergence import Status
from bayescale.summaries import TEXT_WIDTH, Summarised, Summary, listed, with_interval
from tests.scaffolding.prior_posterior import prior_posterior

NASTY = "<script>alert(1)</script> & co"


def allocation(**changes: object) -> Allocation:
    three = {"mean": 5_100.0, "q05": 4_000.0, "q50": 5_000.0, "q95": np.inf}
    fields = {
        "env_id": NASTY, "threshold": 654.0, "utd": 2.0, "batch_size": 128, "learning_rate": 3e-4,
        "model_size": 150_000, "feasible": True, "risk": 1e13, "p_success": 0.93, "env_steps": three, "flops": three,
        "budget": three, "regret": three | {"mean": 0.012, "q95": 0.05}, "runs": 32, "runs_reached": 30,
        "extrapolation": "", "left_out": (), "basis": Basis(Prices(), "mean", QUANTILE_LEVELS, {}),
    }  # fmt: skip
    return Allocation(**(fields | changes))


def front() -> Frontier:
    draws, size = np.geomspace(1e4, 2e4, 50)[:, None] * np.ones(30), np.full(30, 150_000)
    return Frontier(
        env_id=NASTY, threshold=654.0, utd=np.geomspace(0.25, 8, 30), env_steps=draws, flops=draws * 1e9,
        batch_size=draws, learning_rate=draws, p_reach=np.full(30, 0.9), extrapolated=np.arange(30) > 24,
        model_size=size, risk=np.ones(30), prices=Prices(), risk_measure="mean", settings="cheapest",
        failed=np.zeros(30, bool), extrapolation=("",) * 30,
    )  # fmt: skip


def path() -> BudgetPath:
    draws = np.geomspace(1, 4, 50)[:, None] * np.ones(3)
    return BudgetPath(NASTY, np.array([1.0, 2, 3]), draws, draws, draws * 1e13, np.full(3, 2.0), np.full(3, 1e5))


def portfolio() -> Portfolio:
    three = {"mean": 2e13, "q05": 1e13, "q50": 2e13, "q95": 3e13}
    choices = tuple(allocation(env_id=f"<b>task {number}</b>") for number in range(12))
    return Portfolio(choices, feasible=False, budget=three, p_within=0.2)


RESULTS = {
    "posterior": prior_posterior,
    "frontier": front,
    "allocation": allocation,
    "budget path": path,
    "portfolio": portfolio,
}


@pytest.mark.parametrize("kind", RESULTS)
def test_a_summary_has_about_ten_lines_and_says_what_to_do_next(kind: str) -> None:
    said = repr(RESULTS[kind]())
    assert 5 <= len(said.splitlines()) <= 15
    assert max(map(len, said.splitlines())) <= TEXT_WIDTH
    assert "next" in said
    assert len(said) < 1600


@pytest.mark.parametrize("kind", RESULTS)
def test_a_notebook_gets_html_in_which_names_are_text(kind: str) -> None:
    page = RESULTS[kind]()._repr_html_()
    assert page.startswith("<div>")
    assert "<script>" not in page
    assert "<b>x" not in page
    assert "&lt;" in page
    assert page.count("<tr>") == len(RESULTS[kind]().summary().lines)


def test_a_posterior_names_its_verdict() -> None:
    assert Status.NOT_MIXED.value[:20] in repr(prior_posterior(status=Status.NOT_MIXED))


def test_an_allocation_says_that_it_is_infeasible_extrapolated_or_rests_on_failures() -> None:
    said = repr(allocation(feasible=False, extrapolation="utd 2x above", left_out=("a", "b"), runs_reached=None))
    assert "NOT FEASIBLE" in said
    assert "utd 2x above" in said
    assert "2 failed settings" in said
    assert "an unknown number of 32 fitted runs" in said
    assert "5,000 env steps (90% interval 4,000 to never)" in said


def test_a_frontier_counts_its_extrapolated_rows() -> None:
    assert "5 of 30 UTDs lie outside the fitted data" in repr(front())


def test_a_portfolio_counts_the_tasks_that_it_does_not_list() -> None:
    said = repr(portfolio())
    assert "6 further tasks" in said
    assert "NOT FEASIBLE" in said


def test_many_names_are_counted() -> None:
    assert listed(("a", "b")) == "a, b"
    assert listed(tuple("abcdefgh")) == "a, b, c, d, e and 3 more"


def test_numbers_have_three_digits_and_a_unit() -> None:
    said = with_interval({"q05": 1234.5, "q50": 2345.6, "q95": 1.2345e15}, "flops")
    assert said == "2,350 flops (90% interval 1,230 to 1.23e+15)"


def test_a_class_must_say_its_summary() -> None:
    with pytest.raises(NotImplementedError):
        repr(Summarised())
    assert Summary("title", {"a": "b"}).text() == "title\n  a  b"
