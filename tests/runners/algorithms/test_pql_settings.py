"""Plans of PQL, and settings that make no run."""

import dataclasses
from typing import Any

import pytest

from bayescale.errors import InputError
from bayescale.runners import PQLConfig, make_plan
from tests.scaffolding.pql_twins import CONFIG


def test_a_plan_can_ask_for_pql() -> None:
    content = {
        "algorithm": "PQL",
        "suite": "playground",
        "env_id": "CartpoleSwingup",
        "utd": [0.002],
        "batch_size": [8_192],
        "learning_rate": [5e-4],
        "seed": [0],
        "env_steps": 4_096_000,
    }
    (run,) = make_plan(content).runs
    assert isinstance(run, PQLConfig)
    assert run.utd * run.num_envs == pytest.approx(8.0, rel=0.03)  # critic updates per step of all environments
    assert run.gradient_updates == int((4_096_000 - 32 * 4_096) * 0.002)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"env_steps": 121}, r"env_steps 121 is not a multiple of num_envs 4.*Give 124\."),
        ({"warmup_steps": 42}, r"warmup_steps 42 is not a multiple of num_envs 4.*Give 44\."),
        ({"evaluation_interval": 10}, r"evaluation_interval 10 is not a multiple of num_envs 4.*Give 12\."),
        ({"n_step": 11}, r"warmup_steps 40 is less than n_step 11 times num_envs 4.*Raise warmup_steps"),
        ({"buffer_size": 16, "num_envs": 20}, r"num_envs 20 is larger than buffer_size 16\. Raise buffer_size"),
        ({"noise_low": -0.1}, r"noise_low must be 0 or more; got -0\.1"),
        ({"gradient_norm": 0.0}, r"gradient_norm must be positive; got 0\.0"),
        ({"critic_actor_ratio": 0}, "critic_actor_ratio must be at least 1; got 0"),
    ],
)
def test_settings_that_make_no_run(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(CONFIG, **changes)
