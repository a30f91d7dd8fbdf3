"""Test replay buffers and n-step transitions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch

from bayescale.runners.networks.random_streams import BlockStreams
from bayescale.runners.suites.environments import Outcome
from bayescale.runners.training.n_step import NStepReturns, Transitions
from bayescale.runners.training.replay import ReplayBuffer
from tests.scaffolding.learner_twins import stream

GAMMAS = [0.9, 0.5]


def numbered(first: int, count: int) -> Transitions:
    """Return transitions of two members; transition i holds i in every column, and 100 + i for the second member."""
    number = np.arange(first, first + count)[None, :, None] + np.array([0.0, 100.0])[:, None, None]
    pairs = np.concatenate((number, number), axis=2).astype(np.float32)
    return Transitions(pairs, pairs[..., :1] / 10, -number, pairs + 1, (number < 104).astype(np.float64))


def streams_of(seeds: list[int], gpu: bool) -> Sequence[torch.Generator]:
    """Return random streams of the kind that a run on a GPU or on a CPU uses; they draw on the CPU."""
    if not gpu:
        return [stream(seed) for seed in seeds]
    streams = BlockStreams(seeds, torch.device("cpu"))
    streams.advance()
    return streams


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_replay_buffer_keeps_the_newest_rows_and_separates_columns_and_members(at_once: int, gpu: bool) -> None:
    buffer, streams = ReplayBuffer(2, 3, 2, 1), streams_of([0, 1], gpu)
    if gpu:
        buffer._rows = None  # a buffer on a GPU has no such view of its memory
    for first in range(0, 6, at_once):
        buffer.add(numbered(first, at_once))
    batch = buffer.sample(200, streams)
    assert buffer.size == 3
    stored = batch.observation[:, 0]
    assert [set(member.tolist()) for member in stored] == [{3.0, 4.0, 5.0}, {103.0, 104.0, 105.0}]
    torch.testing.assert_close(batch.observation[:, 1], stored)
    torch.testing.assert_close(batch.action[:, 0], stored / 10)
    torch.testing.assert_close(batch.reward, -stored)
    torch.testing.assert_close(batch.next_observation, (stored + 1)[:, None].expand(-1, 2, -1))
    torch.testing.assert_close(batch.discount, (stored < 104.0).float())


@pytest.mark.parametrize("gpu", [False, True])
def test_members_draw_batches_from_their_own_streams_among_what_is_stored(gpu: bool) -> None:
    def drawn(seeds: list[int]) -> Any:
        buffer = ReplayBuffer(2, 80, 2, 1)
        buffer.add(numbered(1, 50))
        return buffer.sample(400, streams_of(seeds, gpu)).observation[:, 0]

    together = drawn([5, 6])
    assert torch.equal(together[1:] - 100, drawn([6, 6])[:1])
    assert not torch.equal(together[0], together[1] - 100)
    assert set(together[0].tolist()) == set(range(1, 51)), "every stored transition is drawn, and no empty row"


def random_steps(count: int, each: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, Outcome]]:
    """Return observations, actions and outcomes of two members, whose episodes end at random in both ways."""
    rng, rows = np.random.default_rng(seed), 2 * each
    steps = []
    observation = rng.normal(size=(rows, 2)).astype(np.float32)
    for _ in range(count):
        action = rng.uniform(-1, 1, (2, each, 1)).astype(np.float32)
        final = rng.normal(size=(rows, 2)).astype(np.float32)
        terminated, truncated = rng.random(rows) < 0.2, rng.random(rows) < 0.2
        following = np.where((terminated | truncated)[:, None], rng.normal(size=(rows, 2)), final).astype(np.float32)
        outcome = Outcome(following, final, rng.normal(size=rows), terminated, truncated & ~terminated)
        steps.append((observation.reshape(2, each, 2), action, outcome))
        observation = following
    return steps


def by_the_definition(steps: list[Any], t: int, row: int, gamma: float, n_step: int) -> tuple[Any, ...]:
    """Return the reward, next observation and discount from step t in one environment, worked out step by step."""
    reward, discount = 0.0, 1.0
    for _, _, outcome in steps[t : t + n_step]:
        reward += discount * outcome.reward[row]
        discount *= gamma
        if outcome.terminated[row]:
            return reward, outcome.final_observation[row], 0.0
        if outcome.truncated[row]:
            break
    return reward, outcome.final_observation[row], discount


@pytest.mark.parametrize("n_step", [1, 2, 3, 5])
def test_n_step_returns_against_a_loop(n_step: int) -> None:
    each, count = 4, 60
    steps = random_steps(count, each, seed=n_step)
    returns = NStepReturns(GAMMAS, n_step)
    ends = {"terminated": 0, "truncated": 0, "whole": 0}
    for now, step in enumerate(steps):
        made, t = returns.add(*step), now - n_step + 1
        if t < 0:
            assert made is None
            continue
        np.testing.assert_array_equal(made.observation, steps[t][0])
        np.testing.assert_array_equal(made.action, steps[t][1])
        for member, gamma in enumerate(GAMMAS):
            for j in range(each):
                reward, following, discount = by_the_definition(steps, t, member * each + j, gamma, n_step)
                np.testing.assert_allclose(made.reward[member, j, 0], reward, rtol=1e-12)
                np.testing.assert_array_equal(made.next_observation[member, j], following)
                np.testing.assert_allclose(made.discount[member, j, 0], discount, rtol=1e-12)
                whole = np.isclose(discount, gamma**n_step)
                ends["whole" if whole else "truncated" if discount else "terminated"] += 1
    # With n_step = 1 a truncated transition is as long as any other.
    assert all(number > 20 for end, number in ends.items() if n_step > 1 or end != "truncated")


def test_a_window_never_reaches_into_the_next_episode() -> None:
    """Check that rewards after the end of an episode do not change the transitions before it."""
    steps = random_steps(12, 4, seed=9)

    def made(reward_after_ends: float) -> list[Transitions]:
        returns, ended, out = NStepReturns(GAMMAS, 3), np.zeros(8, np.bool_), []
        for observation, action, outcome in steps:
            reward = np.where(ended, reward_after_ends, outcome.reward)
            ended = ended | outcome.terminated | outcome.truncated
            out.append(returns.add(observation, action, outcome._replace(reward=reward)))
        return out[2:]

    seen = np.zeros((2, 4, 1), np.bool_)
    for step, usual, strange in zip(steps, made(0.0), made(1e6), strict=False):
        np.testing.assert_array_equal(usual.reward[~seen], strange.reward[~seen])
        assert (usual.reward[seen] != strange.reward[seen]).all()
        seen |= (step[2].terminated | step[2].truncated).reshape(2, 4, 1)
    assert seen.any()
