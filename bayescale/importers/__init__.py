"""Learning curves from the logs of other tools, as validated learning-curve tables."""

from bayescale.importers.stable_baselines3 import read_stable_baselines3
from bayescale.importers.tensorboard import read_tensorboard

__all__ = ["read_stable_baselines3", "read_tensorboard"]
