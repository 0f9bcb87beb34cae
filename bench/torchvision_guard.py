"""Lets a CUDA build of torchvision be imported beside a CPU build of torch.

The package index offers torchvision only as a CUDA build. Its native library cannot be loaded
by a CPU torch; torchvision tolerates that at first, then fails at import all the same, because
it registers shape functions for two native operators that nobody declared:

    RuntimeError: operator torchvision::nms does not exist

transformers, diffusers and peft look for torchvision, so they fail with it, under disguised
messages ("Could not import module 'CLIPTextModel'"). The guard declares those two operators when,
and only when, the native library does not load. Transforms and models then work; calling a
native operator still ends in torchvision's own "Couldn't load custom C++ ops".

On a healthy installation nothing is declared: the guard loads the very library that torchvision
loads a moment later. Looking torchvision up (`importlib.util.find_spec`) does nothing at all;
the check runs when it is imported, and only then is torch imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

# Operators torchvision 0.28 registers shape functions for, whether its library loaded or not
# (torchvision/_meta_registrations.py).
_OPERATORS = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class State(Enum):
    """What the guard knows of this process's torchvision."""

    NOT_INSTALLED = "the guard is not installed"
    TOO_LATE = "torchvision was imported before the guard was installed"
    WAITING = "torchvision has not been imported"
    NATIVE = "torchvision's native library loads; nothing was changed"
    DECLARED = "torchvision's native library does not load; its operators were declared"


class _Guard(MetaPathFinder):
    """Finds torchvision as Python would, and has its loader check the native library first."""

    state = State.WAITING

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """Return torchvision's own spec with a checking loader; None for all other modules."""
        if fullname != "torchvision":
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and type(spec.loader) is SourceFileLoader:
            spec.loader = _CheckingLoader(spec.loader.name, spec.loader.path)
            return spec
        return None


class _CheckingLoader(SourceFileLoader):
    """Loads torchvision after making sure that its import can succeed."""

    def exec_module(self, module: ModuleType) -> None:
        """Check the native library in the package's folder, then run the package."""
        _Guard.state = ensure_operators(Path(self.path).parent)
        super().exec_module(module)


_declared: list[Any] = []  # a torch.library.Library undoes its declarations when it is collected


def ensure_operators(package: Path) -> State:
    """Load torchvision's native library, or declare the operators its import needs.

    Args:
        package: the folder of the torchvision package.

    Returns:
        `State.NATIVE` or `State.DECLARED`.
    """
    import torch

    libraries = sorted(package.glob("_C*.so")) + sorted(package.glob("_C*.pyd"))
    try:
        for library in libraries:
            torch.ops.load_library(str(library))
        if libraries:
            return State.NATIVE
    except OSError:  # a library of CUDA, or a symbol of another torch, is missing
        pass
    if not _declared:
        declarations = torch.library.Library("torchvision", "DEF")
        for operator in _OPERATORS:
            declarations.define(operator + _SIGNATURE)
        _declared.append(declarations)
    return State.DECLARED


def install() -> None:
    """Install the guard; calling it again, or after torchvision was imported, does nothing."""
    if "torchvision" in sys.modules or _installed():
        return
    sys.meta_path.insert(0, _Guard())


def state() -> State:
    """Return what the guard knows of this process's torchvision."""
    if _installed():
        return _Guard.state
    return State.TOO_LATE if "torchvision" in sys.modules else State.NOT_INSTALLED


def _installed() -> bool:
    return any(isinstance(finder, _Guard) for finder in sys.meta_path)
