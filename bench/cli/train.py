"""`bench train METHOD`: train one method, and say where the result lies.

bench train ddspo
bench train realalign --data photos --dry-run
bench train realalign --start-from train/tiny.diffusion-dpo.t0-0123456789ab
bench train realalign --stage stage1
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.cli._output import hanging, print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import duration, shown_work, size
from bench.cli._request import add_profile, add_ranks, add_work, go_offline, setting_of
from bench.cli._verbs import VERBS
from bench.spec.table import PAIRINGS

if TYPE_CHECKING:
    from bench.harness.training import TrainingEstimate, TrainingPlan


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
    add_ranks(parser)
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
        return _show(args, plan_training(**asked, ranks=args.ranks))
    with shown_work(args) as work:
        found = train(**asked, **work)
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
    missing = list(plan.missing)
    if args.json:
        print_json({"trainings": [e.to_json() for e in plan.trainings], "missing": missing})
    else:
        for estimate in plan.trainings:
            print("\n".join(_estimate_lines(estimate)))
        for text in missing:
            print(f"lacking  {text}")
    return 3 if missing else 0


def _estimate_lines(found: TrainingEstimate) -> list[str]:
    """Return an estimate as lines for reading."""
    train = found.train
    share = f"{train.micro_batch} x {found.micro_batches} micro-batches"
    one = found.processes == 1
    processes = "1 process" if one else f"{found.processes} ranks"
    devices = "one device" if one else f"{found.processes} devices, at best"
    warm_up = f", warm-up over {train.warmup_steps} updates" if train.warmup_steps else ""
    rows = {
        "method": _settings(found.method),
        "settings": found.settings,
        "data": _data(found),
        "effective batch": f"{train.batch} pairs = {share}, {processes}",
        "learning rate": f"{train.lr:g} (effective, whatever the number of devices){warm_up}",
        "steps": f"{train.steps} optimiser steps, {found.visits} pairs seen",
        "epochs": "not known" if found.epochs is None else f"{found.epochs:.2f} of {found.pairs}",
        "trained": _trained(found),
        "precision": {"no": "float32"}.get(train.precision, train.precision),
        "moving average": "none" if train.ema_decay is None else _average(found),
        "memory, estimate": _memory(found.memory) + ("" if one else ", on each device"),
        "time, estimate": f"{duration(3600 * found.hours / found.processes)} on {devices} "
        f"({found.hours:.2f} device-hours), at the profile's speed",
        "artifact": found.artifact,
    }
    width = max(map(len, rows))
    lines = (hanging(f"  {name:<{width}}  ", text) for name, text in rows.items())
    return [found.label, *"\n".join(lines).splitlines()]


def _data(found: TrainingEstimate) -> str:
    """Return which data set, and what must be sampled or encoded for it."""
    if found.data_there:
        return f"{found.data}, which is there: no image to sample"
    if found.encoded:
        return f"{found.data}: {found.encoded}, about {duration(3600 * found.data_hours)}"
    if found.images is None:
        return f"{found.data}; how many images must be sampled for it is not known"
    if found.images == 0:
        return f"{found.data}: no image to sample"
    time = duration(3600 * found.data_hours)
    return f"{found.data}: {found.images:,} images to sample first, about {time}"


def _settings(method: Mapping[str, Any]) -> str:
    rest = ", ".join(f"{k} {v}" for k, v in method.items() if k != "name" and v is not None)
    return f"{method['name']} ({rest})" if rest else str(method["name"])


def _trained(found: TrainingEstimate) -> str:
    train = found.train
    what = "all weights"
    if train.mode == "lora":
        what = f"a LoRA of rank {train.lora_rank}, alpha {train.lora_alpha:g}"
    if found.trainable is None:
        return f"{what} (how many parameters is not known: the weights are not here)"
    return f"{what}: {found.trainable:,} of {found.parameters:,} parameters"


def _average(found: TrainingEstimate) -> str:
    train = found.train
    return f"decay {train.ema_decay:g}, {train.ema_rule}, every {train.ema_every} updates"


def _memory(memory: Mapping[str, int]) -> str:
    if not memory:
        return "not known: the network's weights are not here"
    parts = ", ".join(f"{name} {size(count)}" for name, count in memory.items())
    hint = "" if "activations" in memory else "; activations not known, they come on top"
    return f"about {size(sum(memory.values()))} ({parts}{hint})"
