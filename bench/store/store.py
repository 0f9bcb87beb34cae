"""The store: find, make and remove artifacts.

<root>/<kind>/<name>-<hash12>/           a published artifact, manifest.json among its files
<root>/<kind>/<name>-<hash12>.partial/   one in the making, kept when its maker is killed
                                         (-2, -3, ... behind it: taken over from a silent maker)
<root>/<kind>/<name>-<hash12>.lock       who is making it
<root>/.quarantine/                      corrupt ones that were put aside
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any, Unpack

from bench.api.errors import CorruptArtifactError, StoreError, UsageError, did_you_mean
from bench.api.observed import Observed
from bench.store.artifact import Artifact
from bench.store.heartbeat import LeaseTimes
from bench.store.identity import diff_identity, folder_of, identity_hash, plain
from bench.store.listing import Listing, is_published, partial_number, partials_now
from bench.store.lock import ArtifactLock, LeaseLostError, OnWait
from bench.store.owner import live_owner
from bench.store.provenance import scrubbed
from bench.store.status import State, Status
from bench.store.surroundings import begin, changed, require_as_begun, surroundings
from bench.store.work import Details, Order, Work
from bench.store.writer import DISK, Disk, store_error

LOG = logging.getLogger("bench.store")

_QUARANTINE = ".quarantine"
_LOSSES = 3
"""How often a lease may be lost in one `build`."""
# What makes an OSError in the work itself a failure of the store's disk.
_DISK_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)


class Store:
    """A folder of content-addressed artifacts.

    Args:
        root: the folder; made when first written to.
        disk: the seam for changes; the default is `bench.store.writer.DISK`.
        lock_timeout_seconds: how long to wait for another maker of the same artifact that
            lives; None waits as long as its heart beats.
        times: of the leases, see `bench.store.heartbeat`.
    """

    def __init__(
        self,
        root: Path,
        *,
        disk: Disk = DISK,
        lock_timeout_seconds: float | None = None,
        times: LeaseTimes | None = None,
    ) -> None:
        self.root = Path(root)
        self.disk = disk
        self.lock_timeout_seconds = lock_timeout_seconds
        self.times = times
        self._checks: tuple[Callable[[], None], ...] = ()
        self._mark: Mapping[str, Any] = {}
        self._observed: tuple[Observed, frozenset[str]] | None = None

    def observing(self, observed: Observed, known: Iterable[str]) -> Store:
        """Return this store, one that records what plug-ins `observed` in all that it publishes.

        Files of `known` paths are in the identity already.
        """
        store = copy(self)
        store._observed = observed, frozenset(known)
        return store

    def checked(self, check: Callable[[], None]) -> Store:
        """Return this store, one that calls `check`, too, before it publishes anything.

        Where that raises, nothing is published and the working folder is removed: what is in it
        may have been made with something else than its identity says.
        """
        store = copy(self)
        store._checks = (*self._checks, check)
        return store

    def marked(self, mark: Mapping[str, Any]) -> Store:
        """Return this store, one that adds `mark` to the identity of all it looks for and makes."""
        store = copy(self)
        store._mark = {**self._mark, **mark}
        return store

    def path(self, kind: str, name: str, identity: Mapping[str, Any]) -> Path:
        """Return where the artifact lies, or would lie."""
        return self._place(kind, name, identity)[0]

    def _place(self, kind: str, name: str, identity: Mapping[str, Any]) -> tuple[Path, str]:
        """Return where the artifact lies, or would lie, and the hash of its identity."""
        digest = identity_hash(kind, name, self._whole(identity))
        return self.root.joinpath(kind, folder_of(kind, name, digest)), digest

    def _whole(self, identity: Mapping[str, Any]) -> dict[str, Any]:
        """Return an identity with the mark of `marked`."""
        return {**identity, **self._mark}

    def find(self, kind: str, name: str, identity: Mapping[str, Any]) -> Artifact | None:
        """Return the artifact if it is complete: manifest present, sizes as listed.

        Raises:
            StoreError: it cannot be read.
        """
        return self._look(*self._place(kind, name, identity))[0]

    def get(self, artifact_id: str) -> Artifact:
        """Open a published artifact by its id.

        Raises:
            UsageError: there is none of that id.
            CorruptArtifactError: its manifest is damaged.
        """
        path = self.root / artifact_id
        if not path.is_dir() or not is_published(path.name):
            known = [f"{p.parent.name}/{p.name}" for p in self._folders()]
            raise UsageError(f"no artifact {artifact_id!r}.{did_you_mean(artifact_id, known)}")
        return Artifact(path)

    def artifacts(self, kind: str | None = None) -> Iterator[Artifact]:
        """Yield the published artifacts, sorted by id; those with a damaged manifest are logged."""
        for path in self._folders(kind):
            try:
                yield Artifact(path)
            except CorruptArtifactError as error:
                LOG.warning("%s", error)

    def status(
        self,
        kind: str,
        name: str,
        identity: Mapping[str, Any],
        *,
        listing: Listing | None = None,
    ) -> Status:
        """Return what is there, and why it is not complete; makes nothing.

        Args:
            kind, name, identity: of the artifact.
            listing: of this store, for who asks of many artifacts at once.

        Raises:
            StoreError: it cannot be read.
        """
        path, digest = self._place(kind, name, identity)
        artifact, fault = self._look(path, digest)
        if artifact:
            return Status(state="complete")
        listing = listing or Listing(self.root)
        owner = live_owner(_beside(path, ".lock"))
        if owner:
            return Status(state="partial", reason=f"it is being made by {owner.described}")
        if fault:
            return fault
        if listing.partials(path):
            return Status(state="partial", reason="an interrupted attempt will be continued")
        wanted = scrubbed(plain(self._whole(identity)))
        older = _nearest(listing.named(kind, name), wanted)
        if older is None:
            return Status(state="missing", reason=f"no {kind} named {name} was made yet")
        changes = diff_identity(older.identity, wanted)
        reason = f"{older.id} was made otherwise: {'; '.join(changes)}"
        return Status(state="stale", reason=reason, changes=tuple(changes))

    def build(
        self,
        kind: str,
        name: str,
        identity: Mapping[str, Any],
        make: Callable[[Work], object],
        *,
        on_wait: OnWait | None = None,
        **details: Unpack[Details],
    ) -> Artifact:
        """Return the artifact, making it with `make(work)` unless it is complete.

        Of several processes that ask at once, one makes it and the others wait for it.

        Args:
            kind: the folder it lies in, such as `"pairs"`.
            name: what people call it.
            identity: everything that can change its numbers; see `bench.store.identity`.
            make: fills the working folder. It may find files of an interrupted attempt there.
            on_wait: see `bench.store.lock.OnWait`.
            details: what else the manifest records; see `bench.store.work.Details`.

        Raises:
            StoreError: the disk fails, or the lock is not to be had in time.
            UsageError: identity or details hold what a manifest cannot.
        """
        found = self.find(kind, name, identity)
        if found:
            return found
        order = Order(kind=kind, name=name, identity=self._whole(identity), **details)
        for losses in range(_LOSSES + 1):
            with self._lock(self.root / order.id, on_wait) as lock:
                found = self.find(kind, name, identity)
                if found:
                    return found
                try:
                    with self._working(order, lock) as work:
                        make(work)
                    return Artifact(self.root / order.id)
                except LeaseLostError as error:
                    if losses == _LOSSES:
                        raise
                    LOG.warning("%s", str(error).partition("\n")[0])
        raise AssertionError("the last attempt returns or raises")

    @contextmanager
    def create(
        self,
        kind: str,
        name: str,
        identity: Mapping[str, Any],
        *,
        on_wait: OnWait | None = None,
        **details: Unpack[Details],
    ) -> Iterator[Work]:
        """Yield the working folder of an artifact and publish it when the block ends.

        When the block raises, nothing is published and the folder stays, to be continued. Where
        several processes may ask for the same artifact use `build`, which also describes the
        arguments.

        Raises:
            StoreError: the artifact is already complete, the disk fails, or the lock is not to
                be had in time.
        """
        order = Order(kind=kind, name=name, identity=self._whole(identity), **details)
        with self._lock(self.root / order.id, on_wait) as lock:
            if self.find(kind, name, identity):
                raise StoreError(
                    f"{order.id} is already complete; look with `find` before, or use `build`."
                )
            with self._working(order, lock) as work:
                yield work

    def remove(self, damaged: Artifact | Path) -> None:
        """Delete a published artifact, saying so.

        Args:
            damaged: the artifact; nothing happens if another was made in its place meanwhile.
                Or its folder (as `CorruptArtifactError.artifact_path`); nothing happens if all
                its bytes are right.
        """
        self._put_away(damaged, keep=False)

    def quarantine(self, damaged: Artifact | Path) -> Path | None:
        """As `remove`, but keep the bytes beneath `<root>/.quarantine`; returns where."""
        return self._put_away(damaged, keep=True)

    def _put_away(self, damaged: Artifact | Path, *, keep: bool) -> Path | None:
        path = damaged.path if isinstance(damaged, Artifact) else damaged
        with self._lock(path, None) as lock:
            if not path.exists():
                return None
            reason = "as was asked"
            try:
                now = Artifact(path)
                if isinstance(damaged, Artifact) and now.manifest != damaged.manifest:
                    return None
                now.verify()
                if not isinstance(damaged, Artifact):
                    return None
            except CorruptArtifactError as error:
                reason = str(error).splitlines()[0]
            lock.require()
            if not keep:
                LOG.warning("removing %s: %s", path, reason)
                self.disk.remove_tree(path)
                return None
            folder = self.root / _QUARANTINE / path.parent.name
            free = (folder / f"{path.name}.{count}" for count in range(10**6))
            target = next(p for p in free if not p.exists())
            LOG.warning("putting %s aside as %s: %s", path, target, reason)
            self.disk.makedirs(folder)
            self.disk.replace(path, target)
            return target

    def _look(self, path: Path, wanted: str) -> tuple[Artifact | None, Status | None]:
        """Return (the artifact, None) if it is complete, else (None, what is wrong with it)."""
        state: State = "corrupt"
        if not path.is_dir():
            reason = f"{path} is no folder" if path.is_file() else None
            return None, Status(state=state, reason=reason) if reason else None
        try:
            artifact = Artifact(path)
            if artifact.manifest["identity_sha256"] != wanted:
                reason = f"{path} holds another identity with the same first digits"
            elif fault := artifact.fault():
                reason = f"{path} is corrupt: {fault}"
            elif change := changed(self.root, artifact.manifest):
                state, reason = "stale", f"{path} does not hold any more: {change}"
            else:
                return artifact, None
        except CorruptArtifactError as error:
            reason = str(error).splitlines()[0]
        return None, Status(state=state, reason=reason)

    def _lock(self, path: Path, on_wait: OnWait | None) -> ArtifactLock:
        return ArtifactLock(
            _beside(path, ".lock"),
            timeout_seconds=self.lock_timeout_seconds,
            on_wait=on_wait,
            on_silent=lambda: self._move_on(path),
            disk=self.disk,
            times=self.times,
        )

    def _move_on(self, path: Path) -> None:
        """Rename the working folder of a silent maker, which may wake: it shall not find it."""
        found = partials_now(path)
        target = _beside(path, f".partial-{partial_number(found[-1]) + 1 if found else 2}")
        if found:
            self.disk.replace(found[-1], target)
        else:
            self.disk.makedirs(target)

    @contextmanager
    def _working(self, order: Order, lock: ArtifactLock) -> Iterator[Work]:
        """Yield the working folder and publish it. The lock must be held.

        Raises:
            LeaseLostError: the lock was taken over meanwhile; nothing is published.
        """
        path = self.root / order.id
        _, fault = self._look(path, identity_hash(order.kind, order.name, order.identity))
        found = partials_now(path)
        lock.require()  # so what was found is of the time the lock was held
        if fault:
            LOG.warning("%s; it is removed and made anew", fault.reason)
            self.disk.remove_tree(path)
        folder = found[-1] if found else _beside(path, ".partial")
        try:
            work = Work(folder, order, self.disk)
            observed, known = self._observed or (None, ())
            if observed is not None:
                begin(folder, self.disk)
            yield work
            self._require_unchanged(folder)
            beside = surroundings(self.root, order.upstream or {}, observed, known)
            work.publish(path, lock.require, surroundings=beside)
        except Exception as error:
            if lock.lost:  # and the folder was taken from under the work: that is what happened
                lock.require()
            if isinstance(error, OSError) and error.errno in _DISK_FAILURES:
                raise store_error(Path(error.filename or folder), error) from error
            raise
        for left in partials_now(path):  # a silent maker that woke may have begun it again
            self.disk.remove_tree(left)

    def _require_unchanged(self, folder: Path) -> None:
        """Look whether what it is made with changed; where it did, remove the working folder."""
        try:
            for check in self._checks:
                check()
            if self._observed is not None:
                observed, known = self._observed
                require_as_begun(folder, self.root, observed, known, self.disk)
        except BaseException:
            self.disk.remove_tree(folder)
            raise

    def _folders(self, kind: str | None = None) -> Iterator[Path]:
        """Yield the folders of published artifacts, sorted."""
        for path in sorted(self.root.glob(f"{kind or '[!.]*'}/*")):
            if is_published(path.name) and path.is_dir():
                yield path


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _nearest(folders: Iterable[Path], wanted: Mapping[str, Any]) -> Artifact | None:
    """Return the artifact that differs least from what is wanted, if any can be read."""
    opened = []
    for path in folders:
        try:
            opened.append(Artifact(path))
        except CorruptArtifactError:
            continue
    # of several that are as near, the newest
    opened.sort(key=lambda a: (str(a.manifest.get("created")), a.id), reverse=True)
    return min(opened, key=lambda a: len(diff_identity(a.identity, wanted)), default=None)
