"""Training runs, all members of an ensemble together: act, store, update, evaluate."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from bayescale.errors import InputError
from bayescale.runners.accounting import EnergyMeter, Stopwatch
from bayescale.runners.algorithms.learner import make_learner
from bayescale.runners.config import RunConfig, updates_due
from bayescale.runners.devices import find_device
from bayescale.runners.networks.random_streams import BlockStreams, advance
from bayescale.runners.suites.environments import FloatArray, make_environments
from bayescale.runners.suites.logged_environments import LoggedEnvironments
from bayescale.runners.training.checkpoints import Checkpoints
from bayescale.runners.training.ensembles import shared_settings
from bayescale.runners.training.evaluation import Evaluator
from bayescale.runners.training.n_step import Returns
from bayescale.runners.training.replay import ReplayBuffer
from bayescale.runners.training.results import RunResult, RunStatus, run_key, training_flops
from bayescale.runners.training.state import set_state, state_of
from bayescale.runners.training.stopping import safely_reached


def train(config: RunConfig) -> pd.DataFrame:
    """Learning curve of one run, one row per evaluation; equal configurations give equal curves on one machine.

    The columns are those of a learning-curve table, `gradient_updates` and `flops` so far. A run whose losses or
    actions stop being finite ends there: its curve keeps the evaluations before that. So does the curve of a run that
    has safely reached its `stop_return`.
    """
    return run_ensemble([config])[0].curve


def run_ensemble(
    configs: Sequence[RunConfig],
    on_progress: Callable[[float], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[RunResult]:
    """How each of the runs ended, with its curve and its agent; they are trained together, as one ensemble.

    A member has its own environments, replay buffer and random streams, and follows the same run trained alone: exactly
    where the matrix products round alike whatever else is in the stack, else to rounding, which training amplifies.
    The same ensemble always gives the same curves. A member may diverge or stop early; the others do not notice.

    Args:
        configs: of the members.
        on_progress: called after each evaluation with the share of environment steps done.
        checkpoints: where to go on from, if there is one, and where to write more; the results are the same.

    Raises:
        InputError: no configurations, or they differ in more than may differ within an ensemble.
        BayeScaleError: `checkpoints` cannot hold the algorithm's learner.
    """
    if not configs:
        raise InputError("configs of an ensemble must have at least one member; got none. Give one or more.")
    if len({shared_settings(config) for config in configs}) != 1:
        raise InputError(
            f"the members of an ensemble may differ in {', '.join(configs[0].own)} only; got {list(configs)}. "
            "Train them apart."
        )
    device = find_device(configs[0].device)
    with _one_thread(), nullcontext() if device.type == "cpu" else device:  # where tensors are made
        training = _resumed(configs, checkpoints) or _Training(configs, checkpoints)
        try:
            with torch.inference_mode():  # 5% more updates than under no_grad: 4 members, width 64
                training.run(on_progress)
        finally:
            training.close()
        return [training.result(i) for i in range(len(configs))]


def _resumed(configs: Sequence[RunConfig], checkpoints: Checkpoints | None) -> "_Training | None":
    """The ensemble as its checkpoint says, if there is one that can be gone on from."""
    saved = None if checkpoints is None else checkpoints.read(configs)
    if saved is None:
        return None
    training = _Training(configs, checkpoints)
    if training.restore(saved):
        return training
    training.close()
    return None


class _Training:
    """The state of an ensemble between two environment steps."""

    def __init__(self, configs: Sequence[RunConfig], checkpoints: Checkpoints | None) -> None:
        self._configs, self._shared, self._checkpoints = configs, configs[0], checkpoints
        members, shared = len(configs), self._shared
        self._device = device = torch.device(shared.device)
        environments = make_environments(shared.suite, shared.env_id, members, shared.num_envs, shared.action_repeat)
        self._log = None if checkpoints is None else LoggedEnvironments(environments)
        self._environments = self._log or environments
        self._evaluator = Evaluator(
            shared.suite, shared.env_id, members, shared.evaluation_episodes, shared.action_repeat
        )
        sizes = self._environments.observation_size, self._environments.action_size
        seeds = [[int(word) for word in np.random.SeedSequence(config.seed).generate_state(5)] for config in configs]
        self._env_seeds, *stream_seeds = zip(*seeds, strict=True)
        init_streams, self._action_streams, update_streams = (
            [torch.Generator("cpu").manual_seed(seed) for seed in column] for column in stream_seeds[:3]
        )
        self._update_streams: Sequence[torch.Generator] = update_streams
        self._replay_streams: Sequence[torch.Generator] = update_streams
        if device.type == "cuda":
            self._update_streams, self._replay_streams = (BlockStreams(column, device) for column in stream_seeds[2:])
        self._learner = make_learner(configs, *sizes, init_streams)
        self._returns = Returns([config.gamma for config in configs], shared.n_step)
        self._buffer = ReplayBuffer(members, min(shared.buffer_size, shared.env_steps), *sizes, device)
        self._env_steps = self._updates = 0
        self._alive = np.ones(members, np.bool_)
        self._ends: dict[int, tuple[RunStatus, int, int]] = {}  # of members: how, after which env steps and updates
        self._rows: list[list[tuple[int, float, int, float]]] = [[] for _ in configs]
        self._observations: FloatArray | None = None  # to act on next
        self._stopwatch, self._energy = Stopwatch(), EnergyMeter()

    def run(self, on_progress: Callable[[float], None] | None) -> None:
        """Trains until the last step, or until no member is alive."""
        shared, lap = self._shared, self._stopwatch.lap
        if self._checkpoints is not None:
            state_of(self._learned())  # refuses at once what no checkpoint can hold
        if self._observations is None:
            self._evaluate()
            lap("evaluation")
            self._observations = self._environments.reset(self._env_seeds)
        while self._env_steps < shared.env_steps and self._alive.any():
            self._observations = self._step(self._observations)
            lap("environment")
            self._learn()
            lap("learning")
            if self._env_steps % shared.evaluation_interval == 0 or self._env_steps == shared.env_steps:
                self._evaluate()
                lap("evaluation")
                self._energy.joules()  # often enough that no counter starts again twice in between
                if on_progress is not None:
                    on_progress(self._env_steps / shared.env_steps)
                self._write_checkpoint()
                lap("checkpoint")

    def result(self, member: int) -> RunResult:
        """How the member's run ended."""
        curve = pd.DataFrame(self._rows[member], columns=["env_steps", "episode_return", "gradient_updates", "flops"])
        for position, (name, value) in enumerate(run_key(self._configs[member], self._learner.model_size).items()):
            curve.insert(position, name, value)
        end = self._ends.get(member, (RunStatus.FINISHED, self._env_steps, self._updates))
        return RunResult(
            curve,
            self._learner.agent(member),
            *end,
            self._learner.update_flops,
            dict(self._stopwatch.seconds),
            self._energy.joules(),
        )

    def restore(self, saved: dict[str, Any]) -> bool:
        """Whether this ensemble, which is new, is now where `saved` was; if not it must not be used."""
        run = json.loads(saved["run"])
        self._env_steps, self._updates = run["env_steps"], run["updates"]
        self._rows = [[(steps, level, updates, flops) for steps, level, updates, flops in rows] for rows in run["rows"]]
        self._ends = {int(i): (RunStatus(status), *counts) for i, (status, *counts) in run["ends"].items()}
        self._alive[list(self._ends)] = False
        self._stopwatch.seconds.update(run["seconds"])
        self._energy.resume(run["joules"])
        if self._log is None or not set_state(self._learned(), saved["learned"]):
            return False
        steps = self._log.lead(self._env_seeds, saved["actions"].numpy(), saved["running"].numpy())
        for observations, actions, outcome in steps:
            self._returns.add(self._by_member(observations), self._by_member(actions), outcome)
            self._observations = outcome.observation
        self._stopwatch.lap("checkpoint")
        return self._observations is not None and bool((self._observations == saved["observations"].numpy()).all())

    def _by_member(self, rows: FloatArray) -> FloatArray:
        """(member, environment, ...) from (member environment, ...)."""
        return rows.reshape(len(self._alive), self._shared.num_envs, -1)

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _learned(self) -> dict[str, object]:
        return {
            "learner": self._learner,
            "replay": self._buffer,
            "action_streams": self._action_streams,
            "update_streams": self._update_streams,
            "replay_streams": self._replay_streams,
        }

    def _write_checkpoint(self) -> None:
        over = self._env_steps == self._shared.env_steps or not self._alive.any()
        if self._checkpoints is None or self._log is None or over:
            return
        if not (self._log.complete and self._checkpoints.due()):
            return
        run = {
            "env_steps": self._env_steps,
            "updates": self._updates,
            "rows": self._rows,
            "ends": {i: (status.value, *counts) for i, (status, *counts) in self._ends.items()},
            "seconds": self._stopwatch.seconds,
            "joules": self._energy.joules(),
        }
        actions, running = self._log.log()
        arrays = {"actions": actions, "running": running, "observations": self._observations}
        state: dict[str, Any] = {name: torch.from_numpy(array) for name, array in arrays.items()}
        state |= {"learned": state_of(self._learned()), "run": json.dumps(run)}
        self._checkpoints.write(self._configs, state)

    def close(self) -> None:
        """Close all environments."""
        self._environments.close()
        self._evaluator.close()

    def _step(self, observations: FloatArray) -> FloatArray:
        """The observations after one step of every member that is alive."""
        by_member = self._by_member(observations)
        if self._env_steps < self._shared.warmup_steps:
            actions = self._uniform_actions()
        else:
            actions = self._learner.explore(self._tensor(by_member), self._action_streams).cpu().numpy()
            self._keep_alive(actions)
        acting = np.repeat(self._alive, self._shared.num_envs)
        outcome = self._environments.step(actions.reshape(len(acting), -1), acting)
        transitions = self._returns.add(by_member, actions, outcome)
        if transitions is not None:
            self._buffer.add(transitions)
        if self._alive.any():
            self._env_steps += self._shared.num_envs
        return outcome.observation

    def _learn(self) -> None:
        """The updates that are due; a member whose losses are not finite ended with the update that gave them."""
        due = updates_due(self._env_steps, self._shared.warmup_steps, self._shared.utd)
        if self._updates >= due or not self._alive.any():
            return
        losses = []
        for _ in range(self._updates, due):
            advance(self._replay_streams, self._update_streams)
            batch = self._buffer.sample(self._shared.batch_size, self._replay_streams)
            of_update = self._learner.update(batch, self._update_streams)
            losses.append(of_update.critic + of_update.actor)
        for values in torch.stack(losses).cpu().numpy():  # seen together: to ask a GPU each time would make it wait
            self._updates += 1
            self._keep_alive(values)

    def _uniform_actions(self) -> FloatArray:
        shape = (self._shared.num_envs, self._environments.action_size)
        drawn = [
            torch.empty(shape, device="cpu").uniform_(-1.0, 1.0, generator=stream) for stream in self._action_streams
        ]
        return torch.stack(drawn).numpy()

    def _evaluate(self) -> None:
        returns = self._evaluator.mean_returns(
            lambda observations: self._learner.greedy(self._tensor(observations)).cpu().numpy(), self._alive
        )
        self._keep_alive(returns)
        flops = training_flops(self._learner.model_size, self._shared.batch_size, self._updates)
        for i in np.flatnonzero(self._alive).tolist():
            self._rows[i].append((self._env_steps, float(returns[i]), self._updates, flops))
        if self._env_steps < self._shared.env_steps:
            self._stop_early()

    def _stop_early(self) -> None:
        level, patience = self._shared.stop_return, self._shared.stop_patience
        returns = {i: [row[1] for row in self._rows[i]] for i in np.flatnonzero(self._alive).tolist()}
        self._end([i for i in returns if safely_reached(returns[i], level, patience)], RunStatus.STOPPED)

    def _keep_alive(self, values: NDArray[np.floating]) -> None:
        """Ends the runs of the members, along the first axis, whose values are not finite."""
        finite = np.isfinite(values)
        if finite.all():
            return
        diverged = self._alive & ~finite.reshape(len(finite), -1).all(axis=1)
        self._end(np.flatnonzero(diverged).tolist(), RunStatus.DIVERGED)

    def _end(self, members: Sequence[int], status: RunStatus) -> None:
        """Ends the runs of these members here."""
        self._alive[members] = False
        self._ends |= dict.fromkeys(members, (status, self._env_steps, self._updates))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Small networks run fastest on one thread, and the number of threads must not change a curve."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):  # NumPy's
            yield
    finally:
        torch.set_num_threads(threads)
