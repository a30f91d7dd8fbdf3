"""Name the kinds of sources that the command `import` reads. Each kind imports its module on first use."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bayescale.importers.importer import Importer


def _cleanrl() -> "Importer":
    from bayescale.importers.kinds.cleanrl import CLEANRL

    return CLEANRL


def _csv() -> "Importer":
    from bayescale.importers.kinds.csv_tables import CSV

    return CSV


def _mlflow() -> "Importer":
    from bayescale.importers.kinds.mlflow import MLFLOW

    return MLFLOW


def _qscaled() -> "Importer":
    from bayescale.importers.kinds.qscaled import QSCALED

    return QSCALED


def _rllib() -> "Importer":
    from bayescale.importers.kinds.rllib import RLLIB

    return RLLIB


def _sb3() -> "Importer":
    from bayescale.importers.kinds.sb3_logs import SB3

    return SB3


def _spinningup() -> "Importer":
    from bayescale.importers.kinds.spinningup import SPINNINGUP

    return SPINNINGUP


def _tensorboard() -> "Importer":
    from bayescale.importers.kinds.tensorboard import TENSORBOARD

    return TENSORBOARD


def _wandb() -> "Importer":
    from bayescale.importers.kinds.wandb import WANDB

    return WANDB


KINDS: Mapping[str, Callable[[], "Importer"]] = {
    "cleanrl": _cleanrl,
    "csv": _csv,
    "mlflow": _mlflow,
    "qscaled": _qscaled,
    "rllib": _rllib,
    "sb3": _sb3,
    "spinningup": _spinningup,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
}
