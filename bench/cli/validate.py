"""`bench validate pkg.mod:Class`: check a plug-in against its contract and say what to mend.

A method is run on random latents. An evaluator is run on rendered pictures of the tiny world that
the tiny back-ends have looked at; `--suite` chooses the prompts. Exit code 2 when the contract is
not fulfilled.
"""

from __future__ import annotations

import argparse
from functools import partial

from bench.api.errors import ContractError
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._verbs import VERBS

SUITES = ("captions-tiny", "geneval-tiny", "compbench-tiny")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("validate", help=VERBS["validate"], description=__doc__)
    parser.add_argument("target", metavar="pkg.mod:Class", help="a path, or a registered name")
    parser.add_argument(
        "--suite", choices=SUITES, help="prompts for an evaluator; default: what suits its name"
    )
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check and print the outcome."""
    from bench.api.validate import validate
    from bench.cli._sample import rendered_sample

    outcome = validate(args.target, sample=partial(rendered_sample, suite_name=args.suite))
    if args.json:
        print_json(outcome.to_json())
    else:
        print(f"{outcome.kind} {outcome.target}: {len(outcome.passed)} checks hold")
        for fact, value in outcome.facts.items():
            print(f"  {fact}: {value}")
        for finding in outcome.findings:
            print(finding)
        print("the contract is fulfilled" if outcome.ok else "the contract is not fulfilled")
    return 0 if outcome.ok else ContractError.exit_code
