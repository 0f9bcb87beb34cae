"""GPUs that `plan` can budget with: peaks from their data sheets, nothing measured. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.api.errors import unknown
from bench.config import construct, load_yaml

_FILE = Path(__file__).parent / "gpus.yaml"


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        name: what `--gpu` takes.
        title: in words.
        half_tflops: peak in bfloat16 and float16, dense, float32 sums, 1e12 operations a second.
        single_tflops: peak in float32, without TF32.
        memory_gb: 1e9 bytes.
        bandwidth: of its memory, 1e9 bytes a second.
        source: of the figures.
    """

    name: str
    title: str
    half_tflops: float
    single_tflops: float
    memory_gb: float
    bandwidth: float
    source: str


@cache
def gpus() -> Mapping[str, Gpu]:
    """Return the GPUs by name (UsageError naming the key in a wrong file)."""
    return {
        name: construct(Gpu, data, f"gpus.{name}", name=name)
        for name, data in load_yaml(_FILE).items()
    }


def gpu(name: str) -> Gpu:
    """Return a GPU by name (UsageError: it is unknown)."""
    if name not in gpus():
        raise unknown("GPU", name, gpus())
    return gpus()[name]
