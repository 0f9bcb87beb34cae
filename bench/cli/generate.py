"""`bench generate`: sample images from a checkpoint, by a table column's protocol or by a file.

bench generate --checkpoint tiny-sd --col GE --limit 24
bench generate --checkpoint train/tiny.ddspo.t0-0123456789ab --col GE --geneval-folder out/
bench generate --prompts my_prompts.txt --images-per-prompt 2 --set generation.steps=20
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.errors import UsageError
from bench.api.registry import DEFAULT_EVALUATOR, EVALUATORS
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_profile, add_work, go_offline, store_of
from bench.cli._sets import require_part_sets
from bench.cli._verbs import VERBS

if TYPE_CHECKING:
    from bench.spec.profile import Profile
    from bench.spec.protocol import ColumnProtocol
    from bench.steps.builder import GraphBuilder


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
    from bench.cli._parts import finish, open_source
    from bench.generation.checkpoint import CheckpointRef
    from bench.generation.image_set import open_image_set
    from bench.spec.protocol import load_suite
    from bench.steps.images import add_images

    def build(source: GraphBuilder) -> str:
        protocol = _protocol(args, source.profile)
        base = source.base()
        checkpoint = base if args.checkpoint is None else CheckpointRef.parse(args.checkpoint)
        if checkpoint.kind == "train":
            source.store.get(checkpoint.location)
            checkpoint = replace(checkpoint, base=base)
        return add_images(
            source,
            checkpoint,
            protocol=protocol,
            suite=load_suite(protocol.suite, args.limit),
            noise_seed=source.profile.sampling_seed if args.seed is None else args.seed,
        )

    source = open_source(args, store_of(args))
    key = build(source)
    require_part_sets(args, source.store, build)
    code = finish(args, source, [key])
    if code:
        return code
    artifact = source.store.get(key)
    if args.official_folder is not None:
        whose = EVALUATORS.load(DEFAULT_EVALUATOR)()
        whose.write_folder(open_image_set(artifact), args.official_folder)
    if args.json:
        print_json({"artifact": key, "path": str(artifact.path)})
    else:
        print(f"{key}\n{artifact.path}")
    return 0


def _protocol(args: argparse.Namespace, profile: Profile) -> ColumnProtocol:
    from bench.spec.protocol import SuiteSpec
    from bench.spec.table import load_table

    table = load_table(args.table, trust=args.trust)
    if table.world is not None:
        raise UsageError(f"table {table.name} has no images: it is of {table.world}.")
    found = profile.protocol_of(table, table.column(args.col))
    if found is None:
        raise UsageError(
            f"profile {profile.name} has no protocol {profile.protocol!r} for column {args.col}."
        )
    if args.prompts is not None:
        options = {"file": str(args.prompts), "name": args.prompts.stem}
        suite = SuiteSpec(function="bench.suites.files:captions", options=options)
        found = replace(found, suite=suite)
    if args.images_per_prompt is not None:
        found = replace(found, images_per_prompt=args.images_per_prompt)
    return found
