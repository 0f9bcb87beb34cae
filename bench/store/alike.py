"""What another machine has: this package, the libraries, the store. Asked before work is sent.

Sent there as it stands (`bench.executors.cluster` pickles it by value), so it imports nothing of
this package: a machine where the package is missing, or is another one, can say so.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PACKAGES = ("bench", "methods", "evaluators")
_KINDS = (".py", ".yaml", ".json", ".txt")


def source() -> str | None:
    """Return a hash of this package's files as they are imported here, None where it is not."""
    found = hashlib.sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            return None
        folder = Path(spec.origin).parent
        for file in sorted(f for f in folder.rglob("*") if f.suffix in _KINDS and f.is_file()):
            found.update(f"{package}/{file.relative_to(folder).as_posix()}\0".encode())
            found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:12]


def installed(packages: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages here, those of Python and of this package's own source."""
    found = {"Python": platform.python_version(), "align-bench's source": source() or "missing"}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def look(token: str, answer: str, packages: Sequence[str]) -> dict[str, Any]:
    """Return what is installed here, and what stands in a file of the store.

    Args:
        token: path of a file that was just written where the command was given.
        answer: path of a file that is written here, and is looked for there.
        packages: whose versions are told.
    """
    try:
        read = text_of(Path(token))
        Path(answer).write_text(read, encoding="utf-8")
    except OSError as error:
        read = f"{type(error).__name__}: {error.strerror}"
    return {"machine": platform.node(), "installed": installed(packages), "read": read}


def text_of(file: Path) -> str:
    """Return what stands in a file (OSError: it is not there)."""
    return file.read_text(encoding="utf-8")
