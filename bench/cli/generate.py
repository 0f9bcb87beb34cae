"""`bench generate`: sample images from a checkpoint, by a table column's protocol or by a file.

bench generate --checkpoint tiny-sd --col GE --limit 24
bench generate --checkpoint train/tiny.ddspo.t0-0123456789ab --col GE --geneval-folder out/
bench generate --prompts my_prompts.txt --images-per-prompt 2 --set generation.steps=20
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.api.registry import DEFAULT_EVALUATOR
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._progress import shown_work
from bench.cli._request import add_profile, add_work, go_offline, setting_of
from bench.cli._verbs import VERBS


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("generate", help=VERBS["generate"], description=__doc__)
    add_profile(parser)
    parser.add_argument(
        "--checkpoint",
        metavar="NAME",
        help="shipped name, folder, hub id or train/... (default: the profile's base)",
    )
    parser.add_argument("--table", default="1a", metavar="NAME", help="whose protocol (1a)")
    parser.add_argument("--col", default="GE", metavar="KEY", help="which column's (GE)")
    parser.add_argument("--prompts", type=Path, metavar="FILE", help="one prompt a line instead")
    parser.add_argument("--limit", type=int, metavar="N", help="about N prompts, stratified")
    parser.add_argument("--images-per-prompt", type=int, metavar="N")
    parser.add_argument("--seed", type=int, metavar="N", help="default: the profile's")
    parser.add_argument(
        f"--{DEFAULT_EVALUATOR}-folder",
        dest="official_folder",
        type=Path,
        metavar="DIR",
        help="copy them there in the layout of that benchmark's own scripts",
    )
    add_work(parser)
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Generate and print the artifact."""
    go_offline(args)
    from bench.harness.images import generate

    with shown_work(args) as work:
        found = generate(
            args.checkpoint,
            table=args.table,
            column=args.col,
            prompts=args.prompts,
            limit=args.limit,
            images_per_prompt=args.images_per_prompt,
            seed=args.seed,
            **setting_of(args),
            **work,
        )
    if args.official_folder is not None:
        found.write_folder(args.official_folder, DEFAULT_EVALUATOR)
    if args.json:
        print_json({"artifact": found.id, "path": str(found.artifact.path)})
    else:
        print(f"{found.id}\n{found.artifact.path}")
    return 0
