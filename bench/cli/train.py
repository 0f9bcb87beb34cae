"""`bench train METHOD`: train one method, and say where the result lies.

bench train ddspo
bench train realalign --data photos --dry-run
bench train realalign --start-from train/tiny.diffusion-dpo.t0-0123456789ab
bench train realalign --stage stage1
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_profile, add_work, go_offline, store_of
from bench.cli._sets import require_part_sets
from bench.cli._verbs import VERBS
from bench.spec.table import PAIRINGS

if TYPE_CHECKING:
    from bench.spec.table import RowSpec
    from bench.steps.builder import GraphBuilder


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser(
        "train",
        help=VERBS["train"],
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "method", nargs="?", metavar="METHOD", help="a name, pkg.mod:Class or file.py:Class"
    )
    parser.add_argument("--method", dest="named", metavar="METHOD", help="the same as an option")
    add_profile(parser)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="training seed")
    parser.add_argument("--stage", metavar="NAME", help="end with this stage of the method")
    parser.add_argument(
        "--start-from",
        metavar="WHAT",
        help="in place of the base: train/..., a method, or a folder or hub id of a pipeline, a "
        "network or a LoRA",
    )
    parser.add_argument("--data", metavar="NAME", help="a data set the profile names")
    parser.add_argument("--pairs", choices=PAIRINGS, default="standard", help="or a control")
    parser.add_argument(
        "-n", "--dry-run", action="store_true", help="say what it would cost, and start nothing"
    )
    add_work(parser)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Train and print the artifact."""
    go_offline(args)
    row = _row(args)
    from bench.cli._parts import finish, open_source
    from bench.steps.training import add_training

    def build(source: GraphBuilder) -> str:
        return add_training(source, row, args.seed, until=args.stage)

    source = open_source(args, store_of(args))
    key = build(source)
    require_part_sets(args, source.store, build)
    if args.dry_run:
        return _show(args, source, key)
    code = finish(args, source, [key])
    if code:
        return code
    from bench.generation.checkpoint import export_folder

    artifact = source.store.get(key)
    node = source.graph[key]
    result: dict[str, Any] = {
        "artifact": key,
        "export": str(export_folder(artifact)),
        "method": node.identity["method"]["config"],
        "train": node.identity["train"],
        "start": artifact.manifest["notes"].get("start"),
    }
    if args.json:
        print_json(result)
    else:
        print(f"{result['artifact']}\n{result['export']}")
    return 0


def _row(args: argparse.Namespace) -> RowSpec:
    """Return what is asked for as a row.

    Raises:
        UsageError: no method, or two of them, or it is unknown.
    """
    from bench.spec.added import method_row

    if (args.method is None) == (args.named is None):
        raise UsageError("name one method, such as: bench train ddspo (see bench list methods).")
    row = method_row(args.method or args.named)
    parts = [row.key]
    parts += [] if args.pairs == "standard" else [args.pairs]
    parts += [f"on-{args.data}"] if args.data else []
    parts += ["continued"] if args.start_from else []
    return replace(
        row, key="-".join(parts), pairs=args.pairs, data=args.data, start=args.start_from
    )


def _show(args: argparse.Namespace, source: GraphBuilder, key: str) -> int:
    """Print what the training would cost; 3 where a prerequisite is missing."""
    from bench.cli._training import estimate_json, estimate_lines
    from bench.executors.estimate import training_estimates

    found = training_estimates(source, key)
    missing = [str(error) for error in source.missing.values()]
    if args.json:
        print_json({"trainings": [estimate_json(e) for e in found], "missing": missing})
    else:
        for estimate in found:
            print("\n".join(estimate_lines(estimate)))
        for text in missing:
            print(f"lacking  {text}")
    return 3 if missing else 0
