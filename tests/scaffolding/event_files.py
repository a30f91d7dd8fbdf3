"""Write event files as TensorBoard reads them, by torch's SummaryWriter, and state the settings that they lack."""

from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from bayescale.importers.run_logs import ColumnMapping


def write_series(folder: Path, **series: list[tuple[int, float]]) -> Path:
    """Write series by tag, in whose name __ stands for /, and return the folder."""
    writer = SummaryWriter(str(folder))
    for tag, points in series.items():
        for step, value in points:
            writer.add_scalar(tag.replace("__", "/"), value, step)
    writer.close()
    return folder


def event_file(folder: Path) -> Path:
    """Return the one event file of a folder."""
    (file,) = folder.glob("*tfevents*")
    return file


def constants() -> ColumnMapping:
    settings = {"algorithm": "SAC", "env_id": "Ant-v4", "utd": 1, "batch_size": 256, "learning_rate": 3e-4}
    return ColumnMapping(constants=settings)
