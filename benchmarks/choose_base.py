"""The base that shows most of what is there to be seen: `python benchmarks/choose_base.py BASE...`.

On each base the control that must improve (SFT on right pictures under true captions) is trained
and measured on validation prompts, at the scale that the rule chose for that base
(results/scales.json). The base on which its gain stands out most, in units of its standard error,
is the one that protocol 2's tables use. No method is looked at. Gains and choice go to
results/base-choice.json; running it again continues.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench import harness

ROOT = Path(__file__).parents[1]
SCALES = ROOT / "results" / "scales.json"
FILE = ROOT / "results" / "base-choice.json"
TABLE, PROFILE, PROTOCOL, COLUMN, BASE, CONTROL = (
    "1a",
    "tiny",
    "validation",
    "GE",
    "base",
    "sft-truth",
)


def gain(base: str, scale: float, *, seeds: int, store: Path, jobs: int) -> dict[str, Any]:
    """Return what the control gains over the base at a scale."""
    result = harness.run(
        TABLE,
        PROFILE,
        store=store,
        folder=store / "bases" / base,
        jobs=jobs,
        rows=[BASE, CONTROL],
        columns=[COLUMN],
        seeds=list(range(seeds)),
        protocol=PROTOCOL,
        overrides=[f"checkpoint.location={base}", f"generation.cfg_scale={scale:g}"],
    )
    for label, failure in result.failures.items():
        raise SystemExit(f"{label}: {failure.message}")
    found = result.stored.statistics.difference(CONTROL, COLUMN)
    values = {row: result.value(row, COLUMN).estimate.value for row in (BASE, CONTROL)}
    assert found.estimate is not None
    value, stderr = found.estimate.value, found.estimate.stderr
    return {"scale": scale, "values": values, "gain": value, "stderr": stderr, "z": value / stderr}


def main() -> None:
    """Print and write each base's gain, and the choice."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bases", nargs="+", metavar="BASE")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--store", type=Path, default=ROOT / "outputs")
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    scales = json.loads(SCALES.read_text())
    found = {}
    for base in arguments.bases:
        scale = scales[base]["rule"]["chosen"]
        found[base] = gain(
            base, scale, seeds=arguments.seeds, store=arguments.store, jobs=arguments.jobs
        )
        print(f"{base} at {scale:g}: {found[base]}", flush=True)
    chosen = max(found, key=lambda base: float(found[base]["z"]))
    FILE.write_text(json.dumps({"bases": found, "chosen": chosen}, indent=1) + "\n")
    print(f"chosen: {chosen}")


if __name__ == "__main__":
    main()
