"""Which Python environments there are, what is in them, and where they lie."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, unknown
from bench.assets.places import cache_root
from bench.read.text import read_bytes, read_lines
from evaluators import workers
from evaluators.isolated.process import Command, Limits, WorkerError, WorkerProcess
from evaluators.workers import serve

_FOLDER = Path(workers.__file__).parent


@dataclass(frozen=True, kw_only=True)
class Environment:
    """A Python environment for one worker.

    Attributes:
        name: as in `bench assets build --env NAME`.
        folder: of its `worker.py` and its lock file `requirements.txt`, in `evaluators/workers`.
        purpose: one line.
        shares: sees the packages of the running environment behind its own, so that torch is not
            installed twice.
        dependencies: whether pip installs what the pinned packages depend on.
        vocabulary: where open_clip's vocabulary file is copied to, relative to its site-packages.
        by_hand: why it cannot be built from the package index, and how to make it; empty else.
    """

    name: str
    folder: str
    purpose: str
    shares: bool = False
    dependencies: bool = True
    vocabulary: str = ""
    by_hand: str = ""

    @property
    def worker(self) -> Path:
        """The worker's file."""
        return _FOLDER / self.folder / "worker.py"

    @property
    def requirements(self) -> Path:
        """The lock file."""
        return _FOLDER / self.folder / "requirements.txt"

    @property
    def variable(self) -> str:
        """The environment variable that names an interpreter of the user's own."""
        return "BENCH_ENV_" + self.name.upper().replace("-", "_")

    @property
    def home(self) -> Path:
        """Where `bench assets build --env` puts it."""
        return cache_root() / "envs" / self.name

    @property
    def fix(self) -> str:
        """What mends a missing environment."""
        if self.by_hand:
            return f"{self.by_hand} Then set {self.variable} to its interpreter"
        return f"python -m bench assets build --env {self.name}"

    def pins(self) -> dict[str, str]:
        """Return the pinned version by distribution; `2.28.*` allows any that begins so."""
        pins = {}
        for line in read_lines(self.requirements):
            text = line.partition("#")[0].strip()
            if text:
                name, _, version = text.partition("==")
                pins[name.strip()] = version.strip()
        return pins

    def python(self) -> Path:
        """Return the interpreter.

        Raises:
            PrerequisiteError: there is none.
        """
        given = os.environ.get(self.variable)
        if given:
            path = Path(given).expanduser()
            if not (path.is_file() and os.access(path, os.X_OK)):
                raise PrerequisiteError(
                    f"{self.variable} is {given}, which is no interpreter",
                    fix=f"unset it or name one, e.g. {self.variable}=/opt/env/bin/python",
                )
            return path
        path = self.home / "bin" / "python"
        if not path.is_file():
            raise PrerequisiteError(
                f"the Python environment {self.name} ({self.purpose}) is not on this machine: "
                f"nothing at {path}, and {self.variable} is not set",
                fix=self.fix,
            )
        return path

    def command(self, python: Path | None = None) -> Command:
        """Return how its worker is started.

        Args:
            python: the interpreter, where it is not the environment's own.

        Raises:
            PrerequisiteError: there is none.
        """
        # a worker gets its weights from the host: it has nothing to fetch
        variables = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
        return Command(
            name=self.name, python=python or self.python(), worker=self.worker, variables=variables
        )

    def describe(self) -> Mapping[str, Any]:
        """Return the hello of its worker, once per process.

        Raises:
            PrerequisiteError: it is not there.
            WorkerError: it cannot say hello, or has packages of other versions than the pins.
        """
        command = self.command()
        return _described(self, command.python, _stamp(command.python))

    def worker_sha256(self) -> str:
        """Return the sha256 of the code that runs in it: the serving loop and the worker."""
        code = read_bytes(Path(serve.__file__)) + b"\0" + read_bytes(self.worker)
        return hashlib.sha256(code).hexdigest()

    def check_versions(self, hello: Mapping[str, Any]) -> None:
        """Refuse packages of other versions than the pins (WorkerError)."""
        found = hello["packages"]
        wrong = [
            f"{name} {found[name] or 'is missing'} (expected {pin})"
            for name, pin in self.pins().items()
            if name in found and not _fits(found[name], pin)
        ]
        if wrong:
            raise WorkerError(
                f"environment {self.name} has other packages than its lock file "
                f"{self.requirements}: {', '.join(wrong)}. Its numbers would be others.\n"
                f"  to mend it: {self.fix}"
            )


def _fits(found: str | None, pin: str) -> bool:
    if found is None:
        return False
    public = found.partition("+")[0]
    return public.startswith(pin[:-1]) if pin.endswith(".*") else public == pin


def _stamp(python: Path) -> int:
    marker = python.parent.parent / "pyvenv.cfg"
    return marker.stat().st_mtime_ns if marker.is_file() else 0


@lru_cache
def _described(environment: Environment, python: Path, _stamp: int) -> Mapping[str, Any]:
    with WorkerProcess(environment.command(), Limits(), describe=True) as worker:
        environment.check_versions(worker.hello)
        return worker.hello


_MMDET = (
    "It needs MMDetection 2.x with mmcv-full compiled for this GPU, which no index has for a "
    "current torch: in a Python 3.8 with torch 1.12 install evaluators/workers/geneval_mmdet/"
    "requirements.txt (mmcv-full from its CUDA sources)."
)
_UNIDET = (
    "It needs detectron2, which no index has: in a Python 3.9 with torch 2.0 install detectron2 "
    "from its sources at commit 5aeb252, and put T2I-CompBench's UniDet_eval/experts on its path."
)
_MPLUG = (
    "It needs modelscope with what its multi-modal models import, of which no set of versions has "
    "been tried here: in a Python of its own install ELLA's requirements.txt (TencentQQGYLab/ELLA)."
)

ENVIRONMENTS: Mapping[str, Environment] = {
    e.name: e
    for e in (
        Environment(
            name="hpsv2-package",
            folder="hpsv2_package",
            purpose="the authors' hpsv2 package",
            shares=True,
            dependencies=False,
            vocabulary="hpsv2/src/open_clip",
        ),
        Environment(
            name="unifiedreward",
            folder="unifiedreward",
            purpose="UnifiedReward's Qwen2.5-VL with qwen-vl-utils",
            shares=True,
            dependencies=False,
        ),
        Environment(
            name="hpsv3",
            folder="hpsv3",
            purpose="the authors' hpsv3 package",
            shares=True,
            dependencies=False,
        ),
        Environment(name="deqa", folder="deqa", purpose="DeQA-Score's mPLUG-Owl2"),
        Environment(name="llm2clip", folder="llm2clip", purpose="OneIG's LLM2CLIP"),
        Environment(name="rapidocr", folder="rapidocr", purpose="the OCR program RapidOCR"),
        Environment(
            name="geneval-mmdet",
            folder="geneval_mmdet",
            purpose="GenEval's own detector in MMDetection",
            by_hand=_MMDET,
        ),
        Environment(
            name="compbench-unidet",
            folder="compbench_unidet",
            purpose="T2I-CompBench's UniDet in detectron2",
            by_hand=_UNIDET,
        ),
        Environment(
            name="dpg-mplug",
            folder="dpg_mplug",
            purpose="DPG-Bench's mPLUG in modelscope",
            by_hand=_MPLUG,
        ),
    )
}


def environment(name: str) -> Environment:
    """Return an environment by name (UsageError where there is none)."""
    if name not in ENVIRONMENTS:
        raise unknown("environment", name, ENVIRONMENTS)
    return ENVIRONMENTS[name]
