import collections
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from bayescale.errors import BayeScaleError
from bayescale.runners import RunConfig, SACConfig, run_ensemble
from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.training.checkpoints import Checkpoints
from bayescale.runners.training.state import set_state, state_of
from tests.scaffolding.interrupted_runs import SMALL, assert_same, whole_and_resumed

SAC = SACConfig("InvertedPendulum-v5", **SMALL)


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

    model_size, matrix_product_flops = 10, 100

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
        run_ensemble(configs, on_progress=shares.append, checkpoints=Checkpoints(path, seconds=1e9))
    assert shares == []
    assert run_ensemble(configs)[0].env_steps == 90, "it trains without checkpoints"


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
