"""A Hugging Face cache laid out by hand, as the hub's own client leaves it.

<home>/hub/models--owner--name/blobs/<hash>
                              /refs/main              the commit
                              /snapshots/<commit>/... links to the blobs
"""

from __future__ import annotations

import hashlib
from pathlib import Path

LARGE = (".safetensors", ".bin")
"""Files the hub keeps outside git: named by their sha256, the others by git's own hash."""


def add_repository(home: Path, repository: str, source: Path) -> Path:
    """Put the files of `source` into the cache as a repository and return its snapshot."""
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    blobs = {}
    for file in sorted(path for path in source.rglob("*") if path.is_file()):
        data = file.read_bytes()
        if file.suffix in LARGE:
            digest = hashlib.sha256(data).hexdigest()
        else:
            digest = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        blobs[file.relative_to(source)] = digest
        target = root / "blobs" / digest
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    commit = hashlib.sha1(repr(sorted(blobs.items())).encode()).hexdigest()
    snapshot = root / "snapshots" / commit
    for name, digest in blobs.items():
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(*[".."] * (len(name.parts) + 1), "blobs", digest))
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(commit)
    return snapshot
