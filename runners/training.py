"""One training run: act, store, update, evaluate."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

import numpy as np
import pandas as pd
import torch

from bayescale.runners.config import SACConfig, updates_due
from bayescale.runners.environments import FloatArray, make_task
from bayescale.runners.evaluation import Evaluator
from bayescale.runners.networks import mean_action, parameters, sample_action
from bayescale.runners.replay import ReplayBuffer
from bayescale.runners.sac import SACState, init_state, update

FLOPS_PER_PARAMETER_AND_SAMPLE = 10  # forward target 2, forward critic 2, backward 4, forward in the actor's loss 2


class RunStatus(Enum):
    """How a run ended; the value is the word in the manifest."""

    FINISHED = "finished"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class RunResult:
    """The learning curve of one run, its agent, and how and where it ended."""

    curve: pd.DataFrame
    agent: SACState
    status: RunStatus
    env_steps: int
    gradient_updates: int


def train(config: SACConfig) -> pd.DataFrame:
    """Learning curve of one run, one row per evaluation; equal configurations give equal curves on one machine.

    The columns are those of a learning-curve table, `gradient_updates` and `flops` so far. A run whose losses or
    actions stop being finite ends there: its curve keeps the evaluations before that.
    """
    return run(config).curve


def run(config: SACConfig) -> RunResult:
    """As `train`, with the agent and the way the run ended."""
    with _one_torch_thread():
        return _run(config)


def training_flops(model_size: int, batch_size: int, gradient_updates: int) -> float:
    """Training flops C = 10 N B u, for N = `model_size` critic parameters, batch size B and u updates.

    The count of Rybkin et al. (2025): critics and target only, without the actor's own network, acting and evaluation.
    """
    return float(FLOPS_PER_PARAMETER_AND_SAMPLE * model_size * batch_size * gradient_updates)


def _run(config: SACConfig) -> RunResult:
    task, evaluator = make_task(config.env_id), Evaluator(config.env_id, config.evaluation_episodes)
    env_seed, *stream_seeds = (int(word) for word in np.random.SeedSequence(config.seed).generate_state(4))
    init_stream, action_stream, update_stream = (torch.Generator().manual_seed(seed) for seed in stream_seeds)
    state = init_state(config, task.observation_size, task.action_size, init_stream)
    model_size = sum(tensor.numel() for tensor in parameters(state.critics))
    buffer = ReplayBuffer(min(config.buffer_size, config.env_steps), task.observation_size, task.action_size)
    rows: list[tuple[int, float, int, float]] = []
    status, env_steps, updates = RunStatus.FINISHED, 0, 0

    def evaluate() -> None:
        episode_return = evaluator.mean_return(lambda observations: _greedy(state, observations))
        flops = training_flops(model_size, config.batch_size, updates)
        rows.append((env_steps, _finite(episode_return), updates, flops))

    try:
        evaluate()
        observation = task.reset(seed=env_seed)
        while env_steps < config.env_steps:
            if env_steps < config.warmup_steps:
                action = torch.empty(task.action_size).uniform_(-1.0, 1.0, generator=action_stream).numpy()
            else:
                action = _explore(state, observation, action_stream)
            next_observation, reward, terminated, truncated = task.step(action)
            buffer.add(observation, action, reward, next_observation, terminated)
            observation = task.reset() if terminated or truncated else next_observation
            env_steps += 1
            while updates < updates_due(env_steps, config.warmup_steps, config.utd):
                batch = buffer.sample(config.batch_size, update_stream)
                losses = update(state, batch, update_stream, config.gamma, config.tau)
                updates += 1
                _finite(losses.critic + losses.actor)
            if env_steps % config.evaluation_interval == 0 or env_steps == config.env_steps:
                evaluate()
    except FloatingPointError:
        status = RunStatus.DIVERGED
    finally:
        task.env.close()
        evaluator.close()

    curve = pd.DataFrame(rows, columns=["env_steps", "episode_return", "gradient_updates", "flops"])
    for position, (name, value) in enumerate(run_key(config, model_size).items()):
        curve.insert(position, name, value)
    return RunResult(curve, state, status, env_steps, updates)


def run_key(config: SACConfig, model_size: int) -> dict[str, str | float | int]:
    """The columns that tell this run from others, in the order of a learning-curve table."""
    return {
        "suite": "gym",
        "algorithm": "SAC",
        "env_id": config.env_id,
        "utd": float(config.utd),
        "batch_size": config.batch_size,
        "learning_rate": float(config.learning_rate),
        "model_size": model_size,
        "seed": config.seed,
    }


def _greedy(state: SACState, observations: FloatArray) -> FloatArray:
    with torch.inference_mode():
        return _finite_array(mean_action(state.actor, torch.from_numpy(observations)).numpy())


def _explore(state: SACState, observation: FloatArray, stream: torch.Generator) -> FloatArray:
    with torch.inference_mode():
        action, _ = sample_action(state.actor, torch.from_numpy(observation)[None], stream)
        return _finite_array(action[0].numpy())


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise FloatingPointError
    return value


def _finite_array(values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise FloatingPointError
    return values


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    """Small networks run fastest on one thread, and the number of threads must not change a curve."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
