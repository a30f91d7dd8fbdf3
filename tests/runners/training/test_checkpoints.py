import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch

from bayescale.errors import InputError
from bayescale.runners import BROConfig, PQLConfig, RunConfig, SACConfig, run_ensemble
from bayescale.runners.suites.logged_environments import LoggedEnvironments
from bayescale.runners.training.checkpoints import Checkpoints, TrainingInterrupted
from tests.scaffolding.interrupted_runs import SMALL, assert_same, whole_and_resumed
from tests.scaffolding.probe_environments import Probe


@dataclasses.dataclass(frozen=True)
class Stepped(SACConfig):
    num_envs: int = 2
    n_step: int = 3


SAC = SACConfig("InvertedPendulum-v5", **SMALL)  # a task with short first episodes
PQL = PQLConfig("InvertedPendulum-v5", **SMALL, num_envs=2)
BRO = BROConfig("InvertedPendulum-v5", **SMALL, actor_width=16, quantiles=10, reset_interval=25)


@pytest.mark.parametrize(
    "config",
    [
        SAC,
        BRO,
        PQL,
        dataclasses.replace(SAC, env_id="Pendulum-v1"),
        dataclasses.replace(SAC, suite="dmc", env_id="cartpole-balance"),
        Stepped("InvertedPendulum-v5", **SMALL),
        dataclasses.replace(SAC, buffer_size=40),
    ],
    ids=["sac", "bro", "pql", "classic", "dmc", "several steps and environments", "overwritten replay"],
)
def test_a_resumed_ensemble_equals_one_that_was_not_killed(config: RunConfig, tmp_path: Path) -> None:
    members = [config, dataclasses.replace(config, seed=1, learning_rate=3e-3)]
    whole, resumed, shares = whole_and_resumed(members, tmp_path / "checkpoint.pt")
    assert len(shares) == 2, "of three evaluations after the first, the first was not repeated"
    assert_same(whole, resumed)


@pytest.mark.parametrize(
    "config", [SAC, BRO, PQL, Stepped("InvertedPendulum-v5", **SMALL)], ids=lambda config: type(config).__name__
)
def test_an_ensemble_that_must_end_writes_a_checkpoint_between_evaluations(config: RunConfig, tmp_path: Path) -> None:
    members = [config, dataclasses.replace(config, seed=1, learning_rate=3e-3)]
    path, steps_before = tmp_path / "checkpoint.pt", iter(range(40))

    def must_end() -> bool:
        return next(steps_before, None) is None

    with pytest.raises(TrainingInterrupted):
        run_ensemble(members, checkpoints=Checkpoints(path, seconds=1e9, must_end=must_end))
    env_steps = json.loads(torch.load(path, weights_only=True)["run"])["env_steps"]
    assert 30 < env_steps < 90
    assert env_steps % config.evaluation_interval
    shares: list[float] = []
    resumed = run_ensemble(members, on_progress=shares.append, checkpoints=Checkpoints(path, seconds=1e9))
    assert len(shares) == len([step for step in (30, 60, 90) if step > env_steps])
    assert_same(run_ensemble(members), resumed)


def test_an_ensemble_that_must_end_before_its_first_env_step_leaves_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(TrainingInterrupted):
        run_ensemble([SAC], checkpoints=Checkpoints(path, seconds=0.0, must_end=lambda: True))
    assert not path.exists()


def test_a_checkpoint_that_may_not_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "checkpoint.pt"
    Checkpoints(path, seconds=0.0).write([SAC], {"run": "first"})

    opened = open

    def refuse(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file) == str(path):
            raise PermissionError(13, "Permission denied")
        return opened(file, *arguments, **options)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(InputError, match=r"checkpoint\.pt cannot be read \(Permission denied\)\. Correct its perm"):
        run_ensemble([SAC], checkpoints=Checkpoints(path, seconds=0.0))


def test_time_for_checkpoints_is_counted_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def slow(call: Callable[..., Any]) -> Callable[..., Any]:
        def slowed(*arguments: Any) -> Any:
            clock[0] += 1.0
            return call(*arguments)

        return slowed

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(Checkpoints, "write", slow(Checkpoints.write))
    monkeypatch.setattr(LoggedEnvironments, "replay", slow(LoggedEnvironments.replay))
    _, (resumed,), _ = whole_and_resumed([SAC], tmp_path / "checkpoint.pt", killed_at=0.8)
    none = dict.fromkeys(("environment", "learning", "evaluation"), 0.0)
    assert resumed.seconds == none | {"checkpoint": 2.0}, "the first one's, before the second was written, and a replay"


def test_members_that_had_ended_stay_so(tmp_path: Path) -> None:
    members: list[RunConfig] = [dataclasses.replace(SAC, learning_rate=rate) for rate in (1e30, 1e-3)]
    whole, resumed, shares = whole_and_resumed(members, tmp_path / "checkpoint.pt")
    assert [result.status.value for result in resumed] == ["diverged", "finished"]
    assert len(shares) == 2
    assert_same(whole, resumed)


def without_its_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def of_another_version(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    torch.save(saved | {"of": saved["of"].replace('"bayescale": "', '"bayescale": "0.')}, path)


def of_other_actions(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["actions"] += 0.1
    torch.save(saved, path)


def of_another_learner(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["learned"].popitem()
    torch.save(saved, path)


@pytest.mark.parametrize(
    "spoil", [without_its_last_byte, of_another_version, of_other_actions, of_another_learner, Path.unlink]
)
def test_a_checkpoint_that_does_not_fit_is_passed_over(spoil: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    whole, repeated, shares = whole_and_resumed([SAC], path, spoil=lambda: spoil(path))
    assert len(shares) == 3, "trained from the start"
    assert_same(whole, repeated)


class Moody(Probe):
    """A probe that does not depend on its seed and actions alone."""

    episodes = 0

    def start(self) -> float:
        type(self).episodes += 1
        return self.episodes / 1000

    def outcome(self) -> Any:
        return 1.0, False, True


gymnasium.register("ProbeMoody-v0", entry_point=Moody)


def test_environments_that_cannot_be_led_back_are_begun_again(tmp_path: Path) -> None:
    _, _, shares = whole_and_resumed([dataclasses.replace(SAC, env_id="ProbeMoody-v0")], tmp_path / "checkpoint.pt")
    assert len(shares) == 3


def test_no_checkpoint_of_a_log_that_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayescale.runners.suites.logged_environments.MOST_BYTES", 40 * 4)
    run_ensemble([SAC], checkpoints=Checkpoints(tmp_path / "checkpoint.pt", seconds=0.0))
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert len(saved["actions"]) == 30, "the last one before the log was given up"


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path / "checkpoint.pt", seconds=0.0)
    checkpoints.write([SAC], {"run": "first"})

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    checkpoints.write([SAC], {"run": "second"})
    saved = checkpoints.read([SAC])
    assert saved is not None
    assert saved["run"] == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert checkpoints.read([BRO]) is None


def test_what_is_logged_leads_back() -> None:
    from bayescale.runners.suites.tasks import make_environments

    logged = LoggedEnvironments(make_environments("gym", "Pendulum-v1", 2))
    rng = np.random.default_rng(0)
    observations = logged.reset([3, 4])
    for running in ([True, True], [True, False], [False, True]):
        actions = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        observations = logged.step(actions, np.array(running)).observation
    again = LoggedEnvironments(make_environments("gym", "Pendulum-v1", 2))
    *_, (_, _, outcome) = again.replay([3, 4], *logged.log())
    np.testing.assert_array_equal(outcome.observation, observations)
    for log, copied in zip(logged.log(), again.log(), strict=True):
        np.testing.assert_array_equal(log, copied)
