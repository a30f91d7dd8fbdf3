"""Ceilings that users state as a number, a mapping, a frame or a file, and ceilings that are refused."""

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


def by_config(ceiling, tasks=TASKS):
    return ceilings(ceiling, tasks, CROSSINGS).tolist()


def test_a_mapping_a_frame_and_a_file_give_equal_ceilings_and_a_number_holds_for_all_tasks(tmp_path):
    frame = pd.DataFrame({"env_id": list(STATED), "ceiling": list(STATED.values())})
    frame.to_csv(tmp_path / "ceilings.csv", index=False)
    for ceiling in (STATED, frame, tmp_path / "ceilings.csv", str(tmp_path / "ceilings.csv")):
        assert by_config(ceiling) == [1000.0, 0.0, 1000.0]
    assert by_config(1000) == by_config(np.int64(1000)) == [1000.0] * 3
    assert by_config(None) == [np.inf] * 3


def test_a_task_named_by_digits_keeps_its_name_in_a_file(tmp_path):
    (tmp_path / "ceilings.csv").write_text("env_id,ceiling\n007,5\n")
    assert by_config(tmp_path / "ceilings.csv", pd.Series(["007"])) == [5.0]


def test_a_task_may_be_named_by_its_environment_or_by_its_name_in_the_fit_which_comes_first():
    assert by_config({**STATED, "SAC/Pendulum-v1": -100.0})[1] == -100.0
    assert by_config(STATED, pd.Series(["Hopper-v5"])) == [np.inf]
    with pytest.raises(bs.InputError, match="ceiling has no NotPendulum-v1; it has Pendulum-v1"):
        by_config({"Pendulum-v1": 0.0}, pd.Series(["NotPendulum-v1"]))


def test_a_ceiling_may_lie_below_thresholds_that_no_run_has_reached_but_not_below_reached_ones():
    assert by_config({**STATED, "dm_control/cartpole-balance-v0": 500.0})[0] == 500.0
    low = {**STATED, "dm_control/cartpole-balance-v0": 499.0}
    with pytest.raises(bs.InputError, match=r"cartpole-balance-v0 is 499, and fitted runs have reached 500\. Raise it"):
        by_config(low)
    with pytest.raises(bs.InputError, match="Pendulum-v1 is -300, and fitted runs have reached -200"):
        by_config(-300.0, TASKS[1:2])
    assert by_config(low, TASKS[1:2]) == [0.0]  # cartpole's low ceiling is not checked, as only Pendulum is asked for
    assert by_config(-5.0, pd.Series(["New-v0"])) == [-5.0]


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
def test_an_unusable_ceiling_is_refused(ceiling, said):
    with pytest.raises(bs.InputError, match=said):
        by_config(ceiling)
