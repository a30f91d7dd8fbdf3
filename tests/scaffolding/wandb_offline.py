"""Write offline runs of Weights & Biases with its own library.

Run it as a process of its own: python wandb_offline.py FOLDER. FOLDER/wandb then holds the folders of three runs.
"""

import os
import sys
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {"env_id": "Ant-v4", "algo": {"name": "SAC", "lr": 3e-4, "batch_size": 256}, "utd": 2}
ROWS = 1500


def main(folder: Path) -> None:
    """Write two finished runs, with one that failed between them, in folders whose names sort in this order."""
    for name in [name for name in os.environ if name.startswith("WANDB")]:
        del os.environ[name]  # A client in the calling process names its own service there, which would write the runs.
    os.environ.update(WANDB_MODE="offline", WANDB_SILENT="true", WANDB_ERROR_REPORTING="false")
    import wandb

    settings = wandb.Settings(x_disable_stats=True, x_disable_machine_info=True, console="off")
    os.chdir(folder)
    for seed, exit_code in ((0, 0), (1, 1), (2, 0)):
        run = wandb.init(
            project="sweep",
            id=f"run{seed}",  # folders of one second are sorted by these
            name=f"<script>{seed}",
            group="g",
            config={**CONFIG, "seed": seed},
            dir=".",
            settings=settings,
        )
        for i in range(ROWS):
            run.log({"global_step": 100 * i, "charts/episodic_return": i + seed} if i % 3 == 0 else {"losses/q": 0.5})
        run.config.update({"late": 7})
        run.finish(exit_code=exit_code)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
