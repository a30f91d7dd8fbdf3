"""Test that arguments of a wrong type are refused with the argument, what came and the next step."""

import re

import jaxtyping
import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.errors import InputError
from bayescale.posterior.posterior import Posterior
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior, sweep

TASK, J = TASKS[0], THRESHOLDS[0]
HIGHEST = 1000.0  # a third threshold; predictions beyond the highest threshold need three
AT = pd.DataFrame({"env_id": [TASK], "utd": [2.0], "batch_size": [128], "learning_rate": [1e-4]})
NO_FRAME = "must be a pandas DataFrame; got {}. Read or convert it first."
NO_NUMBER = "must be a finite number > 0; got {}. Correct it."
NO_PRICES = "prices must be bayescale.Prices(flop=..., env_step=...); got 1.0. Make them so."
NO_RETURN = "threshold must be a finite number; got '321'. Correct it."


class OtherFrame(list[str]):
    """A data frame of another library, whose iteration yields column names."""

    def __dataframe__(self) -> None: ...


WRONG = {
    "predict, configs a file": (lambda p: p.predict("at.csv"), f"configs {NO_FRAME.format('str')}"),
    "predict, configs a dict": (lambda p: p.predict(AT.to_dict()), f"configs {NO_FRAME.format('dict')}"),
    "predict, thresholds": (
        lambda p: p.predict(AT, thresholds="321"),
        "thresholds must be numbers; got '321'. Give returns such as (300, 500).",
    ),
    "predict, thresholds in quotes": (
        lambda p: p.predict(AT, thresholds=["321", 654.0]),
        "thresholds must be numbers; got ['321', 654.0]. Give returns such as (300, 500).",
    ),
    "predict, ceiling": (lambda p: p.predict(AT, ceiling=[1e3]), f"ceiling {NO_FRAME.format('list')}"),
    "frontier, threshold": (lambda p: bs.frontier(p, env_id=TASK, threshold="321"), NO_RETURN),
    "frontier, env_id": (
        lambda p: bs.frontier(p, env_id=[TASK], threshold=J),
        f"env_id must be the name of a task; got ['{TASK}']. Give one, as in '{TASK}'.",
    ),
    "frontier, model_size": (
        lambda p: bs.frontier(p, env_id=TASK, threshold=J, model_size="1e5"),
        f"model_size {NO_NUMBER.format(repr('1e5'))}",
    ),
    "allocate, budget": (
        lambda p: bs.allocate(p, env_id=TASK, budget="1e13"),
        f"budget {NO_NUMBER.format(repr('1e13'))}",
    ),
    "allocate, threshold": (lambda p: bs.allocate(p, env_id=TASK, threshold="321"), NO_RETURN),
    "allocate, env_id": (
        lambda p: bs.allocate(p, env_id=3, budget=1e13),
        f"env_id must be the name of a task; got 3. Give one, as in '{TASK}'.",
    ),
    "allocate, prices": (lambda p: bs.allocate(p, env_id=TASK, budget=1e13, prices=1.0), NO_PRICES),
    "allocate, risk": (
        lambda p: bs.allocate(p, env_id=TASK, budget=1e13, risk=0.9),
        "risk must be mean, cvar:LEVEL, prob:LEVEL or run:LEVEL with 0 < LEVEL < 1; got 0.9. Try cvar:0.9.",
    ),
    "budget_path, prices": (lambda p: bs.budget_path(p, env_id=TASK, prices=1.0), NO_PRICES),
    "portfolio, budget": (lambda p: bs.portfolio(p, budget=[1e13]), f"budget {NO_NUMBER.format('[10000000000000.0]')}"),
    "portfolio, one name": (
        lambda p: bs.portfolio(p, budget=1e13, env_ids=TASK),
        f"env_ids must be a list of names; got '{TASK}'. Write ['{TASK}'] for one.",
    ),
    "portfolio, prices": (lambda p: bs.portfolio(p, budget=1e13, prices=1.0), NO_PRICES),
    "performance, configs": (lambda p: bs.performance(p, [AT], env_steps=1e5), f"configs {NO_FRAME.format('list')}"),
    "performance, env_steps": (
        lambda p: bs.performance(p, AT, env_steps="1e5"),
        f"env_steps {NO_NUMBER.format(repr('1e5'))}",
    ),
    "performance, budget": (lambda p: bs.performance(p, AT, budget=[1]), f"budget {NO_NUMBER.format('[1]')}"),
    "performance, prices": (lambda p: bs.performance(p, AT, env_steps=1e5, prices=1.0), NO_PRICES),
    "next_experiments, candidates": (
        lambda p: bs.next_experiments(p, "at.csv", budget=1e15),
        f"candidates {NO_FRAME.format('str')}",
    ),
    "next_experiments, budget": (
        lambda p: bs.next_experiments(p, AT, budget=None),
        f"budget {NO_NUMBER.format('None')}",
    ),
    "next_experiments, n": (
        lambda p: bs.next_experiments(p, AT, budget=1e15, n=2.5),
        "n must be a whole number; got 2.5. Correct it.",
    ),
    "next_experiments, seed": (
        lambda p: bs.next_experiments(p, AT, budget=1e15, seed=None),
        "seed must be a whole number; got None. Correct it.",
    ),
    "next_experiments, prices": (lambda p: bs.next_experiments(p, AT, budget=1e15, prices=1.0), NO_PRICES),
    "fit, crossings": (lambda _: bs.fit("x.csv"), f"crossings {NO_FRAME.format('str')}"),
    "fit, chains": (lambda _: bs.fit(sweep(), chains="4"), "chains must be a whole number; got '4'. Correct it."),
    "fit, seed": (lambda _: bs.fit(sweep(), seed=0.5), "seed must be a whole number; got 0.5. Correct it."),
    "time_to_threshold, curves": (
        lambda _: bs.time_to_threshold(["a.csv", "b.csv"], thresholds=[1.0]),
        f"curves {NO_FRAME.format('list')}",
    ),
    "compare, curves": (lambda _: bs.compare("x.csv"), f"curves {NO_FRAME.format('str')}"),
    "compare, one method": (
        lambda _: bs.compare("x.csv", methods="published"),
        "methods must be a list of names; got 'published'. Write ['published'] for one.",
    ),
    "compare, give_back": (
        lambda _: bs.compare("x.csv", give_back="1"),
        "give_back must be a whole number; got '1'. Correct it.",
    ),
    "report, one name": (
        lambda p: bs.report(p, "report.html", env_ids=TASK),
        f"env_ids must be a list of names; got '{TASK}'. Write ['{TASK}'] for one.",
    ),
    "report, curves": (lambda p: bs.report(p, "report.html", curves="x.csv"), f"curves {NO_FRAME.format('str')}"),
    "report, prices": (lambda p: bs.report(p, "report.html", prices=1.0), NO_PRICES),
    "read_curves, a dict": (
        lambda _: bs.read_curves({"utd": [1.0]}),
        "a source must be a file, a glob or a frame; got dict. Convert it.",
    ),
    "read_curves, an array": (
        lambda _: bs.read_curves(np.array([["SAC", "A"]])),
        "a source must be a file, a glob or a frame; got ndarray. Convert it.",
    ),
    "read_curves, another library's frame": (
        lambda _: bs.read_curves(OtherFrame(["curves.csv"])),
        "a source must be a file, a glob or a frame; got OtherFrame. Convert it.",
    ),
    "read_return_scale": (lambda _: bs.read_return_scale(5), f"return_scale {NO_FRAME.format('int')}"),
    "score, predictions": (lambda p: bs.score([1.0], crossings=p.crossings), f"predictions {NO_FRAME.format('list')}"),
    "score, crossings": (lambda _: bs.score(AT, crossings="x.csv"), f"crossings {NO_FRAME.format('str')}"),
    "coverage, one level": (
        lambda p: bs.coverage(p, crossings=p.crossings, rng=np.random.default_rng(0), levels=0.9),
        "levels must be one or more probabilities in (0, 1); got 0.9. Correct them.",
    ),
    "posterior_predictive_checks": (
        lambda p: bs.posterior_predictive_checks(p, rng=np.random.default_rng(0), false_alarm="0.1"),
        "false_alarm must lie in (0, 1); got '0.1'. Correct it.",
    ),
    "plot_frontier, a table": (
        lambda _: bs.plot_frontier(AT),
        "front must be one Frontier or more; got DataFrame. Make them with frontier(posterior, ...).",
    ),
    "Prices": (
        lambda _: bs.Prices(flop="1", env_step=4e9),
        "prices must be finite numbers >= 0 and not both 0; got flop='1', env_step=4000000000.0. Correct them.",
    ),
}


@pytest.fixture(scope="module")
def posterior() -> Posterior:
    lower = sweep()
    higher = lower[lower["threshold"] == THRESHOLDS[1]].assign(threshold=HIGHEST)
    return prior_posterior(pd.concat([lower, higher]).sort_values([*AT, "seed", "threshold"], ignore_index=True))


@pytest.fixture(autouse=True)
def as_users_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch off the type checks that the tests add, because users do not have them."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.mark.parametrize("case", WRONG)
def test_an_argument_of_a_wrong_type_is_refused_in_one_sentence(posterior: Posterior, case: str) -> None:
    call, said = WRONG[case]
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        call(posterior)


def test_numpy_numbers_are_accepted(posterior: Posterior) -> None:
    one = bs.allocate(
        posterior, env_id=TASK, threshold=np.float32(J), budget=np.int64(10**18), model_size=np.int32(1000)
    )
    assert one == bs.allocate(posterior, env_id=TASK, threshold=J, budget=1e18, model_size=1000)
