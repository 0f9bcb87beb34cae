"""Artifacts on disk: identity, manifest, atomic publication, lock, verification. No torch."""

from bench.api.files import file_hash
from bench.store.artifact import MANIFEST, Artifact, content_hash
from bench.store.damage import FOUND, nobody_makes, state_of
from bench.store.folder import Published, finish_publication, publish_folder, read_folder
from bench.store.formats import (
    ordered_safetensors,
    parquet_notes,
    read_columns,
    read_jsonl,
    read_parquet,
    read_safetensors,
    write_jsonl,
    write_safetensors,
)
from bench.store.heartbeat import LeaseTimes
from bench.store.identity import (
    artifact_id,
    canonical_json,
    code_identity,
    diff_identity,
    folder_name,
    identity_hash,
    plain,
    plugin_source_hash,
)
from bench.store.journal import Entry, Journal
from bench.store.lock import ArtifactLock, LeaseLostError, OnWait
from bench.store.owner import LockOwner
from bench.store.provenance import collect as collect_provenance
from bench.store.provenance import scrubbed, strip_credentials
from bench.store.remembered import RememberedHashes
from bench.store.source import (
    Foreign,
    Source,
    SourceChangedError,
    foreign_part,
    plugin_code,
    require_unchanged,
    source_of,
)
from bench.store.status import Status
from bench.store.store import Store
from bench.store.watched import modules_of, watching
from bench.store.work import Details, Order, Work
from bench.store.writer import DISK, Disk, store_error, writing_to

__all__ = [
    "DISK",
    "FOUND",
    "MANIFEST",
    "Artifact",
    "ArtifactLock",
    "Details",
    "Disk",
    "Entry",
    "Foreign",
    "Journal",
    "LeaseLostError",
    "LeaseTimes",
    "LockOwner",
    "OnWait",
    "Order",
    "Published",
    "RememberedHashes",
    "Source",
    "SourceChangedError",
    "Status",
    "Store",
    "Work",
    "artifact_id",
    "canonical_json",
    "code_identity",
    "collect_provenance",
    "content_hash",
    "diff_identity",
    "file_hash",
    "finish_publication",
    "folder_name",
    "foreign_part",
    "identity_hash",
    "modules_of",
    "nobody_makes",
    "ordered_safetensors",
    "parquet_notes",
    "plain",
    "plugin_code",
    "plugin_source_hash",
    "publish_folder",
    "read_columns",
    "read_folder",
    "read_jsonl",
    "read_parquet",
    "read_safetensors",
    "require_unchanged",
    "scrubbed",
    "source_of",
    "state_of",
    "store_error",
    "strip_credentials",
    "watching",
    "write_jsonl",
    "write_safetensors",
    "writing_to",
]
