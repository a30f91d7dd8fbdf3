"""Find the device of networks and replay by the name that a plan gives it.

The jobs of a sweep that are under way share a GPU: it updates the networks of some jobs while the cores step the
environments of others. The jobs' operations take turns on the GPU unless NVIDIA's MPS runs
(`nvidia-cuda-mps-control -d`). Measured on an H100 with 15 agents of width 256 per job: 8 jobs did 30,500 updates per
second with MPS and 28,100 without; one job alone did 19,400.
"""

import torch

from bayescale.errors import InputError


def find_device(name: str) -> torch.device:
    """Return the device with this name.

    Raises:
        InputError: it is a GPU that torch does not see here.
    """
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device '{name}' is not here: torch {torch.__version__} sees {torch.cuda.device_count()} GPUs of CUDA. "
            "Install a torch built for this machine's driver, or leave device out for the CPU."
        )
    return device


def gpu_name(name: str) -> str | None:
    """Return the name that the GPU's driver gives; None for a CPU."""
    device = torch.device(name)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None
