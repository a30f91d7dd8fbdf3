"""States of learners and other parts of an ensemble, saved in a checkpoint and loaded into new parts."""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Generator, Tensor, nn

from bayescale.errors import BayeScaleError
from bayescale.runners import RunConfig, SACConfig, run_ensemble
from bayescale.runners.algorithms.learner import Batch, Losses
from bayescale.runners.algorithms.registry import LEARNERS
from bayescale.runners.training.checkpoints import Checkpoints
from bayescale.runners.training.state import Streams, set_state, state_of
from tests.scaffolding.interrupted_runs import SMALL, assert_same, whole_and_resumed


@dataclasses.dataclass(frozen=True)
class AutogradConfig(SACConfig):
    algorithm: ClassVar[str] = "Autograd"


class Policies(nn.Module):
    """Linear policies in a module that holds a buffer and a plain number beside its parameters."""

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
    """A learner that imitates rewarded actions with torch's own networks, optimisers and schedules."""

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

    def state_dict(self) -> dict[str, Any]:
        return {
            "policies": self._policies.state_dict(),
            "seen": self._policies.seen,
            "calls": self._policies.calls,
            "optimisers": [each.state_dict() for each in self._optimisers],
            "schedules": [each.state_dict() for each in self._schedules],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._policies.load_state_dict(state["policies"])
        self._policies.seen.copy_(state["seen"])
        self._policies.calls = state["calls"]
        for name, parts in (("optimisers", self._optimisers), ("schedules", self._schedules)):
            for part, saved in zip(parts, state[name], strict=True):
                part.load_state_dict(saved)


class WithQueue(Autograd):
    """A learner whose state holds an object that a checkpoint cannot save."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"recent": collections.deque([0.0])}


def made_of(learner: type[Autograd], monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """Return two runs of an algorithm with this learner."""
    monkeypatch.setitem(LEARNERS, "Autograd", learner)
    config = AutogradConfig("InvertedPendulum-v5", **SMALL)
    return [config, dataclasses.replace(config, seed=1, learning_rate=3e-2)]


def test_a_learner_of_torchs_modules_and_optimisers_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, resumed, shares = whole_and_resumed(made_of(Autograd, monkeypatch), tmp_path / "checkpoint.pt")
    assert len(shares) == 2
    assert_same(whole, resumed)


def of_another_optimiser(path: Path) -> None:
    saved = torch.load(path, weights_only=True)
    saved["learned"]["learner"]["optimisers"][0]["param_groups"] = []
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


class Holder:
    """A part with state of every kind."""

    def __init__(self, seed: int) -> None:
        self.stream = torch.Generator().manual_seed(seed)
        self.table = torch.full((2, 3), float(seed))
        self.views = [self.table[0], (self.table[1], 5)]
        self.done, self.rates = seed, [0.1 * seed]
        self.scratch = {"name": "new"}

    def state_dict(self) -> dict[str, Any]:
        streams = Streams([self.stream]).state_dict()
        return {
            "streams": streams,
            "table": self.table,
            "counts": {"done": self.done, "rates": self.rates},
            "scratch": self.scratch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        Streams([self.stream]).load_state_dict(state["streams"])
        self.table.copy_(state["table"])
        self.done, self.rates = state["counts"]["done"], list(state["counts"]["rates"])


def test_state_of_every_kind_is_set_again_in_a_new_part() -> None:
    old, new = Holder(1), Holder(2)
    old.scratch["made later"] = "may be missing from a new part"
    torch.rand(3, generator=old.stream)
    old.table[1, 2] = 9.0
    state = state_of({"part": old})
    assert set(state["part"]) == {"streams", "table", "counts", "scratch"}
    assert set_state({"part": new}, state)
    seen = new.views[1][0]
    assert torch.equal(seen, torch.tensor([1.0, 1.0, 9.0])), "views see it"
    assert torch.equal(torch.rand(3, generator=new.stream), torch.rand(3, generator=old.stream))
    assert (new.done, new.rates) == (1, [0.1])


@pytest.mark.parametrize(
    "changes",
    [
        {"table": torch.zeros(2, 4)},
        {"table": torch.zeros(2, 3, dtype=torch.float64)},
        {"table": [0.0]},
        {"counts": {"done": 1}},
        {"counts": {"done": 1.0, "rates": [0.1]}},
        {"counts": {"done": 1, "rates": [0.1, 0.2]}},
        {"counts": {"done": 1, "rates": ["0.1"]}},
        {"streams": {"generators": [torch.zeros(8, dtype=torch.uint8)]}},
    ],
)
def test_a_state_that_does_not_fit_is_refused(changes: dict[str, Any]) -> None:
    state = state_of({"part": Holder(1)})
    assert set_state({"part": Holder(3)}, state)
    assert not set_state({"part": Holder(3)}, {"part": state["part"] | changes})
    for name in state["part"]:
        assert not set_state(
            {"part": Holder(3)}, {"part": {key: state["part"][key] for key in state["part"] if key != name}}
        )
    assert not set_state({"part": Holder(3)}, {})


@pytest.mark.parametrize("held", [{1}, Holder(1), (1, [torch.Generator()])])
def test_objects_are_refused_by_their_place(held: object) -> None:
    part = Holder(1)
    part.scratch = {"inner": held}  # type: ignore[dict-item]
    with pytest.raises(
        BayeScaleError, match=r"cannot hold part\.scratch\.inner(\.1\.0)?, of type (set|Holder|Generator)\."
    ):
        state_of({"part": part})
