"""What must be set in the process environment before torch is imported. No torch here."""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from pathlib import Path

_WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def cuda_requested(environ: MutableMapping[str, str] | None = None) -> bool:
    """Whether this process may want a CUDA device, told without importing torch.

    `CUDA_VISIBLE_DEVICES` decides where it is set (empty and `-1` mean none); otherwise the
    presence of the driver does.
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return _NVIDIA_DRIVER.exists()
    return visible.strip() not in ("", "-1")


def prefer_passive_waiting(environ: MutableMapping[str, str] | None = None) -> bool:
    """Let idle OpenMP threads sleep, on CPU only and only where the user set nothing.

    Threads that spin while they wait steal the cores from each other as soon as there are more
    of them than cores: on two shared cores a small UNet step was ten times slower with two
    spinning threads than with one thread.

    Returns:
        Whether `OMP_WAIT_POLICY` was set by this call.
    """
    variables = os.environ if environ is None else environ
    if any(name in variables for name in _WAIT_SETTINGS) or cuda_requested(variables):
        return False
    variables["OMP_WAIT_POLICY"] = "PASSIVE"
    return True
