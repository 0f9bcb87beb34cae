"""Where a result comes from: code, packages, machine, settings. No torch, no secrets.

Nothing here can fail a run: what cannot be found is None, with the reason where it helps.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from bench.store import processor

# fmt: off
PACKAGES = (
    "align-bench", "accelerate", "clean-fid", "diffusers", "numpy", "open_clip_torch", "peft",
    "pillow", "pyarrow", "pyyaml", "ray", "safetensors", "scipy", "tokenizers", "torch",
    "torchvision", "transformers",
)
# fmt: on
"""The distributions whose versions are recorded; those not installed are left out."""

_VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "NVIDIA_TF32_OVERRIDE", "ACCELERATE_MIXED_PRECISION")
_VARIABLE_PREFIXES = (
    *("TORCH_", "OMP_", "MKL_", "KMP_", "CUDA_VISIBLE_DEVICES", "CUDNN_"),
    *("PYTORCH_", "DIFFUSERS_"),
    # which vector instructions are used: bench/store/processor.py
    *("ATEN_", "ONEDNN_", "DNNL_", "OPENBLAS_", "NPY_DISABLE_", "NPY_ENABLE_"),
)
_SECRET_NAME = re.compile(
    r"^token$|(hf|hub|access|auth|api|bearer)_?token$|secret|passw(or)?d|credential"
    r"|(api|private|access)_?key",
    re.IGNORECASE,
)
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s'\"<>]+)")
# what keys look like: of the hub, of endpoints, of code hosts and clouds, JSON web tokens
_TOKEN = re.compile(
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[opsu]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}"
    r"|xox[abp]-[\w-]{8,}|AKIA[0-9A-Z]{12,}|eyJ[\w-]{8,}\.[\w-]{8,}(?:\.[\w-]+)?)"
)
_NAMED = re.compile(
    r"((?:token|secret|passw(?:or)?d|api[_-]?key|authorization|bearer)[\"']?\s*[=: ]\s*)[^\s,;&]+",
    re.IGNORECASE,
)
_REMOVED = "(removed)"
_SHORTEST_SECRET = 8
_GIT_SECONDS = 60


def collect(*, device: str | None = None, wall_seconds: float | None = None) -> dict[str, Any]:
    """Return the provenance of what this process has just made.

    Args:
        device: what the numbers were computed on, e.g. `"cpu"` or the name of the GPU.
        wall_seconds: how long it took.
    """
    import platform

    return {
        "git": git_state(),
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "host": platform.node(),
        "pid": os.getpid(),
        "device": device,
        "processor": processor.describe(),
        "environment": environment(),
        "wall_seconds": wall_seconds,
        "peak_rss_mb": peak_rss_mb(),
        "recorded": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


@cache
def git_state(folder: Path | None = None) -> dict[str, Any]:
    """Return commit, dirtiness and origin of the repository that tracks this package.

    Args:
        folder: a folder of the package, by default that of `bench`. A repository that merely
            surrounds it (site-packages beneath somebody's project) is not taken for its own.

    Returns:
        `commit` (40 digits), `dirty`, `dirty_sha256` (over `git diff HEAD` and the untracked
        .py files; None when clean), `origin` without credentials; or all None and `reason`.
        Looked up once per process.
    """
    import subprocess

    here = Path(__file__).resolve().parents[1] if folder is None else folder.resolve()
    state: dict[str, Any] = dict.fromkeys(("commit", "dirty", "dirty_sha256", "origin"))
    try:
        _git(here, "ls-files", "--error-unmatch", "__init__.py")
        top = Path(_git(here, "rev-parse", "--show-toplevel").decode().rstrip("\n"))
        state["commit"] = _git(top, "rev-parse", "HEAD").decode().strip()
        digest = _dirty_digest(top)
    except FileNotFoundError:
        return {**state, "reason": "git is not installed"}
    except subprocess.TimeoutExpired:
        return {**state, "reason": f"git took longer than {_GIT_SECONDS} s"}
    except (subprocess.CalledProcessError, OSError) as error:
        output = getattr(error, "stderr", None) or b""
        lines = output.decode(errors="replace").strip().splitlines()
        return {**state, "reason": lines[0] if lines else str(error)}
    state |= {"dirty": digest is not None, "dirty_sha256": digest}
    try:
        url = _git(top, "config", "--get", "remote.origin.url").decode(errors="replace").strip()
        state["origin"] = strip_credentials(url)
    except (subprocess.SubprocessError, OSError):
        state["origin"] = None
    return state


def _dirty_digest(top: Path) -> str | None:
    options = "--no-ext-diff --no-textconv --no-color --full-index --src-prefix=a/ --dst-prefix=b/"
    difference = _git(top, "diff", *options.split(), "HEAD")
    listing = _git(top, "ls-files", "-z", "--others", "--exclude-standard", "--", "*.py")
    untracked = sorted(name for name in listing.split(b"\0") if name)
    if not difference and not untracked:
        return None
    digest = hashlib.sha256(difference)
    for name in untracked:
        content = (top / os.fsdecode(name)).read_bytes()
        digest.update(b"\0" + name + b"\0" + hashlib.sha256(content).digest())
    return digest.hexdigest()


def _git(folder: Path, *arguments: str) -> bytes:
    import subprocess

    # GIT_DIR and its like, set inside a hook, would point git at another repository.
    variables = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**variables, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=_GIT_SECONDS,
    ).stdout


def strip_credentials(url: str) -> str:
    """Return `url` without user, password, token or query.

    >>> strip_credentials("https://user:token@host.org/group/project.git")
    'https://host.org/group/project.git'
    """
    scheme, separator, rest = url.partition("://")
    if not separator:
        # user@host:path, as ssh takes it; a plain path has no "@" before a colon
        head, colon, tail = url.partition(":")
        return head.rpartition("@")[2] + colon + tail
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    port = host.rpartition(":")[2] if ":" in host and not host.endswith("]") else ""
    if port and not port.isdigit():
        # no port but a password that itself holds a "/"
        _, at, after = path.rpartition("@")
        return f"{scheme}://{after}" if at else f"{scheme}://(removed)"
    return f"{scheme}://{host}{slash}{path}"


def is_secret(name: str) -> bool:
    """Whether a variable or a key of that name holds what nobody else should read."""
    return _SECRET_NAME.search(name) is not None


def scrubbed(value: Any) -> Any:
    """Return JSON-able `value` without credentials in URLs and values under secret-like keys."""
    if isinstance(value, Mapping):
        return {
            k: "(removed)" if isinstance(v, str) and is_secret(k) else scrubbed(v)
            for k, v in value.items()
        }
    if isinstance(value, list | tuple):
        return [scrubbed(item) for item in value]
    if isinstance(value, str) and "://" in value and "@" in value:
        return _URL.sub(lambda match: strip_credentials(match.group(0)), value)
    return value


@cache
def package_versions() -> dict[str, str]:
    """Return the installed versions of `PACKAGES`."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def environment(variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return those environment variables that can change numbers, their values without secrets.

    A value may hold one though its name does not: an address with a password, a key among options,
    or what another variable holds under a secret-like name.
    """
    source = os.environ if variables is None else variables
    secrets = [
        value
        for name, value in source.items()
        if is_secret(name) and len(value) >= _SHORTEST_SECRET
    ]
    return {
        name: _without(source[name], secrets)
        for name in sorted(source)
        if (name in _VARIABLES or name.startswith(_VARIABLE_PREFIXES)) and not is_secret(name)
    }


def _without(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _REMOVED)
    clean: str = scrubbed(_URL.sub(lambda match: strip_credentials(match.group(0)), text))
    return _NAMED.sub(rf"\1{_REMOVED}", _TOKEN.sub(_REMOVED, clean))


def peak_rss_mb() -> float:
    """Return the largest resident memory of this process so far, in MB of 2^20 bytes."""
    # On Linux ru_maxrss of a fresh program still counts the process that started it.
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    except (OSError, ValueError, IndexError):
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 1024), 1)
