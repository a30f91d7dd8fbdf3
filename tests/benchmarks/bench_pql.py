"""The peer of `runner-pql`: a plain PQL for one agent, written with torch.nn, autograd and torch.optim.

Losses, networks, batch, optimisers and ratios equal those in `bayescale.runners.algorithms.pql`. The agent also steps
Gymnasium's vector environment and fills its replay buffer.
"""

import copy
from collections import deque

import gymnasium
import numpy as np
import torch
from torch import Tensor, nn

ENVS, RATIO = 64, 8  # critic updates per step of all environments
N_STEP, TAU, GAMMA = 3, 0.05, 0.99


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, outputs)
    )


class PlainPQL:
    """One agent on 64 environments of Pendulum-v1 with its replay buffer and optimisers."""

    def __init__(self, width: int, batch_size: int, device: str = "cpu") -> None:
        mode = gymnasium.vector.AutoresetMode.SAME_STEP
        self.envs = gymnasium.make_vec("Pendulum-v1", ENVS, "sync", vector_kwargs={"autoreset_mode": mode})
        self.batch_size, self.device = batch_size, device
        self.actor = perceptron(3, width, 1).to(device)
        self.critics = nn.ModuleList(perceptron(4, width, 1) for _ in range(2)).to(device)
        self.targets = copy.deepcopy(self.critics).requires_grad_(False)
        self.of_critics, self.of_actor = (
            torch.optim.AdamW(learned.parameters(), lr=5e-4) for learned in (self.critics, self.actor)
        )
        self.noise = torch.linspace(0.05, 0.8, ENVS, device=device)[:, None]
        self.count, self.mean, self.squares = 1e-4, np.zeros(3), np.ones(3)
        self.table = torch.zeros(100_000, 9, device=device)
        self.rows, self.updates = 0, 0
        self.window: deque[tuple[np.ndarray, ...]] = deque(maxlen=N_STEP)
        self.observation, _ = self.envs.reset(seed=0)
        for _ in range(32):
            self.step(np.random.default_rng(0).uniform(-1.0, 1.0, (ENVS, 1)))

    def work(self, updates: int) -> float:
        """Do `updates` critic updates with their env steps and actor updates, and return the number done."""
        for _ in range(updates // RATIO):
            self.see(self.observation)
            with torch.no_grad():
                greedy = torch.tanh(self.actor(self.scaled(torch.as_tensor(self.observation, device=self.device))))
                actions = (greedy + self.noise * torch.randn_like(greedy)).clamp(-1.0, 1.0)
            self.step(actions.cpu().numpy())
            for _ in range(RATIO):
                self.update()
        return updates // RATIO * RATIO

    def see(self, observation: np.ndarray) -> None:
        total, shift = self.count + ENVS, observation.mean(0) - self.mean
        self.squares += observation.var(0) * ENVS + shift**2 * self.count * ENVS / total
        self.mean += shift * ENVS / total
        self.count = total
        self.scale = torch.as_tensor(np.sqrt(self.squares / total + 1e-5), dtype=torch.float32, device=self.device)
        self.centre = torch.as_tensor(self.mean, dtype=torch.float32, device=self.device)

    def scaled(self, observation: Tensor) -> Tensor:
        return (observation - self.centre) / self.scale

    def step(self, actions: np.ndarray) -> None:
        observation, reward, terminated, truncated, infos = self.envs.step(2.0 * actions)
        ended, final = terminated | truncated, observation.copy()
        if ended.any():
            final[ended] = np.stack(list(infos["final_obs"][ended]))
        self.window.append((self.observation, actions, reward, final, terminated, ended))
        self.observation = observation
        if len(self.window) < N_STEP:
            return
        gathered, discount, open_ = np.zeros(ENVS), np.ones(ENVS), np.ones(ENVS, bool)
        following = np.zeros((ENVS, 3))
        for _, _, rewards, finals, terminations, ends in self.window:
            gathered += np.where(open_, discount * rewards, 0.0)
            following[open_] = finals[open_]
            discount = np.where(open_, discount * GAMMA * (1.0 - terminations), discount)
            open_ = open_ & ~ends
        first, acted = self.window[0][:2]
        columns = (first, acted, gathered[:, None], following, discount[:, None])
        at = self.rows % (len(self.table) - ENVS)
        self.table[at : at + ENVS] = torch.as_tensor(np.concatenate(columns, axis=1), device=self.device)
        self.rows += ENVS

    def q(self, critics: nn.ModuleList, observation: Tensor, action: Tensor) -> Tensor:
        inputs = torch.cat((observation, action), -1)
        return torch.cat([critic(inputs) for critic in critics], -1)

    def update(self) -> None:
        chosen = torch.randint(min(self.rows, len(self.table) - ENVS), (self.batch_size,), device=self.device)
        s, a, reward, s_next, discount = self.table[chosen].split((3, 1, 1, 3, 1), dim=1)
        s, s_next = self.scaled(s), self.scaled(s_next)
        with torch.no_grad():
            greedy = torch.tanh(self.actor(s_next))
            next_action = (greedy + (0.8 * torch.randn_like(greedy)).clamp(-0.2, 0.2)).clamp(-1.0, 1.0)
            y = reward + discount * self.q(self.targets, s_next, next_action).amin(-1, keepdim=True)
        loss = (self.q(self.critics, s, a) - y).square().mean(0).sum()
        self.descend(loss, self.of_critics, self.critics)
        with torch.no_grad():
            for target, critic in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(critic, TAU)
        self.updates += 1
        if self.updates % 2 == 0:
            value = self.q(self.critics, s, torch.tanh(self.actor(s))).amin(-1)
            self.descend(-value.mean(), self.of_actor, self.actor)

    def descend(self, loss: Tensor, optimizer: torch.optim.Optimizer, learned: nn.Module) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(learned.parameters(), 0.5)
        optimizer.step()
