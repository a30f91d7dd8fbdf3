"""Run one side of a training benchmark as a separate process, a peer with the Python of its own environment.

`python tests/benchmarks/bench_training.py NAME WIDTH` warms up and prints "ready". Then it reads lines from standard
input. For every line it works some seconds and prints the amount of work: agent updates, or flops for `products`. Each
side uses one thread, Pendulum-v1, batch size 256 and one update per env step. Stepping the environment and filling the
replay buffer count; evaluations are left out.

BENCH_DEVICE is torch's name of the device; JAX picks its own. On a GPU a line may hold the number of updates of each
agent. BENCH_MEMBERS is the size of our ensembles, by default the size in a sweep. BENCH_SEEDS is the number of seeds
that rejax trains at once.
"""

import os
import sys
import timeit
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bayescale.runners import RunConfig

BATCH_SIZE, WARMUP = 256, 256
UPDATES = {64: 4_000, 256: 400}  # updates of one process per line, by width; slower peers do a part of them
GPU_UPDATES = 1_000  # updates of each agent per line at any width: on a GPU many agents take as long as one
DEVICE = os.environ.get("BENCH_DEVICE", "cpu")
Work = Callable[..., float]  # takes the updates of each agent, or none


def each(updates: int, agents: int = 1) -> int:
    """Return the updates of each agent per line; on a CPU the agents of a process share `updates`."""
    return updates // agents if DEVICE == "cpu" else GPU_UPDATES


def bayescale(width: int) -> Work:
    from bayescale.runners import SACConfig

    def config(seed: int, updates: int) -> SACConfig:
        return SACConfig(
            env_id="Pendulum-v1",
            utd=1.0,
            batch_size=BATCH_SIZE,
            learning_rate=3e-4,
            seed=seed,
            env_steps=WARMUP + updates,
            hidden_width=width,
            warmup_steps=WARMUP,
            evaluation_interval=10**9,  # only at the first and the last step
            evaluation_episodes=1,
            device=DEVICE,
        )

    return _ensembles(config, UPDATES[width], shortest=20)


def _ensembles(config: "Callable[[int, int], RunConfig]", updates: int, shortest: int) -> Work:
    """Return work that trains an ensemble of `config(seed, updates)` per line."""
    from bayescale.runners import run_ensemble
    from bayescale.runners.training.ensembles import members_at_most

    members = int(os.environ.get("BENCH_MEMBERS", "0")) or members_at_most(config(0, updates))

    def work(updates: int = each(updates, members)) -> float:
        results = run_ensemble([config(seed, updates) for seed in range(members)])
        return sum(result.gradient_updates for result in results)

    work(shortest)
    return work


BRO_BATCH_SIZE, BRO_UPDATES = 128, 192  # updates of one process per line; the peer does a sixteenth of them


def bayescale_bro(width: int) -> Work:
    from bayescale.runners import BROConfig

    def config(seed: int, updates: int) -> BROConfig:
        return BROConfig(
            env_id="Pendulum-v1",
            utd=1.0,
            batch_size=BRO_BATCH_SIZE,
            learning_rate=3e-4,
            seed=seed,
            env_steps=BRO_BATCH_SIZE + updates,
            hidden_width=width,
            warmup_steps=BRO_BATCH_SIZE,
            evaluation_interval=10**9,
            evaluation_episodes=1,
            device=DEVICE,
        )

    return _ensembles(config, BRO_UPDATES, shortest=5)


def plain_torch_bro(width: int) -> Work:
    import torch
    from bench_bro import PlainBRO

    torch.set_num_threads(1)
    agent = PlainBRO(width, BRO_BATCH_SIZE, BRO_BATCH_SIZE, DEVICE)
    agent.work(2)
    updates = each(BRO_UPDATES // 16)
    return lambda updates=updates: agent.work(updates)


PQL_BATCH_SIZE, PQL_UPDATES = 512, 3_200  # updates of one process per line; the peer does a fifth of them


def bayescale_pql(width: int) -> Work:
    from bench_pql import ENVS, RATIO

    from bayescale.runners import PQLConfig

    def config(seed: int, updates: int) -> PQLConfig:
        return PQLConfig(
            env_id="Pendulum-v1",
            utd=RATIO / ENVS,
            batch_size=PQL_BATCH_SIZE,
            learning_rate=5e-4,
            seed=seed,
            env_steps=(32 + updates // RATIO) * ENVS,
            hidden_width=width,
            depth=2,
            num_envs=ENVS,
            warmup_steps=32 * ENVS,
            evaluation_interval=10**9 // ENVS * ENVS,
            evaluation_episodes=1,
            device=DEVICE,
        )

    return _ensembles(config, PQL_UPDATES, shortest=16)


def plain_torch_pql(width: int) -> Work:
    import torch
    from bench_pql import PlainPQL

    torch.set_num_threads(1)
    agent = PlainPQL(width, PQL_BATCH_SIZE, DEVICE)
    agent.work(16)
    updates = each(PQL_UPDATES // 5)
    return lambda updates=updates: agent.work(updates)


def stable_baselines3(width: int) -> Work:
    import torch
    from stable_baselines3 import SAC

    torch.set_num_threads(1)
    return _baselines(SAC, width, each(UPDATES[width] // 16 + 50), device=DEVICE)


def sbx(width: int) -> Work:
    from sbx import SAC

    return _baselines(SAC, width, each(UPDATES[width] // 4))


def _baselines(algorithm: type, width: int, updates: int, **settings: object) -> Work:
    agent = algorithm(
        "MlpPolicy",
        "Pendulum-v1",
        batch_size=BATCH_SIZE,
        learning_starts=WARMUP,
        policy_kwargs={"net_arch": [width, width]},
        **settings,
    )
    agent.learn(WARMUP + 50)

    def work(updates: int = updates) -> float:
        agent.learn(updates, reset_num_timesteps=False)
        return updates

    return work


def rejax(width: int) -> Work:
    import jax
    from rejax import get_algo

    seeds = int(os.environ.get("BENCH_SEEDS", "4"))
    steps = BATCH_SIZE + UPDATES[width] // seeds if DEVICE == "cpu" else REJAX_STEPS
    agent = get_algo("sac").create(
        env="Pendulum-v1",
        hidden_layer_sizes=(width, width),
        batch_size=BATCH_SIZE,
        fill_buffer=BATCH_SIZE,
        buffer_size=10_000,
        total_timesteps=steps,
        eval_freq=steps,
        skip_initial_evaluation=True,
    )
    agent = agent.replace(eval_callback=lambda _agent, state, _rng: state.global_step)
    if DEVICE != "cpu":
        return _continued(agent, seeds)
    train = jax.jit(jax.vmap(agent.train)).lower(jax.random.split(jax.random.key(0), seeds)).compile()
    keys = iter(range(10**9))

    def work() -> float:
        _, steps = jax.block_until_ready(train(jax.random.split(jax.random.key(next(keys)), seeds)))
        return float(steps.sum()) - seeds * BATCH_SIZE

    work()
    return work


REJAX_STEPS = 64  # steps of each seed in one compiled piece of a continued training


def _continued(agent: Any, seeds: int) -> Work:
    """Return work that continues the same agents in compiled pieces, because a line on a GPU may have any length."""
    import jax

    train = jax.jit(jax.vmap(lambda state: agent.train(train_state=state)[0]), donate_argnums=0)
    state = jax.jit(jax.vmap(agent.init_state))(jax.random.split(jax.random.key(0), seeds))

    def work(updates: int = GPU_UPDATES) -> float:
        nonlocal state
        pieces = -(-updates // REJAX_STEPS)
        for _ in range(pieces):
            state = train(state)
        jax.block_until_ready(state)
        return float(pieces * REJAX_STEPS * seeds)

    work(BATCH_SIZE + 1)
    return work


def products(_width: int) -> Work:
    """Measure the machine's limit: square products that fit the cache, with the fastest library for them."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(1)
    threadpool_limits(1, user_api="blas")
    a, b, out = (torch.rand(512, 512) for _ in range(3))
    ways: list[Callable[[], object]] = [
        partial(torch.mm, a, b, out=out),
        partial(np.matmul, a.numpy(), b.numpy(), out=out.numpy()),
    ]
    if torch.backends.mkldnn.is_available():
        ways.append(partial(torch.ops.mkldnn._linear_pointwise, a, b, None, "none", [], ""))
    fastest = min(ways, key=lambda way: min(timeit.repeat(way, number=100)))

    def work(repeats: int = 2_000) -> float:
        for _ in range(repeats):
            fastest()
        return 2.0 * 512**3 * repeats

    return work


def main() -> None:
    """Print "ready", then answer every line."""
    sides = {
        "bayescale": bayescale,
        "bayescale-bro": bayescale_bro,
        "plain-torch-bro": plain_torch_bro,
        "bayescale-pql": bayescale_pql,
        "plain-torch-pql": plain_torch_pql,
        "stable-baselines3": stable_baselines3,
        "sbx": sbx,
        "rejax": rejax,
        "products": products,
    }
    work = sides[sys.argv[1]](int(sys.argv[2]))
    print("ready", flush=True)
    for line in sys.stdin:
        print(work(*map(int, line.split())), flush=True)


if __name__ == "__main__":
    main()
