"""Ceilings of return as users state them, each way the same, and those that cannot be."""

import numpy as np
import pandas as pd
import pytest

import bayescale as bs
from bayescale.posterior.ceilings import ceilings

CROSSINGS = pd.DataFrame(
    {
        "env_id": ["SAC/Pendulum-v1"] * 2 + ["BRO/dm_control/cartpole-balance-v0"] * 2,
        "threshold": [-400.0, -200.0, 500.0, 900.0],
        "censored": [False, False, False, True],
    }
)
TASKS = pd.Series(["BRO/dm_control/cartpole-balance-v0", "SAC/Pendulum-v1", "BRO/dm_control/cartpole-balance-v0"])
STATED = {"Pendulum-v1": 0.0, "dm_control/cartpole-balance-v0": 1000.0, "Hopper-v5": np.inf}


def of(ceiling, tasks=TASKS):
    return ceilings(ceiling, tasks, CROSSINGS).tolist()


def test_a_mapping_a_frame_and_a_file_say_the_same_and_a_number_holds_for_all(tmp_path):
    frame = pd.DataFrame({"env_id": list(STATED), "ceiling": list(STATED.values())})
    frame.to_csv(tmp_path / "ceilings.csv", index=False)
    for ceiling in (STATED, frame, tmp_path / "ceilings.csv", str(tmp_path / "ceilings.csv")):
        assert of(ceiling) == [1000.0, 0.0, 1000.0]
    assert of(1000) == of(np.int64(1000)) == [1000.0] * 3
    assert of(None) == [np.inf] * 3


def test_a_task_named_by_digits_keeps_its_name_in_a_file(tmp_path):
    (tmp_path / "ceilings.csv").write_text("env_id,ceiling\n007,5\n")
    assert of(tmp_path / "ceilings.csv", pd.Series(["007"])) == [5.0]


def test_a_task_goes_by_its_environment_or_by_its_name_in_the_fit_which_comes_first():
    assert of({**STATED, "SAC/Pendulum-v1": -100.0})[1] == -100.0
    assert of(STATED, pd.Series(["Hopper-v5"])) == [np.inf]
    with pytest.raises(bs.InputError, match="ceiling has no NotPendulum-v1; it has Pendulum-v1"):
        of({"Pendulum-v1": 0.0}, pd.Series(["NotPendulum-v1"]))


def test_a_ceiling_may_lie_below_thresholds_that_no_run_has_reached_and_not_below_others():
    assert of({**STATED, "dm_control/cartpole-balance-v0": 500.0})[0] == 500.0
    low = {**STATED, "dm_control/cartpole-balance-v0": 499.0}
    with pytest.raises(bs.InputError, match=r"cartpole-balance-v0 is 499, and fitted runs have reached 500\. Raise it"):
        of(low)
    with pytest.raises(bs.InputError, match="Pendulum-v1 is -300, and fitted runs have reached -200"):
        of(-300.0, TASKS[1:2])
    assert of(low, TASKS[1:2]) == [0.0]  # of tasks that nobody asks about nothing is said
    assert of(-5.0, pd.Series(["New-v0"])) == [-5.0]


@pytest.mark.parametrize(
    ("ceiling", "said"),
    [
        (np.nan, "ceiling must be a number; got nan. Leave it out"),
        ({"Pendulum-v1": np.nan}, "ceiling must be filled in; got nan"),
        ({"Pendulum-v1": "high"}, "ceiling must be a number; got high"),
        (pd.DataFrame({"env_id": ["a", "a"], "ceiling": [1, 2]}), "ceiling has a twice. Keep one"),
        (pd.DataFrame({"env_id": ["a"], "best": [1]}), "ceiling has no column 'ceiling'"),
        ("nowhere.csv", "nowhere.csv was not found"),
    ],
)
def test_what_is_no_ceiling_is_refused(ceiling, said):
    with pytest.raises(bs.InputError, match=said):
        of(ceiling)
