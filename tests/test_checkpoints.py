import collections
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch
from torch import Generator, Tensor, nn

from bayescale.errors import BayeScaleError
from bayescale.runners import BROConfig, PQLConfig, RunConfig, SACConfig, run_ensemble
from bayescale.runners.checkpoints import Checkpoints
from bayescale.runners.learner import Losses
from bayescale.runners.logged_environments import LoggedEnvironments
from bayescale.runners.replay import Batch
from bayescale.runners.results import RunResult
from bayescale.runners.state import set_state, state_of
from tests.probe_environments import Probe

SMALL: dict[str, Any] = {
    "utd": 1.0, "batch_size": 16, "learning_rate": 1e-3, "seed": 0, "env_steps": 90, "hidden_width": 16,
    "warmup_steps": 20, "evaluation_interval": 30, "evaluation_episodes": 1,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stepped(SACConfig):
    num_envs: int = 2
    n_step: int = 3


SAC = SACConfig("InvertedPendulum-v5", **SMALL)  # whose first episodes are short
PQL = PQLConfig("InvertedPendulum-v5", **SMALL, num_envs=2)
BRO = BROConfig("InvertedPendulum-v5", **SMALL, actor_width=16, quantiles=10, reset_interval=25)


class Killed(BaseException):
    """Stands for a kill: nothing catches it."""


def whole_and_resumed(
    configs: list[RunConfig], path: Path, killed_at: float = 0.5, spoil: Callable[[], None] = lambda: None
) -> tuple[list[RunResult], list[RunResult], list[float]]:
    """Results without a kill and with one amid training, and the shares that the second process came through."""
    shares: list[float] = []

    def kill(share: float) -> None:
        if share > killed_at:
            raise Killed

    with pytest.raises(Killed):
        run_ensemble(configs, kill, Checkpoints(path, seconds=0.0))
    spoil()
    return run_ensemble(configs), run_ensemble(configs, shares.append, Checkpoints(path, seconds=1e9)), shares


def assert_same(whole: list[RunResult], resumed: list[RunResult]) -> None:
    for one, other in zip(whole, resumed, strict=True):
        pd.testing.assert_frame_equal(other.curve, one.curve, check_exact=True)
        assert (other.status, other.env_steps, other.gradient_updates) == (
            one.status,
            one.env_steps,
            one.gradient_updates,
        )
        for mine, theirs in zip(other.agent, one.agent, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)


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


def test_time_for_checkpoints_is_counted_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]

    def slow(call: Callable[..., Any]) -> Callable[..., Any]:
        def slowed(*arguments: Any) -> Any:
            clock[0] += 1.0
            return call(*arguments)

        return slowed

    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    monkeypatch.setattr(Checkpoints, "write", slow(Checkpoints.write))
    monkeypatch.setattr(LoggedEnvironments, "lead", slow(LoggedEnvironments.lead))
    _, (resumed,), _ = whole_and_resumed([SAC], tmp_path / "checkpoint.pt", killed_at=0.8)
    none = dict.fromkeys(("environment", "learning", "evaluation"), 0.0)
    assert resumed.seconds == none | {"checkpoint": 2.0}, "the first one's, before the second was written, and a replay"


def test_members_that_had_ended_stay_so(tmp_path: Path) -> None:
    members: list[RunConfig] = [dataclasses.replace(SAC, learning_rate=rate) for rate in (1e30, 1e-3)]
    whole, resumed, shares = whole_and_resumed(members, tmp_path / "checkpoint.pt")
    assert [result.status.value for result in resumed] == ["diverged", "finished"]
    assert len(shares) == 2
    assert_same(whole, resumed)


@dataclasses.dataclass(frozen=True)
class AutogradConfig(SACConfig):
    algorithm: ClassVar[str] = "Autograd"


class Policies(nn.Module):
    """Linear ones, with what a module may hold beside its parameters."""

    def __init__(self, members: int, sizes: tuple[int, int], streams: Sequence[Generator]) -> None:
        super().__init__()
        self.policies = nn.ModuleList()
        self.register_buffer("seen", torch.zeros(members), persistent=False)
        self.calls = 0
        for stream in streams:
            with torch.random.fork_rng([]):
                torch.manual_seed(stream.initial_seed())
                self.policies.append(nn.Linear(*sizes))

    def forward(self, observations: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 0.1
        pairs = zip(self.policies, observations, strict=True)
        actions = torch.stack([torch.tanh(policy(each)) for policy, each in pairs])
        return actions * (1 + 0.01 * self.calls / (1 + self.seen[:, None, None]))


class Autograd:
    """Imitates actions that were rewarded, by torch's own networks, optimisers and schedules."""

    model_size, update_flops = 10, 100

    def __init__(
        self, configs: Sequence[RunConfig], observation_size: int, action_size: int, streams: Sequence[Generator]
    ) -> None:
        self._policies = Policies(len(configs), (observation_size, action_size), streams)
        parameters = zip(configs, self._policies.policies, strict=True)
        self._optimisers = [
            torch.optim.Adam(policy.parameters(), config.learning_rate) for config, policy in parameters
        ]
        self._schedules = [torch.optim.lr_scheduler.ExponentialLR(each, 0.97) for each in self._optimisers]

    def update(self, batch: Batch, _streams: Sequence[Generator]) -> Losses:
        with torch.inference_mode(False), torch.enable_grad():
            batch = Batch(*(values.clone() for values in batch))
            error = self._policies(batch.observation.mT) - batch.action.mT
            losses = (batch.reward[..., None] * error.square()).mean((1, 2))
            for optimiser in self._optimisers:
                optimiser.zero_grad()
            losses.sum().backward()
            for optimiser, schedule in zip(self._optimisers, self._schedules, strict=True):
                optimiser.step()
                schedule.step()
        return Losses(losses, losses)

    def explore(self, observations: Tensor, streams: Sequence[Generator]) -> Tensor:
        noise = [torch.randn(observations.shape[1:2], generator=stream) for stream in streams]
        return (self._policies(observations) + 0.3 * torch.stack(noise)[..., None]).clamp(-1, 1)

    def greedy(self, observations: Tensor) -> Tensor:
        return self._policies(observations)  # type: ignore[no-any-return]

    def agent(self, member: int) -> Any:
        return tuple(self._policies.policies[member].state_dict().values())


class WithQueue(Autograd):
    """Keeps what no checkpoint can hold."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.recent = collections.deque([0.0])


def made_of(learner: type[Autograd], monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Two runs of an algorithm whose learner this is."""
    module = ModuleType("bayescale.runners.autograd")
    module.__dict__["Autograd"] = learner
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for each in (Autograd, learner):
        monkeypatch.setattr(each, "__module__", module.__name__)
    config = AutogradConfig("InvertedPendulum-v5", **SMALL)
    return [config, dataclasses.replace(config, seed=1, learning_rate=3e-2)]


def test_a_learner_of_torchs_modules_and_optimisers_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, resumed, shares = whole_and_resumed(made_of(Autograd, monkeypatch), tmp_path / "checkpoint.pt")
    assert len(shares) == 2
    assert_same(whole, resumed)


def of_another_optimiser(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["learned"][".learner._optimisers.0"]["param_groups"] = []
    torch.save(saved, path)


def test_the_state_of_another_optimiser_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    configs, path = made_of(Autograd, monkeypatch), tmp_path / "checkpoint.pt"
    whole, repeated, shares = whole_and_resumed(configs, path, spoil=lambda: of_another_optimiser(path))
    assert len(shares) == 3, "trained from the start"
    assert_same(whole, repeated)


def test_what_no_checkpoint_can_hold_is_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs, path = made_of(WithQueue, monkeypatch), tmp_path / "checkpoint.pt"
    said = r"cannot hold learner\.recent, of type deque\. Keep its state in tensors.*or give it state_dict"
    shares: list[float] = []
    with pytest.raises(BayeScaleError, match=said):
        run_ensemble(configs, shares.append, Checkpoints(path, seconds=1e9))
    assert shares == []
    assert run_ensemble(configs)[0].env_steps == 90, "it trains without checkpoints"


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
    """Does not depend on its seed and actions alone."""

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
    monkeypatch.setattr("bayescale.runners.logged_environments.MOST_BYTES", 40 * 4)
    run_ensemble([SAC], None, Checkpoints(tmp_path / "checkpoint.pt", seconds=0.0))
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


@dataclasses.dataclass
class Settings:
    """Not frozen, so its numbers may change."""

    rate: float


class Holder:
    """Holds state of every kind; `bayescale` in its module's name stands for the package."""

    def __init__(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed)
        self.table = torch.full((2, 3), float(seed))
        self.views = [self.table[0], (self.table[1], 5)]
        self.counts = {"done": seed, "rates": [0.1 * seed]}
        self.array = np.full(3, float(seed))
        self.constants = (seed, SAC)
        self.frozen = SAC
        self.settings = Settings(0.5 * seed)
        self.scratch: dict[int, torch.Tensor] = {}


Holder.__module__ = "bayescale.stand_in"


def test_state_of_every_kind_is_found_once_and_set_again() -> None:
    old, new = Holder(1), Holder(2)
    old.scratch[7] = torch.zeros(2)
    torch.rand(3, generator=old.stream)
    old.table[1, 2] = 9.0
    state = state_of(old)
    assert set(state) == {
        ".stream",
        ".table",
        ".counts.done",
        ".counts.rates.0",
        ".array",
        ".settings.rate",
        ".scratch.7",
    }
    assert set_state(new, state)
    assert torch.equal(new.views[1][0], torch.tensor([1.0, 1.0, 9.0])), "views see it"
    assert torch.equal(torch.rand(3, generator=new.stream), torch.rand(3, generator=old.stream))
    assert (new.counts, new.array.tolist()) == ({"done": 1, "rates": [0.1]}, [1.0] * 3)
    assert (new.constants, new.settings.rate) == ((2, SAC), 0.5)
    del state[".array"]
    assert not set_state(Holder(3), state)
    assert not set_state(Holder(3), state | {".array": torch.zeros(4, dtype=torch.float64)})


def test_what_is_logged_leads_back() -> None:
    from bayescale.runners.environments import make_environments

    logged = LoggedEnvironments(make_environments("gym", "Pendulum-v1", 2))
    rng = np.random.default_rng(0)
    observations = logged.reset([3, 4])
    for running in ([True, True], [True, False], [False, True]):
        actions = rng.uniform(-1, 1, (2, 1)).astype(np.float32)
        observations = logged.step(actions, np.array(running)).observation
    again = LoggedEnvironments(make_environments("gym", "Pendulum-v1", 2))
    *_, (_, _, outcome) = again.lead([3, 4], *logged.log())
    np.testing.assert_array_equal(outcome.observation, observations)
    for log, copied in zip(logged.log(), again.log(), strict=True):
        np.testing.assert_array_equal(log, copied)
