"""`bench train METHOD`: train one method, and say where the result lies.

bench train ddspo
bench train realalign --data photos --dry-run
bench train realalign --start-from train/tiny.diffusion-dpo.t0-0123456789ab
bench train realalign --stage stage1
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import shown_work
from bench.cli._request import add_profile, add_work, go_offline, setting_of
from bench.cli._verbs import VERBS
from bench.spec.table import PAIRINGS

if TYPE_CHECKING:
    from bench.harness.training import TrainingPlan


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
    if (args.method is None) == (args.named is None):
        raise UsageError("name one method, such as: bench train ddspo (see bench list methods).")
    asked = {
        "method": args.method or args.named,
        "seed": args.seed,
        "stage": args.stage,
        "start_from": args.start_from,
        "data": args.data,
        "pairs": args.pairs,
        **setting_of(args),
    }
    from bench.harness.training import plan_training, train

    if args.dry_run:
        return _show(args, plan_training(**asked))
    with shown_work(args) as work:
        found = train(**asked, **vars(work))
    result: dict[str, Any] = {
        "artifact": found.id,
        "export": str(found.export),
        "method": found.settings,
        "train": found.train,
        "start": found.start,
    }
    if args.json:
        print_json(result)
    else:
        print(f"{result['artifact']}\n{result['export']}")
    return 0


def _show(args: argparse.Namespace, plan: TrainingPlan) -> int:
    """Print what the training would cost; 3 where a prerequisite is missing."""
    from bench.cli._training import estimate_json, estimate_lines

    missing = list(plan.missing)
    if args.json:
        print_json({"trainings": [estimate_json(e) for e in plan.trainings], "missing": missing})
    else:
        for estimate in plan.trainings:
            print("\n".join(estimate_lines(estimate)))
        for text in missing:
            print(f"lacking  {text}")
    return 3 if missing else 0
