"""Run the numeric tests under every instruction set that the processor has.

    python -m tests.processors [--workers 2] [pytest's arguments]

is what `make test-cpus` calls. Each setting runs with one thread in a process and again with
two; settings that the processor lacks are named and left out.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

from bench.store.processor import cpu_model, settings

ROOT = Path(__file__).parents[1]
THREADS = (1, 2)


def main() -> int:
    """Return 0 where every setting passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=2, help="processes at a time")
    parser.add_argument("--only", help="the name of one setting")
    args, rest = parser.parse_known_args()
    print(f"processor: {cpu_model()}", flush=True)
    results: list[tuple[str, int, float]] = []
    for setting in settings():
        if args.only not in (None, setting.name):
            continue
        if setting.missing is not None:
            print(f"left out: {setting.name}: {setting.missing}", flush=True)
            continue
        for threads in THREADS:
            command = [sys.executable, "-m", "pytest", "-q", "-m", "numeric and not slow"]
            command += ["-n", str(args.workers), "--dist", "loadfile"] if args.workers > 1 else []
            environment = {**setting.environment(), "OMP_NUM_THREADS": str(threads)}
            print(f"== {setting.name}, threads {threads}", flush=True)
            began = time.monotonic()
            code = subprocess.run([*command, *rest], cwd=ROOT, env=environment, check=False)
            name = f"{setting.name}, threads {threads}"
            results.append((name, code.returncode, time.monotonic() - began))
    for name, returncode, seconds in results:
        print(f"{'passed' if returncode == 0 else 'FAILED'}  {seconds:5.0f} s  {name}")
    return int(any(returncode for _, returncode, _ in results) or not results)


if __name__ == "__main__":
    sys.exit(main())
