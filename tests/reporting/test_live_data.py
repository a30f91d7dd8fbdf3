"""The runs and the candidates that the live report carries."""

import base64
import gzip

import numpy as np
import pandas as pd
import pytest

from bayescale.decisions.candidates import flops_per_step
from bayescale.decisions.frontier import frontier
from bayescale.decisions.utility import Prices, expected_cost
from bayescale.reporting.live.candidates import COARSE, candidate_settings, lengths_at
from bayescale.reporting.live.packed_draws import Arrays
from bayescale.reporting.live.task_data import CURVE_LENGTHS, facts, run_fields
from tests.scaffolding.prior_posterior import TASKS, THRESHOLDS, prior_posterior, sweep


def test_curves_and_crossings_belong_to_the_same_runs_in_any_order_of_rows():
    rows = sweep().query("env_id == @TASKS[0]")
    rows = rows.sample(frac=1.0, random_state=3).reset_index(drop=True)
    keys = ["algorithm", "env_id", "utd", "batch_size", "learning_rate", "model_size", "seed"]
    runs = rows[keys].drop_duplicates()
    marked = runs.assign(episode_return=runs["batch_size"] + runs["seed"] / 10, learnt=True)
    curves = marked.merge(pd.DataFrame({"env_steps": np.arange(1, 201) * 500}), how="cross")
    curves = curves[~((curves["seed"] == 1) & (curves["utd"] == 4))]  # some runs have no curve
    arrays = Arrays()
    fields = run_fields(rows, curves.sample(frac=1.0, random_state=4), arrays, share=1.0)
    buffer = gzip.decompress(base64.b64decode(arrays.text()))
    place = fields["curves"]["points"]
    points = np.frombuffer(buffer, "<f4", place["length"], place["at"]).reshape(-1, 2)
    lengths = fields["curves"]["lengths"]
    assert set(lengths) == {0, CURVE_LENGTHS[1]}
    first = 0
    for (_, run), length in zip(runs.iterrows(), lengths, strict=True):
        assert (length == 0) == (run["seed"] == 1 and run["utd"] == 4)
        np.testing.assert_allclose(points[first : first + length, 1], run["batch_size"] + run["seed"] / 10, rtol=1e-6)
        assert (np.diff(points[first : first + length, 0]) > 0).all()
        first += length
    assert fields["settings"]["batch_size"] == runs["batch_size"].tolist()
    place = fields["seen"]
    seen = np.frombuffer(buffer, "<f4", place["length"], place["at"]).reshape(-1, 2)
    wanted = np.where(runs["utd"] == 1, -9e5, 9e4)  # runs at UTD 1 end below the upper threshold
    np.testing.assert_array_equal(seen, np.column_stack([np.full(len(runs), 5e4), wanted]))


def test_candidates_lie_in_the_sweep_and_near_the_best_setting_at_any_price():
    posterior = prior_posterior()
    settings = candidate_settings(posterior, TASKS[0], prices=Prices(), model_size=None)
    assert settings["batch_size"].between(128, 256).all()
    assert settings["learning_rate"].between(1e-4 * (1 - 1e-9), 3e-4 * (1 + 1e-9)).all()
    assert set(settings["model_size"]) == {150_000}
    assert not settings.duplicated().any()
    assert (settings.groupby("utd").size() >= COARSE**2).all()


@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_at_any_price_a_candidate_of_each_utd_costs_as_little_as_the_frontier(factor):
    posterior, prices = prior_posterior(), Prices(env_step=factor * Prices().env_step)
    settings = candidate_settings(posterior, TASKS[0], prices=Prices())
    lengths = lengths_at(posterior, settings)
    step_cost = prices.cost(flops_per_step(settings), np.ones(len(settings)))
    cost = expected_cost(np.exp(lengths.location), step_cost=step_cost[:, None], p_reach=lengths.p_reach).mean(axis=0)
    for k, threshold in enumerate(THRESHOLDS):
        least = settings.assign(cost=cost[:, k]).groupby("utd")["cost"].min()
        front = frontier(posterior, env_id=TASKS[0], threshold=threshold, utd=least.index.to_numpy(), prices=prices)
        np.testing.assert_allclose(least, front.risk, rtol=0.01)


def test_facts_name_what_was_swept():
    assert facts(sweep().query("env_id == @TASKS[0]")) == (
        "Fitted to 16 runs; UTD 1 to 4, batch size 128 to 256, learning rate 0.0001 to 0.0003."
    )
    assert facts(sweep().query("utd == 4 and batch_size == 128 and learning_rate == 1e-4")).endswith("; one setting.")


def test_candidates_of_a_sweep_with_one_learning_rate_have_that_rate():
    """Rounding makes values between 3e-4 and 3e-4 that differ in their last digit."""
    rate = 3e-4
    assert len(np.unique(np.geomspace(rate, rate, 9))) > 1
    posterior = prior_posterior(sweep().query("learning_rate == @rate").reset_index(drop=True))
    settings = candidate_settings(posterior, TASKS[0], prices=Prices())
    assert settings["learning_rate"].unique().tolist() == [rate]
