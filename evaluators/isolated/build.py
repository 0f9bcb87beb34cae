"""Building a worker's Python environment from the package index."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
import venv
from importlib.util import find_spec
from pathlib import Path

from bench.api.errors import BenchError, PrerequisiteError
from bench.assets.places import offline
from bench.read.text import read_bytes, read_text
from bench.store import DISK
from evaluators.isolated.environments import Environment
from evaluators.isolated.process import Limits, WorkerProcess

LOG = logging.getLogger(__name__)

CARD = "environment.json"
_LINES = 15


def build_environment(environment: Environment, *, again: bool = False) -> Path:
    """Make the environment and return its interpreter; one that fits its lock file stays.

    It is made in a folder of its own, tried by having its worker say hello, and only then put in
    place: what is there is whole.

    Args:
        environment: which.
        again: make it anew in any case.

    Raises:
        PrerequisiteError: it cannot be made from the index, pip is missing, or the network is off.
        BenchError: pip fails.
        WorkerError: pip installed other versions than the lock file's.
        StoreError: the disk fails.
    """
    if environment.by_hand:
        raise PrerequisiteError(
            f"the environment {environment.name} cannot be built from the package index",
            fix=environment.fix,
        )
    home, wanted = environment.home, _lock_hash(environment)
    if not again and _built(home) == wanted:
        return home / "bin" / "python"
    if offline():
        raise PrerequisiteError(
            f"the environment {environment.name} is not at {home}, and the network is off",
            fix=f"without --offline and HF_HUB_OFFLINE: {environment.fix}",
        )
    if find_spec("pip") is None:
        raise PrerequisiteError(
            f"the Python that runs this ({sys.executable}) has no pip to build with",
            fix=f"{sys.executable} -m ensurepip, then {environment.fix}",
        )
    DISK.makedirs(home.parent)
    work = Path(tempfile.mkdtemp(prefix=f".{environment.name}-", dir=home.parent))
    try:
        python = _fill(environment, work)
        _try(environment, python)
        DISK.write_atomically(work / CARD, json.dumps({"lock_sha256": wanted}).encode())
        if home.exists():
            DISK.remove_tree(home)
        DISK.replace(work, home)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return home / "bin" / "python"


def _lock_hash(environment: Environment) -> str:
    """Return what the environment is made from; a sharing one also depends on what it shares."""
    data = read_bytes(environment.requirements)
    if environment.shares:
        data += "\0".join(_shared_folders()).encode()
    return hashlib.sha256(data).hexdigest()


def _built(home: Path) -> str | None:
    try:
        card = json.loads(read_text(home / CARD))
        return str(card["lock_sha256"])
    except (OSError, ValueError, KeyError):
        return None


def _fill(environment: Environment, folder: Path) -> Path:
    venv.EnvBuilder(symlinks=True, with_pip=False, clear=True).create(folder)
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    command += ["--disable-pip-version-check", "--requirement", str(environment.requirements)]
    if not environment.dependencies:
        command.append("--no-deps")
    LOG.info("%s", " ".join(command))
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")},
    )
    if done.returncode:
        lines = "\n    ".join((done.stdout + done.stderr).splitlines()[-_LINES:])
        raise BenchError(f"pip could not build the environment {environment.name}:\n    {lines}")
    packages = Path(sysconfig.get_path("purelib", "venv", vars={"base": str(folder)}))
    if environment.shares:
        # after pip, which must not see what it must not touch; behind the environment's own
        text = "\n".join(_shared_folders()) + "\n"
        DISK.write_atomically(packages / "shared.pth", text.encode())
    if environment.vocabulary:
        _copy_vocabulary(packages / environment.vocabulary)
    return python


def _shared_folders() -> list[str]:
    folders = dict.fromkeys(site.getsitepackages())
    return [folder for folder in folders if Path(folder).is_dir()]


def _copy_vocabulary(folder: Path) -> None:
    """Copy open_clip's vocabulary file, which the wheel of hpsv2 1.2.0 lacks, to where it looks."""
    spec = find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise PrerequisiteError(
            "open_clip is not installed; the environment takes its vocabulary file",
            fix="pip install open_clip_torch",
        )
    name = "bpe_simple_vocab_16e6.txt.gz"
    DISK.write_atomically(folder / name, read_bytes(Path(spec.origin).parent / name))


def _try(environment: Environment, python: Path) -> None:
    """Have the worker of the new environment say hello, and check what it has."""
    with WorkerProcess(environment.command(python), Limits(), describe=True) as worker:
        environment.check_versions(worker.hello)
