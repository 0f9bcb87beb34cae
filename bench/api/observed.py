"""What plug-ins read while they work: files, folders and environment variables. No torch.

A plug-in's source is in the identity of what it makes; what it reads at run time cannot be, since
nobody knows it before. So it is seen here, by Python's audit events and by reads of `os.environ`,
and recorded with what was made (`bench.store.surroundings`). Seen is what a watched file does, or
what it lets others do; what native code opens by itself (safetensors, pyarrow) is not, nor what a
process that a plug-in starts does.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
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
# What these read is in identities by itself: artifacts, checkpoints, pictures, prompts.
_OURS_TO_READ = tuple(
    f"{_OURS[0]}{room}{os.sep}" for room in ("backbones", "data", "generation", "store", "suites")
)
# Of each process, terminal or device; a copy of all variables names them too.
# fmt: off
_OWN = frozenset((
    "_", "COLUMNS", "CUDA_VISIBLE_DEVICES", "HOME", "HOSTNAME", "LINES", "LOCAL_RANK", "LOGNAME",
    "MASTER_ADDR", "MASTER_PORT", "MKL_NUM_THREADS", "OLDPWD", "OMP_NUM_THREADS", "PATH", "PWD",
    "PYTEST_CURRENT_TEST", "PYTHONPATH", "RANK", "SHLVL", "TERM", "TMPDIR", "USER", "WORLD_SIZE",
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
        relative: those of the files that were named from the working folder -> that folder.
    """

    files: dict[str, Stamp | None] = field(default_factory=dict)
    folders: dict[str, tuple[str, ...]] = field(default_factory=dict)
    variables: dict[str, str | None] = field(default_factory=dict)
    relative: dict[str, str] = field(default_factory=dict)
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

    def to_json(self) -> dict[str, Any]:
        """Return what was read, JSON-able, without the values of variables."""
        return {
            "files": self.files,
            "folders": self.folders,
            "variables": list(self.variables),
            "relative": self.relative,
        }

    def include(self, told: Mapping[str, Any]) -> None:
        """Take in what `to_json` told of a process that this one started, with its variables."""
        for path, then in told["files"].items():
            self.files.setdefault(path, None if then is None else tuple(then))
        for path, names in told["folders"].items():
            self.folders.setdefault(path, tuple(names))
        for name in told["variables"]:
            self.variables.setdefault(name, variable(name))
        for path, folder in told["relative"].items():
            self.relative.setdefault(path, folder)


SEEN = Observed()
"""Of this process. Only one set of plug-ins works in a process (`bench.executors.plugins`)."""

_WATCHED: set[str] = set()
_WRITTEN: set[str] = set()
_SET: set[str] = set()
"""Files written and variables set while the harness was at work: they come from nowhere else."""
_BEFORE: dict[str, str | None] = {}
"""What variables were before libraries set them, at work for the harness."""
_BUSY = threading.local()


def variable(name: str) -> str | None:
    """Return what a variable is, or was before a library set it in this process."""
    return _BEFORE[name] if name in _BEFORE else os.environ.get(name)


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
    plain, write, delete = kind.__getitem__, kind.__setitem__, kind.__delitem__

    def read(variables: Any, name: Any) -> Any:
        try:
            return plain(variables, name)
        finally:
            if variables is os.environ or variables is os.environb:
                _asked(os.fsdecode(name), sys._getframe(1))

    def remember(variables: Any, name: Any, value: Any) -> None:
        if variables is os.environ or variables is os.environb:
            _set(os.fsdecode(name), os.fsdecode(value), sys._getframe(1))
        write(variables, name, value)

    def forget(variables: Any, name: Any) -> None:
        if variables is os.environ or variables is os.environb:
            _set(os.fsdecode(name), None, sys._getframe(1))
        delete(variables, name)

    kind.__getitem__, kind.__setitem__, kind.__delitem__ = read, remember, forget


def _asked(name: str, frame: FrameType) -> None:
    if name in _OWN or name in _SET or getattr(_BUSY, "here", False):
        return
    if _is_watched(frame) and SEEN.first("variable", name):
        _BUSY.here = True
        try:
            SEEN.variables[name] = variable(name)
        finally:
            _BUSY.here = False


def _set(name: str, value: str | None, frame: FrameType) -> None:
    """Note that a variable is about to be set, or deleted; libraries may put it back."""
    if _is_watched(frame):
        _SET.add(name)
    elif any(file.startswith(_OURS) for file in _files_of(frame)):
        _BUSY.here = True
        try:
            before = _BEFORE.setdefault(name, os.environ.get(name))
        finally:
            _BUSY.here = False
        if before == value:
            del _BEFORE[name]


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
    caller = sys._getframe(2)
    if event == "open" and _writes(*arguments[1:3]):
        if any(file.startswith(_OURS) for file in _files_of(caller)):
            _WRITTEN.add(path)
        return
    if _imports(caller):
        return  # source, which is followed
    if path in _WRITTEN or not _is_watched(caller) or not SEEN.first(event, path):
        return
    if event != "open":
        SEEN.folders[path] = names_in(path)
    elif not os.path.isdir(path):  # noqa: PTH112
        SEEN.files[path] = stamp(Path(path)) if os.path.exists(path) else None  # noqa: PTH110
        if not os.path.isabs(os.fsdecode(named)):  # noqa: PTH117
            SEEN.relative[path] = os.getcwd()  # noqa: PTH109


def _imports(frame: FrameType | None) -> bool:
    """Whether Python looks up a module by its name, not for a file that code names."""
    while frame is not None and frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_name == "_find_and_load":
            return True
        frame = frame.f_back
    return False


def names_in(folder: str) -> tuple[str, ...]:
    """Return the names in a folder, sorted, but for those that Python and editors make."""
    return tuple(
        sorted(n for n in os.listdir(folder) if not n.startswith((".", "__pycache__")))  # noqa: PTH208
    )


def _writes(mode: Any, flags: Any) -> bool:
    if isinstance(mode, str) and any(letter in mode for letter in "wax+"):
        return True
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))


def _is_watched(frame: FrameType) -> bool:
    """Whether a watched file asks that the harness called, or a thread that none of ours began.

    It may ask through other libraries, and through parts of the harness but those whose work is
    in identities already. What a script does that calls the harness is no part of its work.
    """
    asked = ours = False
    for file in _files_of(frame):
        if any(file == one or file.startswith(f"{one}{os.sep}") for one in _WATCHED):
            asked = True
        elif file.startswith(_OURS):
            ours = True
            if asked or file.startswith(_OURS_TO_READ):
                return asked
    return (asked or not ours) and threading.current_thread() is not threading.main_thread()


def _files_of(frame: FrameType | None) -> Iterator[str]:
    """Yield the source files on the stack, the innermost first."""
    while frame is not None:
        yield _real(frame.f_code.co_filename)
        frame = frame.f_back


@cache
def _real(file: str) -> str:
    return file if file.startswith("<") else os.path.realpath(file)
