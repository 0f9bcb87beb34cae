"""The verbs of the command line: the one list of them.

To add a verb, write `bench/cli/<verb>.py` with

    def register(subparsers: Subparsers) -> argparse.ArgumentParser: ...
    def run(args: argparse.Namespace) -> int: ...

and put its line here (a test compares this list with the files). The module is imported only when
its verb is used, and must not import torch at its top: `bench <verb> --help` stays quick.
"""

from __future__ import annotations

from bench.cli._parser import Subparsers as Subparsers

VERBS: dict[str, str] = {
    "run": "make everything a table needs, and print the table",
    "plan": "say what a run would do, why, how long and how much",
    "report": "render a table again from what was stored",
    "compare": "say which numbers of two tables differ by more than noise",
    "curate": "make preference pairs of real images with captions",
    "train": "train one method on the profile's pairs",
    "generate": "sample images from a checkpoint",
    "score": "measure images, ours or those of others in a folder",
    "check": "score committed images again, and say what moved",
    "list": "list the methods, evaluators, tables, back-ends or prompt suites",
    "show": "show one method, evaluator, table or cell in full",
    "assets": "build, verify or fetch weights and prompt suites",
    "validate": "check a plug-in against its contract and say what to mend",
    "doctor": "say what this machine and this installation have, lack and set",
}
