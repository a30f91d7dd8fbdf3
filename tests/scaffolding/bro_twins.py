"""Small runs of BRO, ensembles after some updates, and slow twins of its networks and losses."""

import dataclasses

import torch
from torch import Tensor
from torch.nn.functional import huber_loss, layer_norm

from bayescale.runners import BROConfig
from bayescale.runners.algorithms.bro import BRO
from bayescale.runners.algorithms.quantiles import midpoints
from bayescale.runners.networks.dense import Layers
from tests.scaffolding.learner_twins import ACTION, OBSERVATION, after_updates, stream

CONFIG = BROConfig(
    env_id="Pendulum-v1",
    utd=1.0,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=12,
    warmup_steps=40,
    buffer_size=100,
    evaluation_interval=40,
    evaluation_episodes=2,
    actor_width=10,
    quantiles=6,
)

MEMBERS = [
    CONFIG,
    dataclasses.replace(CONFIG, seed=1, learning_rate=3e-3),
    dataclasses.replace(CONFIG, seed=2, gamma=0.9, tau=0.1),
]


def new_bro(configs: list[BROConfig]) -> BRO:
    return BRO(configs, OBSERVATION, ACTION, [stream(config.seed) for config in configs])


def updated(configs: list[BROConfig], updates: int) -> BRO:
    """Return the ensemble after some updates on fixed batches, with a new batch for every update."""
    return after_updates(new_bro(configs), configs, updates)


def explorer(bro: BRO, member: int) -> Layers:
    assert bro.optimist is not None
    return [layer[member : member + 1].clone() for layer in bro.optimist.layers]


def tensors(bro: BRO, member: int) -> list[Tensor]:
    agent, optimist = bro.agent(member), bro.optimist
    learned = [*agent.actor, *agent.critics, *agent.target_critics, torch.tensor(agent.log_temperature)]
    return learned if optimist is None else [*learned, *explorer(bro, member), optimist.adjustments()[member]]


def slow_dense(layer: Tensor, inputs: Tensor) -> Tensor:
    """Return the outputs of one network's dense layer, (sample, out)."""
    return inputs @ layer[:, :-1].T + layer[:, -1]


def slow_normalised(layer: Tensor, norm: Tensor, inputs: Tensor) -> Tensor:
    """Return the outputs of one network's dense layer after torch's own LayerNorm, (sample, out)."""
    gain, shift = norm.unbind(-1)
    return layer_norm(slow_dense(layer, inputs), gain.shape, gain, shift, eps=1e-6)


def slow_forward(layers: Layers, inputs: Tensor) -> Tensor:
    """Return outputs, (network, sample, out), from inputs, (network, sample, in), network by network."""
    outputs = []
    for network in range(len(inputs)):
        *normalised, head = (layer[network] for layer in layers)
        stem, *inner = zip(normalised[::2], normalised[1::2], strict=True)
        x = torch.relu(slow_normalised(*stem, inputs[network]))
        for first, second in zip(inner[::2], inner[1::2], strict=True):
            x = x + slow_normalised(*second, torch.relu(slow_normalised(*first, x)))
        outputs.append(slow_dense(head, x))
    return torch.stack(outputs)


def slow_quantile_huber(quantiles: Tensor, targets: Tensor) -> Tensor:
    """Return losses (...,) of quantiles (..., batch, i) with targets (..., batch, j), by torch's own Huber loss."""
    q, y = torch.broadcast_tensors(quantiles[..., :, None], targets[..., None, :])
    weights = (midpoints(q.shape[-2])[:, None] - (y < q).to(q.dtype)).abs()
    return (weights * huber_loss(q, y, reduction="none")).sum(-2).mean((-1, -2))
