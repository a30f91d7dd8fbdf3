"""The small PQL run of several tests."""

from bayescale.runners import PQLConfig

CONFIG = PQLConfig(
    env_id="Pendulum-v1",
    utd=0.5,
    batch_size=16,
    learning_rate=1e-3,
    seed=0,
    env_steps=120,
    hidden_width=16,
    depth=2,
    num_envs=4,
    warmup_steps=40,
    evaluation_interval=40,
    evaluation_episodes=2,
)
