"""How long the command line takes to start: `python benchmarks/startup.py`. Target: under 0.3 s.

Each command runs in a fresh process; the best of five is shown, since a shared machine only adds.
"""

import subprocess
import sys
import time

COMMANDS = (
    ("--help",),
    ("list", "methods"),
    ("list", "evaluators"),
    ("list", "tables"),
    ("run", "--help"),
    ("plan", "--help"),
    ("report", "--help"),
)
TARGET_SECONDS = 0.3


def seconds(command: tuple[str, ...], repeats: int = 5) -> float:
    """Return the shortest wall time of `bench` with these arguments."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "bench", *command], check=True, capture_output=True)
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    """Print one line for each command."""
    for command in COMMANDS:
        took = seconds(command)
        mark = "" if took < TARGET_SECONDS else "   above the target"
        print(f"bench {' '.join(command):<18} {took:.3f} s{mark}")


if __name__ == "__main__":
    main()
