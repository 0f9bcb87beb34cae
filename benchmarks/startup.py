"""What the command line takes to start: `python benchmarks/startup.py`. Target: 0.3 s of processor.

Each command runs in a fresh process; the best of five is shown, since a shared machine only adds.
The last two do their work, too: the plan of a table at three seeds, from prompts that are drawn and
sources that are hashed, and the report of a published one from its 54,000 records.
"""

import os
import subprocess
import sys

COMMANDS = (
    "--help",
    "list methods",
    "list evaluators",
    "list tables",
    "run --help",
    "plan --help",
    "report --help",
    "plan --table 1a --store no-such-store",
    "report --table 1a --from results",
)
TARGET_SECONDS = 0.3


def seconds(command: str, repeats: int = 5) -> float:
    """Return the least processor time of `bench` with these arguments."""
    best = float("inf")
    for _ in range(repeats):
        before = os.times()
        words = [sys.executable, "-m", "bench", *command.split()]
        subprocess.run(words, check=True, capture_output=True)
        after = os.times()
        spent = after.children_user + after.children_system
        best = min(best, spent - before.children_user - before.children_system)
    return best


def main() -> None:
    """Print one line for each command."""
    for command in COMMANDS:
        took = seconds(command)
        mark = "" if took < TARGET_SECONDS else "   above the target"
        print(f"bench {command:<38} {took:.2f} s{mark}")


if __name__ == "__main__":
    main()
