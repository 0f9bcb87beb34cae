"""What this machine and this installation have: one function for each part of `bench doctor`."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import __version__, torchvision_guard
from bench.api.errors import CorruptArtifactError
from bench.store.identity import HASH_LENGTH
from bench.store.processor import describe, made_on
from bench.store.surroundings import changed

REQUIRED = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "tokenizers",
    "numpy",
    "scipy",
    "pillow",
    "pyarrow",
    "pyyaml",
    "tabulate",
)
OPTIONAL = ("torchvision", "open_clip_torch", "clean-fid")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY",
    "TRANSFORMERS_OFFLINE",
)
_PUBLISHED = re.compile(rf".+-[0-9a-f]{{{HASH_LENGTH}}}")
_SECRET = ("TOKEN", "KEY", "SECRET", "PASSWORD")


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """Something wrong, how to mend it, and the exit code it asks for."""

    found: str
    mend: str
    exit_code: int

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return asdict(self)


def python() -> dict[str, Any]:
    """Return the interpreter's version and place."""
    return {
        "bench": __version__,
        "version": platform.python_version(),
        "executable": sys.executable,
        "platform": platform.platform(),
    }


def packages(problems: list[Problem]) -> dict[str, Any]:
    """Return the installed versions, None for what is not installed. Imports none of them."""
    found = {name: _version(name) for name in REQUIRED + OPTIONAL}
    missing = [name for name in REQUIRED if found[name] is None]
    if missing:
        problems.append(
            Problem(
                found=f"not installed: {', '.join(missing)}",
                mend="make venv, or pip install -c constraints.txt -e '.[metrics]'",
                exit_code=3,
            )
        )
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def torch(problems: list[Problem]) -> dict[str, Any]:
    """Import torch and return its build, devices and thread counts."""
    try:
        import torch as module
    except Exception as error:  # a broken installation raises whatever it likes
        if _version("torch") is not None:
            found = f"torch is installed but does not import: {type(error).__name__}: {error}"
            problems.append(Problem(found=found, mend=_REINSTALL, exit_code=3))
        return {"imports": False}
    cuda = module.cuda.is_available()
    return {
        "imports": True,
        "build": module.__version__,
        "built for CUDA": module.version.cuda,
        "CUDA devices": [
            module.cuda.get_device_name(i) for i in range(module.cuda.device_count() if cuda else 0)
        ],
        "threads": module.get_num_threads(),
    }


_REINSTALL = "pip install --force-reinstall -c constraints.txt torch torchvision"


def torchvision(problems: list[Problem]) -> dict[str, Any]:
    """Import torchvision, if it is installed, and return what the guard had to do."""
    if _version("torchvision") is None or _version("torch") is None:
        return {"imports": None, "guard": torchvision_guard.state().value}
    try:
        import torchvision as _module  # noqa: F401
    except Exception as error:
        found = f"torchvision is installed but does not import: {type(error).__name__}: {error}"
        problems.append(Problem(found=found, mend=_REINSTALL, exit_code=3))
        return {"imports": False, "guard": torchvision_guard.state().value}
    return {"imports": True, "guard": torchvision_guard.state().value}


def machine(store: Path) -> dict[str, Any]:
    """Return cores, memory in GB, and free disk in GB where the store is or would be."""
    folder = store.absolute()
    while not folder.exists():
        folder = folder.parent
    processor = describe()
    facts: dict[str, Any] = {
        "processor": processor["model"],
        "vector instructions": processor["instructions"],
        "cores": os.cpu_count(),
        "cores for this process": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else None,
        "memory GB": None,
        "free disk GB": round(shutil.disk_usage(folder).free / 1e9, 1),
    }
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        facts["memory GB"] = round(pages / 1e9, 1)
    return facts


def environment() -> dict[str, Any]:
    """Return the environment variables that are honoured, credentials as `set` only."""
    names = [*VARIABLES, *sorted(n for n in os.environ if n.startswith("ACCELERATE_"))]
    return {name: _shown(name) for name in names}


def _shown(name: str) -> str | None:
    value = os.environ.get(name)
    if value and any(word in name for word in _SECRET):
        return "set"
    return value and re.sub(r"//[^/@]*@", "//...@", value)  # a password in an address


def store(folder: Path, *, verify: bool, problems: list[Problem]) -> dict[str, Any]:
    """Return what the store holds, and note artifacts that are damaged.

    Args:
        folder: the store; it need not exist yet.
        verify: hash every file; otherwise manifests, sizes and times are looked at.
        problems: where damage is noted.
    """
    from bench.store import Artifact

    facts: dict[str, Any] = {"folder": str(folder), "exists": folder.is_dir()}
    if not folder.is_dir():
        return facts
    if not os.access(folder, os.W_OK):
        found = f"the store {folder} cannot be written"
        problems.append(
            Problem(
                found=found, mend="make it writable, or choose another with --store", exit_code=1
            )
        )
    kinds: Counter[str] = Counter()
    makers: Counter[str] = Counter()
    size = 0
    for path in sorted(folder.glob("[!.]*/*")):
        if not (_PUBLISHED.fullmatch(path.name) and path.is_dir()):
            continue
        mend = "run the command that made it again; it is made anew"
        try:
            artifact = Artifact(path)
            if verify:
                artifact.verify()
            fault = artifact.fault() or (changed(folder, artifact.manifest) if verify else None)
        except CorruptArtifactError as error:
            fault = str(error).partition("\n")[0]
            mend = str(error).partition("to mend it: ")[2] or mend
        if fault:
            problems.append(
                Problem(
                    found=f"{path.relative_to(folder)}: {fault}",
                    mend=mend,
                    exit_code=CorruptArtifactError.exit_code,
                )
            )
            continue
        kinds[artifact.kind] += 1
        makers[made_on(artifact.manifest.get("provenance") or {})] += 1
        size += sum(entry["size"] for entry in artifact.manifest["files"].values())
    facts |= {
        "artifacts": dict(sorted(kinds.items())),
        "made on": dict(sorted(makers.items())),
        "size GB": round(size / 1e9, 3),
        "interrupted": len(list(folder.glob("[!.]*/*.partial*"))),
        "put aside as corrupt": len(list(folder.glob(".quarantine/*/*"))),
        "every byte hashed": verify,
    }
    return facts


def shipped(problems: list[Problem]) -> dict[str, str]:
    """Return what is known of the package's own weights, and note those that were changed."""
    from bench.api.errors import BenchError
    from bench.tiny.assets import expected_hashes, weights_sha256

    facts: dict[str, str] = {}
    for name in expected_hashes():
        try:
            weights_sha256(name)
            facts[name] = "as shipped"
        except BenchError as error:
            found, _, mend = str(error).partition("\n  to mend it: ")
            facts[name] = "changed" if isinstance(error, CorruptArtifactError) else "missing"
            problems.append(Problem(found=found, mend=mend, exit_code=error.exit_code))
    return facts
