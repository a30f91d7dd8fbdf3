"""Test what a plan cannot answer, from the plan alone."""

import pytest

from bayescale.runners import doubts, make_plan

SOUND = {
    "env_id": "Pendulum-v1",
    "utd": [0.5, 1, 2],
    "batch_size": [32, 64, 128],
    "learning_rate": [3e-4, 1e-3, 3e-3],
    "seed": [0, 1],
    "env_steps": 10_000,
    "evaluation_interval": 200,
}


def test_a_plan_that_can_answer_raises_no_doubt() -> None:
    assert doubts(make_plan(SOUND)) == ()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"utd": [1]}, "every run has UTD 1: the sweep cannot tell how env steps fall with UTD, so no UTD can be"),
        ({"learning_rate": [3e-4]}, "every run has learning rate 0.0003: the sweep cannot tell the optimal learning"),
        ({"batch_size": [64]}, "every run has batch size 64: the sweep cannot tell the optimal batch size."),
        ({"seed": [7]}, "every setting has one seed: the sweep cannot tell seed noise from the effect of a setting."),
        (
            {"warmup_steps": 6_000},
            "runs at UTD 0.5 spend 60% of their 10,000 env steps in warm-up, where nothing is learned. Raise env_steps",
        ),
        (
            {"evaluation_interval": 2_000},
            (
                "runs at UTD 0.5 have 4 evaluations after their warm-up: crossings would be known only to the nearest "
                "2,000 env steps. Lower evaluation_interval to 450."
            ),
        ),
        ({"buffer_size": 500}, "buffer_size 500 is smaller than warmup_steps 1,000, so part of the warm-up is lost."),
        ({"evaluation_episodes": 1}, "evaluations have one episode, so their returns are noisy."),
    ],
)
def test_a_plan_that_cannot_answer_raises_its_doubt(change: dict[str, object], said: str) -> None:
    found = doubts(make_plan(SOUND | change))
    assert found[0].startswith(said)
    assert len(found) <= len(SOUND["utd"])


def test_a_doubt_about_several_tasks_is_raised_once() -> None:
    both = make_plan(SOUND | {"env_id": ["Pendulum-v1", "MountainCarContinuous-v0"], "seed": [0]})
    assert len(doubts(both)) == 1
