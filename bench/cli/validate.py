"""`bench validate PLUG-IN`: check a plug-in against its contract and say what to mend.

bench validate my_method.py:MyMethod          # on random latents
bench validate my_evaluator.py:MyEvaluator --set backends.my-role=my_evaluator.py:MyBackend
bench validate my_evaluator.py:MyBackend      # on rendered pictures of the tiny world
bench validate my_table.yaml
bench validate my_backbone.py:load_backbone --checkpoint DIR

An evaluator is run on pictures that the profile's back-ends have looked at; `--suite` chooses the
prompts. Exit code 2 when the contract is not fulfilled.
"""

from __future__ import annotations

import argparse

from bench.api.errors import ContractError
from bench.cli._output import print_json
from bench.cli._parser import Subparsers, add_common
from bench.cli._request import add_profile_name, add_set, no_bars
from bench.cli._verbs import VERBS

KINDS = ("method", "evaluator", "backend", "backbone", "table")
SUITES = ("captions-tiny", "geneval-tiny", "compbench-tiny")


def register(subparsers: Subparsers) -> argparse.ArgumentParser:
    """Add the verb's arguments."""
    parser = subparsers.add_parser("validate", help=VERBS["validate"], description=__doc__)
    parser.add_argument(
        "target", metavar="PLUG-IN", help="a name, pkg.mod:Class, file.py:Class or table.yaml"
    )
    parser.add_argument("--kind", choices=KINDS, help="of a name that several kinds have")
    parser.add_argument(
        "--suite", choices=SUITES, help="prompts for an evaluator; default: what suits its name"
    )
    parser.add_argument("--checkpoint", metavar="DIR", help="of a backbone: what it loads")
    add_profile_name(parser, "whose back-ends look (default: %(default)s)")
    add_set(parser, "change the profile, e.g. backends.my-role=my_evaluator.py:MyBackend")
    add_common(parser, json=True)
    return parser


def run(args: argparse.Namespace) -> int:
    """Check and print the outcome."""
    no_bars()
    from bench.harness.validation import validate

    outcome = validate(
        args.target,
        args.profile,
        kind=args.kind,
        suite=args.suite,
        overrides=args.overrides,
        checkpoint=args.checkpoint,
        trust=args.trust,
    )
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
