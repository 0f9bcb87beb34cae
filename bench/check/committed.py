"""The committed numbers of the evaluators: where they lie, read as sealed, and sealed anew.

DIR/scores.json     metrics and raw predictions by evaluator, packages they were made with
DIR/sets/...        the images (`bench.check.image_sets`)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.check.image_sets import not_as_committed
from bench.store import MANIFEST, publish_folder, read_folder
from bench.store.provenance import package_versions

FOLDER = Path("results/regression")
SCORES = "scores.json"
FORMAT = 1
PACKAGES = ("numpy", "pillow", "scipy", "torch", "torchvision", "transformers", "open_clip_torch")


def committed_folder(given: Path | None = None, *, update: bool = False) -> Path:
    """Return the folder of the committed numbers.

    Args:
        given: by the user; None is `FOLDER` of this folder, or of the checkout.
        update: it will be written, so it need not be there.

    Raises:
        UsageError: there is no such folder.
        PrerequisiteError: this is no checkout.
    """
    if given is not None:
        if not given.is_dir() and not update:
            raise UsageError(f"--from {given}: there is no such folder")
        return given
    beside = Path(__file__).parents[2] / FOLDER
    for folder in (FOLDER, beside):
        if folder.is_dir():
            return folder
    if update and (beside.parents[1] / "pyproject.toml").is_file():
        return beside
    raise PrerequisiteError(
        f"there is no {FOLDER}: the committed images come with a checkout, not with the package",
        fix="run it in a checkout of the project, or name its folder with --from DIR",
    )


def read_scores(folder: Path) -> dict[str, Any]:
    """Return the committed numbers, none where nothing was committed yet.

    Raises:
        CorruptArtifactError: the file is not as it was sealed.
        UsageError: it is of another format.
    """
    path, found = folder / SCORES, read_folder(folder)
    if MANIFEST in found.faults and not any((folder / n).exists() for n in (SCORES, MANIFEST)):
        return {"evaluators": {}}
    if found.faults:
        raise not_as_committed(found)
    try:
        data: dict[str, Any] = json.loads(found.files[SCORES])
    except (KeyError, ValueError) as error:
        raise UsageError(f"{path} is no JSON: {error!r}; take it from git again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise UsageError(f"{path} is not of format {FORMAT}; take it from git again")
    return data


def write_scores(folder: Path, entries: Mapping[str, Any], profile: str) -> None:
    """Seal the committed numbers, one image a line so that a change reads well in a diff."""
    ordered = {name: entries[name] for name in sorted(entries)}
    head = {"format": FORMAT, "profile": profile, "packages": _packages(), "evaluators": ordered}
    publish_folder(folder, {SCORES: f"{_text(head)}\n".encode()})


def changed_packages(before: Mapping[str, str]) -> dict[str, str]:
    """Return the packages that are not those of the committed numbers, as `old -> new`."""
    now = _packages()
    return {
        name: f"{before.get(name, 'none')} -> {now.get(name, 'none')}"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    }


def _packages() -> dict[str, str]:
    return {k: v for k, v in package_versions().items() if k in PACKAGES}


def _text(value: Any, indent: str = "") -> str:
    if not isinstance(value, dict) or not value:
        return json.dumps(value, allow_nan=False)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_text(part, inner)}" for key, part in value.items()]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
