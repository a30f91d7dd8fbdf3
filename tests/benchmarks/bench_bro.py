"""The peer of `runner-bro`: a plain BRO for one agent, written with torch.nn, autograd and torch.optim.

Losses, networks, batch and optimisers equal those in `bayescale.runners.algorithms.bro`. The agent also steps its
environment and fills its replay buffer.
"""

import copy

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

QUANTILES = 100
TAU, GAMMA = 0.005, 0.99


def dense(inputs: int, outputs: int) -> nn.Sequential:
    """Return a dense layer followed by LayerNorm."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs, eps=1e-6))


class BroNet(nn.Module):
    """A stem, residual blocks and a linear head."""

    def __init__(self, inputs: int, width: int, blocks: int, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(dense(inputs, width), nn.ReLU())
        self.blocks = nn.ModuleList(
            nn.Sequential(dense(width, width), nn.ReLU(), dense(width, width)) for _ in range(blocks)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class PlainBRO:
    """One agent on Pendulum-v1 with its environment, replay buffer and optimisers."""

    def __init__(self, width: int, batch_size: int, warmup_steps: int, device: str = "cpu") -> None:
        self.env, self.batch_size, self.device = gymnasium.make("Pendulum-v1"), batch_size, device
        self.actor = BroNet(3, 256, 1, 2).to(device)
        self.critics = nn.ModuleList(BroNet(4, width, 2, QUANTILES) for _ in range(2)).to(device)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.explorer = BroNet(4, 256, 1, 1).to(device)
        self.log_temperature = torch.zeros((), requires_grad=True, device=device)
        self.of_critics, self.of_actor, self.of_explorer = (
            torch.optim.AdamW(learned.parameters(), lr=3e-4, weight_decay=1e-4)
            for learned in (self.critics, self.actor, self.explorer)
        )
        self.of_temperature = torch.optim.Adam([self.log_temperature], lr=3e-4, betas=(0.5, 0.999))
        self.quantile_levels = ((torch.arange(QUANTILES, device=device) + 0.5) / QUANTILES)[:, None]
        self.table = np.zeros((100_000, 9), np.float32)
        self.rows, self.rng = 0, np.random.default_rng(0)
        self.observation, _ = self.env.reset(seed=0)
        for _ in range(warmup_steps):
            self.step(self.env.action_space.sample())

    def work(self, updates: int) -> float:
        """Do `updates` env steps, each with an update, and return their number."""
        for _ in range(updates):
            with torch.no_grad():
                observation = torch.as_tensor(self.observation, device=self.device)[None]
                mean, std = self.policy(observation)
                shift = self.explorer(torch.cat((observation, mean), -1))
                action = torch.tanh(mean + shift + 0.75 * std * torch.randn(1, 1, device=self.device))
            self.step(2.0 * action[0].cpu().numpy())
            self.update()
        return updates

    def step(self, action: np.ndarray) -> None:
        observation, reward, terminated, truncated, _ = self.env.step(action)
        row = (*self.observation, *(action / 2.0), reward, *observation, terminated)
        self.table[self.rows % len(self.table)] = row
        self.rows += 1
        self.observation = self.env.reset()[0] if terminated or truncated else observation

    def policy(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, raw = self.actor(observation).chunk(2, -1)
        return mean, (-10.0 + 6.0 * (1.0 + torch.tanh(raw))).exp()

    def act(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        mean, std = self.policy(observation)
        normal = torch.distributions.Normal(mean, std)
        u = normal.rsample()
        log_slope = 2.0 * (np.log(2.0) - u - nn.functional.softplus(-2.0 * u))
        return torch.tanh(u), (normal.log_prob(u) - log_slope).sum(-1)

    def quantiles(self, critics: nn.ModuleList, observation: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat((observation, action), -1)
        return torch.stack([critic(inputs) for critic in critics])

    def quantile_huber(self, q: Tensor, y: Tensor) -> Tensor:
        u = y[:, None, :] - q[..., None]
        huber = torch.where(u.abs() <= 1.0, 0.5 * u.square(), u.abs() - 0.5)
        return ((self.quantile_levels - (u.detach() < 0).float()).abs() * huber).sum(-2).mean((-1, -2)).sum()

    def update(self) -> None:
        chosen = self.rng.integers(min(self.rows, len(self.table)), size=self.batch_size)
        rows = torch.as_tensor(self.table[chosen], device=self.device)
        s, a, reward, s_next, terminated = rows.split((3, 1, 1, 3, 1), dim=1)
        with torch.no_grad():
            temperature = self.log_temperature.exp()
            next_action, next_log_density = self.act(s_next)
            bootstrap = self.quantiles(self.targets, s_next, next_action).mean(0)
            y = reward + GAMMA * (1.0 - terminated) * (bootstrap - temperature * next_log_density[:, None])
        descend(self.quantile_huber(self.quantiles(self.critics, s, a), y), self.of_critics)
        with torch.no_grad():
            for target, critic in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(critic, TAU)
        action, log_density = self.act(s)
        value = self.quantiles(self.critics, s, action).mean((0, -1))
        descend((temperature * log_density - value).mean(), self.of_actor)
        with torch.no_grad():
            mean, std = self.policy(s)
        shift = self.explorer(torch.cat((s, mean), -1))
        both = self.quantiles(self.critics, s, torch.tanh(mean + shift + 0.75 * std * torch.randn_like(mean)))
        upper = both.mean(0) + 0.5 * (both[0] - both[1]).abs()
        descend(0.25 * (shift / std).square().sum(-1).mean() / 2.0 - upper.mean(), self.of_explorer)
        descend(self.log_temperature.exp() * (0.5 - log_density.detach().mean()), self.of_temperature)


def descend(loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
