"""The processor: what it is, which vector instructions are used, and how to ask for fewer.

Sums of floating-point numbers differ in their last bits between instruction sets, so a result
says on what it was made, and the numeric tests are run under every set the processor has
(`make test-cpus`). No torch here; where a process has it loaded, it is asked.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""What an artifact was made on, where that was not recorded."""
PRECISIONS = (
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE", "DIFFUSERS_ATTN_BACKEND"),
)
"""Variables by which libraries compute what is float32 at another precision."""
_USUAL = ("", "0", "STRICT", "strict", "native")
_CPUINFO = Path("/proc/cpuinfo")
_AVX2 = frozenset({"avx2", "fma"})
_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Environment variables that make numerical libraries use certain vector instructions.

    Attributes:
        name: short, for logs.
        variables: to be set before torch and numpy are imported; None is a variable to remove.
        missing: why this processor cannot run it (or why it would be another setting over
            again), or None.
    """

    name: str
    variables: Mapping[str, str | None] = field(default_factory=dict)
    missing: str | None = None

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return `base`, by default this process's variables, with the setting's in it."""
        given = {**(os.environ if base is None else base), **_UNSET, **self.variables}
        return {name: value for name, value in given.items() if value is not None}


_UNSET: dict[str, str | None] = dict.fromkeys(
    (
        "ATEN_CPU_CAPABILITY",
        "ONEDNN_MAX_CPU_ISA",
        "DNNL_MAX_CPU_ISA",
        "MKL_ENABLE_INSTRUCTIONS",
        "OPENBLAS_CORETYPE",
        "NPY_DISABLE_CPU_FEATURES",
    )
)


def settings(flags: frozenset[str] | None = None) -> tuple[Setting, ...]:
    """Return every setting worth a run, those that this processor lacks with the reason.

    The processor's own choice; ATen's kernels without vector instructions, with AVX2 and with
    AVX-512; and all libraries (ATen, oneDNN, MKL, OpenBLAS, numpy) as on an AVX2 processor.

    Args:
        flags: as `/proc/cpuinfo` names them; by default this processor's.
    """
    has = cpu_flags() if flags is None else flags
    best = "avx512" if has >= _AVX512 else "avx2" if has >= _AVX2 else "default"
    found = [Setting(name="as it is")]
    for capability, needs in (("default", frozenset[str]()), ("avx2", _AVX2), ("avx512", _AVX512)):
        missing = None
        if not has >= needs:
            missing = f"the processor has no {', '.join(sorted(needs - has))}"
        elif capability == best:
            missing = "the processor's own choice"
        variables = {"ATEN_CPU_CAPABILITY": capability}
        found.append(Setting(name=f"aten {capability}", variables=variables, missing=missing))
    narrow: dict[str, str | None] = {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
        "NPY_DISABLE_CPU_FEATURES": " ".join(_numpy_beyond_avx2()) or None,
    }
    missing = None
    if not has >= _AVX2:
        missing = f"the processor has no {', '.join(sorted(_AVX2 - has))}"
    elif best == "avx2":
        missing = "the processor's own choice"
    found.append(Setting(name="all avx2", variables=narrow, missing=missing))
    return tuple(found)


def _numpy_beyond_avx2() -> list[str]:
    """Return the features that numpy would use beyond AVX2, by its names for them."""
    try:
        built = import_module("numpy._core._multiarray_umath")
    except ImportError:
        return []
    has: dict[str, bool] = built.__cpu_features__
    beyond = [name for name in built.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4"))]
    return [name for name in beyond if has[name]]


@cache
def cpu_flags() -> frozenset[str]:
    """Return the instruction sets as `/proc/cpuinfo` names them; empty where there is none."""
    return frozenset(_cpuinfo("flags").split())


def has_bfloat16(flags: frozenset[str] | None = None) -> bool:
    """Whether arithmetic in bfloat16 is faster than in float32; True where that is not known.

    Args:
        flags: as `/proc/cpuinfo` names them; by default this processor's.
    """
    has = cpu_flags() if flags is None else flags
    return not has or bool(has & _BFLOAT16)


@cache
def cpu_model() -> str:
    """Return the processor's name, e.g. `Intel(R) Xeon(R) Processor @ 2.80GHz`."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(key: str) -> str:
    try:
        lines = _CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return ""


def made_on(provenance: Mapping[str, Any]) -> str:
    """Return on what an artifact was made, in words.

    The GPU by its name, otherwise the processor and the instructions torch used, and with either
    the variables by which libraries computed at another precision; `UNKNOWN` for an artifact that
    was made before this was recorded.

    Args:
        provenance: as in a manifest.
    """
    device, found = provenance.get("device"), provenance.get("processor")
    if device and not str(device).startswith("cpu"):
        words = [str(device)]
    elif found:
        words = [str(found[key]) for key in ("model", "instructions") if found.get(key)]
    else:
        return UNKNOWN
    set_ = provenance.get("environment") or {}
    words += [f"{k}={set_[k]}" for k in PRECISIONS if set_.get(k, "") not in _USUAL]
    return ", ".join(words)


def describe() -> dict[str, Any]:
    """Return `model`, and what torch uses of it: `instructions` and `threads`.

    Both are None where this process has not imported torch.
    """
    torch = sys.modules.get("torch")
    return {
        "model": cpu_model(),
        "instructions": None if torch is None else torch.backends.cpu.get_cpu_capability(),
        "threads": None if torch is None else torch.get_num_threads(),
    }
