"""From a target, `"module:attribute"` or a file, to the object it names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

from bench.api.errors import ContractError, PrerequisiteError, UsageError, did_you_mean
from bench.api.exits import is_users, refused
from bench.api.observed import watch_module

_DISTRIBUTIONS = {
    "PIL": "pillow", "cv2": "opencv-python", "skimage": "scikit-image", "sklearn": "scikit-learn",
    "yaml": "pyyaml", "clip": "git+https://github.com/openai/CLIP", "open_clip": "open_clip_torch",
    "cleanfid": "clean-fid",
}  # fmt: skip
"""What is installed to import a package that is called otherwise."""

IMPORTED: set[str] = set()
"""Modules that targets were taken from in this process; see `bench.executors.plugins`."""


def import_target(target: str, *, kind: str = "plug-in") -> object:
    """Import `"module:attribute"` and return the attribute.

    Args:
        target: what to import.
        kind: what it is called in messages.

    Raises:
        UsageError: the module or the attribute does not exist.
        PrerequisiteError: the module imports a package that is not installed.
        ContractError: the module raises while it is imported, or imports a module that an
            installed package does not have.
    """
    module_name, _, attribute = target.partition(":")
    if kind != "step":  # those of the harness itself
        IMPORTED.add(module_name)
        watch_module(module_name)
    try:
        found: object = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if module_name == missing or module_name.startswith(missing + "."):
            raise UsageError(
                f"{kind} {target!r}: there is no module {missing!r}. Run the command in the "
                "folder that holds it, or add that folder to PYTHONPATH."
            ) from error
        package = missing.partition(".")[0]
        if package in sys.modules:
            raise ContractError(
                f"{kind} {target!r} imports {missing!r}: {package} has no such module."
            ) from error
        raise PrerequisiteError(
            f"{kind} {target!r} imports {missing!r}, which is not installed",
            fix=f"pip install {_DISTRIBUTIONS.get(package, package)}",
        ) from error
    except (SystemExit, KeyboardInterrupt) as error:
        if is_users(error):
            raise
        raise refused(error, f"{kind} {target!r}, while it was imported,") from error
    except Exception as error:
        raise ContractError(
            f"{kind} {target!r}: importing {module_name} raised {type(error).__name__}: {error}"
        ) from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError as error:
            members = getattr(found, "__dict__", {})
            candidates = [name for name, value in members.items() if inspect.isclass(value)]
            raise UsageError(
                f"{kind} {target!r}: {module_name} has no attribute {attribute!r}."
                f"{did_you_mean(part, candidates)}"
            ) from error
    return found


def module_of_file(path: Path) -> str:
    """Make a Python file importable under its stem, in this process, and return that name.

    Raises:
        UsageError: there is no such file, its stem is no module name, or the name is taken.
    """
    file = path.expanduser().resolve()
    name = file.stem
    if not file.is_file():
        raise UsageError(f"there is no file {path}; expected a Python file with the plug-in.")
    if not name.isidentifier():
        raise UsageError(f"{path} cannot be imported under the name {name!r}; rename the file.")
    if str(file.parent) not in sys.path:
        sys.path.append(str(file.parent))
    importlib.invalidate_caches()
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None or found.origin is None or Path(found.origin).resolve() != file:
        where = found.origin if found is not None else "nothing"
        raise UsageError(f"the name {name!r} already means {where}; rename {path}.")
    return name
