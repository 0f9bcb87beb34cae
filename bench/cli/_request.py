"""Options that say which table, or which part of one; shared by several verbs."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.registry import DEFAULT_PROFILE

if TYPE_CHECKING:
    from bench.spec.head import ProfileHead
    from bench.spec.request import Request

DEFAULT_STORE = "outputs"
BARS_WANTED = "TQDM_DISABLE" not in os.environ
"""Whether the user left progress displays on; asked before `no_bars` turns the libraries' off."""


def add_request(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose table, profile, rows, columns, seeds and sizes."""
    parser.add_argument(
        "--table", required=True, metavar="NAME", help="see `bench list tables`, or a YAML file"
    )
    add_profile(parser)
    parser.add_argument(
        "--rows", type=names, default=(), metavar="A,B", help="row keys; default: all but controls"
    )
    parser.add_argument(
        "--cols", type=names, default=(), metavar="A,B", help="column keys; default: all"
    )
    parser.add_argument("--controls", action="store_true", help="the control rows too (slow)")
    parser.add_argument(
        "--scales",
        action="store_true",
        help="planned claims at the base's and each row's own best guidance scale too",
    )
    parser.add_argument(
        "--seeds",
        type=_numbers,
        metavar="0,1,2",
        help="training seeds (default: the table's own, or 0)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help="about N prompts per suite, stratified by task; the table is marked partial",
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        metavar="PKG.MOD:CLASS",
        help="one more row, trained with this method (also file.py:Class); may be repeated",
    )
    parser.add_argument(
        "--row",
        action="append",
        default=[],
        metavar="LABEL=WEIGHTS",
        help="one more row: a LoRA, network or pipeline, hub id or train/...; may be repeated",
    )


def add_profile_name(
    parser: argparse.ArgumentParser, text: str = "tiny, paper, or a YAML file of your own"
) -> None:
    """Add the option that chooses the profile."""
    parser.add_argument("--profile", default=DEFAULT_PROFILE, metavar="NAME", help=text)


def add_set(parser: argparse.ArgumentParser, text: str) -> None:
    """Add the options that change settings, and trust the files they stand in."""
    parser.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help=text
    )
    add_trust(parser)


def add_profile(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose and change the profile, and the store."""
    add_profile_name(parser)
    parser.add_argument(
        "--protocol", metavar="NAME", help="how images are made, e.g. authors or official"
    )
    add_set(parser, "change a setting of the profile, e.g. generation.steps=4; may be repeated")
    add_store(parser)
    parser.add_argument(
        "--offline", action="store_true", help="never use the network (sets HF_HUB_OFFLINE=1)"
    )


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add `--trust`."""
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run code that your YAML files name by a path, beside what is registered",
    )


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add `--store`."""
    parser.add_argument(
        "--store", type=Path, default=Path(DEFAULT_STORE), metavar="DIR", help="default: outputs"
    )


def add_work(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how the work is done; no number depends on them."""
    parser.add_argument(
        "--jobs", type=int, metavar="N", help="worker processes (default: one per core, or per GPU)"
    )
    parser.add_argument(
        "--gpus", type=int, metavar="N", help="GPUs, one to a worker (default: all visible)"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="default: the profile's")
    parser.add_argument(
        "--executor",
        choices=["local", "ray"],
        default="local",
        help="where workers run: this machine, or a Ray cluster that is there (default: local)",
    )
    parser.add_argument(
        "--ray-address",
        metavar="HOST:PORT",
        help="of the cluster's head (default: that of which this machine is a part)",
    )


def add_ranks(parser: argparse.ArgumentParser) -> None:
    """Add `--ranks`."""
    parser.add_argument(
        "--ranks",
        type=int,
        default=1,
        metavar="N",
        help="processes that share each training, a GPU or a core each (default: 1)",
    )


def request_of(args: argparse.Namespace) -> Request:
    """Return the request of the options `add_request` added.

    Raises:
        UsageError: something is unknown, or nothing reads what `--set` says.
    """
    go_offline(args)
    no_bars()
    from bench.harness.requests import refuse_device, request_for

    request = request_for(
        args.table,
        args.profile,
        store=args.store,
        rows=args.rows,
        columns=args.cols,
        controls=args.controls,
        scales=args.scales,
        seeds=args.seeds,
        limit=args.limit,
        methods=args.method,
        overrides=args.overrides,
        protocol=args.protocol,
        weights=args.row,
        trust=args.trust,
    )
    refuse_device(request, args.device, getattr(args, "ranks", 1))
    return request


def no_bars() -> None:
    """Keep the libraries' progress bars from running through ours; before they are imported."""
    os.environ.setdefault("TQDM_DISABLE", "1")


def go_offline(args: argparse.Namespace) -> None:
    """Keep this process and its workers from the network, where `--offline` says so."""
    if args.offline:
        os.environ["HF_HUB_OFFLINE"] = "1"


def setting_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_profile` say, by the names that `bench.harness` gives it."""
    no_bars()
    return {
        "profile": args.profile,
        "overrides": args.overrides,
        "protocol": args.protocol,
        "trust": args.trust,
        "store": args.store,
    }


def how_asked(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_work` and `add_ranks` say, as fields of `Work`."""
    names = ("jobs", "gpus", "device", "ranks", "executor", "ray_address")
    return {name: getattr(args, name) for name in names if name in args}


def job_count(args: argparse.Namespace, profile: ProfileHead) -> int:
    """Return the number of worker processes.

    Raises:
        UsageError: it is not positive.
    """
    from bench.harness.work import Work

    asked = Work(**how_asked(args))
    return asked.job_count(profile)


def names(text: str) -> tuple[str, ...]:
    """Return the names of a list such as `a,b`."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise argparse.ArgumentTypeError("expected names separated by commas")
    return found


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list such as 0,1,2") from None
