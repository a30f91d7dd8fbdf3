"""Test the words on how far a configuration lies outside the swept range of its task, against numbers by hand."""

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.posterior.swept_ranges import NEW_TASK, above_thresholds, joined, outside_sweep
from tests.scaffolding.prior_posterior import TASKS, prior_posterior

FITTED = pd.DataFrame(
    {
        "env_id": ["A", "A", "B"],
        "utd": [1.0, 4.0, 1.0],
        "batch_size": [64, 256, 64],
        "learning_rate": [1e-4, 1e-3, 1e-3],
        "model_size": [1000, 1000, 2000],
    }
)


def test_each_axis_is_named_with_its_factor() -> None:
    configs = pd.DataFrame(
        [
            ("A", 2.0, 128, 3e-4, 1000),
            ("A", 0.25, 256, 1e-2, 1000),
            ("B", 4.0, 64, 1e-3, 3000),
            ("C", 2.0, 128, 3e-4, 1000),
            ("A", 4.0 * (1 + 1e-12), 64, 1e-3 * 1.002, 1000),
        ],
        columns=FITTED.columns,
    )
    assert outside_sweep(FITTED, configs) == [
        "",
        "utd 4 times below the smallest swept; learning_rate 10 times above the largest swept",
        "utd 4 times above the largest swept; model_size 1.5 times above the largest swept",
        NEW_TASK,
        "learning_rate 0.2% above the largest swept",
    ]
    assert outside_sweep(FITTED.drop(columns="model_size"), configs)[2] == "utd 4 times above the largest swept"


def test_a_return_above_the_thresholds_is_named_with_its_distance() -> None:
    fitted = np.array([300.0, 12_000.0])
    assert above_thresholds(fitted, 12_000.0) == ""
    assert above_thresholds(fitted, 12_345.0) == "threshold 345 above the highest fitted, 12,000"
    assert joined("", "a", "", "b") == "a; b"


def test_predictions_and_frontiers_say_how_far_they_extrapolate() -> None:
    posterior = prior_posterior()
    configs = pd.DataFrame({"env_id": TASKS[0], "utd": [2.0, 16.0], "batch_size": 200, "learning_rate": 2e-4})
    table = posterior.predict(configs)
    far = "utd 4 times above the largest swept"
    assert table["extrapolation"].tolist() == ["", "", far, far]
    assert table["extrapolated"].tolist() == [False, False, True, True]
    assert (posterior.extrapolated(configs) == [False, True]).all()
    new = posterior.predict(configs.assign(env_id="New-v0"), new_task=True)
    assert (new["extrapolation"] == NEW_TASK).all()
    front = bs.frontier(posterior, env_id=TASKS[0], threshold=321, utd=[0.5, 2.0]).table()
    assert front["extrapolation"].tolist() == ["utd 2 times below the smallest swept", ""]
    assert front["extrapolated"].tolist() == [True, False]


def test_a_choice_with_another_model_size_says_so() -> None:
    choice = bs.allocate(prior_posterior(), env_id=TASKS[0], threshold=321, model_size=300_000)
    assert choice.extrapolation == "model_size 2 times above the largest swept"
