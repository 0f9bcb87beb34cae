"""The committed image sets that evaluators are checked on: read from a folder, and made for one.

    DIR/sets/NAME/suite.json        the prompts
    DIR/sets/NAME/records.jsonl     one line per image, with the sha256 of its file
    DIR/sets/NAME/generation.json   how they were sampled, and from what
    DIR/sets/NAME/images/*.png
    DIR/sets/NAME/manifest.json   seals the rest (`bench.store.folder`)

NAME is the suite's, or the suite's with `.reference` behind it: what a distribution metric
compares with. A set that is there is never made again: what is checked is the evaluators alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.api.errors import BenchError, CorruptArtifactError, IncompleteError, PrerequisiteError
from bench.api.evaluator import Evaluator
from bench.api.generation import ImageRecord, ImageSet
from bench.executors.local import run_graph
from bench.generation.image_set import (
    RECORDS_FILE,
    SETTINGS_FILE,
    SUITE_FILE,
    open_image_set,
    read_spec,
    read_suite,
)
from bench.read.text import read_bytes
from bench.spec.profile import Profile
from bench.spec.protocol import ColumnProtocol, load_suite
from bench.spec.table import RowSpec
from bench.steps.builder import GraphBuilder
from bench.steps.graph import Graph
from bench.steps.rows import add_row_images
from bench.store import (
    MANIFEST,
    Artifact,
    Published,
    Store,
    publish_folder,
    read_folder,
    read_jsonl,
)

SETS = "sets"
PROTOCOL = "validation"
"""Whose prompts the sets are of: nothing of the test prompts is committed as pictures."""
USUAL, USUAL_WITH_REFERENCE = "geneval", "fid"
"""Whose images an evaluator is checked on that the profile has no protocol for."""

IMAGES, SINGLE_IMAGES = 48, 96
"""Images of a set; more of those with one image a prompt, which distribution metrics look at."""
REFERENCE = ".reference"
REFERENCE_SEED = 1_000_000


def protocol_of(profile: Profile, name: str, evaluator: Evaluator) -> ColumnProtocol | None:
    """Return how the evaluator's images are made in the profile, or the usual ones'; or None."""
    known = profile.protocols.get(PROTOCOL, {})
    usual = USUAL_WITH_REFERENCE if evaluator.spec.needs_reference else USUAL
    return known.get(name, known.get(usual))


def set_names(protocol: ColumnProtocol, evaluator: Evaluator) -> tuple[str, str | None]:
    """Return the names of the image set and of the reference set, None where it needs none."""
    name = protocol.suite.load().name
    return name, name + REFERENCE if evaluator.spec.needs_reference else None


def read_set(folder: Path, name: str) -> ImageSet:
    """Return a committed image set, every byte of it checked.

    Raises:
        PrerequisiteError: there is none of that name.
        IncompleteError: images are missing, naming them.
        CorruptArtifactError: an image was changed, or a file cannot be read.
    """
    root = folder / SETS / name
    found = read_folder(root)
    if not found.files and not (root / RECORDS_FILE).is_file():
        raise PrerequisiteError(
            f"there is no image set {root}",
            fix=f"bench check --evaluators --update --from {folder}  (makes it)",
        )
    for needed in (MANIFEST, SUITE_FILE, SETTINGS_FILE, RECORDS_FILE):
        if needed in found.faults:
            raise not_as_committed(found)
    try:
        suite = read_suite(json.loads(found.files[SUITE_FILE]))
        settings = json.loads(found.files[SETTINGS_FILE])
        records = tuple(ImageRecord(**row) for row in read_jsonl(root / RECORDS_FILE))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptArtifactError(
            f"{root} is damaged: {error!r}; take it from git again"
        ) from error
    images = ImageSet(
        root=root,
        suite=suite,
        images_per_prompt=int(settings["images_per_prompt"]),
        records=records,
        spec=None if settings["spec"] is None else read_spec(settings["spec"]),
        identity=hashlib.sha256("".join(r.sha256 for r in records).encode()).hexdigest(),
    )
    images.require_complete()
    if found.faults or any(record.path not in found.files for record in records):
        raise not_as_committed(found)
    return images


def not_as_committed(found: Published) -> CorruptArtifactError:
    """Return the error for a committed folder that is not as it was sealed."""
    reasons = "; ".join(found.faults.values()) or "its list names images that are not sealed"
    return CorruptArtifactError(
        f"{found.path} is not what was committed: {reasons}.\n"
        f"  to mend it: git checkout -- {found.path}"
    )


def make_sets(
    folder: Path, profile: Profile, evaluator: Evaluator, protocol: ColumnProtocol, store: Store
) -> list[str]:
    """Make the sets of an evaluator that are not there yet, and return their names.

    The images are sampled from the profile's checkpoint, the reference is rendered.

    Raises:
        PrerequisiteError: the checkpoint is not on this machine.
        IncompleteError: an image could not be made.
        StoreError: the disk fails.
    """
    name, reference = set_names(protocol, evaluator)
    count = IMAGES if protocol.images_per_prompt > 1 else SINGLE_IMAGES
    suite = load_suite(protocol.suite, count // protocol.images_per_prompt)
    base = RowSpec(key="base", label="base", checkpoint="base")
    truth = RowSpec(
        key="truth", label="truth", render="exact", sampling_seed=REFERENCE_SEED, control="ceiling"
    )
    made = []
    for wanted, row in ((name, base), (reference, truth)):
        if wanted is None or (folder / SETS / wanted / RECORDS_FILE).is_file():
            continue
        source = GraphBuilder(profile=profile, store=store, graph=Graph())
        plain = replace(protocol, reference=None)
        noise = profile.sampling_seed if row.sampling_seed is None else row.sampling_seed
        key = add_row_images(source, row, None, noise, plain, suite)
        for error in source.missing.values():
            raise error
        outcome = run_graph(source.graph, [key], store, jobs=1)
        if outcome.failures:
            raise IncompleteError(f"{wanted}: {outcome.failures[key].message}")
        _keep(store.get(key), folder / SETS / wanted)
        made.append(wanted)
    return made


def _keep(artifact: Artifact, root: Path) -> None:
    """Copy an image set out of the store, with what it was made from, and seal it."""
    images = open_image_set(artifact)
    settings: Mapping[str, Any] = artifact.read_json(SETTINGS_FILE)
    about = {**settings, "artifact": artifact.id, "checkpoint": artifact.identity.get("checkpoint")}
    if not images.records:
        raise BenchError(f"{artifact.id} holds no image")
    text = json.dumps(about, indent=1, sort_keys=True, allow_nan=False)
    files = {record.path: read_bytes(artifact.file(record.path)) for record in images.records}
    files[SUITE_FILE] = read_bytes(artifact.file(SUITE_FILE))
    files[SETTINGS_FILE] = f"{text}\n".encode()
    files[RECORDS_FILE] = read_bytes(artifact.file(RECORDS_FILE))
    publish_folder(root, files)
