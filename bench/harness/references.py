"""Named references that a distribution metric compares with: made, and measured against."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench.api.errors import UsageError
from bench.api.evaluator import Evaluator
from bench.api.folder import read_flat
from bench.api.references import MakesReferences, References
from bench.api.registry import BACKENDS, EVALUATORS
from bench.executors.numerics import usual_numerics
from bench.read.folders import listed_below
from bench.read.pictures import picture_format
from bench.read.weights import with_metadata
from bench.spec.profile import Profile
from bench.steps.references import FILES, evaluator_of, named_path, open_stored
from bench.store import DISK, file_hash, plugin_code

MEASURED_BY = "fid"
"""Whose references are made unless it is said whose."""


@dataclass(frozen=True, kw_only=True)
class BuiltReferenceFile:
    """What `build_reference` returns.

    Attributes:
        name: what it is asked for by.
        images: how many it was made of.
        protocol: under which.
        keeps_features: whether every image's features are in it, which KID needs.
        file: where it lies.
        sha256: of the file.
    """

    name: str
    images: int
    protocol: str
    keeps_features: bool
    file: Path
    sha256: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-able mapping."""
        return {
            "reference": self.name,
            "images": self.images,
            "protocol": self.protocol,
            "features": "kept" if self.keeps_features else "mean and covariance only",
            "file": str(self.file),
            "sha256": self.sha256,
        }


def build_reference(
    name: str,
    images: Path | str,
    protocol: str = "custom",
    *,
    evaluator: str = MEASURED_BY,
    keep_features: bool = False,
    again: bool = False,
) -> BuiltReferenceFile:
    """Make the statistics of a folder of pictures.

    Args:
        name: what it will be asked for by: `score(images, "fid", reference=name)`.
        images: the folder.
        protocol: of the evaluator, or the name of a back-end.
        evaluator: who will compare with it.
        keep_features: every image's too.
        again: even where there is a reference of that name.

    Raises:
        UsageError: a name is wrong or taken, or the evaluator compares with no reference.
        PrerequisiteError: the network's weights are not on this machine.
        ProtocolError: the number of pictures is not the protocol's.
    """
    target = named_path(name)
    if target.exists() and not again:
        raise UsageError(f"there is a reference {name!r} at {target}; --again makes it anew")
    making = _references(EVALUATORS.load(evaluator_of(evaluator))(), name)
    chosen = making.backend(protocol)
    backend = BACKENDS.load(chosen)()
    pictures = read_flat(Path(images))
    with usual_numerics():
        found = making.build(
            backend,
            pictures,
            name=name,
            identity={**backend.identity(), **plugin_code(BACKENDS.entry(chosen), type(backend))},
            keep=keep_features,
        )
    DISK.makedirs(target.parent)
    files = json.dumps([record.sha256 for record in pictures.records])
    DISK.write_atomically(target, with_metadata(found.to_bytes(), FILES, files))
    return BuiltReferenceFile(
        name=name,
        images=found.images,
        protocol=protocol,
        keeps_features=keep_features,
        file=target,
        sha256=file_hash(target),
    )


def measured_alike(
    profile: Profile, name: str, evaluator_name: str, folders: Iterable[Path]
) -> Profile:
    """Return the profile in which the reference's back-end measures, after a look at the files.

    Args:
        profile: as asked for.
        name: of the reference.
        evaluator_name: who compares with it.
        folders: whose pictures are measured.

    Raises:
        UsageError: the evaluator compares with no reference, or not with one of such features.
        PrerequisiteError: there is no reference of that name.
        ProtocolError: files are of another format than the protocol's.
    """
    evaluator = profile.evaluator(evaluator_name)
    if not evaluator.spec.needs_reference:
        raise UsageError(f"{evaluator_name} compares with no reference; leave --reference out.")
    stored = open_stored(evaluator, name).statistics
    making = _references(evaluator, name)
    role, backend = making.role(stored), str(stored.backend["backend"])
    roles = evaluator.spec.backends
    if roles != (role,):
        raise UsageError(
            f"{evaluator_name} looks at {', '.join(roles)}; the reference {name!r} is of {role} "
            f"({backend})."
        )
    for folder in folders:
        making.require_files(stored, _formats(folder))
    return replace(profile, backends={**profile.backends, role: backend})


def _references(evaluator: Evaluator, name: str) -> References:
    if not isinstance(evaluator, MakesReferences):
        raise UsageError(f"{evaluator.spec.name} compares with no stored reference like {name!r}.")
    return evaluator.stored_references()


def _formats(folder: Path) -> dict[str, str]:
    """Return PIL's name of the format of every picture in and below a folder."""
    paths = [path for one in listed_below(folder) for path in one.pictures()]
    return {str(path.relative_to(folder)): picture_format(path) for path in paths}
