"""What must be set in the process environment before torch is imported. No torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from itertools import takewhile
from pathlib import Path

_WAIT_SETTINGS = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
_ALLOCATOR_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD", "JEMALLOC", "MIMALLOC")
_WORLD_SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
_RANK = ("RANK", "LOCAL_RANK")
KEPT_BYTES = 1 << 28
"""Blocks up to this size are taken from, and given back to, memory that the process keeps."""
_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


def cuda_requested(environ: MutableMapping[str, str] | None = None) -> bool:
    """Whether this process may want a CUDA device, told without importing torch.

    `CUDA_VISIBLE_DEVICES` decides where it is set (empty and `-1` mean none); otherwise the
    presence of the driver does.
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return _NVIDIA_DRIVER.exists()
    return visible.strip() not in ("", "-1")


def visible_gpus(environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Return what `CUDA_VISIBLE_DEVICES` may call each GPU that this process sees.

    Told without importing torch: by that variable where it is set, else by the driver's list.
    """
    visible = (os.environ if environ is None else environ).get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(str(number) for number, _ in enumerate(_NVIDIA_GPUS.glob("*")))
    names = [name.strip() for name in visible.split(",")]
    # as CUDA reads it: what follows a name that is none is not seen
    return tuple(takewhile(lambda name: name not in ("", "-1"), names))


def launched(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables by which a launcher says that this process is one of several.

    Those of torchrun and `accelerate launch`, and of MPI, which accelerate reads as well; none
    where the process is alone.
    """
    variables = os.environ if environ is None else environ
    sizes = {name: variables[name] for name in _WORLD_SIZES if name in variables}
    several = {name: text for name, text in sizes.items() if text.isdigit() and int(text) > 1}
    if "WORLD_SIZE" in several:
        several |= {name: variables[name] for name in _RANK if name in variables}
    return several


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


def keep_freed_memory(environ: MutableMapping[str, str]) -> bool:
    """Let a process started with these variables keep the memory it frees, on CPU and glibc only.

    By default glibc maps each large block anew and unmaps it when it is freed. A forward frees and
    takes the same blocks again and again, and each time the system must clear their pages: see
    docs/protocol.md for what that costs. No number depends on it. Nothing is set where the
    user set anything of the allocator's.

    Returns:
        Whether the thresholds were set by this call.
    """
    if cuda_requested(environ) or any(name.startswith(_ALLOCATOR_SETTINGS) for name in environ):
        return False
    environ["MALLOC_MMAP_THRESHOLD_"] = environ["MALLOC_TRIM_THRESHOLD_"] = str(KEPT_BYTES)
    return True
