"""Updates and exploration of PQL against a slow twin, and the independence of an ensemble's members."""

import dataclasses
import functools

import pytest
import torch
from torch import Tensor

from bayescale.runners import PQLConfig
from bayescale.runners.algorithms.learner import Batch
from bayescale.runners.algorithms.pql import PQL, Agent
from bayescale.runners.networks.dense import Layers
from tests.scaffolding import learner_twins
from tests.scaffolding.learner_twins import ACTION, OBSERVATION, slow_forward, stream
from tests.scaffolding.pql_twins import CONFIG

torch.set_num_threads(1)

MEMBERS = [
    CONFIG,
    dataclasses.replace(CONFIG, seed=1, learning_rate=3e-3),
    dataclasses.replace(CONFIG, seed=2, gamma=0.9, tau=0.2),
]


batch_of = functools.partial(
    learner_twins.batch_of, reward_scale=10.0
)  # large rewards, which make some gradients exceed the norm


def new_pql(configs: list[PQLConfig]) -> PQL:
    return PQL(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def tensors(pql: PQL, member: int) -> list[Tensor]:
    agent = pql.agent(member)
    return [*agent.actor, *agent.critics, *agent.target_critics, agent.mean, agent.std]


def slow_updates(
    agent: Agent, config: PQLConfig, updates: int
) -> tuple[Layers, Layers, Layers, list[float], dict[int, float]]:
    """Return actor, critics, targets, gradient norms and last losses of one agent, by autograd and AdamW."""
    generator = stream(config.seed + 10)
    actor, critics = ([layer.clone().requires_grad_() for layer in part] for part in (agent.actor, agent.critics))
    targets = [layer.clone() for layer in agent.target_critics]
    optimizers = [
        torch.optim.AdamW(layers, config.learning_rate, weight_decay=config.weight_decay) for layers in (critics, actor)
    ]
    norms, losses = [], {}

    def act(observation: Tensor) -> Tensor:
        return torch.tanh(slow_forward(actor, observation[None])[0])

    def q(networks: Layers, observation: Tensor, action: Tensor) -> Tensor:
        return slow_forward(networks, torch.cat((observation, action), -1).expand(2, -1, -1))[..., 0]

    def descend(loss: Tensor, optimizer: torch.optim.Optimizer, layers: Layers) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        norms.append(torch.nn.utils.clip_grad_norm_(layers, config.gradient_norm).item())
        optimizer.step()
        losses[optimizers.index(optimizer)] = loss.item()

    for i in range(updates):
        batch = Batch(*(column[0] for column in batch_of([config.seed + 1000 * i])))
        s, s_next = ((part.T - agent.mean) / agent.std for part in (batch.observation, batch.next_observation))
        noise = torch.empty(ACTION, len(s)).normal_(generator=generator).T * config.target_noise
        next_action = (act(s_next) + noise.clamp(-config.target_noise_bound, config.target_noise_bound)).clamp(-1, 1)
        y = (batch.reward + batch.discount * q(targets, s_next, next_action).amin(0)).detach()
        descend(((q(critics, s, batch.action.T) - y) ** 2).mean(-1).sum(), optimizers[0], critics)
        for new, old in zip(critics, targets, strict=True):
            old.copy_((1 - config.tau) * old + config.tau * new.detach())
        if (i + 1) % config.critic_actor_ratio == 0:
            descend(-q(critics, s, act(s)).amin(0).mean(), optimizers[1], actor)
    return actor, critics, targets, norms, losses


@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("ratio", [1, 2, 3])
def test_updates_against_autograd(ratio: int) -> None:
    members = [dataclasses.replace(config, critic_actor_ratio=ratio, target_noise_bound=1.2) for config in MEMBERS]
    pql = new_pql(members)
    pql.normalizer.see(3 + 2 * torch.randn(3, 50, OBSERVATION, generator=stream()))
    before = [pql.agent(i) for i in range(3)]
    for agent in before:
        for layer, target in zip(agent.critics, agent.target_critics, strict=True):
            assert torch.equal(layer, target)
    noise = [stream(config.seed + 10) for config in members]
    for i in range(7):
        losses = pql.update(batch_of([config.seed + 1000 * i for config in members]), noise)
    clipped = []
    for i, config in enumerate(members):
        with torch.enable_grad():
            *expected, norms, slow_losses = slow_updates(before[i], config, 7)
        ours = pql.agent(i)
        for part, layers in zip((ours.actor, ours.critics, ours.target_critics), expected, strict=True):
            for layer, twin in zip(part, layers, strict=True):
                torch.testing.assert_close(layer, twin.detach(), rtol=1e-6, atol=1e-9)
        assert (losses.critic[i].item(), losses.actor[i].item()) == pytest.approx((slow_losses[0], slow_losses[1]))
        clipped += [norm > config.gradient_norm for norm in norms]
    assert any(clipped)
    assert not all(clipped)


def test_no_member_sees_another() -> None:
    sound, spoilt = new_pql(MEMBERS), new_pql(MEMBERS)
    for layer in spoilt.critics:
        layer[2:4] = torch.nan
    for i in range(3):
        batch = batch_of([config.seed + 1000 * i for config in MEMBERS])
        broken = Batch(*(column.clone() for column in batch))
        broken.observation[1] = torch.nan
        observations = torch.randn(3, 4, OBSERVATION, generator=stream(i))
        strange = observations.clone()
        strange[1] = torch.nan
        for pql, seen, drawn in ((sound, observations, batch), (spoilt, strange, broken)):
            pql.explore(seen, [stream(j) for j in range(3)])
            losses = pql.update(drawn, [stream(j) for j in range(3)])
    for member in (0, 2):
        for ours, theirs in zip(tensors(sound, member), tensors(spoilt, member), strict=True):
            torch.testing.assert_close(ours, theirs, atol=0.0, rtol=0.0)
    assert torch.isnan(losses.critic[1])
    assert torch.isnan(tensors(spoilt, 1)[0]).any()


def test_observations_that_are_acted_on_scale_those_that_come_and_evaluations_do_not() -> None:
    pql, expected = new_pql(MEMBERS), new_pql(MEMBERS).normalizer
    seen = 3 + 2 * torch.randn(3, CONFIG.num_envs, OBSERVATION, generator=stream())
    pql.explore(seen, [stream(i) for i in range(3)])
    pql.greedy(seen + 5)
    expected.see(seen)
    assert (pql.normalizer.mean > 1).any()
    assert torch.equal(pql.normalizer.mean, expected.mean)
    assert torch.equal(pql.normalizer.std, expected.std)


def test_exploration_grows_from_environment_to_environment() -> None:
    pql = new_pql([dataclasses.replace(CONFIG, num_envs=5, env_steps=200, warmup_steps=80, noise_high=0.85)] * 2)
    observations = torch.zeros(2, 5, OBSERVATION)
    noise = torch.stack([pql.explore(observations, [stream(i), stream(i + 500)]) for i in range(400)])
    free = noise - pql.greedy(observations)
    inside = noise.abs() < 1.0  # the others were clipped
    assert noise.abs().max() == 1.0
    spread = torch.stack([free[:, 0, j][inside[:, 0, j]].std() for j in range(5)])
    assert spread[0] == pytest.approx(0.05, rel=0.1)
    assert (spread.diff() > 0.05).all()
    first = torch.randn(5, ACTION, generator=stream(0))
    sizes = torch.tensor([0.05, 0.25, 0.45, 0.65, 0.85])[:, None]
    torch.testing.assert_close(noise[0, 0], (pql.greedy(observations)[0] + sizes * first).clamp(-1, 1))
    assert not torch.equal(noise[0, 0], noise[0, 1])
