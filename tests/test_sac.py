import dataclasses
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import bayescale.runners
from bayescale.curves import validate_curves
from bayescale.errors import InputError, MissingExtra
from bayescale.runners import SACConfig, train, training, update
from bayescale.runners.config import updates_due
from bayescale.runners.environments import make_task
from bayescale.runners.evaluation import FIRST_SEED, Evaluator
from bayescale.runners.networks import (
    Layers,
    forward,
    init_layers,
    mean_action,
    parameters,
    q_values,
    sample_action,
    squashed_log_density,
)
from bayescale.runners.replay import Batch, ReplayBuffer
from bayescale.runners.sac import SACState, init_state
from bayescale.runners.training import RunStatus, run
from tests import probe_environments

torch.set_num_threads(1)

PENDULUM = SACConfig(
    env_id="Pendulum-v1",
    utd=1.0,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=16,
    warmup_steps=40,
    buffer_size=100,
    evaluation_interval=40,
    evaluation_episodes=2,
)


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def probe(env_id: str, **changes: Any) -> tuple[SACState, pd.DataFrame]:
    """The agent after a run on a probe, and its curve."""
    config = SACConfig(
        env_id=env_id,
        utd=1.0,
        batch_size=32,
        learning_rate=5e-3,
        seed=0,
        env_steps=800,
        hidden_width=32,
        gamma=0.9,
        tau=0.1,
        warmup_steps=100,
        evaluation_interval=800,
        evaluation_episodes=4,
    )
    result = run(dataclasses.replace(config, **changes))
    assert result.status is RunStatus.FINISHED
    return result.agent, result.curve


def values(agent: SACState, position: float) -> np.ndarray:
    """Q of both critics at an observation, for actions across the range: (critic, action)."""
    actions = torch.linspace(-0.9, 0.9, 7)[:, None]
    with torch.no_grad():
        return q_values(agent.critics, torch.full_like(actions, position), actions).numpy()


def entropy_bonus(agent: SACState, position: float) -> float:
    """T H, temperature times entropy of the policy at an observation."""
    with torch.no_grad():
        _, log_density = sample_action(agent.actor, torch.full((4096, 1), position), stream())
        return float(-agent.log_temperature.exp() * log_density.mean())


def test_probe_constant_reward() -> None:
    agent, curve = probe("ProbeConstantReward-v0")
    np.testing.assert_allclose(values(agent, 0.0), 1.0, atol=0.03)
    assert curve["episode_return"].tolist() == [1.0, 1.0]


def test_probe_reward_seen_in_the_observation() -> None:
    agent, _ = probe("ProbeObservedReward-v0")
    np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
    np.testing.assert_allclose(values(agent, -1.0), -1.0, atol=0.05)


def test_probe_discounting_over_two_steps() -> None:
    agent, _ = probe("ProbeDelayedReward-v0")
    np.testing.assert_allclose(values(agent, 1.0), 1.0, atol=0.05)
    np.testing.assert_allclose(values(agent, 0.0), 0.9 * (1.0 + entropy_bonus(agent, 1.0)), atol=0.05)


def test_probe_reward_for_an_action_in_the_tasks_own_bounds() -> None:
    agent, curve = probe("ProbeActionReward-v0", env_steps=1200)
    assert mean_action(agent.actor, torch.zeros(1, 1)).item() == pytest.approx(0.4, abs=0.1)
    assert curve["episode_return"].iloc[-1] > -0.01


def test_probe_truncation_is_not_termination() -> None:
    agent, _ = probe("ProbeTruncated-v0", env_steps=1500)
    expected = (1.0 + 0.9 * entropy_bonus(agent, 0.0)) / (1.0 - 0.9)
    assert expected > 9.9  # far from 1, the value if truncation ended the return
    np.testing.assert_allclose(values(agent, 0.0), expected, rtol=0.05)


def test_probes_are_the_ones_described() -> None:
    """The values above are worked out for these rewards and ends of episodes."""
    env = probe_environments.ActionReward()
    env.reset(seed=0)
    assert env.step(np.array([2.0], np.float32))[1:4] == (-1.0, True, False)


@given(
    mean=st.floats(-3, 3),
    log_std=st.floats(-3, 1),
    noise=st.floats(-2, 2),
)
def test_log_density_against_torch_distributions(mean: float, log_std: float, noise: float) -> None:
    mu, s, z = (torch.tensor([[v, 0.3]], dtype=torch.float64) for v in (mean, log_std, noise))
    u = mu + s.exp() * z
    transform = torch.distributions.TanhTransform(cache_size=1)
    normal = torch.distributions.Normal(mu, s.exp())
    expected = torch.distributions.TransformedDistribution(normal, transform).log_prob(transform(u)).sum(-1)
    torch.testing.assert_close(squashed_log_density(u, z, s), expected)


def test_log_density_integrates_to_one_over_actions() -> None:
    actions = torch.linspace(-1, 1, 20_001, dtype=torch.float64)[1:-1, None]
    log_std, mean = torch.full_like(actions, -0.4), 0.7
    u = torch.atanh(actions)
    density = squashed_log_density(u, (u - mean) / log_std.exp(), log_std).exp()
    assert torch.trapezoid(density, actions[:, 0]).item() == pytest.approx(1.0, abs=1e-4)


def test_log_density_and_its_gradient_stay_finite_where_tanh_rounds_to_one() -> None:
    u = torch.tensor([[30.0], [-30.0]], requires_grad=True)
    assert (torch.tanh(u).abs() == 1.0).all()
    log_density = squashed_log_density(u, torch.zeros(2, 1), torch.zeros(2, 1))
    # log N = -log sqrt(2 pi); log(1 - tanh^2) = log 4 - 2 |u|
    expected = -0.5 * math.log(2 * math.pi) - (math.log(4.0) - 60.0)
    torch.testing.assert_close(log_density.detach(), torch.full((2,), expected))
    (gradient,) = torch.autograd.grad(log_density.sum(), u)
    assert torch.isfinite(gradient).all()


def test_sampled_actions_follow_the_policy() -> None:
    actor = init_layers([3, 8, 4], stream())
    observation = torch.randn(1, 3, generator=stream(1)).expand(20_000, 3)
    with torch.no_grad():
        action, _ = sample_action(actor, observation, stream(2))
        mean, log_std = forward(actor, observation[:1]).chunk(2, dim=-1)
        u = torch.atanh(action)
    torch.testing.assert_close(u.mean(0, keepdim=True), mean, atol=0.04, rtol=0.0)  # 4 standard errors at std 1.4
    torch.testing.assert_close(u.std(0, keepdim=True), log_std.exp(), atol=0.0, rtol=0.03)
    torch.testing.assert_close(mean_action(actor, observation[:1]).detach(), torch.tanh(mean))


def member(layers: Layers, i: int) -> Layers:
    return [(weight[i], bias[i, 0]) for weight, bias in layers]


def test_stacked_critics_equal_two_separate_ones() -> None:
    critics = init_layers([4, 8, 8, 1], stream(), members=2)
    observation, action = torch.randn(5, 3, generator=stream(1)), torch.rand(5, 1, generator=stream(2))
    stacked = q_values(critics, observation, action)
    for i in range(2):
        hidden = torch.cat((observation, action), -1)
        for n, (weight, bias) in enumerate(member(critics, i)):
            hidden = torch.nn.functional.linear(hidden, weight.T, bias)
            hidden = hidden if n == 2 else hidden.clamp(min=0.0)
        torch.testing.assert_close(stacked[i], hidden[:, 0])
    assert not torch.allclose(stacked[0], stacked[1])


def some_batch(terminated: float | None = None) -> Batch:
    generator = stream(3)
    ends = (torch.rand(16, generator=generator) < 0.3).float()
    return Batch(
        observation=torch.randn(16, 3, generator=generator),
        action=torch.rand(16, 1, generator=generator) * 2 - 1,
        reward=torch.randn(16, generator=generator),
        next_observation=torch.randn(16, 3, generator=generator),
        terminated=ends if terminated is None else torch.full((16,), terminated),
    )


def copies(layers: Layers) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in parameters(layers)]


def test_target_critics_move_by_tau() -> None:
    state = init_state(PENDULUM, 3, 1, stream())
    before = copies(state.target_critics)
    update(state, some_batch(), stream(), gamma=0.99, tau=0.25)
    for old, target, critic in zip(before, copies(state.target_critics), copies(state.critics), strict=True):
        torch.testing.assert_close(target, 0.75 * old + 0.25 * critic)
        assert not torch.equal(target, old)


def slow_update(
    actor: Layers,
    critics: list[Layers],
    targets: list[Layers],
    log_temperature: Tensor,
    optimizers: list[torch.optim.Adam],
    batch: Batch,
    generator: torch.Generator,
) -> None:
    """Haarnoja et al. line by line: two critics one after the other, densities by torch.distributions, plain Adam."""

    def act(observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = forward(actor, observation).chunk(2, -1)
        tanh = torch.distributions.TanhTransform(cache_size=1)
        policy = torch.distributions.TransformedDistribution(torch.distributions.Normal(mean, log_std.exp()), tanh)
        action = tanh(mean + log_std.exp() * torch.randn(mean.shape, generator=generator))
        return action, policy.log_prob(action).sum(-1)

    def q(critic: Layers, observation: Tensor, action: Tensor) -> Tensor:
        return forward(critic, torch.cat((observation, action), -1))[:, 0]

    temperature = log_temperature.detach().exp()
    next_action, next_log_density = act(batch.next_observation)
    next_q = torch.minimum(*(q(target, batch.next_observation, next_action) for target in targets))
    bootstrap = next_q - temperature * next_log_density
    y = (batch.reward + 0.9 * torch.where(batch.terminated == 1, 0.0, bootstrap)).detach()
    for critic, optimizer in zip(critics, optimizers[:2], strict=True):
        optimizer.zero_grad()
        torch.autograd.backward(((q(critic, batch.observation, batch.action) - y) ** 2).mean())
        optimizer.step()
    action, log_density = act(batch.observation)
    smaller = torch.minimum(*(q(critic, batch.observation, action) for critic in critics))
    optimizers[2].zero_grad()
    torch.autograd.backward((temperature * log_density - smaller).mean())
    optimizers[2].step()
    optimizers[3].zero_grad()
    torch.autograd.backward(-(log_temperature.exp() * (log_density.detach() - 1.0)).mean())
    optimizers[3].step()
    for critic, target in zip(critics, targets, strict=True):
        for new, old in zip(parameters(critic), parameters(target), strict=True):
            old.data.copy_(0.9 * old.data + 0.1 * new.data)


def test_update_equals_its_slow_twin() -> None:
    state = init_state(PENDULUM, 3, 1, stream())

    def leaf(layers: Layers) -> Layers:
        return [(w.detach().clone().requires_grad_(), b.detach().clone().requires_grad_()) for w, b in layers]

    actor = leaf(state.actor)
    critics, targets = ([leaf(member(state.critics, i)) for i in range(2)] for _ in range(2))
    log_temperature = torch.zeros((), requires_grad=True)
    learned = [*(parameters(critic) for critic in critics), parameters(actor), [log_temperature]]
    optimizers = [torch.optim.Adam(tensors, lr=PENDULUM.learning_rate, foreach=False) for tensors in learned]
    fast_noise, slow_noise = stream(7), stream(7)
    for _ in range(5):
        update(state, some_batch(), fast_noise, gamma=0.9, tau=0.1)
        slow_update(actor, critics, targets, log_temperature, optimizers, some_batch(), slow_noise)

    close: dict[str, Any] = {"atol": 2e-5, "rtol": 1e-4}
    for fast, slow in zip(parameters(state.actor), parameters(actor), strict=True):
        torch.testing.assert_close(fast, slow, **close)
    for i in range(2):
        for fast, slow in zip(parameters(member(state.critics, i)), parameters(critics[i]), strict=True):
            torch.testing.assert_close(fast, slow, **close)
        for fast, slow in zip(parameters(member(state.target_critics, i)), parameters(targets[i]), strict=True):
            torch.testing.assert_close(fast, slow.detach(), **close)
    torch.testing.assert_close(state.log_temperature, log_temperature, **close)
    assert state.log_temperature.item() == pytest.approx(-5e-3, rel=0.05)  # entropy above its target: less temperature


def test_terminated_transitions_ignore_what_follows() -> None:
    batch = some_batch(terminated=1.0)
    strange = batch._replace(next_observation=1e3 * batch.next_observation)
    losses = [update(init_state(PENDULUM, 3, 1, stream()), b, stream(), 0.99, 0.005) for b in (batch, strange)]
    assert losses[0].critic == losses[1].critic
    ongoing = [b._replace(terminated=torch.zeros(16)) for b in (batch, strange)]
    losses = [update(init_state(PENDULUM, 3, 1, stream()), b, stream(), 0.99, 0.005) for b in ongoing]
    assert losses[0].critic != losses[1].critic


def test_replay_buffer_keeps_the_newest_and_its_columns_apart() -> None:
    buffer = ReplayBuffer(3, 2, 1)
    for i in range(5):
        buffer.add(np.full(2, i), np.array([i / 10]), float(-i), np.full(2, i + 1), i == 4)
    batch = buffer.sample(200, stream())
    assert buffer.size == 3
    stored = batch.observation[:, 0]
    assert set(stored.tolist()) == {2.0, 3.0, 4.0}
    torch.testing.assert_close(batch.observation[:, 1], stored)
    torch.testing.assert_close(batch.action[:, 0], stored / 10)
    torch.testing.assert_close(batch.reward, -stored)
    torch.testing.assert_close(batch.next_observation, (stored + 1)[:, None].expand(-1, 2))
    torch.testing.assert_close(batch.terminated, (stored == 4.0).float())


@pytest.mark.parametrize(("utd", "after"), [(0.25, [0, 10, 20]), (1.0, [0, 40, 80]), (3.0, [0, 120, 240])])
def test_number_of_updates(utd: float, after: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def counted(*args, **kwargs):
        done.append(1)
        return update(*args, **kwargs)

    monkeypatch.setattr(training, "update", counted)
    config = dataclasses.replace(PENDULUM, utd=utd)
    curve = train(config)
    assert curve["env_steps"].tolist() == [0, 40, 80, 120]
    assert curve["gradient_updates"].tolist() == [0, *after]
    assert len(done) == after[-1] == config.gradient_updates


@given(utd=st.floats(0.01, 20), env_steps=st.integers(1, 2_000), warmup=st.integers(0, 500))
@settings(max_examples=50)
def test_updates_are_the_floor_of_steps_times_utd(utd: float, env_steps: int, warmup: int) -> None:
    due = updates_due(env_steps, warmup, utd)
    exact = (env_steps - warmup) * utd
    assert due == 0 if exact < 1 else due <= exact < due + 1
    assert due <= updates_due(env_steps + 1, warmup, utd)


def test_curve_is_a_valid_learning_curve_table() -> None:
    config = dataclasses.replace(PENDULUM, env_steps=100, utd=0.5)
    curve = train(config)
    pd.testing.assert_frame_equal(validate_curves(curve), curve, check_dtype=False)
    assert curve["env_steps"].tolist() == [0, 40, 80, 100]  # step 0, every 40 steps and the last
    # both critics of 4 inputs, 16, 16, 1: 2 (4*16 + 16 + 16*16 + 16 + 16 + 1)
    assert set(curve["model_size"]) == {738}
    assert curve["flops"].tolist() == [10.0 * 738 * 16 * updates for updates in (0, 0, 20, 30)]
    run_of = curve.iloc[0][["suite", "algorithm", "env_id", "utd", "batch_size", "learning_rate", "seed"]].tolist()
    assert run_of == ["gym", "SAC", "Pendulum-v1", 0.5, 16, 1e-3, 0]


def test_equal_seeds_give_equal_curves_whatever_the_global_random_state() -> None:
    torch.manual_seed(1)
    first = train(PENDULUM)
    torch.manual_seed(2)
    pd.testing.assert_frame_equal(train(PENDULUM), first, check_exact=True)
    other = train(dataclasses.replace(PENDULUM, seed=1))
    assert not (other["episode_return"] == first["episode_return"]).any()


def test_evaluation_leaves_training_alone() -> None:
    often = train(dataclasses.replace(PENDULUM, evaluation_interval=20))
    seldom = train(dataclasses.replace(PENDULUM, evaluation_interval=60))
    shared = often[often["env_steps"].isin(seldom["env_steps"])]
    assert shared["episode_return"].tolist() == seldom["episode_return"].tolist()


def test_evaluation_against_one_episode_after_another() -> None:
    def policy(observations: np.ndarray) -> np.ndarray:
        return np.asarray(np.tanh(observations[:, 2:] - observations[:, :1]))

    evaluator = Evaluator("Pendulum-v1", episodes=3)
    task, returns = make_task("Pendulum-v1"), []
    for i in range(3):
        observation, ended, total = task.reset(FIRST_SEED + i), False, 0.0
        while not ended:
            observation, reward, terminated, truncated = task.step(policy(observation[None])[0])
            ended, total = terminated or truncated, total + reward
        returns.append(total)
    assert evaluator.mean_return(policy) == pytest.approx(np.mean(returns), rel=1e-12)
    assert evaluator.mean_return(policy) == evaluator.mean_return(policy)  # the same start states again
    assert len(set(returns)) == 3


def test_a_run_that_diverges_stops_and_keeps_its_evaluations() -> None:
    result = run(dataclasses.replace(PENDULUM, learning_rate=1e30, env_steps=200))
    assert result.status is RunStatus.DIVERGED
    assert 40 < result.env_steps < 60
    assert result.curve["env_steps"].tolist() == [0, 40]
    assert np.isfinite(result.curve["episode_return"]).all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"utd": 0.0}, r"utd must be positive and finite; got 0\.0"),
        ({"utd": math.nan}, "utd must be positive and finite; got nan"),
        ({"learning_rate": math.inf}, "learning_rate must be positive and finite; got inf"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"evaluation_episodes": 0}, "evaluation_episodes must be at least 1"),
        ({"gamma": 1.5}, r"gamma must lie in \(0, 1\]; got 1\.5"),
        ({"tau": 0.0}, "tau must lie in"),
        ({"seed": -1}, "seed must not be negative; got -1"),
        ({"batch_size": 101}, r"batch_size 101 is larger than buffer_size 100\. Raise buffer_size"),
        ({"batch_size": 41}, r"batch_size 41 is larger than warmup_steps 40.*Raise warmup_steps"),
        ({"env_steps": 40}, "env_steps 40 does not exceed warmup_steps 40"),
    ],
)
def test_settings_that_make_no_run(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        dataclasses.replace(PENDULUM, **changes)


@pytest.mark.parametrize(
    ("env_id", "said"),
    [
        ("Pendulun-v1", "env_id 'Pendulun-v1' is not a registered Gymnasium task.*Did you mean"),
        ("CartPole-v1", r"acts in Discrete\(2\); SAC needs a bounded continuous vector"),
    ],
)
def test_tasks_that_sac_cannot_do(env_id: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make_task(env_id)


def test_torch_is_imported_only_when_training_starts() -> None:
    code = "import sys, bayescale.runners; sys.exit('torch' in sys.modules or 'gymnasium' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("package", ["torch", "gymnasium"])
def test_a_missing_package_names_the_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("sac", "training"):
        monkeypatch.delitem(sys.modules, f"bayescale.runners.{module}")
        monkeypatch.delattr(bayescale.runners, module)
    if package == "gymnasium":
        monkeypatch.delitem(sys.modules, "bayescale.runners.environments")
        monkeypatch.delattr(bayescale.runners, "environments")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"'{package}'; install it with: pip install 'bayescale\[runners\]'"):
        _ = bayescale.runners.train
