"""`bench assets build|verify|fetch`: the weights a profile needs.

`build` makes the tiny world's networks from nothing, resumable after any interruption; `verify`
compares the shipped bytes with their hashes; `fetch` brings hub checkpoints into the local cache.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.api.errors import PrerequisiteError, UsageError
from bench.cli._output import print_json, print_rows
from bench.cli._parser import Subparsers, add_common
from bench.cli._verbs import VERBS

WORK = Path("outputs/assets")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("assets", help=VERBS["assets"], description=__doc__)
    parser.add_argument("action", choices=["build", "verify", "fetch"])
    parser.add_argument("names", nargs="*", metavar="NAME", help="assets, or hub ids to fetch")
    parser.add_argument("--work", type=Path, default=WORK, help=f"folder of the build ({WORK})")
    parser.add_argument("--out", type=Path, help="where to put what is built (the package itself)")
    parser.add_argument("--again", action="store_true", help="build what is already there, too")
    parser.add_argument("--revision", help="revision to fetch")
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Build, verify or fetch."""
    if args.action == "fetch":
        rows = [_fetch(name, args.revision) for name in args.names]
        if not rows:
            raise UsageError("nothing to fetch; name hub ids, e.g. CompVis/stable-diffusion-v1-4")
    elif args.action == "verify":
        from bench.tiny.assets import verify

        rows = [{"asset": name, "sha256": digest} for name, digest in verify().items()]
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
        print_rows(rows, list(rows[0]))
    return 0


def _fetch(hub_id: str, revision: str | None) -> dict[str, str]:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.txt", "*.model", "*.safetensors"]
    try:
        folder = snapshot_download(hub_id, revision=revision, allow_patterns=wanted)
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        raise PrerequisiteError(
            f"cannot fetch {hub_id!r}: {str(error).splitlines()[0]}",
            fix=f"on a machine with network: python -m bench assets fetch {hub_id}, "
            "then copy HF_HOME here",
        ) from error
    return {"repository": hub_id, "folder": folder}
