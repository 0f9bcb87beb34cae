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
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.errors import UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_store, add_trust, go_offline, no_bars, store_of
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.data.curation.run import Plan
    from bench.data.curation.settings import CurationSettings

LOG = logging.getLogger(__name__)
_SAY_EVERY_SECONDS = 10.0


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("curate", help=VERBS["curate"], description=__doc__)
    parser.add_argument(
        "--profile", default="tiny", metavar="NAME", help="tiny, paper, or a YAML file of your own"
    )
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
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="change a setting, e.g. saliency.name=u2net; may be repeated",
    )
    add_trust(parser)
    add_store(parser)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images painted at once")
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
    from bench.data.curation.run import Plan
    from bench.data.curation.table import COLUMNS, markdown, report
    from bench.spec.overrides import require_read

    store = store_of(args)
    plan = Plan(store, settings_of(args))
    require_read(
        args.overrides,
        lambda overrides: settings_of(args, overrides),
        lambda settings: [Plan(store, settings).ids(), settings.name],
        lambda: asdict(settings_of(args, ())),
    )
    if args.dry_run:
        return _dry_run(plan, as_json=args.json)
    done = plan.found()
    if done is not None:
        LOG.info("nothing to do: every step is there")
    else:
        done = plan.run(
            device=None if args.device == "auto" else args.device,
            batch_size=args.batch_size,
            progress=_Progress(),
        )
    data = report(done.steps)
    folder = store.root / "tables" / f"curation-{plan.settings.name}"
    for file, text in (
        ("report.md", markdown(data)),
        ("report.json", json.dumps(data, indent=1, sort_keys=True) + "\n"),
    ):
        store.disk.write_atomically(folder / file, text.encode())
    if args.sheet is not None:
        from bench.data.curation.sheet import contact_sheet

        store.disk.write_atomically(args.sheet, contact_sheet(done.steps))
    if args.json:
        print_json(data)
    else:
        print_rows(data["table"], COLUMNS)
        if data["dropped"]:
            print()
            print_rows(data["dropped"], ("step", "reason", "count", "example"))
        print()
        for key, value in data["thresholds"].items():
            print(f"{key}: {'-' if value is None else value}")
        print(f"circular: metrics of {', '.join(data['circular'])}, which selected these pairs")
        print(f"report: {folder / 'report.md'}\n{done.selection.id}")
    if not data["pairs"]:
        LOG.warning("no pair is left; the table says where the images went")
        return 1
    return 0


def settings_of(
    args: argparse.Namespace, overrides: Sequence[str] | None = None
) -> CurationSettings:
    """Return the profile's settings with the options in place, `overrides` for those of `--set`.

    Raises:
        UsageError: an option or a setting is wrong.
    """
    import yaml

    from bench.data.curation.settings import load_settings

    changes: dict[str, Any] = {}
    if args.images is not None:
        changes |= {"source.kind": "folder", "source.folder": args.images}
    if args.captions is not None:
        changes["source.captions"] = args.captions
    if args.uids is not None:
        changes |= {"source.uids": args.uids, "colour.rule": "none", "scores.min_gap": None}
        changes |= {"top_k": None, "judge.name": None}
    if args.given:
        changes["negatives.kind"] = "given"
    for key, value in (("name", args.name), ("source.limit", args.limit)):
        if value is not None:
            changes[key] = value
    for assignment in args.overrides if overrides is None else overrides:
        key, equals, text = assignment.partition("=")
        if not equals or not key:
            raise UsageError(f"--set {assignment!r}; expected KEY=VALUE, e.g. top_k=128.")
        try:
            changes[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UsageError(f"--set {assignment!r}: the value cannot be read.") from error
    return load_settings(args.profile, changes, trust=args.trust)


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
