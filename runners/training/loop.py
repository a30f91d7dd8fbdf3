"""Train the runs of an ensemble together: act, store, update, evaluate."""

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
from bayescale.runners.algorithms.registry import make_learner
from bayescale.runners.config import RunConfig, updates_due
from bayescale.runners.devices import find_device
from bayescale.runners.networks.random_streams import BlockStreams, advance
from bayescale.runners.suites.environments import FloatArray
from bayescale.runners.suites.logged_environments import LoggedEnvironments
from bayescale.runners.suites.tasks import make_environments
from bayescale.runners.training.checkpoints import Checkpoints, TrainingInterrupted
from bayescale.runners.training.ensembles import shared_settings
from bayescale.runners.training.evaluation import Evaluator
from bayescale.runners.training.n_step import NStepReturns
from bayescale.runners.training.replay import ReplayBuffer
from bayescale.runners.training.results import Evaluation, MemberRecords, RunEnd, RunResult, RunStatus, training_flops
from bayescale.runners.training.state import Part, Streams, set_state, state_of
from bayescale.runners.training.stopping import safely_reached


def train(config: RunConfig) -> pd.DataFrame:
    """Train one run and return its learning curve; equal configurations give equal curves on one machine.

    A run whose losses or actions stop being finite ends there, and so does a run that has safely reached its
    `stop_return`. The curve then keeps the evaluations before the end.

    Args:
        config: the settings of the run.

    Returns:
        One row per evaluation, with the columns of a learning-curve table, and the `gradient_updates` and `flops` so
        far (flops by C = 10 N B u, see `bayescale.runners.training.results.training_flops`).

    Raises:
        InputError: the task cannot be made, or the device is not here.
        MissingExtra: the suite's package is not installed.
    """
    return run_ensemble([config])[0].curve


def run_ensemble(
    configs: Sequence[RunConfig],
    *,
    on_progress: Callable[[float], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> list[RunResult]:
    """Train runs together as the members of one ensemble; return the result of each.

    Every member has its own environments, replay buffer and random streams. Its curve equals the curve of the same run
    trained alone, bit by bit where matrix products round alike in stacks of any size, else to rounding, which training
    amplifies. The same ensemble always gives the same curves. A member that diverges or stops early does not affect
    the others.

    Args:
        configs: the settings of the members, which may differ only in the fields that `RunConfig.per_member` names.
        on_progress: called after each evaluation with the share of env steps done.
        checkpoints: the file to continue from, if it exists, and to write to; it does not change the results.

    Raises:
        InputError: there are no configurations, or they differ in a field that members share; the task cannot be made;
            or the device is not here.
        MissingExtra: the suite's package is not installed.
        BayeScaleError: `checkpoints` cannot hold the algorithm's learner.
        TrainingInterrupted: `checkpoints.must_end` returned True; the last checkpoint is written.
    """
    if not configs:
        raise InputError("configs of an ensemble must have at least one member; got none. Give one or more.")
    if len({shared_settings(config) for config in configs}) != 1:
        raise InputError(
            f"the members of an ensemble may differ in {', '.join(configs[0].per_member)} only; got {list(configs)}. "
            "Train them in separate ensembles."
        )
    device = find_device(configs[0].device)
    with _one_thread(), nullcontext() if device.type == "cpu" else device:  # new tensors lie on the device
        training = _resumed(configs, checkpoints) or _Training(configs, checkpoints)
        try:
            with torch.inference_mode():  # 5% more updates than under no_grad: 4 members, width 64
                training.run(on_progress)
        finally:
            training.close()
        return [training.result(i) for i in range(len(configs))]


def _resumed(configs: Sequence[RunConfig], checkpoints: Checkpoints | None) -> "_Training | None":
    """Return the ensemble in the state of its checkpoint; None if there is no checkpoint that fits."""
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
        self._records = MemberRecords(members)
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
        self._returns = NStepReturns([config.gamma for config in configs], shared.n_step)
        self._buffer = ReplayBuffer(members, min(shared.buffer_size, shared.env_steps), *sizes, device)
        self._env_steps = self._updates = 0
        self._observations: FloatArray | None = None  # the input of the next actions
        self._stopwatch, self._energy = Stopwatch(), EnergyMeter()

    def run(self, on_progress: Callable[[float], None] | None) -> None:
        """Train until the last step, or until no member is alive."""
        shared, lap = self._shared, self._stopwatch.lap
        if self._checkpoints is not None:
            state_of(self._learned())  # raises an error now if a checkpoint cannot hold the learner
        if self._observations is None:
            self._evaluate()
            lap("evaluation")
            self._observations = self._environments.reset(self._env_seeds)
        while self._env_steps < shared.env_steps and self._records.alive.any():
            if self._checkpoints is not None and self._checkpoints.must_end():
                self._write_checkpoint()
                raise TrainingInterrupted("training was interrupted")
            self._observations = self._step(self._observations)
            lap("environment")
            self._learn()
            lap("learning")
            if self._env_steps % shared.evaluation_interval == 0 or self._env_steps == shared.env_steps:
                self._evaluate()
                lap("evaluation")
                self._energy.joules()  # read often, so that no counter wraps around twice in between
                if on_progress is not None:
                    on_progress(self._env_steps / shared.env_steps)
                self._write_checkpoint()
                lap("checkpoint")

    def result(self, member: int) -> RunResult:
        """Return the result of the member's run."""
        end = self._records.run_end(member) or RunEnd(RunStatus.FINISHED, self._env_steps, self._updates)
        return RunResult(
            curve=self._records.curve(member, self._configs[member], self._learner.model_size),
            agent=self._learner.agent(member),
            **end._asdict(),
            matrix_product_flops=self._learner.matrix_product_flops,
            seconds=dict(self._stopwatch.seconds),
            machine_joules=self._energy.joules(),
        )

    def restore(self, saved: dict[str, Any]) -> bool:
        """Bring this new ensemble to the saved state; return False if it does not fit, which spoils the ensemble."""
        run = json.loads(saved["run"])
        self._env_steps, self._updates = run["env_steps"], run["updates"]
        self._records.restore(run["records"])
        self._stopwatch.seconds.update(run["seconds"])
        self._energy.resume(run["joules"])
        if self._log is None or not set_state(self._learned(), saved["learned"]):
            return False
        steps = self._log.replay(self._env_seeds, saved["actions"].numpy(), saved["running"].numpy())
        for observations, actions, outcome in steps:
            self._returns.add(self._by_member(observations), self._by_member(actions), outcome)
            self._observations = outcome.observation
        self._stopwatch.lap("checkpoint")
        return self._observations is not None and bool((self._observations == saved["observations"].numpy()).all())

    def _by_member(self, rows: FloatArray) -> FloatArray:
        """Reshape rows of all environments to (member, environment, ...)."""
        return rows.reshape(len(self._configs), self._shared.num_envs, -1)

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(values).to(self._device)

    def _learned(self) -> dict[str, Part]:
        return {
            "learner": self._learner,
            "replay": self._buffer,
            "action_streams": Streams(self._action_streams),
            "update_streams": Streams(self._update_streams),
            "replay_streams": Streams(self._replay_streams),
        }

    def _write_checkpoint(self) -> None:
        under_way = 0 < self._env_steps < self._shared.env_steps and self._records.alive.any()
        if self._checkpoints is None or self._log is None or not under_way:
            return
        if not (self._log.complete and self._checkpoints.due()):
            return
        run = {
            "env_steps": self._env_steps,
            "updates": self._updates,
            "records": self._records.to_json(),
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
        """Do one env step of every member that is alive and return the next observations."""
        by_member = self._by_member(observations)
        if self._env_steps < self._shared.warmup_steps:
            actions = self._uniform_actions()
        else:
            actions = self._learner.explore(self._tensor(by_member), self._action_streams).cpu().numpy()
            self._end_diverged(actions)
        acting = np.repeat(self._records.alive, self._shared.num_envs)
        outcome = self._environments.step(actions.reshape(len(acting), -1), acting)
        transitions = self._returns.add(by_member, actions, outcome)
        if transitions is not None:
            self._buffer.add(transitions)
        if self._records.alive.any():
            self._env_steps += self._shared.num_envs
        return outcome.observation

    def _learn(self) -> None:
        """Do the updates that are due; a member ends at the first update whose losses are not finite."""
        due = updates_due(self._env_steps, self._shared.warmup_steps, self._shared.utd)
        if self._updates >= due or not self._records.alive.any():
            return
        losses = []
        for _ in range(self._updates, due):
            advance(self._replay_streams, self._update_streams)
            batch = self._buffer.sample(self._shared.batch_size, self._replay_streams)
            loss = self._learner.update(batch, self._update_streams)
            losses.append(loss.critic + loss.actor)
        for values in torch.stack(losses).cpu().numpy():  # one copy for all; a GPU would wait at each
            self._updates += 1
            self._end_diverged(values)

    def _uniform_actions(self) -> FloatArray:
        shape = (self._shared.num_envs, self._environments.action_size)
        drawn = [torch.empty(shape, device="cpu").uniform_(-1.0, 1.0, generator=each) for each in self._action_streams]
        return torch.stack(drawn).numpy()

    def _evaluate(self) -> None:
        returns = self._evaluator.mean_returns(
            lambda observations: self._learner.greedy(self._tensor(observations)).cpu().numpy(), self._records.alive
        )
        self._end_diverged(returns)
        flops = training_flops(self._learner.model_size, self._shared.batch_size, self._updates)
        for i in self._records.alive_members():
            self._records.add_evaluation(i, Evaluation(self._env_steps, float(returns[i]), self._updates, flops))
        if self._env_steps < self._shared.env_steps:
            self._stop_early()

    def _stop_early(self) -> None:
        stop_return, patience = self._shared.stop_return, self._shared.stop_patience
        alive = self._records.alive_members()
        reached = [i for i in alive if safely_reached(self._records.returns(i), stop_return, patience)]
        self._records.end(reached, RunEnd(RunStatus.STOPPED, self._env_steps, self._updates))

    def _end_diverged(self, values: FloatArray | NDArray[np.float64]) -> None:
        self._records.end_diverged(values, self._env_steps, self._updates)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run the block on one thread: small networks train fastest so, and curves do not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):  # the threads of NumPy's BLAS
            yield
    finally:
        torch.set_num_threads(threads)
