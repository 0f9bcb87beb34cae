"""`bench curate`: real images with captions in, pairs of a real image and its degraded copy out.

bench curate                                          (the tiny world's clean renders)
bench curate --images photos/ --captions captions.csv --set size=256 --set negatives.steps=20
bench curate --profile paper --images hpdv3/ --set saliency.options.weights=u2net.pth
bench curate --profile paper --images hpdv3/ --uids top_512.csv     (a published selection)
bench curate --images pairs/ --given --captions pairs.csv           (finished pairs of others)

What was dropped, and why, is printed and stored. Running the same command again resumes, or says
that all is there. The last artifact is what a data set of kind `curated` takes as `run`.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common, count
from bench.cli._request import add_profile_name, add_set, add_store, go_offline, no_bars
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.harness.curation import Curated, Plan

LOG = logging.getLogger(__name__)
_SAY_EVERY_SECONDS = 10.0


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("curate", help=VERBS["curate"], description=__doc__)
    add_profile_name(parser)
    parser.add_argument("--images", metavar="DIR", help="folder of images, or hub:owner/name")
    parser.add_argument(
        "--captions", metavar="FILE", help="JSONL or CSV (default: captions.*, or .txt files)"
    )
    parser.add_argument(
        "--uids", metavar="FILE", help="CSV of uids: take exactly these, and filter nothing"
    )
    parser.add_argument(
        "--given", action="store_true", help="the captions name the degraded copies; paint nothing"
    )
    parser.add_argument("--name", metavar="NAME", help="of the run (default: the profile's)")
    parser.add_argument("--limit", type=int, metavar="N", help="the first N images")
    add_set(parser, "change a setting, e.g. saliency.name=u2net; may be repeated")
    add_store(parser)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--batch-size", type=count, metavar="N", help="images painted at once")
    parser.add_argument(
        "--offline", action="store_true", help="never use the network (sets HF_HUB_OFFLINE=1)"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what is there, and end")
    parser.add_argument("--sheet", type=Path, metavar="FILE", help="write a contact sheet (PNG)")
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Curate, print the table and write it beside the artifacts."""
    go_offline(args)
    no_bars()
    from bench.harness.curation import CurationRequest, curate

    request = CurationRequest(
        profile=args.profile,
        images=args.images,
        captions=args.captions,
        uids=args.uids,
        given=args.given,
        name=args.name,
        limit=args.limit,
        overrides=args.overrides,
        trust=args.trust,
        store=args.store,
    )
    if args.dry_run:
        return _dry_run(request.plan(), as_json=args.json)
    found = curate(
        request,
        device=None if args.device == "auto" else args.device,
        batch_size=args.batch_size,
        on_progress=_Progress(),
    )
    if found.was_complete:
        LOG.info("nothing to do: every step is there")
    if args.sheet is not None:
        found.write_sheet(args.sheet)
    if args.json:
        print_json(found.report)
    else:
        _print(found)
    if not found.report["pairs"]:
        LOG.warning("no pair is left; the table says where the images went")
        return 1
    return 0


def _print(found: Curated) -> None:
    data = found.report
    print_rows(data["table"], list(data["table"][0]))
    if data["dropped"]:
        print()
        print_rows(data["dropped"], ("step", "reason", "count", "example"))
    print()
    for key, value in data["thresholds"].items():
        print(f"{key}: {'-' if value is None else value}")
    print(f"circular: metrics of {', '.join(data['circular'])}, which selected these pairs")
    print(f"report: {found.folder / 'report.md'}\n{found.id}")


def _dry_run(plan: Plan, *, as_json: bool) -> int:
    ids = plan.ids()
    rows = [
        {"step": name, "state": status.state, "artifact": ids[name], "reason": status.reason}
        for name, status in plan.status().items()
    ]
    if as_json:
        print_json(rows)
    else:
        print_rows(rows, ("step", "state", "artifact"))
    return 0


class _Progress:
    """A line on stderr every few seconds, and one at the end of each step."""

    def __init__(self) -> None:
        self._said = time.monotonic()

    def __call__(self, step: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done == total or now - self._said > _SAY_EVERY_SECONDS:
            LOG.info("%s: %d of %d images", step, done, total)
            self._said = now
