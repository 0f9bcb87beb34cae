"""Reference sets that are kept as statistics: named files, and their steps. No torch.

A protocol names one (`reference: NAME`), or `bench score --reference NAME`; it lies in
`$BENCH_CACHE/references`, where `bench assets build --fid-reference NAME` puts it. What is read,
and what may be compared with it, is the evaluator's to say (`Evaluator.open_reference`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError, did_you_mean
from bench.api.evaluator import Evaluator, StoredReference
from bench.api.registry import EVALUATORS
from bench.assets.places import cache_root
from bench.read.folders import listed
from bench.read.names import artifact_name
from bench.read.weights import metadata_of
from bench.spec.profile import STANDS_FOR
from bench.steps.builder import GraphBuilder
from bench.steps.predictions import ARRAYS, PREDICTIONS
from bench.steps.step import Runtime, Step
from bench.store import Artifact, Store, Work, file_hash, write_jsonl, write_safetensors

ENDING = ".safetensors"
FILES = "files.json"
"""sha256 of each of a reference's pictures: a text in its file's header, a file in the store."""
_OF_OTHERS = (".npz", ".npy", ".pkl", ".pickle", ".pt", ".pth", ".mat")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A reference, its file and the file's sha256."""

    statistics: StoredReference
    path: Path
    sha256: str


def references_folder() -> Path:
    """Return where named references lie."""
    return cache_root() / "references"


def named_path(name: str) -> Path:
    """Return the file of a named reference (UsageError: it is no name)."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} is no name of a reference: letters, digits, '.', '_' and '-'.")
    return references_folder() / f"{name}{ENDING}"


def evaluator_of(name: str) -> str:
    """Return the evaluator that can use a stored reference in place of `name`."""
    return next((own for own, other in STANDS_FOR.items() if other == name), name)


def open_stored(evaluator: Evaluator, name: str, *, protocol: str = "P") -> Stored:
    """Return a named reference, or that of a file.

    Args:
        evaluator: reads it.
        name: of a reference, or the path of a `.safetensors` file.
        protocol: what it is to be built under, for the message.

    Raises:
        PrerequisiteError: there is none; the command builds it.
        UsageError: the evaluator takes no stored reference, or it is no name.
        CorruptArtifactError: the file is damaged.
    """
    if Path(name).suffix.lower() in _OF_OTHERS:
        raise UsageError(
            f"{name}: statistics of other programs are not read, for they do not say by which "
            "network, resize and pictures they were made. Build the reference from its pictures: "
            f"python -m bench assets build --fid-reference {Path(name).stem} --images DIR "
            f"--protocol {protocol}"
        )
    path = Path(name).expanduser() if name.endswith(ENDING) else named_path(name)
    if not path.is_file():
        known = _known()
        near = did_you_mean(name, known) if known else ""
        raise PrerequisiteError(
            f"there is no reference {name!r} at {path}.{near}",
            fix=f"python -m bench assets build --fid-reference {path.stem} --images DIR "
            f"--protocol {protocol}",
        )
    return Stored(statistics=evaluator.open_reference(path), path=path, sha256=file_hash(path))


@dataclass(frozen=True, kw_only=True)
class ReferenceStep(Step):
    """A stored reference to be put into the store, as predictions.

    Attributes:
        evaluator: registry name or path of who reads it.
        path: its file; None where it is not on this machine.
        images: how many it was made of.
    """

    kind: str = "predictions"
    evaluator: str
    path: str | None
    images: int = 1

    def make(self, store: Store, runtime: Runtime) -> Artifact:
        """Read the file and keep what it holds.

        Raises:
            CorruptArtifactError: the file is not the one the graph was made with.
        """
        return store.build(self.kind, self.name, self.identity, self._keep)

    def _keep(self, work: Work) -> None:
        evaluator = EVALUATORS.load(self.evaluator)()
        path = Path(str(self.path))
        if not path.is_file() or file_hash(path) != self.identity["sha256"]:
            raise CorruptArtifactError(f"{path} was changed or removed while the table was made")
        found = evaluator.open_reference(path).predictions()
        write_jsonl(work, PREDICTIONS, found.records)
        write_safetensors(work, ARRAYS, found.arrays)
        if (known := metadata_of(path).get(FILES)) is not None:
            work.write_json(FILES, json.loads(known))


def add_stored_reference(
    builder: GraphBuilder,
    name: str,
    evaluator_name: str,
    evaluator: Evaluator,
    backends: Mapping[str, Mapping[str, Any]],
    *,
    measured: int | None,
) -> dict[str, str]:
    """Add a stored reference and return its step's id by role.

    Where it is not on this machine, that is noted in `builder.missing` and its step carries a
    placeholder: the graph can be shown, not run.

    Args:
        builder: of the graph.
        name: of the reference.
        evaluator_name: the evaluator's registry name or path.
        evaluator: the same, loaded.
        backends: identities of the back-ends that measure, by role.
        measured: number of images measured; None where part of them is measured on purpose.

    Raises:
        ProtocolError: it was made by another back-end or under another protocol, or a number of
            images is not the protocol's.
        UsageError, CorruptArtifactError: as `open_stored`.
    """
    under = [str(i.get("protocol", {}).get("name", i["backend"])) for i in backends.values()]
    try:
        stored = open_stored(evaluator, name, protocol=under[0] if under else "P")
    except PrerequisiteError as error:
        builder.missing.setdefault(f"reference {name}", error)
        step = ReferenceStep(
            name=artifact_name(f"reference.{Path(name).stem}"),
            identity={"reference": name, "sha256": None},
            evaluator=evaluator_name,
            path=None,
            label=f"reference {name}",
        )
        return dict.fromkeys(backends, builder.graph.add(step))
    statistics = stored.statistics
    for identity in backends.values():
        if identity.get("version") is not None:  # else its weights are missing, and that is said
            statistics.require_backend(identity)
    statistics.require_counts(measured)
    step = ReferenceStep(
        name=artifact_name(f"reference.{statistics.name}"),
        identity={**statistics.about(), "sha256": stored.sha256},
        evaluator=evaluator_name,
        path=str(stored.path),
        images=statistics.images,
        label=f"reference {statistics.name}",
        seconds=1.0,
        bytes=stored.path.stat().st_size,
    )
    return dict.fromkeys(backends, builder.graph.add(step))


def _known() -> list[str]:
    """Return the names of the references there are."""
    folder = references_folder()
    files = listed(folder).files if folder.is_dir() else ()
    return [path.stem for path in files if path.suffix == ENDING]
