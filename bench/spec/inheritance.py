"""Files of profiles: found by name or path, and joined with those they extend.

    extends: tiny              # a shipped profile, or the path of a file, from this one
    title: "tiny, twice the steps"
    training: {common: {steps: 120}}

Mappings are merged key by key (`bench.config.merged`), all else is replaced. A profile's name and
place are no part of what is made with it. A path in a file (`./weights`, `my_evaluator.py:Class`)
is taken from the file's own folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError, did_you_mean
from bench.config import load_yaml, merged, place_of
from bench.config.files import Located
from bench.config.trust import require_registered
from bench.read.folders import shipped

FOLDER = Path(__file__).parents[1] / "tables" / "profiles"
EXTENDS = "extends"


def profile_names() -> list[str]:
    """Return the names of the shipped profiles."""
    return sorted(path.stem for path in shipped(FOLDER, ".yaml"))


def profile_file(name: str, beside: Path | None = None, place: str = "") -> Path:
    """Return the file of a profile.

    Args:
        name: a shipped profile, or the path of a YAML file.
        beside: folder that a path is taken from; None takes the current one.
        place: where the name stands, for the message.

    Raises:
        UsageError: it is unknown, or there is no such file.
    """
    if name in profile_names():
        return FOLDER / f"{name}.yaml"
    if not name.endswith((".yaml", ".yml")):
        known = [*profile_names(), "PATH.yaml"]
        raise UsageError(f"unknown profile {name!r}{place}.{did_you_mean(name, known)}")
    path = (beside or Path()) / Path(name).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no profile {path}{place}; expected a YAML file.")
    return path


def profile_name(path: Path) -> str:
    """Return what a profile's file is called: its stem, or the file's name where a shipped profile
    has that stem, so that nobody takes one for the other.
    """
    if path.stem in profile_names() and path.resolve() != (FOLDER / path.name).resolve():
        return path.name
    return path.stem


def read_chain(
    name: str,
    *,
    trust: bool = False,
    change: Callable[[str], Mapping[str, Any]] = lambda name: {},
) -> dict[str, Any]:
    """Return the settings of a profile, those it extends beneath its own.

    Args:
        name: as `profile_file` takes it.
        trust: whether its files may name code that nobody registered.
        change: by profile name, what is laid over that profile's settings, beneath those of the
            profiles that extend it.

    Raises:
        UsageError: a file is unknown or no mapping, the chain leads back to itself, or a file
            names code that nobody registered.
    """
    data: dict[str, Any] = {}
    for path, own in reversed(_chain(name)):
        if path.parent != FOLDER:
            if not trust:
                require_registered(own, path)
            own = from_folder(own, path.resolve().parent)
        own.pop(EXTENDS, None)
        data = merged(data, own) if data else own
        _place_checkpoint(data, own, path.parent)
        data = merged(data, change(profile_name(path)))
    return data


def _place_checkpoint(data: dict[str, Any], own: Mapping[str, Any], folder: Path) -> None:
    """Make the checkpoint's folder that a file names absolute, taken from the file's own."""
    checkpoint = data.get("checkpoint")
    if not isinstance(checkpoint, dict) or checkpoint.get("kind") != "path":
        return
    named = own.get("checkpoint")
    if isinstance(named, Mapping) and isinstance(location := named.get("location"), str):
        checkpoint["location"] = str(folder / Path(location).expanduser())


def lineage(name: str) -> list[str]:
    """Return the names of the profiles that one extends, the last of them first, then its own.

    Raises:
        UsageError: as `read_chain`.
    """
    return [profile_name(path) for path, _ in reversed(_chain(name))]


def _chain(name: str) -> list[tuple[Path, dict[str, Any]]]:
    """Return the files of a profile and of those it extends, its own first, with what they hold."""
    path = profile_file(name)
    found = [(path, load_yaml(path))]
    while (parent := (data := found[-1][1]).get(EXTENDS)) is not None:
        place = place_of(data, EXTENDS)
        if not isinstance(parent, str):
            raise UsageError(f"extends is {parent!r}{place}; expected a profile's name or path.")
        path = profile_file(parent, found[-1][0].parent, place)
        files = [file for file, _ in found]
        if path.resolve() in [file.resolve() for file in files]:
            way = " extends ".join(str(file) for file in [*files, path])
            raise UsageError(f"profiles extend each other in a circle{place}: {way}.")
        found.append((path, load_yaml(path)))
    return found


def from_folder(data: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a file's settings with paths that begin in `folder` made absolute.

    These are texts that begin with `./` or `../`, and `file.py:Class` where `folder` holds the
    file.
    """
    found: dict[str, Any] = _from_folder(data, folder)
    return found


def _from_folder(value: Any, folder: Path) -> Any:
    if isinstance(value, Mapping):
        items = {key: _from_folder(item, folder) for key, item in value.items()}
        return Located.like(value, items) if isinstance(value, Located) else items
    if isinstance(value, list):
        return [_from_folder(item, folder) for item in value]
    if not isinstance(value, str):
        return value
    file, colon, attribute = value.rpartition(":")
    if value.startswith(("./", "../")):
        return str((folder / value).resolve())
    if colon and file.endswith(".py") and (folder / file).is_file():
        return f"{(folder / file).resolve()}:{attribute}"
    return value
