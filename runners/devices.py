"""The processor that networks and replay live on, by the name that a plan gives it.

The groups of a sweep that are under way share a GPU, which updates the networks of some while the cores step the
environments of others. Their operations take turns there, unless NVIDIA's MPS runs (`nvidia-cuda-mps-control -d`): with
it 8 groups of 15 agents of width 256 did 30,500 updates a second on an H100, 28,100 without, one group alone 19,400.
"""

import torch

from bayescale.errors import InputError


def find_device(name: str) -> torch.device:
    """The device.

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
    """The name of the GPU, as its driver gives it; None for a CPU."""
    device = torch.device(name)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else None
