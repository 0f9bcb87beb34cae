"""A worker that does what it is told, an environment for it, and images to score."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from bench.api.generation import ImageRecord, ImageSet
from bench.api.prompts import Prompt, PromptSuite
from evaluators.isolated import environments
from evaluators.isolated.backend import IsolatedBackend
from evaluators.isolated.environments import Environment
from evaluators.isolated.process import Limits

QUICK = Limits(hello=20.0, load=20.0, item=20.0, silence=20.0, heartbeat=0.1, stop=2.0)

WORKER = """
    import os, sys, time
    NAME, VERSION, PACKAGES = "fake", 1, ("numpy",)

    def load(options, weights, device):
        return Model(options, weights)

    class Model:
        def __init__(self, options, weights):
            self.options = options
            self.log = open(options["log"], "a")
            self.log.write("start %d\\n" % os.getpid())
            self.log.flush()

        def score(self, items):
            self.log.write("batch %d\\n" % len(items))
            self.log.flush()
            for item in items:
                self.act(self.options["acts"].get(item["id"]))
            if len(items) > self.options.get("fits", 1000):
                raise MemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return [len(item["texts"][0]) for item in items]

        def act(self, act):
            if act == "noise":
                print('{"type": "result", "id": "0/0", "value": 99}')
                print("x" * 100000)
                os.system("echo more noise; echo and more >&2")
            elif act == "crash":
                sys.stderr.write("going down\\n")
                sys.stderr.flush()
                os._exit(17)
            elif act == "crash once":
                if not os.path.exists(self.options["log"] + ".crashed"):
                    open(self.options["log"] + ".crashed", "w").close()
                    os.kill(os.getpid(), 11)
            elif act and act.startswith("say "):  # into the pipe of its results
                os.write(int(sys.argv[3]), act[4:].encode("latin-1") + b"\\n")
            elif act == "hang":
                time.sleep(600)
            elif act == "raise":
                raise ValueError("cannot read this picture")
            elif act == "child":
                import subprocess
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                self.log.write("start %d\\n" % child.pid)
                self.log.flush()
                time.sleep(600)
"""


class FakeBackend(IsolatedBackend):
    """Answers the length of an image's first text; `acts` says what happens at an image."""

    name: ClassVar[str] = "fake"
    version: ClassVar[int] = 1
    environment_name: ClassVar[str] = "fake"
    limits: ClassVar[Limits] = QUICK

    def __init__(self, folder: Path, acts: Mapping[str, str] | None = None, **more: Any) -> None:
        self.folder, self.acts, self.more = folder, dict(acts or {}), more

    def weights(self) -> Mapping[str, Path]:
        return {"weights": self.folder / "weights.bin"}

    def options(self) -> dict[str, Any]:
        return {"acts": self.acts, "log": str(self.folder / "log"), **self.more}

    def answer(
        self, value: Any, asked: Mapping[str, Any]
    ) -> tuple[dict[str, Any], Mapping[str, np.ndarray]]:
        return {"length": value}, {}

    def log(self, what: str) -> list[int]:
        """Return the numbers the worker logged after `what`."""
        lines = (self.folder / "log").read_text().splitlines()
        return [int(line.split()[1]) for line in lines if line.startswith(what)]


def fake_environment(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, worker: str = WORKER, pins: str = ""
) -> None:
    """Put a fake worker into `folder` and register its environment, the running one."""
    (folder / "worker.py").write_text(textwrap.dedent(worker))
    (folder / "requirements.txt").write_text(pins)
    (folder / "weights.bin").write_bytes(b"weights")
    environment = Environment(name="fake", folder=str(folder), purpose="a test")
    monkeypatch.setitem(environments.ENVIRONMENTS, "fake", environment)  # type: ignore[arg-type]
    monkeypatch.setenv("BENCH_ENV_FAKE", sys.executable)
    environments._described.cache_clear()


def images(folder: Path, count: int = 4, *, edge: int = 8) -> ImageSet:
    """Return `count` random pictures of as many prompts."""
    draw = np.random.default_rng(0)
    prompts, records = [], []
    for number in range(count):
        prompts.append(Prompt(id=str(number), text="a cat"[: number + 1]))
        name = f"{number}.png"
        pixels = draw.integers(0, 256, (edge, edge + 2 * number, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / name)
        records.append(ImageRecord(prompt_id=str(number), ordinal=0, path=name, sha256="", seed=0))
    suite = PromptSuite(name="fake", version="1", prompts=tuple(prompts))
    return ImageSet(root=folder, suite=suite, images_per_prompt=1, records=tuple(records))


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
