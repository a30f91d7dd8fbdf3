"""Does the SAC of bayescale.runners learn what Stable-Baselines3's SAC learns, at the same hyperparameters?

Data: case_studies/data/against_sb3.parquet holds ten seeds of each implementation on three tasks, at one update per env
step and evaluated on the same start states. `--train` makes the file anew; it needs stable-baselines3 and the extra
`dmc`.

Run time: seconds; tens of minutes with --train.

Expected result: for each evaluation, the medians of both implementations and the range of the peer's seeds; the share
of evaluations at which our median lies in that range; and a rank test of the seeds' mean returns over training. The
range of n seeds misses the true median in 2^(1-n) of cases. The implementations agree: 43 of 43 medians lie inside, the
p-values are 0.24 to 0.91. On InvertedDoublePendulum-v5, four seeds of each implementation pass a return of 9,000
between 6,500 and 8,000 env steps, so medians are least informative on that task.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import mannwhitneyu

import bayescale as bs
from bayescale.runners import SACConfig, run_ensemble
from bayescale.runners.suites.dmc import DeepMindTask
from bayescale.runners.training.evaluation import Evaluator

HERE = Path(__file__).parent
OURS, PEER = "SAC", "Stable-Baselines3 SAC"
WARMUP = 300  # env steps without learning, in both implementations
RUN = ["suite", "env_id", "utd", "batch_size", "learning_rate", "seed"]
COLUMNS = ["algorithm", *RUN, "env_steps", "episode_return"]


def settings(
    env_id: str, batch_size: int, learning_rate: float, env_steps: int, evaluation_interval: int, **more: Any
) -> SACConfig:
    """Return the settings of a short run with seed 0 at one update per env step."""
    return SACConfig(
        env_id=env_id,
        utd=1,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=0,
        env_steps=env_steps,
        evaluation_interval=evaluation_interval,
        hidden_width=64,
        warmup_steps=WARMUP,
        **more,
    )


@dataclass(frozen=True)
class Config:
    """Runs to train, seeds of each implementation, and the file of their learning curves."""

    runs: tuple[SACConfig, ...] = (
        settings("Pendulum-v1", 128, 1e-3, 4_000, 250),
        settings("InvertedDoublePendulum-v5", 96, 4e-3, 8_000, 500),
        settings("cartpole-swingup", 96, 3e-3, 6_000, 500, suite="dmc", action_repeat=8, evaluation_episodes=3),
    )
    seeds: int = 10
    curves: Path = HERE / "data" / "against_sb3.parquet"


def main(config: Config, train: bool, picture: Path | None) -> None:
    """Train if `train` is set, then compare both implementations and draw their curves."""
    if train:
        # Writing after every seed keeps the file complete if training is stopped.
        for table in training(config):
            table.to_parquet(config.curves, index=False)
    curves = bs.read_curves(config.curves)
    print(summary(curves).round(3).to_string(index=False))
    for env_id, task in curves.groupby("env_id", sort=False):
        print(f"\n{env_id}\n{by_evaluation(task).round(1).to_string()}")
    if picture is not None:
        draw(curves).savefig(picture, bbox_inches="tight")


def training(config: Config) -> Iterator[pd.DataFrame]:
    """Train our runs, then one seed of the peer at a time; yield all curves so far after each seed."""
    tables = [
        result.curve
        for run in config.runs
        for result in run_ensemble([replace(run, seed=seed) for seed in range(config.seeds)])
    ]
    for seed in range(config.seeds):
        tables += [peer_curve(replace(run, seed=seed)) for run in config.runs]
        yield pd.concat(tables, ignore_index=True)[COLUMNS]


def peer_curve(run: SACConfig) -> pd.DataFrame:
    """Train Stable-Baselines3's SAC with the settings of `run` and evaluate it on the start states of our runs."""
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    agent = SAC(
        "MlpPolicy",
        environment(run),
        learning_rate=run.learning_rate,
        batch_size=run.batch_size,
        learning_starts=run.warmup_steps,
        buffer_size=run.env_steps,
        gamma=run.gamma,
        tau=run.tau,
        policy_kwargs={"net_arch": [run.hidden_width] * run.depth},
        seed=run.seed,
        device="cpu",
    )
    evaluator = Evaluator(run.suite, run.env_id, 1, run.evaluation_episodes, run.action_repeat)

    def policy(observations: Any) -> Any:
        actions, _ = agent.predict(observations[0], deterministic=True)
        return agent.policy.scale_action(actions)[None]

    rows = []
    for env_steps in range(0, run.env_steps + 1, run.evaluation_interval):
        if env_steps:
            agent.learn(run.evaluation_interval, reset_num_timesteps=False)
        rows.append((env_steps, float(evaluator.mean_returns(policy, np.ones(1, np.bool_))[0])))
    evaluator.close()
    curve = pd.DataFrame(rows, columns=["env_steps", "episode_return"])
    return curve.assign(algorithm=PEER, **{name: getattr(run, name) for name in RUN})


def environment(run: SACConfig) -> gymnasium.Env[Any, Any]:
    """Make the task as a user of the peer makes it, without our vectorised environments."""
    if run.suite == "gym":
        return gymnasium.make(run.env_id)
    domain, _, task = run.env_id.partition("-")
    return Repeated(DeepMindTask(domain, task), run.action_repeat)


class Repeated(gymnasium.Wrapper[Any, Any, Any, Any]):
    """An environment that repeats each action `times` times and sums the rewards."""

    def __init__(self, env: gymnasium.Env[Any, Any], times: int) -> None:
        super().__init__(env)
        self._times = times

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        total_reward = 0.0
        for _ in range(self._times):
            observation, reward, terminated, truncated, info = self.env.step(action)
            total_reward += float(reward)
            if terminated or truncated:
                break
        return observation, total_reward, terminated, truncated, info


def by_evaluation(task: pd.DataFrame) -> pd.DataFrame:
    """Return both medians and the range of the peer's seeds for each evaluation; `inside` is true if it holds ours."""
    ours, peer = (task[task["algorithm"] == name].groupby("env_steps")["episode_return"] for name in (OURS, PEER))
    table = pd.DataFrame({"ours": ours.median(), "peer": peer.median(), "peer_min": peer.min(), "peer_max": peer.max()})
    return table.assign(inside=table["ours"].between(table["peer_min"], table["peer_max"]))


def summary(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the number of our medians inside and a two-sided rank test of the seeds' mean returns for each task."""
    rows = []
    for env_id, task in curves.groupby("env_id", sort=False):
        trained = by_evaluation(task).loc[WARMUP + 1 :]
        means = task.groupby(["algorithm", "seed"])["episode_return"].mean()
        rows.append(
            {
                "env_id": env_id,
                "seeds": f"{len(means[OURS])}, {len(means[PEER])}",
                "inside": f"{trained['inside'].sum()} of {len(trained)}",
                "mean_return_ours": means[OURS].median(),
                "mean_return_peer": means[PEER].median(),
                "p_value": mannwhitneyu(means[OURS], means[PEER]).pvalue,
            }
        )
    return pd.DataFrame(rows)


def draw(curves: pd.DataFrame) -> Figure:
    """Draw one panel per task, with thin lines for seeds and thick lines for medians."""
    tasks = list(curves.groupby("env_id", sort=False))
    figure = Figure(figsize=(4.4 * len(tasks), 3.6), layout="constrained")
    for i, (env_id, task) in enumerate(tasks):
        ax = figure.add_subplot(1, len(tasks), i + 1)
        for name, color in ((OURS, "C0"), (PEER, "C1")):
            by_seed = task[task["algorithm"] == name].pivot_table("episode_return", "env_steps", "seed")
            ax.plot(by_seed.index, by_seed, color=color, linewidth=0.6, alpha=0.4)
            ax.plot(by_seed.index, by_seed.median(axis=1), color=color, linewidth=2.2, label=f"{name}, median")
        ax.set_title(str(env_id))
        ax.set_xlabel("env steps")
    figure.axes[0].set_ylabel("return")
    figure.axes[0].legend()
    return figure


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="train all runs anew; needs stable-baselines3")
    parser.add_argument("--smoke", action="store_true", help="no picture")
    arguments = parser.parse_args()
    main(Config(), arguments.train, None if arguments.smoke else HERE / "sac_against_sb3.svg")
