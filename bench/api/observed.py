"""What plug-ins read while they work: files, folders and environment variables. No torch.

A plug-in's source is in the identity of what it makes; what it reads at run time cannot be, since
nobody knows it before. So it is seen here, by Python's audit events and by reads of `os.environ`,
and recorded with what was made (`bench.store.surroundings`). Seen is what a watched file does, or
what it lets others do; what native code opens by itself (safetensors, pyarrow) is not.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from bench.api.files import Stamp, stamp

_OURS = tuple(
    str(Path(__file__).resolve().parents[2] / name) + os.sep
    for name in ("bench", "methods", "evaluators")
)
_INSTALLED = tuple({os.path.realpath(path) + os.sep for path in (sys.prefix, sys.base_prefix)})
_SYSTEM = ("/proc/", "/sys/", "/dev/", "/etc/")
_IN_MEMORY = "/dev/shm/"
_LISTINGS = frozenset(("os.listdir", "os.scandir"))
_LIBRARY = os.path.dirname(os.path.realpath(os.__file__)) + os.sep  # noqa: PTH120
# Of each process or terminal; a copy of all variables names them too.
# fmt: off
_OWN = frozenset((
    "_", "COLUMNS", "HOME", "HOSTNAME", "LINES", "LOGNAME", "MKL_NUM_THREADS", "OLDPWD",
    "OMP_NUM_THREADS", "PATH", "PWD", "PYTEST_CURRENT_TEST", "PYTHONPATH", "SHLVL", "TERM",
    "TMPDIR", "USER",
))
# fmt: on


@dataclass(slots=True)
class Observed:
    """What was read, as it was when the last step that read it did so first.

    A plug-in may keep what it read for later steps; then it stays as it was.

    Attributes:
        files: path -> stamp; None where there was no such file.
        folders: path -> names of what lay in it.
        variables: name -> value; None where it was not set.
    """

    files: dict[str, Stamp | None] = field(default_factory=dict)
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    _new: set[tuple[str, str]] = field(default_factory=set)

    def begin(self) -> None:
        """A step begins: what it reads is looked at anew."""
        self._new.clear()

    def first(self, kind: str, name: str) -> bool:
        """Whether this step has not read something before; it has from now on."""
        key = (kind, name)
        if key in self._new:
            return False
        self._new.add(key)
        return True


SEEN = Observed()
"""Of this process. Only one set of plug-ins works in a process (`bench.executors.plugins`)."""

_WATCHED: set[str] = set()
_WRITTEN: set[str] = set()
_SET: set[str] = set()
"""Files written and variables set by plug-ins: they do not come from elsewhere."""
_BUSY = threading.local()


def watch_module(name: str) -> None:
    """Watch what the top-level module or package of a plug-in reads, also while it is imported."""
    top = name.partition(".")[0]
    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if found is None:
        return
    places = found.submodule_search_locations
    watch([*places] if places else [found.origin] if found.origin else [])


def watch(paths: Iterable[str]) -> None:
    """Watch what Python files, or all files in folders, read from now on; ours are not watched."""
    new = {os.path.realpath(path) for path in paths} - _WATCHED
    new = {path for path in new if not f"{path}{os.sep}".startswith(_OURS)}
    if new and not _WATCHED:
        _begin()
    _WATCHED.update(new)


def _begin() -> None:
    sys.addaudithook(_heard)
    kind: Any = type(os.environ)
    plain = kind.__getitem__

    def read(variables: Any, name: str) -> str:
        value = None
        try:
            value = str(plain(variables, name))
            return value
        finally:
            looked = variables is os.environ and name not in _OWN and name not in _SET
            watched = looked and _is_watched(sys._getframe(1), itself=True)
            if watched and SEEN.first("variable", name):
                SEEN.variables[name] = value

    write = kind.__setitem__

    def remember(variables: Any, name: str, value: str) -> None:
        if variables is os.environ and _is_watched(sys._getframe(1)):
            _SET.add(name)
        write(variables, name, value)

    kind.__getitem__, kind.__setitem__ = read, remember


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event != "open" and event not in _LISTINGS:
        return
    if getattr(_BUSY, "here", False):
        return
    _BUSY.here = True
    try:
        _look(event, arguments)
    except (OSError, ValueError, TypeError):
        pass  # who opens it says what is wrong with it
    finally:
        _BUSY.here = False


def _look(event: str, arguments: tuple[Any, ...]) -> None:
    named = "." if arguments[0] is None else arguments[0]
    if isinstance(named, int):  # a descriptor: its file was opened before
        return
    path = os.path.abspath(os.fsdecode(named))  # noqa: PTH100 (before any Path is made)
    if path.startswith((*_OURS, *_INSTALLED)):
        return
    if path.startswith(_SYSTEM) and not path.startswith(_IN_MEMORY):
        return
    if event == "open" and _writes(*arguments[1:3]):
        _WRITTEN.add(path)
        return
    caller = sys._getframe(2)
    if caller.f_code.co_filename.startswith("<frozen importlib"):  # source, which is followed
        return
    if path in _WRITTEN or not _is_watched(caller) or not SEEN.first(event, path):
        return
    if event != "open":
        SEEN.folders[path] = names_in(path)
    elif not os.path.isdir(path):  # noqa: PTH112
        SEEN.files[path] = stamp(Path(path)) if os.path.exists(path) else None  # noqa: PTH110


def names_in(folder: str) -> tuple[str, ...]:
    """Return the names in a folder, sorted, but for those that Python and editors make."""
    return tuple(
        sorted(n for n in os.listdir(folder) if not n.startswith((".", "__pycache__")))  # noqa: PTH208
    )


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str) and any(letter in mode for letter in "wax+"):
        return True
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _is_watched(frame: FrameType | None, *, itself: bool = False) -> bool:
    """Whether a watched file that the harness called asks; through other libraries too, unless it
    must ask `itself`.

    What the harness opens when a plug-in asks it for something is in identities already, and what
    a script does that calls the harness is no part of its work.
    """
    asked = False
    while frame is not None:
        file = _real(frame.f_code.co_filename)
        if file.startswith(_OURS):
            return asked
        if any(file == one or file.startswith(f"{one}{os.sep}") for one in _WATCHED):
            asked = True
        elif itself and not asked and not _is_standard(file):
            return False
        frame = frame.f_back
    return False


def _is_standard(file: str) -> bool:
    return file.startswith((_LIBRARY, "<frozen")) and "-packages" not in file


@cache
def _real(file: str) -> str:
    return file if file.startswith("<") else os.path.realpath(file)
